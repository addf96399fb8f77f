//! Outcomes as text and as JSON. Both are made from one value, so that they cannot contradict each other.
//!
//! Not here: refusals and the command that helps (`next_step`).

mod cards;
mod jobs;
mod stock;
mod survey;
mod verdict;

use std::io::Write;

use super::common::{Early, json};
use super::next_step::Desk;
use super::suggested::command;
use crate::bureau::Outcome;
use crate::exit::Exit;
use crate::report::counted;
use crate::report::events::EventLine;

/// Prints an outcome of a command that was carried out at `desk`. Returns the exit code of the command.
pub(super) fn show(outcome: &Outcome, as_json: bool, desk: Desk, out: &mut dyn Write) -> Result<Exit, Early> {
    match outcome {
        Outcome::Jobs(list) => jobs::list(list, as_json, out)?,
        Outcome::Job(job) => jobs::show(job, as_json, out)?,
        Outcome::Report(summary) => jobs::report(summary, as_json, desk, out)?,
        Outcome::Cards(shown) => cards::show(shown, as_json, out)?,
        Outcome::Log(events) | Outcome::Noted(events) => noted(events, as_json, out)?,
        Outcome::Verdict(verdict) => return verdict::show(verdict, as_json, out),
        Outcome::Exported { events, checkpoints } => {
            let (events, checkpoints) = (counted(*events, "event"), counted(*checkpoints, "checkpoint"));
            writeln!(out, "exported {events} and {checkpoints}")?;
        }
        Outcome::Accepted { job, seen_before: 0, .. } => {
            writeln!(out, "{job} accepted; next: {}", command(format!("job release {job}")))?;
        }
        Outcome::Accepted { job, seen_before, first_seen } => writeln!(
            out,
            "{job} accepted and held: {seen_before} of its card_refs were in an earlier file of the issuer (first: record \
             {}); a supervisor looks at them, then: {}",
            first_seen.unwrap_or_default(),
            command(format!("job release {job}"))
        )?,
        Outcome::Released(job) => {
            let show = command(format!("job show {job}"));
            writeln!(out, "{job} released; `{show}` says whether it runs")?;
        }
        Outcome::GoesOn(job) => writeln!(out, "{job} goes on: the hold is taken back")?,
        Outcome::Stopping(job) => {
            writeln!(out, "{job} stops; cards under way are finished, then it is HELD")?;
        }
        Outcome::Held(job) => writeln!(out, "{job} is HELD")?,
        Outcome::Decided(done) => return cards::decided(done, as_json, desk, out),
        Outcome::Killed { job, cards } => return cards::killed(*job, cards, out),
        Outcome::Surveyed(survey) => return survey::show(survey, as_json, out),
        Outcome::Stock { jobs, shift } => stock::show(jobs, shift.as_ref(), as_json, out)?,
        Outcome::StationProved { station, says } => writeln!(out, "{station}: {says}")?,
        Outcome::Papers(paths) => paths.iter().try_for_each(|path| writeln!(out, "{}", path.display()))?,
        Outcome::Deleted(done) => jobs::deleted(done, out)?,
        Outcome::NothingToDo { why, .. } => writeln!(out, "nothing to do: {why}")?,
    }
    Ok(Exit::Ok)
}

fn noted(events: &[EventLine], as_json: bool, out: &mut dyn Write) -> Result<(), Early> {
    if as_json {
        return json(out, &events);
    }
    Ok(events.iter().try_for_each(|event| writeln!(out, "{}", event.text()))?)
}
