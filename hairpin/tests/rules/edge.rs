//! The edge relay: VEB, VEPA, isolated, private, passthru; gate, guard and what a VM's frames become.

use std::sync::Arc;

use ether::{EtherType, Instant, MacAddr, Tag, mac};
use hairpin::{ControlError, EdgeMode, Frame, PortId, VsiFilter};

use crate::lab::{BROADCAST, Lab, SOLICITED, UP, anyone, c, check, named, pcp, tci, untagged, vid, vm};

#[test]
fn veb() {
    check(
        &mut Lab::edge(EdgeMode::Veb),
        &[
            (1, vm(1), vm(2), untagged(), "2"),
            (1, vm(1), vm(1), untagged(), "same_port"),
            (1, vm(1), BROADCAST, untagged(), "0:10.0 2"),
            (3, vm(3), BROADCAST, untagged(), "0:20.0"),
            (1, vm(1), vm(3), untagged(), "0:10.0"),
            (1, vm(1), vm(200), untagged(), "0:10.0"),
            (UP, vm(200), vm(1), c(10), "1"),
            (UP, vm(200), vm(1), c(20), "unknown_unicast"),
            (UP, vm(200), BROADCAST, c(10), "1 2"),
            (UP, vm(200), vm(201), c(10), "unknown_unicast"),
            (UP, vm(1), vm(2), c(10), "echo"),
            (UP, vm(1), BROADCAST, c(10), "echo"),
            (UP, vm(1), BROADCAST, c(20), "3"),
        ],
    );
}

#[test]
fn vepa() {
    check(
        &mut Lab::edge(EdgeMode::Vepa),
        &[
            (1, vm(1), vm(2), untagged(), "0:10.0"),
            (1, vm(1), vm(1), untagged(), "0:10.0"),
            (1, vm(1), BROADCAST, untagged(), "0:10.0"),
            (UP, vm(1), vm(2), c(10), "2"),
            (UP, vm(1), vm(1), c(10), "echo"),
            (UP, vm(1), BROADCAST, c(10), "2"),
            (UP, vm(1), SOLICITED, c(10), "2"),
            (UP, vm(3), SOLICITED, c(20), "echo"),
            (UP, vm(200), BROADCAST, c(10), "1 2"),
            (UP, vm(200), vm(201), c(10), "unknown_unicast"),
            (UP, vm(200), BROADCAST, c(30), "not_member"),
        ],
    );
}

#[test]
fn isolated_or_private() {
    for mode in [EdgeMode::Isolate, EdgeMode::Private] {
        check(
            &mut Lab::edge(mode),
            &[
                (1, vm(1), vm(2), untagged(), "0:10.0"),
                (1, vm(1), BROADCAST, untagged(), "0:10.0"),
                (UP, vm(200), vm(1), c(10), "1"),
                (UP, vm(200), BROADCAST, c(10), "1 2"),
                (UP, vm(1), vm(2), c(10), "echo"),
                (UP, vm(1), BROADCAST, c(10), "echo"),
            ],
        );
    }
}

#[test]
fn passthru() {
    let mut lab = Lab::edge(EdgeMode::Passthru);
    lab.close(2);
    lab.close(3);
    check(
        &mut lab,
        &[
            (1, vm(1), vm(2), untagged(), "0:10.0"),
            (1, vm(99), vm(1), untagged(), "0:10.0"),
            (1, vm(1), BROADCAST, c(10), "0:10.0"),
            (1, vm(1), BROADCAST, c(20), "not_member"),
            (1, BROADCAST, vm(2), untagged(), "bad_source"),
            (1, vm(1), mac::NEAREST_BRIDGE, untagged(), "reserved_from_guest"),
            (2, vm(2), vm(1), untagged(), "gate_shut"),
            (UP, vm(200), vm(1), c(10), "1"),
            (UP, vm(200), vm(99), c(10), "1"),
            (UP, vm(200), BROADCAST, c(10), "1"),
            (UP, vm(200), vm(1), c(20), "not_member"),
            (UP, vm(1), vm(99), c(10), "echo"),
            (UP, vm(99), vm(1), c(10), "1"),
        ],
    );
    assert!(lab.relay.fdb().is_empty(), "nothing to learn where all goes one way");
    lab.change(1, |port| port.up = false);
    assert_eq!(lab.send(UP, vm(200), vm(1), c(10)), "no_egress");
}

