//! Reads a source row by row.
//!
//! Not here: rules for values (`check`), what is particular to CSV and JSON Lines (`csv_rows`, `json_rows`).

use std::io::Read;
use std::sync::Arc;

use super::csv_rows::CsvRows;
use super::json_rows::JsonRows;
use super::{InputError, InputPlace, InputSchema, RejectedLine, RowValues, SourceFormat, SourceKind};
use crate::prep::columns::Column;

/// One row of a source, unchecked. It is cardholder data: no `Debug`, wiped when dropped.
pub struct SourceRow {
    /// Where it begins.
    pub place: InputPlace,
    /// The values that are not empty.
    pub values: RowValues,
    /// The rows of other sources with the same card_ref, which a join adds.
    pub others: Vec<SourceRow>,
}

impl SourceRow {
    /// A row without values.
    pub fn at(place: InputPlace) -> Self {
        Self { place, values: RowValues::default(), others: Vec::new() }
    }
}

/// Reads one source. A source without a row gives one fault.
pub struct RowReader<'a, R> {
    rows: KindOfRows<'a, R>,
    /// Whether a row was returned, and whether no more follow.
    returned: (bool, bool),
}

enum KindOfRows<'a, R> {
    Csv(Box<CsvRows<'a, R>>),
    Json(Box<JsonRows<'a, R>>),
}

impl<'a, R: Read> RowReader<'a, R> {
    /// Begins to read, with the header line of CSV. `file` is the name for faults, if there are several sources; a single
    /// one must have every required column.
    pub fn new(
        source: R,
        format: SourceFormat,
        file: Option<Arc<str>>,
        schema: &'a InputSchema,
    ) -> Result<Self, RejectedLine> {
        let rows = match format.kind {
            SourceKind::Csv => KindOfRows::Csv(Box::new(CsvRows::new(source, format, file, schema)?)),
            SourceKind::Jsonl => KindOfRows::Json(Box::new(JsonRows::new(source, format, file, schema))),
        };
        Ok(Self { rows, returned: (false, false) })
    }

    /// The columns that the source has; `None` if every row has its own, in JSON Lines.
    pub fn columns(&self) -> Option<&[Column]> {
        match &self.rows {
            KindOfRows::Csv(rows) => Some(rows.columns()),
            KindOfRows::Json(_) => None,
        }
    }
}

impl<R: Read> Iterator for RowReader<'_, R> {
    type Item = Result<SourceRow, RejectedLine>;

    fn next(&mut self) -> Option<Self::Item> {
        let (any, ended) = self.returned;
        if ended {
            return None;
        }
        let (next, place) = match &mut self.rows {
            KindOfRows::Csv(rows) => (rows.read(), rows.after_header()),
            KindOfRows::Json(rows) => (rows.read(), rows.first()),
        };
        let next = next.transpose();
        // Behind a file that cannot be read, and a row that has no end, nothing can be read any more.
        let lost = |line: &RejectedLine| line.faults.iter().any(InputError::ends_source);
        let broken = next.as_ref().is_some_and(|row| row.as_ref().is_err_and(lost));
        self.returned = (true, broken || next.is_none());
        if next.is_none() && !any {
            let what = match &self.rows {
                KindOfRows::Csv(_) => "there is no card; the header is not enough",
                KindOfRows::Json(_) => "there is no card",
            };
            return Some(Err(InputError::Line { place, what: what.into() }.into()));
        }
        next
    }
}
