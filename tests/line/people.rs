//! Careless and malicious people: an act for two people needs two, the ledger names the people who did it,
//! and putting back an older ledger, removing it, or editing its tables does not get around that.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::geteuid;
use serde_json::Value;

use crate::books::{Witness, number, word};
use crate::daemon::{Daemon, audited, command_on, good, left_in_line, people, refused};
use crate::faults::{accounted, settled};
use crate::support::{Ended, World};

const LEDGER: i32 = 40;
const PROFILE: i32 = 30;
const SECOND_PERSON: i32 = 48;
const DAEMON: i32 = 46;
const IO: i32 = 50;
/// A user id that is not used otherwise.
const BO: u32 = 4_200_042;

/// A second person at the same machine, with a copy of the command and access to the socket.
struct Bo {
    folder: tempfile::TempDir,
}

impl Bo {
    fn new(world: &World) -> Self {
        assert!(geteuid().is_root(), "two people take two user ids: run the tests as root");
        let folder = tempfile::tempdir().unwrap();
        let open = |path: PathBuf| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        open(folder.path().to_owned());
        std::fs::copy(env!("CARGO_BIN_EXE_cardwright"), folder.path().join("cardwright")).unwrap();
        open(folder.path().join("cardwright"));
        // Only the first person can enter the world's folder, so the socket lies in another one.
        std::os::unix::fs::symlink(folder.path().join("d.sock"), world.path("d.sock")).unwrap();
        Self { folder }
    }

    fn asks(&self, words: &str) -> Ended {
        let mut command = Command::new(self.folder.path().join("cardwright"));
        command.args(words.split(' ')).args(["--socket", "d.sock"]).current_dir(self.folder.path());
        command.env_clear().uid(BO).gid(BO);
        Ended::from(command.output().unwrap())
    }

    fn ok(&self, words: &str) -> String {
        let ended = self.asks(words);
        assert_eq!(ended.code, 0, "{words}: {}{}", ended.stdout, ended.stderr);
        ended.stdout
    }
}

/// Writes `sim-8` with this line in front.
fn line(world: &World, first: &str) {
    let shipped = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/profiles/lines/sim-8.toml"));
    std::fs::write(world.path("two.toml"), format!("{first}\n{}", shipped.unwrap())).unwrap();
}

fn two_people(world: &World, roles: &str) {
    people(world, roles);
    let mut both = std::fs::read_to_string(world.path("people.toml")).unwrap();
    both += &format!("[[person]]\nname = \"bo\"\nuid = {BO}\nroles = [{roles}]\n");
    std::fs::write(world.path("people.toml"), both).unwrap();
}

fn events(world: &World) -> Vec<Value> {
    serde_json::from_str(&world.cardwright(&["log", "--json"]).stdout).unwrap()
}

/// Who decided on each change of a job to this state, as the names of one person or two, and why.
fn who(world: &World, to: &str) -> Vec<(String, Value)> {
    let events = events(world).into_iter().filter(|e| e["to"] == to && e["seq"].is_null());
    events.map(|e| (names(&e), e["reason"].clone())).collect()
}

fn names(event: &Value) -> String {
    let both = [&event["first_person"], &event["actor"]];
    both.iter().filter_map(|name| name.as_str()).collect::<Vec<_>>().join(", ")
}

