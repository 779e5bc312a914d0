//! The CDCP TLV [Q D.2.13]: what stands after OUI 00-80-C2 and subtype 0x0E, `4 + 3 * n` octets.

use core::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use ether::Vid;
use nom::{
    IResult, Parser,
    number::complete::{be_u24, be_u32},
};
use serde::{Deserialize, Serialize, Serializer};

use crate::error::{CdcpTlvError, ChannelError};

/// The organization of the TLV: IEEE 802.1.
pub const OUI: [u8; 3] = [0x00, 0x80, 0xc2];
/// Its subtype.
pub const SUBTYPE: u8 = 0x0e;

/// An S-channel identifier, 1..=167: the station's name of a channel, unique on its link [Q 42].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Scid(u8);

impl Scid {
    /// The default S-channel, which is always there and carried untagged.
    pub const DEFAULT: Self = Self(1);
    /// The largest.
    pub const MAX: Self = Self(167);

    /// The SCID `value`, unless it is 0 or larger than 167.
    #[must_use]
    pub const fn new(value: u8) -> Option<Self> {
        if value >= Self::DEFAULT.0 && value <= Self::MAX.0 { Some(Self(value)) } else { None }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for Scid {
    type Error = &'static str;

    fn try_from(value: u8) -> Result<Self, Self::Error> {
        Self::new(value).ok_or("an S-channel is numbered 1 to 167")
    }
}

impl From<Scid> for u8 {
    fn from(scid: Scid) -> Self {
        scid.0
    }
}

impl fmt::Display for Scid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The S-VLAN identifier that tags the frames of an S-channel, 1..=4094 [Q 42].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Svid(pub Vid);

impl Svid {
    /// That of the default S-channel.
    pub const DEFAULT: Self = Self(Vid::DEFAULT);

    /// The SVID `value`, unless it is 0 or larger than 4094.
    #[must_use]
    pub fn new(value: u16) -> Option<Self> {
        Vid::new(value).map(Self)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for Svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// How many S-channels a port supports, 1..=167. ChnCap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ChannelCapacity(u8);

impl ChannelCapacity {
    /// As many as a TLV has room for.
    pub const MAX: Self = Self(Scid::MAX.0);

    /// The capacity `value`, unless it is 0 or larger than 167.
    #[must_use]
    pub const fn new(value: u8) -> Option<Self> {
        if value >= 1 && value <= Scid::MAX.0 { Some(Self(value)) } else { None }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for ChannelCapacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Which side of the negotiation the sender plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// B: it assigns SVIDs.
    Bridge,
    /// S: it asks for channels.
    Station,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bridge => "bridge",
            Self::Station => "station",
        })
    }
}

/// An S-channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Channel {
    /// The station's name of it.
    pub scid: Scid,
    /// The bridge's tag for it, if it has assigned one.
    pub svid: Option<Svid>,
}

impl Channel {
    /// The default S-channel.
    pub const DEFAULT: Self = Self { scid: Scid::DEFAULT, svid: Some(Svid::DEFAULT) };

    fn to_raw(self) -> (u16, u16) {
        (u16::from(self.scid.0), self.svid.map_or(0, Svid::get))
    }
}

/// The S-channels of a TLV in the order sent; no SCID stands twice.
///
/// Two channels may have the same SVID, and the default channel may be missing or stand elsewhere than at the head: a
/// peer that does so is the negotiation's to judge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Channels(Vec<Channel>);

impl Channels {
    /// The list of `channels`.
    ///
    /// # Errors
    /// [`ChannelError::Duplicate`] and [`ChannelError::ReadsAsLsbFirst`].
    pub fn new(channels: impl IntoIterator<Item = Channel>) -> Result<Self, ChannelError> {
        Self::from_raw(channels.into_iter().map(Channel::to_raw))
    }

    /// The channels.
    #[must_use]
    pub fn as_slice(&self) -> &[Channel] {
        &self.0
    }

    /// Whether the default channel with its own SVID stands at the head, as it should.
    #[must_use]
    pub fn leads_with_default(&self) -> bool {
        self.0.first() == Some(&Channel::DEFAULT)
    }

