//! ECPDUs [Q 43.3] and the VDPDUs in them [Q 41.2]; what port extenders say, by the built-in code book.

use ecp::{Header, HeaderError, Operation, Subtype};
use lldp::tlv::{Tlv, Tlvs};
use pe::{CodeBook, csp::Pdu};
use vdp::{
    FilterEntry, ManagerId,
    error::PduError,
    tlv::{Association, Item, Status, Vdpdu},
};

use super::{Body, Fields, Head, Protocol, Value, digits, lldpdu::tlv_place};

/// What the ECPDU says, and to which protocol it belongs.
pub(super) fn read(head: &Head<'_>) -> (Protocol, Body) {
    let mut body = Body::default();
    let (header, payload) = match Header::parse(head.payload) {
        Ok(read) => read,
        Err(error) => {
            let field = match error {
                HeaderError::Short(_) => head.payload.len(),
                HeaderError::PeerVersion(_) | HeaderError::PeerOperation(_) => 0,
            };
            body.fields.text("octets", digits(head.payload));
            body.fault("ECP", head.offset + field, error);
            return (Protocol::Ecp, body);
        }
    };
    let (operation, name) = match header.operation {
        Operation::Request => ("request", "request"),
        Operation::Ack => ("ack", "acknowledgement"),
    };
    let upper = match header.subtype {
        Subtype::Vdp => "VDP".to_owned(),
        Subtype::PeCsp => "PE-CSP".to_owned(),
        Subtype::Unknown(code) => format!("subtype {code}"),
    };
    body.words.push(format!("{operation} {} {upper}", header.sequence.0));
    body.fields.text("operation", name);
    body.fields.number("subtype", u16::from(header.subtype));
    body.fields.text("upper_layer", upper);
    body.fields.number("sequence", header.sequence.0);
    match (header.operation, header.subtype) {
        (Operation::Request, Subtype::Vdp) => read_vdpdu(payload, head.offset + Header::LEN, &mut body),
        (Operation::Request, Subtype::PeCsp) => read_csp(payload, head.offset + Header::LEN, &mut body),
        (Operation::Request, Subtype::Unknown(_)) => {
            body.words.push(format!("{} octets", payload.len()));
            body.fields.text("payload", digits(payload));
        }
        (Operation::Ack, _) => {}
    }
    let protocol = match header.subtype {
        Subtype::Vdp => Protocol::Vdp,
        Subtype::PeCsp => Protocol::Csp,
        Subtype::Unknown(_) => Protocol::Ecp,
    };
    (protocol, body)
}

/// By P0: whether the two ends speak it, their LLDP says.
fn read_csp(payload: &[u8], start: usize, body: &mut Body) {
    body.fields.text("code_book", "P0");
    match Pdu::parse(&CodeBook::p0(), payload) {
        Ok(pdu) => {
            body.words.push(pdu.to_string());
            body.fields.text("message", pdu.message);
            body.fields.number("transaction", pdu.transaction);
            if let Some(completion) = pdu.answer {
                body.fields.text("completion", completion);
            }
            if let Some(ecid) = pdu.ecid {
                body.fields.number("ecid", ecid.get());
            }
            let said = pdu.body.iter().map(|tlv| {
                let mut fields = Fields::default();
                fields.text("says", tlv);
                fields
            });
            body.fields.push("tlvs", Value::List(said.collect()));
            if pdu.malformed {
                body.fields.text("octets", digits(payload));
                body.fault("PE-CSP", start, "peer: a TLV behind the command cannot be read");
            }
        }
        Err(error) => {
            body.fields.text("octets", digits(payload));
            body.fault("PE-CSP", start, error);
        }
    }
}

fn read_vdpdu(payload: &[u8], start: usize, body: &mut Body) {
    let read: Vec<Tlv<'_>> =
        Tlvs::new(payload).map_while(Result::ok).take_while(|tlv| tlv.kind.get() != END).collect();
    let mut list = Vec::new();
    match Vdpdu::parse(payload) {
        Ok(pdu) => {
            body.words.push(format!("manager {}", manager(pdu.manager)));
            body.fields.text("manager", manager(pdu.manager));
            for (item, tlv) in pdu.items.iter().zip(read.iter().skip(1)) {
                let mut fields = head(tlv, start);
                body.words.push(read_item(item, tlv, &mut fields));
                if let Item::Malformed(bad) = item {
                    body.fault("VDP", start + tlv.offset, bad.error);
                }
                list.push(fields);
            }
        }
        Err(error) => {
            for tlv in &read {
                let mut fields = head(tlv, start);
                fields.text("octets", digits(tlv.value));
                list.push(fields);
            }
            let second = || read.iter().filter(|tlv| tlv.kind.get() == MANAGER).nth(1);
            let place = match &error {
                PduError::Tlv(error) => tlv_place(error),
                PduError::SecondManager => second().map_or(0, |tlv| tlv.offset),
                PduError::NoManager(_) | PduError::ManagerLength(_) => 0,
            };
            body.fault("VDP", start + place, error);
        }
    }
    body.fields.push("tlvs", Value::List(list));
}

