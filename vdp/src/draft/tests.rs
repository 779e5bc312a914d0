//! What lldpad sends and takes, both ways.

use proptest::prelude::*;

use super::*;
use crate::{
    Command, ManagerId,
    evb::tlv::Mode,
    filter::tests::entry,
    tlv::{Item, Status, Vdpdu},
};

fn octets(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

/// V40 after its ECP header: Associate of one MAC and VLAN 3.
const ASSOCIATE: &str =
    "fe26001b3f0202000c12345601fa9b7fffb0a048938e0ebeef4ff18f8f020001525400c73ece00030000";
/// V42: a Pre-Associate and an Associate.
const TWO: &str = "fe26001b3f0200000c12345601fa9b7fffb0a048938e0ebeef4ff18f80020001525400c73ecf0004\
                   fe26001b3f0202000c12345601fa9b7fffb0a048938e0ebeef4ff18f8f020001525400c73ece00030000";

#[test]
fn the_evb_tlv_of_lldpad_both_ways() {
    // V36 and V37.
    let first = EvbDraft::parse(&octets("40074000000000000f")).unwrap();
    assert_eq!((first.supported, first.configured, first.reflective), (7, 0, true));
    let settled = octets("400740070cdf00000f");
    let tlv = EvbDraft::parse(&settled).unwrap();
    assert_eq!((tlv.configured, tlv.vsis, tlv.rte.get()), (7, 3295, 15));
    for len in 0..settled.len() {
        assert_eq!(EvbDraft::parse(&settled[..len]), Err(ShortEvbDraft(len)));
    }
    // We say that the standard way of forwarding is supported as well.
    assert_eq!(tlv.to_bytes(), octets("c00740070cdf00000f"));
}

#[test]
fn what_a_draft_neighbour_says_reads_as_the_standard() {
    let tlv = EvbDraft::parse(&octets("400740070cdf00000f")).unwrap();
    let station = tlv.to_standard(Mode::Bridge);
    assert_eq!((station.mode, station.station.request, station.bridge.capable), (Mode::Station, true, true));
    assert_eq!((station.rka.get(), station.rte.get()), (20, 15));
    let bridge = tlv.to_standard(Mode::Station);
    assert_eq!((bridge.mode, bridge.bridge.capable, bridge.bridge.control), (Mode::Bridge, true, true));
    // What it has not heard of us it does not echo.
    let deaf = EvbDraft { configured: 0, ..tlv };
    assert!(
        !deaf.to_standard(Mode::Bridge).bridge.capable && !deaf.to_standard(Mode::Station).station.request
    );
    // And back: a bridge that reflects, and what both support.
    let ours = EvbDraft::from_standard(&bridge, Some(&tlv));
    assert_eq!((ours.reflective_capable, ours.reflective, ours.configured), (true, true, 7));
    assert_eq!(EvbDraft::from_standard(&bridge, None).configured, 0);
    let ours = EvbDraft::from_standard(&station, Some(&tlv));
    assert_eq!((ours.reflective_capable, ours.reflective), (true, true));
}

#[test]
fn requests_of_lldpad_both_ways() {
    let [pdu] = &to_standard(&octets(ASSOCIATE), Receiver::Bridge)[..] else { panic!() };
    let parsed = Vdpdu::parse(pdu).unwrap();
    assert_eq!(parsed.manager, ManagerId::legacy(12));
    let [Item::Association(a)] = &parsed.items[..] else { panic!() };
    assert_eq!((a.command, a.type_id.get(), a.version.0), (Command::Associate, 0x12_3456, 1));
    assert_eq!(a.id.to_string(), "fa9b7fff-b0a0-4893-8e0e-beef4ff18f8f");
    let vids: Vec<_> = a.filter.as_ref().unwrap().entries().iter().map(|e| e.vid.unwrap().get()).collect();
    assert_eq!((vids, matches!(a.status, Status::Request(_))), (vec![3], true));
    assert_eq!(from_standard(pdu), octets(ASSOCIATE));
    // Several of one manager are one VDPDU; the answer of success is the same octets.
    let [pdu] = &to_standard(&octets(TWO), Receiver::Station)[..] else { panic!() };
    assert_eq!((Vdpdu::parse(pdu).unwrap().items.len(), from_standard(pdu)), (2, octets(TWO).into()));
    // The empty request lldpad starts with, and padding.
    assert!(to_standard(&[0; 37], Receiver::Bridge).is_empty());
    let managers = [&octets(ASSOCIATE)[..40], &octets(&ASSOCIATE.replace("02000c", "02000d"))].concat();
    assert_eq!(to_standard(&managers, Receiver::Bridge).len(), 2);
}

#[test]
fn refusals_are_the_nearest_code() {
    for (code, error) in [(1, 1), (2, 2), (3, 4), (4, 5), (5, 4), (6, 4)] {
        let mut answer = octets(ASSOCIATE);
        answer[7] = code;
        let [pdu] = &to_standard(&answer, Receiver::Station)[..] else { panic!() };
        let [Item::Association(a)] = &Vdpdu::parse(pdu).unwrap().items[..] else { panic!() };
        let Status::Response(verdict) = a.status else { panic!() };
        assert_eq!(u8::from(verdict.error), error, "{code}");
        let sent = from_standard(pdu)[7];
        assert!(sent == code || code > 4 && sent == 3, "{code} {sent}");
    }
}

#[test]
fn what_the_draft_cannot_say_is_left_out() {
    use crate::{
        TypeId, TypeVersion, VsiId,
        filter::tests::filter,
        tlv::{Association, Hints},
    };
    let uuid: VsiId = "fa9b7fff-b0a0-4893-8e0e-beef4ff18f8f".parse().unwrap();
    let says = |manager: ManagerId, id, entries: &[_]| {
        let association = Association {
            command: Command::Associate,
            status: Status::Request(Hints::default()),
            type_id: TypeId::default(),
            version: TypeVersion(1),
            id,
            filter: Some(filter(entries)),
        };
        let pdu = Vdpdu { manager, items: vec![Item::Association(association)] }.to_bytes().unwrap();
        let said = from_standard(&pdu).len() > 2;
        assert_eq!(unsayable(&pdu), if said { vec![] } else { vec![id] });
        said
    };
    let plain = [entry(0, 1, 100, None)];
    assert!(
        says(ManagerId::legacy(12), uuid, &plain)
            && says(ManagerId::legacy(12), uuid, &[entry(0, 1, 0, None)])
    );
    assert!(!says("labmgr".parse().unwrap(), uuid, &plain));
    assert!(!says(ManagerId::legacy(12), VsiId::local([1; 16]), &plain));
    for entries in [entry(0, 0, 100, None), entry(7, 1, 100, None), entry(0, 1, 100, Some(3))] {
        assert!(!says(ManagerId::legacy(12), uuid, &[entries]));
    }
    assert_eq!(from_standard(&[1, 2, 3]), vec![]);
}

proptest! {
    #[test]
    fn any_octets(payload in proptest::collection::vec(any::<u8>(), 0..120), cut in 0usize..100) {
        for octets in [payload, octets(TWO)[..cut.min(82)].to_vec()] {
            for receiver in [Receiver::Bridge, Receiver::Station] {
                for pdu in to_standard(&octets, receiver) {
                    let again = from_standard(&pdu);
                    prop_assert_eq!(to_standard(&again, receiver), vec![pdu]);
                }
            }
            let _ = (EvbDraft::parse(&octets), from_standard(&octets));
        }
    }
}
