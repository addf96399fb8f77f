//! One attempt, one chip, on a line: a chip that the HSM knows from another job, and cards that count in their own way.

use crate::books::{Witness, balanced, none, stacked, word};
use crate::expected;
use crate::support::{World, lines};

/// The second job's hopper begins with copies of the first job's blanks: new cards with equal serial numbers and keys. The laws of
/// the ledger allow them. The HSM gives them no session, and the line goes on with the next blank.
#[test]
fn equal_csns_in_lawful_stock_refuse_the_session_alone() {
    const EQUAL: usize = 2;
    let world = World::new();
    world.prepared("first", 4, 1);
    world.prepared("second", 8, 2);
    let pile = ["--seed", "5"];
    let limit = EQUAL.to_string();
    let ended = world.run("first.cwf1", "sim-chip-8", &[&pile[..], &["--limit", &limit]].concat());
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    let first: Vec<_> = world.dumps().iter().map(|dump| word(dump, "keydata")).collect();
    std::fs::rename(world.path("dumps"), world.path("dumps-first")).unwrap();

    // Its cards have the names of those of the first file, so a person looks at it.
    assert_eq!(world.run("second.cwf1", "sim-chip-8", &pile).code, 44);
    let resume = |seed: &str| {
        let _ = std::fs::remove_file(world.path("events.jsonl"));
        let words = "job resume J2 --line sim-chip-8 --keys bureau.store --simulate --speed 0 --dump dumps \
                     --events events.jsonl --seed";
        world.cardwright(&words.split(' ').filter(|word| !word.is_empty()).chain([seed]).collect::<Vec<_>>())
    };
    let ended = resume("5");
    // Two records are to be made again; the others are good.
    assert_eq!(ended.code, 4, "{}{}", ended.stdout, ended.stderr);
    let events = world.events();
    let rejected: Vec<_> = events.iter().filter(|event| event["to"] == "REJECTED").collect();
    assert_eq!(rejected.len(), EQUAL, "{rejected:?}");
    for event in &rejected {
        assert_eq!((&event["reason"], &event["from"]), (&"chip-barred".into(), &"BOUND".into()), "{event}");
        let detail = word(event, "detail");
        assert!(detail.contains("bound to a record before") && detail.contains("destroy"), "{detail}");
    }
    let dumps = world.dumps();
    let out: Vec<_> = dumps.iter().filter(|dump| dump["fate"] == "rejected").collect();
    assert_eq!((dumps.len(), out.len()), (8, EQUAL));
    assert!(out.iter().all(|dump| dump["writes"] == 0 && first.contains(&word(dump, "keydata"))));

    // With other blanks, after people have destroyed the two cards.
    for words in [["resolve", "--destroyed"], ["remake", ""]] {
        let mut args = vec!["card", words[0], "J2", "all"];
        args.extend(words[1..].iter().filter(|word| !word.is_empty()));
        assert_eq!(world.cardwright(&args).code, 0, "{words:?}");
    }
    std::fs::rename(world.path("dumps"), world.path("dumps-second")).unwrap();
    let ended = resume("6");
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
}

/// Two applications of such a card have one session key. Each is opened once, so the card gets one cardholder's values and no
/// others.
#[test]
fn a_card_with_a_counter_per_application() {
    let world = World::new();
    let expected = expected::prepared(&world, "job", 6, 3);
    world.write("faults.toml", "[[fault]]\nkind = \"counter-per-application\"\nevery = 1\n");
    let ended = world.run("job.cwf1", "sim-8", &["--faults", "faults.toml"]);
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    let struck = lines(&world.path("dumps/faults.jsonl"));
    assert_eq!(struck.len(), 6, "{struck:?}");
    let events = world.events();
    let run = Witness::keep(&world, 1);
    assert_eq!(run.fate("stacked").count(), 6);
    none(&expected.differences(&stacked(&events, &run), 5));
    balanced(&world, &[run]);
}
