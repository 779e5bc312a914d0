//! One daemon without I/O and its data path.

use std::collections::{BTreeMap, BTreeSet};

use ether::{EtherType, FrameView, Instant, MacAddr};
use evbd::{Config, Core, Event, PortId, PortKind, Record, RecordKey};
use hairpin::{EdgeMode, VsiEntry, VsiKey, svlan};

use super::{
    extension::{Extension, Step},
    forwarding::Forwarding,
};

/// One daemon without I/O and its data path.
pub struct Machine {
    pub(super) config: Config,
    pub(super) core: Core,
    /// Gates the core opened.
    pub open: BTreeMap<VsiKey, VsiEntry>,
    /// Ports that reflect.
    pub reflective: BTreeMap<PortId, bool>,
    /// The relay, on a bridge that forwards.
    pub(super) forwarding: Option<Forwarding>,
    /// What devices were told of data center bridging.
    pub applied: BTreeMap<PortId, dcbx::Settings>,
    /// What the edge relay does.
    pub mode: EdgeMode,
    /// What each edge relay was told to do, by its uplink or S-channel.
    pub modes: BTreeMap<PortId, EdgeMode>,
    /// Frames of [`DATA`] that arrived, each with the port it was for.
    pub received: Vec<(String, Vec<u8>)>,
    /// What it knows of E-channels.
    pub(super) extension: Extension,
    /// Extended ports that are up.
    pub(super) extended: BTreeSet<String>,
    /// Frames of S-VLANs that belong to no channel.
    pub unknown: u64,
    /// Sends no probe back, whatever it says.
    pub liar: bool,
    /// Every frame it sent in a VLAN, with its time: probes and announcements.
    pub sent: Vec<(Instant, Vec<u8>)>,
    /// What the core had remembered: all that survives [`Wire::kill`].
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
    /// Cable at each port.
    pub(super) cables: BTreeMap<PortId, usize>,
    /// Counted up at each restart: what was due before concerns nobody.
    pub(super) life: u32,
}

impl Machine {
    /// A machine that has just been started.
    pub(super) fn new(config: Config, core: Core) -> Self {
        let mode = core.relay();
        Self {
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

    /// Channels of several members that its floods leave by.
    #[must_use]
    pub fn floods(&self) -> usize {
        self.extension.floods()
    }

    /// What becomes of a frame that came to a port, as far as E-channels are concerned.
    pub(super) fn steps(&self, port: PortId, frame: Vec<u8>) -> Vec<Step> {
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
    pub(super) fn flood(&self, from: PortId, frame: &[u8]) -> Vec<(PortId, Vec<u8>)> {
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
        let port = self.core.component(uap).ingress(outer).ok()?;
        if outer.is_some_and(|tag| tag.tpid == EtherType::S_VLAN) {
            frame.drain(12..16);
        }
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
