//! The bureau: a line with its keys and its ledger, and everything that it does with files, jobs and cards.
//!
//! ```text
//! opening        keys, ledger and line open and close; a request is carried out
//! acceptance     an issuer's file becomes a job: file_rules (profiles and keys), spool_folder (where it lies)
//! run_job        making a job
//! ledger_desk    what a ledger alone is enough for: cards, stock, views, ledger_proof, papers, deletion
//! survey         cards that lie in the line say how far they came
//! outcome        what came of a request; refusal: why it was not carried out
//! line           the composition root: the only place that names drivers
//! ```
//!
//! No clap, no printing, no socket. Not here: who asks and whether it is granted (`daemon`), words (`cli`).

mod acceptance;
mod cards;
pub mod cpu_time;
pub mod deletion;
pub mod file_rules;
pub mod key_host;
pub mod ledger_desk;
pub mod ledger_proof;
pub mod line;
pub mod opening;
pub mod outcome;
pub mod papers;
pub mod refusal;
pub mod run_job;
pub mod spool_folder;
mod stock;
pub mod survey;
pub mod views;

pub use opening::Bureau;
pub use outcome::Outcome;
pub use refusal::Refusal;
