//! What people see: the event stream, the progress of a run, the report of a job. All of it comes from the ledger;
//! nothing here changes anything, and nothing here knows cardholder data.
//!
//! Everything about a simulated job is marked SIMULATED.

pub mod events;
pub mod progress;
pub mod summary;

pub use events::EventWriter;
pub use progress::{Progress, Shown};
pub use summary::{Places, RunStats, StationStats, Summary};

/// Stands on everything that a simulated line made.
pub const SIMULATED: &str = "SIMULATED";
