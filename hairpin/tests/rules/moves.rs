//! Addresses on the move: VMs that migrate, and stations that flap.

use hairpin::{EdgeMode, MoveKind, PortConfig, PortId, Role};

use crate::lab::{BROADCAST, Lab, UP, c, check, named, tci, untagged, vid, vm};

/// Two bridges, joined by their LAN ports, VM 1 behind the first.
#[test]
fn a_vm_that_migrates_to_another_bridge_is_followed() {
    let mut source = Lab::bridge();
    source.change(0, |port| port.takes_over = true);
    assert_eq!(source.send(2, vm(2), vm(1), c(10)), "1:10.0");
    // The target associates the VSI, the VM announces itself there, and that comes in by the LAN.
    assert_eq!(source.send(0, vm(1), BROADCAST, c(10)), "1:10.0 2:10.0");
    assert_eq!(source.send(2, vm(2), vm(1), c(10)), "0:10.0", "on the first frame, not on De-Associate");
    assert_eq!((source.vsi(1).taken_over, source.vsi(1).taken_by), (1, Some(PortId(0))));
    source.close(1);
    assert_eq!(source.send(2, vm(2), vm(1), c(10)), "0:10.0", "unknown: flooded");
    // It comes back.
    source.open(1, 1, &[named(vm(1), 10)]);
    assert_eq!(source.send(2, vm(2), vm(1), c(10)), "1:10.0");
    let kinds: Vec<_> = source.relay.moves().into_iter().map(|(_, moved)| moved.kind).collect();
    assert_eq!(kinds, [MoveKind::TakenOver]);
}

#[test]
fn who_has_not_left_speaks_and_is_found_again() {
    let mut lab = Lab::bridge();
    lab.change(0, |port| port.takes_over = true);
    lab.send(0, vm(1), BROADCAST, c(10));
    assert_eq!(lab.send(2, vm(2), vm(1), c(10)), "0:10.0");
    assert_eq!(lab.send(1, vm(1), vm(2), c(10)), "2:10.0");
    assert_eq!(lab.send(2, vm(2), vm(1), c(10)), "1:10.0");
    // The port that took over goes down: its VSI is the best guess.
    lab.send(0, vm(1), BROADCAST, c(10));
    lab.change(0, |port| port.up = false);
    assert_eq!(lab.send(2, vm(2), vm(1), c(10)), "1:10.0");
    let moves: Vec<_> = lab.relay.moves().into_iter().map(|(_, m)| (m.kind, m.from.0, m.to.0)).collect();
    use MoveKind::{Reclaimed, TakenOver};
    assert_eq!(moves, [(TakenOver, 1, 0), (Reclaimed, 0, 1), (TakenOver, 1, 0)]);
}

#[test]
fn a_port_that_does_not_take_over_drops_what_claims_a_vsis_address() {
    let mut lab = Lab::bridge();
    check(&mut lab, &[(0, vm(1), BROADCAST, c(10), "static_moved"), (2, vm(2), vm(1), c(10), "1:10.0")]);
    let config = PortConfig { takes_over: true, guard: true, ..PortConfig::new(PortId(5), Role::Bridge) };
    assert!(lab.control.set_port(config).unwrap_err().to_string().contains("cannot take addresses over"));
    let config = PortConfig { takes_over: true, ..PortConfig::new(PortId(5), Role::Downlink) };
    assert!(Lab::edge(EdgeMode::Veb).control.set_port(config).is_err());
}

/// On one bridge: forwarding moves on Associate; the source's late De-Associate changes nothing for the target.
#[test]
fn a_late_close_does_not_disturb_the_vsi_opened_since() {
    let mut lab = Lab::bridge();
    lab.open(20, 2, &[named(vm(1), 10)]);
    check(
        &mut lab,
        &[
            (0, vm(200), vm(1), c(10), "2:10.0"),
            (2, vm(1), vm(200), c(10), "0:10.0"),
            (1, vm(1), vm(200), c(10), "static_moved"),
        ],
    );
    let before = lab.vsi(20);
    lab.close(1);
    check(&mut lab, &[(0, vm(200), vm(1), c(10), "2:10.0"), (2, vm(1), vm(200), c(10), "0:10.0")]);
    assert_eq!((lab.vsi(20).rx_frames, lab.vsi(20).tx_frames), (before.rx_frames + 1, before.tx_frames + 1));
}

#[test]
fn a_station_that_flaps_is_held_and_told_of() {
    let mut lab = Lab::bridge();
    lab.port(PortConfig { tagged: [vid(10)].into(), ..PortConfig::lan(PortId(3)) });
    for n in 0..8 {
        assert!(lab.send(if n % 2 == 0 { 0 } else { 3 }, vm(200), vm(1), c(10)).contains("1:10.0"));
    }
    assert_eq!((lab.count(0).moves, lab.count(3).moves, lab.count(0).held), (2, 3, 1));
    assert_eq!(lab.send(1, vm(1), vm(200), c(10)), "3:10.0", "it stays where it was");
    let (number, last) = *lab.relay.moves().last().unwrap();
    assert_eq!(
        (number, last.kind, last.mac, last.from, last.to),
        (5, MoveKind::Held, vm(200), PortId(3), PortId(0))
    );
    lab.now = 31;
    lab.send(0, vm(200), vm(1), c(10));
    assert_eq!(lab.send(1, vm(1), vm(200), c(10)), "0:10.0");
}

#[test]
fn direct_is_passthru_for_the_vsis_own_addresses() {
    let mut lab = Lab::edge(EdgeMode::Direct);
    lab.close(2);
    lab.close(3);
    check(
        &mut lab,
        &[
            (1, vm(1), vm(2), untagged(), "0:10.0"),
            (1, vm(99), vm(1), untagged(), "source_guard"),
            (1, vm(1), BROADCAST, tci(0x600a), "0:10.3"),
            (UP, vm(200), vm(99), c(10), "1"),
            (UP, vm(200), BROADCAST, c(10), "1"),
            (UP, vm(1), BROADCAST, c(10), "echo"),
        ],
    );
}
