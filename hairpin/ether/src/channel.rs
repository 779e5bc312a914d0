//! E-channels: what names them, and the tag that says by which one a frame goes. Two framings of the same thing:
//! the E-TAG of 802.1BR and the VN-Tag it grew out of.
//!
//! An identifier has 22 bits: two of the group field, eight of the extension, twelve of the base. With group field 0 it
//! names a point-to-point channel, which is one port's; else a channel with several members downwards.

use core::{fmt, num::NonZeroU32, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    etag::ETag,
    ethertype::EtherType,
    vlan::{Dei, Pcp},
    vntag::VnTag,
};

/// An E-channel identifier: 1..=0x3F_FFFE.
#[doc(alias = "E-CID")]
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct ECid(NonZeroU32);

/// The identifier of a point-to-point E-channel, 1..=0xF_FFFF, which is also that of the port at its end.
#[doc(alias = "PCID")]
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Pcid(NonZeroU32);

/// The short form of an identifier whose extension is 0: group field and base, 1..=0x3FFF. All that a base port extender
/// and a VN-Tag can name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShortECid(u16);

/// A number that names no E-channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:#x} is no E-channel identifier: allowed are 1 to 0x3ffffe, for one port's 1 to 0xfffff")]
pub struct InvalidECid(pub u32);

impl ECid {
    /// The identifier `value`, unless it is 0 (none), 0x3F_FFFF (reserved) or wider than 22 bits.
    #[must_use]
    pub const fn new(value: u32) -> Option<Self> {
        match NonZeroU32::new(value) {
            Some(v) if value < 0x3f_ffff => Some(Self(v)),
            _ => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0.get()
    }

    /// Whether the channel has several members downwards.
    #[doc(alias = "point-to-multipoint")]
    #[must_use]
    pub const fn is_group(self) -> bool {
        self.get() > Pcid::MAX
    }

    /// The port whose identifier this is, if it is one's.
    #[must_use]
    pub const fn pcid(self) -> Option<Pcid> {
        if self.is_group() { None } else { Some(Pcid(self.0)) }
    }

    /// The short form, if there is one.
    #[must_use]
    pub fn short(self) -> Option<ShortECid> {
        let (group, low) = (self.get() >> 20, self.get() & Pcid::MAX);
        u16::try_from(group << 12 | low).ok().filter(|_| low < 0x1000).map(ShortECid)
    }
}

impl Pcid {
    /// The largest number.
    pub const MAX: u32 = 0x0f_ffff;

    /// The identifier `value`, unless it is 0 or wider than 20 bits.
    #[must_use]
    pub const fn new(value: u32) -> Option<Self> {
        match NonZeroU32::new(value) {
            Some(v) if value <= Self::MAX => Some(Self(v)),
            _ => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

impl ShortECid {
    /// The identifier with group field and base in the low 14 bits of `value`, unless it is 0 or wider.
    #[must_use]
    pub const fn new(value: u16) -> Option<Self> {
        if value > 0 && value < 0x4000 { Some(Self(value)) } else { None }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl From<ShortECid> for ECid {
    fn from(short: ShortECid) -> Self {
        let (group, base) = (u32::from(short.0 >> 12), u32::from(short.0 & 0x0fff));
        // Neither 0 nor all ones: the short form is not 0, and its extension is.
        NonZeroU32::new(group << 20 | base).map_or(Self(NonZeroU32::MIN), Self)
    }
}

impl From<Pcid> for ECid {
    fn from(pcid: Pcid) -> Self {
        Self(pcid.0)
    }
}

/// How frames say by which E-channel they go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Framing {
    /// E-TAG, eight octets.
    #[default]
    Etag,
    /// VN-Tag, six octets: no priority, no port beyond 4095.
    Vntag,
}

impl Framing {
    /// What the tag begins with.
    #[must_use]
    pub const fn tpid(self) -> EtherType {
        match self {
            Self::Etag => EtherType::E_TAG,
            Self::Vntag => EtherType::VN_TAG,
        }
    }

    /// Octets a tag takes.
    #[must_use]
    pub const fn overhead(self) -> usize {
        match self {
            Self::Etag => ETag::LEN,
            Self::Vntag => VnTag::LEN,
        }
    }
}

/// On its way from a port up to the controlling bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UpTag {
    /// The port it came in on.
    pub source: Pcid,
    /// Priority.
    pub pcp: Pcp,
    /// Drop eligible.
    pub dei: Dei,
}

/// On its way from the controlling bridge down to a port, or to several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DownTag {
    /// Where to.
    pub to: ECid,
    /// The port it came in on, and which does not get it back. Only with a channel of several members.
    pub source: Option<Pcid>,
    /// Priority.
    pub pcp: Pcp,
    /// Drop eligible.
    pub dei: Dei,
}

/// The octets of a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagOctets {
    octets: [u8; ETag::LEN],
    len: u8,
}

impl TagOctets {
    /// The octets.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.octets.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl<const N: usize> From<[u8; N]> for TagOctets {
    /// Of eight octets at most.
    fn from(tag: [u8; N]) -> Self {
        let mut octets = [0; ETag::LEN];
        octets.iter_mut().zip(tag).for_each(|(to, octet)| *to = octet);
        Self { octets, len: u8::try_from(N.min(ETag::LEN)).unwrap_or(0) }
    }
}

/// A tag that was taken off a frame, by the way the frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChannelTag {
    /// From a port to the controlling bridge.
    Up(UpTag),
    /// From the controlling bridge to ports.
    Down(DownTag),
}

/// Why octets are no tag of an E-channel, or not one that goes this way. The sender is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChannelTagError {
    /// It is cut short; holds the octets there are.
    #[error("{0} octets cannot hold the tag of an E-channel")]
    Short(usize),
    /// The tag is of another kind.
    #[error("{0} begins no tag of this kind")]
    Kind(EtherType),
    /// It names no channel: the identifier is 0.
    #[error("an E-channel tag without identifier")]
    NoChannel,
    /// It names none on its way up, but what could be its port where an upward tag has nothing.
    #[error("an upward E-TAG with its port, {0}, in place of the ingress identifier")]
    IngressForm(Pcid),
    /// The identifier is the reserved one.
    #[error("the reserved E-channel identifier 0x3fffff")]
    Reserved,
    /// It goes up and names a channel of several members.
    #[error("an upward frame by the channel {0}, which only leads down")]
    GroupUp(ECid),
    /// A VN-Tag that goes the other way.
    #[error("a VN-Tag that goes the other way")]
    Direction,
    /// Another tag of an E-channel stands behind it.
    #[error("two tags of E-channels in one frame")]
    Doubled,
    /// A VN-Tag of a version not known.
    #[error("a VN-Tag of version {0}")]
    Version(u8),
}

