//! What workers read: the relay's configuration compiled into tables, never changed once built [Q 8.8].

use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
};

use ether::{MacAddr, Pcp, PrioritySet, Vid};
use serde::{Deserialize, Serialize};

use crate::{
    bucket::Fill,
    control::{VsiEntry, VsiFilter, VsiKey},
    extend::Channels,
    fdb::{FdbEntry, Key, Origin},
    lag::Lags,
    policy::{MirrorTo, Policy},
    port::{PortConfig, PortId, Role, VidSet},
    row::Row,
    switch::Limits,
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

/// The relay's configuration at one moment. The default is a bridge without ports.
#[derive(Clone, Debug)]
pub struct Snapshot {
    kind: RelayKind,
    /// By port number.
    rows: Box<[Option<Arc<Row>>]>,
    uplink: Option<PortId>,
    lossless: PrioritySet,
    /// By VID: the ports that are up and members.
    members: Box<[Members]>,
    statics: HashMap<Key, Static, BuildHasherDefault<KeyHasher>>,
    /// In order of opening.
    vsis: Box<[VsiRow]>,
    /// E-channels.
    pub(crate) channels: Arc<Channels>,
    pub(crate) lags: Lags,
}

/// A VSI as the relay needs it.
#[derive(Clone, Debug)]
pub(crate) struct VsiRow {
    pub(crate) key: VsiKey,
    pub(crate) port: PortId,
    pub(crate) policy: Arc<Policy>,
    pub(crate) ingress: Option<Fill>,
    pub(crate) egress: Option<Fill>,
    mirror: Option<MirrorTarget>,
    pub(crate) state: Arc<VsiState>,
}

/// The ports to flood a VLAN to.
#[derive(Clone, Debug, Default)]
struct Members {
    /// For groups.
    all: Vec<(PortId, Role)>,
    /// For stations nobody knows the port of: no downlinks whose addresses are all known.
    unknown: Vec<(PortId, Role)>,
}

/// An address a VSI names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Static {
    pub(crate) port: PortId,
    /// Priority of untagged frames from it.
    pub(crate) pcp: Pcp,
    pub(crate) vsi: u32,
}

/// A port as control hands it in.
pub(crate) struct PortPlan<'a> {
    pub(crate) config: &'a PortConfig,
    /// When what was learnt here last became doubtful.
    pub(crate) epoch: u64,
    /// When the last VSI was opened here, or the port came up.
    pub(crate) open_epoch: u32,
    /// When it or a VSI on it was last edited.
    pub(crate) edited: u64,
    pub(crate) lag: Option<LagPlan>,
}

/// The LAG a port is a member of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LagPlan {
    pub(crate) anchor: PortId,
    /// The port is the anchor, and another member is up.
    pub(crate) up: bool,
}

/// A VSI as control hands it in.
pub(crate) struct VsiPlan<'a> {
    pub(crate) key: VsiKey,
    pub(crate) entry: &'a VsiEntry,
    pub(crate) state: &'a Arc<VsiState>,
}

impl Default for Snapshot {
    fn default() -> Self {
        let channels = Arc::default();
        Self::build(RelayKind::Bridge, &Limits::default(), &[], &[], &HashMap::new(), channels)
    }
}

