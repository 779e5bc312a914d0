//! The relay and the thread that moves frames through it, edited by the core's effects.

mod common;
mod look;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use carrier::{Captures, ChannelFilter, ChannelTags, FastPath, Worker, WorkerHandle, WorkerOptions};
use ether::Vid;
use hairpin::{ControlError, EdgeMode, PortConfig, PortId, RelayKind, Role, VsiEntry, VsiKey};

use self::common::{ring_slots, xdp_memory};
pub(super) use self::{
    common::{Common, Fault},
    look::CaptureRow,
};
use super::{
    carriers::{self, Carried, Carriers, Wanted},
    classes::Classes,
    hearing,
};
use crate::{
    config::{CarrierConfig, Config, Datapath},
    core::Core,
    dcb::{DeviceReport, DeviceState},
    effect::Effect,
    input::Link,
    kernel::links::Seen,
    plane::{self, Plane},
    port::PortKind,
};

/// One relay: the ports it knows, the kernel's sockets behind them, and the worker.
pub(crate) struct Dataplane {
    plane: Plane,
    worker: WorkerHandle,
    /// Has the kernel forward what is settled, or why it does not.
    fast: Result<Arc<FastPath>, String>,
    carrier: CarrierConfig,
    carriers: Carriers,
    captures: Captures,
    classes: Classes,
    /// The ports the worker serves.
    serving: HashMap<PortId, Serving>,
    faults: HashMap<PortId, String>,
    /// Links of ports that were refused: nothing is different until they are, and an attempt is heard of as a change.
    refused: HashMap<PortId, Link>,
    /// Ports whose frames the kernel forwards, and not the relay.
    barred: HashSet<PortId>,
    /// Those that are to be so, with what it does there.
    kernel: HashMap<PortId, String>,
}

/// How a port is served.
struct Serving {
    /// The number of its interface.
    ifindex: u32,
    /// The S-VLAN of an S-channel.
    svid: Option<Vid>,
    /// There may be S-channels behind it.
    uap: bool,
    carried: Carried,
    /// What keeps frames of S-channels away from it.
    filters: Vec<ChannelFilter>,
}

/// What the frames of a port go by.
#[derive(Clone, Debug)]
pub(super) struct Line<'a> {
    pub(super) interface: &'a str,
    /// The S-VLAN of an S-channel.
    pub(super) svid: Option<Vid>,
    /// Where there may be S-channels: the S-VLANs of those that have ports of their own.
    pub(super) channels: Option<Vec<Vid>>,
}

impl Serving {
    fn is(&self, ifindex: u32, line: &Line<'_>) -> bool {
        (self.ifindex, self.svid, self.uap) == (ifindex, line.svid, line.channels.is_some())
    }
}

/// What following a link has brought about.
#[derive(Debug, Default)]
pub(super) struct Followed {
    /// Why the port is not served, if that is news.
    pub(super) fault: Option<String>,
    /// The core believes the port reflects or does not, and now it is this way.
    pub(super) reflective: Option<bool>,
}

impl Dataplane {
    /// A relay without ports, and its worker of so many threads; `slow` is why the kernel forwards nothing for it.
    pub(super) fn start(
        config: &Config,
        common: &Common,
        kind: RelayKind,
        threads: usize,
        slow: Option<&str>,
    ) -> anyhow::Result<Self> {
        let plane = Plane::new(kind, common.limits);
        let relay = plane.relay();
        let carrier = config.carrier.clone();
        let captures = common.captures.clone();
        let (cpus, spin) = (carrier.cpus.clone(), carrier.spin);
        let memory = xdp_memory(carrier.rings_mib, threads);
        let fast = match slow.or((!carrier.fast_path).then_some("`fast_path` is \"off\"")) {
            Some(reason) => Err(reason.to_owned()),
            None => FastPath::new(relay, threads).map_err(|error| error.reason()),
        };
        let shared = fast.as_ref().ok().map(Arc::clone);
        let options = WorkerOptions { threads, cpus, spin, captures: captures.clone(), memory, fast: shared };
        let worker = Worker::spawn(relay, &common.events, &options)?;
        Ok(Self {
            plane,
            worker,
            fast,
            carrier,
            carriers: Carriers::default(),
            captures,
            classes: Classes::default(),
            serving: HashMap::new(),
            faults: HashMap::new(),
            refused: HashMap::new(),
            barred: HashSet::new(),
            kernel: HashMap::new(),
        })
    }

