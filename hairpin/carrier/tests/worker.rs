//! Workers between real stations on veths with their default offloads.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod lab;

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{Receiver, sync_channel},
    },
    time::Duration,
};

use carrier::{
    ControlSocket, Event, Options, PacketPort, PortStats, Worker, WorkerError, WorkerHandle, WorkerOptions,
};
use ether::{EtherType, Pcp, Tag, Vid};
use hairpin::{
    Control, EdgeMode, Limits, PortConfig, PortId, Relay, RelayKind, Role, VsiEntry, VsiFilter, VsiKey,
};
use lab::{Ns, Rng, ping, ping_once, see, segment, tcp, udp, until};

const MIB: usize = 1 << 20;

/// A relay with its worker and the namespace of its ports.
struct Switch {
    ns: Ns,
    relay: Arc<Relay>,
    worker: WorkerHandle,
    events: Receiver<Event>,
}

impl Switch {
    /// A worker of `threads` threads that forwards as `control` says, on ports added later.
    fn new(ns: Ns, control: &mut Control, threads: usize) -> Self {
        let relay = Arc::new(Relay::new(Limits::default()));
        relay.publish(control.snapshot());
        let (sender, events) = sync_channel(1);
        let worker =
            Worker::spawn(&relay, &sender, &WorkerOptions { threads, ..WorkerOptions::default() }).unwrap();
        Self { ns, relay, worker, events }
    }

    fn add(&self, port: u16, interface: &str) {
        self.worker.add_port(PortId(port), self.ns.ports(interface, self.worker.threads())).unwrap();
    }

    fn stats(&self, port: u16) -> PortStats {
        let rows = self.worker.stats().unwrap();
        rows.into_iter().find(|(id, _)| *id == PortId(port)).expect("the worker has the port").1
    }

    fn failed(&self) -> (PortId, String) {
        match self.events.recv_timeout(lab::PATIENCE).expect("an event") {
            Event::PortFailed { port, error, .. } => (port, error.to_string()),
            Event::Died { cause } => panic!("{cause}"),
        }
    }
}

/// `count` stations 10.0.0.1 … on a bridge with ports 0 … on interfaces p0 ….
fn bridge(count: u16) -> (Switch, Vec<Ns>) {
    bridge_of(1, count)
}

/// The same with a worker of so many threads.
fn bridge_of(threads: usize, count: u16) -> (Switch, Vec<Ns>) {
    let hub = Ns::new();
    let mut control = Control::new(RelayKind::Bridge, &Limits::default());
    let stations = (0..count).map(|n| Ns::station(&hub, &format!("p{n}"), address(n))).collect();
    for n in 0..count {
        control.set_port(PortConfig::lan(PortId(n))).unwrap();
    }
    let switch = Switch::new(hub, &mut control, threads);
    for n in 0..count {
        switch.add(n, &format!("p{n}"));
    }
    (switch, stations)
}

fn address(n: u16) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0001 + u32::from(n))
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
        control
            .open_vsi(VsiKey(u32::from(n)), VsiEntry { port: PortId(n), filters, policy: Arc::default() })
            .unwrap();
    }
    let edge = Switch::new(edge, &mut control, 2);
    for (port, interface) in [(0, "uplink"), (1, "vm0"), (2, "vm1")] {
        edge.add(port, interface);
    }

    let mut control = Control::new(RelayKind::Bridge, &Limits::default());
    let mut port = PortConfig::new(PortId(0), Role::Bridge);
    port.tagged = BTreeSet::from([vid]);
    port.reflective = true;
    control.set_port(port).unwrap();
    let lan = Switch::new(lan, &mut control, 1);
    lan.add(0, "station");
    (edge, lan, vms)
}

/// Sends 29 datagrams as one super-frame and has each arrive.
fn udp_super_frame(from: &Ns, to: &Ns) {
    const DATAGRAM: usize = 1400;
    let (sender, _) = udp(from, address(0));
    let (receiver, target) = udp(to, address(1));
    segment(&sender, i32::try_from(DATAGRAM).unwrap());
    let mut rng = Rng(9);
    let sent: Vec<u8> = (0..29 * DATAGRAM - 100).map(|_| rng.next().to_be_bytes()[0]).collect();
    assert_eq!(sender.send_to(&sent, target).unwrap(), sent.len());
    for datagram in sent.chunks(DATAGRAM) {
        let mut buffer = [0; 2 * DATAGRAM];
        let n = receiver.recv(&mut buffer).expect("every datagram arrives");
        assert!(buffer[..n] == *datagram);
    }
}

