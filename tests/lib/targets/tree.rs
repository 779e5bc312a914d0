//! The whole daemon with S-channels and port extension, driven by a script: what it wants, its own data path must take, and
//! no port of a port extender is there that nobody speaks for.

use std::collections::BTreeMap;

use ether::{EtherType, FrameView, Instant, MacAddr, frame, mac, time::Duration};
use evbd::{Config, Core, Effect, Input, Link, Plane, PortKind, Record, RecordKey};
use hairpin::PortId;
use lldp::{ChassisId, Lldpdu, Msap, OrgKey, OrgTlv, Oui, Scope};
use pe::{CascadePriority, PortExtensionTlv};

use super::{
    extension::Voice,
    script::{Script, ahead, due},
};

pub(super) fn core_cascade(octets: &[u8]) {
    play(
        octets,
        "role = \"bridge\"\n[[port]]\ninterface = \"c0\"\nkind = \"lan\"\nuntagged = 1\ntagged = [100]\ncascade = true\n\
         [[port]]\ninterface = \"c1\"\nkind = \"station\"\ncascade = true\n\
         [[port]]\ninterface = \"down\"\nkind = \"station\"\nsvids = \"100-103\"\n\
         [[profile]]\nname = \"web\"\ntype = 43981\nversion = 2\nvlans = [100, 101]\n",
    );
}

pub(super) fn core_extender(octets: &[u8]) {
    play(
        octets,
        "role = \"extender\"\n[extension]\nupstream_loss = { hold = 10 }\n[[port]]\ninterface = \"up\"\nkind = \"upstream\"\n\
         [[port]]\ninterface = \"up2\"\nkind = \"upstream\"\n[[port]]\ninterface = \"e0\"\nkind = \"extended\"\n\
         [[port]]\ninterface = \"e1\"\nkind = \"extended\"\n[[port]]\ninterface = \"k0\"\nkind = \"cascade\"\n",
    );
}

pub(super) fn core_channels(octets: &[u8]) {
    play(
        octets,
        "role = \"station\"\n[[port]]\ninterface = \"up\"\nkind = \"uplink\"\n\
         channels = [{ name = \"one\", id = 2, mode = \"vepa\" }, { name = \"two\", id = 3 }]\n\
         [[vsi]]\nname = \"web\"\ninterface = \"vm1\"\nid = \"b2a7f3c1-0d4e-4b6a-9c55-112233445566\"\n\
         type = 43981\nversion = 2\nmac = \"52:54:00:11:22:33\"\nchannel = \"one\"\n",
    );
}

fn play(octets: &[u8], toml: &str) {
    let script = &mut Script::new(octets);
    let mut daemon = Daemon::new(toml);
    while let Some(step) = script.step(11) {
        let port = PortId(u16::from(script.octet() & 15));
        match step {
            0 => daemon.frame(port, script.string().to_vec()),
            1 => {
                let scope = Scope::ALL[usize::from(script.octet()) % 3];
                let (from, pdu) = (script.mac(), script.string());
                daemon.frame(port, frame::build(scope.address(), from, EtherType::LLDP, pdu));
            }
            2 => {
                let neighbor = daemon.neighbor(script);
                daemon.frame(port, neighbor);
            }
            3 => {
                let ecpdu = daemon.voice.request(script);
                daemon.csp(port, &ecpdu);
            }
            4 => {
                if let Some(ecpdu) = daemon.voice.answer(script.octet()) {
                    daemon.csp(port, &ecpdu);
                }
            }
            5 => {
                let state = script.octet();
                let mac = MacAddr(2, 0, 0, 0, 0x0d, port.0.to_be_bytes()[1]);
                let ifindex = u32::from(port.0) + 1;
                let present = Link::Present { up: state & 1 == 1, mac, ifindex, mtu: 1512 };
                daemon.input(Input::Link { port, link: if state & 6 == 6 { Link::Absent } else { present } });
            }
            6 => daemon.now += script.wait(),
            7 => daemon.restart(),
            8 => {
                // The last port gone, or as it was.
                let whole = if script.flag() { toml.len() } else { toml.rfind("[[").unwrap() };
                daemon.input(Input::Reload { config: toml[..whole].to_owned() });
            }
            // What was sent last comes back.
            9 => daemon.frame(port, daemon.last.clone()),
            _ => {
                daemon.now = due(daemon.now, daemon.core.poll_timeout());
                daemon.input(Input::Timeout);
                ahead(daemon.now, daemon.core.poll_timeout());
            }
        }
    }
    // Every interface is taken away: what was made for others goes.
    for port in (0..16).map(PortId) {
        daemon.input(Input::Link { port, link: Link::Absent });
    }
    for _ in 0..4 {
        daemon.now += Duration::from_secs(1_000_000);
        daemon.input(Input::Timeout);
    }
    let extended: Vec<&str> =
        daemon.core.ports().map(|(_, name, _)| name).filter(|name| name.contains(':')).collect();
    assert_eq!(extended, [""; 0]);
    if let Some(control) = daemon.plane.as_ref().map(Plane::control) {
        assert_eq!((control.floods().count(), control.channels().count()), (0, 0));
    }
}

struct Daemon {
    core: Core,
    /// None on a station: that has several.
    plane: Option<Plane>,
    voice: Voice,
    records: BTreeMap<RecordKey, Record>,
    now: Instant,
    last: Vec<u8>,
}

impl Daemon {
    fn new(toml: &str) -> Self {
        let config = Config::parse("script.toml", toml).unwrap();
        let now = Instant::from_secs(1);
        let core = Core::new(config, 7, now);
        let plane = plane(&core);
        let mut daemon =
            Self { core, plane, voice: Voice::new(), records: BTreeMap::new(), now, last: Vec::new() };
        daemon.settle();
        daemon
    }

