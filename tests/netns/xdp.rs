//! Ports on AF_XDP: whole daemons, the same frames as on packet sockets, and what is left and said when it cannot be.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    time::Instant,
};

use carrier::{Batch, Options, PacketPort, XdpOptions, XdpPort};
use ether::{EtherType, MacAddr, Tag, frame::build};
use evb_tests::{
    evbd_program,
    netns::{Netns, event, eventually, inside, table, wire},
};
use evbd::api::{Client, Table};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::Value;

use crate::{PATIENCE, hearing::socket, says};

/// A station with two VSIs whose ports are all of this carrier.
fn station_config(carrier: &str) -> String {
    let mut text = format!(
        "role = \"station\"\n[relay]\nworkers = 2\n\
         [[port]]\ninterface = \"s0\"\nkind = \"uplink\"\ncarrier = \"{carrier}\"\n"
    );
    for n in 1..=2 {
        text += &format!(
            "[[vsi]]\nname = \"vm{n}\"\ninterface = \"vm{n}\"\nid = \"a0000000-0000-4000-8000-00000000000{n}\"\n\
             type = 5\nversion = 1\nmac = \"52:54:00:00:00:0{n}\"\ncarrier = \"{carrier}\"\n"
        );
    }
    text
}

fn bridge_config(carrier: &str) -> String {
    format!(
        "role = \"bridge\"\n[[port]]\ninterface = \"b0\"\nkind = \"station\"\ncarrier = \"{carrier}\"\n\
         [[port]]\ninterface = \"l0\"\nkind = \"lan\"\nuntagged = 100\ncarrier = \"{carrier}\"\n\
         [[profile]]\nname = \"p\"\ntype = 5\nversion = 1\nvlans = [100]\n"
    )
}

/// A namespace with this address on eth0, at the other end of `interface` in `host`.
fn guest(host: &Netns, interface: &str, n: u8) -> Netns {
    let guest = Netns::new(interface);
    wire(host, interface, &guest, "eth0");
    guest.run("ip", &["link", "set", "eth0", "address", &format!("52:54:00:00:00:0{n}")]);
    guest.run("ip", &["addr", "add", &format!("192.0.2.{n}/24"), "dev", "eth0"]);
    guest
}

fn ping(from: &Netns, n: u8) -> bool {
    let address = format!("192.0.2.{n}");
    let program = evbd_program!().display().to_string();
    let said =
        from.attempt(&program, &["lab-probe", "ping", &address, "--timeout-ms", "200", "--count", "1"]);
    let result: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}"));
    result["answered"].as_u64() == Some(1)
}

/// Pings until an answer comes.
fn reach(from: &Netns, n: u8) {
    let deadline = Instant::now() + PATIENCE;
    while !ping(from, n) {
        assert!(Instant::now() < deadline, "no answer of 192.0.2.{n}");
    }
}

/// Sends a known stream by TCP to 192.0.2.`n` and compares what arrives.
fn tcp(from: &Netns, to: &Netns, n: u8) {
    let address = Ipv4Addr::new(192, 0, 2, n);
    let listener = inside(to, || TcpListener::bind((address, 0)).unwrap());
    let target = listener.local_addr().unwrap();
    let sent: Vec<u8> = (0..STREAM).map(|at| (at * 31 % 251).to_le_bytes()[0]).collect();
    let mut got = Vec::new();
    std::thread::scope(|scope| {
        let mut out = inside(from, || TcpStream::connect_timeout(&target, PATIENCE).expect("a connection"));
        let sent = &sent;
        scope.spawn(move || out.write_all(sent).expect("sent"));
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.read_to_end(&mut got).expect("received");
    });
    assert!(got == sent, "{} of {} octets, or others", got.len(), sent.len());
}

/// The daemon has so many VSIs, each open.
async fn open(client: &Client, count: usize) {
    let all = |rows: &[Value]| rows.len() == count && rows.iter().all(|row| says(row, "gate") == "open");
    table(client, Table::Vsi, PATIENCE, all).await;
}

