//! `bpf(2)`: just enough to count, drop, divert and forward frames at an interface.

pub(crate) mod kernel;
mod tables;

use std::{
    io, mem,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    ptr,
};

pub(crate) use self::tables::{Index, Shared, of_each_processor};

/// One instruction of eBPF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Insn {
    pub(crate) code: u8,
    /// Destination register in the low half, source in the high one.
    pub(crate) registers: u8,
    pub(crate) offset: i16,
    pub(crate) value: i32,
}

impl Insn {
    pub(crate) const fn new(code: u8, registers: u8, offset: i16, value: i32) -> Self {
        Self { code, registers, offset, value }
    }
}

/// The registers of an instruction.
pub(crate) const fn regs(destination: u8, source: u8) -> u8 {
    destination | source << 4
}

/// Instruction codes: class | size or operation | mode or source.
pub(crate) mod code {
    pub(crate) const MOVE: u8 = 0xb7;
    pub(crate) const MOVE_REGISTER: u8 = 0xbf;
    pub(crate) const ADD: u8 = 0x07;
    pub(crate) const ADD_REGISTER: u8 = 0x0f;
    pub(crate) const SUBTRACT_REGISTER: u8 = 0x1f;
    pub(crate) const OR: u8 = 0x47;
    pub(crate) const AND: u8 = 0x57;
    pub(crate) const AND_32: u8 = 0x54;
    pub(crate) const SHIFT_LEFT: u8 = 0x67;
    pub(crate) const SHIFT_RIGHT: u8 = 0x77;
    /// The upper half becomes zero.
    pub(crate) const MOVE_REGISTER_32: u8 = 0xbc;
    /// The register's low octets, as many as the value says in bits, to network byte order.
    pub(crate) const TO_NETWORK: u8 = 0xdc;
    pub(crate) const LOAD_64: u8 = 0x79;
    pub(crate) const LOAD_32: u8 = 0x61;
    pub(crate) const LOAD_16: u8 = 0x69;
    pub(crate) const LOAD_8: u8 = 0x71;
    /// Of the value.
    pub(crate) const STORE_VALUE_64: u8 = 0x7a;
    pub(crate) const STORE_VALUE_32: u8 = 0x62;
    pub(crate) const STORE_64: u8 = 0x7b;
    pub(crate) const STORE_32: u8 = 0x63;
    pub(crate) const STORE_16: u8 = 0x6b;
    /// Into r0, in host byte order; ends the program with `TCX_PASS` where the frame is shorter. `tcx` only.
    pub(crate) const LOAD_FRAME_32: u8 = 0x20;
    pub(crate) const LOAD_FRAME_16: u8 = 0x28;
    /// Takes two instructions.
    pub(crate) const LOAD_MAP: u8 = 0x18;
    pub(crate) const IF_EQUAL: u8 = 0x15;
    pub(crate) const UNLESS_EQUAL: u8 = 0x55;
    pub(crate) const UNLESS_EQUAL_32: u8 = 0x56;
    pub(crate) const IF_GREATER_REGISTER: u8 = 0x2d;
    pub(crate) const UNLESS_EQUAL_REGISTER: u8 = 0x5d;
    pub(crate) const IF_GREATER: u8 = 0x25;
    pub(crate) const GO: u8 = 0x05;
    pub(crate) const ATOMIC_ADD: u8 = 0xdb;
    /// As value of [`ATOMIC_ADD`]: what was there before comes into the source register.
    pub(crate) const FETCH: i32 = 0x01;
    /// As value of [`ATOMIC_ADD`]: not an addition; the source register takes the place of what equals r0, and r0 becomes
    /// what was there.
    pub(crate) const EXCHANGE_IF_EQUAL: i32 = 0xf1;
    pub(crate) const CALL: u8 = 0x85;
    pub(crate) const EXIT: u8 = 0x95;
    /// As source register of [`LOAD_MAP`]: the value is a map's descriptor, or the address of its first row is meant.
    pub(crate) const PSEUDO_MAP: u8 = 1;
    pub(crate) const PSEUDO_MAP_VALUE: u8 = 2;
    /// As source register of [`CALL`]: the value is the number of a function of the kernel.
    pub(crate) const PSEUDO_FUNCTION: u8 = 2;
}

/// Where a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Ingress,
    Egress,
}

/// Makes a table of one row of two counters.
pub(crate) fn counters() -> io::Result<OwnedFd> {
    let attributes = MapCreate {
        kind: MAP_ARRAY,
        key_size: octets::<u32>(),
        value_size: octets::<[u64; 2]>(),
        max_entries: 1,
        flags: 0,
    };
    descriptor(MAP_CREATE, &attributes)
}

