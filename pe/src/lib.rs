//! IEEE 802.1BR: the Port Extension TLV.

pub mod tlv;

pub use tlv::{CascadePriority, OUI, PortExtensionTlv, SUBTYPE, ShortPortExtensionTlv};
