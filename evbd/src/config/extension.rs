//! Port extension without a protocol: `cascade`, `extended` and `floods` of a bridge's port; `role = "extender"` with its
//! ports and `[[channel]]` [BR 7].

use std::collections::{BTreeMap, BTreeSet};

use ether::{ECid, Framing, Pcid, Vid};
use serde::Deserialize;
use toml::Spanned;
use wildmatch::WildMatch;

use super::{
    BridgePortKind, Fault,
    check::{Interfaces, fault},
    guests, schema,
};

/// A bridge's cascade port.
#[derive(Clone, Debug, PartialEq)]
pub struct CascadeConfig {
    /// How frames say by which E-channel they go.
    pub framing: Framing,
    /// The extended ports behind it that need no protocol to be there.
    pub extended: Vec<ExtendedConfig>,
    /// The channels by which floods leave for several of them.
    pub floods: Vec<FloodConfig>,
}

/// An extended port of a bridge.
#[derive(Clone, Debug, PartialEq)]
pub struct ExtendedConfig {
    /// Its channel.
    pub pcid: Pcid,
    /// What it faces.
    pub kind: BridgePortKind,
}

/// A channel of several members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FloodConfig {
    /// The VLAN whose floods leave by it.
    pub vlan: Vid,
    /// The channel.
    pub ecid: ECid,
    /// Its members, extended ports of the same cascade port.
    pub members: BTreeSet<Pcid>,
}

/// What a port extender has.
#[derive(Clone, Debug, PartialEq)]
pub struct ExtenderConfig {
    /// Ports in the order of the file.
    pub ports: Vec<ExtenderPort>,
    /// Names of other interfaces that are extended ports while they are there, with `*` and `?`.
    pub patterns: Vec<WildMatch>,
    /// Channels of several members, or of ports further down.
    pub channels: Vec<ChannelConfig>,
}

/// A port of a port extender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtenderPort {
    /// Interface name.
    pub interface: String,
    /// What it faces.
    pub kind: ExtenderPortKind,
    /// How frames say by which E-channel they go; not of extended ports.
    pub framing: Framing,
    /// Its channel, if no protocol is to say which.
    pub pcid: Option<Pcid>,
    /// VLANs that leave untagged.
    pub untagged: Vec<Vid>,
}

/// What a port of a port extender faces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtenderPortKind {
    /// The controlling bridge, or a port extender on the way to it.
    Upstream,
    /// Stations.
    Extended,
    /// Another port extender.
    Cascade,
}

/// Where a channel leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelConfig {
    /// The channel.
    pub ecid: ECid,
    /// Interfaces of the ports it leads to.
    pub ports: BTreeSet<String>,
}

/// One of `extended` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExtendedKeys {
    id: Spanned<u32>,
    untagged: Option<Vid>,
    #[serde(default)]
    tagged: Vec<Vid>,
}

/// One of `floods` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FloodKeys {
    vlan: Spanned<Vid>,
    id: Spanned<u32>,
    members: Vec<Spanned<u32>>,
}

/// One `[[channel]]` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChannelKeys {
    id: Spanned<u32>,
    ports: Vec<Spanned<String>>,
}

