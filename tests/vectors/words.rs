//! EVB TLVs, ECP headers and VDPDUs in words, so that tables of vectors say all their fields in one line.

use ecp::{Header, Operation};
use vdp::{
    FilterEntry, ManagerId,
    evb::tlv::{EvbTlv, RelayStatus},
    tlv::{Association, Item, Status, Vdpdu, Verdict},
};

/// `mode b:[bgid rrcap rrctr] s:[sgid rrreq rrstat] R/RTE RWD RKA`, a value taken over marked with `*`.
pub(crate) fn evb(tlv: &EvbTlv) -> String {
    let flag = |set: bool, name: &'static str| set.then_some(name);
    let list = |flags: &[Option<&str>]| flags.iter().flatten().copied().collect::<Vec<_>>().join(" ");
    let EvbTlv { bridge, station, .. } = tlv;
    let relay = match station.relay {
        RelayStatus::False => "off",
        RelayStatus::True => "on",
        RelayStatus::Unknown => "unknown",
    };
    let bridge =
        list(&[flag(bridge.group, "bgid"), flag(bridge.capable, "rrcap"), flag(bridge.control, "rrctr")]);
    let station = list(&[flag(station.group, "sgid"), flag(station.request, "rrreq"), Some(relay)]);
    let star = |remote: bool| if remote { "*" } else { "" };
    format!(
        "{:?} b:[{bridge}] s:[{station}] {}/{} {}{} {}{}",
        tlv.mode,
        tlv.retries.get(),
        tlv.rte.get(),
        tlv.rwd.get(),
        star(tlv.rwd_remote),
        tlv.rka.get(),
        star(tlv.rka_remote)
    )
}

/// `request 7 of Vdp`.
pub(crate) fn ecp(header: &Header) -> String {
    let operation = match header.operation {
        Operation::Request => "request",
        Operation::Ack => "ack",
    };
    format!("{operation} {} of {:?}", header.sequence.0, header.subtype)
}

/// The items of a VDPDU whose manager is `manager`, one each.
pub(crate) fn vdp(pdu: &Vdpdu, manager: &str) -> Vec<String> {
    assert_eq!(pdu.manager, manager.parse::<ManagerId>().unwrap());
    assert_eq!(pdu.manager.to_string(), manager);
    pdu.items.iter().map(item).collect()
}

/// `command status type/version id [entries]`, and likewise for what is no association TLV.
fn item(item: &Item) -> String {
    match item {
        Item::Association(Association { command, status, type_id, version, id, filter }) => {
            let entries = filter.iter().flat_map(|filter| filter.entries()).map(entry).collect::<Vec<_>>();
            let status = match status {
                Status::Request(hints) => match (hints.suspended, hints.migrating) {
                    (false, false) => "request".to_owned(),
                    (true, false) => "request S".to_owned(),
                    (false, true) => "request M".to_owned(),
                    (true, true) => "request SM".to_owned(),
                },
                Status::Response(Verdict::SUCCESS) => "granted".to_owned(),
                Status::Response(Verdict { keep, hard, error }) => {
                    let bits = [(keep, " KEEP"), (hard, " HARD")];
                    let bits: String = bits.iter().filter(|(set, _)| **set).map(|(_, word)| *word).collect();
                    format!("refused{bits} {}", u8::from(*error))
                }
            };
            format!("{command:?} {status} {type_id}/{version} {id} [{}]", entries.join(", "))
        }
        Item::Organizational { oui: [a, b, c], body } => {
            format!("org {a:02x}-{b:02x}-{c:02x}, {} octets, {}", body.len(), body.escape_ascii())
        }
        Item::Malformed(bad) => format!("malformed: {}", bad.error),
        Item::Unknown { kind, info } => format!("unknown {kind}, {} octets", info.len()),
    }
}

/// `group 7 02:… vid 5 pcp 3`, each if it is there.
fn entry(entry: &FilterEntry) -> String {
    let FilterEntry { group, mac, vid, priority } = entry;
    let words = [
        group.map(|group| format!("group {group}")),
        mac.map(|mac| mac.to_string()),
        Some(vid.map_or_else(|| "no vid".to_owned(), |vid| format!("vid {vid}"))),
        priority.map(|priority| format!("pcp {priority}")),
    ];
    words.into_iter().flatten().collect::<Vec<_>>().join(" ")
}
