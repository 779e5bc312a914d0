//! AF_XDP: the memory frames lie in, and the rings that hand pieces of it to the kernel and back.
//!
//! The memory ([`Umem`]) is cut into chunks of [`CHUNK`] octets, and knows of each who has it. Only the kernel writes to
//! a chunk that waits in a fill ring, only we to one that is held, nobody to one that is being sent: so octets of a
//! chunk can be borrowed like any others, and a ring that names a chunk it does not have is not believed.

use std::{
    io, mem,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    ptr, slice,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use libc::{
    sockaddr_xdp, xdp_desc, xdp_mmap_offsets, xdp_options, xdp_ring_offset, xdp_statistics, xdp_umem_reg,
};

use super::{OptionValue, check, get_option, owned, set_option, size};

/// Octets of a chunk.
pub(crate) const CHUNK: u32 = 2048;

/// Octets the kernel leaves free in front of a frame it receives.
pub(crate) const HEADROOM: u32 = 256;

/// Descriptors of each ring.
pub(crate) const RING: u32 = 2048;

/// Chunks of a queue that may be on their way out.
pub(crate) const SENDING: u32 = RING / 2;

/// An AF_XDP socket of the calling thread's network namespace, bound to nothing.
pub(crate) fn socket() -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers.
    owned(unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) })
}

/// Memory shared with the kernel.
#[derive(Debug)]
pub(crate) struct Umem {
    map: Map,
    /// No two have the same.
    id: u64,
    owners: Vec<Owner>,
    free: Vec<u32>,
    /// The number the next socket gets.
    next: u32,
    /// Sockets that have a share in it.
    sharing: usize,
    /// Sockets that were closed, and whose chunks nobody has taken back yet.
    closed: Arc<Mutex<Vec<u32>>>,
}

/// Octets of one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// From the start of the memory.
    pub(crate) at: u32,
    pub(crate) len: u32,
}

impl Place {
    /// The same without the first `octets`.
    pub(crate) const fn after(self, octets: u32) -> Self {
        Self { at: self.at.saturating_add(octets), len: self.len.saturating_sub(octets) }
    }

    /// The same with `octets` more in front.
    pub(crate) const fn before(self, octets: u32) -> Self {
        Self { at: self.at.saturating_sub(octets), len: self.len.saturating_add(octets) }
    }

    const fn chunk(self) -> u32 {
        self.at / CHUNK
    }
}

/// Who has a chunk. Sockets go by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Nobody,
    Us,
    /// In the fill ring, or written to.
    Filling(u32),
    /// On its way out: read by the kernel.
    Sending(u32),
}

impl Umem {
    /// `chunks` chunks. Memory is taken as it is first written to, or when the first socket is bound.
    pub(crate) fn new(chunks: u32) -> io::Result<Self> {
        static IDS: AtomicU64 = AtomicU64::new(0);
        let octets = usize::try_from(u64::from(chunks) * u64::from(CHUNK)).map_err(io::Error::other)?;
        let map = Map::new(None, octets, 0)?;
        let owners = (0..chunks).map(|_| Owner::Nobody).collect();
        let id = IDS.fetch_add(1, Ordering::Relaxed);
        Ok(Self {
            map,
            id,
            owners,
            free: (0..chunks).rev().collect(),
            next: 0,
            sharing: 0,
            closed: Arc::default(),
        })
    }

    /// Whether there are `share` chunks for each socket and for one more.
    pub(crate) fn admits(&mut self, share: u32) -> bool {
        self.collect();
        let share = usize::try_from(share).unwrap_or(usize::MAX);
        share.saturating_mul(self.sharing + 1) <= self.owners.len()
    }

    /// Whether `xsk` works on this memory.
    pub(crate) fn serves(&self, xsk: &Xsk) -> bool {
        xsk.umem == self.id
    }

