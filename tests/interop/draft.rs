//! lldpad speaking draft 0.2, as libvirt has it do in the field. Its draft bridge never answers VDP, so it is a station.

use super::*;

const INSTANCE: &str = "fa9b7fff-b0a0-4893-8e0e-beef4ff18f8f";

/// Has lldpad carry out command `mode` (0 to 3) of a VSI of type 0x123456 version 1 of manager 12.
fn command(lldpad: &Lldpad<'_>, mode: u8, vlan: u16) {
    let value = format!("mode={mode},12,1193046,1,{INSTANCE},2,52:54:00:c7:3e:ce,{vlan}");
    let tell = || {
        lldpad.attempt("lldptool", &["-T", "-i", "s0", "-g", "ncb", "-V", "vdp", "-c", &value]);
        state(lldpad)
    };
    // It takes none before both ends have agreed on ECP and VDP, and then says nothing.
    eventually("lldpad takes the command", PATIENCE, tell, |said| mode == 3 || said.contains(INSTANCE));
}

/// The state of its machine (2 associated, 4 pre-associated) and the VSI.
fn state(lldpad: &Lldpad<'_>) -> String {
    lldpad.attempt("lldptool", &["-t", "-i", "s0", "-g", "ncb", "-V", "vdp", "-c", "mode"])
}

#[tokio::test]
async fn a_draft_station_is_served_with_the_draft() {
    let (mut station, mut bridge) = two();
    let config = "role = \"bridge\"\n[[port]]\ninterface = \"b0\"\nkind = \"station\"\n\
         [[profile]]\nname = \"old\"\nmanager = \"0x0c000000000000000000000000000000\"\n\
         type = 1193046\nversion = 1\nvlans = [3]\n";
    let (_, evbd) = bridge.evbd(evbd_program!(), config).await;
    let lldpad = Lldpad::start(&mut station, "s0", Role::DraftStation, "fmode = \"reflectiverelay\";");
    let rows = table(&evbd, Table::Evb, PATIENCE, |rows| says(&rows[0], "dialect") == "draft").await;
    assert_eq!(says(&rows[0], "peer"), "present", "{rows:#?}");
    event(&evbd, "reflective relay switched on", PATIENCE, |e| {
        says(e, "event") == "reflective" && e["on"] == true
    })
    .await;

    for (mode, confirmed, gate) in [(0, "pre_associate", "shut"), (2, "associate", "open")] {
        command(&lldpad, mode, 3);
        let rows = table(&evbd, Table::Vsi, PATIENCE, |rows| {
            rows.iter().any(|r| says(r, "id") == INSTANCE && says(r, "confirmed") == confirmed)
        })
        .await;
        assert_eq!(says(&rows[0], "gate"), gate, "{rows:#?}");
    }
    eventually("lldpad is associated", PATIENCE, || state(&lldpad), |text| text.contains("mode=2,"));
    // It is kept alive: every 10 s, and the bridge would not wait twice as long.
    let received = |rows: &[Value]| rows[0]["vdp"]["keep_alives"].as_u64().unwrap_or(0);
    table(&evbd, Table::Evb, PATIENCE, |rows| received(rows) >= 2).await;
    let rows = evbd.show(Table::Vsi).await.unwrap();
    assert_eq!(says(&rows[0], "gate"), "open", "{rows:#?}");

    command(&lldpad, 3, 3);
    table(&evbd, Table::Vsi, PATIENCE, |rows| rows.iter().all(|r| says(r, "gate") == "shut")).await;
}

#[tokio::test]
async fn a_draft_station_is_refused_a_vlan_its_profile_has_not() {
    let (mut station, mut bridge) = two();
    let config = bridge_config(true).replace(
        "manager = \"labmgr\"\ntype = 5",
        "manager = \"0x0c000000000000000000000000000000\"\ntype = 1193046",
    );
    let (_, evbd) = bridge.evbd(evbd_program!(), &config).await;
    let lldpad = Lldpad::start(&mut station, "s0", Role::DraftStation, "fmode = \"reflectiverelay\";");
    table(&evbd, Table::Evb, PATIENCE, |rows| says(&rows[0], "dialect") == "draft").await;
    command(&lldpad, 2, 7);
    let refusal = event(&evbd, "refused", PATIENCE, |e| says(e, "what") == "refused").await;
    assert!(refusal.to_string().contains("VLAN 7"), "{refusal}");
}
