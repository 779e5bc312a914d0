//! VLAN tags: the four octets between the source address and what they tag [Q 9.3, 9.6].

use crate::{
    ethertype::EtherType,
    vlan::{Dei, Pcp, Vid},
};

/// A C-tag or S-tag, taken off a frame or to be put on one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tag {
    /// Which kind: [`EtherType::C_VLAN`] or [`EtherType::S_VLAN`].
    pub tpid: EtherType,
    /// Priority.
    pub pcp: Pcp,
    /// Drop eligible.
    pub dei: Dei,
    /// The VLAN, or `None` in a priority tag. 4095 on the wire reads as [`Tag::from_tci`] says.
    pub vid: Option<Vid>,
}

impl Tag {
    /// Octets a tag takes on the wire.
    pub const LEN: usize = 4;

    /// A C-tag of priority 0.
    #[must_use]
    pub const fn c(vid: Vid) -> Self {
        Self { tpid: EtherType::C_VLAN, pcp: Pcp::from_low_bits(0), dei: false, vid: Some(vid) }
    }

    /// The tag a TPID and a tag control word make; `None` if the TPID is no VLAN tag's or the VID is 4095,
    /// which no frame may carry [Q 9.6].
    #[must_use]
    pub const fn from_tci(tpid: EtherType, tci: u16) -> Option<Self> {
        let vid = tci & 0x0fff;
        if !tpid.is_vlan() || vid == 0x0fff {
            return None;
        }
        let [high, _] = tci.to_be_bytes();
        Some(Self { tpid, pcp: Pcp::from_low_bits(high >> 5), dei: high & 0x10 != 0, vid: Vid::new(vid) })
    }

    /// The tag control word.
    #[must_use]
    pub const fn tci(self) -> u16 {
        let vid = match self.vid {
            Some(vid) => vid.get(),
            None => 0,
        };
        ((self.pcp.get() as u16) << 13) | ((self.dei as u16) << 12) | vid
    }

    /// The four octets.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; Self::LEN] {
        let [a, b] = self.tpid.0.to_be_bytes();
        let [c, d] = self.tci().to_be_bytes();
        [a, b, c, d]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_tag_of_the_field() {
        let tag = Tag::from_tci(EtherType::C_VLAN, 0x6064).unwrap();
        assert_eq!((tag.pcp.get(), tag.dei, tag.vid.map(Vid::get)), (3, false, Some(100)));
        assert_eq!(tag.to_bytes(), [0x81, 0, 0x60, 0x64]);
        assert_eq!(Tag::from_tci(EtherType::C_VLAN, 0x0fff), None);
        assert_eq!(Tag::from_tci(EtherType::LLDP, 1), None);
        assert_eq!(Tag::from_tci(EtherType::S_VLAN, 0xe000).unwrap().vid, None);
    }

    proptest! {
        #[test]
        fn tci_round_trip(tci in any::<u16>().prop_filter("4095", |t| t & 0xfff != 0xfff)) {
            prop_assert_eq!(Tag::from_tci(EtherType::C_VLAN, tci).unwrap().tci(), tci);
        }
    }
}
