//! The port extender's end: chooses its upstream port, asks for a PCID for each of its ports, and does
//! with them what the controlling bridge says.
//!
//! When the session is lost its ports pass nothing, or go on for a while as they were ([`Settings::hold`]); when there is
//! one again, each asks for the PCID it had.

mod ask;
mod told;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use ether::{ECid, Instant, MacAddr, Pcid, time::Duration, time::earliest};
use serde::Serialize;

use crate::{
    csp::{
        Capability, CodeBook, Name, Pdu, PortParameters, Session, SessionState,
        session::{self, Peer},
    },
    election::{self, Offer},
    stats::Stats,
};

/// The port extender's own number of a port, 31 bits.
pub type Local = u32;

/// How it works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What it calls itself.
    pub name: Option<Name>,
    /// Parameters of ECP.
    pub ecp: ecp::Params,
    /// How long ports go on when the session is lost; zero: not at all.
    pub hold: Duration,
}

/// A port that is to be one of the bridge's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortInfo {
    /// What the port extender calls it.
    pub name: Option<Name>,
    /// Another port extender may be behind it.
    pub cascade: bool,
    /// Its link is up.
    pub up: bool,
}

/// What it wants done or has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this ECPDU out of an upstream port.
    Transmit {
        /// Which.
        port: Local,
        /// To whom.
        to: MacAddr,
        /// The ECPDU.
        ecpdu: Bytes,
    },
    /// Another upstream port is chosen, or none.
    Upstream(Option<Local>),
    /// The session is in another state.
    Session(SessionState),
    /// A port works like this; nothing passes if it has no parameters.
    Port(Local, Option<PortParameters>),
    /// Frames of this channel go down to these ports; none: it is gone.
    Channel(ECid, Vec<Local>),
    /// The bridge asks what these ports have counted; answer with [`Extender::counted`].
    Count {
        /// Which question.
        question: u32,
        /// Which ports.
        ports: Vec<Local>,
    },
}

/// The engine.
#[derive(Debug)]
pub struct Extender {
    settings: Settings,
    offers: BTreeMap<Local, Offer>,
    upstream: Option<Local>,
    session: Session,
    ports: BTreeMap<Local, Port>,
    by_pcid: BTreeMap<Pcid, Local>,
    channels: BTreeMap<ECid, Channel>,
    /// Ports that have something to ask.
    todo: BTreeSet<Local>,
    /// Ports whose status is to be told, and when.
    statuses: BTreeSet<Local>,
    status_at: Option<Instant>,
    /// What is left of the last session ends then.
    stale_until: Option<Instant>,
    /// Questions for counters that wait for them.
    counting: BTreeMap<u32, Pdu>,
    out: VecDeque<Output>,
}

#[derive(Debug)]
struct Port {
    /// None: it is gone, and the bridge is to know.
    info: Option<PortInfo>,
    stage: Stage,
    /// What it has, or had last.
    pcid: Option<Pcid>,
    parameters: Option<PortParameters>,
    /// They are from the last session.
    stale: bool,
    /// Its link went down since the bridge was told of it.
    fell: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    New,
    Asked,
    Refused,
    Active,
    Leaving,
}

#[derive(Debug, Default)]
struct Channel {
    members: BTreeSet<Pcid>,
    stale: bool,
}

/// A port for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PortView {
    /// Its number.
    pub local: Local,
    /// Its identifier, while it has one.
    pub pcid: Option<Pcid>,
    /// Another port extender may be behind it.
    pub cascade: bool,
    /// Frames pass.
    pub open: bool,
    /// It goes on as the last session left it.
    pub stale: bool,
    /// The bridge refuses it.
    pub refused: bool,
}

impl Extender {
    /// Without upstream and ports. `first_sequence` is ECP's and should be random.
    #[must_use]
    pub fn new(book: Option<Arc<CodeBook>>, settings: Settings, first_sequence: u16, now: Instant) -> Self {
        Self {
            offers: BTreeMap::new(),
            upstream: None,
            session: Session::new(book, Capability::default(), settings.ecp, first_sequence, now),
            settings,
            ports: BTreeMap::new(),
            by_pcid: BTreeMap::new(),
            channels: BTreeMap::new(),
            todo: BTreeSet::new(),
            statuses: BTreeSet::new(),
            status_at: None,
            stale_until: None,
            counting: BTreeMap::new(),
            out: VecDeque::new(),
        }
    }

