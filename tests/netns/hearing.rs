//! What a port hears under every kind of master, and what its master must not pass on.

use std::time::{Duration, Instant};

use carrier::ControlSocket;
use ether::{
    EtherType, MacAddr,
    frame::build,
    mac::{NEAREST_BRIDGE, NEAREST_CUSTOMER_BRIDGE, NEAREST_NON_TPMR_BRIDGE},
};
use evb_tests::{
    evbd_program,
    netns::{Netns, event, eventually, inside, table, wire},
};
use evbd::api::{Client, Table};
use serde_json::Value;

use super::{PATIENCE, bridge_config, says, station_config};

/// A change by `ip`, then what `show ports` must say: method, why, leak, fault, and the packet sockets there are.
type Row<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str, &'a [&'a str]);

const GROUPS: [MacAddr; 3] = [NEAREST_CUSTOMER_BRIDGE, NEAREST_NON_TPMR_BRIDGE, NEAREST_BRIDGE];

/// A control socket in a namespace.
pub(super) fn socket(netns: &Netns, interface: &str, ethertype: EtherType) -> ControlSocket {
    inside(netns, || ControlSocket::open(interface, ethertype, &GROUPS).expect("a control socket"))
}

/// A host `hub` whose `b0` goes to `switch` and whose `g0`, a port of the bridge `br0`, goes to `guest`.
struct Lab {
    hub: Netns,
    switch: Netns,
    guest: Netns,
}

impl Lab {
    fn new() -> Self {
        let (hub, switch, guest) = (Netns::new("hub"), Netns::new("switch"), Netns::new("guest"));
        wire(&hub, "b0", &switch, "eth0");
        wire(&hub, "g0", &guest, "eth0");
        for arguments in
            ["link add br0 type bridge forward_delay 200", "link set g0 master br0", "link set br0 up"]
        {
            hub.run("ip", &arguments.split(' ').collect::<Vec<_>>());
        }
        Self { hub, switch, guest }
    }

    fn ip(&self, arguments: &str) {
        self.hub.run("ip", &arguments.split(' ').collect::<Vec<_>>());
    }
}

/// The least LLDPDU there is.
const LLDPDU: &[u8] = &[2, 7, 4, 2, 0, 0, 0, 0, 1, 4, 3, 7, b'p', b'0', 6, 2, 0, 120, 0, 0];
/// An ECPDU of a subtype nobody speaks: counted and left at that.
const ECPDU: &[u8] = &[0x10, 0x7f, 0, 1];

/// Sends LLDP to each group and ECP to its own.
fn send_all(lldp: &ControlSocket) {
    for group in GROUPS {
        lldp.send(&build(group, lldp.mac(), EtherType::LLDP, LLDPDU)).expect("the link is up");
    }
    lldp.send(&build(NEAREST_CUSTOMER_BRIDGE, lldp.mac(), EtherType::ECP, ECPDU)).expect("the link is up");
}

/// Control frames to a group's agent, to an address without an agent, and unknown ECPDUs, as the port counts them.
fn heard(row: &Value) -> u64 {
    let ignored = |name: &str| row["ignored_control"][name].as_u64().unwrap_or(0);
    let agents = row["lldp"].as_array().into_iter().flatten();
    // An agent that is switched off refuses what it hears.
    let count = |agent: &Value, name: &str| agent[name].as_u64().unwrap_or(0);
    let frames: u64 =
        agents.map(|agent| count(agent, "frames_in_total") + count(agent, "frames_refused_total")).sum();
    frames + ignored("other_destination") + ignored("other_ecp")
}

async fn port(evbd: &Client, what: impl Fn(&Value) -> bool) -> Value {
    table(evbd, Table::Ports, PATIENCE, |rows| rows.first().is_some_and(&what)).await.remove(0)
}

/// Types of the packet sockets on an interface, in hexadecimal as the kernel shows them.
fn sockets(netns: &Netns, interface: &str) -> Vec<String> {
    let index = netns.run("cat", &[&format!("/sys/class/net/{interface}/ifindex")]);
    let lines = netns.run("cat", &["/proc/net/packet"]);
    let mut types: Vec<String> = lines
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields.get(4) == Some(&index.trim()))
        .filter_map(|fields| fields.get(3).map(ToString::to_string))
        .collect();
    types.sort();
    types
}

