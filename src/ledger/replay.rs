//! What the events of a job add up to, made anew from the first event on and held against the tables: an auditor's proof
//! that nobody has changed a state without an event. Pure.
//!
//! Each event is turned back into the change that it tells of, which the laws (`book`) must allow and which must have the
//! effect that the event states.
//!
//! Not here: the chain (`chain`), rows (`store`).

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::book::{
    BlankState, Book, DELETED, Effect, RAN, Record, STOCK_ISSUED, STOCK_RETURNED, STOCK_VAULTED,
};
use super::store::blank_name;
use super::types::{AttemptState, Change, Event, JobId, JobState};
use crate::ids::{Csn, KeyData};

/// What the event is called with which a shift begins.
pub(super) const SHIFT: &str = "SHIFT";
/// Bytes of a KMC_ID, with which KEYDATA begins; the CSN follows.
pub(super) const KMC_ID: usize = 6;
/// Longest name of a shift.
const SHIFT_NAME_MAX: usize = 40;

/// Whether a shift may have this name.
pub(super) fn is_shift_name(name: &str) -> bool {
    let sound = |c: char| c.is_alphanumeric() || ".-_ ".contains(c);
    (1..=SHIFT_NAME_MAX).contains(&name.len()) && name.chars().all(sound) && name.trim() == name
}

/// The shifts as their events tell them: each has a name of its own.
#[derive(Default)]
pub(super) struct Shifts(BTreeSet<String>);

impl Shifts {
    /// Follows an event that is of no job. The error says what is wrong with it.
    pub(super) fn follow(&mut self, event: &Event) -> Result<(), String> {
        let name = event.detail.clone().unwrap_or_default();
        if event.to != SHIFT || event.seq.is_some() || event.blank.is_some() || !is_shift_name(&name) {
            return Err("it is of no job, and begins no shift".to_owned());
        }
        if self.0.insert(name) { Ok(()) } else { Err("there was a shift of this name before".to_owned()) }
    }
}

/// A job as its events tell it.
pub(super) struct Replay {
    job: JobId,
    book: Book,
    /// Its first event was there.
    accepted: bool,
    /// By number, from 1.
    blanks: Vec<Blank>,
    /// Of attempts that were verified: by sequence and attempt.
    made: BTreeMap<(u32, u32), Made>,
    /// What was compared; few texts.
    texts: BTreeSet<Rc<str>>,
}

/// A blank, and what is known of its chip. Events before the seal of jobs tell no KMC_ID.
#[derive(Clone, Copy)]
struct Blank {
    state: BlankState,
    csn: Option<Csn>,
    kmc: Option<[u8; KMC_ID]>,
}

/// What the events say of an attempt besides its state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Made {
    /// In the stack.
    pub(super) position: Option<u32>,
    /// What was compared with what.
    pub(super) compared: Option<Rc<str>>,
}

impl Replay {
    /// Of a job as it was accepted.
    pub(super) fn new(job: JobId, records: Vec<Record>, rejects_shredded: bool) -> Self {
        Self {
            job,
            // Whether it is simulated, its first event says.
            book: Book::new(records, rejects_shredded, false),
            accepted: false,
            blanks: Vec::new(),
            made: BTreeMap::new(),
            texts: BTreeSet::new(),
        }
    }

    /// Its records.
    pub(super) fn records(&self) -> &[Record] {
        &self.book.records
    }

    /// Follows an event of the job. The error says what is wrong with it.
    pub(super) fn follow(&mut self, event: &Event) -> Result<(), String> {
        if event.to == "ACCEPTED" {
            if std::mem::replace(&mut self.accepted, true) {
                return Err("its job was accepted before".to_owned());
            }
            self.book.simulated = event.simulated;
            return Ok(());
        }
        if !self.accepted {
            return Err("its job was not accepted before it".to_owned());
        }
        let number = blank_number(event);
        let change = change(event, number).ok_or_else(|| format!("it tells of no change: {}", event.to))?;
        let effect = self.book.apply(&change).map_err(|law| format!("it is against a law: {law}"))?;
        if let (Change::Bound { seq, .. }, Some(csn)) = (&change, named_csn(event)) {
            self.book.name_chip(*seq, csn);
        }
        self.note(event, &effect);
        self.same(event, &effect)
    }

