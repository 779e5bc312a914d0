//! The S-VLAN component of a port-mapping S-VLAN bridge: one uplink access port, and a channel access port for each
//! S-channel [Q 42]. UNSURE-16.
//!
//! It knows no addresses: each S-VLAN joins two ports. Frames of the default channel go as they are, those of the others
//! behind an S-tag.

use std::collections::BTreeMap;

use ether::{EtherType, Tag, Vid};

use crate::{port::PortId, verdict::DropReason};

/// The S-VLAN component behind one uplink access port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SvlanComponent {
    default: PortId,
    channels: BTreeMap<Vid, PortId>,
}

impl SvlanComponent {
    /// A component whose default channel ends at `default`, without other channels.
    #[must_use]
    pub const fn new(default: PortId) -> Self {
        Self { default, channels: BTreeMap::new() }
    }

    /// Has the frames of S-VLAN `svid` end at `port`; the port may have had another before.
    pub fn join(&mut self, svid: Vid, port: PortId) {
        self.channels.retain(|_, other| *other != port);
        self.channels.insert(svid, port);
    }

    /// The S-VLANs that end somewhere.
    pub fn svids(&self) -> impl Iterator<Item = Vid> {
        self.channels.keys().copied()
    }

    /// The S-VLAN of the frames of `port`; `None` if they go without an S-tag.
    #[must_use]
    pub fn svid(&self, port: PortId) -> Option<Vid> {
        self.channels.iter().find(|(_, at)| **at == port).map(|(svid, _)| *svid)
    }

    /// The port a frame from the uplink access port is for, by its outermost tag. If that is an S-tag, it is to be taken
    /// off.
    ///
    /// # Errors
    /// [`DropReason::ServiceTag`]: the S-VLAN, or a priority S-tag, belongs to no channel.
    pub fn ingress(&self, outermost: Option<Tag>) -> Result<PortId, DropReason> {
        match outermost {
            Some(Tag { tpid: EtherType::S_VLAN, vid, .. }) => {
                vid.and_then(|svid| self.channels.get(&svid)).copied().ok_or(DropReason::ServiceTag)
            }
            _ => Ok(self.default),
        }
    }
}

/// The S-tag a frame of S-VLAN `svid` gets outside of `inner`: with its priority [Q 6.9.2].
#[must_use]
pub fn tag(svid: Vid, inner: Option<Tag>) -> Tag {
    let priority = Tag { tpid: EtherType::S_VLAN, vid: Some(svid), ..Tag::c(svid) };
    inner.map_or(priority, |inner| Tag { pcp: inner.pcp, dei: inner.dei, ..priority })
}

#[cfg(test)]
mod tests {
    use ether::Pcp;
    use proptest::prelude::*;

    use super::*;

    fn vid(n: u16) -> Vid {
        Vid::new(n).unwrap()
    }

    #[test]
    fn each_frame_has_one_channel_or_none() {
        let mut component = SvlanComponent::new(PortId(0));
        component.join(vid(100), PortId(1));
        component.join(vid(101), PortId(2));
        component.join(vid(102), PortId(2));
        let s = |n| Some(tag(vid(n), None));
        assert_eq!(component.ingress(None), Ok(PortId(0)));
        assert_eq!(component.ingress(Some(Tag::c(vid(100)))), Ok(PortId(0)));
        assert_eq!(component.ingress(s(100)), Ok(PortId(1)));
        assert_eq!(component.ingress(s(101)), Err(DropReason::ServiceTag));
        assert_eq!(component.ingress(s(102)), Ok(PortId(2)));
        let priority = s(100).map(|tag| Tag { vid: None, ..tag });
        assert_eq!(component.ingress(priority), Err(DropReason::ServiceTag));
        assert_eq!(component.svid(PortId(0)), None);
        assert_eq!(component.svid(PortId(2)), Some(vid(102)));
        assert_eq!(component.svids().collect::<Vec<_>>(), [vid(100), vid(102)]);
    }

    #[test]
    fn the_tag_has_the_priority_of_the_frame() {
        let inner = Tag { pcp: Pcp::from_low_bits(5), dei: true, ..Tag::c(vid(7)) };
        assert_eq!(tag(vid(100), Some(inner)).to_bytes(), [0x88, 0xa8, 0xb0, 0x64]);
        assert_eq!(tag(vid(100), None).to_bytes(), [0x88, 0xa8, 0, 0x64]);
    }

    proptest! {
        /// What a channel sends arrives at the same channel, whatever it carries.
        #[test]
        fn out_and_in(svids in prop::collection::btree_set(2_u16..4095, 1..20), tci in any::<Option<u16>>()) {
            let mut component = SvlanComponent::new(PortId(0));
            for (at, svid) in svids.iter().enumerate() {
                component.join(vid(*svid), PortId(u16::try_from(at).unwrap() + 1));
            }
            let inner = tci.and_then(|tci| Tag::from_tci(EtherType::C_VLAN, tci));
            for svid in &svids {
                let port = component.ingress(Some(tag(vid(*svid), inner))).unwrap();
                prop_assert_eq!(component.svid(port), Some(vid(*svid)));
            }
        }
    }
}