/// Payload octets 0 and 1 of everything that waits at `socket` before a broadcast of `from`, which passes any bridge.
fn passed(from: &ControlSocket, socket: &ControlSocket, ethertype: EtherType) -> Vec<[u8; 2]> {
    let mut got = Vec::new();
    let mut buffer = [0; 2048];
    let mark = build(MacAddr::broadcast(), from.mac(), ethertype, &[0xff, 0xff]);
    let deadline = Instant::now() + PATIENCE;
    while !got.contains(&[0xff, 0xff]) {
        assert!(Instant::now() < deadline, "no broadcast passes the bridge");
        from.send(&mark).expect("the link is up");
        std::thread::sleep(Duration::from_millis(5));
        while let Ok(received) = socket.recv(&mut buffer) {
            assert!(received.len >= 16);
            got.push([buffer[14], buffer[15]]);
        }
    }
    got.retain(|octets| octets != &[0xff, 0xff]);
    got
}

#[tokio::test]
async fn every_master_is_heard_through_and_none_leaks() {
    let mut lab = Lab::new();
    let switch = socket(&lab.switch, "eth0", EtherType::LLDP);
    let guest = socket(&lab.guest, "eth0", EtherType::LLDP);
    let guest_ecp = socket(&lab.guest, "eth0", EtherType::ECP);
    let leaks = || {
        // What came before is not the question.
        passed(&switch, &guest, EtherType::LLDP);
        passed(&switch, &guest_ecp, EtherType::ECP);
        send_all(&switch);
        let lldp = passed(&switch, &guest, EtherType::LLDP).len();
        (lldp, passed(&switch, &guest_ecp, EtherType::ECP).len())
    };

    // Without evbd the bridge passes on LLDP and ECP to …-00, in both directions: so this test can fail.
    lab.ip("link set b0 master br0");
    assert_eq!(leaks(), (1, 1));
    guest.send(&build(NEAREST_CUSTOMER_BRIDGE, guest.mac(), EtherType::LLDP, LLDPDU)).unwrap();
    assert_eq!(passed(&guest, &switch, EtherType::LLDP), [[2, 7]]);
    lab.ip("link set b0 nomaster");

    let (process, evbd) = lab.hub.evbd(evbd_program!(), &bridge_config()).await;
    let relay = "0003";
    // The kernel's changes, and the row that follows: method, why, leak, fault, packet sockets.
    let rows: [Row; 9] = [
        ("", "ethertype", "no master", "", "", &[relay, "88b7", "88cc", "8940"]),
        ("link set b0 master br0", "all+filter", "no STP", "blocked", "bridge br0", &["0003"]),
        (
            "link set br0 type bridge stp_state 1",
            "ethertype",
            "runs STP",
            "",
            "bridge br0",
            &["88b7", "88cc", "8940"],
        ),
        (
            "link set br0 type bridge group_fwd_mask 0x4000",
            "all+filter",
            "forwards 01-80-C2-00-00-0E",
            "",
            "bridge br0",
            &["0003"],
        ),
        (
            "link set br0 type bridge group_fwd_mask 0",
            "ethertype",
            "runs STP",
            "",
            "bridge br0",
            &["88b7", "88cc", "8940"],
        ),
        (
            "link set b0 type bridge_slave group_fwd_mask 1",
            "all+filter",
            "group_fwd_mask",
            "not blocked (group_fwd_mask asks for it)",
            "bridge br0",
            &["0003"],
        ),
        ("link set b0 nomaster", "ethertype", "no master", "", "", &[relay, "88b7", "88cc", "8940"]),
        (
            "link add mv0 link b0 up type macvlan mode vepa",
            "ethertype",
            "no master",
            "",
            "",
            &[relay, "88b7", "88cc", "8940"],
        ),
        (
            "link del mv0\nlink add mv0 link b0 up type macvlan mode passthru",
            "ethertype",
            "no master",
            "",
            "",
            &[relay, "88b7", "88cc", "8940"],
        ),
    ];
    for (change, method, because, leak, fault, types) in rows {
        change.lines().for_each(|change| lab.ip(change));
        let before = port(&evbd, |row| {
            says(row, "link") == "up"
                && says(row, "hearing") == method
                && says(row, "hearing_because").contains(because)
                && says(row, "leak") == leak
                && says(row, "fault").contains(fault)
                && says(row, "carrier") == if fault.is_empty() { "packet" } else { "" }
        })
        .await;
        if fault.is_empty() {
            assert!(before["fault"].is_null(), "{before:#}");
        }
        // Closed sockets take the kernel a moment.
        let as_text = |types: &[String]| types.join(" ");
        eventually("sockets", PATIENCE, || as_text(&sockets(&lab.hub, "b0")), |now| now == types.join(" "));

        send_all(&switch);
        port(&evbd, |row| heard(row) == heard(&before) + 4).await;

        if leak == "blocked" {
            assert_eq!(leaks(), (0, 0), "after {change}");
            guest.send(&build(NEAREST_CUSTOMER_BRIDGE, guest.mac(), EtherType::LLDP, LLDPDU)).unwrap();
            // evbd's own LLDPDUs do reach the switch.
            let came = passed(&guest, &switch, EtherType::LLDP);
            assert!(!came.contains(&[2, 7]) || came.len() > 1, "{came:?}");
            let row = port(&evbd, |row| row["leak_blocked"]["tx"] == 1).await;
            assert!(row["leak_blocked"]["rx"].as_u64() >= Some(4), "{row:#}");
        }
    }

    // A daemon that dies leaves nothing in the way.
    for change in ["link del mv0", "link set b0 master br0", "link set br0 type bridge stp_state 0"] {
        lab.ip(change);
    }
    port(&evbd, |row| says(row, "leak") == "blocked").await;
    assert_eq!(leaks(), (0, 0));
    lab.hub.kill(process);
    eventually("the leak is back", PATIENCE, || format!("{:?}", leaks()), |leaks| leaks == "(1, 1)");
}