    /// Notes what the book does not hold.
    fn note(&mut self, event: &Event, effect: &Effect) {
        if let (Some((number, _)), Some(state)) = (effect.blank, effect.blank_state) {
            let blank = Blank { state, csn: named_csn(event), kmc: kmc_id(event) };
            // The laws let only the next number come new.
            match usize::try_from(number).ok().and_then(|n| self.blanks.get_mut(n.checked_sub(1)?)) {
                Some(known) => *known = blank,
                None => self.blanks.push(blank),
            }
        }
        let (Some(seq), Some(attempt)) = (event.seq, event.attempt) else { return };
        if effect.to == AttemptState::Verified.name() {
            let text = event.detail.as_deref().unwrap_or_default();
            let text = self.texts.get(text).cloned().unwrap_or_else(|| text.into());
            self.texts.insert(Rc::clone(&text));
            self.made.entry((seq, attempt)).or_default().compared = Some(text);
        }
        if event.position.is_some() {
            self.made.entry((seq, attempt)).or_default().position = event.position;
        }
    }

    /// Whether an event tells what its change did.
    fn same(&self, event: &Event, effect: &Effect) -> Result<(), String> {
        let differs = |what: &str| Err(format!("its {what} is not what follows from the events before it"));
        if event.from.as_deref() != effect.from {
            return differs("earlier state");
        }
        if event.to != effect.to {
            return differs("new state");
        }
        if event.attempt != effect.attempt.map(|(number, _)| number) {
            return differs("attempt");
        }
        let record = event.seq.and_then(|seq| self.book.record(seq));
        if event.card_ref.as_deref() != record.map(|r| &*r.card_ref) {
            return differs("card_ref");
        }
        if event.count != effect.count {
            return differs("number of blanks");
        }
        if event.position != effect.position {
            return differs("stack position");
        }
        if event.simulated != self.book.simulated {
            return differs("mark SIMULATED");
        }
        if let Some((_, attempt)) = effect.attempt {
            let csn = record.and_then(|r| r.attempts.last()).filter(|a| a.blank == attempt.blank);
            let csn = csn.map_or(attempt.csn, |a| a.csn);
            if event.blank != Some(blank_name(attempt.blank, csn)) {
                return differs("blank");
            }
        }
        Ok(())
    }

    /// How the tables differ from what the events tell: a line for each record, and for the job.
    pub(super) fn differences(&self, tables: &Book) -> Vec<String> {
        let mut found = Vec::new();
        let job = self.job;
        if !self.accepted {
            found.push(format!("{job}: no event tells that it was accepted"));
        }
        if tables.simulated != self.book.simulated {
            found.push(format!("{job}: whether it is SIMULATED differs from what its events tell"));
        }
        if tables.state != self.book.state {
            found.push(format!("{job} is {} by its events, {} in the table", self.book.state, tables.state));
        }
        if tables.deleted != self.book.deleted {
            found.push(format!(
                "{job}: whether its cardholder data were deleted differs from what its events tell"
            ));
        }
        if tables.balance != self.book.balance {
            found.push(format!("{job}: its balances differ from what its events add up to"));
        }
        if tables.stock != self.book.stock {
            found.push(format!("{job}: its stock differs from what its events add up to"));
        }
        if tables.in_line != self.book.in_line || tables.last_blank != self.book.last_blank {
            found.push(format!("{job}: its blanks differ from what its events tell"));
        }
        if tables.records.len() != self.book.records.len() {
            found.push(format!("{job}: its number of records changed"));
        }
        for ((told, shown), seq) in self.book.records.iter().zip(&tables.records).zip(1u32..) {
            if told.state != shown.state || told.released != shown.released {
                found.push(format!(
                    "{job} record {seq} is {} by its events, {} in the table",
                    told.state, shown.state
                ));
            } else if told.attempts != shown.attempts {
                found.push(format!("{job} record {seq}: its attempts differ from what its events tell"));
            }
        }
        found
    }

    /// What its events tell of an attempt.
    pub(super) fn made(&self, seq: u32, attempt: u32) -> Made {
        self.made.get(&(seq, attempt)).cloned().unwrap_or_default()
    }

