//! Files that go with a request to the daemon: the client opens them, and they must be regular files and not
//! the ledger's own.

use std::fs::File;
use std::io::{BufReader, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::os::unix::net::UnixStream;

use cardwright::daemon::files::{FILES_MAX, send_with};
use cardwright::daemon::wire::{self, AnswerMessage, RequestMessage};
use cardwright::exit::Exit;
use cardwright::ids::JobId;
use cardwright::request::{Action, PaperName, Request};
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use serde_json::Value;

use crate::daemon::{Daemon, audited, good, people};
use crate::support::{World, lines};

const NOT_ALLOWED: i32 = 47;
const FILE_FORMAT: i32 = 10;

/// The daemon's answer to a request with these files.
fn answered(world: &World, action: Action, files: &[File]) -> AnswerMessage {
    let stream = UnixStream::connect(world.path("d.sock")).unwrap();
    let request = Request { line: None, action };
    let message = wire::line(&RequestMessage { v: wire::VERSION, request }).unwrap();
    send_with(&stream, &message, files).unwrap();
    wire::receive(&mut BufReader::new(stream), wire::ANSWER_MAX).unwrap().unwrap()
}

fn refusal(world: &World, action: Action, files: &[File]) -> String {
    answered(world, action, files).refused.expect("it was done").to_string()
}

fn submit() -> Action {
    Action::SubmitFile { name: "a.cwf1".into() }
}

/// Whether SQLite's shared lock is on the ledger's file (sqlite3 os_unix.c: 510 bytes from 0x40000002).
fn sqlite_has_it_locked(world: &World) -> bool {
    let file = File::options().read(true).write(true).open(world.path("cardwright.db")).unwrap();
    let mut asked = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0x4000_0002,
        l_len: 510,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_GETLK(&mut asked)).unwrap();
    asked.l_type != libc::F_UNLCK as libc::c_short
}

#[test]
fn only_regular_files_of_the_askers_own_are_taken() {
    let world = World::new();
    people(&world, "\"operator\"");
    let path = world.prepared("a", 3, 1);
    let daemon = Daemon::start(&world, "0", "1");
    assert!(sqlite_has_it_locked(&world));

    let (pipe, _write) = nix::unistd::pipe().unwrap();
    let folder = File::open(world.path("")).unwrap();
    let good_file = || File::open(&path).unwrap();
    for (files, why) in [
        (vec![File::from(pipe)], "no regular file"),
        (vec![folder], "it is a directory; name the file in it"),
        (vec![File::from(OwnedFd::from(UnixStream::pair().unwrap().0))], "no regular file"),
        (vec![], "0 file(s)"),
        (vec![good_file(), good_file()], "2 file(s)"),
    ] {
        let said = refusal(&world, submit(), &files);
        assert!(said.contains(why), "{why}: {said}");
    }
    // By a path and by a descriptor: no file that could be refused as an issuer's.
    let folder = File::open(world.path("")).unwrap();
    assert_eq!(answered(&world, submit(), &[folder]).refused.unwrap().exit(), Exit::Io);
    assert_eq!(daemon.asks("job submit .").code, Exit::Io as i32);
    // An action that needs no file takes none.
    let said = refusal(&world, Action::ListJobs {}, &[good_file()]);
    assert!(said.contains("1 file(s)"), "{said}");
    // More files than the kernel has room for in one message.
    let many: Vec<File> = (0..FILES_MAX + 1).map(|_| good_file()).collect();
    let stream = UnixStream::connect(world.path("d.sock")).unwrap();
    assert!(send_with(&stream, b"{}\n", &many).is_err(), "this end refuses them");
    drop(stream);
    // A file opened only for writing cannot be read: an error, and no job.
    let unreadable = File::options().write(true).open(&path).unwrap();
    let said = refusal(&world, submit(), &[unreadable]);
    assert!(said.contains("open it for reading"), "{said}");
    let said = refusal(&world, Action::ExportLedger {}, &[good_file()]);
    assert!(said.contains("open it for writing"), "{said}");
    assert_eq!(daemon.ok("job list"), "no job yet\n");

    // The daemon keeps descriptors of the ledger's own files open: SQLite's locks would end if they were
    // closed.
    for round in 0..6 {
        for name in ["cardwright.db", "cardwright.db-wal", "cardwright.db-shm"] {
            let said = refusal(&world, submit(), &[File::open(world.path(name)).unwrap()]);
            assert!(said.contains("ledger"), "{round} {name}: {said}");
            assert!(sqlite_has_it_locked(&world), "{round} {name}");
        }
    }
    // A person who sends such files again and again may send no more files at all.
    let said = refusal(&world, submit(), &[good_file()]);
    assert!(said.contains("no more files of yours"), "{said}");
    assert_eq!(daemon.asks("job submit a.cwf1").code, FILE_FORMAT);
    assert_eq!(daemon.ok("job list"), "no job yet\n");
    drop(daemon);
}

