//! Every fault that the simulator knows, many times: each bad blank leaves the line for its own reason, no
//! other card is affected, and remakes bring every record to GOOD.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::books::{Witness, balanced, cards, none, number, stacked, word};
use crate::expected::{self, Expected};
use crate::support::World;

const CARDS: u32 = 700;
/// Rule k strikes the blanks n with n mod EVERY = 4k + 1: no blank gets two rules.
const EVERY: u64 = 64;
/// The least number of faults of each kind.
const AT_LEAST: usize = 10;

/// One rule of the faults file, and the expected fate of its blanks.
struct Rule {
    kind: &'static str,
    /// More lines of the rule.
    more: &'static str,
    /// Whether the fault comes before the binding, so that it costs no attempt.
    unbound: bool,
    reason: &'static str,
}

const fn unbound(kind: &'static str, more: &'static str, reason: &'static str) -> Rule {
    Rule { kind, more, unbound: true, reason }
}

const fn bound(kind: &'static str, more: &'static str, reason: &'static str) -> Rule {
    Rule { kind, more, unbound: false, reason }
}

const RULES: [Rule; 16] = [
    unbound("mute", "", "mute"),
    unbound("wrong-atr", "", "wrong-atr"),
    unbound("unknown-kmc", "", "unknown-kmc"),
    unbound("feed-jam", "", "jam"),
    // The card leaves after SELECT, before it identifies itself.
    unbound("card-pulled", "after = 1", "card-removed"),
    bound("wrong-cryptogram", "", "cryptogram"),
    // The PSE has one STORE DATA; the payment application has the second to at least the fifth.
    bound("status", "sw = \"6A84\"\nstore_data = 1", "sw-6A84"),
    bound("status", "sw = \"6A80\"\nstore_data = 4", "sw-6A80"),
    bound("status", "sw = \"6985\"\nstore_data = 5", "sw-6985"),
    bound("card-pulled", "", "card-removed"),
    bound("stripe-misread", "", "stripe-read-back"),
    bound("stripe-dirty", "", "stripe-not-blank"),
    // An MSR605 has one status for a jam and for a stripe that it cannot write (31, write or read error).
    bound("jam-stripe", "", "stripe-failed"),
    bound("jam-printer", "", "jam"),
    bound("jam-embosser", "", "jam"),
    bound("jam-transfer", "", "jam"),
];

/// The rule for a blank, by its feed ordinal.
fn rule_of(n: u64) -> Option<&'static Rule> {
    let at = (n % EVERY).checked_sub(1)?;
    if at.is_multiple_of(4) { RULES.get(usize::try_from(at / 4).unwrap()) } else { None }
}

/// The faults file. Cards with a wrong cryptogram are also pulled, but only after SELECT and INITIALIZE
/// UPDATE: if the line sent one more command or another reset, such a blank would be reported as card-pulled.
fn faults() -> String {
    let mut text = String::new();
    for (rule, offset) in RULES.iter().zip((1..).step_by(4)) {
        let Rule { kind, more, .. } = rule;
        text += &format!("[[fault]]\nkind = {kind:?}\nevery = {EVERY}\noffset = {offset}\n{more}\n\n");
        if *kind == "wrong-cryptogram" {
            text += &format!(
                "[[fault]]\nkind = \"card-pulled\"\nevery = {EVERY}\noffset = {offset}\nafter = 2\n\n"
            );
        }
    }
    text
}

#[test]
fn every_fault_ten_times_then_remakes_until_every_record_is_good() {
    let world = World::new();
    let expected = expected::prepared(&world, "job", CARDS, 8);
    std::fs::write(world.path("faults.toml"), faults()).unwrap();
    let mut storm = Storm { world, expected, runs: Vec::new(), good: Vec::new() };

    let ended = storm.world.run("job.cwf1", "sim-8", &["--faults", "faults.toml", "--seed", "100"]);
    assert_eq!(ended.code, 4, "{}{}", ended.stdout, ended.stderr);
    storm.run_is_right();
    storm.every_kind_often_enough();
    storm.first_run_is_right();
    storm.nothing_goes_on_before_the_rejects_are_destroyed();

    for seed in 101..120 {
        storm.destroyed_and_released();
        let seed = seed.to_string();
        let ended = storm.world.resume("sim-8", &["--faults", "faults.toml", "--seed", &seed]);
        let job = storm.run_is_right();
        let good = number(&job["balance"], "good");
        assert_eq!(ended.code, if good == u64::from(CARDS) { 0 } else { 4 }, "{}", ended.stderr);
        if ended.code == 0 {
            break;
        }
    }
    storm.everything_is_settled();
}

struct Storm {
    world: World,
    expected: Expected,
    runs: Vec<Witness>,
    /// card_ref and dump of every stacked card of all runs.
    good: Vec<(String, Value)>,
}

