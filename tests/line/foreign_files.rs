//! Files that other users or mistyped command lines put in the way: nothing is written into them, nothing is lost, and
//! no command hangs.

use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::support::World;

const IO: i32 = 50;
const LEDGER: i32 = 40;
const KEYS: i32 = 22;
const PROFILE: i32 = 30;

/// The user id of another user.
const STRANGER: u32 = 65534;

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
            "bureau.store/spools",
            "bureau.store",
        ] {
            let (code, says) = run(&world, &[option, name]);
            assert_eq!(code, IO, "{option} {name}: {says}");
            let why = if name == "bureau.store" { "is a directory" } else { "name another" };
            assert!(says.contains(why), "{says}");
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
    std::fs::create_dir(world.path("loose")).unwrap();
    mode(&world.path("loose"), 0o777);
    let (code, says) = run(&world, &["--ledger", "loose/cardwright.db"]);
    assert!(code == LEDGER && says.contains("others may write the folder"), "{code} {says}");
    mode(&world.path(""), 0o777);
    let (code, says) = run(&world, &[]);
    assert!(code == KEYS && says.contains("others may write the folder"), "{code} {says}");
    mode(&world.path(""), 0o700);
    assert_eq!(run(&world, &["--limit", "1"]).0, 0);
    mode(&world.path("cardwright.db"), 0o666);
    let ended = world.cardwright(&["card", "cancel", "J1", "all"]);
    assert!(ended.code == LEDGER && ended.stderr.contains("chmod go-w"), "{} {}", ended.code, ended.stderr);
}

