//! One big bridge that has all ports itself, and frames that go through it and through a tree.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use ether::{EtherType, FrameView, MacAddr, Tag, Vid, frame};
use evb_tests::wire::DATA;
use hairpin::{
    Control, Frame, Limits, PortConfig, PortId, Relay, RelayKind, Role, Verdict, VsiEntry, VsiFilter, VsiKey,
};
use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};

use super::tree::{Faces, Left, Place, Tree, VLANS};

/// The relay of a bridge whose ports are those of the tree. It knows nobody yet.
pub(super) struct Oracle {
    relay: Relay,
    verdict: Verdict,
    ports: BTreeMap<Place, PortId>,
    places: Vec<Place>,
}

/// What left, each port with the frame as it left, as often as it did.
pub(super) type Copies = BTreeMap<(Place, Vec<u8>), usize>;

impl Oracle {
    pub(super) fn new(tree: &Tree) -> Self {
        let limits =
            Limits { ports: 512, fdb_entries: 1024, flap_moves: 0, fdb_ageing: 1_000_000, ..Limits::DEFAULT };
        let mut control = Control::new(RelayKind::Bridge, &limits);
        let (mut ports, mut key) = (BTreeMap::new(), 0);
        let places = tree.places();
        // Where port extenders are plugged in there is a port too: none of its frames are a station's.
        for (place, number) in places.iter().zip(0..) {
            let id = PortId(number);
            ports.insert(place.clone(), id);
            let new = PortConfig { up: !tree.down.contains(place), ..PortConfig::new(id, Role::Bridge) };
            let config = match tree.faces(place) {
                _ if tree.vlans(place).1.is_empty() => new,
                Faces::Lan { untagged, tagged } => PortConfig {
                    pvid: untagged.map(vid),
                    untagged: untagged.into_iter().map(vid).collect(),
                    tagged: tagged.into_iter().map(vid).collect(),
                    ..new
                },
                Faces::Station => {
                    PortConfig { guard: true, reflective: tree.station(place).is_some(), ..new }
                }
            };
            let station = tree.station(place).filter(|_| config.guard);
            control.set_port(config).unwrap();
            for (mac, vlan) in station.iter().flat_map(|station| &station.vsis) {
                let filter = VsiFilter { mac: Some(*mac), vid: vid(*vlan), pcp: None };
                let entry = VsiEntry { port: id, filters: vec![filter], policy: Arc::default() };
                control.open_vsi(VsiKey(key), entry).unwrap();
                key += 1;
            }
        }
        let relay = Relay::new(limits);
        relay.publish(control.snapshot());
        Self { relay, verdict: Verdict::new(limits.ports), ports, places }
    }

    /// What leaves when this frame comes.
    pub(super) fn send(&mut self, tree: &Tree, from: &Place, octets: &[u8]) -> Copies {
        let FrameView { dst, src, tag, ethertype, payload } = FrameView::parse(octets).unwrap();
        let len = u32::try_from(octets.len()).unwrap();
        let frame = Frame { dst, src, tag, ethertype, len, payload };
        self.relay.process(&self.relay.load(), tree.wire.now(), self.ports[from], &frame, &mut self.verdict);
        let copies = self
            .verdict
            .copies()
            .iter()
            .map(|copy| ((self.places[copy.port.index()].clone(), retagged(octets, copy.tag)), 1));
        copies.collect()
    }
}

/// Stations, and what they send.
pub(super) struct Traffic {
    random: StdRng,
    /// Of LANs.
    hosts: Vec<Host>,
    next: u64,
}

struct Host {
    mac: MacAddr,
    vlan: u16,
    /// Where it spoke last.
    at: Option<Place>,
    /// Where it ever spoke.
    been: BTreeSet<Place>,
}

/// One frame.
pub(super) struct Sent {
    pub(super) number: u64,
    pub(super) from: Place,
    pub(super) frame: Vec<u8>,
}

