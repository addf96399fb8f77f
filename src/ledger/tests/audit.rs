//! The auditor's proof: every tampering with a ledger is found, and where; a ledger and an HSM that do not belong to the
//! same day notice each other.

use std::sync::{Arc, Mutex};

use proptest::prelude::RngExt;
use proptest::test_runner::{RngAlgorithm, TestRng};
use rusqlite::Connection;

use super::*;
use crate::audit::{AuditKey, Checkpoint, Document, LedgerId, Place, Signature};
use crate::hsm::{Admission, AuditInfo, Auditor, HsmError};
use crate::ledger::audit::{Audit, Where};
use crate::ledger::chain::{GENESIS, hash};

/// An HSM's memory, as the ledger sees it.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<(u64, Option<Place>)>>);

impl Memory {
    fn key() -> AuditKey {
        AuditKey::from_seed(&[7; 32])
    }

    fn info(&self) -> AuditInfo {
        let (generation, head) = *self.0.lock().unwrap();
        AuditInfo { key: Self::key().public(), generation, head }
    }

    fn open(&self, path: &Path) -> Result<Ledger, LedgerError> {
        Ledger::open_audited(path, Box::new(self.clone()))
    }
}

impl Auditor for Memory {
    fn audit(&mut self, _: LedgerId) -> Result<AuditInfo, HsmError> {
        Ok(self.info())
    }

    fn checkpoint(&mut self, place: Place) -> Result<Checkpoint, HsmError> {
        let mut memory = self.0.lock().unwrap();
        *memory = (memory.0 + 1, Some(place));
        Ok(Self::key().checkpoint(place, memory.0))
    }

    fn admit(&mut self, _: &Admission) -> Result<(), HsmError> {
        Ok(())
    }

    fn sign(&mut self, kind: Document, ledger: LedgerId, digest: [u8; 32]) -> Result<Signature, HsmError> {
        Ok(Self::key().document(kind, ledger, &digest))
    }
}

/// Four records: two stacked, one rejected and made again, one waiting; a blank of each fate; signed twice.
fn ledger_on_disk(directory: &TempDir, memory: &Memory) -> std::path::PathBuf {
    let path = directory.path().join("l.db");
    let ledger = memory.open(&path).unwrap();
    let job = ledger.new_job(file("F", 4)).unwrap().job;
    let bound =
        |seq, blank, chip| [Change::Fed { blank }, Change::Bound { seq, blank, key_data: key_data(chip) }];
    all(&ledger, job, bound(1, 1, 1).into_iter().chain(make(1)));
    all(&ledger, job, [Change::Stacked { seq: 1, position: 1 }]);
    all(
        &ledger,
        job,
        [Change::Fed { blank: 2 }, Change::RejectedUnbound { blank: 2, key_data: key_data(2) }],
    );
    all(&ledger, job, bind(2, 3));
    all(&ledger, job, [Change::Rejected { seq: 2 }]);
    ledger.close().unwrap();
    let ledger = memory.open(&path).unwrap();
    all(&ledger, job, [Change::Destroyed { seq: 2 }, Change::RemakeReleased { seq: 2 }]);
    all(&ledger, job, bind(2, 4).into_iter().chain(make(2)));
    all(&ledger, job, [Change::Stacked { seq: 2, position: 2 }, Change::Fed { blank: 5 }]);
    all(&ledger, job, [Change::Returned { blank: 5 }, Change::Held, Change::Released]);
    ledger.close().unwrap();
    path
}

/// The audit of a copy after something was done to it.
fn after(path: &Path, memory: &Memory, change: impl FnOnce(&Connection)) -> Audit {
    let copy = path.with_extension("copy");
    std::fs::copy(path, &copy).unwrap();
    let connection = Connection::open(&copy).unwrap();
    let mut triggers = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'").unwrap();
    let names: Vec<String> = triggers.query_map([], |r| r.get(0)).unwrap().map(Result::unwrap).collect();
    drop(triggers);
    for name in names {
        connection.execute_batch(&format!("DROP TRIGGER {name}")).unwrap();
    }
    change(&connection);
    drop(connection);
    Reader::open(&copy).unwrap().audit(Some(&memory.info()), |_| ()).unwrap()
}

