//! Many stations on one bridge.

use std::time::Duration;

use evb_tests::wire::{Faults, Wire};
use hairpin::EdgeMode;

use crate::{bridge_with, mac, seeds, station_with};

const STATIONS: u8 = 50;
/// The bridge's number; station `n` has number `n`, from 1.
const BRIDGE: usize = 0;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);

/// Station `n` and the bridge agree.
fn agreed(wire: &Wire, n: u8) -> bool {
    let (station, bridge) = (wire.get(usize::from(n)), wire.get(BRIDGE));
    let port = format!("p{n}");
    station.mode == EdgeMode::Vepa
        && station.admitted(&format!("vm{n}")) == [(mac(n), 100)]
        && bridge.reflects(&port)
        && bridge.admitted(&port) == [(mac(n), 100)]
}

fn crowd(seed: u64, faults: Faults) -> (Wire, Vec<usize>) {
    let mut wire = Wire::new(seed);
    wire.machine(&bridge_with((1..=STATIONS).map(|n| format!("p{n}")), ""));
    let mut cables = Vec::new();
    for n in 1..=STATIONS {
        let station = wire.machine(&station_with([n], ""));
        cables.push(wire.cable((station, "up"), (BRIDGE, &format!("p{n}")), faults));
    }
    (0..=usize::from(STATIONS)).for_each(|machine| wire.power(machine));
    (wire, cables)
}

/// A lossy wire never lets all rest at once, as each loses three probes in a row now and then: each must come to agree,
/// and all of them when the weather is good again.
#[test]
fn fifty_stations_agree_with_one_bridge() {
    let bad = Faults { loss: 0.2, duplication: 0.1, jitter: Duration::from_millis(20) };
    seeds(200, |seed| {
        let (mut wire, cables) = crowd(seed, bad);
        let mut waiting: Vec<u8> = (1..=STATIONS).collect();
        let limit = wire.now() + Duration::from_secs(240);
        while !waiting.is_empty() {
            wire.run_for(LOOK);
            waiting.retain(|n| !agreed(&wire, *n));
            assert!(wire.now() < limit, "seed {seed}: stations {waiting:?} do not agree");
        }
        cables.iter().for_each(|cable| wire.weather(*cable, Faults::NONE));
        let limit = wire.now() + Duration::from_secs(60);
        while !(1..=STATIONS).all(|n| agreed(&wire, n)) {
            wire.run_for(LOOK);
            assert!(wire.now() < limit, "seed {seed}: not all agree");
        }
    });
}
