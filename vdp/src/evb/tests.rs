//! The codec by vectors, each negotiator by its outputs, and both against each other.

use proptest::prelude::*;

use super::{
    tlv::{BridgeStatus, EvbTlv, RelayStatus, ShortEvbTlv, StationStatus},
    *,
};

fn timing(retries: u8, rte: u8, rwd: u8, rka: u8) -> Timing {
    Timing {
        retries: Retries::new(retries).unwrap(),
        rte: Exponent::new(rte).unwrap(),
        rwd: Exponent::new(rwd).unwrap(),
        rka: Exponent::new(rka).unwrap(),
    }
}

fn tlv_of(outputs: &[Output]) -> Option<Vec<u8>> {
    outputs.iter().rev().find_map(|o| if let Output::LocalTlv(t) = o { Some(t.to_vec()) } else { None })
}

fn from_station(station: &mut Station) -> Vec<Output> {
    std::iter::from_fn(|| station.poll_output()).collect()
}

fn from_bridge(bridge: &mut Bridge) -> Vec<Output> {
    std::iter::from_fn(|| bridge.poll_output()).collect()
}

fn relay(status: &Status) -> (RelayState, RelayReason) {
    (status.reflective_relay.state, status.reflective_relay.reason)
}

const fn bridge_status(octet: u8) -> BridgeStatus {
    BridgeStatus { group: octet & 4 != 0, capable: octet & 2 != 0, control: octet & 1 != 0 }
}

const fn station_status(group: bool, request: bool, relay: RelayStatus) -> StationStatus {
    StationStatus { group, request, relay }
}

#[test]
fn vectors_both_ways() {
    let t = |mode, bridge, station, timing: Timing| EvbTlv {
        bridge: bridge_status(bridge),
        station,
        retries: timing.retries,
        rte: timing.rte,
        mode,
        rwd: timing.rwd,
        rwd_remote: false,
        rka: timing.rka,
        rka_remote: false,
    };
    let (unknown, on) = (RelayStatus::Unknown, RelayStatus::True);
    let default = Timing::default();
    let lldpad = timing(3, 8, 20, 20);
    for (octets, expected) in [
        // EVB-1 to EVB-4
        ([0x00, 0x07, 0x6e, 0x94, 0x14], t(Mode::Station, 0, station_status(false, true, unknown), default)),
        ([0x07, 0x07, 0x6e, 0x54, 0x14], t(Mode::Bridge, 7, station_status(false, true, unknown), default)),
        (
            [0x07, 0x0d, 0x6e, 0xb6, 0x14],
            EvbTlv {
                rwd_remote: true,
                ..t(Mode::Station, 7, station_status(true, true, on), timing(3, 14, 22, 20))
            },
        ),
        (
            [0x02, 0x04, 0x68, 0x88, 0x08],
            t(Mode::Station, 2, station_status(false, true, RelayStatus::False), timing(3, 8, 8, 8)),
        ),
        // V05 to V07, lldpad on the wire
        ([0x00, 0x0f, 0x68, 0x94, 0x14], t(Mode::Station, 0, station_status(true, true, unknown), lldpad)),
        (
            [0x07, 0x0d, 0x68, 0xb4, 0x34],
            EvbTlv {
                rwd_remote: true,
                rka_remote: true,
                ..t(Mode::Station, 7, station_status(true, true, on), lldpad)
            },
        ),
        (
            [0x07, 0x0d, 0x68, 0x74, 0x34],
            EvbTlv {
                rwd_remote: true,
                rka_remote: true,
                ..t(Mode::Bridge, 7, station_status(true, true, on), lldpad)
            },
        ),
    ] {
        assert_eq!(EvbTlv::parse(&octets), Ok(expected), "{octets:x?}");
        assert_eq!(expected.to_bytes()[..], octets);
        for len in 0..5 {
            assert_eq!(EvbTlv::parse(&octets[..len]), Err(ShortEvbTlv(len))); // NEG-2 is len 4
        }
        // A longer TLV, and reserved bits.
        let mut longer = octets.to_vec();
        longer.extend([0xff; 60]);
        longer[0] |= 0xf8;
        longer[1] |= 0xf0;
        longer[4] |= 0xc0;
        assert_eq!(EvbTlv::parse(&longer), Ok(expected));
    }
    let two = EvbTlv::parse(&[0, 2, 0, 0, 0]).unwrap();
    assert_eq!((two.station.relay, two.mode), (RelayStatus::Unknown, Mode::NotSupported));
}

