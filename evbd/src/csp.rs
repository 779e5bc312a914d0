//! Port extension [BR 9]: from the nearest-bridge agent of LLDP to the engines of `pe`, and from them to LLDP, ECP, the data
//! path and the ports of the bridge.
//!
//! A controlling bridge has an engine for each cascade port, [`Tree`]; all port extenders behind it, however many tiers, are
//! that engine's. Each of their ports is a port of the core. A port extender has one engine, [`crate::Core`]'s.
//!
//! UNSURE-U8: the TLV goes to the nearest bridge. UNSURE-U9: PDUs go to the address the peer's TLV names, and are taken if
//! they come to ours or to one of the three groups of LLDP.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ether::{EtherType, FrameView, Instant, Pcid, Vid, mac, time::Duration};
use hairpin::PortId;
use lldp::{OrgKey, Oui, Scope};
use pe::{
    CascadePriority, Controlling, Extender, Marker, Offer, PortExtensionTlv, PortParameters, SessionState,
    controlling::{self, At},
    csp::session::Peer,
    extender,
};

use crate::{
    channels,
    config::{BridgePortKind, Config},
    core::Core,
    effect::Effect,
    event::Event,
    extension,
    input::Link,
    port::{Port, PortKind, Side},
    wiring,
};

/// What a port that speaks port extension has.
pub(crate) struct Speaker {
    /// Told the peer, which knows by another number that this one has restarted.
    life: u16,
    /// The peer's.
    heard: u16,
    /// Since when the link is up: who spoke last before that was at another cable.
    up_since: Option<Instant>,
    /// The engine, on a cascade port.
    pub(crate) tree: Option<Box<Tree>>,
}

/// The engine of a cascade port, and the ports it has made.
pub(crate) struct Tree {
    pub(crate) engine: Controlling,
    pub(crate) ports: BTreeMap<Pcid, PortId>,
    /// Those at which frames can pass.
    up: BTreeSet<PortId>,
    /// Which ports are flooded to is to be looked at again then.
    floods_at: Option<Instant>,
    floods: BTreeSet<Vid>,
}

impl Speaker {
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let tree = self.tree.as_ref()?;
        ether::time::earliest(tree.engine.poll_timeout(), tree.floods_at)
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if let Some(tree) = &mut self.tree {
            tree.engine.handle_timeout(now);
        }
    }
}

/// The engine of a port extender, if `config` makes this one with sessions.
pub(crate) fn extender(config: &Config, sequence: u16, now: Instant) -> Option<Box<Extender>> {
    config.extender().filter(|extender| !extender.is_static())?;
    let settings = extender::Settings { ecp: config.extension.ecp, hold: config.extension.hold };
    Some(Box::new(Extender::new(config.extension.book.clone(), settings, sequence, now)))
}

/// Makes what the port at `index` needs to speak, if it is to; `nested`: another port extender may be behind it.
pub(crate) fn equip(core: &mut Core, index: usize, nested: bool) {
    let Some(port) = core.ports.get(index).filter(|port| port.csp.is_none()) else { return };
    let sessions = core.config.cascade(&port.interface).is_some_and(|cascade| cascade.extended.is_empty());
    let cascade = sessions && port.kind == PortKind::Cascade;
    let upstream = core.extender.is_some() && port.kind == PortKind::Upstream;
    if !(cascade || nested || upstream) {
        return;
    }
    let (life, sequence) = (core.draw().max(1), core.draw());
    let tree = cascade.then(|| {
        let extension = &core.config.extension;
        let settings = controlling::Settings { ecp: extension.ecp, tiers: extension.tiers };
        let engine = Controlling::new(extension.book.clone(), settings, sequence);
        Box::new(Tree {
            engine,
            ports: BTreeMap::new(),
            up: BTreeSet::new(),
            floods_at: None,
            floods: BTreeSet::new(),
        })
    });
    if let Some(port) = core.ports.get_mut(index) {
        port.csp = Some(Box::new(Speaker { life, heard: 0, up_since: None, tree }));
    }
}

/// Gives the nearest-bridge agent of the port at `index` our TLVs.
pub(crate) fn announce(core: &mut Core, now: Instant, index: usize) {
    let Some(port) = core.ports.get(index) else { return };
    let (Some(speaker), Some(own), Some(chassis)) = (&port.csp, port.mac(), core.chassis.as_ref()) else {
        return;
    };
    let priority = match (place(core, port), &core.extender) {
        (Some((cascade, at)), _) => {
            let tier = tree_of(core, cascade).map_or(1, |tree| tree.engine.tier(at));
            core.config.extension.priority.saturating_add(tier - 1)
        }
        (None, _) => 0,
    };
    let number = u32::from(port.id.0);
    let chosen = core.extender.as_ref().is_some_and(|extender| extender.upstream() == Some(number));
    let marker = Marker::new(&core.config.extension.book, chosen, speaker.life, speaker.heard);
    let tlv =
        PortExtensionTlv { priority: CascadePriority(priority), address: chassis.mac, csp_address: own };
    if let Some(port) = core.ports.get_mut(index) {
        say(port, now, PORT_EXTENSION, tlv.to_bytes());
        say(port, now, MARKER, marker.to_bytes());
    }
}

