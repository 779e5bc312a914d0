//! Scenario `extend`: a controlling bridge and two port extenders, one behind the other, that find one another and talk;
//! no channel is in a configuration.
//!
//! ```text
//!   bridge ─── extender ─── extender2     VM 1 and VM 3 on the first, VM 2 and VM 4 on the second,
//!               │    │       │  │  │      VM 5 behind a station on the second, which is a VSI
//!             VM 1  VM 3  VM 2 VM 4 station ─ VM 5
//! ```

use ether::Framing;
use serde_json::Value;
use tokio::time::{Duration, Instant};

use super::{
    Lab,
    daemon::{Daemon, head},
    look::{everybody_hears, judge, look},
    net::{BRIDGE, EXTENDER, EXTENDER2, MORE_VMS, Net, STATION, UPLINK, VM_INTERFACE, VMS, Vm, Wire},
    report::{Cable, Extension, Progress, Report, Tcp},
    scenario::{has, is, ping_between, ping_within, tcp, text},
};
use crate::api::Table;

/// Plays the scenario in `net`, and writes what it finds into `report`.
pub(super) async fn play(
    lab: &Lab,
    net: &mut Net,
    progress: &Progress,
    report: &mut Report,
) -> anyhow::Result<()> {
    let vms: Vec<Vm> = VMS.into_iter().chain(MORE_VMS).take(PLACES.len()).collect();
    let step = progress.step("namespaces and wires");
    build(net, &vms)?;
    step.done(report, format!("{} VMs, {} cables of MTU {MTU}", vms.len(), CABLES.len()));

    let step = progress.step("daemons running");
    let mut bridge = Daemon::start(net, BRIDGE, &bridge_config(net)).await?;
    let begun = Instant::now();
    let mut extenders = Vec::new();
    for role in [EXTENDER, EXTENDER2] {
        extenders.push(Daemon::start(net, role, &extender_config(net, role, &vms)).await?);
    }
    let mut station = Daemon::start(net, STATION, &station_config(net, &vms)).await?;
    step.done(report, "one bridge, two port extenders, one station".to_owned());

    let deadline = Instant::now() + PATIENCE;
    let step = progress.step("LLDP, and an upstream port chosen");
    for extender in &mut extenders {
        extender.wait("neighbour", 1, deadline, |e| is(e, "neighbor") && has(e, "/port", UPLINK)).await?;
        extender.wait("upstream port", 1, deadline, |e| is(e, "upstream") && has(e, "/port", UPLINK)).await?;
    }
    step.done(report, format!("{UPLINK}, on both"));

    let step = progress.step("sessions open");
    for daemon in extenders.iter_mut().map(|extender| (extender, 1)).chain([(&mut bridge, 2)]) {
        let (daemon, sessions) = daemon;
        let open = |e: &Value| is(e, "extension_session") && has(e, "/state", "open");
        daemon.wait("an open session", sessions, deadline, open).await?;
    }
    let rows = bridge.client.show(Table::Extension).await?;
    let tier = |row: &Value| row.get("tier").and_then(Value::as_u64).unwrap_or(0);
    let tiers: Vec<String> =
        rows.iter().map(|row| format!("{} tier {}", text(Some(row), "port"), tier(row))).collect();
    step.held(report, rows.len() == 2, tiers.join(", "));

    let step = progress.step("ports made and up");
    bridge.wait("an extended port", PORTS, deadline, |e| is(e, "extended_port_made")).await?;
    bridge.wait("an extended port up", PORTS, deadline, |e| is(e, "link_up") && is_extended(e)).await?;
    let took = begun.elapsed();
    step.done(
        report,
        format!(
            "{PORTS} ports of the bridge, {} ms after the first port extender was started",
            took.as_millis()
        ),
    );
    let mut found = Extension { ports_ms: ms(took), sessions: rows, cables: Vec::new() };

    // Each end sees what comes in: what evbd sends no tap of its own host gets.
    let taps = vec![(BRIDGE, look(net, BRIDGE, CASCADE)?), (EXTENDER2, look(net, EXTENDER2, UPLINK)?)];
    for (name, from, to) in MEETINGS {
        let step = progress.step(name);
        let (Some(from), Some(to)) = (vms.get(from), vms.get(to)) else { continue };
        let pings = ping_between(net, from.name, to.address, lab.pings).await?;
        let detail = format!("{} of {} answered", pings.answered, pings.sent);
        step.held(report, pings.answered == pings.sent, detail);
        report.ping = Some(pings);
    }
    let extended = vms.get(..VSI).unwrap_or_default();
    everybody_hears(net, extended, progress, report).await?;
    let step = progress.step("TCP from VM 1 to VM 2, by both extenders");
    let stream: Tcp = tcp(net, lab.seconds, None).await?;
    let detail = format!("{:.2} Gbit/s, every octet checked", stream.gbit_s);
    step.held(report, stream.intact && stream.octets > 0, detail);
    report.tcp = Some(stream);

    vsi(net, &vms, &mut bridge, &mut station, progress, report).await?;
    judge(net, Framing::Etag, taps, progress, report).await?;
    for (what, role, ports) in [("nested", EXTENDER2, NESTED), ("outer", EXTENDER, PORTS)] {
        found.cables.push(pulled(net, &vms, (what, role, ports), &mut bridge, progress, report).await?);
    }
    report.extension = Some(found);
    Ok(())
}