#[test]
fn a_station_as_the_specification_tells_it() {
    let mut station = Station::new(StationConfig { gid_capable: true, ..Default::default() });
    let outputs = from_station(&mut station);
    assert_eq!(tlv_of(&outputs), Some(vec![0x00, 0x0b, 0x6e, 0x94, 0x14]));
    assert_eq!(relay(&station.status()), (RelayState::Unknown, RelayReason::NoPeerTlv));
    station.set_reflective_request(true);
    assert_eq!(tlv_of(&from_station(&mut station)), Some(vec![0x00, 0x0f, 0x6e, 0x94, 0x14]));
    // Capable only.
    station.handle_remote(&[0x06, 0x0f, 0x6e, 0x56, 0x14]);
    let outputs = from_station(&mut station);
    assert_eq!(tlv_of(&outputs), Some(vec![0x06, 0x0c, 0x6e, 0xb6, 0x14]));
    assert_eq!(relay(&station.status()), (RelayState::Off, RelayReason::NotGranted));
    // EVB-3 is our answer to RRCTR.
    station.handle_remote(&[0x07, 0x0c, 0x6e, 0x56, 0x14]);
    let outputs = from_station(&mut station);
    assert_eq!(tlv_of(&outputs), Some(vec![0x07, 0x0d, 0x6e, 0xb6, 0x14]));
    let status = station.status();
    assert!(status.is_agreed() && status.groups);
    assert_eq!(outputs.last(), Some(&Output::Operational(status)));
    assert_eq!(status.rwd, Setting { value: Exponent::new(22).unwrap(), origin: Origin::Remote });
    assert_eq!(status.timing(), timing(3, 14, 22, 20));
    // The same again says nothing.
    station.handle_remote(&[0x07, 0x0c, 0x6e, 0x56, 0x14]);
    assert_eq!(from_station(&mut station), []);
    // Lost: everything back, the echo cleared.
    station.handle_absence(Absence::NoTlv);
    assert_eq!(tlv_of(&from_station(&mut station)), Some(vec![0x00, 0x0f, 0x6e, 0x94, 0x14]));
    assert_eq!(station.status().timing(), Timing::default());
}

#[test]
fn why_a_station_has_no_reflective_relay() {
    for (info, request, expected) in [
        (None, true, (RelayState::Unknown, RelayReason::NoPeerTlv)),
        (Some(&[0u8, 7, 0x6e, 0x54][..]), true, (RelayState::Unknown, RelayReason::MalformedPeerTlv)),
        (Some(&[3, 4, 0x6e, 0x94, 0x14]), true, (RelayState::Unknown, RelayReason::WrongRole)),
        (Some(&[3, 4, 0x6e, 0x14, 0x14]), true, (RelayState::Unknown, RelayReason::WrongRole)),
        (Some(&[2, 0, 0x6e, 0x54, 0x14]), false, (RelayState::Off, RelayReason::NotRequested)),
        (Some(&[0, 4, 0x6e, 0x54, 0x14]), true, (RelayState::Off, RelayReason::NotCapable)),
        (Some(&[2, 4, 0x6e, 0x54, 0x14]), true, (RelayState::Off, RelayReason::NotGranted)),
        (Some(&[3, 4, 0x6e, 0x54, 0x14]), true, (RelayState::On, RelayReason::Agreed)),
        (Some(&[3, 4, 0x6e, 0x54, 0x14]), false, (RelayState::On, RelayReason::Unrequested)),
    ] {
        let mut station = Station::new(StationConfig::default());
        station.set_reflective_request(request);
        match info {
            Some(info) => station.handle_remote(info),
            None => station.handle_absence(Absence::NoTlv),
        }
        assert_eq!(relay(&station.status()), expected);
        assert_eq!(station.status().reflective_relay.words, expected.1.words());
    }
}

