//! The whole daemon, driven by a script. What it opens, the relay's control must take.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use bytes::BytesMut;
use ecp::{Header, Operation, Seq, Subtype};
use ether::{EtherType, FrameView, Instant, MacAddr, frame, mac, time::Duration};
use evbd::{
    Config, Core, Effect, Event, Input, Link, PortKind, VsiOrder, Which,
    config::{RoleConfig, VsiConfig},
};
use hairpin::{Control, EdgeMode, Extension, PortConfig, PortId, RelayKind, Role};
use lldp::{ChassisId, Lldpdu, Msap, OrgKey, OrgTlv, Oui, Scope};
use vdp::{Command, FilterEntry, FilterInfo, Hints, ManagerId, TypeId, TypeVersion, tlv::Vdpdu};

use super::{
    engines::{answer, association, pdu},
    relay::LIMITS,
    script::{Script, ahead, drained, due},
};

pub(super) fn core_station(octets: &[u8]) {
    play(
        octets,
        [
            "",
            "on_peer_loss = \"release\"\nfallback = \"isolate\"\nprobe_interval = 1\n",
            "mode = \"vepa\"\nfallback = \"hold\"\nmanual = true\nack_timer_exponent = 0\n",
            "mode = \"private\"\nresource_wait_exponent = 0\nkeep_alive_exponent = 0\nretries = 0\n",
        ],
        "role = \"station\"\n[[port]]\ninterface = \"up\"\nkind = \"uplink\"\n\
         [[vsi]]\nname = \"web\"\ninterface = \"vm1\"\nid = \"b2a7f3c1-0d4e-4b6a-9c55-112233445566\"\n\
         type = 43981\nversion = 2\nmac = \"52:54:00:11:22:33\"\nmanager = \"0x01000000000000000000000000000000\"\n\
         [[vsi]]\nname = \"db\"\ninterface = \"vm2\"\nid = \"local:01010101010101010101010101010101\"\n\
         type = 43981\nversion = 2\nmac = \"52:54:00:11:22:34\"\nvlan = 100\npcp = 5\n",
    );
}

pub(super) fn core_bridge(octets: &[u8]) {
    play(
        octets,
        [
            "",
            "on_peer_loss = \"release\"\n",
            "reflective_relay = false\nmanual = true\nack_timer_exponent = 0\n",
            "resource_wait_exponent = 0\nkeep_alive_exponent = 0\nretries = 0\n",
        ],
        "role = \"bridge\"\n[[port]]\ninterface = \"down1\"\nkind = \"station\"\n\
         [[port]]\ninterface = \"down2\"\nkind = \"station\"\n[[port]]\ninterface = \"lan\"\nkind = \"lan\"\n\
         [[profile]]\nname = \"web\"\ntype = 43981\nversion = 2\nvlans = [100, 101]\ndefault_pcp = 1\nmax_macs = 60\n\
         manager = \"0x01000000000000000000000000000000\"\n",
    );
}

