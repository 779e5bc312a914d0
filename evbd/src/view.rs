//! Rows of the tables the daemon shows. Their field names are the JSON and D-Bus interface ([`crate::api::SCHEMA`]).

mod drops;
mod extended;
mod extension;
mod flows;
mod objects;
mod profiles;
mod trace;
mod why;

use ether::Instant;
use hairpin::PortId;
use serde::Serialize;
use serde_json::Value;
use vdp::VsiId;

use crate::{
    api::Table,
    channels,
    config::VsiConfig,
    core::Core,
    dcb,
    decode::digits,
    describe::{describe, remainder},
    dialect::{DRAFT_EVB_TLV, EVB_TLV},
    port::{Port, Side},
    run::{Carried, ClassRow, ControlSockets, HearingRow, Planes},
};

pub(crate) use self::{objects::objects, trace::trace, why::why};

/// The rows of `table` at `now`.
pub(crate) fn rows(
    table: Table,
    core: &Core,
    planes: &Planes,
    sockets: &ControlSockets,
    now: Instant,
) -> Vec<Value> {
    match table {
        Table::Neighbors => core.ports.iter().flat_map(|port| neighbors(port, now)).map(row).collect(),
        Table::Evb => core.ports.iter().filter_map(|port| evb(core, port)).map(row).collect(),
        Table::Channels => core.ports.iter().flat_map(|port| channels::rows(core, port)).collect(),
        Table::Extension => core.ports.iter().flat_map(|port| extension::rows(core, port)).collect(),
        Table::Vsi => core.ports.iter().flat_map(|port| vsis(core, port, None, now)).collect(),
        Table::Ports => {
            let mut stats = planes.carrier_stats();
            let hearing = |port: &Port| sockets.hearing(port.id);
            let ports = core.ports.iter().filter(|port| !port.is_free());
            ports
                .map(|port| row(port_row(core, port, planes, hearing(port), stats.remove(&port.id), now)))
                .collect()
        }
        Table::Dcbx => {
            let rows = |port| dcb::rows(port, planes.classes(port.id).1);
            core.ports.iter().flat_map(rows).collect()
        }
        Table::Fdb => fdb(core, planes),
        Table::Profiles => profiles::profiles(core),
        Table::Managers => profiles::managers(core),
        Table::Drops => drops::drops(core, planes),
        Table::Rates => drops::moved(core, planes),
        // The driver has them.
        Table::Libvirt | Table::Guests => Vec::new(),
        Table::Captures => planes.captures().map(row).collect(),
        Table::Flows => flows::flows(core, planes),
    }
}

/// A value of ours as JSON; our types always serialize, so a failure is shown rather than hidden.
pub(crate) fn row<T: Serialize>(value: T) -> Value {
    serde_json::to_value(value).unwrap_or_else(|error| Value::String(error.to_string()))
}

/// One LLDP neighbour.
#[derive(Serialize)]
struct Neighbor {
    port: String,
    scope: lldp::Scope,
    chassis: String,
    port_id: String,
    system_name: Option<String>,
    system_description: Option<String>,
    port_description: Option<String>,
    capabilities: Option<lldp::basic::Capabilities>,
    management: Vec<String>,
    address: String,
    ttl_s: u16,
    expires_in_s: u64,
    age_s: u64,
    /// Since it spoke last.
    heard_s: u64,
    /// Since it last said something new.
    changed_s: u64,
    evb: bool,
    organizational: Vec<String>,
    unreadable: Vec<String>,
    /// TLVs nobody here knows, in hexadecimal.
    unknown: Vec<String>,
    unknown_tlvs: usize,
    malformed_tlvs: usize,
    /// All it said, in hexadecimal.
    lldpdu: String,
}

fn neighbors(port: &Port, now: Instant) -> Vec<Neighbor> {
    port.agents
        .iter()
        .flat_map(|agent| agent.neighbors().map(move |n| (agent.config().scope, n)))
        .map(|(scope, n)| {
            let rest = remainder(n);
            let text = |text: &Option<lldp::basic::Text>| text.as_ref().map(ToString::to_string);
            Neighbor {
                port: port.interface.clone(),
                scope,
                chassis: n.msap().chassis.to_string(),
                port_id: n.msap().port.to_string(),
                system_name: text(&n.info.system_name),
                system_description: text(&n.info.system_description),
                port_description: text(&n.info.port_description),
                capabilities: n.info.capabilities,
                management: n.info.management_addresses.iter().map(ToString::to_string).collect(),
                address: n.src.to_string(),
                ttl_s: n.info.ttl,
                expires_in_s: (n.expires - now).as_secs(),
                age_s: (now - n.first_seen).as_secs(),
                heard_s: (now - n.last_seen).as_secs(),
                changed_s: (now - n.last_changed).as_secs(),
                evb: n.org(EVB_TLV).or_else(|| n.org(DRAFT_EVB_TLV)).is_some(),
                organizational: n.info.org.iter().map(describe).collect(),
                unknown_tlvs: rest.unknown.len(),
                malformed_tlvs: rest.malformed.len(),
                unknown: rest.unknown,
                unreadable: rest.malformed,
                lldpdu: digits(n.raw()),
            }
        })
        .collect()
}

