//! RSA with message recovery (EMV Book 2, annexes A2.1 and B2.1): the public operation, and the frame that all
//! signed blocks share.

use openssl::bn::{BigNum, BigNumContext};
use openssl::error::ErrorStack;
use sha1::{Digest, Sha1};

use super::failure::StepFault;
use super::tlv;

/// Most bytes of a modulus.
const MODULUS_MAX: usize = 248;

/// The byte that fills a block.
pub(super) const FILLER: u8 = 0xBB;

/// A public key that opens signatures.
#[derive(Clone)]
pub(super) struct OpeningKey {
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

impl OpeningKey {
    /// A key of at most 248 bytes whose modulus is odd and has its first bit set, with exponent 3 or 65537.
    pub(super) fn new(modulus: &[u8], exponent: &[u8]) -> Result<Self, StepFault> {
        if modulus.len() > MODULUS_MAX {
            return Err(StepFault::KeyLength);
        }
        let (first, last) = (modulus.first().copied(), modulus.last().copied());
        if first.is_none_or(|byte| byte < 0x80) || last.is_none_or(|byte| byte & 1 == 0) {
            return Err(StepFault::Modulus);
        }
        match exponent {
            [3] | [1, 0, 1] => Ok(Self { modulus: modulus.to_vec(), exponent: exponent.to_vec() }),
            _ => Err(StepFault::Exponent),
        }
    }

    /// Bytes of the modulus.
    pub(super) fn length(&self) -> usize {
        self.modulus.len()
    }

    /// Opens a block, and checks its length, trailer, header and format, in this order.
    pub(super) fn open(&self, block: &[u8], format: u8) -> Result<SignedBlock, StepFault> {
        if block.len() != self.length() {
            return Err(StepFault::Length);
        }
        let recovered = self.power(block).map_err(|_| StepFault::Arithmetic)?;
        let (inner, 0xBC) = recovered.split_last().map_or((&[][..], 0), |(last, rest)| (rest, *last)) else {
            return Err(StepFault::Trailer);
        };
        let [0x6A, inner @ ..] = inner else { return Err(StepFault::Header) };
        if inner.first() != Some(&format) {
            return Err(StepFault::Format);
        }
        let (signed, hash) = inner.split_last_chunk().ok_or(StepFault::KeyLength)?;
        Ok(SignedBlock { signed: signed.to_vec(), hash: *hash })
    }

    fn power(&self, block: &[u8]) -> Result<Vec<u8>, ErrorStack> {
        let mut opened = BigNum::new()?;
        let [block, exponent, modulus] = [block, &self.exponent, &self.modulus].map(BigNum::from_slice);
        opened.mod_exp(&*block?, &*exponent?, &*modulus?, &mut *BigNumContext::new()?)?;
        opened.to_vec_padded(i32::try_from(self.length()).unwrap_or_default())
    }
}

/// An opened block: what lies between header and hash, and the hash.
pub(super) struct SignedBlock {
    signed: Vec<u8>,
    hash: [u8; 20],
}

impl SignedBlock {
    /// What follows the format byte.
    pub(super) fn content(&self) -> &[u8] {
        self.signed.split_first().map_or(&[], |(_, content)| content)
    }

    /// Checks the algorithm's number, and the hash over the block and what follows it.
    pub(super) fn check_hash(&self, algorithm: u8, following: &[&[u8]]) -> Result<(), StepFault> {
        if algorithm != 1 {
            return Err(StepFault::HashAlgorithm);
        }
        let mut hash = Sha1::new_with_prefix(&self.signed);
        for part in following {
            hash.update(part);
        }
        if hash.finalize()[..] == self.hash { Ok(()) } else { Err(StepFault::Hash) }
    }
}

/// Checks that all bytes are filler.
pub(super) fn check_filler(bytes: &[u8]) -> Result<(), StepFault> {
    if bytes.iter().all(|byte| *byte == FILLER) { Ok(()) } else { Err(StepFault::Padding) }
}

/// Takes an array off the front.
pub(super) fn array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], StepFault> {
    // Blocks are shorter than their fields only where the key is.
    let bytes = tlv::take(rest, N).map_err(|_| StepFault::KeyLength)?;
    bytes.try_into().map_err(|_| StepFault::KeyLength)
}
