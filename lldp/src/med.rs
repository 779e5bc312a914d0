//! The organizational TLVs of LLDP-MED, OUI 00-12-BB: what telephones and their switches tell each other [TIA-1057 10.2].

use core::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use ether::{Pcp, Vid};
use serde::{Serialize, Serializer};

use crate::{
    basic::Hex,
    content::{Label, length},
    error::PeerOrgFault,
};

/// One TLV of LLDP-MED.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Med {
    /// Which TLVs the sender knows and what it is; comes first [TIA-1057 10.2.2].
    Capabilities(Capabilities),
    /// The VLAN and priorities of one application [TIA-1057 10.2.3].
    NetworkPolicy(NetworkPolicy),
    /// Where the sender stands; the octets are not read here [TIA-1057 10.2.4].
    Location(Opaque),
    /// Its power in detail; the octets are not read here [TIA-1057 10.2.5].
    ExtendedPower(Opaque),
    /// One line of its inventory [TIA-1057 10.2.6].
    Inventory(InventoryItem, Label),
}

/// Which TLVs the sender knows and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// Bit 0 capabilities, 1 network policy, 2 location, 3 extended power of a PSE, 4 of a PD, 5 inventory.
    pub known: u16,
    /// What it is.
    #[serde(serialize_with = "device_number")]
    pub device: Device,
}

ether::wire_enum! {
    /// What kind of device speaks MED.
    pub enum Device: u8 {
        /// None told.
        NotDefined = 0,
        /// Endpoint class I: any.
        EndpointI = 1,
        /// Endpoint class II: carries media.
        EndpointII = 2,
        /// Endpoint class III: a telephone.
        EndpointIII = 3,
        /// A switch, router or access point.
        Network = 4,
    }
}

ether::wire_enum! {
    /// What a network policy is for.
    pub enum Application: u8 {
        /// Voice.
        Voice = 1,
        /// Signalling of voice.
        VoiceSignaling = 2,
        /// Voice of guests.
        GuestVoice = 3,
        /// Signalling of guests' voice.
        GuestVoiceSignaling = 4,
        /// Telephones on computers.
        SoftphoneVoice = 5,
        /// Video conferences.
        VideoConferencing = 6,
        /// Broadcast video.
        StreamingVideo = 7,
        /// Signalling of video.
        VideoSignaling = 8,
    }
}

/// The VLAN and priorities of one application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct NetworkPolicy {
    /// Of which.
    #[serde(serialize_with = "application_number")]
    pub application: Application,
    /// Wanted, but not known; what follows then means nothing.
    pub unknown: bool,
    /// Its frames are tagged.
    pub tagged: bool,
    /// The VLAN; none with priority tags or no tags.
    pub vid: Option<Vid>,
    /// The priority in the tag.
    pub pcp: Pcp,
    /// The differentiated services code point, 0..=63.
    pub dscp: u8,
}

/// Octets kept as they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opaque(pub Bytes);

/// A line of an inventory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InventoryItem {
    /// Revision of the hardware.
    HardwareRevision,
    /// Revision of the firmware.
    FirmwareRevision,
    /// Revision of the software.
    SoftwareRevision,
    /// Serial number.
    SerialNumber,
    /// Name of the manufacturer.
    Manufacturer,
    /// Name of the model.
    Model,
    /// Number under which the owner keeps it.
    AssetId,
}

impl Med {
    /// Reads the octets after `subtype`; `None` for a subtype that is not read here.
    ///
    /// # Errors
    /// When they make no sense: see [`PeerOrgFault`].
    pub fn parse(subtype: u8, info: &[u8]) -> Result<Option<Self>, PeerOrgFault> {
        Ok(Some(match subtype {
            CAPABILITIES => {
                let &[a, b, device] = info else { return Err(length("MED capabilities", info, "3")) };
                Self::Capabilities(Capabilities {
                    known: u16::from_be_bytes([a, b]),
                    device: Device::from(device),
                })
            }
            NETWORK_POLICY => Self::NetworkPolicy(NetworkPolicy::parse(info)?),
            LOCATION => Self::Location(Opaque(Bytes::copy_from_slice(info))),
            EXTENDED_POWER => Self::ExtendedPower(Opaque(Bytes::copy_from_slice(info))),
            _ => match InventoryItem::ALL.iter().find(|(number, ..)| *number == subtype) {
                Some((_, item, what)) => {
                    let text = Label::parse(info).ok_or(length(what, info, "0 to 32"))?;
                    Self::Inventory(*item, text)
                }
                None => return Ok(None),
            },
        }))
    }

    /// Its number among the TLVs of MED.
    #[must_use]
    pub const fn subtype(&self) -> u8 {
        match self {
            Self::Capabilities(_) => CAPABILITIES,
            Self::NetworkPolicy(_) => NETWORK_POLICY,
            Self::Location(_) => LOCATION,
            Self::ExtendedPower(_) => EXTENDED_POWER,
            Self::Inventory(item, _) => item.subtype(),
        }
    }

    /// The octets after the subtype.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Self::Capabilities(Capabilities { known, device }) => {
                out.put_u16(*known);
                out.put_u8((*device).into());
            }
            Self::NetworkPolicy(policy) => policy.put(&mut out),
            Self::Location(Opaque(octets)) | Self::ExtendedPower(Opaque(octets)) => return octets.clone(),
            Self::Inventory(_, text) => return text.as_bytes().clone(),
        }
        out.freeze()
    }
}

