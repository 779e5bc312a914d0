//! Cores on a virtual wire: whatever the wire does, both ends come to agree, and stay in agreement.
//!
//! Each case runs from a seed; a failure names it, and `EVBD_SEED=n` plays that one again.

mod channels;
mod crowd;
mod day;
mod dcb;
mod extended;
mod extension;
mod kills;
mod migrate;
mod modes;
mod orders;
mod reload;
mod types;

use std::time::Duration;

use ether::MacAddr;
use evb_tests::wire::{Faults, Wire};
use evbd::Event;
use hairpin::EdgeMode;
use rand::{RngExt, SeedableRng, rngs::StdRng};

const STATION: usize = 0;
const BRIDGE: usize = 1;

fn station(vsis: u8, fallback: &str) -> String {
    station_with(1..=vsis, &format!("fallback = \"{fallback}\""))
}

/// A station with VSIs of these numbers and `keys` in its EVB section.
fn station_with(vsis: impl IntoIterator<Item = u8>, keys: &str) -> String {
    let mut text =
        format!("role = \"station\"\n[evb]\n{keys}\n[[port]]\ninterface = \"up\"\nkind = \"uplink\"\n");
    for n in vsis {
        text += &format!(
            "[[vsi]]\nname = \"vm{n}\"\ninterface = \"vm{n}\"\nid = \"6b1d0a58-0000-4000-8000-0000000000{n:02x}\"\n\
             type = 1\nversion = 1\nmac = \"52:54:00:00:00:{n:02x}\"\n"
        );
    }
    text
}

fn bridge(reflective_relay: bool) -> String {
    bridge_with(["down"], &format!("reflective_relay = {reflective_relay}"))
}

/// A bridge with station-facing `ports` and `keys` in its EVB section.
fn bridge_with(ports: impl IntoIterator<Item = impl std::fmt::Display>, keys: &str) -> String {
    let mut text = format!(
        "role = \"bridge\"\n[evb]\n{keys}\n[[profile]]\nname = \"web\"\ntype = 1\nversion = 1\nvlans = [100]\n"
    );
    for port in ports {
        text += &format!("[[port]]\ninterface = \"{port}\"\nkind = \"station\"\n");
    }
    text
}

fn pair(seed: u64, vsis: u8, faults: Faults) -> (Wire, usize) {
    joined(seed, &station(vsis, "veb"), &bridge(true), faults)
}

/// A station and a bridge, joined and powered.
fn joined(seed: u64, station: &str, bridge: &str, faults: Faults) -> (Wire, usize) {
    let mut wire = Wire::new(seed);
    wire.machine(station);
    wire.machine(bridge);
    let cable = wire.cable((STATION, "up"), (BRIDGE, "down"), faults);
    wire.power(STATION);
    wire.power(BRIDGE);
    (wire, cable)
}

fn mac(n: u8) -> MacAddr {
    MacAddr::new(0x52, 0x54, 0, 0, 0, n)
}

/// Everything the two ends must agree on.
fn agreed(wire: &Wire, vsis: u8) -> bool {
    let (station, bridge) = (wire.get(STATION), wire.get(BRIDGE));
    let wanted: Vec<_> = (1..=vsis).map(|n| (mac(n), 100)).collect();
    let gates = (1..=vsis).all(|n| station.admitted(&format!("vm{n}")) == [(mac(n), 100)]);
    station.mode == EdgeMode::Vepa && bridge.reflects("down") && gates && bridge.admitted("down") == wanted
}

/// Runs `case` for each seed, or for the one in EVBD_SEED.
fn seeds(count: u64, case: impl Fn(u64)) {
    let one = std::env::var("EVBD_SEED").ok().map(|s| s.parse().expect("EVBD_SEED is a number"));
    let all: Vec<u64> = one.map_or_else(|| (0..count).collect(), |seed| vec![seed]);
    for seed in all {
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| case(seed)));
        if let Err(cause) = run {
            eprintln!("play it again with EVBD_SEED={seed}");
            std::panic::resume_unwind(cause);
        }
    }
}

#[test]
fn a_good_wire_agrees_in_seconds() {
    let (mut wire, _) = pair(1, 2, Faults::NONE);
    let start = wire.now();
    assert!(wire.run_until(start + Duration::from_secs(5), |w| agreed(w, 2)));
    // And stays agreed over many keep-alives and LLDP intervals.
    let events = |w: &Wire| w.get(STATION).events.len() + w.get(BRIDGE).events.len();
    let settled = wire.now() + Duration::from_secs(20);
    wire.run_until(settled, |_| false);
    let before = events(&wire);
    wire.run_for(Duration::from_secs(3600));
    assert!(agreed(&wire, 2));
    assert_eq!(events(&wire), before, "nothing happens on a link at rest");
}

