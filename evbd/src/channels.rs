//! S-channels [Q 42]: from the nearest-non-TPMR agent of LLDP to CDCP, from CDCP to LLDP and to the ports of channels.
//!
//! The default channel is the port itself, the uplink access port. Each other channel ends at a port of its own, a channel
//! access port called `INTERFACE/SCID`, with an EVB agent, ECP, VDP and, on a station, an edge relay of its own. A
//! station's are there as long as the configuration wants them, and up while they have an SVID; a bridge's come and go as
//! the station asks.

use bytes::Bytes;
use cdcp::{Absence, Cdcp, Output, Scid, Svid};
use ether::{Instant, Vid};
use hairpin::{PortId, SvlanComponent};
use lldp::{OrgKey, Oui, Scope};
use serde::Serialize;
use serde_json::Value;
use vdp::bridge::Cause;

use crate::{
    config::{Config, PoolConfig, RoleConfig},
    core::Core,
    effect::Effect,
    event::Event,
    input::Link,
    names,
    port::{Port, PortKind, Side},
    state::{Record, RecordKey},
    view::row,
    wiring,
};

/// The S-channel a port is the end of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChannelEnd {
    /// The uplink access port.
    pub(crate) uap: PortId,
    pub(crate) scid: Scid,
    /// What tags its frames; none: they cannot pass.
    pub(crate) svid: Option<Svid>,
}

/// The end of an S-channel, for who moves its frames.
pub(crate) struct End {
    pub(crate) port: PortId,
    pub(crate) name: String,
    pub(crate) kind: PortKind,
    pub(crate) svid: Option<Vid>,
    pub(crate) link: Link,
}

impl End {
    pub(crate) fn of(core: &Core, id: PortId) -> Option<Self> {
        let port = core.ports.get(id.index())?;
        let svid = port.channel?.svid.map(|svid| svid.0);
        Some(Self { port: id, name: port.interface.clone(), kind: port.kind, svid, link: port.link.clone() })
    }
}

/// CDCP of an uplink access port.
pub(crate) struct Uap {
    pub(crate) engine: Cdcp,
    /// Our CDCP TLV as it stands.
    tlv: Option<Bytes>,
}

/// What the configuration says of channels on the port called `name`.
enum Wanted {
    Station(cdcp::ChannelCapacity, Vec<Scid>),
    Bridge(PoolConfig),
}

fn wanted(config: &Config, name: &str) -> Option<Wanted> {
    match &config.role {
        RoleConfig::Station(station) if station.uplink == name && !station.channels.is_empty() => {
            let scids = station.channels.iter().map(|channel| channel.scid).collect();
            Some(Wanted::Station(station.max_channels, scids))
        }
        RoleConfig::Station(_) | RoleConfig::Extender(_) => None,
        RoleConfig::Bridge(bridge) => {
            bridge.ports.iter().find(|port| port.interface == name)?.svids.map(Wanted::Bridge)
        }
    }
}

/// Starts, reconfigures or ends CDCP on the port at `index`.
pub(crate) fn equip(core: &mut Core, now: Instant, index: usize) {
    let Some(port) = core.ports.get_mut(index) else { return };
    match (wanted(&core.config, &port.interface), &mut port.uap) {
        (None, None) => {}
        (None, Some(uap)) => {
            uap.engine.handle_remote(now, Err(Absence::NoTlv));
            while step(core, now, index) {}
            let Some(port) = core.ports.get_mut(index) else { return };
            port.uap = None;
            say(port, now, None);
        }
        (Some(Wanted::Station(capacity, scids)), Some(uap)) => {
            uap.engine.set_capacity(now, capacity);
            uap.engine.set_wants(now, scids);
        }
        (Some(Wanted::Bridge(PoolConfig { pool, capacity })), Some(uap)) => {
            uap.engine.set_capacity(now, capacity);
            uap.engine.set_pool(now, pool);
        }
        (Some(Wanted::Station(capacity, scids)), new) => {
            *new = Some(Box::new(Uap { engine: Cdcp::station(capacity, scids), tlv: None }));
            neighbors(core, now, index);
        }
        (Some(Wanted::Bridge(PoolConfig { pool, capacity })), new) => {
            *new = Some(Box::new(Uap { engine: Cdcp::bridge(capacity, pool), tlv: None }));
            neighbors(core, now, index);
        }
    }
}

