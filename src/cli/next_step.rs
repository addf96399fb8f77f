//! The command that helps: every "cardwright ..." in a message is chosen here, derived from a typed refusal
//! or outcome.
//!
//! Not here: the texts of refusals (`bureau::refusal`, `ledger`), the options of a command (`suggested`).

use super::suggested::{self, command, on_line};
use crate::bureau::Refusal;
use crate::bureau::outcome::CardDecisions;
use crate::bureau::refusal::Denial;
use crate::daemon::policy::is_persons_hold;
use crate::exit::Failure;
use crate::ids::JobId;
use crate::laws::{AttemptState, Law, RecordState};
use crate::ledger::{JobPhase, LedgerError, is_in_use};
use crate::reason::ReasonWord;
use crate::report::events::EventLine;
use crate::report::{Summary, counted};
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
        Refusal::Denied { job: Some(job), record: None, why } => after_denied_job(*job, *why),
        Refusal::Ledger(error) => after_ledger_error(error),
        Refusal::FileSeen { job, open: true, line } => {
            let here = on_line(format!("job resume {job}"), Some(line), false);
            let show = command(format!("job show {job}"));
            let simulated =
                if suggested::simulates() { "" } else { " (and --simulate if the job is SIMULATED)" };
            Some(format!("{show}; without a daemon: {here}{simulated}"))
        }
        Refusal::FileSeen { job, open: false, .. } => Some(command(format!("job report {job}"))),
        Refusal::TablesEdited { .. } | Refusal::ForeignSpool { .. } => Some(command("audit verify")),
        Refusal::SpoolUnreadable { job, .. } => Some(command(format!("job delete {job}"))),
        Refusal::OtherLine { line, .. } => Some(format!("go on with --line {line}")),
        Refusal::NoPapersYet { job, .. } => Some(command(format!("job report {job}"))),
        Refusal::StockNotIssued { job } => Some(command(format!("stock issue {job} N"))),
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

fn after_denied_job(job: JobId, why: Denial) -> Option<String> {
    Some(match why {
        Denial::NoJob => command("job list"),
        // The report says whether it can be closed, and if not, what stands against it.
        Denial::NotClosed => command(format!("job report {job}")),
        Denial::NotHeldByOperator => command(format!("job release {job}")),
        Denial::CardsInLine => ask_first(job, None),
        Denial::OnLine => command(format!("job hold {job}")),
        Denial::Stopping | Denial::Closed => command(format!("job show {job}")),
        _ => return None,
    })
}

fn after_denied_card(job: JobId, record: u32, why: Denial) -> Option<String> {
    let card = |verb: &str| command(format!("card {verb} {job} {record}"));
    match why {
        Denial::NoCard => Some(format!("to give the record up: {}", card("cancel"))),
        Denial::Stacked => Some(card("sample")),
        Denial::CardUnknown => Some(ask_first(job, Some(record))),
        Denial::Cancelled | Denial::LeavesLine => Some(card("show")),
        _ => None,
    }
}

fn after_ledger_error(error: &LedgerError) -> Option<String> {
    match error {
        // A refusal does not say how the job stands; its report does, and names the next step.
        LedgerError::Denied { job, seq, law } => {
            after_law(law, *job, *seq, || command(format!("job report {job}")))
        }
        LedgerError::Seen { job, open: true } => Some(format!(
            "{}, then {}",
            command(format!("job show {job}")),
            command(format!("job resume {job}"))
        )),
        LedgerError::Seen { job, open: false } | LedgerError::FileIdTaken { job, .. } => {
            Some(command(format!("job report {job}")))
        }
        LedgerError::Shift(_) => Some(command("stock show")),
        LedgerError::NoJob(_) => Some(command("job list")),
        LedgerError::Damaged(_) => Some(command("audit verify")),
        _ => None,
    }
}

