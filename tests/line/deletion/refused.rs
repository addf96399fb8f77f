//! Deletions that are refused before anything is destroyed: because of another file in the place of a paper,
//! another program that writes there, a spool that is not the ledger's, or edited tables. Also the messages
//! about data that were lost.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ed25519_dalek::{Signer, SigningKey};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{CERTIFICATE, IO, delete, files, genuine, keeps, keys_left, spool};
use crate::books::word;
use crate::daemon::{Daemon, audited, command_on, people};
use crate::support::{BUREAU_KEYS, World, lines};

const LEDGER: i32 = 40;
const HELD: i32 = 44;
const FOLDER: &str = "cardwright.db.papers";
const PAPERS: [&str; 3] = ["J1-report.json", "J1-report.html", "J1-return.jsonl"];

fn papers(world: &World, more: &[&str]) -> (i32, String) {
    let ended = world.cardwright(&[&["job", "papers"][..], more].concat());
    (ended.code, ended.stdout + &ended.stderr)
}

fn sql(world: &World, text: &str) {
    let ended = Command::new("sqlite3").arg(world.path("cardwright.db")).arg(text).output();
    let ended = ended.expect("sqlite3: run `make setup`");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}

fn closed(seed: u64) -> World {
    let world = World::new();
    world.prepared("job", 4, seed);
    assert_eq!(world.run("job.cwf1", "sim-8", &[]).code, 0);
    world
}

/// Refused with these words; the key, the spool and every file in the folder are still there.
fn refused(world: &World, code: i32, words: &[&str]) {
    let there = |world: &World| {
        let mut found = Vec::new();
        let folder = world.path(FOLDER);
        if folder.exists() {
            files(&folder, &mut found);
        }
        found.sort();
        found
    };
    let spools = || {
        let mut found = Vec::new();
        files(&world.path("cardwright.db.spool"), &mut found);
        found
    };
    let (keys, before, kept) = (keys_left(world), there(world), spools());
    let (ended, said) = delete(world);
    assert_eq!(ended, code, "{words:?}: {said}");
    assert!(words.iter().all(|word| said.contains(word)), "{words:?}: {said}");
    assert_eq!(keys_left(world), keys);
    assert_eq!(there(world), before, "{words:?}");
    assert_eq!(spools(), kept, "{words:?}");
}

/// Copies papers and seals them with the key of another HSM, as earlier versions sealed: ledger and text are right.
fn signed_by_another_key(from: &Path, to: &Path) {
    let key = SigningKey::from_bytes(&[7; 32]);
    let _ = fs::remove_dir_all(to);
    fs::create_dir(to).unwrap();
    for paper in PAPERS {
        let text = fs::read(from.join(paper)).unwrap();
        let seal: Value =
            serde_json::from_slice(&fs::read(from.join(format!("{paper}.sig"))).unwrap()).unwrap();
        let kind = if paper == "J1-return.jsonl" { 2 } else { 1 };
        let ledger = hex::decode(seal["ledger"].as_str().unwrap()).unwrap();
        let message = [&b"CWAD1"[..], &[kind], &ledger, &Sha256::digest(&text)].concat();
        let seal = json!({
            "document": seal["document"], "ledger": seal["ledger"], "sha256": seal["sha256"],
            "audit_key": hex::encode_upper(key.verifying_key().to_bytes()),
            "signature": hex::encode_upper(key.sign(&message).to_bytes()),
        });
        fs::write(to.join(paper), text).unwrap();
        fs::write(to.join(format!("{paper}.sig")), seal.to_string()).unwrap();
    }
}

