//! A ledger that was changed from outside: read-only, linked, locked by another program, without its WAL,
//! missing.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::mounts::{Disk, Kind};
use super::{LEDGER, Shell, accounted, ended, ok, settled};
use crate::books::Witness;
use crate::daemon::{Daemon, people};
use crate::support::{World, lines};

const CARDS: u32 = 8;

fn world() -> World {
    let world = World::new();
    world.prepared("job", CARDS, 36);
    world
}

fn resumed(world: &World) -> Vec<Witness> {
    let first = Witness::keep(world, 0);
    assert_eq!(world.resume("sim-8", &["--seed", "2"]).code, 0);
    vec![first, Witness::keep(world, 1)]
}

#[test]
fn on_a_read_only_file_system() {
    let mut world = world();
    let disk = Disk::mount(&mut world, Kind::Small);
    world.set("CARDWRIGHT_LEDGER", "small/cardwright.db");
    assert_eq!(world.run("job.cwf1", "sim-8", &["--limit", "2"]).code, 0);
    disk.remount(&world, "ro");
    ended(&world.resume("sim-8", &[]), LEDGER, &["small/cardwright.db", "Read-only"]);
    ok(&world, "job show J1");
    disk.remount(&world, "rw");
    for suffix in ["-wal", "-shm"] {
        std::fs::remove_file(disk.path(&format!("small/cardwright.db{suffix}"))).unwrap();
    }
    disk.remount(&world, "ro");
    // SQLite must create both files even to read.
    ended(&world.cardwright(&["job", "show", "J1"]), LEDGER, &["small/cardwright.db", "read-only"]);
    ended(&world.cardwright(&["card", "cancel", "J1", "7"]), LEDGER, &["small/cardwright.db", "ead-only"]);
    disk.remount(&world, "rw");
    accounted(&world, &resumed(&world), u64::from(CARDS));
}

#[test]
fn by_another_name_or_none() {
    let world = world();
    assert_eq!(world.run("job.cwf1", "sim-8", &["--limit", "2"]).code, 0);
    let ledgers = || {
        let names =
            std::fs::read_dir(world.path("")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.contains(".db")).count()
    };
    let made = ledgers();
    // Two names of one file would have two locks and two WALs.
    std::fs::hard_link(world.path("cardwright.db"), world.path("other.db")).unwrap();
    for name in ["cardwright.db", "other.db"] {
        ended(&world.resume("sim-8", &["--ledger", name]), LEDGER, &[name, "2 names"]);
        ended(&world.cardwright(&["job", "list", "--ledger", name]), LEDGER, &[name, "2 names"]);
    }
    std::fs::remove_file(world.path("other.db")).unwrap();
    // A symbolic link leads to the same ledger, with one lock and one WAL.
    std::os::unix::fs::symlink("cardwright.db", world.path("link.db")).unwrap();
    assert_eq!(world.resume("sim-8", &["--ledger", "link.db", "--limit", "1", "--seed", "4"]).code, 0);
    std::fs::remove_file(world.path("link.db")).unwrap();
    // The link leads to a disk that is not mounted.
    std::os::unix::fs::symlink("unmounted/cardwright.db", world.path("link.db")).unwrap();
    ended(&world.resume("sim-8", &["--ledger", "link.db"]), LEDGER, &["link.db", "mounted"]);
    std::fs::remove_file(world.path("link.db")).unwrap();
    std::fs::create_dir(world.path("unmounted")).unwrap();
    std::os::unix::fs::symlink("unmounted/cardwright.db", world.path("link.db")).unwrap();
    ended(&world.resume("sim-8", &["--ledger", "link.db"]), LEDGER, &["link.db", "mounted"]);
    std::fs::remove_file(world.path("link.db")).unwrap();
    ended(
        &world.resume("sim-8", &["--ledger", "nowhere/l.db"]),
        LEDGER,
        &["nowhere/l.db", "no such file or folder: check the path"],
    );
    std::fs::remove_dir(world.path("unmounted")).unwrap();
    assert_eq!(ledgers(), made, "something was made in passing");
    accounted(&world, &resumed(&world), u64::from(CARDS));
}

