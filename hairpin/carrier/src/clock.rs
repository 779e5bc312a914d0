//! The clock of the data path.

use crate::sys;

/// Seconds of the system's monotonic clock: the `now_secs` workers give to [`hairpin::Relay::process`], so also the
/// time by which to read the age of learnt addresses. Wraps after 136 years.
#[must_use]
pub fn now_secs() -> u32 {
    let secs = sys::monotonic_coarse().tv_sec;
    u32::try_from(secs & i64::from(u32::MAX)).unwrap_or(0)
}
