//! AF_XDP ports between real stations on veths with their default offloads, beside packet ports and instead of them.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod lab;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{
        Arc,
        mpsc::{Receiver, sync_channel},
    },
};

use carrier::{Event, Options, PortStats, Worker, WorkerHandle, WorkerOptions, XdpMode, XdpOptions, XdpPort};
use hairpin::{Control, Limits, PortConfig, PortId, Relay, RelayKind};
use lab::{Ns, ping, tcp};

const MIB: usize = 1 << 20;

/// A bridge with its worker in a namespace, and a station 10.0.0.1 … behind each of its ports p0 ….
struct Switch {
    ns: Ns,
    relay: Arc<Relay>,
    worker: WorkerHandle,
    events: Receiver<Event>,
    stations: Vec<Ns>,
}

/// How a port's frames are carried.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Packet,
    Xdp,
}

impl Switch {
    fn new(ports: &[By], threads: usize) -> Self {
        let options = WorkerOptions { threads, ..WorkerOptions::default() };
        let ns = Ns::new();
        let mut control = Control::new(RelayKind::Bridge, &Limits::default());
        let relay = Arc::new(Relay::new(Limits::default()));
        let (sender, events) = sync_channel(1);
        let worker = Worker::spawn(&relay, &sender, &options).unwrap();
        let stations =
            (0..).zip(ports).map(|(n, _)| Ns::station(&ns, &format!("p{n}"), address(n))).collect();
        let switch = Self { ns, relay, worker, events, stations };
        for (n, by) in (0..).zip(ports) {
            control.set_port(PortConfig::lan(PortId(n))).unwrap();
            switch.add(n, *by);
        }
        switch.relay.publish(control.snapshot());
        switch
    }

    fn add(&self, port: u16, by: By) {
        let name = format!("p{port}");
        match by {
            By::Packet => {
                self.worker.add_port(PortId(port), self.ns.ports(&name, self.worker.threads())).unwrap();
            }
            By::Xdp => {
                let (count, first) = (self.worker.threads(), usize::from(port));
                let group = self.ns.run(move || {
                    XdpPort::open_group(&name, XdpOptions::default(), &Options::default(), count, first)
                });
                self.worker.add_port(PortId(port), group.unwrap().1).unwrap();
            }
        }
    }

    fn stats(&self, port: u16) -> PortStats {
        let rows = self.worker.stats().unwrap();
        rows.into_iter().find(|(id, _)| *id == PortId(port)).expect("the worker has the port").1
    }
}

fn xdp(ns: &Ns, name: &str) -> XdpPort {
    let name = name.to_owned();
    ns.run(move || XdpPort::open(&name, XdpOptions::default())).unwrap()
}

fn address(n: u16) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0001 + u32::from(n))
}

fn six(n: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, n + 1))
}

#[test]
fn opens_at_the_driver() {
    let ns = Ns::new();
    let _station = Ns::station(&ns, "p0", address(0));
    assert_eq!(xdp(&ns, "p0").mode(), XdpMode::Native);
}

#[test]
fn tcp_of_stations_that_postpone_checksums_arrives() {
    let switch = Switch::new(&[By::Xdp, By::Xdp], 1);
    checksummed_tcp(&switch, 1);
    let rx = switch.stats(0);
    assert!(rx.rx_completed > 1000, "the station's checksums were not finished: {rx:?}");
    assert_eq!((rx.rx_super_frames, rx.rx_unfinished), (0, 0));
}

#[test]
fn super_frames_of_packet_ports_are_cut() {
    let switch = Switch::new(&[By::Packet, By::Xdp], 1);
    checksummed_tcp(&switch, 1);
    let (rx, tx) = (switch.stats(0), switch.stats(1));
    assert!(rx.rx_super_frames > 100, "{rx:?}");
    assert_eq!((tx.tx_too_long, tx.tx_refused), (0, 0));
}

#[test]
fn threads_divide_the_ports() {
    let switch = Switch::new(&[By::Xdp, By::Xdp, By::Packet], 2);
    checksummed_tcp(&switch, 1);
    checksummed_tcp(&switch, 2);
    for from in &switch.stations {
        (0..3).for_each(|n| ping(from, address(n)));
    }
}

/// Each thread has a queue of each interface, and what it sends there it sends by its own.
#[test]
fn threads_divide_the_queues() {
    let switch = Switch::new(&[By::Xdp, By::Xdp], 2);
    let queues = "numrxqueues 2 numtxqueues 2";
    let stations = [2, 3].map(|n| {
        let station = Ns::new();
        let ends = format!("name p{n} {queues} type veth peer name eth0 {queues} netns {}", station.tid());
        switch.ns.ip(&format!("link add {ends}"));
        switch.ns.ip(&format!("link set p{n} up"));
        station.ip(&format!("addr add {}/24 dev eth0", address(n)));
        station.ip("link set eth0 up");
        station
    });
    let mut control = Control::new(RelayKind::Bridge, &Limits::default());
    (0..4).for_each(|n| control.set_port(PortConfig::lan(PortId(n))).unwrap());
    switch.relay.publish(control.snapshot());
    [2, 3].into_iter().for_each(|n| switch.add(n, By::Xdp));
    (0..4).for_each(|n| ping(&stations[0], address(n)));
    // So many connections that neither queue stays empty.
    for _ in 0..8 {
        tcp(&stations[0], &stations[1], address(3).into(), MIB);
    }
    for station in &switch.stations {
        ping(station, address(2));
        ping(station, address(3));
    }
    let rx = switch.stats(2);
    assert!(rx.rx_completed > 1000 && rx.rx_unfinished == 0, "{rx:?}");
}

