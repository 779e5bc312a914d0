//! A virtual wire: cores joined by cables that lose, repeat and reorder, under virtual time, from one seed.
//!
//! What happens is a heap of things due; nothing sleeps. The same seed plays the same run, and a suite that fails prints
//! it. Beside each core stands the smallest data path there can be: it remembers what was opened, applies reflective
//! relay at once, and sends probes of reflective relay back where it is on and their source admitted. A bridge that is to
//! forward has the real relay: [`Wire::forwards`].

mod extension;
mod forwarding;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    time::Duration,
};

use ether::{EtherType, FrameView, Instant, MacAddr, Tag, Vid};
use evbd::{
    Config, Core, DeviceReport, DeviceState, Effect, Event, Input, Link, PortId, PortKind, Record, RecordKey,
    Target, VsiOrder,
};
use hairpin::{EdgeMode, VsiEntry, VsiKey, svlan};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use extension::{Extension, Step};
use forwarding::{Fate, Forwarding};

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

/// One daemon without I/O and its data path.
pub struct Machine {
    config: Config,
    core: Core,
    /// Gates the core opened.
    pub open: BTreeMap<VsiKey, VsiEntry>,
    /// Ports that reflect.
    pub reflective: BTreeMap<PortId, bool>,
    /// The relay, on a bridge that forwards.
    forwarding: Option<Forwarding>,
    /// What devices were told of data center bridging.
    pub applied: BTreeMap<PortId, dcbx::Settings>,
    /// What the edge relay does.
    pub mode: EdgeMode,
    /// What each edge relay was told to do, by its uplink or S-channel.
    pub modes: BTreeMap<PortId, EdgeMode>,
    /// Frames of [`DATA`] that arrived, each with the port it was for.
    pub received: Vec<(String, Vec<u8>)>,
    /// What it knows of E-channels.
    extension: Extension,
    /// Extended ports that are up.
    extended: BTreeSet<String>,
    /// Frames of S-VLANs that belong to no channel.
    pub unknown: u64,
    /// Sends no probe back, whatever it says.
    pub liar: bool,
    /// Every frame it sent in a VLAN, with its time: probes and announcements.
    pub sent: Vec<(Instant, Vec<u8>)>,
    /// What the core had remembered: all that survives [`Wire::kill`].
    pub journal: BTreeMap<RecordKey, Record>,
    /// The process was killed.
    dead: bool,
    /// Effects until it is killed.
    fuse: Option<u32>,
    /// How often it asked a VSI manager for news.
    pub asked: u32,
    /// The EtherType of the ECP frame it sent last.
    pub ecp: Option<EtherType>,
    /// Every event, with its time.
    pub events: Vec<(Instant, Event)>,
    /// Cable at each port.
    cables: BTreeMap<PortId, usize>,
    /// Counted up at each restart: what was due before concerns nobody.
    life: u32,
}

