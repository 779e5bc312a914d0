//! Scenario `migrate`: VM 1 moves from one station to another and back, while VM 2 on the bridge's LAN pings it each
//! millisecond and it sends VM 2 a TCP stream.
//!
//! ```text
//!   VM 1 ─┐                            one bridge: both stations on it
//!         station ─── bridge ─── VM 2  two: station2 on bridge2, and a LAN between the bridges
//!         station2 ── bridge | bridge2
//! ```
//!
//! On the way there the source de-associates late, on the way back before the VM leaves.

use std::{fmt::Write, process::Stdio};

use anyhow::{Context, ensure};
use serde_json::Value;
use tokio::time::{Duration, Instant, sleep};
use vdp::{Command, Hints};

use super::{
    Lab,
    daemon::{self, Daemon, PROFILE, VLAN},
    net::{
        BRIDGE, BRIDGE2, DOWNLINK, Net, STATION, STATION2, UPLINK, VM_INTERFACE, VM1, VM1_ADDRESS, VM2, VMS,
        Wire,
    },
    probe::{Gap, StreamResult, micros_since_1970},
    report::{Migration, Progress, Report},
    scenario::{has, is, tcp, text},
};
use crate::{
    api::Table,
    order::{VsiOrder, Which},
};

/// Plays the scenario in `net`, and writes what it finds into `report`.
pub(super) async fn play(
    lab: &Lab,
    net: &mut Net,
    progress: &Progress,
    report: &mut Report,
) -> anyhow::Result<()> {
    let two = lab.bridges == 2;
    let step = progress.step("namespaces and wires");
    let (roles, wires) = topology(two);
    net.build(&roles, &wires, &VMS)?;
    // A VM that migrates keeps what it knows of its neighbours; the kernel forgets those of a link that goes down.
    let [vm1, vm2] = &VMS;
    net.know_neighbor(vm1, vm2)?;
    let bridges_there = if two { "2 bridges" } else { "1 bridge" };
    step.done(report, format!("2 stations, {bridges_there}, VM 2 on the LAN of the first"));

    let step = progress.step("daemons running");
    let mut bridges = Vec::new();
    for role in if two { &[BRIDGE, BRIDGE2][..] } else { &[BRIDGE] } {
        bridges.push(Daemon::start(net, role, &bridge_config(net, role, two)).await?);
    }
    let mut source = Daemon::start(net, STATION, &station_config(net, STATION)).await?;
    let mut target = Daemon::start(net, STATION2, &station_config(net, STATION2)).await?;
    step.done(report, format!("{bridges_there}, 2 stations"));

    let deadline = Instant::now() + PATIENCE;
    let step = progress.step("EVB agreed on both stations");
    for station in [&mut source, &mut target] {
        let agreed = |e: &Value| is(e, "evb") && has(e, "/status/peer", "present");
        station.wait("EVB agreed", 1, deadline, agreed).await?;
    }
    step.done(report, "each has found its bridge".to_owned());

    let step = progress.step("VM 1 associated where it is");
    let (_, ms) = order(&mut source, Command::Associate, false).await?;
    step.done(report, format!("after {ms} ms"));

    for late_deassociate in [true, false] {
        let name = if late_deassociate {
            "VM 1 moves, the source de-associates late"
        } else {
            "VM 1 moves back, the source de-associates first"
        };
        let step = progress.step(name);
        let moved = migrate(lab, net, &mut source, &mut target, late_deassociate).await?;
        let held = moved.tcp.intact && moved.lost_otherwise == 0 && moved.blackout_ms < MOST_BLACKOUT_MS;
        let mut detail = format!(
            "blackout {} ms, of which the interface was away {} ms; {} of {} pings lost",
            moved.blackout_ms, moved.away_ms, moved.lost, moved.pings
        );
        if moved.lost_otherwise > 0 {
            let _ = write!(detail, ", {} of them at other times", moved.lost_otherwise);
        }
        step.held(report, held, detail);
        report.migrations.push(moved);
        std::mem::swap(&mut source, &mut target);
    }

    let step = progress.step("one VSI, and that at the station it is at");
    let mut open = Vec::new();
    for bridge in &bridges {
        open.extend(bridge.client.show(Table::Vsi).await?);
    }
    let port = text(open.first(), "port");
    step.held(report, open.len() == 1 && port == DOWNLINK, format!("{} on {port}", open.len()));
    report.vsis = open;
    Ok(())
}

/// Moves VM 1 from `source` to `target` under traffic.
async fn migrate(
    lab: &Lab,
    net: &Net,
    source: &mut Daemon,
    target: &mut Daemon,
    late_deassociate: bool,
) -> anyhow::Result<Migration> {
    let (from, to) = (source.role, target.role);
    let seconds = lab.seconds.clamp(3, 60);
    let third = Duration::from_millis(u64::from(seconds) * 1000 / 3);
    order(target, Command::PreAssociateRr, true).await?;
    let moving = async {
        sleep(third).await;
        if !late_deassociate {
            order(source, Command::DeAssociate, false).await?;
        }
        let (left, since) = (micros_since_1970(), Instant::now());
        net.move_interface(VM1, from, to)?;
        let away_ms = millis(since.elapsed());
        let (_, associate_ms) = order(target, Command::Associate, true).await?;
        let back = micros_since_1970();
        if late_deassociate {
            sleep(third).await;
            order(source, Command::DeAssociate, false).await?;
        }
        Ok((left, back, away_ms, associate_ms))
    };
    let ((left, back, away_ms, associate_ms), pings, tcp) =
        tokio::try_join!(moving, pings(net, seconds), tcp(net, seconds, Some(STREAM_MBIT_S)))?;
    // The blackout begins with an early De-Associate, and ends when VM 1 has found its neighbours again.
    let in_it = |gap: &&Gap| gap.from_us <= back && gap.to_us.is_none_or(|to| to >= left);
    let blackout: Vec<&Gap> = pings.gaps.iter().filter(in_it).collect();
    let ends =
        blackout.last().map(|gap| gap.to_us.context("no ping was answered after the move")).transpose()?;
    let blackout_us = ends.zip(blackout.first()).map_or(0, |(to, first)| to.saturating_sub(first.from_us));
    let lost: u32 = blackout.iter().map(|gap| gap.lost).sum();
    Ok(Migration {
        from,
        to,
        late_deassociate,
        away_ms,
        associate_ms,
        blackout_ms: blackout_us / 1000,
        pings: pings.sent,
        lost: pings.lost,
        lost_otherwise: pings.lost - lost,
        gaps: pings.gaps.iter().map(|gap| (gap.lost, millis_after(left, gap.from_us))).collect(),
        tcp,
    })
}

