//! What an interface says of itself, by `ioctl(2)` on any socket of its network namespace.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
};

use super::check;

/// A driver.
pub(crate) struct Driver {
    pub(crate) name: String,
    /// It drives something on a bus.
    pub(crate) has_bus: bool,
}

/// The driver of an interface.
pub(crate) fn driver(socket: BorrowedFd<'_>, interface: &str) -> io::Result<Driver> {
    let mut info = DriverInfo {
        command: GET_DRIVER_INFO,
        driver: [0; 32],
        versions: [0; 64],
        bus: [0; 32],
        rest: [0; 16],
    };
    ethtool(socket, interface, &mut info)?;
    let name = info.driver.iter().copied().take_while(|&octet| octet != 0).collect();
    let name = String::from_utf8(name).map_err(io::Error::other)?;
    Ok(Driver { name, has_bus: info.bus.first().is_some_and(|octet| *octet != 0) })
}

/// Whether the driver takes VLAN tags off received frames.
pub(crate) fn strips_vlan(socket: BorrowedFd<'_>, interface: &str) -> io::Result<bool> {
    let mut flags = Value { command: GET_FLAGS, value: 0 };
    ethtool(socket, interface, &mut flags)?;
    Ok(flags.value & FLAG_RX_VLAN != 0)
}

/// The number of receive queues in use; 1 where the driver has no say in it.
pub(crate) fn receive_queues(socket: BorrowedFd<'_>, interface: &str) -> io::Result<u32> {
    let mut channels = Channels { command: GET_CHANNELS, counts: [0; 8] };
    match ethtool(socket, interface, &mut channels) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => return Ok(1),
        Err(error) => return Err(error),
    }
    let [_, _, _, _, receive, _, _, combined] = channels.counts;
    Ok(receive.saturating_add(combined).max(1))
}

/// `struct ifreq`: a name and a union of 24 octets.
#[repr(C)]
struct Request {
    name: [u8; libc::IF_NAMESIZE],
    value: [u64; 3],
}

/// What `SIOCETHTOOL` reads and writes.
///
/// # Safety
/// A C struct of integers that begins with a command of ethtool and has at least the size of what that command writes.
unsafe trait Command {}

/// `struct ethtool_drvinfo`.
#[repr(C)]
struct DriverInfo {
    command: u32,
    driver: [u8; 32],
    versions: [u8; 64],
    bus: [u8; 32],
    rest: [u32; 16],
}
// SAFETY: 196 octets, of which the kernel writes as many.
unsafe impl Command for DriverInfo {}

/// `struct ethtool_value`.
#[repr(C)]
struct Value {
    command: u32,
    value: u32,
}
// SAFETY: the kernel's layout.
unsafe impl Command for Value {}

/// `struct ethtool_channels`: four greatest numbers, then the numbers in use: receive, transmit, other, combined.
#[repr(C)]
struct Channels {
    command: u32,
    counts: [u32; 8],
}
// SAFETY: the kernel's layout.
unsafe impl Command for Channels {}

fn ethtool<T: Command>(socket: BorrowedFd<'_>, interface: &str, command: &mut T) -> io::Result<()> {
    let pointer = u64::try_from(ptr::from_mut(command).expose_provenance()).map_err(io::Error::other)?;
    ioctl(socket, SIOCETHTOOL, &mut Request { name: name(interface)?, value: [pointer, 0, 0] })
}

fn ioctl(socket: BorrowedFd<'_>, what: libc::c_ulong, request: &mut Request) -> io::Result<()> {
    // SAFETY: `request` is a live `struct ifreq`; the pointer in it, if `what` has the kernel follow it, is to a live
    // `Command`.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), what, ptr::from_mut(request)) })?;
    Ok(())
}

fn name(interface: &str) -> io::Result<[u8; libc::IF_NAMESIZE]> {
    let mut name = [0; libc::IF_NAMESIZE];
    if interface.len() >= name.len() {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, octet) in name.iter_mut().zip(interface.bytes()) {
        *to = octet;
    }
    Ok(name)
}

// Of linux/sockios.h and linux/ethtool.h.
const SIOCETHTOOL: libc::c_ulong = 0x8946;
const GET_DRIVER_INFO: u32 = 0x03;
const GET_FLAGS: u32 = 0x25;
const GET_CHANNELS: u32 = 0x3c;
const FLAG_RX_VLAN: u32 = 1 << 8;
