use proptest::prelude::*;

use super::*;

const MSAP: &str = "0180c2000000 020000000001 88cc 0207 04 020000000001 0405 05 65746830 0602 0078";

fn line(hex: &str) -> Decoded {
    decode(&frames(hex).next().unwrap().unwrap())
}

fn capture(octets: &[u8]) -> Vec<Decoded> {
    let records = Capture::new(octets).unwrap().map(Result::unwrap);
    records.map(|record| decode_cut(&record.frame, record.length)).collect()
}

fn found<'a>(all: &'a [Decoded], words: &str) -> &'a Decoded {
    let lines = || all.iter().map(|d| d.line.as_str()).collect::<Vec<_>>().join("\n");
    all.iter().find(|decoded| decoded.line.contains(words)).unwrap_or_else(|| panic!("{words}:\n{}", lines()))
}

#[test]
fn lldp_in_one_line_and_all_fields() {
    let org = "fe09 0080c2 0d 00076e9414";
    let decoded = line(&format!("{MSAP} 0a03 746f72 {org} 1802 abcd 0000"));
    assert_eq!((decoded.protocol, &decoded.faults[..]), (Protocol::Lldp, &[][..]));
    for words in [
        "02:00:00:00:00:01 > 01:80:c2:00:00:00 LLDP, nearest_customer, chassis 02:00:00:00:00:01, port eth0, ttl 120",
        "name \"tor\"",
        "R 3 RTE 14",
        "type 12 abcd",
    ] {
        assert!(decoded.line.contains(words), "{words}: {}", decoded.line);
    }
    let text = decoded.fields.indented(2);
    assert!(text.contains("    - offset 34, type 5, name system_name, length 3, value tor\n"), "{text}");
    let json = serde_json::to_value(&decoded).unwrap();
    assert_eq!(
        (&json["protocol"], &json["fields"]["tlvs"][3]["value"]),
        (&"lldp".into(), &"tor".into()),
        "{json:#}"
    );
    assert_eq!(json["fields"]["tlvs"][4]["info"], "00076e9414");
}

#[test]
fn faults_have_a_place_and_a_reason() {
    let of = |hex: &str| {
        let decoded = line(hex);
        let fault = decoded.faults.first().unwrap_or_else(|| panic!("{}", decoded.line));
        assert!(decoded.line.contains(&fault.to_string()), "{}", decoded.line);
        (fault.layer, fault.offset, fault.reason.clone())
    };
    let (layer, at, reason) = of(&format!("{MSAP} 0aff 41"));
    assert!((layer, at) == ("LLDP", 34) && reason.contains("claims 255 octets"), "{at} {reason}");
    let (_, at, reason) = of("0180c200000e 020000000001 88cc 0405 05 65746830");
    assert!(at == 14 && reason.contains("type 1 is missing"), "{at} {reason}");
    let (_, at, reason) = of(&format!("{MSAP} fe02 0080 0000"));
    assert!(at == 34 && reason.contains("needs 4"), "{at} {reason}");
    let (layer, at, reason) = of("0180c2000000 020000000001 8940 2001 0005");
    assert!((layer, at) == ("ECP", 14) && reason.contains("version 2"), "{reason}");
    let (layer, at, reason) = of("0180c2000000 020000000001 8940 1001 0005 0601 00");
    assert!((layer, at) == ("VDP", 18) && reason.contains("instead of the VSI manager ID"), "{reason}");
    let manager = "0a10 00000000000000000000000000000000";
    let (_, at, reason) = of(&format!("0180c2000000 020000000001 8940 1001 0005 {manager} 0601 00 0000"));
    assert!(at == 36 && reason.contains("fixed part takes 23"), "{at} {reason}");
    let (_, at, reason) = of(&format!("0180c2000000 020000000001 8940 1001 0005 {manager} {manager}"));
    assert!(at == 36 && reason.contains("more than one"), "{at} {reason}");
    assert_eq!(of("0180c2000000 0200000000"), ("Ethernet", 0, "11 octets cannot hold its header".to_owned()));
    assert_eq!(of("0180c2000000 020000000001 8100 0fff 88cc").1, 12);
}

