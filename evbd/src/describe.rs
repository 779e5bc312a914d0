//! What an organizational TLV of a neighbour says, in one line, whichever of our protocols it belongs to.

use std::fmt::Write;

use lldp::{OrgTlv, Oui};
use vdp::evb::tlv::EvbTlv;

/// The TLV in words; one nobody here knows is shown in hexadecimal.
pub(crate) fn describe(tlv: &OrgTlv) -> String {
    let key = tlv.key();
    let info = tlv.info();
    let read = match (key.oui, key.subtype) {
        (Oui::IEEE_802_1, 0x0d) => EvbTlv::parse(info).map(|tlv| tlv.to_string()).map_err(|e| e.to_string()),
        _ => Err(String::new()),
    };
    match read {
        Ok(words) => words,
        Err(fault) => {
            let mut words = format!("{key} ");
            for octet in info {
                // Writing to a string does not fail.
                let _ = write!(words, "{octet:02x}");
            }
            if !fault.is_empty() {
                let _ = write!(words, " ({fault})");
            }
            words
        }
    }
}
