//! The threads that relay: every frame of their ports goes through [`Relay::process`], the copies go out.

mod rounds;

use std::{
    any::Any,
    collections::BTreeMap,
    fmt,
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        mpsc::{self, Sender, SyncSender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use hairpin::{PortId, Relay};

use self::rounds::{Core, WAKE};
use crate::{
    capture::Captures,
    error::{OpenError, PortError},
    fast::FastPath,
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
    /// Has the kernel forward what is settled, between ports that are part of it.
    pub fast: Option<Arc<FastPath>>,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            threads: 1,
            cpus: Vec::new(),
            spin: Duration::from_micros(50),
            captures: Captures::default(),
            memory: 32 << 20,
            fast: None,
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
