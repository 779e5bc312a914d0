//! Interfaces that come, go, change name, namespace, carrier and size, alone and among thousands of others.

use std::{
    fmt::Write,
    process::Command,
    time::{Duration, Instant},
};

use ether::{EtherType, frame::build, mac::NEAREST_CUSTOMER_BRIDGE};
use evb_tests::{
    evbd_program,
    netns::{Netns, event, table, wire},
};
use evbd::api::{Client, Table};
use serde_json::Value;

use super::{PATIENCE, bridge_config, hearing::socket, says};

fn ip(netns: &Netns, arguments: &str) {
    netns.run("ip", &arguments.split(' ').collect::<Vec<_>>());
}

/// Runs many `ip` commands at once.
fn batch(netns: &Netns, commands: &str) {
    let file = netns.file("batch");
    std::fs::write(&file, commands).unwrap();
    netns.run("ip", &["-batch", &file.display().to_string()]);
}

async fn port(evbd: &Client, what: impl Fn(&Value) -> bool) -> Value {
    table(evbd, Table::Ports, PATIENCE, |rows| rows.first().is_some_and(&what)).await.remove(0)
}

/// LLDP that `from` sends is heard, and the relay has the port.
async fn works(evbd: &Client, from: &Netns) {
    let row = port(evbd, |row| says(row, "link") == "up" && says(row, "carrier") == "packet").await;
    let count = |row: &Value| row["ignored_control"]["other_ecp"].as_u64().unwrap_or(0);
    let socket = socket(from, "eth0", EtherType::ECP);
    let frame = build(NEAREST_CUSTOMER_BRIDGE, socket.mac(), EtherType::ECP, &[0x10, 0x7f, 0, 1]);
    let before = count(&row);
    let deadline = Instant::now() + PATIENCE;
    loop {
        // For a moment after a link comes up the kernel drops what is sent.
        socket.send(&frame).unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        if count(&port(evbd, |_| true).await) > before {
            return;
        }
        assert!(Instant::now() < deadline, "the port is deaf: {row:#}");
    }
}

#[tokio::test]
async fn a_name_is_followed_whoever_has_it() {
    let (mut host, one, two) = (Netns::new("host"), Netns::new("one"), Netns::new("two"));
    wire(&host, "b0", &one, "eth0");
    wire(&host, "spare", &two, "eth0");
    let (_, evbd) = host.evbd(evbd_program!(), &bridge_config()).await;
    works(&evbd, &one).await;
    // Renamed away: by default the kernel renames an interface that is up.
    ip(&host, "link set b0 name old");
    port(&evbd, |row| says(row, "link") == "absent").await;
    ip(&host, "link set spare name b0");
    works(&evbd, &two).await;
    // And swapped in one go.
    batch(&host, "link set b0 name spare\nlink set old name b0\n");
    works(&evbd, &one).await;
}

#[tokio::test]
async fn an_interface_may_visit_another_namespace() {
    let (mut host, peer, other) = (Netns::new("host"), Netns::new("peer"), Netns::new("other"));
    wire(&host, "b0", &peer, "eth0");
    let (_, evbd) = host.evbd(evbd_program!(), &bridge_config()).await;
    works(&evbd, &peer).await;
    ip(&host, &format!("link set b0 netns {}", other.name()));
    port(&evbd, |row| says(row, "link") == "absent").await;
    other.run("ip", &["link", "set", "b0", "netns", host.name()]);
    ip(&host, "link set b0 up");
    works(&evbd, &peer).await;
}

#[tokio::test]
async fn carrier_and_mtu_are_followed() {
    let (mut host, peer) = (Netns::new("host"), Netns::new("peer"));
    wire(&host, "b0", &peer, "eth0");
    let (_, evbd) = host.evbd(evbd_program!(), &bridge_config()).await;
    works(&evbd, &peer).await;
    ip(&peer, "link set eth0 down");
    event(&evbd, "carrier lost", PATIENCE, |e| says(e, "event") == "link_down").await;
    let row = port(&evbd, |row| says(row, "link") == "down").await;
    assert!(row["carrier"].is_null() && row["fault"].is_null(), "{row:#}");
    ip(&peer, "link set eth0 up");
    works(&evbd, &peer).await;
    ip(&host, "link set b0 mtu 9000");
    let row = port(&evbd, |row| row["mtu"] == 9000).await;
    // The link was never gone, so nothing was opened anew.
    assert_eq!(says(&row, "carrier"), "packet");
    works(&evbd, &peer).await;
}

