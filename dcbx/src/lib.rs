//! DCBX: the TLVs of IEEE 802.1Q clauses 37, 38 and D.2 in [`ieee`], those that came before them in [`cee`], and
//! [`Dcbx`], which speaks both on one port and says what is operational, and why.
//!
//! The codecs read the octets after OUI and subtype of an organizational TLV, and write the same. Octets after those
//! known are ignored, so that a later edition may append to a TLV.

pub mod cee;
pub mod config;
pub mod error;
pub mod ieee;
mod machine;
pub mod oper;
mod peer;
pub mod priority;
mod protocol;
mod said;
pub mod select;
mod stats;
mod weigh;
mod wire;

pub use config::{Config, DialectChoice, Mode, OnPeerLoss, Rule};
pub use error::{CeeError, IeeeError, TooLong, TooManyApplications};
pub use machine::{Dcbx, Handshake, Output, Peer, Settings, Status};
pub use oper::{Because, Feature};
pub use priority::{PrioritySet, PriorityTable};
pub use select::{Dialect, Evidence};
pub use stats::Stats;
