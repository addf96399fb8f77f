//! The checks of a whole file, by several threads: acceptance makes them before the first card, and `inspect --line`
//! makes them alone.
//!
//! ```text
//! reading thread: framing, digest, copy ──> batches of records ──> threads: rules ──> HSM: check
//!                                           (bounded channel)      each its own connection
//! ```
//!
//! Of the faults of records the one that stands first in the file is reported, whichever thread finds one first: batches
//! are handed out in file order, and those before a fault are checked to their end. After a fault of a record's data the
//! file is still read to its end, because a damaged file has such faults too. Not here: the rules (`file_rules`),
//! reading and copying (`record::accept`).

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::file_rules::{FileRules, RuleScratch, RuledRecord};
use crate::exit::{Exit, Failure};
use crate::hsm::client::HsmClient;
use crate::hsm::{CheckAnswers, CheckRequest, Checker, Hsm, HsmError, HsmInfo, TrailerRequest};
use crate::modules::LineProfile;
use crate::panics::ends_well;
use crate::profile::ProductProfile;
use crate::record::{AcceptanceChecks, FileError, FileFault, Frame, FrameBatch, Header, Trailer};
use crate::report::{CountedProgress, ProgressDisplay};
use crate::threads;

/// Records of a file up to which one thread checks them: starting others takes longer.
const FEW: u32 = 10_000;
/// Most threads. Each has a connection to the HSM host, which has a few hundred for a whole plant.
const THREADS: usize = 64;

/// Opens connections to the HSM.
pub type ConnectKeys<'a> = &'a (dyn Fn() -> Result<HsmClient, Failure> + Sync);

/// Checks one file. Without keys it leaves out what needs them.
pub struct FileCheck<'a> {
    line: &'a LineProfile,
    connect: Option<ConnectKeys<'a>>,
    display: ProgressDisplay,
    /// The product, if it is not the one that the Header names.
    product: Option<Arc<ProductProfile>>,
    /// Known from the Header on.
    file: Option<CheckedHeader>,
}

/// The check of a file whose Header was read.
struct CheckedHeader {
    rules: Arc<FileRules>,
    /// For the Trailer.
    hsm: Option<HsmClient>,
    /// The Trailer, when the HSM has found it genuine.
    trailer: Option<TrailerRequest>,
    shared: Arc<SharedFindings>,
    batch: Option<FrameBatch>,
    /// Number of batches that were handed out.
    sent: u64,
    /// Dropped to end the threads.
    batches: Option<Sender<FrameBatch>>,
    threads: Vec<JoinHandle<()>>,
    progress: CountedProgress,
}

/// What the threads have found so far.
#[derive(Default)]
struct SharedFindings {
    /// Number of the record with the first fault; 0 while there is none.
    faulty: AtomicU32,
    fault: Mutex<Option<FileError>>,
    /// Numbers of batches, records and applications that were checked.
    batches: AtomicU64,
    records: AtomicU64,
    applications: AtomicU64,
}

impl<'a> FileCheck<'a> {
    /// A check of a file for this line.
    pub fn new(line: &'a LineProfile, connect: Option<ConnectKeys<'a>>, display: ProgressDisplay) -> Self {
        Self { line, connect, display, product: None, file: None }
    }

    /// Checks the file by this product, whose profile may be one that nobody can name yet.
    #[must_use]
    pub fn by(self, product: Arc<ProductProfile>) -> Self {
        Self { product: Some(product), ..self }
    }

    /// The Header of the file, after it was read.
    pub fn file_header(&self) -> Option<&Header> {
        self.file.as_ref().map(|file| file.rules.header())
    }

    /// The product of the file, after its Header was read.
    pub fn product(&self) -> Option<Arc<ProductProfile>> {
        self.file.as_ref().map(|file| Arc::clone(file.rules.product()))
    }

    /// The Trailer of the file, which the HSM has found genuine, after the file was read.
    pub fn genuine_trailer(&self) -> Option<TrailerRequest> {
        self.file.as_ref()?.trailer.clone()
    }

    /// Number of applications that the HSM has found right.
    pub fn applications(&self) -> u64 {
        self.file.as_ref().map_or(0, |file| file.shared.applications.load(Ordering::SeqCst))
    }