    /// Whether the chunk is ours.
    pub(crate) fn holds(&self, place: Place) -> bool {
        self.owner(place.chunk()) == Some(Owner::Us)
    }

    /// Takes a free chunk: room for `len` octets that start [`HEADROOM`] behind its start.
    pub(crate) fn take(&mut self, len: u32) -> Option<Place> {
        if len > CHUNK - HEADROOM {
            return None;
        }
        let chunk = self.free.pop()?;
        self.own(chunk, Owner::Us);
        Some(Place { at: chunk * CHUNK + HEADROOM, len })
    }

    /// Copies a frame into a free chunk.
    pub(crate) fn put(&mut self, frame: &[u8]) -> Option<Place> {
        let place = self.take(u32::try_from(frame.len()).ok()?)?;
        self.octets_mut(place).copy_from_slice(frame);
        Some(place)
    }

    /// Gives a held chunk back.
    pub(crate) fn give(&mut self, place: Place) {
        if self.owner(place.chunk()) == Some(Owner::Us) {
            self.release(place.chunk());
        }
    }

    /// The octets, unless the kernel may be writing there.
    pub(crate) fn octets(&self, place: Place) -> &[u8] {
        match self.owner(place.chunk()) {
            Some(Owner::Us | Owner::Sending(_)) => match self.locate(place) {
                // SAFETY: inside the map. Nobody writes there: not the kernel, by the chunk's owner, nor we, for whoever
                // does borrows `self` mutably.
                Some((start, len)) => unsafe { slice::from_raw_parts(start, len) },
                None => &[],
            },
            _ => &[],
        }
    }

    /// The octets to be written, of a chunk that is held.
    pub(crate) fn octets_mut(&mut self, place: Place) -> &mut [u8] {
        match self.owner(place.chunk()) {
            Some(Owner::Us) => match self.locate(place) {
                // SAFETY: inside the map. The kernel has no part in the chunk, and `self` is borrowed mutably.
                Some((start, len)) => unsafe { slice::from_raw_parts_mut(start, len) },
                None => &mut [],
            },
            _ => &mut [],
        }
    }

    /// Copies octets into a chunk that is held, as many as both places have.
    pub(crate) fn copy(&mut self, from: Place, to: Place) {
        if from.chunk() == to.chunk() {
            return;
        }
        let source: *const [u8] = self.octets(from);
        // SAFETY: another chunk than `to` is in: what is read stays as it is while `to` is written to.
        let source = unsafe { &*source };
        let target = self.octets_mut(to);
        let len = target.len().min(source.len());
        if let (Some(target), Some(source)) = (target.get_mut(..len), source.get(..len)) {
            target.copy_from_slice(source);
        }
    }

    /// A pointer to and the length of octets that lie in one chunk.
    fn locate(&self, place: Place) -> Option<(*mut u8, usize)> {
        let inside = u64::from(place.at % CHUNK) + u64::from(place.len) <= u64::from(CHUNK);
        let (at, len) = (usize::try_from(place.at).ok()?, usize::try_from(place.len).ok()?);
        if !inside || at.checked_add(len)? > self.map.len {
            return None;
        }
        // SAFETY: not past the end of the map.
        Some((unsafe { self.map.start.add(at) }, len))
    }

    fn owner(&self, chunk: u32) -> Option<Owner> {
        self.owners.get(usize::try_from(chunk).ok()?).copied()
    }

    fn own(&mut self, chunk: u32, owner: Owner) {
        if let Some(row) = usize::try_from(chunk).ok().and_then(|chunk| self.owners.get_mut(chunk)) {
            *row = owner;
        }
    }

    fn release(&mut self, chunk: u32) {
        self.own(chunk, Owner::Nobody);
        self.free.push(chunk);
    }

