//! The only thread that writes. It takes about [`BATCH`] queued changes into one transaction ([`super::gather`]
//! decides when one is full), answers their callers after COMMIT, and then sends the events to the subscribers.
//!
//! A change against a law is refused before anything is written and does not disturb its batch. A write that fails
//! (disk full) undoes the batch and poisons the ledger: that batch and every later change get the error, so that
//! nothing is bound that is not on disk.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::arrivals::Arrivals;
use super::error::LedgerError;
use super::gather::Gather;
use super::signing::{Signing, waits_for_hsm};
use super::store::LedgerStore;
use crate::audit::ChainPlace;
use crate::hsm::memory::FollowRefusal;
use crate::hsm::{Auditor, Following, HsmError, ShownEvents};
use crate::laws::Law;
use crate::laws::book::{JobBook, LAWS};
use crate::laws::chain::place_after;
use crate::laws::event::limits::{COMPARED_MAX, DETAIL_MAX, context_fits, tidied};
use crate::laws::event::{EventFact, LedgerEvent, codec};
use crate::laws::shifts::is_shift_name;
use crate::laws::types::{Balance, Change, Context, JobId, JobState, RecordState};
use crate::ledger::new_job::{Accepted, NewJob};
use crate::reason::ReasonWord;

/// A transaction with this many changes waits for no more.
pub(super) const BATCH: usize = 512;

/// How long the end waits for the HSM's signature.
const LAST_SIGNATURE: Duration = Duration::from_secs(3);
/// Pause between two requests for it.
const LAST_PAUSE: Duration = Duration::from_millis(200);

/// How long a start waits for the connection of an earlier program to end, and how long between two looks.
const LET_GO: Duration = Duration::from_secs(2);
const LET_GO_PAUSE: Duration = Duration::from_millis(20);

/// So many events take a while to show.
const LONG_TO_SHOW: u64 = 10_000;
/// How long the HSM is shown events of a long ledger before the writer looks after its callers again.
const SHOWN_AT_ONCE: Duration = Duration::from_millis(200);

/// How often an idle writer checks that its files are still in place.
const LOOKS_AFTER: Duration = Duration::from_secs(1);

/// The channel for the answer to one change. A commit takes longer than a context switch, so the caller sleeps at
/// once and leaves the processor to the writer.
pub(super) type ChangeReply<T> = oneshot::Sender<Result<T, LedgerError>>;

/// A change, and the channel for its answer.
pub(super) type Said = (JobId, Change, Context, ChangeReply<LedgerEvent>);

/// A message to the writer.
pub(super) enum Message {
    /// A change.
    Change(JobId, Change, Context, ChangeReply<LedgerEvent>),
    /// Changes that are written in one transaction: after a crash, all of them are there or none.
    Together(Vec<Said>),
    /// A new job, which was checked.
    NewJob(Box<NewJob>, ChangeReply<Accepted>),
    /// A shift begins; a transaction of its own.
    Shift(String, Context, ChangeReply<LedgerEvent>),
    /// A note that changes no state; a transaction of its own.
    Note(Box<(EventFact, Context)>),
    /// Asks whether the laws let a job be closed.
    MayClose(JobId, ChangeReply<()>),
    /// Events of no job that change no state and become durable together.
    Facts(Vec<(EventFact, Context)>, oneshot::Sender<Result<(), LedgerError>>),
    /// Sends every event that is committed from now on.
    Subscribe(Sender<Arc<LedgerEvent>>),
    /// Ends the writer.
    Stop,
    /// Simulates a full disk: the file may grow by this number of pages only.
    #[cfg(test)]
    FillDisk(u32),
}

/// Why events were not shown.
enum ShowFault {
    /// The HSM did not take them.
    Hsm(HsmError),
    /// The ledger could not be read or written, or is not the one that the HSM knows.
    Ledger(LedgerError),
}

impl ShowFault {
    fn into_error(self) -> LedgerError {
        match self {
            Self::Hsm(error) => LedgerError::Auditor(error),
            Self::Ledger(error) => error,
        }
    }
}

