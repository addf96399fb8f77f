//! The callers' handles: the ledger, and a ticket for each change.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::arrivals;
use super::error::LedgerError;
use super::store::{LedgerStore, Reader};
use super::writer::{LedgerWriter, Message};
use crate::audit::LedgerId;
use crate::hsm::Auditor;
use crate::laws::event::{EventFact, LedgerEvent};
use crate::laws::types::{Change, Context, JobId};
use crate::ledger::new_job::{Accepted, NewJob};
use crate::panics::ends_well;
use crate::threads;

/// Changes that may be queued for the writer; the next caller waits.
const QUEUE: usize = 4096;

/// Events that may be queued for one subscriber: some thousand cards, about 30 MB at most.
const BACKLOG: usize = 65_536;

/// The ledger, open for writing by this process alone. Clones share it; it is closed by [`Ledger::close`] or when the
/// last clone is dropped.
#[derive(Clone)]
pub struct Ledger(Arc<Inner>);

struct Inner {
    id: LedgerId,
    path: PathBuf,
    messages: Sender<Message>,
    /// The queue, to be emptied after the writer has ended.
    left: UntakenMessages,
    silence: WriterSilence,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Why the writer does not answer.
#[derive(Clone)]
struct WriterSilence {
    poison: Arc<OnceLock<LedgerError>>,
    /// Nothing is ever sent on this channel. It closes when the writer has ended; its last error is in `poison` then.
    writer: Receiver<Infallible>,
}

impl WriterSilence {
    /// The reason, after the writer dropped a message without an answer. It does that only when it ends.
    fn why(&self) -> LedgerError {
        // Returns, with an error, as soon as the writer has ended.
        let _ = self.writer.recv();
        self.poison.get().cloned().unwrap_or(LedgerError::Closed)
    }
}

/// Messages that were queued after the writer ended. Dropping them wakes the callers that wait for an answer; the
/// channel would not.
#[derive(Clone)]
struct UntakenMessages {
    queue: Receiver<Message>,
    ended: Arc<AtomicBool>,
}

impl UntakenMessages {
    /// Drops the queued messages, if the writer has ended.
    fn clear(&self) {
        if self.ended.load(Ordering::SeqCst) {
            self.queue.try_iter().for_each(drop);
        }
    }
}

/// Belongs to the writer's thread. Its drop marks the end of the writer, even after a panic.
struct WriterEnd {
    left: UntakenMessages,
    /// Dropped with this value, which closes the channel of [`WriterSilence`].
    _writer: Sender<Infallible>,
}

impl Drop for WriterEnd {
    fn drop(&mut self) {
        self.left.ended.store(true, Ordering::SeqCst);
        self.left.clear();
    }
}

/// The answer to one change. Wait for it where the next step needs the change to be durable.
#[must_use = "a change may be refused; wait for the answer"]
pub struct Ticket(Result<TicketAnswer, LedgerError>);

/// The channel of the answer, and the reason if none comes.
struct TicketAnswer {
    event: oneshot::Receiver<Result<LedgerEvent, LedgerError>>,
    silence: WriterSilence,
}

/// Word of a note on supplies for all that a machine may want of a person.
const SUPPLIES: &str = "supplies";
/// State of a note on supplies: the machine waits for them.
pub const WANTED: &str = "wanted";
/// Kind of a proof of the wiring: a person read the station's mark on a test blank.
const BY_MARK: &str = "mark";
/// Kind of an event that takes an earlier proof back, because a test found another station's machine.
const REFUTED: &str = "refuted";

impl Ledger {
    /// Opens a ledger, or makes one (mode 0600), and takes over what an earlier process left under way: its attempts
    /// between BOUND and VERIFIED become UNKNOWN, blanks that lay unbound in the line count as rejected, and their
    /// jobs are HELD, all with reason `restart`.
    ///
    /// Errors: [`LedgerError::InUse`] if another process (or this one) has it open for writing,
    /// [`LedgerError::Newer`], [`LedgerError::NotALedger`], [`LedgerError::Damaged`], [`LedgerError::Io`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, LedgerError> {
        Self::start(path.as_ref(), None)
    }

