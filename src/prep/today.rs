//! The month of the system's clock, to find expired certificates.
//!
//! Not here: calendars in general; years are those from 2000 to 2099.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::emv::MonthYear;

/// This month in UTC.
pub fn this_month() -> MonthYear {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    month_of(seconds)
}

/// YYMM as a month; `None` for anything else.
pub fn year_month(text: &str) -> Option<MonthYear> {
    let (year, month) = text.split_at_checked(2)?;
    let mut bcd = [0; 2];
    hex::decode_to_slice([month, year].concat(), &mut bcd).ok()?;
    MonthYear::from_bcd(bcd)
}

/// The month of a Unix time.
fn month_of(seconds: u64) -> MonthYear {
    // RFC 3339: YYYY-MM-..
    let text = crate::laws::rfc3339_seconds(seconds);
    let part = |from: usize| text.get(from..from + 2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
    let month = part(5).zip(part(2)).and_then(|(month, year)| MonthYear::from_bcd([month, year]));
    month.unwrap_or(MonthYear::LAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_of_unix_times() {
        // From `date -u -d @...`.
        for (seconds, month) in
            [(951_782_400, "02/2000"), (1_767_225_599, "12/2025"), (1_767_225_600, "01/2026")]
        {
            assert_eq!(month_of(seconds).to_string(), month);
        }
    }
}