    /// The process ends and starts again with what was to be remembered.
    fn restart(&mut self) {
        let config = self.core.config().clone();
        self.core = Core::new(config, 7, self.now);
        self.plane = plane(&self.core);
        self.settle();
        let records = self.records.values().cloned().collect();
        self.input(Input::Resume { records });
    }

    /// An LLDPDU with the TLVs of port extension.
    fn neighbor(&self, script: &mut Script<'_>) -> Vec<u8> {
        let (kind, priority) = (script.octet(), script.octet());
        let msap = Msap { chassis: ChassisId::mac(PEER), port: lldp::PortId::mac(PEER) };
        let mut pdu = Lldpdu::new(msap, script.octet().into());
        let tlv = PortExtensionTlv { priority: CascadePriority(priority), address: PEER, csp_address: PEER };
        let mut say = |oui: [u8; 3], subtype: u8, info: Vec<u8>| {
            pdu.org.push(OrgTlv::new(OrgKey { oui: Oui(oui), subtype }, info).unwrap());
        };
        say(pe::OUI, pe::SUBTYPE, tlv.to_bytes().to_vec());
        if let Some(marker) = self.voice.marker(kind) {
            say(pe::marker::OUI, pe::marker::SUBTYPE, marker.to_bytes().to_vec());
        }
        let emitted = pdu.emit(lldp::pdu::MAX_LEN);
        frame::build(mac::NEAREST_BRIDGE, PEER, EtherType::LLDP, &emitted.octets)
    }

    fn csp(&mut self, port: PortId, ecpdu: &[u8]) {
        self.frame(port, frame::build(mac::NEAREST_BRIDGE, PEER, EtherType::ECP, ecpdu));
    }

    fn frame(&mut self, port: PortId, frame: Vec<u8>) {
        self.input(Input::Frame { port, frame });
    }

    fn input(&mut self, input: Input) {
        let text = serde_json::to_string(&input).unwrap();
        assert_eq!(serde_json::from_str::<Input>(&text).unwrap(), input);
        if let Input::Link { port, link } = &input
            && self
                .core
                .port(*port)
                .is_some_and(|(name, kind)| !name.contains([':', '/']) && kind != PortKind::Vm)
            && let Some(plane) = self.plane.as_mut().filter(|plane| plane.control().port(*port).is_some())
        {
            plane.set_up(*port, link.is_up());
        }
        self.core.handle(self.now, input);
        // What is acknowledged may be followed by more.
        for _ in 0..ROUNDS {
            let acks = self.settle();
            if acks.is_empty() {
                return;
            }
            for (port, ecpdu) in acks {
                let frame = frame::build(mac::NEAREST_BRIDGE, PEER, EtherType::ECP, &ecpdu);
                self.core.handle(self.now, Input::Frame { port, frame });
            }
        }
        panic!("it talks for ever");
    }

    /// Does what the core wants done; it must be possible. Acknowledgements of what it sent.
    fn settle(&mut self) -> Vec<(PortId, Vec<u8>)> {
        let mut acks = Vec::new();
        let effects: Vec<Effect> = std::iter::from_fn(|| self.core.poll_effect()).take(EFFECTS + 1).collect();
        assert!(effects.len() <= EFFECTS, "too many effects of one input");
        for effect in effects {
            if let Effect::Transmit { port, frame } = &effect {
                assert!(self.core.port(*port).is_none_or(|(_, kind)| kind.speaks()));
                assert!((frame::MIN..=frame::HEADER + 1500).contains(&frame.len()));
                let view = FrameView::parse(frame).unwrap();
                if view.ethertype == EtherType::ECP
                    && ecp::peek_subtype(view.payload) == Ok(ecp::Subtype::PeCsp)
                {
                    acks.extend(self.voice.hear(view.payload).into_iter().map(|ack| (*port, ack)));
                }
                self.last.clone_from(frame);
            }
            match &effect {
                Effect::Remember(record) => drop(self.records.insert(record.key(), record.clone())),
                Effect::Forget(key) => drop(self.records.remove(key)),
                Effect::Event(event) => drop(serde_json::to_string(event).unwrap()),
                _ => {}
            }
            let (Some(plane), core) = (&mut self.plane, &self.core) else { continue };
            match effect {
                Effect::FollowPort(port) => plane.follow_port(core, port).unwrap(),
                Effect::FollowPorts => {
                    let before = plane.control().ports().map(|port| port.id);
                    let ports: Vec<PortId> = before.chain(core.ports().map(|(port, ..)| port)).collect();
                    ports.into_iter().for_each(|port| plane.follow_port(core, port).unwrap());
                }
                Effect::FollowExtended(cascade) => plane.follow_extended(core, cascade),
                Effect::FollowEnd(port) => plane.follow_end(core, port),
                Effect::OpenVsi { key, entry } => plane.open_vsi(key, entry).unwrap(),
                Effect::CloseVsi { key } => plane.close_vsi(key),
                other => drop(plane.extend(other).unwrap()),
            }
        }
        if let Some(plane) = &mut self.plane {
            plane.commit();
        }
        acks
    }
}

fn plane(core: &Core) -> Option<Plane> {
    core.config().station().is_none().then(|| Plane::of(core).unwrap())
}

/// Who is at the other end of everything.
const PEER: MacAddr = MacAddr(2, 0, 0, 0, 0x0b, 1);
const EFFECTS: usize = 4000;
const ROUNDS: u32 = 2000;