/// Reads the two counters of [`counters`].
pub(crate) fn read_counters(map: BorrowedFd<'_>) -> io::Result<[u64; 2]> {
    let (key, mut value) = (0u32, [0u64; 2]);
    let attributes = MapLookup {
        map: number(map),
        pad: 0,
        key: address(&raw const key),
        value: address(&raw mut value),
        flags: 0,
    };
    // The kernel reads `key` and writes the 16 octets of `value`, both live; so the map was made.
    call(MAP_LOOKUP, &attributes)?;
    Ok(value)
}

/// Makes a table of one AF_XDP socket for each of `queues` queues.
pub(crate) fn sockets(queues: u32) -> io::Result<OwnedFd> {
    let attributes = MapCreate {
        kind: MAP_XSK,
        key_size: octets::<u32>(),
        value_size: octets::<u32>(),
        max_entries: queues,
        flags: 0,
    };
    descriptor(MAP_CREATE, &attributes)
}

/// Enters the socket of a queue into a table of [`sockets`].
pub(crate) fn set_socket(map: BorrowedFd<'_>, queue: u32, socket: BorrowedFd<'_>) -> io::Result<()> {
    let (key, value) = (queue, number(socket));
    let attributes = MapLookup {
        map: number(map),
        pad: 0,
        key: address(&raw const key),
        value: address(&raw const value),
        flags: 0,
    };
    // The kernel reads `key` and the 4 octets of `value`, both live.
    call(MAP_UPDATE, &attributes).map(drop)
}

/// Loads a program that decides which frames a socket gets.
pub(crate) fn load_filter(program: &[Insn]) -> io::Result<OwnedFd> {
    load_program(PROGRAM_SOCKET_FILTER, program, *b"evbd_tap\0\0\0\0\0\0\0\0", None)
}

/// Has a program of [`load_filter`] decide which frames a socket gets, in place of whatever did.
pub(crate) fn attach_filter(socket: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    super::set_number(socket, libc::SOL_SOCKET, libc::SO_ATTACH_BPF, program.as_raw_fd())
}

/// Loads a program that forwards frames at a `tcx` hook.
pub(crate) fn load_forwarder(program: &[Insn]) -> io::Result<OwnedFd> {
    load_program(PROGRAM_SCHED_CLS, program, *b"evbd_fast\0\0\0\0\0\0\0", None)
}

/// Attaches a program of [`load_forwarder`] to what comes in by an interface of this network namespace, before the
/// programs that are there, for as long as what is returned stays open.
pub(crate) fn attach_first(program: BorrowedFd<'_>, ifindex: u32) -> io::Result<OwnedFd> {
    link(program, ifindex, TCX_INGRESS, BEFORE)
}

/// Loads a program that looks at frames at a `tcx` hook.
pub(crate) fn load(program: &[Insn]) -> io::Result<OwnedFd> {
    load_program(PROGRAM_SCHED_CLS, program, *b"evbd_leak\0\0\0\0\0\0\0", None)
}

/// Loads a program that puts tags on at a `tcx` hook.
pub(crate) fn load_tagger(program: &[Insn]) -> io::Result<OwnedFd> {
    load_program(PROGRAM_SCHED_CLS, program, *b"evbd_tagger\0\0\0\0\0", None)
}

/// Loads a program that diverts frames at the driver. With `device` it is for that interface alone, and may ask its
/// driver what it knows of a frame.
pub(crate) fn load_xdp(program: &[Insn], device: Option<u32>) -> io::Result<OwnedFd> {
    load_program(PROGRAM_XDP, program, *b"evbd_xdp\0\0\0\0\0\0\0\0", device)
}

fn load_program(kind: u32, program: &[Insn], name: [u8; 16], device: Option<u32>) -> io::Result<OwnedFd> {
    // A program under the GPL alone or beside others may call every function of the kernel.
    let license = c"Dual MIT/GPL";
    let attributes = ProgramLoad {
        kind,
        instruction_count: u32::try_from(program.len()).unwrap_or(u32::MAX),
        instructions: address(program.as_ptr()),
        license: address(license.as_ptr()),
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel: 0,
        flags: device.map_or(0, |_| DEVICE_BOUND),
        name,
        ifindex: device.unwrap_or(0),
        attach_type: 0,
    };
    descriptor(PROGRAM_LOAD, &attributes)
}

/// Attaches a program to an interface of this network namespace, for as long as what is returned stays open.
pub(crate) fn attach(program: BorrowedFd<'_>, ifindex: u32, direction: Direction) -> io::Result<OwnedFd> {
    let kind = match direction {
        Direction::Ingress => TCX_INGRESS,
        Direction::Egress => TCX_EGRESS,
    };
    link(program, ifindex, kind, 0)
}

