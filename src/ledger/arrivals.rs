//! New jobs that arrive, one after the other: the writer writes the records of a long file in pieces, so that the changes
//! of cards that are under way do not wait for a million rows.
//!
//! Not here: the rows (`store::arrival`).

use std::collections::VecDeque;

use super::error::LedgerError;
use super::store::LedgerStore;
use super::writer::ChangeReply;
use crate::actor::Actor;
use crate::laws::Law;
use crate::laws::book::JobBook;
use crate::laws::event::LedgerEvent;
use crate::laws::event::limits::{NAME_MAX, PATH_MAX, sound_text};
use crate::laws::records::JobRecords;
use crate::laws::types::{Change, Context, JobId};
use crate::ledger::new_job::{Accepted, NewJob};
use crate::reason::ReasonWord;

/// Records that are written in one transaction: a few milliseconds.
const PIECE: usize = 1024;

/// New jobs in the order in which they came.
#[derive(Default)]
pub(super) struct Arrivals(VecDeque<Arrival>);

/// A new job of which some records are written.
pub(super) struct Arrival {
    new: NewJob,
    /// Its number, once its first piece is written.
    job: Option<JobId>,
    written: usize,
    seen_before: Vec<u32>,
    /// Where the answer goes.
    pub(super) reply: ChangeReply<Accepted>,
}

/// A job that has arrived: the answer, its book, its first events.
pub(super) type Arrived = (Accepted, JobBook, Vec<LedgerEvent>);

/// Refuses a file that can be no job. In the caller's thread, because a long file takes a moment.
pub(super) fn check(new: &NewJob) -> Result<(), LedgerError> {
    if new.cards.is_empty() || u32::try_from(new.cards.len()).is_err() {
        return Err(LedgerError::NotAJob(Law::RecordCount));
    }
    if let Some((_, second)) = new.cards.repeated() {
        let seq = u32::try_from(second + 1).unwrap_or(u32::MAX);
        return Err(LedgerError::NotAJob(Law::CardRefTwice(seq)));
    }
    for (text, max, what) in [(&new.line, NAME_MAX, "line"), (&new.spool, PATH_MAX, "path of the spool")] {
        if sound_text(text.as_bytes(), max).is_none() {
            return Err(LedgerError::NotAJob(Law::NotWritable(what.into())));
        }
    }
    Ok(())
}

impl Arrivals {
    /// Takes a job that was checked.
    pub(super) fn add(&mut self, new: NewJob, reply: ChangeReply<Accepted>) {
        self.0.push_back(Arrival { new, job: None, written: 0, seen_before: Vec::new(), reply });
    }

    /// Whether no job is waiting.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The job whose records are written now.
    pub(super) fn next(&mut self) -> Option<Arrival> {
        self.0.pop_front()
    }

    /// Puts back the job that is being written.
    pub(super) fn goes_on(&mut self, arrival: Arrival) {
        self.0.push_front(arrival);
    }
}

impl Arrival {
    /// Writes the next records in one transaction. The job exists once the last ones are written.
    pub(super) fn step(&mut self, store: &mut LedgerStore) -> Result<Option<Arrived>, LedgerError> {
        if self.job.is_none() {
            store.refuse_seen(&self.new)?;
        }
        store.begin()?;
        let count = u32::try_from(self.new.cards.len()).unwrap_or(u32::MAX);
        let job = self.job.map_or_else(|| store.insert_job(&self.new, count), Ok)?;
        self.job = Some(job);
        let names = self.new.cards.iter_from(self.written).take(PIECE);
        let sequences = u32::try_from(self.written).unwrap_or(u32::MAX).saturating_add(1)..;
        self.seen_before.extend(store.insert_records(job, &self.new.issuer_id, sequences.zip(names))?);
        self.written += PIECE;
        let whole = self.written >= self.new.cards.len();
        let arrived = whole.then(|| self.complete(job, store)).transpose()?;
        store.commit()?;
        Ok(arrived)
    }

    fn complete(&mut self, job: JobId, store: &mut LedgerStore) -> Result<Arrived, LedgerError> {
        let records = JobRecords::queued(std::mem::take(&mut self.new.cards));
        let mut book = JobBook::new(records, self.new.rejects_shredded, self.new.simulated);
        store.complete_job(job, &book.balance)?;
        let mut events = vec![store.accepted(job, &self.new, &book)?];
        let seen_before = std::mem::take(&mut self.seen_before);
        // In the same transaction, so that no end of the program leaves the job OPEN.
        if let Some(context) = hold(&seen_before, self.new.submitted_by.take()) {
            let effect = book.apply(&Change::Held).map_err(LedgerError::NotAJob)?;
            events.push(store.write(job, &book, &Change::Held, &effect, context)?);
        }
        Ok((Accepted { job, seen_before }, book, events))
    }
}

/// Why the new job is HELD: for a supervisor, if its cards may be made twice, else until a person releases it.
fn hold(seen_before: &[u32], submitted_by: Option<Actor>) -> Option<Context> {
    if !seen_before.is_empty() {
        let (reason, detail) = (Some(ReasonWord::CardRefSeen), Some(seen_detail(seen_before)));
        return Some(Context { reason, detail, ..Context::default() });
    }
    submitted_by.map(|actor| Context { reason: Some(ReasonWord::Submitted), ..Context::by(actor) })
}

/// Detail of a hold for card_refs that were seen before: their number and the first sequences.
fn seen_detail(seen: &[u32]) -> String {
    let shown: Vec<_> = seen.iter().take(20).map(u32::to_string).collect();
    let more = if seen.len() > shown.len() { " ..." } else { "" };
    format!(
        "{} card_refs stand in another file of the issuer: records {}{more}",
        seen.len(),
        shown.join(", ")
    )
}
