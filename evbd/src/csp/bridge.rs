//! The bridge's end: engines of cascade ports, and the ports of the core they make.

use std::collections::{BTreeMap, BTreeSet};

use ether::{EtherType, Instant, Pcid, Vid, time::Duration};
use hairpin::PortId;
use pe::{Controlling, PortParameters, controlling};

use super::{equip, tell_session};
use crate::{
    channels,
    config::{BridgePortKind, ExtensionConfig},
    core::Core,
    effect::Effect,
    event::Event,
    extension, names,
    port::{Port, PortKind, Side},
    wiring,
};

/// The engine of a cascade port, and the ports it has made.
pub(crate) struct Tree {
    pub(crate) engine: Controlling,
    pub(crate) ports: BTreeMap<Pcid, PortId>,
    /// Those at which frames can pass.
    pub(super) up: BTreeSet<PortId>,
    /// Which ports are flooded to is to be looked at again then.
    pub(super) floods_at: Option<Instant>,
    floods: BTreeSet<Vid>,
}

impl Tree {
    pub(super) fn new(extension: &ExtensionConfig, sequence: u16) -> Self {
        let settings = controlling::Settings { ecp: extension.ecp, tiers: extension.tiers };
        Self {
            engine: Controlling::new(extension.book.clone(), settings, sequence),
            ports: BTreeMap::new(),
            up: BTreeSet::new(),
            floods_at: None,
            floods: BTreeSet::new(),
        }
    }
}

/// Passes on one output of the engine of `cascade`; false when there was none.
pub(super) fn step(core: &mut Core, now: Instant, cascade: PortId) -> bool {
    let Some(tree) = tree_mut(core, cascade) else { return false };
    if let Some(output) = tree.engine.poll_output() {
        from_tree(core, now, cascade, output);
        return true;
    }
    if tree.floods_at.take_if(|at| *at <= now).is_some() {
        look_at_floods(core, now, cascade);
        return true;
    }
    false
}

fn from_tree(core: &mut Core, now: Instant, cascade: PortId, output: controlling::Output) {
    let port_of =
        |core: &Core, pcid: Pcid| tree_of(core, cascade).and_then(|tree| tree.ports.get(&pcid).copied());
    match output {
        controlling::Output::Transmit { at, to, ecpdu } => {
            let port = at.map_or(Some(cascade), |pcid| port_of(core, pcid));
            if let Some(port) = port {
                wiring::transmit(core, port.index(), to, EtherType::ECP, &ecpdu);
            }
        }
        controlling::Output::Session(at, state) => {
            let port = at.map_or(Some(cascade), |pcid| port_of(core, pcid));
            if let Some(port) = port.map(|port| core.interface(port).to_owned()) {
                tell_session(core, port, state);
            }
        }
        controlling::Output::Create { pcid, cascade: nested, .. } => {
            let parameters = create(core, now, cascade, pcid, nested);
            if let Some(tree) = tree_mut(core, cascade) {
                tree.engine.created(now, pcid, parameters);
            }
        }
        controlling::Output::Link(pcid, up) => {
            let (id, tree) = (port_of(core, pcid), tree_mut(core, cascade));
            if let (Some(id), Some(tree)) = (id, tree) {
                if up {
                    tree.up.insert(id);
                } else {
                    tree.up.remove(&id);
                }
                extension::follow_end(core, now, id);
                floods_changed(core, now, cascade);
            }
        }
        controlling::Output::Gone(pcid) => {
            let Some(tree) = tree_mut(core, cascade) else { return };
            let Some(id) = tree.ports.remove(&pcid) else { return };
            tree.up.remove(&id);
            let port = core.interface(id).to_owned();
            channels::retire(core, now, id.index());
            core.effects.push_back(Effect::FollowPort(id));
            core.effects.push_back(Effect::FollowExtended(cascade));
            core.tell(Event::ExtendedPortGone { port });
            floods_changed(core, now, cascade);
        }
        controlling::Output::Flood(vlan, channel) => {
            let tree = tree_of(core, cascade);
            let ports = |pcids: Vec<Pcid>| {
                let ports = pcids.iter().filter_map(|pcid| tree?.ports.get(pcid).copied());
                ports.collect()
            };
            let channel = channel.map(|(ecid, members)| (ecid, ports(members)));
            core.effects.push_back(Effect::Flood { cascade, vlan, channel });
        }
    }
}

