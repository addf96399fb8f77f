//! `cardwright run FILE` and `cardwright job resume J`: make one job in the foreground, without a daemon.

use std::path::{Path, PathBuf};

use super::common::{ByArg, LedgerArg, keys_missing, store_path};
use super::next_step::{Desk, after_report, before_release, spelled};
use super::pin::PinArg;
use super::simulate::SimulateArgs;
use super::suggested::{command, on_line};
use crate::arguments::whole_number;
use crate::bureau::cpu_time as cpu;
use crate::bureau::run_job::{MadeBy, ReadyJob, stop_text};
use crate::bureau::spool_folder::open_submitted;
use crate::bureau::{Bureau, KeyAccess, Refusal};
use crate::exit::{Exit, Failure};
use crate::ids::JobId;
use crate::laws::{Context, JobState, rfc3339};
use crate::ledger::{JobView, Ledger, LedgerError};
use crate::output_path;
use crate::pipeline::{RunOutcome, Stop};
use crate::reason::ReasonWord;
use crate::report::{
    EventOutput, EventWriter, Progress, ProgressDisplay, ReportPaths, Summary, SummaryWithNext,
};
use crate::signals::Signals;
use crate::stdout;

/// Printed when a signal ends the program before a card was touched.
const STOPPED: &str = "stopped by the operator before the first card; a file that was accepted is an open job: see \
                       `cardwright job list`";

/// Arguments of `cardwright run`.
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

/// Arguments about the line, and about the files that a run writes.
#[derive(Debug, clap::Args)]
pub struct LineArgs {
    /// Line profile: a shipped name or a .toml file
    #[arg(long)]
    line: Option<String>,
    /// The bureau's key store
    #[arg(long, env = "CARDWRIGHT_KEYS", value_name = "STORE", value_parser = store_path())]
    keys: Option<PathBuf>,
    /// Add every status change to the end of this file, one JSON object a line
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// Write the report there as JSON; an earlier JSON file there is replaced, any other file is not
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Make at most this number of records
    #[arg(long, value_name = "N", value_parser = whole_number::<usize>)]
    limit: Option<usize>,
    #[command(flatten)]
    simulate: SimulateArgs,
    #[command(flatten)]
    pin: PinArg,
    #[command(flatten)]
    by: ByArg,
}

impl LineArgs {
    /// Whether an argument was given that a daemon has already.
    pub fn is_given(&self) -> bool {
        self.line.is_some()
            || self.simulate.simulate
            || self.events.is_some()
            || self.report.is_some()
            || self.limit.is_some()
            || self.pin.is_given()
    }

    fn line(&self) -> Result<&str, Failure> {
        let missing = "operator: name the line by --line, or ask a daemon by --socket";
        self.line.as_deref().ok_or_else(|| Failure::new(Exit::Usage, missing))
    }
}

/// Opens the bureau that the arguments name, and first the output for events: no file is accepted whose events
/// could not be written.
fn open(
    args: &LineArgs,
    ledger: &LedgerArg,
    signals: &Signals,
) -> Result<(Bureau, Option<EventOutput>), Refusal> {
    let keys = args.keys.as_ref().ok_or_else(keys_missing)?;
    for output in [&args.events, &args.report].into_iter().flatten().filter(|p| p.as_os_str() != "-") {
        output_path::check_replaceable(output, output_path::OutputKind::Json)?;
        output_path::check_apart(output, &ledger.ledger)?;
        output_path::check_apart(output, keys)?;
    }
    let events =
        args.events.as_deref().map(|path| EventOutput::open(&path.display().to_string())).transpose()?;
    let keys = KeyAccess { store: keys, pin: &|| args.pin.pin() };
    let bureau = Bureau::open(args.line()?, keys, &ledger.ledger, &args.simulate.simulation(), signals)?;
    Ok((bureau, events))
}

