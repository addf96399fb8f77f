//! Several sources become one. The first source names the cards; each row of another source goes to the card with its card_ref.
//!
//! ```text
//! first source ─► CardIndex (16 bytes a card: keyed hash of card_ref | number of the card)
//! other sources ─► Join::read ─► SealedRows (file without a name, sealed, in parts of neighbouring cards)
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

use std::collections::VecDeque;
use std::fs::File;
use std::io::ErrorKind;

use self::index::CardIndex;
use self::row_bytes::RowBytes;
use self::sealed_rows::SealedRows;
use super::columns::Column;
use super::input::{InputError, InputPlace, InputSchema, RejectedLine, SourceRow};
use crate::exit::{Exit, Failure};
use crate::files;

/// Most other sources.
pub const SOURCES_MAX: usize = 256;

/// Most bytes of the values of a joined row. A part of the sealed rows holds some hundreds of them in memory.
const ROW_MAX: usize = 64 << 10;

/// Most wrong rows of joined sources that are kept in memory, to be listed.
const FAULTS_MAX: usize = 10_000;

/// The rows of all sources but the first.
pub struct Join<'a> {
    schema: &'a InputSchema,
    rows: SealedRows,
    bytes: RowBytes,
    index: CardIndex,
    /// The number of the next card of the first source.
    next: u32,
    /// Rows that cannot belong to a card.
    faults: VecDeque<RejectedLine>,
    /// Where the rows begin that belong to no card.
    without_card: VecDeque<InputPlace>,
}

impl<'a> Join<'a> {
    /// Reads the names of the first source's cards, then all others. `room` is an empty file without a name.
    pub fn read<I>(
        first: impl Iterator<Item = Result<SourceRow, RejectedLine>>,
        others: impl IntoIterator<Item = I>,
        schema: &'a InputSchema,
        room: File,
    ) -> Result<Self, Failure>
    where
        I: Iterator<Item = Result<SourceRow, RejectedLine>>,
    {
        let (index, cards) = cards(first)?;
        let mut join = Self {
            schema,
            rows: SealedRows::new(room, cards)?,
            bytes: RowBytes::default(),
            index,
            next: 0,
            faults: VecDeque::new(),
            without_card: VecDeque::new(),
        };
        for source in others {
            // Whether a card has a row of this source.
            let mut given = vec![false; usize::try_from(cards).map_err(|_| us("the cards are too many"))?];
            for row in source {
                match row {
                    Ok(row) => join.add(row, &mut given)?,
                    Err(line) => join.faulty(line)?,
                }
            }
        }
        join.rows.flush().map_err(|e| no_room(&e))?;
        join.index.forget_names();
        Ok(join)
    }

    /// Adds a row to the card with its card_ref.
    fn add(&mut self, row: SourceRow, given: &mut [bool]) -> Result<(), Failure> {
        let Some(name) = row.values.get(Column::CardRef) else {
            return self.faulty(self.fault(row.place, "is empty"));
        };
        let Some(card) = self.index.number(name) else {
            self.without_card.push_back(row.place);
            return Ok(());
        };
        let given = usize::try_from(card).ok().and_then(|card| given.get_mut(card));
        if given.is_none_or(|given| std::mem::replace(given, true)) {
            return self.faulty(self.fault(row.place, "stands in an earlier line too"));
        }
        if row.values.bytes() > ROW_MAX {
            let what = format!("is longer than {} KiB, and no card has so much data", ROW_MAX >> 10);
            return self.faulty(InputError::Line { place: row.place, what }.into());
        }
        let bytes = self.bytes.write(&row).ok_or_else(|| us("the joined inputs have too many columns"))?;
        self.rows.add(card, bytes).map_err(|e| no_room(&e))
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

    fn fault(&self, place: InputPlace, what: &str) -> RejectedLine {
        let column = self.schema.name(Column::CardRef).to_owned();
        InputError::Value { place, column, what: what.into() }.into()
    }

    /// Begins a reading of the first source.
    pub fn begin(&mut self) {
        self.next = 0;
    }

    /// Adds to the next row of the first source the rows of the others with its card_ref. If these cannot be read, or are
    /// not its own, the fault is that of a file that cannot be read: no card can be made of it.
    pub fn complete(&mut self, mut row: SourceRow) -> Result<SourceRow, RejectedLine> {
        let card = self.next;
        self.next = card.saturating_add(1);
        let Some(name) = row.values.get(Column::CardRef) else { return Ok(row) };
        let others = self.rows.of_card(self.index.first(card)).map_err(|e| InputError::Io(e.kind()))?;
        let others: Option<Vec<_>> = others.map(|bytes| self.bytes.read(bytes)).collect();
        let is_its_own = |other: &SourceRow| other.values.get(Column::CardRef) == Some(name);
        // If they are not, the file changed, or two card_refs have one hash, which they have not in another run.
        let others = others
            .filter(|others| others.iter().all(is_its_own))
            .ok_or(InputError::Io(ErrorKind::InvalidData))?;
        row.others = others;
        Ok(row)
    }

    /// Whether all rows are right and belong to cards of the first source.
    pub fn is_used_up(&self) -> bool {
        self.faults.is_empty() && self.without_card.is_empty()
    }

    /// The next row that is wrong or belongs to no card of the first source. Each is returned once; [`Self::is_used_up`] is
    /// true after the last.
    pub fn next_rejected(&mut self) -> Option<RejectedLine> {
        self.faults.pop_front().or_else(|| {
            let place = self.without_card.pop_front()?;
            Some(self.fault(place, "belongs to no card of the first input"))
        })
    }
}

/// The cards of the first source by name, and their number. A row that cannot be read does not count, and later readings do
/// not count it either, so the numbers agree.
fn cards(first: impl Iterator<Item = Result<SourceRow, RejectedLine>>) -> Result<(CardIndex, u32), Failure> {
    let (mut index, mut count) = (CardIndex::default(), 0u32);
    for row in first.filter_map(Result::ok) {
        if let Some(name) = row.values.get(Column::CardRef) {
            index.add(name, count);
        }
        count = count.checked_add(1).ok_or_else(|| {
            Failure::new(Exit::Input, format!("input: it has more than {} rows: divide it", u32::MAX))
        })?;
    }
    index.sort();
    Ok((index, count))
}

fn no_room(error: &std::io::Error) -> Failure {
    let what = format!("output: the rows of joined inputs are kept next to it: {}", files::trouble(error));
    Failure::new(Exit::Io, what)
}

fn us(what: &str) -> Failure {
    Failure::new(Exit::Bug, format!("us: {what}"))
}
