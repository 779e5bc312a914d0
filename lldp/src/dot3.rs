//! The organizational TLVs of IEEE 802.3, OUI 00-12-0F: speed, power, frame size, energy [802.3 79.3].

use core::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize, Serializer};

use crate::{
    basic::Hex,
    content::{LinkAggregation, length},
    error::PeerOrgFault,
};

/// One TLV of 802.3.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Dot3 {
    /// How the speed was found and what it is [802.3 79.3.1].
    MacPhy(MacPhy),
    /// Power over the cable [802.3 79.3.2].
    Power(Power),
    /// Whether the link is bundled with others; 802.1 has its own TLV for it since [802.3 79.3.3].
    LinkAggregation(LinkAggregation),
    /// The longest frame in octets, header and check sequence included [802.3 79.3.4].
    MaxFrameSize(u16),
    /// Times of Energy-Efficient Ethernet [802.3 79.3.5].
    Eee(Eee),
}

/// How the speed was found and what it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MacPhy {
    /// The port can agree on a speed by itself.
    pub autoneg_supported: bool,
    /// It does.
    pub autoneg_enabled: bool,
    /// What it offers, bits as in `ifMauAutoNegCapAdvertisedBits`, bit 15 first.
    pub advertised: u16,
    /// What runs, a number of `dot3MauType`; 0 where it has none.
    pub mau: u16,
}

/// Power over the cable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Power {
    /// The port feeds (PSE); else it is fed (PD).
    pub pse: bool,
    /// It can be fed or feed.
    pub supported: bool,
    /// It does.
    pub enabled: bool,
    /// The pairs that feed can be chosen.
    pub pair_control: bool,
    /// The pairs: 1 signal, 2 spare.
    pub pairs: u8,
    /// The class plus one: 1 is class 0.
    pub class: u8,
    /// What 802.3at added.
    pub negotiation: Option<PowerNegotiation>,
    /// What later editions added, kept as octets: 17 of them in 802.3bt.
    pub rest: Rest,
}

/// What 802.3at added: how much is asked for and given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PowerNegotiation {
    /// Type 1 as in 802.3af, else type 2.
    pub type_1: bool,
    /// The sender is fed (PD).
    pub pd: bool,
    /// Where its power comes from, 0..=3: unknown, primary, backup; of a PD: unknown, PSE, local, both.
    pub source: u8,
    /// How important, 0..=3: unknown, critical, high, low.
    pub priority: u8,
    /// What the PD asks for, in tenths of a watt.
    pub requested: u16,
    /// What the PSE gives, in tenths of a watt.
    pub allocated: u16,
}

/// Octets of a later edition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rest(pub Bytes);

/// Times of Energy-Efficient Ethernet, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Eee {
    /// How long the sender waits after waking its transmitter.
    pub transmit: u16,
    /// How long it asks the other end to wait.
    pub receive: u16,
    /// How long at least, should the other end not grant that.
    pub fallback: u16,
    /// What it heard of the other end's `transmit`.
    pub echo_transmit: u16,
    /// What it heard of the other end's `receive`.
    pub echo_receive: u16,
}

