//! Control sockets and leak blocks on the ports of a Linux bridge.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod lab;

use std::{io::ErrorKind, time::Duration};

use carrier::{Blocked, ControlSocket, LeakBlock, Listen};
use ether::{
    EtherType, MacAddr, Tag,
    frame::build,
    mac::{NEAREST_BRIDGE, NEAREST_CUSTOMER_BRIDGE, NEAREST_NON_TPMR_BRIDGE},
};
use lab::{Ns, readable, until};

const GROUPS: [MacAddr; 3] = [NEAREST_CUSTOMER_BRIDGE, NEAREST_NON_TPMR_BRIDGE, NEAREST_BRIDGE];
const WANTED: [Listen<'_>; 3] = [
    Listen { ethertype: EtherType::LLDP, groups: &GROUPS, tagged: false },
    Listen { ethertype: EtherType::ECP, groups: &[NEAREST_CUSTOMER_BRIDGE], tagged: false },
    Listen { ethertype: ANY_VLAN, groups: &[NEAREST_CUSTOMER_BRIDGE], tagged: true },
];
/// The second local experimental EtherType.
const ANY_VLAN: EtherType = EtherType(0x88b6);

fn open(ns: &Ns, interface: &'static str, ethertype: EtherType) -> ControlSocket {
    ns.run(move || ControlSocket::open(interface, ethertype, &GROUPS)).unwrap()
}

fn tap(ns: &Ns, interface: &'static str) -> ControlSocket {
    ns.run(move || ControlSocket::open_tap(interface, &WANTED)).unwrap()
}

/// A bridge `br0` in `hub` with ports `p1` to `switch` and `p2` to `guest`, all `eth0` at the far end.
struct Lab {
    hub: Ns,
    switch: Ns,
    guest: Ns,
}

impl Lab {
    fn new() -> Self {
        let (hub, switch, guest) = (Ns::new(), Ns::new(), Ns::new());
        hub.ip("link add br0 type bridge");
        for (port, peer) in [("p1", &switch), ("p2", &guest)] {
            hub.veth(port, peer, "eth0");
            hub.ip(&format!("link set {port} master br0"));
        }
        hub.ip("link set br0 up");
        let lab = Self { hub, switch, guest };
        let (from, to) = (open(&lab.switch, "eth0", PROBE), open(&lab.guest, "eth0", PROBE));
        until("the bridge forwards", || {
            from.send(&build(MacAddr::broadcast(), from.mac(), PROBE, &[])).unwrap();
            readable(&to, Duration::from_millis(20))
        });
        lab
    }
}

/// The first local experimental EtherType.
const PROBE: EtherType = EtherType(0x88b5);

/// Sends marked frames, then one more that always arrives; the marks heard before it.
fn marks(socket: &ControlSocket) -> Vec<u8> {
    let mut heard = Vec::new();
    loop {
        assert!(readable(socket, lab::PATIENCE), "the last mark is missing, heard {heard:?}");
        let mut buffer = [0; 2048];
        let received = socket.recv(&mut buffer).unwrap();
        assert!(!received.foreign && !received.truncated);
        let mark = buffer[14];
        if mark == LAST {
            return heard;
        }
        heard.push(mark);
    }
}

const LAST: u8 = 0xff;

#[test]
fn a_tap_hears_what_the_bridge_takes_and_nothing_else() {
    let lab = Lab::new();
    let (deaf, hearing) = (open(&lab.hub, "p1", EtherType::LLDP), tap(&lab.hub, "p1"));
    let switch = open(&lab.switch, "eth0", EtherType::LLDP);
    let send = |to: MacAddr, ethertype: EtherType, tci: Option<u16>, mark: u8| {
        let mut frame = build(to, switch.mac(), ethertype, &[mark; 40]);
        if let Some(tci) = tci {
            frame.splice(12..12, Tag::from_tci(EtherType::C_VLAN, tci).unwrap().to_bytes());
        }
        switch.send(&frame).unwrap();
    };
    send(NEAREST_CUSTOMER_BRIDGE, EtherType::LLDP, None, 1);
    send(NEAREST_NON_TPMR_BRIDGE, EtherType::LLDP, None, 2);
    send(NEAREST_BRIDGE, EtherType::LLDP, None, 3);
    send(NEAREST_CUSTOMER_BRIDGE, EtherType::ECP, None, 4);
    send(hearing.mac(), EtherType::ECP, None, 5);
    send(NEAREST_CUSTOMER_BRIDGE, EtherType::LLDP, Some(0xe000), 6);
    send(NEAREST_CUSTOMER_BRIDGE, ANY_VLAN, Some(0x0064), 7);
    // Not ours: ECP to a group of LLDP alone, a VLAN, another station, another protocol, everybody.
    send(NEAREST_BRIDGE, EtherType::ECP, None, 10);
    send(NEAREST_CUSTOMER_BRIDGE, EtherType::LLDP, Some(0x0064), 11);
    send(MacAddr(2, 0, 0, 0, 0, 9), EtherType::LLDP, None, 12);
    send(NEAREST_CUSTOMER_BRIDGE, PROBE, None, 13);
    send(MacAddr::broadcast(), EtherType::LLDP, None, 14);
    send(NEAREST_BRIDGE, EtherType::LLDP, None, LAST);
    assert_eq!(marks(&hearing), [1, 2, 3, 4, 5, 6, 7]);
    // What the trap of this field looks like from the inside. The tagged one to …-00 is forwarded as well.
    assert_eq!(marks(&deaf), [2, 3]);
}