/// Drives the daemon that `toml` configures, with one of `evb` as the section of that name.
fn play(octets: &[u8], evb: [&str; 4], toml: &str) {
    let script = &mut Script::new(octets);
    let with = |which: u8, toml: &str| format!("{toml}[evb]\n{}", evb[usize::from(which & 3)]);
    let mut daemon = Daemon::new(&with(script.octet(), toml));
    while let Some(step) = script.step(16) {
        let port = PortId(script.octet().into()).min(PortId(5));
        match step {
            0 => daemon.frame(port, script.string().to_vec()),
            1 => {
                let scope = Scope::ALL[usize::from(script.octet()) % 3];
                daemon.frame(
                    port,
                    frame::build(scope.address(), script.mac(), EtherType::LLDP, script.string()),
                );
            }
            2 => daemon.frame(port, evb_neighbor(script)),
            3 => {
                let operation = if script.flag() { Operation::Request } else { Operation::Ack };
                daemon.ecp(port, operation, script.number(), script.string());
            }
            4 => {
                let sequence = script.number();
                daemon.ecp(
                    port,
                    Operation::Request,
                    sequence,
                    &pdu(ManagerId::legacy(1), association(script)),
                );
            }
            5 => {
                // An acknowledgement of what was sent last, then an answer to it.
                let Some((header, payload)) = daemon.sent.clone() else { continue };
                daemon.ecp(port, Operation::Ack, header.sequence.0, &[]);
                daemon.ecp(port, Operation::Request, script.number(), &answer(&payload, script.octet()));
            }
            6 => {
                let (state, mac) = (script.octet(), script.mac());
                let ifindex = u32::from(port.0) + 1;
                let present = Link::Present { up: state & 1 == 1, mac, ifindex, mtu: 1500 };
                daemon.input(Input::Link { port, link: if state & 2 == 2 { Link::Absent } else { present } });
            }
            7 => daemon.input(Input::ReflectiveApplied { port, on: script.flag() }),
            8 => daemon.now += script.wait(),
            11 => {
                // Another section, the last VSI or profile gone, another interface in the place of the second.
                let how = script.octet();
                let whole = if how & 4 == 0 { toml.len() } else { toml.rfind("[[").unwrap() };
                let toml =
                    if how & 8 == 0 { toml[..whole].to_owned() } else { toml[..whole].replace("2\"", "3\"") };
                daemon.input(Input::Reload { config: with(how, &toml) });
            }
            12 => daemon.order(script),
            13 => daemon.restart(),
            14 => daemon.input(Input::Deassociate),
            15 => daemon.input(Input::Goodbye),
            // What was sent last comes back.
            10 => daemon.frame(port, daemon.last.clone()),
            _ => {
                daemon.now = due(daemon.now, daemon.core.poll_timeout());
                daemon.input(Input::Timeout);
            }
        }
    }
    // Every interface is taken away and every peer falls silent: no gate stays open.
    for port in (0..=5).map(PortId) {
        daemon.input(Input::Link { port, link: Link::Absent });
    }
    for _ in 0..8 {
        daemon.now += Duration::from_secs(1_000_000);
        daemon.input(Input::Timeout);
    }
    assert_eq!(daemon.control.vsis().collect::<Vec<_>>(), []);
}

/// A core and the data path it thinks it has.
struct Daemon {
    core: Core,
    control: Control,
    kinds: BTreeMap<PortId, PortKind>,
    /// Ports whose link is up.
    up: BTreeSet<PortId>,
    /// Interfaces on which EVB is agreed.
    agreed: BTreeSet<String>,
    /// It was restarted: what was agreed before is believed for a while.
    resumed: bool,
    now: Instant,
    /// The ECP request sent last.
    sent: Option<(Header, Vec<u8>)>,
    /// The frame sent last.
    last: Vec<u8>,
}

impl Daemon {
    fn new(toml: &str) -> Self {
        let config = Config::parse("script.toml", toml).unwrap();
        let control = control(&config);
        let now = Instant::from_secs(1);
        let core = Core::new(config, 7, now);
        let mut daemon = Self {
            core,
            control,
            kinds: BTreeMap::new(),
            up: BTreeSet::new(),
            agreed: BTreeSet::new(),
            resumed: false,
            now,
            sent: None,
            last: Vec::new(),
        };
        daemon.ports();
        daemon.settle();
        daemon
    }

    /// Gives the data path the ports the core has, where they are others than before.
    fn ports(&mut self) {
        let kinds: BTreeMap<_, _> = self.core.ports().map(|(id, _, kind)| (id, kind)).collect();
        for (id, kind) in &self.kinds {
            if kinds.get(id) != Some(kind) {
                self.control.remove_port(*id);
                self.up.remove(id);
            }
        }
        for (&id, kind) in kinds.iter().filter(|(id, kind)| self.kinds.get(id) != Some(kind)) {
            let port = match kind {
                PortKind::Uplink => PortConfig::new(id, Role::Uplink),
                PortKind::Vm => PortConfig::new(id, Role::Downlink),
                PortKind::Station | PortKind::Lan => PortConfig::lan(id),
                PortKind::Cascade | PortKind::Transit => PortConfig::new(id, Role::Cascade),
                PortKind::Upstream => PortConfig::new(id, Role::Upstream),
                PortKind::Extended => PortConfig::new(id, Role::Extended),
            };
            self.control.set_port(port).unwrap();
        }
        self.kinds = kinds;
    }

