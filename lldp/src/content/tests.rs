use ether::{Pcp, Vid};
use proptest::{collection::vec, option, prelude::*};

use super::*;
use crate::{
    dot1::{ApplicationVlan, CongestionNotification, PortProtocolVlan, ProtocolIdentity, VlanName},
    dot3::{Eee, MacPhy, Power, PowerNegotiation, Rest},
    med::{Application, Capabilities, Device, InventoryItem, NetworkPolicy, Opaque},
};

const DOT1: Oui = Oui::IEEE_802_1;
const DOT3: Oui = Oui::IEEE_802_3;
const MED: Oui = Oui::MED;

/// (organization, subtype, octets, words). Wireshark 4.0 reads the same in them, where it reads anything: not in VID usage
/// digests, management VLANs, application VLANs and locations.
#[rustfmt::skip]
const VECTORS: [(Oui, u8, &str, &str); 41] = [
    (DOT1, 1, "0064", "port VLAN 100"),
    (DOT1, 1, "0000", "port VLAN none"),
    (DOT1, 2, "0600c8", "port and protocol VLAN 200: supported yes, enabled yes"),
    (DOT1, 2, "020000", "port and protocol VLAN none: supported yes, enabled no"),
    (DOT1, 3, "006403776562", "VLAN 100 is named \"web\""),
    (DOT1, 3, "006400", "VLAN 100 is named \"\""),
    (DOT1, 3, "0064031b5b6d", "VLAN 100 is named \"\\u{1b}[m\""),
    (DOT1, 4, "0288cc", "protocol 88cc"),
    (DOT1, 4, "00", "protocol "),
    (DOT1, 5, "deadbeef", "VID usage digest deadbeef"),
    (DOT1, 6, "0ffe", "management VLAN 4094"),
    (DOT1, 6, "0000", "management VLAN none"),
    (DOT1, 7, "0300000007", "link aggregation: capable, aggregated in port 7"),
    (DOT1, 7, "0500000000", "link aggregation: capable, not aggregated"),
    (DOT1, 8, "0802", "congestion notification: priorities 3, ready 1 (contradictory: not on for 1)"),
    (DOT1, 8, "8100", "congestion notification: priorities 0,7, ready none"),
    (DOT1, 0x10, "064189060c840010",
        "application VLANs: EtherType 8906 in VLAN 100, TCP or UDP port 16 in VLAN 200"),
    (DOT1, 0x10, "0642005000130035064500200646ffff",
        "application VLANs: TCP port 80 in VLAN 100, UDP port 53 in VLAN 1, DSCP 32 in VLAN 100, \
         selector 6 protocol 65535 in VLAN 100"),
    (DOT3, 1, "036c01001e", "MAC/PHY: autonegotiation on, offers 6c01, runs 1000BASE-T full duplex"),
    (DOT3, 1, "0100000000", "MAC/PHY: autonegotiation off, offers 0000, runs an unknown medium"),
    (DOT3, 1, "00000003e7", "MAC/PHY: autonegotiation not supported, offers 0000, runs MAU type 999"),
    (DOT3, 2, "0f0105", "power via MDI: PSE, on, pairs signal, class 4"),
    (DOT3, 2, "020200", "power via MDI: PD, off, pairs spare, no class"),
    (DOT3, 2, "000705", "power via MDI: PD, not supported, pairs 7, class 4"),
    (DOT3, 2, "0701 05 11 00ff 0082",
        "power via MDI: PSE, on, pairs signal, class 4, type 2 PSE, priority critical, asks for 25.5 W, is given 13.0 W"),
    (DOT3, 2, "0601 03 d2 0041 0041",
        "power via MDI: PD, on, pairs signal, class 2, type 1 PD, priority high, asks for 6.5 W, is given 6.5 W"),
    (DOT3, 2, "0701 05 43 00ff 0082 0102030405060708090a0b0c0d0e0f1011",
        "power via MDI: PSE, on, pairs signal, class 4, type 2 PD, priority low, asks for 25.5 W, is given 13.0 W, \
         and 0102030405060708090a0b0c0d0e0f1011"),
    (DOT3, 3, "0100000000", "link aggregation (802.3): capable, not aggregated"),
    (DOT3, 4, "05ee", "maximum frame size 1518"),
    (DOT3, 5, "0011001e001e00110012",
        "EEE: transmit wake 17 µs, receive 30 µs, fallback 30 µs, heard 17 and 18 µs"),
    (MED, 1, "002304", "MED network device, knows capabilities, policy, inventory"),
    (MED, 1, "000003", "MED endpoint of class III, knows"),
    (MED, 2, "0140c96e", "network policy for voice: VLAN 100 tagged, priority 5, DSCP 46"),
    (MED, 2, "06000000", "network policy for video conferencing: untagged, priority 0, DSCP 0"),
    (MED, 2, "02800000", "network policy for voice signaling: not known"),
    (MED, 2, "09400140", "network policy for an unknown application (9): priority tagged, priority 5, DSCP 0"),
    (MED, 3, "0201020304", "MED location 0201020304"),
    (MED, 4, "520082", "MED extended power 520082"),
    (MED, 5, "763120", "hardware revision \"v1 \""),
    (MED, 8, "", "serial number \"\""),
    (MED, 11, "41", "asset ID \"A\""),
];

fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|d| u8::from_str_radix(core::str::from_utf8(d).unwrap(), 16).unwrap()).collect()
}

fn read(oui: Oui, subtype: u8, info: &[u8]) -> Result<Option<Content>, PeerOrgFault> {
    Content::read(&OrgTlv::new(OrgKey { oui, subtype }, info.to_vec()).unwrap())
}

#[test]
fn vectors_both_ways() {
    for (oui, subtype, hex, words) in VECTORS {
        let content = read(oui, subtype, &octets(hex)).unwrap().unwrap();
        assert_eq!(content.to_string(), words, "{oui}/{subtype:02x} {hex}");
        let tlv = content.tlv().unwrap();
        assert_eq!((tlv.key(), tlv.info()[..].to_vec()), (OrgKey { oui, subtype }, octets(hex)), "{words}");
        serde_json::to_string(&content).unwrap();
    }
}

#[test]
fn every_truncation_is_a_fault_or_another_whole() {
    for (oui, subtype, hex, words) in VECTORS {
        let octets = octets(hex);
        for len in 0..octets.len() {
            match read(oui, subtype, &octets[..len]) {
                Ok(Some(content)) => {
                    // A string, a list or an appendix may be shorter; what is read is what was there.
                    assert_eq!(content.to_bytes()[..], octets[..len], "{words} cut to {len}");
                    let may = matches!(
                        content,
                        Content::Med(crate::med::Med::Location(_) | crate::med::Med::ExtendedPower(_))
                            | Content::Med(crate::med::Med::Inventory(..))
                            | Content::Dot1(Dot1::ApplicationVlan(_))
                            | Content::Dot3(Dot3::Power(_))
                    );
                    assert!(may, "{words} cut to {len}");
                }
                Ok(None) => panic!("{words} cut to {len}: not known"),
                Err(fault) => assert!(fault.to_string().starts_with("peer: "), "{fault}"),
            }
        }
    }
}

