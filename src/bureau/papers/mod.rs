//! The signed papers of a closed job: report, return file and certificate of deletion, each with its seal.
//!
//! ```text
//! content   writes text and seal of a paper into open files
//! folder    a folder of papers: a paper appears whole and after its seal, or not at all
//! ```
//!
//! Not here: the content of a report or certificate (`report`), whether a paper is genuine (`report::seal`).

pub mod content;
pub mod folder;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::refusal::{Refusal, Senseless};
use super::run_job::proven;
use super::spool_folder::spool_of;
use crate::audit::LedgerId;
use crate::exit::Exit;
use crate::hsm::Hsm;
use crate::hsm::client::HsmClient;
use crate::hsm::key_host::Connect;
use crate::ids::JobId;
use crate::laws::JobState;
use crate::ledger::{JobMark, Reader};
use crate::record::Spool;
use crate::report::closeout::{AS_ACCEPTED, CloseOut};
use crate::report::seal::{Ours, Whose};
use crate::request::PaperName;
use content::{PaperSigner, Text, each_paper};
use folder::PaperFolder;

/// How long papers wait for the signature of the closing: it is made within a second if the HSM answers.
const SIGNED_TIME: Duration = Duration::from_secs(5);

/// The papers of a job in a folder.
pub struct JobPapers<'a> {
    job: JobId,
    folder: PaperFolder,
    signer: PaperSigner<'a>,
}

/// The papers of a job that already exist.
pub struct PapersThere {
    /// Whether all of them are there.
    pub all: bool,
    /// The return file, if it says that it has no fulfilment data.
    pub without_fulfilment: Option<PathBuf>,
}

/// Writes the papers of a closed job into a folder that holds none of them. Returns their paths.
pub fn write(
    reader: &Reader,
    job: JobId,
    connect: Connect<'_>,
    folder: &Path,
) -> Result<Vec<PathBuf>, Refusal> {
    let spool = spool_of_closed(reader, job, connect)?;
    let mut hsm = connect()?;
    JobPapers::new(job, reader.id()?, folder, &mut hsm)?.write(reader, spool, true)
}

/// Writes the papers of a closed job into open files: the text and the seal of each of
/// [`PaperName::OF_CLOSED`] in turn.
pub fn write_into(reader: &Reader, job: JobId, connect: Connect<'_>, files: &[File]) -> Result<(), Refusal> {
    let needed = 2 * PaperName::OF_CLOSED.len();
    if files.len() != needed {
        return Err(Refusal::Senseless(Senseless::Files(files.len(), needed)));
    }
    let mut spool = spool_of_closed(reader, job, connect)?;
    let mut hsm = connect()?;
    let close_out = CloseOut::build(reader, job, spool.is_some(), &hsm.info()?)?;
    let mut signer = PaperSigner::new(&mut hsm, reader.id()?, job)?;
    let mut pairs = files.chunks_exact(2);
    let ledger = signer.ledger;
    each_paper(reader, &close_out, ledger, &mut spool, |name, text| match pairs.next() {
        Some([paper, seal]) => signer.write(name, text, name.file_name(), (paper, seal)),
        _ => Err(Refusal::Senseless(Senseless::Files(files.len(), needed))),
    })
}

/// The spool of a job that may have papers; `None` if its data are deleted.
fn spool_of_closed(reader: &Reader, job: JobId, connect: Connect<'_>) -> Result<Option<Spool>, Refusal> {
    let view = reader.job(job)?;
    if view.state != JobState::Closed {
        return Err(Refusal::NoPapersYet { job, state: view.state });
    }
    proven(reader, job)?;
    signed(reader, job, JobMark::Closed)?;
    if view.deleted { Ok(None) } else { spool_of(&view, Box::new(connect()?)).map(Some) }
}

/// Waits until the closing of a job, or the beginning or the end of its deletion, is signed: papers say what the HSM has signed, and no more,
/// and it destroys the key of a spool when it is shown DELETING.
pub(super) fn signed(reader: &Reader, job: JobId, mark: JobMark) -> Result<(), Refusal> {
    let until = Instant::now() + SIGNED_TIME;
    while !reader.is_signed(job, mark)? {
        if Instant::now() >= until {
            let what = format!(
                "HSM: {job} is closed, but the HSM has not signed the event, and papers and a deletion need that signature: look \
                 for the reason in the log"
            );
            return Err(Refusal::fault(Exit::Hsm, what));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

impl<'a> JobPapers<'a> {
    /// The papers of a job in this folder.
    pub fn new(job: JobId, ledger: LedgerId, folder: &Path, hsm: &'a mut HsmClient) -> Result<Self, Refusal> {
        Ok(Self { job, folder: PaperFolder::open(folder)?, signer: PaperSigner::new(hsm, ledger, job)? })
    }

    /// The folder.
    pub fn folder(&self) -> &PaperFolder {
        &self.folder
    }

    /// Writes report and return file. Returns their paths. Without a spool the return file has no fulfilment
    /// data, and says so. If all must be `new`, existing papers are an error. Otherwise those of this job are
    /// left alone, and other files are an error.
    pub fn write(
        &mut self,
        reader: &Reader,
        mut spool: Option<Spool>,
        new: bool,
    ) -> Result<Vec<PathBuf>, Refusal> {
        let names = PaperName::OF_CLOSED;
        let close_out = CloseOut::build(reader, self.job, spool.is_some(), &self.signer.hsm.info()?)?;
        if new {
            self.folder.must_be_new(self.job, &names)?;
        }
        let (mut paths, ledger) = (Vec::new(), self.signer.ledger);
        let written = each_paper(reader, &close_out, ledger, &mut spool, |name, text| {
            paths.push(self.keep(name, text)?);
            Ok(())
        });
        if new && written.is_err() {
            // All papers appear, or none does.
            self.folder.remove(self.job, &names);
        }
        written.map(|()| paths)
    }

    /// Returns the papers that exist. Any other file in their places is an error.
    pub fn there(&self) -> Result<PapersThere, Refusal> {
        let mut there = PapersThere { all: true, without_fulfilment: None };
        for name in PaperName::OF_CLOSED {
            match self.look(name)? {
                None => there.all = false,
                Some(Ours { fulfilment_data: Some(data) })
                    if name == PaperName::ReturnFile && data != AS_ACCEPTED =>
                {
                    there.without_fulfilment = Some(self.folder.place(self.job, name));
                }
                Some(_) => {}
            }
        }
        Ok(there)
    }

    fn look(&self, name: PaperName) -> Result<Option<Ours>, Refusal> {
        let whose = Whose { job: self.job, ledger: Some(self.signer.ledger), key: Some(self.signer.key) };
        Ok(self.folder.look(name, whose)?)
    }

    /// Writes one paper, unless this job's paper already exists. Returns its path.
    pub fn keep(&mut self, name: PaperName, text: Text<'_>) -> Result<PathBuf, Refusal> {
        if self.look(name)?.is_some() {
            return Ok(self.folder.place(self.job, name));
        }
        let begun = self.folder.begin(self.job, name)?;
        let shown = self.folder.place(self.job, name).display().to_string();
        self.signer.write(name, text, &shown, (&begun.text, &begun.seal))?;
        Ok(self.folder.publish(begun)?)
    }
}
