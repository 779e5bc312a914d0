//! What workers read: the relay's configuration compiled into tables, never changed once built [Q 8.8].

use std::sync::Arc;

use ether::{MacAddr, Pcp, PrioritySet, Vid};
use serde::{Deserialize, Serialize};

use crate::{
    bucket::Fill,
    control::{VsiEntry, VsiKey},
    extend::Channels,
    fdb::{FdbEntry, Key, Origin},
    lag::Lags,
    policy::Policy,
    port::{PortId, Role, VidSet},
    row::Row,
    shared::{Pages, Shards},
    verdict::{Direction, MirrorTarget},
    vsi::VsiState,
};

/// How an edge relay joins its VMs [Q 40].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EdgeMode {
    /// Virtual edge bridge: VMs reach each other inside the station.
    Veb,
    /// Virtual edge port aggregator: VMs reach each other by way of the bridge, which reflects.
    Vepa,
    /// VMs do not reach each other: like VEPA, but no reflection is expected and what comes back is an echo. Stands in
    /// for a VEPA the bridge does not serve.
    Isolate,
    /// VMs do not reach each other, and are not meant to: the same rules as [`EdgeMode::Isolate`].
    Private,
    /// One VM owns the uplink: whatever comes goes to it, whatever it sends leaves, whoever it names as source. VLANs
    /// are held to. Made for one downlink; several would each get everything.
    Passthru,
    /// One VSI alone on the uplink, no relay in between: as [`EdgeMode::Passthru`], but the VM is held to its VSI's
    /// addresses.
    Direct,
}

/// Which relay this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RelayKind {
    /// A C-VLAN bridge; all ports are [`Role::Bridge`].
    Bridge,
    /// An edge relay; at most one [`Role::Uplink`], the rest [`Role::Downlink`].
    Edge(EdgeMode),
    /// A port extender; ports are [`Role::Upstream`], [`Role::Extended`] or [`Role::Cascade`].
    Extender,
}

impl RelayKind {
    /// Whether a relay of this kind may have such a port.
    pub(crate) const fn has(self, role: Role) -> bool {
        match self {
            Self::Bridge => matches!(role, Role::Bridge | Role::Cascade),
            Self::Edge(_) => matches!(role, Role::Uplink | Role::Downlink),
            Self::Extender => matches!(role, Role::Upstream | Role::Extended | Role::Cascade),
        }
    }
}

/// The relay's configuration at one moment. The default is a bridge without ports. A copy shares all that stays the same.
#[derive(Clone, Debug)]
pub struct Snapshot {
    kind: RelayKind,
    /// By port number.
    rows: Pages<Row>,
    uplink: Option<PortId>,
    lossless: PrioritySet,
    /// By VID: the ports that are up and members.
    members: Pages<Members>,
    statics: Shards<Key, Static>,
    /// By place.
    vsis: Pages<VsiRow>,
    places: Shards<VsiKey, u32>,
    /// E-channels.
    pub(crate) channels: Arc<Channels>,
    pub(crate) lags: Arc<Lags>,
}

/// A VSI as the relay needs it.
#[derive(Clone, Debug)]
pub(crate) struct VsiRow {
    pub(crate) key: VsiKey,
    pub(crate) port: PortId,
    pub(crate) policy: Arc<Policy>,
    pub(crate) ingress: Option<Fill>,
    pub(crate) egress: Option<Fill>,
    pub(crate) mirror: Option<MirrorTarget>,
    pub(crate) state: Arc<VsiState>,
}

/// The ports to flood a VLAN to, ascending.
#[derive(Clone, Debug, Default)]
struct Members {
    /// For groups.
    all: Vec<(PortId, Role)>,
    /// For stations nobody knows the port of: no downlinks whose addresses are all known.
    unknown: Vec<(PortId, Role)>,
}

/// An address a VSI names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Static {
    pub(crate) port: PortId,
    /// Priority of untagged frames from it.
    pub(crate) pcp: Pcp,
    pub(crate) vsi: u32,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self::new(RelayKind::Bridge)
    }
}

impl Snapshot {
    /// A relay without ports.
    pub(crate) fn new(kind: RelayKind) -> Self {
        Self {
            kind,
            rows: Pages::default(),
            uplink: None,
            lossless: PrioritySet::default(),
            members: Pages::default(),
            statics: Shards::default(),
            vsis: Pages::default(),
            places: Shards::default(),
            channels: Arc::default(),
            lags: Arc::default(),
        }
    }

    /// Changes the mode of an edge relay. All its rows are to be made anew.
    pub(crate) const fn set_kind(&mut self, kind: RelayKind) {
        self.kind = kind;
    }