/// A forger who knows how the chain is made: every hash is computed anew, and the head set.
fn rechain(connection: &Connection) {
    let mut query = connection.prepare("SELECT n FROM event ORDER BY n").unwrap();
    let numbers: Vec<i64> = query.query_map([], |r| r.get(0)).unwrap().map(Result::unwrap).collect();
    let (mut previous, mut scratch) = (GENESIS, Vec::new());
    for (number, n) in numbers.into_iter().zip(1i64..) {
        connection.execute("UPDATE event SET n = ?2 WHERE n = ?1", [number, n]).unwrap();
        let event = crate::ledger::store::event_at(connection, n);
        previous = hash(&previous, &event, &mut scratch);
        connection
            .execute("UPDATE event SET hash = ?2 WHERE n = ?1", rusqlite::params![n, previous])
            .unwrap();
    }
    let last: i64 = connection.query_row("SELECT max(n) FROM event", [], |r| r.get(0)).unwrap();
    connection.execute("UPDATE head SET n = ?1, hash = ?2", rusqlite::params![last, previous]).unwrap();
}

#[test]
fn an_untouched_ledger_is_found_whole() {
    let (directory, memory) = (directory(), Memory::default());
    let path = ledger_on_disk(&directory, &memory);
    let audit = after(&path, &memory, |_| ());
    assert_eq!(audit.findings, []);
    assert!(audit.checkpoints >= 2, "one for each time that it was open");
    assert_eq!(audit.signed_to, audit.head.n);
    assert_eq!(audit.key, Some(Memory::key().public()));
    // Computed anew it is the same.
    assert_eq!(after(&path, &memory, rechain).findings, []);
}

/// Two hundred random tamperings: edits of any column of any event, by one who computes the chain anew and by one who
/// does not, events deleted, moved, doubled and cut off, and edits of the tables of states and of checkpoints.
#[test]
fn every_random_tampering_is_found_and_where() {
    let (directory, memory) = (directory(), Memory::default());
    let path = ledger_on_disk(&directory, &memory);
    let last = after(&path, &memory, |_| ()).head.n;
    let text =
        ["card_ref", "blank", "station", "module", "from_state", "to_state", "reason", "detail", "actor"];
    let numbers = ["ts", "seq", "attempt", "position", "ms", "simulated"];
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, b"two hundred tamperings of ledger");
    let mut kinds = [0; 7];
    for case in 0..200 {
        let n = rng.random_range(1..=last);
        let forger = rng.random::<bool>();
        let kind = rng.random_range(0..kinds.len());
        kinds[kind] += 1;
        let column = |rng: &mut TestRng| {
            if rng.random::<bool>() {
                let column = text[rng.random_range(0..text.len())];
                format!("{column} = coalesce({column}, '') || 'x'")
            } else {
                let column = numbers[rng.random_range(0..numbers.len())];
                match column {
                    "simulated" => "simulated = 1 - simulated".to_owned(),
                    _ => format!("{column} = coalesce({column}, 0) + 1"),
                }
            }
        };
        let sql = match kind {
            0 | 1 => format!("UPDATE event SET {} WHERE n = {n}", column(&mut rng)),
            2 => format!("DELETE FROM event WHERE n = {n}"),
            3 => {
                let other = (n % last) + 1;
                format!(
                    "UPDATE event SET n = 1000 WHERE n = {n}; UPDATE event SET n = {n} WHERE n = {other}; \
                         UPDATE event SET n = {other} WHERE n = 1000"
                )
            }
            4 => format!("DELETE FROM event WHERE n >= {n}"),
            5 => {
                let tables = [
                    "UPDATE record SET state = 'GOOD' WHERE seq = 3",
                    "UPDATE record SET released = 1 WHERE seq = 4",
                    "UPDATE record SET card_ref = 'OTHER' WHERE seq = 1",
                    "UPDATE attempt SET state = 'UNKNOWN' WHERE seq = 2 AND number = 2",
                    "UPDATE attempt SET position = 77 WHERE seq = 1",
                    "UPDATE attempt SET wrote = 0 WHERE seq = 1",
                    "UPDATE blank SET state = 'REJECTED' WHERE number = 5",
                    "UPDATE blank SET key_data = zeroblob(10) WHERE number = 1",
                    "UPDATE balance SET good = good + 1",
                    "UPDATE balance SET blanks_sample = 1",
                    "UPDATE job SET state = 'HELD'",
                ];
                tables[rng.random_range(0..tables.len())].to_owned()
            }
            _ => {
                let checkpoints = [
                    "UPDATE checkpoint SET hash = zeroblob(32)",
                    "UPDATE checkpoint SET signature = zeroblob(64)",
                    "UPDATE checkpoint SET generation = generation + 1",
                    "UPDATE checkpoint SET n = n - 1",
                    "UPDATE checkpoint SET key = zeroblob(32)",
                    "UPDATE ledger SET id = zeroblob(16)",
                    "UPDATE head SET n = n - 1",
                ];
                checkpoints[rng.random_range(0..checkpoints.len())].to_owned()
            }
        };
        let audit = after(&path, &memory, |connection| {
            connection.execute_batch(&sql).unwrap();
            let left: i64 = connection.query_row("SELECT count(*) FROM event", [], |r| r.get(0)).unwrap();
            if forger && kind < 5 && left > 0 {
                rechain(connection);
            }
        });
        assert!(!audit.findings.is_empty(), "case {case}: {sql} (forger: {forger})");
        // An edit without a new chain is told where it is.
        if kind < 2 && !forger {
            assert!(
                audit.findings.iter().any(|f| f.at == Where::Event(n)),
                "case {case}: {sql}: {:?}",
                audit.findings
            );
        }
    }
    assert!(kinds.iter().all(|count| *count > 10), "{kinds:?}");
}