fn head(tlv: &Tlv<'_>, start: usize) -> Fields {
    let mut fields = Fields::default();
    fields.size("offset", start + tlv.offset);
    fields.number("type", tlv.kind.get());
    fields.size("length", tlv.value.len());
    fields
}

fn read_item(item: &Item, tlv: &Tlv<'_>, fields: &mut Fields) -> String {
    match item {
        Item::Association(association) => {
            if let Some(status) = tlv.value.first() {
                fields.text("status", format_args!("0x{status:02x}"));
            }
            read_association(association, fields)
        }
        Item::Organizational { oui: [a, b, c], body } => {
            let oui = format!("{a:02x}-{b:02x}-{c:02x}");
            let words = format!("organizational {oui} {}", digits(body));
            fields.text("oui", oui);
            fields.text("octets", digits(body));
            words
        }
        Item::Malformed(bad) => {
            let id = bad.id.map(|id| format!(" of {id}")).unwrap_or_default();
            if let Some(id) = bad.id {
                fields.text("id", id);
            }
            fields.text("octets", digits(tlv.value));
            format!(
                "{}{id} {}",
                bad.command.map_or("organizational TLV", vdp::Command::words),
                digits(tlv.value)
            )
        }
        Item::Unknown { kind, info } => {
            fields.text("octets", digits(info));
            format!("type {kind} {}", digits(info))
        }
    }
}

fn read_association(association: &Association, fields: &mut Fields) -> String {
    let Association { command, status, type_id, version, id, filter } = association;
    fields.text("command", command.words());
    let (kind, result) = match status {
        Status::Request(hints) => {
            fields.text("is", "request");
            fields.flag("suspended", hints.suspended);
            fields.flag("migrating", hints.migrating);
            let hints = [(hints.suspended, ", suspended here"), (hints.migrating, ", migrating to here")];
            ("request", hints.iter().filter(|(set, _)| *set).map(|(_, words)| *words).collect::<String>())
        }
        Status::Response(verdict) => {
            fields.text("is", "response");
            fields.number("error", u8::from(verdict.error));
            fields.text("error_words", verdict.error.words());
            fields.flag("keep", verdict.keep);
            fields.flag("hard", verdict.hard);
            let keep = if verdict.keep { ", what stood before is kept" } else { "" };
            let hard = if verdict.hard { ", hard" } else { "" };
            ("response", format!(": {}{keep}{hard}", verdict.error))
        }
    };
    fields.number("type_id", type_id.get());
    fields.number("version", version.0);
    fields.number("id_format", id.format().code());
    fields.text("id", id);
    let mut words = format!("{} {kind} {id} type {type_id} version {version}", command.words());
    match filter {
        Some(filter) => {
            fields.number("filter_format", filter.format().code());
            let entries = filter.entries().iter();
            words += &format!(" filter {}", entries.clone().map(entry_words).collect::<Vec<_>>().join(" + "));
            fields.push("filter", Value::List(entries.map(entry_fields).collect()));
        }
        None => words += " no filter",
    }
    words + &result
}

fn entry_words(entry: &FilterEntry) -> String {
    let mut words = Vec::new();
    words.extend(entry.group.map(|group| format!("group {group}")));
    words.extend(entry.mac.map(|mac| mac.to_string()));
    words.push(entry.vid.map_or_else(|| "vlan null".to_owned(), |vid| format!("vlan {vid}")));
    words.extend(entry.priority.map(|pcp| format!("pcp {pcp}")));
    words.join(" ")
}

fn entry_fields(entry: &FilterEntry) -> Fields {
    let mut fields = Fields::default();
    if let Some(group) = entry.group {
        fields.number("group", group.0.get());
    }
    if let Some(mac) = entry.mac {
        fields.text("mac", mac);
    }
    fields.number("vid", entry.vid.map_or(0, ether::Vid::get));
    if let Some(pcp) = entry.priority {
        fields.number("pcp", pcp.get());
    }
    fields
}

fn manager(id: ManagerId) -> String {
    if id.is_default() { "default".to_owned() } else { id.to_string() }
}

const END: u8 = 0;
const MANAGER: u8 = 5;
