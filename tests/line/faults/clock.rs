//! The wall clock is set back and forward, in the middle of a job and between two, under `run` and under the
//! daemon. Events are ordered by their numbers, their times follow the clock, and durations come from another
//! clock. Nothing is deleted by itself after a time that only the clock knows of.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Daemon, accounted, ok};
use crate::books::{Witness, number, word};
use crate::support::{World, compile};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// Longer than any single step of a card takes here.
const STEP_MAX: u64 = 60_000;

/// A world whose programs use the time that `set` sets.
fn world(cards: u32) -> World {
    let mut world = World::new();
    world.prepared("job", cards, 37);
    world.prepared("next", 4, 38);
    compile("line/faults/clock.c", &world.path(""));
    set(&world, 0);
    world.set("CLOCK", "clock");
    world.set("LD_PRELOAD", "clock.so");
    world
}

fn set(world: &World, seconds: i64) {
    std::fs::write(world.path("clock-next"), seconds.to_string()).unwrap();
    std::fs::rename(world.path("clock-next"), world.path("clock")).unwrap();
}

/// All events of the ledger. Fails unless they are numbered without a gap, and no duration is absurd.
fn in_order(world: &World) -> Vec<Value> {
    let log = ok(world, "log --json");
    let events: Vec<Value> = match serde_json::from_str(&log) {
        Ok(Value::Array(events)) => events,
        _ => log.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
    };
    assert!(events.iter().zip(1..).all(|(event, n)| number(event, "n") == n));
    assert!(events.iter().all(|event| event["ms"].as_u64().unwrap_or(0) < STEP_MAX));
    ok(world, "audit verify --keys bureau.store");
    events
}

/// Sets the clock to each of `jumps` in turn while a job runs, each after some more records are done.
fn jumping<T>(world: &World, jumps: &[i64], done: impl Fn() -> usize + Sync, job: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let jumper = scope.spawn(|| {
            for (jump, after) in jumps.iter().zip((3..).step_by(5)) {
                while done() < after && !over.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(5));
                }
                set(world, *jump);
            }
            !over.load(Ordering::SeqCst)
        });
        let result = job();
        over.store(true, Ordering::SeqCst);
        assert!(jumper.join().unwrap(), "the job was over before the last jump");
        result
    })
}

#[test]
fn in_the_middle_of_a_run_and_between_two_runs() {
    let world = world(40);
    let stacked = || {
        let events = std::fs::read_to_string(world.path("events.jsonl")).unwrap_or_default();
        events.matches("\"to\":\"STACKED\"").count()
    };
    let jumps = [5 * HOUR, -9 * HOUR, 30 * HOUR, -5_000 * HOUR, HOUR];
    let line =
        ["--line", "sim-8", "--keys", "bureau.store", "--simulate", "--speed", "40", "--dump", "dumps"];
    let args = [&["run", "job.cwf1", "--limit", "36", "--events", "events.jsonl"][..], &line].concat();
    let ended = jumping(&world, &jumps, stacked, || world.cardwright(&args));
    super::ended(&ended, 0, &[]);
    let mut runs = vec![Witness::keep(&world, 0)];
    let events = in_order(&world);
    // The programs saw the jumps, there and back.
    let times: Vec<String> = events.iter().map(|event| word(event, "ts")).collect();
    assert!(times.iter().max() > times.last() && times.iter().min() < times.first());
    // First before 1970, then about now.
    for (clock, limit, run) in [(-600_000 * HOUR, "1", 1), (-HOUR, "9", 2)] {
        set(&world, clock);
        super::ended(&world.resume("sim-8", &["--limit", limit, "--seed", &run.to_string()]), 0, &[]);
        runs.push(Witness::keep(&world, run));
        in_order(&world);
    }
    accounted(&world, &runs, 40);
    let report = ok(&world, "job report J1");
    assert!(!report.contains(" -"), "something negative: {report}");
    ok(&world, "job papers J1 --keys bureau.store --out papers");
    // A second file; its copy in the spool is named after an earlier time.
    set(&world, -40 * HOUR);
    let next = world.cardwright(&[&["run", "next.cwf1"][..], &line].concat());
    // The job is HELD if both files share synthetic cards; the file is accepted in either case.
    assert!([0, 44].contains(&next.code), "{}", next.stderr);
    in_order(&world);
}