fn waits(ended: &Ended) {
    assert_eq!(ended.code, SECOND_PERSON, "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stderr.contains("takes two people"), "{}", ended.stderr);
}

#[test]
fn an_act_for_two_people_needs_two_under_every_verb() {
    let world = World::new();
    world.prepared("a", 10, 1);
    world.prepared("b", 10, 2);
    line(&world, "two_people = [\"release\", \"close\", \"cancel\"]");
    people(&world, "\"operator\", \"supervisor\"");
    let ended = refused(&mut command_on(&world, "two.toml", "0", "1"));
    assert_eq!(ended.code, PROFILE, "{}", ended.stderr);
    assert!(ended.stderr.contains("two people"), "{}", ended.stderr);

    two_people(&world, "\"operator\", \"supervisor\"");
    let bo = Bo::new(&world);
    let daemon = Daemon::start_at(&world, "two.toml", &bo.folder.path().join("d.sock"));
    daemon.ok("job submit a.cwf1");
    daemon.ok("job submit b.cwf1");
    for words in ["job release J1", "job resume J1", "job release J1"] {
        waits(&daemon.asks(words));
    }
    let shown = ["job show J1", "job list", "job report J1"].map(|words| daemon.ok(words));
    for shown in &shown[..2] {
        assert!(shown.contains("waits for a second person: release, asked for by anna"), "{shown}");
    }
    bo.ok("job resume J1");
    assert!(!daemon.ok("job show J1").contains("second person"));
    // The job does not close by itself.
    let made = daemon.until("J1", |shown| good(shown) == 10);
    assert_eq!(word(&made, "state"), "OPEN");
    waits(&bo.asks("job close J1"));
    waits(&bo.asks("job close J1"));
    daemon.ok("job close J1");
    assert_eq!(who(&world, "CLOSED"), [("bo, anna".into(), Value::Null)]);
    assert!(who(&world, "OPEN").contains(&("anna, bo".into(), Value::Null)));

    // Withdrawing all records of a job cancels it as well, so it needs two people too. A hold needs one.
    for words in ["card cancel J2 all", "job cancel J2"] {
        waits(&daemon.asks(words));
    }
    let shown = daemon.ok("job show J2");
    assert!(shown.contains("waits for a second person: cancel all, asked for by anna"), "{shown}");
    bo.ok("job hold J2");
    assert_eq!(number(&daemon.job("J2")["balance"], "queued"), 10);
    bo.ok("card cancel J2 all");
    assert_eq!(number(&daemon.job("J2")["balance"], "cancelled"), 10);
    assert!(events(&world).iter().filter(|e| e["to"] == "CANCELLED").all(|e| names(e) == "anna, bo"));
}

#[test]
fn acts_for_one_person_cannot_be_listed_for_two() {
    let world = World::new();
    for word in ["submit", "hold", "resume", "look"] {
        line(&world, &format!("two_people = [\"{word}\"]"));
        let refused = world.cardwright(&["profile", "check", "two.toml"]);
        assert_eq!(refused.code, PROFILE, "{}", refused.stderr);
        assert!(
            refused.stderr.contains(&format!("\"{word}\" is not an action for two people")),
            "{}",
            refused.stderr
        );
    }
}

#[test]
fn the_ledger_says_who_stopped_a_job() {
    let world = World::new();
    world.prepared("a", 60, 3);
    line(&world, "");
    two_people(&world, "\"supervisor\", \"operator\"");
    let bo = Bo::new(&world);
    let daemon = Daemon::start_at(&world, "two.toml", &bo.folder.path().join("d.sock"));
    daemon.ok("job submit a.cwf1");
    daemon.ok("job release J1");
    daemon.until("J1", |shown| good(shown) > 1);
    bo.ok("job hold J1");
    daemon.until("J1", |shown| shown["state"] == "HELD");
    daemon.ok("job resume J1");
    daemon.until("J1", |shown| shown["state"] == "OPEN");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ends(), Some(0));
    let held = who(&world, "HELD");
    assert_eq!(
        held,
        [
            ("anna".into(), "submitted".into()),
            ("bo".into(), "operator".into()),
            ("signal".into(), "signal".into())
        ]
    );
}

/// One person's idle connections take no connections from others.
#[test]
fn one_persons_connections_do_not_shut_others_out() {
    let world = World::new();
    line(&world, "");
    two_people(&world, "\"operator\"");
    let bo = Bo::new(&world);
    let socket = bo.folder.path().join("d.sock");
    let daemon = Daemon::start_at(&world, "two.toml", &socket);
    let idle: Vec<_> = (0..100).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    let end = std::time::Instant::now() + Duration::from_secs(10);
    let told = loop {
        let told = daemon.asks("job list");
        if told.code == DAEMON || std::time::Instant::now() > end {
            break told;
        }
    };
    assert!(told.stderr.contains("connections open already"), "{}", told.stderr);
    assert_eq!(bo.ok("job list"), "no job yet\n");
    drop(idle);
    while daemon.asks("job list").code != 0 {
        assert!(std::time::Instant::now() < end + Duration::from_secs(10));
    }
}

