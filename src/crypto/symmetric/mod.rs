//! One key type for the two families of block ciphers of a CWF1 file, TDES (2-key) and AES, with the modes that the
//! file and the channel need. Keys lie in locked pages where the process has some. Key schedules and
//! buffers are zeroized when dropped.
//!
//! Padding 80 00..: ISO 9797-1 method 2.

use std::fmt;

use aes::{Aes128, Aes192, Aes256};
use cbc::cipher::{
    BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, KeyInit, KeyIvInit,
    block_padding::NoPadding,
};
use cmac::{Cmac, Mac};
use des::TdesEde2;
use serde::Serialize;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::des::{TdesKey, retail_mac, tdes_cbc_decrypt, tdes_cbc_encrypt};
use crate::hardening::LockedBox;
use crate::ids::Kcv;

/// Why a primitive could not work. Never says anything about the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    /// The data is not a whole number of blocks.
    #[error("not a multiple of the block")]
    Length,
    /// The key has the wrong number of bytes for its type.
    #[error("wrong key length")]
    KeyLength,
    /// The padding is not 80 00...
    #[error("wrong padding")]
    Padding,
}

/// How a check value comes from its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum KcvMethod {
    /// A block of zeros encrypted by TDES.
    #[serde(rename = "DES")]
    Des,
    /// A block of bytes 01 encrypted by AES (GPCS B.6).
    #[serde(rename = "AES-GP")]
    AesGp,
    /// AES-CMAC over a block of zeros (ANSI X9.24-1).
    #[serde(rename = "AES-CMAC")]
    AesCmac,
}

impl fmt::Display for KcvMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Des => "DES",
            Self::AesGp => "AES-GP",
            Self::AesCmac => "AES-CMAC",
        })
    }
}

/// A secret key with its cipher. Shows nothing of itself.
#[derive(Zeroize, ZeroizeOnDrop)]
pub enum CipherKey {
    /// TDES, two keys (16 bytes).
    Tdes(TdesKey),
    /// AES with 16 bytes.
    Aes128(LockedBox<[u8; 16]>),
    /// AES with 24 bytes. No TK has this type; issuers' keys may.
    Aes192(LockedBox<[u8; 24]>),
    /// AES with 32 bytes.
    Aes256(LockedBox<[u8; 32]>),
}

impl CipherKey {
    /// A two-key TDES key of 16 bytes; parity is not looked at.
    pub fn tdes(bytes: &[u8]) -> Result<Self, CryptoError> {
        Ok(Self::Tdes(TdesKey::new(bytes.try_into().map_err(|_| CryptoError::KeyLength)?)))
    }

    /// An AES key of 16, 24 or 32 bytes.
    pub fn aes(bytes: &[u8]) -> Result<Self, CryptoError> {
        if let Ok(key) = <&[u8; 16]>::try_from(bytes) {
            return Ok(Self::Aes128(LockedBox::copy_of(key)));
        }
        if let Ok(key) = <&[u8; 24]>::try_from(bytes) {
            return Ok(Self::Aes192(LockedBox::copy_of(key)));
        }
        let key = bytes.try_into().map_err(|_| CryptoError::KeyLength)?;
        Ok(Self::Aes256(LockedBox::copy_of(key)))
    }

    /// Block of the cipher in bytes: 8 or 16.
    pub fn block(&self) -> usize {
        match self {
            Self::Tdes(_) => 8,
            Self::Aes128(_) | Self::Aes192(_) | Self::Aes256(_) => 16,
        }
    }

    /// CBC with zero IV, in place. `data` is a multiple of the block.
    pub fn cbc_encrypt(&self, data: &mut [u8]) -> Result<(), CryptoError> {
        whole(data, self.block())?;
        match self {
            Self::Tdes(key) => tdes_cbc_encrypt(key, &[0; 8], data),
            Self::Aes128(key) => {
                cbc_enc(cbc::Encryptor::<Aes128>::new((&**key).into(), &[0; 16].into()), data)
            }
            Self::Aes192(key) => {
                cbc_enc(cbc::Encryptor::<Aes192>::new((&**key).into(), &[0; 16].into()), data)
            }
            Self::Aes256(key) => {
                cbc_enc(cbc::Encryptor::<Aes256>::new((&**key).into(), &[0; 16].into()), data)
            }
        }
    }

