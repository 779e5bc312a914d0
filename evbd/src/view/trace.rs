//! What the relay would do with a frame, step by step.

use ether::FrameView;
use hairpin::Outcome;
use serde_json::{Value, json};

use super::row;
use crate::{core::Core, extension, run::Planes};

/// The way of `frame`, had it come in on `interface` now. Nothing is learnt or counted by it.
pub(crate) fn trace(core: &Core, planes: &Planes, interface: &str, frame: &[u8]) -> Result<Value, String> {
    let port = core.ports.iter().find(|port| port.interface == interface && !port.is_free());
    let port = port.ok_or_else(|| format!("there is no port {interface}; `evbd show ports` lists them"))?;
    let (tag, frame) = extension::untagged(core, port, frame)?;
    let view = FrameView::parse(&frame).map_err(|error| format!("the frame cannot be read: {error}"))?;
    let tag_octets = if view.tag.is_some() { 4 } else { 0 };
    let summary = hairpin::Frame {
        dst: view.dst,
        src: view.src,
        tag: view.tag,
        ethertype: view.ethertype,
        len: u32::try_from(frame.len() - tag_octets).unwrap_or(u32::MAX),
        payload: view.payload,
    };
    let (relay, now) = (planes.relay(port.id), carrier::clock::now());
    let trace = match tag {
        None => relay.trace(now, port.id, &summary, false),
        Some(tag) => relay.trace_tagged(now, port.id, tag, &summary),
    };
    let outcome = match trace.outcome {
        Outcome::Forward => "forwarded".to_owned(),
        Outcome::Drop(reason) => format!("dropped: {}", reason.name()),
        Outcome::Punt(_) => "for the daemon".to_owned(),
    };
    let copies: Vec<Value> = trace
        .copies
        .iter()
        .map(|copy| {
            json!({
                "port": core.interface(copy.port),
                "vlan": copy.tag.map(|(vid, _)| vid.get()),
                "priority": copy.tag.map(|(_, pcp)| pcp),
                "reflected": copy.reflected,
                "channel": copy.channel.map(|(ecid, _)| ecid.get()),
                "link": copy.channel.map(|(_, link)| core.interface(link)),
            })
        })
        .collect();
    let words: Vec<String> = trace.steps.iter().map(ToString::to_string).collect();
    let is_fast = |port| planes.carried(port).is_some_and(|carried| carried.is_fast());
    let by_fast_ports = is_fast(port.id) && trace.copies.iter().all(|copy| is_fast(copy.port));
    let slow = match trace.passing {
        Some(passing) => Some(passing.to_string()),
        None if !by_fast_ports => Some("a port on its way has no fast path".to_owned()),
        None => None,
    };
    Ok(
        json!({ "port": interface, "outcome": outcome, "words": words, "steps": row(&trace.steps), "copies": copies,
        "fast_path": slow.is_none(), "fast_path_because": slow }),
    )
}
