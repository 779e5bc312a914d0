//! Progress while the lab runs and the report at its end.

use std::{cell::Cell, collections::BTreeMap, fmt, time::Instant};

use anyhow::Context;
use serde::Serialize;
use serde_json::Value;

use super::{
    Fallback, Scenario,
    net::{BRIDGE, DOWNLINK, Net},
    probe::{PingResult, TcpResult},
};
use crate::{
    api::{Client, SCHEMA, Table},
    cli::show::cell,
};

/// What a scenario must show.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Expectation {
    /// VM 1 reaches VM 2.
    pub(super) vms_meet: bool,
    /// Their frames go by way of the bridge.
    pub(super) reflected: bool,
}

impl Expectation {
    pub(super) const fn of(scenario: Scenario, fallback: Fallback) -> Self {
        match (scenario, fallback) {
            (
                Scenario::Reflect | Scenario::Dcbx | Scenario::Channels | Scenario::Extend | Scenario::Fex,
                _,
            ) => Self { vms_meet: true, reflected: true },
            (Scenario::Migrate, _) | (Scenario::Refuse, Fallback::Veb) => {
                Self { vms_meet: true, reflected: false }
            }
            (Scenario::Refuse, Fallback::Isolate) => Self { vms_meet: false, reflected: false },
        }
    }

    /// The name of the step that looks at the wire.
    pub(super) const fn wire_words(self) -> &'static str {
        match (self.vms_meet, self.reflected) {
            (_, true) => "traffic crossed the wire and was reflected",
            (true, false) => "traffic stayed in the station",
            (false, false) => "nothing was reflected",
        }
    }
}

/// Everything the lab found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    schema: u32,
    scenario: Scenario,
    pub(super) expected: Expectation,
    pub(super) ok: bool,
    steps: Vec<Step>,
    pub(super) evb: Option<Value>,
    pub(super) vsis: Vec<Value>,
    pub(super) ping: Option<PingResult>,
    pub(super) tcp: Option<Tcp>,
    pub(super) wire: Option<Wire>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) migrations: Vec<Migration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) classes: Option<Classes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) extension: Option<Extension>,
    /// Frames on cascades by what their tags say.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) frames: BTreeMap<String, u64>,
}

/// Port extenders and their bridge.
#[derive(Debug, Serialize)]
pub(super) struct Extension {
    /// From the start of the first port extender until all ports were up.
    pub(super) ports_ms: u64,
    /// As `evbd show extension` of the bridge has it.
    pub(super) sessions: Vec<Value>,
    pub(super) cables: Vec<Cable>,
}

/// A cable of a port extender that was pulled and put back.
#[derive(Debug, Serialize)]
pub(super) struct Cable {
    pub(super) cable: &'static str,
    /// Ports of the bridge behind it.
    pub(super) ports: usize,
    /// From the pull until the bridge had none of them.
    pub(super) gone_ms: u64,
    /// From putting it back until all were up, and until a VM behind it was reached.
    pub(super) up_ms: u64,
    pub(super) traffic_ms: u64,
}

/// A VM's move to another station, under traffic.
#[derive(Debug, Serialize)]
pub(super) struct Migration {
    pub(super) from: &'static str,
    pub(super) to: &'static str,
    /// Whether the source de-associated after the target had associated.
    pub(super) late_deassociate: bool,
    /// The VM's interface was on neither station.
    pub(super) away_ms: u64,
    /// From the order to the bridge's answer.
    pub(super) associate_ms: u64,
    /// From the last ping that was answered before the move to the first one after it.
    pub(super) blackout_ms: u64,
    /// Pings sent, one each millisecond, and those not answered, within the blackout or not.
    pub(super) pings: u32,
    pub(super) lost: u32,
    pub(super) lost_otherwise: u32,
    /// Pings lost in a row, and when, in ms after the interface left.
    pub(super) gaps: Vec<(u32, i64)>,
    pub(super) tcp: Tcp,
}