    /// Takes over the ports the core has now: those gone go, new ones wait for their interface, others get their VLANs
    /// and guard. Returns why a port is not taken.
    pub(super) fn reload<'a>(
        &mut self,
        core: &Core,
        ports: impl Iterator<Item = (PortId, &'a str, PortKind)>,
    ) -> Vec<(PortId, ControlError)> {
        let wanted = plane::wanted(core, ports);
        let names: HashMap<PortId, &str> = wanted.iter().map(|port| (port.id, port.name.as_str())).collect();
        let stays = |port: &PortConfig| names.get(&port.id).is_some_and(|name| *name == port.name);
        let gone: Vec<PortId> =
            self.plane.control().ports().filter(|port| !stays(port)).map(|port| port.id).collect();
        for id in gone {
            self.remove_port(id);
        }
        let before = std::mem::replace(&mut self.carrier, core.config().carrier.clone());
        self.refused.clear();
        let mut refused = Vec::new();
        for port in wanted {
            let id = port.id;
            let framed = self.plane.control().port(id).is_some_and(|old| old.framing != port.framing);
            let asked = |carrier: &CarrierConfig| (carrier.choice(&port.name), carrier.datapath(&port.name));
            let form = |carrier: &CarrierConfig| carrier.takes_ingress_form(&port.name);
            if framed || asked(&before) != asked(&self.carrier) || form(&before) != form(&self.carrier) {
                // Served anew as soon as its link is heard of.
                self.stop(id);
            }
            if let Err(error) = self.set_port(port) {
                refused.push((id, error));
            }
        }
        refused
    }

    /// Has the relay take up a port, which waits for its interface; one it has stays up as it is.
    pub(super) fn add_port(
        &mut self,
        core: &Core,
        id: PortId,
        interface: &str,
        kind: PortKind,
    ) -> Result<(), ControlError> {
        self.plane.add_port(core, id, interface, kind)?;
        self.limit(id, interface);
        Ok(())
    }

    fn set_port(&mut self, port: PortConfig) -> Result<(), ControlError> {
        let (id, name) = (port.id, port.name.clone());
        self.plane.set_port(port)?;
        self.limit(id, &name);
        Ok(())
    }

    /// Has the port send no more than the configuration lets it.
    fn limit(&mut self, id: PortId, name: &str) {
        if self.classes.set_rate(id, self.carrier.rate(name)) {
            self.queue(id);
        }
    }

    /// Lets go of a port.
    pub(super) fn remove_port(&mut self, id: PortId) {
        self.stop(id);
        self.faults.remove(&id);
        self.refused.remove(&id);
        self.barred.remove(&id);
        self.kernel.remove(&id);
        self.classes.forget(id);
        self.plane.remove_port(id);
    }

    /// Starts or stops moving frames of a port as its interface comes up, changes its master, or goes.
    pub(super) fn follow(&mut self, port: PortId, line: &Line<'_>, seen: &Seen) -> Followed {
        if self.carrier.datapath(line.interface) == Datapath::Kernel {
            self.stop(port);
            let bridge = self.plane.control().port(port).is_some_and(|config| config.role == Role::Bridge);
            let (because, fault) = hearing::kernels(line.interface, seen, bridge);
            self.kernel.insert(port, because);
            let old = match &fault {
                Some(fault) => self.faults.insert(port, fault.clone()),
                None => self.faults.remove(&port),
            };
            // The core tells of interfaces that are not there.
            let fault = fault.filter(|fault| old.as_ref() != Some(fault) && seen.link != Link::Absent);
            return Followed { fault, ..Followed::default() };
        }
        self.kernel.remove(&port);
        let barred = hearing::forwarded(line.interface, seen.master.as_ref());
        let was_barred = match barred {
            Some(_) => !self.barred.insert(port),
            None => self.barred.remove(&port),
        };
        let reflects = self.plane.control().port(port).is_some_and(|config| config.reflective);
        let changed = reflects && was_barred != barred.is_some();
        Followed {
            reflective: changed.then_some(barred.is_none()),
            fault: self.serve_or_stop(port, line, &seen.link, barred),
        }
    }

