//! VSIs in the words of vdptool.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};
use vdp::{Command, FilterEntry, FilterInfo, Hints, ManagerId, TypeId, TypeVersion, VsiId};

use super::{Failure, Said, Tool, is};
use crate::{
    api::{Client, Table},
    cli::show::{cell, pick},
    config::VsiConfig,
    order::{VsiOrder, Which},
};

/// What a call names of a VSI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    command: Command,
    mode: String,
    manager: Option<String>,
    type_id: Option<u32>,
    version: Option<u8>,
    id: Option<VsiId>,
    filter: Vec<FilterEntry>,
    hints: Hints,
}

impl Request {
    /// Reads `-V` and `-c`.
    pub(super) fn of(tool: &Tool) -> Result<Self, Failure> {
        let mode = tool.tlv.clone().ok_or(Failure::Parameters)?;
        let command = match mode.as_str() {
            "assoc" => Command::Associate,
            "preassoc" => Command::PreAssociate,
            "preassoc-rr" => Command::PreAssociateRr,
            "deassoc" => Command::DeAssociate,
            _ => return Err(Failure::Parameters),
        };
        let mut request = Self {
            command,
            mode,
            manager: None,
            type_id: None,
            version: None,
            id: None,
            filter: Vec::new(),
            hints: Hints::default(),
        };
        for pair in &tool.config {
            request.take(pair).ok_or(Failure::Parameters)?;
        }
        Ok(request)
    }

    fn take(&mut self, pair: &str) -> Option<()> {
        let (key, value) = pair.split_once('=')?;
        match key {
            "mode" if value == self.mode => {}
            "mgrid2" => self.manager = Some(value.to_owned()),
            "typeid" => self.type_id = Some(number(value)?),
            "typeidver" => self.version = Some(u8::try_from(number(value)?).ok()?),
            "uuid" => self.id = Some(value.parse().ok()?),
            "hints" => {
                self.hints = match value {
                    "none" => Hints::default(),
                    "from" => Hints { suspended: true, ..Hints::default() },
                    "to" => Hints { migrating: true, ..Hints::default() },
                    _ => return None,
                };
            }
            "filter" => {
                for line in value.split(',') {
                    self.filter.push(filter(line)?);
                }
            }
            // What Cisco's agents say of the VM: no bridge of ours asks for it.
            "oui" => {}
            _ => return None,
        }
        Some(())
    }

    /// Gives the order, and tells what came of it if that is waited for: nothing, if nothing does in five seconds.
    pub(super) async fn order(&self, client: &Client, wait: bool) -> anyhow::Result<Said> {
        let Some((id, order)) = self.as_order() else { return Ok(Err(Failure::Parameters)) };
        let known = client.show(Table::Vsi).await?.iter().any(|row| is(row, "id", &id.to_string()));
        let order = if known && self.command == Command::DeAssociate {
            VsiOrder { vsi: Which::Known(id.to_string()), ..order }
        } else {
            order
        };
        let deadline = Instant::now() + PATIENCE;
        let mut events = client.follow_new().await?;
        let taken = match client.order(&order).await {
            Ok(taken) => taken,
            Err(error) => return Ok(Err(Failure::Other(error.to_string()))),
        };
        if !wait {
            return Ok(Ok(String::new()));
        }
        loop {
            let Ok(event) = timeout_at(deadline, events.next()).await else { return Ok(Ok(String::new())) };
            let event = event?;
            let later = pick(&event, "number").as_u64() > pick(&taken, "number").as_u64();
            if later
                && pick(&event, "id") == pick(&taken, "id")
                && let Some(said) = self.response(&id, &event)
            {
                return Ok(Ok(said));
            }
        }
    }