impl UpTag {
    /// As [`UpTag::parse`], but takes an E-TAG that has its port in place of the ingress identifier for what it means.
    ///
    /// # Errors
    /// As [`UpTag::parse`], but for [`ChannelTagError::IngressForm`].
    pub fn parse_either(framing: Framing, octets: &[u8]) -> Result<Self, ChannelTagError> {
        match (Self::parse(framing, octets), octets.get(2)) {
            (Err(ChannelTagError::IngressForm(source)), Some(&bits)) => {
                Ok(Self { source, pcp: Pcp::from_low_bits(bits >> 5), dei: bits & 0x10 != 0 })
            }
            (read, _) => read,
        }
    }

    /// Reads what follows the addresses of a frame on its way up.
    ///
    /// # Errors
    /// When it begins with no tag of this framing, or with one that cannot go up.
    pub fn parse(framing: Framing, octets: &[u8]) -> Result<Self, ChannelTagError> {
        match framing {
            Framing::Etag => {
                let ETag { pcp, dei, ecid, .. } = ETag::parse(octets)?;
                let source = ecid.pcid().ok_or(ChannelTagError::GroupUp(ecid))?;
                Ok(Self { source, pcp, dei })
            }
            Framing::Vntag => {
                let source = VnTag::parse(octets)?.up()?;
                Ok(Self { source, pcp: Pcp::default(), dei: false })
            }
        }
    }

    /// The tag; `None` if the framing cannot name the port.
    #[must_use]
    pub fn octets(self, framing: Framing) -> Option<TagOctets> {
        let Self { source, pcp, dei } = self;
        match framing {
            Framing::Etag => Some(ETag { pcp, dei, ingress: None, ecid: source.into() }.to_bytes().into()),
            Framing::Vntag => Some(VnTag::new_up(source)?.to_bytes().into()),
        }
    }
}

impl DownTag {
    /// Reads what follows the addresses of a frame on its way down.
    ///
    /// # Errors
    /// When it begins with no tag of this framing, or with one that cannot go down.
    pub fn parse(framing: Framing, octets: &[u8]) -> Result<Self, ChannelTagError> {
        match framing {
            Framing::Etag => {
                let ETag { pcp, dei, ingress, ecid } = match ETag::parse(octets) {
                    Err(ChannelTagError::IngressForm(_)) => return Err(ChannelTagError::NoChannel),
                    parsed => parsed?,
                };
                Ok(Self { to: ecid, source: ingress, pcp, dei })
            }
            Framing::Vntag => {
                let (to, source) = VnTag::parse(octets)?.down()?;
                Ok(Self { to, source, pcp: Pcp::default(), dei: false })
            }
        }
    }

    /// The tag; `None` if the framing cannot name the channel. A source it cannot name is left out.
    #[must_use]
    pub fn octets(self, framing: Framing) -> Option<TagOctets> {
        let Self { to, source, pcp, dei } = self;
        match framing {
            Framing::Etag => Some(ETag { pcp, dei, ingress: source, ecid: to }.to_bytes().into()),
            Framing::Vntag => Some(VnTag::new_down(to, source)?.to_bytes().into()),
        }
    }
}

/// Conversions and words of an identifier.
macro_rules! identifier {
    ($name:ident) => {
        impl TryFrom<u32> for $name {
            type Error = InvalidECid;

            fn try_from(value: u32) -> Result<Self, InvalidECid> {
                Self::new(value).ok_or(InvalidECid(value))
            }
        }

        impl From<$name> for u32 {
            fn from(id: $name) -> Self {
                id.get()
            }
        }

        impl FromStr for $name {
            type Err = InvalidECid;

            fn from_str(text: &str) -> Result<Self, InvalidECid> {
                let number: u32 = text.parse().map_err(|_| InvalidECid(u32::MAX))?;
                Self::try_from(number)
            }
        }

        /// In decimal.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.get(), f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.get())
            }
        }
    };
}

identifier!(ECid);
identifier!(Pcid);

impl fmt::Debug for ShortECid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShortECid({:#x})", self.0)
    }
}

#[cfg(test)]
mod tests;
