//! The things that other users of the computer could see of a running line: command lines, environments,
//! files, sockets, memory.

use std::io::{IoSliceMut, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cardwright::hsm::CallerSecrets;
use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;

use super::no_leaks;
use super::scene::{CARDS, Evidence, Scene};
use super::search::Search;
use crate::support::World;

/// Longer than any of these programs needs to start.
const PATIENCE: Duration = Duration::from_secs(20);

pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn of_process(id: u32, what: &str) -> std::io::Result<Vec<u8>> {
    std::fs::read(format!("/proc/{id}/{what}"))
}

/// Words of a command line.
fn words(id: u32) -> Vec<String> {
    let line = of_process(id, "cmdline").unwrap_or_default();
    line.split(|b| *b == 0).map(|w| String::from_utf8_lossy(w).into_owned()).collect()
}

/// The child of a process that has this word on its command line.
pub fn child_with(parent: u32, word: &str) -> Option<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{parent}/task")).ok()?;
    let children = tasks.flatten().flat_map(|task| {
        let list = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<u32>>()
    });
    children.into_iter().find(|id| words(*id).iter().any(|w| w == word))
}

pub fn dumps_core(id: u32) -> bool {
    let limits = String::from_utf8(of_process(id, "limits").unwrap()).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    core.split_whitespace().skip(4).take(2).any(|limit| limit != "0")
}

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

/// A process that is ended even if the test fails.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_running_line_shows_no_secret_to_other_users() {
    let mut scene = Scene::new("text");
    scene.prepare(CARDS, 13);
    // Slow enough to look at the line while it works.
    let args = "run job.cwf1 --line sim-8 --keys bureau.store --simulate --speed 5 --dump dumps --events events.jsonl";
    let args: Vec<_> = args.split(' ').collect();
    let mut command = scene.command(env!("CARGO_BIN_EXE_cardwright"), &args);
    let mut line = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let id = line.0.id();
    let host = wait_for("an HSM host", || child_with(id, "hsm-host"));
    let hwsim = wait_for("hwsim", || child_with(id, "--until-stdin-closes"));
    let sockets = wait_for("both sockets", || {
        let directory = std::fs::read_dir(scene.world.path("tmp")).unwrap().next()?.unwrap().path();
        let there = ["hsm.sock", "hwsim.sock"].iter().all(|name| directory.join(name).exists());
        there.then_some(directory)
    });
    let spool = wait_for("a spool", || {
        let spools = std::fs::read_dir(scene.world.path("cardwright.db.spool")).ok()?;
        spools.flatten().map(|e| e.path()).find(|p| p.extension().is_some_and(|e| e == "cwf1"))
    });

    let mut seen = Vec::new();
    for (program, id) in [("cardwright", id), ("hsm-host", host), ("hwsim", hwsim)] {
        assert!(!of_process(id, "cmdline").unwrap().is_empty());
        for what in ["cmdline", "environ"] {
            // Only root can read the environment of a process that protects its memory.
            let Ok(bytes) = of_process(id, what) else { continue };
            seen.push(Evidence { name: format!("{what} of {program}"), bytes, of_cardholders: false });
        }
    }
    if let Ok(environment) = of_process(host, "environ") {
        let environment = String::from_utf8_lossy(&environment).into_owned();
        assert!(environment.split('\0').any(|v| v == "CARDWRIGHT_LOG=trace"), "the host logs as its parent");
    }
    assert!(!dumps_core(host), "the HSM host dumps no core");

    assert_eq!(mode(&sockets), 0o700);
    for store in ["issuer.store", "bureau.store"] {
        assert_eq!(mode(&scene.world.path(store)), 0o700);
    }
    assert_eq!(mode(&sockets.join("hsm.sock")), 0o600);
    assert_eq!(mode(spool.parent().unwrap()), 0o700);
    let files = [
        "job.cwf1",
        "issuer.store/keys",
        "bureau.store/keys",
        "bureau.store/audit",
        "bureau.store/memory-0",
        "bureau.store/journal-0",
        "bureau.store/chips",
        "cardwright.db",
        "cardwright.db-wal",
        "cardwright.db-shm",
    ];
    let files = files.iter().chain(&["cardwright.db-lock"]).map(|name| scene.world.path(name));
    for file in files.chain([spool]) {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }

    wait_for("a card", || {
        let events = std::fs::read_to_string(scene.world.path("events.jsonl")).ok()?;
        events.contains("BOUND").then_some(())
    });
    // Stops the line as an operator does: the cards under way are finished.
    let id = Pid::from_raw(id as i32);
    nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(line.0.wait().unwrap().code(), Some(5));
    let search = Search::new(scene.needles());
    no_leaks(&search, &seen);
}

/// User and group of `nobody`.
pub const NOBODY: u32 = 65_534;

/// Runs a command as an ordinary user, because root could look into every process.
pub fn ordinary(command: &mut Command) -> &mut Command {
    if nix::unistd::geteuid().is_root() { command.uid(NOBODY).gid(NOBODY) } else { command }
}

/// Whether another process of the same user can look into a process.
fn open_to_its_user(id: u32) -> bool {
    let mut cat = Command::new("cat");
    cat.arg(format!("/proc/{id}/environ")).stdout(Stdio::null()).stderr(Stdio::null());
    ordinary(&mut cat).status().unwrap().success()
}

/// A program of this repository, at a path where every user can run it.
pub fn program(program: &str) -> (std::fs::File, PathBuf) {
    let file = std::fs::File::open(program).unwrap();
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    (file, path)
}