#[test]
fn a_tap_is_deaf_to_what_its_host_sends_and_cannot_be_refiltered() {
    use std::os::fd::AsRawFd;
    let (a, b) = (Ns::new(), Ns::new());
    a.veth("eth0", &b, "eth0");
    let (here, there) = (tap(&a, "eth0"), tap(&b, "eth0"));
    let frame = build(NEAREST_BRIDGE, here.mac(), EtherType::LLDP, &[1; 40]);
    until("LLDP at the peer", || here.send(&frame).is_ok() && readable(&there, Duration::from_millis(20)));
    assert!(here.recv(&mut [0; 64]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock));

    let nothing = 0;
    // SAFETY: a live integer with its own size, read only.
    #[allow(unsafe_code)]
    let result = unsafe {
        let value: *const i32 = &raw const nothing;
        libc::setsockopt(here.as_raw_fd(), libc::SOL_SOCKET, libc::SO_DETACH_FILTER, value.cast(), 4)
    };
    assert_eq!((result, std::io::Error::last_os_error().raw_os_error()), (-1, Some(libc::EPERM)));

    // Control sockets, of either kind, leave the interface's filter for other stations' addresses alone.
    let shown =
        a.run(|| std::process::Command::new("ip").args(["-d", "link", "show", "eth0"]).output().unwrap());
    assert!(String::from_utf8_lossy(&shown.stdout).contains("promiscuity 0"));
}

#[test]
fn a_block_stops_the_leak_both_ways_and_no_frame_of_ours() {
    let lab = Lab::new();
    let (switch, guest) =
        (open(&lab.switch, "eth0", EtherType::LLDP), open(&lab.guest, "eth0", EtherType::LLDP));
    let ecp = open(&lab.guest, "eth0", EtherType::ECP);
    let own = tap(&lab.hub, "p1");
    let send = |from: &ControlSocket, ethertype: EtherType, mark: u8| {
        from.send(&build(NEAREST_CUSTOMER_BRIDGE, from.mac(), ethertype, &[mark; 40])).unwrap();
    };
    // Frames to everybody pass the bridge with or without a block.
    let last = |from: &ControlSocket, ethertype: EtherType| {
        from.send(&build(MacAddr::broadcast(), from.mac(), ethertype, &[LAST; 40])).unwrap();
    };

    // Without a block the switch and the guest hear one another: so this test can fail.
    send(&switch, EtherType::LLDP, 1);
    send(&switch, EtherType::ECP, 2);
    send(&guest, EtherType::LLDP, 3);
    last(&switch, EtherType::LLDP);
    last(&switch, EtherType::ECP);
    last(&guest, EtherType::LLDP);
    assert_eq!((marks(&guest), marks(&ecp), marks(&switch)), (vec![1], vec![2], vec![3]));
    let mut buffer = [0; 64];
    while own.recv(&mut buffer).is_ok() {}

    let block = lab.hub.run(|| LeakBlock::install("p1")).unwrap();
    send(&switch, EtherType::LLDP, 4);
    send(&switch, EtherType::ECP, 5);
    send(&guest, EtherType::LLDP, 6);
    send(&own, EtherType::LLDP, 7);
    last(&switch, EtherType::LLDP);
    last(&switch, EtherType::ECP);
    last(&guest, EtherType::LLDP);
    assert_eq!((marks(&guest), marks(&ecp), marks(&switch)), (vec![], vec![], vec![7]));
    assert_eq!(block.blocked(), Blocked { rx: 2, tx: 1 });
    for mark in [4, 5] {
        own.recv(&mut buffer).unwrap();
        assert_eq!(buffer[14], mark, "the tap hears what the block drops");
    }

    drop(block);
    send(&switch, EtherType::LLDP, 8);
    last(&switch, EtherType::LLDP);
    assert_eq!(marks(&guest), [8]);
}

#[test]
fn sends_with_priority_7() {
    use std::os::fd::AsRawFd;
    let (a, b) = (Ns::new(), Ns::new());
    a.veth("eth0", &b, "eth0");
    for socket in [open(&a, "eth0", EtherType::LLDP), tap(&a, "eth0")] {
        let (mut value, mut size) = (0, 4);
        let into: *mut i32 = &raw mut value;
        // SAFETY: a live integer with its own size.
        #[allow(unsafe_code)]
        let result = unsafe {
            let (level, name) = (libc::SOL_SOCKET, libc::SO_PRIORITY);
            libc::getsockopt(socket.as_raw_fd(), level, name, into.cast(), &raw mut size)
        };
        assert_eq!((result, value), (0, 7));
    }
}

#[test]
fn a_socket_knows_when_its_interface_has_left() {
    let (a, b) = (Ns::new(), Ns::new());
    a.veth("eth0", &b, "eth0");
    let (socket, port) = (open(&a, "eth0", EtherType::LLDP), a.port("eth0"));
    assert!(socket.is_bound() && port.is_bound());
    a.ip("link set eth0 down");
    assert!(socket.is_bound());
    a.ip("link del eth0");
    assert!(!socket.is_bound() && !port.is_bound());
}

#[test]
fn a_block_names_what_is_missing() {
    let ns = Ns::new();
    let error = ns.run(|| LeakBlock::install("nosuch0").unwrap_err().to_string());
    assert!(error.starts_with("nosuch0: cannot find the interface"), "{error}");
}
