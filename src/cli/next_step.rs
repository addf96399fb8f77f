//! The command that helps: every "cardwright ..." in a message is spelled here, derived from a typed refusal
//! or outcome.
//!
//! Not here: the texts of refusals (`bureau::refusal`, `ledger`).

use crate::bureau::Refusal;
use crate::bureau::outcome::CardDecisions;
use crate::bureau::refusal::Denial;
use crate::daemon::policy::is_persons_hold;
use crate::exit::Failure;
use crate::ids::JobId;
use crate::ledger::{AttemptState, JobPhase, Law, LedgerError, RecordState};
use crate::reason::ReasonWord;
use crate::report::Summary;
use crate::request::CardDecision;

/// Where a command is carried out. A daemon releases jobs, and grants a person what the person's role allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Desk {
    /// By a daemon.
    Daemon,
    /// In this process.
    Here,
}

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
        Refusal::Denied { job: Some(job), record: None, why: Denial::NotHeldByOperator } => {
            Some(format!("cardwright job release {job}"))
        }
        Refusal::Denied { job: Some(job), record: None, why: Denial::Stopping } => {
            Some(format!("cardwright job show {job}"))
        }
        Refusal::Denied { job: Some(job), record: None, why: Denial::CardsInLine } => {
            Some(ask_first(*job, None))
        }
        Refusal::Ledger(error) => after_ledger_error(error),
        Refusal::FileSeen { job, open: true, line } => {
            let here = format!("cardwright job resume {job} --line {line} --keys STORE");
            Some(format!("cardwright job show {job}; without a daemon: {here}"))
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
        Denial::CardUnknown => Some(ask_first(job, Some(record))),
        _ => None,
    }
}

fn after_ledger_error(error: &LedgerError) -> Option<String> {
    match error {
        // A refusal does not say how the job stands; its report does, and names the next step.
        LedgerError::Denied { job, seq, law } => {
            after_law(law, *job, *seq, || format!("cardwright job report {job}"))
        }
        LedgerError::Seen { job, open: true } => {
            Some(format!("cardwright job show {job}, then cardwright job resume {job}"))
        }
        LedgerError::Seen { job, open: false } | LedgerError::FileIdTaken { job, .. } => {
            Some(format!("cardwright job report {job}"))
        }
        LedgerError::Shift(_) => Some("cardwright stock show".to_owned()),
        LedgerError::NoJob(_) => Some("cardwright job list".to_owned()),
        LedgerError::Damaged(_) => Some("cardwright audit verify".to_owned()),
        _ => None,
    }
}

/// A person's next step with a job; `None` if it is CLOSED.
pub fn after_report(summary: &Summary, desk: Desk) -> Option<String> {
    let job = &summary.job;
    let go_on = || go_on(job.job, job.phase, job.held_for.as_ref(), desk);
    match (job.phase, summary.stands_against()) {
        (JobPhase::Closed, _) => None,
        (JobPhase::Stopping, _) => Some(go_on()),
        (_, Some(law)) => after_law(&law, job.job, None, go_on),
        (_, None) => Some(match desk {
            Desk::Daemon => format!("cardwright job close {}", job.job),
            Desk::Here => format!("cardwright job close {} --keys STORE", job.job),
        }),
    }
}

/// A person's next step after a decision about cards.
pub fn after_decision(done: &CardDecisions, desk: Desk) -> String {
    let job = done.job;
    let go_on = go_on(job, done.phase, done.held_for.as_ref(), desk);
    match done.decision {
        CardDecision::Remake => go_on,
        CardDecision::Sample => {
            format!("when it was looked at: cardwright card resolve {job} SEQ --destroyed")
        }
        CardDecision::Destroyed => {
            format!("cardwright card remake {job} all (or card cancel), then {go_on}")
        }
        CardDecision::FoundGood | CardDecision::Cancel => format!("cardwright job report {job}"),
    }
}

/// What to do with UNKNOWN cards: one that is GOOD must not be destroyed unseen, and one that is called destroyed must
/// not turn up later. `seq`: one card, or all of them.
fn ask_first(job: JobId, seq: Option<u32>) -> String {
    let (asked, each) =
        seq.map_or_else(|| ("all".into(), "SEQ".into()), |seq| (seq.to_string(), seq.to_string()));
    format!(
        "look for the card in the machine (cardwright card ask {job} {asked}), then cardwright card resolve {job} {each} --good, \
         or --destroyed once it is destroyed"
    )
}

