//! The key store: the folder that holds keys at rest, and the keys in memory while a process needs them.
//!
//! A TEST store opens without a passphrase, protects nothing, and is good for nothing else. A LIVE store opens when m of its n
//! custodians give their passphrases; this version has commands about it, and no line that uses one. Both have one format. A
//! bureau's store refuses issuers' keys: they never leave the issuer.
//!
//! ```text
//! opening ──> folder ── keys ── header (custodians) ── seal ── body ── entry, acts
//! acting, ceremony ───> change ──> body         an act: one change, its records, one writing
//! list, body, ceremony, change ──> rules ──> entry      every key, in whatever way it comes
//! ```
//!
//! `folder` is the folder and its lock, `header` and `body` are the format of its file `keys`, `custodians` share its master key,
//! `seal` seals it and the companions, `entry` is one key, `rules` admits it, `doubt` looks for weak values, `list` reads the key
//! list (TOML), `opening` asks custodians, `acting` does what they want, `ceremony` takes keys in
//! components (`pending`) and key blocks (`block_rules`), `acts` is what was done, `copies` makes backups and puts
//! them back, `upgrade` reads stores of version 1.
//! Not here: what keys do (`soft`, `scp`, `prep`), the terminal (`cli`).

mod acting;
mod acts;
mod block_rules;
mod body;
mod ceremony;
mod change;
mod copies;
mod custodians;
mod doubt;
mod entry;
mod folder;
mod header;
mod lines;
mod list;
mod opening;
mod pending;
mod rules;
mod seal;
mod upgrade;

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use zeroize::Zeroizing;

pub use acting::OpenStore;
pub use acts::{ActKind, CustodyAct};
pub use block_rules::read_block;
pub use body::GoneKey;
use body::StoreBody;
pub use ceremony::ArrivedKey;
pub use copies::{BackupMade, back_up};
use custodians::Custody;
pub use custodians::NewCustodians;
pub use doubt::KeyDoubt;
pub use entry::{KekRules, KeyOrigin, KeyTerms, KeyUsage, SecretEntry, StoreSide};
use folder::{SealedKeys, StoreFolder, StoreLock};
use header::StoreHeader;
pub use opening::{Collecting, Given, LockedStore};
pub use pending::{KeyComponent, PendingKey};
pub(super) use seal::SealKey;
pub use upgrade::TakenOver;