impl From<HsmError> for ShowFault {
    fn from(error: HsmError) -> Self {
        Self::Hsm(error)
    }
}

impl From<LedgerError> for ShowFault {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

/// The writing thread's state.
pub(super) struct LedgerWriter {
    store: LedgerStore,
    signing: Signing,
    gather: Gather,
    arrivals: Arrivals,
    /// Working state of the jobs that were used since the start and are not closed.
    books: HashMap<JobId, JobBook>,
    subscribers: Vec<Sender<Arc<LedgerEvent>>>,
    /// Why the ledger accepts no more changes, after a failure.
    poison: Arc<OnceLock<LedgerError>>,
}

impl LedgerWriter {
    /// A writer on an open store. With an auditor, the store is first compared with the HSM's record of it.
    pub(super) fn new(
        store: LedgerStore,
        mut auditor: Option<Box<dyn Auditor>>,
        poison: Arc<OnceLock<LedgerError>>,
    ) -> Result<Self, LedgerError> {
        if let Some(auditor) = &mut auditor {
            store.agrees(&auditor.audit(store.id()).map_err(LedgerError::Auditor)?)?;
        }
        let audited = auditor.is_some();
        let signing = Signing::new(auditor, store.signed_to()?);
        let mut writer = Self {
            store,
            signing,
            gather: Gather::default(),
            arrivals: Arrivals::default(),
            books: HashMap::new(),
            subscribers: Vec::new(),
            poison,
        };
        if audited {
            writer.follow_first().map_err(ShowFault::into_error)?;
        }
        Ok(writer)
    }

    /// Follows the ledger at a start: the HSM may not have noticed yet that an earlier program's connection has ended.
    fn follow_first(&mut self) -> Result<(), ShowFault> {
        let until = Instant::now() + LET_GO;
        loop {
            match self.follow(true) {
                Err(ShowFault::Hsm(HsmError::NotFollowed(FollowRefusal::Followed)))
                    if Instant::now() < until =>
                {
                    std::thread::sleep(LET_GO_PAUSE);
                }
                followed => return followed.map(drop),
            }
        }
    }

    /// Settles the work that an earlier process left under way: attempts become UNKNOWN, unbound blanks REJECTED and
    /// their jobs HELD, all for the reason `restart`.
    pub(super) fn take_over(&mut self) -> Result<(), LedgerError> {
        self.taken_over().map_err(|error| self.fail(error))
    }

    fn taken_over(&mut self) -> Result<(), LedgerError> {
        let context = || Context { reason: Some(ReasonWord::Restart), ..Context::default() };
        self.store.begin()?;
        self.store.take_back()?;
        for job in self.store.interrupted()? {
            let book = self.store.load(job)?.ok_or(LedgerError::NoJob(job))?;
            let lost = book
                .records
                .lives()
                .filter(|(_, record)| record.state == RecordState::InFlight)
                .map(|(seq, _)| Change::Lost { seq });
            let thrown = book.in_line.iter().map(|&blank| Change::RejectedUnbound { blank, chip: None });
            let held = (book.state == JobState::Open).then_some(Change::Held);
            let changes: Vec<_> = lost.chain(thrown).chain(held).collect();
            self.books.insert(job, book);
            for change in &changes {
                let mut context = context();
                if let Change::Lost { seq } = change {
                    // So that a person knows where to look for the card.
                    (context.station, context.module) = self.store.last_station(job, *seq)?;
                }
                self.change(job, change, context)?;
            }
            self.write_balances([job])?;
        }
        self.store.commit()
    }

    /// Writes until [`Message::Stop`] comes, or until all senders are gone.
    pub(super) fn run(mut self, messages: &Receiver<Message>) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            self.arrive();
            self.sign_if_due();
            self.release(&mut batch);
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
                        batch.extend(self.admit((job, change, context, reply)));
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
                    // Any other message comes after the changes that were queued before it.
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
        self.sign_the_end();
    }

