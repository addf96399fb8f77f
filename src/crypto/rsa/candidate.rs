//! The test of Miller and Rabin for one number.
//!
//! Not here: how many rounds make a prime (`rounds`), which numbers are tested (`sieve`, `generate`). FIPS 186-5
//! B.3.1.

use openssl::bn::{BigNumContextRef, BigNumRef};
use openssl::error::ErrorStack;

use super::secret_number::SecretNumber;

/// An odd number above 3 under test: one more than an odd number times 2^`twos`.
pub(super) struct Candidate<'a> {
    number: &'a BigNumRef,
    less_one: SecretNumber,
    odd: SecretNumber,
    twos: i32,
}

impl<'a> Candidate<'a> {
    /// A number to be tested.
    pub(super) fn new(number: &'a BigNumRef) -> Result<Self, ErrorStack> {
        let less_one = SecretNumber::one_below(number)?;
        let twos = (1..less_one.num_bits()).find(|bit| less_one.is_bit_set(*bit)).unwrap_or(1);
        let mut odd = SecretNumber::zero()?;
        odd.rshift(&less_one, twos)?;
        Ok(Self { number, less_one, odd, twos })
    }

    /// Whether the number passes one round: it is prime, or composite and this base does not show it.
    pub(super) fn passes(
        &self,
        base: &BigNumRef,
        context: &mut BigNumContextRef,
    ) -> Result<bool, ErrorStack> {
        let mut power = SecretNumber::zero()?;
        power.mod_exp(base, &self.odd, self.number, context)?;
        if power.num_bits() == 1 || power.ucmp(&self.less_one).is_eq() {
            return Ok(true);
        }
        for _ in 1..self.twos {
            let mut square = SecretNumber::zero()?;
            square.mod_sqr(&power, self.number, context)?;
            if square.ucmp(&self.less_one).is_eq() {
                return Ok(true);
            }
            power = square;
        }
        Ok(false)
    }

    /// Whether bytes are, as a number, a base for a round: from 2 to the number less 2. The others show nothing.
    pub(super) fn is_base(&self, base: &BigNumRef) -> bool {
        base.num_bits() > 1 && base.ucmp(&self.less_one).is_lt()
    }
}

#[cfg(test)]
mod tests {
    use openssl::bn::{BigNum, BigNumContext};

    use super::*;

    fn passes(number: u32, base: u32) -> bool {
        let (number, base) = (BigNum::from_u32(number).unwrap(), BigNum::from_u32(base).unwrap());
        Candidate::new(&number).unwrap().passes(&base, &mut BigNumContext::new().unwrap()).unwrap()
    }

    #[test]
    fn primes_pass_with_every_base() {
        for prime in [5, 7, 13, 17, 97, 193, 257, 65_537] {
            for base in 2..prime.min(200) - 1 {
                assert!(passes(prime, base), "{prime} with base {base}");
            }
        }
    }

    /// The strong pseudoprimes to base 2 below 10000 (OEIS A001262), and no other odd composite there.
    #[test]
    fn composites_pass_with_base_2_where_it_is_known() {
        let is_composite = |n: &u32| (2..).take_while(|d| d * d <= *n).any(|d| n.is_multiple_of(d));
        let passed: Vec<u32> =
            (5..10_000).step_by(2).filter(is_composite).filter(|n| passes(*n, 2)).collect();
        assert_eq!(passed, [2047, 3277, 4033, 4681, 8321]);
    }

    #[test]
    fn bases_lie_between_1_and_the_number_less_1() {
        let number = BigNum::from_u32(97).unwrap();
        let candidate = Candidate::new(&number).unwrap();
        let is_base = |base| candidate.is_base(&BigNum::from_u32(base).unwrap());
        assert_eq!([0, 1, 2, 95, 96, 97, 98].map(is_base), [false, false, true, true, false, false, false]);
    }
}
