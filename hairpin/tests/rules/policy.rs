//! What profiles do: access lists, rates, priorities, mirrors; counters and the last drops of a VSI.

use ether::{EtherType, Instant, MacAddr, PrioritySet};
use hairpin::{
    Direction, DropReason, EdgeMode, Frame, MirrorTarget, Outcome, PortId, Step, VsiKey,
    policy::{CaptureId, Policy},
};
use serde_json::{from_value, json};

use crate::lab::{BROADCAST, Lab, UP, anyone, c, check, named, tci, untagged, vm};

fn policy(text: serde_json::Value) -> Policy {
    from_value(text).unwrap()
}

/// An IPv4 packet of this protocol, its fragment word, and what follows.
fn ipv4(protocol: u8, fragment: u16, behind: &[u8]) -> Vec<u8> {
    let [high, low] = fragment.to_be_bytes();
    let head = [0x45, 0, 0, 40, 0, 0, high, low, 64, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
    [&head[..], behind].concat()
}

fn frame(src: u8, dst: u8, payload: &[u8]) -> Frame<'_> {
    Frame { dst: vm(dst), src: vm(src), tag: None, ethertype: EtherType::IPV4, len: 100, payload }
}

const TO_SMTP: [u8; 4] = [4, 0, 0, 25];
const TO_WEB: [u8; 4] = [4, 0, 0, 80];

#[test]
fn the_first_rule_that_matches_decides() {
    let mut lab = Lab::edge(EdgeMode::Veb);
    let rules = json!({ "ingress": [
        { "action": "permit", "dst_mac": "02:00:00:00:00:02", "protocol": "tcp", "dst_port": "80-90" },
        { "action": "deny", "name": "no tcp", "protocol": "tcp" },
        { "action": "deny", "ethertype": "arp" },
    ] });
    lab.open_with(1, 1, &[named(vm(1), 10)], policy(rules));
    assert_eq!(lab.send_frame(1, &frame(1, 2, &ipv4(6, 0, &TO_WEB))), "2");
    assert_eq!(lab.send_frame(1, &frame(1, 2, &ipv4(6, 0, &TO_SMTP))), "acl_ingress");
    assert_eq!(lab.send_frame(1, &frame(1, 2, &ipv4(17, 0, &TO_SMTP))), "2", "no rule matches");
    assert_eq!(lab.send_of(EtherType::ARP, 1, vm(1), BROADCAST, untagged()), "acl_ingress");
    assert_eq!(lab.send_frame(2, &frame(2, 1, &ipv4(6, 0, &TO_SMTP))), "1", "the other way is free");
    assert_eq!((lab.vsi(1).drops["acl_ingress"], lab.vsi(1).rx_frames, lab.vsi(1).tx_frames), (2, 4, 1));
}

/// The usual ways around a rule about ports: later fragments, a first fragment too small, a chain of headers.
#[test]
fn what_hides_its_ports_does_not_pass_a_rule_that_denies_by_them() {
    let mut lab = Lab::edge(EdgeMode::Veb);
    let rules = |action: &str| {
        let other = if action == "deny" { "permit" } else { "deny" };
        json!({ "ingress": [{ "action": action, "protocol": "tcp", "dst_port": 25 }, { "action": other }] })
    };
    let whole = ipv4(6, 0, &TO_SMTP);
    let tiny = ipv4(6, 0x2000, &TO_SMTP[..2]);
    let later = ipv4(6, 0x0002, &TO_SMTP);
    for (action, answers) in
        [("deny", ["acl_ingress", "acl_ingress", "2"]), ("permit", ["2", "acl_ingress", "acl_ingress"])]
    {
        lab.open_with(1, 1, &[named(vm(1), 10)], policy(rules(action)));
        let got = [&whole, &tiny, &later].map(|packet| lab.send_frame(1, &frame(1, 2, packet)));
        assert_eq!(got, answers, "{action}");
    }
}

