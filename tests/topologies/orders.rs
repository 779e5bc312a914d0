//! Orders for VSIs: those of the configuration, those given at run time, and a bridge's.

use std::time::Duration;

use evb_tests::wire::{Faults, Wire};
use evbd::{Event, VsiOrder, Which, config::VsiConfig};
use serde_json::json;
use vdp::{Command, Hints, station::StationEvent};

use crate::{BRIDGE, STATION, bridge, joined, mac, station, station_with};

fn order(command: Command, vsi: Which) -> VsiOrder {
    VsiOrder { command, vsi, hints: Hints::default(), port: None }
}

fn known(command: Command, vsi: &str) -> VsiOrder {
    order(command, Which::Known(vsi.to_owned()))
}

/// VSI `n` as it is given at run time, with this identifier and filter.
fn given(n: u8, id: &str, filters: serde_json::Value) -> VsiConfig {
    serde_json::from_value(json!({
        "name": format!("vm{n}"), "interface": format!("vm{n}"), "id": id, "type": 1, "version": 1, "filters": filters,
    }))
    .unwrap()
}

fn plain(n: u8) -> VsiConfig {
    given(n, &format!("6b1d0a58-0000-4000-8000-0000000000{n:02x}"), json!([{ "mac": mac(n).to_string() }]))
}

fn seconds(wire: &mut Wire, n: u64) {
    wire.run_for(Duration::from_secs(n));
}

/// A pair that has agreed, with these VSIs configured.
fn agreed(vsis: u8) -> Wire {
    let (mut wire, _) = joined(1, &station(vsis, "veb"), &bridge(true), Faults::NONE);
    seconds(&mut wire, 5);
    wire
}

fn admitted(wire: &Wire, interface: &str) -> Vec<(ether::MacAddr, u16)> {
    wire.get(STATION).admitted(interface)
}

#[test]
fn a_vsi_given_at_run_time_lives_from_its_first_order_to_its_de_association() {
    let mut wire = agreed(1);
    wire.order(STATION, order(Command::PreAssociate, Which::Given(plain(2)))).unwrap();
    assert_eq!(wire.get(STATION).ports(), ["up", "vm1", "vm2"]);
    seconds(&mut wire, 1);
    assert!(admitted(&wire, "vm2").is_empty(), "a pre-associated VSI has its gate shut");
    assert_eq!(wire.get(BRIDGE).admitted("down"), [(mac(1), 100)]);

    // Its interface comes: nothing happens by itself, and then it is ordered by its name.
    wire.interface(STATION, "vm2", true);
    seconds(&mut wire, 1);
    assert!(admitted(&wire, "vm2").is_empty());
    wire.order(STATION, known(Command::Associate, "vm2")).unwrap();
    seconds(&mut wire, 1);
    assert_eq!(admitted(&wire, "vm2"), [(mac(2), 100)]);
    assert_eq!(wire.get(BRIDGE).admitted("down"), [(mac(1), 100), (mac(2), 100)]);
    let error = wire.order(STATION, known(Command::PreAssociate, &mac(2).to_string())).unwrap_err();
    assert!(error.contains("de-associate it first"), "{error}");

    wire.order(STATION, known(Command::DeAssociate, "6b1d0a58-0000-4000-8000-000000000002")).unwrap();
    seconds(&mut wire, 1);
    assert_eq!(wire.get(BRIDGE).admitted("down"), [(mac(1), 100)]);
    assert_eq!(wire.get(STATION).ports(), ["up", "vm1"]);
    let error = wire.order(STATION, known(Command::Associate, "vm2")).unwrap_err();
    assert!(error.contains("no VSI vm2"), "{error}");
    // And once more, with the number of a port that became free.
    wire.order(STATION, order(Command::Associate, Which::Given(plain(3)))).unwrap();
    seconds(&mut wire, 1);
    assert_eq!(admitted(&wire, "vm3"), [(mac(3), 100)]);
}

