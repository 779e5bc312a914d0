//! The clocks of the daemon: the engines', and the wall's.

use std::time::{Duration, SystemTime};

use ether::Instant;
use tokio::time;

/// Milliseconds since 1970, for those who compare with other logs.
pub(super) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Engine time: microseconds since the daemon started.
#[derive(Clone, Copy)]
pub(super) struct Clock(time::Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(time::Instant::now())
    }

    pub(super) fn now(self) -> Instant {
        Instant::ZERO + self.0.elapsed()
    }

    pub(super) fn to_tokio(self, at: Instant) -> time::Instant {
        self.0 + Duration::from_micros(at.as_micros())
    }
}
