//! The relay once more, slow and obvious: no tables, only the configuration as the administrator sees it, loops over
//! all ports, and maps of what was learnt and heard. What [`hairpin`] decides is compared with this.

mod decide;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ether::{EtherType, Instant, MacAddr, Pcp, Tag, Vid};
use hairpin::{
    Copy, Direction, DropReason, EdgeMode, FdbEntry, Frame, Limits, MirrorCopy, MirrorTarget, Origin,
    Outcome, PortConfig, PortId, PuntReason, RelayKind, Role, VsiEntry, VsiKey,
    policy::{GroupFilter, MirrorTo, PcpRule},
};

use crate::{
    listeners::Listeners,
    packets::{Packet, What},
    policy::{self, Bucket},
};

pub(crate) struct Reference {
    pub(crate) kind: RelayKind,
    pub(crate) limits: Limits,
    pub(crate) ports: BTreeMap<PortId, PortConfig>,
    /// In the order of opening.
    pub(crate) vsis: Vec<Vsi>,
    pub(crate) learnt: HashMap<(MacAddr, Vid), Learnt>,
    pub(crate) tally: BTreeMap<PortId, Tally>,
    listeners: Listeners,
    /// Of broadcast, multicast, unknown.
    storms: BTreeMap<(PortId, u8), Bucket>,
    /// The VSI the frame at hand came from.
    from: Option<VsiKey>,
    mirrors: Vec<MirrorCopy>,
}

#[derive(Clone, Debug)]
pub(crate) struct Vsi {
    pub(crate) key: VsiKey,
    entry: VsiEntry,
    pub(crate) rx: (u64, u64),
    pub(crate) tx: (u64, u64),
    pub(crate) drops: BTreeMap<DropReason, u64>,
    ingress: Bucket,
    egress: Bucket,
    pub(crate) taken: Option<PortId>,
    pub(crate) taken_over: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Learnt {
    port: PortId,
    seen: Instant,
    /// Moves in the window or hold that began then, in seconds.
    moves: u8,
    began: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) rx_frames: u64,
    pub(crate) rx_bytes: u64,
    pub(crate) forwarded: u64,
    pub(crate) punted: u64,
    pub(crate) drops: BTreeMap<DropReason, u64>,
    pub(crate) reflected: u64,
    pub(crate) echoes: u64,
    pub(crate) moves: u64,
    pub(crate) held: u64,
    pub(crate) withheld: u64,
}

/// The fate of a frame: copies in the order of ports, and mirrored ones in the order of VSIs.
pub(crate) type Fate = (Outcome, Vec<Copy>, Vec<MirrorCopy>);

impl Reference {
    pub(crate) fn new(kind: RelayKind, limits: Limits) -> Self {
        Self {
            kind,
            limits,
            ports: BTreeMap::new(),
            vsis: Vec::new(),
            learnt: HashMap::new(),
            tally: BTreeMap::new(),
            listeners: Listeners::default(),
            storms: BTreeMap::new(),
            from: None,
            mirrors: Vec::new(),
        }
    }

    pub(crate) fn set_port(&mut self, config: PortConfig) {
        if config.up && !self.ports.get(&config.id).is_some_and(|old| old.up) {
            self.listeners.opened(config.id);
        }
        self.ports.insert(config.id, config);
        self.forget();
    }

    pub(crate) fn remove_port(&mut self, id: PortId) {
        self.ports.remove(&id);
        self.vsis.retain(|vsi| vsi.entry.port != id);
        self.listeners.forget(id);
        self.forget();
    }

    pub(crate) fn open_vsi(&mut self, key: VsiKey, entry: VsiEntry) {
        let mut state = Vsi {
            key,
            entry: entry.clone(),
            rx: (0, 0),
            tx: (0, 0),
            drops: BTreeMap::new(),
            ingress: Bucket::default(),
            egress: Bucket::default(),
            taken: None,
            taken_over: 0,
        };
        if let Some(old) = self.vsis.iter_mut().find(|old| old.key == key) {
            if old.entry.port == entry.port && old.entry.filters == entry.filters {
                old.entry = entry.clone();
                self.listeners.opened(entry.port);
                return self.forget();
            }
            state = Vsi { entry: entry.clone(), taken: None, ..old.clone() };
            self.close_vsi(key);
        }
        self.vsis.push(state);
        self.listeners.opened(entry.port);
        self.forget();
    }

    pub(crate) fn close_vsi(&mut self, key: VsiKey) {
        let Some(at) = self.vsis.iter().position(|vsi| vsi.key == key) else { return };
        let port = self.vsis.remove(at).entry.port;
        self.learnt.retain(|_, learnt| learnt.port != port);
        self.listeners.forget(port);
        self.forget();
    }

    pub(crate) fn set_mode(&mut self, mode: EdgeMode) {
        self.kind = RelayKind::Edge(mode);
        self.forget();
    }

    pub(crate) fn sweep(&mut self, now: Instant) {
        let ageing = self.limits.fdb_ageing;
        self.learnt.retain(|_, learnt| seconds(now) - seconds(learnt.seen) < ageing);
    }