fn build(net: &mut Net, vms: &[Vm]) -> anyhow::Result<()> {
    let mut roles = vec![BRIDGE, EXTENDER, EXTENDER2, STATION];
    roles.extend(vms.iter().map(|vm| vm.name));
    let mut wires: Vec<Wire> = CABLES.to_vec();
    wires.push([(STATION, UPLINK), (EXTENDER2, STATION_PORT)]);
    wires.extend(PLACES.iter().zip(vms).map(|(at, vm)| [(*at, vm.name), (vm.name, VM_INTERFACE)]));
    net.build(&roles, &wires, vms)?;
    for (role, interface) in CABLES.iter().flatten() {
        net.set_mtu(role, interface, MTU)?;
    }
    // Who asks for an address that does not answer waits for a second before it asks again.
    for vm in vms {
        for other in vms.iter().filter(|other| other.name != vm.name) {
            net.know_neighbor(vm, other)?;
        }
    }
    Ok(())
}

/// VM 5 is a VSI on an extended port, by a profile of the bridge.
async fn vsi(
    net: &Net,
    vms: &[Vm],
    bridge: &mut Daemon,
    station: &mut Daemon,
    progress: &Progress,
    report: &mut Report,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let step = progress.step("VM 5 is a VSI behind an extended port");
    let associated = |name: &'static str| move |e: &Value| is(e, name) && has(e, "/what", "associated");
    station.wait("VSI associated", 1, deadline, associated("station_vsi")).await?;
    bridge.wait("VSI associated", 1, deadline, associated("bridge_vsi")).await?;
    report.vsis = bridge.client.show(Table::Vsi).await?;
    let row = report.vsis.first();
    let (port, profile) = (text(row, "port"), text(row, "profile"));
    let held = port.starts_with(&format!("{CASCADE}:")) && profile == PROFILE;
    step.held(report, held, format!("at {port}, profile {profile}, VLAN 1"));
    let step = progress.step("VM 1 reaches VM 5");
    let (Some(from), Some(to)) = (vms.first(), vms.get(VSI)) else { return Ok(()) };
    let pings = ping_between(net, from.name, to.address, 5).await?;
    step.held(report, pings.answered == pings.sent, format!("{} of {} answered", pings.answered, pings.sent));
    Ok(())
}

/// The cable of a port extender is pulled and put back: `ports` ports of the bridge go and come.
async fn pulled(
    net: &Net,
    vms: &[Vm],
    (what, role, ports): (&'static str, &'static str, usize),
    bridge: &mut Daemon,
    progress: &Progress,
    report: &mut Report,
) -> anyhow::Result<Cable> {
    let nested = role == EXTENDER2;
    let name = if nested { "the nested cable is pulled" } else { "the outer cable is pulled" };
    let step = progress.step(name);
    let before = bridge.last().await?;
    let later = |e: &Value| e.get("number").and_then(Value::as_u64) > Some(before);
    let since = Instant::now();
    net.set_up(role, UPLINK, false)?;
    let gone = |e: &Value| later(e) && is(e, "extended_port_gone");
    bridge.wait("an extended port gone", ports, since + PATIENCE, gone).await?;
    let down = since.elapsed();
    let (Some(from), Some(to)) = (vms.first(), vms.get(1)) else { anyhow::bail!("there are no VMs") };
    let apart = ping_within(net, from.name, to.address, 1, Duration::from_secs(1)).await?.answered == 0;
    let detail = format!("{ports} ports are gone after {} ms, VM 1 does not reach VM 2", down.as_millis());
    step.held(report, down < SOON && apart, detail);

    let step = progress.step(if nested { "and put back" } else { "and put back, too" });
    let since = Instant::now();
    net.set_up(role, UPLINK, true)?;
    let up = |e: &Value| later(e) && is(e, "link_up") && is_extended(e);
    bridge.wait("an extended port up", ports, since + PATIENCE, up).await?;
    let up = since.elapsed();
    // Both ways, by both port extenders.
    while ping_within(net, from.name, to.address, 1, Duration::from_millis(50)).await?.answered == 0
        && since.elapsed() < PATIENCE
    {}
    let traffic = since.elapsed();
    let detail = format!(
        "{ports} ports are up after {} ms, VM 1 reaches VM 2 after {} ms",
        up.as_millis(),
        traffic.as_millis()
    );
    step.held(report, traffic < SOON, detail);
    Ok(Cable { cable: what, ports, gone_ms: ms(down), up_ms: ms(up), traffic_ms: ms(traffic) })
}

