//! Machines that want something of a person, for ten minutes of their time: they are waited for, no card is
//! thrown out, and the job ends GOOD. A line that is told to end waits for nothing longer than it may.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::books::{Witness, balanced, none, number, stacked, word};
use crate::daemon::{Daemon, command_on, good, people};
use crate::expected;
use crate::support::{Ended, World};

const CARDS: u32 = 30;
/// Ten minutes of the machines are this long.
const SPEED: &str = "200";
const TEN_MINUTES: Duration = Duration::from_secs(3);
/// Exit codes.
const NOT_ALL_GOOD: i32 = 4;
const STOPPED: i32 = 5;
const DEVICE: i32 = 31;
/// A module without a station is given up long before a person has helped, unless its machine says what it wants.
const LIMITS: &str = "[limits]\nrecover = 0.5\nstop = 1\n\n[sim]\n";

fn world(faults: &str) -> World {
    let world = World::new();
    let line = include_str!("../../profiles/lines/sim-8.toml").replace("[sim]\n", LIMITS);
    std::fs::write(world.path("line.toml"), line).unwrap();
    std::fs::write(world.path("faults.toml"), faults).unwrap();
    world
}

fn made(world: &World, verb: &[&str], more: &[&str], seed: &str) -> Ended {
    let _ = std::fs::remove_file(world.path("events.jsonl"));
    let common =
        ["--line", "line.toml", "--keys", "bureau.store", "--simulate", "--speed", SPEED, "--dump", "dumps"];
    let files = ["--events", "events.jsonl", "--seed", seed];
    world.cardwright(&[verb, &common, &files, more].concat())
}

/// The events in which machines say what they want, each with its station and state.
fn supplies(world: &World) -> Vec<(String, String)> {
    let of = |event: &Value| {
        let detail = word(event, "detail");
        let told = detail.rsplit("; ").next().unwrap();
        let (whose, state) = told.split_once(": ").unwrap();
        (whose.to_owned(), state.rsplit(' ').next().unwrap().to_owned())
    };
    world.events().iter().filter(|event| event["to"] == "SUPPLY").map(of).collect()
}

/// Runs a job with a fault at blank 9. Returns what was told of supplies.
fn run(fault: &str, rejected: &[&str], code: i32) -> Vec<(String, String)> {
    let world = world(&format!("[[fault]]\nblanks = [9]\n{fault}\n"));
    let expected = expected::prepared(&world, "job", CARDS, 60);
    let began = Instant::now();
    let ended = made(&world, &["run", "job.cwf1"], &["--faults", "faults.toml"], "7");
    let (events, witness) = (world.events(), Witness::keep(&world, 1));
    witness.holds(&world);
    assert_eq!(ended.code, code, "{fault}: {}", ended.stderr);
    assert!(began.elapsed() > TEN_MINUTES, "{fault}: nothing was waited for");
    none(&expected.differences(&stacked(&events, &witness), 5));
    let reasons: Vec<_> =
        events.iter().filter(|e| e["to"] == "REJECTED").map(|e| word(e, "reason")).collect();
    assert_eq!(reasons, rejected, "{fault}");
    let job = balanced(&world, &[witness]);
    let lost = u64::from(code == NOT_ALL_GOOD);
    assert_eq!(number(&job["balance"], "good") + lost, u64::from(CARDS), "{fault}: {job}");
    // People see it in the run, too.
    assert!(ended.stderr.contains("a person is needed"), "{}", ended.stderr);
    supplies(&world)
}

#[test]
fn a_machine_that_wants_supplies_keeps_its_cards_and_the_job_ends_good() {
    for (fault, whose) in [
        ("kind = \"ribbon-out\"\nseconds = 600", "printer-1"),
        ("kind = \"foil-out\"\nseconds = 600", "embosser-1"),
        ("kind = \"stacker-full\"\nseconds = 600", "output"),
        ("kind = \"cover-open\"\ndevice = \"printer\"\nseconds = 600", "printer-1"),
        ("kind = \"cover-open\"\ndevice = \"embosser\"\nseconds = 600", "embosser-1"),
        ("kind = \"cover-open\"\ndevice = \"transport\"\nseconds = 600", "stripe-1"),
    ] {
        let told = run(fault, &[], 0);
        // Once when it begins, and once when it ends.
        assert_eq!(told, [(whose.into(), "wanted".into()), (whose.into(), "given".into())], "{fault}");
    }
}

