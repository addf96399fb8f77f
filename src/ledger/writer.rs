//! The one thread that writes. It drains [`BATCH`] queued changes or so into one transaction ([`super::gather`] says when one
//! is full), acknowledges them after COMMIT, and then tells the subscribers.
//!
//! A change against a law is refused before anything is written and does not disturb its batch. A write that fails
//! (disk full) undoes the batch and poisons the ledger: that batch and every later change get the error, so that
//! nothing is bound that is not on disk.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::book::{JobBook, JobRecord};
use super::error::LedgerError;
use super::event::limits::{COMPARED_MAX, DETAIL_MAX, NAME_MAX, PATH_MAX, context_fits, sound_text, tidied};
use super::event::{EventFact, LedgerEvent, codec};
use super::gather::Gather;
use super::law::Law;
use super::replay::is_shift_name;
use super::store::LedgerStore;
use super::types::{Accepted, Balance, Change, Context, JobId, JobState, NewJob, RecordState};
use crate::hsm::Auditor;
use crate::reason::ReasonWord;

/// A transaction of so many changes waits for no more of them.
pub(super) const BATCH: usize = 512;

/// Events between two signed places: what a start has to verify at most, some tens of milliseconds of work.
pub(super) const SIGNED_EVERY: u64 = 10_000;

/// Longest that an event waits to be signed: what an old copy of the ledger, put back after a crash, can hide.
const SIGNED_WITHIN: Duration = Duration::from_secs(1);

/// How often a writer without work looks whether its files are still there.
const LOOKS_AFTER: Duration = Duration::from_secs(1);

/// How one caller hears of one change. A commit takes longer than a context switch, so a caller sleeps at once and leaves the
/// processor to the writer.
pub(super) type ChangeReply<T> = oneshot::Sender<Result<T, LedgerError>>;

/// A change, and who hears of it.
pub(super) type Said = (JobId, Change, Context, ChangeReply<LedgerEvent>);

/// What is said to the writer.
pub(super) enum Message {
    /// A change.
    Change(JobId, Change, Context, ChangeReply<LedgerEvent>),
    /// Changes of one transaction, whoever kills us.
    Together(Vec<Said>),
    /// A new job; a transaction of its own.
    NewJob(Box<NewJob>, ChangeReply<Accepted>),
    /// A shift begins; a transaction of its own.
    Shift(String, Context, ChangeReply<LedgerEvent>),
    /// Somebody wants every event that is committed from here on.
    Subscribe(Sender<LedgerEvent>),
    /// Nothing follows.
    Stop,
    /// Lets the disk be full.
    #[cfg(test)]
    FillDisk(u32),
}

/// The writing thread's state.
pub(super) struct LedgerWriter {
    store: LedgerStore,
    /// Signs places, where there is an HSM.
    auditor: Option<Box<dyn Auditor>>,
    /// Number of the last event that was signed.
    signed_to: u64,
    /// Since when an event waits to be signed.
    unsigned_since: Option<Instant>,
    /// A job was accepted, held, released or closed: that is signed at once.
    signs_now: bool,
    gather: Gather,
    /// Of the jobs that were touched.
    books: HashMap<JobId, JobBook>,
    subscribers: Vec<Sender<LedgerEvent>>,
    /// Why nothing is written any more.
    poison: Arc<OnceLock<LedgerError>>,
}

impl LedgerWriter {
    /// A writer on an open store, which is held against what the auditor knows of it.
    pub(super) fn new(
        store: LedgerStore,
        mut auditor: Option<Box<dyn Auditor>>,
        poison: Arc<OnceLock<LedgerError>>,
    ) -> Result<Self, LedgerError> {
        if let Some(auditor) = &mut auditor {
            store.agrees(&auditor.audit(store.id()).map_err(LedgerError::Auditor)?)?;
        }
        let signed_to = store.signed_to()?;
        Ok(Self {
            store,
            auditor,
            signed_to,
            unsigned_since: None,
            signs_now: true,
            gather: Gather::default(),
            books: HashMap::new(),
            subscribers: Vec::new(),
            poison,
        })
    }

