//! A controlling bridge, port extenders in up to four tiers, and the links between them, on which frames are octets of
//! tags and what they tag.

use std::collections::{BTreeMap, BTreeSet};

use ether::{ChannelTag, DownTag, ECid, Framing, Instant, Pcid, Tag, UpTag};
use hairpin::{
    Control, Extension, Frame, LagId, Limits, Parameters, PortConfig, PortId, Relay, RelayKind, Role, Verdict,
};
use rand::{RngExt, rngs::StdRng};

use crate::vid;

/// Ports of the bridge at most.
pub(crate) const PORTS: u16 = 256;

pub(crate) fn limits() -> Limits {
    Limits { ports: PORTS, fdb_entries: 4096, snooping: false, flap_moves: 0, ..Limits::DEFAULT }
}

/// A port with a station.
#[derive(Debug)]
pub(crate) struct Station {
    /// As the bridge has it.
    pub(crate) config: PortConfig,
    /// The node and port it is at.
    at: (usize, PortId),
}

/// The bridge, which is node 0, or a port extender.
struct Node {
    relay: Relay,
    control: Control,
    /// What is at the other end of its cascade ports: a node, at its upstream port.
    below: BTreeMap<PortId, usize>,
    /// What is at the other end of its upstream port.
    above: Option<(usize, PortId)>,
    tier: usize,
    framing: Framing,
    next: u16,
}

pub(crate) struct Tree {
    nodes: Vec<Node>,
    pub(crate) stations: Vec<Station>,
    verdict: Verdict,
    /// Copies that left for several ports together.
    pub(crate) together: usize,
}

/// Of a port extender.
const UPSTREAM: PortId = PortId(0);

impl Tree {
    /// A tree of up to 16 port extenders with stations at random ports, some at the bridge itself.
    pub(crate) fn grow(random: &mut StdRng) -> Self {
        Self::grow_with(random, 0)
    }

    /// The same with up to so many LAGs.
    pub(crate) fn grow_with(random: &mut StdRng, lags: u16) -> Self {
        let mut tree = Self {
            nodes: vec![Node::new(RelayKind::Bridge, None, 0, Framing::Etag)],
            stations: Vec::new(),
            verdict: Verdict::new(PORTS),
            together: 0,
        };
        let mut pcids = 1..;
        for _ in 0..random.random_range(1..=16) {
            let at = random.random_range(0..tree.nodes.len());
            if tree.nodes[at].tier < 4 {
                tree.extend(at, &mut pcids, random);
            }
        }
        for _ in 0..random.random_range(2..60) {
            let at = random.random_range(0..tree.nodes.len());
            tree.station(at, &mut pcids, random);
        }
        (0..lags).for_each(|lag| tree.aggregate(LagId(lag), random));
        if random.random_bool(0.8) {
            // Members of LAGs have no part in it; it would be no fault if they had.
            tree.flood_together(random.random_bool(0.3));
        }
        for node in &mut tree.nodes {
            node.relay.publish(node.control.snapshot());
        }
        tree
    }

    /// Puts a port extender behind a new cascade port of `at`.
    fn extend(&mut self, at: usize, pcids: &mut impl Iterator<Item = u32>, random: &mut StdRng) {
        let framing = match at {
            0 if random.random_bool(0.5) => Framing::Vntag,
            0 => Framing::Etag,
            // One tree has one framing.
            _ => self.nodes[at].framing,
        };
        let (new, tier) = (self.nodes.len(), self.nodes[at].tier + 1);
        let port = self.nodes[at].number();
        let cascade = PortConfig { framing, ..PortConfig::new(port, Role::Cascade) };
        if at == 0 {
            self.nodes[0].control.set_port(cascade).unwrap();
        } else {
            let pcid = Pcid::new(pcids.next().unwrap()).unwrap();
            let end = Some(Extension::End(Parameters::new(pcid).into()));
            self.nodes[at].control.set_port(PortConfig { extension: end, ..cascade }).unwrap();
            self.register(pcid.into(), (at, port));
        }
        self.nodes[at].below.insert(port, new);
        let mut node = Node::new(RelayKind::Extender, Some((at, port)), tier, framing);
        let upstream = PortConfig { framing, ..PortConfig::new(UPSTREAM, Role::Upstream) };
        node.control.set_port(upstream).unwrap();
        node.control.set_upstream(Some(UPSTREAM));
        self.nodes.push(node);
    }

