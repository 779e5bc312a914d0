//! What the lab plays, step by step, and what must be true after each step.

use std::process::Stdio;

use anyhow::{Context, ensure};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    time::{Duration, Instant, timeout_at},
};

use super::{
    Fallback, Lab, Scenario,
    daemon::{self, Daemon},
    net::{BRIDGE, DOWNLINK, Net, STATION, UPLINK, VM_INTERFACE, VM1, VM2, VM2_ADDRESS, VMS},
    probe::{PingResult, TcpResult},
    report::{Progress, Report, Tcp, Wire},
};
use crate::api::Table;

/// Plays the scenario of `lab` in `net`, and writes what it finds into `report`.
pub(super) async fn play(
    lab: &Lab,
    net: &mut Net,
    progress: &Progress,
    report: &mut Report,
) -> anyhow::Result<()> {
    let expected = report.expected;

    let step = progress.step("namespaces and wires");
    net.build(
        &[BRIDGE, STATION, VM1, VM2],
        &[
            [(STATION, UPLINK), (BRIDGE, DOWNLINK)],
            [(STATION, VM1), (VM1, VM_INTERFACE)],
            [(STATION, VM2), (VM2, VM_INTERFACE)],
        ],
        &VMS,
    )?;
    step.done(report, format!("{} VMs, one wire between station and bridge", VMS.len()));

    let step = progress.step("daemons running");
    let mut bridge = Daemon::start(net, BRIDGE, &daemon::bridge_config(net, lab.scenario)).await?;
    let mut station = Daemon::start(net, STATION, &daemon::station_config(net, lab.fallback)).await?;
    step.done(report, "one bridge, one station".to_owned());

    let deadline = Instant::now() + Duration::from_secs(30);
    let step = progress.step("link up");
    station.wait("link up", 1, deadline, |e| is(e, "link_up") && at(e, UPLINK)).await?;
    bridge.wait("link up", 1, deadline, |e| is(e, "link_up") && at(e, DOWNLINK)).await?;
    step.done(report, format!("{UPLINK} — {DOWNLINK}"));

    let step = progress.step("LLDP neighbours seen");
    let customer = |e: &Value| is(e, "neighbor") && has(e, "/scope", "nearest_customer");
    let seen = station.wait("LLDP neighbour", 1, deadline, customer).await?;
    bridge.wait("LLDP neighbour", 1, deadline, customer).await?;
    step.done(report, format!("the station sees {}", text(seen.first(), "system_name")));

    negotiated(lab, report, progress, &mut station, &mut bridge, deadline).await?;

    let step = progress.step("VSIs associated");
    let associated = |e: &Value| is(e, "station_vsi") && has(e, "/what", "associated");
    let found = station.wait("VSI associated", VMS.len(), deadline, associated).await?;
    bridge
        .wait("VSI associated", VMS.len(), deadline, |e| is(e, "bridge_vsi") && has(e, "/what", "associated"))
        .await?;
    let vsis = bridge.client.show(Table::Vsi).await?;
    let profile = text(vsis.first(), "profile");
    step.done(report, format!("{} VSIs, profile {profile}, VLAN {}", found.len(), daemon::VLAN));
    report.vsis = vsis;

    if expected.reflected {
        proven(report, progress, &mut station, deadline).await?;
    }

    let before = Wire::read(net, &bridge.client).await?;
    let step = progress.step("pings from VM 1 to VM 2");
    let pings = ping_between(net, VM1, VM2_ADDRESS, lab.pings).await?;
    let after = Wire::read(net, &bridge.client).await?;
    let detail = format!("{} of {} answered", pings.answered, pings.sent);
    let held = if expected.vms_meet { pings.answered == pings.sent } else { pings.answered == 0 };
    step.held(report, held, detail);

    let step = progress.step(expected.wire_words());
    let crossed = after.since(before);
    let wanted = u64::from(lab.pings) * 2;
    let held = if expected.reflected {
        crossed.reflected >= wanted && crossed.kernel_rx >= wanted
    } else {
        crossed.reflected == 0 && (!expected.vms_meet || crossed.kernel_rx < wanted)
    };
    let detail = format!(
        "bridge port {DOWNLINK}: {} frames reflected by evbd, {} received as the kernel counts",
        crossed.reflected, crossed.kernel_rx
    );
    step.held(report, held, detail);
    report.wire = Some(crossed);
    report.ping = Some(pings);

    if expected.vms_meet {
        let step = progress.step("TCP from VM 1 to VM 2");
        let tcp = tcp(net, lab.seconds, None).await?;
        step.held(
            report,
            tcp.intact && tcp.octets > 0,
            format!("{:.2} Gbit/s, every octet checked", tcp.gbit_s),
        );
        report.tcp = Some(tcp);
    }
    Ok(())
}

