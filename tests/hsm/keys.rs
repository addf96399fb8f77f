//! The key commands and the store's folder.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use cardwright::cli::keys::{KeyCommand, run_to};
use cardwright::exit::{Exit, Failure};
use cardwright::hsm::soft::SoftHsm;
use cardwright::hsm::store::{KeyStore, KeyUsage, StoreSide};

use crate::file::KEYS;

/// An issuer's key, on top of the bureau's.
const ISSUERS: &str = r#"
[[key]]
label = "imk-ac"
usage = "IMK-AC"
type = "TDES2"
id = "47617399"
version = 1
value = "0123456789ABCDEFFEDCBA9876543210"
kcv = "08D7B4"
"#;

struct Place {
    _folder: tempfile::TempDir,
    list: PathBuf,
    store: PathBuf,
}

fn place(list: &str) -> Place {
    let folder = tempfile::tempdir().unwrap();
    let place =
        Place { list: folder.path().join("keys.toml"), store: folder.path().join("store"), _folder: folder };
    std::fs::write(&place.list, list).unwrap();
    place
}

fn run(command: &KeyCommand, side: StoreSide) -> Result<Exit, Failure> {
    run_to(command, side, &mut Vec::new())
}

/// `key init --test`.
fn test_init(list: &Path, store: &Path) -> KeyCommand {
    let (from, store) = (Some(list.to_owned()), store.to_owned());
    KeyCommand::Init { test: true, live: false, from, custodians: vec![], threshold: None, store }
}

fn init(place: &Place, side: StoreSide) -> Result<Exit, Failure> {
    run(&test_init(&place.list, &place.store), side)
}

/// Names of the files in a folder.
fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn open_error(path: &Path) -> Failure {
    KeyStore::open(path).err().expect("opened")
}

#[test]
fn init_list_acts_and_check_work_and_all_files_are_private() {
    let place = place(KEYS);
    assert_eq!(init(&place, StoreSide::Bureau).unwrap(), Exit::Ok);
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&place.store), 0o700);
    let mut names: Vec<_> = files(&place.store);
    names.sort();
    assert_eq!(names, ["audit", "chips", "journal-0", "keys", "lock", "memory-0", "seen"]);
    for name in names {
        assert_eq!(mode(&place.store.join(&name)), 0o600, "{name}");
    }
    let printed = |command: KeyCommand| {
        let mut out = Vec::new();
        assert_eq!(run_to(&command, StoreSide::Bureau, &mut out).unwrap(), Exit::Ok);
        String::from_utf8(out).unwrap()
    };
    let list = printed(KeyCommand::List { store: place.store.clone() });
    let kmc = list.lines().find(|line| line.starts_with("kmc-1")).unwrap();
    for word in ["KMC", "TDES2", "FFFFFF476173:1", "DES 8BAF47", "TEST", "list"] {
        assert!(kmc.contains(word), "{word}: {kmc}");
    }
    let keks: Vec<_> = list.lines().filter(|line| line.contains("issuer TESTBANK, goes to ")).collect();
    assert_eq!((list.lines().count(), keks.len()), (6 + 3, 3), "{list}");
    assert!(list.contains("AES-GP ") && list.contains("AES-CMAC "), "{list}");
    let acts = printed(KeyCommand::Acts { store: place.store.clone(), json: false });
    assert!(acts.lines().count() == 1 && acts.ends_with("Z  MADE\n"), "{acts}");
    let acts = printed(KeyCommand::Acts { store: place.store.clone(), json: true });
    let acts: serde_json::Value = serde_json::from_str(&acts).unwrap();
    assert_eq!((&acts[0]["act"], acts.as_array().unwrap().len()), (&"MADE".into(), 1), "{acts}");
    for value in KEYS.lines().filter_map(|l| l.strip_prefix("value = ")) {
        assert!(!list.contains(value.trim_matches('"')), "no value is shown");
    }
    assert!(printed(KeyCommand::Check { store: place.store.clone() }).contains("6 keys"));
    assert_eq!(KeyStore::open(&place.store).unwrap().entries().len(), 6);
}

/// `keys check` must not pass a store on which a run would fail.
#[test]
fn a_store_without_its_audit_book_does_not_pass_the_check() {
    let place = place(KEYS);
    init(&place, StoreSide::Bureau).unwrap();
    let book = place.store.join("audit");
    let check = KeyCommand::Check { store: place.store.clone() };
    let refused = |what: &str| {
        let failure = run_to(&check, StoreSide::Bureau, &mut Vec::new()).unwrap_err();
        assert!(failure.exit == Exit::KeyStore && failure.message.contains(what), "{failure}");
    };
    let good = std::fs::read(&book).unwrap();
    std::fs::write(&book, &good[1..]).unwrap();
    refused("damaged");
    std::fs::remove_file(&book).unwrap();
    refused("missing");
    assert!(!book.exists(), "and it is not made anew");
    nix::unistd::mkfifo(&book, nix::sys::stat::Mode::S_IRUSR | nix::sys::stat::Mode::S_IWUSR).unwrap();
    refused("file of yours");
}

