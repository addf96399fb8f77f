//! A line with its keys and its ledger, ready to accept files and to make jobs: what `run`, `job resume` and the daemon share.
//! Part of the composition root.
//!
//! Not here: who asks and what they are told (`run`, `daemon`).

pub(super) mod ask;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use crossbeam_channel::Receiver;
use hex::FromHex;

use super::accept::Rules;
use super::cpu;
use super::delete::due;
use super::links::{Links, Real, Simulated};
use super::signals::Signals;
use super::simulator::{SimulateArgs, Simulator};
use super::stations;
use crate::beside::beside;
use crate::daemon::policy::Ask;
use crate::exit::{Exit, Failure};
use crate::hsm::client::{Client, Counter, HostProcess};
use crate::hsm::{Admission, Auditor, Hsm, Realm, SpoolKey, Vault};
use crate::ledger::{
    Change, Context, JobId, JobProfiles, JobState, JobView, Ledger, LedgerError, NewJob, Reader, RecordState,
    RunCounts,
};
use crate::pipeline::{Batch, LineSetup, Outcome, Stop, Tell};
use crate::profile::line::{Keys, Rejects};
use crate::profile::{Line, Product};
use crate::reason::ReasonWord;
use crate::record::chip::ChipSection;
use crate::record::{Checks, Limits, Sealer, Spool, accept};
use crate::report::summary::Cpu;

/// A job ready to be made.
pub(super) struct Job {
    /// Its number.
    pub(super) id: JobId,
    spool: Spool,
    product: Arc<Product>,
}

/// See the module.
pub(super) struct Shop {
    /// The line as the operator named it.
    named: String,
    /// The line.
    pub(super) line: Line,
    /// Text of its profile.
    profile: String,
    simulate: SimulateArgs,
    /// The ledger; closed, and signed, before the keys go.
    pub(super) ledger: Ledger,
    /// Started for the first job.
    simulator: Mutex<Option<Simulator>>,
    directory: tempfile::TempDir,
    /// Its end is the end of the keys.
    host: Mutex<HostProcess>,
    socket: PathBuf,
    realm: Realm,
    /// Calls to the HSM for the job on the line.
    calls: Counter,
}

/// How the processes of a shop ended.
pub(super) struct Ended {
    /// What `hwsim` said.
    pub(super) simulator: Result<(), Failure>,
    /// Whether all was written.
    pub(super) ledger: Result<(), LedgerError>,
    /// What the processes used.
    pub(super) cpu: Cpu,
}

impl Shop {
    /// Everything that can be checked before a file is accepted.
    pub(super) fn open(
        named: &str,
        keys: &Path,
        ledger: &Path,
        simulate: &SimulateArgs,
        signals: &Signals,
    ) -> Result<Self, Failure> {
        let (profile, origin) = Line::source(named)?;
        let line = Line::from_toml(&profile, &origin)?;
        stations::check(&line)?;
        can_run(&line, simulate.simulate)?;
        let directory = signals.directory()?;
        // A job is not opened for a line that cannot run.
        if simulate.simulate {
            Simulator::check(&profile, &origin, simulate, directory.path())?;
        }
        if !ledger.exists() && has_spool(ledger) {
            return Err(Failure::new(
                Exit::Ledger,
                format!(
                    "operator: ledger {} is missing, but files that it accepted lie in its spool: restore it, or move the \
                     spool away if you mean to begin anew",
                    ledger.display()
                ),
            ));
        }
        let socket = directory.path().join("hsm.sock");
        let host = HostProcess::start(&super::own_program()?, keys, &socket)?;
        let auditor = Client::connect(&socket)?;
        let realm = auditor.realm();
        if !simulate.simulate {
            allowed(&line, realm)?;
        }
        let ledger = Ledger::open_audited(ledger, Box::new(auditor))?;
        sweep(ledger.path());
        forget_unfinished(&ledger, &socket)?;
        let path = ledger.path().to_owned();
        signals.undo(move || sweep(&path));
        let simulator = Mutex::default();
        Ok(Self {
            named: named.to_owned(),
            line,
            profile,
            simulate: simulate.clone(),
            simulator,
            directory,
            host: Mutex::new(host),
            socket,
            realm,
            calls: Counter::default(),
            ledger,
        })
    }

