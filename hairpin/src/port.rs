//! Ports as the daemon describes them, and sets of VLANs [Q 8.8].

use std::{collections::BTreeSet, fmt};

use ether::Vid;
use serde::{Deserialize, Serialize};

/// A port's row in snapshots and counters; below [`crate::Limits::ports`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PortId(pub u16);

impl PortId {
    /// The number as a table index.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for PortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What a port is to its relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Downlink relay port of an edge relay, towards a VM.
    #[doc(alias = "DRP")]
    Downlink,
    /// Uplink relay port of an edge relay, towards the bridge. An edge relay has at most one.
    #[doc(alias = "URP")]
    Uplink,
    /// Port of a C-VLAN bridge: a station-facing bridge port or a LAN port.
    #[doc(alias = "SBP")]
    Bridge,
}

/// A port as configured. What VSIs add to it is not in here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortConfig {
    /// Its row.
    pub id: PortId,
    /// What it is called, which is how a policy names the port it mirrors to. Two ports should not have one name.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// VLAN of untagged and priority-tagged frames that come in; `None` drops them.
    pub pvid: Option<Vid>,
    /// VLANs sent untagged.
    pub untagged: BTreeSet<Vid>,
    /// VLANs sent tagged. A VLAN in both sets is sent untagged.
    pub tagged: BTreeSet<Vid>,
    /// Reflective relay is operational [Q 8.6.1]; bridge ports only.
    pub reflective: bool,
    /// Only the (address, VLAN) pairs of associated VSIs may enter; bridge ports only.
    pub guard: bool,
    /// Frames may come and go.
    pub up: bool,
}

impl PortConfig {
    /// A port that is up and a member of no VLAN.
    #[must_use]
    pub const fn new(id: PortId, role: Role) -> Self {
        Self {
            id,
            name: String::new(),
            role,
            pvid: None,
            untagged: BTreeSet::new(),
            tagged: BTreeSet::new(),
            reflective: false,
            guard: false,
            up: true,
        }
    }

    /// A bridge port with the defaults of a LAN port: up, untagged in VLAN 1.
    #[must_use]
    pub fn lan(id: PortId) -> Self {
        Self {
            pvid: Some(Vid::DEFAULT),
            untagged: BTreeSet::from([Vid::DEFAULT]),
            ..Self::new(id, Role::Bridge)
        }
    }
}

/// A set of VLANs with a constant-time test.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct VidSet([u64; Vid::TABLE / 64]);

impl Default for VidSet {
    fn default() -> Self {
        Self([0; Vid::TABLE / 64])
    }
}

impl VidSet {
    pub(crate) fn insert(&mut self, vid: Vid) {
        if let Some(word) = self.0.get_mut(vid.index() / 64) {
            *word |= 1 << (vid.index() % 64);
        }
    }

    pub(crate) fn contains(&self, vid: Vid) -> bool {
        self.0.get(vid.index() / 64).is_some_and(|word| word >> (vid.index() % 64) & 1 == 1)
    }
}

impl FromIterator<Vid> for VidSet {
    fn from_iter<I: IntoIterator<Item = Vid>>(vids: I) -> Self {
        let mut set = Self::default();
        for vid in vids {
            set.insert(vid);
        }
        set
    }
}

impl fmt::Debug for VidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries((1..4095).filter_map(Vid::new).filter(|vid| self.contains(*vid))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_vid_alone() {
        for n in 1..4095 {
            let vid = Vid::new(n).unwrap();
            let set = VidSet::from_iter([vid]);
            assert!(set.contains(vid));
            assert_eq!(format!("{set:?}"), format!("{{{vid:?}}}"));
        }
    }
}
