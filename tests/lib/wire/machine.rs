//! One daemon without I/O and its data path.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ether::{EtherType, FrameView, Instant, MacAddr};
use evbd::{Config, Core, Event, Plane, PortId, PortKind, Record, RecordKey};
use hairpin::{EdgeMode, VsiEntry, VsiKey, svlan};

use super::forwarding::Forwarding;

/// One daemon without I/O and its data path.
pub struct Machine {
    pub(super) config: Config,
    pub(super) core: Core,
    /// Gates the core opened.
    pub open: BTreeMap<VsiKey, VsiEntry>,
    /// Ports that reflect.
    pub reflective: BTreeMap<PortId, bool>,
    /// The relay, on what forwards.
    pub(super) forwarding: Option<Forwarding>,
    /// What devices were told of data center bridging.
    pub applied: BTreeMap<PortId, dcbx::Settings>,
    /// What the edge relay does.
    pub mode: EdgeMode,
    /// What each edge relay was told to do, by its uplink or S-channel.
    pub modes: BTreeMap<PortId, EdgeMode>,
    /// Frames of [`super::DATA`] that arrived, each with the port it was for, or by which it left the wire.
    pub received: Vec<Arrived>,
    /// A bridge's extended ports, by the ports of port extenders they were made for, the last at the end.
    pub(super) grants: BTreeMap<(MacAddr, u32), Vec<Grant>>,
    /// Which of those each is that is there now.
    pub(super) made: BTreeMap<PortId, ((MacAddr, u32), usize)>,
    /// Extended ports that are up.
    pub(super) extended: BTreeSet<String>,
    /// Frames of S-VLANs that belong to no channel.
    pub unknown: u64,
    /// Sends no probe back, whatever it says.
    pub liar: bool,
    /// Every frame it sent in a VLAN, with its time: probes and announcements.
    pub sent: Vec<(Instant, Vec<u8>)>,
    /// What the core had remembered: all that survives [`super::Wire::kill`].
    pub journal: BTreeMap<RecordKey, Record>,
    /// The process was killed.
    pub(super) dead: bool,
    /// Effects until it is killed.
    pub(super) fuse: Option<u32>,
    /// How often it asked a VSI manager for news.
    pub asked: u32,
    /// The EtherType of the ECP frame it sent last.
    pub ecp: Option<EtherType>,
    /// Every event, with its time.
    pub events: Vec<(Instant, Event)>,
    /// Ports without a cable that have no carrier.
    pub(super) dark: BTreeSet<PortId>,
    /// Cable at each port.
    pub(super) cables: BTreeMap<PortId, usize>,
    /// Counted up at each restart: what was due before concerns nobody.
    pub(super) life: u32,
}

/// A frame that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// When.
    pub at: Instant,
    /// The port it was for, or left the wire by.
    pub port: String,
    /// The frame.
    pub frame: Vec<u8>,
}

/// An extended port a bridge has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// What it is called.
    pub port: String,
    /// When it was made.
    pub since: Instant,
    /// When it went.
    pub until: Option<Instant>,
}

impl Grant {
    pub(super) fn end(&mut self, now: Instant) {
        self.until.get_or_insert(now);
    }

    /// Whether it was there, or would have been had a frame taken no longer than `grace`.
    #[must_use]
    pub fn covers(&self, at: Instant, grace: Duration) -> bool {
        self.since <= at && self.until.is_none_or(|until| at <= until + grace)
    }
}

impl Machine {
    /// A machine that has just been started.
    pub(super) fn new(config: Config, core: Core) -> Self {
        let mode = core.relay();
        let cascades =
            config.bridge().is_some_and(|bridge| bridge.ports.iter().any(|port| port.cascade.is_some()));
        let forwarding = (cascades || config.extender().is_some()).then(|| Forwarding::new(&core));
        Self {
            config,
            core,
            open: BTreeMap::new(),
            reflective: BTreeMap::new(),
            forwarding,
            applied: BTreeMap::new(),
            mode,
            modes: BTreeMap::new(),
            received: Vec::new(),
            grants: BTreeMap::new(),
            made: BTreeMap::new(),
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
            dark: BTreeSet::new(),
            cables: BTreeMap::new(),
            life: 0,
        }
    }

