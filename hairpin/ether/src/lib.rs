//! Ethernet values shared by every crate of evbd.
//!
//! A leaf: no protocol, no I/O, no clock. Addresses are pnet's [`MacAddr`]; everything else is a small value
//! type whose illegal states cannot be written down.

pub mod channel;
pub mod etag;
pub mod ethertype;
pub mod frame;
pub mod mac;
pub mod priority;
pub mod tag;
pub mod time;
pub mod vlan;
pub mod vntag;
mod wire_enum;

pub use channel::{ChannelTag, ChannelTagError, DownTag, ECid, Framing, Pcid, ShortECid, TagOctets, UpTag};
pub use etag::ETag;
pub use ethertype::EtherType;
pub use frame::FrameView;
pub use mac::MacAddr;
pub use priority::PrioritySet;
pub use tag::Tag;
pub use time::{Instant, TimerTable};
pub use vlan::{Dei, Pcp, Vid};
pub use vntag::VnTag;
