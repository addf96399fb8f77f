//! The results of requests, as values. The program that shows one makes its text or its JSON.
//!
//! Not here: why a request was not carried out (`refusal`), words (`cli::render`).

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ledger_proof::LedgerVerdict;
use super::refusal::{Denial, Idle};
use super::survey::Survey;
use crate::ids::JobId;
use crate::laws::RecordState;
use crate::ledger::{AttemptView, CardView, JobPhase, JobView, LedgerError, ShiftView, StockView};
use crate::reason::ReasonWord;
use crate::report::Summary;
use crate::report::events::EventLine;
use crate::request::CardDecision;

/// The result of a request.
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
    Log(Vec<EventLine>),
    /// The result of an audit.
    Verdict(LedgerVerdict),
    /// The ledger was exported.
    Exported {
        /// Number of events.
        events: u64,
        /// Number of checkpoints.
        checkpoints: u64,
    },
    /// A file became a job.
    Accepted {
        /// The job.
        job: JobId,
        /// Number of its card_refs that were in an earlier file of the issuer. The job is held if there are
        /// any.
        seen_before: u64,
        /// The first such record.
        first_seen: Option<u32>,
    },
    /// The job waits for the line.
    Released(JobId),
    /// A hold was taken back: the line goes on feeding.
    GoesOn(JobId),
    /// The job stops. The cards that are under way are finished first.
    Stopping(JobId),
    /// The job is HELD.
    Held(JobId),
    /// Decisions about cards were recorded.
    Decided(CardDecisions),
    /// Each card will be thrown out of the line at its next step, or the reason why not.
    Killed {
        /// The job.
        job: JobId,
        /// The fate of the card of each record.
        cards: Vec<KilledCard>,
    },
    /// Answers of cards that lie in the line.
    Surveyed(Box<Survey>),
    /// Stock of jobs, and of a shift.
    Stock {
        /// The jobs.
        jobs: Vec<StockView>,
        /// The shift.
        shift: Option<ShiftView>,
    },
    /// Events that record a person's acts.
    Noted(Vec<EventLine>),
    /// A station of the line was proved.
    StationProved {
        /// The station.
        station: String,
        /// What was found.
        says: String,
    },
    /// Papers were written.
    Papers(Vec<PathBuf>),
    /// Cardholder data were deleted.
    Deleted(Deletion),
    /// There was nothing to do.
    NothingToDo {
        /// The job.
        job: JobId,
        /// The reason.
        why: Idle,
    },
}

/// The records that were requested.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShownCards {
    /// The job of the records.
    pub job: JobView,
    /// Whether one record was requested.
    pub one: bool,
    /// The records with their cards, in file order.
    pub cards: Vec<ShownCard>,
}

/// A record with its attempts, and with its events in the words of the trade.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShownCard {
    /// The job.
    pub job: JobId,
    /// Sequence of the record.
    pub seq: u32,
    /// The card_ref of the record.
    pub card_ref: String,
    /// State of the record.
    pub state: RecordState,
    /// Whether a person has let the record be made again.
    pub released: bool,
    /// The attempts, in order.
    pub attempts: Vec<AttemptView>,
    /// Everything that happened to the record, in order.
    pub events: Vec<EventLine>,
}

impl From<CardView> for ShownCard {
    fn from(card: CardView) -> Self {
        let events = card.events.iter().map(EventLine::from).collect();
        let CardView { job, seq, card_ref, state, released, attempts, .. } = card;
        Self { job, seq, card_ref, state, released, attempts, events }
    }
}

/// The result of decisions about cards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CardDecisions {
    /// The job.
    pub job: JobId,
    /// Phase of the job afterwards.
    pub phase: JobPhase,
    /// Why the job is HELD.
    pub held_for: Option<ReasonWord>,
    /// The decision.
    pub decision: CardDecision,
    /// The events of the changes.
    pub changed: Vec<EventLine>,
    /// Records that the ledger's laws did not let change, each with the reason.
    pub refused: Vec<(u32, LedgerError)>,
}

/// The fate of a card that was to be thrown out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KilledCard {
    /// Sequence of the record.
    pub record: u32,
    /// The fate of its card.
    pub fate: KillFate,
}

/// The fate in a [`KilledCard`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KillFate {
    /// The card will be thrown out at its next step.
    ThrownOut,
    /// There is nothing to do.
    Idle(Idle),
    /// The card will not be thrown out.
    Denied(Denial),
}

/// The result of a deletion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    /// The job.
    pub job: JobId,
    /// Whether the data had been deleted before.
    pub before: bool,
    /// Papers that were missing and are written now.
    pub papers: Vec<PathBuf>,
    /// Why the return file has no fulfilment data, if the spool could not be read.
    pub unreadable: Option<String>,
    /// Name of the spool's key and the HSM's message, if the key was missing.
    pub key_missing: Option<(String, String)>,
    /// Path of the spool, if it was missing.
    pub spool_missing: Option<PathBuf>,
    /// The certificate.
    pub certificate: PathBuf,
}
