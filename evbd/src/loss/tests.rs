//! A port extender that hears nobody, and one that is told by its bridge: which interfaces are taken down, and which are
//! brought up again.

use ether::{Instant, Pcid, time::Duration};

use super::*;
use crate::{Config, Input, Link, port::PortKind};

const CONFIG: &str = "role = \"extender\"\n[[port]]\ninterface = \"up\"\nkind = \"upstream\"\n\
     [[port]]\ninterface = \"tap0\"\nkind = \"extended\"\n[[port]]\ninterface = \"vnet*\"\nkind = \"extended\"\n\
     [relay]\nspare_ports = 1\n";
const TAP0: PortId = PortId(1);

fn core() -> Core {
    Core::new(Config::parse("test", CONFIG).unwrap(), 1, Instant::ZERO)
}

/// As a bridge wants a port to work.
fn with(admin_up: bool) -> PortParameters {
    PortParameters { admin_up, blocked: false, ..PortParameters::new(Pcid::new(5).unwrap()) }
}

fn at(ms: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(ms)
}

/// The interface of a port is there and administratively up or down.
fn see(core: &mut Core, now: Instant, port: PortId, up: bool, identity: &str) {
    let identity = identity.to_owned();
    core.handle(now, Input::Administered { port, up, identity });
    let mac = ether::MacAddr::new(2, 0, 0, 0, 0, 1);
    core.handle(now, Input::Link { port, link: Link::Present { up, mac, ifindex: 7, mtu: 1500 } });
}

/// What was done to interfaces, and what is remembered of that: `- name` and `+ name`, `remember name`, `forget name`.
fn done(core: &mut Core) -> Vec<String> {
    let said = |effect| match effect {
        Effect::SetInterface { interface, identity, up } => {
            Some(format!("{} {interface} {identity}", if up { '+' } else { '-' }))
        }
        Effect::Remember(Record::Lowered { port, .. }) => Some(format!("remember {port}")),
        Effect::Forget(key) => Some(format!("forget {}", key.port)),
        _ => None,
    };
    std::iter::from_fn(|| core.poll_effect()).filter_map(said).collect()
}

#[test]
fn without_a_bridge_ports_go_down_and_at_the_end_up_again() {
    let mut core = core();
    see(&mut core, at(0), TAP0, true, "a");
    assert!(done(&mut core).is_empty(), "there was no time for a session");
    core.handle(core.poll_timeout().unwrap().max(at(2000)), Input::Timeout);
    assert_eq!(done(&mut core), ["remember tap0", "- tap0 a"], "remembered before it is done");
    see(&mut core, at(2001), TAP0, false, "a");
    assert!(done(&mut core).is_empty());
    // Somebody brings it up: still there is no bridge.
    see(&mut core, at(2002), TAP0, true, "a");
    assert_eq!(done(&mut core), ["forget the interface tap0", "remember tap0", "- tap0 a"]);
    see(&mut core, at(2003), TAP0, false, "a");
    assert_eq!(core.records().len(), 1);
    core.handle(at(2004), Input::End);
    assert_eq!(done(&mut core), ["forget the interface tap0", "+ tap0 a"]);
    see(&mut core, at(2005), TAP0, true, "a");
    assert!(done(&mut core).is_empty());
}

#[test]
fn what_somebody_else_took_down_stays_down() {
    let mut core = core();
    see(&mut core, at(0), TAP0, false, "a");
    core.handle(at(3000), Input::Timeout);
    granted(&mut core, TAP0, Some(&with(true)));
    assert!(done(&mut core).is_empty());
    see(&mut core, at(3001), TAP0, true, "a");
    granted(&mut core, TAP0, None);
    assert_eq!(done(&mut core), ["remember tap0", "- tap0 a"]);
    // It comes back before the kernel has said that it is down.
    granted(&mut core, TAP0, Some(&with(true)));
    assert_eq!(done(&mut core), ["+ tap0 a"]);
    see(&mut core, at(3002), TAP0, false, "a");
    assert!(done(&mut core).is_empty(), "it is on its way up");
    see(&mut core, at(3003), TAP0, true, "a");
    assert_eq!(done(&mut core), ["forget the interface tap0"]);
    core.handle(at(3004), Input::End);
    assert!(done(&mut core).is_empty());
}

