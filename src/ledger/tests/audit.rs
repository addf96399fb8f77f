//! The auditor's proof: an audit finds every tampering with a ledger, and its place. A ledger and an HSM of different
//! days, such as one restored from a backup, are noticed too.

use std::sync::{Arc, Mutex};

use proptest::prelude::RngExt;
use proptest::test_runner::{RngAlgorithm, TestRng};
use rusqlite::Connection;

use super::*;
use crate::audit::{AuditKey, ChainPlace, Checkpoint, CheckpointLink, LedgerId};
use crate::hsm::memory::{MemoryRecord, MemoryState};
use crate::hsm::{
    Acknowledged, AuditInfo, Auditor, FileAdmission, FollowedLedger, Following, HsmError, ShownEvents,
};
use crate::ids::SpoolKeyName;
use crate::laws::LedgerBook;
use crate::laws::chain::{GENESIS, Hash, hash_version_one, hash_version_two};
use crate::laws::chain::{beginning, place_after};
use crate::laws::event::version_one::VersionOneRow;
use crate::laws::event::{LedgerEvent, codec};
use crate::ledger::audit::{Audit, FindingPlace};
use crate::ledger::store::{LedgerStore, version_one};

/// Events of `v5.sql`, the last of chain version 1.
const VERSION_ONE_EVENTS: u64 = 58;

/// An HSM's memory, from the ledger's side: generation and place of the last signature, the last event that was shown, and the last
/// signature.
#[derive(Clone, Default)]
pub(super) struct Memory(
    Arc<Mutex<(u64, Option<ChainPlace>)>>,
    Arc<Mutex<Option<ChainPlace>>>,
    Arc<Mutex<Option<Checkpoint>>>,
);

impl Memory {
    fn key() -> AuditKey {
        AuditKey::from_seed(&[7; 32])
    }

    fn info(&self) -> AuditInfo {
        let (generation, head) = *self.0.lock().unwrap();
        AuditInfo { key: Self::key().public(), generation, head, signed: head }
    }

    /// What it has acknowledged and not signed is in `shown`.
    fn place(&self, ledger: LedgerId) -> ChainPlace {
        let of = |place: Option<ChainPlace>| place.filter(|place| place.ledger == ledger);
        let head = of(self.0.lock().unwrap().1).unwrap_or(beginning(ledger));
        of(*self.1.lock().unwrap()).filter(|shown| shown.n > head.n).unwrap_or(head)
    }

    pub(super) fn open(&self, path: &Path) -> Result<Ledger, LedgerError> {
        Ledger::open_audited(path, Box::new(self.clone()))
    }

    /// As after the signature of a later event, which is in another copy of the ledger.
    pub(super) fn signed_further(&self) {
        let mut memory = self.0.lock().unwrap();
        if let (_, Some(place)) = &mut *memory {
            place.n += 1;
        }
    }
}

impl Auditor for Memory {
    fn audit(&mut self, _: LedgerId) -> Result<AuditInfo, HsmError> {
        Ok(self.info())
    }

    fn follow(&mut self, request: &Following) -> Result<FollowedLedger, HsmError> {
        let place = self.place(request.ledger);
        let (key, (generation, head)) = (Self::key().public(), *self.0.lock().unwrap());
        let signed = head.filter(|head| head.ledger == request.ledger);
        let last = *self.2.lock().unwrap();
        let signed = signed.map(|head| {
            let kept = last.filter(|last| last.place == head);
            kept.unwrap_or_else(|| Self::key().checkpoint(head, generation, None))
        });
        Ok(FollowedLedger { key, generation, place, head: place, signed, time: 0 })
    }

    fn show(&mut self, shown: &ShownEvents) -> Result<Acknowledged, HsmError> {
        assert_eq!(shown.after, self.place(shown.after.ledger));
        let next = |place, event: &Vec<u8>| place_after(&place, event);
        let place = shown.events.iter().try_fold(shown.after, next).unwrap();
        *self.1.lock().unwrap() = Some(place);
        let mut memory = self.0.lock().unwrap();
        let signed = shown.sign.then(|| {
            *memory = (memory.0 + 1, Some(place));
            let mut last = self.2.lock().unwrap();
            let before = last.filter(|last| last.place.ledger == place.ledger);
            let before = before.map_or([0; 32], |before| before.digest());
            let link = CheckpointLink { epoch: 1, time: memory.0, before };
            *last.insert(Self::key().checkpoint(place, memory.0, Some(link)))
        });
        Ok(Acknowledged { place, signed, barred: Vec::new() })
    }

