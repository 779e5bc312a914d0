//! Ports whose frames the kernel forwards: what it is to do there, and the task that tells it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::Context;
use hairpin::{EdgeMode, PortId, VsiEntry, VsiKey};
use tokio::sync::mpsc;

use super::Daemon;
use crate::{
    config::Datapath,
    event::Event,
    input::{Input, Link},
    kernel::{
        forwarding::{BridgePort, GuestMode, bridge_port, guest},
        links::{MasterKind, Seen},
    },
};

/// What the kernel is to do. Told with [`KernelPlane::commit`].
pub(super) struct KernelPlane {
    jobs: mpsc::UnboundedSender<Job>,
    bridge: BTreeMap<PortId, BridgePort>,
    /// The addresses of open VSIs of a bridge.
    vsis: BTreeMap<VsiKey, (PortId, BTreeSet<ether::MacAddr>)>,
    /// The interfaces of open VSIs of a station.
    guests: BTreeMap<VsiKey, String>,
    mode: Option<GuestMode>,
    changed: BTreeSet<PortId>,
    guests_changed: bool,
}

enum Job {
    Bridge(PortId, BridgePort),
    /// A port is none of a bridge any more.
    Left(PortId),
    Guests(GuestMode, Vec<String>),
}

/// What came of it.
pub(super) enum Report {
    /// A port is so now, or the kernel did not have it so; and what somebody else had changed.
    Bridge(PortId, bool, Result<Vec<String>, String>),
    /// An interface of a VM was switched back, or cannot be switched.
    Guest(String, Result<Vec<String>, String>),
}

impl KernelPlane {
    /// Starts the task; what comes of what it does is sent to `reports`.
    pub(super) fn start(reports: mpsc::Sender<Report>) -> anyhow::Result<Self> {
        let (connection, handle, _) =
            rtnetlink::new_connection().context("cannot open a route netlink socket")?;
        tokio::spawn(connection);
        let (jobs, queue) = mpsc::unbounded_channel();
        tokio::spawn(work(handle, queue, reports));
        Ok(Self {
            jobs,
            bridge: BTreeMap::new(),
            vsis: BTreeMap::new(),
            guests: BTreeMap::new(),
            mode: None,
            changed: BTreeSet::new(),
            guests_changed: false,
        })
    }

    /// A port of a bridge is this now, or is none any more.
    pub(super) fn follow(&mut self, port: PortId, seen: &Seen, guard: bool) {
        let on_bridge =
            seen.master.as_ref().is_some_and(|master| matches!(master.kind, MasterKind::Bridge { .. }));
        let macs = self.macs(port);
        let wanted = self.bridge.entry(port).or_default();
        let (before, reflective) = (wanted.ifindex, wanted.reflective);
        let ifindex = match seen.link {
            Link::Present { ifindex, .. } if on_bridge => ifindex,
            _ => NONE,
        };
        *wanted = BridgePort { ifindex, guard, macs, reflective };
        if ifindex == NONE && before != NONE {
            self.send(Job::Left(port));
        } else {
            // Also unchanged: somebody may have changed it.
            self.changed.insert(port);
        }
    }

    /// Whether a port of a bridge is to reflect.
    pub(super) fn reflect(&mut self, port: PortId, on: bool) {
        self.bridge.entry(port).or_default().reflective = on;
        self.changed.insert(port);
    }

    /// The gate of a VSI is open; `guest` is the interface of its VM on a station.
    pub(super) fn open(&mut self, key: VsiKey, entry: &VsiEntry, guest: Option<String>) {
        if let Some(guest) = guest {
            self.guests.insert(key, guest);
            self.guests_changed = true;
            return;
        }
        let macs = entry.filters.iter().filter_map(|filter| filter.mac).collect();
        self.vsis.insert(key, (entry.port, macs));
        self.refresh(entry.port);
    }

    /// The gate of a VSI is shut.
    pub(super) fn close(&mut self, key: VsiKey) {
        self.guests.remove(&key);
        if let Some((port, _)) = self.vsis.remove(&key) {
            self.refresh(port);
        }
    }

    /// What a station's edge relay is. A guest that passes all through stays as it is.
    pub(super) fn set_mode(&mut self, mode: EdgeMode) {
        self.mode = match mode {
            EdgeMode::Vepa => Some(GuestMode::Vepa),
            EdgeMode::Veb => Some(GuestMode::Bridge),
            EdgeMode::Isolate | EdgeMode::Private => Some(GuestMode::Private),
            EdgeMode::Passthru | EdgeMode::Direct => None,
        };
        self.guests_changed = true;
    }

    /// Looks whether everything is as it was left.
    pub(super) fn sweep(&mut self) {
        self.changed.extend(self.bridge.keys());
        self.guests_changed = true;
        self.commit();
    }

