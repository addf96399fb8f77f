//! Attempts under way: which one may open a session on which chip, and which step of it comes next. For the life of a host: after
//! a restart no attempt that was bound before has a session. Pure.
//!
//! ```text
//! BOUND with chip ─> NOTED(step 1)       BOUND without ─> AWAITS CHIP ─ CHIP ─> NOTED(step 1)
//! NOTED at once BARRED: chip seen, KMC not in the store, file not admitted, an earlier attempt that may still exist
//! BARRED(earlier attempt) ─ proof that it is destroyed ─> NOTED       the other bars stay
//! NOTED(step i) ─ begin ─> ASKED(step i) ─ answered ─> NOTED(step i + 1)
//!                              └───── refused ─────> NOTED(step i)
//! any ─ WRITTEN, REJECTED, UNKNOWN ─> gone
//! ```
//!
//! A step is asked once at a time: two sessions of one step on one chip would encrypt with the same key.
//!
//! Not here: what a session needs besides (`soft`), the set of all chips (`chips`).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::audit::LedgerId;
use crate::hsm::CardAttempt;
use crate::ids::Aid;
use crate::laws::ChipId;

/// Why an attempt gets no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum AttemptBar {
    /// Its chip was bound before, in this ledger or another one.
    #[error(
        "its chip was bound to a record before, in this job or another one: the card was used before, or another card has equal keys"
    )]
    ChipSeen,
    /// The KMC of its chip is not in the store, so that nothing says which chip it is.
    #[error("the KMC of its chip is not in the key store: import the KMC, then go on")]
    NoKmc,
    /// The file of its job was not admitted.
    #[error(
        "the file of its job was not admitted, or an earlier version accepted the job: cancel the records of this job, and have the issuer send \
         them in a new file"
    )]
    NotAdmitted,
    /// The card of an earlier attempt may still exist.
    #[error("an earlier card of the record may still exist")]
    EarlierAttempt,
}

/// SHA-256 of the names of a record: the hash of its file's name, and its card_ref.
pub fn record_name_hash(file: &[u8; 32], card_ref: &str) -> [u8; 32] {
    Sha256::new().chain_update(file).chain_update(card_ref).finalize().into()
}

/// Why a step is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum AttemptRefusal {
    /// It was not bound in the life of this host, or it is over.
    #[error("the attempt is over, or was bound before this HSM host started")]
    Stale,
    /// Its chip is not known yet.
    #[error("the chip of the attempt is not in the ledger yet")]
    AwaitsChip,
    /// It gets no session.
    #[error("the attempt gets no session: {0}")]
    Barred(AttemptBar),
    /// Another chip answered.
    #[error("the chip is not the one to which the attempt is bound")]
    OtherChip,
    /// The handle is of another record.
    #[error("the handle belongs to another record than the attempt")]
    OtherRecord,
    /// The step is asked on another connection at this moment.
    #[error("another connection is asking for this step now")]
    Asked,
    /// Steps come in order, each once.
    #[error("step {next} of the attempt comes next")]
    Step {
        /// The next one.
        next: u8,
    },
    /// Each application is opened once.
    #[error("the application was opened before in this attempt")]
    OpenedBefore,
}

/// A step of an attempt that somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedStep {
    /// The attempt.
    pub card: CardAttempt,
    /// The chip that answered.
    pub chip: ChipId,
    /// Hash of the names of the record of which the handle is, and its sequence.
    pub record: ([u8; 32], u32),
    /// Number of the step, from 1.
    pub step: u8,
    /// The application that it opens.
    pub aid: Aid,
    /// Digest of the whole question.
    pub question: [u8; 32],
}

/// An attempt under way. `A` is the answer to a step.
struct NotedAttempt<A> {
    /// Hash of its record's names: [`record_name_hash`].
    name: [u8; 32],
    chip: Option<ChipId>,
    bars: BTreeSet<AttemptBar>,
    /// The next step, from 1.
    step: u8,
    /// Whether somebody asks for it now.
    asked: bool,
    opened: BTreeSet<Aid>,
    /// Digest of the last question, and its answer.
    last: Option<([u8; 32], A)>,
}

/// All attempts under way.
pub struct AttemptTable<A> {
    noted: BTreeMap<CardAttempt, NotedAttempt<A>>,
    /// Whether the store was found to be an old one: no attempt is noted any more.
    stopped: bool,
}

