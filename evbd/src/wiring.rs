//! The one place where the output of a protocol becomes the input of another.
//!
//! ```text
//!   LLDP neighbour ─ EVB TLV ─▶ evb ─ own EVB TLV ─▶ LLDP
//!                               evb ─ exponents, readiness ─▶ ecp, vdp
//!                               evb (bridge) ─ switch reflective relay ─▶ data path ─ applied ─▶ evb
//!                               evb (station) ─ reflective relay on/off ─▶ edge relay ─ probe ─▶ wire ─▶ edge relay
//!   ecp ─ delivered ─▶ vdp ─ TLVs ─▶ outbox ─ VDPDU, when it is idle ─▶ ecp
//!   vdp (bridge) ─ query ─▶ VSI type database ─ answer ─▶ vdp ─ install/remove ─▶ data path
//!   LLDP neighbour ─ DCBX TLVs ─▶ dcbx ─ own DCBX TLVs ─▶ LLDP
//!                                 dcbx ─ what is operational ─▶ device, or data path
//!   LLDP neighbour ─ CDCP TLV ─▶ cdcp ─ own CDCP TLV ─▶ LLDP
//!                                cdcp ─ channel there/gone ─▶ the channel's port, with an EVB link of its own
//!   LLDP neighbour ─ Port Extension TLV ─▶ pe ─ own TLVs ─▶ LLDP
//!                                         pe ─ a port there/gone, channels ─▶ ports, data path
//!   vdp (station) ─ associated/gone ─▶ gate of the VM's port, edge relay, herald ─ announcements ─▶ wire
//! ```

mod gates;

use ether::{EtherType, Instant, MacAddr, frame};
use lldp::{Msap, NeighborEvent, Scope};
use vdp::{
    VsiId, bridge,
    evb::{
        Absence, Status,
        tlv::{BridgeStatus, EvbTlv, StationStatus},
    },
    station::{self, StationEvent},
};

pub(crate) use self::gates::{reopen, shut_port, shut_vsi};

use self::gates::{open, open_vm, shut, shut_gate};
use crate::{
    channels,
    config::OnPeerLoss,
    core::Core,
    csp, dcb, dialect, edge,
    effect::Effect,
    event::Event,
    order,
    port::{Edge, Port, Side},
    state::{self, Record, RecordKey},
    vsidb::Decision,
};

/// Passes outputs on until no engine of port `index` has any, then files its next deadline.
pub(crate) fn settle(core: &mut Core, now: Instant, index: usize) {
    while step(core, now, index) {}
    core.reschedule(index);
}

/// Passes one output on; false when there was none.
fn step(core: &mut Core, now: Instant, index: usize) -> bool {
    if dcb::step(core, now, index) || channels::step(core, now, index) || csp::step(core, now, index) {
        return true;
    }
    let Some(port) = core.ports.get_mut(index) else { return false };
    for agent in &mut port.agents {
        let scope = agent.config().scope;
        if let Some(output) = agent.poll_output() {
            from_lldp(core, now, index, scope, output);
            return true;
        }
    }
    let Some(edge) = &mut port.edge else { return false };
    if let Some(id) = edge.unsaid.pop() {
        edge.unsaid_total += 1;
        let port = port.interface.clone();
        core.tell(Event::DraftCannotSay { port, id });
        return true;
    }
    if let Some(output) = edge.ecp.poll_output() {
        from_ecp(core, now, index, output);
        return true;
    }
    match &mut edge.side {
        Side::Station { evb, vdp, relay, herald } => {
            if let Some(output) = evb.poll_output() {
                from_evb(core, now, index, output);
            } else if let Some(output) = vdp.poll_output() {
                from_station(core, now, index, output);
            } else if let Some(output) = relay.poll_output() {
                from_edge_relay(core, index, output);
            } else if let Some(frame) = herald.poll_transmit() {
                let port = port.id;
                core.effects.push_back(Effect::Transmit { port, frame });
            } else {
                return send_vdp(port, now);
            }
        }
        Side::Bridge { evb, vdp } => {
            if let Some(output) = evb.poll_output() {
                from_evb(core, now, index, output);
            } else if let Some(output) = vdp.poll_output() {
                from_bridge(core, now, index, output);
            } else {
                return send_vdp(port, now);
            }
        }
    }
    true
}

