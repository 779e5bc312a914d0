//! IEEE 802.1Q clause 42: S-channels, their TLV and their configuration.
//!
//! [`Cdcp`] has the shape of every engine here: inputs with the time, then [`Cdcp::poll_output`] until it is empty, and
//! [`Cdcp::poll_timeout`].

pub mod error;
pub mod machine;
pub mod pool;
pub mod tlv;

pub use error::{CdcpTlvError, ChannelError};
pub use machine::{Absence, Cdcp, Output, State};
pub use pool::Pool;
pub use tlv::{CdcpTlv, Channel, ChannelCapacity, Channels, OUI, Role, SUBTYPE, Scid, Svid};
