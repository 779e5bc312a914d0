//! Moves frames between network interfaces for the relay.
//!
//! Three things:
//! * [`Port`]: a port of the relay. Takes every frame of its interface and sends the relay's copies, in batches. On a
//!   packet socket ([`PacketPort`]) what the kernel postponed is kept: super-frames and unfinished checksums cross it as
//!   they are. On AF_XDP sockets ([`XdpPort`]) frames cost less, super-frames are cut and checksums are finished.
//! * [`Worker`]: a thread that asks [`hairpin::Relay`] about each frame of its ports and sends the copies.
//! * [`Schedule`]: queues of a port that sends less than it is given, by rate or because the kernel takes no more.
//! * [`FastPath`]: has the kernel forward frames whose way is settled.
//! * [`ControlSocket`]: LLDP and ECP of one interface; [`LeakBlock`] keeps a kernel bridge from forwarding them.
//!
//! **Punted frames.** Where the relay says [`hairpin::Outcome::Punt`] the worker does nothing further. The kernel gives
//! every packet socket its own copy of a frame, and an [`XdpPort`] leaves such frames to the kernel, so the interface's [`ControlSocket`] has it already; handing it up a
//! second time would only double it.
//!
//! The only crate of evbd with `unsafe`, all of it in the module `sys`.

pub mod batch;
pub mod capture;
pub mod clock;
pub mod control;
pub mod error;
pub mod fast;
pub mod frame;
pub mod leak;
pub mod packet;
pub mod port;
pub mod schedule;
pub mod stats;
pub mod worker;
pub mod xdp;

mod assembler;
mod checksum;
mod filter;
mod segment;
mod socket;
#[allow(unsafe_code)]
mod sys;
mod tagger;
mod vnet;

pub use batch::{Batch, Sent, TxQueue};
pub use capture::{CaptureOptions, CaptureStats, Captures};
pub use control::{ControlSocket, Listen, Received};
pub use error::{OpenError, PortError, Step};
pub use fast::{FastPath, FlowRow, FlowState};
pub use frame::{ChannelTags, RxError, RxFrame};
pub use leak::{Blocked, LeakBlock};
pub use packet::{ChannelFilter, Options, PacketPort, ifindex};
pub use port::Port;
pub use schedule::{Plan, PriorityCounters, Schedule};
pub use stats::PortStats;
pub use vnet::VnetHdr;
pub use worker::{Event, Worker, WorkerError, WorkerHandle, WorkerOptions};
pub use xdp::{XdpMode, XdpOptions, XdpPort};
