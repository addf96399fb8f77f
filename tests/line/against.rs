//! `audit verify --against`: an export that was kept elsewhere shows a ledger and a store that were put back together, and a
//! history that was written anew with the store's own audit key.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::daemon::{Daemon, people};
use crate::support::{Ended, World};

const AUDIT_FAILED: i32 = 45;
const HELD: i32 = 44;
const USAGE: i32 = 2;

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}

/// What a bureau has: its ledger with the files beside it, and its store.
fn kept(world: &World) -> Vec<std::path::PathBuf> {
    let of_ledger = |name: &str| name.starts_with("cardwright.db") || name == "bureau.store";
    let entries = std::fs::read_dir(world.path("")).unwrap().map(|entry| entry.unwrap());
    entries.filter(|entry| of_ledger(entry.file_name().to_str().unwrap())).map(|entry| entry.path()).collect()
}

/// Copies all of it to a folder of this name.
fn back_up(world: &World, name: &str) {
    std::fs::create_dir(world.path(name)).unwrap();
    kept(world).iter().for_each(|path| copy(path, &world.path(name)));
}

fn put_back(world: &World, name: &str) {
    for path in kept(world) {
        assert!(Command::new("rm").arg("-r").arg(path).status().unwrap().success());
    }
    for entry in std::fs::read_dir(world.path(name)).unwrap() {
        copy(&entry.unwrap().path(), &world.path(""));
    }
}

/// Makes the cards of a file, which becomes this job.
fn makes(world: &World, file: &str, seed: u64, job: &str) {
    world.prepared(file, 3, seed);
    let ran = world.run(&format!("{file}.cwf1"), "sim-8", &[]);
    if job == "J1" {
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        return;
    }
    // It has card_refs of the file before.
    assert_eq!(ran.code, HELD, "{}", ran.stderr);
    let line = ["--line", "sim-8", "--keys", "bureau.store", "--simulate", "--speed", "0"];
    let resumed = world.cardwright(&[&["job", "resume", job][..], &line].concat());
    assert_eq!(resumed.code, 0, "{}", resumed.stderr);
}

fn export(world: &World, name: &str) {
    let exported = world.cardwright(&["audit", "export"]);
    assert_eq!(exported.code, 0, "{}", exported.stderr);
    world.write(name, &exported.stdout);
}

fn verify(world: &World, exports: &[&str]) -> Ended {
    let mut words = vec!["audit", "verify", "--keys", "bureau.store"];
    exports.iter().for_each(|export| words.extend(["--against", export]));
    world.cardwright(&words)
}

fn found(world: &World, exports: &[&str], says: &str) {
    let verdict = verify(world, exports);
    assert_eq!(verdict.code, AUDIT_FAILED, "{says}: {}{}", verdict.stdout, verdict.stderr);
    assert!(verdict.stdout.contains(says), "{says}: {}", verdict.stdout);
}

/// The store signs the new history with its own key, and nothing in ledger and store contradicts it.
#[test]
fn what_was_put_back_or_written_anew_differs_from_a_kept_export() {
    let world = World::new();
    makes(&world, "a", 81, "J1");
    export(&world, "first.jsonl");
    back_up(&world, "monday");
    makes(&world, "b", 82, "J2");
    export(&world, "second.jsonl");
    let good = verify(&world, &["first.jsonl", "second.jsonl"]);
    assert_eq!(good.code, 0, "{}{}", good.stdout, good.stderr);
    assert_eq!(good.stdout.matches("Compared").count(), 2, "{}", good.stdout);

    put_back(&world, "monday");
    assert_eq!(verify(&world, &["first.jsonl"]).code, 0, "nothing inside them shows it");
    found(&world, &["second.jsonl"], "the ledger ends before this event");
    makes(&world, "c", 83, "J2");
    assert_eq!(verify(&world, &["first.jsonl"]).code, 0, "nothing inside them shows it");
    found(&world, &["first.jsonl", "second.jsonl"], "export 2, line");
    found(&world, &["second.jsonl"], "the ledger has another event of this number");
}

