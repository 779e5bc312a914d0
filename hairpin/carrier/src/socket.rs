//! Opening packet sockets step by step, with errors that name the step.

use std::{
    ffi::c_int,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use ether::MacAddr;

use crate::{
    error::{OpenError, Step},
    filter,
    sys::{self, ring::RxRing},
};

/// A packet socket on its way to being bound to one interface. It receives nothing before [`Opening::bind`], so no frame
/// of another interface slips in.
pub(crate) struct Opening {
    interface: String,
    ifindex: c_int,
    socket: OwnedFd,
}

impl Opening {
    pub(crate) fn by_name(interface: &str) -> Result<Self, OpenError> {
        let index = sys::name_to_index(interface).map_err(at(interface, Step::Lookup))?;
        Self::new(interface.to_owned(), index)
    }

    pub(crate) fn by_index(index: u32) -> Result<Self, OpenError> {
        let interface = sys::index_to_name(index).map_err(at(&format!("interface {index}"), Step::Lookup))?;
        Self::new(interface, index)
    }

    fn new(interface: String, index: u32) -> Result<Self, OpenError> {
        let ifindex = c_int::try_from(index)
            .map_err(|_| at(&interface, Step::Lookup)(io::Error::from_raw_os_error(libc::ENODEV)))?;
        let socket = sys::packet_socket().map_err(at(&interface, Step::Socket))?;
        Ok(Self { interface, ifindex, socket })
    }

    /// Sets an option of level `SOL_PACKET`.
    pub(crate) fn packet(&self, option: c_int, name: &'static str, value: bool) -> Result<(), OpenError> {
        sys::set_number(self.socket.as_fd(), libc::SOL_PACKET, option, c_int::from(value))
            .map_err(at(&self.interface, Step::Option(name)))
    }

    /// Sets an option of level `SOL_SOCKET`.
    pub(crate) fn general(&self, option: c_int, name: &'static str, value: c_int) -> Result<(), OpenError> {
        sys::set_number(self.socket.as_fd(), libc::SOL_SOCKET, option, value)
            .map_err(at(&self.interface, Step::Option(name)))
    }

    /// Lets only frames through that `program` accepts, for good.
    pub(crate) fn filter(&self, program: &[libc::sock_filter]) -> Result<(), OpenError> {
        sys::attach_filter(self.socket.as_fd(), program)
            .map_err(at(&self.interface, Step::Option("SO_ATTACH_FILTER")))?;
        self.general(libc::SO_LOCK_FILTER, "SO_LOCK_FILTER", 1)
    }

    /// Lets only frames through that `program` accepts, until it is given another.
    pub(crate) fn narrow(&self, program: &[libc::sock_filter]) -> Result<(), OpenError> {
        sys::attach_filter(self.socket.as_fd(), program)
            .map_err(at(&self.interface, Step::Option("SO_ATTACH_FILTER")))
    }

    /// Lets no frame through until the filter is taken off.
    pub(crate) fn hush(&self) -> Result<(), OpenError> {
        sys::attach_filter(self.socket.as_fd(), &[filter::REFUSE])
            .map_err(at(&self.interface, Step::Option("SO_ATTACH_FILTER")))
    }

    /// Has the kernel put frames into a ring of so many slots; 0: none.
    pub(crate) fn ring(&self, slots: u32) -> Result<Option<RxRing>, OpenError> {
        let ring = (slots > 0).then(|| RxRing::new(self.socket.as_fd(), slots)).transpose();
        ring.map_err(at(&self.interface, Step::Option("PACKET_RX_RING")))
    }

    /// Joins promiscuous mode, or with an address its group.
    pub(crate) fn join(&self, group: Option<MacAddr>) -> Result<(), OpenError> {
        join(self.socket.as_fd(), &self.interface, self.ifindex, group)
    }

    /// Starts reception of `protocol` and refuses what is no Ethernet interface.
    pub(crate) fn bind(self, protocol: u16) -> Result<Bound, OpenError> {
        let fd = self.socket.as_fd();
        let address = sys::bind(fd, self.ifindex, protocol)
            .and_then(|()| sys::local_address(fd))
            .map_err(at(&self.interface, Step::Bind))?;
        if address.sll_hatype != libc::ARPHRD_ETHER {
            let what = format!("it is no Ethernet interface (ARPHRD type {})", address.sll_hatype);
            return Err(at(&self.interface, Step::Kind)(io::Error::other(what)));
        }
        let [a, b, c, d, e, f, ..] = address.sll_addr;
        Ok(Bound {
            interface: self.interface,
            ifindex: self.ifindex.cast_unsigned(),
            mac: MacAddr(a, b, c, d, e, f),
            socket: self.socket,
        })
    }
}

/// A socket that is bound to one Ethernet interface.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) interface: String,
    pub(crate) ifindex: u32,
    pub(crate) mac: MacAddr,
    pub(crate) socket: OwnedFd,
}

impl Bound {
    /// Joins promiscuous mode, or with an address its group.
    pub(crate) fn join(&self, group: Option<MacAddr>) -> Result<(), OpenError> {
        join(self.socket.as_fd(), &self.interface, self.ifindex.cast_signed(), group)
    }

    /// Fails with what happened to the interface since this was asked last.
    pub(crate) fn check(&self) -> io::Result<()> {
        match sys::take_error(self.socket.as_fd())? {
            0 => Ok(()),
            code => Err(io::Error::from_raw_os_error(code)),
        }
    }

    /// Whether the socket is still bound to the interface. One that went away, or to another namespace, never comes
    /// back to it.
    pub(crate) fn is_bound(&self) -> bool {
        let index = |address: libc::sockaddr_ll| address.sll_ifindex.cast_unsigned();
        sys::local_address(self.socket.as_fd()).is_ok_and(|address| index(address) == self.ifindex)
    }
}

fn join(
    socket: BorrowedFd<'_>,
    interface: &str,
    ifindex: c_int,
    group: Option<MacAddr>,
) -> Result<(), OpenError> {
    let [a, b, c, d, e, f] = group.unwrap_or_default().octets();
    let (kind, name) = match group {
        Some(_) => (libc::PACKET_MR_MULTICAST, "PACKET_MR_MULTICAST"),
        None => (libc::PACKET_MR_PROMISC, "PACKET_MR_PROMISC"),
    };
    let request = libc::packet_mreq {
        mr_ifindex: ifindex,
        mr_type: u16::try_from(kind).unwrap_or_default(),
        mr_alen: 6,
        mr_address: [a, b, c, d, e, f, 0, 0],
    };
    sys::add_membership(socket, &request).map_err(at(interface, Step::Option(name)))
}

/// `ETH_P_ALL`.
pub(crate) const EVERY_PROTOCOL: u16 = 3;

/// Makes an I/O error one of opening `interface`.
pub(crate) fn at(interface: &str, step: Step) -> impl FnOnce(io::Error) -> OpenError {
    let interface = interface.to_owned();
    move |source| OpenError { interface, step, source }
}
