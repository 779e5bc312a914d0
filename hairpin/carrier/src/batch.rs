//! Batches of frames: received by one system call, sent by one per port.
//!
//! A received frame stays where the kernel put it until the next batch. Copies, however many, are sent from there; only
//! the addresses are copied, to have the tag behind them.

use std::os::fd::AsFd;

use ether::{EtherType, MacAddr, Tag};
use hairpin::Frame;
use libc::tpacket_auxdata;

use crate::{
    error::{PortError, is_port_gone},
    packet::PacketPort,
    stats::PortStats,
    sys::{Loaded, Message, RecvRing, SendSet},
    vnet::VnetHdr,
};

/// Buffers for the frames of one system call. Belongs to one thread.
pub struct Batch {
    ring: RecvRing,
    filled: usize,
    /// Room for the arguments of the call that sends.
    set: SendSet,
}

impl Batch {
    /// Frames of one batch.
    pub const FRAMES: usize = 64;

    /// Buffers for a batch; about 4 MiB, of which memory is taken only as frames fill it.
    #[must_use]
    pub fn new() -> Self {
        Self { ring: RecvRing::new(Self::FRAMES, SLOT), filled: 0, set: SendSet::new(Self::FRAMES) }
    }

    /// Takes what waits at `port`, up to a batch, without blocking; returns how many frames that is.
    ///
    /// # Errors
    /// The port has failed: its interface is down or gone, or the socket is unusable.
    pub fn receive(&mut self, port: &mut PacketPort) -> Result<usize, PortError> {
        self.filled = 0;
        match self.ring.receive(port.as_fd()) {
            Ok(filled) => self.filled = filled,
            Err(error) => match error.raw_os_error() {
                Some(libc::EAGAIN | libc::EINTR) => {}
                // The kernel has thrown the frame away: a kind of segmentation the vnet header has no code for.
                Some(libc::EINVAL) => port.counters.rx_unreadable += 1,
                _ => return Err(port.error("receive", error)),
            },
        }
        for frame in self.frames() {
            port.counters.received(&frame);
        }
        Ok(self.filled)
    }

    /// The frames of the batch, in order of arrival.
    pub fn frames(&self) -> impl Iterator<Item = Result<RxFrame<'_>, RxError>> {
        (0..self.filled).filter_map(|slot| Some(RxFrame::read(slot, self.ring.message(slot)?)))
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

/// A received frame, its outermost VLAN tag taken off.
#[derive(Clone, Copy, Debug)]
pub struct RxFrame<'a> {
    /// What the sender postponed. Offsets are those of the frame without the tag.
    pub vnet: VnetHdr,
    /// Destination and source.
    pub addresses: &'a [u8; ADDRESSES],
    /// The outermost VLAN tag.
    pub tag: Option<Tag>,
    /// What follows addresses and tag: EtherType and payload.
    pub rest: &'a [u8],
    ethertype: EtherType,
    slot: usize,
    start: usize,
}

/// Why a frame could not be read. Holds the octets received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RxError {
    /// Shorter than its own header.
    #[error("{0} octets cannot hold an Ethernet header")]
    Runt(usize),
    /// Longer than the buffer.
    #[error("frame is longer than the buffer, {0} octets fitted")]
    Truncated(usize),
    /// The tag carries VID 4095.
    #[error("VLAN tag with the reserved VID 4095")]
    BadTag(usize),
}

impl RxError {
    /// The octets received.
    #[must_use]
    pub const fn octets(self) -> usize {
        match self {
            Self::Runt(octets) | Self::Truncated(octets) | Self::BadTag(octets) => octets,
        }
    }
}

impl<'a> RxFrame<'a> {
    fn read(slot: usize, message: Message<'a>) -> Result<Self, RxError> {
        let len = message.bytes.len().saturating_sub(VnetHdr::LEN);
        if message.truncated {
            return Err(RxError::Truncated(len));
        }
        let runt = || RxError::Runt(len);
        let (vnet, frame) = message.bytes.split_first_chunk().ok_or_else(runt)?;
        let (addresses, rest) = frame.split_first_chunk().ok_or_else(runt)?;
        let vnet = VnetHdr::from_bytes(*vnet);
        let ethertype = ethertype(rest).ok_or_else(runt)?;
        let start = VnetHdr::LEN + ADDRESSES;
        let tag = |(tpid, tci)| Tag::from_tci(tpid, tci).ok_or(RxError::BadTag(len));
        let noted = message.aux.and_then(noted_tag).map(tag).transpose()?;
        if noted.is_some() || !ethertype.is_vlan() {
            return Ok(Self { vnet, addresses, tag: noted, rest, ethertype, slot, start });
        }
        let (&[_, _, high, low], rest) = rest.split_first_chunk::<TAG>().ok_or_else(runt)?;
        let inner = self::ethertype(rest).ok_or_else(runt)?;
        let tag = tag((ethertype, u16::from_be_bytes([high, low])))?;
        let (vnet, start) = (vnet.shifted(-TAG_SHIFT), start + TAG);
        Ok(Self { vnet, addresses, tag: Some(tag), rest, ethertype: inner, slot, start })
    }

