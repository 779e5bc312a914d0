//! The relay once more, slow and obvious: no tables, only the configuration as the administrator sees it, loops over
//! all ports, and a map of learnt addresses. What [`hairpin`] decides is compared with this.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ether::{EtherType, Instant, MacAddr, Pcp, Tag, Vid};
use hairpin::{
    Copy, DropReason, EdgeMode, FdbEntry, Frame, Limits, Origin, Outcome, PortConfig, PortId, PuntReason,
    RelayKind, Role, VsiEntry, VsiKey,
};

pub(crate) struct Reference {
    pub(crate) kind: RelayKind,
    pub(crate) limits: Limits,
    pub(crate) ports: BTreeMap<PortId, PortConfig>,
    /// In the order of opening.
    pub(crate) vsis: Vec<(VsiKey, VsiEntry)>,
    pub(crate) learnt: HashMap<(MacAddr, Vid), (PortId, Instant)>,
    pub(crate) tally: BTreeMap<PortId, Tally>,
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
}

impl Reference {
    pub(crate) fn new(kind: RelayKind, limits: Limits) -> Self {
        Self {
            kind,
            limits,
            ports: BTreeMap::new(),
            vsis: Vec::new(),
            learnt: HashMap::new(),
            tally: BTreeMap::new(),
        }
    }

    pub(crate) fn set_port(&mut self, config: PortConfig) {
        self.ports.insert(config.id, config);
        self.forget();
    }

    pub(crate) fn remove_port(&mut self, id: PortId) {
        self.ports.remove(&id);
        self.vsis.retain(|(_, vsi)| vsi.port != id);
        self.forget();
    }

    pub(crate) fn open_vsi(&mut self, key: VsiKey, entry: VsiEntry) {
        if self.vsis.iter().any(|(other, old)| *other == key && *old != entry) {
            self.close_vsi(key);
        }
        self.vsis.retain(|(other, _)| *other != key);
        self.vsis.push((key, entry));
        self.forget();
    }

    pub(crate) fn close_vsi(&mut self, key: VsiKey) {
        let Some(at) = self.vsis.iter().position(|(other, _)| *other == key) else { return };
        let (_, vsi) = self.vsis.remove(at);
        self.learnt.retain(|_, (port, _)| *port != vsi.port);
        self.forget();
    }

    pub(crate) fn set_mode(&mut self, mode: EdgeMode) {
        self.kind = RelayKind::Edge(mode);
        self.forget();
    }

    pub(crate) fn sweep(&mut self, now: Instant) {
        let mut learnt = std::mem::take(&mut self.learnt);
        learnt.retain(|_, (_, seen)| self.age(now, *seen) < self.limits.fdb_ageing);
        self.learnt = learnt;
    }

    /// What is learnt stays only where it could be learnt again.
    fn forget(&mut self) {
        let mut learnt = std::mem::take(&mut self.learnt);
        learnt
            .retain(|(mac, vid), (port, _)| self.may_learn(*port, *vid) && self.owner(*mac, *vid).is_none());
        self.learnt = learnt;
    }

    fn vsi_vids(&self, port: PortId) -> BTreeSet<Vid> {
        let uplink = self.ports[&port].role == Role::Uplink;
        let here = self.vsis.iter().filter(|(_, vsi)| uplink || vsi.port == port);
        here.flat_map(|(_, vsi)| &vsi.filters).map(|filter| filter.vid).collect()
    }

    fn member(&self, port: PortId, vid: Vid) -> bool {
        let config = &self.ports[&port];
        self.vsi_vids(port).contains(&vid) || config.tagged.contains(&vid) || config.untagged.contains(&vid)
    }

    fn pvid(&self, port: PortId) -> Option<Vid> {
        match self.ports[&port].role {
            Role::Downlink if self.vsi_vids(port).len() == 1 => self.vsi_vids(port).first().copied(),
            Role::Downlink => None,
            Role::Uplink | Role::Bridge => self.ports[&port].pvid,
        }
    }

    fn sends_untagged(&self, port: PortId, vid: Vid) -> bool {
        match self.ports[&port].role {
            Role::Downlink => self.vsi_vids(port).len() == 1,
            Role::Uplink | Role::Bridge => self.ports[&port].untagged.contains(&vid),
        }
    }

    /// The port whose VSI names the address.
    fn owner(&self, mac: MacAddr, vid: Vid) -> Option<PortId> {
        let mut owner = None;
        for (_, vsi) in &self.vsis {
            for filter in &vsi.filters {
                if filter.mac == Some(mac) && filter.vid == vid {
                    owner = Some(vsi.port);
                }
            }
        }
        owner
    }

    /// Whether a VSI on the port admits any address in the VLAN.
    fn anyone(&self, port: PortId, vid: Vid) -> bool {
        let mut here = self.vsis.iter().filter(|(_, vsi)| vsi.port == port);
        here.any(|(_, vsi)| vsi.filters.iter().any(|filter| filter.mac.is_none() && filter.vid == vid))
    }

