//! Random relays, random edits, random frames: the relay and the reference must agree on every copy, every reason,
//! every counter and every address.

#![cfg(test)]

mod reference;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use ether::{EtherType, Instant, MacAddr, Pcp, Tag, Vid};
use hairpin::{
    Control, DropReason, EdgeMode, Frame, Limits, PortConfig, PortId, Relay, RelayKind, Role, Verdict,
    VsiEntry, VsiFilter, VsiKey,
};
use proptest::{collection::vec, option, prelude::*};
use reference::Reference;

/// Few enough ports, addresses and VLANs that they meet often.
const PORTS: u16 = 6;
const VIDS: [u16; 4] = [1, 10, 20, 4094];
const LIMITS: Limits = Limits {
    ports: PORTS,
    fdb_entries: 2048,
    fdb_ageing: 20,
    downlink_addresses: 3,
    hash_seed: 99,
    flap_moves: 0,
    ..Limits::DEFAULT
};
const FRAMES: usize = 200;

#[derive(Clone, Debug)]
enum Step {
    Frame { wait: u64, ingress: PortId, frame: Frame<'static> },
    SetPort(PortConfig),
    RemovePort(PortId),
    Open(VsiKey, VsiEntry),
    Close(VsiKey),
    Mode(EdgeMode),
    Sweep,
}

fn port_id() -> impl Strategy<Value = PortId> {
    (0..PORTS).prop_map(PortId)
}

fn vid() -> impl Strategy<Value = Vid> {
    proptest::sample::select(&VIDS).prop_map(|vid| Vid::new(vid).unwrap())
}

fn pcp() -> impl Strategy<Value = Pcp> {
    (0..8_u8).prop_map(Pcp::from_low_bits)
}

fn station() -> impl Strategy<Value = MacAddr> {
    (1..8_u8).prop_map(|n| MacAddr(2, 0, 0, 0, 0, n))
}

fn destination() -> impl Strategy<Value = MacAddr> {
    prop_oneof![
        8 => station(),
        2 => Just(MacAddr::broadcast()),
        1 => Just(MacAddr(0x33, 0x33, 0xff, 0, 0, 1)),
        1 => (0..20_u8).prop_map(|low| MacAddr(1, 0x80, 0xc2, 0, 0, low)),
        1 => Just(MacAddr(3, 0x65, 0x76, 0x62, 0x64, 1)),
    ]
}

fn source() -> impl Strategy<Value = MacAddr> {
    prop_oneof![30 => station(), 1 => Just(MacAddr::zero()), 1 => Just(MacAddr(3, 0, 0, 0, 0, 1))]
}

fn tag() -> impl Strategy<Value = Tag> {
    let tpid = prop_oneof![15 => Just(EtherType::C_VLAN), 1 => Just(EtherType::S_VLAN)];
    (tpid, pcp(), any::<bool>(), option::weighted(0.8, vid())).prop_map(|(tpid, pcp, dei, vid)| Tag {
        tpid,
        pcp,
        dei,
        vid,
    })
}

fn frame() -> impl Strategy<Value = Frame<'static>> {
    let ethertype = prop_oneof![2 => Just(EtherType(0x0800)), 1 => Just(EtherType(0x88b5))];
    (destination(), source(), option::of(tag()), ethertype, 60..1514_u32)
        .prop_map(|(dst, src, tag, ethertype, len)| Frame { dst, src, tag, ethertype, len, payload: &[] })
}

fn vids() -> impl Strategy<Value = BTreeSet<Vid>> {
    vec(vid(), 0..4).prop_map(|vids| vids.into_iter().collect())
}

/// A port as this kind of relay can have it: of an edge relay, port 0 is the uplink.
fn port(kind: RelayKind) -> impl Strategy<Value = PortConfig> {
    let flags = (any::<bool>(), any::<bool>(), prop::bool::weighted(0.9));
    (port_id(), option::of(vid()), vids(), vids(), flags).prop_map(
        move |(id, pvid, untagged, tagged, flags)| {
            let (reflective, guard, up) = flags;
            let full = PortConfig {
                id,
                role: Role::Bridge,
                pvid,
                untagged,
                tagged,
                reflective,
                guard,
                up,
                ..PortConfig::new(id, Role::Bridge)
            };
            match kind {
                RelayKind::Bridge => full,
                RelayKind::Edge(_) if id.0 == 0 => {
                    PortConfig { role: Role::Uplink, reflective: false, guard: false, ..full }
                }
                RelayKind::Edge(_) => PortConfig { up, ..PortConfig::new(id, Role::Downlink) },
            }
        },
    )
}

fn vsi() -> impl Strategy<Value = VsiEntry> {
    // Most VSIs are in one VLAN, some have several, and some filters name no address.
    let filter = |vid| (option::weighted(0.7, station()), vid, option::of(pcp()));
    let one = vid().prop_flat_map(move |vid| vec(filter(Just(vid).boxed()), 1..3));
    let several = vec(filter(vid().boxed()), 2..4);
    (port_id(), prop_oneof![3 => one, 1 => several]).prop_map(|(port, filters)| VsiEntry {
        port,
        filters: filters.into_iter().map(|(mac, vid, pcp)| VsiFilter { mac, vid, pcp }).collect(),
        policy: Arc::default(),
    })
}

