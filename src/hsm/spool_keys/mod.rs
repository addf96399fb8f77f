//! The keys of the spools: one random AES-256 key for each. They are kept in one file of the key store
//! (`companion`), `spools`:
//!
//! ```text
//! cardwright spool keys 1
//! key NAME LEDGER HEX
//! gone NAME LEDGER                      destroyed
//! ```
//!
//! A spool is sealed in pieces by AES-256-GCM: nonce = number of the piece (96 bits), associated data = "CWS1" | name
//! of the key. So a piece opens only in its own place of its own spool. No number is sealed twice under a key: only
//! the host that made the key seals, each number once and in order.
//!
//! [`SpoolKey`] is the controller's end: one spool's key, as acceptance and a run use it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard};

use aes_gcm::aead::{AeadInOut, inout::InOutBuf};
use aes_gcm::{Aes256Gcm, KeyInit};
use hex::FromHex;
use zeroize::Zeroizing;

use super::companion::{CompanionFile, CompanionKind, CompanionSeal};
use super::error::locked;
use super::{HsmError, HsmRefusal, PIECE, PIECE_TAG, Vault};
use crate::audit::{LedgerId, SpoolKeyState};
use crate::exit::Failure;
use crate::hardening::LockedBox;
use crate::ids::SpoolKeyName;
use crate::record::Sealer;

const FIRST: &str = "cardwright spool keys 1";

/// A key; `None` after it was destroyed.
type SpoolKeyValue = Option<Zeroizing<[u8; 32]>>;
type SpoolKeyMap = BTreeMap<SpoolKeyName, (LedgerId, SpoolKeyValue)>;

/// The spools' keys of a store.
pub(super) struct SpoolKeys {
    kept: CompanionFile,
    open: Mutex<BTreeMap<SpoolKeyName, SpoolCipher>>,
    /// The keys that this host has made. The event that makes a job of one may be on its way.
    made: Mutex<BTreeSet<SpoolKeyName>>,
    /// Keys that are to be destroyed and could not be.
    owed: Mutex<BTreeSet<(LedgerId, SpoolKeyName)>>,
}

/// A cipher with its key, in locked pages where the process has some.
type SharedCipher = Arc<LockedBox<Aes256Gcm>>;

/// Keys in memory at a time: a bureau reads a few spools at once, and each key takes room in the locked pages.
const OPEN_MOST: usize = 64;

/// A key in use.
struct SpoolCipher {
    cipher: SharedCipher,
    /// The next number to be sealed, if this host made the key.
    next: Option<u64>,
}

fn no_random() -> HsmError {
    HsmError::Host("the system gives no random numbers".into())
}

impl SpoolKeys {
    /// The spools' keys of the store with this seal.
    pub(super) fn of(seal: &Arc<CompanionSeal>) -> Self {
        let kept = CompanionFile::in_store(seal, CompanionKind::Spools);
        Self { kept, open: Mutex::default(), made: Mutex::default(), owed: Mutex::default() }
    }

    /// See [`Vault::new_spool`].
    pub(super) fn make(&self, ledger: LedgerId) -> Result<SpoolKeyName, HsmError> {
        let (mut name, mut key) = ([0; 16], Zeroizing::new([0; 32]));
        getrandom::fill(&mut name).map_err(|_| no_random())?;
        getrandom::fill(&mut *key).map_err(|_| no_random())?;
        let (name, open) = (SpoolKeyName(name), SpoolCipher { cipher: cipher(&key)?, next: Some(0) });
        let _lock = self.kept.lock()?;
        let mut keys = self.read()?;
        locked(&self.made)?.insert(name);
        keys.insert(name, (ledger, Some(key)));
        // The old file is wiped: keys that are destroyed later stand in it.
        self.kept.replace(to_text(&keys))?;
        let mut all = self.open()?;
        make_room(&mut all);
        all.insert(name, open);
        Ok(name)
    }

