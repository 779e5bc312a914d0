//! Sets of priorities.

use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::vlan::Pcp;

/// A set of priorities: bit n of the octet stands for priority n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PrioritySet(pub u8);

impl PrioritySet {
    /// No priority.
    pub const EMPTY: Self = Self(0);

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
        Pcp::all().filter(move |&priority| self.contains(priority))
    }

    /// What is in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
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

impl<'de> Deserialize<'de> for PrioritySet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::<Pcp>::deserialize(deserializer)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets() {
        let set: PrioritySet = [Pcp::new(4).unwrap(), Pcp::new(3).unwrap()].into_iter().collect();
        assert_eq!((set, set.len()), (PrioritySet(0x18), 2));
        assert_eq!((set.to_string(), PrioritySet(0).to_string()), ("3,4".into(), "none".into()));
        assert_eq!(set.union(PrioritySet(1)), PrioritySet(0x19));
    }
}
