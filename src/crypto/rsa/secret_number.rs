//! Large numbers that are secret: wiped when they are dropped, with OpenSSL's constant-time arithmetic.
//!
//! Not here: the arithmetic itself (OpenSSL), what the numbers mean (`pair`, `candidate`).

use std::ops::{Deref, DerefMut};

use openssl::bn::{BigNum, BigNumRef};
use openssl::error::ErrorStack;
use zeroize::Zeroizing;

/// A secret number. OpenSSL wipes its memory when it is freed and when it grows, and chooses the constant-time variant
/// of an operation that has one.
pub(super) struct SecretNumber(BigNum);

impl SecretNumber {
    /// Zero.
    pub(super) fn zero() -> Result<Self, ErrorStack> {
        let mut number = BigNum::new_secure()?;
        number.set_const_time();
        Ok(Self(number))
    }

    /// The number of these bytes, the most significant first.
    pub(super) fn of_bytes(bytes: &[u8]) -> Result<Self, ErrorStack> {
        let mut number = Self::zero()?;
        number.0.copy_from_slice(bytes)?;
        Ok(number)
    }

    /// A copy of a number.
    pub(super) fn of(other: &BigNumRef) -> Result<Self, ErrorStack> {
        let mut number = Self::zero()?;
        number.lshift(other, 0)?;
        Ok(number)
    }

    /// A copy of a number, one less.
    pub(super) fn one_below(other: &BigNumRef) -> Result<Self, ErrorStack> {
        let mut number = Self::of(other)?;
        number.sub_word(1)?;
        Ok(number)
    }

    /// The number for one of OpenSSL's keys, which wipes it when it is dropped.
    pub(super) fn into_key(self) -> BigNum {
        self.0
    }

    /// The bytes of the number, the most significant first, with zeros in front up to `length`.
    pub(super) fn bytes(&self, length: u16) -> Result<Zeroizing<Vec<u8>>, ErrorStack> {
        Ok(Zeroizing::new(self.0.to_vec_padded(length.into())?))
    }
}

impl Deref for SecretNumber {
    type Target = BigNumRef;
    fn deref(&self) -> &BigNumRef {
        &self.0
    }
}

impl DerefMut for SecretNumber {
    fn deref_mut(&mut self) -> &mut BigNumRef {
        &mut self.0
    }
}
