//! A VM migrates on a bad wire: forwarding moves when the target associates, and by nothing else.
//!
//! ```text
//!   station ── downN bridge far          one bridge, N is 0 or 1
//!   target ─── downM bridge
//!
//!   station ── down0 bridge far          two bridges
//!                    link │ link
//!   target ──── down0 bridge2
//! ```

use std::time::Duration;

use ether::{EtherType, MacAddr, frame};
use evb_tests::wire::{Faults, Wire};
use evbd::{VsiOrder, Which};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use vdp::{Command, Hints};

use crate::{mac, seeds, station_with};

const SOURCE: usize = 0;
const TARGET: usize = 1;
const BRIDGE: usize = 2;
const BRIDGE2: usize = 3;

/// A bridge whose profile has this access rule.
fn bridge(stations: usize, link: bool, rule: &str) -> String {
    let mut text = format!(
        "role = \"bridge\"\n[[profile]]\nname = \"web\"\ntype = 1\nversion = 1\nvlans = [100]\npolicy = {{ ingress = [{rule}] }}\n\
        [[port]]\ninterface = \"far\"\nkind = \"lan\"\ntagged = [100]\n"
    );
    for n in 0..stations {
        text += &format!("[[port]]\ninterface = \"down{n}\"\nkind = \"station\"\n");
    }
    if link {
        text += "[[port]]\ninterface = \"link\"\nkind = \"lan\"\ntagged = [100]\n";
    }
    text
}

/// Stations, bridges and cables; nothing is associated.
fn topology(seed: u64, two: bool, faults: Faults) -> (Wire, Vec<usize>) {
    let [source, target] = downs(seed, two);
    let station = station_with([1], "").replace("type = 1", "automatic = false\ntype = 1");
    let mut wire = Wire::new(seed);
    wire.machine(&station);
    wire.machine(&station);
    wire.machine(&bridge(if two { 1 } else { 2 }, two, ""));
    let mut cables = vec![wire.cable((SOURCE, "up"), (BRIDGE, source), faults)];
    if two {
        wire.machine(&bridge(1, true, ""));
        cables.push(wire.cable((TARGET, "up"), (BRIDGE2, target), faults));
        cables.push(wire.cable((BRIDGE, "link"), (BRIDGE2, "link"), faults));
    } else {
        cables.push(wire.cable((TARGET, "up"), (BRIDGE, target), faults));
    }
    for machine in 0..if two { 4 } else { 3 } {
        if machine >= BRIDGE {
            wire.forwards(machine);
        }
        wire.power(machine);
    }
    wire.interface(TARGET, "vm1", false);
    (wire, cables)
}

/// The ports the stations are on: of one bridge, in either order.
const fn downs(seed: u64, two: bool) -> [&'static str; 2] {
    match (two, seed % 2) {
        (true, _) => ["down0", "down0"],
        (false, 0) => ["down0", "down1"],
        (false, _) => ["down1", "down0"],
    }
}

/// The VM goes from one station to the other.
fn move_vm(wire: &mut Wire) {
    wire.interface(SOURCE, "vm1", false);
    wire.interface(TARGET, "vm1", true);
}

fn order(wire: &mut Wire, station: usize, command: Command) -> Result<(), String> {
    let hints = Hints { migrating: station == TARGET, suspended: false };
    wire.order(station, VsiOrder { command, vsi: Which::Known("vm1".to_owned()), hints, port: None })
}

/// Who gets what somebody far away sends to the VM.
fn behind(wire: &Wire, seed: u64, two: bool) -> Option<usize> {
    let hop = |bridge, from| match &*wire.reach(bridge, from, mac(1), 100) {
        [port] => Some(port.clone()),
        // Nobody knows: to all or to none.
        _ => None,
    };
    let [source, target] = downs(seed, two);
    let first = hop(BRIDGE, "far")?;
    if first == source {
        Some(SOURCE)
    } else if two {
        assert_eq!(first, "link");
        (hop(BRIDGE2, "link")? == target).then_some(TARGET)
    } else {
        (first == target).then_some(TARGET)
    }
}

fn associated(wire: &Wire, station: usize) -> bool {
    wire.get(station).admitted("vm1") == [(mac(1), 100)]
}

/// The VM says something in VLAN 100 at the target.
fn speak(wire: &mut Wire, seed: u64, two: bool) {
    let mut octets = frame::build(MacAddr::broadcast(), mac(1), EtherType(0x88b5), &[]);
    octets.splice(12..12, [0x81, 0x00, 0, 100]);
    let [_, port] = downs(seed, two);
    wire.arrive(if two { BRIDGE2 } else { BRIDGE }, port, octets);
}

/// What is done in a migration, in any order; the VM itself moves before its Associate.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    Prepare,
    Associate,
    Deassociate,
}