    /// Serves a port whose interface is up and which nothing bars; returns why not, if that is news.
    fn serve_or_stop(
        &mut self,
        port: PortId,
        line: &Line<'_>,
        link: &Link,
        barred: Option<String>,
    ) -> Option<String> {
        let interface = line.interface;
        if barred.is_none() && self.refused.get(&port) == Some(link) {
            return None;
        }
        self.refused.remove(&port);
        let fault = match (link, barred) {
            (Link::Absent, _) => {
                self.stop(port);
                // The core tells of it.
                self.faults.insert(port, format!("interface {interface} does not exist"));
                return None;
            }
            (Link::Present { .. }, Some(fault)) => {
                self.stop(port);
                fault
            }
            (Link::Present { up: false, ifindex, .. }, None) => {
                let serving = self.serving.get(&port).filter(|serving| serving.ifindex == *ifindex);
                if serving.is_some_and(|serving| serving.carried.by_xdp()) {
                    // Only the link is lost, or the worker will say: and a network card may lose it each time a
                    // program is attached to it.
                    self.plane.set_up(port, false);
                } else {
                    // A packet socket that has seen its interface go down is of no use any more.
                    self.stop(port);
                }
                self.faults.remove(&port);
                return None;
            }
            (Link::Present { up: true, ifindex, .. }, None) => {
                if self.serving.get(&port).is_some_and(|serving| serving.is(*ifindex, line)) {
                    self.plane.set_up(port, true);
                    return None;
                }
                self.stop(port);
                match self.serve(port, line, *ifindex) {
                    Ok(serving) => {
                        self.serving.insert(port, serving);
                        self.queue(port);
                        self.faults.remove(&port);
                        self.plane.set_up(port, true);
                        return None;
                    }
                    Err(error) => {
                        if carriers::lasts(&error) {
                            self.refused.insert(port, link.clone());
                        }
                        error.to_string()
                    }
                }
            }
        };
        let old = self.faults.insert(port, fault.clone());
        (old.as_ref() != Some(&fault)).then_some(fault)
    }

    /// The worker says it gave a port up. False if that is no news: the port is served again since, or its link is down.
    pub(super) fn failed(&mut self, port: PortId, error: &str) -> bool {
        // Of several threads each finds out, and one after the other tells.
        if !self.serving.contains_key(&port) || self.worker.has_port(port).unwrap_or(false) {
            return false;
        }
        let up = self.plane.control().port(port).is_some_and(|config| config.up);
        self.stop(port);
        if up {
            self.faults.insert(port, error.to_owned());
        }
        up
    }

    /// Has the relay forward by the model as it is now. Each snapshot is made of all ports and VSIs: one for many edits
    /// together, made before anybody is told of the first.
    pub(super) fn commit(&mut self) {
        if self.plane.is_edited() {
            // For VSIs that are closed.
            self.settle();
            self.plane.commit();
        }
    }

    /// Has the relay know what the kernel has forwarded.
    pub(super) fn settle(&self) {
        if let Ok(fast) = &self.fast {
            fast.settle();
        }
    }

    /// Forgets addresses that have aged.
    pub(super) fn sweep(&self) {
        self.plane.relay().sweep(carrier::clock::now());
    }

    /// Switches reflective relay. False if that has no effect yet: the kernel forwards the port's frames, and does not
    /// reflect them. [`Dataplane::follow`] tells when it has.
    pub(super) fn set_reflective(&mut self, port: PortId, on: bool) -> Result<bool, ControlError> {
        self.plane.set_reflective(port, on)?;
        Ok(!(on && self.barred.contains(&port)))
    }

    /// Does on a port what DCBX has come to; what that is, if it is anything.
    pub(super) fn set_dcb(&mut self, port: PortId, settings: dcbx::Settings) -> Option<DeviceReport> {
        let lossless = settings.pfc.unwrap_or_default();
        if let Err(error) = self.plane.change_port(port, |config| config.lossless = lossless) {
            let (state, note) = (DeviceState::Failed, Some(error.to_string()));
            return Some(DeviceReport { state, changes: Vec::new(), note });
        }
        if self.classes.set_dcb(port, settings) {
            self.queue(port);
        }
        self.classes.report(port)
    }

