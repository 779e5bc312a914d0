//! DCBX between two daemons: over a bad wire, through restarts and reloads, both ends operate the same.

use std::time::Duration;

use dcbx::{PrioritySet, Settings};
use evb_tests::wire::{Faults, Wire};
use evbd::Event;

use super::{BRIDGE, STATION, bridge, joined, station};

const PATIENCE: Duration = Duration::from_secs(200);

/// Keys of `[dcbx]`: shares of two classes, a lossless priority that also is FCoE's.
fn keys(mode: &str, dialect: &str, share: u8, priority: u8) -> String {
    format!(
        "[dcbx]\ndialect = \"{dialect}\"\n\
         [dcbx.ets]\nmode = \"{mode}\"\nclasses = [0, 0, 0, 1, 1, 0, 0, 0]\nbandwidth = [{share}, {}]\n\
         [dcbx.pfc]\nmode = \"{mode}\"\npriorities = [{priority}]\n\
         [dcbx.applications]\nmode = \"{mode}\"\n\
         list = [{{ selector = \"ethertype\", protocol = 0x8906, priority = {priority} }}]\n",
        100 - share
    )
}

fn willing(dialect: &str) -> String {
    format!("{}{}", station(0, "veb"), keys("willing", dialect, 50, 5))
}

fn deciding(dialect: &str, share: u8, priority: u8) -> String {
    format!("{}{}", bridge(true), keys("authoritative", dialect, share, priority))
}

fn applied(wire: &Wire, machine: usize) -> Settings {
    wire.get(machine).applied.values().next().cloned().unwrap_or_default()
}

fn equal(wire: &Wire, pfc: u8) -> bool {
    let (here, there) = (applied(wire, STATION), applied(wire, BRIDGE));
    here == there && here.pfc == Some(PrioritySet(pfc)) && here.ets.is_some() && here.applications.is_some()
}

fn reach(wire: &mut Wire, pfc: u8) {
    let limit = wire.now() + PATIENCE;
    let reached = wire.run_until(limit, |wire| equal(wire, pfc));
    assert!(reached, "{:#?}\n{:#?}", applied(wire, STATION), applied(wire, BRIDGE));
}

#[test]
fn both_ends_operate_the_same_over_a_bad_wire() {
    let bad = Faults { loss: 0.3, duplication: 0.2, jitter: Duration::from_millis(50) };
    for (here, there) in [("auto", "auto"), ("ieee", "auto"), ("auto", "cee"), ("cee", "cee")] {
        for seed in 0..4 {
            let (mut wire, cable) = joined(seed, &willing(here), &deciding(there, 70, 3), bad);
            reach(&mut wire, 0x08);
            // The one that decides changes its mind, crashes, and loses its link.
            wire.reload(BRIDGE, &deciding(there, 40, 4));
            reach(&mut wire, 0x10);
            wire.restart(BRIDGE);
            wire.plug(cable, false);
            wire.run_for(Duration::from_secs(1));
            wire.plug(cable, true);
            wire.weather(cable, Faults::NONE);
            reach(&mut wire, 0x10);
        }
    }
}

#[test]
fn a_peer_that_goes_changes_nothing() {
    let (mut wire, cable) = joined(1, &willing("auto"), &deciding("auto", 70, 3), Faults::NONE);
    reach(&mut wire, 0x08);
    let before = applied(&wire, STATION);
    wire.plug(cable, false);
    wire.run_for(Duration::from_secs(300));
    assert_eq!(applied(&wire, STATION), before);
    let kept = wire.get(STATION).events.iter().any(
        |(_, event)| matches!(event, Event::Dcbx { status, .. } if status.pfc.because == dcbx::Because::Kept),
    );
    assert!(kept);
}

/// What our own data path does ends with what it was for; a device would be left as it is.
#[test]
fn the_data_path_forgets_what_does_not_count_any_more() {
    let (mut wire, _) = joined(1, &willing("auto"), &deciding("auto", 70, 3), Faults::NONE);
    reach(&mut wire, 0x08);
    let silent = deciding("auto", 70, 3).replace("authoritative", "advertise");
    wire.reload(BRIDGE, &silent);
    assert_eq!(applied(&wire, BRIDGE), Settings::default());
    wire.reload(BRIDGE, &deciding("auto", 70, 3));
    reach(&mut wire, 0x08);
    wire.reload(BRIDGE, &deciding("auto", 70, 3).replace("[dcbx]", "[dcbx]\napply = \"off\""));
    assert_eq!(applied(&wire, BRIDGE), Settings::default());
    wire.reload(BRIDGE, &deciding("auto", 70, 3).replace("[dcbx]", "[dcbx]\napply = \"core\""));
    reach(&mut wire, 0x08);
    wire.reload(BRIDGE, &bridge(true));
    assert_eq!(applied(&wire, BRIDGE), Settings::default());
}

#[test]
fn turned_off_it_is_silent() {
    let (mut wire, _) = joined(1, &willing("auto"), &deciding("auto", 70, 3), Faults::NONE);
    reach(&mut wire, 0x08);
    wire.reload(BRIDGE, &bridge(true));
    wire.run_for(Duration::from_secs(5));
    let last = wire.get(STATION).events.iter().rev().find_map(|(_, event)| match event {
        Event::Dcbx { status, .. } => Some(status.peer),
        _ => None,
    });
    assert_eq!(last, Some(dcbx::Peer::Silent));
}