    /// The next message, or a timeout as soon as events must be signed or, without unsigned events, the files
    /// checked. While a job arrives, this returns at once, so that the next piece follows.
    fn next(&self, messages: &Receiver<Message>) -> Result<Message, RecvTimeoutError> {
        if !self.arrivals.is_empty() {
            return messages.recv_timeout(Duration::ZERO);
        }
        match self.signing.next().filter(|_| self.poison.get().is_none()) {
            Some(then) => messages.recv_deadline(then),
            None => messages.recv_timeout(LOOKS_AFTER),
        }
    }

    /// Checks the files of an idle ledger. If one was removed or replaced, the ledger accepts no more changes.
    fn look(&mut self) {
        if self.poison.get().is_none()
            && let Err(error) = self.store.look()
        {
            self.fail(error);
        }
    }

    fn sign_if_due(&mut self) {
        if self.poison.get().is_none() && self.signing.is_due(self.store.last_event()) {
            self.show(true, SHOWN_AT_ONCE);
        }
    }

    /// Shows the HSM the durable events that it has not acknowledged, and has the last one signed if `sign` is set. Events that
    /// are left after the time `within` are shown soon. A failure of the HSM does not stop cards under way, because these events
    /// are shown again. The ledger stops if the checkpoint cannot be written, or if the HSM refuses an event.
    fn show(&mut self, sign: bool, within: Duration) {
        if self.poison.get().is_some() || self.signing.auditor.is_none() {
            return;
        }
        let begun = Instant::now();
        match self.shown(sign, within) {
            Ok(()) => {}
            Err(ShowFault::Hsm(error)) if !error.ends_the_ledger() => {
                // The connection may have broken after the HSM noted events: the next one asks for its last event.
                self.signing.acknowledged = None;
                self.signing.failed(error, self.store.last_event(), begun.elapsed());
            }
            Err(fault) => {
                self.fail(fault.into_error());
            }
        }
        self.answer_known();
    }

    fn shown(&mut self, sign: bool, within: Duration) -> Result<(), ShowFault> {
        let begun = Instant::now();
        let mut after = match self.signing.acknowledged {
            Some(place) => place,
            None => self.follow(false)?,
        };
        loop {
            let events = self.store.events_after(&after)?;
            let last = events.iter().try_fold(after, |place, event| place_after(&place, event));
            let last = last.ok_or_else(|| LedgerError::Damaged("an event has no number".to_owned()))?;
            let ends = last.n >= self.store.last_event() || events.is_empty();
            let Some(auditor) = &mut self.signing.auditor else { return Ok(()) };
            let now = auditor.show(&ShownEvents { after, events, sign: sign && ends })?;
            if now.place != last {
                return Err(HsmError::Host("it acknowledged another event".to_owned()).into());
            }
            self.signing.acknowledges(last);
            self.signing.bar(&now.barred);
            if let Some(checkpoint) = now.signed {
                self.store.begin()?;
                self.store.keep(&checkpoint)?;
                self.store.commit()?;
                self.signing.signed(last.n);
            }
            if ends {
                return Ok(());
            }
            if begun.elapsed() > within {
                self.signing.hurry();
                return Ok(());
            }
            after = last;
        }
    }

    /// Follows the ledger on this connection; at a start, no file is being accepted. Returns the last event that the HSM has acknowledged, which is this ledger's.
    fn follow(&mut self, at_start: bool) -> Result<ChainPlace, ShowFault> {
        let (ledger, signed) = (self.store.id(), self.store.last_signed()?);
        let signed_to = signed.as_ref().map_or(0, |signed| signed.place.n);
        let last = self.store.last_event();
        let Some(auditor) = &mut self.signing.auditor else { return Ok(self.store.place()) };
        let followed =
            auditor.follow(&Following { ledger, laws: LAWS, signed, last: at_start.then_some(last) })?;
        for place in [&followed.place, &followed.head] {
            if !self.store.has(place)? {
                return Err(LedgerError::Damaged(format!(
                    "the HSM has acknowledged event {}, which is not there any more or another one: the ledger was put back from \
                     a backup, or changed; find the newer one and keep both for the auditor",
                    place.n
                ))
                .into());
            }
        }
        if let Some(lost) = followed.signed.filter(|signed| signed.place.n > signed_to) {
            // Its answer was lost.
            self.store.begin()?;
            self.store.keep(&lost)?;
            self.store.commit()?;
            self.signing.signed(lost.place.n);
        }
        self.signing.acknowledges(followed.place);
        let left = last.saturating_sub(followed.place.n);
        if left > LONG_TO_SHOW {
            tracing::info!(
                "the ledger shows the HSM {left} events; no card is bound until the HSM has seen them"
            );
        }
        Ok(followed.place)
    }

