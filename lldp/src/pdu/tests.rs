use proptest::{collection::vec, option, prelude::*};

use super::*;
use crate::{
    basic::{ChassisSubtype, PortSubtype},
    org::Oui,
    tlv::PeerTlvError,
};

/// Payloads of frames: lldpad's captured ones with basic TLVs, shutdown, EVB and DCBX, and those of the specification.
/// `*` marks padding after the End TLV.
const FRAMES: [(&str, &str); 13] = [
    (
        "V01",
        "020704020000000a01040703020000000a0106020078081a496e7465726661636520202032206173206c6c647061642d76610a02766d0c394c696e757820766d20362e31382e3020233120534d5020505245454d50545f44594e414d494320286e6f7420746865206f726967696e616c290e040080008010181102fe80000000000000000000fffe000a010200000002000000",
    ),
    ("V04", "020704020000000a01040703020000000a01060200000000*0000000000000000000000000000000000000000"),
    ("V05", "020704020000000a01040703020000000a0106020078fe090080c20d000f6894140000*000000000000000000"),
    ("V06", "020704020000000a01040703020000000a0106020078fe090080c20d070d68b4340000*000000000000000000"),
    ("V07", "020704020000000b01040703020000000b0106020078fe090080c20d070d6874340000*000000000000000000"),
    (
        "V45",
        "020704020000000a01040703020000000a0106020078fe190080c209800000000000000000000000000000000000000000fe060080c20b88000000",
    ),
    (
        "V46",
        "020704020000000b01040703020000000b0106020078fe190080c20900000110023c280000000000000202000000000000fe190080c20a00000110023c280000000000000202000000000000fe060080c20b0818fe0e0080c20c00618906820cbca5002e0000",
    ),
    (
        "V47",
        "020704020000000a01040703020000000a0106020078fe190080c20980000110023c280000000000000202000000000000fe060080c20b8818fe0e0080c20c00a5002e820cbc6189060000",
    ),
    (
        "V48",
        "020704020000000b01040703020000000b0106020078fe43001b2102020a00000000000300000001041100008000000110023c280000000000000806060000800018080816000080008906001b21080cbc011b21108914001b21080000",
    ),
    (
        "V50",
        "020704020000000b01040703020000000b0106020078fe43001b2101020a00000000000300000002041c000080003c2800000000000000642064406460648064a064c064e064060500008000180a0500008000080c050000e000000000",
    ),
    (
        "LLDP-1",
        "020704020000000a0104050565746830060200 79fe090080c20d00076e94140000*00000000000000000000000000",
    ),
    (
        "LLDP-2",
        "020704020000000a010405056574683006020079fe110080c20e8800000400100100200000300000 00*0000000000",
    ),
    ("LLDP-3", "020704020000000a010405056574683006020000 0000*00000000000000000000000000000000000000000000"),
];

/// Chassis ID `a`, port ID `b`, both local, TTL 120.
const HEAD: &str = "0202 0761 0402 0762 0602 0078";

fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|d| u8::from_str_radix(core::str::from_utf8(d).unwrap(), 16).unwrap()).collect()
}

fn frame(name: &str) -> Vec<u8> {
    octets(FRAMES.iter().find(|(n, _)| *n == name).unwrap().1)
}

/// [`HEAD`] and then `rest`.
fn after_head(rest: &str) -> Result<Received, PeerPduError> {
    Lldpdu::parse(&octets(&format!("{HEAD}{rest}")))
}

fn msap() -> Msap {
    Msap {
        chassis: ChassisId::new(ChassisSubtype::Local, &b"a"[..]).unwrap(),
        port: PortId::new(PortSubtype::Local, &b"b"[..]).unwrap(),
    }
}

fn kind(number: u8) -> TlvType {
    TlvType::from_low_bits(number)
}

fn key(subtype: u8) -> OrgKey {
    OrgKey { oui: Oui::IEEE_802_1, subtype }
}

fn org(subtype: u8, len: usize) -> OrgTlv {
    OrgTlv::new(key(subtype), vec![subtype; len]).unwrap()
}

#[test]
fn frames_both_ways() {
    for (name, hex) in FRAMES {
        let received = Lldpdu::parse(&octets(hex)).unwrap();
        assert_eq!(received.faults, [], "{name}");
        let without_padding = octets(hex.split('*').next().unwrap());
        let emitted = received.pdu.emit(MAX_LEN);
        assert_eq!((emitted.octets, emitted.omitted), (without_padding.into(), 0), "{name}");
    }
}

