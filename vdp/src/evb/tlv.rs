//! The EVB TLV [Q D.2.12]: what stands after OUI 00-80-C2 and subtype 0x0D, five octets.

use core::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use nom::{Parser, number::complete::u8 as octet};
use serde::Serialize;

use crate::timing::{Exponent, Retries};

/// Which role the sender plays: two bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// 0: it does not support EVB.
    NotSupported,
    /// 1: EVB bridge.
    Bridge,
    /// 2: EVB station.
    Station,
    /// 3: without a meaning.
    Reserved,
}

/// The bridge's status octet; a station echoes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BridgeStatus {
    /// BGID: the bridge takes filters that name groups.
    pub group: bool,
    /// RRCAP: the bridge is capable of reflective relay here.
    pub capable: bool,
    /// RRCTR: reflective relay is on here.
    pub control: bool,
}

/// The station's status octet; a bridge echoes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StationStatus {
    /// SGID: the station can name groups in filters.
    pub group: bool,
    /// RRREQ: the station asks for reflective relay.
    pub request: bool,
    /// RRSTAT: what the station takes reflective relay to be.
    pub relay: RelayStatus,
}

/// RRSTAT: two bits. UNSURE-14: 2 and 3 are both read as unknown, and 3 is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RelayStatus {
    /// Off.
    #[default]
    False,
    /// On.
    True,
    /// No bridge was heard.
    Unknown,
}

/// An EVB TLV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvbTlv {
    /// The bridge's own status, or a station's echo of it.
    pub bridge: BridgeStatus,
    /// The station's own status, or a bridge's echo of it.
    pub station: StationStatus,
    /// R.
    pub retries: Retries,
    /// RTE.
    pub rte: Exponent,
    /// The role of the sender.
    pub mode: Mode,
    /// RWD.
    pub rwd: Exponent,
    /// ROL of RWD: the value was taken over from us.
    pub rwd_remote: bool,
    /// RKA.
    pub rka: Exponent,
    /// ROL of RKA: the value was taken over from us.
    pub rka_remote: bool,
}

impl fmt::Display for EvbTlv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = match self.mode {
            Mode::NotSupported => "not supported",
            Mode::Bridge => "bridge",
            Mode::Station => "station",
            Mode::Reserved => "of reserved mode",
        };
        write!(f, "EVB {role}: bridge [{}], station [{}]", self.bridge, self.station)?;
        let numbers = [("R", self.retries.get()), ("RTE", self.rte.get())];
        let taken = [("RWD", self.rwd.get(), self.rwd_remote), ("RKA", self.rka.get(), self.rka_remote)];
        for (name, number) in numbers {
            write!(f, " {name} {number}")?;
        }
        for (name, number, remote) in taken {
            write!(f, " {name} {number}{}", if remote { " (yours)" } else { "" })?;
        }
        Ok(())
    }
}

/// Shown as the marks that are set, under the standard's names.
impl fmt::Display for BridgeStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        marks(f, &[(self.group, "BGID"), (self.capable, "RRCAP"), (self.control, "RRCTR")])
    }
}

/// Shown as the marks that are set, under the standard's names.
impl fmt::Display for StationStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let relay = match self.relay {
            RelayStatus::False => "RRSTAT=0",
            RelayStatus::True => "RRSTAT=1",
            RelayStatus::Unknown => "RRSTAT=?",
        };
        marks(f, &[(self.group, "SGID"), (self.request, "RRREQ"), (true, relay)])
    }
}

fn marks(f: &mut fmt::Formatter<'_>, marks: &[(bool, &str)]) -> fmt::Result {
    let set: Vec<&str> = marks.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
    f.write_str(&set.join(" "))
}

/// An EVB TLV too short: holds the number of octets after OUI and subtype. The peer is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("peer: an EVB TLV with {0} octets after its subtype instead of 5")]
pub struct ShortEvbTlv(pub usize);

impl EvbTlv {
    /// Reads what follows OUI and subtype. Reserved bits and octets after the fifth are ignored.
    ///
    /// # Errors
    /// When there are fewer than five octets.
    pub fn parse(info: &[u8]) -> Result<Self, ShortEvbTlv> {
        let (_, (bridge, station, ecp, rwd, rka)) =
            (octet::<_, ()>, octet, octet, octet, octet).parse(info).map_err(|_| ShortEvbTlv(info.len()))?;
        Ok(Self {
            bridge: BridgeStatus {
                group: bridge & BGID != 0,
                capable: bridge & RRCAP != 0,
                control: bridge & RRCTR != 0,
            },
            station: StationStatus {
                group: station & SGID != 0,
                request: station & RRREQ != 0,
                relay: match station & RRSTAT {
                    0 => RelayStatus::False,
                    1 => RelayStatus::True,
                    _ => RelayStatus::Unknown,
                },
            },
            retries: Retries::from_high_bits(ecp),
            rte: Exponent::from_low_bits(ecp),
            mode: match rwd >> 6 {
                0 => Mode::NotSupported,
                1 => Mode::Bridge,
                2 => Mode::Station,
                _ => Mode::Reserved,
            },
            rwd: Exponent::from_low_bits(rwd),
            rwd_remote: rwd & ROL != 0,
            rka: Exponent::from_low_bits(rka),
            rka_remote: rka & ROL != 0,
        })
    }

    /// The five octets after OUI and subtype.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let bit = |set: bool, mask: u8| u8::from(set) * mask;
        let Self { bridge, station, .. } = self;
        let relay = match station.relay {
            RelayStatus::False => 0,
            RelayStatus::True => 1,
            RelayStatus::Unknown => 3,
        };
        let mode = match self.mode {
            Mode::NotSupported => 0,
            Mode::Bridge => 1,
            Mode::Station => 2,
            Mode::Reserved => 3,
        };
        let mut buf = BytesMut::with_capacity(5);
        buf.put_u8(bit(bridge.group, BGID) | bit(bridge.capable, RRCAP) | bit(bridge.control, RRCTR));
        buf.put_u8(bit(station.group, SGID) | bit(station.request, RRREQ) | relay);
        buf.put_u8(self.retries.get() << 5 | self.rte.get());
        buf.put_u8(mode << 6 | bit(self.rwd_remote, ROL) | self.rwd.get());
        buf.put_u8(bit(self.rka_remote, ROL) | self.rka.get());
        buf.freeze()
    }
}

const BGID: u8 = 0x04;
const RRCAP: u8 = 0x02;
const RRCTR: u8 = 0x01;
const SGID: u8 = 0x08;
const RRREQ: u8 = 0x04;
const RRSTAT: u8 = 0x03;
const ROL: u8 = 0x20;
