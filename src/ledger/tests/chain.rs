//! The chain: each kind of tampering with a copy is found.

use rusqlite::Connection;

use super::*;
use crate::ledger::chain::{GENESIS, hash};

fn ledger_on_disk(directory: &TempDir) -> std::path::PathBuf {
    let path = directory.path().join("l.db");
    let ledger = Ledger::open(&path).unwrap();
    let job = ledger.new_job(file("F", 3)).unwrap().job;
    let context = Context {
        station: Some("chip-1".to_owned()),
        module: Some("chip".to_owned()),
        reason: Some("sw-6A84".to_owned()),
        detail: Some("no space".to_owned()),
        header: Some("84E20000".to_owned()),
        sw: Some(0x6A84),
        ms: Some(12),
        actor: Some("line".to_owned()),
    };
    all(&ledger, job, bind(1, 1).into_iter().chain(make(1)));
    ledger.record(job, Change::Stacked { seq: 1, position: 1 }, context).wait().unwrap();
    all(&ledger, job, bind(2, 2));
    all(&ledger, job, [Change::Rejected { seq: 2 }]);
    ledger.close().unwrap();
    path
}

/// A copy whose triggers are gone, after some SQL.
fn tampered(path: &Path, sql: &str) -> Result<Head, LedgerError> {
    let copy = path.with_extension("copy");
    std::fs::copy(path, &copy).unwrap();
    let connection = Connection::open(&copy).unwrap();
    connection
        .execute_batch(
            "DROP TRIGGER event_no_update; DROP TRIGGER event_no_delete; DROP TRIGGER head_no_delete",
        )
        .unwrap();
    connection.execute_batch(sql).unwrap();
    verify_chain(&connection)
}

#[test]
fn every_column_of_an_event_is_chained() {
    let directory = directory();
    let path = ledger_on_disk(&directory);
    let head = tampered(&path, "SELECT 1").unwrap();
    assert_eq!(head.n, 10);
    // Event 7 is the STACKED one: nothing in it is empty.
    let text = [
        "card_ref",
        "blank",
        "station",
        "module",
        "from_state",
        "to_state",
        "reason",
        "detail",
        "header",
        "sw",
        "actor",
    ];
    let numbers = ["ts", "seq", "attempt", "position", "ms"];
    let changes = text
        .iter()
        .map(|c| format!("{c} = {c} || 'x'"))
        .chain(numbers.iter().map(|c| format!("{c} = {c} + 1")))
        .chain(["simulated = 1 - simulated".to_owned(), "hash = zeroblob(32)".to_owned()])
        .chain(text.iter().filter(|c| **c != "to_state").map(|c| format!("{c} = NULL")))
        .chain(["card_ref = '', blank = card_ref || blank".to_owned()]);
    for change in changes {
        let result = tampered(&path, &format!("UPDATE event SET {change} WHERE n = 7"));
        assert!(
            matches!(&result, Err(LedgerError::Damaged(m)) if m.contains("event 7")),
            "{change}: {result:?}"
        );
    }
    let result = tampered(
        &path,
        "INSERT INTO job SELECT 2, issuer_id, 'G', product, zeroblob(32), kek, line, 0, 0, spool, 0, 1, 'OPEN', 1, NULL, 0 \
         FROM job; UPDATE event SET job = 2 WHERE n = 7",
    );
    assert!(matches!(result, Err(LedgerError::Damaged(_))));
}

#[test]
fn missing_moved_and_added_events_are_found() {
    let directory = directory();
    let path = ledger_on_disk(&directory);
    let swap = "UPDATE event SET n = 100 WHERE n = 4; UPDATE event SET n = 4 WHERE n = 5; UPDATE event SET n = 5 \
                WHERE n = 100";
    let cases = [
        ("in the middle", "DELETE FROM event WHERE n = 5"),
        (
            "in the middle, renumbered",
            "DELETE FROM event WHERE n = 5; UPDATE event SET n = n - 1 WHERE n > 5",
        ),
        ("the first", "DELETE FROM event WHERE n = 1"),
        ("the last", "DELETE FROM event WHERE n = 10"),
        ("the last five", "DELETE FROM event WHERE n > 5"),
        ("all", "DELETE FROM event"),
        ("two in the other order", swap),
        (
            "one twice",
            "INSERT INTO event SELECT 11, ts, job, seq, card_ref, attempt, blank, station, module, from_state, \
             to_state, reason, detail, header, sw, position, ms, actor, simulated, count, hash FROM event WHERE n = 10",
        ),
        ("the head", "UPDATE head SET n = 9"),
        ("no head", "DELETE FROM head"),
    ];
    for (name, sql) in cases {
        let result = tampered(&path, sql);
        assert!(matches!(result, Err(LedgerError::Damaged(_))), "{name}: {result:?}");
    }
}

#[test]
fn a_ledger_cut_short_is_not_opened_for_writing() {
    let directory = directory();
    let path = ledger_on_disk(&directory);
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch("DROP TRIGGER event_no_delete; DELETE FROM event WHERE n = 10").unwrap();
    drop(connection);
    assert!(matches!(Ledger::open(&path), Err(LedgerError::Damaged(_))));
}

#[test]
fn triggers_forbid_changing_the_past() {
    let directory = directory();
    let path = ledger_on_disk(&directory);
    let connection = Connection::open(&path).unwrap();
    for sql in [
        "UPDATE event SET reason = 'x' WHERE n = 7",
        "DELETE FROM event WHERE n = 7",
        "DELETE FROM job",
        "DELETE FROM balance",
        "DELETE FROM record",
        "DELETE FROM attempt",
        "DELETE FROM blank",
        "DELETE FROM head",
    ] {
        let error = connection.execute_batch(sql).unwrap_err().to_string();
        assert!(error.contains("append-only") || error.contains("forgets nothing"), "{sql}: {error}");
    }
}

/// Computed with Python's hashlib and struct from the description at the top of `chain.rs`.
#[test]
fn python_hashlib_known_answer() {
    let event = Event {
        n: 7,
        ts: 1_700_000_000_123,
        job: "J1".to_owned(),
        seq: Some(12),
        card_ref: Some("CARD-12".to_owned()),
        attempt: Some(1),
        blank: Some("0A0B0C0D".to_owned()),
        station: Some("chip-1".to_owned()),
        module: None,
        from: Some("BOUND".to_owned()),
        to: "PERSONALIZING".to_owned(),
        reason: None,
        detail: Some("caf\u{e9}".to_owned()),
        header: None,
        sw: Some("9000".to_owned()),
        position: None,
        ms: Some(250),
        actor: None,
        simulated: true,
        count: None,
    };
    let mut scratch = Vec::new();
    let first = hash(&GENESIS, &event, &mut scratch);
    assert_eq!(hex::encode(first), "13495bead00b12430f7454bcab5a7590970bacae63bea5fbaa2629ccc1069e47");
    let second = hash(&first, &event, &mut scratch);
    assert_eq!(hex::encode(second), "8ca0fdf49a9a1d873e9614fff8ee020105663f9bb88a5c863e7cadf7b506bdd1");
    let counted = hash(&first, &Event { count: Some(500), ..event }, &mut scratch);
    assert_eq!(hex::encode(counted), "199853110c9c2dac0a3aaa603b5176cf39543eb5bc132644490ecec6c7f35180");
}
