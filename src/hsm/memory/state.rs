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
use super::record::MemoryRecord;
use crate::audit::{ChainPlace, Checkpoint, LedgerId};
use crate::ids::SpoolKeyName;
use crate::laws::event::AcceptedTerms;
use crate::laws::{Followed, LedgerBook, file_name_hash};

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
    /// Files whose Trailer was shown, by their digest: another file of the name may be admitted before this one is a job.
    admitted: BTreeMap<[u8; 32], AdmittedFile>,
    /// Set if a ledger showed a signature that this store has forgotten: the number that the store remembers, and the number that
    /// it signed.
    behind: Option<(u64, u64)>,
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
    /// A ledger that has shown nothing.
    pub(super) fn new(ledger: LedgerId, epoch: u32) -> Self {
        let (standing, book) = (LedgerStanding::Known, LedgerBook::new(ledger));
        Self { epoch, standing, book, noted: None, signed: None }
    }

    /// How far it had come: the last event that was shown, or was only noted; number 0 before the first.
    pub fn head(&self) -> ChainPlace {
        let shown = self.book.place();
        self.noted.filter(|noted| noted.n > shown.n).unwrap_or(shown)
    }

    fn going_on(&mut self) -> Result<&mut Self, MemoryFault> {
        match self.standing {
            LedgerStanding::Known => Ok(self),
            _ => Err(MemoryFault::Order("a ledger went on after its end")),
        }
    }

    /// Follows the next event. Up to the place that was noted, the ledger is the one that this store signed: it may have files that
    /// were not admitted. Events of chain version 1 mean nothing outside of the ledger, so they are taken before the first of
    /// version 2, signed or not.
    fn follow(
        &mut self,
        event: &[u8],
        may_accept: impl FnOnce(&AcceptedTerms) -> Result<(), String>,
    ) -> Result<Followed, String> {
        let next = self.book.place().n.saturating_add(1);
        let noted = self.noted.filter(|noted| noted.n >= next);
        let terms = LedgerBook::terms_in(event);
        if terms.as_ref().is_some_and(|terms| terms.records > UNSTATED_MAX) && noted.is_some() {
            return Err("its file has more records than any file of that version".to_owned());
        }
        if let (None, Some(terms)) = (noted, &terms) {
            may_accept(terms)?;
        }
        // The hash of the event itself, before it changes anything.
        if let Some(noted) = noted.filter(|noted| noted.n == next)
            && self.book.place_after(event).as_ref() != Some(&noted)
        {
            return Err("this store signed another event of this number before".to_owned());
        }
        let effect = self.book.follow(event).map_err(|breach| breach.to_string())?;
        // Until the last of them has proved them, only the chips that they name mean something outside of the ledger.
        Ok(match effect {
            Followed::Bound { .. } | Followed::ChipFound { .. } => effect,
            _ if noted.is_some() => Followed::Noted,
            effect => effect,
        })
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

/// What the Trailer of a file states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AdmittedFile {
    name: [u8; 32],
    records: u32,
}

/// Events that were followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowedEvents {
    /// What each of them means, in order.
    pub effects: Vec<Followed>,
    /// The last one.
    pub place: ChainPlace,
    /// Why the next one cannot follow; `None` if all were followed.
    pub breach: Option<String>,
}