    /// Number of its blanks.
    pub(super) fn blanks(&self) -> usize {
        self.blanks.len()
    }

    /// Whether a blank is as its events tell.
    pub(super) fn is_blank(&self, number: u32, state: BlankState, chip: Option<KeyData>) -> bool {
        let told = usize::try_from(number).ok().and_then(|n| self.blanks.get(n.checked_sub(1)?));
        told.is_some_and(|told| {
            let kmc = chip.and_then(|chip| chip.0.first_chunk().copied());
            told.state == state
                && told.csn == chip.map(|chip| chip.csn())
                && (told.kmc.is_none() || told.kmc == kmc)
        })
    }
}

/// The change that an event tells of.
fn change(event: &Event, blank: Option<u32>) -> Option<Change> {
    let moved = |to| event.seq.map(|seq| Change::Attempt { seq, to });
    match (event.seq, event.to.as_str()) {
        (None, "FED") => blank.map(|blank| Change::Fed { blank }),
        (None, "REJECTED") => blank.map(|blank| Change::RejectedUnbound { blank, key_data: None }),
        (None, "RETURNED") => blank.map(|blank| Change::Returned { blank }),
        (None, "TEST") => blank.map(|blank| Change::Tested { blank }),
        (None, STOCK_ISSUED) => event.count.map(|count| Change::StockIssued { count }),
        (None, STOCK_RETURNED) => event.count.map(|count| Change::StockReturned { count }),
        (None, STOCK_VAULTED) => event.count.map(|count| Change::StockVaulted { count }),
        (None, RAN) if event.blank.is_none() => Some(Change::Ran),
        (None, DELETED) if event.blank.is_none() => Some(Change::Deleted),
        (None, to) if event.blank.is_none() => match JobState::from_name(to)? {
            JobState::Held => Some(Change::Held),
            JobState::Open => Some(Change::Released),
            JobState::Closed => Some(Change::Closed),
        },
        (Some(seq), "RELEASED") => Some(Change::RemakeReleased { seq }),
        (Some(seq), "ASKED") => Some(Change::Asked { seq }),
        (Some(seq), "CANCELLED") => Some(Change::Cancelled { seq }),
        (Some(seq), to) => match AttemptState::from_name(to)? {
            AttemptState::Bound => blank.map(|blank| Change::Bound { seq, blank, key_data: None }),
            to @ (AttemptState::Personalizing | AttemptState::Written) => moved(to),
            AttemptState::Verified => Some(Change::Verified { seq, compared: String::new() }),
            AttemptState::Stacked => event.position.map(|position| Change::Stacked { seq, position }),
            AttemptState::Rejected => Some(Change::Rejected { seq }),
            AttemptState::Unknown => Some(Change::Lost { seq }),
            AttemptState::Destroyed => Some(Change::Destroyed { seq }),
            AttemptState::Good => Some(Change::FoundGood { seq }),
            AttemptState::Sample => Some(Change::Sampled { seq }),
        },
        _ => None,
    }
}

/// The blank's number: its name where nothing better is known, else at the end of the event's detail.
fn blank_number(event: &Event) -> Option<u32> {
    let name = event.blank.as_deref()?;
    if let Some(number) = name.strip_prefix('#') {
        return number.parse().ok();
    }
    let (_, number) = event.detail.as_deref()?.rsplit_once("blank #")?;
    number.parse().ok()
}

/// The KMC_ID that an event tells beside the blank's number.
fn kmc_id(event: &Event) -> Option<[u8; KMC_ID]> {
    let (before, _) = event.detail.as_deref()?.rsplit_once(", blank #")?;
    let (_, hexed) = before.rsplit_once("KMC_ID ")?;
    let mut kmc = [0; KMC_ID];
    hex::decode_to_slice(hexed, &mut kmc).ok()?;
    Some(kmc)
}

/// The CSN by which an event names its blank.
fn named_csn(event: &Event) -> Option<Csn> {
    let mut csn = [0; 4];
    hex::decode_to_slice(event.blank.as_deref()?, &mut csn).ok()?;
    Some(Csn(csn))
}
