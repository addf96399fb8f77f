//! New jobs that arrive in pieces.

use super::audit::Memory;
use super::{file, say};
use crate::ids::{CardNames, CardRef};
use crate::laws::types::Change;
use crate::laws::{JobId, JobState};
use crate::ledger::arrivals::Arrivals;
use crate::ledger::new_job::NewJob;
use crate::ledger::store::LedgerStore;
use crate::ledger::{Ledger, LedgerError, Reader};
use crate::reason::ReasonWord;
use rusqlite::Connection;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// A file of many pieces.
fn long(name: &str, records: u32) -> NewJob {
    let cards: CardNames = (1..=records).map(|n| CardRef::new(format!("{name}-{n}")).unwrap()).collect();
    NewJob { cards, ..file(name, 1) }
}

fn rows(path: &Path, job: u32) -> u32 {
    let connection = Connection::open(path).unwrap();
    connection.query_row("SELECT count(*) FROM record WHERE job = ?1", [job], |r| r.get(0)).unwrap()
}

/// A program that ends between acceptance and hold would leave a job OPEN that nobody has released.
#[test]
fn a_submitted_file_is_held_from_its_first_moment_on() {
    let directory = super::directory();
    let ledger = Ledger::open(directory.path().join("l.db")).unwrap();
    let submitted = |name| NewJob { submitted_by: Some("anna".into()), ..file(name, 2) };
    let job = ledger.new_job(submitted("F")).unwrap().job;
    let reader = ledger.reader().unwrap();
    let view = reader.job(job).unwrap();
    assert_eq!((view.state, reader.held_for(job).unwrap()), (JobState::Held, Some(ReasonWord::Submitted)));
    let held = reader.events(Some(job), 0, 9).unwrap().pop().unwrap();
    assert_eq!((held.n, held.context.actor.as_deref()), (2, Some("anna")));

    // Cards that may be made twice are a supervisor's, whoever submits them.
    let cards = ["G-1", "F-2"].map(|name| CardRef::new(name).unwrap()).into_iter().collect();
    let again = ledger.new_job(NewJob { cards, ..submitted("G") }).unwrap().job;
    assert_eq!(ledger.reader().unwrap().held_for(again).unwrap(), Some(ReasonWord::CardRefSeen));
}

#[test]
fn cards_go_on_while_a_long_file_arrives() {
    let directory = super::directory();
    let path = directory.path().join("l.db");
    let ledger = Ledger::open(&path).unwrap();
    let job = ledger.new_job(file("F", 3)).unwrap().job;
    let done = AtomicBool::new(false);
    let (accepted, made) = std::thread::scope(|scope| {
        let arriving = scope.spawn(|| {
            let accepted = ledger.new_job(long("G", 100_000)).unwrap();
            done.store(true, Ordering::SeqCst);
            accepted
        });
        let mut made = Vec::new();
        for blank in 1.. {
            if done.load(Ordering::SeqCst) {
                break;
            }
            if rows(&path, 2) > 0 {
                // No view shows the job yet, and an audit finds nothing wrong.
                let reader = Reader::open(&path).unwrap();
                if let Err(error) = reader.job(JobId(2)) {
                    assert_eq!(error, LedgerError::NoJob(JobId(2)));
                    assert_eq!(reader.audit(None, |_| ()).unwrap().findings, []);
                }
            }
            made.push(say(&ledger, job, Change::Fed { blank }).unwrap().n);
        }
        (arriving.join().unwrap(), made)
    });
    assert_eq!((accepted.job, accepted.seen_before), (JobId(2), Vec::new()));
    let reader = ledger.reader().unwrap();
    let first = reader.events(Some(JobId(2)), 0, 1).unwrap().remove(0);
    assert!(made.iter().filter(|n| **n < first.n).count() > 2, "{made:?} and {}", first.n);
    assert_eq!(rows(&path, 2), 100_000);
    assert_eq!(reader.card(JobId(2), 100_000).unwrap().card_ref, "G-100000");
    assert_eq!(reader.recount(JobId(2)).unwrap(), reader.job(JobId(2)).unwrap().balance);
    assert_eq!(reader.audit(None, |_| ()).unwrap().findings, []);
}

#[test]
fn a_job_that_has_not_arrived_is_taken_back() {
    let directory = super::directory();
    let path = directory.path().join("l.db");
    let ledger = Ledger::open(&path).unwrap();
    ledger.new_job(file("F", 3)).unwrap();
    ledger.fill_disk(100);
    let error = ledger.new_job(long("G", 20_000)).unwrap_err();
    assert!(matches!(&error, LedgerError::Io { what, .. } if what.contains("full")), "{error:?}");
    drop(ledger);
    let written = rows(&path, 2);
    assert!((1..20_000).contains(&written), "{written}");
    let reader = Reader::open(&path).unwrap();
    assert_eq!(reader.audit(None, |_| ()).unwrap().findings, []);
    assert_eq!(reader.jobs().unwrap().len(), 1);
    assert_eq!(reader.job(JobId(2)).unwrap_err(), LedgerError::NoJob(JobId(2)));
    assert_eq!(reader.card(JobId(2), 1).unwrap_err(), LedgerError::NoJob(JobId(2)));
    let ledger = Ledger::open(&path).unwrap();
    assert_eq!(rows(&path, 2), 0);
    assert_eq!(ledger.new_job(long("G", 20_000)).unwrap().job, JobId(2));
    assert_eq!(ledger.reader().unwrap().audit(None, |_| ()).unwrap().findings, []);
}

