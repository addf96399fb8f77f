//! A row of a source as bytes, and back.
//!
//! ```text
//! file u16 | line u64 | { column u16 | length u32 | value }*        integers big-endian
//! ```
//!
//! Files and columns are numbers in tables that last as long as the join.

use std::sync::Arc;

use crate::prep::columns::Column;
use crate::prep::input::{InputPlace, RowValues, SourceRow};
use crate::wiped::WipedBytes;

/// Writes and reads rows. Its tables grow with the files and columns that it meets.
#[derive(Default)]
pub(super) struct RowBytes {
    files: Vec<Option<Arc<str>>>,
    columns: Vec<Column>,
    bytes: WipedBytes,
}

impl RowBytes {
    /// The bytes of a row; `None` if it is longer than they can state, or there are too many files or columns.
    pub fn write(&mut self, row: &SourceRow) -> Option<&[u8]> {
        let length = 10 + 6 * row.values.count() + row.values.bytes();
        if self.bytes.capacity() < length {
            // A new buffer: growing the old one could leave an unwiped copy.
            self.bytes = WipedBytes::with_capacity(length.max(1024));
        }
        self.bytes.clear();
        let file = number(&mut self.files, &row.place.file)?;
        self.bytes.extend_from_slice(&file.to_be_bytes());
        self.bytes.extend_from_slice(&row.place.line.to_be_bytes());
        for (column, value) in row.values.iter() {
            let column = number(&mut self.columns, &column)?;
            self.bytes.extend_from_slice(&column.to_be_bytes());
            self.bytes.extend_from_slice(&u32::try_from(value.len()).ok()?.to_be_bytes());
            self.bytes.extend_from_slice(value.as_bytes());
        }
        Some(&self.bytes)
    }

    /// The row with these bytes; `None` if [`Self::write`] has not made them.
    pub fn read(&self, bytes: &[u8]) -> Option<SourceRow> {
        let (file, rest) = bytes.split_first_chunk()?;
        let (line, mut rest) = rest.split_first_chunk()?;
        let file = self.files.get(usize::from(u16::from_be_bytes(*file)))?.clone();
        let mut values = RowValues::with_capacity(self.columns.len(), rest.len());
        while !rest.is_empty() {
            let (column, after) = rest.split_first_chunk()?;
            let (length, after) = after.split_first_chunk()?;
            let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
            let (value, after) = after.split_at_checked(length)?;
            let column = *self.columns.get(usize::from(u16::from_be_bytes(*column)))?;
            values.insert(column, std::str::from_utf8(value).ok()?);
            rest = after;
        }
        Some(SourceRow { values, ..SourceRow::at(InputPlace { file, line: u64::from_be_bytes(*line) }) })
    }
}

/// The number of an entry in a table, to which a new one is added.
fn number<T: Clone + PartialEq>(table: &mut Vec<T>, wanted: &T) -> Option<u16> {
    let known = table.iter().position(|entry| entry == wanted);
    let place = known.unwrap_or_else(|| {
        table.push(wanted.clone());
        table.len() - 1
    });
    u16::try_from(place).ok()
}
