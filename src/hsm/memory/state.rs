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
    /// All its jobs.
    pub book: LedgerBook,
    /// The last place that was signed.
    pub signed: Option<Checkpoint>,
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
            MemoryRecord::LedgerKnown { ledger, epoch, by: _ } => {
                let known = LedgerMemory {
                    epoch: *epoch,
                    standing: LedgerStanding::Known,
                    book: LedgerBook::new(*ledger),
                    signed: None,
                };
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
            MemoryRecord::Admitted { name, digest, ledger } => {
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
        let book = &mut self.going_on(ledger)?.book;
        if book.place().n != after {
            return Err(MemoryFault::Order("events were left out"));
        }
        for event in events {
            book.follow(event).map_err(|breach| MemoryFault::Law(breach.to_string()))?;
        }
        if book.place().hash == hash { Ok(()) } else { Err(MemoryFault::Order("events have another hash")) }
    }

    fn signed(&mut self, checkpoint: &Checkpoint) -> Result<(), MemoryFault> {
        if checkpoint.generation != self.generation.saturating_add(1) {
            return Err(MemoryFault::Order("a signature was left out"));
        }
        let generation = checkpoint.generation;
        let known = self.going_on(checkpoint.place.ledger)?;
        let followed: ChainPlace = known.book.place();
        if followed != checkpoint.place {
            return Err(MemoryFault::Order("a place was signed that was not shown"));
        }
        known.signed = Some(*checkpoint);
        self.generation = generation;
        Ok(())
    }
}

const UNKNOWN: MemoryFault = MemoryFault::Order("a ledger is not known");
