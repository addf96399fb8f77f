//! Deletes a job's cardholder data: on a person's request, or by the daemon when the deletion is due.
//!
//! ```text
//! tables proven, places checked → missing papers written → DELETING in the ledger, shown to the HSM, which destroys the key
//!     → spool removed → DELETED in the ledger → certificate
//! ```
//!
//! Every reason to refuse is checked before the key is destroyed: tables that were edited, a spool outside of
//! the ledger's own folder, foreign papers in the places of this job's papers. If the spool or its key is
//! lost, a person can still have the data deleted, but the daemon does not do it by itself.
//!
//! Deletion is idempotent: each step is durable before the next begins, and can be repeated without harm.
//! After a crash, run it again: it completes, and writes a missing certificate.
//!
//! Not here: the texts of papers and certificate (`report`), when a deletion is due (`retention`).

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::outcome::Deletion;
use super::papers::folder::paper;
use super::papers::{JobPapers, signed};
use super::refusal::{FaultReport, Refusal};
use super::run_job::proven;
use super::spool_folder::{spool_directory, spool_of};
use crate::exit::{Exit, Failure};
use crate::hsm::client::HsmClient;
use crate::hsm::key_host::Connect;
use crate::hsm::{HsmError, Vault};
use crate::ids::JobId;
use crate::laws::{Change, Context, DataFate, JobState, KeyFate, Law, SpoolFate};
use crate::ledger::{JobMark, JobView, Ledger, LedgerError, Reader};
use crate::reason::ReasonWord;
use crate::report::certificate::Certificate;
use crate::report::seal::sealed;
use crate::request::PaperName;
use crate::sibling_path::sibling_path;

/// Bytes overwritten at a time.
const BLOCK: usize = 1 << 20;

/// The state of a spool's key.
#[derive(PartialEq, Eq)]
enum KeyFound {
    /// There is no key: the spool lies in the clear.
    None,
    There,
    /// The HSM host does not know the key: its error.
    Missing(HsmError),
    /// An earlier try destroyed it.
    Destroyed,
}

/// Deletes the cardholder data of a closed job. Papers and certificate go into `folder`, or into the ledger's
/// own folder.
pub fn delete(
    ledger: &Ledger,
    job: JobId,
    by: Context,
    connect: Connect<'_>,
    folder: Option<&Path>,
) -> Result<Deletion, Refusal> {
    let reader = ledger.reader()?;
    let view = reader.job(job)?;
    if view.state != JobState::Closed {
        return Err(LedgerError::Denied { job, seq: None, law: Law::NotClosed }.into());
    }
    proven(&reader, job)?;
    let folder = folder.map_or_else(|| own_papers(ledger.path()), Path::to_owned);
    let (mut vault, mut signer) = (connect()?, connect()?);
    let mut papers;
    let mut done = Deletion {
        job,
        before: view.deleted,
        papers: Vec::new(),
        unreadable: None,
        key_missing: None,
        spool_missing: None,
        certificate: PathBuf::new(),
    };
    if view.deleted {
        papers = JobPapers::new(job, reader.id()?, &folder, &mut signer)?;
    } else {
        let spool = own_spool(&reader, ledger.path(), &view)?;
        let view = JobView { spool: spool.display().to_string(), ..view };
        let key = key_of(&view, &mut vault)?;
        let person = by.reason != Some(ReasonWord::Retention);
        papers = JobPapers::new(job, reader.id()?, &folder, &mut signer)?;
        papers.folder().nothing_yet(job, PaperName::Certificate)?;
        // The papers are written now or never: the return file needs the spool's data of each record.
        write_missing(&reader, (&view, &key), &mut papers, person, connect, &mut done)?;
        let unreadable =
            done.unreadable.is_some() && key == KeyFound::There && Path::new(&view.spool).exists();
        // The HSM destroys the key when it is shown DELETING. A try that was cut short has recorded it already.
        if view.deleting {
            signed(&reader, job, JobMark::Deleting)?;
        } else {
            // Of a job of chain version 1, no earlier event names the key.
            let unsealed = reader.terms(job)?.is_none();
            let spool_key = view.spool_key.filter(|_| unsealed);
            ledger.record(job, Change::Deleting { spool_key }, by.clone()).wait()?;
        }
        let fate = DataFate { unreadable, ..end_data(&view, spool, &mut vault, &mut done)? };
        ledger.record(job, Change::Deleted(fate), by).wait()?;
    }
    signed(&reader, job, JobMark::Deleted)?;
    let certificate = Certificate::build(&reader, job)?;
    done.certificate = papers.keep(PaperName::Certificate, &mut |out| {
        let written = serde_json::to_writer_pretty(out, &certificate);
        Ok(written.map_err(|e| Failure::new(Exit::Io, format!("certificate: {e}")))?)
    })?;
    Ok(done)
}

/// Removes a spool whose key the HSM has destroyed. Returns the fate of both.
fn end_data(
    view: &JobView,
    spool: PathBuf,
    vault: &mut HsmClient,
    done: &mut Deletion,
) -> Result<DataFate, Refusal> {
    let key = fate_of(view, vault, done)?;
    let spool = match (remove(view)?, view.spool_key) {
        (true, Some(_)) => SpoolFate::Removed,
        (true, None) => SpoolFate::Overwritten,
        (false, _) => {
            done.spool_missing = Some(spool);
            SpoolFate::Missing
        }
    };
    Ok(DataFate { key, spool, unreadable: false })
}