    /// The HSM, for the job on the line.
    fn hsm(&self) -> Result<Box<dyn Hsm>, Failure> {
        Ok(Box::new(self.connect()?.counted(&self.calls)))
    }

    /// The HSM, for spools and papers.
    pub(super) fn connect(&self) -> Result<Client, Failure> {
        Ok(Client::connect(&self.socket)?)
    }

    fn shredded(&self) -> bool {
        self.line.rejects == Rejects::Shredded
    }

    /// Accepts a file: it is a job from then on, and its card_refs that were in another file of the issuer are told.
    pub(super) fn accept(&self, file: &Path) -> Result<(Job, Vec<u32>), Failure> {
        not_the_ledgers(file, self.ledger.path())?;
        let spool_path = spool_path(self.ledger.path())?;
        let mut hsm = self.connect()?;
        let mut rules = Rules::new(&self.line, &mut hsm)?;
        let ledger = self.ledger.reader()?.id()?;
        let mut key = SpoolKey::new(Box::new(self.connect()?), ledger)?;
        let accepted = match accept(file, &spool_path, Limits::default(), &mut rules, &mut key) {
            Ok(accepted) => accepted,
            Err(error) => {
                unused(key);
                return Err(error.into());
            }
        };
        let product =
            rules.product().ok_or_else(|| Failure::new(Exit::Bug, "us: accepted without a Header"))?;
        let new = NewJob {
            issuer_id: accepted.header.issuer_id.clone(),
            file_id: accepted.header.file_id.clone(),
            product: accepted.header.product.clone(),
            digest: accepted.digest,
            kek: accepted.trailer.kek,
            line: self.line.name.clone(),
            rejects_shredded: self.shredded(),
            rejects_marked: false,
            profiles: JobProfiles {
                line_digest: self.line.digest,
                product_digest: product.digest,
                chip_program: product.chip_program,
                plan_ms: None,
            },
            simulated: self.simulate.simulate,
            test_keys: self.realm == Realm::Test,
            spool: spool_path.display().to_string(),
            spool_key: Some(key.name()),
            cards: accepted.cards,
        };
        // The HSM first: it is noted for this ledger, whose job it then becomes; after a crash between the two it is again.
        let admission = Admission {
            issuer_id: new.issuer_id.clone(),
            file_id: new.file_id.clone(),
            digest: new.digest,
            ledger,
        };
        let admitted = Client::connect(&self.socket).and_then(|mut hsm| hsm.admit(&admission));
        let accepted_job = match admitted {
            Ok(()) => self.ledger.new_job(new).map_err(|error| self.seen(error)),
            Err(error) => Err(error.into()),
        };
        let accepted_job = match accepted_job {
            Ok(accepted) => accepted,
            Err(failure) => {
                // A ledger that failed may have the job: what becomes of the copy is seen when it is opened next.
                if failure.exit != Exit::Ledger {
                    // A refused file leaves no copy behind; a copy that cannot be removed does no harm.
                    let _ = std::fs::remove_file(&spool_path);
                    unused(key);
                }
                return Err(failure);
            }
        };
        let spool = Spool::open(&spool_path, &accepted.digest, Some(Box::new(key)))?;
        Ok((Job { id: accepted_job.job, spool, product }, accepted_job.seen_before))
    }

    /// A job that the ledger holds open, with what is still to be made of it held against the profiles of today.
    pub(super) fn ready(&self, id: JobId) -> Result<Job, Failure> {
        let view = self.ledger.reader()?.job(id)?;
        self.is_ours(&view)?;
        let mut spool = spool_of(&view, Box::new(self.connect()?.counted(&self.calls)))?;
        let product = self.recheck(id, &mut spool)?;
        Ok(Job { id, spool, product })
    }

    /// Whether the cards of a job are this line's.
    fn is_ours(&self, view: &JobView) -> Result<(), Failure> {
        if view.simulated != self.simulate.simulate {
            return Err(Failure::new(Exit::Denied, "a simulated job stays simulated, and a live one live"));
        }
        if view.line != self.line.name || view.rejects_shredded != self.shredded() {
            return Err(Failure::new(
                Exit::Denied,
                format!(
                    "operator: job {} was accepted for line {}, whose modules and rejects its cards count on; go on with \
                     `--line {}`",
                    view.job, view.line, view.line
                ),
            ));
        }
        Ok(())
    }

