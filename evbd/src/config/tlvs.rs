//! What an agent says besides what its protocols say: the keys of a `tlvs` table.
//!
//! Each key is `false` (not said, the default of most), or a value; where the daemon can find the value, `true`.

mod values;

use std::{fmt, marker::PhantomData, net::IpAddr};

use ether::{MacAddr, Pcp, Vid};
use lldp::{
    content::LinkAggregation,
    dot1::PortProtocolVlan,
    dot3::{Eee, MacPhy},
};
use serde::{
    Deserialize, Deserializer,
    de::{
        Error, IntoDeserializer, MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};

use self::values::CongestionKeys;
pub use self::values::{
    ApplicationVlan, Below, Med, MedApplication, MedDevice, Pairs, Policy, Power, PowerKind, PowerRole,
    Selector,
};

/// Declares [`Tlvs`] and the keys it is made of.
macro_rules! tlvs {
    ($($(#[$doc:meta])* $key:ident: $value:ty = $default:expr,)+) => {
        /// What one agent says of its port and system, as configured. `None`: nothing.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Tlvs {
            $($(#[$doc])* pub $key: Option<$value>,)+
        }

        /// A `tlvs` table as written.
        #[derive(Clone, Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(super) struct TlvKeys {
            $($key: Option<Given<$value>>,)+
        }

        impl Tlvs {
            /// What the first of `layers` that has a key says for it, else its default.
            pub(super) fn resolve(layers: &[&TlvKeys]) -> Self {
                Self {
                    $($key: match layers.iter().find_map(|layer| layer.$key.as_ref()) {
                        Some(Given::Off) => None,
                        Some(Given::Is(value)) => Some(value.clone()),
                        None => $default,
                    },)+
                }
            }
        }
    };
}

tlvs! {
    /// Port description.
    port_description: Words = Some(Words::Auto),
    /// System name.
    system_name: Words = Some(Words::Auto),
    /// System description.
    system_description: Words = Some(Words::Auto),
    /// System capabilities.
    capabilities: Yes = Some(Yes),
    /// Management addresses, a TLV each.
    management_address: Addresses = None,
    /// 802.1: the VLAN of untagged frames.
    pvid: Vlan = None,
    /// 802.1: VLANs of protocol groups, a TLV each.
    port_protocol_vlans: Vec<PortProtocolVlan> = None,
    /// 802.1: names of VLANs, a TLV each.
    vlan_names: Vec<VlanName> = None,
    /// 802.1: protocols that pass, a TLV each.
    protocols: Vec<Octets> = None,
    /// 802.1: the checksum over the VLANs in use.
    vid_usage_digest: u32 = None,
    /// 802.1: the VLAN of the management station.
    management_vid: Vlan = None,
    /// 802.1: bundling.
    link_aggregation: LinkAggregation = None,
    /// 802.1: congestion notification.
    congestion_notification: CongestionNotification = None,
    /// 802.1: applications and their VLANs.
    application_vlans: Vec<ApplicationVlan> = None,
    /// 802.3: speed.
    mac_phy: MacPhy = None,
    /// 802.3: power over the cable.
    power: Power = None,
    /// 802.3: bundling, as it was told before 802.1 took it over.
    link_aggregation_802_3: LinkAggregation = None,
    /// 802.3: the longest frame.
    max_frame_size: FrameSize = None,
    /// 802.3: Energy-Efficient Ethernet.
    eee: Eee = None,
    /// LLDP-MED.
    med: Med = None,
}

/// A key that is there: off, or its value.
#[derive(Clone, Debug)]
enum Given<T> {
    Off,
    Is(T),
}

/// Text of the operator, or what the daemon says by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Words {
    /// The daemon's own words.
    Auto,
    /// These.
    Text(Short<255>),
}

/// Said; its value is the daemon's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Yes;

/// Text of at most `MAX` octets.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Short<const MAX: usize>(pub String);

/// Where the system is managed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses(pub Vec<Address>);

/// One address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Address {
    /// The port's MAC address.
    Auto,
    /// An IP address.
    Ip(IpAddr),
    /// A MAC address.
    Mac(MacAddr),
}

/// A VLAN, or 0 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u16")]
pub struct Vlan(pub Option<Vid>);

/// A VLAN and its name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VlanName {
    /// The VLAN.
    pub vid: Vid,
    /// Its name, at most 32 octets.
    pub name: Short<32>,
}

