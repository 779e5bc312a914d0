//! A controlling bridge with ordinary ports, port extenders in a tree up to four tiers deep, and stations that speak EVB on
//! some of their ports: all real daemons, with real relays, joined by cables.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ether::{Instant, MacAddr};
use evb_tests::wire::{Arrived, Faults, Wire, address};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};

pub(super) const BRIDGE: usize = 0;

/// A port with something behind it: the machine and what the port is called there.
pub(super) type Place = (usize, String);

/// What a port of the bridge faces.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Faces {
    /// A LAN with these VLANs.
    Lan { untagged: Option<u16>, tagged: Vec<u16> },
    /// Stations, which bring their VLANs.
    Station,
}

/// A port extender.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) ports: usize,
    pub(super) cascades: usize,
    /// That of its upstream port.
    pub(super) cable: usize,
    /// Where that leads to.
    pub(super) above: Place,
}

/// A station behind an extended port.
#[derive(Debug)]
pub(super) struct Station {
    pub(super) machine: usize,
    pub(super) at: Place,
    /// Its VSIs' addresses, each with its VLAN.
    pub(super) vsis: Vec<(MacAddr, u16)>,
}

/// What a tree is made of.
pub(super) struct Shape {
    /// Port extenders, and extended ports of all of them.
    pub(super) nodes: usize,
    pub(super) ports: usize,
    pub(super) stations: usize,
    pub(super) faults: Faults,
    /// Seconds that ports go on without a session.
    pub(super) hold: u32,
    /// What its first cascade port faces; others by chance.
    pub(super) first: Option<Faces>,
}

/// A frame that has left by a port.
pub(super) struct Left {
    pub(super) place: Place,
    pub(super) at: Instant,
    pub(super) frame: Vec<u8>,
}

pub(super) struct Tree {
    pub(super) wire: Wire,
    /// The bridge's cascade ports by name.
    cascades: BTreeMap<String, Faces>,
    /// Its ordinary ports.
    lans: BTreeMap<String, Faces>,
    /// Machines 1 and up.
    pub(super) nodes: Vec<Node>,
    pub(super) stations: Vec<Station>,
    /// Extended ports whose station has gone.
    pub(super) down: BTreeSet<Place>,
}

