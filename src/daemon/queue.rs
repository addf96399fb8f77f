//! The queue of one line: the job on it, the jobs that wait for it, and the requests that wait for a second
//! person. Pure state; its owner guards it.
//!
//! ```text
//!         release             next                  stop: a person holds or cancels
//!  HELD ─────────► waiting ───────► on the line ─────────────────────────────────────► STOPPING
//!                     │                │  │  ▲                                           │  │
//!   ▲      remove     │                │  │  └──────── go_on: the hold is taken back ────┘  │
//!   ├─────────────────┘                │  │                                                 │
//!   ├──────── left: a fault ───────────┘  │ left: every record made                         │
//!   │                                     ▼                                                 │
//!   │                             COMPLETE or CLOSED                                        │
//!   └──────── left: cards under way are finished ───────────────────────────────────────────┘
//! ```
//!
//! STOPPING is not a state of the ledger: the job is on the line and `stopped_by` names a person. `go_on`
//! asks the line itself, which may have ended in the meantime or have met a fault; then the job ends up HELD.
//! A stop by `drain` names no person and cannot be taken back, and no further job comes on the line after it.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};

use super::policy::Situation;
use super::server::plain_word;
use crate::actor::Actor;
use crate::laws::{Balance, JobId, JobState};
use crate::ledger::{JobView, SecondPersonWanted};
use crate::pipeline::LineMessage;
use crate::reason::ReasonWord;
use crate::request::ActionKind;

/// The queue of one line.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: VecDeque<(JobId, Actor)>,
    on_line: Option<OnLine>,
    draining: bool,
    /// Whether cards in the line are being asked.
    asking: bool,
    /// How often a job has left the line or was closed. The retention compares counts, because a
    /// notification that arrives while its thread is busy is lost.
    endings: u64,
    /// Requests for two people that the first has made, by action, job and records.
    asked: BTreeMap<(ActionKind, JobId, String), Asked>,
}

/// A first request: the person, the time, and the job's state. The second person must agree to the state that
/// both have seen.
#[derive(Debug)]
struct Asked {
    by: String,
    at: Instant,
    state: JobState,
    balance: Balance,
    /// Whether the job was on the line then, where its counts change all the time.
    on_line: bool,
}

impl Asked {
    /// Whether a second person may still agree to it. The counts of a job on the line change with every card. In any
    /// other state a change means that the two people saw different jobs.
    fn stands(&self, on_line: bool, (state, balance): (JobState, &Balance), now: Instant) -> bool {
        let same = match (self.on_line, on_line) {
            (true, true) => true,
            (false, false) => self.state == state && self.balance == *balance,
            _ => false,
        };
        same && now.saturating_duration_since(self.at) < ASKED_FOR
    }
}

/// Time for which a request waits for the second person.
const ASKED_FOR: Duration = Duration::from_secs(900);

#[derive(Debug)]
struct OnLine {
    job: JobId,
    stop: Sender<()>,
    tell: Sender<LineMessage>,
    /// The person who stopped the job.
    stopped_by: Option<Actor>,
}

impl OnLine {
    /// Makes the line stop for good. A stop may have been requested before.
    fn stop_for_good(&self) {
        let _ = self.stop.try_send(());
    }
}

impl Queue {
    /// The facts that the policy needs about a job. `records` are those of the request, empty for the job
    /// itself.
    pub fn situation(
        &self,
        ask: ActionKind,
        job: JobId,
        records: &str,
        (state, balance): (JobState, &Balance),
        held_for: Option<ReasonWord>,
        now: Instant,
    ) -> Situation {
        let on_line = self.is_on_line(job);
        let asked = self.asked.get(&(ask.listed(), job, records.to_owned()));
        let asked = asked.filter(|asked| asked.stands(on_line, (state, balance), now));
        Situation {
            state,
            held_for,
            on_line,
            stopping: self.is_stopping(job),
            queued: self.waiting.iter().any(|(waiting, _)| *waiting == job),
            line_busy: self.on_line.is_some() || self.asking,
            asked_by: asked.map(|a| a.by.clone()),
        }
    }

    /// Whether the line works on this job.
    pub fn is_on_line(&self, job: JobId) -> bool {
        self.on_line.as_ref().is_some_and(|on| on.job == job)
    }

    /// Notes the request of the first of two people.
    pub fn asked(
        &mut self,
        ask: ActionKind,
        job: JobId,
        records: &str,
        (state, balance): (JobState, Balance),
        by: &str,
        now: Instant,
    ) {
        let asked = Asked { by: by.to_owned(), at: now, state, balance, on_line: self.is_on_line(job) };
        self.asked.insert((ask.listed(), job, records.to_owned()), asked);
    }

    /// The requests about a job that wait for a second person.
    pub fn second_person_wanted(&self, view: &JobView, now: Instant) -> Vec<SecondPersonWanted> {
        let (on_line, stands) = (self.is_on_line(view.job), (view.state, &view.balance));
        let waits = self
            .asked
            .iter()
            .filter(|((_, job, _), asked)| *job == view.job && asked.stands(on_line, stands, now));
        let wanted = waits.map(|((action, _, subject), asked)| SecondPersonWanted {
            action: plain_word(action),
            subject: subject.clone(),
            by: asked.by.clone(),
        });
        wanted.collect()
    }

    /// Forgets a request because it was carried out. Returns the name of the first of two people, if there
    /// was one.
    pub fn settled(&mut self, ask: ActionKind, job: JobId, records: &str) -> Option<String> {
        self.asked.remove(&(ask.listed(), job, records.to_owned())).map(|asked| asked.by)
    }

