//! A port of the relay, whatever moves its frames.

use std::os::fd::{AsFd, BorrowedFd};

use crate::{
    batch::{Batch, Sent, TxQueue},
    error::PortError,
    packet::PacketPort,
    stats::PortStats,
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
}

impl Port {
    /// The interface's name when it was opened.
    #[must_use]
    pub fn interface(&self) -> &str {
        match self {
            Self::Packet(port) => port.interface(),
        }
    }

    /// The counters, with what the kernel dropped up to now.
    pub fn stats(&mut self) -> PortStats {
        match self {
            Self::Packet(port) => port.stats(),
        }
    }

    /// Whether frames may be waiting: what can be known without a system call.
    pub(crate) fn is_ready(&self) -> bool {
        match self {
            Self::Packet(port) => port.is_ready(),
        }
    }

    /// Takes what waits, up to a batch, without blocking; returns how many frames that is.
    ///
    /// # Errors
    /// The port has failed: its interface is down or gone, or the socket is unusable.
    pub(crate) fn receive(&mut self, batch: &mut Batch) -> Result<usize, PortError> {
        match self {
            Self::Packet(port) => port.receive(batch),
        }
    }

    /// Sends what waits in `queue`, without blocking, and leaves the queue empty. `batch` is the one the frames came from.
    pub(crate) fn transmit(&mut self, queue: &mut TxQueue, batch: &mut Batch) -> Sent {
        match self {
            Self::Packet(port) => port.transmit(queue, batch),
        }
    }

    /// Gives the frames of `batch`, which this port received last, back to where they came from.
    pub(crate) fn release(&mut self, batch: &mut Batch) {
        match self {
            Self::Packet(port) => port.release(batch),
        }
    }
}

impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Packet(port) => port.as_fd(),
        }
    }
}

impl From<PacketPort> for Port {
    fn from(port: PacketPort) -> Self {
        Self::Packet(Box::new(port))
    }
}
