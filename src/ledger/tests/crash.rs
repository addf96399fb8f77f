//! Power cuts, full disks and second openers.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;

/// One card in each state that a card can have when the power fails.
fn half_a_run(ledger: &Ledger) -> JobId {
    let job = ledger.new_job(file("F", 9)).unwrap().job;
    for n in 1..=5 {
        all(ledger, job, bind(n, n));
    }
    all(ledger, job, make(2).into_iter().take(1));
    all(ledger, job, make(3).into_iter().take(2));
    all(ledger, job, make(4));
    all(ledger, job, make(5));
    all(ledger, job, [Change::Stacked { seq: 5, position: 1 }]);
    all(ledger, job, bind(6, 6));
    all(ledger, job, [Change::Rejected { seq: 6 }, Change::Fed { blank: 7 }, Change::Cancelled { seq: 9 }]);
    job
}

#[test]
fn after_a_kill_what_was_under_way_is_unknown_and_the_job_held() {
    let directory = directory();
    let (live, copy) = (directory.path().join("live.db"), directory.path().join("copy.db"));
    let ledger = Ledger::open(&live).unwrap();
    let job = half_a_run(&ledger);
    copy_as_it_is(&live, &copy);

    let reader = Ledger::open(&copy).unwrap().reader().unwrap();
    sound(&reader);
    assert_eq!(reader.job(job).unwrap().state, JobState::Held);
    let states: Vec<_> = (1..=9).map(|seq| reader.card(job, seq).unwrap().state.name()).collect();
    let expected =
        ["UNKNOWN", "UNKNOWN", "UNKNOWN", "UNKNOWN", "GOOD", "REMAKE", "QUEUED", "QUEUED", "CANCELLED"];
    assert_eq!(states, expected);
    let restart: Vec<_> = reader
        .events(Some(job), 0, 1000)
        .unwrap()
        .into_iter()
        .filter(|e| e.context.reason == Some(ReasonWord::Restart))
        .map(|e| (e.seq(), e.blank_name(), e.from_word().unwrap().to_owned(), e.to_word()))
        .collect();
    let row = |seq, blank: Option<&str>, from: &str, to: &str| {
        (seq, blank.map(str::to_owned), from.to_owned(), to.to_owned())
    };
    assert_eq!(
        restart,
        [
            row(Some(1), Some("#1"), "BOUND", "UNKNOWN"),
            row(Some(2), Some("#2"), "PERSONALIZING", "UNKNOWN"),
            row(Some(3), Some("#3"), "WRITTEN", "UNKNOWN"),
            row(Some(4), Some("#4"), "VERIFIED", "UNKNOWN"),
            row(None, Some("#7"), "FED", "REJECTED"),
            row(None, None, "OPEN", "HELD"),
        ]
    );
    // Only a person can decide about them, and nothing is bound before the job is released.
    let ledger = Ledger::open(&copy).unwrap();
    for change in make(2) {
        assert!(matches!(say(&ledger, job, change), Err(LedgerError::Denied { .. })));
    }
    say(&ledger, job, Change::Fed { blank: 8 }).unwrap();
    let bound = Change::Bound { seq: 7, blank: 8, chip: None };
    let denied = say(&ledger, job, bound.clone());
    assert_eq!(denied, Err(LedgerError::Denied { job, seq: Some(7), law: Law::JobHeld }));
    say(&ledger, job, Change::Released).unwrap();
    say(&ledger, job, bound).unwrap();
}

#[test]
fn a_clean_stop_holds_nothing() {
    let directory = directory();
    let path = directory.path().join("l.db");
    let ledger = Ledger::open(&path).unwrap();
    let job = ledger.new_job(file("F", 2)).unwrap().job;
    all(&ledger, job, bind(1, 1).into_iter().chain(make(1)).chain([Change::Stacked { seq: 1, position: 1 }]));
    ledger.close().unwrap();
    let ledger = Ledger::open(&path).unwrap();
    assert_eq!(ledger.reader().unwrap().job(job).unwrap().state, JobState::Open);
    assert_eq!(ledger.reader().unwrap().pending(job).unwrap(), [2]);
}

