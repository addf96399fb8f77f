//! RSA key pairs per second of one core against `openssl genrsa` of equal sizes, and against OpenSSL's library in
//! process, alternating in one run; then two threads against one.
//!
//! `openssl genrsa` is run as its user runs it, a process for each key, so its start counts. The library has no such
//! start. A rate is the number of key pairs by the CPU time that they took, and the ratio is that of the medians.
//! OpenSSL tests each prime with 64 rounds; `src/crypto/rsa/rounds.rs` argues how many are needed for 2^-100.
//!
//! Aims: 2.0 times the speed of `openssl genrsa`; two threads 1.9 times as fast as one.

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
mod support;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cardwright::crypto::rsa::{KeyPairGenerator, PublicExponent};
use openssl::bn::BigNum;
use openssl::rsa::Rsa;
use support::{cpu_of_children, cpu_of_self, median, random};

/// Bits of a card's key, and of issuers' keys.
const SIZES: [u32; 4] = [1024, 1152, 1408, 1976];
/// Measured slices of each contender.
const SLICES: usize = 7;
/// Time of a slice. A contender finishes its last key pair.
const SLICE: Duration = Duration::from_millis(500);
/// Time of a slice where threads are compared: in a short one a thread that has ended waits too long for the others.
const THREADS_SLICE: Duration = Duration::from_secs(2);

fn main() {
    println!("key pairs per second of a core, medians of {SLICES} slices of {SLICE:?}");
    println!("  bits      e     here  genrsa  ratio   library  ratio");
    let mut lowest = f64::INFINITY;
    for exponent in [PublicExponent::Three, PublicExponent::F4] {
        for bits in SIZES {
            lowest = against_openssl(bits, exponent).min(lowest);
        }
    }
    println!("  lowest ratio against openssl genrsa {lowest:.2} (aim 2.0)");
    println!("two threads against one, medians of {SLICES} slices of {THREADS_SLICE:?}");
    for bits in SIZES {
        let (one, two) = by_threads(bits);
        println!(
            "  {bits} bits: {one:7.1} and {two:7.1} key pairs per second, ratio {:.2} (aim 1.9)",
            two / one
        );
    }
}

/// Key pairs by the CPU time of a slice.
fn rate(cpu: fn() -> Duration, mut make: impl FnMut()) -> f64 {
    let (start, before) = (Instant::now(), cpu());
    let mut made = 0;
    while start.elapsed() < SLICE {
        make();
        made += 1;
    }
    f64::from(made) / (cpu() - before).as_secs_f64()
}

/// Prints a line, and returns the ratio against the program.
fn against_openssl(bits: u32, exponent: PublicExponent) -> f64 {
    let generator = KeyPairGenerator::new(bits as usize, exponent).unwrap();
    let flag = if exponent == PublicExponent::Three { "-3" } else { "-F4" };
    let number = BigNum::from_u32(exponent.value()).unwrap();
    let mut program = Command::new("openssl");
    program.args(["genrsa", flag, &bits.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut rates = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..SLICES {
        rates[0].push(rate(cpu_of_self, || drop(generator.generate(&mut random).unwrap())));
        rates[1].push(rate(cpu_of_children, || assert!(program.status().unwrap().success())));
        rates[2].push(rate(cpu_of_self, || drop(Rsa::generate_with_e(bits, &number).unwrap())));
    }
    let [here, program, library] = rates.map(median);
    let exponent = exponent.value();
    println!(
        "  {bits} {exponent:6} {here:8.1} {program:7.1} {:6.2}  {library:8.1} {:6.2}",
        here / program,
        here / library
    );
    here / program
}

/// Key pairs per second with one thread and with two, exponent 65537.
fn by_threads(bits: u32) -> (f64, f64) {
    let generator = KeyPairGenerator::new(bits as usize, PublicExponent::F4).unwrap();
    let mut rates = [Vec::new(), Vec::new()];
    for _ in 0..SLICES {
        for (threads, rates) in (1..).zip(&mut rates) {
            rates.push(threads_rate(&generator, threads));
        }
    }
    let [one, two] = rates.map(median);
    (one, two)
}

fn threads_rate(generator: &KeyPairGenerator, threads: usize) -> f64 {
    let start = Instant::now();
    let work = || {
        let mut made = 0u32;
        while start.elapsed() < THREADS_SLICE {
            drop(generator.generate(&mut random).unwrap());
            made += 1;
        }
        made
    };
    let made: u32 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    f64::from(made) / start.elapsed().as_secs_f64()
}
