//! The TLV of CIN, version 1.00 of DCBX.

use core::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use nom::{IResult, Parser, multi::fill, number::complete::u8 as octet};
use serde::Serialize;

use super::nested::{Control, Feature, SubTlv, UnknownSubTlv, finish, kind};
use crate::{
    error::{CeeError, TooLong},
    priority::PrioritySet,
    wire::array,
};

/// Whether a priority goes before others whatever their share: two bits.
///
/// What a comment of lldpad says of 1 and 2 is the reverse of what its code does; here they are as in the code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Strictness {
    /// 0: it does not.
    #[default]
    None,
    /// 1: before the others of its group.
    Group,
    /// 2: before all others of the link.
    Link,
    /// 3: without a meaning.
    Reserved,
}

/// What one priority has of the bandwidth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct CinShare {
    group: u8,
    /// Whether it goes before others.
    pub strictness: Strictness,
    /// Its share in per cent of its group, as received.
    pub percent: u8,
}

impl CinShare {
    /// The share `percent` of bandwidth group `group`, unless there is no such group: 0..=7.
    #[must_use]
    pub const fn new(group: u8, strictness: Strictness, percent: u8) -> Option<Self> {
        if group < 8 { Some(Self { group, strictness, percent }) } else { None }
    }

    /// The bandwidth group, 0..=7.
    #[must_use]
    pub const fn group(self) -> u8 {
        self.group
    }
}

impl fmt::Display for CinShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, strictness, percent } = self;
        match strictness {
            Strictness::Link => f.write_str("strict"),
            Strictness::Group => write!(f, "strict in group {group}"),
            Strictness::None | Strictness::Reserved => write!(f, "{percent} % of group {group}"),
        }
    }
}

/// How bandwidth groups share the link and priorities share the groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct CinPriorityGroups {
    /// The share of groups 0 to 7 in per cent of the link, as received.
    pub bandwidth: [u8; 8],
    /// What priorities 0 to 7 have of them.
    pub shares: [CinShare; 8],
}

impl fmt::Display for CinPriorityGroups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bandwidth groups")?;
        for (group, share) in self.bandwidth.iter().enumerate().filter(|&(_, &share)| share != 0) {
            write!(f, " [{group}: {share} %]")?;
        }
        for (priority, share) in self.shares.iter().enumerate() {
            write!(f, "{} {priority} {share}", if priority == 0 { ", priorities" } else { "," })?;
        }
        Ok(())
    }
}

/// Whether a logical link is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkStatus {
    /// It is.
    Up,
    /// It is not.
    Down,
}

impl fmt::Display for LinkStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::Down => "down",
        })
    }
}

/// The TLV of CIN.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct CinTlv {
    /// Which state this is.
    pub control: Control,
    /// Sharing of the link.
    pub priority_groups: Option<Feature<CinPriorityGroups>>,
    /// Flow control: the priorities whose frames can be paused.
    pub pfc: Option<Feature<PrioritySet>>,
    /// The priorities of FCoE.
    pub fcoe: Option<Feature<PrioritySet>>,
    /// The logical link of FCoE.
    pub fcoe_link: Option<Feature<LinkStatus>>,
    /// The logical link of everything else.
    pub lan_link: Option<Feature<LinkStatus>>,
    /// What else there was, a known type with another subtype included.
    pub unknown: Vec<UnknownSubTlv>,
}

impl CinTlv {
    /// The subtype of the TLV.
    pub const SUBTYPE: u8 = 0x01;

    /// Reads what follows OUI and subtype. Reserved bits and octets after the fields of a sub-TLV are ignored.
    ///
    /// # Errors
    /// When the sub-TLVs cannot be told apart, when one of a known type is too short or stands twice, when there is no
    /// control sub-TLV.
    pub fn parse(info: &[u8]) -> Result<Self, CeeError> {
        let (mut tlv, mut control) = (Self::default(), None);
        for sub in SubTlv::read_all(info)? {
            match (sub.kind, sub.subtype()) {
                (kind::CONTROL, _) => sub.fill(&mut control, sub.control()?)?,
                (kind::PRIORITY_GROUPS, 0) => {
                    sub.fill(&mut tlv.priority_groups, sub.feature(24, priority_groups)?)?;
                }
                (kind::PFC, 0) => sub.fill(&mut tlv.pfc, sub.feature(1, priority_set)?)?,
                (APPLICATION, FCOE) => sub.fill(&mut tlv.fcoe, sub.feature(1, priority_set)?)?,
                (LOGICAL_LINK, FCOE) => sub.fill(&mut tlv.fcoe_link, sub.feature(1, link_status)?)?,
                (LOGICAL_LINK, LAN) => sub.fill(&mut tlv.lan_link, sub.feature(1, link_status)?)?,
                _ => tlv.unknown.push(sub.keep()),
            }
        }
        Ok(Self { control: control.ok_or(CeeError::NoControl)?, ..tlv })
    }

