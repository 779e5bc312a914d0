//! Who has which E-channel identifier of one tree: lowest free first, and none is given again at once. While there are
//! enough, no port of another tree has the same.
//!
//! UNSURE-U12, UNSURE-U20: only identifiers a base port extender knows are given, without the base 0xFFF: 1 to 4094 for
//! ports, and for groups those of the short form 0x1001 to 0x3FFE whose base is neither 0 nor 0xFFF.

use std::collections::{BTreeMap, BTreeSet};

use ether::{ECid, Instant, MacAddr, Pcid, ShortECid, time::Duration};

/// Whose port an identifier was: it may have it back before it has rested.
pub type Owner = (MacAddr, u32);

/// The identifiers of one tree.
#[derive(Debug)]
pub struct Ids {
    ports: Space,
    groups: Space,
}

impl Default for Ids {
    fn default() -> Self {
        Self { ports: Space::new(1, 4094), groups: Space::new(0x1001, 0x3ffe) }
    }
}

impl Ids {
    /// An identifier for a port: the one `wanted`, if that is free or rests and was `owner`'s; else the lowest free. Those
    /// used `elsewhere`, in other trees, come last. None when all are used or resting.
    pub fn take_port(
        &mut self,
        now: Instant,
        owner: Owner,
        wanted: Option<Pcid>,
        elsewhere: &BTreeSet<Pcid>,
    ) -> Option<Pcid> {
        let here = wanted.filter(|wanted| !elsewhere.contains(wanted)).map(Pcid::get);
        let wanted = here.filter(|wanted| self.ports.take(now, *wanted, owner));
        let but = |number| Pcid::new(number).is_some_and(|pcid| elsewhere.contains(&pcid));
        let free = wanted.or_else(|| self.ports.lowest_but(now, but)).or_else(|| self.ports.lowest(now));
        free.and_then(Pcid::new)
    }

    /// An identifier for a group, the lowest free.
    pub fn take_group(&mut self, now: Instant) -> Option<ECid> {
        loop {
            let short = self.groups.lowest(now)?;
            // Those left out stay used for good.
            if !matches!(short & 0xfff, 0 | 0xfff) {
                return u16::try_from(short).ok().and_then(ShortECid::new).map(ECid::from);
            }
        }
    }

    /// A port's identifier is given back, and rests.
    pub fn release_port(&mut self, now: Instant, owner: Owner, pcid: Pcid) {
        self.ports.release(now, pcid.get(), Some(owner));
    }

    /// A group's is.
    pub fn release_group(&mut self, now: Instant, ecid: ECid) {
        if let Some(short) = ecid.short() {
            self.groups.release(now, u32::from(short.get()), None);
        }
    }

    /// Ports and groups that have one.
    #[must_use]
    pub fn used(&self) -> (usize, usize) {
        (self.ports.used.len(), self.groups.used.len())
    }
}

/// Numbers from `low` to `high`.
#[derive(Debug)]
struct Space {
    high: u32,
    /// None from here on was ever given.
    fresh: u32,
    used: BTreeSet<u32>,
    free: BTreeSet<u32>,
    resting: BTreeMap<u32, (Instant, Option<Owner>)>,
}

impl Space {
    const fn new(low: u32, high: u32) -> Self {
        Self { high, fresh: low, used: BTreeSet::new(), free: BTreeSet::new(), resting: BTreeMap::new() }
    }

    fn lowest(&mut self, now: Instant) -> Option<u32> {
        self.wake(now);
        let number = self.free.pop_first().or_else(|| {
            let fresh = (self.fresh <= self.high).then_some(self.fresh)?;
            self.fresh += 1;
            Some(fresh)
        })?;
        self.used.insert(number);
        Some(number)
    }

    /// The lowest that is free and not `but`.
    fn lowest_but(&mut self, now: Instant, but: impl Fn(u32) -> bool) -> Option<u32> {
        self.wake(now);
        let free = self.free.iter().copied().find(|number| !but(*number));
        let number = free.or_else(|| (self.fresh..=self.high).find(|number| !but(*number)))?;
        if !self.free.remove(&number) {
            self.free.extend(self.fresh..number);
            self.fresh = number + 1;
        }
        self.used.insert(number);
        Some(number)
    }

    /// Takes `number`; false if it is not to be had.
    fn take(&mut self, now: Instant, number: u32, owner: Owner) -> bool {
        self.wake(now);
        let rests = self.resting.get(&number).is_some_and(|(_, whose)| *whose == Some(owner));
        if (self.fresh..=self.high).contains(&number) {
            self.free.extend(self.fresh..number);
            self.fresh = number + 1;
        } else if !(self.free.remove(&number) || rests && self.resting.remove(&number).is_some()) {
            return false;
        }
        self.used.insert(number)
    }

