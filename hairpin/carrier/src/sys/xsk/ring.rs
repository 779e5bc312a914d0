//! The rings that hand pieces of the memory to the kernel and back.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
    sync::atomic::{AtomicU32, Ordering},
};

use libc::xdp_ring_offset;

use super::RING;

/// A ring: a producer and a consumer, one of them the kernel.
#[derive(Debug)]
pub(super) struct Ring<T> {
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
    pub(super) fn map(fd: BorrowedFd<'_>, offset: &xdp_ring_offset, page: libc::off_t) -> io::Result<Self> {
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

    pub(super) fn wants_wakeup(&self) -> bool {
        // SAFETY: into the map.
        unsafe { (*self.flags).load(Ordering::Relaxed) & libc::XDP_RING_NEED_WAKEUP != 0 }
    }

    /// As producer: entries the kernel has not taken.
    pub(super) fn used(&mut self) -> u32 {
        // SAFETY: into the map.
        self.theirs = unsafe { (*self.consumer).load(Ordering::Acquire) };
        self.mine.wrapping_sub(self.theirs).min(RING)
    }

    /// As producer: writes an entry the kernel does not see yet. The caller has made sure of the room.
    pub(super) fn put(&mut self, entry: T) {
        // SAFETY: masked to the ring; the entry is ours until it is published.
        unsafe { self.slot(self.mine).write(entry) };
        self.mine = self.mine.wrapping_add(1);
    }

    /// As producer: lets the kernel see what was put.
    pub(super) fn publish(&mut self) {
        // SAFETY: into the map.
        unsafe { (*self.producer).store(self.mine, Ordering::Release) };
    }

    /// As consumer: whether there are entries.
    pub(super) fn is_waiting(&self) -> bool {
        // SAFETY: into the map.
        unsafe { (*self.producer).load(Ordering::Acquire) != self.mine }
    }

    /// As consumer: up to `limit` entries.
    pub(super) fn waiting(&mut self, limit: usize) -> impl Iterator<Item = T> {
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
    pub(super) fn release(&mut self) {
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
pub(super) struct Map {
    pub(super) start: *mut u8,
    pub(super) len: usize,
}

// SAFETY: owned memory, not tied to a thread.
unsafe impl Send for Map {}

impl Map {
    /// Memory shared by a socket, or of our own.
    pub(super) fn new(fd: Option<BorrowedFd<'_>>, len: usize, page: libc::off_t) -> io::Result<Self> {
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
