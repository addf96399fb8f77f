//! The key store: the file that holds keys at rest, and the keys in memory while a process needs them.
//!
//! Only TEST stores so far: they open without a passphrase and are good for nothing else. A LIVE store needs custody
//! (components, two people, a sealed file) and is refused. A bureau's store refuses issuers' keys: they never leave the
//! issuer.
//!
//! `entry` is one key, `doubt` looks for weak values, `list` reads the key list (TOML) and holds its rules, `file` reads and writes the file.
//! Not here: what keys do (`soft`, `scp`, `prep`).

mod doubt;
mod entry;
mod file;
mod list;

use std::path::{Path, PathBuf};

pub use doubt::KeyDoubt;
pub use entry::{KekRules, KeyUsage, SecretEntry, StoreSide};

use super::Realm;
use super::audit_book::AuditBook;
use super::recipient::RecipientKey;
use crate::exit::{Exit, Failure};
use crate::ids::{KekId, KmcRef};

/// An open key store. It has no `Debug`, and key values are zeroized when it is dropped.
pub struct KeyStore {
    path: PathBuf,
    side: StoreSide,
    entries: Vec<SecretEntry>,
}

impl KeyStore {
    /// Reads a key list (TOML), checks every rule, and writes it to a new TEST store at `path`, mode 0600. An
    /// existing file is never replaced: a KEKID has one value for ever. A bureau's store gets its audit book next to
    /// it.
    pub fn create_test(toml_text: &str, path: &Path, side: StoreSide) -> Result<Self, Failure> {
        let entries = list::parse(toml_text, side)?;
        file::check_folder(path)?;
        if side == StoreSide::Bureau && !path.exists() {
            AuditBook::make(path)?;
        }
        file::create(path, side, toml_text)?;
        Ok(Self { path: path.to_owned(), side, entries })
    }

    /// Opens a TEST store: its owner, mode, version and digest must be right, and every rule is checked again.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let (side, text) = file::read(path)?;
        Ok(Self { path: path.to_owned(), side, entries: list::parse(&text, side)? })
    }

    /// Checks a bureau's audit book and, if there is one, the recipient's key next to the store. Not the issuer's RSA keys.
    pub fn check_beside(&self) -> Result<(), Failure> {
        if self.side == StoreSide::Bureau {
            AuditBook::beside(&self.path).check()?;
        }
        Ok(RecipientKey::beside(&self.path).check()?)
    }

    /// TEST, so far always.
    pub fn realm(&self) -> Realm {
        Realm::Test
    }

    /// Path of its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is a bureau's or an issuer's store.
    pub fn side(&self) -> StoreSide {
        self.side
    }

    /// Every key, in the order of the list.
    pub fn entries(&self) -> &[SecretEntry] {
        &self.entries
    }

    /// A key encryption key with its rules.
    pub fn kek(&self, id: KekId) -> Option<(&SecretEntry, &KekRules)> {
        self.entries.iter().find_map(|e| e.kek().filter(|rules| rules.id == id).map(|rules| (e, rules)))
    }

    /// A supplier's master key.
    pub fn kmc(&self, kmc: KmcRef) -> Option<&SecretEntry> {
        self.entries.iter().find(|e| e.kmc() == Some(kmc))
    }

    /// A key by usage and id (hex, either case). Without a version it must be the only one.
    ///
    /// Fails with [`Exit::KeyUnknown`] and names the key that is missing, or says that several versions exist.
    pub fn key(&self, usage: KeyUsage, id: &str, version: Option<u8>) -> Result<&SecretEntry, Failure> {
        let mut found = self.entries.iter().filter(|e| {
            e.usage() == usage
                && e.id().eq_ignore_ascii_case(id)
                && version.is_none_or(|wanted| wanted == e.version())
        });
        let missing = |what: String| Err(Failure::new(Exit::KeyUnknown, what));
        match (found.next(), found.next()) {
            (Some(entry), None) => Ok(entry),
            (None, _) => {
                let version = version.map_or(String::new(), |v| format!(" version {v}"));
                missing(format!("key: the key store holds no {usage} {id}{version}; import it"))
            }
            (Some(_), Some(_)) => {
                missing(format!("key: the key store holds several versions of {usage} {id}; name one"))
            }
        }
    }
}

#[cfg(test)]
mod tests;
