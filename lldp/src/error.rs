//! What can be wrong with an LLDPDU, whose fault it is and where it stands [AB 9.2.7.7].
//!
//! Two levels: a [`PeerPduError`] costs the LLDPDU, a [`PeerTlvFault`] one TLV of it. Each has its counter in
//! [`crate::stats`].

use serde::Serialize;

use crate::tlv::{PeerTlvError, TlvType};

/// Why a received LLDPDU is discarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum PeerPduError {
    /// It is not a sequence of TLVs.
    #[error(transparent)]
    Tlv(#[from] PeerTlvError),
    /// Chassis ID, port ID and TTL are not its first three TLVs in this order.
    #[error("peer: TLV of type {expected} is missing at offset {offset}")]
    Mandatory {
        /// The type that belongs there.
        expected: TlvType,
        /// The type found instead, if the LLDPDU went on.
        found: Option<TlvType>,
        /// Where the TLV found starts, or the end of the LLDPDU.
        offset: usize,
    },
    /// The chassis or port ID does not have 1..=255 octets after its subtype.
    #[error(
        "peer: identifier TLV of type {kind} at offset {offset} has {length} octets, allowed are 2 to 256"
    )]
    IdLength {
        /// 1 for the chassis ID, 2 for the port ID.
        kind: TlvType,
        /// Where its header starts.
        offset: usize,
        /// Its length with the subtype.
        length: usize,
    },
    /// The TTL TLV is shorter than two octets.
    #[error("peer: TTL TLV at offset {offset} has {length} octets, it needs 2")]
    TtlLength {
        /// Where its header starts.
        offset: usize,
        /// Its length.
        length: usize,
    },
    /// A TLV that may stand once stands twice.
    #[error("peer: second TLV of type {kind} at offset {offset}")]
    Duplicate {
        /// Its type, 1..=7.
        kind: TlvType,
        /// Where the second one starts.
        offset: usize,
    },
}

/// Why one TLV of a received LLDPDU is left out; the others count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum PeerTlvFault {
    /// A name or description is longer than 255 octets.
    #[error("peer: string of type {kind} at offset {offset} has {length} octets, allowed are 255")]
    TextLength {
        /// Its type, 4..=6.
        kind: TlvType,
        /// Where its header starts.
        offset: usize,
        /// Its length.
        length: usize,
    },
    /// The system capabilities do not have four octets.
    #[error("peer: system capabilities at offset {offset} have {length} octets, they need 4")]
    CapabilitiesLength {
        /// Where the header starts.
        offset: usize,
        /// The length.
        length: usize,
    },
    /// A management address string does not have 2..=32 octets.
    #[error(
        "peer: management address at offset {offset} has a string of {length} octets, allowed are 2 to 32"
    )]
    ManagementAddressLength {
        /// Where the header starts.
        offset: usize,
        /// The length of the string, address family included.
        length: usize,
    },
    /// The object identifier of a management address is longer than 128 octets.
    #[error(
        "peer: management address at offset {offset} has an object identifier of {length} octets, allowed are 128"
    )]
    ManagementAddressOid {
        /// Where the header starts.
        offset: usize,
        /// The length of the object identifier.
        length: usize,
    },
    /// The fields of a management address do not add up to its length.
    #[error("peer: fields of the management address at offset {offset} do not fill its {length} octets")]
    ManagementAddressFields {
        /// Where the header starts.
        offset: usize,
        /// The length of the TLV.
        length: usize,
    },
    /// An organizational TLV has no room for its OUI and subtype.
    #[error("peer: organizational TLV at offset {offset} has {length} octets, it needs 4")]
    OrgLength {
        /// Where the header starts.
        offset: usize,
        /// The length.
        length: usize,
    },
    /// The End TLV has a value. It ends the LLDPDU all the same.
    #[error("peer: End TLV at offset {offset} has {length} octets, it needs 0")]
    EndLength {
        /// Where the header starts.
        offset: usize,
        /// The length.
        length: usize,
    },
}

/// Why what an organizational TLV says cannot be read. The TLV is kept as octets, the LLDPDU counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum PeerOrgFault {
    /// It is too short or too long.
    #[error("peer: {what} of {length} octets, allowed are {allowed}")]
    Length {
        /// Which TLV.
        what: &'static str,
        /// Its length after the subtype.
        length: usize,
        /// The lengths that can be read.
        allowed: &'static str,
    },
    /// The length of a string in it does not fit the octets that are there, or is too great.
    #[error("peer: {what} with a string of {claimed} octets where {left} are left, allowed are {max}")]
    Text {
        /// Which TLV.
        what: &'static str,
        /// The length the string is said to have.
        claimed: u8,
        /// The octets after that length.
        left: usize,
        /// The longest string allowed.
        max: usize,
    },
    /// It names a VLAN that cannot be.
    #[error("peer: {what} for VLAN {vid}, allowed are {allowed}")]
    Vid {
        /// Which TLV.
        what: &'static str,
        /// The number sent.
        vid: u16,
        /// The numbers that can be read.
        allowed: &'static str,
    },
}

impl PeerTlvFault {
    /// Where the header of the TLV starts, in octets from the start of the LLDPDU.
    #[must_use]
    pub const fn offset(&self) -> usize {
        match self {
            Self::TextLength { offset, .. }
            | Self::CapabilitiesLength { offset, .. }
            | Self::ManagementAddressLength { offset, .. }
            | Self::ManagementAddressOid { offset, .. }
            | Self::ManagementAddressFields { offset, .. }
            | Self::OrgLength { offset, .. }
            | Self::EndLength { offset, .. } => *offset,
        }
    }
}

/// What this system asked for and cannot have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocalError {
    /// A chassis or port ID of this many octets.
    #[error("local: an identifier of {0} octets, allowed are 1 to 255")]
    IdLength(usize),
    /// An organizational TLV with this many octets after its subtype.
    #[error("local: {0} octets of organizational information, allowed are 507")]
    OrgLength(usize),
    /// A timing parameter out of its range.
    #[error("local: {name} is {value}, allowed are {min} to {max}")]
    Timing {
        /// The parameter.
        name: &'static str,
        /// What was asked for.
        value: u16,
        /// The lowest value allowed.
        min: u16,
        /// The highest value allowed.
        max: u16,
    },
}
