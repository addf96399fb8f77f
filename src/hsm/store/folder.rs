//! The folder of a store, mode 0700, and its files, mode 0600.
//!
//! ```text
//! keys                             keys and acts, sealed (`header`, `body`)
//! seen                             "cardwright store seen 1", "generation N", SHA-256 of both lines
//! audit spools recipient rsa       companions (`companion`); audit: a bureau's, rsa: an issuer's
//! memory-N journal-N chips         what a bureau's HSM remembers (`hsm::memory`); only its host writes them
//! lock                             empty: hosts and commands that read share it; a command that changes `keys` has it alone
//! spools-lock and its like         empty: one process at a time changes the file
//! host                             the program whose HSM host has a bureau's store open (`hsm::host_lock`)
//! ```
//!
//! `keys` is written as `keys.next`, synced, renamed, and the folder is synced; then `seen` gets the new generation. So after a
//! power cut the store is the old or the new one, whole, and `seen` is at most one behind. A `keys` that is older than `seen`
//! was put back. A whole folder that was put back does not show.
//!
//! Not here: what the files hold.

use std::fs::{DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use zeroize::Zeroizing;

use super::lines;
use super::upgrade;
use crate::exit::{Exit, Failure};
use crate::files;
use crate::hsm::Realm;
use crate::sibling_path::sibling_path;

/// Most bytes of `keys`.
const MAX_KEYS: u64 = 1 << 24;
/// Most bytes of `seen`.
const MAX_SEEN: u64 = 1 << 10;
/// Why a folder is no store.
const NO_KEYS: &str = "it is no key store: it has no file keys";
const SEEN: &str = "cardwright store seen 1\ngeneration ";

/// How a store is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StoreLock {
    /// To use its keys, beside others who do.
    Shared,
    /// To change them.
    Alone,
}

/// The file `keys`, sealed.
pub(super) struct SealedKeys {
    pub(super) generation: u64,
    file: Zeroizing<Vec<u8>>,
}

impl SealedKeys {
    /// A file of this generation; `None` if it is longer than one that is read.
    pub(super) fn new(generation: u64, file: Zeroizing<Vec<u8>>) -> Option<Self> {
        u64::try_from(file.len()).is_ok_and(|length| length <= MAX_KEYS).then_some(Self { generation, file })
    }
}

/// The folder of a store, locked.
pub(super) struct StoreFolder {
    path: PathBuf,
    /// A backup has none, and is not changed.
    lock: Option<Flock<File>>,
}

/// The failure of a store that is refused.
pub(super) fn refuse(path: &Path, what: &str) -> Failure {
    Failure::new(Exit::KeyStore, format!("key store {}: {what}", path.display()))
}

pub(super) fn io(path: &Path, what: &str, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Io, format!("key store {}: {what}: {}", path.display(), files::trouble(error)))
}

/// Makes the folder of a new store. It gets its name when everything in it is written; an existing store is never replaced.
pub(super) fn make(
    path: &Path,
    realm: Realm,
    fill: impl FnOnce(&StoreFolder) -> Result<SealedKeys, Failure>,
) -> Result<StoreFolder, Failure> {
    check_new(path, realm)?;
    // A slash at the end would put the name that is made first into the folder.
    let path = named(path)?;
    let next = make_next(path)?;
    let made = StoreFolder::lock(&next, StoreLock::Shared).and_then(|mut folder| {
        let keys = fill(&folder)?;
        let written = files::write_private(&next.join("keys"), &keys.file)
            .and_then(|()| folder.note(keys.generation))
            .and_then(|()| files::sync_folder(&next.join("keys")))
            .and_then(|()| std::fs::rename(&next, path));
        written.map_err(|e| io(path, "cannot be made", &e))?;
        folder.path = path.to_owned();
        Ok(folder)
    });
    match made {
        Ok(folder) => {
            sync_name(path);
            Ok(folder)
        }
        Err(failure) => {
            // Half a store is of no use.
            let _ = std::fs::remove_dir_all(&next);
            Err(Failure::new(failure.exit, format!("{}; nothing was made", failure.message)))
        }
    }
}

