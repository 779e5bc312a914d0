//! A station tells the network where a VM is now: when the gate of a VSI opens, frames with the VM's addresses as source
//! go out of the uplink, tagged as the gate says. Switches on the way, and the bridge a VM has left, send its frames here
//! from then on, whether it speaks or not.
//!
//! | what is known | frame | to |
//! |---|---|---|
//! | a MAC address | RARP request for itself | all |
//! | an IPv4 address | ARP request for itself | all |
//! | an IPv6 address | neighbour advertisement, unsolicited, overriding | all nodes |
//!
//! Each goes out [`ROUNDS`] times, for a frame may be lost, and a switch may be busy with the move. Nothing is said of a
//! VSI that is refused, pre-associated or gone, nor of a VM that is not here: one that has migrated while its VSI stands
//! would be drawn back.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ether::{EtherType, Instant, MacAddr, Tag, frame, time::Duration};
use hairpin::{PortId, VsiEntry, VsiFilter, VsiKey};

/// What is announced and when. Drain [`Herald::poll_transmit`] after every other call.
#[derive(Debug, Default)]
pub(crate) struct Herald {
    silent: bool,
    open: BTreeMap<VsiKey, Announced>,
    due: BTreeMap<(Instant, VsiKey), u8>,
    frames: VecDeque<Vec<u8>>,
}

#[derive(Debug)]
struct Announced {
    /// The VM's interface, and whether it is up.
    port: PortId,
    here: bool,
    filters: Vec<VsiFilter>,
    ips: Vec<IpAddr>,
}

impl Herald {
    /// Says something only if `speak`.
    pub(crate) fn set_speaking(&mut self, speak: bool) {
        self.silent = !speak;
        if self.silent {
            self.due.clear();
        }
    }

    /// The gate of a VSI is open for these frames; the VM has these addresses of IP, as far as is known. `here`: its
    /// interface is up.
    pub(crate) fn open(&mut self, now: Instant, key: VsiKey, entry: &VsiEntry, ips: &[IpAddr], here: bool) {
        let known = self.open.get(&key);
        if known.is_some_and(|known| known.filters == entry.filters && known.ips == ips) {
            return;
        }
        self.shut(key);
        let (port, filters) = (entry.port, entry.filters.clone());
        self.open.insert(key, Announced { port, here, filters, ips: ips.to_vec() });
        self.announce(now, key, 1);
    }

    /// The gate of a VSI is shut.
    pub(crate) fn shut(&mut self, key: VsiKey) {
        if self.open.remove(&key).is_some() {
            self.due.retain(|(_, other), _| *other != key);
        }
    }

    /// The interface of a VM comes up or goes down.
    pub(crate) fn set_here(&mut self, now: Instant, port: PortId, here: bool) {
        let there = self.open.iter_mut().filter(|(_, vsi)| vsi.port == port && vsi.here != here);
        let changed: Vec<VsiKey> = there
            .map(|(key, vsi)| {
                vsi.here = here;
                *key
            })
            .collect();
        self.due.retain(|(_, key), _| !changed.contains(key));
        changed.into_iter().for_each(|key| self.announce(now, key, 1));
    }

    /// The uplink is there, perhaps on another switch: everything is said anew.
    pub(crate) fn repeat(&mut self, now: Instant) {
        self.due.clear();
        let open: Vec<VsiKey> = self.open.keys().copied().collect();
        open.into_iter().for_each(|key| self.announce(now, key, 1));
    }

    /// Lets time pass; harmless when called early or late.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while let Some(entry) = self.due.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((_, key), round) = entry.remove_entry();
            self.announce(now, key, round);
        }
    }

    /// When [`Herald::handle_timeout`] has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// The next frame for the uplink, oldest first.
    pub(crate) fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.frames.pop_front()
    }

    /// Says everything of a VSI for the `round`th time.
    fn announce(&mut self, now: Instant, key: VsiKey, round: u8) {
        let Some(Announced { filters, ips, .. }) = self.open.get(&key).filter(|vsi| vsi.here && !self.silent)
        else {
            return;
        };
        let named = |filter: &VsiFilter| Some((filter.mac?, tag(filter)));
        self.frames.extend(filters.iter().filter_map(named).map(|(mac, tag)| tagged(rarp(mac), tag)));
        // Which of several addresses an IP address belongs to is not known; the first is as good as any to a switch.
        if let Some((mac, tag)) = filters.iter().find_map(named) {
            self.frames.extend(ips.iter().map(|ip| match ip {
                IpAddr::V4(ip) => tagged(arp(mac, *ip), tag),
                IpAddr::V6(ip) => tagged(neighbor_advertisement(mac, *ip), tag),
            }));
        }
        if round < ROUNDS {
            self.due.insert((now + FIRST_GAP * (1 << (round - 1)), key), round + 1);
        }
    }
}

