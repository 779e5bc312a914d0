//! The model the daemon edits: ports, associated VSIs, and the snapshot they make [Q 40, 41.2].
//!
//! * A VSI on a **downlink** is all the VLANs that port has: before one is open nothing passes either way. With one
//!   VLAN the VM sends and receives untagged, with several tagged.
//! * A VSI on a **bridge port** adds its VLANs to the port's own, tagged, unless the port is configured to send that
//!   VLAN untagged. So it does on the **uplink** of an edge relay.
//! * Each (address, VLAN) a VSI names is a static entry on its port. If several VSIs name the same one, the VSI
//!   opened last has it, and when that closes, the one before it. Another policy for an open VSI is no opening.

mod error;
mod vsis;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ether::{ECid, MacAddr, Pcid, Pcp, Vid, mac};
use serde::{Deserialize, Serialize};

pub use self::error::ControlError;

use self::vsis::{Vsi, Vsis};
use crate::{
    extend::{Channels, Extension, Floods, Members},
    lag::{LagId, Lags},
    policy::{MirrorTo, Policy},
    port::{PortConfig, PortId, Role, VidSet},
    row::{LagPlan, Plan, Row},
    snapshot::{EdgeMode, RelayKind, Snapshot, VsiRow},
    switch::Limits,
    verdict::MirrorTarget,
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

/// The model. It is edited freely; nothing happens to frames until a [`Control::snapshot`] is published.
#[derive(Clone, Debug)]
pub struct Control {
    kind: RelayKind,
    limits: Limits,
    ports: BTreeMap<PortId, Port>,
    uplink: Option<PortId>,
    /// Extended ports, by cascade port and channel.
    behind: BTreeMap<(PortId, Pcid), PortId>,
    vsis: Vsis,
    /// Grows with every edit whose order matters.
    clock: u64,
    /// By which floods leave for extended ports.
    floods: Floods,
    /// Where the E-channels of a port extender lead.
    members: Members,
    upstream: Option<PortId>,
    lags: BTreeMap<LagId, Lag>,
    /// What all that makes, but for `stale`.
    made: Snapshot,
    stale: Stale,
}

/// What of the snapshot is to be made anew.
#[derive(Clone, Debug, Default)]
struct Stale {
    /// Rows of ports.
    rows: BTreeSet<PortId>,
    channels: bool,
    lags: bool,
}

#[derive(Clone, Debug)]
struct Port {
    config: PortConfig,
    /// When what was learnt here last became doubtful.
    epoch: u64,
    /// When a VSI was last opened here, or the port came up.
    open_epoch: u64,
}

#[derive(Clone, Debug)]
struct Lag {
    /// The port that stands for it: one of its members, and the same as long as it is one.
    anchor: PortId,
    members: BTreeSet<PortId>,
}

impl Control {
    /// A relay without ports.
    #[must_use]
    pub fn new(kind: RelayKind, limits: &Limits) -> Self {
        Self {
            kind,
            limits: *limits,
            ports: BTreeMap::new(),
            uplink: None,
            behind: BTreeMap::new(),
            vsis: Vsis::default(),
            clock: 0,
            floods: Floods::new(),
            members: Members::new(),
            upstream: None,
            lags: BTreeMap::new(),
            made: Snapshot::new(kind),
            stale: Stale::default(),
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
                self.made.set_kind(self.kind);
                self.stale.rows.extend(self.ports.keys());
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
                if let Some(uplink) = self.uplink.filter(|uplink| *uplink != id) {
                    return Err(ControlError::SecondUplink { port: id, uplink });
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
        let vsis = || !self.vsis.on(id).is_empty();
        if config.lag.is_some() && (!behind || config.guard || vsis()) {
            return Err(ControlError::Lag(id));
        }
        let comes_up = config.up && old.is_none_or(|old| !old.config.up);
        let (epoch, open_epoch) = old.map_or((self.clock, self.clock), |old| (old.epoch, old.open_epoch));
        self.clock += u64::from(comes_up);
        let open_epoch = if comes_up { self.clock } else { open_epoch };
        let new = (channel(&config), config.lag);
        self.uplink = self.uplink.or_else(|| (config.role == Role::Uplink).then_some(id));
        self.stale.channels |= config.extension.is_some() || config.role == Role::Cascade;
        let old = self.ports.insert(id, Port { config, epoch, open_epoch }).map(|old| old.config);
        self.moved(id, old.as_ref(), new);
        Ok(())
    }

    /// Takes a port away, and the VSIs on it; what it was.
    pub fn remove_port(&mut self, id: PortId) -> Option<PortConfig> {
        let old = self.ports.remove(&id)?.config;
        for key in self.vsis.on(id) {
            self.take_out(key);
        }
        self.clock += 1;
        self.uplink = self.uplink.filter(|uplink| *uplink != id);
        self.stale.channels |= old.role == Role::Cascade || self.kind == RelayKind::Extender;
        self.moved(id, Some(&old), (None, None));
        Some(old)
    }

    /// What follows from a port that came, changed or went: `new` are its E-channel and its LAG.
    fn moved(&mut self, id: PortId, old: Option<&PortConfig>, new: (Option<(PortId, Pcid)>, Option<LagId>)) {
        self.stale.rows.insert(id);
        self.stale.channels |= old.is_some_and(|old| old.extension.is_some());
        if let Some(channel) = old.and_then(channel) {
            self.behind.remove(&channel);
        }
        if let Some(channel) = new.0 {
            self.behind.insert(channel, id);
        }
        if let Some(lag) = old.and_then(|old| old.lag) {
            self.leave(lag, id, new.1);
        }
        if let Some(lag) = new.1 {
            let lag = self.lags.entry(lag).or_insert_with(|| Lag { anchor: id, members: BTreeSet::new() });
            lag.members.insert(id);
            self.stale.rows.insert(lag.anchor);
            self.stale.lags = true;
        }
        let mirroring: Vec<u32> = self.vsis.mirroring().collect();
        for place in mirroring {
            self.made.set_vsi(place, self.vsi_row(place));
        }
    }

    /// A port is not of `lag` any more, unless that is `now`, too. The row of the port that stands for a LAG depends on all.
    fn leave(&mut self, lag: LagId, id: PortId, now: Option<LagId>) {
        let Some(of) = self.lags.get_mut(&lag).filter(|_| now != Some(lag)) else { return };
        of.members.remove(&id);
        self.stale.lags = true;
        match of.members.first() {
            None => drop(self.lags.remove(&lag)),
            Some(first) if of.anchor == id => {
                of.anchor = *first;
                self.stale.rows.extend(&of.members);
            }
            Some(_) => drop(self.stale.rows.insert(of.anchor)),
        }
    }

    /// Has floods of `vid` to all of `channel`'s extended ports leave `cascade` as one copy by that E-channel; `None`: each
    /// port gets a copy of its own.
    pub fn set_flood(&mut self, cascade: PortId, vid: Vid, channel: Option<(ECid, BTreeSet<PortId>)>) {
        match channel {
            Some(channel) => drop(self.floods.insert((cascade, vid), channel)),
            None => drop(self.floods.remove(&(cascade, vid))),
        }
        self.stale.channels = true;
    }

    /// Has an E-channel of a port extender lead to `members`; none: nowhere. That of a port itself leads to it unless
    /// something else is said.
    pub fn set_channel(&mut self, ecid: ECid, members: BTreeSet<PortId>) {
        if members.is_empty() {
            self.members.remove(&ecid);
        } else {
            self.members.insert(ecid, members);
        }
        self.stale.channels = true;
    }

    /// Which of the upstream ports of a port extender is used.
    pub fn set_upstream(&mut self, port: Option<PortId>) {
        self.upstream = port;
        self.stale.channels = true;
    }

    /// The channels of several members by which floods leave, by cascade port and VLAN.
    pub fn floods(&self) -> impl Iterator<Item = (PortId, Vid, ECid, &BTreeSet<PortId>)> {
        self.floods.iter().map(|((cascade, vid), (ecid, members))| (*cascade, *vid, *ecid, members))
    }

    /// Where the E-channels of a port extender lead, without those of its ports themselves.
    pub fn channels(&self) -> impl Iterator<Item = (ECid, &BTreeSet<PortId>)> {
        self.members.iter().map(|(ecid, members)| (*ecid, members))
    }

    fn check_extension(&self, config: &PortConfig) -> Result<(), ControlError> {
        let (role, port) = (config.role, config.id);
        match (&config.extension, self.kind) {
            (None, _) => Ok(()),
            (Some(Extension::Behind { cascade, pcid }), RelayKind::Bridge) => {
                if role != Role::Bridge || self.port(*cascade).is_none_or(|port| port.role != Role::Cascade) {
                    return Err(ControlError::NoChannelThere(port));
                }
                match self.behind.get(&(*cascade, *pcid)).filter(|other| **other != port) {
                    Some(other) => Err(ControlError::ChannelTaken { port, pcid: *pcid, other: *other }),
                    None => Ok(()),
                }
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
        let old = self.vsis.get(key);
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
        self.take_out(key);
        self.put_in(Vsi { key, entry, opened: stays.unwrap_or(self.clock), state });
        Ok(())
    }

    /// Shuts the gate for a VSI; what it was. Addresses learnt on its port are forgotten when the snapshot that
    /// follows is published.
    pub fn close_vsi(&mut self, key: VsiKey) -> Option<VsiEntry> {
        let vsi = self.take_out(key)?;
        self.clock += 1;
        if let Some(port) = self.ports.get_mut(&vsi.entry.port) {
            port.epoch = self.clock;
        }
        Some(vsi.entry)
    }

    fn put_in(&mut self, vsi: Vsi) {
        let (port, filters, vids) = (vsi.entry.port, vsi.entry.filters.clone(), self.vsis.vid_count());
        let place = self.vsis.insert(vsi);
        self.made.set_vsi(place, self.vsi_row(place));
        self.named(port, &filters, vids);
    }

    fn take_out(&mut self, key: VsiKey) -> Option<Vsi> {
        let vids = self.vsis.vid_count();
        let (place, vsi) = self.vsis.remove(key)?;
        self.made.set_vsi(place, None);
        self.named(vsi.entry.port, &vsi.entry.filters, vids);
        Some(vsi)
    }

    /// What follows from a VSI on `port` with `filters` that came or went; before that, all had `vids` VLANs.
    fn named(&mut self, port: PortId, filters: &[VsiFilter], vids: usize) {
        for (key, owner) in self.vsis.owners(filters) {
            self.made.set_owner(key, owner);
        }
        self.stale.rows.insert(port);
        self.stale.rows.extend(self.uplink.filter(|_| self.vsis.vid_count() != vids));
    }

    /// The open VSIs, by key.
    pub fn vsis(&self) -> impl Iterator<Item = (VsiKey, &VsiEntry)> {
        self.vsis.iter().map(|vsi| (vsi.key, &vsi.entry))
    }

    /// The tables workers need for the model as it is now.
    #[must_use]
    pub fn snapshot(&mut self) -> Snapshot {
        let Stale { rows, channels, lags } = std::mem::take(&mut self.stale);
        let vids = self.uplink.filter(|uplink| rows.contains(uplink)).map(|_| self.vsis.vids());
        let vids = vids.unwrap_or_default();
        for id in rows {
            self.made.set_row(id, self.row(id, &vids));
        }
        if channels {
            let configs = self.ports.values().map(|port| &port.config);
            self.made.channels = Arc::new(Channels::new(configs, &self.floods, &self.members, self.upstream));
        }
        if lags {
            let up = |lag: &Lag| {
                let up = lag.members.iter().filter(|id| self.port(**id).is_some_and(|port| port.up));
                (lag.anchor, up.copied().collect())
            };
            self.made.lags = Arc::new(Lags::new(self.lags.values().map(up).collect()));
        }
        self.made.clone()
    }

    /// The row of a port; `all` are the VLANs of all VSIs.
    fn row(&self, id: PortId, all: &VidSet) -> Option<Row> {
        let port = self.ports.get(&id)?;
        let lag = port.config.lag.and_then(|lag| self.lags.get(&lag)).map(|lag| LagPlan {
            anchor: lag.anchor,
            up: lag.anchor == id && lag.members.iter().any(|id| self.port(*id).is_some_and(|port| port.up)),
        });
        Some(Row::new(Plan {
            kind: self.kind,
            limits: &self.limits,
            config: &port.config,
            epoch: port.epoch,
            // Which of the epochs of a port it is matters only for as long as an answer to a query takes.
            open_epoch: u32::try_from(port.open_epoch & u64::from(u32::MAX)).unwrap_or(0),
            lag,
            vsis: self.vsis.behind(id),
            all,
        }))
    }

    fn vsi_row(&self, place: u32) -> Option<VsiRow> {
        let Vsi { key, entry, state, .. } = self.vsis.at(place)?;
        let mirror = entry.policy.mirror.as_ref().and_then(|mirror| match &mirror.to {
            MirrorTo::Capture(id) => Some(MirrorTarget::Capture(*id)),
            MirrorTo::Port(name) => {
                let named = self.ports().find(|config| config.name == *name)?;
                (named.up && named.id != entry.port).then_some(MirrorTarget::Port(named.id))
            }
        });
        Some(VsiRow::new(*key, entry, state, mirror))
    }
}

/// The E-channel an extended port of a bridge is the end of.
fn channel(config: &PortConfig) -> Option<(PortId, Pcid)> {
    match &config.extension {
        Some(Extension::Behind { cascade, pcid }) => Some((*cascade, *pcid)),
        Some(Extension::End(_)) | None => None,
    }
}
