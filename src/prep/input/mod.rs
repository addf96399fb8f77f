//! The preparation's input (FIG 2, input file 159): a CSV file in UTF-8 with one card on each line, commas
//! between values, quotes where needed, and a strict header line (`columns`).
//!
//! The file is read twice with one line in memory: first to check and count all lines, then to build the
//! cards; a file with faults is read again to list them all. Only the check for duplicates grows, by two
//! 16-byte digests for each card. A fault names line and column, never the value.

mod header;
mod lines;

use std::collections::{BTreeMap, HashSet};
use std::io::Read;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use self::lines::LineCounter;
use super::columns::{self, COLUMNS, Column};
use super::plastic::FULFILMENT;
use crate::ids::{CardRef, KekId};

/// Values of the product profile for columns that a file does not have or leaves empty.
pub type Defaults = BTreeMap<Column, String>;

/// The data of one card as the issuer orders it. It is cardholder data: no `Debug`, wiped when dropped.
pub struct Cardholder {
    /// Line in the file, from 1.
    pub line: u64,
    /// Name of the card.
    pub card_ref: CardRef,
    values: BTreeMap<Column, Zeroizing<String>>,
}

impl Cardholder {
    /// Returns the value of a column; `None` if neither the line nor the product profile has one.
    pub fn get(&self, column: Column) -> Option<&str> {
        self.values.get(&column).map(|v| v.as_str())
    }

    /// Returns the value of a column that every line has.
    pub fn required(&self, column: Column) -> &str {
        self.get(column).unwrap_or_default()
    }
}

/// A fault of the input: its place and the broken rule, never the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// A value is wrong.
    #[error("input: line {line}, column {column}: {what}")]
    Value {
        /// Line, from 1.
        line: u64,
        /// Column as in the header.
        column: &'static str,
        /// What is wrong.
        what: String,
    },
    /// A line as a whole is wrong.
    #[error("input: line {line}: {what}")]
    Line {
        /// Line, from 1.
        line: u64,
        /// What is wrong.
        what: String,
    },
    /// The file cannot be read.
    #[error("input: cannot be read: {0}")]
    Io(std::io::ErrorKind),
}

/// A line of which no card can be made, with all its faults.
#[derive(Debug, PartialEq, Eq)]
pub struct RejectedLine {
    /// Name of the card, if it is valid and shows no other value of the line.
    pub card_ref: Option<CardRef>,
    /// The faults; at least one.
    pub faults: Vec<InputError>,
}

impl From<InputError> for RejectedLine {
    fn from(fault: InputError) -> Self {
        Self { card_ref: None, faults: vec![fault] }
    }
}

/// Reads the input card by card and checks it.
pub struct CardholderReader<'a, R> {
    csv: csv::Reader<LineCounter<R>>,
    columns: Vec<Column>,
    defaults: &'a Defaults,
    /// The KEK that protects the cards.
    kek: Option<KekId>,
    record: csv::StringRecord,
    /// Line of the header.
    header: u64,
    seen: HashSet<[u8; 16]>,
    /// Number of lines returned, and whether no more follow.
    returned: (u64, bool),
}

impl<'a, R: Read> CardholderReader<'a, R> {
    /// Reads and checks the header line.
    pub fn new(source: R, defaults: &'a Defaults) -> Result<Self, RejectedLine> {
        let mut csv = csv::ReaderBuilder::new().from_reader(LineCounter::new(source));
        let names = csv.headers().cloned();
        let header = csv.get_mut().line_at(0);
        let columns = header::columns(&names.map_err(|e| fault(&e, header, &[]))?, header)?;
        let (record, seen) = (csv::StringRecord::new(), HashSet::new());
        Ok(Self { csv, columns, defaults, kek: None, record, header, seen, returned: (0, false) })
    }

    /// Refuses also a card_ref that could be an account number of the issuer to whom this KEK belongs.
    #[must_use]
    pub fn under(mut self, kek: KekId) -> Self {
        self.kek = Some(kek);
        self
    }