    /// What is learnt stays only where it could be learnt again.
    fn forget(&mut self) {
        let mut learnt = std::mem::take(&mut self.learnt);
        learnt.retain(|(mac, vid), learnt| {
            self.may_learn(learnt.port, *vid) && self.owner(*mac, *vid).is_none()
        });
        self.learnt = learnt;
    }

    fn vsi_vids(&self, port: PortId) -> BTreeSet<Vid> {
        let uplink = self.ports[&port].role == Role::Uplink;
        let here = self.vsis.iter().filter(|vsi| uplink || vsi.entry.port == port);
        here.flat_map(|vsi| &vsi.entry.filters).map(|filter| filter.vid).collect()
    }

    fn member(&self, port: PortId, vid: Vid) -> bool {
        let config = &self.ports[&port];
        self.vsi_vids(port).contains(&vid) || config.tagged.contains(&vid) || config.untagged.contains(&vid)
    }

    fn pvid(&self, port: PortId) -> Option<Vid> {
        match self.ports[&port].role {
            Role::Downlink if self.vsi_vids(port).len() == 1 => self.vsi_vids(port).first().copied(),
            Role::Downlink => None,
            _ => self.ports[&port].pvid,
        }
    }

    fn sends_untagged(&self, port: PortId, vid: Vid) -> bool {
        match self.ports[&port].role {
            Role::Downlink => self.vsi_vids(port).len() == 1,
            _ => self.ports[&port].untagged.contains(&vid),
        }
    }

    /// The VSI that names the address.
    fn owner(&self, mac: MacAddr, vid: Vid) -> Option<&Vsi> {
        let mut owner = None;
        for vsi in &self.vsis {
            for filter in &vsi.entry.filters {
                if filter.mac == Some(mac) && filter.vid == vid {
                    owner = Some(vsi);
                }
            }
        }
        owner
    }

    fn vsis_on(&self, port: PortId) -> Vec<&Vsi> {
        self.vsis.iter().filter(|vsi| vsi.entry.port == port).collect()
    }

    /// The VSI on the port that admits any address in the VLAN; of several the one opened last.
    fn wild(&self, port: PortId, vid: Vid) -> Option<&Vsi> {
        let any =
            |vsi: &&Vsi| vsi.entry.filters.iter().any(|filter| filter.mac.is_none() && filter.vid == vid);
        self.vsis_on(port).into_iter().rfind(any)
    }

    /// The VSI on the port that is in the VLAN, if there is only one.
    fn sole(&self, port: PortId, vid: Vid) -> Option<&Vsi> {
        let mut here = self.vsis_on(port);
        here.retain(|vsi| vsi.entry.filters.iter().any(|filter| filter.vid == vid));
        if here.len() == 1 { here.first().copied() } else { None }
    }

    /// The only VSI of a downlink.
    fn alone(&self, port: PortId) -> Option<VsiKey> {
        match self.vsis_on(port).as_slice() {
            [only] if self.ports[&port].role == Role::Downlink => Some(only.key),
            _ => None,
        }
    }

    fn one_way(&self) -> bool {
        matches!(self.kind, RelayKind::Edge(EdgeMode::Passthru | EdgeMode::Direct))
    }

    /// How many addresses the port may have learnt: what each of its VSIs that names none may.
    fn share(&self, port: PortId) -> usize {
        let config = &self.ports[&port];
        let mut wild = self.vsis_on(port);
        wild.retain(|vsi| vsi.entry.filters.iter().any(|filter| filter.mac.is_none()));
        let default = match config.role {
            Role::Downlink => self.limits.downlink_addresses,
            Role::Bridge if config.guard && !wild.is_empty() => u32::MAX,
            _ => return usize::MAX,
        };
        wild.iter().map(|vsi| vsi.entry.policy.max_macs.unwrap_or(default) as usize).sum()
    }

    fn may_learn(&self, port: PortId, vid: Vid) -> bool {
        match self.ports.get(&port) {
            Some(config) if config.up && self.member(port, vid) => match config.role {
                Role::Bridge => true,
                Role::Downlink => self.wild(port, vid).is_some() && !self.one_way(),
                _ => false,
            },
            _ => false,
        }
    }

    fn where_learnt(&self, mac: MacAddr, vid: Vid, now: Instant) -> Option<PortId> {
        let learnt = self.learnt.get(&(mac, vid))?;
        (seconds(now) - seconds(learnt.seen) < self.limits.fdb_ageing).then_some(learnt.port)
    }

    fn untagged_pcp(&self, port: PortId, mac: MacAddr, vid: Vid) -> Pcp {
        let mut by_mac = None;
        let mut by_vid = None;
        for vsi in self.vsis_on(port) {
            for filter in vsi.entry.filters.iter().filter(|filter| filter.vid == vid) {
                match filter.mac {
                    Some(named) if named == mac => by_mac = Some(filter.pcp.unwrap_or_default()),
                    None if self.ports[&port].role != Role::Uplink => {
                        by_vid = Some(filter.pcp.unwrap_or_default());
                    }
                    _ => {}
                }
            }
        }
        // Another VSI may have the address now.
        let mine = self.owner(mac, vid).is_some_and(|owner| owner.entry.port == port);
        by_mac.filter(|_| mine).or(by_vid).unwrap_or_default()
    }

