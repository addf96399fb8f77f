//! The daemon is killed during work that people request while no card moves: deletion, papers, stock. It dies
//! before each write and sync of the ledger, before each message that it sends, and before each step with
//! another file; each such step is one round, and the steps are counted from the request on. After the kill a
//! new daemon gets the request again, and everything must be as if it had been requested once.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::books::{number, word};
use crate::daemon::{Daemon, audited, command_on, good, off, people};
use crate::support::{World, compile};

/// Records of the job.
const CARDS: u64 = 3;
const PAPERS: [&str; 3] = ["J1-report.json", "J1-report.html", "J1-return.jsonl"];
/// The kinds of step before which a daemon can die; see ../storm/preload.c.
pub const POINTS: [&str; 4] = ["other", "write", "sync", "send"];
/// More steps than any request takes.
const MOST: usize = 80;

/// A library that kills a daemon, from the moment when the file `armed` is there.
pub struct Blows(tempfile::TempDir);

impl Blows {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        compile("storm/preload.c", folder.path());
        Self(folder)
    }

    /// Loads the library into a daemon that is about to be started.
    pub fn arm(&self, world: &World, command: &mut Command, point: &str, n: usize) {
        let count = world.path("sent");
        fs::write(&count, [0; 4]).unwrap();
        let here = world.path("").canonicalize().unwrap();
        command.env("LD_PRELOAD", self.0.path().join("preload.so")).env("CRASH_IN", "cardwrightd");
        command.env("CRASH_AT", format!("{point}:{n}")).env("CRASH_LEDGER", here.join("cardwright.db"));
        command.env("CRASH_COUNT", count).env("CRASH_FROM", world.path("armed"));
    }
}

/// Sends a request to an armed daemon. Returns whether the daemon died before it answered.
pub fn dies_of(daemon: &mut Daemon<'_>, world: &World, words: &str) -> bool {
    fs::write(world.path("armed"), "").unwrap();
    let asked = daemon.asks(words);
    fs::remove_file(world.path("armed")).unwrap();
    if asked.code == 0 {
        return false;
    }
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        match daemon.child.try_wait().unwrap() {
            Some(status) => {
                assert_eq!(status.signal(), Some(Signal::SIGKILL as i32), "{words}: {status}");
                return true;
            }
            None => assert!(Instant::now() < end, "{words}: {}{}", asked.stdout, asked.stderr),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A bureau that is put back to its first state before each kill.
struct Bureau {
    world: World,
    before: tempfile::TempDir,
    blows: Blows,
}

impl Bureau {
    /// A bureau with a job in the state in which `prepare` leaves it.
    fn new(prepare: impl FnOnce(&Daemon<'_>)) -> Self {
        let world = World::new();
        people(&world, "\"operator\", \"supervisor\"");
        world.prepared("a", CARDS as u32, 70);
        fs::create_dir(world.path("tmp")).unwrap();
        let daemon = start(&world, &mut |_| ());
        daemon.ok("job submit a.cwf1");
        prepare(&daemon);
        daemon.signal(Signal::SIGTERM);
        assert_eq!(daemon.ends(), Some(0));
        settled(&world);
        let before = tempfile::tempdir().unwrap();
        copy_all(&world.path(""), before.path());
        Self { world, before, blows: Blows::new() }
    }

    /// Puts all files back.
    fn put_back(&self) {
        let here = self.world.path("");
        for entry in fs::read_dir(&here).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
        }
        copy_all(self.before.path(), &here);
    }

    /// Kills the daemon at each step of a request, and checks the state after the next daemon's start with
    /// `look`. Returns how often the daemon died.
    fn struck(&self, words: &str, points: &[&str], look: impl Fn(&Daemon<'_>, &str)) -> usize {
        let mut deaths = 0;
        for point in points {
            for n in 1.. {
                assert!(n < MOST, "{words}: {point} has no end");
                self.put_back();
                let arm = &mut |command: &mut Command| self.blows.arm(&self.world, command, point, n);
                let mut daemon = start(&self.world, arm);
                let died = dies_of(&mut daemon, &self.world, words);
                drop(daemon);
                settled(&self.world);
                if !died {
                    break;
                }
                deaths += 1;
                let daemon = start(&self.world, &mut |_| ());
                look(&daemon, &format!("{words}, killed at {point}:{n}"));
                daemon.signal(Signal::SIGTERM);
                assert_eq!(daemon.ends(), Some(0), "{words}, killed at {point}:{n}");
                audited(&self.world);
            }
        }
        deaths
    }
}

fn start<'a>(world: &'a World, change: &mut dyn FnMut(&mut Command)) -> Daemon<'a> {
    start_on(world, "sim-chip-8", change)
}

fn start_on<'a>(world: &'a World, line: &str, change: &mut dyn FnMut(&mut Command)) -> Daemon<'a> {
    let mut command = command_on(world, line, "0", "1");
    command.env("TMPDIR", world.path("tmp"));
    change(&mut command);
    Daemon::started(world, &mut command)
}

/// Waits until every process that a daemon started has ended.
fn settled(world: &World) {
    let here = world.path("tmp").display().to_string();
    let end = Instant::now() + Duration::from_secs(20);
    let lives = || {
        fs::read_dir("/proc").unwrap().flatten().any(|entry| {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(&here)
        })
    };
    while lives() {
        assert!(Instant::now() < end, "a process of the dead daemon goes on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn copy_all(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&to).unwrap();
            fs::set_permissions(&to, entry.metadata().unwrap().permissions()).unwrap();
            copy_all(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).unwrap_or_else(|e| panic!("{}: {e}", to.display()));
        }
    }
}

