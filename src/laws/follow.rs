//! Rebuilds the state of a job from its events. Pure.
//!
//! Each event is turned back into the change that it records. The laws (`book`) must allow that change, and the
//! change must make exactly this event again.
//!
//! Not here: the chain (`chain`), what an audit compares with the tables (`ledger::replay`).

use super::book::{ChangeEffect, JobBook, LAWS};
use super::event::{ChainVersion, EventFact, LedgerEvent};
use super::fact::{change_of, fact_of};
use super::records::JobRecords;
use super::types::Change;
use crate::ids::CardNames;

/// Refuses an event whose meaning is unknown, because nothing after it can be checked.
pub(super) fn understood(event: &LedgerEvent) -> Result<(), String> {
    if event.fact.is_understood() {
        return Ok(());
    }
    Err(format!(
        "it is of a kind, or has a field, that this program does not know ({:04X}): audit the ledger with the program that \
         wrote it",
        event.kind()
    ))
}

/// A job's state, rebuilt from its events.
#[derive(Debug, Clone)]
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

    /// Applies the change of the job's next event; `None` if the event changes nothing. The error says what is wrong with
    /// the event. A change that was applied is compared by [`JobFollower::agrees`].
    pub(crate) fn apply(&mut self, event: &LedgerEvent) -> Result<Option<FollowedChange>, String> {
        understood(event)?;
        if let EventFact::Unknown { .. } = event.fact {
            // A note of a newer program changes nothing.
            return Ok(None);
        }
        if let EventFact::Accepted(terms) = &event.fact {
            if std::mem::replace(&mut self.accepted, true) {
                return Err("its job was accepted before".to_owned());
            }
            if let Some(terms) = terms.as_ref().filter(|terms| terms.laws != LAWS) {
                return Err(format!(
                    "its job was accepted under laws {}, and this program knows {LAWS}",
                    terms.laws
                ));
            }
            self.book.simulated = event.simulated;
            return Ok(None);
        }
        if !self.accepted {
            return Err("its job was not accepted before it".to_owned());
        }
        let change =
            change_of(&event.fact).ok_or_else(|| format!("it records no change: {}", event.to_word()))?;
        match event.chain {
            ChainVersion::One => self.apply_version_one(event, change),
            ChainVersion::Two => {
                let effect = self.change(&change)?;
                Ok(FollowedChange { change, effect })
            }
        }
        .map(Some)
    }

    /// Most events of version 1 identify a chip by its label alone, and version 1 has no DELETING.
    fn apply_version_one(&mut self, event: &LedgerEvent, change: Change) -> Result<FollowedChange, String> {
        let told = event.fact.chip().copied();
        let change = match change {
            Change::Bound { seq, blank, .. } => Change::Bound { seq, blank, chip: None },
            Change::RejectedUnbound { blank, .. } => Change::RejectedUnbound { blank, chip: None },
            change => change,
        };
        // The laws require DELETING before DELETED.
        if matches!(change, Change::Deleted(_)) {
            self.change(&Change::Deleting)?;
        }
        let mut effect = self.change(&change)?;
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

    fn change(&mut self, change: &Change) -> Result<ChangeEffect, String> {
        self.book.apply(change).map_err(|law| format!("it is against a law: {law}"))
    }

    /// Checks that the change makes exactly this event again. The error says what differs.
    pub(crate) fn agrees(&self, event: &LedgerEvent, followed: &FollowedChange) -> Result<(), String> {
        let FollowedChange { change, effect } = followed;
        match event.chain {
            ChainVersion::One => self.agrees_version_one(event, effect)?,
            ChainVersion::Two => {
                if fact_of(change, effect, &self.book).as_ref() != Some(&event.fact) {
                    return Err(differs("card, blank or chip"));
                }
            }
        }
        if event.from != effect.from {
            return Err(differs("earlier state"));
        }
        if event.simulated != self.book.simulated {
            return Err(differs("mark SIMULATED"));
        }
        Ok(())
    }

    fn agrees_version_one(&self, event: &LedgerEvent, effect: &ChangeEffect) -> Result<(), String> {
        if event.attempt() != effect.attempt.map(|(number, _)| number) {
            return Err(differs("attempt"));
        }
        if event.card_ref() != effect.seq.and_then(|seq| self.book.records.card_ref(seq)) {
            return Err(differs("card_ref"));
        }
        if event.position() != effect.position {
            return Err(differs("stack position"));
        }
        let Some((_, attempt)) = effect.attempt else { return Ok(()) };
        let attempts = effect.seq.map_or(&[][..], |seq| self.book.records.attempts_of(seq));
        let last = attempts.last().filter(|a| a.blank == attempt.blank);
        let label = last.map_or(attempt.label, |last| last.label);
        let told = event.fact.blank();
        let number = told.and_then(|told| told.number).is_none_or(|number| number == attempt.blank);
        if !number || told.and_then(|told| told.label) != label {
            return Err(differs("blank"));
        }
        Ok(())
    }
}

fn differs(what: &str) -> String {
    format!("its {what} does not follow from the events before it")
}
