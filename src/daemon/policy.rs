//! The one place where it is decided whether something that a person asks for is done. Pure: what is known comes in, a
//! decision goes out.
//!
//! Not here: the laws of records and blanks (`ledger`), which hold whoever asks.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::people::{Person, Role};
use crate::ledger::{JobState, RecordState};

/// Kinds of things that people ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// To see something.
    Look,
    /// To prove the ledger.
    Audit,
    /// To accept a file.
    Submit,
    /// To let a HELD job be made, whatever it was held for.
    Release,
    /// To stop a job; cards under way are finished.
    Hold,
    /// To go on with a job that an operator held.
    Resume,
    /// To give a job up: what was not made is CANCELLED.
    Cancel,
    /// To close a job.
    Close,
    /// To say that cards were seen destroyed.
    Destroyed,
    /// To say that UNKNOWN cards are good.
    FoundGood,
    /// To let records be made again.
    Remake,
    /// To withdraw records.
    CancelCard,
    /// To have cards that lie in the line say how far they came.
    AskCard,
    /// To have cards in the line thrown out.
    Kill,
    /// To take good cards out for inspection.
    Sample,
    /// To put blanks into the hopper.
    StockIssue,
    /// To take unused blanks out of the hopper.
    StockReturn,
    /// To put good cards into the vault.
    StockVault,
    /// To use up blanks to set up the machines.
    StockTest,
    /// To begin a shift.
    Shift,
    /// To have the papers of a closed job signed.
    Papers,
    /// To delete its cardholder data.
    Delete,
}