#[test]
fn bridge_carries_ping_and_tcp_super_frames() {
    let (switch, stations) = bridge(2);
    ping(&stations[0], address(1));
    let rate = tcp(&stations[0], &stations[1], address(1).into(), 200 * MIB);
    let (rx, tx) = (switch.stats(0), switch.stats(1));
    eprintln!("{rate:.2} Gbit/s\nin {rx:?}\nout {tx:?}");
    assert!(rx.rx_super_frames > 1000, "super-frames cross whole");
    assert!(tx.tx_octets > 200 << 20);
    assert_eq!((rx.rx_unreadable, rx.rx_truncated, tx.tx_too_long, tx.tx_refused), (0, 0, 0, 0));
    until("relay and carrier count the same", || {
        let shown = switch.relay.stats().port(PortId(1)).unwrap();
        let tx = switch.stats(1);
        (shown.tx_frames, shown.tx_bytes) == (tx.tx_frames, tx.tx_octets)
    });
    switch.worker.stop().unwrap();
}

#[test]
fn bridge_carries_udp_super_frames() {
    let (switch, stations) = bridge(2);
    ping(&stations[0], address(1));
    udp_super_frame(&stations[0], &stations[1]);
    assert_eq!(switch.stats(0).rx_super_frames, 1);
}

#[test]
fn vepa_reflects_tagged_tcp_intact() {
    let (edge, lan, vms) = vepa();
    let mut tap = lan.ns.port("station");
    ping(&vms[0], address(1));
    let tag = Tag { pcp: Pcp::new(5).unwrap(), ..Tag::c(Vid::new(100).unwrap()) };
    see(&mut tap, "an ARP or IP frame of VLAN 100", |seen, rest| {
        seen == Some(tag) && matches!(rest, [8, 0 | 6, ..])
    });
    drop(tap);
    let rate = tcp(&vms[0], &vms[1], address(1).into(), 150 * MIB);
    let wire = lan.stats(0);
    eprintln!("{rate:.2} Gbit/s reflected\nbridge {wire:?}\nuplink {:?}", edge.stats(0));
    assert!(wire.rx_super_frames > 500 && wire.rx_super_frames <= wire.tx_frames);
    assert!(lan.relay.stats().port(PortId(0)).unwrap().reflected > 500);
    assert_eq!((wire.tx_refused, wire.tx_too_long, edge.stats(0).tx_refused), (0, 0, 0));

    udp_super_frame(&vms[0], &vms[1]);
    for (vm, n) in vms.iter().zip(1..) {
        vm.ip(&format!("addr add fd00::{n}/64 dev eth0 nodad"));
    }
    let before = lan.stats(0).rx_super_frames;
    let six = IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2));
    tcp(&vms[0], &vms[1], six, 20 * MIB);
    assert!(lan.stats(0).rx_super_frames > before + 50);
}

#[test]
fn ports_that_go_away_leave_the_others() {
    let (switch, stations) = bridge(4);
    (1..4).for_each(|n| ping(&stations[0], address(n)));
    switch.ns.ip("link del p2");
    switch.ns.ip("link del p3");
    // There is room for one event; the other waits.
    until("both are gone", || switch.worker.stats().unwrap().len() == 2);
    for n in [2, 3] {
        let (port, error) = switch.failed();
        assert_eq!(port, PortId(n));
        // Receiving finds out, unless a copy was on its way out.
        assert!(error.starts_with(&format!("p{n}: ")) && error.contains(" failed: N"), "{error}");
    }
    assert!(matches!(switch.worker.remove_port(PortId(2)), Err(WorkerError::NoPort(PortId(2)))));
    ping(&stations[0], address(1));

    // Copies for a port that failed are lost, and counted.
    let lost = || switch.relay.stats().port(PortId(2)).unwrap().tx_drops;
    let before = lost();
    until("a copy for the lost port", || {
        ping_once(&stations[0], address(2), Duration::from_millis(20));
        lost() > before
    });
}

