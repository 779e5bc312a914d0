//! The VDPDU [Q 41.2]: a VSI manager ID TLV, association TLVs and organizationally defined TLVs, an End TLV.
//!
//! Two levels of error: a [`PduError`] costs the PDU, a [`BadTlv`] only itself and keeps what
//! is needed to answer it.

use bytes::{BufMut, Bytes, BytesMut};
use lldp::tlv::{self, LocalTlvError, TlvType, Tlvs};
use nom::{Parser, bytes::complete::take, number::complete::u8 as octet};
use serde::{Deserialize, Serialize};

use crate::{
    error::{ErrorCode, FilterError, PduError, TlvError},
    filter::{FIXED, FilterInfo},
    vsi::{ManagerId, TypeId, TypeVersion, VsiId, VsiIdFormat},
};

/// What an association TLV asks for: its TLV type [Q 41.2, 41.5].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Check and prepare; reserve nothing, change no traffic.
    PreAssociate,
    /// The same, and reserve the resources.
    PreAssociateRr,
    /// Let the traffic of the VSI pass.
    Associate,
    /// Undo everything.
    DeAssociate,
}

impl Command {
    const fn from_kind(kind: TlvType) -> Option<Self> {
        Some(match kind.get() {
            1 => Self::PreAssociate,
            2 => Self::PreAssociateRr,
            3 => Self::Associate,
            4 => Self::DeAssociate,
            _ => return None,
        })
    }

    const fn kind(self) -> TlvType {
        TlvType::from_low_bits(match self {
            Self::PreAssociate => 1,
            Self::PreAssociateRr => 2,
            Self::Associate => 3,
            Self::DeAssociate => 4,
        })
    }

    /// The command in words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::PreAssociate => "Pre-Associate",
            Self::PreAssociateRr => "Pre-Associate with resource reservation",
            Self::Associate => "Associate",
            Self::DeAssociate => "De-Associate",
        }
    }
}

/// What a station tells of a migration. Neither bit set means "nothing known".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hints {
    /// S: the user of the VSI is suspended, here is the source of a migration.
    pub suspended: bool,
    /// M: the user of the VSI migrates to here.
    pub migrating: bool,
}

/// The bridge's verdict on a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Verdict {
    /// The command was refused and what stood before it still stands.
    pub keep: bool,
    /// Repeating the command unchanged is pointless (UNSURE-9).
    pub hard: bool,
    /// What was wrong, if anything.
    pub error: ErrorCode,
}

impl Verdict {
    /// The command was carried out.
    pub const SUCCESS: Self = Self { keep: false, hard: false, error: ErrorCode::Success };
}

/// The status octet, whose bits depend on the direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// A command, or a De-Associate the bridge decided on.
    Request(Hints),
    /// The answer to a command.
    Response(Verdict),
}

impl Status {
    fn from_octet(octet: u8) -> Self {
        let (high, low) = (octet & KEEP_OR_S != 0, octet & HARD_OR_M != 0);
        if octet & ACK == 0 {
            return Self::Request(Hints { suspended: high, migrating: low });
        }
        match ErrorCode::from(octet & ERROR) {
            // KEEP and HARD mean nothing with a success.
            ErrorCode::Success => Self::Response(Verdict::SUCCESS),
            error => Self::Response(Verdict { keep: high, hard: low, error }),
        }
    }

    fn octet(self) -> u8 {
        let bits = |high: bool, low: bool| (u8::from(high) * KEEP_OR_S) | (u8::from(low) * HARD_OR_M);
        match self {
            Self::Request(hints) => bits(hints.suspended, hints.migrating),
            Self::Response(verdict) => {
                ACK | bits(verdict.keep, verdict.hard) | u8::from(verdict.error) & ERROR
            }
        }
    }
}

/// An association TLV [Q 41.2].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Association {
    /// What is asked for or answered.
    pub command: Command,
    /// Request or response, and its bits.
    pub status: Status,
    /// The type of the VSI.
    pub type_id: TypeId,
    /// The edition of the type.
    pub version: TypeVersion,
    /// Which VSI.
    pub id: VsiId,
    /// Its frames; only a De-Associate may go without.
    pub filter: Option<FilterInfo>,
}