#[test]
fn what_goes_to_a_vsi_is_judged_by_its_own_list() {
    let mut lab = Lab::bridge();
    let closed = policy(json!({ "egress": [{ "action": "deny", "src_mac": "02:00:00:00:00:01" }] }));
    lab.open_with(2, 2, &[named(vm(2), 10)], closed);
    check(
        &mut lab,
        &[
            (1, vm(1), vm(2), c(10), "acl_egress"),
            (1, vm(1), BROADCAST, c(10), "0:10.0 1:10.0*"),
            (0, vm(200), vm(2), c(10), "2:10.0"),
        ],
    );
    let drops =
        (lab.vsi(2).drops["acl_egress"], lab.vsi(1).drops["acl_egress"], lab.count(1).drops["acl_egress"]);
    assert_eq!(drops, (2, 1, 1), "the broadcast was dropped for one, not for all");
    // Two VSIs behind one port: the one copy for both is neither's.
    lab.open(5, 2, &[named(vm(5), 10)]);
    assert_eq!(lab.send(1, vm(1), BROADCAST, c(10)), "0:10.0 1:10.0* 2:10.0");
    assert_eq!(lab.send(1, vm(1), vm(5), c(10)), "2:10.0");
}

#[test]
fn rates_both_ways() {
    let mut lab = Lab::edge(EdgeMode::Veb);
    let rate = json!({ "bits_per_second": 8000, "burst_octets": 300 });
    lab.open_with(1, 1, &[named(vm(1), 10)], policy(json!({ "ingress_rate": rate, "egress_rate": rate })));
    for (port, src, dst, reason) in [(1, 1, 2, "rate_ingress"), (2, 2, 1, "rate_egress")] {
        let sent: Vec<_> = (0..5).map(|_| lab.send(port, vm(src), vm(dst), untagged())).collect();
        let passed = if dst == 2 { "2" } else { "1" };
        assert_eq!(sent, [passed, passed, passed, reason, reason]);
    }
    assert_eq!(
        lab.send(2, vm(2), BROADCAST, untagged()),
        "0:10.0",
        "the only VSI of that port counts groups too"
    );
    lab.now = 1;
    assert_eq!(lab.send(1, vm(1), vm(2), untagged()), "2", "a thousand octets later");
    let counters = lab.vsi(1);
    assert_eq!((counters.drops["rate_ingress"], counters.drops["rate_egress"]), (2, 3));
    assert_eq!((counters.tx_frames, counters.tx_octets), (3, 300));
    // A new policy for the VSI goes on with the bucket as it was.
    lab.open_with(1, 1, &[named(vm(1), 10)], policy(json!({ "ingress_rate": rate, "max_macs": 9 })));
    let sent: Vec<_> = (0..3).map(|_| lab.send(1, vm(1), vm(2), untagged())).collect();
    assert_eq!((sent, lab.vsi(1).rx_frames), (vec!["2".into(), "2".into(), "rate_ingress".to_owned()], 9));
}

/// PFC on the uplink of a station, on the port of a bridge: no rate drops a frame of that priority, whatever way it goes.
#[test]
fn rates_spare_priorities_without_loss() {
    let rate = json!({ "bits_per_second": 8000, "burst_octets": 100 });
    let slow = json!({ "ingress_rate": rate, "egress_rate": rate });
    let (four, five) = (tci(0x800a), tci(0xa00a));
    let mut lab = Lab::edge(EdgeMode::Vepa);
    lab.change(0, |uplink| uplink.lossless = PrioritySet(1 << 4));
    lab.open_with(1, 1, &[named(vm(1), 10)], policy(slow.clone()));
    let wide = [(1, vm(1), vm(200), four, "0:10.4"), (1, vm(1), vm(200), five, "rate_ingress")];
    check(&mut lab, &[(1, vm(1), vm(200), five, "0:10.5"), wide[1], wide[0], wide[0]]);
    check(&mut lab, &[(0, vm(200), vm(1), five, "1"), (0, vm(200), vm(1), five, "rate_egress")]);
    check(&mut lab, &[(0, vm(200), vm(1), four, "1"), (0, vm(200), vm(1), four, "1")]);
    // A priority that the policy sets is the one that counts: no VM gets around its rate by tagging.
    let mut set = slow.clone();
    set["pcp"] = json!({ "set": 5 });
    lab.open_with(2, 2, &[named(vm(2), 10)], policy(set));
    check(&mut lab, &[(2, vm(2), vm(200), four, "0:10.5"), (2, vm(2), vm(200), four, "rate_ingress")]);

    let mut lab = Lab::bridge();
    lab.change(2, |port| port.lossless = PrioritySet(1 << 4));
    lab.open_with(1, 1, &[named(vm(1), 10)], policy(slow.clone()));
    lab.open_with(2, 2, &[named(vm(2), 10)], policy(slow));
    check(&mut lab, &[(0, vm(200), vm(2), four, "2:10.4"), (0, vm(200), vm(2), four, "2:10.4")]);
    check(&mut lab, &[(2, vm(2), vm(200), four, "0:10.4"), (2, vm(2), vm(200), four, "0:10.4")]);
    check(&mut lab, &[(1, vm(1), vm(200), four, "0:10.4"), (1, vm(1), vm(200), four, "rate_ingress")]);
}

