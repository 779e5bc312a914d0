//! From the octets of a frame to words: one line, fields, or JSON. For people who look at a wire.
//!
//! Reads every PDU the project speaks (LLDP with all TLVs it knows, ECP, VDP and PE-CSP, the probe of reflective relay) and
//! names what came before them (ECP and VDP of draft 0.2). Total: whatever the octets, something true is said of them,
//! and what cannot be read is shown with its place and the reason.

mod draft;
mod ecpdu;
mod field;
mod hex;
mod lldpdu;
mod pcap;

use std::fmt;

use ether::{EtherType, MacAddr, Tag, mac};
use serde::Serialize;

pub(crate) use self::field::hex as digits;
pub use self::{
    field::{Field, Fields, Value},
    hex::{HexError, frames},
    pcap::{Capture, CaptureError, Record},
};

/// What a frame says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decoded {
    /// What it is.
    pub protocol: Protocol,
    /// All of it in one line, without the time.
    pub line: String,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
    /// Addresses and tags, then what stands in the PDU.
    pub fields: Fields,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// LLDP, whatever its TLVs are about.
    Lldp,
    /// ECP with a VDPDU, or the acknowledgement of one.
    Vdp,
    /// ECP with a PDU of port extension, or the acknowledgement of one.
    Csp,
    /// ECP of another upper layer, or one that cannot be read.
    Ecp,
    /// ECP of draft 0.2, which carries VDP of draft 0.2.
    EcpDraft,
    /// A probe of reflective relay.
    Probe,
    /// Anything else.
    Foreign,
    /// No Ethernet frame.
    Malformed,
}

impl Protocol {
    /// Whether this project knows it.
    #[must_use]
    pub const fn is_ours(self) -> bool {
        !matches!(self, Self::Foreign)
    }
}

/// Something that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// What cannot be read: `"Ethernet"`, `"LLDP"`, `"ECP"`, `"VDP"`, `"PE-CSP"`.
    pub layer: &'static str,
    /// Where it starts, in octets from the start of the frame.
    pub offset: usize,
    /// Why. Offsets in these words count from the start of the PDU.
    pub reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed {} at octet {}: {}", self.layer, self.offset, self.reason)
    }
}

/// Reads `frame`, which starts at the destination address and has no check sequence.
#[must_use]
pub fn decode(frame: &[u8]) -> Decoded {
    match Head::parse(frame) {
        Ok(head) => head.decode(),
        Err(fault) => {
            let mut fields = Fields::default();
            fields.size("length", frame.len());
            fields.text("octets", digits(frame));
            let line = format!("{fault}, {} octets {}", frame.len(), digits(frame));
            Decoded { protocol: Protocol::Malformed, line, faults: vec![fault], fields }
        }
    }
}

/// Reads the first octets of a frame that had `length`.
#[must_use]
pub fn decode_cut(frame: &[u8], length: usize) -> Decoded {
    let mut decoded = decode(frame);
    if frame.len() < length {
        decoded.line += &format!(" [captured only {} of {length} octets]", frame.len());
        decoded.fields.size("captured", frame.len());
    }
    decoded
}

/// What a PDU comes to.
#[derive(Default)]
struct Body {
    words: Vec<String>,
    faults: Vec<Fault>,
    fields: Fields,
}

impl Body {
    fn fault(&mut self, layer: &'static str, offset: usize, reason: impl fmt::Display) {
        let fault = Fault { layer, offset, reason: reason.to_string() };
        self.words.push(fault.to_string());
        self.faults.push(fault);
    }
}

/// A frame up to its payload.
struct Head<'a> {
    dst: MacAddr,
    src: MacAddr,
    tags: Vec<Tag>,
    ethertype: EtherType,
    /// Where the payload starts.
    offset: usize,
    payload: &'a [u8],
}

