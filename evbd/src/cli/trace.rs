//! `evbd trace`: what the relay of a running daemon would do with a frame.

use std::{io::Write, path::PathBuf};

use anyhow::Context;
use clap::Args;
use ether::{ECid, ETag, EtherType, MacAddr, Pcp, Tag, Vid};
use serde_json::{Value, json};

use super::show::{cell, pick};
use crate::{
    api::{Client, DEFAULT_SOCKET, SCHEMA},
    decode,
};

/// Explain each step of the relay for a frame, as if it came in on a port now. Nothing is learnt, counted or sent.
#[derive(Args)]
pub(super) struct Trace {
    /// The interface it comes in on.
    port: String,
    /// The frame as hexadecimal digits, from the destination address on.
    #[arg(required_unless_present = "destination", conflicts_with_all = ["destination", "source"])]
    frame: Option<String>,
    /// Instead of a frame, its destination address.
    #[arg(long = "to", value_name = "MAC")]
    destination: Option<MacAddr>,
    /// Its source address.
    #[arg(long = "from", value_name = "MAC", requires = "destination")]
    source: Option<MacAddr>,
    /// Its VLAN; untagged when left out.
    #[arg(long, requires = "destination", value_parser = vlan)]
    vlan: Option<Vid>,
    /// Its priority, 0 to 7.
    #[arg(long, default_value_t = 0, requires = "vlan", value_parser = clap::value_parser!(u8).range(0..8))]
    priority: u8,
    /// Its EtherType, hexadecimal.
    #[arg(long, default_value = "0800", requires = "destination", value_parser = ethertype)]
    ethertype: EtherType,
    /// The E-channel it comes by, on a cascade or upstream port with E-TAGs.
    #[arg(long, requires = "destination", value_parser = channel)]
    channel: Option<ECid>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Control socket of the daemon.
    #[arg(long, value_name = "PATH", env = "EVBD_SOCKET", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
}

impl Trace {
    /// Tells the frame's way.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let frame = self.frame()?;
        let trace = Client::connect(&self.socket).await?.trace(&self.port, &frame).await?;
        let text = if self.json {
            serde_json::to_string_pretty(&json!({ "schema": SCHEMA, "trace": trace }))?
        } else {
            told(&trace)
        };
        writeln!(std::io::stdout(), "{text}")?;
        Ok(())
    }

    fn frame(&self) -> anyhow::Result<Vec<u8>> {
        if let Some(text) = &self.frame {
            let mut frames = decode::frames(text);
            let first = frames.next().context("no hexadecimal digits: give the octets of a frame")?;
            anyhow::ensure!(frames.next().is_none(), "more than one frame: give one");
            return Ok(first?);
        }
        let to = self.destination.context("give a frame, or --to and --from")?;
        let from = self.source.context("give the frame's source with --from")?;
        let mut frame = [to.octets(), from.octets()].concat();
        if let Some(ecid) = self.channel {
            let pcp = Pcp::new(self.priority).unwrap_or_default();
            frame.extend(ETag { pcp, dei: ether::Dei::default(), ingress: None, ecid }.to_bytes());
        }
        if let Some(vid) = self.vlan {
            let tag = Tag {
                tpid: EtherType::C_VLAN,
                pcp: Pcp::new(self.priority).unwrap_or_default(),
                dei: ether::Dei::default(),
                vid: Some(vid),
            };
            frame.extend(EtherType::C_VLAN.0.to_be_bytes());
            frame.extend(tag.tci().to_be_bytes());
        }
        frame.extend(self.ethertype.0.to_be_bytes());
        frame.resize(frame.len() + 46, 0);
        Ok(frame)
    }
}

fn vlan(text: &str) -> Result<Vid, String> {
    text.parse().ok().and_then(Vid::new).ok_or_else(|| "a VLAN is a number from 1 to 4094".to_owned())
}

fn channel(text: &str) -> Result<ECid, String> {
    text.parse()
        .ok()
        .and_then(ECid::new)
        .ok_or_else(|| "an E-channel is a number from 1 to 4194302".to_owned())
}

fn ethertype(text: &str) -> Result<EtherType, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    u16::from_str_radix(digits, 16)
        .map(EtherType)
        .map_err(|_| "an EtherType is up to four hexadecimal digits".to_owned())
}

/// A trace, for eyes.
fn told(trace: &Value) -> String {
    let items = |field: &str| trace.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut lines: Vec<String> = items("words").iter().map(|word| format!("  {}", cell(word))).collect();
    lines.push(cell(pick(trace, "outcome")));
    lines.extend(items("copies").iter().map(|copy| {
        let tagged = match pick(copy, "vlan") {
            Value::Null => "untagged".to_owned(),
            vlan => format!("in VLAN {}, priority {}", cell(vlan), cell(pick(copy, "priority"))),
        };
        let reflected = if *pick(copy, "reflected") == json!(true) { ", reflected" } else { "" };
        let channel = match pick(copy, "channel") {
            Value::Null => String::new(),
            channel => format!(", by E-channel {} of {}", cell(channel), cell(pick(copy, "link"))),
        };
        format!("  to {} {tagged}{reflected}{channel}", cell(pick(copy, "port")))
    }));
    let fast = match pick(trace, "fast_path_because") {
        Value::Null => "fast path: yes, frames like it".to_owned(),
        slow => format!("fast path: no, {}", cell(slow)),
    };
    lines.push(fast);
    lines.join("\n")
}
