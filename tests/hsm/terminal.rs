//! The key commands at a terminal: a pseudo terminal, at whose other end this test types and reads everything that is shown.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use cardwright::hsm::store::{ActKind, KeyStore, LockedStore, StoreSide};
use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;

use crate::file::KEYS;
use crate::key_blocks::made;
use crate::raw;

const CARDWRIGHT: &str = env!("CARGO_BIN_EXE_cardwright");
/// Longest wait for a prompt on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A command at a terminal of its own.
struct Session {
    child: Child,
    typist: File,
    shown: Receiver<Vec<u8>>,
    all: String,
    /// How far prompts were found.
    read: usize,
}

impl Session {
    /// Starts `cardwright key WORDS`.
    fn start(words: &[&str]) -> Self {
        let pty = openpty(None, None).unwrap();
        let slave = File::from(pty.slave);
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait", CARDWRIGHT, "key"]).args(words);
        command.stdin(slave.try_clone().unwrap()).stdout(slave.try_clone().unwrap()).stderr(slave);
        let child = command.spawn().unwrap();
        drop(command);
        let typist = File::from(pty.master);
        let mut reader = typist.try_clone().unwrap();
        let (send, shown) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // The other end is closed when the command has ended.
            while let Ok(length @ 1..) = reader.read(&mut bytes) {
                if send.send(bytes[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { child, typist, shown, all: String::new(), read: 0 }
    }

    /// Waits until this is shown.
    fn sees(&mut self, text: &str) -> &mut Self {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.all[self.read..].find(text) {
                self.read += at + text.len();
                return self;
            }
            let left = until.saturating_duration_since(Instant::now());
            match self.shown.recv_timeout(left) {
                Ok(bytes) => self.all.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("no {text:?} in {:?}", self.all),
            }
        }
    }

    fn types(&mut self, text: &str) -> &mut Self {
        self.typist.write_all(text.as_bytes()).unwrap();
        self
    }

    /// Waits for the end. Returns the exit code and all that was shown.
    fn ends(mut self) -> (i32, String) {
        let code = self.child.wait().unwrap().code().unwrap();
        while let Ok(bytes) = self.shown.recv_timeout(Duration::from_millis(500)) {
            self.all.push_str(&String::from_utf8_lossy(&bytes));
        }
        (code, self.all.clone())
    }

    /// Whether the terminal shows what is typed.
    fn echoes(&self) -> bool {
        tcgetattr(&self.typist).unwrap().local_flags.contains(LocalFlags::ECHO)
    }
}

fn words(name: &str) -> String {
    format!("six words of {name} by dice")
}

/// Makes a LIVE store of anna, ben and carla, of whom two open it.
fn live() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("bureau.store");
    let shown = store.to_str().unwrap();
    let mut session = Session::start(&[
        "init",
        "--live",
        "--custodians",
        "anna,ben,carla",
        "--threshold",
        "2",
        "--store",
        shown,
    ]);
    session.sees("A LIVE store for a bureau. 3 custodians, of whom 2 open it.");
    for name in ["anna", "ben", "carla"] {
        session
            .sees(&format!("New passphrase of {name}, 16 to 128 characters: "))
            .types(&format!("{}\n", words(name)));
        session.sees("The same again: ").types(&format!("{}\n", words(name)));
    }
    let (code, all) = session.ends();
    assert_eq!(code, 0, "{all}");
    assert!(
        all.contains("bureau.store made: store ")
            && all.contains(", generation 1; 2 of anna, ben, carla open it"),
        "{all}"
    );
    for name in ["anna", "ben", "carla"] {
        assert!(!all.contains(&words(name)), "{all}");
    }
    (folder, store)
}

/// Types names and passphrases of two custodians.
fn open(session: &mut Session, names: [&str; 2]) {
    for (number, name) in (1..).zip(names) {
        session.sees(&format!("Custodian {number} of 2, name: ")).types(&format!("{name}\n"));
        session.sees(&format!("Passphrase of {name}: ")).types(&format!("{}\n", words(name)));
    }
}

/// Types a component and its check value.
fn component(session: &mut Session, number: u8, value: &[u8], kcv: &str) {
    session.sees(&format!("Component {number}, 32 hex digits: ")).types(&format!("{}\n", grouped(value)));
    session.sees(&format!("KCV of component {number}, 6 hex digits: ")).types(&format!("{kcv}\n"));
}

/// A component as it stands on a form.
fn grouped(value: &[u8]) -> String {
    let groups: Vec<_> = value.chunks(2).map(hex::encode_upper).collect();
    groups.join(" ")
}

/// Check value of a TDES key.
fn kcv(key: &[u8]) -> String {
    hex::encode_upper(&raw::ecb(raw::TDES, key, &[0; 8])[..3])
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

/// The whole life of a LIVE store; each step is a command of its own.
#[test]
fn custodians_make_open_change_back_up_and_restore_a_store() {
    let (folder, store) = live();
    let shown = store.to_str().unwrap();
    let mut session = Session::start(&["check", "--store", shown]);
    session.sees("Store ").sees(", generation 1, written 2").sees(" 2 of anna, ben, carla open it.");
    open(&mut session, ["carla", "anna"]);
    let (code, all) = session.ends();
    assert!(code == 0 && all.contains("0 keys, bureau store, LIVE: every rule holds"), "{all}");
    for name in ["anna", "carla"] {
        assert!(!all.contains(&words(name)), "nothing secret is shown: {all}");
    }

    let backup = folder.path().join("backup");
    let (code, all) = Session::start(&["backup", "--to", backup.to_str().unwrap(), "--store", shown]).ends();
    assert!(code == 0 && all.contains("generation 1, SHA-256 of keys ") && all.contains("sealed: "), "{all}");

    let mut session =
        Session::start(&["custodians", "--new", "dora,emil", "--threshold", "2", "--store", shown]);
    session.sees("New custodians: 2 of dora, emil. Old backups still open with the old passphrases.");
    open(&mut session, ["anna", "ben"]);
    session.sees("No custodian is to spare: one lost passphrase loses all keys.");
    for name in ["dora", "emil"] {
        session.sees(&format!("New passphrase of {name}, ")).types("too short\n");
        session.sees("The same again: ").types("too short\n");
        session.sees("16 to 128 characters, and this one has 9: again");
        session.sees(&format!("New passphrase of {name}, ")).types(&format!("{}\n", words(name)));
        session.sees("The same again: ").types("six words of nobody by dice\n");
        session.sees("the two differ: again");
        session.sees(&format!("New passphrase of {name}, ")).types(&format!("{}\n", words(name)));
        session.sees("The same again: ").types(&format!("{}\n", words(name)));
    }
    let (code, all) = session.ends();
    assert!(
        code == 0 && all.contains("2 of dora, emil open it from now on") && all.contains("generation 2"),
        "{all}"
    );

    let mut session = Session::start(&["acts", "--store", shown]);
    session.sees("Custodian 1 of 2, name: ").types("anna\n");
    session.sees("that is no custodian: dora, emil");
    open(&mut session, ["dora", "emil"]);
    let (code, all) = session.ends();
    assert!(code == 0 && all.contains("CUSTODIANS  by anna, ben  2 of dora, emil"), "{all}");
    assert!(all.contains("MADE  by anna, ben, carla  2 of anna, ben, carla"), "{all}");

    let again = folder.path().join("again.store");
    let mut session =
        Session::start(&["restore", backup.to_str().unwrap(), "--store", again.to_str().unwrap()]);
    session.sees("Restore of ");
    open(&mut session, ["ben", "carla"]);
    session.sees("Last act: 2").sees(" by anna, ben, carla. Ledgers: none. Keys:");
    session.sees("Compare with your last paper.").sees("Type the generation to accept it: ").types("2\n");
    let (code, all) = session.ends();
    assert!(code == 24 && all.contains("nothing was made") && !again.exists(), "{all}");
    let mut session =
        Session::start(&["restore", backup.to_str().unwrap(), "--store", again.to_str().unwrap()]);
    open(&mut session, ["ben", "carla"]);
    session.sees("Type the generation to accept it: ").types("1\n");
    let (code, all) = session.ends();
    assert!(code == 0 && all.contains("again.store made: store "), "{all}");
    assert_eq!(LockedStore::to_read(&again).unwrap().generation(), 2);
}

/// TEST stores take the same way, without passphrases.
#[test]
fn two_people_destroy_a_key_of_a_test_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    drop(KeyStore::create_test(KEYS, &store, StoreSide::Bureau).unwrap());
    let start = || Session::start(&["destroy", "kmc-1", "--store", store.to_str().unwrap()]);
    for (typed, ended) in [("kmc-2", 24), ("kmc-1", 0)] {
        let mut session = start();
        session.sees("Destroy kmc-1.").sees("TEST store: names are not proved.");
        session.sees("Custodian 1 of 2, name: ").types("anna\n");
        session.sees("Custodian 2 of 2, name: ").types("anna\n").sees("anna was asked already");
        session.sees("Custodian 2 of 2, name: ").types("Ben\n").sees("a letter first");
        session.sees("Custodian 2 of 2, name: ").types("ben\n");
        session.sees("kmc-1: KMC FFFFFF476173:1, DES 8BAF47. Backups keep it");
        session.sees("Type its label to destroy it: ").types(&format!("{typed}\n"));
        let (code, all) = session.ends();
        assert_eq!(code, ended, "{all}");
        let opened = KeyStore::open(&store).unwrap();
        assert_eq!(opened.gone().len(), usize::from(ended == 0), "{all}");
        if ended == 0 {
            assert!(all.contains("gone: KMC FFFFFF476173:1, DES 8BAF47 at 2"), "{all}");
            assert!(
                all.contains(" by anna, ben (store ") && all.contains("Keep this line on paper."),
                "{all}"
            );
            let act = opened.acts().last().unwrap();
            assert_eq!((act.kind, act.by.join(" ").as_str()), (ActKind::Destroyed, "anna ben"));
        }
    }
    // Its identifier does not come back, and a line that has the store open is in the way of people.
    let running = KeyStore::open(&store).unwrap();
    let (code, all) = start().ends();
    assert!(code == 22 && all.contains("another program has it open"), "{all}");
    drop(running);
}

/// A paste with lines, what is typed ahead, signals, and the end of the terminal: nothing of a secret is shown or left for the
/// shell, and the terminal shows again what is typed.
#[test]
fn nothing_secret_is_echoed_or_left_and_every_end_gives_the_terminal_back() {
    let (_folder, store) = live();
    let start = || Session::start(&["list", "--store", store.to_str().unwrap()]);
    // The rest of a paste is lost, and is not taken for the next answer.
    let mut session = start();
    session.sees("name: ").types("anna\n").sees("Passphrase of anna: ");
    assert!(!session.echoes());
    session.types(&format!("{}\nben\n{}\n", words("anna"), words("ben")));
    session.sees("Custodian 2 of 2, name: ");
    assert!(session.echoes());
    session.types("ben\n").sees("Passphrase of ben: ").types("\x04");
    let (code, all) = session.ends();
    assert_eq!(code, 5, "{all}");
    assert!(!all.contains("six words"), "{all}");
    // What is typed ahead of a secret is lost.
    let mut session = start();
    session.sees("name: ").types("anna\nahead of time, all of it\n").sees("Passphrase of anna: ");
    session.types(&format!("{}\n", words("anna")));
    session.sees("Custodian 2 of 2, name: ");
    // Ctrl-C is a byte while a secret is typed.
    session.types("carla\n").sees("Passphrase of carla: ").types("\x03");
    let (code, all) = session.ends();
    assert!(code == 5 && all.contains("`key acts` shows"), "{all}");
    // A signal ends it in the middle of a secret, with the terminal as it was.
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT] {
        let mut session = start();
        session.sees("name: ").types("anna\n").sees("Passphrase of anna: ").types("six words");
        assert!(!session.echoes());
        let child = Pid::from_raw(i32::try_from(session.child.id()).unwrap());
        kill(child, signal).unwrap();
        let typist = session.typist.try_clone().unwrap();
        let (code, all) = session.ends();
        assert_eq!(code, 5, "{signal}: {all}");
        assert!(tcgetattr(&typist).unwrap().local_flags.contains(LocalFlags::ECHO), "{signal}");
        assert!(!all.contains("six words"), "{all}");
    }
    // A store that was not opened is as it was.
    assert_eq!(LockedStore::to_read(&store).unwrap().generation(), 1);
}

