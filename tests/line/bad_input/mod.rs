//! Bad input. A fault of a file or of a record makes the whole file refused before any card is touched, and
//! `inspect --line` says exactly that. The files are good ones, damaged with `file` and `chip`.

mod chip;
pub mod file;
mod flips;
mod framing;
mod records;
mod rules;
mod seals;
mod seen;

use std::sync::OnceLock;

use cardwright::exit::Exit;

use crate::support::{Ended, World};
use file::File;

/// Number of cards in the good file.
const CARDS: u32 = 3;

/// A prepared file, and the data in it that must never be shown.
pub struct Prepared {
    pub bytes: Vec<u8>,
    private: Vec<String>,
}

fn prepare(count: u32, seed: u64) -> Prepared {
    let world = World::new();
    let bytes = std::fs::read(world.prepared("good", count, seed)).unwrap();
    let csv = std::fs::read_to_string(world.path("good.csv")).unwrap();
    let mut private = Vec::new();
    for card in csv.lines().skip(1) {
        let columns: Vec<&str> = card.split(',').collect();
        let (pan, name, purse) = (columns[1], columns[3], columns[11]);
        assert!(pan.len() == 16 && name.contains('/') && purse.len() == 16, "{card}");
        let grouped = pan.as_bytes().chunks(4).map(String::from_utf8_lossy).collect::<Vec<_>>().join(" ");
        private.extend([pan[6..15].to_owned(), grouped, hex::encode_upper(name), purse.to_owned()]);
        private.extend(name.split('/').map(str::to_owned));
    }
    Prepared { bytes, private }
}

/// The file that all tests damage; made once.
pub fn good() -> &'static Prepared {
    static GOOD: OnceLock<Prepared> = OnceLock::new();
    GOOD.get_or_init(|| prepare(CARDS, 5))
}

/// The good file in pieces.
pub fn pieces() -> File {
    File::split(&good().bytes)
}

/// A bureau for one test, with the exit codes that its programs must return.
struct Bureau {
    world: World,
}

/// The exit codes of the programs for one file.
#[derive(Clone, Copy)]
struct Ends {
    run: Exit,
    /// `inspect` without keys and with keys.
    inspect: [Exit; 2],
}

impl Ends {
    fn alike(exit: Exit) -> Self {
        Self { run: exit, inspect: [exit; 2] }
    }
}

impl Bureau {
    fn new() -> Self {
        let world = World::new();
        std::fs::write(world.path("good.cwf1"), &good().bytes).unwrap();
        Self { world }
    }

    /// Fails unless `run` refuses this file with a message that holds all of `says` (who is to blame, where,
    /// what is wrong, what to do next), touches no card and keeps nothing of the file, `inspect --line` says
    /// exactly that, and `inspect` finds the fault too, as far as it needs no line.
    fn refuses(&self, bytes: &[u8], ends: Ends, says: &[&str]) {
        std::fs::write(self.world.path("bad.cwf1"), bytes).unwrap();
        let ended = self.world.run("bad.cwf1", "sim-8", &[]);
        let message = one_message(&ended, ends.run);
        for word in says {
            assert!(message.contains(word), "{word:?} is not in {message:?}");
        }
        self.untouched();
        let accepting = ["inspect", "bad.cwf1", "--line", "sim-8", "--keys", "bureau.store"];
        assert_eq!(one_message(&self.world.cardwright(&accepting), ends.run), message);
        for (keys, exit) in [&[][..], &["--keys", "bureau.store"]].into_iter().zip(ends.inspect) {
            let ended = self.world.cardwright(&[&["inspect", "bad.cwf1"], keys].concat());
            shows_nothing_private(&ended);
            assert_eq!(ended.code, exit as i32, "inspect {keys:?}: {}{}", ended.stdout, ended.stderr);
            if !matches!(exit, Exit::Ok | Exit::StructureOnly | Exit::RecordData) {
                one_message(&ended, exit);
            }
        }
    }

