//! What holds between the numbers of a key pair, and what makes one weak.
//!
//! Not here: their generation, their bytes. PKCS #1 (RFC 8017) 3.2; FIPS 186-5 A.1.1 (distance of the primes, size of
//! the private exponent), A.1.3.

use openssl::bn::{BigNumContext, BigNumRef};

use super::fault::{PairFault, RsaError};
use super::public::{KeySize, PublicExponent};
use super::secret_number::SecretNumber;

/// Bits by which the distance of the primes may fall short of a prime's own size (FIPS 186-5 A.1.3, step 5.4).
const CLOSE_BITS: u16 = 100;
/// Bits by which the common factor of p - 1 and q - 1 must fall short of a prime's size.
const COMMON_BITS: u16 = 50;
/// Rounds of Miller and Rabin's test for a number from outside. It may have been chosen to pass, so only the bound
/// for the worst case holds, 4^-64. OpenSSL draws the bases.
const ROUNDS_OF_OTHERS: i32 = 64;

/// The numbers of a key pair.
pub(super) struct PairNumbers {
    pub(super) p: SecretNumber,
    pub(super) q: SecretNumber,
    /// d mod (p - 1).
    pub(super) dp: SecretNumber,
    /// d mod (q - 1).
    pub(super) dq: SecretNumber,
    /// q^-1 mod p.
    pub(super) qinv: SecretNumber,
}

impl PairNumbers {
    /// The key pair of two primes. They may come in either order; whether they are prime is not checked.
    pub(super) fn of_primes(
        size: KeySize,
        exponent: PublicExponent,
        primes: [SecretNumber; 2],
    ) -> Result<Self, RsaError> {
        let [first, second] = primes;
        let (p, q) = if first.ucmp(&second).is_lt() { (second, first) } else { (first, second) };
        check_primes(size, &p, &q)?;
        let context = &mut *BigNumContext::new_secure()?;
        let e = SecretNumber::of_bytes(exponent.bytes())?;
        let mut inverse_below = |prime: &BigNumRef| -> Result<SecretNumber, RsaError> {
            let below = SecretNumber::one_below(prime)?;
            if below.mod_word(exponent.value())? == 0 {
                return Err(PairFault::ExponentDivides.into());
            }
            let mut inverse = SecretNumber::zero()?;
            inverse.mod_inverse(&e, &below, context)?;
            Ok(inverse)
        };
        let (dp, dq) = (inverse_below(&p)?, inverse_below(&q)?);
        let mut qinv = SecretNumber::zero()?;
        qinv.mod_inverse(&q, &p, context)?;
        Ok(Self { p, q, dp, dq, qinv })
    }

    /// The product of the primes.
    pub(super) fn modulus(&self) -> Result<SecretNumber, RsaError> {
        let mut product = SecretNumber::zero()?;
        product.checked_mul(&self.p, &self.q, &mut *BigNumContext::new_secure()?)?;
        Ok(product)
    }

    /// Fails unless the numbers are a key pair with this exponent, apart from the primality of p and q.
    pub(super) fn check(&self, size: KeySize, exponent: PublicExponent) -> Result<(), RsaError> {
        if self.p.ucmp(&self.q).is_lt() {
            return Err(PairFault::Order.into());
        }
        check_primes(size, &self.p, &self.q)?;
        let e = SecretNumber::of_bytes(exponent.bytes())?;
        let (below_p, below_q) = (SecretNumber::one_below(&self.p)?, SecretNumber::one_below(&self.q)?);
        for (factor, inverse, modulus, fault) in [
            (&e, &self.dp, &below_p, PairFault::ExponentOfP),
            (&e, &self.dq, &below_q, PairFault::ExponentOfQ),
            (&self.q, &self.qinv, &self.p, PairFault::Inverse),
        ] {
            if !are_inverse(factor, inverse, modulus)? {
                return Err(fault.into());
            }
        }
        Ok(())
    }

    /// The private exponent: the inverse of the public one modulo the least common multiple of p - 1 and q - 1.
    pub(super) fn private_exponent(&self, exponent: PublicExponent) -> Result<SecretNumber, RsaError> {
        let context = &mut *BigNumContext::new_secure()?;
        let (below_p, below_q) = (SecretNumber::one_below(&self.p)?, SecretNumber::one_below(&self.q)?);
        let [mut common, mut share, mut multiple, mut d] =
            [SecretNumber::zero()?, SecretNumber::zero()?, SecretNumber::zero()?, SecretNumber::zero()?];
        common.gcd(&below_p, &below_q, context)?;
        share.checked_div(&below_p, &common, context)?;
        multiple.checked_mul(&share, &below_q, context)?;
        let e = SecretNumber::of_bytes(exponent.bytes())?;
        d.mod_inverse(&e, &multiple, context)?;
        Ok(d)
    }
}

/// Fails unless a number passes OpenSSL's test, whose code and bases are not those of `candidate`.
pub(super) fn check_prime(number: &BigNumRef) -> Result<(), RsaError> {
    let is_prime = number.is_prime_fasttest(ROUNDS_OF_OTHERS, &mut *BigNumContext::new_secure()?, true)?;
    if is_prime { Ok(()) } else { Err(PairFault::NotPrime.into()) }
}

/// Whether `inverse`, below the modulus, is the inverse of `factor`.
fn are_inverse(factor: &BigNumRef, inverse: &BigNumRef, modulus: &BigNumRef) -> Result<bool, RsaError> {
    let mut product = SecretNumber::zero()?;
    product.mod_mul(factor, inverse, modulus, &mut *BigNumContext::new_secure()?)?;
    Ok(product.num_bits() == 1 && inverse.ucmp(modulus).is_lt())
}

/// The limits of two primes, p at least as large as q: their sizes, their distance, and the size of d.
///
/// d is the inverse of e modulo L = (p - 1)(q - 1) / g, with g the common factor of p - 1 and q - 1. So e * d is at
/// least L + 1. For primes of k bits and g below 2^(k - 50), L is above 2^(k + 48), and d is above 2^(k + 31). FIPS
/// 186-5 A.1.1 wants more than 2^k.
fn check_primes(size: KeySize, p: &BigNumRef, q: &BigNumRef) -> Result<(), RsaError> {
    let bits = size.prime_bits();
    if [p, q].iter().any(|prime| prime.num_bits() != i32::from(bits)) {
        return Err(PairFault::PrimeSize.into());
    }
    if p.is_even() || q.is_even() {
        return Err(PairFault::NotPrime.into());
    }
    let mut distance = SecretNumber::zero()?;
    distance.checked_sub(p, q)?;
    if distance.num_bits() <= i32::from(bits - CLOSE_BITS) {
        return Err(PairFault::Close.into());
    }
    let (below_p, below_q) = (SecretNumber::one_below(p)?, SecretNumber::one_below(q)?);
    let mut common = SecretNumber::zero()?;
    common.gcd(&below_p, &below_q, &mut *BigNumContext::new_secure()?)?;
    if common.num_bits() > i32::from(bits - COMMON_BITS) {
        return Err(PairFault::CommonFactor.into());
    }
    Ok(())
}
