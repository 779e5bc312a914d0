//! `vdptool` and `lldptool` as scripts call them, answered in the words of lldpad's. What a daemon of evbd has in its
//! configuration it does not change: such a call succeeds if it is so, and fails with the key to set if it is not.

mod neighbor;
mod vdp;

use std::{io::Write, path::PathBuf, process::ExitCode};

use clap::{ArgAction, Args};
use serde_json::Value;

use super::show::{cell, pick};
use crate::api::{Client, DEFAULT_SOCKET, Table};

/// The options of both tools.
#[derive(Args)]
#[command(disable_version_flag = true)]
pub(super) struct Tool {
    /// Change something of VDP, or of a TLV.
    #[arg(short = 'T')]
    set_tlv: bool,
    /// Read something of VDP, or TLVs.
    #[arg(short = 't')]
    get_tlv: bool,
    /// Change what an LLDP agent does.
    #[arg(short = 'L')]
    set_lldp: bool,
    /// Read what an LLDP agent does.
    #[arg(short = 'l')]
    get_lldp: bool,
    /// Of the neighbour.
    #[arg(short = 'n')]
    neighbor: bool,
    /// Wait for what comes of it, at most five seconds.
    #[arg(short = 'W')]
    wait: bool,
    /// In the octets between lldpad and its tools.
    #[arg(short = 'R')]
    raw: bool,
    /// Print the version.
    #[arg(short = 'v', action = ArgAction::SetTrue)]
    version: bool,
    /// The interface.
    #[arg(short = 'i', value_name = "INTERFACE")]
    interface: Option<String>,
    /// The agent: nb, nntpmrb or ncb.
    #[arg(short = 'g', value_name = "AGENT", default_value = "nb")]
    agent: String,
    /// assoc, preassoc, preassoc-rr or deassoc; a TLV.
    #[arg(short = 'V', value_name = "TLV")]
    tlv: Option<String>,
    /// key=value, again for more.
    #[arg(short = 'c', value_name = "KEY=VALUE", num_args = 0..=1, default_missing_value = "")]
    config: Vec<String>,
    /// get-tlv, set-tlv, get-lldp or set-lldp in the place of the option; key=value.
    words: Vec<String>,
    /// Control socket of the daemon.
    #[arg(long, value_name = "PATH", env = "EVBD_SOCKET", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
}

/// Why a call failed, in lldpad's words.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Failure {
    /// `cmd_device_not_found`.
    Device,
    /// `cmd_bad_params`.
    Parameters,
    /// What the daemon says.
    Other(String),
}

impl Failure {
    fn words(&self) -> &str {
        match self {
            Self::Device => "Device not found or inactive",
            Self::Parameters => "Invalid parameters",
            Self::Other(words) => words,
        }
    }

    /// lldpad's number for it.
    const fn code(&self) -> u8 {
        match self {
            Self::Device => 2,
            Self::Parameters => 3,
            Self::Other(_) => 1,
        }
    }
}

/// What is to be printed.
type Said = Result<String, Failure>;

