//! DCBX done by the relay: what two daemons agree on decides over frames.

use std::process::{Command, Stdio};

use evb_tests::{evbd_program, netns::eventually};
use serde_json::{Value, json};

use super::{PATIENCE, lab, nothing_left};

#[test]
fn two_classes_share_a_saturated_uplink_as_agreed_and_the_lossless_one_loses_nothing() {
    let name = "t-dcbx";
    let (output, report) = lab(name, &["--scenario", "dcbx"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let measured = &report["classes"];
    let percent = measured["percent"].as_f64().expect("a share");
    assert!((percent - 70.0).abs() < 5.0, "{report:#}");
    assert_eq!(measured["lossless_sent"], measured["lossless_arrived"], "{report:#}");
    assert!(measured["dropped_beside"].as_u64() > Some(100), "{report:#}");
    // The relay's own count of both classes agrees with what the VMs saw, and names who lost.
    let ets = &measured["dcbx"][0];
    assert_eq!(
        (&ets["feature"], &ets["agreed"], &ets["device"]["state"]),
        (&json!("ets"), &json!(true), &json!("core"))
    );
    let classes = ets["classes"].as_array().expect("classes");
    let number =
        |class: &Value, field: &str| class[field].as_u64().unwrap_or_else(|| panic!("{field}: {class:#}"));
    let [low, high] = &classes[..] else { panic!("{classes:#?}") };
    assert_eq!((&low["percent"], &high["percent"]), (&json!(30), &json!(70)));
    assert_eq!((&high["priorities"], &high["lossless"]), (&json!([3]), &json!([3])));
    assert!(
        number(low, "overflowed") > 100 && number(high, "octets") > number(low, "octets"),
        "{classes:#?}"
    );
    nothing_left(name);
}

#[test]
fn an_interrupted_dcbx_lab_leaves_nothing() {
    let name = "t-dcbx-int";
    let mut running = Command::new(evbd_program!())
        .args(["lab", "--scenario", "dcbx", "--name", name, "--seconds", "60"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("evbd starts");
    let dropped = || {
        let socket = format!("/run/evbd-lab/{name}/station.sock");
        let output =
            Command::new(evbd_program!()).args(["show", "dcbx", "--json", "--socket", &socket]).output();
        let rows: Value = serde_json::from_slice(&output.expect("evbd starts").stdout).unwrap_or(Value::Null);
        rows["dcbx"][0]["classes"][0]["overflowed"].to_string()
    };
    eventually("the uplink is saturated", PATIENCE, dropped, |dropped| !["0", "null"].contains(&dropped));
    Command::new("kill").args(["-INT", &running.id().to_string()]).status().expect("kill runs");
    assert!(!running.wait().expect("it ends").success());
    nothing_left(name);
}
