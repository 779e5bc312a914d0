//! What can be wrong with the DCBX TLVs and whose fault it is.

use lldp::tlv::PeerTlvError;
use serde::Serialize;

/// Why a received TLV of IEEE 802.1Q cannot be used. The peer is to blame for every one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum IeeeError {
    /// Fewer octets after OUI and subtype than the TLV has fields for.
    #[error("peer: TLV 00-80-c2/{subtype:02x} with {length} octets after its subtype, it needs {needed}")]
    Short {
        /// The subtype.
        subtype: u8,
        /// The octets found.
        length: usize,
        /// The octets needed.
        needed: usize,
    },
    /// The application priorities are not whole entries; holds the number of their octets.
    #[error("peer: {0} octets of application priorities are not entries of 3 octets")]
    PartialApplication(usize),
    /// More application priorities than a TLV can hold.
    #[error("peer: {0}")]
    TooManyApplications(#[from] TooManyApplications),
}

/// More application priorities than the 168 a TLV can hold; holds their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{0} application priorities, a TLV can hold 168")]
pub struct TooManyApplications(pub usize);

/// Why a received CEE or CIN TLV cannot be used. The peer is to blame for every one of them.
///
/// Offsets count from the octet after the subtype and point at the header of a sub-TLV.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum CeeError {
    /// The octets are not a sequence of sub-TLVs.
    #[error(transparent)]
    Tlv(#[from] PeerTlvError),
    /// A sub-TLV has fewer octets than fields for.
    #[error("peer: sub-TLV of type {kind} at offset {offset} has {length} octets, it needs {needed}")]
    Short {
        /// Its type.
        kind: u8,
        /// Where its header starts.
        offset: usize,
        /// Its octets.
        length: usize,
        /// The octets needed.
        needed: usize,
    },
    /// The applications of a CEE TLV are not whole entries.
    #[error("peer: sub-TLV at offset {offset}: {length} octets of applications are not entries of 6 octets")]
    PartialApplication {
        /// Where the header of the sub-TLV starts.
        offset: usize,
        /// The octets of applications.
        length: usize,
    },
    /// A sub-TLV that may stand once stands twice.
    #[error("peer: second sub-TLV of type {kind} at offset {offset}")]
    Duplicate {
        /// Its type.
        kind: u8,
        /// Where the second one starts.
        offset: usize,
    },
    /// There is no control sub-TLV.
    #[error("peer: no DCBX control sub-TLV")]
    NoControl,
}

/// Why a CEE or CIN TLV was not written: it takes more than the 507 octets of an organizational TLV; holds how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("local: a DCBX TLV of {0} octets, an organizational TLV can hold 507")]
pub struct TooLong(pub usize);