/// Makes the port of the bridge that a port extender's port is; how it is to work, unless there is no room.
fn create(
    core: &mut Core,
    now: Instant,
    cascade: PortId,
    pcid: Pcid,
    nested: bool,
) -> Option<PortParameters> {
    let interface = core.interface(cascade).to_owned();
    let bridge = core.config.bridge()?;
    let entry = bridge.ports.iter().find(|port| port.interface == interface)?;
    let (kind, untagged) = match &entry.kind {
        BridgePortKind::Station => (PortKind::Station, None),
        BridgePortKind::Lan { untagged, .. } => (PortKind::Lan, *untagged),
    };
    let name = names::extended(&interface, pcid);
    let Some(id) = core.add_port(now, name.clone(), kind) else {
        tracing::error!(port = name, "no port of the relay is free");
        return None;
    };
    equip(core, id.index(), nested);
    tree_mut(core, cascade)?.ports.insert(pcid, id);
    core.effects.push_back(Effect::FollowPort(id));
    core.tell(Event::ExtendedPortMade { port: name });
    extension::follow_end(core, now, id);
    let untagged = untagged.into_iter().collect();
    Some(PortParameters { admin_up: true, blocked: false, untagged, ..PortParameters::new(pcid) })
}

/// VSIs of an extended port opened or went: its VLANs may be others.
pub(crate) fn vlans_changed(core: &mut Core, now: Instant, id: PortId) {
    if let Some(extended) = core.ports.get(id.index()).and_then(|port| port.extended) {
        floods_changed(core, now, extended.cascade);
        core.reschedule(extended.cascade.index());
    }
}

fn floods_changed(core: &mut Core, now: Instant, cascade: PortId) {
    if let Some(tree) = tree_mut(core, cascade) {
        tree.floods_at = tree.floods_at.or(Some(now + GATHER));
    }
}

/// Tells the engine which ports are in which VLANs.
fn look_at_floods(core: &mut Core, now: Instant, cascade: PortId) {
    let interface = core.interface(cascade).to_owned();
    let bridge = core.config.bridge();
    let Some(entry) = bridge.and_then(|bridge| bridge.ports.iter().find(|port| port.interface == interface))
    else {
        return;
    };
    let fixed: BTreeSet<Vid> = match &entry.kind {
        BridgePortKind::Lan { untagged, tagged, .. } => untagged.iter().chain(tagged).copied().collect(),
        BridgePortKind::Station => BTreeSet::new(),
    };
    let mut members: BTreeMap<Vid, BTreeSet<Pcid>> = BTreeMap::new();
    let Some(tree) = tree_of(core, cascade) else { return };
    for (pcid, id) in &tree.ports {
        let Some(port) = core.ports.get(id.index()).filter(|port| port.link.is_up()) else { continue };
        let vlans = fixed.iter().copied().chain(vlans(core, port));
        for vlan in vlans {
            members.entry(vlan).or_default().insert(*pcid);
        }
    }
    let Some(tree) = tree_mut(core, cascade) else { return };
    let before = std::mem::replace(&mut tree.floods, members.keys().copied().collect());
    for vlan in before.into_iter().filter(|vlan| !members.contains_key(vlan)) {
        tree.engine.set_flood(now, vlan, BTreeSet::new());
    }
    for (vlan, members) in members {
        tree.engine.set_flood(now, vlan, members);
    }
}

/// The VLANs of the VSIs of a port.
fn vlans(core: &Core, port: &Port) -> BTreeSet<Vid> {
    let Some(Side::Bridge { vdp, .. }) = port.edge.as_ref().map(|edge| &edge.side) else {
        return BTreeSet::new();
    };
    let open = vdp.vsis().filter(|vsi| core.keys.contains_key(&(port.id, vsi.id)));
    open.flat_map(|vsi| vsi.filter.entries().iter().filter_map(|entry| entry.vid).collect::<Vec<_>>())
        .collect()
}

/// Whether `port` is an extended port made in a session of a cascade port the configuration still has.
pub(crate) fn made(core: &Core, port: &Port) -> bool {
    let Some(end) = port.extended else { return false };
    let made = tree_of(core, end.cascade).is_some_and(|tree| tree.ports.get(&end.pcid) == Some(&port.id));
    made && core
        .config
        .cascade(core.interface(end.cascade))
        .is_some_and(|cascade| cascade.extended.is_empty())
}

pub(crate) fn tree_of(core: &Core, cascade: PortId) -> Option<&Tree> {
    core.ports.get(cascade.index())?.csp.as_ref()?.tree.as_deref()
}

pub(super) fn tree_mut(core: &mut Core, cascade: PortId) -> Option<&mut Tree> {
    core.ports.get_mut(cascade.index())?.csp.as_mut()?.tree.as_deref_mut()
}

/// How long changes of VLANs gather.
const GATHER: Duration = Duration::from_millis(20);
