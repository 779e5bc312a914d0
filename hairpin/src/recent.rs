//! The last of what happened, kept without locks or allocation: drops, and addresses that moved.
//!
//! A ring's slot is five words under a sequence lock. A writer who finds his slot in use by another leaves his record
//! out; a reader who finds a slot in use, or changed under him, leaves it out. So no record is ever a mixture of two.

use std::{
    array,
    sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use ether::{EtherType, Instant, MacAddr, Vid, mac};
use serde::Serialize;

use crate::{
    control::VsiKey,
    port::PortId,
    sync::{AtomicU64, fence},
    verdict::DropReason,
};

/// A frame that was dropped, or one copy of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RecentDrop {
    /// When, by the clock of [`crate::Relay::process`].
    pub at: Instant,
    /// Why.
    pub reason: DropReason,
    /// Where the frame came in.
    pub port: PortId,
    /// The VSI it came from or, for reasons of egress, should have gone to.
    pub vsi: Option<VsiKey>,
    /// Source address.
    pub src: MacAddr,
    /// Destination address.
    pub dst: MacAddr,
    /// The VLAN, as far as it was found.
    pub vid: Option<Vid>,
    /// EtherType after the tag.
    #[serde(serialize_with = "number")]
    pub ethertype: EtherType,
}

/// An address that showed up on another port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Move {
    /// When, by the clock of [`crate::Relay::process`].
    pub at: Instant,
    /// What came of it.
    pub kind: MoveKind,
    /// The address.
    pub mac: MacAddr,
    /// Its VLAN.
    pub vid: Vid,
    /// Where it was.
    pub from: PortId,
    /// Where it showed up.
    pub to: PortId,
}

/// What the relay did about an address on another port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MoveKind {
    /// Learnt there.
    Moved,
    /// Left where it was: it has moved too often.
    Held,
    /// A VSI's address, whose frames go there now: the VM has left for another bridge.
    TakenOver,
    /// A VSI's address, spoken for again by the VSI itself.
    Reclaimed,
}

/// What fits a slot.
pub(crate) trait Record: Sized {
    fn pack(&self) -> [u64; WORDS];
    fn unpack(words: [u64; WORDS]) -> Option<Self>;
}

/// The last `N` records.
#[derive(Debug)]
pub(crate) struct Ring<const N: usize> {
    next: AtomicU64,
    slots: [Slot; N],
}

#[derive(Debug, Default)]
struct Slot {
    /// 0: empty; odd: being written; else twice the record's number, from 1.
    sequence: AtomicU64,
    words: [AtomicU64; WORDS],
}

impl<const N: usize> Default for Ring<N> {
    fn default() -> Self {
        Self { next: AtomicU64::default(), slots: array::from_fn(|_| Slot::default()) }
    }
}

impl<const N: usize> Ring<N> {
    pub(crate) fn push(&self, record: &impl Record) {
        let number = self.next.fetch_add(1, Relaxed);
        let at = usize::try_from(number % N as u64).unwrap_or(0);
        let Some(slot) = self.slots.get(at) else { return };
        let old = slot.sequence.load(Relaxed);
        let mine = 2 * number + 1;
        let free = old % 2 == 0 && old < mine;
        if !free || slot.sequence.compare_exchange(old, mine, AcqRel, Relaxed).is_err() {
            return;
        }
        fence(Release);
        for (to, word) in slot.words.iter().zip(record.pack()) {
            to.store(word, Relaxed);
        }
        slot.sequence.store(mine + 1, Release);
    }

    /// The records, with their numbers from 0, oldest first.
    pub(crate) fn records<R: Record>(&self) -> Vec<(u64, R)> {
        let mut records: Vec<_> = self.slots.iter().filter_map(Slot::read).collect();
        records.sort_unstable_by_key(|(number, _)| *number);
        records
    }
}

impl Slot {
    fn read<R: Record>(&self) -> Option<(u64, R)> {
        let before = self.sequence.load(Acquire);
        if before == 0 || before % 2 == 1 {
            return None;
        }
        let words = array::from_fn(|at| self.words.get(at).map_or(0, |word| word.load(Relaxed)));
        fence(Acquire);
        (self.sequence.load(Relaxed) == before).then_some(())?;
        Some((before / 2 - 1, R::unpack(words)?))
    }
}

impl Record for RecentDrop {
    fn pack(&self) -> [u64; WORDS] {
        let vid = self.vid.map_or(0, |vid| u64::from(vid.get()));
        let vsi = self.vsi.map_or(0, |VsiKey(key)| u64::from(key) << 1 | 1);
        [
            self.at.as_micros(),
            mac::to_u64(self.src) << 12 | vid,
            mac::to_u64(self.dst) << 16 | u64::from(self.ethertype.0),
            u64::from(self.port.0) << 8 | self.reason as u64,
            vsi,
        ]
    }

