//! Made-up cardholders for demonstrations and measurements: a CSV file for `run`.
//!
//! The PANs begin with the TEST IIN 476173, are unique and have right Luhn digits. No name or number belongs
//! to a real person or account. Equal seeds give equal files.

use std::io::Write;

use super::columns::COLUMNS;
use crate::crypto::payment::digits::luhn_digit;

/// The largest number of cards: nine digits of a PAN are free.
pub const MAX_COUNT: u32 = 999_999_999;

const SURNAMES: [&str; 16] = [
    "SAMPLE",
    "ADLER",
    "BERGMANN",
    "CASTRO",
    "DUBOIS",
    "ERIKSEN",
    "FERRARI",
    "GARCIA",
    "HOFFMAN",
    "IVANOVA",
    "JANSEN",
    "KOWALSKI",
    "LINDQVIST",
    "MOREAU",
    "NAKAMURA",
    "O'BRIEN",
];
const FIRST_NAMES: [&str; 16] = [
    "ALEX",
    "BRITTA",
    "CARLOS",
    "DANA",
    "ELIF",
    "FINN",
    "GRETA",
    "HUGO",
    "INES",
    "JONAS",
    "KIM",
    "LEA MARIE",
    "MIA",
    "NILS",
    "OLGA",
    "PAUL J.",
];

/// Writes the header and `count` cards, `C000001` and up.
pub fn write(mut out: impl Write, count: u32, seed: u64) -> std::io::Result<()> {
    let header: Vec<_> = COLUMNS.iter().map(|d| d.name).collect();
    writeln!(out, "{}", header.join(","))?;
    let mut random = SplitMix(seed);
    let offset = random.next();
    for number in 1..=count {
        // The factor has no common divisor with 10^9, so that every value of nine digits comes up once.
        let account = (u64::from(number) * 618_033_989 + offset % 1_000_000_000) % 1_000_000_000;
        let body = format!("476173{account:09}");
        let check = char::from(luhn_digit(body.bytes()));
        let surname = pick(&SURNAMES, random.next());
        let first = pick(&FIRST_NAMES, random.next());
        let (month, pin) = (random.next() % 12 + 1, random.next() % 10_000);
        let (balance, points) = (random.next() % 20_001, random.next() % 5_000);
        let (carrier, group) = (pick(&["CR-A", "CR-B"], random.next()), number.div_ceil(100));
        writeln!(
            out,
            "C{number:06},{body}{check},01,{surname}/{first},,,,29{month:02},26{month:02},201,{pin:04},476173{number:010},\
             {balance},50000,978,2,M{number:08},{points},,WHITE-01,{carrier},SG{group:04},STD,,"
        )?;
    }
    out.flush()
}

fn pick(list: &[&'static str], random: u64) -> &'static str {
    let length = u64::try_from(list.len()).unwrap_or(1);
    usize::try_from(random % length).ok().and_then(|place| list.get(place)).copied().unwrap_or("SAMPLE")
}

/// SplitMix64 (Steele, Lea, Flood 2014): enough for samples, not for keys.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::super::input::{CardholderReader, check};
    use super::super::testing;
    use super::*;

    fn sample(count: u32, seed: u64) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, count, seed).unwrap();
        out
    }

    #[test]
    fn the_input_accepts_every_sample() {
        let schema = testing::schema();
        for seed in [0, 1, u64::MAX] {
            let text = sample(2_000, seed);
            assert_eq!(check(CardholderReader::new(text.as_slice(), &schema).unwrap()), Ok(2_000));
        }
    }

    #[test]
    fn the_seed_decides() {
        assert_eq!(sample(3, 7), sample(3, 7));
        assert_ne!(sample(3, 7), sample(3, 8));
    }

    #[test]
    fn splitmix64_reference() {
        // First outputs for seed 1234567: Rosetta Code, "Pseudo-random numbers/Splitmix64".
        let mut random = SplitMix(1_234_567);
        assert_eq!([random.next(), random.next()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }
}
