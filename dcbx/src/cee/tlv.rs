//! The TLV of CEE, version 1.01 of DCBX.

use core::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use nom::{
    IResult, Parser,
    combinator::rest,
    number::complete::{be_u16, u8 as octet},
};
use serde::{Serialize, Serializer};

use super::nested::{Control, Feature, SubTlv, UnknownSubTlv, finish, kind};
use crate::{
    error::{CeeError, TooLong},
    priority::{PrioritySet, PriorityTable},
    protocol::Protocol,
    wire::array,
};

/// How priority groups share the link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct CeePriorityGroups {
    /// The group of every priority, 0..=7; 15 is strict priority without a limit, 8..=14 mean nothing.
    pub groups: PriorityTable,
    /// The share of groups 0 to 7 in per cent, as received.
    pub bandwidth: [u8; 8],
    /// How many traffic classes the sender has, as received.
    pub classes: u8,
}

/// Shown by group; a group without a priority and without a share is left out.
impl fmt::Display for CeePriorityGroups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("priority groups")?;
        for group in 0..16 {
            let members = self.groups.priorities_of(group);
            match self.bandwidth.get(usize::from(group)) {
                Some(0) if members.is_empty() => {}
                Some(share) => write!(f, " [{group}: {share} %, priorities {members}]")?,
                None if members.is_empty() => {}
                None if group == STRICT => write!(f, " [strict: priorities {members}]")?,
                None => write!(f, " [{group}, which does not exist: priorities {members}]")?,
            }
        }
        Ok(())
    }
}

/// Priority-based flow control.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct CeePfc {
    /// The priorities whose frames can be paused.
    pub enabled: PrioritySet,
    /// For how many traffic classes the sender can, as received.
    pub classes: u8,
}

impl fmt::Display for CeePfc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PFC priorities {}", self.enabled)
    }
}

ether::wire_enum! {
    /// What the protocol number of an application counts: two bits on the wire.
    pub enum CeeSelector: u8 {
        /// EtherTypes.
        EtherType = 0,
        /// Ports of TCP and UDP.
        Port = 1,
    }
}

impl Serialize for CeeSelector {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        serializer.serialize_u8(u8::from(*self))
    }
}

/// The priorities of one application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct CeeApplication {
    /// The application.
    pub protocol: u16,
    /// What [`Self::protocol`] counts.
    pub selector: CeeSelector,
    /// The organization whose number it is. The low two bits of its first octet are not sent and received as zero.
    pub oui: [u8; 3],
    /// The priorities it should use.
    pub priorities: PrioritySet,
}

impl fmt::Display for CeeApplication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.selector {
            CeeSelector::EtherType => Protocol::EtherType(self.protocol),
            CeeSelector::Port => Protocol::Port("TCP/UDP", self.protocol),
            CeeSelector::Unknown(code) => Protocol::Unknown(code, self.protocol),
        };
        write!(f, "{protocol} {}", self.priorities)
    }
}

/// Applications in the order sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct CeeApplications(pub Vec<CeeApplication>);

impl fmt::Display for CeeApplications {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("applications")?;
        self.0.iter().try_for_each(|application| write!(f, " [{application}]"))
    }
}

/// The TLV of CEE.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct CeeTlv {
    /// Which state this is.
    pub control: Control,
    /// Sharing of the link.
    pub priority_groups: Option<Feature<CeePriorityGroups>>,
    /// Flow control.
    pub pfc: Option<Feature<CeePfc>>,
    /// Applications and their priorities.
    pub applications: Option<Feature<CeeApplications>>,
    /// What else there was, a known type with a subtype other than 0 included.
    pub unknown: Vec<UnknownSubTlv>,
}

impl CeeTlv {
    /// The subtype of the TLV.
    pub const SUBTYPE: u8 = 0x02;

    /// Reads what follows OUI and subtype. Octets after the fields of a sub-TLV are ignored.
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
                    sub.fill(&mut tlv.priority_groups, sub.feature(13, priority_groups)?)?;
                }
                (kind::PFC, 0) => sub.fill(&mut tlv.pfc, sub.feature(2, pfc)?)?,
                (APPLICATIONS, 0) => sub.fill(&mut tlv.applications, applications(&sub)?)?,
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
            groups.put(&mut buf, kind::PRIORITY_GROUPS, 0, |settings, buf| {
                buf.put_slice(&settings.groups.octets());
                buf.put_slice(&settings.bandwidth);
                buf.put_u8(settings.classes);
            });
        }
        if let Some(pfc) = &self.pfc {
            pfc.put(&mut buf, kind::PFC, 0, |settings, buf| {
                buf.put_u8(settings.enabled.0);
                buf.put_u8(settings.classes);
            });
        }
        if let Some(applications) = &self.applications {
            applications.put(&mut buf, APPLICATIONS, 0, |settings, buf| {
                settings.0.iter().for_each(|application| put_application(application, buf));
            });
        }
        self.unknown.iter().for_each(|sub| sub.put(&mut buf));
        finish(buf)
    }
}

impl fmt::Display for CeeTlv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DCBX CEE, {}", self.control)?;
        if let Some(groups) = &self.priority_groups {
            write!(f, "; {groups}")?;
        }
        if let Some(pfc) = &self.pfc {
            write!(f, "; {pfc}")?;
        }
        if let Some(applications) = &self.applications {
            write!(f, "; {applications}")?;
        }
        self.unknown.iter().try_for_each(|sub| write!(f, "; {sub}"))
    }
}

fn priority_groups(input: &[u8]) -> IResult<&[u8], CeePriorityGroups> {
    let (rest, (groups, bandwidth, classes)) = (array, array, octet).parse(input)?;
    Ok((rest, CeePriorityGroups { groups: PriorityTable::from_octets(groups), bandwidth, classes }))
}

fn pfc(input: &[u8]) -> IResult<&[u8], CeePfc> {
    let (rest, (enabled, classes)) = (octet, octet).parse(input)?;
    Ok((rest, CeePfc { enabled: PrioritySet(enabled), classes }))
}

fn applications(sub: &SubTlv<'_>) -> Result<Feature<CeeApplications>, CeeError> {
    let feature = sub.feature(0, rest)?;
    let length = feature.settings.len();
    if length % ENTRY != 0 {
        return Err(CeeError::PartialApplication { offset: sub.offset, length });
    }
    let read = |entry| application(entry).ok().map(|(_, application)| application);
    Ok(feature.map(|entries| CeeApplications(entries.chunks_exact(ENTRY).filter_map(read).collect())))
}

fn application(input: &[u8]) -> IResult<&[u8], CeeApplication> {
    let (rest, (protocol, head, [b, c], priorities)) = (be_u16, octet, array, octet).parse(input)?;
    let (selector, oui) = (CeeSelector::from(head & SELECTOR), [head & !SELECTOR, b, c]);
    Ok((rest, CeeApplication { protocol, selector, oui, priorities: PrioritySet(priorities) }))
}

fn put_application(application: &CeeApplication, buf: &mut BytesMut) {
    let CeeApplication { protocol, selector, oui: [a, b, c], priorities } = *application;
    buf.put_u16(protocol);
    buf.put_u8(a & !SELECTOR | u8::from(selector) & SELECTOR);
    buf.put_slice(&[b, c]);
    buf.put_u8(priorities.0);
}

/// The group of priorities without a limit.
pub(super) const STRICT: u8 = 15;
/// The type of the applications sub-TLV.
const APPLICATIONS: u8 = 4;
/// Octets of an application.
const ENTRY: usize = 6;
/// The bits of the selector in the octet it shares with the high six bits of the OUI.
const SELECTOR: u8 = 0x03;
