//! Scenario `dcbx`: the bridge decides on ETS and PFC, the station is willing, and its uplink has a rate. VM 1 (priority 0)
//! and VM 2 (priority 3, lossless) send to each other, reflected by the bridge, more than the uplink can send.

use std::{fmt::Write, process::Stdio};

use anyhow::{Context, ensure};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    time::{Duration, Instant, timeout},
};

use super::{
    Lab,
    daemon::{self, Daemon, PROFILE, VLAN},
    net::{BRIDGE, DOWNLINK, Net, STATION, UPLINK, VM_INTERFACE, VM1, VM2, VMS, Vm},
    probe::{CountResult, FloodResult},
    report::{Classes, Progress, Report},
    scenario::{has, is},
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
    net.build(
        &[BRIDGE, STATION, VM1, VM2],
        &[
            [(STATION, UPLINK), (BRIDGE, DOWNLINK)],
            [(STATION, VM1), (VM1, VM_INTERFACE)],
            [(STATION, VM2), (VM2, VM_INTERFACE)],
        ],
        &VMS,
    )?;
    let [vm1, vm2] = &VMS;
    net.know_neighbor(vm1, vm2)?;
    net.know_neighbor(vm2, vm1)?;
    step.done(report, format!("{} VMs, an uplink of {RATE_MBIT_S} Mbit/s", VMS.len()));

    let step = progress.step("daemons running");
    let mut bridge = Daemon::start(net, BRIDGE, &bridge_config(net)).await?;
    let mut station = Daemon::start(net, STATION, &station_config(net)).await?;
    step.done(report, "the bridge decides, the station is willing".to_owned());

    let deadline = Instant::now() + PATIENCE;
    let step = progress.step("DCBX agreed and done by both relays");
    let by_core = |e: &Value| is(e, "dcb_applied") && has(e, "/state", "core");
    bridge.wait("DCBX done", 1, deadline, by_core).await?;
    let told = |e: &Value| by_core(e) && e.pointer("/changes/1").is_some();
    let seen = station.wait("DCBX done", 1, deadline, told).await?;
    let changes = seen.first().and_then(|e| e.get("changes")).and_then(Value::as_array);
    let said: Vec<_> = changes.into_iter().flatten().filter_map(Value::as_str).collect();
    step.done(report, said.join("; "));

    let step = progress.step("VSIs associated, the station is a VEPA");
    let associated = |e: &Value| is(e, "station_vsi") && has(e, "/what", "associated");
    station.wait("VSI associated", VMS.len(), deadline, associated).await?;
    let vepa = |e: &Value| is(e, "relay") && has(e, "/mode", "vepa");
    station.wait("VEPA", 1, deadline, vepa).await?;
    step.done(report, format!("VM 1 has priority 0, VM 2 priority {LOSSLESS}"));

    let step = progress.step("both classes get their shares");
    let length = lab.seconds.clamp(1, 60);
    let (first, second) = tokio::try_join!(
        stream(net, vm1, (vm2, PORTS[0]), TOO_MUCH_MBIT_S, length + 1, Some(length)),
        stream(net, vm2, (vm1, PORTS[0]), TOO_MUCH_MBIT_S, length + 1, Some(length)),
    )?;
    let percent = percent(second.1.octets, first.1.octets + second.1.octets);
    let fair = f64::from(SHARE) - TOLERANCE..=f64::from(SHARE) + TOLERANCE;
    let detail = format!("VM 2 has {percent:.1} % of what the saturated uplink sends, agreed are {SHARE} %");
    step.held(report, fair.contains(&percent), detail);

    let step = progress.step("nothing of the lossless priority is lost");
    let (flood, kept) = tokio::try_join!(
        stream(net, vm1, (vm2, PORTS[1]), TOO_MUCH_MBIT_S, length, None),
        stream(net, vm2, (vm1, PORTS[1]), LOSSLESS_MBIT_S, length, None),
    )?;
    let (sent, arrived) = (kept.0.datagrams, kept.1.datagrams);
    let beside = flood.0.datagrams.saturating_sub(flood.1.datagrams);
    let detail = format!(
        "{arrived} of {sent} datagrams at {LOSSLESS_MBIT_S} Mbit/s arrived, past a profile's limit of {LIMIT_MBIT_S} Mbit/s; \
         {beside} of the other class were dropped"
    );
    step.held(report, sent > 0 && arrived == sent && beside > 0, detail);

    report.evb = station.client.show(Table::Evb).await?.into_iter().next();
    report.vsis = bridge.client.show(Table::Vsi).await?;
    report.classes = Some(Classes {
        uplink_mbit_s: RATE_MBIT_S,
        agreed_percent: SHARE,
        percent,
        octets: [first.1.octets, second.1.octets],
        lossless_sent: sent,
        lossless_arrived: arrived,
        dropped_beside: beside,
        dcbx: station.client.show(Table::Dcbx).await?,
    });
    Ok(())
}

