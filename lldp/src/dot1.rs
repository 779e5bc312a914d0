//! The organizational TLVs of IEEE 802.1, OUI 00-80-C2, that describe VLANs and bundles [Q D.2.1 to D.2.7, D.2.14].

use core::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use ether::Vid;
use serde::{Deserialize, Serialize};

use crate::{
    basic::Hex,
    content::{Bits, Label, LinkAggregation, length, yes},
    error::PeerOrgFault,
};

/// One TLV of 802.1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Dot1 {
    /// The VLAN of untagged frames; none where there is none [Q D.2.1].
    PortVlan(Option<Vid>),
    /// A VLAN of frames of one protocol group [Q D.2.2].
    PortProtocolVlan(PortProtocolVlan),
    /// A VLAN and its name [Q D.2.3].
    VlanName(VlanName),
    /// The first octets of the frames of a protocol that passes, from its EtherType or LLC on: 0..=255 [Q D.2.4].
    ProtocolIdentity(ProtocolIdentity),
    /// A checksum of which VLANs are used: two ends that differ are set up differently [Q D.2.5].
    VidUsageDigest(u32),
    /// The VLAN of the management station; none where there is none [Q D.2.6].
    ManagementVlan(Option<Vid>),
    /// Whether the link is bundled with others.
    LinkAggregation(LinkAggregation),
    /// Congestion notification [Q D.2.7].
    CongestionNotification(CongestionNotification),
    /// Which applications belong in which VLAN [Q D.2.14].
    ApplicationVlan(Vec<ApplicationVlan>),
}

/// A VLAN of frames of one protocol group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PortProtocolVlan {
    /// The port can sort frames so.
    pub supported: bool,
    /// It does.
    pub enabled: bool,
    /// The VLAN; none where the port has none for a protocol.
    pub vid: Option<Vid>,
}

/// A VLAN and its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VlanName {
    /// The VLAN.
    pub vid: Vid,
    /// Its name.
    pub name: Label,
}

/// The first octets of a protocol's frames after the addresses, at most 255.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtocolIdentity(Bytes);

/// Which priorities congestion notification runs on, bit n for priority n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CongestionNotification {
    /// Priorities with congestion notification.
    pub priorities: u8,
    /// Of these, those whose tags the port is ready to take.
    pub ready: u8,
}

/// An application and its VLAN. The layout is UNSURE-18.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ApplicationVlan {
    /// The VLAN.
    pub vid: Vid,
    /// What `protocol` is a number of, 0..=7: 1 EtherType, 2 TCP port, 3 UDP port, 4 either, 5 DSCP.
    pub selector: u8,
    /// The number.
    pub protocol: u16,
}

impl Dot1 {
    /// Reads the octets after `subtype`; `None` for a subtype that is not read here.
    ///
    /// # Errors
    /// When they make no sense: see [`PeerOrgFault`].
    pub fn parse(subtype: u8, info: &[u8]) -> Result<Option<Self>, PeerOrgFault> {
        Ok(Some(match subtype {
            PORT_VLAN => Self::PortVlan(vlan("port VLAN", info)?),
            PORT_PROTOCOL_VLAN => {
                const WHAT: &str = "port and protocol VLAN";
                let &[flags, a, b] = info else { return Err(length(WHAT, info, "3")) };
                Self::PortProtocolVlan(PortProtocolVlan {
                    supported: flags & 2 != 0,
                    enabled: flags & 4 != 0,
                    vid: vlan(WHAT, &[a, b])?,
                })
            }
            VLAN_NAME => Self::VlanName(VlanName::parse(info)?),
            PROTOCOL_IDENTITY => Self::ProtocolIdentity(ProtocolIdentity::parse(info)?),
            VID_USAGE_DIGEST => {
                let digest = <[u8; 4]>::try_from(info).map_err(|_| length("VID usage digest", info, "4"))?;
                Self::VidUsageDigest(u32::from_be_bytes(digest))
            }
            MANAGEMENT_VLAN => Self::ManagementVlan(vlan("management VLAN", info)?),
            LINK_AGGREGATION => Self::LinkAggregation(LinkAggregation::parse("link aggregation", info)?),
            CONGESTION_NOTIFICATION => {
                let &[priorities, ready] = info else {
                    return Err(length("congestion notification", info, "2"));
                };
                Self::CongestionNotification(CongestionNotification { priorities, ready })
            }
            APPLICATION_VLAN => Self::ApplicationVlan(application_vlans(info)?),
            _ => return Ok(None),
        }))
    }