/// EVB negotiation on one port.
#[derive(Serialize)]
struct Evb {
    port: String,
    role: &'static str,
    #[serde(flatten)]
    edge: Option<crate::edge::EdgeView>,
    /// Why reflective relay, or the station's edge relay, is as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<&'static str>,
    dialect: ecp::Dialect,
    manual: bool,
    /// Whether filters may name groups, if the peer agrees.
    groups_wanted: bool,
    on_peer_loss: crate::config::OnPeerLoss,
    neighbors: usize,
    #[serde(flatten)]
    status: Option<vdp::evb::Status>,
    ecp: Ecp,
    vdp: Vdp,
}

/// ECP on one port: what it is doing, and all it has counted.
#[derive(Serialize)]
struct Ecp {
    #[serde(flatten)]
    status: ecp::Status,
    #[serde(flatten)]
    stats: ecp::Stats,
}

/// VDP on one port: what it has counted, and what waits for ECP.
#[derive(Serialize)]
struct Vdp {
    #[serde(flatten)]
    stats: VdpStats,
    waiting_tlvs: usize,
    sent: vdp::outbox::OutboxStats,
    /// VSIs left out because draft 0.2 has no words for them.
    unsaid: u64,
}

#[derive(Serialize)]
#[serde(untagged)]
enum VdpStats {
    Station(vdp::stats::StationStats),
    Bridge(vdp::stats::BridgeStats),
}

fn evb(core: &Core, port: &Port) -> Option<Evb> {
    let edge = port.edge.as_ref()?;
    let (role, view, stats) = match &edge.side {
        Side::Station { relay, vdp, .. } => ("station", Some(relay.view()), VdpStats::Station(*vdp.stats())),
        Side::Bridge { vdp, .. } => ("bridge", None, VdpStats::Bridge(*vdp.stats())),
    };
    Some(Evb {
        port: port.interface.clone(),
        role,
        because: edge.status.filter(|_| view.is_none()).map(|status| status.reflective_relay.words),
        edge: view,
        dialect: edge.ecp.dialect(),
        manual: core.config.manual,
        groups_wanted: core.config.groups,
        on_peer_loss: core.config.on_peer_loss,
        neighbors: edge.neighbors,
        status: edge.status,
        ecp: Ecp { status: edge.ecp.status(), stats: *edge.ecp.stats() },
        vdp: Vdp {
            stats,
            waiting_tlvs: edge.outbox.len(),
            sent: *edge.outbox.stats(),
            unsaid: edge.unsaid_total,
        },
    })
}

/// One VSI, as its machine sees it.
#[derive(Serialize)]
struct Vsi<M> {
    port: String,
    name: Option<String>,
    interface: Option<String>,
    profile: Option<String>,
    gate: &'static str,
    next_timer_in_ms: Option<u128>,
    #[serde(flatten)]
    machine: M,
}

/// The VSIs of a port, or the one that is meant.
fn vsis(core: &Core, port: &Port, only: Option<&VsiId>, now: Instant) -> Vec<Value> {
    let Some(edge) = &port.edge else { return Vec::new() };
    let in_ms = |at: Option<Instant>| at.map(|at| (at - now).as_millis());
    let meant = |id: &VsiId| only.is_none_or(|only| only == id);
    let gate = |at: PortId, id: VsiId| if core.keys.contains_key(&(at, id)) { "open" } else { "shut" };
    match &edge.side {
        Side::Station { vdp, .. } => {
            let here = core.vms.values().filter(|vm| vm.uplink == port.id && meant(&vm.config.id));
            let idle = here.filter(|vm| vdp.vsi(&vm.config.id).is_none());
            let idle = idle.map(|vm| row(known(core, port, &vm.config.id, None, Idle::new(&vm.config))));
            let live = only.map_or_else(|| vdp.vsis().collect(), |id| Vec::from_iter(vdp.vsi(id)));
            let live = live.into_iter().map(|machine| {
                let due = in_ms(machine.next_timer);
                row(known(core, port, &machine.id.clone(), due, machine))
            });
            live.chain(idle).collect()
        }
        Side::Bridge { vdp, .. } => only
            .map_or_else(|| vdp.vsis().collect(), |id| Vec::from_iter(vdp.vsi(id)))
            .into_iter()
            .map(|machine| {
                let profile = core.vsidb.row((machine.manager, machine.type_id, machine.version));
                row(Vsi {
                    port: port.interface.clone(),
                    name: None,
                    interface: None,
                    profile: profile.map(|row| row.profile.name.clone()),
                    gate: gate(port.id, machine.id),
                    next_timer_in_ms: in_ms(machine.next_timer),
                    machine,
                })
            })
            .collect(),
    }
}

