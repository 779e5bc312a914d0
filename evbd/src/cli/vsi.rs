//! `evbd vsi`: the VSIs of a station or bridge, and orders for them.

use std::{io::Write, net::IpAddr, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};
use vdp::{Command, FilterEntry, FilterInfo, Hints, ManagerId, TypeId, TypeVersion, VsiId};

use super::{
    show::{self, cell, pick},
    why, words,
};
use crate::{
    api::{Client, DEFAULT_SOCKET, SCHEMA, Table},
    config::{FilterKeys, VsiConfig},
    order::{VsiOrder, Which},
};

/// Look at VSIs and order what becomes of them.
#[derive(Args)]
pub(super) struct Vsi {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// All VSIs there are.
    List(At),
    /// One VSI and what happened to it, in milliseconds; also of one that is gone.
    Show {
        /// Its identifier, its name, or one of its MAC addresses; by its identifier alone once a bridge has it no more.
        vsi: String,
        #[command(flatten)]
        at: At,
    },
    /// Have a station associate a VSI: one it knows, or a new one with all its attributes.
    Associate(Start),
    /// Have a station prepare its bridge for a VSI, as the target of a migration does.
    Preassociate {
        #[command(flatten)]
        start: Start,
        /// Have the bridge reserve resources.
        #[arg(long)]
        rr: bool,
    },
    /// End a VSI: at a station by asking its bridge, at a bridge by withdrawing it.
    Deassociate {
        /// Its name, identifier or MAC address.
        vsi: String,
        /// On which port, by its interface, where several ports of a bridge have it.
        #[arg(long, value_name = "INTERFACE")]
        port: Option<String>,
        #[command(flatten)]
        wait: Wait,
    },
}

#[derive(Args)]
struct At {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Control socket of the daemon.
    #[arg(long, value_name = "PATH", env = "EVBD_SOCKET", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
}

#[derive(Args)]
struct Wait {
    /// Do not wait for what comes of it.
    #[arg(long)]
    no_wait: bool,
    /// Seconds to wait.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    #[command(flatten)]
    at: At,
}

#[derive(Args)]
struct Start {
    /// Name, identifier or MAC address of a VSI the station knows; with --id the name of a new one.
    vsi: String,
    #[command(flatten)]
    given: Option<Given>,
    /// What is known of a migration.
    #[arg(long, value_name = "HINT")]
    hint: Vec<Hint>,
    #[command(flatten)]
    wait: Wait,
}

/// A VSI the configuration does not have.
#[derive(Args)]
#[group(requires_all = ["id", "interface", "type_id", "version", "filter"])]
struct Given {
    /// Identifier of a new VSI: a UUID, an IPv4, IPv6 or MAC address, or local: and 32 hexadecimal digits.
    #[arg(long, required = false)]
    id: VsiId,
    /// Interface of its VM, there or not.
    #[arg(long, required = false)]
    interface: String,
    /// Its VSI type, 0 to 16777215.
    #[arg(long = "type", value_name = "NUMBER", required = false, value_parser = type_id)]
    type_id: TypeId,
    /// The version of its type, 0 to 255.
    #[arg(long, value_name = "NUMBER", required = false)]
    version: u8,
    /// Manager of its type: an IP address, up to 16 characters, or 0x and 32 hexadecimal digits.
    #[arg(long, default_value = "::")]
    manager: ManagerId,
    /// A line of its filter, as mac=52:54:00:00:00:01,vlan=100,pcp=3,group=7; what is left out the bridge chooses. Again
    /// for more lines, all with or all without mac and group.
    #[arg(long, required = false, value_parser = filter_line)]
    filter: Vec<FilterEntry>,
    /// An IP address to announce when its gate opens; again for more.
    #[arg(long, value_name = "ADDRESS")]
    ip: Vec<IpAddr>,
    /// Follow the interface: associate when it comes, de-associate when it goes.
    #[arg(long)]
    automatic: bool,
    /// The S-channel it is behind, as the configuration calls it; the default one if left out.
    #[arg(long, value_name = "NAME")]
    channel: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Hint {
    /// The VM migrates to here (M).
    Migrating,
    /// The VM is suspended here, the source of a migration (S).
    Suspended,
}

impl Vsi {
    /// Looks or orders. The exit code of an order: 0 it was carried out, 1 refused, 3 nothing came of it in time.
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        match self.what {
            What::List(at) => {
                show::show(Table::Vsi, at.json, false, &at.socket).await?;
                Ok(ExitCode::SUCCESS)
            }
            What::Show { vsi, at } => {
                shown(&vsi, &at).await?;
                Ok(ExitCode::SUCCESS)
            }
            What::Associate(start) => start.run(Command::Associate).await,
            What::Preassociate { start, rr } => {
                start.run(if rr { Command::PreAssociateRr } else { Command::PreAssociate }).await
            }
            What::Deassociate { vsi, port, wait } => {
                let (command, vsi) = (Command::DeAssociate, Which::Known(vsi));
                carry_out(VsiOrder { command, vsi, hints: Hints::default(), port }, &wait).await
            }
        }
    }
}

