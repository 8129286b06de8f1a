//! Points in time as people write them: RFC 3339, in the proleptic Gregorian calendar.
//!
//! The conversion between days and dates is Howard Hinnant's ("chrono-compatible low-level date
//! algorithms"): years begin in March, so that the leap day is the last of its year.

use odradek::time::Timestamp;

const DAY_MS: i64 = 86_400_000;

/// Reads `2026-11-21T07:20:51Z`, also with a fraction or an offset, or `2026-11-21` alone for the
/// midnight it begins with in UTC. Years 0000 to 9999; digits beyond milliseconds are cut.
pub fn parse(text: &str) -> Option<Timestamp> {
    let (date, time) = match text.split_once(['T', 't', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let day_ms = parse_date(date)?.checked_mul(DAY_MS)?;
    let Some(time) = time else { return Some(Timestamp(day_ms)) };
    let (clock, offset_minutes) = split_offset(time)?;
    let ms = parse_clock(clock)?;
    Some(Timestamp(day_ms + ms - offset_minutes * 60_000))
}

/// Writes `2026-11-21T07:20:51.123Z`; what is no date of four-digit years as milliseconds.
pub fn print(at: Timestamp) -> String {
    let (year, month, day) = date_of_days(at.0.div_euclid(DAY_MS));
    if !(0..=9999).contains(&year) {
        return format!("{} ms", at.0);
    }
    let ms = at.0.rem_euclid(DAY_MS);
    let (hour, minute) = (ms / 3_600_000, ms / 60_000 % 60);
    let (second, fraction) = (ms / 1000 % 60, ms % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:03}Z")
}

/// Days since 1970-01-01.
fn parse_date(text: &str) -> Option<i64> {
    let mut parts = text.split('-');
    let year = digits(parts.next()?, 4)?;
    let month = digits(parts.next()?, 2)?;
    let day = digits(parts.next()?, 2)?;
    if parts.next().is_some() {
        return None;
    }
    let days = days_of_date(year, month, day);
    // A date that does not come back as it went in, such as 30 February, is none.
    (date_of_days(days) == (year, month, day)).then_some(days)
}

/// Milliseconds since midnight.
fn parse_clock(text: &str) -> Option<i64> {
    let (text, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let mut parts = text.split(':');
    let hour = digits(parts.next()?, 2)?;
    let minute = digits(parts.next()?, 2)?;
    // Seconds may be left out; a leap second is the second after it.
    let second = parts.next().map_or(Some(0), |second| digits(second, 2))?;
    if parts.next().is_some() || 23 < hour || 59 < minute || 60 < second {
        return None;
    }
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let ms: i64 = format!("{fraction:0<3}")[..3].parse().ok()?;
    Some(((hour * 60 + minute) * 60 + second) * 1000 + ms)
}

/// The clock, and the minutes by which it is ahead of UTC.
fn split_offset(text: &str) -> Option<(&str, i64)> {
    if let Some(clock) = text.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    let sign_place = text.rfind(['+', '-'])?;
    let (clock, offset) = text.split_at(sign_place);
    let sign = if offset.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = offset[1..].split_once(':')?;
    let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
    (hours <= 23 && minutes <= 59).then_some((clock, sign * (hours * 60 + minutes)))
}

fn digits(text: &str, count: usize) -> Option<i64> {
    let legal = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    if legal { text.parse().ok() } else { None }
}

fn days_of_date(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn date_of_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times_read_and_print() {
        for (text, ms) in [
            ("1970-01-01T00:00:00.000Z", 0),
            ("2000-02-29T12:34:56.789Z", 951_827_696_789),
            ("2026-11-21T07:20:51.000Z", 1_795_245_651_000),
            ("1969-12-31T23:59:59.999Z", -1),
            ("0000-01-01T00:00:00.000Z", -62_167_219_200_000),
            ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
        ] {
            assert_eq!(parse(text), Some(Timestamp(ms)), "{text}");
            assert_eq!(print(Timestamp(ms)), text);
        }
        assert_eq!(print(Timestamp(i64::MAX)), "9223372036854775807 ms");
    }

    #[test]
    fn other_spellings_read_alike() {
        let at = parse("2026-11-21T07:20:00Z");
        assert!(at.is_some());
        for text in [
            "2026-11-21T07:20Z",
            "2026-11-21t07:20:00z",
            "2026-11-21 07:20:00.0000009Z",
            "2026-11-21T09:20:00+02:00",
            "2026-11-20T23:50:00-07:30",
        ] {
            assert_eq!(parse(text), at, "{text}");
        }
        assert_eq!(parse("2026-11-21"), parse("2026-11-21T00:00:00Z"));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "now",
            "2026-13-01",
            "2026-02-29",
            "2026-00-10",
            "2026-1-1",
            "2026-11-21T",
            "2026-11-21T07:20:00",
            "2026-11-21T24:00:00Z",
            "2026-11-21T07:60:00Z",
            "2026-11-21T07:20:61Z",
            "2026-11-21T07:20:00.Z",
            "2026-11-21T07:20:00.éZ",
            "2026-11-21T07:20:00+2:00",
            "2026-11-21T07:20:00+02:00:00",
            "+026-11-21",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_comes_back() {
        for day in 0..146_097 {
            let (year, month, date) = date_of_days(day);
            assert_eq!(days_of_date(year, month, date), day);
        }
    }
}
