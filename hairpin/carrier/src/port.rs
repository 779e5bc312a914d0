//! A port of the relay, whatever moves its frames.

use std::os::fd::{AsFd, BorrowedFd};

use ether::Instant;

use crate::{
    batch::{Batch, Sent, TxQueue},
    error::{OpenError, PortError},
    fast::{Source, Target},
    packet::PacketPort,
    stats::PortStats,
    sys::xsk::Xsk,
    xdp::XdpPort,
};

/// A port of the relay: what brings frames of one interface and sends copies by it.
///
/// A worker does this with it, again and again: `Port::receive` puts waiting frames into the worker's batch; copies of
/// them go into the queues of other ports or of the same one; `Port::transmit` sends each queue; and
/// `Port::release` of the port that received says that the batch's frames are done with. Frames stay where they were
/// received until then.
#[derive(Debug)]
pub enum Port {
    /// By a packet socket.
    Packet(Box<PacketPort>),
    /// By AF_XDP sockets.
    Xdp(Box<XdpPort>),
}

impl Port {
    /// The interface's name when it was opened.
    #[must_use]
    pub fn interface(&self) -> &str {
        match self {
            Self::Packet(port) => port.interface(),
            Self::Xdp(port) => port.interface(),
        }
    }

    /// The counters, with what the kernel dropped up to now.
    pub fn stats(&mut self) -> PortStats {
        match self {
            Self::Packet(port) => port.stats(),
            Self::Xdp(port) => port.stats(),
        }
    }

    /// Its part in the fast path, if it has one: what is asked of its own frames, and of others'.
    pub(crate) fn source(&self) -> Option<Source> {
        match self {
            Self::Packet(port) => port.fast.as_ref().map(|fast| fast.source(port.mac())),
            Self::Xdp(_) => None,
        }
    }

    /// Where the kernel may send by it, and the longest packet.
    pub(crate) fn target(&mut self) -> Option<(Target, impl FnOnce() -> usize)> {
        match self {
            Self::Packet(port) => Some((port.fast.as_ref()?.target(), || port.mtu())),
            Self::Xdp(_) => None,
        }
    }

    /// All frames received up to now have been sent, or whatever became of them.
    pub(crate) fn caught_up(&mut self, now: Instant) {
        match self {
            Self::Packet(port) => port.caught_up(now),
            Self::Xdp(_) => {}
        }
    }

    /// A queue of copies for the port.
    pub(crate) fn queue(&self) -> TxQueue {
        match self {
            Self::Packet(port) => TxQueue::new(port.svid),
            Self::Xdp(_) => TxQueue::default(),
        }
    }

    /// Whether frames may be waiting: what can be known without a system call.
    pub(crate) fn is_ready(&self) -> bool {
        match self {
            Self::Packet(port) => port.is_ready(),
            Self::Xdp(port) => port.is_ready(),
        }
    }

    /// Takes what waits, up to a batch, without blocking; returns how many frames that is.
    ///
    /// # Errors
    /// The port has failed: its interface is down or gone, or the socket is unusable.
    pub(crate) fn receive(&mut self, batch: &mut Batch) -> Result<usize, PortError> {
        match self {
            Self::Packet(port) => port.receive(batch),
            Self::Xdp(port) => port.receive(batch),
        }
    }

    /// Sends what waits in `queue`, without blocking, and leaves the queue empty, but for what found no room if the queue
    /// keeps that. `batch` is the one the frames came from.
    pub(crate) fn transmit(&mut self, queue: &mut TxQueue, batch: &mut Batch) -> Sent {
        match self {
            Self::Packet(port) => port.transmit(queue, batch),
            Self::Xdp(port) => port.transmit(queue, batch),
        }
    }

    /// [`Port::transmit`] that leaves in `queue` what found no room.
    pub(crate) fn transmit_or_keep(&mut self, queue: &mut TxQueue, batch: &mut Batch) -> Sent {
        queue.keeps = true;
        let sent = self.transmit(queue, batch);
        queue.keeps = false;
        sent
    }

    /// Gives the frames of `batch`, which this port received last, back to where they came from.
    ///
    /// # Errors
    /// As [`Port::receive`].
    pub(crate) fn release(&mut self, batch: &mut Batch) -> Result<(), PortError> {
        match self {
            Self::Packet(port) => {
                port.release(batch);
                Ok(())
            }
            Self::Xdp(port) => port.release(batch),
        }
    }

    /// Makes the port one that receives into `batch` and sends from it. `leader` is what [`Port::leader`] says of any
    /// other port of the same thread.
    pub(crate) fn join(&mut self, batch: &mut Batch, leader: Option<&Xsk>) -> Result<(), OpenError> {
        match self {
            Self::Packet(_) => Ok(()),
            Self::Xdp(port) => port.join(batch, leader),
        }
    }

    /// What other ports need of this one to join the same batch.
    pub(crate) fn leader(&self) -> Option<&Xsk> {
        match self {
            Self::Packet(_) => None,
            Self::Xdp(port) => port.leader(),
        }
    }

    /// Whether some of what was sent has not gone out yet, and [`Port::push_out`] is to be called a moment later.
    pub(crate) fn is_late(&mut self) -> bool {
        match self {
            Self::Packet(_) => false,
            Self::Xdp(port) => port.is_late(),
        }
    }

    /// Has the kernel go on with what is late.
    ///
    /// # Errors
    /// As [`Port::receive`].
    pub(crate) fn push_out(&mut self) -> Result<(), PortError> {
        match self {
            Self::Packet(_) => Ok(()),
            Self::Xdp(port) => port.push_out(),
        }
    }

    /// The descriptors that are readable when there is something to receive, or to hear of the interface.
    pub(crate) fn watched(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let (packet, xdp) = match self {
            Self::Packet(port) => (Some(port.as_fd()), None),
            Self::Xdp(port) => (None, Some(port.watched())),
        };
        packet.into_iter().chain(xdp.into_iter().flatten())
    }
}

impl From<PacketPort> for Port {
    fn from(port: PacketPort) -> Self {
        Self::Packet(Box::new(port))
    }
}

impl From<XdpPort> for Port {
    fn from(port: XdpPort) -> Self {
        Self::Xdp(Box::new(port))
    }
}
