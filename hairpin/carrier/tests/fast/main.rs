//! Workers whose settled flows the kernel forwards: the same frames as without, in order, and none by an old decision.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod changes;
#[path = "../lab/mod.rs"]
mod lab;
mod same;

use std::{
    collections::BTreeSet,
    net::Ipv4Addr,
    sync::{Arc, mpsc::sync_channel},
};

use carrier::{FastPath, FlowState, Options, PacketPort, Worker, WorkerHandle, WorkerOptions};
use ether::{Pcp, Tag, Vid};
use hairpin::{
    Control, EdgeMode, Limits, PortConfig, PortCounters, PortId, Relay, RelayKind, Role, VsiEntry, VsiFilter,
    VsiKey,
};
use lab::{Ns, ping, see, tcp};

/// A relay with a fast path, its worker and the namespace of its ports.
struct Switch {
    ns: Ns,
    control: Control,
    relay: Arc<Relay>,
    worker: WorkerHandle,
    fast: Arc<FastPath>,
}

impl Switch {
    fn new(ns: Ns, mut control: Control, threads: usize) -> Self {
        let relay = Arc::new(Relay::new(Limits { flap_moves: 0, ..Limits::default() }));
        relay.publish(control.snapshot());
        let fast = FastPath::new(&relay, threads).unwrap();
        let options = WorkerOptions { threads, fast: Some(Arc::clone(&fast)), ..WorkerOptions::default() };
        let worker = Worker::spawn(&relay, &sync_channel(8).0, &options).unwrap();
        Self { ns, control, relay, worker, fast }
    }

    fn add(&self, port: u16, interface: &str) {
        let (name, fast, threads) = (interface.to_owned(), Arc::clone(&self.fast), self.worker.threads());
        let options = Options { ring: if port.is_multiple_of(2) { 1024 } else { 0 }, ..Options::default() };
        let (sockets, slow) =
            self.ns.run(move || PacketPort::open_fast_group(&name, &options, threads, &fast)).unwrap();
        assert!(slow.is_none(), "{slow:?}");
        self.worker.add_port(PortId(port), sockets).unwrap();
    }

    fn counters(&self, port: u16) -> PortCounters {
        self.fast.settle();
        self.relay.stats().port(PortId(port)).unwrap()
    }

    /// Frames that went fast.
    fn fast_frames(&self) -> u64 {
        self.fast.flows().iter().map(|flow| flow.frames).sum()
    }
}

fn address(n: u16) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0001 + u32::from(n))
}

/// `count` stations 10.0.0.1 … on a bridge with ports 0 … on interfaces p0 ….
fn bridge(threads: usize, count: u16) -> (Switch, Vec<Ns>) {
    let hub = Ns::new();
    let mut control = Control::new(RelayKind::Bridge, &Limits::default());
    let stations = (0..count).map(|n| Ns::station(&hub, &format!("p{n}"), address(n))).collect();
    for n in 0..count {
        control.set_port(PortConfig::lan(PortId(n))).unwrap();
    }
    let switch = Switch::new(hub, control, threads);
    for n in 0..count {
        switch.add(n, &format!("p{n}"));
    }
    (switch, stations)
}

/// A station in VEPA mode with two VMs in VLAN 100 (10.0.0.1, 10.0.0.2) and its bridge, which reflects.
fn vepa() -> (Switch, Switch, [Ns; 2]) {
    let (edge, lan) = (Ns::new(), Ns::new());
    let vms = [0, 1].map(|n| Ns::station(&edge, &format!("vm{n}"), address(n)));
    edge.veth("uplink", &lan, "station");
    let vid = Vid::new(100).unwrap();
    let mut control = Control::new(RelayKind::Edge(EdgeMode::Vepa), &Limits::default());
    control.set_port(PortConfig::new(PortId(0), Role::Uplink)).unwrap();
    for n in 1..3 {
        control.set_port(PortConfig::new(PortId(n), Role::Downlink)).unwrap();
        let filters = vec![VsiFilter { mac: None, vid, pcp: Pcp::new(5) }];
        let entry = VsiEntry { port: PortId(n), filters, policy: Arc::default() };
        control.open_vsi(VsiKey(u32::from(n)), entry).unwrap();
    }
    let edge = Switch::new(edge, control, 2);
    for (port, interface) in [(0, "uplink"), (1, "vm0"), (2, "vm1")] {
        edge.add(port, interface);
    }
    let mut control = Control::new(RelayKind::Bridge, &Limits::default());
    let tagged = BTreeSet::from([vid]);
    let port = PortConfig { tagged, reflective: true, ..PortConfig::new(PortId(0), Role::Bridge) };
    control.set_port(port).unwrap();
    let lan = Switch::new(lan, control, 1);
    lan.add(0, "station");
    (edge, lan, vms)
}

#[test]
fn what_is_settled_goes_fast_and_is_counted() {
    let (switch, stations) = bridge(1, 2);
    ping(&stations[0], address(1));
    let rate = tcp(&stations[0], &stations[1], address(1).into(), 200 << 20);
    let [a, b] = [switch.counters(0), switch.counters(1)];
    eprintln!("{rate:.2} Gbit/s, {} frames fast of {}", switch.fast_frames(), a.rx_frames + b.rx_frames);
    assert!(switch.fast_frames() > 1000, "{:?}", switch.fast.flows());
    assert!(switch.fast.flows().iter().filter(|flow| flow.state == FlowState::Fast).count() >= 2);
    assert!(a.adds_up() && b.adds_up());
    assert!(a.rx_bytes > 200 << 20 && b.tx_bytes > 200 << 20);
    for flow in switch.fast.flows() {
        let age = switch.relay.fdb_entries(carrier::clock::now());
        let age = age.iter().find(|entry| entry.mac == flow.flow.src).expect("it is known").age;
        assert!(age < 3, "its frames keep it young");
    }
}

#[test]
fn tags_are_put_on_and_taken_off() {
    let (edge, lan, vms) = vepa();
    ping(&vms[0], address(1));
    let rate = tcp(&vms[0], &vms[1], address(1).into(), 150 << 20);
    eprintln!("{rate:.2} Gbit/s reflected; fast: {} and {}", edge.fast_frames(), lan.fast_frames());
    assert!(edge.fast_frames() > 1000 && lan.fast_frames() > 500);
    assert!(lan.counters(0).reflected > 500 && edge.counters(0).adds_up());
    assert!(edge.relay.vsi(VsiKey(1)).unwrap().rx_octets > 150 << 20);
    let mut tap = lan.ns.run(|| PacketPort::open("station", &Options::default()).unwrap());
    let before = lan.fast_frames();
    ping(&vms[0], address(1));
    let tag = Tag { pcp: Pcp::new(5).unwrap(), ..Tag::c(Vid::new(100).unwrap()) };
    see(&mut tap, "an IP frame of VLAN 100 with its priority", |seen, rest| {
        seen == Some(tag) && rest.starts_with(&[8, 0])
    });
    assert!(lan.fast_frames() > before, "other sockets see what goes fast");
}