    /// See [`Vault::seal`].
    pub(super) fn seal(&self, spool: SpoolKeyName, first: u64, clear: &[u8]) -> Result<Vec<u8>, HsmError> {
        let pieces = clear.chunks(PIECE);
        let after = first.checked_add(u64::try_from(pieces.len()).unwrap_or(u64::MAX));
        let cipher = {
            let mut open = self.open()?;
            let open =
                open.get_mut(&spool).filter(|open| open.next == Some(first)).ok_or(HsmRefusal::SealTwice)?;
            // A piece that is not full is the last one.
            open.next = after.filter(|_| clear.len().is_multiple_of(PIECE));
            Arc::clone(&open.cipher)
        };
        let mut sealed = Vec::with_capacity(clear.len() + pieces.len() * PIECE_TAG);
        for (piece, number) in pieces.zip(first..) {
            let from = sealed.len();
            sealed.extend_from_slice(piece);
            let place = sealed.get_mut(from..).unwrap_or_default();
            let tag = cipher.encrypt_inout_detached(&nonce(number), &about(spool), InOutBuf::from(place));
            sealed.extend_from_slice(&tag.map_err(|_| HsmError::SpoolDamaged)?);
        }
        Ok(sealed)
    }

    /// See [`Vault::unseal`].
    pub(super) fn unseal(&self, spool: SpoolKeyName, first: u64, sealed: &[u8]) -> Result<Vec<u8>, HsmError> {
        let cipher = self.known(spool)?;
        // Wiped unless all of it opens.
        let mut clear = Zeroizing::new(Vec::with_capacity(sealed.len()));
        for (piece, number) in sealed.chunks(PIECE + PIECE_TAG).zip(first..) {
            let (bytes, tag) = piece.split_last_chunk::<PIECE_TAG>().ok_or(HsmError::SpoolDamaged)?;
            let from = clear.len();
            clear.extend_from_slice(bytes);
            let place = InOutBuf::from(clear.get_mut(from..).unwrap_or_default());
            cipher
                .decrypt_inout_detached(&nonce(number), &about(spool), place, &(*tag).into())
                .map_err(|_| HsmError::SpoolDamaged)?;
        }
        Ok(std::mem::take(&mut *clear))
    }

    /// See [`Vault::abandon_spool`].
    pub(super) fn abandon(&self, spool: SpoolKeyName) -> Result<(), HsmError> {
        let _lock = self.kept.lock()?;
        let mut keys = self.read()?;
        // No job was made of it, so its destruction need not be remembered.
        let was = keys.remove(&spool);
        self.forget(&keys, was.map(|_| spool))
    }

    /// Destroys keys of a ledger whose deletion has begun, and those that an earlier call could not destroy (a full disk). What cannot
    /// be destroyed now is a debt of this host.
    pub(super) fn end(&self, ledger: LedgerId, spools: &[SpoolKeyName]) {
        let Ok(mut owed) = self.owed.lock() else { return };
        owed.extend(spools.iter().map(|spool| (ledger, *spool)));
        owed.retain(|(ledger, spool)| match self.destroy(*ledger, &[*spool]) {
            Ok(()) => false,
            Err(error) => {
                tracing::warn!(%error, "the key of a deleted job's spool is not destroyed yet");
                true
            }
        });
    }

    /// Destroys keys of a ledger whose deletion has begun. A key that is missing, or destroyed already, stays so.
    fn destroy(&self, ledger: LedgerId, spools: &[SpoolKeyName]) -> Result<(), HsmError> {
        if spools.is_empty() {
            return Ok(());
        }
        let _lock = self.kept.lock()?;
        let mut keys = self.read()?;
        let mut gone = Vec::new();
        for spool in spools {
            match keys.get_mut(spool) {
                Some((of, key)) if *of == ledger => gone.extend(key.take().map(|_| *spool)),
                // The cipher may have been opened before the file was lost.
                None => drop(self.open()?.remove(spool)),
                Some(_) => {}
            }
        }
        self.forget(&keys, gone)
    }