/// Attaches a program of [`load_xdp`]: to the driver, or behind it where `generic`; for as long as what is returned
/// stays open.
pub(crate) fn attach_xdp(program: BorrowedFd<'_>, ifindex: u32, generic: bool) -> io::Result<OwnedFd> {
    link(program, ifindex, XDP, if generic { XDP_SKB_MODE } else { XDP_DRIVER_MODE })
}

fn link(program: BorrowedFd<'_>, ifindex: u32, kind: u32, flags: u32) -> io::Result<OwnedFd> {
    let attributes =
        LinkCreate { program: number(program), ifindex, kind, flags, relative: 0, pad: 0, revision: 0 };
    descriptor(LINK_CREATE, &attributes)
}

/// Takes a program off its interface, at once; closing what attaching returned does so a moment later.
pub(crate) fn detach(link: BorrowedFd<'_>) -> io::Result<()> {
    call(LINK_DETACH, &LinkDetach { link: number(link) }).map(drop)
}

/// Arguments of one command: C structs of integers, each a prefix of the kernel's `union bpf_attr` that ends where a
/// field does. What the kernel's is longer by counts as zero.
///
/// # Safety
/// The layout must be the kernel's, without padding, and every pointer in it live for the call.
unsafe trait Attributes {}

#[repr(C)]
struct MapCreate {
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
}
// SAFETY: the kernel's layout; no pointers.
unsafe impl Attributes for MapCreate {}

#[repr(C)]
struct MapLookup {
    map: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}
// SAFETY: the kernel's layout; made only in `read_counters`, `set_socket` and by an `Index`, which keep both pointers live.
unsafe impl Attributes for MapLookup {}

#[repr(C)]
struct ProgramLoad {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel: u32,
    flags: u32,
    name: [u8; 16],
    ifindex: u32,
    attach_type: u32,
}
// SAFETY: the kernel's layout; made only in `load_program`, which keeps the instructions and the licence live.
unsafe impl Attributes for ProgramLoad {}

#[repr(C)]
struct LinkCreate {
    program: u32,
    ifindex: u32,
    kind: u32,
    flags: u32,
    relative: u32,
    pad: u32,
    revision: u64,
}
// SAFETY: the kernel's layout; no pointers.
unsafe impl Attributes for LinkCreate {}

#[repr(C)]
struct LinkDetach {
    link: u32,
}
// SAFETY: the kernel's layout; no pointers.
unsafe impl Attributes for LinkDetach {}

/// A command that makes a descriptor.
fn descriptor<T: Attributes>(command: libc::c_int, attributes: &T) -> io::Result<OwnedFd> {
    let fd = call(command, attributes)?;
    // SAFETY: the call has just made this descriptor; nothing else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn call<T: Attributes>(command: libc::c_int, attributes: &T) -> io::Result<libc::c_int> {
    // SAFETY: `attributes` is live with its own size; the trait vouches for its layout and for pointers in it.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, ptr::from_ref(attributes), mem::size_of::<T>()) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        libc::c_int::try_from(result).map_err(io::Error::other)
    }
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

fn address<T>(pointer: *const T) -> u64 {
    u64::try_from(pointer.expose_provenance()).unwrap_or(0)
}

fn octets<T>() -> u32 {
    u32::try_from(mem::size_of::<T>()).unwrap_or(0)
}

// Of `enum bpf_cmd`, `bpf_map_type`, `bpf_prog_type` and `bpf_attach_type`.
const MAP_CREATE: libc::c_int = 0;
const MAP_LOOKUP: libc::c_int = 1;
const MAP_UPDATE: libc::c_int = 2;
const PROGRAM_LOAD: libc::c_int = 5;
const LINK_CREATE: libc::c_int = 28;
const LINK_DETACH: libc::c_int = 34;
const MAP_ARRAY: u32 = 2;
const MAP_XSK: u32 = 17;
const PROGRAM_SOCKET_FILTER: u32 = 1;
const PROGRAM_SCHED_CLS: u32 = 3;
const PROGRAM_XDP: u32 = 6;
/// `BPF_F_BEFORE`.
const BEFORE: u32 = 1 << 3;
/// `BPF_F_XDP_DEV_BOUND_ONLY`.
const DEVICE_BOUND: u32 = 1 << 6;
const XDP: u32 = 37;
/// `XDP_FLAGS_SKB_MODE`, `XDP_FLAGS_DRV_MODE`.
const XDP_SKB_MODE: u32 = 1 << 1;
const XDP_DRIVER_MODE: u32 = 1 << 2;
const TCX_INGRESS: u32 = 46;
const TCX_EGRESS: u32 = 47;
