//! The one place where the output of a protocol becomes the input of another.
//!
//! ```text
//!   LLDP neighbour ─ EVB TLV ─▶ evb ─ own EVB TLV ─▶ LLDP
//!                               evb ─ exponents, readiness ─▶ ecp, vdp
//!                               evb (bridge) ─ switch reflective relay ─▶ data path ─ applied ─▶ evb
//!                               evb (station) ─ reflective relay on/off ─▶ edge relay
//!   ecp ─ delivered ─▶ vdp ─ VDPDU ─▶ ecp
//!   vdp (bridge) ─ query ─▶ VSI type database ─ answer ─▶ vdp ─ install/remove ─▶ data path
//!   vdp (station) ─ associated/gone ─▶ gate of the VM's port
//! ```

use ether::{EtherType, Instant, MacAddr, frame, mac};
use hairpin::{EdgeMode, PortId, VsiEntry, VsiFilter};
use lldp::{Msap, NeighborEvent, OrgKey, Oui, Scope};
use vdp::{
    FilterInfo, VsiId, bridge,
    evb::{
        RelayState, Status,
        tlv::{BridgeStatus, EvbTlv, StationStatus},
    },
    station::{self, StationEvent},
};

use crate::{
    config::{Config, Fallback, StationRelay},
    core::Core,
    effect::Effect,
    event::Event,
    port::{Edge, Port, Side},
};

/// The EVB TLV's place among the organizational TLVs [Q D.2.12].
pub(crate) const EVB_TLV: OrgKey = OrgKey { oui: Oui::IEEE_802_1, subtype: 0x0d };

/// Passes outputs on until no engine of port `index` has any, then files its next deadline.
pub(crate) fn settle(core: &mut Core, now: Instant, index: usize) {
    while step(core, now, index) {}
    core.reschedule(index);
}

/// Passes one output on; false when there was none.
fn step(core: &mut Core, now: Instant, index: usize) -> bool {
    let Some(port) = core.ports.get_mut(index) else { return false };
    for agent in &mut port.agents {
        let scope = agent.config().scope;
        if let Some(output) = agent.poll_output() {
            from_lldp(core, index, scope, output);
            return true;
        }
    }
    let Some(edge) = &mut port.edge else { return false };
    if let Some(output) = edge.ecp.poll_output() {
        from_ecp(core, now, index, output);
        return true;
    }
    match &mut edge.side {
        Side::Station { evb, vdp } => {
            if let Some(output) = evb.poll_output() {
                from_evb(core, now, index, output);
            } else if let Some(output) = vdp.poll_output() {
                from_station(core, now, index, output);
            } else {
                return false;
            }
        }
        Side::Bridge { evb, vdp } => {
            if let Some(output) = evb.poll_output() {
                from_evb(core, now, index, output);
            } else if let Some(output) = vdp.poll_output() {
                from_bridge(core, now, index, output);
            } else {
                return false;
            }
        }
    }
    true
}

fn from_lldp(core: &mut Core, index: usize, scope: Scope, output: lldp::Output) {
    match output {
        lldp::Output::Transmit(pdu) => transmit(core, index, scope.address(), EtherType::LLDP, &pdu),
        lldp::Output::Neighbor(what) => {
            let Some(port) = core.ports.get_mut(index) else { return };
            let interface = port.interface.clone();
            let system_name = port
                .agents
                .iter()
                .find(|agent| agent.config().scope == scope)
                .and_then(|agent| agent.neighbor(subject(&what)?))
                .and_then(|neighbor| neighbor.info.system_name.as_ref().map(ToString::to_string));
            if scope == Scope::NearestCustomer {
                customer_neighbors(core, index);
            }
            core.tell(Event::Neighbor { port: interface, scope, system_name, what });
        }
    }
}

/// The neighbour an event is about, if it is about one that is there.
const fn subject(event: &NeighborEvent) -> Option<&Msap> {
    match event {
        NeighborEvent::Appeared { msap } | NeighborEvent::Changed { msap } => Some(msap),
        NeighborEvent::Gone { .. } | NeighborEvent::TooMany { .. } | NeighborEvent::TooManyOver => None,
    }
}