    /// The number of the port at `interface`.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn port(&self, interface: &str) -> PortId {
        let found = self.core.ports().find(|(_, name, _)| *name == interface);
        found.unwrap_or_else(|| panic!("no port {interface}")).0
    }

    pub(super) fn name(&self, port: PortId) -> String {
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

    /// What the port called `interface` is for.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn kind(&self, interface: &str) -> PortKind {
        self.core.port(self.port(interface)).expect("it was found").1
    }

    /// Whether an extended port is up.
    #[must_use]
    pub fn is_up(&self, interface: &str) -> bool {
        self.extended.contains(interface)
    }

    /// Extended ports that are up.
    #[must_use]
    pub fn extended_up(&self) -> usize {
        self.extended.len()
    }

    /// Their names.
    pub fn extended(&self) -> impl Iterator<Item = &str> {
        self.extended.iter().map(String::as_str)
    }

    /// Its relay, if it is one that forwards.
    #[must_use]
    pub fn plane(&self) -> Option<&Plane> {
        self.forwarding.as_ref().map(Forwarding::plane)
    }

    /// The extended ports that were made for this port of a port extender, the last at the end.
    #[must_use]
    pub fn grants(&self, of: (MacAddr, u32)) -> &[Grant] {
        self.grants.get(&of).map_or(&[], |grants| grants)
    }

    /// The extended port that is this port of a port extender.
    #[must_use]
    pub fn grant(&self, of: (MacAddr, u32)) -> Option<&str> {
        self.grants(of).last().filter(|grant| grant.until.is_none()).map(|grant| grant.port.as_str())
    }

    /// A port has come or is gone: for which port of a port extender it was made.
    pub(super) fn note_grant(&mut self, now: Instant, port: PortId) {
        let made = self.core.made_for(port).zip(self.core.port(port));
        let name = made.map(|(_, (name, _))| name.to_owned());
        let of = made.map(|(of, _)| of);
        let before = self.made.remove(&port).and_then(|(of, at)| self.grants.get_mut(&of)?.get_mut(at));
        if let Some(grant) = before {
            grant.end(now);
        }
        if let (Some(of), Some(port_name)) = (of, name) {
            let grants = self.grants.entry(of).or_default();
            self.made.insert(port, (of, grants.len()));
            grants.push(Grant { port: port_name, since: now, until: None });
        }
    }

    /// Whether the kernel hands a frame that came to a port to the daemon.
    pub(super) fn hears(&self, port: PortId, frame: &[u8]) -> bool {
        let Ok(view) = FrameView::parse(frame) else { return false };
        let control = [EtherType::LLDP, EtherType::ECP, EtherType::OUI_EXTENDED].contains(&view.ethertype);
        control && view.tag.is_none() && self.core.port(port).is_some_and(|(_, kind)| kind.speaks())
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
    pub(super) fn through_svlan(&self, port: PortId, frame: &[u8]) -> Option<(PortId, Vec<u8>)> {
        let mut frame = frame.to_vec();
        let Some(uap) = self.core.uap(port) else { return Some((port, frame)) };
        let svid = self.core.component(uap).svid(port)?;
        let inner = FrameView::parse(&frame).ok()?.tag;
        frame.splice(12..12, svlan::tag(svid, inner).to_bytes());
        Some((uap, frame))
    }

    /// In by the S-VLAN component: the port it is for and what arrives there.
    pub(super) fn by_svlan(&self, uap: PortId, mut frame: Vec<u8>) -> Option<(PortId, Vec<u8>)> {
        let outer = FrameView::parse(&frame).ok()?.tag;
        if outer.is_none_or(|tag| tag.tpid != EtherType::S_VLAN) {
            return Some((uap, frame));
        }
        let port = self.core.component(uap).ingress(outer).ok()?;
        frame.drain(12..16);
        Some((port, frame))
    }

    /// Whether a frame is a probe that leaves by the port it came in on.
    pub(super) fn sends_back(&self, port: PortId, frame: &[u8]) -> bool {
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