/// A WAL that is cut anywhere leaves a prefix of the events, and the laws hold.
#[test]
fn a_wal_cut_anywhere_leaves_a_prefix() {
    let directory = directory();
    let live = directory.path().join("live.db");
    let ledger = Ledger::open(&live).unwrap();
    half_a_run(&ledger);
    let whole = ledger.reader().unwrap().events(None, 0, 10_000).unwrap();
    let wal = std::fs::read(live.with_extension("db-wal")).unwrap();
    let mut lengths = std::collections::BTreeSet::new();
    for step in 0..40 {
        let copy = directory.path().join(format!("cut-{step}.db"));
        std::fs::copy(&live, &copy).unwrap();
        let cut = wal.len() * step / 39;
        // Also a few bytes off the edge of a frame.
        std::fs::write(copy.with_extension("db-wal"), &wal[..cut.saturating_sub(step % 5)]).unwrap();
        let ledger = Ledger::open(&copy).unwrap();
        let reader = ledger.reader().unwrap();
        sound(&reader);
        let events = reader.events(None, 0, 10_000).unwrap();
        let kept = events.iter().take_while(|e| e.context.reason != Some(ReasonWord::Restart)).count();
        assert_eq!(events[..kept], whole[..kept]);
        lengths.insert(kept);
        for job in reader.jobs().unwrap() {
            assert_eq!((job.balance.in_flight, job.balance.blanks_in_line), (0, 0));
        }
    }
    assert!(lengths.len() > 8, "the cuts hit different places: {lengths:?}");
}

/// Readers, too, are refused a ledger that has lost events.
#[test]
fn readers_see_that_the_wal_was_removed() {
    let directory = directory();
    let live = directory.path().join("live.db");
    let ledger = Ledger::open(&live).unwrap();
    half_a_run(&ledger);
    let gone = directory.path().join("gone.db");
    // A copy without its WAL, at first without the lock's note too.
    std::fs::copy(&live, &gone).unwrap();
    Reader::open(&gone).unwrap();
    std::fs::copy(live.with_extension("db-lock"), gone.with_extension("db-lock")).unwrap();
    let refused = [Reader::open(&gone).err(), Ledger::open(&gone).err()];
    for error in &refused {
        let said = error.as_ref().unwrap().to_string();
        assert!(said.contains("its -wal was removed"), "{said}");
    }
    assert_eq!(refused[0], refused[1]);
    let link = directory.path().join("link.db");
    std::os::unix::fs::symlink(&gone, &link).unwrap();
    assert!(matches!(Reader::open(&link), Err(LedgerError::Damaged(_))));
    // A note about another ledger is ignored.
    drop(Ledger::open(directory.path().join("other.db")).unwrap());
    std::fs::copy(directory.path().join("other.db-lock"), gone.with_extension("db-lock")).unwrap();
    Reader::open(&gone).unwrap();
}

/// A reader that opens while a writer commits never gets an error about lost events.
#[test]
fn readers_get_along_with_a_writer() {
    let directory = directory();
    let live = directory.path().join("live.db");
    let ledger = Ledger::open(&live).unwrap();
    let job = ledger.new_job(file("F", 1)).unwrap().job;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reads = scope.spawn(|| {
            let (mut opened, mut last) = (0, 0);
            while !stop.load(Ordering::SeqCst) {
                let n = Reader::open(&live)?.last_event()?;
                assert!(n >= last);
                (opened, last) = (opened + 1, n);
            }
            Ok::<u32, LedgerError>(opened)
        });
        (0..400).for_each(|_| drop(say(&ledger, job, Change::Held).unwrap()));
        stop.store(true, Ordering::SeqCst);
        assert!(reads.join().unwrap().unwrap() > 20);
    });
}

/// Every change that was acknowledged before the copy began is in the copy, at any moment.
#[test]
fn acknowledged_changes_survive_a_kill_at_any_moment() {
    let directory = directory();
    let live = directory.path().join("live.db");
    let ledger = Ledger::open(&live).unwrap();
    let job = ledger.new_job(file("F", 2000)).unwrap().job;
    let (acknowledged, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for seq in 1..=2000 {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let changes = bind(seq, seq).into_iter().chain(make(seq));
                let tickets: Vec<_> = changes.map(|c| ledger.record(job, c, Context::default())).collect();
                for ticket in tickets {
                    acknowledged.store(ticket.wait().unwrap().n, Ordering::SeqCst);
                }
            }
        });
        for moment in 0..12 {
            std::thread::sleep(std::time::Duration::from_millis(7));
            let before = acknowledged.load(Ordering::SeqCst);
            let copy = directory.path().join(format!("copy-{moment}.db"));
            copy_as_it_is(&live, &copy);
            let reader = Ledger::open(&copy).unwrap().reader().unwrap();
            sound(&reader);
            let events = reader.events(None, 0, 100_000).unwrap();
            let kept = events.iter().filter(|e| e.context.reason != Some(ReasonWord::Restart)).count();
            assert!(kept as u64 >= before, "{kept} kept of {before} acknowledged");
        }
        stop.store(true, Ordering::SeqCst);
    });
    assert!(acknowledged.load(Ordering::SeqCst) > 10);
}