impl Tree {
    pub(super) fn random(seed: u64, shape: &Shape) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut above: Vec<Option<usize>> = Vec::new();
        let mut tiers: Vec<usize> = Vec::new();
        for index in 0..shape.nodes {
            let fit: Vec<usize> = (0..index).filter(|other| tiers[*other] < TIERS).collect();
            let parent = if random.random_bool(0.3) { None } else { fit.choose(&mut random).copied() };
            tiers.push(parent.map_or(1, |parent| tiers[parent] + 1));
            above.push(parent);
        }
        let roots = above.iter().filter(|parent| parent.is_none()).count();
        // One to spare, for a port extender that moves.
        let mut cascades = BTreeMap::new();
        for n in 0..=roots {
            let faces = shape.first.clone().filter(|_| n == 0).unwrap_or_else(|| faces(&mut random));
            cascades.insert(format!("c{n}"), faces);
        }
        let lans = (0..random.random_range(0..3)).map(|n| (format!("l{n}"), lan(&mut random))).collect();
        let mut tree = Self {
            wire: Wire::new(seed),
            cascades,
            lans,
            nodes: Vec::new(),
            stations: Vec::new(),
            down: BTreeSet::new(),
        };
        assert_eq!(tree.wire.machine(&tree.bridge()), BRIDGE);
        let mut used: BTreeMap<usize, usize> = BTreeMap::new();
        for (index, tier) in tiers.iter().enumerate() {
            let children = above.iter().filter(|parent| **parent == Some(index)).count();
            let cascades = if *tier == TIERS { 0 } else { children + random.random_range(0..2) };
            let ports = shape.ports / shape.nodes + usize::from(index < shape.ports % shape.nodes);
            assert_eq!(tree.wire.machine(&extender(ports, cascades, shape.hold)), index + 1);
            let machine = above[index].map_or(BRIDGE, |parent| parent + 1);
            let next = used.entry(machine).or_default();
            let name = format!("{}{next}", if machine == BRIDGE { "c" } else { "k" });
            *next += 1;
            let cable = tree.wire.cable((machine, &name), (index + 1, "up"), shape.faults);
            tree.nodes.push(Node { ports, cascades, cable, above: (machine, name) });
        }
        tree.add_stations(shape, &mut random);
        for machine in 0..=shape.nodes + tree.stations.len() {
            tree.wire.power(machine);
        }
        tree
    }

    /// Puts stations at ports that face some, two of their VSIs in one VLAN so that they talk to each other.
    fn add_stations(&mut self, shape: &Shape, random: &mut StdRng) {
        let mut free: Vec<Place> = self.places();
        free.retain(|place| place.1.starts_with('e') && self.faces(place) == Faces::Station);
        for n in 0..shape.stations {
            if free.is_empty() {
                return;
            }
            let at = free.swap_remove(random.random_range(0..free.len()));
            let vlan = *VLANS.choose(random).unwrap();
            let other = *VLANS.choose(random).unwrap();
            let mac = |vsi: u8| MacAddr::new(0x52, 0x54, 0, 0, u8::try_from(n).unwrap(), vsi);
            let vsis = vec![(mac(1), vlan), (mac(2), vlan), (mac(3), other)];
            let machine = self.wire.machine(&station(n, &vsis));
            self.wire.cable((at.0, &at.1), (machine, "up"), Faults::NONE);
            self.stations.push(Station { machine, at, vsis });
        }
    }

    fn bridge(&self) -> String {
        let port = |(name, faces): (&String, &Faces), cascade: bool| {
            let faces = match faces {
                Faces::Station => "kind = \"station\"\n".to_owned(),
                Faces::Lan { untagged, tagged } => {
                    let untagged = untagged.map_or(String::new(), |vlan| format!("untagged = {vlan}\n"));
                    format!("kind = \"lan\"\n{untagged}tagged = {tagged:?}\n")
                }
            };
            let cascade = if cascade { "cascade = true\n" } else { "" };
            format!("[[port]]\ninterface = \"{name}\"\n{faces}{cascade}")
        };
        let cascades = self.cascades.iter().map(|entry| port(entry, true));
        let ports: String = cascades.chain(self.lans.iter().map(|entry| port(entry, false))).collect();
        format!(
            "role = \"bridge\"\n[relay]\nflap_moves = 0\nageing = 1000000\n{ports}\
             [[profile]]\nname = \"vm\"\ntype = 1\nversion = 1\nvlans = {VLANS:?}\n"
        )
    }

    /// Every port frames come in on and leave by: also those of port extenders that another one could be behind, and is not.
    pub(super) fn places(&self) -> Vec<Place> {
        let mut places: Vec<Place> = self.lans.keys().map(|name| (BRIDGE, name.clone())).collect();
        places.extend(self.extended());
        places.retain(|place| !self.nodes.iter().any(|node| node.above == *place));
        places
    }

    /// Every port of every port extender that the bridge makes one of its own.
    pub(super) fn extended(&self) -> Vec<Place> {
        let of = |machine: usize| {
            let node = &self.nodes[machine - 1];
            let cascades = if self.tier(machine) < TIERS { node.cascades } else { 0 };
            let ports = (0..node.ports).map(move |n| (machine, format!("e{n}")));
            ports.chain((0..cascades).map(move |n| (machine, format!("k{n}"))))
        };
        (1..=self.nodes.len()).flat_map(of).collect()
    }

    /// The bridge's cascade port a port extender is behind.
    pub(super) fn root(&self, machine: usize) -> &str {
        let (above, name) = &self.nodes[machine - 1].above;
        if *above == BRIDGE { name } else { self.root(*above) }
    }

    pub(super) fn tier(&self, machine: usize) -> usize {
        let (above, _) = self.nodes[machine - 1].above;
        1 + if above == BRIDGE { 0 } else { self.tier(above) }
    }

    /// Port extenders one behind the other from this one down.
    pub(super) fn depth(&self, machine: usize) -> usize {
        let below = (1..=self.nodes.len()).filter(|below| self.nodes[below - 1].above.0 == machine);
        1 + below.map(|below| self.depth(below)).max().unwrap_or(0)
    }

    /// Whether `machine` is `top` or behind it.
    fn is_behind(&self, machine: usize, top: usize) -> bool {
        machine == top || machine != BRIDGE && self.is_behind(self.nodes[machine - 1].above.0, top)
    }

    pub(super) fn faces(&self, place: &Place) -> Faces {
        match place {
            (BRIDGE, name) => self.lans[name].clone(),
            (machine, _) => self.cascades[self.root(*machine)].clone(),
        }
    }

    pub(super) fn cascade_faces(&self, cascade: &str) -> &Faces {
        &self.cascades[cascade]
    }

    pub(super) fn station(&self, place: &Place) -> Option<&Station> {
        self.stations.iter().find(|station| station.at == *place)
    }

    /// The VLAN of untagged frames at a port, and all its VLANs.
    pub(super) fn vlans(&self, place: &Place) -> (Option<u16>, BTreeSet<u16>) {
        self.vlans_of(place, &self.faces(place))
    }

    /// The same, if the bridge's cascade port above faced that. A port towards another port extender has none.
    pub(super) fn vlans_of(&self, place: &Place, faces: &Faces) -> (Option<u16>, BTreeSet<u16>) {
        match faces {
            _ if place.0 != BRIDGE && place.1.starts_with('k') => (None, BTreeSet::new()),
            Faces::Lan { untagged, tagged } => (*untagged, untagged.iter().chain(tagged).copied().collect()),
            Faces::Station => {
                let vsis = self.station(place).into_iter().flat_map(|station| &station.vsis);
                (None, vsis.map(|(_, vlan)| *vlan).collect())
            }
        }
    }

    /// Where a port extender could move to: a cascade port without one behind it, so high that none of those behind it is
    /// too far down.
    pub(super) fn room_for(&self, machine: usize) -> Vec<Place> {
        let taken = |place: &Place| self.nodes.iter().any(|node| node.above == *place);
        let depth = self.depth(machine);
        let own = self.cascades.keys().map(|name| (BRIDGE, name.clone()));
        let nested = (1..=self.nodes.len())
            .filter(|other| !self.is_behind(*other, machine) && self.tier(*other) + depth <= TIERS)
            .flat_map(|other| (0..self.nodes[other - 1].cascades).map(move |n| (other, format!("k{n}"))));
        own.chain(nested).filter(|place| !taken(place)).collect()
    }

    /// Puts the upstream cable of a port extender to another cascade port.
    pub(super) fn reparent(&mut self, machine: usize, to: Place) {
        let node = &mut self.nodes[machine - 1];
        self.wire.move_cable(node.cable, node.above.0, (to.0, &to.1));
        node.above = to;
    }

    /// Has two port extenders behind the same machine change places.
    pub(super) fn exchange(&mut self, one: usize, other: usize) {
        let (a, b) = (one - 1, other - 1);
        if one != other && self.nodes[a].above.0 == self.nodes[b].above.0 {
            self.wire.swap(self.nodes[a].above.0, [self.nodes[a].cable, self.nodes[b].cable]);
            let above = self.nodes[b].above.clone();
            self.nodes[b].above = std::mem::replace(&mut self.nodes[a].above, above);
        }
    }

    /// How a frame that came to a port from outside goes on.
    pub(super) fn send(&mut self, from: &Place, frame: Vec<u8>) {
        match self.station(from).map(|station| station.machine) {
            Some(machine) => drop(self.wire.send(machine, "up", &frame)),
            None => self.wire.enter(from.0, &from.1, frame),
        }
    }

    /// The frames that have left by ports since this was asked last.
    pub(super) fn left(&mut self) -> Vec<Left> {
        let mut left = Vec::new();
        for machine in 0..=self.nodes.len() + self.stations.len() {
            let station = self.stations.iter().find(|station| station.machine == machine);
            let place = |name| station.map_or((machine, name), |station| station.at.clone());
            let received = self.wire.take_received(machine).into_iter();
            left.extend(received.map(|Arrived { at, port, frame }| Left { place: place(port), at, frame }));
        }
        left
    }

    /// Whether every port is one of the bridge.
    pub(super) fn is_whole(&self) -> bool {
        let up = self.extended().iter().filter(|place| !self.down.contains(*place)).count();
        let bridge = self.wire.get(BRIDGE);
        let granted = |place: &Place| {
            let port = bridge.grant(self.identity(place));
            port.is_some_and(|port| {
                port.split_once(':').is_some_and(|(cascade, _)| cascade == self.root(place.0))
            })
        };
        bridge.extended_up() == up && self.extended().iter().all(granted)
    }

    /// Whether stations have what they want, those that face a port that gives it.
    fn serves(&self) -> bool {
        let bridge = self.wire.get(BRIDGE);
        self.stations.iter().all(|station| {
            let Some(port) = bridge.grant(self.identity(&station.at)) else { return false };
            let mut wanted = station.vsis.clone();
            wanted.sort_unstable();
            self.faces(&station.at) != Faces::Station
                || self.down.contains(&station.at)
                || bridge.reflects(port) && bridge.admitted(port) == wanted
        })
    }

    /// What each port extender's ports are, for who looks into a failure.
    pub(super) fn state(&self) -> String {
        let bridge = self.wire.get(BRIDGE);
        let name = |place: &Place| bridge.grant(self.identity(place)).unwrap_or("-").to_owned();
        let node = |machine: usize| {
            let ports: Vec<String> = self
                .extended()
                .iter()
                .filter(|place| place.0 == machine)
                .map(|p| format!("{} {}", p.1, name(p)))
                .collect();
            format!("{machine} at {:?}: {ports:?}\n", self.nodes[machine - 1].above)
        };
        let station = |station: &Station| {
            let port = bridge
                .grant(self.identity(&station.at))
                .filter(|_| self.faces(&station.at) == Faces::Station);
            let there = port.map(|port| (bridge.reflects(port), bridge.admitted(port)));
            format!("{station:?}: {port:?} {there:?}\n")
        };
        format!(
            "{:?} up, {:?} down\n{}",
            bridge.extended().collect::<Vec<_>>(),
            self.down,
            (1..=self.nodes.len()).map(node).chain(self.stations.iter().map(station)).collect::<String>()
        )
    }

    /// How the bridge knows a port of a port extender.
    pub(super) fn identity(&self, place: &Place) -> (MacAddr, u32) {
        let node = self.wire.get(place.0);
        (address(place.0, node.port("up")), u32::from(node.port(&place.1).0))
    }

    /// Lets time pass until it is whole, and stays so, and stations are served; how long the first took.
    pub(super) fn settle(&mut self, within: Duration) -> Option<Duration> {
        let start = self.wire.now();
        let mut since = None;
        while self.wire.now() - start <= within + STATIONS {
            since = if self.is_whole() { since.or(Some(self.wire.now())) } else { None };
            let whole = since.filter(|since| self.wire.now() - *since >= STAYS);
            let took = whole.map(|since| since - start).filter(|took| *took <= within);
            if took.is_some() && self.serves() || took.is_none() && self.wire.now() - start > within + STAYS {
                return took;
            }
            self.wire.run_for(Duration::from_millis(100));
        }
        None
    }
}

