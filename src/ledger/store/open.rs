//! Opening: the file, its settings, its schema.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior};

use super::{Store, lock::Lock, row};
use crate::ledger::chain::{GENESIS, Hash};
use crate::ledger::error::LedgerError;

/// `application_id` of the file: "CWL1". Tells a ledger from any other database.
const APPLICATION_ID: u32 = 0x4357_4C31;

/// The schema, one migration per version; `user_version` is the number of those that were run. Never edit one that
/// was shipped: add the next.
const MIGRATIONS: [&str; 3] = [
    include_str!("migrations/0001.sql"),
    include_str!("migrations/0002.sql"),
    include_str!("migrations/0003.sql"),
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
        let path = resolved(path)?;
        let lock = Lock::take(&path)?;
        match path.metadata() {
            Ok(meta) if meta.is_file() && meta.len() == 0 => return Err(LedgerError::Empty(path)),
            Err(error) if error.kind() == ErrorKind::NotFound => make(&path)?,
            _ => {}
        }
        let mut connection = connect(&path)?;
        connection.busy_timeout(BUSY)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        let version = identify(&connection, &path)?;
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
    let version = identify(&connection, path)?;
    Ok((connection, version))
}

/// Where a ledger is, or will be. A symbolic link that leads to nothing is an error: what it led to is missing.
fn resolved(path: &Path) -> Result<PathBuf, LedgerError> {
    let failed = |e| LedgerError::io(path, e);
    if path.exists() || path.is_symlink() {
        return path.canonicalize().map_err(failed);
    }
    let absolute = std::path::absolute(path).map_err(failed)?;
    match (absolute.parent(), absolute.file_name()) {
        (Some(folder), Some(name)) => Ok(folder.canonicalize().map_err(failed)?.join(name)),
        _ => Err(LedgerError::NotALedger(absolute)),
    }
}

/// Makes a ledger without a job, under another name, and puts it in place when it is whole and on disk: whoever kills us
/// leaves a ledger or none, and an empty file is never one that we were making.
fn make(path: &Path) -> Result<(), LedgerError> {
    let beside = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    // SQLite would read it into the new ledger.
    if beside("-wal").metadata().is_ok_and(|meta| meta.len() > 0) {
        let what = format!("{} is missing, and its -wal is there", path.display());
        return Err(LedgerError::Damaged(what));
    }
    let new = beside("-new");
    let failed = |e| LedgerError::io(&new, e);
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(&new).map_err(failed)?;
    let mut connection = connect(&new)?;
    // If it fails, the file is of no use.
    connection.pragma_update_and_check(None, "journal_mode", "MEMORY", |_| Ok(()))?;
    migrate(&mut connection, 0)?;
    drop(connection);
    file.sync_all().map_err(failed)?;
    std::fs::rename(&new, path).map_err(failed)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|e| LedgerError::io(folder, e))
}

fn connect(path: &Path) -> Result<Connection, LedgerError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Ok(Connection::open_with_flags(path, flags)?)
}

/// The schema version of a file; refuses other programs' databases and newer ledgers.
fn identify(connection: &Connection, path: &Path) -> Result<u32, LedgerError> {
    let foreign = |_| LedgerError::NotALedger(path.to_owned());
    let id: i64 = connection.pragma_query_value(None, "application_id", |r| r.get(0)).map_err(foreign)?;
    let found: u32 = connection.pragma_query_value(None, "user_version", |r| r.get(0)).map_err(foreign)?;
    let known = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
    if id != i64::from(APPLICATION_ID) {
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