fn tag(filter: &VsiFilter) -> Tag {
    Tag { pcp: filter.pcp.unwrap_or_default(), ..Tag::c(filter.vid) }
}

/// A RARP request by which a VM asks for its own address, as hypervisors send it after a migration.
fn rarp(mac: MacAddr) -> Vec<u8> {
    let payload = address_packet(REVERSE_REQUEST, (mac, Ipv4Addr::UNSPECIFIED), (mac, Ipv4Addr::UNSPECIFIED));
    frame::build(MacAddr::broadcast(), mac, RARP, &payload)
}

/// A gratuitous ARP request.
fn arp(mac: MacAddr, ip: Ipv4Addr) -> Vec<u8> {
    let payload = address_packet(REQUEST, (mac, ip), (MacAddr::zero(), ip));
    frame::build(MacAddr::broadcast(), mac, EtherType::ARP, &payload)
}

/// A packet of ARP or RARP for Ethernet and IPv4.
fn address_packet(operation: u8, sender: (MacAddr, Ipv4Addr), target: (MacAddr, Ipv4Addr)) -> Vec<u8> {
    let mut packet = vec![0, 1, 8, 0, 6, 4, 0, operation];
    for (mac, ip) in [sender, target] {
        packet.extend_from_slice(&mac.octets());
        packet.extend_from_slice(&ip.octets());
    }
    packet
}

/// An unsolicited neighbour advertisement that overrides what was known.
fn neighbor_advertisement(mac: MacAddr, ip: Ipv6Addr) -> Vec<u8> {
    let mut message = vec![NEIGHBOR_ADVERTISEMENT, 0, 0, 0, OVERRIDE, 0, 0, 0];
    message.extend_from_slice(&ip.octets());
    message.extend_from_slice(&[TARGET_LINK_LAYER_ADDRESS, 1]);
    message.extend_from_slice(&mac.octets());
    let length = u8::try_from(message.len()).unwrap_or(u8::MAX);
    let mut pseudo = [&ip.octets()[..], &ALL_NODES.octets(), &[0, 0, 0, length, 0, 0, 0, ICMPV6]].concat();
    pseudo.extend_from_slice(&message);
    if let Some(sum) = message.get_mut(2..4) {
        sum.copy_from_slice(&checksum(&pseudo).to_be_bytes());
    }
    let mut packet = vec![0x60, 0, 0, 0, 0, length, ICMPV6, HOP_LIMIT];
    packet.extend_from_slice(&ip.octets());
    packet.extend_from_slice(&ALL_NODES.octets());
    packet.extend_from_slice(&message);
    frame::build(ALL_NODES_MAC, mac, EtherType::IPV6, &packet)
}

/// The checksum of the Internet protocols over an even number of octets.
fn checksum(octets: &[u8]) -> u16 {
    let (words, _) = octets.as_chunks::<2>();
    let sum: u32 = words.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    !u16::try_from(folded).unwrap_or(u16::MAX)
}

fn tagged(mut frame: Vec<u8>, tag: Tag) -> Vec<u8> {
    frame.splice(TAG_AT..TAG_AT, tag.to_bytes());
    frame
}

