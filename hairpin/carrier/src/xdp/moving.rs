//! Frames between an [`XdpPort`]'s rings and a worker's batch.

use std::{
    io, mem,
    os::fd::{AsFd, BorrowedFd},
};

use super::{XdpMode, XdpPort};
use crate::{
    batch::{Batch, Place, Row, Sent, TxCopy, TxQueue},
    checksum::{self, Finish},
    error::{OpenError, PortError, Step},
    frame::{ADDRESSES, ChannelTags, Head, RxError},
    segment,
    socket::at,
    sys::{
        self, bpf,
        xsk::{self, Bind, Umem, Xsk},
    },
    vnet::VnetHdr,
};

impl XdpPort {
    /// Binds the sockets to the memory of `batch` and has frames come. `leader` is a socket of another port on the same
    /// memory.
    pub(crate) fn join(&mut self, batch: &mut Batch, leader: Option<&Xsk>) -> Result<(), OpenError> {
        let Self { watch, waiting, queues, program, .. } = self;
        let fault = |step| at(&watch.interface, step);
        let umem = batch.umem().map_err(fault(Step::Memory))?;
        if queues.iter().any(|queue| !umem.serves(queue)) {
            let what = "it was a port of another worker; open it again";
            return Err(fault(Step::Memory)(io::Error::other(what)));
        }
        for (queue, socket) in mem::take(waiting) {
            if !umem.admits(FILL + xsk::SENDING) {
                let what = "the memory all xdp ports share is used up; give them more, or use carrier packet for some";
                return Err(fault(Step::Memory)(io::Error::other(what)));
            }
            sys::set_number(socket.as_fd(), libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, SEND_BUFFER)
                .map_err(fault(Step::Option("SO_SNDBUFFORCE")))?;
            // Frames sent by one call, 32 by default. Kernels before 6.17 do not have it.
            let _ = sys::set_number(socket.as_fd(), libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, SEND_BUDGET);
            let how = Bind { ifindex: watch.ifindex, queue, leader: queues.first().or(leader) };
            let mut xsk = Xsk::bind(socket, umem, &how).map_err(fault(Step::Bind))?;
            xsk.refill(umem, FILL);
            bpf::set_socket(program.table.as_fd(), queue, xsk.as_fd()).map_err(fault(Step::Program))?;
            queues.push(xsk);
        }
        if queues.iter().all(|queue| queue.is_zero_copy().unwrap_or(false)) {
            self.mode = XdpMode::ZeroCopy;
        } else if self.options.zero_copy_only {
            return Err(at(&self.watch.interface, Step::Divert)(io::Error::other(
                "no zero copy: its driver has none, or another xdp port has none",
            )));
        }
        // Last, because the whole host is told: not of a port that is refused.
        self.watch.join(None)
    }

    /// Whether frames wait in the rings.
    pub(crate) fn is_ready(&self) -> bool {
        self.queues.iter().any(Xsk::is_ready)
    }

    /// What a worker waits for: the sockets, and the one that tells of the interface.
    pub(crate) fn watched(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.queues.iter().map(AsFd::as_fd).chain([self.watch.socket.as_fd()])
    }

    /// A socket by which other ports can share the memory.
    pub(crate) fn leader(&self) -> Option<&Xsk> {
        self.queues.first()
    }

    pub(crate) fn receive(&mut self, batch: &mut Batch) -> Result<usize, PortError> {
        batch.rows.clear();
        let Batch { rows, umem: Some(umem), .. } = batch else { return Ok(0) };
        for queue in &mut self.queues {
            queue.complete(umem);
            queue.receive(umem, Batch::FRAMES - self.arrived.len(), &mut self.arrived);
        }
        for place in self.arrived.drain(..) {
            let (tags, completed) = (self.options.tags, &mut self.counters.rx_completed);
            let head = read(umem, place, self.unfinished, tags, completed);
            let octets = usize::try_from(place.len).unwrap_or(0);
            self.counters.received(head.map(|head| octets - (head.start - ADDRESSES)));
            rows.push(Row { place: Place::Chunk(place), head });
        }
        if rows.is_empty() {
            // Nothing came: then the interface may have.
            self.watch.check().map_err(|error| self.error("receive", error))?;
        }
        Ok(batch.rows.len())
    }