    /// What an earlier process left under way: attempts become UNKNOWN, unbound blanks rejected, their jobs HELD,
    /// all for the reason `restart`.
    pub(super) fn take_over(&mut self) -> Result<(), LedgerError> {
        self.taken_over().map_err(|error| self.fail(error))
    }

    fn taken_over(&mut self) -> Result<(), LedgerError> {
        let context = || Context { reason: Some(ReasonWord::Restart), ..Context::default() };
        self.store.begin()?;
        for job in self.store.interrupted()? {
            let book = self.store.load(job)?.ok_or(LedgerError::NoJob(job))?;
            let lost = book
                .records
                .iter()
                .zip(1u32..)
                .filter(|(record, _)| record.state == RecordState::InFlight)
                .map(|(_, seq)| Change::Lost { seq });
            let thrown = book.in_line.iter().map(|&blank| Change::RejectedUnbound { blank, chip: None });
            let held = (book.state == JobState::Open).then_some(Change::Held);
            let changes: Vec<_> = lost.chain(thrown).chain(held).collect();
            self.books.insert(job, book);
            for change in &changes {
                let mut context = context();
                if let Change::Lost { seq } = change {
                    // Where to look for it.
                    (context.station, context.module) = self.store.last_station(job, *seq)?;
                }
                self.change(job, change, context)?;
            }
            self.write_balances([job])?;
        }
        self.store.commit()
    }