/// Copies papers of a deletion into open files: the text and the seal of each in turn. Their number was
/// checked before the deletion.
pub fn copy_papers(done: &Deletion, copies: &[PaperName], files: &[File]) -> Result<(), Refusal> {
    let folder = done.certificate.parent().unwrap_or(Path::new("."));
    for (name, pair) in copies.iter().zip(files.chunks_exact(2)) {
        let text = paper(folder, done.job, *name);
        for (from, mut to) in [text.clone(), sealed(&text)].iter().zip(pair) {
            let copied = File::open(from).and_then(|mut from| std::io::copy(&mut from, &mut to));
            copied
                .and_then(|_| to.sync_all())
                .map_err(|e| Refusal::fault(Exit::Io, format!("papers: {}: {e}", from.display())))?;
        }
    }
    Ok(())
}

/// The path of a job's spool: always directly in the ledger's own folder, even if its row was edited to name
/// another place, so that no other file can be destroyed through the ledger. If the ledger was moved with its
/// folder, the spool is looked for there. A spool that is in neither place is missing, which is no error.
fn own_spool(reader: &Reader, ledger: &Path, view: &JobView) -> Result<PathBuf, Refusal> {
    let job = view.job;
    let named = Path::new(&view.spool);
    let failed = |path: &Path, e: std::io::Error| {
        Failure::new(Exit::Io, format!("us: {job}: {}: {e}", path.display()))
    };
    let folder = spool_directory(ledger)
        .ok_or_else(|| Failure::new(Exit::Io, "the ledger's path cannot be resolved"))?;
    let refused = |what: &str| Refusal::ForeignSpool {
        job,
        named: named.to_owned(),
        what: what.to_owned(),
        folder: folder.clone(),
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
        Err(error) => return Err(failed(&folder, error).into()),
    };
    let there = match named.symlink_metadata() {
        Ok(_) => true,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => false,
        Err(error) => return Err(failed(named, error).into()),
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

/// Checks whether a spool's key exists. Keys that cannot be read now are not lost, and the papers say more
/// with them. So that is an error, and the deletion goes no further until they can be read.
fn key_of(view: &JobView, hsm: &mut HsmClient) -> Result<KeyFound, Refusal> {
    let Some(key) = view.spool_key else { return Ok(KeyFound::None) };
    // An unseal of no pieces only looks for the key.
    match hsm.unseal(key, 0, &[]) {
        Ok(_) => Ok(KeyFound::There),
        Err(error @ HsmError::NoSpoolKey(..)) => Ok(KeyFound::Missing(error)),
        Err(HsmError::SpoolKeyDestroyed(_)) => Ok(KeyFound::Destroyed),
        Err(error) => Err(error.into()),
    }
}

/// The fate of a spool's key after DELETING. A missing key is as good as a destroyed one, but is reported as missing.
fn fate_of(view: &JobView, hsm: &mut HsmClient, done: &mut Deletion) -> Result<KeyFate, Refusal> {
    match key_of(view, hsm)? {
        KeyFound::None => Ok(KeyFate::NoKey),
        KeyFound::Destroyed => Ok(KeyFate::Destroyed),
        KeyFound::Missing(error) => {
            tracing::warn!(%error, "the spool is deleted without its key");
            done.key_missing = view.spool_key.map(|key| (key.to_string(), error.to_string()));
            Ok(KeyFate::Missing)
        }
        KeyFound::There => {
            let what =
                "HSM: it was shown that the deletion begins, and still has the key of the spool: try again";
            Err(Refusal::fault(Exit::Hsm, what.to_owned()))
        }
    }
}

/// Writes the missing papers while the spool can still be read, because the return file contains the spool's
/// data of each record. If the spool cannot be read, a person may go on and the daemon may not.
fn write_missing(
    reader: &Reader,
    (view, key): (&JobView, &KeyFound),
    papers: &mut JobPapers<'_>,
    person: bool,
    connect: Connect<'_>,
    done: &mut Deletion,
) -> Result<(), Refusal> {
    let job = view.job;
    let there = papers.there()?;
    let told = there.without_fulfilment.is_none();
    // An earlier try reached the destruction of the key, or the overwriting of a spool in the clear.
    if there.all && (*key == KeyFound::Destroyed || told && (person || *key == KeyFound::None)) {
        return Ok(());
    }
    let spool = match spool_of(view, Box::new(connect()?)) {
        Ok(spool) => Some(spool),
        Err(Refusal::Fault(fault)) if !person => return Err(Refusal::SpoolUnreadable { job, fault }),
        Err(Refusal::Fault(FaultReport { exit: Exit::Io, message })) if Path::new(&view.spool).exists() => {
            return Err(Refusal::fault(Exit::Io, message));
        }
        Err(Refusal::Fault(fault)) => {
            // The spool is to be deleted anyway, so a fault in it is no reason to stop.
            tracing::warn!(%job, fault = fault.message, "the papers are written without what the spool says");
            done.unreadable = Some(fault.message);
            None
        }
        Err(refusal) => return Err(refusal),
    };
    if let (Some(paper), Some(_)) = (there.without_fulfilment, &spool) {
        let what = format!(
            "operator: {} says that the fulfilment data could not be read, and now they can; move it away with its .sig, and it \
             is written anew",
            paper.display()
        );
        return Err(Refusal::fault(Exit::Io, what));
    }
    if !there.all {
        signed(reader, job, JobMark::Closed)?;
        done.papers = papers.write(reader, spool, false)?;
    }
    Ok(())
}

/// Removes the spool. A spool in the clear is overwritten first. Returns whether there was one.
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
    // The folder is synced too, so that a power cut does not bring the name back.
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

/// The folder for papers that were not requested by a person.
pub fn own_papers(ledger: &Path) -> PathBuf {
    sibling_path(ledger, ".papers")
}
