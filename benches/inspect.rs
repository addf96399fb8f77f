//! `cardwright inspect` without keys against `openssl dgst -sha256` of the same file, whole processes, alternating in
//! one run: time, ratio and peak memory. 1,000,000 records, or as many as `RECORDS` says.
//!
//! Aim: 0.5 of the speed of `openssl`, at most 64 MiB.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cardwright::ids::{CardRef, FileId, IssuerId, Kcv, KekId, Mic, ProductName};
use cardwright::record::{FileError, Header, Record, Section, TrailerKey, Writer};
use zeroize::Zeroizing;

/// Runs of each program.
const RUNS: usize = 5;

fn main() {
    if std::env::args().any(|a| a == "--test") {
        return;
    }
    let records: u32 = std::env::var("RECORDS").map_or(1_000_000, |r| r.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("big.cwf1");
    write(&file, records);
    let size = std::fs::metadata(&file).unwrap().len();
    println!("inspect: {records} records, {:.2} GB", size as f64 / 1e9);
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    let mut peak = 0;
    for _ in 0..RUNS {
        let (took, memory) =
            timed(Command::new(env!("CARGO_BIN_EXE_cardwright")).arg("inspect").arg(&file), 3);
        ours.push(took);
        peak = peak.max(memory);
        theirs.push(timed(Command::new("openssl").args(["dgst", "-sha256"]).arg(&file), 0).0);
    }
    let (ours, theirs) = (median(ours), median(theirs));
    println!(
        "  openssl dgst -sha256  {:.2} s  {:.2} GB/s",
        theirs.as_secs_f64(),
        size as f64 / 1e9 / theirs.as_secs_f64()
    );
    println!(
        "  cardwright inspect    {:.2} s  {:.2} GB/s",
        ours.as_secs_f64(),
        size as f64 / 1e9 / ours.as_secs_f64()
    );
    println!(
        "  ratio {:.2} (aim 0.5), peak memory {:.1} MiB (aim 64)",
        theirs.as_secs_f64() / ours.as_secs_f64(),
        peak as f64 / 1024.0
    );
}

/// A file whose structure and digest hold; its MACs are not looked at without keys. About 3 kB a record.
fn write(path: &Path, records: u32) {
    let header = Header {
        file_id: FileId::new("BENCH").unwrap(),
        issuer_id: IssuerId::new("TESTBANK").unwrap(),
        product: ProductName::new("multiapp").unwrap(),
        created: 0,
        records,
    };
    let out = BufWriter::with_capacity(1 << 20, std::fs::File::create(path).unwrap());
    let mut writer = Writer::new(out, &header).unwrap();
    let section =
        |mic: &str, data: &[u8]| Section { mic: Mic::new(mic).unwrap(), data: Zeroizing::new(data.to_vec()) };
    let gfx = vec![0x5A; 2600];
    for sequence in 1..=records {
        let mut record = Record {
            sequence,
            card_ref: CardRef::new(format!("C{sequence:08}")).unwrap(),
            sections: vec![
                section("EMB", b"~EM%2;401;843;0000 0000 0000 0000\r\n~EM%1;307;480;12/29\r\n~EM%1;307;328;TEST CARD\r\n"),
                section("MAG", b"~1%B0000000000000000^TEST/CARD^29122010000000000?\r\n~2;0000000000000000=29122010000000000?\r\n"),
            ],
        };
        record.sections.push(section("GFX", &gfx));
        writer.record(&record).unwrap();
    }
    let key = TrailerKey {
        kek: KekId([0x47, 0x61, 0x73, 0xFF, 1]),
        tk_type: 0x42,
        kcv: Kcv([0; 3]),
        wrapped_mac_key: vec![0; 32],
    };
    writer.finish(key, |_| Ok::<_, FileError>(vec![0; 16])).unwrap().out.flush().unwrap();
}

/// Time and peak resident memory in KiB of one run, which must end with `exit`.
fn timed(command: &mut Command, exit: i32) -> (Duration, u64) {
    let start = Instant::now();
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        if let Some(code) = child.try_wait().unwrap() {
            assert_eq!(code.code(), Some(exit), "{command:?}");
            return (start.elapsed(), peak);
        }
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let high = text.lines().find_map(|l| l.strip_prefix("VmHWM:"));
        peak = high.and_then(|l| l.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0).max(peak);
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
