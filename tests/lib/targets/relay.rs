//! The relay, driven by a script.

use std::sync::Arc;

use ether::{EtherType, FrameView, Instant, MacAddr, Pcp, Tag, Vid, mac, time::Duration};
use hairpin::{
    Control, DropReason, EdgeMode, Frame, Limits, Outcome, PortConfig, PortId, Relay, RelayKind, Role,
    Verdict, VsiEntry, VsiFilter, VsiKey,
};

use super::script::Script;

pub(super) fn relay(octets: &[u8]) {
    let script = &mut Script::new(octets);
    let mode = |octet: u8| {
        use EdgeMode::{Isolate, Passthru, Private, Veb, Vepa};
        [Veb, Vepa, Isolate, Private, Passthru][usize::from(octet) % 5]
    };
    let kind = match script.octet() {
        0 => RelayKind::Bridge,
        n => RelayKind::Edge(mode(n)),
    };
    let relay = Relay::new(LIMITS);
    let mut control = Control::new(kind, &LIMITS);
    let mut now = Instant::from_secs(1);
    for id in (0..LIMITS.ports).map(PortId) {
        let role = if id == PortId(0) { Role::Uplink } else { Role::Downlink };
        let port = if kind == RelayKind::Bridge { PortConfig::lan(id) } else { PortConfig::new(id, role) };
        control.set_port(port).unwrap();
    }
    relay.publish(control.snapshot());
    while let Some(step) = script.step(9) {
        let port = PortId(script.octet().into()).min(PortId(LIMITS.ports));
        let edited = match step {
            0 => {
                let octets = script.string();
                let len = u32::try_from(octets.len()).unwrap();
                match FrameView::parse(octets) {
                    Ok(FrameView { dst, src, tag, ethertype, payload }) => {
                        let frame = Frame { dst, src, tag, ethertype, len, payload };
                        process(&relay, &control, now, port, frame);
                    }
                    Err(_) => relay.reject(port, len, DropReason::Malformed),
                }
                false
            }
            1..4 => {
                let (dst, src, tag) = (address(script), address(script), tag(script));
                let ethertype = if step == 3 { EtherType::PROBE } else { EtherType(0x0800) };
                let frame = Frame { dst, src, tag, ethertype, len: 60, payload: &[] };
                process(&relay, &control, now, port, frame);
                false
            }
            4 => {
                let bits = script.octet();
                let Some(old) = control.port(port).cloned() else { continue };
                let bridge = old.role == Role::Bridge;
                let pvid = vid(script).filter(|_| old.role != Role::Downlink);
                let flags = |bit: u8| bits & bit != 0;
                let (up, reflective, guard) = (!flags(1), bridge && flags(2), bridge && flags(4));
                let tagged = vid(script).into_iter().filter(|_| old.role != Role::Downlink).collect();
                control.set_port(PortConfig { up, reflective, guard, pvid, tagged, ..old }).unwrap();
                true
            }
            5 => {
                let key = VsiKey(u32::from(script.octet() & 7));
                let filters = (0..=script.octet() & 3).filter_map(|_| {
                    let mac = Some(address(script)).filter(|_| script.octet() & 3 != 0);
                    Some(VsiFilter { mac, vid: vid(script)?, pcp: Pcp::new(script.octet()) })
                });
                let filters: Vec<_> = filters.collect();
                control.open_vsi(key, VsiEntry { port, filters, policy: Arc::default() }).is_ok()
            }
            6 => control.close_vsi(VsiKey(u32::from(script.octet() & 7))).is_some(),
            7 => {
                let removed = script.octet() == 0 && control.remove_port(port).is_some();
                control.set_mode(mode(script.octet())).is_ok() || removed
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
    assert!(relay.fdb().len() <= relay.fdb().capacity());
    relay.fdb_entries(now);
}

/// Copies are for other ports that are up, or back where that is allowed; without copies there is a reason.
fn process(relay: &Relay, control: &Control, now: Instant, ingress: PortId, frame: Frame<'_>) {
    let mut verdict = Verdict::new(LIMITS.ports);
    relay.process(&relay.load(), now, ingress, &frame, &mut verdict);
    assert_eq!(verdict.outcome() == Outcome::Forward, !verdict.copies().is_empty());
    let reserved = mac::is_reserved(frame.dst);
    match verdict.outcome() {
        Outcome::Punt(_) => assert!(reserved),
        Outcome::Drop(DropReason::NoPort) => assert_eq!(control.port(ingress), None),
        Outcome::Drop(_) => {}
        Outcome::Forward => assert!(!reserved && mac::is_station(frame.src)),
    }
    let mut ports: Vec<PortId> = verdict.copies().iter().map(|copy| copy.port).collect();
    ports.sort();
    ports.dedup();
    assert_eq!(ports.len(), verdict.copies().len(), "two copies to one port");
    for copy in verdict.copies() {
        let port = control.port(copy.port).unwrap();
        assert!(port.up && copy.reflected == (copy.port == ingress) && (!copy.reflected || port.reflective));
    }
}

/// Few enough addresses and VLANs that they meet often.
pub(super) fn address(script: &mut Script<'_>) -> MacAddr {
    match script.octet() % 8 {
        0 => MacAddr::broadcast(),
        1 => MacAddr(1, 0x80, 0xc2, 0, 0, script.octet() & 0x1f),
        2 => mac::PROBE_GROUP,
        low => MacAddr(2, 0, 0, 0, 0, low),
    }
}

pub(super) fn vid(script: &mut Script<'_>) -> Option<Vid> {
    [None, Vid::new(1), Vid::new(100), Vid::new(4094)][usize::from(script.octet() & 3)]
}

pub(super) fn tag(script: &mut Script<'_>) -> Option<Tag> {
    let tpid = match script.octet() % 8 {
        0..4 => return None,
        4 => EtherType::S_VLAN,
        _ => EtherType::C_VLAN,
    };
    Some(Tag { tpid, pcp: Pcp::from_low_bits(script.octet()), dei: false, vid: vid(script) })
}

pub(super) const LIMITS: Limits = Limits {
    ports: 8,
    fdb_entries: 64,
    fdb_ageing: 20,
    downlink_addresses: 3,
    hash_seed: 1,
    ..Limits::DEFAULT
};
