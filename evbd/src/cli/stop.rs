//! `evbd stop`: the daemon ends, with or without its VSIs.

use std::{
    io::Write,
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::Args;
use serde_json::{Value, json};

use crate::api::{Client, DEFAULT_SOCKET, SCHEMA};

/// Stop a running daemon. Its VSIs stay associated, as with SIGTERM, so that it may come back unnoticed.
///
/// With --deassociate it first de-associates them all, waits for the answers, and takes leave of its neighbours: for
/// hosts and ports that do not come back. Exit code 1 if an answer did not come in time; the daemon has stopped all the
/// same.
#[derive(Args)]
pub(super) struct Stop {
    /// De-associate every VSI first.
    #[arg(long)]
    deassociate: bool,
    /// How long to wait for the answers, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=600), requires = "deassociate")]
    timeout: u32,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Control socket of the daemon.
    #[arg(long, value_name = "PATH", env = "EVBD_SOCKET", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
}

impl Stop {
    /// Stops the daemon and tells what became of its VSIs.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = Client::connect(&self.socket).await?;
        let vsis = client.stop(self.deassociate, self.timeout).await?;
        drop(client);
        let deadline = Instant::now() + END;
        while self.socket.exists() {
            anyhow::ensure!(Instant::now() < deadline, "the daemon has answered but does not end");
            tokio::time::sleep(PAUSE).await;
        }
        let left: Vec<&Value> =
            vsis.iter().filter(|vsi| vsi.get("deassociated") != Some(&Value::Bool(true))).collect();
        let text = if self.json {
            serde_json::to_string_pretty(&json!({ "schema": SCHEMA, "vsis": vsis }))?
        } else if self.deassociate {
            format!("stopped; {} VSIs de-associated", vsis.len() - left.len())
        } else {
            "stopped; its VSIs stay associated until their keep-alive ends or evbd is back".to_owned()
        };
        writeln!(std::io::stdout(), "{text}")?;
        let ids: Vec<&str> = left.iter().filter_map(|vsi| vsi.get("id")?.as_str()).collect();
        anyhow::ensure!(
            ids.is_empty(),
            "the other end did not confirm in {} s that it let go of {}; it will when it misses them",
            self.timeout,
            ids.join(", ")
        );
        Ok(())
    }
}

/// How long a daemon may take to end once it has answered.
const END: Duration = Duration::from_secs(10);
/// Between two looks whether it has.
const PAUSE: Duration = Duration::from_millis(10);