    /// Destroys the keys of a ledger that its jobs do not need: those of jobs whose deletion has begun, which may have come back
    /// with an old file; and, if `orphans` go too, those that were made in an earlier life of the host and became no job. `of_jobs`
    /// are the keys of jobs, each with whether its deletion has begun.
    pub(super) fn settle(
        &self,
        ledger: LedgerId,
        of_jobs: &BTreeMap<SpoolKeyName, bool>,
        orphans: bool,
    ) -> Result<(), HsmError> {
        if !self.kept.path().exists() {
            // This store has made no key yet.
            return Ok(());
        }
        let _lock = self.kept.lock()?;
        let mut keys = self.read()?;
        let mut gone = Vec::new();
        {
            let made = locked(&self.made)?;
            keys.retain(|name, (of, key)| {
                let deleting = of_jobs.get(name).copied();
                let orphan = orphans && deleting.is_none() && key.is_some() && !made.contains(name);
                if *of != ledger || !(orphan || deleting == Some(true)) {
                    return true;
                }
                gone.extend(key.take().map(|_| *name));
                // An orphan sealed nothing that anybody accepted, so its destruction need not be remembered.
                !orphan
            });
        }
        self.forget(&keys, gone)
    }

    /// Whether the key of this ledger is there.
    pub(super) fn state(&self, ledger: LedgerId, spool: SpoolKeyName) -> Result<SpoolKeyState, HsmError> {
        let _lock = self.kept.lock()?;
        Ok(match self.read()?.get(&spool).filter(|(of, _)| *of == ledger) {
            None => SpoolKeyState::Missing,
            Some((_, None)) => SpoolKeyState::Destroyed,
            Some((_, Some(_))) => SpoolKeyState::There,
        })
    }

    /// Overwrites the file with the keys that are left, if any was destroyed.
    fn forget(
        &self,
        left: &SpoolKeyMap,
        gone: impl IntoIterator<Item = SpoolKeyName>,
    ) -> Result<(), HsmError> {
        let mut gone = gone.into_iter().peekable();
        if gone.peek().is_none() {
            return Ok(());
        }
        self.kept.replace(to_text(left))?;
        let mut open = self.open()?;
        gone.for_each(|name| drop(open.remove(&name)));
        Ok(())
    }

    /// The cipher of a spool; reads its key from the file at the first use.
    fn known(&self, spool: SpoolKeyName) -> Result<SharedCipher, HsmError> {
        if let Some(open) = self.open()?.get(&spool) {
            return Ok(Arc::clone(&open.cipher));
        }
        let _lock = self.kept.lock()?;
        let keys = self.read()?;
        let cipher = match keys.get(&spool) {
            None => return Err(self.missing(spool)),
            Some((_, None)) => return Err(HsmError::SpoolKeyDestroyed(spool)),
            Some((_, Some(key))) => cipher(key)?,
        };
        let mut all = self.open()?;
        make_room(&mut all);
        all.entry(spool).or_insert(SpoolCipher { cipher: Arc::clone(&cipher), next: None });
        Ok(cipher)
    }

    fn missing(&self, spool: SpoolKeyName) -> HsmError {
        HsmError::NoSpoolKey(self.kept.path().display().to_string(), spool)
    }

    fn open(&self) -> Result<MutexGuard<'_, BTreeMap<SpoolKeyName, SpoolCipher>>, HsmError> {
        locked(&self.open)
    }

    fn read(&self) -> Result<SpoolKeyMap, HsmError> {
        match self.kept.read()? {
            None => Ok(SpoolKeyMap::new()),
            Some(text) => from_text(&text).ok_or_else(|| self.kept.damaged()),
        }
    }
}

