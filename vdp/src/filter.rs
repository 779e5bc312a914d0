//! Filter info: which frames belong to a VSI [Q 41.2.9], in the four formats with MAC addresses and GroupIDs.

use core::{fmt, num::NonZeroU32};

use bytes::{BufMut, Bytes, BytesMut};
use ether::{MacAddr, Pcp, Vid, mac};
use nom::{
    Parser,
    number::complete::{be_u16, be_u32, u8 as octet},
};
use serde::{Deserialize, Serialize};

use crate::error::FilterError;

/// What an entry consists of besides its VLAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FilterFormat {
    /// Nothing.
    Vid,
    /// A MAC address.
    MacVid,
    /// A group.
    GroupVid,
    /// A group and a MAC address.
    GroupMacVid,
}

impl FilterFormat {
    /// The format with this code of the wire.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Vid,
            2 => Self::MacVid,
            3 => Self::GroupVid,
            4 => Self::GroupMacVid,
            _ => return None,
        })
    }

    /// The code of the wire, 1..=4.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Vid => 1,
            Self::MacVid => 2,
            Self::GroupVid => 3,
            Self::GroupMacVid => 4,
        }
    }

    /// Octets of one entry.
    #[must_use]
    pub const fn entry_len(self) -> u8 {
        match self {
            Self::Vid => 2,
            Self::MacVid => 8,
            Self::GroupVid => 6,
            Self::GroupMacVid => 12,
        }
    }

    /// Entries one TLV can hold: 243, 60, 81 or 40.
    #[must_use]
    pub const fn max_entries(self) -> usize {
        (lldp::tlv::MAX_VALUE - FIXED - HEADER) / self.entry_len() as usize
    }

    /// Whether entries name a group, which both sides must have agreed on.
    #[must_use]
    pub const fn has_group(self) -> bool {
        matches!(self, Self::GroupVid | Self::GroupMacVid)
    }
}

/// A group of VSIs that share a VLAN the bridge chooses; never 0. Of a VNI the lower 24 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GroupId(pub NonZeroU32);

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// One line of a filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FilterEntry {
    /// The group, in the formats that have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupId>,
    /// The station's address, in the formats that have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// The VLAN; `None` is the null VID, by which a station asks the bridge to choose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vid: Option<Vid>,
    /// The priority, where it is significant (PS).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<Pcp>,
}

impl FilterEntry {
    const fn format(&self) -> FilterFormat {
        match (self.group.is_some(), self.mac.is_some()) {
            (false, false) => FilterFormat::Vid,
            (false, true) => FilterFormat::MacVid,
            (true, false) => FilterFormat::GroupVid,
            (true, true) => FilterFormat::GroupMacVid,
        }
    }

    /// Whether `granted` is this entry with at most the null VID and the insignificant priority replaced.
    fn covers(&self, granted: &Self) -> bool {
        self.group == granted.group
            && self.mac == granted.mac
            && (self.vid.is_none() || self.vid == granted.vid)
            && (self.priority.is_none() || self.priority == granted.priority)
    }
}

/// One or more entries, all of one format, no more than a TLV can hold, each of them valid.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<FilterEntry>", into = "Vec<FilterEntry>")]
pub struct FilterInfo(Vec<FilterEntry>);

impl FilterInfo {
    /// A filter of these entries.
    ///
    /// # Errors
    /// When there is none, too many, of different formats, with an address no station has, or several null VIDs where
    /// entries have nothing but a VID.
    pub fn new(entries: Vec<FilterEntry>) -> Result<Self, FilterError> {
        let format = entries.first().ok_or(FilterError::Empty)?.format();
        if entries.iter().any(|entry| entry.format() != format) {
            return Err(FilterError::Mixed);
        }
        if entries.len() > format.max_entries() {
            return Err(FilterError::TooMany(entries.len()));
        }
        if entries.iter().filter_map(|entry| entry.mac).any(|mac| !mac::is_station(mac)) {
            return Err(FilterError::NoStationMac);
        }
        let nulls = entries.iter().filter(|entry| entry.vid.is_none()).count();
        if format == FilterFormat::Vid && nulls > 1 {
            return Err(FilterError::SeveralNullVids);
        }
        Ok(Self(entries))
    }

