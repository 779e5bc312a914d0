//! Extended ports by the names their port extenders give them: how they work, what a reload changes, and what a bridge
//! that was killed goes on with.

use std::{collections::BTreeSet, time::Duration};

use evb_tests::wire::{Faults, Wire};
use evbd::{Event, Input, PortKind};

const BRIDGE: usize = 0;

fn bridge(cascades: usize, rules: &str) -> String {
    let port = |n| format!("[[port]]\ninterface = \"c{n}\"\nkind = \"lan\"\nuntagged = 10\ncascade = true\n");
    let ports: String = (0..cascades).map(port).collect();
    format!("role = \"bridge\"\n[extension]\nstatistics = 5\n{ports}{rules}")
}

fn extender(name: &str, ports: &[&str], hold: u32) -> String {
    let port = |name: &&str| format!("[[port]]\ninterface = \"{name}\"\nkind = \"extended\"\n");
    let ports: String = ports.iter().map(port).collect();
    let loss = if hold == 0 { "\"down\"".to_owned() } else { format!("{{ hold = {hold} }}") };
    format!(
        "role = \"extender\"\nname = \"{name}\"\n[extension]\nupstream_loss = {loss}\n\
         [[port]]\ninterface = \"up\"\nkind = \"upstream\"\n{ports}"
    )
}

/// A bridge with these rules and as many port extenders behind it as there are lists of ports: `rack0`, `rack1`, …
fn rig(rules: &str, ports: &[&[&str]], hold: u32) -> Wire {
    let mut wire = Wire::new(11);
    assert_eq!(wire.machine(&bridge(ports.len(), rules)), BRIDGE);
    for (n, ports) in ports.iter().enumerate() {
        let machine = wire.machine(&extender(&format!("rack{n}"), ports, hold));
        wire.cable((BRIDGE, &format!("c{n}")), (machine, "up"), Faults::NONE);
    }
    (0..=ports.len()).for_each(|machine| wire.power(machine));
    wire.run_for(Duration::from_secs(5));
    wire
}

/// The bridge's name of a port, by the names its port extender has.
fn named(wire: &Wire, rack: &str, tap: &str) -> String {
    let said = wire.get(BRIDGE).events.iter().rev().find_map(|(_, event)| match event {
        Event::ExtendedPortMade { port, extender: Some(extender), name: Some(name) }
            if (extender.as_str(), name.as_str()) == (rack, tap) =>
        {
            Some(port.clone())
        }
        _ => None,
    });
    said.unwrap_or_else(|| panic!("no port {tap} of {rack}"))
}

fn is_up(wire: &Wire, port: &str) -> bool {
    wire.get(BRIDGE).is_up(port)
}

#[test]
fn rules_go_by_names() {
    let rules = "[[extended]]\nextender = \"rack1\"\nport = \"tap*\"\nkind = \"station\"\n\
                 [[extended]]\nextender = \"rack*\"\nport = \"off?\"\nenabled = false\n";
    let wire = rig(rules, &[&["tap0", "off1"], &["off1", "tap0", "eth0"]], 0);
    let kind = |port: &str| wire.get(BRIDGE).kind(port);
    assert_eq!(kind(&named(&wire, "rack0", "tap0")), PortKind::Lan, "another rack's");
    assert_eq!(kind(&named(&wire, "rack1", "tap0")), PortKind::Station);
    assert_eq!(kind(&named(&wire, "rack1", "eth0")), PortKind::Lan);
    assert!(is_up(&wire, &named(&wire, "rack1", "eth0")));
    for rack in ["rack0", "rack1"] {
        assert!(!is_up(&wire, &named(&wire, rack, "off1")), "not enabled");
    }
    // While there are enough, no two trees have one identifier.
    let ports = wire.get(BRIDGE).ports();
    let numbers: Vec<&str> = ports.iter().filter_map(|port| Some(port.split_once(':')?.1)).collect();
    assert_eq!((numbers.len(), numbers.iter().collect::<BTreeSet<_>>().len()), (5, 5), "{ports:?}");
}

#[test]
fn a_reload_changes_ports_that_are_there() {
    let rule = |keys: &str| format!("[[extended]]\nport = \"tap1\"\n{keys}\n");
    let mut wire = rig("", &[&["tap0", "tap1"]], 0);
    let (stays, changes) = (named(&wire, "rack0", "tap0"), named(&wire, "rack0", "tap1"));
    let reload = |wire: &mut Wire, keys: &str| {
        let before = wire.get(BRIDGE).events.len();
        wire.reload(BRIDGE, &bridge(1, &rule(keys)));
        wire.run_for(Duration::from_secs(1));
        wire.get(BRIDGE).events.iter().skip(before).map(|(_, event)| event.clone()).collect::<Vec<_>>()
    };
    let down = |events: &[Event]| {
        events.iter().any(|event| matches!(event, Event::LinkDown { port } if *port == changes))
    };
    for keys in ["enabled = false", "blocked = true", "kind = \"lan\""] {
        let events = reload(&mut wire, keys);
        assert!(down(&events) && !is_up(&wire, &changes), "{keys}: {events:?}");
        let events = reload(&mut wire, "default_priority = 5");
        assert!(is_up(&wire, &changes), "{keys}: {events:?}");
        assert!(!events.iter().any(|event| matches!(event, Event::ExtendedPortGone { .. })));
    }
    let events = reload(&mut wire, "kind = \"station\"");
    assert!(is_up(&wire, &changes), "{events:?}");
    assert_eq!(wire.get(BRIDGE).kind(&changes), PortKind::Station, "another kind of port is another port");
    let of_other = |(_, event): &(_, Event)| matches!(event, Event::LinkDown { port } if *port == stays);
    assert!(!wire.get(BRIDGE).events.iter().any(of_other), "the other one has seen nothing");
    let sessions =
        wire.get(BRIDGE).events.iter().filter(|(_, e)| matches!(e, Event::ExtensionSession { .. }));
    let before = sessions.count();
    let text = bridge(1, "").replace("statistics = 5", "priority = 9\ntiers = 2\nretries = 3");
    wire.reload(BRIDGE, &text);
    wire.run_for(Duration::from_secs(40));
    let sessions =
        wire.get(BRIDGE).events.iter().filter(|(_, e)| matches!(e, Event::ExtensionSession { .. }));
    assert_eq!(sessions.count(), before, "no session is closed for that");
}

