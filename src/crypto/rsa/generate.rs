//! Generation of key pairs: the search for two primes.
//!
//! Not here: random numbers (the caller gives them), the sieve, the test of a number, the number of its rounds and
//! the bound of the error (`rounds`), the limits of a pair (`relations`).
//!
//! A search draws a random start, sieves the window of odd numbers from there, and tests the numbers that are left,
//! first with base 2, which nearly every composite fails, then with random bases.
//!
//! Each search gives one prime, and both primes of a pair and the primes of all pairs come from starts of their own. A
//! window holds several primes, and to take them all would save most of the work, but it would be fatal: the two
//! primes of a window differ by less than 2^13. As the primes of one pair, Fermat's method finds them at once. As
//! primes of two pairs, they tie the cards together: a person who extracts the key of one card finds a prime of the
//! other by trying a few thousand differences.

use openssl::bn::BigNumContext;
use zeroize::Zeroizing;

use super::candidate::Candidate;
use super::fault::RsaError;
use super::pair::RsaKeyPair;
use super::public::{KeySize, PublicExponent};
use super::rounds::rounds;
use super::secret_number::SecretNumber;
use super::sieve::Sieve;

/// Odd numbers in a window. Among them are about six primes of the largest size that suit the exponent 3, and more of
/// smaller sizes.
const POSITIONS: u16 = 1 << 12;
/// Windows that a search looks at, at most. All of them have no prime with a probability below 2^-100, if the starts are
/// random.
const WINDOWS: u16 = 1 << 4;
/// Numbers that a search comes to, at most.
pub(super) const TESTED_MAX: u32 = POSITIONS as u32 * WINDOWS as u32;
/// Bases that a round draws, at most. A drawn one is unfit with a probability of at most 1/4.
const DRAWS: u16 = 200;

/// Makes key pairs of one size and public exponent. Its tables take some milliseconds to make and 100 to 500 KiB; any
/// number of threads can use one.
pub struct KeyPairGenerator {
    size: KeySize,
    exponent: PublicExponent,
    sieve: Sieve,
    rounds: u16,
}

impl KeyPairGenerator {
    /// A generator of key pairs with a modulus of exactly `bits` bits.
    pub fn new(bits: usize, exponent: PublicExponent) -> Result<Self, RsaError> {
        let size = KeySize::new(bits)?;
        let sieve = Sieve::new(exponent, size.part_length().into(), sieve_bound(size), POSITIONS.into());
        Ok(Self { size, exponent, sieve, rounds: rounds(size.prime_bits(), TESTED_MAX) })
    }

    /// A new key pair. `random` fills its argument with random bytes that nobody can predict, and returns
    /// [`RsaError::Random`] if it cannot.
    pub fn generate<R>(&self, random: &mut R) -> Result<RsaKeyPair, RsaError>
    where
        R: FnMut(&mut [u8]) -> Result<(), RsaError> + ?Sized,
    {
        let mut search =
            PrimeSearch { generator: self, random, context: BigNumContext::new_secure()?, two: two()? };
        let primes = [search.prime()?, search.prime()?];
        RsaKeyPair::of_primes(self.size, self.exponent, primes)
    }
}

/// Where the small primes of the sieve end. Found by measuring: the larger the primes that are searched, the more an
/// exponentiation costs, and the more small primes pay. From half to twice the bound, the time hardly differs.
fn sieve_bound(size: KeySize) -> u32 {
    let units = u32::from(size.bits()) / 128;
    units * units * units * 128
}

fn two() -> Result<SecretNumber, RsaError> {
    Ok(SecretNumber::of_bytes(&[2])?)
}

/// The search for the primes of one pair.
struct PrimeSearch<'a, R: ?Sized> {
    generator: &'a KeyPairGenerator,
    random: &'a mut R,
    context: BigNumContext,
    two: SecretNumber,
}

impl<R: FnMut(&mut [u8]) -> Result<(), RsaError> + ?Sized> PrimeSearch<'_, R> {
    /// A prime with the two highest bits set.
    fn prime(&mut self) -> Result<SecretNumber, RsaError> {
        for _ in 0..WINDOWS {
            let start = self.start()?;
            if let Some(prime) = self.first_prime(&start)? {
                return Ok(prime);
            }
        }
        Err(RsaError::NoPrime)
    }

    /// An odd number with the two highest bits set, otherwise random.
    fn start(&mut self) -> Result<Zeroizing<Vec<u8>>, RsaError> {
        let mut start = self.random_bits()?;
        if let Some(first) = start.first_mut() {
            *first |= 0xC0 >> self.spare_bits();
        }
        if let Some(last) = start.last_mut() {
            *last |= 1;
        }
        Ok(start)
    }

    /// The first number of the window from a start that passes all rounds.
    fn first_prime(&mut self, start: &[u8]) -> Result<Option<SecretNumber>, RsaError> {
        let struck = self.generator.sieve.struck(start);
        let mut number = SecretNumber::of_bytes(start)?;
        let bits = number.num_bits();
        // The distance from the number to that of the position.
        let mut distance = 0;
        for struck in struck.iter() {
            if !*struck {
                number.add_word(distance)?;
                distance = 0;
                if number.num_bits() > bits {
                    return Ok(None);
                }
                if self.is_prime(&number)? {
                    return Ok(Some(number));
                }
            }
            distance += 2;
        }
        Ok(None)
    }

    fn is_prime(&mut self, number: &SecretNumber) -> Result<bool, RsaError> {
        let candidate = Candidate::new(number)?;
        if !candidate.passes(&self.two, &mut self.context)? {
            return Ok(false);
        }
        for _ in 0..self.generator.rounds {
            let base = self.base(&candidate)?;
            if !candidate.passes(&base, &mut self.context)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A base, uniformly drawn from those that are allowed.
    fn base(&mut self, candidate: &Candidate<'_>) -> Result<SecretNumber, RsaError> {
        for _ in 0..DRAWS {
            let base = SecretNumber::of_bytes(&self.random_bits()?)?;
            if candidate.is_base(&base) {
                return Ok(base);
            }
        }
        Err(RsaError::NoPrime)
    }

    /// A random number with at most as many bits as a prime, in as many bytes.
    fn random_bits(&mut self) -> Result<Zeroizing<Vec<u8>>, RsaError> {
        let mut bytes = Zeroizing::new(vec![0; self.generator.size.part_length().into()]);
        (self.random)(&mut bytes)?;
        if let Some(first) = bytes.first_mut() {
            *first &= 0xFF >> self.spare_bits();
        }
        Ok(bytes)
    }

    /// Bits of the first byte that a prime does not use: none or four.
    fn spare_bits(&self) -> u16 {
        self.generator.size.part_length() * 8 - self.generator.size.prime_bits()
    }
}