#[test]
fn a_wrong_passphrase_is_named_and_a_line_too_long_asked_again() {
    let (folder, store) = live();
    let other = folder.path().join("copy.store");
    copy(&store, &other);
    let mut session = Session::start(&["list", "--store", other.to_str().unwrap()]);
    session.sees("Custodian 1 of 2, name: ").types("anna\n");
    session.sees("Passphrase of anna: ").types("\x1b[A\n").sees("a character that no passphrase has");
    session.sees("Custodian 1 of 2, name: ").types("anna\n");
    session.sees("Passphrase of anna: ").types(&format!("{}\n", words("ben")));
    session.sees("that is not anna's passphrase; wait 1 s");
    // What is typed while the program waits is not shown, and is no answer.
    assert!(!session.echoes());
    session.types(&format!("{}\n", words("anna")));
    open(&mut session, ["anna", "ben"]);
    let (code, all) = session.ends();
    assert_eq!(code, 0, "{all}");
    assert!(!all.contains("six words"), "{all}");
}

#[test]
fn nothing_suspends_a_command_that_has_the_terminal() {
    let (_folder, store) = live();
    let mut session = Session::start(&["list", "--store", store.to_str().unwrap()]);
    session.sees("name: ").types("\x1aanna\n").sees("that is no custodian");
    open(&mut session, ["anna", "ben"]);
    let (code, all) = session.ends();
    assert_eq!(code, 0, "{all}");
}