#[test]
fn a_port_that_was_down_comes_back_as_a_new_one() {
    let (switch, stations) = bridge(2);
    ping(&stations[0], address(1));
    switch.ns.ip("link set p1 down");
    assert_eq!(switch.failed().0, PortId(1));
    let down = switch.ns.run(|| PacketPort::open("p1", &Options::default()).unwrap_err());
    assert_eq!(
        down.to_string(),
        "p1: cannot bind to the interface: Network is down (os error 100); bring the interface up first"
    );
    switch.ns.ip("link set p1 up");
    switch.add(1, "p1");
    ping(&stations[0], address(1));
}

#[test]
fn ports_come_and_go() {
    let (switch, stations) = bridge(2);
    ping(&stations[0], address(1));
    let again = switch.worker.add_port(PortId(1), [switch.ns.port("p1")]);
    assert!(matches!(again, Err(WorkerError::PortTaken(PortId(1)))));
    let mut sockets = switch.worker.remove_port(PortId(1)).unwrap();
    assert!(sockets[0].stats().tx_frames > 0);
    assert!(!ping_once(&stations[0], address(1), Duration::from_millis(100)));
    switch.worker.add_port(PortId(1), sockets).unwrap();
    ping(&stations[0], address(1));
    let index = switch.ns.run(|| carrier::ifindex("p1").unwrap());
    let by_number = switch.ns.run(move || PacketPort::open_index(index, &Options::default()).unwrap());
    assert_eq!((by_number.interface(), by_number.ifindex()), ("p1", index));
}

#[test]
fn what_cannot_be_sent_is_counted_by_cause() {
    let (switch, stations) = bridge(2);
    ping(&stations[0], address(1));
    // What the relay counts beyond the port: copies from before the port was there.
    let beyond = || {
        let shown = switch.relay.stats().port(PortId(1)).unwrap().tx_drops;
        shown.checked_sub(switch.stats(1).tx_dropped())
    };
    let before = beyond();
    let raw = stations[0].run(|| ControlSocket::open("eth0", EtherType::ECP, &[]).unwrap());
    let frame = ether::frame::build(ether::MacAddr::broadcast(), raw.mac(), EtherType(0x88b5), &[0; 1400]);

    switch.ns.ip("link set p1 mtu 1000");
    raw.send(&frame).unwrap();
    until("a frame too long", || switch.stats(1).tx_too_long == 1);
    // Nobody would cut the segments of a super-frame any smaller.
    let (sender, _) = udp(&stations[0], address(0));
    segment(&sender, 1400);
    until("a super-frame of segments too long", || {
        sender.send_to(&[7; 14_000], (address(1), 9)).unwrap();
        switch.stats(1).tx_too_long > 1
    });

    switch.ns.ip("link set p1 mtu 1500");
    stations[1].ip("link set eth0 down");
    raw.send(&frame).unwrap();
    until("a frame without carrier", || switch.stats(1).tx_full > 0);
    stations[1].ip("link set eth0 up");
    ping(&stations[0], address(1));
    until("both accounts of what was lost agree", || beyond() == before);
}

#[test]
fn garbage_does_not_stop_it() {
    let (switch, stations) = bridge(2);
    ping(&stations[0], address(1));
    let raw = stations[0].run(|| ControlSocket::open("eth0", EtherType::ECP, &[]).unwrap());
    let mut rng = Rng(1);
    let mut frame = vec![0; 1514];
    for n in 0..100_000 {
        let len = 14 + rng.below(1501);
        for octets in frame.chunks_mut(8) {
            octets.copy_from_slice(&rng.next().to_be_bytes()[..octets.len()]);
        }
        // Random octets alone would hardly ever have a tag, a group or a protocol the stack looks into.
        match n % 8 {
            0 => frame[12..16].copy_from_slice(&[0x81, 0, 0x0f, 0xff]),
            1 => frame[12..14].copy_from_slice(&[0x88, 0xa8]),
            2 => frame[12..18].copy_from_slice(&[0x81, 0, 0, 1, 0x81, 0]),
            3 => frame[..6].fill(0xff),
            4 => frame[..6].copy_from_slice(&[1, 0x80, 0xc2, 0, 0, 0]),
            5 => frame[12..15].copy_from_slice(&[8, 0, 0x45]),
            _ => {}
        }
        until("room to send", || raw.send(&frame[..len]).is_ok());
    }
    ping(&stations[0], address(1));
    let stats = switch.stats(0);
    eprintln!("{stats:?}");
    assert!(stats.rx_frames > 10_000 && stats.rx_bad_tag > 1000, "{stats:?}");
    let shown = switch.relay.stats().port(PortId(0)).unwrap();
    assert!(shown.adds_up(), "{shown:?}");
    assert_eq!(shown.drops["malformed"], stats.rx_bad_tag + stats.rx_runt);
    switch.worker.stop().unwrap();
}

