//! Relays of port extension, driven by a script: a controlling bridge with cascade ports of both framings, or a port
//! extender. Whatever comes, copies leave by channels their link can name, and never from port to port of a port extender.

use std::collections::BTreeSet;

use ether::{ChannelTag, DownTag, ECid, Framing, Instant, Pcid, Pcp, UpTag, Vid, time::Duration};
use hairpin::{
    Control, Extension, Frame, Outcome, Parameters, PortConfig, PortId, Relay, RelayKind, Role, Verdict,
};

use super::{
    relay::{LIMITS, address, tag, vid},
    script::Script,
};

pub(super) fn channels(octets: &[u8]) {
    let script = &mut Script::new(octets);
    let extender = script.flag();
    let framing = if script.flag() { Framing::Vntag } else { Framing::Etag };
    let kind = if extender { RelayKind::Extender } else { RelayKind::Bridge };
    let (relay, mut control) = (Relay::new(LIMITS), Control::new(kind, &LIMITS));
    for id in (0..LIMITS.ports).map(PortId) {
        control.set_port(port(extender, framing, id)).unwrap();
    }
    control.set_upstream(extender.then_some(PortId(0)));
    relay.publish(control.snapshot());
    let mut now = Instant::from_secs(1);
    while let Some(step) = script.step(9) {
        let at = PortId(u16::from(script.octet()) % LIMITS.ports);
        let edited = match step {
            0..4 => {
                let channel = match step {
                    // As a carrier would read it.
                    0 => {
                        let octets = script.string();
                        let framing = control.port(at).map_or(framing, |port| port.framing);
                        if script.flag() {
                            UpTag::parse(framing, octets).ok().map(ChannelTag::Up)
                        } else {
                            DownTag::parse(framing, octets).ok().map(ChannelTag::Down)
                        }
                    }
                    1 => pcid(script).map(|source| {
                        ChannelTag::Up(UpTag { source, pcp: Pcp::from_low_bits(script.octet()), dei: false })
                    }),
                    2 => ecid(script).map(|to| {
                        let source = pcid(script);
                        ChannelTag::Down(DownTag {
                            to,
                            source,
                            pcp: Pcp::from_low_bits(script.octet()),
                            dei: true,
                        })
                    }),
                    _ => None,
                };
                let (dst, src, tag) = (address(script), address(script), tag(script));
                let ethertype =
                    ether::EtherType([0x0800, 0x8940, 0x893f, 0x8926][usize::from(script.octet() & 3)]);
                let frame = Frame { dst, src, tag, ethertype, len: 60, payload: &[] };
                process(&relay, &control, now, at, channel, &frame);
                false
            }
            4 => {
                let bits = script.octet();
                let Some(old) = control.port(at).cloned() else { continue };
                let untagged = vid(script).into_iter().collect();
                let extension = match old.extension.clone() {
                    Some(Extension::End(mut own)) => {
                        own.blocked = bits & 2 != 0;
                        Some(Extension::End(own))
                    }
                    other => other,
                };
                let reflective = old.role == Role::Bridge && bits & 4 != 0;
                let new = PortConfig { up: bits & 1 == 0, reflective, untagged, extension, ..old };
                control.set_port(new).unwrap();
                true
            }
            5 => {
                let members = members(script);
                if let Some(ecid) = ecid(script) {
                    if extender {
                        control.set_channel(ecid, members);
                    } else {
                        let channel = Some((ecid, members)).filter(|(ecid, _)| ecid.is_group());
                        control.set_flood(at, vid(script).unwrap_or(Vid::DEFAULT), channel);
                    }
                }
                true
            }
            6 => {
                control.set_upstream(Some(PortId(at.0 & 1)).filter(|_| extender && script.flag()));
                true
            }
            7 => {
                // Those behind a cascade port go before it.
                if at.0 > 1 && control.remove_port(at).is_none() {
                    // What it was behind may have gone.
                    let _ = control.set_port(port(extender, framing, at));
                }
                true
            }
            _ => {
                now += Duration::from_secs(script.octet().into());
                relay.sweep(now);
                false
            }
        };
        if edited {
            relay.publish(control.snapshot());
        }
    }
    for port in (0..LIMITS.ports).map(PortId) {
        assert!(relay.stats().port(port).unwrap().adds_up());
    }
}

