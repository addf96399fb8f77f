//! The cards that came out of the line are the cards that the issuer ordered, card by card and DGI by DGI.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::books::{self, Witness, balanced, none, number, stacked, word};
use crate::expected;
use crate::support::World;

const CARDS: u32 = 2_000;

#[test]
fn two_thousand_cards_hold_the_ordered_data() {
    let world = World::new();
    let expected = expected::prepared(&world, "job", CARDS, 3);
    let ended = world.run("job.cwf1", "sim-8", &["--seed", "11"]);
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    let events = world.events();
    let runs = [Witness::keep(&world, 1)];
    let [run] = &runs;
    run.holds(&world);
    assert!(run.faults.is_empty());

    let made = stacked(&events, run);
    in_file_order(&events);
    none(&expected.differences(&made, 5));
    assert_eq!(expected.len(), CARDS as usize);
    assert_eq!(made.iter().map(|(name, _)| name).collect::<BTreeSet<_>>().len(), CARDS as usize);
    // No two fronts have equal hashes, because no two account numbers are equal.
    let fronts: BTreeSet<_> = made.iter().map(|(_, d)| word(&d["graphics"], "front")).collect();
    assert_eq!(fronts.len(), CARDS as usize);
    let suppliers: BTreeSet<_> = made.iter().map(|(_, d)| word(d, "keydata")[..12].to_owned()).collect();
    assert_eq!(suppliers, ["FFFFFF476173", "FFFFFF622800"].map(str::to_owned).into());
    every_card_took_every_step(&events);

    let job = balanced(&world, &runs);
    assert_eq!((word(&job, "state"), number(&job["balance"], "good")), ("CLOSED".into(), u64::from(CARDS)));
    let report = world.report();
    assert_eq!((&report["records_off"], &report["blanks_off"]), (&0.into(), &0.into()));
    assert_eq!((&report["simulated"], &report["job"]["balance"]), (&true.into(), &job["balance"]));
    assert_eq!(
        (&report["rejects"], &report["gaps"], &report["remakes"]),
        (&none_at_all(), &none_at_all(), &none_at_all())
    );
    // The HSM makes at most four calls for each application of a card, and every application of the file was
    // made.
    let applications: usize = made.iter().map(|(_, dump)| personalized(dump)).sum();
    assert_eq!(number(&report["run"], "applications"), applications as u64);
    assert!(number(&report["run"], "hsm_calls") <= 4 * applications as u64, "{}", report["run"]);
}

fn none_at_all() -> Value {
    Value::Array(Vec::new())
}

fn personalized(dump: &Value) -> usize {
    let all = dump["chip"]["applications"].as_array().unwrap();
    all.iter().filter(|a| a["state"] == "PERSONALIZED").count()
}

/// Fails unless positions and sequences both run 1, 2, 3 ..., so that no card was left out.
fn in_file_order(events: &[Value]) {
    let stacked = events.iter().filter(|e| e["to"] == "STACKED");
    let places: Vec<_> = stacked.map(|e| (number(e, "seq"), number(e, "position"))).collect();
    assert_eq!(places, (1..=u64::from(CARDS)).map(|n| (n, n)).collect::<Vec<_>>());
}

/// Fails unless every attempt passes its states in order ("One card" in `src/ARCHITECTURE.md`).
fn every_card_took_every_step(events: &[Value]) {
    let mut steps: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for event in events.iter().filter(|e| e["seq"].is_u64()) {
        steps.entry(number(event, "seq")).or_default().push(event["to"].as_str().unwrap());
    }
    assert_eq!(steps.len(), CARDS as usize);
    for (seq, steps) in steps {
        assert_eq!(steps, ["BOUND", "PERSONALIZING", "WRITTEN", "VERIFIED", "STACKED"], "record {seq}");
    }
}

/// A comparison that finds no difference would prove nothing.
#[test]
fn the_comparison_sees_every_difference() {
    let world = World::new();
    let expected = expected::prepared(&world, "job", 4, 3);
    assert_eq!(world.run("job.cwf1", "sim-8", &[]).code, 0);
    let made = stacked(&world.events(), &Witness::keep(&world, 1));
    none(&expected.differences(&made, 1));
    let (card_ref, good) = &made[1];
    let see = |what: &str, card_ref: &str, dump: Value| {
        assert!(!expected.differences(&[(card_ref.to_owned(), dump)], 1).is_empty(), "{what} was not seen");
    };
    see("another's card", &made[0].0, good.clone());
    see("nobody's card", "C999999", good.clone());
    let dgi = |app: usize, dgi: &str| format!("/chip/applications/{app}/dgis/{dgi}");
    let flipped = |path: &str| {
        let mut text = good.pointer(path).unwrap().as_str().unwrap().to_owned();
        let last = if text.ends_with('0') { "1" } else { "0" };
        text.replace_range(text.len() - 1.., last);
        Value::from(text)
    };
    let mut changes: Vec<(String, Value)> = vec![
        ("/fate".into(), "rejected".into()),
        ("/simulated".into(), false.into()),
        ("/keydata".into(), flipped("/keydata")),
        ("/stripe/1".into(), Value::Null),
        ("/stripe/2".into(), flipped("/stripe/2")),
        ("/stripe/3".into(), ";1?".into()),
        ("/emboss".into(), none_at_all()),
        ("/emboss/0/x".into(), 402.into()),
        ("/emboss/3/text".into(), flipped("/emboss/3/text")),
        ("/graphics/front".into(), made[0].1["graphics"]["front"].clone()),
        ("/graphics/back".into(), good["graphics"]["front"].clone()),
        ("/graphics/back".into(), made[0].1["graphics"]["back"].clone()),
        ("/graphics/back".into(), Value::Null),
        ("/chip/applications/3/state".into(), "SELECTABLE".into()),
        ("/chip/applications/2/dgis".into(), serde_json::json!({})),
    ];
    for (app, number) in
        [(0, "0101"), (1, "0101"), (1, "8000"), (1, "8010"), (1, "9000"), (2, "8020"), (3, "A001")]
    {
        changes.push((dgi(app, number), flipped(&dgi(app, number))));
    }
    for (path, value) in changes {
        let mut dump = good.clone();
        *dump.pointer_mut(&path).unwrap() = value;
        see(&path, card_ref, dump);
    }
    let mut more = good.clone();
    more["chip"]["applications"][0]["dgis"]["0102"] = "70".into();
    see("a DGI too many", card_ref, more);
}

