//! The sieve of the search for primes: of a window of odd numbers, those that no small prime divides and that suit
//! the public exponent.
//!
//! Not here: where a window begins (`generate`), whether a number is prime (`candidate`).
//!
//! The window holds the numbers start + 2i. For each small prime r, the sieve finds the remainder of the start modulo
//! r, and from it the first i at which r divides, and strikes out every r-th position from there. An exponentiation
//! costs as much as thousands of such remainders, so it pays to sieve with many primes.
//!
//! Remainders of a large number are found for three primes at a time, modulo their product M, which fits into 63
//! bits: Montgomery's reduction folds in a limb of 64 bits with two multiplications and without a division. Folding
//! all n limbs, the least significant first, gives start * 2^(-64n) mod M, and one product with 2^(64(n + 1)), which is
//! prepared, gives start mod M.

use zeroize::Zeroizing;

use super::public::PublicExponent;

/// Small primes whose remainders are found together.
const TOGETHER: usize = 3;
/// Small primes are below this, so that the product of three has at most 63 bits.
pub(super) const BOUND_MAX: u32 = 1 << 21;

/// A sieve for starts of one length and one public exponent.
pub(super) struct Sieve {
    exponent: PublicExponent,
    groups: Vec<PrimeGroup>,
    positions: usize,
}

/// Odd primes with what Montgomery's reduction modulo their product needs.
struct PrimeGroup {
    primes: [u32; TOGETHER],
    product: u64,
    /// -product^-1 mod 2^64.
    negated_inverse: u64,
    /// 2^(64(n + 1)) mod product, for n limbs.
    scale: u64,
}

impl Sieve {
    /// A sieve for starts of `length` bytes with the primes below `bound`, except the last one or two that do not
    /// make a group, and with windows of this many positions.
    pub(super) fn new(exponent: PublicExponent, length: usize, bound: u32, positions: usize) -> Self {
        let primes = odd_primes_below(bound.min(BOUND_MAX));
        let (whole, _) = primes.as_chunks::<TOGETHER>();
        let limbs = length.div_ceil(8);
        Self {
            exponent,
            groups: whole.iter().map(|primes| PrimeGroup::new(*primes, limbs)).collect(),
            positions,
        }
    }

    /// For each position of the window from an odd start, whether its number is struck out.
    pub(super) fn struck(&self, start: &[u8]) -> Zeroizing<Vec<bool>> {
        let mut struck = Zeroizing::new(vec![false; self.positions]);
        let limbs = limbs(start);
        for group in &self.groups {
            let remainder = group.remainder(&limbs);
            for prime in group.primes {
                let prime = u64::from(prime);
                strike(&mut struck, prime, remainder % prime, 0);
            }
        }
        // The exponent must not divide the prime less one. It is prime itself.
        let exponent = u64::from(self.exponent.value());
        strike(&mut struck, exponent, remainder_of_bytes(start, exponent), 1);
        struck
    }

    /// The small primes of the sieve.
    #[cfg(test)]
    pub(super) fn primes(&self) -> impl Iterator<Item = u32> {
        self.groups.iter().flat_map(|group| group.primes)
    }
}

/// Strikes out the positions i at which start + 2i leaves `forbidden` modulo an odd number, given the remainder of the
/// start.
fn strike(struck: &mut [bool], modulus: u64, remainder: u64, forbidden: u64) {
    // 2i is congruent to this; of it and it plus the modulus, one is even.
    let twice = (modulus + forbidden - remainder) % modulus;
    let first = if twice.is_multiple_of(2) { twice / 2 } else { (twice + modulus) / 2 };
    let (Ok(mut at), Ok(step)) = (usize::try_from(first), usize::try_from(modulus)) else { return };
    while let Some(mark) = struck.get_mut(at) {
        *mark = true;
        at += step;
    }
}

impl PrimeGroup {
    fn new(primes: [u32; TOGETHER], limbs: usize) -> Self {
        let product = primes.iter().map(|prime| u64::from(*prime)).product();
        let modulus = u128::from(product);
        let scale = (0..=limbs).fold(1, |power, _| (power << 64) % modulus);
        let scale = u64::try_from(scale).unwrap_or(0); // a remainder of a number of 63 bits fits
        Self { primes, product, negated_inverse: inverse_modulo_2_64(product).wrapping_neg(), scale }
    }

    /// A number that leaves the same remainders as the large one.
    fn remainder(&self, limbs: &[u64]) -> u64 {
        // At most the product plus one: a factor below 2^64 times the product, plus two numbers below 2^64, is
        // divided by 2^64.
        let folded = limbs.iter().fold(0u64, |folded, limb| {
            let factor = folded.wrapping_add(*limb).wrapping_mul(self.negated_inverse);
            factor.carrying_mul_add(self.product, folded, *limb).1
        });
        let (low, high) = folded.carrying_mul(self.scale, 0);
        let factor = low.wrapping_mul(self.negated_inverse);
        let (_, carry) = factor.carrying_mul_add(self.product, low, 0);
        // Each is at most the product, so that their sum fits into 64 bits.
        high + carry
    }
}

