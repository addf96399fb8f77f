//! The decisions case by case, and laws that hold in every situation.

use proptest::prelude::*;

use super::*;

const ALL: [ActionKind; 23] = [
    ActionKind::Look,
    ActionKind::Audit,
    ActionKind::Submit,
    ActionKind::Release,
    ActionKind::Hold,
    ActionKind::Resume,
    ActionKind::Cancel,
    ActionKind::Close,
    ActionKind::Destroyed,
    ActionKind::FoundGood,
    ActionKind::Remake,
    ActionKind::CancelCard,
    ActionKind::AskCard,
    ActionKind::Kill,
    ActionKind::Sample,
    ActionKind::StockIssue,
    ActionKind::StockReturn,
    ActionKind::StockVault,
    ActionKind::StockTest,
    ActionKind::Shift,
    ActionKind::ProveStation,
    ActionKind::Papers,
    ActionKind::Delete,
];

fn person(name: &str, roles: &[Role]) -> Person {
    let people = format!("[[person]]\nname = \"{name}\"\nuid = 1\nroles = [\"auditor\"]");
    let people = super::super::people::People::from_toml(&people).unwrap();
    Person { roles: roles.iter().copied().collect(), ..people.of(1).unwrap().clone() }
}

fn held(why: impl Into<ReasonWord>) -> Situation {
    Situation {
        state: JobState::Held,
        held_for: Some(why.into()),
        on_line: false,
        stopping: false,
        queued: false,
        line_busy: false,
        asked_by: None,
    }
}

fn one(ask: ActionKind, roles: &[Role], job: &Situation) -> Decision {
    decide(ask, &person("anna", roles), Some(job), &BTreeSet::new(), false)
}

#[test]
fn after_a_restart_a_supervisor_releases() {
    use Role::{Operator, Supervisor};
    for why in ["restart", "card-ref-seen", "cleared", "cryptogram"] {
        assert!(matches!(one(ActionKind::Resume, &[Operator, Supervisor], &held(why)), Decision::Denied(_)));
        assert!(matches!(one(ActionKind::Release, &[Operator], &held(why)), Decision::NotAllowed(_)));
        assert_eq!(one(ActionKind::Release, &[Supervisor], &held(why)), Decision::Accepted);
    }
    for why in [ReasonWord::Submitted, ReasonWord::Operator] {
        assert_eq!(one(ActionKind::Resume, &[Operator], &held(why.clone())), Decision::Accepted);
        assert_eq!(one(ActionKind::Release, &[Operator], &held(why)), Decision::Accepted);
    }
}

#[test]
fn cards_are_asked_by_an_operator_while_nothing_else_moves_them() {
    let free = held("restart");
    assert_eq!(one(ActionKind::AskCard, &[Role::Operator], &free), Decision::Accepted);
    assert!(matches!(one(ActionKind::AskCard, &[Role::Auditor], &free), Decision::NotAllowed(_)));
    for busy in [Situation { line_busy: true, ..free.clone() }, Situation { queued: true, ..free }] {
        assert!(matches!(one(ActionKind::AskCard, &[Role::Operator], &busy), Decision::Denied(_)));
    }
}