    /// Answers the changes that waited for the HSM, and those that waited too long.
    fn answer_known(&mut self) {
        let poison = self.poison.get().cloned();
        for (known, event, reply) in self.signing.answerable(poison.is_some()) {
            let why = || self.signing.unacknowledged(self.store.last_event());
            match (known, poison.clone().or_else(why)) {
                (true, _) => answer(reply, self.signing.answer_of(event)),
                (false, Some(error)) => answer(reply, Err(error)),
                // It waits until the HSM has been shown what comes before.
                (false, None) => self.signing.answer_later(event, reply),
            }
        }
    }

    /// Passes a change on, or keeps it until the HSM has signed what is owed.
    fn admit(&mut self, said: Said) -> Option<Said> {
        let said = self.signing.admit(said, self.store.last_event())?;
        self.closable(said)
    }

    /// Closing a job needs the end signed.
    fn closable(&mut self, said: Said) -> Option<Said> {
        if matches!(said.1, Change::Closed) {
            self.show(true, SHOWN_AT_ONCE);
            if let Some(error) = self.signing.debt(self.store.last_event()) {
                answer(said.3, Err(error));
                return None;
            }
        }
        Some(said)
    }

    /// Writes the bindings that waited for the HSM, or refuses those that waited too long.
    fn release(&mut self, batch: &mut Vec<Said>) {
        let poison = self.poison.get().cloned();
        self.answer_known();
        for said in self.signing.released(poison.is_some(), self.store.last_event()) {
            match poison.clone().or_else(|| self.signing.debt(self.store.last_event())) {
                None => batch.extend(self.closable(said)),
                Some(error) => answer(said.3, Err(error)),
            }
        }
        self.write(batch);
    }

    /// Waits for the signature of the last event. Returns the error for an end without it.
    fn sign_the_end(&mut self) -> Option<LedgerError> {
        let until = Instant::now() + LAST_SIGNATURE;
        loop {
            let owed = self.signing.owed(self.store.last_event());
            if owed == 0 {
                return None;
            }
            self.show(true, SHOWN_AT_ONCE);
            if self.poison.get().is_some() {
                return None;
            }
            let away = self.signing.debt(self.store.last_event());
            if Instant::now() >= until {
                let left = self.signing.owed(self.store.last_event());
                let error = away.unwrap_or(LedgerError::NotShown { events: left });
                if left > 0 {
                    tracing::warn!(%error, "the ledger ends without a signature");
                    return Some(error);
                }
            } else if away.is_some() {
                std::thread::sleep(LAST_PAUSE);
            }
        }
    }

