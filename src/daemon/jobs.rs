//! The daemon's line: it makes one released job after the other.
//!
//! Not here: which job comes next (`queue`), making one (`bureau::run_job`).

use std::sync::PoisonError;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};

use super::server::LineDaemon;
use crate::actor::Actor;
use crate::bureau::Refusal;
use crate::bureau::run_job::{MadeBy, stop_text};
use crate::exit::Exit;
use crate::ids::JobId;
use crate::laws::{Change, Context, JobState};
use crate::panics::ends_well;
use crate::pipeline::{DISPATCHER, LineMessage, Stop};
use crate::reason::ReasonWord;

/// Most messages from people that a line has not received yet.
const TOLD_MAX: usize = 256;
/// How often a line without a job checks whether its ledger still writes.
const LOOK_AT_LEDGER: Duration = Duration::from_secs(1);

/// The context of a hold: its reason, and who held the job.
pub(super) fn held(reason: ReasonWord, actor: impl Into<Actor>) -> Context {
    Context { reason: Some(reason), ..Context::by(actor) }
}

impl LineDaemon {
    /// Holds every job that the last run left open, because a person must release each one after a start.
    pub(super) fn hold_all(&self) -> Result<(), Refusal> {
        for job in self.bureau.ledger.reader()?.jobs()? {
            if job.state == JobState::Open {
                self.bureau
                    .ledger
                    .record(job.job, Change::Held, held(ReasonWord::Restart, Actor::line()))
                    .wait()?;
            }
        }
        Ok(())
    }

    /// Makes one released job after the other, until the daemon drains.
    pub(super) fn make_jobs(&self) {
        loop {
            let mut queue = self.queue();
            let (stop, stopped) = bounded(1);
            let (tell, told) = bounded(TOLD_MAX);
            let (job, actor) = loop {
                if queue.is_draining() || self.bureau.ledger.failed().is_some() {
                    return;
                }
                match queue.next(stop.clone(), tell.clone()) {
                    Some(next) => break next,
                    None => {
                        // The wait has a time limit, because the ledger may fail while no request arrives.
                        let waited = self.changed.wait_timeout(queue, LOOK_AT_LEDGER);
                        queue = waited.unwrap_or_else(PoisonError::into_inner).0;
                    }
                }
            };
            drop(queue);
            let what = "us: the daemon's thread \"line\" died, which is a bug: report it";
            let (mut made, mut reason) = (Err(Refusal::fault(Exit::Thread, what)), ReasonWord::Line);
            if !ends_well(|| made = self.make(job, &actor, (stopped, told))) {
                reason = ReasonWord::ThreadDied;
                self.died("line");
            }
            if let Err(refusal) = made {
                tracing::error!(%job, %refusal, "the job cannot be made");
                let context = Context { detail: Some(refusal.to_string()), ..held(reason, Actor::line()) };
                if let Err(error) = self.bureau.ledger.record(job, Change::Held, context).wait() {
                    tracing::error!(%job, %error, "and that cannot be written");
                }
            }
            let mut queue = self.queue();
            queue.left();
            if self.bureau.keys_are_gone() {
                // Without keys no card can be made and no event be signed. A new daemon starts a new HSM
                // host.
                queue.drain();
            }
            drop(queue);
            self.changed.notify_all();
        }
    }

    fn make(
        &self,
        job: JobId,
        actor: &Actor,
        people: (Receiver<()>, Receiver<LineMessage>),
    ) -> Result<(), Refusal> {
        let (_, batch) = self.bureau.batch(self.bureau.ready(job)?, None)?;
        let stopped_by = || match self.queue().stopped_by() {
            Some(by) => held(ReasonWord::Operator, &by),
            None => held(ReasonWord::Signal, "signal"),
        };
        let outcome = self.bureau.make(batch, None, actor, || people, stopped_by, MadeBy::Daemon)?;
        match &outcome.stopped {
            Some(stop @ Stop::Ledger(_)) => Err(Refusal::fault(Exit::Ledger, stop_text(stop))),
            Some(Stop::Died(whose)) if whose == DISPATCHER => {
                // Its cards become UNKNOWN when the ledger is opened again, so the daemon must end.
                self.died("line");
                Ok(())
            }
            // It failed after the last card.
            _ => match self.bureau.ledger.failed() {
                Some(error) => Err(error.clone().into()),
                None => Ok(()),
            },
        }
    }
}