    fn as_order(&self) -> Option<(VsiId, VsiOrder)> {
        let id = self.id?;
        let filter = FilterInfo::new(self.filter.clone()).ok()?;
        // No interface of ours has its frames.
        let interface = match filter.entries().first()?.mac {
            Some(mac) => format!("vm:{:012x}", ether::mac::to_u64(mac)),
            None => {
                let [a, b, c, d, e, f, ..] = id.octets();
                format!("vm:{a:02x}{b:02x}{c:02x}{d:02x}{e:02x}{f:02x}")
            }
        };
        let config = VsiConfig {
            name: interface.clone(),
            interface,
            id,
            manager: manager(self.manager.as_deref().unwrap_or("0"))?,
            type_id: TypeId::new(self.type_id.unwrap_or(0))?,
            type_version: TypeVersion(self.version.unwrap_or(0)),
            filter,
            ips: Vec::new(),
            automatic: false,
            transient: true,
            channel: None,
        };
        let (command, hints) = (self.command, self.hints);
        Some((id, VsiOrder { command, vsi: Which::Given(config), hints, port: None }))
    }

    /// What an event says in vdptool's words; the filter is the bridge's, its group 0 as lldpad prints it.
    fn response(&self, id: &VsiId, event: &Value) -> Option<String> {
        let what = pick(event, "what").as_str()?;
        let granted = pick(event, "filter").as_array().cloned().unwrap_or_default();
        let own: Vec<String> = self
            .filter
            .iter()
            .map(|line| spell(line.vid.map_or(0, |vid| vid.get()), line.mac.map(|mac| mac.to_string()), 0))
            .collect();
        let (reason, filters) = match (what, self.command) {
            ("associated", Command::Associate)
            | ("pre_associated", Command::PreAssociate | Command::PreAssociateRr) => {
                (None, granted.iter().map(|line| spelled(line, false)).collect())
            }
            ("gone", Command::DeAssociate) => (None, own),
            ("refused" | "kept", _) => (Some(cell(pick(event, "words"))), own),
            _ => return None,
        };
        let mut text = format!("Response from VDP\n{}", self.head(id));
        if let Some(reason) = reason {
            text += &format!("\tError returned by Bridge: {reason}\n");
        }
        for filter in filters {
            text += &format!("\tfilter = {filter}\n");
        }
        Some(text)
    }

    fn head(&self, id: &VsiId) -> String {
        format!(
            "\tmode = {}\n\tmgrid2 = {}\n\ttypeid = {}\n\ttypeidver = {}\n\tuuid = {id}\n",
            self.mode,
            self.manager.as_deref().unwrap_or("0"),
            self.type_id.unwrap_or(0),
            self.version.unwrap_or(0)
        )
    }

    /// The VSIs there are that fit, a block each, or in the raw form.
    pub(super) async fn query(&self, client: &Client, raw: bool) -> anyhow::Result<Said> {
        let rows = client.show(Table::Vsi).await?;
        let fitting = rows.iter().filter(|row| self.fits(row));
        let texts = fitting.enumerate().map(|(place, row)| {
            let pairs = pairs(&self.mode, row);
            if raw {
                let all: String = pairs.iter().map(|(key, value)| argument(key, value)).collect();
                format!("{:04x}{all}", all.len())
            } else {
                let lines: String = pairs.iter().map(|(key, value)| format!("\t{key} = {value}\n")).collect();
                format!("VSI  {place}:\n{lines}")
            }
        });
        Ok(Ok(texts.collect()))
    }

    fn fits(&self, row: &Value) -> bool {
        let wanted = match self.command {
            Command::Associate => "associate",
            Command::PreAssociate => "pre_associate",
            Command::PreAssociateRr => "pre_associate_rr",
            Command::DeAssociate => "de_associate",
        };
        let state = pick(row, "confirmed").as_str().or_else(|| pick(row, "wanted").as_str());
        state == Some(wanted)
            && self.id.is_none_or(|id| is(row, "id", &id.to_string()))
            && self.type_id.is_none_or(|type_id| pick(row, "type_id") == &json!(type_id))
            && self.version.is_none_or(|version| pick(row, "version") == &json!(version))
            && self
                .manager
                .as_deref()
                .and_then(manager)
                .is_none_or(|manager| pick(row, "manager") == &json!(manager))
    }
}