#[test]
fn while_another_program_writes_to_it() {
    let world = world();
    assert_eq!(world.run("job.cwf1", "sim-8", &["--limit", "2"]).code, 0);
    let other = Shell::open(&world, "cardwright.db", "BEGIN IMMEDIATE;\n.print locked\n", "locked");
    ended(&world.resume("sim-8", &[]), LEDGER, &["cardwright.db", "locked", "end that program"]);
    // Readers are not hindered.
    ok(&world, "job show J1");
    other.end();
    accounted(&world, &resumed(&world), u64::from(CARDS));
}

#[test]
fn without_its_wal_or_with_half_of_it() {
    let world = world();
    let mut run = world
        .command(Path::new(env!("CARGO_BIN_EXE_cardwright")))
        .args(["run", "job.cwf1", "--line", "sim-8", "--keys", "bureau.store", "--simulate", "--speed", "20"])
        .args(["--dump", "dumps", "--events", "events.jsonl"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    let events = || std::fs::read_to_string(world.path("events.jsonl")).unwrap_or_default();
    while !events().contains("WRITTEN") {
        assert!(Instant::now() < end && run.try_wait().unwrap().is_none(), "no card was written");
        std::thread::sleep(Duration::from_millis(5));
    }
    run.kill().unwrap();
    run.wait().unwrap();
    // hwsim writes the last dumps after the controller has ended.
    let out = || {
        let (fed, left): (Vec<_>, Vec<_>) =
            lines(&world.path("dumps/line.jsonl")).into_iter().partition(|l| l["what"] == "fed");
        fed.len() == left.len()
    };
    while !out() {
        assert!(Instant::now() < end, "hwsim does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
    let wal = world.path("cardwright.db-wal");
    let whole = std::fs::read(&wal).unwrap();
    assert!(!whole.is_empty());
    for cut in [None, Some(0), Some(whole.len() / 2), Some(whole.len() - 1)] {
        let _ = std::fs::remove_file(world.path("cardwright.db-shm"));
        match cut {
            None => std::fs::remove_file(&wal).unwrap(),
            Some(cut) => std::fs::write(&wal, &whole[..cut]).unwrap(),
        }
        let refused = world.resume("sim-8", &["--seed", "2"]);
        ended(&refused, LEDGER, &["-wal was removed or cut off"]);
        std::fs::write(&wal, &whole).unwrap();
    }
    let _ = std::fs::remove_file(world.path("cardwright.db-shm"));
    let first = Witness::keep(&world, 0);
    settled(&world, &first);
    assert_eq!(world.resume("sim-8", &["--seed", "2"]).code, 0);
    accounted(&world, &[first, Witness::keep(&world, 1)], u64::from(CARDS));
}

#[test]
fn of_a_name_that_sqlite_reads_as_something_else() {
    for name in [":memory:", "file:foo.db?mode=ro", "-l.db"] {
        let mut world = world();
        world.set("CARDWRIGHT_LEDGER", name);
        assert_eq!(world.run("job.cwf1", "sim-8", &["--limit", "2"]).code, 0);
        let listed = ok(&world, "job list");
        assert!(listed.contains("J1"), "{name}: {listed}");
        assert!(world.path(name).is_file());
    }
}

#[test]
fn a_ledger_that_is_submitted_as_a_file_keeps_its_locks() {
    let world = world();
    people(&world, "\"operator\", \"supervisor\"");
    let daemon = Daemon::start(&world, "0", "1");
    daemon.ok("job submit job.cwf1");
    std::os::unix::fs::symlink("cardwright.db", world.path("mine.cwf1")).unwrap();
    for name in ["cardwright.db", "cardwright.db-wal", "cardwright.db-shm", "cardwright.db-lock", "mine.cwf1"]
    {
        let refused = daemon.asks(&format!("job submit {name}"));
        assert_eq!(refused.code, 10, "{name}: {}", refused.stderr);
        assert!(refused.stderr.contains("ledger, or lies beside it"), "{name}: {}", refused.stderr);
    }
    // A backup closes the file and with it this process's locks. SQLite would then think that it is alone,
    // and remove the WAL.
    let backup = Command::new("sqlite3")
        .args(["cardwright.db", ".backup copy.db"])
        .current_dir(world.path(""))
        .status();
    assert!(backup.unwrap().success());
    daemon.ok("stock issue J1 20");
    assert!(world.path("cardwright.db-wal").exists());
    daemon.ok("job release J1");
    daemon.until("J1", |shown| shown["balance"]["good"] == CARDS);
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ends(), Some(0));
    accounted(&world, &[Witness::keep(&world, 0)], u64::from(CARDS));
}
