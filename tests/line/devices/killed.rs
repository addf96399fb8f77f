//! The controller is killed in mid-card and goes on while the machines stay untouched: cards that lay in the
//! line are thrown out before the first feed, and the controller does not guess which cards they were.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Bureau, Lined};
use crate::books::{Witness, job, none, number, word};
use crate::expected;
use crate::support::lines;

const CARDS: u32 = 60;
/// Times that leave cards in the machines long enough for the kill to find some in each.
const SIM: &str = "feed_s = 0.02\ntransfer_s = 0.02\nstack_s = 0.01\nstripe_s = 0.05\nprinter_s = 0.1\n\
                   embosser_s = 0.1\nta1 = \"97\"\npage_ms = 0.1\ncrypto_ms = 1.0\ncommand_ms = 0.1\nchip_s = 0.3\n";

#[test]
fn cards_left_by_a_killed_run_are_thrown_out_before_the_next_feed() {
    let bureau = Bureau::new(&Lined { sim: SIM.into(), ..Lined::default() });
    let world = &bureau.world;
    let expected = expected::prepared(world, "job", CARDS, 31);
    let machines = bureau.machines(&["--seed", "12"]);
    let mut run = bureau.job().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    let stacked = || lines(&world.path("dumps/line.jsonl")).iter().filter(|l| l["fate"] == "stacked").count();
    while stacked() < 5 {
        assert!(Instant::now() < until && run.try_wait().unwrap().is_none(), "nothing is stacked");
        std::thread::sleep(Duration::from_millis(5));
    }
    run.kill().unwrap();
    run.wait().unwrap();
    let ended = bureau.made(&["job", "resume", "J1"]);
    machines.off();
    let said = &ended.stderr;
    // Every record that was queued is good.
    let log = world.cardwright(&["log", "--json"]);
    let events: Vec<Value> = serde_json::from_str(&log.stdout).unwrap();
    let reasons: Vec<_> = events.iter().filter(|e| e["reason"].is_string()).collect();
    assert_eq!(ended.code, 0, "{reasons:#?}{}{said}", ended.stdout);

    let witness = Witness::keep(world, 1);
    witness.holds(world);
    assert_eq!(witness.fate("left").count(), 0, "a card stayed in the line\n{said}");
    let thrown: Vec<_> = witness.fate("rejected").collect();
    assert!(!thrown.is_empty(), "the kill met no card");
    // Only the second run clears the line, and records that in one event.
    let cleared: Vec<_> = events.iter().filter(|e| e["reason"] == "cleared").collect();
    assert_eq!(cleared.len(), 1, "{said}");
    let detail = word(cleared[0], "detail");
    assert!(
        detail.contains(&format!("first feed: {} (", thrown.len())) && said.contains(&detail),
        "{thrown:#?}{reasons:#?}{said}"
    );
    assert!(events.iter().all(|e| e["to"] != "REJECTED" || e["reason"] == "restart"), "{said}");

    let job = job(world);
    let balance = &job["balance"];
    let count = |name: &str| number(balance, name);
    assert_eq!(count("good") + count("unknown"), u64::from(CARDS), "{job}");
    assert!(count("unknown") > 0, "{job}");
    let gone = count("blanks_good") + count("blanks_rejected") + count("blanks_unknown");
    assert_eq!((count("blanks_fed"), count("blanks_in_line")), (gone, 0), "{job}");
    // Each card that the ledger has as good is in the stacker and as ordered. A card that was being stacked
    // at the moment of the kill is UNKNOWN.
    let good = witness.fate("stacked").filter_map(|dump| {
        let event = events.iter().find(|e| e["to"] == "STACKED" && e["blank"] == dump["blank"])?;
        Some((word(event, "card_ref"), dump.clone()))
    });
    none(&expected.differences(&good.collect::<Vec<_>>(), 50));
    assert!(witness.fate("stacked").count() as u64 >= count("good"), "{job}");
}
