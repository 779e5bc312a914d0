//! How rules spell numbers that have names.

use core::fmt;

use serde::{Deserialize, Serialize};

/// An IP protocol.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Word", into = "Word")]
pub struct Protocol(pub u8);

impl Protocol {
    /// ICMP.
    pub const ICMP: Self = Self(1);
    /// IGMP.
    pub const IGMP: Self = Self(2);
    /// TCP.
    pub const TCP: Self = Self(6);
    /// UDP.
    pub const UDP: Self = Self(17);
    /// ICMPv6, and MLD in it.
    pub const ICMPV6: Self = Self(58);
    /// PIM.
    pub const PIM: Self = Self(103);
    /// SCTP.
    pub const SCTP: Self = Self(132);

    const NAMES: [(&'static str, Self); 6] = [
        ("tcp", Self::TCP),
        ("udp", Self::UDP),
        ("icmp", Self::ICMP),
        ("icmpv6", Self::ICMPV6),
        ("igmp", Self::IGMP),
        ("sctp", Self::SCTP),
    ];

    /// Whether its header starts with a source and a destination port.
    #[must_use]
    pub const fn has_ports(self) -> bool {
        matches!(self, Self::TCP | Self::UDP | Self::SCTP)
    }

    fn name(self) -> Option<&'static str> {
        Self::NAMES.iter().find(|(_, protocol)| *protocol == self).map(|(name, _)| *name)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => fmt::Display::fmt(&self.0, f),
        }
    }
}

impl fmt::Debug for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Ports of a transport protocol, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Word", into = "Word")]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// The ports from `first` to `last`; `None` if there are none.
    #[must_use]
    pub const fn new(first: u16, last: u16) -> Option<Self> {
        if first <= last { Some(Self { first, last }) } else { None }
    }

    /// Whether `port` is one of them.
    #[must_use]
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

impl fmt::Debug for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// A number or a text, as it stands in the profile.
#[derive(Deserialize, Serialize)]
#[serde(untagged, expecting = "a number or a text")]
pub(super) enum Word {
    Number(u64),
    Text(String),
}

impl TryFrom<Word> for Protocol {
    type Error = String;

    fn try_from(word: Word) -> Result<Self, String> {
        let fault = |given: &dyn fmt::Display| {
            let names: Vec<&str> = Self::NAMES.iter().map(|(name, _)| *name).collect();
            format!("`{given}` is no IP protocol: {} or a number from 0 to 255", names.join(", "))
        };
        match word {
            Word::Number(number) => u8::try_from(number).map(Self).map_err(|_| fault(&number)),
            Word::Text(text) => {
                let named = Self::NAMES.iter().find(|(name, _)| *name == text);
                named.map(|(_, protocol)| *protocol).ok_or_else(|| fault(&text))
            }
        }
    }
}

impl From<Protocol> for Word {
    fn from(protocol: Protocol) -> Self {
        protocol.name().map_or(Self::Number(protocol.0.into()), |name| Self::Text(name.into()))
    }
}

impl TryFrom<Word> for PortRange {
    type Error = String;

    fn try_from(word: Word) -> Result<Self, String> {
        let range = match &word {
            Word::Number(number) => u16::try_from(*number).ok().and_then(|port| Self::new(port, port)),
            Word::Text(text) => text
                .split_once('-')
                .and_then(|(first, last)| Self::new(first.trim().parse().ok()?, last.trim().parse().ok()?)),
        };
        range.ok_or_else(|| match word {
            Word::Number(number) => format!("port {number} is out of range: allowed are 0 to 65535"),
            Word::Text(text) => format!("`{text}` are no ports: a number or \"first-last\""),
        })
    }
}

impl From<PortRange> for Word {
    fn from(range: PortRange) -> Self {
        if range.first == range.last {
            Self::Number(range.first.into())
        } else {
            Self::Text(format!("{}-{}", range.first, range.last))
        }
    }
}

/// EtherTypes by name or number.
pub(super) mod ethertype {
    use ether::EtherType;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    use super::Word;

    pub(crate) fn serialize<S: Serializer>(value: &Option<EtherType>, to: S) -> Result<S::Ok, S::Error> {
        let word = |ethertype: EtherType| {
            let named = NAMES.iter().find(|(_, value)| *value == ethertype);
            Word::Text(named.map_or_else(|| ethertype.to_string(), |(name, _)| (*name).into()))
        };
        value.map(word).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<EtherType>, D::Error> {
        let Some(word) = Option::<Word>::deserialize(from)? else { return Ok(None) };
        let (given, value) = match word {
            Word::Number(number) => (number.to_string(), u16::try_from(number).ok().map(EtherType)),
            Word::Text(text) => {
                let named = NAMES.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
                let hex = || u16::from_str_radix(text.strip_prefix("0x")?, 16).ok().map(EtherType);
                let value = named.or_else(hex);
                (text, value)
            }
        };
        let fault = || D::Error::custom(format!("`{given}` is no EtherType: ipv4, ipv6, arp or a number"));
        value.ok_or_else(fault).map(Some)
    }

    const NAMES: [(&str, EtherType); 3] =
        [("ipv4", EtherType::IPV4), ("ipv6", EtherType::IPV6), ("arp", EtherType::ARP)];
}
