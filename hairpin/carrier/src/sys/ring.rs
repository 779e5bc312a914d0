//! The ring a packet socket shares with the kernel (`TPACKET_V2`): frames that fit a slot are read where the kernel put
//! them. The kernel writes to a slot that is its own, we read one that is ours, and the status word of each says whose.

use std::{
    io,
    mem::{self, offset_of},
    os::fd::{AsRawFd, BorrowedFd},
    ptr, slice,
    sync::atomic::{AtomicU32, Ordering, fence},
};

use libc::{c_int, tpacket_req, tpacket2_hdr};

use super::{OptionValue, set_number, set_option};
use crate::vnet::VnetHdr;

/// Octets of a slot: a frame of 1500 octets with tags and what the kernel puts in front.
pub(crate) const SLOT: u32 = 2048;

/// The receive ring of one socket.
#[derive(Debug)]
pub(crate) struct RxRing {
    start: *mut u8,
    len: usize,
    slots: usize,
    /// The oldest slot that is not the kernel's.
    first: usize,
    /// Slots from there on that are ours.
    ours: usize,
}

// SAFETY: the map belongs to the ring alone, and its slots are read only with the ring borrowed.
unsafe impl Send for RxRing {}

// SAFETY: integers only.
unsafe impl OptionValue for tpacket_req {}

/// A frame in a slot.
pub(crate) struct Slot<'a> {
    /// Of `TP_STATUS_…`.
    pub(crate) status: u32,
    pub(crate) vnet: VnetHdr,
    /// The frame, or as much of it as fits.
    pub(crate) octets: &'a [u8],
    /// Octets of the whole frame.
    pub(crate) len: usize,
    pub(crate) tci: u16,
    pub(crate) tpid: u16,
}

impl RxRing {
    /// Gives `socket`, not bound yet, a ring of `slots` slots: a power of two, at least two. Frames longer than a slot
    /// wait in the socket besides.
    pub(crate) fn new(socket: BorrowedFd<'_>, slots: u32) -> io::Result<Self> {
        set_number(socket, libc::SOL_PACKET, libc::PACKET_VERSION, TPACKET_V2)?;
        set_number(socket, libc::SOL_PACKET, libc::PACKET_COPY_THRESH, 1)?;
        let block = SLOT * slots.min(SLOTS_OF_BLOCK);
        let request = tpacket_req {
            tp_block_size: block,
            tp_block_nr: slots / slots.min(SLOTS_OF_BLOCK),
            tp_frame_size: SLOT,
            tp_frame_nr: slots,
        };
        set_option(socket, libc::SOL_PACKET, libc::PACKET_RX_RING, &request)?;
        let slots = usize::try_from(slots).map_err(io::Error::other)?;
        let len = slots * STRIDE;
        let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
        // SAFETY: a new map of the socket's ring, at an address of the kernel's choice.
        let start = unsafe { libc::mmap(ptr::null_mut(), len, access, flags, socket.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { start: start.cast(), len, slots, first: 0, ours: 0 })
    }

    /// Whether the kernel has filled a slot that is not ours yet.
    pub(crate) fn is_ready(&self) -> bool {
        self.ours < self.slots && self.status(self.ours).load(Ordering::Relaxed) & libc::TP_STATUS_USER != 0
    }

    /// Takes the slots over that the kernel has filled, while `more` says so of each; returns how many are ours.
    pub(crate) fn take(&mut self, mut more: impl FnMut(&Slot<'_>) -> bool) -> usize {
        while self.ours < self.slots {
            // Acquire: what the kernel wrote before it handed the slot over is seen after this.
            if self.status(self.ours).load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
                break;
            }
            self.ours += 1;
            if !self.slot(self.ours - 1).is_some_and(|slot| more(&slot)) {
                break;
            }
        }
        self.ours
    }

    /// The frame in slot `index` of ours.
    pub(crate) fn slot(&self, index: usize) -> Option<Slot<'_>> {
        if index >= self.ours {
            return None;
        }
        let start = self.at(index);
        // SAFETY: the slot is ours, so the kernel has written its header and does not write to it now.
        let header = unsafe { ptr::read(start.cast::<tpacket2_hdr>()) };
        let (at, kept) = (usize::from(header.tp_mac), usize::try_from(header.tp_snaplen).ok()?);
        if at < mem::size_of::<tpacket2_hdr>() + VnetHdr::LEN || at.checked_add(kept)? > STRIDE {
            return None;
        }
        // SAFETY: from `at` less the header before it on, `kept` octets are inside the slot, which is ours until
        // `release`, for which the ring must not be borrowed.
        let (vnet, octets) = unsafe {
            let vnet = ptr::read(start.add(at - VnetHdr::LEN).cast::<[u8; VnetHdr::LEN]>());
            (vnet, slice::from_raw_parts(start.add(at).cast_const(), kept))
        };
        Some(Slot {
            status: header.tp_status,
            vnet: VnetHdr::from_bytes(vnet),
            octets,
            len: usize::try_from(header.tp_len).ok()?,
            tci: header.tp_vlan_tci,
            tpid: header.tp_vlan_tpid,
        })
    }

    /// Gives all slots of ours back to the kernel.
    pub(crate) fn release(&mut self) {
        // Nothing is read of the slots after this.
        fence(Ordering::Release);
        for index in 0..self.ours {
            self.status(index).store(libc::TP_STATUS_KERNEL, Ordering::Relaxed);
        }
        self.first = (self.first + self.ours) & (self.slots - 1);
        self.ours = 0;
    }

    /// The status word of the slot `index` behind the first.
    fn status(&self, index: usize) -> &AtomicU32 {
        // SAFETY: an aligned word inside the map; both sides treat it as atomic.
        unsafe { &*self.at(index).add(offset_of!(tpacket2_hdr, tp_status)).cast::<AtomicU32>() }
    }

    fn at(&self, index: usize) -> *mut u8 {
        let slot = (self.first + index) & (self.slots - 1);
        // SAFETY: the slot's number is below `slots`, so it is inside the map.
        unsafe { self.start.add(slot * STRIDE) }
    }
}

impl Drop for RxRing {
    fn drop(&mut self) {
        // SAFETY: the map is the ring's own and nothing borrows from it any more.
        unsafe { libc::munmap(self.start.cast(), self.len) };
    }
}

const TPACKET_V2: c_int = 1;
/// Blocks of 128 KiB, which the kernel has to find in one piece.
const SLOTS_OF_BLOCK: u32 = 64;
const STRIDE: usize = 2048;