    /// Puts a station at a new port of `at`.
    fn station(&mut self, at: usize, pcids: &mut impl Iterator<Item = u32>, random: &mut StdRng) {
        let mut config = PortConfig::new(self.nodes[0].number(), Role::Bridge);
        let untagged = random.random_range(1..4);
        config.pvid = random.random_bool(0.8).then(|| vid(untagged));
        config.untagged.extend(config.pvid);
        config.tagged = (1..4).filter(|_| random.random_bool(0.5)).map(vid).collect();
        config.reflective = random.random_bool(0.1);
        let mut place = (0, config.id);
        if at > 0 {
            let (pcid, port) = (Pcid::new(pcids.next().unwrap()).unwrap(), self.nodes[at].number());
            let end = Extension::End(Parameters::new(pcid).into());
            let untagged = config.untagged.clone();
            let extended =
                PortConfig { extension: Some(end), untagged, ..PortConfig::new(port, Role::Extended) };
            self.nodes[at].control.set_port(extended).unwrap();
            let cascade = self.register(pcid.into(), (at, port));
            config.extension = Some(Extension::Behind { cascade, pcid });
            place = (at, port);
        }
        self.nodes[0].control.set_port(config.clone()).unwrap();
        self.stations.push(Station { config, at: place });
    }

    /// Makes some extended ports that are of no LAG one.
    fn aggregate(&mut self, lag: LagId, random: &mut StdRng) {
        let free = |station: &&mut Station| station.at.0 > 0 && station.config.lag.is_none();
        let mut members = self.stations.iter_mut().filter(free);
        let Some(first) = members.next() else { return };
        first.config.lag = Some(lag);
        let like = first.config.clone();
        let others = members.filter(|_| random.random_bool(0.2)).take(3);
        for station in others {
            let (id, extension) = (station.config.id, station.config.extension.clone());
            station.config = PortConfig { id, extension, ..like.clone() };
        }
        for station in self.stations.iter().filter(|station| station.config.lag == Some(lag)) {
            self.nodes[0].control.set_port(station.config.clone()).unwrap();
            let control = &mut self.nodes[station.at.0].control;
            let end = control.port(station.at.1).unwrap().clone();
            control.set_port(PortConfig { untagged: like.untagged.clone(), ..end }).unwrap();
        }
    }

    /// The LAG of a station's port.
    pub(crate) fn lag_of(&self, port: PortId) -> Option<LagId> {
        self.stations.iter().find(|station| station.config.id == port)?.config.lag
    }

    /// The ports of a LAG.
    pub(crate) fn members(&self, lag: LagId) -> impl Iterator<Item = PortId> {
        self.stations.iter().map(|station| &station.config).filter(move |c| c.lag == Some(lag)).map(|c| c.id)
    }

    /// Takes a station's port up or down.
    pub(crate) fn set_up(&mut self, port: PortId, up: bool) {
        let station = self.stations.iter_mut().find(|station| station.config.id == port).unwrap();
        station.config.up = up;
        self.nodes[0].control.set_port(station.config.clone()).unwrap();
        let node = &mut self.nodes[station.at.0];
        let end = node.control.port(station.at.1).unwrap().clone();
        node.control.set_port(PortConfig { up, ..end }).unwrap();
        node.relay.publish(node.control.snapshot());
        let bridge = &mut self.nodes[0];
        bridge.relay.publish(bridge.control.snapshot());
    }

    /// Takes a station's port away.
    pub(crate) fn remove(&mut self, port: PortId) {
        let at = self.stations.iter().position(|station| station.config.id == port).unwrap();
        self.stations.remove(at);
        let bridge = &mut self.nodes[0];
        bridge.control.remove_port(port).unwrap();
        bridge.relay.publish(bridge.control.snapshot());
    }

    /// Has `ecid` lead to that port on all port extenders on the way; returns the cascade port of the bridge.
    fn register(&mut self, ecid: ECid, (at, port): (usize, PortId)) -> PortId {
        let mut way = (at, port);
        while let (node, port) = way
            && let Some(above) = self.nodes[node].above
        {
            self.nodes[node].control.set_channel(ecid, BTreeSet::from([port]));
            way = above;
        }
        way.1
    }

