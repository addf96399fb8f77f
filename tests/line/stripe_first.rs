//! A line whose encoder stands before its chip stations: the card is bound at the encoder, and its chip is in
//! the ledger before the first channel is opened.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::books::{Witness, balanced, none, number, stacked, word};
use crate::expected;
use crate::support::World;

const LINE: &str = "sim-stripe-first";

/// The words of a record's events, in order.
fn steps(events: &[Value], seq: u64) -> Vec<&Value> {
    events.iter().filter(|event| event["seq"] == seq).collect()
}

fn words(steps: &[&Value]) -> Vec<String> {
    steps.iter().map(|step| word(step, "to")).collect()
}

#[test]
fn a_chip_after_the_encoder_is_known_before_its_channel_is_opened() {
    const CARDS: u32 = 60;
    let world = World::new();
    let expected = expected::prepared(&world, "job", CARDS, 21);
    let ended = world.run("job.cwf1", LINE, &["--seed", "4"]);
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    let (events, runs) = (world.events(), [Witness::keep(&world, 1)]);
    none(&expected.differences(&stacked(&events, &runs[0]), 5));
    let mut chips = BTreeSet::new();
    for seq in 1..=u64::from(CARDS) {
        let steps = steps(&events, seq);
        assert_eq!(
            words(&steps),
            ["BOUND", "PERSONALIZING", "CHIP", "WRITTEN", "VERIFIED", "STACKED"].map(str::to_owned)
        );
        let [bound, personalizing, chip, written, ..] = steps[..] else { panic!("{steps:?}") };
        assert!(word(bound, "station").starts_with("stripe-"), "{bound}");
        assert!(bound["chip"].is_null() && word(bound, "blank").starts_with('#'), "{bound}");
        assert_eq!(
            (&bound["blank"], &bound["blank_number"]),
            (&personalizing["blank"], &chip["blank_number"])
        );
        assert!(word(chip, "station").starts_with("chip-"), "{chip}");
        assert_eq!((&chip["chip"]["kind"], &chip["blank"]), (&"globalplatform".into(), &written["blank"]));
        assert_eq!(word(&chip["chip"], "kmc")[..12], word(&chip["chip"], "id")[..12]);
        assert!(chips.insert(word(&chip["chip"], "id")), "one chip for two attempts: {chip}");
    }
    // The ledger names the chips that are in the plastic.
    assert_eq!(chips, runs[0].fate("stacked").map(|dump| word(dump, "keydata")).collect());
    let job = balanced(&world, &runs);
    assert_eq!((word(&job, "state"), number(&job["balance"], "good")), ("CLOSED".into(), u64::from(CARDS)));
    let ended = world.cardwright(&["audit", "verify", "--keys", "bureau.store"]);
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
}

/// The second run's hopper holds cards of the first run. They are recognized at the chip station, after they
/// were bound and their stripe was written. Such a card is thrown out there without opening its channel, and
/// the station waits for a person.
#[test]
fn a_chip_that_comes_back_is_not_opened() {
    const BACK: usize = 2;
    let world = World::new();
    world.prepared("job", 8, 1);
    let pile = ["--seed", "5"];
    let ended = world.run("job.cwf1", LINE, &[&pile[..], &["--limit", &BACK.to_string()]].concat());
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    let mut runs = vec![Witness::keep(&world, 1)];
    // The encoder takes only blank stripes, so the pile comes back with blank ones.
    let ended = world.resume(LINE, &pile);
    assert_eq!(ended.code, 4, "{}{}", ended.stdout, ended.stderr);
    let events = world.events();
    runs.push(Witness::keep(&world, 2));
    let rejected: Vec<_> = events.iter().filter(|event| event["to"] == "REJECTED").collect();
    assert_eq!(rejected.len(), BACK, "{rejected:?}");
    for event in &rejected {
        assert_eq!((&event["reason"], &event["from"]), (&"chip-seen".into(), &"PERSONALIZING".into()));
        assert!(word(event, "station").starts_with("chip-"), "{event}");
        // The ledger has the chip only for the attempt to which it belongs.
        assert!(word(event, "blank").starts_with('#'), "{event}");
        assert!(!words(&steps(&events, number(event, "seq"))).contains(&"CHIP".to_owned()), "{event}");
    }
    let back: Vec<_> = runs[1].fate("rejected").collect();
    assert_eq!(back.len(), BACK);
    for dump in back {
        let opened = dump["chip"]["applications"].as_array().unwrap().iter();
        assert!(opened.clone().all(|application| application["state"] != "PERSONALIZED"), "{dump}");
    }
    balanced(&world, &runs);
}
