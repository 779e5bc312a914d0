//! Both TLVs by the vectors of a real lldpad, by truncation, by error and by properties.

use bytes::{BufMut, BytesMut};
use lldp::tlv::{PeerTlvError, TlvType};
use proptest::prelude::*;

use super::*;
use crate::{CeeError, PrioritySet, PriorityTable, TooLong};

fn octets(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|digits| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap())
        .collect()
}

/// V48: not willing, sequence 3, acknowledges 1.
fn v48() -> Vec<u8> {
    octets(
        "020a00000000000300000001041100008000000110023c280000000000000806060000800018080816000080008906001b21080cbc\
         011b21108914001b2108",
    )
}

/// V49: willing, sequence 1, acknowledges 3.
fn v49() -> Vec<u8> {
    octets(
        "020a0000000000010000000304110000c000012345670d0d0d0d0c0c0c0c0806060000c000000808160000c0008906001b21080cbc\
         011b21108914001b2108",
    )
}

/// V50: CIN.
fn v50() -> Vec<u8> {
    octets(
        "020a00000000000300000002041c000080003c2800000000000000642064406460648064a064c064e064060500008000180a050000\
         8000080c050000e00000",
    )
}

fn control(sequence: u32, acknowledged: u32) -> Control {
    Control { operating_version: 0, max_version: 0, sequence, acknowledged }
}

fn feature<T>(willing: bool, settings: T) -> Feature<T> {
    Feature { operating_version: 0, max_version: 0, enabled: true, willing, error: false, settings }
}

fn applications() -> CeeApplications {
    let application = |protocol, selector, priorities| CeeApplication {
        protocol,
        selector,
        oui: [0x00, 0x1b, 0x21],
        priorities: PrioritySet(priorities),
    };
    CeeApplications(vec![
        application(0x8906, CeeSelector::EtherType, 0x08),
        application(3260, CeeSelector::Port, 0x10),
        application(0x8914, CeeSelector::EtherType, 0x08),
    ])
}

fn cee(control: Control, willing: bool, groups: [u8; 8], bandwidth: [u8; 8], paused: u8) -> CeeTlv {
    let groups = PriorityTable::new(groups).unwrap();
    CeeTlv {
        control,
        priority_groups: Some(feature(willing, CeePriorityGroups { groups, bandwidth, classes: 8 })),
        pfc: Some(feature(willing, CeePfc { enabled: PrioritySet(paused), classes: 8 })),
        applications: Some(feature(willing, applications())),
        unknown: Vec::new(),
    }
}

fn cin() -> CinTlv {
    let shares = [0, 1, 2, 3, 4, 5, 6, 7].map(|group| CinShare::new(group, Strictness::None, 100).unwrap());
    CinTlv {
        control: control(3, 2),
        priority_groups: Some(feature(
            false,
            CinPriorityGroups { bandwidth: [60, 40, 0, 0, 0, 0, 0, 0], shares },
        )),
        pfc: Some(feature(false, PrioritySet(0x18))),
        fcoe: Some(feature(false, PrioritySet(0x08))),
        fcoe_link: Some(Feature { error: true, ..feature(true, LinkStatus::Down) }),
        lan_link: None,
        unknown: Vec::new(),
    }
}

/// A sub-TLV.
fn sub(kind: u8, value: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    out.put_u16(u16::from(kind) << 9 | u16::try_from(value.len()).unwrap());
    out.put_slice(value);
    out.to_vec()
}

