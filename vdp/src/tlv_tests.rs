//! VDPDUs by the vectors of the specification and by what lldpad was seen to send, and by everything else.

use ether::Vid;
use proptest::prelude::*;

use super::*;
use crate::filter::tests::{any_filter, entry, filter};

const MANAGER_TLV: &str = "0a10 6c61626d677200000000000000000000";
const UUID: &str = "b2a7f3c1-0d4e-4b6a-9c55-112233445566";

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.chars().filter(|c| !c.is_whitespace()).collect();
    digits.chunks(2).map(|c| u8::from_str_radix(&c.iter().collect::<String>(), 16).unwrap()).collect()
}

/// The PDU of one TLV behind the manager ID, as lldpad sends it: without an End TLV.
fn pdu_of(tlv: &str) -> Vec<u8> {
    [hex(MANAGER_TLV), hex(tlv)].concat()
}

fn only_item(octets: &[u8]) -> Item {
    let pdu = Vdpdu::parse(octets).unwrap();
    assert_eq!((pdu.manager.to_string().as_str(), pdu.items.len()), ("labmgr", 1));
    pdu.items.into_iter().next().unwrap()
}

fn association(command: Command, status: Status, type_id: u32, version: u8, id: &str) -> Association {
    Association {
        command,
        status,
        type_id: TypeId::new(type_id).unwrap(),
        version: TypeVersion(version),
        id: id.parse().unwrap(),
        filter: None,
    }
}

const fn response(keep: bool, hard: bool, error: ErrorCode) -> Status {
    Status::Response(Verdict { keep, hard, error })
}

const fn hints(suspended: bool, migrating: bool) -> Status {
    Status::Request(Hints { suspended, migrating })
}

#[test]
fn vectors_both_ways() {
    use Command::{Associate, DeAssociate, PreAssociate, PreAssociateRr};
    use ErrorCode::{InsufficientResources, ManagerUnreachable, Success};
    let spec = |command, status| association(command, status, 0xabcd, 2, UUID);
    let mac_vid = || vec![entry(0, 0x33, 100, None)];
    let head = "00abcd02 05 b2a7f3c10d4e4b6a9c55112233445566";
    let tail = "02 0001 525400112233 0064";
    let two_groups = vec![entry(0x12345, 0x33, 0, None), entry(0x12346, 0x34, 300, Some(3))];
    let success = response(false, false, Success);
    let plain = hints(false, false);
    for (tlv, expected, entries) in [
        (format!("0621 00 {head} {tail}"), spec(Associate, plain), mac_vid()), // VDP-1
        (format!("0621 40 {head} {tail}"), spec(Associate, success), mac_vid()), // VDP-2
        (format!("061b 00 {head} 01 0001 0000"), spec(Associate, plain), vec![entry(0, 0, 0, None)]), // VDP-3
        (format!("061b 40 {head} 01 0001 d0c8"), spec(Associate, success), vec![entry(0, 0, 200, Some(5))]), // VDP-4
        (
            // VDP-5
            "041f 00 000001 01 03 00000000000000000000525400112233 03 0001 00012345 0000".into(),
            association(PreAssociateRr, plain, 1, 1, "52:54:00:11:22:33"),
            vec![entry(0x12345, 0, 0, None)],
        ),
        (
            // VDP-6
            format!("0631 10 {head} 04 0002 00012345 525400112233 0000 00012346 525400112234 b12c"),
            spec(Associate, hints(false, true)),
            two_groups,
        ),
        (
            format!("0621 63 {head} {tail}"),
            spec(Associate, response(true, false, ManagerUnreachable)),
            mac_vid(),
        ), // VDP-7
        (
            // VDP-8
            format!("0821 52 {head} {tail}"),
            spec(DeAssociate, response(false, true, InsufficientResources)),
            mac_vid(),
        ),
        (format!("0821 00 {head} {tail}"), spec(DeAssociate, plain), mac_vid()), // VDP-9
        (format!("0621 20 {head} {tail}"), spec(Associate, hints(true, false)), mac_vid()), // VDP-10
        (
            // VDP-11
            "021b 00 000007 00 01 00000000000000000000ffffc000024d 01 0001 e02a".into(),
            association(PreAssociate, plain, 7, 0, "192.0.2.77"),
            vec![entry(0, 0, 42, Some(6))],
        ),
    ] {
        let expected = Association { filter: Some(filter(&entries)), ..expected };
        let mut octets = pdu_of(&tlv);
        assert_eq!(only_item(&octets), Item::Association(expected.clone()), "{tlv}");
        let pdu = Vdpdu { manager: "labmgr".parse().unwrap(), items: vec![Item::Association(expected)] };
        octets.extend([0, 0]);
        assert_eq!(pdu.to_bytes().unwrap(), octets, "{tlv}");
    }
}

