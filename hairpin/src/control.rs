//! The model the daemon edits: ports, associated VSIs, and the snapshot they make [Q 40, 41.2].
//!
//! * A VSI on a **downlink** is all the VLANs that port has: before one is open nothing passes either way. With one
//!   VLAN the VM sends and receives untagged, with several tagged.
//! * A VSI on a **bridge port** adds its VLANs to the port's own, tagged, unless the port is configured to send that
//!   VLAN untagged. So it does on the **uplink** of an edge relay.
//! * Each (address, VLAN) a VSI names is a static entry on its port. If several VSIs name the same one, the VSI
//!   opened last has it, and when that closes, the one before it. Another policy for an open VSI is no opening.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use ether::{ECid, MacAddr, Pcid, Pcp, Vid, mac};
use serde::{Deserialize, Serialize};

use crate::{
    extend::{Channels, Extension, Floods, Members},
    lag::LagId,
    policy::{Policy, PolicyError},
    port::{PortConfig, PortId, Role},
    row::Row,
    snapshot::{EdgeMode, LagPlan, PortPlan, RelayKind, Snapshot, VsiPlan},
    switch::Limits,
    vsi::VsiState,
};

/// The daemon's name for a VSI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VsiKey(pub u32);

/// One address filter of a VSI [Q 41.2].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VsiFilter {
    /// The address; `None` admits every address in the VLAN that is no other VSI's.
    pub mac: Option<MacAddr>,
    /// The VLAN.
    pub vid: Vid,
    /// Priority of frames that come in from the VM untagged; `None` means 0.
    pub pcp: Option<Pcp>,
}

/// An associated VSI.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VsiEntry {
    /// The port it is behind.
    pub port: PortId,
    /// What it may send and receive; at least one.
    pub filters: Vec<VsiFilter>,
    /// What its profile has the relay do with its frames.
    pub policy: Arc<Policy>,
}

/// Why the model refuses an edit; it is unchanged then. All are the caller's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// The port's number is beyond the limit.
    #[error("port {port} is out of range: the limit is {limit} ports")]
    PortRange {
        /// The port.
        port: PortId,
        /// [`Limits::ports`].
        limit: u16,
    },
    /// The role does not exist in this kind of relay, or differs from the one the port was added with.
    #[error("port {0}: the role is not possible here")]
    Role(PortId),
    /// The relay has another uplink.
    #[error("port {port}: the relay has an uplink already, port {uplink}")]
    SecondUplink {
        /// The port refused.
        port: PortId,
        /// The uplink.
        uplink: PortId,
    },
    /// VLANs configured on a downlink, where only VSIs bring VLANs.
    #[error("port {0}: a downlink gets its VLANs from VSIs only")]
    DownlinkVlans(PortId),
    /// `reflective`, `guard` or `takes_over` on a port of an edge relay.
    #[error("port {0}: reflection, guard and taking over are for bridge ports")]
    NotBridgePort(PortId),
    /// `takes_over` on a port with `guard`.
    #[error("port {0}: sources are guarded there, so it cannot take addresses over")]
    TakesOver(PortId),
    /// An edge mode for a bridge or a port extender.
    #[error("only an edge relay has a mode")]
    NoMode,
    /// An E-channel for a port that can have none, or behind a port that is no cascade port.
    #[error("port {0}: no E-channel can end there")]
    NoChannelThere(PortId),
    /// The E-channel ends at another port.
    #[error("port {port}: E-channel {pcid} ends at port {other}")]
    ChannelTaken {
        /// The port refused.
        port: PortId,
        /// The channel.
        pcid: Pcid,
        /// Whose it is.
        other: PortId,
    },
    /// A LAG member that is no extended port of a bridge, or guards sources, takes addresses over or has VSIs.
    #[error("port {0}: only extended ports without guard, takeover and VSIs can be of a LAG")]
    Lag(PortId),
    /// The VSI's port does not exist.
    #[error("there is no port {0}")]
    NoPort(PortId),
    /// A VSI behind the uplink, or behind a port that is not one of stations.
    #[error("port {0}: no VSI is behind such a port")]
    VsiOnUplink(PortId),
    /// A VSI without filters.
    #[error("VSI {}: no filter", .0.0)]
    NoFilter(VsiKey),
    /// A filter with an address that names no station.
    #[error("VSI {}: {mac} is no station's address", .vsi.0)]
    Address {
        /// The VSI.
        vsi: VsiKey,
        /// The address.
        mac: MacAddr,
    },
    /// A policy that cannot do what it says.
    #[error("VSI {}: policy: {error}", .vsi.0)]
    Policy {
        /// The VSI.
        vsi: VsiKey,
        /// What is wrong.
        error: PolicyError,
    },
}

