//! Port extenders in namespaces: E-TAG and VN-Tag on a real wire, and an MTU that has no room for them.

mod carried;
mod edge;
mod kills;
mod lags;
mod loss;
mod plug;
mod strangers;
mod tree;

use evb_tests::{
    evbd_program,
    netns::{Netns, event, wire},
};
use evbd::api::Table;

use super::{PATIENCE, lab, nothing_left, says};

#[test]
fn a_tree_of_extenders() {
    let (output, report) = lab("t-extend", &["--scenario", "extend"]);
    assert!(output.status.success(), "{}\n{report:#}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(report["ping"]["answered"], report["ping"]["sent"]);
    assert!(report["tcp"]["intact"] == true && report["tcp"]["octets"].as_u64() > Some(1_000_000));
    assert_eq!(report["vsis"][0]["profile"], "web");
    let cables = report["extension"]["cables"].as_array().expect("cables");
    let ports: Vec<_> = cables.iter().map(|cable| (says(cable, "cable"), cable["ports"].as_u64())).collect();
    assert_eq!(ports, [("nested", Some(3)), ("outer", Some(6))]);
    assert!(cables.iter().all(|cable| cable["traffic_ms"].as_u64() < Some(2000)), "{cables:#?}");
    assert!(
        report["frames"]["down to several"].as_u64() > Some(0) && report["frames"]["malformed"].is_null()
    );
    nothing_left("t-extend");
}

#[test]
fn a_fabric_extender() {
    let (output, report) = lab("t-fex", &["--scenario", "fex"]);
    assert!(output.status.success(), "{}\n{report:#}", String::from_utf8_lossy(&output.stderr));
    nothing_left("t-fex");
}

/// LLDP of what is behind an extended port is heard there, and an MTU without room is told with its remedy, also when it
/// becomes too small later.
#[tokio::test]
async fn extended_ports_hear_and_say_what_does_not_fit() {
    let (mut bridge, mut extender, mut host) =
        (Netns::new("bridge"), Netns::new("extender"), Netns::new("host"));
    wire(&bridge, "c0", &extender, "up0");
    wire(&extender, "p1", &host, "h0");
    for (at, interface) in [(&bridge, "c0"), (&extender, "up0")] {
        at.run("ip", &["link", "set", interface, "mtu", "1512"]);
    }
    let config = "role = \"bridge\"\n[[port]]\ninterface = \"c0\"\nkind = \"lan\"\nuntagged = 1\ncascade = true\n\
         extended = [{ id = 7 }]\n";
    let (_, on_bridge) = bridge.evbd(evbd_program!(), config).await;
    let config = "role = \"extender\"\n[[port]]\ninterface = \"up0\"\nkind = \"upstream\"\n\
         [[port]]\ninterface = \"p1\"\nkind = \"extended\"\nid = 7\nuntagged = 1\n";
    let (_, on_extender) = extender.evbd(evbd_program!(), config).await;
    let config = "role = \"bridge\"\n[[port]]\ninterface = \"h0\"\nkind = \"lan\"\nuntagged = 1\n";
    let (_, on_host) = host.evbd(evbd_program!(), config).await;
    for (evbd, port) in [(&on_bridge, "c0:7"), (&on_bridge, "c0"), (&on_host, "h0"), (&on_extender, "up0")] {
        event(evbd, "a neighbour", PATIENCE, |e| says(e, "event") == "neighbor" && says(e, "port") == port)
            .await;
    }
    let heard = on_bridge.show(Table::Neighbors).await.unwrap();
    assert_eq!(heard.len(), 2, "{heard:#?}");
    let ports = on_bridge.show(Table::Ports).await.unwrap();
    let port = ports.iter().find(|row| says(row, "port") == "c0:7").expect("the extended port");
    assert_eq!((says(port, "link"), port["mtu"].as_u64()), ("up", Some(1504)));
    extender.run("ip", &["link", "set", "up0", "mtu", "1500"]);
    let told = event(&on_extender, "the MTU", PATIENCE, |e| says(e, "event") == "extension_mtu").await;
    assert_eq!(says(&told, "remedy"), "ip link set up0 mtu 1512, at both ends");
}
