//! What a running daemon knows of the port.

use std::path::Path;

use serde_json::Value;

use super::findings::{Finding, Severity};
use crate::api::{Client, Table};

/// A daemon, as far as it answered.
pub(super) enum Daemon {
    /// None answers; why.
    Silent(String),
    /// It runs and does not know the port; what it calls its ports.
    Other(Vec<String>),
    /// It runs the port.
    Port(Box<Port>),
}

/// The daemon's rows for the port.
pub(super) struct Port {
    row: Value,
    neighbors: usize,
}

/// Asks the daemon on `socket` about `port`.
pub(super) async fn ask(socket: &Path, port: &str) -> Daemon {
    let answers = async {
        let client = Client::connect(socket).await?;
        anyhow::Ok((client.show(Table::Ports).await?, client.show(Table::Neighbors).await?))
    };
    match answers.await {
        Err(error) => Daemon::Silent(format!("{error:#}")),
        Ok((ports, neighbors)) => {
            let is = |row: &&Value| row.get("port").and_then(Value::as_str) == Some(port);
            match ports.iter().find(is) {
                Some(row) => Daemon::Port(Box::new(Port {
                    row: row.clone(),
                    neighbors: neighbors.iter().filter(is).count(),
                })),
                None => Daemon::Other(ports.iter().map(|row| text(row, "port").to_owned()).collect()),
            }
        }
    }
}

impl Daemon {
    pub(super) const fn port(&self) -> Option<&Port> {
        match self {
            Self::Port(port) => Some(port),
            Self::Silent(_) | Self::Other(_) => None,
        }
    }

    pub(super) fn findings(&self, port: &str) -> Vec<Finding> {
        match self {
            Self::Silent(why) => vec![Finding::new(Severity::Note, "daemon", why.clone())],
            Self::Other(ports) => {
                let words = format!("evbd runs and does not know {port}; its ports are {}", ports.join(", "));
                vec![Finding::new(Severity::Note, "daemon", words)]
            }
            Self::Port(row) => row.findings(),
        }
    }
}

impl Port {
    #[cfg(test)]
    pub(super) const fn new(row: Value, neighbors: usize) -> Self {
        Self { row, neighbors }
    }

    /// What became of the frames that would leak, in the daemon's words.
    pub(super) fn leak(&self) -> Option<&str> {
        self.row.get("leak").and_then(Value::as_str)
    }

    /// Whether it has sent LLDP for some time and heard none.
    pub(super) fn is_deaf(&self) -> bool {
        let (sent, heard) = self.lldp();
        sent > SENT_IN_VAIN && heard == 0
    }

    /// LLDPDUs sent and received.
    fn lldp(&self) -> (u64, u64) {
        let agents = self.row.get("lldp").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let sum = |field: &str| agents.iter().filter_map(|agent| agent.get(field)?.as_u64()).sum();
        (sum("frames_out_total"), sum("frames_in_total"))
    }

    fn findings(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        if let Some(fault) = self.row.get("fault").and_then(Value::as_str) {
            // Where it hears, control protocols run all the same.
            let severity =
                if self.row.get("hearing").is_some() { Severity::Warning } else { Severity::Problem };
            let finding =
                Finding::new(severity, "relay", format!("evbd does not forward its frames: {fault}"));
            // The daemon quotes the command that helps, if there is one.
            found.push(match fault.split('`').nth(1) {
                Some(command) => finding.remedy(command),
                None => finding,
            });
        }
        let (sent, heard) = self.lldp();
        let hears = match text(&self.row, "hearing_because") {
            "" => String::new(),
            because => format!(", hears by {} ({because})", text(&self.row, "hearing")),
        };
        let kind = text(&self.row, "kind");
        let words = format!(
            "evbd runs it as {kind} port{hears}; LLDP sent {sent}, received {heard}, neighbours {}",
            self.neighbors
        );
        found.push(Finding::new(Severity::Ok, "daemon", words));
        if self.is_deaf() {
            let words = format!(
                "{sent} LLDPDUs sent and none received: the other end is silent, or something on this host or in this network interface eats them"
            );
            found.push(Finding::new(Severity::Warning, "lldp_silent", words));
        }
        found
    }
}

fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row.get(field).and_then(Value::as_str).unwrap_or("")
}

/// LLDPDUs after which a neighbour should have been heard.
const SENT_IN_VAIN: u64 = 6;
