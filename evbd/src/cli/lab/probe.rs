//! Traffic ends that run inside a VM's namespace.

mod datagrams;
mod echo;
mod frames;
mod tcp;

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    path::PathBuf,
    time::Duration,
};

use clap::Subcommand;
use serde::Serialize;

pub(super) use datagrams::{CountResult, FloodResult};
use datagrams::{count, flood, shout};
pub(super) use echo::{Gap, PingResult, StreamResult, micros_since_1970};
use echo::{ping, stream};
pub(super) use frames::Seen;
use frames::{noise, tags};
pub(super) use tcp::TcpResult;
use tcp::{sink, source};

/// A traffic end; each prints one line of JSON when it is done.
#[derive(Subcommand)]
pub enum Probe {
    /// Send echo requests one after the other.
    Ping {
        /// Whom to ping.
        target: Ipv4Addr,
        /// How often.
        #[arg(long)]
        count: u16,
        /// How long to wait for each answer.
        #[arg(long, default_value_t = 1000)]
        timeout_ms: u64,
    },
    /// Send echo requests at a steady pace, whether answered or not.
    Stream {
        /// Whom to ping.
        target: Ipv4Addr,
        /// For how long.
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..=60))]
        seconds: u16,
    },
    /// Receive one TCP stream and check every octet.
    Sink {
        /// Where to listen; prints `ready` when it does.
        listen: SocketAddrV4,
    },
    /// Send a TCP stream.
    Source {
        /// Where the sink listens.
        target: SocketAddrV4,
        /// For how long.
        #[arg(long)]
        seconds: u16,
        /// No faster than this.
        #[arg(long)]
        mbit_s: Option<u32>,
    },
    /// Count datagrams.
    Count {
        /// Where to listen; prints `ready` when it does.
        listen: SocketAddrV4,
        /// For how long after the first one; left out: until a second has passed without any.
        #[arg(long)]
        seconds: Option<u16>,
    },
    /// Send datagrams at a steady pace.
    Flood {
        /// Where to.
        target: SocketAddrV4,
        /// For how long.
        #[arg(long)]
        seconds: u16,
        /// How fast.
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        mbit_s: u32,
    },
    /// Send datagrams to everybody, or to a group.
    Shout {
        /// Whose address they come from.
        from: Ipv4Addr,
        /// Where to.
        target: SocketAddrV4,
        /// How many.
        #[arg(long)]
        count: u16,
    },
    /// Look at frames, both ways, until standard input ends, and tell which tags they had.
    Tags {
        /// Of which interface.
        interface: String,
        /// Where to keep them, as pcap.
        #[arg(long)]
        file: PathBuf,
    },
    /// Send frames no sane peer would send.
    Noise {
        /// Out of which interface.
        interface: String,
        /// How many.
        #[arg(long)]
        frames: u64,
        /// Which ones.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

impl Probe {
    /// Plays the end.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::Tags { interface, file } => print(&tags(interface, file)?),
            Self::Ping { target, count, timeout_ms } => {
                print(&ping(*target, *count, Duration::from_millis(*timeout_ms))?)
            }
            Self::Sink { listen } => print(&sink(*listen)?),
            Self::Stream { target, seconds } => print(&stream(*target, *seconds)?),
            Self::Source { target, seconds, mbit_s } => {
                source(*target, Duration::from_secs(u64::from(*seconds)), *mbit_s)
            }
            Self::Count { listen, seconds } => print(&count(*listen, *seconds)?),
            Self::Flood { target, seconds, mbit_s } => print(&flood(*target, *seconds, *mbit_s)?),
            Self::Shout { from, target, count } => print(&shout(*from, *target, *count)?),
            Self::Noise { interface, frames, seed } => print(&noise(interface, *frames, *seed)?),
        }
    }
}

fn print<T: Serialize>(result: &T) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(result)?);
    Ok(())
}