#[test]
fn what_was_learnt_does_not_outlive_the_change_to_passthru() {
    let mut lab = Lab::edge(EdgeMode::Vepa);
    lab.open(4, 4, &[anyone(10)]);
    lab.send(4, vm(40), BROADCAST, untagged());
    assert_eq!(lab.relay.fdb().len(), 1);
    lab.control.set_mode(EdgeMode::Passthru).unwrap();
    lab.publish();
    assert!(lab.relay.fdb().is_empty());
    assert_eq!(lab.send(4, vm(40), BROADCAST, untagged()), "0:10.0");
    assert!(lab.relay.fdb().is_empty());
}

#[test]
fn a_probe_is_for_no_vm() {
    const OTHER: EtherType = EtherType(0x88b6);
    let modes = [EdgeMode::Veb, EdgeMode::Vepa, EdgeMode::Isolate, EdgeMode::Private, EdgeMode::Passthru];
    for mode in modes {
        let mut lab = Lab::edge(mode);
        for src in [vm(1), vm(200)] {
            assert_eq!(lab.send_of(EtherType::PROBE, UP, src, mac::PROBE_GROUP, c(10)), "probe");
        }
        let forged = lab.send_of(EtherType::PROBE, 1, vm(1), mac::PROBE_GROUP, untagged());
        assert_eq!(forged, "reserved_from_guest");
        // Group and EtherType are free for guests one without the other.
        assert_ne!(lab.send_of(EtherType::PROBE, UP, vm(200), BROADCAST, c(10)), "probe");
        assert_ne!(lab.send_of(OTHER, UP, vm(200), mac::PROBE_GROUP, c(10)), "probe");
    }
}

#[test]
fn mode_changes_while_running() {
    let mut lab = Lab::edge(EdgeMode::Veb);
    assert_eq!(lab.send(1, vm(1), vm(2), untagged()), "2");
    lab.control.set_mode(EdgeMode::Vepa).unwrap();
    assert_eq!(lab.send(1, vm(1), vm(2), untagged()), "2", "not before it is published");
    lab.publish();
    assert_eq!(lab.send(1, vm(1), vm(2), untagged()), "0:10.0");
    assert_eq!(Lab::bridge().control.set_mode(EdgeMode::Veb), Err(ControlError::NoMode));
}

#[test]
fn echoes_are_counted_at_their_vm() {
    let mut lab = Lab::edge(EdgeMode::Vepa);
    lab.send(UP, vm(1), BROADCAST, c(10));
    lab.send(UP, vm(1), vm(2), c(10));
    lab.send(UP, vm(3), BROADCAST, c(20));
    assert_eq!([1, 2, 3].map(|port| lab.count(port).echoes), [1, 0, 1]);
    assert_eq!((lab.count(UP).forwarded, lab.count(UP).drops["echo"]), (2, 1));
    lab.control.set_mode(EdgeMode::Veb).unwrap();
    lab.publish();
    lab.send(UP, vm(1), vm(2), c(10));
    assert_eq!((lab.count(1).echoes, lab.count(UP).drops["echo"]), (2, 2));
}

#[test]
fn the_gate_is_shut_until_a_vsi_is_open() {
    let mut lab = Lab::edge(EdgeMode::Veb);
    check(
        &mut lab,
        &[
            (4, vm(4), BROADCAST, untagged(), "gate_shut"),
            (4, vm(4), mac::NEAREST_CUSTOMER_BRIDGE, untagged(), "gate_shut"),
            (1, vm(1), vm(4), untagged(), "0:10.0"),
            (UP, vm(200), vm(4), c(10), "unknown_unicast"),
        ],
    );
    lab.open(4, 4, &[named(vm(4), 10)]);
    check(&mut lab, &[(4, vm(4), BROADCAST, untagged(), "0:10.0 1 2"), (UP, vm(200), vm(4), c(10), "4")]);
    lab.close(4);
    check(
        &mut lab,
        &[
            (4, vm(4), BROADCAST, untagged(), "gate_shut"),
            (UP, vm(200), vm(4), c(10), "unknown_unicast"),
            (UP, vm(200), BROADCAST, c(10), "1 2"),
        ],
    );
}