fn is_extended(event: &Value) -> bool {
    event.get("port").and_then(Value::as_str).is_some_and(|port| port.starts_with(&format!("{CASCADE}:")))
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn bridge_config(net: &Net) -> String {
    format!(
        "{head}\n[[port]]\ninterface = \"{CASCADE}\"\nkind = \"lan\"\nuntagged = 1\ncascade = true\n\n\
         [[extended]]\nextender = \"lab-{EXTENDER2}\"\nport = \"{STATION_PORT}\"\nkind = \"station\"\n\n\
         [[profile]]\nname = \"{PROFILE}\"\ntype = 1\nversion = 1\nvlans = [1]\n",
        head = head(net, "bridge", BRIDGE),
    )
}

fn extender_config(net: &Net, role: &str, vms: &[Vm]) -> String {
    let port =
        |interface: &str, kind| format!("\n[[port]]\ninterface = \"{interface}\"\nkind = \"{kind}\"\n");
    // The VMs' interfaces are ports because of their names.
    let own = |(at, vm): &(&&str, &Vm)| **at == role && vm.name.starts_with("vm");
    let count = PLACES.iter().zip(vms).filter(own).count();
    let mut text = head(net, "extender", role);
    text += &format!("\n[relay]\nspare_ports = {count}\n");
    text += &port(UPLINK, "upstream");
    text += &port("vm*", "extended");
    text += &if role == EXTENDER { port(CASCADE, "cascade") } else { port(STATION_PORT, "extended") };
    text
}

fn station_config(net: &Net, vms: &[Vm]) -> String {
    let Some(vm) = vms.get(VSI) else { return String::new() };
    format!(
        "{head}\n[[port]]\ninterface = \"{UPLINK}\"\nkind = \"uplink\"\n\n\
         [[vsi]]\nname = \"{name}\"\ninterface = \"{name}\"\nid = \"{uuid}\"\ntype = 1\nversion = 1\nmac = \"{mac}\"\n",
        head = head(net, "station", STATION),
        name = vm.name,
        uuid = vm.uuid,
        mac = vm.mac,
    )
}

/// Where VMs 1, 2 and so on are.
const PLACES: [&str; 5] = [EXTENDER, EXTENDER2, EXTENDER, EXTENDER2, STATION];
/// The one that is a VSI, from 0.
const VSI: usize = 4;
/// Between the bridge and the port extenders.
const CABLES: [Wire; 2] =
    [[(EXTENDER, UPLINK), (BRIDGE, CASCADE)], [(EXTENDER2, UPLINK), (EXTENDER, CASCADE)]];
/// Ports of the bridge that are elsewhere: four VMs', the station's, and the one the second port extender is behind.
const PORTS: usize = 6;
/// Those of the second port extender.
const NESTED: usize = 3;
/// Who pings whom, from 0.
const MEETINGS: [(&str, usize, usize); 3] = [
    ("VM 1 and VM 3 meet at the bridge", 0, 2),
    ("VM 2 and VM 4 meet at the bridge", 1, 3),
    ("VM 1 reaches VM 2", 0, 1),
];
/// An interface towards a port extender.
const CASCADE: &str = "cascade0";
/// An interface towards the station.
const STATION_PORT: &str = "station0";
const PROFILE: &str = "web";
/// The VMs' own, an E-TAG and a C-tag.
const MTU: u32 = 1512;
const PATIENCE: Duration = Duration::from_secs(30);
/// What an operator notices.
const SOON: Duration = Duration::from_secs(2);
