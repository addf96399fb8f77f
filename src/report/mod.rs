//! What people see: the event stream, the progress of a run, the report of a job. All of it comes from the ledger;
//! nothing here changes anything, and nothing here knows cardholder data.
//!
//! Everything about a simulated job is marked SIMULATED, about one of real devices with TEST keys, TEST KEYS.

pub mod certificate;
pub mod closeout;
pub mod events;
pub mod progress;
pub mod summary;
pub mod summary_text;
pub mod tally;
mod withheld;

pub use events::EventWriter;
pub use progress::{Progress, ProgressDisplay};
pub use summary::{ReportPaths, RunStats, StationStats, Summary, SummaryWithNext};

/// Stands on everything that a simulated line made.
pub const SIMULATED: &str = "SIMULATED";
/// Stands on everything that real devices made with TEST keys.
pub const TEST_KEYS: &str = "TEST KEYS";

/// What stands on everything about a job whose cards are none for a cardholder.
pub fn mark(job: &crate::ledger::JobView) -> Option<&'static str> {
    match (job.simulated, job.test_keys) {
        (true, _) => Some(SIMULATED),
        (false, true) => Some(TEST_KEYS),
        (false, false) => None,
    }
}
