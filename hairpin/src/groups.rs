//! Who listens to which group: what snooping has told, bounded and without locks.
//!
//! A group frame goes to the ports whose listeners asked for it, but only where that is known for certain. It is where a
//! querier speaks, for then every listener tells again and again. A port is certain ten seconds after it got a general
//! query since its last VSI was opened; until then, in VLANs without a querier, and when there was no room to remember
//! what it asked for, a port gets every group. So nobody misses a frame because the relay was not there to hear him ask.
//!
//! The table is like [`crate::fdb`]: buckets of slots, a key whole in one atomic word, its time in a second.

use std::{
    array,
    sync::atomic::Ordering::{AcqRel, Acquire, Relaxed},
};

use ether::{Vid, mac};

use crate::{
    port::{PortId, Role},
    row::Row,
    snoop::{Family, Group, Heard},
    switch::{Context, Frame, Limits},
    sync::{AtomicU32, AtomicU64},
    verdict::Copy,
};

/// The table.
#[derive(Debug)]
pub(crate) struct Groups {
    buckets: Box<[Bucket]>,
    /// By port: what it has in the table, and until when it gets everything because there was no room.
    ports: Box<[PortRow]>,
    /// By family and VLAN.
    queriers: [Box<[Querier]>; 2],
    /// Entries of one port at most.
    bound: u32,
    seed: u64,
}

#[derive(Debug, Default)]
struct PortRow {
    held: AtomicU32,
    all_until: AtomicU32,
}

/// From when and until when somebody asks; 0: never.
#[derive(Debug, Default)]
struct Querier {
    since: AtomicU32,
    until: AtomicU32,
}

#[derive(Debug)]
#[repr(align(64))]
struct Bucket {
    words: [AtomicU64; WAYS],
    /// When the entry ends; of [`Kind::Asked`], when it began.
    times: [AtomicU32; WAYS],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Somebody there listens to the group of these bits.
    Listens(u32),
    /// It has got a general query while its open-epoch was this.
    Asked(u32),
    /// A router is there.
    Router,
}

/// What a frame said, once noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Noted {
    /// Nothing of groups.
    Nothing,
    /// All listeners of the VLAN are asked.
    General(Family),
    /// A report: for routers only, lest other listeners keep silent for having heard it.
    Report(Family),
}

/// Notes what a frame that came in on `row` says.
pub(crate) fn snoop(cx: &Context<'_>, row: &Row, vid: Vid, frame: &Frame<'_>) -> Noted {
    if !cx.limits.snooping || !mac::is_group(frame.dst) {
        return Noted::Nothing;
    }
    let Some(heard) = crate::snoop::hear(frame) else { return Noted::Nothing };
    let (groups, now) = (cx.groups, cx.secs);
    let router = |family| {
        if cx.live && row.role != Role::Uplink {
            groups.note(row.id, vid, family, Kind::Router, now, now.saturating_add(QUERIER));
        }
    };
    match heard {
        Heard::Query { family, general } => {
            router(family);
            if cx.live {
                groups.querier(vid, family, now);
            }
            if general { Noted::General(family) } else { Noted::Nothing }
        }
        Heard::Router { family } => {
            router(family);
            Noted::Nothing
        }
        Heard::Report { family, reports } => {
            if cx.live && row.role != Role::Uplink {
                for (group, joins) in reports.take(RECORDS) {
                    groups.report(row.id, vid, group, joins, now);
                }
            }
            Noted::Report(family)
        }
    }
}

/// Takes away copies for ports where nobody wants the frame; how many went.
pub(crate) fn narrow(
    cx: &Context<'_>,
    vid: Vid,
    frame: &Frame<'_>,
    noted: Noted,
    copies: &mut Vec<Copy>,
) -> usize {
    let before = copies.len();
    let (groups, now) = (cx.groups, cx.secs);
    let router = |port, family| groups.find(port, vid, family, Kind::Router).is_some_and(|until| until > now);
    let row = |copy: &Copy| cx.snapshot.row(copy.port);
    match noted {
        Noted::Report(family) if groups.active(vid, family, now) => copies
            .retain(|copy| row(copy).is_some_and(|row| row.role == Role::Uplink || router(row.id, family))),
        Noted::General(family) if cx.live => {
            for row in copies.iter().filter_map(row).filter(|row| row.role != Role::Uplink) {
                groups.asked(row, vid, family, now);
            }
        }
        _ => {
            let Some(group) = Group::of(frame.dst) else { return 0 };
            if !cx.limits.snooping || !groups.active(vid, group.family, now) {
                return 0;
            }
            copies.retain(|copy| {
                row(copy).is_some_and(|row| {
                    row.all_groups
                        || row.role == Role::Uplink
                        || row.solicits(group)
                        || groups.listens(row.id, vid, group, now)
                        || router(row.id, group.family)
                        || !groups.certain(row, vid, group.family, now)
                })
            });
        }
    }
    before - copies.len()
}