#[test]
fn what_lldpad_says() {
    let pdu = Lldpdu::parse(&frame("V01")).unwrap().pdu;
    assert_eq!(
        pdu.to_string(),
        "LLDP chassis 02:00:00:00:0a:01 port 02:00:00:00:0a:01 ttl 120 name \"vm\" mgmt fe80::ff:fe00:a01"
    );
    assert_eq!(pdu.port_description, Some(Text::truncated("Interface   2 as lldpad-va")));
    assert_eq!(pdu.capabilities.unwrap().supported.names().collect::<Vec<_>>(), ["station_only"]);

    let pdu = Lldpdu::parse(&frame("V46")).unwrap().pdu;
    assert_eq!(pdu.org.iter().map(|tlv| tlv.key().subtype).collect::<Vec<_>>(), [9, 10, 11, 12]);
    assert_eq!(pdu.org(key(11)).unwrap()[..], [0x08, 0x18]);
    assert_eq!(pdu.org(key(13)), None);

    let json = serde_json::to_value(Lldpdu::parse(&frame("LLDP-1")).unwrap().pdu).unwrap();
    assert_eq!(json["msap"]["port"]["id"], "eth0");
    assert_eq!(json["org"][0]["key"], "00-80-c2/0d");
    assert_eq!(json["org"][0]["info"], "00076e9414");
}

#[test]
fn every_truncation() {
    for (name, _) in FRAMES {
        let whole = frame(name);
        for len in 0..whole.len() {
            let part = &whole[..len];
            if let Ok(received) = Lldpdu::parse(part) {
                // Cut between TLVs, or in what follows the End TLV: nothing is made up, nothing lost.
                let emitted = received.pdu.emit(MAX_LEN).octets;
                let tlvs = emitted.strip_suffix(&[0, 0]).unwrap();
                assert!(
                    part == tlvs || part.starts_with(&emitted) || received.pdu.is_shutdown(),
                    "{name} {len}"
                );
                assert_eq!(received.faults, [], "{name} {len}");
            }
        }
    }
}

#[test]
fn errors_that_cost_the_lldpdu() {
    let mandatory = |expected, found: Option<u8>, offset| PeerPduError::Mandatory {
        expected: kind(expected),
        found: found.map(kind),
        offset,
    };
    let table = [
        ("", mandatory(1, None, 0)),
        ("0000", mandatory(1, Some(0), 0)),
        ("0402 0762", mandatory(1, Some(2), 0)),
        ("0202 0761 0602 0078", mandatory(2, Some(3), 4)),
        ("0202 0761 0202 0761", mandatory(2, Some(1), 4)),
        ("0202 0761 0402 0762", mandatory(3, None, 8)),
        ("0202 0761 0402 0762 0000", mandatory(3, Some(0), 8)),
        ("0201 07", PeerPduError::IdLength { kind: kind(1), offset: 0, length: 1 }),
        ("0200", PeerPduError::IdLength { kind: kind(1), offset: 0, length: 0 }),
        ("0202 0761 0401 07", PeerPduError::IdLength { kind: kind(2), offset: 4, length: 1 }),
        ("0202 0761 0402 0762 0601 00", PeerPduError::TtlLength { offset: 8, length: 1 }),
        ("02", PeerTlvError::HeaderCut { offset: 0 }.into()),
        ("0202 07", PeerTlvError::Overrun { kind: kind(1), offset: 0, length: 2, left: 1 }.into()),
    ];
    for (hex, error) in table {
        assert_eq!(Lldpdu::parse(&octets(hex)), Err(error), "{hex}");
    }
    let mut long = vec![0x03, 0x01, 0x07];
    long.extend([b'x'; 256]);
    let error = PeerPduError::IdLength { kind: kind(1), offset: 0, length: 257 };
    assert_eq!(Lldpdu::parse(&long), Err(error));

    assert_eq!(after_head("fe"), Err(PeerTlvError::HeaderCut { offset: 12 }.into()));
    let overrun = PeerTlvError::Overrun { kind: kind(127), offset: 12, length: 9, left: 1 };
    assert_eq!(after_head("fe09 00"), Err(overrun.into()));
    for (second, again) in [
        (1, "0202 0761"),
        (2, "0402 0762"),
        (3, "0602 0078"),
        (4, "0800 0800"),
        (5, "0a00 0a00"),
        (6, "0c00 0c00"),
        (7, "0e04 00040004 0e04 00040004"),
        // A malformed one is there too.
        (7, "0e04 00040004 0e01 00"),
    ] {
        let offset = octets(HEAD).len()
            + if second < 4 {
                0
            } else if second == 7 {
                6
            } else {
                2
            };
        assert_eq!(after_head(again), Err(PeerPduError::Duplicate { kind: kind(second), offset }), "{again}");
    }
}

