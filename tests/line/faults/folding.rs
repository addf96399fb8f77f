//! The disk refuses to sync the ledger's file when the WAL is folded into it. Every acknowledged event is
//! then in the WAL, which must stay. The kernel's copy of the file in memory is not on the disk and will
//! never be, even if later syncs succeed.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use serde_json::Value;

use super::failing::{after_a_power_cut, killed_in_mid_job};
use super::mounts::{Disk, Kind};
use super::{LEDGER, Shell, accounted, ended, ok, settled};
use crate::books::{Witness, number};
use crate::support::{Ended, World, compile, lines};

const CARDS: u32 = 80;
const REFUSED: &str = "its disk reports errors";
/// Length of the WAL in bytes at which a commit folds it into the file: this many pages
/// (src/ledger/store/open.rs), each with a header.
const WAL_MAX: u64 = (16 << 10) * (1024 + 24);
/// Close to that length: some dozens of cards reach it.
const NEARLY: u64 = WAL_MAX - (1 << 20);

/// A job with two cards made, on a disk that can fail.
fn world() -> (World, Disk, Vec<Witness>) {
    let mut world = World::new();
    world.prepared("job", CARDS, 43);
    compile("line/faults/refused.c", &world.path(""));
    let disk = Disk::mount(&mut world, Kind::Failing);
    world.set("CARDWRIGHT_LEDGER", "small/cardwright.db");
    assert_eq!(world.run("job.cwf1", "sim-8", &["--limit", "2", "--seed", "1"]).code, 0);
    let runs = vec![Witness::keep(&world, 0)];
    (world, disk, runs)
}

/// Runs `cardwright ARGS`; the disk refuses the first sync of the ledger's file with this suffix.
fn refused(world: &World, suffix: &str, args: &str) -> Ended {
    let _ = std::fs::remove_file(world.path("events.jsonl"));
    let mut command = world.command(Path::new("env"));
    command.arg(format!("LD_PRELOAD={}", world.path("refused.so").display()));
    command.arg(format!("FILLER={}", world.path("blocks/filler").display()));
    command.arg(format!("REFUSED=cardwright.db{suffix}"));
    command.arg(env!("CARGO_BIN_EXE_cardwright")).args(args.split(' '));
    Ended::from(command.output().unwrap())
}

fn resume(limit: u32, seed: u32) -> String {
    format!(
        "job resume J1 --line sim-8 --keys bureau.store --simulate --speed 0 --dump dumps --events events.jsonl --limit \
         {limit} --seed {seed}"
    )
}

fn log(world: &World) -> Vec<Value> {
    serde_json::from_str(&ok(world, "log --json")).unwrap()
}

/// Fails unless every event is on the disk after the kernel has written all that it intends to write and the
/// power has failed.
#[track_caller]
fn all_there(world: &World, disk: &Disk, told: &[Value]) {
    // This sync reports the earlier failure once more, which is ignored.
    world.command(Path::new("sync")).args(["-f", "small"]).output().unwrap();
    let there = after_a_power_cut(world, disk);
    for event in told {
        let n = number(event, "n");
        assert_eq!(there.get(n as usize - 1), Some(event), "event {n} was told and is not on the disk");
    }
}

/// Brings the WAL to this length with updates that cancel each other out.
fn fill_wal(world: &World, ledger: &str, wal: &Path, length: u64) {
    while wal.metadata().unwrap().size() < length {
        let mut shell = world
            .command(Path::new("sqlite3"))
            .arg(world.path(ledger))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("sqlite3: run `make setup`");
        let mut words =
            ".dbconfig no_ckpt_on_close on\nPRAGMA wal_autocheckpoint = 0;\nPRAGMA synchronous = OFF;\n"
                .to_owned();
        words += &"UPDATE record SET released = 1 - released;\n".repeat(100);
        shell.stdin.take().unwrap().write_all(words.as_bytes()).unwrap();
        assert!(shell.wait().unwrap().success());
    }
}

/// In the middle of a run the failed sync stops the line at once. Neither the next commit nor the closing of
/// the ledger tries it again.
#[test]
fn in_the_middle_of_a_run_the_line_stops() {
    let (world, disk, mut runs) = world();
    fill_wal(&world, "small/cardwright.db", &disk.path("small/cardwright.db-wal"), NEARLY);
    // While another program reads the ledger, a start does not fold the WAL.
    let words = ".dbconfig no_ckpt_on_close on\nSELECT 'open' FROM head;\n";
    let reader = Shell::open(&world, "small/cardwright.db", words, "open");
    let stopped = refused(&world, "", &resume(CARDS, 2));
    reader.end();
    ended(&stopped, LEDGER, &["small/cardwright.db", REFUSED]);
    let told = lines(&world.path("events.jsonl"));
    assert!(told.len() > 100, "it stopped too early: {}", told.len());
    runs.push(Witness::keep(&world, 1));
    all_there(&world, &disk, &told);
    let all = log(&world);
    settled(&world, &runs[1]);
    all_there(&world, &disk, &all);
    assert_eq!(world.resume("sim-8", &["--seed", "3"]).code, 0);
    runs.push(Witness::keep(&world, 2));
    accounted(&world, &runs, u64::from(CARDS));
}

