//! libvirt's requests and the daemon: the thread that answers them, and what follows from them.

mod address;
mod macvtaps;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context;
use ether::{Instant, MacAddr, mac};
use rtnetlink::sys::{Socket, SocketAddr};
use rustix::io::Errno;
use tokio::{
    sync::{Notify, mpsc},
    time,
};
use vdp::{
    Command, FilterEntry, FilterInfo, VsiId,
    station::{Cause, StationEvent},
};

use self::{
    address::{alone, bind, pid_line, write},
    macvtaps::{Macvtap, macvtaps},
};
use super::{Clock, Daemon};
use crate::{
    config::VsiConfig,
    event::Event,
    input::{Input, Link},
    libvirt::{
        GuestRow, Guests, LibvirtPort, Notice, ports, respond, stuck,
        wire::{self, Ask, Progress},
    },
    order::{VsiOrder, Which},
    port::Side,
};

/// The service for libvirt.
pub(crate) struct Libvirt {
    guests: Arc<Mutex<Guests>>,
    socket: Arc<Socket>,
    /// What libvirt sends its requests to.
    number: u32,
    pid_file: PathBuf,
    /// The file is there.
    announced: bool,
    /// The names the core knows VSIs by.
    names: BTreeMap<String, VsiId>,
    /// The sockets libvirt's daemons had when last looked at; none before the first look.
    seen: Option<BTreeSet<LibvirtPort>>,
    /// Those libvirt waited at for answers lost with an earlier daemon are free.
    released: bool,
    /// Those that were called negative.
    negative: BTreeSet<u32>,
    /// How often libvirt was asked about a macvtap nobody knows.
    asked: BTreeMap<MacAddr, u8>,
}

/// What the daemon's task is told.
pub(super) enum Heard {
    /// libvirt has asked for these, and these interfaces are there.
    Asks(Vec<Ask>, Vec<Macvtap>),
    /// What there is, to see whether libvirt and the daemon agree.
    Look(Vec<Macvtap>, BTreeSet<LibvirtPort>),
}

impl Libvirt {
    /// Takes a number and answers requests from then on, which come once [`Libvirt::announce`] has written it. Nothing else
    /// of the daemon may have asked the kernel for a netlink socket before, or its process number is taken.
    ///
    /// # Errors
    /// When lldpad or another daemon serves libvirt already.
    pub(super) fn start(
        pid_file: &Path,
        clock: Clock,
        limit: usize,
        heard: mpsc::Sender<Heard>,
    ) -> anyhow::Result<Self> {
        alone(pid_file)?;
        let (socket, number) = bind()?;
        socket.set_rx_buf_sz(RECEIVE_BUFFER)?;
        let socket = Arc::new(socket);
        let guests = Arc::new(Mutex::new(Guests::new(limit)));
        let wake = Arc::new(Notify::new());
        let (theirs, of, waker) = (Arc::clone(&socket), Arc::clone(&guests), Arc::clone(&wake));
        std::thread::Builder::new()
            .name("libvirt".to_owned())
            .spawn(move || answer(&theirs, &of, &waker, clock))?;
        let (connection, handle, _) =
            rtnetlink::new_connection().context("cannot open a route netlink socket")?;
        tokio::spawn(connection);
        tokio::spawn(look(handle, Arc::clone(&guests), wake, heard));
        Ok(Self {
            guests,
            socket,
            number,
            pid_file: pid_file.to_owned(),
            announced: false,
            names: BTreeMap::new(),
            seen: None,
            released: false,
            negative: BTreeSet::new(),
            asked: BTreeMap::new(),
        })
    }

    /// The uplink is this now; the first time libvirt may ask.
    pub(super) fn set_uplink(&mut self, link: &Link) {
        let ifindex = match link {
            Link::Present { ifindex, .. } => Some(*ifindex),
            Link::Absent => None,
        };
        lock(&self.guests).set_uplink(ifindex);
        if !std::mem::replace(&mut self.announced, true) {
            match write(&self.pid_file, self.number) {
                Ok(()) => {
                    tracing::info!(pid_file = %self.pid_file.display(), number = self.number, "libvirt is served");
                }
                Err(error) => {
                    tracing::error!(pid_file = %self.pid_file.display(), %error, "libvirt cannot reach the daemon");
                }
            }
        }
    }

