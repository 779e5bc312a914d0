//! The vectors of the specification.

use cdcp::{CdcpTlv, CdcpTlvError, Channel, Role, Scid, Svid};
use ecp::{Header, HeaderError, Link, Params, Subtype};
use ether::{EtherType, Instant, frame, mac};
use lldp::{
    basic::{Capabilities, CapabilitySet, InterfaceNumbering, ManagementAddress},
    tlv::PeerTlvError,
};
use vdp::{
    ErrorCode,
    error::{FilterError, PduError, TlvError},
    evb::tlv::{EvbTlv, ShortEvbTlv},
    tlv::{Item, Vdpdu},
};

use crate::{
    BRIDGE, NCB, STATION, Unchecked, emitted, ieee, kind, lldpdu, lldpdu_with, payload, same, words,
};

pub(crate) fn check(vectors: &mut Unchecked) {
    evb(vectors);
    cdcp(vectors);
    ecp(vectors);
    vdp(vectors);
    lldp(vectors);
    negative(vectors);
}

/// UUID of most VSIs in the specification.
const VSI: &str = "b2a7f3c1-0d4e-4b6a-9c55-112233445566";
/// The manager of every VSI in the specification, in text.
const MANAGER: &str = "0x01000000000000000000000000000000";

fn evb(vectors: &mut Unchecked) {
    for (name, expected) in [
        ("EVB-1", "Station b:[] s:[rrreq unknown] 3/14 20 20"),
        ("EVB-2", "Bridge b:[bgid rrcap rrctr] s:[rrreq unknown] 3/14 20 20"),
        ("EVB-3", "Station b:[bgid rrcap rrctr] s:[sgid rrreq on] 3/14 22* 20"),
        ("EVB-4", "Station b:[rrcap] s:[rrreq off] 3/8 8 8"),
    ] {
        let info = ieee(name, &vectors.take(name), 0x0d);
        let tlv = EvbTlv::parse(&info).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(words::evb(&tlv), expected, "{name}");
        same(name, &tlv.to_bytes(), &info);
    }
}

fn cdcp(vectors: &mut Unchecked) {
    for (name, role, capacity, channels) in [
        ("CDCP-1", Role::Station, 4, &[(1, 1), (2, 0), (3, 0)][..]),
        ("CDCP-2", Role::Bridge, 167, &[(1, 1), (2, 100), (3, 101)]),
        ("CDCP-3", Role::Station, 4, &[(1, 1), (2, 100), (3, 101)]),
        ("CDCP-4", Role::Bridge, 167, &[(1, 1), (2, 100)]),
        ("CDCP-5", Role::Station, 4, &[(1, 1), (3, 101)]),
    ] {
        let info = ieee(name, &vectors.take(name), cdcp::SUBTYPE);
        let tlv = CdcpTlv::parse(&info).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!((tlv.role, tlv.s_component, tlv.capacity.get()), (role, true, capacity), "{name}");
        let channel = |&(scid, svid)| Channel { scid: Scid::new(scid).unwrap(), svid: Svid::new(svid) };
        assert_eq!(tlv.channels.as_slice(), channels.iter().map(channel).collect::<Vec<_>>(), "{name}");
        same(name, &tlv.to_bytes(), &info);
    }
}

fn ecp(vectors: &mut Unchecked) {
    for (name, expected) in [("ECP-1", "ack 1 of Vdp"), ("ECP-2", "request 4644 of Vdp")] {
        let octets = vectors.take(name);
        let (header, rest) = Header::parse(&octets).unwrap();
        assert_eq!((words::ecp(&header).as_str(), rest.len()), (expected, 0), "{name}");
        same(name, &emitted(&header, &[]), &octets);
    }
    let octets = vectors.take("ECP-3");
    let (header, padding) = Header::parse(payload("ECP-3", &octets, NCB, BRIDGE, EtherType::ECP)).unwrap();
    assert_eq!((words::ecp(&header).as_str(), padding.len()), ("ack 1 of Vdp", 42));
    same("ECP-3", &frame::build(NCB, BRIDGE, EtherType::ECP, &emitted(&header, &[])), &octets);
}

