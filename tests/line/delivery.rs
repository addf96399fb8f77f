//! Sealed files from the issuer to the bureau. The `age` program, another implementation of the format, opens what is sealed
//! here and seals what is opened here.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use cardwright::exit::Exit;
use cardwright::hsm::store::CompanionKind;
use serde_json::Value;

use crate::daemon::{Daemon, people};
use crate::support::World;

/// The recipient of a store of the bureau.
fn recipient(world: &World, store: &str) -> String {
    let made = world.cardwright(&["key", "recipient", "--store", store]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let word = made.stdout.trim().to_owned();
    assert!(word.starts_with("age1") && word.len() == 62, "{word}");
    word
}

/// Makes `count` cards as a file that is sealed to these recipients. Returns its path and the issuer's summary.
fn sealed(world: &World, name: &str, count: &str, recipients: &[&str]) -> (PathBuf, Value) {
    let (csv, file) = (format!("{name}.csv"), format!("{name}.age"));
    let made = world.prep(&["sample", "--count", count, "--output", &csv]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let run = [
        "run",
        "--input",
        &csv,
        "--product",
        "plain.toml",
        "--keys",
        "issuer.store",
        "--output",
        &file,
        "--json",
    ];
    let to = recipients.iter().flat_map(|recipient| ["--recipient", recipient]).collect::<Vec<_>>();
    let made = world.prep(&[&run[..], &to].concat());
    assert_eq!(made.code, 0, "{}", made.stderr);
    (world.path(&file), serde_json::from_str(&made.stdout).unwrap())
}

/// Runs the `age` program or `age-keygen`, and returns what it printed.
pub fn age(program: &str, arguments: &[&str]) -> Vec<u8> {
    let ended = Command::new(program).args(arguments).output().expect("age: run `make setup`");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    ended.stdout
}

#[test]
fn a_sealed_file_is_inspected_and_made_like_a_bare_one() {
    let world = World::new();
    let to = recipient(&world, "bureau.store");
    let (path, summary) = sealed(&world, "a", "3", &[&to]);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(summary["recipients"], serde_json::json!([to]));
    let bytes = std::fs::read(&path).unwrap();
    assert!(bytes.starts_with(b"age-encryption.org/v1\n") && !bytes.windows(4).any(|bytes| bytes == b"CWF1"));

    let inspected = world.cardwright(&["inspect", "a.age", "--keys", "bureau.store", "--json"]);
    assert_eq!(inspected.code, 0, "{}", inspected.stderr);
    let report: Value = serde_json::from_str(&inspected.stdout).unwrap();
    let digest = summary["sha256"].as_str().unwrap().to_uppercase();
    assert_eq!((&report["sha256"], &report["size"]), (&Value::from(digest), &summary["bytes"]));
    let checked = world.cardwright(&["inspect", "a.age", "--keys", "bureau.store", "--line", "sim-8"]);
    assert_eq!(checked.code, 0, "{}", checked.stderr);

    let made = world.run("a.age", "sim-8", &[]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    assert_eq!(world.dumps().len(), 3);
}

#[test]
fn sealed_twice_for_different_recipients_it_is_the_same_job() {
    let world = World::new();
    world.new_store("other.store");
    let (own, other) = (recipient(&world, "bureau.store"), recipient(&world, "other.store"));
    assert_ne!(own, other);
    assert_eq!(recipient(&world, "bureau.store"), own, "it stays");
    let bare = world.prepared("a", 2, 1);
    let bare = bare.to_str().unwrap();
    for (to, name) in [(&own, "own.age"), (&other, "other.age")] {
        age("age", &["-r", to, "-o", world.path(name).to_str().unwrap(), bare]);
    }
    assert_eq!(world.run("own.age", "sim-8", &[]).code, 0, "sealed by the `age` program");
    for file in ["own.age", bare] {
        let again = world.run(file, "sim-8", &[]);
        assert_eq!(again.code, Exit::FileSeen as i32, "{}", again.stderr);
    }
    // Not this bureau's, so it is not known what it is.
    assert_eq!(world.run("other.age", "sim-8", &[]).code, Exit::KeyUnknown as i32);
    let opened = world.cardwright(&["inspect", "other.age", "--keys", "other.store"]);
    assert_eq!(opened.code, 0, "{}", opened.stderr);
}

#[test]
fn the_age_program_opens_what_is_sealed_here() {
    let world = World::new();
    let identity = world.path("identity");
    let identity = identity.to_str().unwrap();
    age("age-keygen", &["-o", identity]);
    let theirs = String::from_utf8(age("age-keygen", &["-y", identity])).unwrap();
    let ours = recipient(&world, "bureau.store");
    let (path, summary) = sealed(&world, "a", "3", &[&ours, theirs.trim()]);
    let clear = age("age", &["-d", "-i", identity, path.to_str().unwrap()]);
    assert_eq!(summary["bytes"], clear.len());
    std::fs::write(world.path("clear.cwf1"), clear).unwrap();
    let inspected = world.cardwright(&["inspect", "clear.cwf1", "--keys", "bureau.store", "--json"]);
    let report: Value = serde_json::from_str(&inspected.stdout).unwrap();
    assert_eq!(report["sha256"].as_str().unwrap().to_lowercase(), summary["sha256"]);
    assert_eq!(world.cardwright(&["inspect", "a.age", "--keys", "bureau.store"]).code, 0);
}

#[test]
fn the_daemon_takes_a_sealed_file() {
    let world = World::new();
    people(&world, "\"operator\"");
    let to = recipient(&world, "bureau.store");
    sealed(&world, "a", "3", &[&to]);
    let daemon = Daemon::start(&world, "0", "1");
    let submitted = daemon.asks("job submit a.age");
    assert_eq!(submitted.code, 0, "{}", submitted.stderr);
    let spools: Vec<_> = std::fs::read_dir(world.path("cardwright.db.spool")).unwrap().collect();
    assert_eq!(spools.len(), 1);
    let spool = std::fs::read(spools[0].as_ref().unwrap().path()).unwrap();
    assert!(!spool.windows(8).any(|bytes| bytes == b"TESTBANK"), "no clear copy");
}

#[test]
fn what_is_wrong_with_a_sealed_file_has_words_and_an_exit_code_and_leaves_nothing() {
    let world = World::new();
    let to = recipient(&world, "bureau.store");
    let (path, _) = sealed(&world, "a", "120", &[&to]);
    let whole = std::fs::read(&path).unwrap();
    assert!(whole.len() > 2 * (64 << 10), "several pieces");
    let payload = whole.windows(5).position(|bytes| bytes == b"\n--- ").unwrap() + 5 + 43 + 1 + 16;
    let changed = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let cases = [
        (whole[..payload + (64 << 10) + 16].to_vec(), Exit::FileFormat, "the sealed file is cut short"),
        (whole[..whole.len() - 1].to_vec(), Exit::FileDigest, "a piece of the sealed file does not open"),
        (whole[..40].to_vec(), Exit::FileFormat, "the head of the sealed file is malformed"),
        (changed(payload + 70_000), Exit::FileDigest, "a piece of the sealed file does not open"),
        (changed(payload - 30), Exit::FileFormat, "the head of the sealed file is malformed"),
        ([&whole[..], b"\n"].concat(), Exit::FileDigest, "a piece of the sealed file does not open"),
    ];
    for (bytes, exit, words) in cases {
        std::fs::write(world.path("wrong.age"), bytes).unwrap();
        for ended in [
            world.cardwright(&["inspect", "wrong.age", "--keys", "bureau.store"]),
            world.run("wrong.age", "sim-8", &[]),
        ] {
            assert_eq!(ended.code, exit as i32, "{words}: {}", ended.stderr);
            assert!(
                ended.stderr.contains(words) && ended.stderr.contains("ask the issuer"),
                "{}",
                ended.stderr
            );
        }
    }
    let keyless = world.cardwright(&["inspect", "a.age"]);
    assert_eq!(keyless.code, Exit::KeyUnknown as i32);
    assert!(keyless.stderr.contains("name the key store"), "{}", keyless.stderr);
    world.new_store("other.store");
    let none = world.cardwright(&["inspect", "a.age", "--keys", "other.store"]);
    assert_eq!(none.code, Exit::KeyUnknown as i32);
    assert!(none.stderr.contains("has no recipient's key"), "{}", none.stderr);
    let other = recipient(&world, "other.store");
    let wrong = world.cardwright(&["inspect", "a.age", "--keys", "other.store"]);
    assert_eq!(wrong.code, Exit::KeyUnknown as i32);
    assert!(wrong.stderr.contains(&other), "{}", wrong.stderr);
    let jobs = world.cardwright(&["job", "list"]);
    assert!(!jobs.stdout.contains("J1"), "{}", jobs.stdout);
    let left = std::fs::read_dir(world.path("cardwright.db.spool")).unwrap().count();
    assert_eq!(left, 0, "a refused file leaves nothing");
}

#[test]
fn the_key_of_a_recipient_is_private_and_a_damaged_one_is_refused() {
    let world = World::new();
    recipient(&world, "bureau.store");
    let path = world.path("bureau.store/recipient");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let (sealed, text) =
        (std::fs::read(&path).unwrap(), world.companion("bureau.store", CompanionKind::Recipient));
    let listed = world.cardwright(&["key", "list", "--store", "bureau.store"]);
    assert!(text.contains("AGE-SECRET-KEY-1") && !listed.stdout.contains("AGE-SECRET-KEY"));
    assert!(!sealed.windows(14).any(|bytes| bytes == b"AGE-SECRET-KEY"));
    let acts = world.cardwright(&["key", "acts", "--store", "bureau.store"]);
    assert!(acts.stdout.contains("RECIPIENT  age1") && !acts.stdout.contains("SECRET"), "{}", acts.stdout);
    assert_eq!(world.cardwright(&["key", "check", "--store", "bureau.store"]).code, 0);
    let mut flipped = sealed.clone();
    flipped[60] ^= 1;
    for (damage, what) in [
        (flipped, "damaged"),
        (sealed[..sealed.len() - 1].to_vec(), "damaged"),
        (text.into_bytes(), "damaged"),
        (Vec::new(), "damaged"),
    ] {
        std::fs::write(&path, damage).unwrap();
        for verb in ["recipient", "check"] {
            let refused = world.cardwright(&["key", verb, "--store", "bureau.store"]);
            assert_eq!(refused.code, Exit::KeyStore as i32, "{verb}: {}", refused.stderr);
            assert!(
                refused.stderr.contains(what) && !refused.stderr.contains("SECRET"),
                "{}",
                refused.stderr
            );
        }
    }
    // An issuer's store has its own.
    let issuer = world.prep(&["key", "recipient", "--store", "issuer.store"]);
    assert!(issuer.code == 0 && issuer.stdout.starts_with("age1"), "{}", issuer.stderr);
    assert!(world.path("issuer.store/recipient").exists());
}

#[test]
fn the_issuer_is_told_what_is_no_recipient_and_writes_over_nothing_else() {
    let world = World::new();
    let to = recipient(&world, "bureau.store");
    let (path, _) = sealed(&world, "a", "2", &[&to]);
    let before = std::fs::read(&path).unwrap();
    let run = |to: &str, output: &str| {
        let run = ["run", "--input", "a.csv", "--product", "plain.toml", "--keys", "issuer.store"];
        world.prep(&[&run[..], &["--output", output, "--recipient", to]].concat())
    };
    let wrong = to[..60].to_owned() + "qq";
    for word in ["", "age1", "AGE-SECRET-KEY-1", &wrong, &to.replace("age1", "bge1")] {
        let refused = run(word, "b.age");
        assert_eq!(refused.code, Exit::Usage as i32, "{word}: {}", refused.stderr);
    }
    // An earlier sealed file is replaced, and a bare one is not.
    assert_eq!(run(&to, "a.age").code, 0);
    assert_ne!(std::fs::read(&path).unwrap(), before);
    world.prepared("bare", 2, 1);
    assert_eq!(run(&to, "bare.cwf1").code, Exit::Io as i32);
    let bare =
        ["run", "--input", "a.csv", "--product", "plain.toml", "--keys", "issuer.store", "--output", "a.age"];
    assert_eq!(world.prep(&bare).code, Exit::Io as i32, "nor a sealed one by a bare one");
}
