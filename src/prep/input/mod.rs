//! The preparation's input (FIG 2, input file 159), from the bytes of a file to a card's checked data.
//!
//! ```text
//! file ─ decode ─► text ─ RowReader (CSV, JSON Lines) ─► SourceRow ─ join of several sources ─►
//!                  lines                                 SourceRow ─ CardholderReader ─► Cardholder
//!                                                                    schema, columns
//! ```
//!
//! A [`SourceRow`] is one row of one file, with no rule applied but that its columns are known. A join adds the rows of
//! other files with the same card_ref ([`SourceRow::others`]). [`CardholderReader`] checks values, required columns and
//! the rules between columns. What is expected is the product's [`InputSchema`].
//!
//! A file is read twice with few rows in memory: first to check and count all, then to build the cards; a file with faults
//! is read again to list them all. Only the check for duplicates grows, by two 16-byte digests for each card. A fault names
//! file (if there are several), line and column, never the value. Not here: the join (`join`), files and their names
//! (`run`).

mod check;
mod csv_rows;
mod decode;
mod format;
mod header;
mod json_rows;
mod lines;
mod names;
mod rows;
mod schema;
mod seen;
#[cfg(test)]
mod tests;
mod values;

use std::fmt;
use std::sync::Arc;

pub use self::check::{CardholderReader, DoubledNames, check};
pub use self::format::{SourceFormat, SourceKind, TextEncoding};
pub use self::rows::{RowReader, SourceRow};
pub use self::schema::{ColumnUse, CountedColumn, Defaults, InputSchema, TextLimit};
pub use self::values::RowValues;
use super::columns::Column;
use crate::ids::CardRef;

/// The data of one card as the issuer orders it. It is cardholder data: no `Debug`, wiped when dropped.
pub struct Cardholder {
    /// Where its row begins, in the first source if there are several.
    pub place: InputPlace,
    /// Name of the card.
    pub card_ref: CardRef,
    values: RowValues,
}

impl Cardholder {
    /// Returns the value of a column; `None` if neither the line nor the product profile has one.
    pub fn get(&self, column: Column) -> Option<&str> {
        self.values.get(column)
    }

    /// Returns the value of a column that every line has.
    pub fn required(&self, column: Column) -> &str {
        self.get(column).unwrap_or_default()
    }
}

/// A line of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputPlace {
    /// Name of the file, if there are several.
    pub file: Option<Arc<str>>,
    /// Line as an editor counts it, from 1.
    pub line: u64,
}

impl fmt::Display for InputPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}, ")?;
        }
        write!(f, "line {}", self.line)
    }
}

/// A fault of the input: its place and the broken rule, never the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// A value is wrong.
    #[error("input: {place}, column {column}: {what}")]
    Value {
        /// Where the row begins.
        place: InputPlace,
        /// Column as in the header.
        column: String,
        /// What is wrong.
        what: String,
    },
    /// A line as a whole is wrong.
    #[error("input: {place}: {what}")]
    Line {
        /// Where the row begins.
        place: InputPlace,
        /// What is wrong.
        what: String,
    },
    /// A row is longer than any card's.
    #[error("input: {place}: {}", Self::TOO_LONG)]
    RowTooLong {
        /// Where the row begins.
        place: InputPlace,
    },
    /// A row of CSV has line breaks inside.
    #[error("input: {place}: {}", Self::OVER_LINES)]
    RowOverLines {
        /// Where the row begins.
        place: InputPlace,
    },
    /// The file cannot be read.
    #[error("input: cannot be read: {0}")]
    Io(std::io::ErrorKind),
}

impl InputError {
    /// What is wrong with a row that has no end.
    pub const TOO_LONG: &str = "is longer than 1 MiB; a quotation mark at the end of a value may be missing";
    /// The fault of a row that may have taken in rows of other cards.
    pub const OVER_LINES: &str = "goes over several lines; a quotation mark at the end of a value may be missing, and no value may hold a \
                                  line break";

    /// Where the row begins; `None` for a file that cannot be read.
    pub fn place(&self) -> Option<&InputPlace> {
        match self {
            Self::Value { place, .. }
            | Self::Line { place, .. }
            | Self::RowTooLong { place }
            | Self::RowOverLines { place } => Some(place),
            Self::Io(_) => None,
        }
    }

    /// The column as in the header; empty for a fault of a row as a whole.
    pub fn column(&self) -> &str {
        match self {
            Self::Value { column, .. } => column,
            Self::Line { .. } | Self::RowTooLong { .. } | Self::RowOverLines { .. } | Self::Io(_) => "",
        }
    }

    /// What is wrong, without the place.
    pub fn what(&self) -> String {
        match self {
            Self::Value { what, .. } | Self::Line { what, .. } => what.clone(),
            Self::RowTooLong { .. } => Self::TOO_LONG.to_owned(),
            Self::RowOverLines { .. } => Self::OVER_LINES.to_owned(),
            Self::Io(_) => self.to_string(),
        }
    }

    /// Whether it may hide rows of other cards.
    pub fn hides_rows(&self) -> bool {
        self.ends_source() || matches!(self, Self::RowOverLines { .. })
    }

    /// Whether nothing can be read behind it.
    pub fn ends_source(&self) -> bool {
        matches!(self, Self::RowTooLong { .. } | Self::Io(_))
    }
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
