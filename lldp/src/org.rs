//! Organizational TLVs: an OUI, a subtype and octets that only their protocol reads [AB 8.6].

use core::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Serialize, Serializer, ser::SerializeStruct};

use crate::{basic::Hex, error::LocalError};

/// The organization that gives a TLV its meaning.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Oui(pub [u8; 3]);

impl Oui {
    /// IEEE 802.1, 00-80-C2.
    pub const IEEE_802_1: Self = Self([0x00, 0x80, 0xc2]);
    /// IEEE 802.3, 00-12-0F.
    pub const IEEE_802_3: Self = Self([0x00, 0x12, 0x0f]);
    /// LLDP-MED, 00-12-BB.
    pub const MED: Self = Self([0x00, 0x12, 0xbb]);
}

impl fmt::Display for Oui {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c] = self.0;
        write!(f, "{a:02x}-{b:02x}-{c:02x}")
    }
}

impl fmt::Debug for Oui {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What tells one organizational TLV from another. Shown as `00-80-c2/0d`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OrgKey {
    /// The organization.
    pub oui: Oui,
    /// Which of its TLVs.
    pub subtype: u8,
}

impl fmt::Display for OrgKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:02x}", self.oui, self.subtype)
    }
}

impl fmt::Debug for OrgKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for OrgKey {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        serializer.collect_str(self)
    }
}

/// An organizational TLV: its key and at most 507 octets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OrgTlv {
    key: OrgKey,
    info: Bytes,
}

impl OrgTlv {
    /// The most octets after the subtype.
    pub const MAX: usize = 507;

    /// The TLV `key` that says `info`.
    ///
    /// # Errors
    /// When `info` is longer than [`Self::MAX`].
    pub fn new(key: OrgKey, info: impl Into<Bytes>) -> Result<Self, LocalError> {
        let info = info.into();
        if info.len() > Self::MAX { Err(LocalError::OrgLength(info.len())) } else { Ok(Self { key, info }) }
    }

    /// Whose it is and which.
    #[must_use]
    pub const fn key(&self) -> OrgKey {
        self.key
    }

    /// The octets after the subtype.
    #[must_use]
    pub const fn info(&self) -> &Bytes {
        &self.info
    }

    /// Reads the value of a TLV; `None` if it has no room for the key.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (&[a, b, c, subtype], info) = value.split_first_chunk::<4>()?;
        Self::new(OrgKey { oui: Oui([a, b, c]), subtype }, Bytes::copy_from_slice(info)).ok()
    }

    pub(crate) fn value(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(4 + self.info.len());
        out.put_slice(&self.key.oui.0);
        out.put_u8(self.key.subtype);
        out.put_slice(&self.info);
        out.freeze()
    }
}

impl Serialize for OrgTlv {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        let mut out = serializer.serialize_struct("org_tlv", 2)?;
        out.serialize_field("key", &self.key)?;
        out.serialize_field("info", &Hex(&self.info))?;
        out.end()
    }
}