#[test]
fn cee_vectors_both_ways() {
    for (octets, expected, words) in [
        (
            v48(),
            cee(control(3, 1), false, [0, 0, 0, 1, 1, 0, 0, 2], [60, 40, 0, 0, 0, 0, 0, 0], 0x18),
            "DCBX CEE, sequence 3, acknowledges 1; priority groups [0: 60 %, priorities 0,1,2,5,6] \
             [1: 40 %, priorities 3,4] [2: 0 %, priorities 7] (not willing); PFC priorities 3,4 (not willing); \
             applications [FCoE 3] [iSCSI 4] [FIP 3] (not willing)",
        ),
        (
            v49(),
            cee(control(1, 3), true, [0, 1, 2, 3, 4, 5, 6, 7], [13, 13, 13, 13, 12, 12, 12, 12], 0),
            "DCBX CEE, sequence 1, acknowledges 3; priority groups [0: 13 %, priorities 0] \
             [1: 13 %, priorities 1] [2: 13 %, priorities 2] [3: 13 %, priorities 3] [4: 12 %, priorities 4] \
             [5: 12 %, priorities 5] [6: 12 %, priorities 6] [7: 12 %, priorities 7] (willing); \
             PFC priorities none (willing); applications [FCoE 3] [iSCSI 4] [FIP 3] (willing)",
        ),
    ] {
        assert_eq!(CeeTlv::parse(&octets), Ok(expected.clone()));
        assert_eq!(expected.to_bytes().unwrap()[..], octets);
        assert_eq!(expected.to_string(), words);
    }
}

#[test]
fn cin_vector_both_ways() {
    assert_eq!(CinTlv::parse(&v50()), Ok(cin()));
    assert_eq!(cin().to_bytes().unwrap()[..], v50());
    assert_eq!(
        cin().to_string(),
        "DCBX CIN, sequence 3, acknowledges 2; bandwidth groups [0: 60 %] [1: 40 %], priorities 0 100 % of group 0, \
         1 100 % of group 1, 2 100 % of group 2, 3 100 % of group 3, 4 100 % of group 4, 5 100 % of group 5, \
         6 100 % of group 6, 7 100 % of group 7 (not willing); PFC priorities 3,4 (not willing); \
         FCoE priorities 3 (not willing); FCoE link down (willing, in error)"
    );
}

#[test]
fn every_field() {
    let control = Control { operating_version: 1, max_version: 2, sequence: 0x0102_0304, acknowledged: 5 };
    let feature = |settings| Feature {
        operating_version: 3,
        max_version: 4,
        enabled: false,
        willing: false,
        error: true,
        settings,
    };
    let share = |strictness| CinShare::new(5, strictness, 7).unwrap();
    let mut shares = [share(Strictness::None); 8];
    shares[1] = share(Strictness::Group);
    shares[2] = share(Strictness::Link);
    shares[3] = share(Strictness::Reserved);
    let tlv = CinTlv {
        control,
        priority_groups: Some(Feature {
            settings: CinPriorityGroups { bandwidth: [1, 2, 3, 4, 5, 6, 7, 8], shares },
            ..Feature::default()
        }),
        lan_link: Some(feature(LinkStatus::Up)),
        ..CinTlv::default()
    };
    let expected = "020a010201020304000000050\
                    41c000000000102030405060708a007a807b007b807a007a007a007a007\
                    0c05030420\
                    0180";
    assert_eq!(tlv.to_bytes().unwrap()[..], octets(expected));
    assert_eq!(CinTlv::parse(&octets(expected)), Ok(tlv.clone()));
    assert_eq!(
        tlv.to_string(),
        "DCBX CIN, sequence 16909060, acknowledges 5; bandwidth groups [0: 1 %] [1: 2 %] [2: 3 %] [3: 4 %] [4: 5 %] \
         [5: 6 %] [6: 7 %] [7: 8 %], priorities 0 7 % of group 5, 1 strict in group 5, 2 strict, 3 7 % of group 5, \
         4 7 % of group 5, 5 7 % of group 5, 6 7 % of group 5, 7 7 % of group 5 (disabled, not willing); \
         LAN link up (disabled, not willing, in error)"
    );
    assert_eq!(CinShare::new(8, Strictness::None, 0), None);
}

#[test]
fn strict_and_impossible_groups() {
    let groups = PriorityTable::new([15, 8, 0, 0, 0, 0, 0, 0]).unwrap();
    let settings = CeePriorityGroups { groups, bandwidth: [0; 8], classes: 2 };
    assert_eq!(
        settings.to_string(),
        "priority groups [0: 0 %, priorities 2,3,4,5,6,7] [8, which does not exist: priorities 1] \
         [strict: priorities 0]"
    );
}

