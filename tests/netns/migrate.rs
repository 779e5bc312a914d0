//! VMs that move between stations, under traffic.

use std::process::{Command, Stdio};

use evb_tests::{evbd_program, netns::eventually};
use serde_json::{Value, json};

use super::{PATIENCE, lab, nothing_left};

/// Facts, no speeds: a late De-Associate takes nothing, an early one costs no more than the move, no octet of the stream
/// is lost, and one bridge has the VM in the end.
fn moves(name: &str, bridges: &str) {
    let (output, report) = lab(name, &["--scenario", "migrate", "--bridges", bridges]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let moved = report["migrations"].as_array().expect("migrations");
    let orders: Vec<_> = moved.iter().map(|m| json!([m["from"], m["to"], m["late_deassociate"]])).collect();
    assert_eq!(orders, [json!(["station", "station2", true]), json!(["station2", "station", false])]);
    for m in moved {
        let number = |field: &str| m[field].as_u64().unwrap_or_else(|| panic!("{field}: {m:#}"));
        assert!(number("pings") >= 3000 && m["lost_otherwise"] == 0, "{m:#}");
        assert!(m["tcp"]["intact"] == true && m["tcp"]["octets"].as_u64() > Some(1_000_000), "{m:#}");
        // The interface was away for a while: that the pinger must have seen, or it looked at something else.
        assert!(number("lost") > 0 && number("blackout_ms") >= number("away_ms") / 2, "{m:#}");
        assert!(number("blackout_ms") < 2000, "{m:#}");
    }
    assert_eq!(report["vsis"].as_array().map(Vec::len), Some(1), "{report:#}");
    assert_eq!(
        (&report["vsis"][0]["port"], &report["vsis"][0]["gate"]),
        (&json!("station0"), &json!("open"))
    );
    nothing_left(name);
}

#[test]
fn a_vm_moves_between_two_ports_of_a_bridge() {
    moves("t-migrate1", "1");
}

#[test]
fn a_vm_moves_between_two_bridges() {
    moves("t-migrate2", "2");
}

#[test]
fn a_move_that_is_interrupted_leaves_nothing() {
    let mut running = Command::new(evbd_program!())
        .args(["lab", "--scenario", "migrate", "--bridges", "2", "--name", "t-moving", "--seconds", "60"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("evbd starts");
    // The source's bridge has the VM, and the target is prepared: traffic runs.
    let shown = || {
        let socket = "/run/evbd-lab/t-moving/bridge2.sock";
        let output =
            Command::new(evbd_program!()).args(["show", "vsi", "--json", "--socket", socket]).output();
        let rows: Value = serde_json::from_slice(&output.expect("evbd starts").stdout).unwrap_or(Value::Null);
        rows["vsi"][0]["gate"].to_string()
    };
    eventually("the target is prepared", PATIENCE, shown, |gate| gate.contains("shut"));
    Command::new("kill").args(["-INT", &running.id().to_string()]).status().expect("kill runs");
    assert!(!running.wait().expect("it ends").success());
    nothing_left("t-moving");
}