/// A station's VSI, with what the station knows beside its machine.
fn known<M>(core: &Core, port: &Port, id: &VsiId, next_timer_in_ms: Option<u128>, machine: M) -> Vsi<M> {
    let vm = core.vms.get(id);
    let of = vm.map(|vm| (vm.config.manager, vm.config.type_id, vm.config.type_version));
    let profile = of.and_then(|key| core.vsidb.row(key));
    let gate = core.keys.contains_key(&(vm.map_or(port.id, |vm| vm.port), *id));
    Vsi {
        port: port.interface.clone(),
        name: vm.map(|vm| vm.config.name.clone()),
        interface: vm.map(|vm| vm.config.interface.clone()),
        profile: profile.map(|row| row.profile.name.clone()),
        gate: if gate { "open" } else { "shut" },
        next_timer_in_ms,
        machine,
    }
}

/// A VSI nobody has asked the bridge for.
#[derive(Serialize)]
struct Idle {
    id: VsiId,
    state: &'static str,
    manager: vdp::ManagerId,
    type_id: vdp::TypeId,
    version: vdp::TypeVersion,
    filter: vdp::FilterInfo,
}

impl Idle {
    fn new(config: &VsiConfig) -> Self {
        let VsiConfig { id, manager, type_id, type_version: version, ref filter, .. } = *config;
        Self { id, state: "idle", manager, type_id, version, filter: filter.clone() }
    }
}

/// One port.
#[derive(Serialize)]
struct PortRow {
    port: String,
    kind: crate::port::PortKind,
    #[serde(flatten)]
    link: LinkRow,
    #[serde(flatten)]
    carried: Option<Carried>,
    fault: Option<String>,
    /// What is particular of an extended port.
    #[serde(skip_serializing_if = "Option::is_none")]
    extended: Option<extended::Extended>,
    #[serde(flatten)]
    counters: Option<hairpin::PortCounters>,
    #[serde(flatten)]
    hearing: HearingRow,
    #[serde(skip_serializing_if = "Option::is_none")]
    carrier_stats: Option<carrier::PortStats>,
    /// What it may send, in bits per second.
    rate: Option<u64>,
    /// Its traffic classes, if it has queues.
    classes: Vec<ClassRow>,
    ignored_control: crate::port::Ignored,
    lldp: Vec<AgentRow>,
}

#[derive(Serialize)]
struct LinkRow {
    link: &'static str,
    mac: Option<String>,
    mtu: Option<u32>,
}

#[derive(Serialize)]
struct AgentRow {
    scope: lldp::Scope,
    admin_status: lldp::AdminStatus,
    #[serde(flatten)]
    counters: lldp::Counters,
}

fn port_row(
    core: &Core,
    port: &Port,
    planes: &Planes,
    hearing: HearingRow,
    carrier_stats: Option<carrier::PortStats>,
    now: Instant,
) -> PortRow {
    let link = match &port.link {
        crate::input::Link::Absent => LinkRow { link: "absent", mac: None, mtu: None },
        crate::input::Link::Present { up, mac, mtu, .. } => {
            LinkRow { link: if *up { "up" } else { "down" }, mac: Some(mac.to_string()), mtu: Some(*mtu) }
        }
    };
    let (rate, classes) = planes.classes(port.id);
    let lowered = core.loss.as_ref().filter(|loss| loss.has_lowered(&port.interface));
    let lowered = lowered.map(|_| "taken down: no controlling bridge has this port (upstream_loss)");
    PortRow {
        port: port.interface.clone(),
        kind: port.kind,
        link,
        carried: planes.carried(port.id),
        fault: planes.fault(port.id).or_else(|| lowered.map(str::to_owned)),
        extended: extended::extended(core, port, now),
        counters: planes.counters(port.id),
        hearing,
        carrier_stats,
        rate,
        classes,
        ignored_control: port.ignored,
        lldp: port
            .agents
            .iter()
            .map(|agent| AgentRow {
                scope: agent.config().scope,
                admin_status: agent.config().admin_status,
                counters: agent.counters().clone(),
            })
            .collect(),
    }
}

/// One address the relay forwards by.
#[derive(Serialize)]
struct FdbRow {
    mac: String,
    vlan: u16,
    port: String,
    origin: hairpin::Origin,
    age_s: u32,
}

fn fdb(core: &Core, planes: &Planes) -> Vec<Value> {
    planes.fdb().into_iter().map(|entry| fdb_row(core, entry)).collect()
}

fn fdb_row(core: &Core, entry: hairpin::FdbEntry) -> Value {
    row(FdbRow {
        mac: entry.mac.to_string(),
        vlan: entry.vid.get(),
        port: core.interface(entry.port).to_owned(),
        origin: entry.origin,
        age_s: entry.age,
    })
}
