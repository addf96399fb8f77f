//! The first card of each KMC and key version goes alone: wrong keys cost one card, and a first card that is out
//! for another reason costs only itself.

use serde_json::Value;

use crate::books::{Witness, balanced, none, number, stacked, word};
use crate::expected;
use crate::support::{Ended, World};

const CARDS: u32 = 60;
/// Exit code of a line that a device stopped.
const DEVICE: i32 = 31;
/// Exit code of a run that did not make every record GOOD.
const NOT_ALL_GOOD: i32 = 4;
const SIM_8: &str = include_str!("../../profiles/lines/sim-8.toml");
const STRIPE_FIRST: &str = include_str!("../../profiles/lines/sim-stripe-first.toml");
/// Keys of the line profiles' KMCs FFFFFF476173:1 and FFFFFF622800:1, each with one byte changed.
const WRONG: [(&str, &str); 2] = [
    ("404142434445464748494A4B4C4D4E4F", "404142434445464748494A4B4C4D4E40"),
    ("A8C4709E0B3DF2657C80164F9BB325D0", "A8C4709E0B3DF2657C80164F9BB325D2"),
];

/// A chip that hangs is given up soon.
const LIMITS: &str = "[limits]\ncommand = 1\nphase = 2\ncard = 3\n\n[sim]\n";

/// Each chip answers its second command late.
const LATE: &str = "[[fault]]\nkind = \"late\"\nevery = 1\nafter = 1\nms = 150\n";

/// The line with blanks of its first KMC alone.
fn one_kmc(line: &str) -> String {
    let second = line.rmatch_indices("[[sim.blanks]]").nth(1).unwrap().0;
    line[..second].to_owned()
}

struct Run {
    ended: Ended,
    job: Value,
    witness: Witness,
    events: Vec<Value>,
}

impl Run {
    /// Runs a job on this line, whose blanks have other keys than the store for the WRONG KMC of this index. Each chip
    /// answers INITIALIZE UPDATE late: other blanks could be fed meanwhile, and nothing but the turns holds them back.
    fn wrong(line: &str, wrong: usize, seed: &str) -> Self {
        let (right, other) = WRONG[wrong];
        let ended = |world: &World| {
            std::fs::write(world.path("line.toml"), line.replace(right, other)).unwrap();
            std::fs::write(world.path("faults.toml"), LATE).unwrap();
            world.run("job.cwf1", "line.toml", &["--seed", seed, "--faults", "faults.toml"])
        };
        let run = Self::of(ended);
        assert_eq!(run.ended.code, DEVICE, "{}", run.ended.stderr);
        assert!(run.ended.stderr.contains("the first card of this KMC_ID"), "{}", run.ended.stderr);
        assert_eq!(word(&run.job, "state"), "HELD", "{}", run.job);
        run
    }

    fn of(ended: impl FnOnce(&World) -> Ended) -> Self {
        let world = World::new();
        let expected = expected::prepared(&world, "job", CARDS, 50);
        let ended = ended(&world);
        let witness = Witness::keep(&world, 1);
        witness.holds(&world);
        let events = world.events();
        none(&expected.differences(&stacked(&events, &witness), 5));
        let job = balanced(&world, std::slice::from_ref(&witness));
        let balance = &job["balance"];
        assert_eq!((number(balance, "in_flight"), number(balance, "unknown")), (0, 0), "{}", ended.stderr);
        Self { ended, job, witness, events }
    }

    fn rejected(&self, reason: &str) -> Vec<&Value> {
        self.events.iter().filter(|e| e["to"] == "REJECTED" && e["reason"] == reason).collect()
    }

    fn balance(&self, name: &str) -> u64 {
        number(&self.job["balance"], name)
    }
}