    /// Makes a channel of several members for each VLAN behind each cascade port of the bridge.
    fn flood_together(&mut self, lags: bool) {
        let mut ecids = 0x10_0001..;
        let cascades: Vec<PortId> = self.nodes[0].below.keys().copied().collect();
        for (cascade, vlan) in cascades.into_iter().flat_map(|c| (1..4).map(move |n| (c, vid(n)))) {
            let is = |station: &&Station| {
                let behind = matches!(station.config.extension, Some(Extension::Behind { cascade: c, .. }) if c == cascade);
                behind
                    && (lags || station.config.lag.is_none())
                    && (station.config.untagged.contains(&vlan) || station.config.tagged.contains(&vlan))
            };
            let members: Vec<&Station> = self.stations.iter().filter(is).collect();
            if members.len() < 2 {
                continue;
            }
            let ecid = ECid::new(ecids.next().unwrap()).unwrap();
            let mut ways: BTreeMap<usize, BTreeSet<PortId>> = BTreeMap::new();
            for station in &members {
                let mut way = station.at;
                while let Some(above) = self.nodes[way.0].above {
                    ways.entry(way.0).or_default().insert(way.1);
                    way = above;
                }
            }
            let ids = members.iter().map(|station| station.config.id).collect();
            self.nodes[0].control.set_flood(cascade, vlan, Some((ecid, ids)));
            for (node, ports) in ways {
                self.nodes[node].control.set_channel(ecid, ports);
            }
        }
    }

    /// Sends a frame from the station at port `ingress` of the bridge; the stations it gets to, and its tag there.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        ingress: PortId,
        frame: &Frame<'_>,
    ) -> Vec<(PortId, Option<Tag>)> {
        let station = self.stations.iter().find(|station| station.config.id == ingress).unwrap();
        let mut arrived = Vec::new();
        // Node, port, octets of an E-channel's tag, C-tag.
        let mut moving = vec![(station.at, None, frame.tag)];
        while let Some(((at, port), channel, tag)) = moving.pop() {
            let node = &self.nodes[at];
            let frame = Frame { tag, ..*frame };
            let snapshot = node.relay.load();
            match channel {
                None => node.relay.process(&snapshot, now, port, &frame, &mut self.verdict),
                Some(octets) => {
                    let octets: ether::TagOctets = octets;
                    let framing = node.framing_of(port);
                    let tag = if at > 0 && port == UPSTREAM {
                        ChannelTag::Down(DownTag::parse(framing, octets.as_slice()).unwrap())
                    } else {
                        ChannelTag::Up(UpTag::parse(framing, octets.as_slice()).unwrap())
                    };
                    node.relay.process_tagged(&snapshot, now, port, tag, &frame, &mut self.verdict);
                }
            }
            let extended = at > 0 || channel.is_some();
            if extended || self.verdict.copies().iter().any(|copy| copy.via.is_some()) {
                // A tag of an E-channel stands where who keeps decisions does not look.
                assert!(self.verdict.passing().is_some(), "a decision about an E-channel is kept");
            }
            self.together += usize::from(at == 0)
                * self.verdict.copies().iter().filter(|copy| copy.via.is_some_and(is_group)).count();
            for copy in self.verdict.copies() {
                let out = copy.via.map_or(copy.port, |via| via.port);
                let octets = copy.via.map(|via| via.tag);
                if let Some(below) = node.below.get(&out) {
                    moving.push(((*below, UPSTREAM), octets, copy.tag));
                } else if let Some(above) = node.above.filter(|_| out == UPSTREAM) {
                    moving.push((above, octets, copy.tag));
                } else {
                    assert_eq!(octets, None, "a station gets a tag");
                    let station = self.stations.iter().find(|station| station.at == (at, out)).unwrap();
                    arrived.push((station.config.id, copy.tag));
                }
            }
        }
        arrived
    }

    pub(crate) fn counters_add_up(&self) {
        for node in &self.nodes {
            for port in (0..PORTS).map(PortId) {
                assert!(node.relay.stats().port(port).unwrap().adds_up());
            }
        }
    }

    pub(crate) fn depth(&self) -> usize {
        self.nodes.iter().map(|node| node.tier).max().unwrap()
    }
}

impl std::fmt::Debug for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, node) in self.nodes.iter().enumerate() {
            writeln!(f, "node {at}: above {:?}, below {:?}, {:?}", node.above, node.below, node.framing)?;
        }
        self.stations.iter().try_for_each(|station| writeln!(f, "{station:?}"))
    }
}

fn is_group(via: hairpin::Via) -> bool {
    let parse = |framing| DownTag::parse(framing, via.tag.as_slice()).is_ok_and(|tag| tag.to.is_group());
    parse(Framing::Etag) || parse(Framing::Vntag)
}

impl Node {
    fn new(kind: RelayKind, above: Option<(usize, PortId)>, tier: usize, framing: Framing) -> Self {
        let (relay, control) = (Relay::new(limits()), Control::new(kind, &limits()));
        Self {
            relay,
            control,
            below: BTreeMap::new(),
            above,
            tier,
            framing,
            next: u16::from(above.is_some()),
        }
    }

    fn framing_of(&self, port: PortId) -> Framing {
        self.control.port(port).unwrap().framing
    }

    fn number(&mut self) -> PortId {
        self.next += 1;
        PortId(self.next - 1)
    }
}