    fn seen(&self, error: LedgerError) -> Failure {
        match error {
            LedgerError::Seen { job, open: true } => Failure::new(
                Exit::JobOpen,
                format!(
                    "operator: this file is job {job}, which is open; go on with `cardwright job resume {job} --line {}`, \
                     or look at it with `cardwright job show {job}`",
                    self.named
                ),
            ),
            LedgerError::Seen { job, open: false } => Failure::new(
                Exit::FileSeen,
                format!(
                    "file: this file was accepted before: job {job}, which is closed; see `cardwright job report {job}`, and \
                     ask the issuer for a new file if it is to be made again"
                ),
            ),
            other => other.into(),
        }
    }

    /// Holds what is still to be made against the profiles of today: they may have changed since acceptance, and a record
    /// must not be cancelled for that.
    fn recheck(&self, id: JobId, spool: &mut Spool) -> Result<Arc<Product>, Failure> {
        let mut hsm = self.connect()?;
        let mut rules = Rules::new(&self.line, &mut hsm)?;
        rules.header(spool.header())?;
        let reader = self.ledger.reader()?;
        for seq in reader.pending(id)? {
            let record = spool.read(seq)?;
            if record.card_ref.as_str() != reader.card_ref(id, seq)? {
                let what = format!(
                    "the ledger names record {seq} of {id} otherwise than the accepted file: somebody else has changed \
                     it; see `cardwright audit verify`, and restore it"
                );
                return Err(Failure::new(Exit::Ledger, what));
            }
            // What is wrong with the section itself is the record's own fault, which the run deals with.
            let chip = record.section("CHP").and_then(|data| ChipSection::parse(data).ok());
            rules.record(&record, chip.as_ref()).map_err(|failure| {
                Failure::new(
                    failure.exit,
                    format!("record {seq} was accepted, but no longer fits the profiles or keys: {failure}"),
                )
            })?;
        }
        rules.product().ok_or_else(|| Failure::new(Exit::Bug, "us: rechecked without a Header"))
    }

    /// What is to be made of a job: at most so many of the records that wait.
    pub(super) fn batch(&self, job: Job, limit: Option<usize>) -> Result<(JobView, Batch), Failure> {
        let reader = self.ledger.reader()?;
        let view = reader.job(job.id)?;
        if view.state == JobState::Closed {
            return Err(Failure::new(
                Exit::Denied,
                format!("job {} is closed; nothing can be made of it", job.id),
            ));
        }
        proven(&reader, job.id)?;
        let mut sequences = reader.pending(job.id)?;
        sequences.truncate(limit.unwrap_or(usize::MAX));
        let header = job.spool.header();
        let batch = Batch {
            job: job.id,
            sequences,
            remakes: reader.in_state(job.id, RecordState::Remake)?.into_iter().collect(),
            next_blank: reader.next_blank(job.id)?,
            next_position: reader.next_position(job.id)?,
            hopper: Some(reader.stock(job.id)?)
                .filter(|stock| stock.counted)
                .map(|stock| u64::try_from(stock.hopper).unwrap_or(0)),
            issuer_id: header.issuer_id.clone(),
            file_id: header.file_id.clone(),
            spool: job.spool,
            product: job.product,
        };
        Ok((view, batch))
    }