/// One that was put back from a backup, one whose HSM was, and one of another HSM.
#[test]
fn a_ledger_and_an_hsm_of_different_days_notice_each_other() {
    let (directory, memory) = (directory(), Memory::default());
    let path = ledger_on_disk(&directory, &memory);
    let backup = directory.path().join("backup.db");
    std::fs::copy(&path, &backup).unwrap();
    let before = *memory.0.lock().unwrap();
    let ledger = memory.open(&path).unwrap();
    all(&ledger, JobId(1), [Change::Held]);
    ledger.close().unwrap();
    memory.open(&path).unwrap().close().unwrap();

    let damaged = |result: Result<Ledger, LedgerError>| match result {
        Err(LedgerError::Damaged(what)) => what,
        other => panic!("{:?}", other.err()),
    };
    let now = *memory.0.lock().unwrap();
    assert!(damaged(memory.open(&backup)).contains("put back from a backup"));
    *memory.0.lock().unwrap() = before;
    assert!(damaged(memory.open(&path)).contains("the book was put back from a backup"));
    *memory.0.lock().unwrap() = (now.0, None);
    assert!(damaged(memory.open(&path)).contains("has forgotten it"));
    // Both together hide what came between; a checkpoint that was kept elsewhere tells.
    *memory.0.lock().unwrap() = before;
    let head = Reader::open(&backup).unwrap().verify_chain().unwrap();
    assert!(now.1.unwrap().n > head.n);
    memory.open(&backup).unwrap().close().unwrap();
}

/// A start verifies what came after the last signed place, and nothing before it.
#[test]
fn a_start_verifies_from_the_last_checkpoint() {
    let (directory, memory) = (directory(), Memory::default());
    let path = ledger_on_disk(&directory, &memory);
    let ledger = Ledger::open(&path).unwrap();
    all(&ledger, JobId(1), [Change::Held]);
    ledger.close().unwrap();
    let signed = Reader::open(&path).unwrap().checkpoints().unwrap().pop().unwrap().place.n;
    tamper(&path, "DROP TRIGGER event_no_update");
    let edit = |n: u64| tamper(&path, &format!("UPDATE event SET actor = 'x' || n WHERE n = {n}"));
    let whole = std::fs::read(&path).unwrap();
    edit(signed + 1);
    assert!(matches!(memory.open(&path), Err(LedgerError::Damaged(_))));
    std::fs::write(&path, whole).unwrap();
    edit(signed);
    drop(memory.open(&path).unwrap());
    assert_ne!(Reader::open(&path).unwrap().audit(None, |_| ()).unwrap().findings, []);
}

#[test]
fn whoever_waits_for_a_writer_that_ended_hears_so() {
    let (directory, memory) = (directory(), Memory::default());
    let ledger = memory.open(&directory.path().join("l.db")).unwrap();
    let held = memory.0.lock().unwrap();
    let job = ledger.new_job(file("F", 4)).unwrap().job;
    // The writer is to sign the new job and waits for the memory, which it then finds broken.
    let before = ledger.record(job, Change::Fed { blank: 1 }, Context::default());
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _held = held;
        panic!("as if");
    }));
    assert!(panicked.is_err());
    let (said, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let before = before.wait();
        let behind = ledger.record(job, Change::Fed { blank: 2 }, Context::default()).wait();
        said.send((before, behind, ledger.subscribe().recv())).unwrap();
    });
    let heard = heard.recv_timeout(std::time::Duration::from_secs(20)).expect("somebody waits for ever");
    assert!(matches!(heard, (Err(LedgerError::Closed), Err(LedgerError::Closed), Err(_))), "{heard:?}");
}
