//! One file used more than once: run again, made in parts, and resumed after a stop in mid-card.

use std::collections::BTreeSet;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::books::{Witness, balanced, cards, job, none, number, stacked, word};
use crate::expected;
use crate::support::{World, lines};

#[test]
fn a_file_in_parts_and_again() {
    let world = World::new();
    let expected = expected::prepared(&world, "job", 12, 1);
    let ended = world.run("job.cwf1", "sim-chip-8", &["--limit", "5"]);
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    let mut runs = vec![Witness::keep(&world, 1)];
    let job = balanced(&world, &runs);
    let (good, queued) = (number(&job["balance"], "good"), number(&job["balance"], "queued"));
    assert_eq!((good, queued, word(&job, "state")), (5, 7, "OPEN".into()));
    assert_eq!(runs[0].dumps.len(), 5, "a blank was fed beyond the limit");
    let states: Vec<_> = cards(&world).iter().map(|c| word(c, "state")).collect();
    assert_eq!(states, [["GOOD"; 5].as_slice(), &["QUEUED"; 7]].concat());

    // While the job is open, the file is refused and the message names the next command. No blank is touched.
    for file in ["job.cwf1", "copy.cwf1"] {
        if file == "copy.cwf1" {
            std::fs::copy(world.path("job.cwf1"), world.path(file)).unwrap();
        }
        let refused = world.run(file, "sim-chip-8", &[]);
        assert_eq!(refused.code, 41, "{}", refused.stderr);
        assert!(refused.stderr.contains("cardwright job resume J1 --line sim-chip-8"), "{}", refused.stderr);
    }
    assert!(!world.path("dumps").exists());
    assert_eq!(balanced(&world, &runs), job);
    let refused = world.cardwright(&["job", "close", "J1"]);
    assert_eq!(refused.code, 42, "{}", refused.stderr);

    let ended = world.resume("sim-chip-8", &["--limit", "1"]);
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    runs.push(Witness::keep(&world, 2));
    let ended = world.resume("sim-chip-8", &[]);
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    runs.push(Witness::keep(&world, 3));
    let job = balanced(&world, &runs);
    assert_eq!((word(&job, "state"), number(&job["balance"], "good")), ("CLOSED".into(), 12));
    assert_eq!(runs.iter().map(|r| r.dumps.len()).collect::<Vec<_>>(), [5, 1, 6]);
    assert_eq!(expected.len(), 12);
    let positions: Vec<_> = cards(&world).iter().map(|c| number(&c["attempts"][0], "position")).collect();
    assert_eq!(positions, (1..=12).collect::<Vec<_>>());

    // After the job is closed, the file cannot be used again.
    let refused = world.run("job.cwf1", "sim-chip-8", &[]);
    assert_eq!(refused.code, 14, "{}", refused.stderr);
    let refused = world.resume("sim-chip-8", &[]);
    assert_eq!(refused.code, 42, "{}", refused.stderr);
    assert!(!world.path("dumps").exists());
    assert_eq!(balanced(&world, &runs), job);
}

/// The second run's hopper holds the blanks of the first run again, fresh, so their serial numbers are those
/// of cards that were made. Each such blank is thrown out unbound, its record goes to another blank, and its
/// station waits for a person.
#[test]
fn a_chip_that_comes_back_is_thrown_out_unbound() {
    const BACK: usize = 3;
    let world = World::new();
    world.prepared("job", 12, 1);
    let pile = ["--seed", "5"];
    let ended = world.run("job.cwf1", "sim-chip-8", &[&pile[..], &["--limit", &BACK.to_string()]].concat());
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    let mut runs = vec![Witness::keep(&world, 1)];
    let first: BTreeSet<_> = runs[0].dumps.iter().map(|d| word(d, "keydata")).collect();
    assert_eq!((runs[0].fate("stacked").count(), first.len()), (BACK, BACK));

    let ended = world.resume("sim-chip-8", &pile);
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    let events = world.events();
    runs.push(Witness::keep(&world, 2));
    let rejected: Vec<_> = events.iter().filter(|e| e["to"] == "REJECTED").collect();
    assert_eq!(rejected.len(), BACK, "{rejected:?}");
    for event in &rejected {
        assert!(event["seq"].is_null(), "it was bound: {event}");
        assert_eq!(event["reason"], "chip-seen", "{event}");
    }
    let stuck: BTreeSet<_> = rejected.iter().map(|e| word(e, "station")).collect();
    assert_eq!(stuck.len(), BACK, "a station went on: {rejected:?}");
    let back: BTreeSet<_> = runs[1].fate("rejected").map(|d| word(d, "keydata")).collect();
    assert_eq!(back, first);
    // The ledger identifies them by their chips.
    let named: BTreeSet<_> = rejected.iter().map(|e| word(e, "blank")).collect();
    assert_eq!(named, runs[1].fate("rejected").map(|d| word(d, "blank")).collect());
    assert!(
        runs[1].fate("rejected").all(|d| d["writes"] == 0),
        "something was written on a chip that came back"
    );
    let good: BTreeSet<_> = runs.iter().flat_map(|r| r.fate("stacked")).map(|d| word(d, "keydata")).collect();
    assert_eq!(good.len(), 12, "two cards on one chip");
    let job = balanced(&world, &runs);
    assert_eq!((word(&job, "state"), number(&job["balance"], "good")), ("CLOSED".into(), 12));
}

