//! The driver: sockets, clocks and threads around [`crate::Core`].
//!
//! One task owns the core. Readers of control sockets, the link watch, the relay's worker thread and the control socket
//! send to it over bounded channels; it alone carries effects out.

mod carriers;
mod classes;
mod clock;
mod control;
mod counting;
mod dataplane;
mod devices;
mod extended;
mod guests;
mod hearing;
mod kernel;
mod libvirt;
mod limits;
mod planes;
mod ports;
pub(crate) mod profiles;
mod requests;
mod stop;
mod switch;

use std::{
    collections::{BTreeMap, VecDeque},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use ether::Instant;
use hairpin::PortId;
use serde_json::{Value, json};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{broadcast, mpsc},
    time,
};

pub(crate) use carriers::Carried;
pub(crate) use classes::ClassRow;
use clock::{Clock, unix_ms};
pub(crate) use control::{ControlSockets, HearingRow};
use dataplane::{Dataplane, Fault};
use devices::Devices;
pub(crate) use hearing::{Leak, Method, choose};
use kernel::KernelPlane;
pub(crate) use libvirt::Libvirt;
pub(crate) use planes::Planes;
use profiles::{News, Profiles, Read};
use switch::Switch;

use crate::{
    api::{About, Server},
    config::File,
    core::Core,
    dcb::Target,
    effect::Effect,
    event::Event,
    guests::Guests,
    input::Input,
    kernel::links::{LinkWatch, Seen},
    names::is_interface,
    probe::Proof,
    record::{FORMAT, Header, RecordedCore, Recorder},
    state::journal::{Found, Journal},
    view,
};

/// Runs the daemon until SIGTERM or SIGINT. On SIGHUP it reads its file again.
///
/// # Errors
/// When the control socket, netlink or the relay's worker cannot be had. A missing or failing interface is no error: the
/// daemon says so and takes it when it comes.
pub async fn run(file: File, record_to: Option<&Path>) -> anyhow::Result<()> {
    let File { path, text, config, codebook } = file;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let server = Server::bind(&config.control)?;
    let clock = Clock::start();
    let (heard_in, mut heard) = mpsc::channel(NEWS_QUEUE);
    // First of all: it wants a number that any other socket of netlink would take.
    let pid_file = config.libvirt.pid_file.as_deref();
    let libvirt = pid_file.map(|file| Libvirt::start(file, clock, config.max_vsis, heard_in)).transpose()?;
    let (frames_in, mut frames) = mpsc::channel(FRAME_QUEUE);
    let (reports_in, mut reports) = mpsc::channel(REQUEST_QUEUE);
    let (told_in, mut told) = mpsc::channel(REQUEST_QUEUE);
    let (requests_in, mut requests) = mpsc::channel(REQUEST_QUEUE);
    let (events, _) = broadcast::channel(EVENT_QUEUE);
    let (news_in, mut news) = mpsc::channel(NEWS_QUEUE);
    let about = About { name: config.name.clone(), role: config.role_name() };
    let (journal, found) = Journal::open(config.state.as_deref(), about.role)?;
    tokio::spawn(server.serve(about, requests_in, events.clone()));
    let profiles = Profiles::new(news_in, config.state.clone());
    let (seed, start) = (rand::random(), clock.now());
    let recorder = record_to.map(|to| record(to, &text, &config.name, seed, start)).transpose()?;
    let core = RecordedCore::new(Core::new(config, seed, start), recorder, start);
    let (planes, mut faults) = Planes::start(&core)?;
    let names: Vec<String> =
        core.ports().map(|(_, name, _)| name.to_owned()).filter(|name| is_interface(name)).collect();
    limits::raise(names.len())?;
    let mut links = LinkWatch::start(names).context("cannot watch interfaces")?;
    let (said_in, mut said) = mpsc::channel(NEWS_QUEUE);
    let guests = guests::start(core.config(), &mut links, said_in);
    ports::watch_patterns(core.config(), &mut links);
    let mut daemon = Daemon {
        core,
        planes,
        seen: BTreeMap::new(),
        journal,
        sockets: ControlSockets::new(frames_in),
        profiles,
        devices: Devices::start(reports_in)?,
        kernel: KernelPlane::start(told_in)?,
        libvirt,
        switch: Switch::start(links.switcher()),
        links,
        guests,
        watched: BTreeMap::new(),
        crowded: false,
        clock,
        path,
        text,
        events,
        past: VecDeque::new(),
        number: 0,
        stop: None,
    };
    daemon.watched = daemon.ports();
    if codebook.is_some() {
        daemon.core.handle(clock.now(), Input::CodeBook { text: codebook });
    }
    // Profiles first: what is resumed lives by them.
    daemon.drain();
    daemon.resume(found);
    daemon.resume_guests();
    let mut sweep = time::interval(SWEEP);
    let mut settle = time::interval(SETTLE);
    tracing::info!(control = %daemon.core.config().control.socket.display(), "running");
    loop {
        let due = daemon.sleep();
        tokio::select! {
            biased;
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            // The events say what came of it.
            _ = hangup.recv() => drop(daemon.reload()),
            change = daemon.links.next() => {
                let (interface, seen) = change?;
                daemon.link(&interface, seen);
                while let Some((interface, seen)) = daemon.links.take() {
                    daemon.link(&interface, seen);
                }
                daemon.drain();
                daemon.serve_guests();
            }
            Some(said) = said.recv() => daemon.hear_of_guests(said),
            Some((port, frame)) = frames.recv() => daemon.input(Input::Frame { port, frame }),
            Some((port, report)) = reports.recv() => daemon.input(Input::DcbApplied { port, report }),
            Some(fault) = faults.recv() => match fault {
                Fault::Port(port, error) => {
                    if let Some(interface) = daemon.fault(port, error) {
                        daemon.links.reread(&interface);
                    }
                }
                Fault::Worker(cause) => anyhow::bail!("the relay's worker died: {cause}"),
            },
            () = due => {
                daemon.input(Input::Timeout);
                daemon.serve_guests();
            }
            Some(news) = news.recv() => match news {
                News::Input(input) => daemon.input(input),
                News::Files => {
                    let read = daemon.profiles.reread();
                    daemon.take(read);
                    daemon.drain();
                }
            },
            Some(report) = told.recv() => daemon.hear_kernel(report),
            Some(heard) = heard.recv() => daemon.hear_libvirt(heard),
            Some(request) = requests.recv() => daemon.answer(request),
            _ = sweep.tick() => daemon.sweep(),
            _ = settle.tick() => daemon.planes.settle(),
        }
        daemon.tell_libvirt();
        if daemon.end_stop() {
            // The answer gets out.
            time::sleep(FAREWELL).await;
            break;
        }
    }
    if let Some(libvirt) = &daemon.libvirt {
        libvirt.stop();
    }
    daemon.input(Input::End);
    daemon.switch.end().await;
    tracing::info!("stopping; VSIs stay associated, until their keep-alive ends or evbd is back");
    Ok(())
}