/// The limbs of a number, the least significant first.
fn limbs(bytes: &[u8]) -> Zeroizing<Vec<u64>> {
    let limb = |bytes: &[u8]| bytes.iter().fold(0, |limb, byte| limb << 8 | u64::from(*byte));
    Zeroizing::new(bytes.rchunks(8).map(limb).collect())
}

fn remainder_of_bytes(bytes: &[u8], modulus: u64) -> u64 {
    bytes.iter().fold(0, |remainder, byte| (remainder << 8 | u64::from(*byte)) % modulus)
}

/// The inverse of an odd number modulo 2^64, by Newton's iteration: an odd number is its own inverse modulo 8, and
/// each step doubles the bits that are right.
fn inverse_modulo_2_64(odd: u64) -> u64 {
    (0..5).fold(odd, |inverse: u64, _| inverse.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(inverse))))
}

/// The odd primes below a bound, by the sieve of Eratosthenes over the odd numbers 2i + 1.
fn odd_primes_below(bound: u32) -> Vec<u32> {
    let mut primes = Vec::new();
    let mut composite = vec![false; usize::try_from(bound / 2).unwrap_or(0)];
    for (index, odd) in (1..bound).step_by(2).enumerate().skip(1) {
        if composite.get(index).is_none_or(|mark| *mark) {
            continue;
        }
        primes.push(odd);
        let step = 2 * index + 1;
        let mut at = step.saturating_mul(step) / 2;
        while let Some(mark) = composite.get_mut(at) {
            *mark = true;
            at += step;
        }
    }
    primes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::rsa::tests::SeededRandom;

    /// Whether trial division finds no divisor.
    fn is_prime(number: u32) -> bool {
        number > 1 && (2..).take_while(|d| d * d <= number).all(|d| !number.is_multiple_of(d))
    }

    #[test]
    fn the_small_primes_are_those_that_trial_division_finds() {
        for bound in [0, 1, 3, 4, 9, 10, 1000, 1 << 14] {
            let expected: Vec<u32> = (3..bound).filter(|n| is_prime(*n)).collect();
            assert_eq!(odd_primes_below(bound), expected, "{bound}");
        }
        assert_eq!(odd_primes_below(BOUND_MAX).len(), 155_610, "the number of primes below 2^21, without 2");
    }

    #[test]
    fn inverses_modulo_2_64_are_inverses() {
        for odd in [1, 3, 5, 0xFFFF_FFFF_FFFF_FFFF, 0x1234_5678_9ABC_DEF1, 3 * 5 * 7] {
            assert_eq!(inverse_modulo_2_64(odd).wrapping_mul(odd), 1, "{odd}");
        }
    }

    #[test]
    fn remainders_agree_with_those_of_openssl() {
        let mut random = SeededRandom::new(b"remainders");
        for length in [1, 7, 8, 9, 64, 65, 123, 124] {
            let mut number = random.bytes(length);
            for fill in [None, Some(0xFF), Some(0)] {
                number = fill.map_or(number, |byte| vec![byte; length]);
                let large = openssl::bn::BigNum::from_slice(&number).unwrap();
                for primes in [[3, 5, 7], [2_097_143, 2_097_133, 2_097_131], [11, 65_537, 2_097_143]] {
                    let group = PrimeGroup::new(primes, length.div_ceil(8));
                    let remainder = group.remainder(&limbs(&number));
                    for prime in primes {
                        assert_eq!(remainder % u64::from(prime), large.mod_word(prime).unwrap(), "{prime}");
                    }
                }
            }
        }
    }

    /// Every position of small windows, against trial division with numbers that fit into 64 bits.
    #[test]
    fn exactly_the_multiples_and_the_unsuitable_are_struck_out() {
        let mut random = SeededRandom::new(b"windows");
        for (round, exponent) in
            [PublicExponent::Three, PublicExponent::F4].into_iter().cycle().take(40).enumerate()
        {
            let bound = [8, 100, 5000, 70_000][round % 4];
            let sieve = Sieve::new(exponent, 8, bound, 700);
            let mut start: [u8; 8] = random.bytes(8).try_into().unwrap();
            (start[0], start[7]) = (0x7F & start[0], start[7] | 1);
            let struck = sieve.struck(&start);
            assert_eq!(struck.len(), 700);
            let e = u64::from(exponent.value());
            for (position, struck) in (0..).step_by(2).zip(struck.iter()) {
                let number = u64::from_be_bytes(start) + position;
                let multiple = sieve.primes().any(|prime| number.is_multiple_of(prime.into()));
                assert_eq!(*struck, multiple || number % e == 1, "{number} with {exponent:?} below {bound}");
            }
        }
    }
}
