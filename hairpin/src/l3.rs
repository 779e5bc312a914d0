//! What stands behind the EtherType, as far as rules and snooping ask: addresses, protocol and ports of IP. Never fails:
//! what cannot be seen is [`Seen::Hidden`].

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ether::EtherType;

use crate::policy::Protocol;

/// Something a packet should show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen<T> {
    /// It does.
    Here(T),
    /// It has none: no ports in this protocol, or in a fragment that is not the first.
    Absent,
    /// It has one, but is cut short, or too long a chain of headers is before it.
    Hidden,
}

/// An IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packet<'a> {
    /// Source and destination.
    pub(crate) addresses: Seen<(IpAddr, IpAddr)>,
    /// The protocol behind extension headers.
    pub(crate) protocol: Seen<Protocol>,
    /// Source and destination port.
    pub(crate) ports: Seen<(u16, u16)>,
    /// What the protocol carries; empty in fragments that are not the first.
    pub(crate) payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// The packet in `payload`; `None` if the EtherType is not IP.
    pub(crate) fn read(ethertype: EtherType, payload: &'a [u8]) -> Option<Self> {
        match ethertype {
            EtherType::IPV4 => Some(v4(payload).unwrap_or(Self::HIDDEN)),
            EtherType::IPV6 => Some(v6(payload).unwrap_or(Self::HIDDEN)),
            _ => None,
        }
    }

    const HIDDEN: Self =
        Self { addresses: Seen::Hidden, protocol: Seen::Hidden, ports: Seen::Hidden, payload: &[] };

    fn new(addresses: (IpAddr, IpAddr), protocol: u8, first: bool, payload: &'a [u8]) -> Self {
        let (addresses, protocol) = (Seen::Here(addresses), Protocol(protocol));
        let ports = match payload.first_chunk() {
            _ if !first || !protocol.has_ports() => Seen::Absent,
            Some(&[a, b, c, d]) => Seen::Here((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))),
            None => Seen::Hidden,
        };
        Self { addresses, protocol: Seen::Here(protocol), ports, payload: if first { payload } else { &[] } }
    }
}

fn v4(octets: &[u8]) -> Option<Packet<'_>> {
    let (header, _) = octets.split_first_chunk::<20>()?;
    let &[version, _, _, _, _, _, fragment, offset, _, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] =
        header;
    let payload = octets.get(usize::from(version & 0xf) * 4..)?;
    if version >> 4 != 4 || version & 0xf < 5 {
        return None;
    }
    let first = fragment & 0x1f == 0 && offset == 0;
    let addresses = (Ipv4Addr::new(s0, s1, s2, s3).into(), Ipv4Addr::new(d0, d1, d2, d3).into());
    Some(Packet::new(addresses, protocol, first, payload))
}

fn v6(octets: &[u8]) -> Option<Packet<'_>> {
    let (&[version, _, _, _, _, _, next, _], rest) = octets.split_first_chunk::<8>()?;
    let (source, rest) = rest.split_first_chunk::<16>()?;
    let (destination, mut rest) = rest.split_first_chunk::<16>()?;
    if version >> 4 != 6 {
        return None;
    }
    let addresses = (Ipv6Addr::from(*source).into(), Ipv6Addr::from(*destination).into());
    let hidden = Packet { addresses: Seen::Here(addresses), ..Packet::HIDDEN };
    let mut next = next;
    for _ in 0..CHAIN {
        let Some(length) = extension(next, rest) else {
            return Some(Packet::new(addresses, next, true, rest));
        };
        let Some((&[after, _, high, low], _)) = rest.split_first_chunk::<4>() else { return Some(hidden) };
        let Some(behind) = rest.get(length..) else { return Some(hidden) };
        if next == FRAGMENT && u16::from_be_bytes([high, low]) >> 3 != 0 {
            return Some(Packet::new(addresses, after, false, behind));
        }
        (next, rest) = (after, behind);
    }
    Some(hidden)
}

