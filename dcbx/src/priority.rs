//! Sets of priorities and tables over priorities, as all dialects of DCBX send them.

use core::fmt;

use ether::Pcp;
use serde::{Serialize, Serializer};

/// A set of priorities: bit n of the octet stands for priority n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PrioritySet(pub u8);

impl PrioritySet {
    /// Whether `priority` is in the set.
    #[must_use]
    pub const fn contains(self, priority: Pcp) -> bool {
        self.0 >> priority.get() & 1 == 1
    }

    /// Whether no priority is.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many there are.
    #[must_use]
    pub const fn len(self) -> u8 {
        // At most eight.
        #[expect(clippy::cast_possible_truncation, reason = "an octet has eight bits")]
        {
            self.0.count_ones() as u8
        }
    }

    /// The priorities in the set, lowest first.
    pub fn iter(self) -> impl Iterator<Item = Pcp> {
        priorities().filter(move |&priority| self.contains(priority))
    }
}

impl FromIterator<Pcp> for PrioritySet {
    fn from_iter<I: IntoIterator<Item = Pcp>>(iter: I) -> Self {
        Self(iter.into_iter().fold(0, |set, priority| set | 1 << priority.get()))
    }
}

/// Shown as `3,4`, or `none`.
impl fmt::Display for PrioritySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        let mut separator = "";
        for priority in self.iter() {
            write!(f, "{separator}{priority}")?;
            separator = ",";
        }
        Ok(())
    }
}

impl Serialize for PrioritySet {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        serializer.collect_seq(self.iter())
    }
}

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
        priorities().zip(self.0).filter(|&(_, n)| n == number).map(|(priority, _)| priority).collect()
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

/// Every priority, lowest first.
fn priorities() -> impl Iterator<Item = Pcp> {
    (0..8).filter_map(Pcp::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets() {
        let set: PrioritySet = [Pcp::new(4).unwrap(), Pcp::new(3).unwrap()].into_iter().collect();
        assert_eq!(set, PrioritySet(0x18));
        assert_eq!((set.to_string(), PrioritySet(0).to_string()), ("3,4".into(), "none".into()));
    }

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
