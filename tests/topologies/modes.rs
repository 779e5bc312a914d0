//! What a station's edge relay becomes by its mode, by what the bridge says, and by what comes back.

use std::time::Duration;

use evb_tests::wire::{Faults, Wire};
use evbd::{Event, Proof};
use hairpin::EdgeMode;

use crate::{BRIDGE, STATION, agreed, bridge, bridge_with, joined, mac, pair, seeds, station_with, stranger};

const SETTLED: Duration = Duration::from_secs(60);

fn mode(wire: &Wire) -> EdgeMode {
    wire.get(STATION).mode
}

fn run_until(wire: &mut Wire, patience: Duration, done: impl FnMut(&Wire) -> bool) -> bool {
    let limit = wire.now() + patience;
    wire.run_until(limit, done)
}

/// Events of the station from number `from` on.
fn told(wire: &Wire, from: usize) -> Vec<Event> {
    wire.get(STATION).events.iter().skip(from).map(|(_, event)| event.clone()).collect()
}

/// The latest word on why the relay is what it is.
fn because(wire: &Wire) -> String {
    let relay = |event: &Event| match event {
        Event::Relay { because, .. } => Some(because.clone()),
        _ => None,
    };
    told(wire, 0).iter().rev().find_map(relay).unwrap_or_default()
}

fn proofs(wire: &Wire, from: usize) -> Vec<Proof> {
    let proof = |event: &Event| match event {
        Event::Probe { state, .. } => Some(*state),
        _ => None,
    };
    told(wire, from).iter().filter_map(proof).collect()
}

#[test]
fn each_mode_behind_each_bridge() {
    use EdgeMode::{Isolate, Passthru, Private, Veb, Vepa};
    // Keys; relay behind a bridge that refuses, one that lies, one that reflects; whether the latter was asked to.
    for (keys, refusing, lying, honest, asked) in [
        ("", Veb, Veb, Vepa, true),
        ("mode = \"auto\"\nfallback = \"isolate\"", Isolate, Isolate, Vepa, true),
        ("mode = \"auto\"\nfallback = \"hold\"", Veb, Veb, Vepa, true),
        ("mode = \"auto\"\nprobe_interval = 0", Veb, Veb, Vepa, true),
        ("mode = \"vepa\"", Veb, Vepa, Vepa, true),
        ("mode = \"vepa\"\nfallback = \"isolate\"", Isolate, Vepa, Vepa, true),
        ("mode = \"veb\"", Veb, Veb, Veb, false),
        ("mode = \"private\"", Private, Private, Private, false),
        ("mode = \"passthru\"", Passthru, Passthru, Passthru, false),
    ] {
        for (reflective, liar, expected) in
            [(false, false, refusing), (true, true, lying), (true, false, honest)]
        {
            let (mut wire, _) = joined(11, &station_with([1], keys), &bridge(reflective), Faults::NONE);
            wire.lie(BRIDGE, liar);
            wire.run_for(SETTLED);
            assert_eq!(mode(&wire), expected, "{keys:?}, reflective {reflective}, liar {liar}");
            assert_eq!(wire.get(STATION).admitted("vm1"), [(mac(1), 100)], "{keys:?}");
            assert_eq!(wire.get(BRIDGE).reflects("down"), reflective && asked, "{keys:?}");
        }
    }
}

#[test]
fn vepa_is_entered_only_when_a_probe_came_back() {
    let (mut wire, _) = joined(1, &station_with([1, 2], ""), &bridge(true), Faults::NONE);
    assert!(run_until(&mut wire, Duration::from_secs(5), |w| agreed(w, 2)));
    let events = told(&wire, 0);
    let place = |is: fn(&Event) -> bool| events.iter().position(is).expect("it was told");
    let said = place(
        |e| matches!(e, Event::Evb { status, .. } if status.reflective_relay.reason == vdp::evb::RelayReason::Agreed),
    );
    let associated =
        place(|e| matches!(e, Event::StationVsi { what: vdp::station::StationEvent::Associated { .. }, .. }));
    let proven =
        place(|e| matches!(e, Event::Probe { state: Proof::Proven, round_trip_us: Some(20..1000), .. }));
    let vepa = place(|e| matches!(e, Event::Relay { mode: EdgeMode::Vepa, held: false, .. }));
    assert!(said.max(associated) < proven && proven < vepa, "{events:#?}");
    assert!(because(&wire).contains("a probe came back"));
}

