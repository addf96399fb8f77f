//! Cardholder data at rest, and their deletion: no file next to the ledger holds them in clear, a spool that
//! differs from the accepted file is not used, and a deletion can be resumed at any step, by a person or by
//! the daemon.

mod refused;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::books::word;
use crate::daemon::{Daemon, audited, good, people};
use crate::support::{World, lines};

const DIGEST: i32 = 11;
const KEY_STORE: i32 = 22;
const DENIED: i32 = 42;
const NOT_AS_WRITTEN: i32 = 45;
const IO: i32 = 50;

/// Account and name of every cardholder of `NAME.csv`, the account also in groups and as BCD.
fn known(world: &World, name: &str) -> Vec<Vec<u8>> {
    let csv = fs::read_to_string(world.path(&format!("{name}.csv"))).unwrap();
    let mut lines = csv.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    let column = |name: &str| header.iter().position(|c| *c == name).unwrap();
    let (pan, holder) = (column("pan"), column("name"));
    let mut known = Vec::new();
    for line in lines {
        let fields: Vec<&str> = line.split(',').collect();
        known.extend([fields[pan], fields[holder]].map(|text| text.as_bytes().to_vec()));
        let grouped: Vec<&str> =
            fields[pan].as_bytes().chunks(4).map(|g| std::str::from_utf8(g).unwrap()).collect();
        known.push(grouped.join(" ").into_bytes());
        known.push(hex::decode(fields[pan]).unwrap());
    }
    // The search would find them, because it finds each account and name in the issuer's file.
    let file = fs::read(world.path(&format!("{name}.cwf1"))).unwrap();
    let shown = known.iter().filter(|value| file.windows(value.len()).any(|w| w == value.as_slice())).count();
    assert!(shown >= known.len() / 4, "{shown} of {}", known.len());
    known
}

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

/// Fails if any file shows the data, except the issuer's files and the witness's dumps. Returns the names of
/// the files that it read.
fn nothing_of(known: &[Vec<u8>], world: &World) -> Vec<String> {
    let mut found = Vec::new();
    files(&world.path(""), &mut found);
    let name = |path: &PathBuf| path.strip_prefix(world.path("")).unwrap().display().to_string();
    let theirs = |name: &str| {
        name.starts_with("dumps") || ["job.csv", "job.cwf1", "other.csv", "other.cwf1"].contains(&name)
    };
    let read: Vec<_> = found.iter().filter(|path| !theirs(&name(path))).collect();
    for path in &read {
        // A socket, or a file that was removed in the meantime.
        let Ok(bytes) = fs::read(path) else { continue };
        for value in known {
            let shown = bytes.windows(value.len()).any(|window| window == value);
            assert!(!shown, "{} shows {}", path.display(), String::from_utf8_lossy(value));
        }
    }
    read.into_iter().map(name).collect()
}