impl Groups {
    pub(crate) fn new(limits: &Limits) -> Self {
        let buckets = limits.groups.div_ceil(8).max(1).next_power_of_two();
        let queriers = || (0..Vid::TABLE).map(|_| Querier::default()).collect();
        Self {
            buckets: (0..buckets).map(|_| Bucket::empty()).collect(),
            ports: (0..limits.ports).map(|_| PortRow::default()).collect(),
            queriers: [queriers(), queriers()],
            bound: limits.groups / 8,
            seed: limits.hash_seed | 1,
        }
    }

    /// Forgets what was told of ports that fail `keep`.
    pub(crate) fn retain(&self, keep: impl Fn(PortId) -> bool) {
        self.clear(|port, _, _| !keep(port));
        for (port, row) in (0..).map(PortId).zip(&self.ports) {
            if !keep(port) {
                row.all_until.store(0, Relaxed);
            }
        }
    }

    /// Takes away what has ended by `now`, and what ports were asked in an open-epoch that is not theirs any more.
    pub(crate) fn sweep(&self, now: u32, epoch: impl Fn(PortId) -> Option<u32>) {
        self.clear(|port, kind, time| match kind {
            Kind::Asked(asked) => epoch(port) != Some(asked),
            Kind::Listens(_) | Kind::Router => time <= now,
        });
    }

    fn clear(&self, gone: impl Fn(PortId, Kind, u32) -> bool) {
        for (word, time) in self.buckets.iter().flat_map(Bucket::slots) {
            let key = word.load(Acquire);
            let Some((port, kind)) = unpack(key) else { continue };
            if gone(port, kind, time.load(Relaxed)) && word.compare_exchange(key, 0, AcqRel, Relaxed).is_ok()
            {
                self.release(port);
            }
        }
    }

    fn active(&self, vid: Vid, family: Family, now: u32) -> bool {
        self.asker(vid, family).is_some_and(|querier| querier.until.load(Relaxed) > now)
    }

    fn querier(&self, vid: Vid, family: Family, now: u32) {
        let Some(querier) = self.asker(vid, family) else { return };
        if querier.until.load(Relaxed) <= now {
            // Before it is active: nobody may be certain on the word of a querier long gone.
            querier.since.store(now, Relaxed);
        }
        querier.until.store(now.saturating_add(QUERIER), Relaxed);
    }

    fn asker(&self, vid: Vid, family: Family) -> Option<&Querier> {
        let [v4, v6] = &self.queriers;
        match family {
            Family::V4 => v4.get(vid.index()),
            Family::V6 => v6.get(vid.index()),
        }
    }

    /// A general query goes to the port.
    fn asked(&self, row: &Row, vid: Vid, family: Family, now: u32) {
        let kind = Kind::Asked(row.open_epoch);
        if self.find(row.id, vid, family, kind).is_none() {
            self.note(row.id, vid, family, kind, now, now);
        }
    }

    /// Whether all listeners of the port have told.
    fn certain(&self, row: &Row, vid: Vid, family: Family, now: u32) -> bool {
        let since = self.asker(vid, family).map_or(u32::MAX, |querier| querier.since.load(Relaxed));
        let room = self.ports.get(row.id.index()).is_some_and(|port| port.all_until.load(Relaxed) <= now);
        room && self
            .find(row.id, vid, family, Kind::Asked(row.open_epoch))
            .is_some_and(|asked| asked.max(since).saturating_add(RESPONSE) <= now)
    }

    fn listens(&self, port: PortId, vid: Vid, group: Group, now: u32) -> bool {
        let until = self.find(port, vid, group.family, Kind::Listens(group.bits));
        until.is_some_and(|until| until > now)
    }