    fn read(&mut self) -> Result<Option<Cardholder>, RejectedLine> {
        let before = self.csv.position().byte();
        let read = self.csv.read_record(&mut self.record);
        let line = self.csv.get_mut().line_at(before);
        if !read.map_err(|e| fault(&e, line, &self.columns))? {
            return Ok(None);
        }
        let mut checked = CheckedLine::new(line);
        for (column, text) in self.columns.iter().zip(&self.record).filter(|(_, text)| !text.is_empty()) {
            checked.add(*column, text);
        }
        checked.complete(self.defaults);
        checked.relate();
        checked.name(self.kek);
        checked.unique(&mut self.seen);
        checked.card().map(Some)
    }
}

impl<R: Read> Iterator for CardholderReader<'_, R> {
    type Item = Result<Cardholder, RejectedLine>;

    fn next(&mut self) -> Option<Self::Item> {
        let (count, ended) = self.returned;
        if ended {
            return None;
        }
        let next = self.read().transpose();
        // A file that cannot be read now would return this error again and again.
        let broken =
            matches!(&next, Some(Err(line)) if matches!(line.faults.as_slice(), [InputError::Io(_)]));
        self.returned = (count + 1, broken || next.is_none());
        if next.is_none() && count == 0 {
            let what = "there is no card; the header is not enough".into();
            return Some(Err(InputError::Line { line: self.header + 1, what }.into()));
        }
        next
    }
}

/// One line while it is checked. It is cardholder data: no `Debug`, wiped when dropped.
struct CheckedLine {
    line: u64,
    /// The values that follow the rules of their columns.
    values: BTreeMap<Column, Zeroizing<String>>,
    /// The values that break them.
    wrong: BTreeMap<Column, Zeroizing<String>>,
    faults: Vec<InputError>,
}

impl CheckedLine {
    fn new(line: u64) -> Self {
        Self { line, values: BTreeMap::new(), wrong: BTreeMap::new(), faults: Vec::new() }
    }

    fn fault(&mut self, column: Column, what: &str) {
        self.faults.push(InputError::Value { line: self.line, column: column.name(), what: what.into() });
    }

    /// Checks a value by the rule of its column.
    fn add(&mut self, column: Column, text: &str) {
        let checked = columns::by_name(column.name()).map_or(Err("is unknown"), |d| (d.check)(text));
        let kept = if checked.is_ok() { &mut self.values } else { &mut self.wrong };
        kept.insert(column, Zeroizing::new(text.to_owned()));
        if let Err(what) = checked {
            self.fault(column, what);
        }
    }

    /// Adds the values that the line leaves out.
    fn complete(&mut self, defaults: &Defaults) {
        let absent =
            |line: &Self, column| !line.values.contains_key(&column) && !line.wrong.contains_key(&column);
        let psn = (Column::Psn, "00");
        let values = defaults.iter().map(|(column, text)| (*column, text.as_str())).chain([psn]);
        for (column, text) in values {
            if absent(self, column) {
                self.values.insert(column, Zeroizing::new(text.to_owned()));
            }
        }
        for required in COLUMNS.iter().filter(|d| d.required) {
            if absent(self, required.column) {
                self.fault(required.column, "is empty");
            }
        }
    }

    /// Checks the rules between columns, where the values follow the rules of their own.
    fn relate(&mut self) {
        let get = |column: Column| self.values.get(&column).map(|v| v.as_str());
        let mut found = Vec::new();
        // Fulfilment data is printed in the bureau's papers. So it must not hold the account number, even with
        // other characters between its digits.
        let printed = FULFILMENT.into_iter().map(|(_, column)| column);
        for (column, text) in printed.filter_map(|column| Some((column, get(column)?))) {
            if self.shows(text, Column::Pan) {
                found.push((column, "holds the account number"));
            }
        }
        // YYMM of one century can be compared as text.
        if let (Some(effective), Some(expiry)) = (get(Column::Effective), get(Column::Expiry))
            && effective > expiry
        {
            found.push((Column::Effective, "is after the expiry"));
        }
        let amount = |column| get(column).and_then(|v| v.parse::<u64>().ok());
        if let (Some(balance), Some(max)) = (amount(Column::Balance), amount(Column::MaxBalance))
            && balance > max
        {
            found.push((Column::Balance, "is above max_balance"));
        }
        found.into_iter().for_each(|(column, what)| self.fault(column, what));
    }

