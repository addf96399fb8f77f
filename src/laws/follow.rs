//! Rebuilds the state of a job from its events. Pure.
//!
//! Each event is turned back into the change that it records. The laws (`book`) must allow that change, and the
//! change must make exactly this event again.
//!
//! Not here: the chain (`chain`), what an audit compares with the tables (`ledger::replay`).

use serde::{Deserialize, Serialize};

use super::book::{ChangeEffect, JobBook, LAWS};
use super::event::{ChainVersion, EventFact, LedgerEvent};
use super::fact::{change_of, fact_of};
use super::law::Law;
use super::records::JobRecords;
use super::types::Change;
use crate::ids::CardNames;

/// Why an event does not follow from the events before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FollowFault {
    /// Its meaning is unknown, and nothing after it can be checked.
    #[error(
        "it is of a kind, or has a field, that this program does not know ({0:04X}): audit the ledger with the program that \
         wrote it"
    )]
    Unknown(u16),
    /// A job is accepted once.
    #[error("its job was accepted before")]
    AcceptedTwice,
    /// The laws of the job are of another version.
    #[error("its job was accepted under laws {0}, and this program knows {LAWS}")]
    OtherLaws(u16),
    /// ACCEPTED is the first event of a job.
    #[error("its job was not accepted before it")]
    NotAccepted,
    /// The event records no change.
    #[error("it records no change: {0}")]
    NoChange(String),
    /// A law forbids its change.
    #[error("it is against a law: {0}")]
    AgainstLaw(#[from] Law),
    /// Its change makes another event.
    #[error("its {0} does not follow from the events before it")]
    Differs(&'static str),
    /// It is about no job, and begins no shift.
    #[error("it is about no job, and begins no shift")]
    NoShift,
    /// Each shift has a name of its own.
    #[error("there was a shift of this name before")]
    ShiftTwice,
}

/// Refuses an event whose meaning is unknown.
pub(super) fn understood(event: &LedgerEvent) -> Result<(), FollowFault> {
    if event.fact.is_understood() { Ok(()) } else { Err(FollowFault::Unknown(event.kind())) }
}

/// A job's state, rebuilt from its events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JobFollower {
    /// The state after the last event.
    pub(crate) book: JobBook,
    /// Whether its ACCEPTED event has been read.
    pub(crate) accepted: bool,
}

/// The change of an event, applied to the book.
pub(crate) struct FollowedChange {
    change: Change,
    /// What it did.
    pub(crate) effect: ChangeEffect,
}

impl JobFollower {
    /// The state of a job when it was accepted, before any event.
    pub(crate) fn new(cards: CardNames, rejects_shredded: bool) -> Self {
        // The first event of the job sets whether it is simulated.
        Self { book: JobBook::new(JobRecords::queued(cards), rejects_shredded, false), accepted: false }
    }

    /// A job whose cards have no names here: an event is not asked for the right one.
    pub(super) fn without_names(records: u32, rejects_shredded: bool) -> Self {
        let book = JobBook::new(JobRecords::unnamed(records), rejects_shredded, false);
        Self { book, accepted: false }
    }

    /// Applies the change of the job's next event; `None` if the event changes nothing. The error says what is wrong with
    /// the event. A change that was applied is compared by [`JobFollower::agrees`].
    pub(crate) fn apply(&mut self, event: &LedgerEvent) -> Result<Option<FollowedChange>, FollowFault> {
        understood(event)?;
        if let EventFact::Unknown { .. } = event.fact {
            // A note of a newer program changes nothing.
            return Ok(None);
        }
        if let EventFact::Accepted(terms) = &event.fact {
            if std::mem::replace(&mut self.accepted, true) {
                return Err(FollowFault::AcceptedTwice);
            }
            if let Some(terms) = terms.as_ref().filter(|terms| terms.laws != LAWS) {
                return Err(FollowFault::OtherLaws(terms.laws));
            }
            self.book.simulated = event.simulated;
            return Ok(None);
        }
        if !self.accepted {
            return Err(FollowFault::NotAccepted);
        }
        let change = change_of(&event.fact).ok_or_else(|| FollowFault::NoChange(event.to_word()))?;
        match event.chain {
            ChainVersion::One => self.apply_version_one(event, change),
            ChainVersion::Two => {
                let effect = self.book.apply(&change)?;
                Ok(FollowedChange { change, effect })
            }
        }
        .map(Some)
    }

