//! How close the controller comes to the machine's limit: cards per second of the two continuous lines
//! compared with their slowest module, and the highest speed at which the controller keeps sixty-four chip
//! stations busy.
//!
//! The rate is taken from the cards between the tenth and the ninetieth percentile of those stacked, because
//! a run fills and empties the line at its start and end. Aim: 0.98. `hwsim` plays the machine on the same
//! cores; its CPU time is shown too. `CARDS` sets the number of cards (4,000; a quarter of them on the whole
//! line).

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a bench that cannot measure stops, and its figures are small"
)]

#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "each program uses its part of what they share")]
mod support;

use std::path::Path;
use std::process::Stdio;

use cardwright::modules::LineProfile;
use serde_json::Value;
use support::{CARDWRIGHT, World, median, seconds_of_day, steady_rate};

/// Runs of each line at the speed of the aim.
const ROUNDS: usize = 3;
/// Speed of the runs, as a multiple of the machine's.
const SPEED: u32 = 10;
const AIM: f64 = 0.98;
/// Step of the search for the highest speed.
const STEP: u32 = 5;

fn main() {
    let count: u32 = std::env::var("CARDS").map_or(4_000, |n| n.parse().unwrap());
    assert!(Path::new(CARDWRIGHT).with_file_name("hwsim").exists(), "hwsim is not built: run `make bench`");
    let world = World::new();
    let (many, few) = (world.prepared("many", count), world.prepared("few", (count / 4).max(40)));

    for (name, file) in [("sim-64", &many), ("sim-line", &few)] {
        let line = LineProfile::load(name).unwrap();
        let (slowest, rate) = slowest(&line);
        println!(
            "{name} at speed {SPEED}: its {slowest} can do {:.2} cards per second",
            rate * f64::from(SPEED)
        );
        let runs: Vec<Run> = (0..ROUNDS).map(|_| Run::of(&world, &line, file, SPEED)).collect();
        let of = |part: fn(&Run) -> f64| median(runs.iter().map(part).collect());
        println!("  reached             {:7.4} (aim {AIM})", of(|r| r.reached));
        println!("  controller          {:7.2} s CPU in {:.1} s", of(|r| r.controller), of(|r| r.elapsed));
        println!("  HSM host            {:7.2} s", of(|r| r.hsm_host));
        println!("  hwsim, not ours     {:7.2} s", of(|r| r.simulator));
    }

    let line = LineProfile::load("sim-64").unwrap();
    println!("sim-64, faster, until a speed is not reached:");
    let mut highest = None;
    for speed in (1..).map(|n| n * STEP) {
        let run = Run::of(&world, &line, &many, speed);
        let busy = (run.controller + run.hsm_host + run.simulator) / run.elapsed;
        println!(
            "  speed {speed:3}: {:.4} of {:.0} cards per second; {busy:.2} of {} cores busy, {:.2} with hwsim",
            run.reached,
            slowest(&line).1 * f64::from(speed),
            std::thread::available_parallelism().map_or(1, usize::from),
            run.simulator / run.elapsed
        );
        if run.reached < AIM {
            break;
        }
        highest = Some(speed);
    }
    match highest {
        Some(speed) => println!("  kept at work up to speed {speed}"),
        None => println!("  not even speed {STEP} was reached"),
    }
}

/// The slowest module, and its cards per second at speed 1.
fn slowest(line: &LineProfile) -> (String, f64) {
    let sim = line.sim.as_ref().unwrap();
    let seconds = |key: &str| sim[key].as_float().unwrap();
    let rates = line.working().map(|module| {
        let each = match module.kind.rules.word {
            "chip" => seconds("chip_s"),
            // The stripe is checked, written and read back.
            "stripe" => 3.0 * seconds("stripe_s"),
            "printer" => seconds("printer_s"),
            "embosser" => seconds("embosser_s"),
            _ => 0.0,
        };
        (module.name.clone(), f64::from(module.stations) / each)
    });
    rates.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap()
}

/// Figures of a run of a line, in seconds.
struct Run {
    /// The measured rate as a share of the slowest module's rate.
    reached: f64,
    elapsed: f64,
    controller: f64,
    hsm_host: f64,
    simulator: f64,
}

impl Run {
    fn of(world: &World, line: &LineProfile, file: &Path, speed: u32) -> Self {
        let speed_text = speed.to_string();
        let arguments = [
            &["run", file.to_str().unwrap(), "--line", &line.name, "--keys", "bureau.store"][..],
            &["--ledger", "run.db", "--events", "run.jsonl", "--report", "report.json", "--json"],
            &["--simulate", "--speed", &speed_text],
        ]
        .concat();
        let status = world.command(CARDWRIGHT, &arguments).stdout(Stdio::null()).status().unwrap();
        assert!(status.success(), "{status}");
        let report: Value =
            serde_json::from_slice(&std::fs::read(world.path("report.json")).unwrap()).unwrap();
        let figure = |name: &str| report["run"][name].as_f64().unwrap();
        let rate = steady_rate(&stacked(&std::fs::read_to_string(world.path("run.jsonl")).unwrap()));
        for name in ["run.db", "run.db-wal", "run.db-shm", "run.jsonl"] {
            let _ = std::fs::remove_file(world.path(name));
        }
        std::fs::remove_dir_all(world.path("run.db.spool")).unwrap();
        world.new_bureau();
        Self {
            reached: rate / (slowest(line).1 * f64::from(speed)),
            elapsed: figure("elapsed"),
            controller: figure("cpu_controller_s"),
            hsm_host: figure("cpu_hsm_host_s"),
            simulator: figure("cpu_simulator_s"),
        }
    }
}

/// Seconds of the day of the cards that were stacked.
fn stacked(events: &str) -> Vec<f64> {
    let events = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let stacked = events.filter(|event| event["to"] == "STACKED");
    stacked.map(|event| seconds_of_day(event["ts"].as_str().unwrap())).collect()
}
