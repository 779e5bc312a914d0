//! Policies once more: rules by looking at what a packet means, rates by keeping account of the debt.

use std::time::Duration;

use ether::{Instant, MacAddr, Vid};
use hairpin::policy::{AclRule, Action, Protocol, Rate};

use crate::packets::{Ip, Packet};

/// Time by which a bucket is in debt.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bucket {
    debt: Duration,
    at: Instant,
}

impl Bucket {
    pub(crate) fn octets(&mut self, now: Instant, rate: Rate, octets: u32) -> bool {
        // All rates of this suite take whole nanoseconds an octet.
        let octet = Duration::from_nanos(8_000_000_000 / rate.bits_per_second);
        self.take(now, octet, rate.burst_octets, octets)
    }

    pub(crate) fn frame(&mut self, now: Instant, per_second: u32) -> bool {
        let frame = Duration::from_nanos(1_000_000_000 / u64::from(per_second));
        self.take(now, frame, (per_second / 10).max(16), 1)
    }

    fn take(&mut self, now: Instant, token: Duration, depth: u32, tokens: u32) -> bool {
        self.debt = self.debt.saturating_sub(now - self.at);
        self.at = now;
        let passes = self.debt < token * depth;
        if passes {
            self.debt += token * tokens;
        }
        passes
    }
}

/// Whether the list lets the frame pass.
pub(crate) fn permits(rules: &[AclRule], src: MacAddr, dst: MacAddr, vid: Vid, packet: &Packet) -> bool {
    for rule in rules {
        if matches(rule, src, dst, vid, packet) {
            return rule.action == Action::Permit;
        }
    }
    true
}

fn matches(rule: &AclRule, src: MacAddr, dst: MacAddr, vid: Vid, packet: &Packet) -> bool {
    if rule.ethertype.is_some_and(|ethertype| ethertype != packet.ethertype)
        || rule.src_mac.is_some_and(|mac| mac != src)
        || rule.dst_mac.is_some_and(|mac| mac != dst)
        || rule.vlan.is_some_and(|vlan| vlan != vid)
    {
        return false;
    }
    let ports = rule.src_port.is_some() || rule.dst_port.is_some();
    if rule.src.is_none() && rule.dst.is_none() && rule.protocol.is_none() && !ports {
        return true;
    }
    let Some(Ip { addresses, protocol, ports: shown }) = &packet.ip else { return false };
    let deny = rule.action == Action::Deny;
    if let Some(net) = rule.src {
        match addresses {
            Some((source, _)) if net.contains(source) => {}
            None if deny => {}
            _ => return false,
        }
    }
    if let Some(net) = rule.dst {
        match addresses {
            Some((_, destination)) if net.contains(destination) => {}
            None if deny => {}
            _ => return false,
        }
    }
    if let Some(Protocol(wanted)) = rule.protocol {
        match protocol {
            Some(found) if *found == wanted => {}
            None if deny => {}
            _ => return false,
        }
    }
    match shown {
        _ if !ports => true,
        None => deny,
        Some(None) => false,
        Some(Some((source, destination))) => {
            rule.src_port.is_none_or(|range| range.contains(*source))
                && rule.dst_port.is_none_or(|range| range.contains(*destination))
        }
    }
}