    /// Like [`Self::open`], with an HSM that signs the ledger. Opening compares the ledger with the HSM's record of
    /// it, and verifies the chain from the last checkpoint on. From then on the ledger is signed every
    /// [`SIGNED_EVERY`] events, within a second of any event, at once when a job's state changes, and when it is
    /// closed.
    ///
    /// Errors: also [`LedgerError::Damaged`] if ledger and HSM contradict each other, and [`LedgerError::Auditor`] if
    /// the HSM fails.
    ///
    /// [`SIGNED_EVERY`]: super::signing::SIGNED_EVERY
    pub fn open_audited(path: impl AsRef<Path>, auditor: Box<dyn Auditor>) -> Result<Self, LedgerError> {
        Self::start(path.as_ref(), Some(auditor))
    }

    fn start(path: &Path, auditor: Option<Box<dyn Auditor>>) -> Result<Self, LedgerError> {
        let store = LedgerStore::open(path).map_err(|e| e.of(path))?;
        let (id, path) = (store.id(), store.path().to_owned());
        let poison = Arc::new(OnceLock::new());
        let mut writing = LedgerWriter::new(store, auditor, Arc::clone(&poison))?;
        writing.take_over()?;
        let (messages, queue) = bounded(QUEUE);
        let left = UntakenMessages { queue: queue.clone(), ended: Arc::default() };
        let (ends, writer) = bounded(0);
        let ending = WriterEnd { left: left.clone(), _writer: ends };
        let silence = WriterSilence { poison: Arc::clone(&poison), writer };
        let thread = threads::start("ledger", move || {
            let _ending = ending;
            if !ends_well(|| writing.run(&queue)) {
                // Has no effect after an earlier failure, which is the better reason.
                let _ = poison.set(LedgerError::WriterDied);
            }
        });
        let thread = Mutex::new(Some(thread.map_err(LedgerError::NoThread)?));
        Ok(Self(Arc::new(Inner { id, path, messages, left, silence, thread })))
    }

    /// The ledger's id.
    pub fn id(&self) -> LedgerId {
        self.0.id
    }

    /// The ledger's absolute path.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// A reader of the durable data; one per thread.
    pub fn reader(&self) -> Result<Reader, LedgerError> {
        Reader::open(&self.0.path)
    }

    /// The failure after which the ledger accepts no more changes, if there was one.
    pub fn failed(&self) -> Option<&LedgerError> {
        self.0.silence.poison.get()
    }

    /// Makes a job of an accepted file; durable on return. The job is OPEN, or HELD if card_refs also occur in
    /// another file of the issuer.
    ///
    /// Errors: [`LedgerError::Seen`] (same issuer and file_id, or same digest), [`LedgerError::NotAJob`] (no
    /// records, or a card_ref twice), and those of the file system.
    pub fn new_job(&self, new: NewJob) -> Result<Accepted, LedgerError> {
        arrivals::check(&new)?;
        let (reply, answer) = oneshot::channel();
        self.0.send(Message::NewJob(Box::new(new), reply))?;
        answer.recv().map_err(|_| self.0.silence.why())?
    }

    /// Queues a change. The order of calls is the order of events; waits while the queue is full. The change is
    /// durable once [`Ticket::wait`] has returned it, not before.
    pub fn record(&self, job: JobId, change: Change, context: Context) -> Ticket {
        let (reply, event) = oneshot::channel();
        let sent = self.0.send(Message::Change(job, change, context, reply));
        Ticket(sent.map(|()| TicketAnswer { event, silence: self.0.silence.clone() }))
    }

    /// Like [`Self::record`], for changes of a job that become durable together: after a crash all of them are there,
    /// or none.
    pub fn record_together(&self, job: JobId, changes: Vec<Change>, context: &Context) -> Vec<Ticket> {
        let answer = |event| TicketAnswer { event, silence: self.0.silence.clone() };
        let (said, events): (Vec<_>, Vec<_>) = changes
            .into_iter()
            .map(|change| {
                let (reply, event) = oneshot::channel();
                ((job, change, context.clone(), reply), event)
            })
            .unzip();
        let sent = self.0.send(Message::Together(said));
        events.into_iter().map(|event| Ticket(sent.clone().map(|()| answer(event)))).collect()
    }

    /// Notes what a machine says about its supplies. A ledger that takes nothing more takes no note either, and says so
    /// at the next change.
    pub fn note_supply(&self, station: &str, state: &str, context: Context) {
        let fact = EventFact::SupplyTold {
            station: station.to_owned(),
            supply: SUPPLIES.to_owned(),
            state: state.to_owned(),
        };
        let _ = self.0.send(Message::Note(Box::new((fact, context))));
    }