/// The words of the command, as its parser takes them.
#[test]
fn a_store_is_made_as_test_of_a_list_or_live_with_custodians() {
    let place = place(KEYS);
    let (list, store) = (place.list.to_str().unwrap(), place.store.to_str().unwrap());
    let live = ["--live", "--custodians", "anna,ben", "--threshold", "2"];
    for words in [
        &["--from", list][..],
        &["--test"],
        &live[..1],
        &live[..3],
        &[&live[..], &["--test"]].concat(),
        &[&live[..], &["--from", list]].concat(),
        &["--test", "--from", list, "--threshold", "2"],
        &["--live", "--custodians", "anna", "--threshold", "2"],
        &["--live", "--custodians", "anna,anna", "--threshold", "2"],
        &["--live", "--custodians", "anna,ben", "--threshold", "1"],
    ] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_cardwright"));
        let ended = command.args(["key", "init", "--store", store]).args(words).output().unwrap();
        assert_eq!(ended.status.code(), Some(2), "{words:?}: {ended:?}");
        assert!(!place.store.exists());
    }
}

#[test]
fn an_existing_store_is_not_replaced() {
    let place = place(KEYS);
    init(&place, StoreSide::Bureau).unwrap();
    let before = std::fs::read(place.store.join("keys")).unwrap();
    assert_eq!(init(&place, StoreSide::Bureau).unwrap_err().exit, Exit::KeyStore);
    assert_eq!(std::fs::read(place.store.join("keys")).unwrap(), before);
}

#[test]
fn a_bureau_holds_no_issuers_keys() {
    let list = format!("{KEYS}{ISSUERS}");
    let failure = init(&place(&list), StoreSide::Bureau).unwrap_err();
    assert_eq!(failure.exit, Exit::KeyStore);
    assert!(failure.message.contains("IMK-AC") && failure.message.contains("bureau"), "{failure}");
    assert!(!failure.message.contains("0123456789ABCDEF"));

    let place = place(&list);
    init(&place, StoreSide::Issuer).unwrap();
    let store = KeyStore::open(&place.store).unwrap();
    store.key(KeyUsage::ImkAc, "47617399", None).unwrap();
    // A line does not start on it either.
    assert_eq!(SoftHsm::new(store).err().unwrap().exit, Exit::KeyStore);
}

#[test]
fn a_store_that_others_may_read_or_write_is_refused() {
    let place = place(KEYS);
    init(&place, StoreSide::Bureau).unwrap();
    for (path, good, named) in [
        (place.store.clone(), 0o700, "0700 (chmod 700)"),
        (place.store.join("keys"), 0o600, "0600 (chmod 600)"),
        (place.store.join("seen"), 0o600, "0600 (chmod 600)"),
    ] {
        for bad in [0o40, 0o4, 0o20, 0o2, 0o10, 0o44, 0o66] {
            mode(&path, good | bad);
            let failure = open_error(&place.store);
            assert_eq!(failure.exit, Exit::KeyStore, "{bad:o}");
            assert!(failure.message.contains(named), "{failure}");
        }
        mode(&path, good);
    }
    mode(&place.store.join("keys"), 0o400);
    KeyStore::open(&place.store).unwrap();
}

#[test]
fn a_damaged_cut_or_foreign_store_is_refused() {
    let place = place(KEYS);
    init(&place, StoreSide::Bureau).unwrap();
    let keys = place.store.join("keys");
    let good = std::fs::read(&keys).unwrap();
    let refused = |bytes: &[u8]| {
        std::fs::write(&keys, bytes).unwrap();
        assert_eq!(open_error(&place.store).exit, Exit::KeyStore);
    };
    for at in (0..good.len()).step_by(7) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        refused(&bad);
    }
    refused(&good[..good.len() - 1]);
    refused(&[&good[..], b"\n"].concat());
    refused(b"");
    refused(b"CWKS");
    refused(KEYS.as_bytes());
    std::fs::write(&keys, &good).unwrap();
    KeyStore::open(&place.store).unwrap();
}

#[test]
fn links_and_other_things_in_the_place_of_a_store_are_refused() {
    let place = place(KEYS);
    init(&place, StoreSide::Bureau).unwrap();
    let link = place.store.with_file_name("link");
    std::os::unix::fs::symlink(&place.store, &link).unwrap();
    for link in [link.clone(), link.join("")] {
        assert!(open_error(&link).message.contains("it is a link"), "{}", link.display());
    }
    KeyStore::open(&place.store.join("")).unwrap();
    let keys = place.store.join("keys");
    let aside = place.store.with_file_name("aside");
    std::fs::rename(&keys, &aside).unwrap();
    assert!(open_error(&place.store).message.contains("it is no key store"));
    std::os::unix::fs::symlink(&aside, &keys).unwrap();
    assert!(open_error(&place.store).message.contains("link"));
    std::fs::remove_file(&keys).unwrap();
    nix::unistd::mkfifo(&keys, nix::sys::stat::Mode::S_IRUSR).unwrap();
    assert!(open_error(&place.store).message.contains("file of yours"));
    assert!(open_error(&place.list).message.contains("it is no folder"));
}

#[test]
fn a_store_or_list_that_is_not_there_is_an_io_failure() {
    let place = place(KEYS);
    assert_eq!(open_error(&place.store).exit, Exit::Io);
    assert_eq!(open_error(Path::new("/")).exit, Exit::KeyStore, "another folder");
    std::fs::remove_file(&place.list).unwrap();
    assert_eq!(init(&place, StoreSide::Bureau).unwrap_err().exit, Exit::Io);
}