    /// Handles every message but a change; returns whether the writer ends.
    fn other(&mut self, message: Message) -> bool {
        match message {
            Message::NewJob(new, reply) => self.arrivals.add(*new, reply),
            Message::Shift(name, context, reply) => {
                let result = match self.poison.get() {
                    Some(error) => Err(error.clone()),
                    None => self.shift(&name, context),
                };
                let event = result.as_ref().ok().cloned();
                answer(reply, result);
                event.iter().for_each(|event| self.publish(event));
            }
            Message::Note(note) => {
                let events = self.facts(vec![*note]).unwrap_or_default();
                events.iter().for_each(|event| self.publish(event));
            }
            Message::Facts(facts, reply) => {
                let written = self.facts(facts);
                let events = written.clone().unwrap_or_default();
                answer(reply, written.map(drop));
                events.iter().for_each(|event| self.publish(event));
            }
            Message::MayClose(job, reply) => {
                let may = self.may_close(job);
                answer(reply, may);
            }
            Message::Subscribe(subscriber) => {
                if self.poison.get().is_none() {
                    self.subscribers.push(subscriber);
                }
            }
            Message::Stop => {
                while !self.arrivals.is_empty() {
                    self.arrive();
                }
                let unsigned = self.sign_the_end();
                self.answer_known();
                for (known, event, reply) in self.signing.answerable(true) {
                    let error = self.signing.unacknowledged(self.store.last_event());
                    let error = error.or_else(|| unsigned.clone()).filter(|_| !known);
                    answer(reply, error.map_or_else(|| self.signing.answer_of(event), Err));
                }
                self.look();
                if self.poison.get().is_none() {
                    self.store.fold();
                }
                if let Some(error) = unsigned {
                    // A fault of the ledger itself says more.
                    let _ = self.poison.set(error);
                }
                return true;
            }
            #[cfg(test)]
            Message::FillDisk(more) => self.store.fill_disk(more),
            Message::Change(..) | Message::Together(_) => {}
        }
        false
    }

