//! Counters of every port: plain atomics, written by workers, read by anyone.
//!
//! They add up: `rx_frames` = `forwarded` + `punted` + the sum of `drops`. `tx_*` count copies, as the carrier
//! reports them.

use std::{array, collections::BTreeMap, sync::atomic::Ordering::Relaxed};

use serde::Serialize;

use crate::{
    port::PortId,
    recent::{RecentDrop, Ring},
    sync::AtomicU64,
    verdict::{DropReason, Outcome},
};

/// The counters of all ports. A port beyond [`crate::Limits::ports`] has none.
#[derive(Debug)]
pub struct Stats {
    rows: Box<[Row]>,
}

impl Stats {
    pub(crate) fn new(ports: u16) -> Self {
        Self { rows: (0..ports).map(|_| Row::default()).collect() }
    }

    /// Counts `frames` frames with together `octets` octets (outermost tag not included) sent by `port`.
    pub fn tx(&self, port: PortId, frames: u64, octets: u64) {
        if let Some(row) = self.rows.get(port.index()) {
            row.tx_frames.fetch_add(frames, Relaxed);
            row.tx_bytes.fetch_add(octets, Relaxed);
        }
    }

    /// Counts `frames` copies for `port` that the carrier could not send.
    pub fn tx_drop(&self, port: PortId, frames: u64) {
        if let Some(row) = self.rows.get(port.index()) {
            row.tx_drops.fetch_add(frames, Relaxed);
        }
    }

    /// The counters of `port` now; `None` beyond the limit. Read one by one, so only at rest do they add up exactly.
    #[must_use]
    pub fn port(&self, port: PortId) -> Option<PortCounters> {
        let row = self.rows.get(port.index())?;
        Some(PortCounters {
            rx_frames: row.rx_frames.load(Relaxed),
            rx_bytes: row.rx_bytes.load(Relaxed),
            forwarded: row.forwarded.load(Relaxed),
            punted: row.punted.load(Relaxed),
            drops: DropReason::NAMES.into_iter().zip(row.drops.iter().map(|n| n.load(Relaxed))).collect(),
            reflected: row.reflected.load(Relaxed),
            echoes: row.echoes.load(Relaxed),
            moves: row.moves.load(Relaxed),
            held: row.held.load(Relaxed),
            crowded: row.crowded.load(Relaxed),
            withheld: row.withheld.load(Relaxed),
            tx_frames: row.tx_frames.load(Relaxed),
            tx_bytes: row.tx_bytes.load(Relaxed),
            tx_drops: row.tx_drops.load(Relaxed),
        })
    }

    /// The last drops of frames that came in on `port`, oldest first.
    #[must_use]
    pub fn recent(&self, port: PortId) -> Vec<RecentDrop> {
        let records = self.rows.get(port.index()).map(|row| row.recent.records()).unwrap_or_default();
        records.into_iter().map(|(_, record)| record).collect()
    }

    /// Keeps a drop in mind.
    pub(crate) fn dropped(&self, record: &RecentDrop) {
        if let Some(row) = self.rows.get(record.port.index()) {
            row.recent.push(record);
        }
    }

