//! A controlling bridge and two port extenders, one behind the other, with two hosts each, by sessions.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use evb_tests::{
    evbd_program,
    netns::{Netns, event, table, wire},
};
use evbd::api::{Client, Table};
use serde_json::Value;

use crate::{PATIENCE, says};

/// What an operator notices.
pub(super) const SOON: Duration = Duration::from_secs(2);
/// Hosts know one another so far.
const HOSTS: u8 = 5;
/// That of the hosts, an E-TAG and a C-tag.
const MTU: &str = "1512";

/// The configuration of a bridge with one cascade port, `c0`.
pub(super) const BRIDGE: &str =
    "role = \"bridge\"\n[[port]]\ninterface = \"c0\"\nkind = \"lan\"\nuntagged = 1\ncascade = true\n";

/// The configuration of a port extender whose upstream port is `up0`.
pub(super) fn extender(loss: &str, extended: &[&str], cascade: bool) -> String {
    let port = |name: &str, kind| format!("[[port]]\ninterface = \"{name}\"\nkind = \"{kind}\"\n");
    let extended: String = extended.iter().map(|name| port(name, "extended")).collect();
    let cascade = if cascade { port("k0", "cascade") } else { String::new() };
    format!(
        "role = \"extender\"\n[extension]\nupstream_loss = {loss}\n{}{extended}{cascade}",
        port("up0", "upstream")
    )
}

/// A cable that has room for tags.
pub(super) fn cascade(a: &Netns, a_name: &str, b: &Netns, b_name: &str) {
    wire(a, a_name, b, b_name);
    for (netns, interface) in [(a, a_name), (b, b_name)] {
        netns.run("ip", &["link", "set", interface, "mtu", MTU]);
    }
}

/// A host with the address 192.0.2.`n` at the other end of `interface`.
pub(super) fn host(at: &Netns, interface: &str, n: u8) -> Netns {
    let host = Netns::new(&format!("host{n}"));
    wire(at, interface, &host, "eth0");
    host.run("ip", &["link", "set", "eth0", "address", &format!("52:54:00:00:00:0{n}")]);
    host.run("ip", &["addr", "add", &format!("192.0.2.{n}/24"), "dev", "eth0"]);
    // Who asks for an address that does not answer waits for a second before it asks again.
    for other in (1..=HOSTS).filter(|other| *other != n) {
        let (address, mac) = (format!("192.0.2.{other}"), format!("52:54:00:00:00:0{other}"));
        host.run("ip", &["neigh", "add", &address, "lladdr", &mac, "dev", "eth0", "nud", "permanent"]);
    }
    host
}

/// Whether 192.0.2.`n` answers a host within `patience`.
pub(super) fn reaches(host: &Netns, n: u8, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    let program = evbd_program!().display().to_string();
    let target = format!("192.0.2.{n}");
    loop {
        let said =
            host.attempt(&program, &["lab-probe", "ping", &target, "--timeout-ms", "50", "--count", "1"]);
        if serde_json::from_str::<Value>(&said).is_ok_and(|result| result["answered"] == 1) {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
    }
}

/// Whether a host sees a carrier.
pub(super) fn carrier(host: &Netns) -> bool {
    !host.run("ip", &["link", "show", "dev", "eth0"]).contains("NO-CARRIER")
}

/// Brings an interface up or down.
pub(super) fn set(at: &Netns, interface: &str, state: &str) {
    at.run("ip", &["link", "set", interface, state]);
}

/// The number of the last event so far.
pub(super) async fn mark(evbd: &Client) -> u64 {
    let past = evbd.events(0).await.expect("the daemon lives");
    past.last().and_then(|event| event["number"].as_u64()).unwrap_or(0)
}

/// Waits for an event after `mark`.
pub(super) async fn after(evbd: &Client, mark: u64, name: &str, port: &str) -> Value {
    let is = |e: &Value| {
        e["number"].as_u64() > Some(mark)
            && says(e, "event") == name
            && (port.is_empty() || says(e, "port") == port)
    };
    event(evbd, &format!("{name} {port}"), PATIENCE, is).await
}

/// Waits until so many extended ports of a bridge are up.
pub(super) async fn up(bridge: &Client, count: usize) -> Vec<Value> {
    let extended = |row: &&Value| says(row, "port").contains(':') && says(row, "link") == "up";
    let rows =
        table(bridge, Table::Ports, PATIENCE, |rows| rows.iter().filter(extended).count() == count).await;
    rows.into_iter().filter(|row| says(row, "port").contains(':')).collect()
}

/// A steady stream of pings from a host, once a millisecond, in the background.
pub(super) fn stream(from: &Netns, to: u8, seconds: u16) -> impl FnOnce() -> Value + use<> {
    let mut command = from.command(evbd_program!());
    command.args(["lab-probe", "stream", &format!("192.0.2.{to}"), "--seconds", &seconds.to_string()]);
    let child = command.stdout(Stdio::piped()).spawn().expect("the pinger starts");
    move || {
        let output = child.wait_with_output().expect("the pinger ends");
        serde_json::from_slice(&output.stdout).expect("what it saw")
    }
}

/// The longest gap of a stream in milliseconds: from the last request before it that was answered to the first after it.
pub(super) fn blackout(seen: &Value) -> u64 {
    let gaps = seen["gaps"].as_array().expect("gaps");
    let length = |gap: &Value| {
        let to = gap["to_us"].as_u64().unwrap_or_else(|| panic!("it never ended: {seen}"));
        (to - gap["from_us"].as_u64().unwrap()) / 1000
    };
    gaps.iter().map(length).max().unwrap_or(0)
}