/// Ports 0 and 1 are upstream or cascade ports, 2 is a port extender's cascade port, 7 a bridge's own.
fn port(extender: bool, framing: Framing, id: PortId) -> PortConfig {
    let own = Pcid::new(u32::from(id.0) + 1).unwrap();
    let end = |role| PortConfig {
        extension: Some(Extension::End(Parameters::new(own).into())),
        framing,
        ..PortConfig::new(id, role)
    };
    match (extender, id.0) {
        (true, 0 | 1) => PortConfig { framing, ..PortConfig::new(id, Role::Upstream) },
        (true, 2) => end(Role::Cascade),
        (true, _) => end(Role::Extended),
        (false, 0) => PortConfig::new(id, Role::Cascade),
        (false, 1) => PortConfig { framing, ..PortConfig::new(id, Role::Cascade) },
        (false, 7) => PortConfig::lan(id),
        (false, _) => {
            let behind = Extension::Behind { cascade: PortId(id.0 % 2), pcid: own };
            PortConfig { extension: Some(behind), ..PortConfig::lan(id) }
        }
    }
}

fn process(
    relay: &Relay,
    control: &Control,
    now: Instant,
    at: PortId,
    tag: Option<ChannelTag>,
    frame: &Frame<'_>,
) {
    let mut verdict = Verdict::new(LIMITS.ports);
    match tag {
        Some(tag) => relay.process_tagged(&relay.load(), now, at, tag, frame, &mut verdict),
        None => relay.process(&relay.load(), now, at, frame, &mut verdict),
    }
    assert_eq!(verdict.outcome() == Outcome::Forward, !verdict.copies().is_empty());
    let mut left = BTreeSet::new();
    for copy in verdict.copies() {
        assert!(left.insert(copy.port), "two copies to one port");
        let to = control.port(copy.port).unwrap();
        assert!(to.up, "{to:?} is down");
        let link = copy.via.map(|via| (control.port(via.port).unwrap(), via.tag));
        let names = link.is_none_or(|(link, tag)| match link.role {
            Role::Upstream => UpTag::parse(link.framing, tag.as_slice()).is_ok(),
            Role::Cascade => DownTag::parse(link.framing, tag.as_slice()).is_ok(),
            _ => false,
        });
        assert!(names, "{copy:?}");
        match &to.extension {
            Some(Extension::Behind { cascade, .. }) => {
                assert_eq!(link.map(|(link, _)| link.id), Some(*cascade));
            }
            Some(Extension::End(own)) => {
                assert!(!own.blocked, "blocked");
                let from = control.port(at).unwrap();
                assert_eq!(from.role, Role::Upstream, "from port to port");
                if let Some(ChannelTag::Down(DownTag { to, source: Some(source), .. })) = tag {
                    assert!(!to.is_group() || source != own.pcid, "to its sender");
                }
            }
            None => assert_eq!(link.is_some(), to.role == Role::Upstream),
        }
        if control.kind() == RelayKind::Bridge && copy.reflected {
            assert!(to.reflective);
        }
    }
}

/// Few enough that they meet often.
fn pcid(script: &mut Script<'_>) -> Option<Pcid> {
    Pcid::new(u32::from(script.octet() % 12))
}

fn ecid(script: &mut Script<'_>) -> Option<ECid> {
    let octet = script.octet();
    if octet & 0x80 == 0 { pcid(script).map(ECid::from) } else { ECid::new(0x10_0001 + u32::from(octet & 3)) }
}

fn members(script: &mut Script<'_>) -> BTreeSet<PortId> {
    // Those by which others are reached are no members.
    let bits = script.octet() & !3;
    (0..LIMITS.ports).filter(|n| bits >> n & 1 == 1).map(PortId).collect()
}