/// Two ports and what joins them.
struct Cable {
    ends: [(usize, PortId); 2],
    faults: Faults,
    plugged: bool,
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
    Frame { cable: usize, machine: usize, port: PortId, frame: Vec<u8> },
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
        let mode = core.relay();
        self.machines.push(Machine {
            config,
            core,
            open: BTreeMap::new(),
            reflective: BTreeMap::new(),
            forwarding: None,
            applied: BTreeMap::new(),
            mode,
            modes: BTreeMap::new(),
            received: Vec::new(),
            extension: Extension::default(),
            extended: BTreeSet::new(),
            unknown: 0,
            liar: false,
            sent: Vec::new(),
            journal: BTreeMap::new(),
            dead: false,
            fuse: None,
            asked: 0,
            ecp: None,
            events: Vec::new(),
            cables: BTreeMap::new(),
            life: 0,
        });
        self.machines.len() - 1
    }

    /// Joins two ports; [`Wire::power`] brings them up.
    pub fn cable(&mut self, a: (usize, &str), b: (usize, &str), faults: Faults) -> usize {
        let ends = [a, b].map(|(machine, interface)| (machine, self.machines[machine].port(interface)));
        self.cables.push(Cable { ends, faults, plugged: true });
        let number = self.cables.len() - 1;
        for (machine, port) in ends {
            self.machines[machine].cables.insert(port, number);
        }
        number
    }

    /// From now on a bridge forwards frames, by the real relay.
    pub fn forwards(&mut self, machine: usize) {
        let m = &mut self.machines[machine];
        m.forwarding = Some(Forwarding::new(&m.config));
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

    /// Brings all ports of a machine up.
    pub fn power(&mut self, machine: usize) {
        let ports: Vec<PortId> = self.machines[machine].core.ports().map(|(port, _, _)| port).collect();
        for port in ports {
            self.link_as_plugged(machine, port);
        }
    }

    /// Ends a machine as a crash does and starts it anew, with everything forgotten.
    pub fn restart(&mut self, machine: usize) {
        self.kill(machine);
        self.machines[machine].journal.clear();
        self.start(machine);
    }

    /// Ends the process of a machine, which forgets everything but its journal. Its data path goes with it; its links
    /// stay up.
    pub fn kill(&mut self, machine: usize) {
        let m = &mut self.machines[machine];
        m.life += 1;
        m.dead = true;
        m.fuse = None;
        m.open.clear();
        m.extension = Extension::default();
        m.extended.clear();
        m.reflective.clear();
        m.forwarding = m.forwarding.as_ref().map(|_| Forwarding::new(&m.config));
    }

    /// Kills a machine in the middle of what it does: after so many more effects.
    pub fn kill_after(&mut self, machine: usize, effects: u32) {
        self.machines[machine].fuse = Some(effects);
    }

    /// Whether a machine was killed and not started since.
    #[must_use]
    pub fn is_dead(&self, machine: usize) -> bool {
        self.machines[machine].dead
    }

    /// Starts a machine that was killed, with its journal; all its interfaces are there and up.
    pub fn start(&mut self, machine: usize) {
        self.start_without(machine, &[]);
    }

    /// As [`Wire::start`]; interfaces that are `gone` are gone.
    pub fn start_without(&mut self, machine: usize, gone: &[&str]) {
        let seed = self.random.random();
        let now = self.now;
        let m = &mut self.machines[machine];
        m.dead = false;
        m.fuse = None;
        m.core = Core::new(m.config.clone(), seed, now);
        m.applied.clear();
        m.mode = m.core.relay();
        let records: Vec<Record> = m.journal.values().cloned().collect();
        if !records.is_empty() {
            self.input(machine, Input::Resume { records });
        }
        let mut ports: Vec<_> =
            self.machines[machine].core.ports().map(|(port, name, _)| (port, gone.contains(&name))).collect();
        // The kernel tells of them in any order.
        ports.sort_by_cached_key(|_| self.random.random::<u32>());
        for (port, gone) in ports {
            if gone {
                self.input(machine, Input::Link { port, link: Link::Absent });
            } else {
                self.link_as_plugged(machine, port);
            }
        }
    }

    /// Puts a record into the journal of a machine that was killed.
    pub fn remember(&mut self, machine: usize, record: Record) {
        self.machines[machine].journal.insert(record.key(), record);
    }

    /// Gives a machine that was killed another configuration to start with.
    ///
    /// # Panics
    /// When the configuration is wrong.
    pub fn configure(&mut self, machine: usize, toml: &str) {
        self.machines[machine].config = Config::parse("wire.toml", toml).unwrap_or_else(|e| panic!("{e:?}"));
    }

    /// Gives a running machine another configuration; its new ports come up.
    ///
    /// # Panics
    /// When the configuration is wrong.
    pub fn reload(&mut self, machine: usize, toml: &str) {
        let before: Vec<PortId> = self.machines[machine].core.ports().map(|(port, _, _)| port).collect();
        self.machines[machine].config = Config::parse("wire.toml", toml).unwrap_or_else(|e| panic!("{e:?}"));
        self.input(machine, Input::Reload { config: toml.to_owned() });
        let after: Vec<PortId> = self.machines[machine].core.ports().map(|(port, _, _)| port).collect();
        for port in after.into_iter().filter(|port| !before.contains(port)) {
            self.link(machine, port, true);
        }
    }

    /// Has a machine de-associate everything, as before it ends for good.
    pub fn deassociate(&mut self, machine: usize) {
        self.input(machine, Input::Deassociate);
    }

    /// Pulls or plugs a cable; both ends notice.
    pub fn plug(&mut self, cable: usize, plugged: bool) {
        self.cables[cable].plugged = plugged;
        for (machine, port) in self.cables[cable].ends {
            self.link(machine, port, plugged);
        }
    }

    /// Pulls two cables at a machine, and puts each where the other was.
    pub fn swap(&mut self, machine: usize, cables: [usize; 2]) {
        for cable in cables {
            self.plug(cable, false);
        }
        let at = cables.map(|cable| {
            self.cables[cable].ends.iter().position(|end| end.0 == machine).expect("an end there")
        });
        let ports = [self.cables[cables[0]].ends[at[0]], self.cables[cables[1]].ends[at[1]]];
        for (n, cable) in cables.into_iter().enumerate() {
            self.cables[cable].ends[at[n]] = ports[1 - n];
            self.machines[machine].cables.insert(ports[1 - n].1, cable);
            self.plug(cable, true);
        }
    }

    /// Has a frame come to a port of a port extender from outside.
    pub fn enter(&mut self, machine: usize, interface: &str, frame: Vec<u8>) {
        let port = self.machines[machine].port(interface);
        self.come(machine, port, frame);
    }

    /// Forgets what has arrived.
    pub fn forget_received(&mut self, machine: usize) {
        self.machines[machine].received.clear();
    }

    /// Changes how a cable treats frames from now on.
    pub fn weather(&mut self, cable: usize, faults: Faults) {
        self.cables[cable].faults = faults;
    }

    /// Lets a machine lie about reflective relay, or repent.
    pub fn lie(&mut self, machine: usize, liar: bool) {
        self.machines[machine].liar = liar;
    }

    /// Gives a machine an order for a VSI.
    ///
    /// # Errors
    /// When it is refused, with why.
    pub fn order(&mut self, machine: usize, order: VsiOrder) -> Result<(), String> {
        let before = self.machines[machine].events.len();
        self.input(machine, Input::Vsi { order });
        let mut said = self.machines[machine].events[before..].iter();
        said.find_map(|(_, event)| match event {
            Event::VsiOrdered { .. } => Some(Ok(())),
            Event::VsiOrderRefused { error, .. } => Some(Err(error.clone())),
            _ => None,
        })
        .expect("an order is answered")
    }

    /// The interface of a port comes up or goes.
    pub fn interface(&mut self, machine: usize, interface: &str, there: bool) {
        let port = self.machines[machine].port(interface);
        if there {
            self.link(machine, port, true);
        } else {
            self.input(machine, Input::Link { port, link: Link::Absent });
        }
    }

    /// Puts a frame on the wire as if it had come to a port.
    pub fn inject(&mut self, machine: usize, interface: &str, frame: Vec<u8>) {
        let port = self.machines[machine].port(interface);
        self.input(machine, Input::Frame { port, frame });
    }

    /// Has a frame come to a port as from its cable, just now.
    pub fn arrive(&mut self, machine: usize, interface: &str, frame: Vec<u8>) {
        let port = self.machines[machine].port(interface);
        if let Some(&cable) = self.machines[machine].cables.get(&port) {
            self.happen(Due::Frame { cable, machine, port, frame });
        }
    }

    /// Sends a frame of [`DATA`] by the data path of a port; false if there is none, or it has no S-VLAN.
    pub fn send(&mut self, machine: usize, interface: &str, frame: &[u8]) -> bool {
        let m = &self.machines[machine];
        let found = m.core.ports().find(|(_, name, _)| *name == interface).map(|(port, _, _)| port);
        let Some(port) = found.filter(|port| !m.dead && m.through_svlan(*port, frame).is_some()) else {
            return false;
        };
        self.transmit(machine, port, frame);
        true
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
            Due::Frame { cable, .. } if !self.cables[cable].plugged => {}
            Due::Frame { machine, port, frame, .. } => self.come(machine, port, frame),
            Due::Timeout { machine, life } => {
                let m = &self.machines[machine];
                if m.life == life && m.core.poll_timeout().is_some_and(|at| at <= self.now) {
                    self.input(machine, Input::Timeout);
                }
            }
        }
    }

    /// A frame has come to a port: by E-channels and S-VLANs to where it is for.
    fn come(&mut self, machine: usize, port: PortId, frame: Vec<u8>) {
        if self.machines[machine].dead {
            return;
        }
        for step in self.machines[machine].steps(port, frame) {
            match step {
                Step::Here(port, frame) => self.arrived(machine, port, frame),
                Step::Out(port, frame) if self.machines[machine].cables.contains_key(&port) => {
                    self.transmit(machine, port, &frame);
                }
                Step::Out(port, frame) => {
                    let name = self.machines[machine].name(port);
                    self.machines[machine].received.push((name, frame));
                }
            }
        }
    }

    fn arrived(&mut self, machine: usize, port: PortId, frame: Vec<u8>) {
        let m = &mut self.machines[machine];
        let Some((port, frame)) = m.by_svlan(port, frame) else {
            m.unknown += 1;
            return;
        };
        if FrameView::parse(&frame).is_ok_and(|view| view.ethertype == DATA) {
            let copies = m.flood(port, &frame);
            let name = m.name(port);
            m.received.push((name, frame));
            return copies.iter().for_each(|(port, frame)| self.transmit(machine, *port, frame));
        }
        if self.machines[machine].sends_back(port, &frame) {
            return self.transmit(machine, port, &frame);
        }
        let m = &mut self.machines[machine];
        let fate = match &mut m.forwarding {
            _ if m.dead => return,
            Some(forwarding) => forwarding.process(self.now, port, &frame),
            None => Fate::Punted,
        };
        match fate {
            Fate::Punted => self.input(machine, Input::Frame { port, frame }),
            Fate::Sent(copies) => {
                copies.iter().for_each(|(port, frame)| self.transmit(machine, *port, frame));
            }
        }
    }

    fn link_as_plugged(&mut self, machine: usize, port: PortId) {
        let up = self.machines[machine].cables.get(&port).is_none_or(|cable| self.cables[*cable].plugged);
        self.link(machine, port, up);
    }

    fn link(&mut self, machine: usize, port: PortId, up: bool) {
        let number = u8::try_from(machine).expect("few machines");
        let mac = MacAddr::new(2, 0, 0, number, 0, port.0.to_be_bytes()[1]);
        let ifindex = u32::from(port.0) + 1;
        if let Some(forwarding) = &mut self.machines[machine].forwarding {
            forwarding.link(port, up);
        }
        self.input(machine, Input::Link { port, link: Link::Present { up, mac, ifindex, mtu: 1500 } });
    }

    /// Gives a machine an input, and carries out what follows.
    pub fn input(&mut self, machine: usize, input: Input) {
        if self.machines[machine].dead {
            return;
        }
        self.machines[machine].core.handle(self.now, input);
        while let Some(effect) = self.machines[machine].core.poll_effect() {
            let m = &mut self.machines[machine];
            if let Some(left) = &mut m.fuse {
                if *left == 0 {
                    return self.kill(machine);
                }
                *left -= 1;
            }
            let Some(effect) = m.extension.take(effect) else { continue };
            match effect {
                Effect::Transmit { port, frame } => {
                    let ethertype = FrameView::parse(&frame).map(|view| view.ethertype);
                    let ecp =
                        ethertype.ok().filter(|e| [EtherType::ECP, EtherType::OUI_EXTENDED].contains(e));
                    self.machines[machine].ecp = ecp.or(self.machines[machine].ecp);
                    self.transmit(machine, port, &frame);
                    if FrameView::parse(&frame).is_ok_and(|view| view.tag.is_some()) {
                        self.machines[machine].sent.push((self.now, frame));
                    }
                }
                Effect::SwitchReflective { port, on } => {
                    m.reflective.insert(port, on);
                    if let Some(forwarding) = &mut m.forwarding {
                        forwarding.reflect(port, on);
                    }
                    m.core.handle(self.now, Input::ReflectiveApplied { port, on });
                }
                Effect::Remember(record) => {
                    m.journal.insert(record.key(), record);
                }
                Effect::Forget(key) => {
                    m.journal.remove(&key);
                }
                Effect::SwitchRelay { port, mode } => {
                    if m.core.uap(port).is_none() {
                        m.mode = mode;
                    }
                    m.modes.insert(port, mode);
                }
                Effect::OpenVsi { key, entry } => {
                    if let Some(forwarding) = &mut m.forwarding {
                        forwarding.open(key, entry.clone());
                    }
                    m.open.insert(key, entry);
                }
                Effect::CloseVsi { key } => {
                    if let Some(forwarding) = &mut m.forwarding {
                        forwarding.close(key);
                    }
                    m.open.remove(&key);
                }
                // Whoever plays says when an interface is there.
                Effect::FollowPort(port) => m.extension.follow(port, &m.core),
                Effect::FollowPorts
                | Effect::FollowChannels(_)
                | Effect::FollowExtended(_)
                | Effect::Flood { .. }
                | Effect::Extend { .. }
                | Effect::Channel { .. }
                | Effect::Upstream(_)
                | Effect::FollowProfiles => {}
                Effect::AskManager(_) => m.asked += 1,
                Effect::ApplyDcb { port, settings, target: Target::Core } => {
                    m.applied.insert(port, settings);
                }
                // Cables have no data center bridging.
                Effect::ApplyDcb { port, .. } => {
                    let report = DeviceReport { state: DeviceState::NoDcb, changes: Vec::new(), note: None };
                    m.core.handle(self.now, Input::DcbApplied { port, report });
                }
                Effect::Event(event) => {
                    match &event {
                        Event::LinkUp { port } if port.contains(':') => drop(m.extended.insert(port.clone())),
                        Event::LinkDown { port }
                        | Event::LinkAbsent { port }
                        | Event::ExtendedPortGone { port } => {
                            m.extended.remove(port);
                        }
                        _ => {}
                    }
                    m.events.push((self.now, event));
                }
            }
        }
        if let Some(at) = self.machines[machine].core.poll_timeout() {
            let life = self.machines[machine].life;
            self.push(at, Due::Timeout { machine, life });
        }
    }

    fn transmit(&mut self, machine: usize, port: PortId, frame: &[u8]) {
        let Some((port, frame)) = self.machines[machine].through_svlan(port, frame) else { return };
        let (port, frame) = self.machines[machine].extension.out(port, &frame);
        let Some(&number) = self.machines[machine].cables.get(&port) else { return };
        let cable = &self.cables[number];
        let faults = cable.faults;
        if !cable.plugged {
            return;
        }
        let other = cable.ends.iter().find(|end| **end != (machine, port)).copied();
        let Some((machine, port)) = other else { return };
        self.frames += 1;
        let copies = if self.random.random_bool(faults.loss) {
            0
        } else {
            1 + u32::from(self.random.random_bool(faults.duplication))
        };
        for _ in 0..copies {
            let late = self.random.random_range(Duration::ZERO..=faults.jitter);
            let at = self.now + Duration::from_micros(10) + late;
            self.push(at, Due::Frame { cable: number, machine, port, frame: frame.clone() });
        }
    }

    fn push(&mut self, at: Instant, thing: Due) {
        let number = self.next;
        self.next += 1;
        self.things.insert(number, thing);
        self.due.push(Reverse((at, number)));
    }
}

