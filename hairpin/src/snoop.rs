//! What IGMP (RFC 1112, 2236, 3376) and MLD (RFC 2710, 3810) say of a port: who listens, who asks.
//!
//! Checksums are not looked at, nor is the hop limit: who lies harms his own port only.

use core::net::{IpAddr, Ipv6Addr};

use ether::MacAddr;

use crate::{
    l3::{Packet, Seen},
    policy::Protocol,
    switch::Frame,
};

/// A version of IP, as far as groups are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

/// A group as a MAC address shows it: 23 bits of an IPv4 group, 32 of an IPv6 one. Several groups may share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) family: Family,
    pub(crate) bits: u32,
}

impl Group {
    /// The group `mac` stands for, if listeners tell of it: not broadcast, no group of another protocol, and none that
    /// everybody gets, which are `224.0.0.x` and `ff0x::xx`.
    pub(crate) fn of(mac: MacAddr) -> Option<Self> {
        let (family, bits) = match mac {
            MacAddr(1, 0, 0x5e, a, b, c) if a < 0x80 => (Family::V4, [0, a, b, c]),
            MacAddr(0x33, 0x33, a, b, c, d) => (Family::V6, [a, b, c, d]),
            _ => return None,
        };
        Self { family, bits: u32::from_be_bytes(bits) }.told()
    }

    fn of_ip(address: IpAddr) -> Option<Self> {
        let group = match address {
            IpAddr::V4(v4) => Self { family: Family::V4, bits: u32::from(v4) & 0x7f_ffff },
            IpAddr::V6(v6) => {
                let [.., a, b, c, d] = v6.octets();
                Self { family: Family::V6, bits: u32::from_be_bytes([a, b, c, d]) }
            }
        };
        group.told().filter(|_| address.is_multicast())
    }

    fn told(self) -> Option<Self> {
        (self.bits > 0xff).then_some(self)
    }
}

/// What a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard<'a> {
    /// A router or querier is there. `general`: all listeners of the VLAN are to answer.
    Query { family: Family, general: bool },
    /// A multicast router is there.
    Router { family: Family },
    /// Somebody listens, or has stopped to.
    Report { family: Family, reports: Reports<'a> },
}

/// What one frame says, if it says anything.
pub(crate) fn hear<'a>(frame: &Frame<'a>) -> Option<Heard<'a>> {
    let family = match frame.dst {
        MacAddr(1, 0, 0x5e, ..) => Family::V4,
        MacAddr(0x33, 0x33, ..) => Family::V6,
        _ => return None,
    };
    let packet = Packet::read(frame.ethertype, frame.payload)?;
    let (Seen::Here((source, _)), Seen::Here(protocol)) = (packet.addresses, packet.protocol) else {
        return None;
    };
    match (family, source, protocol) {
        (_, _, Protocol::PIM) => {
            (packet.payload.first()? & 0xf == PIM_HELLO).then_some(Heard::Router { family })
        }
        (Family::V4, IpAddr::V4(_), Protocol::IGMP) => igmp(source, packet.payload),
        (Family::V6, IpAddr::V6(_), Protocol::ICMPV6) => mld(source, packet.payload),
        _ => None,
    }
}

fn igmp(source: IpAddr, message: &[u8]) -> Option<Heard<'_>> {
    let family = Family::V4;
    let (&[kind, _, _, _, a, b, c, d], rest) = message.split_first_chunk::<8>()?;
    let group = IpAddr::from([a, b, c, d]);
    match kind {
        // A query without a source is some switch's that stands in for a querier (RFC 4541 2.1.1): nobody to rely on.
        0x11 if source.is_unspecified() => None,
        0x11 => Some(Heard::Query { family, general: group.is_unspecified() }),
        0x12 | 0x16 => Some(Heard::Report { family, reports: Reports::One { group, joins: true } }),
        0x17 => Some(Heard::Report { family, reports: Reports::One { group, joins: false } }),
        0x22 => {
            let left = u16::from_be_bytes([c, d]);
            Some(Heard::Report { family, reports: Reports::Many { family, left, rest } })
        }
        _ => None,
    }
}

fn mld(source: IpAddr, message: &[u8]) -> Option<Heard<'_>> {
    let family = Family::V6;
    let (&[kind, _, _, _, _, _, high, low], rest) = message.split_first_chunk::<8>()?;
    let group = || rest.first_chunk::<16>().map(|octets| IpAddr::V6(Ipv6Addr::from(*octets)));
    match kind {
        130 if source.is_unspecified() => None,
        130 => Some(Heard::Query { family, general: group()?.is_unspecified() }),
        131 => Some(Heard::Report { family, reports: Reports::One { group: group()?, joins: true } }),
        132 => Some(Heard::Report { family, reports: Reports::One { group: group()?, joins: false } }),
        143 => {
            let left = u16::from_be_bytes([high, low]);
            Some(Heard::Report { family, reports: Reports::Many { family, left, rest } })
        }
        _ => None,
    }
}

