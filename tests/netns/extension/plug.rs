//! Interfaces that become extended ports by their names.

use std::time::Instant;

use evb_tests::{
    evbd_program,
    netns::{Netns, event, table},
};
use evbd::api::Table;
use serde_json::Value;

use super::tree::{BRIDGE, after, cascade, extender, host, mark, reaches, up};
use crate::{PATIENCE, says};

#[tokio::test]
async fn interfaces_come_and_go_by_name() {
    let (mut bridge, mut pe) = (Netns::new("bridge"), Netns::new("extender"));
    cascade(&bridge, "c0", &pe, "up0");
    let first = host(&pe, "vnet0", 1);
    let (_, cb) = bridge.evbd(evbd_program!(), BRIDGE).await;
    let config = extender("\"down\"", &["vnet*"], false) + "[relay]\nspare_ports = 3\n";
    let (process, evbd) = pe.evbd(evbd_program!(), &config).await;
    // What was there before the daemon.
    up(&cb, 1).await;
    // What comes while there is a session is never taken down.
    let begun = Instant::now();
    let mut second = host(&pe, "vnet1", 2);
    up(&cb, 2).await;
    println!("a veth is a port of the bridge {:?} after it was made", begun.elapsed());
    assert!(reaches(&first, 2, PATIENCE));
    let lowered = |rows: &[Value]| {
        rows.iter().any(|e| says(e, "event") == "port_lowered" && says(e, "port") == "vnet1")
    };
    assert!(!lowered(&evbd.events(0).await.unwrap()));

    // A tap nobody has opened has no carrier, and is a port.
    pe.run("ip", &["tuntap", "add", "vnet2", "mode", "tap"]);
    let extended = |rows: &[Value]| rows.iter().filter(|row| says(row, "port").contains(':')).count();
    table(&cb, Table::Ports, PATIENCE, |rows| extended(rows) == 3).await;
    // There is room for three.
    let _third = host(&pe, "vnet3", 3);
    event(&evbd, "no room", PATIENCE, |e| says(e, "event") == "port_no_room" && says(e, "port") == "vnet3")
        .await;
    assert_eq!(extended(&cb.show(Table::Ports).await.unwrap()), 3);
    let before = mark(&cb).await;
    pe.run("ip", &["link", "del", "vnet2"]);
    after(&cb, before, "extended_port_gone", "").await;
    up(&cb, 3).await;
    assert!(reaches(&first, 3, PATIENCE));

    // Gone and there again, many times.
    for _ in 0..5 {
        let before = mark(&cb).await;
        pe.run("ip", &["link", "del", "vnet1"]);
        after(&cb, before, "extended_port_gone", "").await;
        second = host(&pe, "vnet1", 2);
        up(&cb, 3).await;
        assert!(reaches(&first, 2, PATIENCE));
    }
    drop(second);
    assert!(pe.runs(process));
}
