//! The end of a job's cardholder data: `cardwright job delete J`, and what the daemon deletes when it is due.
//!
//! ```text
//! papers that are missing → key destroyed → spool removed → DELETED in the ledger → certificate
//! ```
//!
//! Each step is durable before the next begins and does no harm when it is done again, so that whoever asks again after a
//! crash comes to the end.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::papers::{Papers, paper};
use super::shop::spool_of;
use crate::audit::Document;
use crate::beside::beside;
use crate::exit::{Exit, Failure};
use crate::hsm::client::Client;
use crate::hsm::{HsmError, Vault};
use crate::ids::SpoolKeyName;
use crate::ledger::{Change, Context, JobId, JobState, JobView, Law, Ledger, LedgerError, Reader, rfc3339};
use crate::profile::Line;
use crate::report::certificate::{Certificate, KEY_MISSING};

const DAY: Duration = Duration::from_secs(86_400);
/// Bytes overwritten at a time.
const BLOCK: usize = 1 << 20;
/// The last of a job's papers.
const CERTIFICATE: &str = "certificate.json";
/// Why the daemon deletes.
pub(super) const RETENTION: &str = "retention";

/// Deletes the cardholder data of a closed job; says where the certificate is.
pub(super) fn delete(
    ledger: &Ledger,
    job: JobId,
    by: Context,
    connect: &dyn Fn() -> Result<Client, Failure>,
    directory: Option<&Path>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let reader = ledger.reader()?;
    let view = reader.job(job)?;
    if view.state != JobState::Closed {
        return Err(LedgerError::Denied { job, seq: None, law: Law::NotClosed }.into());
    }
    let directory = directory.map_or_else(|| unasked(ledger.path()), Path::to_owned);
    let mut hsm = connect()?;
    if !view.deleted {
        readable(&view, &mut hsm)?;
        papers(&reader, &view, connect, &mut hsm, &directory, out)?;
        let what = match view.spool_key {
            Some(key) => format!("{}, spool removed", destroyed(key, &mut hsm)?),
            None => "spool overwritten and removed".to_owned(),
        };
        remove(&view)?;
        ledger.record(job, Change::Deleted, Context { detail: Some(what), ..by }).wait()?;
    }
    let certificate = Certificate::build(&reader, job)?;
    let mut papers = Papers::new(job, reader.id()?, &directory, &mut hsm)?;
    let path = papers.keep(CERTIFICATE, Document::Certificate, &mut |out| {
        serde_json::to_writer_pretty(out, &certificate)
            .map_err(|e| Failure::new(Exit::Io, format!("certificate: {e}")))
    })?;
    let done = if view.deleted { "were deleted before" } else { "are deleted" };
    let said = writeln!(out, "{job}: its cardholder data {done}; certificate: {}", path.display());
    said.map_err(|e| Failure::new(Exit::Io, e.to_string()))
}

/// Keys that cannot be read now are not lost, and with them the papers tell more: nothing is done before they can be.
fn readable(view: &JobView, hsm: &mut Client) -> Result<(), Failure> {
    let Some(key) = view.spool_key else { return Ok(()) };
    // Of no pieces: the key alone is looked for.
    match hsm.unseal(key, 0, &[]) {
        Ok(_) | Err(HsmError::NoSpoolKey(..) | HsmError::SpoolKeyDestroyed(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Ends a spool's key; says what became of it. One that is not there is as good as destroyed, and is told as what it is.
fn destroyed(key: SpoolKeyName, hsm: &mut Client) -> Result<String, Failure> {
    match hsm.destroy_spool(key) {
        Ok(()) => Ok(format!("spool key {key} destroyed")),
        Err(error @ HsmError::NoSpoolKey(..)) => {
            tracing::warn!(%error, "the spool is deleted without it");
            Ok(format!("spool key {key} {KEY_MISSING}"))
        }
        Err(error) => Err(error.into()),
    }
}

/// The return file tells the issuer what the spool says of each record, so it is written while the spool can be read.
fn papers(
    reader: &Reader,
    view: &JobView,
    connect: &dyn Fn() -> Result<Client, Failure>,
    signer: &mut Client,
    directory: &Path,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let mut papers = Papers::new(view.job, reader.id()?, directory, signer)?;
    if papers.are_there() {
        return Ok(());
    }
    let spool = match spool_of(view, Box::new(connect()?)) {
        Ok(spool) => Some(spool),
        Err(failure) if failure.exit == Exit::Io && Path::new(&view.spool).exists() => return Err(failure),
        Err(failure) => {
            // It is to be deleted, whatever is wrong with it; an earlier try may have come that far.
            tracing::warn!(job = %view.job, %failure, "the papers are written without what the spool says");
            None
        }
    };
    papers.write(reader, spool, false, out)
}

/// Removes the spool; one that lies there in the clear is overwritten before.
fn remove(view: &JobView) -> Result<(), Failure> {
    let path = Path::new(&view.spool);
    let failed = |e: std::io::Error| {
        Failure::new(Exit::Io, format!("us: {}: spool {} cannot be removed: {e}", view.job, path.display()))
    };
    if view.spool_key.is_none() {
        match OpenOptions::new().write(true).open(path) {
            Ok(file) => overwrite(file).map_err(failed)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
    }
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

fn overwrite(mut file: File) -> std::io::Result<()> {
    let mut left = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    let zeros = vec![0; BLOCK];
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
        file.write_all(zeros.get(..now).unwrap_or_default())?;
        left -= u64::try_from(now).unwrap_or(left);
    }
    file.sync_all()
}

/// Where papers go that nobody asked for.
fn unasked(ledger: &Path) -> PathBuf {
    beside(ledger, ".papers")
}

/// Jobs of a line whose data have been kept for as long as its profile says, and since when they are due; also one whose
/// deletion for that reason was cut short before its certificate.
pub(super) fn due(ledger: &Ledger, line: &Line) -> Result<Vec<(JobId, String)>, Failure> {
    let reader = ledger.reader()?;
    let directory = unasked(ledger.path());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let kept = DAY.saturating_mul(line.retention_days);
    let mut due = Vec::new();
    for view in reader.jobs()? {
        if view.state != JobState::Closed || view.line != line.name {
            continue;
        }
        if view.deleted {
            let by_us =
                reader.told(view.job, "DELETED")?.is_some_and(|e| e.reason.as_deref() == Some(RETENTION));
            if !by_us || paper(&directory, view.job, CERTIFICATE).exists() {
                continue;
            }
        }
        let Some(closed) = reader.told(view.job, "CLOSED")? else { continue };
        let since = Duration::from_millis(closed.ts).saturating_add(kept);
        if view.deleted || since <= now {
            let since = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
            due.push((view.job, rfc3339(since)));
        }
    }
    Ok(due)
}
