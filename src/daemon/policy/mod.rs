//! Decides whether a person's request is carried out. No other place decides that. Pure: facts come in, a
//! decision goes out.
//!
//! Not here: the laws of records and blanks (`ledger`), which hold for every person.

use std::collections::BTreeSet;

use super::people::{Person, Role};
use crate::bureau::refusal::{Denial, Idle, NotAllowed};
use crate::laws::{JobState, RecordState};
use crate::reason::ReasonWord;
use crate::request::ActionKind;

/// The facts about the job that a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Situation {
    /// Its state in the ledger.
    pub state: JobState,
    /// Why the job is HELD.
    pub held_for: Option<ReasonWord>,
    /// Whether the job is on the line.
    pub on_line: bool,
    /// Whether the job is on the line and a person has stopped it.
    pub stopping: bool,
    /// Whether the job waits for the line.
    pub queued: bool,
    /// Whether the line works on some job, or its cards are being asked.
    pub line_busy: bool,
    /// The first of two people with this request, if the request takes two.
    pub asked_by: Option<String>,
}

/// The policy's decision about a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Carry it out.
    Accepted,
    /// There is nothing to do, for this reason.
    Ignored(Idle),
    /// A second person must make the request too.
    Waits,
    /// Refuse it to every person, for this reason.
    Denied(Denial),
    /// Refuse it to this person, or at this moment, for this reason.
    NotAllowed(NotAllowed),
}

/// Decides about a request. `two` lists the actions that take two people on this line; `draining` means that
/// the daemon is about to end.
pub fn decide(
    ask: ActionKind,
    person: &Person,
    job: Option<&Situation>,
    two: &BTreeSet<ActionKind>,
    draining: bool,
) -> Decision {
    if ask == ActionKind::Look {
        return Decision::Accepted;
    }
    let decision = match job {
        None if matches!(
            ask,
            ActionKind::Submit | ActionKind::Shift | ActionKind::ProveStation | ActionKind::Audit
        ) =>
        {
            Decision::Accepted
        }
        None => Decision::Denied(Denial::NoJob),
        Some(job) => of_job(ask, job),
    };
    if decision != Decision::Accepted {
        return decision;
    }
    if draining {
        return Decision::NotAllowed(NotAllowed::Draining);
    }
    let needs = role(ask, job);
    let also =
        matches!(ask, ActionKind::Hold | ActionKind::Audit) && person.roles.contains(&Role::Supervisor);
    if !also && !person.roles.contains(&needs) {
        return Decision::NotAllowed(match needs {
            Role::Operator => NotAllowed::TakesOperator,
            Role::Auditor => NotAllowed::TakesAuditor,
            _ => NotAllowed::TakesSupervisor,
        });
    }
    match job {
        Some(job)
            if two.contains(&ask.listed()) && job.asked_by.as_ref().is_none_or(|by| *by == person.name) =>
        {
            Decision::Waits
        }
        _ => Decision::Accepted,
    }
}