/// A port extender with so many extended and cascade ports.
fn extender(ports: usize, cascades: usize, hold: u32) -> String {
    let loss = if hold == 0 { "\"down\"".to_owned() } else { format!("{{ hold = {hold} }}") };
    let port = |name: String, kind| format!("[[port]]\ninterface = \"{name}\"\nkind = \"{kind}\"\n");
    let ports = (0..ports).map(|n| port(format!("e{n}"), "extended"));
    let cascades = (0..cascades).map(|n| port(format!("k{n}"), "cascade"));
    let ports: String = ports.chain(cascades).collect();
    format!(
        "role = \"extender\"\n[extension]\nupstream_loss = {loss}\n[[port]]\ninterface = \"up\"\nkind = \"upstream\"\n{ports}"
    )
}

fn station(number: usize, vsis: &[(MacAddr, u16)]) -> String {
    let mut text = "role = \"station\"\n[[port]]\ninterface = \"up\"\nkind = \"uplink\"\n".to_owned();
    for (n, (mac, vlan)) in vsis.iter().enumerate() {
        text += &format!(
            "[[vsi]]\nname = \"vm{n}\"\ninterface = \"vm{n}\"\nid = \"6b1d0a58-0000-4000-8000-00000000{number:02x}{n:02x}\"\n\
             type = 1\nversion = 1\nmac = \"{mac}\"\nvlan = {vlan}\n"
        );
    }
    text
}

fn faces(random: &mut StdRng) -> Faces {
    if random.random_bool(0.3) { Faces::Station } else { lan(random) }
}

fn lan(random: &mut StdRng) -> Faces {
    let untagged = random.random_bool(0.8).then(|| *VLANS.choose(random).unwrap());
    let mut tagged: Vec<u16> = VLANS.into_iter().filter(|_| random.random_bool(0.5)).collect();
    tagged.retain(|vlan| Some(*vlan) != untagged);
    if untagged.is_none() && tagged.is_empty() {
        // A port in no VLAN does not come up.
        tagged.push(VLANS[0]);
    }
    Faces::Lan { untagged, tagged }
}

/// What is wrong is noticed by then: somebody who restarts says so, and where that is lost, after an interval of LLDP.
const STAYS: Duration = Duration::from_secs(31);
/// A station whose port was another before hears two neighbours until what that one said is old.
const STATIONS: Duration = Duration::from_secs(160);
/// Port extenders one behind the other.
pub(super) const TIERS: usize = 4;
pub(super) const VLANS: [u16; 3] = [10, 20, 30];
