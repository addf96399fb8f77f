//! The HSM's memory of ledgers: the audit key, how far each ledger had come, and which file went into which ledger. It
//! detects a ledger that was restored from a backup, and a file given to a second ledger.
//!
//! One file in the key store (`companion`), `audit`:
//!
//! ```text
//! cardwright audit book 1
//! generation N                          rises with every change
//! seed HEX                              of the audit key
//! head LEDGER N HASH                    for each ledger
//! file SHA-256 LEDGER                   for each accepted file: of "CWF1" | L1 issuer_id | L1 file_id, and of the file
//! ```
//!
//! Limit: an old ledger restored together with the book of that day hides the events between. Only copies of
//! checkpoints kept elsewhere (`audit export`) show them.
//!
//! Not here: what is signed (`crate::audit`).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use hex::FromHex;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::companion::{CompanionFile, CompanionKind, CompanionSeal};
use super::{AuditInfo, FileAdmission, HsmError};
use crate::audit::{AuditKey, ChainPlace, Checkpoint, DocumentKind, LedgerId, Signature};

const FIRST: &str = "cardwright audit book 1";

/// The book of a store.
pub(super) struct AuditBook(CompanionFile);

/// The lines of the book.
struct AuditEntries {
    generation: u64,
    seed: Zeroizing<[u8; 32]>,
    heads: BTreeMap<LedgerId, (u64, [u8; 32])>,
    files: BTreeMap<[u8; 32], LedgerId>,
}

fn fault(what: impl std::fmt::Display) -> HsmError {
    HsmError::Book(what.to_string())
}

impl AuditBook {
    /// The book of the store with this seal.
    pub(super) fn of(seal: &Arc<CompanionSeal>) -> Self {
        Self(CompanionFile::in_store(seal, CompanionKind::Audit))
    }

    /// Makes the book of a new store, with a new audit key.
    pub(super) fn make(seal: &Arc<CompanionSeal>) -> Result<(), HsmError> {
        Self::of(seal).0.write(AuditEntries::new()?.to_text())
    }

    /// Checks that the book exists and can be read.
    pub(super) fn check(&self) -> Result<(), HsmError> {
        self.with(|_| Ok(((), false)))
    }

    /// How far each ledger had come.
    pub(super) fn places(&self) -> Result<Vec<ChainPlace>, HsmError> {
        let Some(text) = self.0.read()? else { return Ok(Vec::new()) };
        let entries = AuditEntries::from_text(&text).ok_or_else(|| self.0.damaged())?;
        let places = entries.heads.into_iter().map(|(ledger, (n, hash))| ChainPlace { ledger, n, hash });
        Ok(places.collect())
    }

    /// Returns the last event noted of a ledger, and the public audit key.
    pub(super) fn info(&self, ledger: LedgerId) -> Result<AuditInfo, HsmError> {
        self.with(|entries| {
            let head = entries.heads.get(&ledger).map(|&(n, hash)| ChainPlace { ledger, n, hash });
            Ok((AuditInfo { key: entries.key().public(), generation: entries.generation, head }, false))
        })
    }

    /// Notes how far a ledger has come, and signs it. A place before the noted one is refused, and so is another hash
    /// for the same number: the ledger was rolled back.
    pub(super) fn checkpoint(&self, place: ChainPlace) -> Result<Checkpoint, HsmError> {
        self.with(|entries| {
            if let Some(&(n, hash)) = entries.heads.get(&place.ledger)
                && (place.n < n || place.n == n && place.hash != hash)
            {
                return Err(HsmError::RolledBack { ledger: place.ledger, known: n, shown: place.n });
            }
            entries.heads.insert(place.ledger, (place.n, place.hash));
            entries.generation += 1;
            Ok((entries.key().checkpoint(place, entries.generation), true))
        })
    }