    /// The octets after OUI and subtype, at most 507.
    ///
    /// # Errors
    /// When there would be more.
    pub fn to_bytes(&self) -> Result<Bytes, TooLong> {
        let mut buf = BytesMut::new();
        self.control.put(&mut buf);
        if let Some(groups) = &self.priority_groups {
            groups.put(&mut buf, kind::PRIORITY_GROUPS, 0, put_priority_groups);
        }
        let priority_set = |settings: &PrioritySet, buf: &mut BytesMut| buf.put_u8(settings.0);
        if let Some(pfc) = &self.pfc {
            pfc.put(&mut buf, kind::PFC, 0, priority_set);
        }
        if let Some(fcoe) = &self.fcoe {
            fcoe.put(&mut buf, APPLICATION, FCOE, priority_set);
        }
        for (link, subtype) in [(&self.fcoe_link, FCOE), (&self.lan_link, LAN)] {
            if let Some(link) = link {
                link.put(&mut buf, LOGICAL_LINK, subtype, |settings, buf| {
                    buf.put_u8(if *settings == LinkStatus::Up { UP } else { 0 });
                });
            }
        }
        self.unknown.iter().for_each(|sub| sub.put(&mut buf));
        finish(buf)
    }
}

impl fmt::Display for CinTlv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DCBX CIN, {}", self.control)?;
        if let Some(groups) = &self.priority_groups {
            write!(f, "; {groups}")?;
        }
        for (name, set) in [("PFC priorities", &self.pfc), ("FCoE priorities", &self.fcoe)] {
            if let Some(set) = set {
                write!(f, "; {name} {set}")?;
            }
        }
        for (name, link) in [("FCoE link", &self.fcoe_link), ("LAN link", &self.lan_link)] {
            if let Some(link) = link {
                write!(f, "; {name} {link}")?;
            }
        }
        self.unknown.iter().try_for_each(|sub| write!(f, "; {sub}"))
    }
}

fn priority_groups(input: &[u8]) -> IResult<&[u8], CinPriorityGroups> {
    let mut shares = [CinShare::default(); 8];
    let (rest, bandwidth) = array(input)?;
    let (rest, ()) = fill(share, &mut shares).parse(rest)?;
    Ok((rest, CinPriorityGroups { bandwidth, shares }))
}

fn share(input: &[u8]) -> IResult<&[u8], CinShare> {
    let (rest, (head, percent)) = (octet, octet).parse(input)?;
    let strictness = match head >> 3 & 3 {
        0 => Strictness::None,
        1 => Strictness::Group,
        2 => Strictness::Link,
        _ => Strictness::Reserved,
    };
    Ok((rest, CinShare { group: head >> 5, strictness, percent }))
}

fn put_priority_groups(groups: &CinPriorityGroups, buf: &mut BytesMut) {
    buf.put_slice(&groups.bandwidth);
    for CinShare { group, strictness, percent } in groups.shares {
        let strictness = match strictness {
            Strictness::None => 0,
            Strictness::Group => 1,
            Strictness::Link => 2,
            Strictness::Reserved => 3,
        };
        buf.put_u8(group << 5 | strictness << 3);
        buf.put_u8(percent);
    }
}

fn priority_set(input: &[u8]) -> IResult<&[u8], PrioritySet> {
    octet.map(PrioritySet).parse(input)
}

fn link_status(input: &[u8]) -> IResult<&[u8], LinkStatus> {
    octet.map(|bits| if bits & UP == 0 { LinkStatus::Down } else { LinkStatus::Up }).parse(input)
}

/// Types of sub-TLVs.
const APPLICATION: u8 = 5;
const LOGICAL_LINK: u8 = 6;
/// Subtypes of both.
const FCOE: u8 = 0;
const LAN: u8 = 1;
/// The status bit of a logical link.
const UP: u8 = 0x80;
