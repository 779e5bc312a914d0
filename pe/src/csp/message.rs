//! PDUs of the control and status protocol: a Command TLV, then what belongs to it [BR 9].

use core::fmt;

use ether::ECid;
use lldp::tlv::{PeerTlvError, Tlvs};
use serde::{Deserialize, Serialize};

use super::{
    codebook::{CodeBook, TlvKind},
    layout::Reader,
    name::{Named, Names},
    tlv::{self, Tlv},
};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// To talk; by both sides.
    Open,
    /// A port of the port extender is to be a port of the bridge.
    Create,
    /// A port is no more. UNSURE-U10: only a port extender says so.
    Delete,
    /// Ports join or leave an E-channel.
    Register,
    /// Ports are to work like this.
    SetParameters,
    /// The link of ports came up or went. UNSURE-U10: only a port extender says so.
    Status,
    /// What have ports counted?
    GetStatistics,
    /// A code the book does not know.
    #[serde(skip)]
    Unknown(u8),
}

/// What became of a request (UNSURE-U4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Completion {
    /// Done.
    Success,
    /// No room.
    NoResources,
    /// No such port or channel.
    UnknownPort,
    /// It cannot be read.
    Malformed,
    /// Nobody here does that.
    Unsupported,
    /// There is no session.
    NotOpen,
    /// Later perhaps.
    Busy,
    /// A code the book does not know.
    #[serde(skip)]
    Unknown(u8),
}

/// One PDU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pdu {
    /// What it is about.
    pub message: Message,
    /// Which request; the answer has the same.
    pub transaction: u32,
    /// What became of it, in an answer.
    pub answer: Option<Completion>,
    /// The channel or port it is about, if one.
    pub ecid: Option<ECid>,
    /// The rest.
    pub body: Vec<Tlv>,
    /// Something behind the command could not be read and is left out.
    pub malformed: bool,
}

/// Why octets are no PDU. The peer is to blame for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PduError {
    /// The first TLV cannot be read.
    #[error(transparent)]
    Tlv(#[from] PeerTlvError),
    /// There is none.
    #[error("peer: an empty PDU")]
    Empty,
    /// The first TLV is no command; holds its type.
    #[error("peer: the first TLV is of type {0}, not a command")]
    NoCommand(u8),
    /// The command has another length than the book says; holds what it has.
    #[error("peer: a command of {0} octets")]
    CommandLength(usize),
}

impl Pdu {
    /// A request. Its transaction is whose who sends it.
    #[must_use]
    pub const fn request(message: Message, ecid: Option<ECid>, body: Vec<Tlv>) -> Self {
        Self { message, transaction: 0, answer: None, ecid, body, malformed: false }
    }

    /// Reads the payload of an ECPDU, padding allowed.
    ///
    /// # Errors
    /// When it does not begin with a command. What cannot be read behind it is left out and said to be.
    pub fn parse(book: &CodeBook, payload: &[u8]) -> Result<Self, PduError> {
        let mut tlvs = Tlvs::new(payload);
        let first = tlvs.next().ok_or(PduError::Empty)??;
        let layout = book.layout(TlvKind::Command).filter(|layout| layout.code == first.kind.get());
        let layout = layout.ok_or(PduError::NoCommand(first.kind.get()))?;
        if first.value.len() != usize::from(layout.length) {
            return Err(PduError::CommandLength(first.value.len()));
        }
        let read = Reader { layout, octets: first.value };
        let code = read.u8("message");
        let message = book.messages.iter().find(|(_, known)| **known == code).map(|(message, _)| *message);
        let mut pdu = Self {
            message: message.unwrap_or(Message::Unknown(code)),
            transaction: read.u32("transaction"),
            answer: read.flag("response").then(|| {
                let code = read.u8("completion");
                let known = book.completions.iter().find(|(_, known)| **known == code);
                known.map_or(Completion::Unknown(code), |(completion, _)| *completion)
            }),
            ecid: ECid::new(read.u32("ecid")),
            body: Vec::new(),
            malformed: false,
        };
        for tlv in tlvs {
            match tlv {
                Ok(tlv) if tlv.kind.get() == END => break,
                Ok(tlv) => match Tlv::parse(book, tlv.kind.get(), tlv.value) {
                    // A list that was too long for one TLV.
                    Some(Tlv::Ports(more)) if matches!(pdu.body.last(), Some(Tlv::Ports(_))) => {
                        if let Some(Tlv::Ports(list)) = pdu.body.last_mut() {
                            list.extend(more);
                        }
                    }
                    Some(tlv) => pdu.body.push(tlv),
                    None => pdu.malformed = true,
                },
                // One octet of padding is no TLV.
                Err(PeerTlvError::HeaderCut { .. }) => break,
                Err(PeerTlvError::Overrun { .. }) => pdu.malformed = true,
            }
        }
        Ok(pdu)
    }

