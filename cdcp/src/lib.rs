//! IEEE 802.1Q clause 42: the CDCP TLV of S-channels.

pub mod error;
pub mod tlv;

pub use error::{CdcpTlvError, ChannelError};
pub use tlv::{CdcpTlv, Channel, ChannelCapacity, Channels, OUI, Role, SUBTYPE, Scid, Svid};
