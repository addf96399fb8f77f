//! The key store: the folder that holds keys at rest, and the keys in memory while a process needs them.
//!
//! Only TEST stores so far: they open without a passphrase, protect nothing, and are good for nothing else. The format is that
//! of LIVE stores too, which this version refuses. A bureau's store refuses issuers' keys: they never leave the issuer.
//!
//! ```text
//! folder ── keys ── header ── seal ── body ── entry, acts
//! list, body ──> rules ──> entry               every key, whatever the way it comes
//! ```
//!
//! `folder` is the folder and its lock, `header` and `body` are the format of its file `keys`, `seal` seals it and the companions,
//! `entry` is one key, `rules` admits it, `doubt` looks for weak values, `list` reads the key list (TOML), `acts` is what was
//! done, `upgrade` reads stores of version 1.
//! Not here: what keys do (`soft`, `scp`, `prep`).

mod acts;
mod body;
mod doubt;
mod entry;
mod folder;
mod header;
mod lines;
mod list;
mod rules;
mod seal;
mod upgrade;

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use zeroize::Zeroizing;

pub use acts::{ActKind, CustodyAct};
pub use body::GoneKey;
use body::StoreBody;
pub use doubt::KeyDoubt;
pub use entry::{KekRules, KeyOrigin, KeyUsage, SecretEntry, StoreSide};
use folder::{SealedKeys, StoreFolder, StoreLock};
use header::StoreHeader;
pub(super) use seal::SealKey;
pub use upgrade::TakenOver;

use super::Realm;
use super::audit_book::AuditBook;
pub use super::companion::CompanionKind;
use super::companion::{CompanionFile, CompanionSeal};
use super::recipient::RecipientKey;
use crate::exit::{Exit, Failure};
use crate::ids::{KekId, KmcRef};

/// An open key store, locked while it lives. It has no `Debug`, and key values are zeroized when it is dropped.
pub struct KeyStore {
    folder: StoreFolder,
    header: StoreHeader,
    body: StoreBody,
    seal: Arc<CompanionSeal>,
}

impl KeyStore {
    /// Reads a key list (TOML), checks every rule, and writes it to a new TEST store at `path`. An existing one is never
    /// replaced: a KEKID has one value for ever. A bureau's store gets its audit book.
    pub fn create_test(toml_text: &str, path: &Path, side: StoreSide) -> Result<Self, Failure> {
        Self::make(path, side, toml_text, (ActKind::Made, ""), |seal| match side {
            StoreSide::Bureau => Ok(AuditBook::make(seal)?),
            StoreSide::Issuer => Ok(()),
        })
    }

    /// Takes a TEST store of version 1 and the files beside it over into a new store at `path`. No line may use the old one:
    /// what it writes from now on is not in the new one.
    pub fn upgrade(old: &Path, path: &Path, side: StoreSide) -> Result<(Self, TakenOver), Failure> {
        let earlier = upgrade::read(old)?;
        if earlier.side != side {
            let program = match earlier.side {
                StoreSide::Bureau => "cardwright",
                StoreSide::Issuer => "cardwright-prep",
            };
            let what =
                format!("it is the {}'s: use the {}'s program ({program})", earlier.side, earlier.side);
            return Err(folder::refuse(old, &what));
        }
        let taken = earlier.taken_over();
        let store = Self::make(path, side, &earlier.list, (ActKind::Upgraded, &taken.note()), |seal| {
            for (kind, text) in earlier.companions {
                CompanionFile::in_store(seal, kind).write(text)?;
            }
            Ok(())
        })?;
        Ok((store, taken))
    }

    /// Makes a store of a key list.
    fn make(
        path: &Path,
        side: StoreSide,
        list: &str,
        (act, note): (ActKind, &str),
        companions: impl FnOnce(&Arc<CompanionSeal>) -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        let mut header = StoreHeader::draw(side).map_err(|_| no_random())?;
        let mut body = StoreBody::draw().map_err(|_| no_random())?;
        list::read(list, now(), side, &mut body)?;
        let folder = folder::make(path, |folder| {
            companions(&seal_of(folder, &header, &body))?;
            next(path, &mut header, &mut body, act, note)
        })?;
        let seal = seal_of(&folder, &header, &body);
        Ok(Self { folder, header, body, seal })
    }

