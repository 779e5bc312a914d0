//! What moves the frames of E-channels, what `evbd trace` and `show` say of them.

use evb_tests::{
    evbd_program,
    netns::{Netns, table},
};
use evbd::api::{Client, Table};
use serde_json::Value;

use super::tree::{BRIDGE, SOON, cascade, extender, host, reaches, up};
use crate::{PATIENCE, says};

/// Of a broadcast from host 1, with the tag of an E-channel if there is one.
fn frame(channel: Option<u8>) -> Vec<u8> {
    let tag = channel.map(|n| [0x89, 0x3f, 0, 0, 0, n, 0, 0]);
    let addresses = [&[0xff; 6][..], &[0x52, 0x54, 0, 0, 0, 1]].concat();
    [&addresses[..], tag.as_ref().map_or(&[][..], |tag| tag), &[8, 0], &[0; 46]].concat()
}

fn words(trace: &Value) -> String {
    trace["words"].to_string()
}

/// On all ports of both, two hosts reach one another; where a frame goes is told at both ends of the cascade.
async fn carried_by(carrier: &str) {
    let (mut bridge, mut pe) = (Netns::new("bridge"), Netns::new("extender"));
    cascade(&bridge, "c0", &pe, "up0");
    let hosts = [host(&pe, "p1", 1), host(&pe, "p2", 2)];
    let with = |config: &str| config.replace("[[port]]\n", &format!("[[port]]\ncarrier = \"{carrier}\"\n"));
    let (_, on_bridge) = bridge.evbd(evbd_program!(), &with(BRIDGE)).await;
    let (_, on_extender) = pe.evbd(evbd_program!(), &with(&extender("\"down\"", &["p1", "p2"], false))).await;
    up(&on_bridge, 2).await;
    assert!(reaches(&hosts[0], 2, PATIENCE) && reaches(&hosts[1], 1, SOON));
    for (evbd, name) in [(&on_bridge, "c0"), (&on_extender, "up0"), (&on_extender, "p1")] {
        let rows = evbd.show(Table::Ports).await.unwrap();
        let row = rows.iter().find(|row| says(row, "port") == name).expect("the port");
        assert_eq!((says(row, "carrier"), row["cut_because"].is_null()), (carrier, true), "{row:#}");
    }
    room(&on_bridge).await;
    traced(&on_bridge, &on_extender).await;
    lost(&on_extender, &bridge).await;
}

async fn room(evbd: &Client) {
    let rows = evbd.show(Table::Extension).await.unwrap();
    let row = rows.first().expect("a session");
    assert_eq!((row["mtu"].as_u64(), row["mtu_needed"].as_u64()), (Some(1512), Some(1512)), "{row:#}");
}

async fn traced(on_bridge: &Client, on_extender: &Client) {
    let rows = on_bridge.show(Table::Fdb).await.unwrap();
    let at =
        |mac: &str| rows.iter().find(|row| says(row, "mac") == mac).map(|row| says(row, "port").to_owned());
    let (one, two) = (at("52:54:00:00:00:01").expect("learnt"), at("52:54:00:00:00:02").expect("learnt"));
    let number = |port: &str| port.split(':').nth(1).and_then(|n| n.parse::<u8>().ok()).expect("a channel");
    // Up from the port extender, and out of the same cascade port.
    let up = on_extender.trace("p1", &frame(None)).await.unwrap();
    let copy = &up["copies"][0];
    assert_eq!((says(copy, "port"), copy["channel"].as_u64()), ("up0", Some(number(&one).into())), "{up:#}");
    let over = on_bridge.trace("c0", &frame(Some(number(&one)))).await.unwrap();
    assert!(words(&over).contains(&format!("came by E-channel {} of port", number(&one))), "{over:#}");
    let copy = &over["copies"][0];
    assert_eq!((says(copy, "port"), says(copy, "link")), (two.as_str(), "c0"), "{over:#}");
    let down = on_extender.trace("up0", &frame(Some(number(&two)))).await.unwrap();
    assert_eq!(says(&down["copies"][0], "port"), "p2", "{down:#}");
    let nowhere = on_extender.trace("up0", &frame(Some(250))).await.unwrap();
    assert_eq!(says(&nowhere, "outcome"), "dropped: channel_unknown");
    let none = on_bridge.trace("c0", &frame(Some(0))).await.unwrap_err();
    assert!(format!("{none:#}").contains("counted as channel_id"), "{none:#}");
}

/// What a port extender drops is told with its reason: a frame from the bridge's own host has no tag.
async fn lost(evbd: &Client, bridge: &Netns) {
    bridge.run("ip", &["addr", "add", "198.51.100.1/24", "dev", "c0"]);
    let peer =
        ["neigh", "add", "198.51.100.2", "lladdr", "52:54:00:00:00:09", "dev", "c0", "nud", "permanent"];
    bridge.run("ip", &peer);
    let program = evbd_program!().display().to_string();
    let ping = ["lab-probe", "ping", "198.51.100.2", "--timeout-ms", "50", "--count", "1"];
    bridge.attempt(&program, &ping);
    let dropped = |row: &Value| says(row, "reason") == "channel_missing" && says(row, "port") == "up0";
    table(evbd, Table::Drops, PATIENCE, |rows| rows.iter().any(dropped)).await;
}

#[tokio::test]
async fn by_packet_sockets() {
    carried_by("packet").await;
}

#[tokio::test]
async fn by_af_xdp() {
    carried_by("xdp").await;
}