    /// As many VSIs as there may be.
    pub(super) fn set_limit(&self, limit: usize) {
        lock(&self.guests).set_limit(limit);
    }

    /// Removes the pid file: libvirt fails at once then, and does not wait.
    pub(super) fn stop(&self) {
        let ours = fs::read_to_string(&self.pid_file).is_ok_and(|text| text == pid_line(self.number));
        if ours && let Err(error) = fs::remove_file(&self.pid_file) {
            tracing::warn!(pid_file = %self.pid_file.display(), %error, "the pid file stays");
        }
    }

    /// The guests, for display.
    pub(crate) fn rows(&self) -> Vec<GuestRow> {
        lock(&self.guests).rows()
    }

    /// When [`Daemon::tell_libvirt`] has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        lock(&self.guests).poll_timeout()
    }

    /// Takes up what has become of a VSI.
    pub(super) fn follow(&mut self, event: &Event) {
        match event {
            Event::StationVsi { what, .. } => self.follow_vsi(what),
            Event::VsiOrderRefused { vsi, command, .. } => {
                if let Some(id) = self.names.get(vsi) {
                    lock(&self.guests).settle(id, *command, Progress::FAILED);
                }
            }
            _ => {}
        }
    }

    fn follow_vsi(&mut self, what: &StationEvent) {
        let mut guests = lock(&self.guests);
        match what {
            StationEvent::Associated { id, .. } => guests.settle(id, Command::Associate, Progress::Done),
            StationEvent::PreAssociated { id, command, .. } => guests.settle(id, *command, Progress::Done),
            // It is asked for again, and may still come in time.
            StationEvent::Refused { cause: Cause::Timeout | Cause::PeerLost, .. } => {}
            StationEvent::Refused { id, command, error, .. } => {
                let refused =
                    error.map_or(Progress::FAILED, |error| Progress::Refused(u8::from(error).into()));
                guests.settle(id, *command, refused);
            }
            StationEvent::Kept { id, error, .. } => {
                guests.settle(id, Command::Associate, Progress::Refused(u8::from(*error).into()));
            }
            StationEvent::Gone { id, cause: Cause::Commanded, .. } => {
                guests.end(id);
                drop(guests);
                self.names.retain(|_, named| named != id);
            }
            StationEvent::Gone { cause: Cause::Replaced, .. } => {}
            StationEvent::Gone { id, .. } => guests.withdraw(id),
        }
    }

    /// Tells libvirt that a VSI is gone; whether anybody was there to be told.
    fn tell(&self, notice: &Notice) -> bool {
        let message = wire::withdrawal(self.number, &notice.ask);
        notice.port != 0 && self.send(notice.port, &message)
            || self.listeners().into_iter().filter(|port| self.send(*port, &message)).count() > 0
    }

    /// Where libvirt's daemons hear: sockets that stay.
    fn listeners(&self) -> Vec<u32> {
        let now = ports();
        let seen = self.seen.as_ref().unwrap_or(&now);
        now.intersection(seen).map(|port| port.port).collect()
    }

    fn send(&self, port: u32, message: &[u8]) -> bool {
        let sent = self.socket.send_to(message, &SocketAddr::new(port, 0), DONT_WAIT);
        if let Err(error) = &sent {
            tracing::debug!(port, %error, "libvirt is not told");
        }
        sent.is_ok()
    }

    /// libvirt may wait for ever for an answer that an earlier daemon has taken with it: it gets one.
    fn release(&mut self, now: &BTreeSet<LibvirtPort>) {
        let Some(seen) = self.seen.as_ref().filter(|_| !self.released) else { return };
        self.released = true;
        for LibvirtPort { port, pid, process } in stuck(seen, now) {
            tracing::info!(
                port,
                pid,
                process,
                "asked an earlier daemon, and may wait for its answer: it gets one"
            );
            self.send(port, &wire::release(Errno::AGAIN.raw_os_error()));
        }
    }

    /// libvirt knows more of macvtap interfaces nobody here knows, if they are its own.
    fn resync(&mut self, macvtaps: &[Macvtap]) {
        if self.seen.is_none() {
            return;
        }
        self.asked.retain(|mac, _| macvtaps.iter().any(|macvtap| macvtap.mac == *mac));
        let listeners = self.listeners();
        for Macvtap { name, mac } in macvtaps {
            let known = lock(&self.guests).has(*mac);
            let times = self.asked.entry(*mac).or_default();
            if known || listeners.is_empty() || *times == RESYNCS {
                continue;
            }
            *times += 1;
            tracing::info!(interface = name, %mac, "libvirt is asked whether this is a VSI");
            let message = wire::resync(self.number, *mac);
            for port in &listeners {
                self.send(*port, &message);
            }
        }
    }

    /// Daemons of libvirt that cannot ask for anything, because of the number of their socket.
    fn deaf(&mut self, now: &BTreeSet<LibvirtPort>) -> Vec<Event> {
        let Some(seen) = &self.seen else { return Vec::new() };
        let deaf = crate::libvirt::deaf(seen, now);
        self.negative.retain(|pid| deaf.iter().any(|port| port.pid == *pid));
        let new = deaf.into_iter().filter(|port| self.negative.insert(port.pid));
        new.map(|LibvirtPort { port, pid, process }| Event::LibvirtDeaf {
            remedy: format!("restart {process} (until its socket has a number below 2147483648)"),
            process,
            pid,
            port,
        })
        .collect()
    }
}

