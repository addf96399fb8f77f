//! The terminal's own data: what it puts into the lists of the card, and the date of the transaction.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use super::failure::StepFault;
use super::tlv;

/// Tag of the unpredictable number.
const UNPREDICTABLE: u32 = 0x9F37;

/// Tags of format n: they are shortened and filled on their left, all others on their right (EMV Book 3, 5.4).
const NUMERIC: [u32; 9] = [0x9A, 0x9C, 0x5F2A, 0x5F36, 0x9F02, 0x9F03, 0x9F1A, 0x9F21, 0x9F35];

/// Month of a certificate or transaction; later ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CalendarMonth {
    year: u16,
    month: u8,
}

impl CalendarMonth {
    /// Year and month as two decimal digits each; years from 50 are in the last century (EMV Book 4, 6.7.3).
    pub(super) fn from_bcd(year: u8, month: u8) -> Result<Self, StepFault> {
        let decimal = |bcd: u8| (bcd >> 4 <= 9 && bcd & 15 <= 9).then_some((bcd >> 4) * 10 + (bcd & 15));
        let year = decimal(year).ok_or(StepFault::Date)?;
        let month = decimal(month).filter(|month| (1..=12).contains(month)).ok_or(StepFault::Date)?;
        Ok(Self { year: if year < 50 { 2000 } else { 1900 } + u16::from(year), month })
    }
}

/// Data of one transaction.
#[derive(Clone)]
pub struct TerminalData {
    values: BTreeMap<u32, Vec<u8>>,
    month: CalendarMonth,
}

impl TerminalData {
    /// A transaction of 10.00 at an attended terminal that has SDA, DDA and CDA, with a random unpredictable
    /// number, on a date YYMMDD in decimal digits.
    pub fn on(date: [u8; 3]) -> Result<Self> {
        let [year, month, day] = date;
        let month =
            CalendarMonth::from_bcd(year, month).ok().context("the date has no month from 01 to 12")?;
        anyhow::ensure!(matches!(day, 0x01..=0x31) && day & 15 <= 9, "the date has no day from 01 to 31");
        let values: [(u32, &[u8]); 13] = [
            (0x9A, &date),
            (0x9C, &[0]),
            (0x95, &[0; 5]),
            (0x5F2A, &[0x08, 0x40]),
            (0x5F36, &[2]),
            (0x9F02, &[0, 0, 0, 0, 0x10, 0]),
            (0x9F03, &[0; 6]),
            (0x9F1A, &[0x08, 0x40]),
            (0x9F1E, b"TERMINAL"),
            (0x9F33, &[0xE0, 0xF8, 0xC8]),
            (0x9F35, &[0x22]),
            (0x9F40, &[0xF0, 0x00, 0xF0, 0xA0, 0x01]),
            (UNPREDICTABLE, &getrandom::u32()?.to_be_bytes()),
        ];
        Ok(Self { values: values.map(|(tag, value)| (tag, value.to_vec())).into(), month })
    }

    /// A transaction of today (UTC).
    pub fn today() -> Result<Self> {
        Self::on(date_of(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() / 86_400))
    }

    /// Whether something that expires with this month can still be used.
    pub(super) fn is_before_end_of(&self, expiry: CalendarMonth) -> bool {
        self.month <= expiry
    }

    /// The unpredictable number.
    pub(super) fn unpredictable(&self) -> &[u8] {
        self.values.get(&UNPREDICTABLE).map_or(&[], Vec::as_slice)
    }

    /// The values that a data object list asks for. The terminal sends zeros for what it does not know.
    pub(super) fn fill(&self, list: &[u8]) -> Result<Vec<u8>, StepFault> {
        let mut filled = Vec::new();
        for (tag, length) in tlv::wanted(list)? {
            let value = self.values.get(&tag).map_or(&[][..], Vec::as_slice);
            let zeros = vec![0; length.saturating_sub(value.len())];
            if NUMERIC.contains(&tag) {
                filled.extend(zeros);
                filled.extend(value.iter().skip(value.len().saturating_sub(length)));
            } else {
                filled.extend(value.iter().take(length));
                filled.extend(zeros);
            }
        }
        Ok(filled)
    }

    /// Fills a list whose answer is signed: it must ask for the unpredictable number as a whole.
    pub(super) fn fill_signed(&self, list: &[u8]) -> Result<Vec<u8>, StepFault> {
        let whole = (UNPREDICTABLE, self.unpredictable().len());
        if !tlv::wanted(list)?.contains(&whole) {
            return Err(StepFault::NoUnpredictableNumber);
        }
        self.fill(list)
    }
}

/// The date YYMMDD of a day counted from 1970-01-01.
fn date_of(mut days: u64) -> [u8; 3] {
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let bcd = |number: u64| u8::try_from(number / 10 % 10 * 16 + number % 10).unwrap_or_default();
    [bcd(year), bcd(month), bcd(days + 1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        for (day, date) in [
            (0, "700101"),
            (11_016, "000229"),
            (11_017, "000301"),
            (20_786, "261129"),
            (19_722, "231231"),
            (19_723, "240101"),
            (21_914, "291231"),
        ] {
            assert_eq!(hex::encode(date_of(day)), date);
        }
    }

    #[test]
    fn years_from_50_are_of_the_last_century() {
        let month = |year, month| CalendarMonth::from_bcd(year, month).unwrap();
        assert!(month(0x49, 1) > month(0x26, 0x12));
        assert!(month(0x50, 1) < month(0x26, 1));
        for (year, number) in [(0x26, 0x00), (0x26, 0x13), (0x2A, 0x01), (0xA0, 0x01), (0x26, 0x0A)] {
            assert_eq!(CalendarMonth::from_bcd(year, number), Err(StepFault::Date));
        }
    }

    #[test]
    fn lists_are_filled_by_the_rules_of_their_formats() {
        let data = TerminalData::on([0x26, 0x11, 0x29]).unwrap();
        let fill = |list: &str| hex::encode(data.fill(&hex::decode(list).unwrap()).unwrap());
        assert_eq!(fill("9F02049F1A039F3302"), "000010000008".to_owned() + "40e0f8");
        assert_eq!(fill("9F33049A02DF0103"), "e0f8c8001129000000");
        assert_eq!(fill(""), "");
        for list in ["9F", "9F33", "9FA1A1A101"] {
            assert_eq!(data.fill(&hex::decode(list).unwrap()), Err(StepFault::Malformed), "{list}");
        }
        for list in ["", "9F3703", "9F3708", "9A03"] {
            let list = hex::decode(list).unwrap();
            assert_eq!(data.fill_signed(&list), Err(StepFault::NoUnpredictableNumber));
        }
        assert_eq!(data.fill_signed(&[0x9F, 0x37, 4]).unwrap(), data.unpredictable());
    }
}
