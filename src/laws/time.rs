//! Unix time as text: RFC 3339 in UTC with milliseconds. No time zones, no leap seconds.

/// `2026-03-01T09:30:00.250Z` from Unix milliseconds.
pub fn rfc3339(unix_ms: u64) -> String {
    format!("{}.{:03}Z", date_and_time(unix_ms / 1000), unix_ms % 1000)
}

/// `2026-03-01T09:30:00Z` from Unix seconds.
pub fn rfc3339_seconds(unix_s: u64) -> String {
    format!("{}Z", date_and_time(unix_s))
}

/// The date by Howard Hinnant's `civil_from_days` (<https://howardhinnant.github.io/date_algorithms.html>), for days from 1970 on.
fn date_and_time(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days since 0000-03-01: years begin in March, so that the leap day is the last of its year.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

/// The inverse of [`rfc3339`]: reads exactly what that writes, and nothing else.
pub fn unix_ms(text: &str) -> Option<u64> {
    let part = |range: std::ops::Range<usize>| text.get(range)?.parse::<u64>().ok();
    let length = text.len().checked_sub("0000-00-00T00:00:00.000Z".len())?;
    // A year has four digits or, after 9999, more.
    let year: u64 = text.get(..length + 4)?.parse().ok()?;
    let at = |place: usize| part(length + place..length + place + 2);
    let (month, day) = (at(5)?, at(8)?);
    let (hour, minute, second) = (at(11)?, at(14)?, at(17)?);
    let ms = part(length + 20..length + 23)?;
    let march_year = year.checked_sub(u64::from(month <= 2))?;
    let march_month = if month > 2 { month - 3 } else { month + 9 };
    let (era, year_of_era) = (march_year / 400, march_year % 400);
    let day_of_year = (153 * march_month + 2) / 5 + day.checked_sub(1)?;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = (era.checked_mul(146_097)?.checked_add(day_of_era)?).checked_sub(719_468)?;
    let seconds = days.checked_mul(86_400)?.checked_add(hour * 3600 + minute * 60 + second)?;
    let unix_ms = seconds.checked_mul(1000)?.checked_add(ms)?;
    // Months after December, days after the month's last, and other separators do not survive being written again.
    (rfc3339(unix_ms) == text).then_some(unix_ms)
}

#[cfg(test)]
mod tests {
    use super::{rfc3339, rfc3339_seconds, unix_ms};

    #[test]
    fn a_time_is_read_as_it_was_written_and_not_otherwise() {
        for ms in [
            0,
            1,
            951_782_399_999,
            951_782_400_000,
            1_709_164_800_250,
            4_107_542_400_007,
            300_000_000_000_000,
        ] {
            assert_eq!(unix_ms(&rfc3339(ms)), Some(ms));
        }
        for wrong in [
            "",
            "2024-02-29",
            "2023-02-29T00:00:00.000Z",
            "2024-13-01T00:00:00.000Z",
            "2024-02-29T24:00:00.000Z",
            "2024-02-29 00:00:00.000Z",
            "2024-02-29T00:00:00.000+",
            "1969-12-31T23:59:59.999Z",
            "+024-02-29T00:00:00.000Z",
            "2024-02-29T00:00:00.\u{e4}0Z",
        ] {
            assert_eq!(unix_ms(wrong), None, "{wrong}");
        }
    }

    /// Seconds from GNU `date -u -d @N +%FT%TZ`.
    #[test]
    fn gnu_date_known_answers() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00"),
            (951_782_399, "2000-02-28T23:59:59"),
            (951_782_400, "2000-02-29T00:00:00"),
            (951_868_800, "2000-03-01T00:00:00"),
            (1_709_164_800, "2024-02-29T00:00:00"),
            (1_735_689_599, "2024-12-31T23:59:59"),
            (1_735_689_600, "2025-01-01T00:00:00"),
            (4_107_542_400, "2100-03-01T00:00:00"),
            (4_107_542_399, "2100-02-28T23:59:59"),
        ] {
            assert_eq!(rfc3339(seconds * 1000 + 7), format!("{text}.007Z"), "{seconds}");
            assert_eq!(rfc3339_seconds(seconds), format!("{text}Z"), "{seconds}");
        }
    }
}
