//! The command line.

mod clock;
mod decode;
mod detail;
mod doctor;
mod hook;
pub mod lab;
mod lldpad;
mod metrics;
mod reload;
mod replay;
mod show;
mod stop;
mod trace;
mod vsi;
mod watch;
mod why;
mod words;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;

use crate::{
    api::{DEFAULT_SOCKET, Table},
    config::{self, Config},
};

/// Edge virtual bridging: agree with the other end of the wire on who each VM is, and move its frames accordingly.
#[derive(Parser)]
#[command(name = "evbd", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the daemon in the foreground until SIGTERM or Ctrl-C.
    Run(Run),
    /// Check a configuration file and say what is wrong with it.
    Check(ConfigFile),
    Reload(reload::Reload),
    Stop(stop::Stop),
    /// Show what a running daemon knows.
    Show(Show),
    Vsi(vsi::Vsi),
    Why(why::Why),
    Trace(trace::Trace),
    Watch(watch::Watch),
    Metrics(metrics::Metrics),
    Decode(decode::Decode),
    Replay(replay::Play),
    Doctor(doctor::Doctor),
    Hook(hook::Hook),
    /// Build a bridge and a station in network namespaces, negotiate, move traffic, report, clean up.
    Lab(lab::Lab),
    /// lldpad's tool for VSIs, for scripts that call it; also when called by that name.
    Vdptool(lldpad::Tool),
    /// lldpad's tool for LLDP, as far as scripts around VDP call it; also when called by that name.
    Lldptool(lldpad::Tool),
    /// Traffic ends of the lab, run inside its VMs.
    #[command(hide = true, subcommand)]
    LabProbe(lab::Probe),
}

#[derive(Args)]
struct ConfigFile {
    /// The TOML file; see dist/station.toml, dist/bridge.toml and dist/extender.toml.
    #[arg(short, long, value_name = "FILE", env = "EVBD_CONFIG", default_value = "/etc/evbd.toml")]
    config: PathBuf,
}

#[derive(Args)]
struct Run {
    #[command(flatten)]
    file: ConfigFile,
    /// How log lines are written to standard error; EVBD_LOG filters them, e.g. EVBD_LOG=debug.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// Write everything the daemon is told and does to FILE, for `evbd replay`.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Args)]
struct Show {
    /// The table.
    #[arg(value_enum)]
    table: Table,
    /// Print JSON instead of a table for eyes.
    #[arg(long)]
    json: bool,
    /// Print all there is, a block a row; of neighbours every TLV.
    #[arg(long, conflicts_with = "json")]
    detail: bool,
    /// Look again every so many seconds, until Ctrl-C.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(1..))]
    every: Option<u16>,
    /// Control socket of the daemon.
    #[arg(long, value_name = "PATH", env = "EVBD_SOCKET", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
}

/// Runs the command the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    match Cli::parse_from(arguments()).command {
        Command::Run(run) => {
            start_log(run.log_format);
            match config::File::read(&run.file.config) {
                Ok(file) => finish(block_on(crate::run(file, run.record.as_deref()))),
                Err(error) => reject(&error),
            }
        }
        Command::Check(file) => match Config::load(&file.config) {
            Ok(config) => {
                if let Err(error) = crate::run::profiles::check(&config.vsidb) {
                    return reject(&error);
                }
                let role = if config.bridge().is_some() { "bridge" } else { "station" };
                println!("{}: a valid {role} configuration", file.config.display());
                ExitCode::SUCCESS
            }
            Err(error) => reject(&error),
        },
        Command::Vdptool(tool) => block_on(tool.vdptool()).unwrap_or_else(|error| finish(Err(error))),
        Command::Lldptool(tool) => block_on(tool.lldptool()).unwrap_or_else(|error| finish(Err(error))),
        Command::Stop(stop) => finish(block_on(stop.run())),
        Command::Reload(reload) => finish(block_on(reload.run())),
        Command::Show(show) => {
            finish(block_on(show::repeat(show.table, show.json, show.detail, show.every, &show.socket)))
        }
        Command::Vsi(vsi) => block_on(vsi.run()).unwrap_or_else(|error| finish(Err(error))),
        Command::Why(why) => finish(block_on(why.run())),
        Command::Trace(trace) => finish(block_on(trace.run())),
        Command::Watch(watch) => finish(block_on(watch.run())),
        Command::Metrics(metrics) => finish(block_on(metrics.run())),
        Command::Decode(decode) => finish(block_on(decode.run())),
        Command::Doctor(doctor) => block_on(doctor.run()).unwrap_or_else(|error| finish(Err(error))),
        Command::Hook(hook) => {
            let strict = hook.is_strict();
            block_on(async { Ok(hook.run().await) }).unwrap_or(if strict {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            })
        }
        Command::Replay(play) => play.run().unwrap_or_else(|error| finish(Err(error))),
        Command::Lab(lab) => {
            start_log(LogFormat::Text);
            match block_on(lab.run()) {
                Ok(code) => code,
                Err(error) => finish(Err(error)),
            }
        }
        Command::LabProbe(probe) => finish(probe.run()),
    }
}

/// The command line; called by the name of a tool of lldpad, it is as that subcommand.
fn arguments() -> Vec<OsString> {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    let name = arguments.first().and_then(|name| Path::new(name).file_name());
    if let Some(tool) = name.filter(|name| *name == "vdptool" || *name == "lldptool") {
        let tool = tool.to_owned();
        arguments.insert(1, tool);
    }
    arguments
}

fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(work);
    // A blocked helper thread must not keep the process from ending.
    runtime.shutdown_background();
    done
}

fn finish(done: anyhow::Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // A reader such as `head` that has seen enough is no failure.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("evbd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}

/// A configuration error with the line it is in; exit code 2, as for a wrong command line.
fn reject(error: &crate::ConfigError) -> ExitCode {
    eprintln!("{error}\n{error:?}");
    ExitCode::from(2)
}

fn start_log(format: LogFormat) {
    let filter = EnvFilter::try_from_env("EVBD_LOG").unwrap_or_else(|_| EnvFilter::new("info,zbus=warn"));
    let log =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    match format {
        LogFormat::Text => log.with_ansi(false).init(),
        LogFormat::Json => log.json().init(),
    }
}