#[test]
fn priority_is_trusted_or_set() {
    let mut lab = Lab::edge(EdgeMode::Vepa);
    lab.open_with(1, 1, &[named(vm(1), 10)], policy(json!({ "pcp": { "set": 4 } })));
    check(
        &mut lab,
        &[
            (1, vm(1), vm(2), untagged(), "0:10.4"),
            (1, vm(1), vm(2), tci(0xe00a), "0:10.4"),
            (2, vm(2), vm(1), tci(0xe00a), "0:10.7"),
            (UP, vm(200), vm(1), tci(0xe00a), "1"),
        ],
    );
}

#[test]
fn mirrors_show_what_came_in_and_what_goes_out() {
    let mut lab = Lab::edge(EdgeMode::Veb);
    lab.change(4, |port| port.name = "watch".into());
    let watched = |to: serde_json::Value| {
        policy(json!({ "mirror": { "to": to }, "ingress": [{ "action": "deny", "ethertype": "arp" }] }))
    };
    lab.open_with(1, 1, &[named(vm(1), 10)], watched(json!({ "port": "watch" })));
    let mirrors = |lab: &Lab| {
        let copies = lab.verdict.mirrors().iter();
        copies.map(|copy| (copy.to, copy.direction, copy.vsi, copy.tag.vid)).collect::<Vec<_>>()
    };
    let to_four = |direction| (MirrorTarget::Port(PortId(4)), direction, VsiKey(1), c(10).unwrap().vid);
    assert_eq!(lab.send_of(EtherType::ARP, 1, vm(1), BROADCAST, untagged()), "acl_ingress");
    assert_eq!(mirrors(&lab), [to_four(Direction::Ingress)], "whatever becomes of it");
    assert_eq!(lab.send(2, vm(2), vm(1), untagged()), "1");
    assert_eq!(mirrors(&lab), [to_four(Direction::Egress)]);
    assert_eq!(lab.send(2, vm(2), vm(200), untagged()), "0:10.0");
    assert_eq!(mirrors(&lab), []);
    lab.change(4, |port| port.up = false);
    lab.send(2, vm(2), vm(1), untagged());
    assert_eq!(mirrors(&lab), [], "not to a port that is down");
    lab.open_with(1, 1, &[named(vm(1), 10)], watched(json!({ "capture": 7 })));
    lab.send(2, vm(2), vm(1), untagged());
    assert_eq!(lab.verdict.mirrors()[0].to, MirrorTarget::Capture(CaptureId(7)));
}

#[test]
fn a_profile_bounds_what_is_learnt() {
    let mut lab = Lab::edge(EdgeMode::Veb);
    lab.open_with(4, 4, &[anyone(10)], policy(json!({ "max_macs": 1 })));
    assert_eq!(lab.send(4, vm(40), BROADCAST, untagged()), "0:10.0 1 2");
    assert_eq!(lab.send(4, vm(41), BROADCAST, untagged()), "learn_limit");
    let mut bridge = Lab::bridge();
    bridge.open_with(4, 1, &[anyone(10)], policy(json!({ "max_macs": 1 })));
    assert_eq!(bridge.send(1, vm(40), vm(2), c(10)), "2:10.0");
    assert_eq!(bridge.send(1, vm(41), vm(2), c(10)), "learn_limit");
    assert_eq!(
        bridge.send(1, vm(1), vm(2), c(10)),
        "2:10.0",
        "a VSI that names its address is not concerned"
    );
}