#[test]
fn a_flow_keeps_its_order_over_threads() {
    const FLOWS: usize = 16;
    let (switch, stations) = bridge_of(2, 2);
    ping(&stations[0], address(1));
    let (receiver, target) = udp(&stations[1], address(1));
    let senders: Vec<_> = (0..FLOWS).map(|_| udp(&stations[0], address(0))).collect();
    let ports: Vec<u16> = senders.iter().map(|(_, own)| own.port()).collect();
    let mut next = [0; FLOWS];
    for burst in 0..200u32 {
        for n in 0..8 {
            for (sender, _) in &senders {
                sender.send_to(&(burst * 8 + n).to_be_bytes(), target).unwrap();
            }
        }
        for _ in 0..8 * FLOWS {
            let mut number = [0; 4];
            let (_, from) = receiver.recv_from(&mut number).expect("every datagram arrives");
            let flow = ports.iter().position(|port| *port == from.port()).unwrap();
            assert_eq!(u32::from_be_bytes(number), next[flow], "flow {flow}");
            next[flow] += 1;
        }
    }
    assert_eq!(next, [1600; FLOWS]);
    switch.worker.stop().unwrap();
}

#[test]
fn ports_do_not_notice_others_come_and_go() {
    let (switch, stations) = bridge_of(2, 3);
    ping(&stations[0], address(1));
    let (asking, _) = udp(&stations[0], address(0));
    let (answering, target) = udp(&stations[1], address(1));
    let over = Arc::new(AtomicBool::new(false));
    let ends = Arc::clone(&over);
    let talk = std::thread::spawn(move || {
        let mut buffer = [0; 64];
        for n in 0u32.. {
            asking.send_to(&n.to_be_bytes(), target).unwrap();
            let (octets, from) = answering.recv_from(&mut buffer).expect("a question is not lost");
            answering.send_to(&buffer[..octets], from).unwrap();
            assert_eq!(asking.recv(&mut buffer).expect("an answer is not lost"), 4);
            assert_eq!(buffer[..4], n.to_be_bytes());
            if n > 1000 && ends.load(Relaxed) {
                return;
            }
        }
    });
    for _ in 0..20 {
        drop(switch.worker.remove_port(PortId(2)).unwrap());
        switch.add(2, "p2");
    }
    over.store(true, Relaxed);
    talk.join().unwrap();
    ping(&stations[0], address(2));
}

#[test]
fn ports_of_every_kind() {
    let hub = Ns::new();
    let one = Ns::station(&hub, "p0", address(0));
    let two = Ns::station(&hub, "low", address(1));
    hub.ip("link add link low name mv1 type macvtap mode passthru");
    hub.ip("link set mv1 up");
    let mut tap = hub.tap("tap2");
    let mut control = Control::new(RelayKind::Bridge, &Limits::default());
    (0..3).for_each(|n| control.set_port(PortConfig::lan(PortId(n))).unwrap());
    let switch = Switch::new(hub, &mut control, 2);
    for (port, interface) in [(0, "p0"), (1, "mv1"), (2, "tap2")] {
        switch.add(port, interface);
    }
    ping(&one, address(1));
    tcp(&one, &two, address(1).into(), MIB);
    // What the guest of the tap says is learnt and reaches the others, and what they say to it comes out of it.
    let guest = ether::MacAddr::new(2, 0, 0, 0, 0, 9);
    let call = ether::frame::build(ether::MacAddr::broadcast(), guest, EtherType(0x88b5), &[7; 60]);
    std::io::Write::write_all(&mut tap, &call).unwrap();
    until("the relay learns the guest", || {
        let known = switch.relay.fdb_entries(carrier::clock::now());
        known.iter().any(|entry| (entry.mac, entry.port) == (guest, PortId(2)))
    });
    let raw = one.run(|| ControlSocket::open("eth0", EtherType(0x88b5), &[]).unwrap());
    raw.send(&ether::frame::build(guest, raw.mac(), EtherType(0x88b5), &[9; 60])).unwrap();
    lab::see_at(&mut tap, "the answer", |frame| frame.ends_with(&[9; 60]));
}
