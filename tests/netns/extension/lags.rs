//! A LAG of two extended ports, each of another port extender on another cascade port.

use std::time::Duration;

use evb_tests::{
    evbd_program,
    netns::{Netns, event, eventually, wire},
};
use evbd::api::Table;

use super::tree::{cascade, extender, reaches, up};
use crate::{PATIENCE, says};

const BRIDGE: &str = "role = \"bridge\"\n\
    [[port]]\ninterface = \"c0\"\nkind = \"lan\"\nuntagged = 1\ncascade = true\n\
    [[port]]\ninterface = \"c1\"\nkind = \"lan\"\nuntagged = 1\ncascade = true\n\
    [[port]]\ninterface = \"p0\"\nkind = \"lan\"\nuntagged = 1\n\
    [[extended]]\nport = \"p1\"\nlag = \"bond2\"\n";
/// Addresses of the station: as many flows.
const FIRST: u8 = 50;
const LAST: u8 = 73;
const STATION: &str = "52:54:00:00:00:02";
const HOST: &str = "52:54:00:00:00:01";

/// What the station's host has counted of echo requests.
fn echoes(station: &Netns) -> u64 {
    let snmp = station.run("cat", &["/proc/net/snmp"]);
    let mut rows = snmp.lines().filter_map(|line| line.strip_prefix("Icmp: "));
    let (names, values) = (rows.next().expect("names"), rows.next().expect("values"));
    let at = names.split(' ').position(|name| name == "InEchos").expect("a counter");
    values.split(' ').nth(at).and_then(|value| value.parse().ok()).expect("a count")
}

fn received(station: &Netns, interface: &str) -> u64 {
    let count = station.run("cat", &[&format!("/sys/class/net/{interface}/statistics/rx_packets")]);
    count.trim().parse().expect("a count")
}

/// Asks each address once, and waits until all questions have come; how many have.
fn asked(host: &Netns, station: &Netns) -> u64 {
    let (before, all) = (echoes(station), u64::from(LAST - FIRST) + 1);
    for n in FIRST..=LAST {
        reaches(host, n, Duration::ZERO);
    }
    let come = || echoes(station) - before;
    eventually("all questions", PATIENCE, || (come() >= all).to_string(), |said| said == "true");
    come()
}

#[tokio::test]
async fn flows_go_by_one_member_and_by_the_other_when_that_is_lost() {
    let (mut bridge, mut left, mut right) = (Netns::new("bridge"), Netns::new("left"), Netns::new("right"));
    let (host, station) = (Netns::new("host"), Netns::new("station"));
    for at in [&host, &station] {
        at.run(
            "sysctl",
            &["-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1"],
        );
    }
    cascade(&bridge, "c0", &left, "up0");
    cascade(&bridge, "c1", &right, "up0");
    wire(&bridge, "p0", &host, "eth0");
    wire(&left, "p1", &station, "e0");
    wire(&right, "p1", &station, "e1");
    host.run("ip", &["link", "set", "eth0", "address", HOST]);
    host.run("ip", &["addr", "add", "192.0.2.1/24", "dev", "eth0"]);
    // No bond: it takes what comes by either link, and sends by one.
    for link in ["e0", "e1"] {
        station.run("ip", &["link", "set", link, "address", STATION]);
    }
    station.run("ip", &["neigh", "add", "192.0.2.1", "lladdr", HOST, "dev", "e0", "nud", "permanent"]);
    for n in FIRST..=LAST {
        let address = format!("192.0.2.{n}");
        station.run("ip", &["addr", "add", &format!("{address}/24"), "dev", "e0"]);
        host.run("ip", &["neigh", "add", &address, "lladdr", STATION, "dev", "eth0", "nud", "permanent"]);
    }
    let (_, evbd) = bridge.evbd(evbd_program!(), BRIDGE).await;
    let config = extender("\"down\"", &["p1"], false);
    let _extenders = (left.evbd(evbd_program!(), &config).await, right.evbd(evbd_program!(), &config).await);
    up(&evbd, 2).await;
    assert!(reaches(&host, FIRST, PATIENCE));

    let all = u64::from(LAST - FIRST) + 1;
    let before = (received(&station, "e0"), received(&station, "e1"));
    // Each once, by whichever link.
    assert_eq!(asked(&host, &station), all);
    let (by_left, by_right) = (received(&station, "e0") - before.0, received(&station, "e1") - before.1);
    assert!(by_left > 2 && by_right > 2, "{by_left} and {by_right} frames");
    // A flood reaches the station once, and not by the other link what it has sent.
    let fdb = evbd.show(Table::Fdb).await.unwrap();
    assert_eq!(fdb.iter().filter(|row| says(row, "mac") == STATION).count(), 1, "{fdb:#?}");
    let groups = echoes(&station);
    host.run("ip", &["neigh", "replace", "192.0.2.50", "lladdr", "ff:ff:ff:ff:ff:ff", "dev", "eth0"]);
    station.run("sysctl", &["-qw", "net.ipv4.icmp_echo_ignore_broadcasts=0"]);
    reaches(&host, FIRST, Duration::ZERO);
    host.run("ip", &["neigh", "replace", "192.0.2.50", "lladdr", STATION, "dev", "eth0", "nud", "permanent"]);
    let come = || (echoes(&station) - groups).to_string();
    eventually("the broadcast", PATIENCE, come, |said| said != "0");
    assert_eq!(come(), "1");

    // The link it does not send by goes.
    right.run("ip", &["link", "set", "p1", "down"]);
    event(&evbd, "the lost member", PATIENCE, |e| {
        says(e, "event") == "link_down" && says(e, "port").starts_with("c1:")
    })
    .await;
    assert_eq!(asked(&host, &station), all);
}
