//! Content that must not be committed: paths of a developer's machine, account numbers.

use crate::sources::{Source, repository};
use crate::{every, finds, hold};

/// Numbers that look like an account number and may be committed.
const TEST_NUMBERS: [&str; 5] = [
    "4761739001010119",    // published test PAN (Visa test card)
    "6228000100001117",    // published test PAN (UICS test card)
    "4761739001010101128", // made up under the test IIN 476173, 19 digits
    "4761730000000011",    // made up under the test IIN 476173
    "1412349999999999",    // PIN block, ISO 9564 format 1, of the PIN 1234
];

/// Paths of a developer's machine, put together here so that this file does not hold them.
fn machine_paths(sources: &[Source]) -> Vec<String> {
    let needles = ["work", "root", "home"].map(|folder| format!("/{folder}/"));
    every(sources, |s| {
        let mut findings = Vec::new();
        for needle in &needles {
            for (at, _) in s.text.match_indices(needle) {
                let before = s.text[..at].chars().next_back();
                if !before.is_some_and(|c| c.is_alphanumeric() || "._-}~*".contains(c)) {
                    findings.push(s.finding(at, "a path of somebody's machine"));
                }
            }
        }
        findings
    })
}

#[test]
fn no_path_of_a_developers_machine_is_committed() {
    let path = format!("// see /{}/ann/notes", "home");
    let shell = format!("cd \"/{}/x\"", "work");
    finds(
        machine_paths,
        &[("src/a.rs", &path), (".ci/run", &shell)],
        &[("src/a.rs", "// net/work/a and src/home/b"), ("a.md", "/etc/cardwright, /var/lib/cardwright")],
    );
    hold(&machine_paths(&repository()));
}

/// The check digit rule of ISO/IEC 7812-1 annex B.
fn luhn(digits: &str) -> bool {
    let doubled = |d: u32| if d > 4 { 2 * d - 9 } else { 2 * d };
    let digit = |(place, c): (usize, char)| {
        let d = c.to_digit(10).unwrap();
        if place % 2 == 1 { doubled(d) } else { d }
    };
    digits.chars().rev().enumerate().map(digit).sum::<u32>() % 10 == 0
}

/// Whether the digits at `start..end` are only a part of a hexadecimal value. Three forms in which a card
/// carries a PAN count as a PAN, not as a hexadecimal value: `B<PAN>` (track 1), `<PAN>D<YYMM>` (tag 57),
/// `<PAN>F` (tag 5A).
fn is_part_of_hex(text: &[u8], start: usize, end: usize) -> bool {
    let left = text[..start].iter().rev().take_while(|b| b.is_ascii_alphanumeric()).count();
    let right = text[end..].iter().take_while(|b| b.is_ascii_alphanumeric()).count();
    let (before, after) = (&text[start - left..start], &text[end..end + right]);
    let hex = before.iter().chain(after).all(u8::is_ascii_hexdigit);
    let expiry = after.first().is_some_and(|b| matches!(b, b'D' | b'd'))
        && after.get(1..5).is_some_and(|yymm| yymm.iter().all(u8::is_ascii_digit));
    let pan_before = before.is_empty() || matches!(before, b"B" | b"b");
    let pan_after = after.is_empty() || expiry || after.iter().all(|b| matches!(b, b'F' | b'f'));
    hex && !(pan_before && pan_after)
}

/// Runs of 13 to 19 digits, also in groups of four, that could be account numbers: they do not begin with 0
/// and their check digit is right.
fn account_numbers(sources: &[Source]) -> Vec<String> {
    every(sources, |s| {
        // Its checksums are random hex digits, and some runs of digits in them pass the check.
        if s.path == "Cargo.lock" {
            return vec![];
        }
        let text = s.text.as_bytes();
        let mut findings = Vec::new();
        let mut at = 0;
        while at < text.len() {
            if !text[at].is_ascii_digit() {
                at += 1;
                continue;
            }
            let run = text[at..].iter().take_while(|b| b.is_ascii_digit()).count();
            let mut digits = s.text[at..at + run].to_string();
            let (mut end, mut group) = (at + run, run);
            while group == 4 && text.get(end).is_some_and(|b| matches!(b, b' ' | b'-')) {
                group = text[end + 1..].iter().take_while(|b| b.is_ascii_digit()).count();
                if group == 0 {
                    break;
                }
                digits.push_str(&s.text[end + 1..end + 1 + group]);
                end += 1 + group;
            }
            // Thirteen digits that begin with 1 are a Unix time in milliseconds; account numbers of that
            // length begin with 4.
            let time = digits.len() == 13 && digits.starts_with('1');
            let number =
                (13..=19).contains(&digits.len()) && !digits.starts_with('0') && !time && luhn(&digits);
            if number && !TEST_NUMBERS.contains(&digits.as_str()) && !is_part_of_hex(text, at, end) {
                findings.push(s.finding(at, "digits that could be an account number"));
            }
            at = end;
        }
        findings
    })
}

#[test]
fn no_account_number_is_committed() {
    // Test numbers of Mastercard, of Visa with 13 digits, and one of 19 digits, put together so that this
    // file does not hold them.
    let pans =
        [["54133300", "89020011"], ["422222", "2222222"], ["630495060", "0000000007"]].map(|p| p.concat());
    for pan in &pans {
        assert!(luhn(pan), "{pan}");
        let off = format!("{}{}", &pan[..pan.len() - 1], (pan.as_bytes()[pan.len() - 1] - b'0' + 1) % 10);
        for (path, text) in [
            ("a.csv", format!("C1,{pan},01")),
            ("src/a.rs", format!("// {pan}")),
            ("src/a.rs", format!("\"%B{pan}^A/B^2212\"")),
            ("src/a.rs", format!("\"{pan}D22122011\"")),
            ("src/a.rs", format!("\"{pan}F\"")),
            ("a.md", format!("PAN={pan}.")),
        ] {
            finds(account_numbers, &[(path, &text)], &[(path, &text.replace(pan, &off))]);
        }
    }
    let grouped = ["5413", "3300", "8902", "0011"];
    finds(
        account_numbers,
        &[("a.md", &grouped.join(" ")), ("a.md", &grouped.join("-"))],
        &[
            ("a.md", &TEST_NUMBERS.join(" , ")),
            ("src/a.rs", &format!("\"84E2{}A1\"", pans[0])),
            ("src/a.rs", "0000000000000000 2026-11-22 12345678901234567890"),
            ("Cargo.lock", &pans[0]),
        ],
    );
    hold(&account_numbers(&repository()));
}