impl Traffic {
    pub(super) fn new(random: StdRng) -> Self {
        let host = |n: u8| Host {
            mac: MacAddr::new(2, 7, 0, 0, 0, n),
            vlan: VLANS[usize::from(n) % VLANS.len()],
            at: None,
            been: BTreeSet::new(),
        };
        Self { random, hosts: (0..9).map(host).collect(), next: 0 }
    }

    /// Any frame a port may get from outside.
    pub(super) fn any(&mut self, tree: &Tree) -> Option<Sent> {
        let places = tree.places();
        let random = &mut self.random;
        // Most come from ports that have VLANs; one that is down sends nothing.
        let places: Vec<Place> = places.into_iter().filter(|place| !tree.down.contains(place)).collect();
        let speaks = |place: &Place| !tree.vlans(place).1.is_empty();
        let speakers: Vec<&Place> = places.iter().filter(|place| speaks(place)).collect();
        let from =
            if random.random_bool(0.95) { *speakers.choose(random)? } else { places.choose(random)? };
        let (_, vlans) = tree.vlans(from);
        let to = self.destination(tree);
        let random = &mut self.random;
        // A foreign VLAN, or none; else one of its own.
        if random.random_bool(0.1) || vlans.is_empty() {
            let vlan = [0, 10, 20, 30, 40][random.random_range(0..5)];
            let strange = MacAddr::new(2, 0xd, 0, 0, 0, 1);
            let tag = random.random_bool(0.8).then(|| tagged(random, vlan));
            return Some(self.frame(from, to, strange, tag));
        }
        if let Some(station) = tree.station(from).filter(|_| tree.faces(from) == Faces::Station) {
            let (mac, vlan) = *station.vsis.choose(random).unwrap();
            let tag = Some(tagged(random, vlan));
            return Some(self.frame(from, to, mac, tag));
        }
        let here: Vec<usize> =
            (0..self.hosts.len()).filter(|n| vlans.contains(&self.hosts[*n].vlan)).collect();
        let host = &mut self.hosts[*here.choose(random)?];
        // It speaks where it was last, or moves here.
        let (mac, vlan) = (host.mac, host.vlan);
        let can = |at: &Place| speakers.contains(&at) && tree.vlans(at).1.contains(&vlan);
        let stays = host.at.clone().filter(|at| random.random_bool(0.8) && can(at));
        let from = stays.unwrap_or_else(|| from.clone());
        host.at = Some(from.clone());
        host.been.insert(from.clone());
        let tag = match tree.vlans(&from).0 == Some(vlan) {
            true if random.random_bool(0.5) => None,
            true if random.random_bool(0.3) => Some(tagged(random, 0)),
            _ => Some(tagged(random, vlan)),
        };
        Some(self.frame(&from, to, mac, tag))
    }

    fn destination(&mut self, tree: &Tree) -> MacAddr {
        let random = &mut self.random;
        // Elsewhere a station's announcements are learnt from.
        let served = tree.stations.iter().filter(|station| tree.faces(&station.at) == Faces::Station);
        let vsis: Vec<MacAddr> = served.flat_map(|station| &station.vsis).map(|(mac, _)| *mac).collect();
        match random.random_range(0..10) {
            0 | 1 => MacAddr::broadcast(),
            2 => MacAddr::new(1, 0, 0x5e, 1, 2, random.random_range(0..4)),
            3 => MacAddr::new(2, 0xe, 0, 0, 0, random.random_range(0..4)),
            4 | 5 if !vsis.is_empty() => *vsis.choose(random).unwrap(),
            _ => self.hosts.choose(random).unwrap().mac,
        }
    }

