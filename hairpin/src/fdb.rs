//! Learnt addresses: a bounded table shared by all workers without locks [Q 8.7, 8.8].
//!
//! The table is an array of buckets of [`WAYS`] slots; an address in a VLAN belongs to one bucket. When its bucket is
//! full, it takes the place of the entry that has been silent longest among those of the port that has most in the whole
//! table; but no port drives out those of a port that has less than itself. So who floods the table with addresses loses
//! his own. Entries silent for the ageing time are not found; [`crate::Relay::sweep`] takes them away. VSI addresses are
//! not in here but in the snapshot: no frame can move them.
//!
//! An address that moves more often than [`Limits::flap_moves`] times in [`Limits::flap_window`] stays where it is for
//! [`Limits::flap_hold`]; the beginning of window or hold and the moves in it are in a third word of the slot.
//!
//! **Why a reader never gets a port that belongs to another key.** The key's 60 bits are scrambled by a bijection.
//! Some of the result select the bucket, and the *rest* is stored together with the port in *one* atomic word. Who
//! finds the rest he looks for in the bucket he looks in has found the whole key, and the port beside it was written
//! by the same store. No order between two memory locations is needed for that, so nothing can tear.
//!
//! The time an entry was last seen is in a second word and may belong to the slot's previous or next occupant for a
//! moment. A writer stores it before it publishes the entry with a releasing exchange, and a reader loads the entry
//! with acquire before the time: so an entry is never found with the time of what it replaced. What can happen is that
//! a worker refreshes an occupant that has just been replaced, or whose time another worker is about to judge. Then an
//! entry ages by what workers' clocks differ too early, or later than it should, or is learnt anew by the next frame.
//!
//! Two workers that learn the same key at the same moment may fill two slots. The next frame from that source finds
//! both and clears the second.

mod flap;
mod scramble;

use std::{
    array,
    sync::atomic::Ordering::{AcqRel, Acquire, Relaxed},
};

use ether::{Instant, MacAddr, Vid, mac};
use serde::Serialize;

use self::{flap::Flap, scramble::Scramble};
use crate::{
    port::PortId,
    switch::Limits,
    sync::{AtomicU32, AtomicU64},
};

/// Slots of a bucket; their entries fill one cache line.
pub const WAYS: usize = 8;

/// Where an entry comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A VSI names it; never moved by frames.
    Static,
    /// Learnt from a frame's source.
    Learned,
}

/// One row of `show fdb`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct FdbEntry {
    /// The address.
    pub mac: MacAddr,
    /// Its VLAN.
    pub vid: Vid,
    /// Where it is.
    pub port: PortId,
    /// Seconds since the last frame from it; 0 for static entries.
    pub age: u32,
    /// Where the entry comes from.
    pub origin: Origin,
    /// Moves within the window that decides whether it moves too often; more than [`Limits::flap_moves`]: it is held.
    pub moves: u8,
}

/// An address in a VLAN: 48 and 12 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key(u64);

impl Key {
    pub(crate) const BITS: u32 = 60;
    const MASK: u64 = (1 << Self::BITS) - 1;

    pub(crate) fn new(mac: MacAddr, vid: Vid) -> Self {
        Self(mac::to_u64(mac) << 12 | u64::from(vid.get()))
    }

    pub(crate) fn parts(self) -> (MacAddr, Vid) {
        let [.., high, low] = (self.0 & 0xfff).to_be_bytes();
        // A key is only ever made from a VID, so the default stands for nothing that occurs.
        let vid = Vid::new(u16::from_be_bytes([high, low])).unwrap_or(Vid::DEFAULT);
        (mac::from_u64(self.0 >> 12), vid)
    }
}

/// What [`Fdb::learn`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Learnt {
    /// It was known there; or other workers were quicker, and the next frame will do.
    Known,
    /// It is a new entry.
    New,
    /// It was on this other port.
    Moved(PortId),
    /// It stays on this other port: it has moved too often.
    Held(PortId),
    /// The port has all the addresses it may.
    Full,
    /// All who have a place have it rather than this port.
    Crowded,
}

/// The table. Its size in entries is the limit asked for, rounded up to a power of two and to at least the number of
/// ports, so that key and port fit one word.
#[derive(Debug)]
pub struct Fdb {
    buckets: Box<[Bucket]>,
    /// Entries by port.
    held: Box<[AtomicU32]>,
    bucket_bits: u32,
    port_bits: u32,
    ageing: u32,
    flap: Flap,
    scramble: Scramble,
}