/// Makes the folder that is to become `path`, when everything in it is written.
pub(super) fn make_next(path: &Path) -> Result<PathBuf, Failure> {
    let next = sibling_path(path, "-next");
    DirBuilder::new().mode(0o700).create(&next).map_err(|e| match e.kind() {
        ErrorKind::AlreadyExists => {
            let what = "is in the way: remove it, unless another command is just writing it";
            refuse(path, &format!("{} {what}", next.display()))
        }
        _ => io(path, "cannot be made", &e),
    })?;
    Ok(next)
}

/// Makes a new folder's name durable. It is whole already.
pub(super) fn sync_name(path: &Path) {
    if let Err(error) = files::sync_folder(path) {
        let error = files::trouble(&error);
        tracing::warn!(error, "{} is made, but a power cut may undo its name", path.display());
    }
}

/// Refuses a path where no store can be made, before anybody is asked for anything.
pub(super) fn check_new(path: &Path, realm: Realm) -> Result<(), Failure> {
    let path = named(path)?;
    check_above(path)?;
    if realm == Realm::Live {
        files::check_way(path).map_err(|e| not_safe(path, &e))?;
    }
    if path.symlink_metadata().is_ok() {
        return Err(refuse(path, "exists already and is not replaced; name another, or remove it yourself"));
    }
    Ok(())
}

fn not_safe(path: &Path, error: &std::io::Error) -> Failure {
    match error.raw_os_error() {
        Some(_) => io(path, "its folder cannot be looked at", error),
        None => refuse(path, &error.to_string()),
    }
}

/// The path of a folder without a slash at its end, which would follow a link.
pub(super) fn named(path: &Path) -> Result<&Path, Failure> {
    let plain = path.components().as_path();
    // A folder called "." or ".." may be any folder.
    plain.file_name().map(|_| plain).ok_or_else(|| refuse(path, "call the folder by its own name"))
}

/// Refuses a folder in which another user could replace the store. A missing one is reported when the store is opened.
fn check_above(path: &Path) -> Result<(), Failure> {
    match files::check_folder_of(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(refuse(path, &error.to_string())),
        _ => Ok(()),
    }
}

impl StoreFolder {
    /// Opens the folder of a store, and locks it.
    pub(super) fn open(path: &Path, lock: StoreLock) -> Result<Self, Failure> {
        Self::lock(Self::unlocked(path)?.path(), lock)
    }

    /// Opens the folder of a store to copy it, or of a backup. It is not changed.
    pub(super) fn unlocked(path: &Path) -> Result<Self, Failure> {
        let path = named(path)?;
        let meta = path.symlink_metadata().map_err(|e| match e.kind() {
            ErrorKind::NotFound => {
                let what = "there is no such folder; `key init` makes one";
                Failure::new(Exit::Io, format!("key store {}: {what}", path.display()))
            }
            _ => io(path, "cannot be opened", &e),
        })?;
        if meta.is_symlink() {
            return Err(refuse(path, "it is a link: name the folder itself"));
        }
        if !meta.is_dir() {
            return Err(refuse(path, &upgrade::instead_of_folder(path)));
        }
        if meta.uid() != nix::unistd::geteuid().as_raw() {
            return Err(refuse(path, "it belongs to another user"));
        }
        if meta.mode() & 0o077 != 0 {
            return Err(refuse(path, "it is open to group or others; make it mode 0700 (chmod 700)"));
        }
        check_above(path)?;
        if path.join("keys").symlink_metadata().is_err() {
            return Err(refuse(path, NO_KEYS));
        }
        Ok(Self { path: path.to_owned(), lock: None })
    }

    fn lock(path: &Path, lock: StoreLock) -> Result<Self, Failure> {
        let file =
            files::open_private(&path.join("lock")).map_err(|e| io(path, "its lock cannot be opened", &e))?;
        let how = match lock {
            StoreLock::Shared => FlockArg::LockSharedNonblock,
            StoreLock::Alone => FlockArg::LockExclusiveNonblock,
        };
        let lock = Flock::lock(file, how).map_err(|(_, error)| match error {
            Errno::EWOULDBLOCK => {
                refuse(path, "another program has it open: end the line or command that uses it")
            }
            _ => io(path, "cannot be locked", &error.into()),
        })?;
        Ok(Self { path: path.to_owned(), lock: Some(lock) })
    }

