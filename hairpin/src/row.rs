//! A port as workers read it: what is configured, and what the VSIs behind it add.

use ether::{Framing, Pcp, PrioritySet, Vid};

use crate::{
    bucket::Fill,
    control::VsiFilter,
    extend::Extension,
    policy::GroupFilter,
    port::{PortId, Role, Storm, VidSet},
    snapshot::{EdgeMode, PortPlan, RelayKind, VsiPlan},
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
    /// Its VSIs, in order of opening.
    vsis: Box<[u32]>,
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
    edited: u64,
    /// What VSIs have in each VLAN, by VLAN.
    vlans: Box<[RowVlan]>,
    /// The last three octets of VSIs' addresses, ordered: of which solicited-node groups are made.
    solicited: Box<[u32]>,
}

/// What the VSIs of a port have in one VLAN.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowVlan {
    vid: Vid,
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

impl Row {
    /// `filters` are those of the port's VSIs, each with its VSI; `all` has the VLANs of all VSIs of the relay.
    pub(crate) fn new(
        kind: RelayKind,
        limits: &Limits,
        plan: &PortPlan<'_>,
        filters: &[(u32, &VsiFilter)],
        vsis: &[VsiPlan<'_>],
        all: &VidSet,
    ) -> Self {
        let config = plan.config;
        let downlink = config.role == Role::Downlink;
        let passthru = kind == RelayKind::Edge(EdgeMode::Passthru);
        let one_way = passthru || kind == RelayKind::Edge(EdgeMode::Direct);
        let vlans = vlans(filters);
        let single = vlans.first().map(|vlan| vlan.vid).filter(|_| downlink && vlans.len() == 1);
        let wild = || filters.iter().filter(|(_, filter)| filter.mac.is_none());
        let mut members: VidSet = config.untagged.iter().chain(&config.tagged).copied().collect();
        match config.role {
            Role::Uplink => members.extend(all),
            _ => vlans.iter().for_each(|vlan| members.insert(vlan.vid)),
        }
        let mut mine: Vec<u32> = filters.iter().map(|(vsi, _)| *vsi).collect();
        mine.dedup();
        let policy =
            |vsi: &u32| usize::try_from(*vsi).ok().and_then(|at| vsis.get(at)).map(|vsi| &vsi.entry.policy);
        let alone = match mine.as_slice() {
            [only] if downlink => Some(*only),
            _ => None,
        };
        let mut wild_vsis: Vec<u32> = wild().map(|(vsi, _)| *vsi).collect();
        wild_vsis.dedup();
        let share = |vsi: &u32| match policy(vsi).and_then(|policy| policy.max_macs) {
            Some(most) => most,
            None if downlink => limits.downlink_addresses,
            None => u32::MAX,
        };
        let guard = config.guard || downlink && !passthru;
        let bounded = downlink || guard && !wild_vsis.is_empty();
        let bound = if bounded { wild_vsis.iter().map(share).fold(0, u32::saturating_add) } else { u32::MAX };
        let mut solicited: Vec<u32> = filters
            .iter()
            .filter_map(|(_, filter)| filter.mac)
            .map(|mac| u32::from_be_bytes([0, mac.3, mac.4, mac.5]))
            .collect();
        solicited.sort_unstable();
        solicited.dedup();
        Self {
            id: config.id,
            role: config.role,
            up: config.up || plan.lag.is_some_and(|lag| lag.up),
            reflective: config.reflective,
            guard,
            open: !downlink || !filters.is_empty(),
            takes_over: config.takes_over,
            pvid: single.or(config.pvid),
            members,
            untagged: single.iter().chain(&config.untagged).copied().collect(),
            // Nothing needs to be learnt where everything goes one way.
            anyone: wild().filter(|_| !(downlink && one_way)).map(|(_, filter)| filter.vid).collect(),
            bound,
            storm: StormFills::new(&config.storm).map(Box::new),
            lossless: config.lossless,
            alone,
            all_groups: downlink && one_way
                || mine.iter().filter_map(policy).any(|policy| policy.groups == GroupFilter::All),
            extension: config.extension.clone(),
            framing: config.framing,
            lag: plan.lag.map(|lag| lag.anchor),
            epoch: plan.epoch,
            open_epoch: plan.open_epoch,
            edited: plan.edited,
            vsis: mine.into(),
            vlans,
            solicited: solicited.into(),
        }
    }

    /// Whether it is what would be made of these; an uplink's depends on more.
    pub(crate) fn is_of(&self, plan: &PortPlan<'_>, filters: &[(u32, &VsiFilter)]) -> bool {
        let vsis = filters.chunk_by(|(a, _), (b, _)| a == b).flat_map(<[_]>::first).map(|(vsi, _)| vsi);
        self.role != Role::Uplink && self.edited == plan.edited && vsis.eq(&self.vsis)
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

/// What `filters`, in order of opening, have in each VLAN.
fn vlans(filters: &[(u32, &VsiFilter)]) -> Box<[RowVlan]> {
    let mut order: Vec<&(u32, &VsiFilter)> = filters.iter().collect();
    order.sort_by_key(|(_, filter)| filter.vid);
    let mut vlans: Vec<RowVlan> = Vec::new();
    for group in order.chunk_by(|(_, a), (_, b)| a.vid == b.vid) {
        let Some((first, filter)) = group.first() else { continue };
        let wild = group.iter().rfind(|(_, filter)| filter.mac.is_none());
        vlans.push(RowVlan {
            vid: filter.vid,
            wild: wild.map(|(vsi, _)| *vsi),
            pcp: wild.and_then(|(_, filter)| filter.pcp).unwrap_or_default(),
            sole: group.iter().all(|(vsi, _)| vsi == first).then_some(*first),
        });
    }
    vlans.into()
}
