//! The counts, by cases and against a plain reading of the history.

use proptest::prelude::*;

use super::*;

const MUTE: ReasonWord = ReasonWord::Mute;
const JAM: ReasonWord = ReasonWord::Jam;

const LIMITS: Limits = Limits { station: 3, job: 5 };

fn at(stage: usize, station: usize) -> Place {
    Place { stage, station }
}

#[test]
fn equal_failures_at_one_station_need_a_person_and_others_do_not_add_up() {
    let mut breakers = Breakers::new(Limits { job: 100, ..LIMITS });
    assert_eq!(breakers.failed(at(0, 0), &MUTE), None);
    assert_eq!(breakers.failed(at(0, 1), &MUTE), None);
    assert_eq!(breakers.failed(at(0, 0), &MUTE), None);
    assert_eq!(breakers.failed(at(0, 0), &JAM), None);
    assert_eq!(breakers.failed(at(0, 0), &MUTE), None);
    assert_eq!(breakers.failed(at(0, 0), &MUTE), None);
    assert_eq!(breakers.failed(at(0, 0), &MUTE), Some(Trip::Station(3)));
    breakers.finished(at(0, 0));
    assert_eq!(breakers.failed(at(0, 0), &MUTE), None);
    assert_eq!(breakers.failed(at(0, 1), &MUTE), None);
    assert_eq!(breakers.failed(at(0, 1), &MUTE), Some(Trip::Station(3)));
}

#[test]
fn rejects_of_a_module_stop_the_job_wherever_they_happen() {
    let mut breakers = Breakers::new(LIMITS);
    for station in 0..4 {
        assert_eq!(breakers.failed(at(1, station), &JAM), None);
        // A finished card at another module does not reset the count.
        breakers.finished(at(0, station));
    }
    assert_eq!(breakers.failed(at(1, 0), &MUTE), Some(Trip::Job(5)));
    breakers.finished(at(1, 3));
    assert_eq!(breakers.failed(at(1, 0), &MUTE), None);
}

#[derive(Debug, Clone)]
struct Step {
    place: Place,
    reason: Option<ReasonWord>,
}

fn step() -> impl Strategy<Value = Step> {
    let reason = prop_oneof![Just(None), Just(Some(MUTE)), Just(Some(JAM))];
    (0..2_usize, 0..3_usize, reason)
        .prop_map(|(stage, station, reason)| Step { place: at(stage, station), reason })
}

/// The last failure of a history, judged by reading all of it again.
fn judged(history: &[Step]) -> Option<Trip> {
    let last = history.last()?;
    let since = |of: &dyn Fn(&Step) -> bool| -> Vec<Step> {
        let mine: Vec<Step> = history.iter().filter(|s| of(s)).cloned().collect();
        mine.rsplit(|s| s.reason.is_none()).next().unwrap_or_default().to_vec()
    };
    let rejects = u32::try_from(since(&|s| s.place.stage == last.place.stage).len()).unwrap();
    let here = since(&|s| s.place == last.place);
    let equal = here.iter().rev().take_while(|s| s.reason == last.reason).count();
    let equal = u32::try_from(equal).unwrap();
    last.reason.as_ref()?;
    if rejects >= LIMITS.job {
        Some(Trip::Job(rejects))
    } else {
        (equal >= LIMITS.station).then_some(Trip::Station(equal))
    }
}

proptest! {
    #[test]
    fn the_counts_are_those_of_the_history(steps in proptest::collection::vec(step(), 0..60)) {
        let mut breakers = Breakers::new(LIMITS);
        for (at, step) in steps.iter().enumerate() {
            let trip = match &step.reason {
                Some(reason) => breakers.failed(step.place, reason),
                None => {
                    breakers.finished(step.place);
                    None
                }
            };
            prop_assert_eq!(trip, judged(&steps[..=at]));
        }
    }
}