    /// Records a person's word that the machine on a connection belongs to a station, and the proof of the wiring that
    /// follows from it; durable on return.
    pub fn wired_by_word(
        &self,
        station: &str,
        connection: &str,
        context: Context,
    ) -> Result<(), LedgerError> {
        let (station, device) = (station.to_owned(), Some(connection.to_owned()));
        let word = EventFact::PersonsWord { station: station.clone(), device: device.clone() };
        let wired = EventFact::WiringProved { station, device, how: BY_MARK.to_owned() };
        self.tell(vec![(word, context.clone()), (wired, context)])
    }

    /// Takes back every earlier proof of a station's wiring; durable on return.
    pub fn wiring_refuted(&self, station: &str, context: Context) -> Result<(), LedgerError> {
        let how = REFUTED.to_owned();
        let fact = EventFact::WiringProved { station: station.to_owned(), device: None, how };
        self.tell(vec![(fact, context)])
    }

    /// Records a blank that was fed into a station to check its line; durable on return.
    pub fn blank_tested(&self, station: &str, context: Context) -> Result<(), LedgerError> {
        self.tell(vec![(EventFact::BlanksTested { station: Some(station.to_owned()), count: 1 }, context)])
    }

    /// Writes events of no job in one transaction; durable on return.
    fn tell(&self, facts: Vec<(EventFact, Context)>) -> Result<(), LedgerError> {
        let (reply, answer) = oneshot::channel();
        self.0.send(Message::Facts(facts, reply))?;
        answer.recv().map_err(|_| self.0.silence.why())?
    }

    /// Begins a shift, which ends the one before it; durable on return.
    ///
    /// Errors: [`LedgerError::Shift`] if the name is not allowed or was used before, and those of the file system.
    pub fn shift(&self, name: &str, context: Context) -> Result<LedgerEvent, LedgerError> {
        let (reply, answer) = oneshot::channel();
        self.0.send(Message::Shift(name.to_owned(), context, reply))?;
        answer.recv().map_err(|_| self.0.silence.why())?
    }

    /// Checks that the laws let a job be closed; writes nothing.
    ///
    /// Errors: those of a [`Change::Closed`] that the ledger refuses.
    pub fn may_close(&self, job: JobId) -> Result<(), LedgerError> {
        let (reply, answer) = oneshot::channel();
        self.0.send(Message::MayClose(job, reply))?;
        answer.recv().map_err(|_| self.0.silence.why())?
    }

    /// Returns every event that is committed from now on, in order, none left out. The channel closes when the ledger
    /// closes or fails.
    ///
    /// A subscriber whose backlog reaches 65,536 events stops the writer, and with it the line, until it catches up:
    /// an `--events` file must have no gap, and memory is limited. Code that shows events to people must therefore
    /// read the channel in a thread that never waits for a terminal.
    pub fn subscribe(&self) -> Receiver<Arc<LedgerEvent>> {
        let (subscriber, events) = bounded(BACKLOG);
        if self.0.send(Message::Subscribe(subscriber)).is_err() {
            tracing::debug!("subscribed to a ledger that is closed");
        }
        events
    }

    /// Writes the queued changes and closes the file; other clones get [`LedgerError::Closed`] from then on. Returns
    /// the error of the write that failed, if one did.
    pub fn close(self) -> Result<(), LedgerError> {
        self.0.stop();
        match self.0.silence.poison.get() {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// From now on the file may grow by `more` pages only.
    #[cfg(test)]
    pub(super) fn fill_disk(&self, more: u32) {
        self.0.send(Message::FillDisk(more)).unwrap();
    }
}

impl Inner {
    fn send(&self, message: Message) -> Result<(), LedgerError> {
        self.messages.send(message).map_err(|_| self.silence.why())?;
        // The writer may have ended before it took this message.
        self.left.clear();
        Ok(())
    }

    fn stop(&self) {
        // Only the first call finds the thread: `close` and the last drop both come here.
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return };
        // An error means that the writer is gone already.
        if self.messages.send(Message::Stop).is_err() {
            tracing::debug!("the ledger's writer had ended");
        }
        if thread.join().is_err() {
            tracing::error!("the ledger's writer panicked");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Ticket {
    /// Waits until the change is durable, and returns its event.
    ///
    /// Errors: [`LedgerError::Denied`] names the law that forbids it; [`LedgerError::NoJob`]; [`LedgerError::Io`] if
    /// this change or an earlier one could not be written: then nothing is written any more and no card may be bound.
    pub fn wait(self) -> Result<LedgerEvent, LedgerError> {
        let TicketAnswer { event, silence } = self.0?;
        match event.recv() {
            Ok(result) => result,
            Err(_) => Err(silence.why()),
        }
    }
}