/// A person's next step with a job; `None` if it is CLOSED.
pub fn after_report(summary: &Summary, desk: Desk) -> Option<String> {
    let job = &summary.job;
    let go_on = || {
        let line = LineOfJob { line: Some(&job.line), simulated: job.simulated };
        go_on(job.job, job.phase, job.held_for.as_ref(), desk, line)
    };
    let of_keys = job.phase == JobPhase::Held && job.held_for == Some(ReasonWord::Cryptogram);
    let first = if of_keys {
        "call a supervisor: keys and supplier are checked before another card is opened; "
    } else {
        ""
    };
    let left = job.balance.in_flight > 0 && desk == Desk::Here && !is_in_use(&summary.places.ledger);
    let next = match (job.phase, summary.stands_against()) {
        (JobPhase::Closed, _) => None,
        _ if left => Some(left_in_line(&job.line, job.job, job.simulated)),
        (JobPhase::Stopping, _) => Some(go_on()),
        (_, Some(Law::Closing { unknown: 1.., .. })) if desk == Desk::Here => {
            let ask = on_line(format!("card ask {} all", job.job), Some(&job.line), job.simulated);
            Some(ask_and_resolve(&ask, job.job, "SEQ"))
        }
        (_, Some(law)) => after_law(&law, job.job, None, go_on),
        (_, None) => Some(match desk {
            Desk::Daemon => command(format!("job close {}", job.job)),
            Desk::Here => command(format!("job close {}{}", job.job, suggested::keys())),
        }),
    };
    next.map(|next| format!("{first}{next}"))
}

/// What to do with cards that were under way when their program was killed: the next program that opens the ledger for
/// writing finds them UNKNOWN.
fn left_in_line(line: &str, job: JobId, simulated: bool) -> String {
    format!(
        "no program is at work on this job, so its cards in flight are left: {} makes them UNKNOWN and asks those that lie \
         in the line; look for the others, and resolve each",
        on_line(format!("card ask {job} all"), Some(line), simulated)
    )
}

/// A person's next step after a decision about cards.
pub fn after_decision(done: &CardDecisions, desk: Desk) -> String {
    let job = done.job;
    let line = LineOfJob { line: None, simulated: done.changed.iter().any(EventLine::is_simulated) };
    let go_on = go_on(job, done.phase, done.held_for.as_ref(), desk, line);
    match done.decision {
        CardDecision::Remake => go_on,
        CardDecision::Sample => {
            format!("when it was looked at: {}", command(format!("card resolve {job} SEQ --destroyed")))
        }
        CardDecision::Destroyed => {
            format!("{} (or card cancel), then {go_on}", command(format!("card remake {job} all")))
        }
        CardDecision::FoundGood | CardDecision::Cancel => command(format!("job report {job}")),
    }
}

/// What to do with UNKNOWN cards. `seq`: one card, or all of them.
fn ask_first(job: JobId, seq: Option<u32>) -> String {
    let (asked, each) =
        seq.map_or_else(|| ("all".into(), "SEQ".into()), |seq| (seq.to_string(), seq.to_string()));
    ask_and_resolve(&command(format!("card ask {job} {asked}")), job, &each)
}

/// An UNKNOWN card that is GOOD must not be destroyed unseen, and one that is called destroyed must not turn up later.
fn ask_and_resolve(ask: &str, job: JobId, each: &str) -> String {
    let resolve = command(format!("card resolve {job} {each} --good"));
    format!("look for the card in the machine ({ask}), then {resolve}, or --destroyed once it is destroyed")
}

/// A warning before the line is cleared for a job with UNKNOWN cards; `None` if there are none.
pub fn before_release(job: JobId, unknown: u64) -> Option<String> {
    (unknown > 0).then(|| {
        format!(
            "{job} has {}: one that lies in the line is thrown out as the line is cleared; {}",
            counted(unknown, "UNKNOWN card"),
            ask_first(job, None)
        )
    })
}

/// The line of a job in the foreground.
#[derive(Debug, Clone, Copy)]
struct LineOfJob<'a> {
    /// Its name, if it is known.
    line: Option<&'a str>,
    /// Whether it is simulated.
    simulated: bool,
}