/// A warning before the line is cleared for a job with UNKNOWN cards; `None` if there are none.
pub fn before_release(job: JobId, unknown: u64) -> Option<String> {
    (unknown > 0).then(|| {
        format!(
            "{job} has {unknown} UNKNOWN cards: one that lies in the line is thrown out as the line is cleared; {}",
            ask_first(job, None)
        )
    })
}

/// How a person goes on with a job: `resume` takes an operator's hold back, and a daemon lets only a
/// supervisor release a job that is HELD for another reason.
fn go_on(job: JobId, phase: JobPhase, held_for: Option<&ReasonWord>, desk: Desk) -> String {
    match (phase, desk) {
        (JobPhase::Stopping, _) => format!(
            "wait until the cards under way are finished: cardwright job show {job} (to take the hold back: cardwright \
             job resume {job})"
        ),
        (JobPhase::Held, Desk::Daemon) if !is_persons_hold(held_for) => {
            format!("a supervisor looks at it: cardwright job release {job}")
        }
        (_, Desk::Daemon) => format!("cardwright job resume {job}"),
        (_, Desk::Here) => format!("cardwright job resume {job} --line LINE --keys STORE"),
    }
}

/// A person's next step instead of one that a law forbids. `None` if only the program can be at fault.
/// `go_on` says how the job goes on.
fn after_law(law: &Law, job: JobId, seq: Option<u32>, go_on: impl Fn() -> String) -> Option<String> {
    let card = |verb: &str| seq.map(|seq| format!("cardwright card {verb} {job} {seq}"));
    match law {
        Law::NotClosed => Some(format!("cardwright job close {job}")),
        // How the job stands decides what comes next: it is shown there.
        Law::NoRecord
        | Law::JobClosed
        | Law::JobHeld
        | Law::AlreadyReleased
        | Law::AlreadyDeleted
        | Law::AlreadyDeleting => Some(format!("cardwright job show {job}")),
        Law::Record { is: RecordState::Unknown, .. }
        | Law::EarlierAttempt { is: AttemptState::Unknown, .. } => seq.map(|seq| ask_first(job, Some(seq))),
        Law::EarlierAttempt { .. } => {
            seq.map(|seq| format!("destroy the card, then cardwright card resolve {job} {seq} --destroyed"))
        }
        Law::NotReleased => card("remake"),
        Law::Record { .. } | Law::Attempt { .. } | Law::NoAttempt => card("show"),
        Law::Closing { queued, in_flight, remake, unknown, rejects, blanks, hopper } => {
            Some(if *unknown > 0 {
                ask_first(job, None)
            } else if *rejects > 0 {
                format!(
                    "destroy the cards that cardwright job report {job} lists, then for each: cardwright card resolve {job} SEQ \
                     --destroyed"
                )
            } else if *remake > 0 {
                format!("cardwright card remake {job} all (or card cancel)")
            } else if *queued > 0 {
                format!("{} (or cardwright card cancel {job} all)", go_on())
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a job that is HELD after a fault, `job resume` is refused by a daemon. Of one that is STOPPING, it
    /// takes the hold back.
    #[test]
    fn how_a_job_goes_on_follows_from_its_phase_and_its_hold() {
        let job = JobId(1);
        let next = |phase, held_for, desk| go_on(job, phase, held_for, desk);
        let here = "cardwright job resume J1 --line LINE --keys STORE";
        for held_for in &[ReasonWord::Line, ReasonWord::Restart, ReasonWord::CardRefSeen] {
            let daemons = next(JobPhase::Held, Some(held_for), Desk::Daemon);
            assert_eq!(daemons, "a supervisor looks at it: cardwright job release J1");
            assert_eq!(next(JobPhase::Held, Some(held_for), Desk::Here), here);
        }
        for (desk, resumed) in [(Desk::Daemon, "cardwright job resume J1"), (Desk::Here, here)] {
            for held_for in &[ReasonWord::Operator, ReasonWord::Submitted] {
                assert_eq!(next(JobPhase::Held, Some(held_for), desk), resumed);
            }
            assert_eq!(next(JobPhase::Open, None, desk), resumed);
            let stopping = next(JobPhase::Stopping, None, desk);
            assert!(stopping.starts_with("wait ") && stopping.contains("take the hold back"), "{stopping}");
        }
    }
}
