//! Octets of libvirt 9.0 and lldpad 1.1, captured between them, of a little-endian host.

use proptest::prelude::*;

use super::*;

/// ASSOCIATE of a guest, as libvirt sends it.
pub(crate) const ASSOCIATE: &str = "9c00000013000500ffee006b480b4019 00000000030000000000000000000000
    0a0003006c7675703000 0000 40001680 3c000180
    28000100ffffffff525400e6b0010000000000000000000000000000000000000000000000000000
    10000200ffffffff0000000000000000 30001880 2c000180 0c0003000b57341202000000
    1400040009b11c538b5c4eeb8f00d84eaa0aaa4f 0500060002000000";

/// The poll that follows.
pub(crate) const GETLINK: &str =
    "2800000012000500ffee006b480b4019 00000000030000000000000000000000 08001d0001000000";

pub(crate) fn octets(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|c| c.to_digit(16)).map(|d| u8::try_from(d).unwrap()).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

pub(crate) fn ask(text: &str) -> Ask {
    match one(&octets(text)) {
        Ok(Request::Set(ask)) => ask,
        other => panic!("{other:?}"),
    }
}

fn one(octets: &[u8]) -> Result<Request, Refusal> {
    let (header, body) = messages(octets).next().expect("a message");
    parse(&header, body)
}

/// ASSOCIATE with the octets of the part `from` replaced.
fn changed(from: &str, to: &str) -> Vec<u8> {
    assert!(ASSOCIATE.contains(from));
    octets(&ASSOCIATE.replacen(from, to, 1))
}

#[test]
fn what_libvirt_sends_is_read() {
    let ask = ask(ASSOCIATE);
    assert_eq!(octets(ASSOCIATE).len(), 156);
    assert_eq!((ask.ifindex, ask.interface.as_str(), ask.vlan), (3, "lvup0", None));
    assert_eq!(ask.mac, MacAddr::new(0x52, 0x54, 0, 0xe6, 0xb0, 1));
    assert_eq!(ask.id, "09b11c53-8b5c-4eeb-8f00-d84eaa0aaa4f".parse().unwrap());
    assert_eq!(
        (ask.manager, ask.type_id.get(), ask.version),
        (ManagerId::legacy(11), 0x12_3457, TypeVersion(2))
    );
    assert_eq!(ask.command, Command::Associate);
    let header = header(&octets(ASSOCIATE)).unwrap();
    assert_eq!((header.kind, header.sequence, header.port), (19, 0x6b00_eeff, 0x1940_0b48));
    assert!(header.wants_answer());
    assert_eq!(one(&octets(GETLINK)), Ok(Request::Get(3)));
}

#[test]
fn each_command_and_a_vlan() {
    use Command::{Associate, DeAssociate, PreAssociate, PreAssociateRr};
    for (number, command) in [(0, PreAssociate), (1, PreAssociateRr), (2, Associate), (3, DeAssociate)] {
        let octets = changed("0500060002", &format!("05000600{number:02x}"));
        assert!(matches!(one(&octets), Ok(Request::Set(ask)) if ask.command == command));
    }
    let vlan = changed("10000200ffffffff00000000", "10000200ffffffff64000000");
    assert!(matches!(one(&vlan), Ok(Request::Set(ask)) if ask.vlan == Vid::new(100)));
}

#[test]
fn what_cannot_be_is_refused() {
    for (from, to) in [
        ("0500060002", "0500060004"),
        ("525400e6b001", "535400e6b001"),
        ("525400e6b001", "000000000000"),
        ("10000200ffffffff00000000", "10000200ffffffffff0f0000"),
        ("10000200ffffffff00000000", "10000200ffffffff00000100"),
        ("14000400", "14000500"),
        ("0c000300", "0c000200"),
        ("30001880", "30001980"),
        ("40001680", "40001780"),
    ] {
        assert_eq!(one(&changed(from, to)), Err(Refusal::Malformed), "{from} → {to}");
    }
    assert_eq!(one(&changed("9c00000013000500", "9c00000010000500")), Err(Refusal::Unsupported));
    assert_eq!(one(&octets("100000001300050000000000 00000000")), Err(Refusal::Malformed));
    // Two VSIs in one message.
    let mut two = octets(ASSOCIATE);
    let port = two[108..].to_vec();
    two.extend_from_slice(&port[4..]);
    two[0] = u8::try_from(two.len()).unwrap();
    two[108] = u8::try_from(two.len() - 108).unwrap();
    assert_eq!(one(&two), Err(Refusal::Malformed));
}