impl Machine {
    /// The number of the port at `interface`.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn port(&self, interface: &str) -> PortId {
        let found = self.core.ports().find(|(_, name, _)| *name == interface);
        found.unwrap_or_else(|| panic!("no port {interface}")).0
    }

    fn name(&self, port: PortId) -> String {
        let found = self.core.ports().find(|(id, _, _)| *id == port);
        found.map(|(_, name, _)| name.to_owned()).unwrap_or_default()
    }

    /// The S-channels behind `interface` beside the default one, each with its S-VLAN.
    #[must_use]
    pub fn channels(&self, interface: &str) -> BTreeMap<String, u16> {
        let component = self.core.component(self.port(interface));
        let ends = self.core.ports().filter_map(|(port, name, _)| Some((name, component.svid(port)?)));
        ends.map(|(name, svid)| (name.rsplit('/').next().unwrap_or(name).to_owned(), svid.get())).collect()
    }

    /// Extended ports that are up.
    #[must_use]
    pub fn extended_up(&self) -> usize {
        self.extended.len()
    }

    /// Channels of several members that its floods leave by.
    #[must_use]
    pub fn floods(&self) -> usize {
        self.extension.floods()
    }

    /// What becomes of a frame that came to a port, as far as E-channels are concerned.
    fn steps(&self, port: PortId, frame: Vec<u8>) -> Vec<Step> {
        if self.config.extender().is_none() {
            return self.extension.at_bridge(port, frame).into_iter().collect();
        }
        let below = |port: PortId| match self.core.port(port)?.1 {
            PortKind::Transit => Some(true),
            PortKind::Extended => Some(false),
            _ => None,
        };
        self.extension.at_extender(port, frame, below)
    }

    /// Copies of a frame that is flooded from an extended port, to all others that are up.
    fn flood(&self, from: PortId, frame: &[u8]) -> Vec<(PortId, Vec<u8>)> {
        let up = self.core.ports().filter(|(_, name, _)| self.extended.contains(*name));
        let ports: BTreeSet<PortId> = up.map(|(port, _, _)| port).collect();
        self.extension.flood(from, frame, &ports)
    }

    /// The interfaces of its ports.
    #[must_use]
    pub fn ports(&self) -> Vec<String> {
        self.core.ports().map(|(_, interface, _)| interface.to_owned()).collect()
    }

    /// Whether reflective relay is on at `interface`.
    #[must_use]
    pub fn reflects(&self, interface: &str) -> bool {
        self.reflects_at(self.port(interface))
    }

    fn reflects_at(&self, port: PortId) -> bool {
        self.reflective.get(&port).copied().unwrap_or(false)
    }

    /// Out by the S-VLAN component: the interface and what leaves there. Nothing, while a channel has no SVID.
    fn through_svlan(&self, port: PortId, frame: &[u8]) -> Option<(PortId, Vec<u8>)> {
        let mut frame = frame.to_vec();
        let Some(uap) = self.core.uap(port) else { return Some((port, frame)) };
        let svid = self.core.component(uap).svid(port)?;
        let inner = FrameView::parse(&frame).ok()?.tag;
        frame.splice(12..12, svlan::tag(svid, inner).to_bytes());
        Some((uap, frame))
    }

    /// In by the S-VLAN component: the port it is for and what arrives there.
    fn by_svlan(&self, uap: PortId, mut frame: Vec<u8>) -> Option<(PortId, Vec<u8>)> {
        let outer = FrameView::parse(&frame).ok()?.tag;
        let port = self.core.component(uap).ingress(outer).ok()?;
        if outer.is_some_and(|tag| tag.tpid == EtherType::S_VLAN) {
            frame.drain(12..16);
        }
        Some((port, frame))
    }

    /// Whether a frame is a probe that leaves by the port it came in on.
    fn sends_back(&self, port: PortId, frame: &[u8]) -> bool {
        let Ok(FrameView { src, tag, ethertype: EtherType::PROBE, .. }) = FrameView::parse(frame) else {
            return false;
        };
        let vid = tag.and_then(|tag| tag.vid);
        let here = |entry: &&VsiEntry| entry.port == port;
        let mut filters = self.open.values().filter(here).flat_map(|entry| &entry.filters);
        self.config.bridge().is_some()
            && !self.liar
            && self.reflects_at(port)
            && filters.any(|filter| filter.mac == Some(src) && Some(filter.vid) == vid)
    }

    /// (address, VLAN) pairs that may pass at `interface`, in order.
    #[must_use]
    pub fn admitted(&self, interface: &str) -> Vec<(MacAddr, u16)> {
        let port = self.port(interface);
        let filters = self.open.values().filter(|entry| entry.port == port).flat_map(|entry| &entry.filters);
        let mut pairs: Vec<_> = filters.filter_map(|f| Some((f.mac?, f.vid.get()))).collect();
        pairs.sort();
        pairs
    }
}
