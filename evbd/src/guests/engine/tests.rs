//! Domains and interfaces in every order that matters.

use wildmatch::WildMatch;

use super::*;
use crate::{
    config::TapRule,
    guests::{Port, Type},
};

const NOW: Instant = Instant::ZERO;

fn vsi(type_id: u32) -> Type {
    Type { type_id: vdp::TypeId::new(type_id).unwrap(), type_version: vdp::TypeVersion(1), ..Type::default() }
}

fn guests(rule: Option<Type>, libvirt: bool) -> Guests {
    let taps = vec![TapRule { interface: WildMatch::new("vnet*"), vsi: rule }];
    let libvirt = libvirt.then(|| "system".to_owned());
    let config = GuestsConfig { taps, libvirt, detach: true, ..GuestsConfig::default() };
    Guests::new(config, BTreeSet::from(["vnet9".to_owned()]))
}

fn mac(last: u8) -> MacAddr {
    MacAddr(0x52, 0x54, 0, 0, 0, last)
}

fn tap(last: u8, bridge: Option<&str>) -> Option<Tap> {
    let mac = MacAddr(0xfe, 0x54, 0, 0, 0, last);
    Some(Tap { mac, ifindex: u32::from(last), bridge: bridge.map(str::to_owned) })
}

fn domain(tap: Option<&str>, vsi: Option<Type>) -> Domain {
    let nics = vec![Nic { mac: mac(1), tap: tap.map(str::to_owned), vsi }];
    Domain { uuid: "u".into(), name: "web".into(), nics, incoming: false }
}

/// What is ordered, in short; every order is taken.
fn ordered(guests: &mut Guests) -> Vec<String> {
    let mut said = Vec::new();
    while let Some(output) = guests.poll_output() {
        let vsi = |vsi| match vsi {
            Which::Known(id) => id,
            Which::Given(vsi) => format!("{}={} type {}", vsi.name, vsi.id, vsi.type_id.get()),
        };
        said.push(match output {
            Output::Order { interface, order } => {
                guests.answered(NOW, &interface, Ok(()));
                format!("{interface} {:?} {}", order.command, vsi(order.vsi))
            }
            Output::End(order) => format!("{:?} {}", order.command, vsi(order.vsi)),
            Output::Detach { interface, .. } => format!("{interface} out of its bridge"),
            Output::Watch { interface, wanted } => format!("{interface} watched {wanted}"),
        });
    }
    said
}

#[test]
fn a_tap_is_what_its_name_says() {
    let mut guests = guests(Some(vsi(5)), false);
    guests.see(NOW, "vnet0", tap(1, None));
    assert_eq!(ordered(&mut guests), ["vnet0 Associate vnet0=52:54:00:00:00:01 type 5"]);
    guests.see(NOW, "vnet0", tap(1, None));
    // It ends with its interface, and is ordered anew with the next of that name.
    guests.see(NOW, "vnet0", None);
    assert!(ordered(&mut guests).is_empty() && guests.rows().is_empty());
    guests.see(NOW, "vnet0", tap(2, None));
    assert_eq!(ordered(&mut guests), ["vnet0 Associate vnet0=52:54:00:00:00:02 type 5"]);
    // No concern of ours: another name, a VSI of the configuration, a tap that is not libvirt's.
    guests.see(NOW, "tap0", tap(3, None));
    guests.see(NOW, "vnet9", tap(3, None));
    guests.see(NOW, "vnet8", Some(Tap { mac: mac(3), ifindex: 3, bridge: None }));
    assert!(ordered(&mut guests).is_empty());
    let because: Vec<_> =
        guests.rows().iter().map(|row| row["because"].as_str().unwrap_or("").to_owned()).collect();
    assert_eq!(because, ["", "no domain says which address its VM has", "a [[vsi]] of the configuration"]);
}