    /// Takes the chunks of closed sockets back.
    fn collect(&mut self) {
        let closed = mem::take(&mut *self.closed.lock().unwrap_or_else(PoisonError::into_inner));
        if closed.is_empty() {
            return;
        }
        self.sharing = self.sharing.saturating_sub(closed.len());
        for (chunk, owner) in (0..).zip(&mut self.owners) {
            if matches!(owner, Owner::Filling(n) | Owner::Sending(n) if closed.contains(n)) {
                *owner = Owner::Nobody;
                self.free.push(chunk);
            }
        }
    }
}

/// An AF_XDP socket bound to one queue of an interface, and its four rings.
#[derive(Debug)]
pub(crate) struct Xsk {
    socket: OwnedFd,
    /// Of the memory it works on.
    umem: u64,
    number: u32,
    rx: Ring<xdp_desc>,
    tx: Ring<xdp_desc>,
    fill: Ring<u64>,
    done: Ring<u64>,
    /// Chunks on their way out.
    out: u32,
    /// The last field, so that the socket is closed when this is dropped.
    last: Last,
}

/// Tells the memory that a socket is closed.
#[derive(Debug)]
struct Last {
    closed: Arc<Mutex<Vec<u32>>>,
    number: u32,
    /// A driver may write for a while after the socket is closed: what it had is not used again. Without one the kernel
    /// has finished with the chunks when closing returns.
    zero_copy: bool,
}

impl Drop for Last {
    fn drop(&mut self) {
        if !self.zero_copy {
            self.closed.lock().unwrap_or_else(PoisonError::into_inner).push(self.number);
        }
    }
}

/// How to bind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bind<'a> {
    pub(crate) ifindex: u32,
    pub(crate) queue: u32,
    /// Another socket on the same memory, if there is one. Either all have zero copy or none has.
    pub(crate) leader: Option<&'a Xsk>,
}

impl Xsk {
    /// Binds `socket`. Frames come once [`Xsk::refill`] has given the kernel room for them.
    pub(crate) fn bind(socket: OwnedFd, umem: &mut Umem, how: &Bind<'_>) -> io::Result<Self> {
        let fd = socket.as_fd();
        let leader = how.leader.filter(|leader| leader.umem == umem.id);
        if leader.is_none() {
            let register = xdp_umem_reg {
                addr: u64::try_from(umem.map.start.expose_provenance()).map_err(io::Error::other)?,
                len: u64::try_from(umem.map.len).map_err(io::Error::other)?,
                chunk_size: CHUNK,
                headroom: 0,
                flags: 0,
                tx_metadata_len: 0,
            };
            set_option(fd, libc::SOL_XDP, libc::XDP_UMEM_REG, &register)?;
        }
        for ring in
            [libc::XDP_UMEM_FILL_RING, libc::XDP_UMEM_COMPLETION_RING, libc::XDP_RX_RING, libc::XDP_TX_RING]
        {
            set_option(fd, libc::SOL_XDP, ring, &RING.cast_signed())?;
        }
        let offsets = get_option(fd, libc::SOL_XDP, libc::XDP_MMAP_OFFSETS, NO_OFFSETS)?;
        let address = sockaddr_xdp {
            sxdp_family: u16::try_from(libc::AF_XDP).unwrap_or(0),
            sxdp_flags: leader.map_or(libc::XDP_USE_NEED_WAKEUP, |_| libc::XDP_SHARED_UMEM),
            sxdp_ifindex: how.ifindex,
            sxdp_queue_id: how.queue,
            sxdp_shared_umem_fd: leader.map_or(0, |leader| leader.socket.as_raw_fd().cast_unsigned()),
        };
        let mut xsk = Self {
            rx: Ring::map(fd, &offsets.rx, libc::XDP_PGOFF_RX_RING)?,
            tx: Ring::map(fd, &offsets.tx, libc::XDP_PGOFF_TX_RING)?,
            fill: Ring::map(fd, &offsets.fr, page(libc::XDP_UMEM_PGOFF_FILL_RING))?,
            done: Ring::map(fd, &offsets.cr, page(libc::XDP_UMEM_PGOFF_COMPLETION_RING))?,
            out: 0,
            umem: umem.id,
            number: umem.next,
            last: Last { closed: Arc::clone(&umem.closed), number: umem.next, zero_copy: true },
            socket,
        };
        // SAFETY: `address` is a live sockaddr_xdp and its own size goes with it.
        check(unsafe {
            libc::bind(xsk.socket.as_raw_fd(), (&raw const address).cast(), size::<sockaddr_xdp>())
        })?;
        umem.next += 1;
        umem.sharing += 1;
        xsk.last.zero_copy = xsk.is_zero_copy()?;
        Ok(xsk)
    }