    /// Makes it, from opening the line to the last card's leaving; the job is CLOSED, HELD with the reason why the line
    /// stopped, or open with what a person has to decide. `people` is called when cards may be touched.
    pub(super) fn make(
        &self,
        batch: Batch,
        held: bool,
        actor: &str,
        people: impl FnOnce() -> (Receiver<()>, Receiver<Tell>),
        stopped_by: impl FnOnce() -> Context,
    ) -> Result<Outcome, Failure> {
        let (job, by) = (batch.job, || Context::by(actor));
        let counted = batch.hopper.is_some();
        let links = self.links()?;
        // What was asked before is of no job that is being made.
        self.calls.take();
        let mut line = stations::open(&self.line, &*links, || self.hsm())?;
        let people = people();
        let found = cleared(&mut line, &self.ledger, job)?;
        if found || held {
            self.ledger.record(job, Change::Released, by()).wait()?;
        }
        let outcome = crate::pipeline::run(line, batch, self.hsm()?, &self.ledger, people);
        if !matches!(outcome.stopped, Some(Stop::Ledger(_))) {
            for counts in self.counted(&outcome).parts() {
                self.ledger.record(job, Change::Ran(counts), Context::by("line")).wait()?;
            }
        }
        match &outcome.stopped {
            // Nothing more can be written there.
            Some(Stop::Ledger(_)) => {}
            Some(stop) => {
                let detail = Some(stop_text(stop));
                let context = match stop {
                    Stop::Operator => stopped_by(),
                    _ => Context { reason: Some(stop_word(stop)), ..Context::by("line") },
                };
                let context = Context { detail, ..context };
                self.ledger.record(job, Change::Held, context).wait()?;
            }
            // Its cards go to the vault, samples are taken, or closing takes two: people close it.
            None if counted || self.line.two_people.contains(&Ask::Close) => {}
            // Refused while rejects wait for their destruction or remakes for their release: the job stays open.
            None => drop(self.ledger.record(job, Change::Closed, by()).wait()),
        }
        Ok(outcome)
    }

    /// What a run counted.
    fn counted(&self, outcome: &Outcome) -> RunCounts {
        let stations = outcome.stats.stations.iter().filter(|(_, station)| station.cards > 0);
        let worked = stations.map(|(name, station)| ((station.module.clone(), name.clone()), station.cards));
        let hsm_calls = self.calls.take().into_iter().filter(|(_, times)| *times > 0).collect();
        RunCounts { worked: worked.collect(), hsm_calls }
    }

    /// Links to the machines, or to `hwsim`, which is started if it does not run.
    fn links(&self) -> Result<Box<dyn Links + '_>, Failure> {
        if !self.simulate.simulate {
            return Ok(Box::new(Real::new(&self.line)?));
        }
        let mut simulator = self.simulator.lock().unwrap_or_else(PoisonError::into_inner);
        let running = match simulator.take_if(|running| !running.has_ended()) {
            Some(running) => running,
            None => Simulator::start(&self.profile, &self.simulate, self.directory.path())?,
        };
        let socket = running.socket().to_owned();
        *simulator = Some(running);
        Ok(Box::new(Simulated { socket }))
    }

    /// Whether the HSM host has ended; no other takes its place, because a store may want a passphrase.
    pub(super) fn keys_are_gone(&self) -> bool {
        self.host.lock().unwrap_or_else(PoisonError::into_inner).has_ended()
    }

    /// Ends `hwsim` if it runs.
    pub(super) fn end_simulator(&self) -> Result<(), Failure> {
        let simulator = self.simulator.lock().unwrap_or_else(PoisonError::into_inner).take();
        simulator.map_or(Ok(()), Simulator::end)
    }

    /// Says which jobs' data have been kept for long enough; nobody deletes them but the daemon or a person.
    fn tell_due(&self) {
        match due(&self.ledger, &self.line) {
            Ok(due) => due.iter().for_each(|(job, since)| {
                tracing::warn!(
                    "{job}: the deletion of its cardholder data is due since {since}: cardwright job delete {job}"
                );
            }),
            Err(failure) => tracing::debug!(%failure, "what is to be deleted cannot be told"),
        }
    }

    /// Ends what was started: `hwsim`, the ledger, and when that is signed the keys.
    pub(super) fn close(self) -> Ended {
        self.tell_due();
        let before = cpu::of_children();
        let simulator = self.end_simulator();
        let with_simulator = cpu::of_children();
        let ledger = self.ledger.close();
        drop(self.host);
        let cpu = Cpu {
            simulator: with_simulator.saturating_sub(before),
            hsm_host: cpu::of_children().saturating_sub(with_simulator),
            ..Cpu::default()
        };
        Ended { simulator, ledger, cpu }
    }
}