    fn report(&self, port: PortId, vid: Vid, group: Group, joins: bool, now: u32) {
        let kind = Kind::Listens(group.bits);
        if joins {
            self.note(port, vid, group.family, kind, now, now.saturating_add(MEMBERSHIP));
        } else if let Some(until) = self.find(port, vid, group.family, kind).filter(|until| *until > now) {
            // Others may listen there: the querier asks, and they tell.
            self.note(port, vid, group.family, kind, now, until.min(now.saturating_add(LAST_MEMBER)));
        }
    }

    /// The time of an entry.
    fn find(&self, port: PortId, vid: Vid, family: Family, kind: Kind) -> Option<u32> {
        let key = pack(port, vid, family, kind);
        let mut slots = self.bucket(key)?.slots();
        slots.find(|(word, _)| word.load(Acquire) == key).map(|(_, time)| time.load(Relaxed))
    }

    /// Sets the time of an entry; the port gets every group for a while if there is no room.
    fn note(&self, port: PortId, vid: Vid, family: Family, kind: Kind, now: u32, time: u32) {
        let key = pack(port, vid, family, kind);
        let (Some(bucket), Some(row)) = (self.bucket(key), self.ports.get(port.index())) else { return };
        if let Some((_, old)) = bucket.slots().find(|(word, _)| word.load(Acquire) == key) {
            old.store(time, Relaxed);
            return;
        }
        let free = |(word, until): &(&AtomicU64, &AtomicU32)| match unpack(word.load(Acquire)) {
            None => true,
            Some((_, Kind::Asked(_))) => false,
            Some(_) => until.load(Relaxed) <= now,
        };
        if row.held.fetch_add(1, Relaxed) < self.bound {
            for (word, slot_time) in bucket.slots().filter(free) {
                let old = word.load(Acquire);
                slot_time.store(time, Relaxed);
                if word.compare_exchange(old, key, AcqRel, Relaxed).is_ok() {
                    if let Some((port, _)) = unpack(old) {
                        self.release(port);
                    }
                    return;
                }
            }
        }
        self.release(port);
        row.all_until.store(now.saturating_add(MEMBERSHIP), Relaxed);
    }

    fn release(&self, port: PortId) {
        if let Some(row) = self.ports.get(port.index()) {
            row.held.fetch_sub(1, Relaxed);
        }
    }

    fn bucket(&self, key: u64) -> Option<&Bucket> {
        let product = (key ^ self.seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let spread = (product ^ (product >> 29)).wrapping_mul(0xd6e8_feb8_6659_fd93) >> 32;
        self.buckets.get(usize::try_from(spread).ok()? & (self.buckets.len() - 1))
    }
}

impl Bucket {
    fn empty() -> Self {
        Self {
            words: array::from_fn(|_| AtomicU64::default()),
            times: array::from_fn(|_| AtomicU32::default()),
        }
    }

    fn slots(&self) -> impl Iterator<Item = (&AtomicU64, &AtomicU32)> {
        self.words.iter().zip(&self.times)
    }
}

/// Never 0.
fn pack(port: PortId, vid: Vid, family: Family, kind: Kind) -> u64 {
    let (code, bits) = match kind {
        Kind::Listens(bits) => (1, bits),
        Kind::Asked(epoch) => (2, epoch),
        Kind::Router => (3, 0),
    };
    let head = u64::from(port.0) << 12 | u64::from(vid.get());
    (head << 3 | (family as u64) << 2 | code) << 32 | u64::from(bits)
}

/// The port and kind of an entry.
fn unpack(word: u64) -> Option<(PortId, Kind)> {
    let bits = u32::try_from(word & u64::from(u32::MAX)).ok()?;
    let kind = match word >> 32 & 3 {
        1 => Kind::Listens(bits),
        2 => Kind::Asked(bits),
        3 => Kind::Router,
        _ => return None,
    };
    Some((PortId(u16::try_from(word >> 47).ok()?), kind))
}

const WAYS: usize = 8;
/// Groups taken from one report.
const RECORDS: usize = 64;

// Seconds; defaults of RFC 3376 and 3810.
/// A listener that is not heard again has gone.
const MEMBERSHIP: u32 = 260;
/// A querier that is not heard again has gone.
const QUERIER: u32 = 255;
/// Listeners answer within this time.
const RESPONSE: u32 = 10;
/// Listeners answer a question about one group within this time, asked twice.
const LAST_MEMBER: u32 = 3;
