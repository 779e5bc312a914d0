//! The bridge: reflection, guard, static entries, learning.

use ether::{EtherType, mac};
use hairpin::{PortConfig, PortId, VsiFilter};

use crate::lab::{BROADCAST, Lab, SOLICITED, anyone, c, check, named, pcp, tci, untagged, vid, vm};

#[test]
fn the_bridge_reflects_on_reflective_ports_only() {
    check(
        &mut Lab::bridge(),
        &[
            (1, vm(1), BROADCAST, c(10), "0:10.0 1:10.0* 2:10.0"),
            (1, vm(1), SOLICITED, c(10), "0:10.0 1:10.0* 2:10.0"),
            (1, vm(1), vm(1), c(10), "1:10.0*"),
            (1, vm(1), vm(2), c(10), "2:10.0"),
            (1, vm(1), vm(200), c(10), "0:10.0 1:10.0* 2:10.0"),
            (2, vm(2), BROADCAST, c(10), "0:10.0 1:10.0"),
            (2, vm(2), vm(2), c(10), "same_port"),
            (0, vm(200), vm(1), c(10), "1:10.0"),
            (2, vm(2), vm(200), c(10), "0:10.0"),
        ],
    );
}

/// A probe is a group frame of a registered source: it passes the guard and comes back, only where frames do.
#[test]
fn a_probe_is_reflected_like_any_frame() {
    let mut lab = Lab::bridge();
    let mut probe = |port, src| lab.send_of(EtherType::PROBE, port, src, mac::PROBE_GROUP, c(10));
    assert_eq!(probe(1, vm(1)), "0:10.0 1:10.0* 2:10.0");
    assert_eq!(probe(2, vm(2)), "0:10.0 1:10.0");
    assert_eq!(probe(1, vm(9)), "source_guard");
}

#[test]
fn two_vms_behind_one_reflective_port() {
    let mut lab = Lab::bridge();
    lab.open(5, 1, &[VsiFilter { pcp: Some(pcp(6)), ..named(vm(5), 10) }]);
    assert_eq!(lab.send(1, vm(1), vm(5), tci(0x400a)), "1:10.2*");
    assert_eq!(lab.count(1).reflected, 1);
    lab.change(1, |port| port.reflective = false);
    assert_eq!(lab.send(1, vm(1), vm(5), c(10)), "same_port");
}

#[test]
fn a_guarded_bridge_port_takes_registered_pairs_only() {
    let mut lab = Lab::bridge();
    check(
        &mut lab,
        &[
            (1, vm(9), BROADCAST, c(10), "source_guard"),
            (1, vm(2), BROADCAST, c(10), "static_moved"),
            (1, vm(1), BROADCAST, c(20), "not_member"),
            (1, vm(1), BROADCAST, untagged(), "untagged"),
            (0, vm(1), BROADCAST, c(10), "static_moved"),
        ],
    );
    lab.change(1, |port| port.guard = false);
    assert_eq!(lab.send(1, vm(9), vm(2), c(10)), "2:10.0");
    lab.change(1, |port| port.guard = true);
    lab.open(9, 1, &[anyone(10)]);
    check(&mut lab, &[(1, vm(9), vm(2), c(10), "2:10.0"), (1, vm(2), BROADCAST, c(10), "static_moved")]);
}

#[test]
fn the_vsi_opened_last_has_the_address() {
    let mut lab = Lab::bridge();
    lab.open(20, 2, &[named(vm(1), 10)]);
    check(
        &mut lab,
        &[
            (0, vm(200), vm(1), c(10), "2:10.0"),
            (1, vm(1), BROADCAST, c(10), "static_moved"),
            (2, vm(1), vm(200), c(10), "0:10.0"),
        ],
    );
    lab.close(20);
    assert_eq!(lab.send(0, vm(200), vm(1), c(10)), "1:10.0", "the first stands again");
    lab.open(20, 2, &[named(vm(1), 10)]);
    lab.open(1, 1, &[named(vm(1), 10)]);
    assert_eq!(lab.send(0, vm(200), vm(1), c(10)), "2:10.0", "it was open already: nothing moves");
    lab.open(1, 1, &[named(vm(1), 10), named(vm(3), 10)]);
    assert_eq!(lab.send(0, vm(200), vm(1), c(10)), "1:10.0", "other filters, so opened last");
    lab.close(1);
    assert_eq!(lab.send(0, vm(200), vm(1), c(10)), "2:10.0");
    lab.close(20);
    assert_eq!(
        lab.send(0, vm(200), vm(1), c(10)),
        "2:10.0",
        "unknown: flooded to VM 2's port, the only member"
    );
}

#[test]
fn the_bridge_learns_moves_and_forgets() {
    let mut lab = Lab::bridge();
    lab.port(PortConfig { tagged: [vid(10)].into(), ..PortConfig::lan(PortId(3)) });
    check(
        &mut lab,
        &[
            (0, vm(200), BROADCAST, untagged(), "3"),
            (3, vm(201), vm(200), untagged(), "0"),
            (3, vm(201), vm(200), c(10), "0:10.0 1:10.0 2:10.0"),
            (0, vm(202), vm(201), tci(0xa000), "3"),
            (0, vm(202), vm(201), c(10), "3:10.0"),
        ],
    );
    assert_eq!(lab.send(3, vm(200), vm(202), untagged()), "0");
    assert_eq!((lab.count(3).moves, lab.send(0, vm(202), vm(200), untagged())), (1, "3".to_owned()));
    lab.now = 300;
    assert_eq!(lab.send(3, vm(201), vm(202), c(10)), "0:10.0 1:10.0 2:10.0", "aged");
    assert_eq!(lab.send(0, vm(202), vm(201), c(10)), "3:10.0");
    lab.change(3, |port| port.up = false);
    check(
        &mut lab,
        &[
            (3, vm(201), vm(202), c(10), "port_down"),
            (0, vm(202), vm(201), c(10), "1:10.0 2:10.0"),
            (0, vm(202), BROADCAST, untagged(), "no_egress"),
        ],
    );
}

#[test]
fn a_vlan_in_both_sets_is_sent_untagged() {
    let mut lab = Lab::bridge();
    lab.change(2, |port| port.untagged = [vid(10)].into());
    assert_eq!(lab.send(1, vm(1), vm(2), c(10)), "2");
    lab.change(2, |port| port.pvid = Some(vid(10)));
    assert_eq!(lab.send(2, vm(2), vm(1), untagged()), "1:10.0");
}
