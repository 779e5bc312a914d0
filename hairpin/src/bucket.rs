//! Token buckets all workers draw from, without locks.
//!
//! A bucket is one number: the time at which it will be full again. A frame passes while that is nearer than what the
//! bucket takes to fill from empty, and moves it away by what the frame counts. So a bucket is never refilled, rates may
//! change while it is in use, and a frame that finds one token left takes all it needs: the debt is paid by those after.

use std::sync::atomic::Ordering::Relaxed;

use ether::Instant;

use crate::{policy::Rate, sync::AtomicU64};

/// What fills a bucket: times in [`UNIT`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fill {
    /// Time one token takes, shifted by [`SHIFT`].
    token: u64,
    /// Time the whole bucket takes.
    depth: u64,
}

impl Fill {
    /// A token is an octet.
    pub(crate) fn octets(rate: Rate) -> Self {
        Self::new(8 * SECOND / u128::from(rate.bits_per_second.max(1)), rate.burst_octets)
    }

    /// A token is a frame; the bucket holds what comes in a tenth of a second, at least [`LEAST_FRAMES`].
    pub(crate) fn frames(per_second: u32) -> Self {
        Self::new(SECOND / u128::from(per_second.max(1)), (per_second / 10).max(LEAST_FRAMES))
    }

    fn new(token: u128, tokens: u32) -> Self {
        let token = u64::try_from(token).unwrap_or(u64::MAX);
        Self { token, depth: Self { token, depth: 0 }.time(tokens).max(1) }
    }

    fn time(self, tokens: u32) -> u64 {
        u64::try_from((u128::from(self.token) * u128::from(tokens)) >> SHIFT).unwrap_or(u64::MAX)
    }
}

/// A bucket; full at first.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    full_at: AtomicU64,
}

impl Bucket {
    /// Takes `tokens`; false if the bucket is empty.
    pub(crate) fn take(&self, fill: Fill, now: Instant, tokens: u32) -> bool {
        let (now, time) = (units(now), fill.time(tokens));
        let drawn = |full_at: u64| {
            (full_at.saturating_sub(now) < fill.depth).then(|| full_at.max(now).saturating_add(time))
        };
        self.full_at.fetch_update(Relaxed, Relaxed, drawn).is_ok()
    }

    /// Whether [`Bucket::take`] would succeed.
    pub(crate) fn has(&self, fill: Fill, now: Instant) -> bool {
        self.full_at.load(Relaxed).saturating_sub(units(now)) < fill.depth
    }
}

/// A sixteenth of a nanosecond.
const fn units(now: Instant) -> u64 {
    now.as_micros().saturating_mul(UNIT)
}

/// Units of a microsecond; lasts 36 years.
const UNIT: u64 = 16_000;
const SHIFT: u32 = 16;
/// A second, shifted.
const SECOND: u128 = (1_000_000 * UNIT as u128) << SHIFT;
const LEAST_FRAMES: u32 = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(micros: u64) -> Instant {
        Instant::from_micros(micros)
    }

    #[test]
    fn a_burst_then_the_rate_then_one_debt() {
        let fill = Fill::octets(Rate { bits_per_second: 8_000_000, burst_octets: 1000 });
        let bucket = Bucket::default();
        let start = 5_000_000;
        assert_eq!((0..12).filter(|_| bucket.take(fill, at(start), 100)).count(), 10);
        assert!(!bucket.has(fill, at(start)) && bucket.has(fill, at(start + 1)), "an octet is a microsecond");
        assert!(bucket.take(fill, at(start + 100), 65_000), "a super-frame may go into debt");
        assert!(!bucket.take(fill, at(start + 65_000), 1) && bucket.take(fill, at(start + 65_001), 1));
    }

    #[test]
    fn frames() {
        let (fill, bucket) = (Fill::frames(1000), Bucket::default());
        assert_eq!((0..1000).filter(|_| bucket.take(fill, at(0), 1)).count(), 100);
        assert_eq!((1..1000).filter(|n| bucket.take(fill, at(n * 1000), 1)).count(), 999);
        assert_eq!((0..99).filter(|_| bucket.take(Fill::frames(1), at(99_000_000), 1)).count(), 16);
    }

    proptest! {
        /// A frame passes only while burst and rate have not been used up.
        #[test]
        fn holds_to_its_rate(
            bits_per_second in 1000..400_000_000_000_u64,
            burst_octets in 1..1_000_000_u32,
            steps in proptest::collection::vec((0..2000_u64, 60..65_000_u32), 1..200),
        ) {
            let fill = Fill::octets(Rate { bits_per_second, burst_octets });
            let bucket = Bucket::default();
            let (mut now, mut passed) = (0_u64, 0_f64);
            for (wait, octets) in steps {
                now += wait;
                let bound = f64::from(burst_octets) + now as f64 * bits_per_second as f64 / 8e6;
                if bucket.take(fill, at(now), octets) {
                    prop_assert!(passed <= bound * 1.001 + 1.0);
                    passed += f64::from(octets);
                }
            }
        }
    }
}