    /// Gives the kernel free chunks until it has `level`.
    pub(crate) fn refill(&mut self, umem: &mut Umem, level: u32) {
        if self.umem != umem.id {
            return;
        }
        let mut room = level.saturating_sub(self.fill.used());
        while room > 0
            && let Some(chunk) = umem.free.pop()
        {
            umem.own(chunk, Owner::Filling(self.number));
            self.fill.put(u64::from(chunk * CHUNK));
            room -= 1;
        }
        self.fill.publish();
    }

    /// Whether received frames wait.
    pub(crate) fn is_ready(&self) -> bool {
        self.rx.is_waiting()
    }

    /// Takes up to `limit` received frames. Their chunks are held then.
    pub(crate) fn receive(&mut self, umem: &mut Umem, limit: usize, frames: &mut Vec<Place>) {
        if self.umem != umem.id {
            return;
        }
        let Self { rx, number, .. } = self;
        for descriptor in rx.waiting(limit) {
            let place = u32::try_from(descriptor.addr).map(|at| Place { at, len: descriptor.len });
            if let Ok(place) = place
                && umem.owner(place.chunk()) == Some(Owner::Filling(*number))
            {
                umem.own(place.chunk(), Owner::Us);
                frames.push(place);
            }
        }
        rx.release();
    }

    /// Room for frames to be sent. A queue that does not get rid of its frames keeps no more than [`SENDING`] chunks from
    /// the others.
    pub(crate) fn room(&mut self) -> u32 {
        SENDING.saturating_sub(self.out).min(RING - self.tx.used())
    }

    /// Queues a held frame; false if it is not held or there is no room. It goes out with the next [`Xsk::kick`].
    pub(crate) fn send(&mut self, umem: &mut Umem, frame: Place) -> bool {
        let ours = self.umem == umem.id && umem.owner(frame.chunk()) == Some(Owner::Us);
        if !ours || umem.locate(frame).is_none() || self.room() == 0 {
            return false;
        }
        umem.own(frame.chunk(), Owner::Sending(self.number));
        self.out += 1;
        self.tx.put(xdp_desc { addr: u64::from(frame.at), len: frame.len, options: 0 });
        true
    }

    /// Takes back the chunks of frames that were sent.
    pub(crate) fn complete(&mut self, umem: &mut Umem) {
        if self.umem != umem.id {
            return;
        }
        let Self { done, number, out, .. } = self;
        for address in done.waiting(usize::MAX) {
            let chunk = u32::try_from(address / u64::from(CHUNK)).unwrap_or(u32::MAX);
            if umem.owner(chunk) == Some(Owner::Sending(*number)) {
                umem.release(chunk);
                *out = out.saturating_sub(1);
            }
        }
        done.release();
    }

    /// Hands queued frames over and has the kernel send as many as it does in one go.
    ///
    /// # Errors
    /// The interface is down or gone. That the kernel wants to be asked again is no error: see [`Xsk::unsent`].
    pub(crate) fn kick(&mut self) -> io::Result<()> {
        self.tx.publish();
        if !self.tx.wants_wakeup() || self.tx.used() == 0 {
            return Ok(());
        }
        // SAFETY: sends no octets, so reads none.
        let sent = unsafe { libc::send(self.socket.as_raw_fd(), ptr::null(), 0, libc::MSG_DONTWAIT) };
        tolerate(sent)
    }

