//! A virtual wire: cores joined by cables that lose, repeat and reorder, under virtual time, from one seed.
//!
//! What happens is a heap of things due; nothing sleeps. The same seed plays the same run, and a suite that fails prints
//! it. Beside each core stands the smallest data path there can be: it remembers what was opened, applies reflective
//! relay at once, and sends probes of reflective relay back where it is on and their source admitted. Port extenders,
//! bridges that have some, and bridges that are to forward ([`Wire::forwards`]) have the real relay.

mod cables;
mod effects;
mod forwarding;
mod lives;
mod machine;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    time::Duration,
};

use ether::{EtherType, Instant, MacAddr, Tag, Vid};
use evbd::{Config, Core, Input, PortId};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use forwarding::Forwarding;
pub use lives::address;
pub use machine::{Arrived, Grant, Machine};

/// The EtherType of frames between ports whose data path is played here: local experimental 2.
pub const DATA: EtherType = EtherType(0x88b6);

/// How a cable treats frames.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    /// Share of frames lost, 0 to 1.
    pub loss: f64,
    /// Share of frames that come twice, 0 to 1.
    pub duplication: f64,
    /// A frame takes 10 µs and up to this much longer, so that frames overtake one another.
    pub jitter: Duration,
}

impl Faults {
    /// A good cable.
    pub const NONE: Self = Self { loss: 0.0, duplication: 0.0, jitter: Duration::ZERO };
}

/// Two ports and what joins them.
struct Cable {
    ends: [(usize, PortId); 2],
    faults: Faults,
    plugged: bool,
    /// Counted up when it is pulled: what was under way is lost.
    life: u32,
}

/// All machines, cables and what is due.
pub struct Wire {
    machines: Vec<Machine>,
    cables: Vec<Cable>,
    due: BinaryHeap<Reverse<(Instant, u64)>>,
    things: BTreeMap<u64, Due>,
    next: u64,
    now: Instant,
    random: StdRng,
    /// Frames put on cables.
    pub frames: u64,
}

enum Due {
    Frame { cable: usize, life: u32, machine: usize, port: PortId, frame: Vec<u8> },
    Timeout { machine: usize, life: u32 },
}

impl Wire {
    /// An empty wire whose chances follow `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            machines: Vec::new(),
            cables: Vec::new(),
            due: BinaryHeap::new(),
            things: BTreeMap::new(),
            next: 0,
            now: Instant::from_secs(1),
            random: StdRng::seed_from_u64(seed),
            frames: 0,
        }
    }

    /// Adds a machine with a TOML configuration; returns its number. Ports without a cable are up.
    ///
    /// # Panics
    /// When the configuration is wrong.
    pub fn machine(&mut self, toml: &str) -> usize {
        let config = Config::parse("wire.toml", toml).unwrap_or_else(|e| panic!("{e:?}"));
        let core = Core::new(config.clone(), self.random.random(), self.now);
        self.machines.push(Machine::new(config, core));
        self.machines.len() - 1
    }

    /// Joins two ports; [`Wire::power`] brings them up.
    pub fn cable(&mut self, a: (usize, &str), b: (usize, &str), faults: Faults) -> usize {
        let ends = [a, b].map(|(machine, interface)| (machine, self.machines[machine].port(interface)));
        self.cables.push(Cable { ends, faults, plugged: true, life: 0 });
        let number = self.cables.len() - 1;
        for (machine, port) in ends {
            self.machines[machine].cables.insert(port, number);
        }
        number
    }

    /// From now on a bridge forwards frames, by the real relay.
    pub fn forwards(&mut self, machine: usize) {
        let m = &mut self.machines[machine];
        m.forwarding = Some(Forwarding::new(&m.core));
    }

    /// The interfaces by which frames from `from` to `to` in VLAN `vlan` leave a bridge that forwards.
    ///
    /// # Panics
    /// When it does not forward.
    #[must_use]
    pub fn reach(&self, machine: usize, from: &str, to: MacAddr, vlan: u16) -> Vec<String> {
        let m = &self.machines[machine];
        let tag = Vid::new(vlan).map(Tag::c);
        let forwarding = m.forwarding.as_ref().expect("it forwards");
        let ports = forwarding.reach(self.now, m.port(from), to, tag);
        let name = |port| m.core.ports().find(|(id, _, _)| *id == port).expect("a port").1.to_owned();
        ports.into_iter().map(name).collect()
    }

    /// The frames of [`DATA`] that have arrived since this was asked last, each with the port it was for or left by.
    pub fn take_received(&mut self, machine: usize) -> Vec<Arrived> {
        std::mem::take(&mut self.machines[machine].received)
    }

    /// Lets time pass until `done`, at most until `limit`; whether it was done.
    pub fn run_until(&mut self, limit: Instant, mut done: impl FnMut(&Self) -> bool) -> bool {
        loop {
            if done(self) {
                return true;
            }
            let Some(&Reverse((at, number))) = self.due.peek() else { return false };
            if at > limit {
                self.now = limit;
                return false;
            }
            self.due.pop();
            self.now = self.now.max(at);
            let thing = self.things.remove(&number).expect("what is due is there");
            self.happen(thing);
        }
    }

    /// Lets `time` pass.
    pub fn run_for(&mut self, time: Duration) {
        let limit = self.now + time;
        self.run_until(limit, |_| false);
        self.now = limit;
    }

    /// Now.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// A machine by number.
    #[must_use]
    pub fn get(&self, machine: usize) -> &Machine {
        &self.machines[machine]
    }

    fn happen(&mut self, thing: Due) {
        match thing {
            Due::Frame { cable, life, .. } if self.cables[cable].life != life => {}
            Due::Frame { machine, port, frame, .. } => self.come(machine, port, frame),
            Due::Timeout { machine, life } => {
                let m = &self.machines[machine];
                if m.life == life && m.core.poll_timeout().is_some_and(|at| at <= self.now) {
                    self.input(machine, Input::Timeout);
                }
            }
        }
    }

    fn push(&mut self, at: Instant, thing: Due) {
        let number = self.next;
        self.next += 1;
        self.things.insert(number, thing);
        self.due.push(Reverse((at, number)));
    }
}
