//! A controlling bridge and two port extenders between real stations: super-frames behind tags of E-channels, whole where
//! the link has them and else cut, octet by octet.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod lab;

use std::{
    collections::BTreeSet,
    net::Ipv4Addr,
    sync::{Arc, mpsc::sync_channel},
};

use carrier::{
    ChannelTags, Event, Options, PacketPort, PortStats, Worker, WorkerHandle, WorkerOptions, XdpOptions,
    XdpPort,
};
use ether::{Framing, Pcid, Vid};
use hairpin::{Control, Extension, Limits, Parameters, PortConfig, PortId, Relay, RelayKind, Role};
use lab::{Ns, Rng, ping, segment, tcp, udp};

const ONE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const TWO: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const MIB: usize = 1 << 20;
const UP: PortId = PortId(0);
const STATION: PortId = PortId(1);

/// What becomes of super-frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// The kernel puts tags on.
    Whole,
    /// They are cut.
    Cut,
    /// There are none.
    Xdp,
}

struct Node {
    worker: WorkerHandle,
    _events: std::sync::mpsc::Receiver<Event>,
}

impl Node {
    fn new(mut control: Control) -> Self {
        let relay = Arc::new(Relay::new(Limits::default()));
        relay.publish(control.snapshot());
        let (sender, events) = sync_channel(4);
        let worker = Worker::spawn(&relay, &sender, &WorkerOptions::default()).unwrap();
        Self { worker, _events: events }
    }

    /// A port by which frames come with these tags.
    fn add(&self, ns: &Ns, id: PortId, interface: &str, tags: Option<ChannelTags>, how: How) {
        let name = interface.to_owned();
        let options = Options { tags, ring: 1024, ..Options::default() };
        if how == How::Xdp {
            let xdp = XdpOptions { tags, everything: tags.is_none(), ..XdpOptions::default() };
            let group = ns.run(move || XdpPort::open_group(&name, xdp, &options, 1, 0));
            self.worker.add_port(id, group.unwrap().1).unwrap();
            return;
        }
        let ports = ns.run(move || match how {
            How::Whole => PacketPort::open_group(&name, &options, 1),
            _ => PacketPort::open(&name, &options).map(|port| vec![port]),
        });
        let ports = ports.unwrap();
        let whole = tags.filter(|_| how == How::Whole).map(|_| Ok(()));
        assert_eq!(ports[0].super_frames(), whole);
        self.worker.add_port(id, ports).unwrap();
    }

    fn stats(&self, id: PortId) -> PortStats {
        let rows = self.worker.stats().unwrap();
        rows.into_iter().find(|(port, _)| *port == id).expect("the worker has the port").1
    }
}

/// Stations 10.0.0.1 and 10.0.0.2, each behind a port extender of its own: what goes up has the tag of an E-channel, what
/// comes down a C-tag behind it.
struct Lab {
    bridge: Node,
    _extenders: [Node; 2],
    stations: [Ns; 2],
    _between: [Ns; 3],
}

impl Lab {
    fn new(framing: Framing, how: How) -> Self {
        let hub = Ns::new();
        let mut control = Control::new(RelayKind::Bridge, &Limits::default());
        let pcid = |n: u16| Pcid::new(u32::from(n) + 101).unwrap();
        for n in 0..2 {
            control.set_port(PortConfig { framing, ..PortConfig::new(PortId(n), Role::Cascade) }).unwrap();
            let extension = Some(Extension::Behind { cascade: PortId(n), pcid: pcid(n) });
            control.set_port(PortConfig { extension, ..PortConfig::lan(PortId(10 + n)) }).unwrap();
        }
        let bridge = Node::new(control);
        let made = [0_u16, 1].map(|n| {
            let (ns, cascade) = (Ns::new(), format!("c{n}"));
            hub.veth(&cascade, &ns, "up0");
            hub.ip(&format!("link set {cascade} mtu 1512"));
            ns.ip("link set up0 mtu 1512");
            let station = Ns::station(&ns, "p0", [ONE, TWO][usize::from(n)]);
            let mut control = Control::new(RelayKind::Extender, &Limits::default());
            control.set_port(PortConfig { framing, ..PortConfig::new(UP, Role::Upstream) }).unwrap();
            let extension = Some(Extension::End(Parameters::new(pcid(n)).into()));
            let untagged = BTreeSet::from([Vid::DEFAULT]);
            let port = PortConfig { extension, untagged, ..PortConfig::new(STATION, Role::Extended) };
            control.set_port(port).unwrap();
            control.set_upstream(Some(UP));
            let node = Node::new(control);
            let tags = |down| Some(ChannelTags { framing, down, ingress_form: false });
            node.add(&ns, UP, "up0", tags(true), how);
            node.add(&ns, STATION, "p0", None, how);
            bridge.add(&hub, PortId(n), &cascade, tags(false), how);
            (node, ns, station)
        });
        let [(a, a_ns, one), (b, b_ns, two)] = made;
        Self { bridge, _extenders: [a, b], stations: [one, two], _between: [hub, a_ns, b_ns] }
    }
}