    /// Its number among the TLVs of 802.1.
    #[must_use]
    pub const fn subtype(&self) -> u8 {
        match self {
            Self::PortVlan(_) => PORT_VLAN,
            Self::PortProtocolVlan(_) => PORT_PROTOCOL_VLAN,
            Self::VlanName(_) => VLAN_NAME,
            Self::ProtocolIdentity(_) => PROTOCOL_IDENTITY,
            Self::VidUsageDigest(_) => VID_USAGE_DIGEST,
            Self::ManagementVlan(_) => MANAGEMENT_VLAN,
            Self::LinkAggregation(_) => LINK_AGGREGATION,
            Self::CongestionNotification(_) => CONGESTION_NOTIFICATION,
            Self::ApplicationVlan(_) => APPLICATION_VLAN,
        }
    }

    /// The octets after the subtype.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Self::PortVlan(vid) | Self::ManagementVlan(vid) => out.put_u16(number(*vid)),
            Self::PortProtocolVlan(PortProtocolVlan { supported, enabled, vid }) => {
                out.put_u8(u8::from(*supported) << 1 | u8::from(*enabled) << 2);
                out.put_u16(number(*vid));
            }
            Self::VlanName(VlanName { vid, name }) => {
                out.put_u16(vid.get());
                put_counted(&mut out, name.as_bytes());
            }
            Self::ProtocolIdentity(ProtocolIdentity(octets)) => put_counted(&mut out, octets),
            Self::VidUsageDigest(digest) => out.put_u32(*digest),
            Self::LinkAggregation(bundle) => return bundle.to_bytes(),
            Self::CongestionNotification(CongestionNotification { priorities, ready }) => {
                out.put_slice(&[*priorities, *ready]);
            }
            Self::ApplicationVlan(applications) => {
                for ApplicationVlan { vid, selector, protocol } in applications {
                    out.put_u16(vid.get() << 4 | u16::from(selector & 7));
                    out.put_u16(*protocol);
                }
            }
        }
        out.freeze()
    }
}

impl VlanName {
    fn parse(info: &[u8]) -> Result<Self, PeerOrgFault> {
        const WHAT: &str = "VLAN name";
        let [a, b, claimed, name @ ..] = info else { return Err(length(WHAT, info, "3 to 35")) };
        let vid = u16::from_be_bytes([*a, *b]);
        let vid = Vid::new(vid).ok_or(PeerOrgFault::Vid { what: WHAT, vid, allowed: "1 to 4094" })?;
        let fault = PeerOrgFault::Text { what: WHAT, claimed: *claimed, left: name.len(), max: Label::MAX };
        let name = Some(name).filter(|name| name.len() == usize::from(*claimed)).and_then(Label::parse);
        Ok(Self { vid, name: name.ok_or(fault)? })
    }
}

impl ProtocolIdentity {
    /// The most octets.
    pub const MAX: usize = 255;

    /// The protocol whose frames start with as much of `octets` as fits.
    #[must_use]
    pub fn truncated(octets: &[u8]) -> Self {
        Self(octets.iter().copied().take(Self::MAX).collect())
    }

    /// The octets.
    #[must_use]
    pub const fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    fn parse(info: &[u8]) -> Result<Self, PeerOrgFault> {
        const WHAT: &str = "protocol identity";
        let (&claimed, octets) = info.split_first().ok_or(length(WHAT, info, "1 to 256"))?;
        if octets.len() != usize::from(claimed) {
            return Err(PeerOrgFault::Text { what: WHAT, claimed, left: octets.len(), max: Self::MAX });
        }
        Ok(Self(Bytes::copy_from_slice(octets)))
    }
}

impl Serialize for ProtocolIdentity {
    fn serialize<Z: serde::Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        Hex(&self.0).serialize(serializer)
    }
}