#[test]
fn tags_and_foreign_frames() {
    let decoded = line("ffffffffffff 020000000001 88a8 2064 8100 6fa0 0800 4500");
    assert_eq!(
        decoded.line,
        "02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff svlan 100 pcp 1 vlan 4000 pcp 3 foreign, ethertype 0x0800, 2 octets"
    );
    assert!(!decoded.protocol.is_ours());
    assert!(line("0180c2000000 020000000001 0026 424203").line.contains("802.3 length 38"));
    let tagged = line(&MSAP.replace("88cc", "8100 0005 88cc"));
    assert!(tagged.line.contains(" vlan 5 pcp 0 LLDP, nearest_customer"), "{}", tagged.line);
    let other = line("01005e000001 020000000001 88b7 aabbcc 0001 00");
    assert_eq!(other.protocol, Protocol::Foreign);
    assert_eq!(line("036576626401 020000000001 8100 0064 88b5 65766264").protocol, Protocol::Probe);
    assert!(decode_cut(&[0; 14], 60).line.ends_with("[captured only 14 of 60 octets]"));
}

/// Captured from lldpad.
#[test]
fn lldpad_of_the_standard() {
    let all = capture(include_bytes!("../../../tests/data/lldpad-evb.pcap"));
    assert!(all.iter().all(|d| d.protocol.is_ours() && d.faults.is_empty()), "{all:#?}");
    found(&all, "EVB");
    let all = capture(include_bytes!("../../../tests/data/lldpad-vdp.pcap"));
    let request = found(&all, "Associate request");
    assert_eq!((request.protocol, request.faults.len()), (Protocol::Vdp, 0));
    assert!(request.line.contains("ECP, request ") && request.line.contains(" filter "), "{}", request.line);
    found(&all, "Associate response");
    found(&all, "ECP, ack ");
}

/// Captured from lldpad.
#[test]
fn lldpad_of_draft_0_2() {
    let all = capture(include_bytes!("../../../tests/data/lldpad-draft.pcap"));
    found(&all, "EVB of draft 0.2");
    let request = found(&all, "VDP draft 0.2");
    assert!(
        request.protocol == Protocol::EcpDraft && request.line.contains("ECP draft 0.2, request "),
        "{}",
        request.line
    );
    found(&all, "ECP draft 0.2, ack ");
    assert!(all.iter().all(|d| d.protocol.is_ours()));
}

proptest! {
    #[test]
    fn any_octets(octets in proptest::collection::vec(any::<u8>(), 0..200), kind in 0usize..6) {
        let types: [&[u8]; 6] = [&[], &[0x88, 0xcc], &[0x89, 0x40, 0x10, 1], &[0x89, 0x40, 0x10, 2, 0, 1], &[0x88, 0xb7, 0, 0x1b, 0x3f], &[0x81, 0]];
        let mut frame = octets;
        if frame.len() >= 12 {
            frame.splice(12..12, types[kind].iter().copied());
        }
        let decoded = decode(&frame);
        prop_assert!(!decoded.line.is_empty() && !decoded.line.contains('\n'));
        prop_assert!(decoded.faults.iter().all(|fault| fault.offset <= frame.len()));
        prop_assert!(!decoded.fields.indented(4).is_empty());
        serde_json::to_string(&decoded).unwrap();
    }
}

#[test]
fn port_extension_by_the_built_in_book() {
    let decoded = line("020000000a01 020000000b01 8940 1002 0002 020a 02 00 00000002 00000000 0804 00000007");
    assert_eq!(decoded.protocol, Protocol::Csp);
    assert!(decoded.line.ends_with("ECP, request 2 PE-CSP, create 2, ports 7"), "{}", decoded.line);
    let cut = line("020000000a01 020000000b01 8940 1002 0002 020a 02 00 00000002 00000000 0803 000007");
    assert!(cut.faults[0].layer == "PE-CSP" && cut.faults[0].offset == 18, "{}", cut.line);
    let none = line("020000000a01 020000000b01 8940 1002 0002 0e00");
    assert!(none.line.contains("the first TLV is of type 7"), "{}", none.line);
    let marker = line(&format!("{MSAP} fe0f 026576 62 01 01020304 0001 0002 5030 0000"));
    assert!(
        marker.line.contains("code book P0 (01020304), life 1, hears 2, upstream port"),
        "{}",
        marker.line
    );
}

#[test]
fn every_truncation_of_a_capture_says_something() {
    for file in [
        &include_bytes!("../../../tests/data/lldpad-vdp.pcap")[..],
        include_bytes!("../../../tests/data/lldpad-draft.pcap"),
    ] {
        for record in Capture::new(file).unwrap().map(Result::unwrap) {
            for length in 0..record.frame.len() {
                assert!(!decode(&record.frame[..length]).line.is_empty());
            }
        }
    }
}
