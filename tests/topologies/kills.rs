//! Processes killed anywhere, also in the middle of what they do, and started again with what they had remembered.

use std::{collections::BTreeSet, time::Duration};

use evb_tests::wire::{Faults, Wire};
use evbd::{Event, Record};
use hairpin::EdgeMode;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use vdp::station::StationEvent;

use crate::{BRIDGE, STATION, agreed, bridge, bridge_with, joined, mac, pair, seeds, station, station_with};

/// toutKeepAlive of the defaults, and a little.
const KEEP_ALIVE: Duration = Duration::from_secs(18);
const KILLS: u32 = 20;

/// Kills a side now, or in the middle of what it does within the next seconds.
fn kill(wire: &mut Wire, random: &mut StdRng, side: usize) {
    if random.random_bool(0.7) {
        wire.kill_after(side, random.random_range(0..12));
        let limit = wire.now() + Duration::from_secs(25);
        wire.run_until(limit, |w| w.is_dead(side));
    }
    if !wire.is_dead(side) {
        wire.kill(side);
    }
}

fn millis(random: &mut StdRng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(random.random_range(range))
}

/// 10,000 kills by default. None of them loses a VSI for good, makes two of one, or leaves one behind.
#[test]
fn ten_thousand_kills() {
    seeds(500, |seed| {
        let mut random = StdRng::seed_from_u64(!seed);
        let bad = Faults { loss: 0.05, duplication: 0.05, jitter: Duration::from_millis(5) };
        let weather = if seed % 2 == 0 { Faults::NONE } else { bad };
        let (mut wire, cable) = pair(seed, 3, weather);
        for _ in 0..KILLS {
            wire.run_for(millis(&mut random, 0..15_000));
            let side = random.random_range(0..2);
            kill(&mut wire, &mut random, side);
            let both = random.random_bool(0.1);
            if both {
                wire.kill(1 - side);
            }
            wire.run_for(millis(&mut random, 0..3_000));
            wire.start(side);
            if both {
                wire.start(1 - side);
            }
        }
        wire.weather(cable, Faults::NONE);
        let limit = wire.now() + Duration::from_secs(120);
        assert!(wire.run_until(limit, |w| agreed(w, 3)), "no agreement");
        wire.run_for(Duration::from_secs(60));
        assert!(agreed(&wire, 3), "agreement did not last");
        once(&wire);
        // One side goes for good: what the other has of it goes too, and is forgotten.
        let gone = random.random_range(0..2);
        kill(&mut wire, &mut random, gone);
        if random.random_bool(0.5) {
            // The other is killed too, and comes back to nobody.
            kill(&mut wire, &mut random, 1 - gone);
            wire.run_for(millis(&mut random, 0..10_000));
            wire.start(1 - gone);
        }
        wire.run_for(KEEP_ALIVE + KEEP_ALIVE);
        let left = wire.get(1 - gone);
        assert!(left.open.is_empty(), "gates outlive the other side: {:?}", left.open);
        if gone == STATION {
            let kept: Vec<_> = left.journal.keys().filter(|key| key.vsi.is_some()).collect();
            assert!(kept.is_empty(), "remembered for ever: {kept:?}");
        }
    });
}

/// The keys of what the bridge remembers.
fn remembered(wire: &Wire) -> Vec<String> {
    wire.get(BRIDGE).journal.keys().map(ToString::to_string).collect()
}

/// Each VSI is there once.
fn once(wire: &Wire) {
    for side in [STATION, BRIDGE] {
        let machine = wire.get(side);
        let remembered: BTreeSet<_> = machine.journal.keys().filter_map(|key| key.vsi).collect();
        let records = machine.journal.keys().filter(|key| key.vsi.is_some()).count();
        assert_eq!((machine.open.len(), remembered.len(), records), (3, 3, 3));
    }
}

/// How often a gate of the station was shut.
fn shut(wire: &Wire) -> usize {
    let gone =
        |event: &&(_, Event)| matches!(&event.1, Event::StationVsi { what: StationEvent::Gone { .. }, .. });
    wire.get(STATION).events.iter().filter(gone).count()
}

