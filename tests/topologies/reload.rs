//! Another configuration while everything runs: what changed takes effect, what did not is left alone.

use std::time::Duration;

use evb_tests::wire::{Faults, Wire};
use evbd::Event;
use hairpin::EdgeMode;

use super::{BRIDGE, STATION, agreed, bridge, bridge_with, joined, mac, station, station_with};

const PATIENCE: Duration = Duration::from_secs(60);

fn settled() -> Wire {
    let (mut wire, _) = joined(7, &station(2, "veb"), &bridge(true), Faults::NONE);
    reach(&mut wire, |w| agreed(w, 2));
    wire.run_for(Duration::from_secs(20));
    wire
}

fn reach(wire: &mut Wire, done: impl FnMut(&Wire) -> bool) {
    let limit = wire.now() + PATIENCE;
    assert!(wire.run_until(limit, done), "not in {PATIENCE:?}");
}

fn events(wire: &Wire, machine: usize) -> usize {
    wire.get(machine).events.len()
}

/// The events since the first `before`.
fn since(wire: &Wire, machine: usize, before: usize) -> Vec<&Event> {
    wire.get(machine).events.iter().skip(before).map(|(_, event)| event).collect()
}

#[test]
fn the_same_again_changes_nothing() {
    let mut wire = settled();
    let before = (events(&wire, STATION), events(&wire, BRIDGE), wire.frames);
    wire.reload(STATION, &station(2, "veb"));
    wire.reload(BRIDGE, &bridge(true));
    assert_eq!((events(&wire, STATION), events(&wire, BRIDGE), wire.frames), before);
    assert!(agreed(&wire, 2));
}

#[test]
fn what_is_said_changes_and_only_that() {
    let mut wire = settled();
    let before = (events(&wire, STATION), events(&wire, BRIDGE));
    let config = format!("{}[lldp.tlvs]\npvid = 5\n", station(2, "veb"));
    wire.reload(STATION, &config);
    wire.run_for(Duration::from_secs(5));
    let told = since(&wire, BRIDGE, before.1);
    assert!(!told.is_empty() && told.iter().all(|e| matches!(e, Event::Neighbor { .. })), "{told:?}");
    assert_eq!(events(&wire, STATION), before.0, "{:?}", since(&wire, STATION, before.0));
    assert!(agreed(&wire, 2));
}

#[test]
fn vsis_come_go_and_change() {
    let mut wire = settled();
    // VSI 2 goes, 3 comes; 1 is not touched.
    let open = wire.get(STATION).admitted("vm1");
    let before = events(&wire, BRIDGE);
    wire.reload(STATION, &station_with([1, 3], ""));
    reach(&mut wire, |w| {
        w.get(STATION).ports().contains(&"vm3".to_owned())
            && w.get(STATION).admitted("vm3") == [(mac(3), 100)]
            && w.get(BRIDGE).admitted("down") == [(mac(1), 100), (mac(3), 100)]
    });
    assert_eq!(wire.get(STATION).admitted("vm1"), open);
    assert!(!wire.get(STATION).ports().contains(&"vm2".to_owned()));
    let told = serde_json::to_string(&since(&wire, BRIDGE, before)).unwrap();
    assert!(told.contains("-000000000003") && !told.contains("-000000000001"), "{told}");
    // VSI 1 has another address.
    let changed = station_with([1, 3], "").replace("52:54:00:00:00:01", "52:54:00:00:00:09");
    wire.reload(STATION, &changed);
    reach(&mut wire, |w| {
        w.get(BRIDGE).admitted("down") == [(mac(3), 100), (mac(9), 100)]
            && w.get(STATION).admitted("vm1") == [(mac(9), 100)]
    });
    // And back to where we were, on the numbers that became free.
    wire.reload(STATION, &station(2, "veb"));
    reach(&mut wire, |w| agreed(w, 2));
    wire.run_for(Duration::from_secs(60));
    assert!(agreed(&wire, 2));
}

