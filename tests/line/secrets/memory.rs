//! The memory of the programs: after a job is closed, neither the daemon nor the HSM host holds its cardholders' data,
//! and no program lets another process of its user look into it.

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, chown};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

use super::process::{NOBODY, Running, child_with, dumps_core, ordinary, program, wait_for};
use super::scene::Scene;
use super::search::{Kind, Needle, Search};
use crate::support::World;

/// Bytes of memory that are searched at a time; the pieces overlap.
const PIECE: usize = 8 << 20;
const OVERLAP: usize = 4096;

/// The needles in the memory of a process that can be written. The kernel shows it to root.
pub fn in_memory(id: u32, search: &Search) -> Vec<String> {
    let maps = std::fs::read_to_string(format!("/proc/{id}/maps")).unwrap();
    let mut memory = std::fs::File::open(format!("/proc/{id}/mem")).unwrap();
    let mut found = Vec::new();
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (range, mode) = (words.next().unwrap(), words.next().unwrap());
        if !mode.starts_with("rw") || line.contains("[vvar") {
            continue;
        }
        let (from, to) = range.split_once('-').unwrap();
        let at = |text| u64::from_str_radix(text, 16).unwrap();
        let (mut from, to) = (at(from), at(to));
        while from < to {
            let mut piece = vec![0; PIECE.min(usize::try_from(to - from).unwrap())];
            // A range may be gone by now.
            if memory.seek(SeekFrom::Start(from)).and_then(|_| memory.read_exact(&mut piece)).is_err() {
                break;
            }
            for (needle, form) in search.find(&piece) {
                found.push(format!("{} as {form} in {line}", search.needles[needle].name));
            }
            from += u64::try_from(piece.len().saturating_sub(OVERLAP).max(1)).unwrap();
            if piece.len() < PIECE {
                break;
            }
        }
    }
    found
}

#[test]
fn the_data_of_a_closed_job_are_in_no_memory() {
    assert!(geteuid().is_root(), "root looks into the memory of other programs");
    let mut scene = Scene::new("text");
    scene.prepare(12, 21);
    let people =
        format!("[[person]]\nname = \"anna\"\nuid = {}\nroles = [\"operator\", \"supervisor\"]\n", geteuid());
    std::fs::write(scene.world.path("people.toml"), people).unwrap();
    let args = "--line sim-8 --keys bureau.store --people people.toml --simulate --speed 20 --dump dumps --socket d.sock";
    let args: Vec<_> = args.split(' ').collect();
    let mut command = scene.command(env!("CARGO_BIN_EXE_cardwrightd"), &args);
    let mut child =
        command.env("CARDWRIGHT_LOG", "warn").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut ready = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    let daemon = Running(child);
    let id = daemon.0.id();
    let host = child_with(id, "hsm-host").unwrap();
    scene.ends(0, "job submit job.cwf1 --socket d.sock");
    scene.ends(0, "job release J1 --socket d.sock");
    // The search finds the data while the cards are made, so it would find them afterwards.
    let holders = |scene: &Scene| {
        let needles: Vec<Needle> = scene.needles();
        let of_people = |needle: &Needle| matches!(needle.kind, Kind::Holder | Kind::Secret);
        Search::new(needles.into_iter().filter(of_people).collect())
    };
    let mut seen = 0;
    wait_for("the job's end", || {
        if seen == 0 && scene.world.path("dumps").read_dir().is_ok_and(|dumps| dumps.count() > 2) {
            seen = in_memory(id, &holders(&scene)).len();
        }
        let shown = scene.cardwright("job show J1 --socket d.sock --json").stdout;
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        (shown["phase"] == "COMPLETE").then_some(())
    });
    assert!(seen > 0, "the search finds nothing while the cards are made");
    scene.ends(0, "job close J1 --socket d.sock");
    std::thread::sleep(std::time::Duration::from_millis(500));
    let search = holders(&scene);
    for (what, id) in [("daemon", id), ("HSM host", host)] {
        let found = in_memory(id, &search);
        assert!(
            found.is_empty(),
            "{what}: {} of the job, first {:#?}",
            found.len(),
            &found[..found.len().min(20)]
        );
    }
    kill(Pid::from_raw(id.cast_signed()), Signal::SIGTERM).unwrap();
}

/// Whether the kernel gives a process to root because it does not let others look into it.
fn is_closed(id: u32) -> bool {
    std::fs::metadata(format!("/proc/{id}/status")).unwrap().uid() == 0 && !dumps_core(id)
}

/// Every program that reads data, as an ordinary user runs it.
#[test]
fn every_program_is_closed_to_its_own_user() {
    assert!(geteuid().is_root(), "root starts programs as an ordinary user");
    let world = World::new();
    world.prepared("job", 40, 22);
    assert_eq!(world.prep(&["sample", "--count", "20000", "--output", "many.csv"]).code, 0);
    let people = format!("[[person]]\nname = \"anna\"\nuid = {NOBODY}\nroles = [\"operator\"]\n");
    std::fs::write(world.path("people.toml"), people).unwrap();
    let mine = |path| chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    mine(world.path(""));
    for folder in ["", "bureau.store", "issuer.store"] {
        world.path(folder).read_dir().unwrap().for_each(|entry| mine(entry.unwrap().path()));
    }
    let start = |name: &str, args: &str| {
        let (_open, path) = program(name);
        let mut command = Command::new(path);
        command.args(args.split(' ')).current_dir(world.path("")).env("TMPDIR", world.path(""));
        let child = ordinary(&mut command).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        Running(child.spawn().unwrap())
    };
    let cardwright = env!("CARGO_BIN_EXE_cardwright");
    let daemon = env!("CARGO_BIN_EXE_cardwrightd");
    let prep = env!("CARGO_BIN_EXE_cardwright-prep");
    let line =
        start(daemon, "--line sim-8 --keys bureau.store --people people.toml --simulate --socket d.sock");
    wait_for("a daemon that is closed to its user", || is_closed(line.0.id()).then_some(()));
    wait_for("a daemon that listens", || world.path("d.sock").exists().then_some(()));
    drop(line);
    let run = start(
        cardwright,
        "run job.cwf1 --line sim-8 --keys bureau.store --simulate --speed 1 --ledger run.db",
    );
    wait_for("a line that is closed to its user", || is_closed(run.0.id()).then_some(()));
    let host = wait_for("an HSM host", || child_with(run.0.id(), "hsm-host"));
    wait_for("an HSM host that is closed to its user", || is_closed(host).then_some(()));
    let prepared = start(
        prep,
        "run --input many.csv --product plain.toml --keys issuer.store --kek 476173FF:1 --output many.cwf1",
    );
    wait_for("a preparation that is closed to its user", || is_closed(prepared.0.id()).then_some(()));
    wait_for("a ledger", || world.path("run.db").exists().then_some(()));
    let log = start(cardwright, "log --follow --ledger run.db");
    wait_for("a reader that is closed to its user", || is_closed(log.0.id()).then_some(()));
    let other = Running(ordinary(&mut Command::new("cat")).stdin(Stdio::piped()).spawn().unwrap());
    wait_for("cat", || child_with(std::process::id(), "cat"));
    assert!(!is_closed(other.0.id()), "the check can give this answer too");
}
