//! Readers and encoders that are exchanged, before the start and while the line runs: no card with another's
//! data is ever GOOD.

use serde_json::Value;

use crate::books::{Witness, job, none, number, stacked};
use crate::expected;
use crate::support::{Ended, World};

const CARDS: u32 = 30;
const SIM_8: &str = include_str!("../../profiles/lines/sim-8.toml");
/// Every pair of readers, and the pair of encoders.
const PAIRS: [[&str; 2]; 4] =
    [["chip-1", "chip-2"], ["chip-1", "chip-3"], ["chip-2", "chip-3"], ["stripe-1", "stripe-2"]];

/// The line with three readers and two encoders, which waits a second for a module without a station.
fn line() -> String {
    let three = SIM_8.replacen("stations = 8", "stations = 3", 1);
    assert_ne!(three, SIM_8);
    let two = three.replacen("kind = \"stripe\"", "kind = \"stripe\"\nstations = 2", 1);
    two.replacen("[sim]\n", "[limits]\nrecover = 1\n\n[sim]\n", 1)
}

struct Run {
    world: World,
    ended: Ended,
    job: Value,
    witness: Witness,
}

impl Run {
    /// Makes a job on the line with these faults. Fails if any GOOD card has other data than ordered.
    fn with(faults: &str) -> Self {
        let world = World::new();
        let expected = expected::prepared(&world, "job", CARDS, 60);
        std::fs::write(world.path("line.toml"), line()).unwrap();
        std::fs::write(world.path("faults.toml"), faults).unwrap();
        let ended = world.run("job.cwf1", "line.toml", &["--faults", "faults.toml", "--seed", "3"]);
        let witness = Witness::keep(&world, 1);
        witness.holds(&world);
        none(&expected.differences(&stacked(&world.events(), &witness), 5));
        let job = job(&world);
        Self { world, ended, job, witness }
    }

    fn exchanged(pair: [&str; 2], after: u32) -> Self {
        let [a, b] = pair;
        Self::with(&format!("[[exchange]]\nstations = [{a:?}, {b:?}]\nafter = {after}\n"))
    }

    fn count(&self, name: &str) -> u64 {
        number(&self.job["balance"], name)
    }

    /// Both stations are named to people.
    fn names(&self, pair: [&str; 2]) {
        let said = &self.ended.stderr;
        assert!(pair.iter().all(|station| said.contains(station)) && said.contains("exchanged"), "{said}");
    }
}

#[test]
fn devices_exchanged_before_the_start_spend_no_blank_at_the_first_module_and_one_card_behind_it() {
    for pair in PAIRS {
        let run = Run::exchanged(pair, 0);
        run.names(pair);
        let chips = pair[0].starts_with("chip");
        let lost = u64::from(!chips);
        assert_eq!(
            (run.count("blanks_rejected"), run.count("remake")),
            (lost, lost),
            "{pair:?}: {}",
            run.job
        );
        assert!(run.witness.fate("rejected").all(|dump| dump["stripe"]["2"].is_null()), "{pair:?}: written");
        // The blank of the proof that failed lies untouched in its station.
        assert_eq!(run.count("blanks_returned"), u64::from(chips), "{pair:?}: {}", run.job);
        assert!(run.witness.fate("left").all(|dump| number(dump, "writes") == 0), "{pair:?}");
        let good = if chips { u64::from(CARDS) } else { 0 };
        assert_eq!(run.count("good"), good, "{pair:?}: {}", run.ended.stderr);
    }
}

#[test]
fn devices_exchanged_while_the_line_runs_make_no_wrong_card() {
    for pair in PAIRS {
        let run = Run::exchanged(pair, 9);
        run.names(pair);
        assert!(run.count("good") > 0 && run.count("unknown") == 0, "{pair:?}: {}", run.job);
        // The cables were pulled under a card at each of the two; the proof costs one card more, behind the
        // first module. Cards that waited for the encoders are thrown out after the line has waited for them.
        let waited = run.world.events().iter().filter(|e| e["reason"] == "no-station").count() as u64;
        let chips = pair[0].starts_with("chip");
        let most = if chips { 2 } else { 3 + waited };
        assert!(run.count("blanks_rejected") <= most, "{pair:?}: {}\n{}", run.job, run.ended.stderr);
        assert!(!chips || waited == 0, "{pair:?}");
    }
}

#[test]
fn readers_that_see_cards_late_are_proved_and_make_every_card() {
    let late = |station: &str, ms: u32| format!("[[sight]]\nstation = {station:?}\nlate_ms = {ms}\n");
    let run = Run::with(&[late("chip-1", 400), late("chip-2", 400), late("chip-3", 1_000)].concat());
    assert_eq!(
        (run.count("good"), run.count("blanks_rejected")),
        (u64::from(CARDS), 0),
        "{}",
        run.ended.stderr
    );
}

#[test]
fn a_reader_that_always_sees_a_card_gets_none() {
    let run = Run::with("[[sight]]\nstation = \"chip-2\"\nalways = true\n");
    assert_eq!(
        (run.count("good"), run.count("blanks_rejected")),
        (u64::from(CARDS), 0),
        "{}",
        run.ended.stderr
    );
    let at = run.world.events().iter().filter(|e| e["station"] == "chip-2").count();
    assert_eq!(at, 0);
    assert!(run.ended.stderr.contains("stray-card"), "{}", run.ended.stderr);
}