/// Between two looks for addresses that have aged, and attempts to get a state file.
const SWEEP: Duration = Duration::from_secs(10);
/// The clock of learnt addresses counts seconds.
const SETTLE: Duration = Duration::from_secs(1);
/// How long a client that stopped the daemon has to take its answer.
const FAREWELL: Duration = Duration::from_millis(100);
/// Control frames waiting for the core; more are dropped by their reader, as on a busy wire.
const FRAME_QUEUE: usize = 1024;
/// What files of profiles and VSI managers say, waiting for the core.
const NEWS_QUEUE: usize = 16;
/// Requests of control clients waiting for the core.
const REQUEST_QUEUE: usize = 64;
/// Events a slow control client may lag behind before it reads them from the past.
const EVENT_QUEUE: usize = 1024;
/// Events remembered for clients that come later.
const EVENT_PAST: usize = 4096;

struct Daemon {
    core: RecordedCore,
    planes: Planes,
    /// The state of each interface that was seen.
    seen: BTreeMap<PortId, Seen>,
    journal: Journal,
    sockets: ControlSockets,
    profiles: Profiles,
    devices: Devices,
    /// What the kernel forwards.
    kernel: KernelPlane,
    /// The service for libvirt, if it is served.
    libvirt: Option<Libvirt>,
    links: LinkWatch,
    switch: Switch,
    /// None on a bridge.
    guests: Option<Guests>,
    /// The ports whose interfaces are watched.
    watched: BTreeMap<PortId, String>,
    /// There are more of them than the system allows sockets for, as was said.
    crowded: bool,
    clock: Clock,
    /// Where the configuration is, and what of it is in force.
    path: PathBuf,
    text: String,
    events: broadcast::Sender<Value>,
    past: VecDeque<Value>,
    number: u64,
    /// A client wants the daemon to end.
    stop: Option<stop::Stop>,
}

