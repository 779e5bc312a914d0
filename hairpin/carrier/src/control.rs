//! Control frames of one interface, for the protocols that talk to the neighbour: LLDP and ECP.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
};

use ether::{EtherType, Framing, MacAddr, Pcp, Tag, Vid};
use hairpin::svlan;

use crate::{
    error::OpenError,
    filter,
    frame::ADDRESSES,
    socket::{Bound, EVERY_PROTOCOL, Opening},
    sys,
};

/// A non-blocking socket that takes and sends whole control frames.
///
/// Bound to one EtherType ([`ControlSocket::open`]) it costs the data path nothing: the kernel looks for it only when a
/// frame of this EtherType came in. But it hears only what is left over by the interface's master, and a Linux bridge
/// without spanning tree leaves nothing. A socket that taps every frame ([`ControlSocket::open_tap`]) hears before the
/// master does; a filter in the kernel turns away what is not wanted, at the price of some instructions for each frame
/// that comes in.
///
/// Neither hears what the host itself sends, and neither makes the interface promiscuous. Frames leave with priority 7,
/// the one some network interfaces demand before they let LLDP through, in the order of the interface's queueing
/// discipline.
///
/// An interface that goes down makes [`ControlSocket::recv`] fail once with `ENETDOWN`; when it is up again the socket
/// works as before. An interface that goes away makes [`ControlSocket::send`] fail with `ENXIO`.
#[derive(Debug)]
pub struct ControlSocket {
    bound: Bound,
    /// The S-VLAN of an S-channel.
    svid: Option<Vid>,
}

/// Frames to listen to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen<'a> {
    /// Of this EtherType.
    pub ethertype: EtherType,
    /// To these groups, or to the interface's own address.
    pub groups: &'a [MacAddr],
    /// Also those tagged with a VLAN. The tag is not part of what is received.
    pub tagged: bool,
}

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
        Ok(Self { bound: prepare(interface, groups)?.bind(ethertype.0)?, svid: None })
    }

    /// Opens `interface` as [`ControlSocket::open`] does, for several EtherTypes, by a filtered tap of every frame that
    /// comes in. What is not listened to is turned away in the kernel; [`Received::foreign`] is never set.
    ///
    /// # Errors
    /// As [`ControlSocket::open`].
    pub fn open_tap(interface: &str, wanted: &[Listen<'_>]) -> Result<Self, OpenError> {
        Self::tap(interface, wanted, None, &filter::program(wanted))
    }

    /// Opens the S-channel of S-VLAN `svid` on `interface`, as [`ControlSocket::open_tap`] does: what it hears had its
    /// S-tag, and what it sends gets it.
    ///
    /// # Errors
    /// As [`ControlSocket::open`].
    pub fn open_channel(interface: &str, svid: Vid, wanted: &[Listen<'_>]) -> Result<Self, OpenError> {
        Self::tap(interface, wanted, Some(svid), &filter::program_of_channel(svid, wanted))
    }

    /// Opens the extended ports behind the cascade port `interface`, as [`ControlSocket::open_tap`] does: what it hears and
    /// sends has the tag of an E-channel.
    ///
    /// # Errors
    /// As [`ControlSocket::open`].
    pub fn open_extended(
        interface: &str,
        framing: Framing,
        wanted: &[Listen<'_>],
    ) -> Result<Self, OpenError> {
        Self::tap(interface, wanted, None, &filter::program_of_extended(framing, wanted))
    }

    fn tap(
        interface: &str,
        wanted: &[Listen<'_>],
        svid: Option<Vid>,
        program: &[libc::sock_filter],
    ) -> Result<Self, OpenError> {
        let groups: Vec<MacAddr> = wanted.iter().flat_map(|listen| listen.groups).copied().collect();
        let opening = prepare(interface, &groups)?;
        opening.filter(program)?;
        Ok(Self { bound: opening.bind(EVERY_PROTOCOL)?, svid })
    }

    /// Whether the socket can still hear its interface: false once that went away or to another namespace.
    #[must_use]
    pub fn is_bound(&self) -> bool {
        self.bound.is_bound()
    }

    /// The interface's name when it was opened.
    #[must_use]
    pub fn interface(&self) -> &str {
        &self.bound.interface
    }

    /// The interface's number.
    #[must_use]
    pub const fn ifindex(&self) -> u32 {
        self.bound.ifindex
    }

    /// The interface's own address when it was opened: the source of frames to send.
    #[must_use]
    pub const fn mac(&self) -> MacAddr {
        self.bound.mac
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
        let Some((svid, (addresses, rest))) = self.svid.zip(frame.split_at_checked(ADDRESSES)) else {
            return sys::send(self.as_fd(), frame).map(drop);
        };
        let urgent = Tag { pcp: Pcp::from_low_bits(7), ..Tag::c(svid) };
        let tagged = [addresses, &svlan::tag(svid, Some(urgent)).to_bytes(), rest].concat();
        sys::send(self.as_fd(), &tagged).map(drop)
    }
}

impl AsFd for ControlSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bound.socket.as_fd()
    }
}

impl AsRawFd for ControlSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.bound.socket.as_raw_fd()
    }
}

/// A socket that hears nothing yet, member of `groups`.
fn prepare(interface: &str, groups: &[MacAddr]) -> Result<Opening, OpenError> {
    let opening = Opening::by_name(interface)?;
    opening.packet(libc::PACKET_IGNORE_OUTGOING, "PACKET_IGNORE_OUTGOING", true)?;
    opening.general(libc::SO_PRIORITY, "SO_PRIORITY", CONTROL_PRIORITY)?;
    for group in groups {
        opening.join(Some(*group))?;
    }
    Ok(opening)
}

/// Intel's ice drops LLDP frames of lower priority without a word.
const CONTROL_PRIORITY: i32 = 7;