    fn admit(&mut self, _: &FileAdmission) -> Result<(), HsmError> {
        Ok(())
    }
}

/// Job 1 has four records (two stacked, one rejected and made again, one waiting) and a blank of each fate, and is
/// signed twice. Job 2, in a shift, has stock and a test card.
fn ledger_on_disk(directory: &TempDir, memory: &Memory) -> std::path::PathBuf {
    let path = directory.path().join("l.db");
    two_jobs(&path, memory);
    path
}

/// Like [`ledger_on_disk`], after the version 1 events of `v5.sql`; the jobs are 4 and 5 instead of 1 and 2.
fn ledger_of_both_versions(directory: &TempDir, memory: &Memory) -> std::path::PathBuf {
    let path = directory.path().join("both.db");
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch(include_str!("v5.sql")).unwrap();
    let signed: i64 =
        connection.query_row("SELECT max(generation) FROM checkpoint", [], |r| r.get(0)).unwrap();
    let place = connection
        .query_row(
            "SELECT c.n, c.hash, l.id FROM checkpoint AS c, ledger AS l ORDER BY c.n DESC LIMIT 1",
            [],
            |r| {
                let n: i64 = r.get(0)?;
                Ok(ChainPlace { ledger: LedgerId(r.get(2)?), n: n.unsigned_abs(), hash: r.get(1)? })
            },
        )
        .unwrap();
    *memory.0.lock().unwrap() = (signed.unsigned_abs(), Some(place));
    drop(connection);
    two_jobs(&path, memory);
    path
}

fn two_jobs(path: &Path, memory: &Memory) {
    let ledger = memory.open(path).unwrap();
    let job = ledger.new_job(file("K", 4)).unwrap().job;
    let bound = |seq, blank, n| [Change::Fed { blank }, Change::Bound { seq, blank, chip: chip(n) }];
    all(&ledger, job, bound(1, 1, 1).into_iter().chain(make(1)));
    all(&ledger, job, [Change::Stacked { seq: 1, position: 1 }]);
    all(&ledger, job, [Change::Fed { blank: 2 }, Change::RejectedUnbound { blank: 2, chip: chip(2) }]);
    all(&ledger, job, bind(2, 3));
    all(&ledger, job, [Change::Rejected { seq: 2 }]);
    ledger.close().unwrap();
    let ledger = memory.open(path).unwrap();
    all(&ledger, job, [Change::Destroyed { seq: 2 }, Change::RemakeReleased { seq: 2 }]);
    all(&ledger, job, bind(2, 4).into_iter().chain(make(2)));
    all(&ledger, job, [Change::Stacked { seq: 2, position: 2 }, Change::Fed { blank: 5 }]);
    all(&ledger, job, [Change::Returned { blank: 5 }, Change::Held, Change::Released]);
    ledger.shift("A", Context::by("anna")).unwrap();
    let sealed = NewJob { spool_key: Some(SpoolKeyName([3; 16])), ..file("L", 2) };
    let job = ledger.new_job(sealed).unwrap().job;
    all(&ledger, job, [Change::StockIssued { count: 9 }, Change::Tested { blank: 1 }]);
    all(&ledger, job, [Change::StockReturned { count: 1 }, Change::Fed { blank: 2 }]);
    all(&ledger, job, [Change::Bound { seq: 1, blank: 2, chip: chip(9) }, Change::Rejected { seq: 1 }]);
    all(&ledger, job, bind(2, 3).into_iter().chain(make(2)).chain([Change::Stacked { seq: 2, position: 1 }]));
    all(&ledger, job, [Change::StockVaulted { count: 1 }]);
    ledger.close().unwrap();
}

/// The audit of a copy, after a tamperer took the triggers away, made a change and put them back.
fn after(path: &Path, memory: &Memory, change: impl FnOnce(&Connection)) -> Audit {
    let copy = path.with_extension("copy");
    std::fs::copy(path, &copy).unwrap();
    let connection = Connection::open(&copy).unwrap();
    connection.pragma_update(None, "foreign_keys", false).unwrap();
    connection.pragma_update(None, "synchronous", "OFF").unwrap();
    let mut triggers =
        connection.prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").unwrap();
    let made = triggers.query_map([], |r| Ok((r.get(0)?, r.get(1)?))).unwrap();
    let made: Vec<(String, String)> = made.map(Result::unwrap).collect();
    drop(triggers);
    for (name, _) in &made {
        connection.execute_batch(&format!("DROP TRIGGER {name}")).unwrap();
    }
    change(&connection);
    for (_, sql) in &made {
        connection.execute_batch(sql).unwrap();
    }
    drop(connection);
    Reader::open(&copy).unwrap().audit(Some(&mut || Ok(memory.info())), |_| ()).unwrap()
}

