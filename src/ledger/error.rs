//! Errors of the ledger, and their texts for an operator.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use rusqlite::ffi::SQLITE_IOERR_SHORT_READ;
use serde::{Deserialize, Serialize};

use crate::exit::{Exit, Failure};
use crate::hsm::HsmError;
use crate::hsm::memory::AttemptBar;
use crate::laws::Law;
use crate::laws::types::JobId;
use crate::threads::ThreadRefused;

/// A ledger that cannot be used, or a change that it refuses. `Clone`, because every caller that waits for a failed
/// commit gets the error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum LedgerError {
    /// The change is against a law; nothing else was disturbed.
    #[error("{job}{}: refused: {law}", seq.map(|s| format!(" record {s}")).unwrap_or_default())]
    Denied {
        /// The job that the change is about.
        job: JobId,
        /// Record, if the change is about one.
        seq: Option<u32>,
        /// The law that forbids it.
        law: Law,
    },
    /// The file cannot become a job, because of this law.
    #[error("the file cannot become a job: {0}")]
    NotAJob(Law),
    /// The shift cannot begin, because of this law.
    #[error("the shift cannot begin: {0}")]
    Shift(Law),
    /// The file was accepted before: the digest is the same.
    #[error("this file is {job} already, {}", if *open { "which is not closed" } else { "which is CLOSED" })]
    Seen {
        /// The job that it became.
        job: JobId,
        /// Whether that job is OPEN or HELD.
        open: bool,
    },
    /// Another file of the issuer with this file_id was accepted before.
    #[error(
        "file: this is not the file of {job}, but another one with its file_id {file_id}: SHA-256 {} and {}; ask the issuer \
         which of the two holds; a file with new data needs a file_id of its own",
        hex::encode_upper(accepted),
        hex::encode_upper(digest)
    )]
    FileIdTaken {
        /// The job of the file that was accepted.
        job: JobId,
        /// The name of both files.
        file_id: String,
        /// SHA-256 of the file that was accepted.
        accepted: [u8; 32],
        /// SHA-256 of this file.
        digest: [u8; 32],
    },
    /// The ledger has no job of this number.
    #[error("the ledger has no job {0}")]
    NoJob(JobId),
    /// Another process writes to it.
    #[error(
        "ledger {path}: another process{} has it open for writing; wait for it or stop it",
        pid.map(|p| format!(" (pid {p})")).unwrap_or_default()
    )]
    InUse {
        /// Path of the ledger.
        path: PathBuf,
        /// The other process, if it said.
        pid: Option<u32>,
    },
    /// There is no such file (readers do not make one).
    #[error("ledger {0}: no such file; name it by --ledger or CARDWRIGHT_LEDGER")]
    Missing(PathBuf),
    /// A file of 0 bytes, which a ledger never is after it was made.
    #[error(
        "ledger {0} is empty: it was truncated; restore it from a backup, and remove it only if no job was ever in it"
    )]
    Empty(PathBuf),
    /// A file of the ledger was removed or replaced while the ledger was open.
    #[error(
        "operator: {0} was removed, replaced or cut off while the ledger was open, and nothing more is written: put back what \
         lay there, with its -wal, and start again; cards that were under way are UNKNOWN"
    )]
    Moved(PathBuf),
    /// A database of another program.
    #[error("{0} is not a ledger of cardwright")]
    NotALedger(PathBuf),
    /// Written by a newer program.
    #[error("ledger {path} has schema {found}, this program knows up to {known}; use the newer program")]
    Newer {
        /// Path of the ledger.
        path: PathBuf,
        /// Its schema version.
        found: u32,
        /// The newest that is known here.
        known: u32,
    },
    /// The ledger's contents contradict each other.
    #[error("the ledger is damaged: {0}; keep it as it is and restore or audit a copy")]
    Damaged(String),
    /// Reading or writing failed (disk full, permissions). After a failed write, a ledger accepts no more changes.
    #[error("ledger {}{what}", path.as_ref().map(|p| format!("{}: ", p.display())).unwrap_or_default())]
    Io {
        /// The ledger, or a file next to it.
        path: Option<PathBuf>,
        /// The system's message, and the next step.
        what: String,
    },
    /// The HSM that signs the ledger failed.
    #[error("{0}")]
    Auditor(HsmError),
    /// The HSM does not sign the ledger's events, so nothing new is bound and no job is closed.
    #[error(
        "key: the HSM has not signed the last {events} events of the ledger ({why}); until it has, no card is bound and no job \
         is closed: see that its host runs and that the disk of the key store has room"
    )]
    NotSigned {
        /// Events that are owed.
        events: u64,
        /// The HSM's last answer.
        why: HsmError,
    },
    /// A change is written, and the HSM has not acknowledged it: nothing may be done on it.
    #[error(
        "key: the ledger has recorded it, but the HSM has not acknowledged the last {events} events of the ledger ({why}): see \
         that its host runs and that the disk of the key store has room"
    )]
    NotAcknowledged {
        /// Events that are owed.
        events: u64,
        /// The HSM's last answer.
        why: HsmError,
    },
    /// The ledger ended before the HSM was shown all of it.
    #[error(
        "the ledger was closed before the HSM had seen its last {events} events: the next start shows them, and nothing is lost"
    )]
    NotShown {
        /// Events that are owed.
        events: u64,
    },
    /// The HSM gives the attempt no session. It is bound, and nothing may be written on its card.
    #[error("key: {job} record {seq}: the HSM gives this card no session: {why}; destroy the card")]
    Barred {
        /// The job.
        job: JobId,
        /// Sequence of the record.
        seq: u32,
        /// Why.
        why: AttemptBar,
    },
    /// The ledger was closed before the call.
    #[error("the ledger is closed")]
    Closed,
    /// The system gave no thread for the writer.
    #[error("{0}")]
    NoThread(ThreadRefused),
    /// The thread that writes has died.
    #[error(
        "us: the thread that writes the ledger died, which is a bug: report it, and start again: cards that were under way are \
         UNKNOWN then"
    )]
    WriterDied,
}

