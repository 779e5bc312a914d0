//! A controlling bridge and port extenders in a tree, over a wire that may lose.

use super::*;

pub(super) const BRIDGE: MacAddr = MacAddr(2, 0, 0, 0, 0, 0xcb);
/// The upstream port of every port extender.
pub(super) const UP: Local = 1000;
/// Their cascade port.
pub(super) const CASCADE: Local = 99;

pub(super) struct Net {
    pub(super) now: Instant,
    pub(super) bridge: Controlling,
    /// Ports the bridge has made.
    pub(super) made: BTreeMap<Pcid, bool>,
    pub(super) names: BTreeMap<Pcid, Names>,
    pub(super) floods: BTreeMap<Vid, (ECid, Vec<Pcid>)>,
    pub(super) extenders: Vec<Pe>,
    pub(super) wire: VecDeque<(Option<usize>, usize, Bytes)>,
    /// One of so many frames is lost; 0: none.
    pub(super) loss: u32,
    pub(super) chance: u32,
    pub(super) room: usize,
}

pub(super) struct Pe {
    pub(super) engine: Extender,
    /// Which one it is behind, at that one's cascade port; none: at the bridge.
    pub(super) above: Option<usize>,
    pub(super) life: u16,
    pub(super) ports: BTreeMap<Local, PortParameters>,
    pub(super) channels: BTreeMap<ECid, Vec<Local>>,
    pub(super) upstream: Option<Local>,
}

pub(super) fn mac(index: usize) -> MacAddr {
    MacAddr(2, 0, 0, 0, 1, u8::try_from(index).unwrap())
}

pub(super) fn vid(number: u16) -> Vid {
    Vid::new(number).unwrap()
}

pub(super) fn settings(hold: u64) -> extender::Settings {
    let ecp = ecp::Params { max_retries: 7, ..ecp::Params::default() };
    extender::Settings { name: name("rack"), ecp, hold: Duration::from_secs(hold) }
}

pub(super) fn name(text: &str) -> Option<Name> {
    Name::try_from(text.to_owned()).ok()
}

/// What the data path of a port extender says of a port.
pub(super) fn counters(index: usize, local: Local) -> [u64; 12] {
    [u64::try_from(index).unwrap() * 1000 + u64::from(local); 12]
}

impl Net {
    pub(super) fn new(above: &[Option<usize>], hold: u64) -> Self {
        let book = Arc::new(CodeBook::p0());
        let start = Instant::from_secs(1);
        let bridge = Controlling::new(
            Some(Arc::clone(&book)),
            controlling::Settings { ecp: settings(0).ecp, tiers: 4, statistics: Duration::from_secs(10) },
            7,
        );
        let extender = |(index, above): (usize, &Option<usize>)| {
            let first = u16::try_from(index).unwrap() + 100;
            let engine = Extender::new(Some(Arc::clone(&book)), settings(hold), first, start);
            let (ports, channels) = (BTreeMap::new(), BTreeMap::new());
            Pe { engine, above: *above, life: first, ports, channels, upstream: None }
        };
        Self {
            now: start,
            bridge,
            made: BTreeMap::new(),
            names: BTreeMap::new(),
            floods: BTreeMap::new(),
            extenders: above.iter().enumerate().map(extender).collect(),
            wire: VecDeque::new(),
            loss: 0,
            chance: 1,
            room: usize::MAX,
        }
    }

    /// Where the bridge meets a port extender, if all those before it let frames pass.
    pub(super) fn at(&self, index: usize) -> Option<At> {
        let Some(above) = self.extenders[index].above else { return Some(None) };
        self.at(above)?;
        let cascade = self.extenders[above].ports.get(&CASCADE).filter(|port| port.is_open())?;
        Some(Some(cascade.pcid)).filter(|at| self.made.get(&at.unwrap()) == Some(&true))
    }

    /// LLDP is heard wherever frames pass.
    pub(super) fn discover(&mut self) {
        let book = CodeBook::p0();
        for index in 0..self.extenders.len() {
            let at = self.at(index);
            let (life, there) = (self.extenders[index].life, at.is_some());
            let offer = there.then(|| Offer {
                priority: CascadePriority(128),
                csp_address: BRIDGE,
                marker: Some(Marker::new(&book, false, 1, life)),
            });
            if self.extenders[index].engine.offer(UP) != offer.as_ref() {
                self.extenders[index].engine.set_offer(self.now, UP, offer);
            }
            if let Some(at) = at {
                let marker = Some(Marker::new(&book, true, life, 1));
                self.bridge.set_peer(self.now, at, Some(Peer { address: mac(index), marker, chosen: true }));
            }
        }
    }

    pub(super) fn lost(&mut self) -> bool {
        self.chance = self.chance.wrapping_mul(1_103_515_245).wrapping_add(12345);
        self.loss > 0 && (self.chance >> 8).is_multiple_of(self.loss)
    }

