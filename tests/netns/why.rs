//! Why frames pass or do not, at both ends: refusals, access lists, drops and traces.

use evb_tests::{
    evbd_program,
    netns::{Netns, event, eventually, table, wire},
};
use evbd::api::{Client, Table};
use serde_json::Value;

use super::{PATIENCE, says};

fn bridge(vlans: &str, policy: &str) -> String {
    format!(
        "role = \"bridge\"\n[[port]]\ninterface = \"b0\"\nkind = \"station\"\n\
         [[port]]\ninterface = \"l0\"\nkind = \"lan\"\nuntagged = 100\n\
         [[profile]]\nname = \"web\"\ntype = 1\nversion = 1\nvlans = [{vlans}]\n{policy}"
    )
}

const STATION: &str = "role = \"station\"\n[evb]\nmode = \"vepa\"\n[[port]]\ninterface = \"s0\"\nkind = \"uplink\"\n\
    [[vsi]]\nname = \"web-1\"\ninterface = \"vm1\"\nid = \"a0000000-0000-4000-8000-000000000001\"\n\
    type = 1\nversion = 1\nmac = \"52:54:00:00:00:01\"\nvlan = 100\n";

/// What `evbd` says to these arguments on this socket.
fn evbd(netns: &Netns, arguments: &[&str]) -> String {
    let socket = netns.file("evbd.sock").display().to_string();
    let program = evbd_program!().display().to_string();
    netns.attempt(&program, &[arguments, &["--socket", &socket]].concat())
}

async fn gate(client: &Client, state: &str) {
    table(client, Table::Vsi, PATIENCE, |rows| rows.iter().any(|row| says(row, "gate") == state)).await;
}