/// Two VMs in two traffic classes on an uplink that is too slow for both.
#[derive(Debug, Serialize)]
pub(super) struct Classes {
    pub(super) uplink_mbit_s: u32,
    /// The share of VM 2's class as agreed, and as measured at the VMs.
    pub(super) agreed_percent: u8,
    pub(super) percent: f64,
    /// Of datagrams that arrived from VM 1 and from VM 2 in the same time.
    pub(super) octets: [u64; 2],
    /// Datagrams of the lossless priority while the other class had more than its share, and those of that lost meanwhile.
    pub(super) lossless_sent: u64,
    pub(super) lossless_arrived: u64,
    pub(super) dropped_beside: u64,
    /// As `evbd show dcbx` of the station has it.
    pub(super) dcbx: Vec<Value>,
}

/// One step and whether it held.
#[derive(Debug, Serialize)]
struct Step {
    name: String,
    ok: bool,
    ms: u64,
    detail: String,
}

/// Frames at the bridge's station-facing port.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Wire {
    /// Sent back by the port they came in on, as the relay counts.
    pub(super) reflected: u64,
    /// Received, as the relay counts.
    pub(super) evbd_rx: u64,
    /// Received, as the kernel counts: an independent witness.
    pub(super) kernel_rx: u64,
}

impl Wire {
    pub(super) async fn read(net: &Net, bridge: &Client) -> anyhow::Result<Self> {
        let ports = bridge.show(Table::Ports).await?;
        let row = ports.iter().find(|row| row.get("port").and_then(Value::as_str) == Some(DOWNLINK));
        let counter = |name: &str| {
            row.and_then(|row| row.get(name))
                .and_then(Value::as_u64)
                .with_context(|| format!("the bridge shows no counter {name} for {DOWNLINK}"))
        };
        Ok(Self {
            reflected: counter("reflected")?,
            evbd_rx: counter("rx_frames")?,
            kernel_rx: net.kernel_rx_packets(BRIDGE, DOWNLINK)?,
        })
    }

    pub(super) const fn since(self, before: Self) -> Self {
        Self {
            reflected: self.reflected.saturating_sub(before.reflected),
            evbd_rx: self.evbd_rx.saturating_sub(before.evbd_rx),
            kernel_rx: self.kernel_rx.saturating_sub(before.kernel_rx),
        }
    }
}

/// A TCP measurement.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Tcp {
    pub(super) octets: u64,
    pub(super) gbit_s: f64,
    pub(super) intact: bool,
}

impl From<TcpResult> for Tcp {
    fn from(result: TcpResult) -> Self {
        // 2^53 octets are more than any lab moves.
        #[allow(clippy::cast_precision_loss)]
        let bits = result.octets as f64 * 8.0;
        let gbit_s = if result.seconds > 0.0 { bits / result.seconds / 1e9 } else { 0.0 };
        Self { octets: result.octets, gbit_s, intact: result.intact }
    }
}

impl Report {
    pub(super) const fn new(scenario: Scenario, expected: Expectation) -> Self {
        Self {
            schema: SCHEMA,
            scenario,
            expected,
            ok: false,
            steps: Vec::new(),
            evb: None,
            vsis: Vec::new(),
            ping: None,
            tcp: None,
            wire: None,
            migrations: Vec::new(),
            classes: None,
            extension: None,
            frames: BTreeMap::new(),
        }
    }

