//! When which VSI is due: one deadline each, the earliest found without looking at all of them.

use std::collections::{BTreeMap, BTreeSet};

use ether::Instant;

use crate::vsi::VsiId;

#[derive(Clone, Debug, Default)]
pub(crate) struct Schedule {
    at: BTreeMap<VsiId, Instant>,
    order: BTreeSet<(Instant, VsiId)>,
}

impl Schedule {
    /// The deadline of `id` is now `at`.
    pub(crate) fn set(&mut self, id: VsiId, at: Option<Instant>) {
        let old = match at {
            Some(at) => self.at.insert(id, at),
            None => self.at.remove(&id),
        };
        if let Some(old) = old {
            self.order.remove(&(old, id));
        }
        if let Some(at) = at {
            self.order.insert((at, id));
        }
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Those due at `now`, earliest first. They stay until their deadline is set anew.
    pub(crate) fn due(&self, now: Instant) -> Vec<VsiId> {
        self.order.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earliest_first() {
        let [a, b] = [1, 2].map(|n| VsiId::local([n; 16]));
        let mut schedule = Schedule::default();
        schedule.set(a, Some(Instant::from_secs(5)));
        schedule.set(b, Some(Instant::from_secs(3)));
        assert_eq!(schedule.due(Instant::from_secs(5)), [b, a]);
        schedule.set(b, Some(Instant::from_secs(9)));
        assert_eq!(
            (schedule.next(), schedule.due(Instant::from_secs(4))),
            (Some(Instant::from_secs(5)), vec![])
        );
        schedule.set(a, None);
        assert_eq!(schedule.next(), Some(Instant::from_secs(9)));
    }
}