    /// Frames queued that the kernel has not taken yet.
    pub(crate) fn unsent(&mut self) -> u32 {
        self.tx.used()
    }

    /// Tells the kernel that chunks wait to be filled, where it wants to be told.
    pub(crate) fn wake(&self) -> io::Result<()> {
        if !self.fill.wants_wakeup() {
            return Ok(());
        }
        // SAFETY: receives no octets, so writes none.
        let got = unsafe { libc::recv(self.socket.as_raw_fd(), ptr::null_mut(), 0, libc::MSG_DONTWAIT) };
        tolerate(got)
    }

    /// What the kernel dropped: (for want of a chunk or of room in the ring, for being longer than a chunk).
    pub(crate) fn dropped(&self) -> io::Result<(u64, u64)> {
        let none = xdp_statistics {
            rx_dropped: 0,
            rx_invalid_descs: 0,
            tx_invalid_descs: 0,
            rx_ring_full: 0,
            rx_fill_ring_empty_descs: 0,
            tx_ring_empty_descs: 0,
        };
        let statistics = get_option(self.as_fd(), libc::SOL_XDP, libc::XDP_STATISTICS, none)?;
        let short = statistics.rx_fill_ring_empty_descs;
        // Copying, the kernel counts a frame there was no chunk for as both.
        Ok((statistics.rx_ring_full + short, statistics.rx_dropped.saturating_sub(short)))
    }

    /// Whether the driver reads and writes the chunks itself.
    pub(crate) fn is_zero_copy(&self) -> io::Result<bool> {
        let options = get_option(self.as_fd(), libc::SOL_XDP, libc::XDP_OPTIONS, xdp_options { flags: 0 })?;
        Ok(options.flags & libc::XDP_OPTIONS_ZEROCOPY != 0)
    }
}

impl AsFd for Xsk {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A ring: a producer and a consumer, one of them the kernel.
#[derive(Debug)]
struct Ring<T> {
    _map: Map,
    producer: *const AtomicU32,
    consumer: *const AtomicU32,
    flags: *const AtomicU32,
    entries: *mut T,
    /// How far we are: as producer or as consumer.
    mine: u32,
    /// How far the kernel was when we looked last.
    theirs: u32,
}

// SAFETY: the pointers are into the map, which the ring owns; they are used only with the ring borrowed mutably, or to
// read atomics.
unsafe impl<T: Send> Send for Ring<T> {}

impl<T: Copy> Ring<T> {
    fn map(fd: BorrowedFd<'_>, offset: &xdp_ring_offset, page: libc::off_t) -> io::Result<Self> {
        let at = |offset| usize::try_from(offset).map_err(io::Error::other);
        let entries = at(offset.desc)?;
        let rows = usize::try_from(RING).map_err(io::Error::other)?;
        let map = Map::new(Some(fd), entries + rows * size_of::<T>(), page)?;
        // SAFETY: the kernel says where in the ring's map producer, consumer, flags and entries are, all aligned.
        unsafe {
            Ok(Self {
                producer: map.start.add(at(offset.producer)?).cast(),
                consumer: map.start.add(at(offset.consumer)?).cast(),
                flags: map.start.add(at(offset.flags)?).cast(),
                entries: map.start.add(entries).cast(),
                mine: 0,
                theirs: 0,
                _map: map,
            })
        }
    }

    fn wants_wakeup(&self) -> bool {
        // SAFETY: into the map.
        unsafe { (*self.flags).load(Ordering::Relaxed) & libc::XDP_RING_NEED_WAKEUP != 0 }
    }

    /// As producer: entries the kernel has not taken.
    fn used(&mut self) -> u32 {
        // SAFETY: into the map.
        self.theirs = unsafe { (*self.consumer).load(Ordering::Acquire) };
        self.mine.wrapping_sub(self.theirs).min(RING)
    }