/// What a port of a bridge says, whose extended ports are of `kind`.
pub(super) fn cascade(port: &schema::Port, kind: &BridgePortKind) -> Result<Option<CascadeConfig>, Fault> {
    if let Some(id) = &port.id {
        return fault(id.span(), "a bridge's port has no channel", "`id` only on a port extender");
    }
    if let Some(below) = port.below.first() {
        return fault(below.span(), "nothing is below a bridge's port but `extended` ports", "`extended`");
    }
    let is = port.cascade.as_ref().is_some_and(|cascade| *cascade.get_ref());
    if !is {
        let stray =
            port.extended.first().map(Spanned::span).or_else(|| port.floods.first().map(Spanned::span));
        let stray = stray.or_else(|| port.framing.as_ref().map(Spanned::span));
        let stray = stray.or_else(|| port.accept_ingress_form.as_ref().map(Spanned::span));
        return stray.map_or(Ok(None), |span| {
            fault(
                span,
                "this is no cascade port",
                "`cascade = true` beside `extended`, `floods`, `framing` and `accept_ingress_form`",
            )
        });
    }
    let framing = framing(port);
    let mut extended: Vec<ExtendedConfig> = Vec::with_capacity(port.extended.len());
    for keys in &port.extended {
        let ExtendedKeys { id, untagged, tagged } = keys.get_ref();
        let pcid = pcid(id, framing)?;
        if extended.iter().any(|other| other.pcid == pcid) {
            return fault(
                id.span(),
                format!("two extended ports {pcid}"),
                "each `id` once behind a cascade port",
            );
        }
        let kind = match kind {
            BridgePortKind::Station if untagged.is_some() || !tagged.is_empty() => {
                return fault(
                    keys.span(),
                    "VLANs of this port come from its VSIs",
                    "`untagged` and `tagged` only with kind = \"lan\"",
                );
            }
            BridgePortKind::Station => BridgePortKind::Station,
            BridgePortKind::Lan { untagged: all, tagged: more, takes_over } => BridgePortKind::Lan {
                untagged: untagged.or(*all),
                tagged: if tagged.is_empty() { more.clone() } else { tagged.clone() },
                takes_over: *takes_over,
            },
        };
        extended.push(ExtendedConfig { pcid, kind });
    }
    let mut floods: Vec<FloodConfig> = Vec::with_capacity(port.floods.len());
    for keys in port.floods.iter().map(Spanned::get_ref) {
        let (vlan, ecid) = (*keys.vlan.get_ref(), ecid(&keys.id, framing)?);
        if !ecid.is_group() {
            return fault(keys.id.span(), format!("channel {ecid} has one member"), GROUP);
        }
        if floods.iter().any(|other| other.vlan == vlan || other.ecid == ecid) {
            return fault(keys.id.span(), "a VLAN or channel twice", "one channel for each VLAN");
        }
        let mut members = BTreeSet::new();
        for member in &keys.members {
            let pcid = pcid(member, framing)?;
            if !extended.iter().any(|port| port.pcid == pcid) {
                return fault(
                    member.span(),
                    format!("no extended port {pcid} here"),
                    "an `id` of `extended`",
                );
            }
            members.insert(pcid);
        }
        floods.push(FloodConfig { vlan, ecid, members });
    }
    Ok(Some(CascadeConfig { framing, extended, floods }))
}

/// A station's port says nothing of this.
pub(super) fn absent(port: &schema::Port) -> Result<(), Fault> {
    let given = [
        port.cascade.as_ref().map(Spanned::span),
        port.framing.as_ref().map(Spanned::span),
        port.accept_ingress_form.as_ref().map(Spanned::span),
        port.id.as_ref().map(Spanned::span),
        port.extended.first().map(Spanned::span),
        port.floods.first().map(Spanned::span),
        port.below.first().map(Spanned::span),
    ];
    match given.into_iter().flatten().next() {
        Some(span) => {
            fault(span, "a station's uplink is no cascade port", "a bridge or a port extender has that")
        }
        None => Ok(()),
    }
}

impl ExtenderConfig {
    /// Whether the file says where channels lead; else the controlling bridge does, in sessions.
    #[must_use]
    pub fn is_static(&self) -> bool {
        !self.channels.is_empty() || self.ports.iter().any(|port| port.pcid.is_some())
    }
}

