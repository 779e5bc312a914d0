//! What happens to a tree while frames pass through it, and what must not happen to those.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use evb_tests::wire::Faults;
use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};

use super::{
    oracle::{Sent, Traffic, read},
    tree::{BRIDGE, Faces, Left, Place, Tree},
};

/// Changes a tree at random for as many steps; in between frames are sent.
pub(super) fn churn(tree: &mut Tree, traffic: &mut Traffic, random: &mut StdRng, steps: usize) {
    let mut watch = Watch::default();
    let mut pulled = BTreeSet::new();
    for _ in 0..steps {
        let machine = random.random_range(1..=tree.nodes.len());
        let cable = tree.nodes[machine - 1].cable;
        let said = match random.random_range(0..9) {
            0 => {
                tree.wire.restart(machine);
                format!("{machine} restarts")
            }
            1 => {
                tree.wire.restart(BRIDGE);
                "the bridge restarts".to_owned()
            }
            2 => {
                tree.wire.plug(cable, false);
                pulled.insert(cable);
                format!("{machine} loses its cable")
            }
            3 => {
                let cable = pulled.pop_first();
                cable.into_iter().for_each(|cable| tree.wire.plug(cable, true));
                format!("cable {cable:?} is back")
            }
            4 | 5 => match tree.room_for(machine).choose(random) {
                Some(to) => {
                    tree.reparent(machine, to.clone());
                    pulled.remove(&cable);
                    format!("{machine} moves to {to:?}")
                }
                None => continue,
            },
            6 => {
                let other = random.random_range(1..=tree.nodes.len());
                tree.exchange(machine, other);
                format!("{machine} and {other} change places, if behind the same")
            }
            7 => {
                let loss = random.random_range(0.0..0.3);
                let faults = Faults { loss, duplication: 0.05, jitter: Duration::from_millis(2) };
                tree.wire.weather(cable, faults);
                format!("the cable of {machine} loses {loss:.2}")
            }
            _ => {
                let mut places = tree.extended();
                places.retain(|place| place.1.starts_with('e') && tree.station(place).is_none());
                let Some(place) = places.choose(random) else { continue };
                let down = !tree.down.remove(place);
                if down {
                    tree.down.insert(place.clone());
                }
                tree.wire.carrier(place.0, &place.1, !down);
                format!("{place:?} has a carrier: {}", !down)
            }
        };
        // Shown if the seed fails.
        println!("{}: {said}", tree.wire.now());
        for _ in 0..random.random_range(1..6) {
            if let Some(sent) = traffic.any(tree) {
                watch.send(tree, sent);
            }
            let long = [1, 5, 30, 300, 3000][random.random_range(0..5)];
            tree.wire.run_for(Duration::from_millis(random.random_range(0..=long)));
            watch.look(tree);
        }
    }
    for cable in pulled {
        tree.wire.plug(cable, true);
    }
    for machine in 1..=tree.nodes.len() {
        tree.wire.weather(tree.nodes[machine - 1].cable, Faults::NONE);
    }
    watch.look(tree);
}

/// What was sent, and where it has left.
#[derive(Default)]
struct Watch {
    sent: BTreeMap<u64, Watched>,
}

struct Watched {
    sent: Sent,
    /// Its VLAN; none: it should get nowhere.
    vlan: Option<u16>,
    left: BTreeSet<Place>,
}

impl Watch {
    fn send(&mut self, tree: &mut Tree, sent: Sent) {
        let (_, tagged) = read(&sent.frame);
        let (untagged, vlans) = tree.vlans(&sent.from);
        // The port need not be in it, nor the bridge's port now.
        let vlan = tagged.or(untagged).filter(|vlan| vlans.contains(vlan));
        let vlan = vlan.filter(|_| sent.from.0 == BRIDGE || granted(tree, &sent.from));
        let (number, from, frame) = (sent.number, sent.from.clone(), sent.frame.clone());
        self.sent.insert(number, Watched { sent, vlan, left: BTreeSet::new() });
        tree.send(&from, frame);
    }

    fn look(&mut self, tree: &mut Tree) {
        for Left { place, frame, at } in tree.left() {
            let (number, tagged) = read(&frame);
            let Watched { sent, vlan, left } = self
                .sent
                .get_mut(&number)
                .unwrap_or_else(|| panic!("frame {number} at {place:?}, {at}: {frame:02x?}"));
            let what = || format!("frame {number} from {:?} at {place:?}, {at}: {frame:02x?}", sent.from);
            let Some(vlan) = *vlan else { panic!("of a port the bridge has not granted, {}", what()) };
            assert!(left.insert(place.clone()), "twice: {}", what());
            let reflects = tree.station(&place).is_some();
            assert!(place != sent.from || reflects, "to its sender: {}", what());
            let fits = |faces: &Faces| {
                let (untagged, vlans) = tree.vlans_of(&place, faces);
                vlans.contains(&vlan)
                    && tagged.or(untagged) == Some(vlan)
                    && (tagged.is_some() != (untagged == Some(vlan)))
            };
            if place.0 == BRIDGE {
                assert!(fits(&tree.faces(&place)), "in another VLAN: {}", what());
                continue;
            }
            let grants = tree.wire.get(BRIDGE).grants(tree.identity(&place));
            let mut there = grants.iter().filter(|grant| grant.covers(at, GRACE)).peekable();
            assert!(there.peek().is_some(), "at a port the bridge has not granted: {} {grants:?}", what());
            let cascade = |port: &str| port.split_once(':').unwrap().0.to_owned();
            assert!(
                there.any(|grant| fits(tree.cascade_faces(&cascade(&grant.port)))),
                "in another VLAN: {} {grants:?}",
                what()
            );
        }
    }
}

/// Whether a port is one of the bridge, or was a moment ago.
fn granted(tree: &Tree, place: &Place) -> bool {
    let grants = tree.wire.get(BRIDGE).grants(tree.identity(place));
    grants.iter().any(|grant| grant.covers(tree.wire.now(), GRACE))
}

/// A frame may be under way for as long.
const GRACE: Duration = Duration::from_millis(1);
