//! What came of a request, as values: texts and JSON for people are made by who shows them.
//!
//! Not here: why something was not done (`refusal`), words (`cli::render`).

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ledger_proof::LedgerVerdict;
use super::refusal::{Denial, Idle};
use super::survey::Survey;
use crate::ids::JobId;
use crate::ledger::{CardView, JobView, LedgerError, LedgerEvent, ShiftView, StockView};
use crate::report::Summary;
use crate::request::CardDecision;

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", content = "of", rename_all = "kebab-case")]
pub enum Outcome {
    /// All jobs.
    Jobs(Vec<JobView>),
    /// One job.
    Job(Box<JobView>),
    /// The report of a job; also of one that was just closed.
    Report(Box<Summary>),
    /// Records with their attempts and events.
    Cards(Box<ShownCards>),
    /// A page of events.
    Log(Vec<LedgerEvent>),
    /// What an audit found.
    Verdict(LedgerVerdict),
    /// The ledger was exported.
    Exported {
        /// Events.
        events: u64,
        /// Checkpoints.
        checkpoints: u64,
    },
    /// A file became a job.
    Accepted {
        /// Job.
        job: JobId,
        /// Number of its card_refs that were in an earlier file of the issuer; the job is held if there are any.
        seen_before: u64,
        /// The first such record.
        first_seen: Option<u32>,
    },
    /// The job waits for the line.
    Released(JobId),
    /// A hold was taken back: the line goes on feeding.
    GoesOn(JobId),
    /// A hold waits for the cards that are under way.
    Stopping(JobId),
    /// The job is HELD.
    Held(JobId),
    /// Decisions about cards.
    Decided(CardDecisions),
    /// Cards that are thrown out of the line at their next step, or not.
    Killed {
        /// Job.
        job: JobId,
        /// One for each record.
        cards: Vec<KilledCard>,
    },
    /// What cards say that lie in the line.
    Surveyed(Box<Survey>),
    /// Stock.
    Stock {
        /// Of these jobs.
        jobs: Vec<StockView>,
        /// Of a shift.
        shift: Option<ShiftView>,
    },
    /// Events that note what a person did.
    Noted(Vec<LedgerEvent>),
    /// Papers were written.
    Papers(Vec<PathBuf>),
    /// Cardholder data were deleted.
    Deleted(Deletion),
    /// It is so already.
    NothingToDo {
        /// Job.
        job: JobId,
        /// Why.
        why: Idle,
    },
}

/// Records that are shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShownCards {
    /// Their job.
    pub job: JobView,
    /// One record was asked for.
    pub one: bool,
    /// In file order.
    pub cards: Vec<CardView>,
}

/// What became of decisions about cards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CardDecisions {
    /// Job.
    pub job: JobId,
    /// What was decided.
    pub decision: CardDecision,
    /// What changed.
    pub changed: Vec<LedgerEvent>,
    /// Records that the ledger did not let change, and why.
    pub refused: Vec<(u32, LedgerError)>,
}

/// What becomes of a card that is to be thrown out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KilledCard {
    /// Record.
    pub record: u32,
    /// Its fate.
    pub fate: KillFate,
}

/// See [`KilledCard`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KillFate {
    /// It is thrown out at its next step.
    ThrownOut,
    /// There is nothing to do.
    Idle(Idle),
    /// It is not thrown out.
    Denied(Denial),
}

/// How the cardholder data of a job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    /// Job.
    pub job: JobId,
    /// They had been deleted before.
    pub before: bool,
    /// Papers that were missing and are written now.
    pub papers: Vec<PathBuf>,
    /// Why the return file has no fulfilment data: the spool cannot be read.
    pub unreadable: Option<String>,
    /// The key of the spool was missing: its name and what the HSM said.
    pub key_missing: Option<(String, String)>,
    /// The spool was not there any more.
    pub spool_missing: Option<PathBuf>,
    /// The certificate.
    pub certificate: PathBuf,
}