#[test]
fn a_bridge_that_only_says_so_is_found_out() {
    let (mut wire, _) = joined(2, &station_with([1], ""), &bridge(true), Faults::NONE);
    wire.lie(BRIDGE, true);
    assert!(run_until(&mut wire, SETTLED, |w| proofs(w, 0).contains(&Proof::Failed)));
    wire.run_for(Duration::from_secs(300));
    assert!(wire.get(BRIDGE).reflects("down"), "the bridge says so all the time");
    assert_eq!(mode(&wire), EdgeMode::Veb);
    assert_eq!(proofs(&wire, 0).iter().filter(|p| **p == Proof::Failed).count(), 1, "told once");
    // It repents: found within the time between two rounds.
    wire.lie(BRIDGE, false);
    assert!(run_until(&mut wire, Duration::from_secs(33), |w| mode(w) == EdgeMode::Vepa));
}

#[test]
fn reflection_that_is_lost_is_noticed_and_answered_by_policy() {
    for (policy, fallen, held) in
        [("veb", EdgeMode::Veb, false), ("isolate", EdgeMode::Isolate, false), ("hold", EdgeMode::Vepa, true)]
    {
        let keys = format!("fallback = \"{policy}\"");
        let (mut wire, _) = joined(3, &station_with([1], &keys), &bridge(true), Faults::NONE);
        assert!(run_until(&mut wire, SETTLED, |w| agreed(w, 1)));
        wire.run_for(Duration::from_secs(600));
        assert_eq!(proofs(&wire, 0).last(), Some(&Proof::Proven), "a good wire loses no probe");

        let from = told(&wire, 0).len();
        wire.lie(BRIDGE, true);
        // At most an interval and three seconds.
        assert!(run_until(&mut wire, Duration::from_millis(33_100), |w| proofs(w, from) == [Proof::Lost]));
        let fell =
            |e: &Event| matches!(e, Event::Relay { mode, held: h, .. } if *mode == fallen && *h == held);
        assert!(told(&wire, from).iter().any(fell), "{policy}: {:#?}", told(&wire, from));
        assert!(because(&wire).contains("do not come back any more"), "{}", because(&wire));
        wire.run_for(Duration::from_secs(120));
        assert_eq!((mode(&wire), proofs(&wire, from)), (fallen, vec![Proof::Lost]), "and said once");

        wire.lie(BRIDGE, false);
        assert!(
            run_until(&mut wire, Duration::from_secs(33), |w| proofs(w, from).last() == Some(&Proof::Proven))
        );
        assert_eq!(mode(&wire), EdgeMode::Vepa);
        let free = |e: &Event| matches!(e, Event::Relay { mode: EdgeMode::Vepa, held: false, .. });
        assert!(told(&wire, from).iter().any(free));
    }
}

#[test]
fn without_an_interval_reflection_is_proved_once() {
    let (mut wire, _) = joined(3, &station_with([1], "probe_interval = 0"), &bridge(true), Faults::NONE);
    assert!(run_until(&mut wire, SETTLED, |w| agreed(w, 1)));
    wire.lie(BRIDGE, true);
    wire.run_for(Duration::from_secs(3600));
    assert_eq!(mode(&wire), EdgeMode::Vepa);
}

/// With so much loss single probes fail all the time; what matters is that nothing is stuck when it ends.
#[test]
fn probes_on_a_bad_wire() {
    seeds(100, |seed| {
        let bad = Faults { loss: 0.4, duplication: 0.2, jitter: Duration::from_millis(200) };
        let (mut wire, cable) = pair(seed, 1, bad);
        wire.run_for(Duration::from_secs(600));
        assert!(proofs(&wire, 0).contains(&Proof::Proven), "seed {seed}: never proved");
        wire.weather(cable, Faults::NONE);
        assert!(run_until(&mut wire, Duration::from_secs(400), |w| agreed(w, 1)), "seed {seed}");
        wire.run_for(Duration::from_secs(200));
        assert!(agreed(&wire, 1), "seed {seed}: it did not last");
    });
}

