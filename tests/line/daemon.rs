//! The daemon as operators meet it: jobs over its socket, permissions, restart, drain, and a kill in
//! mid-card.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use serde_json::Value;

use crate::books::{number, word};
use crate::support::{Ended, World, lines};

const DENIED: i32 = 42;
const NOT_ALLOWED: i32 = 47;
const KEYS: i32 = 22;
const LEDGER: i32 = 40;
const IO: i32 = 50;
const DAEMON: i32 = 46;

/// A running daemon.
pub struct Daemon<'a> {
    world: &'a World,
    pub child: Child,
}

pub fn people(world: &World, roles: &str) {
    let text = format!("[[person]]\nname = \"anna\"\nuid = {}\nroles = [{roles}]\n", geteuid());
    std::fs::write(world.path("people.toml"), text).unwrap();
}

pub fn command_on(world: &World, line: &str, speed: &str, seed: &str) -> Command {
    command_with(world, line, "bureau.store", speed, seed)
}

fn command_with(world: &World, line: &str, keys: &str, speed: &str, seed: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cardwrightd"));
    command
        .args(["--line", line, "--keys", keys, "--people", "people.toml"])
        .env("CARDWRIGHT_SOCKET", "d.sock")
        .env("TMPDIR", world.path(""))
        .args(["--simulate", "--speed", speed, "--dump", "dumps", "--seed", seed])
        .current_dir(world.path(""))
        .env_remove("CARDWRIGHT_LEDGER")
        .stdout(Stdio::piped());
    command
}