#[test]
fn answers_are_those_of_lldpad() {
    let header = header(&octets(ASSOCIATE)).unwrap();
    assert_eq!(
        answer(&header, Ok(())),
        octets("2400000002000000ffee006b480b4019 00000000 9c00000013000500ffee006b480b4019")
    );
    assert_eq!(
        answer(&header, Err(Refusal::NoUplink)),
        octets("2400000002000000ffee006b480b4019 edffffff 9c00000013000500ffee006b480b4019")
    );
    let id = ask(ASSOCIATE).id;
    let done = "4c00000003000000ffee006b480b4019 00000000030000000000000000000000 2c001880 28000180
        1400040009b11c538b5c4eeb8f00d84eaa0aaa4f 08000100ffffffff 0600070000000000";
    assert_eq!(status(&header, 3, &[(id, Progress::Done)]), octets(done));
    let waiting = "4400000003000000ffee006b480b4019 00000000030000000000000000000000 24001880 20000180
        1400040009b11c538b5c4eeb8f00d84eaa0aaa4f 08000100ffffffff";
    assert_eq!(status(&header, 3, &[(id, Progress::Waiting)]), octets(waiting));
    let refused = done.replace("0600070000000000", "0600070004000000");
    assert_eq!(status(&header, 3, &[(id, Progress::Refused(4))]), octets(&refused));
}

#[test]
fn unsolicited_messages_are_those_libvirt_takes() {
    let withdrawn = "a400000013000000 00000000 39300000 00000000000000000000000000000000
        0a0003006c7675703000 0000 40001680 3c000180
        28000100ffffffff525400e6b0010000000000000000000000000000000000000000000000000000
        10000200ffffffff0000000000000000 38001880 34000180 0c0003000b57341202000000
        1400040009b11c538b5c4eeb8f00d84eaa0aaa4f 08000100ffffffff 0600060003000000";
    assert_eq!(withdrawal(12345, &ask(ASSOCIATE)), octets(withdrawn));
    let resynced = "6000000013000000 00000000 39300000 00000000000000000000000000000000
        30001680 2c000180
        28000100ffffffff525400e6b0010000000000000000000000000000000000000000000000000000
        10001880 0c000180 0600060003000000";
    assert_eq!(resync(12345, "52:54:00:e6:b0:01".parse().unwrap()), octets(resynced));
    assert_eq!(release(11).len(), 36);
}

#[test]
fn cut_short_it_is_never_another_request() {
    for text in [ASSOCIATE, GETLINK] {
        let whole = octets(text);
        for end in 0..whole.len() {
            assert_eq!(messages(&whole[..end]).count(), 0, "{end}");
            // With a length that agrees it is refused.
            let mut cut = whole[..end].to_vec();
            if let Some(length) = cut.first_chunk_mut::<4>() {
                *length = u32::try_from(end).unwrap().to_ne_bytes();
            }
            if let Some((header, body)) = messages(&cut).next() {
                assert!(
                    matches!(parse(&header, body), Err(Refusal::Malformed) | Ok(Request::Get(3))),
                    "{end}"
                );
            }
        }
    }
}

proptest! {
    #[test]
    fn octets_never_panic(octets in proptest::collection::vec(any::<u8>(), 0..200), at in 16_usize..156, with: u8) {
        for (header, body) in messages(&octets) {
            let _ = parse(&header, body);
        }
        let mut near = super::tests::octets(ASSOCIATE);
        near[at] = with;
        if let Ok(Request::Set(ask)) = one(&near) {
            prop_assert!(mac::is_station(ask.mac));
        }
    }
}
