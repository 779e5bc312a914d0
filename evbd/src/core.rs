//! The whole daemon without I/O: inputs in, effects out, time as a value.
//!
//! After each [`Core::handle`] the caller drains [`Core::poll_effect`], then sleeps until [`Core::poll_timeout`] or the
//! next input. The same inputs at the same times with the same seed give the same effects.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ether::{Instant, MacAddr};
use hairpin::{EdgeMode, PortId, VsiKey};
use lldp::{
    Agent, AgentConfig, ChassisId, LocalInfo,
    basic::{Capabilities, CapabilitySet, PortSubtype},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use vdp::{
    Command, FilterEntry, FilterInfo, Hints, VsiId,
    bridge::BridgeConfig,
    station::{StationConfig, VsiRequest},
};

use crate::{
    config::{BridgePortKind, Config, RoleConfig, StationRelay, VsiConfig},
    dispatch::dispatch,
    effect::Effect,
    event::Event,
    input::{Input, Link},
    port::{Edge, Ignored, Port, PortKind, Side},
    vsidb::VsiDb,
    wiring,
};

/// One bridge or station.
pub struct Core {
    pub(crate) config: Config,
    pub(crate) ports: Vec<Port>,
    pub(crate) vsidb: VsiDb,
    /// What the edge relay of a station does now.
    pub(crate) relay: EdgeMode,
    pub(crate) effects: VecDeque<Effect>,
    /// Rows given to VSIs whose gate was opened.
    pub(crate) keys: BTreeMap<(PortId, VsiId), VsiKey>,
    next_key: u32,
    /// One chassis, however many ports: the address of the first interface seen.
    chassis: Option<MacAddr>,
    deadlines: BTreeSet<(Instant, PortId)>,
    random: StdRng,
}

impl Core {
    /// A core for `config`. `seed` feeds the few random choices the standards ask for.
    #[must_use]
    pub fn new(config: Config, seed: u64, now: Instant) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let ports = port_list(&config)
            .into_iter()
            .zip(0..)
            .map(|((interface, kind), number)| Port {
                id: PortId(number),
                interface,
                kind,
                link: Link::Absent,
                known: false,
                agents: Vec::new(),
                edge: edge(&config, kind, random.random(), now),
                ignored: Ignored::default(),
                deadline: None,
            })
            .collect();
        let vsidb = VsiDb::new(config.bridge().map_or(&[], |b| &b.profiles));
        let relay = wiring::wanted_relay(&config, None).0;
        let mut core = Self {
            config,
            ports,
            vsidb,
            relay,
            effects: VecDeque::new(),
            keys: BTreeMap::new(),
            next_key: 0,
            chassis: None,
            deadlines: BTreeSet::new(),
            random,
        };
        for index in 0..core.ports.len() {
            wiring::settle(&mut core, now, index);
        }
        core
    }

    /// Takes one input. An input for a port that does not exist is ignored.
    pub fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Link { port, link } => self.handle_link(now, port, link),
            Input::Frame { port, frame } => {
                if let Some(port) = self.ports.get_mut(port.index()) {
                    dispatch(port, now, &frame);
                }
                self.settle(now, port);
            }
            Input::ReflectiveApplied { port, on } => {
                if let Some(Side::Bridge { evb, .. }) = self.side_mut(port) {
                    evb.reflective_applied(on);
                    let name = self.interface(port).to_owned();
                    self.tell(Event::Reflective { port: name, on });
                }
                self.settle(now, port);
            }
            Input::Timeout => {
                while let Some(&(at, port)) = self.deadlines.first().filter(|(at, _)| *at <= now) {
                    self.deadlines.remove(&(at, port));
                    if let Some(port) = self.ports.get_mut(port.index()) {
                        port.deadline = None;
                        port.handle_timeout(now);
                    }
                    self.settle(now, port);
                }
            }
        }
    }

    /// The next thing to be done outside.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`Input::Timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// The configuration it runs by.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// What the edge relay of a station does now.
    #[must_use]
    pub const fn relay(&self) -> EdgeMode {
        self.relay
    }

    /// Ports as (number, interface, kind), in the order of their numbers.
    pub fn ports(&self) -> impl Iterator<Item = (PortId, &str, PortKind)> {
        self.ports.iter().map(|p| (p.id, p.interface.as_str(), p.kind))
    }

    pub(crate) fn interface(&self, port: PortId) -> &str {
        self.ports.get(port.index()).map_or("?", |p| p.interface.as_str())
    }

    pub(crate) fn tell(&mut self, event: Event) {
        self.effects.push_back(Effect::Event(event));
    }

    /// The row of a VSI, given at its first use.
    pub(crate) fn key(&mut self, port: PortId, id: &VsiId) -> VsiKey {
        *self.keys.entry((port, *id)).or_insert_with(|| {
            let key = VsiKey(self.next_key);
            self.next_key = self.next_key.wrapping_add(1);
            key
        })
    }

    /// The configured VSI with this instance identifier and the port of its VM.
    pub(crate) fn configured_vsi(&self, id: &VsiId) -> Option<(PortId, &VsiConfig)> {
        let vsi = self.config.station()?.vsis.iter().find(|vsi| vsi.id == *id)?;
        let port = self.ports.iter().find(|port| port.interface == vsi.interface)?;
        Some((port.id, vsi))
    }

    fn side_mut(&mut self, port: PortId) -> Option<&mut Side> {
        Some(&mut self.ports.get_mut(port.index())?.edge.as_mut()?.side)
    }

    fn settle(&mut self, now: Instant, port: PortId) {
        wiring::settle(self, now, port.index());
    }

    /// Files the port under its engines' next deadline.
    pub(crate) fn reschedule(&mut self, index: usize) {
        let Some(port) = self.ports.get_mut(index) else { return };
        let next = port.poll_timeout();
        if next == port.deadline {
            return;
        }
        if let Some(old) = port.deadline {
            self.deadlines.remove(&(old, port.id));
        }
        if let Some(next) = next {
            self.deadlines.insert((next, port.id));
        }
        port.deadline = next;
    }

    fn handle_link(&mut self, now: Instant, id: PortId, link: Link) {
        let first_sequence = self.random.random();
        let Some(port) = self.ports.get_mut(id.index()) else { return };
        if port.known && port.link == link {
            return;
        }
        port.known = true;
        let (was, is) = (port.link.is_up(), link.is_up());
        let absent = link == Link::Absent;
        port.link = link;
        if let Some(mac) = port.mac() {
            let chassis = *self.chassis.get_or_insert(mac);
            let local = local_info(&self.config, port, chassis);
            if port.agents.is_empty() {
                for &scope in port.kind.scopes() {
                    let config = AgentConfig {
                        scope,
                        admin_status: lldp::AdminStatus::RxTx,
                        timing: self.config.lldp.timing,
                        max_neighbors: self.config.lldp.max_neighbors,
                    };
                    port.agents.push(Agent::new(config, local.clone()));
                }
                wiring::announce(port, now);
            } else {
                for agent in &mut port.agents {
                    agent.set_local(now, local.clone());
                }
            }
        }
        for agent in &mut port.agents {
            agent.handle_link(now, is);
        }
        if let Some(edge) = port.edge.as_mut().filter(|_| was != is) {
            edge.ecp.reset(now, first_sequence);
            wiring::offer_readiness(edge, now, is);
        }
        let name = port.interface.clone();
        let vm = port.kind == PortKind::Vm;
        if absent {
            self.tell(Event::LinkAbsent { port: name.clone() });
        } else if was != is {
            self.tell(if is {
                Event::LinkUp { port: name.clone() }
            } else {
                Event::LinkDown { port: name.clone() }
            });
        }
        if vm {
            self.follow_vm(now, &name, absent);
        }
        self.settle(now, id);
    }

    /// A VM's interface came or went: its VSI is wanted or not.
    fn follow_vm(&mut self, now: Instant, interface: &str, absent: bool) {
        let Some(station) = self.config.station() else { return };
        let requests: Vec<_> = station
            .vsis
            .iter()
            .filter(|vsi| vsi.interface == interface)
            .filter_map(|vsi| request(vsi, if absent { Command::DeAssociate } else { Command::Associate }))
            .collect();
        let Some(uplink) = self.ports.iter().position(|p| p.kind == PortKind::Uplink) else { return };
        if let Some(Side::Station { vdp, .. }) =
            self.ports.get_mut(uplink).and_then(|p| Some(&mut p.edge.as_mut()?.side))
        {
            for request in requests {
                let id = request.id;
                if let Err(error) = vdp.command(now, request) {
                    tracing::warn!(%id, %error, "VSI command refused");
                }
            }
        }
        wiring::settle(self, now, uplink);
    }
}

