//! Exclusive use: an advisory lock on a side file, because SQLite lets many writers take turns. The file also notes
//! the number of the last event, which shows later if the WAL was removed or an older copy was put back.
//!
//! ```text
//! <ledger>-lock:   pid | LF | name of the ledger | space | number of the last event that is durable | LF
//! ```
//!
//! The number is written after each commit and not synced: after a power cut it may be smaller than the ledger's,
//! never larger.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};

use crate::audit::LedgerId;
use crate::files;
use crate::ledger::error::LedgerError;
use crate::sibling_path::sibling_path;

/// How often a writer tries again to take a lock that is held, and how long it waits before each time.
const LOOKS: u32 = 50;
const LOOK: Duration = Duration::from_millis(10);

/// Most bytes of the side file: two numbers and a name.
const NOTE_MAX: u64 = 200;

/// Held as long as the ledger is open for writing; the kernel frees it when the process dies.
pub(super) struct Lock {
    file: Flock<File>,
    /// Ledger and event that an earlier process noted.
    noted: Option<(String, u64)>,
}

impl Lock {
    /// Takes the lock of a ledger. The error names the process that has it. The side file, `<ledger>-lock`, is never
    /// removed.
    pub(super) fn take(ledger: &Path) -> Result<Self, LedgerError> {
        let path = sibling_path(ledger, "-lock");
        let file = files::open_private(&path).map_err(|e| LedgerError::io(&path, files::trouble(&e)))?;
        match taken(file) {
            Ok(mut file) => {
                let (_, noted) = read(&mut file);
                let lock = Self { file, noted };
                // Cut to length only once: later texts are never shorter, because the pid stays and the number rises.
                let length = lock.write(lock.noted());
                if let Err(error) = lock.file.set_len(length) {
                    tracing::debug!(%error, "the end of an earlier process's note next to the ledger was not cut off");
                }
                Ok(lock)
            }
            Err((mut file, Errno::EWOULDBLOCK)) => {
                Err(LedgerError::InUse { path: ledger.to_owned(), pid: read(&mut file).0 })
            }
            Err((_, errno)) => Err(LedgerError::io(&path, errno)),
        }
    }

    /// Name and last durable event of the ledger that an earlier process had here; `None` if it noted none.
    pub(super) fn noted(&self) -> Option<(&str, u64)> {
        self.noted.as_ref().map(|(ledger, n)| (ledger.as_str(), *n))
    }

    /// Notes the number of the last durable event.
    pub(super) fn note(&self, ledger: LedgerId, n: u64) {
        self.write(Some((&ledger.to_string(), n)));
    }

    /// Writes the side file and returns the length. A failure is only logged, because nothing depends on the note.
    fn write(&self, noted: Option<(&str, u64)>) -> u64 {
        let mut text = format!("{}\n", std::process::id());
        if let Some((ledger, n)) = noted {
            text += &format!("{ledger} {n}\n");
        }
        if let Err(error) = self.file.write_all_at(text.as_bytes(), 0) {
            tracing::debug!(%error, "the note next to the ledger was not written");
        }
        u64::try_from(text.len()).unwrap_or(0)
    }
}

/// The note next to a ledger, for readers; `None` if there is none that can be read. It is read twice and the smaller
/// one returned: a writer may just be writing it, and a mix of old and new digits may exceed both numbers.
pub(super) fn noted(ledger: &Path) -> Option<(String, u64)> {
    let once = || read(&mut look(ledger).ok()?).1;
    Some(once()?.min(once()?))
}

/// Whether a process has the ledger open for writing. A lock that this process may not open counts as held:
/// it belongs to another user, who may be writing.
pub fn is_held(ledger: &Path) -> bool {
    let file = match look(ledger) {
        Ok(file) => file,
        Err(error) => return error.kind() != ErrorKind::NotFound,
    };
    // A shared lock, for as long as this function takes. `Lock::take` waits that long.
    Flock::lock(file, FlockArg::LockSharedNonblock).is_err()
}

/// Opens the side file for reading. A pipe in its place does not block.
fn look(ledger: &Path) -> std::io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    OpenOptions::new().read(true).custom_flags(flags.bits()).open(sibling_path(ledger, "-lock"))
}

/// Takes the lock. It may be held for a moment by a reader that looks whether there is a writer.
fn taken(mut file: File) -> Result<Flock<File>, (File, Errno)> {
    for _ in 0..LOOKS {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Err((back, Errno::EWOULDBLOCK)) => file = back,
            other => return other,
        }
        std::thread::sleep(LOOK);
    }
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
}

/// The pid and the note, as far as they can be read.
fn read(file: &mut File) -> (Option<u32>, Option<(String, u64)>) {
    let mut text = String::new();
    if file.take(NOTE_MAX).read_to_string(&mut text).is_err() {
        return (None, None);
    }
    let mut lines = text.lines();
    let pid = lines.next().and_then(|pid| pid.parse().ok());
    let noted = lines.next().and_then(|line| line.split_once(' '));
    (pid, noted.and_then(|(ledger, n)| Some((ledger.to_owned(), n.parse().ok()?))))
}