#[test]
fn errors_that_cost_one_tlv() {
    let long_text = format!("0d00{}", "78".repeat(256));
    let long_oid = format!("108d 0501c0000201 0200000003 81{}", "01".repeat(129));
    let long_address = format!("1028 2106{} 0200000003 00", "01".repeat(32));
    let table = [
        (long_text.as_str(), PeerTlvFault::TextLength { kind: kind(6), offset: 12, length: 256 }),
        ("0e03 000400", PeerTlvFault::CapabilitiesLength { offset: 12, length: 3 }),
        ("0e05 0004000400", PeerTlvFault::CapabilitiesLength { offset: 12, length: 5 }),
        ("1008 0101 0200000003 00", PeerTlvFault::ManagementAddressLength { offset: 12, length: 1 }),
        ("1007 00 0200000003 00", PeerTlvFault::ManagementAddressLength { offset: 12, length: 0 }),
        (long_address.as_str(), PeerTlvFault::ManagementAddressLength { offset: 12, length: 33 }),
        (long_oid.as_str(), PeerTlvFault::ManagementAddressOid { offset: 12, length: 129 }),
        ("1000", PeerTlvFault::ManagementAddressFields { offset: 12, length: 0 }),
        ("100b 0501c0000201 0200000003", PeerTlvFault::ManagementAddressFields { offset: 12, length: 11 }),
        (
            "100d 0501c0000201 0200000003 0000",
            PeerTlvFault::ManagementAddressFields { offset: 12, length: 13 },
        ),
        ("fe03 0080c2", PeerTlvFault::OrgLength { offset: 12, length: 3 }),
    ];
    for (hex, fault) in table {
        // What follows the malformed TLV still counts.
        let received = after_head(&format!("{hex} 0a02 766d")).unwrap_or_else(|e| panic!("{hex}: {e}"));
        assert_eq!(received.faults, [fault], "{hex}");
        let expected = Lldpdu { system_name: Some(Text::truncated("vm")), ..Lldpdu::new(msap(), 120) };
        assert_eq!(received.pdu, expected, "{hex}");
    }
    let received = after_head("0001 00 0a02 766d").unwrap();
    assert_eq!(received.faults, [PeerTlvFault::EndLength { offset: 12, length: 1 }]);
    assert_eq!(received.pdu, Lldpdu::new(msap(), 120));
}

#[test]
fn what_is_legal_though_odd() {
    let received = after_head("0800 0a00 0c00").unwrap();
    let empty = Some(Text::default());
    assert_eq!((&received.pdu.port_description, &received.pdu.system_name), (&empty, &empty));
    assert_eq!(received.pdu.emit(MAX_LEN).octets, octets(&format!("{HEAD}0800 0a00 0c00 0000")));

    let two = after_head("100c 0501c0000201 0200000003 00 100c 0501c0000202 0200000003 00").unwrap().pdu;
    assert_eq!(two.management_addresses.len(), 2);

    // Reserved types may repeat and are kept; nothing after the End TLV is looked at.
    let pdu = after_head("1201 aa 1201 bb fc00 0000 ff").unwrap().pdu;
    assert_eq!(
        pdu.unknown.iter().map(|tlv| (tlv.kind().get(), tlv.value().len())).collect::<Vec<_>>(),
        [(9, 1), (9, 1), (126, 0)]
    );
    assert_eq!(pdu.to_string(), "LLDP chassis a port b ttl 120 type 9 len 1 type 9 len 1 type 126 len 0");

    // A TTL of more octets than needed counts by its first two; after a TTL of zero nothing counts.
    assert_eq!(Lldpdu::parse(&octets("0202 0761 0402 0762 0603 007800")).unwrap().pdu.ttl, 120);
    let shutdown = Lldpdu::parse(&octets("0202 0761 0402 0762 0602 0000 0a02 766d fe")).unwrap();
    assert_eq!((shutdown.pdu, shutdown.faults), (Lldpdu::new(msap(), 0), vec![]));
}

#[test]
fn organizational_tlvs_find_room_first() {
    let mut pdu = Lldpdu::new(msap(), 120);
    pdu.system_description = Some(Text::truncated(&"x".repeat(255)));
    pdu.system_name = Some(Text::truncated("vm"));
    pdu.org = vec![org(1, 507), org(2, 507), org(3, 100), org(4, 507), org(13, 5)];
    // 12 mandatory, 2 End; 513 + 513 + 106 + 11 organizational; 4 for the name; 257 for the description.
    let emitted = pdu.emit(MAX_LEN);
    assert_eq!((emitted.octets.len(), emitted.omitted), (12 + 2 + 513 + 513 + 106 + 11 + 4 + 257, 1));
    let read = Lldpdu::parse(&emitted.octets).unwrap().pdu;
    assert_eq!(read.org.iter().map(|tlv| tlv.key().subtype).collect::<Vec<_>>(), [1, 2, 3, 13]);
    assert_eq!(read.system_name, pdu.system_name);

    // One octet less than that and the longest of what describes us goes, not the name.
    let fewer = pdu.emit(emitted.octets.len() - 1);
    let read = Lldpdu::parse(&fewer.octets).unwrap().pdu;
    assert_eq!((fewer.omitted, read.org.len()), (2, 4));
    assert_eq!((&read.system_name, &read.system_description), (&pdu.system_name, &None));

    let nothing = pdu.emit(0);
    assert_eq!((nothing.octets.len(), nothing.omitted), (14, 7));
}

