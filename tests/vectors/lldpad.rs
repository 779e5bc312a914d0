//! The frames captured from lldpad.

use dcbx::{cee, ieee};
use ecp::Header;
use ether::{EtherType, MacAddr, frame, mac};
use lldp::basic::{Capabilities, CapabilitySet};
use vdp::{evb::tlv::EvbTlv, tlv::Vdpdu};

use crate::{BRIDGE, NCB, STATION, Unchecked, emitted, file::octets, lldpdu, org, payload, same, words};

pub(crate) fn check(vectors: &mut Unchecked) {
    lldp(vectors);
    evb(vectors);
    vdp(vectors);
    dcbx(vectors);
}

const BY_HAND: MacAddr = MacAddr(2, 0, 0, 0, 0x0c, 1);
const IEEE: [u8; 3] = [0x00, 0x80, 0xc2];

fn lldp(vectors: &mut Unchecked) {
    for (name, dst) in [("V01", mac::NEAREST_BRIDGE), ("V02", mac::NEAREST_NON_TPMR_BRIDGE), ("V03", NCB)] {
        let pdu = lldpdu(name, &vectors.take(name), dst, STATION);
        let who = "chassis 02:00:00:00:0a:01 port 02:00:00:00:0a:01";
        assert_eq!((pdu.msap.to_string().as_str(), pdu.ttl), (who, 120), "{name}");
        let texts = [&pdu.port_description, &pdu.system_name, &pdu.system_description];
        let texts = texts.map(|text| text.as_ref().unwrap().to_string());
        assert_eq!([&*texts[0], &*texts[1]], ["Interface   2 as lldpad-va", "vm"], "{name}");
        assert!(texts[2].starts_with("Linux ") && texts[2].len() == 57, "{name}: {}", texts[2]);
        let station = CapabilitySet::STATION_ONLY;
        assert_eq!(pdu.capabilities, Some(Capabilities { supported: station, enabled: station }), "{name}");
        let [address] = &pdu.management_addresses[..] else { panic!("{name}: {pdu:?}") };
        assert_eq!((address.to_string().as_str(), address.interface), ("fe80::ff:fe00:a01", 2), "{name}");
    }
    assert!(lldpdu("V04", &vectors.take("V04"), NCB, STATION).is_shutdown());
    // EVB of draft 0.2 is nothing we speak: kept, and written as it was.
    for (name, info) in [("V36", "40 07 40 00 00 00 00 00 0f"), ("V37", "40 07 40 07 0c df 00 00 0f")] {
        let pdu = lldpdu(name, &vectors.take(name), NCB, STATION);
        assert_eq!(org(name, &pdu, [0x00, 0x1b, 0x3f], 0), octets(info), "{name}");
    }
}

fn evb(vectors: &mut Unchecked) {
    for (name, src, expected) in [
        ("V05", STATION, "Station b:[] s:[sgid rrreq unknown] 3/8 20 20"),
        ("V06", STATION, "Station b:[bgid rrcap rrctr] s:[sgid rrreq on] 3/8 20* 20*"),
        ("V07", BRIDGE, "Bridge b:[bgid rrcap rrctr] s:[sgid rrreq on] 3/8 20* 20*"),
    ] {
        let info = org(name, &lldpdu(name, &vectors.take(name), NCB, src), IEEE, 0x0d);
        let tlv = EvbTlv::parse(&info).unwrap();
        assert_eq!(words::evb(&tlv), expected, "{name}");
        same(name, &tlv.to_bytes(), &info);
    }
}

/// (name, source, sequence number, manager, items).
type Exchange = (&'static str, MacAddr, u16, &'static str, &'static [&'static str]);

