//! A ledger of many events: how long `cardwright audit verify` takes, how much memory, and how long a start takes, verified from
//! the last signed place. Whole processes on a ledger that is made through the public API. `EVENTS` says how many
//! (1,000,000), six for each card.
//!
//! Aim: open within 2 s.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]

#[allow(dead_code)]
#[path = "cards/ledger.rs"]
mod ledger;
#[allow(dead_code)]
mod support;

use std::process::{Command, Stdio};
use std::time::Instant;

use cardwright::hsm::client::{Client, HostProcess};
use cardwright::ledger::Ledger;
use support::{CARDWRIGHT, World, median};

/// Starts that are measured.
const STARTS: usize = 5;

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
    let mut opened = Vec::new();
    // The first one verifies and signs everything.
    for run in 0..=STARTS {
        let socket = folder.path().join(format!("hsm-{run}.sock"));
        let _host = HostProcess::start(program, &store, &socket).unwrap();
        let hsm = Client::connect(&socket).unwrap();
        let start = Instant::now();
        let ledger = Ledger::open_audited(&path, Box::new(hsm)).unwrap();
        let seconds = start.elapsed().as_secs_f64();
        if run == 0 {
            println!("  open, nothing signed  {seconds:6.2} s");
        } else {
            opened.push(seconds);
        }
        // An event, so that the end is signed.
        let change = cardwright::ledger::Change::Held;
        ledger.record(cardwright::ledger::JobId(1), change, ledger::context()).wait().unwrap();
        ledger.close().unwrap();
    }
    println!("  open, signed          {:6.2} s (aim 2)", median(opened));

    let start = Instant::now();
    let mut child = Command::new(CARDWRIGHT)
        .args(["audit", "verify", "--ledger"])
        .arg(&path)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0u64;
    let code = loop {
        if let Some(code) = child.try_wait().unwrap() {
            break code;
        }
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let high = text.lines().find_map(|l| l.strip_prefix("VmHWM:"));
        peak = high.and_then(|l| l.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0).max(peak);
        std::thread::sleep(std::time::Duration::from_millis(5));
    };
    assert!(code.success());
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "  audit verify          {seconds:6.2} s, {:.0} events/s, peak memory {:.1} MiB",
        f64::from(events) / seconds,
        peak as f64 / 1024.0
    );
}