fn ended_in_time(child: &mut Child) -> Option<i32> {
    let end = Instant::now() + Duration::from_secs(60);
    while Instant::now() < end {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    None
}

/// The exit code and output of a daemon that must refuse to start.
pub fn refused(command: &mut Command) -> Ended {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let code = ended_in_time(&mut child);
    child.kill().unwrap();
    let ended = Ended::from(child.wait_with_output().unwrap());
    assert!(code.is_some(), "it started: {}{}", ended.stdout, ended.stderr);
    ended
}

impl<'a> Daemon<'a> {
    pub fn start(world: &'a World, speed: &str, seed: &str) -> Self {
        Self::start_on(world, "sim-8", speed, seed)
    }

    pub fn start_on(world: &'a World, line: &str, speed: &str, seed: &str) -> Self {
        Self::started(world, &mut command_on(world, line, speed, seed))
    }

    /// A daemon on another socket, to which `d.sock` leads.
    pub fn start_at(world: &'a World, line: &str, socket: &std::path::Path) -> Self {
        Self::started(world, command_on(world, line, "20", "1").arg("--socket").arg(socket))
    }

    pub fn started(world: &'a World, command: &mut Command) -> Self {
        Self::logged(world, command.stderr(Stdio::null()))
    }

    /// A daemon whose log goes where the command sends it.
    pub fn logged(world: &'a World, command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "ready\n");
        Self { world, child }
    }

    pub fn asks(&self, words: &str) -> Ended {
        let words: Vec<_> = words.split(' ').chain(["--socket", "d.sock"]).collect();
        self.world.cardwright(&words)
    }

    pub fn ok(&self, words: &str) -> String {
        let ended = self.asks(words);
        assert_eq!(ended.code, 0, "{words}: {}{}", ended.stdout, ended.stderr);
        ended.stdout
    }

    pub fn denied(&self, words: &str, why: &str) {
        let ended = self.asks(words);
        assert_eq!(ended.code, DENIED, "{words}: {}{}", ended.stdout, ended.stderr);
        assert!(ended.stderr.contains(why), "{words}: {}", ended.stderr);
    }

    pub fn not_allowed(&self, words: &str, why: &str) {
        let ended = self.asks(words);
        assert_eq!(ended.code, NOT_ALLOWED, "{words}: {}{}", ended.stdout, ended.stderr);
        assert!(ended.stderr.contains(why), "{words}: {}", ended.stderr);
    }

    pub fn job(&self, job: &str) -> Value {
        serde_json::from_str(&self.ok(&format!("job show {job} --json"))).unwrap()
    }

    pub fn until(&self, job: &str, what: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + Duration::from_secs(180);
        loop {
            let shown = self.job(job);
            if what(&shown) {
                return shown;
            }
            assert!(Instant::now() < end, "{shown}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until nothing prevents the closing of a job, and closes it.
    pub fn closed(&self, job: &str) -> Value {
        self.until(job, |shown| shown["phase"] == "COMPLETE");
        self.ok(&format!("job close {job}"));
        self.job(job)
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// The daemon's exit code; none if it does not end in time.
    pub fn ends(mut self) -> Option<i32> {
        ended_in_time(&mut self.child)
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn good(job: &Value) -> u64 {
    number(&job["balance"], "good")
}

/// The difference between the two sides of each balance; 0 means that it adds up.
pub fn off(job: &Value) -> (i64, i64) {
    let b = |name: &str| job["balance"][name].as_i64().unwrap();
    let sum = |names: &[&str]| names.iter().map(|n| b(n)).sum::<i64>();
    (
        b("records") - sum(&["queued", "in_flight", "good", "remake", "unknown", "cancelled"]),
        b("blanks_fed")
            - sum(&[
                "blanks_in_line",
                "blanks_good",
                "blanks_rejected",
                "blanks_unknown",
                "blanks_returned",
                "blanks_sample",
            ]),
    )
}

pub fn audited(world: &World) {
    let ended = world.cardwright(&["audit", "verify", "--keys", "bureau.store"]);
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
}

fn dumped(world: &World, fate: &str) -> usize {
    world.dumps().iter().filter(|d| d["fate"] == fate).count()
}

/// Waits until hwsim has ended, which happens when its daemon ends. Returns how many cards lay in the line.
pub fn left_in_line(world: &World) -> u64 {
    let end = Instant::now() + Duration::from_secs(10);
    let journal = || lines(&world.path("dumps/line.jsonl"));
    let in_line = || {
        let (fed, out): (Vec<_>, Vec<_>) = journal().into_iter().partition(|l| l["what"] == "fed");
        (fed.len() - out.len(), out.iter().filter(|l| l["fate"] == "left").count())
    };
    while in_line().0 > 0 {
        assert!(Instant::now() < end, "hwsim goes on");
        std::thread::sleep(Duration::from_millis(20));
    }
    in_line().1 as u64
}

/// Like `left_in_line`, but also puts the dumps aside.
fn left(world: &World) -> u64 {
    let lay = left_in_line(world);
    std::fs::rename(world.path("dumps"), world.path("dumps-1")).unwrap();
    lay
}

#[test]
fn jobs_wait_for_their_release_and_are_made_in_turn() {
    let world = World::new();
    people(&world, "\"operator\", \"supervisor\"");
    world.prepared("a", 20, 1);
    world.prepared("b", 12, 2);
    let daemon = Daemon::start(&world, "0", "1");
    assert!(daemon.ok("job submit a.cwf1").contains("J1 accepted"));
    daemon.ok("job submit b.cwf1");
    assert_eq!(
        (word(&daemon.job("J1"), "state"), word(&daemon.job("J2"), "state")),
        ("HELD".into(), "HELD".into())
    );
    let again = daemon.asks("job submit a.cwf1");
    assert_eq!(again.code, 41, "{}", again.stderr);
    daemon.ok("job release J2");
    daemon.ok("job release J1");
    for (job, records) in [("J1", 20), ("J2", 12)] {
        let closed = daemon.closed(job);
        assert_eq!((good(&closed), off(&closed)), (records, (0, 0)));
    }
    daemon.denied("job release J1", "closed");
    assert!(daemon.ok("job report J2").contains("12"));
    // The job that was released first was made first.
    let log = world.cardwright(&["log", "--json"]);
    assert_eq!(daemon.ok("log --json"), log.stdout);
    assert_eq!(daemon.ok("log --job J2"), world.cardwright(&["log", "--job", "J2"]).stdout);
    assert_eq!(daemon.asks("log --job J9").code, 43);
    daemon.ok("audit verify");
    let events: Vec<Value> = serde_json::from_str(&log.stdout).unwrap();
    let fed = events.iter().find(|e| e["to"] == "FED").unwrap();
    assert_eq!(fed["job"], "J2");
    assert!(events.iter().any(|e| e["job"] == "J1" && e["to"] == "OPEN" && e["actor"] == "anna"));
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ends(), Some(0));
    audited(&world);
    assert!(!world.path("d.sock").exists());
}

#[test]
fn hold_resume_and_cancel_in_mid_card() {
    let world = World::new();
    people(&world, "\"operator\", \"supervisor\"");
    world.prepared("a", 60, 3);
    let daemon = Daemon::start(&world, "20", "1");
    daemon.ok("job submit a.cwf1");
    daemon.ok("job release J1");
    assert!(daemon.ok("job release J1").contains("nothing to do"));
    daemon.until("J1", |shown| good(shown) > 3);
    daemon.denied("job close J1", "wait until it is done, or hold it; next: cardwright job hold J1");
    // A hold that still waits for cards under way can be taken back, and the line goes on.
    daemon.ok("job hold J1");
    let stopping = daemon.job("J1");
    assert!(stopping["phase"] == "STOPPING" || stopping["phase"] == "HELD", "{stopping}");
    let said = daemon.ok("job resume J1");
    assert!(said.contains("goes on") || said.contains("released"), "{said}");
    let before = good(&daemon.job("J1"));
    daemon.until("J1", |shown| good(shown) > before + 2);
    daemon.ok("job hold J1");
    let held = daemon.until("J1", |shown| shown["state"] == "HELD");
    // No card is half done.
    assert_eq!((number(&held["balance"], "in_flight"), number(&held["balance"], "unknown")), (0, 0));
    assert!(good(&held) < 60, "{held}");
    assert!(daemon.ok("job hold J1").contains("already"));
    daemon.ok("job resume J1");
    daemon.until("J1", |shown| good(shown) > good(&held));
    // When the answer arrives, the cancellation is done.
    daemon.ok("job cancel J1");
    let settled = daemon.job("J1");
    assert_eq!(number(&settled["balance"], "in_flight"), 0, "{settled}");
    assert_eq!(good(&settled) + number(&settled["balance"], "cancelled"), 60, "{settled}");
    daemon.ok("job close J1");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ends(), Some(0));
    assert_eq!(dumped(&world, "stacked") as u64, good(&settled));
    audited(&world);
}

#[test]
fn after_a_kill_everything_is_held_and_a_supervisor_releases() {
    let world = World::new();
    people(&world, "\"operator\", \"supervisor\"");
    world.prepared("a", 40, 4);
    let mut daemon = Daemon::start(&world, "20", "1");
    daemon.ok("job submit a.cwf1");
    daemon.ok("job release J1");
    daemon.until("J1", |shown| good(shown) > 3);
    daemon.child.kill().unwrap();
    daemon.child.wait().unwrap();
    let lay = left(&world);

    people(&world, "\"operator\"");
    let daemon = Daemon::start(&world, "0", "2");
    let held = daemon.job("J1");
    let unknown = number(&held["balance"], "unknown");
    assert_eq!((word(&held, "state").as_str(), off(&held)), ("HELD", (0, 0)));
    // A card may have been stacked without the ledger's knowledge: only the witness knows about it.
    let stacked = lines(&world.path("dumps-1/line.jsonl")).iter().filter(|l| l["fate"] == "stacked").count();
    let unheard = stacked as u64 - good(&held);
    assert!(
        unknown > 0 && unknown <= lay + unheard,
        "{unknown} UNKNOWN, {lay} in the line, {unheard} just stacked"
    );
    daemon.denied("job resume J1", "supervisor");
    daemon.not_allowed("job release J1", "supervisor");
    daemon.not_allowed("card resolve J1 1 --good", "refused: this takes a supervisor");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ends(), Some(0));

    people(&world, "\"supervisor\", \"operator\"");
    let daemon = Daemon::start(&world, "0", "2");
    daemon.ok("card resolve J1 all --destroyed");
    // No hint leads to `job resume`, which is denied.
    let next = "cardwright job release J1";
    let said = daemon.ok("card remake J1 all");
    assert!(said.contains(next) && !said.contains("job resume"), "{said}");
    assert!(!daemon.ok("job report J1").contains("job resume"));
    assert!(daemon.ok("job list").contains("held for: restart"));
    daemon.denied("job resume J1", "supervisor looks at it");
    daemon.denied("job resume J1", next);
    daemon.ok("job release J1");
    let closed = daemon.closed("J1");
    assert_eq!((good(&closed), off(&closed)), (40, (0, 0)));
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ends(), Some(0));
    audited(&world);
}

#[test]
fn cards_are_asked_while_the_line_rests() {
    let world = World::new();
    people(&world, "\"operator\", \"supervisor\"");
    world.prepared("a", 60, 7);
    world.prepared("b", 2, 8);
    let daemon = Daemon::start(&world, "20", "1");
    daemon.ok("job submit a.cwf1");
    daemon.ok("job submit b.cwf1");
    daemon.ok("job release J1");
    daemon.until("J1", |shown| good(shown) > 2);
    // This holds for every job, not only for the one on the line.
    daemon.denied("card ask J1 all", "the line is at work");
    daemon.denied("card ask J2 all", "the line is at work");
    daemon.ok("job hold J1");
    daemon.until("J1", |shown| shown["state"] == "HELD");
    // The job's thread leaves the line a moment after the ledger has it HELD.
    let end = Instant::now() + Duration::from_secs(10);
    let asked = loop {
        let asked = daemon.asks("card ask J1 1");
        if asked.code != DENIED || Instant::now() > end {
            break asked;
        }
    };
    assert_eq!(asked.code, 43, "{}{}", asked.stdout, asked.stderr);
    assert!(
        asked.stdout.contains("SIMULATED") && asked.stdout.contains("no card: chip-1, "),
        "{}",
        asked.stdout
    );
    assert!(asked.stdout.contains("was not found; look for it in printer-1"), "{}", asked.stdout);
    let encoder = "stripe-1: no card, or its stripe is not readable (";
    assert!(asked.stdout.contains(encoder), "{}", asked.stdout);
    assert_eq!(daemon.asks("card ask J1 1,2").code, 2);
    assert_eq!(daemon.asks("card ask J1 all --station chip-99").code, 2);
    daemon.denied("card ask J2 1", "no card was begun");
    // The line goes on after the questions.
    daemon.ok("job resume J1");
    let closed = daemon.closed("J1");
    assert_eq!((good(&closed), off(&closed)), (60, (0, 0)));
    daemon.denied("card ask J1 1", "closed");
    drop(daemon);
    people(&world, "\"auditor\"");
    let daemon = Daemon::start(&world, "0", "2");
    daemon.not_allowed("card ask J2 all", "operator");
}

#[test]
fn only_people_in_the_people_file_are_served() {
    let world = World::new();
    world.prepared("a", 5, 5);
    people(&world, "\"auditor\"");
    let daemon = Daemon::start(&world, "0", "1");
    daemon.not_allowed("job submit a.cwf1", "operator");
    assert_eq!(daemon.ok("job list"), "no job yet\n");
    // An auditor may have the daemon prove its own ledger with its own keys.
    let verdict: Value = serde_json::from_str(&daemon.ok("audit verify --json")).unwrap();
    assert_eq!((&verdict["hsm_asked"], &verdict["findings"]), (&true.into(), &Value::Array(vec![])));
    // A malformed request gets an answer that says so, if it is short enough to be read, and has no other
    // effect.
    for nonsense in
        [&b"\n"[..], b"{}\n", b"{\"v\":1,\"json\":false,\"ask\":{\"verb\":\"dance\"}}\n", &[0xFF; 70_000]]
    {
        use std::io::{Read, Write};
        let mut stream = std::os::unix::net::UnixStream::connect(world.path("d.sock")).unwrap();
        let _ = stream.write_all(nonsense);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.contains("\"exit\":46") || nonsense.len() > 65_536 && answer.is_empty(), "{answer:?}");
    }
    assert_eq!(daemon.ok("job list"), "no job yet\n");
    assert_eq!(world.cardwright(&["job", "list", "--socket", "none.sock"]).code, DAEMON);
    drop(daemon);
    let others = "[[person]]\nname = \"bo\"\nuid = 4294967294\nroles = [\"supervisor\"]\n";
    std::fs::write(world.path("people.toml"), others).unwrap();
    let daemon = Daemon::start(&world, "0", "1");
    daemon.not_allowed("job list", "people file");
}

#[test]
fn one_daemon_to_a_store_one_to_a_ledger_and_one_to_a_socket() {
    let world = World::new();
    people(&world, "\"operator\"");
    let daemon = Daemon::start(&world, "0", "1");
    // No other line may have the daemon's store open, so each second one has a copy.
    let mut copied = Command::new("cp");
    copied.args(["-a", "bureau.store", "copy.store"]).current_dir(world.path(""));
    assert!(copied.status().unwrap().success());
    let second = |keys: &str, ledger: &str| {
        refused(command_with(&world, "sim-8", keys, "0", "2").args(["--ledger", ledger]))
    };
    let names_it = |ended: &Ended| ended.stderr.contains(&format!("pid {}", daemon.child.id()));
    let same_store = second("bureau.store", "other.db");
    assert!(same_store.code == KEYS && names_it(&same_store), "{}: {}", same_store.code, same_store.stderr);
    let same_ledger = second("copy.store", "cardwright.db");
    assert!(
        same_ledger.code == LEDGER && names_it(&same_ledger),
        "{}: {}",
        same_ledger.code,
        same_ledger.stderr
    );
    let same_socket = second("copy.store", "other.db");
    assert_eq!(same_socket.code, IO, "{}", same_socket.stderr);
    assert_eq!(world.cardwright(&["card", "resolve", "J1", "1", "--good"]).code, 43);
    daemon.ok("job list");
}

#[test]
fn a_second_signal_ends_at_once_and_the_cards_are_unknown() {
    let world = World::new();
    people(&world, "\"operator\", \"supervisor\"");
    world.prepared("a", 40, 6);
    let daemon = Daemon::start(&world, "2", "1");
    daemon.ok("job submit a.cwf1");
    daemon.ok("job release J1");
    daemon.until("J1", |shown| number(&shown["balance"], "in_flight") > 3);
    daemon.signal(Signal::SIGTERM);
    std::thread::sleep(Duration::from_millis(100));
    daemon.not_allowed("job submit a.cwf1", "about to end");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ends(), Some(5));
    left(&world);
    let daemon = Daemon::start(&world, "0", "2");
    let held = daemon.job("J1");
    assert!(number(&held["balance"], "unknown") > 0 && off(&held) == (0, 0), "{held}");
}
