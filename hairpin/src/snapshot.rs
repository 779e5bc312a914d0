//! What workers read: the relay's configuration compiled into tables, never changed once built [Q 8.8].

use std::{
    collections::{BTreeSet, HashMap},
    hash::{BuildHasherDefault, Hasher},
};

use ether::{MacAddr, Pcp, Vid};
use serde::{Deserialize, Serialize};

use crate::{
    control::{VsiEntry, VsiFilter},
    fdb::{FdbEntry, Key, Origin},
    port::{PortConfig, PortId, Role, VidSet},
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
}

/// Which relay this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RelayKind {
    /// A C-VLAN bridge; all ports are [`Role::Bridge`].
    Bridge,
    /// An edge relay; at most one [`Role::Uplink`], the rest [`Role::Downlink`].
    Edge(EdgeMode),
}

/// The relay's configuration at one moment. The default is a bridge without ports.
#[derive(Clone, Debug)]
pub struct Snapshot {
    kind: RelayKind,
    /// By port number.
    rows: Box<[Option<Row>]>,
    /// By VID: the ports that are up and members.
    members: Box<[Box<[Member]>]>,
    statics: HashMap<Key, Static, BuildHasherDefault<KeyHasher>>,
}

/// A port as the relay needs it.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) id: PortId,
    pub(crate) role: Role,
    pub(crate) up: bool,
    pub(crate) reflective: bool,
    /// Sources are limited to what VSIs name.
    pub(crate) guard: bool,
    /// At least one VSI is open, or the port needs none.
    pub(crate) open: bool,
    /// VLAN of frames without one.
    pub(crate) pvid: Option<Vid>,
    /// Priority of untagged frames whose source no VSI names.
    pub(crate) pcp: Pcp,
    pub(crate) members: VidSet,
    pub(crate) untagged: VidSet,
    /// VLANs in which a VSI of the port names no address.
    pub(crate) anyone: VidSet,
    epoch: u64,
}

/// A port to flood to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    pub(crate) port: PortId,
    pub(crate) role: Role,
    /// A downlink whose addresses in this VLAN are not all known.
    pub(crate) learns: bool,
}

/// An address a VSI names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Static {
    pub(crate) port: PortId,
    /// Priority of untagged frames from it.
    pub(crate) pcp: Pcp,
}

/// A port as control hands it in.
pub(crate) struct PortPlan<'a> {
    pub(crate) config: &'a PortConfig,
    pub(crate) epoch: u64,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self::build(RelayKind::Bridge, [], &[])
    }
}

impl Snapshot {
    /// Compiles ports and `vsis`, the VSI opened last at the end.
    pub(crate) fn build<'a>(
        kind: RelayKind,
        ports: impl IntoIterator<Item = PortPlan<'a>>,
        vsis: &[&VsiEntry],
    ) -> Self {
        let mut rows: Vec<Option<Row>> = Vec::new();
        let mut members: Vec<Vec<Member>> = vec![Vec::new(); Vid::TABLE];
        for PortPlan { config, epoch } in ports {
            let filters: Vec<&VsiFilter> = match config.role {
                Role::Uplink => vsis.iter().flat_map(|vsi| &vsi.filters).collect(),
                Role::Downlink | Role::Bridge => {
                    vsis.iter().filter(|vsi| vsi.port == config.id).flat_map(|vsi| &vsi.filters).collect()
                }
            };
            let mut vids: BTreeSet<Vid> = filters.iter().map(|filter| filter.vid).collect();
            let row = Row::new(kind, config, epoch, &filters, &vids);
            vids.extend(config.tagged.iter().chain(&config.untagged));
            for vid in vids.into_iter().filter(|_| row.up) {
                if let Some(list) = members.get_mut(vid.index()) {
                    let learns = row.role == Role::Downlink && row.anyone.contains(vid);
                    list.push(Member { port: row.id, role: row.role, learns });
                }
            }
            rows.resize(rows.len().max(row.id.index() + 1), None);
            if let Some(slot) = rows.get_mut(config.id.index()) {
                *slot = Some(row);
            }
        }
        let mut statics = HashMap::default();
        for vsi in vsis {
            for VsiFilter { mac, vid, pcp } in &vsi.filters {
                if let Some(mac) = mac {
                    let entry = Static { port: vsi.port, pcp: pcp.unwrap_or_default() };
                    statics.insert(Key::new(*mac, *vid), entry);
                }
            }
        }
        Self {
            kind,
            rows: rows.into(),
            members: members.into_iter().map(Vec::into_boxed_slice).collect(),
            statics,
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
            FdbEntry { mac, vid, port: entry.port, age: 0, origin: Origin::Static }
        })
    }

    pub(crate) fn row(&self, port: PortId) -> Option<&Row> {
        self.rows.get(port.index())?.as_ref()
    }

    /// The ports that are up and members of `vid`.
    pub(crate) fn members(&self, vid: Vid) -> &[Member] {
        self.members.get(vid.index()).map_or(&[], |list| list)
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
                && row.members.contains(vid)
                && match row.role {
                    Role::Bridge => true,
                    Role::Downlink => row.anyone.contains(vid),
                    Role::Uplink => false,
                }
        })
    }

    /// Whether what was learnt on `port` under `old` still holds.
    pub(crate) fn continues(&self, old: &Self, port: PortId) -> bool {
        self.row(port).map(|row| row.epoch) == old.row(port).map(|row| row.epoch)
    }
}

impl Row {
    /// `filters` and their VLANs are what VSIs add to the port.
    fn new(
        kind: RelayKind,
        config: &PortConfig,
        epoch: u64,
        filters: &[&VsiFilter],
        vids: &BTreeSet<Vid>,
    ) -> Self {
        let downlink = config.role == Role::Downlink;
        let passthru = kind == RelayKind::Edge(EdgeMode::Passthru);
        let single = vids.first().copied().filter(|_| downlink && vids.len() == 1);
        let anyone = || filters.iter().filter(|filter| filter.mac.is_none());
        Self {
            id: config.id,
            role: config.role,
            up: config.up,
            reflective: config.reflective,
            guard: config.guard || downlink && !passthru,
            open: !downlink || !filters.is_empty(),
            pvid: single.or(config.pvid),
            pcp: anyone().next_back().filter(|_| downlink).and_then(|filter| filter.pcp).unwrap_or_default(),
            members: vids.iter().chain(&config.untagged).chain(&config.tagged).copied().collect(),
            untagged: single.iter().chain(&config.untagged).copied().collect(),
            // Nothing needs to be learnt where everything goes one way.
            anyone: anyone().filter(|_| !passthru).map(|filter| filter.vid).collect(),
            epoch,
        }
    }
}

/// One multiplication; the keys are not an attacker's to choose.
#[derive(Default)]
struct KeyHasher(u64);

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
