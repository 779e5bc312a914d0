//! The priority-based flow control TLV [Q 36, D.2.10].

use core::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use nom::{Parser, number::complete::u8 as octet};
use serde::Serialize;

use crate::{error::IeeeError, priority::PrioritySet, wire::bit};

/// For how many traffic classes at once a port can do flow control: four bits, of which 0..=8 make sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct PfcCapability(u8);

impl PfcCapability {
    /// All eight.
    pub const ALL: Self = Self(8);

    /// The capability `value`, unless it exceeds 15.
    #[must_use]
    pub const fn new(value: u8) -> Option<Self> {
        if value <= CAPABILITY { Some(Self(value)) } else { None }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

/// The PFC TLV.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Pfc {
    /// Whether the sender takes over what its peer does.
    pub willing: bool,
    /// MBC, the bit of the MACsec bypass capability. Whether it is set by a sender that can bypass MACsec or by one
    /// that cannot is told both ways, so it is only kept.
    pub mbc: bool,
    /// For how many traffic classes it can.
    pub capability: PfcCapability,
    /// The priorities whose frames can be paused.
    pub enabled: PrioritySet,
}

impl Pfc {
    /// The subtype of the TLV.
    pub const SUBTYPE: u8 = 0x0b;

    /// Reads what follows OUI and subtype, two octets. Reserved bits and further octets are ignored.
    ///
    /// # Errors
    /// [`IeeeError::Short`].
    pub fn parse(info: &[u8]) -> Result<Self, IeeeError> {
        let (_, (flags, enabled)) = (octet::<_, ()>, octet).parse(info).map_err(|_| IeeeError::Short {
            subtype: Self::SUBTYPE,
            length: info.len(),
            needed: LENGTH,
        })?;
        Ok(Self {
            willing: flags & WILLING != 0,
            mbc: flags & MBC != 0,
            capability: PfcCapability(flags & CAPABILITY),
            enabled: PrioritySet(enabled),
        })
    }

    /// The two octets after OUI and subtype.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut buf = BytesMut::with_capacity(LENGTH);
        buf.put_u8(bit(self.willing, WILLING) | bit(self.mbc, MBC) | self.capability.0);
        buf.put_u8(self.enabled.0);
        buf.freeze()
    }
}

impl fmt::Display for Pfc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let willing = if self.willing { "willing" } else { "not willing" };
        let mbc = if self.mbc { ", MBC" } else { "" };
        let Self { capability, enabled, .. } = self;
        write!(f, "PFC, {willing}{mbc}, at most {} classes: priorities {enabled}", capability.0)
    }
}

/// Octets after OUI and subtype.
const LENGTH: usize = 2;
const WILLING: u8 = 0x80;
const MBC: u8 = 0x40;
const CAPABILITY: u8 = 0x0f;
