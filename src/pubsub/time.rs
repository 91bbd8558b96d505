//! A moment, handed in by who has a clock, and how XMPP writes and reads it (XEP-0082 section 3.2).
//!
//! Nothing here asks what time it is.

use std::fmt;

/// Milliseconds since 1970-01-01T00:00:00Z. Leap seconds do not exist, as in POSIX.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The moment `seconds` later; the end of time when that is past it.
    #[must_use]
    pub fn plus_seconds(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1000)))
    }

    /// Reads a DateTime: `2026-11-23T01:02:03Z`, with a fraction of a second, with an offset for the `Z`. `None` for what
    /// is none, and for what was before 1970.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (date, time) = text.split_once('T')?;
        let mut date = date.split('-').map(|part| digits(part, if part.len() == 4 { 4 } else { 2 }));
        let (year, month, day) = (date.next()??, date.next()??, date.next()??);
        if date.next().is_some() || !(1970..=9999).contains(&year) || !(1..=12).contains(&month) {
            return None;
        }
        let (time, offset) = match time.find(['Z', '+', '-']) {
            Some(at) => time.split_at_checked(at)?,
            None => return None,
        };
        let offset_minutes = match offset.split_at_checked(1)? {
            ("Z", "") => 0,
            (sign, offset) => {
                let (hours, minutes) = offset.split_once(':')?;
                let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
                if hours > 14 || minutes > 59 {
                    return None;
                }
                let minutes = i64::try_from(hours * 60 + minutes).ok()?;
                if sign == "+" { minutes } else { -minutes }
            }
        };
        let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
        let mut time = time.split(':').map(|part| digits(part, 2));
        let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
        let is_fraction = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
        if time.next().is_some() || hour > 23 || minute > 59 || second > 60 || !is_fraction {
            return None;
        }
        let milliseconds =
            fraction.bytes().chain(*b"000").take(3).fold(0, |sum, byte| sum * 10 + u64::from(byte - b'0'));
        // Days since 1970 by counting: the calendar is walked once for each year at most.
        let days = days_from_civil(year, month, day)?;
        let seconds = i64::try_from(days * 86_400 + hour * 3600 + minute * 60 + second).ok()? - offset_minutes * 60;
        Some(Self(u64::try_from(seconds).ok()?.checked_mul(1000)? + milliseconds))
    }
}

fn digits(text: &str, count: usize) -> Option<u64> {
    let is_number = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

/// The days from 1970-01-01 to a Gregorian date; `None` for a day that the month has not (Howard Hinnant's
/// `days_from_civil`, for years not negative).
fn days_from_civil(year: u64, month: u64, day: u64) -> Option<u64> {
    let shifted_year = year - u64::from(month <= 2);
    let era = shifted_year / 400;
    let year_of_era = shifted_year % 400;
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted_month + 2) / 5 + day.checked_sub(1)?;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = (era * 146_097 + day_of_era).checked_sub(719_468)?;
    (civil(days) == (year, month, day)).then_some(days)
}

/// `2026-11-23T01:02:03Z`, with milliseconds when there are any.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, milliseconds) = (self.0 / 1000, self.0 % 1000);
        let (days, second_of_day) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(days);
        let (hour, minute, second) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if milliseconds != 0 {
            write!(f, ".{milliseconds:03}")?;
        }
        f.write_str("Z")
    }
}

/// The Gregorian date of a day counted from 1970-01-01 (Howard Hinnant's `civil_from_days`, for days not negative).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::Timestamp;

    #[test]
    fn dates_are_written_as_xep_0082_says() {
        let table = [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_059_519_370_000, "2003-07-29T22:56:10Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (4_102_444_800_000, "2100-01-01T00:00:00Z"),
        ];
        for (milliseconds, written) in table {
            assert_eq!(Timestamp(milliseconds).to_string(), written);
            assert_eq!(Timestamp::parse(written), Some(Timestamp(milliseconds)), "{written}");
        }
    }

    #[test]
    fn dates_are_read_as_xep_0082_says() {
        let moment = Some(Timestamp(1_059_519_370_000));
        for written in ["2003-07-29T22:56:10.0Z", "2003-07-29T23:56:10+01:00", "2003-07-29T16:56:10-06:00"] {
            assert_eq!(Timestamp::parse(written), moment, "{written}");
        }
        assert_eq!(Timestamp::parse("1970-01-01T00:00:00.1234567Z"), Some(Timestamp(123)));
        for bad in [
            "",
            "T",
            "presence",
            "2003-07-29",
            "2003-07-29T22:56:10",
            "2003-07-29T22:56Z",
            "2003-02-29T00:00:00Z",
            "2003-13-01T00:00:00Z",
            "2003-00-01T00:00:00Z",
            "2003-01-00T00:00:00Z",
            "2003-01-01T24:00:00Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+01:00",
            "2003-07-29T22:56:10.Z",
            "2003-07-29T22:56:10+1:00",
            "+203-07-29T22:56:10Z",
            "99999-07-29T22:56:10Z",
        ] {
            assert_eq!(Timestamp::parse(bad), None, "{bad}");
        }
    }
}
