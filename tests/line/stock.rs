//! Blanks and cards that people hand out and take back, on real runs: the ledger's view of stock, shifts,
//! samples and killed cards, compared with the dumps of the simulated line.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::books::{Witness, cards, job, number, word};
use crate::daemon::{Daemon, people};
use crate::support::World;

const DENIED: i32 = 42;
const DEVICE: i32 = 31;

/// Runs `cardwright WORDS`, which must succeed.
fn ok(world: &World, words: &str) -> String {
    let ended = world.cardwright(&words.split(' ').collect::<Vec<_>>());
    assert_eq!(ended.code, 0, "{words}: {}{}", ended.stdout, ended.stderr);
    ended.stdout
}

/// Runs `cardwright WORDS`, which must be refused.
fn denied(world: &World, words: &str, why: &str) {
    let ended = world.cardwright(&words.split(' ').collect::<Vec<_>>());
    assert_eq!(ended.code, DENIED, "{words}: {}{}", ended.stdout, ended.stderr);
    assert!(ended.stderr.contains(why), "{words}: {}", ended.stderr);
}

fn shown(world: &World, words: &str) -> Value {
    serde_json::from_str(&ok(world, words)).unwrap()
}

/// A shift's counts: issued, good, rejected, unknown, sample, returned, opening, closing, and the difference.
fn shift(world: &World, name: &str) -> [i64; 9] {
    let view = &shown(world, &format!("stock show --json --shift {name}"))["shift"];
    let count = |value: &Value| value.as_i64().unwrap();
    let on_hand = |when: &str| count(&view[when]["hopper"]) + count(&view[when]["in_line"]);
    let [issued, good, rejected, unknown, sample, returned] =
        ["issued", "good", "rejected", "unknown", "sample", "returned"].map(|name| count(&view[name]));
    let (opening, closing) = (on_hand("opening"), on_hand("closing"));
    [issued, good, rejected, unknown, sample, returned, opening, closing, count(&view["off"])]
}

fn audited(world: &World) {
    ok(world, "audit verify --keys bureau.store");
}

#[test]
fn stock_balances_for_the_job_and_for_each_shift() {
    let world = World::new();
    world.prepared("job", 12, 1);
    // The file is accepted and no card is made yet.
    assert_eq!(world.run("job.cwf1", "sim-chip-8", &["--limit", "0"]).code, 0);
    ok(&world, "stock shift early --by anna");
    denied(&world, "stock shift early", "an earlier shift had this name");
    denied(&world, "stock shift a/b", "\"a/b\": it holds '/'");
    denied(&world, "stock return J1 1", "no blanks were issued");
    // Blanks must be issued before the first is used.
    denied(&world, "stock test J1 2", "stock issue J1");
    assert_eq!(number(&job(&world)["balance"], "blanks_fed"), 0);
    ok(&world, "stock issue J1 20 --by anna");
    let many = world.cardwright(&["stock", "test", "J1", "1001"]);
    assert!(many.code == 2 && many.stderr.contains("1 to 1000"), "{} {}", many.code, many.stderr);
    ok(&world, "stock test J1 2 --by anna");
    let ended = world.resume("sim-chip-8", &["--seed", "1"]);
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    let first = Witness::keep(&world, 1);
    assert_eq!((first.fate("stacked").count(), first.dumps.len()), (12, 12));
    let balance = &job(&world)["balance"];
    let of = |name: &str| number(balance, name);
    assert_eq!((of("blanks_fed"), of("blanks_sample"), of("blanks_good")), (14, 2, 12), "{balance}");

    denied(&world, "job close J1", "blanks of its stock in the hopper: 6");
    denied(&world, "stock vault J1 13", "12 are good");
    ok(&world, "stock vault J1 10 --by anna");
    ok(&world, "stock shift late --by bo");
    denied(&world, "stock return J1 7", "there are 6 in the hopper");
    // The request is for more than there are: it is refused as a whole.
    denied(&world, "stock test J1 7", "there are 6 in the hopper");
    assert_eq!(number(&job(&world)["balance"], "blanks_fed"), 14);
    ok(&world, "stock return J1 6 --by bo");
    denied(&world, "stock test J1 1", "0 in the hopper");

    // One of the two good cards that are not in the vault is taken as a sample, and its record is made again.
    ok(&world, "card sample J1 3 --by bo");
    assert_eq!(number(&job(&world)["balance"], "blanks_sample"), 3);
    denied(&world, "card remake J1 3", "DESTROYED");
    denied(&world, "job close J1", "samples");
    ok(&world, "card sample J1 4 --by bo");
    denied(&world, "card sample J1 5", "in the vault");
    ok(&world, "card resolve J1 3,4 --destroyed --by bo");
    ok(&world, "card remake J1 all --by bo");
    ok(&world, "stock issue J1 2 --by bo");
    let ended = world.resume("sim-chip-8", &["--seed", "2"]);
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    let second = Witness::keep(&world, 2);
    assert_eq!((second.fate("stacked").count(), second.dumps.len()), (2, 2));

    // For each record exactly one card is good, and the witness saw that card stacked.
    for card in cards(&world) {
        let attempts = card["attempts"].as_array().unwrap();
        let good: Vec<_> = attempts.iter().filter(|a| a["state"] == "STACKED").collect();
        let [good] = good.as_slice() else { panic!("{card}") };
        let mut stacked = first.fate("stacked").chain(second.fate("stacked"));
        assert!(stacked.any(|dump| dump["blank"] == good["blank"]), "{card}");
    }
    ok(&world, "job close J1 --by bo --keys bureau.store");
    assert_eq!(shift(&world, "early"), [20, 12, 0, 0, 2, 0, 0, 6, 0]);
    assert_eq!(shift(&world, "late"), [2, 0, 2, 0, 0, 6, 6, 0, 0]);
    let stock = &shown(&world, "stock show --json --job J1")["jobs"][0];
    let stock = ["issued", "fed", "hopper", "returned", "vaulted"].map(|name| number(stock, name));
    assert_eq!(stock, [22, 16, 0, 6, 10]);
    assert_eq!(number(&shown(&world, "job report J1 --json")["stock"], "issued"), 22);
    audited(&world);
}