/// The ports a configuration names: protocol ports first, so that the chassis is named after one.
fn port_list(config: &Config) -> Vec<(String, PortKind)> {
    match &config.role {
        RoleConfig::Station(station) => {
            let vms = station.vsis.iter().map(|vsi| (vsi.interface.clone(), PortKind::Vm));
            std::iter::once((station.uplink.clone(), PortKind::Uplink)).chain(vms).collect()
        }
        RoleConfig::Bridge(bridge) => bridge
            .ports
            .iter()
            .map(|port| {
                let kind = match port.kind {
                    BridgePortKind::Station => PortKind::Station,
                    BridgePortKind::Lan { .. } => PortKind::Lan,
                };
                (port.interface.clone(), kind)
            })
            .collect(),
    }
}

fn edge(config: &Config, kind: PortKind, first_sequence: u16, now: Instant) -> Option<Edge> {
    let proposal = config.proposal;
    let side = match (&config.role, kind) {
        (RoleConfig::Station(station), PortKind::Uplink) => {
            let mut evb = vdp::evb::Station::new(vdp::evb::StationConfig {
                proposal,
                gid_capable: false,
                manual: false,
            });
            evb.set_reflective_request(station.relay == StationRelay::Vepa);
            Side::Station { evb, vdp: vdp::Station::new(StationConfig::default(), proposal) }
        }
        (RoleConfig::Bridge(bridge), PortKind::Station) => Side::Bridge {
            evb: vdp::evb::Bridge::new(vdp::evb::BridgeConfig {
                reflective_capable: bridge.reflective_relay,
                gid_capable: false,
                proposal,
                manual: false,
            }),
            vdp: vdp::Bridge::new(BridgeConfig::default(), proposal),
        },
        _ => return None,
    };
    let ecp = ecp::Link::new(ecp::Subtype::Vdp, proposal.ecp_params(), first_sequence, now);
    Some(Edge { side, ecp, status: None, local_tlv: None, neighbors: 0 })
}