    fn unpack([at, src, dst, port, vsi]: [u64; WORDS]) -> Option<Self> {
        Some(Self {
            at: Instant::from_micros(at),
            reason: *DropReason::ALL.get(usize::try_from(port & 0xff).ok()?)?,
            port: PortId(low(port >> 8)),
            vsi: (vsi & 1 == 1).then_some(VsiKey(u32::try_from(vsi >> 1).ok()?)),
            src: mac::from_u64(src >> 12),
            dst: mac::from_u64(dst >> 16),
            vid: Vid::new(low(src & 0xfff)),
            ethertype: EtherType(low(dst)),
        })
    }
}

impl Record for Move {
    fn pack(&self) -> [u64; WORDS] {
        let ports = u64::from(self.from.0) << 16 | u64::from(self.to.0);
        let address = mac::to_u64(self.mac) << 12 | u64::from(self.vid.get());
        [self.at.as_micros(), address, ports, self.kind as u64, 0]
    }

    fn unpack([at, address, ports, kind, _]: [u64; WORDS]) -> Option<Self> {
        let kinds = [MoveKind::Moved, MoveKind::Held, MoveKind::TakenOver, MoveKind::Reclaimed];
        Some(Self {
            at: Instant::from_micros(at),
            kind: *kinds.get(usize::try_from(kind).ok()?)?,
            mac: mac::from_u64(address >> 12),
            vid: Vid::new(low(address & 0xfff))?,
            from: PortId(low(ports >> 16)),
            to: PortId(low(ports)),
        })
    }
}

/// The low sixteen bits.
fn low(word: u64) -> u16 {
    let [.., high, low] = word.to_be_bytes();
    u16::from_be_bytes([high, low])
}

fn number<S: serde::Serializer>(ethertype: &EtherType, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(ethertype)
}

pub(crate) const WORDS: usize = 5;

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn drop_of(n: u64) -> RecentDrop {
        let octet = n.to_be_bytes()[7];
        RecentDrop {
            at: Instant::from_micros(n),
            reason: DropReason::ALL[usize::from(octet) % DropReason::COUNT],
            port: PortId(low(n)),
            vsi: n.is_multiple_of(2).then_some(VsiKey(low(n).into())),
            src: MacAddr(2, 0, 0, 0, 0, octet),
            dst: MacAddr(255, 255, 255, 255, 255, octet),
            vid: Vid::new(low(n) % 4095),
            ethertype: EtherType(low(n)),
        }
    }

    #[test]
    fn the_last_ones_in_order() {
        let ring = Ring::<4>::default();
        assert_eq!(ring.records::<RecentDrop>(), []);
        (0..10).for_each(|n| ring.push(&drop_of(n)));
        let expected: Vec<_> = (6..10).map(|n| (n, drop_of(n))).collect();
        assert_eq!(ring.records(), expected);
    }

    #[test]
    fn a_slot_in_use_is_left_alone() {
        let ring = Ring::<1>::default();
        ring.push(&drop_of(1));
        ring.slots[0].sequence.store(3, Relaxed);
        ring.push(&drop_of(2));
        assert_eq!(ring.records::<RecentDrop>(), []);
        ring.slots[0].sequence.store(4, Relaxed);
        assert_eq!(ring.records(), [(1, drop_of(1))]);
    }

    #[test]
    fn threads_never_mix_records() {
        let ring = Ring::<8>::default();
        std::thread::scope(|scope| {
            for worker in 0..3_u64 {
                let ring = &ring;
                scope.spawn(move || (0..20_000).for_each(|n| ring.push(&drop_of(n * 3 + worker))));
            }
            for _ in 0..2000 {
                for (_, record) in ring.records::<RecentDrop>() {
                    assert_eq!(record, drop_of(record.at.as_micros()));
                }
            }
        });
        assert_eq!(ring.records::<RecentDrop>().len(), 8);
    }

    proptest! {
        #[test]
        fn packed_and_back(n: u64, vid in 1..4095_u16, from: u16, to: u16) {
            let one = drop_of(n);
            prop_assert_eq!(RecentDrop::unpack(one.pack()), Some(one));
            for kind in [MoveKind::Moved, MoveKind::Held, MoveKind::TakenOver, MoveKind::Reclaimed] {
                let (mac, vid) = (mac::from_u64(n >> 16), Vid::new(vid).unwrap());
                let one = Move { at: Instant::from_micros(n), kind, mac, vid, from: PortId(from), to: PortId(to) };
                prop_assert_eq!(Move::unpack(one.pack()), Some(one));
            }
        }
    }
}
