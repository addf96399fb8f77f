//! A whole ledger is followed as its audit replays it, and what breaks a law changes nothing.
#![allow(clippy::cast_possible_truncation, reason = "small numbers")]

use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::event::AcceptedTerms;
use super::*;
use crate::audit::LedgerId;
use crate::ids::FileId;
use crate::ledger::tests::model::{Model, config, numbers, windup};
use crate::ledger::tests::{directory, file};
use crate::ledger::{Ledger, NewJob, Reader};

const CARDS: u32 = 4;

/// A ledger of as many jobs as `scripts`, whose changes come in turn, and what it wrote.
fn written(scripts: &[Vec<(u8, u32, u32)>], shredded: bool) -> (Reader, Vec<LedgerEvent>, tempfile::TempDir) {
    let directory = directory();
    let ledger = Ledger::open(directory.path().join("l.db")).unwrap();
    let mut jobs: Vec<_> = ["A", "B", "C"]
        .iter()
        .zip(scripts)
        .map(|(name, script)| {
            let new = NewJob { rejects_shredded: shredded, ..file(name, CARDS) };
            let job = ledger.new_job(new).unwrap().job;
            (job, Model::new(CARDS as usize, shredded), script.iter())
        })
        .collect();
    ledger.shift("early", Context::by("anna")).unwrap();
    let mut tickets = Vec::new();
    loop {
        let before = tickets.len();
        for (job, model, script) in &mut jobs {
            let Some(numbers) = script.next() else { continue };
            let change = model.change(*numbers);
            if model.step(&change) {
                tickets.push(ledger.record(*job, change, Context::default()));
            } else {
                tickets.push(ledger.record(*job, Change::Held, Context::default()));
                model.step(&Change::Held);
                tickets.push(ledger.record(*job, Change::Released, Context::default()));
                model.step(&Change::Released);
            }
        }
        if tickets.len() == before {
            break;
        }
    }
    // A CLOSED job refuses what the loop records in place of a refused change.
    tickets.into_iter().for_each(|ticket| drop(ticket.wait()));
    let reader = ledger.reader().unwrap();
    let events = reader.events(None, 0, u32::MAX).unwrap();
    (reader, events, directory)
}

/// Variants of an event that no book takes in its place: another number, another mark, another attempt, another state
/// before.
fn wrong(event: &LedgerEvent) -> Vec<LedgerEvent> {
    let mut variants = vec![LedgerEvent { n: event.n + 1, ..event.clone() }];
    let Some(job) = event.job else { return variants };
    variants.push(LedgerEvent { n: event.n.wrapping_sub(1), ..event.clone() });
    variants.push(LedgerEvent { job: Some(JobId(job.0 + 7)), ..event.clone() });
    if event.fact.terms().is_some() {
        return variants;
    }
    variants.push(LedgerEvent { simulated: !event.simulated, ..event.clone() });
    if let Some(from) = event.from {
        let others = StateName::ALL.iter().filter(|other| **other != from);
        variants.extend(others.map(|other| LedgerEvent { from: Some(*other), ..event.clone() }));
        variants.push(LedgerEvent { from: None, ..event.clone() });
    }
    let mut other = event.clone();
    let card = match &mut other.fact {
        EventFact::Bound { card, .. }
        | EventFact::ChipFound { card, .. }
        | EventFact::Moved { card, .. }
        | EventFact::Verified { card, .. }
        | EventFact::Stacked { card, .. } => card,
        _ => return variants,
    };
    card.attempt += 1;
    variants.push(other);
    variants
}

/// The digest over a job's records, from the ledger's views.
fn outcome(reader: &Reader, job: JobId) -> [u8; 32] {
    let mut bytes = Vec::new();
    for seq in 1..=CARDS {
        let card = reader.card(job, seq).unwrap();
        let last = card.attempts.last().filter(|last| last.state == AttemptState::Stacked);
        let code = if card.state == RecordState::Good { 0x13 } else { 0x16 };
        bytes.extend(seq.to_be_bytes());
        bytes.push(code);
        bytes.extend((card.attempts.len() as u32).to_be_bytes());
        bytes.extend(last.and_then(|last| last.position).unwrap_or(0).to_be_bytes());
    }
    Sha256::digest(bytes).into()
}

