//! Crosscheck: the VERIFIED event of a card names the compared parts, a file with a record whose parts disagree is
//! refused, and a chip that holds other data than the line sent is rejected. Generated cardholders and a
//! published test number.

use serde_json::Value;

use crate::books::{Witness, balanced, cards, none, number, stacked, word};
use crate::expected;
use crate::support::{PRODUCT, World};

/// A published test number, which no generated cardholder has.
const OTHER: &str = "6228000100001117";
/// Exit codes for "not all records are good" and for "the data of a record are wrong".
const NOT_ALL: i32 = 4;
const DATA: i32 = 15;

#[test]
fn a_verified_card_names_the_compared_parts() {
    let world = World::new();
    world.prepared("job", 3, 60);
    assert_eq!(world.run("job.cwf1", "sim-8", &[]).code, 0);
    for card in cards(&world) {
        let compared = word(&card["attempts"][0], "compared");
        assert_eq!(compared, "emboss = stripe = chip, chip read-back, stripe read-back");
    }
    // A line without the other modules still compares the parts: the issuer wrote them into one record.
    let world = World::new();
    world.prepared("job", 3, 60);
    assert_eq!(world.run("job.cwf1", "sim-chip-8", &[]).code, 0);
    for card in cards(&world) {
        assert_eq!(word(&card["attempts"][0], "compared"), "emboss = stripe = chip, chip read-back");
    }
}

/// A file with right seals from an issuer whose profile writes another number in some places, as bytes in which the
/// preparation looks for no tags.
fn disagrees(changes: &[(&str, &str)], says: &str) {
    let world = World::new();
    let change = |product: String, (from, to): &(&str, &str)| {
        assert!(product.contains(from));
        product.replacen(from, to, 1)
    };
    let product = changes.iter().fold(PRODUCT.to_owned(), change);
    std::fs::write(world.path("other.toml"), product).unwrap();
    let made = world.prep(&["sample", "--count", "3", "--output", "job.csv", "--seed", "61"]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let run = ["run", "--input", "job.csv", "--product", "other.toml", "--keys", "issuer.store"];
    let made = world.prep(&[&run[..], &["--kek", "476173FF:1", "--output", "job.cwf1"]].concat());
    assert_eq!(made.code, 0, "{}", made.stderr);

    let ended = world.run("job.cwf1", "sim-8", &[]);
    assert_eq!(ended.code, DATA, "{}", ended.stderr);
    assert!(ended.stderr.contains(says) && ended.stderr.contains("ask the issuer"), "{}", ended.stderr);
    let csv = std::fs::read_to_string(world.path("job.csv")).unwrap();
    let numbers = csv.lines().skip(1).map(|card| card.split(',').nth(1).unwrap());
    for number in numbers.chain([OTHER]) {
        assert!(!ended.stderr.contains(&number[..12]) && !ended.stdout.contains(&number[..12]), "quoted");
    }
    assert!(ended.stderr.contains("(record 1, byte "), "{}", ended.stderr);
    let jobs = world.cardwright(&["job", "list", "--json"]);
    assert_eq!((jobs.code, jobs.stdout.trim()), (0, "[]"), "{}", jobs.stderr);
}

#[test]
fn a_file_with_a_record_whose_parts_disagree_is_refused_as_a_whole() {
    let record = "5F20{name}}\"\n";
    let other =
        |bytes: &str| format!("{record}[[prep.application.dgi]]\ndgi = \"0B01\"\nvalue = \"{bytes}\"\n");
    let (number, track) = (format!("700A5A08{OTHER}"), format!("70125710{OTHER}D26122010000000F"));
    disagrees(&[(record, &other(&number))], "has two different account numbers");
    disagrees(&[(record, &other(&track))], "has two different account numbers");
    disagrees(
        &[(record, &other(&number)), ("5A{pan} ", ""), ("57{track2_chip} ", "")],
        "the embossed number is that of no application in the chip",
    );
}

#[test]
fn a_chip_that_holds_something_else_is_rejected() {
    const CARDS: u32 = 20;
    let world = World::new();
    let expected = expected::prepared(&world, "job", CARDS, 62);
    let faults = "[[fault]]\nkind = \"chip-corrupt\"\nblanks = [3, 11]\n";
    std::fs::write(world.path("faults.toml"), faults).unwrap();
    let ended = world.run("job.cwf1", "sim-8", &["--faults", "faults.toml"]);
    assert_eq!(ended.code, NOT_ALL, "{}", ended.stderr);
    let events = world.events();
    let run = Witness::keep(&world, 1);
    assert_eq!(run.faults.len(), 2, "{:?}", run.faults);
    assert!(run.faults.iter().all(|f| f["kind"] == "chip-corrupt"));
    let rejected: Vec<&Value> = events.iter().filter(|e| e["to"] == "REJECTED").collect();
    assert_eq!(rejected.len(), 2);
    for event in rejected {
        assert_eq!(
            (word(event, "reason"), word(event, "header")),
            ("chip-read-back".into(), "00B2010C".into())
        );
        let dump = run.fate("rejected").find(|d| d["blank"] == event["blank"]);
        assert!(dump.is_some_and(|d| d["stripe"]["2"].is_null()), "it went on: {event}");
    }
    let made = stacked(&events, &run);
    none(&expected.differences(&made, 1));
    let job = balanced(&world, &[run]);
    assert_eq!(number(&job["balance"], "good"), u64::from(CARDS) - 2);
}
