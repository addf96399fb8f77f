//! Two records of the same cards must agree: the controller's ledger, and the dumps of the simulated line.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::support::{World, lines};

/// The dumps that the simulated line wrote in one run.
pub struct Witness {
    /// Where the dumps lie in the world.
    pub directory: String,
    pub dumps: Vec<Value>,
    pub faults: Vec<Value>,
}

impl Witness {
    /// Puts the last run's dumps aside as `dumps-N`, so that the next run writes its own.
    pub fn keep(world: &World, run: usize) -> Self {
        let (dumps, faults) = (world.dumps(), lines(&world.path("dumps/faults.jsonl")));
        let directory = format!("dumps-{run}");
        std::fs::rename(world.path("dumps"), world.path(&directory)).unwrap();
        Self { directory, dumps, faults }
    }

    pub fn fate(&self, fate: &str) -> impl Iterator<Item = &Value> {
        self.dumps.iter().filter(move |d| d["fate"] == fate)
    }

    /// Fails unless every blank that came into the line went out of it by the journal, with the fate that its
    /// dump gives.
    pub fn holds(&self, world: &World) {
        let mut fates = BTreeMap::new();
        let mut fed = BTreeSet::new();
        for line in lines(&world.path(&self.directory).join("line.jsonl")) {
            match line["what"].as_str().unwrap() {
                "fed" => assert!(fed.insert(word(&line, "blank")), "fed twice: {line}"),
                _ => assert!(fates.insert(word(&line, "blank"), word(&line, "fate")).is_none(), "left twice"),
            }
        }
        assert_eq!(fed, fates.keys().cloned().collect());
        let dumped: BTreeMap<_, _> = self.dumps.iter().map(|d| (word(d, "blank"), word(d, "fate"))).collect();
        assert_eq!(dumped, fates);
    }
}

/// The job as the ledger has it. Fails unless both balances add up and agree with the witnesses of all runs
/// so far.
pub fn balanced(world: &World, runs: &[Witness]) -> Value {
    let job = job(world);
    let count = |name: &str| job["balance"][name].as_u64().unwrap_or_else(|| panic!("no {name} in {job}"));
    let sum = |names: &[&str]| names.iter().map(|n| count(n)).sum::<u64>();
    assert_eq!(
        count("records"),
        sum(&["queued", "in_flight", "good", "remake", "unknown", "cancelled"]),
        "{job}"
    );
    let blanks =
        ["in_line", "good", "rejected", "unknown", "returned", "sample"].map(|n| format!("blanks_{n}"));
    assert_eq!(count("blanks_fed"), blanks.iter().map(|n| count(n)).sum::<u64>(), "{job}");

    let fate = |fate: &str| runs.iter().map(|run| run.fate(fate).count() as u64).sum::<u64>();
    assert_eq!(count("blanks_fed"), runs.iter().map(|run| run.dumps.len() as u64).sum::<u64>(), "{job}");
    assert_eq!((count("good"), count("blanks_good")), (fate("stacked"), fate("stacked")), "{job}");
    assert_eq!(count("blanks_rejected"), fate("rejected"), "{job}");
    assert_eq!((count("blanks_in_line"), fate("left")), (0, 0), "{job}");
    job
}

/// The output of `job show J1`.
pub fn job(world: &World) -> Value {
    shown(world, &["job", "show", "J1", "--json"])
}

/// The output of `card show J1 all`: every record with its attempts, in file order.
pub fn cards(world: &World) -> Vec<Value> {
    match shown(world, &["card", "show", "J1", "all", "--json"]) {
        Value::Array(cards) => cards,
        other => panic!("{other}"),
    }
}

fn shown(world: &World, args: &[&str]) -> Value {
    let ended = world.cardwright(args);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    serde_json::from_str(&ended.stdout).unwrap()
}

/// The card_ref and the dump of each stacked card. The ledger's STACKED events name the blanks, and the dumps
/// are found by blank. Fails unless good cards leave in file order.
pub fn stacked(events: &[Value], run: &Witness) -> Vec<(String, Value)> {
    let by_blank: BTreeMap<_, _> = run.fate("stacked").map(|d| (word(d, "blank"), d)).collect();
    let stacked: Vec<_> = events.iter().filter(|e| e["to"] == "STACKED").collect();
    assert!(stacked.is_sorted_by(|a, b| number(a, "seq") < number(b, "seq")));
    assert!(stacked.is_sorted_by(|a, b| number(a, "position") < number(b, "position")));
    let cards: Vec<_> = stacked
        .iter()
        .map(|e| {
            let dump = by_blank.get(&word(e, "blank")).unwrap_or_else(|| panic!("no stacked dump: {e}"));
            assert_eq!(dump["position"], e["position"], "{e}");
            (word(e, "card_ref"), (*dump).clone())
        })
        .collect();
    assert_eq!(cards.len(), by_blank.len(), "a card was stacked that the ledger does not know");
    cards
}

pub fn word(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}")).to_owned()
}

pub fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or_else(|| panic!("no {name} in {value}"))
}

/// Fails if there are differences. The message shows the first ten, which are enough to find the cause.
#[track_caller]
pub fn none(differences: &[String]) {
    let few: Vec<_> = differences.iter().take(10).cloned().collect();
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), few.join("\n"));
}