#[test]
fn the_unknown_is_kept() {
    let strange = sub(4, &[0, 0, 0x80, 9, 1, 2, 3]); // applications, of a subtype unknown
    let none = sub(99, &[]);
    let mut input = v48();
    input.splice(12..12, [strange.clone(), none.clone()].concat());
    let read = CeeTlv::parse(&input).unwrap();
    assert_eq!(read.unknown.iter().map(UnknownSubTlv::kind).collect::<Vec<_>>(), [4, 99]);
    assert_eq!(read.unknown[0].value()[..], strange[2..]);
    assert_eq!(read.to_bytes().unwrap()[..], [v48(), strange, none].concat());
    assert!(read.to_string().ends_with("; unknown sub-TLV 4: 00008009010203; unknown sub-TLV 99: "));

    let tlv = CinTlv::parse(&[v50(), sub(4, &[1])].concat()).unwrap();
    assert_eq!(tlv.unknown[0].value()[..], [1]);
    assert!(tlv.to_string().ends_with("; unknown sub-TLV 4: 01"));
    assert_eq!(tlv.to_bytes().unwrap()[..], [v50(), sub(4, &[1])].concat());

    // An application whose selector and organization are none of the usual.
    let control = &v48()[..12];
    let odd = sub(4, &[0, 0, 0x80, 0, 0x12, 0x34, 0xff, 0xee, 0xdd, 0x81]);
    let tlv = CeeTlv::parse(&[control, &odd].concat()).unwrap();
    let application = &tlv.applications.as_ref().unwrap().settings.0[0];
    assert_eq!((application.selector, application.oui), (CeeSelector::Unknown(3), [0xfc, 0xee, 0xdd]));
    assert_eq!(application.to_string(), "protocol 4660 of selector 3 0,7");
    assert_eq!(tlv.to_bytes().unwrap()[12..], odd);

    // The bits of an organization that have no room do not spill into the selector.
    let mut wide = tlv.clone();
    wide.applications.as_mut().unwrap().settings.0[0].selector = CeeSelector::EtherType;
    let expected = wide.to_bytes();
    wide.applications.as_mut().unwrap().settings.0[0].oui = [0xff, 0xee, 0xdd];
    assert_eq!(wide.to_bytes(), expected);
}

#[test]
fn reserved_bits_and_longer_sub_tlvs_are_ignored() {
    let head = [0, 0, 0x9f, 0];
    let control = &v48()[..12];
    let longer = sub(1, &[&control[2..], &[0xff; 3]].concat());
    let pfc = sub(3, &[&head[..], &[0x18, 8, 0xff]].concat());
    let read = CeeTlv::parse(&[longer, pfc].concat()).unwrap();
    let plain = cee(self::control(3, 1), false, [0; 8], [0; 8], 0x18);
    assert_eq!((read.control, read.pfc), (plain.control, plain.pfc));

    let link = sub(6, &[&head[..], &[0x7f]].concat());
    let groups = sub(2, &[&head[..], &[0; 8], &[0x27, 100].repeat(8)].concat());
    let read = CinTlv::parse(&[control, &link, &groups].concat()).unwrap();
    assert_eq!(read.fcoe_link, Some(feature(false, LinkStatus::Down)));
    let shares = read.priority_groups.unwrap().settings.shares;
    assert_eq!(shares, [CinShare::new(1, Strictness::None, 100).unwrap(); 8]);
}

#[test]
fn every_truncation() {
    type Parse = fn(&[u8]) -> Result<Vec<u8>, CeeError>;
    let cee: Parse = |info| CeeTlv::parse(info).map(|tlv| tlv.to_bytes().unwrap().to_vec());
    let cin: Parse = |info| CinTlv::parse(info).map(|tlv| tlv.to_bytes().unwrap().to_vec());
    for (octets, parse, ends) in [(v48(), cee, &[12, 31, 39, 63][..]), (v50(), cin, &[12, 42, 49, 56, 63])] {
        for len in 0..=octets.len() {
            let start = ends.iter().copied().filter(|&end| end <= len).max().unwrap_or(0);
            match parse(&octets[..len]) {
                // What is left is a shorter TLV.
                Ok(read) => assert!(ends.contains(&len) && read == octets[..len]),
                Err(CeeError::NoControl) => assert_eq!(len, 0),
                Err(CeeError::Tlv(PeerTlvError::HeaderCut { offset })) => {
                    assert_eq!((offset, len), (start, start + 1))
                }
                Err(CeeError::Tlv(PeerTlvError::Overrun { offset, left, .. })) => {
                    assert_eq!((offset, left), (start, len - start - 2));
                }
                Err(other) => panic!("{other} at length {len}"),
            }
        }
    }
}

