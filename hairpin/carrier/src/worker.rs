//! The thread that relays: every frame of its ports goes through [`Relay::process`], the copies go out.
//!
//! Each round takes one batch from every port that has frames, so that a busy port costs the others one batch of delay.
//! Between rounds, and only there, ports are added and removed. The snapshot is looked at once per batch; once the
//! worker is warm nothing is allocated per frame.

use std::{
    any::Any,
    collections::{BTreeMap, VecDeque},
    fmt,
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, OwnedFd},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender, SyncSender, TryRecvError, TrySendError},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use ether::Instant;
use hairpin::{MirrorTarget, Outcome, PortId, Relay, Verdict};

use crate::{
    batch::{Batch, TxQueue},
    capture::Captures,
    clock,
    error::{OpenError, PortError},
    port::Port,
    schedule::Schedule,
    stats::PortStats,
    sys,
};

/// The maker of workers.
#[derive(Debug)]
pub struct Worker;

/// What a worker tells of its own accord.
#[derive(Debug)]
pub enum Event {
    /// A port's interface went down or away. The worker has let go of the port and goes on with the others.
    PortFailed {
        /// The port.
        port: PortId,
        /// Its socket, to be dropped by who receives this: closing takes the kernel milliseconds.
        socket: Port,
        /// What happened.
        error: PortError,
    },
    /// The worker ended by a fault of its own. None of its ports forwards any more.
    Died {
        /// The message of the panic, or what the kernel said.
        cause: String,
    },
}

/// Why a worker does not do what it is asked.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// It could not be started.
    #[error("cannot start the worker: {0}")]
    Start(io::Error),
    /// The port number is in use.
    #[error("port {0} is in use")]
    PortTaken(PortId),
    /// It has no such port.
    #[error("no port {0}")]
    NoPort(PortId),
    /// Not one socket for each thread.
    #[error("{given} sockets for {threads} threads")]
    Sockets {
        /// Sockets given.
        given: usize,
        /// Threads it has.
        threads: usize,
    },
    /// The port's socket cannot be waited for.
    #[error("cannot wait for frames of port {0}: {1}")]
    Watch(PortId, io::Error),
    /// The port cannot share what the thread's other ports do.
    #[error(transparent)]
    Join(#[from] OpenError),
    /// It has ended by a fault of its own.
    #[error("the worker died: {0}")]
    Died(String),
}

/// How many threads relay, and how.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// Threads; 0 counts as one.
    pub threads: usize,
    /// Processors the threads stay on, in turn; none: wherever the kernel puts them.
    pub cpus: Vec<u16>,
    /// How long a thread looks for further frames before it sleeps, at most. It looks less long where that does not pay.
    pub spin: Duration,
    /// Where mirrored frames may go.
    pub captures: Captures,
    /// Octets each thread has for frames of its xdp ports, taken with the first of them; 4 MiB for each receive queue.
    pub memory: u32,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            threads: 1,
            cpus: Vec::new(),
            spin: Duration::from_micros(50),
            captures: Captures::default(),
            memory: 32 << 20,
        }
    }
}

impl Worker {
    /// Starts a worker without ports. Its events go to `events`; while that is full they wait inside the worker.
    ///
    /// # Errors
    /// [`WorkerError::Start`], also when there is no such processor.
    pub fn spawn(
        relay: &Arc<Relay>,
        events: &SyncSender<Event>,
        options: &WorkerOptions,
    ) -> Result<WorkerHandle, WorkerError> {
        let start = |index: usize| {
            let cpu = index.checked_rem(options.cpus.len()).and_then(|at| options.cpus.get(at)).copied();
            Thread::start(Arc::clone(relay), events.clone(), options, cpu)
        };
        let threads = (0..options.threads.max(1)).map(start).collect::<io::Result<_>>();
        Ok(WorkerHandle { threads: threads.map_err(WorkerError::Start)? })
    }
}

/// The owner of a running worker. Dropping it stops the worker.
///
/// Every call waits for each thread to finish its round, which takes at most some milliseconds.
#[derive(Debug)]
pub struct WorkerHandle {
    /// At least one.
    threads: Vec<Thread>,
}

