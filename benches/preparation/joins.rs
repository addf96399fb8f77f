//! Joins three sources, each with its own order of cards, by `cardwright-prep` and by `sort | join`.
//!
//! The join's time is the difference between a run with three sources and a run with one that holds all columns. The product
//! has no chip, so the rest of the run is short.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::measured::MeasuredRun;
use crate::support::{World, median};
use crate::{RUNS, run};

/// A card with a stripe and two embossed lines.
const PRODUCT: &str = r#"
name = "joined"
description = "Stripe and embossing, from three sources"
min_suite = "tdes"

[prep]
[prep.stripe]
track2 = "track2"

[[prep.emboss]]
font = 2
x = 401
y = 843
text = "pan_number_line"

[[prep.emboss]]
font = 1
x = 307
y = 328
text = "name_printed"
"#;

/// Each source, with its header line.
const SOURCES: [(&str, &str); 3] = [
    ("cards.csv", "card_ref,pan,psn,expiry,effective"),
    ("names.csv", "card_ref,name,service_code"),
    ("lines.csv", "card_ref,title,stock"),
];
/// The sources sorted and joined, in the order of the card_ref.
const SORT_AND_JOIN: &str = "set -e; export LC_ALL=C; \
    for f in cards names lines; do tail -n +2 $f.csv | sort -t, -k1,1 > $f.sorted & done; wait; \
    join -t, cards.sorted names.sorted | join -t, - lines.sorted > all.joined; rm ./*.sorted";

pub fn against_sort(world: &World, count: u32) {
    std::fs::write(world.path("joined.toml"), PRODUCT).unwrap();
    sources(world, count);
    let (mut sorted, mut alone, mut joined) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let mut shell = Command::new("bash");
        shell.args(["-c", SORT_AND_JOIN]).current_dir(world.path("")).stderr(Stdio::null());
        sorted.push(MeasuredRun::of(&mut shell, 0));
        let output = ["--output", "joined.cwf1", "--input"];
        alone.push(MeasuredRun::of(&mut run(world, "joined.toml", &[&output[..], &["all.csv"]].concat()), 0));
        let three = ["cards.csv", "--join", "names.csv", "--join", "lines.csv"];
        joined.push(MeasuredRun::of(&mut run(world, "joined.toml", &[&output[..], &three].concat()), 0));
    }
    let seconds = |runs: &[MeasuredRun]| median(runs.iter().map(|run| run.time).collect()).as_secs_f64();
    let (sort, own) = (seconds(&sorted), seconds(&joined) - seconds(&alone));
    let peak = joined.iter().map(MeasuredRun::peak_mib).fold(0.0, f64::max);
    println!("3 sources of {count} rows, medians of {RUNS} runs");
    println!("  sort | join       {sort:6.1} s");
    println!(
        "  cardwright-prep   {own:6.1} s more than with one source ({:.1} s), {:.2} times as fast (aim 1)",
        seconds(&alone),
        sort / own
    );
    println!("  {:17} peak memory of cardwright-prep {peak:.1} MiB", "");
}

/// Writes the sources, each in an order of its own, and one file with all columns in the order of the first.
fn sources(world: &World, count: u32) {
    let create = |name: &str| std::io::BufWriter::new(std::fs::File::create(world.path(name)).unwrap());
    let mut files = SOURCES.map(|(name, header)| {
        let mut file = create(name);
        writeln!(file, "{header}").unwrap();
        file
    });
    let mut all = create("all.csv");
    writeln!(all, "{},name,service_code,title,stock", SOURCES[0].1).unwrap();
    // The steps are primes. If `RECORDS` is a multiple of none, each source has every card once.
    let steps = [7_919_u64, 104_729, 1_299_709];
    for place in 0..u64::from(count) {
        let numbers = steps.map(|step| place * step % u64::from(count));
        for ((file, part), number) in
            files.iter_mut().zip([cards as fn(u64) -> String, names, lines]).zip(numbers)
        {
            writeln!(file, "{}", part(number)).unwrap();
        }
        let rest = |text: String| text.split_once(',').unwrap().1.to_owned();
        let number = numbers[0];
        writeln!(all, "{},{},{}", cards(number), rest(names(number)), rest(lines(number))).unwrap();
    }
}

fn card_ref(number: u64) -> String {
    format!("C{number:07}")
}

fn cards(number: u64) -> String {
    let body = format!("476173{number:09}");
    format!("{},{body}{},01,2912,2601", card_ref(number), luhn(&body))
}

fn names(number: u64) -> String {
    format!("{},SAMPLE/CARD {number:07},201", card_ref(number))
}

fn lines(number: u64) -> String {
    format!("{},DR,WHITE-{:02}", card_ref(number), number % 7)
}

/// The check digit (ISO/IEC 7812-1, Annex B).
fn luhn(body: &str) -> u32 {
    let digits = body.bytes().rev().map(|byte| u32::from(byte - b'0'));
    let sum: u32 = digits
        .enumerate()
        .map(|(place, digit)| if place % 2 == 0 { digit * 2 / 10 + digit * 2 % 10 } else { digit })
        .sum();
    (10 - sum % 10) % 10
}
