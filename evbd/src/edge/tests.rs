//! The mode machine by its table, and what it says.

use std::sync::Arc;

use ether::{MacAddr, Vid};
use hairpin::{PortId, VsiFilter};
use vdp::evb::{Station, StationConfig as EvbConfig};

use super::*;

const T0: Instant = Instant::from_secs(10);

/// What EVB comes to when the bridge's status octet is this; `None` is no bridge.
fn heard(octet: Option<u8>) -> ReflectiveRelay {
    let mut evb = Station::new(EvbConfig::default());
    evb.set_reflective_request(true);
    if let Some(octet) = octet {
        evb.handle_remote(&[octet, 4, 0x6e, 0x54, 0x14]);
    }
    evb.status().reflective_relay
}

const ON: Option<u8> = Some(3);
const REFUSED: Option<u8> = Some(0);

fn relay(mode: StationMode, fallback: Fallback) -> EdgeRelay {
    let config = EdgeConfig { mode, fallback, probe_interval: None };
    let mut relay = EdgeRelay::new(&config, 1);
    assert_eq!(relay.mode(), EdgeRelay::initial(&config));
    relay.set_link(T0, true);
    relay
}

fn gate(n: u8) -> VsiEntry {
    let filter = |mac| VsiFilter { mac, vid: Vid::new(100).unwrap(), pcp: None };
    VsiEntry {
        port: PortId(1),
        filters: vec![filter(None), filter(Some(MacAddr::new(2, 0, 0, 0, 0, n)))],
        policy: Arc::default(),
    }
}

fn drain(relay: &mut EdgeRelay) -> Vec<Output> {
    std::iter::from_fn(|| relay.poll_output()).collect()
}

fn sources(outputs: &[Output]) -> Vec<u8> {
    let source = |output: &Output| match output {
        Output::Transmit(frame) => Some(frame[11]),
        Output::Decided(_) | Output::Proof { .. } => None,
    };
    outputs.iter().filter_map(source).collect()
}

/// Returns every probe among `outputs`.
fn reflect(relay: &mut EdgeRelay, outputs: &[Output]) {
    for output in outputs {
        if let Output::Transmit(frame) = output {
            assert!(relay.handle_probe(T0, &FrameView::parse(frame).unwrap()));
        }
    }
}

#[test]
fn every_mode_by_what_is_known() {
    use EdgeMode::{Direct, Isolate, Passthru, Private, Veb, Vepa};
    use StationMode as Mode;
    let modes = [
        (Mode::Auto, Fallback::Veb, [Veb, Veb, Veb, Vepa, Veb]),
        (Mode::Auto, Fallback::Isolate, [Isolate, Isolate, Isolate, Vepa, Isolate]),
        (Mode::Auto, Fallback::Hold, [Veb, Veb, Veb, Vepa, Vepa]),
        (Mode::Vepa, Fallback::Veb, [Veb, Veb, Vepa, Vepa, Veb]),
        (Mode::Vepa, Fallback::Isolate, [Isolate, Isolate, Vepa, Vepa, Isolate]),
        (Mode::Vepa, Fallback::Hold, [Veb, Veb, Vepa, Vepa, Vepa]),
        (Mode::Veb, Fallback::Veb, [Veb; 5]),
        (Mode::Private, Fallback::Veb, [Private; 5]),
        (Mode::Passthru, Fallback::Veb, [Passthru; 5]),
        (Mode::Direct, Fallback::Isolate, [Direct; 5]),
    ];
    for (mode, fallback, [silent, refused, said, proven, withdrawn]) in modes {
        let mut relay = relay(mode, fallback);
        relay.open(T0, VsiKey(1), &gate(1));
        assert_eq!(relay.mode(), silent, "{mode:?} {fallback:?}");
        relay.set_reflective(T0, heard(REFUSED));
        assert_eq!(relay.mode(), refused, "{mode:?} {fallback:?}");
        relay.set_reflective(T0, heard(ON));
        assert_eq!(relay.mode(), said, "{mode:?} {fallback:?}");
        let outputs = drain(&mut relay);
        assert_eq!(sources(&outputs).len(), usize::from(mode == Mode::Auto), "{mode:?}");
        reflect(&mut relay, &outputs);
        assert_eq!(relay.mode(), proven, "{mode:?} {fallback:?}");
        relay.set_reflective(T0, heard(REFUSED));
        assert_eq!(relay.mode(), withdrawn, "{mode:?} {fallback:?}");
        relay.set_reflective(T0, heard(None));
        assert_eq!(relay.mode(), withdrawn, "{mode:?} {fallback:?}");
    }
}

