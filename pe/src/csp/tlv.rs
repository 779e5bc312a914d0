//! What the TLVs behind a command say, and their octets by a code book.

use core::fmt;

use ether::{Dei, Pcid, Pcp, Vid};
use lldp::tlv::{self, TlvType};
use serde::{Deserialize, Serialize};

use super::{
    codebook::{CodeBook, TlvKind},
    layout::{Layout, Reader, Writer},
    name::{Name, Named},
};
use crate::marker;

/// A TLV behind the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tlv {
    /// What a port extender can do.
    Capability(Capability),
    /// How a port works.
    Parameters(PortParameters),
    /// Ports.
    Ports(Vec<PortItem>),
    /// VLANs of the port whose parameters came before.
    Vids(Vec<VidItem>),
    /// Whether a port's link is up.
    Status(PortStatus),
    /// What a port has counted.
    Counters(Box<Counters>),
    /// A name.
    Name(Named, Name),
    /// One the book does not know, kept as received.
    Unknown {
        /// Its type, 0..=127.
        code: u8,
        /// Its value.
        info: Vec<u8>,
    },
}

/// What a port extender can do; a MIB has names and ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Capability {
    /// Maps PCP per port.
    pub pcp: bool,
    /// Other rows of the PCP table than 8P0D.
    pub row: bool,
    /// Uses DEI.
    pub dei: bool,
    /// Congestion notification.
    pub cn: bool,
    /// Priority-based flow control.
    pub pfc: bool,
    /// E-channels of single ports, 0..=1048575.
    pub channels: u32,
    /// E-channels with several members, 0..=3145727.
    pub groups: u32,
    /// Traffic classes, 1..=8.
    pub classes: u8,
    /// VLANs a port may have untagged, up to 4094.
    pub untagged: u16,
}

impl Default for Capability {
    /// What evbd does: all 12-bit identifiers of ports and groups, PCP and DEI mapping.
    fn default() -> Self {
        Self {
            pcp: true,
            row: true,
            dei: true,
            cn: false,
            pfc: true,
            channels: 4094,
            groups: 12288,
            classes: 8,
            untagged: 4094,
        }
    }
}

/// What each PCP of a tag means, PCP 0 first: priority, drop eligible.
pub type Decode = [(Pcp, Dei); 8];
/// The PCP and DEI of each priority's tag: of priority 0, of priority 0 drop eligible, of priority 1, …
pub type Encode = [(Pcp, Dei); 16];

/// How a port of a port extender works, as its controlling bridge wants it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortParameters {
    /// Which port.
    pub pcid: Pcid,
    /// DEI of a tag counts, and is set.
    pub use_dei: bool,
    /// Frames whose tag cannot say that they are drop eligible are not sent with it.
    pub require_drop_encoding: bool,
    /// Administratively up.
    pub admin_up: bool,
    /// Nothing passes either way.
    pub blocked: bool,
    /// Priority of frames without a tag.
    pub default_priority: Pcp,
    /// What each PCP of a tag means, PCP 0 first: priority, drop eligible.
    pub decode: Decode,
    /// The PCP and DEI of each priority's tag: of priority 0, of priority 0 drop eligible, of priority 1, …
    pub encode: Encode,
    /// VLANs sent without a tag. They travel in a TLV of their own.
    pub untagged: Vec<Vid>,
}

impl PortParameters {
    /// Parameters that change no priority, of a port that passes nothing yet.
    #[must_use]
    pub fn new(pcid: Pcid) -> Self {
        let (decode, encode) = plain();
        Self {
            pcid,
            use_dei: true,
            require_drop_encoding: false,
            admin_up: false,
            blocked: true,
            default_priority: Pcp::from_low_bits(0),
            decode,
            encode,
            untagged: Vec::new(),
        }
    }

    /// Whether frames pass.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.admin_up && !self.blocked
    }
}

/// Tables by which no priority changes, in the shape of [`PortParameters::decode`] and [`PortParameters::encode`].
#[must_use]
pub fn plain() -> (Decode, Encode) {
    let mut decode = [(Pcp::from_low_bits(0), false); 8];
    for (pcp, entry) in (0..).zip(&mut decode) {
        entry.0 = Pcp::from_low_bits(pcp);
    }
    let mut encode = [(Pcp::from_low_bits(0), false); 16];
    for (index, entry) in (0u8..).zip(&mut encode) {
        *entry = (Pcp::from_low_bits(index >> 1), index & 1 == 1);
    }
    (decode, encode)
}

/// A port in an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortItem {
    /// In Create: the port is a cascade port. In Register: the port leaves the channel.
    pub flag: bool,
    /// The port extender's own number of the port, or its PCID; 31 bits.
    pub id: u32,
}

/// A VLAN in an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VidItem {
    /// Sent without a tag.
    pub untagged: bool,
    /// Its number as received, 0..=4095.
    pub vid: u16,
}

/// Whether a port's link is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PortStatus {
    /// Which port.
    pub pcid: Pcid,
    /// Frames can pass.
    pub up: bool,
    /// Mbit/s; 0 if not known.
    pub speed: u32,
}