#[test]
fn other_files_are_not_taken_for_the_jobs_papers() {
    let world = closed(101);
    world.prepared("other", 4, 102);
    fs::rename(world.path("dumps"), world.path("dumps-1")).unwrap();
    // Papers of the next job of this ledger, and of the first job of a new ledger.
    assert_eq!(world.run("other.cwf1", "sim-8", &[]).code, HELD);
    let line = ["--line", "sim-8", "--keys", "bureau.store", "--simulate", "--speed", "0"];
    assert_eq!(world.cardwright(&[&["job", "resume", "J2"][..], &line].concat()).code, 0);
    world.prepared("third", 4, 103);
    assert_eq!(world.run("third.cwf1", "sim-8", &["--ledger", "anew.db"]).code, 0);
    let made = |job: &str, keys: &str, ledger: &str, out: &str| {
        let (code, said) = papers(&world, &[job, "--keys", keys, "--ledger", ledger, "--out", out]);
        assert_eq!(code, 0, "{said}");
    };
    made("J1", "bureau.store", "cardwright.db", "good");
    made("J2", "bureau.store", "cardwright.db", "next");
    made("J1", "bureau.store", "anew.db", "anew");
    // Another HSM that has the key of the spool: it has not seen the ledger, and signs nothing.
    let list = fs::read_to_string(BUREAU_KEYS).unwrap();
    let audit = format!("cardwright audit book 1\ngeneration 0\nseed {}\n", "07".repeat(32));
    world.store_of("others.store", &list, &audit, &world.spool_keys());
    let (code, said) = papers(&world, &["J1", "--keys", "others.store", "--out", "others"]);
    assert!(code == LEDGER && said.contains("has not seen that J1 was closed"), "{code}: {said}");
    signed_by_another_key(&world.path("good"), &world.path("others"));

    let lies = |name: &str| world.path(FOLDER).join(name);
    let anew = || {
        let _ = fs::remove_dir_all(world.path(FOLDER));
        fs::create_dir(world.path(FOLDER)).unwrap();
    };
    let put = |from: &str, paper: &str| {
        for suffix in ["", ".sig"] {
            fs::copy(world.path(&format!("{from}{suffix}")), lies(&format!("{paper}{suffix}"))).unwrap();
        }
    };
    for paper in PAPERS {
        let (_, name) = paper.split_once('-').unwrap();
        let other = if paper == "J1-return.jsonl" { "J1-report.json" } else { "J1-return.jsonl" };
        let wrong: [(&str, &dyn Fn()); 7] = [
            ("J1-", &|| fs::write(lies(paper), "junk").unwrap()),
            ("no file", &|| fs::create_dir(lies(paper)).unwrap()),
            ("no file", &|| symlink(world.path("good").join(paper), lies(paper)).unwrap()),
            ("of the ledger", &|| put(&format!("anew/{paper}"), paper)),
            ("it is of ", &|| put(&format!("next/J2-{name}"), paper)),
            ("audit key", &|| put(&format!("others/{paper}"), paper)),
            ("another kind", &|| put(&format!("good/{other}"), paper)),
        ];
        for (word, lay) in wrong {
            anew();
            lay();
            refused(&world, IO, &[word, paper, "move it away", "--out"]);
        }
        anew();
        put(&format!("good/{paper}"), paper);
        let mut bad = fs::read(lies(paper)).unwrap();
        let middle = bad.len() / 2;
        bad[middle] ^= 1;
        fs::write(lies(paper), bad).unwrap();
        refused(&world, IO, &["not what was signed", paper, "move it away"]);
    }
    anew();
    fs::write(world.path(CERTIFICATE), "junk").unwrap();
    refused(&world, IO, &["J1-certificate.json", "move it away"]);

    // The job's own papers are left alone, and missing ones are written.
    anew();
    put("good/J1-return.jsonl", "J1-return.jsonl");
    let kept = fs::read(lies("J1-return.jsonl")).unwrap();
    let (code, said) = delete(&world);
    assert_eq!(code, 0, "{said}");
    assert_eq!(fs::read(lies("J1-return.jsonl")).unwrap(), kept);
    for paper in PAPERS.into_iter().chain(["J1-certificate.json"]) {
        assert_eq!(genuine(&world, &format!("{FOLDER}/{paper}")), 0, "{paper}");
    }
    // A file that is no certificate is not taken for one either.
    fs::write(world.path(CERTIFICATE), "junk").unwrap();
    let (code, said) = delete(&world);
    assert!(code == IO && said.contains("move it away"), "{said}");
    fs::remove_file(world.path(CERTIFICATE)).unwrap();
    assert_eq!(delete(&world).0, 0);
    assert_eq!(genuine(&world, CERTIFICATE), 0);
    audited(&world);
}

#[test]
fn two_programs_do_not_write_papers_in_one_place() {
    let world = closed(104);
    fs::create_dir(world.path(FOLDER)).unwrap();
    // The files that the other program has written so far.
    let theirs = ["J1-report.json", "J1-report.json.sig", "J1-report.html.part"];
    theirs.iter().for_each(|name| fs::write(world.path(FOLDER).join(name), "theirs").unwrap());
    let folder = File::open(world.path(FOLDER)).unwrap();
    let other = Flock::lock(folder, FlockArg::LockExclusiveNonblock).unwrap();
    let words = ["another program writes papers there", "try again", FOLDER];
    refused(&world, IO, &words);
    let (code, said) = papers(&world, &["J1", "--keys", "bureau.store", "--out", FOLDER]);
    assert!(code == IO && words.iter().all(|word| said.contains(word)), "{code} {said}");
    for name in theirs {
        assert_eq!(fs::read(world.path(FOLDER).join(name)).unwrap(), b"theirs", "{name}");
        fs::remove_file(world.path(FOLDER).join(name)).unwrap();
    }
    other.unlock().unwrap();
    assert_eq!(papers(&world, &["J1", "--keys", "bureau.store", "--out", FOLDER]).0, 0);
    let (code, said) = delete(&world);
    assert_eq!(code, 0, "{said}");
}

