//! The issuer's preparation: cards per second without RSA compared with the cryptography that no preparation can leave out;
//! the cost of a card whose key pairs come from a pool, and its parts; peak memory; and the join of three
//! sources compared with `sort | join`. `RECORDS` sets the number of cards of the file and of each source (1,000,000).
//!
//! Contenders alternate in one run, and a ratio is that of their medians.
//!
//! Aims: 0.7 of the floor; 64 MiB and 64 bytes for each card; a join at least as fast as `sort | join`.

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

mod floor;
mod joins;
#[path = "../support/measured.rs"]
mod measured;
mod pooled;
#[allow(dead_code, reason = "each program uses its part of what they share")]
#[path = "../support/mod.rs"]
mod support;

use std::process::{Command, Stdio};

use measured::MeasuredRun;
use support::{PREP, World, median, records};

/// Product multiapp without RSA.
const PLAIN: &str = "plain.toml";
/// Measured runs of each contender.
const RUNS: usize = 3;
/// Cards of a run that is compared with the floor, and of which the floor is measured.
const CARDS: u32 = 100_000;
const SAMPLE: u32 = 2_000;
/// Memory that may be used whatever the number of cards.
const BASE_MIB: f64 = 64.0;
/// And for each card.
const BYTES_A_CARD: f64 = 64.0;

fn main() {
    let count: u32 = std::env::var("RECORDS").map_or(1_000_000, |r| r.parse().unwrap());
    let world = World::new();
    rate(&world);
    pooled::costs(&world);
    memory(&world, count);
    joins::against_sort(&world, count);
}

/// `cardwright-prep run` with a product, and these arguments.
fn run(world: &World, product: &str, more: &[&str]) -> Command {
    let run = ["run", "--product", product, "--keys", "issuer.store", "--kek", "476173FF:1"];
    let mut command = world.command(PREP, &[&run[..], more].concat());
    command.stderr(Stdio::null());
    command
}

fn rate(world: &World) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let sample: Vec<floor::Made> =
        records(&world.prepared("sample", SAMPLE)).into_iter().map(floor::Made::of).collect();
    world.ran(PREP, &["sample", "--count", &CARDS.to_string(), "--output", "cards.csv"]);
    let (mut floors, mut rates) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        floors.push(floor::rate(&sample, cores));
        let made =
            MeasuredRun::of(&mut run(world, PLAIN, &["--input", "cards.csv", "--output", "cards.cwf1"]), 0);
        rates.push(f64::from(CARDS) / made.time.as_secs_f64());
    }
    let (floor, rate) = (median(floors), median(rates));
    println!(
        "preparation of {CARDS} cards of product multiapp without RSA, {cores} cores, medians of {RUNS} runs"
    );
    println!("  floor: the cryptography alone {floor:9.0} cards/s");
    println!(
        "  cardwright-prep run           {rate:9.0} cards/s, {:.2} of the floor (aim 0.7)",
        rate / floor
    );
}

fn memory(world: &World, count: u32) {
    world.ran(PREP, &["sample", "--count", &count.to_string(), "--output", "many.csv"]);
    let made = MeasuredRun::of(&mut run(world, PLAIN, &["--input", "many.csv", "--output", "many.cwf1"]), 0);
    std::fs::remove_file(world.path("many.cwf1")).unwrap();
    let aim = BASE_MIB + f64::from(count) * BYTES_A_CARD / f64::from(1 << 20);
    println!(
        "{count} cards: {:.0} s, peak memory of cardwright-prep {:.1} MiB (aim {aim:.0})",
        made.time.as_secs_f64(),
        made.peak_mib()
    );
}