    /// CBC with zero IV, in place. `data` is a multiple of the block.
    pub fn cbc_decrypt(&self, data: &mut [u8]) -> Result<(), CryptoError> {
        whole(data, self.block())?;
        match self {
            Self::Tdes(key) => tdes_cbc_decrypt(key, &[0; 8], data),
            Self::Aes128(key) => {
                cbc_dec(cbc::Decryptor::<Aes128>::new((&**key).into(), &[0; 16].into()), data)
            }
            Self::Aes192(key) => {
                cbc_dec(cbc::Decryptor::<Aes192>::new((&**key).into(), &[0; 16].into()), data)
            }
            Self::Aes256(key) => {
                cbc_dec(cbc::Decryptor::<Aes256>::new((&**key).into(), &[0; 16].into()), data)
            }
        }
    }

    /// ECB, in place. `data` is a multiple of the block.
    pub fn ecb_encrypt(&self, data: &mut [u8]) -> Result<(), CryptoError> {
        whole(data, self.block())?;
        match self {
            Self::Tdes(key) => key.ecb_encrypt(data),
            Self::Aes128(key) => ecb(&Aes128::new((&**key).into()), data),
            Self::Aes192(key) => ecb(&Aes192::new((&**key).into()), data),
            Self::Aes256(key) => ecb(&Aes256::new((&**key).into()), data),
        }
    }

    /// ECB, in place. `data` is a multiple of the block.
    pub fn ecb_decrypt(&self, data: &mut [u8]) -> Result<(), CryptoError> {
        whole(data, self.block())?;
        match self {
            Self::Tdes(key) => key.ecb_decrypt(data),
            Self::Aes128(key) => ecb_dec(&Aes128::new((&**key).into()), data),
            Self::Aes192(key) => ecb_dec(&Aes192::new((&**key).into()), data),
            Self::Aes256(key) => ecb_dec(&Aes256::new((&**key).into()), data),
        }
    }

    /// The MAC of CWF1 with this key: ISO 9797-1 algorithm 3 with padding 2, 8 bytes (TDES), or AES-CMAC, 16 bytes.
    pub fn mac(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Tdes(key) => retail_mac(key, &[0; 8], message).to_vec(),
            Self::Aes128(key) => cmac_of(<Cmac<Aes128> as KeyInit>::new((&**key).into()), message),
            Self::Aes192(key) => cmac_of(<Cmac<Aes192> as KeyInit>::new((&**key).into()), message),
            Self::Aes256(key) => cmac_of(<Cmac<Aes256> as KeyInit>::new((&**key).into()), message),
        }
    }

    /// CMAC (NIST SP 800-38B) with the cipher of the key: 8 bytes for TDES, 16 for AES.
    pub fn cmac(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Tdes(key) => cmac_of(<Cmac<TdesEde2> as KeyInit>::new(key.expose().into()), message),
            Self::Aes128(_) | Self::Aes192(_) | Self::Aes256(_) => self.mac(message),
        }
    }

    /// Key check value: first 3 bytes of E(8 × 00) for TDES, of E(16 × 01) for AES.
    pub fn kcv(&self) -> Kcv {
        match self {
            Self::Tdes(_) => self.kcv_of_block(0),
            Self::Aes128(_) | Self::Aes192(_) | Self::Aes256(_) => self.kcv_of_block(1),
        }
    }

    /// Its check values, each with its method: TDES has one, AES two, since partners state either.
    pub fn kcvs(&self) -> Vec<(KcvMethod, Kcv)> {
        match self {
            Self::Tdes(_) => vec![(KcvMethod::Des, self.kcv())],
            Self::Aes128(_) | Self::Aes192(_) | Self::Aes256(_) => {
                vec![(KcvMethod::AesGp, self.kcv()), (KcvMethod::AesCmac, self.kcv_by_cmac())]
            }
        }
    }

    /// The name of the method by which a check value comes from this key, if it is none of those of [`Self::kcvs`].
    pub fn other_method_of(&self, kcv: Kcv) -> Option<&'static str> {
        match self {
            Self::Tdes(_) if kcv == self.kcv_of_block(1) => Some("a block of 01 encrypted"),
            Self::Tdes(_) if kcv == self.kcv_by_cmac() => Some("CMAC over a block of zeros"),
            Self::Aes128(_) | Self::Aes192(_) | Self::Aes256(_) if kcv == self.kcv_of_block(0) => {
                Some("a block of zeros encrypted")
            }
            _ => None,
        }
    }

    /// The bytes of the key, to be sealed or wrapped.
    pub fn expose(&self) -> &[u8] {
        match self {
            Self::Tdes(key) => key.expose(),
            Self::Aes128(key) => &**key,
            Self::Aes192(key) => &**key,
            Self::Aes256(key) => &**key,
        }
    }

    /// CMAC over a block of zeros (ANSI X9.24-1).
    fn kcv_by_cmac(&self) -> Kcv {
        first_three(&self.cmac(&vec![0; self.block()]))
    }

    fn kcv_of_block(&self, byte: u8) -> Kcv {
        let mut block = vec![byte; self.block()];
        // A single whole block always encrypts.
        let _ = self.ecb_encrypt(&mut block);
        first_three(&block)
    }
}