#[test]
fn under_the_daemon() {
    // So many that some are left when the first daemon has finished the cards under way.
    let world = world(60);
    let shown =
        || -> Value { serde_json::from_str(&ok(&world, "job show J1 --json --socket d.sock")).unwrap() };
    set(&world, 24 * HOUR);
    let first = Daemon::start(&world, "40", "1");
    ok(&world, "job submit job.cwf1 --socket d.sock");
    ok(&world, "job release J1 --socket d.sock");
    let good = || usize::try_from(number(&shown()["balance"], "good")).unwrap();
    jumping(&world, &[-24 * HOUR, 72 * HOUR, -72 * HOUR], good, || {
        let end = Instant::now() + Duration::from_secs(60);
        while good() < 20 {
            assert!(Instant::now() < end, "{}", shown());
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    first.drains();
    let mut runs = vec![Witness::keep(&world, 0)];
    set(&world, -240 * HOUR);
    let second = Daemon::start(&world, "40", "2");
    assert_eq!(shown()["state"], "HELD");
    ok(&world, "job release J1 --socket d.sock");
    ok(&world, "job submit next.cwf1 --socket d.sock");
    let end = Instant::now() + Duration::from_secs(60);
    while shown()["phase"] != "COMPLETE" {
        assert!(Instant::now() < end, "{}", shown());
        std::thread::sleep(Duration::from_millis(20));
    }
    ok(&world, "job close J1 --socket d.sock");
    second.drains();
    runs.push(Witness::keep(&world, 1));
    accounted(&world, &runs, 60);
    in_order(&world);
}

/// A line that keeps data for some days.
fn keeps(world: &World, days: u32) {
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/profiles/lines/sim-8.toml");
    let line = std::fs::read_to_string(shipped).unwrap();
    std::fs::write(world.path("line.toml"), format!("retention_days = {days}\n{line}")).unwrap();
}

fn deleted(world: &World, job: &str) -> bool {
    let shown: Value =
        serde_json::from_str(&ok(world, &format!("job show {job} --json --socket d.sock"))).unwrap();
    shown["deleted"] == true
}

#[test]
fn nothing_is_deleted_after_a_time_that_only_the_clock_knows_of() {
    let world = world(4);
    keeps(&world, 5);
    let line = ["--line", "line.toml", "--keys", "bureau.store", "--simulate", "--speed", "0"];
    let made = world.cardwright(&[&["run", "job.cwf1"][..], &line].concat());
    super::ended(&made, 0, &[]);

    // 800 days ahead, as after a dead battery: neither this daemon nor the next deletes anything.
    set(&world, 800 * DAY);
    for event in ["job submit next.cwf1", "card cancel J2 1"] {
        let daemon = Daemon::start_on(&world, "line.toml", "0", "1");
        daemon.says("due by the system's clock alone");
        assert!(!deleted(&world, "J1"));
        // The wrong time comes into the ledger, and proves nothing.
        ok(&world, &format!("{event} --socket d.sock"));
        daemon.drains();
    }
    let keys = world.spool_keys();
    assert_eq!(keys.lines().filter(|line| line.starts_with("key ")).count(), 2);

    // Set right, the clock's time counts again, from event to event: the first two days are not proved.
    for (day, record, due) in [(2, 2, false), (5, 3, false), (7, 4, true)] {
        set(&world, day * DAY);
        let daemon = Daemon::start_on(&world, "line.toml", "0", "3");
        ok(&world, &format!("card cancel J2 {record} --socket d.sock"));
        if due {
            let end = Instant::now() + Duration::from_secs(20);
            while !deleted(&world, "J1") {
                assert!(Instant::now() < end);
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        assert_eq!(deleted(&world, "J1"), due);
        daemon.drains();
    }
    let events = in_order(&world);
    let years: Vec<_> = events.iter().map(|event| word(event, "ts")[..4].to_owned()).collect();
    assert!(years.iter().max() > years.last(), "the ledger's time stays ahead: {years:?}");
}

#[test]
fn a_person_deletes_after_a_line_stood_still() {
    let world = world(4);
    keeps(&world, 5);
    let line = ["--line", "line.toml", "--keys", "bureau.store", "--simulate", "--speed", "0"];
    super::ended(&world.cardwright(&[&["run", "job.cwf1"][..], &line].concat()), 0, &[]);
    set(&world, 30 * DAY);
    let daemon = Daemon::start_on(&world, "line.toml", "0", "1");
    daemon.says("a supervisor has them deleted");
    assert!(!deleted(&world, "J1"));
    ok(&world, "job delete J1 --socket d.sock");
    assert!(deleted(&world, "J1"));
    daemon.drains();
}
