//! A station and a bridge over two ECP links and a wire that loses and doubles, under virtual time.

use std::collections::BTreeMap;

use bytes::Bytes;
use ecp::{Link, Subtype};
use ether::{Instant, Vid, time::Duration, time::earliest};
use proptest::prelude::*;

use crate::{
    Bridge, Command, FilterInfo, Hints, Outbox, Station, Timing, TypeId, TypeVersion, VsiId,
    bridge::{self, Answer, BridgeConfig},
    filter::tests::{entry, filter},
    station::{self, StationConfig, StationEvent, VsiRequest},
};

const LATENCY: Duration = Duration::from_millis(1);
/// Octets of a VDPDU.
const ROOM: usize = 1490;
/// How long the type database takes.
const LOOKUP: Duration = Duration::from_millis(5);
/// Longer than any retry and any answer of the defaults takes.
const LONG: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, PartialEq)]
enum End {
    Station,
    Bridge,
}

struct World {
    now: Instant,
    station: Station,
    bridge: Bridge,
    links: [Link; 2],
    outboxes: [Outbox; 2],
    /// Frames under way and answers of the database in the making, with the time they arrive.
    frames: Vec<(Instant, End, Bytes)>,
    answers: Vec<(Instant, VsiId, u64, Answer)>,
    /// What becomes of the next frames: below `loss` it is lost, at 255 doubled.
    fates: Vec<u8>,
    next_fate: usize,
    loss: u8,
    /// Open gates at the station, and what the bridge lets pass.
    gates: Vec<(VsiId, FilterInfo)>,
    installed: Vec<(VsiId, FilterInfo)>,
    /// What either end would find after a restart.
    held: (BTreeMap<VsiId, station::Held>, BTreeMap<VsiId, bridge::Held>),
    /// How often a gate was shut.
    shut: u32,
}

fn bridge(timing: Timing) -> Bridge {
    let mut bridge = Bridge::new(BridgeConfig::default(), timing);
    bridge.set_ready(true);
    bridge
}

impl World {
    fn new(fates: Vec<u8>, loss: u8) -> Self {
        let now = Instant::from_secs(10);
        let timing = Timing::default();
        let link = |first| Link::new(Subtype::Vdp, timing.ecp_params(), first, now);
        let mut station = Station::new(StationConfig::default(), timing);
        station.set_ready(now, true);
        Self {
            now,
            station,
            bridge: bridge(timing),
            links: [link(0xfffe), link(77)],
            outboxes: [Outbox::new(64), Outbox::new(64)],
            frames: vec![],
            answers: vec![],
            fates,
            next_fate: 0,
            loss,
            gates: vec![],
            installed: vec![],
            held: Default::default(),
            shut: 0,
        }
    }

    fn command(&mut self, n: u8, command: Command) {
        let request = VsiRequest {
            id: VsiId::local([n; 16]),
            manager: "labmgr".parse().unwrap(),
            type_id: TypeId::new(5).unwrap(),
            version: TypeVersion(1),
            filter: filter(&[entry(0, n + 1, 0, None)]),
            command,
            hints: Hints::default(),
        };
        self.station.command(self.now, request).unwrap();
    }

    fn send(&mut self, to: End, frame: Bytes) {
        self.next_fate += 1;
        let fate = self.fates[self.next_fate % self.fates.len()];
        let copies = if fate < self.loss { 0 } else { 1 + usize::from(fate == 255 && self.loss > 0) };
        self.frames.extend(vec![(self.now + LATENCY, to, frame); copies]);
    }

