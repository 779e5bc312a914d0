//! What an organizational TLV of a neighbour says, in one line, whichever of our protocols it belongs to.

use std::fmt::{Display, Write};

use dcbx::{cee, ieee};
use lldp::{Content, Neighbor, OrgTlv, Oui, tlv::Tlvs};

/// The TLV in words. One that nobody here knows is shown in hexadecimal; one that cannot be read, with the fault.
pub(crate) fn describe(tlv: &OrgTlv) -> String {
    let (key, info) = (tlv.key(), tlv.info());
    match read(tlv) {
        Read::Known(words) => words,
        Read::Unknown => format!("{key} {}", hex(info)),
        Read::Malformed(fault) => format!("{key} {} ({fault})", hex(info)),
    }
}

/// What became of the TLVs of a neighbour that are not shown in words.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Remainder {
    /// TLVs of reserved types and of organizations nobody here knows, in hexadecimal.
    pub(crate) unknown: Vec<String>,
    /// Faults of the TLVs that cannot be read, with their octets.
    pub(crate) malformed: Vec<String>,
}

/// The TLVs of `neighbor` that are unknown here or cannot be read. Nothing that was received is left out.
pub(crate) fn remainder(neighbor: &Neighbor) -> Remainder {
    let reserved =
        neighbor.info.unknown.iter().map(|tlv| format!("type {} {}", tlv.kind(), hex(tlv.value())));
    let mut rest = Remainder { unknown: reserved.collect(), malformed: Vec::new() };
    for fault in &neighbor.faults {
        let sent = neighbor.raw().get(fault.offset()..).and_then(|from| Tlvs::new(from).next()?.ok());
        rest.malformed.push(format!("{} ({fault})", hex(sent.map_or(&[], |tlv| tlv.value))));
    }
    for tlv in &neighbor.info.org {
        match read(tlv) {
            Read::Known(_) => {}
            Read::Unknown => rest.unknown.push(describe(tlv)),
            Read::Malformed(_) => rest.malformed.push(describe(tlv)),
        }
    }
    rest
}

/// What reading a TLV came to.
enum Read {
    Known(String),
    Unknown,
    Malformed(String),
}

fn read(tlv: &OrgTlv) -> Read {
    let (key, info) = (tlv.key(), tlv.info());
    match Content::read(tlv) {
        Ok(Some(content)) => return Read::Known(content.to_string()),
        Err(fault) => return Read::Malformed(fault.to_string()),
        Ok(None) => {}
    }
    match (key.oui, key.subtype) {
        (Oui::IEEE_802_1, 0x0d) => said(vdp::evb::tlv::EvbTlv::parse(info)),
        (Oui(cdcp::OUI), cdcp::SUBTYPE) => said(cdcp::CdcpTlv::parse(info)),
        (Oui(pe::tlv::OUI), pe::tlv::SUBTYPE) => said(pe::tlv::PortExtensionTlv::parse(info)),
        (Oui(pe::marker::OUI), pe::marker::SUBTYPE) => said(pe::Marker::parse(info)),
        (Oui(ieee::OUI), ieee::EtsConfiguration::SUBTYPE) => said(ieee::EtsConfiguration::parse(info)),
        (Oui(ieee::OUI), ieee::EtsRecommendation::SUBTYPE) => said(ieee::EtsRecommendation::parse(info)),
        (Oui(ieee::OUI), ieee::Pfc::SUBTYPE) => said(ieee::Pfc::parse(info)),
        (Oui(ieee::OUI), ieee::ApplicationPriority::SUBTYPE) => said(ieee::ApplicationPriority::parse(info)),
        (Oui(cee::OUI), cee::CeeTlv::SUBTYPE) => said(cee::CeeTlv::parse(info)),
        (Oui(cee::OUI), cee::CinTlv::SUBTYPE) => said(cee::CinTlv::parse(info)),
        // The TLV of EVB before it was a standard; lldpad and its libvirt users still send it.
        (Oui([0x00, 0x1b, 0x3f]), 0x00) => said(vdp::draft::EvbDraft::parse(info)),
        _ => Read::Unknown,
    }
}

