//! The EVB TLV of draft 0.2: nine octets after OUI 00-1B-3F and subtype 0.

use core::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use nom::{
    Parser,
    number::complete::{be_u16, u8 as octet},
};

use crate::{
    evb::tlv::{BridgeStatus, EvbTlv, Mode, RelayStatus, StationStatus},
    timing::{Exponent, Timing},
};

/// An EVB TLV of draft 0.2. It does not tell which role its sender plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvbDraft {
    /// Reflective relay is supported.
    pub reflective_capable: bool,
    /// Reflective relay is configured: asked for by a station, on at a bridge.
    pub reflective: bool,
    /// RTE, ECP and VDP are supported: three bits.
    pub supported: u8,
    /// Those both sides support, as far as the other side was heard.
    pub configured: u8,
    /// VSIs supported.
    pub vsis: u16,
    /// RTE: the exponent of ECP's timer.
    pub rte: Exponent,
}

impl fmt::Display for EvbDraft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = |bits: u8| {
            let names =
                [(4, "RTE"), (2, "ECP"), (1, "VDP")].map(|(bit, name)| (bits & bit != 0).then_some(name));
            names.into_iter().flatten().collect::<Vec<_>>().join(" ")
        };
        let relay = match (self.reflective_capable, self.reflective) {
            (_, true) => "on",
            (true, false) => "off",
            (false, false) => "not supported",
        };
        let Self { supported, configured, rte, .. } = *self;
        write!(f, "EVB of draft 0.2: reflective relay {relay}, supports [{}], ", bits(supported))?;
        write!(f, "in use [{}] RTE {}", bits(configured), rte.get())
    }
}

/// An EVB TLV of the draft too short: holds the number of octets after OUI and subtype. The peer is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("peer: an EVB TLV of draft 0.2 with {0} octets after its subtype instead of 9")]
pub struct ShortEvbDraft(pub usize);

impl EvbDraft {
    /// RTE, ECP and VDP.
    pub const ALL: u8 = 0x07;

    /// Reads what follows OUI and subtype. Reserved bits and octets after the ninth are ignored.
    ///
    /// # Errors
    /// When there are fewer than nine octets.
    pub fn parse(info: &[u8]) -> Result<Self, ShortEvbDraft> {
        let (_, (can_mode, can, mode, configured, vsis, _, rte)) =
            (octet::<_, ()>, octet, octet, octet, be_u16, be_u16, octet)
                .parse(info)
                .map_err(|_| ShortEvbDraft(info.len()))?;
        Ok(Self {
            reflective_capable: can_mode & REFLECTIVE != 0,
            reflective: mode & REFLECTIVE != 0,
            supported: can & Self::ALL,
            configured: configured & Self::ALL,
            vsis,
            rte: Exponent::new(rte).unwrap_or(Exponent::from_low_bits(Exponent::MAX)),
        })
    }

    /// The nine octets after OUI and subtype.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut buf = BytesMut::with_capacity(9);
        buf.put_u8(if self.reflective_capable { STANDARD | REFLECTIVE } else { STANDARD });
        buf.put_u8(self.supported);
        buf.put_u8(if self.reflective { REFLECTIVE } else { STANDARD });
        buf.put_u8(self.configured);
        buf.put_u16(self.vsis);
        buf.put_u16(0);
        buf.put_u8(self.rte.get());
        buf.freeze()
    }

    /// What a neighbour that says this would say in the standard's TLV, as the role that complements `ours`. The timers
    /// of the draft are fixed; those of the standard are taken so that none of them is shorter. Whether we are echoed is
    /// taken from what is configured: nothing is before we were heard.
    #[must_use]
    pub fn to_standard(&self, ours: Mode) -> EvbTlv {
        let heard = self.configured != 0;
        let Timing { retries, rwd, rka, .. } = Timing::default();
        let (mode, bridge, station) = if ours == Mode::Bridge {
            let request = StationStatus { request: self.reflective, ..StationStatus::default() };
            (Mode::Station, BridgeStatus { capable: heard, ..BridgeStatus::default() }, request)
        } else {
            let bridge =
                BridgeStatus { group: false, capable: self.reflective_capable, control: self.reflective };
            (Mode::Bridge, bridge, StationStatus { request: heard, ..StationStatus::default() })
        };
        EvbTlv {
            bridge,
            station: StationStatus { relay: RelayStatus::False, ..station },
            retries,
            rte: self.rte,
            mode,
            rwd,
            rwd_remote: false,
            rka,
            rka_remote: false,
        }
    }

    /// Our own TLV `local` in the words of the draft, to a neighbour that says `remote`.
    #[must_use]
    pub fn from_standard(local: &EvbTlv, remote: Option<&Self>) -> Self {
        let (reflective_capable, reflective) = if local.mode == Mode::Bridge {
            (local.bridge.capable, local.bridge.control)
        } else {
            (true, local.station.request)
        };
        Self {
            reflective_capable,
            reflective,
            supported: Self::ALL,
            configured: remote.map_or(0, |remote| remote.supported),
            vsis: VSIS,
            rte: local.rte,
        }
    }
}

/// Reflective relay, among the forwarding modes.
const REFLECTIVE: u8 = 0x40;
/// The usual way of forwarding.
const STANDARD: u8 = 0x80;
/// VSIs we say we support: what lldpad says.
const VSIS: u16 = 3295;
