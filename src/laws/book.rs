//! The working state of one job and the laws that every change must keep. Pure: no I/O, no clock.
//!
//! ```text
//! record:  QUEUED → IN_FLIGHT → GOOD | REMAKE | UNKNOWN;  REMAKE (released) → IN_FLIGHT;  QUEUED, REMAKE → CANCELLED
//!          UNKNOWN → REMAKE | GOOD (a person)
//! attempt: BOUND → PERSONALIZING → WRITTEN → VERIFIED → STACKED
//!          BOUND .. VERIFIED → REJECTED | UNKNOWN;  REJECTED → DESTROYED;  UNKNOWN → DESTROYED | GOOD
//!          STACKED, GOOD → SAMPLE (its record → REMAKE);  SAMPLE → DESTROYED
//! blank:   FED → BOUND (from then on, its attempt has the state) | REJECTED | RETURNED;  TEST
//! job:     OPEN ⇄ HELD;  OPEN, HELD → CLOSED → DELETING → DELETED (its cardholder data)
//! stock:   issued = fed - given back by the line + in the hopper + returned;  vaulted ≤ good
//! ```
//!
//! `src/manual/ledger-events.md`. A change is checked completely before anything is modified, so a refusal leaves the
//! book as it was.

use std::collections::{BTreeSet, HashSet};

use serde::{Deserialize, Serialize};

use super::event::{BlankLabel, CardValue, ChipId, ChipIdentity, StateName};
use super::law::Law;
use super::records::{JobRecords, RecordLife};
use super::types::{AttemptState, Balance, Change, JobState, RecordState, Stock};

/// Version of these laws, which a job's first event names.
pub const LAWS: u16 = 1;

/// State of a blank. Once it is bound, its attempt has the details.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlankState {
    /// In the line, unbound.
    Fed,
    /// Part of an attempt.
    Bound,
    /// Thrown out unbound.
    Rejected,
    /// Back to stock.
    Returned,
    /// Used up to set up the machines.
    Test,
}

/// One record on one blank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attempt {
    /// Number of the blank.
    pub(crate) blank: u32,
    /// Its label, once its chip is known.
    pub(crate) label: Option<BlankLabel>,
    /// Its state now.
    pub(crate) state: AttemptState,
    /// It was PERSONALIZING once, so its chip may hold live keys.
    pub(crate) wrote: bool,
}

/// The working state of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JobBook {
    /// Whether the line shreds rejects: then a remake needs no DESTROYED.
    pub(crate) rejects_shredded: bool,
    /// Whether its events are marked SIMULATED.
    pub(crate) simulated: bool,
    /// Its state now.
    pub(crate) state: JobState,
    /// Its cardholder data is being deleted.
    pub(crate) deleting: bool,
    /// Its cardholder data was deleted.
    pub(crate) deleted: bool,
    /// Both balances, updated with every change.
    pub(crate) balance: Balance,
    /// The stock, updated with every change.
    pub(crate) stock: Stock,
    /// By sequence, from 1.
    pub(crate) records: JobRecords,
    /// Blanks in the line, unbound.
    pub(crate) in_line: BTreeSet<u32>,
    /// Every chip that was bound to a record.
    pub(crate) chips: HashSet<ChipIdentity>,
    /// Names of the values that cards under way have returned, by record. Not loaded after a restart: cards that were
    /// under way are UNKNOWN then and return no more values.
    pub(crate) values: BTreeSet<(u32, String)>,
    /// Number of the last blank fed; 0 before the first.
    pub(crate) last_blank: u32,
    /// Last position given; 0 before the first.
    pub(crate) last_position: u32,
}

/// The effect of a change: the rows to write, and the fields of the event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ChangeEffect {
    /// Record that the event is about.
    pub(crate) seq: Option<u32>,
    /// New state of that record, and whether a remake is released.
    pub(crate) record: Option<(RecordState, bool)>,
    /// Attempt number, and the attempt as it is now.
    pub(crate) attempt: Option<(u32, Attempt)>,
    /// Blank that the event is about, and its label.
    pub(crate) blank: Option<(u32, Option<BlankLabel>)>,
    /// New state of that blank.
    pub(crate) blank_state: Option<BlankState>,
    /// Chip of that blank, if the change made it known.
    pub(crate) chip: Option<ChipId>,
    /// New state of the job.
    pub(crate) job: Option<JobState>,
    /// The job's cardholder data is being deleted.
    pub(crate) deleting: bool,
    /// The job's cardholder data was deleted.
    pub(crate) deleted: bool,
    /// State before, for the event.
    pub(crate) from: Option<StateName>,
    /// Stack position given.
    pub(crate) position: Option<u32>,
    /// The stock changed.
    pub(crate) stock: bool,
}