#[test]
fn what_is_lost_with_the_peer_is_a_policy() {
    for (keys, released) in
        [("", false), ("on_peer_loss = \"keep\"", false), ("on_peer_loss = \"release\"", true)]
    {
        let (mut wire, cable) =
            joined(4, &station_with([1, 2], keys), &bridge_with(["down"], keys), Faults::NONE);
        assert!(run_until(&mut wire, SETTLED, |w| agreed(w, 2)));
        let from = wire.get(BRIDGE).events.len();
        // Nobody at either end is the only neighbour any more.
        wire.inject(BRIDGE, "down", stranger(""));
        wire.inject(STATION, "up", stranger(""));
        let lost =
            |e: &Event| matches!(e, Event::EvbPeerLost { because, .. } if because.contains("more than one"));
        assert!(wire.get(BRIDGE).events.iter().skip(from).any(|(_, e)| lost(e)));
        assert_eq!(mode(&wire), EdgeMode::Veb);
        wire.run_for(Duration::from_secs(5));
        let held = wire.get(BRIDGE).admitted("down").len();
        assert_eq!((held, wire.get(STATION).open.len()), if released { (0, 0) } else { (2, 2) }, "{keys}");
        // The strangers are forgotten, and all is as before.
        assert!(run_until(&mut wire, Duration::from_secs(200), |w| agreed(w, 2)), "{keys}");
        // Silent beyond the 121 s its TLV lives.
        wire.weather(cable, Faults { loss: 1.0, ..Faults::NONE });
        let silent =
            |e: &Event| matches!(e, Event::EvbPeerLost { because, .. } if because.contains("no EVB TLV"));
        assert!(run_until(&mut wire, Duration::from_secs(125), |w| told(w, 0).iter().any(silent)), "{keys}");
    }
}

#[test]
fn a_cable_pulled_ends_a_vepa_at_once_and_plugged_begins_it_again() {
    let (mut wire, cable) = pair(9, 2, Faults::NONE);
    assert!(run_until(&mut wire, SETTLED, |w| agreed(w, 2)));
    wire.plug(cable, false);
    assert_eq!((mode(&wire), because(&wire).as_str()), (EdgeMode::Veb, "the uplink is down"));
    wire.run_for(Duration::from_secs(5));
    wire.plug(cable, true);
    assert!(run_until(&mut wire, Duration::from_secs(5), |w| agreed(w, 2)));
}

#[test]
fn a_neighbour_of_draft_0_2_is_named() {
    for (machine, interface) in [(STATION, "up"), (BRIDGE, "down")] {
        let standard = "dialect = \"standard\"";
        let (mut wire, cable) =
            joined(6, &station_with([1], standard), &bridge_with(["down"], standard), Faults::NONE);
        wire.plug(cable, false);
        wire.plug(cable, true);
        wire.weather(cable, Faults { loss: 1.0, ..Faults::NONE });
        // Its first octets, as lldpad sends it: capabilities supported and enabled, two VSI counts, RTE.
        wire.inject(machine, interface, stranger("fe0d 001b3f00 8001 0001 0fff 0000 0f"));
        let named = wire.get(machine).events.iter().rev().find_map(|(_, event)| match event {
            Event::Evb { status, .. } => Some(*status),
            _ => None,
        });
        let status = named.expect("a new state");
        assert_eq!(status.peer, vdp::evb::Peer::Draft);
        assert!(status.reflective_relay.words.contains("draft 0.2"), "{}", status.reflective_relay.words);
    }
}

#[test]
fn numbers_by_hand() {
    let larger = "retries = 7\nack_timer_exponent = 16";
    for (manual, retries) in [("", 7), ("manual = true", 3)] {
        let (mut wire, _) =
            joined(8, &station_with([1], manual), &bridge_with(["down"], larger), Faults::NONE);
        assert!(run_until(&mut wire, SETTLED, |w| agreed(w, 1)));
        let status = told(&wire, 0).into_iter().rev().find_map(|event| match event {
            Event::Evb { status, .. } => Some(status),
            _ => None,
        });
        assert_eq!(status.expect("EVB agreed").retries.value.get(), retries, "{manual}");
    }
}

/// Either end may be the one that is set to the draft; the other follows it, and comes back to the standard.
#[test]
fn draft_0_2_is_spoken_with_a_neighbour_that_speaks_nothing_else() {
    for drafts in [(true, false), (false, true), (true, true)] {
        let keys = |draft: bool| if draft { "dialect = \"draft\"" } else { "" };
        let legacy = |text: String| {
            text.replace("type = 1\n", "manager = \"0x0c000000000000000000000000000000\"\ntype = 1\n")
        };
        let (station, bridge) =
            (legacy(station_with([1, 2], keys(drafts.0))), legacy(bridge_with(["down"], keys(drafts.1))));
        let (mut wire, _) = joined(11, &station, &bridge, Faults::NONE);
        assert!(run_until(&mut wire, SETTLED, |w| agreed(w, 2)), "{drafts:?}");
        let draft = |machine| wire.get(machine).ecp == Some(ether::EtherType::OUI_EXTENDED);
        assert!(draft(STATION) && draft(BRIDGE), "{drafts:?}");
        // Keep-alives hold them.
        wire.run_for(Duration::from_secs(60));
        assert!(agreed(&wire, 2), "{drafts:?}");
    }
}
