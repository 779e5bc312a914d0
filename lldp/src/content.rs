//! What an organizational TLV says, as far as this crate reads it: those of 802.1, 802.3 and LLDP-MED that describe a
//! port and run no protocol [AB 8.6].
//!
//! EVB, CDCP, DCBX and port extension are other crates'. What cannot be read stays an [`OrgTlv`].

use core::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    basic::Text,
    dot1::Dot1,
    dot3::Dot3,
    error::{LocalError, PeerOrgFault},
    med::Med,
    org::{OrgKey, OrgTlv, Oui},
};

/// What an organizational TLV says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// A TLV of IEEE 802.1.
    Dot1(Dot1),
    /// A TLV of IEEE 802.3.
    Dot3(Dot3),
    /// A TLV of LLDP-MED.
    Med(Med),
}

impl Content {
    /// Reads `tlv`; `None` if it is not one of those read here.
    ///
    /// # Errors
    /// When its octets make no sense: see [`PeerOrgFault`].
    pub fn read(tlv: &OrgTlv) -> Result<Option<Self>, PeerOrgFault> {
        let OrgKey { oui, subtype } = tlv.key();
        let info = tlv.info();
        Ok(match oui {
            Oui::IEEE_802_1 => Dot1::parse(subtype, info)?.map(Self::Dot1),
            Oui::IEEE_802_3 => Dot3::parse(subtype, info)?.map(Self::Dot3),
            Oui::MED => Med::parse(subtype, info)?.map(Self::Med),
            _ => None,
        })
    }

    /// Where it stands among the organizational TLVs.
    #[must_use]
    pub const fn key(&self) -> OrgKey {
        match self {
            Self::Dot1(tlv) => OrgKey { oui: Oui::IEEE_802_1, subtype: tlv.subtype() },
            Self::Dot3(tlv) => OrgKey { oui: Oui::IEEE_802_3, subtype: tlv.subtype() },
            Self::Med(tlv) => OrgKey { oui: Oui::MED, subtype: tlv.subtype() },
        }
    }

    /// The octets after the subtype.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        match self {
            Self::Dot1(tlv) => tlv.to_bytes(),
            Self::Dot3(tlv) => tlv.to_bytes(),
            Self::Med(tlv) => tlv.to_bytes(),
        }
    }

    /// It as a TLV.
    ///
    /// # Errors
    /// When there is more of it than fits one: too many application VLANs.
    pub fn tlv(&self) -> Result<OrgTlv, LocalError> {
        OrgTlv::new(self.key(), self.to_bytes())
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dot1(tlv) => fmt::Display::fmt(tlv, f),
            Self::Dot3(tlv) => fmt::Display::fmt(tlv, f),
            Self::Med(tlv) => fmt::Display::fmt(tlv, f),
        }
    }
}

/// A string of at most 32 octets, as VLAN names and MED inventories are. Safe to print, as [`Text`] is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Label(Text);

impl Label {
    /// The longest in octets.
    pub const MAX: usize = 32;

    /// As much of `text` as fits, cut between characters.
    #[must_use]
    pub fn truncated(text: &str) -> Self {
        let (head, _) = text.split_at(text.floor_char_boundary(Self::MAX));
        Self(Text::truncated(head))
    }

    /// The octets.
    #[must_use]
    pub const fn as_bytes(&self) -> &Bytes {
        self.0.as_bytes()
    }

    /// `None` if it is too long.
    pub(crate) fn parse(octets: &[u8]) -> Option<Self> {
        Text::parse(octets).filter(|text| text.as_bytes().len() <= Self::MAX).map(Self)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Whether a link is bundled with others; 802.3 had the same TLV first [802.3 79.3.3].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinkAggregation {
    /// It can be.
    pub capable: bool,
    /// It is.
    pub aggregated: bool,
    /// What says so, 0..=3: not told, an aggregation port, an aggregator, an aggregator of one port. The TLV of 802.3
    /// has no such field and sends 0.
    pub port_kind: u8,
    /// The number of the bundle's port, 0 when it is not bundled.
    pub port: u32,
}

impl LinkAggregation {
    pub(crate) fn parse(what: &'static str, info: &[u8]) -> Result<Self, PeerOrgFault> {
        let &[status, a, b, c, d] = info else { return Err(length(what, info, "5")) };
        Ok(Self {
            capable: status & 1 != 0,
            aggregated: status & 2 != 0,
            port_kind: status >> 2 & 3,
            port: u32::from_be_bytes([a, b, c, d]),
        })
    }

    pub(crate) fn to_bytes(self) -> Bytes {
        let status = u8::from(self.capable) | u8::from(self.aggregated) << 1 | (self.port_kind & 3) << 2;
        let [a, b, c, d] = self.port.to_be_bytes();
        Bytes::copy_from_slice(&[status, a, b, c, d])
    }
}

impl fmt::Display for LinkAggregation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.capable { "capable" } else { "not capable" })?;
        match self.aggregated {
            true => write!(f, ", aggregated in port {}", self.port),
            false => f.write_str(", not aggregated"),
        }
    }
}

pub(crate) const fn length(what: &'static str, info: &[u8], allowed: &'static str) -> PeerOrgFault {
    PeerOrgFault::Length { what, length: info.len(), allowed }
}

/// A flag in a word.
pub(crate) const fn yes(flag: bool) -> &'static str {
    if flag { "yes" } else { "no" }
}

/// Numbers of the bits set, from bit 0 on; "none" if there are none.
pub(crate) struct Bits(pub(crate) u8);

impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for bit in (0..8).filter(|bit| self.0 >> bit & 1 == 1) {
            write!(f, "{}{bit}", if first { "" } else { "," })?;
            first = false;
        }
        if first { f.write_str("none") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
