//! Frames as they come: by the kernel's copies or in a ring shared with it.

use std::{io, mem, os::fd::AsFd};

use ether::{EtherType, Vid};

use super::{Batch, Place, Row, behind_vnet, count};
use crate::{
    error::PortError,
    frame::{ADDRESSES, ChannelTags, Head, RxError},
    packet::PacketPort,
    sys::{
        self, Message,
        ring::{RxRing, Slot},
    },
    vnet::VnetHdr,
};

impl PacketPort {
    /// Takes what waits, up to a batch, without blocking; returns how many frames that is. None as long as the batch has
    /// frames of another port that were not given back.
    ///
    /// # Errors
    /// The port has failed: its interface is down or gone, or the socket is unusable.
    pub fn receive(&mut self, batch: &mut Batch) -> Result<usize, PortError> {
        self.release(batch);
        if batch.ring.is_some() {
            return Ok(0);
        }
        batch.rows.clear();
        match self.ring.take() {
            Some(ring) => {
                if let Err(error) = self.receive_ring(batch, ring) {
                    self.release(batch);
                    return Err(error);
                }
            }
            None => {
                let filled = self.receive_buffers(batch, self.appetite)?;
                self.taken(filled);
                batch.rows.extend((0..filled).filter_map(|index| {
                    let head = read(&batch.buffers.message(index)?, self.svid, self.tags);
                    Some(Row { place: Place::Buffer(index), head })
                }));
            }
        }
        let mut octets = 0;
        for row in &batch.rows {
            let len = batch.octets(row.place).len();
            octets += len;
            self.counters.received(row.head.map(|head| len - (head.start - ADDRESSES)));
        }
        let filled = batch.rows.len();
        // As many as would fit next time, were they like these.
        self.appetite =
            (Batch::OCTETS * filled).checked_div(octets).unwrap_or(Batch::FRAMES).clamp(1, Batch::FRAMES);
        Ok(filled)
    }

    fn taken(&mut self, frames: usize) {
        if let Some(fast) = &mut self.fast {
            fast.taken += count(frames);
        }
    }

    /// Has the kernel copy up to `limit` frames into the batch's buffers; returns how many it did.
    fn receive_buffers(&mut self, batch: &mut Batch, limit: usize) -> Result<usize, PortError> {
        match batch.buffers.receive(self.as_fd(), limit) {
            Ok(filled) => Ok(filled),
            Err(error) => match error.raw_os_error() {
                Some(libc::EAGAIN | libc::EINTR) => Ok(0),
                // The kernel has thrown the frame away: a kind of segmentation the vnet header has no code for.
                Some(libc::EINVAL) => {
                    self.counters.rx_unreadable += 1;
                    if let (None, Some(fast)) = (&batch.ring, &mut self.fast) {
                        fast.taken += 1;
                    }
                    Ok(0)
                }
                _ => Err(self.error("receive", error)),
            },
        }
    }

    /// Takes slots over from the kernel; of frames too long for a slot only the beginning is there, and the whole frame
    /// waits in the socket, in the same order.
    fn receive_ring(&mut self, batch: &mut Batch, mut ring: RxRing) -> Result<(), PortError> {
        let (mut octets, mut long) = (0, 0);
        let filled = ring.take(|slot| {
            octets += slot.len;
            long += usize::from(slot.status & libc::TP_STATUS_COPY != 0);
            octets < Batch::OCTETS && long < Batch::FRAMES
        });
        (batch.ring, self.lent) = (Some(ring), true);
        self.taken(filled);
        if filled == 0 {
            // A socket without frames may have an error: its interface is down or gone.
            return match sys::take_error(self.as_fd()) {
                Ok(0) => Ok(()),
                Ok(code) => Err(self.error("receive", io::Error::from_raw_os_error(code))),
                Err(error) => Err(self.error("receive", error)),
            };
        }
        let copied = if long > 0 { self.receive_buffers(batch, long)? } else { 0 };
        let Batch { rows, buffers, ring, .. } = batch;
        let mut next = 0..copied;
        for (index, slot) in (0..filled).map(|index| (index, ring.as_ref().and_then(|ring| ring.slot(index))))
        {
            let Some(slot) = slot else { continue };
            let whole = slot.len == slot.octets.len();
            rows.push(if whole {
                let head = Head::read(slot.octets, slot.vnet, inside(slot.noted_tag(), self.svid), self.tags);
                Row { place: Place::Slot(index), head }
            } else if slot.status & libc::TP_STATUS_COPY != 0
                && let Some(message) = next.next().and_then(|index| Some((index, buffers.message(index)?)))
            {
                let (index, message) = message;
                Row { place: Place::Buffer(index), head: read(&message, self.svid, self.tags) }
            } else {
                Row { place: Place::Slot(index), head: Err(RxError::Truncated(slot.octets.len())) }
            });
        }
        Ok(())
    }

    /// Gives the frames of `batch` back, if they are of this port's ring.
    pub(crate) fn release(&mut self, batch: &mut Batch) {
        if mem::take(&mut self.lent)
            && let Some(mut ring) = batch.ring.take()
        {
            ring.release();
            self.ring = Some(ring);
        }
    }
}

/// Understands a frame that came with a vnet header in front.
pub(super) fn read(
    message: &Message<'_>,
    svid: Option<Vid>,
    tags: Option<ChannelTags>,
) -> Result<Head, RxError> {
    let frame = behind_vnet(message);
    if message.truncated {
        return Err(RxError::Truncated(frame.len()));
    }
    let vnet = message.bytes.first_chunk().ok_or(RxError::Runt(0))?;
    let noted = message.aux.and_then(|aux| noted_tag(aux.tp_status, aux.tp_vlan_tpid, aux.tp_vlan_tci));
    Head::read(frame, VnetHdr::from_bytes(*vnet), inside(noted, svid), tags)
}

/// What the kernel notes of the frame inside an S-channel: it took but the S-tag off, and the filter let no other pass.
fn inside(noted: Option<(EtherType, u16)>, svid: Option<Vid>) -> Option<(EtherType, u16)> {
    noted.filter(|_| svid.is_none())
}

impl Slot<'_> {
    fn noted_tag(&self) -> Option<(EtherType, u16)> {
        noted_tag(self.status, self.tpid, self.tci)
    }
}

/// TPID and tag control word in the kernel's notes on a frame.
fn noted_tag(status: u32, tpid: u16, tci: u16) -> Option<(EtherType, u16)> {
    let has = |flag| status & flag != 0;
    let tpid = if has(libc::TP_STATUS_VLAN_TPID_VALID) { EtherType(tpid) } else { EtherType::C_VLAN };
    has(libc::TP_STATUS_VLAN_VALID).then_some((tpid, tci))
}