/// The position in the client's file, and changes to that file afterwards, make no difference.
#[test]
fn a_file_is_read_from_its_beginning() {
    let world = World::new();
    people(&world, "\"operator\"");
    let path = world.prepared("a", 3, 1);
    let daemon = Daemon::start(&world, "0", "1");
    let mut file = File::options().read(true).write(true).open(&path).unwrap();
    file.seek(std::io::SeekFrom::Start(77)).unwrap();
    let done = answered(&world, submit(), &[file.try_clone().unwrap()]).done;
    assert!(done.is_some());
    file.write_all_at(b"something else", 0).unwrap();
    daemon.ok("job release J1");
    daemon.until("J1", |shown| good(shown) == 3);
}

#[test]
fn an_auditor_exports_through_the_daemon() {
    let world = World::new();
    people(&world, "\"operator\"");
    world.prepared("a", 6, 2);
    let daemon = Daemon::start(&world, "0", "1");
    daemon.ok("job submit a.cwf1");
    daemon.ok("job release J1");
    daemon.until("J1", |shown| good(shown) == 6);
    assert_eq!(daemon.asks("audit export").code, NOT_ALLOWED);
    drop(daemon);
    people(&world, "\"auditor\"");
    let daemon = Daemon::start(&world, "0", "1");
    let text = daemon.ok("audit export");
    let exported: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // An export also holds the bytes that are hashed.
    let events = |rows: &[Value]| {
        let mut events: Vec<Value> = rows.iter().filter(|row| row["n"].is_u64()).cloned().collect();
        for event in &mut events {
            assert!(event.as_object_mut().unwrap().remove("body").is_some_and(|body| body.is_string()));
        }
        events
    };
    let shown: Vec<Value> = serde_json::from_str(&daemon.ok("log --json")).unwrap();
    assert_eq!(events(&exported), shown);
    assert!(exported.iter().any(|row| row["checkpoint"].is_u64()));
    // One export into a pipe whose reader stops early, and one into a file.
    let mut out = File::create(world.path("export.jsonl")).unwrap();
    out.write_all(text.as_bytes()).unwrap();
    assert_eq!(events(&lines(&world.path("export.jsonl"))), shown);
    drop(daemon);
    audited(&world);
}

/// Papers belong to the person who asks, not to the daemon's user, and a daemon that refuses leaves no papers.
#[test]
fn papers_are_the_askers() {
    let world = World::new();
    people(&world, "\"operator\", \"supervisor\"");
    world.prepared("a", 4, 3);
    let daemon = Daemon::start(&world, "0", "1");
    daemon.ok("job submit a.cwf1");
    daemon.denied("job papers J1 --out early", "not closed");
    assert!(!world.path("early").exists(), "a folder was made for no papers");
    std::fs::create_dir(world.path("mine")).unwrap();
    daemon.denied("job papers J1 --out mine", "not closed");
    assert!(world.path("mine").exists() && std::fs::read_dir(world.path("mine")).unwrap().next().is_none());
    let over = daemon.asks("job papers J1 --out a.csv");
    assert!(over.code == Exit::Io as i32 && over.stderr.contains("name a directory"), "{}", over.stderr);
    daemon.ok("job release J1");
    daemon.until("J1", |shown| good(shown) == 4);
    daemon.closed("J1");
    // A deletion with too few files for its copies is refused before anything is deleted.
    let delete = Action::DeleteData { job: JobId(1), copies: vec![PaperName::Certificate] };
    let file = File::create(world.path("certificate")).unwrap();
    let said = refusal(&world, delete, &[file]);
    assert!(said.contains("1 file(s)") && said.contains("needs 2"), "{said}");
    assert_eq!(daemon.job("J1")["deleted"], false);
    let papers = daemon.ok("job papers J1 --out papers");
    assert_eq!(papers.lines().count(), 3, "{papers}");
    let about = std::fs::metadata(world.path("papers/J1-return.jsonl")).unwrap();
    assert_eq!((about.mode() & 0o777, about.uid()), (0o600, nix::unistd::geteuid().as_raw()));
    assert_ne!(daemon.asks("job papers J1 --out papers").code, 0, "nothing is written over");
    drop(daemon);
}
