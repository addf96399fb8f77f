//! A key pair as bytes: the public key and the CRT parts, wiped when dropped, and the form in which a pair is sealed.
//!
//! Not here: sealing and storing (`hsm`), the arithmetic (`relations`, `signer`). PKCS #1 (RFC 8017) 3.2, second
//! representation; EMV CPS 2.0, DGIs 8201 to 8205.

use zeroize::Zeroizing;

use super::fault::{PairFault, RsaError};
use super::public::{KeySize, PublicExponent, RsaPublicKey};
use super::relations::{PairNumbers, check_prime};
use super::secret_number::SecretNumber;

/// First byte of an encoded key pair.
const FORMAT: u8 = 1;
/// Bytes before the parts of an encoded key pair: format, size and exponent.
const HEAD: usize = 1 + 2 + 3;
/// Parts of a key pair: p, q, dp, dq and qinv.
const PARTS: usize = 5;

/// The secret parts of a key pair, each with half the bytes of the modulus, rounded up, the most significant first.
#[derive(Clone, Copy)]
pub struct CrtParts<'a> {
    /// The larger prime, DGI 8205.
    pub p: &'a [u8],
    /// The smaller prime, DGI 8204.
    pub q: &'a [u8],
    /// d mod (p - 1), DGI 8203.
    pub dp: &'a [u8],
    /// d mod (q - 1), DGI 8202.
    pub dq: &'a [u8],
    /// q^-1 mod p, DGI 8201.
    pub qinv: &'a [u8],
}

/// A key pair. Shows nothing of itself, is not copied, and is wiped when dropped.
pub struct RsaKeyPair {
    public: RsaPublicKey,
    p: Zeroizing<Vec<u8>>,
    q: Zeroizing<Vec<u8>>,
    dp: Zeroizing<Vec<u8>>,
    dq: Zeroizing<Vec<u8>>,
    qinv: Zeroizing<Vec<u8>>,
}

impl RsaKeyPair {
    /// A key pair from outside. Every relation between its numbers is checked, and that p and q are prime.
    pub fn from_parts(public: &RsaPublicKey, parts: &CrtParts<'_>) -> Result<Self, RsaError> {
        let numbers = numbers(parts)?;
        let pair = Self::checked(public.size(), public.exponent(), &numbers)?;
        if pair.public != *public {
            return Err(PairFault::Product.into());
        }
        check_prime(&numbers.p)?;
        check_prime(&numbers.q)?;
        Ok(pair)
    }

    /// The key pair of two primes from outside, in either order. Their primality and sizes are checked.
    pub fn from_primes(exponent: PublicExponent, first: &[u8], second: &[u8]) -> Result<Self, RsaError> {
        let size = KeySize::new(first.len().saturating_mul(16))?;
        let primes = [SecretNumber::of_bytes(first)?, SecretNumber::of_bytes(second)?];
        for prime in &primes {
            check_prime(prime)?;
        }
        Self::of_primes(size, exponent, primes)
    }

    /// The key pair of two numbers that are prime.
    pub(super) fn of_primes(
        size: KeySize,
        exponent: PublicExponent,
        primes: [SecretNumber; 2],
    ) -> Result<Self, RsaError> {
        Self::of_numbers(size, exponent, &PairNumbers::of_primes(size, exponent, primes)?)
    }

    /// The key pair of numbers of unknown origin, which are checked apart from the primality of p and q.
    fn checked(size: KeySize, exponent: PublicExponent, numbers: &PairNumbers) -> Result<Self, RsaError> {
        numbers.check(size, exponent)?;
        Self::of_numbers(size, exponent, numbers)
    }

    fn of_numbers(size: KeySize, exponent: PublicExponent, numbers: &PairNumbers) -> Result<Self, RsaError> {
        let product = numbers.modulus()?;
        // Two primes of half the bits may have a product of one bit less.
        if product.num_bits() != i32::from(size.bits()) {
            return Err(PairFault::Product.into());
        }
        let public = RsaPublicKey::new(&product.bytes(size.bits() / 8)?, exponent)?;
        let part = |number: &SecretNumber| number.bytes(size.part_length());
        Ok(Self {
            public,
            p: part(&numbers.p)?,
            q: part(&numbers.q)?,
            dp: part(&numbers.dp)?,
            dq: part(&numbers.dq)?,
            qinv: part(&numbers.qinv)?,
        })
    }

    /// The public key.
    pub fn public(&self) -> &RsaPublicKey {
        &self.public
    }

    /// The secret parts.
    pub fn parts(&self) -> CrtParts<'_> {
        CrtParts { p: &self.p, q: &self.q, dp: &self.dp, dq: &self.dq, qinv: &self.qinv }
    }

    /// The numbers for the private operation.
    pub(super) fn numbers(&self) -> Result<PairNumbers, RsaError> {
        numbers(&self.parts())
    }

    /// The key pair in clear bytes, for the caller to seal. Numbers begin with their most significant byte:
    ///
    /// | bytes | holds |
    /// |---|---|
    /// | 1 | 01, the format |
    /// | 2 | bits of the modulus |
    /// | 3 | public exponent, 000003 or 010001 |
    /// | 5 times n | p, q, dp, dq, qinv; n is a sixteenth of the bits of the modulus, rounded up |
    ///
    /// The modulus is the product of p and q, and is not repeated.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let parts = [&self.p, &self.q, &self.dp, &self.dq, &self.qinv];
        // Room for all, so that the bytes do not move and leave a copy.
        let mut bytes = Zeroizing::new(Vec::with_capacity(HEAD + PARTS * self.p.len()));
        bytes.push(FORMAT);
        bytes.extend_from_slice(&self.public.size().bits().to_be_bytes());
        bytes.extend(self.public.exponent().value().to_be_bytes().iter().skip(1));
        for part in parts {
            bytes.extend_from_slice(part);
        }
        bytes
    }

    /// The key pair of bytes that [`Self::encode`] made and whose seal is right. The relations of its numbers are
    /// checked, but not again that p and q are prime, which would take as long as to make a new pair. Bytes without a
    /// seal go to [`Self::from_parts`].
    pub fn decode(bytes: &[u8]) -> Result<Self, RsaError> {
        let [FORMAT, b1, b0, e2, e1, e0, rest @ ..] = bytes else { return Err(RsaError::Encoding) };
        let size = KeySize::new(u16::from_be_bytes([*b1, *b0]).into())?;
        let exponent = PublicExponent::from_bytes(&[*e2, *e1, *e0])?;
        let parts: Vec<&[u8]> = rest.chunks_exact(size.part_length().into()).collect();
        let [p, q, dp, dq, qinv] = parts.as_slice() else { return Err(RsaError::Encoding) };
        if rest.len() != PARTS * usize::from(size.part_length()) {
            return Err(RsaError::Encoding);
        }
        Self::checked(size, exponent, &numbers(&CrtParts { p, q, dp, dq, qinv })?)
    }
}

fn numbers(parts: &CrtParts<'_>) -> Result<PairNumbers, RsaError> {
    Ok(PairNumbers {
        p: SecretNumber::of_bytes(parts.p)?,
        q: SecretNumber::of_bytes(parts.q)?,
        dp: SecretNumber::of_bytes(parts.dp)?,
        dq: SecretNumber::of_bytes(parts.dq)?,
        qinv: SecretNumber::of_bytes(parts.qinv)?,
    })
}