/// EVB has been agreed, and reflective relay is on or refused as the scenario wants it.
async fn negotiated(
    lab: &Lab,
    report: &mut Report,
    progress: &Progress,
    station: &mut Daemon,
    bridge: &mut Daemon,
    deadline: Instant,
) -> anyhow::Result<()> {
    match lab.scenario {
        Scenario::Reflect => {
            let step = progress.step("EVB agreed, reflective relay on");
            bridge
                .wait("reflective relay on", 1, deadline, |e| is(e, "reflective") && has(e, "/on", true))
                .await?;
            let told = |e: &Value| is(e, "evb") && has(e, "/status/reflective_relay/state", "on");
            let seen = station.wait("reflective relay on", 1, deadline, told).await?;
            let words = text(seen.first().and_then(|e| e.pointer("/status/reflective_relay")), "words");
            step.done(report, words);
        }
        Scenario::Refuse
        | Scenario::Migrate
        | Scenario::Dcbx
        | Scenario::Channels
        | Scenario::Extend
        | Scenario::Fex => {
            let step = progress.step("EVB agreed, reflective relay refused");
            let refused =
                |e: &Value| is(e, "evb") && has(e, "/status/reflective_relay/reason", "not_capable");
            let seen = station.wait("refusal", 1, deadline, refused).await?;
            let because = text(seen.last().and_then(|e| e.pointer("/status/reflective_relay")), "words");
            let shown = station.client.show(Table::Evb).await?;
            let relay = text(shown.first(), "relay");
            let wanted = match lab.fallback {
                Fallback::Veb => "veb",
                Fallback::Isolate => "isolate",
            };
            step.held(report, relay == wanted, format!("{because}; by policy the station is now: {relay}"));
        }
    }
    report.evb = station.client.show(Table::Evb).await?.into_iter().next();
    Ok(())
}

/// A probe has come back from the bridge, so the station is a VEPA.
async fn proven(
    report: &mut Report,
    progress: &Progress,
    station: &mut Daemon,
    deadline: Instant,
) -> anyhow::Result<()> {
    let step = progress.step("reflection proved by a probe");
    let came_back = |e: &Value| is(e, "probe") && has(e, "/state", "proven");
    let seen = station.wait("probe", 1, deadline, came_back).await?;
    let relay = |e: &Value| is(e, "relay") && has(e, "/mode", "vepa");
    station.wait("VEPA", 1, deadline, relay).await?;
    let us = seen.first().and_then(|e| e.get("round_trip_us")).and_then(Value::as_u64).unwrap_or(0);
    step.done(report, format!("it came back after {us} µs; the station is a VEPA"));
    report.evb = station.client.show(Table::Evb).await?.into_iter().next();
    Ok(())
}

/// Pings from the VM `from`.
pub(super) async fn ping_between(net: &Net, from: &str, to: &str, count: u16) -> anyhow::Result<PingResult> {
    // Nobody answers an isolated VM: do not wait a second for each ping.
    ping_within(net, from, to, count, Duration::from_millis(if count > 20 { 500 } else { 1000 })).await
}

/// The same, each ping waiting so long for its answer.
pub(super) async fn ping_within(
    net: &Net,
    from: &str,
    to: &str,
    count: u16,
    wait: Duration,
) -> anyhow::Result<PingResult> {
    let output = net
        .command(from)?
        .args(["lab-probe", "ping", to, "--timeout-ms", &wait.as_millis().to_string(), "--count"])
        .arg(count.to_string())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("cannot run the pinger")?;
    ensure!(output.status.success(), "the pinger failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    serde_json::from_slice(&output.stdout).context("the pinger said something else than its result")
}

/// A TCP stream from VM 1 to VM 2, no faster than so many Mbit/s.
pub(super) async fn tcp(net: &Net, seconds: u16, mbit_s: Option<u32>) -> anyhow::Result<Tcp> {
    let address = format!("{VM2_ADDRESS}:{TCP_PORT}");
    let mut sink = net
        .command(VM2)?
        .args(["lab-probe", "sink", &address])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot run the TCP sink")?;
    let mut said = BufReader::new(sink.stdout.take().context("the sink has no output")?);
    let deadline = Instant::now() + Duration::from_secs(u64::from(seconds) + 20);
    let mut line = String::new();
    timeout_at(deadline, said.read_line(&mut line)).await.context("the TCP sink does not start")??;
    let source = net
        .command(VM1)?
        .args(["lab-probe", "source", &address, "--seconds"])
        .arg(seconds.to_string())
        .args(mbit_s.iter().flat_map(|rate| ["--mbit-s".to_owned(), rate.to_string()]))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let source = timeout_at(deadline, source).await.context("the TCP stream does not end")??;
    ensure!(
        source.status.success(),
        "the TCP source failed: {}",
        String::from_utf8_lossy(&source.stderr).trim()
    );
    let mut result = Vec::new();
    timeout_at(deadline, said.read_to_end(&mut result)).await.context("the TCP sink does not end")??;
    let result: TcpResult =
        serde_json::from_slice(&result).context("the sink said something else than its result")?;
    Ok(Tcp::from(result))
}

pub(super) fn is(event: &Value, name: &str) -> bool {
    event.get("event").and_then(Value::as_str) == Some(name)
}

/// Whether the event has `value` at a JSON pointer.
pub(super) fn has(event: &Value, pointer: &str, value: impl Into<Value>) -> bool {
    event.pointer(pointer) == Some(&value.into())
}

fn at(event: &Value, port: &str) -> bool {
    event.get("port").and_then(Value::as_str) == Some(port)
}

pub(super) fn text(row: Option<&Value>, field: &str) -> String {
    row.and_then(|row| row.get(field)).and_then(Value::as_str).unwrap_or("?").to_owned()
}

const TCP_PORT: u16 = 5201;