/// The ports and channels of a port extender.
pub(super) fn extender(
    ports: Vec<Spanned<schema::Port>>,
    channels: Vec<Spanned<ChannelKeys>>,
    role: std::ops::Range<usize>,
) -> Result<ExtenderConfig, Fault> {
    let mut interfaces = Interfaces::default();
    let mut checked: Vec<ExtenderPort> = Vec::with_capacity(ports.len());
    let mut patterns = Vec::new();
    let mut leads: BTreeMap<ECid, BTreeSet<String>> = BTreeMap::new();
    for port in ports.into_iter().map(Spanned::into_inner) {
        let kind = match *port.kind.get_ref() {
            schema::PortKind::Upstream => ExtenderPortKind::Upstream,
            schema::PortKind::Extended => ExtenderPortKind::Extended,
            schema::PortKind::Cascade => ExtenderPortKind::Cascade,
            schema::PortKind::Uplink | schema::PortKind::Station | schema::PortKind::Lan => {
                return fault(port.kind.span(), "no port of a port extender", PORTS);
            }
        };
        let stray = [
            port.cascade.as_ref().map(Spanned::span),
            port.extended.first().map(Spanned::span),
            port.floods.first().map(Spanned::span),
            port.accept_ingress_form.as_ref().map(Spanned::span),
            port.svids.as_ref().map(Spanned::span),
            port.channels.first().map(Spanned::span),
            port.tagged.first().map(Spanned::span),
            port.takes_over.as_ref().map(Spanned::span),
            port.framing.as_ref().filter(|_| kind == ExtenderPortKind::Extended).map(Spanned::span),
            port.id.as_ref().filter(|_| kind == ExtenderPortKind::Upstream).map(Spanned::span),
            port.untagged.as_ref().filter(|_| kind != ExtenderPortKind::Extended).map(Spanned::span),
            port.below.first().filter(|_| kind != ExtenderPortKind::Cascade).map(Spanned::span),
        ];
        if let Some(span) = stray.into_iter().flatten().next() {
            return fault(span, "this port cannot have that", KEYS);
        }
        if port.interface.get_ref().contains(['*', '?']) {
            patterns.push(pattern(&port, kind)?);
            continue;
        }
        let framing = framing(&port);
        let pcid = port.id.as_ref().map(|id| pcid(id, framing)).transpose()?;
        if let Some((id, other)) =
            port.id.as_ref().zip(checked.iter().find(|p| pcid.is_some() && p.pcid == pcid))
        {
            return fault(
                id.span(),
                format!("`{}` has this channel", other.interface),
                "each `id` once in the file",
            );
        }
        let interface = interfaces.claim(port.interface)?;
        for below in &port.below {
            leads.entry(ecid(below, framing)?).or_default().insert(interface.clone());
        }
        let untagged = port.untagged.into_iter().map(Spanned::into_inner).collect();
        checked.push(ExtenderPort { interface, kind, framing, pcid, untagged });
    }
    if !checked.iter().any(|port| port.kind == ExtenderPortKind::Upstream) {
        return fault(role, "a port extender without an upstream port", "[[port]] with kind = \"upstream\"");
    }
    for keys in channels.iter().map(Spanned::get_ref) {
        let ecid = ecid(&keys.id, Framing::Etag)?;
        for port in &keys.ports {
            let name = port.get_ref();
            let below = |port: &&ExtenderPort| port.kind != ExtenderPortKind::Upstream;
            if !checked.iter().filter(below).any(|port| port.interface == *name) {
                return fault(
                    port.span(),
                    format!("no channel leads to `{name}`"),
                    "interfaces of extended and cascade ports",
                );
            }
            leads.entry(ecid).or_default().insert(name.clone());
        }
    }
    let channels = leads.into_iter().map(|(ecid, ports)| ChannelConfig { ecid, ports }).collect();
    let config = ExtenderConfig { ports: checked, patterns, channels };
    if config.is_static() && !config.patterns.is_empty() {
        return fault(
            role,
            "a pattern of ports beside channels of the file",
            "sessions, or ports by name only",
        );
    }
    Ok(config)
}

/// A port that stands for all interfaces of such names.
fn pattern(port: &schema::Port, kind: ExtenderPortKind) -> Result<WildMatch, Fault> {
    let stray = [port.id.as_ref().map(Spanned::span), port.untagged.as_ref().map(Spanned::span)];
    if let Some(span) = stray.into_iter().flatten().next() {
        return fault(span, "its ports have no channel of the file", "`interface` and `kind` alone");
    }
    if kind != ExtenderPortKind::Extended {
        return fault(port.interface.span(), "only extended ports come and go", "the name of one interface");
    }
    guests::pattern(&port.interface)
}

fn framing(port: &schema::Port) -> Framing {
    port.framing.as_ref().map_or_else(Framing::default, |framing| *framing.get_ref())
}

fn pcid(id: &Spanned<u32>, framing: Framing) -> Result<Pcid, Fault> {
    match ecid(id, framing)?.pcid() {
        Some(pcid) => Ok(pcid),
        None => fault(
            id.span(),
            "a channel of several members",
            "1 to 1048575, with framing = \"vntag\" 1 to 4095",
        ),
    }
}

fn ecid(id: &Spanned<u32>, framing: Framing) -> Result<ECid, Fault> {
    let ecid = ECid::new(*id.get_ref());
    match ecid.filter(|ecid| framing == Framing::Etag || ecid.short().is_some()) {
        Some(ecid) => Ok(ecid),
        None if ecid.is_some() => fault(
            id.span(),
            "a VN-Tag has no room for this channel",
            "1 to 4095 for a port, 0x100000 to 0x100fff for several",
        ),
        None => fault(id.span(), "no E-channel has this identifier", "1 to 0x3ffffe"),
    }
}

const GROUP: &str = "0x100000 to 0x3ffffe";
const PORTS: &str = "kind = \"upstream\", \"extended\" or \"cascade\"";
const KEYS: &str = "`framing` on upstream and cascade ports, `id` on extended and cascade ports, `untagged` on extended ones, \
                    `below` on cascade ports";

#[cfg(test)]
mod tests;
