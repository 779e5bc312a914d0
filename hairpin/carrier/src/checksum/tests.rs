#![allow(clippy::indexing_slicing, clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

/// An IPv4 packet of `protocol` from its EtherType on, with zero where the checksum belongs.
fn v4(protocol: u8, body: &[u8]) -> Vec<u8> {
    let total = u16::try_from(20 + body.len()).unwrap().to_be_bytes();
    let mut packet = vec![8, 0, 0x45, 0, total[0], total[1], 0, 1, 0x40, 0, 64, protocol, 0, 0];
    packet.extend([10, 0, 0, 1, 10, 0, 0, 2]);
    packet.extend(body);
    packet
}

/// An IPv6 packet from its EtherType on; `headers` are extension headers, the first of kind `next`.
fn v6(next: u8, headers: &[u8], body: &[u8]) -> Vec<u8> {
    let payload = u16::try_from(headers.len() + body.len()).unwrap().to_be_bytes();
    let mut packet = vec![0x86, 0xdd, 0x60, 0, 0, 0, payload[0], payload[1], next, 64];
    packet.extend((0..32).map(|n| n * 7));
    packet.extend(headers);
    packet.extend(body);
    packet
}

/// The slow sum of RFC 1071 over pseudo-header and body.
fn slow(octets: &[u8], addresses: &[u8], protocol: u8) -> u16 {
    let mut all = addresses.to_vec();
    all.extend(u32::try_from(octets.len()).unwrap().to_be_bytes());
    all.extend([0, 0, 0, protocol]);
    all.extend(octets);
    let mut total = 0u32;
    for pair in all.chunks(2) {
        total += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
        total = (total & 0xffff) + (total >> 16);
    }
    u16::try_from(total).unwrap()
}

/// Puts the sum of the pseudo-header in place, as a sender that postpones does.
fn postpone(body: &mut [u8], addresses: &[u8], protocol: u8) {
    let at = if protocol == TCP { 16 } else { 6 };
    body[at..at + 2].fill(0);
    let length = body.len();
    let pseudo = slow(&vec![0; length], addresses, protocol);
    body[at..at + 2].copy_from_slice(&pseudo.to_be_bytes());
}

fn valid(body: &[u8], addresses: &[u8], protocol: u8) -> bool {
    slow(body, addresses, protocol) == 0xffff
}

proptest! {
    #[test]
    fn completes_and_leaves_alone(
        mut body in prop::collection::vec(any::<u8>(), 20..1600),
        udp in any::<bool>(),
        six in any::<bool>(),
        options in any::<bool>(),
        tags in 0..3usize,
    ) {
        let protocol = if udp { UDP } else { TCP };
        if udp {
            // A port of no tunnel.
            body[2..4].copy_from_slice(&[0, 53]);
        }
        let headers: &[u8] = if options { &[protocol, 0, 1, 4, 0, 0, 0, 0] } else { &[] };
        let next = if options { HOP_BY_HOP } else { protocol };
        let build = |body: &[u8]| {
            let mut frame = [0x81, 0, 0, 9].repeat(tags);
            frame.extend(if six { v6(next, headers, body) } else { v4(protocol, body) });
            frame
        };
        let plain = build(&body);
        let start = plain.len() - body.len();
        let (from, len) = if six { (4 * tags + 10, 32) } else { (4 * tags + 14, 8) };
        let addresses = plain[from..from + len].to_vec();
        postpone(&mut body, &addresses, protocol);
        // What follows the packet is padding.
        let mut frame = build(&body);
        frame.extend([0x5a; 7]);
        prop_assert_eq!(finish(&mut frame), Finish::Completed);
        prop_assert!(valid(&frame[start..frame.len() - 7], &addresses, protocol));
        prop_assert!(frame.ends_with(&[0x5a; 7]));
        // And again: nothing changes any more.
        let whole = frame.clone();
        finish(&mut frame);
        prop_assert_eq!(frame, whole);
    }

    #[test]
    fn never_panics(mut octets in prop::collection::vec(any::<u8>(), 0..300), kind in 0..4usize, protocol: u8) {
        let kinds = [[8, 0], [0x86, 0xdd], [0x81, 0], [0x88, 0xa8]];
        if octets.len() > 12 {
            octets[..2].copy_from_slice(&kinds[kind]);
            octets[if kind == 0 { 11 } else { 8 }] = protocol;
        }
        finish(&mut octets);
    }

    #[test]
    fn sums_as_slowly(octets in prop::collection::vec(any::<u8>(), 0..200)) {
        let expected = slow(&octets, &[], 0);
        let length = u16::try_from(octets.len()).unwrap();
        prop_assert_eq!(add(sum(&octets), length), expected);
    }
}