fn local_info(config: &Config, port: &Port, chassis: MacAddr) -> LocalInfo {
    let bridge = config.bridge().is_some();
    let capability = if bridge { CapabilitySet::BRIDGE } else { CapabilitySet::STATION_ONLY };
    LocalInfo {
        chassis: ChassisId::mac(chassis),
        port: port_id(port),
        port_description: Some(match port.kind {
            PortKind::Uplink => "EVB station uplink".to_owned(),
            PortKind::Station => "EVB station-facing bridge port".to_owned(),
            PortKind::Lan | PortKind::Vm => "LAN port".to_owned(),
        }),
        system_name: Some(config.name.clone()),
        system_description: Some(concat!("evbd ", env!("CARGO_PKG_VERSION")).to_owned()),
        capabilities: Some(Capabilities { supported: capability, enabled: capability }),
        management_addresses: Vec::new(),
    }
}

/// The interface's name; its address where the name does not fit a port ID.
fn port_id(port: &Port) -> lldp::PortId {
    let name = port.interface.clone().into_bytes();
    lldp::PortId::new(PortSubtype::InterfaceName, name)
        .unwrap_or_else(|_| lldp::PortId::mac(port.mac().unwrap_or_default()))
}

/// `None` only for an address no station has, which the configuration has ruled out.
fn request(vsi: &VsiConfig, command: Command) -> Option<VsiRequest> {
    let entry = FilterEntry { group: None, mac: Some(vsi.mac), vid: vsi.vlan, priority: vsi.pcp };
    Some(VsiRequest {
        id: vsi.id,
        manager: vsi.manager,
        type_id: vsi.type_id,
        version: vsi.type_version,
        filter: FilterInfo::new(vec![entry]).ok()?,
        command,
        hints: Hints::default(),
    })
}