#[test]
fn a_guest_is_held_to_its_vsi() {
    check(
        &mut Lab::edge(EdgeMode::Vepa),
        &[
            (1, vm(9), BROADCAST, untagged(), "source_guard"),
            (1, vm(2), BROADCAST, untagged(), "static_moved"),
            (1, vm(1), BROADCAST, c(10), "0:10.0"),
            (1, vm(1), BROADCAST, c(20), "not_member"),
            (1, BROADCAST, vm(2), untagged(), "bad_source"),
            (1, MacAddr::zero(), vm(2), untagged(), "bad_source"),
            (1, vm(1), mac::NEAREST_CUSTOMER_BRIDGE, untagged(), "reserved_from_guest"),
            (1, vm(1), mac::NEAREST_BRIDGE, c(10), "reserved_from_guest"),
            (1, vm(1), vm(2), Tag::from_tci(EtherType::S_VLAN, 10), "service_tag"),
        ],
    );
}

#[test]
fn priorities() {
    let mut lab = Lab::edge(EdgeMode::Vepa);
    lab.open(
        1,
        1,
        &[
            VsiFilter { pcp: Some(pcp(5)), ..named(vm(1), 10) },
            VsiFilter { pcp: Some(pcp(2)), ..anyone(10) },
            named(vm(11), 10),
        ],
    );
    check(
        &mut lab,
        &[
            (1, vm(1), vm(2), untagged(), "0:10.5"),
            (1, vm(99), vm(2), untagged(), "0:10.2"),
            (1, vm(11), vm(2), untagged(), "0:10.0"),
            (1, vm(1), vm(2), tci(0x6000), "0:10.3"),
            (1, vm(1), vm(2), tci(0x0000), "0:10.0"),
            (1, vm(1), vm(2), tci(0xe00a), "0:10.7"),
        ],
    );
    lab.open(12, 1, &[VsiFilter { pcp: Some(pcp(4)), ..anyone(10) }]);
    assert_eq!(lab.send(1, vm(99), vm(2), untagged()), "0:10.4", "the VSI opened last");
    lab.change(UP, |port| port.pvid = Some(vid(10)));
    lab.open(2, 2, &[named(vm(2), 10), named(vm(2), 20)]);
    assert_eq!(lab.send(UP, vm(1), vm(2), untagged()), "2:10.0", "a VSI's priority is for its own port");
    let frame = Frame {
        dst: vm(2),
        src: vm(1),
        tag: tci(0x700a),
        ethertype: EtherType(0x0800),
        len: 64,
        payload: &[],
    };
    lab.relay.process(&lab.relay.load(), Instant::ZERO, PortId(1), &frame, &mut lab.verdict);
    assert_eq!(lab.verdict.copies()[0].tag, tci(0x700a), "drop eligibility stays");
}

#[test]
fn a_vsi_with_several_vlans_is_tagged() {
    let mut lab = Lab::edge(EdgeMode::Veb);
    lab.open(4, 4, &[named(vm(4), 10), named(vm(4), 20)]);
    check(
        &mut lab,
        &[
            (4, vm(4), BROADCAST, untagged(), "untagged"),
            (4, vm(4), BROADCAST, tci(0x2000), "untagged"),
            (4, vm(4), BROADCAST, c(20), "0:20.0 3"),
            (UP, vm(200), vm(4), tci(0x600a), "4:10.3"),
            (1, vm(1), vm(4), untagged(), "4:10.0"),
        ],
    );
}

