//! The controlling bridge's end: all port extenders behind one cascade port, their ports, and the channels between.
//!
//! Each port extender is a node: that at the cascade interface itself, or one behind a cascade port of another, named by
//! that port's PCID. What each node is to know is kept as wanted and confirmed; what differs is asked for, identifiers of
//! ports on the way first, then parameters, then groups, so a port passes frames only when all before it know it.

mod ask;
mod flood;
mod node;
mod told;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use ether::{ECid, Instant, MacAddr, Pcid, Vid, time::Duration, time::earliest};
use serde::{Deserialize, Serialize};

use self::{flood::Floods, node::Node};
use crate::{
    csp::{
        Capability, CodeBook, Completion, Name, Names, Pdu, PortParameters, Session, SessionState,
        session::{self, Peer},
    },
    ecid::Ids,
    extender::Local,
};

/// Where a port extender is: at the cascade interface itself, or behind this port.
pub type At = Option<Pcid>;

/// How it works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Parameters of ECP.
    pub ecp: ecp::Params,
    /// Port extenders one behind the other, at most.
    pub tiers: u8,
    /// How often port extenders are asked for the counters of their ports; zero: never.
    pub statistics: Duration,
}

/// What it wants done or has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this ECPDU to a port extender.
    Transmit {
        /// Where it is.
        at: At,
        /// To whom.
        to: MacAddr,
        /// The ECPDU.
        ecpdu: Bytes,
    },
    /// A session is in another state.
    Session(At, SessionState),
    /// A port extender has a new port; answer with [`Controlling::created`].
    Create {
        /// What it is to be called.
        pcid: Pcid,
        /// Whose port.
        at: At,
        /// Its number there.
        local: Local,
        /// Another port extender may be behind it.
        cascade: bool,
        /// What its port extender calls itself and the port.
        names: Names,
    },
    /// A port is called otherwise than it was.
    Named(Pcid, Names),
    /// Frames can pass at a port, or cannot.
    Link(Pcid, bool),
    /// A port is gone.
    Gone(Pcid),
    /// Frames flooded in a VLAN reach exactly these ports by this channel; none: there is no such channel.
    Flood(Vid, Option<(ECid, Vec<Pcid>)>),
}

/// The engine of one cascade port.
#[derive(Debug)]
pub struct Controlling {
    book: Option<Arc<CodeBook>>,
    settings: Settings,
    sequence: u16,
    ids: Ids,
    nodes: BTreeMap<At, Node>,
    ports: BTreeMap<Pcid, Port>,
    by_local: BTreeMap<(At, Local), Pcid>,
    floods: Floods,
    /// Identifiers of ports of other trees.
    elsewhere: BTreeSet<Pcid>,
    /// Ports that are presumed and not confirmed are gone then.
    presumed_until: Option<Instant>,
    /// Port extenders are asked for counters then.
    count_at: Option<Instant>,
    out: VecDeque<Output>,
}

#[derive(Debug)]
struct Port {
    at: At,
    owner: MacAddr,
    local: Local,
    cascade: bool,
    names: Names,
    /// The Create that waits for the bridge.
    asked: Option<Pdu>,
    /// It was there before a restart, and its port extender has not spoken of it yet.
    presumed: bool,
    parameters: PortParameters,
    /// They are confirmed.
    ready: bool,
    /// As its port extender says.
    up: bool,
    /// What its port extender has counted, and when it said so.
    counters: Option<(Instant, [u64; 12])>,
}

/// What must survive a restart of the bridge for a port to go on at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Its identifier.
    pub pcid: Pcid,
    /// The port it is behind, unless that is the cascade interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: At,
    /// Address of its port extender.
    pub owner: MacAddr,
    /// Its number there.
    pub local: Local,
    /// Another port extender may be behind it.
    pub cascade: bool,
    /// What its port extender calls itself and the port.
    #[serde(flatten)]
    pub names: Names,
}

/// A port for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PortView {
    /// Its identifier.
    pub pcid: Pcid,
    /// The port it is behind, unless that is the cascade interface.
    pub behind: At,
    /// Where its port extender is spoken to.
    pub owner: MacAddr,
    /// Its number at the port extender.
    pub local: Local,
    /// Another port extender may be behind it.
    pub cascade: bool,
    /// All port extenders on the way know it.
    pub ready: bool,
    /// Its link is up.
    pub up: bool,
    /// It was there before a restart, and its port extender has not spoken of it yet.
    pub presumed: bool,
}

impl Port {
    const fn view(&self, pcid: Pcid) -> PortView {
        let Self { at: behind, owner, local, cascade, ready, up, presumed, .. } = *self;
        PortView { pcid, behind, owner, local, cascade, ready, up, presumed }
    }
}

