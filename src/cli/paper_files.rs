//! Papers that a daemon writes into files which this program has opened. They lie where the person who asks
//! may write, and belong to that person.
//!
//! Not here: the text of papers (`bureau::papers`), how a paper appears in a folder
//! (`bureau::papers::folder`).

use std::fs::File;
use std::path::Path;

use super::remote;
use crate::bureau::papers::folder::{BegunPaper, PaperFolder};
use crate::bureau::{Outcome, Refusal};
use crate::exit::{Exit, Failure};
use crate::ids::JobId;
use crate::report::seal::Whose;
use crate::request::{Action, PaperName};

/// Has a daemon write the papers of a closed job into a folder that holds none of them.
pub(super) fn write(daemon: &Path, job: JobId, folder: &Path) -> Result<Outcome, Refusal> {
    // This request comes before the folder is made, because an open job has no papers.
    remote::ask(daemon, &Action::ShowJob { job }, &[])?;
    let names = PaperName::OF_CLOSED;
    let folder = PaperFolder::open(folder)?;
    folder.must_be_new(job, &names)?;
    let begun = begin(&folder, job, &names)?;
    match remote::ask(daemon, &Action::WritePapers { job }, &files_of(&begun)?) {
        Ok(_) => {
            let published = begun.into_iter().map(|paper| folder.publish(paper));
            Ok(Outcome::Papers(published.collect::<Result<_, Failure>>()?))
        }
        Err(refusal) => {
            folder.remove(job, &names);
            Err(refusal)
        }
    }
}

/// Has a daemon delete the cardholder data of a closed job. Copies of papers and certificate go into a
/// folder, if one is named; existing copies stay.
pub(super) fn delete(daemon: &Path, job: JobId, folder: Option<&Path>) -> Result<Outcome, Refusal> {
    let Some(folder) = folder else {
        return remote::ask(daemon, &Action::DeleteData { job, copies: Vec::new() }, &[]);
    };
    let folder = PaperFolder::open(folder)?;
    let mut copies = Vec::new();
    for name in PaperName::OF_CLOSED.into_iter().chain([PaperName::Certificate]) {
        // Only the daemon knows the ledger and the key. Here the paper must be genuine and belong to this job.
        if folder.look(name, Whose { job, ledger: None, key: None })?.is_none() {
            copies.push(name);
        }
    }
    let begun = begin(&folder, job, &copies)?;
    let action = Action::DeleteData { job, copies: copies.clone() };
    match remote::ask(daemon, &action, &files_of(&begun)?) {
        Ok(Outcome::Deleted(mut done)) => {
            for paper in begun {
                folder.publish(paper)?;
            }
            done.certificate = folder.place(job, PaperName::Certificate);
            Ok(Outcome::Deleted(done))
        }
        other => {
            folder.remove(job, &copies);
            other
        }
    }
}

fn begin(folder: &PaperFolder, job: JobId, names: &[PaperName]) -> Result<Vec<BegunPaper>, Refusal> {
    Ok(names.iter().map(|name| folder.begin(job, *name)).collect::<Result<_, Failure>>()?)
}

/// The files for text and seal of each paper in turn.
fn files_of(begun: &[BegunPaper]) -> Result<Vec<File>, Refusal> {
    let cloned = begun.iter().flat_map(|paper| [paper.text.try_clone(), paper.seal.try_clone()]);
    let cloned: std::io::Result<Vec<File>> = cloned.collect();
    cloned.map_err(|e| Refusal::fault(Exit::Io, format!("papers: {e}")))
}