/// Whether the state machine of attempts has this step.
fn may(from: AttemptState, to: AttemptState) -> bool {
    use AttemptState::{
        Bound, Destroyed, Good, Personalizing, Rejected, Sample, Stacked, Unknown, Verified, Written,
    };
    matches!(
        (from, to),
        (Bound, Personalizing)
            | (Personalizing, Written)
            | (Written, Verified)
            | (Verified, Stacked)
            | (Bound | Personalizing | Written | Verified, Rejected | Unknown)
            | (Rejected, Destroyed)
            | (Unknown, Destroyed | Good)
            | (Stacked | Good, Sample)
            | (Sample, Destroyed)
    )
}

/// The balance's count of records in this state.
fn of_records(balance: &mut Balance, state: RecordState) -> &mut u64 {
    match state {
        RecordState::Queued => &mut balance.queued,
        RecordState::InFlight => &mut balance.in_flight,
        RecordState::Good => &mut balance.good,
        RecordState::Remake => &mut balance.remake,
        RecordState::Unknown => &mut balance.unknown,
        RecordState::Cancelled => &mut balance.cancelled,
    }
}

/// The balance's count of blanks whose attempt is in this state.
fn of_blanks(balance: &mut Balance, state: AttemptState) -> &mut u64 {
    match state {
        AttemptState::Bound
        | AttemptState::Personalizing
        | AttemptState::Written
        | AttemptState::Verified => &mut balance.blanks_in_line,
        AttemptState::Stacked | AttemptState::Good => &mut balance.blanks_good,
        AttemptState::Rejected | AttemptState::Destroyed => &mut balance.blanks_rejected,
        AttemptState::Unknown => &mut balance.blanks_unknown,
        AttemptState::Sample => &mut balance.blanks_sample,
    }
}

/// Subtracts one, but stops at 0: a count that is off shows in [`Balance::records_off`] or [`Balance::blanks_off`].
fn take(count: &mut u64) {
    *count = count.saturating_sub(1);
}

impl JobBook {
    /// A new job: every record QUEUED, no blank fed.
    pub(crate) fn new(records: JobRecords, rejects_shredded: bool, simulated: bool) -> Self {
        let count = u64::try_from(records.len()).unwrap_or(u64::MAX);
        Self {
            rejects_shredded,
            simulated,
            state: JobState::Open,
            deleting: false,
            deleted: false,
            balance: Balance { records: count, queued: count, ..Balance::default() },
            stock: Stock::default(),
            records,
            in_line: BTreeSet::new(),
            chips: HashSet::new(),
            values: BTreeSet::new(),
            last_blank: 0,
            last_position: 0,
        }
    }

    /// Sets the label of the blank of a record's last attempt. For events of chain version 1, which give the label
    /// without a change that has the chip.
    pub(crate) fn name_blank(&mut self, seq: u32, label: BlankLabel) {
        if let Some(attempt) = self.records.attempts_of_mut(seq).last_mut() {
            attempt.label = Some(label);
        }
    }

    fn life(&self, seq: u32) -> Result<RecordLife, Law> {
        self.records.life(seq).ok_or(Law::NoRecord)
    }

    fn life_mut(&mut self, seq: u32) -> Result<&mut RecordLife, Law> {
        self.records.life_mut(seq).ok_or(Law::NoRecord)
    }