/// Blanks of two suppliers, and of two key versions of one supplier, lie mixed in the stack. Blanks whose KMC
/// the bureau lacks are thrown out unbound; with all KMCs the same blanks become good cards.
#[test]
fn two_kmcs_and_two_key_versions_in_one_stack() {
    const CARDS: u32 = 60;
    let made = |missing: Option<&str>| {
        let world = World::new();
        let expected = expected::prepared(&world, "job", CARDS, 4);
        if let Some(missing) = missing {
            without(&world, missing);
        }
        // Blanks that are thrown out at once may come many in a row while the good ones are being made.
        let line = include_str!("../../profiles/lines/sim-chip-8.toml");
        let line = line.replace("[sim]\n", "[breakers]\nstation = 1000\njob = 1000\n\n[sim]\n");
        std::fs::write(world.path("line.toml"), line).unwrap();
        let ended = world.run("job.cwf1", "line.toml", &["--seed", "7"]);
        assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
        let (events, runs) = (world.events(), [Witness::keep(&world, 1)]);
        balanced(&world, &runs);
        assert_eq!(stacked(&events, &runs[0]).len(), expected.len());
        assert!(books::cards(&world).iter().all(|card| card["attempts"].as_array().unwrap().len() == 1));
        let [run] = runs;
        (events, run)
    };
    let (_, all) = made(None);
    assert_eq!(all.fate("rejected").count(), 0);
    for (label, kmc) in
        [("kmc-1", "FFFFFF476173:1"), ("kmc-2", "FFFFFF476173:2"), ("kmc-3", "FFFFFF622800:1")]
    {
        let (events, run) = made(Some(label));
        let rejects: Vec<_> = events.iter().filter(|e| e["to"] == "REJECTED").collect();
        assert!(rejects.len() >= 5, "{label}: {}", rejects.len());
        assert_eq!(rejects.len(), run.fate("rejected").count());
        let named: BTreeSet<_> = rejects.iter().map(|e| word(e, "blank")).collect();
        assert_eq!(named, run.fate("rejected").map(|d| word(d, "blank")).collect(), "by their chips");
        for event in rejects {
            assert_eq!((&event["seq"], &event["attempt"]), (&Value::Null, &Value::Null));
            assert_eq!(event["reason"], "unknown-kmc");
            assert!(word(event, "detail").contains(kmc), "{event}");
        }
        let thrown_out = run.fate("rejected").filter(|d| number(d, "n") <= u64::from(CARDS));
        for dump in thrown_out {
            assert!(word(dump, "keydata").starts_with(&kmc[..12]), "{dump}");
            let same = all.dumps.iter().find(|d| d["blank"] == dump["blank"]).unwrap();
            assert_eq!((&same["n"], &same["fate"]), (&dump["n"], &"stacked".into()));
        }
    }
}

/// The bureau's key store without one key.
fn without(world: &World, label: &str) {
    world.change_keys(|list| {
        let keys: Vec<_> = list.split("[[key]]").filter(|k| !k.contains(&format!("{label:?}"))).collect();
        keys.join("[[key]]")
    });
}

/// The figures of a run count the work on cards that were rejected.
#[test]
fn commands_to_rejected_cards_are_counted() {
    let world = World::new();
    world.prepared("job", 4, 61);
    let faults = "[[fault]]\nkind = \"status\"\nsw = \"6A84\"\nstore_data = 2\nblanks = [1, 2, 3, 4]\n";
    std::fs::write(world.path("faults.toml"), faults).unwrap();
    let ended = world.run("job.cwf1", "sim-8", &["--faults", "faults.toml"]);
    assert_ne!(ended.code, 0, "{}", ended.stdout);
    let report = world.report();
    let (job, run) = (&report["job"]["balance"], &report["run"]);
    assert_eq!(number(job, "good"), 0, "{report}");
    // SELECT, INITIALIZE UPDATE, EXTERNAL AUTHENTICATE and two STORE DATA for each card that was bound.
    let bound = number(job, "blanks_rejected");
    assert!(bound > 0 && number(run, "commands") >= 5 * bound && number(run, "hsm_calls") >= bound, "{run}");
}
