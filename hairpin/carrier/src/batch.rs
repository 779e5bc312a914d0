//! Batches of frames: received by one system call, sent by one per port.
//!
//! A received frame stays where the kernel put it until the batch is done with. Copies, however many, are sent from
//! there; only the addresses are copied, to have the tag behind them.

use std::{io, mem, os::fd::AsFd};

use ether::{ETag, EtherType, Pcp, Tag, TagOctets, Vid};
use hairpin::svlan;

use crate::{
    error::{PortError, is_port_gone},
    frame::{ADDRESSES, ChannelTags, ETHERTYPE, Head, RxError, RxFrame, TAG},
    packet::PacketPort,
    segment,
    sys::{
        self, Loaded, Message, RecvRing, SendSet,
        ring::{RxRing, Slot},
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

    /// Sends what waits in `queue`, without blocking, and leaves the queue empty, but for what found no room if the queue
    /// keeps that. `batch` is the one the frames came from, unchanged since.
    pub(crate) fn transmit(&mut self, queue: &mut TxQueue, batch: &mut Batch) -> Sent {
        let mut set = mem::take(&mut batch.set);
        let mut sent = Sent::default();
        if queue.copies.iter().any(TxCopy::is_super_frame) {
            let mtu = self.mtu();
            let fits = |copy: &TxCopy| {
                let room = mtu.saturating_sub(copy.overhead());
                !copy.is_super_frame() || copy.longest_segment(batch).is_none_or(|len| len <= room)
            };
            let all = queue.copies.len();
            queue.copies.retain(fits);
            let lost = count(all - queue.copies.len());
            self.counters.tx_too_long += lost;
            sent.dropped += lost;
        }
        let mut done = 0;
        'copies: for copies in queue.copies.chunk_by(|a, b| !a.is_cut() && !b.is_cut()) {
            if let [copy] = copies
                && copy.is_cut()
            {
                self.transmit_cut(copy, batch, &mut sent);
                done += 1;
                continue;
            }
            for copies in copies.chunks(Batch::FRAMES) {
                let parts = copies.iter().map(|copy| [copy.head(), batch.rest(copy.slot)]);
                let n = transmit(copies, &mut set.load(parts), batch, self, &mut sent, queue.keeps);
                done += n;
                if n < copies.len() {
                    break 'copies;
                }
            }
        }
        batch.set = set;
        queue.copies.drain(..done);
        self.counters.tx_frames += sent.frames;
        self.counters.tx_octets += sent.octets;
        sent
    }

    /// Sends a super-frame as the frames it stands for.
    fn transmit_cut(&mut self, copy: &TxCopy, batch: &Batch, sent: &mut Sent) {
        let frame = copy.whole(batch);
        let mut failed = None;
        let done = segment::segment(&frame, copy.vnet(), copy.ip(batch), &mut Vec::new(), |segment| {
            let whole = [&[0; VnetHdr::LEN], segment].concat();
            if failed.is_none()
                && let Err(error) = sys::send(self.as_fd(), &whole)
            {
                failed = Some(error);
            }
        });
        match (done, failed) {
            (Ok(()), None) => {
                sent.frames += 1;
                sent.octets += count(ADDRESSES + batch.rest(copy.slot).len());
            }
            (Ok(()), Some(error)) => drop(self.lost(error, 1, sent)),
            (Err(_), _) => {
                self.counters.tx_refused += 1;
                sent.dropped += 1;
            }
        }
    }

    /// Counts what `error` costs of `left` copies; returns how many.
    fn lost(&mut self, error: io::Error, left: usize, sent: &mut Sent) -> usize {
        let (lost, counter) = match error.raw_os_error() {
            Some(libc::EINTR) => return 0,
            Some(libc::EAGAIN) => (left, &mut self.counters.tx_full),
            Some(libc::ENOBUFS) => (1, &mut self.counters.tx_full),
            Some(libc::EMSGSIZE) => (1, &mut self.counters.tx_too_long),
            _ if is_port_gone(&error) => (left, &mut self.counters.tx_failed),
            _ => (1, &mut self.counters.tx_refused),
        };
        *counter += count(lost);
        sent.dropped += count(lost);
        if is_port_gone(&error) {
            sent.failure = Some(self.error("send", error));
        }
        lost
    }
}

/// Copies of a batch's frames that wait for one port.
#[derive(Debug, Default)]
pub struct TxQueue {
    pub(crate) copies: Vec<TxCopy>,
    /// What finds no room stays here.
    pub(crate) keeps: bool,
    /// The S-VLAN they go by.
    svid: Option<Vid>,
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
    /// A queue of copies that go by S-VLAN `svid`, or without one.
    pub(crate) fn new(svid: Option<Vid>) -> Self {
        Self { svid, ..Self::default() }
    }

    /// Whether nothing waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.copies.is_empty()
    }

    /// Adds a copy of `frame` with `tag` put on, and outside of it `channel`, of priority `priority`. It is sent from the
    /// batch the frame is in.
    pub fn push(&mut self, frame: &RxFrame<'_>, tag: Option<Tag>, channel: Option<TagOctets>, priority: Pcp) {
        self.copies.push(TxCopy::new(frame, tag, channel, priority, self.svid));
    }
}

/// One copy: the octets that precede the rest of the frame, and where that rest is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TxCopy {
    head: [u8; HEAD],
    /// Octets of its tags.
    tags: usize,
    pub(crate) priority: Pcp,
    pub(crate) slot: usize,
}