fn vdp(vectors: &mut Unchecked) {
    let id = vectors.take("VDP-MGR-1");
    for (name, manager) in [("VDP-MGR-1", MANAGER), ("VDP-MGR-2", "192.0.2.10")] {
        let octets = if name == "VDP-MGR-1" { id.clone() } else { vectors.take(name) };
        assert_eq!(vdpdu(name, &octets, manager), [""; 0], "{name}");
    }
    for (name, expected) in [
        ("VDP-1", format!("Associate request 43981/2 {VSI} [52:54:00:11:22:33 vid 100]")),
        ("VDP-2", format!("Associate granted 43981/2 {VSI} [52:54:00:11:22:33 vid 100]")),
        ("VDP-3", format!("Associate request 43981/2 {VSI} [no vid]")),
        ("VDP-4", format!("Associate granted 43981/2 {VSI} [vid 200 pcp 5]")),
        ("VDP-5", "PreAssociateRr request 1/1 52:54:00:11:22:33 [group 74565 no vid]".to_owned()),
        (
            "VDP-6",
            format!(
                "Associate request M 43981/2 {VSI} \
                 [group 74565 52:54:00:11:22:33 no vid, group 74566 52:54:00:11:22:34 vid 300 pcp 3]"
            ),
        ),
        ("VDP-7", format!("Associate refused KEEP 3 43981/2 {VSI} [52:54:00:11:22:33 vid 100]")),
        ("VDP-8", format!("DeAssociate refused HARD 2 43981/2 {VSI} [52:54:00:11:22:33 vid 100]")),
        ("VDP-9", format!("DeAssociate request 43981/2 {VSI} [52:54:00:11:22:33 vid 100]")),
        ("VDP-10", format!("Associate request S 43981/2 {VSI} [52:54:00:11:22:33 vid 100]")),
        ("VDP-11", "PreAssociate request 7/0 192.0.2.77 [vid 42 pcp 6]".to_owned()),
    ] {
        let octets = [&id[..], &vectors.take(name)].concat();
        assert_eq!(vdpdu(name, &octets, MANAGER), [expected], "{name}");
    }

    let octets = [&id[..], &vectors.take("VDP-ORG-1")].concat();
    vdpdu("VDP-ORG-1", &octets, MANAGER);
    let Item::Organizational { oui, body } = &Vdpdu::parse(&octets).unwrap().items[0] else { panic!() };
    assert_eq!((oui, body.len(), &body[35..]), (&[0, 0, 0x0c], 38, &b"vm1"[..]));

    let one = format!("Associate request 43981/2 {VSI} [52:54:00:11:22:33 vid 100]");
    let two = "DeAssociate request 43981/2 52:54:00:11:22:99 [52:54:00:11:22:99 vid 101]".to_owned();
    for (name, src, header, items) in [
        ("FRAME-1", STATION, "request 1 of Vdp", vec![one.clone()]),
        ("FRAME-2", BRIDGE, "request 7 of Vdp", vec![one.replace("request", "granted")]),
        ("FRAME-3", STATION, "request 2 of Vdp", vec![one, two]),
    ] {
        let octets = vectors.take(name);
        let (read, rest) = Header::parse(payload(name, &octets, NCB, src, EtherType::ECP)).unwrap();
        assert_eq!(words::ecp(&read), header, "{name}");
        assert_eq!(vdpdu(name, rest, MANAGER), items, "{name}");
        let pdu = emitted(&read, &Vdpdu::parse(rest).unwrap().to_bytes().unwrap());
        same(name, &frame::build(NCB, src, EtherType::ECP, &pdu), &[&octets[..], &[0, 0]].concat());
    }
}