impl Daemon {
    /// Takes up VSIs from before a restart.
    pub(super) fn resume_guests(&mut self) {
        let Some(libvirt) = &mut self.libvirt else { return };
        let now = self.clock.now();
        let mut guests = lock(&libvirt.guests);
        for vm in self.core.vms.values().filter(|vm| vm.config.transient) {
            let vdp =
                match self.core.ports.get(vm.uplink.index()).and_then(|port| Some(&port.edge.as_ref()?.side))
                {
                    Some(Side::Station { vdp, .. }) => vdp.vsi(&vm.config.id),
                    Some(Side::Bridge { .. }) | None => None,
                };
            let (Some(vsi), Some(ask)) = (vdp, ask(&vm.config)) else { continue };
            let Some(command) = vsi.wanted else { continue };
            let progress = if vsi.confirmed == Some(command) { Progress::Done } else { Progress::Waiting };
            libvirt.names.insert(vm.config.name.clone(), vm.config.id);
            guests.resume(now, Ask { command, ..ask }, progress);
        }
    }

    /// Takes up what libvirt asks, and whether it and the daemon agree.
    pub(super) fn hear_libvirt(&mut self, heard: Heard) {
        let (now, Some(libvirt)) = (self.clock.now(), &mut self.libvirt) else { return };
        match heard {
            Heard::Asks(asks, macvtaps) => {
                for ask in asks {
                    let known = self.core.vms.get(&ask.id).map(|vm| &vm.config);
                    let there =
                        macvtaps.iter().find(|macvtap| macvtap.mac == ask.mac).map(|m| m.name.clone());
                    let interface = there
                        .or_else(|| known.map(|known| known.interface.clone()))
                        .unwrap_or_else(|| format!("vm:{:012x}", mac::to_u64(ask.mac)));
                    let vsi = match known {
                        Some(_) if ask.command == Command::DeAssociate => Which::Known(ask.id.to_string()),
                        _ => {
                            libvirt.names.insert(interface.clone(), ask.id);
                            match config(&ask, interface) {
                                Some(config) => Which::Given(config),
                                None => continue,
                            }
                        }
                    };
                    let order =
                        VsiOrder { command: ask.command, vsi, hints: vdp::Hints::default(), port: None };
                    self.core.handle(now, Input::Vsi { order });
                }
                self.drain();
            }
            Heard::Look(macvtaps, ports) => {
                libvirt.release(&ports);
                libvirt.resync(&macvtaps);
                let events = libvirt.deaf(&ports);
                libvirt.seen = Some(ports);
                let seen = |id: &VsiId| {
                    let vm = self.core.vms.get(id);
                    vm.is_some_and(|vm| vm.config.macs().any(|mac| macvtaps.iter().any(|m| m.mac == mac)))
                };
                let given_up = lock(&libvirt.guests).sweep(now, seen);
                for id in given_up {
                    let (command, vsi) = (Command::DeAssociate, Which::Known(id.to_string()));
                    let order = VsiOrder { command, vsi, hints: vdp::Hints::default(), port: None };
                    self.core.handle(now, Input::Vsi { order });
                }
                events.iter().for_each(|event| self.publish(event));
                self.drain();
            }
        }
    }

