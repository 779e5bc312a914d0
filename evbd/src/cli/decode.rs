//! `evbd decode`: frames in words, from hexadecimal text, a capture, or an interface.

use std::{
    fs::File,
    io::{self, BufReader, Read, Write},
    os::fd::{AsFd, AsRawFd, RawFd},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use carrier::{Batch, Options, PacketPort, RxFrame};
use clap::Args;
use serde::Serialize;
use tokio::{io::unix::AsyncFd, signal::ctrl_c};

use super::clock;
use crate::decode::{Capture, Decoded, decode_cut, frames};

/// Say what frames mean: LLDP with every TLV known here, ECP, VDP, and what came before them.
#[derive(Args)]
pub(super) struct Decode {
    /// A frame in hexadecimal, from its destination address on; separators do not matter. Without any, and without
    /// --pcap or --live, frames are read from standard input, one a line.
    #[arg(value_name = "HEX", conflicts_with_all = ["pcap", "live"])]
    hex: Vec<String>,
    /// Read a pcap or pcapng capture; - is standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "live")]
    pcap: Option<PathBuf>,
    /// Listen to an interface, both ways, as tcpdump does; needs CAP_NET_RAW.
    #[arg(long, value_name = "IFACE")]
    live: Option<String>,
    /// Leave out frames of other protocols.
    #[arg(long)]
    only_ours: bool,
    /// Below each line show every field.
    #[arg(short, long)]
    verbose: bool,
    /// Print JSON, a frame a line.
    #[arg(long, conflicts_with = "verbose")]
    json: bool,
    /// End after so many frames.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

impl Decode {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let mut printer = Printer { told: 0, options: &self };
        match (&self.pcap, &self.live) {
            (Some(file), _) => capture(file, &mut printer),
            (None, Some(interface)) => live(interface, &mut printer).await,
            (None, None) => text(&self.hex, &mut printer),
        }
    }
}

fn text(arguments: &[String], printer: &mut Printer<'_>) -> anyhow::Result<()> {
    let text = if arguments.is_empty() {
        io::read_to_string(io::stdin().lock()).context("cannot read standard input")?
    } else {
        arguments.join(" ")
    };
    let mut wrong = 0;
    for frame in frames(&text) {
        match frame {
            Ok(frame) => {
                if !printer.tell(None, &frame, frame.len())? {
                    return Ok(());
                }
            }
            Err(error) => {
                eprintln!("evbd: {error}");
                wrong += 1;
            }
        }
    }
    anyhow::ensure!(wrong == 0, "{wrong} lines are no frames");
    Ok(())
}

fn capture(path: &Path, printer: &mut Printer<'_>) -> anyhow::Result<()> {
    let shown = || path.display().to_string();
    let input: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(path).with_context(shown)?))
    };
    for record in Capture::new(input).with_context(shown)? {
        let record = record.with_context(shown)?;
        if !printer.tell(record.at, &record.frame, record.length)? {
            break;
        }
    }
    Ok(())
}

async fn live(interface: &str, printer: &mut Printer<'_>) -> anyhow::Result<()> {
    let options = Options { outgoing: true, ..Options::default() };
    let mut tap = watched(PacketPort::open(interface, &options)?)?;
    let mut batch = Batch::new();
    eprintln!("evbd: listening on {interface}");
    loop {
        let mut ready = tokio::select! {
            ready = tap.readable_mut() => ready?,
            stop = ctrl_c() => return Ok(stop?),
        };
        if ready.get_inner_mut().0.receive(&mut batch)? == 0 {
            ready.clear_ready();
            continue;
        }
        for frame in batch.frames().filter_map(Result::ok) {
            let octets = whole(&frame);
            if !printer.tell(Some(clock::now()), &octets, octets.len())? {
                return Ok(());
            }
        }
    }
}

/// Its replacement is `unsafe`, for types that could give their descriptor away; a [`PacketPort`] owns its own from
/// `open` to `drop`.
#[allow(deprecated)]
fn watched(port: PacketPort) -> io::Result<AsyncFd<Tap>> {
    AsyncFd::new(Tap(port))
}

/// The frame as it was on the wire.
fn whole(frame: &RxFrame<'_>) -> Vec<u8> {
    let tag = frame.tag.map(ether::Tag::to_bytes);
    [frame.addresses.as_slice(), tag.as_ref().map_or(&[], |tag| tag.as_slice()), frame.rest].concat()
}

struct Tap(PacketPort);

impl AsRawFd for Tap {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

struct Printer<'a> {
    told: u64,
    options: &'a Decode,
}

/// A frame as `--json` prints it.
#[derive(Serialize)]
struct Row<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(flatten)]
    decoded: &'a Decoded,
}

impl Printer<'_> {
    /// Prints a frame that had `length` octets; whether more are wanted.
    fn tell(&mut self, at: Option<Duration>, frame: &[u8], length: usize) -> anyhow::Result<bool> {
        let decoded = decode_cut(frame, length);
        let more = |told: u64| self.options.count.is_none_or(|count| told < count);
        if !more(self.told) {
            return Ok(false);
        }
        if self.options.only_ours && !decoded.protocol.is_ours() {
            return Ok(true);
        }
        let mut out = io::stdout().lock();
        if self.options.json {
            let row = Row { time: at.map(clock::date_and_time), decoded: &decoded };
            writeln!(out, "{}", serde_json::to_string(&row)?)?;
        } else {
            if let Some(at) = at {
                write!(out, "{} ", clock::time_of_day(at))?;
            }
            writeln!(out, "{}", decoded.line)?;
            if self.options.verbose {
                write!(out, "{}", decoded.fields.indented(4))?;
            }
        }
        out.flush()?;
        self.told += 1;
        Ok(more(self.told))
    }
}