/// Most records of a file that an earlier version admitted, without its Trailer. Without this limit, a false number could take
/// any amount of memory.
const UNSTATED_MAX: u32 = 4_000_000;

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

    /// The memory that a snapshot of an earlier form holds: generation and time, and what follows.
    pub(super) fn of_earlier_form(
        (generation, time): (u64, u64),
        ledgers: impl Iterator<Item = (LedgerId, LedgerMemory)>,
        files: BTreeMap<[u8; 32], LedgerId>,
        admitted: BTreeMap<[u8; 32], AdmittedFile>,
        behind: Option<(u64, u64)>,
    ) -> Self {
        Self { generation, time, ledgers: ledgers.collect(), files, admitted, behind }
    }

    /// How far each ledger had come of which anything was signed.
    pub fn heads(&self) -> impl Iterator<Item = ChainPlace> {
        self.ledgers.values().map(LedgerMemory::head).filter(|head| head.n > 0)
    }

    /// The ledger of each file, by the hash of its name and by its digest.
    pub fn files(&self) -> impl Iterator<Item = ([u8; 32], LedgerId)> {
        self.files.iter().map(|(file, ledger)| (*file, *ledger))
    }

    /// The ledger of the file with this hash of its name.
    pub fn ledger_of(&self, name: &[u8; 32]) -> Option<LedgerId> {
        self.files.get(name).copied()
    }

    /// Whether a file of this name or digest went into this ledger before its figures were noted, and may be a job of chain version
    /// 1 there: nothing else would notice if it became a job again.
    pub fn may_be_old_job(&self, names: [[u8; 32]; 2], ledger: LedgerId) -> bool {
        let Some(known) = self.ledger(ledger) else { return false };
        let [_, digest] = names;
        let old =
            !self.admitted.contains_key(&digest) && names.iter().any(|name| self.files.contains_key(name));
        let all_shown = known.noted.is_none_or(|noted| known.book.place().n >= noted.n);
        old && (known.book.has_unsealed() || !all_shown)
    }

    /// Whether a file of this name, digest and number of records was admitted.
    pub fn is_admitted(&self, [name, digest]: [[u8; 32]; 2], records: u32, ledger: LedgerId) -> bool {
        let stated = self.admitted.get(&digest) == Some(&AdmittedFile { name, records });
        stated && self.files.get(&name) == Some(&ledger) && self.files.get(&digest) == Some(&ledger)
    }

    /// Whether a job of any ledger has this key of a spool.
    pub fn is_of_a_job(&self, key: SpoolKeyName) -> bool {
        self.ledgers.values().any(|known| known.book.spool_keys().any(|(of_job, _)| of_job == key))
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

    /// What was forgotten, if the store is known to be an old one: what it remembers, and what it signed.
    pub fn behind(&self) -> Option<(u64, u64)> {
        self.behind
    }

    /// Whether this signature of the store was forgotten: its generation, or the event, is above what is remembered. A store that
    /// was put back may have forgotten files and chips of every ledger.
    pub fn forgot(&self, signed: &Checkpoint) -> Option<(u64, u64)> {
        let (place, generation) = (signed.place, signed.generation);
        if generation > self.generation {
            return Some((self.generation, generation));
        }
        // The memory notes a signature before the caller gets it.
        let known = self.ledger(place.ledger).map_or(0, |known| known.head().n);
        (place.n > known).then_some((known, place.n))
    }

    /// The ledger other than `ledger` into which a file of this name or digest went.
    pub fn file_elsewhere(&self, names: [[u8; 32]; 2], ledger: LedgerId) -> Option<LedgerId> {
        names.iter().find_map(|name| self.files.get(name).copied().filter(|other| *other != ledger))
    }

    /// A record with this time was noted.
    pub(super) fn passed(&mut self, time: u64) {
        self.time = self.time.max(time);
    }

    /// Applies a record. An error means that the records are not those of one journal.
    pub fn apply(&mut self, record: &MemoryRecord) -> Result<(), MemoryFault> {
        match record {
            MemoryRecord::Started { time, .. } => self.passed(*time),
            MemoryRecord::LedgerKnown { ledger, epoch, noted, by: _ } => {
                let known = LedgerMemory { noted: *noted, ..LedgerMemory::new(*ledger, *epoch) };
                if self.ledgers.contains_key(ledger) {
                    return Err(MemoryFault::Order("a ledger became known twice"));
                }
                self.ledgers.insert(*ledger, known);
            }
            MemoryRecord::Shown { ledger, after, time, events, chips: _, hash } => {
                self.passed(*time);
                self.shown(*ledger, *after, events, *hash)?;
            }
            MemoryRecord::Signed(first) => self.signed(&Checkpoint::from(*first))?,
            MemoryRecord::Checkpoint(checkpoint) => self.signed(checkpoint)?,
            MemoryRecord::Stopped { ledger, n, event: _, why } => {
                self.going_on(*ledger)?.standing = LedgerStanding::Stopped { n: *n, why: why.clone() };
            }
            MemoryRecord::Succeeded { ledger, by_ledger, by: _ } => {
                let ended = self.ledgers.get_mut(ledger).ok_or(UNKNOWN)?;
                ended.standing = LedgerStanding::Succeeded(*by_ledger);
            }
            MemoryRecord::Admitted { name, digest, ledger, records } => {
                if self.file_elsewhere([*name, *digest], *ledger).is_some() {
                    return Err(MemoryFault::Order("a file went into two ledgers"));
                }
                self.files.extend([(*name, *ledger), (*digest, *ledger)]);
                if let Some(records) = *records {
                    self.admitted.insert(*digest, AdmittedFile { name: *name, records });
                }
            }
            MemoryRecord::StoreBehind { ledger: _, known, shown } => self.behind = Some((*known, *shown)),
        }
        Ok(())
    }

    fn going_on(&mut self, ledger: LedgerId) -> Result<&mut LedgerMemory, MemoryFault> {
        self.ledgers.get_mut(&ledger).ok_or(UNKNOWN)?.going_on()
    }

    /// Follows events of a ledger that come after this number, up to the first that breaks a law.
    pub fn follow(
        &mut self,
        ledger: LedgerId,
        after: u64,
        events: &[Vec<u8>],
    ) -> Result<FollowedEvents, MemoryFault> {
        let Self { ledgers, files, admitted, .. } = self;
        let known = ledgers.get_mut(&ledger).ok_or(UNKNOWN)?.going_on()?;
        if known.book.place().n != after {
            return Err(MemoryFault::Order("events were left out"));
        }
        let mut effects = Vec::with_capacity(events.len());
        let mut breach = None;
        for event in events {
            let old = known.book.has_unsealed();
            match known.follow(event, |terms| may_accept(files, (admitted, old), ledger, terms)) {
                Ok(effect) => effects.push(effect),
                Err(why) => {
                    breach = Some(why);
                    break;
                }
            }
        }
        Ok(FollowedEvents { effects, place: known.book.place(), breach })
    }

    fn shown(
        &mut self,
        ledger: LedgerId,
        after: u64,
        events: &[Vec<u8>],
        hash: [u8; 32],
    ) -> Result<(), MemoryFault> {
        match self.follow(ledger, after, events)? {
            FollowedEvents { breach: Some(breach), .. } => Err(MemoryFault::Law(breach)),
            followed if followed.place.hash == hash => Ok(()),
            _ => Err(MemoryFault::Order("events have another hash")),
        }
    }

    fn signed(&mut self, checkpoint: &Checkpoint) -> Result<(), MemoryFault> {
        if checkpoint.generation != self.generation.saturating_add(1) {
            return Err(MemoryFault::Order("a signature was left out"));
        }
        let generation = checkpoint.generation;
        self.passed(checkpoint.link.map_or(0, |link| link.time));
        let known = self.going_on(checkpoint.place.ledger)?;
        if checkpoint.link.is_some() && checkpoint.breach(known.signed.as_ref()).is_some() {
            return Err(MemoryFault::Order("a signature does not follow the one before it"));
        }
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

/// Why a file may not become a job of this ledger, if it may not: it was admitted, with these figures.
fn may_accept(
    files: &BTreeMap<[u8; 32], LedgerId>,
    (admitted, has_old_jobs): (&BTreeMap<[u8; 32], AdmittedFile>, bool),
    ledger: LedgerId,
    terms: &AcceptedTerms,
) -> Result<(), String> {
    let name = file_name_hash(&terms.issuer, &terms.file_id);
    let ours = [name, terms.digest].iter().all(|file| files.get(file) == Some(&ledger));
    let figures = match admitted.get(&terms.digest) {
        Some(file) => *file == AdmittedFile { name, records: terms.records },
        // It may be the file of a job whose terms are not known.
        None => terms.records <= UNSTATED_MAX && !has_old_jobs,
    };
    if ours && figures {
        Ok(())
    } else {
        Err("its file was not admitted for this ledger with this name, digest and number of records"
            .to_owned())
    }
}
