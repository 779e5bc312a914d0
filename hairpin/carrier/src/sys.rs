//! The system calls, one small function each: the only module with `unsafe`.

pub(crate) mod bpf;
pub(crate) mod link;
pub(crate) mod ring;
pub(crate) mod xsk;

use std::{
    ffi::{CStr, CString, c_int},
    io,
    marker::PhantomData,
    mem,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    ptr,
};

use libc::{
    cmsghdr, epoll_event, iovec, mmsghdr, msghdr, packet_mreq, sock_filter, sockaddr_ll, tpacket_auxdata,
    tpacket_stats,
};

/// A packet socket that receives nothing before it is bound.
pub(crate) fn packet_socket() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: takes no pointers.
    owned(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })
}

/// Sets an option that is a number.
pub(crate) fn set_number(fd: BorrowedFd<'_>, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    set_option(fd, level, name, &value)
}

/// Attaches a classic BPF program that decides which frames a socket gets.
pub(crate) fn attach_filter(fd: BorrowedFd<'_>, program: &[sock_filter]) -> io::Result<()> {
    let len = u16::try_from(program.len()).map_err(io::Error::other)?;
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    let option: *const libc::sock_fprog = &raw const program;
    let (level, name) = (libc::SOL_SOCKET, libc::SO_ATTACH_FILTER);
    // SAFETY: `program` is live with its own size and points to `len` live instructions; the kernel only reads both.
    check(unsafe {
        libc::setsockopt(fd.as_raw_fd(), level, name, option.cast(), size::<libc::sock_fprog>())
    })?;
    Ok(())
}

/// Joins a group of addresses, or promiscuous mode.
pub(crate) fn add_membership(fd: BorrowedFd<'_>, request: &packet_mreq) -> io::Result<()> {
    set_option(fd, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, request)
}

/// Binds to an interface and an EtherType, both in host byte order.
pub(crate) fn bind(fd: BorrowedFd<'_>, ifindex: c_int, protocol: u16) -> io::Result<()> {
    let address = sockaddr_ll {
        sll_family: family(),
        sll_protocol: protocol.to_be(),
        sll_ifindex: ifindex,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: `address` is a live sockaddr_ll and its own size goes with it.
    check(unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), size::<sockaddr_ll>()) })?;
    Ok(())
}

/// The interface a socket is bound to, with its kind and address.
pub(crate) fn local_address(fd: BorrowedFd<'_>) -> io::Result<sockaddr_ll> {
    let mut address = NO_ADDRESS;
    let mut len = size::<sockaddr_ll>();
    // SAFETY: the kernel writes at most `len` octets to the live `address`; any octets are a valid sockaddr_ll.
    check(unsafe { libc::getsockname(fd.as_raw_fd(), (&raw mut address).cast(), &raw mut len) })?;
    Ok(address)
}

/// Takes the filter off again.
pub(crate) fn detach_filter(fd: BorrowedFd<'_>) -> io::Result<()> {
    set_number(fd, libc::SOL_SOCKET, libc::SO_DETACH_FILTER, 0)
}

/// Joins the group of sockets that divide the frames of an interface by flows among them: group `id`, or a new one.
/// Returns its number.
pub(crate) fn join_fanout(fd: BorrowedFd<'_>, id: Option<u16>) -> io::Result<u16> {
    let flags = libc::PACKET_FANOUT_HASH | FANOUT_FLAG_IGNORE_OUTGOING;
    let kind = if id.is_none() { flags | libc::PACKET_FANOUT_FLAG_UNIQUEID } else { flags };
    let value = u32::from(id.unwrap_or_default()) | (kind << 16);
    set_number(fd, libc::SOL_PACKET, libc::PACKET_FANOUT, value.cast_signed())?;
    let joined = get_option(fd, libc::SOL_PACKET, libc::PACKET_FANOUT, 0)?;
    let [low, high, ..] = joined.to_le_bytes();
    Ok(u16::from_le_bytes([low, high]))
}

/// `PACKET_FANOUT_FLAG_IGNORE_OUTGOING`.
const FANOUT_FLAG_IGNORE_OUTGOING: u32 = 0x4000;

/// The error that waits on a socket, taken off it; 0 if none does.
pub(crate) fn take_error(fd: BorrowedFd<'_>) -> io::Result<c_int> {
    get_option(fd, libc::SOL_SOCKET, libc::SO_ERROR, 0)
}

/// Frames received and dropped since the last call.
pub(crate) fn take_statistics(fd: BorrowedFd<'_>) -> io::Result<tpacket_stats> {
    let none = tpacket_stats { tp_packets: 0, tp_drops: 0 };
    get_option(fd, libc::SOL_PACKET, libc::PACKET_STATISTICS, none)
}