fn first_three(block: &[u8]) -> Kcv {
    match block {
        [a, b, c, ..] => Kcv([*a, *b, *c]),
        _ => Kcv([0; 3]),
    }
}

fn whole(data: &[u8], block: usize) -> Result<(), CryptoError> {
    if data.len().is_multiple_of(block) { Ok(()) } else { Err(CryptoError::Length) }
}

fn cbc_enc<E: BlockModeEncrypt>(mode: E, data: &mut [u8]) -> Result<(), CryptoError> {
    let length = data.len();
    mode.encrypt_padded::<NoPadding>(data, length).map(|_| ()).map_err(|_| CryptoError::Length)
}

fn cbc_dec<D: BlockModeDecrypt>(mode: D, data: &mut [u8]) -> Result<(), CryptoError> {
    mode.decrypt_padded::<NoPadding>(data).map(|_| ()).map_err(|_| CryptoError::Length)
}

fn ecb<C: BlockCipherEncrypt>(cipher: &C, data: &mut [u8]) -> Result<(), CryptoError> {
    for chunk in data.chunks_exact_mut(C::block_size()) {
        let block = chunk.try_into().map_err(|_| CryptoError::Length)?;
        cipher.encrypt_block(block);
    }
    Ok(())
}

fn ecb_dec<C: BlockCipherDecrypt>(cipher: &C, data: &mut [u8]) -> Result<(), CryptoError> {
    for chunk in data.chunks_exact_mut(C::block_size()) {
        let block = chunk.try_into().map_err(|_| CryptoError::Length)?;
        cipher.decrypt_block(block);
    }
    Ok(())
}

fn cmac_of<M: Mac>(mut mac: M, message: &[u8]) -> Vec<u8> {
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

/// Appends 80 00.. up to a multiple of `block`: always at least one byte. Reserve `block` bytes before when `data` is
/// secret, so that it does not move and leave a copy behind.
pub fn pad_80(data: &mut Vec<u8>, block: usize) {
    data.push(0x80);
    while !data.len().is_multiple_of(block) {
        data.push(0);
    }
}

/// The length without 80 00.. at the end. The padding must begin within the last `block` bytes.
pub fn unpad_80(data: &[u8], block: usize) -> Result<usize, CryptoError> {
    let mut tail = Zeroizing::new(0u8);
    for (place, byte) in data.iter().enumerate().rev().take(block) {
        *tail = *byte;
        match *tail {
            0x00 => {}
            0x80 => return Ok(place),
            _ => return Err(CryptoError::Padding),
        }
    }
    Err(CryptoError::Padding)
}

#[cfg(test)]
mod tests;