    /// Fails unless there is no job, no spool file, no event and no card.
    fn untouched(&self) {
        let jobs = self.world.cardwright(&["job", "list", "--json"]);
        assert_eq!((jobs.code, jobs.stdout.trim()), (0, "[]"), "{}", jobs.stderr);
        let spool = std::fs::read_dir(self.world.path("cardwright.db.spool")).unwrap();
        assert_eq!(spool.count(), 0, "the spool holds something");
        for made in ["dumps", "report.json"] {
            assert!(!self.world.path(made).exists(), "{made} was made: hwsim was started");
        }
        // The events' file is opened before a file is accepted.
        let events = std::fs::read(self.world.path("events.jsonl")).unwrap_or_default();
        assert!(events.is_empty(), "there are events: hwsim was started");
    }

    /// Fails unless the good file is accepted after the refusal of its damaged copies.
    fn still_accepts_the_good_file(&self) {
        let ended = self.world.run("good.cwf1", "sim-chip-8", &[]);
        assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
        assert_eq!(self.world.dumps().len(), CARDS as usize);
    }
}

/// The one line that a program prints on stderr when it refuses something. Its stdout must be empty.
fn one_message(ended: &Ended, exit: Exit) -> String {
    shows_nothing_private(ended);
    let shown = format!("{}{}", ended.stdout, ended.stderr);
    assert_eq!((ended.code, ended.stdout.as_str()), (exit as i32, ""), "{shown}");
    let message = ended.stderr.strip_prefix("error: ").unwrap_or_else(|| panic!("{shown}"));
    assert_eq!(message.lines().count(), 1, "{shown}");
    let blamed = ["file: ", "key: ", "record "].iter().any(|blame| message.starts_with(blame));
    assert!(blamed, "nobody is blamed: {message}");
    let next = ["ask the issuer", "with the issuer", "import it", "`cardwright ", "next: cardwright "];
    assert!(next.iter().any(|next| message.contains(next)), "nothing to do next: {message}");
    message.to_owned()
}

/// Fails if the output holds an account number, a name or a purse's number of the good file.
fn shows_nothing_private(ended: &Ended) {
    for private in &good().private {
        let shown = ended.stdout.contains(private) || ended.stderr.contains(private);
        assert!(!shown, "{private}: {}{}", ended.stdout, ended.stderr);
    }
}

#[test]
fn taking_a_file_apart_and_sealing_it_again_changes_nothing() {
    let mut file = pieces();
    assert_eq!(file.bytes(), good().bytes);
    assert_eq!(file.sealed(), good().bytes);
    for record in 0..CARDS as usize {
        file.change_chip(record, |chip| assert_eq!(chip.applications.len(), 4));
        assert_eq!(file.sealed(), good().bytes, "record {}", record + 1);
    }
}

#[test]
fn the_good_file_is_right() {
    let bureau = Bureau::new();
    let inspect = |keys: &[&str]| bureau.world.cardwright(&[&["inspect", "good.cwf1"], keys].concat()).code;
    assert_eq!((inspect(&[]), inspect(&["--keys", "bureau.store"])), (Exit::StructureOnly as i32, 0));
    let line =
        bureau.world.cardwright(&["inspect", "good.cwf1", "--line", "sim-8", "--keys", "bureau.store"]);
    assert_eq!(line.code, 0, "{}", line.stderr);
    let says = ["Acceptance   line sim-8 would accept this file\n", "Chip MACs    all 12 verified\n"];
    assert!(says.iter().all(|says| line.stdout.contains(says)), "{}", line.stdout);
    let no_keys = bureau.world.cardwright(&["inspect", "good.cwf1", "--line", "sim-8"]);
    assert_eq!(no_keys.code, Exit::StructureOnly as i32, "{}", no_keys.stderr);
    assert!(
        no_keys.stdout.contains("would accept this file, as far as that needs no keys\n"),
        "{}",
        no_keys.stdout
    );
    bureau.still_accepts_the_good_file();
}
