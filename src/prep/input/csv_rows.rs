//! Rows of a CSV file (RFC 4180): a strict header line, then one card on each line.
//!
//! Not here: rules for values (`check`).

use std::io::{ErrorKind, Read};
use std::sync::Arc;

use super::decode::DecodedText;
use super::lines::LineCounter;
use super::{
    InputError, InputPlace, InputSchema, RejectedLine, RowValues, SourceFormat, SourceRow, TextEncoding,
    header,
};
use crate::prep::columns::Column;

/// Reads the rows of a CSV file.
pub(super) struct CsvRows<'a, R> {
    schema: &'a InputSchema,
    format: SourceFormat,
    /// Name of the file, if there are several.
    file: Option<Arc<str>>,
    csv: csv::Reader<LineCounter<DecodedText<R>>>,
    columns: Vec<Column>,
    /// The place of each column in the header, in the order of the columns.
    places: Vec<(Column, usize)>,
    record: csv::StringRecord,
    /// Line of the header.
    header: u64,
}

impl<'a, R: Read> CsvRows<'a, R> {
    /// Reads and checks the header line.
    pub fn new(
        source: R,
        format: SourceFormat,
        file: Option<Arc<str>>,
        schema: &'a InputSchema,
    ) -> Result<Self, RejectedLine> {
        let text = LineCounter::new(DecodedText::new(source, format.encoding));
        let mut csv = csv::ReaderBuilder::new().delimiter(format.delimiter).from_reader(text);
        let names = csv.headers().cloned();
        let header = csv.get_mut().line_at(0);
        let place = InputPlace { file: file.clone(), line: header };
        let names = names.map_err(|e| fault(&e, place.clone(), format, &[]))?;
        let columns = header::columns(&names.iter().collect::<Vec<_>>(), &place, schema)?;
        let mut places: Vec<_> = columns.iter().copied().zip(0..).collect();
        places.sort_unstable();
        let record = csv::StringRecord::new();
        Ok(Self { schema, format, file, csv, columns, places, record, header })
    }

    /// The columns in the order of the header.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The place of the first card.
    pub fn after_header(&self) -> InputPlace {
        InputPlace { file: self.file.clone(), line: self.header + 1 }
    }

    /// Reads the next row; `None` at the end.
    pub fn read(&mut self) -> Result<Option<SourceRow>, RejectedLine> {
        let before = self.csv.position().byte();
        self.csv.get_mut().begin_row();
        let read = self.csv.read_record(&mut self.record);
        let place = InputPlace { file: self.file.clone(), line: self.csv.get_mut().line_at(before) };
        let names = || -> Vec<&str> { self.columns.iter().map(|column| self.schema.name(*column)).collect() };
        // Rows of other cards may have been taken for a part of a value.
        let is_io = read.as_ref().is_err_and(|e| matches!(e.kind(), csv::ErrorKind::Io(_)));
        if !is_io && self.csv.get_ref().row_has_lines(self.csv.position().byte()) {
            return Err(InputError::RowOverLines { place }.into());
        }
        if !read.map_err(|e| fault(&e, place.clone(), self.format, &names()))? {
            return Ok(None);
        }
        if let Some(column) = self.misread() {
            let column = self.schema.name(column).to_owned();
            let what = "is UTF-8 and not ISO 8859-1: set encoding in [prep.input] of the product".to_owned();
            return Err(InputError::Value { place, column, what }.into());
        }
        let mut values = RowValues::with_capacity(self.places.len(), self.record.as_slice().len());
        for (column, place) in &self.places {
            if let Some(text) = self.record.get(*place).filter(|text| !text.is_empty()) {
                values.insert(*column, text);
            }
        }
        Ok(Some(SourceRow { values, ..SourceRow::at(place) }))
    }

    /// A column whose value was written in UTF-8 though ISO 8859-1 is declared: nearly every file that is read so gives text,
    /// with two letters in place of one, which no rule of a column finds.
    fn misread(&self) -> Option<Column> {
        if self.format.encoding != Some(TextEncoding::Latin1) {
            return None;
        }
        let is_utf8 = |text: &str| {
            let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
            bytes.is_some_and(|bytes| !bytes.is_ascii() && std::str::from_utf8(&bytes).is_ok())
        };
        self.columns.iter().zip(&self.record).find(|(_, text)| is_utf8(text)).map(|(column, _)| *column)
    }
}

/// Returns the CSV reader's error without the data that it quotes.
fn fault(error: &csv::Error, place: InputPlace, format: SourceFormat, columns: &[&str]) -> InputError {
    match error.kind() {
        csv::ErrorKind::Io(e) if e.kind() == ErrorKind::FileTooLarge => InputError::RowTooLong { place },
        csv::ErrorKind::Io(e) => InputError::Io(e.kind()),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            InputError::Line { place, what: format!("has {len} columns where the header has {expected_len}") }
        }
        csv::ErrorKind::Utf8 { err, .. } => {
            let what = format!("is not {}", format.encoding_name());
            match columns.get(err.field()) {
                Some(column) => InputError::Value { place, column: (*column).to_owned(), what },
                None => InputError::Line { place, what },
            }
        }
        _ => InputError::Line { place, what: "is no line of a CSV file".into() },
    }
}
