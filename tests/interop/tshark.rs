//! tshark reads every vector of 802.1BR as we do: tags both ways, tags that are not to be taken, ECP of subtype 2, LLDP.

use std::{fs::File, io::Write, process::Command};

use ecp::{Header, Operation, Subtype};
use ether::{
    ChannelTagError, DownTag, ETag, EtherType, Framing, MacAddr, UpTag, VnTag, frame::build,
    mac::NEAREST_BRIDGE,
};
use pe::PortExtensionTlv;

const FIELDS: [&str; 21] = [
    "frame.protocols",
    "etag.pcp",
    "etag.dei",
    "etag.iecid_base",
    "etag.iecid_ext",
    "etag.resv",
    "etag.group",
    "etag.ecid_base",
    "etag.ecid_ext",
    "vntag.dir",
    "vntag.ptr",
    "vntag.dst",
    "vntag.looped",
    "vntag.version",
    "vntag.src",
    "ecp.ver",
    "ecp.op",
    "ecp.subtype",
    "ecp.seqno",
    "lldp.ieee.802_1.subtype",
    "_ws.malformed",
];

/// What tshark says of a frame: a row for each field, with all its values.
struct Seen(Vec<String>);

impl Seen {
    fn of(&self, field: &str) -> &str {
        let place = FIELDS.iter().position(|name| *name == field).unwrap();
        &self.0[place]
    }

    /// The first value of a field.
    fn number(&self, field: &str) -> u32 {
        let value = self.of(field).split(',').next().unwrap();
        match value {
            "True" => 1,
            "False" => 0,
            _ => match value.strip_prefix("0x") {
                Some(digits) => u32::from_str_radix(digits, 16).unwrap(),
                None => value.parse().unwrap_or_else(|_| panic!("{field}: {:?}", self.0)),
            },
        }
    }

    fn malformed(&self) -> bool {
        !self.of("_ws.malformed").is_empty()
    }

    /// The identifier of an E-TAG, and that of the ingress port.
    fn ecids(&self) -> (u32, u32) {
        let of = |base, extension| self.number(extension) << 12 | self.number(base);
        let group = self.number("etag.group") << 20;
        (group | of("etag.ecid_base", "etag.ecid_ext"), of("etag.iecid_base", "etag.iecid_ext"))
    }
}

/// Has tshark read frames.
fn tshark(frames: &[Vec<u8>]) -> Vec<Seen> {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut pcap = File::create(file.path()).unwrap();
    pcap.write_all(&[0xa1, 0xb2, 0xc3, 0xd4, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 1])
        .unwrap();
    for frame in frames {
        let len = u32::try_from(frame.len()).unwrap().to_be_bytes();
        pcap.write_all(&[[0, 0, 0, 1], [0; 4], len, len].concat()).unwrap();
        pcap.write_all(frame).unwrap();
    }
    drop(pcap);
    let mut command = Command::new("tshark");
    command.arg("-r").arg(file.path()).args(["-T", "fields", "-E", "separator=/t"]);
    command.args(FIELDS.iter().flat_map(|field| ["-e", field]));
    let output = command.output().expect("tshark is installed: apt-get install tshark");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<Seen> =
        said.lines().map(|line| Seen(line.split('\t').map(str::to_owned).collect())).collect();
    assert_eq!(rows.len(), frames.len(), "{said}");
    rows
}

/// A frame that begins with these octets behind its addresses, with an ARP packet of nothing behind them.
fn tagged(octets: &[u8], whole: bool) -> Vec<u8> {
    let addresses = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1];
    let body = [&[0x08, 0x06][..], &[0; 46]].concat();
    [&addresses[..], octets, if whole { &body } else { &[] }].concat()
}

fn octets(text: &str) -> Vec<u8> {
    text.split_whitespace().map(|octet| u8::from_str_radix(octet, 16).unwrap()).collect()
}

/// T1 to T4; reserved bits set; group up; both forms of no channel; the reserved one.
const ETAGS: [&str; 10] = [
    "89 3f a0 00 00 64 00 00",
    "89 3f 10 64 10 05 00 00",
    "89 3f ef fe 21 23 01 ab",
    "89 3f 60 00 0a bc 00 00 81 00 60 0a",
    "89 3f a0 00 c0 64 00 00",
    "89 3f ff ff ff fe ff ff",
    "89 3f 00 00 20 07 00 00",
    "89 3f 00 00 00 00 00 00",
    "89 3f 00 07 00 00 00 00",
    "89 3f 00 00 3f ff 00 ff",
];

