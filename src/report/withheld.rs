//! Keeps account numbers out of papers: a text of the issuer that may hold one is replaced.

use crate::ids::card_ref::luhn_holds;

/// Number of digits of an account number (ISO/IEC 7812-1; numbers of fewer than 13 are no longer issued).
const DIGITS: std::ops::RangeInclusive<usize> = 13..=19;
/// Most characters, other than letters, between two groups of an account number.
const SEPARATORS_MAX: usize = 3;

/// Returns the issuer's text, or a note in its place if the text may hold an account number.
pub(super) fn shown(text: Option<String>) -> Option<String> {
    text.map(|text| {
        if text.split(|c: char| !c.is_ascii_digit()).any(|run| run.len() >= 12) {
            "(withheld: 12 or more digits)".to_owned()
        } else if grouped_account(&text) {
            "(withheld: digits in groups that could be an account number)".to_owned()
        } else {
            text
        }
    })
}

/// Whether successive groups of digits, without letters and with few other characters between them, are
/// together as long as an account number and have its right check digit.
fn grouped_account(text: &str) -> bool {
    let (mut groups, mut between) = (Vec::new(), 0);
    for run in text.split_inclusive(|c: char| !c.is_ascii_digit()) {
        let group = run.trim_end_matches(|c: char| !c.is_ascii_digit());
        if !group.is_empty() {
            if between > SEPARATORS_MAX {
                groups.clear();
            }
            groups.push(group);
            between = 0;
            if ends_with_account(&groups) {
                return true;
            }
        }
        match run.chars().last() {
            Some(c) if c.is_alphabetic() => groups.clear(),
            _ => between += 1,
        }
    }
    false
}

fn ends_with_account(groups: &[&str]) -> bool {
    let mut digits = String::new();
    for group in groups.iter().rev() {
        if digits.len() + group.len() > *DIGITS.end() {
            return false;
        }
        digits.insert_str(0, group);
        if DIGITS.contains(&digits.len()) && luhn_holds(&digits) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SEPARATORS: [&str; 10] = [" ", "-", ".", "/", ",", "_", ":", "  ", " - ", "--"];

    /// A number under the TEST IIN whose last digit is computed.
    fn account(body: &str) -> String {
        let body = format!("476173{body}");
        let check = (0..10).find(|check| luhn_holds(&format!("{body}{check}"))).unwrap();
        format!("{body}{check}")
    }

    fn grouped(digits: &str, sizes: &[usize], separators: &[&str]) -> String {
        let (mut text, mut rest, mut n) = (String::new(), digits, 0);
        while !rest.is_empty() {
            let (group, after) = rest.split_at(sizes[n % sizes.len()].min(rest.len()));
            text.push_str(group);
            rest = after;
            if !rest.is_empty() {
                text.push_str(separators[n % separators.len()]);
            }
            n += 1;
        }
        text
    }

    fn is_shown(text: &str) -> bool {
        shown(Some(text.to_owned())).as_deref() == Some(text)
    }

    #[test]
    fn an_account_number_in_groups_is_withheld_and_what_is_none_is_shown() {
        let number = account("900001012");
        for separator in SEPARATORS {
            let text = grouped(&number, &[4], &[separator]);
            for text in [
                text.clone(),
                format!("card {text}"),
                format!("12/27 {text}"),
                format!("{text} 3 days"),
                format!("x{text}y"),
                format!("1.{text}.2"),
            ] {
                assert!(!is_shown(&text), "{text}");
            }
        }
        // One digit differs, so it is no account number.
        let (body, check) = number.split_at(15);
        let other = (check.parse::<u32>().unwrap() + 1) % 10;
        let four = [4];
        for text in [
            grouped(&format!("{body}{other}"), &four, &[" "]),
            grouped(&number, &four, &["x"]),
            grouped(&number, &four, &[" ... "]),
            "2026-10-01/4711".to_owned(),
            "STOCK-12.34/56 7".to_owned(),
            String::new(),
            "\u{0664}761".to_owned(),
        ] {
            assert!(is_shown(&text), "{text}");
        }
        assert_eq!(shown(None), None);
        assert!(!is_shown(&number) && !is_shown("123456789012"));
    }

    proptest! {
        #[test]
        fn none_is_shown_however_it_is_grouped(
            body in "[0-9]{6,12}",
            sizes in proptest::collection::vec(1usize..8, 1..6),
            separators in proptest::collection::vec(proptest::sample::select(&SEPARATORS[..]), 1..6),
            before in "([a-z]{0,5}|[0-9]{1,4}[ ./-])",
            after in "([a-z]{0,5}|[ ./-][0-9]{1,4})",
        ) {
            let text = grouped(&account(&body), &sizes, &separators);
            let text = format!("{before}{text}{after}");
            prop_assert!(!is_shown(&text), "{}", text);
        }

        #[test]
        fn what_has_too_few_digits_is_shown(text in "([A-Za-z]{1,3}[0-9]{1,4}[ ./-]?){0,3}") {
            prop_assert!(is_shown(&text), "{}", text);
        }
    }
}
