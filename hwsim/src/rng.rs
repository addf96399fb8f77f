//! Random choices of the simulated line, repeatable by seed: SplitMix64 (Steele, Lea, Flood, "Fast splittable
//! pseudorandom number generators", OOPSLA 2014) and two mixing functions.
//!
//! All properties of blank number n are a function of (seed, n), not of the order in which stations ask. So a
//! seed repeats its pile of blanks, whatever the threads do. Not for cryptography.

/// The odd constant by which SplitMix64 steps: 2^64 divided by the golden ratio.
const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// SplitMix64.
#[derive(Debug, Clone)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// Starts at `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The generator of blank `n` under the line's `seed`; `purpose` keeps different uses apart.
    pub fn of(seed: u64, n: u64, purpose: u64) -> Self {
        Self(mix64(mix64(seed.wrapping_add(GAMMA)) ^ n) ^ mix64(purpose.wrapping_mul(GAMMA)))
    }

    /// Returns the next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GAMMA);
        mix64(self.0)
    }

    /// Returns the next number from 0 (included) to 1 (excluded), with 53 bits.
    pub fn next_unit(&mut self) -> f64 {
        const TWO_POW_53: f64 = 9_007_199_254_740_992.0;
        (self.next_u64() >> 11) as f64 / TWO_POW_53
    }
}

/// SplitMix64's output function: a bijection of 64 bits.
pub fn mix64(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A bijection of 32 bits (xor-shift and odd multipliers, so each step can be undone). It turns a counter
/// into numbers that look unordered and never repeat before the counter does.
pub fn mix32(x: u32) -> u32 {
    let x = (x ^ (x >> 16)).wrapping_mul(0x7FEB_352D);
    let x = (x ^ (x >> 15)).wrapping_mul(0x846C_A68B);
    x ^ (x >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix64_known_answers_of_rosetta_code() {
        let mut rng = SplitMix64::new(1_234_567);
        let got: Vec<u64> = (0..5).map(|_| rng.next_u64()).collect();
        let expected: [u64; 5] = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        assert_eq!(got, expected);
    }

    #[test]
    fn mix32_does_not_repeat() {
        let seen: std::collections::HashSet<u32> = (0..200_000).map(mix32).collect();
        assert_eq!(seen.len(), 200_000);
    }

    #[test]
    fn unit_numbers_are_even() {
        let mut rng = SplitMix64::new(7);
        let mean = (0..10_000).map(|_| rng.next_unit()).sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
    }
}
