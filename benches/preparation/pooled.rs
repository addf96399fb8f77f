//! The cost of a card whose key pairs come from a pool: CPU time of the whole preparation with and without them, and the parts
//! of the difference, measured in this process.
//!
//! Product `multiapp` takes two pairs of 1152 bits for each card, and an issuer's key of 1408 bits signs both certificates.

use std::hint::black_box;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cardwright::crypto::Suite;
use cardwright::crypto::rsa::{KeyPairGenerator, PublicExponent, RsaKeyPair, RsaSigner};

use crate::support::{PREP, World, cpu_of_children, median, micros_each, random};
use crate::{PLAIN, RUNS, run};

const CARDS: u32 = 2_000;
const PAIRS_A_CARD: u32 = 2;
const CARD_BITS: usize = 1152;
const ISSUER_BITS: usize = 1408;
/// Repetitions of a part.
const TIMES: usize = 2_000;
/// Bytes of an application with certificates, roughly.
const APPLICATION: usize = 1_600;

pub fn costs(world: &World) {
    let issuer = ["--keys", "issuer.store"];
    world.ran(PREP, &[&["issuer-cert", "new", "--issuer", "476173"], &issuer[..]].concat());
    let own =
        ["issuer-cert", "self", "--key", "476173:1", "--expiry", "12/2049", "--authority", "authority.json"];
    world.ran(PREP, &[&own[..], &issuer].concat());
    let cards = CARDS.to_string();
    world.ran(PREP, &["sample", "--count", &cards, "--output", "pooled.csv"]);
    let (mut plain, mut certified) = (Vec::new(), Vec::new());
    for number in 0..RUNS {
        let pool = format!("pool-{number}");
        let fill = ["pool", "fill", "--pool", &pool, "--bits", "1152", "--count"];
        world.ran(PREP, &[&fill[..], &[&(CARDS * PAIRS_A_CARD).to_string()], &issuer].concat());
        let output = |name| ["--input", "pooled.csv", "--output", name];
        plain.push(cpu(&mut run(world, PLAIN, &output("plain.cwf1"))));
        let pooled = [&output("certified.cwf1")[..], &["--pool", &pool]].concat();
        certified.push(cpu(&mut run(world, "multiapp", &pooled)));
    }
    let (plain, certified) = (median(plain), median(certified));
    println!(
        "a card of product multiapp with two pooled key pairs of {CARD_BITS} bits, CPU time, medians of {RUNS} runs of {CARDS} cards"
    );
    println!(
        "  whole preparation {certified:8.0} us, without RSA {plain:.0} us, difference {:.0} us",
        certified - plain
    );
    for (part, time) in parts() {
        println!("    of which {part:<52} {time:8.1} us");
    }
}

/// CPU time for each card of a program that must end with a success.
fn cpu(program: &mut Command) -> f64 {
    let before = cpu_of_children();
    assert!(program.stdout(Stdio::null()).status().unwrap().success());
    micros_each(cpu_of_children() - before, CARDS as usize)
}

/// The parts of what a card's key pairs cost, in microseconds for each card.
fn parts() -> [(&'static str, f64); 4] {
    let pair = |bits| {
        let generator = KeyPairGenerator::new(bits, PublicExponent::Three).unwrap();
        generator.generate(&mut random).unwrap()
    };
    let signer = RsaSigner::new(&pair(ISSUER_BITS)).unwrap();
    let mut block = vec![0x55; ISSUER_BITS / 8];
    block[0] = 0x6A;
    let encoded = pair(CARD_BITS).encode();
    let key = Suite::Aes256.key(&[0x42; 32]).unwrap();
    let message = vec![0x55; APPLICATION];
    let mut constants = vec![0x55; 5 * CARD_BITS / 16 / 16 * 16];
    let each = f64::from(PAIRS_A_CARD);
    [
        (
            "two certificate signatures, each verified",
            each * micros(|| drop(black_box(signer.sign(&block).unwrap()))),
        ),
        (
            "two key pairs decoded and checked",
            each * micros(|| drop(black_box(RsaKeyPair::decode(&encoded).unwrap()))),
        ),
        ("MACs of two applications", each * micros(|| drop(black_box(key.mac(&message))))),
        (
            "CRT constants of two pairs encrypted",
            each * micros(|| key.cbc_encrypt(black_box(&mut constants)).unwrap()),
        ),
    ]
}

/// Median time of a repetition.
fn micros(mut part: impl FnMut()) -> f64 {
    let times = (0..TIMES).map(|_| {
        let begun = Instant::now();
        part();
        begun.elapsed()
    });
    let middle: Duration = median(times.collect());
    middle.as_secs_f64() * 1e6
}