    /// Whether no rate may drop a frame of this priority that has to do with the port.
    fn lossless(&self, port: PortId, pcp: Pcp) -> bool {
        let about = |(id, config): (&PortId, &PortConfig)| *id == port || config.role == Role::Uplink;
        self.ports.iter().any(|(id, config)| about((id, config)) && config.lossless.contains(pcp))
    }

    fn vsi_mut(&mut self, key: VsiKey) -> &mut Vsi {
        self.vsis.iter_mut().find(|vsi| vsi.key == key).unwrap()
    }

    fn mirror(&mut self, vsi: &Vsi, direction: Direction, tag: Tag) {
        let Some(mirror) = &vsi.entry.policy.mirror else { return };
        let wanted = match direction {
            Direction::Ingress => mirror.ingress,
            Direction::Egress => mirror.egress,
        };
        let to = match &mirror.to {
            MirrorTo::Capture(id) => MirrorTarget::Capture(*id),
            MirrorTo::Port(name) => match self.ports.values().find(|port| port.name == *name) {
                Some(port) if port.up && port.id != vsi.entry.port => MirrorTarget::Port(port.id),
                _ => return,
            },
        };
        if wanted {
            self.mirrors.push(MirrorCopy { to, tag, via: None, vsi: vsi.key, direction });
        }
    }

    fn learn(&mut self, now: Instant, ingress: PortId, src: MacAddr, vid: Vid) -> Result<(), DropReason> {
        let fresh = self.where_learnt(src, vid, now);
        let held = self.learnt.values().filter(|learnt| learnt.port == ingress).count();
        let share = self.share(ingress);
        let Limits { flap_moves, flap_window, flap_hold, .. } = self.limits;
        let tally = self.tally.entry(ingress).or_default();
        let at = seconds(now);
        let (mut moves, mut began) = (0, 0);
        if let Some(old) = self.learnt.get_mut(&(src, vid)) {
            if old.port == ingress {
                old.seen = now;
                return Ok(());
            }
            if fresh.is_some() {
                let lasts = if old.moves > flap_moves { flap_hold } else { flap_window };
                if old.moves > 0 && at - old.began < lasts {
                    if old.moves == flap_moves {
                        (old.moves, old.began) = (flap_moves + 1, at);
                    }
                    if old.moves > flap_moves {
                        tally.held += 1;
                        return Ok(());
                    }
                    (moves, began) = (old.moves + 1, old.began);
                } else {
                    (moves, began) = (1, at);
                }
            }
        }
        if held >= share {
            return Err(DropReason::LearnLimit);
        }
        if fresh.is_some() {
            tally.moves += 1;
        }
        self.learnt.insert((src, vid), Learnt { port: ingress, seen: now, moves, began });
        Ok(())
    }

    /// Whether some VSI there has every group.
    fn gets_all_groups(&self, port: PortId) -> bool {
        self.ports[&port].role == Role::Downlink && self.one_way()
            || self.vsis_on(port).iter().any(|vsi| vsi.entry.policy.groups == GroupFilter::All)
    }

    /// Whether an address made of a MAC address of a VSI there has this solicited-node group.
    fn solicits(&self, port: PortId, dst: MacAddr) -> bool {
        let MacAddr(0x33, 0x33, 0xff, a, b, c) = dst else { return false };
        let mut filters = self.vsis_on(port).into_iter().flat_map(|vsi| &vsi.entry.filters);
        filters.any(|filter| filter.mac.is_some_and(|mac| mac.octets()[3..] == [a, b, c]))
    }

    /// All known addresses, ordered.
    pub(crate) fn fdb(&self, now: Instant) -> Vec<FdbEntry> {
        let mut entries = Vec::new();
        for (&(mac, vid), learnt) in &self.learnt {
            let age = seconds(now) - seconds(learnt.seen);
            if age < self.limits.fdb_ageing {
                let (port, moves) = (learnt.port, learnt.moves);
                entries.push(FdbEntry { mac, vid, port, age, origin: Origin::Learned, moves });
            }
        }
        let named: BTreeSet<_> = self
            .vsis
            .iter()
            .flat_map(|vsi| &vsi.entry.filters)
            .filter_map(|filter| Some((filter.mac?, filter.vid)))
            .collect();
        for (mac, vid) in named {
            let port = self.owner(mac, vid).unwrap().entry.port;
            entries.push(FdbEntry { mac, vid, port, age: 0, origin: Origin::Static, moves: 0 });
        }
        entries.sort_unstable_by_key(|entry| (entry.mac, entry.vid));
        entries
    }
}

/// Whole seconds.
fn seconds(at: Instant) -> u32 {
    u32::try_from(at.as_micros() / 1_000_000).unwrap()
}
