//! The reasons why a request is not carried out, as values. The program that shows one makes its text and
//! names the command that helps.
//!
//! Not here: numbers of exit codes (`exit`; [`Refusal::exit`] chooses one), words (`cli`).

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::exit::{Exit, Failure};
use crate::hsm::HsmError;
use crate::ids::JobId;
use crate::laws::JobState;
use crate::ledger::LedgerError;

/// Why a request is not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "refusal", content = "of", rename_all = "kebab-case")]
pub enum Refusal {
    /// The policy denies the request to every person in the job's present state.
    Denied {
        /// The job, if the request is about one.
        job: Option<JobId>,
        /// The record, if the request is about one.
        record: Option<u32>,
        /// The reason.
        why: Denial,
    },
    /// The policy denies the request to this person, or at this moment.
    NotAllowed {
        /// The job, if the request is about one.
        job: Option<JobId>,
        /// The reason.
        why: NotAllowed,
    },
    /// The request takes two people. The first one's request is noted.
    SecondPerson {
        /// The job.
        job: JobId,
    },
    /// The ledger refuses the request, because of its laws or because it cannot be used.
    Ledger(LedgerError),
    /// This file was accepted before.
    FileSeen {
        /// The job that it became.
        job: JobId,
        /// Whether that job is OPEN or HELD.
        open: bool,
        /// The line as the operator named it.
        line: String,
    },
    /// The ledger's tables are not the sum of its events.
    TablesEdited {
        /// The difference between them.
        what: String,
    },
    /// The ledger names a place for a job's spool that is none of its own.
    ForeignSpool {
        /// The job.
        job: JobId,
        /// The place that the ledger names.
        named: PathBuf,
        /// The fault of that place.
        what: String,
        /// The folder where its spools lie.
        folder: PathBuf,
    },
    /// The spool or its key cannot be read: only a person can have the data deleted.
    SpoolUnreadable {
        /// The job.
        job: JobId,
        /// Exit code and text of the fault.
        fault: FaultReport,
    },
    /// The job was accepted for another line.
    OtherLine {
        /// The job.
        job: JobId,
        /// The line for which it was accepted.
        line: String,
    },
    /// The request names a line that this program does not run.
    NoSuchLine {
        /// The line that the request names.
        asked: String,
        /// The line that this program runs.
        here: String,
    },
    /// The job has no papers before it is CLOSED.
    NoPapersYet {
        /// The job.
        job: JobId,
        /// Its state.
        state: JobState,
    },
    /// Test cards were noted before a person had counted the blanks in the hopper.
    StockNotIssued {
        /// The job.
        job: JobId,
    },
    /// More test cards were noted than the hopper has blanks.
    NotInHopper {
        /// Number of test cards.
        asked: u32,
        /// Blanks in the hopper, by the ledger's count.
        hopper: i64,
    },
    /// The request itself makes no sense.
    Senseless(Senseless),
    /// Only a daemon can do this.
    OnlyDaemon,
    /// A fault of a file, a key, a device, the disk or the program, with exit code and text.
    Fault(FaultReport),
}

/// An expected failure below the bureau: its exit code, and a text that names who is to blame, the place and
/// the next step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultReport {
    /// Exit code of a program that ends with this fault.
    pub exit: Exit,
    /// The text, without a secret and without cardholder data.
    pub message: String,
}

/// A request that cannot be carried out in any state of job and ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum Senseless {
    /// Each card has to be looked at: a chip may be complete while the stripe is not.
    #[error("cards are found good one by one; name the records that were looked at, as 3,7-9")]
    AllFoundGood,
    /// A reader holds one card.
    #[error("ask about one record, or about `all` cards in the line")]
    SurveyOfSome,
    /// Each test card is noted by an event of its own.
    #[error("{asked} test cards: 1 to {most} are noted at a time")]
    TestCards {
        /// The requested number.
        asked: u32,
        /// Most that are noted at a time.
        most: u32,
    },
    /// The number of files differs from the number that the request needs.
    #[error("{0} file(s) came with the request, which needs {1}")]
    Files(usize, usize),
}