/// The number of the interface of this name.
pub(crate) fn name_to_index(name: &str) -> io::Result<u32> {
    let name = CString::new(name).map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))?;
    // SAFETY: `name` is a live C string.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}

/// The name of the interface of this number.
pub(crate) fn index_to_name(index: u32) -> io::Result<String> {
    let mut name = [0u8; libc::IF_NAMESIZE];
    // SAFETY: `name` has the IF_NAMESIZE octets the call may write.
    if unsafe { libc::if_indextoname(index, name.as_mut_ptr().cast()) }.is_null() {
        return Err(io::Error::last_os_error());
    }
    let name = CStr::from_bytes_until_nul(&name).map_err(io::Error::other)?;
    Ok(name.to_string_lossy().into_owned())
}

/// The MTU of interface `index` of the namespace `socket` is of.
pub(crate) fn mtu(socket: BorrowedFd<'_>, index: u32) -> io::Result<c_int> {
    // SAFETY: a C struct of integers and a union of such, for which zero is a value.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    request.ifr_ifru.ifru_ifindex = index.cast_signed();
    // SAFETY: `request` is live and what the call reads and writes: number in, name out.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFNAME, &raw mut request) })?;
    // SAFETY: as above: name in, MTU out.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFMTU, &raw mut request) })?;
    // SAFETY: the call has written this field; any octets are a value.
    Ok(unsafe { request.ifr_ifru.ifru_mtu })
}

/// The network namespace a socket is of, as a number that no other one has meanwhile.
pub(crate) fn netns(socket: BorrowedFd<'_>) -> io::Result<u64> {
    // SAFETY: takes no pointers.
    let fd = owned(unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGSKNS) })?;
    let status = std::fs::File::from(fd).metadata()?;
    Ok(std::os::linux::fs::MetadataExt::st_ino(&status))
}

/// `SIOCGSKNS`.
const SIOCGSKNS: libc::c_ulong = 0x894c;

/// The monotonic clock, as of the last tick.
pub(crate) fn monotonic() -> libc::timespec {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is live and of the type the call writes. It cannot fail for a clock that always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now
}

/// Keeps the calling thread on one processor.
pub(crate) fn pin(cpu: u16) -> io::Result<()> {
    // SAFETY: a C struct of integers, for which zero is a value.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    let cpu = usize::from(cpu);
    if cpu >= mem::size_of::<libc::cpu_set_t>() * 8 {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: the set has room for the processor's bit.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: `set` is live and its own size goes with it; 0 is the calling thread.
    check(unsafe { libc::sched_setaffinity(0, mem::size_of::<libc::cpu_set_t>(), &raw const set) })?;
    Ok(())
}

/// An event counter to wake a thread with.
pub(crate) fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers.
    owned(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })
}

/// A set of descriptors to wait for.
pub(crate) fn epoll_create() -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers.
    owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })
}

/// Adds a descriptor to wait for until it is readable; `token` comes back with each event.
pub(crate) fn epoll_add(epoll: BorrowedFd<'_>, fd: BorrowedFd<'_>, token: u64) -> io::Result<()> {
    let mut event = epoll_event { events: libc::EPOLLIN.cast_unsigned(), u64: token };
    // SAFETY: `event` is live; the kernel only reads it.
    check(unsafe {
        libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd.as_raw_fd(), &raw mut event)
    })?;
    Ok(())
}

/// Takes a descriptor off.
pub(crate) fn epoll_delete(epoll: BorrowedFd<'_>, fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: deleting takes no event.
    check(unsafe {
        libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_DEL, fd.as_raw_fd(), ptr::null_mut())
    })?;
    Ok(())
}

/// Waits until something is ready or `timeout` ms passed (-1: for ever); returns how many of `events` were filled in.
pub(crate) fn epoll_wait(
    epoll: BorrowedFd<'_>,
    events: &mut [epoll_event],
    timeout: c_int,
) -> io::Result<usize> {
    let room = c_int::try_from(events.len()).unwrap_or(c_int::MAX);
    // SAFETY: the kernel fills in at most `room` of the live `events`.
    let filled = check(unsafe { libc::epoll_wait(epoll.as_raw_fd(), events.as_mut_ptr(), room, timeout) })?;
    Ok(usize::try_from(filled).unwrap_or(0))
}