fn say(port: &mut Port, now: Instant, key: OrgKey, info: Bytes) {
    let agent = port.agents.iter_mut().find(|agent| agent.config().scope == Scope::NearestBridge);
    if let Some(Err(error)) = agent.map(|agent| agent.set_org_tlv(now, key, Some(info))) {
        tracing::error!(%error, "a TLV of port extension does not fit");
    }
}

/// The nearest-bridge neighbours of the port at `index` changed, or its link did.
pub(crate) fn neighbors(core: &mut Core, now: Instant, index: usize) {
    let Some(port) = core.ports.get_mut(index) else { return };
    let (said, marker) = heard(port);
    let id = port.id;
    let Some(speaker) = &mut port.csp else { return };
    let life = marker.as_ref().map_or(0, |marker| marker.life);
    let news = std::mem::replace(&mut speaker.heard, life) != life;
    match core.ports.get(index).and_then(|port| place(core, port)) {
        Some((cascade, at)) => {
            // A bridge is no port extender.
            let peer = said.filter(|tlv| !tlv.priority.is_cascade_port()).map(|tlv| Peer {
                address: tlv.csp_address,
                chosen: marker.as_ref().is_some_and(|marker| marker.chosen),
                marker,
            });
            if let Some(tree) = tree_mut(core, cascade) {
                tree.engine.set_peer(now, at, peer);
            }
            wiring::settle(core, now, cascade.index());
        }
        None => {
            let offer = said.map(|PortExtensionTlv { priority, csp_address, .. }| Offer {
                priority,
                csp_address,
                marker,
            });
            if let Some(extender) = &mut core.extender {
                extender.set_offer(now, u32::from(id.0), offer);
            }
        }
    }
    if news {
        announce(core, now, index);
    }
}

/// What the nearest-bridge neighbour of `port` says of port extension. A link joins two ends; where there seem to be more,
/// the one that appeared last has taken the place of the others: at another cable its ports have other names.
fn heard(port: &Port) -> (Option<PortExtensionTlv>, Option<Marker>) {
    let agent = port.agents.iter().find(|agent| agent.config().scope == Scope::NearestBridge);
    let Some(since) = port.csp.as_ref().and_then(|csp| csp.up_since) else { return (None, None) };
    let heard = agent.into_iter().flat_map(lldp::Agent::neighbors).filter(|peer| peer.last_seen >= since);
    let speaks = heard.filter(|peer| peer.info.org(PORT_EXTENSION).is_some());
    let Some(peer) = speaks.max_by_key(|peer| peer.first_seen) else { return (None, None) };
    let said = peer.info.org(PORT_EXTENSION).and_then(|info| PortExtensionTlv::parse(info).ok());
    let marker = peer.info.org(MARKER).and_then(|info| Marker::parse(info).ok());
    (said.filter(|tlv| mac::is_station(tlv.csp_address)), marker)
}

/// Takes a frame that came to `id`, if it is one of the control and status protocol that somebody here speaks.
pub(crate) fn handle_frame(core: &mut Core, now: Instant, id: PortId, frame: &[u8]) -> bool {
    let Ok(view) = FrameView::parse(frame) else { return false };
    let csp = view.ethertype == EtherType::ECP
        && view.tag.is_none()
        && ecp::peek_subtype(view.payload) == Ok(ecp::Subtype::PeCsp);
    let Some(port) = core.ports.get(id.index()).filter(|port| csp && port.csp.is_some() && port.link.is_up())
    else {
        return false;
    };
    let groups = [mac::NEAREST_BRIDGE, mac::NEAREST_NON_TPMR_BRIDGE, mac::NEAREST_CUSTOMER_BRIDGE];
    let ours = port.mac() == Some(view.dst) || groups.contains(&view.dst);
    if !ours || port.mac() == Some(view.src) {
        return false;
    }
    match place(core, port) {
        Some((cascade, at)) => {
            if let Some(tree) = tree_mut(core, cascade) {
                tree.engine.handle_ecpdu(now, at, view.src, view.payload);
            }
            wiring::settle(core, now, cascade.index());
        }
        None => {
            if let Some(extender) = &mut core.extender {
                extender.handle_ecpdu(now, u32::from(id.0), view.src, view.payload);
            }
        }
    }
    true
}

