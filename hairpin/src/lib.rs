//! The relay decision of evbd: frames in, verdicts out.
//!
//! No I/O, no clock, no protocol. [`control::Control`] is the model the daemon edits; it builds immutable
//! [`snapshot::Snapshot`]s. Workers call [`switch::Relay::process`] with one of them, a frame and the time, and
//! get a [`verdict::Verdict`]: where copies go, or why none does. One function per step, one file per step:
//! classify → filter → learn → fdb or flood → reflect → egress → verdict. Nothing on that path allocates or locks.

pub mod control;
pub mod fdb;
pub mod policy;
pub mod port;
pub mod snapshot;
pub mod stats;
pub mod switch;
pub mod verdict;

mod classify;
mod egress;
mod filter;
mod flood;
mod learn;
mod reflect;

pub use control::{Control, ControlError, VsiEntry, VsiFilter, VsiKey};
pub use fdb::{Fdb, FdbEntry, Origin};
pub use policy::Policy;
pub use port::{PortConfig, PortId, Role};
pub use snapshot::{EdgeMode, RelayKind, Snapshot};
pub use stats::{PortCounters, Stats};
pub use switch::{Frame, Limits, Relay};
pub use verdict::{Copy, DropReason, Outcome, PuntReason, Verdict};
