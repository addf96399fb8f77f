//! A full disk under the ledger: while the ledger is made, while a file is accepted, in the middle of a job,
//! under the daemon.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::mounts::{Disk, Kind};
use super::{Daemon, LEDGER, accounted, ended, ok, settled};
use crate::books::{Witness, number};
use crate::support::World;

const CARDS: u32 = 70;

fn world(cards: u32) -> (World, Disk) {
    let mut world = World::new();
    world.prepared("job", cards, 31);
    world.prepared("next", 4, 39);
    let disk = Disk::mount(&mut world, Kind::Small);
    world.set("CARDWRIGHT_LEDGER", "small/cardwright.db");
    (world, disk)
}

#[test]
fn in_the_middle_of_a_job_the_line_stops_before_the_next_card() {
    let (world, disk) = world(CARDS);
    assert_eq!(world.run("job.cwf1", "sim-8", &["--limit", "2", "--seed", "1"]).code, 0);
    let mut runs = vec![Witness::keep(&world, 0)];
    // Room for nothing at first, at the end for some cards.
    for (run, kib) in (1..).zip([0, 12, 40, 72, 108, 160, 240]) {
        disk.leave(kib);
        let stopped = world.resume("sim-8", &["--seed", &(run + 1).to_string()]);
        ended(&stopped, LEDGER, &["small/cardwright.db: ", "full", "make room on its disk", "job resume"]);
        if world.path("dumps").exists() {
            runs.push(Witness::keep(&world, run));
        }
        // The ledger can be read while the disk is full, and gives the same answer afterwards.
        let shown = ok(&world, "job show J1 --json");
        disk.free();
        assert_eq!(shown, ok(&world, "job show J1 --json"));
        if let Some(last) = runs.last() {
            settled(&world, last);
        }
    }
    assert!(runs.len() > 3, "it was never in the middle of a card");
    assert_eq!(world.resume("sim-8", &["--seed", "90"]).code, 0);
    runs.push(Witness::keep(&world, 90));
    let closed = accounted(&world, &runs, u64::from(CARDS));
    assert_eq!(closed["state"], "CLOSED");
}

/// Whichever step fails (making the ledger, copying the file, writing the job), no remains hinder a later
/// acceptance, and no card was touched.
#[test]
fn an_acceptance_that_fails_leaves_no_remains() {
    let (world, disk) = world(200);
    let mut said = Vec::new();
    for kib in (0..1000).step_by(24) {
        disk.leave(kib);
        let refused = world.run("job.cwf1", "sim-8", &["--limit", "1"]);
        let spooled = std::fs::read_dir(disk.path("small/cardwright.db.spool"));
        let spooled = spooled.into_iter().flatten().count();
        disk.free();
        if world.cardwright(&["job", "list"]).stdout.contains("J1") {
            break;
        }
        assert!(refused.stderr.contains("small/cardwright.db"), "{}", refused.stderr);
        assert!(!world.path("dumps").exists(), "a card was touched");
        // After an error the ledger may have the job all the same. The next start finds out, and removes a
        // copy without a job.
        assert!(spooled == 0 || spooled == 1 && refused.code == LEDGER, "{kib}: {}", refused.stderr);
        said.push(refused.code);
    }
    said.dedup();
    assert!(said.len() > 1 && said.iter().all(|code| [LEDGER, super::IO].contains(code)), "{said:?}");
    assert_eq!(std::fs::read_dir(disk.path("small/cardwright.db.spool")).unwrap().count(), 1);
    // The accepted run left cards open.
    let _ = std::fs::rename(world.path("dumps"), world.path("dumps-0"));
    for words in ["card resolve J1 all --destroyed", "card remake J1 all"] {
        ok(&world, words);
    }
    assert_eq!(world.resume("sim-8", &["--seed", "2", "--limit", "3"]).code, 0);
}

/// A daemon does not stay up without a ledger: it logs the reason and ends. The next one begins with the
/// ledger as it is on the disk.
#[test]
fn under_the_daemon() {
    let (world, disk) = world(30);
    let end = Instant::now() + Duration::from_secs(60);
    let until = |what: &dyn Fn(&Value) -> bool| loop {
        let shown = ok(&world, "job show J1 --json");
        if what(&serde_json::from_str(&shown).unwrap()) {
            break;
        }
        assert!(Instant::now() < end, "{shown}");
        std::thread::sleep(Duration::from_millis(20));
    };
    let first = Daemon::start(&world, "20", "1");
    ok(&world, "job submit job.cwf1 --socket d.sock");
    ok(&world, "job release J1 --socket d.sock");
    until(&|job| number(&job["balance"], "good") > 2);
    disk.leave(16);
    let (code, said) = first.ends();
    assert_eq!(code, Some(LEDGER), "{said}");
    assert!(said.contains("small/cardwright.db: ") && said.contains("make room on its disk"), "{said}");
    disk.free();
    let mut runs = vec![Witness::keep(&world, 0)];
    settled(&world, &runs[0]);
    let second = Daemon::start(&world, "0", "2");
    ok(&world, "job release J1 --socket d.sock");
    until(&|_| {
        let closed = world.cardwright(&["job", "close", "J1", "--socket", "d.sock"]);
        closed.code == 0
    });
    disk.leave(0);
    let refused = world.cardwright(&["job", "submit", "next.cwf1", "--socket", "d.sock"]);
    ended(&refused, super::IO, &["No space left"]);
    disk.free();
    second.drains();
    runs.push(Witness::keep(&world, 1));
    accounted(&world, &runs, 30);
}