#[rustfmt::skip]
const EXCHANGES: [Exchange; 27] = [
    ("V08", STATION, 5, "labmgr", &["PreAssociate request 5/1 a0000000-0000-0000-0000-000000000001 [52:54:00:00:00:01 vid 100]"]),
    ("V09", BRIDGE, 5, "labmgr", &["PreAssociate granted 5/1 a0000000-0000-0000-0000-000000000001 [52:54:00:00:00:01 vid 100]"]),
    ("V10", STATION, 6, "labmgr", &["PreAssociateRr request 5/1 a0000000-0000-0000-0000-000000000002 [52:54:00:00:00:02 vid 100]"]),
    ("V11", BRIDGE, 6, "labmgr", &["PreAssociateRr granted 5/1 a0000000-0000-0000-0000-000000000002 [52:54:00:00:00:02 vid 100]"]),
    ("V12", STATION, 7, "labmgr", &["Associate request 5/1 a0000000-0000-0000-0000-000000000003 [vid 101]"]),
    ("V13", STATION, 8, "labmgr", &["Associate request 5/1 a0000000-0000-0000-0000-000000000004 [52:54:00:00:00:04 vid 102]"]),
    ("V14", STATION, 11, "labmgr", &["Associate request 5/1 a0000000-0000-0000-0000-000000000007 \
        [52:54:00:00:00:07 vid 105, 52:54:00:00:00:08 vid 106, 52:54:00:00:00:09 vid 107]"]),
    ("V15", STATION, 9, "labmgr", &["Associate request 5/1 a0000000-0000-0000-0000-000000000005 [group 777 vid 103]"]),
    ("V16", STATION, 10, "labmgr", &["Associate request 5/1 a0000000-0000-0000-0000-000000000006 [group 888 52:54:00:00:00:06 vid 104]"]),
    ("V17", STATION, 13, "labmgr", &["Associate request 5/1 a0000000-0000-0000-0000-000000000009 [52:54:00:00:00:0b vid 110 pcp 6]"]),
    ("V18", STATION, 12, "labmgr", &["Associate request 5/1 a0000000-0000-0000-0000-000000000008 [52:54:00:00:00:0a no vid]"]),
    ("V19", STATION, 14, "0xaabbccdd112233445566778899aabbcc",
        &["Associate request M 16777215/255 a0000000-0000-0000-0000-00000000000a [52:54:00:00:00:0c vid 111]"]),
    ("V20", STATION, 15, "MGR1", &["PreAssociate request S 1/0 a0000000-0000-0000-0000-00000000000b [52:54:00:00:00:0d vid 112]"]),
    ("V21", STATION, 42, "labmgr", &["Associate request 5/1 a0000000-0000-0000-0000-00000000000f [52:54:00:00:00:10 vid 120]",
        "org 00-00-0c, 97 octets, \\xf1\\x05\\xa0\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x0f\
         \\x05\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\
         vm1,vm_uuid=a0000000-0000-0000-0000-00000000000f,l3id=10.0.0.1"]),
    ("V22", BRIDGE, 1, "blabla", &["Associate granted 5/4 11223344-5566-7788-99aa-bbccddeeff01 [group 200 52:54:00:11:22:33 vid 2]"]),
    ("V23", STATION, 4, "blabla", &["DeAssociate request 5/4 11223344-5566-7788-99aa-bbccddeeff01 [group 200 52:54:00:11:22:33 vid 2]"]),
    ("V24", BRIDGE, 4, "blabla", &["DeAssociate granted 5/4 11223344-5566-7788-99aa-bbccddeeff01 [group 200 52:54:00:11:22:33 vid 2]"]),
    ("V25", BRIDGE, 5, "blabla", &["DeAssociate request 5/4 11223344-5566-7788-99aa-bbccddeeff01 [group 200 52:54:00:11:22:33 vid 2]"]),
    ("V27", BRIDGE, 1, "labmgr", &["DeAssociate refused 2 201/1 e0000000-0000-0000-0000-000000000001 [52:54:00:00:00:01 vid 10]"]),
    ("V28", BRIDGE, 2, "labmgr", &["Associate refused KEEP 3 202/2 e0000000-0000-0000-0000-000000000002 [52:54:00:00:00:02 vid 10]"]),
    ("V29", BRIDGE, 3, "labmgr", &["DeAssociate refused HARD 2 203/3 e0000000-0000-0000-0000-000000000003 [52:54:00:00:00:03 vid 10]"]),
    ("V30", BRIDGE, 4, "labmgr", &["Associate granted 205/0 e0000000-0000-0000-0000-000000000005 [52:54:00:00:00:05 vid 205]"]),
    ("V31", BRIDGE, 6, "labmgr", &["Associate granted 206/3 e0000000-0000-0000-0000-000000000007 [52:54:00:00:00:07 vid 10 pcp 3]"]),
    ("V32", BRIDGE, 7, "labmgr", &["Associate granted 208/0 e0000000-0000-0000-0000-000000000008 \
        [52:54:00:00:00:08 vid 208, 52:54:00:00:00:09 vid 208]"]),
    // An IPv4 VSIID of lldpad, behind zeros instead of ::ffff, is kept as it is.
    ("V33", BRIDGE, 20, "labmgr", &["Associate refused 2 5/1 ipv4:0000000000000000000000000a000001 [52:54:00:00:01:0b vid 100]"]),
    ("V34", BY_HAND, 1007, "labmgr", &["Associate request 5/1 b0000000-0000-0000-0000-000000000006 [52:54:00:00:01:06 vid 100]",
        "Associate request 5/1 b0000000-0000-0000-0000-000000000007 [52:54:00:00:01:07 vid 100]",
        "Associate request 5/1 b0000000-0000-0000-0000-000000000008 [52:54:00:00:01:08 vid 100]"]),
    ("V35", BY_HAND, 1009, "labmgr", &["Associate request 5/1 b0000000-0000-0000-0000-000000000006 [52:54:00:00:01:06 vid 100]",
        "Associate request 5/1 b0000000-0000-0000-0000-000000000007 [52:54:00:00:01:07 vid 100]",
        "Associate request 5/1 b0000000-0000-0000-0000-000000000008 [52:54:00:00:01:08 vid 100]"]),
];