#[test]
fn without_a_terminal_nothing_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    drop(KeyStore::create_test(KEYS, &store, StoreSide::Bureau).unwrap());
    let mut command = Command::new("setsid");
    command.args(["--wait", CARDWRIGHT, "key", "destroy", "kmc-1", "--store"]).arg(&store);
    let ended = command.stdin(Stdio::null()).output().unwrap();
    assert_eq!(ended.status.code(), Some(50));
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(said.contains("custodians type at a terminal, and there is none"), "{said}");
    assert_eq!(KeyStore::open(&store).unwrap().generation(), 1);
}

/// The side is the program's, for each command that opens a store.
#[test]
fn no_command_opens_a_store_of_the_other_side() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    drop(KeyStore::create_test(KEYS, &store, StoreSide::Issuer).unwrap());
    let key = "--usage ZMK --type AES128 --id 476173FF --version 7 --kcv B82EC5 --partner T";
    for words in [
        "list",
        "acts",
        "check",
        "recipient",
        "destroy kmc-1",
        "custodians --new anna,ben --threshold 2",
        "component k --drop",
        &format!("component k {key} --of 2"),
        "restore",
    ] {
        let mut command = Command::new("setsid");
        command.args(["--wait", CARDWRIGHT, "key"]).args(words.split(' '));
        if words == "restore" {
            command.arg(&store).arg("--store").arg(folder.path().join("new"));
        } else {
            command.arg("--store").arg(&store);
        }
        let ended = command.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        let why = "it is the issuer's: use the issuer's program (cardwright-prep)";
        assert!(ended.status.code() == Some(22) && said.contains(why), "{words}: {said}");
    }
    assert_eq!(KeyStore::open(&store).unwrap().generation(), 1);
}