/// The set of nearest-non-TPMR neighbours of the port at `index` changed.
pub(crate) fn neighbors(core: &mut Core, now: Instant, index: usize) {
    let Some(port) = core.ports.get_mut(index) else { return };
    let Some(uap) = &mut port.uap else { return };
    let agent = port.agents.iter().find(|agent| agent.config().scope == Scope::NearestNonTpmr);
    let mut heard = agent.into_iter().flat_map(lldp::Agent::neighbors);
    let remote = match (heard.next(), heard.next()) {
        (None, _) => Err(Absence::Nobody),
        (Some(peer), None) => peer.info.org(CDCP_TLV).map(|info| &**info).ok_or(Absence::NoTlv),
        (Some(_), Some(_)) => Err(Absence::Several),
    };
    uap.engine.handle_remote(now, remote);
}

/// Gives the agent of `port` our TLV, when there is an agent and there is a TLV.
pub(crate) fn announce(port: &mut Port, now: Instant) {
    if let Some(info) = port.uap.as_ref().and_then(|uap| uap.tlv.clone()) {
        say(port, now, Some(info));
    }
}

fn say(port: &mut Port, now: Instant, info: Option<Bytes>) {
    let agent = port.agents.iter_mut().find(|agent| agent.config().scope == Scope::NearestNonTpmr);
    if let Some(Err(error)) = agent.map(|agent| agent.set_org_tlv(now, CDCP_TLV, info)) {
        tracing::error!(%error, "the CDCP TLV does not fit");
    }
}

/// Passes one output of CDCP on the port at `index` on; false when there was none.
pub(crate) fn step(core: &mut Core, now: Instant, index: usize) -> bool {
    let Some(port) = core.ports.get_mut(index) else { return false };
    let Some(uap) = &mut port.uap else { return false };
    let Some(output) = uap.engine.poll_output() else { return false };
    match output {
        Output::LocalTlv(info) => {
            uap.tlv = Some(info);
            announce(port, now);
        }
        Output::State(state) => {
            let port = port.interface.clone();
            core.tell(Event::Cdcp { port, state, words: state.words() });
        }
        Output::Up(scid, svid) => up(core, now, index, scid, svid),
        Output::Down(scid) => down(core, now, index, scid),
    }
    true
}

/// A channel is there, or has another SVID.
fn up(core: &mut Core, now: Instant, index: usize, scid: Scid, svid: Svid) {
    let Some(uap) = core.ports.get(index) else { return };
    let (name, interface, uap) = (names::channel(&uap.interface, scid), uap.interface.clone(), uap.id);
    let bridge = core.config.bridge().is_some();
    let found = core.ports.iter().find(|port| port.interface == name).map(|port| port.id);
    let id = match found {
        Some(id) => id,
        None if bridge => {
            let Some(id) = core.add_port(now, name.clone(), PortKind::Station) else {
                return tracing::error!(port = name, "no port of the relay is free");
            };
            core.effects.push_back(Effect::FollowPort(id));
            id
        }
        None => return,
    };
    if bridge {
        core.effects.push_back(Effect::Remember(Record::Channel { port: name.clone(), svid }));
    }
    if let Some(end) = core.ports.get_mut(id.index()).and_then(|port| port.channel.as_mut()) {
        end.svid = Some(svid);
    }
    let channel = title(core, scid);
    core.tell(Event::ChannelUp { port: interface, channel, scid, svid });
    core.effects.push_back(Effect::FollowChannels(uap));
    follow_link(core, now, id);
}