/// The simulated hopper holds more blanks than were issued; none of those is fed.
#[test]
fn a_line_feeds_no_blank_that_was_not_issued() {
    let world = World::new();
    world.prepared("job", 12, 1);
    assert_eq!(world.run("job.cwf1", "sim-chip-8", &["--limit", "0"]).code, 0);
    ok(&world, "stock issue J1 5");
    let ended = world.resume("sim-chip-8", &["--seed", "1"]);
    assert_eq!(ended.code, DEVICE, "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stderr.contains("stock issue J1"), "{}", ended.stderr);
    assert_eq!(Witness::keep(&world, 1).fate("stacked").count(), 5);
    assert_eq!(word(&job(&world), "state"), "HELD");
    ok(&world, "stock issue J1 7");
    assert_eq!(world.resume("sim-chip-8", &["--seed", "2"]).code, 0);
    assert_eq!(Witness::keep(&world, 2).fate("stacked").count(), 7);
    ok(&world, "job close J1 --keys bureau.store");
    audited(&world);

    // A job without issued blanks before its first feed gets none later, and closes as usual.
    let world = World::new();
    world.prepared("job", 3, 1);
    assert_eq!(world.run("job.cwf1", "sim-chip-8", &["--limit", "1"]).code, 0);
    denied(&world, "stock issue J1 5", "not counted");
    Witness::keep(&world, 1);
    assert_eq!(world.resume("sim-chip-8", &["--seed", "2"]).code, 0);
    assert_eq!(word(&job(&world), "state"), "CLOSED");
}

#[test]
fn a_killed_card_is_thrown_out_and_its_record_goes_to_another_blank() {
    const CARDS: u64 = 60;
    let world = World::new();
    people(&world, "\"operator\", \"supervisor\"");
    world.prepared("a", CARDS as u32, 3);
    // Slow enough for a finished card to be met before it is stacked.
    let daemon = Daemon::start(&world, "2", "1");
    daemon.ok("job submit a.cwf1");
    daemon.ok("stock issue J1 100");
    daemon.ok("job release J1");
    daemon.until("J1", |shown| number(&shown["balance"], "good") > 0);
    daemon.denied("card kill J1 60", "card cancel");
    daemon.denied("card kill J1 1", "stacked already");
    daemon.denied("stock return J1 1", "hold it first");
    daemon.denied("stock test J1 1", "hold it first");
    // One card under way at a module, and one that is finished and waits for its turn.
    let killed: Vec<u64> = ["PERSONALIZING", "VERIFIED"].map(|state| kill(&daemon, state)).into();
    let settled = daemon.until("J1", |shown| {
        let b = &shown["balance"];
        number(b, "queued") + number(b, "in_flight") == 0
    });
    let balance = &settled["balance"];
    assert_eq!((number(balance, "good"), number(balance, "remake")), (CARDS - 2, 2), "{settled}");
    for seq in &killed {
        assert!(daemon.ok(&format!("card kill J1 {seq}")).contains("nothing to do"));
        let card: Value = serde_json::from_str(&daemon.ok(&format!("card show J1 {seq} --json"))).unwrap();
        let attempt = &card["attempts"][0];
        assert_eq!((word(&card, "state"), word(attempt, "state")), ("REMAKE".into(), "REJECTED".into()));
        let rejected = card["events"].as_array().unwrap().iter().find(|e| e["to"] == "REJECTED").unwrap();
        assert_eq!((&rejected["reason"], &rejected["actor"]), (&"killed".into(), &"anna".into()));
        // The killed card was never stacked.
        let dumps = world.dumps();
        let dump = dumps.iter().find(|dump| dump["blank"] == attempt["blank"]).unwrap();
        assert_eq!(word(dump, "fate"), "rejected", "{dump}");
    }
    daemon.ok("card resolve J1 all --destroyed");
    daemon.ok("card remake J1 all");
    daemon.ok("job resume J1");
    daemon.until("J1", |shown| number(&shown["balance"], "good") == CARDS);
    let end = Instant::now() + Duration::from_secs(20);
    // The line may still hold the job for a moment.
    while daemon.asks("stock return J1 38").code != 0 {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(50));
    }
    daemon.ok("job close J1");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ends(), Some(0));
    let stacked = world.dumps().iter().filter(|d| d["fate"] == "stacked").count();
    assert_eq!(stacked as u64, CARDS);
    audited(&world);
}

/// Has a card thrown out whose attempt was in this state a moment ago. Returns the card's record.
fn kill(daemon: &Daemon<'_>, state: &str) -> u64 {
    let end = Instant::now() + Duration::from_secs(60);
    while Instant::now() < end {
        let shown: Value = serde_json::from_str(&daemon.ok("card show J1 all --json")).unwrap();
        let mut all = shown.as_array().unwrap().iter().rev();
        let Some(card) = all.find(|card| card["attempts"][0]["state"] == state) else { continue };
        let seq = number(card, "seq");
        if daemon.asks(&format!("card kill J1 {seq}")).code == 0 {
            // A second request has no effect, whether the card is still on its way out or already there.
            daemon.ok(&format!("card kill J1 {seq}"));
            return seq;
        }
    }
    panic!("no card was {state}");
}