impl Snapshot {
    /// Compiles `ports` and `vsis`, the VSI opened last at the end. Of `before`, rows of a relay of the same kind, those
    /// that were not edited since are taken as they are.
    pub(crate) fn build(
        kind: RelayKind,
        limits: &Limits,
        ports: &[PortPlan<'_>],
        vsis: &[VsiPlan<'_>],
        before: &HashMap<PortId, Arc<Row>>,
        channels: Arc<Channels>,
    ) -> Self {
        let size = ports.iter().map(|port| port.config.id.index() + 1).max().unwrap_or(0);
        let mut filters: Vec<Vec<(u32, &VsiFilter)>> = vec![Vec::new(); size];
        let count = vsis.iter().map(|vsi| vsi.entry.filters.len()).sum();
        let mut statics = HashMap::with_capacity_and_hasher(count, BuildHasherDefault::default());
        let mut all = VidSet::default();
        for (vsi, VsiPlan { entry, .. }) in (0..).zip(vsis) {
            for filter in &entry.filters {
                all.insert(filter.vid);
                if let Some(port) = filters.get_mut(entry.port.index()) {
                    port.push((vsi, filter));
                }
                if let Some(mac) = filter.mac {
                    let entry = Static { port: entry.port, pcp: filter.pcp.unwrap_or_default(), vsi };
                    statics.insert(Key::new(mac, filter.vid), entry);
                }
            }
        }
        let uplink = ports.iter().map(|plan| plan.config).find(|port| port.role == Role::Uplink);
        let mut rows: Vec<Option<Arc<Row>>> = vec![None; size];
        let mut members: Vec<Members> = vec![Members::default(); Vid::TABLE];
        let mut lags: BTreeMap<PortId, Vec<PortId>> = BTreeMap::new();
        for (plan, id) in ports.iter().map(|plan| (plan, plan.config.id)) {
            let filters = filters.get(id.index()).map(Vec::as_slice).unwrap_or_default();
            let row = match before.get(&id).filter(|row| row.is_of(plan, filters)) {
                Some(row) => Arc::clone(row),
                None => Arc::new(Row::new(kind, limits, plan, filters, vsis, &all)),
            };
            if let Some(anchor) = row.lag {
                lags.entry(anchor).or_default().extend(plan.config.up.then_some(id));
            }
            let floods = row.up && kind != RelayKind::Extender && row.is_bridge_port();
            for vid in row.members.iter().filter(|_| floods) {
                let Some(members) = members.get_mut(vid.index()) else { continue };
                members.all.push((id, row.role));
                if row.role != Role::Downlink || row.anyone.contains(vid) {
                    members.unknown.push((id, row.role));
                }
            }
            if let Some(slot) = rows.get_mut(id.index()) {
                *slot = Some(row);
            }
        }
        Self {
            kind,
            rows: rows.into(),
            uplink: uplink.map(|port| port.id),
            lossless: uplink.map(|port| port.lossless).unwrap_or_default(),
            members: members.into(),
            statics,
            vsis: vsis.iter().map(|vsi| VsiRow::new(vsi, ports)).collect(),
            channels,
            lags: Lags::new(lags),
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
        self.rows.get(port.index())?.as_deref()
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
        self.rows().filter_map(|row| {
            let (now, then) = (row.lag?, old.row(row.id)?.lag?);
            (row.id == now && then != now).then_some((then, now))
        })
    }

    /// The rows of all ports.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Arc<Row>> {
        self.rows.iter().flatten()
    }

    pub(crate) fn vsi(&self, at: u32) -> Option<&VsiRow> {
        self.vsis.get(usize::try_from(at).ok()?)
    }

    /// The VSI of this name; slow.
    pub(crate) fn by_key(&self, key: VsiKey) -> Option<&VsiRow> {
        self.vsis.iter().find(|vsi| vsi.key == key)
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
        self.statics.get(&Key::new(mac, vid)).copied()
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

    /// The addresses VSIs name that none named under `old`.
    pub(crate) fn newly_named<'a>(&'a self, old: &'a Self) -> impl Iterator<Item = Key> + 'a {
        self.statics.keys().copied().filter(|key| !old.statics.contains_key(key))
    }
}

impl VsiRow {
    fn new(plan: &VsiPlan<'_>, ports: &[PortPlan<'_>]) -> Self {
        let VsiEntry { port, policy, .. } = plan.entry;
        let mirror = policy.mirror.as_ref().and_then(|mirror| match &mirror.to {
            MirrorTo::Capture(id) => Some(MirrorTarget::Capture(*id)),
            MirrorTo::Port(name) => {
                let named = ports.iter().map(|plan| plan.config).find(|config| config.name == *name)?;
                (named.up && named.id != *port).then_some(MirrorTarget::Port(named.id))
            }
        });
        Self {
            key: plan.key,
            port: *port,
            policy: Arc::clone(policy),
            ingress: policy.ingress_rate.map(Fill::octets),
            egress: policy.egress_rate.map(Fill::octets),
            mirror,
            state: Arc::clone(plan.state),
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

/// One multiplication; the keys are not an attacker's to choose.
#[derive(Default)]
pub(crate) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, n: u64) {
        let product = (self.0 ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ (product >> 32);
    }
}
