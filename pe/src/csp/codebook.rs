//! The numbers of the control and status protocol as data: codes of messages, completions and TLVs, and where the fields
//! of each TLV stand.
//!
//! [`CodeBook::p0`] is ours. Another is a file of the same shape, checked with its own vectors by [`CodeBook::check`].

use std::collections::{BTreeMap, BTreeSet};

use lldp::tlv;
use serde::{Deserialize, Serialize};

use super::{
    layout::{Field, Layout},
    message::{Completion, Message, Pdu, PduError},
    name::Name,
};

/// A code book.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodeBook {
    /// What it is called, 1 to 32 octets.
    pub name: String,
    /// Codes of messages.
    pub(crate) messages: BTreeMap<Message, u8>,
    /// Codes of completions.
    pub(crate) completions: BTreeMap<Completion, u8>,
    /// Types and layouts of TLVs.
    pub(crate) tlvs: BTreeMap<TlvKind, Layout>,
    /// PDUs that prove it.
    #[serde(default, rename = "vector", skip_serializing)]
    pub vectors: Vec<Vector>,
}

/// A PDU as octets and in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vector {
    /// What follows the ECP header, in hexadecimal; blanks do not count.
    pub octets: String,
    /// The PDU as it prints.
    pub says: String,
}

/// The TLVs a book describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TlvKind {
    /// What is asked or answered; first in every PDU.
    Command,
    /// What a port extender can do.
    Capability,
    /// How a port works.
    PortParameters,
    /// Ports by number.
    PortArray,
    /// VLANs of the port before.
    VidArray,
    /// Whether a port's link is up.
    PortStatus,
    /// What a port has counted.
    Statistics,
    /// A name, behind what the layout describes. A book may do without.
    Name,
}

/// Why a book is not taken. Whoever wrote it is to blame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BookError {
    /// The name is empty or too long.
    #[error("the name has {0} octets; 1 to 32 are allowed")]
    Name(usize),
    /// No code for something.
    #[error("no code for {0}")]
    Missing(String),
    /// Two things have one code, or a code does not fit its field.
    #[error("the code {code} of {what} is used twice or too large")]
    Code {
        /// Of what.
        what: String,
        /// The code.
        code: u8,
    },
    /// A field is missing, unknown, too narrow, overlaps another or leaves its TLV.
    #[error("field {field} of {tlv}: {wrong}")]
    Field {
        /// The TLV.
        tlv: String,
        /// The field.
        field: String,
        /// What is wrong.
        wrong: &'static str,
    },
    /// A TLV is empty or longer than a length can tell.
    #[error("{0} has no length from 1 to 511, a name none to 256")]
    Length(String),
    /// No vector proves a message.
    #[error("there is no vector for {0}; at least one for each message is needed")]
    Unproved(Message),
    /// A vector is no hexadecimal text.
    #[error("vector {0}: not an even number of hexadecimal digits")]
    Digits(usize),
    /// A vector cannot be read by the book.
    #[error("vector {index}: {error}")]
    Unreadable {
        /// Its number, from 1.
        index: usize,
        /// Why.
        error: PduError,
    },
    /// A vector reads as something else than it says.
    #[error("vector {index} reads `{reads}`")]
    Reads {
        /// Its number, from 1.
        index: usize,
        /// What it reads as.
        reads: String,
    },
    /// What a vector says is written as other octets.
    #[error("vector {0} is written as other octets")]
    Writes(usize),
}

impl CodeBook {
    /// The provisional book P0: numbers and layouts are ours, none is known to be the standard's.
    #[must_use]
    pub fn p0() -> Self {
        let codes = |of: &[(Message, u8)]| of.iter().copied().collect();
        let layout = |(kind, code, length, fields): P0Tlv| {
            let fields = fields.iter().map(|(name, at, width, count)| {
                ((*name).to_owned(), Field { at: *at, width: *width, count: *count })
            });
            (kind, Layout { code, length, fields: fields.collect() })
        };
        Self {
            name: "P0".to_owned(),
            messages: codes(&P0_MESSAGES),
            completions: P0_COMPLETIONS.into_iter().collect(),
            tlvs: P0_TLVS.into_iter().map(layout).collect(),
            vectors: Vec::new(),
        }
    }

    /// Whether the book can be spoken: everything has a code of its own, every field has room, and every vector reads as
    /// it says and is written as it reads.
    ///
    /// # Errors
    /// The first thing wrong with it.
    pub fn check(&self) -> Result<(), BookError> {
        if !(1..=32).contains(&self.name.len()) {
            return Err(BookError::Name(self.name.len()));
        }
        self.check_codes()?;
        for kind in
            TlvKind::ALL.into_iter().filter(|kind| *kind != TlvKind::Name || self.tlvs.contains_key(kind))
        {
            let layout = self.tlvs.get(&kind).ok_or_else(|| BookError::Missing(format!("{kind:?}")))?;
            check_layout(kind, layout)?;
        }
        let mut proved = BTreeSet::new();
        for (vector, index) in self.vectors.iter().zip(1..) {
            proved.insert(self.prove(vector, index)?);
        }
        let unproved = Message::KNOWN.into_iter().find(|message| !proved.contains(message));
        unproved.map_or(Ok(()), |message| Err(BookError::Unproved(message)))
    }

