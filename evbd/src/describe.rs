//! What an organizational TLV of a neighbour says, in one line, whichever of our protocols it belongs to.

use std::fmt::{Display, Write};

use dcbx::{cee, ieee};
use lldp::{OrgTlv, Oui};

/// The TLV in words. One that nobody here knows is shown in hexadecimal; one that cannot be read, with the fault.
pub(crate) fn describe(tlv: &OrgTlv) -> String {
    let key = tlv.key();
    let info = tlv.info();
    let words = match (key.oui, key.subtype) {
        (Oui::IEEE_802_1, 0x0d) => said(vdp::evb::tlv::EvbTlv::parse(info)),
        (Oui(cdcp::OUI), cdcp::SUBTYPE) => said(cdcp::CdcpTlv::parse(info)),
        (Oui(pe::tlv::OUI), pe::tlv::SUBTYPE) => said(pe::tlv::PortExtensionTlv::parse(info)),
        (Oui(ieee::OUI), ieee::EtsConfiguration::SUBTYPE) => said(ieee::EtsConfiguration::parse(info)),
        (Oui(ieee::OUI), ieee::EtsRecommendation::SUBTYPE) => said(ieee::EtsRecommendation::parse(info)),
        (Oui(ieee::OUI), ieee::Pfc::SUBTYPE) => said(ieee::Pfc::parse(info)),
        (Oui(ieee::OUI), ieee::ApplicationPriority::SUBTYPE) => said(ieee::ApplicationPriority::parse(info)),
        (Oui(cee::OUI), cee::CeeTlv::SUBTYPE) => said(cee::CeeTlv::parse(info)),
        (Oui(cee::OUI), cee::CinTlv::SUBTYPE) => said(cee::CinTlv::parse(info)),
        // The TLV of EVB before it was a standard; lldpad and its libvirt users still send it.
        (Oui([0x00, 0x1b, 0x3f]), 0x00) => Err("EVB of draft 0.2, which is not spoken here".to_owned()),
        _ => Err(String::new()),
    };
    match words {
        Ok(words) => words,
        Err(fault) if fault.is_empty() => format!("{key} {}", hex(info)),
        Err(fault) => format!("{key} {} ({fault})", hex(info)),
    }
}

fn said<T: Display, E: Display>(read: Result<T, E>) -> Result<String, String> {
    read.map(|tlv| tlv.to_string()).map_err(|fault| fault.to_string())
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
        assert!(of([0, 0x1b, 0x3f], 0, &[1]).contains("draft 0.2"));
    }

    #[test]
    fn what_cannot_be_read_is_shown_as_it_is() {
        assert_eq!(of([1, 2, 3], 4, &[0xab, 0xcd]), "01-02-03/04 abcd");
        let short = of([0x00, 0x80, 0xc2], 0x0d, &[7]);
        assert!(short.starts_with("00-80-c2/0d 07 (") && short.contains('5'), "{short}");
    }
}