impl TxCopy {
    fn new(
        frame: &RxFrame<'_>,
        tag: Option<Tag>,
        channel: Option<TagOctets>,
        priority: Pcp,
        svid: Option<Vid>,
    ) -> Self {
        let service = |svid| svlan::tag(svid, Some(tag.unwrap_or(Tag { pcp: priority, ..Tag::c(svid) })));
        let mut tags = 0;
        let mut head = [0; HEAD];
        if let Some((_, room)) = head.split_at_mut_checked(VnetHdr::LEN + ADDRESSES) {
            let outer = channel.as_ref().map_or(&[][..], TagOctets::as_slice).iter().copied();
            let vlans = svid.map(service).into_iter().chain(tag).flat_map(Tag::to_bytes);
            for (to, octet) in room.iter_mut().zip(outer.chain(vlans)) {
                *to = octet;
                tags += 1;
            }
        }
        let vnet = frame.vnet.shifted(i16::try_from(tags).unwrap_or_default());
        for (to, octet) in head.iter_mut().zip(vnet.to_bytes().into_iter().chain(*frame.addresses)) {
            *to = octet;
        }
        Self { head, tags, priority, slot: frame.slot() }
    }

    /// An untagged copy of the frame in row `slot`, its addresses zero.
    #[cfg(test)]
    pub(crate) const fn blank(priority: Pcp, slot: usize) -> Self {
        Self { head: [0; HEAD], tags: 0, priority, slot }
    }

    /// The same of the frame in row `slot`.
    pub(crate) const fn of_row(self, slot: usize) -> Self {
        Self { slot, ..self }
    }

    /// Octets of the frame it is, tag included.
    pub(crate) fn octets(&self, batch: &Batch) -> usize {
        self.front().len() + batch.rest(self.slot).len()
    }

    /// What is still to be done to the frame.
    pub(crate) fn vnet(&self) -> VnetHdr {
        self.head.first_chunk().map_or_else(VnetHdr::default, |octets| VnetHdr::from_bytes(*octets))
    }

    pub(crate) fn is_super_frame(&self) -> bool {
        let [_, gso_type, ..] = self.head;
        gso_type != 0
    }

    /// Whether it has to be cut here: few cards, and not every version of the kernel, cut behind a tag that is no C-tag.
    fn is_cut(&self) -> bool {
        self.tags > 0 && self.is_super_frame() && self.tpid() != Some(EtherType::C_VLAN)
    }

    /// Octets of its tags that count against the MTU: of a lone C-tag none do, but all behind any other.
    fn overhead(&self) -> usize {
        if self.tags == 0 || self.tpid() == Some(EtherType::C_VLAN) { 0 } else { self.tags }
    }

    fn tpid(&self) -> Option<EtherType> {
        let octets = self.head.get(VnetHdr::LEN + ADDRESSES..)?.first_chunk()?;
        Some(EtherType(u16::from_be_bytes(*octets)))
    }

    /// The copy as one piece, without vnet header.
    pub(crate) fn whole(&self, batch: &Batch) -> Vec<u8> {
        [self.front(), batch.rest(self.slot)].concat()
    }

    /// Where the IP header starts in it: behind the EtherType that follows the last tag.
    pub(crate) fn ip(&self, batch: &Batch) -> usize {
        let rest = batch.rest(self.slot);
        let inner = rest.chunks(TAG).take_while(|chunk| {
            chunk.first_chunk().is_some_and(|pair| EtherType(u16::from_be_bytes(*pair)).is_vlan())
        });
        self.head().len() - VnetHdr::LEN + inner.count() * TAG + ETHERTYPE
    }

    /// Octets of the longest IP packet it stands for; `None` if it is not understood.
    fn longest_segment(&self, batch: &Batch) -> Option<usize> {
        let before = self.head().len() - VnetHdr::LEN;
        segment::longest(batch.rest(self.slot), self.vnet().back(before), self.ip(batch) - before).ok()
    }

    fn head(&self) -> &[u8] {
        self.head.get(..VnetHdr::LEN + ADDRESSES + self.tags).unwrap_or_default()
    }

    /// The frame's own octets before the rest: addresses and tag.
    pub(crate) fn front(&self) -> &[u8] {
        self.head().get(VnetHdr::LEN..).unwrap_or_default()
    }
}

/// Sends loaded copies, past those that fail one by one; returns how many are done with: all, unless `keep` and the rest
/// found no room.
fn transmit(
    copies: &[TxCopy],
    loaded: &mut Loaded<'_>,
    batch: &Batch,
    port: &mut PacketPort,
    sent: &mut Sent,
    keep: bool,
) -> usize {
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
        if keep && matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOBUFS)) {
            return done;
        }
        done += port.lost(error, left.len(), sent);
    }
    copies.len()
}

/// Understands a frame that came with a vnet header in front.
fn read(message: &Message<'_>, svid: Option<Vid>, tags: Option<ChannelTags>) -> Result<Head, RxError> {
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

fn behind_vnet<'a>(message: &Message<'a>) -> &'a [u8] {
    message.bytes.get(VnetHdr::LEN..).unwrap_or_default()
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

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// Vnet header, addresses, tag of an E-channel or of an S-channel, C-tag.
const HEAD: usize = VnetHdr::LEN + ADDRESSES + ETag::LEN + TAG;
/// The longest super-frame (64 KiB of IP packet, Ethernet header, tags) with its vnet header. An odd number of cache
/// lines, so that the headers of a batch do not all fall into the same sets of the cache.
const BUFFER: usize = 66 * 1024 + 64;

#[cfg(test)]
mod tests;
