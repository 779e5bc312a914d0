//! What there is to see of a relay and what moves its frames.

use std::{collections::HashMap, path::Path};

use carrier::{CaptureStats, FlowRow, PortStats};
use hairpin::{FdbEntry, PortCounters, PortId, Relay, VsiEntry, VsiKey, policy::CaptureId};
use serde::Serialize;

use super::Dataplane;
use crate::run::{carriers::Carried, classes::ClassRow};

/// A file that mirrored frames are written to.
#[derive(Debug, Serialize)]
pub(crate) struct CaptureRow<'a> {
    capture: CaptureId,
    file: Option<&'a Path>,
    #[serde(flatten)]
    stats: CaptureStats,
}

impl Dataplane {
    /// What the kernel forwards, or may.
    pub(crate) fn flows(&self) -> Vec<FlowRow> {
        self.fast.as_ref().map(|fast| fast.flows()).unwrap_or_default()
    }

    /// What the port may send, in bits per second, and its traffic classes.
    pub(crate) fn classes(&self, port: PortId) -> (Option<u64>, Vec<ClassRow>) {
        (self.classes.rate(port), self.classes.rows(port))
    }

    /// Files for mirrored frames, and what became of those.
    pub(crate) fn captures(&self) -> impl Iterator<Item = CaptureRow<'_>> {
        let file = |id| self.carrier.captures.get(&id).map(|options| options.file.as_path());
        self.captures.stats().into_iter().map(move |(capture, stats)| CaptureRow {
            capture,
            file: file(capture),
            stats,
        })
    }

    /// What serves a port.
    pub(crate) fn carried(&self, port: PortId) -> Option<Carried> {
        let kernel = self.kernel.get(&port).map(|because| Carried::by_kernel(because));
        kernel.or_else(|| self.serving.get(&port).map(|serving| serving.carried.clone()))
    }

    /// Why a port is not served.
    pub(crate) fn fault(&self, port: PortId) -> Option<String> {
        self.faults.get(&port).cloned()
    }

    /// The relay, to look at.
    pub(crate) fn relay(&self) -> &Relay {
        self.plane.relay()
    }

    /// What an open gate lets pass.
    pub(crate) fn gate(&self, key: VsiKey) -> Option<VsiEntry> {
        self.plane.control().vsis().find(|(of, _)| *of == key).map(|(_, entry)| entry.clone())
    }

    pub(crate) fn counters(&self, port: PortId) -> Option<PortCounters> {
        self.plane.relay().stats().port(port)
    }

    /// What the carrier counts, port by port.
    pub(crate) fn carrier_stats(&self) -> HashMap<PortId, PortStats> {
        self.worker.stats().unwrap_or_default().into_iter().collect()
    }

    pub(crate) fn fdb(&self) -> Vec<FdbEntry> {
        self.plane.relay().fdb_entries(carrier::clock::now())
    }
}
