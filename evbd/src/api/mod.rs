//! The control interface: D-Bus, spoken peer to peer on a Unix socket so that it needs no bus, and on a bus where the
//! configuration names one. The command line uses the socket and nothing else. `docs/dbus.md` is its reference.
//!
//! `schema` says what there is, `calls` reads what is asked, `access` says who may, `answer` answers. `server` and `bus`
//! bring calls, `watcher` tells of changes. Calls wait in bounded queues for the daemon's loop, which takes one at a time
//! between its other inputs: no client holds the engines up.
//!
//! Rows are `a{sv}` dictionaries with the field names of the structs in `view.rs`; a field without a value is
//! left out. `--json` prints the same rows.

mod access;
mod answer;
mod bus;
mod calls;
mod client;
mod error;
mod hear;
mod introspect;
mod objects;
mod paths;
pub(crate) mod schema;
mod server;
mod variant;
mod watcher;

pub(crate) use answer::{About, Request};
pub use client::Client;
pub use hear::hear;
pub(crate) use objects::{Object, Which};
pub(crate) use paths::Place;
pub(crate) use server::Server;

use clap::ValueEnum;
use serde::Serialize;

/// Where the daemon listens unless the configuration says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/evbd.sock";
/// Name on a bus.
pub const SERVICE: &str = "org.evbd";
/// Version of the rows' fields; fields are added within a version, never renamed or removed.
pub const SCHEMA: u32 = 1;

/// A table the daemon can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Table {
    /// LLDP neighbours.
    Neighbors,
    /// EVB negotiation per port.
    Evb,
    /// S-channels, those wanted and not there too.
    Channels,
    /// Sessions of port extension: controlling bridges and port extenders.
    Extension,
    /// VSIs and their state.
    Vsi,
    /// Interfaces, relay mode and frame counters.
    Ports,
    /// DCBX: a row for each feature of each port.
    Dcbx,
    /// Addresses the relay forwards by.
    Fdb,
    /// VSI types and what they permit.
    Profiles,
    /// VSI managers asked for types.
    Managers,
    /// The frames dropped last, and why.
    Drops,
    /// Frames and octets a second, of ports and VSIs.
    Rates,
    /// Files that mirrored frames are written to.
    Captures,
    /// What libvirt has asked for its guests, and what it was told.
    Libvirt,
    /// Interfaces of VMs that the hypervisor, or their names, say something of.
    Guests,
    /// Flows that the kernel forwards.
    Flows,
}

impl Table {
    /// The name of its rows in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Neighbors => "neighbors",
            Self::Evb => "evb",
            Self::Channels => "channels",
            Self::Extension => "extension",
            Self::Vsi => "vsi",
            Self::Ports => "ports",
            Self::Dcbx => "dcbx",
            Self::Fdb => "fdb",
            Self::Profiles => "profiles",
            Self::Managers => "managers",
            Self::Drops => "drops",
            Self::Rates => "rates",
            Self::Captures => "captures",
            Self::Libvirt => "libvirt",
            Self::Guests => "guests",
            Self::Flows => "flows",
        }
    }
}