impl LedgerError {
    /// An I/O failure about a path.
    pub(super) fn io(path: &Path, error: impl std::fmt::Display) -> Self {
        Self::Io { path: Some(path.to_owned()), what: error.to_string() }
    }

    /// Adds `ledger` as the path of an I/O error that has none.
    pub(super) fn of(self, ledger: &Path) -> Self {
        match self {
            Self::Io { path: None, what } => Self::Io { path: Some(ledger.to_owned()), what },
            other => other,
        }
    }
}

impl From<rusqlite::Error> for LedgerError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Io { path: None, what: sqlite_advice(&error) }
    }
}

/// SQLite's message with its extended code, and the next step for an operator.
fn sqlite_advice(error: &rusqlite::Error) -> String {
    let next = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "make room on its disk",
        Some(ErrorCode::SystemIoFailure)
            if error.sqlite_error().is_some_and(|e| e.extended_code == SQLITE_IOERR_SHORT_READ) =>
        {
            "one of its files was cut off: put back what was there, or restore it from a backup"
        }
        Some(ErrorCode::SystemIoFailure) => {
            "its disk reports errors: have it checked (the kernel's log says more) before you go on"
        }
        Some(ErrorCode::ReadOnly) => "the file or its file system is read-only: make it writable",
        Some(ErrorCode::CannotOpen) => {
            "it, its -wal or its -shm cannot be opened or made: look at permissions, and whether the file system is read-only"
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another program holds it locked: end that program (an open sqlite3, a backup)"
        }
        _ => return error.to_string(),
    };
    let code = error.sqlite_error().map(|e| e.extended_code).unwrap_or_default();
    format!("{error} (SQLite {code}); {next}")
}

impl LedgerError {
    /// Exit code of a program that ends with this error.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Denied { law: Law::NoRecord, .. } | Self::NoJob(_) => Exit::NotFound,
            Self::Denied { .. } | Self::Shift(_) | Self::Barred { .. } => Exit::Denied,
            Self::Seen { open: true, .. } => Exit::JobOpen,
            Self::Seen { open: false, .. } | Self::FileIdTaken { .. } => Exit::FileSeen,
            Self::Auditor(error)
            | Self::NotSigned { why: error, .. }
            | Self::NotAcknowledged { why: error, .. } => error.exit(),
            Self::NotShown { .. } => Exit::Hsm,
            Self::NotAJob(_) => Exit::FileFormat,
            Self::InUse { .. }
            | Self::Missing(_)
            | Self::NotALedger(_)
            | Self::Empty(_)
            | Self::Moved(_)
            | Self::Newer { .. }
            | Self::Damaged(_)
            | Self::Io { .. }
            | Self::Closed => Exit::Ledger,
            Self::NoThread(_) | Self::WriterDied => Exit::Thread,
        }
    }
}

/// Carries the error's text alone. Code that shows a [`LedgerError`] adds the next command for the operator itself.
impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        Self::new(error.exit(), error.to_string())
    }
}
