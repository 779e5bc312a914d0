//! The VN-Tag, older than the E-TAG [BR 7]: E-channels in six octets, as equipment from before 802.1BR has them. Where
//! its fields are is certain; how `l` and `svif` are used on the way down is UNSURE-U18, and stands in
//! [`VnTag::new_down`] and [`VnTag::down`].
//!
//! | bits behind 0x8926 | |
//! |---|---|
//! | 31 | `d`: 0 to the bridge, 1 from the bridge |
//! | 30 | `p`: `dvif` is a list |
//! | 29..16 | `dvif`: where to, if from the bridge |
//! | 15 | `l`: looped, the frame came from below and `svif` says from where |
//! | 14 | reserved |
//! | 13..12 | version, 0 |
//! | 11..0 | `svif`: the port it came in on |

use crate::{
    channel::{ChannelTagError, ECid, Pcid, ShortECid},
    ethertype::EtherType,
};

/// A VN-Tag of version 0, as its 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VnTag(u32);

impl VnTag {
    /// Octets it takes on the wire, the EtherType included.
    pub const LEN: usize = 6;

    /// Reads what follows the addresses of a frame. The reserved bit is ignored.
    ///
    /// # Errors
    /// When it is cut short, begins with another EtherType, or has a version other than 0.
    pub fn parse(octets: &[u8]) -> Result<Self, ChannelTagError> {
        let tag = octets.first_chunk::<{ Self::LEN }>().ok_or(ChannelTagError::Short(octets.len()))?;
        let &[t0, t1, a, b, c, d] = tag;
        let tpid = EtherType(u16::from_be_bytes([t0, t1]));
        if tpid != EtherType::VN_TAG {
            return Err(ChannelTagError::Kind(tpid));
        }
        match c >> 4 & 3 {
            0 => Ok(Self(u32::from_be_bytes([a, b, c, d]) & !RESERVED)),
            version => Err(ChannelTagError::Version(version)),
        }
    }

    /// The six octets.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; Self::LEN] {
        let [t0, t1] = EtherType::VN_TAG.0.to_be_bytes();
        let [a, b, c, d] = self.0.to_be_bytes();
        [t0, t1, a, b, c, d]
    }

    /// That of a frame on its way up from `source`; `None` beyond port 4095.
    #[must_use]
    pub fn new_up(source: Pcid) -> Option<Self> {
        svif(source).map(Self)
    }

    /// That of a frame on its way down to `to`, which came from `source` if that is a port; `None` if the channel has no
    /// short form. A port beyond 4095 is not named.
    #[must_use]
    pub fn new_down(to: ECid, source: Option<Pcid>) -> Option<Self> {
        let list = if to.is_group() { LIST } else { 0 };
        let from = source.and_then(svif).map_or(0, |svif| LOOPED | svif);
        Some(Self(FROM_BRIDGE | list | u32::from(to.short()?.get()) << 16 | from))
    }

    /// The port a frame on its way up came in on.
    ///
    /// # Errors
    /// [`ChannelTagError::Direction`], [`ChannelTagError::NoChannel`].
    pub fn up(self) -> Result<Pcid, ChannelTagError> {
        if self.0 & FROM_BRIDGE != 0 {
            return Err(ChannelTagError::Direction);
        }
        Pcid::new(self.0 & SVIF).ok_or(ChannelTagError::NoChannel)
    }

    /// Where a frame on its way down goes, and the port below that it came in on.
    ///
    /// # Errors
    /// [`ChannelTagError::Direction`], or [`ChannelTagError::NoChannel`] also when a list has the number of a port or the
    /// other way round.
    pub fn down(self) -> Result<(ECid, Option<Pcid>), ChannelTagError> {
        if self.0 & FROM_BRIDGE == 0 {
            return Err(ChannelTagError::Direction);
        }
        let [high, low, ..] = self.0.to_be_bytes();
        let to = ShortECid::new(u16::from_be_bytes([high & 0x3f, low])).map(ECid::from);
        let list = self.0 & LIST != 0;
        let to = to.filter(|to| to.is_group() == list).ok_or(ChannelTagError::NoChannel)?;
        Ok((to, Pcid::new(self.0 & SVIF).filter(|_| self.0 & LOOPED != 0)))
    }
}

fn svif(port: Pcid) -> Option<u32> {
    Some(port.get()).filter(|port| *port <= SVIF)
}

const FROM_BRIDGE: u32 = 1 << 31;
const LIST: u32 = 1 << 30;
const LOOPED: u32 = 1 << 15;
const RESERVED: u32 = 1 << 14;
const SVIF: u32 = 0x0fff;
