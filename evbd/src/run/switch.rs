//! The task that takes interfaces down and brings them up, one after the other, in the order that was asked for.

use std::time::Duration;

use tokio::{sync::mpsc, task::JoinHandle, time};

use crate::kernel::links::Switcher;

/// The way to the task.
pub(super) struct Switch {
    jobs: mpsc::UnboundedSender<Job>,
    task: JoinHandle<()>,
    boot: String,
}

struct Job {
    interface: String,
    ifindex: u32,
    up: bool,
}

impl Switch {
    /// Starts it.
    pub(super) fn start(switcher: Switcher) -> Self {
        // Not more than one for each interface wait, but for those that come and go.
        let (jobs, mut queue) = mpsc::unbounded_channel::<Job>();
        let task = tokio::spawn(async move {
            while let Some(Job { interface, ifindex, up }) = queue.recv().await {
                let state = if up { "up" } else { "down" };
                match switcher.set(ifindex, up).await {
                    Ok(()) => tracing::info!(interface, "set {state}"),
                    // One that has gone meanwhile is neither.
                    Err(error) => tracing::warn!(interface, %error, "cannot be set {state}"),
                }
            }
        });
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self { jobs, task, boot: boot.trim().to_owned() }
    }

    /// What tells the interface of this number from all others, here or before a boot.
    pub(super) fn identity(&self, ifindex: u32) -> String {
        format!("{ifindex} {}", self.boot)
    }

    /// Has an interface go up or down, if there is one of that identity.
    pub(super) fn set(&self, interface: String, identity: &str, up: bool) {
        let ifindex = identity.split_once(' ').filter(|(_, boot)| *boot == self.boot);
        if let Some(ifindex) = ifindex.and_then(|(ifindex, _)| ifindex.parse().ok()) {
            // It ends with the daemon.
            let _ = self.jobs.send(Job { interface, ifindex, up });
        }
    }

    /// Waits until all is done that was asked for.
    pub(super) async fn end(self) {
        drop(self.jobs);
        if time::timeout(FAREWELL, self.task).await.is_err() {
            tracing::error!("interfaces that were taken down may still be");
        }
    }
}

/// How long all that waits may take when the daemon ends.
const FAREWELL: Duration = Duration::from_secs(5);