    /// Puts `row` in the place of what the port `id` was.
    pub(crate) fn set_row(&mut self, id: PortId, row: Option<Row>) {
        let old = self.rows.get(id.index()).cloned();
        let floods = |row: Option<&Row>, vid| row.and_then(|row| row.floods(self.kind, vid));
        let vids =
            [old.as_deref(), row.as_ref()].into_iter().flatten().fold(VidSet::default(), |mut vids, row| {
                vids.extend(&row.members);
                vids
            });
        let changes: Vec<_> = vids
            .iter()
            .map(|vid| (vid, floods(old.as_deref(), vid), floods(row.as_ref(), vid)))
            .filter(|(_, was, is)| was != is)
            .collect();
        for (vid, _, is) in changes {
            let mut members =
                self.members.get(vid.index()).map(|members| Members::clone(members)).unwrap_or_default();
            members.set(id, is);
            self.members.set(vid.index(), (!members.all.is_empty()).then(|| Arc::new(members)));
        }
        if self.uplink == Some(id) {
            (self.uplink, self.lossless) = (None, PrioritySet::default());
        }
        if let Some(uplink) = row.as_ref().filter(|row| row.role == Role::Uplink) {
            (self.uplink, self.lossless) = (Some(id), uplink.lossless);
        }
        self.rows.set(id.index(), row.map(Arc::new));
    }

    /// Puts `vsi` in the place of what is at `place`.
    pub(crate) fn set_vsi(&mut self, place: u32, vsi: Option<VsiRow>) {
        let Ok(at) = usize::try_from(place) else { return };
        if let Some(old) = self.vsis.get(at).map(|old| old.key) {
            self.places.set(old, None);
        }
        if let Some(new) = &vsi {
            self.places.set(new.key, Some(place));
        }
        self.vsis.set(at, vsi.map(Arc::new));
    }

    /// Has an address be that of `owner`, or of no VSI.
    pub(crate) fn set_owner(&mut self, key: Key, owner: Option<Static>) {
        if self.statics.get(&key) != owner {
            self.statics.set(key, owner);
        }
    }

    /// Which relay this is, and its mode.
    #[must_use]
    pub const fn kind(&self) -> RelayKind {
        self.kind
    }

    /// The static entries, in no order.
    pub fn statics(&self) -> impl Iterator<Item = FdbEntry> {
        self.statics.iter().map(|(key, entry)| {
            let (mac, vid) = key.parts();
            FdbEntry { mac, vid, port: entry.port, age: 0, origin: Origin::Static, moves: 0 }
        })
    }

    /// Whether what downlinks send leaves by the uplink and what comes there goes to all downlinks.
    pub(crate) const fn one_way(&self) -> bool {
        matches!(self.kind, RelayKind::Edge(EdgeMode::Passthru | EdgeMode::Direct))
    }

    pub(crate) fn row(&self, port: PortId) -> Option<&Row> {
        self.rows.get(port.index()).map(|row| &**row)
    }

    /// Whether frames come and go at the port itself, whatever other members of its LAG do.
    pub(crate) fn is_up(&self, row: &Row) -> bool {
        row.lag.and_then(|anchor| self.lags.up(anchor)).map_or(row.up, |up| up.contains(&row.id))
    }

    /// The row of the bridge port that `row` is, or is a member of.
    pub(crate) fn whole<'a>(&'a self, row: &'a Row) -> &'a Row {
        row.lag.and_then(|anchor| self.row(anchor)).unwrap_or(row)
    }

    /// LAGs whose anchor was another port under `old`: the anchor then and now.
    pub(crate) fn reanchored<'a>(&'a self, old: &'a Self) -> impl Iterator<Item = (PortId, PortId)> + 'a {
        self.changed(old).filter_map(|port| self.row(port)).filter_map(|row| {
            let (now, then) = (row.lag?, old.row(row.id)?.lag?);
            (row.id == now && then != now).then_some((then, now))
        })
    }

    pub(crate) fn vsi(&self, at: u32) -> Option<&VsiRow> {
        self.vsis.get(usize::try_from(at).ok()?).map(|vsi| &**vsi)
    }

    /// The VSI of this name.
    pub(crate) fn by_key(&self, key: VsiKey) -> Option<&VsiRow> {
        self.vsi(self.places.get(&key)?)
    }

    /// The uplink of an edge relay.
    pub(crate) const fn uplink(&self) -> Option<PortId> {
        self.uplink
    }