#[test]
fn shutdown_says_nothing_else() {
    let pdu = Lldpdu { org: vec![org(13, 5)], ..Lldpdu::new(msap(), 0) };
    let emitted = pdu.emit(MAX_LEN);
    assert_eq!((emitted.octets, emitted.omitted), (octets("0202 0761 0402 0762 0602 0000 0000").into(), 0));
}

fn arbitrary_text() -> impl Strategy<Value = Option<Text>> {
    option::of(vec(any::<u8>(), 0..=Text::MAX).prop_map(|octets| Text::parse(&octets).unwrap()))
}

fn arbitrary_address() -> impl Strategy<Value = ManagementAddress> {
    (any::<u8>(), vec(any::<u8>(), 1..=31), any::<u8>(), any::<u32>(), vec(any::<u8>(), 0..=128)).prop_map(
        |(family, address, numbering, interface, oid)| {
            let (len, oid_len) = (u8::try_from(address.len()).unwrap(), u8::try_from(oid.len()).unwrap());
            let mut value = vec![len + 1, family];
            value.extend(address);
            value.push(numbering);
            value.extend(interface.to_be_bytes());
            value.push(oid_len);
            value.extend(oid);
            ManagementAddress::parse(&value, 0).unwrap()
        },
    )
}

prop_compose! {
    fn arbitrary_pdu()(
        chassis in (any::<u8>(), vec(any::<u8>(), 1..=255)),
        port in (any::<u8>(), vec(any::<u8>(), 1..=255)),
        ttl in 1u16..,
        port_description in arbitrary_text(),
        system_name in arbitrary_text(),
        system_description in arbitrary_text(),
        capabilities in option::of(any::<[u8; 4]>()),
        management_addresses in vec(arbitrary_address(), 0..3),
        org in vec((any::<[u8; 3]>(), any::<u8>(), vec(any::<u8>(), 0..=507)), 0..4),
        unknown in vec((9u8..127, vec(any::<u8>(), 0..=511)), 0..3),
    ) -> Lldpdu {
        Lldpdu {
            msap: Msap {
                chassis: ChassisId::new(chassis.0.into(), chassis.1).unwrap(),
                port: PortId::new(port.0.into(), port.1).unwrap(),
            },
            ttl,
            port_description,
            system_name,
            system_description,
            capabilities: capabilities.and_then(|octets| Capabilities::parse(&octets)),
            management_addresses,
            org: org
                .into_iter()
                .map(|(oui, subtype, info)| OrgTlv::new(OrgKey { oui: Oui(oui), subtype }, info).unwrap())
                .collect(),
            unknown: unknown
                .into_iter()
                .map(|(number, value)| UnknownTlv { kind: kind(number), value: value.into() })
                .collect(),
        }
    }
}

proptest! {
    #[test]
    fn emit_then_parse(pdu in arbitrary_pdu()) {
        let emitted = pdu.emit(usize::MAX);
        prop_assert_eq!(emitted.omitted, 0);
        let received = Lldpdu::parse(&emitted.octets).unwrap();
        prop_assert_eq!(received.pdu, pdu);
        prop_assert_eq!(received.faults, []);
    }

    #[test]
    fn emission_keeps_its_bound(pdu in arbitrary_pdu(), max in 600usize..4000) {
        let emitted = pdu.emit(max);
        prop_assert!(emitted.octets.len() <= max);
        let received = Lldpdu::parse(&emitted.octets).unwrap();
        prop_assert_eq!(received.pdu.msap, pdu.msap);
    }

    #[test]
    fn any_octets(bytes in vec(any::<u8>(), 0..200)) {
        let _ = Lldpdu::parse(&bytes);
    }

    #[test]
    fn any_octets_after_the_mandatory_ones(bytes in vec(any::<u8>(), 0..200)) {
        let mut payload = octets(HEAD);
        payload.extend(bytes);
        if let Ok(received) = Lldpdu::parse(&payload) {
            let again = Lldpdu::parse(&received.pdu.emit(usize::MAX).octets).unwrap();
            prop_assert_eq!(again.pdu, received.pdu);
            prop_assert_eq!(again.faults, []);
        }
    }
}
