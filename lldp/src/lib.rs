//! IEEE 802.1AB: LLDP agents and codecs, sans-IO.
//!
//! An [`Agent`] is one port at one [`Scope`]. It is told what arrives and what time it is, and says what to send and
//! what became of its neighbours. Organizational TLVs go through it unread, by [`OrgKey`]: EVB, CDCP and DCBX are
//! other crates. [`Content`] reads those that only describe. [`tlv`] is the TLV of all of them and knows no LLDP.

pub mod agent;
pub mod basic;
pub mod content;
pub mod dot1;
pub mod dot3;
pub mod error;
pub mod med;
pub mod mib;
pub mod org;
pub mod pdu;
mod rx;
pub mod scope;
pub mod stats;
pub mod tlv;
mod tx;
pub mod txtimer;

pub use agent::{AdminStatus, Agent, AgentConfig, Output};
pub use basic::{ChassisId, PortId};
pub use content::Content;
pub use mib::{LocalInfo, Neighbor, NeighborEvent};
pub use org::{OrgKey, OrgTlv, Oui};
pub use pdu::{Lldpdu, Msap};
pub use scope::Scope;
pub use stats::Counters;
pub use txtimer::{Timing, TimingParams};