/// All ports are up and of this carrier.
async fn carried(client: &Client, carrier: &str) {
    let all = |rows: &[Value]| rows.iter().all(|row| says(row, "carrier") == carrier);
    table(client, Table::Ports, PATIENCE, all).await;
}

/// XDP programs on the interfaces of a namespace.
fn programs(netns: &Netns) -> usize {
    netns.run("ip", &["-o", "link", "show"]).matches("prog/xdp").count()
}

#[tokio::test]
async fn vsis_live_on_xdp_ports_and_nothing_is_left_of_a_killed_daemon() {
    let (mut station, mut bridge) = (Netns::new("station"), Netns::new("bridge"));
    wire(&station, "s0", &bridge, "b0");
    let (one, two) = (guest(&station, "vm1", 1), guest(&station, "vm2", 2));
    let lan = guest(&bridge, "l0", 9);
    let (mut at_bridge, mut peer) = bridge.evbd(evbd_program!(), &bridge_config("xdp")).await;
    let (at_station, evbd) = station.evbd(evbd_program!(), &station_config("xdp")).await;
    for (client, carrier) in [(&evbd, "xdp"), (&peer, "xdp")] {
        carried(client, carrier).await;
        open(client, 2).await;
    }
    // Probes come back through the uplink's program, so that VMs meet by way of the bridge.
    event(&evbd, "proven", PATIENCE, |e| says(e, "event") == "probe" && says(e, "state") == "proven").await;
    reach(&one, 2);
    reach(&one, 9);
    tcp(&one, &two, 2);
    tcp(&lan, &one, 1);
    tcp(&two, &lan, 9);
    let rows = evbd.show(Table::Ports).await.unwrap();
    let finished: u64 = rows.iter().filter_map(|row| row["carrier_stats"]["rx_completed"].as_u64()).sum();
    assert!(finished > 0, "the guests postpone checksums: {rows:#?}");
    assert!(rows.iter().all(|row| row["carrier_stats"]["rx_unfinished"] == 0), "{rows:#?}");
    assert_eq!((programs(&station), programs(&bridge)), (3, 2));

    // The one that comes after a killed one takes over.
    bridge.kill(at_bridge);
    eventually("no program", PATIENCE, || programs(&bridge).to_string(), |count| count == "0");
    (at_bridge, peer) = bridge.evbd(evbd_program!(), &bridge_config("packet")).await;
    carried(&peer, "packet").await;
    reach(&one, 9);
    tcp(&one, &lan, 9);
    bridge.kill(at_bridge);
    station.kill(at_station);
    for netns in [&station, &bridge] {
        eventually("no program", PATIENCE, || programs(netns).to_string(), |count| count == "0");
    }
}

#[tokio::test]
async fn an_xdp_port_outlives_its_interface_and_its_link() {
    let (mut station, mut bridge) = (Netns::new("station"), Netns::new("bridge"));
    wire(&station, "s0", &bridge, "b0");
    let (one, _two) = (guest(&station, "vm1", 1), guest(&station, "vm2", 2));
    let mut lan = guest(&bridge, "l0", 9);
    let config = bridge_config("xdp");
    let (_, peer) = bridge.evbd(evbd_program!(), &config).await;
    let (_, evbd) = station.evbd(evbd_program!(), &station_config("auto")).await;
    carried(&evbd, "packet").await;
    open(&peer, 2).await;
    reach(&one, 9);
    // Gone and back, while the other port goes on.
    bridge.run("ip", &["link", "del", "l0"]);
    event(&peer, "absent", PATIENCE, |e| says(e, "event") == "link_absent").await;
    drop(lan);
    lan = guest(&bridge, "l0", 9);
    carried(&peer, "xdp").await;
    reach(&one, 9);
    // Without link, then down, and each time up again.
    for (netns, interface) in [(&lan, "eth0"), (&bridge, "l0"), (&bridge, "l0")] {
        netns.run("ip", &["link", "set", interface, "down"]);
        let down = |rows: &[Value]| rows.iter().any(|row| says(row, "link") == "down");
        table(&peer, Table::Ports, PATIENCE, down).await;
        netns.run("ip", &["link", "set", interface, "up"]);
        carried(&peer, "xdp").await;
        reach(&one, 9);
    }
    // Down and up before anybody has looked.
    for _ in 0..3 {
        bridge.run("ip", &["link", "set", "l0", "down"]);
        bridge.run("ip", &["link", "set", "l0", "up"]);
        reach(&one, 9);
    }
    // The other carrier, asked for at run time.
    for (before, after, carrier) in [("xdp", "auto", "packet"), ("auto", "xdp", "xdp")] {
        rewrite(&bridge, &format!("carrier = \"{before}\""), &format!("carrier = \"{after}\""));
        peer.reload().await.unwrap();
        carried(&peer, carrier).await;
        reach(&one, 9);
    }
    let rows = peer.show(Table::Ports).await.unwrap();
    assert!(rows.iter().all(|row| row.get("fault").is_none()), "{rows:#?}");
}

