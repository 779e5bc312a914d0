//! evbd: IEEE 802.1Qbg stations and bridges.
//!
//! [`Core`] is the daemon without I/O: every input is an [`Input`], every wish an [`Effect`]. [`run`] drives it with
//! sockets and threads; [`cli`] is the command line. `docs/architecture.md` draws the whole.

mod announce;
pub mod api;
mod channels;
pub mod cli;
pub mod config;
mod core;
mod csp;
mod dcb;
pub mod decode;
mod describe;
mod dialect;
mod dispatch;
mod edge;
mod effect;
mod event;
mod extension;
pub mod guests;
mod herald;
mod input;
mod kernel;
mod leave;
pub mod libvirt;
mod loss;
mod names;
mod order;
mod plane;
mod plug;
mod port;
mod probe;
mod record;
mod reload;
pub mod replay;
mod run;
mod state;
mod view;
pub mod vsidb;
mod wiring;

pub use crate::{
    config::{Config, ConfigError},
    core::Core,
    dcb::{DeviceReport, DeviceState, Target},
    effect::Effect,
    event::Event,
    input::{Input, Link, PortId},
    order::{VsiOrder, Which},
    plane::Plane,
    port::PortKind,
    probe::Proof,
    record::{FORMAT, Header},
    run::run,
    state::{Agreed, Record, RecordKey},
};
