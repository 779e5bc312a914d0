//! The fast path: frames whose way is settled are forwarded by the kernel, as the relay decided.
//!
//! Where a worker's decision [outlives its frame](hairpin::lasting), it is entered into a table that two eBPF programs
//! read. What is found there never comes to the worker: the kernel hands the frame on as it is, super-frame or not. What
//! is not found, or no longer holds, comes to the worker as before. The relay remains the only one that decides.
//!
//! * **Not one frame by an old decision.** Each flow has the generation of all decisions and the epochs of its addresses
//!   as they were before the relay was asked. The relay makes them others whenever a decision may be another, and before
//!   it says so to anybody; what was decided meanwhile is void from the beginning. A frame is by the old decision only if
//!   the kernel had begun with it before.
//! * **Order.** A flow goes fast when all of its frames that went to the socket have been sent, which is told by their
//!   numbers: the filter counts what it lets through, the worker what it has dealt with and the kernel has dropped. A
//!   socket is one thread's, and a flow one socket's. Frames of one station with and without a tag are two flows, even in
//!   one VLAN. Where a socket is so far behind that it is about to lose frames, a
//!   flow that is to go fast waits for it without adding to it, and what comes meanwhile counts as lost so.
//! * **Counters and ages** are brought to the relay by [`FastPath::settle`].
//!
//! The programs hang on descriptors: when the ports are closed, or the process dies, they are gone.

mod layout;
mod program;
mod table;

use std::{
    fmt,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::Ordering::{Acquire, Relaxed, Release},
    },
};

use ether::{EtherType, Instant, MacAddr, Tag};
use hairpin::{Flow, Frame, Keeper, Relay, Snapshot, Verdict};

use self::{
    layout::row,
    program::Tables,
    table::{Action, Table},
};
use crate::{
    clock,
    error::{OpenError, Step},
    packet::PacketPort,
    socket::at,
    sys,
    sys::bpf::{self, Index, Shared},
};

/// The flows of one relay that the kernel forwards.
pub struct FastPath {
    relay: Weak<Relay>,
    tables: Owned,
    forwarder: OwnedFd,
    table: Mutex<Table>,
}

/// What programs look into.
struct Owned {
    shared: Shared,
    index: Index,
    words: OwnedFd,
}

/// One flow, as shown.
#[derive(Clone, Debug)]
pub struct FlowRow {
    /// What was decided.
    pub flow: Flow,
    /// What becomes of its next frame.
    pub state: FlowState,
    /// Frames the kernel has forwarded since it is there.
    pub frames: u64,
    /// Their octets, outermost tag not included.
    pub octets: u64,
}

/// What becomes of the next frame of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowState {
    /// The kernel forwards it.
    Fast,
    /// It goes to the worker, as do all until the socket has caught up.
    Waits,
    /// It goes to the worker, which decides anew.
    Void,
}

/// When a decision was made: what has to be the same for it to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    generation: u64,
    source: u64,
    destination: u64,
}

/// A port's part in the fast path: its programs, and what its socket has dealt with. Belongs to a socket and ends with it.
#[derive(Debug)]
pub(crate) struct FastSocket {
    path: Arc<FastPath>,
    row: usize,
    target: Target,
    /// Frames taken from the socket.
    pub(crate) taken: u64,
    /// Frames the kernel has dropped.
    pub(crate) dropped: u64,
    /// Frames that were refused, as far as they have been told.
    refused: u64,
    /// When the kernel was last asked for what it has dropped.
    asked: Instant,
    _link: Arc<Link>,
}

/// Where frames may be sent fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    ifindex: u32,
    /// Which namespace that number is of.
    netns: u64,
}

/// The forwarder at an interface.
#[derive(Debug)]
struct Link(OwnedFd);

