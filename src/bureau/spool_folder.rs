//! The folder of a ledger's accepted files, `<ledger>.spool`: the names in it, and the clean-up after an
//! acceptance that was cut short.
//!
//! Not here: the sealed spool itself (`record::spool`), its end (`deletion`).

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use hex::FromHex;

use super::refusal::Refusal;
use crate::exit::{Exit, Failure};
use crate::hsm::{SpoolKey, Vault};
use crate::ledger::{JobView, Ledger};
use crate::record::{Sealer, Spool, open_input};
use crate::sibling_path::sibling_path;

/// Opens the spool of a job.
pub fn spool_of(view: &JobView, vault: Box<dyn Vault>) -> Result<Spool, Refusal> {
    if view.deleted {
        let what =
            format!("operator: {}: its cardholder data were deleted; nothing can be made of it", view.job);
        return Err(Refusal::fault(Exit::Denied, what));
    }
    let digest = <[u8; 32]>::from_hex(&view.digest);
    let digest = digest.map_err(|_| Failure::new(Exit::Ledger, format!("job {} has no digest", view.job)))?;
    let key = view.spool_key.map(|name| -> Box<dyn Sealer> { Box::new(SpoolKey::of(vault, name)) });
    Spool::open(Path::new(&view.spool), &digest, key).map_err(|error| {
        let Failure { exit, message } = error.into();
        Refusal::fault(exit, format!("{}: {message}", view.job))
    })
}

/// Whether a file belongs to the ledger or lies next to it. Such a file is not even opened: when any
/// descriptor of it is closed, the kernel drops the locks that SQLite holds on it in this process (POSIX,
/// fcntl).
pub fn is_the_ledgers(file: &Metadata, ledger: &Path) -> bool {
    let place = |meta: &Metadata| (meta.dev(), meta.ino());
    ["", "-wal", "-shm", "-lock"]
        .iter()
        .filter_map(|suffix| sibling_path(ledger, suffix).metadata().ok())
        .any(|own| place(&own) == place(file))
}

/// Removes the copies of acceptances that did not become jobs; the HSM destroys their keys. The ledger is open, so no other process
/// accepts into it.
pub(super) fn forget_unfinished(ledger: &Ledger) -> Result<(), Refusal> {
    let reader = ledger.reader()?;
    let jobs = reader.jobs()?;
    let names: Vec<_> = jobs.iter().filter_map(|job| Path::new(&job.spool).file_name()).collect();
    remove(ledger.path(), |file| {
        file.extension().is_some_and(|e| e == "cwf1") && file.file_name().is_none_or(|n| !names.contains(&n))
    });
    Ok(())
}

/// Whether accepted files lie next to a ledger.
pub(super) fn has_spool(ledger: &Path) -> bool {
    let files = spool_directory(ledger).and_then(|d| std::fs::read_dir(d).ok()).into_iter().flatten();
    files.flatten().any(|file| file.path().extension().is_some_and(|e| e == "cwf1"))
}

/// Removes copies that a killed acceptance left. The ledger is open, so no other process accepts into it.
pub(super) fn sweep(ledger: &Path) {
    remove(ledger, |file| file.extension().is_some_and(|e| e == "part"));
}

/// Removes files next to a ledger that do no harm if they stay.
fn remove(ledger: &Path, which: impl Fn(&Path) -> bool) {
    let files = spool_directory(ledger).and_then(|d| std::fs::read_dir(d).ok()).into_iter().flatten();
    for file in files.flatten().map(|file| file.path()).filter(|file| which(file)) {
        if let Err(error) = std::fs::remove_file(file) {
            tracing::warn!(%error, "an unfinished copy stays in the spool");
        }
    }
}

/// The folder of a ledger's accepted files.
pub fn spool_directory(ledger: &Path) -> Option<PathBuf> {
    Some(sibling_path(&std::path::absolute(ledger).ok()?, ".spool"))
}

/// A new path `<ledger>.spool/<Unix time>-<pid>-<n>.cwf1`, absolute; n counts the files of this process. The
/// time is in whole seconds, because a name with 13 digits or more could be taken for an account number in
/// the ledger or a report.
pub(super) fn spool_path(ledger: &Path) -> Result<PathBuf, Failure> {
    let directory = spool_directory(ledger)
        .ok_or_else(|| Failure::new(Exit::Io, "the ledger's path cannot be resolved"))?;
    static FILES: AtomicU32 = AtomicU32::new(1);
    let file = FILES.fetch_add(1, Ordering::Relaxed);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Ok(directory.join(format!("{}-{}-{file}.cwf1", now.as_secs(), std::process::id())))
}

/// Opens an issuer's file to be accepted into this ledger.
pub fn open_submitted(file: &Path, ledger: &Path) -> Result<File, Refusal> {
    if file.metadata().is_ok_and(|meta| is_the_ledgers(&meta, ledger)) {
        return Err(ledgers_own(&file.display()));
    }
    Ok(open_input(file)?)
}

/// Refuses to accept the ledger's own file.
pub fn ledgers_own(file: &dyn std::fmt::Display) -> Refusal {
    let what = format!("file: {file} is the ledger, or lies beside it: name an issuer's output file");
    Refusal::fault(Exit::FileFormat, what)
}
