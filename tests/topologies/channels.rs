//! S-channels: whatever happens to either end, both come to have the same channels under the same S-VLANs, no S-VLAN is
//! two channels', and no frame of one channel ever arrives in another.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ether::{MacAddr, frame};
use evb_tests::wire::{Arrived, DATA, Faults, Wire};
use evbd::Event;
use hairpin::EdgeMode;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{BRIDGE, STATION, mac, seeds};

/// A station with a VSI in the default channel and one in each of `channels`.
fn station(channels: &BTreeSet<u8>) -> String {
    let list: Vec<String> =
        channels.iter().map(|n| format!("{{ name = \"c{n}\", id = {n}, mode = \"vepa\" }}")).collect();
    let mut text = format!(
        "role = \"station\"\n[evb]\nmode = \"veb\"\n[[port]]\ninterface = \"up\"\nkind = \"uplink\"\nchannels = [{}]\n",
        list.join(", ")
    );
    for n in std::iter::once(&1).chain(channels) {
        let channel = if *n == 1 { String::new() } else { format!("channel = \"c{n}\"\n") };
        text += &format!(
            "[[vsi]]\nname = \"vm{n}\"\ninterface = \"vm{n}\"\nid = \"6b1d0a58-0000-4000-8000-0000000000{n:02x}\"\n\
             type = 1\nversion = 1\nmac = \"52:54:00:00:00:{n:02x}\"\n{channel}"
        );
    }
    text
}

fn bridge(low: u16, high: u16) -> String {
    format!(
        "role = \"bridge\"\n[[profile]]\nname = \"web\"\ntype = 1\nversion = 1\nvlans = [100]\n\
         [[port]]\ninterface = \"down\"\nkind = \"station\"\nsvids = \"{low}-{high}\"\n"
    )
}

fn joined(seed: u64, channels: &BTreeSet<u8>, low: u16, high: u16, faults: Faults) -> (Wire, usize) {
    super::joined(seed, &station(channels), &bridge(low, high), faults)
}

/// A frame that says by which channel it goes.
fn data(channel: &str) -> Vec<u8> {
    frame::build(MacAddr::new(2, 9, 0, 0, 0, 1), MacAddr::new(2, 9, 0, 0, 0, 2), DATA, channel.as_bytes())
}

/// Which channel a port ends.
fn channel(port: &str) -> &str {
    port.split_once('/').map_or("1", |(_, scid)| scid)
}

/// Sends a frame by every channel there is, at both ends.
fn chatter(wire: &mut Wire, channels: impl IntoIterator<Item = u8>) {
    let ends = channels.into_iter().flat_map(|n| {
        let name = |interface: &str| if n == 1 { interface.to_owned() } else { format!("{interface}/{n}") };
        [(STATION, name("up")), (BRIDGE, name("down"))]
    });
    for (machine, port) in ends {
        wire.send(machine, &port, &data(channel(&port)));
    }
}

/// What arrived did so in its own channel; how much.
fn nothing_strayed(wire: &Wire) -> usize {
    let received = [STATION, BRIDGE].into_iter().flat_map(|machine| &wire.get(machine).received);
    received
        .inspect(|Arrived { port, frame, .. }| {
            let said = frame[14..].split(|octet| *octet == 0).next().unwrap();
            assert_eq!(channel(port).as_bytes(), said, "a frame strayed into {port}");
        })
        .count()
}

fn maps(wire: &Wire) -> [BTreeMap<String, u16>; 2] {
    [wire.get(STATION).channels("up"), wire.get(BRIDGE).channels("down")]
}