#[test]
fn only_the_ledgers_own_spool_is_removed() {
    let world = closed(105);
    let at = spool(&world);
    let name = |path: &Path| path.display().to_string();
    let names = |path: &str| sql(&world, &format!("UPDATE job SET spool = '{path}'"));
    let victim = world.path("victim");
    fs::write(&victim, "of somebody").unwrap();
    fs::create_dir(world.path("cardwright.db.spool/below")).unwrap();
    fs::rename(&at, world.path("aside")).unwrap();
    let below = world.path("cardwright.db.spool/below").join(at.file_name().unwrap());
    fs::copy(world.path("aside"), &below).unwrap();
    for path in [&name(&victim), &name(&below), "victim", "/", ""] {
        names(path);
        refused(&world, LEDGER, &["J1", "audit verify"]);
    }
    fs::remove_dir_all(world.path("cardwright.db.spool/below")).unwrap();
    names(&name(&at));
    symlink(&victim, &at).unwrap();
    refused(&world, LEDGER, &["J1", "audit verify", "symbolic link"]);
    fs::remove_file(&at).unwrap();
    fs::rename(world.path("aside"), &at).unwrap();
    assert_eq!(fs::read(&victim).unwrap(), b"of somebody");

    // The ledger is moved with all its files, and then reached by a link.
    fs::create_dir(world.path("there")).unwrap();
    for entry in fs::read_dir(world.path("")).unwrap() {
        let entry = entry.unwrap().file_name().into_string().unwrap();
        if entry.starts_with("cardwright.db") {
            fs::rename(world.path(&entry), world.path("there").join(&entry)).unwrap();
        }
    }
    symlink(world.path("there"), world.path("link")).unwrap();
    symlink(world.path("link/cardwright.db"), world.path("by.db")).unwrap();
    let ended = world.cardwright(&[
        "job",
        "delete",
        "J1",
        "--keys",
        "bureau.store",
        "--ledger",
        "by.db",
        "--out",
        "out",
    ]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(!ended.stdout.contains("not there"), "{}", ended.stdout);
    assert_eq!(fs::read_dir(world.path("there/cardwright.db.spool")).unwrap().count(), 0);
    let returned = lines(&world.path("out/J1-return.jsonl"));
    assert_eq!(returned[0]["fulfilment_data"], "as accepted");
    assert!(returned[1]["fulfilment"]["stock"].is_string());
    assert_eq!(keys_left(&world), 0);
}

#[test]
fn papers_that_contradict_the_events_are_not_signed() {
    let world = closed(106);
    let change = "UPDATE record SET state = 'CANCELLED' WHERE seq = 2; \
                  UPDATE balance SET good = good - 1, cancelled = cancelled + 1;";
    sql(&world, change);
    refused(&world, LEDGER, &["differ from its events", "audit verify"]);
    let (code, said) = papers(&world, &["J1", "--keys", "bureau.store", "--out", "papers"]);
    assert!(code == LEDGER && said.contains("differ from its events"), "{code} {said}");
    assert!(!world.path("papers").exists() && !world.path(FOLDER).exists());
    let back = "UPDATE record SET state = 'GOOD' WHERE seq = 2; \
                UPDATE balance SET good = good + 1, cancelled = cancelled - 1;";
    sql(&world, back);
    assert_eq!(papers(&world, &["J1", "--keys", "bureau.store", "--out", "papers"]).0, 0);
    assert_eq!(delete(&world).0, 0);
    // The certificate of a deletion is checked against the events as well.
    sql(&world, change);
    fs::remove_file(world.path(CERTIFICATE)).unwrap();
    let (code, said) = delete(&world);
    assert!(code == LEDGER && !world.path(CERTIFICATE).exists(), "{said}");
}

/// A daemon whose log goes into a file of this name.
fn logged<'a>(world: &'a World, line: &str, name: &str) -> Daemon<'a> {
    let log = File::create(world.path(name)).unwrap();
    Daemon::logged(world, command_on(world, line, "0", "1").stderr(Stdio::from(log)))
}

fn until_logged(world: &World, name: &str, word: &str) {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let log = fs::read_to_string(world.path(name)).unwrap();
        if log.contains(word) {
            return;
        }
        assert!(Instant::now() < end, "{word}: {log}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn ended(daemon: Daemon<'_>) {
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ends(), Some(0));
}