#[test]
fn a_wire_that_loses_a_fifth_of_all_frames_agrees() {
    let faults = Faults { loss: 0.2, duplication: 0.1, jitter: Duration::from_millis(20) };
    seeds(200, |seed| {
        let (mut wire, _) = pair(seed, 3, faults);
        let start = wire.now();
        assert!(
            wire.run_until(start + Duration::from_secs(240), |w| agreed(w, 3)),
            "seed {seed}: no agreement"
        );
    });
}

#[test]
fn after_any_storm_both_ends_agree_again() {
    seeds(100, |seed| {
        let mut random = StdRng::seed_from_u64(!seed);
        let (mut wire, cable) =
            pair(seed, 2, Faults { loss: 0.1, duplication: 0.1, jitter: Duration::from_millis(5) });
        for _ in 0..random.random_range(3..12) {
            wire.run_for(Duration::from_millis(random.random_range(1..30_000)));
            match random.random_range(0..5) {
                0 => wire.restart(STATION),
                1 => wire.restart(BRIDGE),
                2 => wire.plug(cable, false),
                3 => wire.plug(cable, true),
                _ => wire.weather(cable, Faults { loss: random.random_range(0.0..0.9), ..Faults::NONE }),
            }
        }
        wire.weather(cable, Faults::NONE);
        wire.plug(cable, true);
        let calm = wire.now();
        assert!(
            wire.run_until(calm + Duration::from_secs(400), |w| agreed(w, 2)),
            "seed {seed}: no agreement"
        );
        // What is agreed after the storm is still agreed much later: no stale timer undoes it.
        wire.run_for(Duration::from_secs(120));
        assert!(agreed(&wire, 2), "seed {seed}: agreement did not last");
    });
}

#[test]
fn a_bridge_without_reflective_relay_leaves_the_station_a_veb_or_isolated() {
    for (fallback, mode) in [("veb", EdgeMode::Veb), ("isolate", EdgeMode::Isolate)] {
        let (mut wire, _) = joined(7, &station(1, fallback), &bridge(false), Faults::NONE);
        let limit = wire.now() + Duration::from_secs(30);
        assert!(wire.run_until(limit, |w| w.get(STATION).admitted("vm1") == [(mac(1), 100)]));
        wire.run_for(Duration::from_secs(60));
        assert_eq!(wire.get(STATION).mode, mode);
        assert!(!wire.get(BRIDGE).reflects("down"));
    }
}

#[test]
fn a_station_that_dies_is_forgotten_by_its_bridge() {
    let (mut wire, cable) = pair(3, 2, Faults::NONE);
    let limit = wire.now() + Duration::from_secs(10);
    assert!(wire.run_until(limit, |w| agreed(w, 2)));
    wire.weather(cable, Faults { loss: 1.0, ..Faults::NONE });
    // toutKeepAlive is 17.4 s by default; LLDP information ages after 121 s.
    wire.run_for(Duration::from_secs(30));
    assert!(wire.get(BRIDGE).admitted("down").is_empty(), "VSIs outlive their keep-alive");
    wire.run_for(Duration::from_secs(130));
    assert!(!wire.get(BRIDGE).reflects("down"), "reflective relay outlives the neighbour");
    assert_eq!(wire.get(STATION).mode, EdgeMode::Veb);
}

#[test]
fn a_second_neighbour_ends_the_agreement_and_is_reported() {
    let (mut wire, _) = pair(5, 1, Faults::NONE);
    let limit = wire.now() + Duration::from_secs(10);
    assert!(wire.run_until(limit, |w| agreed(w, 1)));
    // Another station's LLDPDU with an EVB TLV on the bridge's port.
    wire.inject(BRIDGE, "down", stranger("fe090080c20d000f689414"));
    assert!(!wire.get(BRIDGE).reflects("down"), "reflection towards two neighbours");
    let told = |w: &Wire, is: fn(&Event) -> bool| w.get(BRIDGE).events.iter().any(|(_, event)| is(event));
    assert!(told(&wire, |e| matches!(e, Event::EvbNotPointToPoint { neighbors: 2, .. })));
    assert!(told(
        &wire,
        |e| matches!(e, Event::EvbPeerLost { because, .. } if because.contains("more than one"))
    ));
    assert!(!told(&wire, |e| matches!(e, Event::EvbPointToPoint { .. })));
    // The stranger falls silent: after its 120 s the old pair agrees again.
    let limit = wire.now() + Duration::from_secs(200);
    wire.run_for(Duration::from_secs(121));
    assert!(wire.run_until(limit, |w| agreed(w, 1)));
    assert!(told(&wire, |e| matches!(e, Event::EvbPointToPoint { .. })));
}

/// An LLDPDU of somebody else to the nearest customer bridge, with these octets of TLVs after the mandatory ones.
fn stranger(tlvs: &str) -> Vec<u8> {
    let text = format!(
        "0180c2000000 020000000a01 88cc 0207 04020000000a01 0407 03020000000a01 06020078 {tlvs} 0000 000000000000"
    );
    let digits: Vec<u8> =
        text.chars().filter_map(|c| c.to_digit(16)).map(|d| u8::try_from(d).unwrap()).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}
