//! EVB by what really comes back: bridges that keep their word, that do not, that stop to, and the modes that need none.

use evb_tests::{
    evbd_program,
    lldpad::{Lldpad, Role},
    netns::{Netns, event, eventually, table, wire},
};
use evbd::api::{Client, Table};
use serde_json::Value;

use crate::{PATIENCE, says};

/// A station with VSIs on vm1 to `vms` in VLAN 100; `keys` stand in its EVB section.
fn station_config(vms: u8, keys: &str) -> String {
    let mut text = format!(
        "role = \"station\"\nname = \"host\"\n[evb]\n{keys}\n[[port]]\ninterface = \"s0\"\nkind = \"uplink\"\n"
    );
    for n in 1..=vms {
        text += &format!(
            "[[vsi]]\nname = \"vm{n}\"\ninterface = \"vm{n}\"\nid = \"a0000000-0000-4000-8000-00000000000{n}\"\n\
             manager = \"labmgr\"\ntype = 5\nversion = 1\nmac = \"{}\"\nvlan = 100\n",
            mac(n)
        );
    }
    text
}

/// A bridge with the station on b0 and VLAN 100 untagged on l0.
fn bridge_config(keys: &str) -> String {
    format!(
        "role = \"bridge\"\nname = \"tor\"\n[evb]\n{keys}\n[[port]]\ninterface = \"b0\"\nkind = \"station\"\n\
         [[port]]\ninterface = \"l0\"\nkind = \"lan\"\nuntagged = 100\n\
         [[profile]]\nname = \"lab\"\nmanager = \"labmgr\"\ntype = 5\nversion = 1\nvlans = [100]\n"
    )
}

fn mac(n: u8) -> String {
    format!("52:54:00:00:00:0{n}")
}

/// A namespace whose eth0 has this address and 192.0.2.`n`, at the other end of `interface` in `host`.
fn guest(host: &Netns, interface: &str, mac: &str, n: u8) -> Netns {
    let guest = Netns::new(interface);
    wire(host, interface, &guest, "eth0");
    guest.run("ip", &["link", "set", "eth0", "address", mac]);
    guest.run("ip", &["addr", "add", &format!("192.0.2.{n}/24"), "dev", "eth0"]);
    guest
}

/// Whether an ARP request of `guest` for 192.0.2.`n` is answered.
fn reaches(guest: &Netns, n: u8) -> bool {
    let address = format!("192.0.2.{n}");
    guest.run("ip", &["neigh", "flush", "all"]);
    let program = evbd_program!().display().to_string();
    let said =
        guest.attempt(&program, &["lab-probe", "ping", &address, "--timeout-ms", "500", "--count", "3"]);
    let result: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}"));
    result["answered"].as_u64() > Some(0)
}

async fn probe(client: &Client, state: &str) -> Value {
    event(client, state, PATIENCE, |e| says(e, "event") == "probe" && says(e, "state") == state).await
}

/// Waits until so many VSIs have their gates open.
async fn gates_open(client: &Client, count: usize) {
    let open = |rows: &[Value]| rows.iter().filter(|row| says(row, "gate") == "open").count();
    table(client, Table::Vsi, PATIENCE, |rows| open(rows) == count).await;
}

async fn relay(client: &Client, mode: &str) -> Vec<Value> {
    table(client, Table::Evb, PATIENCE, |rows| says(&rows[0], "relay") == mode).await
}

/// lldpad plays the bridge and says that it reflects; behind it there is nothing at all.
#[tokio::test]
async fn a_bridge_that_only_says_so_does_not_make_a_vepa() {
    let (mut station, mut bridge) = (Netns::new("station"), Netns::new("liar"));
    wire(&station, "s0", &bridge, "b0");
    let _vm = guest(&station, "vm1", &mac(1), 1);
    let _lldpad = Lldpad::start(&mut bridge, "b0", Role::Bridge, "evbrrcap = true;");
    let (_, evbd) = station.evbd(evbd_program!(), &station_config(1, "")).await;
    event(&evbd, "associated", PATIENCE, |e| says(e, "what") == "associated").await;
    probe(&evbd, "failed").await;
    let rows = relay(&evbd, "veb").await;
    assert_eq!(says(&rows[0]["reflective_relay"], "state"), "on", "lldpad says so: {rows:#?}");
    assert!(says(&rows[0], "because").contains("a probe did not come back"), "{rows:#?}");
    assert_eq!((says(&rows[0], "mode"), says(&rows[0]["probe"], "state")), ("auto", "failed"));
    assert_eq!((&rows[0]["probe"]["sent"], &rows[0]["probe"]["returned"]), (&5.into(), &0.into()));
}