    fn release(&mut self, now: Instant, number: u32, owner: Option<Owner>) {
        if self.used.remove(&number) {
            self.resting.insert(number, (now + QUARANTINE, owner));
        }
    }

    fn wake(&mut self, now: Instant) {
        let (rested, resting) =
            std::mem::take(&mut self.resting).into_iter().partition(|(_, (at, _))| *at <= now);
        self.resting = resting;
        let rested: BTreeMap<u32, _> = rested;
        self.free.extend(rested.into_keys());
    }
}

/// How long an identifier rests: longer than a PDU that still names it can be under way.
pub const QUARANTINE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ME: Owner = (MacAddr(2, 0, 0, 0, 0, 1), 7);
    const OTHER: Owner = (MacAddr(2, 0, 0, 0, 0, 2), 7);

    fn pcid(number: u32) -> Pcid {
        Pcid::new(number).unwrap()
    }

    #[test]
    fn lowest_first_and_none_again_at_once() {
        let mut ids = Ids::default();
        let (now, rested) = (Instant::ZERO, Instant::ZERO + QUARANTINE);
        assert_eq!(ids.take_port(now, ME, None, &BTreeSet::new()), Some(pcid(1)));
        assert_eq!(ids.take_port(now, ME, None, &BTreeSet::new()), Some(pcid(2)));
        ids.release_port(now, ME, pcid(1));
        assert_eq!(ids.take_port(now, OTHER, Some(pcid(1)), &BTreeSet::new()), Some(pcid(3)), "it rests");
        assert_eq!(ids.take_port(now, ME, Some(pcid(1)), &BTreeSet::new()), Some(pcid(1)), "whose it was");
        ids.release_port(now, ME, pcid(1));
        assert_eq!(ids.take_port(rested, OTHER, None, &BTreeSet::new()), Some(pcid(1)));
        assert_eq!(ids.take_port(rested, OTHER, Some(pcid(100)), &BTreeSet::new()), Some(pcid(100)));
        assert_eq!(ids.take_port(rested, OTHER, None, &BTreeSet::new()), Some(pcid(4)));
    }

    #[test]
    fn all_and_no_more() {
        let mut ids = Ids::default();
        let mut ports = BTreeSet::new();
        while let Some(pcid) = ids.take_port(Instant::ZERO, ME, None, &BTreeSet::new()) {
            assert!(ports.insert(pcid));
        }
        assert_eq!((ports.len(), ports.last().map(|p| p.get())), (4094, Some(4094)));
        let mut groups = BTreeSet::new();
        while let Some(ecid) = ids.take_group(Instant::ZERO) {
            assert!(groups.insert(ecid) && ecid.is_group());
        }
        assert_eq!(groups.len(), 3 * 4094);
    }

    #[test]
    fn while_there_are_enough_no_two_trees_have_one() {
        let (mut ids, now) = (Ids::default(), Instant::ZERO);
        let elsewhere: BTreeSet<Pcid> = [1, 2, 4].map(pcid).into();
        assert_eq!(ids.take_port(now, ME, None, &elsewhere), Some(pcid(3)));
        assert_eq!(ids.take_port(now, ME, Some(pcid(4)), &elsewhere), Some(pcid(5)), "another tree has it");
        assert_eq!(ids.take_port(now, ME, Some(pcid(9)), &elsewhere), Some(pcid(9)));
        assert_eq!(ids.take_port(now, ME, None, &elsewhere), Some(pcid(6)), "what was passed over is free");
        assert_eq!(ids.take_port(now, ME, None, &BTreeSet::new()), Some(pcid(1)), "it is not any more");
        let all: BTreeSet<Pcid> = (1..4095).map(pcid).collect();
        assert_eq!(ids.take_port(now, ME, None, &all), Some(pcid(2)), "each tree for itself at last");
    }

    proptest! {
        #[test]
        fn nobody_gets_what_another_has(steps in proptest::collection::vec((any::<bool>(), 1u32..40, 0u64..3), 1..200)) {
            let (mut ids, mut now, mut held) = (Ids::default(), Instant::ZERO, BTreeMap::new());
            for (take, number, wait) in steps {
                now += Duration::from_secs(wait);
                if take {
                    let got = ids.take_port(now, (ME.0, number), Pcid::new(number), &BTreeSet::new()).unwrap();
                    prop_assert!(held.insert(got, number).is_none());
                } else if let Some((id, owner)) = held.pop_first() {
                    ids.release_port(now, (ME.0, owner), id);
                }
                prop_assert_eq!(ids.used().0, held.len());
            }
        }
    }
}
