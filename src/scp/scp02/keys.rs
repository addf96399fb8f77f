//! Session keys of SCP02 (GPCS E.4.1), in memory or in a token, and what they give.

use crate::crypto::{CryptoError, TdesKey, retail_mac, tdes_cbc_encrypt};
use crate::scp::derive::{CardStaticKeys, StaticKeys};
use crate::scp::{ChannelOpenError, SecretFault, TokenKeyFault, TokenSessionKeys};

/// SKU_ENC, SKU_MAC, SKU_DEK.
pub(super) enum Scp02Keys {
    Memory { enc: TdesKey, mac: TdesKey, dek: TdesKey },
    Token(Box<dyn TokenSessionKeys>),
}

/// Constants of the keys, in their order.
const CONSTANTS: [[u8; 2]; 3] = [[0x01, 0x82], [0x01, 0x01], [0x01, 0x81]];

/// What a static key encrypts: constant (2) | sequence (2) | 00 × 12.
pub(super) fn derivation_data([c0, c1]: [u8; 2], [s0, s1]: [u8; 2]) -> [u8; 16] {
    [c0, c1, s0, s1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}

/// CBC under a static key, zero IV.
pub(super) fn session_key(key: &TdesKey, mut data: [u8; 16]) -> TdesKey {
    // Two whole blocks always encrypt.
    let _ = tdes_cbc_encrypt(key, &[0; 8], &mut data);
    TdesKey::wiping(&mut data)
}

impl Scp02Keys {
    /// The keys of a session with this sequence counter.
    pub(super) fn derive(keys: &CardStaticKeys, sequence: [u8; 2]) -> Result<Self, ChannelOpenError> {
        let data = CONSTANTS.map(|constant| derivation_data(constant, sequence));
        match keys.place() {
            StaticKeys::Memory { .. } => {
                let [enc, mac, dek] = keys.tdes().ok_or(ChannelOpenError::UnsuitableKey)?;
                let [for_enc, for_mac, for_dek] = data;
                Ok(Self::Memory {
                    enc: session_key(enc, for_enc),
                    mac: session_key(mac, for_mac),
                    dek: session_key(dek, for_dek),
                })
            }
            StaticKeys::Token(keys) => Ok(Self::Token(keys.tdes_session(&data)?)),
        }
    }

    /// Last block of CBC under SKU_ENC, zero IV, of `first` (8) | `second` (8) | 80 00 × 7.
    pub(super) fn cryptogram(&self, first: [u8; 8], second: [u8; 8]) -> Result<[u8; 8], TokenKeyFault> {
        let padding = [0x80, 0, 0, 0, 0, 0, 0, 0];
        match self {
            Self::Memory { enc, .. } => {
                let mut block = [0u8; 8];
                for part in [first, second, padding] {
                    for (b, p) in block.iter_mut().zip(part) {
                        *b ^= p;
                    }
                    // One whole block always encrypts.
                    let _ = enc.ecb_encrypt(&mut block);
                }
                Ok(block)
            }
            Self::Token(keys) => {
                let mut blocks = [first, second, padding];
                keys.encrypt(blocks.as_flattened_mut())?;
                let [_, _, last] = blocks;
                Ok(last)
            }
        }
    }

    /// The C-MAC of a command.
    pub(super) fn mac(&self, iv: &[u8; 8], message: &[u8]) -> Result<[u8; 8], TokenKeyFault> {
        match self {
            Self::Memory { mac, .. } => Ok(retail_mac(mac, iv, message)),
            Self::Token(keys) => keys.mac(iv, message),
        }
    }

    /// ICV encryption (GPCS E.3.4).
    pub(super) fn encrypt_icv(&self, icv: &mut [u8; 8]) -> Result<(), TokenKeyFault> {
        match self {
            Self::Memory { mac, .. } => {
                mac.encrypt_left(icv);
                Ok(())
            }
            Self::Token(keys) => keys.encrypt_left(icv),
        }
    }

    /// Encrypts whole blocks of a command's data.
    pub(super) fn encrypt(&self, data: &mut [u8]) -> Result<(), TokenKeyFault> {
        match self {
            Self::Memory { enc, .. } => {
                // The caller has padded it to whole blocks, which always encrypt.
                let _ = tdes_cbc_encrypt(enc, &[0; 8], data);
                Ok(())
            }
            Self::Token(keys) => keys.encrypt(data),
        }
    }

    /// 3DES-ECB under SKU_DEK; a multiple of 8 (GPCS E.4.7).
    pub(super) fn encrypt_secret(&self, data: &mut [u8]) -> Result<(), SecretFault> {
        match self {
            Self::Memory { dek, .. } => dek.ecb_encrypt(data).map_err(|_: CryptoError| SecretFault::Length),
            Self::Token(_) if !data.len().is_multiple_of(super::BLOCK) => Err(SecretFault::Length),
            Self::Token(keys) => Ok(keys.encrypt_secret(data)?),
        }
    }
}