fn edited(path: &Path, memory: &Memory, sql: &str) -> Vec<String> {
    let audit = after(path, memory, |connection| connection.execute_batch(sql).unwrap());
    audit.findings.iter().map(ToString::to_string).collect()
}

/// A forger who knows how the chain is made: computes every hash again and sets the head. An event of version 2 gets
/// its current number.
fn rechain(connection: &Connection) {
    let id = connection.query_row("SELECT id FROM ledger", [], |r| r.get(0).map(LedgerId)).unwrap();
    let numbers = |table: &str| -> Vec<i64> {
        let mut query = connection.prepare(&format!("SELECT n FROM {table} ORDER BY n")).unwrap();
        query.query_map([], |r| r.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let (mut previous, mut scratch, mut n): (Hash, _, i64) = (GENESIS, Vec::new(), 0);
    for number in numbers("event") {
        n += 1;
        connection.execute("UPDATE event SET n = ?2 WHERE n = ?1", [number, n]).unwrap();
        let row: VersionOneRow = version_one(connection, n);
        previous = hash_version_one(&previous, &row, &mut scratch);
        let set = "UPDATE event SET hash = ?2 WHERE n = ?1";
        connection.execute(set, rusqlite::params![n, previous]).unwrap();
    }
    for number in numbers("event_v2") {
        n += 1;
        let read = "SELECT body FROM event_v2 WHERE n = ?1";
        let mut body: Vec<u8> = connection.query_row(read, [number], |r| r.get(0)).unwrap();
        if let Ok(event) = codec::decode(&body) {
            body.clear();
            codec::encode(&LedgerEvent { n: n.unsigned_abs(), ..event }, &mut body);
        }
        previous = hash_version_two(&previous, id, &body);
        let set = "UPDATE event_v2 SET n = ?2, body = ?3, hash = ?4 WHERE n = ?1";
        connection.execute(set, rusqlite::params![number, n, body, previous]).unwrap();
    }
    connection.execute("UPDATE head SET n = ?1, hash = ?2", rusqlite::params![n, previous]).unwrap();
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
    assert_eq!((audit.jobs, audit.unsealed), (2, 0));
    // Computing an unchanged chain again changes nothing.
    assert_eq!(after(&path, &memory, rechain).findings, []);
}

/// An event of version 2 as a forger would write it: any field has another value, and the bytes still decode.
fn forged(rng: &mut TestRng, event: &LedgerEvent) -> Vec<u8> {
    let mut other = event.clone();
    let text = |was: &Option<String>| Some(format!("{}x", was.as_deref().unwrap_or_default()));
    match rng.random_range(0..9) {
        0 => other.context.station = text(&event.context.station),
        1 => other.context.module = text(&event.context.module),
        2 => other.context.detail = text(&event.context.detail),
        3 => other.context.actor = text(&event.context.actor),
        4 => other.context.reason = Some(ReasonWord::Jam),
        5 => other.context.ms = Some(event.context.ms.unwrap_or_default() + 1),
        6 => other.ts += 1,
        7 => other.simulated = !event.simulated,
        _ => {
            // Any byte of the states and other fields.
            let mut bytes = Vec::new();
            codec::encode(event, &mut bytes);
            for _ in 0..200 {
                let mut forged = bytes.clone();
                let at = rng.random_range(0..forged.len());
                forged[at] = rng.random();
                if forged != bytes && codec::decode(&forged).is_ok() {
                    return forged;
                }
            }
            other.context.actor = text(&event.context.actor);
        }
    }
    let mut bytes = Vec::new();
    codec::encode(&other, &mut bytes);
    bytes
}

/// Random tamperings with ledgers of both versions: edits of any column or field of any event, with the chain
/// computed again or not; events deleted, moved, doubled and cut off; edits of the tables of states and of
/// checkpoints.
#[test]
fn every_random_tampering_is_found_and_where() {
    let (directory, memory) = (directory(), Memory::default());
    let path = ledger_of_both_versions(&directory, &memory);
    let last = after(&path, &memory, |_| ()).head.n;
    let text =
        ["card_ref", "blank", "station", "module", "from_state", "to_state", "reason", "detail", "actor"];
    let numbers = ["ts", "seq", "attempt", "position", "ms", "simulated"];
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, b"two hundred tamperings of ledger");
    let mut kinds = [0; 7];
    for case in 0..300 {
        let n = rng.random_range(1..=last);
        let forger = rng.random::<bool>();
        let kind = rng.random_range(0..kinds.len());
        kinds[kind] += 1;
        let second = n > VERSION_ONE_EVENTS;
        let table = if second { "event_v2" } else { "event" };
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
            0 | 1 if second => {
                let events = Reader::open(&path).unwrap().events(None, n - 1, 1).unwrap();
                let forged = forged(&mut rng, &events[0]);
                format!("UPDATE event_v2 SET body = x'{}' WHERE n = {n}", hex::encode(forged))
            }
            0 | 1 => format!("UPDATE event SET {} WHERE n = {n}", column(&mut rng)),
            2 => format!("DELETE FROM {table} WHERE n = {n}"),
            3 => {
                let (first, end) =
                    if second { (VERSION_ONE_EVENTS + 1, last) } else { (1, VERSION_ONE_EVENTS) };
                let other = if n == end { first } else { n + 1 };
                format!(
                    "UPDATE {table} SET n = 1000 WHERE n = {n}; UPDATE {table} SET n = {n} WHERE n = {other}; \
                     UPDATE {table} SET n = {other} WHERE n = 1000"
                )
            }
            4 => format!("DELETE FROM event WHERE n >= {n}; DELETE FROM event_v2 WHERE n >= {n}"),
            5 => {
                let tables = [
                    "UPDATE record SET state = 'GOOD' WHERE job = 4 AND seq = 3",
                    "UPDATE record SET released = 1 WHERE job = 4 AND seq = 4",
                    "UPDATE record SET card_ref = 'OTHER' WHERE seq = 1",
                    "UPDATE attempt SET state = 'UNKNOWN' WHERE job = 4 AND seq = 2 AND number = 2",
                    "UPDATE attempt SET position = 77 WHERE job = 4 AND seq = 1",
                    "UPDATE attempt SET wrote = 0 WHERE job = 4 AND seq = 1",
                    "UPDATE blank SET state = 'REJECTED' WHERE job = 4 AND number = 5",
                    "UPDATE blank SET key_data = zeroblob(10) WHERE job = 4 AND number = 1",
                    "UPDATE blank SET chip = NULL WHERE job = 4 AND number = 1",
                    "UPDATE blank SET key_data = zeroblob(10) WHERE job = 1 AND number = 2",
                    "UPDATE balance SET good = good + 1",
                    "UPDATE balance SET blanks_sample = 7",
                    "UPDATE job SET state = 'HELD' WHERE id = 4",
                    "UPDATE job SET deleting = 1 - deleting",
                    "UPDATE event_v2 SET kind = kind + 1 WHERE n = (SELECT max(n) FROM event_v2)",
                    "UPDATE event_v2 SET seq = 1 WHERE seq IS NULL",
                ];
                tables[rng.random_range(0..tables.len())].to_owned()
            }
            _ => {
                let checkpoints = [
                    "UPDATE checkpoint SET hash = zeroblob(32)",
                    "UPDATE checkpoint SET signature = zeroblob(64)",
                    "UPDATE checkpoint SET generation = generation + 1",
                    "UPDATE checkpoint SET n = n - 1 WHERE n = (SELECT max(n) FROM checkpoint)",
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
        // An edit without a new chain is reported at its event.
        if kind < 2 && !forger {
            assert!(
                audit.findings.iter().any(|f| f.at == FindingPlace::Event(n)),
                "case {case}: {sql}: {:?}",
                audit.findings
            );
        }
    }
    assert!(kinds.iter().all(|count| *count > 10), "{kinds:?}");
}

/// A row of a table: each column's name and value.
type Row = Vec<(String, String)>;

/// Every table in the file, with its columns and their declared types.
fn tables(connection: &Connection) -> Vec<(String, Vec<(String, String)>)> {
    let sql = "SELECT m.name, c.name, c.type FROM sqlite_schema AS m, pragma_table_info(m.name) AS c WHERE m.type = 'table' \
               ORDER BY m.name, c.cid";
    let mut query = connection.prepare(sql).unwrap();
    let rows = query.query_map([], |r| Ok((r.get(0)?, (r.get(1)?, r.get(2)?)))).unwrap();
    let mut tables: Vec<(String, Vec<_>)> = Vec::new();
    for (table, column) in rows.map(Result::unwrap) {
        match tables.last_mut().filter(|(last, _)| *last == table) {
            Some((_, columns)) => columns.push(column),
            None => tables.push((table, vec![column])),
        }
    }
    tables
}

fn rows(connection: &Connection, table: &str, columns: &[(String, String)]) -> Vec<Row> {
    let quoted: Vec<_> = columns.iter().map(|(name, _)| format!("quote({name})")).collect();
    let mut query = connection.prepare(&format!("SELECT {} FROM {table}", quoted.join(", "))).unwrap();
    let row = |r: &rusqlite::Row<'_>| {
        columns.iter().enumerate().map(|(i, (name, _))| Ok((name.clone(), r.get(i)?))).collect()
    };
    let rows = query.query_map([], row).unwrap();
    rows.map(Result::unwrap).collect()
}

/// Another value for such a column, in SQL: a similar one, that of another row, a plausible one, or NULL.
fn another(rng: &mut TestRng, kind: &str, was: &str, others: &[Row], column: usize) -> String {
    const STATES: [&str; 18] = [
        "QUEUED",
        "IN_FLIGHT",
        "GOOD",
        "REMAKE",
        "UNKNOWN",
        "CANCELLED",
        "OPEN",
        "HELD",
        "CLOSED",
        "FED",
        "BOUND",
        "REJECTED",
        "RETURNED",
        "TEST",
        "STACKED",
        "VERIFIED",
        "DESTROYED",
        "SAMPLE",
    ];
    let near = match kind {
        "INTEGER" => [
            "1".to_owned(),
            "0".to_owned(),
            format!("1 - {was}"),
            format!("{was} + {}", rng.random_range(1..5)),
            format!("{was} - {}", rng.random_range(1..5)),
        ][rng.random_range(0..5)]
        .clone(),
        "TEXT" => [
            format!("coalesce({was}, '') || 'x'"),
            format!("substr({was}, 2)"),
            format!("'{}'", STATES[rng.random_range(0..STATES.len())]),
            format!("'{}'", STATES[rng.random_range(0..STATES.len())]),
        ][rng.random_range(0..4)]
        .clone(),
        _ => [
            format!("randomblob(length({was}))"),
            format!("zeroblob(length({was}))"),
            "zeroblob(10)".to_owned(),
            "zeroblob(16)".to_owned(),
        ][rng.random_range(0..4)]
        .clone(),
    };
    match rng.random_range(0..8) {
        0 => "NULL".to_owned(),
        1 | 2 => others[rng.random_range(0..others.len())][column].1.clone(),
        _ => near,
    }
}

/// Edits of each column: few in `make test`, many in `make soak`.
fn edits_of_a_column() -> usize {
    if std::env::var("STORM").is_ok_and(|storm| storm == "full") { 30 } else { 2 }
}

/// Changes values of this table one at a time, and expects a finding for each. An edit that SQLite itself
/// refuses does not count.
fn no_value_can_be_changed(path: &Path, memory: &Memory, table: &str, columns: &[(String, String)]) {
    let connection = Connection::open(path).unwrap();
    let rows = rows(&connection, table, columns);
    drop(connection);
    assert!(!rows.is_empty(), "nothing stands in {table}");
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, b"any column of any table,10 times");
    let wanted = edits_of_a_column();
    for (column, (name, kind)) in columns.iter().enumerate() {
        let mut edits = 0;
        for _ in 0..10 * wanted {
            let row = &rows[rng.random_range(0..rows.len())];
            let value = another(&mut rng, kind, &row[column].1, &rows, column);
            let place: Vec<_> = row.iter().map(|(name, value)| format!("{name} IS {value}")).collect();
            let sql = format!("UPDATE {table} SET {name} = {value} WHERE {}", place.join(" AND "));
            let mut changed = false;
            let audit = after(path, memory, |connection| {
                let done = connection.execute_batch(&sql).is_ok();
                changed = done && self::rows(connection, table, columns) != rows;
            });
            if changed {
                assert!(!audit.findings.is_empty(), "{sql}");
                edits += 1;
            }
            if edits == wanted {
                break;
            }
        }
        // The one row of its table cannot have another key.
        assert!(edits > 0 || name == "one", "{table}.{name} was never changed");
    }
}

/// Changes any one value of any row of any table. The columns come from the schema, so none is left out.
#[test]
fn no_value_of_any_table_can_be_changed() {
    let (directory, memory) = (directory(), Memory::default());
    let path = ledger_of_both_versions(&directory, &memory);
    let tables = tables(&Connection::open(&path).unwrap());
    std::thread::scope(|scope| {
        for (table, columns) in &tables {
            // Each thread has its own copy to edit.
            let (own, memory) = (path.with_file_name(table), &memory);
            std::fs::copy(&path, &own).unwrap();
            scope.spawn(move || no_value_can_be_changed(&own, memory, table, columns));
        }
    });
}

/// Edits of columns that hold no state, and edits that leave every sum as it was: each is reported by name.
#[test]
fn edits_that_move_no_state_are_found() {
    let (directory, memory) = (directory(), Memory::default());
    let path = ledger_on_disk(&directory, &memory);
    let accepted = "tables: J1: it is not the job that was accepted: see event 1";
    for (sql, what) in [
        ("UPDATE job SET simulated = 0 WHERE id = 1", "tables: J1: whether it is SIMULATED differs"),
        ("UPDATE job SET simulated = 0 WHERE id = 1", accepted),
        ("UPDATE job SET spool = '/elsewhere' WHERE id = 1", accepted),
        ("UPDATE job SET accepted = accepted + 1 WHERE id = 1", accepted),
        ("UPDATE job SET test_keys = 0 WHERE id = 1", accepted),
        ("UPDATE job SET rejects_shredded = 2 WHERE id = 1", "tables: J1 cannot be read"),
        ("UPDATE record SET card_ref = 'ZZZ' WHERE job = 1 AND seq = 4", accepted),
        ("UPDATE record SET seq = 9 WHERE job = 1 AND seq = 4", "tables: J1 cannot be read"),
        (
            "UPDATE attempt SET compared = 'all fine' WHERE job = 1 AND seq = 1",
            "record 1 attempt 1: what was compared",
        ),
        ("UPDATE attempt SET number = 7 WHERE job = 1 AND seq = 1", "an attempt has the number 7"),
        (
            "UPDATE blank SET key_data = x'00000000000000000001' WHERE job = 1 AND number = 1",
            "tables: J1 blank 1: it differs from its events",
        ),
        (
            "UPDATE blank SET state = CASE state WHEN 'RETURNED' THEN 'REJECTED' ELSE 'RETURNED' END, key_data = NULL \
             WHERE job = 1 AND number IN (2, 5)",
            "tables: J1 blank 5: it differs from its events",
        ),
        ("INSERT INTO stock VALUES (1, 0, 0, 0)", "J1: it has a row of stock"),
        ("INSERT INTO stock VALUES (7, 1, 0, 0)", "stock: rows of a job 7"),
        ("INSERT INTO record VALUES (7, 1, 'X', 'QUEUED', 0)", "record: rows of a job 7"),
        (
            "INSERT INTO job SELECT 7, 'X', file_id, product, zeroblob(32), kek, line, 0, 0, spool, 0, 1, 'OPEN', 1, NULL, 0, 0 \
             FROM job WHERE id = 1",
            "J7 has no balance",
        ),
        ("UPDATE checkpoint SET ts = ts + 1000", "its time is not that of its event"),
        (
            "UPDATE ledger SET id = zeroblob(16); DELETE FROM checkpoint",
            "event 1: it, or the one before it, is not what was hashed",
        ),
    ] {
        let found = edited(&path, &memory, sql);
        assert!(found.iter().any(|found| found.contains(what)), "{sql}: {found:?}");
    }
}

/// Before cards are made of a job, the job is checked against its events in the same way as in an audit.
#[test]
fn a_job_is_proved_before_it_goes_on() {
    let (directory, memory) = (directory(), Memory::default());
    let path = ledger_on_disk(&directory, &memory);
    let replayed = |sql: &str| {
        after(&path, &memory, |connection| connection.execute_batch(sql).unwrap());
        let reader = Reader::open(path.with_extension("copy")).unwrap();
        [1, 2].map(|job| reader.replayed(JobId(job)).unwrap().len())
    };
    assert_eq!(replayed("SELECT 1"), [0, 0]);
    for sql in [
        "UPDATE job SET simulated = 0 WHERE id = 1",
        "UPDATE job SET spool = '/elsewhere' WHERE id = 1",
        "UPDATE job SET accepted = 0 WHERE id = 1",
        "UPDATE record SET card_ref = 'ZZZ' WHERE job = 1 AND seq = 4",
        "UPDATE attempt SET compared = 'all fine' WHERE job = 1 AND seq = 1",
        "UPDATE blank SET key_data = x'00000000000000000001' WHERE job = 1 AND number = 1",
    ] {
        let [first, second] = replayed(sql);
        assert!(first > 0 && second == 0, "{sql}");
    }
}

/// Each checkpoint holds the hash of the one before. The loss of the last one is found with the HSM alone.
#[test]
fn a_checkpoint_that_is_missing_is_found() {
    let (directory, memory) = (directory(), Memory::default());
    let path = ledger_on_disk(&directory, &memory);
    let what = "the HSM has signed this event";
    let deleted = [
        ("DELETE FROM checkpoint WHERE n = (SELECT max(n) FROM checkpoint)", what),
        ("DELETE FROM checkpoint WHERE n = (SELECT min(n) FROM checkpoint)", "a checkpoint was left out"),
    ];
    for (sql, says) in deleted {
        let findings = edited(&path, &memory, sql);
        assert!(findings.len() == 1 && findings[0].contains(says), "{sql}: {findings:?}");
    }
    assert!(edited(&path, &memory, "DELETE FROM checkpoint").iter().any(|finding| finding.contains(what)));
    // The process was killed after the HSM had signed and before the ledger was written: the next start signs again.
    tamper(
        &path,
        "DROP TRIGGER checkpoint_no_delete; DELETE FROM checkpoint WHERE n = (SELECT max(n) FROM checkpoint); CREATE TRIGGER \
         checkpoint_no_delete BEFORE DELETE ON checkpoint\n    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END",
    );
    memory.open(&path).unwrap().close().unwrap();
    assert_eq!(edited(&path, &memory, "SELECT 1"), [""; 0]);
}

/// Changes of tables, indexes and triggers are named, and nothing is written to such a ledger.
#[test]
fn a_schema_that_somebody_changed_is_found_and_not_written_to() {
    let (directory, memory) = (directory(), Memory::default());
    let path = ledger_on_disk(&directory, &memory);
    let copy = path.with_extension("copy");
    for (sql, object) in [
        ("DROP TRIGGER event_no_update", "the trigger event_no_update is missing"),
        ("DROP INDEX event_card", "the index event_card is missing"),
        ("CREATE TABLE notes (x)", "the table notes does not belong to this program"),
        ("CREATE VIEW v AS SELECT 1", "the view v does not belong to this program"),
        ("CREATE INDEX i ON event_v2 (hash)", "the index i does not belong to this program"),
        (
            "CREATE TRIGGER quiet BEFORE UPDATE ON record BEGIN SELECT RAISE(IGNORE); END",
            "the trigger quiet does not belong to this program",
        ),
        (
            "DROP TRIGGER job_no_delete; CREATE TRIGGER job_no_delete BEFORE DELETE ON job BEGIN SELECT 1; END",
            "the trigger job_no_delete is not the one that this program makes",
        ),
        ("ALTER TABLE job ADD COLUMN remark TEXT", "the table job is not the one that this program makes"),
    ] {
        std::fs::copy(&path, &copy).unwrap();
        tamper(&copy, sql);
        let found =
            Reader::open(&copy).unwrap().audit(Some(&mut || Ok(memory.info())), |_| ()).unwrap().findings;
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, [format!("schema: {object}")], "{sql}");
        match Ledger::open(&copy) {
            Err(LedgerError::Damaged(what)) => assert!(what.contains(object), "{sql}: {what}"),
            other => panic!("{sql}: {:?}", other.err()),
        }
    }
    std::fs::copy(&path, &copy).unwrap();
    tamper(&copy, "ANALYZE");
    drop(Ledger::open(&copy).unwrap());
    // A ledger of an earlier version, before its migration.
    std::fs::remove_file(&copy).unwrap();
    tamper(&copy, include_str!("v4.sql"));
    tamper(&copy, "CREATE TRIGGER late AFTER INSERT ON record BEGIN UPDATE job SET simulated = 0; END");
    match Reader::open(&copy).err() {
        Some(LedgerError::Damaged(what)) => {
            assert!(what.contains("the trigger late does not belong"), "{what}")
        }
        other => panic!("{other:?}"),
    }
}