impl WorkerHandle {
    /// How many threads relay: what [`WorkerHandle::add_port`] takes sockets for.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads.len()
    }

    /// Lets the worker forward by `sockets` as port `port` of the relay: one socket for each thread, which divide what
    /// comes in among them ([`crate::PacketPort::open_group`], [`crate::XdpPort::open_group`]).
    ///
    /// # Errors
    /// [`WorkerError::PortTaken`], [`WorkerError::Sockets`], [`WorkerError::Join`], [`WorkerError::Watch`],
    /// [`WorkerError::Died`]. No thread has the port then.
    pub fn add_port<S: Into<Port>>(
        &self,
        port: PortId,
        sockets: impl IntoIterator<Item = S>,
    ) -> Result<(), WorkerError> {
        let sockets: Vec<Port> = sockets.into_iter().map(Into::into).collect();
        if sockets.len() != self.threads.len() {
            return Err(WorkerError::Sockets { given: sockets.len(), threads: self.threads.len() });
        }
        for (at, (thread, socket)) in self.threads.iter().zip(sockets).enumerate() {
            if let Err(error) = thread.call(|reply| Command::Add(port, socket, reply)).and_then(|added| added)
            {
                for thread in self.threads.iter().take(at) {
                    // A thread that has died forwards by nothing.
                    let _ = thread.call(|reply| Command::Remove(port, reply));
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// Takes the port away; when this returns, no frame goes in or out by it. Dropping the sockets closes it.
    ///
    /// # Errors
    /// [`WorkerError::NoPort`], also when the port has failed in all threads before; [`WorkerError::Died`].
    pub fn remove_port(&self, port: PortId) -> Result<Vec<Port>, WorkerError> {
        let mut sockets = Vec::new();
        for thread in &self.threads {
            sockets.extend(thread.call(|reply| Command::Remove(port, reply))?);
        }
        if sockets.is_empty() { Err(WorkerError::NoPort(port)) } else { Ok(sockets) }
    }

    /// Has copies that leave by the port wait in `schedule`, from now on and as long as the port is served.
    ///
    /// # Errors
    /// [`WorkerError::NoPort`], [`WorkerError::Died`].
    pub fn schedule(&self, port: PortId, schedule: &Arc<Schedule>) -> Result<(), WorkerError> {
        for thread in &self.threads {
            if !thread.call(|reply| Command::Schedule(port, Arc::clone(schedule), reply))? {
                return Err(WorkerError::NoPort(port));
            }
        }
        Ok(())
    }

    /// The counters of all ports, in the order of their numbers.
    ///
    /// # Errors
    /// [`WorkerError::Died`].
    pub fn stats(&self) -> Result<Vec<(PortId, PortStats)>, WorkerError> {
        let mut sums: BTreeMap<PortId, PortStats> = BTreeMap::new();
        for thread in &self.threads {
            for (port, stats) in thread.call(Command::Stats)? {
                *sums.entry(port).or_default() += stats;
            }
        }
        Ok(sums.into_iter().collect())
    }

    /// Whether all its threads forward by this port.
    ///
    /// # Errors
    /// [`WorkerError::Died`].
    pub fn has_port(&self, port: PortId) -> Result<bool, WorkerError> {
        for thread in &self.threads {
            if !thread.call(|reply| Command::Has(port, reply))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Stops the worker and closes its ports.
    ///
    /// # Errors
    /// [`WorkerError::Died`] when a thread had ended before, with the cause.
    pub fn stop(mut self) -> Result<(), WorkerError> {
        // Dropping stops those behind one that had died.
        self.threads.iter_mut().try_for_each(Thread::finish)
    }
}

/// One thread of a worker, seen from outside.
#[derive(Debug)]
struct Thread {
    commands: Sender<Command>,
    wake: File,
    join: Option<JoinHandle<Result<(), String>>>,
}

impl Thread {
    fn start(
        relay: Arc<Relay>,
        events: SyncSender<Event>,
        options: &WorkerOptions,
        cpu: Option<u16>,
    ) -> io::Result<Self> {
        let (commands, inbox) = mpsc::channel();
        let wake = File::from(sys::eventfd()?);
        let epoll = sys::epoll_create()?;
        sys::epoll_add(epoll.as_fd(), wake.as_fd(), WAKE)?;
        let alarm = wake.try_clone()?;
        let (pinned, settled) = mpsc::sync_channel(1);
        let options = options.clone();
        let body = move || {
            let pin = cpu.map_or(Ok(()), sys::pin);
            let goes = pin.is_ok();
            // Who started it waits for this.
            let _ = pinned.send(pin);
            if !goes {
                return Ok(());
            }
            let mut core = Core::new(relay, epoll, alarm, events.clone(), options);
            guarded(&events, || core.run(&inbox))
        };
        let join = thread::Builder::new().name("carrier".into()).spawn(body)?;
        settled.recv().map_err(io::Error::other)?.map_err(|error| {
            let cpu = cpu.unwrap_or_default();
            io::Error::new(error.kind(), format!("it cannot run on processor {cpu}: {error}"))
        })?;
        Ok(Self { commands, wake, join: Some(join) })
    }

    fn finish(&mut self) -> Result<(), WorkerError> {
        let Some(thread) = self.join.take() else { return Ok(()) };
        if self.commands.send(Command::Stop).is_ok() {
            self.ring();
        }
        match thread.join() {
            Ok(result) => result.map_err(WorkerError::Died),
            Err(panic) => Err(WorkerError::Died(message(&*panic))),
        }
    }

    fn call<T>(&self, command: impl FnOnce(SyncSender<T>) -> Command) -> Result<T, WorkerError> {
        let gone = || WorkerError::Died("it takes no commands".into());
        let (reply, answer) = mpsc::sync_channel(1);
        self.commands.send(command(reply)).map_err(|_| gone())?;
        self.ring();
        answer.recv().map_err(|_| gone())
    }

    fn ring(&self) {
        // Fails only when the counter is full, and then the worker is awake.
        let _ = (&self.wake).write_all(&1u64.to_ne_bytes());
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        // Nobody is left to hear how it ended, and the event has told already.
        let _ = self.finish();
    }
}

/// What the handle asks of the thread.
enum Command {
    Add(PortId, Port, SyncSender<Result<(), WorkerError>>),
    Remove(PortId, SyncSender<Option<Port>>),
    Has(PortId, SyncSender<bool>),
    Schedule(PortId, Arc<Schedule>, SyncSender<bool>),
    Stats(SyncSender<Vec<(PortId, PortStats)>>),
    Stop,
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Add(..) => "Add",
            Self::Remove(..) => "Remove",
            Self::Has(..) => "Has",
            Self::Schedule(..) => "Schedule",
            Self::Stats(_) => "Stats",
            Self::Stop => "Stop",
        })
    }
}

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
struct Core {
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
    /// Ports found to have failed while their queues were sent.
    failing: Vec<(PortId, PortError)>,
    /// Ports that the kernel could not send everything by; each is here once.
    late: VecDeque<PortId>,
    /// Ports in whose schedule something waits; each is here once.
    waiting: VecDeque<PortId>,
}

impl Core {
    fn new(
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
            failing: Vec::new(),
            late: VecDeque::new(),
            waiting: VecDeque::new(),
        }
    }

    /// Works until told to stop; fails when it cannot wait for frames any more.
    fn run(&mut self, inbox: &Receiver<Command>) -> io::Result<()> {
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
                        if self.serve(port, snapshots.load(), now) > 0 && self.spin.budget > Duration::ZERO {
                            self.heat(port, now);
                        }
                    }
                    Err(_) => woken = true,
                }
            }
            if woken && !self.obey(inbox) {
                return Ok(());
            }
            self.spin(|core, port, now| core.serve(port, snapshots.load(), now), now + LOOK);
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

    /// Relays one batch from `ingress`; returns how many frames that was.
    fn serve(&mut self, ingress: PortId, snapshot: &hairpin::Snapshot, now: Instant) -> usize {
        let Some(Some(row)) = self.ports.get_mut(ingress.index()) else { return 0 };
        let count = match row.socket.receive(&mut self.batch) {
            Ok(count) => count,
            Err(error) => {
                self.fail(ingress, error);
                return 0;
            }
        };
        for frame in self.batch.frames() {
            let frame = match frame {
                Ok(frame) => frame,
                Err(error) => {
                    self.relay.reject(ingress, u32::try_from(error.octets()).unwrap_or(u32::MAX));
                    continue;
                }
            };
            self.relay.process(snapshot, now, ingress, &frame.summary(), &mut self.verdict);
            for copy in self.verdict.mirrors() {
                let port = match copy.to {
                    MirrorTarget::Port(port) => port,
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
                row.queue.push(&frame, Some(copy.tag), copy.tag.pcp);
            }
            if self.verdict.outcome() != Outcome::Forward {
                continue;
            }
            for copy in self.verdict.copies() {
                let Some(Some(row)) = self.ports.get_mut(copy.port.index()) else {
                    self.relay.stats().tx_drop(copy.port, 1);
                    continue;
                };
                if row.queue.is_empty() {
                    self.dirty.push(copy.port);
                }
                row.queue.push(&frame, copy.tag, self.verdict.priority());
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
                    reply.send(row.map(|row| row.schedule = Some(schedule)).is_some()).is_ok()
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
        self.late.retain(|late| *late != port);
        self.waiting.retain(|waiting| *waiting != port);
        match hot {
            Some(_) => self.hot.retain(|hot| *hot != port),
            // The set forgets a closed socket by itself, should this fail.
            None => socket.watched().for_each(|fd| drop(sys::epoll_delete(self.epoll.as_fd(), fd))),
        }
        Some(socket)
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

/// Runs the thread's work; turns a panic or an error into a last event and the thread's result.
fn guarded(events: &SyncSender<Event>, work: impl FnOnce() -> io::Result<()>) -> Result<(), String> {
    // What the work has borrowed is dropped by the thread right after, not looked at.
    let cause = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => format!("cannot wait for frames: {error}"),
        Err(panic) => format!("panic: {}", message(&*panic)),
    };
    // Must not wait for room: who should make it may be waiting for this thread. The result says the same.
    let _ = events.try_send(Event::Died { cause: cause.clone() });
    Err(cause)
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message").to_owned()
}

/// Token of the eventfd; ports have tokens of sixteen bits.
const WAKE: u64 = u64::MAX;
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

#[cfg(test)]
mod tests {
    use hairpin::Limits;

    use super::*;

    #[test]
    fn a_panic_becomes_an_event_and_a_result() {
        let (events, inbox) = mpsc::sync_channel(1);
        let result = guarded(&events, || panic!("no {}", "mercy"));
        assert_eq!(result, Err("panic: no mercy".into()));
        assert!(matches!(inbox.try_recv(), Ok(Event::Died { cause }) if cause == "panic: no mercy"));
        let result = guarded(&events, || Err(io::Error::from_raw_os_error(libc::EBADF)));
        assert!(result.is_err_and(|cause| cause.starts_with("cannot wait for frames: Bad file descriptor")));
    }

    #[test]
    fn a_full_event_queue_does_not_keep_a_dying_worker() {
        let (events, _inbox) = mpsc::sync_channel(0);
        assert_eq!(guarded(&events, || panic!("full")), Err("panic: full".into()));
    }

    #[test]
    fn stops_and_answers_without_ports() {
        let (events, _inbox) = mpsc::sync_channel(1);
        let worker =
            Worker::spawn(&Arc::new(Relay::new(Limits::default())), &events, &WorkerOptions::default())
                .unwrap();
        assert!(matches!(worker.remove_port(PortId(9)), Err(WorkerError::NoPort(PortId(9)))));
        assert_eq!(worker.stats().unwrap(), []);
        worker.stop().unwrap();
    }
}
