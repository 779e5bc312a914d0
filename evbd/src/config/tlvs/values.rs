//! Values of a `tlvs` table that have a table of their own.

use ether::{Pcp, Vid};
use serde::Deserialize;

use super::{CongestionNotification, Short, Vlan};

/// An application and its VLAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplicationVlan {
    /// The VLAN.
    pub vid: Vid,
    /// What `protocol` is a number of.
    pub selector: Selector,
    /// The number.
    pub protocol: u16,
}

/// What names an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selector {
    /// An EtherType.
    Ethertype,
    /// A TCP port.
    Tcp,
    /// A UDP port.
    Udp,
    /// A port of either.
    TcpUdp,
    /// A differentiated services code point.
    Dscp,
}

/// Power over the cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Power {
    /// Whether the port feeds or is fed.
    pub role: PowerRole,
    /// It can.
    #[serde(default = "yes")]
    pub supported: bool,
    /// It does.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// The pairs can be chosen.
    #[serde(default)]
    pub pair_control: bool,
    /// The pairs that feed.
    #[serde(default)]
    pub pairs: Pairs,
    /// The power class.
    pub class: Below<5>,
    /// Type 1 (802.3af) or 2 (802.3at); with it, and only with it, the four keys below are told.
    #[serde(rename = "type")]
    pub kind: Option<PowerKind>,
    /// Source as a number, 0 to 3.
    #[serde(default)]
    pub source: Below<4>,
    /// Priority, 0 (unknown) to 3 (low).
    #[serde(default)]
    pub priority: Below<4>,
    /// Asked for, in tenths of a watt.
    #[serde(default)]
    pub requested: u16,
    /// Given, in tenths of a watt.
    #[serde(default)]
    pub allocated: u16,
}

/// Who feeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PowerRole {
    /// The port.
    Pse,
    /// The other end.
    Pd,
}

/// Which pairs feed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pairs {
    /// Those that carry the signal.
    #[default]
    Signal,
    /// The others.
    Spare,
}

/// Type of a powered link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u8")]
pub enum PowerKind {
    /// 802.3af.
    One,
    /// 802.3at.
    Two,
}

/// A number below `LIMIT`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u8")]
pub struct Below<const LIMIT: u8>(pub u8);

/// What LLDP-MED says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Med {
    /// What this is.
    #[serde(default)]
    pub device: MedDevice,
    /// VLAN and priorities of applications.
    #[serde(default)]
    pub policies: Vec<Policy>,
    /// Revision of the hardware.
    pub hardware_revision: Option<Short<32>>,
    /// Revision of the firmware.
    pub firmware_revision: Option<Short<32>>,
    /// Revision of the software.
    pub software_revision: Option<Short<32>>,
    /// Serial number.
    pub serial_number: Option<Short<32>>,
    /// Name of the manufacturer.
    pub manufacturer: Option<Short<32>>,
    /// Name of the model.
    pub model: Option<Short<32>>,
    /// The owner's number.
    pub asset_id: Option<Short<32>>,
}

/// What a device of LLDP-MED is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MedDevice {
    /// Endpoint class I.
    #[serde(rename = "endpoint_1")]
    EndpointI,
    /// Endpoint class II.
    #[serde(rename = "endpoint_2")]
    EndpointII,
    /// Endpoint class III.
    #[serde(rename = "endpoint_3")]
    EndpointIII,
    /// A switch.
    #[default]
    Network,
}

/// VLAN and priorities of one application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Of which.
    pub application: MedApplication,
    /// The VLAN; 0 for none.
    #[serde(default)]
    pub vid: Vlan,
    /// Its frames are tagged.
    #[serde(default)]
    pub tagged: bool,
    /// The priority in the tag.
    #[serde(default)]
    pub pcp: Pcp,
    /// The differentiated services code point.
    #[serde(default)]
    pub dscp: Below<64>,
}

/// What a network policy is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum MedApplication {
    Voice,
    VoiceSignaling,
    GuestVoice,
    GuestVoiceSignaling,
    SoftphoneVoice,
    VideoConferencing,
    StreamingVideo,
    VideoSignaling,
}

impl Selector {
    /// Its number in the TLV.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Ethertype => 1,
            Self::Tcp => 2,
            Self::Udp => 3,
            Self::TcpUdp => 4,
            Self::Dscp => 5,
        }
    }
}

impl Pairs {
    /// Their number in the TLV.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Signal => 1,
            Self::Spare => 2,
        }
    }
}

impl MedDevice {
    /// Its number in the TLV.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::EndpointI => 1,
            Self::EndpointII => 2,
            Self::EndpointIII => 3,
            Self::Network => 4,
        }
    }
}

impl MedApplication {
    /// Its number in the TLV.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Voice => 1,
            Self::VoiceSignaling => 2,
            Self::GuestVoice => 3,
            Self::GuestVoiceSignaling => 4,
            Self::SoftphoneVoice => 5,
            Self::VideoConferencing => 6,
            Self::StreamingVideo => 7,
            Self::VideoSignaling => 8,
        }
    }
}

impl<const LIMIT: u8> TryFrom<u8> for Below<LIMIT> {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        if number < LIMIT {
            Ok(Self(number))
        } else {
            Err(format!("{number} is out of range: allowed are 0 to {}", LIMIT.saturating_sub(1)))
        }
    }
}

/// [`CongestionNotification`] as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CongestionKeys {
    priorities: Vec<Pcp>,
    #[serde(default)]
    ready: Vec<Pcp>,
}

impl TryFrom<CongestionKeys> for CongestionNotification {
    type Error = String;

    fn try_from(keys: CongestionKeys) -> Result<Self, String> {
        let CongestionKeys { priorities, ready } = keys;
        match ready.iter().find(|priority| !priorities.contains(priority)) {
            None => Ok(Self { priorities, ready }),
            Some(priority) => Err(format!("priority {priority} is `ready`, and not among the `priorities`")),
        }
    }
}

impl TryFrom<u8> for PowerKind {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        match number {
            1 => Ok(Self::One),
            2 => Ok(Self::Two),
            other => Err(format!("type {other} does not exist: allowed are 1 and 2")),
        }
    }
}

const fn yes() -> bool {
    true
}
