//! `evbd doctor`: what stands in the way of edge virtual bridging on a port, and what to do about it.

mod daemon;
mod findings;

use std::{io::Write, path::PathBuf, process::ExitCode, time::Duration};

use clap::Args;
use serde_json::json;

use self::findings::{Finding, Severity};
use crate::{
    api::{DEFAULT_SOCKET, SCHEMA},
    kernel::inspect::{inspect, interfaces},
    libvirt::{LibvirtPort, deaf, ports},
};

/// Look at a port from all sides and say what is wrong and what helps; changes nothing. Exit code 1 if there is a
/// problem.
#[derive(Args)]
pub(super) struct Doctor {
    /// The interface, in this network namespace.
    port: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Control socket of the daemon, which need not run.
    #[arg(long, value_name = "PATH", env = "EVBD_SOCKET", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
}

impl Doctor {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let daemon = daemon::ask(&self.socket, &self.port).await;
        let mut findings = match inspect(&self.port).await? {
            Some(inspection) => findings::of(&inspection, daemon.port()),
            None => vec![findings::missing(&self.port, &interfaces())],
        };
        findings.extend(daemon.findings(&self.port));
        findings.extend(libvirt().await.iter().map(findings::deaf));
        let worst = findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Ok);
        let mut out = std::io::stdout().lock();
        if self.json {
            let report = json!({ "schema": SCHEMA, "port": self.port, "worst": worst, "findings": findings });
            writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
        } else {
            // The worst first.
            findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
            for Finding { severity, check, words, remedy } in &findings {
                writeln!(out, "{:<8} {check}: {words}", severity.name())?;
                if let Some(remedy) = remedy {
                    writeln!(out, "{:<8} -> {remedy}", "")?;
                }
            }
        }
        Ok(if worst == Severity::Problem { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// libvirt's daemons here that can ask for nothing. Sockets of single requests come and go: two looks tell.
async fn libvirt() -> Vec<LibvirtPort> {
    let before = ports();
    if !before.iter().any(LibvirtPort::is_negative) {
        return Vec::new();
    }
    tokio::time::sleep(BETWEEN).await;
    deaf(&before, &ports())
}

const BETWEEN: Duration = Duration::from_millis(300);
