//! Cost of the wiring proof on sixty-four chip stations whose readers report a card at once or late: GOOD cards of
//! the first 10 minutes of machine time after the start, while the stations are proved one after the other, compared
//! with those of a later job of that daemon. Then the rate of a line while two of its readers are plugged in again,
//! compared with the rate of an undisturbed line (aim 0.98).
//!
//! `SPEED` sets the multiple of the machine's speed (5).

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

#[allow(dead_code, reason = "each program uses its part of what they share")]
#[path = "support/daemon.rs"]
mod daemon;
#[allow(dead_code, reason = "each program uses its part of what they share")]
mod support;

use daemon::{Daemon, StackedCards};
use support::{World, median};

/// Cards per second of the line's chip stations at speed 1.
const RATE: f64 = 8.0;
/// The measured time after the start, in seconds of the machine.
const RAMP_S: f64 = 600.0;
/// Cards of a ramp: more than the line makes in that time.
const RAMP_CARDS: u32 = 5_000;
/// Times after which a reader reports a card, in milliseconds of the machine: at once, at pcscd's interval, and as late
/// as slow readers.
const LATE_MS: [u32; 3] = [0, 400, 4_000];
/// Cards that prove all the stations, and cards of a run in which readers are plugged in again.
const PROVING_CARDS: u32 = 640;
const PLUG_CARDS: u32 = 3_200;
/// Runs with and without a reader that is plugged in again; they alternate.
const ROUNDS: usize = 3;

fn main() {
    let speed: u32 = std::env::var("SPEED").map_or(5, |s| s.parse().unwrap());
    let world = World::new();
    println!("sim-64 at speed {speed}: GOOD cards in the first 10 minutes of machine time");
    for late in LATE_MS {
        let sights = (1..=64).map(|n| sight(n, late / speed)).collect::<String>();
        let [ramp, proved] = jobs(&world, speed, &sights, [RAMP_CARDS; 2])
            .map(|cards| early(&cards.times, RAMP_S / f64::from(speed)));
        println!(
            "  card seen {:.1} s late: {ramp} while proving, {proved} with all proved: {:.3}, loss {}",
            f64::from(late) / 1000.0,
            ramp as f64 / proved as f64,
            proved.saturating_sub(ramp)
        );
    }
    let (mut plugged, mut alone) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        // Two exchanges at once bring each reader back to its own place, connected anew.
        let after = PROVING_CARDS + PLUG_CARDS / 2;
        let exchange = format!("[[exchange]]\nstations = [\"chip-1\", \"chip-2\"]\nafter = {after}\n");
        for (faults, rates) in [(exchange.repeat(2), &mut plugged), (String::new(), &mut alone)] {
            let [_, cards] = jobs(&world, speed, &faults, [PROVING_CARDS, PLUG_CARDS]);
            rates.push(cards.steady());
        }
    }
    let (plugged, alone) = (median(plugged), median(alone));
    println!(
        "  two readers plugged in again under load: {plugged:.2} of {alone:.2} cards/s (machine {:.0}): {:.3} [0.98]",
        RATE * f64::from(speed),
        plugged / alone
    );
}

/// A reader that reports cards late.
fn sight(station: u32, late_ms: u32) -> String {
    format!("[[sight]]\nstation = \"chip-{station}\"\nlate_ms = {late_ms}\n")
}

/// Makes two jobs on a new line.
fn jobs(world: &World, speed: u32, faults: &str, cards: [u32; 2]) -> [StackedCards; 2] {
    let daemon = Daemon::start(world, speed, faults);
    for (job, cards) in ["J1", "J2"].into_iter().zip(cards) {
        daemon.release(job, cards);
        daemon.made(job);
    }
    daemon.ended(["J1", "J2"])
}

/// Cards that were stacked in the first seconds.
fn early(times: &[f64], seconds: f64) -> usize {
    assert!(times.last().is_some_and(|last| *last > seconds), "the job was too short");
    times.iter().filter(|time| **time <= seconds).count()
}