#[test]
fn faults_say_what_and_how_long() {
    let cases = [
        (DOT1, 1, "01", "peer: port VLAN of 1 octets, allowed are 2"),
        (DOT1, 1, "0fff", "peer: port VLAN for VLAN 4095, allowed are 0 to 4094"),
        (DOT1, 2, "06", "peer: port and protocol VLAN of 1 octets, allowed are 3"),
        (DOT1, 2, "061000", "peer: port and protocol VLAN for VLAN 4096, allowed are 0 to 4094"),
        (DOT1, 3, "0064", "peer: VLAN name of 2 octets, allowed are 3 to 35"),
        (DOT1, 3, "000000", "peer: VLAN name for VLAN 0, allowed are 1 to 4094"),
        (DOT1, 3, "0064046162", "peer: VLAN name with a string of 4 octets where 2 are left, allowed are 32"),
        (DOT1, 3, "0064016162", "peer: VLAN name with a string of 1 octets where 2 are left, allowed are 32"),
        (DOT1, 4, "", "peer: protocol identity of 0 octets, allowed are 1 to 256"),
        (
            DOT1,
            4,
            "02aa",
            "peer: protocol identity with a string of 2 octets where 1 are left, allowed are 255",
        ),
        (DOT1, 5, "000000", "peer: VID usage digest of 3 octets, allowed are 4"),
        (DOT1, 6, "ffff", "peer: management VLAN for VLAN 65535, allowed are 0 to 4094"),
        (DOT1, 7, "01", "peer: link aggregation of 1 octets, allowed are 5"),
        (DOT1, 8, "01", "peer: congestion notification of 1 octets, allowed are 2"),
        (DOT1, 0x10, "0641890606", "peer: application VLANs of 5 octets, allowed are a multiple of 4"),
        (DOT1, 0x10, "00018906", "peer: application VLANs for VLAN 0, allowed are 1 to 4094"),
        (DOT3, 1, "03", "peer: MAC/PHY of 1 octets, allowed are 5"),
        (DOT3, 2, "030102ff", "peer: power via MDI of 4 octets, allowed are 3 or at least 8"),
        (DOT3, 3, "03", "peer: link aggregation of 802.3 of 1 octets, allowed are 5"),
        (DOT3, 4, "000001", "peer: maximum frame size of 3 octets, allowed are 2"),
        (DOT3, 5, "0001", "peer: EEE of 2 octets, allowed are 10"),
        (MED, 1, "0001", "peer: MED capabilities of 2 octets, allowed are 3"),
        (MED, 2, "01", "peer: network policy of 1 octets, allowed are 4"),
        (MED, 2, "011ffe00", "peer: network policy for VLAN 4095, allowed are 0 to 4094"),
    ];
    for (oui, subtype, hex, words) in cases {
        let fault = read(oui, subtype, &octets(hex)).unwrap_err();
        assert_eq!(fault.to_string(), words);
    }
    let long = PeerOrgFault::Length { what: "model", length: 33, allowed: "0 to 32" };
    assert_eq!(read(MED, 10, &[b'x'; 33]), Err(long));
    let name = [&[0, 100, 33][..], &[b'x'; 33]].concat();
    assert!(read(DOT1, 3, &name).is_err());
}

#[test]
fn what_is_not_read_here_is_left_alone() {
    for (oui, subtype) in
        [(DOT1, 0x0d), (DOT1, 0x0b), (DOT1, 0), (DOT3, 6), (MED, 12), (Oui([0, 0x1b, 0x21]), 1)]
    {
        assert_eq!(read(oui, subtype, &[1, 2]), Ok(None));
    }
}

#[test]
fn strings_are_cut_between_characters() {
    assert_eq!(Label::truncated(&"ä".repeat(20)).as_bytes().len(), 32);
    assert_eq!(Label::truncated(&format!("x{}", "ä".repeat(20))).as_bytes().len(), 31);
    assert_eq!(ProtocolIdentity::truncated(&[7; 300]).as_bytes().len(), 255);
}

#[test]
fn more_application_vlans_than_fit_are_no_tlv() {
    let one = ApplicationVlan { vid: Vid::DEFAULT, selector: 1, protocol: 2 };
    assert!(Content::Dot1(Dot1::ApplicationVlan(vec![one; 126])).tlv().is_ok());
    assert!(Content::Dot1(Dot1::ApplicationVlan(vec![one; 127])).tlv().is_err());
}

fn vid() -> impl Strategy<Value = Vid> {
    (1u16..=4094).prop_map(|vid| Vid::new(vid).unwrap())
}

fn label() -> impl Strategy<Value = Label> {
    vec(any::<u8>(), 0..=32).prop_map(|octets| Label::parse(&octets).unwrap())
}

fn bundle() -> impl Strategy<Value = LinkAggregation> {
    (any::<bool>(), any::<bool>(), 0u8..4, any::<u32>()).prop_map(|(capable, aggregated, port_kind, port)| {
        LinkAggregation { capable, aggregated, port_kind, port }
    })
}

fn dot1() -> impl Strategy<Value = Dot1> {
    prop_oneof![
        option::of(vid()).prop_map(Dot1::PortVlan),
        (any::<bool>(), any::<bool>(), option::of(vid())).prop_map(|(supported, enabled, vid)| {
            Dot1::PortProtocolVlan(PortProtocolVlan { supported, enabled, vid })
        }),
        (vid(), label()).prop_map(|(vid, name)| Dot1::VlanName(VlanName { vid, name })),
        vec(any::<u8>(), 0..=255).prop_map(|o| Dot1::ProtocolIdentity(ProtocolIdentity::truncated(&o))),
        any::<u32>().prop_map(Dot1::VidUsageDigest),
        option::of(vid()).prop_map(Dot1::ManagementVlan),
        bundle().prop_map(Dot1::LinkAggregation),
        any::<[u8; 2]>().prop_map(|[priorities, ready]| {
            Dot1::CongestionNotification(CongestionNotification { priorities, ready })
        }),
        vec((vid(), 0u8..8, any::<u16>()), 0..=126).prop_map(|entries| {
            let entry = |(vid, selector, protocol)| ApplicationVlan { vid, selector, protocol };
            Dot1::ApplicationVlan(entries.into_iter().map(entry).collect())
        }),
    ]
}

