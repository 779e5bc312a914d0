//! Port extension at the core [BR 7]: extended ports of a bridge, and what the configuration says of channels.
//!
//! An extended port is a [`Port`] of the core like any other; only its link is its cascade port's. It is called
//! `INTERFACE:ID`, with the interface of the cascade port and the number of its E-channel.

use std::collections::{BTreeMap, BTreeSet};

use ether::{ChannelTag, DownTag, Framing, Instant, Pcid, UpTag};
use hairpin::{DropReason, LagId, Parameters, PortId};
use pe::{Name, Names, PortParameters};

use crate::{
    config::{BridgePortKind, Config, ExtendedWork, ExtenderPortKind},
    core::Core,
    csp,
    effect::Effect,
    event::Event,
    input::Link,
    names,
    port::{Port, PortKind},
};

/// Where an extended port is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ExtendedEnd {
    /// The port whose link it is on.
    pub(crate) cascade: PortId,
    pub(crate) pcid: Pcid,
}

/// The extended ports a bridge's configuration names, with what each faces.
pub(crate) fn ports(config: &Config) -> impl Iterator<Item = (String, PortKind)> {
    let bridge = config.bridge().into_iter().flat_map(|bridge| &bridge.ports);
    let cascades = bridge.filter_map(|port| Some((&port.interface, port.cascade.as_ref()?)));
    cascades.flat_map(|(interface, cascade)| {
        cascade.extended.iter().map(move |port| {
            let kind = match port.kind {
                BridgePortKind::Station => PortKind::Station,
                BridgePortKind::Lan { .. } => PortKind::Lan,
            };
            (names::extended(interface, port.pcid), kind)
        })
    })
}

/// How an extended port works.
#[derive(Clone, Debug)]
pub(crate) struct ExtendedSettings {
    /// What it faces.
    pub(crate) faces: BridgePortKind,
    pub(crate) work: ExtendedWork,
    /// Another port extender may be behind it: no frames there are a station's.
    nested: bool,
    /// Its VLANs come from nowhere, and no port extender is behind it.
    idle: bool,
}

impl ExtendedSettings {
    /// What the configuration says of the port at the end of channel `pcid` of the cascade port `interface`: the entry in
    /// `extended`, else the first rule for its names, else the cascade port's entry.
    pub(crate) fn new(
        config: &Config,
        interface: &str,
        pcid: Pcid,
        names: Option<&Names>,
        nested: bool,
    ) -> Option<Self> {
        let entry = config.bridge()?.ports.iter().find(|port| port.interface == interface)?;
        let own = entry.cascade.as_ref()?.extended.iter().find(|port| port.pcid == pcid);
        if let Some(own) = own {
            return Some(Self {
                faces: own.kind.clone(),
                work: ExtendedWork::default(),
                nested: false,
                idle: false,
            });
        }
        let name = |name: Option<&Name>| name.map_or("", Name::as_str).to_owned();
        let extender = name(names.and_then(|names| names.extender.as_ref()));
        let port = name(names.and_then(|names| names.port.as_ref()));
        let rule = config.extended.iter().find(|rule| rule.matches(&extender, &port));
        let none = BridgePortKind::Lan { untagged: None, tagged: Vec::new(), takes_over: false };
        let faces = rule.and_then(|rule| rule.faces.as_ref()).unwrap_or(&entry.kind);
        let faces = if nested { &none } else { faces }.clone();
        let work = rule.map(|rule| rule.work.clone()).unwrap_or_default();
        let without =
            matches!(&faces, BridgePortKind::Lan { untagged: None, tagged, .. } if tagged.is_empty());
        let idle = without && !nested;
        Some(Self { faces, work, nested, idle })
    }

    /// The kind of its port.
    pub(crate) const fn kind(&self) -> PortKind {
        match self.faces {
            _ if self.nested => PortKind::Cascade,
            BridgePortKind::Station => PortKind::Station,
            BridgePortKind::Lan { .. } => PortKind::Lan,
        }
    }

    /// Why nothing passes; `None`: frames do.
    pub(crate) const fn shut(&self) -> Option<&'static str> {
        match self {
            Self { work: ExtendedWork { enabled: false, .. }, .. } => Some("not enabled"),
            Self { work: ExtendedWork { blocked: true, .. }, .. } => Some("blocked"),
            Self { idle: true, .. } => Some("it is in no VLAN"),
            _ => None,
        }
    }

    /// The same in the words of the control and status protocol.
    pub(crate) fn parameters(&self, pcid: Pcid) -> PortParameters {
        let ExtendedWork { enabled, blocked, default_priority, use_dei, decode, encode, .. } = self.work;
        let untagged = match self.faces {
            BridgePortKind::Lan { untagged, .. } => untagged.into_iter().collect(),
            BridgePortKind::Station => Vec::new(),
        };
        PortParameters {
            admin_up: enabled,
            blocked: blocked || self.idle,
            default_priority,
            use_dei,
            decode,
            encode,
            untagged,
            ..PortParameters::new(pcid)
        }
    }
}

