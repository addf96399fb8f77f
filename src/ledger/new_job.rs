//! New jobs: the ledger's input, and its answer. Pure data.

use crate::actor::Actor;
use crate::ids::{CardNames, FileId, IssuerId, KekId, ProductName, SpoolKeyName};
use crate::laws::{JobId, JobProfiles};

/// An accepted file, from which a job is made.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// Issuer, from the Header.
    pub issuer_id: IssuerId,
    /// The issuer's id of the file, from the Header; unique per issuer in a ledger.
    pub file_id: FileId,
    /// Product, from the Header.
    pub product: ProductName,
    /// SHA-256 of the whole file; unique in a ledger.
    pub digest: [u8; 32],
    /// KEK that the Trailer names.
    pub kek: KekId,
    /// Name of the line profile.
    pub line: String,
    /// Whether the line shreds rejects (`src/manual/ledger-events.md`, the law of new attempts).
    pub rejects_shredded: bool,
    /// Whether the line marks rejects.
    pub rejects_marked: bool,
    /// Digests of the profiles and of the chip program that make its cards.
    pub profiles: JobProfiles,
    /// Made on a simulated line: marked SIMULATED everywhere.
    pub simulated: bool,
    /// Made with TEST keys: marked everywhere.
    pub test_keys: bool,
    /// Path of the spool.
    pub spool: String,
    /// Name of the HSM key that seals the spool; `None` if the spool is in the clear.
    pub spool_key: Option<SpoolKeyName>,
    /// The card_ref of each record, in the order of the sequences, from 1.
    pub cards: CardNames,
    /// Who submitted the file to be made later: the job is HELD until a person releases it. `None`: it is OPEN.
    pub submitted_by: Option<Actor>,
}

/// The ledger's answer to a new job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Number of the job.
    pub job: JobId,
    /// Sequences whose card_ref also occurs in another file of the issuer. If there are any, the job is HELD and
    /// waits for a supervisor.
    pub seen_before: Vec<u32>,
}
