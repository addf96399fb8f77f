//! Acceptance of a large file with all its checks, compared with the cryptography that no acceptance can leave out:
//! records per second, ratio, and peak memory of the program, alternating in one run. `RECORDS` sets the number of
//! records (1,000,000).
//!
//! The floor is the bare cryptography of *Check*, on all cores in this process, on applications that lie in memory: the
//! keys of each application, its MAC, and every value under the TK opened. It reads no file, copies nothing, parses
//! nothing and looks at no section.
//!
//! Then the rate of a line of sixty-four stations while its daemon accepts that file, compared with the line alone;
//! `SPEED` sets the multiple of the machine's speed (5).
//!
//! Aims: half the speed of the floor, at most 64 MiB; 0.98 of the line's rate.

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
#[path = "support/measured.rs"]
mod measured;
#[allow(dead_code, reason = "each program uses its part of what they share")]
mod support;

use std::hint::black_box;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cardwright::crypto::{Purpose, Suite, application_mac_input, unwrap_mac_key};
use cardwright::record::chip::{ChipApplication, ChipSection};
use cardwright::record::{Record, others_digest};
use daemon::Daemon;
use measured::{MeasuredRun, peak_kib};
use support::{CARDWRIGHT, KEK, World, median, records, scope_of};

/// Measured runs of each program; one more goes first and is not measured.
const RUNS: usize = 3;
/// Records of which the floor is measured.
const SAMPLE: u32 = 2_000;
/// Cards of the line that is measured during an acceptance.
const LINE_CARDS: u32 = 8_000;
/// Seconds for which the line is measured alone afterwards.
const ALONE_S: f64 = 20.0;
/// Times that the floor goes over them.
const ROUNDS: usize = 20;

fn main() {
    let count: u32 = std::env::var("RECORDS").map_or(1_000_000, |r| r.parse().unwrap());
    let world = World::new();
    let begun = Instant::now();
    let file = world.prepared("big", count);
    let prepared = begun.elapsed().as_secs_f64();
    let sample: Vec<Sealed> =
        records(&world.prepared("sample", SAMPLE)).into_iter().map(Sealed::of).collect();
    let size = std::fs::metadata(&file).unwrap().len() as f64 / 1e9;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!(
        "acceptance: {count} records of product multiapp, {size:.2} GB, prepared in {prepared:.0} s, {cores} cores"
    );

    let (mut floors, mut inspected, mut accepted) = (Vec::new(), Vec::new(), Vec::new());
    for run in 0..=RUNS {
        let floor = floor(&sample, cores);
        let inspect = ["inspect", "big.cwf1", "--line", "sim-8", "--keys", "bureau.store"];
        let inspect = MeasuredRun::of(world.command(CARDWRIGHT, &inspect).stderr(Stdio::null()), 0);
        let daemon = Daemon::start(&world, 1, "");
        let begun = Instant::now();
        daemon.ask(&["job", "submit", "big.cwf1"]);
        let accept = MeasuredRun { time: begun.elapsed(), peak: peak_kib(daemon.id()) };
        daemon.ended([]);
        // The first round brings the file into the page cache, as far as there is room.
        if run > 0 {
            floors.push(floor);
            inspected.push(inspect);
            accepted.push(accept);
        }
    }
    let floor = median(floors);
    println!("  floor: Check's cryptography alone {floor:9.0} records/s on {cores} cores");
    for (name, runs) in
        [("inspect --line: all checks", inspected), ("daemon: checks, spool, ledger", accepted)]
    {
        let rate = f64::from(count) / median(runs.iter().map(|run| run.time).collect()).as_secs_f64();
        let peak = runs.iter().map(MeasuredRun::peak_mib).fold(0.0, f64::max);
        println!("  {name:<33} {rate:9.0} records/s, {:.2} of the floor (aim 0.5)", rate / floor);
        println!("  {:<33} peak memory of the program {peak:.1} MiB (aim 64)", "");
    }
    beside(&world);
}

/// Measures a line while its daemon accepts the file, and afterwards.
fn beside(world: &World) {
    let speed: u32 = std::env::var("SPEED").map_or(5, |s| s.parse().unwrap());
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let daemon = Daemon::start(world, speed, "");
        daemon.release("J1", LINE_CARDS);
        // The line fills up in this time.
        std::thread::sleep(Duration::from_secs(60) / speed);
        let begun = now();
        daemon.ask(&["job", "submit", "big.cwf1"]);
        let (accepted, cards) = (now(), daemon.is_on_line("J1"));
        assert!(cards, "the acceptance took longer than the line");
        daemon.made("J1");
        let [cards] = daemon.ended(["J1"]);
        beside.push(cards.rate_between(begun, accepted));
        alone.push(cards.rate_between(accepted, accepted + ALONE_S));
    }
    let (alone, beside) = (median(alone), median(beside));
    println!(
        "  sim-64 at speed {speed}: {beside:.2} cards/s during an acceptance, {alone:.2} alone: {:.3} (aim 0.98)",
        beside / alone
    );
}

/// Second of the day.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64().rem_euclid(86_400.0)
}

/// A record with what the floor needs of it.
struct Sealed {
    record: Record,
    others: [u8; 32],
    applications: Vec<ChipApplication>,
}

impl Sealed {
    fn of(record: Record) -> Self {
        let others = others_digest(&record);
        let applications = ChipSection::parse(record.section("CHP").unwrap()).unwrap().applications;
        Self { record, others, applications }
    }
}

/// Records per second of the bare cryptography.
fn floor(sample: &[Sealed], cores: usize) -> f64 {
    let next = AtomicUsize::new(0);
    let kek = Suite::Aes256.key(&hex::decode(KEK).unwrap()).unwrap();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    if place >= sample.len() * ROUNDS {
                        break;
                    }
                    let Sealed { record, others, applications } = &sample[place % sample.len()];
                    for application in applications {
                        let scope = scope_of(record, application);
                        let derive = |purpose| scope.derive(&kek, Suite::Aes256, purpose).unwrap();
                        let wrapped = &application.wrapped_mac_key;
                        // In a file of another name the key does not unwrap; the work is done all the same.
                        let key = unwrap_mac_key(&derive(Purpose::MacKey), Suite::Aes256, wrapped);
                        let key = key.unwrap_or_default();
                        let key = scope.blinded(&kek, Suite::Aes256, Purpose::Blind, &key).unwrap();
                        let maced = &application.raw[application.maced.clone()];
                        black_box(key.mac(&application_mac_input(&scope, others, maced).unwrap()));
                        let tk = derive(Purpose::Data);
                        for data in application.dgis.iter().filter(|d| application.protected.contains(&d.dgi))
                        {
                            let mut value = data.value.clone();
                            tk.cbc_decrypt(&mut value).unwrap();
                            black_box(value);
                        }
                    }
                }
            });
        }
    });
    (sample.len() * ROUNDS) as f64 / begun.elapsed().as_secs_f64()
}
