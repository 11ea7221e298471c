//! A moment: milliseconds since 1970-01-01 UTC. Always an argument, never read from a clock here.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Time(pub i64);

impl Time {
    /// Further than any mail lives: the due time of what is held.
    pub const NEVER: Time = Time(i64::MAX);

    /// Milliseconds since the Unix epoch.
    pub fn ms(self) -> i64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not after.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0).max(0) as u64)
    }

    /// `Tue, 01 Jul 2003 10:52:37 +0000`, the date-time of RFC 5322 3.3, in UTC.
    pub fn rfc5322(self) -> String {
        let (year, month, day) = self.date();
        let seconds = self.0.div_euclid(1000).rem_euclid(86_400);
        let weekday =
            ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][self.0.div_euclid(86_400_000).rem_euclid(7) as usize];
        format!(
            "{weekday}, {day:02} {} {year:04} {:02}:{:02}:{:02} +0000",
            MONTHS[month as usize - 1],
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60
        )
    }

    /// `2003-07-01T10:52:37.123Z` (RFC 3339).
    pub fn rfc3339(self) -> String {
        let (year, month, day) = self.date();
        let ms = self.0.rem_euclid(86_400_000);
        let seconds = ms / 1000;
        format!(
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60,
            ms % 1000
        )
    }

    /// `(year, month 1-12, day 1-31)` in UTC, by the civil-from-days arithmetic of the proleptic Gregorian calendar.
    pub fn date(self) -> (i64, u32, u32) {
        let days = self.0.div_euclid(86_400_000) + 719_468;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = (day_of_year - (153 * shifted_month + 2) / 5 + 1) as u32;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 } as u32;
        (year_of_era + era * 400 + i64::from(month <= 2), month, day)
    }
}

impl std::ops::Add<Duration> for Time {
    type Output = Time;
    fn add(self, delay: Duration) -> Time {
        Time(self.0.saturating_add(i64::try_from(delay.as_millis()).unwrap_or(i64::MAX)))
    }
}

pub(crate) const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_the_rfcs_ask() {
        let time = Time(1_057_056_757_123);
        assert_eq!(time.rfc5322(), "Tue, 01 Jul 2003 10:52:37 +0000");
        assert_eq!(time.rfc3339(), "2003-07-01T10:52:37.123Z");
        assert_eq!(Time(951_782_400_000).date(), (2000, 2, 29));
        assert_eq!(Time(-86_400_000).date(), (1969, 12, 31));
    }
}
