//! What an audit adds to following a job's events (`laws::follow`): blanks, and facts about attempts, to compare with
//! the tables. It is an auditor's proof that no state was changed without an event. Pure.
//!
//! Not here: the chain (`laws::chain`), rows (`store`).

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::ids::{CardNames, KeyData};
use crate::laws::book::{BlankState, ChangeEffect, JobBook};
use crate::laws::event::{BlankLabel, ChainVersion, ChipId, EventFact, LedgerEvent};
use crate::laws::follow::{FollowFault, JobFollower, names_no_key};
use crate::laws::types::JobId;

/// A job's state, rebuilt from its events, and the facts that its book does not hold.
pub(super) struct JobReplay {
    job: JobId,
    /// ACCEPTED states the terms of the job.
    sealed: bool,
    follower: JobFollower,
    /// Blanks by number, from 1.
    blanks: Vec<ReplayedBlank>,
    /// Facts about attempts that were verified, by sequence and attempt.
    made: BTreeMap<(u32, u32), Made>,
    /// The texts in `made`, each stored once: a job has only a few different ones.
    texts: BTreeSet<Rc<str>>,
}

/// A blank, and what is known of its chip.
#[derive(Clone, Copy)]
struct ReplayedBlank {
    state: BlankState,
    chip: ReplayedChip,
}

/// The chip as the events record it.
#[derive(Clone, Copy)]
enum ReplayedChip {
    /// From an event of version 2, which records all of the chip, or from no event.
    Known(Option<ChipId>),
    /// From an event of version 1, which records KEYDATA, or only the CSN if it is older than the seal of jobs.
    VersionOne { label: Option<BlankLabel>, chip: Option<ChipId> },
}

/// Facts about an attempt that are not in the book.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Made {
    /// Place in the stacker.
    pub(super) position: Option<u32>,
    /// The comparisons that were made.
    pub(super) compared: Option<Rc<str>>,
}

impl JobReplay {
    /// The state of a job when it was accepted, before any event.
    pub(super) fn new(job: JobId, cards: CardNames, rejects_shredded: bool) -> Self {
        Self {
            job,
            sealed: false,
            follower: JobFollower::new(cards, rejects_shredded),
            blanks: Vec::new(),
            made: BTreeMap::new(),
            texts: BTreeSet::new(),
        }
    }

    /// The card_refs of the job's records, by sequence.
    pub(super) fn cards(&self) -> &CardNames {
        self.follower.book.records.names()
    }

    /// Checks the next event of the job and applies its change. The error says what is wrong with the event.
    pub(super) fn follow(&mut self, event: &LedgerEvent) -> Result<(), FollowFault> {
        self.sealed |= event.fact.terms().is_some();
        if self.sealed {
            names_no_key(event)?;
        }
        let Some(followed) = self.follower.apply(event)? else { return Ok(()) };
        self.note_blank(event, &followed.effect);
        self.note(event);
        self.follower.agrees(event, &followed)
    }

    /// Keeps the state and the chip of the blank.
    fn note_blank(&mut self, event: &LedgerEvent, effect: &ChangeEffect) {
        let Some((number, _)) = effect.blank else { return };
        let chip = match event.chain {
            ChainVersion::One => {
                let label = event.fact.blank().and_then(|blank| blank.label);
                ReplayedChip::VersionOne { label, chip: event.fact.chip().copied() }
            }
            ChainVersion::Two => ReplayedChip::Known(effect.chip),
        };
        if let Some(state) = effect.blank_state {
            self.set_blank(number, ReplayedBlank { state, chip });
        } else if effect.chip.is_some() {
            self.set_blank(number, ReplayedBlank { state: BlankState::Bound, chip });
        }
    }

    fn set_blank(&mut self, number: u32, blank: ReplayedBlank) {
        // By the laws, a number that is not known yet is the next one.
        match usize::try_from(number).ok().and_then(|n| self.blanks.get_mut(n.checked_sub(1)?)) {
            Some(known) => *known = blank,
            None => self.blanks.push(blank),
        }
    }

