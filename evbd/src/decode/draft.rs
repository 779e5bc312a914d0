//! ECP and VDP as they were in draft 0.2 of 802.1Qbg, which lldpad and its users still speak: named, and their heads
//! shown. As lldpad sends them, for the draft is not to be had any more.

use ether::EtherType;
use lldp::tlv::Tlvs;

use super::{Body, Fields, Head, Value, digits, lldpdu::tlv_place};

/// The OUI extended EtherType: who uses it says its OUI.
pub(super) const ETHERTYPE: EtherType = EtherType::OUI_EXTENDED;

/// What the PDU says; `None` if its OUI is another one.
pub(super) fn read(head: &Head<'_>) -> Option<Body> {
    let tlvs = head.payload.strip_prefix(&OUI)?;
    let mut body = Body::default();
    // Protocol identifier, subtype, mode, sequence number.
    let Some((&[_, _, subtype, mode, high, low], rest)) = tlvs.split_first_chunk::<6>() else {
        body.fields.text("octets", digits(head.payload));
        body.fault("ECP", head.offset + OUI.len(), format!("{} octets cannot hold its header", tlvs.len()));
        return Some(body);
    };
    let sequence = u16::from_be_bytes([high, low]);
    let operation = match mode {
        0 => "request".to_owned(),
        1 => "ack".to_owned(),
        other => format!("mode {other}"),
    };
    body.words.push(format!("{operation} {sequence}"));
    body.fields.text("operation", operation);
    body.fields.number("subtype", subtype);
    body.fields.number("sequence", sequence);
    if mode == 0 {
        read_tlvs(rest, head.offset + OUI.len() + 6, &mut body);
    }
    Some(body)
}

fn read_tlvs(payload: &[u8], start: usize, body: &mut Body) {
    let mut list = Vec::new();
    for tlv in Tlvs::new(payload) {
        let tlv = match tlv {
            Ok(tlv) if tlv.kind.get() == 0 => break,
            Ok(tlv) => tlv,
            Err(error) => {
                body.fault("ECP", start + tlv_place(&error), error);
                break;
            }
        };
        let mut fields = Fields::default();
        fields.size("offset", start + tlv.offset);
        fields.number("type", tlv.kind.get());
        fields.size("length", tlv.value.len());
        match tlv.value.strip_prefix(&OUI) {
            Some(&[VDP, mode, response, ..]) => {
                let mode =
                    ["Pre-Associate", "Pre-Associate with resource reservation", "Associate", "De-Associate"]
                        .get(usize::from(mode))
                        .map_or_else(|| format!("mode {mode}"), |words| (*words).to_owned());
                body.words.push(format!("VDP draft 0.2 {mode} response {response}"));
                fields.text("command", mode);
                fields.number("response", response);
            }
            _ => body.words.push(format!("type {} {}", tlv.kind, digits(tlv.value))),
        }
        fields.text("octets", digits(tlv.value));
        list.push(fields);
    }
    body.fields.push("tlvs", Value::List(list));
}

const OUI: [u8; 3] = [0x00, 0x1b, 0x3f];
/// Subtype of the VDP TLV.
const VDP: u8 = 2;