    /// Makes a change, or returns the law that forbids it and leaves everything as it was.
    pub(crate) fn apply(&mut self, change: &Change) -> Result<ChangeEffect, Law> {
        match (change, self.state) {
            (Change::Deleting { .. }, JobState::Closed) => return self.deleting(),
            (Change::Deleted(_), JobState::Closed) => return self.deleted(),
            (Change::Deleting { .. } | Change::Deleted(_), _) => return Err(Law::NotClosed),
            (_, JobState::Closed) => return Err(Law::JobClosed),
            _ => {}
        }
        match change {
            Change::Fed { blank } => self.fed(*blank),
            Change::RejectedUnbound { blank, chip } => {
                self.leaves_unbound(*blank, *chip, BlankState::Rejected)
            }
            Change::Returned { blank } => self.leaves_unbound(*blank, None, BlankState::Returned),
            Change::Tested { blank } => self.tested(*blank),
            Change::StockIssued { count } => self.issued(*count),
            Change::StockReturned { count } => self.returned(*count),
            Change::StockVaulted { count } => self.vaulted(*count),
            Change::Bound { seq, blank, chip } => self.bound(*seq, *blank, *chip),
            Change::ChipFound { seq, chip } => self.chip_found(*seq, *chip),
            Change::ValueGiven { seq, value } => self.value_given(*seq, value),
            Change::Attempt { seq, to } => match to {
                AttemptState::Personalizing | AttemptState::Written => self.moves(*seq, *to),
                _ => Err(self.no_way(*seq, *to)),
            },
            Change::Verified { seq, .. } => self.moves(*seq, AttemptState::Verified),
            Change::Stacked { seq, position } => self.stacked(*seq, *position),
            Change::Rejected { seq } => self.moves(*seq, AttemptState::Rejected),
            Change::Lost { seq } => self.moves(*seq, AttemptState::Unknown),
            Change::Cancelled { seq } => self.cancelled(*seq),
            Change::Destroyed { seq } => self.moves(*seq, AttemptState::Destroyed),
            Change::FoundGood { seq } => self.moves(*seq, AttemptState::Good),
            Change::Sampled { seq } => self.sampled(*seq),
            Change::RemakeReleased { seq } => self.remake_released(*seq),
            Change::Asked { seq } => {
                self.life(*seq).map(|_| ChangeEffect { seq: Some(*seq), ..ChangeEffect::default() })
            }
            Change::Ran(_) => Ok(ChangeEffect::default()),
            // The job is held once the cards that are under way are finished: until then they may be bound.
            Change::HoldAsked | Change::HoldTakenBack if self.state == JobState::Open => {
                Ok(ChangeEffect::default())
            }
            Change::HoldAsked | Change::HoldTakenBack => Err(Law::JobHeld),
            Change::Held => Ok(self.job(JobState::Held)),
            Change::Released if self.state == JobState::Held => Ok(self.job(JobState::Open)),
            Change::Released => Err(Law::JobNotHeld),
            Change::Closed => self.closed(),
            // Both were handled above.
            Change::Deleting { .. } | Change::Deleted(_) => Err(Law::NotClosed),
        }
    }

    /// Checks that `blank` is the number after the last one.
    fn next_blank(&self, blank: u32) -> Result<(), Law> {
        let next = self.last_blank.saturating_add(1);
        // The two are equal only at the end of `u32`, where `next` saturates.
        if blank != next || blank == self.last_blank {
            return Err(Law::BlankNumber { next, got: blank });
        }
        Ok(())
    }

    /// Never refused, even beyond the issued stock: the blank has already moved. The mismatch blocks closing.
    fn fed(&mut self, blank: u32) -> Result<ChangeEffect, Law> {
        self.next_blank(blank)?;
        self.last_blank = blank;
        self.in_line.insert(blank);
        self.balance.blanks_fed += 1;
        self.balance.blanks_in_line += 1;
        Ok(ChangeEffect {
            blank: Some((blank, None)),
            blank_state: Some(BlankState::Fed),
            ..ChangeEffect::default()
        })
    }

    fn tested(&mut self, blank: u32) -> Result<ChangeEffect, Law> {
        self.next_blank(blank)?;
        if self.balance.blanks_in_line > 0 {
            return Err(Law::UnderWay);
        }
        if self.stock.is_counted() {
            self.in_hopper(1)?;
        }
        self.last_blank = blank;
        self.balance.blanks_fed += 1;
        self.balance.blanks_sample += 1;
        Ok(ChangeEffect {
            blank: Some((blank, None)),
            blank_state: Some(BlankState::Test),
            ..ChangeEffect::default()
        })
    }

    fn in_hopper(&self, asked: u32) -> Result<(), Law> {
        let hopper = self.stock.hopper(&self.balance);
        if i64::from(asked) > hopper { Err(Law::NotInHopper { hopper, asked }) } else { Ok(()) }
    }

    fn issued(&mut self, count: u32) -> Result<ChangeEffect, Law> {
        stock_number(count)?;
        if !self.stock.is_counted() && self.last_blank > 0 {
            return Err(Law::StockLate);
        }
        self.stock.issued += u64::from(count);
        Ok(of_stock())
    }

    fn returned(&mut self, count: u32) -> Result<ChangeEffect, Law> {
        stock_number(count)?;
        if !self.stock.is_counted() {
            return Err(Law::NoStock);
        }
        self.in_hopper(count)?;
        self.stock.returned += u64::from(count);
        Ok(of_stock())
    }