    /// Checks that the card_ref, which is printed in logs and reports, holds no account number. It takes the
    /// number of the line even if that is wrong.
    fn name(&mut self, kek: Option<KekId>) {
        let Some(text) = self.values.get(&Column::CardRef) else { return };
        let checked = if self.shows(text, Column::Pan) {
            Err("holds the account number")
        } else {
            let name = CardRef::new(text.as_str());
            let checked = name.and_then(|name| name.check_accounts([], kek));
            checked
                .map_err(|_| "holds, with separators left out, what could be an account number of the issuer")
        };
        if let Err(what) = checked {
            let text = self.values.remove(&Column::CardRef);
            self.wrong.extend(text.map(|text| (Column::CardRef, text)));
            self.fault(Column::CardRef, what);
        }
    }

    /// Whether a text holds the value of a column, or its digits with other characters between them.
    fn shows(&self, text: &str, column: Column) -> bool {
        let value = self.values.get(&column).or_else(|| self.wrong.get(&column));
        let Some(value) = value else { return false };
        let digits = |text: &str| -> Zeroizing<String> {
            Zeroizing::new(text.chars().filter(char::is_ascii_digit).collect())
        };
        let number = digits(value);
        text.contains(value.as_str()) || (number.len() >= 4 && digits(text).contains(number.as_str()))
    }

    /// Checks that no earlier line has this card_ref, or this PAN with this PSN.
    fn unique(&mut self, seen: &mut HashSet<[u8; 16]>) {
        let get = |column: Column| self.values.get(&column).map(|v| v.as_bytes());
        let mut found = Vec::new();
        let names = [
            (Column::CardRef, b'R', [get(Column::CardRef), Some(b"".as_slice())]),
            (Column::Pan, b'P', [get(Column::Pan), get(Column::Psn)]),
        ];
        for (column, kind, parts) in names {
            let [Some(first), Some(second)] = parts else { continue };
            let mut hash = Sha256::new_with_prefix([kind]);
            [first, b"/", second].iter().for_each(|part| hash.update(part));
            let digest: [u8; 32] = hash.finalize().into();
            if !seen.insert(digest.first_chunk().copied().unwrap_or_default()) {
                found.push(match column {
                    Column::CardRef => (column, "stands in an earlier line too"),
                    _ => (column, "stands with the same psn in an earlier line too"),
                });
            }
        }
        found.into_iter().for_each(|(column, what)| self.fault(column, what));
    }

    /// Returns the card, or all faults of the line.
    fn card(mut self) -> Result<Cardholder, RejectedLine> {
        let text = self.values.get(&Column::CardRef);
        let card_ref = text.and_then(|text| CardRef::new(text.as_str()).ok());
        if self.faults.is_empty() {
            match card_ref {
                Some(card_ref) => {
                    return Ok(Cardholder { line: self.line, card_ref, values: self.values });
                }
                None => self.fault(Column::CardRef, "is not valid"),
            }
            return Err(RejectedLine { card_ref: None, faults: self.faults });
        }
        // In a line whose values have slipped into other columns, the card_ref may be anything.
        let private = [Column::Pan, Column::Pin, Column::Name];
        let card_ref = card_ref.filter(|name| !private.iter().any(|c| self.shows(name.as_str(), *c)));
        Err(RejectedLine { card_ref, faults: self.faults })
    }
}

/// Reads and checks the whole input. Returns the number of cards, or the first line with a fault.
pub fn check<R: Read>(reader: CardholderReader<'_, R>) -> Result<u32, RejectedLine> {
    let mut count = 0u32;
    for card in reader {
        card?;
        count = count.saturating_add(1);
    }
    Ok(count)
}

/// Returns the CSV reader's error without the data that it quotes.
fn fault(error: &csv::Error, line: u64, columns: &[Column]) -> InputError {
    match error.kind() {
        csv::ErrorKind::Io(e) => InputError::Io(e.kind()),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            InputError::Line { line, what: format!("has {len} columns where the header has {expected_len}") }
        }
        csv::ErrorKind::Utf8 { err, .. } => match columns.get(err.field()) {
            Some(column) => InputError::Value { line, column: column.name(), what: "is not UTF-8".into() },
            None => InputError::Line { line, what: "is not UTF-8".into() },
        },
        _ => InputError::Line { line, what: "is no line of a CSV file".into() },
    }
}

#[cfg(test)]
mod tests;