impl Controlling {
    /// Without port extenders. `first_sequence` is ECP's and should be random.
    #[must_use]
    pub fn new(book: Option<Arc<CodeBook>>, settings: Settings, first_sequence: u16) -> Self {
        Self {
            book,
            settings,
            sequence: first_sequence,
            ids: Ids::default(),
            nodes: BTreeMap::new(),
            ports: BTreeMap::new(),
            by_local: BTreeMap::new(),
            floods: Floods::default(),
            elsewhere: BTreeSet::new(),
            presumed_until: None,
            count_at: None,
            out: VecDeque::new(),
        }
    }

    /// Works like this from now on.
    pub fn configure(&mut self, now: Instant, settings: Settings) {
        self.settings = settings;
        for node in self.nodes.values_mut() {
            node.session.set_params(settings.ecp);
        }
        self.count_at = None;
        self.count_again(now);
    }

    /// Speaks by this code book from now on.
    pub fn set_book(&mut self, now: Instant, book: Arc<CodeBook>) {
        for node in self.nodes.values_mut() {
            node.session.set_book(now, Arc::clone(&book));
        }
        self.book = Some(book);
        self.step(now);
    }

    /// A port of another tree has this identifier, or has it no more.
    pub fn set_elsewhere(&mut self, pcid: Pcid, taken: bool) {
        if taken {
            self.elsewhere.insert(pcid);
        } else {
            self.elsewhere.remove(&pcid);
        }
    }

    /// A port that was there before a restart goes on as the bridge wants it, until its port extender speaks of it, at most
    /// for [`PRESUMED`]. Those it is behind come before it. False if it cannot be.
    pub fn resume(&mut self, now: Instant, held: Held, parameters: PortParameters) -> bool {
        let Held { pcid, behind: at, owner, local, cascade, names } = held;
        let way = at.is_none_or(|above| self.ports.get(&above).is_some_and(|port| port.cascade));
        if !way || self.ports.contains_key(&pcid) || self.by_local.contains_key(&(at, local)) {
            return false;
        }
        if self.ids.take_port(now, (owner, local), Some(pcid), &BTreeSet::new()) != Some(pcid) {
            return false;
        }
        let port = Port {
            at,
            owner,
            local,
            cascade,
            names,
            asked: None,
            presumed: true,
            parameters,
            ready: true,
            up: true,
            counters: None,
        };
        self.ports.insert(pcid, port);
        self.by_local.insert((at, local), pcid);
        self.presumed_until = Some(now + PRESUMED);
        self.out.push_back(Output::Link(pcid, true));
        true
    }

    /// What must survive a restart for a port to go on.
    #[must_use]
    pub fn held(&self, pcid: Pcid) -> Option<Held> {
        let port = self.ports.get(&pcid).filter(|port| port.asked.is_none())?;
        let Port { at: behind, owner, local, cascade, ref names, .. } = *port;
        Some(Held { pcid, behind, owner, local, cascade, names: names.clone() })
    }

    /// What the port extender of a port has counted there, in the order of [`crate::csp::Counters::values`], and when it
    /// said so.
    #[must_use]
    pub fn counters(&self, pcid: Pcid) -> Option<(Instant, [u64; 12])> {
        self.ports.get(&pcid)?.counters
    }

    /// LLDP hears this port extender, or none; a link that is down has none.
    pub fn set_peer(&mut self, now: Instant, at: At, peer: Option<Peer>) {
        if !self.nodes.contains_key(&at) {
            let may = at.is_none_or(|pcid| self.ports.get(&pcid).is_some_and(|port| port.cascade));
            if peer.is_none() || !may {
                return;
            }
            self.sequence = self.sequence.wrapping_add(0x1357);
            let book = self.book.clone();
            let session = Session::new(book, Capability::default(), self.settings.ecp, self.sequence, now);
            self.nodes.insert(at, Node::new(session));
        }
        if let Some(node) = self.nodes.get_mut(&at) {
            node.session.set_peer(now, peer);
        }
        self.step(now);
    }

    /// Takes an ECPDU that came from a port extender.
    pub fn handle_ecpdu(&mut self, now: Instant, at: At, from: MacAddr, ecpdu: &[u8]) {
        if let Some(node) = self.nodes.get_mut(&at) {
            node.session.handle_ecpdu(now, from, ecpdu);
        }
        self.step(now);
    }

