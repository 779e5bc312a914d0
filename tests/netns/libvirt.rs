//! libvirt's part of 802.1Qbg against a daemon: a small client that sends and expects what libvirt does, octet by octet,
//! and each thing lldpad gets wrong.

use std::{
    collections::HashMap,
    io::ErrorKind,
    process::Command,
    time::{Duration, Instant},
};

use ether::{MacAddr, mac};
use evb_tests::{
    evbd_program,
    netns::{Netns, event, inside, table, wire},
};
use evbd::api::{Client, Table};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use serde_json::Value;

use crate::{PATIENCE, says};

const PREASSOCIATE: u8 = 0;
const ASSOCIATE: u8 = 2;
const DISASSOCIATE: u8 = 3;

/// A namespace with a station that serves libvirt and with what of libvirtd speaks netlink, and another for its bridge.
struct Bed {
    host: Netns,
    tor: Netns,
    /// The socket libvirtd hears on, of a process of that name.
    events: Socket,
    port: u32,
    ifindex: u32,
}

impl Bed {
    /// libvirtd hears on port `high` · 2^22 + its process.
    fn new(high: u32) -> Self {
        let (mut host, tor) = (Netns::new("host"), Netns::new("tor"));
        wire(&host, "s0", &tor, "b0");
        let program = host.file("libvirtd");
        std::fs::copy("/bin/sleep", &program).expect("a copy");
        let mut command = Command::new(&program);
        command.arg("600");
        let place = host.spawn(command);
        let port = high << 22 | host.pid(place);
        let events = inside(&host, || bound(port));
        let index: Value =
            serde_json::from_str(&host.run("ip", &["-j", "link", "show", "s0"])).expect("JSON");
        let ifindex = u32::try_from(index[0]["ifindex"].as_u64().expect("a number")).unwrap();
        Self { host, tor, events, port, ifindex }
    }