#[test]
fn a_sample_takes_a_supervisor_and_the_hopper_is_not_touched_while_it_feeds() {
    let job = held(ReasonWord::Operator);
    assert!(matches!(one(ActionKind::Sample, &[Role::Operator], &job), Decision::NotAllowed(_)));
    assert_eq!(one(ActionKind::Sample, &[Role::Supervisor], &job), Decision::Accepted);
    let running = Situation { on_line: true, ..held(ReasonWord::Operator) };
    for ask in [ActionKind::StockReturn, ActionKind::StockTest] {
        assert_eq!(one(ask, &[Role::Operator], &job), Decision::Accepted);
        assert!(matches!(one(ask, &[Role::Operator], &running), Decision::Denied(_)));
    }
    for ask in [ActionKind::StockIssue, ActionKind::StockVault, ActionKind::Kill] {
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
    assert_eq!(decide_kill(Remake, false), Decision::Denied(Denial::NoCard));
}

#[test]
fn a_stop_takes_one_person_and_no_other_verb_avoids_the_second() {
    let all: BTreeSet<ActionKind> = ALL.into_iter().filter(|ask| ask.is_for_two()).collect();
    let job = held(ReasonWord::Submitted);
    let roles = [Role::Operator, Role::Supervisor];
    let decided =
        |ask, two: &BTreeSet<ActionKind>| decide(ask, &person("anna", &roles), Some(&job), two, false);
    for (word, listed) in
        [(ActionKind::Resume, ActionKind::Release), (ActionKind::CancelCard, ActionKind::Cancel)]
    {
        assert_eq!(decided(word, &BTreeSet::from([listed])), Decision::Waits);
        assert_eq!(decided(word, &BTreeSet::new()), Decision::Accepted);
    }
    let running = Situation { state: JobState::Open, on_line: true, ..held(ReasonWord::Submitted) };
    for role in [Role::Operator, Role::Supervisor] {
        assert_eq!(
            decide(ActionKind::Hold, &person("bo", &[role]), Some(&running), &all, false),
            Decision::Accepted
        );
    }
}

/// A release takes a hold back. Without a hold there is nothing to take back.
#[test]
fn a_hold_that_waits_for_cards_can_be_taken_back() {
    let running = Situation { state: JobState::Open, on_line: true, line_busy: true, ..held("-") };
    let stopping = Situation { stopping: true, ..running.clone() };
    for kind in [ActionKind::Release, ActionKind::Resume] {
        assert_eq!(one(kind, &[Role::Operator], &running), Decision::Ignored(Idle::OnLineAlready));
        assert_eq!(one(kind, &[Role::Operator], &stopping), Decision::Accepted);
        assert_eq!(
            one(ActionKind::Hold, &[Role::Operator], &stopping),
            Decision::Ignored(Idle::StopsAlready)
        );
        for kind in [ActionKind::Close, ActionKind::AskCard, ActionKind::StockReturn, ActionKind::StockTest] {
            let all = [Role::Operator, Role::Supervisor];
            assert_eq!(one(kind, &all, &stopping), Decision::Denied(Denial::Stopping));
        }
        let auditor = one(kind, &[Role::Auditor], &stopping);
        assert_eq!(auditor, Decision::NotAllowed(NotAllowed::TakesOperator));
    }
}

#[test]
fn an_action_for_two_takes_two_different_people() {
    let (two, roles) = (BTreeSet::from([ActionKind::Release]), [Role::Supervisor]);
    let decided = |name: &str, asked_by: Option<&str>| {
        let job = Situation { asked_by: asked_by.map(str::to_owned), ..held("restart") };
        decide(ActionKind::Release, &person(name, &roles), Some(&job), &two, false)
    };
    assert_eq!(decided("anna", None), Decision::Waits);
    assert_eq!(decided("anna", Some("anna")), Decision::Waits);
    assert_eq!(decided("bo", Some("anna")), Decision::Accepted);
}

fn situations() -> impl Strategy<Value = Situation> {
    let states = prop::sample::select(vec![JobState::Open, JobState::Held, JobState::Closed]);
    let reasons = prop::sample::select(vec![
        None,
        Some(ReasonWord::Restart),
        Some(ReasonWord::Submitted),
        Some(ReasonWord::Operator),
    ]);
    (states, reasons, any::<[bool; 4]>()).prop_map(|(state, why, [on_line, stopping, queued, asked])| {
        Situation {
            state,
            held_for: why,
            on_line,
            stopping: on_line && stopping,
            queued,
            line_busy: on_line,
            asked_by: asked.then(|| "anna".to_owned()),
        }
    })
}

proptest! {
    /// Without the role, while draining, or on a closed job, only views are accepted. Papers and deletion
    /// are only for closed jobs, proofs only for auditors.
    #[test]
    fn nothing_is_accepted_that_should_not_be(
        ask in prop::sample::select(ALL.to_vec()),
        job in situations(),
        two in any::<bool>(),
    ) {
        let two: BTreeSet<ActionKind> = if two { ALL.into_iter().collect() } else { BTreeSet::new() };
        let decided = |roles: &[Role], draining| decide(ask, &person("anna", roles), Some(&job), &two, draining);
        let all = [Role::Operator, Role::Supervisor, Role::KeyCustodian, Role::Auditor];
        if ask != ActionKind::Look {
            let auditors = decided(&[Role::Auditor, Role::KeyCustodian], false);
            prop_assert_eq!(auditors == Decision::Accepted, ask == ActionKind::Audit && two.is_empty());
            prop_assert_ne!(decided(&all, true), Decision::Accepted);
            let afterwards = matches!(ask, ActionKind::Papers | ActionKind::Delete);
            let of_no_job = matches!(
                ask,
                ActionKind::Submit | ActionKind::Shift | ActionKind::ProveStation | ActionKind::Audit
            );
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
