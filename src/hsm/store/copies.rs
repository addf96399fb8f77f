//! Backups of a store, and stores from backups.
//!
//! A backup is a folder with the files of a store: `keys`, the companions that there are, and the HSM's memory (`memory-N`,
//! `journal-N`, `chips`). It holds nothing that the
//! store's folder does not, so nobody is asked for it, and a host may have the store open. `seen` and locks are left out. Each
//! companion is copied while nobody may change it; if `keys` has changed meanwhile, all is copied again. Any other copy of a store's folder is a backup too.
//!
//! A store from a backup has the identifier and the custodians of that moment, and knows nothing of later changes. The people who
//! open it are shown that moment, and accept it.
//!
//! Not here: opening (`opening`).

use std::path::Path;

use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::acting::OpenStore;
use super::acts::{ActKind, CustodyAct};
use super::entry::StoreSide;
use super::folder::{self, StoreFolder, io, refuse};
use super::header::SealedFile;
use super::opening::LockedStore;
use super::{KeyStore, now, seal_of, sealed_with};
use crate::audit::ChainPlace;
use crate::exit::Failure;
use crate::files;
use crate::hsm::Realm;
use crate::hsm::audit_book::StoredAuditBook;
use crate::hsm::companion::{CompanionFile, CompanionKind};
use crate::hsm::memory;
use crate::sibling_path::sibling_path;

/// How often a backup is begun.
const ATTEMPTS: usize = 3;

/// What a backup holds.
#[derive(Debug)]
pub struct BackupMade {
    /// Identifier of the store, in hex.
    pub id: String,
    /// How often it had been changed.
    pub generation: u64,
    /// SHA-256 of `keys`, in hex.
    pub digest: String,
    /// TEST or LIVE.
    pub realm: Realm,
}

/// Copies the sealed files of a store into a new folder.
pub fn back_up(store: &Path, to: &Path) -> Result<BackupMade, Failure> {
    let folder = StoreFolder::unlocked(store)?;
    folder::check_new(to, Realm::Test)?;
    let to = folder::named(to)?;
    if lies_in(to, store) {
        return Err(refuse(to, "it would lie in the store itself: name a folder elsewhere"));
    }
    let next = folder::make_next(to)?;
    let made = copied(&folder, &next).and_then(|made| {
        files::sync_folder(&next.join("keys"))
            .and_then(|()| std::fs::rename(&next, to))
            .map_err(|e| io(to, "cannot be made", &e))?;
        Ok(made)
    });
    let made = made.inspect_err(|_| drop(std::fs::remove_dir_all(&next)))?;
    folder::sync_name(to);
    Ok(made)
}

/// Whether a new folder would lie in the folder of a store.
fn lies_in(new: &Path, store: &Path) -> bool {
    let above = std::path::absolute(new).ok().and_then(|new| new.parent()?.canonicalize().ok());
    above.zip(store.canonicalize().ok()).is_some_and(|(above, store)| above.starts_with(store))
}

fn copied(folder: &StoreFolder, to: &Path) -> Result<BackupMade, Failure> {
    for _ in 0..ATTEMPTS {
        let before = folder.keys()?;
        for kind in CompanionKind::ALL {
            let path = to.join(kind.name());
            match companion(folder, kind, true)? {
                Some(file) => {
                    files::write_private(&path, &file).map_err(|e| io(&path, "cannot be written", &e))?;
                }
                // There in an earlier attempt.
                None => drop(std::fs::remove_file(&path)),
            }
        }
        let whole = copy_memory(folder.path(), to)?;
        let keys = folder.keys()?;
        if before != keys || !whole {
            continue;
        }
        let header = SealedFile::read(&keys).map_err(|fault| fault.at(folder.path()))?.header;
        let path = to.join("keys");
        files::write_private(&path, &keys).map_err(|e| io(&path, "cannot be written", &e))?;
        return Ok(BackupMade {
            id: hex::encode_upper(header.id),
            generation: header.generation,
            digest: hex::encode_upper(Sha256::digest(&keys)),
            realm: header.realm(),
        });
    }
    Err(refuse(folder.path(), "it changed again and again while it was copied: try later"))
}