/// A bridge that is away for seconds, at any moment, is missed by no VSI, and reflects from its first moment on.
#[test]
fn a_bridge_that_restarts_is_not_noticed() {
    seeds(300, |seed| {
        let mut random = StdRng::seed_from_u64(!seed);
        let (mut wire, _) = pair(seed, 3, Faults::NONE);
        let limit = wire.now() + Duration::from_secs(10);
        assert!(wire.run_until(limit, |w| agreed(w, 3)));
        wire.run_for(millis(&mut random, 0..30_000));
        for _ in 0..5 {
            wire.kill(BRIDGE);
            wire.run_for(millis(&mut random, 0..4_000));
            wire.start(BRIDGE);
            let bridge = wire.get(BRIDGE);
            assert!(bridge.reflects("down") && bridge.admitted("down").len() == 3, "at once");
            wire.run_for(millis(&mut random, 0..40_000));
            assert_eq!(wire.get(BRIDGE).admitted("down").len(), 3);
        }
        assert_eq!(shut(&wire), 0, "a VSI was missed");
        let limit = wire.now() + Duration::from_secs(60);
        assert!(wire.run_until(limit, |w| agreed(w, 3)));
    });
}

/// A station's gates are open from its first moment on, and its VSIs are asserted again before the bridge misses them.
#[test]
fn a_station_that_restarts_is_not_noticed() {
    seeds(300, |seed| {
        let mut random = StdRng::seed_from_u64(!seed);
        let (mut wire, _) = pair(seed, 3, Faults::NONE);
        let limit = wire.now() + Duration::from_secs(10);
        assert!(wire.run_until(limit, |w| agreed(w, 3)));
        wire.run_for(millis(&mut random, 0..30_000));
        for _ in 0..5 {
            wire.kill(STATION);
            wire.run_for(millis(&mut random, 0..4_000));
            wire.start(STATION);
            assert_eq!(wire.get(STATION).open.len(), 3, "at once");
            let limit = wire.now() + Duration::from_secs(40);
            assert!(wire.run_until(limit, |w| agreed(w, 3)));
            wire.run_for(millis(&mut random, 0..30_000));
        }
        assert_eq!(shut(&wire), 0);
        let missed = |event: &&(_, Event)| {
            matches!(&event.1, Event::BridgeVsi { what: vdp::bridge::BridgeEvent::Deassociated { .. }, .. })
        };
        assert_eq!(wire.get(BRIDGE).events.iter().filter(missed).count(), 0);
    });
}

/// What the configuration or the host has no more is let go of, and nothing else.
#[test]
fn what_went_while_the_station_was_down_is_de_associated() {
    for gone in [true, false] {
        let (mut wire, _) = pair(11, 3, Faults::NONE);
        let limit = wire.now() + Duration::from_secs(10);
        assert!(wire.run_until(limit, |w| agreed(w, 3)));
        wire.kill(STATION);
        if gone {
            wire.start_without(STATION, &["vm3"]);
        } else {
            wire.configure(STATION, &station(2, "veb"));
            wire.start(STATION);
        }
        assert_eq!(wire.get(STATION).admitted("vm2"), [(mac(2), 100)], "at once");
        let limit = wire.now() + Duration::from_secs(5);
        assert!(wire.run_until(limit, |w| agreed(w, 2)), "long before its keep-alive ends");
        let kept = wire.get(STATION).journal.keys().filter(|key| key.vsi.is_some()).count();
        assert_eq!(kept, 2);
    }
}

#[test]
fn what_changed_while_a_side_was_down_is_asked_for_anew() {
    // Another VLAN wanted.
    let (mut wire, _) = pair(12, 1, Faults::NONE);
    let two = bridge(true).replace("vlans = [100]", "vlans = [100, 200]");
    wire.reload(BRIDGE, &two);
    let limit = wire.now() + Duration::from_secs(10);
    assert!(wire.run_until(limit, |w| agreed(w, 1)));
    wire.kill(STATION);
    wire.configure(STATION, &(station_with([1], "") + "vlan = 200\n"));
    wire.start(STATION);
    let limit = wire.now() + Duration::from_secs(5);
    let moved = |w: &Wire| {
        [w.get(STATION).admitted("vm1"), w.get(BRIDGE).admitted("down")].iter().all(|p| *p == [(mac(1), 200)])
    };
    assert!(wire.run_until(limit, moved), "{:?}", wire.get(STATION).events);
    // The VLAN permitted no more.
    wire.kill(BRIDGE);
    wire.configure(BRIDGE, &bridge(true));
    wire.start(BRIDGE);
    assert!(wire.get(BRIDGE).open.is_empty(), "{:?}", wire.get(BRIDGE).open);
    // The port is there no more.
    let (mut wire, _) = pair(13, 1, Faults::NONE);
    let limit = wire.now() + Duration::from_secs(10);
    assert!(wire.run_until(limit, |w| agreed(w, 1)));
    wire.kill(BRIDGE);
    wire.configure(BRIDGE, &bridge_with(["other"], ""));
    wire.start(BRIDGE);
    assert!(wire.get(BRIDGE).open.is_empty());
    assert_eq!(remembered(&wire), ["the chassis"]);
}