    /// Four octets by which two ends see that they have the same book, vectors and name aside.
    #[must_use]
    pub fn digest(&self) -> u32 {
        // Maps with keys in order: always the same text.
        let text = serde_json::to_vec(&(&self.messages, &self.completions, &self.tlvs)).unwrap_or_default();
        crc32c::crc32c(&text)
    }

    /// Ports whose counters one answer has room for.
    pub(crate) fn counters_at_once(&self) -> usize {
        let octets = |kind| self.layout(kind).map_or(0, |layout| usize::from(layout.length) + 2);
        let room = PDU.saturating_sub(octets(TlvKind::Command));
        (room / octets(TlvKind::Statistics).max(1)).max(1)
    }

    pub(crate) fn layout(&self, kind: TlvKind) -> Option<&Layout> {
        self.tlvs.get(&kind)
    }

    pub(crate) fn kind(&self, code: u8) -> Option<TlvKind> {
        self.tlvs.iter().find(|(_, layout)| layout.code == code).map(|(kind, _)| *kind)
    }

    fn check_codes(&self) -> Result<(), BookError> {
        let message_bits = self.width("message");
        let mut seen = BTreeSet::new();
        for message in Message::KNOWN {
            let code = *self.messages.get(&message).ok_or_else(|| BookError::Missing(message.to_string()))?;
            if !seen.insert(code) || u64::from(code) >> message_bits != 0 {
                return Err(BookError::Code { what: message.to_string(), code });
            }
        }
        let completion_bits = self.width("completion");
        let mut seen = BTreeSet::new();
        for completion in Completion::KNOWN {
            let missing = || BookError::Missing(completion.to_string());
            let code = *self.completions.get(&completion).ok_or_else(missing)?;
            if !seen.insert(code) || u64::from(code) >> completion_bits != 0 {
                return Err(BookError::Code { what: completion.to_string(), code });
            }
        }
        let mut seen = BTreeSet::new();
        for (kind, layout) in &self.tlvs {
            if !seen.insert(layout.code) || !(1..=127).contains(&layout.code) {
                return Err(BookError::Code { what: format!("{kind:?}"), code: layout.code });
            }
        }
        Ok(())
    }

    fn width(&self, field: &str) -> u8 {
        let field = self.tlvs.get(&TlvKind::Command).and_then(|layout| layout.fields.get(field));
        field.map_or(0, |field| field.width.min(63))
    }

    fn prove(&self, vector: &Vector, index: usize) -> Result<Message, BookError> {
        let octets = octets(&vector.octets).ok_or(BookError::Digits(index))?;
        let pdu = Pdu::parse(self, &octets).map_err(|error| BookError::Unreadable { index, error })?;
        let reads = pdu.to_string();
        if reads != vector.says {
            return Err(BookError::Reads { index, reads });
        }
        if pdu.to_bytes(self) == octets { Ok(pdu.message) } else { Err(BookError::Writes(index)) }
    }
}

/// Checks that the layout has the fields of `kind`, each wide enough, none over another.
fn check_layout(kind: TlvKind, layout: &Layout) -> Result<(), BookError> {
    let tlv = || format!("{kind:?}");
    let most = if kind == TlvKind::Name { tlv::MAX_VALUE - Name::MAX } else { tlv::MAX_VALUE };
    if !(1..=most).contains(&usize::from(layout.length)) {
        return Err(BookError::Length(tlv()));
    }
    let wrong = |field: &str, wrong| BookError::Field { tlv: tlv(), field: field.to_owned(), wrong };
    let wanted = kind.fields();
    if let Some(name) = layout.fields.keys().find(|name| !wanted.iter().any(|(known, ..)| known == name)) {
        return Err(wrong(name, "not known"));
    }
    let mut used: Vec<core::ops::Range<usize>> = Vec::new();
    for (name, width, count) in wanted {
        let field = layout.fields.get(*name).ok_or_else(|| wrong(name, "missing"))?;
        if field.width < *width || field.width > 64 || field.count != *count {
            return Err(wrong(name, "too narrow, too wide, or not as often as it is needed"));
        }
        let bits = field.bits();
        if bits.end > usize::from(layout.length) * 8 {
            return Err(wrong(name, "leaves its TLV"));
        }
        if used.iter().any(|other| bits.start < other.end && other.start < bits.end) {
            return Err(wrong(name, "stands over another"));
        }
        used.push(bits);
    }
    Ok(())
}

