//! A station behind an extended port: EVB, reflective relay and VDP run there as on any port of the bridge.

use evb_tests::{
    evbd_program,
    netns::{Netns, event, table},
};
use evbd::api::Table;

use super::tree::{cascade, extender, host, reaches};
use crate::{PATIENCE, says};

#[tokio::test]
async fn a_station_behind_an_extended_port() {
    let (mut bridge, mut pe, mut station) =
        (Netns::new("bridge"), Netns::new("extender"), Netns::new("station"));
    cascade(&bridge, "c0", &pe, "up0");
    evb_tests::netns::wire(&pe, "p1", &station, "s0");
    let vms = [host(&station, "vm1", 1), host(&station, "vm2", 2)];
    let lan = host(&bridge, "l0", 3);
    let config = "role = \"bridge\"\n[[port]]\ninterface = \"c0\"\nkind = \"station\"\ncascade = true\n\
         [[port]]\ninterface = \"l0\"\nkind = \"lan\"\nuntagged = 100\n\
         [[profile]]\nname = \"web\"\ntype = 5\nversion = 1\nvlans = [100]\n";
    let (_, cb) = bridge.evbd(evbd_program!(), config).await;
    pe.evbd(evbd_program!(), &extender("\"down\"", &["p1"], false)).await;
    let mut config = "role = \"station\"\n[[port]]\ninterface = \"s0\"\nkind = \"uplink\"\n".to_owned();
    for n in 1..=2 {
        config += &format!(
            "[[vsi]]\nname = \"vm{n}\"\ninterface = \"vm{n}\"\nid = \"a0000000-0000-4000-8000-00000000000{n}\"\n\
             type = 5\nversion = 1\nmac = \"52:54:00:00:00:0{n}\"\n"
        );
    }
    let (_, evbd) = station.evbd(evbd_program!(), &config).await;
    for client in [&evbd, &cb] {
        table(client, Table::Vsi, PATIENCE, |rows| {
            rows.len() == 2 && rows.iter().all(|row| says(row, "gate") == "open")
        })
        .await;
    }
    let rows = cb.show(Table::Vsi).await.unwrap();
    assert!(
        rows.iter().all(|row| says(row, "port").starts_with("c0:") && says(row, "profile") == "web"),
        "{rows:#?}"
    );
    // What the bridge says of itself is proved by a probe, and only then the station relies on it.
    event(&evbd, "proof", PATIENCE, |e| says(e, "event") == "probe" && says(e, "state") == "proven").await;
    table(&evbd, Table::Evb, PATIENCE, |rows| says(&rows[0], "relay") == "vepa").await;
    assert!(reaches(&vms[0], 2, PATIENCE), "out of the extended port it came from");
    assert!(reaches(&vms[0], 3, PATIENCE) && reaches(&lan, 2, PATIENCE));
    let ports = cb.show(Table::Ports).await.unwrap();
    let port = ports.iter().find(|row| says(row, "port").starts_with("c0:")).unwrap();
    assert!(port["reflected"].as_u64() > Some(1), "{port:#}");

    // The port extender's cable is pulled: the VSIs are gone with the port, and come back with it.
    pe.run("ip", &["link", "set", "up0", "down"]);
    table(&cb, Table::Vsi, PATIENCE, |rows| rows.is_empty()).await;
    pe.run("ip", &["link", "set", "up0", "up"]);
    table(&cb, Table::Vsi, PATIENCE, |rows| rows.len() == 2).await;
    assert!(reaches(&vms[0], 2, PATIENCE) && reaches(&vms[0], 3, PATIENCE));
}