    /// Adds a job to those that wait for the line.
    pub fn push(&mut self, job: JobId, by: &Actor) {
        self.waiting.push_back((job, by.clone()));
    }

    /// Removes a job from those that wait for the line.
    pub fn remove(&mut self, job: JobId) {
        self.waiting.retain(|(waiting, _)| *waiting != job);
    }

    /// Puts the next job on the line and returns it with the person who released it. `stop` stops the line,
    /// and `tell` carries people's other messages.
    pub fn next(&mut self, stop: Sender<()>, tell: Sender<LineMessage>) -> Option<(JobId, Actor)> {
        if self.draining || self.asking || self.on_line.is_some() {
            return None;
        }
        let (job, by) = self.waiting.pop_front()?;
        self.on_line = Some(OnLine { job, stop, tell, stopped_by: None });
        Some((job, by))
    }

    /// Notes that the job on the line has left it.
    pub fn left(&mut self) {
        self.on_line = None;
        self.ended();
    }

    /// Notes that a job has left the line or was closed.
    pub fn ended(&mut self) {
        self.endings = self.endings.wrapping_add(1);
    }

    /// How often a job has left the line or was closed.
    pub fn endings(&self) -> u64 {
        self.endings
    }

    /// Makes the line stop feeding, if it works on this job. Returns whether it does.
    pub fn stop(&mut self, job: JobId, by: &Actor) -> bool {
        let Some(on) = self.on_line.as_mut().filter(|on| on.job == job) else { return false };
        on.stopped_by.get_or_insert_with(|| by.clone());
        if on.tell.try_send(LineMessage::Stop).is_err() {
            // The line has many unread messages or is about to end. The other channel has room for one stop.
            on.stop_for_good();
        }
        true
    }

    /// Whether this job is on the line, and a person has stopped it.
    pub fn is_stopping(&self, job: JobId) -> bool {
        self.on_line.as_ref().is_some_and(|on| on.job == job && on.stopped_by.is_some())
    }

    /// Takes a stop back. Returns whether the line, which answers within `patience`, goes on feeding.
    pub fn go_on(&mut self, job: JobId, patience: Duration) -> bool {
        let (answer, answered) = bounded(1);
        let goes_on =
            self.tell(job, LineMessage::GoOn { answer }) && answered.recv_timeout(patience).unwrap_or(false);
        if let Some(on) = self.on_line.as_mut().filter(|_| goes_on) {
            on.stopped_by = None;
        }
        goes_on
    }

    /// The person who stopped the job on the line; `None` if the daemon is draining instead.
    pub fn stopped_by(&self) -> Option<Actor> {
        self.on_line.as_ref()?.stopped_by.clone()
    }

    /// Notes that cards in the line are being asked, or are not any more. During that time no job comes on
    /// the line.
    pub fn ask(&mut self, begins: bool) {
        self.asking = begins;
    }

    /// Sends the line a message, if it works on this job. Returns whether it does.
    pub fn tell(&self, job: JobId, tell: LineMessage) -> bool {
        self.on_line.as_ref().is_some_and(|on| on.job == job && on.tell.try_send(tell).is_ok())
    }

    /// Sends the line a message, whatever job it works on. Returns whether it works on any.
    pub fn tell_line(&self, tell: LineMessage) -> bool {
        self.on_line.as_ref().is_some_and(|on| on.tell.try_send(tell).is_ok())
    }

    /// Begins no more work, and stops the job on the line after its cards under way.
    pub fn drain(&mut self) {
        self.draining = true;
        if let Some(on) = &self.on_line {
            on.stop_for_good();
        }
    }

    /// Whether the daemon begins no more work.
    pub fn is_draining(&self) -> bool {
        self.draining
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_person_must_agree_soon_to_the_unchanged_job() {
        let (job, now) = (JobId(1), Instant::now());
        let (held, before) = (JobState::Held, Balance { queued: 2, ..Balance::default() });
        let mut queue = Queue::default();
        queue.asked(ActionKind::Release, job, "", (held, before), "anna", now);
        let by = |queue: &Queue, ask, state, balance: &Balance, later: u64| {
            let now = now + Duration::from_secs(later);
            queue.situation(ask, job, "", (state, balance), None, now).asked_by
        };
        for ask in [ActionKind::Release, ActionKind::Resume] {
            assert_eq!(by(&queue, ask, held, &before, 899), Some("anna".into()));
        }
        assert_eq!(by(&queue, ActionKind::Release, held, &before, 900), None);
        assert_eq!(by(&queue, ActionKind::Cancel, held, &before, 1), None);
        assert_eq!(by(&queue, ActionKind::Release, JobState::Open, &before, 1), None);
        let after = Balance { cancelled: 1, queued: 1, ..Balance::default() };
        assert_eq!(by(&queue, ActionKind::Release, held, &after, 1), None);
        // On the line the counts change, so a request from before does not count there.
        queue.push(job, &"anna".into());
        let (stop, tell) = (bounded(1).0, bounded(1).0);
        assert!(queue.next(stop, tell).is_some());
        assert_eq!(by(&queue, ActionKind::Release, held, &before, 1), None);
        queue.asked(ActionKind::Cancel, job, "", (JobState::Open, before), "anna", now);
        assert_eq!(by(&queue, ActionKind::Cancel, JobState::Open, &after, 1), Some("anna".into()));
        queue.left();
        assert_eq!(by(&queue, ActionKind::Cancel, JobState::Open, &before, 1), None);
        assert_eq!(queue.settled(ActionKind::Resume, job, ""), Some("anna".into()));
        assert_eq!(by(&queue, ActionKind::Release, held, &before, 1), None);
    }
}
