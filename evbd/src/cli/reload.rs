//! `evbd reload`: the daemon reads its configuration again.

use std::{io::Write, path::PathBuf};

use clap::Args;
use serde_json::{Value, json};

use crate::api::{Client, DEFAULT_SOCKET, SCHEMA};

/// Have a running daemon read its configuration again, apply what changed, and tell it line by line.
///
/// `+` is new, `-` gone, `~` changed; `!` needs a restart and is not applied. A wrong file changes nothing.
#[derive(Args)]
pub(super) struct Reload {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Control socket of the daemon.
    #[arg(long, value_name = "PATH", env = "EVBD_SOCKET", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
}

impl Reload {
    /// Tells what changed.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let changes = Client::connect(&self.socket).await?.reload().await?;
        let text = if self.json {
            serde_json::to_string_pretty(&json!({ "schema": SCHEMA, "changes": changes }))?
        } else if changes.is_empty() {
            "nothing changed".to_owned()
        } else {
            let lines = changes.iter().filter_map(|change| change.get("line").and_then(Value::as_str));
            lines.collect::<Vec<_>>().join("\n")
        };
        writeln!(std::io::stdout(), "{text}")?;
        Ok(())
    }
}