proptest! {
    #![proptest_config(config(24))]

    #[test]
    fn a_ledger_of_many_jobs_is_followed_as_its_audit_replays_it(
        scripts in prop::collection::vec(numbers(80), 1..4), shredded: bool, finish: bool
    ) {
        let mut scripts = scripts;
        if finish {
            scripts.iter_mut().for_each(|script| script.extend(windup(CARDS)));
            // DELETING, then DELETED.
            scripts[0].extend([(51, 1, 1), (47, 1, 1)]);
        }
        let (reader, events, _directory) = written(&scripts, shredded);
        prop_assert_eq!(reader.audit(None, |_| ()).unwrap().findings, []);
        let mut book = LedgerBook::new(reader.id().unwrap());
        for event in &events {
            let before = book.clone();
            for variant in wrong(event) {
                prop_assert!(book.follow(&variant.body().unwrap()).is_err(), "{variant:?}");
                prop_assert!(book == before, "{variant:?} left a trace");
            }
            let followed = book.follow(&event.body().unwrap());
            prop_assert!(followed.is_ok(), "{event:?}: {followed:?}");
        }
        // The HSM keeps the book in a snapshot.
        let kept: LedgerBook = postcard::from_bytes(&postcard::to_allocvec(&book).unwrap()).unwrap();
        prop_assert!(kept == book);
        let head = reader.verify_chain().unwrap();
        prop_assert_eq!((book.place().n, book.place().hash), (head.n, head.hash));
        for view in reader.jobs().unwrap() {
            prop_assert_eq!(book.job(view.job), Some((view.state, view.balance)));
            let closed = view.state == JobState::Closed;
            let counted = book.closed(view.job).map(|closed| (closed.outcomes, closed.balance));
            prop_assert_eq!(counted, closed.then(|| (outcome(&reader, view.job), view.balance)));
            for seq in (1..=CARDS).filter(|_| !closed) {
                let last = reader.card(view.job, seq).unwrap().attempts.pop();
                prop_assert_eq!(book.last_attempt(view.job, seq), last.map(|last| (last.attempt, last.state)));
            }
        }
    }

    /// Whatever bytes come, nothing panics and nothing is followed that no ledger has written.
    #[test]
    fn damaged_bytes_change_nothing(at: prop::sample::Index, bit in 0u8..8, which: prop::sample::Index) {
        let (reader, events, _directory) = written(&[vec![(0, 1, 1), (6, 1, 2)], vec![(0, 1, 1)]], false);
        let mut book = LedgerBook::new(reader.id().unwrap());
        let which = which.index(events.len());
        for event in &events[..which] {
            book.follow(&event.body().unwrap()).unwrap();
        }
        let mut bytes = events[which].body().unwrap();
        let before = book.clone();
        let place = at.index(bytes.len());
        bytes[place] ^= 1 << bit;
        if book.follow(&bytes).is_err() {
            prop_assert!(book == before);
        }
        prop_assert!(before.clone().follow(&bytes[..place]).is_err(), "a shorter event");
    }
}

/// The first event of a job.
fn accepted(n: u64, job: u32, terms: AcceptedTerms) -> Vec<u8> {
    let event = LedgerEvent {
        n,
        ts: 1,
        job: Some(JobId(job)),
        simulated: true,
        chain: event::ChainVersion::Two,
        from: None,
        fact: EventFact::Accepted(Some(Box::new(terms))),
        context: Context::default(),
        unknown: Vec::new(),
    };
    event.body().unwrap()
}

/// Terms of a file of this name, whose digest begins with `digest`.
fn terms(file_id: &str, digest: u8) -> AcceptedTerms {
    let new = file("A", 2);
    AcceptedTerms {
        issuer: new.issuer_id.to_string(),
        file_id: FileId::new(file_id).unwrap().to_string(),
        product: new.product.to_string(),
        records: 2,
        line: new.line,
        kek: new.kek,
        digest: [digest; 32],
        spool: new.spool,
        spool_key: None,
        rejects_shredded: false,
        rejects_marked: false,
        test_keys: true,
        cards: [1; 32],
        profiles: JobProfiles::default(),
        laws: LAWS,
    }
}

#[test]
fn a_file_is_one_job_by_name_and_by_digest() {
    let mut book = LedgerBook::new(LedgerId([1; 16]));
    assert_eq!(book.follow(&accepted(1, 1, terms("A", 1))), Ok(Followed::Accepted(JobId(1))));
    let before = book.clone();
    for again in [terms("A", 1), terms("A", 2), terms("B", 1)] {
        assert_eq!(book.follow(&accepted(2, 2, again)), Err(Breach::FileTwice(JobId(1))));
    }
    assert!(book == before, "a refused file left a trace");
    // Another issuer may use the same name; where the name of one ends is no matter of the next one's beginning.
    let another = AcceptedTerms { issuer: "OTHERBANK".to_owned(), ..terms("A", 2) };
    assert_eq!(book.follow(&accepted(2, 2, another)), Ok(Followed::Accepted(JobId(2))));
    let joined = AcceptedTerms { issuer: "OTHERBANKA".to_owned(), ..terms("B", 3) };
    assert_eq!(book.follow(&accepted(3, 3, joined)), Ok(Followed::Accepted(JobId(3))));
}

#[test]
fn jobs_are_numbered_in_order() {
    let mut book = LedgerBook::new(LedgerId([1; 16]));
    let gap = |next, got| Err(Breach::JobNumber { next: JobId(next), got: JobId(got) });
    assert_eq!(book.follow(&accepted(1, 2, terms("A", 1))), gap(1, 2));
    book.follow(&accepted(1, 1, terms("A", 1))).unwrap();
    for wrong in [1, 3, u32::MAX] {
        assert_eq!(book.follow(&accepted(2, wrong, terms("B", 2))), gap(2, wrong));
    }
    book.follow(&accepted(2, 2, terms("B", 2))).unwrap();
}

#[test]
fn other_laws_and_jobs_that_were_not_accepted_are_refused() {
    let mut book = LedgerBook::new(LedgerId([1; 16]));
    let before = book.clone();
    let other = AcceptedTerms { laws: LAWS + 1, ..terms("A", 1) };
    let fault = Err(Breach::Follow(FollowFault::OtherLaws(LAWS + 1)));
    assert_eq!(book.follow(&accepted(1, 1, other)), fault);
    let held = LedgerEvent {
        fact: EventFact::Held,
        from: Some(StateName::JobOpen),
        ..codec_event(&accepted(1, 1, terms("A", 1)))
    };
    assert_eq!(book.follow(&held.body().unwrap()), Err(Breach::NoJob(JobId(1))));
    assert!(book == before);
}

fn codec_event(bytes: &[u8]) -> LedgerEvent {
    event::codec::decode(bytes).unwrap()
}