/// Payloads of V08 to V35: read, and written as received but for the End TLV.
#[test]
fn what_lldpad_sends() {
    for (name, tlv, text) in [
        ("V08", "0221 00 000005 01 05 a0000000000000000000000000000001 02 0001 525400000001 0064", "[100]"),
        ("V09", "0221 40 000005 01 05 a0000000000000000000000000000001 02 0001 525400000001 0064", "[100]"),
        ("V10", "0421 00 000005 01 05 a0000000000000000000000000000002 02 0001 525400000002 0064", "[100]"),
        ("V12", "061b 00 000005 01 05 a0000000000000000000000000000003 01 0001 0065", "[101]"),
        (
            "V14",
            "0631 00 000005 01 05 a0000000000000000000000000000007 02 0003
             525400000007 0069 525400000008 006a 525400000009 006b",
            "[105, 106, 107]",
        ),
        ("V15", "061f 00 000005 01 05 a0000000000000000000000000000005 03 0001 00000309 0067", "[103]"),
        (
            "V16",
            "0625 00 000005 01 05 a0000000000000000000000000000006 04 0001 00000378 525400000006 0068",
            "[104]",
        ),
        ("V17", "0621 00 000005 01 05 a0000000000000000000000000000009 02 0001 52540000000b e06e", "[110]"),
        ("V18", "0621 00 000005 01 05 a0000000000000000000000000000008 02 0001 52540000000a 0000", "[0]"),
        ("V19", "0621 10 ffffff ff 05 a000000000000000000000000000000a 02 0001 52540000000c 006f", "[111]"),
        ("V20", "0221 20 000001 00 05 a000000000000000000000000000000b 02 0001 52540000000d 0070", "[112]"),
        (
            "V23",
            "0825 00 000005 04 05 112233445566778899aabbccddeeff01 04 0001 000000c8 525400112233 0002",
            "[2]",
        ),
        (
            "V24",
            "0825 40 000005 04 05 112233445566778899aabbccddeeff01 04 0001 000000c8 525400112233 0002",
            "[2]",
        ),
        ("V27", "0821 42 0000c9 01 05 e0000000000000000000000000000001 02 0001 525400000001 000a", "[10]"),
        ("V28", "0621 63 0000ca 02 05 e0000000000000000000000000000002 02 0001 525400000002 000a", "[10]"),
        ("V29", "0821 52 0000cb 03 05 e0000000000000000000000000000003 02 0001 525400000003 000a", "[10]"),
        ("V30", "0621 40 0000cd 00 05 e0000000000000000000000000000005 02 0001 525400000005 00cd", "[205]"),
        ("V31", "0621 40 0000ce 03 05 e0000000000000000000000000000007 02 0001 525400000007 b00a", "[10]"),
        (
            "V32",
            "0629 40 0000d0 00 05 e0000000000000000000000000000008 02 0002 525400000008 00d0 525400000009 00d0",
            "[208, 208]",
        ),
        ("V33", "0621 42 000005 01 01 0000000000000000000000000a000001 02 0001 52540000010b 0064", "[100]"),
    ] {
        let octets = pdu_of(tlv);
        let Item::Association(association) = only_item(&octets) else { panic!("{name} is malformed") };
        let vids: Vec<_> =
            association.filter.iter().flat_map(|f| f.entries()).map(|e| e.vid.map_or(0, Vid::get)).collect();
        assert_eq!(format!("{vids:?}"), text, "{name}");
        let again = Vdpdu::parse(&octets).unwrap().to_bytes().unwrap();
        assert_eq!(again, [octets, vec![0, 0]].concat(), "{name}");
    }
}

#[test]
fn managers() {
    // VDP-MGR-1, VDP-MGR-2 and lldpad's string.
    for (octets, id) in [
        ("0a10 01000000000000000000000000000000", ManagerId::legacy(1)),
        ("0a10 00000000000000000000ffffc000020a", "192.0.2.10".parse().unwrap()),
        (MANAGER_TLV, "labmgr".parse().unwrap()),
    ] {
        let octets = hex(octets);
        let pdu = Vdpdu { manager: id, items: vec![] };
        assert_eq!(Vdpdu::parse(&octets), Ok(pdu.clone()));
        assert_eq!(pdu.to_bytes().unwrap(), [octets, vec![0, 0]].concat());
    }
}

