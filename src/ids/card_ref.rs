//! The rules for the name of a card: it is shown everywhere, so it must be no account number.
//!
//! [`check`] holds for every name. [`CardRef::check_accounts`] is for new ones, at preparation and acceptance:
//! names that were accepted before it stay readable.

use super::{CardRef, KekId, NameError};

/// Numbers of digits of an account number (ISO/IEC 7812-1).
const ACCOUNT: std::ops::RangeInclusive<usize> = 12..=19;

/// Checks a name: 1-40 printable ASCII characters; a GUID, or no 12 digits in a row. Does not allocate.
pub fn check(name: &[u8]) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if !name.iter().all(|b| (0x20..=0x7E).contains(b)) {
        return Err(NameError::Character);
    }
    if name.len() > 40 {
        return Err(NameError::TooLong(40));
    }
    let long = name.split(|b| !b.is_ascii_digit()).any(|run| run.len() >= *ACCOUNT.start());
    if long && !is_guid(name) { Err(NameError::LooksLikePan) } else { Ok(()) }
}

/// Whether a name is a GUID (RFC 9562): 8-4-4-4-12 or 32 hex digits, a letter among them. One in 250 has 12
/// decimal digits in a row by chance.
fn is_guid(name: &[u8]) -> bool {
    let right = |(place, byte): (usize, &u8)| match (name.len(), place) {
        (36, 8 | 13 | 18 | 23) => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    matches!(name.len(), 32 | 36)
        && name.iter().enumerate().all(right)
        && name.iter().any(u8::is_ascii_alphabetic)
}

impl CardRef {
    /// Checks a new name: with separators left out, it holds none of the account numbers that its record
    /// shows, and none that could be one of these issuers'.
    pub fn check_accounts<'a>(
        &self,
        shown: impl IntoIterator<Item = &'a str>,
        issuers: impl IntoIterator<Item = KekId>,
    ) -> Result<(), NameError> {
        let digits: String = self.as_str().chars().filter(char::is_ascii_digit).collect();
        let is_in = |number: &str| ACCOUNT.contains(&number.len()) && digits.contains(number);
        if shown.into_iter().any(is_in) {
            return Err(NameError::HoldsPan);
        }
        let runs = joined_digits(self.as_str());
        let could_be_of = |issuer: KekId| {
            let issuer = issuer.issuer_digits();
            runs.iter().any(|run| holds_account_of(run, &issuer))
        };
        if issuers.into_iter().any(could_be_of) { Err(NameError::HoldsPan) } else { Ok(()) }
    }
}

/// Returns the runs of digits of a text, with every single separator between two digits left out. A letter is
/// no separator.
fn joined_digits(text: &str) -> Vec<String> {
    let mut runs = Vec::new();
    let mut run = String::new();
    let mut characters = text.chars().peekable();
    let mut after_digit = false;
    while let Some(c) = characters.next() {
        let before_digit = characters.peek().is_some_and(char::is_ascii_digit);
        if c.is_ascii_digit() {
            run.push(c);
        } else if c.is_ascii_alphabetic() || !after_digit || !before_digit {
            runs.push(std::mem::take(&mut run));
        }
        after_digit = c.is_ascii_digit();
    }
    runs.push(run);
    runs
}

/// Whether a run of digits holds a number of an account's length, with a right check digit, that begins with
/// an issuer identifier.
fn holds_account_of(run: &str, issuer: &str) -> bool {
    let begins = (0..run.len()).filter_map(|at| run.get(at..)).filter(|rest| rest.starts_with(issuer));
    let mut numbers = begins.flat_map(|rest| ACCOUNT.filter_map(|length| rest.get(..length)));
    !issuer.is_empty() && numbers.any(luhn_holds)
}

