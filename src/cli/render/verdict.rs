//! The result of an audit, as text and JSON.

use std::io::Write;

use super::super::common::{Early, json};
use crate::bureau::ledger_proof::LedgerVerdict;
use crate::exit::Exit;

pub(super) fn show(verdict: &LedgerVerdict, as_json: bool, out: &mut dyn Write) -> Result<Exit, Early> {
    let exit = if verdict.findings.is_empty() { Exit::Ok } else { Exit::AuditFailed };
    if as_json {
        json(out, verdict)?;
        return Ok(exit);
    }
    let LedgerVerdict { ledger, jobs, events, hash, checkpoints, signed_to, audit_key, .. } = verdict;
    writeln!(out, "Ledger       {ledger}, {jobs} jobs")?;
    writeln!(out, "Events       {events}, hash {hash}")?;
    let key = audit_key.as_deref().unwrap_or("none");
    writeln!(out, "Checkpoints  {checkpoints}, the last at event {signed_to}, audit key {key}")?;
    if signed_to < events {
        writeln!(out, "Not signed   {} events after the last checkpoint", events - signed_to)?;
    }
    if verdict.jobs_unsealed > 0 {
        writeln!(
            out,
            "Not proved   of {} jobs, accepted by an earlier version: spool, time of acceptance, whose card_ref a record that was \
             never bound has, KMC_IDs, and, where their first event does not tell, whether rejects are shredded and keys are TEST",
            verdict.jobs_unsealed
        )?;
    }
    if !verdict.hsm_asked {
        let whose = if verdict.key_pinned {
            ""
        } else {
            " and whose key signed it (or --key with a key kept elsewhere)"
        };
        writeln!(out, "Not asked    whether it is whole{whose}: give --keys")?;
    }
    for finding in &verdict.findings {
        writeln!(out, "WRONG        {}: {}", finding.at, finding.what)?;
    }
    if exit == Exit::Ok {
        writeln!(out, "Verified     chain, signatures, and that all states are what the events add up to")?;
    }
    Ok(exit)
}