/// Whether the profile has what this kind of run needs.
fn can_run(line: &Line, simulated: bool) -> Result<(), Failure> {
    if simulated && line.sim.is_none() {
        let what = format!("line {} has no [sim] table: it cannot be simulated", line.name);
        return Err(Failure::new(Exit::Profile, what));
    }
    let missing = line.missing_links();
    if !simulated && !missing.is_empty() {
        let what = format!(
            "line {} cannot run on real devices: {}; add what is missing, or simulate it with --simulate",
            line.name,
            missing.join(", ")
        );
        return Err(Failure::new(Exit::Profile, what));
    }
    Ok(())
}

/// Whether these keys may reach the real devices of a line.
pub(super) fn allowed(line: &Line, realm: Realm) -> Result<(), Failure> {
    let (has, means) = match (line.keys, realm) {
        (Keys::Live, Realm::Live) | (Keys::Test, Realm::Test) => return Ok(()),
        (Keys::Live, Realm::Test) => {
            ("TEST", "a production line refuses them; the profile of a line for trials says keys = \"test\"")
        }
        (Keys::Test, Realm::Live) => ("LIVE", "the line is for TEST keys alone"),
    };
    let what = format!("key: the store holds {has} keys, and the line is {}: {means}", line.name);
    Err(Failure::new(Exit::KeyStore, what))
}

/// Refuses a job whose tables are not what its events add up to, or whose events are not what was hashed.
pub(super) fn proven(reader: &Reader, job: JobId) -> Result<(), Failure> {
    let Some(finding) = reader.replayed(job)?.into_iter().next() else { return Ok(()) };
    Err(Failure::new(
        Exit::Ledger,
        format!(
            "the ledger's tables differ from its events: {finding}; somebody else has changed them: see `cardwright audit \
             verify`, and restore it, or count the cards by hand"
        ),
    ))
}

/// What was accepted as a job.
pub(super) fn spool_of(view: &JobView, vault: Box<dyn Vault>) -> Result<Spool, Failure> {
    if view.deleted {
        let what =
            format!("operator: {}: its cardholder data were deleted; nothing can be made of it", view.job);
        return Err(Failure::new(Exit::Denied, what));
    }
    let digest = <[u8; 32]>::from_hex(&view.digest);
    let digest = digest.map_err(|_| Failure::new(Exit::Ledger, format!("job {} has no digest", view.job)))?;
    let key = view.spool_key.map(|name| -> Box<dyn Sealer> { Box::new(SpoolKey::of(vault, name)) });
    Spool::open(Path::new(&view.spool), &digest, key).map_err(|error| {
        let Failure { exit, message } = error.into();
        Failure::new(exit, format!("{}: {message}", view.job))
    })
}

/// The ledger's own files are not even opened: with the close of any descriptor of one, the kernel would drop the locks that
/// SQLite has on it in this process (POSIX, fcntl).
fn not_the_ledgers(file: &Path, ledger: &Path) -> Result<(), Failure> {
    let place = |path: &Path| path.metadata().ok().map(|meta| (meta.dev(), meta.ino()));
    let given = place(file);
    if given.is_some()
        && ["", "-wal", "-shm", "-lock"].iter().any(|suffix| place(&beside(ledger, suffix)) == given)
    {
        let what = format!(
            "file: {} is the ledger, or lies beside it: name an issuer's output file",
            file.display()
        );
        return Err(Failure::new(Exit::FileFormat, what));
    }
    Ok(())
}

/// Nothing was made of what this key sealed. If it cannot be destroyed now, it is when the ledger is opened next.
fn unused(key: SpoolKey) {
    if let Err(error) = key.destroy() {
        tracing::warn!(%error, "the key of a refused file stays");
    }
}

/// Destroys the keys of acceptances that did not become jobs, and removes their copies. The ledger is open, so nobody else
/// accepts into it.
fn forget_unfinished(ledger: &Ledger, socket: &Path) -> Result<(), Failure> {
    let reader = ledger.reader()?;
    let jobs = reader.jobs()?;
    // The key of data that were deleted is to be gone, even if it was missing then and came back with another store.
    let keys: Vec<_> = jobs.iter().filter(|job| !job.deleted).filter_map(|job| job.spool_key).collect();
    Client::connect(socket)?.keep_spools(reader.id()?, &keys)?;
    let names: Vec<_> = jobs.iter().filter_map(|job| Path::new(&job.spool).file_name()).collect();
    remove(ledger.path(), |file| {
        file.extension().is_some_and(|e| e == "cwf1") && file.file_name().is_none_or(|n| !names.contains(&n))
    });
    Ok(())
}

