//! Which jobs' cardholder data have been kept for as long as the line's profile demands.
//!
//! The system's clock may be wrong, and a deletion cannot be taken back. So the daemon deletes only after a time that is
//! proved: by events that follow one another closely, and by the clock that nobody sets while the program runs. If the
//! system's clock alone says that a deletion is due, a person decides.
//!
//! Not here: the deletion itself (`deletion`), when the daemon looks (`daemon`).

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::deletion::own_papers;
use super::papers::folder::paper;
use super::refusal::Refusal;
use crate::audit::DocumentKind;
use crate::ids::JobId;
use crate::laws::{JobState, rfc3339};
use crate::ledger::{ClockGap, JobMark, JobPhase, JobView, Ledger, Reader, TimePassed, UNSEEN_MAX};
use crate::modules::LineProfile;
use crate::reason::ReasonWord;
use crate::report::seal::{Whose, look};
use crate::request::PaperName;

const DAY: Duration = Duration::from_secs(86_400);

/// Jobs of a line whose cardholder data have been kept for as long as its profile demands, each with the time
/// since then.
#[derive(Debug, Default)]
pub struct KeptLongEnough {
    /// Jobs whose deletion is due. Included are those whose deletion for that reason ended before the
    /// certificate.
    pub due: Vec<(JobId, String)>,
    /// Jobs whose deletion is due if the system's clock is right, and the time that proves nothing.
    pub doubtful: Vec<(JobId, String, ClockGap)>,
    /// Jobs that could have been closed for that long. Their data stay until a person closes them.
    pub left_open: Vec<(JobId, String)>,
}

/// What a program that runs knows of the time since the last event.
#[derive(Debug, Default)]
pub struct IdleWatch {
    /// Number of the last event, and when the program first saw it: by the clock that nobody sets, and by the system's
    /// clock (Unix in ms).
    seen: Option<(u64, Instant, u64)>,
}

impl IdleWatch {
    /// Adds the time since the last event.
    fn add(&mut self, passed: &mut TimePassed, now: u64) {
        let (last, ts) = passed.last;
        let seen = self.seen.filter(|seen| seen.0 == last).unwrap_or_else(|| (last, Instant::now(), now));
        self.seen = Some(seen);
        let (_, since, first) = seen;
        if u128::from(ts.abs_diff(first)) <= UNSEEN_MAX.as_millis() {
            passed.count(ts, first);
        } else {
            passed.skip(ClockGap { from: ts, to: first });
        }
        passed.count(0, milliseconds(since.elapsed()));
    }
}

/// Looks through the jobs of a line for data that have been kept for long enough.
pub fn kept_long_enough(
    ledger: &Ledger,
    line: &LineProfile,
    watch: &mut IdleWatch,
) -> Result<KeptLongEnough, Refusal> {
    let reader = ledger.reader()?;
    let papers = own_papers(ledger.path());
    let now = milliseconds(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
    let kept = DAY.saturating_mul(line.retention_days);
    let mut found = KeptLongEnough::default();
    for view in reader.jobs()?.into_iter().filter(|view| view.line == line.name) {
        match (view.state, view.phase) {
            (JobState::Closed, _) if view.deleted && !lacks_certificate(&reader, &view, &papers)? => {}
            (JobState::Closed, _) => {
                let Some(closed) = reader.last_mark(view.job, JobMark::Closed)? else { continue };
                let mut passed = reader.passed_since(closed.n)?;
                watch.add(&mut passed, now);
                let until = closed.ts.saturating_add(milliseconds(kept));
                match passed.gap {
                    _ if view.deleted || passed.proved() >= kept => {
                        found.due.push((view.job, rfc3339(until.min(now))));
                    }
                    Some(gap) if until <= now => found.doubtful.push((view.job, rfc3339(until), gap)),
                    _ => {}
                }
            }
            (_, JobPhase::Complete) => {
                let from = reader.span(view.job)?.1;
                if from.saturating_add(milliseconds(kept)) <= now {
                    found.left_open.push((view.job, rfc3339(from)));
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Whether the daemon deleted the data of this job and ended before the certificate. A person repeats a
/// person's deletion.
fn lacks_certificate(reader: &Reader, view: &JobView, papers: &Path) -> Result<bool, Refusal> {
    let deleted = reader.last_mark(view.job, JobMark::Deleted)?;
    let by_us = deleted.is_some_and(|event| event.context.reason == Some(ReasonWord::Retention));
    let whose = Whose { job: view.job, ledger: Some(reader.id()?), key: None };
    let path = paper(papers, view.job, PaperName::Certificate);
    Ok(by_us && !matches!(look(&path, DocumentKind::Certificate, whose), Ok(Some(_))))
}
