//! Jobs of 200 cards through 16 readers, an encoder, a printer and an embosser.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use super::{Bureau, Lined};
use crate::books::{Witness, balanced, none, number, stacked, word};
use crate::expected::{self, Expected};

const CARDS: u32 = 200;

#[test]
fn two_hundred_cards_through_real_readers_and_ports() {
    let bureau = Bureau::new(&Lined::default());
    let world = &bureau.world;
    let expected = expected::prepared(world, "job", CARDS, 21);
    let machines = bureau.machines(&["--seed", "5"]);
    let ended = bureau.made(&["run", "job.cwf1"]);
    machines.off();
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stdout.contains("TEST KEYS"), "{}", ended.stdout);

    let events = world.events();
    let runs = [Witness::keep(world, 1)];
    let [run] = &runs;
    run.holds(world);
    let made = stacked(&events, run);
    assert_eq!(made.len(), CARDS as usize);
    none(&expected.differences(&made, 10));
    let job = balanced(world, &runs);
    assert_eq!((word(&job, "state"), number(&job["balance"], "good")), ("CLOSED".into(), u64::from(CARDS)));
    assert_eq!((&job["simulated"], &job["test_keys"]), (&false.into(), &true.into()));
    // Every reader had its share of the cards.
    let at: BTreeSet<_> = events.iter().filter(|e| e["to"] == "BOUND").map(|e| word(e, "station")).collect();
    assert_eq!(at.len(), 16);
}

/// Faults of every link: of cards or readers, and of machines or their lines.
const FAULTS: &str = r#"
[[fault]]
kind = "mute"
every = 40
offset = 3

[[fault]]
kind = "garbled-atr"
every = 40
offset = 7

[[fault]]
kind = "wrong-atr"
every = 40
offset = 11

[[fault]]
kind = "wrong-protocol"
every = 40
offset = 15

[[fault]]
kind = "card-pulled"
every = 20
offset = 17
after = 1

[[fault]]
kind = "card-pulled"
every = 20
offset = 18
after = 9

[[fault]]
kind = "answer-pieces"
every = 10
offset = 1

[[fault]]
kind = "answer-length"
every = 10
offset = 2

[[fault]]
kind = "hang"
every = 60
offset = 20
after = 12
limit = 2

[[fault]]
kind = "status"
every = 40
offset = 23
sw = "6A84"

[[fault]]
kind = "silent-stripe"
blanks = [25]
ms = 2000

[[fault]]
kind = "late-stripe"
every = 50
offset = 27
ms = 300

[[fault]]
kind = "frame-corrupt"
device = "printer"
every = 30
offset = 29

[[fault]]
kind = "frame-corrupt"
device = "embosser"
every = 30
offset = 13

[[fault]]
kind = "ribbon-out"
blanks = [31, 70]
ms = 500

[[fault]]
kind = "close-printer"
blanks = [36]
ms = 500

[[fault]]
kind = "close-embosser"
blanks = [90]
ms = 500
"#;

/// Kinds of fault that must have struck at least once.
const KINDS: [&str; 16] = [
    "answer-pieces",
    "answer-length",
    "mute",
    "garbled-atr",
    "wrong-atr",
    "wrong-protocol",
    "card-pulled",
    "hang",
    "status",
    "silent-stripe",
    "late-stripe",
    "frame-corrupt",
    "ribbon-out",
    "close-printer",
    "close-embosser",
    "jam-transfer",
];

#[test]
fn two_hundred_cards_with_faults_until_every_record_is_good() {
    let bureau = Bureau::new(&Lined { command_s: 4.0, ..Lined::default() });
    let world = &bureau.world;
    let expected = expected::prepared(world, "job", CARDS, 22);
    let jams = "\n[[fault]]\nkind = \"jam-transfer\"\nevery = 80\noffset = 39\n";
    std::fs::write(world.path("faults.toml"), format!("{FAULTS}{jams}")).unwrap();
    let mut storm = Storm { bureau: &bureau, expected, runs: Vec::new(), good: Vec::new() };

    storm.run(&["run", "job.cwf1"], "faults.toml", 30);
    let struck: BTreeSet<_> = storm.runs[0].faults.iter().map(|f| word(f, "kind")).collect();
    let missing: Vec<_> = KINDS.iter().filter(|k| !struck.contains(**k)).collect();
    assert!(missing.is_empty(), "never struck: {missing:?}");
    std::fs::write(world.path("none.toml"), "").unwrap();
    for seed in 31..36 {
        storm.destroyed_and_released();
        if storm.run(&["job", "resume", "J1"], "none.toml", seed) {
            break;
        }
    }
    let job = balanced(world, &storm.runs);
    assert_eq!((word(&job, "state"), number(&job["balance"], "good")), ("CLOSED".into(), u64::from(CARDS)));
    let names: BTreeSet<_> = storm.good.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!((names.len(), storm.good.len()), (CARDS as usize, CARDS as usize), "one card for each record");
}

