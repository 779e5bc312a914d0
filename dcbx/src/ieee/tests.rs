//! The four TLVs by the vectors of a real lldpad, by truncation, by error and by properties.

use ether::Pcp;
use proptest::prelude::*;

use super::*;
use crate::{IeeeError, PrioritySet, PriorityTable, TooManyApplications};

fn ets(willing: bool, classes: [u8; 8], shares: [u8; 3], algorithms: [u8; 3]) -> EtsConfiguration {
    let pad = |[a, b, c]: [u8; 3]| [a, b, c, 0, 0, 0, 0, 0];
    EtsConfiguration {
        willing,
        credit_based_shaper: false,
        max_classes: ClassCount::new(8).unwrap(),
        table: EtsTable {
            classes: PriorityTable::new(classes).unwrap(),
            bandwidth: pad(shares),
            algorithms: pad(algorithms).map(SelectionAlgorithm::from),
        },
    }
}

fn pfc(willing: bool, enabled: u8) -> Pfc {
    let capability = PfcCapability::new(8).unwrap();
    Pfc { willing, mbc: false, capability, enabled: PrioritySet(enabled) }
}

fn app(priority: u8, selector: u8, protocol: u16) -> Application {
    Application { priority: Pcp::new(priority).unwrap(), selector: selector.into(), protocol }
}

fn apps(list: &[(u8, u8, u16)]) -> ApplicationPriority {
    ApplicationPriority::new(list.iter().map(|&(p, s, n)| app(p, s, n)).collect()).unwrap()
}