/// Datagrams from one VM to the other: what was sent in `seconds`, and what of it arrived, or arrived within `window`
/// seconds.
async fn stream(
    net: &Net,
    from: &Vm,
    (to, port): (&Vm, u16),
    mbit_s: u32,
    seconds: u16,
    window: Option<u16>,
) -> anyhow::Result<(FloodResult, CountResult)> {
    let target = format!("{}:{port}", to.address);
    let window = window.map_or_else(Vec::new, |seconds| vec!["--seconds".to_owned(), seconds.to_string()]);
    let mut counter = net
        .command(to.name)?
        .args(["lab-probe", "count", &target])
        .args(window)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot run the counter")?;
    let mut said = BufReader::new(counter.stdout.take().context("the counter has no output")?);
    let patience = Duration::from_secs(u64::from(seconds) + 20);
    timeout(patience, said.read_line(&mut String::new())).await.context("the counter does not start")??;
    let flood = net
        .command(from.name)?
        .args(["lab-probe", "flood", &target, "--seconds", &seconds.to_string()])
        .args(["--mbit-s", &mbit_s.to_string()])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let flood = timeout(patience, flood).await.context("the flood does not end")??;
    ensure!(flood.status.success(), "the flood failed: {}", String::from_utf8_lossy(&flood.stderr).trim());
    let mut counted = Vec::new();
    timeout(patience, said.read_to_end(&mut counted)).await.context("the counter does not end")??;
    Ok((result(&flood.stdout)?, result(&counted)?))
}

fn result<T: DeserializeOwned>(line: &[u8]) -> anyhow::Result<T> {
    serde_json::from_slice(line).context("a traffic end said something else than its result")
}

fn percent(part: u64, whole: u64) -> f64 {
    // 2^53 octets are more than any lab moves.
    #[allow(clippy::cast_precision_loss)]
    let (part, whole) = (part as f64, whole.max(1) as f64);
    part * 100.0 / whole
}

fn bridge_config(net: &Net) -> String {
    format!(
        "{}\n[[port]]\ninterface = \"{DOWNLINK}\"\nkind = \"station\"\n\n\
         [dcbx.ets]\nmode = \"authoritative\"\nclasses = [0, 0, 0, 1, 0, 0, 0, 0]\nbandwidth = [{}, {SHARE}]\n\
         [dcbx.pfc]\nmode = \"authoritative\"\npriorities = [{LOSSLESS}]\n\n\
         [[profile]]\nname = \"{PROFILE}\"\ntype = 1\nversion = 1\nvlans = [{VLAN}]\n\n\
         [[profile]]\nname = \"storage\"\ntype = 2\nversion = 1\nvlans = [{VLAN}]\n\
         policy.ingress_rate = {{ bits_per_second = {LIMIT_MBIT_S}_000_000, burst_octets = 10_000 }}\n",
        daemon::head(net, "bridge", BRIDGE),
        100 - SHARE,
    )
}

fn station_config(net: &Net) -> String {
    let mut text = format!(
        "{}\n[[port]]\ninterface = \"{UPLINK}\"\nkind = \"uplink\"\nrate = {RATE_MBIT_S}_000_000\n\n\
         [dcbx]\nets = {{ mode = \"willing\" }}\npfc = {{ mode = \"willing\" }}\n",
        daemon::head(net, "station", STATION),
    );
    for (vm, keys) in VMS.iter().zip(["type = 1", "type = 2\npcp = 3"]) {
        let Vm { name, uuid, mac, .. } = vm;
        let _ = write!(
            text,
            "\n[[vsi]]\nname = \"{name}\"\ninterface = \"{name}\"\nid = \"{uuid}\"\nversion = 1\nmac = \"{mac}\"\n{keys}\n",
        );
    }
    text
}

/// Of the first and of the second measurement: what the first leaves in queues is none of the second.
const PORTS: [u16; 2] = [5201, 5202];
const PATIENCE: Duration = Duration::from_secs(30);
/// What the uplink can send, what each VM sends to saturate it, and what a link with these shares has room for.
const RATE_MBIT_S: u32 = 40;
const TOO_MUCH_MBIT_S: u32 = 60;
const LOSSLESS_MBIT_S: u32 = 20;
/// What the profile of VM 2 allows without PFC.
const LIMIT_MBIT_S: u32 = 2;
/// Of VM 2's class, in per cent, and how far from it is fair.
const SHARE: u8 = 70;
const TOLERANCE: f64 = 5.0;
/// VM 2's priority.
const LOSSLESS: u8 = 3;
