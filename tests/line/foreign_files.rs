//! Files that other users or mistyped command lines put in the way: nothing is written into them, nothing is lost, and
//! no command hangs.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::support::World;

const IO: i32 = 50;
const LEDGER: i32 = 40;
const PROFILE: i32 = 30;

fn run(world: &World, more: &[&str]) -> (i32, String) {
    let common =
        ["run", "job.cwf1", "--line", "sim-8", "--keys", "bureau.store", "--simulate", "--speed", "0"];
    let begun = Instant::now();
    let ended = world.cardwright(&[&common[..], more].concat());
    assert!(begun.elapsed() < Duration::from_secs(60), "{more:?} hung");
    (ended.code, ended.stderr)
}

#[test]
fn an_output_cannot_take_the_name_of_a_ledger_or_store_file() {
    let world = World::new();
    world.prepared("job", 2, 1);
    for option in ["--report", "--events"] {
        for name in [
            "cardwright.db",
            "cardwright.db-lock",
            "cardwright.db-wal",
            "./cardwright.db",
            "bureau.store-spools",
        ] {
            let (code, says) = run(&world, &[option, name]);
            assert_eq!(code, IO, "{option} {name}: {says}");
            assert!(says.contains("name another"), "{says}");
            assert!(!world.path("cardwright.db").exists(), "{option} {name}: a ledger was begun");
        }
    }
    assert_eq!(run(&world, &["--report", "report.json", "--events", "events.jsonl"]).0, 0);
}

#[test]
fn pipes_and_devices_are_refused_where_a_file_is_needed() {
    let world = World::new();
    world.prepared("job", 2, 1);
    mkfifo(&world.path("pipe.toml"), Mode::S_IRWXU).unwrap();
    symlink("/dev/zero", world.path("zero.toml")).unwrap();
    for file in ["pipe.toml", "zero.toml"] {
        for (words, code) in [
            (format!("profile check {file}"), PROFILE),
            (format!("run job.cwf1 --line {file} --keys bureau.store --simulate"), PROFILE),
            (format!("line check {file} --keys bureau.store"), PROFILE),
            (format!("key init --test --from {file} --store x.store"), IO),
        ] {
            let mut command = Command::new("timeout");
            command.arg("20").arg(env!("CARGO_BIN_EXE_cardwright")).args(words.split(' '));
            let ended = command.current_dir(world.path("")).output().unwrap();
            let says = String::from_utf8_lossy(&ended.stderr);
            assert_eq!(ended.status.code(), Some(code), "{words}: {says}");
            assert!(says.contains("no regular file"), "{words}: {says}");
        }
        let (code, says) = run(&world, &["--faults", file]);
        assert!(code != 0 && says.contains("no regular file"), "{code} {says}");
    }
    let (code, says) = run(&world, &["--events", "pipe.toml"]);
    assert!(code == IO && says.contains("nobody reads"), "{code} {says}");
    let jobs = world.cardwright(&["job", "list"]);
    assert_eq!(
        jobs.code, LEDGER,
        "a file was accepted although its events cannot be written: {}",
        jobs.stdout
    );
}

#[test]
fn a_ledger_that_others_may_write_is_refused() {
    let world = World::new();
    world.prepared("job", 2, 1);
    let mode = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    mode(&world.path(""), 0o777);
    let (code, says) = run(&world, &[]);
    assert!(code == LEDGER && says.contains("others may write the folder"), "{code} {says}");
    mode(&world.path(""), 0o700);
    assert_eq!(run(&world, &["--limit", "1"]).0, 0);
    mode(&world.path("cardwright.db"), 0o666);
    let ended = world.cardwright(&["card", "cancel", "J1", "all"]);
    assert!(ended.code == LEDGER && ended.stderr.contains("chmod go-w"), "{} {}", ended.code, ended.stderr);
}

/// The next file of the audit book was made by another user first, as a link to that user's own file.
#[test]
fn keys_are_never_written_into_a_file_that_lies_there() {
    let world = World::new();
    world.prepared("job", 2, 1);
    for name in ["bureau.store-audit-next", "bureau.store-spools-next", "cardwright.db-new"] {
        std::fs::write(world.path("theirs"), "before").unwrap();
        symlink(world.path("theirs"), world.path(name)).unwrap();
    }
    assert_eq!(run(&world, &[]).0, 0);
    assert_eq!(std::fs::read_to_string(world.path("theirs")).unwrap(), "before");
}
