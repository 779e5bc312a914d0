//! Points in time in words, in UTC.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Now, as time since 1970.
pub(super) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The time of day with microseconds.
pub(super) fn time_of_day(since_1970: Duration) -> String {
    let seconds = since_1970.as_secs() % DAY;
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{hour:02}:{minute:02}:{second:02}.{:06}", since_1970.subsec_micros())
}

/// Date and time as RFC 3339 writes them.
pub(super) fn date_and_time(since_1970: Duration) -> String {
    let (year, month, day) = civil(since_1970.as_secs() / DAY);
    format!("{year:04}-{month:02}-{day:02}T{}Z", time_of_day(since_1970))
}

/// Year, month and day of the day `days` after 1970-01-01.
const fn civil(days: u64) -> (u64, u64, u64) {
    // Years start in March here, so that the day a leap year has more is their last.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + if month < 3 { 1 } else { 0 }, month, day)
}

const DAY: u64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_days() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000007Z"),
            (951_782_400, "2000-02-29T00:00:00.000007Z"),
            (951_868_799, "2000-02-29T23:59:59.000007Z"),
            (1_767_225_600, "2026-01-01T00:00:00.000007Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000007Z"),
        ] {
            assert_eq!(date_and_time(Duration::new(seconds, 7000)), text);
        }
    }
}