/// TCP both ways between the stations of ports 0 and `other`.
fn checksummed_tcp(switch: &Switch, other: u16) {
    let (a, b) = (&switch.stations[0], &switch.stations[usize::from(other)]);
    ping(a, address(other));
    for (station, n) in [(a, 0), (b, other)] {
        station.ip(&format!("addr replace {}/64 dev eth0 nodad", six(n)));
    }
    let rate = tcp(a, b, address(other).into(), 50 * MIB);
    let rate6 = tcp(b, a, six(0), 20 * MIB);
    eprintln!("{rate:.2} and {rate6:.2} Gbit/s\n{:?}\n{:?}", switch.stats(0), switch.stats(other));
}

#[test]
fn ports_of_both_kinds_flood_and_forward() {
    let switch = Switch::new(&[By::Xdp, By::Packet, By::Xdp, By::Xdp], 1);
    for from in &switch.stations {
        (0..4).for_each(|n| ping(from, address(n)));
    }
}

#[test]
fn ports_that_go_away_leave_the_others() {
    let switch = Switch::new(&[By::Xdp, By::Xdp, By::Xdp], 1);
    ping(&switch.stations[0], address(2));
    // The first one's socket is the one whose memory the others share.
    switch.ns.ip("link del p0");
    let failed = |n| match switch.events.recv_timeout(lab::PATIENCE).expect("an event") {
        Event::PortFailed { port, error, .. } => assert_eq!(port, PortId(n), "{error}"),
        Event::Died { cause } => panic!("{cause}"),
    };
    failed(0);
    ping(&switch.stations[1], address(2));
    switch.ns.ip("link set p1 down");
    failed(1);
    switch.ns.ip("link set p1 up");
    switch.add(1, By::Xdp);
    ping(&switch.stations[1], address(2));
}

#[test]
fn a_port_removed_leaves_nothing_and_comes_back_by_the_other_carrier() {
    let switch = Switch::new(&[By::Xdp, By::Xdp], 1);
    for by in [By::Packet, By::Xdp, By::Packet, By::Xdp] {
        ping(&switch.stations[0], address(1));
        drop(switch.worker.remove_port(PortId(1)).unwrap());
        assert!(!switch.ns.output("link show p1").contains("xdp"));
        switch.add(1, by);
    }
    ping(&switch.stations[0], address(1));
    let again = switch.ns.run(|| XdpPort::open("p1", XdpOptions::default()).unwrap_err().to_string());
    assert!(
        again.starts_with("p1: cannot attach the XDP program: ") && again.ends_with("XDP program is there"),
        "{again}"
    );
}

#[test]
fn the_last_port_that_memory_does_not_suffice_for_is_refused() {
    let ns = Ns::new();
    let _stations = ["p0", "p1"].map(|port| Ns::station(&ns, port, address(0)));
    let (sender, _events) = sync_channel(1);
    let relay = Arc::new(Relay::new(Limits::default()));
    for (memory, refusal) in [(0, "there is none for xdp ports"), (4 << 20, "is used up")] {
        let options = WorkerOptions { memory, ..WorkerOptions::default() };
        let worker = Worker::spawn(&relay, &sender, &options).unwrap();
        let first = worker.add_port(PortId(0), [xdp(&ns, "p0")]);
        assert_eq!(first.is_ok(), memory > 0);
        let second = worker.add_port(PortId(1), [xdp(&ns, "p1")]).unwrap_err().to_string();
        assert!(
            second.starts_with("p1: cannot share memory for AF_XDP: ") && second.contains(refusal),
            "{second}"
        );
        if first.is_ok() {
            drop(worker.remove_port(PortId(0)).unwrap());
            worker.add_port(PortId(1), [xdp(&ns, "p1")]).unwrap();
        }
    }
}

#[test]
fn what_would_come_to_harm_is_refused() {
    let ns = Ns::new();
    let station = Ns::station(&ns, "p0", address(0));
    let refused = |name: &'static str| {
        ns.run(move || XdpPort::open(name, XdpOptions::default()).unwrap_err().to_string())
    };
    station.ip("link set eth0 mtu 9000");
    ns.ip("link set p0 mtu 9000");
    assert_eq!(
        refused("p0"),
        "p0: cannot be an xdp port: MTU 9000 is more than the 1770 octets that fit; lower it or use carrier packet"
    );
    ns.ip("tuntap add dev t0 mode tap");
    ns.ip("link set t0 up");
    assert!(refused("t0").contains("driver tun hands over frames of up to 64 KiB"));
}