#[test]
fn several_tlvs_and_the_end() {
    let tlv = |n: u8| {
        format!("0621 00 000005 01 05 b00000000000000000000000000000{n:02x} 02 0001 5254000001{n:02x} 0064")
    };
    // V34, V35: with and without an End TLV; what stands behind it is not looked at.
    let three = pdu_of(&format!("{} {} {}", tlv(6), tlv(7), tlv(8)));
    let bare = Vdpdu::parse(&three).unwrap();
    assert_eq!(bare.items.len(), 3);
    for rest in ["0000", "0000 ffff", "0000 0000 00"] {
        assert_eq!(Vdpdu::parse(&[three.clone(), hex(rest)].concat()), Ok(bare.clone()));
    }
    // VDP-ORG-1 and a type not known, kept between associations.
    let org = "fe29 00000c f1 05 b2a7f3c10d4e4b6a9c55112233445566 05 b2a7f3c10d4e4b6a9c55112233445566 766d31";
    let mixed = pdu_of(&format!("{} {org} 1402 beef {}", tlv(1), tlv(2)));
    let pdu = Vdpdu::parse(&mixed).unwrap();
    assert!(matches!(&pdu.items[1], Item::Organizational { oui: [0, 0, 0x0c], body } if body.len() == 38));
    assert!(
        matches!(&pdu.items[2], Item::Unknown { kind, info } if kind.get() == 10 && info[..] == [0xbe, 0xef])
    );
    assert_eq!(pdu.to_bytes().unwrap(), [mixed, vec![0, 0]].concat());
}