    /// The process ends and starts again with what was to be remembered; its links stay up, and it is told of them.
    fn restart(&mut self) {
        let (records, config) = (self.core.records(), self.core.config().clone());
        self.control = control(&config);
        self.core = Core::new(config, 7, self.now);
        self.kinds.clear();
        self.ports();
        self.settle();
        self.sent = None;
        self.resumed = true;
        let up = self.up.clone();
        self.up.extend(self.kinds.keys());
        self.input(Input::Resume { records });
        self.up.clear();
        for (port, mac) in up.into_iter().zip((0xd0..).map(|n| MacAddr(2, 0, 0, 0, 0x0d, n))) {
            let ifindex = u32::from(port.0) + 1;
            self.input(Input::Link { port, link: Link::Present { up: true, mac, ifindex, mtu: 1500 } });
        }
    }

    fn frame(&mut self, port: PortId, frame: Vec<u8>) {
        self.input(Input::Frame { port, frame });
    }

    fn ecp(&mut self, port: PortId, operation: Operation, sequence: u16, payload: &[u8]) {
        let mut ecpdu = BytesMut::new();
        Header { operation, subtype: Subtype::Vdp, sequence: Seq(sequence) }.put(&mut ecpdu);
        ecpdu.extend_from_slice(payload);
        self.frame(port, frame::build(mac::NEAREST_CUSTOMER_BRIDGE, PEER, EtherType::ECP, &ecpdu));
    }

    /// An order for a VSI of the configuration, of the run, or for nobody.
    fn order(&mut self, script: &mut Script<'_>) {
        let commands =
            [Command::PreAssociate, Command::PreAssociateRr, Command::Associate, Command::DeAssociate];
        let command = commands[usize::from(script.octet() & 3)];
        let how = script.octet();
        let name = ["web", "db", "52:54:00:11:22:35", "192.0.2.1"][usize::from(how & 3)];
        let vsi = if how & 4 == 0 {
            Which::Known(name.to_owned())
        } else {
            let entry = FilterEntry {
                mac: Some(MacAddr(0x52, 0x54, 0, 0x11, 0x22, script.octet())),
                ..FilterEntry::default()
            };
            let Ok(filter) = FilterInfo::new(vec![entry]) else { return };
            Which::Given(VsiConfig {
                name: format!("given{}", how >> 6),
                interface: format!("vm{}", 2 + (how >> 3 & 3)),
                id: Ipv4Addr::new(192, 0, 2, how >> 5 & 1).into(),
                manager: ManagerId::legacy(1),
                type_id: TypeId::new(43981).unwrap(),
                type_version: TypeVersion(2),
                filter,
                ips: Vec::new(),
                automatic: how & 0x80 != 0,
                transient: how & 0x40 != 0,
                channel: None,
            })
        };
        let hints = Hints { suspended: how & 1 == 1, migrating: how & 2 == 2 };
        self.input(Input::Vsi { order: VsiOrder { command, vsi, hints, port: None } });
    }

    fn input(&mut self, input: Input) {
        let text = serde_json::to_string(&input).unwrap();
        assert_eq!(serde_json::from_str::<Input>(&text).unwrap(), input);
        let timeout = input == Input::Timeout;
        if let Input::Link { port, link } = &input {
            let known = link.is_up() && self.kinds.contains_key(port);
            if known {
                self.up.insert(*port)
            } else {
                self.up.remove(port)
            };
        }
        self.core.handle(self.now, input);
        self.settle();
        self.ports();
        if timeout {
            ahead(self.now, self.core.poll_timeout());
        }
    }

