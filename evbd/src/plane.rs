//! The relay as the core wants it: its ports, and what effects say of them. Neither sockets nor threads: who moves frames
//! asks [`Plane::relay`] about them.

use std::sync::Arc;

use ether::Framing;
use hairpin::{
    Control, ControlError, EdgeMode, Extension, Limits, PortConfig, PortId, Relay, RelayKind, Role, VsiEntry,
    VsiKey,
};

use crate::{
    config::{BridgePortKind, Config, RoleConfig},
    core::{Core, max_ports},
    edge::EdgeRelay,
    effect::Effect,
    extension, names,
    port::PortKind,
};

/// A relay and the model of it. Edits hold for frames from the next [`Plane::commit`] on.
#[derive(Debug)]
pub struct Plane {
    control: Control,
    relay: Arc<Relay>,
    /// The model has changed since it was published.
    edited: bool,
}

impl Plane {
    /// A relay without ports.
    #[must_use]
    pub fn new(kind: RelayKind, limits: Limits) -> Self {
        Self { control: Control::new(kind, &limits), relay: Arc::new(Relay::new(limits)), edited: true }
    }

    /// The relay `core` wants with the ports it has; of a station, that behind its uplink.
    ///
    /// # Errors
    /// When a port is not possible: [`Config`] has no such.
    pub fn of(core: &Core) -> Result<Self, ControlError> {
        let config = core.config();
        let mut plane = Self::new(kind(config), limits(config, 0));
        for port in wanted(core, core.ports()) {
            plane.set_port(port)?;
        }
        Ok(plane)
    }

    /// The model.
    #[must_use]
    pub const fn control(&self) -> &Control {
        &self.control
    }

    /// The relay, by the model as it was last published.
    #[must_use]
    pub const fn relay(&self) -> &Arc<Relay> {
        &self.relay
    }

    /// Whether [`Plane::commit`] has something to do.
    #[must_use]
    pub const fn is_edited(&self) -> bool {
        self.edited
    }

    /// Has the relay forward by the model as it is now. Each snapshot is made of all ports and VSIs: one for many edits
    /// together, made before anybody is told of the first.
    pub fn commit(&mut self) {
        if std::mem::take(&mut self.edited) {
            self.relay.publish(self.control.snapshot());
        }
    }

    /// Takes up what the core has at `port` now, or lets go of it.
    ///
    /// # Errors
    /// When the port is not possible.
    pub fn follow_port(&mut self, core: &Core, port: PortId) -> Result<(), ControlError> {
        let now = core.port(port);
        if self.control.port(port).is_some_and(|old| now.is_none_or(|(name, _)| name != old.name)) {
            self.remove_port(port);
        }
        now.map_or(Ok(()), |(name, kind)| self.add_port(core, port, name, kind))
    }

    /// Has the extended ports behind `cascade` pass frames as their links say. One that is new is taken up when its own
    /// turn comes.
    pub fn follow_extended(&mut self, core: &Core, cascade: PortId) {
        for (port, _, link) in core.extended_behind(cascade) {
            let name = core.interface(port);
            if self.control.port(port).is_some_and(|known| known.name == name) {
                self.set_up(port, link.is_up());
            }
        }
    }

    /// The same for one of them.
    pub fn follow_end(&mut self, core: &Core, port: PortId) {
        let Some((name, link)) = core.extended(port).map(|_| (core.interface(port), core.link(port))) else {
            return;
        };
        if self.control.port(port).is_some_and(|known| known.name == name) {
            self.set_up(port, link.is_up());
        }
    }

    /// Carries out what an effect says of E-channels; gives others back.
    ///
    /// # Errors
    /// When the relay does not take it: it and the core disagree about ports.
    pub fn extend(&mut self, effect: Effect) -> Result<Option<Effect>, ControlError> {
        match effect {
            Effect::Flood { cascade, vlan, channel } => self.control.set_flood(cascade, vlan, channel),
            Effect::Channel { ecid, members } => self.control.set_channel(ecid, members),
            Effect::Upstream(port) => self.control.set_upstream(port),
            Effect::Extend { port, parameters, untagged } => {
                let extension = parameters.map(Extension::End);
                let old = self.control.port(port).ok_or(ControlError::NoPort(port))?.clone();
                // What passes nothing, and did not, can wait: ports come one by one and are opened many at a time.
                let passes =
                    |of: &Option<Extension>| matches!(of, Some(Extension::End(with)) if !with.blocked);
                let waits = !passes(&old.extension) && !passes(&extension);
                self.control.set_port(PortConfig { extension, untagged, ..old })?;
                if waits {
                    return Ok(None);
                }
            }
            other => return Ok(Some(other)),
        }
        self.edited = true;
        Ok(None)
    }

    /// Has the relay take up a port, which waits for its link; one it has stays up as it is.
    pub(crate) fn add_port(
        &mut self,
        core: &Core,
        id: PortId,
        name: &str,
        kind: PortKind,
    ) -> Result<(), ControlError> {
        port_config(core, id, name, kind).map_or(Ok(()), |port| self.set_port(port))
    }

    pub(crate) fn set_port(&mut self, mut port: PortConfig) -> Result<(), ControlError> {
        if let (interface, Some(pcid)) = names::extended_of(&port.name)
            && let Some(cascade) = self.control.ports().find(|other| other.name == interface)
        {
            port.extension = Some(Extension::Behind { cascade: cascade.id, pcid });
        }
        let old = self.control.port(port.id);
        let (up, reflective) = old.map_or((false, false), |p| (p.up, p.reflective));
        let lossless = old.map(|p| p.lossless).unwrap_or_default();
        if let Some(old) = old.filter(|_| self.control.kind() == RelayKind::Extender) {
            // What the controlling bridge said.
            (port.extension, port.untagged) = (old.extension.clone(), old.untagged.clone());
        }
        // To frames one that is down is not there.
        self.edited |= up;
        self.control.set_port(PortConfig { up, reflective, lossless, ..port })
    }