/// In a folder like /tmp another user can put files next to a ledger before the ledger or its own files exist.
#[test]
fn companions_of_a_ledger_that_another_user_made_are_refused() {
    assert!(nix::unistd::geteuid().is_root(), "a file of another user: run the tests as root");
    let world = World::new();
    world.prepared("job", 2, 1);
    let mode = |name: &str, mode| {
        std::fs::set_permissions(world.path(name), PermissionsExt::from_mode(mode)).unwrap();
    };
    mode("", 0o1777);
    let path = |suffix: &str| world.path(&format!("cardwright.db{suffix}"));
    let theirs = |suffix: &str| {
        std::fs::write(path(suffix), "").unwrap();
        chown(path(suffix), Some(STRANGER), Some(STRANGER)).unwrap();
    };
    for suffix in ["-wal", "-shm", "-lock", "-journal"] {
        theirs(suffix);
        let (code, says) = run(&world, &[]);
        let named = says.contains(&format!("cardwright.db{suffix}: it belongs to another user (uid 65534)"));
        assert!(code == LEDGER && named, "{suffix}: {code} {says}");
        for left in ["", "-wal", "-shm", "-lock", "-journal"] {
            let _ = std::fs::remove_file(path(left));
        }
    }
    assert_eq!(run(&world, &["--limit", "1"]).0, 0);
    for suffix in ["-wal", "-shm", "-lock"] {
        assert_eq!(path(suffix).metadata().unwrap().permissions().mode() & 0o777, 0o600, "{suffix}");
    }
    let kept = world.path("kept");
    for suffix in ["-wal", "-shm", "-lock", "-journal"] {
        let lies = path(suffix).exists();
        if lies {
            std::fs::rename(path(suffix), &kept).unwrap();
        }
        theirs(suffix);
        for words in [&["job", "list"][..], &["card", "cancel", "J1", "all"]] {
            let ended = world.cardwright(words);
            let named = ended.stderr.contains(&format!("cardwright.db{suffix}: it belongs to another user"));
            assert!(ended.code == LEDGER && named, "{suffix} {words:?}: {} {}", ended.code, ended.stderr);
        }
        std::fs::remove_file(path(suffix)).unwrap();
        // A pipe blocks neither a reader nor a writer.
        mkfifo(&path(suffix), Mode::S_IRWXU).unwrap();
        for words in ["job list", "card cancel J1 all"] {
            let mut command = Command::new("timeout");
            command.arg("20").arg(env!("CARGO_BIN_EXE_cardwright")).args(words.split(' '));
            let ended = command.current_dir(world.path("")).output().unwrap();
            assert_eq!(ended.status.code(), Some(LEDGER), "{suffix} {words}");
        }
        std::fs::remove_file(path(suffix)).unwrap();
        if lies {
            std::fs::rename(&kept, path(suffix)).unwrap();
        }
        // SQLite itself takes the permission from an empty WAL.
        if lies && suffix != "-wal" {
            mode(&format!("cardwright.db{suffix}"), 0o620);
            let ended = world.cardwright(&["card", "cancel", "J1", "all"]);
            assert!(
                ended.code == LEDGER && ended.stderr.contains("chmod go-w"),
                "{suffix}: {}",
                ended.stderr
            );
            mode(&format!("cardwright.db{suffix}"), 0o600);
        }
    }
    let ended = world.cardwright(&["card", "cancel", "J1", "all"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
}

#[test]
fn a_folder_of_another_user_is_refused() {
    assert!(nix::unistd::geteuid().is_root(), "a folder of another user: run the tests as root");
    let world = World::new();
    world.prepared("job", 2, 1);
    std::fs::create_dir(world.path("theirs")).unwrap();
    std::fs::create_dir(world.path("theirs/bureau.store")).unwrap();
    std::fs::set_permissions(world.path("theirs/bureau.store"), PermissionsExt::from_mode(0o700)).unwrap();
    std::fs::write(world.path("theirs/people.toml"), "").unwrap();
    chown(world.path("theirs"), Some(STRANGER), Some(STRANGER)).unwrap();
    let refused = "the folder theirs belongs to another user (uid 65534)";
    let (code, says) = run(&world, &["--ledger", "theirs/cardwright.db"]);
    assert!(code == LEDGER && says.contains("belongs to another user (uid 65534)"), "{code} {says}");
    for words in [
        "key list --store theirs/bureau.store",
        "key init --test --from theirs/keys --store theirs/new.store",
        "line check sim-8 --keys theirs/bureau.store --simulate",
    ] {
        std::fs::copy(crate::support::BUREAU_KEYS, world.path("theirs/keys")).unwrap();
        let ended = world.cardwright(&words.split(' ').collect::<Vec<_>>());
        assert!(ended.code != 0, "{words}");
        assert!((ended.stdout + &ended.stderr).contains(refused), "{words}: {}", ended.stderr);
    }
    assert!(!world.path("theirs/new.store").exists() && !world.path("theirs/new.store-next").exists());
}

/// With any umask, no other user can write a file that the programs make, and only the owner can read a secret.
#[test]
fn a_loose_umask_gives_no_other_user_a_file() {
    let world = World::new();
    let loose = |program: &str, words: &str| {
        let program = Path::new(env!("CARGO_BIN_EXE_cardwright")).with_file_name(program);
        let mut shell = Command::new("sh");
        shell.args(["-c", "umask 000; exec \"$@\"", "sh"]).arg(program).args(words.split(' '));
        let ended = shell.current_dir(world.path("")).output().unwrap();
        assert!(ended.status.success(), "{words}: {}", String::from_utf8_lossy(&ended.stderr));
    };
    let keys = crate::support::ISSUER_KEYS;
    loose("cardwright-prep", &format!("key init --test --from {keys} --store own.store"));
    loose("cardwright-prep", "sample --count 2 --output own.csv");
    loose(
        "cardwright-prep",
        "run --input own.csv --product plain.toml --keys own.store --output own.cwf1 --kek 476173FF:1",
    );
    loose(
        "cardwright",
        "run own.cwf1 --line sim-8 --keys bureau.store --simulate --speed 0 --dump dumps --events e.jsonl --report r.json",
    );
    loose("cardwright", "job papers J1 --keys bureau.store --out papers");
    let mut folders = vec![world.path("")];
    let mut seen = 0;
    while let Some(path) = folders.pop() {
        let meta = path.symlink_metadata().unwrap();
        let (bits, name) = (meta.permissions().mode() & 0o777, path.display());
        assert_eq!(bits & 0o022, 0, "{name}: {bits:o}");
        let secret = ["own.store", "own.csv", "own.cwf1", "bureau.store", "cardwright.db", "papers"];
        if secret.iter().any(|word| path.strip_prefix(world.path("")).unwrap().starts_with(word)) {
            assert_eq!(bits & 0o077, 0, "{name}: {bits:o}");
        }
        seen += 1;
        if meta.is_dir() {
            folders.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    assert!(seen > 20, "{seen}");
}

/// The next file of the keys of spools was made by another user first, as a link to that user's own file.
#[test]
fn keys_are_never_written_into_a_file_that_lies_there() {
    let world = World::new();
    world.prepared("job", 2, 1);
    for name in ["bureau.store/spools-next", "cardwright.db-new"] {
        std::fs::write(world.path("theirs"), "before").unwrap();
        symlink(world.path("theirs"), world.path(name)).unwrap();
    }
    assert_eq!(run(&world, &[]).0, 0);
    assert_eq!(std::fs::read_to_string(world.path("theirs")).unwrap(), "before");
}

/// A file's name from outside can neither begin a line nor give the terminal a command.
#[test]
fn a_hostile_file_name_stays_in_its_line() {
    let world = World::new();
    let name = "x\nerror: us: FAKE\r\u{1b}[2J\u{9b}31m.toml";
    std::fs::write(world.path(name), "name = 1").unwrap();
    std::fs::copy(world.path("bureau.store/keys"), world.path("x\n2026 WARN FAKE")).unwrap();
    let prep = ["run", "--input", name, "--product", "multiapp", "--keys", "issuer.store", "--output", "o"];
    for ended in [
        world.cardwright(&["profile", "check", name]),
        world.cardwright(&["run", name, "--line", name, "--keys", "bureau.store", "--simulate"]),
        world.cardwright(&["inspect", name]),
        world.cardwright(&["job", "list", "--ledger", name]),
        world.cardwright(&["line", "check", name, "--keys", "bureau.store"]),
        world.cardwright(&["job", "list", "--socket", name]),
        world.cardwright(&["key", "check", "--store", name]),
        world.cardwright(&["line", "check", "sim-8", "--keys", "x\n2026 WARN FAKE\n"]),
        world.prep(&prep),
        world.prep(&["key", "list", "--store", name]),
    ] {
        let shown = ended.stdout + &ended.stderr;
        assert!(ended.code != 0 && !shown.is_empty());
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
        assert!(
            !shown.lines().skip(1).any(|line| line.contains("FAKE") && !line.contains("\\u000a")),
            "{shown:?}"
        );
    }
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
    // ESC, the CSI of one character, a carriage return, and line ends.
    changed(
        "UPDATE job SET product = 'a' || char(27) || '[2J' || char(155) || '31m' || char(13) || 'b' || char(10) || \
         'FAKE', issuer_id = 'x' || char(8232) || char(10) || 'FAKE', file_id = char(10) || 'FAKE', line = 'l' || \
         char(10) || 'FAKE'; UPDATE record SET card_ref = char(10) || 'FAKE' || seq; UPDATE attempt SET compared = \
         char(10) || 'FAKE'",
    );
    for words in ["job report J1", "card show J1 1", "card show J1 all", "stock show", "log"] {
        let ended = read(words);
        let shown = ended.stdout + &ended.stderr;
        assert!(!shown.lines().any(|line| line.starts_with("FAKE")), "{words}: {shown:?}");
    }
    for words in ["job list", "job show J1", "job show J1 --json"] {
        let ended = read(words);
        let shown = ended.stdout + &ended.stderr;
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{words}: {shown:?}");
        assert!(shown.contains("\\u001b[2J"), "{words}: {shown:?}");
        assert!(!shown.lines().any(|line| line.starts_with("FAKE")), "{words}: {shown:?}");
    }
    // A line whose name would be a path.
    let shipped =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/profiles/lines/sim-8.toml")).unwrap();
    std::fs::write(world.path("x.toml"), shipped.replacen("name = \"sim-8\"", "name = \"../../x\"", 1))
        .unwrap();
    let ended = world.cardwright(&["profile", "check", "x.toml"]);
    assert!(ended.code == PROFILE && ended.stderr.contains("no name"), "{}", ended.stderr);
}