#[test]
fn what_a_domain_says_counts_before_the_name() {
    let mut guests = guests(Some(vsi(5)), false);
    guests.see(NOW, "vnet0", tap(1, None));
    ordered(&mut guests);
    guests.hear(NOW, Word::Runs(domain(Some("vnet0"), Some(vsi(6)))));
    assert_eq!(ordered(&mut guests), ["vnet0 watched true", "vnet0 Associate web=52:54:00:00:00:01 type 6"]);
    // Another identifier is another VSI: the first one ends.
    let id = "6b1d0a58-9c2e-4f6e-8a53-1c55b1a4d001";
    let other = Type { id: Some(id.parse().unwrap()), ..vsi(6) };
    guests.hear(NOW, Word::Runs(domain(Some("vnet0"), Some(other))));
    assert_eq!(ordered(&mut guests), ["DeAssociate 52:54:00:00:00:01"]);
    // The interface is not free before the bridge has answered.
    let due = guests.poll_timeout().unwrap();
    guests.handle_timeout(due);
    assert_eq!(ordered(&mut guests), [format!("vnet0 Associate web={id} type 6")]);
    guests.hear(NOW, Word::Gone("u".into()));
    assert_eq!(ordered(&mut guests), ["vnet0 watched false", &format!("DeAssociate {id}")]);
}

#[test]
fn a_network_says_it_where_the_domain_does_not() {
    let mut guests = guests(None, false);
    guests.see(NOW, "vnet0", tap(1, Some("virbr0")));
    guests.hear(NOW, Word::Port(Port { owner: "u".into(), mac: mac(1), vsi: Some(vsi(7)) }));
    assert!(ordered(&mut guests).is_empty());
    // A hook of a domain that is starting may have no name for the interface.
    guests.hear(NOW, Word::Starts(domain(None, None)));
    assert_eq!(
        ordered(&mut guests),
        ["vnet0 out of its bridge", "vnet0 Associate web=52:54:00:00:00:01 type 7"]
    );
    guests.hear(NOW, Word::PortGone(Port { owner: "u".into(), mac: mac(1), vsi: None }));
    assert_eq!(ordered(&mut guests), ["DeAssociate 52:54:00:00:00:01"]);
}

#[test]
fn one_that_comes_from_another_host_waits() {
    for libvirt in [false, true] {
        let mut guests = guests(None, libvirt);
        if libvirt {
            guests.follow(NOW, Ok(()));
        }
        guests.hear(NOW, Word::Comes("u".into()));
        guests.see(NOW, "vnet0", tap(1, None));
        guests.hear(NOW, Word::Starts(domain(Some("vnet0"), Some(vsi(6)))));
        let command = if libvirt { "PreAssociateRr" } else { "Associate" };
        let wanted = format!("vnet0 {command} web=52:54:00:00:00:01 type 6");
        assert_eq!(ordered(&mut guests), ["vnet0 watched true", &wanted]);
        if libvirt {
            guests.hear(NOW, Word::Runs(domain(Some("vnet0"), Some(vsi(6)))));
            assert_eq!(ordered(&mut guests), ["vnet0 Associate web=52:54:00:00:00:01 type 6"]);
        }
        // Suspended to go elsewhere it is what it was, until it is gone.
        guests.hear(NOW, Word::All(vec![Domain { incoming: true, ..domain(Some("vnet0"), Some(vsi(6))) }]));
        assert!(ordered(&mut guests).is_empty());
        guests.hear(NOW, Word::All(vec![]));
        assert_eq!(ordered(&mut guests), ["vnet0 watched false", "DeAssociate 52:54:00:00:00:01"]);
    }
}

#[test]
fn what_is_refused_is_tried_again_ever_more_slowly() {
    let mut guests = guests(Some(vsi(5)), false);
    guests.see(NOW, "vnet0", tap(1, None));
    let (mut now, mut pauses) = (NOW, Vec::new());
    for _ in 0..14 {
        assert!(matches!(guests.poll_output(), Some(Output::Order { .. })) && guests.poll_output().is_none());
        guests.answered(now, "vnet0", Err("no".into()));
        assert_eq!(guests.rows()[0]["because"], "no");
        let due = guests.poll_timeout().unwrap();
        pauses.push((due - now).as_millis());
        now = due;
        guests.handle_timeout(now);
    }
    assert_eq!((pauses[0], pauses[1], pauses[13]), (50, 100, 60_000));
}
