//! The relay and the thread that moves frames through it, edited by the core's effects.

use std::{collections::HashMap, sync::Arc};

use anyhow::Context;
use carrier::{PacketPort, Worker, WorkerHandle};
use hairpin::{
    Control, ControlError, EdgeMode, FdbEntry, Limits, PortConfig, PortCounters, PortId, Relay, RelayKind,
    Role, VsiEntry, VsiKey,
};
use tokio::sync::mpsc;

use crate::{
    config::{BridgePort, BridgePortKind, Config, RoleConfig},
    input::Link,
    wiring,
};

/// Ports the relay knows, the kernel's sockets behind them, and the worker.
pub(crate) struct Dataplane {
    control: Control,
    relay: Arc<Relay>,
    worker: WorkerHandle,
    /// Interface number of each port the worker serves.
    serving: HashMap<PortId, u32>,
    faults: HashMap<PortId, String>,
}

impl Dataplane {
    /// The relay of `config` with its worker, and the faults the worker reports.
    pub(super) fn start(config: &Config) -> anyhow::Result<(Self, mpsc::Receiver<Fault>)> {
        let ports = port_configs(config);
        let limits = Limits {
            ports: u16::try_from(ports.len()).context("too many ports")?,
            fdb_entries: config.relay.fdb_entries,
            fdb_ageing: config.relay.ageing_s,
            hash_seed: rand::random(),
            ..Limits::default()
        };
        let relay = Arc::new(Relay::new(limits));
        let kind = match &config.role {
            RoleConfig::Bridge(_) => RelayKind::Bridge,
            RoleConfig::Station(_) => RelayKind::Edge(wiring::wanted_relay(config, None).0),
        };
        let mut control = Control::new(kind, &limits);
        for port in ports {
            control.set_port(port)?;
        }
        let (events_in, events) = std::sync::mpsc::sync_channel(WORKER_EVENTS);
        let worker = Worker::spawn(Arc::clone(&relay), events_in)?;
        let faults = forward(events)?;
        let dataplane = Self { control, relay, worker, serving: HashMap::new(), faults: HashMap::new() };
        dataplane.publish();
        Ok((dataplane, faults))
    }

    /// Starts or stops moving frames of a port as its interface comes up or goes. An error is worth an event.
    pub(super) fn follow(&mut self, port: PortId, interface: &str, link: &Link) -> Option<String> {
        let ifindex = match link {
            Link::Present { up: true, ifindex, .. } => *ifindex,
            Link::Present { up: false, .. } => {
                // A packet socket that has seen its interface go down is of no use any more.
                self.stop(port);
                self.faults.remove(&port);
                return None;
            }
            Link::Absent => {
                self.stop(port);
                self.faults.insert(port, format!("interface {interface} does not exist"));
                return None;
            }
        };
        if self.serving.get(&port) == Some(&ifindex) {
            return None;
        }
        self.stop(port);
        match self.serve(port, interface) {
            Ok(()) => {
                self.serving.insert(port, ifindex);
                self.faults.remove(&port);
                self.set_up(port, true);
                None
            }
            Err(error) => {
                let error = format!("{error:#}");
                self.faults.insert(port, error.clone());
                Some(error)
            }
        }
    }

    /// The worker says it gave a port up. False if that is old news: the port is served again since.
    pub(super) fn failed(&mut self, port: PortId, error: &str) -> bool {
        if self.worker.stats().is_ok_and(|served| served.iter().any(|(id, _)| *id == port)) {
            return false;
        }
        self.stop(port);
        self.faults.insert(port, error.to_owned());
        true
    }

    /// Forgets addresses that have aged.
    pub(super) fn sweep(&self) {
        self.relay.fdb().sweep(carrier::clock::now_secs());
    }

    pub(super) fn set_reflective(&mut self, port: PortId, on: bool) -> Result<(), ControlError> {
        self.change_port(port, |config| config.reflective = on)
    }

    pub(super) fn set_mode(&mut self, mode: EdgeMode) -> Result<(), ControlError> {
        self.control.set_mode(mode)?;
        self.publish();
        Ok(())
    }

    pub(super) fn open_vsi(&mut self, key: VsiKey, entry: VsiEntry) -> Result<(), ControlError> {
        self.control.open_vsi(key, entry)?;
        self.publish();
        Ok(())
    }

    pub(super) fn close_vsi(&mut self, key: VsiKey) {
        self.control.close_vsi(key);
        self.publish();
    }

    /// The carrier that serves a port.
    pub(crate) fn carrier(&self, port: PortId) -> Option<&'static str> {
        self.serving.contains_key(&port).then_some("packet")
    }

    /// Why a port is not served.
    pub(crate) fn fault(&self, port: PortId) -> Option<String> {
        self.faults.get(&port).cloned()
    }

    pub(crate) fn counters(&self, port: PortId) -> Option<PortCounters> {
        self.relay.stats().port(port)
    }

    pub(crate) fn fdb(&self) -> Vec<FdbEntry> {
        self.relay.fdb_entries(carrier::clock::now_secs())
    }

    fn serve(&mut self, port: PortId, interface: &str) -> anyhow::Result<()> {
        let socket = PacketPort::open(interface, &carrier::Options::default())?;
        self.worker.add_port(port, socket)?;
        Ok(())
    }

    fn stop(&mut self, port: PortId) {
        self.set_up(port, false);
        if self.serving.remove(&port).is_some() {
            // The worker has let go of a failed port by itself.
            let _ = self.worker.remove_port(port);
        }
    }

    fn set_up(&mut self, port: PortId, up: bool) {
        if let Err(error) = self.change_port(port, |config| config.up = up) {
            tracing::error!(%error, "the relay and the core disagree about ports");
        }
    }

    fn change_port(
        &mut self,
        port: PortId,
        change: impl FnOnce(&mut PortConfig),
    ) -> Result<(), ControlError> {
        let mut config = self.control.port(port).cloned().ok_or(ControlError::NoPort(port))?;
        change(&mut config);
        self.control.set_port(config)?;
        self.publish();
        Ok(())
    }

    fn publish(&self) {
        self.relay.publish(self.control.snapshot());
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
pub(super) enum Fault {
    /// A port's interface went away or broke.
    Port(PortId, String),
    /// No port is served any more.
    Worker(String),
}

/// Worker events that may wait for the daemon.
const WORKER_EVENTS: usize = 256;

/// The relay's ports, in the order of [`crate::Core::ports`].
fn port_configs(config: &Config) -> Vec<PortConfig> {
    let ids = (0..).map(PortId);
    match &config.role {
        RoleConfig::Station(station) => {
            let roles = std::iter::once(Role::Uplink).chain(station.vsis.iter().map(|_| Role::Downlink));
            ids.zip(roles).map(|(id, role)| PortConfig { up: false, ..PortConfig::new(id, role) }).collect()
        }
        RoleConfig::Bridge(bridge) => ids
            .zip(&bridge.ports)
            .map(|(id, port)| PortConfig { up: false, ..bridge_port(id, port, bridge.guard) })
            .collect(),
    }
}

fn bridge_port(id: PortId, port: &BridgePort, guard: bool) -> PortConfig {
    let new = PortConfig::new(id, Role::Bridge);
    match &port.kind {
        BridgePortKind::Station => PortConfig { guard, ..new },
        BridgePortKind::Lan { untagged, tagged } => PortConfig {
            pvid: *untagged,
            untagged: untagged.iter().copied().collect(),
            tagged: tagged.iter().copied().collect(),
            ..new
        },
    }
}
