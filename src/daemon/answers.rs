//! Carries a request out for a person: the policy decides first, then the queue or the bureau acts.
//!
//! Not here: the decision itself (`policy`), carrying out requests that do not concern the queue (`bureau`).

use std::fs::File;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;

use super::jobs::held;
use super::people::Person;
use super::policy::{self, Decision};
use super::queue::Queue;
use super::server::LineDaemon;
use crate::actor::Actor;
use crate::bureau::outcome::{KillFate, KilledCard};
use crate::bureau::refusal::{Denial, Idle};
use crate::bureau::{Outcome, Refusal};
use crate::exit::Exit;
use crate::ids::JobId;
use crate::laws::{AttemptState, Change, Context, JobState, RecordState};
use crate::ledger::{JobPhase, JobView, LedgerError};
use crate::pipeline::LineMessage;
use crate::reason::ReasonWord;
use crate::report::events::EventLine;
use crate::request::{Action, CardDecision, Records, Request, StockMove};

/// How long a line may take to answer; it answers before it waits for a device.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);

/// How long a station may take to be proved: its transport is opened, throws out what lies there, and the device is
/// asked.
const PROOF_PATIENCE: Duration = Duration::from_secs(60);

/// A request that the policy grants.
enum Granted {
    /// The request is carried out in this name, or in the names of two people.
    To(Actor),
    /// There is nothing to do, for this reason.
    Idle(JobId, Idle),
}

impl LineDaemon {
    /// Carries a request out for a person, or returns the reason why not. `files` came with the request.
    pub(super) fn answer(
        &self,
        person: &Person,
        request: &Request,
        files: Vec<File>,
    ) -> Result<Outcome, Refusal> {
        let here = &self.bureau.line.name;
        if let Some(asked) = request.line.as_ref().filter(|asked| *asked != here) {
            return Err(Refusal::NoSuchLine { asked: asked.clone(), here: here.clone() });
        }
        let action = &request.action;
        let Some(job) = action.job() else { return self.of_no_job(person, action, files) };
        let mut queue = self.queue();
        let actor = match self.granted(&mut queue, person, action, job)? {
            Granted::To(actor) => actor,
            Granted::Idle(job, why) => return Ok(Outcome::NothingToDo { job, why }),
        };
        // Each arm decides how long the queue stays locked. While it is locked, no job goes on the line or
        // leaves it, so the facts that the policy saw still hold.
        match action {
            Action::ReleaseJob { .. } | Action::ResumeJob { .. } => self.release(queue, job, &actor),
            Action::HoldJob { .. } => self.hold(&mut queue, job, &actor),
            Action::CancelJob { .. } => self.cancel(queue, job, &actor),
            Action::KillCards { records, .. } => self.kill(&queue, job, records, &actor),
            // The queue stays locked, so that the job does not go on the line while its hopper is counted.
            Action::MoveStock { count, stock_move, .. } => {
                let noted = self.bureau.carry_out(action, &actor, files)?;
                if *stock_move == StockMove::Issue {
                    queue.tell(job, LineMessage::Issued(*count));
                }
                Ok(noted)
            }
            Action::DecideCards { decision: CardDecision::Cancel, .. } => {
                drop(queue);
                self.cancel_records(job, action, &actor)
            }
            Action::CloseJob { .. } => self.close(&mut queue, action, &actor),
            Action::SurveyCards { .. } => {
                // A survey takes the line for minutes. The queue notes that, and is unlocked for other
                // requests.
                queue.ask(true);
                drop(queue);
                let _surveying = Surveying(self);
                self.bureau.carry_out(action, &actor, files)
            }
            Action::WritePapers { .. } | Action::DeleteData { .. } => {
                drop(queue);
                let _one = self.papers_guard();
                self.bureau.carry_out(action, &actor, files)
            }
            _ => {
                drop(queue);
                let mut done = self.bureau.carry_out(action, &actor, files)?;
                self.show_phase(&mut done);
                Ok(done)
            }
        }
    }

    /// Locks out other papers and deletions: two at a time would not see each other's files.
    pub(super) fn papers_guard(&self) -> MutexGuard<'_, ()> {
        self.deleting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries out a request that is not about a job.
    fn of_no_job(&self, person: &Person, action: &Action, files: Vec<File>) -> Result<Outcome, Refusal> {
        let two = &self.bureau.line.two_people;
        let draining = self.queue().is_draining();
        match policy::decide(action.kind(), person, None, two, draining) {
            Decision::Denied(why) => return Err(Refusal::Denied { job: None, record: None, why }),
            Decision::NotAllowed(why) => return Err(Refusal::NotAllowed { job: None, why }),
            Decision::Accepted | Decision::Ignored(_) | Decision::Waits => {}
        }
        if let Action::ProveStation { station } = action {
            return self.prove(station, person);
        }
        if let Action::SubmitFile { name } = action {
            tracing::info!(file = %name, by = %person.name, "submitted");
        }
        let mut done = self.bureau.carry_out(action, &Actor::from(&*person.name), files)?;
        self.show_phase(&mut done);
        Ok(done)
    }