/// A ledger that was restored from a backup, one whose HSM was restored, and one of another HSM.
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
    *memory.1.lock().unwrap() = None;
    *memory.0.lock().unwrap() = before;
    assert!(damaged(memory.open(&path)).contains("the book was put back from a backup"));
    *memory.0.lock().unwrap() = (now.0, None);
    assert!(damaged(memory.open(&path)).contains("has no entry for it"));
    // If both were restored, the events in between stay hidden; only a checkpoint kept elsewhere shows it.
    *memory.0.lock().unwrap() = before;
    let head = Reader::open(&backup).unwrap().verify_chain().unwrap();
    assert!(now.1.unwrap().n > head.n);
    memory.open(&backup).unwrap().close().unwrap();
}

/// A start verifies the events after the last checkpoint, and no earlier ones.
#[test]
fn a_start_verifies_from_the_last_checkpoint() {
    let (directory, memory) = (directory(), Memory::default());
    let path = ledger_on_disk(&directory, &memory);
    let ledger = Ledger::open(&path).unwrap();
    all(&ledger, JobId(1), [Change::Held]);
    ledger.close().unwrap();
    let signed = Reader::open(&path).unwrap().checkpoints().unwrap().pop().unwrap().place.n;
    let trigger = "CREATE TRIGGER event_v2_no_update BEFORE UPDATE ON event_v2\n    BEGIN SELECT RAISE(ABORT, 'the ledger is \
                   append-only'); END";
    let edit = |n: u64| {
        tamper(
            &path,
            &format!(
                "DROP TRIGGER event_v2_no_update; UPDATE event_v2 SET body = CAST(body || x'00' AS BLOB) WHERE n = {n}; {trigger}"
            ),
        );
    };
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
    let job = ledger.new_job(file("F", 4)).unwrap().job;
    let [fed, bound] = bind(1, 1);
    all(&ledger, job, [fed]);
    let held = memory.0.lock().unwrap();
    // The writer is to show the binding and waits for the memory, which it then finds broken.
    let before = ledger.record(job, bound, Context::default());
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
    assert!(
        matches!(heard, (Err(LedgerError::WriterDied), Err(LedgerError::WriterDied), Err(_))),
        "{heard:?}"
    );
}

