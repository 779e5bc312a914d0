//! Port extension [BR 9]: from the nearest-bridge agent of LLDP to the engines of `pe`, and from them to LLDP, ECP, the data
//! path and the ports of the bridge.
//!
//! A controlling bridge has an engine for each cascade port, [`Tree`]; all port extenders behind it, however many tiers, are
//! that engine's. Each of their ports is a port of the core. A port extender has one engine, [`crate::Core`]'s.
//!
//! UNSURE-U8: the TLV goes to the nearest bridge. UNSURE-U9: PDUs go to the address the peer's TLV names, and are taken if
//! they come to ours or to one of the three groups of LLDP.

mod bridge;
mod extender;

use std::sync::Arc;

use bytes::Bytes;
use ether::{EtherType, FrameView, Instant, mac};
use hairpin::PortId;
use lldp::{OrgKey, Oui, Scope};
use pe::{
    CascadePriority, CodeBook, Marker, Name, Offer, PortExtensionTlv, SessionState,
    controlling::At,
    csp::session::Peer,
    extender::{PortInfo, words},
};

use self::bridge::{Tree, tree_mut};
pub(crate) use self::{
    bridge::{made, made_for, record_key, records, resume, tree_of, vlans_changed},
    extender::counted,
};
use crate::{
    config::{self, Config},
    core::Core,
    event::Event,
    extension,
    input::Link,
    loss,
    port::{Port, PortKind},
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

/// The code book, if no file has it.
pub(crate) fn own_book(config: &Config) -> Option<Arc<CodeBook>> {
    config.extension.codebook.is_none().then(|| Arc::new(CodeBook::p0()))
}

/// Makes the engine of a port extender, if this is one with sessions.
pub(crate) fn start(core: &mut Core, now: Instant) {
    let sequence = core.draw();
    core.extender = extender::extender(&core.config, core.book.clone(), sequence, now);
}

/// Speaks by another code book from now on: the one in `text`, or P0.
pub(crate) fn set_book(core: &mut Core, now: Instant, text: Option<&str>) {
    let read = text.map_or_else(|| Ok(CodeBook::p0()), config::codebook);
    let book = match read {
        Ok(book) => Arc::new(book),
        Err(error) => return tracing::error!(error, "no code book"),
    };
    let (name, digest) = (book.name.clone(), format!("{:08x}", book.digest()));
    if core.book.replace(Arc::clone(&book)).is_none_or(|old| old.digest() != book.digest()) {
        core.tell(Event::CodeBook { name, digest });
    }
    if let Some(extender) = &mut core.extender {
        extender.set_book(now, Arc::clone(&book));
    }
    for port in &mut core.ports {
        if let Some(tree) = port.csp.as_mut().and_then(|csp| csp.tree.as_mut()) {
            tree.engine.set_book(now, Arc::clone(&book));
        }
    }
    for index in 0..core.ports.len() {
        announce(core, now, index);
        wiring::settle(core, now, index);
    }
}

/// Has both ends work by the configuration as it is now, without closing a session.
pub(crate) fn reconfigure(core: &mut Core, now: Instant) {
    extender::reconfigure(core);
    bridge::reconfigure(core, now);
    for index in 0..core.ports.len() {
        announce(core, now, index);
        wiring::settle(core, now, index);
    }
}

/// `text` as a name for the other end; none if it is too long or has control characters.
fn name(text: &str) -> Option<Name> {
    Name::try_from(text.to_owned()).ok()
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
    let tree = cascade.then(|| Box::new(Tree::new(&core.config.extension, core.book.clone(), sequence)));
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
    let marker = core.book.as_ref().map(|book| Marker::new(book, chosen, speaker.life, speaker.heard));
    let tlv =
        PortExtensionTlv { priority: CascadePriority(priority), address: chassis.mac, csp_address: own };
    if let Some(port) = core.ports.get_mut(index) {
        say(port, now, PORT_EXTENSION, tlv.to_bytes());
        if let Some(marker) = marker {
            say(port, now, MARKER, marker.to_bytes());
        }
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
/// the one that last said something new has taken the place of the others: at another cable its ports have other names, or
/// those of an earlier time and another life.
fn heard(port: &Port) -> (Option<PortExtensionTlv>, Option<Marker>) {
    let agent = port.agents.iter().find(|agent| agent.config().scope == Scope::NearestBridge);
    let Some(since) = port.csp.as_ref().and_then(|csp| csp.up_since) else { return (None, None) };
    let heard = agent.into_iter().flat_map(lldp::Agent::neighbors).filter(|peer| peer.last_seen >= since);
    let speaks = heard.filter(|peer| peer.info.org(PORT_EXTENSION).is_some());
    let Some(peer) = speaks.max_by_key(|peer| peer.last_changed) else { return (None, None) };
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
    let name = name(&port.interface);
    if let Some(speaker) = &mut port.csp {
        speaker.up_since = if link.is_up() { speaker.up_since.or(Some(now)) } else { None };
        neighbors(core, now, index);
    }
    if let Some(extender) = &mut core.extender
        && matches!(kind, PortKind::Extended | PortKind::Transit)
    {
        let info = PortInfo { name, cascade: kind == PortKind::Transit, up: link.is_up() };
        extender.set_port(now, u32::from(id.0), (link != Link::Absent).then_some(info));
    }
    if link == Link::Absent {
        loss::release(core, id);
    }
}

/// The port at `index` is to be no more: the other end of its session is to know.
pub(crate) fn forget(core: &mut Core, now: Instant, index: usize) {
    let (Some(port), Some(extender)) = (core.ports.get(index), &mut core.extender) else { return };
    let number = u32::from(port.id.0);
    match port.kind {
        PortKind::Upstream => extender.set_offer(now, number, None),
        _ => extender.set_port(now, number, None),
    }
    wiring::settle(core, now, index);
}

/// Whether frames can pass at an extended port, as far as that is not the matter of its cascade port's link.
pub(crate) fn is_up(core: &Core, cascade: PortId, id: PortId) -> bool {
    let Some(tree) = tree_of(core, cascade) else { return true };
    let settings = core.ports.get(id.index()).and_then(|port| extension::settings(core, port));
    tree.up.contains(&id) && settings.is_some_and(|settings| settings.shut().is_none())
}

/// Passes on one output of the engine at `index`, or of the port extender's; false when there was none.
pub(crate) fn step(core: &mut Core, now: Instant, index: usize) -> bool {
    if extender::step(core, now) {
        return true;
    }
    let Some(port) = core.ports.get(index) else { return false };
    let id = port.id;
    bridge::step(core, now, id)
}

fn tell_session(core: &mut Core, port: String, state: SessionState) {
    core.tell(Event::ExtensionSession { port, state, words: words(state) });
}

/// The cascade port whose engine hears a port's peer, and where that is. None on a port extender.
pub(crate) fn place(core: &Core, port: &Port) -> Option<(PortId, At)> {
    core.config.bridge()?;
    Some(match port.extended {
        Some(extended) => (extended.cascade, Some(extended.pcid)),
        None => (port.id, None),
    })
}

const PORT_EXTENSION: OrgKey = OrgKey { oui: Oui(pe::OUI), subtype: pe::SUBTYPE };
const MARKER: OrgKey = OrgKey { oui: Oui(pe::marker::OUI), subtype: pe::marker::SUBTYPE };