#[tokio::test]
async fn evb_is_negotiated_through_a_bridge_without_spanning_tree() {
    let (mut station, mut bridge, vm) = (Netns::new("station"), Netns::new("bridge"), Netns::new("vm"));
    wire(&station, "s0", &bridge, "b0");
    wire(&station, "vm0", &vm, "eth0");
    let (_, evbd) = bridge.evbd(evbd_program!(), &bridge_config()).await;
    for arguments in [["link", "add", "br0", "type", "bridge"], ["link", "set", "b0", "master", "br0"]] {
        bridge.run("ip", &arguments);
    }
    bridge.run("ip", &["link", "set", "br0", "up"]);
    event(&evbd, "barred", PATIENCE, |e| {
        says(e, "event") == "port_failed" && says(e, "error").contains("the kernel forwards its frames")
    })
    .await;
    let (_, peer) = station.evbd(evbd_program!(), &station_config()).await;
    event(&peer, "associated", PATIENCE, |e| says(e, "what") == "associated").await;

    // The kernel would not reflect, so the station is not told that anybody does, until the port is the relay's.
    let state = |rows: &[Value]| rows.first().map(|row| row["reflective_relay"]["state"].clone());
    let rows = evbd.show(Table::Evb).await.unwrap();
    assert_eq!(state(&rows), Some("off".into()), "{rows:#?}");
    bridge.run("ip", &["link", "set", "b0", "nomaster"]);
    table(&peer, Table::Evb, PATIENCE, |rows| state(rows) == Some("on".into())).await;
    bridge.run("ip", &["link", "set", "b0", "master", "br0"]);
    table(&peer, Table::Evb, PATIENCE, |rows| state(rows) == Some("off".into())).await;
}

#[tokio::test]
async fn own_frames_that_a_hairpin_reflects_are_dropped() {
    let (mut station, switch, vm) = (Netns::new("station"), Netns::new("switch"), Netns::new("vm"));
    wire(&station, "s0", &switch, "p0");
    wire(&station, "vm0", &vm, "eth0");
    for arguments in [
        "link add br0 type bridge",
        "link set br0 up",
        "link set p0 master br0",
        "link set p0 type bridge_slave hairpin on",
    ] {
        switch.run("ip", &arguments.split(' ').collect::<Vec<_>>());
    }
    let (_, evbd) = station.evbd(evbd_program!(), &station_config()).await;
    let row = port(&evbd, |row| {
        row["ignored_control"]["own"].as_u64() > Some(0)
            || row["lldp"].as_array().into_iter().flatten().any(|a| a["frames_own_total"].as_u64() > Some(0))
    })
    .await;
    assert_eq!(row["ignored_control"]["own"].as_u64().map(|own| own > 0), Some(true), "{row:#}");
    assert!(evbd.show(Table::Neighbors).await.unwrap().is_empty());
}
