use proptest::prelude::*;

use super::*;

fn pcid(n: u32) -> Pcid {
    Pcid::new(n).unwrap()
}

fn ecid(n: u32) -> ECid {
    ECid::new(n).unwrap()
}

/// Octets behind the addresses, and the E-TAG they begin with.
fn etags() -> [(&'static [u8], ETag); 4] {
    let etag = |pcp, dei, ingress, id| ETag {
        pcp: Pcp::new(pcp).unwrap(),
        dei,
        ingress: Pcid::new(ingress),
        ecid: ecid(id),
    };
    [
        // T1 to T4
        (&[0x89, 0x3f, 0xa0, 0, 0, 0x64, 0, 0], etag(5, false, 0, 100)),
        (&[0x89, 0x3f, 0x10, 0x64, 0x10, 0x05, 0, 0], etag(0, true, 100, 0x10_0005)),
        (&[0x89, 0x3f, 0xef, 0xfe, 0x21, 0x23, 0x01, 0xab], etag(7, false, 0x1ffe, 0x2a_b123)),
        (&[0x89, 0x3f, 0x60, 0, 0x0a, 0xbc, 0, 0, 0x81, 0, 0x60, 0x0a], etag(3, false, 0, 0xabc)),
    ]
}

#[test]
fn etags_both_ways() {
    for (octets, etag) in etags() {
        assert_eq!(ETag::parse(octets), Ok(etag));
        assert_eq!(etag.to_bytes(), octets[..8]);
        for len in 0..8 {
            assert_eq!(ETag::parse(&octets[..len]), Err(ChannelTagError::Short(len)));
        }
        // Reserved bits are accepted, and not sent on.
        let mut reserved = octets.to_vec();
        reserved[4] |= 0xc0;
        assert_eq!(ETag::parse(&reserved).unwrap().to_bytes(), octets[..8]);
    }
}

#[test]
fn each_fault_of_an_etag_has_its_error() {
    let up = |octets: [u8; 8]| UpTag::parse(Framing::Etag, &octets);
    let down = |octets: [u8; 8]| DownTag::parse(Framing::Etag, &octets);
    let group = [0x89, 0x3f, 0, 0, 0x10, 0x05, 0, 0];
    assert_eq!(up(group), Err(ChannelTagError::GroupUp(ecid(0x10_0005))));
    assert_eq!(down(group).map(|tag| tag.to), Ok(ecid(0x10_0005)));
    let none = [0x89, 0x3f, 0, 0, 0, 0, 0, 0];
    assert_eq!((up(none), down(none)), (Err(ChannelTagError::NoChannel), Err(ChannelTagError::NoChannel)));
    let ingress = [0x89, 0x3f, 0, 7, 0, 0, 0, 0];
    assert_eq!(up(ingress), Err(ChannelTagError::IngressForm(pcid(7))));
    let either = UpTag::parse_either(Framing::Etag, &ingress).unwrap();
    assert_eq!(either.source, pcid(7));
    let priority = UpTag::parse_either(Framing::Etag, &[0x89, 0x3f, 0xb0, 7, 0, 0, 0, 0]).unwrap();
    assert_eq!((priority.pcp.get(), priority.dei), (5, true));
    assert_eq!(down(ingress), Err(ChannelTagError::NoChannel));
    let ones = [0x89, 0x3f, 0, 0, 0x3f, 0xff, 0, 0xff];
    assert_eq!((up(ones), down(ones)), (Err(ChannelTagError::Reserved), Err(ChannelTagError::Reserved)));
    let other = [0x81, 0, 0, 1, 8, 0, 0, 0];
    assert_eq!(up(other), Err(ChannelTagError::Kind(EtherType::C_VLAN)));
}

#[test]
fn vntags_both_ways() {
    let up = UpTag { source: pcid(100), pcp: Pcp::default(), dei: false };
    let down = |to, source| DownTag { to: ecid(to), source, pcp: Pcp::default(), dei: false };
    let n1 = [0x89, 0x26, 0, 0, 0, 0x64];
    assert_eq!(UpTag::parse(Framing::Vntag, &n1), Ok(up));
    assert_eq!(up.octets(Framing::Vntag).unwrap().as_slice(), n1);
    let n2 = ([0x89, 0x26, 0x81, 0x23, 0, 0], down(0x123, None));
    let n3 = ([0x89, 0x26, 0xe0, 0x05, 0x80, 0x64], down(0x20_0005, Some(pcid(100))));
    for (octets, tag) in [n2, n3] {
        assert_eq!(DownTag::parse(Framing::Vntag, &octets), Ok(tag));
        assert_eq!(tag.octets(Framing::Vntag).unwrap().as_slice(), octets);
        assert_eq!(UpTag::parse(Framing::Vntag, &octets), Err(ChannelTagError::Direction));
        for len in 0..6 {
            assert_eq!(VnTag::parse(&octets[..len]), Err(ChannelTagError::Short(len)));
        }
        let mut reserved = octets;
        reserved[4] |= 0x40;
        assert_eq!(VnTag::parse(&reserved).unwrap().to_bytes(), octets);
    }
}

#[test]
fn each_fault_of_a_vntag_has_its_error() {
    let parse = |octets: [u8; 6]| VnTag::parse(&octets);
    assert_eq!(parse([0x89, 0x3f, 0, 0, 0, 1]), Err(ChannelTagError::Kind(EtherType::E_TAG)));
    assert_eq!(parse([0x89, 0x26, 0, 0, 0x20, 1]), Err(ChannelTagError::Version(2)));
    assert_eq!(parse([0x89, 0x26, 0, 0, 0, 1]).unwrap().down(), Err(ChannelTagError::Direction));
    assert_eq!(parse([0x89, 0x26, 0, 0, 0, 0]).unwrap().up(), Err(ChannelTagError::NoChannel));
    for octets in [[0x89, 0x26, 0x80, 0, 0, 0], [0x89, 0x26, 0xc0, 5, 0, 0], [0x89, 0x26, 0xa0, 5, 0, 0]] {
        assert_eq!(parse(octets).unwrap().down(), Err(ChannelTagError::NoChannel));
    }
    // What it cannot name.
    assert_eq!(VnTag::new_up(pcid(0x1000)), None);
    assert_eq!(VnTag::new_down(ecid(0x10_1005), None), None);
    assert_eq!(VnTag::new_down(ecid(5), Some(pcid(0x1000))), VnTag::new_down(ecid(5), None));
}

#[test]
fn identifiers_have_bounds() {
    assert_eq!((ECid::new(0), ECid::new(0x3f_ffff), ECid::new(u32::MAX)), (None, None, None));
    assert_eq!((Pcid::new(0), Pcid::new(0x10_0000)), (None, None));
    assert_eq!((ShortECid::new(0), ShortECid::new(0x4000)), (None, None));
    assert!(ecid(0x10_0000).is_group() && !ecid(0x0f_ffff).is_group());
    assert_eq!(ecid(0x10_0005).short(), ShortECid::new(0x1005));
    assert_eq!(ecid(0x10_1005).short(), None);
    assert_eq!(ecid(0x3f_fffe).pcid(), None);
    assert_eq!("100".parse(), Ok(pcid(100)));
    assert!(
        "0".parse::<Pcid>().is_err() && "1048576".parse::<Pcid>().is_err() && "".parse::<ECid>().is_err()
    );
}

proptest! {
    #[test]
    fn short_and_back(short in (1_u16..0x4000).prop_map(|n| ShortECid::new(n).unwrap())) {
        prop_assert_eq!(ECid::from(short).short(), Some(short));
        prop_assert!(ECid::new(ECid::from(short).get()).is_some());
    }

    #[test]
    fn emit_then_parse(pcp in 0_u8..8, dei: bool, ingress in 0_u32..=Pcid::MAX, id in 1_u32..0x3f_ffff) {
        let tag = ETag { pcp: Pcp::new(pcp).unwrap(), dei, ingress: Pcid::new(ingress), ecid: ecid(id) };
        prop_assert_eq!(ETag::parse(&tag.to_bytes()), Ok(tag));
        let down = DownTag { to: ecid(id), source: Pcid::new(ingress), pcp: tag.pcp, dei };
        prop_assert_eq!(DownTag::parse(Framing::Etag, down.octets(Framing::Etag).unwrap().as_slice()), Ok(down));
    }

    #[test]
    fn any_octets(octets in proptest::collection::vec(any::<u8>(), 0..16), framing in 0..2) {
        let framing = if framing == 0 { Framing::Etag } else { Framing::Vntag };
        let tagged: Vec<u8> = framing.tpid().0.to_be_bytes().into_iter().chain(octets.clone()).collect();
        for octets in [&octets, &tagged] {
            if let Ok(up) = UpTag::parse(framing, octets) {
                let again = up.octets(framing).unwrap();
                prop_assert_eq!(UpTag::parse(framing, again.as_slice()), Ok(up));
            }
            if let Ok(down) = DownTag::parse(framing, octets) {
                let again = down.octets(framing).unwrap();
                prop_assert_eq!(DownTag::parse(framing, again.as_slice()), Ok(down));
            }
        }
    }
}