#[test]
fn frame_3_has_two_commands() {
    let payload = hex("0a10 01000000000000000000000000000000
         0621 00 00abcd 02 05 b2a7f3c10d4e4b6a9c55112233445566 02 0001 525400112233 0064
         0821 00 00abcd 02 03 00000000000000000000525400112299 02 0001 525400112299 0065");
    let pdu = Vdpdu::parse(&payload).unwrap();
    let commands: Vec<_> = pdu
        .items
        .iter()
        .map(|item| if let Item::Association(a) = item { a.command } else { panic!() })
        .collect();
    assert_eq!(commands, [Command::Associate, Command::DeAssociate]);
}

#[test]
fn one_vector_per_pdu_error() {
    let cut = |octets: &[u8]| matches!(Vdpdu::parse(octets), Err(PduError::Tlv(_)));
    // NEG-6: the TLV claims 255 octets.
    let mut neg_6 = pdu_of("0621 00 00abcd 02 05 b2a7f3c10d4e4b6a9c55112233445566 02 0001 525400112233 0064");
    neg_6[19] = 0xff;
    assert!(cut(&neg_6) && cut(&[0x0a]));
    assert_eq!(Vdpdu::parse(&[]), Err(PduError::NoManager(None)));
    assert_eq!(Vdpdu::parse(&[0, 0]), Err(PduError::NoManager(Some(0))));
    assert_eq!(Vdpdu::parse(&hex("0602 0000")), Err(PduError::NoManager(Some(3))));
    assert_eq!(Vdpdu::parse(&hex("0a01 07")), Err(PduError::ManagerLength(1)));
    assert_eq!(Vdpdu::parse(&[hex(MANAGER_TLV), hex(MANAGER_TLV)].concat()), Err(PduError::SecondManager));
}

#[test]
fn one_vector_per_tlv_error() {
    use FilterError as F;
    let head = "00abcd02 05 b2a7f3c10d4e4b6a9c55112233445566";
    let filter = TlvError::Filter;
    for (tlv, error, named, answered) in [
        (format!("0616 00 {head}"), TlvError::Short(22), false, false),
        ("0600".into(), TlvError::Short(0), false, false),
        ("fe02 0000".into(), TlvError::ShortOrganizational(2), false, false),
        (
            "061b 00 00abcd02 06 b2a7f3c10d4e4b6a9c55112233445566 01 0001 0064".into(),
            TlvError::VsiIdFormat(6),
            false,
            true,
        ),
        // NEG-1
        (
            format!("0621 00 {head} 02 0002 525400112233 0064"),
            filter(F::Length { entries: 2, size: 8, octets: 8 }),
            true,
            true,
        ),
        (format!("0617 00 {head} 01"), filter(F::Empty), true, true),
        (format!("0619 00 {head} 01 0000"), filter(F::Empty), true, true),
        (format!("061b 00 {head} 05 0001 0064"), filter(F::Format(5)), true, true),
        (format!("0625 00 {head} 04 0001 00000000 525400112233 0000"), filter(F::ZeroGroup), true, true), // NEG-7
        (format!("061b 00 {head} 01 0001 0fff"), filter(F::ReservedVid), true, true), // NEG-8
        (format!("0621 00 {head} 02 0001 010000000001 0064"), filter(F::NoStationMac), true, true),
        (format!("061d 00 {head} 01 0002 0000 0000"), filter(F::SeveralNullVids), true, true),
    ] {
        let good = "0621 00 000005 01 05 b0000000000000000000000000000006 02 0001 525400000106 0064";
        let octets = pdu_of(&format!("{tlv} {good}"));
        let pdu = Vdpdu::parse(&octets).unwrap();
        // The TLV behind is not affected, and a malformed one is written as it was read.
        assert!(matches!(pdu.items[1], Item::Association(_)), "{tlv}");
        assert_eq!(pdu.to_bytes().unwrap(), [octets, vec![0, 0]].concat());
        let Item::Malformed(bad) = &pdu.items[0] else { panic!("{tlv} is not malformed") };
        assert_eq!((bad.error, bad.id.is_some(), bad.is_response()), (error, named, false), "{tlv}");
        let verdict = Verdict { keep: false, hard: false, error: error.code() };
        let answer = bad.answer(Command::DeAssociate, verdict);
        assert_eq!(answer.is_some(), answered, "{tlv}");
        if let Some(item) = answer {
            let answer = Vdpdu { manager: pdu.manager, items: vec![item] }.to_bytes().unwrap();
            let mut expected = pdu_of(&tlv);
            (expected[18], expected[20]) = (8, 0x40 | u8::from(error.code()));
            assert_eq!(answer, [expected, vec![0, 0]].concat());
        }
    }
}

#[test]
fn a_de_associate_may_name_the_vsi_only() {
    let head = "00abcd02 05 b2a7f3c10d4e4b6a9c55112233445566";
    for tlv in [format!("0817 00 {head} 01"), format!("0819 00 {head} 02 0000")] {
        let Item::Association(association) = only_item(&pdu_of(&tlv)) else { panic!() };
        assert_eq!((association.command, association.filter), (Command::DeAssociate, None));
    }
    let bare = association(Command::DeAssociate, hints(false, false), 0xabcd, 2, UUID);
    let pdu = Vdpdu { manager: "labmgr".parse().unwrap(), items: vec![Item::Association(bare)] };
    assert_eq!(pdu.to_bytes().unwrap(), pdu_of(&format!("0817 00 {head} 01 0000")));
}

#[test]
fn every_status_octet() {
    for octet in 0..=255u8 {
        let status = Status::from_octet(octet);
        let kept = match octet & 0x7f {
            request if request & 0x40 == 0 => request & 0x30,
            0x40 | 0x50 | 0x60 | 0x70 => 0x40,
            other => other,
        };
        assert_eq!(status.octet(), kept, "{octet:02x}");
    }
}

#[test]
fn too_long_by_hand() {
    let items = vec![Item::Organizational { oui: [0; 3], body: Bytes::from(vec![0; 509]) }];
    let pdu = Vdpdu { manager: ManagerId::default(), items };
    assert_eq!(pdu.to_bytes(), Err(LocalTlvError::TooLong(512)));
}

fn any_association() -> impl Strategy<Value = Association> {
    let command = prop_oneof![
        Just(Command::PreAssociate),
        Just(Command::PreAssociateRr),
        Just(Command::Associate),
        Just(Command::DeAssociate)
    ];
    (
        command,
        any::<u8>(),
        any::<[u8; 3]>(),
        any::<u8>(),
        1u8..=5,
        any::<[u8; 16]>(),
        proptest::option::of(any_filter()),
    )
        .prop_filter("needs a filter", |a| a.0 == Command::DeAssociate || a.6.is_some())
        .prop_map(|(command, status, type_id, version, format, octets, filter)| Association {
            command,
            status: Status::from_octet(status),
            type_id: TypeId::from_octets(type_id),
            version: TypeVersion(version),
            id: VsiId::new(VsiIdFormat::from_code(format).unwrap(), octets),
            filter,
        })
}

proptest! {
    #[test]
    fn round_trip(manager in any::<[u8; 16]>(), list in proptest::collection::vec(any_association(), 0..4)) {
        let pdu = Vdpdu { manager: ManagerId(manager), items: list.into_iter().map(Item::Association).collect() };
        let octets = pdu.to_bytes().unwrap();
        prop_assert_eq!(Vdpdu::parse(&octets), Ok(pdu.clone()));
        // Cut between TLVs it is a shorter PDU, cut elsewhere it is none.
        for len in 0..octets.len() {
            if let Ok(cut) = Vdpdu::parse(&octets[..len]) {
                prop_assert!(pdu.items.starts_with(&cut.items));
            }
        }
    }

    #[test]
    fn any_octets(octets in proptest::collection::vec(any::<u8>(), 0..200), with_manager in any::<bool>()) {
        let payload = if with_manager { [hex(MANAGER_TLV), octets].concat() } else { octets };
        if let Ok(pdu) = Vdpdu::parse(&payload) {
            let again = pdu.to_bytes().unwrap();
            prop_assert!(Vdpdu::parse(&again).is_ok());
        }
    }

    #[test]
    fn any_association_octets(command in 1u8..=4, info in proptest::collection::vec(any::<u8>(), 0..80), format in 1u8..=5) {
        let mut info = info;
        if let Some(octet) = info.get_mut(22) {
            *octet = format;
        }
        let _ = parse_item(TlvType::from_low_bits(command), &info);
    }
}