/// A VSI's keys and values; `hints` is the status of the bridge's last answer, 255 before there is one.
fn pairs(mode: &str, row: &Value) -> Vec<(&'static str, String)> {
    let manager = serde_json::from_value::<ManagerId>(pick(row, "manager").clone()).unwrap_or_default();
    let manager = match manager.0 {
        [first, rest @ ..] if rest == [0; 15] => first.to_string(),
        _ => cell(pick(row, "manager")),
    };
    let status = if pick(row, "confirmed").is_null() { "255" } else { "0" };
    let head = [
        ("mode", mode.to_owned()),
        ("mgrid2", manager),
        ("typeid", cell(pick(row, "type_id"))),
        ("typeidver", cell(pick(row, "version"))),
        ("uuid", cell(pick(row, "id"))),
        ("hints", status.to_owned()),
    ];
    let filters = pick(row, "filter").as_array().cloned().unwrap_or_default();
    head.into_iter().chain(filters.iter().map(|line| ("filter", spelled(line, true)))).collect()
}

/// A line of a filter as JSON has it.
fn spelled(line: &Value, with_group: bool) -> String {
    let vid = pick(line, "vid").as_u64().or_else(|| pick(line, "vlan").as_u64()).unwrap_or(0);
    let group = pick(line, "group").as_u64().filter(|_| with_group).unwrap_or(0);
    let mac = pick(line, "mac").as_str().map(str::to_owned);
    spell(u16::try_from(vid).unwrap_or(0), mac, group)
}

fn spell(vid: u16, mac: Option<String>, group: u64) -> String {
    format!("{vid}-{}-{group}", mac.unwrap_or_default())
}

/// `VLAN`, `VLAN-MAC`, `VLAN-MAC-GROUP` or `VLAN--GROUP`; VLAN 0 has the bridge choose.
fn filter(line: &str) -> Option<FilterEntry> {
    let mut parts = line.splitn(3, '-');
    let vlan = u16::try_from(number(parts.next()?)?).ok()?;
    let mac = parts.next().filter(|mac| !mac.is_empty());
    let group = parts.next().filter(|group| *group != "0");
    let line = json!({ "vlan": (vlan != 0).then_some(vlan), "mac": mac, "group": group.map(number) });
    let keys: crate::config::FilterKeys = serde_json::from_value(line).ok()?;
    (group.is_none() || keys.group.is_some()).then(|| keys.into())
}

/// Numbers as lldpad reads them.
fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// A number of one octet, or as evbd spells it.
fn manager(text: &str) -> Option<ManagerId> {
    match text.parse::<u8>() {
        Ok(number) => Some(ManagerId::legacy(number)),
        Err(_) => text.parse().ok(),
    }
}

/// What vdptool sends to lldpad for this call.
pub(super) fn raw_command(tool: &Tool) -> String {
    let pairs = tool.config.iter().filter_map(|pair| pair.split_once('='));
    let arguments: String = pairs.map(|(key, value)| argument(key, value)).collect();
    format!("M000080c4{}02{:08x}{arguments}", about(tool), kind(tool))
}

/// What lldpad answers.
pub(super) fn raw_answer(tool: &Tool, said: &Said) -> String {
    match said {
        Ok(said) => format!("R00{}{:08x}{said}", about(tool), kind(tool)),
        Err(failure) => format!("R{:02x}{}", failure.code(), about(tool)),
    }
}

/// Command, options and interface.
fn about(tool: &Tool) -> String {
    let port = tool.port();
    format!("C3{}00000015{:02x}{port}", if tool.set_tlv { "02" } else { "01" }, port.len())
}

fn kind(tool: &Tool) -> u32 {
    match tool.tlv.as_deref() {
        Some("preassoc") => 1,
        Some("preassoc-rr") => 2,
        Some("assoc") => 3,
        _ => 4,
    }
}

/// A key with two digits of length, a value with four.
fn argument(key: &str, value: &str) -> String {
    format!("{:02x}{key}{:04x}{value}", key.len(), value.len())
}

const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
