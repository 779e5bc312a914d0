//! `evbd show`: the daemon's tables, for eyes or as JSON.

use std::{io::Write, path::Path, time::Duration};

use comfy_table::{ContentArrangement, Table as Sheet, presets};
use serde_json::{Value, json};

use super::detail::blocks;
use crate::api::{Client, SCHEMA, Table};

/// Prints `table` of the daemon on `socket`.
pub(super) async fn show(table: Table, as_json: bool, detail: bool, socket: &Path) -> anyhow::Result<()> {
    repeat(table, as_json, detail, None, socket).await
}

/// Prints it again every `every` seconds, on a cleared screen unless as JSON; once if that is none.
pub(super) async fn repeat(
    table: Table,
    as_json: bool,
    detail: bool,
    every: Option<u16>,
    socket: &Path,
) -> anyhow::Result<()> {
    let client = Client::connect(socket).await?;
    loop {
        let rows = rows(&client, table).await?;
        let text = if as_json {
            serde_json::to_string_pretty(&json!({ "schema": SCHEMA, table.name(): rows }))?
        } else if rows.is_empty() {
            format!("no {}", nothing(table))
        } else if detail {
            blocks(table, &rows).trim_end().to_owned()
        } else {
            sheet(columns(table), &rows).to_string()
        };
        let clear = if every.is_some() && !as_json { CLEAR } else { "" };
        writeln!(std::io::stdout(), "{clear}{text}")?;
        let Some(seconds) = every else { return Ok(()) };
        tokio::time::sleep(Duration::from_secs(seconds.into())).await;
    }
}