    /// Does what the core wants done; it must be possible.
    fn settle(&mut self) {
        for effect in drained(|| self.core.poll_effect()) {
            match effect {
                Effect::Transmit { port, frame } => {
                    assert!(self.kinds[&port].speaks());
                    self.transmitted(port, &frame);
                    self.last = frame;
                }
                Effect::SwitchReflective { port, on } => {
                    let config = PortConfig { reflective: on, ..self.control.port(port).unwrap().clone() };
                    self.control.set_port(config).unwrap();
                }
                Effect::Remember(_) | Effect::Forget(_) => {}
                Effect::SwitchRelay { mode, .. } => self.control.set_mode(mode).unwrap(),
                Effect::OpenVsi { key, entry } => {
                    self.permitted(entry.port);
                    self.control.open_vsi(key, entry).unwrap();
                }
                Effect::CloseVsi { key } => drop(self.control.close_vsi(key).unwrap()),
                Effect::FollowPorts | Effect::FollowPort(_) => self.ports(),
                Effect::Flood { cascade, vlan, channel } => self.control.set_flood(cascade, vlan, channel),
                Effect::Channel { ecid, members } => self.control.set_channel(ecid, members),
                Effect::Upstream(port) => self.control.set_upstream(port),
                Effect::Extend { port, parameters, untagged } => {
                    let extension = parameters.map(Extension::End);
                    let old = self.control.port(port).unwrap().clone();
                    self.control.set_port(PortConfig { extension, untagged, ..old }).unwrap();
                }
                Effect::FollowChannels(_)
                | Effect::FollowExtended(_)
                | Effect::SetInterface { .. }
                | Effect::Count { .. }
                | Effect::FollowEnd(_)
                | Effect::FollowProfiles
                | Effect::AskManager(_)
                | Effect::ApplyDcb { .. } => {}
                Effect::Event(event) => {
                    serde_json::to_string(&event).unwrap();
                    if let Event::Evb { port, status } = event {
                        if status.is_agreed() {
                            self.agreed.insert(port)
                        } else {
                            self.agreed.remove(&port)
                        };
                    }
                }
            }
        }
    }

    /// A bridge lets frames pass only for a station that is there and has agreed on EVB.
    fn permitted(&self, port: PortId) {
        if self.kinds[&port] == PortKind::Station {
            let interface = self.core.ports().find(|(id, ..)| *id == port).unwrap().1;
            assert!(self.up.contains(&port), "{port:?} is down");
            assert!(self.resumed || self.agreed.contains(interface), "no EVB on {interface}");
        }
    }

    fn transmitted(&mut self, port: PortId, octets: &[u8]) {
        assert!((frame::MIN..=frame::HEADER + 1500).contains(&octets.len()));
        let view = FrameView::parse(octets).unwrap();
        match view.ethertype {
            EtherType::LLDP => assert_eq!(Lldpdu::parse(view.payload).unwrap().faults, []),
            EtherType::ECP => {
                assert!(self.up.contains(&port), "ECP out of {port:?}, which is down");
                let (header, payload) = Header::parse(view.payload).unwrap();
                if header.operation == Operation::Request {
                    Vdpdu::parse(payload).unwrap();
                    self.sent = Some((header, payload.to_vec()));
                }
            }
            EtherType::PROBE => assert_eq!(view.dst, mac::PROBE_GROUP),
            // The address of a VM whose gate has opened.
            EtherType(0x8035) => assert!(view.tag.is_some() && mac::is_station(view.src)),
            other => panic!("a frame of EtherType {other}"),
        }
    }
}

/// The relay of a daemon that starts.
fn control(config: &Config) -> Control {
    let kind = match config.role {
        RoleConfig::Bridge(_) => RelayKind::Bridge,
        RoleConfig::Station(_) => RelayKind::Edge(EdgeMode::Veb),
        RoleConfig::Extender(_) => RelayKind::Extender,
    };
    Control::new(kind, &LIMITS)
}

/// An LLDPDU with an EVB TLV and nothing else.
fn evb_neighbor(script: &mut Script<'_>) -> Vec<u8> {
    let src = script.mac();
    let msap = Msap { chassis: ChassisId::mac(src), port: lldp::PortId::mac(src) };
    let mut pdu = Lldpdu::new(msap, script.octet().into());
    let key = OrgKey { oui: Oui::IEEE_802_1, subtype: 0x0d };
    pdu.org.push(OrgTlv::new(key, (0..5).map(|_| script.octet()).collect::<Vec<_>>()).unwrap());
    let emitted = pdu.emit(lldp::pdu::MAX_LEN);
    frame::build(mac::NEAREST_CUSTOMER_BRIDGE, src, EtherType::LLDP, &emitted.octets)
}

/// The peer of every port.
const PEER: MacAddr = MacAddr(2, 0, 0, 0, 0x0b, 1);
