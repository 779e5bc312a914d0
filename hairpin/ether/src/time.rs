//! Time as a value: engines are told what time it is, they never look.

use core::{
    fmt,
    ops::{Add, AddAssign, Sub},
};

use serde::{Deserialize, Serialize};

pub use core::time::Duration;

/// A point in time in microseconds since an origin the caller chose; monotonic within one run.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Instant(u64);

impl Instant {
    /// The origin.
    pub const ZERO: Self = Self(0);

    /// The instant `micros` µs after the origin.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// The instant `millis` ms after the origin.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1000))
    }

    /// The instant `secs` s after the origin.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// Microseconds since the origin.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// How long `earlier` lies back; zero if it lies ahead.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, by: Duration) {
        *self = *self + by;
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.saturating_since(earlier)
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A fixed set of `N` one-shot timers, named by an enum that converts to an index below `N`.
///
/// For engines whose deadlines do not belong to one state; a deadline of a state lives inside that state.
#[derive(Clone, Debug)]
pub struct TimerTable<const N: usize>([Option<Instant>; N]);

impl<const N: usize> Default for TimerTable<N> {
    fn default() -> Self {
        Self([None; N])
    }
}

impl<const N: usize> TimerTable<N> {
    /// Arms `timer` for `at`, replacing what it was set to.
    pub fn set(&mut self, timer: impl Into<usize>, at: Instant) {
        if let Some(slot) = self.0.get_mut(timer.into()) {
            *slot = Some(at);
        }
    }

    /// Disarms `timer`.
    pub fn stop(&mut self, timer: impl Into<usize>) {
        if let Some(slot) = self.0.get_mut(timer.into()) {
            *slot = None;
        }
    }

    /// When `timer` fires, if it is armed.
    #[must_use]
    pub fn get(&self, timer: impl Into<usize>) -> Option<Instant> {
        self.0.get(timer.into()).copied().flatten()
    }

    /// Whether `timer` is due at `now`; a due timer is disarmed.
    pub fn take_expired(&mut self, timer: impl Into<usize>, now: Instant) -> bool {
        match self.0.get_mut(timer.into()) {
            Some(slot @ Some(_)) if slot.is_some_and(|at| at <= now) => {
                *slot = None;
                true
            }
            _ => false,
        }
    }

    /// The earliest deadline of all.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.0.iter().flatten().min().copied()
    }
}

/// The earlier of two optional deadlines.
#[must_use]
pub fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        let t = Instant::from_secs(2);
        assert_eq!(t - Instant::from_secs(5), Duration::ZERO);
        assert_eq!(t + Duration::MAX, Instant::from_micros(u64::MAX));
        assert_eq!((t + Duration::from_millis(5)).to_string(), "2.005000");
    }

    #[test]
    fn timers_fire_once_in_order() {
        let mut timers = TimerTable::<2>::default();
        timers.set(0usize, Instant::from_secs(3));
        timers.set(1usize, Instant::from_secs(1));
        assert_eq!(timers.next(), Some(Instant::from_secs(1)));
        assert!(!timers.take_expired(0usize, Instant::from_secs(2)));
        assert!(timers.take_expired(1usize, Instant::from_secs(2)));
        assert!(!timers.take_expired(1usize, Instant::from_secs(2)));
        assert_eq!(earliest(None, timers.next()), Some(Instant::from_secs(3)));
    }
}