    /// Writes until told to stop, or until nobody is left who could say anything.
    pub(super) fn run(mut self, messages: &Receiver<Message>) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            self.sign_if_due();
            let mut next = match self.next(messages) {
                Ok(first) => Some(first),
                Err(RecvTimeoutError::Timeout) => {
                    self.look();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            };
            while let Some(message) = next.take() {
                match message {
                    Message::Change(job, change, context, reply) => {
                        batch.push((job, change, context, reply));
                        if batch.len() < BATCH {
                            next = self.gather.more(batch.len(), messages);
                        }
                    }
                    Message::Together(changes) => {
                        batch.extend(changes);
                        if batch.len() < BATCH {
                            next = self.gather.more(batch.len(), messages);
                        }
                    }
                    other => {
                        self.write(&mut batch);
                        if self.other(other) {
                            return;
                        }
                    }
                }
            }
            self.gather.begins(batch.len());
            self.write(&mut batch);
            self.gather.ended();
        }
        self.sign();
    }

    /// The next message; what was written meanwhile does not wait longer than it may.
    fn next(&self, messages: &Receiver<Message>) -> Result<Message, RecvTimeoutError> {
        match self.unsigned_since {
            Some(since) => messages.recv_deadline(since + SIGNED_WITHIN),
            None => messages.recv_timeout(LOOKS_AFTER),
        }
    }

    /// A ledger of which something was taken away takes nothing more, although nobody writes.
    fn look(&mut self) {
        if self.poison.get().is_none()
            && let Err(error) = self.store.look()
        {
            self.fail(error);
        }
    }

    fn sign_if_due(&mut self) {
        if self.auditor.is_none() || self.store.last_event() == self.signed_to {
            return;
        }
        let since = *self.unsigned_since.get_or_insert_with(Instant::now);
        let many = self.store.last_event() >= self.signed_to.saturating_add(SIGNED_EVERY);
        if many || std::mem::take(&mut self.signs_now) || since.elapsed() >= SIGNED_WITHIN {
            self.sign();
        }
    }

    /// Has the end signed, if anything has happened since. What is signed is durable. That the HSM does not sign is no
    /// reason to stop cards that are under way: the next place covers it. That the place cannot be written is.
    fn sign(&mut self) {
        let Some(auditor) = &mut self.auditor else { return };
        if self.poison.get().is_some() || self.store.last_event() == self.signed_to {
            return;
        }
        let place = self.store.place();
        let signed = auditor.checkpoint(place).map_err(LedgerError::Auditor).and_then(|checkpoint| {
            self.store.begin()?;
            self.store.keep(&checkpoint)?;
            self.store.commit()?;
            Ok(place.n)
        });
        self.unsigned_since = None;
        match signed {
            Ok(n) => self.signed_to = n,
            Err(error @ LedgerError::Auditor(_)) => {
                tracing::warn!(%error, "the ledger's end was not signed");
                // Not at once again.
                self.signed_to = self.store.last_event();
            }
            Err(error) => {
                self.fail(error);
            }
        }
    }

    /// Everything but a change; true ends the writer.
    fn other(&mut self, message: Message) -> bool {
        match message {
            Message::NewJob(new, reply) => {
                let result = match self.poison.get() {
                    Some(error) => Err(error.clone()),
                    None => self.new_job(&new),
                };
                let (accepted, events) = match result {
                    Ok((accepted, events)) => (Ok(accepted), events),
                    Err(error) => (Err(error), Vec::new()),
                };
                answer(reply, accepted);
                events.iter().for_each(|event| self.publish(event));
            }
            Message::Shift(name, context, reply) => {
                let result = match self.poison.get() {
                    Some(error) => Err(error.clone()),
                    None => self.shift(&name, context),
                };
                let event = result.as_ref().ok().cloned();
                answer(reply, result);
                event.iter().for_each(|event| self.publish(event));
            }
            Message::Subscribe(subscriber) => {
                if self.poison.get().is_none() {
                    self.subscribers.push(subscriber);
                }
            }
            Message::Stop => {
                self.sign();
                self.look();
                if self.poison.get().is_none() {
                    self.store.fold();
                }
                return true;
            }
            #[cfg(test)]
            Message::FillDisk(more) => self.store.fill_disk(more),
            Message::Change(..) | Message::Together(_) => {}
        }
        false
    }

    /// One transaction.
    fn write(&mut self, batch: &mut Vec<Said>) {
        if batch.is_empty() {
            return;
        }
        let mut results = Vec::with_capacity(batch.len());
        let committed = match self.poison.get() {
            Some(error) => Err(error.clone()),
            None => self.commit(batch, &mut results).map_err(|error| self.fail(error)),
        };
        if let Err(error) = committed {
            for (_, _, _, reply) in batch.drain(..) {
                answer(reply, Err(error.clone()));
            }
            return;
        }
        let mut events = Vec::with_capacity(results.len());
        for ((_, _, _, reply), result) in batch.drain(..).zip(results) {
            if let (Ok(event), false) = (&result, self.subscribers.is_empty()) {
                events.push(event.clone());
            }
            answer(reply, result);
        }
        events.iter().for_each(|event| self.publish(event));
    }

    /// Makes the changes of a batch durable. The error is the whole batch's; `results` holds each change's own.
    fn commit(
        &mut self,
        batch: &mut [Said],
        results: &mut Vec<Result<LedgerEvent, LedgerError>>,
    ) -> Result<(), LedgerError> {
        self.store.begin()?;
        let mut touched = BTreeMap::new();
        for (job, change, context, _) in batch {
            let before = self.balance(*job);
            let result = self.change(*job, change, std::mem::take(context));
            match result {
                Ok(_) => {
                    touched.entry(*job).or_insert(before);
                }
                Err(LedgerError::Denied { .. } | LedgerError::NoJob(_)) => {}
                Err(error) => return Err(error),
            }
            results.push(result);
        }
        // A card that moves from station to station counts as before.
        touched.retain(|job, before| self.balance(*job) != *before);
        self.write_balances(touched.into_keys())?;
        self.store.commit()?;
        self.signs_now |=
            results.iter().flatten().any(|event| event.seq().is_none() && event.fact.blank().is_none());
        self.books.retain(|_, book| book.state != JobState::Closed);
        Ok(())
    }

    /// Of a job that was touched before.
    fn balance(&self, job: JobId) -> Option<Balance> {
        self.books.get(&job).map(|book| book.balance)
    }

    /// One change: the laws, then the rows.
    fn change(&mut self, job: JobId, change: &Change, context: Context) -> Result<LedgerEvent, LedgerError> {
        if !self.books.contains_key(&job) {
            let book = self.store.load(job)?.ok_or(LedgerError::NoJob(job))?;
            self.books.insert(job, book);
        }
        let book = self.books.get_mut(&job).ok_or(LedgerError::NoJob(job))?;
        let denied = |law| LedgerError::Denied { job, seq: change.seq(), law };
        // Before anything changes: what is allowed can be written.
        let context = writable(context).map_err(denied)?;
        let change = &written(change).map_err(denied)?;
        let effect = book.apply(change).map_err(denied)?;
        self.store.write(job, book, change, &effect, context)
    }

    fn write_balances(&self, jobs: impl IntoIterator<Item = JobId>) -> Result<(), LedgerError> {
        for job in jobs {
            if let Some(book) = self.books.get(&job) {
                self.store.write_balance(job, &book.balance)?;
            }
        }
        Ok(())
    }

    fn new_job(&mut self, new: &NewJob) -> Result<(Accepted, Vec<LedgerEvent>), LedgerError> {
        match self.add_job(new) {
            Ok((accepted, book, events)) => {
                self.books.insert(accepted.job, book);
                Ok((accepted, events))
            }
            Err(error @ (LedgerError::NotAJob(_) | LedgerError::Seen { .. })) => Err(error),
            Err(error) => Err(self.fail(error)),
        }
    }

    fn add_job(&mut self, new: &NewJob) -> Result<(Accepted, JobBook, Vec<LedgerEvent>), LedgerError> {
        if new.cards.is_empty() || u32::try_from(new.cards.len()).is_err() {
            return Err(LedgerError::NotAJob(Law::RecordCount));
        }
        let mut refs = BTreeSet::new();
        for (card_ref, seq) in new.cards.iter().zip(1u32..) {
            if !refs.insert(card_ref) {
                return Err(LedgerError::NotAJob(Law::CardRefTwice(seq)));
            }
        }
        for (text, max, what) in [(&new.line, NAME_MAX, "line"), (&new.spool, PATH_MAX, "path of the spool")]
        {
            if sound_text(text.as_bytes(), max).is_none() {
                return Err(LedgerError::NotAJob(Law::NotWritable(what.into())));
            }
        }
        if let Some((job, state)) = self.store.seen(new)? {
            return Err(LedgerError::Seen { job, open: state != JobState::Closed });
        }
        let records = new.cards.iter().map(|c| JobRecord::queued(c.as_str())).collect();
        let mut book = JobBook::new(records, new.rejects_shredded, new.simulated);
        self.store.begin()?;
        let job = self.store.insert_job(new, &book)?;
        let mut events = vec![self.store.accepted(job, new, &book)?];
        let seen_before = self.store.seen_cards(job)?;
        if !seen_before.is_empty() {
            let context = Context {
                reason: Some(ReasonWord::CardRefSeen),
                detail: Some(seen_detail(&seen_before)),
                ..Context::default()
            };
            let effect = book.apply(&Change::Held).map_err(LedgerError::NotAJob)?;
            events.push(self.store.write(job, &book, &Change::Held, &effect, context)?);
        }
        self.store.commit()?;
        self.signs_now = true;
        Ok((Accepted { job, seen_before }, book, events))
    }

    fn shift(&mut self, name: &str, context: Context) -> Result<LedgerEvent, LedgerError> {
        self.add_shift(name, context).map_err(|error| match error {
            LedgerError::Shift(_) => error,
            error => self.fail(error),
        })
    }

    fn add_shift(&mut self, name: &str, context: Context) -> Result<LedgerEvent, LedgerError> {
        if !is_shift_name(name) || self.store.had_shift(name)? {
            return Err(LedgerError::Shift(Law::ShiftName));
        }
        let context = writable(context).map_err(LedgerError::Shift)?;
        self.store.begin()?;
        let event = self.store.of_no_job(EventFact::ShiftBegun { name: name.to_owned() }, context)?;
        self.store.commit()?;
        Ok(event)
    }

    /// Nothing is written from now on, not even again what failed: a sync that fails once may say yes the second time, and
    /// the bytes are lost all the same.
    fn fail(&mut self, error: LedgerError) -> LedgerError {
        self.store.abandon();
        let error = self.store.reason(error);
        if self.poison.set(error.clone()).is_ok() {
            tracing::error!(%error, "the ledger takes nothing more");
        }
        // Their channels end: no event follows.
        self.subscribers.clear();
        error
    }

    /// Tells every subscriber, and waits for one that is behind: see `Ledger::subscribe`. Forgets those that left.
    fn publish(&mut self, event: &LedgerEvent) {
        self.subscribers.retain(|subscriber| subscriber.send(event.clone()).is_ok());
    }
}