impl Association {
    fn parse(command: Command, info: &[u8]) -> Result<Self, TlvError> {
        let (filter, fixed) = Fixed::parse(info)?;
        let filter = FilterInfo::parse(filter)?;
        if filter.is_none() && command != Command::DeAssociate {
            return Err(FilterError::Empty.into());
        }
        let Fixed { status, type_id, version, id } = fixed;
        Ok(Self { command, status, type_id, version, id, filter })
    }

    fn info(&self) -> Bytes {
        let mut buf = BytesMut::new();
        buf.put_u8(self.status.octet());
        buf.put_slice(&self.type_id.to_octets());
        buf.put_u8(self.version.0);
        buf.put_u8(self.id.format().code());
        buf.put_slice(&self.id.octets());
        match &self.filter {
            Some(filter) => buf.put(filter.to_octets()),
            None => buf.put_u8(1),
        }
        buf.freeze()
    }
}

/// An association TLV up to the VSIID.
struct Fixed {
    status: Status,
    type_id: TypeId,
    version: TypeVersion,
    id: VsiId,
}

impl Fixed {
    /// Reads it off the front of `info`, which goes on with the format of the filter info.
    fn parse(info: &[u8]) -> Result<(&[u8], Self), TlvError> {
        let short = TlvError::Short(info.len());
        if info.len() <= FIXED {
            return Err(short);
        }
        let (rest, (status, type_id, version, format)) =
            (octet::<_, ()>, take(3usize), octet, octet).parse(info).map_err(|_| short)?;
        let (octets, filter) = rest.split_first_chunk::<16>().ok_or(short)?;
        let type_id = TypeId::from_octets(type_id.try_into().map_err(|_| short)?);
        let format = VsiIdFormat::from_code(format).ok_or(TlvError::VsiIdFormat(format))?;
        let fixed = Self {
            status: Status::from_octet(status),
            type_id,
            version: TypeVersion(version),
            id: VsiId::new(format, *octets),
        };
        Ok((filter, fixed))
    }
}

/// A TLV that could not be read, kept as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadTlv {
    /// What was asked for; `None` in an organizationally defined TLV.
    pub command: Option<Command>,
    /// Which VSI, if that could be read.
    pub id: Option<VsiId>,
    /// What is wrong.
    pub error: TlvError,
    kind: TlvType,
    info: Bytes,
}

impl BadTlv {
    fn new(kind: TlvType, info: &[u8], error: TlvError) -> Self {
        let command = Command::from_kind(kind);
        let id = command.and_then(|_| Fixed::parse(info).ok()).map(|(_, fixed)| fixed.id);
        Self { command, id, error, kind, info: Bytes::copy_from_slice(info) }
    }

    /// Whether this is a response, which nobody answers.
    #[must_use]
    pub fn is_response(&self) -> bool {
        self.info.first().is_some_and(|status| status & ACK != 0)
    }

    /// The same octets as an answer of type `command` with `verdict`; `None` if its fixed part is incomplete.
    #[must_use]
    pub fn answer(&self, command: Command, verdict: Verdict) -> Option<Item> {
        if self.info.len() <= FIXED || self.command.is_none() {
            return None;
        }
        let mut info = BytesMut::from(&*self.info);
        *info.first_mut()? = Status::Response(verdict).octet();
        Some(Item::Unknown { kind: command.kind(), info: info.freeze() })
    }
}

/// One TLV of a VDPDU after the VSI manager ID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// An association TLV.
    Association(Association),
    /// An organizationally defined TLV, opaque.
    Organizational {
        /// Whose.
        oui: [u8; 3],
        /// At most 508 octets.
        body: Bytes,
    },
    /// A TLV that could not be read; sent as it was received.
    Malformed(BadTlv),
    /// A TLV of a type not known here, kept as received.
    Unknown {
        /// Its type.
        kind: TlvType,
        /// Its information string, at most 511 octets.
        info: Bytes,
    },
}

impl Item {
    /// Appends the TLV to `buf`.
    pub(crate) fn put(&self, buf: &mut BytesMut) -> Result<(), LocalTlvError> {
        match self {
            Self::Association(association) => tlv::put(buf, association.command.kind(), &association.info()),
            Self::Organizational { oui, body } => tlv::put(buf, ORGANIZATIONAL, &[&oui[..], body].concat()),
            Self::Malformed(BadTlv { kind, info, .. }) | Self::Unknown { kind, info } => {
                tlv::put(buf, *kind, info)
            }
        }
    }
}