    /// Writes a batch in one transaction and answers the callers.
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
        let waits = |event: &LedgerEvent| waits_for_hsm(&event.fact);
        if results.iter().flatten().any(waits) && !self.signing.pauses() {
            self.show(false, SHOWN_AT_ONCE);
        }
        let mut events = Vec::with_capacity(results.len());
        for ((_, _, _, reply), result) in batch.drain(..).zip(results) {
            if let (Ok(event), false) = (&result, self.subscribers.is_empty()) {
                events.push(event.clone());
            }
            match (result, self.poison.get()) {
                // The HSM refused it: nothing may be done on it.
                (Ok(event), Some(error)) if waits(&event) => answer(reply, Err(error.clone())),
                (Ok(event), None) if waits(&event) && !self.signing.knows(event.n) => {
                    self.signing.answer_later(event, reply);
                }
                (Ok(event), _) if waits(&event) => answer(reply, self.signing.answer_of(event)),
                (result, _) => answer(reply, result),
            }
        }
        // Published after all answers: a slow subscriber must not delay the callers of this batch.
        events.iter().for_each(|event| self.publish(event));
    }

    /// Commits a batch. The error is that of the whole batch; `results` gets the result of each change.
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
        // A card that moves from station to station leaves the balance as it was: write only balances that changed.
        touched.retain(|job, before| self.balance(*job) != *before);
        self.write_balances(touched.into_keys())?;
        self.store.commit()?;
        if results.iter().flatten().any(|event| event.seq().is_none() && event.fact.blank().is_none()) {
            self.signing.hurry();
        }
        self.books.retain(|_, book| book.state != JobState::Closed);
        Ok(())
    }

    /// The balance of a job whose book is loaded.
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
        // Texts are checked before the book changes, so that an allowed change can always be written.
        let context = writable(context).map_err(denied)?;
        let change = &written(change).map_err(denied)?;
        let effect = book.apply(change).map_err(denied)?;
        self.store.write(job, book, change, &effect, context)
    }

    /// Checks that the laws let a job be closed; writes nothing.
    fn may_close(&self, job: JobId) -> Result<(), LedgerError> {
        if let Some(error) = self.poison.get() {
            return Err(error.clone());
        }
        let mut book = match self.books.get(&job) {
            Some(book) => book.clone(),
            None => self.store.load(job)?.ok_or(LedgerError::NoJob(job))?,
        };
        let denied = |law| LedgerError::Denied { job, seq: None, law };
        book.apply(&Change::Closed).map(drop).map_err(denied)
    }

    fn write_balances(&self, jobs: impl IntoIterator<Item = JobId>) -> Result<(), LedgerError> {
        for job in jobs {
            if let Some(book) = self.books.get(&job) {
                self.store.write_balance(job, &book.balance)?;
            }
        }
        Ok(())
    }

    /// Writes the next records of a new job that arrives.
    fn arrive(&mut self) {
        let Some(mut arrival) = self.arrivals.next() else { return };
        let step = match self.poison.get() {
            Some(error) => Err(error.clone()),
            None => arrival.step(&mut self.store).map_err(|error| match error {
                LedgerError::NotAJob(_) | LedgerError::Seen { .. } | LedgerError::FileIdTaken { .. } => error,
                error => self.fail(error),
            }),
        };
        match step {
            Ok(None) => self.arrivals.goes_on(arrival),
            Ok(Some((accepted, book, events))) => {
                self.signing.hurry();
                self.books.insert(accepted.job, book);
                if !self.signing.pauses() {
                    self.show(true, SHOWN_AT_ONCE);
                }
                if let Some(error) = self.poison.get().cloned() {
                    answer(arrival.reply, Err(error));
                    return;
                }
                answer(arrival.reply, Ok(accepted));
                events.iter().for_each(|event| self.publish(event));
            }
            Err(error) => answer(arrival.reply, Err(error)),
        }
    }

    fn shift(&mut self, name: &str, context: Context) -> Result<LedgerEvent, LedgerError> {
        self.add_shift(name, context).map_err(|error| match error {
            LedgerError::Shift(_) => error,
            error => self.fail(error),
        })
    }

    /// Writes events of no job in one transaction.
    fn facts(&mut self, facts: Vec<(EventFact, Context)>) -> Result<Vec<LedgerEvent>, LedgerError> {
        if let Some(error) = self.poison.get() {
            return Err(error.clone());
        }
        let writable = |(fact, context)| Ok((fact, writable(context).map_err(LedgerError::Shift)?));
        let facts: Vec<_> = facts.into_iter().map(writable).collect::<Result<_, LedgerError>>()?;
        let added = self.store.begin().and_then(|()| {
            let events = facts.into_iter().map(|(fact, context)| self.store.of_no_job(fact, context));
            let events = events.collect::<Result<Vec<_>, _>>()?;
            self.store.commit()?;
            Ok(events)
        });
        added.map_err(|error| self.fail(error))
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

    /// Ends all writing. Even the failed write is not tried again: a sync that failed once may report success the
    /// second time, although the bytes are lost.
    fn fail(&mut self, error: LedgerError) -> LedgerError {
        self.store.abandon();
        let error = self.store.reason(error);
        if self.poison.set(error.clone()).is_ok() {
            tracing::error!(%error, "the ledger takes nothing more");
        }
        // This closes their channels, because no event follows.
        self.subscribers.clear();
        error
    }

    /// Sends an event to every subscriber and waits for one whose backlog is full: see `Ledger::subscribe`. Removes
    /// subscribers that are gone.
    fn publish(&mut self, event: &LedgerEvent) {
        if self.subscribers.is_empty() {
            return;
        }
        let event = Arc::new(event.clone());
        self.subscribers.retain(|subscriber| subscriber.send(Arc::clone(&event)).is_ok());
    }
}

/// Sends an answer. A refusal whose caller does not wait is at least logged.
fn answer<T>(reply: ChangeReply<T>, result: Result<T, LedgerError>) {
    if let Err(unheard) = reply.send(result)
        && let Err(error) = unheard.into_inner()
    {
        tracing::error!(%error, "a change was refused, and no caller waited for the answer");
    }
}

/// A context that fits into an event: the detail, which is for people alone, is cut; any other text that does not fit
/// is refused.
fn writable(context: Context) -> Result<Context, Law> {
    context_fits(&context).map_err(|what| Law::NotWritable(what.into()))?;
    let detail = context.detail.as_deref().and_then(|detail| tidied(detail, DETAIL_MAX));
    Ok(Context { detail, ..context })
}

/// A change that fits into an event.
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
            | Self::Deleting { .. }
            | Self::Deleted(_) => None,
        }
    }
}
