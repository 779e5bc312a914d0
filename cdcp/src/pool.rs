//! The SVIDs of a bridge port and who has them [Q 42].

use std::collections::{BTreeMap, BTreeSet};

use ether::{Instant, time::Duration};
use serde::Serialize;

use crate::tlv::{Scid, Svid};

/// The SVIDs a bridge may assign on one port: `low` to `high`, 2 to 4094.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Pool {
    low: Svid,
    high: Svid,
}

impl Pool {
    /// The pool from `low` to `high`, unless it is empty or has the SVID of the default channel.
    #[must_use]
    pub fn new(low: Svid, high: Svid) -> Option<Self> {
        (low > Svid::DEFAULT && low <= high).then_some(Self { low, high })
    }

    /// Whether `svid` may be assigned.
    #[must_use]
    pub fn contains(self, svid: Svid) -> bool {
        (self.low..=self.high).contains(&svid)
    }

    fn iter(self) -> impl Iterator<Item = Svid> {
        (self.low.get()..=self.high.get()).filter_map(Svid::new)
    }
}

/// Who has which SVID of a [`Pool`], and which SVIDs rest.
///
/// A frame may still be under way, or a station that missed our word may still send, in a channel that is gone. So an
/// SVID that is taken back rests before another channel gets it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Assignment {
    given: BTreeMap<Scid, Svid>,
    /// Until when an SVID is for the channel that had it, and no other.
    resting: BTreeMap<Svid, (Scid, Instant)>,
}

impl Assignment {
    /// As it was before a restart.
    pub(crate) fn resume(&mut self, channels: impl IntoIterator<Item = (Scid, Svid)>) {
        self.given.extend(channels);
    }

    pub(crate) const fn given(&self) -> &BTreeMap<Scid, Svid> {
        &self.given
    }

    /// Takes everything back.
    pub(crate) fn clear(&mut self, now: Instant) {
        self.revise(now, None, &[]);
    }

    /// Serves `wanted`, which a station asks for in this order, each with the SVID it believes to have: what stands and
    /// is in the pool stays, a hint is honoured if it is free (UNSURE-21), the others get the lowest free SVID. Who finds
    /// none is not served.
    pub(crate) fn revise(&mut self, now: Instant, pool: Option<Pool>, wanted: &[(Scid, Option<Svid>)]) {
        self.resting.retain(|_, (_, until)| *until > now);
        let in_pool = |svid: Svid| pool.is_some_and(|pool| pool.contains(svid));
        let before = std::mem::take(&mut self.given);
        for (scid, svid) in before {
            let asked = wanted.iter().any(|(wanted, _)| *wanted == scid);
            if asked && in_pool(svid) {
                self.given.insert(scid, svid);
            } else {
                let rest = if asked { WITHDRAWN } else { RELEASED };
                self.resting.insert(svid, (scid, now + rest));
            }
        }
        let mut used: BTreeSet<Svid> = self.given.values().copied().collect();
        let open: Vec<_> =
            wanted.iter().filter(|(scid, _)| !self.given.contains_key(scid)).copied().collect();
        for (scid, hint) in &open {
            let Some(hint) = hint.filter(|svid| in_pool(*svid) && self.rests_for(*svid, *scid)) else {
                continue;
            };
            if used.insert(hint) {
                self.given.insert(*scid, hint);
            }
        }
        // What the station believes of another channel is not free.
        used.extend(wanted.iter().filter_map(|(_, svid)| *svid));
        for (scid, _) in open {
            if self.given.contains_key(&scid) {
                continue;
            }
            let free = |svid: &Svid| !used.contains(svid) && self.rests_for(*svid, scid);
            if let Some(svid) = pool.into_iter().flat_map(Pool::iter).find(free) {
                used.insert(svid);
                self.given.insert(scid, svid);
            }
        }
        let Self { given, resting } = self;
        resting.retain(|svid, _| !given.values().any(|given| given == svid));
    }

    /// When an SVID has rested.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.resting.values().map(|(_, until)| *until).min()
    }

    fn rests_for(&self, svid: Svid, scid: Scid) -> bool {
        self.resting.get(&svid).is_none_or(|(of, _)| *of == scid)
    }
}

/// How long the SVID of a channel rests that the station let go of: longer than a frame is under way.
const RELEASED: Duration = Duration::from_secs(2);
/// How long one rests that was taken from the station: until LLDP has told it, or has given it up.
const WITHDRAWN: Duration = Duration::from_secs(121);
