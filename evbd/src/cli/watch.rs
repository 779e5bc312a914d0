//! `evbd watch`: what happens, as it happens.

use std::{
    io::{self, Write},
    path::PathBuf,
    time::Duration,
};

use clap::Args;
use serde_json::Value;
use tokio::signal::ctrl_c;

use super::{clock, words::words};
use crate::api::{Client, DEFAULT_SOCKET};

/// Tell what happens in a running daemon: first what it remembers, then what comes.
#[derive(Args)]
pub(super) struct Watch {
    /// Print JSON, an event a line.
    #[arg(long)]
    json: bool,
    /// Number of the first event to tell; the daemon remembers the last 4096.
    #[arg(long, value_name = "N", default_value_t = 1)]
    from: u64,
    /// End after so many events.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Control socket of the daemon.
    #[arg(long, value_name = "PATH", env = "EVBD_SOCKET", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
}

impl Watch {
    /// Tells events until there were enough, Ctrl-C comes, or the daemon goes away, which is an error.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = Client::connect(&self.socket).await?;
        let mut events = client.follow().await?;
        let (mut told, mut next) = (0, self.from.max(1));
        while self.count.is_none_or(|count| told < count) {
            let event = tokio::select! {
                event = events.next() => event?,
                stop = ctrl_c() => return Ok(stop?),
            };
            let number = event.get("number").and_then(Value::as_u64).unwrap_or(0);
            if number < self.from {
                continue;
            }
            if number > next {
                eprintln!("evbd: events {next} to {} are no longer remembered", number - 1);
            }
            next = number + 1;
            told += 1;
            self.tell(&event)?;
        }
        Ok(())
    }

    fn tell(&self, event: &Value) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{event}")?;
        } else {
            writeln!(out, "{}", line(event))?;
        }
        out.flush()
    }
}

/// An event for eyes: number, time, port, words.
fn line(event: &Value) -> String {
    let number = |field: &str| event.get(field).and_then(Value::as_u64);
    let time = match number("unix_ms") {
        Some(at) => clock::time_of_day(Duration::from_millis(at)),
        None => format!("{} ms", number("at_ms").unwrap_or(0)),
    };
    let port = event.get("port").and_then(Value::as_str).unwrap_or("-");
    format!("{:>5} {time} {port:<8} {}", number("number").unwrap_or(0), words(event))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_for_eyes() {
        let event =
            json!({"number": 12, "at_ms": 5, "unix_ms": 3_723_004_u64, "event": "link_up", "port": "s0"});
        assert_eq!(line(&event), "   12 01:02:03.004000 s0       link up");
        let event = json!({"number": 1, "at_ms": 5, "event": "relay", "mode": "veb", "because": "so"});
        assert_eq!(line(&event), "    1 5 ms -        edge relay veb: so");
    }
}