/// The groups of a report, and whether each is joined or left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reports<'a> {
    One { group: IpAddr, joins: bool },
    Many { family: Family, left: u16, rest: &'a [u8] },
}

impl Iterator for Reports<'_> {
    type Item = (Group, bool);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (group, joins) = self.record()?;
            if let (Some(group), Some(joins)) = (Group::of_ip(group), joins) {
                return Some((group, joins));
            }
        }
    }
}

impl Reports<'_> {
    /// The next record: a group, and whether it is joined or left or neither.
    fn record(&mut self) -> Option<(IpAddr, Option<bool>)> {
        let (family, left, octets) = match self {
            Self::One { group, joins } => {
                let record = (*group, Some(*joins));
                *self = Self::Many { family: Family::V4, left: 0, rest: &[] };
                return Some(record);
            }
            Self::Many { family, left, rest } => (*family, left, rest),
        };
        *left = left.checked_sub(1)?;
        let (&[kind, auxiliary, high, low], after) = octets.split_first_chunk::<4>()?;
        let sources = usize::from(u16::from_be_bytes([high, low]));
        let (group, after, width) = match family {
            Family::V4 => after.split_first_chunk::<4>().map(|(g, after)| (IpAddr::from(*g), after, 4))?,
            Family::V6 => after.split_first_chunk::<16>().map(|(g, after)| (IpAddr::from(*g), after, 16))?,
        };
        *octets = after.get(sources * width + usize::from(auxiliary) * 4..)?;
        // Include nothing is to listen to nothing. Blocking sources ends no membership.
        let joins = match (kind, sources) {
            (1 | 3, 0) => Some(false),
            (1..=5, 1..) | (2 | 4, 0) => Some(true),
            _ => None,
        };
        Some((group, joins))
    }
}

const PIM_HELLO: u8 = 0;

#[cfg(test)]
mod tests {
    use ether::EtherType;
    use proptest::prelude::*;

    use super::*;

