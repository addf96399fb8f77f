//! The preparation's input (FIG 2, input file 159): a CSV file in UTF-8 with one card on each line, commas
//! between values, quotes where needed, and a strict header line (`columns`).
//!
//! The file is read twice with one line in memory: first to check and count all lines, then to build the
//! cards. Only the check for duplicates grows, by two 16-byte digests for each card. A fault names line and
//! column, never the value.

use std::collections::{BTreeMap, HashSet};
use std::io::Read;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::columns::{self, COLUMNS, Column};
use super::plastic::FULFILMENT;
use crate::ids::CardRef;

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
    /// The header line is wrong.
    #[error("input: line 1: {0}")]
    Header(String),
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

/// Reads the input card by card.
pub struct CardholderReader<'a, R> {
    csv: csv::Reader<R>,
    columns: Vec<Column>,
    defaults: &'a Defaults,
    line: csv::StringRecord,
}

impl<'a, R: Read> CardholderReader<'a, R> {
    /// Reads and checks the header line.
    pub fn new(source: R, defaults: &'a Defaults) -> Result<Self, InputError> {
        let mut csv = csv::ReaderBuilder::new().from_reader(source);
        let header = csv.headers().map_err(|e| fault(&e))?;
        let mut columns = Vec::new();
        for name in header {
            let definition = columns::by_name(name).ok_or_else(|| {
                let known: Vec<_> = COLUMNS.iter().map(|d| d.name).collect();
                InputError::Header(format!("a column has an unknown name; known are {}", known.join(", ")))
            })?;
            if columns.contains(&definition.column) {
                return Err(InputError::Header(format!("the column `{}` stands twice", definition.name)));
            }
            columns.push(definition.column);
        }
        if let Some(missing) = COLUMNS.iter().find(|d| d.required && !columns.contains(&d.column)) {
            return Err(InputError::Header(format!("the column `{}` is missing", missing.name)));
        }
        Ok(Self { csv, columns, defaults, line: csv::StringRecord::new() })
    }

    fn read(&mut self) -> Result<Option<Cardholder>, InputError> {
        if !self.csv.read_record(&mut self.line).map_err(|e| fault(&e))? {
            return Ok(None);
        }
        let line = self.line.position().map_or(0, csv::Position::line);
        let wrong =
            |column: Column, what: &str| InputError::Value { line, column: column.name(), what: what.into() };
        let mut values = BTreeMap::new();
        for (column, text) in self.columns.iter().zip(&self.line).filter(|(_, text)| !text.is_empty()) {
            let definition = columns::by_name(column.name()).ok_or_else(|| wrong(*column, "is unknown"))?;
            (definition.check)(text).map_err(|what| wrong(*column, what))?;
            values.insert(*column, Zeroizing::new(text.to_owned()));
        }
        for (column, text) in self.defaults {
            values.entry(*column).or_insert_with(|| Zeroizing::new(text.clone()));
        }
        values.entry(Column::Psn).or_insert_with(|| Zeroizing::new("00".into()));
        if let Some(empty) = COLUMNS.iter().find(|d| d.required && !values.contains_key(&d.column)) {
            return Err(wrong(empty.column, "is empty"));
        }
        let card_ref = values.get(&Column::CardRef).map(|v| CardRef::new(v.as_str()));
        let card_ref = card_ref.and_then(Result::ok).ok_or_else(|| wrong(Column::CardRef, "is not valid"))?;
        let card = Cardholder { line, card_ref, values };
        related(&card).map_err(|(column, what)| wrong(column, what))?;
        Ok(Some(card))
    }
}

impl<R: Read> Iterator for CardholderReader<'_, R> {
    type Item = Result<Cardholder, InputError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

/// Checks the rules between the columns of one line.
fn related(card: &Cardholder) -> Result<(), (Column, &'static str)> {
    // The card_ref is printed in logs and reports, fulfilment data in the bureau's papers, both in clear. So
    // they must not hold the account number, even with other characters between its digits.
    let printed = [Column::CardRef].into_iter().chain(FULFILMENT.map(|(_, column)| column));
    for (column, text) in printed.filter_map(|column| Some((column, card.get(column)?))) {
        let digits: Zeroizing<String> = Zeroizing::new(text.chars().filter(char::is_ascii_digit).collect());
        if digits.contains(card.required(Column::Pan)) {
            return Err((column, "holds the account number"));
        }
    }
    // YYMM of one century can be compared as text.
    if card.required(Column::Effective) > card.required(Column::Expiry) {
        return Err((Column::Effective, "is after the expiry"));
    }
    let amount = |column| card.get(column).and_then(|v| v.parse::<u64>().ok());
    if let (Some(balance), Some(max)) = (amount(Column::Balance), amount(Column::MaxBalance))
        && balance > max
    {
        return Err((Column::Balance, "is above max_balance"));
    }
    Ok(())
}

/// Reads and checks the whole input. Returns the number of cards, or the first faults (at most 20).
pub fn check<R: Read>(reader: CardholderReader<'_, R>) -> Result<u32, Vec<InputError>> {
    let mut faults = Vec::new();
    let mut seen = HashSet::new();
    let mut count = 0u32;
    for card in reader {
        let result = card.and_then(|card| unique(&card, &mut seen));
        if let Err(fault) = result {
            let fatal = matches!(fault, InputError::Io(_));
            faults.push(fault);
            if fatal || faults.len() >= 20 {
                break;
            }
        }
        count = count.saturating_add(1);
    }
    if faults.is_empty() && count == 0 {
        faults.push(InputError::Line { line: 2, what: "there is no card; the header is not enough".into() });
    }
    if faults.is_empty() { Ok(count) } else { Err(faults) }
}

/// Checks that no earlier line has this card_ref, or this PAN with this PSN.
fn unique(card: &Cardholder, seen: &mut HashSet<[u8; 16]>) -> Result<(), InputError> {
    let account = [card.required(Column::Pan), "/", card.required(Column::Psn)].map(str::as_bytes);
    for (column, kind, parts) in
        [(Column::CardRef, b'R', [card.card_ref.as_str().as_bytes(), b"", b""]), (Column::Pan, b'P', account)]
    {
        let mut hash = Sha256::new_with_prefix([kind]);
        parts.iter().for_each(|part| hash.update(part));
        let digest: [u8; 32] = hash.finalize().into();
        let key = digest.first_chunk().copied().unwrap_or_default();
        if !seen.insert(key) {
            let what = match column {
                Column::CardRef => "stands in an earlier line too",
                _ => "stands with the same psn in an earlier line too",
            };
            return Err(InputError::Value { line: card.line, column: column.name(), what: what.into() });
        }
    }
    Ok(())
}

/// Returns the CSV reader's error without the data that it quotes.
fn fault(error: &csv::Error) -> InputError {
    let line = error.position().map_or(1, csv::Position::line);
    match error.kind() {
        csv::ErrorKind::Io(e) => InputError::Io(e.kind()),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            InputError::Line { line, what: format!("has {len} columns where the header has {expected_len}") }
        }
        csv::ErrorKind::Utf8 { .. } => InputError::Line { line, what: "is not UTF-8".into() },
        _ => InputError::Line { line, what: "is no line of a CSV file".into() },
    }
}

#[cfg(test)]
mod tests;
