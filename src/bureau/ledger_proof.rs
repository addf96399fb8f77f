//! An auditor's proofs about a ledger, and a copy of the ledger to keep elsewhere.
//!
//! Not here: the walk over chain and tables (`ledger`), checking a paper (`papers`).

use std::fs::File;
use std::io::Write;

use serde::{Deserialize, Serialize};

use super::against::{self, ComparedExport};
use super::refusal::Refusal;
use crate::audit::PublicKey;
use crate::exit::Exit;
use crate::hsm::{AuditInfo, HsmError};
use crate::laws::rfc3339;
use crate::ledger::audit::{AuditFinding, FindingPlace, KnownAgain};
use crate::ledger::{LedgerError, Reader};
use crate::report::events::write_exported;

/// Number of events read at a time.
const PAGE: u32 = 1000;

/// The result of an audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerVerdict {
    /// Name of the ledger.
    pub ledger: String,
    /// Number of its last event.
    pub events: u64,
    /// Hash of the last event, in hex.
    pub hash: String,
    /// Number of jobs in the ledger.
    pub jobs: usize,
    /// Number of jobs that an earlier version accepted, without a seal.
    pub jobs_unsealed: usize,
    /// Number of signed places.
    pub checkpoints: usize,
    /// Number of the last signed event.
    pub signed_to: u64,
    /// Key of the last signature, in hex.
    pub audit_key: Option<String>,
    /// Whether the ledger was compared with the HSM's notes.
    pub hsm_asked: bool,
    /// Whether the ledger was compared with a key that the auditor named.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub key_pinned: bool,
    /// Exports kept elsewhere with which it was compared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub against: Vec<ComparedExport>,
    /// The faults that were found.
    pub findings: Vec<VerdictFinding>,
}

impl LedgerVerdict {
    /// Compares the ledger with exports that were kept elsewhere.
    pub fn compare(
        &mut self,
        reader: &Reader,
        exports: impl IntoIterator<Item = File>,
    ) -> Result<(), Refusal> {
        for (export, number) in exports.into_iter().zip(1..) {
            let (compared, found) = against::compare(reader, number, export)?;
            self.against.push(compared);
            self.findings.extend(found);
        }
        Ok(())
    }
}

/// A fault that an audit found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictFinding {
    /// Where the fault is.
    pub at: String,
    /// The fault.
    pub what: String,
}

/// Audits a ledger. `known` asks for the HSM's notes about it; `pinned` is the audit key that must have signed it;
/// `seen` is called with the number of events that were read.
pub fn verify(
    reader: &Reader,
    mut known: Option<impl FnMut() -> Result<AuditInfo, HsmError>>,
    pinned: Option<PublicKey>,
    seen: impl FnMut(u64),
) -> Result<LedgerVerdict, LedgerError> {
    let asked = known.is_some();
    let mut known = known.as_mut().map(|known| || known().map_err(LedgerError::Auditor));
    let known = known.as_mut().map(|known| known as KnownAgain<'_>);
    let mut audit = reader.audit(known, seen)?;
    if let Some(behind) = reader.behind() {
        audit.findings.push(AuditFinding { at: FindingPlace::Ledger, what: behind.to_string() });
    }
    if let Some(pinned) = pinned
        && audit.key != Some(pinned)
    {
        let signed = audit.key.map_or("nobody".to_owned(), |key| key.to_string());
        let what = format!("signed by {signed}, not by the audit key {pinned}");
        audit.findings.push(AuditFinding { at: FindingPlace::Ledger, what });
    }
    let finding = |f: AuditFinding| VerdictFinding { at: f.at.to_string(), what: f.what };
    Ok(LedgerVerdict {
        ledger: audit.ledger.to_string(),
        events: audit.head.n,
        hash: hex::encode_upper(audit.head.hash),
        jobs: audit.jobs,
        jobs_unsealed: audit.unsealed,
        checkpoints: audit.checkpoints,
        signed_to: audit.signed_to,
        audit_key: audit.key.map(|key| key.to_string()),
        hsm_asked: asked,
        key_pinned: pinned.is_some(),
        against: Vec::new(),
        findings: audit.findings.into_iter().map(finding).collect(),
    })
}

/// The line of a checkpoint in an export, between the lines of events.
#[derive(Serialize)]
struct ExportedCheckpoint {
    checkpoint: u64,
    ledger: String,
    hash: String,
    generation: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<String>,
    audit_key: String,
    signature: String,
}

/// Writes every event and every checkpoint, one JSON object on each line. Returns the number of each.
pub fn export(reader: &Reader, out: &mut dyn Write) -> Result<(u64, u64), Refusal> {
    let failed = |e: std::io::Error| Refusal::fault(Exit::Io, format!("operator: export: {e}"));
    let mut checkpoints = reader.checkpoints()?.into_iter().peekable();
    let (mut after, mut events_written, mut checkpoints_written) = (0, 0, 0);
    loop {
        let events = reader.events(None, after, PAGE)?;
        if events.is_empty() {
            out.flush().map_err(failed)?;
            return Ok((events_written, checkpoints_written));
        }
        for event in &events {
            after = event.n;
            events_written += 1;
            write_exported(event, out).and_then(|()| out.write_all(b"\n")).map_err(failed)?;
            while let Some(signed) = checkpoints.next_if(|c| c.place.n <= after) {
                checkpoints_written += 1;
                let line = ExportedCheckpoint {
                    checkpoint: signed.place.n,
                    ledger: signed.place.ledger.to_string(),
                    hash: hex::encode_upper(signed.place.hash),
                    generation: signed.generation,
                    epoch: signed.link.map(|link| link.epoch),
                    time: signed.link.map(|link| rfc3339(link.time)),
                    before: signed.link.map(|link| hex::encode_upper(link.before)),
                    audit_key: signed.key.to_string(),
                    signature: hex::encode_upper(signed.signature.to_bytes()),
                };
                let written = serde_json::to_writer(&mut *out, &line).map_err(std::io::Error::from);
                written.and_then(|()| out.write_all(b"\n")).map_err(failed)?;
            }
        }
    }
}
