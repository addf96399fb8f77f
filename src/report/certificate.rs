//! The certificate that the cardholder data of a job was deleted (`src/manual/return-file.md`, "The certificate of
//! deletion"): the ledger's record of the deletion, and the steps that were taken. Not here: its signature
//! (`bureau::papers`).

use serde::Serialize;

use crate::exit::Failure;
use crate::laws::{DataFate, EventFact, JobId, KeyFate, SpoolFate, rfc3339};
use crate::ledger::{JobMark, LedgerError, Reader};

/// Text about a key that was destroyed.
const KEY_DESTROYED: &str = "the key of the spool was destroyed in the HSM host, whose file of keys was written anew and the old one overwritten";
/// Text about a key that was missing already.
const KEY_WAS_MISSING: &str = "the key of the spool was already missing from the HSM host's file of keys when the deletion was \
                               asked for, so nothing was destroyed there";
/// Message about a key that was missing already, after the name of the key.
pub const KEY_MISSING: &str = "was already missing when the deletion was asked for";
/// Message about a spool that was missing already.
pub const SPOOL_MISSING: &str = "spool was not there any more";
/// Text about a spool whose contents differed from the accepted file.
const SPOOL_UNREADABLE: &str = "what lay in the spool's place did not read as what was accepted";
/// Text about a sealed spool that was removed.
const SPOOL_REMOVED: &str = "the spool was removed";
/// Text about a spool in clear that was removed.
const SPOOL_OVERWRITTEN: &str = "the spool, which lay in the clear, was overwritten and removed";
/// Text about a spool that was missing already.
const SPOOL_WAS_MISSING: &str = "the spool was not there any more when it was to be removed: an attempt at this deletion that was \
                                 cut short had removed it, or somebody else";
const COPIES: &str = "Whoever has that key and a copy of the spool can still read it";
const COPIES_CLEAR: &str = "Whoever has a copy of the spool, which lay in the clear, can still read it";
/// The limits of a deletion, which every certificate states.
const LIMITS: &str = "a flash disk, a file system that copies on write, and backups may keep what was overwritten; who has a \
                      backup of the HSM host's file of keys or of a spool in the clear destroys it as well";

/// Whether a text about a deletion says that the key was missing.
pub fn says_missing(how: &str) -> bool {
    how.starts_with(KEY_WAS_MISSING)
}

/// The text about one deletion, from its event.
fn how(sealed: bool, fate: DataFate) -> String {
    let there = fate.spool != SpoolFate::Missing;
    let spool = if there { SPOOL_REMOVED } else { SPOOL_WAS_MISSING };
    let done = match (sealed, fate.key == KeyFate::Missing) {
        (true, false) => format!("{KEY_DESTROYED}; {spool}"),
        (true, true) => format!("{KEY_WAS_MISSING}; {spool}. {COPIES}"),
        (false, _) if there => SPOOL_OVERWRITTEN.to_owned(),
        (false, _) => format!("{spool}. {COPIES_CLEAR}"),
    };
    if fate.unreadable { format!("{done}; {SPOOL_UNREADABLE}") } else { done }
}

/// The certificate of one deletion. Its fields are those of the JSON document.
#[derive(Debug, Serialize)]
pub struct Certificate {
    certificate: &'static str,
    simulated: bool,
    test_keys: bool,
    ledger: String,
    job: String,
    issuer_id: String,
    file_id: String,
    product: String,
    records: u32,
    sha256: String,
    spool: String,
    spool_key: Option<String>,
    accepted: String,
    closed: Option<String>,
    deleted: String,
    by: Option<String>,
    why: Option<String>,
    event: u64,
    how: String,
    limits: &'static str,
}

impl Certificate {
    /// Makes the certificate of a job whose data was deleted. Its contents do not depend on when it is made.
    pub fn build(reader: &Reader, job: JobId) -> Result<Self, Failure> {
        let view = reader.job(job)?;
        let missing = || LedgerError::Damaged(format!("{job}: no event records the deletion"));
        let deleted = reader.last_mark(job, JobMark::Deleted)?.ok_or_else(missing)?;
        let EventFact::Deleted(fate) = deleted.fact else { return Err(missing().into()) };
        let how = how(view.spool_key.is_some(), fate);
        Ok(Self {
            certificate: "CWD1",
            simulated: view.simulated,
            test_keys: view.test_keys,
            ledger: reader.id()?.to_string(),
            job: job.to_string(),
            issuer_id: view.issuer_id,
            file_id: view.file_id,
            product: view.product,
            records: view.records,
            sha256: view.digest,
            spool: view.spool,
            spool_key: view.spool_key.map(|key| key.to_string()),
            accepted: rfc3339(view.accepted),
            closed: reader.last_mark(job, JobMark::Closed)?.map(|event| rfc3339(event.ts)),
            deleted: rfc3339(deleted.ts),
            by: deleted.context.decided_by().map(|by| by.to_string()),
            why: deleted.context.reason.map(String::from),
            event: deleted.n,
            how,
            limits: LIMITS,
        })
    }
}
