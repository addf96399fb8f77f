//! Jobs, files, settings, group commit, subscribers, views.

use std::os::unix::fs::PermissionsExt;

use rusqlite::Connection;

use super::*;
use crate::exit::{Exit, Failure};

#[test]
fn the_file_is_private_and_synchronous() {
    let directory = directory();
    let path = directory.path().join("l.db");
    let ledger = Ledger::open(&path).unwrap();
    ledger.new_job(file("F", 1)).unwrap();
    for name in ["l.db", "l.db-wal", "l.db-lock"] {
        let mode = std::fs::metadata(directory.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn strangers_and_newer_ledgers_are_refused() {
    let directory = directory();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("text.db"), "this is not a database, by far not one of ours").unwrap();
    Connection::open(path("other.db")).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    for name in ["text.db", "other.db"] {
        assert!(matches!(Ledger::open(path(name)), Err(LedgerError::NotALedger(_))), "{name}");
        assert!(matches!(Reader::open(path(name)), Err(LedgerError::NotALedger(_))), "{name}");
    }
    std::fs::write(path("empty.db"), "").unwrap();
    assert!(matches!(Reader::open(path("empty.db")), Err(LedgerError::NotALedger(_))));
    assert!(matches!(Reader::open(path("none.db")), Err(LedgerError::Missing(_))));
    assert!(!path("none.db").exists());

    drop(Ledger::open(path("new.db")).unwrap());
    Connection::open(path("new.db")).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let newer = |e| matches!(e, LedgerError::Newer { found: 99, .. });
    assert!(newer(Ledger::open(path("new.db")).err().unwrap()));
    assert!(newer(Reader::open(path("new.db")).err().unwrap()));
}

/// Making a ledger may be interrupted anywhere and starts again; a file that once was a ledger is never mistaken for
/// one in the making.
#[test]
fn a_ledger_is_made_whole_or_not_at_all() {
    let directory = directory();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("begun.db-new"), "as far as it came").unwrap();
    drop(Ledger::open(path("begun.db")).unwrap());
    assert!(path("begun.db").exists() && !path("begun.db-new").exists());

    std::fs::write(path("emptied.db"), "").unwrap();
    assert!(matches!(Ledger::open(path("emptied.db")), Err(LedgerError::Empty(_))));
    Connection::open(path("bare.db")).unwrap().execute_batch("PRAGMA journal_mode = WAL").unwrap();
    assert!(matches!(Ledger::open(path("bare.db")), Err(LedgerError::NotALedger(_))));

    let ledger = Ledger::open(path("gone.db")).unwrap();
    ledger.new_job(file("F", 1)).unwrap();
    copy_as_it_is(&path("gone.db"), &path("copy.db"));
    std::fs::remove_file(path("copy.db")).unwrap();
    assert!(matches!(Ledger::open(path("copy.db")), Err(LedgerError::Damaged(_))));

    std::os::unix::fs::symlink(path("unmounted/l.db"), path("link.db")).unwrap();
    assert!(matches!(Ledger::open(path("link.db")), Err(LedgerError::Io { .. })));
    assert!(path("link.db").is_symlink());
}

/// `v1.sql` to `v6.sql` are ledgers as those versions left them. Readers and writers migrate them without changing
/// their content. An audit finds nothing wrong, also after a writer has settled the cards that were under way.
#[test]
fn ledgers_of_earlier_versions_open() {
    let directory = directory();
    let whole = |reader: &Reader, job, version: u32| {
        reader.verify_chain().unwrap();
        let audit = reader.audit(None, |_| ()).unwrap();
        assert_eq!(audit.findings, []);
        // Jobs had no seal until version 4.
        let own = reader.jobs().unwrap().iter().filter(|job| job.file_id != "H").count();
        assert_eq!(audit.unsealed, if version < 5 { own } else { 0 });
        assert_eq!(reader.recount(job).unwrap(), reader.job(job).unwrap().balance);
    };
    // Good, remake, rejected blanks; after a start, the cards that were under way are unknown.
    for (version, sql, counts, unknown) in [
        (1, include_str!("v1.sql"), (2, 1, 1), 0),
        (2, include_str!("v2.sql"), (3, 0, 6), 2),
        (3, include_str!("v3.sql"), (3, 0, 7), 2),
        (4, include_str!("v4.sql"), (4, 1, 2), 2),
        (5, include_str!("v5.sql"), (1, 3, 4), 1),
        (6, include_str!("v6.sql"), (2, 1, 3), 1),
    ] {
        for reads_first in [false, true] {
            let path = directory.path().join(format!("{version}-{reads_first}.db"));
            Connection::open(&path).unwrap().execute_batch(sql).unwrap();
            if reads_first {
                let reader = Reader::open(&path).unwrap();
                whole(&reader, JobId(1), version);
                let found: u32 = Connection::open(&path)
                    .unwrap()
                    .pragma_query_value(None, "user_version", |r| r.get(0))
                    .unwrap();
                assert_eq!(found, 8);
            }
            let ledger = Ledger::open(&path).unwrap();
            let reader = ledger.reader().unwrap();
            whole(&reader, JobId(1), version);
            let view = reader.job(JobId(1)).unwrap();
            assert_eq!((view.simulated, view.test_keys), (true, true));
            assert_eq!((view.balance.good, view.balance.remake, view.balance.blanks_rejected), counts);
            assert_eq!(view.balance.unknown, unknown);
            let destroyed = Change::Destroyed { seq: if version == 1 { 1 } else { 4 } };
            assert_eq!((view.spool_key.is_some(), view.deleted), (version >= 5, false));
            all(&ledger, JobId(1), [destroyed, Change::Held]);
            let new = NewJob { simulated: false, test_keys: false, ..file("H", 1) };
            let job = ledger.new_job(new).unwrap().job;
            assert!(!reader.job(job).unwrap().test_keys);
            whole(&reader, JobId(1), version);
        }
    }
}

/// A hold waits for cards under way only as long as some process makes them.
#[test]
fn a_job_whose_writer_has_died_does_not_stop_any_more() {
    let directory = directory();
    let (path, job) = (directory.path().join("l.db"), JobId(1));
    let ledger = Ledger::open(&path).unwrap();
    ledger.new_job(file("F", 3)).unwrap();
    all(&ledger, job, [Change::HoldAsked]);
    let phase = || Reader::open(&path).unwrap().job(job).unwrap().phase;
    assert_eq!(
        (phase(), ledger.reader().unwrap().job(job).unwrap().phase),
        (JobPhase::Stopping, JobPhase::Stopping)
    );
    ledger.close().unwrap();
    assert_eq!(phase(), JobPhase::Open);
    drop(Ledger::open(&path).unwrap());
}

/// One chip, one record, no matter which number its blank has, in this run and in the next.
#[test]
fn a_chip_is_bound_once() {
    let directory = directory();
    let (path, job) = (directory.path().join("l.db"), JobId(1));
    let ledger = Ledger::open(&path).unwrap();
    ledger.new_job(file("F", 3)).unwrap();
    all(&ledger, job, [Change::Fed { blank: 1 }, Change::Bound { seq: 1, blank: 1, chip: chip(7) }]);
    all(&ledger, job, [Change::Fed { blank: 2 }]);
    let again = Change::Bound { seq: 2, blank: 2, chip: chip(7) };
    let denied = |ledger: &Ledger| say(ledger, job, again.clone()).unwrap_err();
    let seen = |error| matches!(error, LedgerError::Denied { law: Law::ChipSeen(2), .. });
    assert!(seen(denied(&ledger)));
    ledger.close().unwrap();
    let ledger = Ledger::open(&path).unwrap();
    all(&ledger, job, [Change::Released, Change::Fed { blank: 3 }]);
    let other = Change::Bound { seq: 2, blank: 3, chip: chip(8) };
    assert!(matches!(
        say(&ledger, job, Change::Bound { seq: 3, blank: 3, chip: chip(7) }),
        Err(LedgerError::Denied { law: Law::ChipSeen(3), .. })
    ));
    all(&ledger, job, [other]);
}

#[test]
fn a_file_is_seen_by_name_and_by_digest() {
    let directory = directory();
    let ledger = Ledger::open(directory.path().join("l.db")).unwrap();
    let job = ledger.new_job(file("F", 1)).unwrap().job;
    assert_eq!(job, JobId(1));
    let renamed = NewJob { file_id: FileId::new("G").unwrap(), ..file("F", 1) };
    let changed = NewJob { digest: [9; 32], ..file("F", 1) };
    for new in [file("F", 1), renamed.clone()] {
        assert_eq!(ledger.new_job(new), Err(LedgerError::Seen { job, open: true }));
    }
    // Another file with the name of the first is not the first one: who resumes its job would make the old data.
    let taken = LedgerError::FileIdTaken {
        job,
        file_id: "F".to_owned(),
        accepted: file("F", 1).digest,
        digest: [9; 32],
    };
    assert_eq!(ledger.new_job(changed.clone()), Err(taken.clone()));
    assert_eq!(Failure::from(taken).exit, Exit::FileSeen);
    // Another issuer's file_ids and card_refs are independent.
    let other = NewJob { issuer_id: IssuerId::new("OTHERBANK").unwrap(), ..changed };
    assert_eq!(ledger.new_job(other), Ok(Accepted { job: JobId(2), seen_before: vec![] }));
    all(&ledger, job, [Change::Cancelled { seq: 1 }, Change::Closed]);
    assert_eq!(ledger.new_job(renamed), Err(LedgerError::Seen { job, open: false }));
    let failure = |open| Failure::from(LedgerError::Seen { job, open });
    assert_eq!((failure(true).exit, failure(false).exit), (Exit::JobOpen, Exit::FileSeen));
    sound(&ledger.reader().unwrap());
}

#[test]
fn card_refs_seen_in_another_file_hold_the_job() {
    let directory = directory();
    let ledger = Ledger::open(directory.path().join("l.db")).unwrap();
    ledger.new_job(file("F", 5)).unwrap();
    let second = NewJob { cards: names(["G-1", "F-3", "G-3", "F-1"]), ..file("G", 4) };
    let accepted = ledger.new_job(second).unwrap();
    assert_eq!(accepted.seen_before, [2, 4]);
    let job = accepted.job;
    assert_eq!(ledger.reader().unwrap().job(job).unwrap().state, JobState::Held);
    let events = ledger.reader().unwrap().events(Some(job), 0, 10).unwrap();
    let shown: Vec<_> = events.iter().map(|e| (e.to_word(), e.context.reason.clone())).collect();
    assert_eq!(shown, [("ACCEPTED".to_owned(), None), ("HELD".to_owned(), Some(ReasonWord::CardRefSeen))]);
    say(&ledger, job, Change::Fed { blank: 1 }).unwrap();
    let bound = Change::Bound { seq: 1, blank: 1, chip: None };
    assert!(say(&ledger, job, bound.clone()).is_err());
    say(&ledger, job, Change::Released).unwrap();
    say(&ledger, job, bound).unwrap();
}

#[test]
fn a_held_job_says_why_and_what_else_was_said() {
    let directory = directory();
    let ledger = Ledger::open(directory.path().join("l.db")).unwrap();
    let job = ledger.new_job(file("F", 1)).unwrap().job;
    let told = || {
        let view = ledger.reader().unwrap().job(job).unwrap();
        (view.held_for, view.held_detail)
    };
    let hold = |reason: &str, detail: Option<&str>| {
        let context =
            Context { reason: Some(reason.into()), detail: detail.map(str::to_owned), ..Context::default() };
        ledger.record(job, Change::Held, context).wait().unwrap();
        (Some(reason.into()), detail.map(str::to_owned))
    };
    assert_eq!(told(), (None, None));
    assert_eq!(hold("line", Some("the profile is another one")), told());
    assert_eq!(hold("operator", None), told(), "of the last hold alone");
    say(&ledger, job, Change::Released).unwrap();
    assert_eq!(told(), (None, None));
}

#[test]
fn what_cannot_be_a_job_leaves_no_trace() {
    let directory = directory();
    let ledger = Ledger::open(directory.path().join("l.db")).unwrap();
    let twice = NewJob { cards: names(["F-1", "F-2", "F-1"]), ..file("F", 3) };
    assert_eq!(ledger.new_job(twice), Err(LedgerError::NotAJob(Law::CardRefTwice(3))));
    assert_eq!(ledger.new_job(file("F", 0)), Err(LedgerError::NotAJob(Law::RecordCount)));
    assert_eq!(ledger.reader().unwrap().last_event().unwrap(), 0);
    ledger.new_job(file("F", 3)).unwrap();
    let none = JobId(7);
    assert_eq!(say(&ledger, none, Change::Held), Err(LedgerError::NoJob(none)));
    assert_eq!(ledger.reader().unwrap().card(none, 1), Err(LedgerError::NoJob(none)));
    let failure = Failure::from(ledger.reader().unwrap().card(JobId(1), 4).unwrap_err());
    assert_eq!(failure.exit, Exit::NotFound);
}

/// Every acknowledged change is visible to a connection that reads only committed data.
#[test]
fn acknowledged_is_committed() {
    let directory = directory();
    let path = directory.path().join("l.db");
    let ledger = Ledger::open(&path).unwrap();
    let job = ledger.new_job(file("F", 200)).unwrap().job;
    let witness = Connection::open(&path).unwrap();
    std::thread::scope(|scope| {
        // Other threads keep the batches full.
        for _ in 0..3 {
            scope.spawn(|| (0..200).for_each(|_| drop(say(&ledger, job, Change::Held))));
        }
        for _ in 0..200 {
            let event = say(&ledger, job, Change::Held).unwrap();
            let seen: Result<u16, _> = witness.query_row(
                "SELECT kind FROM event_v2 WHERE n = ?1",
                [i64::try_from(event.n).unwrap()],
                |r| r.get(0),
            );
            assert_eq!(seen.unwrap(), event::kinds::HELD);
        }
    });
}

#[test]
fn a_subscriber_gets_every_event_once_in_order() {
    let directory = directory();
    let path = directory.path().join("l.db");
    let ledger = Ledger::open(&path).unwrap();
    let (events, gone) = (ledger.subscribe(), ledger.subscribe());
    drop(gone);
    let job = ledger.new_job(file("F", 50)).unwrap().job;
    for seq in 1..=50 {
        drop(ledger.record(job, Change::Fed { blank: seq }, Context::default()));
        drop(ledger.record(job, Change::Fed { blank: 1 }, Context::default()));
        drop(ledger.record(
            job,
            Change::Bound { seq, blank: seq, chip: chip(seq as u8) },
            Context::default(),
        ));
    }
    let late = ledger.subscribe();
    say(&ledger, job, Change::Held).unwrap();
    let reader = ledger.reader().unwrap();
    ledger.close().unwrap();
    let heard: Vec<_> = events.iter().map(|event| (*event).clone()).collect();
    assert_eq!(heard.len(), 102);
    assert_eq!(heard, reader.events(None, 0, 1000).unwrap());
    assert_eq!(heard.iter().map(|e| e.n).collect::<Vec<_>>(), (1..=102).collect::<Vec<_>>());
    assert_eq!(late.iter().map(|e| e.n).collect::<Vec<_>>(), [102]);
}

#[test]
fn a_closed_ledger_says_so() {
    let directory = directory();
    let ledger = Ledger::open(directory.path().join("l.db")).unwrap();
    let job = ledger.new_job(file("F", 1)).unwrap().job;
    let clone = ledger.clone();
    let ticket = ledger.record(job, Change::Held, Context::default());
    ledger.close().unwrap();
    assert_eq!(ticket.wait().unwrap().fact, EventFact::Held);
    assert_eq!(say(&clone, job, Change::Held), Err(LedgerError::Closed));
    assert_eq!(clone.new_job(file("G", 1)), Err(LedgerError::Closed));
    assert!(clone.subscribe().recv().is_err());
}

#[test]
fn events_tell_card_blank_place_and_cause() {
    let directory = directory();
    let ledger = Ledger::open(directory.path().join("l.db")).unwrap();
    let job = ledger.new_job(file("F", 3)).unwrap().job;
    let fed = say(&ledger, job, Change::Fed { blank: 1 }).unwrap();
    assert_eq!(
        (fed.seq(), fed.blank_name().as_deref(), fed.from_word(), &*fed.to_word()),
        (None, Some("#1"), None, "FED")
    );
    let bound = say(&ledger, job, Change::Bound { seq: 2, blank: 1, chip: chip(0xAB) }).unwrap();
    assert_eq!(bound.card_ref(), Some("F-2"));
    assert_eq!((bound.attempt(), bound.blank_name().as_deref()), (Some(1), Some("000000AB")));
    assert_eq!((bound.from_word(), &*bound.to_word()), (Some("QUEUED"), "BOUND"));
    assert_eq!(bound.detail_text().as_deref(), Some("KMC FFFFFF476173:1, blank #1"));
    assert!(bound.simulated);
    let context = Context {
        station: Some("chip-3".to_owned()),
        reason: Some(ReasonWord::of_status(0x6A84)),
        header: Some("84E20001".to_owned()),
        sw: Some(0x6A84),
        ..Context::default()
    };
    let rejected = ledger.record(job, Change::Rejected { seq: 2 }, context).wait().unwrap();
    assert_eq!((rejected.from_word(), &*rejected.to_word()), (Some("BOUND"), "REJECTED"));
    assert_eq!(rejected.context.sw, Some(0x6A84));
    let reader = ledger.reader().unwrap();
    let card = reader.card(job, 2).unwrap();
    assert_eq!((card.state, card.events.len()), (RecordState::Remake, 2));
    assert_eq!(card.attempts[0].key_data.as_deref(), Some("FFFFFF476173000000AB"));
    let rejects = reader.rejects(job).unwrap();
    assert_eq!(rejects.len(), 1);
    assert_eq!((rejects[0].sw.as_deref(), rejects[0].to_destroy), (Some("6A84"), false));
}

#[test]
fn gaps_and_remakes_are_listed_apart() {
    let directory = directory();
    let ledger = Ledger::open(directory.path().join("l.db")).unwrap();
    let job = ledger.new_job(file("F", 6)).unwrap().job;
    let good = |seq, blank, position| {
        bind(seq, blank).into_iter().chain(make(seq)).chain([Change::Stacked { seq, position }])
    };
    all(&ledger, job, good(1, 1, 1));
    all(&ledger, job, bind(2, 2));
    all(
        &ledger,
        job,
        [Change::Attempt { seq: 2, to: AttemptState::Personalizing }, Change::Rejected { seq: 2 }],
    );
    all(&ledger, job, good(3, 3, 2));
    all(&ledger, job, [Change::Cancelled { seq: 4 }]);
    all(&ledger, job, good(5, 4, 3));
    // Positions continue after the last one, also in another process.
    ledger.close().unwrap();
    let ledger = Ledger::open(directory.path().join("l.db")).unwrap();
    all(&ledger, job, [Change::Fed { blank: 5 }, Change::Bound { seq: 6, blank: 5, chip: None }]);
    all(&ledger, job, make(6));
    let again = say(&ledger, job, Change::Stacked { seq: 6, position: 3 });
    let law = Law::Position { last: 3, got: 3 };
    assert_eq!(again, Err(LedgerError::Denied { job, seq: Some(6), law }));
    all(&ledger, job, [Change::Stacked { seq: 6, position: 4 }]);
    let reader = ledger.reader().unwrap();
    assert_eq!(reader.card(job, 6).unwrap().attempts[0].compared.as_deref(), Some("stripe read-back"));
    assert!(reader.rejects(job).unwrap()[0].to_destroy);
    // Closing, remaking and cancelling are refused by their laws until a person saw the card destroyed.
    let law = |r: Result<LedgerEvent, LedgerError>| match r {
        Err(LedgerError::Denied { law, .. }) => law,
        other => panic!("{other:?}"),
    };
    let released = Change::RemakeReleased { seq: 2 };
    assert_eq!(
        law(say(&ledger, job, released.clone())),
        Law::EarlierAttempt { attempt: 1, is: AttemptState::Rejected }
    );
    let closing = law(say(&ledger, job, Change::Closed));
    let expected =
        Law::Closing { queued: 0, in_flight: 0, remake: 1, unknown: 0, rejects: 1, blanks: 0, hopper: 0 };
    assert_eq!(closing, expected);
    all(&ledger, job, [Change::Destroyed { seq: 2 }, released]);
    assert_eq!(reader.pending(job).unwrap(), [2]);
    all(&ledger, job, good(2, 6, 5));
    all(&ledger, job, [Change::Closed]);
    let stack = reader.stack(job).unwrap();
    let gaps: Vec<_> = stack.gaps.iter().map(|g| (g.seq, g.state, g.after_position)).collect();
    assert_eq!(gaps, [(2, RecordState::Good, 1), (4, RecordState::Cancelled, 2)]);
    let remakes: Vec<_> = stack.remakes.iter().map(|r| (r.seq, r.attempt, r.position)).collect();
    assert_eq!(remakes, [(2, 2, 5)]);
    assert_eq!(law(say(&ledger, job, Change::Held)), Law::JobClosed);
    sound(&reader);
}

/// On a shredding line a record is made again at once, but its first card still has to be seen destroyed before the
/// job closes.
#[test]
fn a_shredded_card_is_destroyed_after_its_remake() {
    let directory = directory();
    let ledger = Ledger::open(directory.path().join("l.db")).unwrap();
    let job = ledger.new_job(NewJob { rejects_shredded: true, ..file("F", 1) }).unwrap().job;
    all(&ledger, job, bind(1, 1));
    all(
        &ledger,
        job,
        [Change::Attempt { seq: 1, to: AttemptState::Personalizing }, Change::Rejected { seq: 1 }],
    );
    all(&ledger, job, [Change::RemakeReleased { seq: 1 }]);
    all(&ledger, job, bind(1, 2).into_iter().chain(make(1)).chain([Change::Stacked { seq: 1, position: 1 }]));
    assert!(say(&ledger, job, Change::Closed).is_err());
    let destroyed = say(&ledger, job, Change::Destroyed { seq: 1 }).unwrap();
    assert_eq!(destroyed.attempt(), Some(1));
    assert!(say(&ledger, job, Change::Destroyed { seq: 1 }).is_err());
    assert_eq!(ledger.reader().unwrap().card(job, 1).unwrap().state, RecordState::Good);
    all(&ledger, job, [Change::Closed]);
}

#[test]
fn the_last_proof_of_a_stations_wiring_counts() {
    let directory = directory();
    let ledger = Ledger::open(directory.path().join("l.db")).unwrap();
    let wired = |station: &str| {
        let both = ["embosser-1", "embosser-2"].map(str::to_owned).into();
        ledger.reader().unwrap().wired(&both).unwrap().remove(station)
    };
    let by = || Context::by("Anna");
    assert_eq!(wired("embosser-1"), None);
    ledger.wired_by_word("embosser-1", "node 1", by()).unwrap();
    ledger.wired_by_word("embosser-2", "node 2", by()).unwrap();
    ledger.wired_by_word("embosser-1", "node 3", by()).unwrap();
    assert_eq!((wired("embosser-1"), wired("embosser-2")), (Some("node 3".into()), Some("node 2".into())));
    ledger.wiring_refuted("embosser-1", by()).unwrap();
    ledger.blank_tested("embosser-1", by()).unwrap();
    assert_eq!((wired("embosser-1"), wired("embosser-2")), (None, Some("node 2".into())));
    let events = ledger.reader().unwrap().events(None, 0, 100).unwrap();
    let words: Vec<_> = events.iter().map(|event| (event.to_word(), event.context.actor.clone())).collect();
    let anna = |word: &str| (word.to_owned(), Some("Anna".to_owned()));
    let proof = || [anna("WORD"), anna("WIRED")];
    let all = [proof(), proof(), proof()].into_iter().flatten().chain([anna("WIRED"), anna("TEST_BLANK")]);
    assert_eq!(words, all.collect::<Vec<_>>());
}