impl Storm {
    /// The state after any run: the balances add up, every struck blank is out for its reason, and every
    /// other blank is stacked with the right content.
    fn run_is_right(&mut self) -> Value {
        let (world, events) = (&self.world, self.world.events());
        self.runs.push(Witness::keep(world, self.runs.len() + 1));
        let run = self.runs.last().unwrap();
        run.holds(world);
        let job = balanced(world, &self.runs);
        assert_eq!((number(&job["balance"], "in_flight"), number(&job["balance"], "unknown")), (0, 0));

        // A blank has one fault, and it is the one of the blank's rule.
        let mut struck = BTreeMap::new();
        for fault in &run.faults {
            let rule = rule_of(number(fault, "n")).unwrap_or_else(|| panic!("not ordered: {fault}"));
            assert_eq!(fault["kind"], rule.kind, "a command or reset after a wrong cryptogram? {fault}");
            assert!(struck.insert(word(fault, "blank"), (rule, fault)).is_none(), "struck twice: {fault}");
        }
        let rejected: BTreeSet<_> = run.fate("rejected").map(|d| word(d, "blank")).collect();
        assert_eq!(rejected, struck.keys().cloned().collect());
        let spared = run.fate("stacked").find(|d| rule_of(number(d, "n")).is_some());
        assert!(spared.is_none(), "a fault that never struck: {}", spared.unwrap_or(&Value::Null));

        let out: Vec<_> = events.iter().filter(|e| e["to"] == "REJECTED").collect();
        let (loose, tied): (Vec<&&Value>, Vec<_>) = out.iter().partition(|e| e["seq"].is_null());
        for event in &tied {
            let (rule, fault) = struck[&word(event, "blank")];
            assert!(!rule.unbound, "{event}");
            assert_eq!(event["reason"], rule.reason, "{event}");
            at_the_right_command(rule, fault, event);
        }
        // The ledger has no name for a blank that was thrown out before its chip was read, so only reasons
        // and stations are compared.
        let place = |station: &Value, reason: &str| (station.as_str().unwrap().to_owned(), reason.to_owned());
        let mut told: Vec<_> = loose.iter().map(|e| place(&e["station"], &word(e, "reason"))).collect();
        let unbound = struck.values().filter(|(rule, _)| rule.unbound);
        let mut known: Vec<_> = unbound.map(|(rule, fault)| place(&fault["station"], rule.reason)).collect();
        told.sort();
        known.sort();
        assert_eq!(told, known);
        assert!(loose.iter().all(|e| e["attempt"].is_null() && e["card_ref"].is_null()));
        assert_eq!(tied.len() + loose.len(), struck.len());
        for dump in run.fate("rejected") {
            nothing_went_on(rule_of(number(dump, "n")).unwrap(), dump);
        }

        let made = stacked(&events, run);
        none(&self.expected.differences(&made, 1));
        self.good.extend(made);
        job
    }

    /// Counts the faults in the injector's own log, each status word separately.
    fn every_kind_often_enough(&self) {
        let mut counts: BTreeMap<&str, usize> = RULES.iter().map(|r| (r.reason, 0)).collect();
        let mut kinds: BTreeMap<&str, usize> = RULES.iter().map(|r| (r.kind, 0)).collect();
        for fault in &self.runs[0].faults {
            let rule = rule_of(number(fault, "n")).unwrap();
            *kinds.get_mut(rule.kind).unwrap() += 1;
            *counts.get_mut(rule.reason).unwrap() += 1;
        }
        assert_eq!(kinds.len(), 13, "hwsim/src/faults/mod.rs has 13 kinds");
        assert!(kinds.values().all(|count| *count >= AT_LEAST), "{kinds:?}");
        assert!(counts.values().all(|count| *count >= AT_LEAST), "{counts:?}");
    }

    /// Every record was tried once, on a blank that was no unbound reject, and the stack has gaps where cards
    /// are out.
    fn first_run_is_right(&self) {
        let run = &self.runs[0];
        let cards = cards(&self.world);
        let mut positions = 1..;
        for card in &cards {
            let [attempt] = card["attempts"].as_array().unwrap().as_slice() else {
                panic!("not once: {card}")
            };
            let dump = run.dumps.iter().find(|d| d["blank"] == attempt["blank"]).unwrap();
            let state = (word(card, "state"), word(attempt, "state"));
            match rule_of(number(dump, "n")) {
                None => {
                    assert_eq!(state, ("GOOD".into(), "STACKED".into()), "{card}");
                    assert_eq!(number(attempt, "position"), positions.next().unwrap());
                }
                Some(rule) => {
                    assert!(!rule.unbound, "{card}");
                    assert_eq!(state, ("REMAKE".into(), "REJECTED".into()), "{card}");
                }
            }
        }
        let report = self.world.report();
        assert_eq!((&report["records_off"], &report["blanks_off"]), (&0.into(), &0.into()));
        let seqs =
            |list: &Value| list.as_array().unwrap().iter().map(|r| number(r, "seq")).collect::<Vec<_>>();
        let out: Vec<_> = cards.iter().filter(|c| c["state"] == "REMAKE").map(|c| number(c, "seq")).collect();
        assert_eq!(seqs(&report["gaps"]), out);
        assert_eq!(report["rejects"].as_array().unwrap().len(), run.fate("rejected").count());
    }