    fn vaulted(&mut self, count: u32) -> Result<ChangeEffect, Law> {
        stock_number(count)?;
        if !self.stock.is_counted() {
            return Err(Law::NoStock);
        }
        let (vaulted, good) = (self.stock.vaulted + u64::from(count), self.balance.blanks_good);
        if vaulted > good {
            return Err(Law::NotGood { vaulted, good });
        }
        self.stock.vaulted = vaulted;
        Ok(of_stock())
    }

    /// A sample is taken from the good cards outside the vault: the vault may not hold more cards than are good
    /// afterwards.
    fn sampled(&mut self, seq: u32) -> Result<ChangeEffect, Law> {
        self.life(seq)?;
        let last = self.records.attempts_of(seq).last();
        let good = last.is_some_and(|a| may(a.state, AttemptState::Sample));
        let left = self.balance.blanks_good.saturating_sub(1);
        if good && self.stock.vaulted > left {
            return Err(Law::NotGood { vaulted: self.stock.vaulted, good: left });
        }
        self.moves(seq, AttemptState::Sample)
    }

    fn leaves_unbound(
        &mut self,
        blank: u32,
        chip: Option<ChipId>,
        to: BlankState,
    ) -> Result<ChangeEffect, Law> {
        if !self.in_line.remove(&blank) {
            return Err(Law::BlankNotFree(blank));
        }
        take(&mut self.balance.blanks_in_line);
        match to {
            BlankState::Returned => self.balance.blanks_returned += 1,
            _ => self.balance.blanks_rejected += 1,
        }
        Ok(ChangeEffect {
            blank: Some((blank, chip.map(|chip| chip.label()))),
            blank_state: Some(to),
            chip,
            from: Some(StateName::BlankFed),
            ..ChangeEffect::default()
        })
    }

    fn bound(&mut self, seq: u32, blank: u32, chip: Option<ChipId>) -> Result<ChangeEffect, Law> {
        // A chip that was seen before is reported even if its record cannot be bound either: a person has to
        // find out what lies in the station.
        if chip.is_some_and(|chip| self.chips.contains(&chip.identity)) {
            return Err(Law::ChipSeen(blank));
        }
        let from = match self.life(seq)? {
            RecordLife { state: RecordState::Remake, released: false } => return Err(Law::NotReleased),
            RecordLife { state: from @ (RecordState::Queued | RecordState::Remake), .. } => from,
            RecordLife { state: is, .. } => {
                return Err(Law::Record { is, needs: "QUEUED or a released REMAKE".into() });
            }
        };
        self.new_attempt_allowed(seq)?;
        if self.state == JobState::Held {
            return Err(Law::JobHeld);
        }
        if !self.in_line.contains(&blank) {
            return Err(Law::BlankNotFree(blank));
        }
        let label = chip.map(|chip| chip.label());
        let attempt = Attempt { blank, label, state: AttemptState::Bound, wrote: false };
        *self.life_mut(seq)? = RecordLife { state: RecordState::InFlight, released: false };
        let number = self.records.attempt(seq, attempt);
        self.in_line.remove(&blank);
        self.chips.extend(chip.map(|chip| chip.identity));
        take(of_records(&mut self.balance, from));
        self.balance.in_flight += 1;
        Ok(ChangeEffect {
            seq: Some(seq),
            record: Some((RecordState::InFlight, false)),
            attempt: Some((number, attempt)),
            blank: Some((blank, label)),
            blank_state: Some(BlankState::Bound),
            chip,
            from: Some(from.into()),
            ..ChangeEffect::default()
        })
    }

    /// The last attempt of a record, if it is in one of these states.
    fn under_way(
        &mut self,
        seq: u32,
        states: &[AttemptState],
        to: AttemptState,
    ) -> Result<(u32, &mut Attempt), Law> {
        self.life(seq)?;
        let attempts = self.records.attempts_of_mut(seq);
        let number = u32::try_from(attempts.len()).unwrap_or(u32::MAX);
        let attempt = attempts.last_mut().ok_or(Law::NoAttempt)?;
        if !states.contains(&attempt.state) {
            return Err(Law::Attempt { attempt: number, is: attempt.state, to });
        }
        Ok((number, attempt))
    }