#[test]
fn wrong_keys_of_the_first_card_cost_one_card_and_no_other_blank_is_fed() {
    let run = Run::wrong(&one_kmc(SIM_8), 0, "2");
    assert!(run.ended.stderr.contains("FFFFFF476173:1"), "{}", run.ended.stderr);
    assert_eq!(run.rejected("cryptogram").len(), 1);
    assert_eq!(run.witness.dumps.len(), 1, "other blanks were fed");
    assert_eq!((run.balance("remake"), run.balance("queued")), (1, u64::from(CARDS) - 1));
}

/// Three KMCs are mixed, and one of them is wrong: of its blanks one is bound. The others are thrown out
/// empty, and cards of the right keys are finished.
#[test]
fn one_wrong_key_of_three_costs_one_card_and_those_that_wait_are_not_bound() {
    for seed in ["9", "32"] {
        let run = Run::wrong(SIM_8, 1, seed);
        assert!(run.ended.stderr.contains("FFFFFF622800:1"), "{}", run.ended.stderr);
        assert_eq!(run.rejected("cryptogram").len(), 1, "seed {seed}");
        let spared = run.rejected("keys-doubted");
        assert!(spared.iter().all(|e| e["seq"].is_null() && e["attempt"].is_null()), "{spared:?}");
        assert_eq!(run.witness.fate("rejected").count(), 1 + spared.len());
        assert!(run.witness.fate("rejected").all(|dump| number(dump, "writes") == 0));
        assert_eq!(run.balance("remake"), 1);
        assert_eq!(run.balance("good") + run.balance("queued") + 1, u64::from(CARDS));
    }
}

/// The card is bound at the encoder. Its stripe is written, and its chip is not opened.
#[test]
fn behind_an_encoder_wrong_keys_cost_one_card_too() {
    let run = Run::wrong(&one_kmc(STRIPE_FIRST), 0, "2");
    assert_eq!((run.rejected("cryptogram").len(), run.witness.dumps.len()), (1, 1));
    let run = Run::wrong(STRIPE_FIRST, 1, "53");
    assert_eq!(run.rejected("cryptogram").len(), 1);
    for event in run.rejected("keys-doubted") {
        assert!(word(event, "station").starts_with("chip-"), "{event}");
    }
    let opened = |dump: &&Value| {
        let applications = dump["chip"]["applications"].as_array().unwrap();
        applications.iter().any(|application| application["state"] == "PERSONALIZED")
    };
    assert_eq!(run.witness.fate("rejected").filter(opened).count(), 0);
}

#[test]
fn a_first_card_that_is_out_for_another_reason_gives_the_turn_to_the_next() {
    for (fault, reason, lost) in [
        ("kind = \"mute\"", "mute", 0),
        // Before its answer to INITIALIZE UPDATE, and at EXTERNAL AUTHENTICATE.
        ("kind = \"hang\"\nafter = 1", "timeout", 0),
        ("kind = \"hang\"\nafter = 2", "timeout", 1),
        ("kind = \"card-pulled\"\nafter = 2", "card-removed", 1),
    ] {
        for (line, first) in [(SIM_8, true), (STRIPE_FIRST, false)] {
            let line = line.replace("[sim]\n", LIMITS);
            let run = Run::of(|world| {
                std::fs::write(world.path("line.toml"), line).unwrap();
                std::fs::write(world.path("faults.toml"), format!("[[fault]]\nblanks = [1]\n{fault}\n"))
                    .unwrap();
                world.run("job.cwf1", "line.toml", &["--faults", "faults.toml", "--seed", "7"])
            });
            // At the encoder the card is bound before anybody looks at its chip.
            let lost = if first { lost } else { 1 };
            assert_eq!(run.ended.code, if lost == 0 { 0 } else { NOT_ALL_GOOD }, "{}", run.ended.stderr);
            assert_eq!(run.rejected(reason).len(), 1, "{fault}");
            assert_eq!(run.witness.fate("rejected").count(), 1, "{fault}");
            assert_eq!(run.balance("good"), u64::from(CARDS) - lost);
        }
    }
}