#[tokio::test]
async fn where_it_cannot_be_the_port_says_why() {
    let (mut host, other) = (Netns::new("host"), Netns::new("other"));
    let _peers = [guest(&host, "b0", 1), guest(&host, "big", 2), guest(&host, "held", 3)];
    host.run("ip", &["link", "set", "big", "mtu", "9000"]);
    wire(&host, "under", &other, "x0");
    host.run("ip", &["link", "add", "link", "under", "name", "mvt0", "type", "macvtap", "mode", "vepa"]);
    host.run("ip", &["link", "set", "mvt0", "up"]);
    let holder = inside(&host, || XdpPort::open("held", XdpOptions::default()).unwrap());
    let config = |carrier: &str| {
        let port = |interface| {
            format!(
                "[[port]]\ninterface = \"{interface}\"\nkind = \"lan\"\nuntagged = 1\ncarrier = \"{carrier}\"\n"
            )
        };
        format!("role = \"bridge\"\n{}", ["b0", "big", "mvt0", "held"].map(port).concat())
    };
    let (_, evbd) = host.evbd(evbd_program!(), &config("xdp")).await;
    let told = |rows: &[Value]| rows.iter().filter(|row| row.get("fault").is_some()).count() == 3;
    let rows = table(&evbd, Table::Ports, PATIENCE, told).await;
    assert_eq!((says(&rows[0], "carrier"), says(&rows[0], "carrier_because")), ("xdp", "asked for"));
    for (row, words) in rows.iter().skip(1).zip([
        "MTU 9000 is more than the 1770 octets that fit",
        "driver macvlan hands over frames of up to 64 KiB",
        "another XDP program is there",
    ]) {
        assert!(row["carrier"].is_null() && says(row, "fault").contains(words), "{row:#}");
    }
    // What is asked of a port that is refused changes nothing, and is not asked again and again.
    let log = std::fs::read_to_string(host.file("evbd.log")).unwrap();
    assert!(!log.contains("were lost"), "{log}");
    // A lower MTU is heard of, and helps.
    host.run("ip", &["link", "set", "big", "mtu", "1500"]);
    table(&evbd, Table::Ports, PATIENCE, |rows| says(&rows[1], "carrier") == "xdp").await;
    // Whoever held it lets go.
    drop(holder);
    host.run("ip", &["link", "set", "held", "down"]);
    table(&evbd, Table::Ports, PATIENCE, |rows| says(&rows[3], "link") == "down").await;
    host.run("ip", &["link", "set", "held", "up"]);
    table(&evbd, Table::Ports, PATIENCE, |rows| says(&rows[3], "carrier") == "xdp").await;

    // And where nothing is asked for, the other carrier does it, and why.
    rewrite(&host, "carrier = \"xdp\"", "carrier = \"auto\"");
    evbd.reload().await.unwrap();
    carried(&evbd, "packet").await;
    let rows = evbd.show(Table::Ports).await.unwrap();
    for (row, words) in rows.iter().zip(["no zero copy", "no zero copy", "up to 64 KiB", "no zero copy"]) {
        let because = says(row, "carrier_because");
        assert!(because.contains(words) && row.get("fault").is_none(), "{row:#}");
    }
}

