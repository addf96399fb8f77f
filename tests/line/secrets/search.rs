//! Searches streams for every form of every needle at once, and for anything that looks like an account
//! number.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::forms::{Form, compact, of_bytes, of_digits, of_text};

/// A form is searched only if it has at least this many bytes: shorter ones would be found by chance.
const PREFIX: usize = 6;

/// Bits of the filter that skips most places of a stream.
const FILTER: u32 = 24;

/// A value that must not be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needle {
    /// Name for messages.
    pub name: String,
    pub kind: Kind,
    pub value: Value,
}

/// The origin of a needle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A key of a key list.
    Master,
    /// A key that protects a file, or a value that stands in it only under protection.
    File,
    /// A key of a blank, or of a channel to it.
    Blank,
    /// A secret value in the personalized card.
    Secret,
    /// Account, name, tracks and other clear data of one card, which the output file holds by design.
    Holder,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    Bytes(Vec<u8>),
    Text(String),
    Digits(String),
}

impl Value {
    fn forms(&self) -> Vec<Form> {
        match self {
            Self::Bytes(bytes) => of_bytes(bytes),
            Self::Text(text) => of_text(text),
            Self::Digits(digits) => of_digits(digits),
        }
    }
}

/// A set of needles, prepared for searching.
pub struct Search {
    pub needles: Vec<Needle>,
    /// Index of the needle, name of the form, form.
    patterns: Vec<(usize, &'static str, Vec<u8>)>,
    by_prefix: HashMap<[u8; PREFIX], Vec<usize>>,
    filter: Vec<bool>,
}

impl Search {
    /// Prepares the search; a value that appears twice is searched once.
    pub fn new(all: Vec<Needle>) -> Self {
        let mut needles: Vec<Needle> = Vec::new();
        let mut search = Self {
            needles: vec![],
            patterns: vec![],
            by_prefix: HashMap::new(),
            filter: vec![false; 1 << FILTER],
        };
        let mut known = BTreeSet::new();
        for needle in all {
            if !known.insert(format!("{:?}", needle.value)) {
                continue;
            }
            for (form, bytes) in needle.value.forms() {
                assert!(bytes.len() >= PREFIX, "{}: {form} is too short to be searched", needle.name);
                let prefix = *bytes.first_chunk().unwrap();
                search.filter[place(&prefix)] = true;
                search.by_prefix.entry(prefix).or_default().push(search.patterns.len());
                search.patterns.push((needles.len(), form, bytes));
            }
            needles.push(needle);
        }
        Self { needles, ..search }
    }

    /// The needles in a stream: the index in `needles`, and one form in which each was found.
    pub fn find(&self, stream: &[u8]) -> BTreeMap<usize, &'static str> {
        let mut found = BTreeMap::new();
        for stream in [stream, &compact(stream)] {
            for at in 0..stream.len().saturating_sub(PREFIX - 1) {
                let rest = &stream[at..];
                let Some(prefix) = rest.first_chunk().filter(|p| self.filter[place(p)]) else { continue };
                for (needle, form, bytes) in
                    self.by_prefix.get(prefix).into_iter().flatten().map(|n| &self.patterns[*n])
                {
                    if rest.starts_with(bytes) {
                        found.entry(*needle).or_insert(*form);
                    }
                }
            }
        }
        found
    }
}

/// Index of a prefix in the filter.
fn place(prefix: &[u8; PREFIX]) -> usize {
    let word = u32::from_le_bytes(*prefix.first_chunk().unwrap());
    (word.wrapping_mul(0x9E37_79B1) >> (32 - FILTER)) as usize
}

/// The offsets of digits that could be an account number: runs of 13 to 19 digits, also in groups of four,
/// with a right check digit and no leading 0. Digits inside a hexadecimal value do not count, except in the
/// forms in which a card or track 1 carries an account number.
pub fn account_numbers(stream: &[u8]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(begin) = stream[at..].iter().position(u8::is_ascii_digit).map(|n| n + at) {
        let mut digits: Vec<u8> = Vec::new();
        let mut end = begin;
        loop {
            let group = stream[end..].iter().take_while(|b| b.is_ascii_digit()).count();
            digits.extend(stream[end..end + group].iter().map(|b| b - b'0'));
            end += group;
            if at <= begin {
                at = end;
            }
            let number = (13..=19).contains(&digits.len()) && digits[0] != 0 && luhn(&digits);
            if number && !inside_hex(&stream[..begin], &stream[end..]) {
                found.push(begin);
            }
            let more = matches!(stream.get(end..end + 2), Some([b' ' | b'-', next]) if next.is_ascii_digit());
            if group != 4 || !more || digits.len() > 19 {
                break;
            }
            end += 1;
        }
    }
    found
}

/// The check digit rule of ISO/IEC 7812-1 annex B.
fn luhn(digits: &[u8]) -> bool {
    let value = |(place, d): (usize, &u8)| match (place % 2, *d) {
        (0, d) => u32::from(d),
        (_, d) => u32::from(if d > 4 { 2 * d - 9 } else { 2 * d }),
    };
    digits.iter().rev().enumerate().map(value).sum::<u32>().is_multiple_of(10)
}

/// Whether the digits between these bytes are part of a hexadecimal value. `B<PAN>`, `<PAN>D<YYMM>` and
/// `<PAN>F` count as account numbers.
fn inside_hex(before: &[u8], after: &[u8]) -> bool {
    let word = |b: &&u8| b.is_ascii_alphanumeric();
    let before: Vec<u8> = before.iter().rev().take_while(word).copied().collect();
    let after: Vec<u8> = after.iter().take_while(word).copied().collect();
    let hex = before.iter().chain(&after).all(u8::is_ascii_hexdigit);
    let expiry = matches!(&after[..], [b'D' | b'd', yymm @ ..] if yymm.len() >= 4 && yymm[..4].iter().all(u8::is_ascii_digit));
    let pan_before = before.is_empty() || before.eq_ignore_ascii_case(b"B");
    let pan_after = after.is_empty() || expiry || after.iter().all(|b| b"Ff".contains(b));
    hex && !(pan_before && pan_after)
}
