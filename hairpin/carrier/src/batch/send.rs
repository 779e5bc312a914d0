//! Copies as they leave: together by one system call, or cut into what a super-frame stands for.

use std::{io, mem, os::fd::AsFd};

use ether::{Pcp, Tag, TagOctets, Vid};

use super::{Batch, TxCopy, count};
use crate::{
    error::{PortError, is_port_gone},
    frame::{ADDRESSES, RxFrame},
    packet::PacketPort,
    segment,
    sys::{Loaded, SendSet},
    vnet::VnetHdr,
};

/// Copies of a batch's frames that wait for one port.
#[derive(Debug, Default)]
pub struct TxQueue {
    pub(crate) copies: Vec<TxCopy>,
    /// What finds no room stays here.
    pub(crate) keeps: bool,
    /// The S-VLAN they go by.
    pub(super) svid: Option<Vid>,
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

impl Sent {
    fn count(&mut self, copy: &TxCopy, batch: &Batch) {
        self.frames += 1;
        self.octets += count(ADDRESSES + batch.rest(copy.slot).len());
    }
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

impl PacketPort {
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
                if !self.transmit_late(copy, batch, &mut set, &mut sent) {
                    self.transmit_cut(copy, batch, &mut set, &mut sent);
                }
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

    /// Sends a super-frame whole, its tag to be put on by the kernel; false if that cannot be.
    fn transmit_late(&mut self, copy: &TxCopy, batch: &Batch, set: &mut SendSet, sent: &mut Sent) -> bool {
        let Some(Ok(tagger)) = &mut self.tagger else { return false };
        let Some((mark, plain)) = copy.late(tagger.framing) else { return false };
        if !tagger.set(mark) {
            return false;
        }
        let parts = [[plain.head(), batch.rest(plain.slot)]];
        match set.load(parts.into_iter()).send(tagger.socket.as_fd(), 0) {
            Ok(_) => sent.count(copy, batch),
            Err(error) => {
                self.lost(error, 1, sent);
            }
        }
        true
    }

    /// Sends a super-frame as the frames it stands for.
    fn transmit_cut(&mut self, copy: &TxCopy, batch: &Batch, set: &mut SendSet, sent: &mut Sent) {
        let (frame, mut segments, mut ends) = (copy.whole(batch), Vec::new(), Vec::new());
        let done = segment::segment(&frame, copy.vnet(), copy.ip(batch), &mut Vec::new(), |segment| {
            segments.extend_from_slice(&[0; VnetHdr::LEN]);
            segments.extend_from_slice(segment);
            ends.push(segments.len());
        });
        if done.is_err() {
            self.counters.tx_refused += 1;
            sent.dropped += 1;
            return;
        }
        let mut from = 0;
        let mut frames =
            ends.iter().map(|end| segments.get(mem::replace(&mut from, *end)..*end).unwrap_or_default());
        let mut left = ends.len();
        while left > 0 {
            let room = left.min(Batch::FRAMES);
            let mut loaded = set.load(frames.by_ref().take(room).map(|frame| [frame, &[]]));
            let mut first = 0;
            while first < room {
                match loaded.send(self.as_fd(), first) {
                    Ok(n) => first += n.max(1),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => {
                        self.lost(error, 1, sent);
                        return;
                    }
                }
            }
            left -= room;
        }
        sent.count(copy, batch);
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