    /// How many addresses a downlink may have learnt: what each of its VSIs that names none may.
    fn share(&self, port: PortId) -> usize {
        let here = self.vsis.iter().filter(|(_, vsi)| vsi.port == port);
        let wild = here.filter(|(_, vsi)| vsi.filters.iter().any(|filter| filter.mac.is_none()));
        let most = |vsi: &VsiEntry| vsi.policy.max_macs.unwrap_or(self.limits.downlink_addresses);
        wild.map(|(_, vsi)| most(vsi) as usize).sum()
    }

    fn may_learn(&self, port: PortId, vid: Vid) -> bool {
        match self.ports.get(&port) {
            Some(config) if config.up && self.member(port, vid) => match config.role {
                Role::Bridge => true,
                Role::Downlink => self.anyone(port, vid) && self.kind != RelayKind::Edge(EdgeMode::Passthru),
                Role::Uplink => false,
            },
            _ => false,
        }
    }

    /// Whole seconds that began between two times.
    fn age(&self, now: Instant, seen: Instant) -> u32 {
        u32::try_from(now.as_micros() / 1_000_000 - seen.as_micros() / 1_000_000).unwrap()
    }

    fn where_learnt(&self, mac: MacAddr, vid: Vid, now: Instant) -> Option<PortId> {
        let (port, seen) = self.learnt.get(&(mac, vid))?;
        (self.age(now, *seen) < self.limits.fdb_ageing).then_some(*port)
    }

    fn untagged_pcp(&self, port: PortId, mac: MacAddr, vid: Vid) -> Pcp {
        let mut by_mac = None;
        let mut by_vid = None;
        for (_, vsi) in self.vsis.iter().filter(|(_, vsi)| vsi.port == port) {
            for filter in vsi.filters.iter().filter(|filter| filter.vid == vid) {
                match filter.mac {
                    Some(named) if named == mac => by_mac = Some(filter.pcp.unwrap_or_default()),
                    Some(_) => {}
                    None if self.ports[&port].role != Role::Uplink => {
                        by_vid = Some(filter.pcp.unwrap_or_default())
                    }
                    None => {}
                }
            }
        }
        by_mac.or(by_vid).unwrap_or_default()
    }

    /// The fate of a frame, its copies in the order of ports.
    pub(crate) fn process(
        &mut self,
        now: Instant,
        ingress: PortId,
        frame: &Frame<'_>,
    ) -> (Outcome, Vec<Copy>) {
        let fate = self.decide(now, ingress, frame);
        let (outcome, copies) = match fate {
            Ok(None) => (Outcome::Punt(PuntReason::Reserved), Vec::new()),
            Ok(Some(copies)) => (Outcome::Forward, copies),
            Err(reason) => (Outcome::Drop(reason), Vec::new()),
        };
        let tally = self.tally.entry(ingress).or_default();
        tally.rx_frames += 1;
        tally.rx_bytes += u64::from(frame.len);
        tally.reflected += copies.iter().filter(|copy| copy.reflected).count() as u64;
        match outcome {
            Outcome::Forward => tally.forwarded += 1,
            Outcome::Punt(_) => tally.punted += 1,
            Outcome::Drop(reason) => *tally.drops.entry(reason).or_default() += 1,
        }
        (outcome, copies)
    }