fn vdp(vectors: &mut Unchecked) {
    for (name, src, sequence, manager, items) in EXCHANGES {
        let octets = vectors.take(name);
        let (header, rest) = Header::parse(payload(name, &octets, NCB, src, EtherType::ECP)).unwrap();
        assert_eq!(words::ecp(&header), format!("request {sequence} of Vdp"), "{name}");
        let pdu = Vdpdu::parse(rest).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(words::vdp(&pdu, manager), items, "{name}");
        let written = frame::build(NCB, src, EtherType::ECP, &emitted(&header, &pdu.to_bytes().unwrap()));
        // lldpad sends no End TLV, we do. V35 has one.
        let end: &[u8] = if name == "V35" { &[] } else { &[0, 0] };
        same(name, &written, &[&octets[..], end].concat());
    }
    // A virtual link carries an acknowledgement unpadded; we pad it to the shortest frame of a real one.
    let octets = vectors.take("V26");
    let (header, rest) = Header::parse(payload("V26", &octets, NCB, BRIDGE, EtherType::ECP)).unwrap();
    assert_eq!((words::ecp(&header).as_str(), rest.len()), ("ack 1 of Vdp", 0));
    let written = frame::build(NCB, BRIDGE, EtherType::ECP, &emitted(&header, &[]));
    same("V26", &written, &[&octets[..], &[0; 42]].concat());
}