impl Dot3 {
    /// Reads the octets after `subtype`; `None` for a subtype that is not read here.
    ///
    /// # Errors
    /// When they make no sense: see [`PeerOrgFault`].
    pub fn parse(subtype: u8, info: &[u8]) -> Result<Option<Self>, PeerOrgFault> {
        Ok(Some(match subtype {
            MAC_PHY => {
                let &[flags, a, b, c, d] = info else { return Err(length("MAC/PHY", info, "5")) };
                Self::MacPhy(MacPhy {
                    autoneg_supported: flags & 1 != 0,
                    autoneg_enabled: flags & 2 != 0,
                    advertised: u16::from_be_bytes([a, b]),
                    mau: u16::from_be_bytes([c, d]),
                })
            }
            POWER => Self::Power(Power::parse(info)?),
            LINK_AGGREGATION => {
                Self::LinkAggregation(LinkAggregation::parse("link aggregation of 802.3", info)?)
            }
            MAX_FRAME_SIZE => {
                let &[a, b] = info else { return Err(length("maximum frame size", info, "2")) };
                Self::MaxFrameSize(u16::from_be_bytes([a, b]))
            }
            EEE => {
                let &[a, b, c, d, e, g, h, i, j, k] = info else { return Err(length("EEE", info, "10")) };
                let time = |high, low| u16::from_be_bytes([high, low]);
                Self::Eee(Eee {
                    transmit: time(a, b),
                    receive: time(c, d),
                    fallback: time(e, g),
                    echo_transmit: time(h, i),
                    echo_receive: time(j, k),
                })
            }
            _ => return Ok(None),
        }))
    }

    /// Its number among the TLVs of 802.3.
    #[must_use]
    pub const fn subtype(&self) -> u8 {
        match self {
            Self::MacPhy(_) => MAC_PHY,
            Self::Power(_) => POWER,
            Self::LinkAggregation(_) => LINK_AGGREGATION,
            Self::MaxFrameSize(_) => MAX_FRAME_SIZE,
            Self::Eee(_) => EEE,
        }
    }

    /// The octets after the subtype.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Self::MacPhy(MacPhy { autoneg_supported, autoneg_enabled, advertised, mau }) => {
                out.put_u8(u8::from(*autoneg_supported) | u8::from(*autoneg_enabled) << 1);
                out.put_u16(*advertised);
                out.put_u16(*mau);
            }
            Self::Power(power) => power.put(&mut out),
            Self::LinkAggregation(bundle) => return bundle.to_bytes(),
            Self::MaxFrameSize(octets) => out.put_u16(*octets),
            Self::Eee(Eee { transmit, receive, fallback, echo_transmit, echo_receive }) => {
                [transmit, receive, fallback, echo_transmit, echo_receive]
                    .into_iter()
                    .for_each(|time| out.put_u16(*time));
            }
        }
        out.freeze()
    }
}

impl Power {
    fn parse(info: &[u8]) -> Result<Self, PeerOrgFault> {
        let fault = length("power via MDI", info, "3 or at least 8");
        let [flags, pairs, class, more @ ..] = info else { return Err(fault) };
        let (negotiation, rest) = match more {
            [] => (None, more),
            [kind, a, b, c, d, rest @ ..] => {
                let negotiation = PowerNegotiation {
                    type_1: kind & 0x80 != 0,
                    pd: kind & 0x40 != 0,
                    source: kind >> 4 & 3,
                    priority: kind & 3,
                    requested: u16::from_be_bytes([*a, *b]),
                    allocated: u16::from_be_bytes([*c, *d]),
                };
                (Some(negotiation), rest)
            }
            _ => return Err(fault),
        };
        Ok(Self {
            pse: flags & 1 != 0,
            supported: flags & 2 != 0,
            enabled: flags & 4 != 0,
            pair_control: flags & 8 != 0,
            pairs: *pairs,
            class: *class,
            negotiation,
            rest: Rest(Bytes::copy_from_slice(rest)),
        })
    }

    fn put(&self, out: &mut BytesMut) {
        let flags = [self.pse, self.supported, self.enabled, self.pair_control];
        out.put_u8(flags.into_iter().rev().fold(0, |octet, flag| octet << 1 | u8::from(flag)));
        out.put_slice(&[self.pairs, self.class]);
        // Without what 802.3at added there is no place for what came after it.
        if let Some(n) = self.negotiation {
            let bits = u8::from(n.type_1) << 7 | u8::from(n.pd) << 6;
            out.put_u8(bits | (n.source & 3) << 4 | n.priority & 3);
            out.put_u16(n.requested);
            out.put_u16(n.allocated);
            out.put_slice(&self.rest.0);
        }
    }
}

