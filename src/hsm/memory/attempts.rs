//! Attempts under way: which one may open a session on which chip, and which step of it comes next. For the life of a host: after
//! a restart no attempt that was bound before has a session. Pure.
//!
//! ```text
//! BOUND with chip ─> NOTED(step 1)       BOUND without ─> AWAITS CHIP ─ CHIP ─> NOTED(step 1)
//! NOTED at once BARRED: chip seen, KMC not in the store, file not admitted, an earlier attempt that may still exist
//! BARRED(earlier attempt) ─ proof that it is destroyed ─> NOTED       the other bars stay
//! NOTED(step i) ─ session i answered ─> NOTED(step i + 1)             any ─ WRITTEN, REJECTED, UNKNOWN ─> gone
//! ```
//!
//! Not here: what a session needs besides (`soft`), the set of all chips (`chips`).

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::Aid;
use crate::laws::{ChipId, FollowedCard};

/// Why an attempt gets no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AttemptBar {
    /// Its chip was bound before, in this ledger or another one.
    ChipSeen,
    /// The KMC of its chip is not in the store, so that nothing says which chip it is.
    NoKmc,
    /// The file of its job was not admitted.
    NotAdmitted,
    /// The card of an earlier attempt may still exist.
    EarlierAttempt,
}

/// Why a step is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AttemptRefusal {
    /// It was not bound in the life of this host, or it is over.
    #[error("the attempt is over, or was bound before this HSM started")]
    Stale,
    /// Its chip is not known yet.
    #[error("the chip of the attempt is not in the ledger yet")]
    AwaitsChip,
    /// It gets no session.
    #[error("the attempt gets no session: {0:?}")]
    Barred(AttemptBar),
    /// Another chip answered.
    #[error("the chip is not the one of the attempt")]
    OtherChip,
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

/// What an attempt may do now.
#[derive(Debug, PartialEq, Eq)]
pub enum AttemptTurn<'a, A> {
    /// The step is the next one: answer it, and tell [`AttemptTable::answered`].
    New,
    /// It is the last question again, and this was its answer.
    Again(&'a A),
}

/// An attempt under way. `A` is the answer to a step.
struct NotedAttempt<A> {
    chip: Option<ChipId>,
    bars: BTreeSet<AttemptBar>,
    /// The next step, from 1.
    step: u8,
    opened: BTreeSet<Aid>,
    /// Digest of the last question, and its answer.
    last: Option<([u8; 32], A)>,
}

/// All attempts under way.
pub struct AttemptTable<A>(BTreeMap<FollowedCard, NotedAttempt<A>>);

impl<A> Default for AttemptTable<A> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<A> AttemptTable<A> {
    /// An attempt was bound. `bars` are those of its job, its record and, if it is known, its chip.
    pub fn bound(
        &mut self,
        card: FollowedCard,
        chip: Option<ChipId>,
        bars: impl IntoIterator<Item = AttemptBar>,
    ) {
        let bars = bars.into_iter().collect();
        self.0.insert(card, NotedAttempt { chip, bars, step: 1, opened: BTreeSet::new(), last: None });
    }

    /// The chip of an attempt became known.
    pub fn chip_found(
        &mut self,
        card: FollowedCard,
        chip: ChipId,
        bars: impl IntoIterator<Item = AttemptBar>,
    ) {
        if let Some(noted) = self.0.get_mut(&card) {
            noted.chip = Some(chip);
            noted.bars.extend(bars);
        }
    }

    /// Every earlier card of the record is proved destroyed.
    pub fn earlier_destroyed(&mut self, card: FollowedCard) {
        if let Some(noted) = self.0.get_mut(&card) {
            noted.bars.remove(&AttemptBar::EarlierAttempt);
        }
    }

    /// The attempt is over. Its last answer is dropped.
    pub fn over(&mut self, card: FollowedCard) {
        self.0.remove(&card);
    }

    /// Why an attempt gets no session, if something bars it.
    pub fn bar(&self, card: FollowedCard) -> Option<AttemptBar> {
        self.0.get(&card)?.bars.first().copied()
    }

    /// Whether an attempt may open an application on this chip in this step. `question` is the digest of the whole request.
    pub fn may(
        &self,
        card: FollowedCard,
        chip: &ChipId,
        step: u8,
        aid: &Aid,
        question: &[u8; 32],
    ) -> Result<AttemptTurn<'_, A>, AttemptRefusal> {
        let noted = self.0.get(&card).ok_or(AttemptRefusal::Stale)?;
        if let Some(bar) = noted.bars.first() {
            return Err(AttemptRefusal::Barred(*bar));
        }
        if noted.chip.as_ref().ok_or(AttemptRefusal::AwaitsChip)? != chip {
            return Err(AttemptRefusal::OtherChip);
        }
        if let Some((known, answer)) = &noted.last
            && known == question
        {
            return Ok(AttemptTurn::Again(answer));
        }
        if step != noted.step {
            return Err(AttemptRefusal::Step { next: noted.step });
        }
        if noted.opened.contains(aid) {
            return Err(AttemptRefusal::OpenedBefore);
        }
        Ok(AttemptTurn::New)
    }

    /// A step that [`AttemptTable::may`] allowed was answered.
    pub fn answered(&mut self, card: FollowedCard, aid: Aid, question: [u8; 32], answer: A) {
        if let Some(noted) = self.0.get_mut(&card) {
            noted.step = noted.step.saturating_add(1);
            noted.opened.insert(aid);
            noted.last = Some((question, answer));
        }
    }
}
