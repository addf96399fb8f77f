//! Real faults under the ledger: disks that are full, failing or read-only; files that were moved, linked or
//! cut; a clock that jumps. In every case the line stops before the next card is bound, the message names the
//! next step, and afterwards nothing is lost and nothing exists twice.

mod arrival;
mod clock;
mod failing;
mod folding;
mod full;
mod ledgers;
mod mounts;
mod outputs;
mod signing;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use serde_json::Value;

use crate::books::{Witness, cards, job, number, word};
use crate::support::{Ended, World};

/// Exit code: the ledger cannot be opened or written.
pub const LEDGER: i32 = 40;
/// Exit code: a file of the program cannot be read or written.
pub const IO: i32 = 50;

/// Fails unless the program ended with this code and printed these words.
#[track_caller]
pub fn ended(ended: &Ended, code: i32, words: &[&str]) {
    assert_eq!(ended.code, code, "{}{}", ended.stdout, ended.stderr);
    for word in words {
        assert!(ended.stderr.contains(word), "no {word:?} in {}", ended.stderr);
    }
}

/// A sqlite3 that keeps a ledger open, as a person may do.
pub struct Shell(Child);

impl Shell {
    /// Sends these words to it, and waits until the last of them has been answered with this line.
    #[track_caller]
    pub fn open(world: &World, ledger: &str, words: &str, answer: &str) -> Self {
        let mut child = world
            .command(Path::new("sqlite3"))
            .arg(world.path(ledger))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sqlite3: run `make setup`");
        child.stdin.as_mut().unwrap().write_all(words.as_bytes()).unwrap();
        let mut said = BufReader::new(child.stdout.as_mut().unwrap()).lines().map(Result::unwrap);
        assert!(said.any(|line| line == answer), "it has not answered");
        Self(child)
    }

    pub fn end(mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

#[track_caller]
pub fn ok(world: &World, words: &str) -> String {
    let words: Vec<_> = words.split(' ').collect();
    let ended = world.cardwright(&words);
    assert_eq!(ended.code, 0, "{words:?}: {}{}", ended.stdout, ended.stderr);
    ended.stdout
}

/// A daemon at `d.sock` in which the user of the tests may do everything.
pub struct Daemon<'a> {
    world: &'a World,
    child: Child,
}

impl<'a> Daemon<'a> {
    pub fn start(world: &'a World, speed: &str, seed: &str) -> Self {
        Self::start_on(world, "sim-8", speed, seed)
    }

    pub fn start_on(world: &'a World, line: &str, speed: &str, seed: &str) -> Self {
        Self::start_with(world, line, "bureau.store", speed, seed)
    }

    pub fn start_with(world: &'a World, line: &str, keys: &str, speed: &str, seed: &str) -> Self {
        let roles = "roles = [\"operator\", \"supervisor\"]";
        let people = format!("[[person]]\nname = \"anna\"\nuid = {}\n{roles}\n", geteuid());
        std::fs::write(world.path("people.toml"), people).unwrap();
        let mut child = world
            .command(Path::new(env!("CARGO_BIN_EXE_cardwrightd")))
            .args(["--line", line, "--keys", keys, "--people", "people.toml", "--socket", "d.sock"])
            .args(["--simulate", "--speed", speed, "--dump", "dumps", "--seed", seed])
            .stdout(Stdio::piped())
            .stderr(File::create(world.path("said")).unwrap())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "ready\n");
        Self { world, child }
    }

    /// The daemon's process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the daemon's log has these words.
    pub fn says(&self, words: &str) {
        let end = Instant::now() + Duration::from_secs(20);
        while !std::fs::read_to_string(self.world.path("said")).unwrap().contains(words) {
            assert!(Instant::now() < end, "the daemon does not say: {words}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the daemon ends by itself. Returns its exit code and its log.
    pub fn ends(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        (code, std::fs::read_to_string(self.world.path("said")).unwrap())
    }

    /// Sends SIGTERM; the daemon must end with code 0.
    pub fn drains(self) {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM).unwrap();
        let (code, said) = self.ends();
        assert_eq!(code, Some(0), "{said}");
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// For each attempt, by its blank: the record, and the state that the ledger gives.
fn bound(world: &World) -> BTreeMap<String, (u64, String)> {
    let mut bound = BTreeMap::new();
    for card in cards(world) {
        for attempt in card["attempts"].as_array().unwrap() {
            let what = (number(&card, "seq"), word(attempt, "state"));
            assert!(bound.insert(word(attempt, "blank"), what).is_none(), "one blank for two: {card}");
        }
    }
    bound
}

/// After a line that stopped: a person looks for the cards that the ledger is not sure of, reports them as
/// found or destroyed, and lets the destroyed ones be made again.
pub fn settled(world: &World, run: &Witness) {
    let before = bound(world);
    for dump in &run.dumps {
        let known = before.get(&word(dump, "blank"));
        assert!(dump["writes"] == 0 || known.is_some(), "written and never bound: {dump}");
        if let (Some((seq, state)), "stacked") = (known, word(dump, "fate").as_str())
            && state != "STACKED"
        {
            ok(world, &format!("card resolve J1 {seq} --good"));
        }
    }
    ok(world, "card resolve J1 all --destroyed");
    ok(world, "card remake J1 all");
}

/// Compares the ledger with the witnesses of all runs. The balances add up, each record has exactly one card
/// in the stacker, and the ledger knows every blank that was written. It may not know a blank that was fed
/// when the ledger failed, if it was thrown out untouched.
pub fn accounted(world: &World, runs: &[Witness], records: u64) -> Value {
    let job = job(world);
    let count = |name: &str| number(&job["balance"], name);
    let blanks = ["in_line", "good", "rejected", "unknown", "returned", "sample"];
    assert_eq!(
        count("blanks_fed"),
        blanks.iter().map(|b| count(&format!("blanks_{b}"))).sum::<u64>(),
        "{job}"
    );
    assert_eq!((count("records"), count("good")), (records, records), "{job}");
    assert_eq!((count("blanks_good"), count("blanks_in_line"), count("blanks_unknown")), (records, 0, 0));
    let bound = bound(world);
    let dumps: Vec<_> = runs.iter().flat_map(|run| &run.dumps).collect();
    let unheard = dumps.iter().filter(|d| d["writes"] == 0 && !bound.contains_key(&word(d, "blank"))).count();
    let fed = usize::try_from(count("blanks_fed")).unwrap();
    assert!(
        fed <= dumps.len() && dumps.len() - fed <= unheard,
        "{} dumps, {unheard} unheard of: {job}",
        dumps.len()
    );
    let mut stacked = BTreeMap::new();
    for dump in dumps.iter().filter(|d| d["fate"] == "stacked") {
        let (seq, state) = &bound[&word(dump, "blank")];
        assert!(["STACKED", "GOOD"].contains(&state.as_str()), "{dump}");
        assert!(stacked.insert(*seq, ()).is_none(), "record {seq} has two cards");
    }
    assert_eq!(stacked.len() as u64, records);
    ok(world, "audit verify --keys bureau.store");
    job
}
