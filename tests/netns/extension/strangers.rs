//! Peers that are no port extenders of ours, and what they send.

use std::time::{Duration, Instant};

use bytes::Bytes;
use carrier::ControlSocket;
use ether::{EtherType, MacAddr, frame::build, mac::NEAREST_BRIDGE};
use evb_tests::{
    evbd_program,
    netns::{Netns, event, table},
};
use evbd::api::{Client, Table};
use pe::{CascadePriority, CodeBook, Marker, PortExtensionTlv};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::Value;

use super::tree::{BRIDGE, cascade, extender, host, reaches, up};
use crate::{PATIENCE, hearing::socket, says};

/// An LLDPDU of `mac` with the Port Extension TLV, and our marker if it has a book.
fn lldpdu(mac: MacAddr, priority: u8, book: Option<&CodeBook>) -> Vec<u8> {
    let tlv = |kind: u16, value: &[u8]| {
        let head = kind << 9 | u16::try_from(value.len()).unwrap();
        [&head.to_be_bytes()[..], value].concat()
    };
    let org = |oui: [u8; 3], subtype: u8, value: &Bytes| tlv(127, &[&oui[..], &[subtype], value].concat());
    let octets: [u8; 6] = mac.into();
    let extension =
        PortExtensionTlv { priority: CascadePriority(priority), address: mac, csp_address: mac }.to_bytes();
    let mut pdu = [
        tlv(1, &[&[4][..], &octets].concat()),
        tlv(2, b"\x05eth9"),
        tlv(3, &[0, 120]),
        org(pe::OUI, pe::SUBTYPE, &extension),
    ]
    .concat();
    if let Some(book) = book {
        pdu.extend(org(pe::marker::OUI, pe::marker::SUBTYPE, &Marker::new(book, true, 7, 0).to_bytes()));
    }
    pdu.extend([0, 0]);
    build(NEAREST_BRIDGE, mac, EtherType::LLDP, &pdu)
}

/// Reads what has come to a socket: how many frames, and how many of the control and status protocol.
fn drain(socket: &ControlSocket) -> (usize, usize) {
    let (mut all, mut csp) = (0, 0);
    let mut buffer = [0; 2048];
    while let Ok(received) = socket.recv(&mut buffer) {
        all += 1;
        let frame = &buffer[..received.len];
        csp += usize::from(
            frame.len() > 15 && frame[12..14] == [0x89, 0x40] && frame[14] & 3 == 0 && frame[15] == 2,
        );
    }
    (all, csp)
}

