//! Port extension: one controlling bridge, port extenders in a tree up to four tiers deep, sessions and relays as they are.
//! Whatever is lost, restarted or moved: no frame gets where it should not, and in the end every frame reaches exactly the
//! ports it would have reached on one big bridge, once.

mod churn;
mod oracle;
mod tree;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant as WallInstant},
};

use evb_tests::wire::Faults;
use hairpin::PortId;
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use super::seeds;
use churn::churn;
use oracle::{Oracle, Traffic, compare};
use tree::{BRIDGE, Faces, Place, Shape, Tree};

/// A LAN whose ports are all in one VLAN, untagged.
fn plain() -> Option<Faces> {
    Some(Faces::Lan { untagged: Some(10), tagged: Vec::new() })
}

fn shape(nodes: usize, ports: usize, faults: Faults, hold: u32) -> Shape {
    Shape { nodes, ports, stations: 0, faults, hold, first: plain() }
}

/// Frames of any kind, from wherever: as one big bridge that knows nobody yet, where the tree knows nobody else.
fn one_big_bridge(tree: &mut Tree, traffic: &mut Traffic, frames: usize) {
    let mut oracle = Oracle::new(tree);
    let known = traffic.introductions(tree);
    compare(tree, &mut oracle, known);
    for _ in 0..frames {
        let sent = traffic.any(tree);
        compare(tree, &mut oracle, sent);
    }
}

/// Who was heard is looked for where he was heard, or everywhere: never at a port that is another one now.
fn nobody_is_taken_for_another(tree: &mut Tree, traffic: &mut Traffic, random: &mut StdRng) {
    for (mac, vlan, heard_at) in traffic.known() {
        let mut from = tree.places();
        from.retain(|place| {
            !tree.down.contains(place)
                && tree.faces(place) != Faces::Station
                && tree.vlans(place).1.contains(&vlan)
        });
        let Some(from) = from.choose(random) else { continue };
        let sent = traffic.to(tree, from, vlan, mac);
        let everywhere = Oracle::new(tree).send(tree, from, &sent.frame);
        tree.left();
        tree.send(from, sent.frame.clone());
        tree.wire.run_for(Duration::from_millis(1));
        let got: BTreeSet<_> = tree.left().into_iter().map(|left| (left.place, left.frame)).collect();
        let flooded = got.iter().eq(everywhere.keys());
        let known = got.len() <= 1 && got.iter().all(|(place, _)| heard_at.contains(place));
        assert!(flooded || known, "{mac} in {vlan}, heard at {heard_at:?}, from {from:?}: {got:?}");
    }
}

/// Every port extender has the channels it needs and no others, and so has the bridge.
fn nothing_is_left_over(tree: &Tree) {
    let bridge = tree.wire.get(BRIDGE);
    let mut channels: BTreeMap<Place, (String, u32)> = BTreeMap::new();
    for place in tree.extended() {
        let name = bridge
            .grant(tree.identity(&place))
            .unwrap_or_else(|| panic!("{place:?} is no port at {}: {}", tree.wire.now(), tree.state()));
        let (cascade, pcid) = name.split_once(':').unwrap();
        assert_eq!(cascade, tree.root(place.0));
        channels.insert(place, (cascade.to_owned(), pcid.parse().unwrap()));
    }
    let mut floods: BTreeMap<(&str, u16), BTreeSet<&Place>> = BTreeMap::new();
    for (place, (cascade, _)) in channels.iter().filter(|(place, _)| !tree.down.contains(*place)) {
        for vlan in tree.vlans(place).1 {
            floods.entry((cascade, vlan)).or_default().insert(place);
        }
    }
    floods.retain(|_, members| members.len() > 2);
    let control = bridge.plane().unwrap().control();
    let mut wanted: BTreeMap<(usize, u32), BTreeSet<PortId>> = BTreeMap::new();
    let mut want = |place: &Place, ecid: u32, own: bool| {
        let mut way = place.clone();
        while way.0 != BRIDGE {
            if own || way != *place {
                wanted.entry((way.0, ecid)).or_default().insert(tree.wire.get(way.0).port(&way.1));
            }
            way = tree.nodes[way.0 - 1].above.clone();
        }
    };
    for (place, (_, pcid)) in &channels {
        want(place, *pcid, false);
    }
    let mut left = 0;
    for (cascade, vlan, ecid, members) in control.floods() {
        left += 1;
        let cascade = control.port(cascade).unwrap().name.as_str();
        let places =
            floods.get(&(cascade, vlan.get())).unwrap_or_else(|| panic!("a flood of {cascade} in {vlan}"));
        let name = |place: &&Place| format!("{cascade}:{}", channels[*place].1);
        let ports: BTreeSet<PortId> = places.iter().map(|place| bridge.port(&name(place))).collect();
        assert_eq!(*members, ports, "flood of {cascade} in {vlan}");
        places.iter().for_each(|place| want(place, ecid.get(), true));
    }
    assert_eq!(left, floods.len(), "floods of {:?}", floods.keys());
    let of = |machine: usize| {
        let control = tree.wire.get(machine).plane().unwrap().control();
        control
            .channels()
            .map(move |(ecid, members)| ((machine, ecid.get()), members.clone()))
            .collect::<Vec<_>>()
    };
    let there: BTreeMap<_, _> = (1..=tree.nodes.len()).flat_map(of).collect();
    assert_eq!(there, wanted);
}

