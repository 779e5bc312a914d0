//! The daemon and the lab in namespaces: real kernels, real veths, real traffic, and nothing left behind.

mod channels;
mod dbus;
mod dcbx;
mod evb;
mod extension;
mod fast;
mod guests;
mod hearing;
mod kernel;
mod kills;
mod libvirt;
mod links;
mod lldp;
mod managers;
mod migrate;
mod operator;
mod protocols;
mod why;
mod xdp;

use std::{
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use evb_tests::{
    evbd_program,
    netns::{Netns, event, eventually, table, wire},
};
use evbd::api::Table;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);

fn lab(name: &str, arguments: &[&str]) -> (Output, Value) {
    let output = Command::new(evbd_program!())
        .args(["lab", "--json", "--name", name, "--seconds", "1"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("evbd starts");
    let report = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output, report)
}

/// Nothing of the lab is there any more: no namespace, no process, no file.
fn nothing_left(name: &str) {
    let namespaces = Command::new("ip").args(["netns", "list"]).output().expect("ip runs").stdout;
    let namespaces = String::from_utf8_lossy(&namespaces).into_owned();
    assert!(!namespaces.contains(&format!("evbd-{name}-")), "{namespaces}");
    assert!(!Path::new("/run/evbd-lab").join(name).exists());
    let mine = format!("/run/evbd-lab/{name}/");
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&line).contains(&mine), "{:?} still runs", entry.path());
    }
}

fn says<'a>(row: &'a Value, field: &str) -> &'a str {
    row.get(field).and_then(Value::as_str).unwrap_or("")
}

