//! The whole daemon without I/O: inputs in, effects out, time as a value.
//!
//! After each [`Core::handle`] the caller drains [`Core::poll_effect`], then sleeps until [`Core::poll_timeout`] or the
//! next input. The same inputs at the same times with the same seed give the same effects.

mod link;
mod ports;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use ether::{Instant, MacAddr, Pcid, Vid};
use hairpin::{EdgeMode, PortId, SvlanComponent, VsiKey};
use lldp::Agent;
use pe::CodeBook;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use vdp::{Command, Hints, VsiId};

pub(crate) use self::ports::{max_ports, port_list, waiting_tlvs};

use self::ports::new_port;
use crate::{
    announce::local_info,
    channels::{self, ChannelEnd},
    config::Config,
    csp, dcb,
    dispatch::dispatch,
    effect::Effect,
    event::Event,
    extension::{self, ExtendedEnd},
    input::{Input, Link},
    leave,
    loss::{self, Loss},
    order::{self, Vm, Vms},
    plug,
    port::{Port, PortKind, Side},
    reload,
    state::{self, Chassis, Record},
    vsidb::{self, VsiDb},
    wiring,
};

/// One bridge or station.
pub struct Core {
    pub(crate) config: Config,
    pub(crate) ports: Vec<Port>,
    pub(crate) vsidb: VsiDb,
    pub(crate) vms: Vms,
    pub(crate) effects: VecDeque<Effect>,
    /// Rows given to VSIs whose gate was opened.
    pub(crate) keys: BTreeMap<(PortId, VsiId), VsiKey>,
    next_key: u32,
    /// Ports there may be.
    max_ports: u16,
    /// One chassis, however many ports: the address of the first interface seen that speaks, then and after a restart.
    pub(crate) chassis: Option<Chassis>,
    deadlines: BTreeSet<(Instant, PortId)>,
    random: StdRng,
    /// The port extender's end of port extension, if this is one with sessions.
    pub(crate) extender: Option<Box<pe::Extender>>,
    /// What becomes of its ports without a bridge.
    pub(crate) loss: Option<Loss>,
    /// Interfaces that would be ports of it if there were room.
    pub(crate) waiting: BTreeSet<String>,
    /// The numbers of port extension's protocol; none while their file has not been read.
    pub(crate) book: Option<Arc<CodeBook>>,
}