    /// Carries every output where it belongs until nobody has one.
    fn settle(&mut self) {
        let now = self.now;
        loop {
            let mut idle = true;
            while let Some(output) = self.station.poll_output() {
                idle = false;
                match output {
                    station::Output::Transmit(tlv) => self.outboxes[0].push(tlv),
                    station::Output::Event(StationEvent::Associated { id, filter }) => {
                        self.gates.retain(|(open, _)| *open != id);
                        self.gates.push((id, filter));
                    }
                    station::Output::Event(StationEvent::Gone { id, .. }) => {
                        self.shut += 1;
                        self.gates.retain(|(open, _)| *open != id);
                    }
                    station::Output::Held(held) => drop(self.held.0.insert(held.request.id, held)),
                    station::Output::Released(id) => drop(self.held.0.remove(&id)),
                    station::Output::Event(_) => {}
                }
            }
            while let Some(output) = self.bridge.poll_output() {
                idle = false;
                match output {
                    bridge::Output::Transmit(tlv) => self.outboxes[1].push(tlv),
                    bridge::Output::Query(query) => {
                        let mut entries = query.filter.entries().to_vec();
                        entries.iter_mut().for_each(|e| e.vid = e.vid.or(Vid::new(100)));
                        let answer = Answer::Accept { filter: filter(&entries) };
                        self.answers.push((now + LOOKUP, query.id, query.serial, answer));
                    }
                    bridge::Output::Install { id, filter, .. } => {
                        self.installed.retain(|(held, _)| *held != id);
                        self.installed.push((id, filter));
                    }
                    bridge::Output::Remove { id, .. } => self.installed.retain(|(held, _)| *held != id),
                    bridge::Output::Held(held) => drop(self.held.1.insert(held.id, held)),
                    bridge::Output::Released(id) => assert!(self.held.1.remove(&id).is_some()),
                    bridge::Output::Event(_) => {}
                }
            }
            for (link, to) in [(0, End::Bridge), (1, End::Station)] {
                if self.links[link].is_idle()
                    && let Some(pdu) = self.outboxes[link].take(ROOM)
                {
                    idle = false;
                    self.links[link].send(now, pdu).unwrap();
                }
                while let Some(output) = self.links[link].poll_output() {
                    idle = false;
                    match output {
                        ecp::Output::Transmit(frame) => self.send(to, frame),
                        ecp::Output::Deliver(pdu) if link == 0 => self.station.handle_pdu(now, &pdu),
                        ecp::Output::Deliver(pdu) => self.bridge.handle_pdu(now, &pdu),
                        ecp::Output::Failed { payload, .. } if link == 0 => {
                            self.station.ecp_failed(now, &payload)
                        }
                        ecp::Output::Failed { .. } | ecp::Output::Acknowledged { .. } => {}
                    }
                }
            }
            if idle {
                return;
            }
        }
    }

    /// Lets `time` pass.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.settle();
            let timers = [
                self.station.poll_timeout(),
                self.bridge.poll_timeout(),
                self.links[0].poll_timeout(),
                self.links[1].poll_timeout(),
                self.frames.iter().map(|(at, ..)| *at).min(),
                self.answers.iter().map(|(at, ..)| *at).min(),
            ];
            match timers.into_iter().fold(None, earliest) {
                Some(at) if at <= end => self.now = at.max(self.now),
                _ => break,
            }
            let now = self.now;
            for (_, to, frame) in self.frames.extract_if(.., |(at, ..)| *at <= now) {
                self.links[usize::from(to == End::Bridge)].handle_pdu(now, &frame);
            }
            for (_, id, serial, answer) in self.answers.extract_if(.., |(at, ..)| *at <= now) {
                self.bridge.answer(now, &id, serial, answer);
            }
            self.station.handle_timeout(now);
            self.bridge.handle_timeout(now);
            self.links.iter_mut().for_each(|link| link.handle_timeout(now));
        }
        self.now = end;
    }

    /// The bridge starts anew: it knows nothing, and starts with the same ECP number as before.
    fn restart_bridge(&mut self) {
        self.bridge = bridge(Timing::default());
        self.links[1] = Link::new(Subtype::Vdp, Timing::default().ecp_params(), 77, self.now);
        self.outboxes[1] = Outbox::new(64);
        self.links[0].forget_peer();
        self.installed.clear();
        self.answers.clear();
    }

    /// The bridge starts anew with what it was told to remember.
    fn resume_bridge(&mut self) {
        let held = self.held.1.clone();
        self.restart_bridge();
        held.into_values().for_each(|held| self.bridge.resume(self.now, held));
    }

    /// The same of the station, which has to find the bridge first.
    fn resume_station(&mut self) {
        let held = self.held.0.clone();
        let timing = Timing::default();
        self.station = Station::new(StationConfig::default(), timing);
        self.links[0] = Link::new(Subtype::Vdp, timing.ecp_params(), 0xfffe, self.now);
        self.outboxes[0] = Outbox::new(64);
        self.links[1].forget_peer();
        self.gates.clear();
        held.into_values().for_each(|held| self.station.resume(self.now, held).unwrap());
        self.run(Duration::from_secs(2));
        self.station.set_ready(self.now, true);
    }

    /// Both ends agree on `count` associations, each with its VLAN.
    fn agreed(&mut self, count: usize) -> bool {
        self.gates.sort_by_key(|(id, _)| *id);
        self.installed.sort_by_key(|(id, _)| *id);
        self.gates == self.installed
            && self.gates.len() == count
            && self.gates.iter().all(|(_, filter)| filter.is_resolved())
    }
}

