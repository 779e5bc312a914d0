//! A LAG of extended ports, of one port extender or of several, is to stations what one port is.

use std::collections::{BTreeMap, BTreeSet};

use ether::{EtherType, Instant, MacAddr, Tag};
use hairpin::{
    Control, ControlError, Extension, Frame, LagId, PortConfig, PortId, Relay, RelayKind, Role, Step, Verdict,
};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use crate::{
    FRAMES, TREES, destination, tag,
    tree::{PORTS, Tree, limits},
    vid,
};

/// Whatever members go down, come up or go away: every frame reaches the ports it would reach were each LAG one port of one
/// big bridge, once, by a member that is up, and a member's frame leaves by no other member.
#[test]
fn a_lag_is_as_one_port() {
    let seed = std::env::var("EVBD_SEED").ok().map(|text| text.parse::<u64>().unwrap());
    let mut used: BTreeMap<usize, u32> = BTreeMap::new();
    let mut pruned = 0;
    for seed in seed.map_or(0..TREES / 2, |seed| seed..seed + 1) {
        let mut random = StdRng::seed_from_u64(seed);
        let mut tree = Tree::grow_with(&mut random, 3);
        let mut big = Big::new(&tree);
        for n in 0..FRAMES {
            if random.random_bool(0.1) {
                change(&mut tree, &mut random);
                big.follow(&tree);
            }
            let now = Instant::from_millis(u64::try_from(n).unwrap());
            let up: Vec<PortId> = tree.stations.iter().filter(|s| s.config.up).map(|s| s.config.id).collect();
            let Some(ingress) = up.choose(&mut random).copied() else { break };
            let octets = [0x45; 64];
            let frame = Frame {
                dst: destination(&mut random),
                src: MacAddr(2, 0, 0, 0, 0, random.random_range(0..24)),
                tag: random.random_bool(0.6).then(|| tag(&mut random)),
                ethertype: EtherType::IPV4,
                len: 78,
                payload: &octets,
            };
            let expected = big.send(now, ingress, &frame);
            let got = tree.send(now, ingress, &frame);
            let at = || format!("EVBD_SEED={seed}, frame {n} on {ingress}: {frame:?}\n{tree:?}");
            let lag = tree.lag_of(ingress);
            for (port, _) in &got {
                assert!(up.contains(port), "by a member that is down\n{}", at());
                let same = lag.is_some() && tree.lag_of(*port) == lag;
                assert!(!same || *port == ingress, "from one member to another\n{}", at());
                *used.entry(tree.lag_of(*port).map_or(0, |lag| tree.members(lag).count())).or_default() += 1;
            }
            pruned += u32::from(lag.is_some() && frame.dst.is_broadcast());
            let mut got: Vec<_> = got.into_iter().map(|(port, tag)| (big.port(port), tag)).collect();
            got.sort_by_key(|(port, _)| *port);
            assert_eq!(got, expected, "{}", at());
        }
        tree.counters_add_up();
    }
    assert!(seed.is_some() || pruned > 100 && used.keys().max() > Some(&2), "{pruned} {used:?}");
}

/// Takes a member of a LAG down or up, or away for good.
fn change(tree: &mut Tree, random: &mut StdRng) {
    let members: Vec<PortId> =
        tree.stations.iter().filter(|s| s.config.lag.is_some()).map(|s| s.config.id).collect();
    let Some(port) = members.choose(random) else { return };
    if random.random_bool(0.1) {
        tree.remove(*port);
    } else {
        tree.set_up(*port, random.random_bool(0.6));
    }
}

/// The big bridge: a LAG is the port that was its first member.
struct Big {
    relay: Relay,
    control: Control,
    verdict: Verdict,
    ports: BTreeMap<PortId, PortId>,
}

impl Big {
    fn new(tree: &Tree) -> Self {
        let mut firsts: BTreeMap<LagId, PortId> = BTreeMap::new();
        let port = |station: &crate::tree::Station| {
            let id = station.config.id;
            (id, station.config.lag.map_or(id, |lag| *firsts.entry(lag).or_insert(id)))
        };
        let ports = tree.stations.iter().map(port).collect();
        let control = Control::new(RelayKind::Bridge, &limits());
        let mut big = Self { relay: Relay::new(limits()), control, verdict: Verdict::new(PORTS), ports };
        big.follow(tree);
        big
    }

    fn port(&self, station: PortId) -> PortId {
        self.ports[&station]
    }

    fn follow(&mut self, tree: &Tree) {
        let mut there = BTreeSet::new();
        let mut up = BTreeSet::new();
        for station in &tree.stations {
            let id = self.port(station.config.id);
            up.extend(station.config.up.then_some(id));
            let config = PortConfig { id, extension: None, lag: None, ..station.config.clone() };
            there.insert(id);
            self.control.set_port(PortConfig { up: up.contains(&id), ..config }).unwrap();
        }
        let gone: Vec<PortId> =
            self.control.ports().map(|port| port.id).filter(|id| !there.contains(id)).collect();
        gone.into_iter().for_each(|id| drop(self.control.remove_port(id)));
        self.relay.publish(self.control.snapshot());
    }