#[test]
fn unreadable_data_are_deleted_only_by_a_person_who_is_warned() {
    let world = closed(107);
    people(&world, "\"supervisor\"");
    keeps(&world, 0);
    let by_person = "a supervisor has it deleted as it is";
    let untouched = |daemon: &Daemon<'_>| assert_eq!(daemon.job("J1")["deleted"], false);
    // Another file lies in the place of a paper.
    fs::create_dir(world.path(FOLDER)).unwrap();
    let junk = world.path(FOLDER).join("J1-return.jsonl");
    fs::write(&junk, "junk").unwrap();
    let daemon = logged(&world, "line.toml", "log-1");
    until_logged(&world, "log-1", "move it away");
    untouched(&daemon);
    ended(daemon);
    fs::remove_file(&junk).unwrap();
    // First the keys cannot be read, then the spool.
    let keys = world.path("bureau.store/spools");
    fs::rename(&keys, world.path("aside")).unwrap();
    let daemon = logged(&world, "line.toml", "log-2");
    until_logged(&world, "log-2", by_person);
    untouched(&daemon);
    ended(daemon);
    fs::rename(world.path("aside"), &keys).unwrap();
    let at = spool(&world);
    let good = fs::read(&at).unwrap();
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    fs::write(&at, bad).unwrap();
    let daemon = logged(&world, "line.toml", "log-3");
    until_logged(&world, "log-3", by_person);
    untouched(&daemon);
    assert_eq!(keys_left(&world), 1);
    fs::remove_file(&at).unwrap();
    let said = daemon.ok("job delete J1");
    for word in ["no fulfilment data", "cannot be read", "spool was not there any more", "are deleted"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    ended(daemon);
    let returned = lines(&world.path(FOLDER).join("J1-return.jsonl"));
    assert_eq!(
        (&returned[0]["fulfilment_data"], &returned[0]["deleted"]),
        (&Value::from("not readable"), &Value::from(false))
    );
    assert!(returned[1]["fulfilment"]["stock"].is_null());
    let read = |name: &str| fs::read_to_string(world.path(FOLDER).join(name)).unwrap();
    assert!(read("J1-report.html").contains("not readable any more"));
    let report: Value = serde_json::from_str(&read("J1-report.json")).unwrap();
    assert_eq!(report["fulfilment_data"], "not readable");
    let certificate: Value = serde_json::from_str(&read("J1-certificate.json")).unwrap();
    let how = word(&certificate, "how");
    assert!(how.contains("destroyed") && how.contains("spool was not there any more"), "{how}");
    assert!(!how.contains("the spool was removed"), "{how}");
    audited(&world);
}

/// Papers that could say more, now that the lost data are back, must be made again.
#[test]
fn papers_without_data_that_came_back_are_refused() {
    let world = closed(108);
    let mut kept = vec![spool(&world)];
    for folder in ["", "bureau.store"] {
        let paths = fs::read_dir(world.path(folder)).unwrap().map(|entry| entry.unwrap().path());
        kept.extend(paths.filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            path.is_file() && (name.starts_with("cardwright.db") || folder == "bureau.store")
        }));
    }
    let kept: Vec<_> = kept.into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect();
    fs::remove_file(world.path("bureau.store/spools")).unwrap();
    let (code, said) = delete(&world);
    assert!(code == 0 && said.contains("already missing") && said.contains("no fulfilment data"), "{said}");
    // Everything is as it was before, except for the papers.
    for (bytes, path) in kept {
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    fs::remove_file(world.path(CERTIFICATE)).unwrap();
    refused(&world, IO, &["J1-return.jsonl", "could not be read, and now they can"]);
    for suffix in ["", ".sig"] {
        fs::remove_file(world.path(&format!("{FOLDER}/J1-return.jsonl{suffix}"))).unwrap();
    }
    let (code, said) = delete(&world);
    assert_eq!(code, 0, "{said}");
    assert_eq!(lines(&world.path(FOLDER).join("J1-return.jsonl"))[0]["fulfilment_data"], "as accepted");
}

#[test]
fn the_certificate_reports_a_changed_spool() {
    let world = closed(108);
    let at = spool(&world);
    let mut bad = fs::read(&at).unwrap();
    *bad.last_mut().unwrap() ^= 1;
    fs::write(&at, bad).unwrap();
    let ended = world.cardwright(&["job", "delete", "J1", "--keys", "bureau.store"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let certificate = fs::read_to_string(world.path(FOLDER).join("J1-certificate.json")).unwrap();
    let how = word(&serde_json::from_str(&certificate).unwrap(), "how");
    assert!(how.contains("did not read as what was accepted"), "{how}");
}
