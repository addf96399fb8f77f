//! Which job is on the line, which wait for it, and what waits for a second person. Pure state; whoever shares it guards it.

use std::collections::{BTreeMap, VecDeque};

use crossbeam_channel::Sender;

use super::policy::{Ask, Situation};
use crate::ledger::{JobId, JobState};
use crate::pipeline::Tell;

/// See the module.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: VecDeque<(JobId, String)>,
    on_line: Option<OnLine>,
    draining: bool,
    /// Cards that lie in the line are being asked.
    asking: bool,
    /// What one person asked for that takes two: about which job and records, and who.
    asked: BTreeMap<(Ask, JobId, String), String>,
}

#[derive(Debug)]
struct OnLine {
    job: JobId,
    stop: Sender<()>,
    tell: Sender<Tell>,
    /// Who gave the job up meanwhile.
    cancelled_by: Option<String>,
}

impl OnLine {
    /// Tells the line to stop; it may have been told before.
    fn tell(&self) {
        let _told = self.stop.try_send(());
    }
}

impl Queue {
    /// What the policy has to know of a job. `records` are those that are asked about, empty for the job itself.
    pub fn situation(
        &self,
        ask: Ask,
        job: JobId,
        records: &str,
        state: JobState,
        held_for: Option<String>,
    ) -> Situation {
        Situation {
            state,
            held_for,
            on_line: self.on_line.as_ref().is_some_and(|on| on.job == job),
            queued: self.waiting.iter().any(|(waiting, _)| *waiting == job),
            line_busy: self.on_line.is_some() || self.asking,
            asked_by: self.asked.get(&(ask, job, records.to_owned())).cloned(),
        }
    }

    /// Notes the first of two people.
    pub fn asked(&mut self, ask: Ask, job: JobId, records: &str, by: &str) {
        self.asked.insert((ask, job, records.to_owned()), by.to_owned());
    }

    /// It was done: nobody waits for a second person any more. Gives the first one's name.
    pub fn settled(&mut self, ask: Ask, job: JobId, records: &str) -> Option<String> {
        self.asked.remove(&(ask, job, records.to_owned()))
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
    pub fn next(&mut self, stop: Sender<()>, tell: Sender<Tell>) -> Option<(JobId, String)> {
        if self.draining || self.asking || self.on_line.is_some() {
            return None;
        }
        let (job, by) = self.waiting.pop_front()?;
        self.on_line = Some(OnLine { job, stop, tell, cancelled_by: None });
        Some((job, by))
    }

    /// The job has left the line. Gives who gave it up meanwhile.
    pub fn left(&mut self) -> Option<String> {
        self.on_line.take().and_then(|on| on.cancelled_by)
    }

    /// Has the line stop feeding, if it works on this job; whether it does.
    pub fn stop(&mut self, job: JobId, cancelled_by: Option<&str>) -> bool {
        let Some(on) = self.on_line.as_mut().filter(|on| on.job == job) else { return false };
        if let Some(by) = cancelled_by {
            on.cancelled_by = Some(by.to_owned());
        }
        on.tell();
        true
    }

    /// Cards that lie in the line are asked, or not any more: no job comes on it meanwhile.
    pub fn ask(&mut self, begins: bool) {
        self.asking = begins;
    }

    /// Tells the line something, if it works on this job; whether it does.
    pub fn tell(&self, job: JobId, tell: Tell) -> bool {
        self.on_line.as_ref().is_some_and(|on| on.job == job && on.tell.try_send(tell).is_ok())
    }

    /// Nothing new is begun; what is on the line is finished.
    pub fn drain(&mut self) {
        self.draining = true;
        if let Some(on) = &self.on_line {
            on.tell();
        }
    }

    /// Whether nothing new is begun.
    pub fn is_draining(&self) -> bool {
        self.draining
    }
}