/// The model. It is edited freely; nothing happens to frames until a [`Control::snapshot`] is published.
#[derive(Clone, Debug)]
pub struct Control {
    kind: RelayKind,
    limits: Limits,
    ports: BTreeMap<PortId, Port>,
    vsis: BTreeMap<VsiKey, Vsi>,
    /// Grows with every edit whose order matters.
    clock: u64,
    /// Grows with every edit.
    edits: u64,
    /// Of the snapshot before: most edits leave most rows as they are.
    rows: HashMap<PortId, Arc<Row>>,
    /// By which floods leave for extended ports.
    floods: Floods,
    /// Where the E-channels of a port extender lead.
    members: Members,
    upstream: Option<PortId>,
    /// The port that stands for each LAG: one of its members, and the same as long as it is one.
    anchors: BTreeMap<LagId, PortId>,
    /// What those make, until something changes.
    channels: Option<Arc<Channels>>,
}

#[derive(Clone, Debug)]
struct Port {
    config: PortConfig,
    /// When what was learnt here last became doubtful.
    epoch: u64,
    /// When a VSI was last opened here, or the port came up.
    open_epoch: u64,
    /// When it or a VSI on it was last edited.
    edited: u64,
}

#[derive(Clone, Debug)]
struct Vsi {
    entry: VsiEntry,
    opened: u64,
    state: Arc<VsiState>,
}

impl Control {
    /// A relay without ports.
    #[must_use]
    pub fn new(kind: RelayKind, limits: &Limits) -> Self {
        Self {
            kind,
            limits: *limits,
            ports: BTreeMap::new(),
            vsis: BTreeMap::new(),
            clock: 0,
            edits: 0,
            rows: HashMap::new(),
            floods: Floods::new(),
            members: Members::new(),
            upstream: None,
            anchors: BTreeMap::new(),
            channels: None,
        }
    }

    /// Which relay this is, and its mode.
    #[must_use]
    pub const fn kind(&self) -> RelayKind {
        self.kind
    }

    /// Changes how an edge relay joins its VMs.
    ///
    /// # Errors
    /// [`ControlError::NoMode`] for a bridge.
    pub fn set_mode(&mut self, mode: EdgeMode) -> Result<(), ControlError> {
        match self.kind {
            RelayKind::Edge(_) => {
                self.kind = RelayKind::Edge(mode);
                self.rows.clear();
                Ok(())
            }
            RelayKind::Bridge | RelayKind::Extender => Err(ControlError::NoMode),
        }
    }

    /// Adds a port, or changes all of an existing one but its role. VSIs on it stay.
    ///
    /// # Errors
    /// When the number, the role or a setting that needs another role is not possible.
    pub fn set_port(&mut self, config: PortConfig) -> Result<(), ControlError> {
        let id = config.id;
        if id.0 >= self.limits.ports {
            return Err(ControlError::PortRange { port: id, limit: self.limits.ports });
        }
        let old = self.ports.get(&id);
        if !self.kind.has(config.role) || old.is_some_and(|old| old.config.role != config.role) {
            return Err(ControlError::Role(id));
        }
        if config.role != Role::Bridge && (config.reflective || config.guard || config.takes_over) {
            return Err(ControlError::NotBridgePort(id));
        }
        if config.takes_over && config.guard {
            return Err(ControlError::TakesOver(id));
        }
        match config.role {
            Role::Uplink => {
                let other = self.ports().find(|port| port.role == Role::Uplink && port.id != id);
                if let Some(other) = other {
                    return Err(ControlError::SecondUplink { port: id, uplink: other.id });
                }
            }
            Role::Downlink
                if config.pvid.is_some() || !config.untagged.is_empty() || !config.tagged.is_empty() =>
            {
                return Err(ControlError::DownlinkVlans(id));
            }
            _ => {}
        }
        self.check_extension(&config)?;
        let behind = matches!(config.extension, Some(Extension::Behind { .. }));
        let vsis = || self.vsis.values().any(|vsi| vsi.entry.port == id);
        if config.lag.is_some() && (!behind || config.guard || config.takes_over || vsis()) {
            return Err(ControlError::Lag(id));
        }
        if config.extension.is_some()
            || old.is_some_and(|old| old.config.extension.is_some())
            || config.role == Role::Cascade
        {
            self.channels = None;
        }
        let comes_up = config.up && old.is_none_or(|old| !old.config.up);
        let (epoch, open_epoch) = old.map_or((self.clock, self.clock), |old| (old.epoch, old.open_epoch));
        self.clock += u64::from(comes_up);
        let open_epoch = if comes_up { self.clock } else { open_epoch };
        self.edits += 1;
        let lags = [old.and_then(|old| old.config.lag), config.lag];
        self.ports.insert(id, Port { config, epoch, open_epoch, edited: self.edits });
        lags.into_iter().flatten().for_each(|lag| self.anchor(lag));
        Ok(())
    }