impl fmt::Display for Dot1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PortVlan(Some(vid)) => write!(f, "port VLAN {vid}"),
            Self::PortVlan(None) => f.write_str("port VLAN none"),
            Self::PortProtocolVlan(PortProtocolVlan { supported, enabled, vid }) => {
                let (can, does) = (yes(*supported), yes(*enabled));
                match vid {
                    Some(vid) => write!(f, "port and protocol VLAN {vid}")?,
                    None => f.write_str("port and protocol VLAN none")?,
                }
                write!(f, ": supported {can}, enabled {does}")
            }
            Self::VlanName(VlanName { vid, name }) => write!(f, "VLAN {vid} is named \"{name}\""),
            Self::ProtocolIdentity(ProtocolIdentity(octets)) => write!(f, "protocol {}", Hex(octets)),
            Self::VidUsageDigest(digest) => write!(f, "VID usage digest {digest:08x}"),
            Self::ManagementVlan(Some(vid)) => write!(f, "management VLAN {vid}"),
            Self::ManagementVlan(None) => f.write_str("management VLAN none"),
            Self::LinkAggregation(bundle) => write!(f, "link aggregation: {bundle}"),
            Self::CongestionNotification(CongestionNotification { priorities, ready }) => {
                write!(
                    f,
                    "congestion notification: priorities {}, ready {}",
                    Bits(*priorities),
                    Bits(*ready)
                )?;
                match ready & !priorities {
                    0 => Ok(()),
                    contrary => write!(f, " (contradictory: not on for {})", Bits(contrary)),
                }
            }
            Self::ApplicationVlan(applications) => {
                f.write_str("application VLANs:")?;
                applications
                    .iter()
                    .enumerate()
                    .try_for_each(|(place, a)| write!(f, "{} {a}", if place == 0 { "" } else { "," }))
            }
        }
    }
}

impl fmt::Display for ApplicationVlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = self.protocol;
        match self.selector {
            1 => write!(f, "EtherType {protocol:04x}"),
            2 => write!(f, "TCP port {protocol}"),
            3 => write!(f, "UDP port {protocol}"),
            4 => write!(f, "TCP or UDP port {protocol}"),
            5 => write!(f, "DSCP {protocol}"),
            other => write!(f, "selector {other} protocol {protocol}"),
        }?;
        write!(f, " in VLAN {}", self.vid)
    }
}

/// A VLAN in two octets, or none.
fn vlan(what: &'static str, info: &[u8]) -> Result<Option<Vid>, PeerOrgFault> {
    match <[u8; 2]>::try_from(info).map(u16::from_be_bytes) {
        Ok(0) => Ok(None),
        Ok(vid) => Vid::new(vid).map(Some).ok_or(PeerOrgFault::Vid { what, vid, allowed: "0 to 4094" }),
        Err(_) => Err(length(what, info, "2")),
    }
}

fn application_vlans(info: &[u8]) -> Result<Vec<ApplicationVlan>, PeerOrgFault> {
    const WHAT: &str = "application VLANs";
    let (entries, rest) = info.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(length(WHAT, info, "a multiple of 4"));
    }
    let read = |&[a, b, c, d]: &[u8; 4]| {
        let vid = u16::from_be_bytes([a, b]) >> 4;
        let known = Vid::new(vid).ok_or(PeerOrgFault::Vid { what: WHAT, vid, allowed: "1 to 4094" })?;
        Ok(ApplicationVlan { vid: known, selector: b & 7, protocol: u16::from_be_bytes([c, d]) })
    };
    entries.iter().map(read).collect()
}

fn number(vid: Option<Vid>) -> u16 {
    vid.map_or(0, Vid::get)
}

/// `octets`, at most 255 by their type, led by how many they are.
fn put_counted(out: &mut BytesMut, octets: &[u8]) {
    out.put_u8(u8::try_from(octets.len()).unwrap_or(u8::MAX));
    out.put_slice(octets);
}

const PORT_VLAN: u8 = 1;
const PORT_PROTOCOL_VLAN: u8 = 2;
const VLAN_NAME: u8 = 3;
const PROTOCOL_IDENTITY: u8 = 4;
const VID_USAGE_DIGEST: u8 = 5;
const MANAGEMENT_VLAN: u8 = 6;
const LINK_AGGREGATION: u8 = 7;
const CONGESTION_NOTIFICATION: u8 = 8;
const APPLICATION_VLAN: u8 = 0x10;
