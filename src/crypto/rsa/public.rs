//! Public RSA keys, and the recovery of a block from a signature.
//!
//! Not here: what the block means (the certificate formats). EMV Book 2, A2.1 (recovery) and B2.1.

use openssl::bn::{BigNum, BigNumContext};

use super::fault::RsaError;

/// The smallest modulus in bits. Shorter ones have been factored.
const BITS_MIN: usize = 1024;
/// The largest modulus in bits: that of a certification authority of EMV, 248 bytes.
const BITS_MAX: usize = 1984;

/// The size of a modulus, of which every length of a key's parts follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeySize(u16);

impl KeySize {
    /// A size in bits, which must be one that keys have here.
    pub(super) fn new(bits: usize) -> Result<Self, RsaError> {
        let allowed = (BITS_MIN..=BITS_MAX).contains(&bits) && bits.is_multiple_of(8);
        let bits = if allowed { u16::try_from(bits).ok() } else { None }.ok_or(RsaError::Size(bits))?;
        Ok(Self(bits))
    }

    /// Bits of the modulus.
    pub(super) fn bits(self) -> u16 {
        self.0
    }

    /// Bits of each prime.
    pub(super) fn prime_bits(self) -> u16 {
        self.0 / 2
    }

    /// Bytes of the modulus, of a signature and of a block.
    pub(super) fn length(self) -> usize {
        usize::from(self.0 / 8)
    }

    /// Bytes of each part of a key pair: of the primes, the exponents and the inverse.
    pub(super) fn part_length(self) -> u16 {
        self.prime_bits().div_ceil(8)
    }
}

/// The public exponents that EMV allows. Both are prime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PublicExponent {
    /// 3: a terminal verifies quickest.
    Three,
    /// 65537, which is 2^16 + 1.
    F4,
}

impl PublicExponent {
    /// The exponent of a number.
    pub fn new(value: u32) -> Result<Self, RsaError> {
        match value {
            3 => Ok(Self::Three),
            65537 => Ok(Self::F4),
            _ => Err(RsaError::Exponent),
        }
    }

    /// The number.
    pub fn value(self) -> u32 {
        match self {
            Self::Three => 3,
            Self::F4 => 65537,
        }
    }

    /// The bytes of the number without zeros in front: one, or three.
    pub fn bytes(self) -> &'static [u8] {
        match self {
            Self::Three => &[3],
            Self::F4 => &[1, 0, 1],
        }
    }

    /// The exponent of its bytes, with or without zeros in front.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RsaError> {
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        match bytes.get(zeros..) {
            Some([3]) => Ok(Self::Three),
            Some([1, 0, 1]) => Ok(Self::F4),
            _ => Err(RsaError::Exponent),
        }
    }
}

/// A public key: modulus and exponent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RsaPublicKey {
    modulus: Vec<u8>,
    exponent: PublicExponent,
    size: KeySize,
}

impl RsaPublicKey {
    /// A public key of the bytes of its modulus, the most significant first, the first bit set.
    pub fn new(modulus: &[u8], exponent: PublicExponent) -> Result<Self, RsaError> {
        let size = KeySize::new(modulus.len().saturating_mul(8))?;
        let [first, .., last] = modulus else { return Err(RsaError::Modulus) };
        if first & 0x80 == 0 || last & 1 == 0 {
            return Err(RsaError::Modulus);
        }
        Ok(Self { modulus: modulus.to_vec(), exponent, size })
    }

    /// The bytes of the modulus, the most significant first.
    pub fn modulus(&self) -> &[u8] {
        &self.modulus
    }

    /// The exponent.
    pub fn exponent(&self) -> PublicExponent {
        self.exponent
    }

    /// Bits of the modulus.
    pub fn bits(&self) -> usize {
        self.size.bits().into()
    }

    /// Bytes of the modulus, of a signature and of a block.
    pub fn length(&self) -> usize {
        self.size.length()
    }

    pub(super) fn size(&self) -> KeySize {
        self.size
    }

    /// Fails unless a block is as long as the modulus and, as a number, below it.
    pub(super) fn check_block(&self, block: &[u8]) -> Result<(), RsaError> {
        // Of two numbers with equally many bytes, the lower comes first in the order of their bytes.
        let fits = block.len() == self.modulus.len() && block < self.modulus.as_slice();
        if fits { Ok(()) } else { Err(RsaError::Block) }
    }

    /// The public operation: the block that a signature was made of. It says nothing about the block's format: any
    /// number below the modulus is the signature of some block.
    pub fn recover(&self, signature: &[u8]) -> Result<Vec<u8>, RsaError> {
        self.check_block(signature)?;
        let modulus = BigNum::from_slice(&self.modulus)?;
        let exponent = BigNum::from_u32(self.exponent.value())?;
        let signature = BigNum::from_slice(signature)?;
        let mut block = BigNum::new()?;
        block.mod_exp(&signature, &exponent, &modulus, &mut *BigNumContext::new()?)?;
        Ok(block.to_vec_padded((self.size.bits() / 8).into())?)
    }
}