impl FastPath {
    /// A fast path for the ports of `relay`, each of which `threads` threads serve.
    ///
    /// # Errors
    /// No `CAP_BPF` and `CAP_NET_ADMIN`, no memory, or the relay has one.
    pub fn new(relay: &Arc<Relay>, threads: usize) -> Result<Arc<Self>, OpenError> {
        let fault = || at("relay", Step::FastPath);
        let rows = (usize::from(relay.limits().ports) * threads.max(1)).min(layout::ROWS_MOST);
        let making = || {
            let shared = Shared::new(layout::size(rows))?;
            let index = Index::new(u32::try_from(layout::FLOWS_MOST).unwrap_or(u32::MAX))?;
            let words = bpf::of_each_processor(program::WORD)?;
            let tables = Owned { shared, index, words };
            let forwarder = bpf::load_forwarder(&program::forwarder(&tables.borrowed()))?;
            Ok((tables, forwarder))
        };
        let (tables, forwarder) = making().map_err(fault())?;
        let table = Mutex::new(Table::new(rows, relay.limits().ports));
        let path = Arc::new(Self { relay: Arc::downgrade(relay), tables, forwarder, table });
        path.forget_all();
        let keeper: Arc<dyn Keeper> = Arc::<Self>::clone(&path);
        if !relay.tell(keeper) {
            return Err(fault()(std::io::Error::other("the relay has a fast path")));
        }
        Ok(path)
    }

    /// Counts what has gone fast, keeps its sources from ageing, and lets go of flows that no longer hold or have been
    /// silent long. To be called every second or so, and before counters are read or VSIs closed.
    pub fn settle(&self) {
        if let Some(relay) = self.relay.upgrade() {
            self.table().settle(&self.tables, &relay, clock::now());
        }
    }

    /// All flows, in no order.
    #[must_use]
    pub fn flows(&self) -> Vec<FlowRow> {
        self.table().rows(&self.tables)
    }

    /// Makes `ports`, which are all the sockets of one interface and let nothing through, part of the fast path: they get
    /// their filters, the interface the forwarder.
    pub(crate) fn take_in(self: &Arc<Self>, ports: &mut [PacketPort]) -> Result<(), OpenError> {
        let Some(first) = ports.first() else { return Ok(()) };
        let (interface, ifindex) = (first.interface().to_owned(), first.ifindex());
        let fault = || at(&interface, Step::FastPath);
        if first.svid.is_some() || first.tags.is_some() {
            return Err(fault()(std::io::Error::other("its frames are those of S-channels or E-channels")));
        }
        let netns = sys::netns(first.as_fd()).map_err(fault())?;
        let link = bpf::attach_first(self.forwarder.as_fd(), ifindex).map_err(fault())?;
        let link = Arc::new(Link(link));
        let now = clock::now();
        for port in ports {
            let row = self.table().take_row(now);
            let row = row.ok_or_else(|| fault()(std::io::Error::other("there are too many ports")))?;
            for at in [row::DELIVERED, row::REFUSED, row::DONE] {
                self.tables.store(layout::row(row), at, 0);
            }
            let fast = FastSocket {
                path: Arc::clone(self),
                row,
                target: Target { ifindex, netns },
                taken: 0,
                dropped: 0,
                refused: 0,
                asked: now,
                _link: Arc::clone(&link),
            };
            let room = i32::try_from(port.room() / 2).unwrap_or(i32::MAX);
            let filter = program::filter(&self.tables.borrowed(), row, room);
            let filter = bpf::load_filter(&filter).map_err(fault())?;
            bpf::attach_filter(port.as_fd(), filter.as_fd()).map_err(fault())?;
            port.fast = Some(fast);
        }
        Ok(())
    }

    /// The generation of all decisions: to be read before the snapshot they are made by.
    pub(crate) fn generation(&self) -> u64 {
        self.tables.shared.word(layout::GENERATION.unsigned_abs().into()).map_or(0, |word| word.load(Acquire))
    }

    /// When the decision on `frame` is made: to be read before.
    pub(crate) fn stamp(&self, generation: u64, frame: &Frame<'_>) -> Stamp {
        let epoch = |mac| self.tables.epoch(layout::epoch(mac)).map_or(0, |word| word.load(Acquire));
        Stamp { generation, source: epoch(frame.src), destination: epoch(frame.dst) }
    }

