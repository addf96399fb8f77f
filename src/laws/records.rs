//! The records of a job, by sequence from 1. A record that waits takes little memory, because a job may have millions:
//! attempts are kept only of the records that have some.
//!
//! Not here: the laws of their states (`book`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::book::Attempt;
use super::types::RecordState;
use crate::ids::CardNames;

/// The records of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JobRecords {
    /// None where a ledger is followed without names; only such records are stored in this form.
    #[serde(skip)]
    names: CardNames,
    states: Vec<RecordLife>,
    /// By sequence.
    attempts: BTreeMap<u32, Vec<Attempt>>,
}

/// State of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RecordLife {
    /// Its state now.
    pub(crate) state: RecordState,
    /// Only for REMAKE: a person allowed the record to be made again.
    pub(crate) released: bool,
}

impl JobRecords {
    /// Records that wait.
    pub(crate) fn queued(names: CardNames) -> Self {
        let waiting = RecordLife { state: RecordState::Queued, released: false };
        let states = vec![waiting; names.len()];
        Self::new(names, states)
    }

    /// Records that wait, without their names.
    pub(crate) fn unnamed(records: u32) -> Self {
        let waiting = RecordLife { state: RecordState::Queued, released: false };
        let count = usize::try_from(records).unwrap_or(usize::MAX);
        Self::new(CardNames::default(), vec![waiting; count])
    }

    /// Records in these states, by sequence from 1, without attempts. As many states as names, or no names if the caller
    /// needs none.
    pub(crate) fn new(names: CardNames, states: Vec<RecordLife>) -> Self {
        Self { names, states, attempts: BTreeMap::new() }
    }

    /// Number of records.
    pub(crate) fn len(&self) -> usize {
        self.states.len()
    }

    /// The card_refs, in order.
    pub(crate) fn names(&self) -> &CardNames {
        &self.names
    }

    /// The card_ref of a record.
    pub(crate) fn card_ref(&self, seq: u32) -> Option<&str> {
        self.names.get(index(seq)?)
    }

    /// The state of a record.
    pub(crate) fn life(&self, seq: u32) -> Option<RecordLife> {
        self.states.get(index(seq)?).copied()
    }

    /// The state of a record, to change it.
    pub(crate) fn life_mut(&mut self, seq: u32) -> Option<&mut RecordLife> {
        self.states.get_mut(index(seq)?)
    }

    /// The states of all records, with their sequences.
    pub(crate) fn lives(&self) -> impl Iterator<Item = (u32, RecordLife)> {
        (1u32..).zip(self.states.iter().copied())
    }

    /// The attempts of a record, in order; the first is number 1.
    pub(crate) fn attempts_of(&self, seq: u32) -> &[Attempt] {
        self.attempts.get(&seq).map_or(&[], Vec::as_slice)
    }

    /// The attempts of a record, to change them.
    pub(crate) fn attempts_of_mut(&mut self, seq: u32) -> &mut [Attempt] {
        self.attempts.get_mut(&seq).map_or(&mut [], Vec::as_mut_slice)
    }

    /// Adds an attempt of a record, and returns its number.
    pub(crate) fn attempt(&mut self, seq: u32, attempt: Attempt) -> u32 {
        let attempts = self.attempts.entry(seq).or_default();
        attempts.push(attempt);
        u32::try_from(attempts.len()).unwrap_or(u32::MAX)
    }

    /// Makes a record what it was.
    pub(crate) fn put_back(&mut self, seq: u32, life: RecordLife, attempts: Vec<Attempt>) {
        if let Some(now) = self.life_mut(seq) {
            *now = life;
        }
        if attempts.is_empty() {
            self.attempts.remove(&seq);
        } else {
            self.attempts.insert(seq, attempts);
        }
    }

    /// The attempts of all records.
    pub(crate) fn attempts(&self) -> impl Iterator<Item = &Attempt> {
        self.attempts.values().flatten()
    }
}

fn index(seq: u32) -> Option<usize> {
    usize::try_from(seq).ok()?.checked_sub(1)
}
