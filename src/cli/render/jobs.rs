//! Jobs as text and JSON: the list, one job, its report, the deletion of its data.

use std::io::Write;

use super::super::common::{Early, json};
use super::super::next_step::{Desk, after_report};
use crate::bureau::outcome::Deletion;
use crate::laws::rfc3339;
use crate::ledger::JobView;
use crate::report::certificate::{KEY_MISSING, SPOOL_MISSING};
use crate::report::summary_text::write_job;
use crate::report::{self, Summary, SummaryWithNext};

pub(super) fn list(jobs: &[JobView], as_json: bool, out: &mut dyn Write) -> Result<(), Early> {
    if as_json {
        return json(out, &jobs);
    }
    if jobs.is_empty() {
        writeln!(out, "no job yet")?;
    }
    for job in jobs {
        let b = &job.balance;
        let mark = report::mark(job).unwrap_or_default();
        let held = job.held_for.as_ref().map(|why| format!(", held for: {why}")).unwrap_or_default();
        writeln!(
            out,
            "{:<5} {:<8} {}/{} of {}: {} of {} good, {} remake, {} unknown, {} cancelled{held}{} {mark}",
            job.job.to_string(),
            job.phase.name(),
            job.file_id,
            job.product,
            job.issuer_id,
            b.good,
            b.records,
            b.remake,
            b.unknown,
            b.cancelled,
            if job.deleted { ", data deleted" } else { "" }
        )?;
        for wanted in &job.second_person {
            writeln!(out, "      {wanted}")?;
        }
    }
    Ok(())
}

pub(super) fn show(job: &JobView, as_json: bool, out: &mut dyn Write) -> Result<(), Early> {
    if as_json {
        return json(out, job);
    }
    let mut text = String::new();
    if let Some(mark) = report::mark(job) {
        writeln!(out, "*** {mark} ***")?;
    }
    write_job(job, &mut text).map_err(std::io::Error::other)?;
    write!(out, "{text}")?;
    match (&job.spool_key, job.deleted) {
        (_, true) => writeln!(out, "Spool     deleted, with all cardholder data")?,
        (Some(key), _) => writeln!(out, "Spool     {}, key {key}", job.spool)?,
        (None, _) => writeln!(out, "Spool     {}, in the clear", job.spool)?,
    }
    writeln!(out, "Accepted  {}", rfc3339(job.accepted))?;
    Ok(())
}

pub(super) fn report(summary: &Summary, as_json: bool, desk: Desk, out: &mut dyn Write) -> Result<(), Early> {
    let next = after_report(summary, desk);
    let shown = SummaryWithNext { summary, next: next.as_deref() };
    if as_json {
        return json(out, &shown);
    }
    Ok(write!(out, "{shown}")?)
}

pub(super) fn deleted(done: &Deletion, out: &mut dyn Write) -> Result<(), Early> {
    let Deletion { job, before, papers, unreadable, key_missing, spool_missing, certificate } = done;
    if let Some(why) = unreadable {
        writeln!(out, "{job}: its return file has no fulfilment data, for its spool cannot be read: {why}")?;
    }
    papers.iter().try_for_each(|path| writeln!(out, "{}", path.display()))?;
    if let Some((key, why)) = key_missing {
        writeln!(out, "{job}: its spool key {key} {KEY_MISSING}, so nothing was destroyed there: {why}")?;
    }
    if let Some(spool) = spool_missing {
        writeln!(out, "{job}: its {SPOOL_MISSING}: {}", spool.display())?;
    }
    let done = if *before { "were deleted before" } else { "are deleted" };
    Ok(writeln!(out, "{job}: its cardholder data {done}; certificate: {}", certificate.display())?)
}
