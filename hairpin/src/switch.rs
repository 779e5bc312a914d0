//! The relay as workers see it: one decision per frame, and what that decision shares between workers.
//!
//! The order of steps is that of the forwarding process [Q 8.6], with the reserved addresses first: what is meant
//! for the daemon reaches it whatever VLANs the port has.

use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, Cache, Guard};
use ether::{ChannelTag, EtherType, Instant, MacAddr, Tag, Vid, mac};

use crate::{
    bucket::Bucket,
    classify::{self, Class},
    control::VsiKey,
    egress, extend,
    fdb::{self, Fdb, FdbEntry, Key},
    filter, flood,
    groups::{self, Groups, Noted},
    lag,
    lasting::{Keeper, Passing},
    learn, police,
    port::{PortId, Role},
    recent::{Move, MoveKind, RecentDrop, Ring},
    reflect,
    row::Row,
    snapshot::{RelayKind, Snapshot},
    stats::Stats,
    trace::{Step, TargetKind, Trace, Watch},
    verdict::{DropReason, Outcome, PuntReason, Verdict},
    vsi::VsiCounters,
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
    /// Moves of a learnt address within the window before it is held; at most 254. 0: it may always move.
    pub flap_moves: u8,
    /// Seconds in which they count.
    pub flap_window: u32,
    /// Seconds for which it is held.
    pub flap_hold: u32,
    /// Whether group frames go only where listeners are; see [`crate::policy::GroupFilter`].
    pub snooping: bool,
    /// Listeners, routers and queries remembered, of all ports and VLANs; one port has at most an eighth. Where there is
    /// no room a port gets every group.
    pub groups: u32,
}

impl Limits {
    /// What a relay has that nobody asked to be otherwise.
    pub const DEFAULT: Self = Self {
        ports: 1024,
        fdb_entries: 65_536,
        fdb_ageing: 300,
        downlink_addresses: 256,
        hash_seed: 0,
        flap_moves: 5,
        flap_window: 10,
        flap_hold: 30,
        snooping: true,
        groups: 65_536,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
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
    /// What follows that EtherType, best all of it: rules look for ports behind the headers of IP, snooping reads IGMP and
    /// MLD. A rule takes what is missing for hidden.
    pub payload: &'a [u8],
}

/// The part of a relay that control and all workers share, behind one `Arc`.
#[derive(Debug)]
pub struct Relay {
    limits: Limits,
    snapshot: ArcSwap<Snapshot>,
    fdb: Fdb,
    groups: Groups,
    storms: Box<[[Bucket; 3]]>,
    stats: Stats,
    moves: Ring<64>,
    /// Who is told when decisions are doubtful.
    pub(crate) keeper: OnceLock<Arc<dyn Keeper>>,
}

impl Relay {
    /// A relay without ports.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            snapshot: ArcSwap::from_pointee(Snapshot::default()),
            fdb: Fdb::new(&limits),
            groups: Groups::new(&limits),
            storms: (0..limits.ports).map(|_| Default::default()).collect(),
            stats: Stats::new(limits.ports),
            moves: Ring::default(),
            keeper: OnceLock::new(),
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
    /// or had a VSI closed. What a worker learns at that moment by the old one is not found, and goes with the next
    /// [`Relay::sweep`].
    pub fn publish(&self, snapshot: Snapshot) {
        let new = Arc::new(snapshot);
        for (then, now) in new.reanchored(&self.load()) {
            self.fdb.rename(then, now);
        }
        let old = self.snapshot.swap(Arc::clone(&new));
        let changed: Vec<PortId> = new.changed(&old).collect();
        if changed.iter().any(|port| self.fdb.held(*port) > 0 && !new.keeps(&old, *port)) {
            self.fdb.retain(|entry| {
                new.learns(entry.port, entry.vid)
                    && new.continues(&old, entry.port)
                    && new.owner(entry.mac, entry.vid).is_none()
            });
        } else {
            new.newly_named(&old).for_each(|key| self.fdb.forget(key));
        }
        if changed.iter().any(|port| !new.continues(&old, *port)) {
            self.groups.retain(|port| new.continues(&old, port));
        }
        if let Some(keeper) = self.keeper.get() {
            keeper.forget_all();
        }
    }

    /// Takes away what has aged at `now`, and what was learnt against the snapshot in force. Aged entries are not found
    /// anyway, but until then they count towards bounds: to be called every few seconds.
    pub fn sweep(&self, now: Instant) {
        let snapshot = self.load();
        self.fdb.sweep(now, |entry| snapshot.knows(entry));
        self.groups.sweep(fdb::secs(now), |port| snapshot.row(port).map(|row| row.open_epoch));
    }

