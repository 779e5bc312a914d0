//! The thread that tells devices what DCBX has come to: a driver may take seconds over it.

use std::{collections::BTreeMap, sync::mpsc as jobs};

use dcbx::Settings;
use hairpin::PortId;
use tokio::sync::mpsc;

use crate::{
    dcb::{DeviceReport, DeviceState},
    kernel::dcbnl::{Socket, apply},
};

/// The way to the thread; dropped, it ends.
pub(super) struct Devices(jobs::Sender<Job>);

struct Job {
    port: PortId,
    interface: String,
    settings: Settings,
    dry_run: bool,
}

impl Devices {
    /// Starts it; what came of each job is sent to `reports`.
    pub(super) fn start(reports: mpsc::Sender<(PortId, DeviceReport)>) -> anyhow::Result<Self> {
        let (sender, queue) = jobs::channel::<Job>();
        std::thread::Builder::new().name("devices".to_owned()).spawn(move || {
            let mut given = BTreeMap::new();
            for Job { port, interface, settings, dry_run } in queue {
                let ours = given.entry(interface.clone()).or_default();
                let report = match Socket::open(&interface) {
                    Ok(mut device) => apply(&mut device, &settings, ours, dry_run),
                    Err(error) => DeviceReport {
                        state: DeviceState::Failed,
                        changes: Vec::new(),
                        note: Some(error.to_string()),
                    },
                };
                if reports.blocking_send((port, report)).is_err() {
                    break;
                }
            }
        })?;
        Ok(Self(sender))
    }

    /// Has the device of `port` do as `settings`, after what it was asked before.
    pub(super) fn apply(&self, port: PortId, interface: &str, settings: Settings, dry_run: bool) {
        let job = Job { port, interface: interface.to_owned(), settings, dry_run };
        if self.0.send(job).is_err() {
            tracing::error!(interface, "the thread that tells devices has ended");
        }
    }
}