impl<'a> Head<'a> {
    fn parse(frame: &'a [u8]) -> Result<Self, Fault> {
        let fault = |offset, reason: String| Fault { layer: "Ethernet", offset, reason };
        let short = || fault(0, format!("{} octets cannot hold its header", frame.len()));
        let (dst, rest) = frame.split_first_chunk::<6>().ok_or_else(short)?;
        let (src, rest) = rest.split_first_chunk::<6>().ok_or_else(short)?;
        let (mut ethertype, mut payload) = two(rest).ok_or_else(short)?;
        let mut tags = Vec::new();
        while EtherType(ethertype).is_vlan() {
            let at = frame.len() - payload.len() - 2;
            let (tci, rest) = two(payload).ok_or_else(short)?;
            let reserved = || fault(at, "tag with the reserved VID 4095".to_owned());
            tags.push(Tag::from_tci(EtherType(ethertype), tci).ok_or_else(reserved)?);
            (ethertype, payload) = two(rest).ok_or_else(short)?;
        }
        Ok(Self {
            dst: MacAddr::from(*dst),
            src: MacAddr::from(*src),
            tags,
            ethertype: EtherType(ethertype),
            offset: frame.len() - payload.len(),
            payload,
        })
    }

    fn decode(&self) -> Decoded {
        let (protocol, name, body) = match self.ethertype {
            EtherType::LLDP => (Protocol::Lldp, "LLDP", lldpdu::read(self)),
            EtherType::ECP => {
                let (protocol, body) = ecpdu::read(self);
                (protocol, "ECP", body)
            }
            draft::ETHERTYPE => match draft::read(self) {
                Some(body) => (Protocol::EcpDraft, "ECP draft 0.2", body),
                None => (Protocol::Foreign, "foreign", self.foreign()),
            },
            EtherType::PROBE if self.dst == mac::PROBE_GROUP => {
                (Protocol::Probe, "probe of reflective relay", Body::default())
            }
            _ => (Protocol::Foreign, "foreign", self.foreign()),
        };
        let tags: String = self.tags.iter().map(|tag| format!(" {}", tag_words(tag))).collect();
        let words: String = body.words.iter().map(|words| format!(", {words}")).collect();
        let mut fields = Fields::default();
        fields.text("dst", self.dst);
        fields.text("src", self.src);
        if !self.tags.is_empty() {
            fields.push("tags", Value::List(self.tags.iter().map(tag_fields).collect()));
        }
        fields.text("ethertype", self.ethertype);
        fields.0.extend(body.fields.0);
        let line = format!("{} > {}{tags} {name}{words}", self.src, self.dst);
        Decoded { protocol, line, faults: body.faults, fields }
    }

    fn foreign(&self) -> Body {
        let mut body = Body::default();
        let kind = if self.ethertype.0 < LENGTHS {
            format!("802.3 length {}", self.ethertype.0)
        } else {
            format!("ethertype {}", self.ethertype)
        };
        body.words.push(format!("{kind}, {} octets", self.payload.len()));
        body.fields.size("length", self.payload.len());
        body
    }
}

fn two(octets: &[u8]) -> Option<(u16, &[u8])> {
    octets.split_first_chunk::<2>().map(|(number, rest)| (u16::from_be_bytes(*number), rest))
}

fn tag_words(tag: &Tag) -> String {
    let kind = if tag.tpid == EtherType::S_VLAN { "svlan" } else { "vlan" };
    let dei = if tag.dei { " dei" } else { "" };
    format!("{kind} {} pcp {}{dei}", tag.vid.map_or(0, ether::Vid::get), tag.pcp)
}

fn tag_fields(tag: &Tag) -> Fields {
    let mut fields = Fields::default();
    fields.text("tpid", tag.tpid);
    fields.number("vid", tag.vid.map_or(0, ether::Vid::get));
    fields.number("pcp", tag.pcp.get());
    fields.flag("dei", tag.dei);
    fields
}

/// An EtherType below this is the length of an 802.3 frame.
const LENGTHS: u16 = 1536;

#[cfg(test)]
mod tests;