#[test]
fn each_error() {
    let control = &v48()[..12];
    let with = |rest: &[u8]| [control, rest].concat();
    let short = |kind, length, needed| CeeError::Short { kind, offset: 12, length, needed };
    let both = |octets: Vec<u8>, error: CeeError| {
        assert_eq!(CeeTlv::parse(&octets), Err(error), "{octets:x?}");
        assert_eq!(CinTlv::parse(&octets), Err(error), "{octets:x?}");
    };
    both(with(&[6]), CeeError::Tlv(PeerTlvError::HeaderCut { offset: 12 }));
    both(
        with(&[7, 0x55, 0]),
        CeeError::Tlv(PeerTlvError::Overrun {
            kind: TlvType::from_low_bits(3),
            offset: 12,
            length: 0x155,
            left: 1,
        }),
    );
    both(vec![], CeeError::NoControl);
    both(sub(99, &[1]), CeeError::NoControl);
    both(with(control), CeeError::Duplicate { kind: 1, offset: 12 });
    both(sub(1, &[0; 9]), CeeError::Short { kind: 1, offset: 0, length: 9, needed: 10 });
    for (kind, needed) in [(2, 17), (3, 6), (4, 4)] {
        for length in 0..needed {
            let read = CeeTlv::parse(&with(&sub(kind, &vec![0; length])));
            assert_eq!(read, Err(short(kind, length, needed)));
        }
        let twice = [sub(kind, &vec![0; needed]), sub(kind, &vec![0; needed])].concat();
        let offset = 12 + 2 + needed;
        assert_eq!(CeeTlv::parse(&with(&twice)), Err(CeeError::Duplicate { kind, offset }));
    }
    for (kind, needed) in [(2, 28), (3, 5), (5, 5), (6, 5)] {
        for length in 0..needed {
            let read = CinTlv::parse(&with(&sub(kind, &vec![0; length])));
            assert_eq!(read, Err(short(kind, length, needed)));
        }
        let twice = [sub(kind, &vec![0; needed]), sub(kind, &vec![0; needed])].concat();
        let offset = 12 + 2 + needed;
        assert_eq!(CinTlv::parse(&with(&twice)), Err(CeeError::Duplicate { kind, offset }));
    }
    let partial = CeeTlv::parse(&with(&sub(4, &[0; 4 + 7])));
    assert_eq!(partial, Err(CeeError::PartialApplication { offset: 12, length: 7 }));
}

#[test]
fn no_longer_than_an_organizational_tlv() {
    let many = |count| {
        let application = applications().0[0];
        let list = CeeApplications(vec![application; count]);
        CeeTlv { applications: Some(feature(false, list)), ..CeeTlv::default() }
    };
    assert_eq!(many(81).to_bytes().unwrap().len(), 12 + 6 + 6 * 81);
    assert_eq!(CeeTlv::parse(&many(81).to_bytes().unwrap()), Ok(many(81)));
    assert_eq!(many(82).to_bytes(), Err(TooLong(12 + 6 + 6 * 82)));
    // Beyond what nine bits of length can tell.
    assert_eq!(many(20_000).to_bytes(), Err(TooLong(12 + 6 + 6 * 20_000)));
}

fn any_feature<T: std::fmt::Debug + Clone>(
    settings: impl Strategy<Value = T>,
) -> impl Strategy<Value = Option<Feature<T>>> {
    let feature = (any::<(u8, u8, bool, bool, bool)>(), settings).prop_map(
        |((operating_version, max_version, enabled, willing, error), settings)| Feature {
            operating_version,
            max_version,
            enabled,
            willing,
            error,
            settings,
        },
    );
    proptest::option::of(feature)
}

fn any_control() -> impl Strategy<Value = Control> {
    any::<(u8, u8, u32, u32)>().prop_map(|(operating_version, max_version, sequence, acknowledged)| Control {
        operating_version,
        max_version,
        sequence,
        acknowledged,
    })
}