/// A VDPDU: the payload of an ECPDU of subtype 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vdpdu {
    /// The manager of every VSI in it.
    pub manager: ManagerId,
    /// The TLVs in order.
    pub items: Vec<Item>,
}

impl Vdpdu {
    /// Reads an ECP payload up to its End TLV, or to its end: lldpad sends no End TLV. What follows the End TLV is padding.
    ///
    /// # Errors
    /// When a TLV is cut short or there is not exactly one VSI manager ID, in front.
    pub fn parse(payload: &[u8]) -> Result<Self, PduError> {
        let mut tlvs = Tlvs::new(payload);
        let first = tlvs.next().transpose()?;
        let manager = match first {
            Some(tlv) if tlv.kind == MANAGER => parse_manager(tlv.value)?,
            other => return Err(PduError::NoManager(other.map(|tlv| tlv.kind.get()))),
        };
        let mut items = Vec::new();
        for tlv in tlvs {
            let tlv = tlv?;
            match tlv.kind {
                END => break,
                MANAGER => return Err(PduError::SecondManager),
                kind => items.push(parse_item(kind, tlv.value)),
            }
        }
        Ok(Self { manager, items })
    }

    /// Whether a payload that can be read has an End TLV. lldpad sends none: by that it is known.
    pub(crate) fn has_end(payload: &[u8]) -> bool {
        Tlvs::new(payload).flatten().any(|tlv| tlv.kind == END)
    }

    /// The PDU with its End TLV. lldpad goes on into the remains of an earlier PDU where none is sent.
    ///
    /// # Errors
    /// When an item built by hand is longer than a TLV can be; one that was parsed never is.
    pub fn to_bytes(&self) -> Result<Bytes, LocalTlvError> {
        let mut tlvs = BytesMut::new();
        self.items.iter().try_for_each(|item| item.put(&mut tlvs))?;
        Ok(Self::join(self.manager, [&tlvs.freeze()]))
    }

    /// Octets of a VDPDU besides its TLVs: the VSI manager ID and the end.
    pub(crate) const FRAMING: usize = 20;

    /// The PDU of TLVs that are octets already.
    pub(crate) fn join<'a>(manager: ManagerId, tlvs: impl IntoIterator<Item = &'a Bytes>) -> Bytes {
        let mut buf = BytesMut::new();
        buf.put_slice(&[MANAGER.get() << 1, 16]);
        buf.put_slice(&manager.0);
        tlvs.into_iter().for_each(|tlv| buf.put_slice(tlv));
        buf.put_slice(&[END.get(), 0]);
        buf.freeze()
    }
}

fn parse_manager(info: &[u8]) -> Result<ManagerId, PduError> {
    info.try_into().map(ManagerId).map_err(|_| PduError::ManagerLength(info.len()))
}

fn parse_item(kind: TlvType, info: &[u8]) -> Item {
    if let Some(command) = Command::from_kind(kind) {
        return match Association::parse(command, info) {
            Ok(association) => Item::Association(association),
            Err(error) => Item::Malformed(BadTlv::new(kind, info, error)),
        };
    }
    if kind != ORGANIZATIONAL {
        return Item::Unknown { kind, info: Bytes::copy_from_slice(info) };
    }
    match info.split_first_chunk::<3>() {
        Some((oui, body)) => Item::Organizational { oui: *oui, body: Bytes::copy_from_slice(body) },
        None => Item::Malformed(BadTlv::new(kind, info, TlvError::ShortOrganizational(info.len()))),
    }
}

const END: TlvType = TlvType::from_low_bits(0);
const MANAGER: TlvType = TlvType::from_low_bits(5);
const ORGANIZATIONAL: TlvType = TlvType::from_low_bits(127);

/// Response, where it is clear a request.
const ACK: u8 = 0x40;
/// KEEP in a response, S in a request.
const KEEP_OR_S: u8 = 0x20;
/// HARD in a response, M in a request.
const HARD_OR_M: u8 = 0x10;
const ERROR: u8 = 0x0f;

#[cfg(test)]
#[path = "tlv_tests.rs"]
mod tests;
