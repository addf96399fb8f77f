//! How many rounds of Miller and Rabin's test a found prime has to pass, so that it is composite with a probability of
//! at most 2^-101. A key pair has two primes, so that one of them is composite with a probability of at most 2^-100.
//!
//! Not here: the test (`candidate`), the search (`generate`).
//!
//! # The bound
//!
//! Let a(n) be the number of bases with which an odd composite n passes a round, divided by Euler's phi(n). So n passes a
//! round with a probability of at most a(n). In the worst case a(n) is 1/4, but for almost all n far less: Damgard, Landrock and Pomerance, "Average case error estimates for the
//! strong probable prime test", Mathematics of Computation 61 (1993), show that of the odd numbers of exactly k bits,
//! the share of those with a(n) > 2^-m is, for m + 1 at most 2 sqrt(k - 1), at most
//!
//! C(m) = c * (sum over j from 2 to m of 2^(m - j - (k - 1)/j)), with c = 8 (pi^2 - 6) / 3.
//!
//! No composite above 9 has a(n) > 1/4, so the sum below begins with m = 3. Sorted by the m for which a(n) is
//! between 2^-m and 2^-(m-1), the probability that an odd number of k bits, uniformly drawn, is composite *and* passes t
//! rounds with independent bases is for each M at most
//!
//! E(k, t) = 2^(-M t) + sum over m from 3 to M of C(m) * 2^(-(m - 1) t).
//!
//! This is the sum in FIPS 186-5 C.1 without the factor in front, which is for the probability of a composite *among
//! the numbers that pass*. [`bound`] takes the best M.
//!
//! # The search
//!
//! A search (`generate`) draws a start uniformly from the odd numbers of k bits whose two highest bits are set, and
//! tests the numbers start + 2i below 2^k, for i from 0 to S - 1, in that order, apart from those that the sieve struck
//! out or that fail with base 2. It returns the first that passes t rounds with bases of its own. It draws a new start
//! if there is none, at most W times in all.
//!
//! - The two highest bits: half of the odd numbers of k bits have them set. So a set of numbers that E(k, t) of all hold
//!   is hit by a uniformly drawn start with at most 2 E(k, t).
//! - The numbers of a window depend on each other, but for each i alone, start + 2i is uniform over as many odd numbers
//!   as the start. Those of k bits among them are hit with at most the probability of before: that number i is
//!   composite and would pass its t rounds has at most the probability 2 E(k, t). A wrong number can only be returned
//!   if this is so for one of S W numbers: at most 2 S W E(k, t), whatever their dependence (Boole's inequality).
//!   Brandt and Damgard, "On generation of probable primes by incremental search" (Crypto '92), argue likewise.
//! - The sieve and base 2 only leave numbers out. They strike out no prime that suits the exponent, and a composite that
//!   they let pass is still one of the S W numbers. So are the numbers that the exponent excludes.
//! - Bases are drawn from 2 to n - 2. Leaving out 1 and n - 1, with which every number passes, lowers a(n).
//! - `relations` refuses a pair with a probability below 2^-40, and then generation fails. A pair that is returned is
//!   wrong with at most the probability above divided by 1 - 2^-40: the slack that comes of whole rounds covers this,
//!   as the tests show.

use std::f64::consts::PI;

/// The logarithm of the probability that a found prime is composite.
const ERROR_BITS: f64 = -101.0;

/// Rounds for a prime of `bits` bits, if `tested` is the largest number of numbers that a search can come to.
pub(super) fn rounds(bits: u16, tested: u32) -> u16 {
    let tolerable = ERROR_BITS - 1.0 - f64::from(tested).log2();
    (1..u16::MAX).find(|rounds| bound(bits, *rounds).log2() < tolerable).unwrap_or(u16::MAX)
}

/// The probability, at most, that an odd number of `bits` bits is composite and passes the rounds: E(k, t) above.
fn bound(bits: u16, rounds: u16) -> f64 {
    let c = 8.0 * (PI * PI - 6.0) / 3.0;
    let (below, t) = (f64::from(bits) - 1.0, f64::from(rounds));
    // The sum over j without 2^m, and the sum over m.
    let (mut inner, mut sum, mut best) = (0.0, 0.0, 1.0f64);
    for m in 2..bits {
        let m_plus_1 = u32::from(m) + 1;
        if m_plus_1 * m_plus_1 > 4 * (u32::from(bits) - 1) {
            break;
        }
        let m = f64::from(m);
        inner += (-m - below / m).exp2();
        if m_plus_1 > 3 {
            sum += c * inner * (m - (m - 1.0) * t).exp2();
            best = best.min(sum + (-m * t).exp2());
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::rsa::generate::TESTED_MAX;

    /// log2 of E(k, t), computed apart from this program with mpmath at 400 bits.
    #[test]
    fn the_bound_agrees_with_values_of_a_higher_precision() {
        for (bits, values) in [
            (512, [-33.51, -54.97, -69.36, -81.01, -91.03, -99.92, -107.99, -115.40, -122.29]),
            (576, [-36.10, -58.81, -74.08, -86.47, -97.13, -106.61, -115.21, -123.13, -130.49]),
            (704, [-40.90, -65.91, -82.79, -96.53, -108.39, -118.96, -128.56, -137.40, -145.63]),
            (988, [-50.27, -79.66, -99.65, -116.02, -130.20, -142.85, -154.37, -165.01, -174.92]),
        ] {
            for (rounds, expected) in (1..).zip(values) {
                let log: f64 = bound(bits, rounds).log2();
                assert!((log - expected).abs() < 0.01, "{bits} bits, {rounds} rounds: {log}, not {expected}");
            }
        }
    }

    /// The least rounds for an error below 2^-error by the formula of FIPS 186-5 C.1: with a factor in front for the
    /// density of primes, 2.00743 ln 2 k 2^-k, and without a search.
    fn rounds_of_fips(bits: u16, error: f64) -> u16 {
        let density = 2.00743 * std::f64::consts::LN_2 * f64::from(bits) / 4.0;
        (1..100).find(|rounds| (density * bound(bits, *rounds)).log2() <= -error).unwrap()
    }

    /// FIPS 186-4 table C.3 (512 bits) and FIPS 186-5 table B.1.
    #[test]
    fn the_bound_gives_the_tables_of_fips_186() {
        assert_eq!(rounds_of_fips(512, 100.0), 7);
        assert_eq!([rounds_of_fips(1024, 100.0), rounds_of_fips(1024, 112.0)], [4, 5]);
        assert_eq!([rounds_of_fips(1536, 100.0), rounds_of_fips(1536, 128.0)], [3, 4]);
        assert_eq!([rounds_of_fips(2048, 100.0), rounds_of_fips(2048, 144.0)], [2, 4]);
    }

    /// The numbers of rounds that follow from the values above with 2 S W = 2^17.
    #[test]
    fn the_search_takes_more_rounds_than_a_single_number() {
        assert_eq!(TESTED_MAX, 1 << 16);
        let rounds = [512, 576, 704, 988].map(|bits| rounds(bits, TESTED_MAX));
        assert_eq!(rounds, [9, 8, 6, 5]);
    }

    #[test]
    fn every_size_leaves_slack_for_the_pairs_that_are_refused() {
        for bits in (512..=992).step_by(4) {
            let rounds = rounds(bits, TESTED_MAX);
            let error = 2.0 * f64::from(TESTED_MAX) * bound(bits, rounds);
            assert!(error / (1.0 - (-40.0f64).exp2()) < ERROR_BITS.exp2(), "{bits}");
            assert!((4..=9).contains(&rounds), "{bits}: {rounds}");
        }
    }
}