/// A restarted bridge reflects on what it remembers only until it hears the station, or does not.
#[test]
fn reflection_is_presumed_no_longer_than_a_keep_alive() {
    let (mut wire, cable) = pair(14, 1, Faults::NONE);
    let limit = wire.now() + Duration::from_secs(10);
    assert!(wire.run_until(limit, |w| agreed(w, 1)));
    wire.kill(BRIDGE);
    wire.weather(cable, Faults { loss: 1.0, ..Faults::NONE });
    wire.start(BRIDGE);
    assert!(wire.get(BRIDGE).reflects("down"));
    wire.run_for(KEEP_ALIVE);
    assert!(!wire.get(BRIDGE).reflects("down") && wire.get(BRIDGE).open.is_empty());
    assert_eq!(remembered(&wire), ["the chassis"]);
    // Another configuration forbids it.
    let (mut wire, _) = joined(15, &station(1, "veb"), &bridge(true), Faults::NONE);
    let limit = wire.now() + Duration::from_secs(10);
    assert!(wire.run_until(limit, |w| agreed(w, 1)));
    wire.kill(BRIDGE);
    wire.configure(BRIDGE, &bridge(false));
    wire.start(BRIDGE);
    assert!(!wire.get(BRIDGE).reflects("down"));
    let limit = wire.now() + Duration::from_secs(5);
    assert!(wire.run_until(limit, |w| w.get(STATION).mode == EdgeMode::Veb));
}

/// Asked to, a side lets go of all at once, and takes nothing until it is gone.
#[test]
fn what_is_de_associated_before_a_stop_is_gone_on_both_sides() {
    for side in [STATION, BRIDGE] {
        let (mut wire, _) = pair(16, 3, Faults::NONE);
        let limit = wire.now() + Duration::from_secs(10);
        assert!(wire.run_until(limit, |w| agreed(w, 3)));
        wire.deassociate(side);
        let limit = wire.now() + Duration::from_secs(1);
        let gone = |w: &Wire| w.get(STATION).open.is_empty() && w.get(BRIDGE).open.is_empty();
        assert!(wire.run_until(limit, gone), "side {side}");
        wire.run_for(Duration::from_secs(120));
        assert!(gone(&wire), "side {side}");
        let vsis = wire.get(side).journal.keys().filter(|key| key.vsi.is_some()).count();
        assert_eq!(vsis, 0);
        // Restarted, and again before it has heard anybody.
        wire.kill(side);
        wire.start(side);
        let limit = wire.now() + Duration::from_secs(120);
        assert!(wire.run_until(limit, |w| agreed(w, 3)), "side {side}");
        wire.kill(side);
        wire.start(side);
        wire.deassociate(side);
        let limit = wire.now() + Duration::from_secs(5);
        assert!(wire.run_until(limit, gone), "side {side}");
        // Started again it is as at the first start.
        wire.kill(side);
        wire.start(side);
        let limit = wire.now() + Duration::from_secs(120);
        assert!(wire.run_until(limit, |w| agreed(w, 3)), "side {side}");
    }
}

/// In whatever order its interfaces are found, a host is the same neighbour after a restart; a copy of it is another.
#[test]
fn a_host_is_called_the_same_after_a_restart() {
    let (mut wire, _) = joined(17, &station(1, "veb"), &bridge_with(["other", "down"], ""), Faults::NONE);
    for _ in 0..20 {
        let limit = wire.now() + Duration::from_secs(60);
        assert!(wire.run_until(limit, |w| agreed(w, 1)));
        for side in [STATION, BRIDGE] {
            wire.kill(side);
            wire.start(side);
            wire.run_for(Duration::from_secs(5));
        }
    }
    let several = |event: &&(_, Event)| matches!(event.1, Event::EvbNotPointToPoint { .. });
    assert_eq!(wire.get(STATION).events.iter().filter(several).count(), 0);
    let journal = wire.get(BRIDGE).journal.clone();
    wire.kill(BRIDGE);
    wire.remember(BRIDGE, Record::Chassis { port: "down".to_owned(), mac: mac(9) });
    wire.start(BRIDGE);
    assert!(
        wire.get(BRIDGE)
            .journal
            .values()
            .all(|r| !matches!(r, Record::Chassis { mac: m, .. } if *m == mac(9)))
    );
    assert!(journal.values().any(|r| matches!(r, Record::Chassis { .. })));
}