/// The set of customer-bridge neighbours changed: give EVB the TLV of the only one.
///
/// An EVB link joins two ends; with more than one neighbour there is nobody to agree with (UNSURE-16).
fn customer_neighbors(core: &mut Core, index: usize) {
    let Some(port) = core.ports.get_mut(index) else { return };
    let Some(agent) = port.customer_agent() else { return };
    let mut tlvs = agent.neighbors().map(|n| n.org(EVB_TLV).cloned());
    let (first, others) = (tlvs.next(), tlvs.count());
    let neighbors = others + usize::from(first.is_some());
    let remote = first.flatten().filter(|_| others == 0);
    let interface = port.interface.clone();
    let Some(edge) = &mut port.edge else { return };
    let crowd = neighbors > 1 && edge.neighbors != neighbors;
    // A peer that does not echo us has heard nothing yet: it is new, or has restarted with its sequence numbers.
    if neighbors == 0 || remote.as_deref().is_some_and(|info| !echoes(edge, info)) {
        edge.ecp.forget_peer();
    }
    edge.neighbors = neighbors;
    match &mut edge.side {
        Side::Station { evb, .. } => evb.handle_remote(remote.as_deref()),
        Side::Bridge { evb, .. } => evb.handle_remote(remote.as_deref()),
    }
    if crowd {
        core.tell(Event::EvbNotPointToPoint { port: interface, neighbors });
    }
}

/// Whether the peer's EVB TLV repeats anything of ours.
fn echoes(edge: &Edge, info: &[u8]) -> bool {
    EvbTlv::parse(info).is_ok_and(|tlv| match edge.side {
        Side::Station { .. } => tlv.station != StationStatus::default(),
        Side::Bridge { .. } => tlv.bridge != BridgeStatus::default(),
    })
}

fn from_evb(core: &mut Core, now: Instant, index: usize, output: vdp::evb::Output) {
    let Some(port) = core.ports.get_mut(index) else { return };
    match output {
        vdp::evb::Output::LocalTlv(info) => {
            if let Some(edge) = &mut port.edge {
                edge.local_tlv = Some(info);
            }
            announce(port, now);
        }
        vdp::evb::Output::SwitchReflective(on) => {
            let port = port.id;
            core.effects.push_back(Effect::SwitchReflective { port, on });
        }
        vdp::evb::Output::Operational(status) => {
            let interface = port.interface.clone();
            let up = port.link.is_up();
            let Some(edge) = &mut port.edge else { return };
            edge.status = Some(status);
            edge.ecp.set_params(status.timing().ecp_params());
            match &mut edge.side {
                Side::Station { vdp, .. } => vdp.set_timing(status.timing()),
                Side::Bridge { vdp, .. } => {
                    vdp.set_timing(status.timing());
                    vdp.set_group_capable(status.groups);
                }
            }
            offer_readiness(edge, now, up);
            core.tell(Event::Evb { port: interface, status });
            switch_relay(core, &status);
        }
    }
}

/// Gives the customer-bridge agent our EVB TLV, when there is an agent and there is a TLV.
pub(crate) fn announce(port: &mut Port, now: Instant) {
    let Some(info) = port.edge.as_ref().and_then(|edge| edge.local_tlv.clone()) else { return };
    let agent = port.agents.iter_mut().find(|a| a.config().scope == Scope::NearestCustomer);
    if let Some(Err(error)) = agent.map(|agent| agent.set_org_tlv(now, EVB_TLV, Some(info))) {
        tracing::error!(%error, "the EVB TLV does not fit");
    }
}

/// VDP runs while the link is up and the peer says it is the other end of an EVB link [Q 40].
pub(crate) fn offer_readiness(edge: &mut Edge, now: Instant, up: bool) {
    let agreed = edge.status.as_ref().is_some_and(Status::is_agreed);
    if let Side::Station { vdp, .. } = &mut edge.side {
        vdp.set_ready(now, up && agreed);
    }
}

/// Puts a station's edge relay into the mode its configuration and the bridge's answer allow.
fn switch_relay(core: &mut Core, status: &Status) {
    if core.config.station().is_none() {
        return;
    }
    let (mode, because) = wanted_relay(&core.config, Some(status));
    if mode != core.relay {
        core.relay = mode;
        core.effects.push_back(Effect::SwitchRelay(mode));
        core.tell(Event::Relay { mode, because });
    }
}

/// The edge relay that fits, and why. VEPA is entered only while the bridge reflects [Q 40.1].
pub(crate) fn wanted_relay(config: &Config, status: Option<&Status>) -> (EdgeMode, String) {
    let Some(station) = config.station() else {
        return (EdgeMode::Veb, "a bridge has no edge relay".to_owned());
    };
    let fallback = match station.fallback {
        Fallback::Veb => EdgeMode::Veb,
        Fallback::Isolate => EdgeMode::Isolate,
    };
    match (station.relay, status) {
        (StationRelay::Veb, _) => (EdgeMode::Veb, "configured".to_owned()),
        (StationRelay::Vepa, Some(status)) if status.reflective_relay.state == RelayState::On => {
            (EdgeMode::Vepa, "the bridge reflects".to_owned())
        }
        (StationRelay::Vepa, Some(status)) => (fallback, status.reflective_relay.words.to_owned()),
        (StationRelay::Vepa, None) => (fallback, "the bridge has not been heard yet".to_owned()),
    }
}