    /// Tells libvirt of VSIs that are gone.
    pub(super) fn tell_libvirt(&mut self) {
        let (now, Some(libvirt)) = (self.clock.now(), &self.libvirt) else { return };
        let notices = lock(&libvirt.guests).notices(now);
        let told: Vec<(VsiId, bool)> =
            notices.iter().map(|notice| (notice.ask.id, libvirt.tell(notice))).collect();
        for (id, told) in told {
            let vsi = self.core.vms.get(&id).map(|vm| vm.config.name.clone());
            self.publish(&Event::LibvirtTold { vsi, id, told });
        }
    }
}

/// Answers whatever comes, until the daemon ends. Nothing else happens here: libvirt waits.
fn answer(socket: &Socket, guests: &Mutex<Guests>, wake: &Notify, clock: Clock) {
    let mut buffer = Vec::with_capacity(DATAGRAM);
    loop {
        buffer.clear();
        let from = match socket.recv_from(&mut buffer, 0) {
            Ok((_, from)) => from,
            Err(error) => {
                tracing::error!(%error, "requests of libvirt");
                std::thread::sleep(PAUSE);
                continue;
            }
        };
        // The kernel asks for nothing.
        if from.port_number() == 0 {
            continue;
        }
        let answers = respond(&mut lock(guests), clock.now(), &buffer);
        for answer in answers {
            let to = SocketAddr::new(from.port_number(), 0);
            if let Err(error) = socket.send_to(&answer, &to, DONT_WAIT) {
                tracing::debug!(port = from.port_number(), %error, "an answer is not taken");
            }
        }
        wake.notify_one();
    }
}

/// Tells the daemon's task what is asked, as it is asked, and now and then what there is.
async fn look(
    handle: rtnetlink::Handle,
    guests: Arc<Mutex<Guests>>,
    wake: Arc<Notify>,
    heard: mpsc::Sender<Heard>,
) {
    let mut next = time::Instant::now();
    let mut soon = SOON;
    loop {
        let asked = tokio::select! {
            () = wake.notified() => true,
            () = time::sleep_until(next) => false,
        };
        let told = if asked {
            let asks = lock(&guests).take();
            if asks.is_empty() {
                continue;
            }
            Heard::Asks(asks, macvtaps(&handle).await)
        } else {
            next = time::Instant::now() + soon;
            soon = LATER;
            Heard::Look(macvtaps(&handle).await, ports())
        };
        if heard.send(told).await.is_err() {
            return;
        }
    }
}

/// The VSI as the core is given it.
fn config(ask: &Ask, interface: String) -> Option<VsiConfig> {
    let line = FilterEntry { group: None, mac: Some(ask.mac), vid: ask.vlan, priority: None };
    Some(VsiConfig {
        name: interface.clone(),
        interface,
        id: ask.id,
        manager: ask.manager,
        type_id: ask.type_id,
        type_version: ask.version,
        filter: FilterInfo::new(vec![line]).ok()?,
        ips: Vec::new(),
        automatic: false,
        transient: true,
        channel: None,
    })
}

/// What libvirt has asked for, of a VSI that was given.
fn ask(config: &VsiConfig) -> Option<Ask> {
    let line = config.filter.entries().first()?;
    Some(Ask {
        ifindex: 0,
        interface: String::new(),
        id: config.id,
        mac: line.mac?,
        vlan: line.vid,
        manager: config.manager,
        type_id: config.type_id,
        version: config.type_version,
        command: Command::Associate,
    })
}

fn lock(guests: &Mutex<Guests>) -> MutexGuard<'_, Guests> {
    guests.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Requests take less than a thousand octets with what the kernel adds: some thousands may come at once.
const RECEIVE_BUFFER: u32 = 4 << 20;
const DATAGRAM: usize = 64 * 1024;
const PAUSE: Duration = Duration::from_millis(100);
/// `MSG_DONTWAIT`.
const DONT_WAIT: i32 = 0x40;
/// After the first look a second one soon: what is in both stays.
const SOON: Duration = Duration::from_millis(500);
const LATER: Duration = Duration::from_secs(10);
/// How often libvirt is asked about one macvtap.
const RESYNCS: u8 = 3;
