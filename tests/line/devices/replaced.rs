//! The machines are lost under a daemon that works on them. The daemon goes on, and the job is held or its
//! cards are UNKNOWN. With new machines on these readers and ports the job is made to its end, and no card
//! twice.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use serde_json::Value;

use super::{Bureau, Lined};
use crate::books::{Witness, number, word};
use crate::daemon::{Daemon, audited, good, off, people};
use crate::support::lines;

const CARDS: u64 = 40;
/// Times that leave cards in the machines long enough for the kill to find some.
const SIM: &str = "feed_s = 0.02\ntransfer_s = 0.02\nstack_s = 0.01\nstripe_s = 0.05\nprinter_s = 0.1\n\
                   embosser_s = 0.1\nta1 = \"97\"\npage_ms = 0.1\ncrypto_ms = 1.0\ncommand_ms = 0.1\nchip_s = 0.3\n";

fn count(job: &Value, name: &str) -> u64 {
    number(&job["balance"], name)
}

/// Whether the job waits for a person: no card can move before one says how to go on.
fn at_rest(job: &Value) -> bool {
    let waits = count(job, "unknown") + count(job, "remake") > 0;
    job["phase"] != "OPEN" || waits && count(job, "queued") + count(job, "in_flight") == 0
}

#[test]
fn machines_that_are_killed_and_replaced_cost_their_cards_and_no_other() {
    let bureau = Bureau::new(&Lined { stations: 4, sim: SIM.into(), ..Lined::default() });
    let world = &bureau.world;
    // The killed machines are not back within this time.
    let path = world.path("line.toml");
    let line = std::fs::read_to_string(&path).unwrap().replacen("recover = 60", "recover = 1", 1);
    std::fs::write(&path, line).unwrap();
    people(world, "\"operator\", \"supervisor\"");
    world.prepared("a", CARDS as u32, 51);
    let machines = bureau.machines(&["--seed", "1"]);
    let mut command = bureau.scene.command(Path::new(env!("CARGO_BIN_EXE_cardwrightd")));
    command
        .args([
            "--line",
            "line.toml",
            "--keys",
            "bureau.store",
            "--people",
            "people.toml",
            "--socket",
            "d.sock",
        ])
        .current_dir(world.path(""))
        .env_remove("CARDWRIGHT_LEDGER")
        .stdout(std::process::Stdio::piped());
    let mut daemon = Daemon::started(world, &mut command);
    daemon.ok("job submit a.cwf1");
    daemon.ok("job release J1");
    daemon.until("J1", |job| good(job) > 3 && count(job, "in_flight") > 1);
    kill(machines.pid(), Signal::SIGKILL).unwrap();
    drop(machines);

    let held = daemon.until("J1", at_rest);
    assert!(daemon.child.try_wait().unwrap().is_none(), "the daemon died of it");
    assert_eq!(
        (off(&held), count(&held, "in_flight"), word(&held, "state").as_str()),
        ((0, 0), 0, "HELD"),
        "{held}"
    );
    assert!(good(&held) < CARDS && count(&held, "unknown") + count(&held, "remake") > 0, "{held}");
    // A release now is refused again, and no card is begun.
    daemon.asks("job release J1");
    let still = daemon.until("J1", |job| job["state"] == "HELD");
    assert_eq!((good(&still), off(&still)), (good(&held), (0, 0)), "{still}");

    // Only the line's journal shows a card that was stacked at the moment of the kill: killed machines write
    // no dumps of the cards in them.
    let mut witnesses = vec![Witness::keep(world, 1)];
    let journal = lines(&world.path("dumps-1/line.jsonl"));
    let stacked: BTreeSet<_> =
        journal.iter().filter(|l| l["fate"] == "stacked").map(|l| word(l, "blank")).collect();
    // hwsim was killed before it could remove its socket.
    std::fs::remove_file(world.path("hwsim.sock")).unwrap();
    let machines = bureau.machines(&["--seed", "2"]);
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let cards: Vec<Value> = serde_json::from_str(&daemon.ok("card show J1 all --json")).unwrap();
        for card in cards.iter().filter(|card| card["state"] == "UNKNOWN") {
            let last = card["attempts"].as_array().unwrap().last().unwrap();
            if stacked.contains(&word(last, "blank")) {
                daemon.ok(&format!("card resolve J1 {} --good", card["seq"]));
            }
        }
        daemon.ok("card resolve J1 all --destroyed");
        daemon.ok("card remake J1 all");
        daemon.ok("job release J1");
        let job = daemon.until("J1", at_rest);
        assert_eq!(off(&job), (0, 0), "{job}");
        if job["phase"] == "COMPLETE" {
            daemon.ok("job close J1");
            break;
        }
        assert!(Instant::now() < end && daemon.child.try_wait().unwrap().is_none(), "{job}");
    }
    let cards: Vec<Value> = serde_json::from_str(&daemon.ok("card show J1 all --json")).unwrap();
    assert_eq!(good(&daemon.job("J1")), CARDS);
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ends(), Some(0));
    machines.off();
    witnesses.push(Witness::keep(world, 2));
    // For each record exactly one card is in the stackers, and the ledger has that card as good.
    let stacked: BTreeSet<_> =
        witnesses.iter().flat_map(|w| w.fate("stacked")).map(|d| word(d, "blank")).collect();
    let mut of_the_ledger = BTreeSet::new();
    for card in &cards {
        let attempts = card["attempts"].as_array().unwrap();
        let good: Vec<_> =
            attempts.iter().filter(|a| a["state"] == "STACKED" || a["state"] == "GOOD").collect();
        assert_eq!(good.len(), 1, "{card}");
        of_the_ledger.insert(word(good[0], "blank"));
    }
    assert_eq!(stacked, of_the_ledger);
    audited(world);
}
