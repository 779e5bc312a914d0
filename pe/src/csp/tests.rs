//! PDUs by the vectors, and books that are wrong.

use ether::{ECid, Pcid, Vid};
use proptest::prelude::*;

use super::*;

/// The installable form of P0, with its vectors.
const FILE: &str = include_str!("../../../evbd/dist/codebook-p0.toml");

fn file() -> CodeBook {
    toml::from_str(FILE).unwrap()
}

fn octets(text: &str) -> Vec<u8> {
    text.split(' ').map(|octet| u8::from_str_radix(octet, 16).unwrap()).collect()
}

fn ports(ids: &[u32]) -> Tlv {
    Tlv::Ports(ids.iter().map(|id| PortItem { flag: false, id: *id }).collect())
}

/// The vectors of the specification, ECP header included.
fn vectors() -> Vec<(&'static str, Pdu)> {
    let capability = Tlv::Capability(Capability::default());
    let request = |message, transaction, ecid: u32, body| Pdu {
        transaction,
        ..Pdu::request(message, ECid::new(ecid), body)
    };
    let answer = |pdu: Pdu| Pdu { answer: Some(Completion::Success), ..pdu };
    vec![
        (
            "10 02 00 01 02 0a 01 00 00 00 00 01 00 00 00 00 04 0c e8 00 00 0f fe 00 00 30 00 08 0f fe",
            request(Message::Open, 1, 0, vec![capability.clone()]),
        ),
        (
            "10 02 00 01 02 0a 81 00 00 00 00 01 00 00 00 00 04 0c e8 00 00 0f fe 00 00 30 00 08 0f fe",
            answer(request(Message::Open, 1, 0, vec![capability])),
        ),
        (
            "10 02 00 02 02 0a 02 00 00 00 00 02 00 00 00 00 08 04 00 00 00 07",
            request(Message::Create, 2, 0, vec![ports(&[7])]),
        ),
        (
            "10 02 00 02 02 0a 82 00 00 00 00 02 00 00 00 64 08 04 00 00 00 07",
            answer(request(Message::Create, 2, 0x64, vec![ports(&[7])])),
        ),
        (
            "10 02 00 03 02 0a 04 00 00 00 00 01 00 10 00 05 08 08 00 00 00 64 00 00 00 65",
            request(Message::Register, 1, 0x10_0005, vec![ports(&[0x64, 0x65])]),
        ),
        (
            "10 02 00 03 02 0a 84 00 00 00 00 01 00 10 00 05",
            answer(request(Message::Register, 1, 0x10_0005, vec![])),
        ),
    ]
}

#[test]
fn the_vectors_both_ways_and_cut() {
    let book = CodeBook::p0();
    for (text, pdu) in vectors() {
        let frame = octets(text);
        assert_eq!(ecp::peek_subtype(&frame), Ok(ecp::Subtype::PeCsp));
        let payload = &frame[4..];
        assert_eq!(Pdu::parse(&book, payload), Ok(pdu.clone()), "{pdu}");
        assert_eq!(pdu.to_bytes(&book), payload, "{pdu}");
        for len in 0..payload.len() {
            if let Ok(cut) = Pdu::parse(&book, &payload[..len]) {
                assert!(cut.malformed || cut.body.len() < pdu.body.len(), "{len} octets of {pdu}");
            }
        }
        let mut padded = payload.to_vec();
        padded.resize(46, 0);
        assert_eq!(Pdu::parse(&book, &padded), Ok(pdu));
    }
}

#[test]
fn names_travel_in_a_tlv_of_our_own() {
    let book = CodeBook::p0();
    let name = |text: &str| Name::try_from(text.to_owned()).unwrap();
    let names = vec![Tlv::Name(Named::Extender, name("r7")), Tlv::Name(Named::Port, name("tap0"))];
    let pdu = Pdu::request(Message::Create, None, [vec![ports(&[7])], names.clone()].concat());
    let octets = pdu.to_bytes(&book);
    let tail = [0xfe, 6, 2, 0x65, 0x76, 1, b'r', b'7', 0xfe, 8, 2, 0x65, 0x76, 2, b't', b'a', b'p', b'0'];
    assert_eq!(octets[18..], tail);
    assert_eq!(Pdu::parse(&book, &octets), Ok(pdu.clone()));
    assert_eq!(pdu.to_string(), "create 0, ports 7, extender \"r7\", port \"tap0\"");
    let with = |tail: &[u8]| Pdu::parse(&book, &[&octets[..18], tail].concat()).unwrap();
    for (tail, what) in [
        (&[0xfe, 4, 2, 0x65, 0x76, 2][..], "an empty name"),
        (&[0xfe, 5, 2, 0x65, 0x76, 2, 7], "a bell"),
        (&[0xfe, 5, 2, 0x65, 0x76, 2, 0xff], "no text"),
        (&[0xfe, 3, 2, 0x65, 0x76], "no head"),
        (&[&[0xff, 4, 2, 0x65, 0x76, 2][..], &[b'x'; 256]].concat(), "too long"),
    ] {
        assert!(with(tail).malformed, "{what}");
        assert!(with(tail).names() == Names::default(), "{what}");
    }
    for foreign in [&[0xfe, 6, 0, 0x80, 0xc2, 2, 1, 2][..], &[0xfe, 6, 2, 0x65, 0x76, 9, 1, 2]] {
        let read = with(foreign);
        assert!(!read.malformed && matches!(read.body.last(), Some(Tlv::Unknown { code: 127, .. })));
        assert_eq!(read.to_bytes(&book)[18..], *foreign, "another's is kept");
    }
    assert!(Name::try_from("x".repeat(256)).is_err());
}