/// The rows of `table`; of rates, what a second brings.
async fn rows(client: &Client, table: Table) -> anyhow::Result<Vec<Value>> {
    let before = client.show(table).await?;
    if table != Table::Rates {
        return Ok(before);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    Ok(rates(&before, &client.show(table).await?))
}

/// What came and went between two looks, per second; of those that are in both.
fn rates(before: &[Value], after: &[Value]) -> Vec<Value> {
    let same = |a: &Value, b: &Value| ["port", "vsi"].iter().all(|field| pick(a, field) == pick(b, field));
    let rate = |new: &Value| {
        let old = before.iter().find(|old| same(old, new))?;
        let number = |row: &Value, field: &str| pick(row, field).as_f64().unwrap_or_default();
        let seconds = (number(new, "at_us") - number(old, "at_us")) / 1e6;
        let per = |field: &str, unit: f64| {
            ((number(new, field) - number(old, field)) / seconds / unit * 10.0).round() / 10.0
        };
        Some(json!({
            "port": pick(new, "port"), "vsi": pick(new, "vsi"),
            "rx_frames_s": per("rx_frames", 1.0), "rx_mbit_s": per("rx_octets", 125_000.0),
            "tx_frames_s": per("tx_frames", 1.0), "tx_mbit_s": per("tx_octets", 125_000.0),
            "drops_s": per("drops", 1.0),
        }))
    };
    after.iter().filter_map(rate).collect()
}

/// Cursor home, and everything below it erased.
const CLEAR: &str = "\x1b[H\x1b[J";

/// Head and dotted field of each column.
type Columns = &'static [(&'static str, &'static str)];

const fn columns(table: Table) -> Columns {
    match table {
        Table::Neighbors => &[
            ("PORT", "port"),
            ("SCOPE", "scope"),
            ("CHASSIS", "chassis"),
            ("PORT ID", "port_id"),
            ("SYSTEM", "system_name"),
            ("CAPABILITIES", "capabilities"),
            ("EVB", "evb"),
            ("TTL", "ttl_s"),
            ("EXPIRES", "expires_in_s"),
        ],
        Table::Evb => &[
            ("PORT", "port"),
            ("ROLE", "role"),
            ("PEER", "peer"),
            ("REFLECTIVE RELAY", "reflective_relay.state"),
            ("MODE", "mode"),
            ("RELAY", "relay"),
            ("PROBE", "probe.state"),
            ("R", "retries.value"),
            ("RTE", "rte.value"),
            ("RWD", "rwd.value"),
            ("RKA", "rka.value"),
            ("BECAUSE", "because"),
        ],
        Table::Vsi => &[
            ("PORT", "port"),
            ("VSI", "id"),
            ("NAME", "name"),
            ("PROFILE", "profile"),
            ("STATE", "state"),
            ("CONFIRMED", "confirmed"),
            ("GATE", "gate"),
            ("FILTER", "filter"),
            ("LAST ERROR", "last_error"),
        ],
        Table::Ports => &[
            ("PORT", "port"),
            ("KIND", "kind"),
            ("EXTENDER", "extended.words"),
            ("LINK", "link"),
            ("CARRIER", "carrier"),
            ("BECAUSE", "carrier_because"),
            ("FAST", "fast_path"),
            ("WHY NOT", "fast_path_because"),
            ("CUT", "cut_because"),
            ("RX", "rx_frames"),
            ("TX", "tx_frames"),
            ("REFLECTED", "reflected"),
            ("PUNTED", "punted"),
            ("DROPS", "drops"),
            ("TX DROPS", "tx_drops"),
            ("HEARING", "hearing"),
            ("LEAK", "leak"),
            ("FAULT", "fault"),
        ],
        Table::Dcbx => &[
            ("PORT", "port"),
            ("DIALECT", "dialect"),
            ("PEER", "peer"),
            ("FEATURE", "feature"),
            ("MODE", "mode"),
            ("LOCAL", "words.local"),
            ("REMOTE", "words.remote"),
            ("CHOSEN", "words.chosen"),
            ("AGREED", "agreed"),
            ("BECAUSE", "because"),
            ("DEVICE", "device.state"),
        ],
        Table::Libvirt => &[
            ("VSI", "id"),
            ("MAC", "mac"),
            ("ASKED", "command"),
            ("OUTCOME", "outcome"),
            ("CODE", "code"),
            ("EVENT PORT", "event_port"),
        ],
        Table::Captures => &[
            ("CAPTURE", "capture"),
            ("FILE", "file"),
            ("FRAMES", "frames"),
            ("OCTETS", "octets"),
            ("BEHIND", "behind"),
            ("FAILED", "failed"),
            ("ERROR", "error"),
        ],
        Table::Guests => &[
            ("INTERFACE", "interface"),
            ("DOMAIN", "domain"),
            ("MAC", "mac"),
            ("VSI", "vsi"),
            ("ORDERED", "ordered"),
            ("LINUX BRIDGE", "bridge"),
            ("BECAUSE", "because"),
            ("LIBVIRT", "libvirt"),
        ],
        Table::Flows => &[
            ("PORT", "port"),
            ("SOURCE", "source"),
            ("DESTINATION", "destination"),
            ("VLAN", "vlan"),
            ("TO", "to"),
            ("STATE", "state"),
            ("FRAMES", "frames"),
            ("OCTETS", "octets"),
        ],
        Table::Fdb => {
            &[("MAC", "mac"), ("VLAN", "vlan"), ("PORT", "port"), ("ORIGIN", "origin"), ("AGE", "age_s")]
        }
        Table::Profiles => &[
            ("PROFILE", "name"),
            ("MANAGER", "manager"),
            ("TYPE", "type"),
            ("VERSION", "version"),
            ("VLANS", "vlans"),
            ("GROUPS", "groups"),
            ("SOURCE", "source"),
            ("FROM", "from"),
            ("USERS", "users"),
        ],
        Table::Channels => &[
            ("PORT", "port"),
            ("ROLE", "role"),
            ("CHANNEL", "scid"),
            ("NAME", "name"),
            ("SVID", "svid"),
            ("ACTIVE", "active"),
            ("END", "end"),
            ("CDCP", "words"),
            ("BECAUSE", "because"),
        ],
        Table::Extension => &[
            ("PORT", "port"),
            ("ROLE", "role"),
            ("PEER", "peer"),
            ("NAME", "name"),
            ("STATE", "state"),
            ("PORTS", "ports"),
            ("CHANNELS", "channels"),
            ("TIER", "tier"),
            ("CHOSEN", "chosen"),
            ("MTU", "mtu"),
            ("NEEDS", "mtu_needed"),
            ("BECAUSE", "words"),
        ],
        Table::Drops => &[
            ("AGO MS", "ago_ms"),
            ("PORT", "port"),
            ("REASON", "reason"),
            ("SOURCE", "source"),
            ("DESTINATION", "destination"),
            ("VLAN", "vlan"),
            ("ETHERTYPE", "ethertype"),
            ("VSI", "vsi"),
        ],
        Table::Rates => &[
            ("PORT", "port"),
            ("VSI", "vsi"),
            ("RX FRAMES/S", "rx_frames_s"),
            ("RX MBIT/S", "rx_mbit_s"),
            ("TX FRAMES/S", "tx_frames_s"),
            ("TX MBIT/S", "tx_mbit_s"),
            ("DROPS/S", "drops_s"),
        ],
        Table::Managers => &[
            ("MANAGER", "manager"),
            ("STATE", "state"),
            ("PROFILES", "profiles"),
            ("EVERY S", "poll_s"),
            ("URL", "url"),
            ("BECAUSE", "because"),
        ],
    }
}

const fn nothing(table: Table) -> &'static str {
    match table {
        Table::Neighbors => "neighbours",
        Table::Evb => "ports that negotiate EVB",
        Table::Vsi => "VSIs",
        Table::Ports => "ports",
        Table::Dcbx => "ports with DCBX",
        Table::Fdb => "addresses",
        Table::Profiles => "profiles",
        Table::Managers => "VSI managers",
        Table::Drops => "drops",
        Table::Rates => "ports",
        Table::Channels => "ports with S-channels",
        Table::Extension => "ports with port extension",
        Table::Captures => "captures",
        Table::Libvirt => "guests of libvirt",
        Table::Guests => "interfaces of VMs",
        Table::Flows => "flows that the kernel forwards",
    }
}