/// What is known of the job in question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Situation {
    /// Its state in the ledger.
    pub state: JobState,
    /// Why it is HELD.
    pub held_for: Option<String>,
    /// It is on the line.
    pub on_line: bool,
    /// It waits for the line.
    pub queued: bool,
    /// The line works, on whatever job, or its cards are being asked.
    pub line_busy: bool,
    /// Who asked for the same before, where it takes two.
    pub asked_by: Option<String>,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It is done.
    Accepted,
    /// It is so already.
    Ignored(&'static str),
    /// Another person has to ask for the same.
    Waits,
    /// It is not done, because.
    Denied(&'static str),
    /// It is not done for this person, or not now, because.
    NotAllowed(&'static str),
}

impl Ask {
    /// Whether it may be listed in a line's `two_people`. Stopping never waits for anybody, and looking needs nobody; what is
    /// listed by another name is not either.
    pub fn is_for_two(self) -> bool {
        use Ask::{AskCard, Audit, CancelCard, Hold, Look, Papers, Resume, Shift, Submit};
        !matches!(self, AskCard | Audit | CancelCard | Hold | Look | Papers | Resume | Shift | Submit)
    }

    /// What is listed in `two_people` for it: who resumes a job releases it, and who withdraws all its records cancels it.
    pub fn listed(self) -> Self {
        match self {
            Self::Resume => Self::Release,
            Self::CancelCard => Self::Cancel,
            other => other,
        }
    }
}

/// A hold with one of these reasons is the operator's own business.
pub const SUBMITTED: &str = "submitted";
/// See [`SUBMITTED`].
pub const BY_OPERATOR: &str = "operator";
/// The daemon was told to end: as after any restart, a supervisor releases.
pub const BY_SIGNAL: &str = "signal";

/// Decides. `two` holds what takes two people on this line; `draining`: the daemon is about to end.
pub fn decide(
    ask: Ask,
    person: &Person,
    job: Option<&Situation>,
    two: &BTreeSet<Ask>,
    draining: bool,
) -> Decision {
    if ask == Ask::Look {
        return Decision::Accepted;
    }
    let decision = match job {
        None if matches!(ask, Ask::Submit | Ask::Shift | Ask::Audit) => Decision::Accepted,
        None => Decision::Denied("there is no such job"),
        Some(job) => of_job(ask, job),
    };
    if decision != Decision::Accepted {
        return decision;
    }
    if draining {
        return Decision::NotAllowed("the daemon is about to end; nothing new is begun");
    }
    let needs = role(ask, job);
    let also = matches!(ask, Ask::Hold | Ask::Audit) && person.roles.contains(&Role::Supervisor);
    if !also && !person.roles.contains(&needs) {
        return Decision::NotAllowed(match needs {
            Role::Operator => "it takes an operator",
            Role::Auditor => "it takes an auditor or a supervisor",
            _ => "it takes a supervisor",
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

/// Whether it makes sense in the job's state.
fn of_job(ask: Ask, job: &Situation) -> Decision {
    use JobState::{Closed, Held, Open};
    match (ask, job.state) {
        (Ask::Look | Ask::Audit | Ask::Submit | Ask::Shift, _) => Decision::Accepted,
        (Ask::Close, Closed) => Decision::Ignored("the job is closed already"),
        (Ask::Papers | Ask::Delete, Closed) => Decision::Accepted,
        (Ask::Papers | Ask::Delete, _) => Decision::Denied("the job is not closed"),
        (_, Closed) => Decision::Denied("the job is closed; nothing about it changes any more"),
        (Ask::Hold, Held) if !job.on_line => Decision::Ignored("the job is held already"),
        (Ask::Hold, _) => Decision::Accepted,
        (Ask::Release | Ask::Resume, _) if job.on_line || job.queued => {
            Decision::Ignored("the job is on the line, or waits for it")
        }
        (Ask::Resume, Held) if !own(job) => {
            Decision::Denied("it was not held by an operator: a supervisor looks at it and releases it")
        }
        (Ask::Release | Ask::Resume, Open | Held) => Decision::Accepted,
        (Ask::Close, _) if job.on_line || job.queued => {
            Decision::Denied("the job is on the line, or waits for it; hold it first")
        }
        (Ask::AskCard, _) if job.line_busy || job.queued => {
            Decision::Denied("the line is at work or about to be; hold the job that is on it, then ask")
        }
        (Ask::StockReturn | Ask::StockTest, _) if job.on_line => {
            Decision::Denied("the job is on the line, which feeds from the hopper; hold it first")
        }
        (
            Ask::Close
            | Ask::Cancel
            | Ask::Destroyed
            | Ask::FoundGood
            | Ask::Remake
            | Ask::CancelCard
            | Ask::Kill
            | Ask::AskCard
            | Ask::Sample
            | Ask::StockIssue
            | Ask::StockReturn
            | Ask::StockVault
            | Ask::StockTest,
            _,
        ) => Decision::Accepted,
    }
}

/// Whether the card of a record in this state can be thrown out of the line; `killed`: it was, for that reason.
pub fn decide_kill(record: RecordState, killed: bool) -> Decision {
    match record {
        RecordState::InFlight => Decision::Accepted,
        RecordState::Remake if killed => Decision::Ignored("its card was killed already"),
        RecordState::Queued | RecordState::Remake => {
            Decision::Denied("it has no card in the line; to give the record up: cardwright card cancel")
        }
        RecordState::Good => {
            Decision::Denied("its card is stacked already; a supervisor takes it out: cardwright card sample")
        }
        RecordState::Unknown => Decision::Denied("nobody knows where its card is: cardwright card resolve"),
        RecordState::Cancelled => Decision::Denied("it is CANCELLED"),
    }
}

/// The job was held by a person, or has just been submitted.
fn own(job: &Situation) -> bool {
    matches!(job.held_for.as_deref(), Some(SUBMITTED | BY_OPERATOR))
}

/// Who may do it. Holding and proving are for a supervisor, too.
pub fn role(ask: Ask, job: Option<&Situation>) -> Role {
    match ask {
        Ask::Audit => Role::Auditor,
        Ask::Look | Ask::Submit | Ask::Hold | Ask::Resume | Ask::Destroyed | Ask::Kill => Role::Operator,
        Ask::AskCard => Role::Operator,
        Ask::StockIssue | Ask::StockReturn | Ask::StockVault | Ask::StockTest | Ask::Shift => Role::Operator,
        Ask::Release if job.is_none_or(|job| job.state != JobState::Held || own(job)) => Role::Operator,
        Ask::Release
        | Ask::Cancel
        | Ask::Close
        | Ask::FoundGood
        | Ask::Remake
        | Ask::CancelCard
        | Ask::Sample
        | Ask::Papers
        | Ask::Delete => Role::Supervisor,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Ask; 22] = [
        Ask::Look,
        Ask::Audit,
        Ask::Submit,
        Ask::Release,
        Ask::Hold,
        Ask::Resume,
        Ask::Cancel,
        Ask::Close,
        Ask::Destroyed,
        Ask::FoundGood,
        Ask::Remake,
        Ask::CancelCard,
        Ask::AskCard,
        Ask::Kill,
        Ask::Sample,
        Ask::StockIssue,
        Ask::StockReturn,
        Ask::StockVault,
        Ask::StockTest,
        Ask::Shift,
        Ask::Papers,
        Ask::Delete,
    ];

    fn person(name: &str, roles: &[Role]) -> Person {
        let people = format!("[[person]]\nname = \"{name}\"\nuid = 1\nroles = [\"auditor\"]");
        let people = super::super::people::People::from_toml(&people).unwrap();
        Person { roles: roles.iter().copied().collect(), ..people.of(1).unwrap().clone() }
    }

    fn held(why: &str) -> Situation {
        Situation {
            state: JobState::Held,
            held_for: Some(why.into()),
            on_line: false,
            queued: false,
            line_busy: false,
            asked_by: None,
        }
    }

    fn one(ask: Ask, roles: &[Role], job: &Situation) -> Decision {
        decide(ask, &person("anna", roles), Some(job), &BTreeSet::new(), false)
    }

    #[test]
    fn after_a_restart_a_supervisor_releases() {
        use Role::{Operator, Supervisor};
        for why in ["restart", "card-ref-seen", "cleared", "cryptogram"] {
            assert!(matches!(one(Ask::Resume, &[Operator, Supervisor], &held(why)), Decision::Denied(_)));
            assert!(matches!(one(Ask::Release, &[Operator], &held(why)), Decision::NotAllowed(_)));
            assert_eq!(one(Ask::Release, &[Supervisor], &held(why)), Decision::Accepted);
        }
        for why in [SUBMITTED, BY_OPERATOR] {
            assert_eq!(one(Ask::Resume, &[Operator], &held(why)), Decision::Accepted);
            assert_eq!(one(Ask::Release, &[Operator], &held(why)), Decision::Accepted);
        }
    }

    #[test]
    fn cards_are_asked_by_an_operator_while_nothing_else_moves_them() {
        let free = held("restart");
        assert_eq!(one(Ask::AskCard, &[Role::Operator], &free), Decision::Accepted);
        assert!(matches!(one(Ask::AskCard, &[Role::Auditor], &free), Decision::NotAllowed(_)));
        for busy in [Situation { line_busy: true, ..free.clone() }, Situation { queued: true, ..free }] {
            assert!(matches!(one(Ask::AskCard, &[Role::Operator], &busy), Decision::Denied(_)));
        }
    }

    #[test]
    fn a_sample_takes_a_supervisor_and_the_hopper_is_not_touched_while_it_feeds() {
        let job = held(BY_OPERATOR);
        assert!(matches!(one(Ask::Sample, &[Role::Operator], &job), Decision::NotAllowed(_)));
        assert_eq!(one(Ask::Sample, &[Role::Supervisor], &job), Decision::Accepted);
        let running = Situation { on_line: true, ..held(BY_OPERATOR) };
        for ask in [Ask::StockReturn, Ask::StockTest] {
            assert_eq!(one(ask, &[Role::Operator], &job), Decision::Accepted);
            assert!(matches!(one(ask, &[Role::Operator], &running), Decision::Denied(_)));
        }
        for ask in [Ask::StockIssue, Ask::StockVault, Ask::Kill] {
            assert_eq!(one(ask, &[Role::Operator], &running), Decision::Accepted);
        }
    }

    #[test]
    fn only_a_card_in_the_line_is_killed() {
        use RecordState::{Cancelled, Good, InFlight, Queued, Remake, Unknown};
        for killed in [false, true] {
            assert_eq!(decide_kill(InFlight, killed), Decision::Accepted);
            for record in [Queued, Good, Unknown, Cancelled] {
                assert!(matches!(decide_kill(record, killed), Decision::Denied(_)), "{record}");
            }
        }
        assert!(matches!(decide_kill(Remake, true), Decision::Ignored(_)));
        assert!(matches!(decide_kill(Remake, false), Decision::Denied(why) if why.contains("card cancel")));
    }

    #[test]
    fn stopping_takes_one_and_no_other_word_gets_past_the_second() {
        let all: BTreeSet<Ask> = ALL.into_iter().filter(|ask| ask.is_for_two()).collect();
        let job = held(SUBMITTED);
        let roles = [Role::Operator, Role::Supervisor];
        let decided = |ask, two: &BTreeSet<Ask>| decide(ask, &person("anna", &roles), Some(&job), two, false);
        for (word, listed) in [(Ask::Resume, Ask::Release), (Ask::CancelCard, Ask::Cancel)] {
            assert_eq!(decided(word, &BTreeSet::from([listed])), Decision::Waits);
            assert_eq!(decided(word, &BTreeSet::new()), Decision::Accepted);
        }
        let running = Situation { state: JobState::Open, on_line: true, ..held(SUBMITTED) };
        for role in [Role::Operator, Role::Supervisor] {
            assert_eq!(
                decide(Ask::Hold, &person("bo", &[role]), Some(&running), &all, false),
                Decision::Accepted
            );
        }
    }

    #[test]
    fn what_takes_two_takes_two_different_ones() {
        let (two, roles) = (BTreeSet::from([Ask::Release]), [Role::Supervisor]);
        let decided = |name: &str, asked_by: Option<&str>| {
            let job = Situation { asked_by: asked_by.map(str::to_owned), ..held("restart") };
            decide(Ask::Release, &person(name, &roles), Some(&job), &two, false)
        };
        assert_eq!(decided("anna", None), Decision::Waits);
        assert_eq!(decided("anna", Some("anna")), Decision::Waits);
        assert_eq!(decided("bo", Some("anna")), Decision::Accepted);
    }

    fn situations() -> impl Strategy<Value = Situation> {
        let states = prop::sample::select(vec![JobState::Open, JobState::Held, JobState::Closed]);
        let reasons = prop::sample::select(vec![None, Some("restart"), Some(SUBMITTED), Some(BY_OPERATOR)]);
        (states, reasons, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
            |(state, why, on_line, queued, asked)| Situation {
                state,
                held_for: why.map(str::to_owned),
                on_line,
                queued,
                line_busy: on_line,
                asked_by: asked.then(|| "anna".to_owned()),
            },
        )
    }

    proptest! {
        /// Without its role, while draining, or on a closed job nothing but looking is accepted; papers and deletion are for
        /// closed jobs alone, proofs for auditors.
        #[test]
        fn nothing_is_accepted_that_should_not_be(
            ask in prop::sample::select(ALL.to_vec()),
            job in situations(),
            two in any::<bool>(),
        ) {
            let two: BTreeSet<Ask> = if two { ALL.into_iter().collect() } else { BTreeSet::new() };
            let decided = |roles: &[Role], draining| decide(ask, &person("anna", roles), Some(&job), &two, draining);
            let all = [Role::Operator, Role::Supervisor, Role::KeyCustodian, Role::Auditor];
            if ask != Ask::Look {
                let auditors = decided(&[Role::Auditor, Role::KeyCustodian], false);
                prop_assert_eq!(auditors == Decision::Accepted, ask == Ask::Audit && two.is_empty());
                prop_assert_ne!(decided(&all, true), Decision::Accepted);
                let afterwards = matches!(ask, Ask::Papers | Ask::Delete);
                let of_no_job = matches!(ask, Ask::Submit | Ask::Shift | Ask::Audit);
                if (job.state == JobState::Closed) != afterwards && !of_no_job {
                    prop_assert_ne!(decided(&all, false), Decision::Accepted);
                }
                if !two.is_empty() {
                    prop_assert_ne!(decided(&all, false), Decision::Accepted);
                }
            } else {
                prop_assert_eq!(decided(&[Role::Auditor], true), Decision::Accepted);
            }
        }
    }
}