impl NetworkPolicy {
    fn parse(info: &[u8]) -> Result<Self, PeerOrgFault> {
        const WHAT: &str = "network policy";
        let &[application, a, b, c] = info else { return Err(length(WHAT, info, "4")) };
        // U, T and X (reserved), then twelve bits of VLAN, three of priority, six of DSCP.
        let bits = u32::from_be_bytes([0, a, b, c]);
        let vid = u16::try_from(bits >> 9 & 0xfff).unwrap_or(0);
        let known = match vid {
            0 => None,
            vid => Some(Vid::new(vid).ok_or(PeerOrgFault::Vid { what: WHAT, vid, allowed: "0 to 4094" })?),
        };
        Ok(Self {
            application: application.into(),
            unknown: a & 0x80 != 0,
            tagged: a & 0x40 != 0,
            vid: known,
            pcp: Pcp::from_low_bits(u8::try_from(bits >> 6 & 7).unwrap_or(0)),
            dscp: c & 0x3f,
        })
    }

    fn put(&self, out: &mut BytesMut) {
        let flags = u32::from(self.unknown) << 23 | u32::from(self.tagged) << 22;
        let vid = u32::from(self.vid.map_or(0, Vid::get)) << 9;
        let bits = flags | vid | u32::from(self.pcp.get()) << 6 | u32::from(self.dscp & 0x3f);
        out.put_u32(u32::from(u8::from(self.application)) << 24 | bits);
    }
}

impl InventoryItem {
    /// Each with its subtype and its name.
    const ALL: [(u8, Self, &'static str); 7] = [
        (5, Self::HardwareRevision, "hardware revision"),
        (6, Self::FirmwareRevision, "firmware revision"),
        (7, Self::SoftwareRevision, "software revision"),
        (8, Self::SerialNumber, "serial number"),
        (9, Self::Manufacturer, "manufacturer"),
        (10, Self::Model, "model"),
        (11, Self::AssetId, "asset ID"),
    ];

    const fn subtype(self) -> u8 {
        match self {
            Self::HardwareRevision => 5,
            Self::FirmwareRevision => 6,
            Self::SoftwareRevision => 7,
            Self::SerialNumber => 8,
            Self::Manufacturer => 9,
            Self::Model => 10,
            Self::AssetId => 11,
        }
    }
}

impl Application {
    /// What the operator calls it.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Voice => "voice",
            Self::VoiceSignaling => "voice signaling",
            Self::GuestVoice => "guest voice",
            Self::GuestVoiceSignaling => "guest voice signaling",
            Self::SoftphoneVoice => "softphone voice",
            Self::VideoConferencing => "video conferencing",
            Self::StreamingVideo => "streaming video",
            Self::VideoSignaling => "video signaling",
            Self::Unknown(_) => "an unknown application",
        }
    }
}

impl fmt::Display for Med {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Capabilities(capabilities) => fmt::Display::fmt(capabilities, f),
            Self::NetworkPolicy(policy) => fmt::Display::fmt(policy, f),
            Self::Location(Opaque(octets)) => write!(f, "MED location {}", Hex(octets)),
            Self::ExtendedPower(Opaque(octets)) => write!(f, "MED extended power {}", Hex(octets)),
            Self::Inventory(item, text) => {
                let name =
                    InventoryItem::ALL.iter().find(|(_, i, _)| i == item).map_or("", |(.., name)| name);
                write!(f, "{name} \"{text}\"")
            }
        }
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MED ")?;
        match self.device {
            Device::NotDefined => f.write_str("device"),
            Device::EndpointI => f.write_str("endpoint of class I"),
            Device::EndpointII => f.write_str("endpoint of class II"),
            Device::EndpointIII => f.write_str("endpoint of class III"),
            Device::Network => f.write_str("network device"),
            Device::Unknown(number) => write!(f, "device of type {number}"),
        }?;
        f.write_str(", knows")?;
        let names = ["capabilities", "policy", "location", "power (PSE)", "power (PD)", "inventory"];
        let known = names.iter().enumerate().filter(|(bit, _)| self.known >> bit & 1 == 1);
        for (place, (_, name)) in known.enumerate() {
            write!(f, "{} {name}", if place == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl fmt::Display for NetworkPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "network policy for {}", self.application.words())?;
        if let Application::Unknown(number) = self.application {
            write!(f, " ({number})")?;
        }
        if self.unknown {
            return f.write_str(": not known");
        }
        match (self.tagged, self.vid) {
            (true, Some(vid)) => write!(f, ": VLAN {vid} tagged"),
            (true, None) => f.write_str(": priority tagged"),
            (false, Some(vid)) => write!(f, ": VLAN {vid} untagged"),
            (false, None) => f.write_str(": untagged"),
        }?;
        write!(f, ", priority {}, DSCP {}", self.pcp, self.dscp)
    }
}

impl Serialize for Opaque {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        Hex(&self.0).serialize(serializer)
    }
}

fn device_number<Z: Serializer>(device: &Device, serializer: Z) -> Result<Z::Ok, Z::Error> {
    serializer.serialize_u8((*device).into())
}

fn application_number<Z: Serializer>(application: &Application, serializer: Z) -> Result<Z::Ok, Z::Error> {
    serializer.serialize_u8((*application).into())
}

const CAPABILITIES: u8 = 1;
const NETWORK_POLICY: u8 = 2;
const LOCATION: u8 = 3;
const EXTENDED_POWER: u8 = 4;