/// At the end of a run all reported events are durable, so the run succeeds, but a warning names the disk.
/// The next program does not rely on the kernel's copy of the file.
#[test]
fn a_failed_sync_at_the_end_of_a_run_is_reported() {
    let (world, disk, mut runs) = world();
    let done = refused(&world, "", &resume(40, 2));
    ended(&done, 0, &["small/cardwright.db: ", REFUSED, "nothing is lost", "small/cardwright.db-wal"]);
    runs.push(Witness::keep(&world, 1));
    let told = lines(&world.path("events.jsonl"));
    all_there(&world, &disk, &told);
    // This command opens the ledger, writes to it, and folds the WAL.
    ok(&world, "card cancel J1 80");
    assert_eq!(disk.path("small/cardwright.db-wal").metadata().unwrap().size(), 0);
    all_there(&world, &disk, &log(&world));
    assert_eq!(world.resume("sim-8", &["--seed", "3"]).code, 0);
    all_there(&world, &disk, &log(&world));
}

/// A refused start must not close its only connection normally: that would try the sync again and remove the
/// WAL.
#[test]
fn at_a_start_that_is_refused_the_wal_stays() {
    let (world, disk, mut runs) = world();
    killed_in_mid_job(&world, "2");
    runs.push(Witness::keep(&world, 1));
    let told = lines(&world.path("events.jsonl"));
    fill_wal(&world, "small/cardwright.db", &disk.path("small/cardwright.db-wal"), WAL_MAX + 1024);
    ended(&refused(&world, "", &resume(CARDS, 3)), LEDGER, &["small/cardwright.db", REFUSED]);
    assert!(lines(&world.path("dumps/line.jsonl")).is_empty(), "a card was touched");
    all_there(&world, &disk, &told);
    settled(&world, &runs[1]);
    all_there(&world, &disk, &log(&world));
    assert_eq!(world.resume("sim-8", &["--seed", "4"]).code, 0);
    runs.push(Witness::keep(&world, 2));
    accounted(&world, &runs, u64::from(CARDS));
}

/// The emptying of a folded WAL could not be synced, so it may be in memory only.
#[test]
fn a_failed_sync_of_the_emptied_wal_loses_nothing() {
    let (world, disk, mut runs) = world();
    let done = refused(&world, "-wal", &resume(10, 2));
    ended(&done, 0, &["small/cardwright.db-wal: ", "nothing is lost", "disk"]);
    runs.push(Witness::keep(&world, 1));
    all_there(&world, &disk, &lines(&world.path("events.jsonl")));
    assert_eq!(world.resume("sim-8", &["--seed", "3"]).code, 0);
    runs.push(Witness::keep(&world, 2));
    accounted(&world, &runs, u64::from(CARDS));
}

/// Another program folds the WAL at the moment when the line would fold it: the line goes on.
#[test]
fn while_another_program_folds_the_line_goes_on() {
    let world = World::new();
    world.prepared("job", CARDS, 44);
    assert_eq!(world.run("job.cwf1", "sim-8", &["--limit", "2", "--seed", "1"]).code, 0);
    let mut runs = vec![Witness::keep(&world, 0)];
    fill_wal(&world, "cardwright.db", &world.path("cardwright.db-wal"), NEARLY);
    // Another connection is open first, because the first connection to a ledger would wait for that lock.
    let words = ".dbconfig no_ckpt_on_close on\nSELECT 'open' FROM head;\n";
    let other = Shell::open(&world, "cardwright.db", words, "open");
    // The lock that SQLite takes for this: see "WAL-Index File" in its file format.
    let shm =
        std::fs::OpenOptions::new().read(true).write(true).open(world.path("cardwright.db-shm")).unwrap();
    let lock = libc::flock {
        l_type: libc::F_WRLCK as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: 121,
        l_len: 1,
        l_pid: 0,
    };
    fcntl(&shm, FcntlArg::F_SETLK(&lock)).unwrap();
    let done = world.resume("sim-8", &["--seed", "2"]);
    ended(&done, 0, &[]);
    runs.push(Witness::keep(&world, 1));
    let wal = world.path("cardwright.db-wal").metadata().unwrap().size();
    assert!(wal > WAL_MAX, "{wal}: it was never so long that it was to be folded");
    drop(shm);
    other.end();
    accounted(&world, &runs, u64::from(CARDS));
}
