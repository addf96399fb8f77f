//! Reads columns as values. A value that the column cannot have is an error, never a guess.

use rusqlite::Row;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, Type, ValueRef};

use crate::ids::KeyData;
use crate::laws::book::BlankState;
use crate::laws::event::ChipId;
use crate::laws::types::{AttemptState, Balance, JobState, RecordState};
use crate::ledger::replay::BlankChip;

macro_rules! state_columns {
    ($($type:ty),+) => {$(
        impl FromSql for $type {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                Self::from_name(value.as_str()?).ok_or(FromSqlError::InvalidType)
            }
        }
        impl ToSql for $type {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(self.name().into())
            }
        }
    )+};
}
state_columns!(JobState, RecordState, AttemptState, BlankState);

/// A count, number or time: SQLite's integers are signed, and a negative one is an error.
pub(super) fn number(row: &Row<'_>, index: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(index)?;
    u64::try_from(value)
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(index, Type::Integer, Box::new(e)))
}

/// Like [`number`], for a column that may be NULL.
pub(super) fn optional_number(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<u64>> {
    row.get::<_, Option<i64>>(index)?.map(|_| number(row, index)).transpose()
}

/// A number as SQLite binds it; counts above 2^63 do not occur.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A boolean, stored as 1 or 0. Any other number is an error: the hash covers only the boolean, so a changed number
/// would go unnoticed.
pub(super) fn flag(row: &Row<'_>, index: usize) -> rusqlite::Result<bool> {
    let value: i64 = row.get(index)?;
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(rusqlite::Error::IntegralValueOutOfRange(index, value)),
    }
}

/// Columns of [`balance`], in its order.
pub(super) const BALANCE: &str = "records, queued, in_flight, good, remake, unknown, cancelled, blanks_fed, \
                                  blanks_in_line, blanks_good, blanks_rejected, blanks_unknown, blanks_returned, \
                                  blanks_sample";

/// A balance, columns [`BALANCE`] from `first` on.
pub(super) fn balance(row: &Row<'_>, first: usize) -> rusqlite::Result<Balance> {
    Ok(Balance {
        records: number(row, first)?,
        queued: number(row, first + 1)?,
        in_flight: number(row, first + 2)?,
        good: number(row, first + 3)?,
        remake: number(row, first + 4)?,
        unknown: number(row, first + 5)?,
        cancelled: number(row, first + 6)?,
        blanks_fed: number(row, first + 7)?,
        blanks_in_line: number(row, first + 8)?,
        blanks_good: number(row, first + 9)?,
        blanks_rejected: number(row, first + 10)?,
        blanks_unknown: number(row, first + 11)?,
        blanks_returned: number(row, first + 12)?,
        blanks_sample: number(row, first + 13)?,
    })
}

/// The chip columns of the table of blanks, from `first` on: KEYDATA, and the chip of version 2.
pub(super) fn blank_chip(row: &Row<'_>, first: usize) -> rusqlite::Result<BlankChip> {
    let chip = match row.get_ref(first + 1)?.as_blob_or_null()? {
        None => None,
        Some(bytes) => Some(ChipId::from_bytes(bytes).ok_or(FromSqlError::InvalidType)?),
    };
    Ok(BlankChip { key_data: row.get::<_, Option<[u8; 10]>>(first)?.map(KeyData), chip })
}