    /// Priorities of which no rate drops a frame, whatever port it has to do with: those of the uplink.
    pub(crate) const fn lossless(&self) -> PrioritySet {
        self.lossless
    }

    /// The ports that are up and members of `vid`.
    pub(crate) fn members(&self, vid: Vid) -> &[(PortId, Role)] {
        self.members.get(vid.index()).map_or(&[], |members| &members.all)
    }

    /// Those of them that get frames for stations nobody knows the port of.
    pub(crate) fn members_for_unknown(&self, vid: Vid) -> &[(PortId, Role)] {
        self.members.get(vid.index()).map_or(&[], |members| &members.unknown)
    }

    /// The VSI address `mac` in `vid`.
    pub(crate) fn owner(&self, mac: MacAddr, vid: Vid) -> Option<Static> {
        self.statics.get(&Key::new(mac, vid))
    }

    /// Whether frames of `vid` may leave by `port`.
    pub(crate) fn reaches(&self, port: PortId, vid: Vid) -> bool {
        self.row(port).is_some_and(|row| row.up && row.members.contains(vid))
    }

    /// Whether addresses in `vid` may be known to be on `port` from frames: on bridge ports, and on downlinks with
    /// VSIs that name no address. Never on the uplink.
    pub(crate) fn learns(&self, port: PortId, vid: Vid) -> bool {
        self.row(port).is_some_and(|row| {
            row.up
                && row.is_bridge_port()
                && row.members.contains(vid)
                && match row.role {
                    Role::Bridge => true,
                    Role::Downlink => row.anyone.contains(vid),
                    Role::Uplink | Role::Cascade | Role::Upstream | Role::Extended => false,
                }
        })
    }

    /// Whether a learnt entry may be what it is.
    pub(crate) fn knows(&self, entry: &FdbEntry) -> bool {
        self.learns(entry.port, entry.vid) && self.owner(entry.mac, entry.vid).is_none()
    }

    /// Whether what was learnt on `port` under `old` still holds.
    pub(crate) fn continues(&self, old: &Self, port: PortId) -> bool {
        self.row(port).map(|row| row.epoch) == old.row(port).map(|row| row.epoch)
    }

    /// Whether whatever could be learnt on `port` under `old` may stay.
    pub(crate) fn keeps(&self, old: &Self, port: PortId) -> bool {
        match (self.row(port), old.row(port)) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(new), Some(old)) => new.keeps(old),
        }
    }

    /// The addresses VSIs name that none named under `old`, in no order.
    pub(crate) fn newly_named<'a>(&'a self, old: &'a Self) -> impl Iterator<Item = Key> + 'a {
        self.statics.new_keys(&old.statics)
    }

    /// The ports that `old` has not, has no more, or has another row of.
    pub(crate) fn changed<'a>(&'a self, old: &'a Self) -> impl Iterator<Item = PortId> + 'a {
        self.rows.changed(&old.rows).filter_map(|port| u16::try_from(port).ok()).map(PortId)
    }
}

impl VsiRow {
    /// `mirror` is where its policy mirrors to.
    pub(crate) fn new(
        key: VsiKey,
        entry: &VsiEntry,
        state: &Arc<VsiState>,
        mirror: Option<MirrorTarget>,
    ) -> Self {
        let VsiEntry { port, policy, .. } = entry;
        Self {
            key,
            port: *port,
            policy: Arc::clone(policy),
            ingress: policy.ingress_rate.map(Fill::octets),
            egress: policy.egress_rate.map(Fill::octets),
            mirror,
            state: Arc::clone(state),
        }
    }

    /// Where frames that pass this way are mirrored to.
    pub(crate) fn mirror_of(&self, direction: Direction) -> Option<MirrorTarget> {
        let asked = self.policy.mirror.as_ref().is_some_and(|mirror| match direction {
            Direction::Ingress => mirror.ingress,
            Direction::Egress => mirror.egress,
        });
        self.mirror.filter(|_| asked)
    }
}

impl Members {
    /// Takes a port in with its role, and whether it is for stations nobody knows the port of; or out.
    fn set(&mut self, port: PortId, floods: Option<(Role, bool)>) {
        let (all, unknown) = (floods.is_some(), floods.is_some_and(|(_, unknown)| unknown));
        for (list, is) in [(&mut self.all, all), (&mut self.unknown, unknown)] {
            let at = list.partition_point(|(other, _)| *other < port);
            let is_there = list.get(at).is_some_and(|(other, _)| *other == port);
            let new = floods.filter(|_| is).map(|(role, _)| (port, role));
            drop(list.splice(at..at + usize::from(is_there), new));
        }
    }
}