/// The stranger repeats itself until the other end has sent LLDP three times since it knows what that is; how many PDUs of
/// the control and status protocol it sent meanwhile.
async fn listen(evbd: &Client, stranger: &Netns, priority: u8) -> usize {
    let (lldp, ecp) = (socket(stranger, "eth0", EtherType::LLDP), socket(stranger, "eth0", EtherType::ECP));
    let frame = lldpdu(lldp.mac(), priority, None);
    lldp.send(&frame).unwrap();
    event(evbd, "no book", PATIENCE, |e| {
        says(e, "event") == "extension_session" && says(e, "words").contains("code book not installed")
    })
    .await;
    let rows = evbd.show(Table::Extension).await.unwrap();
    assert!(rows.iter().any(|row| says(row, "words").contains("code book not installed")), "{rows:#?}");
    let (mut heard, mut csp) = (0, 0);
    let deadline = Instant::now() + PATIENCE;
    while heard < 3 {
        assert!(Instant::now() < deadline, "it does not speak");
        heard += drain(&lldp).0;
        csp += drain(&ecp).1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    csp
}

#[tokio::test]
async fn nothing_is_said_to_who_shows_no_book() {
    for (config, priority) in
        [(BRIDGE.replace("c0", "x0"), 0), (extender("\"down\"", &[], false).replace("up0", "x0"), 5)]
    {
        let (mut here, stranger) = (Netns::new("here"), Netns::new("stranger"));
        cascade(&here, "x0", &stranger, "eth0");
        let config = format!("{config}[lldp]\ntx_interval = 1\n");
        let (process, evbd) = here.evbd(evbd_program!(), &config).await;
        table(&evbd, Table::Ports, PATIENCE, |rows| rows.iter().any(|row| says(row, "link") == "up")).await;
        let said = listen(&evbd, &stranger, priority).await;
        assert_eq!(said, 0, "PDUs of the control and status protocol on the wire");
        assert!(here.runs(process));
    }
}

/// Control and status PDUs that no sane peer sends: cut, with octets changed, of all types, from the peer's address and
/// from others'.
fn hostile(random: &mut StdRng) -> Vec<u8> {
    // Command with each message, then arrays, parameters, status as in the code book.
    let mut pdu = vec![0x10 | (random.random_range(0..2) << 2), 2, random.random(), random.random()];
    let message = random.random_range(0..12);
    pdu.extend([
        0x02,
        0x0a,
        random.random_range(0..2) << 7 | message,
        0,
        0,
        0,
        0,
        random.random(),
        0,
        0x10,
        0,
        random.random(),
    ]);
    for _ in 0..random.random_range(0..4) {
        let len = random.random_range(0..40_u8);
        pdu.extend([random.random_range(0..9_u8) << 1, len]);
        let claimed = usize::from(len.saturating_sub(random.random_range(0..3)));
        pdu.extend((0..claimed).map(|_| random.random::<u8>()));
    }
    if random.random_range(0..3) == 0 {
        let place = random.random_range(0..pdu.len());
        pdu[place] = random.random();
    }
    pdu.truncate(random.random_range(1..=pdu.len()));
    pdu
}

/// A peer that shows our book and has a session, or has none, sends nonsense: counters, no crash, nothing that was not
/// granted; and a real one is served after it.
#[tokio::test]
async fn hostile_pdus_cost_counters_only() {
    let (mut bridge, mut pe) = (Netns::new("bridge"), Netns::new("extender"));
    cascade(&bridge, "c0", &pe, "up0");
    let hosts = [host(&pe, "p1", 1), host(&pe, "p2", 2)];
    let (process, cb) = bridge.evbd(evbd_program!(), BRIDGE).await;
    let extended = |rows: &[Value]| rows.iter().filter(|row| says(row, "port").contains(':')).count();
    let peer = socket(&pe, "up0", EtherType::ECP);
    let to: MacAddr = bridge.run("cat", &["/sys/class/net/c0/address"]).trim().parse().unwrap();
    let mut random = StdRng::seed_from_u64(7);
    let mut inject = |count: usize| {
        for _ in 0..count {
            let from =
                if random.random_range(0..4) == 0 { MacAddr::new(2, 6, 6, 6, 6, 6) } else { peer.mac() };
            let frame = build(to, from, EtherType::ECP, &hostile(&mut random));
            // A full queue is no failure.
            let _ = peer.send(&frame);
        }
    };

    // Nobody there who says that he is a port extender.
    table(&cb, Table::Ports, PATIENCE, |rows| rows.iter().any(|row| says(row, "link") == "up")).await;
    inject(5000);
    assert_eq!(extended(&cb.show(Table::Ports).await.unwrap()), 0);
    // One who shows the book, and is given a session by his neighbour, but says nothing sensible in it.
    let lldp = socket(&pe, "up0", EtherType::LLDP);
    lldp.send(&lldpdu(lldp.mac(), 0, Some(&CodeBook::p0()))).unwrap();
    event(&cb, "an opening", PATIENCE, |e| {
        says(e, "event") == "extension_session" && says(e, "state") == "opening"
    })
    .await;
    inject(5000);
    assert_eq!(extended(&cb.show(Table::Ports).await.unwrap()), 0);
    assert!(bridge.runs(process));

    // A real one, in whose name it goes on; its own ports are the only ones.
    let (own, evbd) = pe.evbd(evbd_program!(), &extender("\"down\"", &["p1", "p2"], false)).await;
    up(&cb, 2).await;
    inject(5000);
    let before = cb.show(Table::Extension).await.unwrap();
    assert!(bridge.runs(process) && pe.runs(own), "{before:#?}");
    // What it broke mends itself.
    up(&cb, 2).await;
    assert!(reaches(&hosts[0], 2, PATIENCE));
    let rows = cb.show(Table::Ports).await.unwrap();
    assert_eq!(evbd.show(Table::Extension).await.unwrap()[0]["refused"], 0, "{rows:#?}");
    let counted = |name: &str| before[0][name].as_u64().or(before[0]["ecp"][name].as_u64()).unwrap();
    for name in ["rx_foreign", "rx_request_errors", "rx_response_errors", "rx_bad_acks"] {
        assert!(counted(name) > 0, "{name}: {before:#?}");
    }
}