impl Daemon {
    /// Takes up what was remembered: gates are open before the first interface is looked at.
    fn resume(&mut self, found: Found) {
        found.events.iter().for_each(|event| self.publish(event));
        if !found.records.is_empty() {
            self.core.handle(self.clock.now(), Input::Resume { records: found.records });
        }
        self.drain();
    }

    fn sweep(&mut self) {
        self.planes.sweep();
        self.kernel.sweep();
        if let Some(event) = self.journal.mend(|| self.core.records()) {
            self.publish(&event);
        }
    }

    /// What was promised is on disk.
    fn save(&mut self) {
        if let Some(event) = self.journal.commit() {
            self.publish(&event);
        }
    }

    fn input(&mut self, input: Input) {
        self.core.handle(self.clock.now(), input);
        self.drain();
    }

    /// Until the core's next deadline; for ever if it has none.
    fn sleep(&self) -> impl Future<Output = ()> + use<> {
        let libvirt = self.libvirt.as_ref().and_then(Libvirt::poll_timeout);
        let guests = self.guests.as_ref().and_then(Guests::poll_timeout);
        let due =
            self.core.poll_timeout().into_iter().chain(self.stop_due()).chain(libvirt).chain(guests).min();
        let due = due.map(|at| self.clock.to_tokio(at));
        async move {
            match due {
                Some(due) => time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Carries out what the core wants, including what follows from it. The relay's edits take effect together, and what
    /// is to be kept is kept together, before anybody is told of them.
    fn drain(&mut self) {
        let (mut applied, mut shaped) = (VecDeque::new(), VecDeque::new());
        let mut asked = VecDeque::new();
        let mut told = Vec::new();
        loop {
            let Some(effect) = self.core.poll_effect() else {
                self.tell(&mut told);
                if let Some((port, report)) = shaped.pop_front() {
                    self.core.handle(self.clock.now(), Input::DcbApplied { port, report });
                    continue;
                }
                if let Some((question, ports)) = asked.pop_front() {
                    let counted = self.count(question, ports);
                    self.core.handle(self.clock.now(), counted);
                    continue;
                }
                let Some((port, on)) = applied.pop_front() else { return };
                self.core.handle(self.clock.now(), Input::ReflectiveApplied { port, on });
                continue;
            };
            match effect {
                Effect::Transmit { port, frame } => told.push(Tell::Peer(port, frame)),
                // Answered when the kernel has done it.
                Effect::SwitchReflective { port, on } if self.is_kernels(port) => {
                    self.kernel.reflect(port, on)
                }
                Effect::SwitchReflective { port, on } => match self.planes.set_reflective(port, on) {
                    Ok(true) => applied.push_back((port, on)),
                    Ok(false) => {
                        tracing::warn!(port = port.0, "the kernel forwards this port and does not reflect")
                    }
                    Err(error) => refused(&error),
                },
                Effect::SwitchRelay { port, mode } => {
                    if self.is_kernels(port) {
                        self.kernel.set_mode(mode);
                    }
                    self.planes.set_mode(port, mode).unwrap_or_else(|error| refused(&error));
                }
                Effect::OpenVsi { key, entry } => {
                    self.open_in_kernel(key, &entry);
                    self.planes.open_vsi(key, entry).unwrap_or_else(|error| refused(&error));
                }
                Effect::CloseVsi { key } => {
                    self.kernel.close(key);
                    self.planes.close_vsi(key);
                }
                Effect::ApplyDcb { port, settings, target: Target::Core } => {
                    shaped.extend(self.planes.set_dcb(port, settings).map(|report| (port, report)));
                }
                Effect::ApplyDcb { port, settings, target } => {
                    let name = self.core.ports().find(|(id, _, _)| *id == port).map(|(_, name, _)| name);
                    if let Some(name) = name {
                        self.devices.apply(port, name, settings, target == Target::DryRun);
                    }
                }
                Effect::FollowChannels(uap) => {
                    self.tell(&mut told);
                    applied.extend(self.follow_channels(uap));
                }
                Effect::FollowEnd(port) => self.follow_end(port),
                Effect::FollowExtended(cascade) => {
                    self.tell(&mut told);
                    self.follow_extended(cascade);
                }
                Effect::Flood { .. }
                | Effect::Extend { .. }
                | Effect::Channel { .. }
                | Effect::Upstream(_) => {
                    if let Err(error) = self.planes.extend(effect) {
                        refused(&error);
                    }
                }
                Effect::Count { question, ports } => asked.push_back((question, ports)),
                Effect::FollowPorts => {
                    // Ports that are gone take leave.
                    self.tell(&mut told);
                    self.follow_ports();
                }
                Effect::FollowPort(port) => {
                    // One that is gone takes leave.
                    if self.watched.contains_key(&port) {
                        self.tell(&mut told);
                    }
                    self.follow_port(port);
                }
                Effect::SetInterface { interface, identity, up } => {
                    told.push(Tell::Interface { interface, identity, up });
                }
                Effect::Remember(record) => self.journal.remember(&record),
                Effect::Forget(key) => self.journal.forget(&key),
                Effect::FollowProfiles => {
                    let config = self.core.config().vsidb.clone();
                    let read = self.profiles.follow(&config);
                    self.take(read);
                }
                Effect::AskManager(manager) => self.profiles.ask(manager),
                Effect::Event(event) => told.push(Tell::People(event)),
            }
        }
    }

    /// Has what was edited take effect and what is to be kept on disk, and then tells of it.
    fn tell(&mut self, waiting: &mut Vec<Tell>) {
        self.planes.commit();
        self.kernel.commit();
        self.save();
        for tell in waiting.drain(..) {
            match tell {
                Tell::Peer(port, frame) => self.sockets.send(port, &frame),
                Tell::People(event) => self.publish(&event),
                Tell::Interface { interface, identity, up } => self.switch.set(interface, &identity, up),
            }
        }
    }

    /// Tells the core and the people what reading profiles came to; what follows waits for [`Daemon::drain`].
    fn take(&mut self, read: Vec<Read>) {
        for read in read {
            match read {
                Read::Input(input) => self.core.handle(self.clock.now(), input),
                Read::Event(event) => self.publish(&event),
            }
        }
    }

    /// Numbers an event, logs it, remembers it and tells those who watch.
    fn publish(&mut self, event: &Event) {
        if let Some(libvirt) = &mut self.libvirt {
            libvirt.follow(event);
        }
        self.number += 1;
        let mut row = view::row(event);
        if let Some(fields) = row.as_object_mut() {
            fields.insert("number".to_owned(), json!(self.number));
            fields.insert("at_ms".to_owned(), json!(self.clock.now().as_micros() / 1000));
            fields.insert("unix_ms".to_owned(), json!(unix_ms()));
        }
        match event {
            Event::PortFailed { .. }
            | Event::ReloadRefused { .. }
            | Event::StateDamaged { .. }
            | Event::StateLost { .. }
            | Event::LinkAbsent { .. }
            | Event::EvbNotPointToPoint { .. }
            | Event::EvbPeerLost { .. }
            | Event::LibvirtLost { .. }
            | Event::ChannelMtu { .. }
            | Event::LibvirtDeaf { .. }
            | Event::KernelDrift { .. }
            | Event::ExtensionMtu { .. }
            | Event::PortLowered { .. }
            | Event::PortNoRoom { .. }
            | Event::Relay { held: true, .. }
            | Event::Probe { state: Proof::Failed | Proof::Lost, .. } => {
                tracing::warn!(event = event.name(), "{row}");
            }
            _ => tracing::info!(event = event.name(), "{row}"),
        }
        if self.past.len() == EVENT_PAST {
            self.past.pop_front();
        }
        self.past.push_back(row.clone());
        // Nobody watching is no fault.
        let _ = self.events.send(row);
    }
}

/// What waits until what it tells of is so.
enum Tell {
    Peer(PortId, Vec<u8>),
    People(Event),
    Interface { interface: String, identity: String, up: bool },
}

/// Starts to record to the file `to`.
fn record(to: &Path, config: &str, name: &str, seed: u64, start: Instant) -> anyhow::Result<Recorder> {
    let header = Header {
        recording: FORMAT,
        evbd: env!("CARGO_PKG_VERSION").to_owned(),
        seed,
        start_us: start.as_micros(),
        unix_ms: unix_ms(),
        name: name.to_owned(),
        config: config.to_owned(),
    };
    let recorder = Recorder::create(to, &header)?;
    tracing::info!(file = %to.display(), "recording");
    Ok(recorder)
}

/// The relay did not take an edit: what it forwards is not what was agreed, and someone must know.
fn refused(error: &hairpin::ControlError) {
    tracing::error!(%error, "the relay refused a change");
}