impl Start {
    async fn run(self, command: Command) -> anyhow::Result<ExitCode> {
        let hints = Hints {
            migrating: self.hint.contains(&Hint::Migrating),
            suspended: self.hint.contains(&Hint::Suspended),
        };
        let vsi = match self.given {
            Some(given) => Which::Given(given.named(self.vsi)?),
            None => Which::Known(self.vsi),
        };
        carry_out(VsiOrder { command, vsi, hints, port: None }, &self.wait).await
    }
}

impl Given {
    fn named(self, name: String) -> anyhow::Result<VsiConfig> {
        Ok(VsiConfig {
            name,
            interface: self.interface,
            id: self.id,
            manager: self.manager,
            type_id: self.type_id,
            type_version: TypeVersion(self.version),
            filter: FilterInfo::new(self.filter).context("--filter")?,
            ips: self.ip,
            automatic: self.automatic,
            transient: false,
            channel: self.channel,
        })
    }
}

/// Prints what is known of a VSI on each port that has or had it.
async fn shown(vsi: &str, at: &At) -> anyhow::Result<()> {
    let answers = Client::connect(&at.socket).await?.why(vsi).await?;
    let text = if at.json {
        serde_json::to_string_pretty(&json!({ "schema": SCHEMA, "vsi": answers }))?
    } else {
        let told = |answer: &Value| {
            let mut text = String::new();
            why::facts(&mut text, answer);
            why::timeline(&mut text, answer);
            text.trim_end().to_owned()
        };
        answers.iter().map(told).collect::<Vec<_>>().join("\n\n")
    };
    writeln!(std::io::stdout(), "{text}")?;
    Ok(())
}

/// Gives an order and tells what came of it.
async fn carry_out(order: VsiOrder, wait: &Wait) -> anyhow::Result<ExitCode> {
    let client = Client::connect(&wait.at.socket).await?;
    let began = Instant::now();
    let mut events = client.follow_new().await?;
    let taken = client.order(&order).await?;
    let deadline = began + Duration::from_secs(wait.timeout);
    let mut outcome = None;
    while !wait.no_wait && outcome.is_none() {
        let Ok(event) = timeout_at(deadline, events.next()).await else { break };
        outcome = Outcome::of(order.command, &taken, &event?);
    }
    let outcome = match outcome {
        Some(outcome) => outcome,
        None if wait.no_wait => Outcome { end: End::Ordered, words: String::new(), event: taken.clone() },
        None => Outcome::waiting(&client, &taken, wait.timeout).await?,
    };
    let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let name = match taken.get("vsi").and_then(Value::as_str) {
        Some(name) => format!("{name} ({})", cell(pick(&taken, "id"))),
        None => cell(pick(&taken, "id")),
    };
    let text = if wait.at.json {
        serde_json::to_string_pretty(&json!({
            "schema": SCHEMA, "vsi": taken.get("vsi"), "id": taken.get("id"), "command": order.command,
            "outcome": outcome.end.name(), "words": outcome.words, "ms": ms, "event": outcome.event,
        }))?
    } else {
        let words = if outcome.words.is_empty() { String::new() } else { format!(": {}", outcome.words) };
        format!("VSI {name}: {} after {ms} ms{words}", outcome.end.name().replace('_', "-"))
    };
    writeln!(std::io::stdout(), "{text}")?;
    Ok(outcome.end.code())
}

/// What came of an order.
struct Outcome {
    end: End,
    words: String,
    event: Value,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// Nobody waited.
    Ordered,
    /// The command was carried out, named by what the VSI is now.
    Done(Command),
    /// It was refused; what stood before may still stand.
    Refused,
    /// Nothing came of it yet.
    Waiting,
}

impl Outcome {
    /// What `event` says of the order that was `taken`; none if it is about something else or older.
    fn of(command: Command, taken: &Value, event: &Value) -> Option<Self> {
        let number = |row: &Value| row.get("number").and_then(Value::as_u64);
        if number(event) <= number(taken) || event.get("id") != taken.get("id") {
            return None;
        }
        let end = match (pick(event, "what").as_str()?, command) {
            ("associated", Command::Associate)
            | ("pre_associated", Command::PreAssociate | Command::PreAssociateRr)
            | ("gone" | "deassociated", Command::DeAssociate) => End::Done(command),
            ("refused" | "kept", _) => End::Refused,
            _ => return None,
        };
        let mut told = words::vsi_details(event);
        if end == End::Refused && event.get("what") == Some(&json!("kept")) {
            told += "; what stood before still stands";
        }
        Some(Self { end, words: told, event: event.clone() })
    }