    fn send(&mut self, now: Instant, ingress: PortId, frame: &Frame<'_>) -> Vec<(PortId, Option<Tag>)> {
        let ingress = self.port(ingress);
        self.relay.process(&self.relay.load(), now, ingress, frame, &mut self.verdict);
        let mut copies: Vec<_> = self.verdict.copies().iter().map(|copy| (copy.port, copy.tag)).collect();
        copies.sort_by_key(|(port, _)| *port);
        copies
    }
}

const CASCADE: PortId = PortId(0);
const HOST: PortId = PortId(1);

fn behind(id: u16, lag: Option<LagId>) -> PortConfig {
    let pcid = ether::Pcid::new(u32::from(id)).unwrap();
    let extension = Some(Extension::Behind { cascade: CASCADE, pcid });
    PortConfig { extension, lag, ..PortConfig::lan(PortId(id)) }
}

#[test]
fn flows_of_a_lost_member_go_on_by_another_and_addresses_stay() {
    let (relay, mut control) = (Relay::new(limits()), Control::new(RelayKind::Bridge, &limits()));
    let lag = Some(LagId(4));
    control.set_port(PortConfig::new(CASCADE, Role::Cascade)).unwrap();
    control.set_port(PortConfig::lan(HOST)).unwrap();
    for id in [10, 11, 12] {
        control.set_port(behind(id, lag)).unwrap();
    }
    relay.publish(control.snapshot());
    let mut verdict = Verdict::new(PORTS);
    let frame = |dst: u8, src: u8| Frame {
        dst: MacAddr(2, 0, 0, 0, 0, dst),
        src: MacAddr(2, 0, 0, 0, 0, src),
        tag: None,
        ethertype: EtherType::IPV4,
        len: 60,
        payload: &[],
    };
    let mut send = |port: u16, frame: &Frame<'_>| {
        relay.process(&relay.load(), Instant::ZERO, PortId(port), frame, &mut verdict);
        verdict.copies().iter().map(|copy| copy.port).collect::<Vec<_>>()
    };
    // Station 1 speaks by member 11: the LAG knows it, and 12 flows to it are shared out.
    assert_eq!(send(11, &frame(100, 1)), [HOST]);
    let flows = |send: &mut dyn FnMut(u16, &Frame<'_>) -> Vec<PortId>| -> Vec<PortId> {
        (50..62).map(|n| *send(1, &frame(1, n)).as_slice().first().unwrap()).collect()
    };
    let before = flows(&mut send);
    assert_eq!(before.iter().collect::<BTreeSet<_>>().len(), 3, "{before:?}");
    let moves = relay.moves().len();
    assert_eq!(send(12, &frame(100, 1)), [HOST]);
    assert_eq!(relay.moves().len(), moves, "another member is no move");
    // The anchor goes down, then away.
    for gone in [false, true] {
        if gone {
            control.remove_port(PortId(10));
        } else {
            control.set_port(PortConfig { up: false, ..behind(10, lag) }).unwrap();
        }
        relay.publish(control.snapshot());
        let after = flows(&mut send);
        for (old, new) in before.iter().zip(&after) {
            assert!(*new != PortId(10) && (old == new || *old == PortId(10)), "{before:?} {after:?}");
        }
    }
    let trace = relay.trace(Instant::ZERO, HOST, &frame(1, 50), false);
    assert!(trace.steps.iter().any(|step| matches!(step, Step::Lag { of: 2, .. })), "{trace:?}");
    // Without members up the station is nowhere.
    for id in [11, 12] {
        control.set_port(PortConfig { up: false, ..behind(id, lag) }).unwrap();
    }
    relay.publish(control.snapshot());
    assert!(send(1, &frame(1, 50)).is_empty());
    assert!(relay.fdb().entries(Instant::ZERO).all(|entry| entry.port == HOST));
}

#[test]
fn what_cannot_be_of_a_lag() {
    let mut control = Control::new(RelayKind::Bridge, &limits());
    let (lag, id) = (Some(LagId(1)), PortId(10));
    control.set_port(PortConfig::new(CASCADE, Role::Cascade)).unwrap();
    let refused =
        |control: &mut Control, port| assert_eq!(control.set_port(port), Err(ControlError::Lag(id)));
    refused(&mut control, PortConfig { lag, ..PortConfig::lan(id) });
    refused(&mut control, PortConfig { guard: true, ..behind(10, lag) });
    control.set_port(behind(10, lag)).unwrap();
    let filters = vec![hairpin::VsiFilter { mac: None, vid: vid(1), pcp: None }];
    let entry = hairpin::VsiEntry { port: id, filters, policy: std::sync::Arc::default() };
    assert_eq!(control.open_vsi(hairpin::VsiKey(1), entry.clone()), Err(ControlError::Lag(id)));
    control.set_port(behind(10, None)).unwrap();
    control.open_vsi(hairpin::VsiKey(1), entry).unwrap();
    refused(&mut control, behind(10, lag));
}
