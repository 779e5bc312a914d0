//! The codec by vectors, by truncation, by error and by properties.

use proptest::{prelude::*, sample::subsequence};

use super::*;

fn tlv(role: Role, capacity: u8, channels: &[(u8, u16)]) -> CdcpTlv {
    let channel = |&(scid, svid)| Channel { scid: Scid::new(scid).unwrap(), svid: Svid::new(svid) };
    CdcpTlv {
        role,
        s_component: true,
        capacity: ChannelCapacity::new(capacity).unwrap(),
        channels: Channels::new(channels.iter().map(channel)).unwrap(),
    }
}

/// Head words of the vectors: a station that supports four channels, a bridge that supports 167.
const S: [u8; 4] = [0x88, 0, 0, 0x04];
const B: [u8; 4] = [0x08, 0, 0, 0xa7];

fn info(head: [u8; 4], pairs: &[[u8; 3]]) -> Vec<u8> {
    head.into_iter().chain(pairs.iter().copied().flatten()).collect()
}

fn vectors() -> [(Vec<u8>, CdcpTlv, &'static str); 6] {
    let one = [0x00, 0x10, 0x01];
    [
        // CDCP-1 to CDCP-5
        (
            info(S, &[one, [0x00, 0x20, 0x00], [0x00, 0x30, 0x00]]),
            tlv(Role::Station, 4, &[(1, 1), (2, 0), (3, 0)]),
            "S-channel station, at most 4: 1 has SVID 1, 2 requested, 3 requested",
        ),
        (
            info(B, &[one, [0x00, 0x20, 0x64], [0x00, 0x30, 0x65]]),
            tlv(Role::Bridge, 167, &[(1, 1), (2, 100), (3, 101)]),
            "S-channel bridge, at most 167: 1 has SVID 1, 2 has SVID 100, 3 has SVID 101",
        ),
        (
            info(S, &[one, [0x00, 0x20, 0x64], [0x00, 0x30, 0x65]]),
            tlv(Role::Station, 4, &[(1, 1), (2, 100), (3, 101)]),
            "S-channel station, at most 4: 1 has SVID 1, 2 has SVID 100, 3 has SVID 101",
        ),
        (
            info(B, &[one, [0x00, 0x20, 0x64]]),
            tlv(Role::Bridge, 167, &[(1, 1), (2, 100)]),
            "S-channel bridge, at most 167: 1 has SVID 1, 2 has SVID 100",
        ),
        (
            info(S, &[one, [0x00, 0x30, 0x65]]),
            tlv(Role::Station, 4, &[(1, 1), (3, 101)]),
            "S-channel station, at most 4: 1 has SVID 1, 3 has SVID 101",
        ),
        // The pair arithmetic of the specification, and a list without its head.
        (
            info(B, &[[0x0a, 0x7f, 0xfe]]),
            tlv(Role::Bridge, 167, &[(167, 4094)]),
            "S-channel bridge, at most 167: 167 has SVID 4094 (default channel not at the head)",
        ),
    ]
}

#[test]
fn vectors_both_ways() {
    for (octets, expected, words) in vectors() {
        assert_eq!(CdcpTlv::parse(&octets), Ok(expected.clone()), "{octets:x?}");
        assert_eq!(expected.to_bytes()[..], octets);
        assert_eq!(expected.to_string(), words);
    }
}

#[test]
fn reserved_bits_are_ignored() {
    let (mut octets, expected, _) = vectors()[0].clone();
    octets[0] |= 0x77;
    octets[1] = 0xff;
    octets[2] |= 0xf0;
    assert_eq!(CdcpTlv::parse(&octets), Ok(expected));
}

#[test]
fn without_component_and_channels() {
    let tlv = CdcpTlv::parse(&[0, 0, 0, 1]).unwrap();
    assert!(!tlv.s_component && !tlv.channels.leads_with_default());
    assert_eq!(tlv.to_string(), "S-channel bridge, no S-VLAN component, at most 1: none listed");
    assert_eq!(tlv.to_bytes()[..], [0, 0, 0, 1]);
}

#[test]
fn every_truncation() {
    for (octets, full, _) in vectors() {
        for len in 0..octets.len() {
            let read = CdcpTlv::parse(&octets[..len]);
            if len < 4 {
                assert_eq!(read, Err(CdcpTlvError::Short(len)));
            } else if (len - 4) % 3 != 0 {
                assert_eq!(read, Err(CdcpTlvError::PartialPair(len - 4))); // NEG-3 is CDCP-1 and len 12
            } else {
                let whole = &full.channels.as_slice()[..(len - 4) / 3];
                assert_eq!(read.unwrap().channels.as_slice(), whole);
            }
        }
    }
}

#[test]
fn each_error() {
    let one = [0x00, 0x10, 0x01];
    let wrong = |error: ChannelError| CdcpTlvError::Channels(error);
    for (octets, error) in [
        (info([0x08, 0, 0, 0], &[one]), CdcpTlvError::Capacity(0)),
        (info([0x08, 0, 0, 168], &[one]), CdcpTlvError::Capacity(168)),
        (info([0x08, 0, 0x01, 0x04], &[one]), CdcpTlvError::Capacity(260)),
        (info(S, &[one, [0x00, 0x00, 0x64]]), wrong(ChannelError::Scid { index: 1, scid: 0 })),
        (info(S, &[[0x0a, 0x80, 0x64]]), wrong(ChannelError::Scid { index: 0, scid: 168 })),
        (info(S, &[one, [0x10, 0x10, 0x64]]), wrong(ChannelError::Scid { index: 1, scid: 257 })),
        (info(S, &[one, [0x00, 0x2f, 0xff]]), wrong(ChannelError::Svid { index: 1 })),
        (info(S, &[one, [0x00, 0x10, 0x02]]), wrong(ChannelError::Duplicate { index: 1, scid: 1 })),
        // (1, 1) and (2, 100) of a peer that packs the least significant bit first, whatever its head word.
        (info([0x04, 0, 0, 0x11], &[[0x01, 0x01, 0x00], [0x02, 0x04, 0x06]]), CdcpTlvError::LsbFirst),
        (info([0x04, 0, 0, 0], &[[0x01, 0x01, 0x00]]), CdcpTlvError::LsbFirst),
    ] {
        assert_eq!(CdcpTlv::parse(&octets), Err(error), "{octets:x?}");
    }
    // Elsewhere in the list the same octets are a channel.
    let tlv = CdcpTlv::parse(&info(S, &[one, [0x01, 0x01, 0x00]])).unwrap();
    let sixteen = Channel { scid: Scid::new(16).unwrap(), svid: Svid::new(256) };
    assert_eq!(tlv.channels.as_slice()[1], sixteen);
    assert_eq!(Channels::new([sixteen]), Err(ChannelError::ReadsAsLsbFirst));
    let twice = Channels::new([Channel::DEFAULT; 2]);
    assert_eq!(twice, Err(ChannelError::Duplicate { index: 1, scid: 1 }));
}

#[test]
fn bounds() {
    assert_eq!((Scid::new(0), Scid::new(168)), (None, None));
    assert_eq!((Svid::new(0), Svid::new(4095)), (None, None));
    assert_eq!((ChannelCapacity::new(0), ChannelCapacity::new(168)), (None, None));
    assert_eq!(Scid::new(167), Some(Scid::MAX));
}

#[test]
fn the_longest_list_fits_an_organizational_tlv() {
    let all = (1..=167).map(|scid| Channel { scid: Scid::new(scid).unwrap(), svid: None });
    let tlv = CdcpTlv { channels: Channels::new(all).unwrap(), ..tlv(Role::Station, 167, &[]) };
    assert_eq!(tlv.to_bytes().len(), 505);
    assert_eq!(CdcpTlv::parse(&tlv.to_bytes()), Ok(tlv));
}

fn any_tlv() -> impl Strategy<Value = CdcpTlv> {
    let scids = subsequence((1..=167).collect::<Vec<u8>>(), 0..=167).prop_shuffle();
    (any::<bool>(), any::<bool>(), 1u8..=167, scids, proptest::collection::vec(0u16..4095, 167))
        .prop_filter_map("reads as LSB first", |(station, s_component, capacity, scids, svids)| {
            let pairs = scids.into_iter().map(u16::from).zip(svids);
            let role = if station { Role::Station } else { Role::Bridge };
            let channels = Channels::from_raw(pairs).ok()?;
            Some(CdcpTlv { role, s_component, capacity: ChannelCapacity::new(capacity)?, channels })
        })
}

proptest! {
    #[test]
    fn emit_then_parse(tlv in any_tlv()) {
        prop_assert_eq!(CdcpTlv::parse(&tlv.to_bytes()), Ok(tlv));
    }

    #[test]
    fn any_octets(octets in proptest::collection::vec(any::<u8>(), 0..520)) {
        if let Ok(tlv) = CdcpTlv::parse(&octets) {
            prop_assert_eq!(tlv.to_bytes().len(), octets.len());
            prop_assert_eq!(&tlv.to_bytes()[4..], &octets[4..]);
        }
    }

    #[test]
    fn any_channels(pairs in proptest::collection::vec((0u32..40, 0u32..4096), 0..6)) {
        let mut octets = S.to_vec();
        for (scid, svid) in pairs {
            octets.extend_from_slice(&(scid << 12 | svid).to_be_bytes()[1..]);
        }
        if let Ok(tlv) = CdcpTlv::parse(&octets) {
            prop_assert_eq!(&tlv.to_bytes()[..], &octets[..]);
        }
    }
}