    /// Takes a port away, and the VSIs on it; what it was.
    pub fn remove_port(&mut self, id: PortId) -> Option<PortConfig> {
        let port = self.ports.remove(&id)?;
        self.vsis.retain(|_, vsi| vsi.entry.port != id);
        self.clock += 1;
        self.channels = None;
        port.config.lag.into_iter().for_each(|lag| self.anchor(lag));
        Some(port.config)
    }

    /// Has one of its members stand for a LAG; the row of that one depends on all.
    fn anchor(&mut self, lag: LagId) {
        let members =
            || self.ports.values().filter(|port| port.config.lag == Some(lag)).map(|port| port.config.id);
        let old = self.anchors.get(&lag).copied();
        let Some(anchor) = old.filter(|old| members().any(|id| id == *old)).or_else(|| members().next())
        else {
            self.anchors.remove(&lag);
            return;
        };
        let all: Vec<PortId> = if old == Some(anchor) { vec![anchor] } else { members().collect() };
        self.anchors.insert(lag, anchor);
        all.into_iter().for_each(|port| self.edit(port));
    }

    /// Has floods of `vid` to all of `channel`'s extended ports leave `cascade` as one copy by that E-channel; `None`: each
    /// port gets a copy of its own.
    pub fn set_flood(&mut self, cascade: PortId, vid: Vid, channel: Option<(ECid, BTreeSet<PortId>)>) {
        match channel {
            Some(channel) => drop(self.floods.insert((cascade, vid), channel)),
            None => drop(self.floods.remove(&(cascade, vid))),
        }
        self.channels = None;
    }

    /// Has an E-channel of a port extender lead to `members`; none: nowhere. That of a port itself leads to it unless
    /// something else is said.
    pub fn set_channel(&mut self, ecid: ECid, members: BTreeSet<PortId>) {
        if members.is_empty() {
            self.members.remove(&ecid);
        } else {
            self.members.insert(ecid, members);
        }
        self.channels = None;
    }

    /// Which of the upstream ports of a port extender is used.
    pub fn set_upstream(&mut self, port: Option<PortId>) {
        self.upstream = port;
        self.channels = None;
    }

    fn check_extension(&self, config: &PortConfig) -> Result<(), ControlError> {
        let (role, port) = (config.role, config.id);
        match (&config.extension, self.kind) {
            (None, _) => Ok(()),
            (Some(Extension::Behind { cascade, pcid }), RelayKind::Bridge) => {
                if role != Role::Bridge || self.port(*cascade).is_none_or(|port| port.role != Role::Cascade) {
                    return Err(ControlError::NoChannelThere(port));
                }
                let other =
                    self.ports().find(|other| other.id != port && other.extension == config.extension);
                let taken =
                    |other: &PortConfig| ControlError::ChannelTaken { port, pcid: *pcid, other: other.id };
                other.map_or(Ok(()), |other| Err(taken(other)))
            }
            (Some(Extension::End(_)), RelayKind::Extender) if role != Role::Upstream => Ok(()),
            _ => Err(ControlError::NoChannelThere(port)),
        }
    }

    /// A port's configuration.
    #[must_use]
    pub fn port(&self, id: PortId) -> Option<&PortConfig> {
        self.ports.get(&id).map(|port| &port.config)
    }

    /// All ports, by number.
    pub fn ports(&self) -> impl Iterator<Item = &PortConfig> {
        self.ports.values().map(|port| &port.config)
    }

