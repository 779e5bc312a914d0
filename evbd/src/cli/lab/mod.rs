//! `evbd lab`: a bridge, a station and two VMs in network namespaces, real daemons, real traffic.

mod channels;
mod daemon;
mod dcbx;
mod extend;
mod fex;
mod look;
mod migrate;
mod net;
mod probe;
mod report;
mod scenario;

use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

pub use probe::Probe;

use net::Net;
use report::{Expectation, Progress, Report};

/// Options of the lab.
#[derive(Args)]
pub struct Lab {
    /// What to play.
    #[arg(long, value_enum, default_value_t = Scenario::Reflect)]
    scenario: Scenario,
    /// What the station does when reflective relay is refused.
    #[arg(long, value_enum, default_value_t = Fallback::Veb)]
    fallback: Fallback,
    /// Whether the two stations of scenario `migrate` are on one bridge or on two.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    bridges: u8,
    /// Name of the lab: part of its namespaces' names, so that several can stand side by side.
    #[arg(long, default_value = "lab", value_parser = lab_name)]
    name: String,
    /// Pings from VM 1 to VM 2.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pings: u16,
    /// Seconds of the TCP measurement; in scenario `migrate` of the traffic during each move, at least 3 and at most 60; in
    /// `dcbx` of each of two measurements, at most 60.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=600))]
    seconds: u16,
    /// Print the report as JSON; progress goes to standard error.
    #[arg(long)]
    json: bool,
    /// Leave everything up and say how to look around.
    #[arg(long, conflicts_with = "clean")]
    keep: bool,
    /// Only remove what an earlier lab of this name left.
    #[arg(long)]
    clean: bool,
}

/// What the lab can play.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scenario {
    /// The bridge reflects: VM 1 and VM 2 meet on the bridge.
    Reflect,
    /// The bridge refuses to reflect: the station falls back as told by --fallback.
    Refuse,
    /// A VM moves from one station to another and back while it is pinged and sends by TCP.
    Migrate,
    /// DCBX is agreed, and two VMs share an uplink that is too slow for both.
    Dcbx,
    /// Three S-channels on one wire, a VEPA, a VEB and one for a single VM, with traffic in each.
    Channels,
    /// A controlling bridge and two port extenders, one behind the other, with four VMs and a station: sessions, unicast,
    /// broadcast, multicast, a VSI, and each cable pulled.
    Extend,
    /// A fabric extender by VN-Tag, three VMs on it and one on its bridge, provisioned by configuration.
    Fex,
}

/// The station's policy in scenario `refuse`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fallback {
    /// Switch in the station.
    Veb,
    /// Keep VMs of the station apart.
    Isolate,
}

impl Lab {
    /// Plays the scenario; success only if every step held.
    ///
    /// # Errors
    /// When the lab cannot be built: not root, `ip` missing, another lab of that name running.
    pub async fn run(&self) -> anyhow::Result<ExitCode> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let progress = Progress::new(self.json);
        let mut net = Net::claim(&self.name)?;
        if net.remove_leftovers()? {
            progress.note("removed what an earlier lab left");
        }
        if self.clean {
            net.tear_down()?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut report = Report::new(self.scenario, Expectation::of(self.scenario, self.fallback));
        let played = tokio::select! {
            played = self.play(&mut net, &progress, &mut report) => played,
            _ = interrupt.recv() => Err(anyhow::anyhow!("interrupted")),
            _ = terminate.recv() => Err(anyhow::anyhow!("terminated")),
        };
        match played {
            Ok(()) => report.finish(),
            Err(error) => progress.broke(&mut report, &error),
        }
        if self.keep && report.ok {
            net.keep();
            progress.note(&net.how_to_look());
        } else {
            net.tear_down().context("the lab was not removed; run `evbd lab --clean`")?;
            progress.note("removed namespaces, interfaces and processes");
        }
        self.print(&report)?;
        Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    async fn play(&self, net: &mut Net, progress: &Progress, report: &mut Report) -> anyhow::Result<()> {
        match self.scenario {
            Scenario::Channels => channels::play(self, net, progress, report).await,
            Scenario::Extend => extend::play(self, net, progress, report).await,
            Scenario::Fex => fex::play(self, net, progress, report).await,
            Scenario::Migrate => migrate::play(self, net, progress, report).await,
            Scenario::Dcbx => dcbx::play(self, net, progress, report).await,
            Scenario::Reflect | Scenario::Refuse => scenario::play(self, net, progress, report).await,
        }
    }

    fn print(&self, report: &Report) -> anyhow::Result<()> {
        if self.json {
            println!("{}", serde_json::to_string_pretty(report)?);
        } else {
            println!("\n{report}");
        }
        Ok(())
    }
}

/// Namespace names are file names, and interface names are short.
fn lab_name(text: &str) -> Result<String, String> {
    let fits = (1..=16).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if fits { Ok(text.to_owned()) } else { Err("1 to 16 of a-z, 0-9 and -".to_owned()) }
}
