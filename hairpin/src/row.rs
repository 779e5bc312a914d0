//! A port as workers read it: what is configured, and what the VSIs behind it add.

use ether::{Framing, Pcp, PrioritySet, Vid};

use crate::{
    bucket::Fill,
    extend::Extension,
    port::{PortConfig, PortId, Role, Storm, VidSet},
    snapshot::{EdgeMode, RelayKind},
    snoop::{Family, Group},
    switch::Limits,
};

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
    /// Takes VSIs' addresses over.
    pub(crate) takes_over: bool,
    /// VLAN of frames without one.
    pub(crate) pvid: Option<Vid>,
    pub(crate) members: VidSet,
    pub(crate) untagged: VidSet,
    /// VLANs in which addresses are learnt for VSIs that name none.
    pub(crate) anyone: VidSet,
    /// Addresses learnt at most.
    pub(crate) bound: u32,
    /// Limits on flooding, if there are any.
    pub(crate) storm: Option<Box<StormFills>>,
    /// Priorities that no rate drops from or to here.
    pub(crate) lossless: PrioritySet,
    /// The only VSI of a downlink.
    pub(crate) alone: Option<u32>,
    /// Gets every group.
    pub(crate) all_groups: bool,
    pub(crate) extension: Option<Extension>,
    pub(crate) framing: Framing,
    /// The anchor of the LAG it is a member of.
    pub(crate) lag: Option<PortId>,
    pub(crate) epoch: u64,
    pub(crate) open_epoch: u32,
    /// What VSIs have in each VLAN, by VLAN.
    vlans: Box<[RowVlan]>,
    /// The last three octets of VSIs' addresses, ordered: of which solicited-node groups are made.
    solicited: Box<[u32]>,
}

/// What the VSIs of a port have in one VLAN.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowVlan {
    pub(crate) vid: Vid,
    /// The VSI opened last that names no address.
    pub(crate) wild: Option<u32>,
    /// Priority of its untagged frames.
    pub(crate) pcp: Pcp,
    /// The VSI, if it is the only one.
    pub(crate) sole: Option<u32>,
}

/// [`Storm`], ready for use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StormFills {
    pub(crate) broadcast: Option<Fill>,
    pub(crate) multicast: Option<Fill>,
    pub(crate) unknown: Option<Fill>,
}

/// What a port's row is made of.
pub(crate) struct Plan<'a> {
    pub(crate) kind: RelayKind,
    pub(crate) limits: &'a Limits,
    pub(crate) config: &'a PortConfig,
    /// When what was learnt here last became doubtful.
    pub(crate) epoch: u64,
    /// When the last VSI was opened here, or the port came up.
    pub(crate) open_epoch: u32,
    pub(crate) lag: Option<LagPlan>,
    pub(crate) vsis: Behind,
    /// Of an uplink: the VLANs of all VSIs of the relay.
    pub(crate) all: &'a VidSet,
}

/// What the VSIs of a port come to.
#[derive(Debug, Default)]
pub(crate) struct Behind {
    /// The VSI, if there is only one.
    pub(crate) alone: Option<u32>,
    pub(crate) vlans: Box<[RowVlan]>,
    /// Of each VSI that names no address, how many its profile lets it have.
    pub(crate) unnamed: Vec<Option<u32>>,
    /// The last three octets of addresses, ordered; some may be there more than once.
    pub(crate) solicited: Box<[u32]>,
    /// Some VSI wants every group.
    pub(crate) all_groups: bool,
}

/// The LAG a port is a member of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LagPlan {
    pub(crate) anchor: PortId,
    /// The port is the anchor, and another member is up.
    pub(crate) up: bool,
}

