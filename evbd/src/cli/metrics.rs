//! `evbd metrics`: what a running daemon counts, as OpenMetrics text.

use std::{fmt, io::Write, path::PathBuf};

use clap::Args;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet, text},
    metrics::MetricType,
    registry::Registry,
};
use serde_json::Value;

use super::show::cell;
use crate::api::{Client, DEFAULT_SOCKET, Table};

/// Print what the daemon counts as OpenMetrics text, for Prometheus.
///
/// To be written to a file that node_exporter's textfile collector reads, by a timer.
#[derive(Args)]
pub(super) struct Metrics {
    /// Control socket of the daemon.
    #[arg(long, value_name = "PATH", env = "EVBD_SOCKET", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
}

impl Metrics {
    /// Asks for the tables and prints their numbers.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = Client::connect(&self.socket).await?;
        let mut families = Families::default();
        for row in client.show(Table::Ports).await? {
            families.port(&row);
        }
        for row in client.show(Table::Evb).await? {
            families.evb(&row);
        }
        for row in client.show(Table::Channels).await? {
            families.add(CHANNEL_ACTIVE, &row, &["port", "end", "name", "svid"], row.get("active"));
        }
        for row in client.show(Table::Extension).await? {
            families.items(&row, "extension", "", &row);
        }
        for row in client.show(Table::Vsi).await? {
            let open = Value::from(row.get("gate").and_then(Value::as_str) == Some("open"));
            families.add(VSI_GATE, &row, &["port", "id", "name", "profile", "state"], Some(&open));
        }
        for row in client.show(Table::Dcbx).await? {
            families.dcbx(&row);
        }
        writeln!(std::io::stdout(), "{}", families.text()?.trim_end())?;
        Ok(())
    }
}

/// A name, what it tells, and what kind of number it is.
type Name = (&'static str, &'static str, MetricType);
type Labels = Vec<(String, String)>;

/// All samples, those of one name together, in the order names first come.
#[derive(Debug, Default)]
struct Families(Vec<(Name, Vec<(Labels, u64)>)>);

impl Families {
    fn port(&mut self, row: &Value) {
        let up = Value::from(row.get("link").and_then(Value::as_str) == Some("up"));
        self.add(PORT_UP, row, &["port", "kind"], Some(&up));
        for (field, name) in PORT_COUNTERS {
            self.add(name, row, &["port"], row.get(field));
        }
        for (reason, frames) in row.get("drops").and_then(Value::as_object).into_iter().flatten() {
            let more = [("reason".to_owned(), reason.clone())];
            self.sample(PORT_DROPS, row, &["port"], more, frames);
        }
        if let Some(far) = row.get("extended").and_then(|extended| extended.get("counters")) {
            self.items(row, "port_extender", "", far);
        }
        for agent in row.get("lldp").and_then(Value::as_array).into_iter().flatten() {
            let scope = agent.get("scope").map(cell).unwrap_or_default();
            self.items(row, "lldp", &format!("{scope}."), agent);
        }
    }

    fn evb(&mut self, row: &Value) {
        let agreed = Value::from(row.get("peer").and_then(Value::as_str) == Some("present"));
        self.add(EVB_AGREED, row, &["port", "role"], Some(&agreed));
        for protocol in ["ecp", "vdp"] {
            if let Some(of) = row.get(protocol) {
                self.items(row, protocol, "", of);
            }
        }
    }

    fn dcbx(&mut self, row: &Value) {
        let feature = row.get("feature").map(cell).unwrap_or_default();
        if let Some(counters) = row.get("counters") {
            self.items(row, "dcbx", &format!("{feature}."), counters);
        }
        for class in row.get("classes").and_then(Value::as_array).into_iter().flatten() {
            let number = class.get("class").map(cell).unwrap_or_default();
            self.items(row, "dcbx", &format!("{feature}.class{number}."), class);
        }
    }

    /// Every number in `of`, by its path below `path`.
    fn items(&mut self, row: &Value, protocol: &str, path: &str, of: &Value) {
        for (field, value) in of.as_object().into_iter().flatten() {
            if value.is_object() {
                self.items(row, protocol, &format!("{path}{field}."), value);
            } else {
                let more = [("protocol", protocol.to_owned()), ("item", format!("{path}{field}"))];
                let more = more.map(|(name, value)| (name.to_owned(), value));
                self.sample(PROTOCOL, row, &["port"], more, value);
            }
        }
    }

    fn add(&mut self, name: Name, row: &Value, labels: &[&str], value: Option<&Value>) {
        if let Some(value) = value {
            self.sample(name, row, labels, [], value);
        }
    }

