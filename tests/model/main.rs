//! Proves for small numbers that no card exists twice and none is lost. A model of plastic, memory and disk
//! is searched: every reachable state is checked, with a crash between any two steps. The real ledger is
//! compared with the model.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, and its numbers are small"
)]

mod books;
mod real;
mod search;
mod world;

use books::{Fault, Record, Rules};
use cardwright::laws::JobState;
use search::{LAWS, search};
use world::{Law, STATIONS};

/// Searches, and fails if a law breaks.
fn nothing_breaks(rules: Rules) {
    let found = search(rules, &LAWS);
    println!(
        "{} records, {} blanks, {STATIONS} stations, {} crashes, rejects {}shredded: {} states",
        books::RECORDS,
        rules.blanks,
        rules.crashes,
        if rules.shredded { "" } else { "not " },
        found.states.len()
    );
    assert_eq!(found.broken, None);
    // The search is not trivial: it closes jobs with all cards good, with some, and with none.
    for good in 0..=usize::from(books::RECORDS) {
        let closed = found.states.iter().filter(|w| w.disk.job == JobState::Closed);
        let with = |w: &world::World| w.disk.records.iter().filter(|r| **r == Record::Good).count();
        assert!(closed.map(with).any(|count| count == good), "{good}");
    }
}

/// With `MODEL=full` (`make soak`) there are three blanks: 18,000,000 states, some minutes and four
/// gigabytes.
#[test]
fn every_reachable_state_keeps_every_law() {
    let blanks = if std::env::var("MODEL").is_ok_and(|model| model == "full") { books::BLANKS } else { 2 };
    for shredded in [false, true] {
        nothing_breaks(Rules { blanks, crashes: 2, shredded, fault: None });
    }
}

/// Each fault breaks a law, so the search would have found it in the program.
#[test]
fn every_fault_is_found() {
    for (fault, law) in [
        (Fault::BindsLate, Law::BoundFirst),
        (Fault::BindsLate, Law::OneCard),
        (Fault::AcknowledgesEarly, Law::BoundFirst),
        (Fault::AcknowledgesEarly, Law::OneCard),
        (Fault::Requeues, Law::OneCard),
        (Fault::Requeues, Law::NothingForgotten),
        (Fault::RemakesUndestroyed, Law::OneCard),
        (Fault::StacksLate, Law::TrueRows),
        (Fault::SaysDestroyed, Law::OneCard),
        (Fault::RejectsEarly, Law::TrueRows),
        (Fault::RemakesSampled, Law::OneCard),
    ] {
        let found = search(Rules { blanks: 3, crashes: 2, shredded: false, fault: Some(fault) }, &[law]);
        let (_, trace) = found.broken.unwrap_or_else(|| panic!("{fault:?} breaks no {law:?}"));
        println!("{fault:?} breaks {law:?} in {} steps: {trace:?}", trace.len());
    }
}