    async fn station(&mut self) -> (usize, Client) {
        let file = self.host.file("lldpad.pid");
        let config = format!(
            "role = \"station\"\nname = \"host\"\n[evb]\nmode = \"vepa\"\nresource_wait_exponent = 17\n\
             keep_alive_exponent = 17\n[relay]\nspare_ports = 1024\n[libvirt]\nnetlink = true\npid_file = \"{}\"\n\
             [[port]]\ninterface = \"s0\"\nkind = \"uplink\"\ndatapath = \"kernel\"\n",
            file.display()
        );
        let before = std::fs::read_to_string(&file).ok();
        let (place, client) = self.host.evbd(evbd_program!(), &config).await;
        let deadline = Instant::now() + PATIENCE;
        while std::fs::read_to_string(&file).ok() == before {
            assert!(Instant::now() < deadline, "no pid file");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        (place, client)
    }

    async fn bridge(&mut self) -> (usize, Client) {
        let config = "role = \"bridge\"\nname = \"tor\"\n[evb]\nresource_wait_exponent = 17\nkeep_alive_exponent = 17\n\
             [[port]]\ninterface = \"b0\"\nkind = \"station\"\n[[profile]]\nname = \"lab\"\ntype = 1193047\nversion = 2\n\
             manager = \"0x0b000000000000000000000000000000\"\nvlans = [100]\n";
        self.tor.evbd(evbd_program!(), config).await
    }

    fn macvtap(&self, n: u16) {
        let (name, mac) = (format!("macvtap{n}"), address(n).to_string());
        self.host.run(
            "ip",
            &["link", "add", "link", "s0", "name", &name, "address", &mac, "type", "macvtap", "mode", "vepa"],
        );
        self.host.run("ip", &["link", "set", &name, "up"]);
    }

    fn number(&self) -> u32 {
        let text = std::fs::read_to_string(self.host.file("lldpad.pid")).expect("the pid file");
        assert!(text.ends_with('\n') && text.len() <= 10, "what libvirt reads: {text:?}");
        text.trim().parse().expect("a number")
    }

    /// Sends a request from a socket of its own, as libvirt does.
    fn send(&self, message: &[u8]) -> Socket {
        let socket = inside(&self.host, || bound(0));
        socket.send_to(message, &SocketAddr::new(self.number(), 0), 0).expect("the daemon is there");
        socket
    }

    /// What SETLINK is answered with: an error number, 0 for none.
    fn set(&self, n: u16, command: u8) -> i32 {
        let sent = self.setlink(n, command);
        let answer = receive(&self.send(&sent), ANSWER).expect("an answer within two seconds");
        assert_eq!((answer.len(), &answer[4..6]), (36, &2_u16.to_ne_bytes()[..]), "{answer:?}");
        assert_eq!((&answer[8..16], &answer[20..36]), (&sent[8..16], &sent[..16]));
        i32::from_ne_bytes(answer[16..20].try_into().unwrap())
    }

    /// What GETLINK says of each VSI: its status, or nothing while it is in progress.
    fn get(&self) -> HashMap<[u8; 16], Option<u16>> {
        let mut poll = vec![0x28, 0, 0, 0, 0x12, 0, 5, 0, 1, 0, 0, 0];
        poll.extend_from_slice(&self.port.to_ne_bytes());
        poll.extend_from_slice(&[0; 4]);
        poll.extend_from_slice(&self.ifindex.to_ne_bytes());
        poll.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 29, 0, 1, 0, 0, 0]);
        let answer = receive(&self.send(&poll), ANSWER).expect("an answer within two seconds");
        assert_eq!(answer[4..6], 3_u16.to_ne_bytes(), "{answer:?}");
        let mut vsis = HashMap::new();
        let mut rest = &answer[36..];
        while let Some(length) = rest.first_chunk().map(|octets| usize::from(u16::from_ne_bytes(*octets))) {
            let status = (length == 40).then(|| u16::from_ne_bytes([rest[36], rest[37]]));
            assert_eq!(rest[28..32], [0xff; 4]);
            vsis.insert(rest[8..24].try_into().unwrap(), status);
            rest = &rest[length..];
        }
        vsis
    }

    /// The status of a VSI as soon as it has one.
    fn settled(&self, n: u16, patience: Duration) -> Option<u16> {
        let deadline = Instant::now() + patience;
        loop {
            let status = *self.get().get(&uuid(n)).expect("libvirt calls it an error if its VSI is missing");
            if status.is_some() || Instant::now() > deadline {
                return status;
            }
            std::thread::sleep(Duration::from_millis(125));
        }
    }

    /// The address and octets of what libvirt is told unasked.
    fn told(&self, patience: Duration) -> Option<(MacAddr, Vec<u8>)> {
        // Of other kinds libvirt takes no notice.
        let message = std::iter::from_fn(|| receive(&self.events, patience))
            .find(|m| m[4..6] == 19_u16.to_ne_bytes())?;
        assert_eq!(message[12..16], self.number().to_ne_bytes(), "libvirt compares it with the pid file");
        let at = if message.len() == 96 { 48 } else { 56 };
        let address: [u8; 6] = message[at..at + 6].try_into().unwrap();
        Some((MacAddr::from(address), message))
    }

    fn setlink(&self, n: u16, command: u8) -> Vec<u8> {
        let digits = "9c00000013000500ffee006b480b401900000000030000000000000000000000\
            0a000300733000000000000040001680\
            3c00018028000100ffffffff525400e6b0010000000000000000000000000000000000000000000000000000\
            10000200ffffffff000000000000000030001880\
            2c0001800c0003000b573412020000001400040009b11c538b5c4eeb8f00d84eaa0aaa4f0500060002000000";
        let digit = |c: u8| u8::try_from(char::from(c).to_digit(16).unwrap()).unwrap();
        let digits: Vec<u8> = digits.bytes().map(digit).collect();
        let mut octets: Vec<u8> = digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        octets[12..16].copy_from_slice(&self.port.to_ne_bytes());
        octets[20..24].copy_from_slice(&self.ifindex.to_ne_bytes());
        octets[60..66].copy_from_slice(&address(n).octets());
        octets[132..148].copy_from_slice(&uuid(n));
        octets[152] = command;
        octets
    }
}

fn bound(port: u32) -> Socket {
    let mut socket = Socket::new(NETLINK_ROUTE).expect("a socket");
    match port {
        0 => drop(socket.bind_auto().expect("a port")),
        port => socket.bind(&SocketAddr::new(port, 0)).expect("the port is free"),
    }
    socket.set_non_blocking(true).expect("a socket");
    socket
}

fn receive(socket: &Socket, patience: Duration) -> Option<Vec<u8>> {
    let deadline = Instant::now() + patience;
    let mut buffer = Vec::with_capacity(1 << 16);
    loop {
        match socket.recv_from(&mut buffer, 0) {
            Ok(_) => return Some(buffer),
            Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_micros(200));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
            Err(error) => panic!("{error}"),
        }
    }
}

fn address(n: u16) -> MacAddr {
    mac::from_u64(0x5254_00e6_0000 + u64::from(n))
}

fn uuid(n: u16) -> [u8; 16] {
    let mut octets = *b"\x09\xb1\x1c\x53\x8b\x5c\x4e\xeb\x8f\x00\xd8\x4e\xaa\x0a\x00\x00";
    octets[14..].copy_from_slice(&n.to_be_bytes());
    octets
}

fn id(n: u16) -> String {
    format!("09b11c53-8b5c-4eeb-8f00-d84eaa0a{n:04x}")
}

fn order(n: u16) -> evbd::VsiOrder {
    serde_json::from_value(serde_json::json!({ "command": "de_associate", "vsi": { "known": id(n) } }))
        .unwrap()
}