    /// Gives the chunks of frames nobody sends back to the kernel, and others for those that are being sent.
    pub(crate) fn release(&mut self, batch: &mut Batch) -> Result<(), PortError> {
        let Batch { rows, umem: Some(umem), .. } = batch else { return Ok(()) };
        for row in rows.drain(..) {
            if let Place::Chunk(place) = row.place {
                umem.give(place);
            }
        }
        for queue in &mut self.queues {
            queue.refill(umem, FILL);
        }
        let woken = self.queues.iter().try_for_each(|queue| queue.wake());
        woken.map_err(|error| self.error("receive", error))
    }

    pub(crate) fn transmit(&mut self, copies: &mut TxQueue, batch: &mut Batch) -> Sent {
        let mut sent = Sent::default();
        if let Err(error) = batch.umem() {
            sent.failure = Some(self.error("send", error));
        }
        for queue in &mut self.queues {
            if let Some(umem) = &mut batch.umem {
                queue.complete(umem);
            }
        }
        let mut done = 0;
        for copy in &copies.copies {
            match self.send(copy, batch) {
                Ok(octets) => {
                    sent.frames += 1;
                    sent.octets += octets;
                }
                Err(Lost::Full) if copies.keeps => break,
                Err(lost) => {
                    sent.dropped += 1;
                    *match lost {
                        Lost::Full => &mut self.counters.tx_full,
                        Lost::TooLong => &mut self.counters.tx_too_long,
                        Lost::Refused => &mut self.counters.tx_refused,
                    } += 1;
                }
            }
            done += 1;
        }
        copies.copies.drain(..done);
        self.counters.tx_frames += sent.frames;
        self.counters.tx_octets += sent.octets;
        if let Err(error) = self.push_out() {
            sent.failure = Some(error);
        }
        sent
    }

    /// Has the kernel send what is queued.
    pub(crate) fn push_out(&mut self) -> Result<(), PortError> {
        let mut result = Ok(());
        for queue in &mut self.queues {
            let mut left = queue.unsent();
            while left > 0 && result.is_ok() {
                result = queue.kick();
                let now = queue.unsent();
                // The kernel cannot take more for now: a worker asks again.
                if now >= left {
                    break;
                }
                left = now;
            }
        }
        result.map_err(|error| self.error("send", error))
    }

    /// Whether frames wait that the kernel could not take.
    pub(crate) fn is_late(&mut self) -> bool {
        self.queues.iter_mut().any(|queue| queue.unsent() > 0)
    }

    /// Queues one copy, cut where it stands for many; returns its octets without the tag.
    fn send(&mut self, copy: &TxCopy, batch: &mut Batch) -> Result<u64, Lost> {
        let octets = ADDRESSES + batch.rest(copy.slot).len();
        // The same queue for all frames between two addresses: they stay in order.
        let turn = copy.front().iter().fold(0, |sum: usize, octet| sum.wrapping_add(usize::from(*octet)));
        let turn = turn.checked_rem(self.queues.len()).ok_or(Lost::Refused)?;
        let queue = self.queues.get_mut(turn).ok_or(Lost::Refused)?;
        if copy.is_super_frame() {
            send_cut(queue, copy, batch, self.longest)?;
        } else if octets + copy.overhead() > self.longest {
            return Err(Lost::TooLong);
        } else if queue.room() == 0 {
            return Err(Lost::Full);
        } else {
            let place = batch.settle(copy).ok_or(Lost::Full)?;
            let umem = batch.umem.as_mut().ok_or(Lost::Refused)?;
            if !queue.send(umem, place) {
                umem.give(place);
                return Err(Lost::Refused);
            }
        }
        Ok(u64::try_from(octets).unwrap_or(u64::MAX))
    }
}