fn spool(world: &World) -> PathBuf {
    let mut found = Vec::new();
    files(&world.path("cardwright.db.spool"), &mut found);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

fn delete(world: &World) -> (i32, String) {
    let ended = world.cardwright(&["job", "delete", "J1", "--keys", "bureau.store", "--by", "Ada"]);
    (ended.code, ended.stdout + &ended.stderr)
}

fn genuine(world: &World, paper: &str) -> i32 {
    world.cardwright(&["audit", "document", paper]).code
}

fn keys_left(world: &World) -> usize {
    let keys = world.spool_keys();
    keys.lines().filter(|line| line.starts_with("key ")).count()
}

const CERTIFICATE: &str = "cardwright.db.papers/J1-certificate.json";

#[test]
fn deletion_comes_to_its_end_from_any_step() {
    let world = World::new();
    world.prepared("job", 6, 90);
    let known = known(&world, "job");
    assert_eq!(world.run("job.cwf1", "sim-8", &["--limit", "3"]).code, 0);
    let (code, said) = delete(&world);
    assert!(code == DENIED && said.contains("job close J1"), "{code} {said}");
    assert_eq!(world.resume("sim-8", &[]).code, 0, "the data of an open job are there");
    nothing_of(&known, &world);

    // Stopped before the key is destroyed, because a paper cannot be written.
    let block = |name: &str| fs::create_dir_all(world.path(name).join("in-the-way")).unwrap();
    let free = |name: &str| fs::remove_dir_all(world.path(name)).unwrap();
    block("cardwright.db.papers/J1-return.jsonl.part");
    assert_eq!(delete(&world).0, IO);
    assert_eq!((keys_left(&world), spool(&world).exists()), (1, true));
    free("cardwright.db.papers");
    let papers = ["job", "papers", "J1", "--keys", "bureau.store", "--out", "cardwright.db.papers"];
    assert_eq!(world.cardwright(&papers).code, 0);
    // Stopped after the key is destroyed and before the spool is removed.
    let (at, aside) = (spool(&world), world.path("aside"));
    fs::rename(&at, &aside).unwrap();
    fs::create_dir_all(at.join("in-the-way")).unwrap();
    assert_eq!(delete(&world).0, IO);
    assert_eq!(keys_left(&world), 0);
    let show = world.cardwright(&["job", "show", "J1", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&show.stdout).unwrap()["deleted"], false);
    fs::remove_dir_all(&at).unwrap();
    fs::rename(&aside, &at).unwrap();
    // The data that the key sealed are gone, even for a holder of the spool.
    let papers = world.cardwright(&["job", "papers", "J1", "--keys", "bureau.store", "--out", "late"]);
    assert!(
        papers.code == DENIED && papers.stderr.contains("destroyed"),
        "{} {}",
        papers.code,
        papers.stderr
    );
    // Stopped after the ledger's event and before the certificate.
    block(&format!("{CERTIFICATE}.part"));
    assert_eq!(delete(&world).0, IO);
    assert!(!at.exists() && !world.path(CERTIFICATE).exists());
    free(&format!("{CERTIFICATE}.part"));
    let (code, said) = delete(&world);
    assert_eq!(code, 0, "{said}");
    let certificate = fs::read(world.path(CERTIFICATE)).unwrap();
    assert_eq!(genuine(&world, CERTIFICATE), 0);
    let (code, said) = delete(&world);
    assert!(code == 0 && said.contains("before"), "{said}");
    assert_eq!(fs::read(world.path(CERTIFICATE)).unwrap(), certificate);

    let says: Value = serde_json::from_slice(&certificate).unwrap();
    assert_eq!(
        (word(&says, "job"), word(&says, "by")),
        ("J1".into(), format!("Ada (uid {})", nix::unistd::geteuid()))
    );
    assert!(says["spool_key"].is_string() && word(&says, "limits").contains("flash"));
    let log = world.cardwright(&["log", "--json"]);
    let events: Vec<Value> = serde_json::from_str(&log.stdout).unwrap();
    let deleted: Vec<_> = events.iter().filter(|e| e["to"] == "DELETED").collect();
    assert_eq!(
        (deleted.len(), &deleted[0]["n"], &deleted[0]["from"]),
        (1, &says["event"], &Value::from("DELETING"))
    );
    audited(&world);
    let read = nothing_of(&known, &world);
    assert!(read.iter().any(|name| name == "cardwright.db"), "{read:?}");
    // Deleted data stay deleted, and every answer says so.
    for (words, what) in [(["job", "show", "J1"], "deleted"), (["job", "report", "J1"], "deleted")] {
        let ended = world.cardwright(&words);
        assert!(ended.code == 0 && ended.stdout.contains(what), "{words:?} {}", ended.stdout);
    }
    assert!(world.cardwright(&["job", "list"]).stdout.contains("data deleted"));
    let resumed = world.resume("sim-8", &[]);
    assert!(
        resumed.code == DENIED && resumed.stderr.contains("deleted"),
        "{} {}",
        resumed.code,
        resumed.stderr
    );
    let with_data = lines(&world.path("cardwright.db.papers/J1-return.jsonl"));
    assert!(
        with_data[0]["deleted"] == false
            && with_data[0]["fulfilment_data"] == "as accepted"
            && with_data[1]["fulfilment"]["stock"].is_string(),
        "{}",
        with_data[1]
    );
    let late = world.cardwright(&["job", "papers", "J1", "--keys", "bureau.store", "--out", "late"]);
    assert_eq!(late.code, 0, "{}", late.stderr);
    let without = lines(&world.path("late/J1-return.jsonl"));
    assert_eq!(without[0]["fulfilment_data"], "deleted");
    assert!(without[0]["deleted"] == true && without[1]["fulfilment"]["stock"].is_null(), "{}", without[1]);
    assert_eq!(
        (&without[1]["blank"], &without[1]["outcome"]),
        (&with_data[1]["blank"], &with_data[1]["outcome"])
    );
    // A certificate that was changed to name another job is not genuine.
    let changed = String::from_utf8(certificate).unwrap().replace("\"J1\"", "\"J2\"");
    fs::write(world.path(CERTIFICATE), changed).unwrap();
    assert_eq!(genuine(&world, CERTIFICATE), NOT_AS_WRITTEN);
}

/// A missing key counts as destroyed, but the certificate does not claim that it was destroyed now. A key
/// that cannot be read stops the deletion.
#[test]
fn a_job_whose_key_was_lost_is_deleted_and_the_certificate_says_so() {
    let world = World::new();
    world.prepared("job", 4, 96);
    world.prepared("other", 4, 97);
    assert_eq!(world.run("job.cwf1", "sim-8", &[]).code, 0);
    let keys = world.path("bureau.store/spools");
    let of_first = fs::read(&keys).unwrap();
    fs::rename(world.path("dumps"), world.path("dumps-1")).unwrap();
    // Its card_refs were in the first file.
    assert_eq!(world.run("other.cwf1", "sim-8", &[]).code, 44);
    let line = ["--line", "sim-8", "--keys", "bureau.store", "--simulate", "--speed", "0"];
    assert_eq!(world.cardwright(&[&["job", "resume", "J2"][..], &line].concat()).code, 0);

    // A damaged key file, and another bureau's store: the deletion is refused and nothing is removed.
    fs::write(&keys, b"nothing of the sort\n").unwrap();
    let (code, said) = delete(&world);
    assert!(code == KEY_STORE && said.contains("damaged"), "{code} {said}");
    assert!(!world.path("cardwright.db.papers").exists(), "papers without what the spool says");
    world.new_store("others.store");
    let ended = world.cardwright(&["job", "delete", "J1", "--keys", "others.store"]);
    assert!(ended.code != 0, "{}", ended.stdout);
    let mut spools = Vec::new();
    files(&world.path("cardwright.db.spool"), &mut spools);
    assert_eq!(spools.len(), 2);

    // The key file is missing altogether, and then restored from the time before the second job.
    fs::remove_file(&keys).unwrap();
    let (code, said) = delete(&world);
    assert_eq!(code, 0, "{said}");
    fs::write(&keys, of_first).unwrap();
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o600)).unwrap();
    let ended = world.cardwright(&["job", "delete", "J2", "--keys", "bureau.store"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let mut spools = Vec::new();
    files(&world.path("cardwright.db.spool"), &mut spools);
    assert!(spools.is_empty(), "{spools:?}");
    for job in ["J1", "J2"] {
        let paper = format!("cardwright.db.papers/{job}-certificate.json");
        assert_eq!(genuine(&world, &paper), 0);
        let says: Value = serde_json::from_slice(&fs::read(world.path(&paper)).unwrap()).unwrap();
        let how = word(&says, "how");
        assert!(how.contains("the spool was removed"), "{how}");
        assert!(how.contains("already missing") && how.contains("nothing was destroyed"), "{how}");
        let log = world.cardwright(&["log", "--json", "--job", job]);
        let events: Vec<Value> = serde_json::from_str(&log.stdout).unwrap();
        let deleted = events.iter().find(|e| e["to"] == "DELETED").unwrap();
        assert!(word(deleted, "detail").contains("already missing"), "{deleted}");
    }
    let again = delete(&world);
    assert!(again.0 == 0 && again.1.contains("before"), "{}", again.1);
    audited(&world);
}

#[test]
fn a_spool_that_differs_from_the_accepted_file_is_not_used() {
    let world = World::new();
    world.prepared("job", 8, 91);
    world.prepared("other", 8, 92);
    assert_eq!(world.run("job.cwf1", "sim-8", &["--limit", "2"]).code, 0);
    let at = spool(&world);
    let good = fs::read(&at).unwrap();
    // Another job with the same key store.
    let more = ["--ledger", "other.db", "--limit", "2"];
    assert_eq!(world.run("other.cwf1", "sim-8", &more).code, 0);
    let mut others = Vec::new();
    files(&world.path("other.db.spool"), &mut others);
    let other = fs::read(&others[0]).unwrap();
    assert!(good.len() > 3 * 4112, "pieces to be swapped");
    let flipped = |at: usize| {
        let mut bad = good.clone();
        bad[at] ^= 1;
        bad
    };
    let piece = |n: usize| &good[21 + n * 4112..21 + (n + 1) * 4112];
    let swapped = [&good[..21], piece(1), piece(0), &good[21 + 2 * 4112..]].concat();
    let renamed = [&good[..21], &other[21..]].concat();
    let wrong = [
        ("magic", flipped(0)),
        ("name of the key", flipped(9)),
        ("first piece", flipped(30)),
        ("tag", flipped(21 + 4100)),
        ("middle", flipped(good.len() / 2)),
        ("last byte", flipped(good.len() - 1)),
        ("cut", good[..good.len() - 1].to_vec()),
        ("cut behind a piece", good[..21 + 2 * 4112].to_vec()),
        ("empty", Vec::new()),
        ("longer", [&good[..], &[0; 40]].concat()),
        ("swapped", swapped),
        ("another job's", other.clone()),
        ("another job's under this name", renamed),
        ("in the clear, of another file", fs::read(world.path("other.cwf1")).unwrap()),
    ];
    for (what, bytes) in wrong {
        fs::write(&at, bytes).unwrap();
        let ended = world.resume("sim-8", &[]);
        assert!(
            ended.code == DIGEST && ended.stderr.contains("J1"),
            "{what}: {} {}",
            ended.code,
            ended.stderr
        );
    }
    fs::write(&at, &good).unwrap();
    // A lost or a damaged key: the message names its file and its job, and the job goes on once the key is
    // back.
    let keys = world.path("bureau.store/spools");
    let kept = fs::read(&keys).unwrap();
    fs::rename(&keys, world.path("aside")).unwrap();
    let lost = world.resume("sim-8", &[]);
    assert_eq!(lost.code, KEY_STORE, "{}", lost.stderr);
    assert!(["bureau.store/spools", "J1"].iter().all(|word| lost.stderr.contains(word)), "{}", lost.stderr);
    fs::rename(world.path("aside"), &keys).unwrap();
    let mut bad = kept.clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    fs::write(&keys, &bad).unwrap();
    let damaged = world.resume("sim-8", &[]);
    assert!(
        damaged.code == KEY_STORE
            && ["damaged", "bureau.store/spools"].iter().all(|w| damaged.stderr.contains(w)),
        "{}",
        damaged.stderr
    );
    fs::write(&keys, &kept).unwrap();
    let ended = world.resume("sim-8", &[]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
}

#[test]
fn the_daemon_signs_papers_and_deletes_for_a_supervisor() {
    let world = World::new();
    people(&world, "\"operator\", \"supervisor\"");
    world.prepared("job", 30, 93);
    let known = known(&world, "job");
    let daemon = Daemon::start(&world, "20", "1");
    daemon.ok("job submit job.cwf1");
    let read = nothing_of(&known, &world);
    assert!(
        ["cardwright.db-wal", ".spool/"].iter().all(|part| read.iter().any(|n| n.contains(part))),
        "{read:?}"
    );
    daemon.denied("job papers J1 --out papers", "not closed");
    daemon.denied("job delete J1", "not closed");
    daemon.ok("job release J1");
    daemon.until("J1", |shown| good(shown) > 3);
    nothing_of(&known, &world);
    daemon.closed("J1");
    daemon.ok("job papers J1 --out papers");
    for name in ["J1-report.json", "J1-report.html", "J1-return.jsonl"] {
        assert_eq!(genuine(&world, &format!("papers/{name}")), 0, "{name}");
    }
    let report: Value =
        serde_json::from_slice(&fs::read(world.path("papers/J1-report.json")).unwrap()).unwrap();
    let calls = |kind: &str| report["hsm_calls"][kind].as_u64().unwrap_or(0);
    // One call for each card to verify its applications, and one for each of its four applications.
    assert_eq!((calls("verify"), calls("session")), (30, 120), "{}", report["hsm_calls"]);
    let labels: Vec<_> = report["keys"].as_array().unwrap().iter().map(|key| word(key, "label")).collect();
    assert!(
        labels.iter().any(|l| l.starts_with("kek")) && labels.iter().any(|l| l.starts_with("kmc")),
        "{labels:?}"
    );
    assert_eq!(report["people"][0], "anna");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ends(), Some(0));

    people(&world, "\"operator\"");
    let daemon = Daemon::start(&world, "0", "2");
    daemon.not_allowed("job delete J1", "supervisor");
    daemon.not_allowed("job papers J1 --out again", "supervisor");
    assert_eq!(keys_left(&world), 1);
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ends(), Some(0));

    people(&world, "\"supervisor\"");
    let daemon = Daemon::start(&world, "0", "3");
    assert!(daemon.ok("job delete J1 --out papers").contains("papers/J1-certificate.json"));
    assert_eq!(genuine(&world, "papers/J1-certificate.json"), 0);
    assert_eq!(daemon.job("J1")["deleted"], true);
    assert!(daemon.ok("job delete J1 --out papers").contains("before"));
    nothing_of(&known, &world);
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ends(), Some(0));
    nothing_of(&known, &world);
    assert_eq!(keys_left(&world), 0);
    audited(&world);
}

