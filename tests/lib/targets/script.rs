//! Octets as a script: steps, each one octet that says what happens, then its operands.
//!
//! Whatever happens, three things hold of every engine: it does not panic, one step has few outputs, and when what was
//! due is done the next deadline lies ahead.

use ether::{Instant, MacAddr, time::Duration};

/// What is left of a script. Where it has ended, operands are zero.
pub(super) struct Script<'a> {
    rest: &'a [u8],
    steps: u32,
}

impl<'a> Script<'a> {
    pub(super) const fn new(octets: &'a [u8]) -> Self {
        Self { rest: octets, steps: 0 }
    }

    /// The next step, below `kinds`. A script has at most [`STEPS`].
    pub(super) fn step(&mut self, kinds: u8) -> Option<u8> {
        self.steps += 1;
        (!self.rest.is_empty() && self.steps <= STEPS).then(|| self.octet() % kinds)
    }

    pub(super) fn octet(&mut self) -> u8 {
        self.octets(1).first().copied().unwrap_or_default()
    }

    pub(super) fn number(&mut self) -> u16 {
        u16::from_be_bytes([self.octet(), self.octet()])
    }

    pub(super) fn flag(&mut self) -> bool {
        self.octet() & 1 == 1
    }

    /// A string led by its length, shorter where the script ends. A length from 128 on takes a second octet, so that
    /// small octets make short strings.
    pub(super) fn string(&mut self) -> &'a [u8] {
        let length = match self.octet() {
            short @ ..0x80 => u16::from(short),
            high => u16::from_be_bytes([high & 0x07, self.octet()]),
        };
        self.octets(length.into())
    }

    /// From none to six days.
    pub(super) fn wait(&mut self) -> Duration {
        let (count, exponent) = (self.octet(), self.octet());
        Duration::from_micros(u64::from(count) << (exponent % 32))
    }

    /// A station's address, one of 256.
    pub(super) fn mac(&mut self) -> MacAddr {
        MacAddr(2, 0, 0, 0, 0x0c, self.octet())
    }

    fn octets(&mut self, most: usize) -> &'a [u8] {
        let (octets, rest) = self.rest.split_at(most.min(self.rest.len()));
        self.rest = rest;
        octets
    }
}

/// When `deadline` comes, or `now` if there is none or it has passed.
pub(super) fn due(now: Instant, deadline: Option<Instant>) -> Instant {
    now.max(deadline.unwrap_or(now))
}

/// After what was due at `now` is done, nothing is: an engine that says otherwise is asked again and again.
pub(super) fn ahead(now: Instant, deadline: Option<Instant>) {
    assert!(deadline.is_none_or(|at| at > now), "{now}: still due at {deadline:?}");
}

/// Everything `poll` has, which is not much.
pub(super) fn drained<T: std::fmt::Debug>(mut poll: impl FnMut() -> Option<T>) -> Vec<T> {
    let outputs: Vec<T> = std::iter::from_fn(&mut poll).take(OUTPUTS + 1).collect();
    assert!(outputs.len() <= OUTPUTS, "too many outputs of one step, such as {:?}", outputs.last());
    outputs
}

const STEPS: u32 = 200;
/// A VDPDU of 2 KiB has up to eighty associations, and each up to four outputs.
const OUTPUTS: usize = 400;
