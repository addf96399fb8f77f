//! Opening: the file, its settings, its schema.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior};

use super::{Store, lock::Lock, row};
use crate::ledger::chain::{GENESIS, Hash};
use crate::ledger::error::LedgerError;

/// `application_id` of the file: "CWL1". Tells a ledger from any other database.
const APPLICATION_ID: u32 = 0x4357_4C31;

/// The schema, one migration per version; `user_version` is the number of those that were run. Never edit one that
/// was shipped: add the next.
const MIGRATIONS: [&str; 4] = [
    include_str!("migrations/0001.sql"),
    include_str!("migrations/0002.sql"),
    include_str!("migrations/0003.sql"),
    include_str!("migrations/0004.sql"),
];

/// How long a connection waits for another one's short lock (checkpoints, recovery).
const BUSY: Duration = Duration::from_secs(5);

/// Pages in the WAL (4 KiB each: 16 MiB) at which a commit also checkpoints.
const WAL_PAGES: u32 = 4000;

/// Prepared statements that a connection keeps; more than there are.
const STATEMENTS: usize = 64;

impl Store {
    /// Opens a ledger for writing, alone; makes it (mode 0600) if there is none.
    pub(in crate::ledger) fn open(path: &Path) -> Result<Self, LedgerError> {
        if path.metadata().is_ok_and(|meta| meta.is_file() && meta.len() == 0) {
            return Err(LedgerError::Empty(path.to_owned()));
        }
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(|e| LedgerError::io(path, e))?;
        let path = path.canonicalize().map_err(|e| LedgerError::io(path, e))?;
        let lock = Lock::take(&path)?;
        let mut connection = Connection::open_with_flags(
            &path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        connection.busy_timeout(BUSY)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        let version = identify(&connection, &path, true)?;
        settings(&connection)?;
        migrate(&mut connection, version)?;
        let head = head(&connection)?;
        let last_ts = connection
            .query_row("SELECT ts FROM event WHERE n = (SELECT max(n) FROM event)", [], |r| row::number(r, 0))
            .optional()?
            .unwrap_or(0);
        Ok(Self { connection, path, head, last_ts, scratch: Vec::with_capacity(512), _lock: lock })
    }

    /// Where it is, absolute.
    pub(in crate::ledger) fn path(&self) -> &Path {
        &self.path
    }

    /// Brings the WAL into the file, so that the file alone is the ledger. Nothing depends on it.
    pub(in crate::ledger) fn fold(&self) {
        if let Err(error) = self.connection.pragma(None, "wal_checkpoint", "TRUNCATE", |_| Ok(())) {
            tracing::debug!(%error, "the WAL stays");
        }
    }

    /// Lets the file grow no further than a few pages from now: the disk is full.
    #[cfg(test)]
    pub(in crate::ledger) fn fill_disk(&self, more: u32) {
        let pages: u32 = self.connection.pragma_query_value(None, "page_count", |r| r.get(0)).unwrap();
        self.connection.pragma_update_and_check(None, "max_page_count", pages + more, |_| Ok(())).unwrap();
    }
}

/// Opens a ledger for reading only; one of an earlier version is brought up to date first, which needs it alone.
pub(super) fn open_reader(path: &Path) -> Result<Connection, LedgerError> {
    if !path.is_file() {
        return Err(LedgerError::Missing(path.to_owned()));
    }
    let (connection, version) = read_only(path)?;
    if usize::try_from(version).is_ok_and(|version| version >= MIGRATIONS.len()) {
        return Ok(connection);
    }
    drop(connection);
    drop(Store::open(path)?);
    read_only(path).map(|(connection, _)| connection)
}

fn read_only(path: &Path) -> Result<(Connection, u32), LedgerError> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    let version = identify(&connection, path, false)?;
    Ok((connection, version))
}

/// The schema version of a file; refuses other programs' databases and newer ledgers. An empty file has version 0
/// and will do for a writer.
fn identify(connection: &Connection, path: &Path, writer: bool) -> Result<u32, LedgerError> {
    let foreign = |_| LedgerError::NotALedger(path.to_owned());
    let id: i64 = connection.pragma_query_value(None, "application_id", |r| r.get(0)).map_err(foreign)?;
    let found: u32 = connection.pragma_query_value(None, "user_version", |r| r.get(0)).map_err(foreign)?;
    let things: u32 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |r| r.get(0))?;
    let known = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
    let empty = id == 0 && found == 0 && things == 0;
    if !(id == i64::from(APPLICATION_ID) || writer && empty) {
        return Err(LedgerError::NotALedger(path.to_owned()));
    }
    if found > known {
        return Err(LedgerError::Newer { path: path.to_owned(), found, known });
    }
    Ok(found)
}

/// Sets what durability rests on, and reads it back.
fn settings(connection: &Connection) -> Result<(), LedgerError> {
    let journal: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |r| r.get(0))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "wal_autocheckpoint", WAL_PAGES)?;
    let synchronous: u32 = connection.pragma_query_value(None, "synchronous", |r| r.get(0))?;
    let foreign_keys: bool = connection.pragma_query_value(None, "foreign_keys", |r| r.get(0))?;
    // 2 = FULL.
    if journal != "wal" || synchronous != 2 || !foreign_keys {
        return Err(LedgerError::Io(format!(
            "SQLite did not take the settings: journal_mode {journal}, synchronous {synchronous}, foreign_keys \
             {foreign_keys}"
        )));
    }
    Ok(())
}

/// Runs the migrations behind `version`, each in its own transaction.
fn migrate(connection: &mut Connection, version: u32) -> Result<(), LedgerError> {
    let done = usize::try_from(version).unwrap_or(usize::MAX);
    for (sql, number) in MIGRATIONS.iter().zip(1u32..).skip(done) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", number)?;
        transaction.commit()?;
    }
    Ok(())
}

/// Number and hash of the last event; refuses a ledger whose last event is not the one that its head names.
fn head(connection: &Connection) -> Result<(u64, Hash), LedgerError> {
    let head: (u64, Hash) =
        connection.query_row("SELECT n, hash FROM head", [], |r| Ok((row::number(r, 0)?, r.get(1)?)))?;
    let last: Option<(u64, Hash)> = connection
        .query_row("SELECT n, hash FROM event ORDER BY n DESC LIMIT 1", [], |r| {
            Ok((row::number(r, 0)?, r.get(1)?))
        })
        .optional()?;
    if last.unwrap_or((0, GENESIS)) != head {
        return Err(LedgerError::Damaged(
            "the last event is not the one at the head of the chain".to_owned(),
        ));
    }
    Ok(head)
}