/// Whether the text is digits only and its last one is the Luhn check digit of the others (ISO/IEC 7812-1
/// Annex B).
pub fn luhn_holds(digits: &str) -> bool {
    let values = digits.bytes().rev().map(|digit| u32::from(digit.wrapping_sub(b'0')));
    let sum: u32 = values
        .enumerate()
        .map(|(place, value)| match (place % 2, value * 2) {
            (1, double) if double > 9 => double - 9,
            (1, double) => double,
            _ => value,
        })
        .sum();
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) && sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NUMBER: &str = "4761739001010119";

    fn issuer(hex: &str) -> KekId {
        KekId::from_hex(hex).unwrap()
    }

    fn accounts(name: &str, shown: &[&str], issuers: &[&str]) -> Result<(), NameError> {
        let name = CardRef::new(name).unwrap();
        name.check_accounts(shown.iter().copied(), issuers.iter().map(|hex| issuer(hex)))
    }

    /// The forms of RFC 9562 4, with and without hyphens.
    #[test]
    fn a_guid_is_a_name_whatever_its_digits() {
        for guid in [
            "550e8400-e29b-41d4-a716-446655440000",
            "550E8400-E29B-41D4-A716-446655440000",
            "550e8400e29b41d4a716446655440000",
            "0000000000000000000000000000000a",
        ] {
            assert!(CardRef::new(guid).is_ok(), "{guid}");
            assert_eq!(accounts(guid, &[NUMBER], &["476173FF01"]), Ok(()), "{guid}");
        }
        for other in [
            // No letter among the digits, another length, a hyphen in another place, a letter that is no hex
            // digit, something before it.
            "55018400-1291-4114-1716-446655440000",
            "55018400129141141716446655440000",
            "550e8400-e29b-41d4-a716-4466554400000",
            "550e840-0e29b-41d4-a716-446655440000",
            "550g8400-e29b-41d4-a716-446655440000",
            "{550e8400-e29b-41d4-a716-446655440000}",
            "a-446655440000",
        ] {
            assert_eq!(CardRef::new(other), Err(NameError::LooksLikePan), "{other}");
        }
    }

    proptest! {
        /// A file of 2,000 GUIDs was refused, because 0.4 % of them have 12 digits in a row.
        #[test]
        fn every_random_guid_is_a_name(bytes in any::<[u8; 16]>()) {
            let hex = hex::encode(bytes);
            prop_assume!(hex.bytes().any(|b| b.is_ascii_alphabetic()));
            let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
            for name in [hex.clone(), parts.join("-"), parts.join("-").to_uppercase()] {
                prop_assert!(accounts(&name, &[NUMBER], &["476173FF01"]).is_ok());
            }
        }

        #[test]
        fn no_name_makes_a_check_panic(text in "[ -~]{1,40}") {
            if let Ok(name) = CardRef::new(text) {
                let _ = name.check_accounts([NUMBER], [issuer("4FFFFFFF01"), issuer("476173FF01")]);
            }
        }
    }

    #[test]
    fn an_account_number_that_the_record_shows_is_found_in_any_grouping() {
        for name in [
            "4761-7390-0101-0119",
            "4761 7390 0101 0119",
            "4761.7390/0101_0119",
            "C-4761-7390-0101-0119-7",
            "C4761X7390Y0101Z0119",
            "476173900-1010119",
            // In the shape of a GUID.
            "47617390-0101-0119-a716-446655440000",
            "4761739001010119a716446655440000",
        ] {
            assert_eq!(accounts(name, &[NUMBER], &[]), Err(NameError::HoldsPan), "{name}");
            assert_eq!(accounts(name, &["4761739001010118", "0119"], &[]), Ok(()), "{name}");
        }
    }

    #[test]
    fn a_number_that_could_be_the_issuers_is_found_with_single_separators() {
        for name in ["4761-7390-0101-0119", "1-4761 7390.0101_0119-5", "C4761-7390-0101-0119"] {
            for issuer in ["476173FF01", "4761739001", "4FFFFFFF09"] {
                assert_eq!(accounts(name, &[], &["999999FF01", issuer]), Err(NameError::HoldsPan), "{name}");
            }
            assert_eq!(accounts(name, &[], &["476174FF01"]), Ok(()));
        }
        for (name, issuer) in [
            // Another check digit, two separators, letters between, too short.
            ("4761-7390-0101-0118", "476173FF01"),
            ("4761--7390--0101--0119", "476173FF01"),
            ("4761x7390x0101x0119", "476173FF01"),
            ("4761-7390-011", "476173FF01"),
            ("2026-11-29-000123", "476173FF01"),
        ] {
            assert_eq!(accounts(name, &[], &[issuer]), Ok(()), "{name}");
        }
    }

    #[test]
    fn luhn_of_published_test_numbers() {
        // Test numbers of card schemes, and the example 4992 73 9871 6 of ISO/IEC 7812-1 Annex B.
        for good in [NUMBER, "49927398716", "6228000100001117"] {
            assert!(luhn_holds(good));
        }
        for bad in ["4761739001010118", "4761739001011019", "", "47617390O1010119", "\u{ff14}"] {
            assert!(!luhn_holds(bad));
        }
    }
}