    /// Records the chip of an attempt that was bound at a module without a chip reader. This happens before the first
    /// channel to the chip is opened, and as for BOUND, each chip is accepted for one attempt only.
    fn chip_found(&mut self, seq: u32, chip: ChipId) -> Result<ChangeEffect, Law> {
        let seen = self.chips.contains(&chip.identity);
        let states = [AttemptState::Bound, AttemptState::Personalizing];
        let (number, attempt) = self.under_way(seq, &states, AttemptState::Personalizing)?;
        if attempt.label.is_some() {
            return Err(Law::ChipKnown(attempt.blank));
        }
        if seen {
            return Err(Law::ChipSeen(attempt.blank));
        }
        attempt.label = Some(chip.label());
        let attempt = *attempt;
        self.chips.insert(chip.identity);
        Ok(ChangeEffect {
            seq: Some(seq),
            attempt: Some((number, attempt)),
            blank: Some((attempt.blank, attempt.label)),
            chip: Some(chip),
            ..ChangeEffect::default()
        })
    }

    /// Keeps the name of a value that a card returned. A card returns each value once in an attempt.
    fn value_given(&mut self, seq: u32, value: &CardValue) -> Result<ChangeEffect, Law> {
        let given = (seq, value.name.clone());
        let known = self.values.contains(&given);
        let (number, attempt) =
            self.under_way(seq, &[AttemptState::Personalizing], AttemptState::Personalizing)?;
        if known {
            return Err(Law::ValueGiven);
        }
        let attempt = *attempt;
        self.values.insert(given);
        Ok(ChangeEffect {
            seq: Some(seq),
            attempt: Some((number, attempt)),
            blank: Some((attempt.blank, attempt.label)),
            ..ChangeEffect::default()
        })
    }

    fn stacked(&mut self, seq: u32, position: u32) -> Result<ChangeEffect, Law> {
        let last = self.last_position;
        if position <= last {
            // A record that does not exist is the better reason.
            self.life(seq)?;
            return Err(Law::Position { last, got: position });
        }
        let effect = self.moves(seq, AttemptState::Stacked)?;
        self.last_position = position;
        Ok(ChangeEffect { position: Some(position), ..effect })
    }

