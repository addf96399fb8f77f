//! Which job is on the line, which wait for it, and what waits for a second person. Pure state; whoever shares it guards it.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};

use super::policy::Situation;
use crate::ledger::{Balance, JobId, JobState};
use crate::pipeline::LineMessage;
use crate::request::ActionKind;

/// See the module.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: VecDeque<(JobId, String)>,
    on_line: Option<OnLine>,
    draining: bool,
    /// Cards that lie in the line are being asked.
    asking: bool,
    /// What one person asked for that takes two: about which job and records.
    asked: BTreeMap<(ActionKind, JobId, String), Asked>,
}

/// Who asked, when, and how the job stood: another person agrees to what both have seen.
#[derive(Debug)]
struct Asked {
    by: String,
    at: Instant,
    state: JobState,
    balance: Balance,
    /// It was on the line, and its counts moved.
    on_line: bool,
}

/// How long it waits for the second person.
const ASKED_FOR: Duration = Duration::from_secs(900);

#[derive(Debug)]
struct OnLine {
    job: JobId,
    stop: Sender<()>,
    tell: Sender<LineMessage>,
    /// Who stopped the job.
    stopped_by: Option<String>,
}

impl OnLine {
    /// Has the line stop for good; it may have been asked before.
    fn stop_for_good(&self) {
        let _ = self.stop.try_send(());
    }
}

impl Queue {
    /// What the policy has to know of a job. `records` are those that are asked about, empty for the job itself.
    pub fn situation(
        &self,
        ask: ActionKind,
        job: JobId,
        records: &str,
        (state, balance): (JobState, &Balance),
        held_for: Option<String>,
        now: Instant,
    ) -> Situation {
        let on_line = self.is_on_line(job);
        let asked = self.asked.get(&(ask.listed(), job, records.to_owned()));
        let stands = |a: &&Asked| match (a.on_line, on_line) {
            (true, true) => true,
            (false, false) => a.state == state && a.balance == *balance,
            _ => false,
        };
        let asked = asked.filter(|a| now.saturating_duration_since(a.at) < ASKED_FOR).filter(stands);
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

    /// Notes the first of two people.
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

    /// It was done: nobody waits for a second person any more. Gives the first one's name.
    pub fn settled(&mut self, ask: ActionKind, job: JobId, records: &str) -> Option<String> {
        self.asked.remove(&(ask.listed(), job, records.to_owned())).map(|asked| asked.by)
    }

    /// A job waits for the line.
    pub fn push(&mut self, job: JobId, by: &str) {
        self.waiting.push_back((job, by.to_owned()));
    }

    /// A job waits no more.
    pub fn remove(&mut self, job: JobId) {
        self.waiting.retain(|(waiting, _)| *waiting != job);
    }

    /// The next job and who released it; `stop` stops it, and `tell` tells it what else people say.
    pub fn next(&mut self, stop: Sender<()>, tell: Sender<LineMessage>) -> Option<(JobId, String)> {
        if self.draining || self.asking || self.on_line.is_some() {
            return None;
        }
        let (job, by) = self.waiting.pop_front()?;
        self.on_line = Some(OnLine { job, stop, tell, stopped_by: None });
        Some((job, by))
    }

    /// The job has left the line.
    pub fn left(&mut self) {
        self.on_line = None;
    }

    /// Has the line stop feeding, if it works on this job; whether it does.
    pub fn stop(&mut self, job: JobId, by: &str) -> bool {
        let Some(on) = self.on_line.as_mut().filter(|on| on.job == job) else { return false };
        on.stopped_by.get_or_insert_with(|| by.to_owned());
        if on.tell.try_send(LineMessage::Stop).is_err() {
            // It has not heard a long row of other things yet, or is about to end.
            on.stop_for_good();
        }
        true
    }

    /// Whether this job is on the line, and a person has it stop.
    pub fn is_stopping(&self, job: JobId) -> bool {
        self.on_line.as_ref().is_some_and(|on| on.job == job && on.stopped_by.is_some())
    }

    /// Takes a stop back, if the line goes on feeding; whether it does. It answers within `patience`.
    pub fn go_on(&mut self, job: JobId, patience: Duration) -> bool {
        let (answer, answered) = bounded(1);
        let goes_on =
            self.tell(job, LineMessage::GoOn { answer }) && answered.recv_timeout(patience).unwrap_or(false);
        if let Some(on) = self.on_line.as_mut().filter(|_| goes_on) {
            on.stopped_by = None;
        }
        goes_on
    }

    /// Who stopped the job that is on the line; nobody did where the daemon drains.
    pub fn stopped_by(&self) -> Option<String> {
        self.on_line.as_ref()?.stopped_by.clone()
    }

    /// Cards that lie in the line are asked, or not any more: no job comes on it meanwhile.
    pub fn ask(&mut self, begins: bool) {
        self.asking = begins;
    }

    /// Tells the line something, if it works on this job; whether it does.
    pub fn tell(&self, job: JobId, tell: LineMessage) -> bool {
        self.on_line.as_ref().is_some_and(|on| on.job == job && on.tell.try_send(tell).is_ok())
    }

    /// Nothing new is begun; what is on the line is finished.
    pub fn drain(&mut self) {
        self.draining = true;
        if let Some(on) = &self.on_line {
            on.stop_for_good();
        }
    }

    /// Whether nothing new is begun.
    pub fn is_draining(&self) -> bool {
        self.draining
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_person_agrees_to_what_the_first_saw_and_soon() {
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
        // On the line it is another matter, asked of and decided anew.
        queue.push(job, "anna");
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
