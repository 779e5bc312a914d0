//! What CEE and CIN share: sub-TLVs under a header of seven bits of type and nine of length, the control sub-TLV and
//! the head of every other one.

use core::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use lldp::tlv::{self, Tlv, TlvType, Tlvs};
use nom::{
    IResult, Parser,
    number::complete::{be_u32, u8 as octet},
};
use serde::{Serialize, Serializer};

use crate::{
    error::{CeeError, TooLong},
    wire::bit,
};

/// The control sub-TLV: which state of the features is advertised and which of the peer's has been seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Control {
    /// The version in use.
    pub operating_version: u8,
    /// The highest version supported.
    pub max_version: u8,
    /// Counts the changes of the sender's features.
    pub sequence: u32,
    /// The last sequence number the sender has had from its peer.
    pub acknowledged: u32,
}

impl Control {
    pub(super) fn put(&self, buf: &mut BytesMut) {
        let mut value = BytesMut::with_capacity(CONTROL);
        value.put_u8(self.operating_version);
        value.put_u8(self.max_version);
        value.put_u32(self.sequence);
        value.put_u32(self.acknowledged);
        put(buf, kind::CONTROL, &value);
    }
}

impl fmt::Display for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sequence {}, acknowledges {}", self.sequence, self.acknowledged)
    }
}

/// A feature and how the sender stands to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Feature<T> {
    /// The version of the feature in use.
    pub operating_version: u8,
    /// The highest version supported.
    pub max_version: u8,
    /// Whether the feature is enabled.
    pub enabled: bool,
    /// Whether the sender takes over its peer's settings.
    pub willing: bool,
    /// Whether the sender found the settings of both sides incompatible.
    pub error: bool,
    /// The settings.
    pub settings: T,
}

impl<T> Feature<T> {
    /// The feature with its settings replaced by what `with` makes of them.
    pub(super) fn map<U>(self, with: impl FnOnce(T) -> U) -> Feature<U> {
        let Self { operating_version, max_version, enabled, willing, error, settings } = self;
        Feature { operating_version, max_version, enabled, willing, error, settings: with(settings) }
    }

    pub(super) fn put(
        &self,
        buf: &mut BytesMut,
        kind: u8,
        subtype: u8,
        settings: impl Fn(&T, &mut BytesMut),
    ) {
        let mut value = BytesMut::new();
        value.put_u8(self.operating_version);
        value.put_u8(self.max_version);
        value.put_u8(bit(self.enabled, ENABLED) | bit(self.willing, WILLING) | bit(self.error, ERROR));
        value.put_u8(subtype);
        settings(&self.settings, &mut value);
        put(buf, kind, &value);
    }
}

impl<T: fmt::Display> fmt::Display for Feature<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { enabled, willing, error, settings, .. } = self;
        let disabled = if *enabled { "" } else { "disabled, " };
        let willing = if *willing { "willing" } else { "not willing" };
        let error = if *error { ", in error" } else { "" };
        write!(f, "{settings} ({disabled}{willing}{error})")
    }
}

/// A sub-TLV this implementation does not know, kept as received.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UnknownSubTlv {
    kind: u8,
    value: Bytes,
}

impl UnknownSubTlv {
    /// Its type, 0..=127.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        self.kind
    }

    /// Its octets.
    #[must_use]
    pub const fn value(&self) -> &Bytes {
        &self.value
    }

    pub(super) fn put(&self, buf: &mut BytesMut) {
        put(buf, self.kind, &self.value);
    }
}

/// Shown as `unknown sub-TLV 4: 00ff`.
impl fmt::Display for UnknownSubTlv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown sub-TLV {}: ", self.kind)?;
        self.value.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl Serialize for UnknownSubTlv {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        serializer.collect_str(self)
    }
}

/// A sub-TLV as received.
#[derive(Clone, Copy)]
pub(super) struct SubTlv<'a> {
    pub(super) kind: u8,
    value: &'a [u8],
    pub(super) offset: usize,
}

impl<'a> SubTlv<'a> {
    /// The sub-TLVs of `info` in order.
    pub(super) fn read_all(info: &'a [u8]) -> Result<Vec<Self>, CeeError> {
        let read = |sub| {
            let Tlv { kind, value, offset } = sub?;
            Ok(Self { kind: kind.get(), value, offset })
        };
        Tlvs::new(info).map(read).collect()
    }

    /// The subtype in the head of a feature; 0 where the sub-TLV is too short to have one.
    pub(super) fn subtype(&self) -> u8 {
        self.value.get(SUBTYPE_AT).copied().unwrap_or_default()
    }

    pub(super) fn control(&self) -> Result<Control, CeeError> {
        let (_, (operating_version, max_version, sequence, acknowledged)) =
            (octet::<_, ()>, octet, be_u32, be_u32).parse(self.value).map_err(|_| self.short(CONTROL))?;
        Ok(Control { operating_version, max_version, sequence, acknowledged })
    }

    /// The feature whose settings, of at least `octets` octets, are read by `settings`.
    pub(super) fn feature<T>(
        &self,
        octets: usize,
        settings: impl Fn(&'a [u8]) -> IResult<&'a [u8], T>,
    ) -> Result<Feature<T>, CeeError> {
        let (_, (operating_version, max_version, flags, _subtype, settings)) =
            (octet, octet, octet, octet, settings)
                .parse(self.value)
                .map_err(|_| self.short(FEATURE + octets))?;
        Ok(Feature {
            operating_version,
            max_version,
            enabled: flags & ENABLED != 0,
            willing: flags & WILLING != 0,
            error: flags & ERROR != 0,
            settings,
        })
    }

    pub(super) fn keep(&self) -> UnknownSubTlv {
        UnknownSubTlv { kind: self.kind, value: Bytes::copy_from_slice(self.value) }
    }

    /// Puts what was read of this sub-TLV where there must be nothing yet.
    pub(super) fn fill<T>(&self, slot: &mut Option<T>, read: T) -> Result<(), CeeError> {
        match slot.replace(read) {
            None => Ok(()),
            Some(_) => Err(CeeError::Duplicate { kind: self.kind, offset: self.offset }),
        }
    }

    fn short(&self, needed: usize) -> CeeError {
        CeeError::Short { kind: self.kind, offset: self.offset, length: self.value.len(), needed }
    }
}

/// The TLV built in `buf`, if LLDP can carry it.
pub(super) fn finish(buf: BytesMut) -> Result<Bytes, TooLong> {
    if buf.len() > MAX_INFO { Err(TooLong(buf.len())) } else { Ok(buf.freeze()) }
}

/// Appends a sub-TLV. Of one too long to be written only the size is kept, which [`finish`] makes an error.
fn put(buf: &mut BytesMut, kind: u8, value: &[u8]) {
    if tlv::put(buf, TlvType::from_low_bits(kind), value).is_err() {
        buf.put_bytes(0, tlv::HEADER + value.len());
    }
}

/// Types of sub-TLVs that both dialects number alike.
pub(super) mod kind {
    pub(crate) const CONTROL: u8 = 1;
    pub(crate) const PRIORITY_GROUPS: u8 = 2;
    pub(crate) const PFC: u8 = 3;
}

/// The most octets of an organizational TLV after OUI and subtype.
const MAX_INFO: usize = 507;
/// Octets of the control sub-TLV, and of the head of a feature.
const CONTROL: usize = 10;
const FEATURE: usize = 4;
/// Where the head of a feature has the subtype.
const SUBTYPE_AT: usize = 3;
const ENABLED: u8 = 0x80;
const WILLING: u8 = 0x40;
const ERROR: u8 = 0x20;
