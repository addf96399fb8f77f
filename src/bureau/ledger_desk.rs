//! Actions that need a ledger but not its line: decisions, stock, closing, papers, deletion. They work while
//! no line runs and while one does.
//!
//! Not here: actions that need the line (`opening`), who may ask (`daemon`).

use std::fs::File;

use super::outcome::Outcome;
use super::refusal::{Refusal, Senseless};
use super::{cards, deletion, ledger_proof, papers, stock, views};
use crate::actor::Actor;
use crate::hsm::Auditor;
use crate::hsm::key_host::Connect;
use crate::laws::{Change, Context};
use crate::ledger::{JobMark, Ledger};
use crate::request::Action;

/// A ledger that is open for writing, and the way to its keys.
pub struct LedgerDesk<'a> {
    /// The ledger, open for writing.
    pub ledger: &'a Ledger,
    /// Opens connections to the HSM.
    pub connect: Connect<'a>,
}

impl LedgerDesk<'_> {
    /// Carries an action out in the name of `actor`. `files` came with the request.
    pub fn carry_out(&self, action: &Action, actor: &Actor, files: Vec<File>) -> Result<Outcome, Refusal> {
        let ledger = self.ledger;
        let reader = ledger.reader()?;
        if let Some(shown) = views::show(&reader, ledger.path(), action)? {
            return Ok(shown);
        }
        match action {
            Action::VerifyLedger { key, .. } => {
                let (mut hsm, id) = ((self.connect)()?, reader.id()?);
                let known = || hsm.audit(id);
                let mut verdict = ledger_proof::verify(&reader, Some(known), *key, |_| {})?;
                verdict.compare(&reader, files)?;
                Ok(Outcome::Verdict(verdict))
            }
            Action::ExportLedger {} => {
                let file = the_file(files)?;
                let mut out = std::io::BufWriter::new(file);
                let (events, checkpoints) = ledger_proof::export(&reader, &mut out)?;
                Ok(Outcome::Exported { events, checkpoints })
            }
            Action::CloseJob { job } => {
                ledger.record(*job, Change::Closed, Context::by(actor)).wait()?;
                papers::signed(&reader, *job, JobMark::Closed)?;
                views::report(&reader, ledger.path(), *job)
            }
            Action::WritePapers { job } => {
                papers::write_into(&reader, *job, self.connect, &files)?;
                Ok(Outcome::Papers(Vec::new()))
            }
            Action::DeleteData { job, copies } => {
                // Before anything is deleted: the copies could not be written afterwards.
                check_files(action, &files)?;
                let by = Context::by(actor);
                let done = deletion::delete(ledger, *job, by, self.connect, None)?;
                deletion::copy_papers(&done, copies, &files)?;
                Ok(Outcome::Deleted(done))
            }
            Action::DecideCards { job, records, decision } => {
                cards::decide(ledger, *job, records, *decision, actor)
            }
            Action::MoveStock { job, count, stock_move } => {
                stock::move_stock(ledger, *job, *stock_move, *count, actor)
            }
            Action::BeginShift { name } => stock::begin_shift(ledger, name, actor),
            // Views were shown above. Every other action needs a line that runs.
            _ => Err(Refusal::OnlyDaemon),
        }
    }
}

/// Refuses a number of files that the action does not need.
pub fn check_files(action: &Action, files: &[File]) -> Result<(), Refusal> {
    let (came, needed) = (files.len(), action.files());
    if came == needed { Ok(()) } else { Err(Refusal::Senseless(Senseless::Files(came, needed))) }
}

/// The only file that came with a request.
pub(super) fn the_file(files: Vec<File>) -> Result<File, Refusal> {
    match <[File; 1]>::try_from(files) {
        Ok([file]) => Ok(file),
        Err(files) => Err(Refusal::Senseless(Senseless::Files(files.len(), 1))),
    }
}