    fn begin(&self, header: &Header) -> Result<CheckedHeader, Failure> {
        let mut hsm = self.connect.map(|connect| connect()).transpose()?;
        let info: Option<HsmInfo> = hsm.as_mut().map(Hsm::info).transpose()?;
        let rules = Arc::new(match &self.product {
            None => FileRules::new(self.line, info.as_ref(), header)?,
            Some(product) => FileRules::of_product(self.line, info.as_ref(), header, Arc::clone(product)),
        });
        let count = match header.records {
            ..=FEW => 1,
            // Two for each core, because one of them waits for the HSM.
            _ => std::thread::available_parallelism().map_or(1, |cores| 2 * cores.get()).min(THREADS),
        };
        let (batches, received) = bounded(count);
        let shared = Arc::new(SharedFindings::default());
        let mut file = CheckedHeader {
            rules,
            hsm,
            trailer: None,
            shared,
            batch: None,
            sent: 0,
            batches: Some(batches),
            threads: Vec::with_capacity(count),
            progress: CountedProgress::start(header.records.into(), "records checked", self.display),
        };
        for _ in 0..count {
            let keys = self.connect.map(|connect| connect()).transpose()?;
            let (rules, shared) = (Arc::clone(&file.rules), Arc::clone(&file.shared));
            let worker = CheckingThread::new(rules, shared, keys);
            let received = received.clone();
            let work = move || {
                threads::give_way();
                worker.run(&received);
            };
            file.threads.push(threads::start("file-check", work)?);
        }
        Ok(file)
    }
}

impl AcceptanceChecks for FileCheck<'_> {
    fn header(&mut self, header: &Header) -> Result<(), Failure> {
        self.file = Some(self.begin(header)?);
        Ok(())
    }

    fn record(&mut self, frame: &Frame<'_>) -> bool {
        self.file.as_mut().is_some_and(|file| file.add(frame))
    }

    fn records(&mut self) -> Result<(), FileError> {
        self.file.as_mut().map_or(Ok(()), CheckedHeader::end)
    }

    fn trailer(&mut self, header: &Header, trailer: &Trailer, body: &[u8]) -> Result<(), Failure> {
        let Some(file) = &mut self.file else { return Err(unread()) };
        file.rules.key(trailer.kek, trailer.tk_type)?;
        let Some(hsm) = &mut file.hsm else { return Ok(()) };
        let request = TrailerRequest::of(header, trailer, body);
        hsm.verify_trailer(&request)?;
        file.trailer = Some(request);
        Ok(())
    }
}

fn unread() -> Failure {
    Failure::new(Exit::Bug, "us: a file was checked before its Header was read")
}

impl CheckedHeader {
    /// Takes the next record. Returns false after a fault that ends the reading.
    fn add(&mut self, frame: &Frame<'_>) -> bool {
        if self.shared.is_after_fault(frame.sequence) {
            return !self.shared.ends_reading();
        }
        FrameBatch::collect(&mut self.batch, frame).is_none_or(|full| self.send(full))
    }

    /// Hands a batch to a thread that is free; waits for one. Returns false if there is none.
    fn send(&mut self, batch: FrameBatch) -> bool {
        self.progress.show(self.shared.records.load(Ordering::Relaxed));
        self.sent += 1;
        // The channel is closed only when every thread has died, which `end` reports.
        self.batches.as_ref().is_some_and(|batches| batches.send(batch).is_ok())
    }

    /// Waits for the threads, and returns the first fault in file order.
    fn end(&mut self) -> Result<(), FileError> {
        if let Some(last) = self.batch.take() {
            self.send(last);
        }
        self.join();
        self.progress.finish();
        if let Some(error) = self.shared.fault.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(error);
        }
        if self.shared.batches.load(Ordering::SeqCst) == self.sent {
            return Ok(());
        }
        let what =
            "us: a thread that checked the file died, which is a bug: report it; nothing of the file is used";
        let fault = FileFault::Refused(Failure::new(Exit::Thread, what));
        Err(FileError { record: None, offset: 0, fault })
    }

    fn join(&mut self) {
        self.batches = None;
        for thread in self.threads.drain(..) {
            // A panic was printed already, and its batch is missing from the count.
            let _ = thread.join();
        }
    }
}

impl Drop for CheckedHeader {
    /// After a fault of the reader no thread stays.
    fn drop(&mut self) {
        self.join();
    }
}

impl SharedFindings {
    /// Whether a fault before this record is known, so that it need not be checked.
    fn is_after_fault(&self, sequence: u32) -> bool {
        let faulty = self.faulty.load(Ordering::SeqCst);
        faulty != 0 && faulty <= sequence
    }

    /// Whether the fault is not one of a record's data.
    fn ends_reading(&self) -> bool {
        let fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        fault.as_ref().is_some_and(|error| error.exit() != Exit::RecordData)
    }