/// Answers; a refusal that nobody waits for is at least logged.
fn answer<T>(reply: ChangeReply<T>, result: Result<T, LedgerError>) {
    if let Err(unheard) = reply.send(result)
        && let Err(error) = unheard.into_inner()
    {
        tracing::error!(%error, "a change was refused and nobody waited for the answer");
    }
}

/// A context as an event can hold it. What is for people alone is cut; a fact that does not fit is refused.
fn writable(context: Context) -> Result<Context, Law> {
    context_fits(&context).map_err(|what| Law::NotWritable(what.into()))?;
    let detail = context.detail.as_deref().and_then(|detail| tidied(detail, DETAIL_MAX));
    Ok(Context { detail, ..context })
}

/// A change as an event can hold it.
fn written(change: &Change) -> Result<Change, Law> {
    match change {
        Change::Verified { seq, compared } => {
            let compared = tidied(compared, COMPARED_MAX).unwrap_or_default();
            Ok(Change::Verified { seq: *seq, compared })
        }
        Change::ValueGiven { value, .. } if !value.is_sound() => Err(Law::NotWritable("value".into())),
        Change::Ran(counts) if !codec::counts_fit(counts) => Err(Law::NotWritable("counts".into())),
        change => Ok(change.clone()),
    }
}

/// The first sequences, for people.
fn seen_detail(seen: &[u32]) -> String {
    let shown: Vec<_> = seen.iter().take(20).map(u32::to_string).collect();
    let more = if seen.len() > shown.len() { " ..." } else { "" };
    format!(
        "{} card_refs stand in another file of the issuer: records {}{more}",
        seen.len(),
        shown.join(", ")
    )
}

impl Change {
    /// The record that the change is about.
    pub fn seq(&self) -> Option<u32> {
        match self {
            Self::Bound { seq, .. }
            | Self::Attempt { seq, .. }
            | Self::ChipFound { seq, .. }
            | Self::ValueGiven { seq, .. }
            | Self::Verified { seq, .. }
            | Self::Stacked { seq, .. }
            | Self::Rejected { seq }
            | Self::Lost { seq }
            | Self::Cancelled { seq }
            | Self::Destroyed { seq }
            | Self::FoundGood { seq }
            | Self::Sampled { seq }
            | Self::RemakeReleased { seq }
            | Self::Asked { seq } => Some(*seq),
            Self::Fed { .. }
            | Self::RejectedUnbound { .. }
            | Self::Returned { .. }
            | Self::Tested { .. }
            | Self::StockIssued { .. }
            | Self::StockReturned { .. }
            | Self::StockVaulted { .. }
            | Self::Ran(_)
            | Self::HoldAsked
            | Self::HoldTakenBack
            | Self::Held
            | Self::Released
            | Self::Closed
            | Self::Deleting
            | Self::Deleted(_) => None,
        }
    }
}