/// Orders VM 1's VSI and waits until it is carried out; the event that says so, and how long it took in ms.
async fn order(station: &mut Daemon, command: Command, migrating: bool) -> anyhow::Result<(Value, u64)> {
    let hints = Hints { migrating, suspended: false };
    let vsi = Which::Known(VM1.to_owned());
    let since = Instant::now();
    let taken = station.client.order(&VsiOrder { command, vsi, hints, port: None }).await?;
    let what = match command {
        Command::PreAssociate | Command::PreAssociateRr => "pre_associated",
        Command::Associate => "associated",
        Command::DeAssociate => "gone",
    };
    let number = |event: &Value| event.get("number").and_then(Value::as_u64);
    let told = |event: &Value| {
        is(event, "station_vsi") && has(event, "/what", what) && number(event) > number(&taken)
    };
    let events = station.wait(what, 1, Instant::now() + PATIENCE, told).await?;
    Ok((events.into_iter().next().unwrap_or_default(), millis(since.elapsed())))
}

async fn pings(net: &Net, seconds: u16) -> anyhow::Result<StreamResult> {
    let output = net
        .command(VM2)?
        .args(["lab-probe", "stream", VM1_ADDRESS, "--seconds"])
        .arg(seconds.to_string())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("cannot run the pinger")?;
    ensure!(output.status.success(), "the pinger failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    serde_json::from_slice(&output.stdout).context("the pinger said something else than its result")
}

fn topology(two: bool) -> (Vec<&'static str>, Vec<Wire>) {
    let mut roles = vec![BRIDGE, STATION, STATION2, VM1, VM2];
    let mut wires = vec![
        [(STATION, UPLINK), (BRIDGE, DOWNLINK)],
        [(BRIDGE, LAN), (VM2, VM_INTERFACE)],
        [(STATION, VM1), (VM1, VM_INTERFACE)],
    ];
    if two {
        roles.push(BRIDGE2);
        wires.push([(STATION2, UPLINK), (BRIDGE2, DOWNLINK)]);
        wires.push([(BRIDGE, LINK), (BRIDGE2, LINK)]);
    } else {
        wires.push([(STATION2, UPLINK), (BRIDGE, DOWNLINK2)]);
    }
    (roles, wires)
}

fn bridge_config(net: &Net, role: &str, two: bool) -> String {
    let port = |interface: &str, keys: &str| format!("\n[[port]]\ninterface = \"{interface}\"\n{keys}\n");
    let mut text = daemon::head(net, "bridge", role);
    text += &port(DOWNLINK, "kind = \"station\"");
    if !two {
        text += &port(DOWNLINK2, "kind = \"station\"");
    }
    if role == BRIDGE {
        text += &port(LAN, &format!("kind = \"lan\"\nuntagged = {VLAN}"));
    }
    if two {
        text += &port(LINK, &format!("kind = \"lan\"\ntagged = [{VLAN}]"));
    }
    text + &format!("\n[[profile]]\nname = \"{PROFILE}\"\ntype = 1\nversion = 1\nvlans = [{VLAN}]\n")
}

fn station_config(net: &Net, role: &str) -> String {
    let mut text = daemon::head(net, "station", role);
    let _ = writeln!(text, "\n[[port]]\ninterface = \"{UPLINK}\"\nkind = \"uplink\"");
    for vm in VMS.iter().filter(|vm| vm.name == VM1) {
        let _ = write!(
            text,
            "\n[[vsi]]\nname = \"{name}\"\ninterface = \"{name}\"\nid = \"{uuid}\"\ntype = 1\nversion = 1\n\
             mac = \"{mac}\"\nautomatic = false\nips = [\"{address}\"]\n",
            name = vm.name,
            uuid = vm.uuid,
            mac = vm.mac,
            address = vm.address,
        );
    }
    text
}

/// Negative for what came before.
fn millis_after(start_us: u64, at_us: u64) -> i64 {
    let us = at_us.checked_signed_diff(start_us).unwrap_or(i64::MAX);
    us / 1000
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The bridge's port to the second station, to the LAN, and to the other bridge.
const DOWNLINK2: &str = "station1";
const LAN: &str = "lan0";
const LINK: &str = "link0";
const PATIENCE: Duration = Duration::from_secs(30);
/// What the TCP stream takes of the machine, so that pings are not lost for want of it.
const STREAM_MBIT_S: u32 = 50;
/// A VM that is away longer was not moved, but lost.
const MOST_BLACKOUT_MS: u64 = 2000;