#[test]
fn why_there_is_nobody_to_agree_with() {
    for (why, peer, reason) in [
        (Absence::NoTlv, Peer::Absent, RelayReason::NoPeerTlv),
        (Absence::Draft, Peer::Draft, RelayReason::DraftPeer),
        (Absence::Several, Peer::Several, RelayReason::SeveralNeighbors),
    ] {
        let mut station = Station::new(StationConfig::default());
        station.set_reflective_request(true);
        station.handle_remote(&[3, 4, 0x6e, 0x54, 0x14]);
        assert_eq!(relay(&station.status()), (RelayState::On, RelayReason::Agreed));
        station.handle_absence(why);
        assert_eq!(relay(&station.status()), (RelayState::Unknown, reason));
        assert_eq!((station.status().peer, station.status().is_agreed()), (peer, false));

        let mut bridge = Bridge::new(BridgeConfig { reflective_capable: true, ..Default::default() });
        bridge.handle_remote(&[0, 7, 0x6e, 0x94, 0x14]);
        bridge.reflective_applied(true);
        bridge.handle_absence(why);
        bridge.reflective_applied(false);
        assert_eq!(relay(&bridge.status()), (RelayState::Off, reason));
        assert_eq!(bridge.status().peer, peer);
    }
}

/// The bridge's reflective relay, state by event: what is asked of the data path, RRCTR, the reason.
#[test]
fn reflective_relay_state_by_event() {
    type Event = fn(&mut Bridge);
    type Outcome = (Option<bool>, bool, RelayReason);
    const REQUEST: &[u8] = &[0x00, 0x07, 0x6e, 0x94, 0x14];
    const NO_REQUEST: &[u8] = &[0x00, 0x03, 0x6e, 0x94, 0x14];
    let requested: Event = |b| b.handle_remote(REQUEST);
    let withdrawn: Event = |b| b.handle_remote(NO_REQUEST);
    let lost: Event = |b| b.handle_absence(Absence::NoTlv);
    let on: Event = |b| b.reflective_applied(true);
    let off: Event = |b| b.reflective_applied(false);
    // The way into each state.
    let states: [(&str, &[Event]); 5] = [
        ("off", &[withdrawn]),
        ("switching on", &[requested]),
        ("on", &[requested, on]),
        ("switching off", &[requested, on, withdrawn]),
        ("failed", &[requested, off]),
    ];
    use RelayReason::{Agreed, DataPathFailed, NoPeerTlv, NotRequested, Switching};
    let table: [(&str, Event, [Outcome; 5]); 5] = [
        (
            "requested",
            requested,
            [
                (Some(true), false, Switching),
                (None, false, Switching),
                (None, true, Agreed),
                (Some(true), true, Agreed),
                (None, false, DataPathFailed),
            ],
        ),
        (
            "withdrawn",
            withdrawn,
            [
                (None, false, NotRequested),
                (Some(false), false, NotRequested),
                (Some(false), true, Switching),
                (None, true, Switching),
                (Some(false), false, NotRequested),
            ],
        ),
        (
            "lost",
            lost,
            [
                (None, false, NoPeerTlv),
                (Some(false), false, NoPeerTlv),
                (Some(false), true, Switching),
                (None, true, Switching),
                (Some(false), false, NoPeerTlv),
            ],
        ),
        (
            "switched on",
            on,
            [
                (None, false, NotRequested),
                (None, true, Agreed),
                (None, true, Agreed),
                (None, true, DataPathFailed),
                (None, true, Agreed),
            ],
        ),
        (
            "switched off",
            off,
            [
                (None, false, NotRequested),
                (None, false, DataPathFailed),
                (None, false, DataPathFailed),
                (None, false, NotRequested),
                (None, false, DataPathFailed),
            ],
        ),
    ];
    for (event, act, row) in table {
        for ((state, way), (asked, control, reason)) in states.iter().zip(row) {
            let mut bridge = Bridge::new(BridgeConfig { reflective_capable: true, ..Default::default() });
            way.iter().for_each(|step| step(&mut bridge));
            from_bridge(&mut bridge);
            act(&mut bridge);
            let switch = from_bridge(&mut bridge).into_iter().find_map(|o| match o {
                Output::SwitchReflective(on) => Some(on),
                Output::LocalTlv(_) | Output::Operational(_) => None,
            });
            let status = bridge.status().reflective_relay;
            let got = (switch, status.state == RelayState::On, status.reason);
            assert_eq!(got, (asked, control, reason), "{event} while {state}");
        }
    }
}