    /// Opens a TEST store to use its keys: owner, mode, version, digest and seal must be right, and every rule is checked again.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        Self::open_as(path, StoreLock::Shared)
    }

    fn open_as(path: &Path, lock: StoreLock) -> Result<Self, Failure> {
        let folder = StoreFolder::open(path, lock)?;
        let keys = folder.keys()?;
        let (header, body) = StoreHeader::open(&keys).map_err(|fault| fault.at(path))?;
        let body = StoreBody::read(&body, header.side).map_err(|fault| fault.at(path))?;
        folder.check_generation(header.generation, lock)?;
        let seal = seal_of(&folder, &header, &body);
        Ok(Self { folder, header, body, seal })
    }

    /// Returns the recipient to which files for the owner of a store are sealed (`age1...`). Its key is made the first time, by
    /// who has the store alone.
    pub fn recipient(path: &Path) -> Result<String, Failure> {
        if let Some(known) = RecipientKey::of(&Self::open(path)?.seal).public()? {
            return Ok(known);
        }
        let mut store = Self::open_as(path, StoreLock::Alone)?;
        let recipient = RecipientKey::of(&store.seal);
        if let Some(known) = recipient.public()? {
            return Ok(known);
        }
        if store.acts().iter().any(|act| act.kind == ActKind::Recipient) {
            tracing::warn!("an earlier recipient's key is not there: files sealed to it do not open");
        }
        let (public, text) = RecipientKey::draw();
        // First the record: a key whose making is nowhere recorded is worse than a record of a key that was not kept.
        let keys =
            next(store.folder.path(), &mut store.header, &mut store.body, ActKind::Recipient, &public)?;
        store.folder.write(&keys, "give the command again")?;
        recipient.keep(text)?;
        Ok(public)
    }

    /// Checks a bureau's audit book and, if there is one, the recipient's key. Not the issuer's RSA keys.
    pub fn check_companions(&self) -> Result<(), Failure> {
        if self.side() == StoreSide::Bureau {
            AuditBook::of(&self.seal).check()?;
        }
        RecipientKey::of(&self.seal).public()?;
        Ok(())
    }

    /// The text of a companion of a TEST store, which protects nothing; `None` if it is not there. For tests: no program
    /// shows it.
    pub fn companion_text(&self, kind: CompanionKind) -> Result<Option<Zeroizing<String>>, Failure> {
        Ok(CompanionFile::in_store(&self.seal, kind).read()?)
    }

    /// What the HSM's own files in the store are sealed with.
    pub(super) fn companions(&self) -> &Arc<CompanionSeal> {
        &self.seal
    }

    /// TEST, so far always.
    pub fn realm(&self) -> Realm {
        Realm::Test
    }

    /// Whether it is a bureau's or an issuer's store.
    pub fn side(&self) -> StoreSide {
        self.header.side
    }

    /// How often it was changed.
    pub fn generation(&self) -> u64 {
        self.header.generation
    }

    /// Every key, in the order of the list.
    pub fn entries(&self) -> &[SecretEntry] {
        &self.body.entries
    }

    /// The keys that were destroyed.
    pub fn gone(&self) -> &[GoneKey] {
        &self.body.gone
    }

    /// What was done with the store, in order.
    pub fn acts(&self) -> &[CustodyAct] {
        &self.body.acts
    }

    /// A key encryption key with its rules.
    pub fn kek(&self, id: KekId) -> Option<(&SecretEntry, &KekRules)> {
        self.entries().iter().find_map(|e| e.kek().filter(|rules| rules.id == id).map(|rules| (e, rules)))
    }

    /// A supplier's master key.
    pub fn kmc(&self, kmc: KmcRef) -> Option<&SecretEntry> {
        self.entries().iter().find(|e| e.kmc() == Some(kmc))
    }

    /// A key by usage and id (hex, either case). Without a version it must be the only one.
    ///
    /// Fails with [`Exit::KeyUnknown`] and names the key that is missing, or says that several versions exist.
    pub fn key(&self, usage: KeyUsage, id: &str, version: Option<u8>) -> Result<&SecretEntry, Failure> {
        let mut found = self.entries().iter().filter(|e| {
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

/// The next file `keys` of a store, with one act more.
fn next(
    path: &Path,
    header: &mut StoreHeader,
    body: &mut StoreBody,
    act: ActKind,
    note: &str,
) -> Result<SealedKeys, Failure> {
    header.written = now();
    let last = || folder::refuse(path, "its generation cannot rise any more: make a new store");
    header.generation = header.generation.checked_add(1).ok_or_else(last)?;
    body.acts.push(CustodyAct::of_store(header.written, act, note));
    let too_much = || folder::refuse(path, "it holds too much: make a new one of a shorter list");
    let keys = header.seal(&body.write().ok_or_else(too_much)?).ok_or_else(no_random)?;
    SealedKeys::new(header.generation, keys).ok_or_else(too_much)
}

fn seal_of(folder: &StoreFolder, header: &StoreHeader, body: &StoreBody) -> Arc<CompanionSeal> {
    Arc::new(CompanionSeal::new(folder.path(), header.id, SealKey::of(body.file_key.expose())))
}

fn no_random() -> Failure {
    Failure::new(Exit::Io, "us: the system gives no random numbers")
}

/// Unix time in seconds.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