/// Longer libvirt does not wait without a complaint.
const ANSWER: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_guest_starts_before_its_bridge_and_stops_without_waiting() {
    let mut bed = Bed::new(100);
    let (_, station) = bed.station().await;
    bed.macvtap(1);
    // lldpad: -93, and libvirt never asks again.
    assert_eq!(bed.set(1, ASSOCIATE), 0);
    assert_eq!(bed.settled(1, Duration::from_millis(500)), None, "in progress");
    let uplink = std::mem::replace(&mut bed.ifindex, 1);
    assert_eq!(bed.set(2, ASSOCIATE), -19, "no uplink");
    bed.ifindex = uplink;
    let (_, bridge) = bed.bridge().await;
    assert_eq!(bed.settled(1, Duration::from_secs(9)), Some(0));
    let rows = station.show(Table::Libvirt).await.unwrap();
    assert_eq!((says(&rows[0], "id"), says(&rows[0], "outcome")), (id(1).as_str(), "done"));
    let vsis = bridge.show(Table::Vsi).await.unwrap();
    assert_eq!(says(&vsis[0], "id"), id(1));
    let ports = station.show(Table::Ports).await.unwrap();
    let tap = ports.iter().find(|port| says(port, "port") == "macvtap1").expect("its macvtap");
    assert_eq!(says(tap, "carrier"), "kernel", "{tap:#}");
    assert_eq!(bed.set(1, DISASSOCIATE), 0);
    assert_eq!(bed.settled(1, Duration::ZERO), Some(0), "a stop does not wait");
    table(&bridge, Table::Vsi, PATIENCE, <[Value]>::is_empty).await;
    // lldpad: -19 for one nobody knows, and a withdrawal of what libvirt has ended itself.
    assert_eq!(bed.set(7, DISASSOCIATE), 0);
    assert_eq!(bed.settled(7, Duration::ZERO), Some(0));
    assert_eq!(bed.told(Duration::from_millis(500)), None);
}

#[tokio::test]
async fn every_withdrawal_is_told_and_a_lost_bridge_too() {
    let mut bed = Bed::new(100);
    let (_, station) = bed.station().await;
    let (place, bridge) = bed.bridge().await;
    bed.macvtap(1);
    assert_eq!(bed.set(1, PREASSOCIATE), 0);
    assert_eq!(bed.settled(1, Duration::from_secs(9)), Some(0));
    assert_eq!(bed.set(1, ASSOCIATE), 0);
    assert_eq!(bed.settled(1, Duration::from_secs(9)), Some(0));
    // lldpad: only the first, because libvirt does not ask for the outcome of what it then asks.
    for _ in 0..2 {
        bridge.order(&order(1)).await.unwrap();
        let (mac, message) = bed.told(PATIENCE).expect("a withdrawal");
        assert_eq!((mac, message.len()), (address(1), 160));
        assert_eq!(bed.set(1, ASSOCIATE), 0);
        table(&bridge, Table::Vsi, PATIENCE, |rows| !rows.is_empty()).await;
        let associated = |rows: &[Value]| says(&rows[0], "outcome") == "done";
        table(&station, Table::Libvirt, PATIENCE, associated).await;
    }
    // lldpad: nothing, when the bridge does not answer any more.
    bed.tor.kill(place);
    let (mac, _) = bed.told(PATIENCE).expect("a keep-alive is not answered");
    assert_eq!(mac, address(1));
    assert_eq!(bed.set(1, ASSOCIATE), 0);
    // lldpad: -19 until it is started anew.
    let (_, bridge) = bed.bridge().await;
    assert_eq!(bed.settled(1, PATIENCE), Some(0));
    // A start that failed: libvirt removes the interface and says nothing.
    bed.host.run("ip", &["link", "del", "macvtap1"]);
    table(&bridge, Table::Vsi, PATIENCE, <[Value]>::is_empty).await;
    // A type nobody knows is refused at once, with VDP's code.
    let mut unknown = bed.setlink(3, ASSOCIATE);
    unknown[124] = 9;
    assert_eq!(receive(&bed.send(&unknown), ANSWER).unwrap()[16..20], [0; 4]);
    assert_eq!(bed.settled(3, Duration::from_secs(5)), Some(4));
}