#[test]
fn a_life_without_losses() {
    let mut world = World::new(vec![128], 0);
    for n in 0..5 {
        world.command(n, Command::PreAssociate);
    }
    world.run(Duration::from_secs(1));
    assert!(world.agreed(0));
    for n in 0..5 {
        world.command(n, Command::Associate);
    }
    world.run(Duration::from_secs(60));
    assert!(world.agreed(5));
    assert!(world.station.stats().keep_alives >= 20);
    assert_eq!(world.station.stats().timeouts, 0);
    world.restart_bridge();
    // The next keep-alive of each puts it back; the gate was never shut.
    world.run(Duration::from_secs(11));
    assert!(world.agreed(5));
    assert_eq!(world.station.stats().failed, 0);
    for n in 0..5 {
        world.command(n, Command::DeAssociate);
    }
    world.run(Duration::from_secs(1));
    assert!(world.agreed(0));
    assert_eq!((world.station.vsis().count(), world.bridge.vsis().count()), (0, 0));
    assert_eq!(world.station.history().gone().count(), 5);
}

#[test]
fn many_vsis_share_the_round_trips() {
    let mut world = World::new(vec![128], 0);
    for n in 0..60 {
        world.command(n, Command::Associate);
    }
    world.run(Duration::from_millis(60));
    assert!(world.agreed(60));
    // One ECPDU has room for 42.
    assert_eq!((world.links[0].stats().tx_frames, world.links[0].stats().tx_retries), (2, 0));
    assert!(world.links[1].stats().tx_frames <= 3);
}

#[test]
fn restarts_are_hitless() {
    let mut world = World::new(vec![128], 0);
    for n in 0..5 {
        world.command(n, Command::Associate);
    }
    world.run(Duration::from_secs(20));
    let before = world.held.clone();
    for _ in 0..3 {
        world.resume_bridge();
        world.settle();
        assert!(world.agreed(5), "at once");
        world.run(Duration::from_secs(17));
        world.resume_station();
        assert!(world.agreed(5));
        world.run(Duration::from_secs(30));
    }
    assert!(world.agreed(5));
    assert_eq!((world.shut, world.station.stats().timeouts), (0, 0));
    assert_eq!(world.held, before);
    // What was given up is not found again.
    world.command(4, Command::DeAssociate);
    world.run(Duration::from_secs(1));
    world.resume_bridge();
    world.resume_station();
    world.run(Duration::from_secs(1));
    assert!(world.agreed(4));
}

#[test]
fn a_bridge_that_withdraws_is_asked_again() {
    let mut world = World::new(vec![128], 0);
    world.command(0, Command::Associate);
    world.run(Duration::from_secs(1));
    world.bridge.release_all(world.now, bridge::Cause::Administrator);
    world.run(Duration::from_millis(500));
    assert!(world.agreed(0));
    world.run(Duration::from_secs(2));
    assert!(world.agreed(1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is lost or doubled meanwhile: once the wire is good again, both ends come to agree on what the
    /// hypervisor wants, also after a restart of the bridge.
    #[test]
    fn a_bad_wire_heals(
        fates in proptest::collection::vec(any::<u8>(), 1..300),
        loss in 1u8..200,
        script in proptest::collection::vec((0u8..4, any::<bool>(), 0u64..40_000), 1..12),
        restart in 0u8..4,
    ) {
        let mut world = World::new(fates, loss);
        let mut wanted = [false; 4];
        for (n, associate, wait) in script {
            world.command(n, if associate { Command::Associate } else { Command::DeAssociate });
            wanted[usize::from(n)] = associate;
            world.run(Duration::from_millis(wait));
            match (restart, wait % 4) {
                (2, 0) => world.resume_bridge(),
                (3, 0) => world.resume_station(),
                _ => {}
            }
        }
        if restart == 1 {
            world.restart_bridge();
        }
        world.loss = 0;
        world.run(LONG);
        let count = wanted.iter().filter(|w| **w).count();
        prop_assert!(world.agreed(count), "{:?} {:?} {:?}", wanted, world.gates, world.installed);
        prop_assert_eq!(world.station.vsis().count(), count);
    }
}