    /// The lab is done: it succeeded if every step held.
    pub(super) fn finish(&mut self) {
        self.ok = self.steps.iter().all(|step| step.ok);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = |row: &Value, name: &str| cell(row.get(name).unwrap_or(&Value::Null));
        if let Some(evb) = &self.evb {
            let reflective = |name| evb.get("reflective_relay").map_or_else(String::new, |v| field(v, name));
            let exponent = |name: &str| evb.get(name).map_or_else(|| "-".to_owned(), |v| field(v, "value"));
            writeln!(
                f,
                "EVB      reflective relay {} ({}), station relay {} ({}); R {} RTE {} RWD {} RKA {}",
                reflective("state"),
                reflective("words"),
                field(evb, "relay"),
                field(evb, "because"),
                exponent("retries"),
                exponent("rte"),
                exponent("rwd"),
                exponent("rka"),
            )?;
            let probe = |name| evb.get("probe").map_or_else(String::new, |v| field(v, name));
            writeln!(
                f,
                "probe    {}: {} sent, {} came back, {} lost; latest round trip {} µs",
                probe("state"),
                probe("sent"),
                probe("returned"),
                probe("lost"),
                probe("round_trip_us"),
            )?;
        }
        for vsi in &self.vsis {
            writeln!(
                f,
                "VSI      {}  profile {}  {}  gate {}  {}",
                field(vsi, "id"),
                field(vsi, "profile"),
                field(vsi, "confirmed"),
                field(vsi, "gate"),
                field(vsi, "filter"),
            )?;
        }
        if let Some(p) = &self.ping {
            writeln!(
                f,
                "ping     {} of {} answered; round trip min {} median {} max {} µs",
                p.answered, p.sent, p.rtt_min_us, p.rtt_median_us, p.rtt_max_us
            )?;
        }
        if let Some(tcp) = &self.tcp {
            let state = if tcp.intact { "intact" } else { "DAMAGED" };
            writeln!(f, "TCP      {:.2} Gbit/s, {} octets, {state}", tcp.gbit_s, tcp.octets)?;
        }
        if let Some(wire) = &self.wire {
            writeln!(
                f,
                "wire     during the pings the bridge port received {} frames ({} by the kernel's count) and reflected {}",
                wire.evbd_rx, wire.kernel_rx, wire.reflected
            )?;
        }
        for m in &self.migrations {
            let order = if m.late_deassociate { "after" } else { "before" };
            writeln!(
                f,
                "moved    {} → {}, De-Associate {order} the Associate: blackout {} ms (interface away {} ms, Associate {} ms), \
                 {} of {} pings lost, TCP {}",
                m.from,
                m.to,
                m.blackout_ms,
                m.away_ms,
                m.associate_ms,
                m.lost,
                m.pings,
                if m.tcp.intact { "intact" } else { "DAMAGED" },
            )?;
        }
        if let Some(c) = &self.classes {
            writeln!(
                f,
                "classes  {:.1} % of {} Mbit/s for VM 2, agreed {} %; lossless: {} of {} arrived, {} dropped beside",
                c.percent,
                c.uplink_mbit_s,
                c.agreed_percent,
                c.lossless_arrived,
                c.lossless_sent,
                c.dropped_beside,
            )?;
        }
        for c in self.extension.iter().flat_map(|extension| &extension.cables) {
            writeln!(
                f,
                "cable    {}: pulled, {} ports gone after {} ms; put back, up after {} ms, traffic after {} ms",
                c.cable, c.ports, c.gone_ms, c.up_ms, c.traffic_ms,
            )?;
        }
        let failed: Vec<_> =
            self.steps.iter().filter(|step| !step.ok).map(|step| step.name.as_str()).collect();
        if failed.is_empty() {
            write!(f, "result   all {} steps held", self.steps.len())
        } else {
            write!(f, "result   FAILED: {}", failed.join("; "))
        }
    }
}

/// Where progress goes.
pub(super) struct Progress {
    to_stderr: bool,
    /// The step under way.
    current: Cell<Option<(&'static str, Instant)>>,
}

/// A step under way.
pub(super) struct Running<'a> {
    progress: &'a Progress,
    name: &'static str,
    since: Instant,
}

impl Progress {
    pub(super) const fn new(to_stderr: bool) -> Self {
        Self { to_stderr, current: Cell::new(None) }
    }

    pub(super) fn note(&self, text: &str) {
        self.line(&format!("  · {text}"));
    }

    pub(super) fn step(&self, name: &'static str) -> Running<'_> {
        let since = Instant::now();
        self.current.set(Some((name, since)));
        Running { progress: self, name, since }
    }

    /// The step under way could not be brought to its end.
    pub(super) fn broke(&self, report: &mut Report, error: &anyhow::Error) {
        let (name, since) = self.current.get().unwrap_or(("preparation", Instant::now()));
        Running { progress: self, name, since }.held(report, false, format!("{error:#}"));
    }

    fn line(&self, text: &str) {
        if self.to_stderr {
            eprintln!("{text}");
        } else {
            println!("{text}");
        }
    }
}

impl Running<'_> {
    pub(super) fn done(self, report: &mut Report, detail: String) {
        self.held(report, true, detail);
    }

    pub(super) fn held(self, report: &mut Report, ok: bool, detail: String) {
        let ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mark = if ok { '✓' } else { '✗' };
        self.progress.line(&format!("  {mark} {:<44} {ms:>6} ms  {detail}", self.name));
        report.steps.push(Step { name: self.name.to_owned(), ok, ms, detail });
    }
}
