//! What becomes of a key store when a change is cut off, and of one of an earlier version.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cardwright::bureau::line::hsm_host;
use cardwright::cli::keys::{KeyCommand, run_to};
use cardwright::exit::{Exit, Failure};
use cardwright::hsm::soft::SoftHsm;
use cardwright::hsm::store::{ActKind, CompanionKind, KeyStore, LockedStore, StoreSide};
use nix::sys::signal::Signal;

use crate::file::KEYS;
use crate::v1_store;

const CARDWRIGHT: &str = env!("CARGO_BIN_EXE_cardwright");
/// More steps than any act takes.
const MOST: usize = 40;

fn upgraded(old: &Path, store: &Path, side: StoreSide) -> Result<String, Failure> {
    let mut out = Vec::new();
    let command = KeyCommand::Upgrade { old: old.to_owned(), store: store.to_owned() };
    run_to(&command, side, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

/// Runs `cardwright key WORDS --store S`, killed before its step number `n` with a file.
fn struck(folder: &Path, words: &str, n: usize) -> Output {
    let mut command = Command::new(CARDWRIGHT);
    command.arg("key").args(words.split(' ')).arg("--store").arg(folder.join("store"));
    command.env("LD_PRELOAD", folder.join("preload.so")).env("CRASH_IN", "cardwright");
    command.env("CRASH_AT", format!("other:{n}")).env("CRASH_LEDGER", folder.join("none.db"));
    command.output().unwrap()
}

fn compile(folder: &Path) {
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O2", "-o"])
        .arg(folder.join("preload.so"))
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/storm/preload.c"))
        .args(["-ldl", "-lpthread"])
        .status()
        .expect("a C compiler: run `make setup`");
    assert!(compiled.success());
}

/// A change is killed before each sync, renaming and removal: the store is the old or the new one, whole, and the change can be
/// made again.
#[test]
fn a_store_killed_at_every_step_is_the_old_or_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    compile(folder.path());
    let store = folder.path().join("store");
    let mut seen = Vec::new();
    for n in 1.. {
        assert!(n < MOST, "it has no end");
        let _ = std::fs::remove_dir_all(&store);
        drop(KeyStore::create_test(KEYS, &store, StoreSide::Bureau).unwrap());
        let ended = struck(folder.path(), "recipient", n);
        let opened = KeyStore::open(&store).unwrap();
        let (acts, generation) = (opened.acts().len(), opened.generation());
        assert_eq!(opened.entries().len(), 6, "{n}");
        assert_eq!(u64::try_from(acts).unwrap(), generation, "an act and its record are one: {n}");
        seen.push(generation);
        drop(opened);
        let recipient = LockedStore::to_change(&store).unwrap().open_test().unwrap().recipient().unwrap();
        let opened = KeyStore::open(&store).unwrap();
        let last = opened.acts().last().unwrap();
        assert_eq!((last.kind, last.note.as_str()), (ActKind::Recipient, recipient.as_str()), "{n}");
        assert!(!store.join("keys.next").exists(), "{n}");
        if ended.status.success() {
            assert_eq!(String::from_utf8(ended.stdout).unwrap().trim_end(), recipient);
            break;
        }
        assert_eq!(ended.status.signal(), Some(Signal::SIGKILL as i32), "{n}: {ended:?}");
    }
    assert!(seen.is_sorted() && seen.contains(&1) && seen.contains(&2) && seen.len() > 8, "{seen:?}");
}

/// A store that is being made has its name when it is whole.
#[test]
fn a_store_killed_while_it_is_made_is_not_there_or_whole() {
    let folder = tempfile::tempdir().unwrap();
    compile(folder.path());
    let (store, list) = (folder.path().join("store"), folder.path().join("keys.toml"));
    std::fs::write(&list, KEYS).unwrap();
    let words = format!("init --test --from {}", list.display());
    let mut whole = 0;
    for n in 1.. {
        assert!(n < MOST, "it has no end");
        let ended = struck(folder.path(), &words, n);
        if store.exists() {
            let opened = KeyStore::open(&store).unwrap();
            opened.check_companions().unwrap();
            whole += 1;
        }
        if ended.status.success() {
            break;
        }
        assert_eq!(ended.status.signal(), Some(Signal::SIGKILL as i32), "{n}: {ended:?}");
        for left in [store.clone(), folder.path().join("store-next")] {
            let _ = std::fs::remove_dir_all(left);
        }
    }
    assert!(whole >= 2, "once killed, once made");
}

/// The file is one that another program made.
#[test]
fn no_host_serves_a_live_store() {
    let (folder, _, store) = place();
    let vector =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/sealed-store-vector.json"));
    let vector: serde_json::Value = serde_json::from_str(&vector.unwrap()).unwrap();
    drop(KeyStore::create_test(KEYS, &store, StoreSide::Bureau).unwrap());
    std::fs::write(store.join("keys"), hex::decode(vector["live"]["keys"].as_str().unwrap()).unwrap())
        .unwrap();
    let socket = folder.path().join("hsm.sock");
    let failure = hsm_host::run(&store, &socket, false).unwrap_err();
    assert_eq!(failure.exit, Exit::KeyStore);
    let why = "it is LIVE: this version makes no cards with LIVE keys; the key commands open it";
    assert!(failure.message.contains(why), "{failure}");
    assert!(!socket.exists());
}

/// The lines of the files beside a bureau's store of version 1.
const AUDIT: &str = concat!(
    "cardwright audit book 1\ngeneration 5\n",
    "seed 000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F\n",
    "head 0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A 7 ",
    "0101010101010101010101010101010101010101010101010101010101010101\n",
);
const SPOOLS: &str = concat!(
    "cardwright spool keys 1\n",
    "gone 0B0B0B0B0B0B0B0B0B0B0B0B0B0B0B0B 0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A\n",
);

fn place() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let (old, store) = (folder.path().join("old"), folder.path().join("store"));
    (folder, old, store)
}

