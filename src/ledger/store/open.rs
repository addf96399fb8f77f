//! Opening: the file, its settings, its schema.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::hooks::Wal;
use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, TransactionBehavior};
use rustix::fs::{Advice, fadvise};

use super::identity::Identity;
use super::lock::{self, Lock};
use super::{LedgerStore, row};
use crate::files;
use crate::laws::chain::{GENESIS, Hash};
use crate::ledger::error::LedgerError;
use crate::sibling_path::sibling_path;

/// `application_id` of the file: "CWL1". Distinguishes a ledger from any other database.
const APPLICATION_ID: u32 = 0x4357_4C31;

/// The schema, one migration per version; `user_version` is the number of migrations that were run. Never edit one
/// that was shipped: add the next.
pub(super) const MIGRATIONS: [&str; 8] = [
    include_str!("migrations/0001.sql"),
    include_str!("migrations/0002.sql"),
    include_str!("migrations/0003.sql"),
    include_str!("migrations/0004.sql"),
    include_str!("migrations/0005.sql"),
    include_str!("migrations/0006.sql"),
    include_str!("migrations/0007.sql"),
    include_str!("migrations/0008.sql"),
];

/// How long a connection waits for another one's short lock (checkpoints, recovery).
const BUSY: Duration = Duration::from_secs(5);

/// How long the first connection after a crash waits for exclusive access: as long as a read-only command takes.
const ALONE: Duration = Duration::from_millis(500);

/// Page size of a new ledger. A commit changes a few bytes on four to nine pages and writes each of them whole, so
/// smaller pages mean less to write and to checksum. Older ledgers have 4 KiB.
const PAGE: u32 = 1024;

/// Bytes in the WAL at which a commit also checkpoints.
const WAL_MAX: i32 = 16 << 20;

/// Longest value and row that a reader takes, in bytes. The longest event has 8 KiB, and a migration of the schema is not
/// longer than this either.
const VALUE_MAX: i32 = 1 << 16;

/// Prepared statements that a connection keeps; more than there are.
const STATEMENTS: usize = 64;

impl LedgerStore {
    /// Opens a ledger for exclusive writing; makes it (mode 0600) if there is none.
    pub(in crate::ledger) fn open(path: &Path) -> Result<Self, LedgerError> {
        let path = resolved(path)?;
        one_name(&path)?;
        guarded(&path)?;
        let lock = Lock::take(&path)?;
        let made = match path.metadata() {
            Ok(meta) if meta.is_file() && meta.len() == 0 => return Err(LedgerError::Empty(path)),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                make(&path).map_err(|error| error.of(&path))?;
                true
            }
            _ => false,
        };
        companions(&path)?;
        Self::locked(&path, lock, made).map_err(|error| error.of(&path))
    }

    fn locked(path: &Path, lock: Lock, made: bool) -> Result<Self, LedgerError> {
        recover(path)?;
        let mut connection = connect(path)?;
        connection.busy_timeout(BUSY)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        let version = identify(&connection, path)?;
        let wal_pages = settings(&mut connection)?;
        let page: i32 = connection.pragma_query_value(None, "page_size", |r| r.get(0))?;
        rewrite(&connection, path)?;
        let noted = if made { None } else { lock.noted() };
        super::schema::check(&connection, version)?;
        migrate(&mut connection, version)?;
        let (id, head) = (super::audit::id(&connection)?, head(&connection)?);
        if let Some((_, noted)) = noted.filter(|(name, noted)| *name == id.to_string() && *noted > head.0) {
            return Err(behind(head.0, noted));
        }
        let last = super::events::last(&connection, super::events::EventFilter::All, |_| true)?;
        let last_ts = last.map_or(0, |event| event.ts);
        let (path, scratch) = (path.to_owned(), Vec::with_capacity(512));
        let identity = Identity::of(&path);
        let clock = (super::write::clock(), Instant::now());
        let wal_most = WAL_MAX / page.max(1);
        Ok(Self { connection, path, id, head, last_ts, clock, scratch, wal_pages, wal_most, identity, lock })
    }

    /// The ledger's absolute path.
    pub(in crate::ledger) fn path(&self) -> &Path {
        &self.path
    }

    /// Checkpoints a long WAL into the file, so that SQLite starts the WAL from its beginning. It is no error if
    /// another program (a shell that ends) is doing that just now: the next commit tries again.
    pub(super) fn shorten_wal(&self) -> Result<(), LedgerError> {
        if self.wal_pages.load(Ordering::Relaxed) < self.wal_most {
            return Ok(());
        }
        Ok(self.connection.pragma(None, "wal_checkpoint", "PASSIVE", |_| Ok(()))?)
    }

    /// Checkpoints the WAL into the file, so that the file alone is the ledger. Nothing depends on it: all commits
    /// are in the WAL, which stays until this has succeeded. A disk that fails is reported, though.
    pub(in crate::ledger) fn fold(&self) {
        if let Err(error) = fold(&self.connection, &self.path) {
            tracing::warn!(
                "{error}; nothing is lost: changes that are not in the ledger's file are in {}; keep both files and have their disk checked",
                sibling_path(&self.path, "-wal").display(),
            );
        }
    }

    /// Simulates a full disk: from now on the file may grow by `more` pages only.
    #[cfg(test)]
    pub(in crate::ledger) fn fill_disk(&self, more: u32) {
        let pages: u32 = self.connection.pragma_query_value(None, "page_count", |r| r.get(0)).unwrap();
        self.connection.pragma_update_and_check(None, "max_page_count", pages + more, |_| Ok(())).unwrap();
    }
}