    /// As producer: writes an entry the kernel does not see yet. The caller has made sure of the room.
    fn put(&mut self, entry: T) {
        // SAFETY: masked to the ring; the entry is ours until it is published.
        unsafe { self.slot(self.mine).write(entry) };
        self.mine = self.mine.wrapping_add(1);
    }

    /// As producer: lets the kernel see what was put.
    fn publish(&mut self) {
        // SAFETY: into the map.
        unsafe { (*self.producer).store(self.mine, Ordering::Release) };
    }

    /// As consumer: whether there are entries.
    fn is_waiting(&self) -> bool {
        // SAFETY: into the map.
        unsafe { (*self.producer).load(Ordering::Acquire) != self.mine }
    }

    /// As consumer: up to `limit` entries.
    fn waiting(&mut self, limit: usize) -> impl Iterator<Item = T> {
        // SAFETY: into the map.
        self.theirs = unsafe { (*self.producer).load(Ordering::Acquire) };
        let waiting = usize::try_from(self.theirs.wrapping_sub(self.mine).min(RING)).unwrap_or(0);
        (0..waiting.min(limit)).map(|_| {
            // SAFETY: masked to the ring; the kernel has finished with the entry.
            let entry = unsafe { self.slot(self.mine).read() };
            self.mine = self.mine.wrapping_add(1);
            entry
        })
    }

    /// As consumer: gives back what was taken.
    fn release(&mut self) {
        // SAFETY: into the map.
        unsafe { (*self.consumer).store(self.mine, Ordering::Release) };
    }

    fn slot(&self, number: u32) -> *mut T {
        let row = usize::try_from(number & (RING - 1)).unwrap_or(0);
        // SAFETY: masked to the ring.
        unsafe { self.entries.add(row) }
    }
}

/// Mapped memory.
#[derive(Debug)]
struct Map {
    start: *mut u8,
    len: usize,
}

// SAFETY: owned memory, not tied to a thread.
unsafe impl Send for Map {}

impl Map {
    /// Memory shared by a socket, or of our own.
    fn new(fd: Option<BorrowedFd<'_>>, len: usize, page: libc::off_t) -> io::Result<Self> {
        let (kind, fd) = match fd {
            Some(fd) => (libc::MAP_SHARED | libc::MAP_POPULATE, fd.as_raw_fd()),
            None => (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1),
        };
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let start = unsafe { libc::mmap(ptr::null_mut(), len, access, kind, fd, page) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { start: start.cast(), len })
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length, and nothing borrowed from it outlives it.
        unsafe { libc::munmap(self.start.cast(), self.len) };
    }
}

// SAFETY: integers only.
unsafe impl OptionValue for xdp_umem_reg {}
// SAFETY: integers only.
unsafe impl OptionValue for xdp_mmap_offsets {}
// SAFETY: integers only.
unsafe impl OptionValue for xdp_statistics {}
// SAFETY: integers only.
unsafe impl OptionValue for xdp_options {}

/// What a wake-up says while the interface lives: ask again, or nothing to do.
fn tolerate(result: libc::ssize_t) -> io::Result<()> {
    if result >= 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EBUSY | libc::ENOBUFS | libc::EINTR) => Ok(()),
        _ => Err(error),
    }
}

fn page(offset: libc::c_ulonglong) -> libc::off_t {
    libc::off_t::try_from(offset).unwrap_or(0)
}

const NO_OFFSET: xdp_ring_offset = xdp_ring_offset { producer: 0, consumer: 0, desc: 0, flags: 0 };
const NO_OFFSETS: xdp_mmap_offsets =
    xdp_mmap_offsets { rx: NO_OFFSET, tx: NO_OFFSET, fr: NO_OFFSET, cr: NO_OFFSET };