#[tokio::test]
async fn a_killed_daemon_leaves_nobody_waiting() {
    let mut bed = Bed::new(100);
    let (place, _station) = bed.station().await;
    let (_, bridge) = bed.bridge().await;
    bed.macvtap(1);
    bed.macvtap(2);
    assert_eq!(bed.set(1, ASSOCIATE), 0);
    assert_eq!(bed.settled(1, Duration::from_secs(9)), Some(0));
    bed.host.kill(place);
    // libvirtd waits for an answer that does not come: its socket stays.
    let stuck = inside(&bed.host, || bound(bed.port + (1 << 22)));
    let (_, station) = bed.station().await;
    assert_eq!(bed.settled(1, PATIENCE), Some(0), "as before");
    let answer = receive(&stuck, Duration::from_secs(5)).expect("an answer");
    assert_eq!((answer.len(), &answer[4..6]), (36, &2_u16.to_ne_bytes()[..]));
    assert!(i32::from_ne_bytes(answer[16..20].try_into().unwrap()) < 0, "a request that is lost has failed");
    drop(stuck);
    // Of the other macvtap nothing is known but its address; libvirt may know more.
    loop {
        let (mac, message) = bed.told(PATIENCE).expect("a question");
        if message.len() == 96 {
            assert_eq!(mac, address(2));
            break;
        }
    }
    assert_eq!(bed.set(2, ASSOCIATE), 0);
    table(&bridge, Table::Vsi, PATIENCE, |rows| rows.len() == 2).await;
    drop(station);
}

#[tokio::test]
async fn a_libvirtd_that_cannot_ask_is_named() {
    let mut bed = Bed::new(512);
    let (_, station) = bed.station().await;
    let deaf =
        event(&station, "a deaf libvirtd", PATIENCE, |event| says(event, "event") == "libvirt_deaf").await;
    assert_eq!(deaf["port"].as_u64(), Some(bed.port.into()));
    assert!(says(&deaf, "remedy").contains("restart libvirtd"), "{deaf}");
    let doctor = bed.host.attempt(&evbd_program!().display().to_string(), &["doctor", "s0"]);
    let told = doctor.contains("PROBLEM  libvirt") && doctor.contains(&bed.port.to_string());
    assert!(told, "{doctor}");
}

#[tokio::test]
async fn not_beside_lldpad() {
    let mut bed = Bed::new(100);
    let program = bed.host.file("lldpad");
    std::fs::copy("/bin/sleep", &program).expect("a copy");
    let mut command = Command::new(&program);
    command.arg("600");
    let place = bed.host.spawn(command);
    let pid_file = bed.host.file("lldpad.pid");
    std::fs::write(&pid_file, format!("{}\n", bed.host.pid(place))).unwrap();
    let config = bed.host.file("second.toml");
    let text = format!(
        "role = \"station\"\n[libvirt]\nnetlink = true\npid_file = \"{}\"\n[control]\nsocket = \"{}\"\n[state]\n\
         directory = \"off\"\n[[port]]\ninterface = \"s0\"\nkind = \"uplink\"\ndatapath = \"kernel\"\n",
        pid_file.display(),
        bed.host.file("second.sock").display()
    );
    std::fs::write(&config, text).unwrap();
    let said = bed
        .host
        .attempt(&evbd_program!().display().to_string(), &["run", "--config", &config.display().to_string()]);
    assert!(said.contains("lldpad, process") && said.contains("systemctl disable --now lldpad"), "{said}");
}

#[tokio::test]
async fn five_hundred_at_once() {
    const GUESTS: u16 = 500;
    let mut bed = Bed::new(100);
    let (_, station) = bed.station().await;
    let (_, bridge) = bed.bridge().await;
    table(&station, Table::Evb, PATIENCE, |rows| rows.iter().any(|row| says(row, "peer") == "present")).await;
    let began = Instant::now();
    let mut answered: Vec<Duration> = {
        let number = SocketAddr::new(bed.number(), 0);
        let sockets: Vec<Socket> = inside(&bed.host, || (0..GUESTS).map(|_| bound(0)).collect());
        let ask = |(n, socket): (u16, &Socket)| {
            let at = Instant::now();
            socket.send_to(&bed.setlink(n, ASSOCIATE), &number, 0).expect("the daemon is there");
            at
        };
        let sent: Vec<Instant> = (0..GUESTS).zip(&sockets).map(ask).collect();
        let answer = |(at, socket): (Instant, &Socket)| {
            assert_eq!(receive(socket, ANSWER).expect("an answer")[16..20], [0; 4]);
            at.elapsed()
        };
        sent.into_iter().zip(&sockets).map(answer).collect()
    };
    let all = |rows: &[Value]| rows.len() == usize::from(GUESTS);
    table(&bridge, Table::Vsi, PATIENCE, all).await;
    let done = |rows: &[Value]| all(rows) && rows.iter().all(|row| says(row, "outcome") == "done");
    table(&station, Table::Libvirt, PATIENCE, done).await;
    answered.sort();
    let at = |share: usize| answered[answered.len() * share / 100];
    println!(
        "{GUESTS} requests at once: answered after {:?} (half), {:?} (99 %), {:?} (all); associated after {:?}",
        at(50),
        at(99),
        answered.last().unwrap(),
        began.elapsed()
    );
    assert!(bed.get().values().all(|status| *status == Some(0)));
}