    /// The learnt addresses.
    #[must_use]
    pub const fn fdb(&self) -> &Fdb {
        &self.fdb
    }

    /// The counters of ports.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The counters of a VSI since it was opened first; `None` if it is not open.
    #[must_use]
    pub fn vsi(&self, key: VsiKey) -> Option<VsiCounters> {
        Some(self.load().by_key(key)?.state.counters())
    }

    /// The last drops of frames from the VSI, or that should have gone to it, oldest first. Empty if it is not open.
    #[must_use]
    pub fn vsi_drops(&self, key: VsiKey) -> Vec<RecentDrop> {
        self.load().by_key(key).map(|vsi| vsi.state.recent()).unwrap_or_default()
    }

    /// The last moves of addresses, oldest first, each with its number from 0: who looks often enough sees all.
    #[must_use]
    pub fn moves(&self) -> Vec<(u64, Move)> {
        self.moves.records()
    }

    /// All addresses known at `now`, static and learnt, in no order.
    pub fn fdb_entries(&self, now: Instant) -> Vec<FdbEntry> {
        let snapshot = self.load();
        let learnt = self.fdb.entries(now).filter(|entry| snapshot.knows(entry));
        snapshot.statics().chain(learnt).collect()
    }

    /// Decides on one frame that came in on `ingress`, and counts it there.
    ///
    /// `now` is the time since an origin all workers share; rates are as precise as it is. The copies are not counted:
    /// the carrier reports what it sent with [`Stats::tx`].
    pub fn process(
        &self,
        snapshot: &Snapshot,
        now: Instant,
        ingress: PortId,
        frame: &Frame<'_>,
        verdict: &mut Verdict,
    ) {
        self.context(snapshot, now, true).settle(ingress, None, frame, verdict, &mut ());
    }

    /// The same for a frame that came in on `link` with the tag of an E-channel, which `frame` is without. At a
    /// controlling bridge it counts as come in on the extended port at the end of the channel.
    pub fn process_tagged(
        &self,
        snapshot: &Snapshot,
        now: Instant,
        link: PortId,
        tag: ChannelTag,
        frame: &Frame<'_>,
        verdict: &mut Verdict,
    ) {
        self.context(snapshot, now, true).settle(link, Some(tag), frame, verdict, &mut ());
    }

    /// What [`Relay::process`] would do with the frame, and why. With `commit` it does it: the frame teaches, is policed
    /// and counted like any other; without, what the frame itself would teach is not taken into account where it goes.
    /// Either way nobody sends the copies.
    #[must_use]
    pub fn trace(&self, now: Instant, ingress: PortId, frame: &Frame<'_>, commit: bool) -> Trace {
        let (mut verdict, mut steps) = (Verdict::new(self.limits.ports), Vec::new());
        self.context(&self.load(), now, commit).settle(ingress, None, frame, &mut verdict, &mut steps);
        Trace::new(steps, &verdict)
    }

    /// The same for a frame of [`Relay::process_tagged`], which leaves no traces.
    #[must_use]
    pub fn trace_tagged(&self, now: Instant, link: PortId, tag: ChannelTag, frame: &Frame<'_>) -> Trace {
        let (mut verdict, mut steps) = (Verdict::new(self.limits.ports), Vec::new());
        self.context(&self.load(), now, false).settle(link, Some(tag), frame, &mut verdict, &mut steps);
        Trace::new(steps, &verdict)
    }

    /// What [`Relay::process`] would decide, by the snapshot in force. The frame leaves no traces.
    pub(crate) fn preview(&self, now: Instant, ingress: PortId, frame: &Frame<'_>, verdict: &mut Verdict) {
        self.context(&self.load(), now, false).settle(ingress, None, frame, verdict, &mut ());
    }

    /// Counts a frame of `len` octets that came in on `ingress` and that the carrier could not read, for that reason.
    pub fn reject(&self, ingress: PortId, len: u32, reason: DropReason) {
        self.stats.rx(ingress, len, Outcome::Drop(reason));
    }