#[test]
fn a_full_disk_stops_everything_and_loses_nothing_acknowledged() {
    let directory = directory();
    let path = directory.path().join("l.db");
    let ledger = Ledger::open(&path).unwrap();
    let job = ledger.new_job(file("F", 100)).unwrap().job;
    let events = ledger.subscribe();
    ledger.fill_disk(2);
    let mut acknowledged = 0;
    let error = loop {
        match say(&ledger, job, Change::Held) {
            Ok(event) => acknowledged = event.n,
            Err(error) => break error,
        }
    };
    assert!(matches!(&error, LedgerError::Io { what, .. } if what.contains("full")), "{error:?}");
    assert!(acknowledged > 1);
    // Every later call gets the error, and no event follows.
    assert_eq!(say(&ledger, job, Change::Fed { blank: 1 }), Err(error.clone()));
    assert_eq!(ledger.new_job(file("G", 1)), Err(error.clone()));
    assert_eq!(events.iter().last().unwrap().n, acknowledged);
    assert_eq!(ledger.close(), Err(error));

    let ledger = Ledger::open(&path).unwrap();
    let reader = ledger.reader().unwrap();
    sound(&reader);
    assert_eq!(reader.last_event().unwrap(), acknowledged);
    say(&ledger, job, Change::Fed { blank: 1 }).unwrap();
}

#[test]
fn a_second_opener_is_refused_and_told_who() {
    let directory = directory();
    let path = directory.path().join("l.db");
    let ledger = Ledger::open(&path).unwrap();
    // Also through a symbolic link.
    let link = directory.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for path in [&path, &link] {
        let error = Ledger::open(path).err().unwrap();
        assert!(matches!(error, LedgerError::InUse { pid, .. } if pid == Some(std::process::id())));
    }
    let clone = ledger.clone();
    drop(ledger);
    assert!(Ledger::open(&path).is_err(), "a clone still holds it");
    clone.close().unwrap();
    Ledger::open(&path).unwrap();
}

/// Without SQLite's lock, any other program that closes the file would remove the WAL while it is in use.
#[test]
fn a_ledger_that_was_recovered_has_its_lock_and_nobody_elses_is_touched() {
    use std::os::unix::fs::MetadataExt;
    let directory = directory();
    let (live, copy) = (directory.path().join("live.db"), directory.path().join("copy.db"));
    let ledger = Ledger::open(&live).unwrap();
    half_a_run(&ledger);
    copy_as_it_is(&live, &copy);
    let locked = |path: &Path| {
        let ours = format!(" {} ", std::process::id());
        let file = format!(":{} ", path.metadata().unwrap().ino());
        let locks = std::fs::read_to_string("/proc/locks").unwrap();
        locks.lines().any(|lock| lock.contains("POSIX") && lock.contains(&ours) && lock.contains(&file))
    };
    let wal = directory.path().join("copy.db-wal");
    let left = wal.metadata().unwrap().len();
    assert!(left > 0 && !locked(&copy));
    let recovered = Ledger::open(&copy).unwrap();
    assert!(locked(&copy));
    // The WAL was checkpointed into the file.
    assert!(wal.metadata().unwrap().len() < left);
    drop(recovered);
    // While another process reads the ledger, no cached page is dropped, and the reader's lock stays.
    let (copy, wal) = (directory.path().join("other.db"), directory.path().join("other.db-wal"));
    copy_as_it_is(&live, &copy);
    let reader = Reader::open(&copy).unwrap();
    assert!(locked(&copy));
    let recovered = Ledger::open(&copy).unwrap();
    assert!(locked(&copy) && wal.metadata().unwrap().len() >= left);
    sound(&reader);
    sound(&recovered.reader().unwrap());
}