/// The error for a ledger that ends before an event that was noted as durable.
fn behind(found: u64, noted: u64) -> LedgerError {
    LedgerError::Damaged(format!(
        "it ends at event {found}, and event {noted} was written: its -wal was removed or cut off, or it was put back from \
         a backup; find the newer one"
    ))
}

/// Refuses a file with several hard links: lock and WAL lie next to one of its names, and a process that uses another
/// would not see them.
fn one_name(path: &Path) -> Result<(), LedgerError> {
    match path.metadata().map(|meta| meta.nlink()) {
        Ok(0 | 1) => Ok(()),
        Ok(names) => {
            let what = format!("the file has {names} names (hard links); remove all but the right one");
            Err(LedgerError::io(path, what))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(LedgerError::io(path, files::trouble(&error))),
    }
}

/// Refuses a ledger that other users can change or replace: who can write its file can write events.
fn guarded(path: &Path) -> Result<(), LedgerError> {
    let failed = |error| LedgerError::io(path, files::trouble(&error));
    files::check_folder_of(path).map_err(failed)?;
    match path.metadata() {
        Ok(meta) if meta.is_file() => files::check_owned(&meta).map_err(failed),
        _ => Ok(()),
    }
}

/// Makes the WAL and its index if they are missing, so that no other user can make them before SQLite opens them.
/// Refuses those that another user can change. A journal is checked too, because SQLite would play it back into the
/// ledger.
fn companions(path: &Path) -> Result<(), LedgerError> {
    // SQLite too would give them the ledger's permissions, so that every reader of the ledger can read them.
    let permissions = path.metadata().map_err(|e| LedgerError::io(path, e))?.mode() & 0o777;
    for suffix in ["-wal", "-shm"] {
        let file = sibling_path(path, suffix);
        files::make_or_check(&file, permissions).map_err(|e| LedgerError::io(&file, e))?;
    }
    let journal = sibling_path(path, "-journal");
    match journal.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Ok(meta) => files::check_owned(&meta).map_err(|e| LedgerError::io(&journal, e)),
        Err(error) => Err(LedgerError::io(&journal, error)),
    }
}

