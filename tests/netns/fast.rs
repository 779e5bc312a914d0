//! What the kernel forwards for a daemon: shown, explained, switched off, changed by orders, and gone with the daemon.

use evb_tests::{
    evbd_program,
    netns::{Netns, eventually, table, wire},
};
use evbd::api::{Client, Table};
use serde_json::Value;

use crate::{PATIENCE, says};

fn config(fast: &str) -> String {
    let mut text = format!("role = \"bridge\"\n[relay]\nworkers = 2\nfast_path = \"{fast}\"\n");
    for n in 1..=2 {
        text += &format!(
            "[[port]]\ninterface = \"p{n}\"\nkind = \"lan\"\nuntagged = 100\ncarrier = \"packet\"\n"
        );
    }
    text
}

fn host(bridge: &Netns, n: u8) -> Netns {
    let host = Netns::new("host");
    wire(bridge, &format!("p{n}"), &host, "eth0");
    host.run("ip", &["link", "set", "eth0", "address", &format!("52:54:00:00:00:0{n}")]);
    host.run("ip", &["addr", "add", &format!("192.0.2.{n}/24"), "dev", "eth0"]);
    host
}

/// Answers to so many pings, one after the other.
fn pings(from: &Netns, n: u8, count: u32) -> u64 {
    let (address, count) = (format!("192.0.2.{n}"), count.to_string());
    let program = evbd_program!().display().to_string();
    let said =
        from.attempt(&program, &["lab-probe", "ping", &address, "--timeout-ms", "200", "--count", &count]);
    let result: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}"));
    result["answered"].as_u64().expect("a count")
}

/// Frames of all flows.
async fn forwarded(client: &Client) -> u64 {
    let flows = client.show(Table::Flows).await.unwrap();
    flows.iter().filter_map(|flow| flow["frames"].as_u64()).sum()
}

/// What the kernel has received by an interface.
fn received(netns: &Netns, interface: &str) -> u64 {
    let said = netns.run("ip", &["-j", "-s", "link", "show", "dev", interface]);
    let links: Value = serde_json::from_str(&said).expect("JSON");
    links[0]["stats64"]["rx"]["packets"].as_u64().expect("a count")
}

#[tokio::test]
async fn the_kernel_forwards_what_is_settled_and_it_shows() {
    let mut bridge = Netns::new("bridge");
    let (one, _two) = (host(&bridge, 1), host(&bridge, 2));
    let before = received(&bridge, "p1");
    let (at_bridge, evbd) = bridge.evbd(evbd_program!(), &config("auto")).await;
    let all = |rows: &[Value]| rows.iter().all(|row| row["fast_path"] == true && says(row, "link") == "up");
    table(&evbd, Table::Ports, PATIENCE, all).await;
    eventually("an answer", PATIENCE, || pings(&one, 2, 1).to_string(), |said| said == "1");
    assert_eq!(pings(&one, 2, 100), 100);
    assert!(forwarded(&evbd).await > 150, "{:#?}", evbd.show(Table::Flows).await);
    let flows = evbd.show(Table::Flows).await.unwrap();
    let way = flows.iter().find(|flow| says(flow, "port") == "p1" && says(flow, "state") == "fast");
    let way = way.unwrap_or_else(|| panic!("{flows:#?}"));
    assert_eq!((says(way, "to"), says(way, "source")), ("p2", "52:54:00:00:00:01"));

    // Counters are those of all frames.
    let rows = evbd.show(Table::Ports).await.unwrap();
    let of = |name: &str| rows.iter().find(|row| says(row, "port") == name).expect("the port");
    let count = |row: &Value, field: &str| row[field].as_u64().expect("a count");
    for row in &rows {
        let dropped: u64 = row["drops"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
        let fates = count(row, "forwarded") + count(row, "punted") + dropped;
        assert_eq!(count(row, "rx_frames"), fates, "{row:#}");
    }
    assert!(count(of("p1"), "forwarded") > 100 && count(of("p2"), "tx_frames") > 100);
    // What came before the port was open, or after it was asked, it has not.
    assert!(received(&bridge, "p1") - before + 5 > count(of("p1"), "rx_frames"));

    let frame = [&[0x52, 0x54, 0, 0, 0, 2, 0x52, 0x54, 0, 0, 0, 1, 8, 0][..], &[0; 46]].concat();
    let trace = evbd.trace("p1", &frame).await.unwrap();
    assert!(trace["fast_path"] == true && trace["fast_path_because"].is_null(), "{trace:#}");
    let group = [&[0xff; 6][..], &[0x52, 0x54, 0, 0, 0, 1, 8, 0], &[0; 46]].concat();
    let trace = evbd.trace("p1", &group).await.unwrap();
    assert_eq!(says(&trace, "fast_path_because"), "it is to a group");

    // It goes with the daemon.
    bridge.kill(at_bridge);
    assert_eq!(pings(&one, 2, 3), 0);
    let (_, evbd) = bridge.evbd(evbd_program!(), &config("off")).await;
    let why = |row: &Value| row["fast_path"] == false && says(row, "fast_path_because").contains("\"off\"");
    table(&evbd, Table::Ports, PATIENCE, |rows| rows.iter().all(why)).await;
    eventually("an answer", PATIENCE, || pings(&one, 2, 1).to_string(), |said| said == "1");
    assert_eq!(pings(&one, 2, 20), 20);
    assert!(evbd.show(Table::Flows).await.unwrap().is_empty());
    let trace = evbd.trace("p1", &frame).await.unwrap();
    assert_eq!(says(&trace, "fast_path_because"), "a port on its way has no fast path");
}