fn from_lldp(core: &mut Core, now: Instant, index: usize, scope: Scope, output: lldp::Output) {
    match output {
        lldp::Output::Transmit(pdu) => {
            let to = core.ports.get(index).map_or_else(|| scope.address(), |port| port.destination(scope));
            transmit(core, index, to, EtherType::LLDP, &pdu);
        }
        lldp::Output::Neighbor(what) => {
            let Some(port) = core.ports.get_mut(index) else { return };
            let interface = port.interface.clone();
            let system_name = port
                .agents
                .iter()
                .find(|agent| agent.config().scope == scope)
                .and_then(|agent| agent.neighbor(subject(&what)?))
                .and_then(|neighbor| neighbor.info.system_name.as_ref().map(ToString::to_string));
            match scope {
                Scope::NearestBridge => {
                    dcb::neighbors(port);
                    csp::neighbors(core, now, index);
                }
                Scope::NearestNonTpmr => channels::neighbors(core, now, index),
                Scope::NearestCustomer => customer_neighbors(core, now, index),
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

/// The set of customer-bridge neighbours changed: give EVB the TLV of the only one, or say why there is none.
///
/// An EVB link joins two ends; with more than one neighbour there is nobody to agree with (UNSURE-16).
pub(crate) fn customer_neighbors(core: &mut Core, now: Instant, index: usize) {
    let wanted = core.config.dialect;
    let Some(port) = core.ports.get_mut(index) else { return };
    let Some(agent) = port.customer_agent() else { return };
    let mut heard = agent.neighbors();
    let (first, others) = (heard.next(), heard.count());
    let neighbors = others + usize::from(first.is_some());
    let only = first.filter(|_| others == 0);
    let interface = port.interface.clone();
    let Some(heard) = port.edge.as_ref().map(|edge| dialect::hear(wanted, &edge.side, only)) else { return };
    let Some(edge) = &mut port.edge else { return };
    let remote = heard.remote.map_err(|absence| if others > 0 { Absence::Several } else { absence });
    let before = std::mem::replace(&mut edge.neighbors, neighbors);
    edge.presumed = None;
    if edge.ecp.dialect() != heard.dialect {
        edge.ecp.set_dialect(now, heard.dialect);
    }
    // A peer that does not echo us has heard nothing yet: it is new, or has restarted with its sequence numbers.
    if neighbors == 0 || remote.as_deref().is_ok_and(|info| !echoes(edge, info)) {
        edge.ecp.forget_peer();
    }
    match (&mut edge.side, &remote) {
        (Side::Station { evb, .. }, Ok(info)) => evb.handle_remote(info),
        (Side::Station { evb, .. }, Err(absence)) => evb.handle_absence(*absence),
        (Side::Bridge { evb, .. }, Ok(info)) => evb.handle_remote(info),
        (Side::Bridge { evb, .. }, Err(absence)) => evb.handle_absence(*absence),
    }
    if heard.draft != std::mem::replace(&mut edge.draft_peer, heard.draft) || before == 0 {
        announce(port, now);
    }
    if neighbors > 1 && neighbors != before {
        core.tell(Event::EvbNotPointToPoint { port: interface, neighbors });
    } else if neighbors <= 1 && before > 1 {
        core.tell(Event::EvbPointToPoint { port: interface });
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
            let was_agreed = edge.status.replace(status).is_some_and(|was| was.is_agreed());
            if edge.presumed.is_some() {
                return core.tell(Event::Evb { port: interface, status });
            }
            edge.ecp.set_params(status.timing().ecp_params());
            match &mut edge.side {
                Side::Station { vdp, relay, .. } => {
                    vdp.set_timing(status.timing());
                    vdp.set_group_capable(now, status.groups);
                    relay.set_reflective(now, status.reflective_relay);
                }
                Side::Bridge { vdp, .. } => {
                    vdp.set_timing(status.timing());
                    vdp.set_group_capable(status.groups);
                }
            }
            offer_readiness(edge, now, up);
            core.tell(Event::Evb { port: interface, status });
            state::remember_agreement(core, index);
            if was_agreed && !status.is_agreed() {
                peer_lost(core, now, index, &status);
            }
        }
    }
}

/// Gives the customer-bridge agent our EVB TLV [Q D.2.12], when there is an agent and there is a TLV.
pub(crate) fn announce(port: &mut Port, now: Instant) {
    let Some((key, info, other)) = port.edge.as_ref().and_then(Edge::evb_tlv) else { return };
    let agent = port.agents.iter_mut().find(|a| a.config().scope == Scope::NearestCustomer);
    let Some(agent) = agent else { return };
    let set = agent.set_org_tlv(now, key, Some(info)).and_then(|()| agent.set_org_tlv(now, other, None));
    if let Err(error) = set {
        tracing::error!(%error, "the EVB TLV does not fit");
    }
}

/// VDP runs while the link is up and the peer says it is the other end of an EVB link [Q 40].
pub(crate) fn offer_readiness(edge: &mut Edge, now: Instant, up: bool) {
    let agreed = edge.presumed.is_some() || edge.status.as_ref().is_some_and(Status::is_agreed);
    match &mut edge.side {
        Side::Station { vdp, .. } => vdp.set_ready(now, up && agreed),
        Side::Bridge { vdp, .. } => vdp.set_ready(up && agreed && !edge.leaving),
    }
}

/// The EVB peer is lost: VSIs go with it or stay until VDP misses it, as configured (UNSURE-8).
fn peer_lost(core: &mut Core, now: Instant, index: usize, status: &Status) {
    let policy = core.config.on_peer_loss;
    let Some(port) = core.ports.get_mut(index) else { return };
    let lost = Event::EvbPeerLost { port: port.interface.clone(), because: status.peer.words(), policy };
    match (policy, port.edge.as_mut().map(|edge| &mut edge.side)) {
        (OnPeerLoss::Release, Some(Side::Station { vdp, .. })) => vdp.release_all(now),
        (OnPeerLoss::Release, Some(Side::Bridge { vdp, .. })) => {
            vdp.release_all(now, bridge::Cause::PeerLost);
        }
        (OnPeerLoss::Release, None) | (OnPeerLoss::Keep, _) => {}
    }
    core.tell(lost);
}

fn from_edge_relay(core: &mut Core, index: usize, output: edge::Output) {
    let Some(port) = core.ports.get_mut(index) else { return };
    match output {
        edge::Output::Transmit(frame) => {
            let port = port.id;
            core.effects.push_back(Effect::Transmit { port, frame });
        }
        edge::Output::Decided(edge::Decision { mode, held, because }) => {
            let (id, port) = (port.id, port.interface.clone());
            core.effects.push_back(Effect::SwitchRelay { port: id, mode });
            core.tell(Event::Relay { port, mode, held, because });
        }
        edge::Output::Proof { proof, round_trip_us } => {
            let port = port.interface.clone();
            core.tell(Event::Probe { port, state: proof, words: proof.words(), round_trip_us });
        }
    }
}

fn from_ecp(core: &mut Core, now: Instant, index: usize, output: ecp::Output) {
    match output {
        ecp::Output::Transmit(pdu) => {
            let edge = core.ports.get(index).and_then(|port| port.edge.as_ref());
            let dialect = edge.map_or(ecp::Dialect::Standard, |edge| edge.ecp.dialect());
            transmit(core, index, dialect.group(), dialect.ethertype(), &pdu);
        }
        ecp::Output::Deliver(payload) => {
            let Some(edge) = core.ports.get_mut(index).and_then(|p| p.edge.as_mut()) else { return };
            for pdu in edge.vdpdus(payload) {
                match &mut edge.side {
                    Side::Station { vdp, .. } => vdp.handle_pdu(now, &pdu),
                    Side::Bridge { vdp, .. } => vdp.handle_pdu(now, &pdu),
                }
            }
        }
        ecp::Output::Acknowledged { .. } => {}
        ecp::Output::Failed { sequence, payload } => {
            let Some(port) = core.ports.get_mut(index) else { return };
            let interface = port.interface.clone();
            let failed = port.edge.as_ref().map_or_else(Vec::new, |edge| edge.vdpdus(payload));
            if let Some(Edge { side: Side::Station { vdp, .. }, .. }) = &mut port.edge {
                failed.iter().for_each(|pdu| vdp.ecp_failed(now, pdu));
            }
            core.tell(Event::EcpFailed { port: interface, sequence });
        }
    }
}

fn from_station(core: &mut Core, now: Instant, index: usize, output: station::Output) {
    let event = match output {
        station::Output::Transmit(tlv) => return queue_vdp(core, index, tlv),
        station::Output::Held(held) => {
            return remember(core, index, |core, port| state::wanted(core, port, held));
        }
        station::Output::Released(id) => return forget(core, index, id),
        station::Output::Event(event) => event,
    };
    let id = *subject_of(&event);
    // One that has moved to another S-channel is no concern of this one.
    let here = core.vms.get(&id).filter(|vm| vm.uplink.index() == index);
    let vm = here.map(|vm| (vm.port, vm.config.name.clone()));
    if let Some((port, _)) = &vm {
        match &event {
            StationEvent::Associated { filter, .. } => {
                if let Some((key, entry)) = open_vm(core, now, index, *port, &id, filter) {
                    let ips = core.vms.get(&id).map_or_else(Vec::new, |vm| vm.config.ips.clone());
                    let here = core.ports.get(port.index()).is_some_and(|vm| vm.link.is_up());
                    if let Some(Side::Station { herald, .. }) = core.side_at(index) {
                        herald.open(now, key, &entry, &ips, here);
                    }
                }
            }
            StationEvent::Gone { .. } => {
                shut_gate(core, now, *port, &id);
            }
            StationEvent::PreAssociated { .. } | StationEvent::Refused { .. } | StationEvent::Kept { .. } => {
            }
        }
    }
    let port = core.ports.get(index).map_or_else(String::new, |p| p.interface.clone());
    let gone = matches!(event, StationEvent::Gone { .. });
    core.tell(Event::StationVsi { port, vsi: vm.as_ref().map(|(_, name)| name.clone()), what: event });
    if gone && vm.is_some() {
        forget_given(core, index, &id);
    }
}

/// A VSI that was given at run time and is wanted no longer is forgotten, and its port with it.
fn forget_given(core: &mut Core, index: usize, id: &VsiId) {
    let given = core.vms.get(id).is_some_and(|vm| vm.given);
    if let Some(Side::Station { vdp, .. }) = core.side_at(index)
        && given
        && vdp.vsi(id).is_none()
    {
        order::forget(core, id);
    }
}

fn from_bridge(core: &mut Core, now: Instant, index: usize, output: bridge::Output) {
    let Some(port) = core.ports.get_mut(index) else { return };
    let id = port.id;
    match output {
        bridge::Output::Transmit(tlv) => queue_vdp(core, index, tlv),
        bridge::Output::Query(query) => match core.vsidb.decide(id, &query) {
            Decision::Answer(answer) => {
                if let Some(Edge { side: Side::Bridge { vdp, .. }, .. }) = &mut port.edge {
                    vdp.answer(now, &query.id, query.serial, answer);
                }
            }
            Decision::Wait(manager) => core.effects.extend(manager.map(Effect::AskManager)),
        },
        bridge::Output::Install { id: vsi, manager, type_id, version, filter, .. } => {
            open(core, id, &vsi, (manager, type_id, version), &filter);
            csp::vlans_changed(core, now, id);
        }
        bridge::Output::Remove { id: vsi, .. } => {
            shut(core, id, &vsi);
            csp::vlans_changed(core, now, id);
        }
        bridge::Output::Held(held) => {
            let opened = (held.command == vdp::Command::Associate).then(|| core.key(id, &held.id));
            remember(core, index, |_, port| Record::Granted { port, held, opened });
        }
        bridge::Output::Released(id) => forget(core, index, id),
        bridge::Output::Event(what) => {
            let port = port.interface.clone();
            core.tell(Event::BridgeVsi { port, what });
        }
    }
}

fn remember(core: &mut Core, index: usize, record: impl FnOnce(&Core, String) -> Record) {
    let Some(port) = core.ports.get(index) else { return };
    let record = record(core, port.interface.clone());
    core.effects.push_back(Effect::Remember(record));
}

fn forget(core: &mut Core, index: usize, id: VsiId) {
    let Some(port) = core.ports.get(index) else { return };
    let key = RecordKey { port: port.interface.clone(), vsi: Some(id) };
    core.effects.push_back(Effect::Forget(key));
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

fn queue_vdp(core: &mut Core, index: usize, tlv: vdp::Message) {
    if let Some(edge) = core.ports.get_mut(index).and_then(|p| p.edge.as_mut()) {
        edge.outbox.push(tlv);
    }
}

/// Gives ECP the next VDPDU when it has sent the last one; false if there was nothing to give. Everything else that was
/// to be done is done by then: what a TLV promises holds before it leaves.
fn send_vdp(port: &mut Port, now: Instant) -> bool {
    let mtu = port.link.mtu().map_or(0, |mtu| usize::try_from(mtu).unwrap_or(usize::MAX));
    let up = port.link.is_up();
    let Some(edge) = port.edge.as_mut().filter(|edge| up && edge.ecp.is_idle()) else { return false };
    let Some(pdu) = edge.next_vdpdu(mtu) else { return false };
    if let Err(full) = edge.ecp.send(now, pdu) {
        tracing::error!(%full, "an idle ECP has a queue");
    }
    true
}

pub(crate) fn transmit(core: &mut Core, index: usize, to: MacAddr, ethertype: EtherType, pdu: &[u8]) {
    let Some(port) = core.ports.get(index) else { return };
    // Without an interface there is nothing to send from; the engines' timers repeat what matters.
    let Some(from) = port.mac() else { return };
    let frame = frame::build(to, from, ethertype, pdu);
    let port = port.id;
    core.effects.push_back(Effect::Transmit { port, frame });
}
