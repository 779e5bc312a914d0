//! Batches of frames: received by one system call, sent by one per port.
//!
//! A received frame stays where the kernel put it until the batch is done with. Copies, however many, are sent from
//! there; only the addresses are copied, to have the tag behind them.

use std::{mem, os::fd::AsFd};

use ether::{EtherType, Tag};
use libc::tpacket_auxdata;

use crate::{
    error::{PortError, is_port_gone},
    frame::{ADDRESSES, Head, RxError, RxFrame, TAG, TAG_SHIFT},
    packet::PacketPort,
    sys::{Loaded, Message, RecvRing, SendSet},
    vnet::VnetHdr,
};

/// Buffers for the frames of one system call. Belongs to one thread.
pub struct Batch {
    rows: Vec<Row>,
    ring: RecvRing,
    /// Room for the arguments of the call that sends.
    set: SendSet,
}

/// A frame of the batch: where it lies, and what its beginning says.
struct Row {
    place: Place,
    head: Result<Head, RxError>,
}

/// Where the octets of a frame lie.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// In this buffer of `ring`, behind a vnet header.
    Buffer(usize),
}

impl Batch {
    /// Frames of one batch.
    pub const FRAMES: usize = 64;

    /// Buffers for a batch; about 4 MiB, of which memory is taken only as frames fill it.
    #[must_use]
    pub fn new() -> Self {
        Self {
            rows: Vec::with_capacity(Self::FRAMES),
            ring: RecvRing::new(Self::FRAMES, SLOT),
            set: SendSet::new(Self::FRAMES),
        }
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
            Place::Buffer(index) => self.ring.message(index).map_or(&[], |message| behind_vnet(&message)),
        }
    }

    /// What follows the addresses and the tag of row `slot`.
    fn rest(&self, slot: usize) -> &[u8] {
        let Some(Row { place, head: Ok(head) }) = self.rows.get(slot) else { return &[] };
        self.octets(*place).get(head.start..).unwrap_or_default()
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl PacketPort {
    /// Takes what waits, up to a batch, without blocking; returns how many frames that is.
    ///
    /// # Errors
    /// The port has failed: its interface is down or gone, or the socket is unusable.
    pub fn receive(&mut self, batch: &mut Batch) -> Result<usize, PortError> {
        let Batch { rows, ring, .. } = batch;
        rows.clear();
        match ring.receive(self.as_fd()) {
            Ok(filled) => rows.extend((0..filled).filter_map(|index| {
                let message = ring.message(index)?;
                let head = read(&message);
                let octets = behind_vnet(&message).len();
                self.counters.received(head.map(|head| octets - (head.start - ADDRESSES)));
                Some(Row { place: Place::Buffer(index), head })
            })),
            Err(error) => match error.raw_os_error() {
                Some(libc::EAGAIN | libc::EINTR) => {}
                // The kernel has thrown the frame away: a kind of segmentation the vnet header has no code for.
                Some(libc::EINVAL) => self.counters.rx_unreadable += 1,
                _ => return Err(self.error("receive", error)),
            },
        }
        Ok(rows.len())
    }

    /// Sends what waits in `queue`, without blocking, and leaves the queue empty. `batch` is the one the frames came from,
    /// unchanged since.
    pub(crate) fn transmit(&mut self, queue: &mut TxQueue, batch: &mut Batch) -> Sent {
        let mut set = mem::take(&mut batch.set);
        let mut sent = Sent::default();
        for copies in queue.copies.chunks(Batch::FRAMES) {
            let parts = copies.iter().map(|copy| [copy.head(), batch.rest(copy.slot)]);
            transmit(copies, &mut set.load(parts), batch, self, &mut sent);
        }
        batch.set = set;
        queue.copies.clear();
        self.counters.tx_frames += sent.frames;
        self.counters.tx_octets += sent.octets;
        sent
    }
}

/// Copies of a batch's frames that wait for one port.
#[derive(Debug, Default)]
pub struct TxQueue {
    copies: Vec<TxCopy>,
}

/// What a queue sent and lost.
#[derive(Debug, Default)]
pub struct Sent {
    /// Copies sent.
    pub frames: u64,
    /// Their octets, outermost tag not included.
    pub octets: u64,
    /// Copies dropped.
    pub dropped: u64,
    /// Why the port has failed, if it has: its interface is down or gone.
    pub failure: Option<PortError>,
}

impl TxQueue {
    /// Whether nothing waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.copies.is_empty()
    }

    /// Adds a copy of `frame` with `tag` put on. It is sent from the batch the frame is in.
    pub fn push(&mut self, frame: &RxFrame<'_>, tag: Option<Tag>) {
        self.copies.push(TxCopy::new(frame, tag));
    }
}

