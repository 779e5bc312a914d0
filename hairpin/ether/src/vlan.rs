//! VLAN identifiers and priorities as types [Q 9.6].

use core::{fmt, num::NonZeroU16, str::FromStr};

use serde::{Deserialize, Serialize};

/// A VLAN identifier that can name a VLAN: 1..=4094. The null VID is `Option::None`; 4095 does not exist.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Vid(NonZeroU16);

/// A number that names no VLAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("VLAN identifier {0} is out of range: allowed are 1 to 4094")]
pub struct InvalidVid(pub u32);

impl Vid {
    /// The default PVID of a bridge port.
    pub const DEFAULT: Self = Self(NonZeroU16::MIN);
    /// How many values a twelve-bit field has; tables indexed by VID have this many rows.
    pub const TABLE: usize = 4096;

    /// The VID `value`, unless it is 0 (null), 4095 (reserved) or wider than twelve bits.
    #[must_use]
    pub const fn new(value: u16) -> Option<Self> {
        match NonZeroU16::new(value) {
            Some(v) if value < 4095 => Some(Self(v)),
            _ => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }

    /// The number as a table index below [`Vid::TABLE`].
    #[must_use]
    pub const fn index(self) -> usize {
        self.0.get() as usize
    }
}

impl TryFrom<u16> for Vid {
    type Error = InvalidVid;

    fn try_from(value: u16) -> Result<Self, InvalidVid> {
        Self::new(value).ok_or(InvalidVid(u32::from(value)))
    }
}

impl From<Vid> for u16 {
    fn from(vid: Vid) -> Self {
        vid.get()
    }
}

impl FromStr for Vid {
    type Err = InvalidVid;

    fn from_str(text: &str) -> Result<Self, InvalidVid> {
        let number: u32 = text.parse().map_err(|_| InvalidVid(u32::MAX))?;
        u16::try_from(number).ok().and_then(Self::new).ok_or(InvalidVid(number))
    }
}

impl fmt::Display for Vid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Vid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vid({})", self.0)
    }
}

/// A priority code point, 0..=7.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Pcp(u8);

/// A number that is no priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("priority {0} is out of range: allowed are 0 to 7")]
pub struct InvalidPcp(pub u8);

impl Pcp {
    /// The priority `value`, unless it exceeds 7.
    #[must_use]
    pub const fn new(value: u8) -> Option<Self> {
        if value < 8 { Some(Self(value)) } else { None }
    }

    /// The priority in the low three bits of `bits`; the rest is ignored.
    #[must_use]
    pub const fn from_low_bits(bits: u8) -> Self {
        Self(bits & 7)
    }

    /// Every priority, lowest first.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..8).map(Self)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for Pcp {
    type Error = InvalidPcp;

    fn try_from(value: u8) -> Result<Self, InvalidPcp> {
        Self::new(value).ok_or(InvalidPcp(value))
    }
}

impl From<Pcp> for u8 {
    fn from(pcp: Pcp) -> Self {
        pcp.0
    }
}

impl fmt::Display for Pcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Drop eligible indicator.
pub type Dei = bool;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vid_bounds() {
        assert_eq!((Vid::new(0), Vid::new(4095), Vid::new(4096)), (None, None, None));
        assert_eq!(Vid::new(4094).map(Vid::get), Some(4094));
        assert_eq!("4095".parse::<Vid>(), Err(InvalidVid(4095)));
        assert!("70000".parse::<Vid>().is_err() && "x".parse::<Vid>().is_err());
    }

    #[test]
    fn pcp_bounds() {
        assert_eq!(Pcp::new(8), None);
        assert_eq!(Pcp::from_low_bits(0xfd), Pcp::new(5).unwrap());
    }
}
