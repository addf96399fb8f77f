//! A daemon on the simulated line sim-64, and the times of the cards that it makes.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use serde_json::Value;

use super::support::{CARDWRIGHT, World, seconds_between, seconds_of_day, steady_rate};

const DAEMON: &str = env!("CARGO_BIN_EXE_cardwrightd");

/// A daemon on a new ledger.
pub struct Daemon<'a> {
    world: &'a World,
    child: Child,
}

impl<'a> Daemon<'a> {
    pub fn start(world: &'a World, speed: u32, faults: &str) -> Self {
        world.new_bureau();
        let roles = "roles = [\"operator\", \"supervisor\"]";
        let people = format!("[[person]]\nname = \"anna\"\nuid = {}\n{roles}\n", geteuid());
        std::fs::write(world.path("people.toml"), people).unwrap();
        std::fs::write(world.path("faults.toml"), faults).unwrap();
        let speed = speed.to_string();
        let place = ["--line", "sim-64", "--keys", "bureau.store", "--people", "people.toml"];
        let simulation = ["--simulate", "--speed", &speed, "--faults", "faults.toml"];
        let files = ["--ledger", "run.db", "--socket", "d.sock"];
        let mut child = world
            .command(DAEMON, &[&place[..], &simulation, &files].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "ready\n");
        Self { world, child }
    }

    /// Asks the daemon for something that it must do.
    pub fn ask(&self, words: &[&str]) -> Vec<u8> {
        self.world.ran(CARDWRIGHT, &[words, &["--socket", "d.sock"]].concat()).stdout
    }

    /// Prepares a file with this many cards, submits it, and releases its job, which must get the number `job`.
    pub fn release(&self, job: &str, cards: u32) {
        self.world.prepared(job, cards);
        self.ask(&["job", "submit", &format!("{job}.cwf1")]);
        self.ask(&["job", "release", job]);
    }

    /// Whether cards of the job are left to be made.
    pub fn is_on_line(&self, job: &str) -> bool {
        let shown: Value = serde_json::from_slice(&self.ask(&["job", "show", job, "--json"])).unwrap();
        ["queued", "in_flight"].iter().any(|kind| shown["balance"][kind] != 0)
    }

    /// Waits until no card of the job is left to be made.
    pub fn made(&self, job: &str) {
        while self.is_on_line(job) {
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Number of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends the daemon. Returns the cards of each of these jobs.
    pub fn ended<const N: usize>(mut self, jobs: [&str; N]) -> [StackedCards; N] {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM).unwrap();
        self.child.wait().unwrap();
        let log = self.world.ran(CARDWRIGHT, &["log", "--json", "--ledger", "run.db"]).stdout;
        let events: Vec<Value> = serde_json::from_slice(&log).unwrap();
        for name in ["run.db", "run.db-wal", "run.db-shm"] {
            let _ = std::fs::remove_file(self.world.path(name));
        }
        std::fs::remove_dir_all(self.world.path("run.db.spool")).unwrap();
        jobs.map(|job| StackedCards::of(&events, job))
    }
}

/// The good cards of a job.
pub struct StackedCards {
    /// Second of the day at which its first blank was fed.
    begun: f64,
    /// Seconds from then on to each card.
    pub times: Vec<f64>,
}

impl StackedCards {
    fn of(events: &[Value], job: &str) -> Self {
        let times = |to: &'static str| {
            let of = events.iter().filter(move |event| event["job"] == job && event["to"] == to);
            of.map(|event| seconds_of_day(event["ts"].as_str().unwrap()))
        };
        let begun = times("FED").next().unwrap();
        Self { begun, times: times("STACKED").map(|time| seconds_between(begun, time)).collect() }
    }

    /// Cards per second between the tenth and the ninetieth percentile.
    pub fn steady(&self) -> f64 {
        steady_rate(&self.times)
    }

    /// Cards per second between two seconds of the day.
    pub fn rate_between(&self, from: f64, to: f64) -> f64 {
        let (from, to) = (seconds_between(self.begun, from), seconds_between(self.begun, to));
        let cards = self.times.iter().filter(|time| (from..to).contains(*time)).count();
        cards as f64 / (to - from)
    }
}