    /// A sample labelled with these fields of `row` and with `more`; none if `value` is neither a number nor yes or no.
    fn sample(
        &mut self,
        name: Name,
        row: &Value,
        labels: &[&str],
        more: impl IntoIterator<Item = (String, String)>,
        value: &Value,
    ) {
        let Some(value) = value.as_u64().or_else(|| value.as_bool().map(u64::from)) else { return };
        let field =
            |label: &&str| Some(((*label).to_owned(), row.get(*label).filter(|v| !v.is_null()).map(cell)?));
        let labels = labels.iter().filter_map(field).chain(more).collect();
        match self.0.iter_mut().find(|((known, ..), _)| *known == name.0) {
            Some((_, samples)) => samples.push((labels, value)),
            None => self.0.push((name, vec![(labels, value)])),
        }
    }

    fn text(self) -> Result<String, fmt::Error> {
        let mut registry = Registry::with_prefix("evbd");
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        text::encode(&mut text, &registry)?;
        Ok(text)
    }
}

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for (&(name, help, kind), samples) in self.0.iter().map(|(name, samples)| (name, samples)) {
            let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
            for (labels, value) in samples {
                let mut one = metric.encode_family(labels)?;
                match kind {
                    MetricType::Counter => one.encode_counter::<NoLabelSet, _, u64>(value, None)?,
                    _ => one.encode_gauge(&i64::try_from(*value).unwrap_or(i64::MAX))?,
                }
            }
        }
        Ok(())
    }
}

const PORT_UP: Name = ("port_up", "Whether the link is up", MetricType::Gauge);
const PORT_DROPS: Name =
    ("port_drops", "Frames that came in and were dropped, by reason", MetricType::Counter);
const PORT_COUNTERS: [(&str, Name); 8] = [
    ("rx_frames", ("port_rx_frames", "Frames that came in", MetricType::Counter)),
    ("rx_bytes", ("port_rx_octets", "Octets that came in, outermost tag not included", MetricType::Counter)),
    (
        "forwarded",
        ("port_forwarded", "Frames that came in and left as at least one copy", MetricType::Counter),
    ),
    ("punted", ("port_punted", "Frames that came in and were for the daemon", MetricType::Counter)),
    ("reflected", ("port_reflected", "Copies that left by the port they came in on", MetricType::Counter)),
    ("tx_frames", ("port_tx_frames", "Copies sent", MetricType::Counter)),
    ("tx_bytes", ("port_tx_octets", "Octets sent, outermost tag not included", MetricType::Counter)),
    ("tx_drops", ("port_tx_drops", "Copies that could not be sent", MetricType::Counter)),
];
const EVB_AGREED: Name = ("evb_agreed", "Whether EVB is agreed with the other end", MetricType::Gauge);
const CHANNEL_ACTIVE: Name = ("channel_active", "Whether the S-channel is there", MetricType::Gauge);
const VSI_GATE: Name = ("vsi_gate_open", "Whether the frames of the VSI pass", MetricType::Gauge);
const PROTOCOL: Name = (
    "protocol",
    "Numbers of LLDP, ECP, VDP and DCBX on a port, by the names `evbd show` has",
    MetricType::Unknown,
);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_prometheus_reads() {
        let mut families = Families::default();
        families.port(&json!({
            "port": "up\"1", "kind": "uplink", "link": "up", "rx_frames": 7, "drops": { "echo": 2, "vlan": 0 },
            "lldp": [{ "scope": "nearest_customer_bridge", "frames_out": 3 }],
        }));
        families.evb(&json!({ "port": "up", "role": "station", "peer": "absent", "ecp": { "tx": { "lost": 1 }, "state": "idle" } }));
        let text = families.text().unwrap();
        for line in [
            "# TYPE evbd_port_up gauge",
            "evbd_port_up{port=\"up\\\"1\",kind=\"uplink\"} 1",
            "# TYPE evbd_port_rx_frames counter",
            "evbd_port_rx_frames_total{port=\"up\\\"1\"} 7",
            "evbd_port_drops_total{port=\"up\\\"1\",reason=\"echo\"} 2",
            "evbd_protocol{port=\"up\\\"1\",protocol=\"lldp\",item=\"nearest_customer_bridge.frames_out\"} 3",
            "evbd_evb_agreed{port=\"up\",role=\"station\"} 0",
            "evbd_protocol{port=\"up\",protocol=\"ecp\",item=\"tx.lost\"} 1",
            "# EOF",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
        }
        assert!(!text.contains("idle"), "words are no numbers");
    }
}