#[test]
fn a_killed_daemon_brings_up_what_it_took_down_and_nothing_else() {
    let resumed = |identity: &str, up: bool| {
        let mut core = core();
        let records =
            ["tap0", "other"].map(|port| Record::Lowered { port: port.into(), identity: "a".into() });
        core.handle(at(0), Input::Resume { records: records.to_vec() });
        assert_eq!(done(&mut core), ["forget the interface other", "+ other a"], "it is no port any more");
        see(&mut core, at(1), TAP0, up, identity);
        let first = done(&mut core);
        granted(&mut core, TAP0, Some(&with(true)));
        (first, done(&mut core))
    };
    assert_eq!(resumed("a", false), (vec![], vec!["+ tap0 a".to_owned()]));
    let forgotten = || vec!["forget the interface tap0".to_owned()];
    assert_eq!(resumed("b", false), (forgotten(), vec![]), "another interface of that name");
    assert_eq!(resumed("a", true), (forgotten(), vec![]), "somebody has brought it up");
}

#[test]
fn the_bridge_may_take_a_port_down() {
    let mut core = core();
    see(&mut core, at(0), TAP0, true, "a");
    done(&mut core);
    // First it has but an identifier.
    granted(&mut core, TAP0, Some(&PortParameters::new(with(true).pcid)));
    assert!(done(&mut core).is_empty());
    granted(&mut core, TAP0, Some(&with(true)));
    assert!(done(&mut core).is_empty());
    granted(&mut core, TAP0, Some(&with(false)));
    assert_eq!(done(&mut core), ["remember tap0", "- tap0 a"]);
}

#[test]
fn interfaces_come_and_go() {
    let mut core = core();
    done(&mut core);
    let plug = |core: &mut Core, name: &str, there| {
        core.handle(at(5), Input::Plug { interface: name.into(), there });
        std::iter::from_fn(|| core.poll_effect()).collect::<Vec<_>>()
    };
    let ports = |core: &Core| -> Vec<(u16, String)> {
        let extended = core.ports().filter(|(_, _, kind)| *kind == PortKind::Extended);
        extended.map(|(id, name, _)| (id.0, name.to_owned())).collect()
    };
    assert!(plug(&mut core, "eth7", true).is_empty(), "no pattern has it");
    assert_eq!(plug(&mut core, "vnet0", true), [Effect::FollowPort(PortId(2))]);
    assert!(plug(&mut core, "vnet0", true).is_empty());
    // Room for one.
    let full = plug(&mut core, "vnet1", true);
    assert_eq!(full, [Effect::Event(Event::PortNoRoom { port: "vnet1".into(), room: 1 })]);
    assert!(plug(&mut core, "vnet1", true).is_empty(), "said once");
    see(&mut core, at(6), PortId(2), true, "a");
    assert_eq!(core.extender.as_ref().unwrap().ports().count(), 1);
    core.handle(at(7), Input::Link { port: PortId(2), link: Link::Absent });
    assert_eq!(ports(&core), [(1, "tap0".to_owned()), (2, "vnet1".to_owned())], "its turn");
    assert_eq!(core.extender.as_ref().unwrap().ports().filter(|p| p.pcid.is_some()).count(), 0);
    // One that waits and goes is not waited for.
    plug(&mut core, "vnet2", true);
    plug(&mut core, "vnet2", false);
    core.handle(at(8), Input::Link { port: PortId(2), link: Link::Absent });
    assert_eq!(ports(&core), [(1, "tap0".to_owned())]);
    // A reload leaves what is plugged alone, and takes away what has no pattern any more.
    plug(&mut core, "vnet3", true);
    core.handle(at(9), Input::Reload { config: CONFIG.to_owned() });
    assert_eq!(ports(&core).len(), 2);
    see(&mut core, at(9), PortId(2), true, "c");
    core.handle(at(9), Input::Reload { config: CONFIG.replace("vnet*", "veth*") });
    assert_eq!(ports(&core), [(1, "tap0".to_owned())]);
}
