//! The control socket on a real interface.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod lab;

use std::{io::ErrorKind, time::Duration};

use carrier::ControlSocket;
use ether::{
    EtherType, FrameView, MacAddr, Tag,
    frame::build,
    mac::{NEAREST_BRIDGE, NEAREST_CUSTOMER_BRIDGE, NEAREST_NON_TPMR_BRIDGE},
};
use lab::{Ns, readable, until};

/// The first local experimental EtherType.
const PROBE: EtherType = EtherType(0x88b5);
const GROUPS: [MacAddr; 3] = [NEAREST_CUSTOMER_BRIDGE, NEAREST_NON_TPMR_BRIDGE, NEAREST_BRIDGE];

/// Two namespaces joined by a veth, and a socket at either end.
fn pair(ethertype: EtherType) -> (Ns, Ns, ControlSocket, ControlSocket) {
    let (a, b) = (Ns::new(), Ns::new());
    a.veth("eth0", &b, "eth0");
    let open = move || ControlSocket::open("eth0", ethertype, &GROUPS).unwrap();
    let (here, there) = (a.run(open), b.run(open));
    // For a moment after a link comes up the kernel throws away what is sent, without a word.
    let probe = || ControlSocket::open("eth0", PROBE, &[NEAREST_BRIDGE]).unwrap();
    let (left, right) = (a.run(probe), b.run(probe));
    for (from, to) in [(&left, &right), (&right, &left)] {
        until("the link is up", || {
            from.send(&build(NEAREST_BRIDGE, from.mac(), PROBE, &[])).unwrap();
            readable(to, Duration::from_millis(20))
        });
    }
    (a, b, here, there)
}

fn hears(socket: &ControlSocket) -> (carrier::Received, Vec<u8>) {
    let mut buffer = [0xa5; 2048];
    assert!(readable(socket, lab::PATIENCE), "nothing heard");
    let received = socket.recv(&mut buffer).unwrap();
    (received, buffer[..received.len].to_vec())
}

fn silent(socket: &ControlSocket) -> bool {
    socket.recv(&mut [0; 64]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

#[test]
fn hears_lldp_of_every_group_and_not_its_own() {
    let (_a, _b, here, there) = pair(EtherType::LLDP);
    for group in GROUPS {
        let frame = build(group, here.mac(), EtherType::LLDP, &[2, 7, 4, 1, 2, 3, 4, 5, 6]);
        here.send(&frame).unwrap();
        let (received, bytes) = hears(&there);
        assert_eq!((bytes, received.foreign, received.truncated), (frame, false, false));
    }
    // The peer has heard all of it, so an echo would be here by now.
    assert!(silent(&here) && silent(&there));
    assert_eq!((here.interface(), here.mac() == there.mac()), ("eth0", false));
}

#[test]
fn hears_one_ethertype_only_and_shares_it_with_ports() {
    let (a, b, here, there) = pair(EtherType::ECP);
    let (mut own, mut peers) = (a.port("eth0"), b.port("eth0"));
    here.send(&build(NEAREST_BRIDGE, here.mac(), EtherType::LLDP, &[1])).unwrap();
    here.send(&build(NEAREST_BRIDGE, here.mac(), EtherType::ECP, &[2])).unwrap();
    let (_, bytes) = hears(&there);
    assert_eq!(FrameView::parse(&bytes).unwrap().payload[0], 2);

    // A port of the relay has its own copy of both, and not of what its host sends.
    lab::see(&mut peers, "ECP at the port", |tag, rest| tag.is_none() && rest.starts_with(&[0x89, 0x40, 2]));
    lab::see_none(&mut own, |_, rest| rest.starts_with(&[0x88, 0xcc]) || rest.starts_with(&[0x89, 0x40]));
}

#[test]
fn what_is_not_for_us_is_foreign() {
    let (_a, b, here, there) = pair(EtherType::ECP);
    let untagged = build(NEAREST_CUSTOMER_BRIDGE, here.mac(), EtherType::ECP, &[1]);
    for (tci, foreign) in [(0x0064, true), (0xe000, false)] {
        let mut frame = untagged.clone();
        frame.splice(12..12, Tag::from_tci(EtherType::C_VLAN, tci).unwrap().to_bytes());
        here.send(&frame).unwrap();
        let (received, bytes) = hears(&there);
        assert_eq!((received.foreign, bytes), (foreign, untagged.clone()), "tci {tci:04x}");
    }
    // Somebody has made the interface promiscuous.
    let _tap = b.port("eth0");
    for (dst, foreign) in [(MacAddr(2, 0, 0, 0, 0, 9), true), (there.mac(), false)] {
        here.send(&build(dst, here.mac(), EtherType::ECP, &[1])).unwrap();
        assert_eq!(hears(&there).0.foreign, foreign, "to {dst}");
    }
}

#[test]
fn a_short_buffer_truncates() {
    let (_a, _b, here, there) = pair(EtherType::ECP);
    here.send(&build(NEAREST_BRIDGE, here.mac(), EtherType::ECP, &[3; 100])).unwrap();
    assert!(readable(&there, lab::PATIENCE));
    let received = there.recv(&mut [0; 20]).unwrap();
    assert_eq!((received.len, received.truncated), (20, true));
}

#[test]
fn survives_link_down_and_tells_of_it() {
    let (a, b, here, there) = pair(EtherType::LLDP);
    b.ip("link set eth0 down");
    let error = there.recv(&mut [0; 64]).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENETDOWN));
    assert!(silent(&there));
    b.ip("link set eth0 up");
    let frame = build(NEAREST_BRIDGE, here.mac(), EtherType::LLDP, &[1]);
    until("LLDP after link up", || here.send(&frame).is_ok() && readable(&there, Duration::from_millis(20)));
    assert_eq!(hears(&there).1, frame);
    drop(a);
}

#[test]
fn errors_name_the_interface() {
    let ns = Ns::new();
    let error = ns.run(|| ControlSocket::open("nosuch0", EtherType::LLDP, &[]).unwrap_err());
    assert_eq!(
        error.to_string(),
        "nosuch0: cannot find the interface: No such device (os error 19); no such interface in this network namespace"
    );
    let error = ns.run(|| ControlSocket::open("lo", EtherType::LLDP, &[]).unwrap_err());
    assert_eq!(error.to_string(), "lo: cannot be a port: it is no Ethernet interface (ARPHRD type 772)");
}