    fn v4(protocol: u8, source: [u8; 4], message: &[u8]) -> Frame<'static> {
        let packet = [
            &[0x46, 0, 0, 0, 0, 0, 0, 0, 1, protocol, 0, 0][..],
            &source,
            &[224, 0, 0, 1, 0x94, 4, 0, 0],
            message,
        ];
        frame(MacAddr(1, 0, 0x5e, 0, 0, 1), EtherType::IPV4, packet.concat())
    }

    fn v6(source: u8, message: &[u8]) -> Frame<'static> {
        let source = [[0; 15].as_slice(), &[source]].concat();
        let options = [58, 0, 5, 2, 0, 0, 1, 0];
        let packet = [&[0x60, 0, 0, 0, 0, 0, 0, 1][..], &source, &[0xff; 16], &options, message];
        frame(MacAddr(0x33, 0x33, 0, 0, 0, 1), EtherType::IPV6, packet.concat())
    }

    fn frame(dst: MacAddr, ethertype: EtherType, payload: Vec<u8>) -> Frame<'static> {
        let src = MacAddr(2, 0, 0, 0, 0, 1);
        Frame { dst, src, tag: None, ethertype, len: 0, payload: payload.leak() }
    }

    /// Groups of a report and whether each is joined.
    fn reports(frame: &Frame<'static>) -> Vec<(u32, bool)> {
        match hear(frame) {
            Some(Heard::Report { reports, .. }) => {
                reports.map(|(group, joins)| (group.bits, joins)).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn igmp_of_all_versions() {
        let query = |group| v4(2, [10, 0, 0, 1], &[0x11, 100, 0, 0, group, 0, 0, group]);
        let family = Family::V4;
        assert_eq!(hear(&query(0)), Some(Heard::Query { family, general: true }));
        assert_eq!(hear(&query(239)), Some(Heard::Query { family, general: false }));
        assert_eq!(hear(&v4(2, [0; 4], &[0x11, 100, 0, 0, 0, 0, 0, 0])), None);
        for (kind, joins) in [(0x12, true), (0x16, true), (0x17, false)] {
            assert_eq!(reports(&v4(2, [0; 4], &[kind, 0, 0, 0, 239, 0x81, 2, 3])), [(0x01_0203, joins)]);
        }
        assert_eq!(reports(&v4(2, [0; 4], &[0x16, 0, 0, 0, 224, 0, 0, 251])), [], "everybody gets it");
        assert_eq!(reports(&v4(2, [0; 4], &[0x16, 0, 0, 0, 10, 1, 1, 1])), [], "no group");
        let record = |kind, sources: u8| {
            let addresses = vec![9; usize::from(sources) * 4];
            [&[kind, 1, 0, sources, 239, 1, 1, kind][..], &addresses, &[7; 4]].concat()
        };
        let records = [(2, 0), (3, 0), (3, 2), (4, 1), (5, 1), (6, 1), (1, 0), (1, 1)];
        let all: Vec<u8> = records.iter().flat_map(|(kind, sources)| record(*kind, *sources)).collect();
        let message = [&[0x22, 0, 0, 0, 0, 0, 0, 8][..], &all].concat();
        let group = |kind: u32| 0x01_0100 | kind;
        assert_eq!(
            reports(&v4(2, [0; 4], &message)),
            [(2, true), (3, false), (3, true), (4, true), (5, true), (1, false), (1, true)]
                .map(|(kind, joins)| (group(kind), joins))
        );
        for len in 8..message.len() {
            assert!(reports(&v4(2, [0; 4], &message[..len])).len() < 7, "{len}");
        }
        assert_eq!(hear(&v4(103, [10, 0, 0, 1], &[0x20])), Some(Heard::Router { family }));
        assert_eq!(hear(&v4(103, [10, 0, 0, 1], &[0x23])), None);
        assert_eq!(hear(&v4(17, [10, 0, 0, 1], &[0x11; 8])), None);
    }

    #[test]
    fn mld_of_both_versions() {
        let family = Family::V6;
        let message = |kind: u8, group: [u8; 4]| {
            [&[kind, 0, 0, 0, 0, 0, 0, 1][..], &[0xff, 2], &[0; 10], &group].concat()
        };
        let general = [&[130, 0, 0, 0, 0, 0, 0, 0][..], &[0; 16]].concat();
        assert_eq!(hear(&v6(1, &general)), Some(Heard::Query { family, general: true }));
        assert_eq!(hear(&v6(0, &general)), None);
        assert_eq!(hear(&v6(1, &message(130, [1, 2, 3, 4]))), Some(Heard::Query { family, general: false }));
        assert_eq!(reports(&v6(0, &message(131, [0xff, 2, 3, 4]))), [(0xff02_0304, true)]);
        assert_eq!(reports(&v6(0, &message(132, [0xff, 2, 3, 4]))), [(0xff02_0304, false)]);
        assert_eq!(reports(&v6(0, &message(131, [0, 0, 0, 0xfb]))), [], "everybody gets it");
        let record = [&[4, 0, 0, 0, 0xff, 2][..], &[0; 10], &[0xff, 2, 3, 4]].concat();
        let two = [&[143, 0, 0, 0, 0, 0, 0, 2][..], &record, &record].concat();
        assert_eq!(reports(&v6(0, &two)), [(0xff02_0304, true); 2]);
        assert_eq!(reports(&v6(0, &two[..two.len() - 1])), [(0xff02_0304, true)]);
        assert_eq!(hear(&v6(1, &general[..23])), None);
    }

    #[test]
    fn groups_of_addresses() {
        assert_eq!(Group::of(MacAddr(1, 0, 0x5e, 0x7f, 1, 2)).map(|group| group.bits), Some(0x7f_0102));
        assert_eq!(Group::of(MacAddr(0x33, 0x33, 0xff, 1, 2, 3)).map(|group| group.bits), Some(0xff01_0203));
        for everybodys in [
            MacAddr::broadcast(),
            MacAddr(1, 0, 0x5e, 0, 0, 0xfb),
            MacAddr(0x33, 0x33, 0, 0, 0, 0xfb),
            MacAddr(1, 0, 0x5e, 0x80, 1, 1),
            MacAddr(3, 0x65, 0x76, 0x62, 0x64, 1),
        ] {
            assert_eq!(Group::of(everybodys), None);
        }
    }

    proptest! {
        #[test]
        fn any_octets(octets in proptest::collection::vec(any::<u8>(), 0..128), kind in any::<u8>()) {
            let message = [&[kind][..], &octets].concat();
            for frame in [v4(2, [1; 4], &message), v6(1, &message)] {
                if let Some(Heard::Report { reports, .. }) = hear(&frame) {
                    prop_assert!(reports.count() <= octets.len());
                }
            }
        }
    }
}