/// Drops keys that nobody works with: the next use reads them from the file.
fn make_room(open: &mut BTreeMap<SpoolKeyName, SpoolCipher>) {
    while open.len() >= OPEN_MOST {
        let idle =
            |(_, spool): &(&_, &SpoolCipher)| spool.next.is_none() && Arc::strong_count(&spool.cipher) == 1;
        let Some(name) = open.iter().find(idle).map(|(name, _)| *name) else { return };
        open.remove(&name);
    }
}

fn cipher(key: &[u8; 32]) -> Result<SharedCipher, HsmError> {
    let cipher = LockedBox::if_room(Aes256Gcm::new(key.into()));
    let full = || HsmError::Host("its locked memory is full of keys of open spools; restart it".into());
    cipher.map(Arc::new).ok_or_else(full)
}

fn nonce(number: u64) -> aes_gcm::Nonce<aes_gcm::aead::consts::U12> {
    let [a, b, c, d, e, f, g, h] = number.to_be_bytes();
    [0, 0, 0, 0, a, b, c, d, e, f, g, h].into()
}

fn about(spool: SpoolKeyName) -> Vec<u8> {
    [&b"CWS1"[..], &spool.0].concat()
}

fn to_text(keys: &SpoolKeyMap) -> Zeroizing<String> {
    // With room for all, so that no copy is left behind by growing.
    let mut text = Zeroizing::new(String::with_capacity(256 + keys.len() * 192));
    // Writing to a String does not fail.
    let _ = writeln!(text, "{FIRST}");
    for (name, (ledger, key)) in keys {
        let _ = match key {
            Some(key) => {
                let key = Zeroizing::new(hex::encode_upper(key.as_slice()));
                writeln!(text, "key {name} {ledger} {}", &**key)
            }
            None => writeln!(text, "gone {name} {ledger}"),
        };
    }
    text
}

fn from_text(text: &str) -> Option<SpoolKeyMap> {
    let mut lines = text.lines();
    if lines.next()? != FIRST {
        return None;
    }
    let mut keys = SpoolKeyMap::new();
    for line in lines {
        let mut words = line.split(' ');
        let (what, name) = (words.next()?, words.next()?.parse().ok()?);
        let ledger = LedgerId(<_>::from_hex(words.next()?).ok()?);
        let key = match (what, words.next()) {
            ("key", Some(hex)) => {
                let mut key = Zeroizing::new([0; 32]);
                hex::decode_to_slice(hex, &mut *key).ok()?;
                Some(key)
            }
            ("gone", None) => None,
            _ => return None,
        };
        keys.insert(name, (ledger, key));
    }
    Some(keys)
}

/// The key of one spool, held by an HSM.
pub struct SpoolKey {
    vault: Box<dyn Vault>,
    name: SpoolKeyName,
}

impl SpoolKey {
    /// The key of an existing spool.
    pub fn of(vault: Box<dyn Vault>, name: SpoolKeyName) -> Self {
        Self { vault, name }
    }

    /// A new key, for a spool that is to be written.
    pub fn new(mut vault: Box<dyn Vault>, ledger: LedgerId) -> Result<Self, HsmError> {
        let name = vault.new_spool(ledger)?;
        Ok(Self { vault, name })
    }

    /// Destroys the new key of a spool of which no job was made.
    pub fn abandon(mut self) -> Result<(), HsmError> {
        self.vault.abandon_spool(self.name)
    }
}

impl Sealer for SpoolKey {
    fn name(&self) -> SpoolKeyName {
        self.name
    }

    fn seal(&mut self, first: u64, clear: &[u8]) -> Result<Vec<u8>, Failure> {
        Ok(self.vault.seal(self.name, first, clear)?.into_vec())
    }

    fn unseal(&mut self, first: u64, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Failure> {
        Ok(self.vault.unseal(self.name, first, sealed).map(|clear| Zeroizing::new(clear.into_vec()))?)
    }
}

#[cfg(test)]
mod tests;