impl Fdb {
    pub(crate) fn new(limits: &Limits) -> Self {
        let port_bits = u16::BITS - limits.ports.saturating_sub(1).leading_zeros();
        let wanted = limits.fdb_entries.div_ceil(8).max(1).next_power_of_two();
        let bucket_bits = wanted.trailing_zeros().max(port_bits.saturating_sub(3));
        Self {
            buckets: (0..1_u64 << bucket_bits).map(|_| Bucket::empty()).collect(),
            held: (0..limits.ports).map(|_| AtomicU32::default()).collect(),
            bucket_bits,
            port_bits,
            ageing: limits.fdb_ageing,
            flap: Flap { moves: limits.flap_moves, window: limits.flap_window, hold: limits.flap_hold },
            scramble: Scramble { seed: limits.hash_seed },
        }
    }

    /// How many entries there is room for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.buckets.len() * WAYS
    }

    /// How many entries there are, aged ones that were not yet taken away included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots().filter(|slot| slot.word.load(Relaxed) != 0).count()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many entries `port` has, aged ones that were not yet taken away included.
    #[must_use]
    pub fn held(&self, port: PortId) -> u32 {
        self.held.get(port.index()).map_or(0, |held| held.load(Relaxed))
    }

    /// The entries that are not aged at `now`, in no order. Not a moment's picture: workers go on meanwhile.
    pub fn entries(&self, now: Instant) -> impl Iterator<Item = FdbEntry> {
        let now_secs = secs(now);
        self.slots().filter_map(move |slot| {
            let word = slot.word.load(Acquire);
            let age = slot.age(now_secs);
            (word != 0 && age < self.ageing).then(|| self.entry(&slot, word, age))
        })
    }

    /// Forgets what was learnt on `port`; how many entries that were.
    pub fn flush_port(&self, port: PortId) -> usize {
        self.retain(|entry| entry.port != port)
    }

    /// Forgets what was learnt in `vid`; how many entries that were.
    pub fn flush_vid(&self, vid: Vid) -> usize {
        self.retain(|entry| entry.vid != vid)
    }

    /// Takes away what is aged at `now` or fails `keep`; how many entries that were.
    pub(crate) fn sweep(&self, now: Instant, keep: impl Fn(&FdbEntry) -> bool) -> usize {
        self.retain_at(secs(now), |entry| entry.age < self.ageing && keep(entry))
    }

    /// Notes that `key` has been heard on `port`, if it is known there.
    pub(crate) fn seen(&self, key: Key, port: PortId, now_secs: u32) {
        let Some((bucket, rest)) = self.place(key) else { return };
        for slot in bucket.slots(0) {
            let word = slot.word.load(Acquire);
            if word != 0 && self.rest(word) == rest && self.port(word) == port {
                slot.seen.store(now_secs, Relaxed);
            }
        }
    }

    /// Has what was learnt on `then` be learnt on `now`.
    pub(crate) fn rename(&self, then: PortId, now: PortId) {
        if self.held(then) == 0 {
            return;
        }
        for slot in self.slots() {
            let word = slot.word.load(Acquire);
            if word == 0 || self.port(word) != then || !self.reserve(now, u32::MAX) {
                continue;
            }
            let renamed = self.word(self.rest(word), now);
            let done = slot.word.compare_exchange(word, renamed, AcqRel, Relaxed).is_ok();
            self.release(if done { then } else { now });
        }
    }

    /// Forgets `key`.
    pub(crate) fn forget(&self, key: Key) {
        let Some((bucket, rest)) = self.place(key) else { return };
        for slot in bucket.slots(0) {
            let word = slot.word.load(Acquire);
            if word != 0 && self.rest(word) == rest {
                self.clear(&slot, word);
            }
        }
    }

    /// Keeps only entries that pass `keep`, which does not look at ages; how many went.
    pub(crate) fn retain(&self, keep: impl Fn(&FdbEntry) -> bool) -> usize {
        self.retain_at(0, keep)
    }

    /// Where `key` was learnt, unless that has aged.
    pub(crate) fn lookup(&self, key: Key, now_secs: u32) -> Option<PortId> {
        let (bucket, rest) = self.place(key)?;
        let found = bucket.slots(0).find_map(|slot| {
            let word = slot.word.load(Acquire);
            (word != 0 && self.rest(word) == rest && slot.age(now_secs) < self.ageing).then_some(word)
        })?;
        Some(self.port(found))
    }

    /// Notes that `key` is on `port`, which may have at most `bound` entries.
    pub(crate) fn learn(&self, key: Key, port: PortId, now_secs: u32, bound: u32) -> Learnt {
        (0..ATTEMPTS).find_map(|_| self.attempt(key, port, now_secs, bound)).unwrap_or(Learnt::Known)
    }

    /// What [`Fdb::learn`] would do, unless the bucket is full.
    pub(crate) fn preview(&self, key: Key, port: PortId, now_secs: u32, bound: u32) -> Learnt {
        let Some((bucket, rest)) = self.place(key) else { return Learnt::Known };
        let found = bucket.slots(0).find_map(|slot| {
            let word = slot.word.load(Acquire);
            (word != 0 && self.rest(word) == rest).then(|| (self.port(word), slot))
        });
        let fresh = found.as_ref().filter(|(_, slot)| slot.age(now_secs) < self.ageing);
        let held = fresh.filter(|(_, slot)| !self.flap.judge(slot.flap.load(Relaxed), now_secs).0);
        match (&found, fresh, held) {
            (Some((at, _)), ..) if *at == port => Learnt::Known,
            (.., Some((at, _))) => Learnt::Held(*at),
            _ if self.held(port) >= bound => Learnt::Full,
            (_, Some((at, _)), None) => Learnt::Moved(*at),
            (_, None, None) => Learnt::New,
        }
    }

    /// `None` if another worker changed the slot under us.
    fn attempt(&self, key: Key, port: PortId, now: u32, bound: u32) -> Option<Learnt> {
        let (bucket, rest) = self.place(key)?;
        let mut found = None;
        for slot in bucket.slots(0) {
            let word = slot.word.load(Acquire);
            if word == 0 || self.rest(word) != rest {
                continue;
            }
            if found.is_none() {
                found = Some((slot, word));
            } else {
                self.clear(&slot, word);
            }
        }
        let fresh = found.filter(|(slot, _)| slot.age(now) < self.ageing);
        if let Some((slot, word)) = found
            && self.port(word) == port
        {
            if slot.seen.load(Relaxed) != now {
                slot.seen.store(now, Relaxed);
            }
            return Some(Learnt::Known);
        }
        let Some((slot, word)) = found.or_else(|| self.victim(bucket, port, now)) else {
            return Some(Learnt::Crowded);
        };
        let mut flap = 0;
        if fresh.is_some() {
            let old = slot.flap.load(Relaxed);
            let (moves, new) = self.flap.judge(old, now);
            if !moves {
                if new != old {
                    slot.flap.store(new, Relaxed);
                }
                return Some(Learnt::Held(self.port(word)));
            }
            flap = new;
        }
        if !self.reserve(port, bound) {
            return Some(Learnt::Full);
        }
        slot.seen.store(now, Relaxed);
        slot.flap.store(flap, Relaxed);
        if slot.word.compare_exchange(word, self.word(rest, port), AcqRel, Relaxed).is_err() {
            self.release(port);
            return None;
        }
        if word != 0 {
            self.release(self.port(word));
        }
        Some(if fresh.is_some() { Learnt::Moved(self.port(word)) } else { Learnt::New })
    }

    /// The slot a new entry of `port` takes, and what is in it: an empty or aged one, else the oldest of the port that
    /// has most, unless `port` has more.
    fn victim<'a>(&self, bucket: &'a Bucket, port: PortId, now: u32) -> Option<(Slot<'a>, u64)> {
        let mut best: Option<(Slot<'_>, u64, (bool, u32, u32))> = None;
        for slot in bucket.slots(0) {
            let word = slot.word.load(Acquire);
            let age = slot.age(now);
            if word == 0 {
                return Some((slot, word));
            }
            let rank = (age >= self.ageing, self.held(self.port(word)), age);
            if best.is_none_or(|(.., most)| rank > most) {
                best = Some((slot, word, rank));
            }
        }
        best.filter(|(.., (aged, held, _))| *aged || *held >= self.held(port))
            .map(|(slot, word, _)| (slot, word))
    }

    fn retain_at(&self, now_secs: u32, keep: impl Fn(&FdbEntry) -> bool) -> usize {
        self.slots()
            .filter(|slot| {
                let word = slot.word.load(Acquire);
                word != 0 && !keep(&self.entry(slot, word, slot.age(now_secs))) && self.clear(slot, word)
            })
            .count()
    }

    /// Empties a slot unless it holds something else by now.
    fn clear(&self, slot: &Slot<'_>, word: u64) -> bool {
        let cleared = slot.word.compare_exchange(word, 0, AcqRel, Relaxed).is_ok();
        if cleared {
            self.release(self.port(word));
        }
        cleared
    }

    /// Counts an entry to come on `port`; not beyond `bound`.
    fn reserve(&self, port: PortId, bound: u32) -> bool {
        let Some(held) = self.held.get(port.index()) else { return false };
        let free = held.fetch_add(1, Relaxed) < bound;
        if !free {
            held.fetch_sub(1, Relaxed);
        }
        free
    }

    fn release(&self, port: PortId) {
        if let Some(held) = self.held.get(port.index()) {
            held.fetch_sub(1, Relaxed);
        }
    }

    fn slots(&self) -> impl Iterator<Item = Slot<'_>> {
        (0..).zip(&self.buckets).flat_map(|(number, bucket)| bucket.slots(number))
    }

    /// The bucket `key` belongs to, which always exists, and what is stored of it there.
    fn place(&self, key: Key) -> Option<(&Bucket, u64)> {
        let scrambled = self.scramble.apply(key.0);
        let number = usize::try_from(scrambled & ((1 << self.bucket_bits) - 1)).ok()?;
        Some((self.buckets.get(number)?, scrambled >> self.bucket_bits))
    }

    fn entry(&self, slot: &Slot<'_>, word: u64, age: u32) -> FdbEntry {
        let key = self.scramble.undo(self.rest(word) << self.bucket_bits | slot.bucket);
        let (mac, vid) = Key(key).parts();
        let moves = Flap::moves(slot.flap.load(Relaxed));
        FdbEntry { mac, vid, port: self.port(word), age, origin: Origin::Learned, moves }
    }

    fn word(&self, rest: u64, port: PortId) -> u64 {
        rest << (self.port_bits + 1) | u64::from(port.0) << 1 | 1
    }

    fn rest(&self, word: u64) -> u64 {
        word >> (self.port_bits + 1)
    }

    fn port(&self, word: u64) -> PortId {
        let [.., high, low] = (word >> 1 & ((1 << self.port_bits) - 1)).to_be_bytes();
        PortId(u16::from_be_bytes([high, low]))
    }
}