#[test]
fn one_port_extender() {
    let mut tree = Tree::random(1, &shape(1, 4, Faults::NONE, 0));
    assert!(tree.settle(Duration::from_secs(5)).is_some(), "{}", tree.wire.get(BRIDGE).extended_up());
    nothing_is_left_over(&tree);
    one_big_bridge(&mut tree, &mut Traffic::new(StdRng::seed_from_u64(1)), 100);
    // A stranger says that it is the port extender.
    let before = tree.wire.get(BRIDGE).ports().len();
    let hostile =
        [&[2, 0, 0, 0, 0, 0, 2, 6, 6, 6, 6, 6, 0x89, 0x40, 0x10, 2, 0, 1][..], &[2, 10, 3]].concat();
    tree.wire.arrive(BRIDGE, "c0", hostile);
    tree.wire.run_for(Duration::from_secs(60));
    assert_eq!(tree.wire.get(BRIDGE).ports().len(), before);
}

#[test]
fn a_cable_is_pulled_and_comes_back() {
    for hold in [0, 60] {
        let mut tree = Tree::random(3, &shape(4, 12, Faults::NONE, hold));
        let mut traffic = Traffic::new(StdRng::seed_from_u64(3));
        assert!(tree.settle(Duration::from_secs(10)).is_some());
        let whole = tree.wire.get(BRIDGE).extended_up();
        one_big_bridge(&mut tree, &mut traffic, 20);
        for index in 0..4 {
            let cable = tree.nodes[index].cable;
            tree.wire.plug(cable, false);
            tree.wire.run_for(Duration::from_secs(3));
            assert!(tree.wire.get(BRIDGE).extended_up() < whole, "its ports are gone");
            tree.wire.plug(cable, true);
            let back = tree.settle(Duration::from_secs(2));
            assert!(back.is_some(), "{index}: {} of {whole}", tree.wire.get(BRIDGE).extended_up());
        }
        // What was held for a session that did not come back as it was.
        tree.wire.run_for(Duration::from_secs(hold.into()));
        nothing_is_left_over(&tree);
        one_big_bridge(&mut tree, &mut traffic, 20);
    }
}

#[test]
fn trees_of_any_shape_are_one_big_bridge() {
    trees(0);
}

#[test]
fn trees_of_any_shape_are_one_big_bridge_2() {
    trees(1);
}

#[test]
fn trees_of_any_shape_are_one_big_bridge_3() {
    trees(2);
}

#[test]
fn trees_of_any_shape_are_one_big_bridge_4() {
    trees(3);
}

/// A quarter of all seeds, so that they run beside each other. Most trees are small, a few as large as can be. `EVBD_SEED`
/// plays one again, `EVBD_SEEDS` asks for more of them.
fn trees(part: u64) {
    let count = std::env::var("EVBD_SEEDS").map_or(SEEDS, |text| text.parse().expect("a number of seeds"));
    seeds(count, |seed| {
        if seed % 4 != part {
            return;
        }
        let mut random = StdRng::seed_from_u64(seed);
        let large = seed % 50 == 0;
        let loss = [0.0, 0.02, 0.1][random.random_range(0..3)];
        let shape = Shape {
            nodes: if large { 16 } else { random.random_range(1..7) },
            ports: if large { 200 } else { random.random_range(2..24) },
            stations: random.random_range(0..4),
            faults: Faults { loss, duplication: 0.02, jitter: Duration::from_millis(2) },
            hold: [0, 5, 60][random.random_range(0..3)],
            first: None,
        };
        let mut tree = Tree::random(seed, &shape);
        let mut traffic = Traffic::new(StdRng::seed_from_u64(!seed));
        assert!(tree.settle(FIRST).is_some(), "{}", tree.state());
        for machine in 1..=tree.nodes.len() {
            tree.wire.weather(tree.nodes[machine - 1].cable, Faults::NONE);
        }
        // Bad cables have ended sessions now and then.
        assert!(tree.settle(AGAIN).is_some());
        nothing_is_left_over(&tree);
        one_big_bridge(&mut tree, &mut traffic, 40);
        for round in 0..random.random_range(1..3) {
            let steps = random.random_range(1..8);
            churn(&mut tree, &mut traffic, &mut random, steps);
            let whole = tree.settle(AGAIN);
            assert!(whole.is_some(), "round {round}: {}", tree.state());
            // What was held for a session that did not come back.
            tree.wire.run_for(Duration::from_secs(shape.hold.into()));
            nothing_is_left_over(&tree);
            nobody_is_taken_for_another(&mut tree, &mut traffic, &mut random);
            one_big_bridge(&mut tree, &mut traffic, 40);
        }
    });
}

/// How long it takes and what it costs to make every port there can be behind one cascade port.
#[test]
fn every_port_there_can_be() {
    let mut tree = Tree::random(1, &shape(1, 4094, Faults::NONE, 0));
    let before = resident();
    let (start, clock) = (tree.wire.now(), WallInstant::now());
    let limit = start + Duration::from_secs(120);
    let all = tree.wire.run_until(limit, |wire| wire.get(BRIDGE).extended_up() == 4094);
    assert!(all, "{} ports", tree.wire.get(BRIDGE).extended_up());
    let took = tree.wire.now() - start;
    println!(
        "4094 extended ports: {took:?} on the wire, {:?} of computing, {} frames, {} KiB",
        clock.elapsed(),
        tree.wire.frames,
        resident() - before
    );
    // A scan of all ports for each of them shows: it was four times as much.
    assert!(clock.elapsed() < Duration::from_secs(60), "too much computing");
}

/// KiB of memory this process has: both ends of the wire, and the wire.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Trees of a run.
const SEEDS: u64 = 200;
/// A tree whose cables lose a tenth of all frames is whole by then.
const FIRST: Duration = Duration::from_secs(300);
/// And one whose cables are good again.
const AGAIN: Duration = Duration::from_secs(60);