struct Storm<'a> {
    bureau: &'a Bureau,
    expected: Expected,
    runs: Vec<Witness>,
    /// card_ref and dump of every stacked card of all runs.
    good: Vec<(String, Value)>,
}

impl Storm<'_> {
    /// Makes one run and returns whether every record is good after it. In every case both books agree and no
    /// card is half done.
    fn run(&mut self, verb: &[&str], faults: &str, seed: u32) -> bool {
        let world = &self.bureau.world;
        let machines = self.bureau.machines(&["--faults", faults, "--seed", &seed.to_string()]);
        let ended = self.bureau.made(verb);
        machines.off();
        let events = world.events();
        self.runs.push(Witness::keep(world, self.runs.len() + 1));
        let run = self.runs.last().unwrap();
        run.holds(world);
        let made = stacked(&events, run);
        none(&self.expected.differences(&made, 50));
        self.good.extend(made);
        let job = balanced(world, &self.runs);
        assert_eq!(
            (number(&job["balance"], "in_flight"), number(&job["balance"], "unknown")),
            (0, 0),
            "{}",
            ended.stderr
        );
        let struck: BTreeSet<_> = run.faults.iter().map(|f| word(f, "blank")).collect();
        let bad = run.fate("rejected").find(|d| !struck.contains(&word(d, "blank")));
        let told: Vec<_> = events.iter().filter(|e| e["to"] == "REJECTED").map(Value::to_string).collect();
        assert!(bad.is_none(), "{} was thrown out without a fault:\n{}", bad.unwrap(), told.join("\n"));
        let good = number(&job["balance"], "good") == u64::from(CARDS);
        assert_eq!(ended.code == 0, good, "{}{}", ended.stdout, ended.stderr);
        good
    }

    /// Reports that the rejected cards were destroyed, and lets their records be made again.
    fn destroyed_and_released(&self) {
        for verb in [&["card", "resolve", "J1", "all", "--destroyed"][..], &["card", "remake", "J1", "all"]] {
            let ended = self.bureau.cardwright(verb);
            assert_eq!(ended.code, 0, "{}", ended.stderr);
        }
    }
}

/// Cards that stand in the output when pcscd is killed once more.
const KILLED_AT: [usize; 5] = [20, 50, 80, 110, 140];

/// pcscd crashes in the middle of the work and is back a second later: only the cards in its readers are
/// lost.
#[test]
fn pcscd_killed_and_restarted_in_mid_card() {
    let mut bureau = Bureau::new(&Lined { command_s: 4.0, ..Lined::default() });
    let expected = expected::prepared(&bureau.world, "job", CARDS, 23);
    let machines = bureau.machines(&["--seed", "6"]);
    let ended = {
        let path = bureau.world.path("events.jsonl");
        let _ = std::fs::remove_file(&path);
        let mut job = bureau.job().stderr(std::process::Stdio::piped()).spawn().unwrap();
        let count = |word: &str| std::fs::read_to_string(&path).unwrap_or_default().matches(word).count();
        let mut until = |word: &str, many: usize| {
            while count(word) < many && job.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        for stacked in KILLED_AT {
            until("\"STACKED\"", stacked);
            // A card that was bound a moment ago is being written: a kill between two cards costs nothing.
            until("\"BOUND\"", count("\"BOUND\"") + 1);
            bureau.scene.kill_pcscd();
            std::thread::sleep(Duration::from_secs(1));
            bureau.scene.start_pcscd();
        }
        job.wait_with_output().unwrap()
    };
    machines.off();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    let world = &bureau.world;
    let runs = [Witness::keep(world, 1)];
    runs[0].holds(world);
    let made = stacked(&world.events(), &runs[0]);
    none(&expected.differences(&made, 50));
    let job = balanced(world, &runs);
    let balance = &job["balance"];
    assert_eq!((number(balance, "in_flight"), number(balance, "unknown")), (0, 0), "{said}");
    // Each crash costs at most the card in each reader and one more blank that then found no reader; every
    // other record is good.
    let remake = number(balance, "remake");
    let kills = KILLED_AT.len();
    assert!(remake <= 16 * kills as u64, "{remake} cards lost\n{said}");
    let rejected = runs[0].fate("rejected").count();
    assert!((1..=32 * kills).contains(&rejected), "{rejected} cards rejected\n{said}");
    assert_eq!(number(balance, "good") + remake, u64::from(CARDS), "{said}");
}
