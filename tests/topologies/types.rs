//! Types of VSIs that come late, change and go, from files and managers.

use std::time::Duration;

use evb_tests::wire::{Faults, Wire};
use evbd::{
    Event, Input,
    vsidb::{Profile, Source},
};
use serde_json::json;

use super::{BRIDGE, STATION, agreed, bridge, joined, mac, station};

const PATIENCE: Duration = Duration::from_secs(60);

fn web(vlan: u16, policy: &serde_json::Value) -> Vec<Profile> {
    let text = json!([{ "name": "web", "type": 1, "version": 1, "vlans": [vlan], "policy": policy }]);
    serde_json::from_value(text).expect("a profile")
}

/// A bridge without profiles of its own that asks the manager of its stations' types.
fn managed() -> String {
    let text = bridge(true);
    let (before, profile) = text.split_once("[[profile]]").expect("a profile");
    let (_, ports) = profile.split_once("[[port]]").expect("a port");
    let manager = "[[manager]]\nid = \"::\"\nurl = \"http://192.0.2.10/\"\n";
    format!("{before}{manager}[[port]]{ports}")
}

fn heard(wire: &mut Wire, heard: Result<Option<Vec<Profile>>, String>) {
    wire.input(BRIDGE, Input::Manager { manager: vdp::ManagerId::default(), heard });
}

fn reach(wire: &mut Wire, what: &str, done: impl FnMut(&Wire) -> bool) {
    let limit = wire.now() + PATIENCE;
    assert!(wire.run_until(limit, done), "{what}: not in {PATIENCE:?}");
}

fn refused_by(wire: &Wire, code: u8) -> bool {
    let name = format!("\"error\":{code},");
    wire.get(BRIDGE).events.iter().any(|(_, event)| {
        let text = serde_json::to_string(event).expect("JSON");
        text.contains("\"refused\"") && text.contains(&name)
    })
}

#[test]
fn a_type_that_comes_late_is_granted_as_soon_as_it_comes() {
    let (mut wire, _) = joined(1, &station(2, "veb"), &managed(), Faults::NONE);
    wire.run_for(Duration::from_secs(5));
    assert!(wire.get(BRIDGE).admitted("down").is_empty() && wire.get(BRIDGE).asked > 0);
    heard(&mut wire, Err("out of reach".into()));
    wire.run_for(Duration::from_secs(1));
    assert!(!refused_by(&wire, 4), "it may come yet");
    heard(&mut wire, Ok(Some(web(100, &json!({})))));
    reach(&mut wire, "granted", |w| agreed(w, 2));
}

#[test]
fn without_the_manager_the_answer_is_code_3_and_the_station_asks_again() {
    let (mut wire, _) = joined(2, &station(1, "veb"), &managed(), Faults::NONE);
    heard(&mut wire, Err("out of reach".into()));
    reach(&mut wire, "refused", |w| refused_by(w, 3));
    heard(&mut wire, Ok(Some(web(100, &json!({})))));
    reach(&mut wire, "granted", |w| agreed(w, 1));
    // What it said last counts while it is out of reach.
    heard(&mut wire, Err("out of reach".into()));
    wire.restart(STATION);
    reach(&mut wire, "granted again", |w| agreed(w, 1));
}

#[test]
fn a_type_the_manager_does_not_have_is_refused_for_good() {
    let (mut wire, _) = joined(3, &station(1, "veb"), &managed(), Faults::NONE);
    heard(&mut wire, Ok(Some(vec![])));
    reach(&mut wire, "asked", |w| w.get(BRIDGE).asked > 0);
    assert!(!refused_by(&wire, 4), "not before it was asked for news");
    heard(&mut wire, Ok(None));
    reach(&mut wire, "refused", |w| refused_by(w, 4));
}

#[test]
fn another_policy_is_applied_and_another_vlan_withdraws() {
    let (mut wire, _) = joined(4, &station(2, "veb"), &managed(), Faults::NONE);
    heard(&mut wire, Ok(Some(web(100, &json!({})))));
    reach(&mut wire, "granted", |w| agreed(w, 2));
    let changes = |w: &Wire| {
        let found = w.get(BRIDGE).events.iter().filter_map(|(_, event)| match event {
            Event::ProfilesChanged { reapplied, withdrawn, .. } => Some((reapplied.len(), withdrawn.len())),
            _ => None,
        });
        found.collect::<Vec<_>>()
    };
    assert_eq!(changes(&wire), [(0, 0)]);
    heard(&mut wire, Ok(Some(web(100, &json!({ "pcp": { "set": 5 } })))));
    assert_eq!(changes(&wire), [(0, 0), (2, 0)]);
    let set = hairpin::policy::PcpRule::Set(ether::Pcp::new(5).expect("a priority"));
    assert!(wire.get(BRIDGE).open.values().all(|entry| entry.policy.pcp == set));
    assert!(agreed(&wire, 2), "nobody was interrupted");
    // The same again is no change.
    heard(&mut wire, Ok(Some(web(100, &json!({ "pcp": { "set": 5 } })))));
    heard(&mut wire, Ok(None));
    assert_eq!(changes(&wire).len(), 2);
    heard(&mut wire, Ok(Some(web(7, &json!({})))));
    assert_eq!(changes(&wire).last(), Some(&(0, 2)));
    reach(&mut wire, "asked for again, and given the new VLAN", |w| {
        w.get(STATION).admitted("vm1") == [(mac(1), 7)] && w.get(BRIDGE).admitted("down").len() == 2
    });
}

#[test]
fn files_come_and_go() {
    let text = managed();
    let (before, rest) = text.split_once("[[manager]]").expect("a manager");
    let (_, ports) = rest.split_once("[[port]]").expect("a port");
    let (mut wire, _) = joined(5, &station(1, "veb"), &format!("{before}[[port]]{ports}"), Faults::NONE);
    let source = Source::File("/etc/evbd/web.toml".into());
    wire.input(BRIDGE, Input::Profiles { source: source.clone(), profiles: web(100, &json!({})) });
    reach(&mut wire, "granted", |w| agreed(w, 1));
    wire.input(BRIDGE, Input::Profiles { source, profiles: vec![] });
    assert!(wire.get(BRIDGE).admitted("down").is_empty(), "its type is gone, and it with it");
}
