//! The result of an audit of a ledger. Pure data; `store::audit` does the work.

use serde::Serialize;

use super::error::LedgerError;
use super::store::ChainHead;
use crate::audit::{LedgerId, PublicKey};
use crate::hsm::AuditInfo;

/// Asks for the HSM's notes about a ledger.
pub type KnownAgain<'a> = &'a mut dyn FnMut() -> Result<AuditInfo, LedgerError>;

/// The place of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindingPlace {
    /// An event, by number.
    Event(u64),
    /// The checkpoint that signs this event.
    Checkpoint(u64),
    /// A table of states.
    Table,
    /// Tables, indexes and triggers themselves.
    Schema,
    /// The ledger as a whole.
    Ledger,
}

impl std::fmt::Display for FindingPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Event(n) => write!(f, "event {n}"),
            Self::Checkpoint(n) => write!(f, "checkpoint at event {n}"),
            Self::Table => f.write_str("tables"),
            Self::Schema => f.write_str("schema"),
            Self::Ledger => f.write_str("ledger"),
        }
    }
}

/// A contradiction or damage that an audit found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditFinding {
    /// Where it was found.
    #[serde(serialize_with = "as_text")]
    pub at: FindingPlace,
    /// A description for people.
    pub what: String,
}

impl std::fmt::Display for AuditFinding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.at, self.what)
    }
}

/// The result of an audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// Name of the ledger.
    pub ledger: LedgerId,
    /// Number and hash of its last event.
    pub head: ChainHead,
    /// Number of its jobs.
    pub jobs: usize,
    /// Jobs that an earlier version accepted, whose first event does not seal their terms.
    pub unsealed: usize,
    /// Events that this program does not know. Notes among them change no state and are no finding.
    pub notes: u64,
    /// Number of checkpoints.
    pub checkpoints: usize,
    /// Number of the last event that is signed; 0 if none is.
    pub signed_to: u64,
    /// Key of the last signature.
    pub key: Option<PublicKey>,
    /// In the order of the walk; at most 1,000.
    pub findings: Vec<AuditFinding>,
}

fn as_text<S: serde::Serializer>(at: &FindingPlace, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}
