use proptest::prelude::*;

use super::*;

/// A super-frame behind 14 octets of Ethernet header, and its vnet header.
fn superframe(v4: bool, tcp: bool, options: usize, payload: &[u8], size: u16) -> (Vec<u8>, VnetHdr) {
    let own = if tcp { 20 + options * 4 } else { 8 };
    let len = u16::try_from(own + payload.len()).unwrap();
    let mut frame = vec![0x22; 14];
    if v4 {
        frame.extend([0x45, 0]);
        frame.extend((20 + len).to_be_bytes());
        frame.extend([0xff, 0xff, 0x40, 0, 64, if tcp { 6 } else { 17 }, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    } else {
        frame.extend([0x60, 0, 0, 0]);
        frame.extend(len.to_be_bytes());
        frame.extend([if tcp { 6 } else { 17 }, 64]);
        frame.extend([0xfd; 16]);
        frame.extend([0xfc; 16]);
    }
    let start = frame.len();
    if tcp {
        frame.extend([4, 210, 0, 80, 0xff, 0xff, 0xff, 0xf0, 0, 0, 0, 9]);
        frame.extend([
            u8::try_from(own / 4).unwrap() << 4,
            CWR | PSH | FIN | 0x10,
            0x7f,
            0xff,
            0x12,
            0x34,
            0,
            0,
        ]);
        frame.extend(vec![1; options * 4]);
    } else {
        frame.extend([4, 210, 0, 53]);
        frame.extend(len.to_be_bytes());
        frame.extend([0x12, 0x34]);
    }
    frame.extend(payload);
    let gso_type = match (tcp, v4) {
        (true, true) => VnetHdr::GSO_TCPV4,
        (true, false) => VnetHdr::GSO_TCPV6 | VnetHdr::GSO_ECN,
        (false, _) => VnetHdr::GSO_UDP_L4,
    };
    let csum_start = u16::try_from(start).unwrap();
    let vnet = VnetHdr { flags: 1, gso_type, hdr_len: 0, gso_size: size, csum_start, csum_offset: 16 };
    (frame, vnet)
}

fn cut(frame: &[u8], vnet: VnetHdr) -> Result<Vec<Vec<u8>>, SegmentError> {
    let mut all = Vec::new();
    segment(frame, vnet, 14, &mut Vec::new(), |one| all.push(one.to_vec())).map(|()| all)
}

/// The checksum over everything, its own field included, comes to all ones: computed another way than in the module.
fn checks(packet: &[u8], transport: usize, v4: bool, protocol: u8) -> bool {
    let words = |octets: &[u8]| -> u64 {
        octets
            .iter()
            .enumerate()
            .map(|(at, octet)| u64::from(*octet) << if at % 2 == 0 { 8 } else { 0 })
            .sum()
    };
    let addresses = if v4 { &packet[12..20] } else { &packet[8..40] };
    let body = &packet[transport..];
    let total = words(addresses) + u64::from(protocol) + body.len() as u64 + words(body);
    let header = !v4 || words(&packet[..20]).is_multiple_of(0xffff);
    total.is_multiple_of(0xffff) && header
}

proptest! {
    #[test]
    fn segments_are_sound_and_together_the_whole(
        v4: bool,
        tcp: bool,
        options in 0usize..=10,
        payload in proptest::collection::vec(any::<u8>(), 1..6000),
        size in 1u16..2000,
    ) {
        let (frame, vnet) = superframe(v4, tcp, options, &payload, size);
        let (start, own) = (usize::from(vnet.csum_start), if tcp { 20 + options * 4 } else { 8 });
        let all = cut(&frame, vnet).unwrap();
        prop_assert_eq!(all.len(), payload.len().div_ceil(size.into()));
        let mut joined = Vec::new();
        for (index, one) in all.iter().enumerate() {
            let packet = &one[14..];
            prop_assert_eq!(&one[..14], &frame[..14]);
            let protocol = if tcp { 6 } else { 17 };
            prop_assert!(checks(packet, start - 14, v4, protocol));
            let len = if v4 { packet.len() } else { packet.len() - 40 };
            prop_assert_eq!(usize::from(word(packet, if v4 { 2 } else { 4 }).unwrap()), len);
            let body = &one[start..];
            if tcp {
                let sequence = u32::from_be_bytes(body[4..8].try_into().unwrap());
                prop_assert_eq!(sequence, 0xffff_fff0u32.wrapping_add(u32::try_from(joined.len()).unwrap()));
                prop_assert_eq!(body[13] & CWR != 0, index == 0);
                prop_assert_eq!(body[13] & (FIN | PSH) == FIN | PSH, index == all.len() - 1);
                prop_assert_eq!(body[13] & 0x10, 0x10);
            } else {
                prop_assert_eq!(usize::from(word(body, 4).unwrap()), body.len());
                prop_assert_ne!(word(body, 6), Some(0));
            }
            if v4 {
                prop_assert_eq!(word(packet, 4).unwrap(), 0xffff_u16.wrapping_add(low_word(index)));
            }
            joined.extend_from_slice(&body[own..]);
        }
        prop_assert_eq!(joined, payload);
        let most = all.iter().map(|one| one.len() - 14).max().unwrap();
        prop_assert_eq!(longest(&frame, vnet, 14), Ok(most));
    }

    #[test]
    fn any_octets_never_panic(
        frame in proptest::collection::vec(any::<u8>(), 0..200),
        gso_type in prop_oneof![Just(1u8), Just(4), Just(5), Just(0x81), any::<u8>()],
        gso_size: u16,
        csum_start in 0u16..200,
        ip in 0usize..60,
    ) {
        let vnet = VnetHdr { flags: 1, gso_type, hdr_len: 0, gso_size, csum_start, csum_offset: 16 };
        let whole = frame.len();
        let _ = segment(&frame, vnet, ip, &mut Vec::new(), |one| assert!(one.len() <= whole));
    }
}

#[test]
fn every_error() {
    let (frame, vnet) = superframe(true, true, 0, &[1; 100], 10);
    assert_eq!(cut(&frame, VnetHdr { gso_type: 3, ..vnet }), Err(SegmentError::Kind(3)));
    assert_eq!(cut(&frame, VnetHdr { gso_size: 0, ..vnet }), Err(SegmentError::Headers));
    assert_eq!(cut(&frame, VnetHdr { gso_type: VnetHdr::GSO_TCPV6, ..vnet }), Err(SegmentError::Headers));
    assert_eq!(cut(&frame, VnetHdr { csum_start: 30, ..vnet }), Err(SegmentError::Headers));
    for len in 0..14 + 40 {
        assert_eq!(cut(&frame[..len], vnet), Err(SegmentError::Headers), "{len}");
    }
}
