//! A disk that fails: ext4 on a device that cannot store some blocks. The writer gets the error when it
//! syncs, and only once.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::mounts::{Disk, Kind};
use super::{LEDGER, accounted, ended, settled};
use crate::books::{Witness, number};
use crate::daemon::left_in_line;
use crate::support::{World, lines};

/// More cards than all rounds make, with a full disk and with room on it.
const CARDS: u32 = 140;

#[test]
fn a_sync_that_fails_stops_the_line_and_is_not_tried_again() {
    let mut world = World::new();
    world.prepared("job", CARDS, 32);
    let disk = Disk::mount(&mut world, Kind::Failing);
    world.set("CARDWRIGHT_LEDGER", "small/cardwright.db");
    assert_eq!(world.run("job.cwf1", "sim-8", &["--limit", "2", "--seed", "1"]).code, 0);
    let mut runs = vec![Witness::keep(&world, 0)];
    for (run, kib) in (1..).zip([0, 16, 60, 120, 200]) {
        disk.leave(kib);
        let stopped = world.resume("sim-8", &["--seed", &(run + 1).to_string()]);
        ended(&stopped, LEDGER, &["small/cardwright.db", "its disk reports errors"]);
        if world.path("dumps").exists() {
            runs.push(Witness::keep(&world, run));
        }
        disk.free();
        settled(&world, runs.last().unwrap());
    }
    assert_eq!(world.resume("sim-8", &["--seed", "90"]).code, 0);
    runs.push(Witness::keep(&world, 90));
    accounted(&world, &runs, u64::from(CARDS));
}

/// Resumes the job until some cards are stacked, then kills it, so that it does not fold the WAL into the
/// ledger.
pub fn killed_in_mid_job(world: &World, seed: &str) {
    let _ = std::fs::remove_file(world.path("events.jsonl"));
    let mut run = world
        .command(Path::new(env!("CARGO_BIN_EXE_cardwright")))
        .args([
            "job",
            "resume",
            "J1",
            "--line",
            "sim-8",
            "--keys",
            "bureau.store",
            "--simulate",
            "--speed",
            "20",
        ])
        .args(["--dump", "dumps", "--events", "events.jsonl", "--seed", seed])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    let events = || std::fs::read_to_string(world.path("events.jsonl")).unwrap_or_default();
    while events().matches("\"to\":\"STACKED\"").count() < 3 {
        assert!(Instant::now() < end && run.try_wait().unwrap().is_none(), "no card was stacked");
        std::thread::sleep(Duration::from_millis(5));
    }
    run.kill().unwrap();
    run.wait().unwrap();
    left_in_line(world);
}

/// The events of the ledger as it is on the disk: read from the device itself, without anything that the
/// kernel holds only in memory.
pub fn after_a_power_cut(world: &World, disk: &Disk) -> Vec<Value> {
    let cut = world.path("cut");
    std::fs::copy(disk.path("blocks/disk"), &cut).unwrap();
    // The mount exists only in the shell's namespace and ends with the shell.
    let script = "e2fsck -fy cut >&2; mkdir -p after && mount -o loop cut after && \
                  \"$0\" audit verify --ledger after/cardwright.db >&2 && \
                  \"$0\" log --json --ledger after/cardwright.db && umount after";
    let mut command = world.command(Path::new("sh"));
    let output = command.args(["-c", script, env!("CARGO_BIN_EXE_cardwright")]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}{said}", String::from_utf8_lossy(&output.stdout));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A commit whose sync failed may look as if it were there, but it is not on the disk. Commits after it could
/// not be found after a power cut, even if their own sync was good.
#[test]
fn commits_after_a_failed_sync_outlive_a_power_cut() {
    let mut world = World::new();
    world.prepared("job", CARDS, 37);
    let disk = Disk::mount(&mut world, Kind::Failing);
    world.set("CARDWRIGHT_LEDGER", "small/cardwright.db");
    assert_eq!(world.run("job.cwf1", "sim-8", &["--limit", "2", "--seed", "1"]).code, 0);
    let mut runs = vec![Witness::keep(&world, 0)];
    for (round, kib) in (1..).zip([16, 40]) {
        disk.leave(kib);
        let stopped = world.resume("sim-8", &["--seed", &(2 * round).to_string()]);
        ended(&stopped, LEDGER, &["small/cardwright.db", "its disk reports errors"]);
        let failed = world.path("dumps").exists().then(|| Witness::keep(&world, 2 * round));
        disk.free();
        // No other program opens the ledger in between: closing it would fold the WAL into the file.
        killed_in_mid_job(&world, &(2 * round + 1).to_string());
        let mut run = Witness::keep(&world, 2 * round + 1);
        let told = lines(&world.path("events.jsonl"));
        let there = after_a_power_cut(&world, &disk);
        for event in &told {
            let kept = there.get(number(event, "n") as usize - 1);
            assert_eq!(kept, Some(event), "{kib} KiB: told and not on the disk");
        }
        // A person looks for the cards of both runs.
        if let Some(failed) = failed {
            run.dumps.extend(failed.dumps);
        }
        settled(&world, &run);
        runs.push(run);
    }
    assert_eq!(world.resume("sim-8", &["--seed", "90"]).code, 0);
    runs.push(Witness::keep(&world, 90));
    accounted(&world, &runs, u64::from(CARDS));
}

/// Runs that end by themselves, runs that end on a disk without room for one more block, and commands that
/// open the ledger in between. After each, every reported event is on the disk, in an undamaged file.
#[test]
fn acknowledged_events_survive_a_disk_that_fails_again_and_again() {
    let mut world = World::new();
    world.prepared("job", CARDS, 41);
    let disk = Disk::mount(&mut world, Kind::Failing);
    world.set("CARDWRIGHT_LEDGER", "small/cardwright.db");
    assert_eq!(world.run("job.cwf1", "sim-8", &["--limit", "2", "--seed", "1"]).code, 0);
    let (mut runs, mut failed) = (vec![Witness::keep(&world, 0)], 0);
    for (round, kib) in (1..).zip([300, 0, 4, 0, 8, 0, 4, 0]) {
        disk.leave(kib);
        let ended = world.resume("sim-8", &["--limit", "10", "--seed", &(2 * round).to_string()]);
        assert!([0, LEDGER].contains(&ended.code), "{kib} KiB: {}{}", ended.stdout, ended.stderr);
        failed += u32::from(ended.code == LEDGER);
        let mut told = lines(&world.path("events.jsonl"));
        disk.free();
        if world.path("dumps").exists() {
            runs.push(Witness::keep(&world, 2 * round));
            settled(&world, runs.last().unwrap());
        }
        let next = world.resume("sim-8", &["--limit", "1", "--seed", &(2 * round + 1).to_string()]);
        assert_eq!(next.code, 0, "{}{}", next.stdout, next.stderr);
        runs.push(Witness::keep(&world, 2 * round + 1));
        told.extend(lines(&world.path("events.jsonl")));
        let there = after_a_power_cut(&world, &disk);
        for event in &told {
            let kept = there.get(number(event, "n") as usize - 1);
            assert_eq!(kept, Some(event), "{kib} KiB: told and not on the disk");
        }
    }
    assert!(failed > 0, "the disk never failed");
    assert_eq!(world.resume("sim-8", &["--seed", "90"]).code, 0);
    runs.push(Witness::keep(&world, 90));
    accounted(&world, &runs, u64::from(CARDS));
}
