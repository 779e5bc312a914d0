//! Access lists: the first rule that matches decides.

use core::net::IpAddr;

use ether::Vid;
use ipnet::IpNet;

use crate::{
    l3::{Packet, Seen},
    policy::{AclRule, Action},
    switch::Frame,
};

/// The rule that decides on `frame` in `vid`, by its place in the list.
pub(crate) fn deciding<'a>(
    rules: &'a [AclRule],
    frame: &Frame<'_>,
    vid: Vid,
) -> Option<(usize, &'a AclRule)> {
    if rules.is_empty() {
        return None;
    }
    let packet = Packet::read(frame.ethertype, frame.payload);
    rules.iter().enumerate().find(|(_, rule)| matches(rule, frame, vid, packet.as_ref()))
}

fn matches(rule: &AclRule, frame: &Frame<'_>, vid: Vid, packet: Option<&Packet<'_>>) -> bool {
    let link = rule.ethertype.is_none_or(|ethertype| ethertype == frame.ethertype)
        && rule.src_mac.is_none_or(|mac| mac == frame.src)
        && rule.dst_mac.is_none_or(|mac| mac == frame.dst)
        && rule.vlan.is_none_or(|vlan| vlan == vid);
    if !link || !asks_for_ip(rule) {
        return link;
    }
    let Some(packet) = packet else { return false };
    let denies = rule.action == Action::Deny;
    let within = |net: Option<IpNet>, address: fn((IpAddr, IpAddr)) -> IpAddr| {
        net.is_none_or(|net| packet.addresses.is(denies, |pair| net.contains(&address(pair))))
    };
    within(rule.src, |(source, _)| source)
        && within(rule.dst, |(_, destination)| destination)
        && rule.protocol.is_none_or(|protocol| packet.protocol.is(denies, |found| found == protocol))
        && rule.src_port.is_none_or(|range| packet.ports.is(denies, |(port, _)| range.contains(port)))
        && rule.dst_port.is_none_or(|range| packet.ports.is(denies, |(_, port)| range.contains(port)))
}

const fn asks_for_ip(rule: &AclRule) -> bool {
    rule.src.is_some()
        || rule.dst.is_some()
        || rule.protocol.is_some()
        || rule.src_port.is_some()
        || rule.dst_port.is_some()
}

impl<T: Copy> Seen<T> {
    /// Whether `test` holds; what is hidden is taken for what a rule denies, and not for what it permits.
    fn is(self, denies: bool, test: impl Fn(T) -> bool) -> bool {
        match self {
            Self::Here(value) => test(value),
            Self::Absent => false,
            Self::Hidden => denies,
        }
    }
}
