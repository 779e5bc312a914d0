//! Floods of a controlling bridge: which ports of one tree frames flooded in a VLAN reach, and by which channel.

use std::collections::{BTreeMap, BTreeSet};

use ether::{ECid, Instant, Pcid, Vid, time::Duration};

use super::{At, Controlling, Output};

/// The floods of one tree.
#[derive(Debug, Default)]
pub(crate) struct Floods {
    by_vlan: BTreeMap<Vid, Flood>,
    /// VLANs whose members have changed, and when port extenders are told.
    changed: BTreeSet<Vid>,
    at: Option<Instant>,
}

/// One.
#[derive(Debug, Default)]
pub(crate) struct Flood {
    pub(crate) members: BTreeSet<Pcid>,
    /// Its channel, if it has one.
    pub(crate) ecid: Option<ECid>,
    /// The members that channel is to have at each node.
    pub(crate) wanted: BTreeMap<At, BTreeSet<Pcid>>,
    /// Every node has confirmed it, and the bridge was told.
    told: bool,
}

impl Floods {
    /// Takes other members; whether the bridge is to be told that there is no channel for now.
    pub(crate) fn set(&mut self, now: Instant, vlan: Vid, members: BTreeSet<Pcid>) -> bool {
        let flood = self.by_vlan.entry(vlan).or_default();
        if flood.members == members {
            return false;
        }
        flood.members = members;
        self.changed.insert(vlan);
        self.at = self.at.or(Some(now + GATHER));
        std::mem::take(&mut flood.told)
    }

    /// A port is no more: it may come back, but what port extenders knew of it does not. The VLANs of which the bridge is to
    /// be told that there is no channel for now.
    pub(crate) fn lose(&mut self, now: Instant, pcid: Pcid) -> Vec<Vid> {
        let mut untold = Vec::new();
        for (vlan, flood) in &mut self.by_vlan {
            if flood.members.remove(&pcid) {
                self.changed.insert(*vlan);
                self.at = self.at.or(Some(now + GATHER));
                untold.extend(std::mem::take(&mut flood.told).then_some(*vlan));
            }
        }
        untold
    }

    /// The VLANs whose channels are to be arranged now.
    pub(crate) fn due(&mut self, now: Instant) -> BTreeSet<Vid> {
        if self.at.is_none_or(|at| at > now) {
            return BTreeSet::new();
        }
        self.at = None;
        std::mem::take(&mut self.changed)
    }

    pub(crate) const fn poll_timeout(&self) -> Option<Instant> {
        self.at
    }

    pub(crate) fn get(&self, vlan: Vid) -> Option<&Flood> {
        self.by_vlan.get(&vlan)
    }

    pub(crate) fn get_mut(&mut self, vlan: Vid) -> Option<&mut Flood> {
        self.by_vlan.get_mut(&vlan)
    }

    /// Forgets a flood that reaches nobody.
    pub(crate) fn drop_empty(&mut self, vlan: Vid) {
        self.by_vlan.retain(|of, flood| *of != vlan || !flood.members.is_empty());
    }

    /// The flood of channel `ecid` and its members, if it is `confirmed` and that is news.
    pub(crate) fn confirm(
        &mut self,
        ecid: ECid,
        confirmed: impl Fn(&Flood) -> bool,
    ) -> Option<(Vid, Vec<Pcid>)> {
        let (vlan, flood) = self.by_vlan.iter_mut().find(|(_, flood)| flood.ecid == Some(ecid))?;
        if flood.told || self.changed.contains(vlan) || !confirmed(flood) {
            return None;
        }
        flood.told = true;
        Some((*vlan, flood.members.iter().copied().collect()))
    }

    /// Those whose channel is in use.
    pub(crate) fn told(&self) -> impl Iterator<Item = (Vid, ECid, &BTreeSet<Pcid>)> {
        let told = self.by_vlan.iter().filter(|(_, flood)| flood.told);
        told.filter_map(|(vlan, flood)| Some((*vlan, flood.ecid?, &flood.members)))
    }
}

impl Controlling {
    /// Has all nodes know the channel of a VLAN's flood as it is now.
    pub(super) fn arrange(&mut self, now: Instant, vlan: Vid) {
        let Some(flood) = self.floods.get(vlan) else { return };
        let mut wanted: BTreeMap<At, BTreeSet<Pcid>> = BTreeMap::new();
        let few = flood.members.len() <= FEW;
        let mut ways: BTreeSet<At> = BTreeSet::new();
        for pcid in flood.members.iter().filter(|_| !few) {
            let Some(port) = self.ports.get(pcid) else { continue };
            wanted.entry(port.at).or_default().insert(*pcid);
            ways.insert(port.at);
        }
        for at in ways {
            for (above, member) in self.path(at) {
                wanted.entry(above).or_default().insert(member);
            }
        }
        let ids = &mut self.ids;
        let Some(flood) = self.floods.get_mut(vlan) else { return };
        let ecid = if few { flood.ecid } else { flood.ecid.or_else(|| ids.take_group(now)) };
        flood.ecid = ecid.filter(|_| !few);
        flood.wanted.clone_from(&wanted);
        let Some(ecid) = ecid else { return };
        for (at, node) in &mut self.nodes {
            node.want(ecid, wanted.get(at).cloned().unwrap_or_default());
        }
        if few {
            ids.release_group(now, ecid);
            self.floods.drop_empty(vlan);
        } else {
            self.announce(ecid);
        }
    }

    /// Tells that a flood has its channel once every node has confirmed it.
    pub(super) fn announce(&mut self, ecid: ECid) {
        let nodes = &self.nodes;
        let confirmed = |flood: &Flood| {
            flood.wanted.iter().all(|(at, members)| nodes.get(at).is_some_and(|node| node.is(ecid, members)))
        };
        if let Some((vlan, members)) = self.floods.confirm(ecid, confirmed) {
            self.out.push_back(Output::Flood(vlan, Some((ecid, members))));
        }
    }
}

/// Members up to which the bridge sends a copy to each.
const FEW: usize = 2;
/// How long members of a flood gather before port extenders are told.
const GATHER: Duration = Duration::from_millis(20);
