//! Batches of frames: received by one system call, sent by one per port.
//!
//! A received frame stays where the kernel put it until the batch is done with. Copies, however many, are sent from
//! there; only the addresses are copied, to have the tag behind them.

mod copy;
mod receive;
mod send;

use std::mem;

use ether::EtherType;

pub(crate) use self::copy::TxCopy;
pub use self::send::{Sent, TxQueue};
use crate::{
    frame::{Head, RxError, RxFrame},
    sys::{
        Message, RecvRing, SendSet,
        ring::RxRing,
        xsk::{self, Umem},
    },
    vnet::VnetHdr,
};

/// Buffers for the frames of one system call. Belongs to one thread.
pub struct Batch {
    pub(crate) rows: Vec<Row>,
    /// Buffers for frames that the kernel copies.
    buffers: RecvRing,
    /// The ring of the port whose frames these are, until they are done with.
    ring: Option<RxRing>,
    /// Room for the arguments of the call that sends.
    set: SendSet,
    /// What all xdp ports of a thread receive into and send from, once there is one.
    pub(crate) umem: Option<Umem>,
    /// What follows addresses and tag of frames that have waited to be sent.
    lent: Vec<Vec<u8>>,
    /// Octets it has.
    pub(crate) memory: u32,
}

/// A frame of the batch: where it lies, and what its beginning says.
pub(crate) struct Row {
    pub(crate) place: Place,
    pub(crate) head: Result<Head, RxError>,
}

/// Where the octets of a frame lie.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// In this buffer, behind a vnet header.
    Buffer(usize),
    /// In this slot of the ring.
    Slot(usize),
    /// In this chunk of `umem`.
    Chunk(xsk::Place),
    /// In `lent`, without addresses and tag.
    Lent(usize),
}

impl Batch {
    /// Frames of one batch at most.
    pub const FRAMES: usize = 64;
    /// Octets after which no further frame is taken into a batch: what is sent should still be in the cache.
    const OCTETS: usize = 1 << 18;

    /// Buffers for a batch; about 4 MiB, of which memory is taken only as frames fill it.
    #[must_use]
    pub fn new() -> Self {
        Self {
            rows: Vec::with_capacity(Self::FRAMES),
            buffers: RecvRing::new(Self::FRAMES, BUFFER),
            ring: None,
            set: SendSet::new(Self::FRAMES),
            umem: None,
            lent: Vec::with_capacity(Self::FRAMES),
            memory: 0,
        }
    }

    /// The same, with so many octets for frames of xdp ports.
    pub(crate) fn with_memory(memory: u32) -> Self {
        Self { memory, ..Self::new() }
    }

    /// The frames of the batch, in order of arrival.
    pub fn frames(&self) -> impl Iterator<Item = Result<RxFrame<'_>, RxError>> {
        self.rows.iter().enumerate().filter_map(|(slot, row)| match &row.head {
            Ok(head) => RxFrame::new(slot, head, self.octets(row.place)).map(Ok),
            Err(error) => Some(Err(*error)),
        })
    }

    /// The octets of a frame, from its destination address on.
    fn octets(&self, place: Place) -> &[u8] {
        match place {
            Place::Buffer(index) => self.buffers.message(index).map_or(&[], |message| behind_vnet(&message)),
            Place::Slot(index) => {
                self.ring.as_ref().and_then(|ring| ring.slot(index)).map_or(&[], |slot| slot.octets)
            }
            Place::Chunk(place) => self.umem.as_ref().map_or(&[], |umem| umem.octets(place)),
            Place::Lent(index) => self.lent.get(index).map_or(&[], Vec::as_slice),
        }
    }

    /// What follows the addresses and the tag of row `slot`.
    pub(crate) fn rest(&self, slot: usize) -> &[u8] {
        let Some(Row { place, head: Ok(head) }) = self.rows.get(slot) else { return &[] };
        self.octets(*place).get(head.start..).unwrap_or_default()
    }

    /// Has copies be sent of frames of which this is what follows addresses and tag, in place of received ones.
    pub(crate) fn lend(&mut self, rests: impl Iterator<Item = Vec<u8>>) {
        self.lent.extend(rests);
        let head =
            Head { vnet: VnetHdr::default(), channel: None, tag: None, ethertype: EtherType(0), start: 0 };
        self.rows.clear();
        self.rows.extend((0..self.lent.len()).map(|index| Row { place: Place::Lent(index), head: Ok(head) }));
    }

    /// Ends [`Batch::lend`].
    pub(crate) fn take_back(&mut self) -> Vec<Vec<u8>> {
        self.rows.clear();
        mem::take(&mut self.lent)
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

fn behind_vnet<'a>(message: &Message<'a>) -> &'a [u8] {
    message.bytes.get(VnetHdr::LEN..).unwrap_or_default()
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// The longest super-frame (64 KiB of IP packet, Ethernet header, tags) with its vnet header. An odd number of cache
/// lines, so that the headers of a batch do not all fall into the same sets of the cache.
const BUFFER: usize = 66 * 1024 + 64;

#[cfg(test)]
mod tests;