    fn from_raw(pairs: impl Iterator<Item = (u16, u16)>) -> Result<Self, ChannelError> {
        let mut list: Vec<Channel> = Vec::new();
        for (index, (scid, svid)) in pairs.enumerate() {
            if index == 0 && (scid, svid) == LSB_FIRST_DEFAULT {
                return Err(ChannelError::ReadsAsLsbFirst);
            }
            let out_of_range = ChannelError::Scid { index, scid };
            let known = u8::try_from(scid).ok().and_then(Scid::new).ok_or(out_of_range)?;
            let svid = match svid {
                0 => None,
                svid => Some(Svid::new(svid).ok_or(ChannelError::Svid { index })?),
            };
            if list.iter().any(|channel| channel.scid == known) {
                return Err(ChannelError::Duplicate { index, scid });
            }
            list.push(Channel { scid: known, svid });
        }
        Ok(Self(list))
    }
}

impl Serialize for Channels {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        serializer.collect_seq(&self.0)
    }
}

/// A CDCP TLV.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct CdcpTlv {
    /// The role of the sender.
    pub role: Role,
    /// SComp: whether the sender has an S-VLAN component here. Without one there is only the default channel.
    #[doc(alias = "SComp")]
    pub s_component: bool,
    /// How many S-channels the sender supports.
    #[doc(alias = "ChnCap")]
    pub capacity: ChannelCapacity,
    /// The channels asked for or assigned.
    pub channels: Channels,
}

impl CdcpTlv {
    /// Reads what follows OUI and subtype. Reserved bits are ignored.
    ///
    /// # Errors
    /// When it is no CDCP TLV or lists what cannot be a channel.
    pub fn parse(info: &[u8]) -> Result<Self, CdcpTlvError> {
        let (pairs, head) = word(info).map_err(|_| CdcpTlvError::Short(info.len()))?;
        if pairs.len() % PAIR != 0 {
            return Err(CdcpTlvError::PartialPair(pairs.len()));
        }
        let claimed = u16::try_from(head & CAPACITY).unwrap_or(u16::MAX);
        let capacity = u8::try_from(claimed).ok().and_then(ChannelCapacity::new);
        let channels = Channels::from_raw(pairs.chunks_exact(PAIR).filter_map(pair));
        Ok(Self {
            role: if head & STATION == 0 { Role::Bridge } else { Role::Station },
            s_component: head & S_COMPONENT != 0,
            // The bit order tells more of the peer than any number in it.
            channels: channels.map_err(|error| match error {
                ChannelError::ReadsAsLsbFirst => CdcpTlvError::LsbFirst,
                other => CdcpTlvError::Channels(other),
            })?,
            capacity: capacity.ok_or(CdcpTlvError::Capacity(claimed))?,
        })
    }

    /// The octets after OUI and subtype, 4 to 505.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let Self { role, s_component, capacity, channels } = self;
        let role = if *role == Role::Station { STATION } else { 0 };
        let s_component = if *s_component { S_COMPONENT } else { 0 };
        let mut buf = BytesMut::with_capacity(4 + PAIR * channels.0.len());
        buf.put_u32(role | s_component | u32::from(capacity.0));
        for channel in &channels.0 {
            let (scid, svid) = channel.to_raw();
            buf.put_uint(u64::from(scid) << 12 | u64::from(svid), PAIR);
        }
        buf.freeze()
    }
}

impl fmt::Display for CdcpTlv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { role, s_component, capacity, channels } = self;
        let without = if *s_component { "" } else { ", no S-VLAN component" };
        write!(f, "S-channel {role}{without}, at most {capacity}: ")?;
        for (index, Channel { scid, svid }) in channels.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            match svid {
                Some(svid) => write!(f, "{separator}{scid} has SVID {svid}")?,
                None => write!(f, "{separator}{scid} requested")?,
            }
        }
        match channels.0.first() {
            Some(_) if channels.leads_with_default() => Ok(()),
            Some(_) => f.write_str(" (default channel not at the head)"),
            None => f.write_str("none listed"),
        }
    }
}

fn word(input: &[u8]) -> IResult<&[u8], u32> {
    be_u32(input)
}

/// SCID and SVID, each twelve bits. UNSURE-4: most significant bit first.
fn pair(octets: &[u8]) -> Option<(u16, u16)> {
    let (_, bits) = be_u24::<_, ()>.parse(octets).ok()?;
    Some((u16::try_from(bits >> 12).ok()?, u16::try_from(bits & 0xfff).ok()?))
}

/// Octets of a pair.
const PAIR: usize = 3;
/// The head word. UNSURE-1: the polarity of the role.
const STATION: u32 = 0x8000_0000;
const S_COMPONENT: u32 = 0x0800_0000;
const CAPACITY: u32 = 0x0000_0fff;
/// How the octets `01 01 00` read, which are (1, 1) with the least significant bit first. UNSURE-4.
const LSB_FIRST_DEFAULT: (u16, u16) = (16, 256);

#[cfg(test)]
mod tests;
