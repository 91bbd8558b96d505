//! Moments as protocols write them (XEP-0082 section 3.2, version 1.1.1).

/// Microseconds from the Unix epoch to the moment `text` names, as `2026-11-22T12:34:56.789Z` or with an offset of
/// hours and minutes. What is before the epoch counts as the epoch; digits beyond microseconds are cut off.
///
/// `None` for anything else, such as the older profile without hyphens.
#[must_use]
pub fn parse(text: &str) -> Option<u64> {
    let (date, rest) = text.split_at_checked(10)?;
    let (time, rest) = rest.strip_prefix('T')?.split_at_checked(8)?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let is_moment = (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && hour <= 23
        && minute <= 59
        // A leap second has no number of its own on our clock.
        && second <= 60;
    let (micros, zone) = fraction(rest)?;
    let offset = offset_minutes(zone)?;
    if !is_moment {
        return None;
    }
    let seconds = days_from_epoch(year, month, day) * 86_400 + (hour * 60 + minute - offset) * 60 + second;
    Some(u64::try_from(seconds).map_or(0, |seconds| seconds.saturating_mul(1_000_000) + micros))
}

fn numbers(text: &str, separator: char, widths: [usize; 3]) -> Option<[i64; 3]> {
    let mut parts = text.split(separator);
    let mut found = [0; 3];
    for (number, width) in found.iter_mut().zip(widths) {
        *number = digits(parts.next()?, width)?;
    }
    parts.next().is_none().then_some(found)
}

fn digits(text: &str, width: usize) -> Option<i64> {
    (text.len() == width && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

/// Microseconds of `.123Z`, and what follows them.
fn fraction(text: &str) -> Option<(u64, &str)> {
    let Some(rest) = text.strip_prefix('.') else { return Some((0, text)) };
    let end = rest.find(|letter: char| !letter.is_ascii_digit())?;
    let (digits, zone) = rest.split_at_checked(end)?;
    let micros = digits.bytes().take(6).fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    let missing = 6 - u32::try_from(digits.len().min(6)).ok()?;
    (!digits.is_empty()).then_some((micros * 10_u64.pow(missing), zone))
}

fn offset_minutes(zone: &str) -> Option<i64> {
    let (sign, rest) = match zone.split_at_checked(1)? {
        ("Z", "") => return Some(0),
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes))
}

fn days_in(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Counts in eras of 400 years that begin on the first of March, so that a leap day comes last.
fn days_from_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn moments_are_read() {
        for (text, micros) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1969-07-21T02:56:15Z", 0),
            ("2000-02-29T00:00:00Z", 951_782_400_000_000),
            ("2002-09-10T23:08:25Z", 1_031_699_305_000_000),
            ("2002-09-10T23:08:25.5Z", 1_031_699_305_500_000),
            ("2002-09-10T23:08:25.0000019Z", 1_031_699_305_000_001),
            ("2002-09-11T01:08:25+02:00", 1_031_699_305_000_000),
            ("2002-09-10T17:38:25-05:30", 1_031_699_305_000_000),
            ("2100-03-01T00:00:00Z", 4_107_542_400_000_000),
            ("9999-12-31T23:59:60Z", 253_402_300_800_000_000),
        ] {
            assert_eq!(parse(text), Some(micros), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_none() {
        for text in [
            "",
            "20020910T23:08:25",
            "2002-09-10",
            "2002-09-10T23:08:25",
            "2002-09-10 23:08:25Z",
            "2002-13-10T23:08:25Z",
            "2001-02-29T23:08:25Z",
            "2002-09-10T24:08:25Z",
            "2002-09-10T23:08:25.Z",
            "2002-09-10T23:08:25+2",
            "2002-09-10T23:08:25+02:00Z",
            "+002-09-10T23:08:25Z",
            "2002-09-1éT23:08:25Z",
            "2002-09-10T23:08:25.999",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