/// Refuses companions of any user other than the ledger's owner, root and the reader: SQLite would show their rows in
/// place of the ledger's own.
fn readable(path: &Path) -> Result<(), LedgerError> {
    let owner = path.metadata().map_err(|e| LedgerError::io(path, e))?.uid();
    let known = [owner, 0, nix::unistd::geteuid().as_raw()];
    for suffix in ["-wal", "-shm", "-journal", "-lock"] {
        let file = sibling_path(path, suffix);
        let Ok(meta) = file.symlink_metadata() else { continue };
        if !meta.is_file() {
            return Err(LedgerError::io(&file, "it is no regular file; remove it"));
        }
        if !known.contains(&meta.uid()) {
            let what = format!(
                "it belongs to another user (uid {}) than the ledger: ask an administrator to remove it",
                meta.uid()
            );
            return Err(LedgerError::io(&file, what));
        }
    }
    Ok(())
}

/// Recovers a ledger whose WAL is not empty. The process that left it may have died after a failed sync. The kernel
/// then treats the dirty pages as clean, so they are dropped from the page cache, and the whole WAL is replayed over
/// what is on disk.
///
/// The whole WAL is replayed only if no other process reads the ledger: the shared index of the WAL says which part
/// of it is already in the file. With another reader, nothing is dropped.
fn recover(path: &Path) -> Result<(), LedgerError> {
    if !has_wal(path) {
        return Ok(());
    }
    let io = |e| LedgerError::io(path, e);
    // Closing any descriptor of a file drops all locks of this process on it. So the file is opened when we are
    // alone, and declared here to be closed after SQLite's descriptor.
    let file;
    let connection = connect(path)?;
    connection.busy_timeout(ALONE)?;
    // In this mode SQLite keeps the index in its own memory and builds it anew.
    connection.pragma_update_and_check(None, "locking_mode", "EXCLUSIVE", |_| Ok(()))?;
    // The first read fails if another program has the ledger open.
    let first: rusqlite::Result<i64> = connection.pragma_query_value(None, "schema_version", |r| r.get(0));
    if first.is_err_and(|error| error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)) {
        tracing::warn!(
            "another program has read ledger {} since before this start; if its disk has failed, end that program and start again",
            path.display()
        );
        return Ok(());
    }
    identify(&connection, path)?;
    file = OpenOptions::new().read(true).write(true).open(path).map_err(io)?;
    file.sync_data().map_err(io)?;
    fadvise(&file, 0, None, Advice::DontNeed).map_err(|e| io(e.into()))?;
    rewrite(&connection, path)?;
    fold(&connection, path)
}

/// Checkpoints the WAL into the file, and syncs the empty WAL. Otherwise a power cut on a file system without a
/// journal could bring the old WAL back with blocks that now belong to another file, and it would be replayed with a
/// hole.
fn fold(connection: &Connection, path: &Path) -> Result<(), LedgerError> {
    let wal = sibling_path(path, "-wal");
    connection
        .pragma(None, "wal_checkpoint", "TRUNCATE", |_| Ok(()))
        .map_err(|error| LedgerError::from(error).of(path))?;
    File::open(&wal).and_then(|wal| wal.sync_all()).map_err(|error| LedgerError::io(&wal, error))
}

/// Whether there is a WAL that is not empty.
fn has_wal(path: &Path) -> bool {
    sibling_path(path, "-wal").metadata().is_ok_and(|meta| meta.len() > 0)
}

/// Writes the WAL again as it reads, and syncs it. If an earlier process saw a sync fail, the kernel may hold bytes
/// that it treats as written although they are not on the disk; nothing may rely on those.
///
/// The kernel has to drop them first. Otherwise ext4 would treat their blocks as already marked as written, and after
/// a power cut they would read as zeros, even if a later sync reported success. If the process is killed in between,
/// only bytes that were never durable are lost.
fn rewrite(connection: &Connection, path: &Path) -> Result<(), LedgerError> {
    let wal = sibling_path(path, "-wal");
    let io = |e| LedgerError::io(&wal, e);
    let file = match OpenOptions::new().read(true).write(true).open(&wal) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        file => file.map_err(io)?,
    };
    // Keeps other writers out meanwhile.
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    file.sync_data().map_err(io)?;
    let (mut at, mut bytes) = (0, vec![0; 1 << 20]);
    loop {
        let read = file.read_at(&mut bytes, at).map_err(io)?;
        if read == 0 {
            break;
        }
        let length = u64::try_from(read).unwrap_or_default();
        fadvise(&file, at, NonZeroU64::new(length), Advice::DontNeed).map_err(|e| io(e.into()))?;
        file.write_all_at(bytes.get(..read).unwrap_or_default(), at).map_err(io)?;
        at += length;
    }
    file.sync_data().map_err(io)?;
    Ok(transaction.rollback()?)
}