/// V45: defaults.
const ETS_DEFAULT: [u8; 21] = [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// V46: two classes that share 60 to 40, and strict class 2.
const ETS_SET: [u8; 21] =
    [0x00, 0x00, 0x01, 0x10, 0x02, 0x3c, 0x28, 0, 0, 0, 0, 0, 0, 0x02, 0x02, 0, 0, 0, 0, 0, 0];
/// V46 and V47: FCoE 3, iSCSI 4, DSCP 46 5.
const APPS: [u8; 10] = [0x00, 0x61, 0x89, 0x06, 0x82, 0x0c, 0xbc, 0xa5, 0x00, 0x2e];
const APPS_TURNED: [u8; 10] = [0x00, 0xa5, 0x00, 0x2e, 0x82, 0x0c, 0xbc, 0x61, 0x89, 0x06];

#[test]
fn ets_vectors_both_ways() {
    let set = |willing| ets(willing, [0, 0, 0, 1, 1, 0, 0, 2], [60, 40, 0], [2, 2, 0]);
    let shown = "class 0 ETS 60 % (priorities 0,1,2,5,6), class 1 ETS 40 % (priorities 3,4), \
                 class 2 strict (priorities 7)";
    let mut adopted = ETS_SET; // V47
    adopted[0] = 0x80;
    for (octets, expected, words) in [
        (
            ETS_DEFAULT,
            ets(true, [0; 8], [0; 3], [0; 3]),
            "ETS in use, willing, 8 classes: class 0 strict (priorities 0,1,2,3,4,5,6,7)".to_owned(),
        ),
        (ETS_SET, set(false), format!("ETS in use, not willing, 8 classes: {shown}")),
        (adopted, set(true), format!("ETS in use, willing, 8 classes: {shown}")),
    ] {
        assert_eq!(EtsConfiguration::parse(&octets), Ok(expected));
        assert_eq!(expected.to_bytes()[..], octets);
        assert_eq!(expected.to_string(), words);
    }
    let recommended = EtsRecommendation(set(false).table);
    assert_eq!(EtsRecommendation::parse(&ETS_SET), Ok(recommended));
    assert_eq!(recommended.to_bytes()[..], ETS_SET);
    assert_eq!(recommended.to_string(), format!("ETS recommended: {shown}"));
}

#[test]
fn ets_keeps_what_it_does_not_know() {
    let mut octets = ETS_SET;
    octets[0] = 0x43; // CBS, three classes
    octets[4] = 0x09; // priority 7 in class 9
    octets[15] = 77; // class 2
    octets[16] = 255; // class 3
    octets[17] = 1; // class 4
    octets[8] = 5; // class 3
    octets[9] = 6; // class 4
    octets[7] = 7; // class 2
    let read = EtsConfiguration::parse(&octets).unwrap();
    assert_eq!(read.table.algorithms[2], SelectionAlgorithm::Unknown(77));
    assert_eq!(read.to_bytes()[..], octets);
    assert_eq!(
        read.to_string(),
        "ETS in use, not willing, credit-based shaper, 3 classes: class 0 ETS 60 % (priorities 0,1,2,5,6), \
         class 1 ETS 40 % (priorities 3,4), class 2 algorithm 77 7 % (priorities none), \
         class 3 vendor's algorithm 5 % (priorities none), class 4 credit-based shaper 6 % (priorities none), \
         class 9, which does not exist (priorities 7)"
    );
}

#[test]
fn pfc_vectors_both_ways() {
    for (octets, expected, words) in [
        ([0x88, 0x00], pfc(true, 0), "PFC, willing, at most 8 classes: priorities none"), // V45
        ([0x08, 0x18], pfc(false, 0x18), "PFC, not willing, at most 8 classes: priorities 3,4"), // V46
        ([0x88, 0x18], pfc(true, 0x18), "PFC, willing, at most 8 classes: priorities 3,4"), // V47
        (
            [0x48, 0x80],
            Pfc { mbc: true, ..pfc(false, 0x80) },
            "PFC, not willing, MBC, at most 8 classes: priorities 7",
        ),
    ] {
        assert_eq!(Pfc::parse(&octets), Ok(expected));
        assert_eq!(expected.to_bytes()[..], octets);
        assert_eq!(expected.to_string(), words);
    }
}

#[test]
fn application_vectors_both_ways() {
    for (octets, expected, words) in [
        (
            &APPS[..],
            apps(&[(3, 1, 0x8906), (4, 2, 3260), (5, 5, 46)]),
            "application priorities: FCoE 3, iSCSI 4, DSCP 46 5",
        ),
        (
            &APPS_TURNED,
            apps(&[(5, 5, 46), (4, 2, 3260), (3, 1, 0x8906)]),
            "application priorities: DSCP 46 5, iSCSI 4, FCoE 3",
        ),
        (&[0], apps(&[]), "application priorities: none"), // also sent by lldpad
        (
            &[0, 0x21, 0, 0, 0xc3, 0, 0x35, 0xe4, 0, 0x50, 0x07, 0, 1, 0x01, 0x08, 0x00, 0x02, 0x01, 0xbb],
            apps(&[(1, 1, 0), (6, 3, 53), (7, 4, 80), (0, 7, 1), (0, 1, 0x0800), (0, 2, 443)]),
            "application priorities: default 1, UDP port 53 6, TCP/UDP port 80 7, protocol 1 of selector 7 0, \
             EtherType 0x0800 0, TCP port 443 0",
        ),
    ] {
        assert_eq!(ApplicationPriority::parse(octets), Ok(expected.clone()));
        assert_eq!(expected.to_bytes()[..], *octets);
        assert_eq!(expected.to_string(), words);
    }
}

#[test]
fn other_names() {
    let names = apps(&[(3, 1, 0x8914), (4, 1, 0x8915), (5, 3, 4791)]);
    assert_eq!(names.to_string(), "application priorities: FIP 3, RoCE 4, RoCEv2 5");
}

#[test]
fn reserved_bits_and_longer_strings_are_ignored() {
    let longer = |octets: &[u8], reserved: u8| {
        let mut longer = [octets, &[0xff; 9]].concat();
        longer[0] |= reserved;
        longer
    };
    assert_eq!(EtsConfiguration::parse(&longer(&ETS_SET, 0x38)), EtsConfiguration::parse(&ETS_SET));
    assert_eq!(EtsRecommendation::parse(&longer(&ETS_SET, 0xff)), EtsRecommendation::parse(&ETS_SET));
    assert_eq!(Pfc::parse(&longer(&[0x08, 0x18], 0x30)), Ok(pfc(false, 0x18)));
    let mut reserved = APPS;
    reserved[0] = 0xff;
    reserved[1] |= 0x18;
    assert_eq!(ApplicationPriority::parse(&reserved), ApplicationPriority::parse(&APPS));
}

#[test]
fn every_truncation() {
    let short = |subtype, length, needed| IeeeError::Short { subtype, length, needed };
    for len in 0..21 {
        assert_eq!(EtsConfiguration::parse(&ETS_SET[..len]), Err(short(9, len, 21)));
        assert_eq!(EtsRecommendation::parse(&ETS_SET[..len]), Err(short(10, len, 21)));
    }
    for len in 0..2 {
        assert_eq!(Pfc::parse(&[0x08, 0x18][..len]), Err(short(11, len, 2)));
    }
    assert_eq!(ApplicationPriority::parse(&[]), Err(short(12, 0, 1)));
    let whole = ApplicationPriority::parse(&APPS).unwrap();
    for len in 1..10 {
        match ApplicationPriority::parse(&APPS[..len]) {
            Ok(part) => assert_eq!(part.as_slice(), &whole.as_slice()[..(len - 1) / 3]),
            Err(error) => assert_eq!(error, IeeeError::PartialApplication(len - 1)),
        }
        assert_eq!(ApplicationPriority::parse(&APPS[..len]).is_ok(), len % 3 == 1);
    }
}

#[test]
fn the_longest_list_fits_an_organizational_tlv() {
    let octets = vec![0; 1 + 3 * 168];
    assert_eq!(ApplicationPriority::parse(&octets).unwrap().to_bytes()[..], octets);
    let error = TooManyApplications(169);
    assert_eq!(ApplicationPriority::parse(&[0; 1 + 3 * 169]), Err(error.into()));
    assert_eq!(ApplicationPriority::new(vec![app(0, 1, 0); 169]), Err(error));
}

#[test]
fn bounds() {
    assert_eq!((ClassCount::new(0), ClassCount::new(9)), (None, None));
    assert_eq!((PfcCapability::new(16), PfcCapability::new(15).map(PfcCapability::get)), (None, Some(15)));
    for count in 1..=8 {
        let tlv = EtsConfiguration {
            max_classes: ClassCount::new(count).unwrap(),
            ..EtsConfiguration::parse(&ETS_SET).unwrap()
        };
        assert_eq!(EtsConfiguration::parse(&tlv.to_bytes()).unwrap().max_classes.get(), count);
    }
}

proptest! {
    #[test]
    fn ets_any_octets(octets in proptest::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(tlv) = EtsConfiguration::parse(&octets) {
            let _ = tlv.to_string();
            prop_assert_eq!(EtsConfiguration::parse(&tlv.to_bytes()), Ok(tlv));
            prop_assert_eq!(&tlv.to_bytes()[1..], &octets[1..21]);
            prop_assert_eq!(tlv.to_bytes()[0], octets[0] & 0xc7);
        }
        if let Ok(tlv) = EtsRecommendation::parse(&octets) {
            prop_assert_eq!(EtsRecommendation::parse(&tlv.to_bytes()), Ok(tlv));
            prop_assert_eq!(&tlv.to_bytes()[1..], &octets[1..21]);
        }
    }

    #[test]
    fn pfc_any_octets(octets in proptest::collection::vec(any::<u8>(), 0..4)) {
        if let Ok(tlv) = Pfc::parse(&octets) {
            let _ = tlv.to_string();
            prop_assert_eq!(&tlv.to_bytes()[..], [octets[0] & 0xcf, octets[1]]);
        }
    }

    #[test]
    fn applications_any_octets(octets in proptest::collection::vec(any::<u8>(), 0..530)) {
        if let Ok(tlv) = ApplicationPriority::parse(&octets) {
            let _ = tlv.to_string();
            prop_assert_eq!(tlv.to_bytes().len(), octets.len());
            prop_assert_eq!(ApplicationPriority::parse(&tlv.to_bytes()), Ok(tlv));
        }
    }

    #[test]
    fn applications_emit_then_parse(list in proptest::collection::vec((0u8..8, 0u8..8, any::<u16>()), 0..=168)) {
        let tlv = apps(&list);
        prop_assert_eq!(ApplicationPriority::parse(&tlv.to_bytes()), Ok(tlv));
    }
}