    /// Has the kernel forward what is like `frame`, which came in by `from` and for which `verdict` was made at `stamp` by
    /// `snapshot`, and goes to `to` with an MTU of `mtu`.
    #[expect(clippy::too_many_arguments, reason = "all of it goes into the entry")]
    pub(crate) fn offer(
        &self,
        relay: &Relay,
        snapshot: &Snapshot,
        stamp: Stamp,
        from: (hairpin::PortId, &Source),
        frame: &Frame<'_>,
        verdict: &Verdict,
        to: (Target, impl FnOnce() -> usize),
    ) {
        let (ingress, source) = from;
        let (target, mtu) = to;
        if source.target.netns != target.netns || source.mac == frame.dst {
            return;
        }
        let Some(tci) = tci_of(frame.tag) else { return };
        let key = layout::key(source.row, frame.dst, frame.src, tci);
        // Whoever has it is soon done, and there will be a next frame.
        let Ok(mut table) = self.table.try_lock() else { return };
        if table.has(&self.tables, key, stamp) {
            return;
        }
        let Some(flow) = relay.flow(snapshot, ingress, frame, verdict) else { return };
        let Some(action) = Action::new(target.ifindex, tci, flow.new_tag) else { return };
        let entry = (key, source.row, stamp);
        table.enter(&self.tables, relay, clock::now(), entry, flow, (action, mtu()));
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing in there is left half done by a panic.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keeper for FastPath {
    fn forget_all(&self) {
        if let Some(word) = self.tables.shared.word(layout::GENERATION.unsigned_abs().into()) {
            word.fetch_add(1, Release);
        }
    }

    fn forget(&self, mac: MacAddr) {
        if let Some(word) = self.tables.epoch(layout::epoch(mac)) {
            word.fetch_add(1, Release);
        }
    }
}

impl fmt::Debug for FastPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FastPath").finish_non_exhaustive()
    }
}

/// What of an ingress port is asked for each of its frames.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    row: usize,
    target: Target,
    /// The interface's own address: the host's own frames stay the host's.
    mac: MacAddr,
}

impl FastSocket {
    pub(crate) const fn source(&self, mac: MacAddr) -> Source {
        Source { row: self.row, target: self.target, mac }
    }

    pub(crate) const fn target(&self) -> Target {
        self.target
    }

    /// Frames refused since this was asked last.
    pub(crate) fn take_refused(&mut self) -> u64 {
        let now = self.path.tables.load(layout::row(self.row), row::REFUSED);
        now - std::mem::replace(&mut self.refused, now)
    }

    /// Says that all frames taken have been sent, or whatever became of them. True if the kernel should be asked for what
    /// it has dropped, for more seem to be waiting than are.
    pub(crate) fn done(&mut self, now: Instant) -> bool {
        let tables = &self.path.tables;
        let done = self.taken + self.dropped;
        if let Some(word) = tables.word(layout::row(self.row), row::DONE)
            && word.load(Relaxed) != done
        {
            word.store(done, Release);
        }
        let waits = tables.load(layout::row(self.row), row::DELIVERED) > done;
        let ask = waits && now.saturating_since(self.asked) > ASK_AGAIN;
        if ask {
            self.asked = now;
        }
        ask
    }
}

impl Drop for FastSocket {
    fn drop(&mut self) {
        let path = &self.path;
        let relay = path.relay.upgrade();
        path.table().give_row_back(&path.tables, relay.as_deref(), clock::now(), self.row);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // Fails only where the interface has gone before.
        let _ = bpf::detach(self.0.as_fd());
    }
}

impl Owned {
    fn borrowed(&self) -> Tables<'_> {
        Tables { shared: &self.shared, index: &self.index, words: self.words.as_fd() }
    }

    /// The number at `at` of what begins at `start`.
    fn word(&self, start: usize, at: i16) -> Option<&std::sync::atomic::AtomicU64> {
        self.shared.word(start + usize::from(at.unsigned_abs()))
    }

    fn load(&self, start: usize, at: i16) -> u64 {
        self.word(start, at).map_or(0, |word| word.load(Acquire))
    }

    fn store(&self, start: usize, at: i16, value: u64) {
        if let Some(word) = self.word(start, at) {
            word.store(value, Release);
        }
    }

    fn epoch(&self, at: u64) -> Option<&std::sync::atomic::AtomicU64> {
        self.word(usize::try_from(at).ok()?, layout::EPOCHS)
    }
}

/// The tag control word of a C-tag; fails for other tags.
fn tci_of(tag: Option<Tag>) -> Option<Option<u16>> {
    match tag {
        Some(tag) if tag.tpid != EtherType::C_VLAN => None,
        tag => Some(tag.map(Tag::tci)),
    }
}

/// How long before the kernel is asked again for what it has dropped.
const ASK_AGAIN: std::time::Duration = std::time::Duration::from_millis(1);
