//! Opening a store: the lock first, then its custodians one after the other.
//!
//! ```text
//! LockedStore ── TEST ────────────────────────────► OpenStore
//!      │                                                ▲
//!      └── Collecting ── give(name, passphrase) × m ────┘
//! ```
//!
//! A wrong passphrase makes its process wait; the fifth ends the opening. The store's lock is held meanwhile, so that no other
//! process guesses at the same time. The names given for a TEST store are not proved: its file alone opens it.
//!
//! Not here: prompts and the waiting itself (`cli`), what is done with an open store (`acting`).

use std::path::Path;
use std::time::Duration;

use super::KeyStore;
use super::acting::OpenStore;
use super::body::StoreBody;
use super::custodians::{KeyShare, is_name};
use super::entry::StoreSide;
use super::folder::{StoreFolder, StoreLock, refuse};
use super::header::SealedFile;
use super::seal::SealKey;
use crate::exit::{Exit, Failure};
use crate::hsm::Realm;

/// Custodians who are named for an act on a TEST store.
const TEST_CUSTODIANS: u8 = 2;
/// Wrong passphrases that end an opening.
const WRONG_MAX: u32 = 5;

/// A store that this process has locked and nobody has opened.
pub struct LockedStore {
    pub(super) folder: StoreFolder,
    pub(super) file: SealedFile,
}

impl LockedStore {
    /// Locks a store to read it. A LIVE one is locked for this process alone.
    pub fn to_read(path: &Path) -> Result<Self, Failure> {
        let shared = Self::locked(path, StoreLock::Shared)?;
        if shared.realm() == Realm::Test {
            return Ok(shared);
        }
        drop(shared);
        Self::to_change(path)
    }

    /// Locks a store for this process alone.
    pub fn to_change(path: &Path) -> Result<Self, Failure> {
        Self::locked(path, StoreLock::Alone)
    }

    pub(super) fn locked(path: &Path, lock: StoreLock) -> Result<Self, Failure> {
        let folder = StoreFolder::open(path, lock)?;
        let keys = folder.keys()?;
        let file = SealedFile::read(&keys).map_err(|fault| fault.at(path))?;
        if file.header.realm() == Realm::Live {
            folder.check_way()?;
        }
        folder.check_generation(file.header.generation, lock)?;
        Ok(Self { folder, file })
    }

    /// TEST or LIVE.
    pub fn realm(&self) -> Realm {
        self.file.header.realm()
    }

    /// Whether it is a bureau's or an issuer's store.
    pub fn side(&self) -> StoreSide {
        self.file.header.side
    }

    /// Its identifier, in hex.
    pub fn id(&self) -> String {
        hex::encode_upper(self.file.header.id)
    }

    /// Refuses a store of the other side than the program's.
    pub fn of_side(self, side: StoreSide) -> Result<Self, Failure> {
        if self.side() == side { Ok(self) } else { Err(other_side(self.folder.path(), self.side())) }
    }

    /// How often it was changed.
    pub fn generation(&self) -> u64 {
        self.file.header.generation
    }

    /// When it was changed last: Unix time in seconds.
    pub fn written(&self) -> u64 {
        self.file.header.written
    }

    /// How many custodians are asked for an act.
    pub fn threshold(&self) -> u8 {
        match self.realm() {
            Realm::Test => TEST_CUSTODIANS,
            Realm::Live => self.file.header.custody.threshold(),
        }
    }

    /// The names of its custodians; a TEST store has none.
    pub fn custodians(&self) -> Vec<String> {
        self.file.header.custody.names().map(str::to_owned).collect()
    }

    /// Opens a TEST store for an act that names nobody. A LIVE one needs its custodians.
    pub fn open_test(mut self) -> Result<OpenStore, Failure> {
        match self.file.master.take() {
            Some(master) => self.opened(master, Vec::new(), String::new()),
            None => Err(too_few("a LIVE store opens with its custodians")),
        }
    }

    /// Begins to ask its custodians.
    pub fn collect(self) -> Collecting {
        Collecting { locked: self, shares: Vec::new(), names: Vec::new(), wrong: Vec::new() }
    }

    fn opened(self, master: SealKey, by: Vec<String>, wrong: String) -> Result<OpenStore, Failure> {
        let path = self.folder.path();
        let body = self.file.open(&master).map_err(|fault| fault.at(path))?;
        let header = self.file.header;
        let body = StoreBody::read(&body, header.rules()).map_err(|fault| fault.at(path))?;
        let seal = super::seal_of(path, &header, &body);
        Ok(OpenStore::new(KeyStore { folder: self.folder, header, body, seal }, master, by, wrong))
    }
}