#[test]
fn every_etag() {
    let vectors: Vec<Vec<u8>> = ETAGS.iter().map(|text| octets(text)).collect();
    let mut frames: Vec<Vec<u8>> = vectors.iter().map(|tag| tagged(tag, true)).collect();
    // What we emit for those we take.
    let ours: Vec<_> = vectors.iter().map(|tag| ETag::parse(tag)).collect();
    let emitted: Vec<ETag> = ours.iter().flatten().copied().collect();
    assert_eq!(emitted.len(), 7);
    frames.extend(emitted.iter().map(|tag| tagged(&tag.to_bytes(), true)));
    let seen = tshark(&frames);
    for ((tag, ours), seen) in vectors.iter().zip(&ours).zip(&seen) {
        assert!(
            !seen.malformed() && seen.of("frame.protocols").starts_with("eth:ethertype:etag"),
            "{tag:02x?}"
        );
        let (ecid, ingress) = seen.ecids();
        match ours {
            Ok(ours) => {
                assert_eq!(
                    (ours.ecid.get(), ours.ingress.map_or(0, |id| id.get())),
                    (ecid, ingress),
                    "{tag:02x?}"
                );
                let priority = (u32::from(ours.pcp.get()), u32::from(ours.dei));
                assert_eq!(priority, (seen.number("etag.pcp"), seen.number("etag.dei")));
                let up = UpTag::parse(Framing::Etag, tag);
                assert_eq!(up.is_ok(), seen.number("etag.group") == 0, "{up:?}");
                assert_eq!(DownTag::parse(Framing::Etag, tag).map(|down| down.to), Ok(ours.ecid));
            }
            // What tshark shows without a word is not to be taken for what it shows.
            Err(ChannelTagError::NoChannel) => assert_eq!((ecid, ingress), (0, 0)),
            Err(ChannelTagError::IngressForm(port)) => assert_eq!((ecid, ingress), (0, port.get())),
            Err(ChannelTagError::Reserved) => assert_eq!(ecid, 0x3f_ffff),
            Err(error) => panic!("{tag:02x?}: {error}"),
        }
    }
    for (ours, seen) in emitted.iter().zip(&seen[vectors.len()..]) {
        assert_eq!((ours.ecid.get(), ours.ingress.map_or(0, |id| id.get())), seen.ecids());
        assert_eq!(seen.number("etag.resv"), 0, "reserved bits are not sent");
    }
    assert_eq!(seen[4].number("etag.resv"), 3, "and were seen");
    assert!(
        seen[3].of("frame.protocols").contains("etag:ethertype:vlan"),
        "{}",
        seen[3].of("frame.protocols")
    );
}

/// N1 to N3, a version that is none, and each the other way.
const VNTAGS: [&str; 4] =
    ["89 26 00 00 00 64", "89 26 81 23 00 00", "89 26 e0 05 80 64", "89 26 00 00 10 64"];

#[test]
fn every_vntag() {
    let vectors: Vec<Vec<u8>> = VNTAGS.iter().map(|text| octets(text)).collect();
    let ours: Vec<_> = vectors.iter().map(|tag| VnTag::parse(tag)).collect();
    let emitted: Vec<VnTag> = ours.iter().flatten().copied().collect();
    let mut frames: Vec<Vec<u8>> = vectors.iter().map(|tag| tagged(tag, true)).collect();
    frames.extend(emitted.iter().map(|tag| tagged(&tag.to_bytes(), true)));
    let seen = tshark(&frames);
    let taken = vectors.iter().zip(&ours).zip(&seen).filter_map(|((tag, ours), seen)| match ours {
        Ok(ours) => Some((*ours, seen)),
        Err(ChannelTagError::Version(version)) => {
            assert_eq!(u32::from(*version), seen.number("vntag.version"));
            None
        }
        Err(error) => panic!("{tag:02x?}: {error}"),
    });
    let taken: Vec<_> = taken.chain(emitted.iter().copied().zip(&seen[vectors.len()..])).collect();
    assert_eq!(taken.len(), 6);
    for (ours, seen) in taken {
        assert!(!seen.malformed() && seen.of("frame.protocols").starts_with("eth:ethertype:vntag"));
        let (from, source) = (seen.number("vntag.dst"), seen.number("vntag.src"));
        if seen.number("vntag.dir") == 0 {
            assert_eq!(ours.up().map(|port| port.get()), Ok(source));
            assert_eq!(ours.down(), Err(ChannelTagError::Direction));
            continue;
        }
        let (to, looped) = ours.down().unwrap();
        assert_eq!(ours.up(), Err(ChannelTagError::Direction));
        assert_eq!(
            (u32::from(to.short().unwrap().get()), to.is_group()),
            (from, seen.number("vntag.ptr") == 1)
        );
        assert_eq!(looped.map(|port| port.get()), (seen.number("vntag.looped") == 1).then_some(source));
    }
}

