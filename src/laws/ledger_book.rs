//! Follows a whole ledger: the state of all its jobs, from the bytes of its events. The HSM follows a ledger by it
//! without names of cards, which it does not know. Pure.
//!
//! An event is followed completely or not at all: an event that breaks a law changes nothing.
//!
//! Events of chain version 1 come first. They state no terms of a job, so the laws of such a job cannot be checked without its
//! tables: its events are hashed, numbered and read, and of them only the chips that they bind mean something outside of the ledger.
//! The HSM takes them before the first event of version 2, whether it has signed them or not.
//!
//! Not here: whether a file was admitted (the caller compares the terms of ACCEPTED with
//! its admission before it lets the event in: the number of records decides how much memory a job takes).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::chain::{beginning, hash_version_one, hash_version_two, place_after};
use super::event::codec::{self, EventFault};
use super::event::kinds;
use super::event::version_one::{self, VersionOneRow};
use super::event::{AcceptedTerms, ChipId, EventFact, LedgerEvent};
use super::follow::{FollowFault, JobFollower, names_no_key};
use super::outcomes::OutcomesDigest;
use super::records::JobRecords;
use super::shifts::LineFollower;
use super::types::{AttemptState, Balance, JobId, JobState};
use super::undo::BookBefore;
use crate::audit::{ChainPlace, LedgerId};
use crate::ids::SpoolKeyName;

/// All jobs of a ledger, rebuilt from its events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerBook {
    place: ChainPlace,
    /// Numbered from 1 without a gap.
    jobs: BTreeMap<JobId, FollowedJob>,
    /// The job of each file, by the hash of its name and by its digest.
    files: HashMap<[u8; 32], JobId>,
    line: LineFollower,
    /// Jobs that were accepted in chain version 1.
    unsealed: BTreeSet<JobId>,
    /// Whether an event of chain version 2 was followed.
    version_two: bool,
}

/// A job of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct FollowedJob {
    terms: AcceptedTerms,
    /// Once the job is CLOSED, without records: nothing about them changes any more.
    follower: JobFollower,
    /// Place in the stacker of each record that is GOOD, by sequence from 1; 0 for none.
    positions: Vec<u32>,
    /// Digest over the outcome of every record, once the job is CLOSED.
    records_digest: Option<[u8; 32]>,
}

/// What was counted of a CLOSED job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClosedJob {
    /// SHA-256 of its file.
    pub file: [u8; 32],
    /// [`file_name_hash`] of its file.
    pub name: [u8; 32],
    /// The line was simulated.
    pub simulated: bool,
    /// Made with TEST keys.
    pub test_keys: bool,
    /// Its records and blanks.
    pub balance: Balance,
    /// Digest over the outcome of every record.
    pub outcomes: [u8; 32],
    /// Digest over every card_ref, as ACCEPTED states it.
    pub cards: [u8; 32],
    /// The key that seals its spool.
    pub spool_key: Option<SpoolKeyName>,
    /// Whether its cardholder data were deleted.
    pub deleted: bool,
}

/// What an event means outside of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Followed {
    /// Nothing.
    Noted,
    /// A file became a job.
    Accepted(JobId),
    /// A record and a blank became an attempt.
    Bound {
        /// The attempt.
        card: FollowedCard,
        /// The card_ref of its record.
        card_ref: String,
        /// Its chip, if it is known.
        chip: Option<ChipId>,
    },
    /// The chip of an attempt became known.
    ChipFound {
        /// The attempt.
        card: FollowedCard,
        /// Its chip.
        chip: ChipId,
    },
    /// No more data of the record goes to the card: it is WRITTEN, REJECTED or UNKNOWN.
    Over(FollowedCard),
    /// Everything of the job is accounted for.
    Closed(JobId),
    /// The cardholder data of the job is about to be deleted.
    Deleting {
        /// The job.
        job: JobId,
        /// The key that seals its spool.
        spool_key: Option<SpoolKeyName>,
    },
}

/// An attempt, by numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FollowedCard {
    /// The job.
    pub job: JobId,
    /// Sequence of the record.
    pub seq: u32,
    /// Number of the attempt, from 1.
    pub attempt: u32,
}