    /// Opens the gate for a VSI, or puts `entry` in the place of what was open under `key`. It is then the one opened last,
    /// and has back at once what another port has taken over, unless only its policy is another: that moves nothing.
    /// Counters and rates go on where they were.
    ///
    /// # Errors
    /// When the port cannot have VSIs or the filters are not usable.
    pub fn open_vsi(&mut self, key: VsiKey, entry: VsiEntry) -> Result<(), ControlError> {
        match self.port(entry.port).map(|port| port.role) {
            None => return Err(ControlError::NoPort(entry.port)),
            Some(Role::Downlink | Role::Bridge) => {}
            Some(_) => return Err(ControlError::VsiOnUplink(entry.port)),
        }
        if self.port(entry.port).is_some_and(|port| port.lag.is_some()) {
            return Err(ControlError::Lag(entry.port));
        }
        if entry.filters.is_empty() {
            return Err(ControlError::NoFilter(key));
        }
        if let Some(mac) = entry.filters.iter().filter_map(|f| f.mac).find(|mac| !mac::is_station(*mac)) {
            return Err(ControlError::Address { vsi: key, mac });
        }
        entry.policy.check().map_err(|error| ControlError::Policy { vsi: key, error })?;
        let old = self.vsis.get(&key);
        let state = old.map(|old| Arc::clone(&old.state)).unwrap_or_default();
        let stays = old
            .filter(|old| old.entry.port == entry.port && old.entry.filters == entry.filters)
            .map(|old| old.opened);
        if stays.is_none() {
            self.close_vsi(key);
            state.reclaim();
        }
        self.clock += 1;
        if let Some(port) = self.ports.get_mut(&entry.port) {
            port.open_epoch = self.clock;
        }
        self.edit(entry.port);
        self.vsis.insert(key, Vsi { entry, opened: stays.unwrap_or(self.clock), state });
        Ok(())
    }

    /// Shuts the gate for a VSI; what it was. Addresses learnt on its port are forgotten when the snapshot that
    /// follows is published.
    pub fn close_vsi(&mut self, key: VsiKey) -> Option<VsiEntry> {
        let vsi = self.vsis.remove(&key)?;
        self.clock += 1;
        if let Some(port) = self.ports.get_mut(&vsi.entry.port) {
            port.epoch = self.clock;
        }
        self.edit(vsi.entry.port);
        Some(vsi.entry)
    }

    /// Has the row of a port be made anew.
    fn edit(&mut self, port: PortId) {
        self.edits += 1;
        if let Some(port) = self.ports.get_mut(&port) {
            port.edited = self.edits;
        }
    }

    /// The open VSIs, by key.
    pub fn vsis(&self) -> impl Iterator<Item = (VsiKey, &VsiEntry)> {
        self.vsis.iter().map(|(key, vsi)| (*key, &vsi.entry))
    }

    /// The tables workers need for the model as it is now.
    #[must_use]
    pub fn snapshot(&mut self) -> Snapshot {
        let mut vsis: Vec<(&VsiKey, &Vsi)> = self.vsis.iter().collect();
        vsis.sort_unstable_by_key(|(_, vsi)| vsi.opened);
        let vsis: Vec<VsiPlan<'_>> = vsis
            .into_iter()
            .map(|(key, vsi)| VsiPlan { key: *key, entry: &vsi.entry, state: &vsi.state })
            .collect();
        // Which of the epochs of a port it is matters only for as long as an answer to a query takes.
        let low = |epoch: u64| u32::try_from(epoch & u64::from(u32::MAX)).unwrap_or(0);
        let mut up: BTreeSet<LagId> = BTreeSet::new();
        up.extend(self.ports().filter(|port| port.up).filter_map(|port| port.lag));
        let plan = |port: &PortConfig| {
            let lag = port.lag?;
            let anchor = *self.anchors.get(&lag)?;
            Some(LagPlan { anchor, up: anchor == port.id && up.contains(&lag) })
        };
        let ports: Vec<PortPlan<'_>> = self
            .ports
            .values()
            .map(|port| PortPlan {
                config: &port.config,
                epoch: port.epoch,
                open_epoch: low(port.open_epoch),
                edited: port.edited,
                lag: plan(&port.config),
            })
            .collect();
        let channels = self.channels.take().unwrap_or_else(|| {
            let configs = self.ports.values().map(|port| &port.config);
            Arc::new(Channels::new(configs, &self.floods, &self.members, self.upstream))
        });
        let snapshot =
            Snapshot::build(self.kind, &self.limits, &ports, &vsis, &self.rows, Arc::clone(&channels));
        self.channels = Some(channels);
        self.rows = snapshot.rows().map(|row| (row.id, Arc::clone(row))).collect();
        snapshot
    }
}
