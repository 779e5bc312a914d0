//! Who gets group frames: what must never break, and what is kept away.

use ether::{EtherType, MacAddr, Tag};
use hairpin::{
    EdgeMode, Frame, PortConfig, PortId,
    policy::{GroupFilter, Policy},
};

use crate::lab::{BROADCAST, Lab, UP, c, named, untagged, vid, vm};

const GROUP: MacAddr = MacAddr(1, 0, 0x5e, 1, 2, 3);
const ALL_HOSTS: MacAddr = MacAddr(1, 0, 0x5e, 0, 0, 1);
const ALL_NODES: MacAddr = MacAddr(0x33, 0x33, 0, 0, 0, 1);
const MDNS: MacAddr = MacAddr(0x33, 0x33, 0, 0, 0, 0xfb);

fn igmp(kind: u8, group: [u8; 4]) -> Vec<u8> {
    let head = [0x46, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 192, 0, 2, 1, 224, 0, 0, 1, 0x94, 4, 0, 0];
    [&head[..], &[kind, 0, 0, 0], &group].concat()
}

fn mld(kind: u8, group: [u8; 4]) -> Vec<u8> {
    let address = [&[0xff, 2][..], &[0; 10], &group].concat();
    let head = [0x60, 0, 0, 0, 0, 32, 0, 1];
    let option = [58, 0, 5, 2, 0, 0, 1, 0];
    let group = if group == [0; 4] { vec![0; 16] } else { address.clone() };
    [&head[..], &[0xfe; 16], &address, &option, &[kind, 0, 0, 0, 0, 0, 0, 0], &group].concat()
}

fn say(lab: &mut Lab, port: u16, src: u8, dst: MacAddr, tag: Option<Tag>, packet: &[u8]) -> String {
    let ethertype = if dst.0 == 1 { EtherType::IPV4 } else { EtherType::IPV6 };
    lab.send_frame(port, &Frame { dst, src: vm(src), tag, ethertype, len: 60, payload: packet })
}

/// Both queriers speak behind the uplink, and everybody has had time to answer.
fn queried(lab: &mut Lab) {
    assert_eq!(say(lab, UP, 200, ALL_HOSTS, c(10), &igmp(0x11, [0; 4])), "1 2");
    assert_eq!(say(lab, UP, 200, ALL_NODES, c(10), &mld(130, [0; 4])), "1 2");
    lab.now += 10;
}

#[test]
fn without_a_querier_everybody_gets_every_group() {
    let mut lab = Lab::edge(EdgeMode::Vepa);
    for dst in [GROUP, MDNS, ALL_NODES, BROADCAST, MacAddr(0x33, 0x33, 0xff, 9, 9, 9)] {
        assert_eq!(lab.send(UP, vm(200), dst, c(10)), "1 2", "{dst}");
    }
}

#[test]
fn where_listeners_tell_groups_go_to_them_only() {
    let mut lab = Lab::edge(EdgeMode::Vepa);
    queried(&mut lab);
    assert_eq!(lab.send(UP, vm(200), GROUP, c(10)), "no_listener");
    assert_eq!(lab.count(UP).withheld, 2);
    assert_eq!(say(&mut lab, 2, 2, GROUP, untagged(), &igmp(0x16, [239, 1, 2, 3])), "0:10.0");
    assert_eq!(lab.send(UP, vm(200), GROUP, c(10)), "2");
    assert_eq!(lab.send(1, vm(1), GROUP, untagged()), "0:10.0", "the uplink gets every group");
    // What is for everybody, and what ND, DAD, ARP, mDNS and VRRP need.
    let vrrp = MacAddr(1, 0, 0x5e, 0, 0, 18);
    for dst in [BROADCAST, ALL_NODES, ALL_HOSTS, MDNS, vrrp, MacAddr(0x33, 0x33, 0, 0, 0, 0x12)] {
        assert_eq!(lab.send(UP, vm(200), dst, c(10)), "1 2", "{dst}");
    }
    // The querier asks again, the listener does not answer any more.
    lab.now += 200;
    assert_eq!(say(&mut lab, UP, 200, ALL_HOSTS, c(10), &igmp(0x11, [0; 4])), "1 2");
    lab.now += 60;
    assert_eq!(lab.send(UP, vm(200), GROUP, c(10)), "no_listener");
    lab.now += 195;
    assert_eq!(lab.send(UP, vm(200), GROUP, c(10)), "1 2", "the querier has gone");
    assert_eq!(say(&mut lab, UP, 200, ALL_HOSTS, c(10), &igmp(0x11, [0; 4])), "1 2");
    assert_eq!(lab.send(UP, vm(200), GROUP, c(10)), "1 2", "one is back: first all must answer");
}