impl<A> Default for AttemptTable<A> {
    fn default() -> Self {
        Self { noted: BTreeMap::new(), stopped: false }
    }
}

impl<A> AttemptTable<A> {
    /// An attempt was bound, for the record whose names have this hash. `bars` are those of its job, its record and, if it
    /// is known, its chip.
    pub fn bound(
        &mut self,
        card: CardAttempt,
        name: [u8; 32],
        chip: Option<ChipId>,
        bars: impl IntoIterator<Item = AttemptBar>,
    ) {
        if self.stopped {
            return;
        }
        let (bars, opened) = (bars.into_iter().collect(), BTreeSet::new());
        self.noted.insert(card, NotedAttempt { name, chip, bars, step: 1, asked: false, opened, last: None });
    }

    /// The chip of an attempt became known.
    pub fn chip_found(
        &mut self,
        card: CardAttempt,
        chip: ChipId,
        bars: impl IntoIterator<Item = AttemptBar>,
    ) {
        if let Some(noted) = self.noted.get_mut(&card) {
            noted.chip = Some(chip);
            noted.bars.extend(bars);
        }
    }

    /// Every earlier card of the record is proved destroyed.
    pub fn earlier_destroyed(&mut self, card: CardAttempt) {
        if let Some(noted) = self.noted.get_mut(&card) {
            noted.bars.remove(&AttemptBar::EarlierAttempt);
        }
    }

    /// The attempt is over. Its last answer is dropped.
    pub fn over(&mut self, card: CardAttempt) {
        self.noted.remove(&card);
    }

    /// The ledger goes no further: none of its attempts does.
    pub fn ledger_stopped(&mut self, ledger: LedgerId) {
        self.noted.retain(|card, _| card.ledger != ledger);
    }

    /// The store is an old one: no attempt goes on, and none is noted any more.
    pub fn stop(&mut self) {
        self.stopped = true;
        self.noted.clear();
    }

    /// Why an attempt gets no session, if something bars it.
    pub fn bar(&self, card: CardAttempt) -> Option<AttemptBar> {
        self.noted.get(&card)?.bars.first().copied()
    }

    /// The answer to this question, if it was the last one of the attempt.
    pub fn answer_again(&self, card: CardAttempt, question: &[u8; 32]) -> Option<&A> {
        let (last, answer) = self.noted.get(&card)?.last.as_ref()?;
        (last == question).then_some(answer)
    }

    /// Begins a step, if it may be asked: [`AttemptTable::answered`] or [`AttemptTable::refused`] ends it.
    pub fn begin(&mut self, asked: &AskedStep) -> Result<(), AttemptRefusal> {
        let noted = self.noted.get_mut(&asked.card).ok_or(AttemptRefusal::Stale)?;
        if let Some(bar) = noted.bars.first() {
            return Err(AttemptRefusal::Barred(*bar));
        }
        if noted.chip.ok_or(AttemptRefusal::AwaitsChip)? != asked.chip {
            return Err(AttemptRefusal::OtherChip);
        }
        if (noted.name, asked.card.seq) != asked.record {
            return Err(AttemptRefusal::OtherRecord);
        }
        if noted.asked {
            return Err(AttemptRefusal::Asked);
        }
        if asked.step != noted.step {
            return Err(AttemptRefusal::Step { next: noted.step });
        }
        if noted.opened.contains(&asked.aid) {
            return Err(AttemptRefusal::OpenedBefore);
        }
        noted.asked = true;
        Ok(())
    }

    /// A step that was begun was not answered.
    pub fn refused(&mut self, card: CardAttempt) {
        if let Some(noted) = self.noted.get_mut(&card) {
            noted.asked = false;
        }
    }

    /// A step that was begun is answered. Returns false if the attempt ended meanwhile: then nothing is answered.
    pub fn answered(&mut self, asked: &AskedStep, answer: A) -> bool {
        let Some(noted) = self.noted.get_mut(&asked.card).filter(|noted| noted.asked) else { return false };
        noted.asked = false;
        // A record has fewer applications than steps have numbers.
        noted.step = noted.step.saturating_add(1);
        noted.opened.insert(asked.aid.clone());
        noted.last = Some((asked.question, answer));
        true
    }
}
