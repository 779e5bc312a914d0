//! The real relay beside a bridge's core, for suites that look at where frames go.

use ether::{FrameView, Instant, MacAddr, Tag};
use evbd::{
    Config,
    config::{BridgePort, BridgePortKind},
};
use hairpin::{
    Control, Frame, Limits, Outcome, PortConfig, PortId, Relay, RelayKind, Role, Verdict, VsiEntry, VsiKey,
};

/// The relay of a bridge.
pub(super) struct Forwarding {
    control: Control,
    relay: Relay,
    verdict: Verdict,
}

/// What becomes of a frame.
pub(super) enum Fate {
    /// It is the daemon's.
    Punted,
    /// These frames leave.
    Sent(Vec<(PortId, Vec<u8>)>),
}

impl Forwarding {
    /// The relay of a bridge with this configuration; its ports are up.
    pub(super) fn new(config: &Config) -> Self {
        let limits = Limits { ports: 16, ..Limits::DEFAULT };
        let mut control = Control::new(RelayKind::Bridge, &limits);
        let bridge = config.bridge().expect("only a bridge forwards");
        for (port, id) in bridge.ports.iter().zip((0..).map(PortId)) {
            control.set_port(port_config(id, port, bridge.guard)).expect("a port of a bridge");
        }
        let mut forwarding = Self { control, relay: Relay::new(limits), verdict: Verdict::new(limits.ports) };
        forwarding.publish();
        forwarding
    }

    pub(super) fn open(&mut self, key: VsiKey, entry: VsiEntry) {
        self.control.open_vsi(key, entry).expect("what the core opens can be opened");
        self.publish();
    }

    pub(super) fn close(&mut self, key: VsiKey) {
        self.control.close_vsi(key);
        self.publish();
    }

    pub(super) fn reflect(&mut self, port: PortId, on: bool) {
        if let Some(config) = self.control.port(port).cloned() {
            self.control.set_port(PortConfig { reflective: on, ..config }).expect("it is there");
            self.publish();
        }
    }

    pub(super) fn link(&mut self, port: PortId, up: bool) {
        if let Some(config) = self.control.port(port).cloned() {
            self.control.set_port(PortConfig { up, ..config }).expect("it is there");
            self.publish();
        }
    }

    pub(super) fn process(&mut self, now: Instant, port: PortId, octets: &[u8]) -> Fate {
        let Ok(view) = FrameView::parse(octets) else { return Fate::Sent(Vec::new()) };
        let frame = Frame {
            dst: view.dst,
            src: view.src,
            tag: view.tag,
            ethertype: view.ethertype,
            len: u32::try_from(octets.len()).expect("frames are short"),
            payload: view.payload,
        };
        self.relay.process(&self.relay.load(), now, port, &frame, &mut self.verdict);
        match self.verdict.outcome() {
            Outcome::Punt(_) => Fate::Punted,
            Outcome::Drop(_) => Fate::Sent(Vec::new()),
            Outcome::Forward => {
                let copies = self.verdict.copies().iter();
                Fate::Sent(copies.map(|copy| (copy.port, tagged(&view, copy.tag))).collect())
            }
        }
    }

    /// Where a station behind `from` finds `to`: the ports its frames leave by.
    pub(super) fn reach(&self, now: Instant, from: PortId, to: MacAddr, tag: Option<Tag>) -> Vec<PortId> {
        let frame = Frame {
            dst: to,
            src: MacAddr::new(2, 0xff, 0, 0, 0, 1),
            tag,
            ethertype: ether::EtherType(0x88b5),
            len: 60,
            payload: &[],
        };
        self.relay.trace(now, from, &frame, false).copies.iter().map(|copy| copy.port).collect()
    }

    fn publish(&mut self) {
        self.relay.publish(self.control.snapshot());
    }
}

fn tagged(view: &FrameView<'_>, tag: Option<Tag>) -> Vec<u8> {
    let mut octets = [view.dst.octets(), view.src.octets()].concat();
    if let Some(tag) = tag {
        octets.extend(tag.to_bytes());
    }
    octets.extend(view.ethertype.0.to_be_bytes());
    octets.extend(view.payload);
    octets
}

fn port_config(id: PortId, port: &BridgePort, guard: bool) -> PortConfig {
    let new = PortConfig { name: port.interface.clone(), up: true, ..PortConfig::new(id, Role::Bridge) };
    match &port.kind {
        BridgePortKind::Station => PortConfig { guard, ..new },
        BridgePortKind::Lan { untagged, tagged, takes_over } => PortConfig {
            pvid: *untagged,
            untagged: untagged.iter().copied().collect(),
            tagged: tagged.iter().copied().collect(),
            takes_over: *takes_over,
            ..new
        },
    }
}