    /// Has the line prove a station. The queue is not locked while the line asks the device.
    fn prove(&self, station: &str, person: &Person) -> Result<Outcome, Refusal> {
        let (answer, answered) = bounded(1);
        if !self.queue().tell_line(LineMessage::Ready { station: station.to_owned(), answer }) {
            let what = "operator: no job is on the line; every station is proved anew when one begins";
            return Err(Refusal::fault(Exit::Denied, what));
        }
        tracing::info!(station, by = %person.name, "said to be ready");
        match answered.recv_timeout(PROOF_PATIENCE) {
            Ok(Ok(says)) => Ok(Outcome::StationProved { station: station.to_owned(), says }),
            Ok(Err(why)) => {
                Err(Refusal::fault(Exit::LineNotReady, format!("station {station} is not ready: {why}")))
            }
            Err(_) => {
                let what = format!("station {station} gave no answer: look at its device and at the log");
                Err(Refusal::fault(Exit::LineNotReady, what))
            }
        }
    }

    /// Adds what the ledger does not know: requests that wait for a second person, and the stored state of a job instead
    /// of COMPLETE while it is still on the line.
    fn show_phase(&self, shown: &mut Outcome) {
        let queue = self.queue();
        let now = Instant::now();
        let mark = |view: &mut JobView| {
            view.second_person = queue.second_person_wanted(view, now);
            if view.phase == JobPhase::Complete && queue.is_on_line(view.job) {
                view.phase = view.state.into();
            }
        };
        match shown {
            Outcome::Jobs(views) => views.iter_mut().for_each(mark),
            Outcome::Job(view) => mark(view),
            Outcome::Report(summary) => mark(&mut summary.job),
            Outcome::Cards(cards) => mark(&mut cards.job),
            _ => {}
        }
    }

    /// Asks the policy about a request on a job.
    fn granted(
        &self,
        queue: &mut Queue,
        person: &Person,
        action: &Action,
        job: JobId,
    ) -> Result<Granted, Refusal> {
        let reader = self.bureau.ledger.reader()?;
        let view = reader.job(job)?;
        let (kind, records) = (action.kind(), &action.subject());
        let (stands, held_for, now) = ((view.state, &view.balance), reader.held_for(job)?, Instant::now());
        let situation = queue.situation(kind, job, records, stands, held_for, now);
        let two = &self.bureau.line.two_people;
        match policy::decide(kind, person, Some(&situation), two, queue.is_draining()) {
            Decision::Accepted => {
                // After the second of two people: the ledger records both names.
                let first = queue.settled(kind, job, records);
                Ok(Granted::To(Actor { name: person.name.clone(), first }))
            }
            Decision::Ignored(why) => Ok(Granted::Idle(job, why)),
            Decision::Waits => {
                queue.asked(kind, job, records, (view.state, view.balance), &person.name, now);
                Err(Refusal::SecondPerson { job })
            }
            Decision::Denied(why) => Err(Refusal::denied(job, why)),
            Decision::NotAllowed(why) => Err(Refusal::NotAllowed { job: Some(job), why }),
        }
    }

