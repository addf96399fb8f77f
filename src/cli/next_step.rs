//! The command that helps: every "cardwright ..." in a message is spelled here, derived from a typed refusal
//! or outcome.
//!
//! Not here: the texts of refusals (`bureau::refusal`, `ledger`).

use crate::bureau::Refusal;
use crate::bureau::refusal::Denial;
use crate::exit::Failure;
use crate::ids::JobId;
use crate::ledger::{AttemptState, JobState, Law, LedgerError, RecordState};
use crate::report::Summary;
use crate::request::CardDecision;

/// Ends a command with a refusal: its text, and the command that helps if there is one.
pub fn spelled(refusal: &Refusal) -> Failure {
    let message = match after_refusal(refusal) {
        Some(next) => format!("{refusal}; next: {next}"),
        None => refusal.to_string(),
    };
    Failure::new(refusal.exit(), message)
}

/// A person's next step after a refusal. `None` if the refusal's text has it, or if only the program can be
/// at fault.
fn after_refusal(refusal: &Refusal) -> Option<String> {
    match refusal {
        Refusal::Denied { job: Some(job), record: Some(record), why } => {
            after_denied_card(*job, *record, *why)
        }
        Refusal::Ledger(error) => after_ledger_error(error),
        Refusal::FileSeen { job, open: true, line } => {
            Some(format!("cardwright job resume {job} --line {line}, or cardwright job show {job}"))
        }
        Refusal::FileSeen { job, open: false, .. } => Some(format!("cardwright job report {job}")),
        Refusal::TablesEdited { .. } | Refusal::ForeignSpool { .. } => {
            Some("cardwright audit verify".to_owned())
        }
        Refusal::SpoolUnreadable { job, .. } => Some(format!("cardwright job delete {job}")),
        Refusal::OtherLine { line, .. } => Some(format!("go on with --line {line}")),
        Refusal::NoPapersYet { job, .. } => Some(format!("cardwright job report {job}")),
        Refusal::StockNotIssued { job } => Some(format!("cardwright stock issue {job} N")),
        Refusal::OnlyDaemon => Some("name it by --socket or CARDWRIGHT_SOCKET".to_owned()),
        Refusal::Denied { .. }
        | Refusal::NotAllowed { .. }
        | Refusal::SecondPerson { .. }
        | Refusal::NoSuchLine { .. }
        | Refusal::NotInHopper { .. }
        | Refusal::Senseless(_)
        | Refusal::Fault(_) => None,
    }
}

fn after_denied_card(job: JobId, record: u32, why: Denial) -> Option<String> {
    match why {
        Denial::NoCard => Some(format!("to give the record up: cardwright card cancel {job} {record}")),
        Denial::Stacked => Some(format!("cardwright card sample {job} {record}")),
        Denial::CardUnknown => Some(format!("cardwright card resolve {job} {record}")),
        _ => None,
    }
}

fn after_ledger_error(error: &LedgerError) -> Option<String> {
    match error {
        LedgerError::Denied { job, seq, law } => after_law(law, *job, *seq),
        LedgerError::Seen { job, open: true } => {
            Some(format!("cardwright job show {job}, then cardwright job resume {job}"))
        }
        LedgerError::Seen { job, open: false } => Some(format!("cardwright job report {job}")),
        LedgerError::Shift(_) => Some("cardwright stock show".to_owned()),
        LedgerError::NoJob(_) => Some("cardwright job list".to_owned()),
        LedgerError::Damaged(_) => Some("cardwright audit verify".to_owned()),
        _ => None,
    }
}

/// A person's next step with a job; `None` if it is CLOSED.
pub fn after_report(summary: &Summary) -> Option<String> {
    let job = summary.job.job;
    match summary.stands_against() {
        Some(law) => after_law(&law, job, None),
        None if summary.job.state == JobState::Closed => None,
        None => Some(format!("cardwright job close {job}")),
    }
}

/// A person's next step after a decision about cards.
pub fn after_decision(decision: CardDecision, job: JobId) -> String {
    match decision {
        CardDecision::Remake => format!("cardwright job resume {job}"),
        CardDecision::Sample => {
            format!("when it was looked at: cardwright card resolve {job} SEQ --destroyed")
        }
        CardDecision::Destroyed => {
            format!("cardwright card remake {job} all (or card cancel), then cardwright job resume {job}")
        }
        CardDecision::FoundGood | CardDecision::Cancel => format!("cardwright job report {job}"),
    }
}

/// A person's next step instead of one that a law forbids. `None` if only the program can be at fault.
fn after_law(law: &Law, job: JobId, seq: Option<u32>) -> Option<String> {
    let card = |verb: &str| seq.map(|seq| format!("cardwright card {verb} {job} {seq}"));
    match law {
        Law::NotClosed => Some(format!("cardwright job close {job}")),
        Law::NoRecord | Law::JobClosed | Law::AlreadyDeleted | Law::AlreadyDeleting => {
            Some(format!("cardwright job show {job}"))
        }
        Law::JobHeld => Some(format!("cardwright job resume {job}")),
        Law::Record { is: RecordState::Unknown, .. }
        | Law::EarlierAttempt { is: AttemptState::Unknown, .. } => {
            seq.map(|seq| format!("cardwright card resolve {job} {seq} --destroyed (or --good)"))
        }
        Law::EarlierAttempt { .. } => {
            seq.map(|seq| format!("cardwright card resolve {job} {seq} --destroyed"))
        }
        Law::NotReleased => card("remake"),
        Law::AlreadyReleased => Some(format!("cardwright job resume {job}")),
        Law::Record { .. } | Law::Attempt { .. } | Law::NoAttempt => card("show"),
        Law::Closing { queued, in_flight, remake, unknown, rejects, blanks, hopper } => {
            Some(if *unknown > 0 {
                format!("cardwright card resolve {job} all --destroyed (or SEQ --good)")
            } else if *rejects > 0 {
                format!("cardwright card resolve {job} all --destroyed")
            } else if *remake > 0 {
                format!("cardwright card remake {job} all (or card cancel)")
            } else if *queued > 0 {
                format!("cardwright job resume {job} (or cardwright card cancel {job} all)")
            } else if *in_flight > 0 {
                format!("let the line finish; cardwright job show {job}")
            } else if *blanks > 0 || *hopper == 0 {
                format!("clear the line; cardwright job show {job}")
            } else if *hopper > 0 {
                format!("take them out of the hopper; cardwright stock return {job} {hopper}")
            } else {
                format!("find out who put them in; cardwright stock issue {job} {}", hopper.unsigned_abs())
            })
        }
        Law::UnderWay => Some(format!("let the line finish; cardwright job show {job}")),
        Law::StockLate | Law::NoStock | Law::NotInHopper { .. } | Law::NotGood { .. } => {
            Some(format!("cardwright stock show --job {job}"))
        }
        Law::RecordCount
        | Law::StockNumber
        | Law::ShiftName
        | Law::CardRefTwice(_)
        | Law::JobNotHeld
        | Law::BlankNumber { .. }
        | Law::BlankNotFree(_)
        | Law::ChipSeen(_)
        | Law::ChipKnown(_)
        | Law::ValueGiven
        | Law::NotDeleting
        | Law::NotWritable(_)
        | Law::Position { .. } => None,
    }
}