/// Opens a ledger for reading only. A ledger of an earlier version is migrated first, which needs exclusive access.
/// The second value is the error for a ledger that ends before the event noted in its side file, the third the
/// resolved path.
pub(super) fn open_reader(path: &Path) -> Result<(Connection, Option<LedgerError>, PathBuf), LedgerError> {
    if !path.is_file() {
        return Err(LedgerError::Missing(path.to_owned()));
    }
    // An absolute path also keeps SQLite from giving a file called `:memory:` a special meaning.
    let path = &*resolved(path)?;
    one_name(path)?;
    readable(path)?;
    // The note is read first: a writer notes events only after they are durable, so the database, read later, must
    // have them.
    let noted = lock::noted(path);
    let (connection, version) = read_only(path).map_err(|e| e.of(path))?;
    if usize::try_from(version).is_ok_and(|version| version >= MIGRATIONS.len()) {
        super::schema::check_tables(&connection).map_err(|e| e.of(path))?;
        let behind = is_behind(&connection, noted).map_err(|e| e.of(path))?;
        return Ok((connection, behind, path.to_owned()));
    }
    drop(connection);
    LedgerStore::open(path)?.fold();
    let (connection, _) = read_only(path).map_err(|e| e.of(path))?;
    Ok((connection, None, path.to_owned()))
}

/// The error for a ledger that ends before the event noted in its side file; `None` for a whole ledger.
fn is_behind(
    connection: &Connection,
    noted: Option<(String, u64)>,
) -> Result<Option<LedgerError>, LedgerError> {
    let Some((name, noted)) = noted else { return Ok(None) };
    let found = connection.query_row("SELECT n FROM head", [], |r| row::number(r, 0))?;
    let ours = name == super::audit::id(connection)?.to_string();
    Ok((ours && noted > found).then(|| behind(found, noted)))
}

fn read_only(path: &Path) -> Result<(Connection, u32), LedgerError> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, VALUE_MAX)?;
    let version = identify(&connection, path)?;
    Ok((connection, version))
}

/// Absolute path of a ledger, which may not exist yet, without symbolic links. A link whose target is missing is an
/// error.
fn resolved(path: &Path) -> Result<PathBuf, LedgerError> {
    let failed = |e| LedgerError::io(path, files::trouble(&e));
    if path.is_symlink() && !path.exists() {
        return Err(LedgerError::io(
            path,
            "it is a link whose target is missing; check that the target's disk is mounted",
        ));
    }
    if path.exists() {
        return path.canonicalize().map_err(failed);
    }
    let absolute = std::path::absolute(path).map_err(failed)?;
    match (absolute.parent(), absolute.file_name()) {
        (Some(folder), Some(name)) => Ok(folder.canonicalize().map_err(failed)?.join(name)),
        _ => Err(LedgerError::NotALedger(absolute)),
    }
}

/// Makes a ledger without a job under another name, and renames it when it is complete and on disk. If the process is
/// killed, it leaves a whole ledger or none, so an empty file is never one in the making.
fn make(path: &Path) -> Result<(), LedgerError> {
    // SQLite would replay it into the new ledger.
    if has_wal(path) {
        let what =
            format!("{} is missing, but its -wal is there: put the ledger back next to it", path.display());
        return Err(LedgerError::Damaged(what));
    }
    let new = sibling_path(path, "-new");
    made(&new).inspect_err(|_| {
        // The next attempt overwrites it in any case.
        let _ = std::fs::remove_file(&new);
    })?;
    std::fs::rename(&new, path).map_err(|e| LedgerError::io(path, e))?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|e| LedgerError::io(folder, e))
}

