//! What a controlling bridge wants one port extender to know, and what that has confirmed.

use std::collections::{BTreeMap, BTreeSet};

use ether::{ECid, Pcid};

use crate::csp::{Session, SessionState};

/// A port extender.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) session: Session,
    /// Ports whose parameters are to be told.
    pub(crate) parameters: BTreeSet<Pcid>,
    /// What each request under way is to come to.
    pub(crate) under_way: BTreeMap<u32, Work>,
    /// Ports whose counters are still to be asked for.
    pub(crate) uncounted: BTreeSet<Pcid>,
    channels: BTreeMap<ECid, Channel>,
    /// Channels that differ from what is wanted.
    differ: BTreeSet<ECid>,
}

/// What a request is to come to.
#[derive(Debug)]
pub(crate) enum Work {
    Parameters(Vec<Pcid>),
    Channel(ECid, Change),
    Counters,
}

/// Ports that join a channel and that leave it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Change {
    joins: Vec<Pcid>,
    leaves: BTreeSet<Pcid>,
}

#[derive(Debug, Default)]
struct Channel {
    wanted: BTreeSet<Pcid>,
    has: BTreeSet<Pcid>,
    under_way: bool,
}

impl Node {
    pub(crate) const fn new(session: Session) -> Self {
        Self {
            session,
            parameters: BTreeSet::new(),
            under_way: BTreeMap::new(),
            uncounted: BTreeSet::new(),
            channels: BTreeMap::new(),
            differ: BTreeSet::new(),
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.session.state() == SessionState::Open
    }

    /// The port extender knows nothing any more.
    pub(crate) fn forget(&mut self) {
        self.parameters.clear();
        self.under_way.clear();
        self.uncounted.clear();
        self.channels.clear();
        self.differ.clear();
    }

    /// A channel is to have these members here.
    pub(crate) fn want(&mut self, ecid: ECid, members: BTreeSet<Pcid>) {
        if members.is_empty() && !self.channels.contains_key(&ecid) {
            return;
        }
        self.channels.entry(ecid).or_default().wanted = members;
        self.compare(ecid);
    }

    /// A port is no more; its port extender knows.
    pub(crate) fn lose(&mut self, pcid: Pcid) {
        self.parameters.remove(&pcid);
        self.uncounted.remove(&pcid);
        let mut here = Vec::new();
        for (ecid, channel) in &mut self.channels {
            if channel.wanted.remove(&pcid) | channel.has.remove(&pcid) {
                here.push(*ecid);
            }
        }
        here.into_iter().for_each(|ecid| self.compare(ecid));
    }

    /// Whether a channel is confirmed as it is wanted, and is wanted.
    pub(crate) fn has(&self, ecid: ECid) -> bool {
        self.channels.get(&ecid).is_some_and(|c| !c.has.is_empty() && c.has == c.wanted && !c.under_way)
    }

    /// Whether a channel has exactly these members.
    pub(crate) fn is(&self, ecid: ECid, members: &BTreeSet<Pcid>) -> bool {
        self.channels.get(&ecid).is_some_and(|c| c.has == *members && !c.under_way)
    }

    pub(crate) fn channels(&self) -> impl Iterator<Item = (ECid, &BTreeSet<Pcid>)> {
        self.channels.iter().map(|(ecid, channel)| (*ecid, &channel.has))
    }

    /// The next change of a channel to be asked for, of one port's or of a group.
    pub(crate) fn next_channel(&mut self, group: bool) -> Option<(ECid, Change)> {
        // Identifiers of groups are the larger ones.
        let ecid = if group { self.differ.last() } else { self.differ.first() };
        let ecid = *ecid.filter(|ecid| ecid.is_group() == group)?;
        self.differ.remove(&ecid);
        let channel = self.channels.get_mut(&ecid)?;
        let leaves: BTreeSet<Pcid> = channel.has.difference(&channel.wanted).take(MEMBERS).copied().collect();
        let room = MEMBERS - leaves.len();
        let joins = channel.wanted.difference(&channel.has).take(room).copied().collect();
        channel.under_way = true;
        Some((ecid, Change { joins, leaves }))
    }

    /// A change was granted, or refused; then it is not asked for again until something else is wanted.
    pub(crate) fn confirm(&mut self, ecid: ECid, change: &Change, granted: bool) {
        let Some(channel) = self.channels.get_mut(&ecid) else { return };
        channel.under_way = false;
        if granted {
            channel.has.extend(&change.joins);
            channel.has.retain(|pcid| !change.leaves.contains(pcid));
            self.compare(ecid);
        }
    }

    fn compare(&mut self, ecid: ECid) {
        let Some(channel) = self.channels.get(&ecid) else { return };
        if channel.under_way {
            return;
        }
        if channel.wanted == channel.has {
            self.differ.remove(&ecid);
            if channel.has.is_empty() {
                self.channels.remove(&ecid);
            }
        } else {
            self.differ.insert(ecid);
        }
    }
}

impl Change {
    /// The ports, each with whether it leaves.
    pub(crate) fn items(&self) -> impl Iterator<Item = (bool, Pcid)> {
        let leaves = self.leaves.iter().map(|pcid| (true, *pcid));
        leaves.chain(self.joins.iter().map(|pcid| (false, *pcid)))
    }
}

/// Ports in one Register: fewer than 1500 octets.
const MEMBERS: usize = 300;
