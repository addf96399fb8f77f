//! The chain as it is walked: every event of both versions in order, each with the hash that is stored for it and the hash
//! of the one before.

use rusqlite::{Connection, OptionalExtension, Row, Rows, Statement};

use super::events::{VERSION_ONE, version_one};
use super::row::{number, signed};
use crate::audit::LedgerId;
use crate::ledger::chain::{Hash, hash_version_one, hash_version_two};
use crate::ledger::error::LedgerError;
use crate::ledger::event::{ChainVersion, LedgerEvent, codec};
use crate::ledger::types::JobId;

/// Column of the hash behind [`VERSION_ONE`].
const HASH_ONE: usize = 20;

/// What [`ChainedEvents`] reads from.
pub(super) struct ChainQueries<'c> {
    ledger: LedgerId,
    one: Statement<'c>,
    two: Statement<'c>,
}

impl<'c> ChainQueries<'c> {
    /// Of a ledger, in one transaction of the caller's, so that all is of one moment.
    pub(super) fn new(connection: &'c Connection) -> Result<Self, LedgerError> {
        let one = format!("SELECT {VERSION_ONE}, hash FROM event WHERE n > ?1 ORDER BY n");
        let two = "SELECT n, job, seq, kind, body, hash FROM event_v2 WHERE n > ?1 ORDER BY n";
        Ok(Self {
            ledger: super::audit::id(connection)?,
            one: connection.prepare(&one)?,
            two: connection.prepare(two)?,
        })
    }

    /// The events after the one of this number, whose hash is known.
    pub(super) fn after(&mut self, n: u64, hash: Hash) -> Result<ChainedEvents<'_>, LedgerError> {
        Ok(ChainedEvents {
            ledger: self.ledger,
            one: self.one.query([signed(n)])?,
            two: self.two.query([signed(n)])?,
            one_ended: false,
            n,
            hash,
        })
    }
}

/// Number of a version 1 event that follows one of version 2, if there is any.
pub(super) fn out_of_version(connection: &Connection) -> Result<Option<u64>, LedgerError> {
    let sql = "SELECT max(n) FROM event WHERE n > (SELECT min(n) FROM event_v2)";
    Ok(connection
        .query_row(sql, [], |r| r.get::<_, Option<i64>>(0)?.map(|_| number(r, 0)).transpose())
        .optional()?
        .flatten())
}

/// Every event after a place, in the order of the chain. See the module.
pub(super) struct ChainedEvents<'s> {
    ledger: LedgerId,
    one: Rows<'s>,
    two: Rows<'s>,
    one_ended: bool,
    /// Of the event before.
    n: u64,
    /// Of the event before, as it is stored.
    hash: Hash,
}

/// One event in the chain.
pub(super) struct ChainLink<'r> {
    row: &'r Row<'r>,
    version: ChainVersion,
    ledger: LedgerId,
    /// Its number; 0 if there stands none.
    pub(super) n: u64,
    /// Number of the event before.
    pub(super) before: u64,
    /// The hash that is stored for it.
    pub(super) stored: Hash,
    previous: Hash,
}

impl ChainedEvents<'_> {
    /// The next event.
    pub(super) fn next(&mut self) -> Result<Option<ChainLink<'_>>, LedgerError> {
        let (before, previous) = (self.n, self.hash);
        let mut found = None;
        if !self.one_ended {
            match self.one.next()? {
                Some(row) => found = Some((row, ChainVersion::One, HASH_ONE)),
                None => self.one_ended = true,
            }
        }
        if found.is_none() {
            found = self.two.next()?.map(|row| (row, ChainVersion::Two, 5));
        }
        let Some((row, version, column)) = found else { return Ok(None) };
        let n = number(row, 0).unwrap_or_default();
        let stored = row.get(column).unwrap_or_default();
        (self.n, self.hash) = (n, stored);
        Ok(Some(ChainLink { row, version, ledger: self.ledger, n, before, stored, previous }))
    }

    /// Number and hash of the last event that was given.
    pub(super) fn end(&self) -> (u64, Hash) {
        (self.n, self.hash)
    }
}

impl ChainLink<'_> {
    /// The job that its row names.
    pub(super) fn job(&self) -> Result<Option<JobId>, LedgerError> {
        let column = if self.version == ChainVersion::One { 2 } else { 1 };
        Ok(self.row.get::<_, Option<u32>>(column)?.map(JobId))
    }

    /// Whether it is what was hashed when it was written, and its number the one that was hashed.
    pub(super) fn is_as_hashed(&self, scratch: &mut Vec<u8>) -> Result<bool, LedgerError> {
        Ok(match self.version {
            ChainVersion::One => {
                hash_version_one(&self.previous, &version_one(self.row)?, scratch) == self.stored
            }
            ChainVersion::Two => {
                let body = self.body()?;
                codec::number_in(body) == Some(self.n)
                    && hash_version_two(&self.previous, self.ledger, body) == self.stored
            }
        })
    }

    /// What it says. The error says why it does not read.
    pub(super) fn event(&self) -> Result<LedgerEvent, String> {
        match self.version {
            ChainVersion::One => version_one(self.row).map_err(|error| error.to_string())?.typed(),
            ChainVersion::Two => codec::decode(self.body().map_err(|error| error.to_string())?)
                .map_err(|fault| fault.to_string()),
        }
    }

    /// Whether the copies of its fields are what its bytes say.
    pub(super) fn has_its_copies(&self, event: &LedgerEvent) -> bool {
        if self.version == ChainVersion::One {
            return true;
        }
        let copies = || -> rusqlite::Result<_> { Ok((self.row.get(1)?, self.row.get(2)?, self.row.get(3)?)) };
        copies().is_ok_and(|copies| copies == (event.job.map(|job| job.0), event.seq(), event.kind()))
    }

    fn body(&self) -> Result<&[u8], LedgerError> {
        self.row.get_ref(4)?.as_blob().map_err(|error| LedgerError::Damaged(error.to_string()))
    }
}
