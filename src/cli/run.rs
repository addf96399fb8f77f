//! `cardwright run FILE` and `cardwright job resume J`: one job in the foreground, without a daemon.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::accept::Rules;
use super::common::{ByArg, LedgerArg};
use super::cpu;
use super::links::{Links, Real, Simulated};
use super::signals::Signals;
use super::simulator::{SimulateArgs, Simulator};
use super::stations;
use crate::exit::{Exit, Failure};
use crate::hsm::client::{Client, HostProcess};
use crate::hsm::{Admission, Auditor, Hsm, Realm};
use crate::ledger::{Change, Context, JobId, JobState, Ledger, LedgerError, NewJob, Reader, RecordState};
use crate::outputs;
use crate::pipeline::{Batch, LineSetup, Outcome, Stop};
use crate::profile::line::Keys;
use crate::profile::{Line, Product};
use crate::record::chip::ChipSection;
use crate::record::{Checks, Limits, Spool, accept};
use crate::report::{EventWriter, Places, Progress, Shown, Summary};

/// Records that a message names; the ledger has them all.
const NAMED: usize = 20;
/// Said when a signal ends the program before a card was touched.
const STOPPED: &str = "stopped by the operator before the first card; a file that was accepted is an open job: see \
                       `cardwright job list`";

/// `cardwright run`.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// The issuer's output file (CWF1)
    file: PathBuf,
    /// Print the report as one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    ledger: LedgerArg,
    #[command(flatten)]
    line: LineArgs,
}

/// The line, and what a run of it leaves behind.
#[derive(Debug, clap::Args)]
pub struct LineArgs {
    /// Line profile: a shipped name or a .toml file
    #[arg(long)]
    line: String,
    /// The bureau's key store
    #[arg(long, env = "CARDWRIGHT_KEYS", value_name = "STORE")]
    keys: PathBuf,
    /// Write every status change there, one JSON object a line
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// Write the report there as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Make at most so many records
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    #[command(flatten)]
    simulate: SimulateArgs,
    #[command(flatten)]
    by: ByArg,
}

/// A job ready to be made.
struct Job {
    id: JobId,
    spool: Spool,
    product: Arc<Product>,
}

/// What stands around a job: directory for sockets, HSM host, ledger.
struct Bench<'a> {
    args: &'a LineArgs,
    json: bool,
    line: Line,
    /// Text of its profile.
    profile: String,
    directory: tempfile::TempDir,
    host: HostProcess,
    socket: PathBuf,
    realm: Realm,
    ledger: Ledger,
    signals: Signals,
}

impl<'a> Bench<'a> {
    fn set_up(args: &'a LineArgs, ledger: &LedgerArg, json: bool) -> Result<Self, Failure> {
        let signals = Signals::handle(STOPPED)?;
        let (profile, origin) = Line::source(&args.line)?;
        let line = Line::from_toml(&profile, &origin)?;
        stations::check(&line)?;
        can_run(&line, args.simulate.simulate)?;
        for output in [&args.events, &args.report].into_iter().flatten().filter(|p| p.as_os_str() != "-") {
            outputs::check(output, outputs::Kind::Json)?;
        }
        let directory = signals.directory()?;
        // A job is not opened for a line that cannot run.
        if args.simulate.simulate {
            Simulator::check(&profile, &origin, &args.simulate, directory.path())?;
        }
        if !ledger.ledger.exists() && has_spool(&ledger.ledger) {
            return Err(Failure::new(
                Exit::Ledger,
                format!(
                    "operator: ledger {} is missing, but files that it accepted lie in its spool: restore it, or move the \
                     spool away if you mean to begin anew",
                    ledger.ledger.display()
                ),
            ));
        }
        let socket = directory.path().join("hsm.sock");
        let host = HostProcess::start(&super::own_program()?, &args.keys, &socket)?;
        let auditor = Client::connect(&socket)?;
        let realm = auditor.realm();
        if !args.simulate.simulate {
            allowed(&line, realm)?;
        }
        let ledger = Ledger::open_audited(&ledger.ledger, Box::new(auditor))?;
        sweep(ledger.path());
        let path = ledger.path().to_owned();
        signals.undo(move || sweep(&path));
        Ok(Self { args, json, line, profile, directory, host, socket, realm, ledger, signals })
    }

