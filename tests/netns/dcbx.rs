//! DCBX done by the relay: what two daemons agree on decides over frames.

use std::process::{Command, Stdio};

use evb_tests::{
    evbd_program,
    netns::{Netns, eventually, table, wire},
};
use evbd::api::Table;
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

/// Congestion notification and VLANs of applications are told beside DCBX, and shown beside it.
#[tokio::test]
async fn what_is_told_beside_dcbx_is_shown_beside_it() {
    let (mut here, mut there) = (Netns::new("evbd"), Netns::new("peer"));
    wire(&here, "a0", &there, "b0");
    let dcbx = "[dcbx]\npfc = { mode = \"willing\" }\n";
    let port = |interface: &str| {
        format!("role = \"bridge\"\n[[port]]\ninterface = \"{interface}\"\nkind = \"lan\"\n")
    };
    let told = "[lldp.tlvs]\ncongestion_notification = { priorities = [3], ready = [3] }\n\
                application_vlans = [{ vid = 100, selector = \"tcp\", protocol = 3260 }]\n";
    let (_ours, evbd) = here.evbd(evbd_program!(), &format!("{}{dcbx}", port("a0"))).await;
    let (_theirs, _) = there.evbd(evbd_program!(), &format!("{}{dcbx}{told}", port("b0"))).await;
    let shown = |rows: &[Value]| rows.len() == 3 && rows[2]["beside"].is_array();
    let rows = table(&evbd, Table::Dcbx, PATIENCE, shown).await;
    let beside = [1, 2].map(|row: usize| rows[row]["beside"].to_string());
    assert!(beside[0].contains("congestion notification: priorities 3, ready 3"), "{beside:?}");
    assert!(beside[1].contains("TCP port 3260 in VLAN 100"), "{beside:?}");
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
