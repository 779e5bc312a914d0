//! `evbd replay`: a recorded run once more.

use std::{
    fs::File,
    io::{self, BufReader, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context;
use clap::Args;
use ether::Instant;
use serde_json::{Value, json};

use super::{show::cell, words::words};
use crate::{
    decode::{decode, frames},
    replay::{Comparison, Replay, Step},
};

/// Play a recording of `evbd run --record` again and tell what the daemon does, without touching anything.
#[derive(Args)]
pub(super) struct Play {
    /// The recording.
    file: PathBuf,
    /// Print JSON, an effect a line.
    #[arg(long)]
    json: bool,
    /// Also print what the daemon was told.
    #[arg(long)]
    inputs: bool,
    /// Stop at this time of the recording, in microseconds.
    #[arg(long, value_name = "US")]
    until: Option<u64>,
    /// Print only where this evbd does something else than was recorded; exit code 1 if it does.
    #[arg(long, conflicts_with_all = ["inputs", "until"])]
    check: bool,
}

type Recording = Replay<BufReader<File>>;

impl Play {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let shown = || self.file.display().to_string();
        let file = File::open(&self.file).with_context(shown)?;
        let mut replay = Replay::new(BufReader::new(file)).with_context(shown)?;
        if self.check {
            return self.compare(&mut replay).with_context(shown);
        }
        let until = self.until.map(Instant::from_micros);
        let mut failed = None;
        replay.play(until, |replay, step| self.tell(replay, &step).map_err(|e| failed = Some(e)).is_ok())?;
        match failed {
            Some(error) => Err(error.into()),
            None => Ok(ExitCode::SUCCESS),
        }
    }

    fn compare(&self, replay: &mut Recording) -> anyhow::Result<ExitCode> {
        let mut comparison = Comparison::default();
        replay.play(None, |_, step| comparison.see(&step))?;
        comparison.finish();
        let Comparison { inputs, same, differences, .. } = comparison;
        let mut out = io::stdout().lock();
        if self.json {
            let different: Vec<Value> = differences
                .iter()
                .map(|(recorded, now)| json!({ "recorded": recorded, "now": now }))
                .collect();
            writeln!(out, "{}", json!({ "inputs": inputs, "same": same, "differences": different }))?;
        } else {
            for (recorded, now) in &differences {
                writeln!(out, "recorded: {}", effect(recorded))?;
                writeln!(out, "now:      {}", effect(now))?;
            }
            let verdict = if differences.is_empty() { "all as recorded" } else { "not as recorded" };
            writeln!(out, "{inputs} inputs, {same} effects the same: {verdict}")?;
        }
        Ok(ExitCode::from(u8::from(!differences.is_empty())))
    }

    fn tell(&self, replay: &Recording, step: &Step) -> io::Result<()> {
        let (at, row, mark) = match step {
            Step::Input(at, row) if self.inputs => (at, row, '<'),
            Step::Effect(at, row) => (at, row, '>'),
            Step::Input(..) | Step::Recorded(_) => return Ok(()),
        };
        let mut out = io::stdout().lock();
        if self.json {
            let mut row = row.clone();
            if let Some(fields) = row.as_object_mut() {
                fields.insert("at_us".to_owned(), json!(at.as_micros()));
            }
            return writeln!(out, "{row}");
        }
        let port = replay.interface(row).or_else(|| row.get("port")?.as_str()).unwrap_or("-");
        writeln!(out, "{at} {mark} {port:<8} {}", effect(row))
    }
}

/// An input or effect in words.
fn effect(row: &Value) -> String {
    let text = |field: &str| row.get(field).and_then(Value::as_str);
    if let Some(octets) = text("frame").and_then(|frame| frames(frame).next()?.ok()) {
        return decode(&octets).line;
    }
    if text("effect") == Some("event") {
        return words(row);
    }
    let Some(fields) = row.as_object() else { return "nothing".to_owned() };
    let name = text("effect").or_else(|| text("input")).unwrap_or("?").replace('_', " ");
    let said = fields.iter().filter(|(field, _)| !matches!(field.as_str(), "effect" | "input" | "port"));
    let said: Vec<_> = said.map(|(field, value)| format!("{field} {}", cell(value))).collect();
    if said.is_empty() { name } else { format!("{name}: {}", said.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effects_in_words() {
        assert_eq!(effect(&json!({"effect": "switch_relay", "mode": "veb"})), "switch relay: mode veb");
        assert_eq!(effect(&json!({"input": "timeout"})), "timeout");
        assert_eq!(effect(&json!({"effect": "event", "event": "link_up", "port": "s0"})), "link up");
        assert!(effect(&json!({"effect": "transmit", "port": 0, "frame": "0180c200"})).contains("malformed"));
        assert_eq!(effect(&Value::Null), "nothing");
    }
}
