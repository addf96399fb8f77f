//! Exports of the ledger while a daemon writes to it: each export is the beginning of the next, and its
//! holder can prove it with SHA-256 alone, as src/laws/chain.rs describes.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::books::{number, word};
use crate::daemon::{Daemon, audited, good, people};
use crate::support::{Ended, World};

const CARDS: u64 = 60;

/// Days since 1970 of a day of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 719_469
}

/// The Unix time in ms of an event's time, such as "2026-11-25T03:36:16.123Z".
fn unix_ms(ts: &str) -> u64 {
    let n = |at: std::ops::Range<usize>| ts[at].parse::<i64>().unwrap();
    let seconds = days(n(0..4), n(5..7), n(8..10)) * 86_400 + n(11..13) * 3600 + n(14..16) * 60 + n(17..19);
    (seconds * 1000 + n(20..23)) as u64
}

/// The hash of an event that follows another, computed from the bytes in its line. Fails if the bytes and the
/// words of the line disagree.
fn chained(previous: &[u8], ledger: &[u8], event: &Value) -> Vec<u8> {
    let body = hex::decode(word(event, "body")).unwrap();
    let kind = u16::from_be_bytes([body[0], body[1]]);
    let n = u64::from_be_bytes(body[2..10].try_into().unwrap());
    let ts = u64::from_be_bytes(body[10..18].try_into().unwrap());
    assert_eq!((n, ts), (number(event, "n"), unix_ms(&word(event, "ts"))), "{event}");
    let words = [(0x01, "ACCEPTED"), (0x20, "FED"), (0x30, "BOUND"), (0x36, "STACKED"), (0x40, "REJECTED")];
    for (code, word) in words {
        assert_eq!(kind == code, event["to"] == word && (code != 0x40 || !event["seq"].is_null()), "{event}");
    }
    let sha = Sha256::new().chain_update(previous).chain_update("CWL2").chain_update(ledger);
    sha.chain_update(body).finalize().to_vec()
}

/// The content of an export whose hashes are right.
struct Proven {
    events: Vec<String>,
    checkpoints: Vec<String>,
    /// The hash of the last event.
    hash: String,
}

/// Reads an export. Fails unless its events begin with the first and have no gap, and each checkpoint follows
/// its event and has the hash computed for that event.
fn proven(export: &str) -> Proven {
    assert!(export.is_empty() || export.ends_with('\n'), "half a line");
    let (mut events, mut checkpoints, mut hash) = (Vec::new(), Vec::new(), vec![0; 32]);
    // Every checkpoint names its ledger. An export without a checkpoint proves nothing yet, so any name will
    // do.
    let lines = export.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let ledger =
        lines.filter_map(|line| line["ledger"].as_str().map(|name| hex::decode(name).unwrap())).next();
    let ledger = ledger.unwrap_or_default();
    for line in export.lines() {
        let value: Value = serde_json::from_str(line).unwrap();
        if value["checkpoint"].is_null() {
            assert_eq!(number(&value, "n"), events.len() as u64 + 1, "{line}");
            hash = chained(&hash, &ledger, &value);
            events.push(line.to_owned());
        } else {
            assert_eq!(number(&value, "checkpoint"), events.len() as u64, "{line}");
            assert_eq!(word(&value, "hash"), hex::encode_upper(&hash), "{line}");
            checkpoints.push(line.to_owned());
        }
    }
    Proven { events, checkpoints, hash: hex::encode_upper(hash) }
}

#[test]
fn an_export_while_the_daemon_works_is_the_beginning_of_the_next() {
    let world = World::new();
    people(&world, "\"operator\", \"supervisor\", \"auditor\"");
    world.prepared("a", CARDS as u32, 75);
    let daemon = Daemon::start(&world, "20", "1");
    daemon.ok("job submit a.cwf1");
    daemon.ok("job release J1");
    let export = || {
        let ended = world.cardwright(&["audit", "export"]);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        proven(&ended.stdout)
    };
    let mut exports = Vec::new();
    loop {
        let job = daemon.job("J1");
        if job["phase"] == "COMPLETE" {
            break;
        }
        exports.push(export());
        assert!(exports.len() < 2000 && job["state"] == "OPEN", "{job}");
    }
    daemon.closed("J1");
    // An export through the daemon is proven in the same way, and comes from the daemon's ledger.
    let mut command = world.command(env!("CARGO_BIN_EXE_cardwright").as_ref());
    let told =
        Ended::from(command.args(["audit", "export"]).env("CARDWRIGHT_SOCKET", "d.sock").output().unwrap());
    assert_eq!(told.code, 0, "{}", told.stderr);
    exports.push(proven(&told.stdout));
    assert_eq!(good(&daemon.job("J1")), CARDS);
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(daemon.ends(), Some(0));
    audited(&world);

    let last = export();
    let grew = exports.windows(2).filter(|two| two[0].events.len() < two[1].events.len()).count();
    assert!(grew > 3, "{grew} of {} were taken while the daemon wrote", exports.len());
    assert!(!last.checkpoints.is_empty());
    for earlier in &exports {
        assert!(
            last.events.starts_with(&earlier.events) && last.checkpoints.starts_with(&earlier.checkpoints)
        );
    }
    let verdict = world.cardwright(&["audit", "verify", "--keys", "bureau.store", "--json"]);
    let verdict: Value = serde_json::from_str(&verdict.stdout).unwrap();
    assert_eq!((number(&verdict, "events"), word(&verdict, "hash")), (last.events.len() as u64, last.hash));
    assert_eq!(number(&verdict, "checkpoints"), last.checkpoints.len() as u64);
}

/// The proof would find a change.
#[test]
fn an_export_that_was_changed_is_no_proof() {
    let world = World::new();
    world.prepared("a", 2, 76);
    assert_eq!(world.run("a.cwf1", "sim-chip-8", &[]).code, 0);
    let whole = world.cardwright(&["audit", "export"]).stdout;
    proven(&whole);
    let changed = whole.replacen("\"to\":\"STACKED\"", "\"to\":\"REJECTED\"", 1);
    assert_ne!(changed, whole);
    assert!(std::panic::catch_unwind(|| proven(&changed)).is_err());
    // The words and the bytes are changed alike: STACKED is kind 0036, REJECTED 0040.
    let forged = changed.replacen("\"body\":\"0036", "\"body\":\"0040", 1);
    assert_ne!(forged, changed);
    assert!(std::panic::catch_unwind(|| proven(&forged)).is_err());
}
