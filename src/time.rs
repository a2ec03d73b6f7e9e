// SPDX-License-Identifier: Apache-2.0
//! Times as RFC 3339 text, always in UTC: it needs no time zone file, which after pivot_root would be
//! the container's own.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point in time: seconds since 1970 and nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time {
    secs: u64,
    nanos: u32,
}

impl Time {
    pub(crate) fn now() -> Self {
        // A clock before 1970 reads as 1970.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self { secs: since.as_secs(), nanos: since.subsec_nanos() }
    }

    /// Whole seconds: `2026-11-24T11:36:33Z`.
    pub(crate) fn rfc3339(self) -> String {
        self.seconds() + "Z"
    }

    #[cfg(test)]
    pub(crate) fn of(secs: u64) -> Self {
        Self { secs, nanos: 0 }
    }

    /// `Nov 24 11:36:33`, the day padded by a blank.
    pub(crate) fn syslog(self) -> String {
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let (_, month, day) = civil(self.secs / 86_400);
        let rest = self.secs % 86_400;
        let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
        let month = MONTHS[usize::try_from(month - 1).unwrap_or(0)];
        format!("{month} {day:>2} {hour:02}:{minute:02}:{second:02}")
    }

    /// With as many digits of the fraction as are not trailing zeros, as Go's `RFC3339Nano`.
    pub(crate) fn rfc3339_nano(self) -> String {
        let mut text = self.seconds();
        if self.nanos != 0 {
            text += format!(".{:09}", self.nanos).trim_end_matches('0');
        }
        text + "Z"
    }

    fn seconds(self) -> String {
        let (days, rest) = (self.secs / 86_400, self.secs % 86_400);
        let (year, month, day) = civil(days);
        let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
    }
}

/// Year, month and day of the Gregorian calendar from days since 1970. Years are counted from March,
/// so that the leap day is the last one, in eras of 400 years (146097 days).
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // days from 0000-03-01 to 1970-01-01
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants() {
        // Expected: `date -u -d @SECS +%FT%TZ`.
        for (secs, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_709_251_200, "2024-03-01T00:00:00Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (1_795_520_193, "2026-11-24T11:36:33Z"),
        ] {
            assert_eq!(Time { secs, nanos: 0 }.rfc3339(), text);
        }
    }

    #[test]
    fn the_fraction_has_no_trailing_zeros() {
        let at = |nanos| Time { secs: 0, nanos }.rfc3339_nano();
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(120_000_000), "1970-01-01T00:00:00.12Z");
        assert_eq!(at(1), "1970-01-01T00:00:00.000000001Z");
    }

    fn is_leap(year: u64) -> bool {
        year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400)
    }

    /// Days before that month of that year, one year and one month after the other.
    fn days_before(year: u64, month: usize) -> u64 {
        let lengths =
            [31, if is_leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let years: u64 = (1970..year).map(|year| if is_leap(year) { 366 } else { 365 }).sum();
        years + lengths[..month - 1].iter().sum::<u64>()
    }

    proptest::proptest! {
        /// To the end of the year 9999: the text reads back, and texts are in the order of the times.
        #[test]
        fn times_read_back(secs in 0..253_402_300_800_u64, nanos in 0..1_000_000_000_u32, later in 1..100_000_u64) {
            let time = Time { secs, nanos };
            let text = time.rfc3339_nano();
            proptest::prop_assert!(text.ends_with('Z') && &text[10..11] == "T");
            let at = |from: usize, to: usize| text[from..to].parse::<u64>().unwrap();
            let month = usize::try_from(at(5, 7)).unwrap();
            let days = days_before(at(0, 4), month) + at(8, 10) - 1;
            proptest::prop_assert_eq!(days * 86_400 + at(11, 13) * 3600 + at(14, 16) * 60 + at(17, 19), secs);
            let fraction = text[19..text.len() - 1].trim_start_matches('.');
            proptest::prop_assert_eq!(format!("{fraction:0<9}").parse(), Ok(nanos));
            proptest::prop_assert!(!fraction.ends_with('0'));
            proptest::prop_assert_eq!(time.rfc3339(), format!("{}Z", &text[..19]));
            let syslog = time.syslog();
            proptest::prop_assert!(syslog.ends_with(&text[11..19]) && syslog.len() == 15, "{}", syslog);
            if secs + later < 253_402_300_800 {
                let later = Time { secs: secs + later, nanos };
                proptest::prop_assert!(later.rfc3339() > time.rfc3339());
            }
        }
    }
}