/// Both ends have these channels, each its own S-VLAN of the pool; VSIs are associated and relays as configured.
fn settled(wire: &Wire, channels: &BTreeSet<u8>, low: u16, high: u16) -> bool {
    let [station, bridge] = maps(wire);
    let svids: BTreeSet<u16> = bridge.values().copied().collect();
    let served = usize::from(high - low + 1).min(channels.len());
    station == bridge
        && bridge.len() == served
        && svids.len() == served
        && svids.iter().all(|svid| (low..=high).contains(svid))
        && bridge.keys().all(|scid| channels.contains(&scid.parse().unwrap()))
        && bridge.keys().all(|scid| {
            let n = scid.parse().unwrap();
            let uplink = wire.get(STATION).port(&format!("up/{n}"));
            wire.get(BRIDGE).admitted(&format!("down/{n}")) == [(mac(n), 100)]
                && wire.get(BRIDGE).reflects(&format!("down/{n}"))
                && wire.get(STATION).admitted(&format!("vm{n}")) == [(mac(n), 100)]
                && wire.get(STATION).modes.get(&uplink) == Some(&EdgeMode::Vepa)
        })
        && wire.get(BRIDGE).admitted("down") == [(mac(1), 100)]
        && !wire.get(BRIDGE).reflects("down")
}

#[test]
fn three_channels_each_with_a_relay_of_its_own() {
    let channels = BTreeSet::from([2, 3, 167]);
    let (mut wire, _) = joined(1, &channels, 100, 199, Faults::NONE);
    let start = wire.now();
    assert!(wire.run_until(start + Duration::from_secs(10), |w| settled(w, &channels, 100, 199)));
    let map = maps(&wire)[0].clone();
    assert_eq!([map["2"], map["3"], map["167"]], [100, 101, 102]);
    // What the bridge said in channels the station did not know yet.
    let early = wire.get(STATION).unknown;
    chatter(&mut wire, [1, 2, 3, 167]);
    wire.run_for(Duration::from_secs(3600));
    assert!(settled(&wire, &channels, 100, 199));
    assert_eq!(nothing_strayed(&wire), 8);
    assert_eq!((wire.get(STATION).unknown, wire.get(BRIDGE).unknown), (early, 0));
}

#[test]
fn a_channel_that_goes_takes_its_vsis_and_no_others() {
    let channels = BTreeSet::from([2, 3]);
    let (mut wire, _) = joined(2, &channels, 100, 199, Faults::NONE);
    let start = wire.now();
    assert!(wire.run_until(start + Duration::from_secs(10), |w| settled(w, &channels, 100, 199)));
    let before = wire.get(BRIDGE).events.len();
    let left = BTreeSet::from([3]);
    wire.reload(STATION, &station(&left));
    let start = wire.now();
    assert!(wire.run_until(start + Duration::from_secs(5), |w| settled(w, &left, 100, 199)));
    assert!(!wire.get(BRIDGE).ports().contains(&"down/2".to_owned()));
    wire.run_for(Duration::from_secs(60));
    // Nothing happened on the channels that stay.
    let quiet = |port: &str| !matches!(port, "down" | "down/3");
    for (_, event) in &wire.get(BRIDGE).events[before..] {
        match event {
            Event::BridgeVsi { port, .. } | Event::Evb { port, .. } | Event::LinkDown { port } => {
                assert!(quiet(port), "{event:?}");
            }
            _ => {}
        }
    }
    let gone = |(_, e): &(_, Event)| matches!(e, Event::ChannelDown { scid, .. } if scid.get() == 2);
    assert!(wire.get(BRIDGE).events[before..].iter().any(gone));
    wire.reload(STATION, &station(&channels));
    let start = wire.now();
    assert!(wire.run_until(start + Duration::from_secs(10), |w| settled(w, &channels, 100, 199)));
}

#[test]
fn an_empty_pool_serves_when_it_can() {
    let channels = BTreeSet::from([2, 3, 4]);
    let (mut wire, _) = joined(3, &channels, 100, 101, Faults::NONE);
    let start = wire.now();
    assert!(wire.run_until(start + Duration::from_secs(10), |w| settled(w, &channels, 100, 101)));
    wire.reload(BRIDGE, &bridge(100, 102));
    let start = wire.now();
    assert!(wire.run_until(start + Duration::from_secs(5), |w| settled(w, &channels, 100, 102)));
}