#[test]
fn stopped_by_signals_no_card_is_half_done_and_none_is_made_twice() {
    const CARDS: u32 = 100;
    let world = World::new();
    let expected = expected::prepared(&world, "job", CARDS, 6);
    let mut runs = Vec::new();
    let mut made = Vec::new();
    let run = ["run", "job.cwf1"];
    let resume = ["job", "resume", "J1"];
    for (verb, signal) in [(&run[..], Signal::SIGINT), (&resume, Signal::SIGTERM), (&resume, Signal::SIGINT)]
    {
        let (code, said) = stopped(&world, verb, ["sim-8", "20"], &[signal]);
        assert_eq!(code, Some(5), "{said}");
        let witness = Witness::keep(&world, runs.len() + 1);
        witness.holds(&world);
        assert!(
            witness.dumps.iter().all(|d| d["fate"] == "stacked"),
            "no fault, and every blank fed was bound"
        );
        made.extend(stacked(&world.events(), &witness));
        runs.push(witness);
        let job = balanced(&world, &runs);
        let count = |name: &str| number(&job["balance"], name);
        assert_eq!((word(&job, "state"), count("in_flight"), count("unknown")), ("HELD".into(), 0, 0));
        assert!(count("queued") > 0, "stopped too late to prove anything");
    }
    let ended = world.resume("sim-8", &[]);
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    let witness = Witness::keep(&world, runs.len() + 1);
    made.extend(stacked(&world.events(), &witness));
    runs.push(witness);
    let job = balanced(&world, &runs);
    assert_eq!((word(&job, "state"), number(&job["balance"], "good")), ("CLOSED".into(), u64::from(CARDS)));
    none(&expected.differences(&made, 1));
    assert_eq!((made.len(), expected.len()), (CARDS as usize, CARDS as usize));
    for (card, n) in cards(&world).iter().zip(1..) {
        let [attempt] = card["attempts"].as_array().unwrap().as_slice() else { panic!("not once: {card}") };
        assert_eq!((number(card, "seq"), number(attempt, "position")), (n, n));
    }
}

/// Every chip station is in the middle of a card when the operator presses Ctrl-C.
#[test]
fn a_stop_lets_the_chips_under_way_finish() {
    let world = World::new();
    expected::prepared(&world, "job", 200, 6);
    let (code, said) = stopped(&world, &["run", "job.cwf1"], ["sim-chip-8", "5"], &[Signal::SIGINT]);
    assert_eq!(code, Some(5), "{said}");
    let runs = [Witness::keep(&world, 1)];
    let job = balanced(&world, &runs);
    assert_eq!((word(&job, "state"), runs[0].fate("rejected").count()), ("HELD".into(), 0));
    let good = number(&job["balance"], "good");
    assert!((4..150).contains(&good), "{good}");
}

/// For a line that does not end in time, and for an operator in a hurry: a second signal ends the run at
/// once, as it ends the daemon.
#[test]
fn a_second_signal_ends_a_run_at_once_and_the_cards_under_way_are_unknown() {
    let world = World::new();
    expected::prepared(&world, "job", 60, 7);
    let begun = Instant::now();
    let both = [Signal::SIGINT, Signal::SIGTERM];
    let (code, said) = stopped(&world, &["run", "job.cwf1"], ["sim-8", "1"], &both);
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("UNKNOWN at the next start"), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(60));
    let ended = world.resume("sim-8", &["--limit", "1"]);
    let count = |name: &str| number(&job(&world)["balance"], name);
    assert_eq!(count("in_flight"), 0, "{}", ended.stderr);
    assert!(count("unknown") > 0, "nothing was under way: {}", ended.stderr);
}

