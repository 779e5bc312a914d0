//! Scenario `channels`: three S-channels on one wire, each with an edge relay of its own: a VEPA with VMs 1 and 2, a VEB
//! with VMs 3 and 4, and VM 5 that has one to itself. Traffic in each, and what it looked like on the wire.

use std::process::Stdio;

use anyhow::Context;
use serde_json::Value;
use tokio::time::{Duration, Instant};

use super::{
    Lab,
    daemon::{Daemon, PROFILE, VLAN},
    net::{BRIDGE, DOWNLINK, MORE_VMS, Net, STATION, UPLINK, VM_INTERFACE, VMS, Vm, Wire},
    probe::Seen,
    report::{Progress, Report},
    scenario::{is, ping_between, text},
};
use crate::api::Table;

/// Plays the scenario in `net`, and writes what it finds into `report`.
pub(super) async fn play(
    lab: &Lab,
    net: &mut Net,
    progress: &Progress,
    report: &mut Report,
) -> anyhow::Result<()> {
    let step = progress.step("namespaces and wires");
    let vms: Vec<Vm> = VMS.into_iter().chain(MORE_VMS).collect();
    let roles: Vec<&str> = [BRIDGE, STATION].into_iter().chain(vms.iter().map(|vm| vm.name)).collect();
    let link: Wire = [(STATION, UPLINK), (BRIDGE, DOWNLINK)];
    let wires: Vec<Wire> = std::iter::once(link)
        .chain(vms.iter().map(|vm| [(STATION, vm.name), (vm.name, VM_INTERFACE)]))
        .collect();
    net.build(&roles, &wires, &vms)?;
    for (role, interface) in link {
        net.set_mtu(role, interface, MTU)?;
    }
    step.done(report, format!("{} VMs, one wire between station and bridge, its MTU {MTU}", vms.len()));

    let step = progress.step("daemons running");
    let mut bridge = Daemon::start(net, BRIDGE, &bridge_config(net)).await?;
    let mut station = Daemon::start(net, STATION, &station_config(net, &vms)).await?;
    step.done(report, "one bridge, one station".to_owned());

    let deadline = Instant::now() + Duration::from_secs(30);
    let step = progress.step("three S-channels there");
    for daemon in [&mut station, &mut bridge] {
        daemon.wait("S-channel", CHANNELS.len(), deadline, |e| is(e, "channel_up")).await?;
    }
    let shown = station.client.show(Table::Channels).await?;
    let named = shown.iter().filter(|row| row.get("name").is_some());
    let named: Vec<String> =
        named.map(|row| format!("{} with S-VLAN {}", text(Some(row), "name"), number(row, "svid"))).collect();
    step.held(report, named.len() == CHANNELS.len(), named.join(", "));

    let step = progress.step("VSIs associated");
    let associated = |name: &'static str| {
        move |e: &Value| is(e, name) && e.get("what").and_then(Value::as_str) == Some("associated")
    };
    station.wait("VSI associated", vms.len(), deadline, associated("station_vsi")).await?;
    bridge.wait("VSI associated", vms.len(), deadline, associated("bridge_vsi")).await?;
    report.vsis = bridge.client.show(Table::Vsi).await?;
    let relays = station.client.show(Table::Evb).await?;
    let relays: Vec<String> = relays
        .iter()
        .map(|row| format!("{} is a {}", text(Some(row), "port"), text(Some(row), "relay")))
        .collect();
    step.done(report, format!("{}; {}", vms.len(), relays.join(", ")));

    let mut tap = net
        .command(BRIDGE)?
        .args(["lab-probe", "tags", DOWNLINK, "--file"])
        .arg(net.file("channels.pcap"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot look at the wire")?;
    for (name, from, to) in PINGS {
        let step = progress.step(name);
        let address = vms.iter().find(|vm| vm.name == to).map_or("?", |vm| vm.address);
        let pings = ping_between(net, from, address, lab.pings).await?;
        let detail = format!("{} of {} answered", pings.answered, pings.sent);
        step.held(report, pings.answered == pings.sent, detail);
        report.ping = Some(pings);
    }

    let step = progress.step("each channel has its tag on the wire");
    // It ends when nobody writes to it any more.
    drop(tap.stdin.take());
    let said = tap.wait_with_output().await.context("nobody looked at the wire")?;
    let seen: Vec<Seen> =
        serde_json::from_slice(&said.stdout).context("who looked at the wire did not say what was there")?;
    let frames = |svid: u64, vms: bool| {
        let of = seen.iter().filter(|s| s.svid.map(u64::from) == Some(svid) && s.tagged == vms);
        of.map(|s| s.frames).sum::<u64>()
    };
    let mut said = Vec::new();
    let mut held = !seen.iter().any(|s| s.svid.is_none() && s.tagged);
    for (row, (name, _, mode, _)) in shown.iter().skip(1).zip(CHANNELS) {
        let svid = row.get("svid").and_then(Value::as_u64).unwrap_or(0);
        // Both directions of each ping; of the VEB's, nothing leaves the station but who asks for addresses.
        let crossed = frames(svid, true);
        held &= if mode == "veb" { crossed < u64::from(lab.pings) } else { crossed >= u64::from(lab.pings) };
        said.push(format!(
            "{name}: {crossed} frames of VMs and {} others in S-VLAN {svid}",
            frames(svid, false)
        ));
    }
    step.held(report, held, said.join(", "));
    if lab.keep {
        progress.note(&format!("the frames are in {}", net.file("channels.pcap").display()));
    }
    Ok(())
}

fn number(row: &Value, field: &str) -> u64 {
    row.get(field).and_then(Value::as_u64).unwrap_or(0)
}

fn bridge_config(net: &Net) -> String {
    format!(
        "role = \"bridge\"\nname = \"lab-bridge\"\n\n\
         [control]\nsocket = \"{socket}\"\n\n\
         [state]\ndirectory = \"{state}\"\n\n\
         [[port]]\ninterface = \"{DOWNLINK}\"\nkind = \"station\"\nsvids = \"100-199\"\n\n\
         [[profile]]\nname = \"{PROFILE}\"\ntype = 1\nversion = 1\nvlans = [{VLAN}]\n",
        socket = net.file(&format!("{BRIDGE}.sock")).display(),
        state = net.file(&format!("{BRIDGE}.state")).display(),
    )
}

fn station_config(net: &Net, vms: &[Vm]) -> String {
    let channels: Vec<String> = CHANNELS
        .iter()
        .map(|(name, id, mode, _)| format!("    {{ name = \"{name}\", id = {id}, mode = \"{mode}\" }},\n"))
        .collect();
    let mut text = format!(
        "role = \"station\"\nname = \"lab-station\"\n\n\
         [control]\nsocket = \"{socket}\"\n\n\
         [state]\ndirectory = \"{state}\"\n\n\
         [[port]]\ninterface = \"{UPLINK}\"\nkind = \"uplink\"\nchannels = [\n{channels}]\n",
        socket = net.file(&format!("{STATION}.sock")).display(),
        state = net.file(&format!("{STATION}.state")).display(),
        channels = channels.concat(),
    );
    for vm in vms {
        let channel =
            CHANNELS.iter().find(|(.., behind)| behind.contains(&vm.name)).map_or("?", |(name, ..)| name);
        text += &format!(
            "\n[[vsi]]\nname = \"{name}\"\ninterface = \"{name}\"\nid = \"{uuid}\"\n\
             type = 1\nversion = 1\nmac = \"{mac}\"\nchannel = \"{channel}\"\n",
            name = vm.name,
            uuid = vm.uuid,
            mac = vm.mac,
        );
    }
    text
}

/// Name, number, edge relay and VMs of each.
const CHANNELS: [(&str, u8, &str, &[&str]); 3] = [
    ("blue", 2, "vepa", &["vm1", "vm2"]),
    ("red", 3, "veb", &["vm3", "vm4"]),
    ("guest", 4, "direct", &["vm5"]),
];
/// Who pings whom; no pings to the outside begin in `red`, so that what is seen of it is its own.
const PINGS: [(&str, &str, &str); 3] = [
    ("blue: VM 1 and VM 2 meet on the bridge", "vm1", "vm2"),
    ("red: VM 3 and VM 4 meet in the station", "vm3", "vm4"),
    ("guest: VM 5 reaches VM 1 by the bridge", "vm5", "vm1"),
];
/// The VMs' own, an S-tag and a C-tag.
const MTU: u32 = 1508;
