//! The same frames into two relays, one with a fast path and one without: the same come out, and are counted.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Write},
    sync::{Arc, mpsc::sync_channel},
    time::Duration,
};

use carrier::{Options, PacketPort, Worker, WorkerHandle, WorkerOptions};
use ether::{EtherType, MacAddr, Pcp, Tag, Vid};
use hairpin::{
    Control, Limits, PortConfig, PortId, Relay, RelayKind, Role, VsiEntry, VsiFilter, VsiKey, policy::Policy,
};

use crate::{
    Switch,
    lab::{Ns, Rng, readable, until},
};

const PORTS: u16 = 5;

/// A relay on taps: what is written to one comes in there, what is read has gone out.
struct Side {
    taps: Vec<File>,
    relay: Arc<Relay>,
    fast: Option<Switch>,
    _plain: Option<(Ns, WorkerHandle)>,
    /// What has come out of each tap.
    out: Vec<Vec<Vec<u8>>>,
}

fn vid(vid: u16) -> Vid {
    Vid::new(vid).unwrap()
}

fn mac(n: usize) -> MacAddr {
    MacAddr(2, 0, 0, 0, 0, u8::try_from(n).unwrap())
}

/// Two LAN ports that differ in what is tagged, one with another VLAN for what is not, and two with VSIs: one reflects, one
/// sets priorities and denies something.
fn control() -> Control {
    let mut control = Control::new(RelayKind::Bridge, &Limits::default());
    let lan = |id: u16, pvid: u16, tagged: &[u16]| PortConfig {
        pvid: Some(vid(pvid)),
        untagged: [vid(pvid)].into(),
        tagged: tagged.iter().map(|n| vid(*n)).collect(),
        ..PortConfig::new(PortId(id), Role::Bridge)
    };
    control.set_port(lan(0, 1, &[100, 200])).unwrap();
    control.set_port(lan(1, 100, &[1])).unwrap();
    control.set_port(lan(2, 200, &[100])).unwrap();
    for (id, reflective) in [(3, true), (4, false)] {
        let port = PortConfig { guard: true, reflective, ..PortConfig::new(PortId(id), Role::Bridge) };
        control.set_port(port).unwrap();
    }
    let policies = [
        serde_json::json!({}),
        serde_json::json!({}),
        serde_json::json!({ "pcp": { "set": 6 } }),
        serde_json::json!({ "egress": [{ "action": "deny", "src_mac": mac(1).to_string() }] }),
    ];
    for (n, policy) in (0_u16..).zip(policies) {
        let policy: Policy = serde_json::from_value(policy).unwrap();
        let filters = vec![VsiFilter { mac: Some(mac(usize::from(n) + 6)), vid: vid(100), pcp: Pcp::new(2) }];
        let entry = VsiEntry { port: PortId(3 + n / 2), filters, policy: Arc::new(policy) };
        control.open_vsi(VsiKey(n.into()), entry).unwrap();
    }
    control
}

impl Side {
    fn new(fast: bool) -> Self {
        let ns = Ns::new();
        ns.run(|| {
            for of in ["all", "default"] {
                std::fs::write(format!("/proc/sys/net/ipv6/conf/{of}/disable_ipv6"), "1").unwrap();
            }
        });
        let names: Vec<String> = (0..PORTS).map(|n| format!("t{n}")).collect();
        let taps: Vec<File> = names.iter().map(|name| ns.tap(name)).collect();
        let out = vec![Vec::new(); taps.len()];
        let mut control = control();
        if fast {
            let switch = Switch::new(ns, control, 1);
            (0..).zip(&names).for_each(|(port, name)| switch.add(port, name));
            return Self { taps, relay: Arc::clone(&switch.relay), fast: Some(switch), _plain: None, out };
        }
        let relay = Arc::new(Relay::new(Limits::default()));
        relay.publish(control.snapshot());
        let worker = Worker::spawn(&relay, &sync_channel(8).0, &WorkerOptions::default()).unwrap();
        for (port, name) in (0..).zip(names) {
            let open = move || PacketPort::open_group(&name, &Options::default(), 1);
            worker.add_port(PortId(port), ns.run(open).unwrap()).unwrap();
        }
        Self { taps, relay, fast: None, _plain: Some((ns, worker)), out }
    }

