//! One EtherType of one interface, for the protocols that talk to the neighbour: LLDP and ECP.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
};

use ether::{EtherType, MacAddr};

use crate::{
    error::OpenError,
    socket::{Bound, Opening},
    sys,
};

/// A non-blocking socket that takes and sends whole frames of one EtherType.
///
/// It costs the data path nothing: the kernel looks for it only when a frame of this EtherType came in. It does not hear
/// what the host itself sends. Frames leave with priority 7, the one some network interfaces demand before they let
/// LLDP through, in the order of the interface's queueing discipline.
///
/// An interface that goes down makes [`ControlSocket::recv`] fail once with `ENETDOWN`; when it is up again the socket
/// works as before. An interface that goes away makes [`ControlSocket::send`] fail with `ENXIO`.
#[derive(Debug)]
pub struct ControlSocket(Bound);

/// What [`ControlSocket::recv`] says about a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Octets of the frame in the buffer.
    pub len: usize,
    /// The frame was longer than the buffer.
    pub truncated: bool,
    /// Not for this host: the frame goes to another station's address, or it was tagged with a VLAN. The protocols
    /// here are untagged, so a foreign frame is to be ignored. Which tag it was is not known: the kernel takes tags off
    /// before it looks for sockets of one EtherType and notes only this. A priority tag leaves no trace.
    pub foreign: bool,
}

impl ControlSocket {
    /// Opens `interface` in the network namespace of the calling thread, for `ethertype` and, beside the interface's
    /// own address, for `groups`.
    ///
    /// # Errors
    /// No such interface, not an Ethernet interface, or `CAP_NET_RAW` is missing.
    pub fn open(interface: &str, ethertype: EtherType, groups: &[MacAddr]) -> Result<Self, OpenError> {
        let opening = Opening::by_name(interface)?;
        opening.packet(libc::PACKET_IGNORE_OUTGOING, "PACKET_IGNORE_OUTGOING", true)?;
        opening.general(libc::SO_PRIORITY, "SO_PRIORITY", CONTROL_PRIORITY)?;
        for group in groups {
            opening.join(Some(*group))?;
        }
        Ok(Self(opening.bind(ethertype.0)?))
    }

    /// The interface's name when it was opened.
    #[must_use]
    pub fn interface(&self) -> &str {
        &self.0.interface
    }

    /// The interface's number.
    #[must_use]
    pub const fn ifindex(&self) -> u32 {
        self.0.ifindex
    }

    /// The interface's own address when it was opened: the source of frames to send.
    #[must_use]
    pub const fn mac(&self) -> MacAddr {
        self.0.mac
    }

    /// Takes the next frame, from its destination address on and without tag and check sequence, into `buffer`.
    ///
    /// # Errors
    /// `WouldBlock` when none waits; otherwise what the kernel said.
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<Received> {
        let sys::One { len, truncated, from } = sys::receive(self.as_fd(), buffer)?;
        Ok(Received { len, truncated, foreign: from.sll_pkttype == libc::PACKET_OTHERHOST })
    }

    /// Sends `frame`, which starts at the destination address and has no check sequence.
    ///
    /// # Errors
    /// `WouldBlock` when the socket is full; otherwise what the kernel said.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        sys::send(self.as_fd(), frame).map(drop)
    }
}

impl AsFd for ControlSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.socket.as_fd()
    }
}

impl AsRawFd for ControlSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.socket.as_raw_fd()
    }
}

/// Intel's ice drops LLDP frames of lower priority without a word.
const CONTROL_PRIORITY: i32 = 7;