    /// Notes that a file goes into a ledger. A file that went into another ledger is refused; noting it again for its
    /// own ledger is not.
    pub(super) fn admit(&self, file: &FileAdmission) -> Result<(), HsmError> {
        let mut name = Sha256::new_with_prefix(b"CWF1");
        for part in [file.issuer_id.as_str(), file.file_id.as_str()] {
            name.update([u8::try_from(part.len()).unwrap_or(u8::MAX)]);
            name.update(part);
        }
        self.note([name.finalize().into(), file.digest], file.ledger)
    }

    fn note(&self, names: [[u8; 32]; 2], ledger: LedgerId) -> Result<(), HsmError> {
        self.with(|entries| {
            if let Some(other) =
                names.iter().find_map(|name| entries.files.get(name).filter(|l| **l != ledger))
            {
                return Err(HsmError::FileElsewhere(*other));
            }
            let before = entries.files.len();
            entries.files.extend(names.iter().map(|name| (*name, ledger)));
            let changed = entries.files.len() != before;
            entries.generation += u64::from(changed);
            Ok(((), changed))
        })
    }

    /// Signs a document.
    pub(super) fn sign(
        &self,
        kind: DocumentKind,
        ledger: LedgerId,
        digest: &[u8; 32],
    ) -> Result<Signature, HsmError> {
        self.with(|entries| Ok((entries.key().document(kind, ledger, digest), false)))
    }

    /// Reads the book, alone, and writes it back if it changed.
    fn with<T>(
        &self,
        work: impl FnOnce(&mut AuditEntries) -> Result<(T, bool), HsmError>,
    ) -> Result<T, HsmError> {
        let _lock = self.0.lock()?;
        let missing = || {
            fault(format!(
                "{}: it is missing; `key init` made it with the store: restore it from a backup of the same day as the \
                 ledger's. A copy of a store without it is no store to work with",
                self.0.path().display()
            ))
        };
        let text = self.0.read()?.ok_or_else(missing)?;
        let mut entries = AuditEntries::from_text(&text).ok_or_else(|| self.0.damaged())?;
        let (result, changed) = work(&mut entries)?;
        if changed {
            self.0.write(entries.to_text())?;
        }
        Ok(result)
    }
}