/// The failure for a store of the other side.
pub(super) fn other_side(path: &Path, side: StoreSide) -> Failure {
    refuse(path, &format!("it is the {side}'s: use the {side}'s program ({})", side.program()))
}

/// What became of a passphrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// It is right.
    Right,
    /// It is wrong: wait so long before the next one.
    Wrong(Duration),
}

/// A store some of whose custodians have given their passphrases.
pub struct Collecting {
    locked: LockedStore,
    shares: Vec<(u8, KeyShare)>,
    names: Vec<String>,
    /// Wrong passphrases, by name.
    wrong: Vec<(String, u32)>,
}

impl Collecting {
    /// The store.
    pub fn store(&self) -> &LockedStore {
        &self.locked
    }

    /// The number of the custodian who is asked next, from 1; `None` when there are enough.
    pub fn next(&self) -> Option<u8> {
        let given = u8::try_from(self.names.len()).unwrap_or(u8::MAX);
        (given < self.locked.threshold()).then_some(given.saturating_add(1))
    }

    /// Whether a passphrase is needed: a TEST store has none.
    pub fn needs_passphrase(&self) -> bool {
        self.locked.realm() == Realm::Live
    }

    /// Says why this is not the name of a custodian who is still to come.
    pub fn refuse_name(&self, name: &str) -> Option<String> {
        let custodians = self.locked.custodians();
        if self.names.iter().any(|given| given == name) {
            return Some(format!("{name} was asked already: name another custodian"));
        }
        let known = match self.locked.realm() {
            Realm::Test => is_name(name),
            Realm::Live => custodians.iter().any(|custodian| custodian == name),
        };
        match self.locked.realm() {
            _ if known => None,
            Realm::Test => Some("a name has 1 to 32 of a-z 0-9 . _ -, a letter first".into()),
            Realm::Live => Some(format!("that is no custodian: {}", custodians.join(", "))),
        }
    }

    /// Takes a custodian's passphrase, of which a TEST store needs none. The fifth wrong one is a failure.
    pub fn give(&mut self, name: &str, passphrase: &[u8]) -> Result<Given, Failure> {
        if let Some(why) = self.refuse_name(name) {
            return Err(too_few(&why));
        }
        if self.needs_passphrase() {
            let header = &self.locked.file.header;
            let Some(share) = header.custody.open(&header.id, name, passphrase)? else {
                return self.noted(name).map(Given::Wrong);
            };
            self.shares.push(share);
        }
        self.names.push(name.to_owned());
        Ok(Given::Right)
    }

    /// Opens the store when there are enough.
    pub fn open(mut self) -> Result<OpenStore, Failure> {
        if self.next().is_some() {
            return Err(too_few("more custodians are needed"));
        }
        let wrong = self.wrong_ones();
        let master = match self.locked.file.master.take() {
            Some(master) => Some(master),
            None => self.locked.file.header.custody.master(&self.shares),
        };
        let master = master.ok_or_else(|| too_few("more custodians are needed"))?;
        self.shares.clear();
        self.locked.opened(master, self.names, wrong)
    }

    /// Counts a wrong passphrase, and returns how long its process waits.
    fn noted(&mut self, name: &str) -> Result<Duration, Failure> {
        match self.wrong.iter_mut().find(|(known, _)| known == name) {
            Some((_, times)) => *times += 1,
            None => self.wrong.push((name.to_owned(), 1)),
        }
        let all: u32 = self.wrong.iter().map(|(_, times)| times).sum();
        if all >= WRONG_MAX {
            return Err(too_few(&format!(
                "five wrong passphrases ({}): nothing was changed. If one is forgotten, the other custodians replace all of them",
                self.wrong_ones()
            )));
        }
        Ok(Duration::from_secs(1 << all.saturating_sub(1)))
    }

    /// `anna 2, ben 3`
    fn wrong_ones(&self) -> String {
        let each: Vec<_> = self.wrong.iter().map(|(name, times)| format!("{name} {times}")).collect();
        each.join(", ")
    }
}

fn too_few(what: &str) -> Failure {
    Failure::new(Exit::Custody, format!("operator: {what}"))
}

/// The failure of a store that has to be opened by its custodians, and by a command.
pub(super) fn only_by_command(path: &Path) -> Failure {
    refuse(path, "it is LIVE: this version makes no cards with LIVE keys; the key commands open it")
}