impl Core {
    /// A core for `config`. `seed` feeds the few random choices the standards ask for.
    #[must_use]
    pub fn new(config: Config, seed: u64, now: Instant) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let max_ports = max_ports(&config);
        let mut ports: Vec<Port> = Vec::new();
        for ((interface, kind), number) in port_list(&config).into_iter().zip(0..) {
            let new = new_port(&config, &ports, &mut random, now, PortId(number), interface, kind);
            ports.push(new);
        }
        let mut core = Self {
            config,
            ports,
            vsidb: VsiDb::default(),
            vms: Vms::new(),
            effects: VecDeque::new(),
            keys: BTreeMap::new(),
            next_key: 0,
            max_ports,
            chassis: None,
            deadlines: BTreeSet::new(),
            random,
            extender: None,
            loss: None,
            waiting: BTreeSet::new(),
            book: None,
        };
        core.book = csp::own_book(&core.config);
        csp::start(&mut core, now);
        core.loss = core.extender.is_some().then(|| Loss::new(now));
        core.take_profiles(now);
        core.know_vms();
        extension::provision(&mut core, None);
        for index in 0..core.ports.len() {
            channels::equip(&mut core, now, index);
            csp::equip(&mut core, index, false);
            wiring::settle(&mut core, now, index);
        }
        core
    }

    /// Takes one input. An input for a port that does not exist is ignored.
    pub fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Reload { config } => match Config::parse("reload", &config) {
                Ok(config) => reload::apply(self, now, config),
                Err(error) => self.tell(Event::ReloadRefused { error: error.to_string() }),
            },
            Input::Profiles { source, profiles } => {
                let said = source.clone();
                vsidb::update(self, now, Some(source), |db| db.replace(said, profiles));
            }
            Input::Manager { manager, heard } => self.heard_of_manager(now, manager, heard),
            Input::Vsi { order } => order::carry_out(self, now, order),
            // The link of an S-channel follows from that of its interface, that of an extended port from its cascade port's.
            Input::Link { port, .. } if self.end(port).is_some() || self.extended(port).is_some() => {}
            Input::Link { port, link } => {
                self.handle_link(now, port, link);
                plug::follow(self, now, port);
            }
            Input::Plug { interface, there } => plug::handle(self, now, interface, there),
            Input::Administered { port, up, identity } => loss::administered(self, port, up, identity),
            Input::Frame { port, frame } => {
                if !csp::handle_frame(self, now, port, &frame)
                    && let Some(port) = self.ports.get_mut(port.index())
                {
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
            Input::Deassociate => leave::deassociate(self, now),
            Input::Goodbye => leave::goodbye(self, now),
            Input::End => loss::end(self),
            Input::Resume { records } => state::resume(self, now, records),
            Input::CodeBook { text } => csp::set_book(self, now, text.as_deref()),
            Input::Counted { question, counters } => csp::counted(self, now, question, counters),
            Input::DcbApplied { port, report } => dcb::applied(self, port.index(), report),
            Input::Timeout => {
                if let Some(extender) = &mut self.extender {
                    extender.handle_timeout(now);
                    self.settle(now, PortId(0));
                }
                loss::handle_timeout(self, now);
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
        let extender = self.extender.as_ref().and_then(|extender| extender.poll_timeout());
        let loss = self.loss.as_ref().and_then(Loss::poll_timeout);
        ether::time::earliest(
            self.deadlines.first().map(|(at, _)| *at),
            ether::time::earliest(extender, loss),
        )
    }

    /// All that is to be remembered now.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        state::records(self)
    }

    /// The configuration it runs by.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// What the edge relay behind a station's uplink does now; a bridge has none and is called a VEB.
    #[must_use]
    pub fn relay(&self) -> EdgeMode {
        self.ports
            .iter()
            .find_map(|port| match &port.edge.as_ref()?.side {
                Side::Station { relay, .. } => Some(relay.mode()),
                Side::Bridge { .. } => None,
            })
            .unwrap_or(EdgeMode::Veb)
    }

    /// The S-VLAN component behind port `uap`.
    #[must_use]
    pub fn component(&self, uap: PortId) -> SvlanComponent {
        channels::component(self, uap)
    }

    /// The uplink access port of the S-channel that ends at `port`; `None` if that is an interface.
    #[must_use]
    pub fn uap(&self, port: PortId) -> Option<PortId> {
        self.end(port).map(|end| end.uap)
    }

    /// The port of a port extender that the extended port `port` is: the address its port extender is spoken to at, and the
    /// number it has there. None of others, nor of those the configuration names.
    #[must_use]
    pub fn made_for(&self, port: PortId) -> Option<(MacAddr, u32)> {
        csp::made_for(self, port)
    }

    /// Where an extended port of a bridge is.
    pub(crate) fn extended(&self, port: PortId) -> Option<ExtendedEnd> {
        self.ports.get(port.index())?.extended
    }

    /// The link of a port.
    pub(crate) fn link(&self, port: PortId) -> &Link {
        self.ports.get(port.index()).map_or(&Link::Absent, |port| &port.link)
    }

    /// The extended ports behind `cascade`, each with its link.
    pub(crate) fn extended_behind(&self, cascade: PortId) -> impl Iterator<Item = (PortId, Pcid, &Link)> {
        let end = move |port: &Port| port.extended.filter(|end| end.cascade == cascade);
        self.ports.iter().filter_map(move |port| Some((port.id, end(port)?.pcid, &port.link)))
    }

    /// The S-channel a port of a station is behind, unless that is the default one.
    pub(crate) fn relay_of(&self, port: PortId) -> Option<PortId> {
        let channels = self.config.station().is_some_and(|station| !station.channels.is_empty());
        channels.then(|| self.relays().get(&port).copied()).flatten()
    }

    /// The ports of a station that are not behind the relay of its uplink, each with the S-channel it is behind.
    pub(crate) fn relays(&self) -> BTreeMap<PortId, PortId> {
        let vms = self.vms.values().map(|vm| (vm.port, vm.uplink));
        let uplinks = self.ports.iter().filter(|port| port.kind == PortKind::Uplink).map(|p| (p.id, p.id));
        vms.chain(uplinks).filter(|(_, uplink)| self.end(*uplink).is_some()).collect()
    }

    /// What the edge relay behind `uplink` does now.
    pub(crate) fn relay_behind(&self, uplink: PortId) -> EdgeMode {
        match self.ports.get(uplink.index()).and_then(|port| Some(&port.edge.as_ref()?.side)) {
            Some(Side::Station { relay, .. }) => relay.mode(),
            Some(Side::Bridge { .. }) | None => EdgeMode::Veb,
        }
    }

    /// The ends of S-channels behind `uap`.
    pub(crate) fn channels(&self, uap: PortId) -> Vec<channels::End> {
        channels::ends(self, uap.index()).into_iter().filter_map(|id| channels::End::of(self, id)).collect()
    }

    /// The S-VLANs of the S-channels behind `port`; `None` where there may be none.
    pub(crate) fn channel_svids(&self, port: PortId) -> Option<Vec<Vid>> {
        self.ports.get(port.index())?.uap.as_ref()?;
        Some(self.component(port).svids().collect())
    }

    /// Ports as (number, interface, kind), in the order of their numbers.
    pub fn ports(&self) -> impl Iterator<Item = (PortId, &str, PortKind)> {
        self.ports.iter().filter(|p| !p.is_free()).map(|p| (p.id, p.interface.as_str(), p.kind))
    }

    /// The interface and kind of a port.
    #[must_use]
    pub fn port(&self, port: PortId) -> Option<(&str, PortKind)> {
        let port = self.ports.get(port.index()).filter(|port| !port.is_free())?;
        Some((port.interface.as_str(), port.kind))
    }

    pub(crate) fn interface(&self, port: PortId) -> &str {
        self.ports.get(port.index()).map_or("?", |p| p.interface.as_str())
    }

    pub(crate) fn tell(&mut self, event: Event) {
        self.effects.push_back(Effect::Event(event));
    }

    /// The row of a VSI, given at its first use: of two VSIs the later one has the higher number.
    pub(crate) fn key(&mut self, port: PortId, id: &VsiId) -> VsiKey {
        *self.keys.entry((port, *id)).or_insert_with(|| {
            let key = VsiKey(self.next_key);
            self.next_key = self.next_key.wrapping_add(1);
            key
        })
    }

    /// Gives a VSI the row it had before a restart, if that is higher than all given so far.
    pub(crate) fn keep_key(&mut self, port: PortId, id: VsiId, key: VsiKey) {
        if let Some(next) = key.0.checked_add(1).filter(|_| key.0 >= self.next_key) {
            self.keys.insert((port, id), key);
            self.next_key = next;
        }
    }

    /// Takes up the VSIs of the configuration. Those given at run time stay; what is known of a migration does too.
    pub(crate) fn know_vms(&mut self) {
        let Some(station) = self.config.station() else { return };
        let ports: BTreeMap<&str, PortId> =
            self.ports.iter().map(|port| (port.interface.as_str(), port.id)).collect();
        let old = std::mem::take(&mut self.vms);
        let configured = station.vsis.iter().filter_map(|vsi| {
            let hints = old.get(&vsi.id).map_or_else(Hints::default, |vm| vm.hints);
            let port = *ports.get(vsi.interface.as_str())?;
            let uplink = self.uplink(vsi.channel.as_deref())?;
            Some((vsi.id, Vm { config: vsi.clone(), port, uplink, given: false, hints }))
        });
        let configured: Vms = configured.collect();
        self.vms = old.into_iter().filter(|(_, vm)| vm.given).collect();
        self.vms.extend(configured);
    }

    /// A station's uplink, or the port of its S-channel called `channel`.
    pub(crate) fn uplink(&self, channel: Option<&str>) -> Option<PortId> {
        let station = self.config.station()?;
        let scid = channel.map(|channel| station.scid(channel).ok_or(())).transpose().ok()?;
        let is = |port: &&Port| port.kind == PortKind::Uplink && port.channel.map(|end| end.scid) == scid;
        self.ports.iter().find(is).map(|port| port.id)
    }

    fn end(&self, port: PortId) -> Option<ChannelEnd> {
        self.ports.get(port.index())?.channel
    }

    fn side_mut(&mut self, port: PortId) -> Option<&mut Side> {
        self.side_at(port.index())
    }

    pub(crate) fn side_at(&mut self, index: usize) -> Option<&mut Side> {
        self.ports.get_mut(index)?.side()
    }

    /// Adds a port under the first free number; `None` when there are 65536 already.
    pub(crate) fn add_port(&mut self, now: Instant, interface: String, kind: PortKind) -> Option<PortId> {
        let free = self.ports.iter().position(Port::is_free).unwrap_or(self.ports.len());
        let id = PortId(u16::try_from(free).ok().filter(|free| *free < self.max_ports)?);
        let new = new_port(&self.config, &self.ports, &mut self.random, now, id, interface, kind);
        match self.ports.get_mut(free) {
            Some(port) => *port = new,
            None => self.ports.push(new),
        }
        channels::equip(self, now, free);
        csp::equip(self, free, false);
        Some(id)
    }

    /// Whether another port can be made.
    pub(crate) fn has_room(&self) -> bool {
        self.ports.len() < usize::from(self.max_ports) || self.ports.iter().any(Port::is_free)
    }

    /// Takes a port away; its number is free for another.
    pub(crate) fn free_port(&mut self, id: PortId) {
        wiring::shut_port(self, id.index());
        self.vsidb.forget_port(id);
        loss::release(self, id);
        if let Some(port) = self.ports.get_mut(id.index()) {
            port.free();
        }
        self.reschedule(id.index());
    }

    /// Makes the agents of the port at `index`, or tells those it has how they work and what they say now.
    pub(crate) fn speak(&mut self, now: Instant, index: usize) {
        let Some(port) = self.ports.get_mut(index) else { return };
        let (Some(mac), true) = (port.mac(), port.kind.speaks()) else { return };
        let Some(chassis) = self.chassis.as_ref().filter(|chassis| !chassis.is_another(port)) else {
            let record = Record::Chassis { port: port.interface.clone(), mac };
            self.chassis = Some(Chassis { interface: port.interface.clone(), mac, remembered: false });
            self.effects.push_back(Effect::Remember(record));
            // Also those that have said another name already.
            return (0..self.ports.len()).for_each(|index| self.speak(now, index));
        };
        let chassis = chassis.mac;
        let settings = self.config.agents_of(&port.interface, port.kind);
        let new = port.agents.is_empty();
        for (place, settings) in settings.iter().enumerate() {
            let local = local_info(&self.config, port, chassis, settings);
            match port.agents.get_mut(place) {
                Some(agent) => {
                    agent.reconfigure(now, settings.config);
                    agent.set_local(now, local);
                }
                None => port.agents.push(Agent::new(settings.config, local)),
            }
        }
        port.destinations = settings.iter().map(|s| (s.config.scope, s.destination)).collect();
        if new {
            wiring::announce(port, now);
            channels::announce(port, now);
        }
        csp::announce(self, now, index);
        dcb::speak(self, now, index);
    }

    /// Has the uplink carry out `command` of a VSI that is known, unless this station takes leave.
    pub(crate) fn command(&mut self, now: Instant, id: &VsiId, command: Command) {
        if leave::is_leaving(self) {
            return;
        }
        let Some(vm) = self.vms.get(id) else { return };
        let request = order::request(&vm.config, command, vm.hints);
        let uplink = vm.uplink;
        if let Some(Side::Station { vdp, .. }) = self.side_mut(uplink)
            && let Err(error) = vdp.command(now, request)
        {
            tracing::warn!(%id, %error, "VSI command refused");
        }
    }

    /// A random number, one of few.
    pub(crate) fn draw(&mut self) -> u16 {
        self.random.random()
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
}