    /// Frames that came in and copies that went out.
    fn moved(&self) -> (u64, u64) {
        if let Some(switch) = &self.fast {
            switch.fast.settle();
        }
        let ports = (0..PORTS).filter_map(|n| self.relay.stats().port(PortId(n)));
        ports.fold((0, 0), |(rx, tx), port| (rx + port.rx_frames, tx + port.tx_frames))
    }

    fn collect(&mut self) {
        let mut frame = vec![0; 4096];
        for (tap, out) in self.taps.iter_mut().zip(&mut self.out) {
            while readable(tap, Duration::ZERO) {
                let octets = tap.read(&mut frame).unwrap();
                out.push(frame[..octets].to_vec());
            }
        }
    }
}

/// A frame of one of a few stations to another, or to one nobody is.
fn frame(rng: &mut Rng, number: u32) -> (usize, Vec<u8>) {
    // Stations 1 to 5 are on LAN ports, which they change now and then; 6 to 9 are VSIs; 10 is nobody.
    let src = 1 + rng.below(9);
    let port = match src {
        1..=5 if rng.below(200) == 0 => rng.below(3),
        1..=5 => src % 3,
        6 | 7 => 3,
        _ => 4,
    };
    let dst = match rng.below(20) {
        0 => MacAddr::broadcast(),
        _ => mac(1 + rng.below(10)),
    };
    let tag = match (port, rng.below(4)) {
        (0, 0) | (1, 0 | 1) | (2, 0) => None,
        (0..=2, 1) => Some([1, 100, 200][rng.below(3)]),
        (0, _) => Some(200),
        (_, _) => Some(100),
    };
    let mut octets = [dst.octets(), mac(src).octets()].concat();
    if let Some(n) = tag {
        let pcp = Pcp::new([0, 0, 0, 5][rng.below(4)]).unwrap();
        let tag = Tag { pcp, dei: rng.below(16) == 0, ..Tag::c(vid(n)) };
        octets.extend(tag.to_bytes());
    }
    octets.extend(EtherType(0x88b5).0.to_be_bytes());
    octets.extend(number.to_be_bytes());
    octets.resize(octets.len() + 46 + rng.below(1400), 0x5a);
    (port, octets)
}

#[test]
fn the_same_come_out_and_are_counted() {
    let mut sides = [Side::new(true), Side::new(false)];
    let mut rng = Rng(0x5eed_f00d);
    let frames: Vec<_> = (0..6000).map(|number| frame(&mut rng, number)).collect();
    for (sent, (port, octets)) in (1..).zip(&frames) {
        for side in &mut sides {
            side.taps[*port].write_all(octets).unwrap();
        }
        // One after the other: what a frame teaches is known to the next.
        until("the frame is dealt with", || sides.iter().all(|side| side.moved().0 >= sent));
        until("its copies are sent", || sides[0].moved().1 == sides[1].moved().1);
        if sent % 50 == 0 {
            sides.iter_mut().for_each(Side::collect);
        }
    }
    sides.iter_mut().for_each(Side::collect);
    let fast = sides[0].fast.as_ref().unwrap().fast_frames();
    eprintln!("{fast} of {} went fast", frames.len());
    assert!(fast > 1000);
    for port in 0..PORTS {
        let [with, without] = [0, 1].map(|n| sides[n].relay.stats().port(PortId(port)).unwrap());
        assert_eq!(with, without, "counters of port {port}");
        let [with, without] = [0, 1].map(|n: usize| &sides[n].out[usize::from(port)]);
        let sorted = |frames: &[Vec<u8>]| {
            let mut frames = frames.to_vec();
            frames.sort_unstable();
            frames
        };
        assert_eq!(sorted(with), sorted(without), "out of port {port}");
        in_order(with);
    }
    for key in (0..4).map(VsiKey) {
        let [with, without] = [0, 1].map(|n| sides[n].relay.vsi(key).unwrap());
        assert_eq!(with, without, "counters of VSI {key:?}");
    }
}

/// Frames of one flow come in the order they were sent.
fn in_order(frames: &[Vec<u8>]) {
    let mut last = BTreeMap::new();
    for frame in frames {
        let tagged = frame[12..14] == [0x81, 0];
        let (flow, rest) = frame.split_at(if tagged { 16 } else { 12 });
        let number = u32::from_be_bytes(*rest[2..].first_chunk().unwrap());
        let before = last.insert(flow, number);
        assert!(before < Some(number), "{number} after {before:?}");
    }
}