    /// Counts one frame of `octets` octets that came in on `port`, and what became of it.
    pub(crate) fn rx(&self, port: PortId, octets: u32, outcome: Outcome) {
        let Some(row) = self.rows.get(port.index()) else { return };
        row.rx_frames.fetch_add(1, Relaxed);
        row.rx_bytes.fetch_add(u64::from(octets), Relaxed);
        let fate = match outcome {
            Outcome::Forward => Some(&row.forwarded),
            Outcome::Punt(_) => Some(&row.punted),
            Outcome::Drop(reason) => row.drops.get(reason as usize),
        };
        if let Some(counter) = fate {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// Counts `frames` frames of together `octets` octets that came in on `port` and were forwarded.
    pub(crate) fn passed(&self, port: PortId, frames: u64, octets: u64, reflected: bool) {
        let Some(row) = self.rows.get(port.index()) else { return };
        row.rx_frames.fetch_add(frames, Relaxed);
        row.rx_bytes.fetch_add(octets, Relaxed);
        row.forwarded.fetch_add(frames, Relaxed);
        if reflected {
            row.reflected.fetch_add(frames, Relaxed);
        }
    }

    /// Counts a copy that leaves by `port`, where the frame came in.
    pub(crate) fn reflected(&self, port: PortId) {
        if let Some(row) = self.rows.get(port.index()) {
            row.reflected.fetch_add(1, Relaxed);
        }
    }

    /// Counts a frame of `port`'s own that came back by the uplink.
    pub(crate) fn echo(&self, port: PortId) {
        if let Some(row) = self.rows.get(port.index()) {
            row.echoes.fetch_add(1, Relaxed);
        }
    }

    /// Counts a learnt address that moved to `port`.
    pub(crate) fn moved(&self, port: PortId) {
        if let Some(row) = self.rows.get(port.index()) {
            row.moves.fetch_add(1, Relaxed);
        }
    }

    /// Counts a learnt address that spoke on `port` and stays elsewhere.
    pub(crate) fn held(&self, port: PortId) {
        if let Some(row) = self.rows.get(port.index()) {
            row.held.fetch_add(1, Relaxed);
        }
    }

    /// Counts a source of `port` there was no room for.
    pub(crate) fn crowded(&self, port: PortId) {
        if let Some(row) = self.rows.get(port.index()) {
            row.crowded.fetch_add(1, Relaxed);
        }
    }

    /// Counts copies of `port`'s frames that nobody listens to.
    pub(crate) fn withheld(&self, port: PortId, copies: usize) {
        if let Some(row) = self.rows.get(port.index()).filter(|_| copies > 0) {
            row.withheld.fetch_add(u64::try_from(copies).unwrap_or(0), Relaxed);
        }
    }
}

/// The counters of one port, as shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PortCounters {
    /// Frames that came in.
    pub rx_frames: u64,
    /// Their octets, outermost tag not included.
    pub rx_bytes: u64,
    /// Frames that came in and left as at least one copy.
    pub forwarded: u64,
    /// Frames that came in and went to the daemon.
    pub punted: u64,
    /// Frames that came in and were dropped, by [`DropReason::name`]; every reason is present.
    pub drops: BTreeMap<&'static str, u64>,
    /// Copies that left by the port they came in on.
    pub reflected: u64,
    /// Frames of this downlink that came back by the uplink and were withheld from it, whoever else got them.
    pub echoes: u64,
    /// Learnt addresses that moved to this port from another.
    pub moves: u64,
    /// Frames of learnt addresses that spoke here and stay on another port, for they have moved too often.
    pub held: u64,
    /// Frames whose source found no room in the address table, where this port holds more than its share.
    pub crowded: u64,
    /// Copies of this port's group frames that were withheld from ports where nobody listens.
    pub withheld: u64,
    /// Copies sent.
    pub tx_frames: u64,
    /// Their octets, outermost tag not included.
    pub tx_bytes: u64,
    /// Copies the carrier could not send.
    pub tx_drops: u64,
}

impl PortCounters {
    /// Whether every frame that came in has one fate.
    #[must_use]
    pub fn adds_up(&self) -> bool {
        self.rx_frames == self.forwarded + self.punted + self.drops.values().sum::<u64>()
    }
}

/// Aligned to a pair of cache lines, so that workers on different ports do not share one.
#[derive(Debug)]
#[repr(align(128))]
struct Row {
    rx_frames: AtomicU64,
    rx_bytes: AtomicU64,
    forwarded: AtomicU64,
    punted: AtomicU64,
    reflected: AtomicU64,
    echoes: AtomicU64,
    moves: AtomicU64,
    held: AtomicU64,
    crowded: AtomicU64,
    withheld: AtomicU64,
    tx_frames: AtomicU64,
    tx_bytes: AtomicU64,
    tx_drops: AtomicU64,
    drops: [AtomicU64; DropReason::COUNT],
    recent: Ring<16>,
}

impl Default for Row {
    fn default() -> Self {
        Self {
            rx_frames: AtomicU64::default(),
            rx_bytes: AtomicU64::default(),
            forwarded: AtomicU64::default(),
            punted: AtomicU64::default(),
            reflected: AtomicU64::default(),
            echoes: AtomicU64::default(),
            moves: AtomicU64::default(),
            held: AtomicU64::default(),
            crowded: AtomicU64::default(),
            withheld: AtomicU64::default(),
            tx_frames: AtomicU64::default(),
            tx_bytes: AtomicU64::default(),
            tx_drops: AtomicU64::default(),
            drops: array::from_fn(|_| AtomicU64::default()),
            recent: Ring::default(),
        }
    }
}
