//! A ledger of many events: time and memory of `cardwright audit verify`; the time in which an HSM that knew nothing is shown all of
//! it, as in a takeover; and the time of a start, which verifies the ledger from the last signed event on. Starts of HSM host and
//! ledger are measured until the job can be released, and of `cardwrightd` until it answers, with an interrupted job of as many cards,
//! which comes up HELD. Whole processes run on a ledger that is made through the public API. `EVENTS` sets the number of events
//! (1,000,000), six for each card.
//!
//! Aims: with 1,000,000 cards (`EVENTS=6000000`) a daemon answers within 2 s of its start, and a job is released within 3 s.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a bench that cannot measure stops, and its figures are small"
)]

#[allow(dead_code, reason = "each program uses its part of what they share")]
#[path = "../tests/hsm/file.rs"]
mod file;
#[allow(dead_code, reason = "each program uses its part of what they share")]
#[path = "cards/ledger.rs"]
mod ledger;
#[path = "support/measured.rs"]
mod measured;
#[allow(dead_code, reason = "each program uses its part of what they share")]
#[path = "../tests/hsm/raw.rs"]
mod raw;
#[allow(dead_code, reason = "each program uses its part of what they share")]
mod support;

use std::io::BufRead;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cardwright::audit::LedgerId;
use cardwright::hsm::client::{HostProcess, HsmClient};
use cardwright::hsm::{Auditor, CallerRole, FileAdmission};
use cardwright::ids::KmcRef;
use cardwright::laws::{Change, ChipId, JobId};
use cardwright::ledger::Ledger;
use file::Kek;
use measured::MeasuredRun;
use support::{CARDWRIGHT, World, key_data, median};

/// Number of measured starts.
const STARTS: usize = 5;

/// The Trailer of the ledger's file, which the HSM must have seen before it follows the ledger.
fn admission(ledger: LedgerId, records: u32) -> FileAdmission {
    let kek = Kek {
        id: [0x47, 0x61, 0x73, 0xFF, 1],
        tk_type: raw::AES256,
        value: hex::decode(support::KEK).unwrap(),
    };
    let trailer = file::trailer_stating(&kek, "TESTBANK", "BENCH", (records, None));
    FileAdmission { ledger, digest: ledger::DIGEST, trailer }
}

/// Waits until the HSM has signed the last event.
fn all_signed(ledger: &Ledger) {
    let reader = ledger.reader().unwrap();
    let last = reader.last_event().unwrap();
    while reader.checkpoints().unwrap().last().is_none_or(|signed| signed.place.n < last) {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Seconds from the start of `cardwrightd` on this ledger until it has answered for the job, which is HELD.
fn daemon(world: &World) -> f64 {
    let uid = nix::unistd::geteuid();
    let people = format!("[[person]]\nname = \"anna\"\nuid = {uid}\nroles = [\"operator\"]\n");
    std::fs::write(world.path("people.toml"), people).unwrap();
    let words = ["--line", "sim-chip-8", "--keys", "bureau.store", "--people", "people.toml"];
    let more = ["--ledger", "big.db", "--socket", "d.sock", "--simulate"];
    let start = Instant::now();
    let mut daemon = world.command(env!("CARGO_BIN_EXE_cardwrightd"), &[&words[..], &more[..]].concat());
    let mut daemon = daemon.stdout(Stdio::piped()).spawn().unwrap();
    let mut ready = String::new();
    std::io::BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    let shown = world.ran(CARDWRIGHT, &["job", "show", "J1", "--json", "--socket", "d.sock"]);
    let seconds = start.elapsed().as_secs_f64();
    assert!(String::from_utf8_lossy(&shown.stdout).contains("\"HELD\""));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(daemon.id() as i32), nix::sys::signal::SIGTERM)
        .unwrap();
    assert!(daemon.wait().unwrap().success());
    seconds
}

/// Binds the last record of a job to a blank and stops there, like a daemon that dies.
fn interrupt(open: Ledger, cards: u32) {
    let (job, last) = (JobId(1), cards + 1);
    // The HSM answers that it gives no session to a chip whose KMC is not named.
    let kmc = KmcRef { id: key_data(last).kmc_id(), version: 1 };
    let chip = Some(ChipId::globalplatform(key_data(last), Some(kmc)));
    for change in [Change::Fed { blank: last }, Change::Bound { seq: last, blank: last, chip }] {
        open.record(job, change, ledger::context()).wait().unwrap();
    }
    open.close().unwrap();
}

fn main() {
    let events: u32 = std::env::var("EVENTS").map_or(1_000_000, |n| n.parse().unwrap());
    let cards = events / ledger::EVENTS as u32;
    let world = World::new();
    let path = world.path("big.db");
    let start = Instant::now();
    ledger::cards(&path, cards);
    println!(
        "audit: a ledger of {events} events, {cards} cards, made in {:.1} s",
        start.elapsed().as_secs_f64()
    );

    let folder = world.folder();
    let (program, store) = (std::path::Path::new(CARDWRIGHT), world.path("bureau.store"));
    let (mut opened, mut released) = (Vec::new(), Vec::new());
    for run in 0..=STARTS {
        let socket = folder.path().join(format!("hsm-{run}.sock"));
        let start = Instant::now();
        let host = HostProcess::start(program, &store, &socket).unwrap();
        let connect = || HsmClient::connect(host.door(), CallerRole::Ledger).unwrap();
        if run == 0 {
            let id = Ledger::open(&path).unwrap().id();
            connect().admit(&admission(id, cards + 1)).unwrap();
        }
        let open = Ledger::open_audited(&path, Box::new(connect())).unwrap();
        let seconds = start.elapsed().as_secs_f64();
        let record = |change| drop(open.record(JobId(1), change, ledger::context()).wait().unwrap());
        if run == 0 {
            record(Change::Held);
            all_signed(&open);
            let seconds = start.elapsed().as_secs_f64();
            println!(
                "  shown to a new HSM    {seconds:6.2} s, {:.0} events/s: what a takeover walks",
                f64::from(events) / seconds
            );
        } else {
            opened.push(seconds);
            record(Change::Released);
            released.push(start.elapsed().as_secs_f64());
            record(Change::Held);
        }
        open.close().unwrap();
    }
    println!("  host and ledger open  {:6.2} s (aim 2), HELD", median(opened));
    println!("  released              {:6.2} s (aim 3)", median(released));
    println!("  daemon answers        {:6.2} s (aim 2), HELD jobs", daemon(&world));
    let socket = folder.path().join("hsm-last.sock");
    let host = HostProcess::start(program, &store, &socket).unwrap();
    let auditor = HsmClient::connect(host.door(), CallerRole::Ledger).unwrap();
    let open = Ledger::open_audited(&path, Box::new(auditor)).unwrap();
    let released = Change::Released;
    open.record(JobId(1), released, ledger::context()).wait().unwrap();
    interrupt(open, cards);
    drop(host);
    println!(
        "  daemon answers        {:6.2} s (aim 2), a card of a job of {cards} under way",
        daemon(&world)
    );

    let verify =
        MeasuredRun::of(Command::new(CARDWRIGHT).args(["audit", "verify", "--ledger"]).arg(&path), 0);
    let seconds = verify.time.as_secs_f64();
    println!(
        "  audit verify          {seconds:6.2} s, {:.0} events/s, peak memory {:.1} MiB",
        f64::from(events) / seconds,
        verify.peak_mib()
    );
}
