//! What happened to each VSI, kept beyond its end: the answer to "why was it refused" is still there afterwards.

use std::{
    borrow::Cow,
    collections::{BTreeMap, VecDeque},
};

use ether::Instant;
use serde::Serialize;

use crate::vsi::VsiId;

/// One line of a VSI's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// When, in µs since the origin the caller chose.
    pub at: Instant,
    /// What, in words.
    pub what: Cow<'static, str>,
}

/// The last [`History::ENTRIES`] lines of every living VSI and of the [`History::GONE`] most recently gone; fewer where
/// there are so many VSIs that it would come to more than about [`History::TOTAL`] lines.
#[derive(Clone, Debug, Default)]
pub struct History {
    rings: BTreeMap<VsiId, VecDeque<Entry>>,
    /// Those of `rings` that are gone, longest gone first.
    gone: VecDeque<VsiId>,
}

impl History {
    /// Lines kept per VSI.
    pub const ENTRIES: usize = 32;
    /// Lines kept of all VSIs together, about: a VSI keeps [`History::FEWEST`] in any case, and loses those beyond its
    /// share when it gets another.
    pub const TOTAL: usize = 65_536;
    /// Lines kept of a VSI however many there are.
    pub const FEWEST: usize = 4;
    /// VSIs remembered after they have gone.
    pub const GONE: usize = 256;

    /// Adds a line for a VSI that lives or starts to.
    pub fn record(&mut self, now: Instant, id: VsiId, what: impl Into<Cow<'static, str>>) {
        self.gone.retain(|gone| *gone != id);
        let share = self.share();
        push(self.rings.entry(id).or_default(), now, what.into(), share);
    }

    /// Adds a line for a VSI that is remembered, and leaves it as gone as it was.
    pub fn note(&mut self, now: Instant, id: VsiId, what: impl Into<Cow<'static, str>>) {
        let share = self.share();
        if let Some(ring) = self.rings.get_mut(&id) {
            push(ring, now, what.into(), share);
        }
    }

    /// The VSI has gone: its lines stay until [`History::GONE`] others have gone after it.
    pub fn retire(&mut self, id: VsiId) {
        if !self.rings.contains_key(&id) || self.gone.contains(&id) {
            return;
        }
        if self.gone.len() == Self::GONE
            && let Some(oldest) = self.gone.pop_front()
        {
            self.rings.remove(&oldest);
        }
        self.gone.push_back(id);
    }

    /// The lines of `id`, oldest first; none if it was never seen or is forgotten.
    pub fn of(&self, id: &VsiId) -> impl Iterator<Item = &Entry> {
        self.rings.get(id).into_iter().flatten()
    }

    /// Lines a VSI may keep.
    fn share(&self) -> usize {
        (Self::TOTAL / self.rings.len().max(1)).clamp(Self::FEWEST, Self::ENTRIES)
    }

    /// Every VSI that has gone and is remembered, longest gone first.
    pub fn gone(&self) -> impl Iterator<Item = &VsiId> {
        self.gone.iter()
    }
}

fn push(ring: &mut VecDeque<Entry>, at: Instant, what: Cow<'static, str>, share: usize) {
    while ring.len() >= share {
        ring.pop_front();
    }
    ring.push_back(Entry { at, what });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u16) -> VsiId {
        let mut octets = [0; 16];
        octets[..2].copy_from_slice(&n.to_be_bytes());
        VsiId::local(octets)
    }

    #[test]
    fn the_ring_keeps_the_last() {
        let mut history = History::default();
        for n in 0..40 {
            history.record(Instant::from_secs(n), id(1), n.to_string());
        }
        let lines: Vec<_> = history.of(&id(1)).collect();
        assert_eq!((lines.len(), &*lines[0].what, &*lines[31].what), (32, "8", "39"));
        assert_eq!(history.of(&id(2)).count(), 0);
    }

    #[test]
    fn the_gone_are_bounded_and_the_living_are_not_forgotten() {
        let mut history = History::default();
        history.record(Instant::ZERO, id(0), "born");
        for n in 1..=300 {
            history.record(Instant::ZERO, id(n), "born");
            history.retire(id(n));
            history.retire(id(n));
        }
        assert_eq!(history.gone().count(), History::GONE);
        assert_eq!(history.of(&id(44)).count(), 0);
        assert_eq!((history.of(&id(45)).count(), history.of(&id(0)).count()), (1, 1));
    }

    #[test]
    fn of_very_many_each_keeps_few() {
        let mut history = History::default();
        for round in 0..40 {
            for n in 0..20_000 {
                history.record(Instant::from_secs(round), id(n), "again");
            }
        }
        assert_eq!(history.of(&id(7)).count(), History::FEWEST);
        assert_eq!(history.of(&id(7)).last().map(|entry| entry.at), Some(Instant::from_secs(39)));
    }

    #[test]
    fn a_vsi_that_returns_keeps_its_lines() {
        let mut history = History::default();
        history.record(Instant::ZERO, id(1), "first life");
        history.retire(id(1));
        history.record(Instant::from_secs(1), id(1), "second life");
        assert_eq!((history.of(&id(1)).count(), history.gone().count()), (2, 0));
        history.retire(id(1));
        history.note(Instant::from_secs(2), id(1), "an echo");
        history.note(Instant::from_secs(2), id(2), "nobody");
        assert_eq!((history.of(&id(1)).count(), history.of(&id(2)).count()), (3, 0));
        assert_eq!(history.gone().count(), 1);
    }
}