#[test]
fn lab_reflects() {
    let (output, report) = lab("t-reflect", &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(
        (&report["ok"], &report["evb"]["relay"]),
        (&Value::from(true), &Value::from("vepa")),
        "{report:#}"
    );
    let probe = &report["evb"]["probe"];
    assert!(probe["state"] == "proven" && probe["returned"].as_u64() > Some(0), "{:#}", report["evb"]);
    assert_eq!(report["ping"]["answered"], report["ping"]["sent"]);
    // Two frames a ping, each seen by the relay and, independently, by the kernel.
    let wanted = report["ping"]["sent"].as_u64().unwrap() * 2;
    for counter in ["reflected", "evbd_rx", "kernel_rx"] {
        assert!(report["wire"][counter].as_u64().unwrap() >= wanted, "{counter}: {}", report["wire"]);
    }
    assert!(
        report["tcp"]["intact"] == true && report["tcp"]["octets"].as_u64().unwrap() > 1_000_000,
        "{}",
        report["tcp"]
    );
    nothing_left("t-reflect");
}

#[test]
fn lab_refused_switches_in_the_station() {
    let (output, report) = lab("t-veb", &["--scenario", "refuse", "--fallback", "veb"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(report["evb"]["relay"], "veb");
    assert_eq!(
        report["evb"]["reflective_relay"]["reason"], "not_capable",
        "the station says why: {}",
        report["evb"]
    );
    assert_eq!(
        (&report["ping"]["answered"], &report["wire"]["reflected"]),
        (&report["ping"]["sent"], &Value::from(0))
    );
    nothing_left("t-veb");
}

#[test]
fn lab_refused_isolates() {
    let (output, report) =
        lab("t-isolate", &["--scenario", "refuse", "--fallback", "isolate", "--pings", "3"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(
        (&report["evb"]["relay"], &report["ping"]["answered"]),
        (&Value::from("isolate"), &Value::from(0))
    );
    nothing_left("t-isolate");
}

#[test]
fn lab_cleans_up_when_interrupted() {
    for signal in ["-INT", "-TERM"] {
        let mut running = Command::new(evbd_program!())
            .args(["lab", "--name", "t-interrupt", "--seconds", "600"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("evbd starts");
        let there = || format!("{}", Path::new("/run/netns/evbd-t-interrupt-vm2").exists());
        eventually("the lab stands", PATIENCE, there, |there| there == "true");
        Command::new("kill").args([signal, &running.id().to_string()]).status().expect("kill runs");
        assert!(!running.wait().expect("it ends").success());
        nothing_left("t-interrupt");
    }
}

#[test]
fn lab_removes_what_a_killed_one_left() {
    let mut running = Command::new(evbd_program!())
        .args(["lab", "--name", "t-killed", "--seconds", "600"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("evbd starts");
    let there = || format!("{}", Path::new("/run/evbd-lab/t-killed/station.sock").exists());
    eventually("the station runs", PATIENCE, there, |there| there == "true");

    // While it runs nobody else gets its name.
    let (second, _) = lab("t-killed", &[]);
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(!second.status.success() && said.contains("runs already"), "{said}");

    running.kill().expect("it is ours");
    running.wait().expect("it is ours");
    let (output, report) = lab("t-killed", &["--pings", "5"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && report["ok"] == true, "{said}");
    assert!(said.contains("removed what an earlier lab left"), "{said}");
    nothing_left("t-killed");
}

#[test]
fn lab_kept_stands_until_it_is_cleaned() {
    let (output, _) = lab("t-keep", &["--keep", "--pings", "5"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let shown = Command::new(evbd_program!())
        .args(["show", "vsi", "--json", "--socket", "/run/evbd-lab/t-keep/bridge.sock"])
        .output()
        .expect("evbd starts");
    let shown: Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    assert_eq!(shown["vsi"].as_array().map(Vec::len), Some(2), "{shown:#}");
    let clean = Command::new(evbd_program!())
        .args(["lab", "--clean", "--name", "t-keep"])
        .output()
        .expect("evbd starts");
    assert!(clean.status.success());
    nothing_left("t-keep");
}

#[test]
fn lab_needs_root_and_says_so() {
    let program = tempfile::NamedTempFile::new().expect("a file").into_temp_path();
    std::fs::copy(evbd_program!(), &program).expect("a copy anybody may run");
    Command::new("chmod").args(["755", &program.display().to_string()]).status().expect("chmod runs");
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&program)
        .arg("lab")
        .output()
        .expect("setpriv runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("root"), "{said}");
}

#[test]
fn lab_needs_ip_and_says_so() {
    let output =
        Command::new(evbd_program!()).arg("lab").env("PATH", "/nonexistent").output().expect("evbd starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("iproute2"), "{said}");
}

fn bridge_config() -> String {
    "role = \"bridge\"\n[[port]]\ninterface = \"b0\"\nkind = \"station\"\n\
     [[profile]]\nname = \"p\"\ntype = 1\nversion = 1\nvlans = [100]\n"
        .to_owned()
}

fn station_config() -> String {
    "role = \"station\"\n[[port]]\ninterface = \"s0\"\nkind = \"uplink\"\n\
     [[vsi]]\nname = \"vm\"\ninterface = \"vm0\"\nid = \"52:54:00:00:00:01\"\ntype = 1\nversion = 1\n\
     mac = \"52:54:00:00:00:01\"\n"
        .to_owned()
}

#[tokio::test]
async fn an_interface_may_come_late_go_and_come_back() {
    let (mut station, mut bridge) = (Netns::new("station"), Netns::new("bridge"));
    let vm = Netns::new("vm");
    let (process, evbd) = station.evbd(evbd_program!(), &station_config()).await;
    let (_, peer) = bridge.evbd(evbd_program!(), &bridge_config()).await;
    event(&evbd, "missing", PATIENCE, |e| says(e, "event") == "link_absent" && says(e, "port") == "s0").await;
    let rows = evbd.show(Table::Ports).await.unwrap();
    assert!(says(&rows[0], "fault").contains("does not exist"), "{rows:#?}");

    let open = |rows: &[Value]| rows.iter().any(|row| says(row, "gate") == "open");
    for round in 0..3 {
        wire(&station, "s0", &bridge, "b0");
        wire(&station, "vm0", &vm, "eth0");
        table(&evbd, Table::Vsi, PATIENCE, open).await;
        table(&peer, Table::Vsi, PATIENCE, open).await;
        let rows = evbd.show(Table::Ports).await.unwrap();
        assert!(
            rows.iter().all(|r| says(r, "link") == "up" && r.get("fault").is_none()),
            "round {round}: {rows:#?}"
        );
        station.run("ip", &["link", "del", "s0"]);
        station.run("ip", &["link", "del", "vm0"]);
        let absent = |rows: &[Value]| rows.iter().all(|row| says(row, "link") == "absent");
        table(&evbd, Table::Ports, PATIENCE, absent).await;
        table(&peer, Table::Ports, PATIENCE, absent).await;
    }
    assert!(station.runs(process));
}

#[tokio::test]
async fn a_million_frames_of_noise_cost_counters_only() {
    let (mut station, mut bridge) = (Netns::new("station"), Netns::new("bridge"));
    let vm = Netns::new("vm");
    wire(&station, "s0", &bridge, "b0");
    wire(&station, "vm0", &vm, "eth0");
    let (process, evbd) = bridge.evbd(evbd_program!(), &bridge_config()).await;
    let program = evbd_program!().display().to_string();
    let sent = station.run(&program, &["lab-probe", "noise", "s0", "--frames", "1000000"]);
    assert_eq!(sent.trim(), "1000000");
    let seen = |rows: &[Value]| rows[0]["rx_frames"].as_u64() > Some(100_000);
    let rows = table(&evbd, Table::Ports, PATIENCE, seen).await;
    assert!(bridge.runs(process));
    // What came in was forwarded, punted or dropped for a reason that has a name.
    let count = |name: &str| rows[0][name].as_u64().unwrap_or(0);
    let drops: u64 = rows[0]["drops"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    assert_eq!(count("rx_frames"), count("forwarded") + count("punted") + drops, "{:#}", rows[0]);

    // And a real station is served as if nothing had been, once the noise's neighbours are forgotten.
    let (_, peer) = station.evbd(evbd_program!(), &station_config()).await;
    event(&peer, "associated", PATIENCE, |e| says(e, "what") == "associated").await;
}

#[test]
fn a_wrong_configuration_is_refused_with_its_place() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for (text, place) in [("role = \"station\"\nrelay", ":2:"), ("role = \"sation\"", ":1:8"), ("", ":1:1")] {
        std::fs::write(file.path(), text).unwrap();
        for command in ["run", "check"] {
            let output = Command::new(evbd_program!())
                .args([command, "--config"])
                .arg(file.path())
                .output()
                .expect("evbd starts");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{said}");
            assert!(said.contains(&format!("{}{place}", file.path().display())), "{said}");
        }
    }
    let output =
        Command::new(evbd_program!()).args(["run", "--config", "/nonexistent.toml"]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nonexistent.toml: cannot be read"));
}