    fn decide(
        &mut self,
        now: Instant,
        ingress: PortId,
        frame: &Frame<'_>,
    ) -> Result<Option<Vec<Copy>>, DropReason> {
        let config = self.ports.get(&ingress).cloned().ok_or(DropReason::NoPort)?;
        let downlink = config.role == Role::Downlink;
        let uplink = config.role == Role::Uplink;
        let passthru = self.kind == RelayKind::Edge(EdgeMode::Passthru);
        if !config.up {
            return Err(DropReason::PortDown);
        }
        if downlink && self.vsi_vids(ingress).is_empty() {
            return Err(DropReason::GateShut);
        }
        let dst = frame.dst.octets();
        if dst[..5] == [1, 0x80, 0xc2, 0, 0] && dst[5] < 16 {
            return match dst[5] {
                _ if downlink => Err(DropReason::ReservedFromGuest),
                0 | 3 | 14 => Ok(None),
                _ => Err(DropReason::Reserved),
            };
        }
        if frame.ethertype == EtherType(0x88b5) && dst == [3, 0x65, 0x76, 0x62, 0x64, 1] {
            if downlink {
                return Err(DropReason::ReservedFromGuest);
            }
            if uplink {
                return Err(DropReason::Probe);
            }
        }

        // VLAN and priority.
        if frame.tag.is_some_and(|tag| tag.tpid != EtherType::C_VLAN) {
            return Err(DropReason::ServiceTag);
        }
        let tagged = frame.tag.and_then(|tag| tag.vid);
        let vid = tagged.or_else(|| self.pvid(ingress)).ok_or(DropReason::Untagged)?;
        let (pcp, dei) = match frame.tag {
            Some(tag) => (tag.pcp, tag.dei),
            None => (self.untagged_pcp(ingress, frame.src, vid), false),
        };

        // Who may send it.
        let src = frame.src.octets();
        if src[0] % 2 == 1 || src == [0; 6] {
            return Err(DropReason::BadSource);
        }
        if !self.member(ingress, vid) {
            return Err(DropReason::NotMember);
        }
        let owner = self.owner(frame.src, vid);
        if !uplink {
            if owner.is_some_and(|owner| owner != ingress) {
                return Err(DropReason::StaticMoved);
            }
            let judged = if downlink { !passthru } else { config.guard };
            if owner.is_none() && judged && !self.anyone(ingress, vid) {
                return Err(DropReason::SourceGuard);
            }
        }

        // Learning, or the lack of it on the uplink.
        let mut sender = None;
        if uplink {
            sender = owner.or_else(|| self.where_learnt(frame.src, vid, now));
            if let Some(sender) = sender
                && self.kind != RelayKind::Edge(EdgeMode::Vepa)
            {
                self.tally.entry(sender).or_default().echoes += 1;
                return Err(DropReason::Echo);
            }
        } else if owner.is_none() && !(downlink && passthru) {
            let key = (frame.src, vid);
            let before = self.learnt.get(&key).map(|(port, _)| *port);
            if before != Some(ingress) {
                let held = self.learnt.values().filter(|(port, _)| *port == ingress).count();
                if downlink && held >= self.share(ingress) {
                    return Err(DropReason::LearnLimit);
                }
                if self.where_learnt(frame.src, vid, now).is_some() {
                    self.tally.entry(ingress).or_default().moves += 1;
                }
            }
            self.learnt.insert(key, (ingress, now));
        }

        // Every port is asked whether it wants the frame.
        let group = dst[0] % 2 == 1;
        let location = self.owner(frame.dst, vid).or_else(|| self.where_learnt(frame.dst, vid, now));
        let location = if group { None } else { location };
        let mut copies = Vec::new();
        let mut withheld = false;
        for (port, out) in &self.ports {
            let wants = match self.kind {
                RelayKind::Bridge => location.is_none() || location == Some(*port),
                RelayKind::Edge(EdgeMode::Passthru) if uplink => out.role == Role::Downlink,
                RelayKind::Edge(_) if uplink => {
                    out.role == Role::Downlink
                        && (group || location == Some(*port) || location.is_none() && self.anyone(*port, vid))
                }
                RelayKind::Edge(
                    EdgeMode::Vepa
                    | EdgeMode::Isolate
                    | EdgeMode::Private
                    | EdgeMode::Passthru
                    | EdgeMode::Direct,
                ) => out.role == Role::Uplink,
                RelayKind::Edge(EdgeMode::Veb) => match location {
                    Some(location) => location == *port,
                    None => group || out.role == Role::Uplink || self.anyone(*port, vid),
                },
            };
            if !wants || !out.up || !self.member(*port, vid) {
                continue;
            }
            if *port == ingress && !config.reflective {
                continue;
            }
            if sender == Some(*port) {
                withheld = true;
                continue;
            }
            let tag = Tag { tpid: EtherType::C_VLAN, pcp, dei, vid: Some(vid) };
            let tag = if self.sends_untagged(*port, vid) { None } else { Some(tag) };
            copies.push(Copy { port: *port, tag, reflected: *port == ingress });
        }
        if let Some(sender) = sender.filter(|_| withheld) {
            self.tally.entry(sender).or_default().echoes += 1;
        }
        if !copies.is_empty() {
            return Ok(Some(copies));
        }
        let vepa = downlink && self.kind != RelayKind::Edge(EdgeMode::Veb);
        Err(if withheld {
            DropReason::Echo
        } else if location == Some(ingress) && !vepa {
            DropReason::SamePort
        } else if uplink && !group && location.is_none() && !passthru {
            DropReason::UnknownUnicast
        } else {
            DropReason::NoEgress
        })
    }

    /// All known addresses, ordered.
    pub(crate) fn fdb(&self, now: Instant) -> Vec<FdbEntry> {
        let mut entries = Vec::new();
        for (&(mac, vid), &(port, ref seen)) in &self.learnt {
            if self.age(now, *seen) < self.limits.fdb_ageing {
                entries.push(FdbEntry {
                    mac,
                    vid,
                    port,
                    age: self.age(now, *seen),
                    origin: Origin::Learned,
                    moves: 0,
                });
            }
        }
        let named: BTreeSet<_> = self
            .vsis
            .iter()
            .flat_map(|(_, vsi)| &vsi.filters)
            .filter_map(|f| Some((f.mac?, f.vid)))
            .collect();
        for (mac, vid) in named {
            let port = self.owner(mac, vid).unwrap();
            entries.push(FdbEntry { mac, vid, port, age: 0, origin: Origin::Static, moves: 0 });
        }
        entries.sort_unstable_by_key(|entry| (entry.mac, entry.vid));
        entries
    }
}
