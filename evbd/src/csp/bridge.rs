//! The bridge's end: engines of cascade ports, and the ports of the core they make.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ether::{EtherType, Instant, MacAddr, Pcid, Vid, time::Duration};
use hairpin::PortId;
use pe::{
    CodeBook, Controlling, Names, PortParameters,
    controlling::{self, Held},
};

use super::{equip, tell_session};
use crate::{
    channels,
    config::{BridgePortKind, ExtensionConfig},
    core::Core,
    effect::Effect,
    event::Event,
    extension::{self, ExtendedEnd, ExtendedSettings},
    names,
    port::{Port, Side},
    state::{Record, RecordKey},
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
    pub(super) fn new(extension: &ExtensionConfig, book: Option<Arc<CodeBook>>, sequence: u16) -> Self {
        Self {
            engine: Controlling::new(book, settings(extension), sequence),
            ports: BTreeMap::new(),
            up: BTreeSet::new(),
            floods_at: None,
            floods: BTreeSet::new(),
        }
    }
}

const fn settings(extension: &ExtensionConfig) -> controlling::Settings {
    let ExtensionConfig { ecp, tiers, statistics, .. } = *extension;
    controlling::Settings { ecp, tiers, statistics }
}

/// Has the engines and the ports they made work by the configuration as it is now.
pub(super) fn reconfigure(core: &mut Core, now: Instant) {
    let settings = settings(&core.config.extension);
    for cascade in cascades(core) {
        let Some(tree) = tree_mut(core, cascade) else { continue };
        tree.engine.configure(now, settings);
        let ports: Vec<(Pcid, PortId)> = tree.ports.iter().map(|(pcid, id)| (*pcid, *id)).collect();
        for (pcid, id) in ports {
            refresh(core, now, cascade, pcid, id);
        }
        floods_changed(core, now, cascade);
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
        controlling::Output::Create { pcid, cascade: nested, names, .. } => {
            let parameters = create(core, now, cascade, pcid, nested, names);
            if let Some(tree) = tree_mut(core, cascade) {
                tree.engine.created(now, pcid, parameters);
            }
            remember(core, cascade, pcid);
        }
        controlling::Output::Named(pcid, names) => {
            let Some(id) = port_of(core, pcid) else { return };
            if let Some(port) = core.ports.get_mut(id.index()) {
                let name = port.interface.clone();
                port.far = Some(Box::new(names.clone()));
                core.tell(Event::ExtendedPortNamed {
                    port: name,
                    extender: names.extender,
                    name: names.port,
                });
            }
            remember(core, cascade, pcid);
            refresh(core, now, cascade, pcid, id);
            core.effects.push_back(Effect::FollowPort(id));
            floods_changed(core, now, cascade);
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
            core.effects.push_back(Effect::Forget(record_key(&port)));
            tell_elsewhere(core, pcid);
            channels::retire(core, now, id.index());
            core.effects.push_back(Effect::FollowPort(id));
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
    names: Names,
) -> Option<PortParameters> {
    let interface = core.interface(cascade).to_owned();
    let settings = ExtendedSettings::new(&core.config, &interface, pcid, Some(&names), nested)?;
    let name = names::extended(&interface, pcid);
    let Some(id) = core.add_port(now, name.clone(), settings.kind()) else {
        tracing::error!(port = name, "no port of the relay is free");
        return None;
    };
    if let Some(port) = core.ports.get_mut(id.index()) {
        port.far = Some(Box::new(names.clone()));
    }
    equip(core, id.index(), nested);
    tree_mut(core, cascade)?.ports.insert(pcid, id);
    tell_elsewhere(core, pcid);
    core.effects.push_back(Effect::FollowPort(id));
    core.tell(Event::ExtendedPortMade { port: name, extender: names.extender, name: names.port });
    extension::follow_end(core, now, id);
    Some(settings.parameters(pcid))
}

/// Has a port and its port extender do what the configuration says of it now. One that faces something else is made anew.
fn refresh(core: &mut Core, now: Instant, cascade: PortId, pcid: Pcid, id: PortId) {
    let Some(port) = core.ports.get(id.index()) else { return };
    let Some(settings) = extension::settings(core, port) else { return };
    let (kind, nested, names) = (port.kind, port.csp.is_some(), port.far.clone().unwrap_or_default());
    let Some(tree) = tree_mut(core, cascade) else { return };
    tree.engine.set_parameters(now, settings.parameters(pcid));
    if kind == settings.kind() {
        return extension::follow_end(core, now, id);
    }
    let up = tree.up.remove(&id);
    let port = core.interface(id).to_owned();
    channels::retire(core, now, id.index());
    core.tell(Event::ExtendedPortGone { port });
    create(core, now, cascade, pcid, nested, *names);
    // Its number may be free again.
    core.effects.push_back(Effect::FollowPort(id));
    let Some(tree) = tree_mut(core, cascade).filter(|_| up) else { return };
    if let Some(id) = tree.ports.get(&pcid).copied() {
        tree.up.insert(id);
        extension::follow_end(core, now, id);
    }
}

/// Has a port of a port extender survive a restart.
fn remember(core: &mut Core, cascade: PortId, pcid: Pcid) {
    let Some(tree) = tree_of(core, cascade) else { return };
    let Some((held, id)) = tree.engine.held(pcid).zip(tree.ports.get(&pcid)) else { return };
    let port = core.interface(*id).to_owned();
    core.effects.push_back(Effect::Remember(Record::Extended { port, held }));
}

/// What is to be remembered of the ports of port extenders now.
pub(crate) fn records(core: &Core) -> Vec<Record> {
    let all = core.ports.iter().filter_map(|port| {
        let ExtendedEnd { cascade, pcid } = port.extended?;
        let held = tree_of(core, cascade)?.engine.held(pcid)?;
        Some(Record::Extended { port: port.interface.clone(), held })
    });
    all.collect()
}

/// Makes the ports of port extenders that were there before a restart: they forward at once, and are confirmed or gone
/// within [`controlling::PRESUMED`]. What has no place any more is forgotten.
pub(crate) fn resume(core: &mut Core, now: Instant, mut waiting: Vec<(String, Held)>) {
    let mut resumed = 0;
    loop {
        let before = waiting.len();
        // Those that others are behind come first.
        waiting.retain(|(port, held)| !take_up(core, now, port, held));
        resumed += before - waiting.len();
        if waiting.len() == before {
            break;
        }
    }
    for (port, _) in waiting {
        core.effects.push_back(Effect::Forget(record_key(&port)));
    }
    if resumed > 0 {
        core.tell(Event::ExtendedPortsResumed { ports: resumed });
    }
}

fn take_up(core: &mut Core, now: Instant, port: &str, held: &Held) -> bool {
    let (interface, pcid) = names::extended_of(port);
    let cascade = core.ports.iter().find(|port| port.interface == interface).map(|port| port.id);
    let Some(cascade) = cascade.filter(|_| pcid == Some(held.pcid)) else { return false };
    let settings = ExtendedSettings::new(&core.config, interface, held.pcid, Some(&held.names), held.cascade);
    let Some(settings) = settings.filter(|_| core.has_room()) else { return false };
    let Some(tree) = tree_mut(core, cascade) else { return false };
    if !tree.engine.resume(now, held.clone(), settings.parameters(held.pcid)) {
        return false;
    }
    create(core, now, cascade, held.pcid, held.cascade, held.names.clone());
    wiring::settle(core, now, cascade.index());
    true
}

/// Names the record of an extended port.
pub(crate) fn record_key(name: &str) -> RecordKey {
    // No port has a name with blanks.
    RecordKey { port: format!("the extended port {name}"), vsi: None }
}

/// Has every engine know whether another one's port has this identifier.
fn tell_elsewhere(core: &mut Core, pcid: Pcid) {
    let cascades = cascades(core);
    let has = |cascade: &PortId| tree_of(core, *cascade).is_some_and(|tree| tree.ports.contains_key(&pcid));
    let users: Vec<PortId> = cascades.iter().copied().filter(has).collect();
    for cascade in cascades {
        let taken = users.iter().any(|user| *user != cascade);
        if let Some(tree) = tree_mut(core, cascade) {
            tree.engine.set_elsewhere(pcid, taken);
        }
    }
}

fn cascades(core: &Core) -> Vec<PortId> {
    let has = |port: &&Port| port.csp.as_ref().is_some_and(|csp| csp.tree.is_some());
    core.ports.iter().filter(has).map(|port| port.id).collect()
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
    let mut members: BTreeMap<Vid, BTreeSet<Pcid>> = BTreeMap::new();
    let Some(tree) = tree_of(core, cascade) else { return };
    for (pcid, id) in &tree.ports {
        let Some(port) = core.ports.get(id.index()).filter(|port| port.link.is_up()) else { continue };
        let settings = extension::settings(core, port);
        if settings.as_ref().is_some_and(|settings| settings.work.lag.is_some()) {
            // One of the members gets a copy of its own.
            continue;
        }
        let faces = settings.map(|settings| settings.faces);
        let fixed: BTreeSet<Vid> = match &faces {
            Some(BridgePortKind::Lan { untagged, tagged, .. }) => {
                untagged.iter().chain(tagged).copied().collect()
            }
            Some(BridgePortKind::Station) | None => BTreeSet::new(),
        };
        for vlan in fixed.into_iter().chain(vlans(core, port)) {
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

/// The port extender's port that the extended port `id` was made for: the address it is spoken to at, and its number there.
pub(crate) fn made_for(core: &Core, id: PortId) -> Option<(MacAddr, u32)> {
    let end = core.extended(id)?;
    let port = tree_of(core, end.cascade)?.engine.port(end.pcid)?;
    Some((port.owner, port.local))
}

pub(crate) fn tree_of(core: &Core, cascade: PortId) -> Option<&Tree> {
    core.ports.get(cascade.index())?.csp.as_ref()?.tree.as_deref()
}

pub(super) fn tree_mut(core: &mut Core, cascade: PortId) -> Option<&mut Tree> {
    core.ports.get_mut(cascade.index())?.csp.as_mut()?.tree.as_deref_mut()
}

/// How long changes of VLANs gather.
const GATHER: Duration = Duration::from_millis(20);
