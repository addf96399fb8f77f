//! The result of an audit, as text and JSON.

use std::io::Write;

use super::super::common::{Early, json};
use crate::bureau::ledger_proof::LedgerVerdict;
use crate::exit::Exit;
use crate::report::counted;

pub(super) fn show(verdict: &LedgerVerdict, as_json: bool, out: &mut dyn Write) -> Result<Exit, Early> {
    let exit = if verdict.findings.is_empty() { Exit::Ok } else { Exit::AuditFailed };
    if as_json {
        json(out, verdict)?;
        return Ok(exit);
    }
    let LedgerVerdict { ledger, jobs, events, hash, checkpoints, signed_to, audit_key, .. } = verdict;
    writeln!(out, "Ledger       {ledger}, {}", counted(number(*jobs), "job"))?;
    writeln!(out, "Events       {events}, hash {hash}")?;
    let key = audit_key.as_deref().unwrap_or("none");
    writeln!(out, "Checkpoints  {checkpoints}, the last at event {signed_to}, audit key {key}")?;
    if signed_to < events {
        writeln!(out, "Not signed   {} after the last checkpoint", counted(events - signed_to, "event"))?;
    }
    if verdict.jobs_unsealed > 0 {
        writeln!(
            out,
            "Not proved   of {}, accepted by an earlier version: spool, time of acceptance, whose card_ref a record that was \
             never bound has, KMC_IDs, and, where their first event does not tell, whether rejects are shredded and keys are TEST",
            counted(number(verdict.jobs_unsealed), "job")
        )?;
    }
    if !verdict.hsm_asked {
        let whose = match verdict.key_pinned {
            true => "",
            false => ", and whose key signed it (give --keys, or --key with a key kept elsewhere)",
        };
        writeln!(out, "Not asked    whether it is whole (give --keys){whose}")?;
    }
    for export in &verdict.against {
        let (events, checkpoints) = (export.events, counted(export.checkpoints, "checkpoint"));
        writeln!(out, "Compared     with an export of {} and {checkpoints}", counted(events, "event"))?;
    }
    for finding in &verdict.findings {
        writeln!(out, "WRONG        {}: {}", finding.at, finding.what)?;
    }
    if exit == Exit::Ok {
        writeln!(out, "Verified     chain, signatures, and that all states are what the events add up to")?;
    }
    Ok(exit)
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_job_is_not_jobs() {
        let verdict = |jobs| LedgerVerdict {
            ledger: "L".into(),
            events: 3,
            hash: "00".into(),
            jobs,
            jobs_unsealed: 0,
            checkpoints: 1,
            signed_to: 2,
            audit_key: None,
            hsm_asked: true,
            key_pinned: true,
            against: Vec::new(),
            findings: Vec::new(),
        };
        let said = |jobs| {
            let mut out = Vec::new();
            show(&verdict(jobs), false, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert!(said(1).contains(", 1 job\n") && said(1).contains("1 event after"), "{}", said(1));
        assert!(said(2).contains(", 2 jobs\n"), "{}", said(2));
    }
}