impl Tool {
    /// Answers as `vdptool`.
    pub(super) async fn vdptool(mut self) -> anyhow::Result<ExitCode> {
        self.take_words();
        if self.version {
            return print(&Ok(version("vdptool")));
        }
        let client = Client::connect(&self.socket).await?;
        let request = vdp::Request::of(&self);
        let said = match (&request, self.set_tlv) {
            _ if !self.is_port(&client).await? => Err(Failure::Device),
            (Err(failure), _) => Err(failure.clone()),
            (Ok(request), true) => request.order(&client, self.wait).await?,
            (Ok(request), false) if self.get_tlv => request.query(&client, self.raw).await?,
            (Ok(_), false) => Err(Failure::Parameters),
        };
        if self.raw {
            let mut out = std::io::stdout();
            writeln!(out, "{}", vdp::raw_command(&self))?;
            writeln!(out, "{}", vdp::raw_answer(&self, &said))?;
            return Ok(if said.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        print(&said)
    }

    /// Answers as `lldptool`.
    pub(super) async fn lldptool(mut self) -> anyhow::Result<ExitCode> {
        self.take_words();
        if self.version {
            return print(&Ok(version("lldptool")));
        }
        let client = Client::connect(&self.socket).await?;
        if !self.is_port(&client).await? {
            return print(&Err(Failure::Device));
        }
        let said = if self.get_tlv && self.neighbor {
            neighbor::tlvs(&client, self.port(), self.scope(), self.tlv.as_deref()).await?
        } else if self.set_lldp || self.get_lldp {
            self.admin(&client).await?
        } else if self.set_tlv && self.tlv.as_deref() == Some("evb") {
            self.evb(&client).await?
        } else {
            Err(Failure::Other("not answered by evbd: see `evbd show` and the configuration".to_owned()))
        };
        print(&said)
    }

    /// Takes words that stand for options, and key=value without `-c`.
    fn take_words(&mut self) {
        for word in std::mem::take(&mut self.words) {
            match word.as_str() {
                "get-tlv" => self.get_tlv = true,
                "set-tlv" => self.set_tlv = true,
                "get-lldp" => self.get_lldp = true,
                "set-lldp" => self.set_lldp = true,
                _ => self.config.push(word),
            }
        }
    }

    fn port(&self) -> &str {
        self.interface.as_deref().unwrap_or_default()
    }

    fn scope(&self) -> &'static str {
        match self.agent.as_str() {
            "ncb" | "nearestcustomerbridge" => "nearest_customer",
            "nntpmrb" | "nearestnontpmrbridge" => "nearest_non_tpmr",
            _ => "nearest_bridge",
        }
    }

    /// Whether control protocols run on the interface.
    async fn is_port(&self, client: &Client) -> anyhow::Result<bool> {
        let rows = client.show(Table::Ports).await?;
        Ok(rows.iter().any(|row| is(row, "port", self.port()) && !is(row, "kind", "vm")))
    }

    /// adminStatus of an agent: it is as the configuration has it.
    async fn admin(&self, client: &Client) -> anyhow::Result<Said> {
        let rows = client.show(Table::Ports).await?;
        let row = rows.iter().find(|row| is(row, "port", self.port()));
        let agents = row.and_then(|row| row.get("lldp")?.as_array());
        let agent = agents.into_iter().flatten().find(|agent| is(agent, "scope", self.scope()));
        let now = match agent.map(|agent| cell(pick(agent, "admin_status"))).as_deref() {
            Some("rx_tx") => "rxtx",
            Some("rx_only") => "rx",
            Some("tx_only") => "tx",
            _ => "disabled",
        };
        if self.get_lldp {
            return Ok(Ok(format!("adminStatus={now}\n")));
        }
        let wanted = self.value("adminStatus").unwrap_or_default();
        Ok(if wanted == now {
            Ok(format!("adminStatus = {now}\n"))
        } else {
            let key = format!("it is {now}; set `admin` in [lldp.{}] of evbd's configuration", self.scope());
            Err(Failure::Other(key))
        })
    }

    /// What scripts switch on of EVB: it is on where it runs, and groups are as the configuration has them.
    async fn evb(&self, client: &Client) -> anyhow::Result<Said> {
        let rows = client.show(Table::Evb).await?;
        let Some(row) = rows.iter().find(|row| is(row, "port", self.port())) else {
            return Ok(Err(Failure::Other("EVB runs on uplinks and station ports".to_owned())));
        };
        let groups = pick(row, "groups_wanted").as_bool() == Some(true);
        Ok(match self.config.iter().find_map(|pair| pair.split_once('=')) {
            Some(("enableTx", "yes")) => Ok("enableTx = yes\n".to_owned()),
            Some(("evbgpid", wanted)) if (wanted == "yes" || wanted == "true") == groups => {
                Ok(format!("evbgpid = {wanted}\n"))
            }
            Some(("evbgpid", _)) => {
                Err(Failure::Other(format!("set `groups = {}` in [evb] of evbd's configuration", !groups)))
            }
            _ => Err(Failure::Parameters),
        })
    }

    /// The value of a key, if it is given.
    fn value(&self, key: &str) -> Option<&str> {
        self.config.iter().filter_map(|pair| pair.split_once('=')).find(|(k, _)| *k == key).map(|(_, v)| v)
    }
}

fn is(row: &Value, key: &str, text: &str) -> bool {
    row.get(key).and_then(Value::as_str) == Some(text)
}

fn version(tool: &str) -> String {
    format!("{tool} of evbd {}\n", env!("CARGO_PKG_VERSION"))
}

fn print(said: &Said) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout();
    match said {
        Ok(text) => {
            write!(out, "{text}")?;
            Ok(ExitCode::SUCCESS)
        }
        Err(failure) => {
            writeln!(out, "FAILED: {}", failure.words())?;
            Ok(ExitCode::FAILURE)
        }
    }
}