/// Why an event cannot follow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    /// Its bytes are no event.
    #[error(transparent)]
    Bytes(#[from] EventFault),
    /// Events are numbered in order, without a gap.
    #[error("it has the number {got}, and the next event has {next}")]
    Number {
        /// The number that follows.
        next: u64,
        /// Its number.
        got: u64,
    },
    /// It breaks a law, or is not the event that its change makes.
    #[error(transparent)]
    Follow(#[from] FollowFault),
    /// Jobs are numbered in order, without a gap.
    #[error("it begins {got}, and the next job is {next}")]
    JobNumber {
        /// The job that comes next.
        next: JobId,
        /// Its job.
        got: JobId,
    },
    /// It is about a job that was never accepted.
    #[error("{0} was not accepted before it")]
    NoJob(JobId),
    /// It is of chain version 1, and is none, or follows one of version 2.
    #[error("it is of chain version 1: {0}")]
    VersionOne(String),
    /// A file becomes one job.
    #[error("its file, or another one of that name, is {0} already")]
    FileTwice(JobId),
    /// A key seals one spool.
    #[error("the key of its spool is that of {0}")]
    SpoolKeyTwice(JobId),
}

impl LedgerBook {
    /// A ledger without events.
    pub fn new(ledger: LedgerId) -> Self {
        Self {
            place: beginning(ledger),
            jobs: BTreeMap::new(),
            files: HashMap::new(),
            line: LineFollower::default(),
            unsealed: BTreeSet::new(),
            version_two: false,
        }
    }

    /// The last event that was followed; number 0 before the first.
    pub fn place(&self) -> ChainPlace {
        self.place
    }

    /// State and balances of a job.
    pub fn job(&self, job: JobId) -> Option<(JobState, Balance)> {
        let book = &self.jobs.get(&job)?.follower.book;
        Some((book.state, book.balance))
    }

    /// Issuer and name of the file of a job.
    pub fn file_of(&self, job: JobId) -> Option<(&str, &str)> {
        let terms = &self.jobs.get(&job)?.terms;
        Some((&terms.issuer, &terms.file_id))
    }

    /// Number and state of the last attempt of a record, while the job is not CLOSED.
    pub fn last_attempt(&self, job: JobId, seq: u32) -> Option<(u32, AttemptState)> {
        let attempts = self.jobs.get(&job)?.follower.book.records.attempts_of(seq);
        Some((u32::try_from(attempts.len()).ok()?, attempts.last()?.state))
    }

    /// What was counted of a CLOSED job whose terms are known.
    pub fn closed(&self, job: JobId) -> Option<ClosedJob> {
        let FollowedJob { terms, follower, records_digest, .. } = self.jobs.get(&job)?;
        Some(ClosedJob {
            file: terms.digest,
            name: file_name_hash(&terms.issuer, &terms.file_id),
            simulated: follower.book.simulated,
            test_keys: terms.test_keys,
            balance: follower.book.balance,
            outcomes: (*records_digest)?,
            cards: terms.cards,
            spool_key: terms.spool_key,
            deleted: follower.book.deleted,
        })
    }

    /// Whether a job was accepted in chain version 1.
    pub fn is_unsealed(&self, job: JobId) -> bool {
        self.unsealed.contains(&job)
    }

    /// The keys of the spools of jobs whose terms are known, and whether the deletion of the job's data has begun.
    pub fn spool_keys(&self) -> impl Iterator<Item = (SpoolKeyName, bool)> {
        let key = |job: &FollowedJob| Some((job.terms.spool_key?, job.follower.book.deleting));
        self.jobs.values().filter_map(key)
    }

    /// Whether these are the bytes of an event of chain version 1. One of version 2 begins with its kind.
    pub fn is_version_one(bytes: &[u8]) -> bool {
        bytes.starts_with(version_one::MAGIC)
    }

    /// The terms of the job that an event of chain version 2 begins.
    pub fn terms_in(bytes: &[u8]) -> Option<AcceptedTerms> {
        // Few events are of this kind, and each is decoded when it is followed.
        bytes.starts_with(&kinds::ACCEPTED.to_be_bytes()).then_some(())?;
        codec::decode(bytes).ok()?.fact.terms().cloned()
    }

    /// The place after an event, if its bytes come next; they are not followed.
    pub fn place_after(&self, bytes: &[u8]) -> Option<ChainPlace> {
        place_after(&self.place, bytes)
    }

    /// Follows the next event. An error leaves the book as it was.
    pub fn follow(&mut self, bytes: &[u8]) -> Result<Followed, Breach> {
        if Self::is_version_one(bytes) {
            return self.follow_version_one(bytes);
        }
        let event = codec::decode(bytes)?;
        let next = self.place.n.saturating_add(1);
        if event.n != next {
            return Err(Breach::Number { next, got: event.n });
        }
        let followed = match (event.job, event.fact.terms()) {
            (None, _) => {
                self.line.follow(&event)?;
                Followed::Noted
            }
            (Some(job), Some(terms)) => self.accept(job, terms, &event)?,
            (Some(job), None) if self.unsealed.contains(&job) => {
                self.is_free(event.fact.spool_key())?;
                effect_unsealed(job, &event)
            }
            (Some(job), None) => self.jobs.get_mut(&job).ok_or(Breach::NoJob(job))?.follow(job, &event)?,
        };
        let hash = hash_version_two(&self.place.hash, self.place.ledger, bytes);
        self.place = ChainPlace { n: next, hash, ..self.place };
        self.version_two = true;
        Ok(followed)
    }

    /// Follows the next event of chain version 1, whose canonical bytes these are.
    fn follow_version_one(&mut self, bytes: &[u8]) -> Result<Followed, Breach> {
        let wrong = |what: &str| Breach::VersionOne(what.to_owned());
        let row = VersionOneRow::read(bytes).ok_or_else(|| wrong("its bytes are no event"))?;
        let next = self.place.n.saturating_add(1);
        if row.n != next {
            return Err(Breach::Number { next, got: row.n });
        }
        if self.version_two {
            return Err(wrong("it follows one of version 2"));
        }
        let hash = hash_version_one(&self.place.hash, &row, &mut Vec::new());
        let event = row.typed().map_err(Breach::VersionOne)?;
        let mut followed = Followed::Noted;
        match event.job {
            None => self.line.follow(&event)?,
            Some(job) if event.fact == EventFact::Accepted(None) => {
                let next = self.next_job();
                if job != next {
                    return Err(Breach::JobNumber { next, got: job });
                }
                self.unsealed.insert(job);
            }
            Some(job) if self.unsealed.contains(&job) => followed = chip_of(job, &event),
            Some(job) => return Err(Breach::NoJob(job)),
        }
        self.place = ChainPlace { n: next, hash, ..self.place };
        Ok(followed)
    }

    /// Checks that no job whose terms are known has this key.
    fn is_free(&self, key: Option<SpoolKeyName>) -> Result<(), Breach> {
        let has = |job: &&FollowedJob| key.is_some() && job.terms.spool_key == key;
        let taken = self.jobs.iter().find(|(_, job)| has(job));
        taken.map_or(Ok(()), |(job, _)| Err(Breach::SpoolKeyTwice(*job)))
    }

    /// Whether a job was accepted in chain version 1. Its terms are not known.
    pub fn has_unsealed(&self) -> bool {
        !self.unsealed.is_empty()
    }

    fn next_job(&self) -> JobId {
        let sealed = self.jobs.last_key_value().map(|(last, _)| last.0);
        let last = sealed.max(self.unsealed.last().map(|last| last.0)).unwrap_or_default();
        JobId(last.saturating_add(1))
    }

    fn accept(&mut self, job: JobId, terms: &AcceptedTerms, event: &LedgerEvent) -> Result<Followed, Breach> {
        let next = self.next_job();
        if job != next {
            return Err(Breach::JobNumber { next, got: job });
        }
        let keys = [file_name_hash(&terms.issuer, &terms.file_id), terms.digest];
        if let Some(taken) = keys.iter().find_map(|key| self.files.get(key)) {
            return Err(Breach::FileTwice(*taken));
        }
        self.is_free(terms.spool_key)?;
        let mut follower = JobFollower::without_names(terms.records, terms.rejects_shredded);
        follower.apply(event)?;
        let positions = vec![0; follower.book.records.len()];
        let followed = FollowedJob { terms: terms.clone(), follower, positions, records_digest: None };
        self.jobs.insert(job, followed);
        self.files.extend(keys.map(|key| (key, job)));
        Ok(Followed::Accepted(job))
    }
}

impl FollowedJob {
    fn follow(&mut self, job: JobId, event: &LedgerEvent) -> Result<Followed, FollowFault> {
        names_no_key(event)?;
        let before = BookBefore::of(&self.follower.book, event);
        let Some(change) = self.follower.apply(event)? else { return Ok(Followed::Noted) };
        if let Err(fault) = self.follower.agrees(event, &change) {
            before.put_back(&mut self.follower.book);
            return Err(fault);
        }
        Ok(self.effect(job, event))
    }

    /// What a followed event means, and what is kept of it beside the book.
    fn effect(&mut self, job: JobId, event: &LedgerEvent) -> Followed {
        let card = event.fact.card();
        let card = card.map(|card| FollowedCard { job, seq: card.record.seq, attempt: card.attempt });
        match (&event.fact, card) {
            (EventFact::Bound { .. } | EventFact::ChipFound { .. }, _) => chip_of(job, event),
            (EventFact::Moved { to, .. }, Some(card)) => match to {
                AttemptState::Written | AttemptState::Rejected | AttemptState::Unknown => {
                    Followed::Over(card)
                }
                // A sample left the stack: its record is made again.
                AttemptState::Sample => self.placed(card.seq, 0),
                _ => Followed::Noted,
            },
            (EventFact::Stacked { position, .. }, Some(card)) => self.placed(card.seq, *position),
            (EventFact::Closed, _) => {
                self.close();
                Followed::Closed(job)
            }
            (EventFact::Deleting { .. }, _) => Followed::Deleting { job, spool_key: self.terms.spool_key },
            _ => Followed::Noted,
        }
    }

    fn placed(&mut self, seq: u32, position: u32) -> Followed {
        let index = usize::try_from(seq).ok().and_then(|seq| seq.checked_sub(1));
        if let Some(place) = index.and_then(|index| self.positions.get_mut(index)) {
            *place = position;
        }
        Followed::Noted
    }

    /// Keeps of a CLOSED job's records only the digest of their outcomes.
    fn close(&mut self) {
        let book = &mut self.follower.book;
        let mut outcomes = OutcomesDigest::default();
        for ((seq, life), position) in book.records.lives().zip(&self.positions) {
            let attempts = u32::try_from(book.records.attempts_of(seq).len()).unwrap_or(u32::MAX);
            outcomes.add(seq, life.state, attempts, *position);
        }
        self.records_digest = Some(outcomes.finish());
        self.positions = Vec::new();
        book.records = JobRecords::unnamed(0);
        book.chips.clear();
    }
}

/// What an event of a job means whose terms are not known.
fn effect_unsealed(job: JobId, event: &LedgerEvent) -> Followed {
    match event.fact {
        EventFact::Deleting { spool_key } => Followed::Deleting { job, spool_key },
        _ => chip_of(job, event),
    }
}

/// What an event about a chip of this job means: the chip is used from now on. Any other event means nothing.
fn chip_of(job: JobId, event: &LedgerEvent) -> Followed {
    let Some(subject) = event.fact.card() else { return Followed::Noted };
    let card = FollowedCard { job, seq: subject.record.seq, attempt: subject.attempt };
    match &event.fact {
        EventFact::Bound { chip, .. } => {
            Followed::Bound { card, card_ref: subject.record.card_ref.clone(), chip: *chip }
        }
        EventFact::ChipFound { chip, .. } => Followed::ChipFound { card, chip: *chip },
        _ => Followed::Noted,
    }
}

/// SHA-256 of `"CWF1" | L1 issuer_id | L1 file_id`: the name of a file, wherever an HSM remembers it.
pub fn file_name_hash(issuer: &str, file_id: &str) -> [u8; 32] {
    let mut sha = Sha256::new_with_prefix(b"CWF1");
    for text in [issuer, file_id] {
        // Both have at most 255 bytes: the codec and the reader of a Header check that.
        sha.update([u8::try_from(text.len()).unwrap_or(u8::MAX)]);
        sha.update(text);
    }
    sha.finalize().into()
}