/// Replaces a piece of the daemon's configuration.
fn rewrite(netns: &Netns, from: &str, to: &str) {
    let file = netns.file("evbd.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace(from, to)).unwrap();
}

/// What comes out at a host: tag, addresses, and the rest of each frame.
type Seen = Vec<(Option<Tag>, [u8; 12], Vec<u8>)>;

#[tokio::test]
async fn the_same_frames_come_out_whatever_carries_them() {
    let packet = outcome(["packet"; 3]).await;
    let counts = packet.each_ref().map(Vec::len);
    assert!(counts.iter().all(|count| *count > 300), "{counts:?}");
    for carriers in [["xdp"; 3], ["xdp", "packet", "xdp"]] {
        let other = outcome(carriers).await;
        for (host, (packet, other)) in packet.iter().zip(&other).enumerate() {
            let (packet, other) = (sorted(packet), sorted(other));
            let first = packet.iter().zip(&other).find(|(a, b)| a != b);
            assert_eq!((first, packet.len()), (None, other.len()), "host {host}, {carriers:?}");
        }
    }
}

/// Frames in an order of their own: those that came with different tags may overtake each other, and what they came with
/// is not to be seen any more.
fn sorted(seen: &Seen) -> Seen {
    let mut seen = seen.clone();
    seen.sort_by_cached_key(|(tag, addresses, rest)| (tag.map(Tag::to_bytes), *addresses, rest.clone()));
    seen
}

/// Sends a set of frames into each port of a bridge; what comes out at the hosts behind them.
async fn outcome(carriers: [&str; 3]) -> [Seen; 3] {
    let mut switch = Netns::new("switch");
    let hosts = ["p0", "p1", "p2"].map(|port| {
        let host = Netns::new(port);
        // So that nothing is sent but by us.
        host.run("sysctl", &["-qw", "net.ipv6.conf.default.disable_ipv6=1"]);
        wire(&switch, port, &host, "eth0");
        host
    });
    let vlans = [
        "untagged = 1\ntagged = [100, 101]",
        "untagged = 1\ntagged = [101]",
        "untagged = 100\ntagged = [101]",
    ];
    let mut config = "role = \"bridge\"\n[relay]\nworkers = 1\n".to_owned();
    for (n, (vlans, carrier)) in vlans.iter().zip(carriers).enumerate() {
        config +=
            &format!("[[port]]\ninterface = \"p{n}\"\nkind = \"lan\"\n{vlans}\ncarrier = \"{carrier}\"\n");
    }
    let (_, evbd) = switch.evbd(evbd_program!(), &config).await;
    for (at, carrier) in carriers.iter().enumerate() {
        table(&evbd, Table::Ports, PATIENCE, |rows| says(&rows[at], "carrier") == *carrier).await;
    }
    let mut taps =
        hosts.each_ref().map(|host| inside(host, || PacketPort::open("eth0", &Options::default()).unwrap()));
    let senders = hosts.each_ref().map(|host| socket(host, "eth0", EtherType(0x88b6)));
    let mut seen = [Seen::new(), Seen::new(), Seen::new()];
    let (mut random, mut batch) = (StdRng::seed_from_u64(7), Batch::new());
    for burst in 0..BURSTS {
        let from = burst % 3;
        for _ in 0..BURST {
            senders[from].send(&frame(&mut random, from)).unwrap();
        }
        // In VLAN 101 everybody hears, and what comes behind the others comes last.
        let payload = [&[0x80, 0x65, 0x88, 0xb6], &burst.to_be_bytes()[..]].concat();
        senders[from].send(&build(MacAddr::broadcast(), own(from, 0), EtherType::C_VLAN, &payload)).unwrap();
        for (host, tap) in taps.iter_mut().enumerate().filter(|(host, _)| *host != from) {
            let deadline = Instant::now() + PATIENCE;
            let is_last = |frame: &(Option<Tag>, [u8; 12], Vec<u8>)| frame.2.starts_with(&payload[2..]);
            while !seen[host].last().is_some_and(is_last) {
                assert!(Instant::now() < deadline, "burst {burst} does not end at host {host}");
                tap.receive(&mut batch).unwrap();
                let ours = batch.frames().flatten().filter(|frame| frame.addresses[6..].starts_with(&OURS));
                seen[host].extend(ours.map(|frame| (frame.tag, *frame.addresses, frame.rest.to_vec())));
            }
        }
    }
    seen
}

/// Some frame of one of the stations behind host `from`.
fn frame(random: &mut StdRng, from: usize) -> Vec<u8> {
    let to = match random.random_range(0..8) {
        0 => MacAddr::broadcast(),
        1 => MacAddr(1, 0, 0x5e, 1, 2, random.random_range(0..4)),
        2 => MacAddr(0x33, 0x33, 0, 0, 0, random.random_range(0..4)),
        3 => MacAddr(0x52, 0x54, 0, 9, 9, random.random()),
        _ => own(random.random_range(0..3), random.random_range(0..4)),
    };
    let mut payload = vec![0; *[0, 1, 30, 46, 100, 1000, 1486].choose(random).expect("some")];
    random.fill(payload.as_mut_slice());
    let mut ethertype = *[0x0800, 0x86dd, 0x0806, 0x88b6, 0x9000, 200].choose(random).expect("some");
    if ethertype == 0x0800 && payload.len() > 40 {
        // UDP or TCP, its checksum whatever it is: no packet socket looks at it.
        let len = u16::try_from(payload.len()).unwrap().to_be_bytes();
        payload[..10].copy_from_slice(&[
            0x45,
            0,
            len[0],
            len[1],
            0,
            1,
            0,
            0,
            64,
            [6, 17][random.random_range(0..2)],
        ]);
    }
    for _ in 0..random.random_range(0..3) {
        let vid = *[0_u16, 1, 100, 101, 200, 4095].choose(random).expect("some");
        let tci = vid | u16::from(random.random_range(0..8_u8)) << 13;
        payload.splice(..0, [tci, ethertype].into_iter().flat_map(u16::to_be_bytes));
        ethertype = *[0x8100, 0x8100, 0x8100, 0x88a8].choose(random).expect("some");
    }
    build(to, own(from, random.random_range(0..4)), EtherType(ethertype), &payload)
}

/// A station behind a host.
fn own(host: usize, station: u8) -> MacAddr {
    let [a, b, c] = OURS;
    MacAddr(a, b, c, 1, u8::try_from(host).unwrap(), station)
}

/// A Linux bridge takes a tag off what it receives and hands it on beside the frame.
#[tokio::test]
async fn tags_kept_beside_frames_are_seen_and_given_back() {
    let (mut one, kernel, mut two) = (Netns::new("one"), Netns::new("kernel"), Netns::new("two"));
    let hosts = [guest(&one, "l0", 1), guest(&two, "l0", 2)];
    kernel.run("ip", &["link", "add", "br0", "type", "bridge"]);
    kernel.run("ip", &["link", "set", "br0", "up"]);
    for (switch, port) in [(&one, "k1"), (&two, "k2")] {
        wire(switch, "k0", &kernel, port);
        kernel.run("ip", &["link", "set", port, "master", "br0"]);
    }
    let config = "role = \"bridge\"\n\
        [[port]]\ninterface = \"k0\"\nkind = \"lan\"\ntagged = [100]\ncarrier = \"xdp\"\n\
        [[port]]\ninterface = \"l0\"\nkind = \"lan\"\nuntagged = 100\ncarrier = \"xdp\"\n";
    let (_, a) = one.evbd(evbd_program!(), config).await;
    let (_, b) = two.evbd(evbd_program!(), config).await;
    for client in [&a, &b] {
        carried(client, "xdp").await;
    }
    reach(&hosts[0], 2);
    tcp(&hosts[0], &hosts[1], 2);
    tcp(&hosts[1], &hosts[0], 1);
}

const STREAM: u32 = 8 << 20;
const BURSTS: usize = 120;
const BURST: usize = 40;
/// First half of the addresses of stations that are sent from.
const OURS: [u8; 3] = [0x52, 0x54, 0];