#[test]
fn what_is_no_evb_is_counted() {
    let mut bridge = Bridge::new(BridgeConfig::default());
    bridge.handle_remote(&[0, 4, 0x6e, 0x94]);
    bridge.handle_remote(&[0, 4, 0x6e, 0x54, 0x14]);
    assert_eq!(bridge.status().peer, Peer::WrongRole(Mode::Bridge));
    assert!(!bridge.status().is_agreed());
    bridge.handle_absence(Absence::NoTlv);
    assert_eq!(*bridge.stats(), Stats { received: 2, malformed: 1, wrong_role: 1 });
}

#[test]
fn a_bridge_switches_first_and_tells_second() {
    let mut bridge =
        Bridge::new(BridgeConfig { reflective_capable: true, gid_capable: true, ..Default::default() });
    assert_eq!(tlv_of(&from_bridge(&mut bridge)), Some(vec![0x06, 0x00, 0x6e, 0x54, 0x14]));
    bridge.handle_remote(&[0x00, 0x07, 0x6e, 0x94, 0x14]);
    let outputs = from_bridge(&mut bridge);
    assert_eq!(outputs[0], Output::SwitchReflective(true));
    assert_eq!(tlv_of(&outputs), Some(vec![0x06, 0x07, 0x6e, 0x54, 0x14]));
    assert_eq!(relay(&bridge.status()), (RelayState::Off, RelayReason::Switching));
    bridge.reflective_applied(true);
    // EVB-2
    assert_eq!(tlv_of(&from_bridge(&mut bridge)), Some(vec![0x07, 0x07, 0x6e, 0x54, 0x14]));
    assert_eq!(relay(&bridge.status()), (RelayState::On, RelayReason::Agreed));
    // The station is lost: RRCTR stays until the data path has followed.
    bridge.handle_absence(Absence::NoTlv);
    let outputs = from_bridge(&mut bridge);
    assert_eq!(outputs[0], Output::SwitchReflective(false));
    assert_eq!(tlv_of(&outputs), Some(vec![0x07, 0x00, 0x6e, 0x54, 0x14]));
    assert_eq!(relay(&bridge.status()), (RelayState::On, RelayReason::Switching));
    bridge.reflective_applied(false);
    assert_eq!(tlv_of(&from_bridge(&mut bridge)), Some(vec![0x06, 0x00, 0x6e, 0x54, 0x14]));
    assert_eq!(relay(&bridge.status()), (RelayState::Off, RelayReason::NoPeerTlv));
}

#[test]
fn a_data_path_that_does_not_follow() {
    let mut bridge = Bridge::new(BridgeConfig { reflective_capable: true, ..Default::default() });
    bridge.handle_remote(&[0x00, 0x07, 0x6e, 0x94, 0x14]);
    bridge.reflective_applied(false);
    assert_eq!(relay(&bridge.status()), (RelayState::Off, RelayReason::DataPathFailed));
    // An answer that comes after the station has withdrawn its request does not switch on.
    bridge.handle_remote(&[0x00, 0x03, 0x6e, 0x94, 0x14]);
    bridge.reflective_applied(true);
    let tlv = tlv_of(&from_bridge(&mut bridge)).unwrap();
    assert_eq!(tlv[0], 0x02);
}

#[test]
fn why_a_bridge_does_not_reflect() {
    let mut bridge = Bridge::new(BridgeConfig::default());
    bridge.handle_remote(&[0x00, 0x07, 0x6e, 0x94, 0x14]);
    assert_eq!(relay(&bridge.status()), (RelayState::Off, RelayReason::NotCapable));
    assert!(!from_bridge(&mut bridge).contains(&Output::SwitchReflective(true)));
    bridge.handle_remote(&[0x00, 0x03, 0x6e, 0x94, 0x14]);
    assert_eq!(relay(&bridge.status()), (RelayState::Off, RelayReason::NotRequested));
}

#[test]
fn groups_need_both() {
    for (ours, theirs) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut bridge = Bridge::new(BridgeConfig { gid_capable: ours, ..Default::default() });
        bridge.handle_remote(&[0, u8::from(theirs) * 8, 0x6e, 0x94, 0x14]);
        assert_eq!(bridge.status().groups, ours && theirs);
    }
}

