//! The views for people: the event stream, the progress of a run, the report of a job and the papers of a
//! closed one. All of them are made from the ledger. `seal` checks a paper that was signed.
//!
//! A view of a simulated job is marked SIMULATED; a view of a job of real devices with TEST keys is marked
//! TEST KEYS. Not here: changes of any state, cardholder data.

pub mod certificate;
pub mod closeout;
pub(crate) mod compared;
pub mod events;
pub mod progress;
pub(crate) mod return_file;
pub mod seal;
pub mod summary;
pub mod summary_text;
mod withheld;

pub use events::{EventOutput, EventWriter};
pub use progress::{CountedProgress, Progress, ProgressDisplay};
pub use summary::{ReportPaths, RunStats, StationStats, Summary, SummaryWithNext};

/// Mark of everything about a job of a simulated line.
pub const SIMULATED: &str = "SIMULATED";
/// Mark of everything about a job of real devices with TEST keys.
pub const TEST_KEYS: &str = "TEST KEYS";

/// Returns the mark of a job whose cards are not for cardholders.
pub fn mark(job: &crate::ledger::JobView) -> Option<&'static str> {
    match (job.simulated, job.test_keys) {
        (true, _) => Some(SIMULATED),
        (false, true) => Some(TEST_KEYS),
        (false, false) => None,
    }
}

/// A number of things, as in `1 job` and `2 jobs`.
pub fn counted(count: impl std::fmt::Display, thing: &str) -> String {
    let count = count.to_string();
    format!("{count} {thing}{}", if count == "1" { "" } else { "s" })
}
