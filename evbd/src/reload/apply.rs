//! Taking over another configuration while everything runs. What did not change is not touched.

use std::collections::BTreeSet;

use ether::Instant;
use hairpin::PortId;
use vdp::{Command, VsiId};

use crate::{
    channels,
    config::{Config, RoleConfig, StationConfig, VsiConfig},
    core::{self, Core},
    csp,
    effect::Effect,
    extension, names,
    port::{Port, PortKind, Side},
    wiring,
};

/// Takes over `config`. Its role and, on a station, its uplink are those in force; else nothing is done.
///
/// New ports wait for their interface; those gone send a shutdown LLDPDU and keep their number, free for the next.
pub(crate) fn apply(core: &mut Core, now: Instant, config: Config) {
    let old = match (&core.config.role, &config.role) {
        (RoleConfig::Station(old), RoleConfig::Station(new)) if old.uplink == new.uplink => {
            let old = old.clone();
            depart(core, now, &old, new);
            Some(old)
        }
        (RoleConfig::Bridge(_), RoleConfig::Bridge(_))
        | (RoleConfig::Extender(_), RoleConfig::Extender(_)) => None,
        _ => return tracing::error!("another role or uplink needs a restart"),
    };
    let before = std::mem::replace(&mut core.config, config);
    let dialect = before.dialect;
    ports(core, now);
    core.know_vms();
    for index in 0..core.ports.len() {
        negotiate(core, now, index);
        if core.config.dialect != dialect {
            wiring::customer_neighbors(core, now, index);
        }
        core.speak(now, index);
    }
    csp::reconfigure(core, now);
    core.take_profiles(now);
    if let Some(old) = old {
        arrive(core, now, &old);
    }
    for index in 0..core.ports.len() {
        wiring::settle(core, now, index);
    }
    // Last: ports that are gone have taken leave.
    core.effects.push_back(Effect::FollowPorts);
    extension::provision(core, Some(&before));
}

/// Shuts the gates of VSIs that are gone or have moved to another interface, and ends those that are gone. One that was
/// given at run time gives way to one of the file that takes its identifier, name, interface or address.
fn depart(core: &mut Core, now: Instant, old: &StationConfig, new: &StationConfig) {
    let given: Vec<VsiConfig> = core.vms.values().filter(|vm| vm.given).map(|vm| vm.config.clone()).collect();
    let homeless = |given: &VsiConfig| given.channel.as_ref().is_some_and(|name| new.scid(name).is_none());
    let displaced: Vec<&VsiConfig> = given
        .iter()
        .filter(|given| homeless(given) || new.vsis.iter().any(|vsi| vsi.excludes(given)))
        .collect();
    // In another S-channel it is another VSI.
    let next = |vsi: &VsiConfig| new.vsis.iter().find(|v| v.id == vsi.id && v.channel == vsi.channel);
    for vsi in old.vsis.iter().chain(displaced.iter().copied()) {
        if next(vsi).is_none_or(|next| next.interface != vsi.interface) {
            wiring::shut_vsi(core, now, &vsi.id);
        }
        if next(vsi).is_none() {
            core.command(now, &vsi.id, Command::DeAssociate);
        }
    }
    for vsi in displaced {
        core.vms.remove(&vsi.id);
    }
}

/// Asks for VSIs that are new or others than before, where their interface is there; else it is asked for when it comes.
/// Those that wait for orders are asked for only if they were already, with what they are now.
fn arrive(core: &mut Core, now: Instant, old: &StationConfig) {
    let Some(new) = core.config.station().cloned() else { return };
    for vsi in &new.vsis {
        let stays = |was: &VsiConfig| {
            was.asks_for_the_same(vsi)
                && (&was.interface, &was.channel, was.automatic)
                    == (&vsi.interface, &vsi.channel, vsi.automatic)
        };
        if old.vsis.iter().any(stays) {
            continue;
        }
        let there = core.ports.iter().any(|port| port.interface == vsi.interface && port.mac().is_some());
        let command = match (vsi.automatic, there) {
            (true, true) => Some(Command::Associate),
            (true, false) => None,
            (false, _) => wanted(core, &vsi.id),
        };
        if let Some(command) = command {
            core.command(now, &vsi.id, command);
        }
    }
}

/// What was ordered of a VSI last, unless it was a De-Associate.
fn wanted(core: &Core, id: &VsiId) -> Option<Command> {
    match &core.ports.get(core.vms.get(id)?.uplink.index())?.edge.as_ref()?.side {
        Side::Station { vdp, .. } => vdp.vsi(id)?.wanted,
        Side::Bridge { .. } => None,
    }
}

/// Adds and removes ports, and has S-channels follow.
fn ports(core: &mut Core, now: Instant) {
    let mut wanted = core::port_list(&core.config);
    wanted.extend(
        core.vms.values().filter(|vm| vm.given).map(|vm| (vm.config.interface.clone(), PortKind::Vm)),
    );
    // First those new, so that a number that becomes free is not taken for another port at once.
    for (interface, kind) in &wanted {
        if !core.ports.iter().any(|port| port.interface == *interface && port.kind == *kind)
            && core.add_port(now, interface.clone(), *kind).is_none()
        {
            tracing::error!(interface, "there are 65536 ports already");
        }
    }
    for index in 0..core.ports.len() {
        channels::equip(core, now, index);
        while channels::step(core, now, index) {}
    }
    // S-channels before their interface.
    let mut order: Vec<usize> = (0..core.ports.len()).collect();
    order.sort_by_key(|index| core.ports.get(*index).is_some_and(|port| port.channel.is_none()));
    // Those of sessions are their port extender's to end.
    let made: BTreeSet<PortId> =
        core.ports.iter().filter(|port| csp::made(core, port)).map(|port| port.id).collect();
    for index in order {
        let stays = |port: &Port| {
            let (interface, scid) = names::channel_of(&port.interface);
            // Those of a bridge are the station's to end.
            let name =
                if scid.is_some() && port.kind == PortKind::Station { interface } else { &port.interface };
            port.is_free()
                || made.contains(&port.id)
                || port.kind == PortKind::Extended && core.config.plugs(&port.interface)
                || wanted.iter().any(|(i, kind)| *name == **i && port.kind == *kind)
        };
        if core.ports.get(index).is_some_and(|port| !stays(port)) {
            csp::forget(core, now, index);
            channels::retire(core, now, index);
        }
    }
}

/// Gives EVB and the edge relay their new settings.
fn negotiate(core: &mut Core, now: Instant, index: usize) {
    let (role, max_vsis) = (core.config.role.clone(), core.config.max_vsis);
    let Some(port) = core.ports.get_mut(index) else { return };
    let scid = port.channel.map(|end| end.scid);
    let Some(edge) = port.edge.as_mut() else { return };
    edge.outbox.set_limit(core::waiting_tlvs(max_vsis));
    match (&mut edge.side, role) {
        (Side::Station { evb, relay, vdp, herald }, RoleConfig::Station(station)) => {
            herald.set_speaking(station.announce);
            vdp.set_max_vsis(max_vsis);
            evb.reconfigure(core.config.evb_station());
            let edge = station.edge(scid);
            evb.set_reflective_request(edge.mode.wants_reflection());
            relay.reconfigure(now, &edge);
        }
        (Side::Bridge { evb, vdp }, RoleConfig::Bridge(bridge)) => {
            vdp.set_max_vsis(max_vsis);
            evb.reconfigure(core.config.evb_bridge(&bridge));
        }
        _ => {}
    }
}