#[test]
fn values_in_operation() {
    let local = timing(3, 14, 20, 20);
    let config = StationConfig { proposal: local, ..Default::default() };
    let remote = |rwd_rol: u8, rka_rol: u8| [0, 0, 5 << 5 | 10, 0x40 | rwd_rol | 22, rka_rol | 18];
    let run = |config, info: [u8; 5]| {
        let mut station = Station::new(config);
        station.handle_remote(&info);
        (station.status(), tlv_of(&from_station(&mut station)).unwrap())
    };
    let (status, tlv) = run(config, remote(0, 0));
    assert_eq!(status.timing(), timing(5, 14, 22, 20));
    let origins = (status.retries.origin, status.rte.origin, status.rwd.origin, status.rka.origin);
    assert_eq!(origins, (Origin::Remote, Origin::Local, Origin::Remote, Origin::Local));
    assert_eq!(tlv[2..], [0x6e, 0xb6, 0x14]);
    // What the neighbour took from us does not count again.
    assert_eq!(run(config, remote(0x20, 0x20)).0.timing(), timing(5, 14, 20, 20));
    // Equal values are ours.
    assert_eq!(run(config, [0, 0, 0x6e, 0x54, 0x14]).0.rka.origin, Origin::Local);
    // By hand.
    let (status, tlv) = run(StationConfig { manual: true, ..config }, remote(0, 0));
    assert_eq!((status.timing(), &tlv[2..]), (local, &[0x6e, 0x94, 0x14][..]));
}

/// Exchanges TLVs until nobody has anything to say; returns how many were exchanged.
fn settle(station: &mut Station, bridge: &mut Bridge) -> usize {
    let mut count = 0;
    loop {
        let from_s = tlv_of(&from_station(station));
        if let Some(tlv) = &from_s {
            bridge.handle_remote(tlv);
        }
        let outputs = from_bridge(bridge);
        for output in &outputs {
            if let Output::SwitchReflective(on) = output {
                bridge.reflective_applied(*on);
            }
        }
        let from_b = tlv_of(&from_bridge(bridge)).or(tlv_of(&outputs));
        if let Some(tlv) = &from_b {
            station.handle_remote(tlv);
        }
        if from_s.is_none() && from_b.is_none() {
            return count;
        }
        count += 1;
        assert!(count < 20, "the negotiation does not end");
    }
}

proptest! {
    #[test]
    fn two_negotiators_agree(
        s in (0u8..8, 0u8..32, 0u8..32, 0u8..32),
        b in (0u8..8, 0u8..32, 0u8..32, 0u8..32),
        flags in any::<[bool; 4]>(),
    ) {
        let [request, capable, sgid, bgid] = flags;
        let (s, b) = (timing(s.0, s.1, s.2, s.3), timing(b.0, b.1, b.2, b.3));
        let mut station = Station::new(StationConfig { proposal: s, gid_capable: sgid, manual: false });
        let config = BridgeConfig { reflective_capable: capable, gid_capable: bgid, proposal: b, manual: false };
        let mut bridge = Bridge::new(config);
        station.set_reflective_request(request);
        settle(&mut station, &mut bridge);
        for status in [station.status(), bridge.status()] {
            prop_assert!(status.is_agreed());
            prop_assert_eq!(status.timing(), s.max(b));
            prop_assert_eq!(status.groups, sgid && bgid);
            prop_assert_eq!(status.reflective_relay.state == RelayState::On, request && capable);
        }
        // Withdrawal is agreed on as well.
        station.set_reflective_request(false);
        settle(&mut station, &mut bridge);
        prop_assert_eq!(station.status().reflective_relay.state, RelayState::Off);
        prop_assert_eq!(bridge.status().reflective_relay.state, RelayState::Off);
    }

    #[test]
    fn any_octets(info in proptest::collection::vec(any::<u8>(), 0..20)) {
        if let Ok(tlv) = EvbTlv::parse(&info) {
            prop_assert_eq!(EvbTlv::parse(&tlv.to_bytes()), Ok(tlv));
        }
        let mut bridge = Bridge::new(BridgeConfig::default());
        bridge.handle_remote(&info);
    }
}