#[test]
fn a_book_may_do_without_names() {
    let mut book = file();
    book.tlvs.remove(&codebook::TlvKind::Name);
    book.vectors.retain(|vector| !vector.says.contains("extender"));
    assert_eq!(book.check(), Ok(()));
    let name = Name::try_from("r7".to_owned()).unwrap();
    let pdu = Pdu::request(Message::Create, None, vec![ports(&[7]), Tlv::Name(Named::Extender, name)]);
    let read = Pdu::parse(&book, &pdu.to_bytes(&book)).unwrap();
    assert_eq!(read.body, vec![ports(&[7])], "it is not said");
}

#[test]
fn one_vector_for_each_error() {
    let book = CodeBook::p0();
    assert_eq!(Pdu::parse(&book, &[]), Err(PduError::Empty));
    assert!(matches!(Pdu::parse(&book, &[2]), Err(PduError::Tlv(_))));
    assert_eq!(Pdu::parse(&book, &[0, 0]), Err(PduError::NoCommand(0)));
    assert_eq!(Pdu::parse(&book, &[4, 0]), Err(PduError::NoCommand(2)));
    assert_eq!(Pdu::parse(&book, &[2, 1, 9]), Err(PduError::CommandLength(1)));
    let mut short = Pdu::request(Message::Create, None, vec![ports(&[7])]).to_bytes(&book);
    short.extend([0x08, 3, 0, 0, 7]);
    assert!(Pdu::parse(&book, &short).unwrap().malformed, "three octets are no port");
    let mut no_port = Pdu::request(Message::Status, None, vec![]).to_bytes(&book);
    no_port.extend([0x0c, 9, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
    assert!(Pdu::parse(&book, &no_port).unwrap().malformed, "0 is no port");
    let unknown = octets("02 0a fe 63 00 00 00 09 00 00 00 00 fc 02 ab cd");
    let read = Pdu::parse(&book, &unknown).unwrap();
    assert_eq!((read.message, read.answer), (Message::Unknown(126), Some(Completion::Unknown(0x63))));
    assert_eq!(read.to_bytes(&book), unknown, "what is not known is kept");
}

#[test]
fn the_file_is_the_book() {
    let file = file();
    assert_eq!(file.check(), Ok(()));
    assert_eq!(file.digest(), CodeBook::p0().digest());
    assert_eq!(CodeBook { vectors: Vec::new(), ..file }, CodeBook::p0());
}

#[test]
fn another_book_is_data() {
    let text = FILE
        .replace("name = \"P0\"", "name = \"other\"")
        .replace("create = 2", "create = 66")
        .replace("ecid = [58, 22]", "ecid = [50, 30]")
        .replace("02 0a 02 ", "02 0a 42 ")
        .replace("02 0a 82 ", "02 0a c2 ");
    let other: CodeBook = toml::from_str(&text).unwrap();
    assert_eq!(other.check(), Ok(()));
    assert_ne!(other.digest(), CodeBook::p0().digest());
    let pdu = Pdu::request(Message::Create, None, vec![]);
    assert_eq!(Pdu::parse(&other, &pdu.to_bytes(&other)), Ok(pdu.clone()));
    let misread = Pdu::parse(&CodeBook::p0(), &pdu.to_bytes(&other)).unwrap();
    assert_eq!(misread.message, Message::Unknown(66));
}

#[test]
fn books_that_are_wrong() {
    let check = |from: &str, to: &str| {
        assert!(FILE.contains(from), "{from}");
        toml::from_str::<CodeBook>(&FILE.replace(from, to)).unwrap().check().unwrap_err().to_string()
    };
    for (from, to, says) in [
        ("name = \"P0\"", "name = \"\"", "0 octets"),
        ("delete = 3", "", "no code for delete"),
        ("delete = 3", "delete = 2", "the code 2 of delete"),
        ("delete = 3", "delete = 200", "the code 200 of delete"),
        ("busy = 6", "busy = 5", "the code 5 of busy"),
        ("code = 2\n", "code = 1\n", "is used twice"),
        ("code = 2\n", "code = 128\n", "the code 128"),
        ("length = 12\n", "length = 512\n", "no length"),
        ("length = 12\n", "length = 11\n", "leaves its TLV"),
        ("ecid = [58, 22]", "ecid = [58, 21]", "too narrow"),
        ("ecid = [58, 22]", "ecid = [40, 22]", "stands over another"),
        ("ecid = [58, 22]", "", "missing"),
        ("ecid = [58, 22]", "ecid = [58, 22]\nmore = [48, 2]", "not known"),
        ("02 0a 03 00 00 00 00 04", "02 0a 0", "hexadecimal"),
        ("02 0a 03 00 00 00 00 04", "04 0a 03 00 00 00 00 04", "vector 7"),
        ("create 2, ports 7", "create 2, ports 8", "reads `create 2, ports 7`"),
    ] {
        let error = check(from, to);
        assert!(error.contains(says), "{from} → {to}: {error}");
    }
    let reserved = check("02 0a 02 00 00 00 00 02 00 00 00 00", "02 0a 02 00 00 00 00 02 80 00 00 00");
    assert!(reserved.contains("written as other octets"), "{reserved}");
    let (before, _) = FILE.split_once("[[vector]]").unwrap();
    let unproved: CodeBook = toml::from_str(before).unwrap();
    assert_eq!(unproved.check(), Err(BookError::Unproved(Message::Open)));
}

fn parameters() -> impl Strategy<Value = PortParameters> {
    let pairs = proptest::collection::vec((0u8..8, any::<bool>()), 24);
    (1u32..=Pcid::MAX, any::<[bool; 4]>(), 0u8..8, pairs).prop_map(|(pcid, flags, default, pairs)| {
        let mut made = PortParameters::new(Pcid::new(pcid).unwrap());
        [made.use_dei, made.require_drop_encoding, made.admin_up, made.blocked] = flags;
        made.default_priority = ether::Pcp::from_low_bits(default);
        let mut pairs = pairs.into_iter().map(|(pcp, dei)| (ether::Pcp::from_low_bits(pcp), dei));
        made.decode.iter_mut().chain(&mut made.encode).for_each(|entry| *entry = pairs.next().unwrap());
        made
    })
}

fn tlv() -> impl Strategy<Value = Tlv> {
    let pcid = || (1u32..=Pcid::MAX).prop_map(|n| Pcid::new(n).unwrap());
    let items = |most| proptest::collection::vec((any::<bool>(), 0u32..1 << 31), 1..most);
    prop_oneof![
        parameters().prop_map(Tlv::Parameters),
        items(300).prop_map(|items| {
            Tlv::Ports(items.into_iter().map(|(flag, id)| PortItem { flag, id }).collect())
        }),
        proptest::collection::vec((any::<bool>(), 0u16..4096), 1..200).prop_map(|items| {
            Tlv::Vids(items.into_iter().map(|(untagged, vid)| VidItem { untagged, vid }).collect())
        }),
        (pcid(), any::<bool>(), any::<u32>()).prop_map(|(pcid, up, speed)| Tlv::Status(PortStatus {
            pcid,
            up,
            speed
        })),
        (pcid(), any::<[u64; 12]>())
            .prop_map(|(pcid, values)| Tlv::Counters(Box::new(Counters { pcid, values }))),
    ]
}

proptest! {
    #[test]
    fn emit_then_parse(
        response in proptest::option::of(0u8..=255),
        message in 0u8..=127,
        transaction: u32,
        ecid in 0u32..0x3f_ffff,
        tlv in tlv(),
    ) {
        let book = CodeBook::p0();
        let code = |pdu: &Pdu| pdu.to_bytes(&book);
        let mut pdu = Pdu::request(Message::Unknown(message), ECid::new(ecid), vec![tlv]);
        pdu.transaction = transaction;
        pdu.answer = response.map(Completion::Unknown);
        let read = Pdu::parse(&book, &code(&pdu)).unwrap();
        prop_assert_eq!(code(&read), code(&pdu));
        prop_assert_eq!((read.transaction, read.ecid, read.body), (transaction, ECid::new(ecid), pdu.body));
    }

    #[test]
    fn any_octets(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
        let book = CodeBook::p0();
        if let Ok(pdu) = Pdu::parse(&book, &octets) {
            let again = Pdu::parse(&book, &pdu.to_bytes(&book)).unwrap();
            prop_assert_eq!(again, Pdu { malformed: false, ..pdu });
        }
    }
}

#[test]
fn untagged_vlans_travel_behind_their_port() {
    let book = CodeBook::p0();
    let vids = [1, 100, 4094].map(|vid| VidItem { untagged: true, vid: Vid::new(vid).unwrap().get() });
    let body = vec![Tlv::Parameters(PortParameters::new(Pcid::new(9).unwrap())), Tlv::Vids(vids.to_vec())];
    let pdu = Pdu::request(Message::SetParameters, None, body);
    assert_eq!(Pdu::parse(&book, &pdu.to_bytes(&book)), Ok(pdu));
}
