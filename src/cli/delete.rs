//! The end of a job's cardholder data: `cardwright job delete J`, and what the daemon deletes when it is due.
//!
//! ```text
//! tables proven, places looked at → papers that are missing → DELETING in the ledger → key destroyed → spool removed
//!     → DELETED in the ledger → certificate
//! ```
//!
//! Whatever can be refused is refused before the key is destroyed: tables that somebody changed, a spool outside of the
//! ledger's own folder, papers of something else in the places of this job's. A spool or key that was lost keeps nobody from
//! asking, but the daemon from deleting by itself.
//!
//! Each step is durable before the next begins and does no harm when it is done again, so that whoever asks again after a
//! crash comes to the end.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::fcntl::OFlag;

use super::papers::seal::{Whose, look};
use super::papers::{Papers, paper};
use super::shop::{proven, spool_directory, spool_of};
use crate::audit::Document;
use crate::beside::beside;
use crate::exit::{Exit, Failure};
use crate::hsm::client::Client;
use crate::hsm::{HsmError, Vault};
use crate::ids::SpoolKeyName;
use crate::ledger::{
    Change, Context, DataFate, JobId, JobMark, JobState, JobView, KeyFate, Law, Ledger, LedgerError, Reader,
    SpoolFate, rfc3339,
};
use crate::profile::Line;
use crate::reason::ReasonWord;
use crate::report::certificate::{Certificate, KEY_MISSING, SPOOL_MISSING};

const DAY: Duration = Duration::from_secs(86_400);
/// Bytes overwritten at a time.
const BLOCK: usize = 1 << 20;
/// The last of a job's papers.
const CERTIFICATE: &str = "certificate.json";

/// What there is of the key of a spool.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    /// The spool lies in the clear.
    None,
    There,
    /// Nobody knows of it.
    Missing,
    /// An earlier try destroyed it.
    Destroyed,
}

/// Deletes the cardholder data of a closed job; says where the certificate is, and what was lost before.
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
    proven(&reader, job)?;
    let directory = directory.map_or_else(|| unasked(ledger.path()), Path::to_owned);
    let (mut vault, mut signer) = (connect()?, connect()?);
    let mut papers;
    if view.deleted {
        papers = Papers::new(job, reader.id()?, &directory, &mut signer)?;
    } else {
        let spool = own_spool(&reader, ledger.path(), &view)?;
        let view = JobView { spool: spool.display().to_string(), ..view.clone() };
        let key = key_of(&view, &mut vault)?;
        let person = by.reason != Some(ReasonWord::Retention);
        papers = Papers::new(job, reader.id()?, &directory, &mut signer)?;
        papers.nothing_yet(CERTIFICATE)?;
        let unreadable = write_missing(&reader, (&view, key), &mut papers, person, connect, out)?;
        let unreadable = unreadable && key == Key::There && Path::new(&view.spool).exists();
        // In the ledger before the key goes. A try that was cut short has said so already.
        if !view.deleting {
            ledger.record(job, Change::Deleting, by.clone()).wait()?;
        }
        let key = match view.spool_key {
            Some(key) => destroyed((job, key), &mut vault, out)?,
            None => KeyFate::NoKey,
        };
        let spool = match (remove(&view)?, view.spool_key) {
            (true, Some(_)) => SpoolFate::Removed,
            (true, None) => SpoolFate::Overwritten,
            (false, _) => {
                tell(out, &format!("{job}: its {SPOOL_MISSING}: {}", spool.display()));
                SpoolFate::Missing
            }
        };
        let fate = DataFate { key, spool, unreadable };
        ledger.record(job, Change::Deleted(fate), by).wait()?;
    }
    let certificate = Certificate::build(&reader, job)?;
    let path = papers.keep(CERTIFICATE, Document::Certificate, &mut |out| {
        serde_json::to_writer_pretty(out, &certificate)
            .map_err(|e| Failure::new(Exit::Io, format!("certificate: {e}")))
    })?;
    let done = if view.deleted { "were deleted before" } else { "are deleted" };
    say(out, &format!("{job}: its cardholder data {done}; certificate: {}", path.display()))
}

fn say(out: &mut dyn Write, what: &str) -> Result<(), Failure> {
    writeln!(out, "{what}").map_err(|e| Failure::new(Exit::Io, e.to_string()))
}

/// Between two steps: whoever does not listen any more does not keep the next one from coming.
fn tell(out: &mut dyn Write, what: &str) {
    if let Err(error) = writeln!(out, "{what}") {
        tracing::debug!(%error, "nobody listens");
    }
}

/// Where a job's spool lies: directly in the ledger's own folder, whatever else somebody wrote into its row. Of a ledger that
/// was moved with its folder it is looked for there. One that is nowhere is missing, which is no error.
fn own_spool(reader: &Reader, ledger: &Path, view: &JobView) -> Result<PathBuf, Failure> {
    let job = view.job;
    let named = Path::new(&view.spool);
    let failed = |path: &Path, e: std::io::Error| {
        Failure::new(Exit::Io, format!("us: {job}: {}: {e}", path.display()))
    };
    let folder = spool_directory(ledger)
        .ok_or_else(|| Failure::new(Exit::Io, "the ledger's path cannot be resolved"))?;
    let refused = |what: &str| {
        let what = format!(
            "operator: {job}: the ledger names {} as its spool, {what}; nothing was deleted; see `cardwright audit verify`, and \
             restore the ledger; if it was renamed, move its spools into {}",
            named.display(),
            folder.display()
        );
        Failure::new(Exit::Ledger, what)
    };
    let Some(name) = named.file_name().filter(|_| named.is_absolute()) else {
        return Err(refused("which is the path of no file"));
    };
    let mut others = reader.jobs()?.into_iter().filter(|other| other.job != job && !other.deleted);
    if let Some(other) = others.find(|other| Path::new(&other.spool).file_name() == Some(name)) {
        return Err(refused(&format!("and {} as well", other.job)));
    }
    let own = match folder.canonicalize() {
        Ok(own) => Some(own),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(failed(&folder, error)),
    };
    let there = match named.symlink_metadata() {
        Ok(_) => true,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => false,
        Err(error) => return Err(failed(named, error)),
    };
    if there {
        let parent = named.parent().unwrap_or(Path::new("/"));
        let parent = parent.canonicalize().map_err(|e| failed(parent, e))?;
        if own.as_ref() != Some(&parent) {
            return Err(refused("which does not lie in the folder of its spools"));
        }
    }
    let path = own.as_ref().unwrap_or(&folder).join(name);
    if path.symlink_metadata().is_ok_and(|about| about.is_symlink()) {
        return Err(refused("where a symbolic link lies"));
    }
    Ok(path)
}

