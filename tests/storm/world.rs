//! A bureau in a temporary directory, with a file of three cards and a line of two chip stations, simulated
//! or on real readers and ports. Also its programs and its daemon.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use serde_json::Value;

use crate::machines::Machines;

/// Records in the file.
pub const CARDS: u32 = 3;
/// Longer than any step takes here: a test that waits longer fails.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);

/// The files that are made once; every world begins as a copy of them.
pub struct Template {
    world: World,
    /// Holds the library for preloading, which the copies do not need.
    library: tempfile::TempDir,
}

impl Template {
    /// Makes keys, people, line and file, but no ledger.
    pub fn new() -> Self {
        let library = tempfile::tempdir().unwrap();
        let compiled = Command::new("cc")
            .args(["-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-O2", "-o"])
            .arg(library.path().join("preload.so"))
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/storm/preload.c"))
            .args(["-ldl", "-lpthread"])
            .status()
            .expect("a C compiler: run `make setup`");
        assert!(compiled.success());
        let world = World { directory: tempfile::tempdir().unwrap(), machines: None };
        std::fs::create_dir(world.path("tmp")).unwrap();
        for (program, side) in [(Program::Prep, "issuer"), (Program::Cardwright, "bureau")] {
            let list = format!("{}/tests/data/keys-{side}.toml", env!("CARGO_MANIFEST_DIR"));
            world.ok(program, &format!("key init --test --from {list} --store {side}.store"));
        }
        world.ok(Program::Prep, &format!("sample --count {CARDS} --output a.csv --seed 11"));
        // Without RSA, which the line does not notice.
        let product = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/multiapp.toml");
        std::fs::copy(product, world.path("plain.toml")).unwrap();
        let product = "--product plain.toml --keys issuer.store --kek 476173FF:1";
        world.ok(Program::Prep, &format!("run --input a.csv {product} --output a.cwf1"));
        let people = format!(
            "[[person]]\nname = \"anna\"\nuid = {}\nroles = [\"operator\", \"supervisor\"]\n",
            geteuid()
        );
        std::fs::write(world.path("people.toml"), people).unwrap();
        let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/profiles/lines/sim-chip-8.toml");
        let line = std::fs::read_to_string(shipped).unwrap().replace("stations = 8", "stations = 2");
        // Jobs close by themselves, in the daemon as in the foreground, and a dead line is not waited for.
        let line = "auto_close = true\n".to_owned() + &line + "\n[limits]\nrecover = 0.2\n";
        std::fs::write(world.path("line.toml"), line).unwrap();
        Self { world, library }
    }

    /// A world in its first state, with a simulated line.
    pub fn copy(&self) -> World {
        let directory = tempfile::tempdir().unwrap();
        copy_all(self.world.directory.path(), directory.path());
        World { directory, machines: None }
    }

    /// A copy with machines that stay while the daemon comes and goes.
    pub fn copy_with_machines(&self) -> World {
        let mut world = self.copy();
        world.machines = Some(Machines::start(world.directory.path()));
        world
    }

    /// Path of the library for preloading.
    pub fn library(&self) -> PathBuf {
        self.library.path().join("preload.so")
    }
}

fn copy_all(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&to).unwrap();
            std::fs::set_permissions(&to, entry.metadata().unwrap().permissions()).unwrap();
            copy_all(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), &to).unwrap();
        }
    }
}

#[derive(Clone, Copy)]
enum Program {
    Cardwright,
    Prep,
}

/// A directory with all files of one bureau.
pub struct World {
    // Dropped before the directory in which they work.
    machines: Option<Machines>,
    directory: tempfile::TempDir,
}

impl World {
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Switches the machines off; cards in them get the fate `left`.
    pub fn off(&mut self) {
        if let Some(machines) = self.machines.take() {
            machines.off();
        }
    }

    fn run(&self, program: Program, words: &str) -> Result<String, String> {
        let program = match program {
            Program::Cardwright => env!("CARGO_BIN_EXE_cardwright"),
            Program::Prep => env!("CARGO_BIN_EXE_cardwright-prep"),
        };
        let mut command = Command::new(program);
        let output = self.here(command.args(words.split_whitespace())).output().unwrap();
        if output.status.success() {
            return Ok(String::from_utf8(output.stdout).unwrap());
        }
        Err(format!("{words}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim_end()))
    }

    fn ok(&self, program: Program, words: &str) -> String {
        self.run(program, words).unwrap()
    }

    /// Runs `cardwright WORDS` without a daemon.
    pub fn cardwright(&self, words: &str) -> Result<String, String> {
        self.run(Program::Cardwright, words)
    }

    fn here<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .current_dir(self.directory.path())
            .env("TMPDIR", self.path("tmp"))
            .env_remove("CARDWRIGHT_LEDGER")
            .env_remove("CARDWRIGHT_SOCKET")
            .env_remove("CARDWRIGHT_KEYS")
            .env_remove("CARDWRIGHT_PROFILES")
    }

    /// Processes that this world's daemon started: their command lines name its directory for temporary
    /// files.
    pub fn children(&self, name: &str) -> Vec<i32> {
        let here = self.path("tmp").display().to_string();
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        pids.filter(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            line.contains(&here) && line.contains(name)
        })
        .collect()
    }