/// A ceremony from an empty LIVE store: a ZMK in two components, each slip once, then a KEK in a key block under it.
#[test]
fn custodians_give_a_zmk_in_components_and_import_a_block() {
    let (folder, store) = live();
    let shown = store.to_str().unwrap();
    // Two of the published components of three: their sum has even parity.
    let parts = ["5D2A7F10BC94E6438F20D3A47C195E6B", "A8C4709E0B3DF2657C80164F9BB325D0"]
        .map(|part| hex::decode(part).unwrap());
    let sum: Vec<u8> = parts[0].iter().zip(&parts[1]).map(|(a, b)| a ^ b).collect();
    let mut secrets: Vec<String> = parts.iter().map(hex::encode_upper).collect();
    secrets.extend(parts.iter().map(|part| grouped(part)));
    secrets.extend(["anna", "ben", "carla"].map(words));
    let clean = |all: &str| assert!(!secrets.iter().any(|secret| all.contains(secret.as_str())), "{all}");

    let whole = kcv(&sum);
    let said = ["--usage", "ZMK", "--type", "TDES2", "--id", "47617399", "--version", "1", "--of", "2"];
    let first = [
        &["component", "zmk 1"][..],
        &said[..],
        &["--kcv", &whole, "--partner", "TESTBANK", "--store", shown],
    ];
    let mut session = Session::start(&first.concat());
    session.sees(&format!(
        "A component of zmk 1: ZMK 47617399:1, TDES2, partner TESTBANK, KCV {whole}, the first of 2."
    ));
    open(&mut session, ["anna", "ben"]);
    session.sees("Component 1 of 2 of zmk 1: ZMK 47617399:1, TDES2, partner TESTBANK, whole key DES ");
    session.sees("Given so far: none.");
    session
        .sees("Who gives component 1, name: ")
        .types("carla\n")
        .sees("that person did not open the store; it was opened by anna, ben");
    session.sees("Who gives component 1, name: ").types("anna\n");
    session.sees("Component 1, 32 hex digits: ").types("5D2A 7F10 BC94 E643 8F20 D3A4 7C19 5E6\n");
    session.sees("operator: 31 digits, 32 are needed. Type it again.");
    component(&mut session, 1, &parts[0], "08D7B4");
    session
        .sees("the KCV does not fit component 1 (DES): look for a slip, or ask the partner. Type it again.");
    component(&mut session, 1, &parts[0], "B6616B");
    session.sees("component 1 of 2 stored; 1 is missing. next: cardwright key component 'zmk 1' --store ");
    let (code, all) = session.ends();
    assert_eq!(code, 0, "{all}");
    clean(&all);

    let mut session = Session::start(&["list", "--store", shown]);
    open(&mut session, ["anna", "carla"]);
    session.sees("zmk 1").sees("component 2 of 2 is missing");
    assert_eq!(session.ends().0, 0);

    // Three slips end the command, and nothing is stored.
    let mut session = Session::start(&["component", "zmk 1", "--store", shown]);
    session.sees("A component of zmk 1.");
    open(&mut session, ["anna", "carla"]);
    session.sees("Given so far: 1 by anna.");
    session.sees("Who gives component 2, name: ").types("anna\n");
    session.sees("operator: anna gave component 1; another custodian must give this one");
    session.sees("Who gives component 2, name: ").types("carla\n");
    for _ in 0..3 {
        component(&mut session, 2, &parts[1], "B6616B");
        session.sees("the KCV does not fit component 2");
    }
    let (code, all) = session.ends();
    assert!(code == 21 && !all.contains("FA1B19"), "the right one is not shown: {all}");
    clean(&all);

    let mut session = Session::start(&["component", "zmk 1", "--store", shown]);
    open(&mut session, ["ben", "carla"]);
    session.sees("Who gives component 2, name: ").types("ben\n");
    component(&mut session, 2, &parts[1], "FA1B19");
    session.sees(&format!("zmk 1 stored: ZMK 47617399:1, DES {whole}"));
    let (code, all) = session.ends();
    assert_eq!(code, 0, "{all}");
    clean(&all);

    let key = hex::decode("F4CD4AE93E02D9C80D7C7F7391FE49AB").unwrap();
    let file = folder.path().join("kek.txt");
    let block = made('B', &raw::odd_parity(&sum), "K0TB00N", &key);
    let page = include_str!("../../src/manual/custody.md");
    for printed in [&block, &whole, &grouped(&parts[0]), &grouped(&parts[1])] {
        assert!(page.contains(printed.as_str()), "the walk of the page is this one: {printed}");
    }
    std::fs::write(&file, block + "\n").unwrap();
    let said =
        ["--zmk", "zmk 1", "--label", "kek-2", "--usage", "KEK", "--type", "TDES2", "--id", "476173FF"];
    let rules = ["--version", "2", "--kcv", "B82EC5", "--issuer", "TESTBANK", "--allow", "FFFFFF476173:1"];
    let import =
        [&["import-block", file.to_str().unwrap()][..], &said[..], &rules[..], &["--store", shown]].concat();
    for (word, ended) in [("no", 24), ("yes", 0)] {
        let mut session = Session::start(&import);
        session.sees(
            "Import of kek-2: KEK 476173FF:2, TDES2, issuer TESTBANK, goes to FFFFFF476173:1, from level 01, KCV B82EC5.",
        );
        open(&mut session, ["anna", "carla"]);
        session.sees(
            "Block: version B, usage K0, mode B, key version 00, exportability N, under zmk 1 (partner TESTBANK).",
        );
        session.sees("Type yes to store it: ").types(&format!("{word}\n"));
        let (code, all) = session.ends();
        assert_eq!(code, ended, "{all}");
        assert_eq!(all.contains("kek-2 stored: KEK 476173FF:2, DES B82EC5"), ended == 0, "{all}");
        clean(&all);
    }

    let mut session = Session::start(&["list", "--store", shown]);
    open(&mut session, ["anna", "ben"]);
    session.sees("zmk 1").sees("LIVE  components").sees("partner TESTBANK");
    session.sees("kek-2").sees("DES B82EC5  LIVE  block");
    session.sees("issuer TESTBANK, goes to FFFFFF476173:1, from level 01");
    assert_eq!(session.ends().0, 0);
    let mut session = Session::start(&["acts", "--store", shown]);
    open(&mut session, ["anna", "ben"]);
    session.sees(
        "COMPONENT  zmk 1  ZMK  47617399:1  DES B6616B  by anna, ben  component 1 of 2 by anna, whole key",
    );
    session.sees("STORED  zmk 1").sees("by ben, carla");
    session.sees("IMPORTED  kek-2  KEK  476173FF:2  DES B82EC5  by anna, carla  K0 B 00 N under zmk 1");
    assert_eq!(session.ends().0, 0);
}