/// Queues the frames that a super-frame stands for.
fn send_cut(queue: &mut Xsk, copy: &TxCopy, batch: &mut Batch, longest: usize) -> Result<(), Lost> {
    let (frame, ip) = (copy.whole(batch), copy.ip(batch));
    // Of the longest frame, without the tag that does not count.
    let tag = copy.front().len() - ADDRESSES - copy.overhead();
    let umem = batch.umem.as_mut().ok_or(Lost::Refused)?;
    let mut sent = Ok(());
    let cut = segment::segment(&frame, copy.vnet(), ip, &mut Vec::new(), |segment| {
        if sent.is_ok() {
            sent = send_segment(queue, umem, segment, longest + tag);
        }
    });
    cut.map_err(|_| Lost::Refused).and(sent)
}

fn send_segment(queue: &mut Xsk, umem: &mut Umem, segment: &[u8], longest: usize) -> Result<(), Lost> {
    if segment.len() > longest {
        return Err(Lost::TooLong);
    }
    let place = umem.put(segment).filter(|_| queue.room() > 0).ok_or(Lost::Full)?;
    if queue.send(umem, place) { Ok(()) } else { Err(Lost::Refused) }
}

impl Batch {
    /// The memory of xdp ports.
    fn umem(&mut self) -> io::Result<&mut Umem> {
        if self.umem.is_none() {
            if self.memory == 0 {
                return Err(io::Error::other("there is none for xdp ports"));
            }
            self.umem = Some(Umem::new(self.memory / xsk::CHUNK)?);
        }
        self.umem.as_mut().ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    /// Puts a copy together in a chunk that is held: the one the frame came in, if it is held still.
    fn settle(&mut self, copy: &TxCopy) -> Option<xsk::Place> {
        let Row { place, head: Ok(head) } = self.rows.get(copy.slot)? else { return None };
        let front = copy.front();
        let own = match (*place, u32::try_from(front.len()).ok()?) {
            (Place::Chunk(place), front_len) => {
                let rest = place.after(u32::try_from(head.start).ok()?);
                let umem = self.umem.as_mut()?;
                if umem.holds(place) {
                    rest.before(front_len)
                } else {
                    let own = umem.take(front_len + rest.len)?;
                    umem.copy(rest, own.after(front_len));
                    own
                }
            }
            (Place::Buffer(_) | Place::Slot(_) | Place::Lent(_), front_len) => {
                let mut umem = self.umem.take()?;
                let rest = self.rest(copy.slot);
                let own = u32::try_from(rest.len()).ok().and_then(|len| umem.take(front_len + len));
                if let Some(own) = own {
                    umem.octets_mut(own.after(front_len)).copy_from_slice(rest);
                }
                self.umem = Some(umem);
                own?
            }
        };
        let octets = self.umem.as_mut()?.octets_mut(own);
        octets.get_mut(..front.len())?.copy_from_slice(front);
        let vnet = copy.vnet();
        if vnet.needs_checksum() {
            let (start, offset) = (usize::from(vnet.csum_start), usize::from(vnet.csum_offset));
            checksum::complete(octets, start, offset);
        }
        Some(own)
    }
}

/// Why a copy is not sent.
enum Lost {
    Full,
    TooLong,
    Refused,
}

/// Finishes a received frame's checksum where it is wanting, and understands its beginning. One that cannot be told is
/// refused where frames may come with `unfinished` ones.
fn read(
    umem: &mut Umem,
    place: xsk::Place,
    unfinished: bool,
    tags: Option<ChannelTags>,
    completed: &mut u64,
) -> Result<Head, RxError> {
    let head = Head::read(umem.octets(place), VnetHdr::default(), None, tags)?;
    let packet = umem.octets_mut(place).get_mut(head.start..).unwrap_or_default();
    match checksum::finish(packet) {
        Finish::Whole => {}
        Finish::Completed => *completed += 1,
        Finish::Unclear if !unfinished => {}
        Finish::Unclear => return Err(RxError::Checksum(umem.octets(place).len())),
    }
    Ok(head)
}

/// Chunks the kernel has of each queue, to fill.
const FILL: u32 = xsk::RING / 2;
/// Octets of frames that may be on their way out.
const SEND_BUFFER: i32 = 16 << 20;
/// `XDP_MAX_TX_SKB_BUDGET`, and what it is set to.
const XDP_MAX_TX_SKB_BUDGET: i32 = 9;
const SEND_BUDGET: i32 = 256;
