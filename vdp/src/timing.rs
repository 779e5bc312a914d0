//! The negotiated numbers R, RTE, RWD, RKA and the timers made of them [Q 41.5.5, D.2.12].
//!
//! An exponent `e` stands for 10·2^e µs. Everything is computed in µs in 64 bits, where the largest value,
//! 1.5·(2^31 + 15·2^31)·10 µs, takes 39 bits.

use ether::time::Duration;
use serde::{Deserialize, Serialize};

/// How often ECP sends a PDU again, 0..=7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Retries(u8);

/// The exponent of a duration of 10·2^e µs, 0..=31.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Exponent(u8);

/// A number too large for its field; what the local configuration asks for is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{value} is out of range: allowed are 0 to {max}")]
pub struct OutOfRange {
    /// What was asked for.
    pub value: u8,
    /// The largest value there is.
    pub max: u8,
}

impl Retries {
    /// The largest number of retries.
    pub const MAX: u8 = 7;

    /// `value` retries, unless it exceeds 7.
    #[must_use]
    pub const fn new(value: u8) -> Option<Self> {
        if value <= Self::MAX { Some(Self(value)) } else { None }
    }

    /// The number in the high three bits of `bits`.
    pub(crate) const fn from_high_bits(bits: u8) -> Self {
        Self(bits >> 5)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl Exponent {
    /// The largest exponent.
    pub const MAX: u8 = 31;

    /// The exponent `value`, unless it exceeds 31.
    #[must_use]
    pub const fn new(value: u8) -> Option<Self> {
        if value <= Self::MAX { Some(Self(value)) } else { None }
    }

    /// The exponent in the low five bits of `bits`.
    pub(crate) const fn from_low_bits(bits: u8) -> Self {
        Self(bits & Self::MAX)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// 10·2^e µs.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_micros(self.micros())
    }

    const fn micros(self) -> u64 {
        10 << self.0
    }
}

impl TryFrom<u8> for Retries {
    type Error = OutOfRange;

    fn try_from(value: u8) -> Result<Self, OutOfRange> {
        Self::new(value).ok_or(OutOfRange { value, max: Self::MAX })
    }
}

impl From<Retries> for u8 {
    fn from(retries: Retries) -> Self {
        retries.0
    }
}

impl TryFrom<u8> for Exponent {
    type Error = OutOfRange;

    fn try_from(value: u8) -> Result<Self, OutOfRange> {
        Self::new(value).ok_or(OutOfRange { value, max: Self::MAX })
    }
}

impl From<Exponent> for u8 {
    fn from(exponent: Exponent) -> Self {
        exponent.0
    }
}

/// The four numbers of the EVB TLV: as proposed by one side, or as in operation between two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timing {
    /// R: how often ECP sends a PDU again.
    pub retries: Retries,
    /// RTE: how long ECP waits for an acknowledgement.
    pub rte: Exponent,
    /// RWD: how long the bridge waits for its resources.
    pub rwd: Exponent,
    /// RKA: how long the station is silent before it sends a keep-alive.
    pub rka: Exponent,
}

impl Default for Timing {
    /// R 3, RTE 14, RWD 20, RKA 20. UNSURE-13: other implementations start RTE at 8 or 16; the larger one wins.
    fn default() -> Self {
        Self { retries: Retries(3), rte: Exponent(14), rwd: Exponent(20), rka: Exponent(20) }
    }
}

impl Timing {
    /// The larger value of each number: what two proposals come to.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            retries: self.retries.max(other.retries),
            rte: self.rte.max(other.rte),
            rwd: self.rwd.max(other.rwd),
            rka: self.rka.max(other.rka),
        }
    }

    /// What the ECP instances of the port are to use.
    #[must_use]
    pub const fn ecp_params(self) -> ecp::Params {
        ecp::Params { max_retries: self.retries.0, ack_timer_exponent: self.rte.0 }
    }

    /// How long a station with nothing to say waits before its keep-alive [Q 41.5.5.5]: 10·2^RKA µs.
    #[doc(alias = "reinitKeepAlive")]
    #[must_use]
    pub const fn reinit_keep_alive(self) -> Duration {
        self.rka.duration()
    }

    /// How long a station waits for the answer to a command [Q 41.5.5.9]: 1.5·(2^RWD + (2R+1)·2^RTE)·10 µs.
    #[doc(alias = "respWaitDelay")]
    #[must_use]
    pub const fn resp_wait_delay(self) -> Duration {
        self.with_ecp_time(self.rwd)
    }

    /// How long a bridge waits for its type database and its resources [Q 41.5.5.7]: 10·2^RWD µs.
    #[doc(alias = "resourceWaitDelay")]
    #[must_use]
    pub const fn resource_wait_delay(self) -> Duration {
        self.rwd.duration()
    }

    /// How long a bridge keeps a VSI it hears nothing of [Q 41.5.5.13]: 1.5·(2^RKA + (2R+1)·2^RTE)·10 µs.
    #[doc(alias = "toutKeepAlive")]
    #[must_use]
    pub const fn tout_keep_alive(self) -> Duration {
        self.with_ecp_time(self.rka)
    }

    /// `exponent` and the time ECP may need both ways, and half of the sum on top.
    const fn with_ecp_time(self, exponent: Exponent) -> Duration {
        let transmissions = 2 * self.retries.0 as u64 + 1;
        let sum = exponent.micros() + transmissions * self.rte.micros();
        Duration::from_micros(sum + sum / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing(retries: u8, rte: u8, rwd: u8, rka: u8) -> Timing {
        Timing { retries: Retries(retries), rte: Exponent(rte), rwd: Exponent(rwd), rka: Exponent(rka) }
    }

    fn micros(duration: Duration) -> u64 {
        u64::try_from(duration.as_micros()).unwrap()
    }

    #[test]
    fn defaults() {
        let t = Timing::default();
        assert_eq!(micros(t.reinit_keep_alive()), 10_485_760);
        assert_eq!(micros(t.resource_wait_delay()), 10_485_760);
        assert_eq!(micros(t.resp_wait_delay()), 17_448_960);
        assert_eq!(micros(t.tout_keep_alive()), 17_448_960);
    }

    #[test]
    fn the_operational_check_of_the_specification() {
        let t = timing(3, 14, 20, 20).max(timing(5, 10, 22, 18));
        assert_eq!(t, timing(5, 14, 22, 20));
        assert_eq!(micros(t.rte.duration()), 163_840);
        assert_eq!(micros(t.resp_wait_delay()), 65_617_920);
        assert_eq!(micros(t.tout_keep_alive()), 18_432_000);
        assert_eq!(t.ecp_params(), ecp::Params { max_retries: 5, ack_timer_exponent: 14 });
    }

    #[test]
    fn tables_of_the_field() {
        // A vendor's table for R 3, RTE 16, and what lldpad with RTE 8 was seen to do.
        assert_eq!(micros(timing(3, 16, 20, 14).tout_keep_alive()), 7_127_040);
        assert_eq!(micros(timing(3, 16, 20, 20).tout_keep_alive()), 22_609_920);
        assert_eq!(micros(timing(3, 8, 20, 20).tout_keep_alive()), 15_755_520);
        for (exponent, expected) in
            [(8, 2560), (10, 10_240), (17, 1_310_720), (26, 671_088_640), (31, 21_474_836_480)]
        {
            assert_eq!(micros(Exponent(exponent).duration()), expected);
        }
    }

    #[test]
    fn nothing_overflows() {
        let t = timing(7, 31, 31, 31);
        assert_eq!(micros(t.resp_wait_delay()), 3 * 16 * 21_474_836_480 / 2);
        assert_eq!(t.resp_wait_delay(), t.tout_keep_alive());
    }

    #[test]
    fn ranges() {
        assert_eq!(Retries::try_from(8), Err(OutOfRange { value: 8, max: 7 }));
        assert_eq!(
            Exponent::try_from(32).unwrap_err().to_string(),
            "32 is out of range: allowed are 0 to 31"
        );
        assert_eq!(
            (Retries::new(7).map(Retries::get), Exponent::new(31).map(Exponent::get)),
            (Some(7), Some(31))
        );
    }
}
