//! What guests speak among themselves, in a VEPA whose bridge reflects: each a protocol that a group frame reflected to
//! its sender, doubled or lost would break.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    process::{Command, Stdio},
    time::Duration,
};

use evb_tests::{
    evbd_program,
    netns::{Netns, eventually, inside, table, wire},
};
use evbd::api::Table;
use serde_json::Value;

use super::{PATIENCE, says};

/// Two guests of one station and a host beyond the bridge, all in VLAN 100.
struct Place {
    one: Netns,
    two: Netns,
    far: Netns,
    _station: Netns,
    _bridge: Netns,
}

impl Place {
    /// The station's edge relay is a VEPA and both gates are open at both ends; `vsi` stands in each VSI's section, MAC for
    /// the guest's address.
    async fn new(vsi: &str) -> Self {
        let (mut station, mut bridge, far) = (Netns::new("station"), Netns::new("bridge"), Netns::new("far"));
        wire(&station, "s0", &bridge, "b0");
        wire(&bridge, "l0", &far, "eth0");
        let [one, two] = [1, 2].map(|n| {
            let guest = Netns::new(&format!("vm{n}"));
            wire(&station, &format!("vm{n}"), &guest, "eth0");
            guest.run("ip", &["link", "set", "eth0", "address", &mac(n)]);
            guest
        });
        for host in [&one, &two, &far] {
            // Else a kernel tells its own solicitation from another's by a nonce, and forgives what comes back.
            host.run("sysctl", &["-qw", "net.ipv6.conf.eth0.enhanced_dad=0"]);
        }
        let (_, tor) = bridge.evbd(evbd_program!(), BRIDGE).await;
        let (_, evbd) = station.evbd(evbd_program!(), &station_config(vsi)).await;
        table(&evbd, Table::Evb, PATIENCE, |rows| says(&rows[0], "relay") == "vepa").await;
        for client in [&evbd, &tor] {
            let open = |rows: &[Value]| rows.iter().filter(|row| says(row, "gate") == "open").count();
            table(client, Table::Vsi, PATIENCE, |rows| open(rows) == 2).await;
        }
        Self { one, two, far, _station: station, _bridge: bridge }
    }

    /// The hosts with the last octet of their addresses.
    fn hosts(&self) -> [(&Netns, u8); 3] {
        [(&self.one, 1), (&self.two, 2), (&self.far, 9)]
    }

    /// Gives each 192.0.2.n.
    fn number(&self) {
        for (host, n) in self.hosts() {
            host.run("ip", &["addr", "add", &format!("192.0.2.{n}/24"), "dev", "eth0"]);
        }
    }
}

fn station_config(vsi: &str) -> String {
    let mut text =
        "role = \"station\"\n[evb]\nmode = \"vepa\"\n[[port]]\ninterface = \"s0\"\nkind = \"uplink\"\n"
            .to_owned();
    for n in 1..=2 {
        text += &format!(
            "[[vsi]]\nname = \"vm{n}\"\ninterface = \"vm{n}\"\nid = \"a0000000-0000-4000-8000-00000000000{n}\"\n\
             type = 5\nversion = 1\n{}\n",
            vsi.replace("MAC", &mac(n))
        );
    }
    text
}

/// What a VSI lets pass: the guest's own address.
const NAMED: &str = "mac = \"MAC\"";

const BRIDGE: &str = "role = \"bridge\"\n[[port]]\ninterface = \"b0\"\nkind = \"station\"\n\
    [[port]]\ninterface = \"l0\"\nkind = \"lan\"\nuntagged = 100\n\
    [[profile]]\nname = \"lab\"\ntype = 5\nversion = 1\nvlans = [100]\n";

fn mac(n: u8) -> String {
    format!("52:54:00:00:00:0{n}")
}

/// Whether `from` gets an answer from `to`.
fn ping(from: &Netns, to: &str) -> bool {
    let run =
        from.command("ping").args(["-c", "3", "-i", "0.2", "-w", "3", to]).stdout(Stdio::null()).status();
    run.expect("ping runs").success()
}

/// What `ip` says of an IPv6 address of eth0, when the kernel has made up its mind about it.
fn decided(host: &Netns, address: &str) -> String {
    let show = || host.run("ip", &["-6", "addr", "show", "dev", "eth0", "to", address]);
    let word =
        |said: &str| said.contains(address) && (!said.contains("tentative") || said.contains("dadfailed"));
    eventually("duplicate address detection ends", PATIENCE, show, word)
}

#[tokio::test]
async fn arp_finds_guests_and_the_world() {
    let place = Place::new(NAMED).await;
    place.number();
    for (from, a) in place.hosts() {
        for (_, b) in place.hosts().into_iter().filter(|(_, b)| *b != a) {
            assert!(ping(from, &format!("192.0.2.{b}")), "{a} to {b}");
        }
    }
    // Nobody has heard somebody else under his own address.
    for (host, n) in place.hosts() {
        let neighbours = host.run("ip", &["neigh", "show", "dev", "eth0"]);
        assert!(!neighbours.contains(&format!("192.0.2.{n} ")), "{neighbours}");
    }
}