fn migrations(two: bool, kills: bool) {
    seeds(200, |seed| {
        let mut random = StdRng::seed_from_u64(!seed);
        let bad = Faults { loss: 0.1, duplication: 0.1, jitter: Duration::from_millis(20) };
        let (mut wire, cables) = topology(seed, two, if seed % 4 == 0 { Faults::NONE } else { bad });
        wire.run_for(Duration::from_secs(2));
        order(&mut wire, SOURCE, Command::Associate).unwrap();
        let limit = wire.now() + Duration::from_secs(240);
        assert!(wire.run_until(limit, |w| associated(w, SOURCE)), "it associates");
        wire.run_for(Duration::from_secs(2));
        assert_eq!(behind(&wire, seed, two), Some(SOURCE));

        let mut acts = [Act::Prepare, Act::Associate, Act::Deassociate];
        acts.shuffle(&mut random);
        let (mut ordered, mut moved, mut left) = (false, false, false);
        for act in acts {
            match act {
                Act::Prepare if ordered => {
                    let refused = order(&mut wire, TARGET, Command::PreAssociateRr);
                    assert!(refused.is_err() || !associated(&wire, TARGET));
                    // An order that was not carried out yet was replaced.
                    if refused.is_ok() {
                        order(&mut wire, TARGET, Command::Associate).unwrap();
                    }
                }
                Act::Prepare => order(&mut wire, TARGET, Command::PreAssociateRr).unwrap(),
                Act::Associate => {
                    ordered = true;
                    move_vm(&mut wire);
                    order(&mut wire, TARGET, Command::Associate).unwrap();
                }
                Act::Deassociate => {
                    left = true;
                    order(&mut wire, SOURCE, Command::DeAssociate).unwrap();
                }
            }
            if kills && random.random_bool(0.6) {
                let victim = random.random_range(0..if two { 4 } else { 3 });
                wire.kill_after(victim, random.random_range(0..10));
                let limit = wire.now() + Duration::from_millis(random.random_range(0..3000));
                watch(&mut wire, seed, two, limit, ordered, left, &mut moved);
                wire.kill(victim);
                // What came by the LAN is not remembered over a restart: the source's port has the VM until it speaks.
                moved &= !(two && victim == BRIDGE);
                wire.run_for(Duration::from_millis(random.random_range(0..2000)));
                let without = if ordered == (victim == SOURCE) { &["vm1"][..] } else { &[] };
                wire.start_without(victim, if victim < BRIDGE { without } else { &[] });
            }
            if random.random_bool(0.3) {
                // The policy of the VSI changes under it: that moves nothing.
                let rule = format!("{{ action = \"deny\", vlan = {} }}", random.random_range(200..300));
                wire.reload(BRIDGE, &bridge(if two { 1 } else { 2 }, two, &rule));
            }
            let limit = wire.now() + Duration::from_millis(random.random_range(0..5000));
            watch(&mut wire, seed, two, limit, ordered, left, &mut moved);
        }
        cables.iter().for_each(|cable| wire.weather(*cable, Faults::NONE));
        let settled = |w: &Wire| associated(w, TARGET) && w.get(SOURCE).open.is_empty();
        let limit = wire.now() + Duration::from_secs(240);
        assert!(wire.run_until(limit, settled), "it arrives");
        speak(&mut wire, seed, two);
        wire.run_for(Duration::from_secs(60));
        assert!(settled(&wire), "and stays");
        assert_eq!(behind(&wire, seed, two), Some(TARGET));
        let open = |bridge: usize| wire.get(bridge).open.len();
        assert_eq!(open(BRIDGE) + if two { open(BRIDGE2) } else { 0 }, 1, "one port forwards it");
    });
}

/// Lets time pass, and holds forwarding to its rule at every moment: to the target not before its Associate was ordered,
/// and once it went there not back.
fn watch(
    wire: &mut Wire,
    seed: u64,
    two: bool,
    limit: ether::Instant,
    ordered: bool,
    left: bool,
    moved: &mut bool,
) {
    wire.run_until(limit, |w| {
        let bridges = if two { &[BRIDGE, BRIDGE2][..] } else { &[BRIDGE] };
        if bridges.iter().any(|bridge| w.is_dead(*bridge)) {
            return false;
        }
        match behind(w, seed, two) {
            Some(TARGET) => {
                assert!(ordered, "to the target before its Associate");
                *moved = true;
            }
            Some(SOURCE) => assert!(!*moved, "back to the source"),
            _ => assert!(ordered || left, "nobody has it"),
        }
        false
    });
}

#[test]
fn between_two_ports_of_a_bridge() {
    migrations(false, false);
}

#[test]
fn between_two_bridges() {
    migrations(true, false);
}

#[test]
fn between_two_ports_of_a_bridge_and_daemons_are_killed() {
    migrations(false, true);
}

#[test]
fn between_two_bridges_and_daemons_are_killed() {
    migrations(true, true);
}
