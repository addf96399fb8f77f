//! Rebuilds the state of a job from its events and compares it with the tables: an auditor's proof that no state was
//! changed without an event. Pure.
//!
//! Each event is turned back into the change that it records. The laws (`book`) must allow that change, and the
//! change must make exactly this event again.
//!
//! Not here: the chain (`chain`), rows (`store`).

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::book::{BlankState, ChangeEffect, JobBook, LAWS};
use super::event::{BlankLabel, ChainVersion, ChipId, EventFact, LedgerEvent};
use super::fact::{change_of, fact_of};
use super::records::JobRecords;
use super::types::{Change, JobId};
use crate::ids::{CardNames, KeyData};

/// Longest name of a shift, in bytes.
const SHIFT_NAME_MAX: usize = 40;
/// What is wrong with spaces in the name of a shift.
pub const SHIFT_SPACES: &str = "leave out the space at an end, or next to another";

/// Whether a shift may have this name.
pub(super) fn is_shift_name(name: &str) -> bool {
    shift_name_fault(name).is_none()
}

/// Describes the rule that the name of a shift breaks; `None` if a shift may have it.
pub fn shift_name_fault(name: &str) -> Option<String> {
    let sound = |c: char| c.is_alphanumeric() || ".-_ ".contains(c);
    if name.is_empty() || name.len() > SHIFT_NAME_MAX {
        return Some(format!("its name has 1 to {SHIFT_NAME_MAX} letters (those outside ASCII count more)"));
    }
    if let Some(wrong) = name.chars().find(|c| !sound(*c)) {
        return Some(format!("it holds {wrong:?}; use letters, digits, dots, hyphens, underscores, spaces"));
    }
    (name.trim() != name).then(|| SHIFT_SPACES.to_owned())
}

/// The events that are about no job, in order: every shift must have a name of its own.
#[derive(Default)]
pub(super) struct LineReplay {
    shifts: BTreeSet<String>,
}

impl LineReplay {
    /// Checks an event that is about no job. The error says what is wrong with it.
    pub(super) fn follow(&mut self, event: &LedgerEvent) -> Result<(), String> {
        understood(event)?;
        let EventFact::ShiftBegun { name } = &event.fact else { return Ok(()) };
        if !is_shift_name(name) {
            return Err("it is about no job, and begins no shift".to_owned());
        }
        if self.shifts.insert(name.clone()) {
            Ok(())
        } else {
            Err("there was a shift of this name before".to_owned())
        }
    }
}

