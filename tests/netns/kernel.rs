//! Ports whose frames the kernel forwards: a Linux bridge that reflects as long as that is agreed, and macvtaps that follow
//! the station's mode.

use evb_tests::{
    evbd_program,
    netns::{Netns, event, eventually, table, wire},
};
use evbd::api::Table;

use crate::{PATIENCE, says};

const VM: &str = "52:54:00:00:00:01";

const STATION: &str = "role = \"station\"\nname = \"host\"\n[evb]\nmode = \"vepa\"\n[lldp]\ntx_interval = 1\ntx_hold = 2\n\
     [[port]]\ninterface = \"s0\"\nkind = \"uplink\"\ndatapath = \"kernel\"\n\
     [[vsi]]\nname = \"vm1\"\ninterface = \"tap1\"\nid = \"a0000000-0000-4000-8000-000000000001\"\ntype = 5\nversion = 1\n\
     mac = \"52:54:00:00:00:01\"\n";

const BRIDGE: &str = "role = \"bridge\"\nname = \"tor\"\n[[port]]\ninterface = \"b0\"\nkind = \"station\"\n\
     datapath = \"kernel\"\n[[profile]]\nname = \"lab\"\ntype = 5\nversion = 1\nvlans = [100]\n";

fn port(tor: &Netns) -> String {
    tor.run("ip", &["-d", "link", "show", "b0"])
}

fn entries(tor: &Netns) -> String {
    tor.attempt("bridge", &["fdb", "show", "dev", "b0"])
}

fn mode(host: &Netns) -> String {
    let said = host.run("ip", &["-d", "link", "show", "tap1"]);
    let words: Vec<&str> = said.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "mode" && words.contains(&"macvtap")).expect("a mode");
    // The first `mode` is that of the link.
    let last = words.iter().rposition(|word| *word == "mode").unwrap_or(at);
    words[last + 1].to_owned()
}

#[tokio::test]
async fn the_kernel_reflects_as_long_as_that_is_agreed() {
    let (mut host, mut tor) = (Netns::new("host"), Netns::new("tor"));
    wire(&host, "s0", &tor, "b0");
    host.run(
        "ip",
        &["link", "add", "link", "s0", "name", "tap1", "address", VM, "type", "macvtap", "mode", "private"],
    );
    host.run("ip", &["link", "set", "tap1", "up"]);
    let (_, bridge) = tor.evbd(evbd_program!(), BRIDGE).await;
    let rows = table(&bridge, Table::Ports, PATIENCE, |rows| says(&rows[0], "link") == "up").await;
    assert!(says(&rows[0], "fault").contains("master BRIDGE"), "{rows:#?}");
    tor.run("ip", &["link", "add", "br0", "type", "bridge"]);
    tor.run("ip", &["link", "set", "br0", "up"]);
    tor.run("ip", &["link", "set", "b0", "master", "br0"]);
    let rows = table(&bridge, Table::Ports, PATIENCE, |rows| says(&rows[0], "fault").is_empty()).await;
    assert_eq!(says(&rows[0], "carrier"), "kernel");
    assert!(says(&rows[0], "carrier_because").contains("VLANs"), "{rows:#?}");
    // Nothing is agreed: the administrator's.
    assert!(port(&tor).contains("hairpin off") && port(&tor).contains("learning on"), "{}", port(&tor));

    let (place, station) = host.evbd(evbd_program!(), STATION).await;
    event(&bridge, "reflection", PATIENCE, |event| {
        says(event, "event") == "reflective" && event["on"] == true
    })
    .await;
    let now = port(&tor);
    assert!(now.contains("hairpin on") && now.contains("learning off") && now.contains("flood off"), "{now}");
    let vsi = |rows: &[serde_json::Value]| rows.iter().any(|row| says(row, "confirmed") == "associate");
    table(&station, Table::Vsi, PATIENCE, vsi).await;
    eventually(
        "an entry",
        PATIENCE,
        || entries(&tor),
        |said| said.lines().any(|l| l.contains(VM) && l.contains("static")),
    );
    eventually("the mode", PATIENCE, || mode(&host), |mode| mode == "vepa");

    // Somebody else meddles.
    tor.run("bridge", &["link", "set", "dev", "b0", "hairpin", "off"]);
    let drift = event(&bridge, "drift", PATIENCE, |event| says(event, "event") == "kernel_drift").await;
    assert!(drift["what"].to_string().contains("hairpin"), "{drift}");
    eventually("hairpin again", PATIENCE, || port(&tor), |said| said.contains("hairpin on"));
    tor.run("bridge", &["fdb", "del", VM, "dev", "b0", "master"]);
    eventually("the entry again", PATIENCE, || entries(&tor), |said| said.contains(VM));

    // The station is gone without a word.
    host.kill(place);
    let off = |event: &serde_json::Value| says(event, "event") == "reflective" && event["on"] == false;
    event(&bridge, "no reflection", PATIENCE, off).await;
    let now = port(&tor);
    assert!(now.contains("hairpin off") && now.contains("learning on") && now.contains("flood on"), "{now}");
    eventually("no entry", PATIENCE, || entries(&tor), |said| !said.contains(VM));
}