#[test]
fn every_identifier_and_filter_can_be_given() {
    let mut wire = agreed(0);
    let ids = [
        "192.0.2.7",
        "2001:db8::7",
        "52:54:00:00:00:07",
        "local:00000000000000000000000000000007",
        "6b1d0a58-0000-4000-8000-000000000007",
    ];
    for (n, id) in (1..).zip(ids) {
        let vsi = given(n, id, json!([{ "mac": mac(n).to_string(), "vlan": 100, "pcp": 5 }]));
        wire.order(STATION, order(Command::Associate, Which::Given(vsi))).unwrap();
    }
    seconds(&mut wire, 1);
    for n in 1..=5 {
        assert_eq!(admitted(&wire, &format!("vm{n}")), [(mac(n), 100)]);
    }
    assert_eq!(wire.get(BRIDGE).admitted("down").len(), 5);

    // Several lines, and a VLAN without an address.
    let lines = json!([{ "mac": mac(6).to_string() }, { "mac": mac(7).to_string(), "vlan": 100 }]);
    wire.order(STATION, order(Command::Associate, Which::Given(given(6, "192.0.2.8", lines)))).unwrap();
    let vlan = given(8, "192.0.2.9", json!([{ "vlan": 100 }]));
    wire.order(STATION, order(Command::Associate, Which::Given(vlan))).unwrap();
    seconds(&mut wire, 1);
    assert_eq!(admitted(&wire, "vm6"), [(mac(6), 100), (mac(7), 100)]);
    let open = |entry: &hairpin::VsiEntry| {
        entry.port == wire.get(STATION).port("vm8") && entry.filters[0].mac.is_none()
    };
    assert!(wire.get(STATION).open.values().any(open));
}

#[test]
fn an_open_gate_is_announced_and_a_shut_one_is_not() {
    let announced = |text: &str| {
        let (mut wire, _) = joined(1, text, &bridge(true), Faults::NONE);
        wire.order(STATION, order(Command::PreAssociate, Which::Given(plain(9)))).unwrap();
        seconds(&mut wire, 5);
        let sent = wire.get(STATION).sent.iter();
        let rarp = sent
            .filter_map(|(_, frame)| ether::FrameView::parse(frame).ok())
            .filter(|view| view.ethertype.0 == 0x8035);
        rarp.map(|view| (view.src, view.tag.and_then(|tag| tag.vid).map(ether::Vid::get))).collect::<Vec<_>>()
    };
    assert_eq!(announced(&station(1, "veb")), [(mac(1), Some(100)); 4]);
    assert_eq!(announced(&station_with([1], "announce = false")), []);
    // Of a profile nobody has.
    assert_eq!(announced(&station(1, "veb").replace("type = 1", "type = 2")), []);
}

