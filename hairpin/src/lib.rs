//! The relay decision of evbd: frames in, verdicts out.
//!
//! No I/O, no clock, no protocol. [`control::Control`] is the model the daemon edits; it builds immutable
//! [`snapshot::Snapshot`]s. Workers call [`switch::Relay::process`] with one of them, a frame and the time, and
//! get a [`verdict::Verdict`]: where copies go, or why none does. One function per step, one file per step:
//! classify → filter → police → learn → fdb or flood → reflect → groups → police → egress → extend → verdict. Nothing on
//! that path allocates or locks. [`switch::Relay::trace`] goes the same way and tells each step. A port extender knows
//! only E-channels: [`extend`].

pub mod control;
pub mod extend;
pub mod fdb;
pub mod lag;
pub mod lasting;
pub mod policy;
pub mod port;
pub mod recent;
pub mod shared;
mod snapshot;
pub mod stats;
pub mod svlan;
pub mod switch;
pub mod trace;
pub mod verdict;

mod acl;
mod bucket;
mod classify;
mod egress;
mod filter;
mod flood;
mod groups;
mod l3;
mod learn;
#[cfg(all(test, loom))]
mod models;
mod police;
mod reflect;
mod row;
mod snoop;
mod sync;
mod vsi;

pub use control::{Control, ControlError, VsiEntry, VsiFilter, VsiKey};
pub use extend::{Extension, Parameters, Via};
pub use fdb::{Fdb, FdbEntry, Origin};
pub use lag::LagId;
pub use lasting::{Flow, Keeper, Passing};
pub use policy::Policy;
pub use port::{PortConfig, PortId, Role, Storm};
pub use recent::{Move, MoveKind, RecentDrop};
pub use snapshot::{EdgeMode, RelayKind, Snapshot};
pub use stats::{PortCounters, Stats};
pub use svlan::SvlanComponent;
pub use switch::{Frame, Limits, Relay};
pub use trace::{Step, Trace};
pub use verdict::{Copy, Direction, DropReason, MirrorCopy, MirrorTarget, Outcome, PuntReason, Verdict};
pub use vsi::VsiCounters;