/// A refused client that asks late gets its answer, and no EPIPE: the daemon reads the question before it hangs up.
#[test]
fn a_refused_client_may_ask_late() {
    let late = |socket: &Path, question: &[u8]| {
        let mut stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        stream.write_all(question).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let question = b"{\"v\":2,\"request\":{\"action\":{\"action\":\"list-jobs\"}}}\n";
    let world = World::new();
    // The seventeenth connection of one person.
    people(&world, "\"operator\"");
    let daemon = Daemon::start(&world, "0", "1");
    let socket = world.path("d.sock");
    let idle: Vec<_> = (0..16).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    for _ in 0..3 {
        assert!(late(&socket, question).contains("connections open already"));
    }
    drop(idle);
    while daemon.asks("job list").code != 0 {}
    // A question that is too long: the answer comes after what was not read.
    let answer = late(&socket, &[b' '; 100_000]);
    assert!(answer.contains("at most 64 KiB"), "{answer}");
    // One that never comes ends all the same.
    let mut silent = UnixStream::connect(&socket).unwrap();
    silent.write_all(&[b' '; 70_000]).unwrap();
    let (mut said, begun) = (String::new(), std::time::Instant::now());
    silent.read_to_string(&mut said).unwrap();
    assert!(said.contains("at most 64 KiB") && begun.elapsed() < Duration::from_secs(8), "{said}");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ends(), Some(0));
    // A stranger: this process is not in the people file.
    let only_bo = format!("[[person]]\nname = \"bo\"\nuid = {BO}\nroles = [\"operator\"]\n");
    std::fs::write(world.path("people.toml"), only_bo).unwrap();
    let daemon = Daemon::start(&world, "0", "2");
    for _ in 0..3 {
        assert!(late(&socket, question).contains("refused"));
    }
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ends(), Some(0));
}

#[test]
fn the_socket_replaces_only_a_socket_and_others_cannot_write_the_people_file() {
    let world = World::new();
    people(&world, "\"operator\"");
    let before = std::fs::read(world.path("bureau.store/keys")).unwrap();
    let mut over = command_on(&world, "sim-8", "0", "1");
    let ended = refused(over.args(["--socket", "bureau.store"]));
    assert_eq!(ended.code, IO, "{}", ended.stderr);
    assert_eq!(std::fs::read(world.path("bureau.store/keys")).unwrap(), before);
    std::fs::set_permissions(world.path("people.toml"), std::fs::Permissions::from_mode(0o664)).unwrap();
    let ended = refused(&mut command_on(&world, "sim-8", "0", "1"));
    assert_eq!(ended.code, PROFILE, "{}", ended.stderr);
    assert!(ended.stderr.contains("go-w"), "{}", ended.stderr);
}

fn ledger_files(world: &World) -> [(PathBuf, PathBuf); 3] {
    ["cardwright.db", "cardwright.db-wal", "cardwright.db-lock"]
        .map(|name| (world.path(name), world.path(&format!("kept-{name}"))))
}

/// The ledger from before the release of the job is put back after the job was made and the daemon was
/// killed.
#[test]
fn an_older_ledger_after_a_kill_is_refused() {
    let world = World::new();
    world.prepared("a", 12, 4);
    people(&world, "\"operator\", \"supervisor\"");
    let mut daemon = Daemon::start(&world, "0", "1");
    daemon.ok("job submit a.cwf1");
    for (from, to) in ledger_files(&world) {
        std::fs::copy(from, to).unwrap();
    }
    daemon.ok("job release J1");
    daemon.closed("J1");
    // The last checkpoint may still be on its way to the HSM; a further request gives it time to arrive.
    daemon.ok("job show J1");
    daemon.child.kill().unwrap();
    daemon.child.wait().unwrap();
    for (to, from) in ledger_files(&world) {
        std::fs::copy(from, to).unwrap();
    }
    let _ = std::fs::remove_file(world.path("cardwright.db-shm"));
    let ended = refused(&mut command_on(&world, "sim-8", "0", "2"));
    assert_eq!(ended.code, LEDGER, "{}", ended.stderr);
    assert!(ended.stderr.contains("put back from a backup"), "{}", ended.stderr);
}

/// A daemon whose line has made the first cards of a job.
fn at_work(world: &World, cards: u32, seed: u64) -> Daemon<'_> {
    world.prepared("a", cards, seed);
    people(world, "\"operator\", \"supervisor\"");
    let daemon = Daemon::start(world, "20", "1");
    daemon.ok("job submit a.cwf1");
    daemon.ok("job release J1");
    daemon.until("J1", |shown| good(shown) > 1);
    daemon
}

#[test]
fn a_ledger_that_is_removed_under_a_running_line_stops_it() {
    let world = World::new();
    let daemon = at_work(&world, 60, 5);
    for name in ["cardwright.db", "cardwright.db-wal"] {
        std::fs::rename(world.path(name), world.path(&format!("away-{name}"))).unwrap();
    }
    assert_eq!(daemon.ends(), Some(LEDGER));
    let stacked = world.dumps().iter().filter(|d| d["fate"] == "stacked").count();
    assert!(stacked < 60, "it went on");
    // With the files put back, the next start finds the ledger as after any other stop.
    for name in ["cardwright.db", "cardwright.db-wal"] {
        std::fs::rename(world.path(&format!("away-{name}")), world.path(name)).unwrap();
    }
    let _ = std::fs::remove_file(world.path("cardwright.db-shm"));
    std::fs::remove_dir_all(world.path("dumps")).unwrap();
    let daemon = Daemon::start(&world, "0", "2");
    let held = daemon.job("J1");
    assert_eq!(word(&held, "state"), "HELD");
    assert!(good(&held) + number(&held["balance"], "unknown") >= stacked as u64, "{held}");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ends(), Some(0));
    audited(&world);
}