/// Words are 0 (empty) or, from the top: rest of the scrambled key, port, 1.
#[derive(Debug)]
#[repr(align(64))]
struct Bucket {
    words: [AtomicU64; WAYS],
    /// Seconds.
    seen: [AtomicU32; WAYS],
    /// As [`Flap`] reads it.
    flap: [AtomicU32; WAYS],
}

#[derive(Clone, Copy)]
struct Slot<'a> {
    bucket: u64,
    word: &'a AtomicU64,
    seen: &'a AtomicU32,
    flap: &'a AtomicU32,
}

impl Bucket {
    fn empty() -> Self {
        Self {
            words: array::from_fn(|_| AtomicU64::default()),
            seen: array::from_fn(|_| AtomicU32::default()),
            flap: array::from_fn(|_| AtomicU32::default()),
        }
    }

    fn slots(&self, bucket: u64) -> impl Iterator<Item = Slot<'_>> {
        let times = self.seen.iter().zip(&self.flap);
        self.words.iter().zip(times).map(move |(word, (seen, flap))| Slot { bucket, word, seen, flap })
    }
}

impl Slot<'_> {
    /// Seconds since the last frame; 0 if another worker's clock is ahead.
    fn age(&self, now: u32) -> u32 {
        now.saturating_sub(self.seen.load(Relaxed))
    }
}

/// Seconds since the origin; wraps after 136 years.
pub(crate) fn secs(now: Instant) -> u32 {
    u32::try_from((now.as_micros() / 1_000_000) & u64::from(u32::MAX)).unwrap_or(0)
}

/// How often a worker tries again when others change the slot it wants.
const ATTEMPTS: u32 = 8;

#[cfg(test)]
mod tests;