fn power() -> impl Strategy<Value = Power> {
    let negotiation = (any::<bool>(), any::<bool>(), 0u8..4, 0u8..4, any::<u16>(), any::<u16>());
    let negotiation = negotiation.prop_map(|(type_1, pd, source, priority, requested, allocated)| {
        PowerNegotiation { type_1, pd, source, priority, requested, allocated }
    });
    let flags = any::<[bool; 4]>();
    (flags, any::<[u8; 2]>(), option::of((negotiation, vec(any::<u8>(), 0..=17)))).prop_map(
        |([pse, supported, enabled, pair_control], [pairs, class], more)| {
            let (negotiation, rest) = more.unzip();
            let rest = Rest(rest.unwrap_or_default().into());
            Power { pse, supported, enabled, pair_control, pairs, class, negotiation, rest }
        },
    )
}

fn dot3() -> impl Strategy<Value = Dot3> {
    prop_oneof![
        (any::<[bool; 2]>(), any::<[u16; 2]>()).prop_map(|([s, e], [advertised, mau])| {
            Dot3::MacPhy(MacPhy { autoneg_supported: s, autoneg_enabled: e, advertised, mau })
        }),
        power().prop_map(Dot3::Power),
        bundle().prop_map(Dot3::LinkAggregation),
        any::<u16>().prop_map(Dot3::MaxFrameSize),
        any::<[u16; 5]>().prop_map(|[transmit, receive, fallback, echo_transmit, echo_receive]| {
            Dot3::Eee(Eee { transmit, receive, fallback, echo_transmit, echo_receive })
        }),
    ]
}

fn med() -> impl Strategy<Value = Med> {
    let item = prop_oneof![
        Just(InventoryItem::HardwareRevision),
        Just(InventoryItem::FirmwareRevision),
        Just(InventoryItem::SoftwareRevision),
        Just(InventoryItem::SerialNumber),
        Just(InventoryItem::Manufacturer),
        Just(InventoryItem::Model),
        Just(InventoryItem::AssetId),
    ];
    let policy = (any::<u8>(), any::<[bool; 2]>(), option::of(vid()), 0u8..8, 0u8..64);
    prop_oneof![
        (any::<u16>(), any::<u8>()).prop_map(|(known, device)| {
            Med::Capabilities(Capabilities { known, device: Device::from(device) })
        }),
        policy.prop_map(|(application, [unknown, tagged], vid, pcp, dscp)| {
            let (application, pcp) = (Application::from(application), Pcp::from_low_bits(pcp));
            Med::NetworkPolicy(NetworkPolicy { application, unknown, tagged, vid, pcp, dscp })
        }),
        vec(any::<u8>(), 0..64).prop_map(|o| Med::Location(Opaque(o.into()))),
        vec(any::<u8>(), 0..8).prop_map(|o| Med::ExtendedPower(Opaque(o.into()))),
        (item, label()).prop_map(|(item, text)| Med::Inventory(item, text)),
    ]
}

proptest! {
    #[test]
    fn emit_then_parse(content in prop_oneof![
        dot1().prop_map(Content::Dot1),
        dot3().prop_map(Content::Dot3),
        med().prop_map(Content::Med),
    ]) {
        let tlv = content.tlv().unwrap();
        prop_assert_eq!(Content::read(&tlv), Ok(Some(content)));
    }

    #[test]
    fn any_octets(oui in prop_oneof![Just(DOT1), Just(DOT3), Just(MED)], subtype in 0u8..=20,
                  info in vec(any::<u8>(), 0..=40)) {
        match read(oui, subtype, &info) {
            Ok(Some(content)) => {
                let _ = content.to_string();
                prop_assert_eq!(content.key(), OrgKey { oui, subtype });
                // Reserved bits aside it is written as it was read.
                prop_assert_eq!(content.to_bytes().len(), info.len());
                prop_assert_eq!(Content::read(&content.tlv().unwrap()), Ok(Some(content)));
            }
            Ok(None) => {}
            Err(fault) => prop_assert!(fault.to_string().starts_with("peer: ")),
        }
    }
}
