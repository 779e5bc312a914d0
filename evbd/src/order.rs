//! What an operator or hypervisor has a station or bridge do with a VSI, and the VSIs a station knows.

use std::collections::BTreeMap;

use ether::{Instant, MacAddr};
use hairpin::PortId;
use serde::{Deserialize, Serialize};
use vdp::{
    Command, Hints, VsiId,
    bridge::Cause,
    station::{CommandError, VsiRequest},
};

use crate::{
    config::{self, VsiConfig},
    core::Core,
    effect::Effect,
    event::Event,
    leave,
    port::{PortKind, Side},
    wiring,
};

/// An order for one VSI.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VsiOrder {
    /// What is to happen. A bridge only takes [`Command::DeAssociate`], and withdraws the VSI.
    pub command: Command,
    /// To which VSI.
    pub vsi: Which,
    /// What is known of a migration; a station tells its bridge.
    #[serde(default)]
    pub hints: Hints,
    /// On which port of a bridge, by its interface, where several have the VSI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
}

/// Which VSI an order is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// One that is known: its name, its identifier, or one of its MAC addresses.
    Known(String),
    /// One the configuration does not have: known from now until it is de-associated. Given again, it is changed.
    Given(VsiConfig),
}

/// Why an order was not taken. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OrderError {
    #[error(
        "there is no VSI {0}; `evbd vsi list` shows those there are, a new one is given with all its attributes"
    )]
    Unknown(String),
    #[error("several VSIs have the address {0}: name one by its identifier")]
    Ambiguous(String),
    #[error("VSI {id} is on ports {ports}: say on which")]
    SeveralPorts { id: VsiId, ports: String },
    #[error("a bridge starts no VSIs, stations do; it can only de-associate them")]
    Bridge,
    #[error(
        "VSI {id} is `{name}` of the configuration: order it by that name, or change the file and reload"
    )]
    Configured { id: VsiId, name: String },
    #[error("{what} belongs to VSI {owner} already")]
    Taken { what: String, owner: String },
    #[error("interface {0} is a port already")]
    Port(String),
    #[error("`{0}` cannot be an interface name: 1 to 15 characters without blanks or slashes")]
    Interface(String),
    #[error("the mode of the edge relay gives the uplink to one VSI, and that is {0}")]
    Passthru(String),
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error("there is no S-channel {0}; `channels` of the uplink names those there are")]
    NoChannel(String),
    #[error("VSI {0} is behind another S-channel: de-associate it there first")]
    Channel(String),
    #[error("the daemon is about to end, and de-associates every VSI")]
    Leaving,
    #[error(
        "no port of the relay is free: those of the configuration and {0} more may be ([relay] spare_ports)"
    )]
    Full(u16),
    #[error("there is no uplink")]
    NoUplink,
}

impl OrderError {
    /// What kind of error it is, for programs.
    const fn reason(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "unknown",
            Self::Ambiguous(_) | Self::SeveralPorts { .. } => "ambiguous",
            Self::Bridge => "wrong_role",
            Self::Configured { .. } | Self::Taken { .. } | Self::Port(_) => "conflict",
            Self::Passthru(_) | Self::Channel(_) => "conflict",
            Self::Interface(_) => "invalid",
            Self::Command(_) => "refused",
            Self::NoChannel(_) | Self::NoUplink => "not_there",
            Self::Leaving => "stopping",
            Self::Full(_) => "full",
        }
    }
}

/// A VSI a station knows.
#[derive(Clone, Debug)]
pub(crate) struct Vm {
    pub(crate) config: VsiConfig,
    /// The port of its interface.
    pub(crate) port: PortId,
    /// The uplink or S-channel its VDP goes by.
    pub(crate) uplink: PortId,
    /// Given at run time, and not by the configuration.
    pub(crate) given: bool,
    /// What was said of a migration with the last order.
    pub(crate) hints: Hints,
}

/// The VSIs a station knows, each by its identifier.
pub(crate) type Vms = BTreeMap<VsiId, Vm>;

/// Carries out `order` and tells that it was taken, or why it was not.
pub(crate) fn carry_out(core: &mut Core, now: Instant, order: VsiOrder) {
    let vsi = match &order.vsi {
        Which::Known(text) => text.clone(),
        Which::Given(config) => config.name.clone(),
    };
    let command = order.command;
    let done = if core.config.bridge().is_some() {
        withdraw(core, now, &order)
    } else {
        command_station(core, now, order)
    };
    match done {
        Ok((id, index)) => {
            let vsi = core.vms.get(&id).map(|vm| vm.config.name.clone());
            core.tell(Event::VsiOrdered { vsi, id, command });
            wiring::settle(core, now, index);
        }
        Err(error) => {
            let (reason, error) = (error.reason(), error.to_string());
            core.tell(Event::VsiOrderRefused { vsi, command, reason, error });
        }
    }
}

