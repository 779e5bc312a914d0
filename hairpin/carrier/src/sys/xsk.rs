//! AF_XDP: the memory frames lie in, and the rings that hand pieces of it to the kernel and back.
//!
//! The memory ([`Umem`]) is cut into chunks of [`CHUNK`] octets, and knows of each who has it. Only the kernel writes to
//! a chunk that waits in a fill ring, only we to one that is held, nobody to one that is being sent: so octets of a
//! chunk can be borrowed like any others, and a ring that names a chunk it does not have is not believed.

mod ring;
mod umem;

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    ptr,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use libc::{
    sockaddr_xdp, xdp_desc, xdp_mmap_offsets, xdp_options, xdp_ring_offset, xdp_statistics, xdp_umem_reg,
};

pub(crate) use self::umem::{Place, Umem};
use self::{ring::Ring, umem::Owner};
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
        let mut tries = 0;
        loop {
            // SAFETY: `address` is a live sockaddr_xdp and its own size goes with it.
            let bound = check(unsafe {
                libc::bind(xsk.socket.as_raw_fd(), (&raw const address).cast(), size::<sockaddr_xdp>())
            });
            match bound {
                // The kernel lets go of a queue some time after its last socket was closed.
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) && tries < BUSY => {
                    tries += 1;
                    thread::sleep(BUSY_PAUSE);
                }
                bound => break bound,
            }
        }?;
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

/// How often a queue is asked for that somebody still has, and the time between: 100 ms in all.
const BUSY: u32 = 50;
const BUSY_PAUSE: Duration = Duration::from_millis(2);

const NO_OFFSET: xdp_ring_offset = xdp_ring_offset { producer: 0, consumer: 0, desc: 0, flags: 0 };
const NO_OFFSETS: xdp_mmap_offsets =
    xdp_mmap_offsets { rx: NO_OFFSET, tx: NO_OFFSET, fr: NO_OFFSET, cr: NO_OFFSET };
