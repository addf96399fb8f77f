//! `cardwright inspect` without keys, with its duplicate check, compared with `openssl dgst -sha256` of an
//! equal file: time, ratio and peak memory of whole processes, alternating in one run. `RECORDS` sets the
//! number of records (1,000,000).
//!
//! Aim: half the speed of `openssl`, at most 64 MiB.

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

#[path = "support/measured.rs"]
mod measured;
#[allow(dead_code, reason = "each program uses its part of what they share")]
mod support;

use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Command;

use cardwright::ids::{CardRef, FileId, IssuerId, Kcv, KekId, ProductName};
use cardwright::record::chip::ChipSection;
use cardwright::record::{Cwf1Writer, FileError, FileKind, Header, Record, TrailerKey, TrailerMac};
use measured::MeasuredRun;
use support::{CARDWRIGHT, World, median, records};

/// Measured runs of each program; one more goes first and is not measured.
const RUNS: usize = 5;
/// Prepared cards whose sections are repeated.
const PREPARED: u32 = 50;
/// Offset of the CRN's characters in a chip section: after VNL and three lengths.
const CRN_AT: usize = 4 + 2 + 2 + 1;

fn main() {
    let count: u32 = std::env::var("RECORDS").map_or(1_000_000, |r| r.parse().unwrap());
    let world = World::new();
    let file = world.path("big.cwf1");
    write(&file, count, records(&world.prepared("few", PREPARED)));
    let size = std::fs::metadata(&file).unwrap().len() as f64 / 1e9;

    let (mut ours, mut theirs, mut ratios, mut peak) = (Vec::new(), Vec::new(), Vec::new(), 0.0);
    for run in 0..=RUNS {
        let mut openssl = Command::new("openssl");
        let openssl = MeasuredRun::of(openssl.args(["dgst", "-sha256"]).arg(&file), 0);
        let inspect = MeasuredRun::of(Command::new(CARDWRIGHT).arg("inspect").arg(&file), 3);
        // The first pair brings the file into the page cache, as far as there is room.
        if run > 0 {
            ours.push(inspect.time);
            theirs.push(openssl.time);
            ratios.push(openssl.time.as_secs_f64() / inspect.time.as_secs_f64());
            peak = inspect.peak_mib().max(peak);
        }
    }
    println!("inspect: {count} records of product multiapp, {size:.2} GB, {RUNS} runs, medians");
    for (name, times) in [("openssl dgst -sha256", theirs), ("cardwright inspect", ours)] {
        let seconds = median(times).as_secs_f64();
        println!("  {name:<21} {seconds:6.2} s  {:5.2} GB/s", size / seconds);
    }
    println!("  inspect has {:.2} of the speed of openssl (aim 0.5)", median(ratios));
    println!("  peak memory {peak:.1} MiB (aim 64)");
}

/// Writes a file whose structure and digest are right. Its MACs are wrong, but they are not checked without
/// keys.
fn write(path: &Path, count: u32, mut prepared: Vec<Record>) {
    for record in &mut prepared {
        let chip = record.sections.iter_mut().find(|s| s.mic.as_str() == "CHP").unwrap();
        let mut section = ChipSection::parse(&chip.data).unwrap();
        section.crn = Some(name(0));
        chip.data = section.encode().unwrap();
    }
    let header = Header {
        kind: FileKind::Finished,
        file_id: FileId::new("BENCH").unwrap(),
        issuer_id: IssuerId::new("TESTBANK").unwrap(),
        product: ProductName::new("multiapp").unwrap(),
        created: 0,
        records: count,
    };
    let out = BufWriter::with_capacity(1 << 20, std::fs::File::create(path).unwrap());
    let mut writer = Cwf1Writer::new(out, &header).unwrap();
    let several = prepared.len();
    for sequence in 1..=count {
        let record = &mut prepared[sequence as usize % several];
        record.sequence = sequence;
        record.card_ref = name(sequence);
        let chip = record.sections.iter_mut().find(|s| s.mic.as_str() == "CHP").unwrap();
        let crn = record.card_ref.as_str().as_bytes();
        chip.data[CRN_AT..CRN_AT + crn.len()].copy_from_slice(crn);
        writer.record(record).unwrap();
    }
    let key = TrailerKey { kek: KekId([0x47, 0x61, 0x73, 0xFF, 1]), tk_type: 0x42, kcv: Kcv([0; 3]) };
    let end = TrailerMac { wrapped_mac_key: vec![0; 32], mac: vec![0; 16] };
    writer.finish(key, |_| Ok::<_, FileError>(end)).unwrap().out.flush().unwrap();
}

/// Card references of one length.
fn name(sequence: u32) -> CardRef {
    CardRef::new(format!("C{sequence:08}")).unwrap()
}
