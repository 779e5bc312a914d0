//! Every rule of the relay by name, one table or one story each; here those that concern both kinds of relay.

#![cfg(test)]

mod bridge;
mod edge;
mod groups;
mod lab;
mod moves;
mod policy;

use std::sync::Arc;

use ether::{EtherType, MacAddr, Tag};
use hairpin::{ControlError, DropReason, EdgeMode, PortConfig, PortId, Role, VsiEntry, VsiKey};
use lab::{BROADCAST, Lab, SOLICITED, UP, anyone, c, named, tci, untagged, vid, vm};

#[test]
fn reserved_addresses_are_the_daemons_whatever_the_vlan() {
    let mut lab = Lab::bridge();
    let mut edge = Lab::edge(EdgeMode::Veb);
    for low in 0..16 {
        let dst = MacAddr(1, 0x80, 0xc2, 0, 0, low);
        // LLDP and ECP are heard; pause frames, link aggregation and the like end here.
        let fate = if [0, 3, 14].contains(&low) { "punt" } else { "reserved" };
        for tag in [untagged(), c(77), tci(0xe000), Tag::from_tci(EtherType::S_VLAN, 77)] {
            assert_eq!(lab.send(1, vm(66), dst, tag), fate);
            assert_eq!(edge.send(UP, vm(66), dst, tag), fate);
        }
    }
    assert_eq!(lab.send(0, vm(66), MacAddr(1, 0x80, 0xc2, 0, 0, 16), c(10)), "1:10.0 2:10.0");
    assert_eq!((lab.count(1).punted, edge.count(UP).punted), (12, 12));
}

/// The way of users' first complaint: two VMs of one station, joined by the bridge.
#[test]
fn there_and_back_by_reflective_relay() {
    let mut station = Lab::edge(EdgeMode::Vepa);
    let mut bridge = Lab::bridge();
    bridge.close(2);
    bridge.open(2, 1, &[named(vm(2), 10)]);
    for (dst, on_wire, delivered) in [(vm(2), "1:10.0*", "2"), (SOLICITED, "0:10.0 1:10.0*", "2")] {
        assert_eq!(station.send(1, vm(1), dst, untagged()), "0:10.0");
        assert_eq!(bridge.send(1, vm(1), dst, c(10)), on_wire);
        assert_eq!(station.send(UP, vm(1), dst, c(10)), delivered);
    }
    assert_eq!((bridge.count(1).reflected, station.count(1).echoes), (2, 1));
}

#[test]
fn what_the_model_refuses() {
    let mut edge = Lab::edge(EdgeMode::Veb).control;
    let (one, five, far) = (PortId(1), PortId(5), PortId(16));
    let port = |id, role| PortConfig::new(id, role);
    let reflective = |id, role| PortConfig { reflective: true, ..port(id, role) };
    let in_vlan = PortConfig { pvid: Some(vid(1)), ..port(five, Role::Downlink) };
    for (config, error) in [
        (port(far, Role::Downlink), ControlError::PortRange { port: far, limit: 16 }),
        (port(five, Role::Bridge), ControlError::Role(five)),
        (port(PortId(UP), Role::Downlink), ControlError::Role(PortId(UP))),
        (port(five, Role::Uplink), ControlError::SecondUplink { port: five, uplink: PortId(UP) }),
        (reflective(one, Role::Downlink), ControlError::NotBridgePort(one)),
        (in_vlan, ControlError::DownlinkVlans(five)),
    ] {
        assert_eq!(edge.set_port(config), Err(error.clone()), "{error}");
    }
    for (entry, error) in [
        (
            VsiEntry { port: five, filters: vec![anyone(1)], policy: Arc::default() },
            ControlError::NoPort(five),
        ),
        (
            VsiEntry { port: PortId(UP), filters: vec![anyone(1)], policy: Arc::default() },
            ControlError::VsiOnUplink(PortId(UP)),
        ),
        (VsiEntry { port: one, filters: vec![], policy: Arc::default() }, ControlError::NoFilter(VsiKey(1))),
        (
            VsiEntry { port: one, filters: vec![anyone(1), named(BROADCAST, 1)], policy: Arc::default() },
            ControlError::Address { vsi: VsiKey(1), mac: BROADCAST },
        ),
    ] {
        assert_eq!(edge.open_vsi(VsiKey(1), entry), Err(error.clone()), "{error}");
    }
    assert_eq!(Lab::bridge().control.set_port(port(five, Role::Uplink)), Err(ControlError::Role(five)));
    assert_eq!(edge.vsis().count(), 3);
    assert_eq!((edge.remove_port(five), edge.close_vsi(VsiKey(77))), (None, None));
}

#[test]
fn what_the_carrier_counts() {
    let mut lab = Lab::bridge();
    lab.relay.reject(PortId(1), 13, DropReason::Malformed);
    lab.send(1, vm(1), vm(2), c(10));
    lab.relay.stats().tx(PortId(2), 3, 300);
    lab.relay.stats().tx_drop(PortId(2), 2);
    lab.relay.stats().tx(PortId(999), 1, 1);
    assert_eq!(lab.relay.stats().port(PortId(999)), None);
    let (one, two) = (lab.count(1), lab.count(2));
    assert_eq!((one.rx_frames, one.rx_bytes, one.forwarded, one.drops["malformed"]), (2, 113, 1, 1));
    assert_eq!((two.tx_frames, two.tx_bytes, two.tx_drops), (3, 300, 2));
    let shown = serde_json::to_value(&one).unwrap();
    assert_eq!((&shown["rx_frames"], &shown["drops"]["malformed"]), (&2.into(), &1.into()));
    assert_eq!(shown["drops"].as_object().unwrap().len(), DropReason::COUNT);
}