    fn nothing_goes_on_before_the_rejects_are_destroyed(&self) {
        let before = balanced(&self.world, &self.runs);
        for args in [&["job", "close", "J1"][..], &["card", "remake", "J1", "all"]] {
            let refused = self.world.cardwright(args);
            assert_eq!(refused.code, 42, "{args:?}: {}", refused.stderr);
            assert!(refused.stderr.contains("--destroyed"), "{}", refused.stderr);
        }
        assert_eq!(balanced(&self.world, &self.runs), before);
    }

    fn destroyed_and_released(&self) {
        let job = balanced(&self.world, &self.runs);
        let remakes = number(&job["balance"], "remake");
        for args in [&["card", "resolve", "J1", "all", "--destroyed"][..], &["card", "remake", "J1", "all"]] {
            let done = self.world.cardwright(args);
            assert_eq!(done.code, 0, "{args:?}: {}", done.stderr);
            let refused = self.world.cardwright(&["job", "close", "J1"]);
            assert_eq!(refused.code, 42, "{}", refused.stderr);
        }
        let after = balanced(&self.world, &self.runs);
        assert_eq!(after["balance"], job["balance"], "a person's word moves no card");
        let cards = cards(&self.world);
        assert_eq!(cards.iter().filter(|c| c["released"] == true).count() as u64, remakes);
    }

    fn everything_is_settled(&self) {
        let job = balanced(&self.world, &self.runs);
        assert_eq!(
            (word(&job, "state"), number(&job["balance"], "good")),
            ("CLOSED".into(), u64::from(CARDS))
        );
        assert!(self.runs.len() > 2, "no remake had to be made again");

        // Each record has exactly one stacked card in all runs, and the ledger names that card.
        let one_each: BTreeMap<_, _> =
            self.good.iter().map(|(name, dump)| (name.clone(), word(dump, "blank"))).collect();
        assert_eq!(
            (one_each.len(), self.good.len(), self.expected.len()),
            (CARDS as usize, CARDS as usize, CARDS as usize)
        );
        let mut destroyed = BTreeSet::new();
        for card in cards(&self.world) {
            assert_eq!(card["state"], "GOOD");
            let (last, earlier) = card["attempts"].as_array().unwrap().split_last().unwrap();
            assert_eq!(
                (&last["state"], word(last, "blank")),
                (&"STACKED".into(), one_each[&word(&card, "card_ref")].clone())
            );
            assert!(earlier.iter().all(|a| a["state"] == "DESTROYED"), "{card}");
            destroyed.extend(earlier.iter().map(|a| word(a, "blank")));
        }
        // A person has seen the destruction of every rejected card that holds data.
        let rejected = self.runs.iter().flat_map(|run| run.fate("rejected"));
        let written: BTreeSet<_> =
            rejected.filter(|d| number(d, "writes") > 0).map(|d| word(d, "blank")).collect();
        assert!(written.len() > 8 * AT_LEAST, "{}", written.len());
        assert!(written.is_subset(&destroyed));
    }
}

/// Compares the command that failed with the ledger's account of it.
fn at_the_right_command(rule: &Rule, fault: &Value, event: &Value) {
    match rule.kind {
        "status" => {
            assert_eq!(Some(word(event, "sw").as_str()), rule.reason.strip_prefix("sw-"), "{event}");
            assert_eq!(word(event, "header")[2..4], *"E2", "{event}");
        }
        "wrong-cryptogram" => assert_eq!(event["sw"], Value::Null),
        _ => {}
    }
    assert_eq!(event["station"], fault["station"], "{event}");
}

/// Compares how far a rejected blank got: the witness saw nothing written after the fault.
fn nothing_went_on(rule: &Rule, dump: &Value) {
    let applications = dump["chip"]["applications"].as_array().unwrap();
    let written =
        applications.iter().filter(|a| a["dgis"].as_object().is_some_and(|d| !d.is_empty())).count();
    let personalized = applications.iter().filter(|a| a["state"] == "PERSONALIZED").count();
    let [stripe, emboss] = [&dump["stripe"]["2"], &dump["emboss"]];
    let front = &dump["graphics"]["front"];
    let (bare, printed) = (stripe.is_null(), !front.is_null());
    assert!(emboss.as_array().unwrap().is_empty(), "{dump}");
    match rule.kind {
        _ if rule.unbound => {
            assert_eq!((number(dump, "writes"), written, bare, printed), (0, 0, true, false))
        }
        "wrong-cryptogram" => {
            assert_eq!((number(dump, "writes"), written, bare, printed), (0, 0, true, false));
        }
        "status" | "card-pulled" => assert!(personalized < 4 && bare && !printed, "{dump}"),
        "stripe-dirty" => assert_eq!(stripe, ";9999999999999999=4912?", "overwritten: {dump}"),
        "jam-stripe" | "jam-transfer" => assert!(personalized > 0 && bare && !printed, "{dump}"),
        "stripe-misread" | "jam-printer" => assert!(personalized > 0 && !bare && !printed, "{dump}"),
        "jam-embosser" => assert!(personalized > 0 && !bare && printed, "{dump}"),
        other => panic!("{other}"),
    }
}