impl TlvKind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Command,
        Self::Capability,
        Self::PortParameters,
        Self::PortArray,
        Self::VidArray,
        Self::PortStatus,
        Self::Statistics,
        Self::Name,
    ];

    /// Whether it is a list of items of the layout's length.
    pub(crate) const fn is_list(self) -> bool {
        matches!(self, Self::PortArray | Self::VidArray)
    }

    /// Its fields: name, least width, how often.
    const fn fields(self) -> &'static [(&'static str, u8, u8)] {
        match self {
            Self::Command => &[
                ("response", 1, 1),
                ("message", 4, 1),
                ("completion", 3, 1),
                ("transaction", 32, 1),
                ("ecid", 22, 1),
            ],
            Self::Capability => &[
                ("pcp", 1, 1),
                ("row", 1, 1),
                ("dei", 1, 1),
                ("cn", 1, 1),
                ("pfc", 1, 1),
                ("channels", 20, 1),
                ("groups", 22, 1),
                ("classes", 4, 1),
                ("untagged", 12, 1),
            ],
            Self::PortParameters => &[
                ("pcid", 20, 1),
                ("use_dei", 1, 1),
                ("require_drop_encoding", 1, 1),
                ("pfc", 1, 1),
                ("cn", 1, 1),
                ("admin_up", 1, 1),
                ("blocked", 1, 1),
                ("default_priority", 3, 1),
                ("row", 2, 1),
                ("decode", 4, 8),
                ("encode", 4, 16),
            ],
            Self::PortArray => &[("flag", 1, 1), ("id", 22, 1)],
            Self::VidArray => &[("untagged", 1, 1), ("vid", 12, 1)],
            Self::PortStatus => &[("pcid", 20, 1), ("oper", 1, 1), ("speed", 32, 1)],
            Self::Statistics => &[("pcid", 20, 1), ("counters", 32, 12)],
            Self::Name => &[("oui", 24, 1), ("of", 8, 1)],
        }
    }
}

/// Octets of hexadecimal text with blanks.
fn octets(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let digits = digits?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

const P0_MESSAGES: [(Message, u8); 7] = [
    (Message::Open, 1),
    (Message::Create, 2),
    (Message::Delete, 3),
    (Message::Register, 4),
    (Message::SetParameters, 5),
    (Message::Status, 7),
    (Message::GetStatistics, 8),
];

const P0_COMPLETIONS: [(Completion, u8); 7] = [
    (Completion::Success, 0),
    (Completion::NoResources, 1),
    (Completion::UnknownPort, 2),
    (Completion::Malformed, 3),
    (Completion::Unsupported, 4),
    (Completion::NotOpen, 5),
    (Completion::Busy, 6),
];

/// Kind, type, octets, and the fields: name, first bit, width, how often.
type P0Tlv = (TlvKind, u8, u16, &'static [(&'static str, u16, u8, u8)]);

const P0_TLVS: [P0Tlv; 8] = [
    (
        TlvKind::Command,
        1,
        10,
        &[
            ("response", 0, 1, 1),
            ("message", 1, 7, 1),
            ("completion", 8, 8, 1),
            ("transaction", 16, 32, 1),
            ("ecid", 58, 22, 1),
        ],
    ),
    (
        TlvKind::Capability,
        2,
        12,
        &[
            ("pcp", 0, 1, 1),
            ("row", 1, 1, 1),
            ("dei", 2, 1, 1),
            ("cn", 3, 1, 1),
            ("pfc", 4, 1, 1),
            ("channels", 8, 32, 1),
            ("groups", 40, 32, 1),
            ("classes", 72, 8, 1),
            ("untagged", 80, 16, 1),
        ],
    ),
    (
        TlvKind::PortParameters,
        3,
        18,
        &[
            ("pcid", 0, 32, 1),
            ("use_dei", 32, 1, 1),
            ("require_drop_encoding", 33, 1, 1),
            ("pfc", 34, 1, 1),
            ("cn", 35, 1, 1),
            ("admin_up", 36, 1, 1),
            ("blocked", 37, 1, 1),
            ("default_priority", 40, 3, 1),
            ("row", 43, 2, 1),
            ("decode", 48, 4, 8),
            ("encode", 80, 4, 16),
        ],
    ),
    (TlvKind::PortArray, 4, 4, &[("flag", 0, 1, 1), ("id", 1, 31, 1)]),
    (TlvKind::VidArray, 5, 2, &[("untagged", 3, 1, 1), ("vid", 4, 12, 1)]),
    (TlvKind::PortStatus, 6, 9, &[("pcid", 0, 32, 1), ("oper", 32, 8, 1), ("speed", 40, 32, 1)]),
    (TlvKind::Statistics, 7, 100, &[("pcid", 0, 32, 1), ("counters", 32, 64, 12)]),
    (TlvKind::Name, 127, 4, &[("oui", 0, 24, 1), ("of", 24, 8, 1)]),
];

/// Octets of a PDU that fit an Ethernet frame beside ECP's header and an end TLV.
const PDU: usize = 1490;