#[test]
fn a_changed_export_is_found_and_what_is_none_is_refused() {
    let world = World::new();
    makes(&world, "a", 84, "J1");
    makes(&world, "b", 85, "J2");
    export(&world, "kept.jsonl");
    let text = std::fs::read_to_string(world.path("kept.jsonl")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let of_checkpoint = |line: &&str| serde_json::from_str::<Value>(line).unwrap()["checkpoint"].is_u64();
    let signed: Vec<usize> = (0..lines.len()).filter(|n| of_checkpoint(&lines[*n])).collect();
    assert!(signed.len() > 2, "{}", signed.len());
    let event = (1..lines.len()).find(|n| !signed.contains(n)).unwrap();
    let written = |lines: &[&str]| world.write("changed.jsonl", &(lines.join("\n") + "\n"));

    // A checkpoint that is left out: the next one does not follow.
    let mut without = lines.clone();
    without.remove(signed[1]);
    written(&without);
    found(&world, &["changed.jsonl"], "a checkpoint was left out");
    // An event that is left out, and a changed hash.
    let mut without = lines.clone();
    without.remove(event);
    written(&without);
    found(&world, &["changed.jsonl"], "its number is not the next one");
    let changed = lines[event].replace("\"body\":\"00", "\"body\":\"01");
    let mut other = lines.clone();
    other[event] = &changed;
    written(&other);
    found(&world, &["changed.jsonl"], "another event of this number");
    for field in ["generation", "time"] {
        let mut value: Value = serde_json::from_str(lines[signed[1]]).unwrap();
        value[field] = match field {
            "generation" => (value[field].as_u64().unwrap() + 1).into(),
            _ => "2026-01-01T00:00:00.000Z".into(),
        };
        let changed = value.to_string();
        let mut other = lines.clone();
        other[signed[1]] = &changed;
        written(&other);
        found(&world, &["changed.jsonl"], "its signature is wrong");
    }

    for wrong in ["", "junk\n", "{}\n", &text[..text.len() - 1], "{\"n\":-1,\"hash\":\"00\"}\n", "\n"] {
        world.write("wrong.jsonl", wrong);
        let refused = verify(&world, &["wrong.jsonl"]);
        assert_eq!(refused.code, USAGE, "{wrong:?}: {}{}", refused.stdout, refused.stderr);
        assert!(refused.stderr.contains("export 1"), "{}", refused.stderr);
    }
    assert_eq!(verify(&world, &["none.jsonl"]).code, 50);

    // The export of another ledger.
    world.new_store("other.store");
    let line =
        ["--line", "sim-8", "--keys", "other.store", "--simulate", "--speed", "0", "--ledger", "other.db"];
    let ran = world.cardwright(&[&["run", "a.cwf1"][..], &line].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let exported = world.cardwright(&["audit", "export", "--ledger", "other.db"]);
    world.write("other.jsonl", &exported.stdout);
    found(&world, &["other.jsonl"], "it is of another ledger");
}

#[test]
fn a_daemon_compares_its_ledger_with_an_export() {
    let world = World::new();
    people(&world, "\"operator\", \"supervisor\", \"auditor\"");
    makes(&world, "a", 86, "J1");
    export(&world, "kept.jsonl");
    let daemon = Daemon::start(&world, "20", "1");
    let good = daemon.asks("audit verify --against kept.jsonl --against kept.jsonl");
    assert_eq!(good.code, 0, "{}{}", good.stdout, good.stderr);
    assert_eq!(good.stdout.matches("Compared").count(), 2, "{}", good.stdout);
    let text = std::fs::read_to_string(world.path("kept.jsonl")).unwrap();
    world.write("kept.jsonl", &text.replacen("\"body\":\"00", "\"body\":\"01", 1));
    let bad = daemon.asks("audit verify --against kept.jsonl --json");
    assert_eq!(bad.code, AUDIT_FAILED, "{}{}", bad.stdout, bad.stderr);
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(daemon.ends(), Some(0));
}