impl Serialize for Rest {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        Hex(&self.0).serialize(serializer)
    }
}

impl fmt::Display for Dot3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MacPhy(mac_phy) => fmt::Display::fmt(mac_phy, f),
            Self::Power(power) => fmt::Display::fmt(power, f),
            Self::LinkAggregation(bundle) => write!(f, "link aggregation (802.3): {bundle}"),
            Self::MaxFrameSize(octets) => write!(f, "maximum frame size {octets}"),
            Self::Eee(Eee { transmit, receive, fallback, echo_transmit, echo_receive }) => write!(
                f,
                "EEE: transmit wake {transmit} µs, receive {receive} µs, fallback {fallback} µs, \
                 heard {echo_transmit} and {echo_receive} µs"
            ),
        }
    }
}

impl fmt::Display for MacPhy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let autoneg = match (self.autoneg_supported, self.autoneg_enabled) {
            (_, true) => "on",
            (true, false) => "off",
            (false, false) => "not supported",
        };
        write!(f, "MAC/PHY: autonegotiation {autoneg}, offers {:04x}, runs ", self.advertised)?;
        match MAU_TYPES.iter().find(|(number, _)| *number == self.mau) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "MAU type {}", self.mau),
        }
    }
}

impl fmt::Display for Power {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = if self.pse { "PSE" } else { "PD" };
        let state = match (self.supported, self.enabled) {
            (_, true) => "on",
            (true, false) => "off",
            (false, false) => "not supported",
        };
        write!(f, "power via MDI: {role}, {state}, pairs ")?;
        match self.pairs {
            1 => f.write_str("signal"),
            2 => f.write_str("spare"),
            other => write!(f, "{other}"),
        }?;
        match self.class.checked_sub(1) {
            Some(class) => write!(f, ", class {class}"),
            None => f.write_str(", no class"),
        }?;
        if let Some(n) = self.negotiation {
            let (type_of, role) = (if n.type_1 { 1 } else { 2 }, if n.pd { "PD" } else { "PSE" });
            let priority = ["unknown", "critical", "high", "low"].get(usize::from(n.priority & 3));
            write!(f, ", type {type_of} {role}, priority {}", priority.copied().unwrap_or("unknown"))?;
            write!(f, ", asks for {}, is given {}", Tenths(n.requested), Tenths(n.allocated))?;
        }
        if !self.rest.0.is_empty() {
            write!(f, ", and {}", Hex(&self.rest.0))?;
        }
        Ok(())
    }
}

/// Tenths of a watt in watts.
struct Tenths(u16);

impl fmt::Display for Tenths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} W", self.0 / 10, self.0 % 10)
    }
}

/// The numbers of `dot3MauType` an operator meets.
const MAU_TYPES: [(u16, &str); 20] = [
    (0, "an unknown medium"),
    (5, "10BASE-T"),
    (10, "10BASE-T half duplex"),
    (11, "10BASE-T full duplex"),
    (15, "100BASE-TX half duplex"),
    (16, "100BASE-TX full duplex"),
    (17, "100BASE-FX half duplex"),
    (18, "100BASE-FX full duplex"),
    (21, "1000BASE-X half duplex"),
    (22, "1000BASE-X full duplex"),
    (24, "1000BASE-LX full duplex"),
    (26, "1000BASE-SX full duplex"),
    (29, "1000BASE-T half duplex"),
    (30, "1000BASE-T full duplex"),
    (31, "10GBASE-X"),
    (33, "10GBASE-R"),
    (34, "10GBASE-ER"),
    (35, "10GBASE-LR"),
    (36, "10GBASE-SR"),
    (54, "10GBASE-T"),
];

const MAC_PHY: u8 = 1;
const POWER: u8 = 2;
const LINK_AGGREGATION: u8 = 3;
const MAX_FRAME_SIZE: u8 = 4;
const EEE: u8 = 5;
