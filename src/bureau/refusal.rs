//! Why something that was asked is not done, as values: who shows a refusal makes its text and names the command that
//! helps.
//!
//! Not here: exit codes of each kind of program (`exit` has the numbers; [`Refusal::exit`] says which), words (`cli`).

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::exit::{Exit, Failure};
use crate::hsm::HsmError;
use crate::ids::JobId;
use crate::ledger::{JobState, LedgerError};

/// Something that was asked is not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "refusal", content = "of", rename_all = "kebab-case")]
pub enum Refusal {
    /// The policy denies it to everybody, as the job stands.
    Denied {
        /// Job, if it is about one.
        job: Option<JobId>,
        /// Record, if it is about one.
        record: Option<u32>,
        /// Why.
        why: Denial,
    },
    /// The policy denies it to this person, or now.
    NotAllowed {
        /// Job, if it is about one.
        job: Option<JobId>,
        /// Why.
        why: NotAllowed,
    },
    /// It takes two people; the first request is noted.
    SecondPerson {
        /// Job.
        job: JobId,
    },
    /// The ledger refuses it, by its laws or because it cannot be used.
    Ledger(LedgerError),
    /// This file was accepted before.
    FileSeen {
        /// The job that it became.
        job: JobId,
        /// That job is OPEN or HELD.
        open: bool,
        /// The line as the operator named it.
        line: String,
    },
    /// The ledger's tables are not what its events add up to.
    TablesEdited {
        /// What differs.
        what: String,
    },
    /// The ledger names another place as the spool of a job than a spool of its own.
    ForeignSpool {
        /// Job.
        job: JobId,
        /// The place that it names.
        named: PathBuf,
        /// What is wrong with that.
        what: String,
        /// Where its spools lie.
        folder: PathBuf,
    },
    /// Only a person has data deleted whose spool or key cannot be read.
    SpoolUnreadable {
        /// Job.
        job: JobId,
        /// Exit code and text of the fault.
        fault: FaultReport,
    },
    /// The job was accepted for another line.
    OtherLine {
        /// Job.
        job: JobId,
        /// The line that it was accepted for.
        line: String,
    },
    /// The request names a line that is not here.
    NoSuchLine {
        /// Asked for.
        asked: String,
        /// There is.
        here: String,
    },
    /// Papers are of CLOSED jobs.
    NoPapersYet {
        /// Job.
        job: JobId,
        /// Its state.
        state: JobState,
    },
    /// Test cards before anybody said how many blanks lie in the hopper.
    StockNotIssued {
        /// Job.
        job: JobId,
    },
    /// More test cards than blanks in the hopper.
    NotInHopper {
        /// Test cards.
        asked: u32,
        /// Blanks in the hopper, by the book.
        hopper: i64,
    },
    /// The request itself makes no sense.
    Senseless(Senseless),
    /// Only a daemon does this.
    OnlyDaemon,
    /// A fault of a file, a key, a device, the disk or the program, with exit code and text.
    Fault(FaultReport),
}

/// An expected failure from below: its exit code and one text that says who is to blame, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultReport {
    /// How a program ends that ends with it.
    pub exit: Exit,
    /// For people; no secret, no cardholder data.
    pub message: String,
}

/// A request that nobody can carry out, whatever the state of things.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum Senseless {
    /// Each is looked at: a chip that came as far as the next one may lack what its stripe has.
    #[error("cards are found good one by one; name the records that were looked at, as 3,7-9")]
    AllFoundGood,
    /// One card lies in one reader.
    #[error("ask about one record, or about `all` cards in the line")]
    SurveyOfSome,
    /// Test cards are noted one by one.
    #[error("{asked} test cards: 1 to {most} are noted at a time")]
    TestCards {
        /// Asked for.
        asked: u32,
        /// At most.
        most: u32,
    },
    /// Files come with a request as it needs them.
    #[error("{0} file(s) came with the request, which needs {1}")]
    Files(usize, usize),
}

