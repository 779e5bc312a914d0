//! evbd against lldpad, in both roles, over a real veth; and tshark reads what port extenders say and tag.

mod commands;
mod dcb;
mod draft;
mod tshark;

use std::time::Duration;

use evb_tests::{
    evbd_program,
    lldpad::{Lldpad, Role},
    netns::{Netns, event, eventually, table, wire},
};
use evbd::api::Table;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);
const VSI: &str = "a0000000-0000-4000-8000-000000000001";
/// Keep-alives every 2.6 s instead of 10.5 s, so that a test sees some.
const FAST: &str = "keep_alive_exponent = 18\nresource_wait_exponent = 18";
const LLDPAD_FAST: &str = "vdprka = 18; vdprwd = 18;";

fn bridge_config(reflective_relay: bool) -> String {
    format!(
        "role = \"bridge\"\nname = \"tor\"\n[evb]\nreflective_relay = {reflective_relay}\n{FAST}\n\
         [[port]]\ninterface = \"b0\"\nkind = \"station\"\n\
         [[profile]]\nname = \"lab\"\nmanager = \"labmgr\"\ntype = 5\nversion = 1\nvlans = [100]\n"
    )
}

fn station_config(vlan: &str) -> String {
    station_config_with("", vlan)
}

fn station_config_with(evb: &str, vlan: &str) -> String {
    format!(
        "role = \"station\"\nname = \"host\"\n[evb]\n{evb}\n{FAST}\n[[port]]\ninterface = \"s0\"\nkind = \"uplink\"\n\
         [[vsi]]\nname = \"vm\"\ninterface = \"vm0\"\nid = \"{VSI}\"\nmanager = \"labmgr\"\ntype = 5\nversion = 1\n\
         mac = \"52:54:00:00:00:01\"\n{vlan}\n"
    )
}

fn two() -> (Netns, Netns) {
    let (station, bridge) = (Netns::new("station"), Netns::new("bridge"));
    wire(&station, "s0", &bridge, "b0");
    (station, bridge)
}

fn says<'a>(row: &'a Value, field: &str) -> &'a str {
    row.get(field).and_then(Value::as_str).unwrap_or("")
}

#[tokio::test]
async fn bridge_serves_a_vsi_of_an_lldpad_station() {
    let (mut station, mut bridge) = two();
    let (_, evbd) = bridge.evbd(evbd_program!(), &bridge_config(true)).await;
    let lldpad = Lldpad::start(&mut station, "s0", Role::Station, &format!("evbrrreq = true; {LLDPAD_FAST}"));

    // Both agree on reflective relay, each in its own words.
    event(&evbd, "reflective relay switched on", PATIENCE, |e| {
        says(e, "event") == "reflective" && e["on"] == true
    })
    .await;
    let agreed = |text: &str| text.contains("mode:bridge") && text.contains("RRCTR");
    eventually("lldpad sees the bridge's TLV", PATIENCE, || lldpad.evb(true), |t| t.contains("mode:bridge"));
    let _ = agreed;

    // A VSI asked for with vdptool is associated, and stays so over keep-alives.
    lldpad.vdptool("assoc", VSI, "100-52:54:00:00:00:01");
    eventually("lldpad holds the VSI", PATIENCE, || lldpad.vsi("assoc", VSI), |t| t.contains("hints = 0"));
    let rows =
        table(&evbd, Table::Vsi, PATIENCE, |rows| rows.iter().any(|r| says(r, "gate") == "open")).await;
    assert_eq!((says(&rows[0], "id"), says(&rows[0], "profile")), (VSI, "lab"), "{rows:#?}");
    let received = |rows: &[Value]| rows[0]["ecp"]["rx_frames"].as_u64().unwrap_or(0);
    let before = received(&evbd.show(Table::Evb).await.unwrap());
    table(&evbd, Table::Evb, PATIENCE, |rows| received(rows) >= before + 3).await;
    assert!(lldpad.vsi("assoc", VSI).contains("hints = 0"), "keep-alives are answered");
    assert_eq!(evbd.show(Table::Vsi).await.unwrap().len(), 1);

    // A type the bridge does not know is refused.
    lldpad.vdptool("deassoc", VSI, "100-52:54:00:00:00:01");
    event(&evbd, "de-associated", PATIENCE, |e| {
        says(e, "event") == "bridge_vsi" && says(e, "what") == "deassociated"
    })
    .await;
    table(&evbd, Table::Vsi, PATIENCE, |rows| rows.iter().all(|r| says(r, "gate") == "shut")).await;
}