/// Sends datagrams as one super-frame and has each arrive.
fn datagrams(lab: &Lab, size: usize, octets: usize) {
    let (sender, _) = udp(&lab.stations[0], ONE);
    let (receiver, target) = udp(&lab.stations[1], TWO);
    segment(&sender, i32::try_from(size).unwrap());
    let mut rng = Rng(9);
    let sent: Vec<u8> = (0..octets).map(|_| rng.next().to_be_bytes()[0]).collect();
    assert_eq!(sender.send_to(&sent, target).unwrap(), sent.len());
    for datagram in sent.chunks(size) {
        let mut buffer = vec![0; 2 * size];
        let n = receiver.recv(&mut buffer).expect("every datagram arrives");
        assert!(buffer[..n] == *datagram);
    }
}

fn everything_arrives(framing: Framing, how: How) {
    let lab = Lab::new(framing, how);
    let [one, two] = &lab.stations;
    for (n, station) in [one, two].into_iter().enumerate() {
        station.ip(&format!("addr add fd00::{}/64 dev eth0 nodad", n + 1));
    }
    ping(one, TWO);
    // Neither a multiple of a segment nor of a word.
    for address in ["10.0.0.2", "fd00::2"] {
        let rate = tcp(one, two, address.parse().unwrap(), 16 * MIB + 12_345);
        eprintln!("{framing:?}, {how:?}, {address}: {rate:.2} Gbit/s");
    }
    for (size, octets) in [(1400, 29 * 1400 - 100), (1399, 11 * 1399), (333, 20 * 333 + 1)] {
        datagrams(&lab, size, octets);
    }
    let (up, down) = (lab.bridge.stats(PortId(0)), lab.bridge.stats(PortId(1)));
    assert_eq!(up.rx_super_frames > 100, how == How::Whole, "{up:?}");
    assert_eq!((up.rx_bad_channel, up.rx_unreadable, down.tx_too_long, down.tx_refused), (0, 0, 0, 0));
}

#[test]
fn super_frames_keep_whole_behind_an_e_tag() {
    everything_arrives(Framing::Etag, How::Whole);
}

#[test]
fn super_frames_keep_whole_behind_a_vn_tag() {
    everything_arrives(Framing::Vntag, How::Whole);
}

#[test]
fn super_frames_are_cut_behind_tags() {
    everything_arrives(Framing::Etag, How::Cut);
    everything_arrives(Framing::Vntag, How::Cut);
}

#[test]
fn frames_by_e_channels_go_by_af_xdp() {
    everything_arrives(Framing::Etag, How::Xdp);
    everything_arrives(Framing::Vntag, How::Xdp);
}

/// A network card, and what passes for one, would cut super-frames as if there was no tag.
#[test]
fn other_links_get_frames_that_are_cut() {
    let ns = Ns::new();
    let _tap = ns.tap("t0");
    let why = ns.run(|| {
        let tags = Some(ChannelTags { framing: Framing::Etag, down: true, ingress_form: false });
        let group = PacketPort::open_group("t0", &Options { tags, ..Options::default() }, 2).unwrap();
        group.iter().map(|port| port.super_frames().unwrap().unwrap_err().to_owned()).collect::<Vec<_>>()
    });
    assert_eq!(why, vec!["driver tun would cut them as if they had no tag"; 2]);
}