/// Whether an action is possible in the job's state.
fn of_job(ask: ActionKind, job: &Situation) -> Decision {
    use JobState::{Closed, Held, Open};
    match (ask, job.state) {
        (
            ActionKind::Look
            | ActionKind::Audit
            | ActionKind::Submit
            | ActionKind::Shift
            | ActionKind::ProveStation,
            _,
        ) => Decision::Accepted,
        (ActionKind::Close, Closed) => Decision::Ignored(Idle::ClosedAlready),
        (ActionKind::Papers | ActionKind::Delete, Closed) => Decision::Accepted,
        (ActionKind::Papers | ActionKind::Delete, _) => Decision::Denied(Denial::NotClosed),
        (_, Closed) => Decision::Denied(Denial::Closed),
        (ActionKind::Hold, Held) if !job.on_line => Decision::Ignored(Idle::HeldAlready),
        (ActionKind::Hold, _) if job.stopping => Decision::Ignored(Idle::StopsAlready),
        (ActionKind::Hold, _) => Decision::Accepted,
        (ActionKind::Release | ActionKind::Resume, _) if job.on_line && !job.stopping || job.queued => {
            Decision::Ignored(Idle::OnLineAlready)
        }
        (ActionKind::Resume, Held) if !own(job) => Decision::Denied(Denial::NotHeldByOperator),
        (ActionKind::Release | ActionKind::Resume, Open | Held) => Decision::Accepted,
        (ActionKind::Close | ActionKind::AskCard | ActionKind::StockReturn | ActionKind::StockTest, _)
            if job.stopping =>
        {
            Decision::Denied(Denial::Stopping)
        }
        (ActionKind::Close, _) if job.on_line || job.queued => Decision::Denied(Denial::OnLine),
        (ActionKind::AskCard, _) if job.line_busy || job.queued => Decision::Denied(Denial::LineBusy),
        (ActionKind::StockReturn | ActionKind::StockTest, _) if job.on_line => {
            Decision::Denied(Denial::HopperInUse)
        }
        (
            ActionKind::Close
            | ActionKind::Cancel
            | ActionKind::Destroyed
            | ActionKind::FoundGood
            | ActionKind::Remake
            | ActionKind::CancelCard
            | ActionKind::Kill
            | ActionKind::AskCard
            | ActionKind::Sample
            | ActionKind::StockIssue
            | ActionKind::StockReturn
            | ActionKind::StockVault
            | ActionKind::StockTest,
            _,
        ) => Decision::Accepted,
    }
}

/// Whether a card can be thrown out of the line while its record is in this state. `killed` means that a
/// person had the card thrown out before.
pub fn decide_kill(record: RecordState, killed: bool) -> Decision {
    match record {
        RecordState::InFlight => Decision::Accepted,
        RecordState::Remake if killed => Decision::Ignored(Idle::KilledAlready),
        RecordState::Queued | RecordState::Remake => Decision::Denied(Denial::NoCard),
        RecordState::Good => Decision::Denied(Denial::Stacked),
        RecordState::Unknown => Decision::Denied(Denial::CardUnknown),
        RecordState::Cancelled => Decision::Denied(Denial::Cancelled),
    }
}

/// Whether a person held the job, or it has just been submitted.
fn own(job: &Situation) -> bool {
    is_persons_hold(job.held_for.as_ref())
}

/// Whether an operator may release a job that is HELD for this reason. For any other reason, a signal to end
/// and a restart among them, it takes a supervisor.
pub fn is_persons_hold(held_for: Option<&ReasonWord>) -> bool {
    matches!(held_for, Some(ReasonWord::Submitted | ReasonWord::Operator))
}

/// The role that an action takes. A supervisor may also hold jobs and prove the ledger.
pub fn role(ask: ActionKind, job: Option<&Situation>) -> Role {
    match ask {
        ActionKind::Audit => Role::Auditor,
        ActionKind::Look
        | ActionKind::Submit
        | ActionKind::Hold
        | ActionKind::Resume
        | ActionKind::Destroyed
        | ActionKind::Kill => Role::Operator,
        ActionKind::AskCard => Role::Operator,
        ActionKind::StockIssue
        | ActionKind::StockReturn
        | ActionKind::StockVault
        | ActionKind::StockTest
        | ActionKind::Shift
        | ActionKind::ProveStation => Role::Operator,
        ActionKind::Release if job.is_none_or(|job| job.state != JobState::Held || own(job)) => {
            Role::Operator
        }
        ActionKind::Release
        | ActionKind::Cancel
        | ActionKind::Close
        | ActionKind::FoundGood
        | ActionKind::Remake
        | ActionKind::CancelCard
        | ActionKind::Sample
        | ActionKind::Papers
        | ActionKind::Delete => Role::Supervisor,
    }
}

#[cfg(test)]
mod tests;