    /// The format of all entries.
    #[must_use]
    pub fn format(&self) -> FilterFormat {
        self.0.first().map_or(FilterFormat::Vid, FilterEntry::format)
    }

    /// The entries, at least one.
    #[must_use]
    pub fn entries(&self) -> &[FilterEntry] {
        &self.0
    }

    /// Whether every entry names its VLAN.
    #[must_use]
    pub fn is_resolved(&self) -> bool {
        self.0.iter().all(|entry| entry.vid.is_some())
    }

    /// Whether `granted` answers this request: equal except where the request was zero [Q 41.5.6, exceptZero].
    ///
    /// Zero are the null VID and a priority that is not significant. A request of one null VID and nothing else may be
    /// answered by a set of VIDs.
    #[must_use]
    pub fn covers(&self, granted: &Self) -> bool {
        match (self.0.as_slice(), self.format(), granted.format()) {
            (_, asked, got) if asked != got => false,
            ([only], FilterFormat::Vid, _) if only.vid.is_none() => {
                granted.0.iter().all(|entry| only.covers(entry))
            }
            (asked, _, _) => {
                asked.len() == granted.0.len() && asked.iter().zip(&granted.0).all(|(a, g)| a.covers(g))
            }
        }
    }

    /// Reads what follows the VSIID of an association TLV. A format with nothing behind it, or with no entry, is no
    /// filter info: a De-Associate may name just the VSI.
    pub(crate) fn parse(octets: &[u8]) -> Result<Option<Self>, FilterError> {
        if octets.len() == 1 {
            return Ok(None);
        }
        let cut = FilterError::Length { entries: 0, size: 0, octets: octets.len() };
        let (rest, (code, entries)) = (octet::<_, ()>, be_u16).parse(octets).map_err(|_| cut)?;
        let format = FilterFormat::from_code(code).ok_or(FilterError::Format(code))?;
        let size = format.entry_len();
        if rest.len() != usize::from(entries) * usize::from(size) {
            return Err(FilterError::Length { entries, size, octets: rest.len() });
        }
        if entries == 0 {
            return Ok(None);
        }
        let list = rest.chunks_exact(size.into()).map(|chunk| parse_entry(format, chunk));
        Self::new(list.collect::<Result<_, _>>()?).map(Some)
    }

    /// What follows the VSIID of an association TLV.
    pub(crate) fn to_octets(&self) -> Bytes {
        let mut buf = BytesMut::with_capacity(HEADER + self.0.len() * usize::from(self.format().entry_len()));
        buf.put_u8(self.format().code());
        // At most 243 entries.
        buf.put_u16(u16::try_from(self.0.len()).unwrap_or(u16::MAX));
        for entry in &self.0 {
            if let Some(group) = entry.group {
                buf.put_u32(group.0.get());
            }
            if let Some(mac) = entry.mac {
                buf.put_slice(&mac.octets());
            }
            let priority = entry.priority.map_or(0, |pcp| PS | u16::from(pcp.get()) << 12);
            buf.put_u16(priority | entry.vid.map_or(0, Vid::get));
        }
        buf.freeze()
    }
}

impl TryFrom<Vec<FilterEntry>> for FilterInfo {
    type Error = FilterError;

    fn try_from(entries: Vec<FilterEntry>) -> Result<Self, FilterError> {
        Self::new(entries)
    }
}

impl From<FilterInfo> for Vec<FilterEntry> {
    fn from(filter: FilterInfo) -> Self {
        filter.0
    }
}