/// The VSI and the place of the uplink.
fn command_station(core: &mut Core, now: Instant, order: VsiOrder) -> Result<(VsiId, usize), OrderError> {
    if leave::is_leaving(core) {
        return Err(OrderError::Leaving);
    }
    let (config, given) = match order.vsi {
        Which::Given(config) => {
            displace(core, now, &config);
            may_be_given(core, &config)?;
            (config, true)
        }
        Which::Known(text) => {
            let vm = known(core, &text)?;
            (vm.config.clone(), vm.given)
        }
    };
    let id = config.id;
    let hints = order.hints;
    let uplink = uplink(core, &config)?;
    let Some(Side::Station { vdp, .. }) = core.side_at(uplink.index()) else {
        return Err(OrderError::Bridge);
    };
    vdp.command(now, request(&config, order.command, hints))?;
    let port = take_port(core, now, &config)?;
    let hints = if order.command == Command::DeAssociate { Hints::default() } else { hints };
    core.vms.insert(id, Vm { config, port, uplink, given, hints });
    Ok((id, uplink.index()))
}

/// A transient VSI takes the place of others: their guest is gone, and nobody has said so.
fn displace(core: &mut Core, now: Instant, config: &VsiConfig) {
    let gone = |vm: &&Vm| vm.config.transient && vm.config.id != config.id && vm.config.excludes(config);
    if !config.transient {
        return;
    }
    let rivals: Vec<VsiId> = core.vms.values().filter(gone).map(|vm| vm.config.id).collect();
    for id in rivals {
        core.command(now, &id, Command::DeAssociate);
        wiring::shut_vsi(core, now, &id);
        forget(core, &id);
    }
}

/// Knows a VSI that was given at run time before a restart.
pub(crate) fn give(core: &mut Core, now: Instant, config: VsiConfig, hints: Hints) -> Result<(), OrderError> {
    may_be_given(core, &config)?;
    let uplink = uplink(core, &config)?;
    let port = take_port(core, now, &config)?;
    core.vms.insert(config.id, Vm { config, port, uplink, given: true, hints });
    Ok(())
}

/// The uplink or S-channel of the VSI, which one that is known keeps.
fn uplink(core: &Core, config: &VsiConfig) -> Result<PortId, OrderError> {
    if let Some(vm) = core.vms.get(&config.id).filter(|vm| vm.config.channel != config.channel) {
        return Err(OrderError::Channel(vm.config.name.clone()));
    }
    let channel = config.channel.as_deref();
    core.uplink(channel)
        .ok_or_else(|| channel.map_or(OrderError::NoUplink, |name| OrderError::NoChannel(name.to_owned())))
}

/// The port of the VSI's interface, made if need be. A VSI that moves to another shuts its gate and leaves the old one.
fn take_port(core: &mut Core, now: Instant, config: &VsiConfig) -> Result<PortId, OrderError> {
    let old = core.vms.get(&config.id).map(|vm| (vm.port, vm.config.interface == config.interface));
    match old {
        Some((port, true)) => return Ok(port),
        Some((_, false)) => {
            wiring::shut_vsi(core, now, &config.id);
            forget(core, &config.id);
        }
        None => {}
    }
    let port = core.add_port(now, config.interface.clone(), PortKind::Vm).ok_or_else(|| full(core))?;
    core.effects.push_back(Effect::FollowPort(port));
    Ok(port)
}

/// Takes a VSI that was given at run time, and its port, away.
pub(crate) fn forget(core: &mut Core, id: &VsiId) {
    let Some(vm) = core.vms.remove(id) else { return };
    if vm.given {
        core.free_port(vm.port);
        core.effects.push_back(Effect::FollowPort(vm.port));
    }
}

/// The VSI called `text`.
fn known<'a>(core: &'a Core, text: &str) -> Result<&'a Vm, OrderError> {
    let id: Option<VsiId> = text.parse().ok();
    let mac: Option<MacAddr> = text.parse().ok();
    let named = core.vms.values().find(|vm| vm.config.name == text);
    if let Some(vm) = named.or_else(|| core.vms.get(&id?)) {
        return Ok(vm);
    }
    let mut with_mac =
        core.vms.values().filter(|vm| mac.is_some_and(|mac| vm.config.macs().any(|m| m == mac)));
    match (with_mac.next(), with_mac.next()) {
        (Some(vm), None) => Ok(vm),
        (Some(_), Some(_)) => Err(OrderError::Ambiguous(text.to_owned())),
        (None, _) => Err(OrderError::Unknown(text.to_owned())),
    }
}