fn from_ecp(core: &mut Core, now: Instant, index: usize, output: ecp::Output) {
    match output {
        ecp::Output::Transmit(pdu) => {
            transmit(core, index, mac::NEAREST_CUSTOMER_BRIDGE, EtherType::ECP, &pdu);
        }
        ecp::Output::Deliver(payload) => {
            let Some(edge) = core.ports.get_mut(index).and_then(|p| p.edge.as_mut()) else { return };
            match &mut edge.side {
                Side::Station { vdp, .. } => vdp.handle_pdu(now, &payload),
                Side::Bridge { vdp, .. } => vdp.handle_pdu(now, &payload),
            }
        }
        ecp::Output::Acknowledged { .. } => {}
        ecp::Output::Failed { sequence, payload } => {
            let Some(port) = core.ports.get_mut(index) else { return };
            let interface = port.interface.clone();
            if let Some(Edge { side: Side::Station { vdp, .. }, .. }) = &mut port.edge {
                vdp.ecp_failed(now, &payload);
            }
            core.tell(Event::EcpFailed { port: interface, sequence });
        }
    }
}

fn from_station(core: &mut Core, now: Instant, index: usize, output: station::Output) {
    let event = match output {
        station::Output::Transmit(pdu) => return send_vdp(core, now, index, pdu),
        station::Output::Event(event) => event,
    };
    let id = *subject_of(&event);
    let vm = core.configured_vsi(&id).map(|(port, vsi)| (port, vsi.name.clone()));
    if let Some((port, _)) = &vm {
        match &event {
            StationEvent::Associated { filter, .. } => open(core, *port, &id, filter),
            StationEvent::Gone { .. } => shut(core, *port, &id),
            StationEvent::PreAssociated { .. } | StationEvent::Refused { .. } | StationEvent::Kept { .. } => {
            }
        }
    }
    let port = core.ports.get(index).map_or_else(String::new, |p| p.interface.clone());
    core.tell(Event::StationVsi { port, vsi: vm.map(|(_, name)| name), what: event });
}

fn from_bridge(core: &mut Core, now: Instant, index: usize, output: bridge::Output) {
    let Some(port) = core.ports.get_mut(index) else { return };
    let id = port.id;
    match output {
        bridge::Output::Transmit(pdu) => send_vdp(core, now, index, pdu),
        bridge::Output::Query(query) => {
            let answer = core.vsidb.answer(&query);
            if let Some(Edge { side: Side::Bridge { vdp, .. }, .. }) = &mut port.edge {
                vdp.answer(now, &query.id, query.serial, answer);
            }
        }
        bridge::Output::Install { id: vsi, filter, .. } => open(core, id, &vsi, &filter),
        bridge::Output::Remove { id: vsi, .. } => shut(core, id, &vsi),
        bridge::Output::Event(what) => {
            let port = port.interface.clone();
            core.tell(Event::BridgeVsi { port, what });
        }
    }
}

/// The VSI an event is about.
const fn subject_of(event: &StationEvent) -> &VsiId {
    match event {
        StationEvent::PreAssociated { id, .. }
        | StationEvent::Associated { id, .. }
        | StationEvent::Refused { id, .. }
        | StationEvent::Kept { id, .. }
        | StationEvent::Gone { id, .. } => id,
    }
}

fn send_vdp(core: &mut Core, now: Instant, index: usize, pdu: bytes::Bytes) {
    let Some(edge) = core.ports.get_mut(index).and_then(|p| p.edge.as_mut()) else { return };
    if let Err(full) = edge.ecp.send(now, pdu) {
        // VDP's own timers repeat what is lost here.
        tracing::warn!(%full, port = index, "a VDPDU was not queued");
    }
}

fn open(core: &mut Core, port: PortId, id: &VsiId, filter: &FilterInfo) {
    let filters: Vec<VsiFilter> = filter
        .entries()
        .iter()
        .filter_map(|entry| Some(VsiFilter { mac: entry.mac, vid: entry.vid?, pcp: entry.priority }))
        .collect();
    let key = core.key(port, id);
    core.effects.push_back(Effect::OpenVsi { key, entry: VsiEntry { port, filters } });
}

fn shut(core: &mut Core, port: PortId, id: &VsiId) {
    if let Some(key) = core.keys.remove(&(port, *id)) {
        core.effects.push_back(Effect::CloseVsi { key });
    }
}

fn transmit(core: &mut Core, index: usize, to: MacAddr, ethertype: EtherType, pdu: &[u8]) {
    let Some(port) = core.ports.get(index) else { return };
    // Without an interface there is nothing to send from; the engines' timers repeat what matters.
    let Some(from) = port.mac() else { return };
    let frame = frame::build(to, from, ethertype, pdu);
    let port = port.id;
    core.effects.push_back(Effect::Transmit { port, frame });
}