/// Why the policy denies something to everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum Denial {
    /// The ledger has no such job.
    #[error("there is no such job")]
    NoJob,
    /// Papers and deletion are for CLOSED jobs.
    #[error("the job is not closed")]
    NotClosed,
    /// A CLOSED job does not change.
    #[error("the job is closed; nothing about it changes any more")]
    Closed,
    /// `resume` takes back what an operator did.
    #[error("it was not held by an operator: a supervisor looks at it and releases it")]
    NotHeldByOperator,
    /// Closing waits for the line.
    #[error("the job is on the line, or waits for it; hold it first")]
    OnLine,
    /// Readers serve one master at a time.
    #[error("the line is at work or about to be; hold the job that is on it, then ask")]
    LineBusy,
    /// The line feeds from the hopper.
    #[error("the job is on the line, which feeds from the hopper; hold it first")]
    HopperInUse,
    /// To throw a card out, it must be in the line.
    #[error("it has no card in the line")]
    NoCard,
    /// It left the line as a good card.
    #[error("its card is stacked already; a supervisor may take it out as a sample")]
    Stacked,
    /// It may lie anywhere.
    #[error("nobody knows where its card is")]
    CardUnknown,
    /// It was given up.
    #[error("it is CANCELLED")]
    Cancelled,
    /// The line could not throw it out any more.
    #[error("its card is on its way into the stacker already, or out")]
    LeavesLine,
}

/// Why the policy denies something to this person, or now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum NotAllowed {
    /// Role.
    #[error("it takes an operator")]
    TakesOperator,
    /// Role.
    #[error("it takes an auditor or a supervisor")]
    TakesAuditor,
    /// Role.
    #[error("it takes a supervisor")]
    TakesSupervisor,
    /// No new work before the end.
    #[error("the daemon is about to end; nothing new is begun")]
    Draining,
    /// The people file does not list this user.
    #[error("nobody with uid {uid} stands in the daemon's people file")]
    Unlisted {
        /// User id.
        uid: u32,
    },
}

/// Why there is nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum Idle {
    /// Closed before.
    #[error("the job is closed already")]
    ClosedAlready,
    /// Held before.
    #[error("the job is held already")]
    HeldAlready,
    /// Released before.
    #[error("the job is on the line, or waits for it")]
    OnLineAlready,
    /// Killed before.
    #[error("its card was killed already")]
    KilledAlready,
}

impl Refusal {
    /// How a program ends that ends with this refusal.
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

    /// A fault with its text.
    pub fn fault(exit: Exit, message: impl Into<String>) -> Self {
        Self::Fault(FaultReport { exit, message: message.into() })
    }

    /// The policy denies something about a job to everybody.
    pub fn denied(job: JobId, why: Denial) -> Self {
        Self::Denied { job: Some(job), record: None, why }
    }
}

/// The text of a refusal without a command that helps; who shows it knows which there are.
impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Denied { job, record, why } => {
                write!(f, "{}refused: {why}", about(*job, *record))
            }
            Self::NotAllowed { job, why } => write!(f, "operator: refused: {}{why}", about(*job, None)),
            Self::SecondPerson { job } => write!(
                f,
                "{job}: nothing is done yet: it takes two people, and another one has to ask for it within 15 minutes, while \
                 the job stands as it does"
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
            Self::NoPapersYet { job, state } => write!(f, "{job} is {state}: only a CLOSED job has papers"),
            Self::StockNotIssued { job } => write!(
                f,
                "operator: refused: no blanks were issued to {job} yet; say first how many lie in the hopper"
            ),
            Self::NotInHopper { asked, hopper } => write!(
                f,
                "operator: refused: {asked} blanks, and by the book there are {hopper} in the hopper"
            ),
            Self::Senseless(what) => write!(f, "operator: {what}"),
            Self::OnlyDaemon => f.write_str("operator: only a daemon does this"),
            Self::Fault(fault) => f.write_str(&fault.message),
        }
    }
}

fn about(job: Option<JobId>, record: Option<u32>) -> String {
    match (job, record) {
        (Some(job), Some(record)) => format!("{job} record {record}: "),
        (Some(job), None) => format!("{job}: "),
        _ => String::new(),
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