/// Sends one frame.
pub(crate) fn send(fd: BorrowedFd<'_>, frame: &[u8]) -> io::Result<usize> {
    // SAFETY: `frame` is live and its own length goes with it.
    let sent = unsafe { libc::send(fd.as_raw_fd(), frame.as_ptr().cast(), frame.len(), libc::MSG_DONTWAIT) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Receives one frame into `buffer`; returns its octets there and the address the kernel noted for it.
pub(crate) fn receive(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<One> {
    let mut from = NO_ADDRESS;
    let mut part = iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut header = empty_msghdr();
    header.msg_name = (&raw mut from).cast();
    header.msg_namelen = size::<sockaddr_ll>();
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    // SAFETY: every pointer in `header` is to a live local or to `buffer`, borrowed mutably for the call, each with its
    // own length.
    let len = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT) };
    let len = usize::try_from(len).map_err(|_| io::Error::last_os_error())?;
    Ok(One { len, truncated: header.msg_flags & libc::MSG_TRUNC != 0, from })
}

/// What [`receive`] says about a frame.
pub(crate) struct One {
    pub(crate) len: usize,
    pub(crate) truncated: bool,
    pub(crate) from: sockaddr_ll,
}

/// Buffers for `recvmmsg`, all of one size.
pub(crate) struct RecvRing {
    slot: usize,
    buffer: Vec<u8>,
    control: Vec<Control>,
    parts: Vec<iovec>,
    headers: Vec<mmsghdr>,
}

impl RecvRing {
    /// Room for `count` frames of up to `slot` octets. Memory is taken as it is first written to.
    pub(crate) fn new(count: usize, slot: usize) -> Self {
        Self {
            slot,
            buffer: vec![0; count * slot],
            control: vec![NO_CONTROL; count],
            parts: vec![NO_PART; count],
            headers: vec![empty_mmsghdr(); count],
        }
    }

    /// Receives as many frames as are waiting, up to `limit` and to the room there is, without blocking; returns their
    /// number.
    pub(crate) fn receive(&mut self, fd: BorrowedFd<'_>, limit: usize) -> io::Result<usize> {
        let slots = self.buffer.chunks_exact_mut(self.slot).take(limit);
        let rows = slots.zip(&mut self.control).zip(&mut self.parts).zip(&mut self.headers);
        for (((slot, control), part), header) in rows {
            *part = iovec { iov_base: slot.as_mut_ptr().cast(), iov_len: slot.len() };
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = ptr::from_mut(control).cast();
            header.msg_hdr.msg_controllen = mem::size_of::<Control>();
            header.msg_hdr.msg_flags = 0;
        }
        let (headers, count) = (self.headers.as_mut_ptr(), vlen(self.headers.len().min(limit)));
        // SAFETY: `headers` has `count` rows. Each points to its own slot, part and control, set just above with their
        // lengths and all in vectors of `self`, which is borrowed mutably for the call. No timeout.
        let got =
            check(unsafe { libc::recvmmsg(fd.as_raw_fd(), headers, count, MMSG_FLAGS, ptr::null_mut()) })?;
        Ok(usize::try_from(got).unwrap_or(0))
    }

    /// The frame in row `index`; of use only below the number [`RecvRing::receive`] returned last.
    pub(crate) fn message(&self, index: usize) -> Option<Message<'_>> {
        let header = self.headers.get(index)?;
        let len = usize::try_from(header.msg_len).ok()?;
        let bytes = self.buffer.get(index * self.slot..)?.get(..len.min(self.slot))?;
        let truncated = header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
        Some(Message { bytes, truncated, aux: self.control.get(index)?.auxdata(&header.msg_hdr) })
    }
}

/// A frame in a ring.
#[derive(Clone, Copy)]
pub(crate) struct Message<'a> {
    /// What fitted the buffer.
    pub(crate) bytes: &'a [u8],
    /// More did not fit.
    pub(crate) truncated: bool,
    /// The kernel's notes, if it sent them.
    pub(crate) aux: Option<tpacket_auxdata>,
}

/// Room for the arguments of `sendmmsg`: frames in two parts.
#[derive(Default)]
pub(crate) struct SendSet {
    parts: Vec<[iovec; 2]>,
    headers: Vec<mmsghdr>,
}

impl SendSet {
    /// Room for `count` frames.
    pub(crate) fn new(count: usize) -> Self {
        Self { parts: vec![[NO_PART; 2]; count], headers: vec![empty_mmsghdr(); count] }
    }

    /// Takes up frames as far as there is room.
    pub(crate) fn load<'a>(&'a mut self, frames: impl Iterator<Item = [&'a [u8]; 2]>) -> Loaded<'a> {
        let mut count = 0;
        for ((frame, parts), header) in frames.zip(&mut self.parts).zip(&mut self.headers) {
            for (part, bytes) in parts.iter_mut().zip(frame) {
                *part = iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
            }
            header.msg_hdr.msg_iov = parts.as_mut_ptr();
            header.msg_hdr.msg_iovlen = parts.len();
            count += 1;
        }
        Loaded { headers: self.headers.get_mut(..count).unwrap_or_default(), bytes: PhantomData }
    }
}

/// Frames ready to be sent, borrowed as long as this lives.
pub(crate) struct Loaded<'a> {
    headers: &'a mut [mmsghdr],
    bytes: PhantomData<&'a [u8]>,
}