#[test]
fn ports_that_are_not_there_or_down() {
    let mut lab = Lab::edge(EdgeMode::Veb);
    assert_eq!(lab.send(9, vm(1), vm(2), untagged()), "no_port");
    assert_eq!(lab.send(999, vm(1), vm(2), untagged()), "no_port");
    lab.change(2, |port| port.up = false);
    check(
        &mut lab,
        &[
            (2, vm(2), vm(1), untagged(), "port_down"),
            (1, vm(1), vm(2), untagged(), "no_egress"),
            (1, vm(1), BROADCAST, untagged(), "0:10.0"),
            (UP, vm(2), vm(1), c(10), "echo"),
        ],
    );
    lab.change(UP, |port| port.up = false);
    check(
        &mut lab,
        &[(1, vm(1), vm(200), untagged(), "no_egress"), (UP, vm(200), vm(1), c(10), "port_down")],
    );
    lab.control.remove_port(PortId(1)).unwrap();
    lab.publish();
    assert_eq!(lab.send(1, vm(1), vm(2), untagged()), "no_port");
    assert_eq!(lab.control.vsis().map(|(key, _)| key.0).collect::<Vec<_>>(), [2, 3], "its VSI went with it");
}

#[test]
fn downlinks_without_addresses_learn() {
    for mode in [EdgeMode::Veb, EdgeMode::Vepa, EdgeMode::Isolate, EdgeMode::Private] {
        let mut lab = Lab::edge(mode);
        lab.open(4, 4, &[anyone(10)]);
        assert_eq!(lab.send(UP, vm(200), vm(40), c(10)), "4", "unknown, so perhaps there");
        lab.send(4, vm(40), BROADCAST, untagged());
        assert_eq!(lab.send(UP, vm(200), vm(40), c(10)), "4");
        let back = if mode == EdgeMode::Vepa { "1 2" } else { "echo" };
        assert_eq!(lab.send(UP, vm(40), BROADCAST, c(10)), back);
        assert_eq!(lab.send(UP, vm(200), BROADCAST, c(10)), "1 2 4");
        assert_eq!(lab.send(4, vm(1), BROADCAST, untagged()), "static_moved");
        lab.send(4, vm(41), BROADCAST, untagged());
        assert_eq!(lab.send(4, vm(42), BROADCAST, untagged()), "learn_limit");
        assert_eq!(lab.relay.fdb().held(PortId(4)), 2);
        lab.close(4);
        assert_eq!((lab.relay.fdb().len(), lab.send(UP, vm(40), BROADCAST, c(10)).as_str()), (0, "1 2"));
    }
}

#[test]
fn veb_looks_for_the_unknown_where_addresses_are_learnt() {
    let mut lab = Lab::edge(EdgeMode::Veb);
    lab.open(4, 4, &[anyone(10)]);
    check(
        &mut lab,
        &[
            (1, vm(1), vm(40), untagged(), "0:10.0 4"),
            (4, vm(40), vm(1), untagged(), "1"),
            (1, vm(1), vm(40), untagged(), "4"),
            (4, vm(40), vm(41), untagged(), "0:10.0"),
        ],
    );
}

#[test]
fn an_uplink_with_an_untagged_vlan() {
    let mut lab = Lab::edge(EdgeMode::Vepa);
    lab.change(UP, |port| {
        port.pvid = Some(vid(10));
        port.untagged = [vid(10)].into();
    });
    check(
        &mut lab,
        &[
            (1, vm(1), vm(2), untagged(), "0"),
            (UP, vm(1), vm(2), untagged(), "2"),
            (UP, vm(200), vm(3), c(20), "3"),
        ],
    );
    assert_eq!(Lab::edge(EdgeMode::Vepa).send(UP, vm(1), vm(2), untagged()), "untagged");
}

/// A worker may still use the snapshot before the last: what it learns must not count in the new one.
#[test]
fn a_late_worker_teaches_nothing() {
    let mut lab = Lab::edge(EdgeMode::Vepa);
    lab.open(4, 4, &[anyone(10)]);
    let before = Arc::clone(&lab.relay.load());
    lab.open(4, 4, &[named(vm(4), 10)]);
    let frame =
        Frame { dst: BROADCAST, src: vm(40), tag: None, ethertype: EtherType(0x0806), len: 60, payload: &[] };
    lab.relay.process(&before, Instant::ZERO, PortId(4), &frame, &mut lab.verdict);
    assert_eq!(lab.relay.fdb().len(), 1);
    check(
        &mut lab,
        &[(UP, vm(200), vm(40), c(10), "unknown_unicast"), (UP, vm(40), BROADCAST, c(10), "1 2 4")],
    );
    lab.relay.sweep(Instant::ZERO);
    assert!(lab.relay.fdb().is_empty());
}
