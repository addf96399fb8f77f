//! Walks the chain: every event of both versions in order, each with its stored hash and the hash of the event
//! before.

use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, Rows};

use super::events::{VERSION_ONE, version_one};
use super::row::{number, signed};
use crate::audit::LedgerId;
use crate::laws::chain::{Hash, hash_version_one, hash_version_two};
use crate::laws::event::{ChainVersion, LedgerEvent, codec};
use crate::laws::types::JobId;
use crate::ledger::error::LedgerError;

/// Index of the column `hash`, which follows those of [`VERSION_ONE`].
const HASH_ONE: usize = 20;

/// The prepared queries of [`ChainedEvents`].
pub(super) struct ChainQueries<'c> {
    ledger: LedgerId,
    one: CachedStatement<'c>,
    two: CachedStatement<'c>,
}

impl<'c> ChainQueries<'c> {
    /// Prepares the queries. The caller must hold a transaction, so that all rows show one moment.
    pub(super) fn new(connection: &'c Connection) -> Result<Self, LedgerError> {
        let one = format!("SELECT {VERSION_ONE}, hash FROM event WHERE n > ?1 ORDER BY n");
        let two = "SELECT n, job, seq, kind, body, hash FROM event_v2 WHERE n > ?1 ORDER BY n";
        Ok(Self {
            ledger: super::audit::id(connection)?,
            one: connection.prepare_cached(&one)?,
            two: connection.prepare_cached(two)?,
        })
    }

    /// The events after number `n`, whose hash is `hash`.
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

/// Every event after a given one, in the order of the chain: version 1 first, then version 2.
pub(super) struct ChainedEvents<'s> {
    ledger: LedgerId,
    one: Rows<'s>,
    two: Rows<'s>,
    one_ended: bool,
    /// Number of the event before.
    n: u64,
    /// Stored hash of the event before.
    hash: Hash,
}

/// One event in the chain.
pub(super) struct ChainLink<'r> {
    row: &'r Row<'r>,
    version: ChainVersion,
    ledger: LedgerId,
    /// Its number; 0 if the column holds none.
    pub(super) n: u64,
    /// Number of the event before.
    pub(super) before: u64,
    /// Its stored hash.
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

    /// Number and hash of the last event that was returned.
    pub(super) fn end(&self) -> (u64, Hash) {
        (self.n, self.hash)
    }
}

impl ChainLink<'_> {
    /// The job that the row names.
    pub(super) fn job(&self) -> Result<Option<JobId>, LedgerError> {
        let column = if self.version == ChainVersion::One { 2 } else { 1 };
        Ok(self.row.get::<_, Option<u32>>(column)?.map(JobId))
    }

    /// Whether its bytes and its number are those that were hashed when it was written.
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

    /// The decoded event. The error says why it cannot be read.
    pub(super) fn event(&self) -> Result<LedgerEvent, String> {
        match self.version {
            ChainVersion::One => version_one(self.row).map_err(|error| error.to_string())?.typed(),
            ChainVersion::Two => codec::decode(self.body().map_err(|error| error.to_string())?)
                .map_err(|fault| fault.to_string()),
        }
    }

    /// The bytes that were hashed.
    pub(super) fn bytes(&self) -> Result<Vec<u8>, LedgerError> {
        match self.version {
            ChainVersion::One => {
                let mut bytes = Vec::with_capacity(512);
                version_one(self.row)?.canonical(&mut bytes);
                Ok(bytes)
            }
            ChainVersion::Two => self.body().map(<[u8]>::to_vec),
        }
    }

    /// Whether the columns that repeat fields of a version 2 event (job, sequence, kind) agree with its bytes.
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