/// Everything that is known of a job, except its cardholders' data, stays the same.
#[test]
fn a_deletion_changes_nothing_but_the_data() {
    let world = World::new();
    world.prepared("job", 8, 96);
    fs::write(world.path("faults.toml"), "[[fault]]\nkind = \"stripe-misread\"\nblanks = [3, 5]\n").unwrap();
    assert_eq!(world.run("job.cwf1", "sim-8", &["--faults", "faults.toml", "--seed", "1"]).code, 4);
    for words in [&["card", "resolve", "J1", "all", "--destroyed"][..], &["card", "cancel", "J1", "all"]] {
        assert_eq!(world.cardwright(words).code, 0, "{words:?}");
    }
    let without = world.cardwright(&["job", "close", "J1"]);
    assert!(without.code == 2 && without.stderr.contains("--keys or CARDWRIGHT_KEYS"), "{}", without.stderr);
    assert!(world.cardwright(&["job", "show", "J1"]).stdout.contains("COMPLETE"));
    assert_eq!(world.cardwright(&["job", "close", "J1", "--keys", "bureau.store"]).code, 0);
    let audit = world.cardwright(&["audit", "verify", "--keys", "bureau.store"]).stdout;
    assert!(!audit.contains("Not signed"), "{audit}");
    let told = || {
        let questions: [&[&str]; 4] = [
            &["job", "show", "J1", "--json"],
            &["job", "report", "J1", "--json"],
            &["card", "show", "J1", "all", "--json"],
            &["stock", "show", "--json"],
        ];
        questions.map(|words| {
            let ended = world.cardwright(words);
            assert_eq!(ended.code, 0, "{words:?}: {}", ended.stderr);
            serde_json::from_str::<Value>(&ended.stdout).unwrap()
        })
    };
    let events =
        || -> Vec<Value> { serde_json::from_str(&world.cardwright(&["log", "--json"]).stdout).unwrap() };
    let closed = |events: &[Value]| {
        let closed: Vec<_> = events.iter().filter(|e| e["to"] == "CLOSED").map(|e| word(e, "ts")).collect();
        assert_eq!(closed.len(), 1);
        closed[0].clone()
    };
    let before = told();
    assert_eq!(before[0]["balance"]["good"], 6, "{}", before[0]);
    assert_eq!(before[0]["balance"]["cancelled"], 2, "{}", before[0]);
    let log = events();
    let (code, said) = delete(&world);
    assert_eq!(code, 0, "{said}");
    let after = events();
    let added: Vec<_> = after[log.len()..].iter().map(|event| word(event, "to")).collect();
    assert_eq!((&after[..log.len()], added), (&log[..], vec!["DELETING".to_owned(), "DELETED".to_owned()]));
    // Two further deletions have no effect.
    for _ in 0..2 {
        let (code, said) = delete(&world);
        assert!(code == 0 && said.contains("before"), "{said}");
        assert_eq!(events(), after);
        let now = told();
        for (before, now) in before.iter().zip(&now) {
            let (mut before, mut now) = (before.clone(), now.clone());
            for value in [&mut before, &mut now] {
                // The fields are in the job itself, and in the job of its report.
                for of in ["", "/job"] {
                    if let Some(fields) = value.pointer_mut(of).and_then(Value::as_object_mut) {
                        fields.remove("deleted");
                        fields.remove("deleting");
                    }
                }
            }
            assert_eq!(before, now);
        }
        assert_eq!(now[0]["deleted"], true);
    }
    // Papers give the same time of closing, whether they were written before or after the deletion.
    let closed = closed(&after);
    let late = world.cardwright(&["job", "papers", "J1", "--keys", "bureau.store", "--out", "late"]);
    assert_eq!(late.code, 0, "{}", late.stderr);
    let (early, late) = (
        lines(&world.path("cardwright.db.papers/J1-return.jsonl")),
        lines(&world.path("late/J1-return.jsonl")),
    );
    assert_eq!((word(&early[0], "closed"), word(&late[0], "closed")), (closed.clone(), closed));
    assert_eq!(early.last(), late.last(), "the counts");
    audited(&world);
}