fn closed(daemon: &Daemon<'_>) {
    daemon.ok("job release J1");
    daemon.closed("J1");
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return vec![] };
    entries
        .flat_map(|e| {
            let path = e.unwrap().path();
            if path.is_dir() { files(&path) } else { vec![path] }
        })
        .collect()
}

fn events(daemon: &Daemon<'_>, to: &str) -> Vec<Value> {
    let events: Vec<Value> = serde_json::from_str(&daemon.ok("log --json")).unwrap();
    events.into_iter().filter(|e| e["to"] == to).collect()
}

#[track_caller]
fn genuine(world: &World, paper: &str, at: &str) {
    let ended = world.cardwright(&["audit", "document", paper]);
    assert_eq!(ended.code, 0, "{at}: {paper}: {}", ended.stderr);
}

/// Fails unless the job is made and closed with the counts that it had before.
#[track_caller]
fn is_made(daemon: &Daemon<'_>, at: &str) {
    let job = daemon.job("J1");
    assert_eq!(
        (word(&job, "state").as_str(), good(&job), off(&job)),
        ("CLOSED", CARDS, (0, 0)),
        "{at}: {job}"
    );
    assert_eq!(number(&job["balance"], "records"), CARDS, "{at}: {job}");
}

/// Fails unless no cardholder data are left and the papers say so.
#[track_caller]
fn is_deleted(daemon: &Daemon<'_>, world: &World, at: &str) {
    is_made(daemon, at);
    assert_eq!(daemon.job("J1")["deleted"], true, "{at}");
    assert_eq!(events(daemon, "DELETED").len(), 1, "{at}");
    assert_eq!(files(&world.path("cardwright.db.spool")), Vec::<PathBuf>::new(), "{at}");
    let keys = world.spool_keys();
    assert!(!keys.lines().any(|line| line.starts_with("key ")), "{at}");
    let papers = world.path("cardwright.db.papers");
    for name in PAPERS.into_iter().chain(["J1-certificate.json"]) {
        genuine(world, &format!("cardwright.db.papers/{name}"), at);
    }
    let kept = files(&papers).len();
    assert_eq!(kept, 8, "{at}: {:?}", files(&papers));
}

#[test]
fn a_deletion_that_is_struck_at_any_step_comes_to_its_end() {
    let bureau = Bureau::new(closed);
    let world = &bureau.world;
    let deaths = bureau.struck("job delete J1", &POINTS, |daemon, at| {
        is_made(daemon, at);
        let told = daemon.job("J1")["deleted"] == true;
        assert_eq!(events(daemon, "DELETED").len(), usize::from(told), "{at}");
        assert!(daemon.ok("job delete J1").contains(if told { "before" } else { "are deleted" }), "{at}");
        is_deleted(daemon, world, at);
        daemon.ok("job papers J1 --out again");
    });
    // Each of four papers has four steps, and the spool two; the ledger has more.
    assert!(deaths > 24, "{deaths}");
}

#[test]
fn papers_that_are_struck_at_any_step_are_written_again() {
    let bureau = Bureau::new(closed);
    let world = &bureau.world;
    let deaths = bureau.struck("job papers J1 --out papers", &["other", "send"], |daemon, at| {
        is_made(daemon, at);
        // Each paper is there whole, or not at all.
        for name in PAPERS.iter().filter(|name| world.path(&format!("papers/{name}")).exists()) {
            genuine(world, &format!("papers/{name}"), at);
        }
        daemon.ok("job papers J1 --out again");
        PAPERS.iter().for_each(|name| genuine(world, &format!("again/{name}"), at));
    });
    // The command makes and names the files; the daemon writes them.
    assert!(deaths > 10, "{deaths}");
}

#[test]
fn stock_that_is_struck_at_any_step_is_counted_once_or_not() {
    let bureau = Bureau::new(|daemon| {
        daemon.ok("stock issue J1 20");
    });
    let points = ["write", "sync", "send"];
    let stock = |daemon: &Daemon<'_>| -> [u64; 3] {
        let shown: Value = serde_json::from_str(&daemon.ok("stock show --json --job J1")).unwrap();
        ["issued", "sample", "hopper"].map(|name| number(&shown["jobs"][0], name))
    };
    let mut deaths = 0;
    // The request, and its effect on 20 issued blanks, no samples, 20 in the hopper.
    for (words, after) in [("stock issue J1 5", [25, 0, 25]), ("stock test J1 3", [20, 3, 17])] {
        let seen = std::cell::RefCell::new(BTreeSet::new());
        deaths += bureau.struck(words, &points, |daemon, at| {
            let found = stock(daemon);
            assert!(found == [20, 0, 20] || found == after, "{at}: {found:?}");
            assert_eq!(off(&daemon.job("J1")), (0, 0), "{at}");
            seen.borrow_mut().insert(found);
            if found != after {
                daemon.ok(words);
            }
            assert_eq!(stock(daemon), after, "{at}");
        });
        // The daemon was killed both before the commit and after it.
        assert_eq!(seen.borrow().len(), 2, "{words}: {:?}", seen.borrow());
    }
    assert!(deaths > 8, "{deaths}");
}
