//! Cost of one hung reader for the others: 16 chip stations on a real pcscd, one of them with a card that
//! never answers, compared with 15 stations; whole jobs, alternating.
//!
//! Aim: at least 0.98 of the cards per hour, measured between the 10th and the 90th percentile of the stacked
//! cards.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a bench that cannot measure stops, and its figures are small"
)]

#[path = "../tests/pcscd_support/mod.rs"]
mod pcscd_support;
#[path = "../tests/line/devices/profile.rs"]
mod profile;
#[allow(dead_code, reason = "each program uses its part of what they share")]
mod support;

use std::path::Path;
use std::process::Stdio;

use pcscd_support::card::{Act, Card};
use pcscd_support::machines::Hwsim;
use pcscd_support::scene::Scene;
use profile::{Lined, OwnPcscd};
use serde_json::Value;
use support::{CARDWRIGHT, World, median, seconds_between, seconds_of_day, steady_rate};

/// Runs of each line.
const ROUNDS: usize = 5;
/// Time limit of a command, in seconds: after it the hung card is thrown out.
const DEADLINE_S: f64 = 2.0;
/// A chip's time for a command, in milliseconds: about 0.9 s for a card. pcscd looks for cards every 0.4 s,
/// so it takes about as long again to notice the next card.
const COMMAND_MS: f64 = 20.0;
/// Least time of a card, in seconds; it sets the length of a run.
const CARD_S: f64 = 1.0;
/// Least length of a run, in deadlines.
const DEADLINES: f64 = 10.0;
/// ATR of the shipped product's blanks.
const ATR: &[u8] = &[0x3B, 0x75, 0x13, 0x00, 0x00, 0x54, 0x43, 0x41, 0x52, 0x44];

fn main() {
    let world = World::new();
    let cards = (15.0 * DEADLINE_S * DEADLINES / CARD_S) as u32;
    world.prepared("job", cards);
    let (mut alone, mut beside, mut shortest) = (Vec::new(), Vec::new(), f64::MAX);
    for round in 0..ROUNDS {
        let fifteen = run(&world, round * 2, 15, cards);
        let sixteen = run(&world, round * 2 + 1, 16, cards);
        shortest = shortest.min(fifteen.seconds).min(sixteen.seconds);
        println!(
            "round {}: 15 stations {:.0} cards/h; with a hung one beside them {:.0}, thrown out after {:.2} s",
            round + 1,
            fifteen.per_hour,
            sixteen.per_hour,
            sixteen.hung_s.unwrap()
        );
        assert!(sixteen.hung_s.unwrap() < DEADLINE_S + 1.0, "the hung card was thrown out too late");
        alone.push(fifteen.per_hour);
        beside.push(sixteen.per_hour);
    }
    assert!(shortest >= DEADLINE_S * DEADLINES, "a run took only {shortest:.1} s");
    let (alone, beside) = (median(alone), median(beside));
    println!(
        "medians: {alone:.0} and {beside:.0} cards/h: {:.3} [0.98]; shortest run {shortest:.1} s",
        beside / alone
    );
}

/// Figures of a run.
struct Ran {
    per_hour: f64,
    seconds: f64,
    /// Seconds from the feed of the hung blank until it was thrown out.
    hung_s: Option<f64>,
}

/// Makes a whole job on this many stations; the 16th has a card that hangs.
fn run(world: &World, number: usize, stations: u32, cards: u32) -> Ran {
    // vpcd's readers come in pairs that share one driver, and pcscd calls it for one of them at a time. A
    // real reader has its own driver, so here the hung reader has its own pcscd.
    let (scene, other) = (Scene::start(16), Scene::start(1));
    let hung = stations == 16;
    let sim = format!(
        "feed_s = 0.02\ntransfer_s = 0.01\nstack_s = 0.005\nstripe_s = 0.1\nprinter_s = 0.1\nembosser_s = 0.1\n\
         ta1 = \"97\"\npage_ms = 0.0\ncrypto_ms = 0.0\ncommand_ms = {COMMAND_MS}\n"
    );
    let line = Lined {
        name: "isolation",
        stations,
        machines: false,
        encoders: 1,
        command_s: DEADLINE_S,
        sim,
        without_card: if hung { vec![16] } else { vec![] },
        own_pcscd: hung.then(|| (16, OwnPcscd::of(&other))).into_iter().collect(),
    };
    // The HSM remembers that the ledger of the last run had the file.
    world.new_bureau();
    let folder = world.folder();
    std::fs::write(folder.path().join("line.toml"), line.text(&scene, folder.path())).unwrap();
    let card = hung.then(|| Card::new(ATR, |_| Act::Freeze(vec![0x90, 0x00])).insert(&other, 0));
    let machines = Hwsim::serve(&scene, folder.path(), &[]);
    let report = folder.path().join("report.json");
    let status = scene
        .command(CARDWRIGHT)
        .args(["run", "job.cwf1", "--keys", "bureau.store", "--line"])
        .arg(folder.path().join("line.toml"))
        .arg("--ledger")
        .arg(folder.path().join("ledger.db"))
        .arg("--events")
        .arg(folder.path().join("events.jsonl"))
        .arg("--report")
        .arg(&report)
        .current_dir(world.path(""))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    machines.off();
    assert!(
        status.success(),
        "run {number} of {stations} stations ended with {status}; rejected: {:?}",
        rejected(&folder.path().join("events.jsonl"))
    );
    drop(card);
    measured(&folder.path().join("events.jsonl"), cards, hung)
}

/// Stations and reasons of the cards that were thrown out.
fn rejected(events: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(events).unwrap_or_default();
    let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events
        .filter(|e| e["to"] == "REJECTED")
        .map(|e| format!("{} {}: {}", e["station"], e["reason"], e["detail"]))
        .collect()
}

fn measured(events: &Path, cards: u32, hung: bool) -> Ran {
    let text = std::fs::read_to_string(events).unwrap();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let at = |e: &Value| seconds_of_day(e["ts"].as_str().unwrap());
    let stacked: Vec<f64> = events.iter().filter(|e| e["to"] == "STACKED").map(at).collect();
    assert_eq!(stacked.len(), cards as usize);
    let out = events.iter().find(|e| e["to"] == "REJECTED" && e["reason"] == "timeout");
    assert_eq!(out.is_some(), hung);
    Ran {
        per_hour: steady_rate(&stacked) * 3600.0,
        seconds: seconds_between(at(&events[0]), stacked[stacked.len() - 1]),
        hung_s: out.map(|e| e["ms"].as_f64().unwrap() / 1000.0),
    }
}