#[tokio::test]
async fn refused_then_filtered_then_passing() {
    let (mut station, mut tor) = (Netns::new("station"), Netns::new("bridge"));
    let (vm, far) = (Netns::new("vm1"), Netns::new("far"));
    wire(&station, "s0", &tor, "b0");
    wire(&station, "vm1", &vm, "eth0");
    wire(&tor, "l0", &far, "eth0");
    vm.run("ip", &["link", "set", "eth0", "address", "52:54:00:00:00:01"]);
    for (host, n) in [(&vm, 1), (&far, 9)] {
        host.run("ip", &["addr", "add", &format!("192.0.2.{n}/24"), "dev", "eth0"]);
    }
    let (_, at_bridge) = tor.evbd(evbd_program!(), &bridge("7", "")).await;
    let (_, at_station) = station.evbd(evbd_program!(), STATION).await;

    // Refused: by name at the station, by address and identifier at the bridge, where it is gone.
    event(&at_station, "refused", PATIENCE, |e| says(e, "what") == "refused").await;
    let said = evbd(&station, &["why", "web-1"]);
    assert!(
        said.contains("do not pass") && said.contains("(error 5)") && said.contains("not in the profile"),
        "{said}"
    );
    assert!(said.contains("history") && said.contains("Associate"), "{said}");
    let said = evbd(&tor, &["why", "a0000000-0000-4000-8000-000000000001", "--json"]);
    let why: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}"));
    assert!(says(&why["why"][0], "because").contains("VLAN 100 is not in profile web"), "{said}");
    assert!(evbd(&tor, &["why", "nobody"]).contains("no VSI is called nobody"));

    let said = evbd(&tor, &["vsi", "show", "a0000000-0000-4000-8000-000000000001", "--json"]);
    let shown: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}"));
    let history = shown["vsi"][0]["history"].as_array().expect("it outlives the VSI");
    assert!(history.len() > 1 && history[1]["after_ms"].is_u64(), "{said}");
    let said = evbd(&station, &["vsi", "show", "web-1"]);
    assert!(said.contains("state      back_off") && said.contains("  Associate sent\n"), "{said}");

    // Permitted, but not to ping.
    let denied = "[[profile.policy.ingress]]\naction = \"deny\"\nname = \"no ping\"\nprotocol = \"icmp\"\n";
    let text =
        bridge("7, 100", denied) + &format!("[control]\nsocket = \"{}\"\n", tor.file("evbd.sock").display());
    std::fs::write(tor.file("evbd.toml"), &text).expect("a configuration");
    at_bridge.reload().await.expect("it is valid");
    // Refused for good, the station would wait for minutes.
    let said = evbd(&station, &["vsi", "associate", "web-1"]);
    gate(&at_bridge, "open").await;
    gate(&at_station, "open").await;
    let ping = || vm.attempt("ping", &["-c", "1", "-W", "1", "192.0.2.9"]);
    eventually(
        "pings are filtered",
        PATIENCE,
        || {
            ping();
            evbd(&tor, &["why", "52:54:00:00:00:01"])
        },
        |said| said.contains("gate is open") && said.contains("Most drops") && said.contains("ms ago"),
    );
    assert!(ping().contains("100% packet loss"), "{said}");
    let drops = evbd(&tor, &["show", "drops"]);
    assert!(
        drops.contains("52:54:00:00:00:01") && drops.contains("a0000000-0000-4000-8000-000000000001"),
        "{drops}"
    );

    // What a trace says is what happens.
    let octets = "ffffffffffff525400000001080645";
    assert!(evbd(&tor, &["trace", "b0", octets]).contains("dropped"), "untagged from a station");
    let arguments = [
        "trace",
        "b0",
        "--from",
        "52:54:00:00:00:01",
        "--to",
        "ff:ff:ff:ff:ff:ff",
        "--vlan",
        "100",
        "--ethertype",
        "0806",
    ];
    let said = evbd(&tor, &arguments);
    assert!(
        said.contains("is in VLAN 100") && said.contains("forwarded") && said.contains("to l0 untagged"),
        "{said}"
    );
    let spoofed =
        ["trace", "b0", "--from", "52:54:00:00:00:09", "--to", "ff:ff:ff:ff:ff:ff", "--vlan", "100"];
    assert!(evbd(&tor, &spoofed).contains("dropped: source_guard"));
    assert!(evbd(&tor, &["trace", "nowhere", octets]).contains("there is no port nowhere"));
    assert!(evbd(&tor, &["trace", "b0", "xyz"]).contains("evbd:"));

    // Without the rule it passes, nobody being interrupted.
    let text = text.replace("action = \"deny\"", "action = \"permit\"");
    std::fs::write(tor.file("evbd.toml"), &text).expect("a configuration");
    at_bridge.reload().await.expect("it is valid");
    let changed = event(&at_bridge, "applied", PATIENCE, |e| {
        says(e, "event") == "profiles_changed" && e["reapplied"].as_array().is_some_and(|r| r.len() == 1)
    });
    changed.await;
    assert!(ping().contains(" 0% packet loss"), "{}", evbd(&tor, &["why", "52:54:00:00:00:01"]));
    let rates = evbd(&tor, &["show", "rates", "--json"]);
    let rates: Value = serde_json::from_str(&rates).unwrap_or_else(|_| panic!("{rates}"));
    assert!(rates["rates"].as_array().is_some_and(|rows| rows.len() == 3), "two ports and a VSI: {rates}");
}

/// Two stations have the VSI, as in a migration that nobody has finished: of the two the bridge says which has the VM.
#[tokio::test]
async fn a_vsi_that_ceded_its_address_says_to_whom() {
    let mut tor = Netns::new("bridge");
    let stations = ["old", "new"].map(Netns::new);
    let vms = ["vm-old", "vm-new"].map(Netns::new);
    for (n, (station, vm)) in stations.iter().zip(&vms).enumerate() {
        wire(station, "s0", &tor, &format!("b{n}"));
        wire(station, "vm1", vm, "eth0");
    }
    let lan = Netns::new("lan");
    wire(&tor, "l0", &lan, "eth0");
    let text = bridge("100", "") + "[[port]]\ninterface = \"b1\"\nkind = \"station\"\n";
    let (_, at_bridge) = tor.evbd(evbd_program!(), &text).await;
    let mut running = Vec::new();
    for (n, mut station) in stations.into_iter().enumerate() {
        let (_, client) = station.evbd(evbd_program!(), STATION).await;
        gate(&client, "open").await;
        table(&at_bridge, Table::Vsi, PATIENCE, |rows| rows.len() == n + 1).await;
        running.push(station);
    }
    let said = evbd(&tor, &["why", "52:54:00:00:00:01", "--json"]);
    let why: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}"));
    let because = |n: usize| says(&why["why"][n], "because").to_owned();
    let [ceded, has] = if says(&why["why"][0]["vsi"], "port") == "b0" { [0, 1] } else { [1, 0] };
    assert!(because(ceded).contains("52:54:00:00:00:01 is on b1"), "{said}");
    assert!(!because(has).contains("opened later"), "{said}");
}