use super::Realm;
use super::audit_book::StoredAuditBook;
pub use super::companion::CompanionKind;
use super::companion::{CompanionFile, CompanionSeal};
use super::pkcs11::TokenKeyTerms;
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
        let act = CustodyAct::of_store(now(), ActKind::Made, "");
        Self::of_list(toml_text, path, side, act, |seal| audit_book(side, seal))
    }

    /// Takes a TEST store of version 1 and the files beside it over into a new store at `path`. No line may use the old one:
    /// the new one has nothing that it writes from now on.
    pub fn upgrade(old: &Path, path: &Path, side: StoreSide) -> Result<(Self, TakenOver), Failure> {
        let earlier = upgrade::read(old)?;
        if earlier.side != side {
            return Err(opening::other_side(old, earlier.side));
        }
        let taken = earlier.taken_over();
        let act = CustodyAct::of_store(now(), ActKind::Upgraded, taken.note());
        let store = Self::of_list(&earlier.list, path, side, act, |seal| {
            for (kind, text) in earlier.companions {
                CompanionFile::in_store(seal, kind).write(text)?;
            }
            match side {
                StoreSide::Bureau => Ok(StoredAuditBook::of(seal).take_over()?),
                StoreSide::Issuer => Ok(()),
            }
        })?;
        Ok((store, taken))
    }

    /// Refuses a path where no store can be made, before custodians are asked.
    pub fn check_new(path: &Path, realm: Realm) -> Result<(), Failure> {
        folder::check_new(path, realm)
    }

    /// Makes a LIVE store without keys, which these custodians open. A bureau's store gets its audit book.
    pub fn create_live(path: &Path, side: StoreSide, new: &NewCustodians) -> Result<OpenStore, Failure> {
        let (id, master) = (drawn()?, SealKey::draw().map_err(|_| no_random())?);
        let custody = new.custody(&id, &master).ok_or_else(no_random)?;
        let mut header = StoreHeader::draw(side, id, custody);
        let mut body = StoreBody::draw().map_err(|_| no_random())?;
        let mut act = CustodyAct::of_store(now(), ActKind::Made, header.custody.note());
        act.by = new.names().to_vec();
        let folder = folder::make(path, Realm::Live, |folder| {
            audit_book(side, &seal_of(folder.path(), &header, &body))?;
            sealed_with(path, &mut header, &mut body, &master, vec![act])
        })?;
        Ok(OpenStore::new(Self::of(folder, header, body), master, new.names().to_vec(), String::new()))
    }

    /// Makes a TEST store of a key list.
    fn of_list(
        list: &str,
        path: &Path,
        side: StoreSide,
        act: CustodyAct,
        companions: impl FnOnce(&Arc<CompanionSeal>) -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        let custody = Custody::none().map_err(|_| no_random())?;
        let mut header = StoreHeader::draw(side, drawn()?, custody);
        let master = SealKey::draw().map_err(|_| no_random())?;
        let mut body = StoreBody::draw().map_err(|_| no_random())?;
        list::read(list, now(), side, &mut body)?;
        let folder = folder::make(path, Realm::Test, |folder| {
            companions(&seal_of(folder.path(), &header, &body))?;
            sealed_with(path, &mut header, &mut body, &master, vec![act])
        })?;
        Ok(Self::of(folder, header, body))
    }

    fn of(folder: StoreFolder, header: StoreHeader, body: StoreBody) -> Self {
        let seal = seal_of(folder.path(), &header, &body);
        Self { folder, header, body, seal }
    }

    /// Opens a TEST store to use its keys: owner, mode, version, digest and seal must be right, and every rule is checked again.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let locked = LockedStore::locked(path, StoreLock::Shared)?;
        match locked.realm() {
            Realm::Test => Ok(locked.open_test()?.keys),
            Realm::Live => Err(opening::only_by_command(path)),
        }
    }

    /// Checks a bureau's audit book and, if there is one, the recipient's key. Not the issuer's RSA keys.
    pub fn check_companions(&self) -> Result<(), Failure> {
        if self.side() == StoreSide::Bureau {
            StoredAuditBook::of(&self.seal).check()?;
        }
        RecipientKey::of(&self.seal).public()?;
        Ok(())
    }

    /// The recipient to which files for the owner are sealed (`age1...`), if its key was made.
    pub fn known_recipient(&self) -> Result<Option<String>, Failure> {
        Ok(RecipientKey::of(&self.seal).public()?)
    }

    /// The text of a companion of a TEST store, which protects nothing; `None` if it is not there; the whole audit book. For
    /// tests: no program shows it.
    pub fn companion_text(&self, kind: CompanionKind) -> Result<Option<Zeroizing<String>>, Failure> {
        if self.realm() == Realm::Live {
            return Err(folder::refuse(self.folder.path(), "it is LIVE, and shows nothing"));
        }
        match kind {
            CompanionKind::Audit => Ok(Some(StoredAuditBook::of(&self.seal).text()?)),
            _ => Ok(CompanionFile::in_store(&self.seal, kind).read()?),
        }
    }

    /// What the HSM's own files in the store are sealed with.
    pub(super) fn companions(&self) -> &Arc<CompanionSeal> {
        &self.seal
    }

    /// TEST or LIVE.
    pub fn realm(&self) -> Realm {
        self.header.realm()
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

    /// The keys whose values lie in a token.
    pub fn token_keys(&self) -> impl Iterator<Item = TokenKeyTerms> {
        self.entries().iter().filter_map(|entry| {
            entry.token_object().map(|object| TokenKeyTerms {
                label: entry.label().to_owned(),
                object: object.to_owned(),
                key_type: entry.key_type(),
                kcv: entry.kcv(),
                is_kmc: entry.kmc().is_some(),
            })
        })
    }

    /// The keys of which components are missing.
    pub fn pending(&self) -> &[PendingKey] {
        &self.body.pending
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

/// The next file `keys` of a store, with these acts more.
fn sealed_with(
    path: &Path,
    header: &mut StoreHeader,
    body: &mut StoreBody,
    master: &SealKey,
    acts: Vec<CustodyAct>,
) -> Result<SealedKeys, Failure> {
    header.written = acts.last().map_or_else(now, |act| act.time);
    let last = || folder::refuse(path, "its generation cannot rise any more: make a new store");
    header.generation = header.generation.checked_add(1).ok_or_else(last)?;
    body.acts.extend(acts);
    let too_much = || folder::refuse(path, "it holds too much: make a new one with less in it");
    let written = body.write().ok_or_else(too_much)?;
    // A file that does not open would cost every key.
    StoreBody::read(&written, header.rules()).map_err(|_| {
        folder::refuse(
            path,
            "us: it would not open again after this change, so nothing was changed: report it",
        )
    })?;
    let keys = header.seal(master, &written).ok_or_else(no_random)?;
    SealedKeys::new(header.generation, keys).ok_or_else(too_much)
}

fn seal_of(folder: &Path, header: &StoreHeader, body: &StoreBody) -> Arc<CompanionSeal> {
    Arc::new(CompanionSeal::new(folder, header.realm(), header.id, SealKey::of(body.file_key.expose())))
}

/// Makes the audit book of a new store that needs one.
fn audit_book(side: StoreSide, seal: &Arc<CompanionSeal>) -> Result<(), Failure> {
    match side {
        StoreSide::Bureau => Ok(StoredAuditBook::of(seal).make()?),
        StoreSide::Issuer => Ok(()),
    }
}

/// A new identifier of a store.
fn drawn() -> Result<[u8; 16], Failure> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|_| no_random())?;
    Ok(id)
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