/// The events since the last folding are gone, and the next start reports how far the ledger had been
/// written.
#[test]
fn a_wal_that_is_emptied_under_a_running_line_stops_it() {
    let world = World::new();
    let daemon = at_work(&world, 60, 6);
    std::fs::File::options().write(true).truncate(true).open(world.path("cardwright.db-wal")).unwrap();
    assert_eq!(daemon.ends(), Some(LEDGER));
    let stacked = world.dumps().iter().filter(|d| d["fate"] == "stacked").count();
    assert!(stacked < 60, "it went on");
    let refused = world.resume("sim-8", &[]);
    assert_eq!(refused.code, LEDGER, "{}", refused.stderr);
    assert!(refused.stderr.contains("was written"), "{}", refused.stderr);
}

/// The daemon finds the loss within a second although it writes nothing, and logs the cause.
#[test]
fn a_wal_that_is_emptied_under_an_idle_daemon_ends_it() {
    let world = World::new();
    world.prepared("a", 4, 7);
    people(&world, "\"operator\", \"supervisor\"");
    let log = std::fs::File::create(world.path("log")).unwrap();
    let daemon = Daemon::logged(&world, command_on(&world, "sim-8", "0", "1").stderr(log));
    daemon.ok("job submit a.cwf1");
    std::thread::sleep(Duration::from_millis(1500));
    std::fs::File::options().write(true).truncate(true).open(world.path("cardwright.db-wal")).unwrap();
    assert_eq!(daemon.ends(), Some(LEDGER));
    let said = std::fs::read_to_string(world.path("log")).unwrap();
    assert!(said.contains("cut off"), "{said}");
}

/// A shell that folds the WAL into the file and empties it removes no events.
#[test]
fn another_program_may_fold_the_ledger_of_a_running_line() {
    let world = World::new();
    world.prepared("a", 40, 8);
    people(&world, "\"operator\", \"supervisor\"");
    let daemon = Daemon::start(&world, "20", "1");
    daemon.ok("job submit a.cwf1");
    let wal = || world.path("cardwright.db-wal").metadata().unwrap().len();
    let fold = || {
        let pragma = ["cardwright.db", "PRAGMA busy_timeout = 5000; PRAGMA wal_checkpoint(TRUNCATE);"];
        let shell = Command::new("sqlite3").args(pragma).current_dir(world.path("")).output().unwrap();
        assert!(shell.status.success(), "{}", String::from_utf8_lossy(&shell.stderr));
    };
    std::thread::sleep(Duration::from_millis(1500));
    assert!(wal() > 0);
    fold();
    assert_eq!(wal(), 0);
    daemon.ok("job release J1");
    daemon.until("J1", |shown| {
        fold();
        shown["phase"] == "COMPLETE"
    });
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ends(), Some(0));
    audited(&world);
}

/// Another program could take a new lock at that path and write to the ledger at the same time.
#[test]
fn a_lock_that_is_removed_under_a_running_line_stops_it() {
    const CARDS: u64 = 60;
    let world = World::new();
    let daemon = at_work(&world, CARDS as u32, 9);
    daemon.until("J1", |shown| good(shown) > 1 && number(&shown["balance"], "in_flight") > 1);
    std::fs::remove_file(world.path("cardwright.db-lock")).unwrap();
    let removed = std::time::SystemTime::now();
    assert_eq!(daemon.ends(), Some(LEDGER));
    left_in_line(&world);
    // A transaction may have been under way.
    let since = removed.duration_since(std::time::UNIX_EPOCH).unwrap() + Duration::from_millis(500);
    let last = events(&world).iter().map(|e| word(e, "ts")).max().unwrap();
    assert!(last < cardwright::laws::rfc3339(since.as_millis() as u64), "it went on writing: {last}");
    let first = Witness::keep(&world, 1);
    assert!((first.fate("stacked").count() as u64) < CARDS, "it went on");
    settled(&world, &first);
    let daemon = Daemon::start(&world, "0", "2");
    daemon.ok("job release J1");
    daemon.closed("J1");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ends(), Some(0));
    left_in_line(&world);
    accounted(&world, &[first, Witness::keep(&world, 2)], CARDS);
}

