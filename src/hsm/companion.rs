//! The files that the HSM keeps for itself in the folder of its key store: mode 0600, one process at a time. Every change writes
//! a new file and renames it into place.
//!
//! ```text
//! "CWKC" | kind u8 | store id (16) | seed (16) | length u32 | lines of text, sealed | tag (16)
//! ```
//!
//! Sealed under the store's file key (`store`), so that a file belongs to its store and its kind. An older
//! file of that store opens too: a file that must not be put back is compared with a ledger. The first line names its kind.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::{Flock, FlockArg};
use zeroize::Zeroizing;

use super::memory::{JournalName, MemoryHome, MemoryKey};
use super::store::SealKey;
use super::{HsmError, Realm};
use crate::files;
use crate::sibling_path::sibling_path;

const MAGIC: &[u8; 4] = b"CWKC";
/// Makes the key of the HSM's memory of the file key.
const MEMORY: &[u8] = b"CWKS2 memory";
/// Bytes before the seed.
const HEAD: usize = 4 + 1 + 16;

/// The kinds of companions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompanionKind {
    /// The audit key of a bureau.
    Audit,
    /// The keys of the spools.
    Spools,
    /// The recipient's key.
    Recipient,
    /// The RSA keys of an issuer.
    Rsa,
    /// What the token of a bureau did.
    Token,
}

impl CompanionKind {
    /// Every kind, in the order of their numbers from 1.
    pub(super) const ALL: [Self; 5] = [Self::Audit, Self::Spools, Self::Recipient, Self::Rsa, Self::Token];

    /// Name of the file.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Spools => "spools",
            Self::Recipient => "recipient",
            Self::Rsa => "rsa",
            Self::Token => "token",
        }
    }

    /// Most bytes of the file: spools grow with every job, and earlier versions kept heads and files in audit.
    pub(super) fn most(self) -> u64 {
        if matches!(self, Self::Audit | Self::Spools) { 1 << 26 } else { 1 << 24 }
    }

    fn code(self) -> u8 {
        match self {
            Self::Audit => 1,
            Self::Spools => 2,
            Self::Recipient => 3,
            Self::Rsa => 4,
            Self::Token => 5,
        }
    }

    /// Makes an error of a fault of the file.
    fn fault(self, what: String) -> HsmError {
        match self {
            Self::Audit => HsmError::Book(what),
            Self::Spools => HsmError::Spools(what),
            Self::Recipient => HsmError::RecipientKey(what),
            Self::Rsa => HsmError::RsaBook(what),
            Self::Token => HsmError::Token(what),
        }
    }
}

/// What the companions of a store are sealed with. It has no `Debug`.
pub(super) struct CompanionSeal {
    folder: PathBuf,
    realm: Realm,
    store: [u8; 16],
    key: SealKey,
}

impl CompanionSeal {
    /// The seal of the store with this folder, realm, identifier and file key.
    pub(super) fn new(folder: &Path, realm: Realm, store: [u8; 16], key: SealKey) -> Self {
        Self { folder: folder.to_owned(), realm, store, key }
    }

    /// Where the HSM's memory of the store lies, and its key.
    pub(super) fn memory(&self) -> MemoryHome {
        MemoryHome {
            folder: self.folder.clone(),
            key: MemoryKey::of(&self.key.mac(&[MEMORY])),
            name: JournalName { realm: self.realm.code(), store: self.store, generation: 0 },
        }
    }

    fn label(kind: CompanionKind) -> [u8; 5] {
        let [a, b, c, d] = *MAGIC;
        [a, b, c, d, kind.code()]
    }

    fn seal(&self, kind: CompanionKind, text: &str) -> Option<Vec<u8>> {
        let head = [&Self::label(kind)[..], &self.store].concat();
        self.key.seal(&Self::label(kind), &head, text.as_bytes(), 0)
    }

    fn open(&self, kind: CompanionKind, file: &[u8]) -> Option<Zeroizing<String>> {
        let (label, rest) = file.split_first_chunk()?;
        if *label != Self::label(kind) || !rest.starts_with(&self.store) {
            return None;
        }
        let mut text = self.key.open(label, HEAD, file)?;
        // Authentic bytes were a text when they were sealed; the type asks for the check.
        String::from_utf8(std::mem::take(&mut *text)).ok().map(Zeroizing::new)
    }
}

/// A companion file of a key store.
pub(super) struct CompanionFile {
    path: PathBuf,
    kind: CompanionKind,
    seal: Arc<CompanionSeal>,
}