    /// Nothing was heard in time: what the VSI is doing.
    async fn waiting(client: &Client, taken: &Value, seconds: u64) -> anyhow::Result<Self> {
        let rows = client.show(Table::Vsi).await?;
        let row = rows.into_iter().find(|row| row.get("id") == taken.get("id"));
        let Some(row) = row else { bail!("the VSI is gone and nothing was said of it") };
        let state = match pick(&row, "state").as_str() {
            Some("held") => "it waits for the bridge: `evbd show evb` says why there is none".to_owned(),
            Some("processing") => "the bridge has not answered yet".to_owned(),
            _ => format!(
                "its state is {}; last error: {}",
                cell(pick(&row, "state")),
                cell(pick(&row, "last_error"))
            ),
        };
        let words = format!("nothing came of it in {seconds} s, {state}; the order stands");
        Ok(Self { end: End::Waiting, words, event: row })
    }
}

impl End {
    const fn name(self) -> &'static str {
        match self {
            Self::Ordered => "ordered",
            Self::Done(Command::Associate) => "associated",
            Self::Done(Command::PreAssociate | Command::PreAssociateRr) => "pre_associated",
            Self::Done(Command::DeAssociate) => "deassociated",
            Self::Refused => "refused",
            Self::Waiting => "waiting",
        }
    }

    fn code(self) -> ExitCode {
        match self {
            Self::Ordered | Self::Done(_) => ExitCode::SUCCESS,
            Self::Refused => ExitCode::FAILURE,
            Self::Waiting => ExitCode::from(3),
        }
    }
}

fn type_id(text: &str) -> Result<TypeId, String> {
    let number: u32 = text.parse().map_err(|error| format!("{error}"))?;
    TypeId::try_from(number).map_err(|error| error.to_string())
}

/// Reads `mac=…,vlan=…,pcp=…,group=…`.
fn filter_line(text: &str) -> Result<FilterEntry, String> {
    let mut line = serde_json::Map::new();
    for part in text.split(',') {
        let (key, value) = part.split_once('=').ok_or_else(|| format!("`{part}` is not key=value"))?;
        let value = match value.parse::<u64>() {
            Ok(number) => json!(number),
            Err(_) => json!(value),
        };
        if line.insert(key.trim().to_owned(), value).is_some() {
            return Err(format!("`{key}` twice"));
        }
    }
    serde_json::from_value::<FilterKeys>(line.into())
        .map(FilterEntry::from)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_filter() {
        let shown = |text: &str| {
            serde_json::to_value(FilterKeys::from(filter_line(text)?)).map_err(|error| error.to_string())
        };
        for (text, line) in [
            ("vlan=100", json!({"vlan": 100})),
            ("mac=52:54:00:00:00:01", json!({"mac": "52:54:00:00:00:01"})),
            (
                "mac=52:54:00:00:00:01,vlan=100,pcp=3,group=7",
                json!({"mac": "52:54:00:00:00:01", "vlan": 100, "pcp": 3, "group": 7}),
            ),
        ] {
            assert_eq!(shown(text), Ok(line));
        }
        for (text, why) in [
            ("", "not key=value"),
            ("vlan=4095", "out of range"),
            ("pcp=8", "8"),
            ("vlan=1,vlan=2", "twice"),
            ("vid=1", "unknown field"),
            ("group=0", "nonzero"),
        ] {
            assert!(shown(text).unwrap_err().contains(why), "{text}: {}", shown(text).unwrap_err());
        }
    }

    #[test]
    fn only_later_events_of_the_vsi_count() {
        let taken = json!({"number": 5, "id": "x"});
        let end = |command, event: Value| Outcome::of(command, &taken, &event).map(|outcome| outcome.end);
        let told = |number: u64, id: &str, what: &str| json!({"number": number, "id": id, "what": what, "words": "w"});
        assert_eq!(end(Command::Associate, told(5, "x", "associated")), None);
        assert_eq!(end(Command::Associate, told(6, "y", "associated")), None);
        assert_eq!(end(Command::Associate, told(6, "x", "pre_associated")), None);
        assert_eq!(end(Command::Associate, told(6, "x", "gone")), None);
        assert_eq!(end(Command::Associate, told(6, "x", "associated")), Some(End::Done(Command::Associate)));
        assert_eq!(
            end(Command::DeAssociate, told(6, "x", "deassociated")),
            Some(End::Done(Command::DeAssociate))
        );
        assert_eq!(end(Command::PreAssociateRr, told(6, "x", "refused")), Some(End::Refused));
        assert_eq!(end(Command::Associate, json!({"number": 6, "id": "x", "event": "vsi_ordered"})), None);
    }
}