/// The number of the LAG that rules for extended ports call so.
pub(crate) fn lag(config: &Config, name: &str) -> Option<LagId> {
    let mut known: Vec<&str> = Vec::new();
    for rule in config.extended.iter().filter_map(|rule| rule.work.lag.as_deref()) {
        if !known.contains(&rule) {
            known.push(rule);
        }
    }
    known.iter().position(|known| *known == name).and_then(|place| u16::try_from(place).ok()).map(LagId)
}

/// How `port` works, if it is an extended one.
pub(crate) fn settings(core: &Core, port: &Port) -> Option<ExtendedSettings> {
    let ExtendedEnd { cascade, pcid } = port.extended?;
    let nested = port.csp.is_some();
    ExtendedSettings::new(&core.config, core.interface(cascade), pcid, port.far.as_deref(), nested)
}

/// Where the port called `name` is, if that is an extended port's.
pub(crate) fn end(ports: &[Port], name: &str) -> Option<ExtendedEnd> {
    let (interface, pcid) = names::extended_of(name);
    let cascade = ports.iter().find(|port| port.interface == interface && port.kind == PortKind::Cascade)?;
    Some(ExtendedEnd { cascade: cascade.id, pcid: pcid? })
}

/// Has the data path know the channels of the configuration, and forget those that only the one `before` has.
pub(crate) fn provision(core: &mut Core, before: Option<&Config>) {
    let by_name: BTreeMap<&str, PortId> =
        core.ports.iter().map(|port| (port.interface.as_str(), port.id)).collect();
    let id = |name: &str| by_name.get(name).copied();
    let mut effects = Vec::new();
    for port in core.config.bridge().into_iter().flat_map(|bridge| &bridge.ports) {
        let (Some(config), Some(cascade)) = (&port.cascade, id(&port.interface)) else { continue };
        for flood in &config.floods {
            let members =
                flood.members.iter().filter_map(|pcid| id(&names::extended(&port.interface, *pcid)));
            let channel = Some((flood.ecid, members.collect()));
            effects.push(Effect::Flood { cascade, vlan: flood.vlan, channel });
        }
    }
    if let Some(extender) = core.config.extender().filter(|extender| extender.is_static()) {
        for port in &extender.ports {
            let (Some(pcid), Some(at)) = (port.pcid, id(&port.interface)) else { continue };
            let parameters = Some(Box::new(Parameters::new(pcid)));
            let untagged: BTreeSet<_> = port.untagged.iter().copied().collect();
            effects.push(Effect::Extend { port: at, parameters, untagged });
        }
        for channel in &extender.channels {
            let members = channel.ports.iter().filter_map(|port| id(port)).collect();
            effects.push(Effect::Channel { ecid: channel.ecid, members });
        }
        let upstream = extender.ports.iter().find(|port| port.kind == ExtenderPortKind::Upstream);
        effects.push(Effect::Upstream(upstream.and_then(|port| id(&port.interface))));
    }
    for port in before.and_then(Config::bridge).into_iter().flat_map(|bridge| &bridge.ports) {
        let now = core.config.cascade(&port.interface).map_or(&[][..], |cascade| &cascade.floods);
        let gone = port.cascade.iter().flat_map(|cascade| &cascade.floods);
        let gone = gone.filter(|old| !now.iter().any(|flood| flood.vlan == old.vlan));
        let cascade = id(&port.interface);
        effects.extend(
            gone.filter_map(|old| Some(Effect::Flood { cascade: cascade?, vlan: old.vlan, channel: None })),
        );
    }
    for old in before.and_then(Config::extender).into_iter().flat_map(|extender| &extender.channels) {
        let now = core.config.extender().map_or(&[][..], |extender| &extender.channels);
        if !now.iter().any(|channel| channel.ecid == old.ecid) {
            effects.push(Effect::Channel { ecid: old.ecid, members: BTreeSet::new() });
        }
    }
    core.effects.extend(effects);
}

/// Gives the extended ports behind the port at `index` the link it has, and looks whether tags have room on it.
pub(crate) fn follow_link(core: &mut Core, now: Instant, index: usize) {
    let Some(port) = core.ports.get(index) else { return };
    let (cascade, link) = (port.id, port.link.clone());
    let behind = |port: &&Port| port.extended.is_some_and(|end| end.cascade == cascade);
    let ends: Vec<PortId> = core.ports.iter().filter(behind).map(|port| port.id).collect();
    let inner = less(&link, overhead(core, index));
    for end in &ends {
        let link = at_end(core, cascade, *end, inner.clone());
        core.handle_link(now, *end, link);
    }
    if !ends.is_empty() {
        core.effects.push_back(Effect::FollowExtended(cascade));
    }
}

/// The same for one extended port: it has come, or what its port extender says of its link is new.
pub(crate) fn follow_end(core: &mut Core, now: Instant, id: PortId) {
    let Some(ExtendedEnd { cascade, .. }) = core.extended(id) else { return };
    let Some(port) = core.ports.get(cascade.index()).filter(|port| port.known) else { return };
    let inner = less(&port.link, overhead(core, cascade.index()));
    let link = at_end(core, cascade, id, inner);
    core.handle_link(now, id, link);
    core.effects.push_back(Effect::FollowEnd(id));
}