/// Writes the shipped line with another retention time.
fn keeps(world: &World, days: u32) {
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/profiles/lines/sim-8.toml");
    let line = fs::read_to_string(shipped).unwrap();
    fs::write(world.path("line.toml"), format!("retention_days = {days}\n{line}")).unwrap();
}

#[test]
fn the_daemon_deletes_data_that_are_due() {
    let world = World::new();
    people(&world, "\"operator\", \"supervisor\"");
    world.prepared("job", 6, 94);
    let known = known(&world, "job");
    keeps(&world, 1);
    let daemon = Daemon::start_on(&world, "line.toml", "0", "1");
    daemon.ok("job submit job.cwf1");
    daemon.ok("job release J1");
    daemon.closed("J1");
    assert_eq!(daemon.job("J1")["deleted"], false);
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ends(), Some(0));
    fs::rename(world.path("dumps"), world.path("dumps-1")).unwrap();
    // The first job's data are due at the daemon's start, but their spool cannot be removed. The second job's
    // data are due as soon as it is closed.
    keeps(&world, 0);
    world.prepared("other", 4, 95);
    let spool = fs::read_dir(world.path("cardwright.db.spool")).unwrap().next().unwrap().unwrap().path();
    let aside = world.path("aside");
    fs::rename(&spool, &aside).unwrap();
    fs::create_dir(&spool).unwrap();
    let daemon = Daemon::start_on(&world, "line.toml", "0", "2");
    daemon.ok("job submit other.cwf1");
    daemon.ok("job release J2");
    daemon.closed("J2");
    // The event is written before the certificate.
    daemon.until("J2", |shown| {
        shown["deleted"] == true && world.path("cardwright.db.papers/J2-certificate.json").exists()
    });
    assert_eq!(daemon.job("J1")["deleted"], false);
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ends(), Some(0));
    // At the next start the deletion succeeds, and the certificate that is missing for the other job is made.
    fs::remove_dir(&spool).unwrap();
    fs::rename(&aside, &spool).unwrap();
    fs::remove_file(world.path("cardwright.db.papers/J2-certificate.json")).unwrap();
    let daemon = Daemon::start_on(&world, "line.toml", "0", "3");
    daemon.until("J1", |shown| {
        let certified =
            |job: &str| world.path(&format!("cardwright.db.papers/{job}-certificate.json")).exists();
        shown["deleted"] == true && certified("J1") && certified("J2")
    });
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ends(), Some(0));
    for name in ["J1-certificate.json", "J1-return.jsonl", "J2-certificate.json", "J2-report.html"] {
        let paper = format!("cardwright.db.papers/{name}");
        assert_eq!(genuine(&world, &paper), 0, "{name}");
    }
    nothing_of(&known, &world);
    assert_eq!(keys_left(&world), 0);
    audited(&world);
}