/// A change of custodians drops the components so far, because one person could give a second one under a new name.
#[test]
fn a_change_drops_pending_components() {
    let (_folder, store) = live();
    let shown = store.to_str().unwrap();
    let said = ["--usage", "KMC", "--type", "TDES2", "--id", "FFFFFF476173", "--version", "1", "--of", "3"];
    let first = [&["component", "kmc-1"][..], &said[..], &["--kcv", "B82EC5", "--store", shown]].concat();
    let give = || {
        let mut session = Session::start(&first);
        open(&mut session, ["anna", "ben"]);
        session.sees("Who gives component 1, name: ").types("ben\n");
        component(&mut session, 1, &hex::decode("5D2A7F10BC94E6438F20D3A47C195E6B").unwrap(), "B6616B");
        session.sees("component 1 of 3 stored; 2 are missing.");
        assert_eq!(session.ends().0, 0);
    };
    give();
    let change = ["custodians", "--new", "dora,emil", "--threshold", "2", "--store", shown];
    let mut session = Session::start(&change);
    open(&mut session, ["anna", "ben"]);
    session.sees("Pending components are dropped: kmc-1. Type yes to go on: ").types("no\n");
    assert_eq!(session.ends().0, 24);

    let mut session = Session::start(&["component", "kmc-1", "--drop", "--store", shown]);
    session.sees("Drop the components of kmc-1.");
    open(&mut session, ["anna", "carla"]);
    session.sees("kmc-1: KMC FFFFFF476173:1, TDES2. Given so far: 1 by ben.");
    session.sees("Type yes to drop them: ").types("yes\n").sees("components of kmc-1 dropped");
    assert_eq!(session.ends().0, 0);
    let mut session = Session::start(&["component", "kmc-1", "--store", shown]);
    open(&mut session, ["anna", "carla"]);
    let (code, all) = session.ends();
    assert!(code == 20 && all.contains("no component of \"kmc-1\" is there"), "{all}");

    give();
    let mut session = Session::start(&change);
    open(&mut session, ["anna", "ben"]);
    session.sees("Type yes to go on: ").types("yes\n");
    for name in ["dora", "emil"] {
        session.sees(&format!("New passphrase of {name}, ")).types(&format!("{}\n", words(name)));
        session.sees("The same again: ").types(&format!("{}\n", words(name)));
    }
    assert_eq!(session.ends().0, 0);
    let mut session = Session::start(&["acts", "--store", shown]);
    open(&mut session, ["dora", "emil"]);
    session.sees("DROPPED  kmc-1").sees("by anna, ben  1 of 3 components").sees("CUSTODIANS  by anna, ben");
    assert_eq!(session.ends().0, 0);
}