/// How often each frame goes out.
const ROUNDS: u8 = 4;
/// Between the first and the second time; doubled from then on.
const FIRST_GAP: Duration = Duration::from_millis(100);
/// Where a tag stands in a frame: after both addresses.
const TAG_AT: usize = 12;
const RARP: EtherType = EtherType(0x8035);
const REQUEST: u8 = 1;
const REVERSE_REQUEST: u8 = 3;
const ICMPV6: u8 = 58;
const HOP_LIMIT: u8 = 255;
const NEIGHBOR_ADVERTISEMENT: u8 = 136;
const OVERRIDE: u8 = 0x20;
const TARGET_LINK_LAYER_ADDRESS: u8 = 2;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: MacAddr = MacAddr(0x33, 0x33, 0, 0, 0, 1);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ether::{FrameView, Pcp, Vid};
    use hairpin::PortId;
    use pnet::packet::{
        Packet,
        arp::{ArpOperations, ArpPacket},
        icmpv6::{Icmpv6Packet, checksum, ndp::NeighborAdvertPacket},
        ipv6::Ipv6Packet,
    };

    use super::*;

    const MAC: MacAddr = MacAddr(0x52, 0x54, 0, 0, 0, 1);
    const KEY: VsiKey = VsiKey(7);

    fn entry(macs: &[Option<MacAddr>]) -> VsiEntry {
        let filter =
            |mac: &Option<MacAddr>| VsiFilter { mac: *mac, vid: Vid::new(100).unwrap(), pcp: Pcp::new(3) };
        VsiEntry { port: PortId(1), filters: macs.iter().map(filter).collect(), policy: Arc::default() }
    }

    fn said(herald: &mut Herald) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| herald.poll_transmit()).collect()
    }

    #[test]
    fn each_address_in_its_own_words() {
        let mut herald = Herald::default();
        let ips = ["192.0.2.1", "2001:db8::1"].map(|ip| ip.parse().unwrap());
        herald.open(Instant::ZERO, KEY, &entry(&[Some(MAC)]), &ips, true);
        let frames = said(&mut herald);
        let views: Vec<FrameView<'_>> = frames.iter().map(|frame| FrameView::parse(frame).unwrap()).collect();
        for view in &views {
            let tag = view.tag.unwrap();
            assert_eq!((view.src, tag.vid, tag.pcp), (MAC, Vid::new(100), Pcp::new(3).unwrap()));
        }
        assert_eq!((views[0].ethertype, views[0].dst), (RARP, MacAddr::broadcast()));
        let rarp = ArpPacket::new(views[0].payload).unwrap();
        assert_eq!(
            (rarp.get_operation().0, rarp.get_sender_hw_addr(), rarp.get_target_hw_addr()),
            (3, MAC, MAC)
        );
        let arp = ArpPacket::new(views[1].payload).unwrap();
        assert_eq!((arp.get_operation(), arp.get_sender_hw_addr()), (ArpOperations::Request, MAC));
        assert_eq!(arp.get_sender_proto_addr(), arp.get_target_proto_addr());
        let ip = Ipv6Packet::new(views[2].payload).unwrap();
        assert_eq!((ip.get_hop_limit(), ip.get_destination(), views[2].dst), (255, ALL_NODES, ALL_NODES_MAC));
        let advert = NeighborAdvertPacket::new(ip.payload()).unwrap();
        assert_eq!((advert.get_target_addr(), advert.get_flags()), (ip.get_source(), OVERRIDE));
        let icmp = Icmpv6Packet::new(ip.payload()).unwrap();
        assert_eq!(icmp.get_checksum(), checksum(&icmp, &ip.get_source(), &ip.get_destination()));
    }

    #[test]
    fn some_times_and_then_no_more() {
        let mut herald = Herald::default();
        let two = entry(&[Some(MAC), None, Some(MacAddr(0x52, 0x54, 0, 0, 0, 2))]);
        herald.open(Instant::ZERO, KEY, &two, &[], true);
        let mut times = vec![Instant::ZERO];
        assert_eq!(said(&mut herald).len(), 2);
        while let Some(at) = herald.poll_timeout() {
            herald.handle_timeout(at);
            assert_eq!(said(&mut herald).len(), 2);
            times.push(at);
        }
        let ms = |n| Instant::ZERO + Duration::from_millis(n);
        assert_eq!(times, [ms(0), ms(100), ms(300), ms(700)]);
        // Confirmed once more, it is as it was; with another filter it is not.
        herald.open(ms(800), KEY, &two, &[], true);
        assert!(said(&mut herald).is_empty());
        herald.open(ms(900), KEY, &entry(&[Some(MAC)]), &[], true);
        assert_eq!(said(&mut herald).len(), 1);
        herald.repeat(ms(950));
        assert_eq!((said(&mut herald).len(), herald.poll_timeout()), (1, Some(ms(1050))));
    }

    #[test]
    fn nothing_of_what_is_shut_and_nothing_at_all_when_told_so() {
        let mut herald = Herald::default();
        herald.open(Instant::ZERO, KEY, &entry(&[Some(MAC)]), &[], true);
        herald.shut(KEY);
        said(&mut herald);
        assert_eq!(herald.poll_timeout(), None);
        herald.open(Instant::ZERO, KEY, &entry(&[None]), &["192.0.2.1".parse().unwrap()], true);
        assert!(said(&mut herald).is_empty(), "an IP address without a MAC address");
        herald.set_speaking(false);
        herald.open(Instant::ZERO, KEY, &entry(&[Some(MAC)]), &[], true);
        assert!(said(&mut herald).is_empty() && herald.poll_timeout().is_none());
    }

    #[test]
    fn a_vm_that_is_not_here_is_not_announced() {
        let ms = |n| Instant::ZERO + Duration::from_millis(n);
        let mut herald = Herald::default();
        herald.open(Instant::ZERO, KEY, &entry(&[Some(MAC)]), &[], false);
        herald.repeat(Instant::ZERO);
        assert!(herald.poll_transmit().is_none() && herald.poll_timeout().is_none());
        herald.set_here(ms(10), PortId(9), true);
        assert!(herald.poll_transmit().is_none(), "another's interface");
        herald.set_here(ms(10), entry(&[]).port, true);
        assert!(herald.poll_transmit().is_some() && herald.poll_timeout().is_some());
        herald.set_here(ms(20), entry(&[]).port, false);
        assert!(herald.poll_transmit().is_none() && herald.poll_timeout().is_none());
    }
}