/// lldpad speaks for a Linux bridge whose port has hairpin on, then off, then on again.
#[tokio::test]
async fn a_kernel_bridge_with_hairpin_is_believed_as_long_as_it_reflects() {
    let (mut station, mut bridge) = (Netns::new("station"), Netns::new("kernel"));
    wire(&station, "s0", &bridge, "b0");
    let (one, _two) = (guest(&station, "vm1", &mac(1), 1), guest(&station, "vm2", &mac(2), 2));
    // Without STP it would swallow what is meant for lldpad.
    bridge.run("ip", &["link", "add", "br0", "type", "bridge", "stp_state", "1", "forward_delay", "200"]);
    bridge.run("ip", &["link", "set", "br0", "up"]);
    bridge.run("ip", &["link", "set", "b0", "master", "br0"]);
    let place = Lldpad::start(&mut bridge, "b0", Role::Bridge, "evbrrcap = true;");
    let hairpin = |on: &str| place.run("bridge", &["link", "set", "dev", "b0", "hairpin", on]);
    hairpin("on");
    let keys = "probe_interval = 1\nfallback = \"isolate\"";
    let (_, evbd) = station.evbd(evbd_program!(), &station_config(2, keys)).await;
    probe(&evbd, "proven").await;
    relay(&evbd, "vepa").await;
    gates_open(&evbd, 2).await;
    assert!(reaches(&one, 2), "by way of the kernel's bridge");

    hairpin("off");
    probe(&evbd, "lost").await;
    let rows = relay(&evbd, "isolate").await;
    assert!(says(&rows[0], "because").contains("do not come back any more"), "{rows:#?}");
    assert_eq!(says(&rows[0]["reflective_relay"], "state"), "on", "lldpad says so still");
    assert!(!reaches(&one, 2), "isolated by policy");

    hairpin("on");
    relay(&evbd, "vepa").await;
    assert!(reaches(&one, 2));
    // Probes came back to the uplink and were withheld from the VMs.
    let rows = evbd.show(Table::Ports).await.unwrap();
    assert!(rows[0]["drops"]["probe"].as_u64() > Some(0), "{:#}", rows[0]);
}

#[tokio::test]
async fn private_vms_meet_neither_here_nor_on_a_bridge_that_reflects() {
    let (mut station, mut bridge) = (Netns::new("station"), Netns::new("bridge"));
    wire(&station, "s0", &bridge, "b0");
    let (one, two) = (guest(&station, "vm1", &mac(1), 1), guest(&station, "vm2", &mac(2), 2));
    let _host = guest(&bridge, "l0", &mac(9), 9);
    let (_, _peer) = bridge.evbd(evbd_program!(), &bridge_config("")).await;
    let (_, evbd) = station.evbd(evbd_program!(), &station_config(2, "mode = \"private\"")).await;
    gates_open(&evbd, 2).await;
    let rows = evbd.show(Table::Evb).await.unwrap();
    assert_eq!((says(&rows[0], "mode"), says(&rows[0], "relay")), ("private", "private"));
    assert_eq!(says(&rows[0]["reflective_relay"], "reason"), "not_requested");
    assert!(reaches(&one, 9) && reaches(&two, 9), "the outside");
    assert!(!reaches(&one, 2) && !reaches(&two, 1), "one another");
}

#[tokio::test]
async fn the_vm_of_a_passthru_station_is_whoever_it_likes() {
    let (mut station, mut bridge) = (Netns::new("station"), Netns::new("bridge"));
    wire(&station, "s0", &bridge, "b0");
    let vm = guest(&station, "vm1", &mac(1), 1);
    let host = guest(&bridge, "l0", &mac(9), 9);
    let (_, _peer) = bridge.evbd(evbd_program!(), &bridge_config("guard = false")).await;
    let (_, evbd) = station.evbd(evbd_program!(), &station_config(1, "mode = \"passthru\"")).await;
    gates_open(&evbd, 1).await;
    assert!(reaches(&vm, 9), "as the VSI says");
    vm.run("ip", &["link", "set", "eth0", "address", "52:54:00:00:00:77"]);
    assert!(reaches(&vm, 9) && reaches(&host, 1), "under an address no VSI names");
    let rows = evbd.show(Table::Evb).await.unwrap();
    assert_eq!(says(&rows[0], "relay"), "passthru");
}

/// A neighbour of draft 0.2 only: lldpad with the old TLV and not the new one.
#[tokio::test]
async fn a_neighbour_that_speaks_draft_0_2_is_named() {
    let (mut station, mut bridge) = (Netns::new("station"), Netns::new("draft"));
    wire(&station, "s0", &bridge, "b0");
    let lldpad = Lldpad::start(&mut bridge, "b0", Role::Bridge, "");
    let set = |tlv: &str, to: &str| {
        lldpad.run("lldptool", &["-T", "-i", "b0", "-g", "ncb", "-V", tlv, &format!("enableTx={to}")]);
    };
    set("evb", "no");
    set("evbcfg", "yes");
    let (_, evbd) = station.evbd(evbd_program!(), &station_config(1, "dialect = \"standard\"")).await;
    let draft = |e: &Value| says(e, "event") == "evb" && e["status"]["peer"] == "draft";
    let seen = event(&evbd, "draft 0.2", PATIENCE, draft).await;
    assert!(says(&seen["status"]["reflective_relay"], "words").contains("draft 0.2"), "{seen}");
    let rows = evbd.show(Table::Evb).await.unwrap();
    assert!(says(&rows[0], "because").contains("draft 0.2"), "{rows:#?}");
    eventually("lldpad hears us", PATIENCE, || lldpad.evb(true), |t| t.contains("mode:station"));
}