/// An HSM host that an ordinary user runs, in a world of his own.
fn host_of_a_user(world: &World) -> Running {
    std::fs::set_permissions(world.path(""), std::fs::Permissions::from_mode(0o700)).unwrap();
    if nix::unistd::geteuid().is_root() {
        let files = std::fs::read_dir(world.path("bureau.store")).unwrap().map(|entry| entry.unwrap().path());
        for path in files.chain(["", "bureau.store"].map(|name| world.path(name))) {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }
    let (_open, cardwright) = program(env!("CARGO_BIN_EXE_cardwright"));
    let mut command = Command::new(cardwright);
    command.args(["hsm-host", "--keys", "bureau.store", "--socket", "hsm.sock"]).current_dir(world.path(""));
    let host = ordinary(&mut command).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut host = Running(host);
    CallerSecrets::draw().unwrap().give(host.0.stdin.as_mut().unwrap()).unwrap();
    wait_for("a socket", || world.path("hsm.sock").exists().then_some(()));
    host
}

#[test]
fn the_hsm_host_is_closed_even_to_its_own_user() {
    let world = World::new();
    let host = host_of_a_user(&world);
    assert!(!open_to_its_user(host.0.id()));

    // An ordinary process is open, so the check can give this answer too.
    let other = Running(ordinary(&mut Command::new("cat")).stdin(Stdio::piped()).spawn().unwrap());
    wait_for("cat", || words(other.0.id()).contains(&"cat".to_owned()).then_some(()));
    assert!(open_to_its_user(other.0.id()));
}

/// Set for a child of this test program: the process whose memory it tries to take.
const VICTIM: &str = "CARDWRIGHT_TEST_VICTIM";

/// Tries every way to the memory of a process, and prints those that led there. Not a test.
#[test]
fn thief() {
    let Ok(victim) = std::env::var(VICTIM) else { return };
    let pid = Pid::from_raw(victim.parse().unwrap());
    let opens = |what: &str| std::fs::File::open(format!("/proc/{victim}/{what}")).is_ok();
    let (mut byte, there) = ([0], RemoteIoVec { base: 0x1000, len: 1 });
    // Nothing lies at that address, which only who may look learns.
    let read = process_vm_readv(pid, &mut [IoSliceMut::new(&mut byte)], &[there]) == Err(Errno::EFAULT);
    let dumped = Command::new("gcore").args(["-o", "image", &victim]).output();
    let dumped = dumped.is_ok() && Path::new(&format!("image.{victim}")).exists();
    // The last, because it stops the victim.
    let attached = ptrace::attach(pid).is_ok();
    let ways = [
        ("mem", opens("mem")),
        ("maps", opens("maps")),
        ("environ", opens("environ")),
        ("pagemap", opens("pagemap")),
        ("process_vm_readv", read),
        ("gcore", dumped),
        ("ptrace", attached),
    ];
    let led: Vec<_> = ways.iter().filter(|(_, led)| *led).map(|(way, _)| *way).collect();
    writeln!(std::io::stdout(), "\ntaken by: {}.", led.join(" ")).unwrap();
}

/// The ways by which a user takes the memory of a process.
fn taken(by: u32, victim: u32, folder: &Path) -> String {
    let (_open, tests) = program(std::env::current_exe().unwrap().to_str().unwrap());
    let name = concat!(module_path!(), "::thief").split_once("::").unwrap().1;
    let mut thief = Command::new(tests);
    thief.args(["--exact", name, "-q", "--nocapture"]).env(VICTIM, victim.to_string()).current_dir(folder);
    let said = thief.uid(by).gid(by).output().unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let taken = said.lines().find_map(|line| line.strip_prefix("taken by: ")?.strip_suffix('.'));
    taken.unwrap_or_else(|| panic!("{said}")).to_owned()
}

#[test]
fn the_service_user_can_take_no_image() {
    assert!(nix::unistd::geteuid().is_root(), "root starts programs as other users");
    let world = World::new();
    let host = host_of_a_user(&world);
    std::fs::set_permissions(world.path(""), std::fs::Permissions::from_mode(0o777)).unwrap();
    for user in [NOBODY, NOBODY - 1] {
        assert_eq!(taken(user, host.0.id(), &world.path("")), "", "user {user}");
    }
    let other = Running(ordinary(&mut Command::new("cat")).stdin(Stdio::piped()).spawn().unwrap());
    wait_for("cat", || words(other.0.id()).contains(&"cat".to_owned()).then_some(()));
    assert_eq!(taken(NOBODY - 1, other.0.id(), &world.path("")), "");
    let all = taken(NOBODY, other.0.id(), &world.path(""));
    // Without gdb, one way less.
    let without_gdb = "mem maps environ pagemap process_vm_readv ptrace";
    assert!(
        [without_gdb, "mem maps environ pagemap process_vm_readv gcore ptrace"].contains(&&*all),
        "{all}"
    );
}

#[test]
fn the_preparation_dumps_no_core_while_it_holds_the_issuers_keys() {
    let world = World::new();
    // So many cards that the preparation is still at work when the test looks at it.
    assert_eq!(world.prep(&["sample", "--count", "20000", "--output", "job.csv"]).code, 0);
    let args =
        "run --input job.csv --product plain.toml --keys issuer.store --kek 476173FF:1 --output job.cwf1";
    let prep = Command::new(env!("CARGO_BIN_EXE_cardwright-prep"))
        .args(args.split(' '))
        .current_dir(world.path(""))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let prep = Running(prep);
    // The output has no name before it is whole.
    wait_for("an unfinished output file", || {
        let open = std::fs::read_dir(format!("/proc/{}/fd", prep.0.id())).unwrap().flatten();
        let mut links = open.filter_map(|entry| std::fs::read_link(entry.path()).ok());
        let folder = world.path("").canonicalize().unwrap();
        links.find(|link| link.starts_with(&folder) && link.to_string_lossy().ends_with(" (deleted)"))
    });
    assert!(!dumps_core(prep.0.id()));
}
