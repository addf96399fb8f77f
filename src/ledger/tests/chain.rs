//! The chain: every kind of tampering with a copy is found.

use rusqlite::Connection;

use super::*;
use crate::laws::chain::{GENESIS, hash_version_one};
use crate::laws::event::version_one::VersionOneRow;

fn ledger_on_disk(directory: &TempDir) -> std::path::PathBuf {
    let path = directory.path().join("l.db");
    let ledger = Ledger::open(&path).unwrap();
    let job = ledger.new_job(file("F", 3)).unwrap().job;
    let context = Context {
        station: Some("chip-1".to_owned()),
        module: Some("chip".to_owned()),
        reason: Some(ReasonWord::of_status(0x6A84)),
        detail: Some("no space".to_owned()),
        header: Some("84E20000".to_owned()),
        sw: Some(0x6A84),
        ms: Some(12),
        actor: Some("line".to_owned()),
        ..Context::default()
    };
    all(&ledger, job, bind(1, 1).into_iter().chain(make(1)));
    ledger.record(job, Change::Stacked { seq: 1, position: 1 }, context).wait().unwrap();
    all(&ledger, job, bind(2, 2));
    all(&ledger, job, [Change::Rejected { seq: 2 }]);
    ledger.close().unwrap();
    path
}

/// A copy without its triggers, after some SQL.
fn tampered(path: &Path, sql: &str) -> Result<ChainHead, LedgerError> {
    let copy = path.with_extension("copy");
    std::fs::copy(path, &copy).unwrap();
    let connection = Connection::open(&copy).unwrap();
    connection
        .execute_batch(
            "DROP TRIGGER event_v2_no_update; DROP TRIGGER event_v2_no_delete; DROP TRIGGER head_no_delete; \
             DROP TRIGGER event_no_insert",
        )
        .unwrap();
    connection.execute_batch(sql).unwrap();
    verify_chain(&connection)
}

/// Event 7 is the STACKED one; it has every field of a context.
#[test]
fn every_byte_of_an_event_is_chained() {
    let directory = directory();
    let path = ledger_on_disk(&directory);
    let head = tampered(&path, "SELECT 1").unwrap();
    assert_eq!(head.n, 10);
    let body: Vec<u8> = Connection::open(&path)
        .unwrap()
        .query_row("SELECT body FROM event_v2 WHERE n = 7", [], |r| r.get(0))
        .unwrap();
    let bodies = (0..body.len()).map(|at| {
        let mut other = body.clone();
        other[at] ^= 1;
        other
    });
    let bodies = bodies.chain([body[..body.len() - 1].to_vec(), [&body[..], &[0]].concat(), vec![]]);
    let changes = bodies.map(|other| format!("body = x'{}'", hex::encode(other)));
    for change in changes.chain(["hash = zeroblob(32)".to_owned()]) {
        let result = tampered(&path, &format!("UPDATE event_v2 SET {change} WHERE n = 7"));
        assert!(
            matches!(&result, Err(LedgerError::Damaged(m)) if m.contains("event 7")),
            "{change}: {result:?}"
        );
    }
}

/// A hashed row with the right number and previous hash: its forger knows how version 1 is made.
#[test]
fn a_version_one_event_after_one_of_version_two_is_found() {
    let directory = directory();
    let path = ledger_on_disk(&directory);
    let previous = tampered(&path, "SELECT 1").unwrap().hash;
    let row = VersionOneRow {
        n: 11,
        ts: 1,
        job: "J1".to_owned(),
        seq: None,
        card_ref: None,
        attempt: None,
        blank: None,
        station: None,
        module: None,
        from: Some("OPEN".to_owned()),
        to: "HELD".to_owned(),
        reason: None,
        detail: None,
        header: None,
        sw: None,
        position: None,
        ms: None,
        actor: None,
        simulated: true,
        count: None,
    };
    let hash = hex::encode(hash_version_one(&previous, &row, &mut Vec::new()));
    let insert = format!(
        "INSERT INTO event (n, ts, job, from_state, to_state, simulated, hash) \
         VALUES (11, 1, 1, 'OPEN', 'HELD', 1, x'{hash}'); UPDATE head SET n = 11, hash = x'{hash}'"
    );
    let error = Connection::open(&path).unwrap().execute_batch(&insert).unwrap_err().to_string();
    assert!(error.contains("chain version 1 has ended"), "{error}");
    let result = tampered(&path, &insert);
    assert!(
        matches!(&result, Err(LedgerError::Damaged(m)) if m.contains("event 11 is of chain version 1")),
        "{result:?}"
    );
    let audit = Reader::open(path.with_extension("copy")).unwrap().audit(None, |_| ()).unwrap();
    let found: Vec<_> = audit.findings.iter().map(ToString::to_string).collect();
    let what = "event 11: it is of chain version 1 and follows one of version 2";
    assert!(found.iter().any(|found| found == what), "{found:?}");
}

#[test]
fn missing_moved_and_added_events_are_found() {
    let directory = directory();
    let path = ledger_on_disk(&directory);
    let swap = "UPDATE event_v2 SET n = 100 WHERE n = 4; UPDATE event_v2 SET n = 4 WHERE n = 5; UPDATE event_v2 SET n = 5 \
                WHERE n = 100";
    let cases = [
        ("in the middle", "DELETE FROM event_v2 WHERE n = 5"),
        (
            "in the middle, renumbered",
            "DELETE FROM event_v2 WHERE n = 5; UPDATE event_v2 SET n = n - 1 WHERE n > 5",
        ),
        ("the first", "DELETE FROM event_v2 WHERE n = 1"),
        ("the last", "DELETE FROM event_v2 WHERE n = 10"),
        ("the last five", "DELETE FROM event_v2 WHERE n > 5"),
        ("all", "DELETE FROM event_v2"),
        ("two in the other order", swap),
        (
            "one twice",
            "INSERT INTO event_v2 SELECT 11, job, seq, kind, body, hash FROM event_v2 WHERE n = 10",
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
    connection.execute_batch("DROP TRIGGER event_v2_no_delete; DELETE FROM event_v2 WHERE n = 10").unwrap();
    drop(connection);
    assert!(matches!(Ledger::open(&path), Err(LedgerError::Damaged(_))));
}

#[test]
fn triggers_forbid_changing_the_past() {
    let directory = directory();
    let path = ledger_on_disk(&directory);
    let connection = Connection::open(&path).unwrap();
    for sql in [
        "UPDATE event_v2 SET kind = 1 WHERE n = 7",
        "DELETE FROM event_v2 WHERE n = 7",
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

/// Computed with Python's hashlib and struct from the description of version 1 in the specification.
#[test]
fn python_hashlib_known_answer() {
    let event = VersionOneRow {
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
    let first = hash_version_one(&GENESIS, &event, &mut scratch);
    assert_eq!(hex::encode(first), "13495bead00b12430f7454bcab5a7590970bacae63bea5fbaa2629ccc1069e47");
    let second = hash_version_one(&first, &event, &mut scratch);
    assert_eq!(hex::encode(second), "8ca0fdf49a9a1d873e9614fff8ee020105663f9bb88a5c863e7cadf7b506bdd1");
    let counted = hash_version_one(&first, &VersionOneRow { count: Some(500), ..event }, &mut scratch);
    assert_eq!(hex::encode(counted), "199853110c9c2dac0a3aaa603b5176cf39543eb5bc132644490ecec6c7f35180");
}
