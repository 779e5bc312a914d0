//! Tables that programs and this process have in common.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd, RawFd},
    ptr,
    sync::atomic::AtomicU64,
};

use super::{
    MAP_ARRAY, MAP_CREATE, MAP_UPDATE, MapCreate, MapLookup, address, call, descriptor, number, octets,
};

/// Makes a table of one row of so many octets for each processor.
pub(crate) fn of_each_processor(octets_of_row: u32) -> io::Result<OwnedFd> {
    let attributes = MapCreate {
        kind: MAP_ARRAY_OF_EACH_PROCESSOR,
        key_size: octets::<u32>(),
        value_size: octets_of_row,
        max_entries: 1,
        flags: 0,
    };
    descriptor(MAP_CREATE, &attributes)
}

/// A table of numbers by keys of two numbers.
#[derive(Debug)]
pub(crate) struct Index(OwnedFd);

impl Index {
    /// A table with room for so many.
    pub(crate) fn new(entries: u32) -> io::Result<Self> {
        let attributes = MapCreate {
            kind: MAP_HASH,
            key_size: octets::<[u64; 2]>(),
            value_size: octets::<u64>(),
            max_entries: entries,
            flags: 0,
        };
        descriptor(MAP_CREATE, &attributes).map(Self)
    }

    /// Enters a number, in place of another.
    pub(crate) fn insert(&self, key: [u64; 2], value: u64) -> io::Result<()> {
        self.change(MAP_UPDATE, &key, &value)
    }

    /// Takes a number out.
    pub(crate) fn remove(&self, key: [u64; 2]) -> io::Result<()> {
        self.change(MAP_DELETE, &key, &0)
    }

    fn change(&self, command: libc::c_int, key: &[u64; 2], value: &u64) -> io::Result<()> {
        let attributes = MapLookup {
            map: number(self.0.as_fd()),
            pad: 0,
            key: address(ptr::from_ref(key)),
            value: if command == MAP_DELETE { 0 } else { address(ptr::from_ref(value)) },
            flags: 0,
        };
        // The kernel reads `key` and `value`, both live and of the sizes the table was made with.
        call(command, &attributes).map(drop)
    }
}

impl AsRawFd for Index {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Numbers that programs and this process share, each at an offset in octets, a multiple of eight.
#[derive(Debug)]
pub(crate) struct Shared {
    map: OwnedFd,
    start: *mut AtomicU64,
    words: usize,
}

// SAFETY: the map belongs to this alone, and all that is done with it are atomic operations.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// So many octets, all zero; rounded up to whole numbers.
    pub(crate) fn new(size: u32) -> io::Result<Self> {
        let attributes = MapCreate {
            kind: MAP_ARRAY,
            key_size: octets::<u32>(),
            value_size: size.next_multiple_of(8),
            max_entries: 1,
            flags: MAPPABLE,
        };
        let map = descriptor(MAP_CREATE, &attributes)?;
        let words = usize::try_from(size.div_ceil(8)).map_err(io::Error::other)?;
        let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
        // SAFETY: a new map of the table's only row, at an address of the kernel's choice.
        let start = unsafe { libc::mmap(ptr::null_mut(), words * 8, access, flags, map.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { map, start: start.cast(), words })
    }

    /// The number at `at`; none beyond the end.
    pub(crate) fn word(&self, at: usize) -> Option<&AtomicU64> {
        // SAFETY: aligned, and inside the map, which lives as long as `self` does; both sides treat it as atomic.
        (at.is_multiple_of(8) && at / 8 < self.words).then(|| unsafe { &*self.start.add(at / 8) })
    }
}

impl AsRawFd for Shared {
    fn as_raw_fd(&self) -> RawFd {
        self.map.as_raw_fd()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: the map is this one's own and nothing borrows from it any more.
        unsafe { libc::munmap(self.start.cast(), self.words * 8) };
    }
}

const MAP_DELETE: libc::c_int = 3;
const MAP_HASH: u32 = 1;
const MAP_ARRAY_OF_EACH_PROCESSOR: u32 = 6;
/// `BPF_F_MMAPABLE`.
const MAPPABLE: u32 = 1 << 10;