impl CompanionFile {
    /// The file of this kind; made with the first change.
    pub(super) fn in_store(seal: &Arc<CompanionSeal>, kind: CompanionKind) -> Self {
        Self { path: seal.folder.join(kind.name()), kind, seal: Arc::clone(seal) }
    }

    /// Path of the file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether these bytes are such a file.
    pub(super) fn opens(&self, bytes: &[u8]) -> bool {
        self.seal.open(self.kind, bytes).is_some()
    }

    /// Locks the file against other processes until the returned lock is dropped.
    pub(super) fn lock(&self) -> Result<Flock<File>, HsmError> {
        let path = sibling_path(&self.path, "-lock");
        let lock = files::open_private(&path);
        let lock = lock.map_err(|e| self.fault(format!("its lock cannot be made: {e}")))?;
        Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, e)| self.fault(e.to_string()))
    }

    /// Reads its lines; `None` if there is no file.
    pub(super) fn read(&self) -> Result<Option<Zeroizing<String>>, HsmError> {
        let file = files::read_private(&self.path, self.kind.most());
        let Some(file) = file.map_err(|e| self.fault(e.to_string()))? else { return Ok(None) };
        self.seal.open(self.kind, &file).map(Some).ok_or_else(|| self.damaged())
    }

    /// Replaces its lines, durably.
    pub(super) fn write(&self, text: Zeroizing<String>) -> Result<(), HsmError> {
        let sealed = self.seal.seal(self.kind, &text);
        let sealed = sealed.ok_or_else(|| self.fault("the system gives no random numbers".into()))?;
        // One that is larger would not be read again.
        if u64::try_from(sealed.len()).is_ok_and(|length| length > self.kind.most()) {
            return Err(self.fault("it is full".into()));
        }
        files::replace_private(&self.path, &sibling_path(&self.path, "-next"), &sealed)
            .map_err(|e| self.fault(format!("it cannot be written: {e}")))
    }

    /// Like [`Self::write`], then wipes the old file ([`files::OldFile`]).
    pub(super) fn replace(&self, text: Zeroizing<String>) -> Result<(), HsmError> {
        let old = files::OldFile::open(&self.path);
        self.write(text)?;
        old.wipe();
        Ok(())
    }

    /// The error for a file whose seal or lines are wrong.
    pub(super) fn damaged(&self) -> HsmError {
        self.fault("it is damaged; restore it from a backup of the same day as the ledger's".into())
    }

    fn fault(&self, what: String) -> HsmError {
        self.kind.fault(format!("{}: {what}", self.path.display()))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The seal of a store in this folder, the same for each call with the same number.
    pub(in crate::hsm) fn seal(folder: &Path, store: u8) -> Arc<CompanionSeal> {
        Arc::new(CompanionSeal::new(folder, Realm::Test, [store; 16], SealKey::of(&[7; 32])))
    }

    #[test]
    fn the_old_file_is_overwritten_unless_a_backup_of_links_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let kept = folder.path().join("backup");
        let seal = seal(folder.path(), 1);
        let file = CompanionFile::in_store(&seal, CompanionKind::Spools);
        let text = |text: &str| Zeroizing::new(text.to_owned());
        file.write(text("one\n")).unwrap();
        let old = File::open(file.path()).unwrap();
        file.replace(text("two\n")).unwrap();
        let read = std::io::read_to_string(old).unwrap();
        assert!(!read.is_empty() && read.bytes().all(|byte| byte == 0), "the file without a name");
        std::fs::hard_link(file.path(), &kept).unwrap();
        file.replace(text("three\n")).unwrap();
        let backup = seal.open(CompanionKind::Spools, &std::fs::read(&kept).unwrap());
        assert_eq!(backup.unwrap().as_str(), "two\n");
        assert_eq!(file.read().unwrap().unwrap().as_str(), "three\n");
    }

    #[test]
    fn a_file_opens_in_its_store_as_its_kind_only() {
        let folder = tempfile::tempdir().unwrap();
        let own = seal(folder.path(), 1);
        let file = own.seal(CompanionKind::Spools, "lines\n").unwrap();
        assert_eq!(own.open(CompanionKind::Spools, &file).unwrap().as_str(), "lines\n");
        assert!(seal(folder.path(), 2).open(CompanionKind::Spools, &file).is_none(), "another store");
        for kind in [CompanionKind::Audit, CompanionKind::Recipient, CompanionKind::Rsa] {
            assert!(own.open(kind, &file).is_none(), "{kind:?}");
            let mut called = file.clone();
            called[4] = kind.code();
            assert!(own.open(kind, &called).is_none(), "called {kind:?}");
        }
    }
}