/// Accepts a file and makes its cards.
pub fn run(args: &RunArgs) -> Result<Exit, Failure> {
    let signals = Signals::handle(STOPPED)?;
    let shown = ProgressDisplay::suitable(args.json);
    let begun = || {
        let (bureau, events) = open(&args.line, &args.ledger, &signals)?;
        let (job, seen_before) =
            bureau.accept(open_submitted(&args.file, bureau.ledger.path())?, None, shown)?;
        Ok((bureau, events, job, seen_before))
    };
    let (bureau, events, job, seen_before) = begun().map_err(|refusal| spelled(&refusal))?;
    if let Some(first) = seen_before.first() {
        let (id, count) = (job.id, seen_before.len());
        let resume = resumed(id, &args.line);
        return Err(Failure::new(
            Exit::Held,
            format!(
                "file: job {id} is held: {count} of its card_refs were in an earlier file of the issuer (first: record \
                 {first}); a supervisor looks at them and releases the job with `{resume}`"
            ),
        ));
    }
    let job = job.ready().map_err(|refusal| spelled(&refusal))?;
    make((bureau, events), job, &args.line, args.json, &signals)
}

/// Carries out `cardwright job resume J`: goes on with a job that the ledger holds open.
pub fn resume(id: JobId, args: &LineArgs, ledger: &LedgerArg, json: bool) -> Result<Exit, Failure> {
    let signals = Signals::handle(STOPPED)?;
    let begun = || {
        let (bureau, events) = open(args, ledger, &signals)?;
        let job = bureau.ready(id)?;
        Ok((bureau, events, job))
    };
    let (bureau, events, job) = begun().map_err(|refusal: Refusal| spelled(&refusal))?;
    make((bureau, events), job, args, json, &signals)
}

fn make(
    (bureau, events): (Bureau, Option<EventOutput>),
    job: ReadyJob,
    args: &LineArgs,
    json: bool,
    signals: &Signals,
) -> Result<Exit, Failure> {
    let id = job.id;
    let reader = bureau.ledger.reader().map_err(|error| spelled(&error.into()))?;
    let (view, batch) = bureau.batch(job, args.limit).map_err(|refusal| spelled(&refusal))?;
    let selected = batch.sequences.len();
    let places = ReportPaths {
        ledger: bureau.ledger.path().to_owned(),
        events: args.events.clone(),
        dumps: args.simulate.dump.clone(),
        report: args.report.clone(),
    };
    let views = RunViews::start(&bureau.ledger, &view, selected, events, json)?;
    let actor = args.by.actor();
    let people = || (signals.heard(1), crossbeam_channel::never());
    let stopped_by = || Context { reason: Some(ReasonWord::Operator), ..Context::by(&actor) };
    if let Some(warning) = before_release(id, view.balance.unknown) {
        tracing::warn!("{warning}");
    }
    let made = bureau.make(batch, Some(&view), &actor, people, stopped_by, MadeBy::Foreground);
    let resume = resumed(id, args);
    let mut outcome = made.map_err(|refusal| not_begun(&spelled(&refusal), id, &resume))?;
    outcome.stats.token.clone_from(&bureau.token);
    let ended = bureau.close();
    for (job, since) in &ended.due {
        let delete = command(format!("job delete {job}"));
        tracing::warn!("{job}: the deletion of its cardholder data is due since {since}: {delete}");
    }
    for (job, since, gap) in &ended.doubtful {
        tracing::warn!(
            "{job}: the deletion of its cardholder data is due since {since} if the system's clock is right; no event proves the \
             time from {} to {}: check the clock, then {}",
            rfc3339(gap.from),
            rfc3339(gap.to),
            command(format!("job delete {job}"))
        );
    }
    let shown = views.finish();
    outcome.stats.cpu = crate::report::summary::CpuTimes { controller: cpu::own(), ..ended.cpu };
    let summary = Summary::build(&reader, id, Some(outcome.stats.clone()), places)
        .map_err(|error| spelled(&error.into()))?;
    report(&summary, args.report.as_deref(), json)?;
    // An output that failed must not hide the report.
    shown?;
    let exit = ended_as(&outcome, selected)
        .map_err(|failure| with_next_step(failure, outcome.stopped.as_ref(), id, &resume))?;
    // A ledger that failed in the run was reported by the outcome, which says more about it.
    ended.ledger.map_err(|error| spelled(&error.into()))?;
    // A job that is closed now had only to be closed, and a limit of 0 asks for no card.
    let idle =
        selected == 0 && args.limit != Some(0) && exit == Exit::Ok && summary.job.state != JobState::Closed;
    let exit = if idle { Exit::NothingToDo } else { exit };
    // The simulator's failure is reported last, because the cards are more important.
    ended.simulator.map(|()| exit)
}