/// A channel is gone.
fn down(core: &mut Core, now: Instant, index: usize, scid: Scid) {
    let Some(uap) = core.ports.get(index) else { return };
    let (name, interface, uap) = (names::channel(&uap.interface, scid), uap.interface.clone(), uap.id);
    let Some(id) = core.ports.iter().find(|port| port.interface == name).map(|port| port.id) else { return };
    if core.config.bridge().is_some() {
        retire(core, now, id.index());
        core.effects.push_back(Effect::FollowPort(id));
    } else {
        if let Some(end) = core.ports.get_mut(id.index()).and_then(|port| port.channel.as_mut()) {
            end.svid = None;
        }
        follow_link(core, now, id);
    }
    core.effects.push_back(Effect::FollowChannels(uap));
    let channel = title(core, scid);
    core.tell(Event::ChannelDown { port: interface, channel, scid });
}

/// Takes the port at `index` away, with its VSIs; its neighbours are told.
pub(crate) fn retire(core: &mut Core, now: Instant, index: usize) {
    if let Some(Side::Bridge { vdp, .. }) = core.side_at(index) {
        vdp.release_all(now, Cause::PortReleased);
    }
    let Some(port) = core.ports.get_mut(index) else { return };
    for agent in &mut port.agents {
        agent.set_admin_status(now, lldp::AdminStatus::Disabled);
    }
    let id = port.id;
    let agreed = port.edge.as_mut().and_then(|edge| edge.agreed.take());
    if agreed.is_some() {
        let key = RecordKey { port: port.interface.clone(), vsi: None };
        core.effects.push_back(Effect::Forget(key));
    }
    if port.channel.is_some() && port.kind == PortKind::Station {
        let key = record_key(&port.interface);
        core.effects.push_back(Effect::Forget(key));
    }
    wiring::settle(core, now, index);
    core.free_port(id);
}

/// What the configuration calls a channel.
fn title(core: &Core, scid: Scid) -> Option<String> {
    let channels = core.config.station().map_or(&[][..], |station| station.channels.as_slice());
    channels.iter().find(|channel| channel.scid == scid).map(|channel| channel.name.clone())
}

/// The ports of channels of the port at `index`.
pub(crate) fn ends(core: &Core, index: usize) -> Vec<PortId> {
    let of = |port: &&Port| port.channel.is_some_and(|end| end.uap.index() == index);
    core.ports.iter().filter(of).map(|port| port.id).collect()
}

/// The link of a channel is that of its interface while it has an SVID.
pub(crate) fn follow_link(core: &mut Core, now: Instant, id: PortId) {
    let Some(end) = core.ports.get(id.index()).and_then(|port| port.channel) else { return };
    let Some(uap) = core.ports.get(end.uap.index()) else { return };
    if !uap.known {
        return;
    }
    let link = end.link(&uap.link);
    core.handle_link(now, id, link);
    check_mtu(core, id);
}

impl ChannelEnd {
    /// What of its interface's link the channel has.
    pub(crate) const fn link(&self, of: &Link) -> Link {
        match *of {
            Link::Absent => Link::Absent,
            Link::Present { up, mac, ifindex, mtu } => Link::Present {
                up: up && self.svid.is_some(),
                mac,
                ifindex,
                mtu: mtu.saturating_sub(TAG_OCTETS),
            },
        }
    }
}

/// Tells of an interface whose MTU has no room for the tags of what comes from the other side of the relay: VMs' ports on
/// a station, LAN ports on a bridge.
fn check_mtu(core: &mut Core, id: PortId) {
    let Some(port) = core.ports.get(id.index()) else { return };
    let (Some(end), true, Some(mtu)) = (port.channel, port.link.is_up(), port.link.mtu()) else { return };
    let vms = core.vms.values().filter(|vm| vm.uplink == id).filter_map(|vm| core.ports.get(vm.port.index()));
    let lans = core.ports.iter().filter(|port| port.kind == PortKind::Lan);
    let largest = vms.chain(lans).filter_map(|other| other.link.mtu()).max();
    // A C-tag besides: the kernel counts all tags of a frame whose outermost is an S-tag.
    let needed = largest.map_or(0, |mtu| mtu + TAG_OCTETS);
    if needed > mtu {
        let interface = core.interface(end.uap).to_owned();
        let (mtu, needed) = (mtu + TAG_OCTETS, needed + TAG_OCTETS);
        let remedy = format!("ip link set {interface} mtu {needed}, at both ends");
        let port = core.interface(id).to_owned();
        core.tell(Event::ChannelMtu { port, mtu, needed, remedy });
    }
}

