//! Rows of what was dropped lately, and the counters rates are made of.

use ether::Instant;
use hairpin::RecentDrop;
use serde::Serialize;
use serde_json::Value;
use vdp::VsiId;

use super::{row, why::id_of};
use crate::{core::Core, run::Planes};

/// One frame, or one copy of it, that was dropped.
#[derive(Serialize)]
struct Drop {
    ago_ms: u128,
    /// Where the frame came in.
    port: String,
    reason: &'static str,
    /// The VSI it came from or should have gone to.
    vsi: Option<VsiId>,
    source: String,
    destination: String,
    vlan: Option<u16>,
    ethertype: String,
}

/// What a port or an open VSI has moved since it is there.
#[derive(Serialize)]
struct Moved {
    port: String,
    vsi: Option<VsiId>,
    at_us: u64,
    rx_frames: u64,
    rx_octets: u64,
    tx_frames: u64,
    tx_octets: u64,
    drops: u64,
}

/// The last drops of all ports, the latest first.
pub(super) fn drops(core: &Core, planes: &Planes) -> Vec<Value> {
    let now = carrier::clock::now();
    let ports = core.ports.iter().filter(|port| !port.is_free());
    let mut all: Vec<RecentDrop> =
        ports.flat_map(|port| planes.relay(port.id).stats().recent(port.id)).collect();
    all.sort_by_key(|drop| std::cmp::Reverse(drop.at));
    all.iter().map(|drop| drop_row(core, drop, now)).collect()
}

pub(super) fn drop_row(core: &Core, drop: &RecentDrop, now: Instant) -> Value {
    row(Drop {
        ago_ms: (now - drop.at).as_millis(),
        port: core.interface(drop.port).to_owned(),
        reason: drop.reason.name(),
        vsi: drop.vsi.and_then(|key| id_of(core, key)),
        source: drop.src.to_string(),
        destination: drop.dst.to_string(),
        vlan: drop.vid.map(ether::Vid::get),
        ethertype: drop.ethertype.to_string(),
    })
}

/// The counters of every port, then of every open VSI.
pub(super) fn moved(core: &Core, planes: &Planes) -> Vec<Value> {
    let at_us = carrier::clock::now().as_micros();
    let ports = core.ports.iter().filter(|port| !port.is_free()).filter_map(|port| {
        let counters = planes.counters(port.id)?;
        Some(Moved {
            port: port.interface.clone(),
            vsi: None,
            at_us,
            rx_frames: counters.rx_frames,
            rx_octets: counters.rx_bytes,
            tx_frames: counters.tx_frames,
            tx_octets: counters.tx_bytes,
            drops: counters.drops.values().sum::<u64>() + counters.tx_drops,
        })
    });
    let vsis = core.keys.iter().filter_map(|((port, id), key)| {
        let counters = planes.vsi(*key)?;
        Some(Moved {
            port: core.interface(*port).to_owned(),
            vsi: Some(*id),
            at_us,
            rx_frames: counters.rx_frames,
            rx_octets: counters.rx_octets,
            tx_frames: counters.tx_frames,
            tx_octets: counters.tx_octets,
            drops: counters.drops.values().sum(),
        })
    });
    ports.chain(vsis).map(row).collect()
}