/// (name, source, TLVs).
type Neighbor = (&'static str, MacAddr, &'static [&'static str]);

#[rustfmt::skip]
const NEIGHBORS: [Neighbor; 6] = [
    ("V45", STATION, &["ETS in use, willing, 8 classes: class 0 strict (priorities 0,1,2,3,4,5,6,7)",
        "PFC, willing, at most 8 classes: priorities none"]),
    ("V46", BRIDGE, &["ETS in use, not willing, 8 classes: class 0 ETS 60 % (priorities 0,1,2,5,6), \
            class 1 ETS 40 % (priorities 3,4), class 2 strict (priorities 7)",
        "ETS recommended: class 0 ETS 60 % (priorities 0,1,2,5,6), class 1 ETS 40 % (priorities 3,4), class 2 strict (priorities 7)",
        "PFC, not willing, at most 8 classes: priorities 3,4",
        "application priorities: FCoE 3, iSCSI 4, DSCP 46 5"]),
    ("V47", STATION, &["ETS in use, willing, 8 classes: class 0 ETS 60 % (priorities 0,1,2,5,6), \
            class 1 ETS 40 % (priorities 3,4), class 2 strict (priorities 7)",
        "PFC, willing, at most 8 classes: priorities 3,4",
        "application priorities: DSCP 46 5, iSCSI 4, FCoE 3"]),
    ("V48", BRIDGE, &["DCBX CEE, sequence 3, acknowledges 1; priority groups [0: 60 %, priorities 0,1,2,5,6] \
        [1: 40 %, priorities 3,4] [2: 0 %, priorities 7] (not willing); PFC priorities 3,4 (not willing); \
        applications [FCoE 3] [iSCSI 4] [FIP 3] (not willing)"]),
    ("V49", STATION, &["DCBX CEE, sequence 1, acknowledges 3; priority groups [0: 13 %, priorities 0] [1: 13 %, priorities 1] \
        [2: 13 %, priorities 2] [3: 13 %, priorities 3] [4: 12 %, priorities 4] [5: 12 %, priorities 5] \
        [6: 12 %, priorities 6] [7: 12 %, priorities 7] (willing); PFC priorities none (willing); \
        applications [FCoE 3] [iSCSI 4] [FIP 3] (willing)"]),
    ("V50", BRIDGE, &["DCBX CIN, sequence 3, acknowledges 2; bandwidth groups [0: 60 %] [1: 40 %], priorities \
        0 100 % of group 0, 1 100 % of group 1, 2 100 % of group 2, 3 100 % of group 3, 4 100 % of group 4, \
        5 100 % of group 5, 6 100 % of group 6, 7 100 % of group 7 (not willing); PFC priorities 3,4 (not willing); \
        FCoE priorities 3 (not willing); FCoE link down (willing, in error)"]),
];

fn dcbx(vectors: &mut Unchecked) {
    for (name, src, expected) in NEIGHBORS {
        let pdu = lldpdu(name, &vectors.take(name), mac::NEAREST_BRIDGE, src);
        assert_eq!(pdu.org.iter().map(|tlv| read(name, tlv)).collect::<Vec<_>>(), expected, "{name}");
    }
}

/// A DCBX TLV in words; it must be written as it was.
fn read(name: &str, tlv: &lldp::OrgTlv) -> String {
    let (key, info) = (tlv.key(), tlv.info());
    let (said, written) = match (key.oui.0, key.subtype) {
        (IEEE, ieee::EtsConfiguration::SUBTYPE) => {
            let tlv = ieee::EtsConfiguration::parse(info).unwrap();
            (tlv.to_string(), tlv.to_bytes())
        }
        (IEEE, ieee::EtsRecommendation::SUBTYPE) => {
            let tlv = ieee::EtsRecommendation::parse(info).unwrap();
            (tlv.to_string(), tlv.to_bytes())
        }
        (IEEE, ieee::Pfc::SUBTYPE) => {
            let tlv = ieee::Pfc::parse(info).unwrap();
            (tlv.to_string(), tlv.to_bytes())
        }
        (IEEE, ieee::ApplicationPriority::SUBTYPE) => {
            let tlv = ieee::ApplicationPriority::parse(info).unwrap();
            (tlv.to_string(), tlv.to_bytes())
        }
        (cee::OUI, cee::CeeTlv::SUBTYPE) => {
            let tlv = cee::CeeTlv::parse(info).unwrap();
            (tlv.to_string(), tlv.to_bytes().unwrap())
        }
        (cee::OUI, cee::CinTlv::SUBTYPE) => {
            let tlv = cee::CinTlv::parse(info).unwrap();
            (tlv.to_string(), tlv.to_bytes().unwrap())
        }
        _ => panic!("{name}: {key}"),
    };
    same(name, &written, info);
    said
}