    /// Refuses a folder that another user could replace: checks every folder above it, up to the root.
    pub(super) fn check_way(&self) -> Result<(), Failure> {
        files::check_way(&self.path).map_err(|e| not_safe(&self.path, &e))
    }

    /// Path of the folder.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads `keys`.
    pub(super) fn keys(&self) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let path = self.path.join("keys");
        let keys = files::read_private(&path, MAX_KEYS).map_err(|e| refuse(&path, &e.to_string()))?;
        keys.ok_or_else(|| refuse(&self.path, NO_KEYS))
    }

    /// Replaces `keys`, durably, wipes the old file, and notes its generation. `unnoted` is the next step for people if
    /// the generation cannot be noted.
    pub(super) fn write(&self, keys: &SealedKeys, unnoted: &str) -> Result<(), Failure> {
        if self.lock.is_none() {
            return Err(refuse(&self.path, "it is a backup, and stays as it is"));
        }
        let old = files::OldFile::open(&self.path.join("keys"));
        let next = self.path.join("keys.next");
        files::write_private(&next, &keys.file)
            .map_err(|e| io(&self.path, "cannot be written, and nothing was changed", &e))?;
        std::fs::rename(&next, self.path.join("keys")).map_err(|e| {
            // Nothing else uses it.
            let _ = std::fs::remove_file(&next);
            io(&self.path, "cannot be written, and nothing was changed", &e)
        })?;
        files::sync_folder(&next).map_err(|e| {
            let what = "the change is made, but a power cut may undo it, and the old file of keys is not overwritten: look at the \
                        disk, and give `key acts` after its repair";
            io(&self.path, what, &e)
        })?;
        old.wipe();
        self.note(keys.generation).map_err(|e| {
            let (path, trouble) = (self.path.display(), files::trouble(&e));
            let what = "keys is written, but the note of its generation, seen, is not";
            Failure::new(Exit::Io, format!("us: key store {path}: {what}: {trouble}; {unnoted}"))
        })
    }

    /// Refuses `keys` of this generation if a later one was there. The note may lack the last change, after a power cut: who
    /// has the store alone mends it.
    pub(super) fn check_generation(&self, generation: u64, lock: StoreLock) -> Result<(), Failure> {
        let seen = self.path.join("seen");
        let text = files::read_private(&seen, MAX_SEEN).map_err(|e| refuse(&seen, &e.to_string()))?;
        let known = text.as_deref().and_then(|bytes| generation_of(bytes)).ok_or_else(|| {
            refuse(&self.path, "its note of the last generation, seen, is missing or damaged: restore a backup to another folder, put the \
                 keys and seen of that store here, and leave the other files")
        })?;
        if known > generation {
            let what = format!(
                "keys is of generation {generation}, and the store was at {known}: somebody put an older file back. Put the \
                 newer one back; or restore a backup to another folder, put the keys and seen of that store here, and leave the \
                 other files"
            );
            return Err(refuse(&self.path, &what));
        }
        if known < generation && lock == StoreLock::Alone {
            if known + 1 < generation {
                tracing::warn!(known, generation, "the key store's note of its generation was old");
            }
            self.note(generation).map_err(|e| io(&self.path, "the note of its generation", &e))?;
        }
        Ok(())
    }

    fn note(&self, generation: u64) -> std::io::Result<()> {
        let text = lines::with_digest(&format!("{SEEN}{generation}\n"));
        files::replace_private(&self.path.join("seen"), &self.path.join("seen-next"), text.as_bytes())
    }
}

fn generation_of(seen: &[u8]) -> Option<u64> {
    let lines = lines::covered(std::str::from_utf8(seen).ok()?)?;
    lines.strip_prefix(SEEN)?.strip_suffix('\n')?.parse().ok()
}
