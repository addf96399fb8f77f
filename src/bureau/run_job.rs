//! Makes the remaining records of a job, from opening the line until the last card has left it.
//!
//! Not here: the line at work (`pipeline`), which job comes next (`daemon::queue`).

use std::sync::Arc;

use crossbeam_channel::Receiver;

use super::file_check::Rechecker;
use super::file_rules::{FileRules, RuleScratch};
use super::line::stations;
use super::opening::Bureau;
use super::refusal::{Denial, Refusal};
use super::spool_folder::spool_of;
use crate::actor::Actor;
use crate::exit::{Exit, Failure};
use crate::hsm::{CallerRole, Hsm};
use crate::laws::RunCounts;
use crate::laws::{Change, Context, JobId, JobState, RecordState};
use crate::ledger::{JobPhase, JobView, Ledger, LedgerError, Reader};
use crate::pipeline::{Batch, DISPATCHER, LineMessage, LineSetup, RunOutcome, Stop};
use crate::profile::ProductProfile;
use crate::reason::ReasonWord;
use crate::record::{FileError, Spool};
use crate::request::ActionKind;

/// A job with its spool, ready to be made.
pub struct ReadyJob {
    /// Its number.
    pub id: JobId,
    pub(super) spool: Spool,
    pub(super) product: Arc<ProductProfile>,
}

/// Who makes a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MadeBy {
    /// A run in the foreground: a job that nothing prevents from it is closed, and an empty hopper ends the run.
    Foreground,
    /// A daemon: people close the job, and an empty hopper is waited for.
    Daemon,
}

impl Bureau {
    /// Prepares a job that the ledger holds open, after its remaining records were checked against today's
    /// profiles.
    pub fn ready(&self, id: JobId) -> Result<ReadyJob, Refusal> {
        let view = self.ledger.reader()?.job(id)?;
        self.is_ours(&view)?;
        let mut spool = spool_of(&view, Box::new(self.connect_for_job(CallerRole::Source)?))?;
        let product = self.recheck(id, &mut spool)?;
        Ok(ReadyJob { id, spool, product })
    }

    /// Checks that the cards of a job belong to this line.
    pub(super) fn is_ours(&self, view: &JobView) -> Result<(), Refusal> {
        if view.simulated != self.simulation.on {
            return Err(Refusal::fault(Exit::Denied, "a simulated job stays simulated, and a live one live"));
        }
        if view.line != self.line.name || view.rejects_shredded != self.shredded() {
            return Err(Refusal::OtherLine { job: view.job, line: view.line.clone() });
        }
        Ok(())
    }

    /// Checks the remaining records against today's profiles and keys, which may have changed since acceptance: a record
    /// must not be cancelled for that. If a profile is another one, the HSM checks them anew too.
    fn recheck(&self, id: JobId, spool: &mut Spool) -> Result<Arc<ProductProfile>, Refusal> {
        let mut hsm = self.connect(CallerRole::Check)?;
        let rules = Arc::new(FileRules::new(&self.line, Some(&hsm.info()?), spool.header())?);
        let (mut scratch, mut unused) = (RuleScratch::default(), rules.request());
        let reader = self.ledger.reader()?;
        // Jobs of the first ledgers do not say by which profiles they were accepted.
        let then = reader.terms(id)?.map(|terms| (terms.profiles.line_digest, terms.profiles.product_digest));
        let changed = then.is_some_and(|then| then != (self.line.digest, rules.product().digest));
        let mut anew = changed.then(|| Rechecker::new(Arc::clone(&rules), hsm));
        let unfit = |error: FileError| match error.record {
            Some(seq) => {
                let what =
                    format!("record {seq} was accepted, but no longer fits the profiles or keys: {error}");
                Failure::new(error.exit(), what)
            }
            None => error.into(),
        };
        for seq in reader.pending(id)? {
            let (named, ruled) = spool.read_frame(seq, |frame| {
                // Without a change the account numbers were compared, or the run compares them for jobs from before.
                let ruled = match &mut anew {
                    Some(anew) => anew.record(frame),
                    None => {
                        // The HSM verifies each application when its card is made.
                        unused.clear();
                        rules.record(frame, &mut scratch, &mut unused).map(drop)
                    }
                };
                Ok((frame.to_card_ref()?, ruled))
            })?;
            if named.as_str() != reader.card_ref(id, seq)? {
                let what = format!("it names record {seq} of {id} otherwise than the accepted file");
                return Err(Refusal::TablesEdited { what });
            }
            ruled.map_err(unfit)?;
        }
        anew.map_or(Ok(()), Rechecker::finish).map_err(unfit)?;
        Ok(Arc::clone(rules.product()))
    }

