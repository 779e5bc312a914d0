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
use ether::{ECid, Instant, MacAddr, Pcid, Vid, time::earliest};
use serde::Serialize;

use self::{flood::Floods, node::Node};
use crate::{
    csp::{
        Capability, CodeBook, Completion, Pdu, PortParameters, Session, SessionState,
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
    },
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
    book: Arc<CodeBook>,
    settings: Settings,
    sequence: u16,
    ids: Ids,
    nodes: BTreeMap<At, Node>,
    ports: BTreeMap<Pcid, Port>,
    by_local: BTreeMap<(At, Local), Pcid>,
    floods: Floods,
    out: VecDeque<Output>,
}

#[derive(Debug)]
struct Port {
    at: At,
    owner: MacAddr,
    local: Local,
    cascade: bool,
    /// The Create that waits for the bridge.
    asked: Option<Pdu>,
    parameters: PortParameters,
    /// They are confirmed.
    ready: bool,
    /// As its port extender says.
    up: bool,
}

/// A port for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PortView {
    /// Its identifier.
    pub pcid: Pcid,
    /// The port it is behind, unless that is the cascade interface.
    pub behind: At,
    /// Its number at the port extender.
    pub local: Local,
    /// Another port extender may be behind it.
    pub cascade: bool,
    /// All port extenders on the way know it.
    pub ready: bool,
    /// Its link is up.
    pub up: bool,
}

impl Controlling {
    /// Without port extenders. `first_sequence` is ECP's and should be random.
    #[must_use]
    pub fn new(book: Arc<CodeBook>, settings: Settings, first_sequence: u16) -> Self {
        Self {
            book,
            settings,
            sequence: first_sequence,
            ids: Ids::default(),
            nodes: BTreeMap::new(),
            ports: BTreeMap::new(),
            by_local: BTreeMap::new(),
            floods: Floods::default(),
            out: VecDeque::new(),
        }
    }

    /// LLDP hears this port extender, or none; a link that is down has none.
    pub fn set_peer(&mut self, now: Instant, at: At, peer: Option<Peer>) {
        if !self.nodes.contains_key(&at) {
            let may = at.is_none_or(|pcid| self.ports.get(&pcid).is_some_and(|port| port.cascade));
            if peer.is_none() || !may {
                return;
            }
            self.sequence = self.sequence.wrapping_add(0x1357);
            let book = Arc::clone(&self.book);
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
                node.session.answer(now, &request, Completion::NoResources, None, request.body.clone());
            }
            self.remove(now, pcid, false);
            return self.step(now);
        };
        port.parameters = parameters;
        if let Some(node) = self.nodes.get_mut(&at) {
            let body = request.body.clone();
            node.session.answer(now, &request, Completion::Success, Some(pcid.into()), body);
            node.parameters.insert(pcid);
        }
        for (above, member) in self.path(at) {
            if let Some(node) = self.nodes.get_mut(&above) {
                node.want(pcid.into(), BTreeSet::from([member]));
            }
        }
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
        for vlan in self.floods.due(now) {
            self.arrange(now, vlan);
        }
        self.step(now);
    }

    /// When [`Controlling::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let sessions = self.nodes.values().filter_map(|node| node.session.poll_timeout()).min();
        earliest(sessions, self.floods.poll_timeout())
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
        standing.map(|(pcid, port)| PortView {
            pcid: *pcid,
            behind: port.at,
            local: port.local,
            cascade: port.cascade,
            ready: port.ready,
            up: port.up,
        })
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
                session::Output::Up(_) => {}
                session::Output::Down(_) => self.down(now, at),
                session::Output::State => {
                    let state = self.nodes.get(&at).map(|node| node.session.state());
                    self.out.extend(state.map(|state| Output::Session(at, state)));
                }
                session::Output::Request(request) => self.handle_request(now, at, request),
                session::Output::Answer { request, granted, .. } => {
                    self.handle_answer(at, request.transaction, granted);
                }
            }
        }
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