/// Whether accepted files lie beside a ledger.
fn has_spool(ledger: &Path) -> bool {
    let files = spool_directory(ledger).and_then(|d| std::fs::read_dir(d).ok()).into_iter().flatten();
    files.flatten().any(|file| file.path().extension().is_some_and(|e| e == "cwf1"))
}

/// Removes what an acceptance that was killed has left behind. The ledger is open, so nobody else accepts into it.
fn sweep(ledger: &Path) {
    remove(ledger, |file| file.extension().is_some_and(|e| e == "part"));
}

/// Removes files beside a ledger that are in nobody's way if they stay.
fn remove(ledger: &Path, which: impl Fn(&Path) -> bool) {
    let files = spool_directory(ledger).and_then(|d| std::fs::read_dir(d).ok()).into_iter().flatten();
    for file in files.flatten().map(|file| file.path()).filter(|file| which(file)) {
        if let Err(error) = std::fs::remove_file(file) {
            tracing::warn!(%error, "an unfinished copy stays in the spool");
        }
    }
}

/// Where the files lie that a ledger accepted.
pub(super) fn spool_directory(ledger: &Path) -> Option<PathBuf> {
    Some(beside(&std::path::absolute(ledger).ok()?, ".spool"))
}

/// `<ledger>.spool/<Unix time>-<pid>-<n>.cwf1`, absolute; n counts the files of this process. Whole seconds: a name with 13 digits or more, which stands in the
/// ledger and in reports, could be taken for an account number.
fn spool_path(ledger: &Path) -> Result<PathBuf, Failure> {
    let directory = spool_directory(ledger)
        .ok_or_else(|| Failure::new(Exit::Io, "the ledger's path cannot be resolved"))?;
    static FILES: AtomicU32 = AtomicU32::new(1);
    let file = FILES.fetch_add(1, Ordering::Relaxed);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Ok(directory.join(format!("{}-{}-{file}.cwf1", now.as_secs(), std::process::id())))
}

/// Clears the line of what an earlier run left; whether anything was there. The job is held with that, so that the ledger
/// says where those cards are.
fn cleared(line: &mut LineSetup, ledger: &Ledger, job: JobId) -> Result<bool, Failure> {
    let cleared = crate::pipeline::clear(line);
    let told = cleared.told();
    if let Some(told) = &told {
        tracing::warn!(%job, "{told}");
        let context = Context {
            reason: Some(ReasonWord::Cleared),
            detail: Some(told.clone()),
            actor: Some("line".into()),
            ..Context::default()
        };
        ledger.record(job, Change::Held, context).wait()?;
    }
    match cleared.asks_for() {
        Some(asks) => Err(Failure::new(Exit::Device, format!("device: {asks}"))),
        None => Ok(told.is_some()),
    }
}

fn stop_word(stop: &Stop) -> ReasonWord {
    match stop {
        Stop::Operator => ReasonWord::Operator,
        Stop::Data { .. } => ReasonWord::Data,
        Stop::Spool(_) => ReasonWord::Spool,
        Stop::Fault { fault, .. } => fault.reason.clone(),
        Stop::Ledger(_) => ReasonWord::Ledger,
    }
}

pub(super) fn stop_text(stop: &Stop) -> String {
    match stop {
        Stop::Operator => "stopped by the operator; no card is half done".into(),
        Stop::Data { seq, fault } => {
            format!(
                "record {seq} is CANCELLED and the job is held: {}; ask the issuer for the record again",
                fault.detail
            )
        }
        Stop::Spool(what) => format!("the spool differs from what was accepted: {what}"),
        Stop::Fault { station, fault } => format!("station {station} stopped the line: {fault}"),
        Stop::Ledger(what) => format!(
            "the ledger cannot be written, so no card was bound any more: {what}; cards that were under way were finished \
             but are not recorded, so look for them in the stackers: they are UNKNOWN at the next start (`cardwright job \
             resume`)"
        ),
    }
}