fn full(core: &Core) -> OrderError {
    OrderError::Full(core.config.relay.spare_ports)
}

/// Whether a VSI of these attributes can be given at run time beside those there are.
fn may_be_given(core: &Core, config: &VsiConfig) -> Result<(), OrderError> {
    // What has no interface of ours is called so: libvirt's before its macvtap is there, vdptool's.
    let interface = config.interface.strip_prefix("vm:").unwrap_or(&config.interface);
    if !config::interface_name(interface) {
        return Err(OrderError::Interface(config.interface.clone()));
    }
    if let Some(vm) = core.vms.get(&config.id).filter(|vm| !vm.given) {
        return Err(OrderError::Configured { id: config.id, name: vm.config.name.clone() });
    }
    let others = || core.vms.values().filter(|vm| vm.config.id != config.id);
    for vm in others() {
        let taken = |what: String| Err(OrderError::Taken { what, owner: vm.config.name.clone() });
        if vm.config.name == config.name {
            return taken(format!("the name {}", config.name));
        }
        if vm.config.interface == config.interface {
            return taken(format!("interface {}", config.interface));
        }
        if let Some(mac) = config.macs().find(|mac| vm.config.macs().any(|m| m == *mac)) {
            return taken(format!("MAC address {mac}"));
        }
    }
    if core.ports.iter().any(|port| port.kind != PortKind::Vm && port.interface == config.interface) {
        return Err(OrderError::Port(config.interface.clone()));
    }
    let scid = |station: &config::StationConfig| station.scid(config.channel.as_deref()?);
    let alone = |station: &config::StationConfig| station.edge(scid(station)).mode.has_one_vsi();
    let passthru = core.config.station().is_some_and(alone);
    let has_port = core.vms.get(&config.id).is_some_and(|vm| vm.config.interface == config.interface);
    if !has_port && !core.has_room() {
        return Err(full(core));
    }
    match others().find(|vm| vm.config.channel == config.channel) {
        Some(vm) if passthru => Err(OrderError::Passthru(vm.config.name.clone())),
        _ => Ok(()),
    }
}

/// A bridge takes a VSI back; the VSI and the place of its port.
fn withdraw(core: &mut Core, now: Instant, order: &VsiOrder) -> Result<(VsiId, usize), OrderError> {
    let (Which::Known(text), Command::DeAssociate) = (&order.vsi, order.command) else {
        return Err(OrderError::Bridge);
    };
    let mut found: Vec<(VsiId, usize)> = Vec::new();
    let (id, mac): (Option<VsiId>, Option<MacAddr>) = (text.parse().ok(), text.parse().ok());
    for (index, port) in core.ports.iter().enumerate() {
        let Some(Side::Bridge { vdp, .. }) = port.edge.as_ref().map(|edge| &edge.side) else { continue };
        if order.port.as_ref().is_some_and(|wanted| *wanted != port.interface) {
            continue;
        }
        let is = |vsi: &vdp::bridge::VsiView| {
            Some(vsi.id) == id || mac.is_some() && vsi.filter.entries().iter().any(|entry| entry.mac == mac)
        };
        found.extend(vdp.vsis().filter(is).map(|vsi| (vsi.id, index)));
    }
    let Some(&(id, index)) = found.first() else { return Err(OrderError::Unknown(text.clone())) };
    if found.iter().any(|(other, _)| *other != id) {
        return Err(OrderError::Ambiguous(text.clone()));
    }
    if found.len() > 1 {
        let ports = found.iter().filter_map(|(_, index)| core.ports.get(*index));
        let ports: Vec<&str> = ports.map(|port| port.interface.as_str()).collect();
        return Err(OrderError::SeveralPorts { id, ports: ports.join(", ") });
    }
    if let Some(Side::Bridge { vdp, .. }) = core.side_at(index) {
        vdp.withdraw(now, &id, Cause::Administrator);
    }
    Ok((id, index))
}

/// What VDP is asked for.
pub(crate) fn request(vsi: &VsiConfig, command: Command, hints: Hints) -> VsiRequest {
    VsiRequest {
        id: vsi.id,
        manager: vsi.manager,
        type_id: vsi.type_id,
        version: vsi.type_version,
        filter: vsi.filter.clone(),
        command,
        hints,
    }
}