#[tokio::test]
async fn lost_link_changes_are_made_up_for() {
    let (mut host, one, two) = (Netns::new("host"), Netns::new("one"), Netns::new("two"));
    wire(&host, "b0", &one, "eth0");
    ip(&host, "link add x0 type veth peer name x1");
    let (process, evbd) = host.evbd(evbd_program!(), &bridge_config()).await;
    works(&evbd, &one).await;
    let evbd_stops = |signal: &str| {
        let pids = host.run("ip", &["netns", "pids", host.name()]);
        for pid in pids.split_whitespace() {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            if name.starts_with("evbd") {
                Command::new("kill").args([signal, pid]).status().unwrap();
            }
        }
    };
    let storm = "link set x0 up\nlink set x0 down\n".repeat(2000);

    // What it finds queued is old, what was lost is so now; no other change comes and tells.
    evbd_stops("-STOP");
    ip(&host, "link set b0 mtu 1400");
    batch(&host, &storm);
    ip(&host, "link set b0 mtu 9000");
    evbd_stops("-CONT");
    works(&evbd, &one).await;
    port(&evbd, |row| row["mtu"] == 9000).await;
    ip(&host, "link set x0 alias seen");
    works(&evbd, &one).await;
    assert_eq!(port(&evbd, |_| true).await["mtu"], 9000);

    // Down and up again.
    evbd_stops("-STOP");
    ip(&host, "link set b0 down");
    batch(&host, &storm);
    ip(&host, "link set b0 up");
    evbd_stops("-CONT");
    works(&evbd, &one).await;

    // A visit to another namespace that nobody saw: the number is the same, the sockets are dead.
    evbd_stops("-STOP");
    batch(&host, &storm);
    ip(&host, &format!("link set b0 netns {}", two.name()));
    two.run("ip", &["link", "set", "b0", "netns", host.name()]);
    ip(&host, "link set b0 up");
    evbd_stops("-CONT");
    works(&evbd, &one).await;

    // Another interface of the name that nobody saw come.
    evbd_stops("-STOP");
    batch(&host, &storm);
    ip(&host, "link del b0");
    wire(&host, "b0", &two, "eth0");
    evbd_stops("-CONT");
    works(&evbd, &two).await;

    let log = std::fs::read_to_string(host.file("evbd.log")).unwrap();
    assert!(log.matches("link changes were lost").count() >= 4, "the storm was too weak:\n{log}");
    assert!(host.runs(process));
}

/// Seconds of processor time the daemon in a namespace has used.
fn cpu(netns: &Netns) -> f64 {
    let pids = netns.run("ip", &["netns", "pids", netns.name()]);
    let ticks: u64 = pids
        .split_whitespace()
        .filter_map(|pid| std::fs::read_to_string(format!("/proc/{pid}/stat")).ok())
        .filter(|stat| stat.contains("(evbd"))
        .filter_map(|stat| {
            let fields = stat.rsplit(')').next()?.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
        })
        .sum();
    ticks as f64 / 100.0
}

#[tokio::test]
async fn thousands_of_foreign_links_are_nobodys_business() {
    let links: u32 = std::env::var("EVBD_LINKS").ok().and_then(|n| n.parse().ok()).unwrap_or(4000);
    let (mut host, peers) = (Netns::new("host"), ["p0", "p1", "p2", "p3"].map(Netns::new));
    let mut commands = String::new();
    for n in 0..links / 2 {
        writeln!(commands, "link add x{n} type veth peer name y{n}").unwrap();
    }
    batch(&host, &commands);
    let mut config = "role = \"bridge\"\n".to_owned();
    for (peer, n) in peers.iter().zip(0..) {
        wire(&host, &format!("b{n}"), peer, "eth0");
        write!(config, "[[port]]\ninterface = \"b{n}\"\nkind = \"station\"\n").unwrap();
    }

    let begun = Instant::now();
    let (_, evbd) = host.evbd(evbd_program!(), &config).await;
    let up = |rows: &[Value]| rows.iter().all(|row| says(row, "carrier") == "packet");
    table(&evbd, Table::Ports, PATIENCE, up).await;
    let (start, start_cpu) = (begun.elapsed(), cpu(&host));

    // Every foreign link up and down again: several changes each, of which none is ours.
    let mut flap = String::new();
    for n in 0..(links / 2).min(1000) {
        writeln!(flap, "link set x{n} up\nlink set x{n} down").unwrap();
    }
    let begun = Instant::now();
    batch(&host, &flap);
    works(&evbd, &peers[0]).await;
    let (storm, storm_cpu) = (begun.elapsed(), cpu(&host) - start_cpu);
    println!(
        "{links} foreign links: 4 ports served after {start:?} ({start_cpu} s of processor), {} flapped in {storm:?} \
         ({storm_cpu} s of processor)",
        (links / 2).min(1000)
    );
    assert!(start < Duration::from_secs(5), "start took {start:?}");
    assert!(storm_cpu < 1.0, "the storm cost {storm_cpu} s of processor");
    let rows = evbd.show(Table::Ports).await.unwrap();
    assert_eq!(rows.len(), 4);
}