    /// Lets go of a port, and of the VSIs on it.
    pub fn remove_port(&mut self, id: PortId) {
        self.edited = true;
        self.control.remove_port(id);
    }

    /// Lets frames pass a port, or not.
    pub fn set_up(&mut self, port: PortId, up: bool) {
        if let Err(error) = self.change_port(port, |config| config.up = up) {
            tracing::error!(%error, "the relay and the core disagree about ports");
        }
    }

    /// Switches reflective relay.
    ///
    /// # Errors
    /// When there is no such port, or it is none of a bridge.
    pub fn set_reflective(&mut self, port: PortId, on: bool) -> Result<(), ControlError> {
        self.change_port(port, |config| config.reflective = on)
    }

    /// Switches the edge relay.
    ///
    /// # Errors
    /// When it is none.
    pub fn set_mode(&mut self, mode: EdgeMode) -> Result<(), ControlError> {
        self.control.set_mode(mode)?;
        self.edited = true;
        Ok(())
    }

    /// Opens the gate of a VSI, or replaces what it may send.
    ///
    /// # Errors
    /// As [`Control::open_vsi`].
    pub fn open_vsi(&mut self, key: VsiKey, entry: VsiEntry) -> Result<(), ControlError> {
        self.control.open_vsi(key, entry)?;
        self.edited = true;
        Ok(())
    }

    /// Shuts the gate of a VSI.
    pub fn close_vsi(&mut self, key: VsiKey) {
        self.control.close_vsi(key);
        self.edited = true;
    }

    pub(crate) fn change_port(
        &mut self,
        port: PortId,
        change: impl FnOnce(&mut PortConfig),
    ) -> Result<(), ControlError> {
        let old = self.control.port(port).ok_or(ControlError::NoPort(port))?;
        let mut config = old.clone();
        change(&mut config);
        if config != *old {
            self.control.set_port(config)?;
            self.edited = true;
        }
        Ok(())
    }
}

/// Which relay a daemon of this configuration has; of a station, behind its uplink.
pub(crate) fn kind(config: &Config) -> RelayKind {
    match &config.role {
        RoleConfig::Bridge(_) => RelayKind::Bridge,
        RoleConfig::Extender(_) => RelayKind::Extender,
        RoleConfig::Station(station) => RelayKind::Edge(EdgeRelay::initial(&station.edge(None))),
    }
}

/// What bounds it.
pub(crate) fn limits(config: &Config, hash_seed: u64) -> Limits {
    Limits { ports: max_ports(config), hash_seed, ..config.relay.limits }
}

/// These ports as the relay is to have them, their links down: what extended ports are behind comes before them.
pub(crate) fn wanted<'a>(
    core: &Core,
    ports: impl Iterator<Item = (PortId, &'a str, PortKind)>,
) -> Vec<PortConfig> {
    let mut wanted: Vec<PortConfig> =
        ports.filter_map(|(id, name, kind)| port_config(core, id, name, kind)).collect();
    wanted.sort_by_key(|port| (port.role != Role::Cascade, port.id));
    wanted
}

/// A port as the relay has it, its interface down.
fn port_config(core: &Core, id: PortId, name: &str, kind: PortKind) -> Option<PortConfig> {
    let config = core.config();
    let (interface, pcid) = names::extended_of(name);
    let (interface, _) = names::channel_of(interface);
    let port = match &config.role {
        RoleConfig::Station(_) if kind == PortKind::Uplink => PortConfig::new(id, Role::Uplink),
        RoleConfig::Station(_) => PortConfig::new(id, Role::Downlink),
        RoleConfig::Bridge(bridge) => {
            let port = bridge.ports.iter().find(|port| port.interface == interface)?;
            match &port.cascade {
                Some(cascade) if kind == PortKind::Cascade && pcid.is_none() => {
                    PortConfig { framing: cascade.framing, ..PortConfig::new(id, Role::Cascade) }
                }
                Some(_) => {
                    let extended = core.ports.get(id.index())?;
                    let settings = extension::settings(core, extended)?;
                    let lag = settings.work.lag.as_deref().and_then(|name| extension::lag(config, name));
                    PortConfig { lag, ..bridge_port(id, &settings.faces, bridge.guard) }
                }
                None => bridge_port(id, &port.kind, bridge.guard),
            }
        }
        RoleConfig::Extender(extender) => {
            let role = match kind {
                PortKind::Upstream => Role::Upstream,
                PortKind::Extended => Role::Extended,
                PortKind::Transit => Role::Cascade,
                _ => return None,
            };
            // One that was plugged has no entry of its own.
            let named = extender.ports.iter().find(|port| port.interface == interface);
            let framing = named.map_or_else(Framing::default, |port| port.framing);
            PortConfig { framing, ..PortConfig::new(id, role) }
        }
    };
    Some(PortConfig { name: name.to_owned(), storm: config.relay.storm(interface), up: false, ..port })
}

fn bridge_port(id: PortId, kind: &BridgePortKind, guard: bool) -> PortConfig {
    let new = PortConfig::new(id, Role::Bridge);
    match kind {
        BridgePortKind::Station => PortConfig { guard, ..new },
        BridgePortKind::Lan { untagged, tagged, takes_over } => PortConfig {
            takes_over: *takes_over,
            pvid: *untagged,
            untagged: untagged.iter().copied().collect(),
            tagged: tagged.iter().copied().collect(),
            ..new
        },
    }
}