#[tokio::test]
async fn ipv6_detects_duplicates_and_only_duplicates() {
    let place = Place::new(NAMED).await;
    for (host, n) in place.hosts() {
        host.run("ip", &["-6", "addr", "add", &format!("2001:db8::{n}/64"), "dev", "eth0"]);
    }
    for (host, n) in place.hosts() {
        let said = decided(host, &format!("2001:db8::{n}"));
        assert!(!said.contains("dadfailed"), "{n} heard its own solicitation come back: {said}");
    }
    for (from, a) in place.hosts() {
        for (_, b) in place.hosts().into_iter().filter(|(_, b)| *b != a) {
            assert!(ping(from, &format!("2001:db8::{b}")), "{a} to {b}");
        }
    }
    // An address somebody has is found out: of the other guest, and of the host beyond.
    for taken in ["2001:db8::2", "2001:db8::9"] {
        place.one.run("ip", &["-6", "addr", "add", &format!("{taken}/64"), "dev", "eth0"]);
        let said = decided(&place.one, taken);
        assert!(said.contains("dadfailed"), "{taken} is taken: {said}");
    }
}

/// A member of the group on eth0 of `host`.
fn member(host: &Netns, n: u8, group: SocketAddr) -> UdpSocket {
    inside(host, || {
        let any: IpAddr =
            if group.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, group.port())).expect("a socket");
        match group.ip() {
            IpAddr::V4(group) => {
                let own = Ipv4Addr::new(192, 0, 2, n);
                socket.join_multicast_v4(&group, &own).expect("membership");
                socket.set_multicast_loop_v4(false).expect("no loop");
            }
            IpAddr::V6(group) => {
                let index = carrier::ifindex("eth0").expect("eth0");
                socket.join_multicast_v6(&group, index).expect("membership");
                socket.set_multicast_loop_v6(false).expect("no loop");
            }
        }
        socket
    })
}

/// What a member hears: `count` lines, and what comes soon after them.
fn heard(socket: &UdpSocket, count: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut buffer = [0; 1500];
    loop {
        let patience = if lines.len() < count { PATIENCE } else { Duration::from_millis(200) };
        socket.set_read_timeout(Some(patience)).expect("a timeout");
        match socket.recv(&mut buffer) {
            Ok(len) => {
                lines.push(String::from_utf8_lossy(buffer.get(..len).expect("what was read")).into_owned())
            }
            Err(_) => return lines,
        }
    }
}

/// mDNS and its like: every member hears every line once, and nobody his own.
#[tokio::test]
async fn groups_hear_every_line_once_and_nobody_himself() {
    let place = Place::new(NAMED).await;
    place.number();
    for (host, n) in place.hosts() {
        host.run("ip", &["-6", "addr", "add", &format!("2001:db8::{n}/64"), "dev", "eth0", "nodad"]);
        // mDNS has link scope; the IPv4 group goes by the route.
        host.run("ip", &["route", "add", "224.0.0.0/4", "dev", "eth0"]);
    }
    for group in ["224.0.0.251:5353", "[ff02::fb%eth0]:5353", "239.1.2.3:7000"] {
        let to: SocketAddr = group.replace("%eth0", "").parse().expect("a group");
        let members = place.hosts().map(|(host, n)| (n, member(host, n, to)));
        for (n, socket) in &members {
            let target =
                inside(place.hosts().into_iter().find(|(_, m)| m == n).expect("a host").0, || match to {
                    SocketAddr::V6(mut v6) => {
                        v6.set_scope_id(carrier::ifindex("eth0").expect("eth0"));
                        SocketAddr::V6(v6)
                    }
                    v4 => v4,
                });
            for line in 1..=5 {
                socket.send_to(format!("{n}: {line}").as_bytes(), target).expect("sent");
            }
        }
        for (n, socket) in &members {
            let others = members.iter().filter(|(m, _)| m != n).map(|(m, _)| *m);
            let mut expected: Vec<String> =
                others.flat_map(|m| (1..=5).map(move |line| format!("{m}: {line}"))).collect();
            let mut lines = heard(socket, expected.len());
            expected.sort();
            lines.sort();
            assert_eq!(lines, expected, "{n} in {group}");
        }
    }
}