/// What there is of a spool's key. Keys that cannot be read now are not lost, and with them the papers tell more: nothing is
/// done before they can be.
fn key_of(view: &JobView, hsm: &mut Client) -> Result<Key, Failure> {
    let Some(key) = view.spool_key else { return Ok(Key::None) };
    // Of no pieces: the key alone is looked for.
    match hsm.unseal(key, 0, &[]) {
        Ok(_) => Ok(Key::There),
        Err(HsmError::NoSpoolKey(..)) => Ok(Key::Missing),
        Err(HsmError::SpoolKeyDestroyed(_)) => Ok(Key::Destroyed),
        Err(error) => Err(error.into()),
    }
}

/// Ends a spool's key; says what became of it. One that is not there is as good as destroyed, and is told as what it is.
fn destroyed(
    (job, key): (JobId, SpoolKeyName),
    hsm: &mut Client,
    out: &mut dyn Write,
) -> Result<KeyFate, Failure> {
    match hsm.destroy_spool(key) {
        Ok(()) => Ok(KeyFate::Destroyed),
        Err(error @ HsmError::NoSpoolKey(..)) => {
            tracing::warn!(%error, "the spool is deleted without it");
            tell(
                out,
                &format!("{job}: its spool key {key} {KEY_MISSING}, so nothing was destroyed there: {error}"),
            );
            Ok(KeyFate::Missing)
        }
        Err(error) => Err(error.into()),
    }
}

/// The return file tells the issuer what the spool says of each record, so it is written while the spool can be read. Where it
/// cannot, a person may go on, and nobody else. Gives whether it could not be read now.
fn write_missing(
    reader: &Reader,
    (view, key): (&JobView, Key),
    papers: &mut Papers<'_>,
    person: bool,
    connect: &dyn Fn() -> Result<Client, Failure>,
    out: &mut dyn Write,
) -> Result<bool, Failure> {
    let job = view.job;
    let there = papers.there()?;
    let told = there.without_fulfilment.is_none();
    // An earlier try came as far as the key, or to where a spool in the clear is overwritten.
    if there.all && (key == Key::Destroyed || told && (person || key == Key::None)) {
        return Ok(false);
    }
    let spool = match spool_of(view, Box::new(connect()?)) {
        Ok(spool) => Some(spool),
        Err(Failure { exit, message }) if !person => {
            let what = format!(
                "{message}; nothing is deleted by itself whose spool or key cannot be read: put it back, or a supervisor has it \
                 deleted as it is: cardwright job delete {job}"
            );
            return Err(Failure::new(exit, what));
        }
        Err(failure) if failure.exit == Exit::Io && Path::new(&view.spool).exists() => return Err(failure),
        Err(failure) => {
            // It is to be deleted, whatever is wrong with it.
            tracing::warn!(%job, %failure, "the papers are written without what the spool says");
            say(
                out,
                &format!(
                    "{job}: its return file has no fulfilment data, for its spool cannot be read: {failure}"
                ),
            )?;
            None
        }
    };
    if let (Some(paper), Some(_)) = (there.without_fulfilment, &spool) {
        let what = format!(
            "operator: {} says that the fulfilment data could not be read, and now they can; move it away with its .sig, and it \
             is written anew",
            paper.display()
        );
        return Err(Failure::new(Exit::Io, what));
    }
    let unreadable = spool.is_none();
    if !there.all {
        papers.write(reader, spool, false, out)?;
    }
    Ok(unreadable)
}

/// Removes the spool, if there is one; one that lies there in the clear is overwritten before.
fn remove(view: &JobView) -> Result<bool, Failure> {
    let path = Path::new(&view.spool);
    let failed = |e: std::io::Error| {
        Failure::new(Exit::Io, format!("us: {}: spool {} cannot be removed: {e}", view.job, path.display()))
    };
    if view.spool_key.is_none() {
        match OpenOptions::new().write(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(path) {
            Ok(file) => overwrite(file).map_err(failed)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
    }
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed(error)),
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    Ok(true)
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
            let by_us = reader
                .last_mark(view.job, JobMark::Deleted)?
                .is_some_and(|event| event.context.reason == Some(ReasonWord::Retention));
            let whose = Whose { job: view.job, ledger: reader.id()?, key: None };
            let path = paper(&directory, view.job, CERTIFICATE);
            if !by_us || matches!(look(&path, Document::Certificate, whose), Ok(Some(_))) {
                continue;
            }
        }
        let Some(closed) = reader.last_mark(view.job, JobMark::Closed)? else { continue };
        let since = Duration::from_millis(closed.ts).saturating_add(kept);
        if view.deleted || since <= now {
            let since = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
            due.push((view.job, rfc3339(since)));
        }
    }
    Ok(due)
}
