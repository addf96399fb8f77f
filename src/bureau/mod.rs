//! The bureau: a line with its keys and its ledger, and everything that it does with files, jobs and cards.
//!
//! ```text
//! key_access     the keys of a line, and the token in which some may lie
//! opening        opens and closes keys, ledger and line; carries a request out
//! acceptance     an issuer's file becomes a job: delivery (bare or sealed), file_rules (profiles and keys),
//!                card_kmcs (KMCs of its cards), spool_folder (its place)
//! run_job        makes a job
//! ledger_desk    actions on a ledger alone: cards, stock, views, ledger_proof, papers, deletion
//! retention      which deletions are due
//! card_test      test blanks show where the devices of a line stand
//! dry_run        makes a sample card of a product, to the last command
//! survey         asks cards that lie in the line how far they came
//! outcome        the result of a request; refusal: why it was not carried out
//! line           the composition root: the only place that names drivers
//! cpu_time       figures for a run's report
//! ```
//!
//! No clap, no printing, no socket of the daemon. Not here: identifying people and granting requests
//! (`daemon`), words (`cli`).

pub mod acceptance;
pub mod against;
mod card_kmcs;
pub mod card_test;
mod cards;
pub mod cpu_time;
pub mod deletion;
mod delivery;
pub mod dry_run;
pub mod file_check;
mod file_rules;
mod key_access;
pub mod ledger_desk;
pub mod ledger_proof;
pub use crate::hsm::key_host;

pub mod line;
pub mod opening;
pub mod outcome;
pub mod papers;
pub mod refusal;
pub mod retention;
pub mod run_job;
pub mod spool_folder;
mod stock;
pub mod survey;
pub mod views;

pub use key_access::KeyAccess;
pub use opening::Bureau;
pub use outcome::Outcome;
pub use refusal::Refusal;