    /// Waits until the processes of a dead daemon have ended; the line has then written its dumps.
    pub fn settle(&self) -> Result<(), String> {
        self.until("all have ended", || self.children("").is_empty())
    }

    /// Waits until the condition holds.
    pub fn until(&self, what: &str, so: impl Fn() -> bool) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        while !so() {
            if Instant::now() > end {
                return Err(format!("not so in time: {what}; processes {:?}", self.children("")));
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }
}

/// A daemon, running or dead.
pub struct Daemon<'a> {
    world: &'a World,
    child: Child,
    /// The time from its start until it was ready.
    pub took: Duration,
}

impl<'a> Daemon<'a> {
    /// Starts a daemon and waits until it is ready. The error is its standard error, which is also kept as
    /// LOG. Another seed gives other blanks.
    pub fn start(
        world: &'a World,
        log: &str,
        seed: &str,
        change: &mut dyn FnMut(&mut Command),
    ) -> Result<Self, String> {
        let log = world.path(log);
        let program = env!("CARGO_BIN_EXE_cardwrightd");
        let mut command = match &world.machines {
            Some(machines) => machines.command(program),
            None => Command::new(program),
        };
        command.args(["--line", "line.toml", "--keys", "bureau.store", "--people", "people.toml"]);
        command.args(["--socket", "d.sock"]);
        if world.machines.is_none() {
            command.args(["--simulate", "--speed", "0", "--dump", "dumps", "--seed", seed]);
        }
        world.here(&mut command).stdout(Stdio::piped()).stderr(File::create(&log).unwrap());
        change(&mut command);
        let began = Instant::now();
        let mut child = command.spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let took = began.elapsed();
        let mut daemon = Self { world, child, took };
        if said == "ready\n" {
            return Ok(daemon);
        }
        let status = daemon.wait();
        Err(format!("not ready: {status}: {}", std::fs::read_to_string(log).unwrap().trim_end()))
    }

    /// Runs `cardwright WORDS` over its socket.
    pub fn ask(&self, words: &str) -> Result<String, String> {
        self.world.cardwright(&format!("{words} --socket d.sock"))
    }

    /// Waits until the job fits `what`; false if the daemon ended before.
    pub fn until(&mut self, what: fn(&Value) -> bool) -> Result<bool, String> {
        let end = Instant::now() + PATIENCE;
        loop {
            if !self.is_running() {
                return Ok(false);
            }
            let shown = self.ask("job show J1 --json");
            if let Ok(shown) = &shown
                && what(&serde_json::from_str(shown).unwrap())
            {
                return Ok(true);
            }
            if Instant::now() > end {
                return Err(format!("the job goes on: {shown:?}"));
            }
            std::thread::sleep(POLL);
        }
    }

    /// Sends SIGTERM and waits for the end.
    pub fn drain(&mut self) -> ExitStatus {
        if self.is_running() {
            self.signal(Signal::SIGTERM);
        }
        self.wait()
    }

    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Whether the daemon is still running after this time.
    pub fn outlives(&mut self, time: Duration) -> bool {
        let end = Instant::now() + time;
        while Instant::now() < end {
            if !self.is_running() {
                return false;
            }
            std::thread::sleep(POLL);
        }
        true
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// Waits for the end; kills the daemon after a long time.
    fn wait(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            if Instant::now() > end {
                self.child.kill().unwrap();
            }
            std::thread::sleep(POLL);
        }
    }
}

/// Whether the job is closed, which happens when every record has its card.
pub fn is_closed(job: &Value) -> bool {
    job["state"] == "CLOSED"
}

/// Whether the job waits for a person: no card can move before one says how to go on.
pub fn is_at_rest(job: &Value) -> bool {
    let none = |state: &str| job["balance"][state] == 0;
    job["state"] != "OPEN" || none("queued") && none("in_flight")
}

/// Whether the process was killed.
pub fn was_killed(status: ExitStatus) -> bool {
    status.signal() == Some(Signal::SIGKILL as i32)
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
