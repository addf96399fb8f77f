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
        "its chip was bound to a record before, in this job or another one; another card has the same keys, or it is a used card"
    )]
    ChipSeen,
    /// The KMC of its chip is not in the store, so that nothing says which chip it is.
    #[error("the KMC of its chip was not in the key store when it was bound")]
    NoKmc,
    /// The file of its job was not admitted.
    #[error("the file of its job was not admitted")]
    NotAdmitted,
    /// The card of an earlier attempt may still exist.
    #[error("an earlier card of the record may still exist")]
    EarlierAttempt,
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
    #[error("the chip is not the one of the attempt")]
    OtherChip,
    /// The handle is of another record.
    #[error("the handle is of another record than the attempt")]
    OtherRecord,
    /// The step is asked on another connection at this moment.
    #[error("the step is asked by another connection now")]
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
    /// Hash of the name of the file, and sequence of the record, of which the handle is.
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
    /// Hash of the name of its file.
    file: [u8; 32],
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
pub struct AttemptTable<A>(BTreeMap<CardAttempt, NotedAttempt<A>>);

impl<A> Default for AttemptTable<A> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<A> AttemptTable<A> {
    /// An attempt was bound, for a record of the file whose name has this hash. `bars` are those of its job, its record and, if it
    /// is known, its chip.
    pub fn bound(
        &mut self,
        card: CardAttempt,
        file: [u8; 32],
        chip: Option<ChipId>,
        bars: impl IntoIterator<Item = AttemptBar>,
    ) {
        let (bars, opened) = (bars.into_iter().collect(), BTreeSet::new());
        self.0.insert(card, NotedAttempt { file, chip, bars, step: 1, asked: false, opened, last: None });
    }

    /// The chip of an attempt became known.
    pub fn chip_found(
        &mut self,
        card: CardAttempt,
        chip: ChipId,
        bars: impl IntoIterator<Item = AttemptBar>,
    ) {
        if let Some(noted) = self.0.get_mut(&card) {
            noted.chip = Some(chip);
            noted.bars.extend(bars);
        }
    }

    /// Every earlier card of the record is proved destroyed.
    pub fn earlier_destroyed(&mut self, card: CardAttempt) {
        if let Some(noted) = self.0.get_mut(&card) {
            noted.bars.remove(&AttemptBar::EarlierAttempt);
        }
    }

    /// The attempt is over. Its last answer is dropped.
    pub fn over(&mut self, card: CardAttempt) {
        self.0.remove(&card);
    }

    /// The ledger goes no further: none of its attempts does.
    pub fn ledger_stopped(&mut self, ledger: LedgerId) {
        self.0.retain(|card, _| card.ledger != ledger);
    }

    /// The store does nothing more: no attempt goes on.
    pub fn store_stopped(&mut self) {
        self.0.clear();
    }

    /// Why an attempt gets no session, if something bars it.
    pub fn bar(&self, card: CardAttempt) -> Option<AttemptBar> {
        self.0.get(&card)?.bars.first().copied()
    }

    /// The answer to this question, if it was the last one of the attempt.
    pub fn answer_again(&self, card: CardAttempt, question: &[u8; 32]) -> Option<&A> {
        let (last, answer) = self.0.get(&card)?.last.as_ref()?;
        (last == question).then_some(answer)
    }

    /// Begins a step, if it may be asked: [`AttemptTable::answered`] or [`AttemptTable::refused`] ends it.
    pub fn begin(&mut self, asked: &AskedStep) -> Result<(), AttemptRefusal> {
        let noted = self.0.get_mut(&asked.card).ok_or(AttemptRefusal::Stale)?;
        if let Some(bar) = noted.bars.first() {
            return Err(AttemptRefusal::Barred(*bar));
        }
        if noted.chip.ok_or(AttemptRefusal::AwaitsChip)? != asked.chip {
            return Err(AttemptRefusal::OtherChip);
        }
        if (noted.file, asked.card.seq) != asked.record {
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
        if let Some(noted) = self.0.get_mut(&card) {
            noted.asked = false;
        }
    }

    /// A step that was begun is answered. Returns false if the attempt ended meanwhile: then nothing is answered.
    pub fn answered(&mut self, asked: &AskedStep, answer: A) -> bool {
        let Some(noted) = self.0.get_mut(&asked.card).filter(|noted| noted.asked) else { return false };
        noted.asked = false;
        // A record has fewer applications than steps have numbers.
        noted.step = noted.step.saturating_add(1);
        noted.opened.insert(asked.aid.clone());
        noted.last = Some((asked.question, answer));
        true
    }
}
