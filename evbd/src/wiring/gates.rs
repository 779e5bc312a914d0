//! The gates of VSIs: opened as a profile says, and shut.

use std::sync::Arc;

use ether::Instant;
use hairpin::{PortId, VsiEntry, VsiFilter, VsiKey};
use vdp::{FilterInfo, VsiId, station};

use crate::{core::Core, effect::Effect, port::Side, vsidb};

/// Opens the gate of a VSI, or lets other frames of it pass; its profile says how, where there is one.
pub(super) fn open(
    core: &mut Core,
    port: PortId,
    id: &VsiId,
    of: vsidb::Key,
    filter: &FilterInfo,
) -> (VsiKey, VsiEntry) {
    let filters: Vec<VsiFilter> = filter
        .entries()
        .iter()
        .filter_map(|entry| Some(VsiFilter { mac: entry.mac, vid: entry.vid?, pcp: entry.priority }))
        .collect();
    let key = core.key(port, id);
    let policy = core.vsidb.row(of).map(|row| Arc::clone(&row.policy)).unwrap_or_default();
    let entry = VsiEntry { port, filters, policy };
    core.effects.push_back(Effect::OpenVsi { key, entry: entry.clone() });
    (key, entry)
}

/// Opens the gate of a VM behind the uplink at `index`.
pub(super) fn open_vm(
    core: &mut Core,
    now: Instant,
    index: usize,
    port: PortId,
    id: &VsiId,
    filter: &FilterInfo,
) -> Option<(VsiKey, VsiEntry)> {
    let vsi = station_vsi(core, index, id)?;
    let (key, entry) = open(core, port, id, (vsi.manager, vsi.type_id, vsi.version), filter);
    if let Some(Side::Station { relay, .. }) = core.side_at(index) {
        relay.open(now, key, &entry);
    }
    Some((key, entry))
}

/// Applies the profile a VSI of this station has now to its open gate.
pub(crate) fn reopen(core: &mut Core, now: Instant, index: usize, id: &VsiId) {
    let port = core.vms.get(id).map(|vm| vm.port);
    if let Some((port, vsi)) = port.zip(station_vsi(core, index, id)) {
        open_vm(core, now, index, port, id, &vsi.filter);
    }
}

pub(super) fn station_vsi(core: &mut Core, index: usize, id: &VsiId) -> Option<station::VsiView> {
    match core.side_at(index)? {
        Side::Station { vdp, .. } => vdp.vsi(id),
        Side::Bridge { .. } => None,
    }
}

pub(super) fn shut(core: &mut Core, port: PortId, id: &VsiId) -> Option<VsiKey> {
    let key = core.keys.remove(&(port, *id))?;
    core.effects.push_back(Effect::CloseVsi { key });
    Some(key)
}

/// Shuts the gate of a configured VSI, if it is open.
pub(crate) fn shut_vsi(core: &mut Core, now: Instant, id: &VsiId) {
    let Some(port) = core.vms.get(id).map(|vm| vm.port) else { return };
    shut_gate(core, now, port, id);
}

/// Shuts the gate of a station's VSI at `port`; the edge relay and the herald are told.
pub(super) fn shut_gate(core: &mut Core, now: Instant, port: PortId, id: &VsiId) {
    let uplink = core.vms.get(id).map(|vm| vm.uplink);
    let Some(key) = shut(core, port, id) else { return };
    if let Some(Side::Station { relay, herald, .. }) = uplink.and_then(|port| core.side_at(port.index())) {
        relay.shut(now, key);
        herald.shut(key);
    }
}

/// Shuts all gates on the port at `index`: it goes away.
pub(crate) fn shut_port(core: &mut Core, index: usize) {
    let Some(port) = core.ports.get(index).map(|port| port.id) else { return };
    let open: Vec<VsiId> = core.keys.keys().filter(|(at, _)| *at == port).map(|(_, id)| *id).collect();
    for id in open {
        shut(core, port, &id);
    }
}