/// A lease from a server beyond the bridge, then from one on the same station.
#[tokio::test]
async fn dhcp_serves_across_the_bridge_and_within_the_station() {
    let mut place = Place::new(NAMED).await;
    let server = |host: &mut Netns, n: u8, range: &str| {
        host.run("ip", &["addr", "add", &format!("192.0.2.{n}/24"), "dev", "eth0"]);
        let mut command = host.command("dnsmasq");
        let leases = host.file("leases").display().to_string();
        command
            .args(["--no-daemon", "--conf-file=/dev/null", "--port=0", "--interface=eth0", "--no-ping"])
            .args(["--dhcp-authoritative", &format!("--dhcp-range={range},1h")])
            .arg(format!("--dhcp-leasefile={leases}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        host.spawn(command)
    };
    let lease = |guest: &Netns, wanted: &str| {
        let mut client: Command = guest.command("udhcpc");
        // A script that only says what it was given.
        let script = guest.file("told");
        std::fs::write(
            &script,
            "#!/bin/sh\n[ \"$1\" = bound ] && echo \"lease $ip from $serverid\"\nexit 0\n",
        )
        .expect("a script");
        Command::new("chmod").arg("+x").arg(&script).status().expect("chmod runs");
        client.args(["-i", "eth0", "-n", "-q", "-f", "-t", "10", "-T", "1", "-s"]).arg(&script);
        let output = client.output().expect("udhcpc runs");
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(&format!("lease {wanted}")), "{said}");
    };
    let far = server(&mut place.far, 9, "192.0.2.90,192.0.2.99");
    lease(&place.one, "192.0.2.9");
    place.far.kill(far);
    server(&mut place.two, 2, "192.0.2.20,192.0.2.29");
    lease(&place.one, "192.0.2.2");
}

/// A virtual router's address, shared by two guests of one station: only one of them has it at a time. Their VSIs name
/// a VLAN and no address.
#[tokio::test]
async fn a_shared_address_is_where_it_spoke_last() {
    let place = Place::new("filters = [{ vlan = 100 }]").await;
    place.number();
    let (vmac, shared) = ("00:00:5e:00:01:07", "192.0.2.100");
    for guest in [&place.one, &place.two] {
        guest.run(
            "ip",
            &["link", "add", "vrrp0", "link", "eth0", "address", vmac, "type", "macvlan", "mode", "private"],
        );
        // Each answers for the address it has on the interface that was asked, and says when it has one.
        for key in [
            "all.arp_ignore=1",
            "all.arp_announce=2",
            "vrrp0.arp_notify=1",
            "all.rp_filter=0",
            "vrrp0.rp_filter=0",
        ] {
            guest.run("sysctl", &["-qw", &format!("net.ipv4.conf.{key}")]);
        }
        guest.run("sysctl", &["-qw", "net.ipv6.conf.vrrp0.enhanced_dad=0"]);
    }
    for turn in 0..4 {
        let [(master, m), (backup, b)] = if turn % 2 == 0 {
            [(&place.one, 1), (&place.two, 2)]
        } else {
            [(&place.two, 2), (&place.one, 1)]
        };
        backup.run("ip", &["addr", "flush", "dev", "vrrp0"]);
        backup.run("ip", &["link", "set", "vrrp0", "down"]);
        master.run("ip", &["addr", "add", &format!("{shared}/32"), "dev", "vrrp0"]);
        master.run("ip", &["link", "set", "vrrp0", "up"]);

        // The advertisement comes from the shared address: the others hear it once, the master not at all.
        let group: SocketAddr = "224.0.0.18:112".parse().expect("a group");
        let listeners = [(backup, b), (&place.far, 9), (master, m)].map(|(host, n)| member(host, n, group));
        let sender = inside(master, || UdpSocket::bind((shared, 0)).expect("the master has the address"));
        sender.set_multicast_loop_v4(false).expect("no loop");
        sender.send_to(format!("turn {turn}").as_bytes(), group).expect("sent");
        let [at_backup, at_far, at_master] = &listeners;
        for socket in [at_backup, at_far] {
            assert_eq!(heard(socket, 1), [format!("turn {turn}")]);
        }
        assert!(heard(at_master, 0).is_empty(), "turn {turn}: the master heard itself");

        // Nobody else has the address to answer from.
        for from in [&place.far, backup] {
            from.run("ip", &["neigh", "flush", "dev", "eth0"]);
            assert!(ping(from, shared), "turn {turn}");
            let neighbour = from.run("ip", &["neigh", "show", shared, "dev", "eth0"]);
            assert!(neighbour.contains(vmac), "turn {turn}: {neighbour}");
        }
        master.run("ip", &["-6", "addr", "add", "2001:db8::100/64", "dev", "vrrp0"]);
        let show = || master.run("ip", &["-6", "addr", "show", "dev", "vrrp0", "to", "2001:db8::100"]);
        let said = eventually("duplicate address detection ends", PATIENCE, show, |said| {
            said.contains("2001:db8::100") && (!said.contains("tentative") || said.contains("dadfailed"))
        });
        assert!(!said.contains("dadfailed"), "turn {turn}: it heard its own solicitation: {said}");
    }
}