    /// Every host that can says where it is: a frame of each, to all.
    pub(super) fn introductions(&mut self, tree: &Tree) -> Vec<Sent> {
        let mut frames = Vec::new();
        let places = tree.places();
        for n in 0..self.hosts.len() {
            let Host { mac, vlan, ref at, .. } = self.hosts[n];
            let can = |at: &Place| {
                places.contains(at)
                    && !tree.down.contains(at)
                    && tree.faces(at) != Faces::Station
                    && tree.vlans(at).1.contains(&vlan)
            };
            let Some(from) = at.clone().filter(can) else {
                self.hosts[n].at = None;
                continue;
            };
            let tag = (tree.vlans(&from).0 != Some(vlan)).then(|| tagged(&mut self.random, vlan));
            frames.push(self.frame(&from, MacAddr::broadcast(), mac, tag));
        }
        frames
    }

    /// Who has spoken, in which VLAN, and where he ever was.
    pub(super) fn known(&self) -> Vec<(MacAddr, u16, BTreeSet<Place>)> {
        self.hosts.iter().map(|host| (host.mac, host.vlan, host.been.clone())).collect()
    }

    /// A frame in `vlan` to `to`, from a station nobody asks for.
    pub(super) fn to(&mut self, tree: &Tree, from: &Place, vlan: u16, to: MacAddr) -> Sent {
        let tag = (tree.vlans(from).0 != Some(vlan)).then(|| tagged(&mut self.random, vlan));
        self.frame(from, to, MacAddr::new(2, 0xd, 0, 0, 0, 1), tag)
    }

    fn frame(&mut self, from: &Place, to: MacAddr, src: MacAddr, tag: Option<Tag>) -> Sent {
        self.next += 1;
        let octets = frame::build(to, src, DATA, &self.next.to_be_bytes());
        Sent { number: self.next, from: from.clone(), frame: retagged(&octets, tag) }
    }
}

/// Sends frames one by one: each must reach the ports it reaches on one big bridge, as often, as the same octets.
pub(super) fn compare(tree: &mut Tree, oracle: &mut Oracle, frames: impl IntoIterator<Item = Sent>) {
    for sent in frames {
        let expected = oracle.send(tree, &sent.from, &sent.frame);
        tree.left();
        tree.send(&sent.from, sent.frame.clone());
        tree.wire.run_for(PASSAGE);
        let mut got = Copies::new();
        for Left { place, frame, .. } in tree.left() {
            *got.entry((place, frame)).or_default() += 1;
        }
        let short = |copies: &Copies, other: &Copies| -> Vec<String> {
            let here = copies.iter().filter(|(copy, count)| other.get(copy) != Some(count));
            here.map(|((place, frame), count)| format!("{count} at {place:?}: {:02x?}", &frame[..30]))
                .collect()
        };
        assert!(
            got == expected,
            "frame {} from {:?}: {:02x?}\ntoo much: {:#?}\nmissing: {:#?}",
            sent.number,
            sent.from,
            &sent.frame[..30],
            short(&got, &expected),
            short(&expected, &got)
        );
    }
}

/// The number a frame was given when it was sent, and its VLAN.
pub(super) fn read(frame: &[u8]) -> (u64, Option<u16>) {
    let view = FrameView::parse(frame).unwrap();
    let number = view.payload.first_chunk().map(|octets| u64::from_be_bytes(*octets)).unwrap();
    (number, view.tag.and_then(|tag| tag.vid).map(Vid::get))
}

/// A frame with another tag, or none.
fn retagged(octets: &[u8], tag: Option<Tag>) -> Vec<u8> {
    let view = FrameView::parse(octets).unwrap();
    let mut again = octets[..12].to_vec();
    again.extend(tag.iter().flat_map(|tag| tag.to_bytes()));
    again.extend(view.ethertype.0.to_be_bytes());
    again.extend(view.payload);
    again
}

fn tagged(random: &mut StdRng, vlan: u16) -> Tag {
    let word = random.random_range(0..8) << 13 | random.random_range(0..2) << 12 | vlan;
    Tag::from_tci(EtherType::C_VLAN, word).unwrap()
}

fn vid(vlan: u16) -> Vid {
    Vid::new(vlan).unwrap()
}

/// Longer than a frame takes through eight cables.
const PASSAGE: Duration = Duration::from_millis(1);