    /// Most events of version 1 identify a chip by its label alone, and version 1 has no DELETING.
    fn apply_version_one(
        &mut self,
        event: &LedgerEvent,
        change: Change,
    ) -> Result<FollowedChange, FollowFault> {
        let told = event.fact.chip().copied();
        let change = match change {
            Change::Bound { seq, blank, .. } => Change::Bound { seq, blank, chip: None },
            Change::RejectedUnbound { blank, .. } => Change::RejectedUnbound { blank, chip: None },
            change => change,
        };
        // The laws require DELETING before DELETED.
        if matches!(change, Change::Deleted(_)) {
            self.book.apply(&Change::Deleting { spool_key: None })?;
        }
        let mut effect = self.book.apply(&change)?;
        // Version 1 recorded the state of the job as the state before.
        if matches!(change, Change::Deleted(_)) {
            effect.from = Some(self.book.state.into());
        }
        let label = event.fact.blank().and_then(|blank| blank.label);
        if let (Change::Bound { seq, .. }, Some(label)) = (&change, label) {
            self.book.name_blank(*seq, label);
            self.book.chips.extend(told.map(|chip| chip.identity));
        }
        Ok(FollowedChange { change, effect })
    }

    /// Checks that the change makes exactly this event again. The error says what differs.
    pub(crate) fn agrees(&self, event: &LedgerEvent, followed: &FollowedChange) -> Result<(), FollowFault> {
        let FollowedChange { change, effect } = followed;
        match event.chain {
            ChainVersion::One => self.agrees_version_one(event, effect)?,
            ChainVersion::Two => {
                let names = self.book.records.names();
                let card_ref = match effect.seq {
                    Some(seq) if !names.is_empty() => self.book.records.card_ref(seq),
                    _ => event.card_ref(),
                };
                if fact_of(change, effect, card_ref).as_ref() != Some(&event.fact) {
                    return Err(FollowFault::Differs("card, blank or chip"));
                }
            }
        }
        if event.from != effect.from {
            return Err(FollowFault::Differs("earlier state"));
        }
        if event.simulated != self.book.simulated {
            return Err(FollowFault::Differs("mark SIMULATED"));
        }
        Ok(())
    }

    fn agrees_version_one(&self, event: &LedgerEvent, effect: &ChangeEffect) -> Result<(), FollowFault> {
        if event.attempt() != effect.attempt.map(|(number, _)| number) {
            return Err(FollowFault::Differs("attempt"));
        }
        if event.card_ref() != effect.seq.and_then(|seq| self.book.records.card_ref(seq)) {
            return Err(FollowFault::Differs("card_ref"));
        }
        if event.position() != effect.position {
            return Err(FollowFault::Differs("stack position"));
        }
        let Some((_, attempt)) = effect.attempt else { return Ok(()) };
        let attempts = effect.seq.map_or(&[][..], |seq| self.book.records.attempts_of(seq));
        let last = attempts.last().filter(|a| a.blank == attempt.blank);
        let label = last.map_or(attempt.label, |last| last.label);
        let told = event.fact.blank();
        let number = told.and_then(|told| told.number).is_none_or(|number| number == attempt.blank);
        if !number || told.and_then(|told| told.label) != label {
            return Err(FollowFault::Differs("blank"));
        }
        Ok(())
    }
}

/// Checks an event of a job whose ACCEPTED states the key of its spool: no other event names one.
pub(crate) fn names_no_key(event: &LedgerEvent) -> Result<(), FollowFault> {
    match event.fact {
        EventFact::Deleting { spool_key: Some(_) } => Err(FollowFault::Differs("key of the spool")),
        _ => Ok(()),
    }
}