/// What a port has counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Which port.
    pub pcid: Pcid,
    /// Received octets, unicast, multicast, broadcast, drops, errors, then the same sent.
    pub values: [u64; 12],
}

impl Tlv {
    /// Reads the value of a TLV of type `code`; `None` if its length or what it says cannot be.
    pub(crate) fn parse(book: &CodeBook, code: u8, value: &[u8]) -> Option<Self> {
        let known = book.kind(code).filter(|kind| *kind != TlvKind::Command);
        let Some((kind, layout)) = known.and_then(|kind| Some((kind, book.layout(kind)?))) else {
            return Some(Self::Unknown { code, info: value.to_vec() });
        };
        if kind == TlvKind::Name {
            return name(layout, code, value);
        }
        let length = usize::from(layout.length);
        let items = value.len() / length.max(1);
        if value.len() != items * length || items == 0 || items > 1 && !kind.is_list() {
            return None;
        }
        let read = Reader { layout, octets: value };
        let items = value.chunks_exact(length.max(1)).map(|octets| Reader { layout, octets });
        Some(match kind {
            TlvKind::Command | TlvKind::Name => return None,
            TlvKind::Capability => Self::Capability(Capability {
                pcp: read.flag("pcp"),
                row: read.flag("row"),
                dei: read.flag("dei"),
                cn: read.flag("cn"),
                pfc: read.flag("pfc"),
                channels: read.u32("channels"),
                groups: read.u32("groups"),
                classes: read.u8("classes"),
                untagged: read.u16("untagged"),
            }),
            TlvKind::PortParameters => Self::Parameters(parameters(&read)?),
            TlvKind::PortArray => Self::Ports(
                items.map(|item| PortItem { flag: item.flag("flag"), id: item.u32("id") }).collect(),
            ),
            TlvKind::VidArray => Self::Vids(
                items.map(|item| VidItem { untagged: item.flag("untagged"), vid: item.u16("vid") }).collect(),
            ),
            TlvKind::PortStatus => Self::Status(PortStatus {
                pcid: Pcid::new(read.u32("pcid"))?,
                up: read.flag("oper"),
                speed: read.u32("speed"),
            }),
            TlvKind::Statistics => {
                let mut values = [0; 12];
                for (index, value) in (0..).zip(&mut values) {
                    *value = read.nth("counters", index);
                }
                Self::Counters(Box::new(Counters { pcid: Pcid::new(read.u32("pcid"))?, values }))
            }
        })
    }

    /// Appends the TLV to `out`; a list longer than one TLV holds becomes several.
    pub(crate) fn put(&self, book: &CodeBook, out: &mut Vec<u8>) {
        match self {
            Self::Capability(capability) => fixed(book, TlvKind::Capability, out, |to| {
                to.put("pcp", capability.pcp).put("row", capability.row).put("dei", capability.dei);
                to.put("cn", capability.cn).put("pfc", capability.pfc).put("channels", capability.channels);
                to.put("groups", capability.groups).put("classes", capability.classes);
                to.put("untagged", capability.untagged);
            }),
            Self::Parameters(parameters) => {
                fixed(book, TlvKind::PortParameters, out, |to| put_parameters(parameters, to));
            }
            Self::Ports(items) => list(book, TlvKind::PortArray, items, out, |item, to| {
                to.put("flag", item.flag).put("id", item.id);
            }),
            Self::Vids(items) => list(book, TlvKind::VidArray, items, out, |item, to| {
                to.put("untagged", item.untagged).put("vid", item.vid);
            }),
            Self::Status(PortStatus { pcid, up, speed }) => fixed(book, TlvKind::PortStatus, out, |to| {
                to.put("pcid", pcid.get()).put("oper", *up).put("speed", *speed);
            }),
            Self::Counters(counters) => fixed(book, TlvKind::Statistics, out, |to| {
                to.put("pcid", counters.pcid.get());
                for (index, value) in (0..).zip(counters.values) {
                    to.put_nth("counters", index, value);
                }
            }),
            Self::Name(of, name) => {
                let Some(layout) = book.layout(TlvKind::Name) else { return };
                let mut head = Writer::new(layout);
                head.put("oui", oui()).put("of", of.code());
                head.octets.extend(name.as_str().as_bytes());
                emit(layout.code, &head.octets, out);
            }
            Self::Unknown { code, info } => emit(*code, info, out),
        }
    }
}

/// Another organization's TLV is kept as it is.
fn name(layout: &Layout, code: u8, value: &[u8]) -> Option<Tlv> {
    let (octets, text) = value.split_at_checked(usize::from(layout.length))?;
    let read = Reader { layout, octets };
    let of = Named::of(read.u8("of")).filter(|_| read.u32("oui") == oui());
    match of {
        Some(of) => Some(Tlv::Name(of, Name::parse(text)?)),
        None => Some(Tlv::Unknown { code, info: value.to_vec() }),
    }
}