/// The link of the port at `index` changed.
pub(crate) fn follow(core: &mut Core, now: Instant, index: usize) {
    let Some(port) = core.ports.get_mut(index) else { return };
    let (id, kind, link) = (port.id, port.kind, port.link.clone());
    if let Some(speaker) = &mut port.csp {
        speaker.up_since = if link.is_up() { speaker.up_since.or(Some(now)) } else { None };
        neighbors(core, now, index);
    }
    if let Some(extender) = &mut core.extender
        && matches!(kind, PortKind::Extended | PortKind::Transit)
    {
        let info = extender::PortInfo { cascade: kind == PortKind::Transit, up: link.is_up() };
        extender.set_port(now, u32::from(id.0), (link != Link::Absent).then_some(info));
    }
}

/// Whether frames can pass at an extended port, as far as that is not the matter of its cascade port's link.
pub(crate) fn is_up(core: &Core, cascade: PortId, id: PortId) -> bool {
    tree_of(core, cascade).is_none_or(|tree| tree.up.contains(&id))
}

/// Passes on one output of the engine at `index`, or of the port extender's; false when there was none.
pub(crate) fn step(core: &mut Core, now: Instant, index: usize) -> bool {
    if let Some(output) = core.extender.as_mut().and_then(|extender| extender.poll_output()) {
        from_extender(core, now, output);
        return true;
    }
    let Some(port) = core.ports.get_mut(index) else { return false };
    let id = port.id;
    let Some(tree) = port.csp.as_mut().and_then(|csp| csp.tree.as_mut()) else { return false };
    if let Some(output) = tree.engine.poll_output() {
        from_tree(core, now, id, output);
        return true;
    }
    if tree.floods_at.is_some_and(|at| at <= now) {
        tree.floods_at = None;
        look_at_floods(core, now, id);
        return true;
    }
    false
}

fn from_extender(core: &mut Core, now: Instant, output: extender::Output) {
    match output {
        extender::Output::Transmit { port, to, ecpdu } => {
            if let Some(port) = number(port) {
                wiring::transmit(core, port.index(), to, EtherType::ECP, &ecpdu);
            }
        }
        extender::Output::Upstream(port) => {
            let port = port.and_then(number);
            core.effects.push_back(Effect::Upstream(port));
            let name = port.map(|port| core.interface(port).to_owned());
            core.tell(Event::Upstream { port: name });
            let is = |port: &&Port| port.kind == PortKind::Upstream;
            let ports: Vec<PortId> = core.ports.iter().filter(is).map(|port| port.id).collect();
            ports.into_iter().for_each(|port| announce(core, now, port.index()));
        }
        extender::Output::Session(state) => {
            let upstream = core.extender.as_ref().and_then(|extender| extender.upstream()).and_then(number);
            if let Some(port) = upstream.map(|port| core.interface(port).to_owned()) {
                tell_session(core, port, state);
            }
        }
        extender::Output::Port(local, parameters) => {
            if let Some(port) = number(local) {
                let untagged = parameters.iter().flat_map(|with| with.untagged.iter().copied()).collect();
                let parameters = parameters.map(|with| Box::new(as_relayed(&with)));
                core.effects.push_back(Effect::Extend { port, parameters, untagged });
            }
        }
        extender::Output::Channel(ecid, members) => {
            let members = members.into_iter().filter_map(number).collect();
            core.effects.push_back(Effect::Channel { ecid, members });
        }
    }
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

fn tell_session(core: &mut Core, port: String, state: SessionState) {
    core.tell(Event::ExtensionSession { port, state, words: extender::words(state) });
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
    let name = extension::name(&interface, pcid);
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

/// The cascade port whose engine hears a port's peer, and where that is. None on a port extender.
pub(crate) fn place(core: &Core, port: &Port) -> Option<(PortId, At)> {
    core.config.bridge()?;
    Some(match port.extended {
        Some(extended) => (extended.cascade, Some(extended.pcid)),
        None => (port.id, None),
    })
}

pub(crate) fn tree_of(core: &Core, cascade: PortId) -> Option<&Tree> {
    core.ports.get(cascade.index())?.csp.as_ref()?.tree.as_deref()
}

fn tree_mut(core: &mut Core, cascade: PortId) -> Option<&mut Tree> {
    core.ports.get_mut(cascade.index())?.csp.as_mut()?.tree.as_deref_mut()
}

/// The same for the data path: what is not up passes nothing either.
fn as_relayed(with: &PortParameters) -> hairpin::Parameters {
    hairpin::Parameters {
        pcid: with.pcid,
        blocked: !with.is_open(),
        default_priority: with.default_priority,
        decode: with.decode,
        use_dei: with.use_dei,
        encode: with.encode,
    }
}

/// The engine of a port extender calls ports by the core's numbers.
fn number(local: extender::Local) -> Option<PortId> {
    u16::try_from(local).ok().map(PortId)
}

const PORT_EXTENSION: OrgKey = OrgKey { oui: Oui(pe::OUI), subtype: pe::SUBTYPE };
const MARKER: OrgKey = OrgKey { oui: Oui(pe::marker::OUI), subtype: pe::marker::SUBTYPE };
/// How long changes of VLANs gather.
const GATHER: Duration = Duration::from_millis(20);