    /// The EtherType behind the tag, or a length below 1536.
    #[must_use]
    pub const fn ethertype(&self) -> EtherType {
        self.ethertype
    }

    /// Octets of the frame without the tag.
    #[must_use]
    pub const fn octets(&self) -> usize {
        ADDRESSES + self.rest.len()
    }

    /// The frame as the relay wants to know it.
    #[must_use]
    pub fn summary(&self) -> Frame<'a> {
        let &[a, b, c, d, e, f, g, h, i, j, k, l] = self.addresses;
        Frame {
            dst: MacAddr(a, b, c, d, e, f),
            src: MacAddr(g, h, i, j, k, l),
            tag: self.tag,
            ethertype: self.ethertype,
            len: u32::try_from(self.octets()).unwrap_or(u32::MAX),
            payload: self.rest.get(ETHERTYPE..).unwrap_or_default(),
        }
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

    /// Sends everything by `port`, without blocking, and leaves the queue empty. `batch` is the one the frames came
    /// from, unchanged since.
    pub fn flush(&mut self, batch: &mut Batch, port: &mut PacketPort) -> Sent {
        let Batch { ring, set, .. } = batch;
        let mut sent = Sent::default();
        for copies in self.copies.chunks(Batch::FRAMES) {
            let parts = copies.iter().map(|copy| [copy.head(), copy.tail(ring)]);
            transmit(copies, &mut set.load(parts), ring, port, &mut sent);
        }
        self.copies.clear();
        port.counters.tx_frames += sent.frames;
        port.counters.tx_octets += sent.octets;
        sent
    }
}

/// One copy: the octets that precede the rest of the frame, and where that rest is.
#[derive(Clone, Copy, Debug)]
struct TxCopy {
    head: [u8; HEAD],
    tagged: bool,
    slot: usize,
    start: usize,
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
        Self { head, tagged: tag.is_some(), slot: frame.slot, start: frame.start }
    }

    fn head(&self) -> &[u8] {
        let len = if self.tagged { HEAD } else { HEAD - TAG };
        self.head.get(..len).unwrap_or_default()
    }

    fn tail<'a>(&self, ring: &'a RecvRing) -> &'a [u8] {
        ring.message(self.slot).and_then(|message| message.bytes.get(self.start..)).unwrap_or_default()
    }
}

/// Sends loaded copies, past those that fail one by one.
fn transmit(
    copies: &[TxCopy],
    loaded: &mut Loaded<'_>,
    ring: &RecvRing,
    port: &mut PacketPort,
    sent: &mut Sent,
) {
    let mut done = 0;
    while let Some(left) = copies.get(done..).filter(|left| !left.is_empty()) {
        let error = match loaded.send(port.as_fd(), done) {
            Ok(n) => {
                sent.octets +=
                    left.iter().take(n).map(|copy| count(ADDRESSES + copy.tail(ring).len())).sum::<u64>();
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

impl PortStats {
    fn received(&mut self, frame: &Result<RxFrame<'_>, RxError>) {
        match frame {
            Ok(frame) => {
                self.rx_frames += 1;
                self.rx_octets += count(frame.octets());
                self.rx_super_frames += u64::from(frame.octets() > Self::SUPER_FRAME);
            }
            Err(RxError::Runt(_)) => self.rx_runt += 1,
            Err(RxError::Truncated(_)) => self.rx_truncated += 1,
            Err(RxError::BadTag(_)) => self.rx_bad_tag += 1,
        }
    }
}

/// TPID and tag control word in the kernel's notes on a frame.
fn noted_tag(aux: tpacket_auxdata) -> Option<(EtherType, u16)> {
    let has = |flag| aux.tp_status & flag != 0;
    let tpid =
        if has(libc::TP_STATUS_VLAN_TPID_VALID) { EtherType(aux.tp_vlan_tpid) } else { EtherType::C_VLAN };
    has(libc::TP_STATUS_VLAN_VALID).then_some((tpid, aux.tp_vlan_tci))
}

fn ethertype(octets: &[u8]) -> Option<EtherType> {
    octets.first_chunk().map(|pair| EtherType(u16::from_be_bytes(*pair)))
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// Destination and source.
const ADDRESSES: usize = 12;
const ETHERTYPE: usize = 2;
const TAG: usize = Tag::LEN;
const TAG_SHIFT: i16 = 4;
/// Vnet header, addresses, tag.
const HEAD: usize = VnetHdr::LEN + ADDRESSES + TAG;
/// The longest super-frame (64 KiB of IP packet, Ethernet header, tags) with its vnet header. An odd number of cache
/// lines, so that the headers of a batch do not all fall into the same sets of the cache.
const SLOT: usize = 66 * 1024 + 64;

#[cfg(test)]
mod tests;