/// A job with another job's file, or on other terms, is not the job that was accepted.
#[test]
fn a_job_that_differs_from_the_accepted_one_is_found() {
    let world = World::new();
    // The second job is held because its card_refs were in the first.
    for (name, seed, held) in [("a", 7, 0), ("b", 8, 44)] {
        world.prepared(name, 3, seed);
        assert_eq!(world.run(&format!("{name}.cwf1"), "sim-chip-8", &["--limit", "0"]).code, held);
    }
    let whole = std::fs::read(world.path("cardwright.db")).unwrap();
    for edit in [
        "UPDATE job SET rejects_shredded = 1 - rejects_shredded WHERE id = 1",
        "UPDATE job SET records = 2 WHERE id = 1",
        "UPDATE job SET test_keys = 0 WHERE id = 1",
        "UPDATE job SET product = 'other' WHERE id = 1",
        "UPDATE job SET simulated = 0 WHERE id = 1",
        "UPDATE job SET spool = 'elsewhere' WHERE id = 1",
        "UPDATE job SET accepted = accepted + 1 WHERE id = 1",
        "UPDATE record SET card_ref = 'ANOTHER' WHERE job = 1 AND seq = 2",
        "UPDATE job SET (digest, spool, spool_key, file_id) = (SELECT randomblob(32), spool, spool_key, 'x' FROM job WHERE \
         id = 2) WHERE id = 1",
    ] {
        std::fs::write(world.path("cardwright.db"), &whole).unwrap();
        let edited = Command::new("sqlite3").arg(world.path("cardwright.db")).arg(edit).status();
        assert!(edited.expect("sqlite3: run `make setup`").success());
        let verdict = world.cardwright(&["audit", "verify", "--keys", "bureau.store"]);
        assert_eq!(verdict.code, 45, "{edit}: {}", verdict.stdout);
        assert!(verdict.stdout.contains("J1: it is not the job that was accepted"), "{}", verdict.stdout);
    }
    std::fs::write(world.path("cardwright.db"), &whole).unwrap();
    let edit = "UPDATE record SET card_ref = 'ANOTHER' WHERE job = 1 AND seq = 2";
    assert!(Command::new("sqlite3").arg(world.path("cardwright.db")).arg(edit).status().unwrap().success());
    let ended = world.resume("sim-chip-8", &[]);
    assert_eq!(ended.code, LEDGER, "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stderr.contains("record 2 of J1 otherwise"), "{}", ended.stderr);
}

/// Edited states are found when the job is resumed, even if the counts were edited to fit.
#[test]
fn edited_tables_are_found_before_a_card_is_made_of_them() {
    let world = World::new();
    world.prepared("a", 6, 6);
    let ended = world.run("a.cwf1", "sim-chip-8", &["--limit", "3"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let trigger = |table: &str| {
        format!(
            "CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table}\n    BEGIN SELECT RAISE(ABORT, 'the ledger forgets \
             nothing'); END;"
        )
    };
    let edit = "DROP TRIGGER attempt_no_delete; DELETE FROM attempt WHERE seq = 1; \
                UPDATE record SET state = 'QUEUED' WHERE seq = 1; DROP TRIGGER blank_no_delete; \
                DELETE FROM blank WHERE number = (SELECT min(number) FROM blank); \
                UPDATE balance SET good = good - 1, queued = queued + 1, blanks_good = blanks_good - 1, \
                blanks_fed = blanks_fed - 1;";
    // An edit that drops a trigger and does not restore it is found at once.
    let whole = std::fs::read(world.path("cardwright.db")).unwrap();
    let dropped = Command::new("sqlite3").arg(world.path("cardwright.db")).arg(edit).status();
    assert!(dropped.expect("sqlite3: run `make setup`").success());
    let ended = world.resume("sim-chip-8", &[]);
    assert_eq!(ended.code, LEDGER, "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stderr.contains("the trigger attempt_no_delete is missing"), "{}", ended.stderr);
    std::fs::write(world.path("cardwright.db"), whole).unwrap();
    let edit = format!("{edit}{}{}", trigger("attempt"), trigger("blank"));
    let edited = Command::new("sqlite3").arg(world.path("cardwright.db")).arg(edit).status();
    assert!(edited.expect("sqlite3: run `make setup`").success());
    let dumped = world.dumps().len();
    let ended = world.resume("sim-chip-8", &[]);
    assert_eq!(ended.code, LEDGER, "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stderr.contains("audit verify"), "{}", ended.stderr);
    assert_eq!(world.dumps().len(), dumped);
}