/// Refuses an event whose meaning is unknown, because nothing after it can be checked.
fn understood(event: &LedgerEvent) -> Result<(), String> {
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
pub(super) struct JobReplay {
    job: JobId,
    book: JobBook,
    /// Whether its ACCEPTED event has been read.
    accepted: bool,
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
            // The first event of the job sets whether it is simulated.
            book: JobBook::new(JobRecords::queued(cards), rejects_shredded, false),
            accepted: false,
            blanks: Vec::new(),
            made: BTreeMap::new(),
            texts: BTreeSet::new(),
        }
    }

    /// The card_refs of the job's records, by sequence.
    pub(super) fn cards(&self) -> &CardNames {
        self.book.records.names()
    }

    /// Checks the next event of the job and applies its change. The error says what is wrong with the event.
    pub(super) fn follow(&mut self, event: &LedgerEvent) -> Result<(), String> {
        understood(event)?;
        if let EventFact::Unknown { .. } = event.fact {
            // A note of a newer program changes nothing.
            return Ok(());
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
            return Ok(());
        }
        if !self.accepted {
            return Err("its job was not accepted before it".to_owned());
        }
        match event.chain {
            ChainVersion::One => self.follow_version_one(event),
            ChainVersion::Two => self.follow_version_two(event),
        }
    }

    fn follow_version_two(&mut self, event: &LedgerEvent) -> Result<(), String> {
        let change =
            change_of(&event.fact).ok_or_else(|| format!("it records no change: {}", event.to_word()))?;
        let effect = self.apply(&change)?;
        if let (Some((number, _)), Some(state)) = (effect.blank, effect.blank_state) {
            self.set_blank(number, ReplayedBlank { state, chip: ReplayedChip::Known(effect.chip) });
        } else if let (Some((number, _)), Some(_)) = (effect.blank, effect.chip) {
            let blank = ReplayedBlank { state: BlankState::Bound, chip: ReplayedChip::Known(effect.chip) };
            self.set_blank(number, blank);
        }
        self.note(event);
        if fact_of(&change, &effect, &self.book).as_ref() != Some(&event.fact) {
            return Err(differs("card, blank or chip"));
        }
        self.same(event, &effect)
    }

    /// Most events of version 1 identify a chip by its label alone, and version 1 has no DELETING.
    fn follow_version_one(&mut self, event: &LedgerEvent) -> Result<(), String> {
        let told = event.fact.chip().copied();
        let change = match change_of(&event.fact) {
            Some(Change::Bound { seq, blank, .. }) => Change::Bound { seq, blank, chip: None },
            Some(Change::RejectedUnbound { blank, .. }) => Change::RejectedUnbound { blank, chip: None },
            Some(change) => change,
            None => return Err(format!("it records no change: {}", event.to_word())),
        };
        // The laws require DELETING before DELETED.
        if matches!(change, Change::Deleted(_)) {
            self.apply(&Change::Deleting)?;
        }
        let mut effect = self.apply(&change)?;
        // Version 1 recorded the state of the job as the state before.
        if matches!(change, Change::Deleted(_)) {
            effect.from = Some(self.book.state.into());
        }
        let label = event.fact.blank().and_then(|blank| blank.label);
        if let (Change::Bound { seq, .. }, Some(label)) = (&change, label) {
            self.book.name_blank(*seq, label);
            self.book.chips.extend(told.map(|chip| chip.identity));
        }
        if let (Some((number, _)), Some(state)) = (effect.blank, effect.blank_state) {
            let chip = ReplayedChip::VersionOne { label, chip: told };
            self.set_blank(number, ReplayedBlank { state, chip });
        }
        self.note(event);
        if event.attempt() != effect.attempt.map(|(number, _)| number) {
            return Err(differs("attempt"));
        }
        if event.card_ref() != effect.seq.and_then(|seq| self.book.records.card_ref(seq)) {
            return Err(differs("card_ref"));
        }
        if event.position() != effect.position {
            return Err(differs("stack position"));
        }
        if let Some((_, attempt)) = effect.attempt {
            let attempts = effect.seq.map_or(&[][..], |seq| self.book.records.attempts_of(seq));
            let last = attempts.last().filter(|a| a.blank == attempt.blank);
            let label = last.map_or(attempt.label, |last| last.label);
            let told = event.fact.blank();
            let number = told.and_then(|told| told.number).is_none_or(|number| number == attempt.blank);
            if !number || told.and_then(|told| told.label) != label {
                return Err(differs("blank"));
            }
        }
        self.same(event, &effect)
    }

    fn apply(&mut self, change: &Change) -> Result<ChangeEffect, String> {
        self.book.apply(change).map_err(|law| format!("it is against a law: {law}"))
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

    /// Checks the state before and the mark SIMULATED, for both versions.
    fn same(&self, event: &LedgerEvent, effect: &ChangeEffect) -> Result<(), String> {
        if event.from != effect.from {
            return Err(differs("earlier state"));
        }
        if event.simulated != self.book.simulated {
            return Err(differs("mark SIMULATED"));
        }
        Ok(())
    }

    /// Differences between the tables and the events, one line each.
    pub(super) fn differences(&self, tables: &JobBook) -> Vec<String> {
        let mut found = Vec::new();
        let job = self.job;
        if !self.accepted {
            found.push(format!("{job}: no event records that it was accepted"));
        }
        if tables.simulated != self.book.simulated {
            found.push(format!("{job}: whether it is SIMULATED differs from its events"));
        }
        if tables.state != self.book.state {
            found.push(format!("{job} is {} by its events, {} in the table", self.book.state, tables.state));
        }
        if (tables.deleting, tables.deleted) != (self.book.deleting, self.book.deleted) {
            found.push(format!("{job}: whether its cardholder data were deleted differs from its events"));
        }
        if tables.balance != self.book.balance {
            found.push(format!("{job}: its balances differ from the sum of its events"));
        }
        if tables.stock != self.book.stock {
            found.push(format!("{job}: its stock differs from the sum of its events"));
        }
        if tables.in_line != self.book.in_line || tables.last_blank != self.book.last_blank {
            found.push(format!("{job}: its blanks differ from its events"));
        }
        if tables.records.len() != self.book.records.len() {
            found.push(format!("{job}: its number of records changed"));
        }
        for ((seq, told), (_, shown)) in self.book.records.lives().zip(tables.records.lives()) {
            if told != shown {
                found.push(format!(
                    "{job} record {seq} is {} by its events, {} in the table",
                    told.state, shown.state
                ));
            } else if self.book.records.attempts_of(seq) != tables.records.attempts_of(seq) {
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

fn differs(what: &str) -> String {
    format!("its {what} does not follow from the events before it")
}