    /// Has what leaves by the port go through its queues, if it has any.
    fn queue(&self, port: PortId) {
        let Some(schedule) = self.classes.schedule(port).filter(|_| self.serving.contains_key(&port)) else {
            return;
        };
        // A port that fails at this moment is served again, and gets its queues then.
        if let Err(error) = self.worker.schedule(port, schedule) {
            tracing::debug!(%error, "no queues");
        }
    }

    /// Carries out what an effect says of E-channels, as [`Plane::extend`].
    pub(super) fn extend(&mut self, effect: Effect) -> Result<Option<Effect>, ControlError> {
        self.plane.extend(effect)
    }

    /// Lets frames pass the extended ports behind `cascade`, or not.
    pub(super) fn follow_extended(&mut self, core: &Core, cascade: PortId) {
        self.plane.follow_extended(core, cascade);
    }

    /// The same for one of them.
    pub(super) fn follow_end(&mut self, core: &Core, port: PortId) {
        self.plane.follow_end(core, port);
    }

    pub(super) fn set_mode(&mut self, mode: EdgeMode) -> Result<(), ControlError> {
        self.plane.set_mode(mode)
    }

    pub(super) fn open_vsi(&mut self, key: VsiKey, entry: VsiEntry) -> Result<(), ControlError> {
        self.plane.open_vsi(key, entry)
    }

    pub(super) fn close_vsi(&mut self, key: VsiKey) {
        self.plane.close_vsi(key);
    }

    /// The S-channels behind `uap` that have ports of their own are these.
    pub(super) fn keep_away(&self, uap: PortId, svids: &[Vid]) {
        for filter in self.serving.get(&uap).into_iter().flat_map(|serving| &serving.filters) {
            if let Err(error) = filter.refuse(svids.iter().copied()) {
                tracing::error!(%error, "frames of S-channels are counted as strays too");
            }
        }
    }

    fn serve(&mut self, port: PortId, line: &Line<'_>, ifindex: u32) -> anyhow::Result<Serving> {
        let ports = u32::try_from(self.plane.control().ports().count()).unwrap_or(u32::MAX);
        let threads = u32::try_from(self.worker.threads()).unwrap_or(u32::MAX);
        let config = self.plane.control().port(port);
        let (role, framing) = (config.map(|config| config.role), config.map(|config| config.framing));
        let ingress_form = self.carrier.takes_ingress_form(line.interface);
        let tags = match (role, framing) {
            (Some(Role::Cascade), Some(framing)) => Some(ChannelTags { framing, down: false, ingress_form }),
            (Some(Role::Upstream), Some(framing)) => {
                Some(ChannelTags { framing, down: true, ingress_form: false })
            }
            _ => None,
        };
        let wanted = Wanted {
            port,
            interface: line.interface,
            ifindex,
            choice: self.carrier.choice(line.interface),
            probed: role == Some(Role::Uplink),
            extends: matches!(role, Some(Role::Cascade | Role::Upstream | Role::Extended)),
            everything: match role {
                Some(Role::Extended) => true,
                Some(Role::Cascade) => self.plane.control().kind() == RelayKind::Extender,
                _ => false,
            },
            tags,
            ring: ring_slots(self.carrier.rings_mib, ports.saturating_mul(threads)),
            svid: line.svid,
            channels: line.channels.as_deref(),
        };
        let (carried, filters) = self.carriers.serve(&self.worker, &self.fast, &wanted)?;
        Ok(Serving { ifindex, svid: line.svid, uap: line.channels.is_some(), carried, filters })
    }

    fn stop(&mut self, port: PortId) {
        self.plane.set_up(port, false);
        let Some(Serving { carried, filters, .. }) = self.serving.remove(&port) else { return };
        // The worker has let go of a failed port by itself.
        let Ok(sockets) = self.worker.remove_port(port) else { return };
        if carried.by_xdp() {
            // Nobody else can have the interface before this is done.
            drop(sockets);
        } else {
            // Closing a socket takes the kernel milliseconds: elsewhere.
            tokio::task::spawn_blocking(move || drop((sockets, filters)));
        }
    }
}