    pub(super) fn drain(&mut self) {
        loop {
            let mut idle = true;
            while let Some(output) = self.bridge.poll_output() {
                idle = false;
                match output {
                    controlling::Output::Transmit { at, ecpdu, .. } => {
                        let to = (0..self.extenders.len()).find(|index| self.at(*index) == Some(at));
                        if let Some(to) = to {
                            self.wire.push_back((Some(to), to, ecpdu));
                        }
                    }
                    controlling::Output::Session(..) => {}
                    controlling::Output::Named(pcid, names) => drop(self.names.insert(pcid, names)),
                    controlling::Output::Create { pcid, names, .. } => {
                        self.names.insert(pcid, names);
                        let room = self.made.len() < self.room;
                        if room {
                            self.made.insert(pcid, false);
                        }
                        let open =
                            PortParameters { admin_up: true, blocked: false, ..PortParameters::new(pcid) };
                        self.bridge.created(self.now, pcid, room.then_some(open));
                    }
                    controlling::Output::Link(pcid, up) => drop(self.made.insert(pcid, up)),
                    controlling::Output::Gone(pcid) => drop(self.made.remove(&pcid).expect("it was made")),
                    controlling::Output::Flood(vlan, Some(channel)) => {
                        drop(self.floods.insert(vlan, channel))
                    }
                    controlling::Output::Flood(vlan, None) => {
                        drop(self.floods.remove(&vlan).expect("it was told"))
                    }
                }
            }
            for index in 0..self.extenders.len() {
                while let Some(output) = self.extenders[index].engine.poll_output() {
                    idle = false;
                    let pe = &mut self.extenders[index];
                    match output {
                        extender::Output::Count { question, ports } => {
                            let counted = ports.iter().map(|local| (*local, counters(index, *local)));
                            pe.engine.counted(self.now, question, counted.collect());
                        }
                        extender::Output::Transmit { ecpdu, .. } => self.wire.push_back((None, index, ecpdu)),
                        extender::Output::Upstream(port) => pe.upstream = port,
                        extender::Output::Session(_) => {}
                        extender::Output::Port(local, Some(with)) => drop(pe.ports.insert(local, with)),
                        extender::Output::Port(local, None) => drop(pe.ports.remove(&local)),
                        extender::Output::Channel(ecid, members) if members.is_empty() => {
                            drop(pe.channels.remove(&ecid));
                        }
                        extender::Output::Channel(ecid, members) => drop(pe.channels.insert(ecid, members)),
                    }
                }
            }
            self.discover();
            if let Some((to, peer, ecpdu)) = self.wire.pop_front() {
                idle = false;
                if !self.lost() {
                    match to {
                        Some(to) => self.extenders[to].engine.handle_ecpdu(self.now, UP, BRIDGE, &ecpdu),
                        None => {
                            if let Some(at) = self.at(peer) {
                                self.bridge.handle_ecpdu(self.now, at, mac(peer), &ecpdu);
                            }
                        }
                    }
                }
            }
            if idle {
                return;
            }
        }
    }

    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.drain();
        loop {
            let next = self.extenders.iter().filter_map(|pe| pe.engine.poll_timeout());
            let next = next.chain(self.bridge.poll_timeout()).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            self.bridge.handle_timeout(self.now);
            for pe in &mut self.extenders {
                pe.engine.handle_timeout(self.now);
            }
            self.drain();
        }
        self.now = end;
    }

    pub(super) fn port(&mut self, index: usize, local: Local, info: Option<PortInfo>) {
        self.extenders[index].engine.set_port(self.now, local, info);
        self.drain();
    }

    pub(super) fn ports(&mut self, index: usize, locals: impl IntoIterator<Item = Local>) {
        for local in locals {
            self.port(
                index,
                local,
                Some(PortInfo { name: name(&format!("tap{local}")), cascade: local == CASCADE, up: true }),
            );
        }
    }

    pub(super) fn flood(&mut self, vlan: u16, members: impl IntoIterator<Item = Pcid>) {
        self.bridge.set_flood(self.now, vid(vlan), members.into_iter().collect());
        self.drain();
    }

    /// The identifier of a port, as its port extender has it.
    pub(super) fn pcid(&self, index: usize, local: Local) -> Pcid {
        self.extenders[index].ports[&local].pcid
    }

    /// Both ends say the same of everything.
    pub(super) fn agree(&self) {
        let mut all = BTreeSet::new();
        for (index, pe) in self.extenders.iter().enumerate() {
            let Some(at) = self.at(index) else { continue };
            let theirs: BTreeMap<Local, Pcid> =
                pe.engine.ports().filter_map(|port| Some((port.local, port.pcid?))).collect();
            let ours: BTreeMap<Local, Pcid> = self
                .bridge
                .ports()
                .filter(|port| port.behind == at)
                .map(|port| (port.local, port.pcid))
                .collect();
            assert_eq!(theirs, ours, "ports of {index}");
            assert!(theirs.values().all(|pcid| all.insert(*pcid)), "an identifier is given twice");
            let theirs: Vec<_> = pe.engine.channels().map(|(ecid, has)| (ecid, has.clone())).collect();
            let ours: Vec<_> = self.bridge.channels(at).map(|(ecid, has)| (ecid, has.clone())).collect();
            assert_eq!(theirs, ours, "channels of {index}");
            assert!(pe.ports.values().all(PortParameters::is_open));
        }
        assert_eq!(self.made.keys().copied().collect::<BTreeSet<_>>(), all);
    }
}

pub(super) const SOON: Duration = Duration::from_secs(2);
