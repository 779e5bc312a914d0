use proptest::prelude::*;

use super::*;

const FRAME: [u8; 5] = [1, 2, 3, 4, 5];

fn words(big_endian: bool, words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|w| if big_endian { w.to_be_bytes() } else { w.to_le_bytes() }).collect()
}

/// A classic capture of one frame of 7 octets of which 5 were kept, at 10.000002 s.
fn pcap(big_endian: bool, nanoseconds: bool) -> Vec<u8> {
    let (magic, fraction) = if nanoseconds { (0xa1b2_3c4d, 2000) } else { (0xa1b2_c3d4, 2) };
    let version = if big_endian { 0x0002_0004 } else { 0x0004_0002 };
    let mut octets = words(big_endian, &[magic, version, 0, 0, 65535, 1, 10, fraction, 5, 7]);
    octets.extend(FRAME);
    octets
}

fn block(big_endian: bool, kind: u32, body: &[u8]) -> Vec<u8> {
    let mut body = body.to_vec();
    body.resize(body.len().next_multiple_of(4), 0);
    let length = u32::try_from(body.len() + 12).unwrap();
    [words(big_endian, &[kind, length]), body, words(big_endian, &[length])].concat()
}

/// The same as pcapng; `resolution` as an option of the interface.
fn pcapng(big_endian: bool, resolution: Option<u8>, stamp: u64) -> Vec<u8> {
    let version = if big_endian { 0x0001_0000 } else { 0x0000_0001 };
    let mut octets =
        block(big_endian, 0x0a0d_0d0a, &words(big_endian, &[0x1a2b_3c4d, version, u32::MAX, u32::MAX]));
    let half = |number: u16| if big_endian { number.to_be_bytes() } else { number.to_le_bytes() };
    let mut interface = [half(1), half(0)].concat();
    interface.extend(words(big_endian, &[65535]));
    if let Some(resolution) = resolution {
        // An option to be passed over, this one, the end.
        interface.extend([half(2), half(3)].concat());
        interface.extend(*b"eth\0");
        interface.extend([half(9), half(1)].concat());
        interface.extend([resolution, 0, 0, 0, 0, 0, 0, 0]);
    }
    octets.extend(block(big_endian, 1, &interface));
    octets.extend(block(big_endian, 0x0bad_0bad, &[0xff; 8]));
    let (high, low) = ((stamp >> 32) as u32, (stamp & 0xffff_ffff) as u32);
    octets.extend(block(big_endian, 6, &[words(big_endian, &[0, high, low, 5, 7]), FRAME.to_vec()].concat()));
    octets.extend(block(big_endian, 3, &[words(big_endian, &[5]), FRAME.to_vec()].concat()));
    octets
}

fn read(octets: &[u8]) -> Result<Vec<Record>, CaptureError> {
    Capture::new(octets)?.collect()
}

fn record(length: usize, at: Option<Duration>) -> Record {
    Record { at, frame: FRAME.to_vec(), length }
}

const AT: Duration = Duration::from_micros(10_000_002);

#[test]
fn pcap_in_every_order_and_unit() {
    for (big_endian, nanoseconds) in [(true, true), (true, false), (false, true), (false, false)] {
        assert_eq!(read(&pcap(big_endian, nanoseconds)).unwrap(), [record(7, Some(AT))]);
    }
}

#[test]
fn pcapng_in_every_order_and_unit() {
    let units = [(None, 10_000_002), (Some(6), 10_000_002), (Some(9), 10_000_002_000)];
    for big_endian in [true, false] {
        for (resolution, stamp) in units {
            let records = read(&pcapng(big_endian, resolution, stamp)).unwrap();
            assert_eq!(records, [record(7, Some(AT)), record(5, None)], "{resolution:?}");
        }
        // Powers of two.
        let records = read(&pcapng(big_endian, Some(0x81), 21)).unwrap();
        assert_eq!(records[0].at, Some(Duration::from_millis(10_500)));
    }
    let twice = [pcapng(true, None, 1), pcapng(false, None, 1)].concat();
    assert_eq!(read(&twice).unwrap().len(), 4);
}

#[test]
fn what_is_wrong_is_named() {
    let said = |octets: &[u8]| read(octets).unwrap_err().to_string();
    assert!(said(&[1, 2, 3, 4]).contains("starts with 01020304"));
    assert!(said(&[]).contains("cut off at octet 0"));
    let mut cooked = pcap(true, false);
    cooked[23] = 113;
    assert!(said(&cooked).contains("link type 113"));
    let mut long = pcap(true, false);
    long[32] = 0x7f;
    assert!(said(&long).contains("at octet 24: a record of 2130706437 octets"), "{}", said(&long));
    let mut unknown = pcapng(true, None, 1);
    let at = unknown.len() - 64;
    assert_eq!(unknown[at + 4..at + 8], [0, 0, 0, 40]);
    unknown[at + 11] = 3;
    assert!(said(&unknown).contains("interface 3"), "{}", said(&unknown));
    let mut short = pcapng(false, None, 1);
    short[28 + 4] = 3;
    assert!(said(&short).contains("at octet 28: a block of 3 octets"), "{}", said(&short));
}

#[test]
fn every_truncation_is_told() {
    for whole in [pcap(false, true), pcapng(true, Some(9), 1)] {
        for length in 0..whole.len() {
            match read(&whole[..length]) {
                Err(CaptureError::Cut(at)) => assert!(at <= length as u64),
                Err(other) => panic!("{length}: {other}"),
                // Only between records may a capture end.
                Ok(records) => assert!(records.len() < 2, "{length}"),
            }
        }
    }
}

proptest! {
    #[test]
    fn any_octets(head in 0usize..4, octets in proptest::collection::vec(any::<u8>(), 0..300)) {
        let heads = [vec![], pcap(true, false)[..24].to_vec(), pcap(false, true)[..24].to_vec(), pcapng(false, None, 1)[..48].to_vec()];
        let octets = [heads[head].clone(), octets].concat();
        if let Ok(capture) = Capture::new(&octets[..]) {
            prop_assert!(capture.count() <= octets.len());
        }
    }

    #[test]
    fn any_damage(at in 0usize..200, to in any::<u8>(), ng in any::<bool>()) {
        let mut octets = if ng { pcapng(true, Some(6), 5) } else { pcap(true, false) };
        if let Some(octet) = octets.get_mut(at) {
            *octet = to;
        }
        let _ = read(&octets);
    }
}