#[test]
fn what_is_finished_stays() {
    let mut body = vec![7; 60];
    postpone(&mut body, &[10, 0, 0, 1, 10, 0, 0, 2], TCP);
    body[17] ^= 1;
    let mut frame = v4(TCP, &body);
    let before = frame.clone();
    assert_eq!((finish(&mut frame), &frame), (Finish::Whole, &before));
}

#[test]
fn fragments_and_other_protocols_stay() {
    let mut body = vec![7; 60];
    postpone(&mut body, &[10, 0, 0, 1, 10, 0, 0, 2], TCP);
    for (at, octet) in [(8, 0x20), (9, 1), (11, 1)] {
        let mut frame = v4(TCP, &body);
        frame[at] = octet;
        let before = frame.clone();
        assert_eq!((finish(&mut frame), &frame), (Finish::Whole, &before), "octet {at}");
    }
    let mut frame = v6(FRAGMENT, &[TCP, 0, 0, 1, 0, 0, 0, 0], &body);
    assert_eq!(finish(&mut frame), Finish::Whole);
}

#[test]
fn a_route_not_yet_gone_is_unclear() {
    let route = |left| [TCP, 0, 4, left, 0, 0, 0, 0];
    let mut frame = v6(ROUTING, &route(1), &[0; 40]);
    assert_eq!(finish(&mut frame), Finish::Unclear);
    let mut body = vec![1; 40];
    postpone(&mut body, &v6(TCP, &[], &[])[10..42], TCP);
    assert_eq!(finish(&mut v6(ROUTING, &route(0), &body)), Finish::Completed);
}

#[test]
fn completes_inside_tunnels() {
    let addresses = [10, 0, 0, 1, 10, 0, 0, 2];
    let mut body = vec![9; 48];
    postpone(&mut body, &addresses, TCP);
    let packet = v4(TCP, &body);
    let ethernet = [vec![2; 12], packet.clone()].concat();
    // Port 4789 or 6081, a length nobody looks at, and no checksum; then the tunnel's header.
    let vxlan = [vec![1, 2, 0x12, 0xb5, 0, 0, 0, 0], vec![8, 0, 0, 0, 0, 0, 1, 0], ethernet.clone()].concat();
    let geneve = [
        vec![1, 2, 0x17, 0xc1, 0, 0, 0, 0],
        vec![1, 0, 0x65, 0x58, 0, 0, 1, 0, 5, 5, 5, 5],
        ethernet.clone(),
    ]
    .concat();
    let gre = [vec![0x20, 0, 8, 0, 0, 0, 0, 1], packet[2..].to_vec()].concat();
    let taps = [vec![0, 0, 0x65, 0x58], ethernet].concat();
    let cases = [(UDP, vxlan), (UDP, geneve), (GRE, gre), (GRE, taps), (IPV4_IN_IP, packet[2..].to_vec())];
    for (n, (protocol, outer)) in cases.into_iter().enumerate() {
        let mut frame = v4(protocol, &outer);
        assert_eq!(finish(&mut frame), Finish::Completed, "case {n}");
        assert!(valid(&frame[frame.len() - 48..], &addresses, TCP), "case {n}");
    }
}

#[test]
fn sctp_by_the_vector_of_its_checksum() {
    // RFC 3720 B.4: CRC32C of 32 octets of zero is 8a9136aa.
    assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
    let mut frame = v4(SCTP, &[0; 32]);
    assert_eq!(finish(&mut frame), Finish::Completed);
    assert_eq!(frame[22 + 8..22 + 12], [0xaa, 0x36, 0x91, 0x8a]);
    assert_eq!(finish(&mut frame), Finish::Whole);
}

#[test]
fn zero_is_written_as_its_other_form() {
    // The words sum up to 0xffff: their complement is zero.
    let mut octets = [0xff, 0xff, 0, 0];
    assert!(complete(&mut octets, 0, 2));
    assert_eq!(octets, [0xff; 4]);
    assert!(!complete(&mut octets, 0, 3) && !complete(&mut octets, 5, 0));
}
