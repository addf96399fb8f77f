//! What the HSM remembers of ledgers, files and spools: a function of the records of its journal. Pure.
//!
//! ```text
//! UNKNOWN ─ LedgerKnown ─> KNOWN ─ Shown ─> KNOWN, further ─ Stopped ─> STOPPED ─ Succeeded ─> SUCCEEDED
//! ```
//!
//! Not here: who follows a ledger now (`followers`), attempts under way (`attempts`): both end with the host.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::MemoryFault;
use super::record::{MemoryRecord, SpoolKeyFate};
use crate::audit::{ChainPlace, Checkpoint, LedgerId};
use crate::ids::SpoolKeyName;
use crate::laws::LedgerBook;

/// All that is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryState {
    /// How often a place was signed.
    generation: u64,
    /// Time of the last record that has one, Unix in ms; never goes back.
    time: u64,
    ledgers: BTreeMap<LedgerId, LedgerMemory>,
    /// The ledger of each file, by the hash of its name and by its digest.
    files: BTreeMap<[u8; 32], LedgerId>,
    /// Keys of spools that were made and are not gone.
    spools: BTreeMap<SpoolKeyName, LedgerId>,
}

/// A ledger that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerMemory {
    /// Epoch of the store when it became known.
    pub epoch: u32,
    /// Whether it goes on.
    pub standing: LedgerStanding,
    /// All its jobs, as far as its events were shown.
    pub book: LedgerBook,
    /// A place that it had without showing its events: from an audit book of an earlier version, or when it was signed. Its events
    /// have to pass there when they are shown.
    pub noted: Option<ChainPlace>,
    /// The last place that was signed.
    pub signed: Option<Checkpoint>,
}

impl LedgerMemory {
    fn new(ledger: LedgerId, epoch: u32) -> Self {
        let (standing, book) = (LedgerStanding::Known, LedgerBook::new(ledger));
        Self { epoch, standing, book, noted: None, signed: None }
    }

    /// How far it had come: the last event that was shown, or was only noted; number 0 before the first.
    pub fn head(&self) -> ChainPlace {
        let shown = self.book.place();
        self.noted.filter(|noted| noted.n > shown.n).unwrap_or(shown)
    }

    /// Whether it may be at this place: it never goes back, and has one event of each number.
    pub fn may_be_at(&self, place: &ChainPlace) -> bool {
        let head = self.head();
        place.n > head.n || *place == head
    }
}

/// Whether a ledger goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LedgerStanding {
    /// It does.
    Known,
    /// An event broke a law.
    Stopped {
        /// Number of the event.
        n: u64,
        /// Why it was refused.
        why: String,
    },
    /// Another ledger goes on in its place.
    Succeeded(LedgerId),
}

impl MemoryState {
    /// The memory that an audit book of an earlier version makes: how often it was changed, how far each ledger had come, and the
    /// ledger of each file by name and by digest.
    pub fn of_book(
        generation: u64,
        heads: impl IntoIterator<Item = ChainPlace>,
        files: BTreeMap<[u8; 32], LedgerId>,
    ) -> Self {
        let ledgers = heads.into_iter().map(|place| {
            let known = LedgerMemory::new(place.ledger, FIRST_EPOCH);
            (place.ledger, LedgerMemory { noted: Some(place), ..known })
        });
        Self { generation, files, ledgers: ledgers.collect(), ..Self::default() }
    }

    /// How far each ledger had come of which anything was signed.
    pub fn heads(&self) -> impl Iterator<Item = ChainPlace> {
        self.ledgers.values().map(LedgerMemory::head).filter(|head| head.n > 0)
    }

    /// The ledger of each file, by the hash of its name and by its digest.
    pub fn files(&self) -> impl Iterator<Item = ([u8; 32], LedgerId)> {
        self.files.iter().map(|(file, ledger)| (*file, *ledger))
    }

    /// Whether a file of this name and digest was admitted.
    pub fn is_admitted(&self, names: [[u8; 32]; 2], ledger: LedgerId) -> bool {
        names.iter().all(|name| self.files.get(name) == Some(&ledger))
    }

    /// A ledger; `None` if it is not known.
    pub fn ledger(&self, ledger: LedgerId) -> Option<&LedgerMemory> {
        self.ledgers.get(&ledger)
    }

    /// How often a place was signed.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Time of the last record that has one, Unix in ms.
    pub fn time(&self) -> u64 {
        self.time
    }

