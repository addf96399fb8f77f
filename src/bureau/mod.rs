//! The bureau: a line with its keys and its ledger, and everything that it does with files, jobs and cards.
//!
//! ```text
//! opening       keys, ledger and line open and close; acceptance; running a job
//! file_rules    what the profiles and keys say about a file, record by record
//! survey        cards that lie in the line say how far they came
//! deletion      the end of a job's cardholder data
//! papers        the signed papers of a closed job
//! line          the composition root: the only place that names drivers and HSMs
//! ```
//!
//! Not here: who asks and whether it is granted (`daemon`), words on the command line (`cli`).

pub mod cpu_time;
pub mod deletion;
pub mod file_rules;
pub mod key_host;
pub mod line;
pub mod opening;
pub mod papers;
pub mod survey;
