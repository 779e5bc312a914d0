//! The clock of the data path.

use ether::Instant;

use crate::sys;

/// The system's monotonic clock: the time workers give to [`hairpin::Relay::process`], so also that by which to read the
/// age of learnt addresses.
#[must_use]
pub fn now() -> Instant {
    let time = sys::monotonic();
    let micros = time.tv_sec * 1_000_000 + time.tv_nsec / 1000;
    Instant::from_micros(u64::try_from(micros).unwrap_or(0))
}