    /// Lets a job be made. If the job is STOPPING, the line goes on with it; if the line cannot, the job is
    /// released again as soon as it is HELD.
    fn release<'a>(
        &'a self,
        mut queue: MutexGuard<'a, Queue>,
        job: JobId,
        actor: &Actor,
    ) -> Result<Outcome, Refusal> {
        if queue.is_stopping(job) && queue.go_on(job, ANSWER_PATIENCE) {
            self.bureau.ledger.record(job, Change::HoldTakenBack, Context::by(actor)).wait()?;
            return Ok(Outcome::GoesOn(job));
        }
        queue = self.off_the_line(queue, job);
        let ledger = &self.bureau.ledger;
        if ledger.reader()?.job(job)?.state == JobState::Held {
            ledger.record(job, Change::Released, Context::by(actor)).wait()?;
        }
        queue.push(job, actor);
        self.changed.notify_all();
        Ok(Outcome::Released(job))
    }

    /// Waits until a stopping job has left the line.
    fn off_the_line<'a>(&'a self, mut queue: MutexGuard<'a, Queue>, job: JobId) -> MutexGuard<'a, Queue> {
        while queue.is_on_line(job) {
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue
    }

    /// Holds a job: at once if it is not on the line, else when its cards under way are finished.
    fn hold(&self, queue: &mut Queue, job: JobId, actor: &Actor) -> Result<Outcome, Refusal> {
        queue.remove(job);
        if queue.is_on_line(job) {
            self.bureau.ledger.record(job, Change::HoldAsked, Context::by(actor)).wait()?;
            queue.stop(job, actor);
            return Ok(Outcome::Stopping(job));
        }
        self.held_by(job, actor)?;
        Ok(Outcome::Held(job))
    }

    /// Records that a person held a job that is not on the line.
    fn held_by(&self, job: JobId, actor: &Actor) -> Result<(), LedgerError> {
        self.bureau.ledger.record(job, Change::Held, held(ReasonWord::Operator, actor)).wait().map(drop)
    }

    /// Cancels the records that were not made. Cards under way are finished first, and the answer comes after
    /// that.
    fn cancel<'a>(
        &'a self,
        mut queue: MutexGuard<'a, Queue>,
        job: JobId,
        actor: &Actor,
    ) -> Result<Outcome, Refusal> {
        queue.remove(job);
        if queue.stop(job, actor) {
            queue = self.off_the_line(queue, job);
        } else if self.bureau.ledger.reader()?.job(job)?.state == JobState::Open {
            self.held_by(job, actor)?;
        }
        drop(queue);
        let (records, decision) = (Records::All, CardDecision::Cancel);
        self.bureau.carry_out(&Action::DecideCards { job, records, decision }, actor, Vec::new())
    }

    /// Closes a job, and wakes the retention.
    fn close(&self, queue: &mut Queue, action: &Action, actor: &Actor) -> Result<Outcome, Refusal> {
        let closed = self.bureau.carry_out(action, actor, Vec::new())?;
        queue.ended();
        self.changed.notify_all();
        Ok(closed)
    }

    /// Cancels records, and notifies the line of them, so that it feeds no blanks for them. A line that misses
    /// the message throws those blanks out, because the ledger does not bind them.
    fn cancel_records(&self, job: JobId, action: &Action, actor: &Actor) -> Result<Outcome, Refusal> {
        let decided = self.bureau.carry_out(action, actor, Vec::new())?;
        if let Outcome::Decided(decisions) = &decided {
            let sequences = decisions.changed.iter().filter_map(EventLine::record).collect();
            self.queue().tell(job, LineMessage::Cancelled(sequences));
        }
        Ok(decided)
    }

    /// Has the line throw cards out. The queue is locked, so that the job neither leaves the line nor goes on
    /// it.
    fn kill(&self, queue: &Queue, job: JobId, records: &Records, by: &Actor) -> Result<Outcome, Refusal> {
        let reader = self.bureau.ledger.reader()?;
        let sequences = match records.sequences(reader.job(job)?.records) {
            Some(sequences) => sequences,
            None => reader.in_state(job, RecordState::InFlight)?,
        };
        let decide = |seq| {
            let card = reader.card(job, seq)?;
            let last = card.events.iter().rfind(|event| event.is_moved_to(AttemptState::Rejected));
            let killed = last.is_some_and(|event| event.context.reason == Some(ReasonWord::Killed));
            Ok::<_, LedgerError>(policy::decide_kill(card.state, killed))
        };
        let mut cards = Vec::new();
        for seq in sequences {
            let mut decision = decide(seq)?;
            if decision == Decision::Accepted {
                let (answer, answered) = bounded(1);
                let told = queue.tell(job, LineMessage::Kill { seq, by: by.clone(), answer });
                if told && answered.recv_timeout(ANSWER_PATIENCE).unwrap_or(false) {
                    cards.push(KilledCard { record: seq, fate: KillFate::ThrownOut });
                    continue;
                }
                // The card may have been thrown out in the meantime by this very request.
                decision = decide(seq)?;
            }
            let fate = match decision {
                Decision::Ignored(why) => KillFate::Idle(why),
                Decision::Denied(why) => KillFate::Denied(why),
                Decision::Accepted | Decision::Waits | Decision::NotAllowed(_) => {
                    KillFate::Denied(Denial::LeavesLine)
                }
            };
            cards.push(KilledCard { record: seq, fate });
        }
        Ok(Outcome::Killed { job, cards })
    }
}

/// While this value lives, cards in the line are being asked, and no job goes on the line.
struct Surveying<'a>(&'a LineDaemon);

impl Drop for Surveying<'_> {
    fn drop(&mut self) {
        self.0.queue().ask(false);
        self.0.changed.notify_all();
    }
}