    fn note(&self, sequence: u32, error: FileError) {
        let mut fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        let faulty = self.faulty.load(Ordering::SeqCst);
        if faulty == 0 || sequence < faulty {
            self.faulty.store(sequence, Ordering::SeqCst);
            *fault = Some(error);
        }
    }
}

/// Checks the remaining records of a job anew, because its profiles have changed since acceptance.
pub(super) struct Rechecker {
    thread: CheckingThread,
    batch: Option<FrameBatch>,
}

impl Rechecker {
    pub(super) fn new(rules: Arc<FileRules>, keys: HsmClient) -> Self {
        Self { thread: CheckingThread::new(rules, Arc::default(), Some(keys)), batch: None }
    }

    /// Takes the next record. Returns the first fault so far.
    pub(super) fn record(&mut self, frame: &Frame<'_>) -> Result<(), FileError> {
        let full = FrameBatch::collect(&mut self.batch, frame);
        full.map_or(Ok(()), |full| self.thread.batch(&full).map_err(|(_, error)| error))
    }

    /// Checks what is left.
    pub(super) fn finish(mut self) -> Result<(), FileError> {
        self.batch.take().map_or(Ok(()), |last| self.thread.batch(&last).map_err(|(_, error)| error))
    }
}

/// A thread that checks batches.
struct CheckingThread {
    rules: Arc<FileRules>,
    shared: Arc<SharedFindings>,
    keys: Option<HsmClient>,
    scratch: RuleScratch,
    /// Applications for the HSM.
    request: CheckRequest,
}

impl CheckingThread {
    fn new(rules: Arc<FileRules>, shared: Arc<SharedFindings>, keys: Option<HsmClient>) -> Self {
        let request = rules.request();
        Self { rules, shared, keys, scratch: RuleScratch::default(), request }
    }

    fn run(mut self, batches: &Receiver<FrameBatch>) {
        for batch in batches {
            if self.shared.is_after_fault(batch.first()) {
                self.shared.batches.fetch_add(1, Ordering::SeqCst);
                continue;
            }
            let ended = ends_well(|| {
                if let Err((sequence, error)) = self.batch(&batch) {
                    self.shared.note(sequence, error);
                }
            });
            if !ended {
                return;
            }
            self.shared.batches.fetch_add(1, Ordering::SeqCst);
            self.shared.records.fetch_add(u64::try_from(batch.count()).unwrap_or(0), Ordering::Relaxed);
        }
    }

    /// Checks the records of a batch. Returns the first fault and its record.
    fn batch(&mut self, batch: &FrameBatch) -> Result<(), (u32, FileError)> {
        let mut ruled = Vec::with_capacity(batch.count());
        for frame in batch.frames() {
            match self.rules.record(&frame, &mut self.scratch, &mut self.request) {
                Ok(record) => ruled.push(record),
                Err(error) => {
                    // The records before it come first.
                    self.keys(&mut ruled)?;
                    return Err((frame.sequence, error));
                }
            }
            if self.request.is_full() {
                self.keys(&mut ruled)?;
            }
        }
        self.keys(&mut ruled)
    }

    /// Has the HSM check the applications of these records, then compares the account numbers of each.
    fn keys(&mut self, ruled: &mut Vec<RuledRecord>) -> Result<(), (u32, FileError)> {
        let first = ruled.first().map_or(0, |record| record.sequence);
        let answers = self.ask();
        self.request.clear();
        let answers = answers.map_err(|error| {
            (first, FileError { record: None, offset: 0, fault: FileFault::Refused(error.into()) })
        })?;
        let mut answers = answers.into_iter();
        for RuledRecord { sequence, places, numbers } in ruled.drain(..) {
            for offset in places {
                if let Some(Err(error)) = answers.next() {
                    let fault = FileFault::Refused(error.into());
                    return Err((sequence, FileError { record: Some(sequence), offset, fault }));
                }
            }
            numbers.map_err(|error| (sequence, error))?;
        }
        Ok(())
    }

    fn ask(&mut self) -> Result<CheckAnswers, HsmError> {
        let Some(keys) = &mut self.keys else { return Ok(Vec::new()) };
        if self.request.count() == 0 {
            return Ok(Vec::new());
        }
        let answers = keys.check(&self.request)?;
        let right = answers.iter().filter(|answer| answer.is_ok()).count();
        self.shared.applications.fetch_add(u64::try_from(right).unwrap_or(0), Ordering::SeqCst);
        Ok(answers)
    }
}