    /// The bridge has made the port that [`Output::Create`] asked for and wants it to work like this, or it has no room.
    pub fn created(&mut self, now: Instant, pcid: Pcid, parameters: Option<PortParameters>) {
        let Some(port) = self.ports.get_mut(&pcid) else { return };
        let Some(request) = port.asked.take() else { return };
        let at = port.at;
        let Some(parameters) = parameters else {
            if let Some(node) = self.nodes.get_mut(&at) {
                node.session.answer(now, &request, Completion::NoResources, None, told::ports_of(&request));
            }
            self.remove(now, pcid, false);
            return self.step(now);
        };
        port.parameters = parameters;
        if let Some(node) = self.nodes.get_mut(&at) {
            let body = told::ports_of(&request);
            node.session.answer(now, &request, Completion::Success, Some(pcid.into()), body);
            node.parameters.insert(pcid);
        }
        self.want(pcid);
        self.step(now);
    }

    /// The bridge wants a port to work like this from now on.
    pub fn set_parameters(&mut self, now: Instant, parameters: PortParameters) {
        let Some(port) = self.ports.get_mut(&parameters.pcid) else { return };
        if port.parameters != parameters {
            let pcid = parameters.pcid;
            port.parameters = parameters;
            if let Some(node) = self.nodes.get_mut(&port.at).filter(|_| port.asked.is_none()) {
                node.parameters.insert(pcid);
            }
            self.step(now);
        }
    }

    /// Frames flooded in a VLAN are to reach these ports.
    pub fn set_flood(&mut self, now: Instant, vlan: Vid, members: BTreeSet<Pcid>) {
        if self.floods.set(now, vlan, members) {
            self.out.push_back(Output::Flood(vlan, None));
        }
    }

    /// Lets time pass; harmless when called early or late.
    pub fn handle_timeout(&mut self, now: Instant) {
        for node in self.nodes.values_mut() {
            node.session.handle_timeout(now);
        }
        if self.presumed_until.take_if(|until| *until <= now).is_some() {
            let gone = self.ports.iter().filter(|(_, port)| port.presumed);
            let gone: Vec<Pcid> = gone.map(|(pcid, _)| *pcid).collect();
            gone.into_iter().for_each(|pcid| self.remove(now, pcid, true));
        }
        if self.count_at.take_if(|at| *at <= now).is_some() {
            self.count(now);
        }
        for vlan in self.floods.due(now) {
            self.arrange(now, vlan);
        }
        self.step(now);
    }

