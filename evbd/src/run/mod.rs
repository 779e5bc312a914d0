//! The driver: sockets, clocks and threads around [`crate::Core`].
//!
//! One task owns the core. Readers of control sockets, the link watch, the relay's worker thread and the control socket
//! send to it over bounded channels; it alone carries effects out.

mod control;
mod dataplane;

use std::{collections::VecDeque, time::Duration};

use anyhow::Context;
use ether::Instant;
use hairpin::PortId;
use serde_json::{Value, json};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{broadcast, mpsc},
    time,
};

pub(crate) use dataplane::Dataplane;
use dataplane::Fault;

use crate::{
    api::{About, Request, Server},
    config::Config,
    core::Core,
    effect::Effect,
    event::Event,
    input::{Input, Link},
    kernel::links::LinkWatch,
    view,
};
use control::ControlSockets;

/// Runs the daemon until SIGTERM or SIGINT.
///
/// # Errors
/// When the control socket, netlink or the relay's worker cannot be had. A missing or failing interface is no error: the
/// daemon says so and takes it when it comes.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let server = Server::bind(&config.control_socket)?;
    let clock = Clock::start();
    let (frames_in, mut frames) = mpsc::channel(FRAME_QUEUE);
    let (requests_in, mut requests) = mpsc::channel(REQUEST_QUEUE);
    let (events, _) = broadcast::channel(EVENT_QUEUE);
    let about = About {
        name: config.name.clone(),
        role: if config.bridge().is_some() { "bridge" } else { "station" },
    };
    tokio::spawn(server.serve(about, requests_in, events.clone()));

    let (dataplane, mut faults) = Dataplane::start(&config)?;
    let core = Core::new(config, rand::random(), clock.now());
    let names: Vec<String> = core.ports().map(|(_, interface, _)| interface.to_owned()).collect();
    let mut links = LinkWatch::start(names).await.context("cannot watch interfaces")?;
    let mut daemon = Daemon {
        core,
        dataplane,
        sockets: ControlSockets::new(frames_in),
        clock,
        events,
        past: VecDeque::new(),
        number: 0,
    };
    daemon.drain();
    let mut sweep = time::interval(SWEEP);
    tracing::info!(control = %daemon.core.config().control_socket.display(), "running");
    loop {
        let due = daemon.sleep();
        tokio::select! {
            biased;
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            change = links.next() => {
                let (interface, link) = change?;
                daemon.link(&interface, link);
            }
            Some((port, frame)) = frames.recv() => daemon.input(Input::Frame { port, frame }),
            Some(fault) = faults.recv() => match fault {
                Fault::Port(port, error) => daemon.fault(port, error),
                Fault::Worker(cause) => anyhow::bail!("the relay's worker died: {cause}"),
            },
            () = due => daemon.input(Input::Timeout),
            Some(request) = requests.recv() => daemon.answer(request),
            _ = sweep.tick() => daemon.dataplane.sweep(),
        }
    }
    tracing::info!("stopping; VSIs stay associated until their keep-alive ends");
    Ok(())
}

/// Between two looks for addresses that have aged.
const SWEEP: Duration = Duration::from_secs(10);
/// Control frames waiting for the core; more are dropped by their reader, as on a busy wire.
const FRAME_QUEUE: usize = 1024;
/// Requests of control clients waiting for the core.
const REQUEST_QUEUE: usize = 64;
/// Events a slow control client may lag behind before it reads them from the past.
const EVENT_QUEUE: usize = 1024;
/// Events remembered for clients that come later.
const EVENT_PAST: usize = 4096;

struct Daemon {
    core: Core,
    dataplane: Dataplane,
    sockets: ControlSockets,
    clock: Clock,
    events: broadcast::Sender<Value>,
    past: VecDeque<Value>,
    number: u64,
}

impl Daemon {
    fn input(&mut self, input: Input) {
        self.core.handle(self.clock.now(), input);
        self.drain();
    }

    /// Until the core's next deadline; for ever if it has none.
    fn sleep(&self) -> impl Future<Output = ()> + use<> {
        let due = self.core.poll_timeout().map(|at| self.clock.to_tokio(at));
        async move {
            match due {
                Some(due) => time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Carries out what the core wants, including what follows from it.
    fn drain(&mut self) {
        while let Some(effect) = self.core.poll_effect() {
            match effect {
                Effect::Transmit { port, frame } => self.sockets.send(port, &frame),
                Effect::SwitchReflective { port, on } => match self.dataplane.set_reflective(port, on) {
                    Ok(()) => self.core.handle(self.clock.now(), Input::ReflectiveApplied { port, on }),
                    Err(error) => refused(&error),
                },
                Effect::SwitchRelay(mode) => {
                    self.dataplane.set_mode(mode).unwrap_or_else(|error| refused(&error));
                }
                Effect::OpenVsi { key, entry } => {
                    self.dataplane.open_vsi(key, entry).unwrap_or_else(|error| refused(&error));
                }
                Effect::CloseVsi { key } => self.dataplane.close_vsi(key),
                Effect::Event(event) => self.publish(&event),
            }
        }
    }

    fn link(&mut self, interface: &str, link: Link) {
        let found = self.core.ports().find(|(_, name, _)| *name == interface);
        let Some((port, kind)) = found.map(|(port, _, kind)| (port, kind)) else { return };
        if kind.speaks() {
            self.sockets.follow(port, interface, &link);
        }
        if let Some(error) = self.dataplane.follow(port, interface, &link) {
            self.publish(&Event::PortFailed { port: interface.to_owned(), error });
        }
        self.input(Input::Link { port, link });
    }

    fn fault(&mut self, port: PortId, error: String) {
        if !self.dataplane.failed(port, &error) {
            return;
        }
        let name = self.core.ports().find(|(id, _, _)| *id == port).map(|(_, name, _)| name.to_owned());
        self.publish(&Event::PortFailed { port: name.unwrap_or_default(), error });
    }

    fn answer(&mut self, request: Request) {
        // A client that left meanwhile wants no answer.
        let _ = match request {
            Request::Show { table, reply } => {
                reply.send(view::rows(table, &self.core, &self.dataplane, self.clock.now()))
            }
            Request::Events { after, reply } => {
                let newer = |event: &&Value| event.get("number").and_then(Value::as_u64) > Some(after);
                reply.send(self.past.iter().filter(newer).cloned().collect())
            }
        };
    }

    /// Numbers an event, logs it, remembers it and tells those who watch.
    fn publish(&mut self, event: &Event) {
        self.number += 1;
        let mut row = view::row(event);
        if let Some(fields) = row.as_object_mut() {
            fields.insert("number".to_owned(), json!(self.number));
            fields.insert("at_ms".to_owned(), json!(self.clock.now().as_micros() / 1000));
        }
        match event {
            Event::PortFailed { .. } | Event::LinkAbsent { .. } | Event::EvbNotPointToPoint { .. } => {
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

/// The relay did not take an edit: what it forwards is not what was agreed, and someone must know.
fn refused(error: &hairpin::ControlError) {
    tracing::error!(%error, "the relay refused a change");
}

/// Engine time: microseconds since the daemon started.
#[derive(Clone, Copy)]
struct Clock(time::Instant);

impl Clock {
    fn start() -> Self {
        Self(time::Instant::now())
    }

    fn now(self) -> Instant {
        Instant::ZERO + self.0.elapsed()
    }

    fn to_tokio(self, at: Instant) -> time::Instant {
        self.0 + Duration::from_micros(at.as_micros())
    }
}