impl AuditEntries {
    fn new() -> Result<Self, HsmError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed).map_err(|_| fault("the system gives no random numbers"))?;
        Ok(Self { generation: 0, seed, heads: BTreeMap::new(), files: BTreeMap::new() })
    }

    fn key(&self) -> AuditKey {
        AuditKey::from_seed(&self.seed)
    }

    fn to_text(&self) -> Zeroizing<String> {
        let room = 256 + self.heads.len() * 128 + self.files.len() * 128;
        let mut text = Zeroizing::new(String::with_capacity(room));
        let seed = Zeroizing::new(hex::encode_upper(self.seed.as_slice()));
        // Writing to a String does not fail.
        let _ = writeln!(text, "{FIRST}\ngeneration {}\nseed {}", self.generation, &**seed);
        for (ledger, (n, hash)) in &self.heads {
            let _ = writeln!(text, "head {ledger} {n} {}", hex::encode_upper(hash));
        }
        for (file, ledger) in &self.files {
            let _ = writeln!(text, "file {} {ledger}", hex::encode_upper(file));
        }
        text
    }

    fn from_text(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()? != FIRST {
            return None;
        }
        let generation = lines.next()?.strip_prefix("generation ")?.parse().ok()?;
        let mut seed = Zeroizing::new([0; 32]);
        hex::decode_to_slice(lines.next()?.strip_prefix("seed ")?, &mut *seed).ok()?;
        let (mut heads, mut files) = (BTreeMap::new(), BTreeMap::new());
        for line in lines {
            let mut words = line.split(' ');
            match (words.next()?, words.next()?, words.next()?, words.next()) {
                ("head", ledger, n, Some(hash)) => {
                    heads.insert(
                        LedgerId(<_>::from_hex(ledger).ok()?),
                        (n.parse().ok()?, <_>::from_hex(hash).ok()?),
                    );
                }
                ("file", file, ledger, None) => {
                    files.insert(<_>::from_hex(file).ok()?, LedgerId(<_>::from_hex(ledger).ok()?));
                }
                _ => return None,
            }
        }
        Some(Self { generation, seed, heads, files })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::hsm::companion::tests::seal;

    const A: LedgerId = LedgerId([0xA; 16]);
    const B: LedgerId = LedgerId([0xB; 16]);

    /// A new book of the store in this folder.
    fn made(folder: &tempfile::TempDir) -> AuditBook {
        let seal = seal(folder.path(), 1);
        AuditBook::make(&seal).unwrap();
        AuditBook::of(&seal)
    }

    fn place(ledger: LedgerId, n: u64, hash: u8) -> ChainPlace {
        ChainPlace { ledger, n, hash: [hash; 32] }
    }

    #[test]
    fn a_ledger_only_goes_forward() {
        let directory = tempfile::tempdir().unwrap();
        let book = made(&directory);
        let before = book.info(A).unwrap();
        assert_eq!((before.head, before.generation), (None, 0));
        let first = book.checkpoint(place(A, 7, 1)).unwrap();
        assert!(first.is_genuine() && first.key == before.key && first.generation == 1);
        // A place may be signed again, and later ones follow.
        assert_eq!(book.checkpoint(place(A, 7, 1)).unwrap().generation, 2);
        assert!(matches!(
            book.checkpoint(place(A, 7, 2)),
            Err(HsmError::RolledBack { known: 7, shown: 7, .. })
        ));
        assert!(matches!(
            book.checkpoint(place(A, 6, 1)),
            Err(HsmError::RolledBack { known: 7, shown: 6, .. })
        ));
        book.checkpoint(place(A, 8, 3)).unwrap();
        book.checkpoint(place(B, 1, 1)).unwrap();
        let again = AuditBook::of(&seal(directory.path(), 1)).info(A).unwrap();
        assert_eq!((again.head, again.generation, again.key), (Some(place(A, 8, 3)), 4, before.key));
        let mode = std::fs::metadata(directory.path().join("audit")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn it_is_made_with_the_store_and_never_anew() {
        let directory = tempfile::tempdir().unwrap();
        let missing = AuditBook::of(&seal(directory.path(), 1)).info(A);
        assert!(matches!(missing, Err(HsmError::Book(why)) if why.contains("missing")));
        assert!(!directory.path().join("audit").exists());
    }

    #[test]
    fn a_file_goes_into_one_ledger() {
        let directory = tempfile::tempdir().unwrap();
        let book = made(&directory);
        book.note([[1; 32], [2; 32]], A).unwrap();
        book.note([[1; 32], [2; 32]], A).unwrap();
        assert_eq!(book.info(A).unwrap().generation, 1);
        for names in [[[1; 32], [9; 32]], [[9; 32], [2; 32]]] {
            assert!(matches!(book.note(names, B), Err(HsmError::FileElsewhere(A))));
        }
        book.note([[9; 32], [8; 32]], B).unwrap();
    }

    #[test]
    fn a_damaged_book_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (book, path) = (made(&directory), directory.path().join("audit"));
        book.checkpoint(place(A, 7, 1)).unwrap();
        book.note([[1; 32], [2; 32]], A).unwrap();
        let good = std::fs::read(&path).unwrap();
        for at in (0..good.len()).step_by(7) {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            assert!(matches!(book.info(A), Err(HsmError::Book(_))), "{at}");
            std::fs::write(&path, &good[..at]).unwrap();
            assert!(matches!(book.info(A), Err(HsmError::Book(_))), "cut at {at}");
        }
        std::fs::write(&path, &good).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(book.info(A), Err(HsmError::Book(_))));
    }
}