    /// What the neighbour at an upstream port says; none, if there is none or the link is down.
    pub fn set_offer(&mut self, now: Instant, port: Local, offer: Option<Offer>) {
        match offer {
            Some(offer) => drop(self.offers.insert(port, offer)),
            None => drop(self.offers.remove(&port)),
        }
        let wins = election::elect(self.offers.iter().map(|(port, offer)| (*port, offer)));
        if wins != self.upstream {
            self.session.set_peer(now, None);
            self.step(now);
            self.upstream = wins;
            self.out.push_back(Output::Upstream(wins));
        }
        let peer = wins.and_then(|port| self.offers.get(&port)).map(|offer| Peer {
            address: offer.csp_address,
            marker: offer.marker.clone(),
            chosen: true,
        });
        self.session.set_peer(now, peer);
        self.step(now);
    }

    /// Works like this from now on. Its name is told with the ports of the next session.
    pub fn configure(&mut self, settings: Settings) {
        self.session.set_params(settings.ecp);
        self.settings = settings;
    }

    /// Speaks by this code book from now on.
    pub fn set_book(&mut self, now: Instant, book: Arc<CodeBook>) {
        self.session.set_book(now, book);
        self.step(now);
    }

    /// A port is there and is to be the bridge's, or has changed, or is gone.
    pub fn set_port(&mut self, now: Instant, local: Local, info: Option<PortInfo>) {
        match self.ports.get_mut(&local) {
            None if info.is_none() => return,
            None => {
                let stage = Stage::New;
                let new = Port { info, stage, pcid: None, parameters: None, stale: false, fell: false };
                self.ports.insert(local, new);
                self.todo.insert(local);
            }
            Some(port) => {
                let gone = info.is_none();
                let before = std::mem::replace(&mut port.info, info);
                let kind = |info: &Option<PortInfo>| info.as_ref().map(|info| info.cascade);
                let up = |info: &Option<PortInfo>| info.as_ref().map(|info| info.up);
                if up(&before) != up(&port.info) && port.stage == Stage::Active {
                    self.statuses.insert(local);
                    self.status_at = self.status_at.or(Some(now + COALESCE));
                }
                let is_up = |info: &Option<PortInfo>| info.as_ref().is_some_and(|info| info.up);
                let fell = is_up(&before) && !is_up(&port.info);
                port.fell |= fell;
                let leads_on = port.info.as_ref().is_some_and(|info| info.cascade);
                if kind(&before) != kind(&port.info) {
                    self.todo.insert(local);
                }
                if gone {
                    self.shut(local);
                } else if fell && leads_on {
                    // Another port extender may be behind it when it comes back.
                    self.leave_channels(local);
                }
            }
        }
        self.step(now);
    }

    /// Takes an ECPDU that came in at an upstream port.
    pub fn handle_ecpdu(&mut self, now: Instant, port: Local, from: MacAddr, ecpdu: &[u8]) {
        if self.upstream == Some(port) {
            self.session.handle_ecpdu(now, from, ecpdu);
            self.step(now);
        }
    }