fn oui() -> u32 {
    let [a, b, c] = marker::OUI;
    u32::from_be_bytes([0, a, b, c])
}

fn parameters(read: &Reader<'_>) -> Option<PortParameters> {
    let pair = |bits: u64| {
        let bits = u8::try_from(bits & 0x0f).unwrap_or(0);
        (Pcp::from_low_bits(bits >> 1), bits & 1 == 1)
    };
    let mut read_in = PortParameters {
        use_dei: read.flag("use_dei"),
        require_drop_encoding: read.flag("require_drop_encoding"),
        admin_up: read.flag("admin_up"),
        blocked: read.flag("blocked"),
        default_priority: Pcp::from_low_bits(read.u8("default_priority")),
        ..PortParameters::new(Pcid::new(read.u32("pcid"))?)
    };
    for (index, entry) in (0..).zip(&mut read_in.decode) {
        *entry = pair(read.nth("decode", index));
    }
    for (index, entry) in (0..).zip(&mut read_in.encode) {
        *entry = pair(read.nth("encode", index));
    }
    Some(read_in)
}

fn put_parameters(parameters: &PortParameters, to: &mut Writer<'_>) {
    let bits = |(pcp, dei): (Pcp, Dei)| pcp.get() << 1 | u8::from(dei);
    to.put("pcid", parameters.pcid.get()).put("use_dei", parameters.use_dei);
    to.put("require_drop_encoding", parameters.require_drop_encoding);
    to.put("admin_up", parameters.admin_up).put("blocked", parameters.blocked);
    to.put("default_priority", parameters.default_priority.get());
    for (index, entry) in (0..).zip(parameters.decode) {
        to.put_nth("decode", index, bits(entry));
    }
    for (index, entry) in (0..).zip(parameters.encode) {
        to.put_nth("encode", index, bits(entry));
    }
}

/// Appends a TLV of fixed length.
pub(crate) fn fixed(book: &CodeBook, kind: TlvKind, out: &mut Vec<u8>, fill: impl FnOnce(&mut Writer<'_>)) {
    let Some(layout) = book.layout(kind) else { return };
    let mut writer = Writer::new(layout);
    fill(&mut writer);
    emit(layout.code, &writer.octets, out);
}

fn list<T>(
    book: &CodeBook,
    kind: TlvKind,
    items: &[T],
    out: &mut Vec<u8>,
    fill: impl Fn(&T, &mut Writer<'_>),
) {
    let Some(layout) = book.layout(kind) else { return };
    let most = tlv::MAX_VALUE / usize::from(layout.length).max(1);
    for part in items.chunks(most.max(1)) {
        let mut value = Vec::new();
        for item in part {
            let mut writer = Writer::new(layout);
            fill(item, &mut writer);
            value.append(&mut writer.octets);
        }
        emit(layout.code, &value, out);
    }
}

fn emit(code: u8, value: &[u8], out: &mut Vec<u8>) {
    // What was received or made by a checked layout is not too long.
    let _ = tlv::put(out, TlvType::from_low_bits(code), value);
}

impl fmt::Display for Tlv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Capability(c) => {
                write!(f, "capability {} channels {} groups {} classes", c.channels, c.groups, c.classes)?;
                write!(f, " {} untagged", c.untagged)?;
                let flags = [(c.pcp, "pcp"), (c.row, "row"), (c.dei, "dei"), (c.cn, "cn"), (c.pfc, "pfc")];
                flags.iter().filter(|(set, _)| *set).try_for_each(|(_, word)| write!(f, " {word}"))
            }
            Self::Parameters(p) => {
                write!(f, "parameters of {} default priority {}", p.pcid, p.default_priority)?;
                let flags = [
                    (p.use_dei, "dei"),
                    (p.require_drop_encoding, "require-drop-encoding"),
                    (p.admin_up, "up"),
                    (p.blocked, "blocked"),
                ];
                flags.iter().filter(|(set, _)| *set).try_for_each(|(_, word)| write!(f, " {word}"))
            }
            Self::Ports(items) => {
                f.write_str("ports")?;
                items
                    .iter()
                    .try_for_each(|item| write!(f, " {}{}", if item.flag { "!" } else { "" }, item.id))
            }
            Self::Vids(items) => {
                f.write_str("vlans")?;
                items.iter().try_for_each(|item| {
                    write!(f, " {}{}", item.vid, if item.untagged { " untagged" } else { "" })
                })
            }
            Self::Status(status) => {
                let PortStatus { pcid, up, speed } = status;
                write!(f, "status of {pcid} {} {speed} Mb/s", if *up { "up" } else { "down" })
            }
            Self::Counters(counters) => {
                write!(f, "counters of {}", counters.pcid)?;
                counters.values.iter().try_for_each(|value| write!(f, " {value}"))
            }
            Self::Name(of, name) => write!(f, "{of} {:?}", name.as_str()),
            Self::Unknown { code, info } => {
                write!(f, "type {code} ")?;
                info.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
            }
        }
    }
}
