//! Which ports a configuration has, and what each is made of.

use ether::Instant;
use rand::{RngExt, rngs::StdRng};
use vdp::{bridge::BridgeConfig, station::StationConfig};

use crate::{
    channels::ChannelEnd,
    config::{BridgePortKind, Config, Datapath, Dialect, ExtenderPortKind, RoleConfig},
    edge::EdgeRelay,
    extension,
    herald::Herald,
    input::PortId,
    names,
    port::{Edge, Port, PortKind, Side},
};

/// Ports of port extenders behind one cascade port: as many as there are identifiers for them.
const EXTENDED: u16 = 4094;

/// How many ports there may be while a daemon of this configuration runs.
pub(crate) fn max_ports(config: &Config) -> u16 {
    let named = u16::try_from(port_list(config).len()).unwrap_or(u16::MAX);
    let pools = config.bridge().map_or(&[][..], |bridge| bridge.ports.as_slice());
    let channels = pools.iter().filter_map(|port| port.svids).map(|svids| u16::from(svids.capacity.get()));
    let sessions =
        pools.iter().filter_map(|port| port.cascade.as_ref()).filter(|cascade| cascade.extended.is_empty());
    let extended = sessions.map(|_| EXTENDED);
    channels.chain(extended).fold(named.saturating_add(config.relay.spare_ports), u16::saturating_add)
}

/// The ports a configuration names: protocol ports first, so that the chassis is named after one.
pub(crate) fn port_list(config: &Config) -> Vec<(String, PortKind)> {
    match &config.role {
        RoleConfig::Station(station) => {
            let vms = station.vsis.iter().map(|vsi| (vsi.interface.clone(), PortKind::Vm));
            let channels = station.channels.iter().map(|c| names::channel(&station.uplink, c.scid));
            let uplinks = std::iter::once(station.uplink.clone()).chain(channels);
            uplinks.map(|name| (name, PortKind::Uplink)).chain(vms).collect()
        }
        RoleConfig::Bridge(bridge) => {
            let interfaces = bridge.ports.iter().map(|port| {
                let kind = match port.kind {
                    _ if port.cascade.is_some() => PortKind::Cascade,
                    BridgePortKind::Station => PortKind::Station,
                    BridgePortKind::Lan { .. } => PortKind::Lan,
                };
                (port.interface.clone(), kind)
            });
            // Behind the cascade ports they are behind.
            interfaces.chain(extension::ports(config)).collect()
        }
        RoleConfig::Extender(extender) => {
            let kind = |kind| match kind {
                ExtenderPortKind::Upstream => PortKind::Upstream,
                ExtenderPortKind::Extended => PortKind::Extended,
                ExtenderPortKind::Cascade => PortKind::Transit,
            };
            extender.ports.iter().map(|port| (port.interface.clone(), kind(port.kind))).collect()
        }
    }
}

/// A port with its engines. Of an S-channel, its uplink access port is among `ports`.
pub(super) fn new_port(
    config: &Config,
    ports: &[Port],
    random: &mut StdRng,
    now: Instant,
    id: PortId,
    name: String,
    kind: PortKind,
) -> Port {
    let (interface, scid) = names::channel_of(&name);
    let uap = ports.iter().find(|port| port.interface == interface).map(|port| port.id);
    let channel = uap.zip(scid).map(|(uap, scid)| ChannelEnd { uap, scid, svid: None });
    let edge = edge(config, kind, scid, random, now);
    let extended = extension::end(ports, &name);
    Port { extended, ..Port::new(id, name, kind, edge, channel) }
}

fn edge(
    config: &Config,
    kind: PortKind,
    scid: Option<cdcp::Scid>,
    random: &mut StdRng,
    now: Instant,
) -> Option<Edge> {
    let Config { proposal, max_vsis, .. } = *config;
    let side = match (&config.role, kind) {
        (RoleConfig::Station(station), PortKind::Uplink) => {
            let mut evb = vdp::evb::Station::new(config.evb_station());
            let edge = station.edge(scid);
            let open_vlan = config.carrier.datapath(&station.uplink) == Datapath::Kernel;
            evb.set_reflective_request(edge.mode.wants_reflection());
            let mut herald = Herald::default();
            herald.set_speaking(station.announce);
            Side::Station {
                evb,
                vdp: vdp::Station::new(
                    StationConfig { max_vsis, open_vlan, ..StationConfig::default() },
                    proposal,
                ),
                relay: Box::new(EdgeRelay::new(&edge, random.random())),
                herald,
            }
        }
        (RoleConfig::Bridge(bridge), PortKind::Station) => Side::Bridge {
            evb: vdp::evb::Bridge::new(config.evb_bridge(bridge)),
            vdp: vdp::Bridge::new(BridgeConfig { max_vsis }, proposal),
        },
        _ => return None,
    };
    let mut ecp = ecp::Link::new(ecp::Subtype::Vdp, proposal.ecp_params(), random.random(), now);
    if config.dialect == Dialect::Draft {
        ecp.set_dialect(now, ecp::Dialect::Draft);
    }
    let outbox = vdp::Outbox::new(waiting_tlvs(max_vsis));
    Some(Edge {
        side,
        ecp,
        outbox,
        status: None,
        local_tlv: None,
        draft_peer: None,
        neighbors: 0,
        leaving: false,
        unsaid: Vec::new(),
        unsaid_total: 0,
        agreed: None,
        presumed: None,
    })
}

/// TLVs that may wait for ECP: a command or answer of each VSI, a De-Associate of each, and some that name none.
pub(crate) const fn waiting_tlvs(max_vsis: usize) -> usize {
    2 * max_vsis + 64
}
