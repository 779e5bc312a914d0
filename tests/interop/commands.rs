//! Every command in every filter format, in both roles.

use evbd::{VsiOrder, Which, config::VsiConfig};
use serde_json::json;
use vdp::{Command, Hints};

use super::*;

/// A filter as vdptool spells it, the same as the bridge grants it, and as the configuration of a station spells it. lldpad
/// takes no null VID once the bridge has named one.
fn formats() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        ("100", "100", json!([{ "vlan": 100 }])),
        ("0", "100", json!([{ "vlan": 100 }])),
        (
            "100-52:54:00:00:00:01",
            "100-52:54:00:00:00:01",
            json!([{ "mac": "52:54:00:00:00:01", "vlan": 100 }]),
        ),
        (
            "0-52:54:00:00:00:01",
            "100-52:54:00:00:00:01",
            json!([{ "mac": "52:54:00:00:00:01", "vlan": 100, "pcp": 5 }]),
        ),
        ("100--7", "100--7", json!([{ "group": 7, "vlan": 100 }])),
        ("0--7", "100--7", json!([{ "group": 7, "vlan": 100 }])),
        (
            "0-52:54:00:00:00:01-7",
            "100-52:54:00:00:00:01-7",
            json!([{ "group": 7, "mac": "52:54:00:00:00:01", "vlan": 100 }]),
        ),
        (
            "100-52:54:00:00:00:01,101-52:54:00:00:00:02",
            "100-52:54:00:00:00:01,101-52:54:00:00:00:02",
            json!([
                { "mac": "52:54:00:00:00:01", "vlan": 100 },
                { "mac": "52:54:00:00:00:02", "vlan": 101 },
            ]),
        ),
    ]
}

fn uuid(n: usize) -> String {
    format!("a0000000-0000-4000-8000-0000000000{n:02x}")
}

fn station_without_vsis(evb: &str) -> String {
    format!(
        "role = \"station\"\nname = \"host\"\n[evb]\n{evb}\n{FAST}\n\
         [[port]]\ninterface = \"s0\"\nkind = \"uplink\"\n"
    )
}

/// A VSI given at run time; there is no interface of that name.
fn given(n: usize, filters: &Value) -> VsiConfig {
    serde_json::from_value(json!({
        "name": format!("vm{n}"), "interface": format!("vm{n}"), "id": uuid(n), "manager": "labmgr",
        "type": 5, "version": 1, "filters": filters,
    }))
    .unwrap()
}

fn order(command: Command, vsi: Which) -> VsiOrder {
    VsiOrder { command, vsi, hints: Hints::default(), port: None }
}

#[tokio::test]
async fn an_lldpad_station_gets_every_command_in_every_format() {
    let (mut station, mut bridge) = two();
    let config = bridge_config(true)
        .replace("vlans = [100]", "vlans = [100, 101]\ngroups = [{ group = 7, vlan = 100 }]")
        .replace("[evb]", "[evb]\ngroups = true");
    let (_, evbd) = bridge.evbd(evbd_program!(), &config).await;
    let lldpad = Lldpad::start(
        &mut station,
        "s0",
        Role::Station,
        &format!("evbrrreq = true; evbgpid = true; {LLDPAD_FAST}"),
    );
    eventually("lldpad sees the bridge's TLV", PATIENCE, || lldpad.evb(true), |t| t.contains("mode:bridge"));
    for (n, (asked, granted, _)) in formats().into_iter().enumerate() {
        let id = uuid(n);
        for (command, filter, confirmed, gate) in [
            ("preassoc", asked, "pre_associate", "shut"),
            ("preassoc-rr", granted, "pre_associate_rr", "shut"),
            ("assoc", granted, "associate", "open"),
        ] {
            let said = lldpad.vdptool(command, &id, filter);
            for entry in granted.split(',') {
                // It does not show groups as they are.
                let shown = entry.trim_end_matches("-7");
                assert!(said.contains(&format!("filter = {shown}")), "{command} {filter}: {said}");
            }
            let rows = table(&evbd, Table::Vsi, PATIENCE, |rows| {
                rows.iter().any(|r| says(r, "id") == id && says(r, "confirmed") == confirmed)
            })
            .await;
            let row = rows.iter().find(|r| says(r, "id") == id).unwrap();
            assert_eq!(says(row, "gate"), gate, "{command} {filter}: {row:#}");
            let grouped = row["filter"][0]["group"] == 7 && row["filter"][0]["vid"] == 100;
            assert_eq!(grouped, granted.ends_with("-7"), "{command} {filter}: {row:#}");
            let held = || lldpad.vsi(command, &id);
            eventually(&format!("lldpad holds {command} {filter}"), PATIENCE, held, |t| {
                t.contains("hints = 0")
            });
        }
        lldpad.vdptool("deassoc", &id, granted);
        table(&evbd, Table::Vsi, PATIENCE, |rows| rows.iter().all(|r| says(r, "id") != id)).await;
    }
}