/// How a person goes on with a job: `resume` takes an operator's hold back, and a daemon lets only a
/// supervisor release a job that is HELD for another reason.
fn go_on(
    job: JobId,
    phase: JobPhase,
    held_for: Option<&ReasonWord>,
    desk: Desk,
    line: LineOfJob<'_>,
) -> String {
    let resume = format!("job resume {job}");
    match (phase, desk) {
        (JobPhase::Stopping, _) => format!(
            "wait until the cards under way are finished: {} (to take the hold back: {})",
            command(format!("job show {job}")),
            command(resume)
        ),
        (JobPhase::Held, Desk::Daemon) if !is_persons_hold(held_for) => {
            format!("a supervisor looks at it: {}", command(format!("job release {job}")))
        }
        (_, Desk::Daemon) => command(resume),
        (_, Desk::Here) => on_line(resume, line.line, line.simulated),
    }
}

/// A person's next step instead of one that a law forbids. `None` if only the program can be at fault.
/// `go_on` says how the job goes on.
fn after_law(law: &Law, job: JobId, seq: Option<u32>, go_on: impl Fn() -> String) -> Option<String> {
    let card = |verb: &str| seq.map(|seq| command(format!("card {verb} {job} {seq}")));
    let show = || command(format!("job show {job}"));
    match law {
        Law::NotClosed => Some(command(format!("job close {job}"))),
        // How the job stands decides what comes next: it is shown there.
        Law::NoRecord
        | Law::JobClosed
        | Law::JobHeld
        | Law::AlreadyReleased
        | Law::AlreadyDeleted
        | Law::AlreadyDeleting => Some(show()),
        Law::Record { is: RecordState::Unknown, .. }
        | Law::EarlierAttempt { is: AttemptState::Unknown, .. } => seq.map(|seq| ask_first(job, Some(seq))),
        Law::EarlierAttempt { .. } => seq.map(|seq| {
            format!("destroy the card, then {}", command(format!("card resolve {job} {seq} --destroyed")))
        }),
        Law::NotReleased => card("remake"),
        Law::Record { .. } | Law::Attempt { .. } | Law::NoAttempt => card("show"),
        Law::Closing { .. } => Some(before_closing(law, job, go_on)),
        Law::UnderWay => Some(format!("let the line finish; {}", show())),
        Law::StockLate | Law::NoStock | Law::NotInHopper { .. } | Law::NotGood { .. } => {
            Some(command(format!("stock show --job {job}")))
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

/// The first step towards the closing of a job that the law of closing forbids.
fn before_closing(law: &Law, job: JobId, go_on: impl Fn() -> String) -> String {
    let Law::Closing { queued, in_flight, remake, unknown, rejects, blanks, hopper } = law else {
        return command(format!("job show {job}"));
    };
    if *unknown > 0 {
        ask_first(job, None)
    } else if *rejects > 0 {
        format!(
            "destroy the cards that {} lists, then for each: {}",
            command(format!("job report {job}")),
            command(format!("card resolve {job} SEQ --destroyed"))
        )
    } else if *remake > 0 {
        format!("{} (or card cancel)", command(format!("card remake {job} all")))
    } else if *queued > 0 {
        format!("{} (or {})", go_on(), command(format!("card cancel {job} all")))
    } else if *in_flight > 0 {
        format!("let the line finish; {}", command(format!("job show {job}")))
    } else if *blanks > 0 || *hopper == 0 {
        format!("clear the line; {}", command(format!("job show {job}")))
    } else if *hopper > 0 {
        format!("take them out of the hopper; {}", command(format!("stock return {job} {hopper}")))
    } else {
        let missing = hopper.unsigned_abs();
        format!("find out who put them in; {}", command(format!("stock issue {job} {missing}")))
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
        let line = LineOfJob { line: None, simulated: false };
        let next = |phase, held_for, desk| go_on(job, phase, held_for, desk, line);
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
