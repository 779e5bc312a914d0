//! `bpf(2)`: just enough to count and drop frames at an interface.

use std::{
    io, mem,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    ptr,
};

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

/// Loads a program that looks at frames at a `tcx` hook.
pub(crate) fn load(program: &[Insn]) -> io::Result<OwnedFd> {
    let license = c"MIT";
    let attributes = ProgramLoad {
        kind: PROGRAM_SCHED_CLS,
        instruction_count: u32::try_from(program.len()).unwrap_or(u32::MAX),
        instructions: address(program.as_ptr()),
        license: address(license.as_ptr()),
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel: 0,
        flags: 0,
        name: *b"evbd_leak\0\0\0\0\0\0\0",
    };
    descriptor(PROGRAM_LOAD, &attributes)
}

/// Attaches a program to an interface of this network namespace, for as long as what is returned stays open.
pub(crate) fn attach(program: BorrowedFd<'_>, ifindex: u32, direction: Direction) -> io::Result<OwnedFd> {
    let kind = match direction {
        Direction::Ingress => TCX_INGRESS,
        Direction::Egress => TCX_EGRESS,
    };
    let attributes =
        LinkCreate { program: number(program), ifindex, kind, flags: 0, relative: 0, pad: 0, revision: 0 };
    descriptor(LINK_CREATE, &attributes)
}

/// Takes a program off its interface, at once; closing what [`attach`] returned does so a moment later.
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
// SAFETY: the kernel's layout; made only in `read_counters`, which keeps both pointers live.
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
}
// SAFETY: the kernel's layout; made only in `load`, which keeps the instructions and the licence live.
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
const PROGRAM_LOAD: libc::c_int = 5;
const LINK_CREATE: libc::c_int = 28;
const LINK_DETACH: libc::c_int = 34;
const MAP_ARRAY: u32 = 2;
const PROGRAM_SCHED_CLS: u32 = 3;
const TCX_INGRESS: u32 = 46;
const TCX_EGRESS: u32 = 47;
