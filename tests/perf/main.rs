//! The data plane against the kernel's own, on the same topologies in the same run.
//!
//! `cargo bench -p evb-tests --bench perf -- --quick`. Needs root and nothing else. Candidates stand side by side in
//! namespaces and are measured in turns, so that what disturbs the machine disturbs all; figures are medians over the
//! rounds, and what counts is their ratio to the kernel's row above them. No threshold is applied.

mod load;
mod place;
mod soak;
mod table;
mod vsis;

use std::{process::ExitCode, time::Duration};

use clap::Parser;

use self::{
    load::Measure,
    place::Place,
    table::Table,
    vsis::{How, Outcome},
};

/// Measures evbd's data plane against the kernel's.
#[derive(Parser)]
#[command(name = "perf")]
struct Options {
    /// Three rounds of short measurements: ends within three minutes.
    #[arg(long)]
    quick: bool,
    /// Print JSON instead of the table.
    #[arg(long)]
    json: bool,
    /// Rounds of all measurements; 7 by default, 3 if quick.
    #[arg(long)]
    rounds: Option<usize>,
    /// Length of one measurement in milliseconds; 2000 by default, 700 if quick.
    #[arg(long, value_name = "MS")]
    millis: Option<u64>,
    /// Only candidates whose name, or whose topology, contains this.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// VSIs associated at the bridge while it is measured.
    #[arg(long, default_value_t = 1000)]
    vsis: u16,
    /// Saturate evbd for so long instead, then check its counters and its memory.
    #[arg(long, value_name = "SECONDS")]
    soak: Option<u64>,
    /// Associate so many VSIs on one port instead, lldpad and evbd in turns; needs lldpad.
    #[arg(long, value_name = "COUNT")]
    associate: Option<u32>,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    if let Some(seconds) = options.soak {
        return soak::run(&runtime, Duration::from_secs(seconds));
    }
    let wanted = |name: &str| options.only.as_deref().is_none_or(|only| name.contains(only));
    if let Some(count) = options.associate {
        let hows = How::ALL.into_iter().filter(|how| wanted(how.name()));
        let all: Vec<_> = hows.map(|how| how.run(&runtime, count, PATIENCE)).collect();
        if options.json {
            println!("{}", all.iter().map(Outcome::json).collect::<serde_json::Value>());
        } else {
            println!("{}", vsis::HEADING);
            all.iter().for_each(|outcome| println!("{outcome}"));
        }
        return ExitCode::SUCCESS;
    }
    let rounds = options.rounds.unwrap_or(if options.quick { 3 } else { 7 });
    let time = Duration::from_millis(options.millis.unwrap_or(if options.quick { 700 } else { 2000 }));
    let places: Vec<Place> = place::CANDIDATES
        .iter()
        .filter(|candidate| wanted(candidate.name) || wanted(candidate.group))
        .map(|candidate| {
            eprintln!("building {}", candidate.name);
            runtime.block_on(candidate.build(options.vsis))
        })
        .collect();
    let mut table = Table::default();
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        for measure in Measure::ALL {
            for place in &places {
                table.add(place.group, place.name, measure, measure.run(place, time));
            }
        }
    }
    if options.json {
        println!("{}", table.json());
    } else {
        print!("{table}");
    }
    ExitCode::SUCCESS
}

/// How long one that orders VSIs one after the other is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
