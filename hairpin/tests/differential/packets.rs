//! Packets with what they say beside them, so that the reference need not read octets.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::LazyLock,
};

use ether::{EtherType, MacAddr};

/// What follows the EtherType, and what it means.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) ethertype: EtherType,
    pub(crate) octets: Vec<u8>,
    pub(crate) ip: Option<Ip>,
    pub(crate) says: Option<Says>,
    /// Where it must go to say it.
    pub(crate) dst: Option<MacAddr>,
}

/// What rules look at; `None` in a field of an IP packet: it should show it and does not.
#[derive(Debug)]
pub(crate) struct Ip {
    pub(crate) addresses: Option<(IpAddr, IpAddr)>,
    pub(crate) protocol: Option<u8>,
    /// Outer `None`: hidden. Inner `None`: it has none.
    pub(crate) ports: Option<Option<(u16, u16)>>,
}

/// What a packet says of groups.
#[derive(Debug)]
pub(crate) struct Says {
    pub(crate) v6: bool,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    Query {
        general: bool,
    },
    Router,
    /// Last four octets of each group's MAC address, and whether it is joined.
    Report(Vec<([u8; 4], bool)>),
}

pub(crate) static PACKETS: LazyLock<Vec<Packet>> = LazyLock::new(|| {
    let mut packets = vec![
        plain(0x88b5, &[]),
        plain(0x0806, &[0; 28]),
        hidden(0x0800, &[0x45, 0, 0]),
        hidden(0x0800, &[]),
        hidden(0x86dd, &[0x60; 20]),
    ];
    for host in 1..4 {
        packets.push(v4(host, 6, 0, &[4, 0, 0, 80], Some(Some((1024, 80)))));
        packets.push(v4(host, 17, 0, &[0, 53, 0, 53], Some(Some((53, 53)))));
        packets.push(v4(host, 17, 9, &[0, 53, 0, 53], Some(None)));
        packets.push(v6(host, 6, &[4, 0, 0, 80], Some(Some((1024, 80)))));
    }
    packets.push(v4(1, 1, 0, &[8, 0, 0, 0], Some(None)));
    packets.push(v4(1, 6, 0, &[4], None));
    packets.push(v6(1, 58, &[135, 0, 0, 0, 0, 0, 0, 0], Some(None)));
    packets.extend(igmp());
    packets.extend(mld());
    packets
});

fn plain(ethertype: u16, octets: &[u8]) -> Packet {
    Packet { ethertype: EtherType(ethertype), octets: octets.to_vec(), ip: None, says: None, dst: None }
}

fn hidden(ethertype: u16, octets: &[u8]) -> Packet {
    Packet { ip: Some(Ip { addresses: None, protocol: None, ports: None }), ..plain(ethertype, octets) }
}

fn v4(host: u8, protocol: u8, offset: u8, payload: &[u8], ports: Option<Option<(u16, u16)>>) -> Packet {
    let head = [0x45, 0, 0, 0, 0, 0, 0, offset, 64, protocol, 0, 0, 10, 0, 0, host, 10, 0, 1, 1];
    let addresses = (Ipv4Addr::new(10, 0, 0, host).into(), Ipv4Addr::new(10, 0, 1, 1).into());
    let ip = Ip { addresses: Some(addresses), protocol: Some(protocol), ports };
    Packet { ip: Some(ip), ..plain(0x0800, &[&head, payload].concat()) }
}

fn v6(host: u8, protocol: u8, payload: &[u8], ports: Option<Option<(u16, u16)>>) -> Packet {
    let address = |low: u8| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, low.into());
    let head = [0x60, 0, 0, 0, 0, 0, 60, 64];
    let options = [protocol, 0, 1, 4, 0, 0, 0, 0];
    let octets = [&head[..], &address(host).octets(), &address(99).octets(), &options, payload].concat();
    let addresses = (address(host).into(), address(99).into());
    let ip = Ip { addresses: Some(addresses), protocol: Some(protocol), ports };
    Packet { ip: Some(ip), ..plain(0x86dd, &octets) }
}

fn igmp() -> Vec<Packet> {
    let group = |last: u8| [239, 1, 2, last];
    let bits = |last: u8| [0, 1, 2, last];
    let says = |message: &[u8], what| {
        let dst = Some(MacAddr(1, 0, 0x5e, 0, 0, 22));
        Packet { says: Some(Says { v6: false, what }), dst, ..v4(1, 2, 0, message, Some(None)) }
    };
    let with = |head: [u8; 4], group: [u8; 4]| [head, group].concat();
    let mut list = vec![
        says(&[0x11, 100, 0, 0, 0, 0, 0, 0], What::Query { general: true }),
        says(&with([0x11, 100, 0, 0], group(7)), What::Query { general: false }),
        Packet {
            says: Some(Says { v6: false, what: What::Router }),
            ..v4(1, 103, 0, &[0x20, 0], Some(None))
        },
    ];
    if let Some(hello) = list.last_mut() {
        hello.dst = Some(MacAddr(1, 0, 0x5e, 0, 0, 13));
    }
    for last in 7..9 {
        list.push(says(&with([0x16, 0, 0, 0], group(last)), What::Report(vec![(bits(last), true)])));
        list.push(says(&with([0x17, 0, 0, 0], group(last)), What::Report(vec![(bits(last), false)])));
    }
    let record = |kind: u8, last: u8| [&[kind, 0, 0, 0][..], &group(last)].concat();
    let v3 = [&[0x22, 0, 0, 0, 0, 0, 0, 2][..], &record(4, 7), &record(3, 8)].concat();
    list.push(says(&v3, What::Report(vec![(bits(7), true), (bits(8), false)])));
    list
}

fn mld() -> Vec<Packet> {
    let group = |last: u8| [&[0xff, 2][..], &[0; 10], &[0xff, 0, 0, last]].concat();
    let bits = |last: u8| [0xff, 0, 0, last];
    let says = |message: &[u8], what| {
        let dst = Some(MacAddr(0x33, 0x33, 0, 0, 0, 22));
        Packet { says: Some(Says { v6: true, what }), dst, ..v6(1, 58, message, Some(None)) }
    };
    let with = |kind: u8, group: Vec<u8>| [vec![kind, 0, 0, 0, 0, 0, 0, 0], group].concat();
    let record = |kind: u8, last: u8| [vec![kind, 0, 0, 0], group(last)].concat();
    let v2 = [vec![143, 0, 0, 0, 0, 0, 0, 2], record(2, 0x21), record(6, 0x22)].concat();
    vec![
        says(&with(130, vec![0; 16]), What::Query { general: true }),
        says(&with(131, group(0x21)), What::Report(vec![(bits(0x21), true)])),
        says(&with(132, group(0x21)), What::Report(vec![(bits(0x21), false)])),
        says(&v2, What::Report(vec![(bits(0x21), true)])),
    ]
}
