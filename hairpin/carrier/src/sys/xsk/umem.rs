//! The memory frames lie in, and who has which piece of it.

use std::{
    io, mem, slice,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{CHUNK, HEADROOM, Xsk, ring::Map};

/// Memory shared with the kernel.
#[derive(Debug)]
pub(crate) struct Umem {
    pub(super) map: Map,
    /// No two have the same.
    pub(super) id: u64,
    owners: Vec<Owner>,
    pub(super) free: Vec<u32>,
    /// The number the next socket gets.
    pub(super) next: u32,
    /// Sockets that have a share in it.
    pub(super) sharing: usize,
    /// Sockets that were closed, and whose chunks nobody has taken back yet.
    pub(super) closed: Arc<Mutex<Vec<u32>>>,
}

/// Octets of one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// From the start of the memory.
    pub(crate) at: u32,
    pub(crate) len: u32,
}

impl Place {
    /// The same without the first `octets`.
    pub(crate) const fn after(self, octets: u32) -> Self {
        Self { at: self.at.saturating_add(octets), len: self.len.saturating_sub(octets) }
    }

    /// The same with `octets` more in front.
    pub(crate) const fn before(self, octets: u32) -> Self {
        Self { at: self.at.saturating_sub(octets), len: self.len.saturating_add(octets) }
    }

    pub(super) const fn chunk(self) -> u32 {
        self.at / CHUNK
    }
}

/// Who has a chunk. Sockets go by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Nobody,
    Us,
    /// In the fill ring, or written to.
    Filling(u32),
    /// On its way out: read by the kernel.
    Sending(u32),
}

impl Umem {
    /// `chunks` chunks. Memory is taken as it is first written to, or when the first socket is bound.
    pub(crate) fn new(chunks: u32) -> io::Result<Self> {
        static IDS: AtomicU64 = AtomicU64::new(0);
        let octets = usize::try_from(u64::from(chunks) * u64::from(CHUNK)).map_err(io::Error::other)?;
        let map = Map::new(None, octets, 0)?;
        let owners = (0..chunks).map(|_| Owner::Nobody).collect();
        let id = IDS.fetch_add(1, Ordering::Relaxed);
        Ok(Self {
            map,
            id,
            owners,
            free: (0..chunks).rev().collect(),
            next: 0,
            sharing: 0,
            closed: Arc::default(),
        })
    }

    /// Whether there are `share` chunks for each socket and for one more.
    pub(crate) fn admits(&mut self, share: u32) -> bool {
        self.collect();
        let share = usize::try_from(share).unwrap_or(usize::MAX);
        share.saturating_mul(self.sharing + 1) <= self.owners.len()
    }

    /// Whether `xsk` works on this memory.
    pub(crate) fn serves(&self, xsk: &Xsk) -> bool {
        xsk.umem == self.id
    }

    /// Whether the chunk is ours.
    pub(crate) fn holds(&self, place: Place) -> bool {
        self.owner(place.chunk()) == Some(Owner::Us)
    }

    /// Takes a free chunk: room for `len` octets that start [`HEADROOM`] behind its start.
    pub(crate) fn take(&mut self, len: u32) -> Option<Place> {
        if len > CHUNK - HEADROOM {
            return None;
        }
        let chunk = self.free.pop()?;
        self.own(chunk, Owner::Us);
        Some(Place { at: chunk * CHUNK + HEADROOM, len })
    }

    /// Copies a frame into a free chunk.
    pub(crate) fn put(&mut self, frame: &[u8]) -> Option<Place> {
        let place = self.take(u32::try_from(frame.len()).ok()?)?;
        self.octets_mut(place).copy_from_slice(frame);
        Some(place)
    }

    /// Gives a held chunk back.
    pub(crate) fn give(&mut self, place: Place) {
        if self.owner(place.chunk()) == Some(Owner::Us) {
            self.release(place.chunk());
        }
    }

    /// The octets, unless the kernel may be writing there.
    pub(crate) fn octets(&self, place: Place) -> &[u8] {
        match self.owner(place.chunk()) {
            Some(Owner::Us | Owner::Sending(_)) => match self.locate(place) {
                // SAFETY: inside the map. Nobody writes there: not the kernel, by the chunk's owner, nor we, for whoever
                // does borrows `self` mutably.
                Some((start, len)) => unsafe { slice::from_raw_parts(start, len) },
                None => &[],
            },
            _ => &[],
        }
    }

    /// The octets to be written, of a chunk that is held.
    pub(crate) fn octets_mut(&mut self, place: Place) -> &mut [u8] {
        match self.owner(place.chunk()) {
            Some(Owner::Us) => match self.locate(place) {
                // SAFETY: inside the map. The kernel has no part in the chunk, and `self` is borrowed mutably.
                Some((start, len)) => unsafe { slice::from_raw_parts_mut(start, len) },
                None => &mut [],
            },
            _ => &mut [],
        }
    }

    /// Copies octets into a chunk that is held, as many as both places have.
    pub(crate) fn copy(&mut self, from: Place, to: Place) {
        if from.chunk() == to.chunk() {
            return;
        }
        let source: *const [u8] = self.octets(from);
        // SAFETY: another chunk than `to` is in: what is read stays as it is while `to` is written to.
        let source = unsafe { &*source };
        let target = self.octets_mut(to);
        let len = target.len().min(source.len());
        if let (Some(target), Some(source)) = (target.get_mut(..len), source.get(..len)) {
            target.copy_from_slice(source);
        }
    }

    /// A pointer to and the length of octets that lie in one chunk.
    pub(super) fn locate(&self, place: Place) -> Option<(*mut u8, usize)> {
        let inside = u64::from(place.at % CHUNK) + u64::from(place.len) <= u64::from(CHUNK);
        let (at, len) = (usize::try_from(place.at).ok()?, usize::try_from(place.len).ok()?);
        if !inside || at.checked_add(len)? > self.map.len {
            return None;
        }
        // SAFETY: not past the end of the map.
        Some((unsafe { self.map.start.add(at) }, len))
    }

    pub(super) fn owner(&self, chunk: u32) -> Option<Owner> {
        self.owners.get(usize::try_from(chunk).ok()?).copied()
    }

    pub(super) fn own(&mut self, chunk: u32, owner: Owner) {
        if let Some(row) = usize::try_from(chunk).ok().and_then(|chunk| self.owners.get_mut(chunk)) {
            *row = owner;
        }
    }

    pub(super) fn release(&mut self, chunk: u32) {
        self.own(chunk, Owner::Nobody);
        self.free.push(chunk);
    }

    /// Takes the chunks of closed sockets back.
    fn collect(&mut self) {
        let closed = mem::take(&mut *self.closed.lock().unwrap_or_else(PoisonError::into_inner));
        if closed.is_empty() {
            return;
        }
        self.sharing = self.sharing.saturating_sub(closed.len());
        for (chunk, owner) in (0..).zip(&mut self.owners) {
            if matches!(owner, Owner::Filling(n) | Owner::Sending(n) if closed.contains(n)) {
                *owner = Owner::Nobody;
                self.free.push(chunk);
            }
        }
    }
}
