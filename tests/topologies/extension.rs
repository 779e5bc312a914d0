//! Port extension: one controlling bridge, port extenders in a tree up to four tiers deep. Whatever is lost, restarted or
//! moved, in the end every frame that is flooded reaches exactly the ports it would have reached on one big bridge, once,
//! and never its sender.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant as WallInstant},
};

use ether::{MacAddr, frame};
use evb_tests::wire::{DATA, Faults, Wire};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::seeds;

const BRIDGE: usize = 0;
const VLAN: u16 = 10;

/// The bridge, with so many cascade ports.
fn bridge(cascades: usize) -> String {
    let port =
        |n| format!("[[port]]\ninterface = \"c{n}\"\nkind = \"lan\"\nuntagged = {VLAN}\ncascade = true\n");
    let ports: String = (0..cascades).map(port).collect();
    format!("role = \"bridge\"\n{ports}")
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

/// What stands where.
struct Tree {
    wire: Wire,
    /// Of each port extender: ports, and the cable of its upstream port.
    extenders: Vec<(usize, usize)>,
    /// Of each port extender: what its upstream cable leads to.
    above: Vec<(usize, String)>,
}

impl Tree {
    /// A tree of so many port extenders, at most four tiers deep, with this many ports in all.
    fn random(seed: u64, count: usize, ports: usize, faults: Faults, hold: u32) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut wire = Wire::new(seed);
        let mut tiers: Vec<usize> = Vec::new();
        let mut above: Vec<Option<usize>> = Vec::new();
        for index in 0..count {
            let fit: Vec<usize> = (0..index).filter(|other| tiers[*other] < 4).collect();
            let parent = if index == 0 || fit.is_empty() || random.random_bool(0.3) {
                None
            } else {
                Some(fit[random.random_range(0..fit.len())])
            };
            tiers.push(parent.map_or(1, |parent| tiers[parent] + 1));
            above.push(parent);
        }
        let roots = above.iter().filter(|parent| parent.is_none()).count();
        assert_eq!(wire.machine(&bridge(roots)), BRIDGE);
        let mut tree = Self { wire, extenders: Vec::new(), above: Vec::new() };
        for (index, tier) in tiers.iter().enumerate() {
            let cascades = above.iter().filter(|parent| **parent == Some(index)).count().max(1);
            let cascades = if *tier == 4 { 0 } else { cascades };
            let own = ports / count + usize::from(index < ports % count);
            let machine = tree.wire.machine(&extender(own, cascades, hold));
            assert_eq!(machine, index + 1);
            tree.extenders.push((own, 0));
        }
        let mut used: BTreeMap<usize, usize> = BTreeMap::new();
        for (index, parent) in above.iter().enumerate() {
            let machine = parent.map_or(BRIDGE, |parent| parent + 1);
            let next = used.entry(machine).or_default();
            let name = format!("{}{next}", if machine == BRIDGE { "c" } else { "k" });
            *next += 1;
            tree.extenders[index].1 = tree.wire.cable((machine, &name), (index + 1, "up"), faults);
            tree.above.push((machine, name));
        }
        for machine in 0..=count {
            tree.wire.power(machine);
        }
        tree
    }

    /// All extended ports.
    fn ports(&self) -> Vec<(usize, String)> {
        let of = |(index, (ports, _)): (usize, &(usize, usize))| {
            (0..*ports).map(move |n| (index + 1, format!("e{n}"))).collect::<Vec<_>>()
        };
        self.extenders.iter().enumerate().flat_map(of).collect()
    }

    /// Ports of the bridge that are up, beside its cascade ports.
    fn extended(&self) -> usize {
        self.wire.get(BRIDGE).extended_up()
    }

    /// Cascade ports of port extenders.
    fn cascades(&self) -> usize {
        (1..=self.extenders.len())
            .map(|machine| self.wire.get(machine).ports().iter().filter(|name| name.starts_with('k')).count())
            .sum()
    }

    /// Sends a frame from a port; the ports it reached, each as often as it did.
    fn reach(&mut self, from: &(usize, String)) -> BTreeMap<(usize, String), usize> {
        for machine in 1..=self.extenders.len() {
            self.wire.forget_received(machine);
        }
        let octets =
            frame::build(MacAddr::broadcast(), MacAddr::new(2, 9, 0, 0, 0, 1), DATA, from.1.as_bytes());
        self.wire.enter(from.0, &from.1, octets);
        self.wire.run_for(Duration::from_millis(10));
        let mut reached = BTreeMap::new();
        for machine in 1..=self.extenders.len() {
            for (port, _) in &self.wire.get(machine).received {
                *reached.entry((machine, port.clone())).or_default() += 1;
            }
        }
        reached
    }

    /// What is sent from each of some ports reaches all others, once.
    fn one_big_bridge(&mut self, seed: u64, samples: usize) {
        let mut random = StdRng::seed_from_u64(seed);
        let ports = self.ports();
        for _ in 0..samples.min(ports.len()) {
            let from = &ports[random.random_range(0..ports.len())];
            let reached = self.reach(from);
            let wanted: BTreeMap<_, _> =
                ports.iter().filter(|port| *port != from).map(|port| (port.clone(), 1)).collect();
            // Cascade ports without a port extender behind them are ports too.
            let reached: BTreeMap<_, _> =
                reached.into_iter().filter(|((_, name), _)| name.starts_with('e')).collect();
            assert_eq!(reached, wanted, "from {from:?}");
        }
    }
}

