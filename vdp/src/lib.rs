//! IEEE 802.1Q clauses 40 and 41: EVB negotiation and VSI discovery, sans-IO.
//!
//! [`evb`] turns the EVB TLVs of LLDP into reflective relay and the timers of VDP. [`Station`] and [`Bridge`] are the
//! two ends of VDP on one port: they hold the machines of all its VSIs and exchange VDPDUs ([`tlv`]) over an
//! [`ecp::Link`].
//!
//! All of them are driven alike: hand in what happened (`handle_*`, commands), then drain `poll_output` until it is
//! empty, then sleep until `poll_timeout` and call `handle_timeout`. Time comes in as a value.

pub mod bridge;
pub mod draft;
pub mod error;
pub mod evb;
pub mod filter;
pub mod history;
pub mod outbox;
mod schedule;
pub mod station;
pub mod stats;
pub mod timing;
pub mod tlv;
pub mod vsi;

pub use bridge::Bridge;
pub use error::ErrorCode;
pub use filter::{FilterEntry, FilterFormat, FilterInfo, GroupId};
pub use history::History;
pub use outbox::{Message, Outbox};
pub use station::Station;
pub use timing::Timing;
pub use tlv::{Command, Hints};
pub use vsi::{ManagerId, TypeId, TypeVersion, VsiId};

#[cfg(test)]
mod tests;