fn said<T: Display, E: Display>(read: Result<T, E>) -> Read {
    match read {
        Ok(tlv) => Read::Known(tlv.to_string()),
        Err(fault) => Read::Malformed(fault.to_string()),
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::with_capacity(octets.len() * 2), |mut text, octet| {
        // Writing to a string does not fail.
        let _ = write!(text, "{octet:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use ether::MacAddr;
    use lldp::OrgKey;

    use super::*;

    fn of(oui: [u8; 3], subtype: u8, info: &'static [u8]) -> String {
        describe(&OrgTlv::new(OrgKey { oui: Oui(oui), subtype }, info).unwrap())
    }

    #[test]
    fn each_protocol_speaks_for_itself() {
        let ieee = [0x00, 0x80, 0xc2];
        assert!(of(ieee, 0x0d, &[0, 7, 0x6e, 0x94, 0x14]).contains("R 3 RTE 14"));
        assert!(of(ieee, 0x0e, &[0x08, 0, 0, 0xa7, 0, 0x10, 1, 0, 0x20, 0x64]).contains("2 has SVID 100"));
        assert!(of(ieee, 0x0b, &[0x88, 0x18]).contains("PFC"));
        assert_eq!(of(ieee, 0x01, &[0, 100]), "port VLAN 100");
        assert_eq!(of([0, 0x12, 0x0f], 0x04, &[0x05, 0xee]), "maximum frame size 1518");
        assert_eq!(of([0, 0x12, 0xbb], 0x08, b"42"), "serial number \"42\"");
        assert!(of([0, 0x1b, 0x3f], 0, &[1]).contains("draft 0.2"));
    }

    /// Nothing a neighbour said is lost, whatever is wrong with it.
    #[test]
    fn what_is_not_understood_is_all_there() {
        let mut agent = lldp::Agent::new(
            lldp::AgentConfig::new(lldp::Scope::NearestBridge),
            lldp::LocalInfo::new(lldp::ChassisId::mac(MacAddr::zero()), lldp::PortId::mac(MacAddr::zero())),
        );
        let now = ether::Instant::ZERO;
        agent.handle_link(now, true);
        // Chassis, port, TTL; capabilities cut short; a reserved type; a stranger; a port VLAN cut short; a good one.
        let pdu = [
            &[2, 2, 7, b'a', 4, 2, 7, b'b', 6, 2, 0, 120, 0x0e, 2, 0, 4, 0x12, 3, 1, 2, 3][..],
            &[
                0xfe, 6, 1, 2, 3, 4, 0xab, 0xcd, 0xfe, 5, 0, 0x80, 0xc2, 1, 9, 0xfe, 6, 0, 0x80, 0xc2, 1, 0,
                9, 0, 0,
            ],
        ]
        .concat();
        agent.handle_pdu(now, MacAddr::new(2, 0, 0, 0, 0, 9), &pdu);
        let rest = remainder(agent.neighbors().next().unwrap());
        assert_eq!(rest.unknown, ["type 9 010203", "01-02-03/04 abcd"]);
        assert_eq!(
            rest.malformed,
            [
                "0004 (peer: system capabilities at offset 12 have 2 octets, they need 4)",
                "00-80-c2/01 09 (peer: port VLAN of 1 octets, allowed are 2)",
            ]
        );
    }

    #[test]
    fn what_cannot_be_read_is_shown_as_it_is() {
        assert_eq!(of([1, 2, 3], 4, &[0xab, 0xcd]), "01-02-03/04 abcd");
        assert_eq!(
            of([0, 0x12, 0x0f], 4, &[5]),
            "00-12-0f/04 05 (peer: maximum frame size of 1 octets, allowed are 2)"
        );
        let short = of([0x00, 0x80, 0xc2], 0x0d, &[7]);
        assert!(short.starts_with("00-80-c2/0d 07 (") && short.contains('5'), "{short}");
    }
}