fn any_cee() -> impl Strategy<Value = CeeTlv> {
    let groups =
        (any::<[u8; 4]>(), any::<[u8; 8]>(), any::<u8>()).prop_map(|(groups, bandwidth, classes)| {
            CeePriorityGroups { groups: PriorityTable::from_octets(groups), bandwidth, classes }
        });
    let pfc = any::<(u8, u8)>().prop_map(|(set, classes)| CeePfc { enabled: PrioritySet(set), classes });
    let application =
        (any::<(u16, [u8; 3], u8)>(), 0u8..4).prop_map(|((protocol, [a, b, c], set), selector)| {
            CeeApplication {
                protocol,
                selector: selector.into(),
                oui: [a & 0xfc, b, c],
                priorities: PrioritySet(set),
            }
        });
    let applications = proptest::collection::vec(application, 0..20).prop_map(CeeApplications);
    (any_control(), any_feature(groups), any_feature(pfc), any_feature(applications)).prop_map(
        |(control, priority_groups, pfc, applications)| CeeTlv {
            control,
            priority_groups,
            pfc,
            applications,
            unknown: Vec::new(),
        },
    )
}

fn any_cin() -> impl Strategy<Value = CinTlv> {
    use Strictness::{Group, Link, None, Reserved};
    let share = (0u8..8, proptest::sample::select(vec![None, Group, Link, Reserved]), any::<u8>())
        .prop_map(|(group, strictness, percent)| CinShare::new(group, strictness, percent).unwrap());
    let shares = proptest::collection::vec(share, 8).prop_map(|shares| shares.try_into().unwrap());
    let groups =
        (any::<[u8; 8]>(), shares).prop_map(|(bandwidth, shares)| CinPriorityGroups { bandwidth, shares });
    let set = || any_feature(any::<u8>().prop_map(PrioritySet));
    let link = || any_feature(proptest::sample::select(vec![LinkStatus::Up, LinkStatus::Down]));
    (any_control(), any_feature(groups), set(), set(), link(), link()).prop_map(
        |(control, priority_groups, pfc, fcoe, fcoe_link, lan_link)| CinTlv {
            control,
            priority_groups,
            pfc,
            fcoe,
            fcoe_link,
            lan_link,
            unknown: Vec::new(),
        },
    )
}

/// Octets that are mostly sub-TLVs.
fn any_info() -> impl Strategy<Value = Vec<u8>> {
    let sub = (0u8..8, proptest::collection::vec(any::<u8>(), 0..30)).prop_map(|(kind, mut value)| {
        if let Some(subtype) = value.get_mut(3) {
            *subtype &= 1;
        }
        sub(kind, &value)
    });
    let subs = proptest::collection::vec(sub, 0..8).prop_map(|subs| subs.concat());
    (any::<bool>(), subs, proptest::collection::vec(any::<u8>(), 0..4)).prop_map(|(led, subs, tail)| {
        let control = if led { sub_control() } else { Vec::new() };
        [control, subs, if tail.len() == 3 { tail } else { Vec::new() }].concat()
    })
}

fn sub_control() -> Vec<u8> {
    sub(1, &[7; 10])
}

proptest! {
    #[test]
    fn cee_emit_then_parse(tlv in any_cee()) {
        let _ = tlv.to_string();
        prop_assert_eq!(CeeTlv::parse(&tlv.to_bytes().unwrap()), Ok(tlv));
    }

    #[test]
    fn cin_emit_then_parse(tlv in any_cin()) {
        let _ = tlv.to_string();
        prop_assert_eq!(CinTlv::parse(&tlv.to_bytes().unwrap()), Ok(tlv));
    }

    #[test]
    fn any_octets(octets in prop_oneof![any_info(), proptest::collection::vec(any::<u8>(), 0..=507)]) {
        if let Ok(tlv) = CeeTlv::parse(&octets) {
            let _ = tlv.to_string();
            prop_assert_eq!(CeeTlv::parse(&tlv.to_bytes().unwrap()), Ok(tlv));
        }
        if let Ok(tlv) = CinTlv::parse(&octets) {
            let _ = tlv.to_string();
            prop_assert_eq!(CinTlv::parse(&tlv.to_bytes().unwrap()), Ok(tlv));
        }
    }
}
