//! The relay as workers see it: one decision per frame, and what that decision shares between workers.
//!
//! The order of steps is that of the forwarding process [Q 8.6], with the reserved addresses first: what is meant
//! for the daemon reaches it whatever VLANs the port has.

use std::sync::Arc;

use arc_swap::{ArcSwap, Cache, Guard};
use ether::{EtherType, Instant, MacAddr, Tag, Vid, mac};

use crate::{
    classify, egress,
    fdb::{self, Fdb, FdbEntry, Key},
    filter, flood, learn,
    port::PortId,
    reflect,
    snapshot::Snapshot,
    stats::Stats,
    verdict::{DropReason, Outcome, Verdict},
};

/// What bounds a relay; fixed when it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Ports; every [`PortId`] is below it.
    pub ports: u16,
    /// Learnt addresses; rounded up as [`Fdb`] says.
    pub fdb_entries: u32,
    /// Seconds a learnt address outlives the last frame from it.
    pub fdb_ageing: u32,
    /// Learnt addresses of one downlink whose VSI names no address.
    pub downlink_addresses: u32,
    /// Any number, best a random one: makes it hard to choose addresses that push others out of the table.
    pub hash_seed: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { ports: 1024, fdb_entries: 65_536, fdb_ageing: 300, downlink_addresses: 256, hash_seed: 0 }
    }
}

/// What the relay needs to know of a frame. The outermost VLAN tag travels beside the frame, not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Destination address.
    pub dst: MacAddr,
    /// Source address.
    pub src: MacAddr,
    /// The outermost VLAN tag.
    pub tag: Option<Tag>,
    /// EtherType after that tag.
    pub ethertype: EtherType,
    /// Octets of the frame without that tag and without check sequence.
    pub len: u32,
    /// What follows that EtherType, as far as it is at hand: up to 128 octets are looked at.
    pub payload: &'a [u8],
}

/// The part of a relay that control and all workers share, behind one `Arc`.
#[derive(Debug)]
pub struct Relay {
    limits: Limits,
    snapshot: ArcSwap<Snapshot>,
    fdb: Fdb,
    stats: Stats,
}

impl Relay {
    /// A relay without ports.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            snapshot: ArcSwap::from_pointee(Snapshot::default()),
            fdb: Fdb::new(&limits),
            stats: Stats::new(limits.ports),
        }
    }

    /// The bounds it was made with.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The snapshot in force.
    #[must_use]
    pub fn load(&self) -> Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// A worker's view of the snapshot in force: `reader.load()` costs one atomic read while nothing changes.
    #[must_use]
    pub fn reader(&self) -> Cache<&ArcSwap<Snapshot>, Arc<Snapshot>> {
        Cache::new(&self.snapshot)
    }

    /// Puts `snapshot` in force for every frame whose processing starts from here on, and forgets learnt addresses
    /// that have no place in it: those a VSI now names, and those of ports that went away, went down, left the VLAN
    /// or had a VSI closed.
    pub fn publish(&self, snapshot: Snapshot) {
        let new = Arc::new(snapshot);
        let old = self.snapshot.swap(Arc::clone(&new));
        self.fdb.retain(|entry| {
            new.learns(entry.port, entry.vid)
                && new.continues(&old, entry.port)
                && new.owner(entry.mac, entry.vid).is_none()
        });
    }

    /// The learnt addresses.
    #[must_use]
    pub const fn fdb(&self) -> &Fdb {
        &self.fdb
    }

    /// The counters.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// All addresses known at `now`, static and learnt, in no order.
    pub fn fdb_entries(&self, now: Instant) -> Vec<FdbEntry> {
        let snapshot = self.load();
        snapshot.statics().chain(self.fdb.entries(now)).collect()
    }

    /// Decides on one frame that came in on `ingress`, and counts it there.
    ///
    /// `now` is the time since an origin all workers share; rates are as precise as it is. The copies are not counted: the carrier
    /// reports what it sent with [`Stats::tx`].
    pub fn process(
        &self,
        snapshot: &Snapshot,
        now: Instant,
        ingress: PortId,
        frame: &Frame<'_>,
        verdict: &mut Verdict,
    ) {
        let context = Context {
            limits: &self.limits,
            snapshot,
            fdb: &self.fdb,
            stats: &self.stats,
            secs: fdb::secs(now),
        };
        let outcome = context.decide(ingress, frame, verdict).unwrap_or_else(Outcome::Drop);
        verdict.settle(outcome);
        self.stats.rx(ingress, frame.len, outcome);
    }

    /// Counts a frame of `len` octets that came in on `ingress` and that the carrier could not read.
    pub fn reject(&self, ingress: PortId, len: u32) {
        self.stats.rx(ingress, len, Outcome::Drop(DropReason::Malformed));
    }
}

/// What the steps of one decision look at.
pub(crate) struct Context<'a> {
    pub(crate) limits: &'a Limits,
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) fdb: &'a Fdb,
    pub(crate) stats: &'a Stats,
    /// [`fdb::secs`] of the time.
    pub(crate) secs: u32,
}

impl Context<'_> {
    fn decide(
        &self,
        ingress: PortId,
        frame: &Frame<'_>,
        verdict: &mut Verdict,
    ) -> Result<Outcome, DropReason> {
        let copies = verdict.begin();
        let row = filter::admit(self.snapshot, ingress)?;
        if mac::is_reserved(frame.dst) {
            return filter::reserved(row);
        }
        filter::probe(row, frame)?;
        let class = classify::classify(self.snapshot, row, frame)?;
        filter::filter(row, frame.src, &class)?;
        let sender = learn::learn(self, row, frame.src, &class)?;
        let target = flood::spread(self, row, frame.dst, class.vid, copies);
        reflect::reflect(self.stats, row, sender, target, copies)?;
        egress::tag(self.snapshot, &class, copies);
        Ok(Outcome::Forward)
    }

    /// The port `mac` is on in `vid`: a VSI's, or as learnt.
    pub(crate) fn locate(&self, mac: MacAddr, vid: Vid) -> Option<PortId> {
        self.snapshot.owner(mac, vid).map(|owner| owner.port).or_else(|| self.learnt(mac, vid))
    }

    /// The port `mac` was learnt on in `vid`, if that port may still have learnt it.
    pub(crate) fn learnt(&self, mac: MacAddr, vid: Vid) -> Option<PortId> {
        let port = self.fdb.lookup(Key::new(mac, vid), self.secs)?;
        self.snapshot.learns(port, vid).then_some(port)
    }
}