    /// The ledger other than `ledger` into which a file of this name or digest went.
    pub fn file_elsewhere(&self, names: [[u8; 32]; 2], ledger: LedgerId) -> Option<LedgerId> {
        names.iter().find_map(|name| self.files.get(name).copied().filter(|other| *other != ledger))
    }

    /// Keys of spools that no ledger has destroyed.
    pub fn spools(&self) -> impl Iterator<Item = (SpoolKeyName, LedgerId)> {
        self.spools.iter().map(|(key, ledger)| (*key, *ledger))
    }

    /// Applies a record. An error means that the records are not those of one journal.
    pub fn apply(&mut self, record: &MemoryRecord) -> Result<(), MemoryFault> {
        match record {
            MemoryRecord::Started { time, .. } => self.time = self.time.max(*time),
            MemoryRecord::LedgerKnown { ledger, epoch, noted, by: _ } => {
                let known = LedgerMemory { noted: *noted, ..LedgerMemory::new(*ledger, *epoch) };
                if self.ledgers.contains_key(ledger) {
                    return Err(MemoryFault::Order("a ledger became known twice"));
                }
                self.ledgers.insert(*ledger, known);
            }
            MemoryRecord::Shown { ledger, after, time, events, chips: _, hash } => {
                self.time = self.time.max(*time);
                self.shown(*ledger, *after, events, *hash)?;
            }
            MemoryRecord::Signed(checkpoint) => self.signed(checkpoint)?,
            MemoryRecord::Stopped { ledger, n, event: _, why } => {
                self.going_on(*ledger)?.standing = LedgerStanding::Stopped { n: *n, why: why.clone() };
            }
            MemoryRecord::Succeeded { ledger, by_ledger, by: _ } => {
                let ended = self.ledgers.get_mut(ledger).ok_or(UNKNOWN)?;
                ended.standing = LedgerStanding::Succeeded(*by_ledger);
            }
            MemoryRecord::Admitted { name, digest, ledger, records: _ } => {
                if self.file_elsewhere([*name, *digest], *ledger).is_some() {
                    return Err(MemoryFault::Order("a file went into two ledgers"));
                }
                self.files.extend([(*name, *ledger), (*digest, *ledger)]);
            }
            MemoryRecord::Spool { key, ledger, fate } => match fate {
                SpoolKeyFate::Made => {
                    self.spools.insert(*key, *ledger);
                }
                SpoolKeyFate::Abandoned | SpoolKeyFate::Destroyed | SpoolKeyFate::Swept => {
                    self.spools.remove(key);
                }
            },
        }
        Ok(())
    }

    fn going_on(&mut self, ledger: LedgerId) -> Result<&mut LedgerMemory, MemoryFault> {
        let known = self.ledgers.get_mut(&ledger).ok_or(UNKNOWN)?;
        if known.standing == LedgerStanding::Known {
            Ok(known)
        } else {
            Err(MemoryFault::Order("a ledger went on after its end"))
        }
    }

    fn shown(
        &mut self,
        ledger: LedgerId,
        after: u64,
        events: &[Vec<u8>],
        hash: [u8; 32],
    ) -> Result<(), MemoryFault> {
        let LedgerMemory { book, noted, .. } = self.going_on(ledger)?;
        if book.place().n != after {
            return Err(MemoryFault::Order("events were left out"));
        }
        for event in events {
            book.follow(event).map_err(|breach| MemoryFault::Law(breach.to_string()))?;
            let place = book.place();
            if noted.is_some_and(|noted| noted.n == place.n && noted != place) {
                return Err(MemoryFault::Order("another event was noted before"));
            }
        }
        if book.place().hash == hash { Ok(()) } else { Err(MemoryFault::Order("events have another hash")) }
    }

    fn signed(&mut self, checkpoint: &Checkpoint) -> Result<(), MemoryFault> {
        if checkpoint.generation != self.generation.saturating_add(1) {
            return Err(MemoryFault::Order("a signature was left out"));
        }
        let generation = checkpoint.generation;
        let known = self.going_on(checkpoint.place.ledger)?;
        if !known.may_be_at(&checkpoint.place) {
            return Err(MemoryFault::Order("a place was signed that comes before one that was noted"));
        }
        if checkpoint.place != known.head() {
            known.noted = Some(checkpoint.place);
        }
        known.signed = Some(*checkpoint);
        self.generation = generation;
        Ok(())
    }
}

/// The epoch of a store that no other one succeeded.
pub const FIRST_EPOCH: u32 = 1;

const UNKNOWN: MemoryFault = MemoryFault::Order("a ledger is not known");