/// Copies the files of the HSM's memory as they lie there. While a host writes on, a copy of the journal ends with a record or
/// inside of one that was not answered yet. Returns false if the host goes over to other files meanwhile: then not all was copied, and is copied
/// again.
fn copy_memory(from: &Path, to: &Path) -> Result<bool, Failure> {
    let last = || memory::last_generation(from).map_err(|fault| refuse(from, &fault.to_string()));
    // Of an earlier attempt.
    if let Ok(Some(generation)) = memory::last_generation(to) {
        let names = memory::file_names(to, generation);
        names.iter().for_each(|name| drop(std::fs::remove_file(to.join(name))));
    }
    let Some(generation) = last()? else { return Ok(true) };
    for name in memory::file_names(from, generation) {
        let path = to.join(&name);
        match files::read_private(&from.join(&name), memory::FILE_MAX) {
            Ok(Some(file)) => {
                files::write_private(&path, &file).map_err(|e| io(&path, "cannot be written", &e))?;
            }
            // The host has just begun the files of its next snapshot: the caller copies again.
            Ok(None) if !memory::file_names(from, generation).contains(&name) => return Ok(false),
            Ok(None) if last()? != Some(generation) => return Ok(false),
            Ok(None) => return Err(refuse(&from.join(&name), "it is missing")),
            Err(e) => return Err(refuse(&from.join(&name), &e.to_string())),
        }
    }
    Ok(last()? == Some(generation))
}

/// Reads a companion as it lies there; `None` if there is none. With `locked`, a process that would change it waits meanwhile:
/// it wipes the file that it replaces, and a copy of that would hold zeros.
fn companion(
    folder: &StoreFolder,
    kind: CompanionKind,
    locked: bool,
) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
    let path = folder.path().join(kind.name());
    if path.symlink_metadata().is_err() {
        return Ok(None);
    }
    let lock = sibling_path(&path, "-lock");
    let _lock = match locked {
        true => {
            let file = files::open_private(&lock).map_err(|e| io(&lock, "cannot be opened", &e))?;
            let lock = Flock::lock(file, FlockArg::LockExclusive);
            Some(lock.map_err(|(_, error)| io(&path, "cannot be locked", &error.into()))?)
        }
        false => None,
    };
    files::read_private(&path, kind.most()).map_err(|e| refuse(&path, &e.to_string()))
}

impl LockedStore {
    /// Opens a backup. It is not changed, and not locked.
    pub fn of_backup(path: &Path) -> Result<Self, Failure> {
        let folder = StoreFolder::unlocked(path)?;
        let file = SealedFile::read(&folder.keys()?).map_err(|fault| fault.at(path))?;
        Ok(Self { folder, file })
    }
}

impl KeyStore {
    /// How far the ledgers had come that a bureau's audit book knows.
    pub fn ledgers(&self) -> Result<Vec<ChainPlace>, Failure> {
        match self.side() {
            StoreSide::Bureau => Ok(StoredAuditBook::of(&self.seal).places()?),
            StoreSide::Issuer => Ok(Vec::new()),
        }
    }
}

impl OpenStore {
    /// Makes a store at `path` of the backup that was opened.
    pub fn restored(mut self, path: &Path) -> Result<Self, Failure> {
        let note = format!("of generation {}", self.keys.generation());
        let acts = self.signed(vec![CustodyAct::of_store(now(), ActKind::Restored, note)]);
        let KeyStore { folder: backup, header, body, seal } = &mut self.keys;
        let folder = folder::make(path, header.realm(), |new| {
            for kind in CompanionKind::ALL {
                if let Some(file) = companion(backup, kind, false)? {
                    // It opens, or is missed now and not when it is needed.
                    let of_backup = CompanionFile::in_store(seal, kind);
                    if !of_backup.opens(&file) {
                        return Err(of_backup.damaged().into());
                    }
                    let path = new.path().join(kind.name());
                    files::write_private(&path, &file).map_err(|e| io(&path, "cannot be written", &e))?;
                }
            }
            copy_memory(backup.path(), new.path())?;
            if header.side == StoreSide::Bureau {
                // In the folder that is made: its memory must open too.
                StoredAuditBook::of(&seal_of(new.path(), header, body)).check()?;
            }
            sealed_with(path, header, body, &self.master, acts)
        })?;
        self.keys.seal = seal_of(folder.path(), &self.keys.header, &self.keys.body);
        self.keys.folder = folder;
        Ok(self)
    }
}
