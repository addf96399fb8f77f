//! Reads a source row by row.
//!
//! Not here: rules for values (`check`).

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::lines::LineCounter;
use super::{InputError, InputPlace, InputSchema, RejectedLine, header};
use crate::prep::columns::Column;

/// One row of a source, unchecked. It is cardholder data: no `Debug`, wiped when dropped.
pub struct SourceRow {
    /// Where it begins.
    pub place: InputPlace,
    /// The values that are not empty.
    pub values: BTreeMap<Column, Zeroizing<String>>,
    /// The rows of other sources with the same card_ref, which a join adds.
    pub others: Vec<SourceRow>,
}

impl SourceRow {
    /// A row without values.
    pub fn at(place: InputPlace) -> Self {
        Self { place, values: BTreeMap::new(), others: Vec::new() }
    }
}

/// Reads one source. A source without a row gives one fault.
pub struct RowReader<'a, R> {
    schema: &'a InputSchema,
    /// Name of the file, if there are several.
    file: Option<Arc<str>>,
    csv: csv::Reader<LineCounter<R>>,
    columns: Vec<Column>,
    record: csv::StringRecord,
    /// Line of the header.
    header: u64,
    /// Number of rows returned, and whether no more follow.
    returned: (u64, bool),
}

impl<'a, R: Read> RowReader<'a, R> {
    /// Reads and checks the header line. `file` is the name for faults, if there are several sources; a single one must
    /// have every required column.
    pub fn new(source: R, file: Option<Arc<str>>, schema: &'a InputSchema) -> Result<Self, RejectedLine> {
        let mut csv = csv::ReaderBuilder::new().from_reader(LineCounter::new(source));
        let names = csv.headers().cloned();
        let header = csv.get_mut().line_at(0);
        let place = InputPlace { file: file.clone(), line: header };
        let names = names.map_err(|e| fault(&e, place.clone(), &[]))?;
        let columns = header::columns(&names, &place, schema)?;
        let record = csv::StringRecord::new();
        Ok(Self { schema, file, csv, columns, record, header, returned: (0, false) })
    }

    /// The columns that the source has.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    fn read(&mut self) -> Result<Option<SourceRow>, RejectedLine> {
        let before = self.csv.position().byte();
        let read = self.csv.read_record(&mut self.record);
        let place = self.place(before);
        let names: Vec<&str> = self.columns.iter().map(|column| self.schema.name(*column)).collect();
        if !read.map_err(|e| fault(&e, place.clone(), &names))? {
            return Ok(None);
        }
        let mut row = SourceRow::at(place);
        for (column, text) in self.columns.iter().zip(&self.record).filter(|(_, text)| !text.is_empty()) {
            row.values.insert(*column, Zeroizing::new(text.to_owned()));
        }
        Ok(Some(row))
    }

    fn place(&mut self, offset: u64) -> InputPlace {
        InputPlace { file: self.file.clone(), line: self.csv.get_mut().line_at(offset) }
    }
}

impl<R: Read> Iterator for RowReader<'_, R> {
    type Item = Result<SourceRow, RejectedLine>;

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
            let place = InputPlace { file: self.file.clone(), line: self.header + 1 };
            let what = "there is no card; the header is not enough".into();
            return Some(Err(InputError::Line { place, what }.into()));
        }
        next
    }
}

/// Returns the CSV reader's error without the data that it quotes.
fn fault(error: &csv::Error, place: InputPlace, columns: &[&str]) -> InputError {
    match error.kind() {
        csv::ErrorKind::Io(e) => InputError::Io(e.kind()),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            InputError::Line { place, what: format!("has {len} columns where the header has {expected_len}") }
        }
        csv::ErrorKind::Utf8 { err, .. } => match columns.get(err.field()) {
            Some(column) => {
                InputError::Value { place, column: (*column).to_owned(), what: "is not UTF-8".into() }
            }
            None => InputError::Line { place, what: "is not UTF-8".into() },
        },
        _ => InputError::Line { place, what: "is no line of a CSV file".into() },
    }
}