#[tokio::test]
async fn bridge_refuses_a_vlan_its_profile_has_not() {
    let (mut station, mut bridge) = two();
    let (_, evbd) = bridge.evbd(evbd_program!(), &bridge_config(true)).await;
    let lldpad = Lldpad::start(&mut station, "s0", Role::Station, "evbrrreq = true;");
    eventually("lldpad sees the bridge's TLV", PATIENCE, || lldpad.evb(true), |t| t.contains("mode:bridge"));
    lldpad.vdptool("assoc", VSI, "200-52:54:00:00:00:01");
    let refusal = event(&evbd, "refused", PATIENCE, |e| says(e, "what") == "refused").await;
    assert!(refusal.to_string().contains("VLAN 200"), "{refusal}");
    assert!(!lldpad.vsi("assoc", VSI).contains("hints = 0"));
}

#[tokio::test]
async fn bridge_that_does_not_reflect_says_so_to_lldpad() {
    let (mut station, mut bridge) = two();
    let (_, evbd) = bridge.evbd(evbd_program!(), &bridge_config(false)).await;
    let lldpad = Lldpad::start(&mut station, "s0", Role::Station, "evbrrreq = true;");
    let evb = |e: &Value| says(e, "event") == "evb" && e["status"]["peer"] == "present";
    let seen = event(&evbd, "lldpad's TLV", PATIENCE, evb).await;
    assert_eq!(says(&seen["status"]["reflective_relay"], "state"), "off", "{seen}");
    eventually("lldpad sees the bridge's TLV", PATIENCE, || lldpad.evb(true), |t| t.contains("mode:bridge"));
}

#[tokio::test]
async fn station_is_a_vepa_behind_an_lldpad_bridge() {
    let (mut station, mut bridge) = two();
    let vm = Netns::new("vm");
    wire(&station, "vm0", &vm, "eth0");
    let lldpad = Lldpad::start(&mut bridge, "b0", Role::Bridge, &format!("evbrrcap = true; {LLDPAD_FAST}"));
    // There is no data path behind it that would send a probe back: VEPA on its word.
    let (_, evbd) =
        station.evbd(evbd_program!(), &station_config_with("mode = \"vepa\"", "vlan = 100")).await;
    event(&evbd, "VEPA", PATIENCE, |e| says(e, "event") == "relay" && says(e, "mode") == "vepa").await;
    eventually(
        "lldpad sees the station's TLV",
        PATIENCE,
        || lldpad.evb(true),
        |t| t.contains("mode:station"),
    );

    event(&evbd, "associated", PATIENCE, |e| says(e, "what") == "associated").await;
    let rows = evbd.show(Table::Vsi).await.unwrap();
    assert_eq!((says(&rows[0], "name"), says(&rows[0], "gate")), ("vm", "open"), "{rows:#?}");

    // The VM's interface goes: the VSI is given back, and lldpad's late De-Associate disturbs nobody.
    station.run("ip", &["link", "del", "vm0"]);
    event(&evbd, "given back", PATIENCE, |e| says(e, "what") == "gone").await;
    table(&evbd, Table::Vsi, PATIENCE, |rows| rows.iter().all(|r| says(r, "gate") == "shut")).await;
}

#[tokio::test]
async fn station_does_not_open_a_gate_without_a_vlan() {
    let (mut station, mut bridge) = two();
    let vm = Netns::new("vm");
    wire(&station, "vm0", &vm, "eth0");
    // lldpad answers a null VID with success and the null VID unchanged.
    let _lldpad = Lldpad::start(&mut bridge, "b0", Role::Bridge, "evbrrcap = true;");
    let (_, evbd) = station.evbd(evbd_program!(), &station_config("")).await;
    let refusal = event(&evbd, "refused", PATIENCE, |e| says(e, "what") == "refused").await;
    assert!(refusal.to_string().contains("VID") || refusal.to_string().contains("VLAN"), "{refusal}");
    let rows = evbd.show(Table::Vsi).await.unwrap();
    assert!(rows.iter().all(|row| says(row, "gate") == "shut"), "{rows:#?}");
}

#[tokio::test]
async fn a_crashed_lldpad_station_is_served_again() {
    let (mut station, mut bridge) = two();
    let (_, evbd) = bridge.evbd(evbd_program!(), &bridge_config(true)).await;
    for round in 0..2 {
        let lldpad =
            Lldpad::start(&mut station, "s0", Role::Station, &format!("evbrrreq = true; {LLDPAD_FAST}"));
        eventually(
            "lldpad sees the bridge's TLV",
            PATIENCE,
            || lldpad.evb(true),
            |t| t.contains("mode:bridge"),
        );
        lldpad.vdptool("assoc", VSI, "100-52:54:00:00:00:01");
        let held = |t: &str| t.contains("hints = 0");
        eventually(&format!("VSI held, round {round}"), PATIENCE, || lldpad.vsi("assoc", VSI), held);
        lldpad.crash();
    }
    // Nobody keeps it alive: the bridge lets go of it.
    let gone = |e: &Value| says(e, "event") == "bridge_vsi" && says(e, "what") == "deassociated";
    event(&evbd, "keep-alive ended", PATIENCE, gone).await;
}
