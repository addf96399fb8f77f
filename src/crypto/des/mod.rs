//! DES as the card world uses it: two-key TDES in ECB and CBC, single-DES chains for the retail MAC, odd parity.
//!
//! ISO 9797-1 MAC algorithm 3 with padding method 2; the initial value is a parameter because secure channels chain it
//! (GPCS E.3, "ICV"). `des` 0.9 neither checks nor needs parity.

use cbc::cipher::{
    Array, BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, InnerIvInit, KeyInit,
    block_padding::NoPadding,
};
use des::{Des, TdesEde2};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::symmetric::CryptoError;
use crate::hardening::LockedBox;

/// A two-key TDES key, 16 bytes, with its schedules ready: setting up costs as much as half a block. In locked
/// pages or on the heap, so that moving it leaves no copy behind.
pub struct TdesKey(LockedBox<TdesSchedules>);

struct TdesSchedules {
    bytes: [u8; 16],
    ede: TdesEde2,
    left: Des,
    right: Des,
}

impl TdesKey {
    /// Parity is not looked at.
    pub fn new(bytes: [u8; 16]) -> Self {
        let (left, right) = bytes.split_at(8);
        let half = |part: &[u8]| {
            let mut key = Array::default();
            key.copy_from_slice(part);
            let des = Des::new(&key);
            key.zeroize();
            des
        };
        Self(LockedBox::new(TdesSchedules {
            bytes,
            ede: TdesEde2::new(&bytes.into()),
            left: half(left),
            right: half(right),
        }))
    }

    /// As [`TdesKey::new`], and wipes the caller's copy.
    pub fn wiping(bytes: &mut [u8; 16]) -> Self {
        let key = Self::new(*bytes);
        bytes.zeroize();
        key
    }

    /// The key itself, for deriving from it and for storing it sealed.
    pub fn expose(&self) -> &[u8; 16] {
        &self.0.bytes
    }

    /// Single DES under the left half, in place: the ICV encryption of GPCS E.3.4.
    pub fn encrypt_left(&self, block: &mut [u8; 8]) {
        self.0.left.encrypt_block(block.into());
    }

    /// ECB, in place.
    pub fn ecb_encrypt(&self, data: &mut [u8]) -> Result<(), CryptoError> {
        for chunk in data.chunks_mut(8) {
            self.0.ede.encrypt_block(chunk.try_into().map_err(|_| CryptoError::Length)?);
        }
        Ok(())
    }

    /// ECB, in place.
    pub fn ecb_decrypt(&self, data: &mut [u8]) -> Result<(), CryptoError> {
        for chunk in data.chunks_mut(8) {
            self.0.ede.decrypt_block(chunk.try_into().map_err(|_| CryptoError::Length)?);
        }
        Ok(())
    }
}

impl Zeroize for TdesKey {
    fn zeroize(&mut self) {
        // The schedules wipe themselves when replaced or dropped (feature `zeroize` of `des`).
        let nothing = Array::default();
        self.0.bytes.zeroize();
        self.0.ede = TdesEde2::new(&[0; 16].into());
        self.0.left = Des::new(&nothing);
        self.0.right = Des::new(&nothing);
    }
}

impl Drop for TdesKey {
    fn drop(&mut self) {
        self.0.bytes.zeroize();
    }
}

impl ZeroizeOnDrop for TdesKey {}

/// CBC, in place. `data` is a multiple of 8.
pub fn tdes_cbc_encrypt(key: &TdesKey, iv: &[u8; 8], data: &mut [u8]) -> Result<(), CryptoError> {
    let length = data.len();
    cbc::Encryptor::inner_iv_init(&key.0.ede, iv.into())
        .encrypt_padded::<NoPadding>(data, length)
        .map(|_| ())
        .map_err(|_| CryptoError::Length)
}

/// CBC, in place. `data` is a multiple of 8.
pub fn tdes_cbc_decrypt(key: &TdesKey, iv: &[u8; 8], data: &mut [u8]) -> Result<(), CryptoError> {
    cbc::Decryptor::inner_iv_init(&key.0.ede, iv.into())
        .decrypt_padded::<NoPadding>(data)
        .map(|_| ())
        .map_err(|_| CryptoError::Length)
}

/// ISO 9797-1 algorithm 3, padding method 2, full 8 bytes: single-DES CBC under the left half from `iv`, the last
/// block decrypted with the right half and encrypted with the left.
pub fn retail_mac(key: &TdesKey, iv: &[u8; 8], message: &[u8]) -> [u8; 8] {
    let mut state = *iv;
    let mut absorb = |block: &[u8; 8]| {
        for (s, b) in state.iter_mut().zip(block) {
            *s ^= b;
        }
        key.0.left.encrypt_block((&mut state).into());
    };
    let (blocks, rest) = message.as_chunks::<8>();
    for block in blocks {
        absorb(block);
    }
    let mut last = [0u8; 8];
    for (to, from) in last.iter_mut().zip(rest.iter().chain(&[0x80])) {
        *to = *from;
    }
    absorb(&last);
    last.zeroize();
    key.0.right.decrypt_block((&mut state).into());
    key.0.left.encrypt_block((&mut state).into());
    state
}

/// Sets the lowest bit of every byte so that the byte has odd parity (FIPS 46-3).
pub fn set_odd_parity(key: &mut [u8]) {
    for byte in key {
        *byte = (*byte & 0xFE) | u8::from((*byte >> 1).count_ones().is_multiple_of(2));
    }
}

#[cfg(test)]
mod tests;