fn lldp(vectors: &mut Unchecked) {
    let nntpmr = mac::NEAREST_NON_TPMR_BRIDGE;
    for (name, dst, ttl, orgs) in
        [("LLDP-1", NCB, 121, &[0x0d][..]), ("LLDP-2", nntpmr, 121, &[0x0e]), ("LLDP-3", NCB, 0, &[])]
    {
        let pdu = lldpdu(name, &vectors.take(name), dst, STATION);
        let who = "chassis 02:00:00:00:0a:01 port eth0";
        assert_eq!((pdu.msap.to_string().as_str(), pdu.ttl), (who, ttl), "{name}");
        assert_eq!(pdu.org.iter().map(|tlv| tlv.key().subtype).collect::<Vec<_>>(), orgs, "{name}");
    }

    let pdu = lldpdu_with("LLDP-T mgmt", &vectors.take("LLDP-T mgmt"));
    let address = ManagementAddress::ip([192, 0, 2, 1].into(), InterfaceNumbering::IfIndex, 3);
    assert_eq!(pdu.management_addresses, [address]);
    let pdu = lldpdu_with("LLDP-T syscaps", &vectors.take("LLDP-T syscaps"));
    let supported = CapabilitySet(CapabilitySet::BRIDGE.0 | CapabilitySet::ROUTER.0);
    assert_eq!(pdu.capabilities, Some(Capabilities { supported, enabled: CapabilitySet::BRIDGE }));
    // Not spoken here: kept, and written as they were.
    for (name, subtype, info) in [
        ("LLDP-T 802.1 PVID", 1, &[0, 1][..]),
        ("LLDP-T 802.1 VLAN name", 3, b"\0\x64\x04prod"),
        ("LLDP-T 802.1 link agg", 7, &[3, 0, 0, 0, 5]),
    ] {
        assert_eq!(ieee(name, &vectors.take(name), subtype), info, "{name}");
    }
}

fn negative(vectors: &mut Unchecked) {
    let manager = [&[0x0a, 0x10][..], &[0; 16]].concat();
    for (name, error, code) in [
        ("NEG-1", FilterError::Length { entries: 2, size: 8, octets: 8 }, ErrorCode::InvalidFormat),
        ("NEG-7", FilterError::ZeroGroup, ErrorCode::InvalidVidGroupOrMac),
        ("NEG-8", FilterError::ReservedVid, ErrorCode::InvalidVidGroupOrMac),
    ] {
        let octets = [&manager[..], &vectors.take(name)].concat();
        let pdu = Vdpdu::parse(&octets).unwrap_or_else(|e| panic!("{name}: {e}"));
        let [Item::Malformed(bad)] = &pdu.items[..] else { panic!("{name}: {pdu:?}") };
        assert_eq!((bad.error, bad.error.code()), (TlvError::Filter(error), code), "{name}");
        assert_eq!(bad.id.map(|id| id.to_string()).as_deref(), Some(VSI), "{name}");
    }
    let octets = [&manager[..], &vectors.take("NEG-6")].concat();
    let overrun = PeerTlvError::Overrun { kind: kind(3), offset: 18, length: 255, left: 33 };
    assert_eq!(Vdpdu::parse(&octets), Err(PduError::Tlv(overrun)));

    // LLDP carries these two whatever is in them.
    let info = ieee("NEG-2", &vectors.take("NEG-2"), 0x0d);
    assert_eq!(EvbTlv::parse(&info), Err(ShortEvbTlv(4)));
    let info = ieee("NEG-3", &vectors.take("NEG-3"), cdcp::SUBTYPE);
    assert_eq!(CdcpTlv::parse(&info), Err(CdcpTlvError::PartialPair(8)));

    assert_eq!(Header::parse(&vectors.take("NEG-4")), Err(HeaderError::PeerVersion(2)));
    let octets = vectors.take("NEG-5");
    assert_eq!(Header::parse(&octets).unwrap().0.subtype, Subtype::Unknown(5));
    let mut link = Link::new(Subtype::Vdp, Params::default(), 1, Instant::ZERO);
    link.handle_pdu(Instant::ZERO, &octets);
    assert_eq!((link.poll_output(), link.stats().rx_other_subtype), (None, 1));
}

/// The items of a VDPDU without End TLV, which is written as it was and with an End TLV.
fn vdpdu(name: &str, octets: &[u8], manager: &str) -> Vec<String> {
    let pdu = Vdpdu::parse(octets).unwrap_or_else(|e| panic!("{name}: {e}"));
    same(name, &pdu.to_bytes().unwrap(), &[octets, &[0, 0]].concat());
    words::vdp(&pdu, manager)
}