/// One entry; `octets` is as long as the format says.
fn parse_entry(format: FilterFormat, octets: &[u8]) -> Result<FilterEntry, FilterError> {
    let cut = FilterError::Length { entries: 1, size: format.entry_len(), octets: octets.len() };
    let (mut rest, mut group, mut mac) = (octets, None, None);
    if format.has_group() {
        let (after, number) = be_u32::<_, ()>(rest).map_err(|_| cut)?;
        group = Some(GroupId(NonZeroU32::new(number).ok_or(FilterError::ZeroGroup)?));
        rest = after;
    }
    if matches!(format, FilterFormat::MacVid | FilterFormat::GroupMacVid) {
        let (address, after) = rest.split_first_chunk::<6>().ok_or(cut)?;
        mac = Some(MacAddr::from(*address));
        rest = after;
    }
    let (_, word) = be_u16::<_, ()>(rest).map_err(|_| cut)?;
    let vid = match word & VID {
        0 => None,
        vid => Some(Vid::new(vid).ok_or(FilterError::ReservedVid)?),
    };
    let [high, _] = word.to_be_bytes();
    let priority = (word & PS != 0).then(|| Pcp::from_low_bits(high >> 4));
    Ok(FilterEntry { group, mac, vid, priority })
}

/// Octets of format and number of entries.
const HEADER: usize = 3;
/// Octets of an association TLV before its filter info.
pub(crate) const FIXED: usize = 22;
/// The priority of an entry is significant.
const PS: u16 = 0x8000;
const VID: u16 = 0x0fff;

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn entry(group: u32, mac: u8, vid: u16, priority: Option<u8>) -> FilterEntry {
        FilterEntry {
            group: NonZeroU32::new(group).map(GroupId),
            mac: (mac != 0).then_some(MacAddr(0x52, 0x54, 0, 0x11, 0x22, mac)),
            vid: Vid::new(vid),
            priority: priority.map(|p| Pcp::new(p).unwrap()),
        }
    }

    pub(crate) fn filter(entries: &[FilterEntry]) -> FilterInfo {
        FilterInfo::new(entries.to_vec()).unwrap()
    }

    /// Any valid filter.
    pub(crate) fn any_filter() -> impl Strategy<Value = FilterInfo> {
        let line = (1..=u32::MAX, 1..=u8::MAX, 0u16..4095, proptest::option::of(0u8..8));
        (proptest::collection::vec(line, 1..60), any::<bool>(), any::<bool>()).prop_filter_map(
            "several null VIDs or too many",
            |(lines, group, mac)| {
                let entries = lines
                    .into_iter()
                    .map(|(g, m, v, p)| entry(if group { g } else { 0 }, if mac { m } else { 0 }, v, p));
                FilterInfo::new(entries.collect()).ok()
            },
        )
    }

    #[test]
    fn the_four_formats_both_ways() {
        for (octets, expected) in [
            (&[1u8, 0, 1, 0xd0, 0xc8][..], vec![entry(0, 0, 200, Some(5))]),
            (&[2, 0, 1, 0x52, 0x54, 0, 0x11, 0x22, 0x33, 0, 0x64], vec![entry(0, 0x33, 100, None)]),
            (&[3, 0, 1, 0, 1, 0x23, 0x45, 0, 0], vec![entry(0x12345, 0, 0, None)]),
            (
                &[4, 0, 1, 0, 1, 0x23, 0x46, 0x52, 0x54, 0, 0x11, 0x22, 0x34, 0xb1, 0x2c],
                vec![entry(0x12346, 0x34, 300, Some(3))],
            ),
        ] {
            let filter = filter(&expected);
            assert_eq!(FilterInfo::parse(octets), Ok(Some(filter.clone())));
            assert_eq!(filter.to_octets(), octets);
        }
    }

    #[test]
    fn one_vector_per_error() {
        let mac = |a| [2, 0, 1, a, 0, 0, 0, 0, 0, 0, 1];
        let length = |entries, size, octets| FilterError::Length { entries, size, octets };
        for (octets, error) in [
            (&[1u8, 0][..], length(0, 0, 2)),
            (&[1, 0, 1, 0], length(1, 2, 1)),
            (&[1, 0, 1, 0, 1, 0], length(1, 2, 3)),
            (&[5, 0, 1, 0, 1], FilterError::Format(5)),
            (&[1, 0, 1, 0x0f, 0xff], FilterError::ReservedVid),
            (&[3, 0, 1, 0, 0, 0, 0, 0, 1], FilterError::ZeroGroup),
            (&mac(1), FilterError::NoStationMac),
            (&mac(0), FilterError::NoStationMac),
            (&[1, 0, 2, 0, 0, 0x80, 0], FilterError::SeveralNullVids),
        ] {
            assert_eq!(FilterInfo::parse(octets), Err(error), "{octets:x?}");
        }
        assert_eq!((FilterInfo::parse(&[1]), FilterInfo::parse(&[1, 0, 0])), (Ok(None), Ok(None)));
        assert_eq!(FilterInfo::parse(&[]), Err(length(0, 0, 0)));
        assert_eq!(FilterInfo::new(vec![]), Err(FilterError::Empty));
        let mixed = vec![entry(0, 0, 1, None), entry(1, 0, 1, None)];
        assert_eq!(FilterInfo::new(mixed), Err(FilterError::Mixed));
        assert_eq!(FilterInfo::new(vec![entry(0, 0, 7, None); 244]), Err(FilterError::TooMany(244)));
    }

    #[test]
    fn a_tlv_holds_so_many() {
        for (code, most) in [(1, 243), (2, 60), (3, 81), (4, 40)] {
            assert_eq!(FilterFormat::from_code(code).unwrap().max_entries(), most);
        }
    }

    #[test]
    fn except_zero() {
        let asked = filter(&[entry(7, 1, 0, None), entry(7, 2, 20, Some(3))]);
        let granted = filter(&[entry(7, 1, 10, Some(6)), entry(7, 2, 20, Some(3))]);
        assert!(asked.covers(&granted) && asked.covers(&asked) && !granted.covers(&asked));
        for other in [
            [entry(7, 1, 10, None), entry(7, 2, 21, Some(3))],
            [entry(7, 1, 10, None), entry(7, 2, 20, Some(4))],
            [entry(7, 1, 10, None), entry(7, 2, 20, None)],
            [entry(8, 1, 10, None), entry(7, 2, 20, Some(3))],
            [entry(7, 9, 10, None), entry(7, 2, 20, Some(3))],
        ] {
            assert!(!asked.covers(&filter(&other)), "{other:?}");
        }
        assert!(!asked.covers(&filter(&[entry(7, 1, 10, None)])));
        // One null VID may become a set; a list with VIDs may not grow.
        let set = filter(&[entry(0, 0, 10, None), entry(0, 0, 11, None)]);
        assert!(filter(&[entry(0, 0, 0, None)]).covers(&set));
        assert!(!filter(&[entry(0, 0, 0, Some(1))]).covers(&set));
        assert!(!filter(&[entry(0, 0, 10, None)]).covers(&set));
        assert!(!filter(&[entry(0, 1, 10, None)]).covers(&filter(&[entry(0, 0, 10, None)])));
    }

    proptest! {
        #[test]
        fn round_trip(filter in any_filter()) {
            let octets = filter.to_octets();
            prop_assert_eq!(FilterInfo::parse(&octets), Ok(Some(filter)));
            for len in 2..octets.len() {
                let cut = FilterInfo::parse(&octets[..len]);
                prop_assert!(matches!(cut, Err(FilterError::Length { .. })), "{:?}", cut);
            }
        }

        #[test]
        fn any_octets(octets in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = FilterInfo::parse(&octets);
        }
    }
}