/// Restarted with its journal, a bridge gives nobody another S-VLAN, and no VSI notices.
#[test]
fn a_restart_of_the_bridge_renumbers_nothing() {
    let channels = BTreeSet::from([2, 3, 4]);
    let (mut wire, _) = joined(4, &channels, 100, 199, Faults::NONE);
    let start = wire.now();
    assert!(wire.run_until(start + Duration::from_secs(10), |w| settled(w, &channels, 100, 199)));
    let without_two = BTreeSet::from([3, 4]);
    wire.reload(STATION, &station(&without_two));
    wire.run_for(Duration::from_secs(10));
    let (before, events) = (maps(&wire), wire.get(STATION).events.len());
    wire.kill(BRIDGE);
    wire.start(BRIDGE);
    assert_eq!(maps(&wire), before, "channels are there before anything is heard");
    wire.run_for(Duration::from_secs(60));
    assert!(settled(&wire, &without_two, 100, 199));
    assert_eq!(maps(&wire), before);
    let lost = |e: &Event| matches!(e, Event::ChannelDown { .. } | Event::EvbPeerLost { .. });
    assert!(!wire.get(STATION).events[events..].iter().any(|(_, e)| lost(e)));
    // Without its journal it takes the station's word.
    wire.restart(BRIDGE);
    wire.run_for(Duration::from_secs(60));
    assert_eq!(maps(&wire), before);
    wire.restart(STATION);
    wire.run_for(Duration::from_secs(60));
    assert_eq!(maps(&wire), before);
}

/// Anything at any time on a bad wire, with traffic in all channels; then peace, and agreement.
#[test]
fn both_ends_agree_whatever_happened() {
    seeds(200, |seed| {
        let mut random = StdRng::seed_from_u64(seed);
        let bad = Faults {
            loss: random.random_range(0.0..0.4),
            duplication: 0.1,
            jitter: Duration::from_millis(random.random_range(0..300)),
        };
        let mut channels: BTreeSet<u8> = (2..2 + random.random_range(0..4)).collect();
        let (mut low, mut high) = (100, 103);
        let (mut wire, cable) = joined(seed, &channels, low, high, bad);
        for _ in 0..20 {
            match random.random_range(0..9) {
                0 | 1 => {
                    let n = random.random_range(2..8);
                    if !channels.remove(&n) {
                        channels.insert(n);
                    }
                    wire.reload(STATION, &station(&channels));
                }
                2 => {
                    low = random.random_range(100..104);
                    high = low + random.random_range(0..4);
                    wire.reload(BRIDGE, &bridge(low, high));
                }
                3 => wire.restart(STATION),
                4 => wire.restart(BRIDGE),
                5 => {
                    let machine = if random.random() { STATION } else { BRIDGE };
                    wire.kill(machine);
                    wire.start(machine);
                }
                6 => {
                    wire.plug(cable, false);
                    wire.run_for(Duration::from_secs(random.random_range(0..200)));
                    wire.plug(cable, true);
                }
                _ => {}
            }
            for _ in 0..random.random_range(0..20) {
                chatter(&mut wire, 1..8);
                wire.run_for(Duration::from_millis(random.random_range(0..1500)));
            }
            let [_, bridge] = maps(&wire);
            let svids: BTreeSet<u16> = bridge.values().copied().collect();
            assert_eq!(svids.len(), bridge.len(), "an S-VLAN of two channels: {bridge:?}");
        }
        wire.weather(cable, Faults::NONE);
        let start = wire.now();
        let peace = wire.run_until(start + Duration::from_secs(400), |w| settled(w, &channels, low, high));
        assert!(peace, "no agreement on {channels:?} from {low}-{high}: {:?}", maps(&wire));
        chatter(&mut wire, 1..8);
        wire.run_for(Duration::from_secs(1));
        assert!(nothing_strayed(&wire) > 0);
    });
}