/// Goes on with the channels a bridge had on its ports before a restart.
pub(crate) fn resume(core: &mut Core, now: Instant, channels: Vec<(String, Svid)>) {
    for index in 0..core.ports.len() {
        let Some(port) = core.ports.get_mut(index) else { continue };
        let Some(uap) = &mut port.uap else { continue };
        let here = channels.iter().filter_map(|(name, svid)| {
            let (interface, scid) = names::channel_of(name);
            Some((scid.filter(|_| interface == port.interface)?, *svid))
        });
        uap.engine.resume(now, here.collect::<Vec<_>>());
        while step(core, now, index) {}
    }
    for (name, _) in channels {
        if !core.ports.iter().any(|port| port.interface == name) {
            core.effects.push_back(Effect::Forget(record_key(&name)));
        }
    }
}

/// Names the record of a channel of a bridge.
pub(crate) fn record_key(name: &str) -> RecordKey {
    // No port has a name with blanks.
    RecordKey { port: format!("the channel {name}"), vsi: None }
}

/// The S-VLAN component behind the port `uap`.
pub(crate) fn component(core: &Core, uap: PortId) -> SvlanComponent {
    let mut component = SvlanComponent::new(uap);
    for port in &core.ports {
        if let Some(ChannelEnd { svid: Some(svid), uap: at, .. }) = port.channel
            && at == uap
        {
            component.join(svid.0, port.id);
        }
    }
    component
}

/// One S-channel, or one that is wanted.
#[derive(Serialize)]
struct Row {
    port: String,
    role: cdcp::Role,
    /// The port it ends at.
    end: String,
    name: Option<String>,
    scid: u8,
    svid: Option<u16>,
    active: bool,
    /// Why it is not there.
    because: Option<String>,
    /// Whether CDCP runs, on which all but the default one depend.
    #[serde(flatten)]
    cdcp: cdcp::machine::View,
    remote: Option<String>,
}

/// The channels of a port, the default one first; none where CDCP is not configured.
pub(crate) fn rows(core: &Core, port: &Port) -> Vec<Value> {
    let Some(uap) = &port.uap else { return Vec::new() };
    let agent = port.agents.iter().find(|agent| agent.config().scope == Scope::NearestNonTpmr);
    let heard = agent.and_then(|agent| agent.neighbors().next()).and_then(|peer| peer.info.org(CDCP_TLV));
    let remote = heard.map(|info| match cdcp::CdcpTlv::parse(info) {
        Ok(tlv) => tlv.to_string(),
        Err(error) => error.to_string(),
    });
    let channels = uap.engine.channels();
    let mut scids: Vec<Scid> = channels.keys().copied().chain(uap.engine.wanted()).collect();
    scids.sort_unstable();
    scids.dedup();
    let line = |end: String, scid: Scid, svid: Option<Svid>| {
        row(Row {
            port: port.interface.clone(),
            role: uap.engine.role(),
            end,
            name: title(core, scid),
            scid: scid.get(),
            svid: svid.map(Svid::get),
            active: svid.is_some() && port.link.is_up(),
            because: if scid == Scid::DEFAULT { None } else { uap.engine.why_not(scid) },
            cdcp: uap.engine.view(),
            remote: remote.clone(),
        })
    };
    let others = scids
        .into_iter()
        .map(|scid| line(names::channel(&port.interface, scid), scid, channels.get(&scid).copied()));
    std::iter::once(line(port.interface.clone(), Scid::DEFAULT, Some(Svid::DEFAULT))).chain(others).collect()
}

const CDCP_TLV: OrgKey = OrgKey { oui: Oui(cdcp::OUI), subtype: cdcp::SUBTYPE };
/// Octets of an S-tag or a C-tag.
const TAG_OCTETS: u32 = 4;
