//! What a worker's thread does: rounds over ports that have frames, and between them what it is asked.
//!
//! Each round takes one batch from every port that has frames, so that a busy port costs the others one batch of delay.
//! Between rounds, and only there, ports are added and removed. The snapshot is looked at once per batch; once the
//! worker is warm nothing is allocated per frame.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read},
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TryRecvError, TrySendError},
    },
    thread,
    time::Duration,
};

use ether::Instant;
use hairpin::{Keeper, MirrorTarget, Outcome, PortId, Relay, Verdict};

use super::{Command, Event, WorkerError, WorkerOptions};
use crate::{
    batch::{Batch, TxQueue},
    capture::Captures,
    clock,
    error::PortError,
    fast::FastPath,
    port::Port,
    schedule::Schedule,
    stats::PortStats,
    sys,
};

/// A port in the worker.
struct Row {
    socket: Port,
    queue: TxQueue,
    /// Where copies wait that it cannot send.
    schedule: Option<Arc<Schedule>>,
    /// Looked at in every round and not waited for; since when it had no frame.
    hot: Option<Instant>,
}

/// How long it pays to look for frames instead of sleeping.
///
/// Grows where a sleep was hardly longer than the longest look, and shrinks where it was much longer.
struct Spin {
    most: Duration,
    budget: Duration,
}

impl Spin {
    const fn new(most: Duration) -> Self {
        Self { most, budget: Duration::ZERO }
    }

    fn slept(&mut self, time: Duration) {
        self.budget = if time > self.most * WAKING {
            // Below this a look is not worth its preparations.
            if self.budget < LEAST_SPIN { Duration::ZERO } else { self.budget / 2 }
        } else {
            self.most.min((self.budget * 2).max(LEAST_SPIN))
        };
    }
}

/// Everything the thread owns.
pub(super) struct Core {
    relay: Arc<Relay>,
    epoll: OwnedFd,
    alarm: File,
    events: SyncSender<Event>,
    unsent: VecDeque<Event>,
    ports: Vec<Option<Row>>,
    batch: Batch,
    verdict: Verdict,
    /// Ports whose queue is not empty.
    dirty: Vec<PortId>,
    /// Ports that are looked at in every round.
    hot: Vec<PortId>,
    spin: Spin,
    captures: Captures,
    fast: Option<Arc<FastPath>>,
    /// Ports found to have failed while their queues were sent.
    failing: Vec<(PortId, PortError)>,
    /// Ports that the kernel could not send everything by; each is here once.
    late: VecDeque<PortId>,
    /// Ports in whose schedule something waits; each is here once.
    waiting: VecDeque<PortId>,
}

impl Core {
    pub(super) fn new(
        relay: Arc<Relay>,
        epoll: OwnedFd,
        alarm: File,
        events: SyncSender<Event>,
        options: WorkerOptions,
    ) -> Self {
        let limit = relay.limits().ports;
        Self {
            relay,
            epoll,
            alarm,
            events,
            unsent: VecDeque::new(),
            ports: Vec::new(),
            batch: Batch::with_memory(options.memory),
            verdict: Verdict::new(limit),
            dirty: Vec::with_capacity(usize::from(limit)),
            hot: Vec::new(),
            spin: Spin::new(options.spin),
            captures: options.captures,
            fast: options.fast,
            failing: Vec::new(),
            late: VecDeque::new(),
            waiting: VecDeque::new(),
        }
    }

