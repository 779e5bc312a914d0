//! Port extension: trees of port extenders are to stations what one big bridge is, and what is wrong has a name.

#![cfg(test)]

mod faults;
mod lags;
mod tree;

use ether::{EtherType, Instant, MacAddr, Tag, Vid};
use hairpin::{Frame, PortConfig, PortId, Relay, RelayKind, Verdict};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use tree::{PORTS, Tree, limits};

/// Trees of a run, each with [`FRAMES`] frames; `EVBD_SEED` asks for one.
const TREES: u64 = 300;
const FRAMES: usize = 150;

/// Every frame reaches exactly the ports it would reach were they all of one bridge, once, in the same VLAN and with the
/// same priority, and never the station that sent it.
#[test]
fn a_tree_is_as_one_big_bridge() {
    let seed = std::env::var("EVBD_SEED").ok().map(|text| text.parse::<u64>().unwrap());
    let (mut together, mut deepest) = (0, 0);
    for seed in seed.map_or(0..TREES, |seed| seed..seed + 1) {
        let mut random = StdRng::seed_from_u64(seed);
        let mut tree = Tree::grow(&mut random);
        let big = Relay::new(limits());
        let mut control = hairpin::Control::new(RelayKind::Bridge, &limits());
        for port in &tree.stations {
            control.set_port(PortConfig { extension: None, ..port.config.clone() }).unwrap();
        }
        big.publish(control.snapshot());
        let mut verdict = Verdict::new(PORTS);
        let ports: Vec<PortId> = tree.stations.iter().map(|station| station.config.id).collect();
        for n in 0..FRAMES {
            let now = Instant::from_millis(u64::try_from(n).unwrap());
            let ingress = *ports.choose(&mut random).unwrap();
            let octets = [0x45; 64];
            let frame = Frame {
                dst: destination(&mut random),
                src: MacAddr(2, 0, 0, 0, 0, random.random_range(0..24)),
                tag: random.random_bool(0.6).then(|| tag(&mut random)),
                ethertype: EtherType::IPV4,
                len: 78,
                payload: &octets,
            };
            big.process(&big.load(), now, ingress, &frame, &mut verdict);
            let mut expected: Vec<(PortId, Option<Tag>)> =
                verdict.copies().iter().map(|copy| (copy.port, copy.tag)).collect();
            expected.sort_by_key(|(port, _)| *port);
            let mut got = tree.send(now, ingress, &frame);
            got.sort_by_key(|(port, _)| *port);
            assert_eq!(got, expected, "EVBD_SEED={seed}, frame {n} on {ingress}: {frame:?}\n{tree:?}");
        }
        tree.counters_add_up();
        together += tree.together;
        deepest = deepest.max(tree.depth());
    }
    assert!(seed.is_some() || together > 1000 && deepest == 4, "{together} copies together, {deepest} tiers");
}

fn destination(random: &mut StdRng) -> MacAddr {
    match random.random_range(0..6) {
        0 => MacAddr::broadcast(),
        1 => MacAddr(1, 0, 0x5e, 1, 2, random.random_range(0..4)),
        2 => MacAddr(1, 0x80, 0xc2, 0, 0, random.random_range(0..16)),
        _ => MacAddr(2, 0, 0, 0, 0, random.random_range(0..24)),
    }
}

fn tag(random: &mut StdRng) -> Tag {
    let word = random.random_range(0..8) << 13 | random.random_range(0..2) << 12 | random.random_range(0..5);
    Tag::from_tci(EtherType::C_VLAN, word).unwrap()
}

fn vid(n: u16) -> Vid {
    Vid::new(n).unwrap()
}