/// One copy: the octets that precede the rest of the frame, and where that rest is.
#[derive(Clone, Copy, Debug)]
struct TxCopy {
    head: [u8; HEAD],
    tagged: bool,
    slot: usize,
}

impl TxCopy {
    fn new(frame: &RxFrame<'_>, tag: Option<Tag>) -> Self {
        let vnet = if tag.is_some() { frame.vnet.shifted(TAG_SHIFT) } else { frame.vnet };
        let mut head = [0; HEAD];
        let tag_octets = tag.map_or([0; TAG], Tag::to_bytes);
        let octets = vnet.to_bytes().into_iter().chain(*frame.addresses).chain(tag_octets);
        for (to, octet) in head.iter_mut().zip(octets) {
            *to = octet;
        }
        Self { head, tagged: tag.is_some(), slot: frame.slot() }
    }

    fn head(&self) -> &[u8] {
        let len = if self.tagged { HEAD } else { HEAD - TAG };
        self.head.get(..len).unwrap_or_default()
    }
}

/// Sends loaded copies, past those that fail one by one.
fn transmit(
    copies: &[TxCopy],
    loaded: &mut Loaded<'_>,
    batch: &Batch,
    port: &mut PacketPort,
    sent: &mut Sent,
) {
    let mut done = 0;
    while let Some(left) = copies.get(done..).filter(|left| !left.is_empty()) {
        let error = match loaded.send(port.as_fd(), done) {
            Ok(n) => {
                let octets = |copy: &TxCopy| count(ADDRESSES + batch.rest(copy.slot).len());
                sent.octets += left.iter().take(n).map(octets).sum::<u64>();
                sent.frames += count(n);
                // No progress and no error cannot be; it must not become an endless loop.
                done += n.max(1);
                continue;
            }
            Err(error) => error,
        };
        let (lost, counter) = match error.raw_os_error() {
            Some(libc::EINTR) => continue,
            Some(libc::EAGAIN) => (left.len(), &mut port.counters.tx_full),
            Some(libc::ENOBUFS) => (1, &mut port.counters.tx_full),
            Some(libc::EMSGSIZE) => (1, &mut port.counters.tx_too_long),
            _ if is_port_gone(&error) => (left.len(), &mut port.counters.tx_failed),
            _ => (1, &mut port.counters.tx_refused),
        };
        *counter += count(lost);
        sent.dropped += count(lost);
        done += lost;
        if is_port_gone(&error) {
            sent.failure = Some(port.error("send", error));
        }
    }
}

/// Understands a frame that came with a vnet header in front.
fn read(message: &Message<'_>) -> Result<Head, RxError> {
    let frame = behind_vnet(message);
    if message.truncated {
        return Err(RxError::Truncated(frame.len()));
    }
    let vnet = message.bytes.first_chunk().ok_or(RxError::Runt(0))?;
    Head::read(frame, VnetHdr::from_bytes(*vnet), message.aux.and_then(noted_tag))
}

fn behind_vnet<'a>(message: &Message<'a>) -> &'a [u8] {
    message.bytes.get(VnetHdr::LEN..).unwrap_or_default()
}

/// TPID and tag control word in the kernel's notes on a frame.
fn noted_tag(aux: tpacket_auxdata) -> Option<(EtherType, u16)> {
    let has = |flag| aux.tp_status & flag != 0;
    let tpid =
        if has(libc::TP_STATUS_VLAN_TPID_VALID) { EtherType(aux.tp_vlan_tpid) } else { EtherType::C_VLAN };
    has(libc::TP_STATUS_VLAN_VALID).then_some((tpid, aux.tp_vlan_tci))
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// Vnet header, addresses, tag.
const HEAD: usize = VnetHdr::LEN + ADDRESSES + TAG;
/// The longest super-frame (64 KiB of IP packet, Ethernet header, tags) with its vnet header. An odd number of cache
/// lines, so that the headers of a batch do not all fall into the same sets of the cache.
const SLOT: usize = 66 * 1024 + 64;

#[cfg(test)]
mod tests;