/// Why the policy denies a request to every person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum Denial {
    /// The ledger has no such job.
    #[error("there is no such job")]
    NoJob,
    /// Papers and deletion need a CLOSED job.
    #[error("the job is not closed")]
    NotClosed,
    /// A CLOSED job does not change.
    #[error("the job is closed; nothing about it changes any more")]
    Closed,
    /// `resume` takes back only an operator's hold.
    #[error("it was not held by an operator: a supervisor looks at it and releases it")]
    NotHeldByOperator,
    /// A job is closed after it has left the line.
    #[error("the job is on the line, or waits for it: wait until it is done, or hold it")]
    OnLine,
    /// A hold waits for the cards that are under way.
    #[error("the job is stopping: wait until the cards under way are finished and it is HELD")]
    Stopping,
    /// A reader cannot serve the line and a survey at once.
    #[error("the line is at work or about to be; hold the job that is on it, then ask")]
    LineBusy,
    /// The line feeds from the hopper.
    #[error("the job is on the line, which feeds from the hopper; hold it first")]
    HopperInUse,
    /// A card must be in the line to be thrown out.
    #[error("it has no card in the line")]
    NoCard,
    /// The card left the line as a good one.
    #[error("its card is stacked already; a supervisor may take it out as a sample")]
    Stacked,
    /// The card is UNKNOWN and may lie anywhere.
    #[error("nobody knows where its card is")]
    CardUnknown,
    /// The record was given up.
    #[error("it is CANCELLED")]
    Cancelled,
    /// A test with blanks begins by throwing out what lies in the line.
    #[error("cards of the job may lie in the line, and a test would throw them out: look for them first")]
    CardsInLine,
    /// The line could not throw the card out any more.
    #[error("its card is on its way into the stacker already, or out")]
    LeavesLine,
}

/// Why the policy denies a request to this person, or at this moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum NotAllowed {
    /// The person is no operator.
    #[error("this takes an operator, a role that the daemon's people file does not give you")]
    TakesOperator,
    /// The person is neither auditor nor supervisor.
    #[error("this takes an auditor or a supervisor, roles that the daemon's people file does not give you")]
    TakesAuditor,
    /// The person is no supervisor.
    #[error("this takes a supervisor, a role that the daemon's people file does not give you")]
    TakesSupervisor,
    /// The daemon begins no new work before it ends.
    #[error("the daemon is about to end and begins nothing new; ask again after its next start")]
    Draining,
    /// The people file does not list this user.
    #[error("the daemon's people file does not list you (uid {uid})")]
    Unlisted {
        /// User id of the person.
        uid: u32,
    },
}

/// Why there is nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum Idle {
    /// The job was closed before.
    #[error("the job is closed already")]
    ClosedAlready,
    /// The job was held before.
    #[error("the job is held already")]
    HeldAlready,
    /// A hold was asked for before, and waits for the cards under way.
    #[error("the job stops already; it is HELD when the cards under way are finished")]
    StopsAlready,
    /// The job was released before.
    #[error("the job is on the line, or waits for it")]
    OnLineAlready,
    /// The card was killed before.
    #[error("its card was killed already")]
    KilledAlready,
}

impl Refusal {
    /// Exit code of a program that ends with this refusal.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Denied { .. }
            | Self::OtherLine { .. }
            | Self::NoPapersYet { .. }
            | Self::StockNotIssued { .. }
            | Self::NotInHopper { .. } => Exit::Denied,
            Self::NotAllowed { .. } => Exit::NotAllowed,
            Self::SecondPerson { .. } => Exit::SecondPerson,
            Self::Ledger(error) => error.exit(),
            Self::FileSeen { open: true, .. } => Exit::JobOpen,
            Self::FileSeen { open: false, .. } => Exit::FileSeen,
            Self::TablesEdited { .. } | Self::ForeignSpool { .. } => Exit::Ledger,
            Self::NoSuchLine { .. } => Exit::NotFound,
            Self::Senseless(_) | Self::OnlyDaemon => Exit::Usage,
            Self::Fault(fault) | Self::SpoolUnreadable { fault, .. } => fault.exit,
        }
    }

    /// A refusal for a fault, with its text.
    pub fn fault(exit: Exit, message: impl Into<String>) -> Self {
        Self::Fault(FaultReport { exit, message: message.into() })
    }

    /// A refusal of a request about a job, which the policy denies to every person.
    pub fn denied(job: JobId, why: Denial) -> Self {
        Self::Denied { job: Some(job), record: None, why }
    }
}