#[tokio::test]
async fn an_lldpad_bridge_takes_every_command_in_every_format() {
    let (mut station, mut bridge) = two();
    let lldpad = Lldpad::start(
        &mut bridge,
        "b0",
        Role::Bridge,
        &format!("evbrrcap = true; evbgpid = true; {LLDPAD_FAST}"),
    );
    let config = station_without_vsis("groups = true");
    let (_, evbd) = station.evbd(evbd_program!(), &config).await;
    eventually(
        "lldpad sees the station's TLV",
        PATIENCE,
        || lldpad.evb(true),
        |t| t.contains("mode:station"),
    );
    for (n, (.., filters)) in formats().into_iter().enumerate() {
        for (command, confirmed) in [
            (Command::PreAssociate, "pre_associate"),
            (Command::PreAssociateRr, "pre_associate_rr"),
            (Command::Associate, "associate"),
        ] {
            evbd.order(&order(command, Which::Given(given(n, &filters)))).await.unwrap();
            table(&evbd, Table::Vsi, PATIENCE, |rows| {
                rows.iter().any(|r| says(r, "id") == uuid(n) && says(r, "confirmed") == confirmed)
            })
            .await;
        }
        evbd.order(&order(Command::DeAssociate, Which::Known(uuid(n)))).await.unwrap();
        table(&evbd, Table::Vsi, PATIENCE, |rows| rows.iter().all(|r| says(r, "id") != uuid(n))).await;
    }
}

/// lldpad reads a VDPDU of many VSIs and answers each by itself, 3 ms apart and no faster than its timer.
#[tokio::test]
async fn many_vsis_of_one_pdu_are_all_served_by_an_lldpad_bridge() {
    let (mut station, mut bridge) = two();
    let lldpad = Lldpad::start(&mut bridge, "b0", Role::Bridge, "evbrrcap = true;");
    let config = station_without_vsis("ack_timer_exponent = 8");
    let (_, evbd) = station.evbd(evbd_program!(), &config).await;
    eventually(
        "lldpad sees the station's TLV",
        PATIENCE,
        || lldpad.evb(true),
        |t| t.contains("mode:station"),
    );
    for n in 1..=60 {
        let filters = json!([{ "mac": format!("52:54:00:00:00:{n:02x}"), "vlan": 100 }]);
        evbd.order(&order(Command::Associate, Which::Given(given(n, &filters)))).await.unwrap();
    }
    table(&evbd, Table::Vsi, PATIENCE, |rows| {
        rows.iter().filter(|r| says(r, "confirmed") == "associate").count() == 60
    })
    .await;
    let sent = &evbd.show(Table::Evb).await.unwrap()[0]["vdp"];
    assert_eq!((sent["timeouts"].as_u64(), sent["failed"].as_u64()), (Some(0), Some(0)), "{sent:#}");
    assert!(sent["sent"]["pdus"].as_u64().unwrap() * 10 < sent["sent"]["tlvs"].as_u64().unwrap(), "{sent:#}");
}

/// lldpad never answers other values of a VSI it holds: it is told of a De-Associate before.
#[tokio::test]
async fn an_lldpad_bridge_is_not_asked_to_modify() {
    let (mut station, mut bridge) = two();
    let lldpad = Lldpad::start(&mut bridge, "b0", Role::Bridge, &format!("evbrrcap = true; {LLDPAD_FAST}"));
    let (_, evbd) = station.evbd(evbd_program!(), &station_without_vsis("")).await;
    eventually(
        "lldpad sees the station's TLV",
        PATIENCE,
        || lldpad.evb(true),
        |t| t.contains("mode:station"),
    );
    for vlan in [100, 101] {
        let filters = json!([{ "mac": "52:54:00:00:00:01", "vlan": vlan }]);
        evbd.order(&order(Command::Associate, Which::Given(given(1, &filters)))).await.unwrap();
        table(&evbd, Table::Vsi, 2 * PATIENCE, |rows| {
            rows.iter().any(|r| {
                says(r, "confirmed") == "associate" && r["filter"].to_string().contains(&vlan.to_string())
            })
        })
        .await;
    }
    let row = &evbd.show(Table::Vsi).await.unwrap()[0];
    assert!(row["history"].to_string().contains("to be associated with other values"), "{row:#}");
}
