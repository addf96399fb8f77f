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

/// A ledger that another program changed: an endless view in the place of a table, a text of hundreds of megabytes, and
/// control characters that a terminal would obey.
#[test]
fn a_reader_looks_at_a_foreign_ledger_before_it_believes_it() {
    let world = World::new();
    world.prepared("job", 2, 3);
    assert_eq!(run(&world, &[]).0, 0);
    let whole = std::fs::read(world.path("cardwright.db")).unwrap();
    let changed = |sql: &str| {
        for more in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(world.path(&format!("cardwright.db{more}")));
        }
        std::fs::write(world.path("cardwright.db"), &whole).unwrap();
        let shell = Command::new("sqlite3").arg(world.path("cardwright.db")).arg(sql).output().unwrap();
        assert!(shell.status.success(), "{}", String::from_utf8_lossy(&shell.stderr));
    };
    let read = |words: &str| {
        let begun = Instant::now();
        let ended = world.cardwright(&words.split(' ').collect::<Vec<_>>());
        assert!(begun.elapsed() < Duration::from_secs(20), "{words} hung");
        ended
    };
    let readers = ["job list", "job show J1", "job report J1", "card show J1 all", "log", "stock show"];
    let endless = "WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n) SELECT";
    changed(&format!("ALTER TABLE job RENAME TO hidden; CREATE VIEW job AS {endless} id, * FROM n, hidden;"));
    for words in readers.into_iter().chain(["audit verify", "audit export"]) {
        let ended = read(words);
        assert_eq!(ended.code, LEDGER, "{words}: {}{}", ended.stdout, ended.stderr);
        assert!(ended.stderr.contains("schema"), "{words}: {}", ended.stderr);
    }
    changed("UPDATE job SET product = hex(zeroblob(100000000))");
    for words in ["job list", "job show J1"] {
        let ended = read(words);
        assert!(ended.code != 0 && ended.stdout.len() + ended.stderr.len() < 100_000, "{words}");
    }
    // ESC, the CSI of one character, and a carriage return.
    changed("UPDATE job SET product = 'a' || char(27) || '[2J' || char(155) || '31m' || char(13) || 'b'");
    for words in ["job list", "job show J1", "job show J1 --json"] {
        let ended = read(words);
        let shown = ended.stdout + &ended.stderr;
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{words}: {shown:?}");
        assert!(shown.contains("\\u001b[2J"), "{words}: {shown:?}");
    }
    // A line whose name would be a path.
    let shipped =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/profiles/lines/sim-8.toml")).unwrap();
    std::fs::write(world.path("x.toml"), shipped.replacen("name = \"sim-8\"", "name = \"../../x\"", 1))
        .unwrap();
    let ended = world.cardwright(&["profile", "check", "x.toml"]);
    assert!(ended.code == PROFILE && ended.stderr.contains("no name"), "{}", ended.stderr);
}