/// Cut at every length: neither of us makes a tag of it.
#[test]
fn tags_cut_short() {
    let mut frames = Vec::new();
    for text in ETAGS.iter().take(3).chain(VNTAGS.iter().take(3)) {
        let tag = octets(text);
        for len in 2..tag.len() {
            let framing = if tag[1] == 0x3f { Framing::Etag } else { Framing::Vntag };
            assert_eq!(UpTag::parse(framing, &tag[..len]), Err(ChannelTagError::Short(len)));
            assert_eq!(DownTag::parse(framing, &tag[..len]), Err(ChannelTagError::Short(len)));
            frames.push(tagged(&tag[..len], false));
        }
    }
    for (frame, seen) in frames.iter().zip(tshark(&frames)) {
        assert!(seen.malformed(), "{frame:02x?}: {:?}", seen.0);
    }
}

/// E1, E2 and the PDUs of the provisional code book: tshark knows their header.
#[test]
fn every_ecpdu() {
    let vectors = [
        "10 02 00 01",
        "14 02 00 01",
        "10 02 00 01 02 0a 01 00 00 00 00 01 00 00 00 00 04 0c e8 00 00 0f fe 00 00 30 00 08 0f fe",
        "10 02 00 02 02 0a 02 00 00 00 00 02 00 00 00 00 08 04 00 00 00 07",
        "10 02 00 02 02 0a 82 00 00 00 00 02 00 00 00 64 08 04 00 00 00 07",
        "10 02 00 03 02 0a 04 00 00 00 00 01 00 10 00 05 08 08 00 00 00 64 00 00 00 65",
        "10 02 ff ff 02 0a 84 00 00 00 00 01 00 10 00 05",
    ]
    .map(octets);
    let (to, from) = (MacAddr::new(2, 0, 0, 0, 0, 1), MacAddr::new(2, 0, 0, 0, 0, 2));
    let padded = |pdu: &Vec<u8>| [&pdu[..], &vec![0; 46_usize.saturating_sub(pdu.len())]].concat();
    let frames: Vec<Vec<u8>> =
        vectors.iter().map(|pdu| build(to, from, EtherType::ECP, &padded(pdu))).collect();
    for (pdu, seen) in vectors.iter().zip(tshark(&frames)) {
        let (ours, _) = Header::parse(pdu).unwrap();
        assert!(!seen.malformed() && seen.of("frame.protocols").contains("ecp21"), "{:?}", seen.0);
        assert_eq!((ours.subtype, seen.number("ecp.subtype")), (Subtype::PeCsp, 2));
        assert_eq!(seen.number("ecp.op"), u32::from(ours.operation == Operation::Ack));
        assert_eq!((seen.number("ecp.ver"), seen.number("ecp.seqno")), (1, u32::from(ours.sequence.0)));
    }
}

/// LV1 and LV2: tshark knows the TLV by its name.
#[test]
fn every_port_extension_tlv() {
    let vectors = [
        "fe 11 00 80 c2 0f 80 02 00 00 00 0a 00 02 00 00 00 0a 01",
        "fe 11 00 80 c2 0f 00 02 00 00 00 0b 00 02 00 00 00 0b 01",
    ]
    .map(octets);
    let from = MacAddr::new(2, 0, 0, 0, 0, 1);
    let frames = vectors.each_ref().map(|tlv| {
        let pdu =
            [&octets("02 07 04 02 00 00 00 00 01 04 05 05 65 74 68 30 06 02 00 78"), tlv, &octets("00 00")];
        build(NEAREST_BRIDGE, from, EtherType::LLDP, &pdu.map(|part| &part[..]).concat())
    });
    for (tlv, seen) in vectors.iter().zip(tshark(&frames)) {
        let ours = PortExtensionTlv::parse(&tlv[6..]).unwrap();
        assert_eq!(ours.to_bytes(), tlv[6..]);
        assert!(!seen.malformed(), "{:?}", seen.0);
        assert_eq!(seen.number("lldp.ieee.802_1.subtype"), u32::from(pe::SUBTYPE));
    }
}