#[test]
fn solicited_node_groups_of_its_own_addresses_reach_a_vm() {
    let mut lab = Lab::edge(EdgeMode::Vepa);
    queried(&mut lab);
    // Neighbour solicitation and DAD for the address made of VM 1's MAC address, and for one VM 2 has told of.
    assert_eq!(lab.send(UP, vm(200), MacAddr(0x33, 0x33, 0xff, 0, 0, 1), c(10)), "1");
    assert_eq!(lab.send(UP, vm(200), MacAddr(0x33, 0x33, 0xff, 9, 9, 9), c(10)), "no_listener");
    let report = mld(131, [0xff, 9, 9, 9]);
    assert_eq!(say(&mut lab, 2, 2, MacAddr(0x33, 0x33, 0xff, 9, 9, 9), untagged(), &report), "0:10.0");
    assert_eq!(lab.send(UP, vm(200), MacAddr(0x33, 0x33, 0xff, 9, 9, 9), c(10)), "2");
}

/// A VM that joined before its gate opened is not deaf until the next query.
#[test]
fn a_new_vsi_gets_everything_until_it_was_asked() {
    let mut lab = Lab::edge(EdgeMode::Vepa);
    queried(&mut lab);
    lab.open(4, 4, &[named(vm(4), 10)]);
    assert_eq!(lab.send(UP, vm(200), GROUP, c(10)), "4");
    lab.now += 60;
    assert_eq!(lab.send(UP, vm(200), GROUP, c(10)), "4");
    assert_eq!(say(&mut lab, UP, 200, ALL_HOSTS, c(10), &igmp(0x11, [0; 4])), "1 2 4");
    lab.now += 9;
    assert_eq!(lab.send(UP, vm(200), GROUP, c(10)), "4");
    lab.now += 1;
    assert_eq!(lab.send(UP, vm(200), GROUP, c(10)), "no_listener");
    lab.relay.sweep(ether::Instant::from_secs(lab.now));
    assert_eq!(lab.send(UP, vm(200), GROUP, c(10)), "no_listener", "what was asked is not swept away");
}

#[test]
fn a_profile_may_want_every_group() {
    let mut lab = Lab::edge(EdgeMode::Vepa);
    lab.open_with(1, 1, &[named(vm(1), 10)], Policy { groups: GroupFilter::All, ..Policy::default() });
    queried(&mut lab);
    assert_eq!(lab.send(UP, vm(200), GROUP, c(10)), "1");
}

#[test]
fn leaving_gives_others_behind_the_port_time_to_tell() {
    let mut lab = Lab::edge(EdgeMode::Vepa);
    queried(&mut lab);
    say(&mut lab, 2, 2, GROUP, untagged(), &igmp(0x16, [239, 1, 2, 3]));
    say(&mut lab, 2, 2, GROUP, untagged(), &igmp(0x17, [239, 1, 2, 3]));
    lab.now += 2;
    assert_eq!(lab.send(UP, vm(200), GROUP, c(10)), "2");
    lab.now += 1;
    assert_eq!(lab.send(UP, vm(200), GROUP, c(10)), "no_listener");
    say(&mut lab, 2, 2, GROUP, untagged(), &igmp(0x16, [239, 1, 2, 3]));
    lab.close(2);
    lab.open(2, 2, &[named(vm(22), 10)]);
    queried(&mut lab);
    assert_eq!(lab.send(UP, vm(200), GROUP, c(10)), "no_listener", "another VM is there now");
}

/// On a bridge: reports go to the querier's port only, so that no listener keeps silent for having heard another's.
#[test]
fn a_bridge_takes_reports_to_routers() {
    let mut lab = Lab::bridge();
    lab.port(PortConfig { tagged: [vid(10)].into(), ..PortConfig::lan(PortId(3)) });
    let report = igmp(0x16, [239, 1, 2, 3]);
    assert_eq!(say(&mut lab, 1, 1, GROUP, c(10), &report), "0:10.0 1:10.0* 2:10.0 3:10.0", "nobody asks");
    assert_eq!(say(&mut lab, 0, 200, ALL_HOSTS, c(10), &igmp(0x11, [0; 4])), "1:10.0 2:10.0 3:10.0");
    assert_eq!(say(&mut lab, 1, 1, GROUP, c(10), &report), "0:10.0");
    lab.now += 10;
    assert_eq!(lab.send(3, vm(201), GROUP, c(10)), "0:10.0 1:10.0", "the router and the listener");
    assert_eq!(lab.send(1, vm(1), GROUP, c(10)), "0:10.0 1:10.0*");
}

/// Who joins more than he may gets everything; nobody else is touched.
#[test]
fn a_table_without_room_floods() {
    let mut lab = Lab::edge(EdgeMode::Vepa);
    queried(&mut lab);
    for n in 0..9000_u16 {
        let [high, low] = n.to_be_bytes();
        say(&mut lab, 2, 2, GROUP, untagged(), &igmp(0x16, [239, 9, high, low]));
    }
    assert_eq!(lab.send(UP, vm(200), GROUP, c(10)), "2");
    say(&mut lab, 1, 1, GROUP, untagged(), &igmp(0x16, [239, 1, 2, 3]));
    assert_eq!(lab.send(UP, vm(200), GROUP, c(10)), "1 2");
}