#[test]
fn a_full_reject_bin_is_waited_for_with_the_card_that_has_to_go() {
    let full = "[[fault]]\nblanks = [9]\nkind = \"bin-full\"\nseconds = 600\n";
    let told = run(&format!("kind = \"mute\"\n{full}"), &["mute"], 0);
    assert_eq!(told.len(), 2, "{told:?}");
    run(&format!("kind = \"status\"\nsw = \"6A80\"\n{full}"), &["sw-6A80"], NOT_ALL_GOOD);
    run(&format!("kind = \"stripe-misread\"\n{full}"), &["stripe-read-back"], NOT_ALL_GOOD);
}

#[test]
fn two_machines_out_at_once_are_both_waited_for() {
    let told = run(
        "kind = \"ribbon-out\"\nseconds = 600\n[[fault]]\nblanks = [5]\nkind = \"foil-out\"\nseconds = 600",
        &[],
        0,
    );
    assert_eq!(told.len(), 4, "{told:?}");
}

const HOPPER: &str = "[[fault]]\nblanks = [9]\nkind = \"hopper-empty\"\nseconds = 600\n";

fn daemon<'a>(world: &'a World, cards: u32) -> Daemon<'a> {
    people(world, "\"operator\", \"supervisor\"");
    world.prepared("a", cards, 61);
    let daemon =
        Daemon::started(world, command_on(world, "line.toml", SPEED, "7").args(["--faults", "faults.toml"]));
    daemon.ok("job submit a.cwf1");
    daemon.ok("job release J1");
    daemon
}

#[test]
fn a_daemon_waits_for_blanks_and_the_job_ends_good() {
    let world = world(HOPPER);
    let daemon = daemon(&world, CARDS);
    let began = Instant::now();
    let job = daemon.closed("J1");
    assert!(began.elapsed() > TEN_MINUTES);
    assert_eq!((good(&job), number(&job["balance"], "blanks_fed")), (u64::from(CARDS), u64::from(CARDS)));
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ends(), Some(0));
    let log = world.cardwright(&["log", "--json"]).stdout;
    assert_eq!(log.matches("hopper: supplies wanted").count(), 1, "{log}");
    assert_eq!(log.matches("hopper: supplies given").count(), 1, "{log}");
}

#[test]
fn a_run_that_nobody_attends_ends_with_an_empty_hopper_and_goes_on_later() {
    // For hours: on a slow machine ten minutes can be over before the run has ended.
    let world = world(&HOPPER.replace("600", "36000"));
    let expected = expected::prepared(&world, "job", CARDS, 62);
    let ended = made(&world, &["run", "job.cwf1"], &["--faults", "faults.toml"], "7");
    assert_eq!(ended.code, DEVICE, "{}", ended.stderr);
    assert!(ended.stderr.contains("the hopper is empty"), "{}", ended.stderr);
    let first = Witness::keep(&world, 1);
    assert_eq!((first.fate("rejected").count(), first.fate("stacked").count()), (0, 8));
    let ended = made(&world, &["job", "resume", "J1"], &[], "8");
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let second = Witness::keep(&world, 2);
    none(&expected.differences(&stacked(&world.events(), &second), 5));
    balanced(&world, &[first, second]);
}

/// The ribbon is out for hours.
const RIBBON: &str = "[[fault]]\nblanks = [9]\nkind = \"ribbon-out\"\nseconds = 36000\n";

fn count(job: &Value, name: &str) -> u64 {
    number(&job["balance"], name)
}

fn at_printer(daemon: &Daemon<'_>) -> u64 {
    daemon.until("J1", |job| job["wants"].as_array().is_some_and(|wants| !wants.is_empty()));
    let log = daemon.ok("log --json");
    assert!(log.contains("printer-1"), "{log}");
    let events: Vec<Value> = serde_json::from_str(&log).unwrap();
    let mut bound = events.iter().filter(|event| event["to"] == "BOUND");
    number(bound.find(|event| event["blank_number"] == 9).unwrap(), "seq")
}