fn sheet(columns: Columns, rows: &[Value]) -> Sheet {
    let mut sheet = Sheet::new();
    sheet.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    sheet.set_header(columns.iter().map(|(head, _)| *head));
    for row in rows {
        sheet.add_row(columns.iter().map(|(_, field)| cell(pick(row, field))));
    }
    sheet
}

/// The value at a dotted path.
pub(super) fn pick<'a>(row: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(row, |value, field| value.get(field).unwrap_or(&Value::Null))
}

/// A value in few words: maps show only what is not zero.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => {
            let told: Vec<_> = fields
                .iter()
                .filter(|(_, v)| !matches!(v, Value::Number(n) if n.as_u64() == Some(0)) && !v.is_null())
                .map(|(name, v)| format!("{name} {}", cell(v)))
                .collect();
            if told.is_empty() { "-".to_owned() } else { told.join(", ") }
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_in_few_words() {
        assert_eq!(cell(&json!({"gate_shut": 0, "echo": 3})), "echo 3");
        assert_eq!(cell(&json!({"gate_shut": 0})), "-");
        assert_eq!(cell(&json!(["a", 2])), "a, 2");
        assert_eq!(cell(pick(&json!({"rte": {"value": 14}}), "rte.value")), "14");
        assert_eq!(cell(pick(&json!({}), "rte.value")), "-");
    }

    #[test]
    fn a_sheet_has_a_line_for_each_row() {
        let rows = [
            json!({"mac": "02:00:00:00:00:01", "vlan": 100, "port": "sta0", "origin": "static", "age_s": 0}),
        ];
        let text = sheet(columns(Table::Fdb), &rows).to_string();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains("sta0") && text.contains("static"));
    }
}
