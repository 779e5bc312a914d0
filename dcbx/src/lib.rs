//! The DCBX TLVs: of IEEE 802.1Q clauses 37, 38 and D.2 in [`ieee`], of what came before them in [`cee`].
//!
//! Codecs only. What is read are the octets after OUI and subtype of an organizational TLV, what is written are the
//! same. Octets after those known are ignored, so that a later edition may append to a TLV.

pub mod cee;
pub mod error;
pub mod ieee;
pub mod priority;
mod protocol;
mod wire;

pub use error::{CeeError, IeeeError, TooLong, TooManyApplications};
pub use priority::{PrioritySet, PriorityTable};
