//! What a VSI has beside its configuration: counters, buckets, its last drops. Outlives snapshots.

use std::{array, collections::BTreeMap, sync::atomic::Ordering::Relaxed};

use serde::Serialize;

use crate::{
    bucket::Bucket,
    port::PortId,
    recent::{RecentDrop, Ring},
    sync::{AtomicU32, AtomicU64},
    verdict::DropReason,
};

/// The counters of one VSI since it was opened, as shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VsiCounters {
    /// Frames that came from the VM, those dropped included.
    pub rx_frames: u64,
    /// Their octets, outermost tag not included.
    pub rx_octets: u64,
    /// Frames that went to the VM's port for it. Group frames on a port with several VSIs in the VLAN are no one's.
    pub tx_frames: u64,
    /// Their octets.
    pub tx_octets: u64,
    /// Frames from the VM and, for reasons of egress, frames to it, that were dropped: by [`DropReason::name`]; every
    /// reason is present.
    pub drops: BTreeMap<&'static str, u64>,
    /// Times a port that takes over has spoken for one of its addresses.
    pub taken_over: u64,
    /// The port that speaks for them now.
    pub taken_by: Option<PortId>,
}

/// What workers write of a VSI.
#[derive(Debug)]
pub(crate) struct VsiState {
    rx_frames: AtomicU64,
    rx_octets: AtomicU64,
    tx_frames: AtomicU64,
    tx_octets: AtomicU64,
    drops: [AtomicU64; DropReason::COUNT],
    pub(crate) ingress: Bucket,
    pub(crate) egress: Bucket,
    taken_over: AtomicU64,
    /// The port that took the addresses over, from 1; 0: none did.
    taken_by: AtomicU32,
    recent: Ring<8>,
}

impl Default for VsiState {
    fn default() -> Self {
        Self {
            rx_frames: AtomicU64::default(),
            rx_octets: AtomicU64::default(),
            tx_frames: AtomicU64::default(),
            tx_octets: AtomicU64::default(),
            drops: array::from_fn(|_| AtomicU64::default()),
            ingress: Bucket::default(),
            egress: Bucket::default(),
            taken_over: AtomicU64::default(),
            taken_by: AtomicU32::default(),
            recent: Ring::default(),
        }
    }
}

impl VsiState {
    pub(crate) fn rx(&self, frames: u64, octets: u64) {
        self.rx_frames.fetch_add(frames, Relaxed);
        self.rx_octets.fetch_add(octets, Relaxed);
    }

    pub(crate) fn tx(&self, frames: u64, octets: u64) {
        self.tx_frames.fetch_add(frames, Relaxed);
        self.tx_octets.fetch_add(octets, Relaxed);
    }

    pub(crate) fn dropped(&self, record: &RecentDrop) {
        if let Some(count) = self.drops.get(record.reason as usize) {
            count.fetch_add(1, Relaxed);
        }
        self.recent.push(record);
    }

    /// The port that speaks for its addresses in its stead.
    pub(crate) fn taken_by(&self) -> Option<PortId> {
        let port = self.taken_by.load(Relaxed).checked_sub(1)?;
        u16::try_from(port).ok().map(PortId)
    }

    /// Lets `port` speak for its addresses; false if it did already.
    pub(crate) fn take_over(&self, port: PortId) -> bool {
        let mine = u32::from(port.0) + 1;
        let news = self.taken_by.load(Relaxed) != mine && self.taken_by.swap(mine, Relaxed) != mine;
        if news {
            self.taken_over.fetch_add(1, Relaxed);
        }
        news
    }

    /// Its own port speaks for its addresses again; the one that did in its stead.
    pub(crate) fn reclaim(&self) -> Option<PortId> {
        self.taken_by()?;
        let port = self.taken_by.swap(0, Relaxed).checked_sub(1)?;
        u16::try_from(port).ok().map(PortId)
    }

    pub(crate) fn counters(&self) -> VsiCounters {
        VsiCounters {
            rx_frames: self.rx_frames.load(Relaxed),
            rx_octets: self.rx_octets.load(Relaxed),
            tx_frames: self.tx_frames.load(Relaxed),
            tx_octets: self.tx_octets.load(Relaxed),
            drops: DropReason::NAMES.into_iter().zip(self.drops.iter().map(|n| n.load(Relaxed))).collect(),
            taken_over: self.taken_over.load(Relaxed),
            taken_by: self.taken_by(),
        }
    }

    pub(crate) fn recent(&self) -> Vec<RecentDrop> {
        self.recent.records().into_iter().map(|(_, record)| record).collect()
    }
}