    /// Lets time pass; harmless when called early or late.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.session.handle_timeout(now);
        if self.stale_until.is_some_and(|at| at <= now) {
            self.stale_until = None;
            self.drop_stale();
        }
        self.step(now);
    }

    /// When [`Extender::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        // Without room an answer comes first.
        let status = self.status_at.filter(|_| self.session.room() > 0);
        earliest(earliest(self.session.poll_timeout(), status), self.stale_until)
    }

    /// The next thing to do, oldest first.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// The chosen upstream port.
    #[must_use]
    pub const fn upstream(&self) -> Option<Local> {
        self.upstream
    }

    /// What an upstream port is offered.
    #[must_use]
    pub fn offer(&self, port: Local) -> Option<&Offer> {
        self.offers.get(&port)
    }

    /// The session.
    #[must_use]
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// What the session has counted.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        self.session.stats()
    }

    /// Its ports.
    pub fn ports(&self) -> impl Iterator<Item = PortView> {
        self.ports.iter().map(|(local, port)| PortView {
            local: *local,
            pcid: port.pcid.filter(|_| port.stage == Stage::Active || port.stale),
            cascade: port.info.as_ref().is_some_and(|info| info.cascade),
            open: port.parameters.as_ref().is_some_and(PortParameters::is_open),
            stale: port.stale,
            refused: port.stage == Stage::Refused,
        })
    }

    /// Its channels, each with its members.
    pub fn channels(&self) -> impl Iterator<Item = (ECid, &BTreeSet<Pcid>)> {
        self.channels.iter().map(|(ecid, channel)| (*ecid, &channel.members))
    }

    /// Takes what the session has, and asks what is to be asked.
    fn step(&mut self, now: Instant) {
        loop {
            while let Some(output) = self.session.poll_output() {
                match output {
                    session::Output::Transmit(to, ecpdu) => {
                        if let Some(port) = self.upstream {
                            self.out.push_back(Output::Transmit { port, to, ecpdu });
                        }
                    }
                    session::Output::Up(_) => self.up(),
                    session::Output::Down(_) => self.down(now),
                    session::Output::State => self.out.push_back(Output::Session(self.session.state())),
                    session::Output::Request(request) => self.handle_request(now, &request),
                    session::Output::Answer { request, answer, granted } => {
                        self.handle_answer(now, &request, &answer, granted);
                    }
                }
            }
            if !self.ask(now) {
                return;
            }
        }
    }

    /// All ports are asked for anew.
    fn up(&mut self) {
        self.todo = self.ports.keys().copied().collect();
    }

    /// All the bridge said is void, at once or later.
    fn down(&mut self, now: Instant) {
        self.statuses.clear();
        self.status_at = None;
        self.counting.clear();
        self.ports.retain(|_, port| port.info.is_some());
        let left = |extender: &Self| {
            extender.ports.values().any(|port| port.stale) || extender.channels.values().any(|c| c.stale)
        };
        if !left(self) {
            // All that an earlier loss had left was confirmed since: this is another one.
            self.stale_until = None;
        }
        for port in self.ports.values_mut() {
            port.stage = Stage::New;
            port.fell = false;
            port.stale = port.parameters.is_some();
        }
        self.channels.values_mut().for_each(|channel| channel.stale = true);
        if self.settings.hold.is_zero() {
            self.drop_stale();
        } else if self.stale_until.is_none() {
            self.stale_until = Some(now + self.settings.hold);
        }
    }

    /// What no session has confirmed goes.
    fn drop_stale(&mut self) {
        let stale: Vec<Local> =
            self.ports.iter().filter(|(_, port)| port.stale).map(|(local, _)| *local).collect();
        stale.into_iter().for_each(|local| self.shut(local));
        let gone: Vec<ECid> =
            self.channels.iter().filter(|(_, channel)| channel.stale).map(|(ecid, _)| *ecid).collect();
        for ecid in gone {
            self.channels.remove(&ecid);
            self.out.push_back(Output::Channel(ecid, Vec::new()));
        }
    }

    /// Nothing passes at a port any more, and it is in no channel.
    fn shut(&mut self, local: Local) {
        let Some(port) = self.ports.get_mut(&local) else { return };
        port.stale = false;
        if port.parameters.take().is_some() {
            self.out.push_back(Output::Port(local, None));
        }
        let pcid = port.pcid;
        self.leave_channels(local);
        if let Some(pcid) = pcid.filter(|pcid| self.by_pcid.get(pcid) == Some(&local)) {
            self.by_pcid.remove(&pcid);
        }
    }

    /// No channel leads to a port any more.
    fn leave_channels(&mut self, local: Local) {
        let pcid = self.ports.get(&local).and_then(|port| port.pcid);
        let Some(pcid) = pcid.filter(|pcid| self.by_pcid.get(pcid) == Some(&local)) else { return };
        let here: Vec<ECid> = self
            .channels
            .iter_mut()
            .filter_map(|(ecid, channel)| channel.members.remove(&pcid).then_some(*ecid))
            .collect();
        here.into_iter().for_each(|ecid| self.tell_channel(ecid));
    }

    /// Has the data path follow a channel; one without members is none.
    fn tell_channel(&mut self, ecid: ECid) {
        let Some(channel) = self.channels.get(&ecid) else { return };
        let members: Vec<Local> =
            channel.members.iter().filter_map(|pcid| self.by_pcid.get(pcid).copied()).collect();
        if members.is_empty() && !channel.stale {
            self.channels.remove(&ecid);
        }
        self.out.push_back(Output::Channel(ecid, members));
    }
}

/// Why a session of a port extender stands still, in words.
#[must_use]
pub const fn words(state: SessionState) -> &'static str {
    match state {
        SessionState::Idle { because } | SessionState::Waiting { because, .. } => because.words(),
        SessionState::Opening { .. } => "opening",
        SessionState::Open => "open",
    }
}

/// Changes of links within this time are told together.
const COALESCE: Duration = Duration::from_millis(50);
