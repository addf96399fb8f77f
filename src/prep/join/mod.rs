//! Several sources become one: the rows of all others are found by the card_ref of a row of the first.
//!
//! ```text
//! other sources ─► Join::read ─► SealedRows (file without a name, sealed row by row)
//!                                RowIndex   (16 bytes a row: keyed hash of card_ref | source, offset)
//! first source ─► Join::complete ─► row with its others ─► the checks between columns
//! ```
//!
//! The first source gives order and number of the cards. A card may lack a row in another source; a row of another source
//! without a card, and a second row with one card_ref in one source, are faults of that row. Other sources are read once. Not
//! here: the checks of values (`input`), files and their names (`run`).

mod index;
mod row_bytes;
mod sealed_rows;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::vec::IntoIter;

use self::index::{RowIndex, RowPlace};
use self::row_bytes::RowBytes;
use self::sealed_rows::SealedRows;
use super::columns::Column;
use super::input::{InputError, InputSchema, RejectedLine, SourceRow};
use crate::exit::{Exit, Failure};
use crate::files;

/// Most other sources: the number of one has a byte in the index.
pub const SOURCES_MAX: usize = 256;

/// Most wrong rows of joined sources that are kept in memory, to be listed.
const FAULTS_MAX: usize = 10_000;

/// The rows of all sources but the first.
pub struct Join<'a> {
    schema: &'a InputSchema,
    rows: SealedRows,
    bytes: RowBytes,
    index: RowIndex,
    /// Rows that cannot belong to a card.
    faults: VecDeque<RejectedLine>,
    /// The rows that belong to no card, from the time when they are known.
    without_card: Option<IntoIter<RowPlace>>,
}

impl<'a> Join<'a> {
    /// Reads all sources. `room` is an empty file without a name.
    pub fn read<I>(
        sources: impl IntoIterator<Item = I>,
        schema: &'a InputSchema,
        room: File,
    ) -> Result<Self, Failure>
    where
        I: Iterator<Item = Result<SourceRow, RejectedLine>>,
    {
        let mut join = Self {
            schema,
            rows: SealedRows::new(room)?,
            bytes: RowBytes::default(),
            index: RowIndex::default(),
            faults: VecDeque::new(),
            without_card: None,
        };
        for (source, rows) in (0..=u8::MAX).zip(sources) {
            for row in rows {
                match row {
                    Ok(row) => join.add(source, &row)?,
                    Err(line) => join.faulty(line)?,
                }
            }
        }
        join.rows.flush().map_err(|e| no_room(&e))?;
        join.index.sort();
        join.find_repeated()?;
        Ok(join)
    }

    fn add(&mut self, source: u8, row: &SourceRow) -> Result<(), Failure> {
        let Some(name) = row.values.get(&Column::CardRef) else {
            return self.faulty(self.fault(row, "is empty"));
        };
        let hash = self.index.hash(name);
        let bytes = self.bytes.write(row).ok_or_else(|| us("a row is longer than 4 GiB"))?;
        let offset = self.rows.add(bytes).map_err(|e| no_room(&e))?;
        self.index.add(hash, RowPlace { source, offset }).ok_or_else(|| us("the rows are too many"))
    }

    /// Finds rows with one card_ref in one source.
    fn find_repeated(&mut self) -> Result<(), Failure> {
        let mut repeated = BTreeSet::new();
        for (first, place) in self.index.alike() {
            let (first, second) = (self.row(first)?, self.row(place)?);
            if first.values.get(&Column::CardRef) == second.values.get(&Column::CardRef) {
                self.faulty(self.fault(&second, "stands in an earlier line too"))?;
                repeated.insert(place);
            }
        }
        // So a card has at most one row of a source.
        self.index.remove(&repeated);
        Ok(())
    }

    /// Keeps a fault, of which there may be so many and no more: with more, the file is another one, or written otherwise.
    fn faulty(&mut self, line: RejectedLine) -> Result<(), Failure> {
        if self.faults.len() >= FAULTS_MAX {
            let first = line.faults.first().map(ToString::to_string).unwrap_or_default();
            let what = format!(
                "{first}; {FAULTS_MAX} rows before it are wrong too: check the file, its delimiter and its encoding"
            );
            return Err(Failure::new(Exit::Input, what));
        }
        self.faults.push_back(line);
        Ok(())
    }

    fn fault(&self, row: &SourceRow, what: &str) -> RejectedLine {
        let column = self.schema.name(Column::CardRef).to_owned();
        InputError::Value { place: row.place.clone(), column, what: what.into() }.into()
    }

    /// Adds to a row of the first source the rows of the others with its card_ref.
    pub fn complete(&mut self, mut row: SourceRow) -> Result<SourceRow, RejectedLine> {
        let Some(name) = row.values.get(&Column::CardRef) else { return Ok(row) };
        let mut others = Vec::new();
        for number in self.index.with(self.index.hash(name)) {
            let Some(place) = self.index.place(number) else { continue };
            let other = self.row(place).map_err(|failure| {
                let (place, what) = (row.place.clone(), failure.message);
                InputError::Line { place, what }
            })?;
            if other.values.get(&Column::CardRef) == Some(name) {
                self.index.mark(number);
                others.push(other);
            }
        }
        row.others = others;
        Ok(row)
    }

    fn row(&mut self, place: RowPlace) -> Result<SourceRow, Failure> {
        let bytes = self.rows.read(place.offset).map_err(|e| unreadable(&e))?;
        self.bytes.read(bytes).ok_or_else(|| us("a row of a joined source cannot be read again"))
    }

    /// Whether all rows are right and belong to cards of the first source, of which all have been completed.
    pub fn is_used_up(&self) -> bool {
        self.faults.is_empty() && self.index.is_used_up()
    }

    /// The next row that is wrong or belongs to no card of the first source, of which all have been completed. Each is
    /// returned once; [`Self::is_used_up`] is true after the last.
    pub fn next_rejected(&mut self) -> Option<Result<RejectedLine, Failure>> {
        if let Some(line) = self.faults.pop_front() {
            return Some(Ok(line));
        }
        let index = &mut self.index;
        let place = self.without_card.get_or_insert_with(|| index.take_unused().into_iter()).next()?;
        Some(self.row(place).map(|row| self.fault(&row, "belongs to no card of the first input")))
    }
}

fn no_room(error: &std::io::Error) -> Failure {
    let what = format!("output: the rows of joined inputs are kept next to it: {}", files::trouble(error));
    Failure::new(Exit::Io, what)
}

fn unreadable(error: &std::io::Error) -> Failure {
    Failure::new(Exit::Io, format!("us: a row of a joined input cannot be read again: {error}"))
}

fn us(what: &str) -> Failure {
    Failure::new(Exit::Bug, format!("us: {what}"))
}