impl Loaded<'_> {
    /// Sends the frames from number `first` on without blocking, until all are sent or one fails; returns how many were
    /// sent, or what is wrong with number `first`.
    pub(crate) fn send(&mut self, fd: BorrowedFd<'_>, first: usize) -> io::Result<usize> {
        let headers = self.headers.get_mut(first..).unwrap_or_default();
        let count = vlen(headers.len());
        // SAFETY: `headers` has `count` rows, filled in by `SendSet::load`; the parts and octets they point to are
        // borrowed for the lifetime of `self`. The kernel reads the octets and writes only `msg_len` of the rows.
        let sent = check(unsafe { libc::sendmmsg(fd.as_raw_fd(), headers.as_mut_ptr(), count, MMSG_FLAGS) })?;
        Ok(usize::try_from(sent).unwrap_or(0))
    }
}

/// A control message of the one kind our sockets get.
#[derive(Clone, Copy)]
#[repr(C)]
struct Control {
    header: cmsghdr,
    data: tpacket_auxdata,
    /// The kernel pads to the alignment of `cmsghdr`.
    pad: [u8; 4],
}

impl Control {
    /// The notes, if the kernel wrote them for the message of `header`.
    fn auxdata(&self, header: &msghdr) -> Option<tpacket_auxdata> {
        let whole = header.msg_controllen >= mem::size_of::<cmsghdr>() + mem::size_of::<tpacket_auxdata>();
        let ours =
            (self.header.cmsg_level, self.header.cmsg_type) == (libc::SOL_PACKET, libc::PACKET_AUXDATA);
        (whole && ours).then_some(self.data)
    }
}

/// Types of socket options.
///
/// # Safety
/// A C struct of integers: every octet pattern is a value.
unsafe trait OptionValue: Copy {}
// SAFETY: an integer.
unsafe impl OptionValue for c_int {}
// SAFETY: integers only.
unsafe impl OptionValue for packet_mreq {}
// SAFETY: integers only.
unsafe impl OptionValue for tpacket_stats {}

fn set_option<T: OptionValue>(fd: BorrowedFd<'_>, level: c_int, name: c_int, value: &T) -> io::Result<()> {
    let value: *const T = value;
    // SAFETY: `value` is live for the call and its own size goes with it; the kernel only reads it.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, value.cast(), size::<T>()) })?;
    Ok(())
}

fn get_option<T: OptionValue>(fd: BorrowedFd<'_>, level: c_int, name: c_int, mut value: T) -> io::Result<T> {
    let mut len = size::<T>();
    // SAFETY: the kernel writes at most `len` octets to the live `value`, of which every pattern is a value.
    check(unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut len) })?;
    Ok(value)
}

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn owned(result: c_int) -> io::Result<OwnedFd> {
    let fd = check(result)?;
    // SAFETY: a call that makes descriptors has just returned this one; nothing else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn size<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(mem::size_of::<T>()).unwrap_or(0)
}

fn vlen(rows: usize) -> libc::c_uint {
    libc::c_uint::try_from(rows).unwrap_or(0)
}

fn family() -> libc::sa_family_t {
    libc::sa_family_t::try_from(libc::AF_PACKET).unwrap_or(0)
}

fn empty_msghdr() -> msghdr {
    // SAFETY: a C struct of integers and raw pointers, for which zero is a value.
    unsafe { mem::zeroed() }
}

fn empty_mmsghdr() -> mmsghdr {
    mmsghdr { msg_hdr: empty_msghdr(), msg_len: 0 }
}

const MMSG_FLAGS: c_int = libc::MSG_DONTWAIT;
const NO_PART: iovec = iovec { iov_base: ptr::null_mut(), iov_len: 0 };
const NO_ADDRESS: sockaddr_ll = sockaddr_ll {
    sll_family: 0,
    sll_protocol: 0,
    sll_ifindex: 0,
    sll_hatype: 0,
    sll_pkttype: 0,
    sll_halen: 0,
    sll_addr: [0; 8],
};
const NO_CONTROL: Control = Control {
    header: cmsghdr { cmsg_len: 0, cmsg_level: 0, cmsg_type: 0 },
    data: tpacket_auxdata {
        tp_status: 0,
        tp_len: 0,
        tp_snaplen: 0,
        tp_mac: 0,
        tp_net: 0,
        tp_vlan_tci: 0,
        tp_vlan_tpid: 0,
    },
    pad: [0; 4],
};
