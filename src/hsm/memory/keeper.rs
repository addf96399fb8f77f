//! The owner of a store's memory in a host: one thread, which takes the questions of all connections that wait, notes what they
//! change, syncs once, and answers them then.
//!
//! ```text
//! connections ── questions ──> decide on the state, note records ──> one write, one sync ──> answers
//! ```
//!
//! After a write that failed (no room) nothing of it is answered, and the memory is opened anew for the next question: what the
//! file then holds was answered, or is cut. After a sync that failed nothing is answered any more.
//!
//! Not here: what is asked (`audit_book`), the files (`mod`).

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Memory, MemoryFault, MemoryHome, MemoryRecord};
use crate::exit::Failure;
use crate::hsm::HsmError;
use crate::threads;

/// Questions that may wait. Each connection has one.
const QUEUE: usize = 512;
/// Most questions that are answered after one sync.
const BATCH: usize = 256;
/// Length of a journal after which it is rotated, if its snapshot is not longer: a host reads both when it starts.
const LONG: u64 = 8 << 20;
/// Bytes of a journal after which a rotation that failed is tried again.
const MORE: u64 = 8 << 20;

/// Whether what was noted is durable.
type Synced<'a> = Result<(), &'a MemoryFault>;
/// Gives an answer to who waits for it.
type Deliver = Box<dyn FnOnce(Synced<'_>) + Send>;
/// Decides, and notes what is to be remembered.
type Question = Box<dyn FnOnce(Result<&mut Memory, MemoryFault>) -> Deliver + Send>;

/// The memory of a store, owned by a thread of this host. Connections share it.
pub struct MemoryKeeper {
    /// `None` only while it is dropped.
    questions: Option<SyncSender<Question>>,
    thread: Option<JoinHandle<()>>,
}

impl MemoryKeeper {
    /// Opens the memory of a store, of which this process is the only host.
    pub fn start(home: MemoryHome) -> Result<Self, Failure> {
        let memory = Memory::open(&home).map_err(HsmError::from)?;
        let (questions, waiting) = sync_channel(QUEUE);
        let rotates_at = memory.snapshot_length().max(LONG);
        let owner = MemoryOwner { home, memory: Some(memory), dead: None, started: false, rotates_at };
        let thread = threads::start("hsm-journal", move || owner.run(&waiting))?;
        Ok(Self { questions: Some(questions), thread: Some(thread) })
    }

    /// Decides on the memory, and returns the decision when all that it noted is durable.
    pub fn ask<T, E>(&self, decide: impl FnOnce(&mut Memory) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<MemoryFault> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let question: Question = Box::new(move |memory| {
            let decided = memory.map_err(E::from).and_then(decide);
            Box::new(move |synced| {
                // Who does not wait any more has closed the connection.
                let _ = reply.send(decided.and_then(|answer| match synced {
                    Ok(()) => Ok(answer),
                    Err(fault) => Err(fault.clone().into()),
                }));
            })
        });
        let ended = || MemoryFault::Io("its thread ended, which is a bug: report it".to_owned());
        let sent = self.questions.as_ref().is_some_and(|questions| questions.send(question).is_ok());
        if !sent {
            return Err(ended().into());
        }
        answer.recv().unwrap_or_else(|_| Err(ended().into()))
    }
}

impl Drop for MemoryKeeper {
    fn drop(&mut self) {
        drop(self.questions.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was reported; nobody is answered any more.
            let _ = thread.join();
        }
    }
}

/// The thread's part.
struct MemoryOwner {
    home: MemoryHome,
    /// `None` after a write that failed.
    memory: Option<Memory>,
    /// Why nothing is answered any more.
    dead: Option<MemoryFault>,
    /// Whether the journal has the start of this host.
    started: bool,
    /// Length of the journal at which the next one is made.
    rotates_at: u64,
}

impl MemoryOwner {
    fn run(mut self, waiting: &Receiver<Question>) {
        while let Ok(first) = waiting.recv() {
            let questions = std::iter::once(first).chain(waiting.try_iter()).take(BATCH);
            let mut answers = Vec::new();
            for question in questions {
                answers.push(question(self.memory()));
            }
            let synced = self.sync();
            for answer in answers {
                answer(synced.as_ref().copied());
            }
            self.rotate();
        }
    }

    /// The memory, opened anew if a write failed.
    fn memory(&mut self) -> Result<&mut Memory, MemoryFault> {
        if let Some(fault) = &self.dead {
            return Err(fault.clone());
        }
        match &mut self.memory {
            Some(memory) => Ok(memory),
            lost => Ok(lost.insert(Memory::open(&self.home)?)),
        }
    }

    fn sync(&mut self) -> Result<(), MemoryFault> {
        // Without a memory, every question of the batch has its error already.
        let Some(memory) = &mut self.memory else { return Ok(()) };
        let begins = !self.started && memory.has_more();
        let start = if begins {
            let (version, cut) = (env!("CARGO_PKG_VERSION").to_owned(), memory.cut());
            memory.note(&MemoryRecord::Started { version, time: unix_ms(), cut })
        } else {
            Ok(())
        };
        let synced = start.and_then(|()| memory.sync());
        match &synced {
            Ok(()) => self.started |= begins,
            Err(fault) => {
                tracing::warn!(%fault, "the HSM's memory of ledgers was not written");
                if matches!(fault, MemoryFault::Sync(_)) {
                    self.dead = Some(fault.clone());
                }
                self.memory = None;
            }
        }
        synced
    }

    fn rotate(&mut self) {
        let Some(memory) = &mut self.memory else { return };
        let length = memory.length();
        if length < self.rotates_at {
            return;
        }
        let rotated = memory.rotate();
        self.rotates_at = memory.snapshot_length().max(LONG);
        if let Err(fault) = rotated {
            // Tried again after more, not after each change: what is lost is read anew.
            self.rotates_at = length.saturating_add(MORE);
            tracing::warn!(%fault, "the HSM's journal is long, and the next one was not made");
            self.memory = None;
        }
    }
}

/// Unix time in ms.
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