    /// The payload of an ECPDU.
    #[must_use]
    pub fn to_bytes(&self, book: &CodeBook) -> Vec<u8> {
        let mut out = Vec::new();
        let message = match self.message {
            Message::Unknown(code) => code,
            known => book.messages.get(&known).copied().unwrap_or(0),
        };
        let completion = self.answer.map_or(0, |completion| match completion {
            Completion::Unknown(code) => code,
            known => book.completions.get(&known).copied().unwrap_or(0),
        });
        tlv::fixed(book, TlvKind::Command, &mut out, |to| {
            to.put("response", self.answer.is_some()).put("message", message).put("completion", completion);
            to.put("transaction", self.transaction).put("ecid", self.ecid.map_or(0, ECid::get));
        });
        self.body.iter().for_each(|tlv| tlv.put(book, &mut out));
        out
    }

    /// What the port extender calls itself and the port.
    pub(crate) fn names(&self) -> Names {
        let name = |wanted: Named| {
            self.body.iter().find_map(|tlv| match tlv {
                Tlv::Name(of, name) if *of == wanted => Some(name.clone()),
                _ => None,
            })
        };
        Names { extender: name(Named::Extender), port: name(Named::Port) }
    }

    /// The ports named.
    pub(crate) fn ports(&self) -> impl Iterator<Item = tlv::PortItem> {
        let lists =
            self.body.iter().filter_map(|tlv| if let Tlv::Ports(items) = tlv { Some(items) } else { None });
        lists.flatten().copied()
    }
}

impl Message {
    /// Those every book has a code for.
    pub const KNOWN: [Self; 7] = [
        Self::Open,
        Self::Create,
        Self::Delete,
        Self::Register,
        Self::SetParameters,
        Self::Status,
        Self::GetStatistics,
    ];
}

impl Completion {
    /// Those every book has a code for.
    pub const KNOWN: [Self; 7] = [
        Self::Success,
        Self::NoResources,
        Self::UnknownPort,
        Self::Malformed,
        Self::Unsupported,
        Self::NotOpen,
        Self::Busy,
    ];
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Create => "create",
            Self::Delete => "delete",
            Self::Register => "register",
            Self::SetParameters => "set parameters",
            Self::Status => "status",
            Self::GetStatistics => "get statistics",
            Self::Unknown(code) => return write!(f, "message {code}"),
        })
    }
}

impl fmt::Display for Completion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Success => "success",
            Self::NoResources => "no resources",
            Self::UnknownPort => "unknown port or channel",
            Self::Malformed => "malformed",
            Self::Unsupported => "unsupported",
            Self::NotOpen => "not open",
            Self::Busy => "busy",
            Self::Unknown(code) => return write!(f, "completion {code}"),
        })
    }
}

impl fmt::Display for Pdu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.message, self.transaction)?;
        if let Some(completion) = self.answer {
            write!(f, ": {completion}")?;
        }
        if let Some(ecid) = self.ecid {
            write!(f, ", E-CID {ecid}")?;
        }
        self.body.iter().try_for_each(|tlv| write!(f, ", {tlv}"))?;
        if self.malformed { f.write_str(", and what cannot be read") } else { Ok(()) }
    }
}

/// The type of the TLV that ends a PDU, as in VDP and LLDP; what follows is padding.
const END: u8 = 0;