#[test]
fn one_port_extender() {
    let mut tree = Tree::random(1, 1, 3, Faults::NONE, 0);
    let start = tree.wire.now();
    let limit = start + Duration::from_secs(5);
    assert!(tree.wire.run_until(limit, |wire| wire.get(BRIDGE).extended_up() == 4), "{}", tree.extended());
    tree.wire.run_for(Duration::from_secs(1));
    assert_eq!(tree.wire.get(BRIDGE).floods(), 1, "four members: one channel");
    tree.one_big_bridge(1, 3);
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
        let mut tree = Tree::random(3, 4, 12, Faults::NONE, hold);
        tree.wire.run_for(Duration::from_secs(10));
        let whole = tree.extended();
        tree.one_big_bridge(3, 4);
        for index in 0..4 {
            let cable = tree.extenders[index].1;
            tree.wire.plug(cable, false);
            tree.wire.run_for(Duration::from_secs(3));
            assert!(tree.extended() < whole, "its ports are gone");
            let start = tree.wire.now();
            tree.wire.plug(cable, true);
            let back =
                tree.wire.run_until(start + Duration::from_secs(2), |w| w.get(BRIDGE).extended_up() == whole);
            assert!(back, "{index}: {} of {whole} ports after two seconds", tree.extended());
        }
        tree.wire.run_for(Duration::from_secs(1));
        tree.one_big_bridge(4, 4);
    }
}

#[test]
fn restarts_and_moved_cables() {
    seeds(20, |seed| {
        let mut random = StdRng::seed_from_u64(seed);
        let mut tree =
            Tree::random(seed, random.random_range(2..6), 20, Faults::NONE, random.random_range(0..2) * 30);
        tree.wire.run_for(Duration::from_secs(10));
        let whole = tree.extended();
        for _ in 0..4 {
            if random.random_bool(0.5) {
                let machine = random.random_range(0..=tree.extenders.len());
                tree.wire.restart(machine);
            } else {
                // Two port extenders of the same cascade ports change places.
                let roots: Vec<usize> =
                    (0..tree.above.len()).filter(|n| tree.above[*n].0 == BRIDGE).collect();
                let (a, b) =
                    (roots[random.random_range(0..roots.len())], roots[random.random_range(0..roots.len())]);
                if a != b {
                    tree.wire.swap(BRIDGE, [tree.extenders[a].1, tree.extenders[b].1]);
                    tree.above.swap(a, b);
                }
            }
            tree.wire.run_for(Duration::from_millis(random.random_range(0..5000)));
        }
        tree.wire.run_for(Duration::from_secs(60));
        assert_eq!(tree.extended(), whole, "seed {seed}");
        tree.one_big_bridge(seed, 3);
    });
}

#[test]
fn trees_of_any_shape_over_bad_cables() {
    seeds(200, |seed| {
        let mut random = StdRng::seed_from_u64(seed);
        // Most are small, a few as large as can be.
        let large = seed % 50 == 0;
        let count = if large { 16 } else { random.random_range(1..6) };
        let ports = if large { 200 } else { random.random_range(1..24) };
        let loss = [0.0, 0.02, 0.1][random.random_range(0..3)];
        let faults = Faults { loss, duplication: 0.02, jitter: Duration::from_millis(2) };
        let mut tree = Tree::random(seed, count, ports, faults, 0);
        let cascades = tree.cascades();
        let limit = tree.wire.now() + Duration::from_secs(300);
        let done = tree.wire.run_until(limit, |wire| wire.get(BRIDGE).extended_up() == ports + cascades);
        assert!(done, "seed {seed}: {} of {}", tree.extended(), ports + cascades);
        for (_, cable) in tree.extenders.clone() {
            tree.wire.weather(cable, Faults::NONE);
        }
        tree.wire.run_for(Duration::from_secs(2));
        tree.one_big_bridge(seed, 2);
    });
}

/// How long it takes and what it costs to make every port there can be behind one cascade port.
#[test]
fn every_port_there_can_be() {
    let mut tree = Tree::random(1, 1, 4093, Faults::NONE, 0);
    let before = resident();
    let (start, clock) = (tree.wire.now(), WallInstant::now());
    let limit = start + Duration::from_secs(120);
    assert!(tree.wire.run_until(limit, |wire| wire.get(BRIDGE).extended_up() == 4094), "{}", tree.extended());
    let took = tree.wire.now() - start;
    println!(
        "4094 extended ports: {took:?} on the wire, {:?} of computing, {} frames, {} KiB",
        clock.elapsed(),
        tree.wire.frames,
        resident() - before
    );
    let ports: BTreeSet<String> = tree.wire.get(BRIDGE).ports().into_iter().collect();
    assert_eq!(ports.len(), 4095);
}

/// KiB of memory this process has: both ends of the wire, and the wire.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
