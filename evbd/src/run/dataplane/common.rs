//! What the relays of one daemon share: bounds, captures, memory, and what their workers report.

use anyhow::Context;
use carrier::Captures;
use hairpin::{Limits, PortId};
use tokio::sync::mpsc;

use crate::{config::Config, plane};

/// What all relays of the daemon have in common.
pub(in crate::run) struct Common {
    pub(super) limits: Limits,
    pub(super) captures: Captures,
    pub(super) events: std::sync::mpsc::SyncSender<carrier::Event>,
}

impl Common {
    /// And the faults that workers report.
    pub(in crate::run) fn start(config: &Config) -> anyhow::Result<(Self, mpsc::Receiver<Fault>)> {
        let limits = plane::limits(config, rand::random());
        let captures =
            Captures::start(config.carrier.captures.clone()).context("cannot write a [[capture]]")?;
        let (events_in, events) = std::sync::mpsc::sync_channel(WORKER_EVENTS);
        Ok((Self { limits, captures, events: events_in }, forward(events)?))
    }
}

/// Takes the worker's events over to the daemon's task. Dropping a failed port's socket here keeps the milliseconds its
/// closing takes away from both.
fn forward(events: std::sync::mpsc::Receiver<carrier::Event>) -> anyhow::Result<mpsc::Receiver<Fault>> {
    let (faults_in, faults) = mpsc::channel(WORKER_EVENTS);
    let pass = move || {
        for event in events {
            let fault = match event {
                carrier::Event::PortFailed { port, socket, error } => {
                    drop(socket);
                    Fault::Port(port, error.to_string())
                }
                carrier::Event::Died { cause } => Fault::Worker(cause),
            };
            if faults_in.blocking_send(fault).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("carrier-events".into()).spawn(pass)?;
    Ok(faults)
}

/// Something the data path cannot go on with.
pub(in crate::run) enum Fault {
    /// A port's interface went away or broke.
    Port(PortId, String),
    /// No port is served any more.
    Worker(String),
}

/// Worker events that may wait for the daemon.
const WORKER_EVENTS: usize = 256;

/// Slots of each of `rings` receive rings: an equal share of what all together may take, or none where that would be too
/// few to bridge a pause of the worker.
pub(super) fn ring_slots(mib: u32, rings: u32) -> u32 {
    let share = mib.saturating_mul(SLOTS_OF_MIB) / rings.max(1);
    match share.min(LARGEST_RING) {
        ..SMALLEST_RING => 0,
        slots => 1 << slots.ilog2(),
    }
}

/// Octets that each of `threads` threads has for xdp ports, of so many MiB.
pub(super) fn xdp_memory(mib: u32, threads: usize) -> u32 {
    let share = mib / u32::try_from(threads).unwrap_or(u32::MAX).max(1);
    // An offset into it has 32 bits.
    share.min(2048) << 20
}

const SLOTS_OF_MIB: u32 = (1 << 20) / carrier::Options::SLOT;

const LARGEST_RING: u32 = 4096;

const SMALLEST_RING: u32 = 1024;