    /// The remaining records of a job, `limit` of them at most.
    pub fn batch(&self, job: ReadyJob, limit: Option<usize>) -> Result<(JobView, Batch), Refusal> {
        let reader = self.ledger.reader()?;
        let view = reader.job(job.id)?;
        if view.state == JobState::Closed {
            return Err(Refusal::denied(job.id, Denial::Closed));
        }
        // Before any card moves: a job whose tables were edited could make a card twice.
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

    /// Makes a batch, from opening the line until the last card has left it. Afterwards the job is CLOSED,
    /// HELD with the reason why the line stopped, or open until a person has decided about its cards.
    /// `resumed` is the job as it stood if this run resumes it; a daemon released it before. `people` is called
    /// when cards may be touched.
    pub fn make(
        &self,
        batch: Batch,
        resumed: Option<&JobView>,
        actor: &Actor,
        people: impl FnOnce() -> (Receiver<()>, Receiver<LineMessage>),
        stopped_by: impl FnOnce() -> Context,
        made_by: MadeBy,
    ) -> Result<RunOutcome, Refusal> {
        let (job, by) = (batch.job, || Context::by(actor));
        let counted = batch.hopper.is_some();
        let closes = self.line.auto_close.unwrap_or(made_by == MadeBy::Foreground);
        let links = self.links()?;
        // Earlier calls belong to another job.
        self.calls.take();
        let machines = self.blind_machines(&*links)?;
        let mut line = stations::open(&self.line, &*links, &self.proofs, &machines, || self.station_hsm())?;
        line.waits_for_blanks = made_by == MadeBy::Daemon;
        // From here on cards may be touched, so a signal must stop the line instead of ending the program.
        let people = people();
        let found = cleared(&mut line, &self.ledger, job)?;
        if found || resumed.is_some_and(|view| view.state == JobState::Held) {
            self.ledger.record(job, Change::Released, by()).wait()?;
        } else if resumed.is_some_and(|view| view.phase == JobPhase::Stopping) {
            // The program that was to stop is gone.
            self.ledger.record(job, Change::HoldTakenBack, by()).wait()?;
        }
        let outcome = crate::pipeline::run(
            line,
            batch,
            Box::new(self.connect_for_job(CallerRole::Source)?),
            &self.ledger,
            people,
        );
        // The cards are made: a ledger that takes no more than that is the ledger's fault, which its end reports, and
        // not the job's.
        if let Err(error) = self.note(job, &outcome, (counted, closes), by, stopped_by) {
            tracing::error!(%error, "{job}: the cards are made, and the ledger did not take the end of the run");
        }
        Ok(outcome)
    }

    /// Records the end of a run: its figures, a hold with the reason of the stop, or the closing.
    fn note(
        &self,
        job: JobId,
        outcome: &RunOutcome,
        (counted, closes): (bool, bool),
        by: impl Fn() -> Context,
        stopped_by: impl FnOnce() -> Context,
    ) -> Result<(), LedgerError> {
        // The figures are recorded even after a stop, for the job's report. A ledger that failed takes none.
        if !matches!(outcome.stopped, Some(Stop::Ledger(_))) {
            for counts in self.counted(outcome).parts() {
                self.ledger.record(job, Change::Ran(counts), Context::by("line")).wait()?;
            }
        }
        match &outcome.stopped {
            // The ledger accepts no more changes.
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
            // A person closes the job: to put its cards into the vault, to take samples, or because closing
            // takes two.
            None if counted || !closes || self.line.two_people.contains(&ActionKind::Close) => {}
            // The ledger refuses while rejects wait for their destruction or remakes for their release. The
            // job stays open.
            None => match self.ledger.record(job, Change::Closed, by()).wait() {
                Ok(_) | Err(LedgerError::Denied { .. }) => {}
                Err(error @ LedgerError::NotAcknowledged { .. }) => tracing::warn!(%error, "{job} is closed"),
                Err(error) => tracing::warn!(%error, "{job} stays open"),
            },
        }
        Ok(())
    }

    /// The figures that a run counted.
    fn counted(&self, outcome: &RunOutcome) -> RunCounts {
        let stations = outcome.stats.stations.iter().filter(|(_, station)| station.cards > 0);
        let worked = stations.map(|(name, station)| ((station.module.clone(), name.clone()), station.cards));
        let totals = self.calls.take();
        let hsm_calls = totals.iter().map(|(call, total)| ((*call).to_owned(), total.calls)).collect();
        let us = totals.iter().filter(|(_, total)| total.us > 0);
        let hsm_us = us.map(|(call, total)| ((*call).to_owned(), total.us)).collect();
        RunCounts { worked: worked.collect(), hsm_calls, hsm_us }
    }
}

/// Refuses a job whose tables are not the sum of its events, or whose events do not fit their hashes.
pub fn proven(reader: &Reader, job: JobId) -> Result<(), Refusal> {
    let Some(finding) = reader.replayed(job)?.into_iter().next() else { return Ok(()) };
    Err(Refusal::TablesEdited { what: finding.to_string() })
}

/// Clears the line of cards that an earlier run left. Returns whether there were any. The job is then held
/// for that reason, so that the ledger shows where those cards are.
fn cleared(line: &mut LineSetup, ledger: &Ledger, job: JobId) -> Result<bool, Refusal> {
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
    // A place that may still hold a card stops the job: the next feed would jam it, or mix the cards up.
    match cleared.asks_for() {
        Some(asks) => Err(Refusal::fault(Exit::Device, format!("device: {asks}"))),
        None => Ok(told.is_some()),
    }
}

/// The reason of the hold that follows a stop.
fn stop_word(stop: &Stop) -> ReasonWord {
    match stop {
        Stop::Operator => ReasonWord::Operator,
        Stop::Data { .. } => ReasonWord::Data,
        Stop::Spool(_) => ReasonWord::Spool,
        Stop::Fault { fault, .. } => fault.reason.clone(),
        Stop::Ledger(_) => ReasonWord::Ledger,
        Stop::NoThread(_) => ReasonWord::NoThread,
        Stop::Died(_) => ReasonWord::ThreadDied,
    }
}

/// The sentence about a stop, for people.
pub fn stop_text(stop: &Stop) -> String {
    match stop {
        Stop::Operator => "stopped by the operator; no card is half done".into(),
        Stop::Data { seq, fault } => {
            format!(
                "record {seq} was not made and the job is held: {}; it was right at acceptance, so look whether its keys or \
                 profiles have changed since, or cancel it and ask the issuer for the record again",
                fault.detail
            )
        }
        Stop::Spool(what) => format!("the spool differs from what was accepted: {what}"),
        Stop::Fault { station, fault } => format!("station {station} stopped the line: {fault}"),
        Stop::Ledger(what) => format!(
            "the ledger cannot be written, so no card was bound any more: {what}; cards that were under way were finished \
             but are not recorded, so look for them in the stackers: they are UNKNOWN at the next start"
        ),
        Stop::NoThread(refused) => format!("no card was fed: {refused}, and resume the job"),
        Stop::Died(whose) if whose == DISPATCHER => format!(
            "us: the thread of {whose} died, which is a bug: report it; the cards under way are UNKNOWN at the next start"
        ),
        Stop::Died(whose) => format!(
            "us: the thread of {whose} died, which is a bug: report it; the card in its hands is UNKNOWN, or a blank that \
             nobody counted: look for it before you resume the job"
        ),
    }
}