#[test]
fn the_last_drops_are_kept() {
    let mut lab = Lab::edge(EdgeMode::Vepa);
    lab.now = 7;
    for n in 0..20 {
        lab.send(1, vm(100 + n), vm(2), untagged());
    }
    lab.send(1, vm(1), vm(2), c(20));
    let drops = lab.relay.vsi_drops(VsiKey(1));
    let last = *drops.last().unwrap();
    assert_eq!((drops.len(), drops[0].src, drops[0].reason), (8, vm(113), DropReason::SourceGuard));
    assert_eq!((last.reason, last.vid, last.port), (DropReason::NotMember, c(20).unwrap().vid, PortId(1)));
    assert_eq!((last.at, last.vsi, last.dst), (Instant::from_secs(7), Some(VsiKey(1)), vm(2)));
    assert_eq!(lab.relay.stats().recent(PortId(1)).len(), 16);
    assert_eq!(lab.relay.stats().recent(PortId(1)).last(), Some(&last));
    let shown = serde_json::to_value(last).unwrap();
    assert_eq!((&shown["reason"], &shown["ethertype"]), (&"not_member".into(), &"0x0800".into()));
    lab.close(1);
    assert_eq!((lab.relay.vsi_drops(VsiKey(1)), lab.relay.vsi(VsiKey(1))), (vec![], None));
}

#[test]
fn storms_are_held_to_their_limits() {
    let mut lab = Lab::bridge();
    lab.change(0, |port| {
        port.storm.broadcast = Some(200);
        port.storm.unknown = Some(10);
    });
    let mut passed =
        |dst: MacAddr| (0..50).filter(|_| lab.send(0, vm(200), dst, c(10)).contains(':')).count();
    assert_eq!((passed(BROADCAST), passed(vm(201)), passed(vm(1))), (20, 16, 50));
    assert_eq!(passed(MacAddr(1, 0, 0x5e, 1, 1, 1)), 50, "no limit for other groups");
    let drops = lab.count(0).drops;
    assert_eq!((drops["broadcast_storm"], drops["unknown_storm"], drops["multicast_storm"]), (30, 34, 0));
}

#[test]
fn a_trace_tells_each_step_and_leaves_none() {
    let mut lab = Lab::edge(EdgeMode::Veb);
    let rules =
        json!({ "ingress": [{ "action": "deny", "name": "no smtp", "protocol": "tcp", "dst_port": 25 }] });
    lab.open_with(1, 1, &[named(vm(1), 10)], policy(rules));
    lab.open(4, 4, &[anyone(10)]);
    let now = Instant::from_secs(1);
    let packet = ipv4(6, 0, &TO_SMTP);
    let trace = lab.relay.trace(now, PortId(1), &frame(1, 2, &packet), false);
    assert_eq!(trace.outcome, Outcome::Drop(DropReason::AclIngress));
    let words: Vec<String> = trace.steps.iter().map(Step::to_string).collect();
    assert_eq!(
        words,
        [
            "comes in on downlink 1, sources are guarded",
            "is in VLAN 10 with priority 0, from VSI 1",
            "ingress rule 1 of VSI 1 denies (no smtp)",
        ]
    );
    let frame =
        Frame { dst: BROADCAST, src: vm(40), tag: None, ethertype: EtherType::ARP, len: 60, payload: &[] };
    let trace = lab.relay.trace(now, PortId(4), &frame, false);
    assert_eq!(trace.copies.iter().map(|copy| copy.port.0).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(trace.steps.contains(&Step::Learn { result: hairpin::trace::LearnResult::New }), "{trace:?}");
    assert!(lab.relay.fdb().is_empty() && lab.count(4).rx_frames == 0 && lab.vsi(1).rx_frames == 0);
    let shown = serde_json::to_value(&trace).unwrap();
    assert_eq!((&shown["outcome"], &shown["steps"][0]["step"]), (&"forward".into(), &"admit".into()));
    let _ = lab.relay.trace(now, PortId(4), &frame, true);
    assert_eq!((lab.relay.fdb().len(), lab.count(4).rx_frames), (1, 1));
}