#[test]
fn an_order_that_cannot_be_is_refused_and_changes_nothing() {
    let mut wire = agreed(1);
    let mut other = plain(2);
    other.interface = "vm1".into();
    let mut same_mac = plain(2);
    same_mac.filter = plain(1).filter;
    let mut uplink = plain(2);
    uplink.interface = "up".into();
    let mut unnamed = plain(2);
    unnamed.interface = "an interface".into();
    for (vsi, why) in [
        (plain(1), "is `vm1` of the configuration"),
        (other, "interface vm1 belongs to VSI vm1"),
        (same_mac, "52:54:00:00:00:01 belongs to VSI vm1"),
        (uplink, "up is a port already"),
        (unnamed, "cannot be an interface name"),
    ] {
        let error = wire.order(STATION, order(Command::Associate, Which::Given(vsi))).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
    let error = wire.order(BRIDGE, order(Command::Associate, Which::Given(plain(2)))).unwrap_err();
    assert!(error.contains("a bridge starts no VSIs"), "{error}");
    assert!(wire.order(BRIDGE, known(Command::DeAssociate, "vm1")).is_err());
    assert_eq!(wire.get(STATION).ports(), ["up", "vm1"]);
    seconds(&mut wire, 1);
    assert_eq!(admitted(&wire, "vm1"), [(mac(1), 100)]);
}

#[test]
fn a_bridge_withdraws_a_vsi_and_the_station_asks_again() {
    let mut wire = agreed(2);
    wire.order(BRIDGE, known(Command::DeAssociate, &mac(1).to_string())).unwrap();
    assert_eq!(wire.get(BRIDGE).admitted("down"), [(mac(2), 100)]);
    let gone = |w: &Wire| {
        w.get(STATION).events.iter().any(|(_, event)| {
            matches!(event, Event::StationVsi { what: StationEvent::Gone { words, .. }, .. } if words.contains("bridge de-associated"))
        })
    };
    let limit = wire.now() + Duration::from_millis(100);
    assert!(wire.run_until(limit, gone));
    let limit = wire.now() + Duration::from_secs(5);
    assert!(wire.run_until(limit, |w| w.get(BRIDGE).admitted("down").len() == 2));
}

#[test]
fn a_vsi_that_waits_for_orders_is_left_alone_by_its_interface() {
    let waits = station_with([1], "").replace("type = 1", "automatic = false\ntype = 1");
    let (mut wire, _) = joined(1, &waits, &bridge(true), Faults::NONE);
    seconds(&mut wire, 5);
    assert!(admitted(&wire, "vm1").is_empty());
    wire.order(STATION, known(Command::Associate, "vm1")).unwrap();
    seconds(&mut wire, 1);
    wire.interface(STATION, "vm1", false);
    seconds(&mut wire, 60);
    assert_eq!(admitted(&wire, "vm1"), [(mac(1), 100)]);
    // A reload with other attributes asks again, with what was ordered.
    wire.reload(STATION, &waits.replace("mac = \"52:54:00:00:00:01\"", "mac = \"52:54:00:00:00:09\""));
    seconds(&mut wire, 1);
    assert_eq!(admitted(&wire, "vm1"), [(mac(9), 100)]);
    wire.order(STATION, known(Command::DeAssociate, "vm1")).unwrap();
    seconds(&mut wire, 1);
    assert!(admitted(&wire, "vm1").is_empty() && wire.get(BRIDGE).admitted("down").is_empty());
    assert_eq!(wire.get(STATION).ports(), ["up", "vm1"]);
}

#[test]
fn a_reload_keeps_what_was_given_unless_the_file_takes_its_place() {
    let mut wire = agreed(1);
    for n in [2, 3] {
        wire.order(STATION, order(Command::Associate, Which::Given(plain(n)))).unwrap();
    }
    seconds(&mut wire, 1);
    wire.reload(STATION, &station(1, "isolate"));
    seconds(&mut wire, 1);
    assert_eq!(wire.get(BRIDGE).admitted("down").len(), 3);
    // The file takes over vm2 as it is, and gives the interface of vm3 to another VSI.
    let third = station_with([1, 2, 4], "").replace("interface = \"vm4\"", "interface = \"vm3\"");
    wire.reload(STATION, &third);
    wire.interface(STATION, "vm3", true);
    seconds(&mut wire, 2);
    assert_eq!(wire.get(BRIDGE).admitted("down"), [(mac(1), 100), (mac(2), 100), (mac(4), 100)]);
    assert_eq!(admitted(&wire, "vm3"), [(mac(4), 100)]);
    assert_eq!(wire.get(STATION).ports(), ["up", "vm1", "vm2", "vm3"]);
    let error = wire.order(STATION, order(Command::Associate, Which::Given(plain(2)))).unwrap_err();
    assert!(error.contains("of the configuration"), "{error}");
}

/// What was ordered survives a restart as it was: given, prepared, or let go.
#[test]
fn what_was_ordered_is_so_after_a_restart() {
    let mut wire = agreed(1);
    wire.order(STATION, order(Command::Associate, Which::Given(plain(2)))).unwrap();
    wire.order(STATION, order(Command::PreAssociate, Which::Given(plain(3)))).unwrap();
    seconds(&mut wire, 1);
    wire.kill(STATION);
    wire.start(STATION);
    assert_eq!(wire.get(STATION).ports(), ["up", "vm1", "vm2", "vm3"]);
    assert_eq!(admitted(&wire, "vm2"), [(mac(2), 100)], "at once");
    seconds(&mut wire, 30);
    assert_eq!((admitted(&wire, "vm1").len(), admitted(&wire, "vm2").len()), (1, 1));
    assert!(admitted(&wire, "vm3").is_empty());
    wire.order(STATION, known(Command::Associate, "vm3")).unwrap();
    wire.order(STATION, known(Command::DeAssociate, "vm2")).unwrap();
    seconds(&mut wire, 1);
    assert_eq!(wire.get(BRIDGE).admitted("down"), [(mac(1), 100), (mac(3), 100)]);
    wire.kill(STATION);
    wire.start(STATION);
    assert_eq!(wire.get(STATION).ports(), ["up", "vm1", "vm3"]);
    // The file takes the place of what was given.
    wire.kill(STATION);
    let taken = station(1, "veb").replace("\"vm1\"\ninterface = \"vm1\"", "\"vm3\"\ninterface = \"vm3\"");
    wire.configure(STATION, &taken);
    wire.start(STATION);
    seconds(&mut wire, 5);
    assert_eq!(wire.get(STATION).ports(), ["up", "vm3"]);
    assert_eq!(wire.get(BRIDGE).admitted("down"), [(mac(1), 100)]);
}