/// An HSM that knows a ledger of an earlier version by a signature alone is shown all of its events.
#[test]
fn a_ledger_of_both_versions_is_followed_from_its_first_event() {
    let (directory, memory) = (directory(), Memory::default());
    let path = ledger_of_both_versions(&directory, &memory);
    let store = LedgerStore::open(&path).unwrap();
    let mut book = LedgerBook::new(store.id());
    let mut version_one = 0;
    loop {
        let events = store.events_after(&book.place()).unwrap();
        for event in &events {
            if LedgerBook::is_version_one(event) {
                version_one += 1;
                let mut again = Vec::new();
                VersionOneRow::read(event).unwrap().canonical(&mut again);
                assert_eq!(again, *event);
                for cut in 0..event.len() {
                    assert!(book.follow(&event[..cut]).is_err(), "cut at {cut}");
                }
            }
            book.follow(event).unwrap();
        }
        if events.is_empty() {
            break;
        }
    }
    assert_eq!((book.place(), version_one), (store.place(), VERSION_ONE_EVENTS));
    // None of version 1 comes after one of version 2.
    let first = store.events_after(&beginning(store.id())).unwrap().swap_remove(0);
    assert!(book.follow(&first).is_err());
}

/// A ledger of chain version 1 of which nothing was ever signed goes on; its first file of today has to be admitted.
#[test]
fn a_ledger_of_version_one_that_was_never_signed_is_followed() {
    let (directory, memory) = (directory(), Memory::default());
    let store = LedgerStore::open(&ledger_of_both_versions(&directory, &memory)).unwrap();
    let (ledger, mut place) = (store.id(), beginning(store.id()));
    let mut hsm = MemoryState::default();
    hsm.apply(&MemoryRecord::LedgerKnown { ledger, epoch: 1, noted: None, by: Vec::new() }).unwrap();
    let breach = loop {
        let events = store.events_after(&place).unwrap();
        assert!(!events.is_empty());
        let followed = hsm.follow(ledger, place.n, &events).unwrap();
        place = followed.place;
        if let Some(breach) = followed.breach {
            break breach;
        }
    };
    assert!(breach.contains("was not admitted"), "{breach}");
    assert!(place.n >= VERSION_ONE_EVENTS, "{place:?}");
}