    fn hsm(&self) -> Result<Box<dyn Hsm>, Failure> {
        Ok(Box::new(Client::connect(&self.socket)?))
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

/// Accepts a file and makes it.
pub fn run(args: &RunArgs) -> Result<Exit, Failure> {
    let bench = Bench::set_up(&args.line, &args.ledger, args.json)?;
    let job = new_job(&bench, &args.file)?;
    make(bench, job)
}

/// `cardwright job resume J`: goes on with a job that the ledger holds open.
pub fn resume(id: JobId, args: &LineArgs, ledger: &LedgerArg, json: bool) -> Result<Exit, Failure> {
    let bench = Bench::set_up(args, ledger, json)?;
    let view = bench.ledger.reader()?.job(id)?;
    if view.simulated != args.simulate.simulate {
        return Err(Failure::new(Exit::Denied, "a simulated job stays simulated, and a live one live"));
    }
    let shredded = bench.line.rejects == crate::profile::line::Rejects::Shredded;
    if view.line != bench.line.name || view.rejects_shredded != shredded {
        return Err(Failure::new(
            Exit::Denied,
            format!(
                "operator: job {id} was accepted for line {}, whose modules and rejects its cards count on; go on with \
                 `--line {}`",
                view.line, view.line
            ),
        ));
    }
    let digest = hex::decode(&view.digest).ok().and_then(|d| d.try_into().ok());
    let digest = digest.ok_or_else(|| Failure::new(Exit::Ledger, format!("job {id} has no digest")))?;
    let mut spool = Spool::open(Path::new(&view.spool), &digest)?;
    let product = recheck(&bench, id, &mut spool)?;
    make(bench, Job { id, spool, product })
}

fn new_job(bench: &Bench<'_>, file: &Path) -> Result<Job, Failure> {
    let spool_path = spool_path(bench.ledger.path())?;
    let mut hsm = bench.hsm()?;
    let mut rules = Rules::new(&bench.line, &mut *hsm)?;
    let accepted = accept(file, &spool_path, Limits::default(), &mut rules)?;
    let product = rules.product().ok_or_else(|| Failure::new(Exit::Bug, "us: accepted without a Header"))?;
    let new = NewJob {
        issuer_id: accepted.header.issuer_id.clone(),
        file_id: accepted.header.file_id.clone(),
        product: accepted.header.product.clone(),
        digest: accepted.digest,
        kek: accepted.trailer.kek,
        line: bench.line.name.clone(),
        rejects_shredded: bench.line.rejects == crate::profile::line::Rejects::Shredded,
        simulated: bench.args.simulate.simulate,
        test_keys: bench.realm == Realm::Test,
        spool: spool_path.display().to_string(),
        cards: accepted.cards,
    };
    // The HSM first: it is noted for this ledger, whose job it then becomes; after a crash between the two it is again.
    let admission = Admission {
        issuer_id: new.issuer_id.clone(),
        file_id: new.file_id.clone(),
        digest: new.digest,
        ledger: bench.ledger.reader()?.id()?,
    };
    let admitted = Client::connect(&bench.socket).and_then(|mut hsm| hsm.admit(&admission));
    let accepted_job = match admitted {
        Ok(()) => bench.ledger.new_job(new).map_err(|error| seen(error, bench)),
        Err(error) => Err(error.into()),
    };
    let accepted_job = accepted_job.inspect_err(|_| {
        // A refused file leaves no copy behind; a copy that cannot be removed does no harm.
        let _ = std::fs::remove_file(&spool_path);
    })?;
    if !accepted_job.seen_before.is_empty() {
        return Err(Failure::new(
            Exit::Held,
            format!(
                "file: job {} is held: {} of its card_refs were in an earlier file of the issuer (first: record {}); a \
                 supervisor looks at them and releases the job with `cardwright job resume {}`",
                accepted_job.job,
                accepted_job.seen_before.len(),
                accepted_job.seen_before.first().copied().unwrap_or_default(),
                accepted_job.job
            ),
        ));
    }
    let spool = Spool::open(&spool_path, &accepted.digest)?;
    Ok(Job { id: accepted_job.job, spool, product })
}

fn seen(error: LedgerError, bench: &Bench<'_>) -> Failure {
    match error {
        LedgerError::Seen { job, open: true } => Failure::new(
            Exit::JobOpen,
            format!(
                "operator: this file is job {job}, which is open; go on with `cardwright job resume {job} --line {}`, \
                 or look at it with `cardwright job show {job}`",
                bench.args.line
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
fn recheck(bench: &Bench<'_>, id: JobId, spool: &mut Spool) -> Result<Arc<Product>, Failure> {
    let mut hsm = bench.hsm()?;
    let mut rules = Rules::new(&bench.line, &mut *hsm)?;
    rules.header(spool.header())?;
    for seq in bench.ledger.reader()?.pending(id)? {
        let record = spool.read(seq)?;
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

/// Whether accepted files lie beside a ledger.
fn has_spool(ledger: &Path) -> bool {
    let files = spool_directory(ledger).and_then(|d| std::fs::read_dir(d).ok()).into_iter().flatten();
    files.flatten().any(|file| file.path().extension().is_some_and(|e| e == "cwf1"))
}

/// Removes what an acceptance that was killed has left behind. The ledger is open, so nobody else accepts into it.
fn sweep(ledger: &Path) {
    let files = spool_directory(ledger).and_then(|d| std::fs::read_dir(d).ok()).into_iter().flatten();
    for file in files.flatten().filter(|f| f.path().extension().is_some_and(|e| e == "part")) {
        if let Err(error) = std::fs::remove_file(file.path()) {
            tracing::warn!(%error, "an unfinished copy stays in the spool");
        }
    }
}

fn spool_directory(ledger: &Path) -> Option<PathBuf> {
    let mut directory = std::path::absolute(ledger).ok()?.into_os_string();
    directory.push(".spool");
    Some(PathBuf::from(directory))
}

/// `<ledger>.spool/<Unix time>-<pid>.cwf1`, absolute. Whole seconds: a name with 13 digits or more, which stands in the
/// ledger and in reports, could be taken for an account number.
fn spool_path(ledger: &Path) -> Result<PathBuf, Failure> {
    let directory = spool_directory(ledger)
        .ok_or_else(|| Failure::new(Exit::Io, "the ledger's path cannot be resolved"))?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Ok(directory.join(format!("{}-{}.cwf1", now.as_secs(), std::process::id())))
}

fn make(bench: Bench<'_>, job: Job) -> Result<Exit, Failure> {
    let args = bench.args;
    let reader = bench.ledger.reader()?;
    let view = reader.job(job.id)?;
    if view.state == JobState::Closed {
        return Err(Failure::new(
            Exit::Denied,
            format!("job {} is closed; nothing can be made of it", job.id),
        ));
    }
    if reader.recount(job.id)? != view.balance {
        return Err(Failure::new(
            Exit::Ledger,
            format!(
                "the ledger's counts of job {} differ from its records and attempts: somebody else has changed it; \
                 restore it, or count the cards by hand",
                job.id
            ),
        ));
    }
    let mut sequences = reader.pending(job.id)?;
    sequences.truncate(args.limit.unwrap_or(usize::MAX));
    let selected = sequences.len();
    let header = job.spool.header();
    let batch = Batch {
        job: job.id,
        sequences,
        remakes: reader.in_state(job.id, RecordState::Remake)?.into_iter().collect(),
        next_blank: reader.next_blank(job.id)?,
        next_position: reader.next_position(job.id)?,
        issuer_id: header.issuer_id.clone(),
        file_id: header.file_id.clone(),
        spool: job.spool,
        product: job.product,
    };
    let places = Places {
        ledger: bench.ledger.path().to_owned(),
        events: args.events.clone(),
        dumps: args.simulate.dump.clone(),
        report: args.report.clone(),
    };

    let events =
        args.events.as_ref().map(|p| EventWriter::start(bench.ledger.subscribe(), &p.display().to_string()));
    let events = events.transpose()?;
    let total = u64::try_from(selected).unwrap_or(u64::MAX);
    let shown = Shown::suitable(bench.json);
    let progress =
        Progress::start(bench.ledger.subscribe(), job.id, total, crate::report::mark(&view), shown);
    let by = || Context { actor: Some(args.by.actor()), ..Context::default() };

    let simulator = match args.simulate.simulate {
        true => Some(Simulator::start(&bench.profile, &args.simulate, bench.directory.path())?),
        false => None,
    };
    let links: Box<dyn Links> = match &simulator {
        Some(simulator) => Box::new(Simulated { socket: simulator.socket().to_owned() }),
        None => Box::new(Real::new(&bench.line)?),
    };
    let mut line = stations::open(&bench.line, &*links, || bench.hsm())?;
    let stop = bench.signals.heard();
    let found = cleared(&mut line, &bench.ledger, job.id)?;
    if found || view.state == JobState::Held {
        bench.ledger.record(job.id, Change::Released, by()).wait()?;
    }
    let mut outcome = crate::pipeline::run(line, batch, bench.hsm()?, &bench.ledger, stop);
    let before = cpu::of_children();
    // Told at the end: what happened to the cards comes first.
    let simulated = simulator.map_or(Ok(()), Simulator::end);
    let with_simulator = cpu::of_children();
    // Every connection to it is gone.
    drop(bench.host);
    outcome.stats.cpu.simulator = with_simulator.saturating_sub(before);
    outcome.stats.cpu.hsm_host = cpu::of_children().saturating_sub(with_simulator);

    match &outcome.stopped {
        // Nothing more can be written there.
        Some(Stop::Ledger(_)) => {}
        Some(stop) => {
            let context =
                Context { reason: Some(stop_word(stop).into()), detail: Some(stop_text(stop)), ..by() };
            bench.ledger.record(job.id, Change::Held, context).wait()?;
        }
        // Refused while rejects wait for their destruction or remakes for their release: the job stays open.
        None => drop(bench.ledger.record(job.id, Change::Closed, by()).wait()),
    }
    // A ledger that failed says so again here; the outcome below tells it better.
    let closed = bench.ledger.close();
    progress.finish();
    if let Some(events) = events {
        events.finish()?;
    }
    if !matches!(outcome.stopped, Some(Stop::Ledger(_))) {
        closed?;
    }

    outcome.stats.cpu.controller = cpu::own();
    let summary = Summary::build(&reader, job.id, Some(outcome.stats.clone()), places)?;
    if let Some(path) = &args.report {
        summary.save(path)?;
    }
    print(&summary, bench.json)?;
    let exit = ended(&outcome, selected).map_err(|failure| match &outcome.stopped {
        Some(Stop::Data { .. }) => after_cancelling(failure, &reader, job.id, &args.line),
        _ => failure,
    })?;
    simulated.map(|()| exit)
}

/// Clears the line of what an earlier run left; whether anything was there. The job is held with that, so that the ledger
/// says where those cards are.
fn cleared(line: &mut LineSetup, ledger: &Ledger, job: JobId) -> Result<bool, Failure> {
    let cleared = crate::pipeline::clear(line);
    let told = cleared.told();
    if let Some(told) = &told {
        tracing::warn!(%job, "{told}");
        let context = Context {
            reason: Some("cleared".into()),
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

fn print(summary: &Summary, as_json: bool) -> Result<(), Failure> {
    let text = if as_json {
        serde_json::to_string_pretty(summary)
            .map_err(|e| Failure::new(Exit::Bug, format!("us: the report is no JSON: {e}")))?
    } else {
        summary.to_string()
    };
    writeln!(std::io::stdout(), "{text}").map_err(|e| Failure::new(Exit::Io, format!("standard output: {e}")))
}

fn ended(outcome: &Outcome, selected: usize) -> Result<Exit, Failure> {
    let all_good = usize::try_from(outcome.good).is_ok_and(|good| good == selected);
    let exit = match &outcome.stopped {
        None if all_good => return Ok(Exit::Ok),
        None => return Ok(Exit::NotAllGood),
        Some(Stop::Operator) => return Ok(Exit::Stopped),
        Some(Stop::Data { .. }) => Exit::RecordData,
        Some(Stop::Spool(_)) => Exit::FileDigest,
        Some(Stop::Fault { fault, .. }) if fault.blame == crate::modules::Blame::Hsm => Exit::Hsm,
        Some(Stop::Fault { fault, .. }) if fault.blame == crate::modules::Blame::Us => Exit::Bug,
        Some(Stop::Fault { .. }) => Exit::Device,
        Some(Stop::Ledger(_)) => Exit::Ledger,
    };
    let text = outcome.stopped.as_ref().map(stop_text).unwrap_or_default();
    Err(Failure::new(exit, text))
}

/// Adds what to do next, and every record that the job has lost to its data: one run may find several.
fn after_cancelling(failure: Failure, reader: &Reader, job: JobId, line: &str) -> Failure {
    // The ledger was written a moment ago; a list that cannot be read is no reason to hide the failure.
    let cancelled = reader.in_state(job, RecordState::Cancelled).unwrap_or_default();
    let mut named: Vec<String> = cancelled.iter().take(NAMED).map(u32::to_string).collect();
    if cancelled.len() > NAMED {
        named.push(format!("and {} more", cancelled.len() - NAMED));
    }
    let next = format!(
        "cancelled in this job: {}; make the others with `cardwright job resume {job} --line {line}`",
        named.join(", ")
    );
    Failure::new(failure.exit, format!("{failure}; {next}"))
}

fn stop_word(stop: &Stop) -> &str {
    match stop {
        Stop::Operator => "operator",
        Stop::Data { .. } => "data",
        Stop::Spool(_) => "spool",
        Stop::Fault { fault, .. } => &fault.reason,
        Stop::Ledger(_) => "ledger",
    }
}

fn stop_text(stop: &Stop) -> String {
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
             but are not recorded, so look for them in the stackers: they are UNKNOWN at the next start"
        ),
    }
}