    /// Works until told to stop; fails when it cannot wait for frames any more.
    pub(super) fn run(&mut self, inbox: &Receiver<Command>) -> io::Result<()> {
        let relay = Arc::clone(&self.relay);
        let mut snapshots = relay.reader();
        let mut ready = [libc::epoll_event { events: 0, u64: 0 }; ROUND];
        loop {
            self.tell();
            let patience = match () {
                () if !self.hot.is_empty() => 0,
                () if !self.late.is_empty() || !self.waiting.is_empty() => LATE_MS,
                () if !self.unsent.is_empty() => RETRY_MS,
                () => FOREVER,
            };
            let asleep = clock::now();
            let count = match sys::epoll_wait(self.epoll.as_fd(), &mut ready, patience) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            };
            let now = clock::now();
            if patience != 0 {
                self.spin.slept(now.saturating_since(asleep));
            }
            self.catch_up();
            self.drain(now);
            let mut woken = false;
            for event in ready.iter().take(count) {
                match u16::try_from(event.u64) {
                    Ok(port) => {
                        let port = PortId(port);
                        let generation = self.generation();
                        let served = self.serve(port, generation, snapshots.load(), now);
                        if served > 0 && self.spin.budget > Duration::ZERO {
                            self.heat(port, now);
                        }
                    }
                    Err(_) => woken = true,
                }
            }
            if woken && !self.obey(inbox) {
                return Ok(());
            }
            let serve = |core: &mut Self, port, now| {
                let generation = core.generation();
                core.serve(port, generation, snapshots.load(), now)
            };
            self.spin(serve, now + LOOK);
        }
    }

    /// Serves the hot ports until `end`, or until none has frames.
    fn spin(&mut self, mut serve: impl FnMut(&mut Self, PortId, Instant) -> usize, end: Instant) {
        let mut now = clock::now();
        while !self.hot.is_empty() && now < end {
            let (mut idle, mut at) = (true, 0);
            while let Some(&port) = self.hot.get(at) {
                let ready = matches!(self.ports.get(port.index()), Some(Some(row)) if row.socket.is_ready());
                let busy = ready && serve(self, port, now) > 0;
                idle &= !busy;
                // One that failed has left the list, and another may have its place.
                let Some(Some(Row { hot: Some(since), .. })) = self.ports.get_mut(port.index()) else {
                    continue;
                };
                if busy {
                    *since = now;
                } else if now.saturating_since(*since) > self.spin.budget {
                    self.cool(port);
                    continue;
                }
                at += 1;
            }
            if idle {
                // Whoever else wants this processor has it first.
                thread::yield_now();
                // And ports that are waited for are looked at too.
                return;
            }
            now = clock::now();
        }
    }

    /// From now on the port is looked at in every round. Nobody is woken for its frames, which saves their sender work.
    fn heat(&mut self, port: PortId, now: Instant) {
        let Some(Some(row)) = self.ports.get_mut(port.index()) else { return };
        if row.socket.watched().all(|fd| sys::epoll_delete(self.epoll.as_fd(), fd).is_ok()) {
            row.hot = Some(now);
            self.hot.push(port);
        }
    }

    /// From now on the port is waited for again. Frames that came meanwhile are found by the next wait.
    fn cool(&mut self, port: PortId) {
        self.hot.retain(|hot| *hot != port);
        let Some(Some(row)) = self.ports.get_mut(port.index()) else { return };
        row.hot = None;
        if let Err(source) = watch(&self.epoll, port, &row.socket) {
            let error = PortError { interface: row.socket.interface().to_owned(), action: "wait", source };
            self.fail(port, error);
        }
    }

    /// Of the decisions to come: to be read before the snapshot.
    fn generation(&self) -> u64 {
        self.fast.as_ref().map_or(0, |fast| fast.generation())
    }

    /// Relays one batch from `ingress`; returns how many frames that was.
    fn serve(
        &mut self,
        ingress: PortId,
        generation: u64,
        snapshot: &hairpin::Snapshot,
        now: Instant,
    ) -> usize {
        let Some(Some(row)) = self.ports.get_mut(ingress.index()) else { return 0 };
        let count = match row.socket.receive(&mut self.batch) {
            Ok(count) => count,
            Err(error) => {
                self.fail(ingress, error);
                return 0;
            }
        };
        let source = row.socket.source();
        let fast = self.fast.as_ref().zip(source.as_ref());
        for frame in self.batch.frames() {
            let frame = match frame {
                Ok(frame) => frame,
                Err(error) => {
                    let octets = u32::try_from(error.octets()).unwrap_or(u32::MAX);
                    self.relay.reject(ingress, octets, error.reason());
                    continue;
                }
            };
            let summary = frame.summary();
            let stamp = fast.map(|(path, _)| path.stamp(generation, &summary));
            let verdict = &mut self.verdict;
            match frame.channel {
                None => self.relay.process(snapshot, now, ingress, &summary, verdict),
                Some(tag) => self.relay.process_tagged(snapshot, now, ingress, tag, &summary, verdict),
            }
            for copy in self.verdict.mirrors() {
                let port = match copy.to {
                    MirrorTarget::Port(port) => copy.via.map_or(port, |via| via.port),
                    MirrorTarget::Capture(id) => {
                        // One that is not there is a fault of the profile, not of the frame.
                        self.captures.keep(id, &frame, copy.tag);
                        continue;
                    }
                };
                let Some(Some(row)) = self.ports.get_mut(port.index()) else {
                    self.relay.stats().tx_drop(port, 1);
                    continue;
                };
                if row.queue.is_empty() {
                    self.dirty.push(port);
                }
                let channel = copy.via.map(|via| via.tag);
                row.queue.push(&frame, Some(copy.tag), channel, copy.tag.pcp);
            }
            if self.verdict.outcome() != Outcome::Forward {
                continue;
            }
            for copy in self.verdict.copies() {
                let port = copy.via.map_or(copy.port, |via| via.port);
                let Some(Some(row)) = self.ports.get_mut(port.index()) else {
                    self.relay.stats().tx_drop(port, 1);
                    continue;
                };
                if row.queue.is_empty() {
                    self.dirty.push(port);
                }
                row.queue.push(&frame, copy.tag, copy.via.map(|via| via.tag), self.verdict.priority());
                if let (Some((path, source)), Some(stamp)) = (fast, stamp)
                    && self.verdict.passing().is_none()
                    && row.schedule.is_none()
                    && let Some(to) = row.socket.target()
                {
                    let from = (ingress, source);
                    path.offer(&self.relay, snapshot, stamp, from, &summary, &self.verdict, to);
                }
            }
        }
        while let Some(port) = self.dirty.pop() {
            let Some(Some(row)) = self.ports.get_mut(port.index()) else { continue };
            let sent = match &row.schedule {
                None => row.socket.transmit(&mut row.queue, &mut self.batch),
                Some(schedule) => {
                    let (sent, waits) = schedule.offer(now, &mut row.socket, &mut row.queue, &mut self.batch);
                    if waits && !self.waiting.contains(&port) {
                        self.waiting.push_back(port);
                    }
                    sent
                }
            };
            self.relay.stats().tx(port, sent.frames, sent.octets);
            self.relay.stats().tx_drop(port, sent.dropped);
            if let Some(error) = sent.failure {
                self.failing.push((port, error));
            } else if row.socket.is_late() && !self.late.contains(&port) {
                self.late.push_back(port);
            }
        }
        if let Some(Some(row)) = self.ports.get_mut(ingress.index())
            && let Err(error) = row.socket.release(&mut self.batch)
        {
            self.failing.push((ingress, error));
        }
        if let Some(Some(row)) = self.ports.get_mut(ingress.index()) {
            row.socket.caught_up(now);
        }
        self.drain(now);
        count
    }

    /// Sends what waits in schedules, as far as it may now, and lets go of ports that have failed. No frame of the batch is
    /// in use.
    fn drain(&mut self, now: Instant) {
        for _ in 0..self.waiting.len() {
            let Some(port) = self.waiting.pop_front() else { return };
            let Some(Some(row)) = self.ports.get_mut(port.index()) else { continue };
            let Some(schedule) = &row.schedule else { continue };
            let (sent, waits) = schedule.drain(now, &mut row.socket, &mut row.queue, &mut self.batch);
            self.relay.stats().tx(port, sent.frames, sent.octets);
            self.relay.stats().tx_drop(port, sent.dropped);
            if let Some(error) = sent.failure {
                self.failing.push((port, error));
            } else if waits {
                self.waiting.push_back(port);
            }
        }
        while let Some((port, error)) = self.failing.pop() {
            self.fail(port, error);
        }
    }

    /// Has the kernel go on sending where it could not.
    fn catch_up(&mut self) {
        for _ in 0..self.late.len() {
            let Some(port) = self.late.pop_front() else { return };
            let Some(Some(row)) = self.ports.get_mut(port.index()) else { continue };
            match row.socket.push_out() {
                Err(error) => self.fail(port, error),
                Ok(()) if row.socket.is_late() => self.late.push_back(port),
                Ok(()) => {}
            }
        }
    }

    /// Carries out what the handle asked for; `false` to stop.
    fn obey(&mut self, inbox: &Receiver<Command>) -> bool {
        // Only resets the counter; the commands are in the inbox.
        let _ = (&self.alarm).read(&mut [0; 8]);
        loop {
            // An answer nobody waits for any more is dropped, and with it a port's socket.
            let _ = match inbox.try_recv() {
                Ok(Command::Add(port, socket, reply)) => reply.send(self.add(port, socket)).is_ok(),
                Ok(Command::Remove(port, reply)) => reply.send(self.take(port)).is_ok(),
                Ok(Command::Has(port, reply)) => {
                    reply.send(matches!(self.ports.get(port.index()), Some(Some(_)))).is_ok()
                }
                Ok(Command::Schedule(port, schedule, reply)) => {
                    let row = self.ports.get_mut(port.index()).and_then(Option::as_mut);
                    let known = row.map(|row| row.schedule = Some(schedule)).is_some();
                    self.forget_all();
                    reply.send(known).is_ok()
                }
                Ok(Command::Stats(reply)) => reply.send(self.stats()).is_ok(),
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) => return true,
            };
        }
    }

    fn add(&mut self, port: PortId, mut socket: Port) -> Result<(), WorkerError> {
        if self.ports.len() <= port.index() {
            self.ports.resize_with(port.index() + 1, || None);
        }
        if matches!(self.ports.get(port.index()), Some(Some(_))) {
            return Err(WorkerError::PortTaken(port));
        }
        let leader = self.ports.iter().flatten().find_map(|row| row.socket.leader());
        socket.join(&mut self.batch, leader)?;
        watch(&self.epoll, port, &socket).map_err(|error| WorkerError::Watch(port, error))?;
        if let Some(slot) = self.ports.get_mut(port.index()) {
            let queue = socket.queue();
            *slot = Some(Row { socket, queue, schedule: None, hot: None });
        }
        Ok(())
    }

    /// Lets go of a port without closing it.
    fn take(&mut self, port: PortId) -> Option<Port> {
        let Row { socket, hot, .. } = self.ports.get_mut(port.index())?.take()?;
        self.forget_all();
        self.late.retain(|late| *late != port);
        self.waiting.retain(|waiting| *waiting != port);
        match hot {
            Some(_) => self.hot.retain(|hot| *hot != port),
            // The set forgets a closed socket by itself, should this fail.
            None => socket.watched().for_each(|fd| drop(sys::epoll_delete(self.epoll.as_fd(), fd))),
        }
        Some(socket)
    }

    /// No flow goes fast by what was decided before.
    fn forget_all(&self) {
        if let Some(fast) = &self.fast {
            fast.forget_all();
        }
    }

    fn stats(&mut self) -> Vec<(PortId, PortStats)> {
        let rows = (0..).map(PortId).zip(&mut self.ports);
        rows.filter_map(|(port, row)| Some((port, row.as_mut()?.socket.stats()))).collect()
    }

    fn fail(&mut self, port: PortId, error: PortError) {
        if let Some(socket) = self.take(port) {
            self.unsent.push_back(Event::PortFailed { port, socket, error });
        }
    }

    /// Hands over events as far as there is room for them.
    fn tell(&mut self) {
        while let Some(event) = self.unsent.pop_front() {
            match self.events.try_send(event) {
                Ok(()) => {}
                Err(TrySendError::Full(event)) => return self.unsent.push_front(event),
                Err(TrySendError::Disconnected(_)) => return self.unsent.clear(),
            }
        }
    }
}

/// Has `epoll` tell when `port` has frames.
fn watch(epoll: &OwnedFd, port: PortId, socket: &Port) -> io::Result<()> {
    socket.watched().try_for_each(|fd| sys::epoll_add(epoll.as_fd(), fd, u64::from(port.0)))
}

/// Token of the eventfd; ports have tokens of sixteen bits.
pub(super) const WAKE: u64 = u64::MAX;
/// Ports served between two looks at what is ready.
const ROUND: usize = 64;
const FOREVER: i32 = -1;
/// How long only hot ports are looked at.
const LOOK: Duration = Duration::from_micros(50);
/// What a sleep may exceed the longest look by and still have been too long: waking up alone takes that.
const WAKING: u32 = 4;
const LEAST_SPIN: Duration = Duration::from_micros(10);
/// How long an event that found no room waits before it is tried again, in ms.
const RETRY_MS: i32 = 100;
/// How long what the kernel could not send waits before it is tried again, in ms.
const LATE_MS: i32 = 1;