#[test]
fn a_killed_bridge_goes_on_at_once() {
    let mut wire = rig("", &[&["tap0", "tap1"], &["tap0"]], 60);
    let before: BTreeSet<String> = wire.get(BRIDGE).ports().into_iter().collect();
    wire.kill(BRIDGE);
    wire.run_for(Duration::from_secs(1));
    wire.start(BRIDGE);
    assert_eq!(wire.get(BRIDGE).extended_up(), 3, "before anybody has spoken");
    let now = || wire.get(BRIDGE).ports().into_iter().collect::<BTreeSet<String>>();
    assert_eq!(now(), before);
    let events = wire.get(BRIDGE).events.len();
    wire.run_for(Duration::from_secs(60));
    let lost = |(_, event): &(_, Event)| {
        matches!(event, Event::ExtendedPortGone { .. })
            || matches!(event, Event::LinkDown { port } if port.contains(':'))
    };
    let since = wire.get(BRIDGE).events.iter().skip(events);
    assert_eq!(since.filter(|event| lost(event)).count(), 0, "sessions confirm what was presumed");
    assert_eq!(wire.get(BRIDGE).extended_up(), 3);
}

#[test]
fn what_is_gone_while_the_bridge_is_away_goes() {
    let mut wire = rig("", &[&["tap0", "tap1"]], 60);
    let gone = named(&wire, "rack0", "tap1");
    wire.kill(BRIDGE);
    wire.interface(1, "tap1", false);
    wire.run_for(Duration::from_secs(1));
    wire.start(BRIDGE);
    assert_eq!(wire.get(BRIDGE).extended_up(), 2);
    wire.run_for(Duration::from_secs(40));
    assert_eq!(wire.get(BRIDGE).extended_up(), 1);
    assert!(!wire.get(BRIDGE).ports().contains(&gone), "nobody spoke of it");
    // And stays away.
    wire.kill(BRIDGE);
    wire.start(BRIDGE);
    assert_eq!(wire.get(BRIDGE).extended_up(), 1);
}

#[test]
fn a_bridge_without_a_journal_gives_back_what_was_had() {
    let mut wire = rig("", &[&["tap0", "tap1"], &["tap0"]], 60);
    let before: BTreeSet<String> = wire.get(BRIDGE).ports().into_iter().collect();
    // So that port extenders are heard in another order.
    wire.plug(0, false);
    wire.restart(BRIDGE);
    wire.run_for(Duration::from_secs(5));
    wire.plug(0, true);
    wire.run_for(Duration::from_secs(5));
    assert_eq!(wire.get(BRIDGE).ports().into_iter().collect::<BTreeSet<String>>(), before);
}

/// Another code book, of numbers that are nobody's: each end reads its file and proves it by its own vectors.
#[test]
fn another_code_book_is_installed_at_both_ends() {
    let other = include_str!("../../evbd/dist/codebook-p0.toml")
        .replace("name = \"P0\"", "name = \"tested\"")
        .replace("create = 2", "create = 66")
        .replace("02 0a 02 ", "02 0a 42 ")
        .replace("02 0a 82 ", "02 0a c2 ");
    let installed =
        |text: String| text.replace("[extension]\n", "[extension]\ncodebook = \"/etc/evbd/book.toml\"\n");
    let mut wire = Wire::new(3);
    assert_eq!(wire.machine(&installed(bridge(1, ""))), BRIDGE);
    let rack = wire.machine(&installed(extender("rack0", &["tap0"], 0)));
    wire.cable((BRIDGE, "c0"), (rack, "up"), Faults::NONE);
    (0..=1).for_each(|machine| wire.power(machine));
    wire.run_for(Duration::from_secs(5));
    let words = |wire: &Wire| {
        wire.get(BRIDGE).events.iter().rev().find_map(|(_, event)| match event {
            Event::ExtensionSession { words, .. } => Some(*words),
            _ => None,
        })
    };
    let none = "code book not installed: the peer does not show that it has ours";
    assert_eq!(words(&wire), Some(none), "no file has been read");
    wire.input(BRIDGE, Input::CodeBook { text: Some(other.clone()) });
    wire.run_for(Duration::from_secs(5));
    assert_eq!((wire.get(BRIDGE).extended_up(), words(&wire)), (0, Some(none)));
    wire.input(rack, Input::CodeBook { text: Some(other) });
    wire.run_for(Duration::from_secs(5));
    assert_eq!((wire.get(BRIDGE).extended_up(), words(&wire)), (1, Some("open")));
    // Back to P0 at one end.
    wire.input(BRIDGE, Input::CodeBook { text: None });
    wire.run_for(Duration::from_secs(1));
    assert_eq!((wire.get(BRIDGE).extended_up(), words(&wire)), (0, Some(none)));
    let said = wire.get(BRIDGE).events.iter().filter_map(|(_, event)| match event {
        Event::CodeBook { name, .. } => Some(name.as_str()),
        _ => None,
    });
    assert_eq!(said.collect::<Vec<_>>(), ["tested", "P0"], "and it says why");
}