#[test]
fn a_card_of_another_file_is_found_in_any_piece() {
    let directory = super::directory();
    let ledger = Ledger::open(directory.path().join("l.db")).unwrap();
    ledger.new_job(long("F", 3_000)).unwrap();
    let cards = (1..=5_000).map(|n| match n {
        1_500 => "F-7".to_owned(),
        4_000 => "F-8".to_owned(),
        n => format!("G-{n}"),
    });
    let cards = cards.map(|name| CardRef::new(name).unwrap()).collect();
    let accepted = ledger.new_job(NewJob { cards, ..file("G", 1) }).unwrap();
    assert_eq!(accepted.seen_before, [1_500, 4_000]);
}

#[test]
fn two_files_arrive_one_after_the_other() {
    let directory = super::directory();
    let ledger = Ledger::open(directory.path().join("l.db")).unwrap();
    let results: Vec<_> = std::thread::scope(|scope| {
        let submit = || scope.spawn(|| ledger.new_job(long("G", 10_000)));
        [submit(), submit()].map(|thread| thread.join().unwrap()).into()
    });
    let seen = LedgerError::Seen { job: JobId(1), open: true };
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(results.iter().any(|result| result.as_ref().is_err_and(|error| *error == seen)), "{results:?}");
}

/// A ledger with job 1 and an incomplete job 2.
fn incomplete(path: &Path, memory: &Memory) {
    let ledger = memory.open(path).unwrap();
    ledger.new_job(file("F", 3)).unwrap();
    ledger.fill_disk(100);
    ledger.new_job(long("G", 20_000)).unwrap_err();
    drop(ledger);
    assert!(rows(path, 2) > 0);
}

#[test]
fn a_start_that_refuses_a_ledger_deletes_nothing() {
    let (directory, memory) = (super::directory(), Memory::default());
    let path = directory.path().join("l.db");
    incomplete(&path, &memory);
    let before = rows(&path, 2);
    // Another copy of the ledger went on and was signed.
    memory.signed_further();
    assert!(memory.open(&path).is_err());
    assert_eq!(rows(&path, 2), before);
}

#[test]
fn an_incomplete_job_that_no_writer_left_is_found() {
    let (directory, memory) = (super::directory(), Memory::default());
    let path = directory.path().join("l.db");
    incomplete(&path, &memory);
    let audit = |sql: &str| {
        let copy = directory.path().join("copy.db");
        let _ = std::fs::remove_file(&copy);
        Connection::open(&path).unwrap().execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
        Connection::open(&copy).unwrap().execute_batch(sql).unwrap();
        let audit = Reader::open(&copy).unwrap().audit(None, |_| ()).unwrap();
        audit.findings.len()
    };
    assert_eq!(audit("SELECT 1"), 0);
    for sql in [
        "UPDATE record SET state = 'GOOD' WHERE job = 2 AND seq = 7",
        "UPDATE record SET released = 1 WHERE job = 2 AND seq = 7",
        "UPDATE record SET seq = 90000 WHERE job = 2 AND seq = 7",
        "UPDATE job SET state = 'CLOSED' WHERE id = 2",
        "UPDATE job SET records = 5 WHERE id = 2",
        "UPDATE job SET deleted = 1 WHERE id = 2",
        "INSERT INTO blank (job, number, state) VALUES (2, 1, 'FED')",
    ] {
        assert_ne!(audit(sql), 0, "{sql}");
    }
}

#[test]
fn a_job_that_was_changed_while_it_arrived_is_refused() {
    let directory = super::directory();
    let path = directory.path().join("l.db");
    let mut store = LedgerStore::open(&path).unwrap();
    let mut arrivals = Arrivals::default();
    arrivals.add(long("G", 3_000), oneshot::channel().0);
    let mut arrival = arrivals.next().unwrap();
    assert!(arrival.step(&mut store).unwrap().is_none());
    let tamperer = Connection::open(&path).unwrap();
    tamperer.execute("UPDATE job SET test_keys = 1 - test_keys WHERE id = 1", []).unwrap();
    let result = std::iter::repeat_with(|| arrival.step(&mut store)).find(|step| !matches!(step, Ok(None)));
    assert!(matches!(&result, Some(Err(LedgerError::Damaged(what))) if what.contains("J1")));
}
