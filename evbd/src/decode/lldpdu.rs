//! LLDPDUs: every TLV in the order of the wire [AB 8.4 to 8.6].

use lldp::{
    ChassisId, Lldpdu, OrgTlv, PortId, Scope,
    basic::{Capabilities, CapabilitySet, IdSubtype, ManagementAddress, Text},
    error::PeerPduError,
    tlv::{PeerTlvError, Tlv, Tlvs},
};

use super::{Body, Fields, Head, Value, digits};
use crate::describe::describe;

pub(super) fn read(head: &Head<'_>) -> Body {
    let mut body = Body::default();
    match Scope::of(head.dst) {
        Some(scope) => {
            body.words.push(scope.to_string());
            body.fields.text("scope", scope);
        }
        None => body.words.push("to no LLDP address".to_owned()),
    }
    let mut tlvs = Vec::new();
    for tlv in Tlvs::new(head.payload).map_while(Result::ok) {
        let (words, mut fields) = read_tlv(&tlv);
        if let Some(words) = words {
            body.words.push(words);
        }
        let mut all = Fields::default();
        all.size("offset", head.offset + tlv.offset);
        all.number("type", tlv.kind.get());
        all.text("name", name(tlv.kind.get()));
        all.size("length", tlv.value.len());
        all.0.append(&mut fields.0);
        tlvs.push(all);
        if tlv.kind.get() == END {
            break;
        }
    }
    body.fields.push("tlvs", Value::List(tlvs));
    match Lldpdu::parse(head.payload) {
        Ok(received) => {
            for fault in received.faults {
                body.fault("LLDP", head.offset + fault.offset(), fault);
            }
        }
        Err(error) => body.fault("LLDP", head.offset + place(&error), error),
    }
    body
}

/// A TLV for the line, unless it says nothing there, and its fields.
fn read_tlv(tlv: &Tlv<'_>) -> (Option<String>, Fields) {
    let mut fields = Fields::default();
    let value = tlv.value;
    let words = match tlv.kind.get() {
        END => return (None, fields),
        1 => ChassisId::parse(value).map(|id| {
            fields.text("subtype", id.subtype().name());
            fields.text("value", &id);
            format!("chassis {id}")
        }),
        2 => PortId::parse(value).map(|id| {
            fields.text("subtype", id.subtype().name());
            fields.text("value", &id);
            format!("port {id}")
        }),
        3 => value.first_chunk::<2>().map(|ttl| {
            let ttl = u16::from_be_bytes(*ttl);
            fields.number("seconds", ttl);
            if ttl == 0 { "ttl 0: shutdown".to_owned() } else { format!("ttl {ttl}") }
        }),
        kind @ 4..=6 => Text::parse(value).map(|text| {
            fields.text("value", &text);
            format!(
                "{} \"{text}\"",
                ["port description", "name", "description"].get(usize::from(kind) - 4).unwrap_or(&"")
            )
        }),
        7 => Capabilities::parse(value).map(|capabilities| {
            let names = |set: CapabilitySet| set.names().collect::<Vec<_>>().join(" ");
            fields.text("supported", names(capabilities.supported));
            fields.text("enabled", names(capabilities.enabled));
            format!(
                "can {} is {}",
                or_nothing(&names(capabilities.supported)),
                or_nothing(&names(capabilities.enabled))
            )
        }),
        8 => ManagementAddress::parse(value, tlv.offset).ok().map(|address| {
            fields.text("value", &address);
            fields.number("numbering", u8::from(address.numbering));
            fields.number("interface", address.interface);
            if !address.oid().is_empty() {
                fields.text("oid", digits(address.oid()));
            }
            format!("management {address}")
        }),
        ORGANIZATIONAL => OrgTlv::parse(value).map(|org| {
            let words = describe(&org);
            fields.text("key", org.key());
            fields.text("value", &words);
            fields.text("info", digits(org.info()));
            words
        }),
        _ => None,
    };
    let words = words.unwrap_or_else(|| {
        fields.text("octets", digits(value));
        format!("type {} {}", tlv.kind, digits(value))
    });
    (Some(words), fields)
}

fn or_nothing(names: &str) -> &str {
    if names.is_empty() { "nothing" } else { names }
}

const fn name(kind: u8) -> &'static str {
    match kind {
        END => "end",
        1 => "chassis_id",
        2 => "port_id",
        3 => "time_to_live",
        4 => "port_description",
        5 => "system_name",
        6 => "system_description",
        7 => "system_capabilities",
        8 => "management_address",
        ORGANIZATIONAL => "organizational",
        _ => "reserved",
    }
}

/// Where in the LLDPDU the fault is.
const fn place(error: &PeerPduError) -> usize {
    match error {
        PeerPduError::Tlv(error) => tlv_place(error),
        PeerPduError::Mandatory { offset, .. }
        | PeerPduError::IdLength { offset, .. }
        | PeerPduError::TtlLength { offset, .. }
        | PeerPduError::Duplicate { offset, .. } => *offset,
    }
}

/// Where in its PDU a TLV is cut short.
pub(super) const fn tlv_place(error: &PeerTlvError) -> usize {
    match error {
        PeerTlvError::HeaderCut { offset } | PeerTlvError::Overrun { offset, .. } => *offset,
    }
}

const END: u8 = 0;
const ORGANIZATIONAL: u8 = 127;