/// Starts `cardwright VERB` on a line at a speed. When four cards are stacked, sends it the signals, one
/// shortly after the other; SIGINT goes to its whole process group, as with a terminal's Ctrl-C. Returns the
/// exit code and the output.
fn stopped(
    world: &World,
    verb: &[&str],
    [line, speed]: [&str; 2],
    signals: &[Signal],
) -> (Option<i32>, String) {
    let events = world.path("events.jsonl");
    // The events of an earlier run must not be counted for this one.
    drop(std::fs::remove_file(&events));
    let line = ["--line", line, "--keys", "bureau.store", "--events", "events.jsonl"];
    let simulated = ["--simulate", "--speed", speed, "--dump", "dumps"];
    let mut child = Command::new(env!("CARGO_BIN_EXE_cardwright"))
        .args([verb, &line, &simulated].concat())
        .current_dir(world.path(""))
        .env("TMPDIR", world.path(""))
        .env_remove("CARDWRIGHT_LEDGER")
        .env_remove("CARDWRIGHT_PROFILES")
        .process_group(0)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    // The last line may be half written when it is read.
    let stacked = || std::fs::read_to_string(&events).unwrap_or_default().matches("\"STACKED\"").count();
    while stacked() < 4 && Instant::now() < deadline && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    for (nth, &signal) in signals.iter().enumerate() {
        if nth > 0 {
            std::thread::sleep(Duration::from_millis(200));
        }
        if signal == Signal::SIGINT {
            killpg(pid, signal).unwrap();
        } else {
            kill(pid, signal).unwrap();
        }
    }
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(lines(&events).iter().any(|e| e["to"] == "STACKED"), "nothing was made: {said}");
    (child.wait().unwrap().code(), said)
}

/// The HSM remembers which files were accepted and how far each ledger had come. So neither a new ledger nor
/// an old copy takes a file twice.
#[test]
fn the_same_file_is_refused_by_a_fresh_ledger_and_a_ledger_from_a_backup_does_not_open() {
    let world = World::new();
    for (name, seed) in [("a", 1), ("b", 2)] {
        world.prepared(name, 6, seed);
    }
    assert_eq!(world.run("a.cwf1", "sim-8", &[]).code, 0);
    std::fs::copy(world.path("a.cwf1"), world.path("renamed.cwf1")).unwrap();
    for (file, ledger) in [("a.cwf1", "fresh.db"), ("renamed.cwf1", "fresh.db"), ("a.cwf1", "fresher.db")] {
        let ended = world.run(file, "sim-8", &["--ledger", ledger]);
        assert_eq!(ended.code, 14, "{}", ended.stderr);
        assert!(ended.stderr.contains("another ledger"), "{}", ended.stderr);
    }
    std::fs::copy(world.path("cardwright.db"), world.path("backup.db")).unwrap();
    let resumed = world.run("b.cwf1", "sim-8", &["--seed", "2"]);
    // Its card_refs were in the first file, so the job is HELD until a supervisor releases it.
    assert_eq!(resumed.code, 44, "{}", resumed.stderr);
    let line = ["--line", "sim-8", "--keys", "bureau.store", "--simulate", "--speed", "0", "--seed", "2"];
    assert_eq!(world.cardwright(&[&["job", "resume", "J2"][..], &line].concat()).code, 0);
    for file in ["cardwright.db-wal", "cardwright.db-shm"] {
        let _ = std::fs::remove_file(world.path(file));
    }
    std::fs::rename(world.path("backup.db"), world.path("cardwright.db")).unwrap();
    let ended = world.run("b.cwf1", "sim-8", &[]);
    assert_eq!(ended.code, 40, "{}", ended.stderr);
    assert!(ended.stderr.contains("put back from a backup"), "{}", ended.stderr);
    let audit = world.cardwright(&["audit", "verify", "--keys", "bureau.store"]);
    assert!(audit.code == 45 && audit.stdout.contains("backup"), "{}", audit.stdout);
}

#[test]
fn to_resume_a_job_without_a_record_to_make_has_its_own_exit_code() {
    let world = World::new();
    world.prepared("job", 3, 1);
    std::fs::write(world.path("faults.toml"), "[[fault]]\nkind = \"stripe-misread\"\nblanks = [2]\n")
        .unwrap();
    assert_eq!(world.run("job.cwf1", "sim-8", &["--faults", "faults.toml", "--seed", "1"]).code, 4);
    std::fs::rename(world.path("dumps"), world.path("dumps-1")).unwrap();
    let ended = world.resume("sim-8", &[]);
    assert_eq!(ended.code, 49, "{}{}", ended.stdout, ended.stderr);
    assert!(!world.path("dumps").exists() || world.dumps().is_empty(), "a blank was fed");
}