#[test]
fn a_vsi_that_moves_to_another_interface_is_open_there_only() {
    let mut wire = settled();
    wire.reload(STATION, &station(2, "veb").replace("interface = \"vm2\"", "interface = \"vm5\""));
    reach(&mut wire, |w| w.get(STATION).admitted("vm5") == [(mac(2), 100)]);
    assert!(!wire.get(STATION).ports().contains(&"vm2".to_owned()));
    assert_eq!(wire.get(BRIDGE).admitted("down"), [(mac(1), 100), (mac(2), 100)]);
}

#[test]
fn a_profile_that_is_withdrawn_ends_its_vsis_and_another_does_not() {
    let mut wire = settled();
    let more = format!("{}[[profile]]\nname = \"db\"\ntype = 2\nversion = 1\nvlans = [7]\n", bridge(true));
    let before = (events(&wire, STATION), events(&wire, BRIDGE));
    wire.reload(BRIDGE, &more);
    wire.reload(BRIDGE, &more.replace("vlans = [100]", "vlans = [100, 101]"));
    wire.run_for(Duration::from_secs(30));
    // What changed is told, and which VSIs live by it; nobody is interrupted.
    assert_eq!(events(&wire, STATION), before.0);
    let told = since(&wire, BRIDGE, before.1);
    assert!(
        matches!(told[..], [
            Event::ProfilesChanged { reapplied: none, .. },
            Event::ProfilesChanged { reapplied: both, withdrawn, .. },
        ] if none.is_empty() && both.len() == 2 && withdrawn.is_empty()),
        "{told:?}"
    );
    // VLAN 100 is not allowed any more.
    wire.reload(BRIDGE, &more.replace("vlans = [100]", "vlans = [101]"));
    assert_eq!(wire.get(BRIDGE).admitted("down"), []);
    reach(&mut wire, |w| w.get(STATION).admitted("vm1") != [(mac(1), 100)]);
}

#[test]
fn evb_and_the_edge_relay_follow() {
    let mut wire = settled();
    wire.reload(BRIDGE, &bridge(false));
    reach(&mut wire, |w| w.get(STATION).mode == EdgeMode::Veb && !w.get(BRIDGE).reflects("down"));
    wire.reload(BRIDGE, &bridge(true));
    reach(&mut wire, |w| agreed(w, 2));
    wire.reload(STATION, &station_with(1..=2, "mode = \"private\""));
    reach(&mut wire, |w| w.get(STATION).mode == EdgeMode::Private && !w.get(BRIDGE).reflects("down"));
    assert_eq!(wire.get(BRIDGE).admitted("down"), [(mac(1), 100), (mac(2), 100)]);
    wire.reload(STATION, &station_with(1..=2, "retries = 6"));
    reach(&mut wire, |w| {
        let says = |machine, of| {
            since(w, machine, of).iter().any(|e| format!("{e:?}").contains("value: Retries(6)"))
        };
        agreed(w, 2) && says(STATION, 0) && says(BRIDGE, 0)
    });
}

#[test]
fn ports_of_a_bridge_come_and_go() {
    let mut wire = settled();
    let with = |ports: &[&str]| bridge_with(ports.iter().copied(), "reflective_relay = true");
    wire.reload(BRIDGE, &with(&["down", "other"]));
    assert!(agreed(&wire, 2) && wire.get(BRIDGE).ports() == ["down", "other"]);
    wire.reload(BRIDGE, &with(&["other"]));
    assert_eq!((wire.get(BRIDGE).open.len(), wire.get(BRIDGE).ports()), (0, vec!["other".to_owned()]));
    // The station was told: its neighbour has left.
    wire.run_for(Duration::from_secs(1));
    let left = |e: &&Event| matches!(e, Event::Neighbor { what: lldp::NeighborEvent::Gone { .. }, .. });
    assert!(since(&wire, STATION, 0).iter().any(left));
}
