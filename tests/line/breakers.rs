//! Circuit breakers: when every card fails, the line stops after as few as possible, and the message names
//! the things to check. Wrong keys: `first_card`.

use serde_json::Value;

use crate::books::{Witness, balanced, number, word};
use crate::support::{Ended, World};

const CARDS: u32 = 100;
/// Exit code of a line that a device stopped.
const DEVICE: i32 = 31;

struct Run {
    ended: Ended,
    world: World,
    job: Value,
    rejected: Vec<Value>,
}

impl Run {
    fn new(line: &str, faults: &str) -> Self {
        let world = World::new();
        world.prepared("job", CARDS, 50);
        std::fs::write(world.path("faults.toml"), faults).unwrap();
        let ended = world.run("job.cwf1", line, &["--faults", "faults.toml", "--seed", "51"]);
        let witness = Witness::keep(&world, 1);
        witness.holds(&world);
        let mut job = balanced(&world, std::slice::from_ref(&witness));
        let balance = job["balance"].take();
        assert_eq!((number(&balance, "in_flight"), number(&balance, "unknown")), (0, 0), "{}", ended.stderr);
        assert_eq!(ended.code, DEVICE, "{}", ended.stderr);
        job["balance"] = balance;
        assert_eq!(word(&job, "state"), "HELD", "{job}");
        let rejected = world.events().into_iter().filter(|e| e["to"] == "REJECTED").collect();
        Self { ended, world, job, rejected }
    }

    fn with_reason(&self, reason: &str) -> Vec<&Value> {
        self.rejected.iter().filter(|e| e["reason"] == reason).collect()
    }

    /// The reason why the job is HELD.
    fn held(&self) -> String {
        let held: Vec<_> = self
            .world
            .events()
            .into_iter()
            .filter(|e| e["to"] == "HELD")
            .map(|e| word(&e, "reason"))
            .collect();
        held.last().unwrap().clone()
    }
}

/// The only station of its module: after five failed cards it is out of service, and the cards that wait for
/// it are thrown out, because no other station can take them.
#[test]
fn a_stripe_encoder_that_always_misreads_is_out_of_service_after_five_cards() {
    let run = Run::new("sim-8", "[[fault]]\nkind = \"stripe-misread\"\nevery = 1\n");
    assert_eq!(run.with_reason("stripe-read-back").len(), 5);
    assert!(run.with_reason("stripe-read-back").iter().all(|e| e["station"] == "stripe-1"));
    assert_eq!(run.held(), "stripe-read-back");
    assert!(run.ended.stderr.contains("5 cards in a row"), "{}", run.ended.stderr);
    // At most one for each chip station.
    assert!(run.with_reason("no-station").len() <= 8);
    assert_eq!(run.rejected.len(), 5 + run.with_reason("no-station").len());
    assert_eq!(number(&run.job["balance"], "good"), 0);
}

/// All stations together: ten cards fail, and at most as many more as the other stations had under way.
#[test]
fn a_status_word_of_every_card_stops_the_job_after_ten() {
    let run = Run::new("sim-8", "[[fault]]\nkind = \"status\"\nevery = 1\nsw = \"6A80\"\n");
    assert_eq!(run.held(), "breaker");
    assert!(run.ended.stderr.contains("10 cards in a row"), "{}", run.ended.stderr);
    assert!((10..=17).contains(&run.with_reason("sw-6A80").len()), "{}", run.rejected.len());
    assert_eq!(run.with_reason("sw-6A80").len(), run.rejected.len());
}

/// Blanks of the wrong kind cost no record an attempt, and the job stops before the whole stack is in the
/// reject bin.
#[test]
fn a_stack_of_mute_blanks_stops_the_job_and_a_line_may_say_when() {
    let faults = "[[fault]]\nkind = \"mute\"\nevery = 1\n";
    let run = Run::new("sim-8", faults);
    assert_eq!(run.held(), "breaker");
    assert!((10..=17).contains(&run.with_reason("mute").len()), "{}", run.rejected.len());
    assert_eq!(number(&run.job["balance"], "queued"), u64::from(CARDS));

    let world = World::new();
    world.prepared("job", CARDS, 50);
    let line = include_str!("../../profiles/lines/sim-8.toml");
    let line = line.replace("[sim]\n", "[breakers]\nstation = 2\njob = 1000\n\n[sim]\n");
    std::fs::write(world.path("line.toml"), line).unwrap();
    std::fs::write(world.path("faults.toml"), faults).unwrap();
    let ended = world.run("job.cwf1", "line.toml", &["--faults", "faults.toml"]);
    assert_eq!(ended.code, DEVICE, "{}", ended.stderr);
    let witness = Witness::keep(&world, 1);
    // Two at each of the eight stations.
    assert_eq!(witness.fate("rejected").count(), 16);
    assert!(ended.stderr.contains("2 cards in a row failed with mute"), "{}", ended.stderr);
}