fn mode() -> impl Strategy<Value = EdgeMode> {
    let rest = prop_oneof![Just(EdgeMode::Isolate), Just(EdgeMode::Private), Just(EdgeMode::Passthru)];
    prop_oneof![1 => Just(EdgeMode::Veb), 1 => Just(EdgeMode::Vepa), 1 => rest]
}

fn edit(kind: RelayKind) -> impl Strategy<Value = Step> {
    let key = || (0..6_u32).prop_map(VsiKey);
    prop_oneof![
        4 => port(kind).prop_map(Step::SetPort),
        1 => port_id().prop_map(Step::RemovePort),
        6 => (key(), vsi()).prop_map(|(key, entry)| Step::Open(key, entry)),
        3 => key().prop_map(Step::Close),
        2 => mode().prop_map(Step::Mode),
        1 => Just(Step::Sweep),
    ]
}

fn run() -> impl Strategy<Value = (RelayKind, Vec<Step>)> {
    prop_oneof![Just(RelayKind::Bridge), mode().prop_map(RelayKind::Edge)].prop_flat_map(|kind| {
        let wait = prop_oneof![20 => Just(0), 5 => 1..4_u64, 1 => Just(20)];
        let one = (wait, port_id(), frame()).prop_map(|(wait, ingress, frame)| Step::Frame {
            wait,
            ingress,
            frame,
        });
        let opening = (vec(port(kind), 10..12), vec((0..6_u32, vsi()), 6));
        let steps = vec(prop_oneof![19 => one, 1 => edit(kind)], FRAMES);
        (opening, steps).prop_map(move |((ports, vsis), steps)| {
            let ports = ports.into_iter().map(Step::SetPort);
            let vsis = vsis.into_iter().map(|(key, entry)| Step::Open(VsiKey(key), entry));
            (kind, ports.chain(vsis).chain(steps).collect())
        })
    })
}

proptest! {
    #[test]
    fn relay_and_reference_agree((kind, steps) in run()) {
        let relay = Relay::new(LIMITS);
        let mut control = Control::new(kind, &LIMITS);
        let mut reference = Reference::new(kind, LIMITS);
        let mut verdict = Verdict::new(PORTS);
        let mut reader = relay.reader();
        let mut now = Instant::from_secs(1000);
        for step in steps {
            match step {
                Step::Frame { wait, ingress, frame } => {
                    now += Duration::from_secs(wait);
                    relay.process(reader.load(), now, ingress, &frame, &mut verdict);
                    let mut copies = verdict.copies().to_vec();
                    copies.sort_unstable_by_key(|copy| copy.port);
                    let expected = reference.process(now, ingress, &frame);
                    prop_assert_eq!((verdict.outcome(), copies), expected, "{:?} on {}", frame, ingress);
                    continue;
                }
                Step::SetPort(config) => {
                    control.set_port(config.clone()).unwrap();
                    reference.set_port(config);
                }
                Step::RemovePort(id) => {
                    control.remove_port(id);
                    reference.remove_port(id);
                }
                Step::Open(key, entry) => {
                    if control.open_vsi(key, entry.clone()).is_ok() {
                        reference.open_vsi(key, entry);
                    }
                }
                Step::Close(key) => {
                    control.close_vsi(key);
                    reference.close_vsi(key);
                }
                Step::Mode(mode) => {
                    if control.set_mode(mode).is_ok() {
                        reference.set_mode(mode);
                    }
                }
                Step::Sweep => {
                    relay.sweep(now);
                    reference.sweep(now);
                }
            }
            relay.publish(control.snapshot());
        }

        let mut entries = relay.fdb_entries(now);
        entries.sort_unstable_by_key(|entry| (entry.mac, entry.vid));
        prop_assert_eq!(entries, reference.fdb(now));
        for port in (0..PORTS).map(PortId) {
            let shown = relay.stats().port(port).unwrap();
            let tally = reference.tally.remove(&port).unwrap_or_default();
            prop_assert!(shown.adds_up(), "{:?}", shown);
            for reason in DropReason::ALL {
                let expected = tally.drops.get(&reason).copied().unwrap_or(0);
                prop_assert_eq!(shown.drops[reason.name()], expected, "{} on {}", reason.name(), port);
            }
            prop_assert_eq!(
                (shown.rx_frames, shown.rx_bytes, shown.forwarded, shown.punted),
                (tally.rx_frames, tally.rx_bytes, tally.forwarded, tally.punted)
            );
            prop_assert_eq!(
                (shown.reflected, shown.echoes, shown.moves),
                (tally.reflected, tally.echoes, tally.moves)
            );
        }
    }
}