    /// Keeps the facts that the book does not hold.
    fn note(&mut self, event: &LedgerEvent) {
        let (Some(seq), Some(attempt)) = (event.seq(), event.attempt()) else { return };
        match &event.fact {
            EventFact::Verified { compared, .. } => {
                let text =
                    self.texts.get(compared.as_str()).cloned().unwrap_or_else(|| compared.as_str().into());
                self.texts.insert(Rc::clone(&text));
                self.made.entry((seq, attempt)).or_default().compared = Some(text);
            }
            EventFact::Stacked { position, .. } => {
                self.made.entry((seq, attempt)).or_default().position = Some(*position);
            }
            _ => {}
        }
    }

    /// Differences between the tables and the events, one line each.
    pub(super) fn differences(&self, tables: &JobBook) -> Vec<String> {
        let mut found = Vec::new();
        let job = self.job;
        if !self.follower.accepted {
            found.push(format!("{job}: no event records that it was accepted"));
        }
        if tables.simulated != self.follower.book.simulated {
            found.push(format!("{job}: whether it is SIMULATED differs from its events"));
        }
        if tables.state != self.follower.book.state {
            found.push(format!(
                "{job} is {} by its events, {} in the table",
                self.follower.book.state, tables.state
            ));
        }
        if (tables.deleting, tables.deleted) != (self.follower.book.deleting, self.follower.book.deleted) {
            found.push(format!("{job}: whether its cardholder data were deleted differs from its events"));
        }
        if tables.balance != self.follower.book.balance {
            found.push(format!("{job}: its balances differ from the sum of its events"));
        }
        if tables.stock != self.follower.book.stock {
            found.push(format!("{job}: its stock differs from the sum of its events"));
        }
        if tables.in_line != self.follower.book.in_line || tables.last_blank != self.follower.book.last_blank
        {
            found.push(format!("{job}: its blanks differ from its events"));
        }
        if tables.records.len() != self.follower.book.records.len() {
            found.push(format!("{job}: its number of records changed"));
        }
        for ((seq, told), (_, shown)) in self.follower.book.records.lives().zip(tables.records.lives()) {
            if told != shown {
                found.push(format!(
                    "{job} record {seq} is {} by its events, {} in the table",
                    told.state, shown.state
                ));
            } else if self.follower.book.records.attempts_of(seq) != tables.records.attempts_of(seq) {
                found.push(format!("{job} record {seq}: its attempts differ from its events"));
            }
        }
        found
    }

    /// Facts about an attempt, by the events.
    pub(super) fn made(&self, seq: u32, attempt: u32) -> Made {
        self.made.get(&(seq, attempt)).cloned().unwrap_or_default()
    }

    /// Number of the job's blanks, by its events.
    pub(super) fn blanks(&self) -> usize {
        self.blanks.len()
    }

    /// Whether a row of the table of blanks agrees with the events. The row has the whole chip of version 2, and
    /// KEYDATA in both versions.
    pub(super) fn is_blank(&self, number: u32, state: BlankState, row: &BlankChip) -> bool {
        let told = usize::try_from(number).ok().and_then(|n| self.blanks.get(n.checked_sub(1)?));
        told.is_some_and(|told| {
            let chip = match told.chip {
                ReplayedChip::Known(chip) => {
                    row.chip == chip && row.key_data == chip.and_then(|chip| chip.key_data())
                }
                ReplayedChip::VersionOne { label, chip } => {
                    row.chip.is_none()
                        && row.key_data.map(|key_data| ChipId::globalplatform(key_data, None).label())
                            == label
                        && chip.is_none_or(|chip| chip.key_data() == row.key_data)
                }
            };
            told.state == state && chip
        })
    }
}

/// The chip of a blank, as the table of blanks has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlankChip {
    /// In version 1, and for GlobalPlatform chips in version 2.
    pub(super) key_data: Option<KeyData>,
    /// In version 2.
    pub(super) chip: Option<ChipId>,
}

impl BlankChip {
    /// The chip, in either version.
    pub(super) fn known(&self) -> Option<ChipId> {
        self.chip.or_else(|| self.key_data.map(|key_data| ChipId::globalplatform(key_data, None)))
    }
}
