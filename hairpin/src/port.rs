//! Ports as the daemon describes them, and sets of VLANs [Q 8.8].

use std::{collections::BTreeSet, fmt};

use ether::{Framing, PrioritySet, Vid};
use serde::{Deserialize, Serialize};

use crate::{extend::Extension, lag::LagId};

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
    /// Towards a port extender: of a controlling bridge, or of a port extender with another behind it.
    Cascade,
    /// Of a port extender, towards its controlling bridge. It may have several and uses one.
    Upstream,
    /// Of a port extender, towards stations.
    Extended,
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
    /// A frame from a VSI's address that comes in here moves that address here until its VSI speaks again: for LAN ports
    /// behind which VMs may have migrated to. Bridge ports without guard only.
    pub takes_over: bool,
    /// What may be flooded of what comes in here.
    pub storm: Storm,
    /// Priorities of which the link loses no frame, as by PFC: no rate of a VSI drops such a frame from here or to here,
    /// and those of an uplink count everywhere in its relay. Access lists and storm limits drop them like others.
    pub lossless: PrioritySet,
    /// What the port is to port extension: an extended port of this bridge, or a port of this port extender.
    pub extension: Option<Extension>,
    /// How frames say by which E-channel they go; of cascade and upstream ports.
    pub framing: Framing,
    /// The ports of this LAG are one to stations; extended ports of a bridge only, all with the same VLANs.
    pub lag: Option<LagId>,
    /// Frames may come and go.
    pub up: bool,
}

/// Limits on flooding, each in frames per second; a tenth of a second's frames, at least 16, may come at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Storm {
    /// Broadcasts.
    pub broadcast: Option<u32>,
    /// Frames to other groups.
    pub multicast: Option<u32>,
    /// Frames to stations nobody knows the port of.
    pub unknown: Option<u32>,
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
            takes_over: false,
            storm: Storm { broadcast: None, multicast: None, unknown: None },
            lossless: PrioritySet::EMPTY,
            extension: None,
            framing: Framing::Etag,
            lag: None,
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

    pub(crate) fn contains_all(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0).all(|(mine, others)| others & !mine == 0)
    }

    pub(crate) fn contains(&self, vid: Vid) -> bool {
        self.0.get(vid.index() / 64).is_some_and(|word| word >> (vid.index() % 64) & 1 == 1)
    }
}

impl VidSet {
    pub(crate) fn extend(&mut self, other: &Self) {
        for (mine, others) in self.0.iter_mut().zip(other.0) {
            *mine |= others;
        }
    }

    /// Its members, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Vid> {
        (0_u16..).zip(self.0).flat_map(|(at, word)| {
            let mut left = word;
            std::iter::from_fn(move || {
                let bit = u16::try_from(left.trailing_zeros()).ok().filter(|_| left != 0)?;
                left &= left - 1;
                Vid::new(at * 64 + bit)
            })
        })
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
        f.debug_set().entries(self.iter()).finish()
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
