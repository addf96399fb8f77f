//! Views of a ledger: every request that only shows something.
//!
//! Not here: proofs (`ledger_proof`), the answers of cards (`survey`).

use std::path::Path;

use super::outcome::{Outcome, ShownCards};
use super::refusal::Refusal;
use crate::exit::Exit;
use crate::ids::JobId;
use crate::ledger::{LedgerError, Reader};
use crate::report::events::EventLine;
use crate::report::{ReportPaths, Summary};
use crate::request::{Action, Records};

/// Events in a page. Short reads let the writer checkpoint.
const PAGE: u32 = 1000;

/// Carries out an action that only shows something of the ledger at `path`. Returns `None` for any other
/// action.
pub fn show(reader: &Reader, path: &Path, action: &Action) -> Result<Option<Outcome>, Refusal> {
    Ok(Some(match action {
        Action::ListJobs {} => Outcome::Jobs(reader.jobs()?),
        Action::ShowJob { job } => Outcome::Job(Box::new(reader.job(*job)?)),
        Action::ReportJob { job } => report(reader, path, *job)?,
        Action::ShowCards { job, records } => cards(reader, *job, records)?,
        Action::ReadLog { job, after } => {
            job.map(|job| reader.job(job)).transpose()?;
            Outcome::Log(reader.events(*job, *after, PAGE)?.iter().map(EventLine::from).collect())
        }
        Action::ShowStock { job, shift } => stock(reader, *job, shift.as_deref())?,
        _ => return Ok(None),
    }))
}

/// The report of a job, without the figures of a run.
pub fn report(reader: &Reader, path: &Path, job: JobId) -> Result<Outcome, Refusal> {
    let places = ReportPaths { ledger: path.to_owned(), ..ReportPaths::default() };
    Ok(Outcome::Report(Box::new(Summary::build(reader, job, None, places)?)))
}

fn cards(reader: &Reader, job: JobId, records: &Records) -> Result<Outcome, Refusal> {
    let view = reader.job(job)?;
    let sequences = match records.sequences(view.records) {
        Some(sequences) => sequences,
        None => reader.all(job)?,
    };
    let card = |seq| Ok::<_, LedgerError>(reader.card(job, seq)?.into());
    let cards = sequences.into_iter().map(card).collect::<Result<_, _>>()?;
    let one = matches!(records, Records::One(_));
    Ok(Outcome::Cards(Box::new(ShownCards { job: view, one, cards })))
}

fn stock(reader: &Reader, job: Option<JobId>, shift: Option<&str>) -> Result<Outcome, Refusal> {
    let jobs = match job {
        Some(job) => vec![reader.stock(job)?],
        None => reader.stocks()?,
    };
    let view = reader.shift(shift, job)?;
    if let (None, Some(name)) = (&view, shift) {
        let what = format!("operator: there was no shift {name:?}; the log's events SHIFT have the names");
        return Err(Refusal::fault(Exit::NotFound, what));
    }
    Ok(Outcome::Stock { jobs, shift: view })
}