/// Octets written in hexadecimal, at most 255.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Octets(pub Vec<u8>);

/// Priorities with congestion notification.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "CongestionKeys")]
pub struct CongestionNotification {
    /// All of them.
    pub priorities: Vec<Pcp>,
    /// Of these, those whose tags the port is ready to take.
    pub ready: Vec<Pcp>,
}

/// The longest frame in octets, header and check sequence included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameSize {
    /// As the interface's MTU says.
    Auto,
    /// This.
    Octets(u16),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Given<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(GivenVisitor(PhantomData))
    }
}

struct GivenVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for GivenVisitor<T> {
    type Value = Given<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`false` or the value of this TLV")
    }

    fn visit_bool<E: Error>(self, on: bool) -> Result<Given<T>, E> {
        if on { T::deserialize(on.into_deserializer()).map(Given::Is) } else { Ok(Given::Off) }
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Given<T>, E> {
        T::deserialize(number.into_deserializer()).map(Given::Is)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Given<T>, E> {
        T::deserialize(text.into_deserializer()).map(Given::Is)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Given<T>, A::Error> {
        T::deserialize(SeqAccessDeserializer::new(items)).map(Given::Is)
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Given<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(fields)).map(Given::Is)
    }
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Written::deserialize(deserializer)? {
            Written::True => Ok(Self::Auto),
            Written::Text(text) => Short::try_from(text).map(Self::Text).map_err(D::Error::custom),
            Written::Number(_) => Err(D::Error::custom("expected `true`, `false` or a text")),
        }
    }
}

impl<'de> Deserialize<'de> for Yes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Written::deserialize(deserializer)? {
            Written::True => Ok(Self),
            Written::Text(_) | Written::Number(_) => Err(D::Error::custom("expected `true` or `false`")),
        }
    }
}

impl<'de> Deserialize<'de> for FrameSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const EXPECTED: &str = "expected `true`, `false` or 64 to 65535 octets";
        match Written::deserialize(deserializer)? {
            Written::True => Ok(Self::Auto),
            Written::Number(octets) => u16::try_from(octets)
                .ok()
                .filter(|octets| *octets >= 64)
                .map(Self::Octets)
                .ok_or_else(|| D::Error::custom(EXPECTED)),
            Written::Text(_) => Err(D::Error::custom(EXPECTED)),
        }
    }
}

impl<'de> Deserialize<'de> for Addresses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Addresses;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"auto\", an address, or a list of them")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Addresses, E> {
                Address::try_from(text.to_owned()).map(|one| Addresses(vec![one])).map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Addresses, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(items)).map(Addresses)
            }
        }
        deserializer.deserialize_any(List)
    }
}

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let ip = || text.parse().map(Self::Ip).ok();
        let mac = || text.parse().map(Self::Mac).ok();
        ip().or_else(mac).ok_or_else(|| format!("`{text}` is neither \"auto\" nor an IP or MAC address"))
    }
}

impl<const MAX: usize> TryFrom<String> for Short<MAX> {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.len() {
            length if length > MAX => Err(format!("a text of {length} octets, allowed are {MAX}")),
            _ => Ok(Self(text)),
        }
    }
}

impl TryFrom<u16> for Vlan {
    type Error = String;

    fn try_from(vid: u16) -> Result<Self, String> {
        match vid {
            0 => Ok(Self(None)),
            vid => Vid::new(vid)
                .map(|vid| Self(Some(vid)))
                .ok_or_else(|| format!("VLAN {vid} is out of range: allowed are 1 to 4094, and 0 for none")),
        }
    }
}

impl TryFrom<String> for Octets {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits: Option<Vec<u8>> =
            text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
        match digits.as_deref().map(<[u8]>::as_chunks::<2>) {
            Some((pairs, [])) if pairs.len() <= 255 => {
                Ok(Self(pairs.iter().map(|[high, low]| high << 4 | low).collect()))
            }
            _ => Err(format!("`{text}` is not at most 255 octets in hexadecimal")),
        }
    }
}

/// `true`, a number or a text.
enum Written {
    True,
    Number(i64),
    Text(String),
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Written;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`true`, `false` or the value of this TLV")
            }

            fn visit_bool<E: Error>(self, _: bool) -> Result<Written, E> {
                Ok(Written::True)
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Written, E> {
                Ok(Written::Number(number))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Written, E> {
                Ok(Written::Text(text.to_owned()))
            }
        }
        deserializer.deserialize_any(Any)
    }
}
