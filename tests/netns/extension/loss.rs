//! A port extender that has lost its bridge: its stations see it, unless it holds; and nobody's interface stays down for it.

use std::time::Instant;

use evb_tests::{
    evbd_program,
    netns::{Netns, event, eventually},
};

use super::tree::{BRIDGE, SOON, after, carrier, cascade, extender, host, mark, reaches, set, up};
use crate::{PATIENCE, says};

/// Waits until the host sees a carrier, or none.
fn sees(at: &Netns, wanted: bool) {
    let look = || carrier(at).to_string();
    eventually("the carrier", PATIENCE, look, |is| is == wanted.to_string());
}

#[tokio::test]
async fn without_a_bridge_there_is_no_carrier() {
    let (mut bridge, mut pe) = (Netns::new("bridge"), Netns::new("extender"));
    cascade(&bridge, "c0", &pe, "up0");
    let hosts = [host(&pe, "p1", 1), host(&pe, "p2", 2), host(&pe, "p3", 3)];
    // The administrator wants this one down.
    set(&pe, "p3", "down");
    let config = extender("\"down\"", &["p1", "p2", "p3"], false);
    let (mut process, mut evbd) = pe.evbd(evbd_program!(), &config).await;
    for (host, port) in hosts.iter().zip(["p1", "p2"]) {
        event(&evbd, "no bridge", PATIENCE, |e| {
            says(e, "event") == "port_lowered" && says(e, "port") == port
        })
        .await;
        sees(host, false);
    }
    let (_, cb) = bridge.evbd(evbd_program!(), BRIDGE).await;
    up(&cb, 2).await;
    assert!(reaches(&hosts[0], 2, PATIENCE));

    // The cable is pulled and put back.
    let before = mark(&evbd).await;
    set(&bridge, "c0", "down");
    after(&evbd, before, "port_lowered", "p1").await;
    hosts[..2].iter().for_each(|host| sees(host, false));
    let since = Instant::now();
    set(&bridge, "c0", "up");
    hosts[..2].iter().for_each(|host| sees(host, true));
    assert!(reaches(&hosts[0], 2, PATIENCE));
    println!("carrier and traffic are back {:?} after the cable", since.elapsed());
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    assert!(!carrier(&hosts[2]), "that one is the administrator's");

    // Killed while they are down: they are so until there is a bridge again.
    for round in 0..2 {
        let before = mark(&evbd).await;
        set(&bridge, "c0", "down");
        after(&evbd, before, "port_lowered", "p2").await;
        hosts[..2].iter().for_each(|host| sees(host, false));
        pe.kill(process);
        assert!(!carrier(&hosts[0]));
        if round == 0 {
            set(&bridge, "c0", "up");
            (process, evbd) = pe.evbd(evbd_program!(), &config).await;
            up(&cb, 2).await;
            hosts[..2].iter().for_each(|host| sees(host, true));
        } else {
            // What is no port of it any more is nobody's to keep down.
            (process, evbd) = pe.evbd(evbd_program!(), &extender("\"down\"", &["p1"], false)).await;
            sees(&hosts[1], true);
            assert!(!carrier(&hosts[0]));
        }
    }
    assert!(!carrier(&hosts[2]), "that one is the administrator's");

    // Who ends leaves nothing down.
    pe.run(
        &evbd_program!().display().to_string(),
        &["stop", "--socket", &pe.file("evbd.sock").display().to_string()],
    );
    sees(&hosts[0], true);
    let deadline = Instant::now() + PATIENCE;
    while pe.runs(process) {
        assert!(Instant::now() < deadline, "it does not end");
    }
}

#[tokio::test]
async fn who_holds_goes_on_for_a_while() {
    let (mut bridge, mut pe) = (Netns::new("bridge"), Netns::new("extender"));
    cascade(&bridge, "c0", &pe, "up0");
    let hosts = [host(&pe, "p1", 1), host(&pe, "p2", 2)];
    let (_, cb) = bridge.evbd(evbd_program!(), BRIDGE).await;
    let (_, evbd) = pe.evbd(evbd_program!(), &extender("{ hold = 3 }", &["p1", "p2"], false)).await;
    up(&cb, 2).await;
    assert!(reaches(&hosts[0], 2, PATIENCE));
    let before = mark(&evbd).await;
    set(&bridge, "c0", "down");
    let lost = after(&evbd, before, "link_down", "up0").await;
    let lowered = after(&evbd, before, "port_lowered", "p1").await;
    let held = lowered["at_ms"].as_u64().unwrap() - lost["at_ms"].as_u64().unwrap();
    assert!((3000..3500).contains(&held), "held {held} ms");
    set(&bridge, "c0", "up");
    sees(&hosts[0], true);
    assert!(reaches(&hosts[0], 2, PATIENCE));
    // A shorter loss nobody sees.
    let before = mark(&evbd).await;
    set(&bridge, "c0", "down");
    after(&evbd, before, "link_down", "up0").await;
    set(&bridge, "c0", "up");
    up(&cb, 2).await;
    assert!(reaches(&hosts[0], 2, PATIENCE));
    let past = evbd.events(before).await.unwrap();
    assert!(!past.iter().any(|e| says(e, "event") == "port_lowered"), "{past:#?}");
}