impl Row {
    pub(crate) fn new(plan: Plan<'_>) -> Self {
        let Plan {
            kind, limits, config, vsis: Behind { alone, vlans, unnamed, solicited, all_groups }, ..
        } = plan;
        let downlink = config.role == Role::Downlink;
        let passthru = kind == RelayKind::Edge(EdgeMode::Passthru);
        let one_way = passthru || kind == RelayKind::Edge(EdgeMode::Direct);
        let single = vlans.first().map(|vlan| vlan.vid).filter(|_| downlink && vlans.len() == 1);
        let mut members: VidSet = config.untagged.iter().chain(&config.tagged).copied().collect();
        match config.role {
            Role::Uplink => members.extend(plan.all),
            _ => vlans.iter().for_each(|vlan| members.insert(vlan.vid)),
        }
        let guard = config.guard || downlink && !passthru;
        let share =
            |most: &Option<u32>| most.unwrap_or(if downlink { limits.downlink_addresses } else { u32::MAX });
        let bounded = downlink || guard && !unnamed.is_empty();
        let bound = if bounded { unnamed.iter().map(share).fold(0, u32::saturating_add) } else { u32::MAX };
        let anyone = vlans.iter().filter(|vlan| vlan.wild.is_some() && !(downlink && one_way));
        Self {
            id: config.id,
            role: config.role,
            up: config.up || plan.lag.is_some_and(|lag| lag.up),
            reflective: config.reflective,
            guard,
            open: !downlink || !vlans.is_empty(),
            takes_over: config.takes_over,
            pvid: single.or(config.pvid),
            members,
            untagged: single.iter().chain(&config.untagged).copied().collect(),
            // Nothing needs to be learnt where everything goes one way.
            anyone: anyone.map(|vlan| vlan.vid).collect(),
            bound,
            storm: StormFills::new(&config.storm).map(Box::new),
            lossless: config.lossless,
            alone: alone.filter(|_| downlink),
            all_groups: downlink && one_way || all_groups,
            extension: config.extension.clone(),
            framing: config.framing,
            lag: plan.lag.map(|lag| lag.anchor),
            epoch: plan.epoch,
            open_epoch: plan.open_epoch,
            vlans,
            solicited,
        }
    }

    /// As what it gets floods of `vid`, if it does, and whether also those for stations nobody knows the port of.
    pub(crate) fn floods(&self, kind: RelayKind, vid: Vid) -> Option<(Role, bool)> {
        let floods =
            self.up && kind != RelayKind::Extender && self.is_bridge_port() && self.members.contains(vid);
        floods.then(|| (self.role, self.role != Role::Downlink || self.anyone.contains(vid)))
    }

    /// Whether it is a port of its own, or the one that stands for its LAG.
    pub(crate) fn is_bridge_port(&self) -> bool {
        self.lag.is_none_or(|anchor| anchor == self.id)
    }

    /// What VSIs have in `vid`.
    pub(crate) fn vlan(&self, vid: Vid) -> Option<&RowVlan> {
        match &*self.vlans {
            [only] => Some(only).filter(|only| only.vid == vid),
            vlans => vlans.binary_search_by_key(&vid, |vlan| vlan.vid).ok().and_then(|at| vlans.get(at)),
        }
    }

    /// Whether the group is the solicited-node group of an address made of a VSI's.
    pub(crate) fn solicits(&self, group: Group) -> bool {
        group.family == Family::V6
            && group.bits >> 24 == 0xff
            && self.solicited.binary_search(&(group.bits & 0xff_ffff)).is_ok()
    }

    /// Whether whatever could be learnt on the port as `old` may stay.
    pub(crate) fn keeps(&self, old: &Self) -> bool {
        self.epoch == old.epoch
            && (self.up || !old.up)
            && self.role == old.role
            && self.lag == old.lag
            && self.members.contains_all(&old.members)
            && (self.role != Role::Downlink || self.anyone.contains_all(&old.anyone))
    }
}

impl StormFills {
    fn new(storm: &Storm) -> Option<Self> {
        let Storm { broadcast, multicast, unknown } = *storm;
        let fill = |limit: Option<u32>| limit.map(Fill::frames);
        (*storm != Storm::default()).then(|| Self {
            broadcast: fill(broadcast),
            multicast: fill(multicast),
            unknown: fill(unknown),
        })
    }
}