/// The command that goes on with a job on the line of these arguments.
fn resumed(job: JobId, args: &LineArgs) -> String {
    on_line(format!("job resume {job}"), args.line.as_deref(), args.simulate.simulate)
}

/// A failure before the first card: the file is accepted, so only `resume` goes on with it.
fn not_begun(failure: &Failure, job: JobId, resume: &str) -> Failure {
    let what = format!("{failure}; {job} is accepted and waits; once this is mended: {resume}");
    Failure::new(failure.exit, what)
}

/// The views of a run while it lasts: its event stream, if one is wanted, and its progress.
struct RunViews {
    events: Option<EventWriter>,
    progress: Progress,
}

impl RunViews {
    fn start(
        ledger: &Ledger,
        job: &JobView,
        selected: usize,
        events: Option<EventOutput>,
        json: bool,
    ) -> Result<Self, Failure> {
        let events = events.map(|output| EventWriter::start(ledger.subscribe(), output));
        let events = events.transpose()?;
        let total = u64::try_from(selected).unwrap_or(u64::MAX);
        let shown = ProgressDisplay::suitable(json);
        let progress = Progress::start(ledger.subscribe(), job.job, total, crate::report::mark(job), shown)?;
        Ok(Self { events, progress })
    }

    /// Waits for the last event. The ledger must be closed, or this waits for ever.
    fn finish(self) -> Result<(), Failure> {
        self.progress.finish();
        let Some(events) = self.events else { return Ok(()) };
        let printed = events.finish();
        printed
            .map_err(|failure| Failure::new(failure.exit, format!("{failure}: {}", command("log --json"))))?;
        Ok(())
    }
}

/// Prints the report, and writes it to a file if one is named.
fn report(summary: &Summary, file: Option<&Path>, json: bool) -> Result<(), Failure> {
    let next = after_report(summary, Desk::Here);
    if let Some(path) = file {
        summary.save(next.as_deref(), path)?;
    }
    print(SummaryWithNext { summary, next: next.as_deref() }, json)
}

fn print(summary: SummaryWithNext<'_>, as_json: bool) -> Result<(), Failure> {
    let text = if as_json {
        serde_json::to_string_pretty(&summary)
            .map_err(|e| Failure::new(Exit::Bug, format!("us: the report is no JSON: {e}")))?
    } else {
        summary.to_string()
    };
    stdout::print(&(text + "\n"))
}

fn ended_as(outcome: &RunOutcome, selected: usize) -> Result<Exit, Failure> {
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
        Some(Stop::Ledger(LedgerError::WriterDied) | Stop::NoThread(_) | Stop::Died(_)) => Exit::Thread,
        Some(Stop::Ledger(_)) => Exit::Ledger,
    };
    Err(Failure::new(exit, outcome.stopped.as_ref().map(stop_text).unwrap_or_default()))
}

/// Adds the next step to the failure of a run that stopped for data, for stock or for the ledger. `resume` goes on with
/// the job.
fn with_next_step(failure: Failure, stopped: Option<&Stop>, job: JobId, resume: &str) -> Failure {
    let next = match stopped {
        Some(Stop::Data { seq, .. }) => {
            let cancel = command(format!("card cancel {job} {seq}"));
            format!("{cancel} if it is to be given up, then {resume}")
        }
        Some(Stop::Fault { fault, .. }) if fault.reason == ReasonWord::Stock => {
            format!("{}, then {resume}", command(format!("stock issue {job} N")))
        }
        Some(Stop::Ledger(_)) => resume.to_owned(),
        _ => return failure,
    };
    Failure::new(failure.exit, format!("{failure}; next: {next}"))
}
