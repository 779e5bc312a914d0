//! Tables over priorities, as all dialects of DCBX send them.

use ether::Pcp;
pub use ether::PrioritySet;
use serde::Serialize;

/// A number of four bits for every priority: its traffic class or its priority group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct PriorityTable([u8; 8]);

impl PriorityTable {
    /// Number 0 for every priority.
    pub const ZERO: Self = Self([0; 8]);

    /// The table of `numbers`, that of priority 0 first, unless one exceeds 15.
    #[must_use]
    pub fn new(numbers: [u8; 8]) -> Option<Self> {
        numbers.iter().all(|&number| number < 16).then_some(Self(numbers))
    }

    /// The numbers, 0..=15, that of priority 0 first.
    #[must_use]
    pub const fn numbers(self) -> [u8; 8] {
        self.0
    }

    /// The priorities that have `number`.
    #[must_use]
    pub fn priorities_of(self, number: u8) -> PrioritySet {
        Pcp::all().zip(self.0).filter(|&(_, n)| n == number).map(|(priority, _)| priority).collect()
    }

    /// Reads four octets; the high four bits of the first are those of priority 0.
    pub(crate) const fn from_octets([a, b, c, d]: [u8; 4]) -> Self {
        Self([a >> 4, a & 15, b >> 4, b & 15, c >> 4, c & 15, d >> 4, d & 15])
    }

    /// The four octets.
    pub(crate) const fn octets(self) -> [u8; 4] {
        let [a, b, c, d, e, f, g, h] = self.0;
        [a << 4 | b, c << 4 | d, e << 4 | f, g << 4 | h]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables() {
        let octets = [0x01, 0x23, 0x4f, 0x67];
        let table = PriorityTable::from_octets(octets);
        assert_eq!(table.numbers(), [0, 1, 2, 3, 4, 15, 6, 7]);
        assert_eq!(table.octets(), octets);
        assert_eq!(PriorityTable::new(table.numbers()), Some(table));
        assert_eq!(PriorityTable::new([16, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(table.priorities_of(15), PrioritySet(0x20));
        assert_eq!(table.priorities_of(9), PrioritySet(0));
    }
}