    /// Undoes everything: the daemon ends for good.
    pub(super) fn undo(&mut self) {
        self.vsis.clear();
        for port in self.bridge.values_mut() {
            *port = BridgePort { ifindex: port.ifindex, guard: port.guard, ..BridgePort::default() };
        }
        self.changed.extend(self.bridge.keys());
        self.commit();
    }

    /// Has the kernel told what has changed.
    pub(super) fn commit(&mut self) {
        for port in std::mem::take(&mut self.changed) {
            if let Some(wanted) = self.bridge.get(&port).filter(|wanted| wanted.ifindex != NONE) {
                self.send(Job::Bridge(port, wanted.clone()));
            }
        }
        if std::mem::take(&mut self.guests_changed)
            && let Some(mode) = self.mode.filter(|_| !self.guests.is_empty())
        {
            self.send(Job::Guests(mode, self.guests.values().cloned().collect()));
        }
    }

    fn refresh(&mut self, port: PortId) {
        let macs = self.macs(port);
        if let Some(wanted) = self.bridge.get_mut(&port) {
            wanted.macs = macs;
            self.changed.insert(port);
        }
    }

    fn macs(&self, port: PortId) -> BTreeSet<ether::MacAddr> {
        self.vsis.values().filter(|(at, _)| *at == port).flat_map(|(_, macs)| macs).copied().collect()
    }

    fn send(&self, job: Job) {
        if self.jobs.send(job).is_err() {
            tracing::error!("the task that tells the kernel has ended");
        }
    }
}

impl Daemon {
    /// Whether the kernel forwards the frames of a port.
    pub(super) fn is_kernels(&self, port: PortId) -> bool {
        self.core.config().carrier.datapath(self.core.interface(port)) == Datapath::Kernel
    }

    /// The gate of a VSI is open, maybe on a port of the kernel's.
    pub(super) fn open_in_kernel(&mut self, key: VsiKey, entry: &VsiEntry) {
        if self.is_kernels(entry.port) {
            let station = self.core.config().station().is_some();
            let guest = station.then(|| self.core.interface(entry.port).to_owned());
            self.kernel.open(key, entry, guest);
        }
    }

    /// Takes up what came of telling the kernel.
    pub(super) fn hear_kernel(&mut self, report: Report) {
        match report {
            Report::Bridge(port, on, Ok(drift)) => {
                self.drifted(self.core.interface(port).to_owned(), drift);
                self.input(Input::ReflectiveApplied { port, on });
            }
            Report::Bridge(port, on, Err(error)) => {
                let name = self.core.interface(port).to_owned();
                self.publish(&Event::PortFailed { port: name, error });
                if on {
                    self.input(Input::ReflectiveApplied { port, on: false });
                }
            }
            Report::Guest(interface, Ok(drift)) => self.drifted(interface, drift),
            Report::Guest(port, Err(error)) => self.publish(&Event::PortFailed { port, error }),
        }
    }

    fn drifted(&mut self, port: String, what: Vec<String>) {
        if !what.is_empty() {
            self.publish(&Event::KernelDrift { port, what });
        }
    }
}

/// Tells the kernel, one thing after the other.
async fn work(
    handle: rtnetlink::Handle,
    mut jobs: mpsc::UnboundedReceiver<Job>,
    reports: mpsc::Sender<Report>,
) {
    let (mut bridge, mut reflects) = (HashMap::new(), HashMap::new());
    let mut guests: HashMap<String, GuestMode> = HashMap::new();
    while let Some(job) = jobs.recv().await {
        match job {
            Job::Bridge(port, wanted) => {
                let told = bridge_port(&handle, &wanted, bridge.entry(port).or_default()).await;
                let now = (wanted.reflective, told.is_ok());
                // At first it does not reflect, and nobody thinks it does.
                let news = reflects.insert(port, now).unwrap_or((false, true)) != now;
                let drifted = told.as_ref().is_ok_and(|drift| !drift.is_empty());
                if (news || drifted)
                    && reports.send(Report::Bridge(port, wanted.reflective, told)).await.is_err()
                {
                    return;
                }
            }
            Job::Left(port) => {
                bridge.remove(&port);
                let reflected = reflects.remove(&port).is_some_and(|(reflective, _)| reflective);
                if reflected && reports.send(Report::Bridge(port, false, Ok(Vec::new()))).await.is_err() {
                    return;
                }
            }
            Job::Guests(mode, names) => {
                guests.retain(|name, _| names.contains(name));
                for name in names {
                    let told = guest(&handle, &name, mode).await;
                    let left = guests.insert(name.clone(), mode);
                    let drift = match told {
                        Ok(Some(was)) if left == Some(mode) => {
                            Ok(vec![format!("its mode was {was:?}, not {mode:?}")])
                        }
                        Ok(_) => continue,
                        // Told once.
                        Err(_) if left == Some(mode) => continue,
                        Err(error) => Err(error),
                    };
                    if reports.send(Report::Guest(name, drift)).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

/// No interface has this number.
const NONE: u32 = 0;