    /// Moves an attempt to a state: the last attempt, or for DESTROYED the last one that may become DESTROYED.
    fn moves(&mut self, seq: u32, to: AttemptState) -> Result<ChangeEffect, Law> {
        self.life(seq)?;
        let attempts = self.records.attempts_of_mut(seq);
        let waits = |a: &Attempt| may(a.state, to);
        let index = match to {
            AttemptState::Destroyed => attempts.iter().rposition(waits),
            _ => None,
        };
        let index = index.or_else(|| attempts.len().checked_sub(1)).ok_or(Law::NoAttempt)?;
        let number = u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1);
        let attempt = attempts.get_mut(index).ok_or(Law::NoAttempt)?;
        let from = attempt.state;
        if !may(from, to) {
            return Err(Law::Attempt { attempt: number, is: from, to });
        }
        attempt.state = to;
        attempt.wrote |= to == AttemptState::Personalizing;
        let attempt = *attempt;
        // A card returns values only while it is PERSONALIZING: their names are not needed any more.
        if from == AttemptState::Personalizing {
            self.values.retain(|(of, _)| *of != seq);
        }
        let record = self.life_mut(seq)?;
        let was = record.state;
        record.state = match (from, to) {
            (_, AttemptState::Stacked | AttemptState::Good) => RecordState::Good,
            (_, AttemptState::Rejected | AttemptState::Sample)
            | (AttemptState::Unknown, AttemptState::Destroyed) => RecordState::Remake,
            (_, AttemptState::Unknown) => RecordState::Unknown,
            _ => was,
        };
        let (now, released) = (record.state, record.released);
        take(of_records(&mut self.balance, was));
        *of_records(&mut self.balance, now) += 1;
        take(of_blanks(&mut self.balance, from));
        *of_blanks(&mut self.balance, to) += 1;
        Ok(ChangeEffect {
            seq: Some(seq),
            record: (was != now).then_some((now, released)),
            attempt: Some((number, attempt)),
            blank: Some((attempt.blank, attempt.label)),
            from: Some(from.into()),
            ..ChangeEffect::default()
        })
    }

    /// The refusal of a state that [`Change::Attempt`] cannot set.
    fn no_way(&self, seq: u32, to: AttemptState) -> Law {
        if let Err(law) = self.life(seq) {
            return law;
        }
        let attempts = self.records.attempts_of(seq);
        match attempts.last() {
            Some(last) => Law::Attempt {
                attempt: u32::try_from(attempts.len()).unwrap_or(u32::MAX),
                is: last.state,
                to,
            },
            None => Law::NoAttempt,
        }
    }

    fn cancelled(&mut self, seq: u32) -> Result<ChangeEffect, Law> {
        let record = self.life_mut(seq)?;
        let from = record.state;
        if !matches!(from, RecordState::Queued | RecordState::Remake) {
            return Err(Law::Record { is: from, needs: "QUEUED or REMAKE".into() });
        }
        *record = RecordLife { state: RecordState::Cancelled, released: false };
        take(of_records(&mut self.balance, from));
        self.balance.cancelled += 1;
        Ok(ChangeEffect {
            seq: Some(seq),
            record: Some((RecordState::Cancelled, false)),
            from: Some(from.into()),
            ..ChangeEffect::default()
        })
    }

    fn remake_released(&mut self, seq: u32) -> Result<ChangeEffect, Law> {
        match self.life(seq)? {
            RecordLife { state: RecordState::Remake, released: false } => {}
            RecordLife { state: RecordState::Remake, .. } => return Err(Law::AlreadyReleased),
            RecordLife { state: is, .. } => return Err(Law::Record { is, needs: "REMAKE".into() }),
        }
        self.new_attempt_allowed(seq)?;
        self.life_mut(seq)?.released = true;
        Ok(ChangeEffect {
            seq: Some(seq),
            record: Some((RecordState::Remake, true)),
            from: Some(RecordState::Remake.into()),
            ..ChangeEffect::default()
        })
    }

    fn job(&mut self, to: JobState) -> ChangeEffect {
        let from = std::mem::replace(&mut self.state, to);
        ChangeEffect { job: Some(to), from: Some(from.into()), ..ChangeEffect::default() }
    }

    fn closed(&mut self) -> Result<ChangeEffect, Law> {
        let Balance { queued, in_flight, remake, unknown, blanks_in_line: blanks, .. } = self.balance;
        let (rejects, hopper) = (self.undestroyed(), self.stock.hopper(&self.balance));
        if [queued, in_flight, remake, unknown, blanks, rejects] != [0; 6] || hopper != 0 {
            return Err(Law::Closing { queued, in_flight, remake, unknown, rejects, blanks, hopper });
        }
        Ok(self.job(JobState::Closed))
    }

    fn deleting(&mut self) -> Result<ChangeEffect, Law> {
        if self.deleted {
            return Err(Law::AlreadyDeleted);
        }
        if std::mem::replace(&mut self.deleting, true) {
            return Err(Law::AlreadyDeleting);
        }
        Ok(ChangeEffect { deleting: true, from: Some(self.state.into()), ..ChangeEffect::default() })
    }

    fn deleted(&mut self) -> Result<ChangeEffect, Law> {
        if self.deleted {
            return Err(Law::AlreadyDeleted);
        }
        if !self.deleting {
            return Err(Law::NotDeleting);
        }
        self.deleted = true;
        Ok(ChangeEffect { deleted: true, from: Some(StateName::JobDeleting), ..ChangeEffect::default() })
    }

    /// Number of attempts that were rejected after PERSONALIZING or are samples, and are not DESTROYED: their chips
    /// may hold live keys.
    fn undestroyed(&self) -> u64 {
        let live = |a: &&Attempt| match a.state {
            AttemptState::Rejected => a.wrote,
            state => state == AttemptState::Sample,
        };
        let count = self.records.attempts().filter(live).count();
        u64::try_from(count).unwrap_or(u64::MAX)
    }

    /// The law of new attempts: every earlier attempt is DESTROYED, or REJECTED on a line that shreds.
    fn new_attempt_allowed(&self, seq: u32) -> Result<(), Law> {
        for (attempt, number) in self.records.attempts_of(seq).iter().zip(1..) {
            let settled = match attempt.state {
                AttemptState::Destroyed => true,
                AttemptState::Rejected => self.rejects_shredded,
                _ => false,
            };
            if !settled {
                return Err(Law::EarlierAttempt { attempt: number, is: attempt.state });
            }
        }
        Ok(())
    }
}

/// Most blanks or cards at once: far more than a hopper holds, so that sums stay small.
const STOCK_MAX: u32 = 1_000_000;

fn stock_number(count: u32) -> Result<(), Law> {
    if (1..=STOCK_MAX).contains(&count) { Ok(()) } else { Err(Law::StockNumber) }
}

fn of_stock() -> ChangeEffect {
    ChangeEffect { stock: true, ..ChangeEffect::default() }
}