    /// When [`Controlling::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let sessions = self.nodes.values().filter_map(|node| node.session.poll_timeout()).min();
        let floods = earliest(self.floods.poll_timeout(), self.presumed_until);
        earliest(sessions, earliest(floods, self.count_at))
    }

    /// The next thing to do, oldest first.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// The sessions, each with where its port extender is.
    pub fn sessions(&self) -> impl Iterator<Item = (At, &Session)> {
        self.nodes.iter().map(|(at, node)| (*at, &node.session))
    }

    /// The ports.
    pub fn ports(&self) -> impl Iterator<Item = PortView> {
        let standing = self.ports.iter().filter(|(_, port)| port.asked.is_none());
        standing.map(|(pcid, port)| port.view(*pcid))
    }

    /// One of them.
    #[must_use]
    pub fn port(&self, pcid: Pcid) -> Option<PortView> {
        let port = self.ports.get(&pcid).filter(|port| port.asked.is_none())?;
        Some(port.view(pcid))
    }

    /// The session with the port extender at a place.
    #[must_use]
    pub fn session(&self, at: At) -> Option<&Session> {
        self.nodes.get(&at).map(|node| &node.session)
    }

    /// What the port extender at a place calls itself.
    #[must_use]
    pub fn name(&self, at: At) -> Option<&Name> {
        let mut here = self.ports.values().filter(|port| port.at == at);
        here.find_map(|port| port.names.extender.as_ref())
    }

    /// Channels of several members that are in use.
    pub fn floods(&self) -> impl Iterator<Item = (Vid, ECid, &BTreeSet<Pcid>)> {
        self.floods.told()
    }

    /// The channels a port extender has confirmed, each with its members there.
    pub fn channels(&self, at: At) -> impl Iterator<Item = (ECid, &BTreeSet<Pcid>)> {
        self.nodes.get(&at).into_iter().flat_map(Node::channels)
    }

    /// How many port extenders are one behind the other down to `at`.
    #[must_use]
    pub fn tier(&self, at: At) -> u8 {
        u8::try_from(self.path(at).len()).unwrap_or(u8::MAX).saturating_add(1)
    }

    /// Takes what sessions have, and asks what is to be asked.
    fn step(&mut self, now: Instant) {
        loop {
            let next = self.nodes.iter_mut().find_map(|(at, node)| Some((*at, node.session.poll_output()?)));
            let Some((at, output)) = next else {
                if self.ask(now) {
                    continue;
                }
                return;
            };
            match output {
                session::Output::Transmit(to, ecpdu) => {
                    self.out.push_back(Output::Transmit { at, to, ecpdu });
                }
                session::Output::Up(_) => self.opened(now, at),
                session::Output::Down(_) => self.down(now, at),
                session::Output::State => {
                    let state = self.nodes.get(&at).map(|node| node.session.state());
                    self.out.extend(state.map(|state| Output::Session(at, state)));
                }
                session::Output::Request(request) => self.handle_request(now, at, request),
                session::Output::Answer { request, answer, granted } => {
                    self.handle_answer(now, at, request.transaction, granted, &answer);
                }
            }
        }
    }

    /// A session is there: ports further down that are presumed lead through it.
    fn opened(&mut self, now: Instant, at: At) {
        let presumed = self.ports.iter().filter(|(_, port)| port.presumed && port.at != at);
        let presumed: Vec<Pcid> = presumed.map(|(pcid, _)| *pcid).collect();
        presumed.into_iter().for_each(|pcid| self.want(pcid));
        self.count_again(now);
    }

    /// Has all nodes on the way to a port know it.
    fn want(&mut self, pcid: Pcid) {
        let Some(at) = self.ports.get(&pcid).map(|port| port.at) else { return };
        for (above, member) in self.path(at) {
            if let Some(node) = self.nodes.get_mut(&above) {
                node.want(pcid.into(), BTreeSet::from([member]));
            }
        }
    }

    /// All port extenders are to tell their counters, those apart that have not told all since they were asked last.
    fn count(&mut self, now: Instant) {
        for (pcid, port) in self.ports.iter().filter(|(_, port)| port.asked.is_none() && !port.presumed) {
            if let Some(node) = self.nodes.get_mut(&port.at).filter(|node| node.is_open()) {
                node.uncounted.insert(*pcid);
            }
        }
        self.count_again(now);
    }

    /// Sets when that is asked next, while somebody is there to be asked.
    fn count_again(&mut self, now: Instant) {
        let open = !self.settings.statistics.is_zero() && self.nodes.values().any(Node::is_open);
        let next = open.then(|| now + self.settings.statistics);
        self.count_at = self.count_at.filter(|_| open).or(next);
    }

    /// A session is lost, and with it all its port extender said.
    fn down(&mut self, now: Instant, at: At) {
        if let Some(node) = self.nodes.get_mut(&at) {
            node.forget();
        }
        let here: Vec<Pcid> =
            self.ports.iter().filter(|(_, port)| port.at == at).map(|(pcid, _)| *pcid).collect();
        here.into_iter().for_each(|pcid| self.remove(now, pcid, true));
    }

    /// A port is no more, nor is what is behind it.
    fn remove(&mut self, now: Instant, pcid: Pcid, tell: bool) {
        let behind: Vec<Pcid> =
            self.ports.iter().filter(|(_, port)| port.at == Some(pcid)).map(|(pcid, _)| *pcid).collect();
        behind.into_iter().for_each(|pcid| self.remove(now, pcid, true));
        let Some(at) = self.ports.get(&pcid).map(|port| port.at) else { return };
        for (above, _) in self.path(at) {
            if let Some(node) = self.nodes.get_mut(&above) {
                node.want(pcid.into(), BTreeSet::new());
            }
        }
        if let Some(node) = self.nodes.get_mut(&at) {
            node.lose(pcid);
        }
        self.nodes.remove(&Some(pcid));
        if let Some(port) = self.ports.remove(&pcid) {
            self.by_local.remove(&(at, port.local));
            self.ids.release_port(now, (port.owner, port.local), pcid);
            let untold = self.floods.lose(now, pcid);
            self.out.extend(untold.into_iter().map(|vlan| Output::Flood(vlan, None)));
            if tell {
                self.out.push_back(Output::Gone(pcid));
            }
        }
    }

    /// The nodes above `at`, each with its port that leads there.
    fn path(&self, at: At) -> Vec<(At, Pcid)> {
        let (mut path, mut here) = (Vec::new(), at);
        while let Some(pcid) = here {
            let Some(port) = self.ports.get(&pcid) else { break };
            path.push((port.at, pcid));
            here = port.at;
        }
        path
    }

    /// Whether all nodes on the way know a port.
    fn known(&self, pcid: Pcid) -> bool {
        let Some(port) = self.ports.get(&pcid) else { return false };
        let confirmed =
            |(above, _): &(At, Pcid)| self.nodes.get(above).is_some_and(|node| node.has(pcid.into()));
        self.path(port.at).iter().all(confirmed)
    }
}

/// How long ports that were there before a restart are presumed to be still.
pub const PRESUMED: Duration = Duration::from_secs(30);