    fn context<'a>(&'a self, snapshot: &'a Snapshot, now: Instant, live: bool) -> Context<'a> {
        let Self { limits, fdb, groups, storms, stats, moves, keeper, .. } = self;
        let secs = fdb::secs(now);
        Context { limits, snapshot, fdb, groups, storms, stats, moves, keeper, now, secs, live }
    }
}

/// What the steps of one decision look at.
pub(crate) struct Context<'a> {
    pub(crate) limits: &'a Limits,
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) fdb: &'a Fdb,
    pub(crate) groups: &'a Groups,
    /// Buckets of each port: broadcast, multicast, unknown.
    pub(crate) storms: &'a [[Bucket; 3]],
    pub(crate) stats: &'a Stats,
    moves: &'a Ring<64>,
    keeper: &'a OnceLock<Arc<dyn Keeper>>,
    pub(crate) now: Instant,
    /// [`fdb::secs`] of the time.
    pub(crate) secs: u32,
    /// Whether the frame leaves traces: false where a decision is only explained.
    pub(crate) live: bool,
}

/// Whose frame it is, as far as a decision got.
#[derive(Clone, Copy, Default)]
struct Blame {
    vsi: Option<u32>,
    vid: Option<Vid>,
}

impl Context<'_> {
    /// Decides, counts, and keeps a drop in mind.
    fn settle(
        &self,
        link: PortId,
        tag: Option<ChannelTag>,
        frame: &Frame<'_>,
        verdict: &mut Verdict,
        watch: &mut impl Watch,
    ) {
        verdict.begin();
        let mut blame = Blame::default();
        let (ingress, outcome) = match self.arrival(link, tag, watch) {
            Ok(port) => (port, self.decide(port, tag, frame, verdict, &mut blame, watch)),
            Err(reason) => (link, Err(reason)),
        };
        let outcome = outcome.unwrap_or_else(Outcome::Drop);
        verdict.settle(outcome);
        if !self.live {
            return;
        }
        self.stats.rx(ingress, frame.len, outcome);
        if verdict.copies().iter().any(|copy| copy.reflected) {
            self.stats.reflected(ingress);
        }
        let vsi = blame.vsi.and_then(|at| self.snapshot.vsi(at));
        if let Some(vsi) = vsi {
            vsi.state.rx(1, frame.len.into());
        }
        if let Outcome::Drop(reason) = outcome {
            let record = self.record(reason, ingress, frame, blame.vid, vsi.map(|vsi| vsi.key));
            self.stats.dropped(&record);
            if let Some(vsi) = vsi {
                vsi.state.dropped(&record);
            }
        }
    }

    /// The port a frame counts as come in on.
    fn arrival(
        &self,
        link: PortId,
        tag: Option<ChannelTag>,
        watch: &mut impl Watch,
    ) -> Result<PortId, DropReason> {
        let (Some(tag), RelayKind::Bridge) = (tag, self.snapshot.kind()) else { return Ok(link) };
        let ChannelTag::Up(up) = tag else { return Err(DropReason::ChannelTag) };
        watch.note(|| Step::Channel { ecid: up.source.into(), port: link });
        self.snapshot.channels.up(link, up.source).ok_or(DropReason::ChannelUnknown)
    }

    fn decide(
        &self,
        ingress: PortId,
        tag: Option<ChannelTag>,
        frame: &Frame<'_>,
        verdict: &mut Verdict,
        blame: &mut Blame,
        watch: &mut impl Watch,
    ) -> Result<Outcome, DropReason> {
        let row = filter::admit(self.snapshot, ingress)?;
        let Row { id: port, role, reflective, guard, .. } = *row;
        watch.note(|| Step::Admit { port, role, reflective, guard });
        let extender = self.snapshot.kind() == RelayKind::Extender;
        if extender || role == Role::Cascade || row.extension.is_some() || tag.is_some() {
            verdict.lasts_mut().not(Passing::Extension);
        }
        if extender {
            return extend::extender::decide(self, row, tag, frame, verdict, watch);
        }
        if role == Role::Cascade {
            return extend::bridge::untagged(frame);
        }
        let row = self.snapshot.whole(row);
        let up = match tag {
            Some(ChannelTag::Up(up)) => Some(up),
            Some(ChannelTag::Down(_)) | None => None,
        };
        blame.vsi = row.alone;
        if mac::is_reserved(frame.dst) {
            return filter::reserved(row, frame.dst);
        }
        if up.is_some() && frame.ethertype == EtherType::ECP {
            // To our own address, from a port extender behind an extended port.
            return Ok(Outcome::Punt(PuntReason::Reserved));
        }
        filter::probe(row, frame)?;
        let mut class = classify::classify(self.snapshot, row, frame, up)?;
        let Class { vid, pcp, dei, vsi, .. } = class;
        *blame = Blame { vsi: vsi.or(row.alone), vid: Some(vid) };
        watch.note(|| {
            let vsi = vsi.and_then(|at| self.snapshot.vsi(at)).map(|vsi| vsi.key);
            Step::Classify { vid, pcp, dei, vsi }
        });
        filter::filter(self, row, frame.src, &class, watch)?;
        police::ingress(self, row, frame, &mut class, verdict, watch)?;
        let from = blame.vsi.and_then(|at| self.snapshot.vsi(at)).map(|vsi| vsi.key);
        verdict.lasts_mut().set_from(vid, from);
        let sender = learn::learn(self, row, frame.src, &class, verdict.lasts_mut(), watch)?;
        let noted = groups::snoop(self, row, vid, frame);
        if noted != Noted::Nothing {
            watch.note(|| Step::Snoop);
        }
        let copies = verdict.copies_mut();
        let target = flood::spread(self, row, frame.dst, vid, copies);
        watch.note(|| Step::Lookup { target: target.kind, ports: copies.len() });
        flood::limit(self, row, target.kind, watch)?;
        reflect::reflect(self, row, sender, target.kind, copies)?;
        let withheld = groups::narrow(self, vid, frame, noted, copies);
        if withheld > 0 {
            watch.note(|| Step::Narrow { withheld });
            self.count(|stats| stats.withheld(port, withheld));
        }
        let refused = police::egress(self, row, frame, &class, target.vsi, verdict, watch);
        if verdict.copies().is_empty() {
            return Err(refused.unwrap_or(DropReason::NoListener));
        }
        match target.kind {
            _ if mac::is_group(frame.dst) => verdict.lasts_mut().not(Passing::Group),
            TargetKind::Known | TargetKind::OneWay => {}
            _ => verdict.lasts_mut().not(Passing::Unknown),
        }
        if verdict.copies().len() > 1 {
            verdict.lasts_mut().not(Passing::Copies);
        }
        verdict.set_priority(class.pcp);
        lag::choose(self, ingress, vid, frame, verdict.copies_mut(), watch);
        egress::tag(self.snapshot, &class, verdict.copies_mut());
        extend::bridge::leave(self, ingress, &class, frame.len, verdict, watch)?;
        if verdict.copies().iter().any(|copy| copy.via.is_some()) {
            verdict.lasts_mut().not(Passing::Extension);
        }
        Ok(Outcome::Forward)
    }

    /// Counts, if the frame is to leave traces.
    pub(crate) fn count(&self, count: impl FnOnce(&Stats)) {
        if self.live {
            count(self.stats);
        }
    }

    /// Decisions on frames from or to `mac` may be others now.
    pub(crate) fn forget(&self, mac: MacAddr) {
        if let Some(keeper) = self.keeper.get() {
            keeper.forget(mac);
        }
    }

    /// Keeps a move in mind.
    pub(crate) fn moved(&self, kind: MoveKind, mac: MacAddr, vid: Vid, from: PortId, to: PortId) {
        self.moves.push(&Move { at: self.now, kind, mac, vid, from, to });
    }

    /// A dropped frame in short.
    pub(crate) fn record(
        &self,
        reason: DropReason,
        port: PortId,
        frame: &Frame<'_>,
        vid: Option<Vid>,
        vsi: Option<VsiKey>,
    ) -> RecentDrop {
        let Frame { src, dst, ethertype, .. } = *frame;
        RecentDrop { at: self.now, reason, port, vsi, src, dst, vid, ethertype }
    }

    /// The port `mac` is on in `vid`, and the VSI that names it there: a VSI's, where it was taken over, or as learnt.
    pub(crate) fn locate(&self, mac: MacAddr, vid: Vid) -> Option<(PortId, Option<u32>)> {
        let Some(owner) = self.snapshot.owner(mac, vid) else {
            return self.learnt(mac, vid).map(|port| (port, None));
        };
        let taken = self.snapshot.vsi(owner.vsi).and_then(|vsi| vsi.state.taken_by());
        match taken.filter(|port| self.snapshot.reaches(*port, vid)) {
            Some(port) => Some((port, None)),
            None => Some((owner.port, Some(owner.vsi))),
        }
    }

    /// The port `mac` was learnt on in `vid`, if that port may still have learnt it.
    pub(crate) fn learnt(&self, mac: MacAddr, vid: Vid) -> Option<PortId> {
        let port = self.fdb.lookup(Key::new(mac, vid), self.secs)?;
        self.snapshot.learns(port, vid).then_some(port)
    }
}