/// Octets of the extension header `next`, which `rest` starts with; `None` if it is a protocol.
fn extension(next: u8, rest: &[u8]) -> Option<usize> {
    let length = rest.get(1).map_or(0, |length| usize::from(*length));
    match next {
        FRAGMENT => Some(8),
        HOP_BY_HOP | ROUTING | DESTINATION | MOBILITY => Some((length + 1) * 8),
        AUTHENTICATION => Some((length + 2) * 4),
        _ => None,
    }
}

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;
const MOBILITY: u8 = 135;
/// Extension headers followed.
const CHAIN: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_v4(head: [u8; 10], behind: &[u8]) -> Packet<'static> {
        let octets = [&head[..], &[0, 0, 192, 0, 2, 1, 192, 0, 2, 2], behind].concat();
        Packet::read(EtherType::IPV4, octets.leak()).unwrap()
    }

    fn read_v6(next: u8, behind: &[u8]) -> Packet<'static> {
        let octets = [&[0x60, 0, 0, 0, 0, 0, next, 64][..], &[1; 16], &[2; 16], behind].concat();
        Packet::read(EtherType::IPV6, octets.leak()).unwrap()
    }

    #[test]
    fn version_4() {
        let head = |fragment: u8, protocol| [0x45, 0, 0, 40, 0, 0, fragment, 0, 64, protocol];
        let ports = [4, 0, 0, 80];
        let packet = read_v4(head(0, 6), &ports);
        let (source, destination) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));
        assert_eq!(packet.addresses, Seen::Here((source.into(), destination.into())));
        assert_eq!((packet.protocol, packet.ports), (Seen::Here(Protocol::TCP), Seen::Here((1024, 80))));
        assert_eq!(read_v4(head(0x20, 17), &ports).ports, Seen::Here((1024, 80)), "first of several");
        assert_eq!(read_v4(head(0x01, 17), &ports).ports, Seen::Absent, "a later one");
        assert_eq!(read_v4(head(0, 1), &ports).ports, Seen::Absent);
        assert_eq!(read_v4(head(0x20, 6), &ports[..3]).ports, Seen::Hidden);
        let options = [0x46, 0, 0, 40, 0, 0, 0, 0, 64, 6];
        assert_eq!(read_v4(options, &[1, 1, 1, 1, 0, 1, 0, 2]).ports, Seen::Here((1, 2)));
        for head in [[0x44, 0, 0, 0, 0, 0, 0, 0, 0, 6], [0x65, 0, 0, 0, 0, 0, 0, 0, 0, 6], [0x4f; 10]] {
            assert_eq!(read_v4(head, &ports), Packet::HIDDEN);
        }
        assert_eq!(Packet::read(EtherType::ARP, &[0x45; 40]), None);
    }

    #[test]
    fn version_6() {
        let ports = [4, 0, 0, 80];
        assert_eq!(read_v6(17, &ports).ports, Seen::Here((1024, 80)));
        let chain = [&[60, 0, 0, 0, 0, 0, 0, 0][..], &[6, 1, 0, 0, 0, 0, 0, 0], &[0; 8], &ports].concat();
        assert_eq!(read_v6(0, &chain).ports, Seen::Here((1024, 80)));
        let fragment = |offset| [&[6, 0, 0, offset, 0, 0, 0, 1][..], &ports].concat();
        assert_eq!(read_v6(44, &fragment(1)).ports, Seen::Here((1024, 80)));
        let later = read_v6(44, &fragment(8));
        assert_eq!(
            (later.protocol, later.ports, later.payload),
            (Seen::Here(Protocol::TCP), Seen::Absent, &[][..])
        );
        let endless = read_v6(60, &[60, 0, 0, 0, 0, 0, 0, 0].repeat(9));
        assert_eq!((endless.protocol, endless.ports), (Seen::Hidden, Seen::Hidden));
        assert!(matches!(endless.addresses, Seen::Here(_)));
        for len in 0..chain.len() - 4 {
            assert_ne!(read_v6(0, &chain[..len]).protocol, Seen::Here(Protocol::UDP), "{len}");
        }
        assert_eq!(read_v6(51, &[6, 4, 0, 0]).protocol, Seen::Hidden);
    }

    proptest! {
        #[test]
        fn any_octets(octets in proptest::collection::vec(any::<u8>(), 0..200), version in 0..16_u8) {
            let mut octets = octets;
            if let Some(first) = octets.first_mut() {
                *first = *first & 0xf | version << 4;
            }
            for ethertype in [EtherType::IPV4, EtherType::IPV6] {
                prop_assert!(Packet::read(ethertype, &octets).is_some());
            }
        }
    }
}
