//! The folder in which a ledger's accepted files lie, `<ledger>.spool`: names in it, and what an acceptance that was cut
//! short left behind.
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
use crate::hsm::client::HsmClient;
use crate::hsm::{SpoolKey, Vault};
use crate::ledger::{JobView, Ledger};
use crate::record::{Sealer, Spool, open_input};
use crate::sibling_path::sibling_path;

/// What was accepted as a job.
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

/// Whether this file is the ledger's, or lies beside it. Such a file is not even opened: with the close of any descriptor
/// of it, the kernel would drop the locks that SQLite has on it in this process (POSIX, fcntl).
pub fn is_the_ledgers(file: &Metadata, ledger: &Path) -> bool {
    let place = |meta: &Metadata| (meta.dev(), meta.ino());
    ["", "-wal", "-shm", "-lock"]
        .iter()
        .filter_map(|suffix| sibling_path(ledger, suffix).metadata().ok())
        .any(|own| place(&own) == place(file))
}

/// Destroys the keys of acceptances that did not become jobs, and removes their copies. The ledger is open, so nobody else
/// accepts into it.
pub(super) fn forget_unfinished(ledger: &Ledger, socket: &Path) -> Result<(), Refusal> {
    let reader = ledger.reader()?;
    let jobs = reader.jobs()?;
    // The key of data that were deleted is to be gone, even if it was missing then and came back with another store.
    let keys: Vec<_> = jobs.iter().filter(|job| !job.deleted).filter_map(|job| job.spool_key).collect();
    HsmClient::connect(socket)?.keep_spools(reader.id()?, &keys)?;
    let names: Vec<_> = jobs.iter().filter_map(|job| Path::new(&job.spool).file_name()).collect();
    remove(ledger.path(), |file| {
        file.extension().is_some_and(|e| e == "cwf1") && file.file_name().is_none_or(|n| !names.contains(&n))
    });
    Ok(())
}

/// Whether accepted files lie beside a ledger.
pub(super) fn has_spool(ledger: &Path) -> bool {
    let files = spool_directory(ledger).and_then(|d| std::fs::read_dir(d).ok()).into_iter().flatten();
    files.flatten().any(|file| file.path().extension().is_some_and(|e| e == "cwf1"))
}

/// Removes what an acceptance that was killed has left behind. The ledger is open, so nobody else accepts into it.
pub(super) fn sweep(ledger: &Path) {
    remove(ledger, |file| file.extension().is_some_and(|e| e == "part"));
}

/// Removes files beside a ledger that are in nobody's way if they stay.
fn remove(ledger: &Path, which: impl Fn(&Path) -> bool) {
    let files = spool_directory(ledger).and_then(|d| std::fs::read_dir(d).ok()).into_iter().flatten();
    for file in files.flatten().map(|file| file.path()).filter(|file| which(file)) {
        if let Err(error) = std::fs::remove_file(file) {
            tracing::warn!(%error, "an unfinished copy stays in the spool");
        }
    }
}

/// Where the files lie that a ledger accepted.
pub fn spool_directory(ledger: &Path) -> Option<PathBuf> {
    Some(sibling_path(&std::path::absolute(ledger).ok()?, ".spool"))
}

/// `<ledger>.spool/<Unix time>-<pid>-<n>.cwf1`, absolute; n counts the files of this process. Whole seconds: a name with
/// 13 digits or more, which stands in the ledger and in reports, could be taken for an account number.
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

/// A file was to be accepted that is the ledger's own.
pub fn ledgers_own(file: &dyn std::fmt::Display) -> Refusal {
    let what = format!("file: {file} is the ledger, or lies beside it: name an issuer's output file");
    Refusal::fault(Exit::FileFormat, what)
}