#[test]
fn a_hold_waits_a_kill_ends_the_wait_of_its_card_and_a_signal_leaves_the_cards() {
    let world = world(RIBBON);
    // Two chip stations can call for blanks in one order and be given them in the other.
    let line = std::fs::read_to_string(world.path("line.toml")).unwrap();
    std::fs::write(world.path("line.toml"), line.replace("stations = 8", "stations = 1")).unwrap();
    let daemon = daemon(&world, 60);
    let seq = at_printer(&daemon);
    daemon.ok("job hold J1");
    std::thread::sleep(Duration::from_millis(1500));
    let job = daemon.job("J1");
    assert_eq!((word(&job, "phase"), count(&job, "remake")), ("STOPPING".into(), 0), "{job}");
    daemon.ok(&format!("card kill J1 {seq}"));
    let job = daemon.until("J1", |job| count(job, "remake") == 1);
    assert_eq!((word(&job, "phase"), count(&job, "blanks_rejected")), ("STOPPING".into(), 1), "{job}");
    let began = Instant::now();
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ends(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    let job: Value =
        serde_json::from_str(&world.cardwright(&["job", "show", "J1", "--json"]).stdout).unwrap();
    assert_eq!((word(&job, "state"), count(&job, "in_flight")), ("HELD".into(), 0), "{job}");
    assert!(count(&job, "unknown") > 1 && count(&job, "blanks_in_line") == 0, "{job}");
    assert_eq!(count(&job, "remake"), 1, "{job}");
    // A person who continues the job is warned of cards that may lie in the line, before it is cleared.
    let daemon = Daemon::started(&world, &mut command_on(&world, "line.toml", SPEED, "8"));
    let released = daemon.asks("job release J1");
    assert!(released.code == 0 && released.stderr.contains(BEFORE_RELEASE), "{}", released.stderr);
    daemon.signal(Signal::SIGTERM);
    daemon.ends();
}

/// Part of the warning that comes before a line is cleared of UNKNOWN cards.
const BEFORE_RELEASE: &str = ": one that lies in the line is thrown out as the line is cleared";

#[test]
fn a_run_that_waits_ends_soon_after_a_signal() {
    let world = world(RIBBON);
    world.prepared("job", 60, 63);
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_cardwright"))
        .args(["run", "job.cwf1", "--line", "line.toml", "--keys", "bureau.store", "--simulate"])
        .args(["--speed", SPEED, "--faults", "faults.toml", "--seed", "7", "--events", "events.jsonl"])
        .current_dir(world.path(""))
        .env("TMPDIR", world.path(""))
        .env_remove("CARDWRIGHT_LEDGER")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    while !std::fs::read_to_string(world.path("events.jsonl")).unwrap_or_default().contains("\"SUPPLY\"") {
        assert!(Instant::now() < end && child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(10));
    }
    let began = Instant::now();
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(STOPPED));
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    let job: Value =
        serde_json::from_str(&world.cardwright(&["job", "show", "J1", "--json"]).stdout).unwrap();
    assert_eq!((word(&job, "state"), count(&job, "in_flight")), ("HELD".into(), 0), "{job}");
    assert!(count(&job, "unknown") > 0 && count(&job, "blanks_in_line") == 0, "{job}");
    let resumed = made(&world, &["job", "resume", "J1"], &["--limit", "1"], "8");
    assert!(resumed.stderr.contains(BEFORE_RELEASE), "{}", resumed.stderr);
}

/// A jam that cannot be cleared needs a person, and the other stations go on. When the person says so, the station is
/// proved, and works again in the same run.
#[test]
fn a_station_that_a_person_says_is_ready_works_again_in_the_run() {
    let world = world("[[fault]]\nkind = \"mute\"\nblanks = [9, 17]\n");
    // One mute card makes its station one that needs a person.
    let line = std::fs::read_to_string(world.path("line.toml")).unwrap();
    let line = line.replace("[sim]\n", "[breakers]\nstation = 1\n\n[sim]\n");
    std::fs::write(world.path("line.toml"), line).unwrap();
    let daemon = daemon(&world, 600);
    let stuck = |daemon: &Daemon<'_>| {
        let log: Vec<Value> = serde_json::from_str(&daemon.ok("log --json")).unwrap();
        let mute = log.iter().find(|event| event["reason"] == "mute");
        mute.map(|event| word(event, "station"))
    };
    daemon.until("J1", |_| stuck(&daemon).is_some());
    let station = stuck(&daemon).unwrap();
    assert_eq!(daemon.ok(&format!("line ready {station}")), format!("{station}: it is in service again\n"));
    assert_eq!(daemon.ok(&format!("line ready {station}")), format!("{station}: it is in service\n"));
    let ended = daemon.asks("line ready chip-99");
    assert!(ended.code == 32 && ended.stderr.contains("no station \"chip-99\""), "{}", ended.stderr);
    daemon.closed("J1");
    let ended = daemon.asks(&format!("line ready {station}"));
    assert!(ended.code == 42 && ended.stderr.contains("no job is on the line"), "{}", ended.stderr);
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ends(), Some(0));
    // It has made cards after the mute one.
    let events: Vec<Value> = serde_json::from_str(&world.cardwright(&["log", "--json"]).stdout).unwrap();
    let after = events.iter().skip_while(|event| event["reason"] != "mute");
    assert!(after.filter(|e| e["to"] == "BOUND" && e["station"] == *station).count() > 0);
}
