//! `evbd why`: why the frames of a VM pass or do not.

use std::{fmt::Write as _, io::Write, path::PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::show::{cell, pick};
use crate::api::{Client, DEFAULT_SOCKET, SCHEMA};

/// Say why the frames of a VM pass or do not: one sentence, what to do about it, and what that is known from.
#[derive(Args)]
pub(super) struct Why {
    /// The VSI's identifier, the VM's name, or one of its addresses. VSIs that are gone are remembered for a while.
    subject: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Control socket of the daemon.
    #[arg(long, value_name = "PATH", env = "EVBD_SOCKET", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
}

impl Why {
    /// Tells why.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let answers = Client::connect(&self.socket).await?.why(&self.subject).await?;
        let text = if self.json {
            serde_json::to_string_pretty(&json!({ "schema": SCHEMA, "why": answers }))?
        } else {
            answers.iter().map(told).collect::<Vec<_>>().join("\n\n")
        };
        writeln!(std::io::stdout(), "{text}")?;
        Ok(())
    }
}

/// One answer, for eyes.
fn told(answer: &Value) -> String {
    let mut text = format!("{}\n", cell(pick(answer, "because")));
    if let Some(remedy) = pick(answer, "remedy").as_str() {
        line(&mut text, "remedy", remedy);
    }
    facts(&mut text, answer);
    let counters = pick(answer, "counters.drops");
    if cell(counters) != "-" {
        line(&mut text, "drops", &cell(counters));
    }
    for drop in items(answer, "drops") {
        let [reason, from, to, ago] =
            ["reason", "source", "destination", "ago_ms"].map(|field| cell(pick(drop, field)));
        line(&mut text, "", &format!("{ago} ms ago {reason}: {from} to {to}"));
    }
    for address in items(answer, "addresses") {
        let [mac, vlan, port, origin] =
            ["mac", "vlan", "port", "origin"].map(|field| cell(pick(address, field)));
        line(&mut text, "address", &format!("{mac} VLAN {vlan} on {port}, {origin}"));
    }
    timeline(&mut text, answer);
    text.trim_end().to_owned()
}

/// What the VSI is, a line each.
pub(super) fn facts(text: &mut String, answer: &Value) {
    for (name, path) in FACTS {
        let value = pick(answer, path);
        if !value.is_null() && *value != json!([]) {
            line(text, name, &cell(value));
        }
    }
}

/// What happened to the VSI, oldest first: how long ago, and how long after the line before.
pub(super) fn timeline(text: &mut String, answer: &Value) {
    for entry in items(answer, "history") {
        let [ago, what] = ["ago_ms", "what"].map(|field| cell(pick(entry, field)));
        let after = pick(entry, "after_ms").as_u64().map_or(String::new(), |ms| format!("+{ms} ms"));
        line(text, "history", &format!("{ago:>9} ms ago {after:>11}  {what}"));
    }
}

fn items<'a>(answer: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    answer.get(field).and_then(Value::as_array).into_iter().flatten()
}

fn line(text: &mut String, name: &str, value: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "  {name:<10} {value}");
}

/// Heads and dotted fields of what is shown of an answer.
const FACTS: [(&str, &str); 12] = [
    ("vsi", "id"),
    ("name", "vsi.name"),
    ("state", "vsi.state"),
    ("confirmed", "vsi.confirmed"),
    ("type", "vsi.type_id"),
    ("profile", "profile.name"),
    ("asked for", "vsi.filter"),
    ("gate", "gate.filters"),
    ("last error", "vsi.last_error"),
    ("evb", "evb.peer"),
    ("reflection", "evb.reflective_relay.words"),
    ("ecp", "evb.ecp"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_for_eyes() {
        let answer = json!({
            "id": "a0", "because": "Its frames do not pass.", "remedy": "do this",
            "vsi": { "state": "back_off", "filter": [{ "mac": "m", "vid": 1 }] },
            "counters": { "drops": { "acl": 3, "other": 0 } },
            "drops": [{ "reason": "acl", "source": "s", "destination": "d", "ago_ms": 5 }],
            "addresses": [], "history": [
                { "ago_ms": 7, "what": "Associate sent" }, { "ago_ms": 5, "after_ms": 2, "what": "Associate granted" },
            ],
        });
        let text = told(&answer);
        for part in [
            "Its frames do not pass.\n",
            "remedy     do this",
            "state      back_off",
            "acl 3",
            "5 ms ago acl: s to d",
            "        7 ms ago              Associate sent\n",
            "        5 ms ago       +2 ms  Associate granted",
        ] {
            assert!(text.contains(part), "{part:?} in\n{text}");
        }
        assert!(!text.contains("other"), "{text}");
    }
}