#[test]
fn nothing_the_bridge_said_holds_while_the_uplink_is_down() {
    for mode in [StationMode::Auto, StationMode::Vepa] {
        let mut relay = relay(mode, Fallback::Isolate);
        relay.open(T0, VsiKey(1), &gate(1));
        relay.set_reflective(T0, heard(ON));
        let outputs = drain(&mut relay);
        reflect(&mut relay, &outputs);
        assert_eq!(relay.mode(), EdgeMode::Vepa);
        relay.set_link(T0, false);
        assert_eq!((relay.mode(), relay.view().because.as_str()), (EdgeMode::Isolate, "the uplink is down"));
        // What EVB comes to meanwhile is about the past.
        relay.set_reflective(T0, heard(ON));
        assert_eq!((relay.mode(), relay.poll_timeout()), (EdgeMode::Isolate, None));
        drain(&mut relay);
        relay.set_link(T0, true);
        let outputs = drain(&mut relay);
        reflect(&mut relay, &outputs);
        assert_eq!(
            (relay.mode(), sources(&outputs).len()),
            (EdgeMode::Vepa, usize::from(mode == StationMode::Auto))
        );
    }
}

#[test]
fn each_change_is_told_once_and_with_its_reason() {
    let mut relay = relay(StationMode::Auto, Fallback::Veb);
    relay.set_reflective(T0, heard(ON));
    let waiting = Output::Proof { proof: Proof::Waiting, round_trip_us: None };
    assert_eq!(drain(&mut relay), [waiting]);
    assert!(relay.view().because.contains("once a VSI is associated"), "{}", relay.view().because);
    relay.open(T0, VsiKey(1), &gate(1));
    let outputs = drain(&mut relay);
    reflect(&mut relay, &outputs);
    let decided = Decision { mode: EdgeMode::Vepa, held: false, because: Proof::Proven.words().to_owned() };
    let proven = Output::Proof { proof: Proof::Proven, round_trip_us: Some(0) };
    assert_eq!(drain(&mut relay), [proven, Output::Decided(decided)]);
    relay.set_reflective(T0, heard(ON));
    relay.handle_timeout(T0);
    assert_eq!(drain(&mut relay), []);
    relay.set_reflective(T0, heard(REFUSED));
    let outputs = drain(&mut relay);
    assert!(
        matches!(&outputs[..], [Output::Proof { proof: Proof::Idle, .. }, Output::Decided(d)]
            if d.mode == EdgeMode::Veb && d.because.contains("not capable")),
        "{outputs:?}"
    );
}

#[test]
fn a_held_vepa_says_that_it_is_held_and_when_no_more() {
    let mut relay = relay(StationMode::Vepa, Fallback::Hold);
    let held = |outputs: Vec<Output>| match &outputs[..] {
        [Output::Decided(Decision { mode: EdgeMode::Vepa, held, because })] => (*held, because.clone()),
        other => panic!("{other:?}"),
    };
    relay.set_reflective(T0, heard(ON));
    assert!(!held(drain(&mut relay)).0);
    relay.set_reflective(T0, heard(None));
    let (is_held, because) = held(drain(&mut relay));
    assert!(is_held && because == "held by policy: the neighbour sends no EVB TLV", "{because}");
    relay.set_reflective(T0, heard(ON));
    assert!(!held(drain(&mut relay)).0);
}

#[test]
fn probes_are_sent_for_an_open_gate() {
    let mut relay = relay(StationMode::Auto, Fallback::Veb);
    relay.set_reflective(T0, heard(ON));
    relay.open(T0, VsiKey(2), &gate(2));
    assert_eq!(sources(&drain(&mut relay)), [2]);
    // An earlier row does not take over while the gate in use is open.
    relay.open(T0, VsiKey(1), &gate(1));
    relay.handle_timeout(relay.poll_timeout().unwrap());
    assert_eq!(sources(&drain(&mut relay)), [2]);
    relay.shut(T0, VsiKey(2));
    relay.handle_timeout(relay.poll_timeout().unwrap());
    assert_eq!(sources(&drain(&mut relay)), [1]);
    relay.shut(T0, VsiKey(1));
    assert_eq!(relay.poll_timeout(), None);
    // A gate without an address is nothing to send for.
    let mut anyone = gate(3);
    anyone.filters.pop();
    relay.open(T0, VsiKey(3), &anyone);
    assert_eq!((sources(&drain(&mut relay)), relay.poll_timeout()), (vec![], None));
}