fn made(new: &Path) -> Result<(), LedgerError> {
    let failed = |e| LedgerError::io(new, e);
    let file = files::make_private(new).map_err(failed)?;
    let mut connection = connect(new)?;
    connection.pragma_update(None, "page_size", PAGE)?;
    // No journal on disk: if this fails, the file is thrown away.
    connection.pragma_update_and_check(None, "journal_mode", "MEMORY", |_| Ok(()))?;
    migrate(&mut connection, 0)?;
    drop(connection);
    file.sync_all().map_err(failed)
}

fn connect(path: &Path) -> Result<Connection, LedgerError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    // Only `fold` checkpoints on closing, SQLite does not: after a failed sync the next one may report success, and
    // SQLite would then remove the WAL although its pages never reached the file on the disk.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(connection)
}

/// The schema version of a file; refuses other programs' databases and newer ledgers.
fn identify(connection: &Connection, path: &Path) -> Result<u32, LedgerError> {
    let foreign = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) | None => LedgerError::NotALedger(path.to_owned()),
        Some(_) => error.into(),
    };
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

/// Sets the pragmas that durability depends on, and reads them back. Returns the number of the WAL's pages, which
/// every commit updates.
fn settings(connection: &mut Connection) -> Result<Arc<AtomicI32>, LedgerError> {
    let journal: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |r| r.get(0))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // Replaces SQLite's own checkpoints, which do not report a disk that fails but try again. The hook only counts,
    // because SQLite would lose the cause of an error that the hook returned.
    let pages = Arc::new(AtomicI32::new(0));
    let seen = Arc::clone(&pages);
    connection.wal_hook(Some(move |_: &mut Wal, pages| {
        seen.store(pages, Ordering::Relaxed);
        Ok(())
    }))?;
    let synchronous: u32 = connection.pragma_query_value(None, "synchronous", |r| r.get(0))?;
    let foreign_keys: bool = connection.pragma_query_value(None, "foreign_keys", |r| r.get(0))?;
    // 2 = FULL.
    if journal != "wal" || synchronous != 2 || !foreign_keys {
        let what = format!(
            "SQLite did not take the settings: journal_mode {journal}, synchronous {synchronous}, foreign_keys \
             {foreign_keys}"
        );
        return Err(LedgerError::Io { path: None, what });
    }
    Ok(pages)
}

/// Runs the migrations after `version`, each in its own transaction.
fn migrate(connection: &mut Connection, version: u32) -> Result<(), LedgerError> {
    let done = usize::try_from(version).unwrap_or(usize::MAX);
    for (sql, number) in MIGRATIONS.iter().zip(1u32..).skip(done) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", number)?;
        transaction.commit()?;
    }
    if done < MIGRATIONS.len() {
        // Into the file itself, so that it is a ledger even without its WAL.
        connection.pragma(None, "wal_checkpoint", "TRUNCATE", |_| Ok(()))?;
    }
    Ok(())
}

/// Number and hash of the last event; refuses a ledger whose last event is not the one that its head names.
fn head(connection: &Connection) -> Result<(u64, Hash), LedgerError> {
    let head: (u64, Hash) =
        connection.query_row("SELECT n, hash FROM head", [], |r| Ok((row::number(r, 0)?, r.get(1)?)))?;
    let last: Option<(u64, Hash)> = connection
        .query_row(
            "SELECT n, hash FROM (SELECT n, hash FROM event ORDER BY n DESC LIMIT 1) UNION ALL \
             SELECT n, hash FROM (SELECT n, hash FROM event_v2 ORDER BY n DESC LIMIT 1) ORDER BY n DESC LIMIT 1",
            [],
            |r| Ok((row::number(r, 0)?, r.get(1)?)),
        )
        .optional()?;
    if last.unwrap_or((0, GENESIS)) != head {
        return Err(LedgerError::Damaged(
            "the last event is not the one at the head of the chain".to_owned(),
        ));
    }
    Ok(head)
}
