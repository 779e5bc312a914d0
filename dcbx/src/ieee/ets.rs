//! The ETS configuration and ETS recommendation TLVs [Q 37, D.2.8, D.2.9]: how traffic classes share a link.

use core::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use nom::{IResult, Parser, number::complete::u8 as octet};
use serde::{Serialize, Serializer};

use crate::{
    error::IeeeError,
    priority::PriorityTable,
    wire::{array, bit},
};

ether::wire_enum! {
    /// How the frames of a traffic class are selected for transmission. TSA.
    pub enum SelectionAlgorithm: u8 {
        /// Strict priority.
        Strict = 0,
        /// Credit-based shaper.
        CreditBased = 1,
        /// A share of the bandwidth.
        Ets = 2,
        /// The vendor's own.
        Vendor = 255,
    }
}

impl fmt::Display for SelectionAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Strict => f.write_str("strict"),
            Self::CreditBased => f.write_str("credit-based shaper"),
            Self::Ets => f.write_str("ETS"),
            Self::Vendor => f.write_str("vendor's algorithm"),
            Self::Unknown(code) => write!(f, "algorithm {code}"),
        }
    }
}

impl Serialize for SelectionAlgorithm {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        serializer.collect_str(self)
    }
}

/// How many traffic classes there are, 1..=8; three bits on the wire, where 0 is eight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ClassCount(u8);

impl ClassCount {
    /// As many as there can be.
    pub const MAX: Self = Self(8);

    /// The count `value`, unless it is 0 or larger than 8.
    #[must_use]
    pub const fn new(value: u8) -> Option<Self> {
        if value >= 1 && value <= 8 { Some(Self(value)) } else { None }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    const fn from_low_bits(bits: u8) -> Self {
        match bits & MAX_CLASSES {
            0 => Self(8),
            count => Self(count),
        }
    }
}

/// Which priorities are in which traffic class and how the classes share the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct EtsTable {
    /// The traffic class of every priority. Received, it may name a class above 7, which does not exist.
    pub classes: PriorityTable,
    /// The share of traffic classes 0 to 7 in per cent of what strict priority leaves, as received.
    pub bandwidth: [u8; 8],
    /// The algorithm of traffic classes 0 to 7.
    pub algorithms: [SelectionAlgorithm; 8],
}

/// Shown by traffic class; a class without a priority and without a share is left out.
impl fmt::Display for EtsTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for ((class, share), algorithm) in (0..).zip(self.bandwidth).zip(self.algorithms) {
            let members = self.classes.priorities_of(class);
            if members.is_empty() && share == 0 {
                continue;
            }
            write!(f, "{separator}class {class} {algorithm}")?;
            if algorithm == SelectionAlgorithm::Ets || share != 0 {
                write!(f, " {share} %")?;
            }
            write!(f, " (priorities {members})")?;
            separator = ", ";
        }
        for class in 8..16 {
            let members = self.classes.priorities_of(class);
            if !members.is_empty() {
                write!(f, "{separator}class {class}, which does not exist (priorities {members})")?;
                separator = ", ";
            }
        }
        Ok(())
    }
}

/// The ETS configuration TLV: what the sender does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct EtsConfiguration {
    /// Whether it takes over what it is recommended.
    pub willing: bool,
    /// CBS: whether it has the credit-based shaper.
    pub credit_based_shaper: bool,
    /// How many traffic classes it has.
    pub max_classes: ClassCount,
    /// How it uses them.
    pub table: EtsTable,
}

impl EtsConfiguration {
    /// The subtype of the TLV.
    pub const SUBTYPE: u8 = 0x09;

    /// Reads what follows OUI and subtype, 21 octets. Reserved bits and further octets are ignored.
    ///
    /// # Errors
    /// [`IeeeError::Short`].
    pub fn parse(info: &[u8]) -> Result<Self, IeeeError> {
        let (flags, table) = parse(info, Self::SUBTYPE)?;
        Ok(Self {
            willing: flags & WILLING != 0,
            credit_based_shaper: flags & CBS != 0,
            max_classes: ClassCount::from_low_bits(flags),
            table,
        })
    }

    /// The 21 octets after OUI and subtype.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let flags = bit(self.willing, WILLING) | bit(self.credit_based_shaper, CBS);
        to_bytes(flags | self.max_classes.0 & MAX_CLASSES, &self.table)
    }
}

impl fmt::Display for EtsConfiguration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let willing = if self.willing { "willing" } else { "not willing" };
        let shaper = if self.credit_based_shaper { ", credit-based shaper" } else { "" };
        write!(f, "ETS in use, {willing}{shaper}, {} classes: {}", self.max_classes.0, self.table)
    }
}

/// The ETS recommendation TLV: what the sender would have the receiver do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct EtsRecommendation(pub EtsTable);

impl EtsRecommendation {
    /// The subtype of the TLV.
    pub const SUBTYPE: u8 = 0x0a;

    /// Reads what follows OUI and subtype, 21 octets. The reserved first one and further ones are ignored.
    ///
    /// # Errors
    /// [`IeeeError::Short`].
    pub fn parse(info: &[u8]) -> Result<Self, IeeeError> {
        parse(info, Self::SUBTYPE).map(|(_, table)| Self(table))
    }

    /// The 21 octets after OUI and subtype.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        to_bytes(0, &self.0)
    }
}

impl fmt::Display for EtsRecommendation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ETS recommended: {}", self.0)
    }
}

fn parse(info: &[u8], subtype: u8) -> Result<(u8, EtsTable), IeeeError> {
    let (_, read) = (octet, table).parse(info).map_err(|_| IeeeError::Short {
        subtype,
        length: info.len(),
        needed: LENGTH,
    })?;
    Ok(read)
}

fn table(input: &[u8]) -> IResult<&[u8], EtsTable> {
    let (rest, (classes, bandwidth, algorithms)) = (array, array, array::<8>).parse(input)?;
    let classes = PriorityTable::from_octets(classes);
    Ok((rest, EtsTable { classes, bandwidth, algorithms: algorithms.map(SelectionAlgorithm::from) }))
}

fn to_bytes(flags: u8, table: &EtsTable) -> Bytes {
    let mut buf = BytesMut::with_capacity(LENGTH);
    buf.put_u8(flags);
    buf.put_slice(&table.classes.octets());
    buf.put_slice(&table.bandwidth);
    buf.put_slice(&table.algorithms.map(u8::from));
    buf.freeze()
}

/// Octets after OUI and subtype.
const LENGTH: usize = 21;
const WILLING: u8 = 0x80;
const CBS: u8 = 0x40;
const MAX_CLASSES: u8 = 0x07;
