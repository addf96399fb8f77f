//! Group commit, with 1, 8 and 64 events in flight: events that reach the disk with a commit; commits per
//! second compared with the disk's own rate (bare `fdatasync` of one page, alternating in one run); CPU time
//! of an event. `SECONDS` sets the length of each measurement (2).
//!
//! Aims: a commit holds 0.8 of the events in flight, and there are 0.5 as many commits as bare syncs.

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

#[allow(dead_code, reason = "each program uses its part of what they share")]
#[path = "cards/ledger.rs"]
mod cards;
#[allow(dead_code, reason = "each program uses its part of what they share")]
mod support;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cardwright::laws::{AttemptState, Change, JobId};
use cardwright::ledger::Ledger;
use support::{World, cpu_of_self, median};

/// Pairs of measurements for each number in flight.
const ROUNDS: usize = 5;
/// Records of a job: more than a measurement uses.
const RECORDS: u32 = 200_000;
/// A page of the ledger's WAL.
const PAGE: usize = 4096;
/// Pages that the bare loop writes in turn: as many as the WAL usually has.
const PAGES: u64 = 4000;

fn main() {
    let seconds = std::env::var("SECONDS").map_or(2.0, |n| n.parse().unwrap());
    let world = World::new();
    for in_flight in [1u32, 8, 64] {
        let path = world.path(&format!("flight-{in_flight}.db"));
        let (ledger, job) = cards::job(&path, RECORDS);
        fed(&ledger, job);
        let (mut each, mut ratios, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
        let mut next = 1;
        for _ in 0..ROUNDS {
            let bare = bare_syncs(&world.path("bare"), seconds);
            let before = cpu_of_self();
            let (events, commits) = flight(&ledger, job, &path, in_flight, &mut next, seconds);
            cpu.push(support::micros_each(cpu_of_self() - before, events as usize));
            each.push(events as f64 / commits as f64 / f64::from(in_flight));
            ratios.push(commits as f64 / seconds / bare);
            println!(
                "  {in_flight:2} in flight: {:7.0} events/s, {:6.0} commits/s, bare {bare:6.0} syncs/s",
                events as f64 / seconds,
                commits as f64 / seconds
            );
        }
        println!(
            "ledger: {in_flight:2} in flight: {:.3} of them in a commit (aim 0.8), {:.3} of the bare syncs (aim 0.5), \
             {:.1} us CPU for an event",
            median(each),
            median(ratios),
            median(cpu)
        );
        ledger.close().unwrap();
    }
}

/// Feeds all blanks into the line before the measurement begins.
fn fed(ledger: &Ledger, job: JobId) {
    let fed = (1..=RECORDS).map(|blank| ledger.record(job, Change::Fed { blank }, cards::context()));
    // Dropping a ticket does not wait for its commit.
    for ticket in fed {
        drop(ticket);
    }
}

/// Runs this many stations, each of which waits for its change before the next one. Returns events and commits.
fn flight(
    ledger: &Ledger,
    job: JobId,
    path: &Path,
    in_flight: u32,
    next: &mut u32,
    seconds: f64,
) -> (u64, u64) {
    // When this change is answered, everything queued before it is done. The ledger refuses it, so it changes
    // nothing.
    drop(ledger.record(job, Change::Released, cards::context()).wait());
    let events = AtomicU64::new(0);
    let before = commits(path);
    let until = Instant::now() + Duration::from_secs_f64(seconds);
    let first = *next;
    let made: Vec<u32> = std::thread::scope(|scope| {
        let stations: Vec<_> = (0..in_flight)
            .map(|station| {
                let events = &events;
                scope.spawn(move || {
                    let mut seq = first + station;
                    while Instant::now() < until {
                        for change in card(seq) {
                            ledger.record(job, change, cards::context()).wait().unwrap();
                            events.fetch_add(1, Ordering::Relaxed);
                        }
                        seq += in_flight;
                    }
                    seq
                })
            })
            .collect();
        stations.into_iter().map(|station| station.join().unwrap()).collect()
    });
    *next = made.into_iter().max().unwrap();
    assert!(*next + in_flight < RECORDS, "the job is too small for this disk: RECORDS");
    (events.into_inner(), commits(path) - before)
}

/// The changes of one card whose blank was fed.
fn card(seq: u32) -> [Change; 5] {
    [
        cards::bound(seq),
        Change::Attempt { seq, to: AttemptState::Personalizing },
        Change::Attempt { seq, to: AttemptState::Written },
        Change::Verified { seq, compared: "device status".into() },
        Change::Rejected { seq },
    ]
}

/// Number of transactions that SQLite has committed: the counter in the header of the WAL index, which rises
/// with each one.
fn commits(ledger: &Path) -> u64 {
    let mut name = ledger.as_os_str().to_owned();
    name.push("-shm");
    let mut change = [0; 4];
    // WalIndexHdr.iChange, native byte order (SQLite, WAL-mode file format, section 2.1).
    File::open(name).unwrap().read_exact_at(&mut change, 8).unwrap();
    u64::from(u32::from_ne_bytes(change))
}

/// The disk's own rate: writes one page and makes it durable, again and again over an existing file, as with
/// a WAL.
fn bare_syncs(path: &Path, seconds: f64) -> f64 {
    let file = File::options().create(true).truncate(false).write(true).open(path).unwrap();
    let page = [0x5A; PAGE];
    if file.metadata().unwrap().len() == 0 {
        (0..PAGES).for_each(|n| file.write_all_at(&page, n * PAGE as u64).unwrap());
        file.sync_all().unwrap();
    }
    let (start, mut count) = (Instant::now(), 0u64);
    while start.elapsed().as_secs_f64() < seconds {
        file.write_all_at(&page, count % PAGES * PAGE as u64).unwrap();
        file.sync_data().unwrap();
        count += 1;
    }
    count as f64 / start.elapsed().as_secs_f64()
}