#[test]
fn a_store_of_version_one_is_taken_over_with_its_audit_key() {
    let (folder, old, _) = place();
    // Its name begins like the name of a file beside the old one.
    let store = folder.path().join("old-2");
    v1_store::write(&old, "bureau", KEYS, &[("audit", AUDIT), ("spools", SPOOLS)]);
    std::fs::write(folder.path().join("old-audit-lock"), "").unwrap();
    let opened = KeyStore::open(&old).err().unwrap();
    assert!(opened.exit == Exit::KeyStore && opened.message.contains("`key upgrade`"), "{opened}");
    let said = upgraded(&old, &store, StoreSide::Bureau).unwrap();
    assert!(said.contains("taken over: audit, spools; not there: recipient"), "{said}");
    let remove = said.lines().find_map(|line| line.strip_prefix("now remove: ")).unwrap();
    let mut named: Vec<_> = remove.split(", ").map(PathBuf::from).collect();
    named.sort();
    let mut there: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    there.retain(|path| *path != store);
    there.sort();
    assert_eq!(named, there, "each of its files, and no other");
    let new = KeyStore::open(&store).unwrap();
    new.check_companions().unwrap();
    assert_eq!((new.entries().len(), new.acts()[0].kind, new.acts().len()), (6, ActKind::Upgraded, 1));
    assert_eq!(new.acts()[0].note, "with audit, spools; not there: recipient");
    for (kind, text) in [(CompanionKind::Audit, AUDIT), (CompanionKind::Spools, SPOOLS)] {
        assert_eq!(new.companion_text(kind).unwrap().unwrap().as_str(), text);
    }
    assert!(new.companion_text(CompanionKind::Recipient).unwrap().is_none());
    let keys = std::fs::read(store.join("keys")).unwrap();
    for line in KEYS.lines().filter_map(|line| line.strip_prefix("value = ")) {
        let value = hex::decode(line.trim_matches('"')).unwrap();
        assert!(!keys.windows(value.len()).any(|bytes| bytes == value), "a value in the clear");
    }
    SoftHsm::new(new).unwrap();
    assert!(old.exists(), "the old one is removed by who made it");
    assert!(upgraded(&old, &store, StoreSide::Bureau).unwrap_err().message.contains("not replaced"));
}

#[test]
fn what_is_no_whole_store_of_version_one_is_not_taken_over() {
    let (folder, old, store) = place();
    let refused = |what: &str, side: StoreSide| {
        let failure = upgraded(&old, &store, side).unwrap_err();
        assert!(failure.message.contains(what), "{what}: {failure}");
        assert_eq!(
            std::fs::read_dir(folder.path())
                .unwrap()
                .filter(|entry| {
                    entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("store")
                })
                .count(),
            0,
            "{what}"
        );
        failure.exit
    };
    assert_eq!(refused("there is no such file", StoreSide::Bureau), Exit::Io);
    let write = |side: &str, list: &str| v1_store::write(&old, side, list, &[("audit", AUDIT)]);
    write("bureau", KEYS);
    refused("use the bureau's program (cardwright)", StoreSide::Issuer);
    for (text, what) in [
        ("cardwright key store 1 LIVE bureau\n\n", "no TEST store of version 1"),
        ("cardwright key store 2 TEST bureau\n\n", "no TEST store of version 1"),
        ("cardwright key store 1 TEST bureau\n0\n", "wrong digest"),
        ("cardwright key store 1 TEST bureau", "no key store"),
        (KEYS, "no key store"),
        ("\u{fffd}", "no key store"),
    ] {
        std::fs::write(&old, text).unwrap();
        assert_eq!(refused(what, StoreSide::Bureau), Exit::KeyStore);
    }
    std::fs::write(&old, [0xFF]).unwrap();
    refused("no text", StoreSide::Bureau);
    write("bureau", &KEYS.replacen("usage = \"KMC\"", "usage = \"CVK\"", 1));
    refused("never leaves the issuer", StoreSide::Bureau);
    write("bureau", KEYS);
    let audit = folder.path().join("old-audit");
    std::fs::write(&audit, AUDIT).unwrap();
    refused("it is damaged", StoreSide::Bureau);
    std::fs::remove_file(&audit).unwrap();
    refused("its audit book", StoreSide::Bureau);
    std::fs::remove_file(&old).unwrap();
    std::fs::create_dir(&old).unwrap();
    refused("a store of this version already", StoreSide::Bureau);
}