/// The link of an extended port, when the way to it is `link`.
fn at_end(core: &Core, cascade: PortId, end: PortId, link: Link) -> Link {
    match link {
        Link::Present { up, mac, ifindex, mtu } => {
            Link::Present { up: up && csp::is_up(core, cascade, end), mac, ifindex, mtu }
        }
        Link::Absent => Link::Absent,
    }
}

/// Octets of the tags that frames have on the port at `index`.
fn overhead(core: &Core, index: usize) -> u32 {
    let framing = core.ports.get(index).and_then(|port| framing(core, port));
    framing.map_or(0, |framing| u32::try_from(framing.overhead()).unwrap_or(0))
}

/// What tags of E-channels are like on the interface of a port; not of extended ports.
fn framing(core: &Core, port: &Port) -> Option<Framing> {
    let own = core.config.extender().and_then(|e| e.ports.iter().find(|p| p.interface == port.interface));
    let framing = core.config.cascade(&port.interface).map(|cascade| cascade.framing);
    framing.or(own.map(|port| port.framing))
}

/// A frame as octets that comes in on `port`, without the tag of its E-channel, and that tag.
pub(crate) fn untagged(
    core: &Core,
    port: &Port,
    frame: &[u8],
) -> Result<(Option<ChannelTag>, Vec<u8>), String> {
    let plain = || Ok((None, frame.to_vec()));
    let Some(framing) = framing(core, port).filter(|_| carries_tags(port)) else { return plain() };
    let Some((addresses, rest)) = frame.split_at_checked(ADDRESSES) else { return plain() };
    if rest.first_chunk() != Some(&framing.tpid().0.to_be_bytes()) {
        return plain();
    }
    let tag = if port.kind == PortKind::Upstream {
        DownTag::parse(framing, rest).map(ChannelTag::Down)
    } else {
        UpTag::parse(framing, rest).map(ChannelTag::Up)
    };
    let tag = tag.map_err(|error| {
        format!("the tag of the E-channel: {error}; counted as {}", DropReason::from(error).name())
    })?;
    Ok((Some(tag), [addresses, rest.get(framing.overhead()..).unwrap_or_default()].concat()))
}

fn less(link: &Link, octets: u32) -> Link {
    match *link {
        Link::Absent => Link::Absent,
        Link::Present { up, mac, ifindex, mtu } => {
            Link::Present { up, mac, ifindex, mtu: mtu.saturating_sub(octets) }
        }
    }
}

/// Tells of cascade and upstream interfaces whose MTU has no room for tags: the kernel counts all tags of a frame whose
/// outermost is no C-tag. To be asked when the link of a port has changed.
pub(crate) fn check_mtu(core: &mut Core, changed: usize) {
    let Some(port) = core.ports.get(changed).filter(|port| carries_tags(port) || is_edge(port)) else {
        return;
    };
    let all = !carries_tags(port);
    let largest = largest_edge(core);
    let mut short = Vec::new();
    for (index, port) in core.ports.iter().enumerate().filter(|(_, port)| carries_tags(port)) {
        let (Some(mtu), true) = (port.link.mtu(), all || index == changed) else { continue };
        let needed = largest + overhead(core, index) + C_TAG;
        if mtu < needed {
            let remedy = format!("ip link set {} mtu {needed}, at both ends", port.interface);
            short.push(Event::ExtensionMtu { port: port.interface.clone(), mtu, needed, remedy });
        }
    }
    short.into_iter().for_each(|event| core.tell(event));
}

/// The MTU the port called `interface` needs, so that what fits the ports at the edge fits there with its tags; `None` where
/// there are no tags of E-channels.
pub(crate) fn needed_mtu(core: &Core, interface: &str) -> Option<u32> {
    let index = core.ports.iter().position(|port| port.interface == interface && carries_tags(port))?;
    Some(largest_edge(core) + overhead(core, index) + C_TAG)
}

/// Whether frames have tags of E-channels on the interface of this port.
fn carries_tags(port: &Port) -> bool {
    let kind = matches!(port.kind, PortKind::Cascade | PortKind::Upstream | PortKind::Transit);
    kind && port.extended.is_none()
}

/// The largest MTU of interfaces towards stations.
fn largest_edge(core: &Core) -> u32 {
    let edges = core.ports.iter().filter(|port| is_edge(port));
    edges.filter_map(|port| port.link.mtu()).max().unwrap_or(LEAST_MTU)
}

fn is_edge(port: &Port) -> bool {
    matches!(port.kind, PortKind::Extended | PortKind::Lan | PortKind::Station) && port.extended.is_none()
}

/// Octets of payload every Ethernet interface carries, so that stations behind extended ports can count on them.
const LEAST_MTU: u32 = 1500;
const C_TAG: u32 = 4;
const ADDRESSES: usize = 12;
