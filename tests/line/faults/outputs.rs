//! Full disks under files other than the ledger: events, dumps, report, the key store, the HSM's audit book, papers,
//! an export.

use std::path::Path;

use super::mounts::{Disk, Kind};
use super::{IO, accounted, ended, ok};
use crate::books::Witness;
use crate::support::{BUREAU_KEYS, World};

/// Exit code: the key store is refused.
const KEY_STORE: i32 = 22;

#[test]
fn events_and_report_that_find_no_room_stop_no_card() {
    let mut world = World::new();
    world.prepared("job", 6, 33);
    let disk = Disk::mount(&mut world, Kind::Small);
    disk.leave(4);
    let line = ["--line", "sim-8", "--keys", "bureau.store", "--simulate", "--speed", "0", "--dump", "dumps"];
    let outputs = ["--events", "small/events.jsonl"];
    let full = world.cardwright(&[&["run", "job.cwf1"][..], &line, &outputs].concat());
    ended(&full, IO, &["small/events.jsonl", "No space left", "cardwright log"]);
    accounted(&world, &[Witness::keep(&world, 0)], 6);
}

#[test]
fn the_audit_book_of_the_hsm_finds_no_room() {
    let mut world = World::new();
    let seeds: Vec<_> = (2..22u8).map(|seed| seed.to_string()).collect();
    world.prepared("job", 24, 34);
    let disk = Disk::mount(&mut world, Kind::Small);
    world.new_store("small/bureau.store");
    let line = |seed| {
        [
            "--line",
            "sim-8",
            "--keys",
            "small/bureau.store",
            "--simulate",
            "--speed",
            "0",
            "--dump",
            "dumps",
            "--seed",
            seed,
        ]
    };
    let run = |more: &[&str]| world.cardwright(&[&["run", "job.cwf1"][..], &line("1"), more].concat());
    disk.leave(0);
    ended(&run(&[]), KEY_STORE, &["of the key store", "No space left"]);
    disk.free();
    // The failed attempt left no trace, so the file can be accepted.
    assert_eq!(run(&["--limit", "2"]).code, 0);
    disk.leave(0);
    // The last block of the journal has room for some signatures. Then the end of a run cannot be signed; the cards are made.
    let one = |seed| world.cardwright(&[&["job", "resume", "J1", "--limit", "1"][..], &line(seed)].concat());
    let refused = seeds.iter().map(|seed| one(seed)).find(|run| run.code != 0).unwrap();
    ended(&refused, KEY_STORE, &["has not signed", "audit book", "No space left"]);
    let made = world.dumps().len();
    assert!(made > 2, "{made}");
    disk.free();
    let audit = ok(&world, "audit verify --keys small/bureau.store");
    assert!(audit.contains("Not signed"), "{audit}");
    let resumed = world.cardwright(&[&["job", "resume", "J1"][..], &line("22")].concat());
    assert_eq!(resumed.code, 0, "{}", resumed.stderr);
    ok(&world, "job papers J1 --keys small/bureau.store --out papers");
    assert_eq!(world.dumps().len(), 24);
}

#[test]
fn a_key_store_that_finds_no_room_is_not_changed() {
    let mut world = World::new();
    let disk = Disk::mount(&mut world, Kind::Small);
    world.new_store("small/bureau.store");
    disk.leave(0);
    let recipient = || world.cardwright(&["key", "recipient", "--store", "small/bureau.store"]);
    ended(&recipient(), IO, &["cannot be written, and nothing was changed", "No space left"]);
    let init = ["key", "init", "--test", "--from", BUREAU_KEYS, "--store", "small/other.store"];
    let made = world.cardwright(&init);
    assert!(made.code != 0 && made.stderr.contains("No space left"), "{}", made.stderr);
    for left in ["small/other.store", "small/other.store-next", "small/bureau.store/keys.next"] {
        assert!(!disk.path(left).exists(), "{left}");
    }
    let acts = || ok(&world, "key acts --store small/bureau.store").lines().count();
    assert_eq!(acts(), 1);
    disk.free();
    assert_eq!((recipient().code, acts()), (0, 2));
    assert_eq!(world.cardwright(&init).code, 0);
}

#[test]
fn papers_and_exports_find_no_room() {
    let mut world = World::new();
    world.prepared("job", 6, 35);
    assert_eq!(world.run("job.cwf1", "sim-8", &[]).code, 0);
    let disk = Disk::mount(&mut world, Kind::Small);
    let papers =
        || world.cardwright(&["job", "papers", "J1", "--keys", "bureau.store", "--out", "small/papers"]);
    for kib in [0, 4, 8] {
        disk.leave(kib);
        ended(&papers(), IO, &["small/papers", "No space left"]);
        assert!(!disk.path("small/papers").exists(), "half a paper or an empty folder stays");
    }
    let export = || {
        let script = "exec \"$0\" audit export > small/export.jsonl";
        let mut command = world.command(Path::new("sh"));
        let output = command.args(["-c", script, env!("CARGO_BIN_EXE_cardwright")]).output().unwrap();
        crate::support::Ended::from(output)
    };
    ended(&export(), IO, &["standard output", "No space left"]);
    disk.free();
    assert_eq!(papers().code, 0);
    assert_eq!(export().code, 0);
    let whole = std::fs::read_to_string(disk.path("small/export.jsonl")).unwrap();
    assert_eq!(whole, ok(&world, "audit export"));
}
