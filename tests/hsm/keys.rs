//! The key commands and the store file.

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

fn init(place: &Place, side: StoreSide) -> Result<Exit, Failure> {
    run(&KeyCommand::Init { test: true, from: place.list.clone(), store: place.store.clone() }, side)
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn open_error(path: &Path) -> Failure {
    KeyStore::open(path).err().expect("opened")
}

#[test]
fn init_list_and_check_work_and_the_file_is_0600() {
    let place = place(KEYS);
    assert_eq!(init(&place, StoreSide::Bureau).unwrap(), Exit::Ok);
    assert_eq!(place.store.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let printed = |command: KeyCommand| {
        let mut out = Vec::new();
        assert_eq!(run_to(&command, StoreSide::Bureau, &mut out).unwrap(), Exit::Ok);
        String::from_utf8(out).unwrap()
    };
    let list = printed(KeyCommand::List { store: place.store.clone() });
    assert_eq!(list.lines().count(), 6);
    for word in ["kmc-1", "KMC", "TDES2", "FFFFFF476173:1", "8BAF47", "TEST"] {
        assert!(list.lines().nth(3).unwrap().contains(word), "{word}");
    }
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
    let book = PathBuf::from(format!("{}-audit", place.store.display()));
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

#[test]
fn init_without_test_is_refused() {
    let place = place(KEYS);
    let command = KeyCommand::Init { test: false, from: place.list.clone(), store: place.store.clone() };
    assert_eq!(run(&command, StoreSide::Bureau).unwrap_err().exit, Exit::KeyStore);
    assert!(!place.store.exists());
}

#[test]
fn an_existing_store_is_not_replaced() {
    let place = place(KEYS);
    init(&place, StoreSide::Bureau).unwrap();
    let before = std::fs::read(&place.store).unwrap();
    assert_eq!(init(&place, StoreSide::Bureau).unwrap_err().exit, Exit::KeyStore);
    assert_eq!(std::fs::read(&place.store).unwrap(), before);
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
    for bad in [0o640, 0o604, 0o620, 0o602, 0o610, 0o644, 0o666] {
        mode(&place.store, bad);
        let failure = open_error(&place.store);
        assert_eq!(failure.exit, Exit::KeyStore, "{bad:o}");
        assert!(failure.message.contains("0600"));
    }
    mode(&place.store, 0o400);
    KeyStore::open(&place.store).unwrap();
}

#[test]
fn a_damaged_cut_or_foreign_store_is_refused() {
    let place = place(KEYS);
    init(&place, StoreSide::Bureau).unwrap();
    let good = std::fs::read(&place.store).unwrap();
    let refused = |bytes: &[u8]| {
        std::fs::write(&place.store, bytes).unwrap();
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
    refused(b"cardwright key store 1 TEST bureau");
    refused(b"cardwright key store 1 TEST bureau\n");
    refused(KEYS.as_bytes());
    std::fs::write(&place.store, &good).unwrap();
    KeyStore::open(&place.store).unwrap();
}

#[test]
fn another_version_and_a_live_store_are_refused_whatever_their_digest() {
    let place = place(KEYS);
    init(&place, StoreSide::Bureau).unwrap();
    let text = std::fs::read_to_string(&place.store).unwrap();
    for (first, hint) in [
        ("cardwright key store 2 TEST bureau", "version"),
        ("cardwright key store 1 LIVE bureau", "custody"),
        ("cardwright key store 1 DEMO bureau", "neither"),
        ("cardwright key store 1 TEST thief", "neither"),
        ("cardwright key store 1 TEST", "no key store"),
    ] {
        let list = text.splitn(3, '\n').nth(2).unwrap();
        let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(format!("{first}{list}")));
        std::fs::write(&place.store, format!("{first}\n{digest}\n{list}")).unwrap();
        let failure = open_error(&place.store);
        assert_eq!(failure.exit, Exit::KeyStore);
        assert!(failure.message.contains(hint), "{failure}");
    }
}

#[test]
fn a_store_or_list_that_is_not_there_is_an_io_failure() {
    let place = place(KEYS);
    assert_eq!(open_error(&place.store).exit, Exit::Io);
    assert_eq!(open_error(Path::new("/")).exit, Exit::KeyStore, "a folder");
    std::fs::remove_file(&place.list).unwrap();
    assert_eq!(init(&place, StoreSide::Bureau).unwrap_err().exit, Exit::Io);
}
