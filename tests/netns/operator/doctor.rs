//! `evbd doctor` in namespaces: each fault is made, found, and mended by the remedy.

use evb_tests::{
    evbd_program,
    lldpad::{Lldpad, Role},
    netns::{Netns, eventually, table, wire},
};
use evbd::api::Table;
use serde_json::Value;

use super::{err, out, output, socket};
use crate::{PATIENCE, bridge_config, says};

/// Findings of the doctor by check, with its exit code.
fn doctor(netns: &Netns, port: &str) -> (Option<i32>, Vec<Value>) {
    let output = output(netns, &["doctor", port, "--json", "--socket", &socket(netns)]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", err(&output)));
    (output.status.code(), report["findings"].as_array().cloned().unwrap_or_default())
}

fn finding<'a>(findings: &'a [Value], check: &str) -> &'a Value {
    findings
        .iter()
        .find(|finding| says(finding, "check") == check)
        .unwrap_or_else(|| panic!("{check}: {findings:#?}"))
}

#[tokio::test]
async fn the_doctor_finds_what_stands_in_the_way() {
    let (mut host, far) = (Netns::new("host"), Netns::new("far"));
    let (code, found) = doctor(&host, "h0");
    let missing = finding(&found, "interface");
    assert!(code == Some(1) && says(missing, "words").contains("no interface h0"), "{missing}");

    wire(&host, "h0", &far, "f0");
    host.run("ip", &["link", "set", "h0", "down"]);
    let (code, found) = doctor(&host, "h0");
    assert_eq!((code, says(finding(&found, "link"), "remedy")), (Some(1), "ip link set h0 up"));
    host.run("sh", &["-c", says(finding(&found, "link"), "remedy")]);
    far.run("ip", &["link", "set", "f0", "down"]);
    assert!(says(finding(&doctor(&host, "h0").1, "link"), "words").contains("no carrier"));
    far.run("ip", &["link", "set", "f0", "up"]);

    let (code, found) = doctor(&host, "h0");
    assert_eq!((code, says(finding(&found, "kind"), "words")), (Some(0), "h0 is a veth"), "{found:#?}");
    assert!(says(finding(&found, "daemon"), "words").contains("no evbd answers"));
    assert_eq!(says(finding(&found, "mtu"), "severity"), "ok");

    // Remedies are commands that help.
    host.run("ip", &["link", "add", "br0", "type", "bridge", "group_fwd_mask", "0x4000"]);
    host.run("ip", &["link", "set", "h0", "master", "br0"]);
    host.run("ip", &["link", "set", "br0", "up"]);
    host.run("bridge", &["link", "set", "dev", "h0", "hairpin", "on"]);
    let (_, found) = doctor(&host, "h0");
    assert!(says(finding(&found, "group_fwd_mask"), "words").contains("01-80-C2-00-00-0E"));
    for check in ["leak", "group_fwd_mask", "hairpin"] {
        let remedy = says(finding(&found, check), "remedy");
        assert!(!remedy.is_empty(), "{check}");
        host.run("sh", &["-c", remedy]);
    }
    let (_, found) = doctor(&host, "h0");
    assert_eq!(says(finding(&found, "leak"), "severity"), "ok");
    assert!(found.iter().all(|f| !["group_fwd_mask", "hairpin"].contains(&says(f, "check"))), "{found:#?}");
    assert!(says(finding(&doctor(&host, "br0").1, "kind"), "remedy").contains("master br0"));

    // Without STP the daemon blocks the leak, and says so.
    host.run("ip", &["link", "set", "br0", "type", "bridge", "stp_state", "0"]);
    assert_eq!(says(finding(&doctor(&host, "h0").1, "leak"), "severity"), "warning");
    let config = bridge_config().replace("b0", "h0");
    let (_, evbd) = host.evbd(evbd_program!(), &config).await;
    table(&evbd, Table::Ports, PATIENCE, |rows| says(&rows[0], "leak") == "blocked").await;
    let (_, found) = doctor(&host, "h0");
    assert!(says(finding(&found, "leak"), "words").contains("evbd blocks that"), "{found:#?}");
    let of_daemon: Vec<_> = found.iter().filter(|f| says(f, "check") == "daemon").collect();
    assert!(of_daemon.iter().any(|f| says(f, "words").contains("hears by all+filter")), "{of_daemon:#?}");
    assert!(says(finding(&found, "other_agents"), "words").starts_with("no other program"));
    let other = doctor(&host, "br0").1;
    assert!(says(finding(&other, "daemon"), "words").contains("its ports are h0"), "{other:#?}");

    let eyes = output(&host, &["doctor", "h0", "--socket", &socket(&host)]);
    assert!(eyes.status.success(), "{}", out(&eyes));
    assert!(out(&eyes).contains("-> ip link set h0 nomaster"), "{}", out(&eyes));
    assert!(out(&eyes).lines().any(|line| line.starts_with("ok ")), "{}", out(&eyes));
}

#[test]
fn the_doctor_finds_another_agent() {
    let (mut host, far) = (Netns::new("host"), Netns::new("far"));
    wire(&host, "h0", &far, "f0");
    let place = Lldpad::start(&mut host, "h0", Role::Station, "");
    let seen =
        || place.run(&evbd_program!().display().to_string(), &["doctor", "h0", "--socket", "/nonexistent"]);
    let text = eventually("lldpad is seen", PATIENCE, seen, |text| text.contains("lldpad"));
    assert!(text.contains("WARNING  other_agents: lldpad (pid "), "{text}");
    assert!(text.contains("-> systemctl disable --now lldpad"), "{text}");
}