/// A command with missing or superfluous options ends before it asks anybody.
#[test]
fn a_command_line_that_says_too_little_of_a_key_asks_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    drop(KeyStore::create_test(KEYS, &store, StoreSide::Bureau).unwrap());
    let whole = "--usage KEK --type AES128 --id 476173FF --version 7 --kcv B82EC5";
    for (words, code) in [
        ("component k --usage KMC".to_owned(), 2),
        ("component k --type TDES2".to_owned(), 2),
        ("component k --partner P".to_owned(), 2),
        ("component k --drop --usage KMC --type TDES2 --id FF --version 1 --of 2 --kcv B82EC5".to_owned(), 2),
        (format!("component k {whole} --of 2"), 2),
        (format!("component k {whole} --of 2 --issuer T"), 2),
        (format!("component k {whole} --of 2 --issuer T --allow FFFF"), 2),
        (format!("component k {whole} --of 2 --issuer T --partner P --allow FFFFFF476173:1"), 2),
        (format!("component k {} --of 2 --issuer T --allow FFFFFF476173:1", whole.replace("KEK", "KMC")), 2),
        (format!("component k {} --of 2", whole.replace("KEK", "KEY")), 2),
        (format!("component k {} --of 2", whole.replace("B82EC5", "B82E")), 2),
        (format!("import-block none.txt --label k {whole}"), 2),
        (format!("import-block none.txt --zmk z --label k {whole} --issuer T --allow FFFFFF476173:1"), 50),
        // What needs no open store: how many components there are, an issuer's key, label, identifier.
        (format!("component k {whole} --of 4 --issuer T --allow FFFFFF476173:1"), 24),
        (format!("component k {} --of 2", whole.replace("KEK", "IMK-AC")), 22),
        (format!("component k\u{1b}[2J {whole} --of 2 --issuer T --allow FFFFFF476173:1"), 22),
        (
            format!(
                "component k {} --of 2 --issuer T --allow FFFFFF476173:1",
                whole.replace("476173FF", "4761")
            ),
            22,
        ),
    ] {
        let mut command = Command::new("setsid");
        command.args(["--wait", CARDWRIGHT, "key"]).args(words.split(' ')).arg("--store").arg(&store);
        let ended = command.stdin(Stdio::null()).output().unwrap();
        assert_eq!(ended.status.code(), Some(code), "{words}: {}", String::from_utf8_lossy(&ended.stderr));
    }
    assert_eq!(KeyStore::open(&store).unwrap().generation(), 1);
}