/// The text without a command that helps: only the program that prints it knows its commands.
impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Denied { job, record, why } => {
                write!(f, "{}refused: {why}", about(*job, *record))
            }
            Self::NotAllowed { job, why } => write!(f, "{}refused: {why}", about(*job, None)),
            Self::SecondPerson { job } => write!(
                f,
                "{job}: nothing is done yet: this takes two people. A second person with the role for it gives this command \
                 within 15 minutes, before the job changes"
            ),
            Self::Ledger(error) => error.fmt(f),
            Self::FileSeen { job, open: true, .. } => {
                write!(f, "operator: this file is job {job}, which is open")
            }
            Self::FileSeen { job, open: false, .. } => write!(
                f,
                "file: this file was accepted before: job {job}, which is closed; ask the issuer for a new file if it is to be \
                 made again"
            ),
            Self::TablesEdited { what } => write!(
                f,
                "the ledger's tables differ from its events: {what}; another program has changed them: restore the ledger, or \
                 count the cards by hand"
            ),
            Self::ForeignSpool { job, named, what, folder } => write!(
                f,
                "operator: {job}: the ledger names {} as its spool, {what}; nothing was deleted; restore the ledger; if it was \
                 renamed, move its spools into {}",
                named.display(),
                folder.display()
            ),
            Self::SpoolUnreadable { fault, .. } => write!(
                f,
                "{}; nothing is deleted by itself whose spool or key cannot be read: put it back, or a supervisor has it \
                 deleted as it is",
                fault.message
            ),
            Self::OtherLine { job, line } => write!(
                f,
                "operator: job {job} was accepted for line {line}, whose modules and rejects its cards count on"
            ),
            Self::NoSuchLine { asked, here } => {
                write!(f, "operator: there is no line {asked:?} here; this is line {here}")
            }
            Self::NoPapersYet { job, state } => write!(f, "operator: {job} is {state}; it has no papers yet"),
            Self::StockNotIssued { job } => write!(
                f,
                "operator: refused: no blanks were issued to {job} yet; say first how many lie in the hopper"
            ),
            Self::NotInHopper { asked, hopper } => write!(
                f,
                "operator: refused: {asked} blanks, but by the ledger there are {hopper} in the hopper"
            ),
            Self::Senseless(what) => write!(f, "operator: {what}"),
            Self::OnlyDaemon => f.write_str("operator: only a daemon does this"),
            Self::Fault(fault) => f.write_str(&fault.message),
        }
    }
}

/// The beginning of the refusal of a request about this job and record.
fn about(job: Option<JobId>, record: Option<u32>) -> String {
    match (job, record) {
        (Some(job), Some(record)) => format!("operator: {job} record {record}: "),
        (Some(job), None) => format!("operator: {job}: "),
        _ => "operator: ".to_owned(),
    }
}

impl From<Failure> for FaultReport {
    fn from(failure: Failure) -> Self {
        Self { exit: failure.exit, message: failure.message }
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Fault(failure.into())
    }
}

impl From<LedgerError> for Refusal {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

impl From<HsmError> for Refusal {
    fn from(error: HsmError) -> Self {
        Failure::from(error).into()
    }
}

impl From<crate::record::FileError> for Refusal {
    fn from(error: crate::record::FileError) -> Self {
        Failure::from(error).into()
    }
}
