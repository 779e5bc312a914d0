//! What can be wrong with a VDPDU and its TLVs, and the error codes of VDP in words [Q 41.2.3].

use lldp::tlv::PeerTlvError;
use serde::Serialize;

ether::wire_enum! {
    /// The error field of a response: four bits on the wire.
    pub enum ErrorCode: u8 {
        /// The command was carried out.
        Success = 0,
        /// The request could not be read.
        InvalidFormat = 1,
        /// The bridge lacks table space, bandwidth or the like.
        InsufficientResources = 2,
        /// The bridge cannot reach the VSI manager.
        ManagerUnreachable = 3,
        /// Anything else, such as a type that does not exist or a policy that forbids it.
        OtherFailure = 4,
        /// A VID, GroupID or MAC address that cannot be or is not permitted.
        InvalidVidGroupOrMac = 5,
    }
}

impl ErrorCode {
    /// The code in words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::InvalidFormat => "invalid format",
            Self::InsufficientResources => "insufficient resources",
            Self::ManagerUnreachable => "unable to contact the VSI manager",
            Self::OtherFailure => "other failure",
            Self::InvalidVidGroupOrMac => "invalid VID, GroupID or MAC address",
            Self::Unknown(_) => "reserved error code",
        }
    }
}

impl core::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} (error {})", self.words(), u8::from(*self))
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(u8::from(*self))
    }
}

/// Why a whole VDPDU is dropped. The peer is to blame for every one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PduError {
    /// The TLVs cannot be told apart: one is cut short.
    #[error(transparent)]
    Tlv(#[from] PeerTlvError),
    /// The first TLV is not a VSI manager ID; holds the type found, none in an empty PDU.
    #[error("peer: a VDPDU starts with TLV type {0:?} instead of the VSI manager ID (5)")]
    NoManager(Option<u8>),
    /// The VSI manager ID has another length than 16; holds it.
    #[error("peer: a VSI manager ID of {0} octets instead of 16")]
    ManagerLength(usize),
    /// There is a second VSI manager ID.
    #[error("peer: a VDPDU with more than one VSI manager ID")]
    SecondManager,
}

/// Why one TLV of a VDPDU cannot be used. The others of the PDU are not affected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlvError {
    /// An association TLV shorter than its fixed part of 23 octets; holds its length. It cannot be answered.
    #[error("peer: an association TLV of {0} octets, its fixed part takes 23")]
    Short(usize),
    /// An organizationally defined TLV without room for its OUI; holds its length.
    #[error("peer: an organizationally defined TLV of {0} octets, its OUI takes 3")]
    ShortOrganizational(usize),
    /// The VSIID format is not one of 1 to 5.
    #[error("peer: unknown VSIID format {0}")]
    VsiIdFormat(u8),
    /// The filter info is wrong.
    #[error(transparent)]
    Filter(#[from] FilterError),
}

/// Why filter info cannot be used, received or built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum FilterError {
    /// No entry, and the command needs one.
    #[error("no filter entry")]
    Empty,
    /// The format is not one of 1 to 4. UNSURE-6: later editions define more.
    #[error("unknown filter info format {0}")]
    Format(u8),
    /// The entries do not take the octets there are.
    #[error("{entries} filter entries of {size} octets do not fill {octets} octets")]
    Length {
        /// The number of entries named.
        entries: u16,
        /// Octets of one entry in this format.
        size: u8,
        /// Octets found.
        octets: usize,
    },
    /// More entries than one TLV can hold.
    #[error("{0} filter entries do not fit into one TLV")]
    TooMany(usize),
    /// The entries are not all of one format.
    #[error("filter entries of different formats")]
    Mixed,
    /// VID 4095.
    #[error("reserved VID 4095")]
    ReservedVid,
    /// GroupID 0.
    #[error("GroupID 0")]
    ZeroGroup,
    /// A group address or the zero address where a station's is needed.
    #[error("MAC address that is zero or a group address")]
    NoStationMac,
    /// More than one null VID in a filter that has nothing but VIDs.
    #[error("more than one null VID in a list of VIDs")]
    SeveralNullVids,
}

impl TlvError {
    /// What the bridge answers.
    #[must_use]
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::Short(_) | Self::ShortOrganizational(_) | Self::VsiIdFormat(_) => ErrorCode::InvalidFormat,
            Self::Filter(error) => error.code(),
        }
    }
}

impl FilterError {
    /// What the bridge answers.
    #[must_use]
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::Empty | Self::Format(_) | Self::Length { .. } | Self::TooMany(_) | Self::Mixed => {
                ErrorCode::InvalidFormat
            }
            Self::ReservedVid | Self::ZeroGroup | Self::NoStationMac | Self::SeveralNullVids => {
                ErrorCode::InvalidVidGroupOrMac
            }
        }
    }
}
