//! The keys that protect a CWF1 file: TK for each application and purpose, and the wrapped MACkey.
//!
//! `src/manual/cwf1.md` specifies them. The KEK itself encrypts no data: every TK is ECB under the KEK of a hash that names
//! file, card, application and purpose, so that no value means anything elsewhere.

mod kind;

use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use super::des::set_odd_parity;
use super::symmetric::{CipherKey, CryptoError};
use crate::wiped::WipedBytes;

pub use kind::FileKind;

/// The cipher family of a KEK and all under it: TYPEtk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suite {
    /// TYPEtk 40: two-key TDES.
    Tdes,
    /// TYPEtk 41.
    Aes128,
    /// TYPEtk 42, the default.
    Aes256,
}

impl Suite {
    /// From TYPEtk.
    pub fn from_tk_type(byte: u8) -> Option<Self> {
        match byte {
            0x40 => Some(Self::Tdes),
            0x41 => Some(Self::Aes128),
            0x42 => Some(Self::Aes256),
            _ => None,
        }
    }

    /// TYPEtk.
    pub fn tk_type(self) -> u8 {
        match self {
            Self::Tdes => 0x40,
            Self::Aes128 => 0x41,
            Self::Aes256 => 0x42,
        }
    }

    /// Bytes of a KEK or TK: 16 (TDES, AES-128) or 32.
    pub fn key_length(self) -> usize {
        match self {
            Self::Tdes | Self::Aes128 => 16,
            Self::Aes256 => 32,
        }
    }

    /// Bytes of a block: 8 or 16.
    pub fn block(self) -> usize {
        match self {
            Self::Tdes => 8,
            Self::Aes128 | Self::Aes256 => 16,
        }
    }

    /// Bytes of a MAC: 8 or 16.
    pub fn mac_length(self) -> usize {
        self.block()
    }

    /// Bytes of a wrapped MACkey: 24 or 32.
    pub fn wrapped_length(self) -> usize {
        match self {
            Self::Tdes => 24,
            Self::Aes128 | Self::Aes256 => 32,
        }
    }

    /// A key of this suite from its bytes.
    pub fn key(self, bytes: &[u8]) -> Result<CipherKey, CryptoError> {
        if bytes.len() != self.key_length() {
            return Err(CryptoError::KeyLength);
        }
        match self {
            Self::Tdes => CipherKey::tdes(bytes),
            Self::Aes128 | Self::Aes256 => CipherKey::aes(bytes),
        }
    }
}

/// The purpose of a TK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// "D": TKd encrypts the DGIs.
    Data,
    /// "M": TKm wraps an application's MACkey.
    MacKey,
    /// "X": TKx blinds an application's MACkey.
    Blind,
    /// "T": wraps the Trailer's MAC key.
    TrailerKey,
    /// "U": blinds the Trailer's MAC key.
    TrailerBlind,
}

/// A KEK, wherever it lies: it encrypts the names of values.
pub trait NameCipher {
    /// Why it did not.
    type Fault: From<CryptoError>;

    /// Encrypts whole blocks by ECB, in place.
    fn encrypt_name(&self, name: &mut [u8]) -> Result<(), Self::Fault>;
}

impl NameCipher for CipherKey {
    type Fault = CryptoError;

    fn encrypt_name(&self, name: &mut [u8]) -> Result<(), CryptoError> {
        self.ecb_encrypt(name)
    }
}

/// The owner of a TK: an application of a card of a file, or the file itself.
#[derive(Debug, Clone, Copy)]
pub struct ApplicationScope<'a> {
    /// The kind of the file.
    pub kind: FileKind,
    /// From the Header.
    pub issuer_id: &'a str,
    /// From the Header.
    pub file_id: &'a str,
    /// The record's; 0 for the Trailer.
    pub sequence: u32,
    /// The record's; empty for the Trailer.
    pub card_ref: &'a str,
    /// The application's; empty for the Trailer.
    pub aid: &'a [u8],
}

impl<'a> ApplicationScope<'a> {
    /// The scope of a Trailer's keys.
    pub fn trailer(kind: FileKind, issuer_id: &'a str, file_id: &'a str) -> Self {
        Self { kind, issuer_id, file_id, sequence: 0, card_ref: "", aid: &[] }
    }

    /// TK = leading bytes of ECB under the KEK of SHA-256("CWF1" | purpose | L1 issuer_id | L1 file_id | sequence |
    /// L1 card_ref | L1 AID); TDES: odd parity set. In an unfinished file "CWFU" stands for "CWF1".
    pub fn derive<K: NameCipher>(
        &self,
        kek: &K,
        suite: Suite,
        purpose: Purpose,
    ) -> Result<CipherKey, K::Fault> {
        Ok(suite.key(&self.derive_bytes(kek, suite, purpose)?)?)
    }

    /// The name of the TK: what the KEK encrypts to make it.
    pub fn name(&self, purpose: Purpose) -> Result<[u8; 32], CryptoError> {
        let mut hash = Sha256::new();
        hash.update(self.kind.magic());
        hash.update(match purpose {
            Purpose::Data => b"D",
            Purpose::MacKey => b"M",
            Purpose::Blind => b"X",
            Purpose::TrailerKey => b"T",
            Purpose::TrailerBlind => b"U",
        });
        field(&mut hash, self.issuer_id.as_bytes())?;
        field(&mut hash, self.file_id.as_bytes())?;
        hash.update(self.sequence.to_be_bytes());
        field(&mut hash, self.card_ref.as_bytes())?;
        field(&mut hash, self.aid)?;
        Ok(hash.finalize().into())
    }

    fn derive_bytes<K: NameCipher>(
        &self,
        kek: &K,
        suite: Suite,
        purpose: Purpose,
    ) -> Result<Zeroizing<Vec<u8>>, K::Fault> {
        let mut bytes = Zeroizing::new(self.name(purpose)?.to_vec());
        kek.encrypt_name(&mut bytes)?;
        bytes.truncate(suite.key_length());
        if suite == Suite::Tdes {
            set_odd_parity(&mut bytes);
        }
        Ok(bytes)
    }

    /// MACkey xor the first 16 bytes of the blinding TK (TDES: odd parity set again): the key that MACs.
    pub fn blinded<K: NameCipher>(
        &self,
        kek: &K,
        suite: Suite,
        purpose: Purpose,
        mac_key: &[u8; 16],
    ) -> Result<CipherKey, K::Fault> {
        let blind = self.derive_bytes(kek, suite, purpose)?;
        let mut key = Zeroizing::new(*mac_key);
        for (k, b) in key.iter_mut().zip(blind.iter()) {
            *k ^= b;
        }
        match suite {
            Suite::Tdes => {
                set_odd_parity(&mut *key);
                Ok(CipherKey::tdes(&*key)?)
            }
            Suite::Aes128 | Suite::Aes256 => Ok(CipherKey::aes(&*key)?),
        }
    }
}

/// Most bytes of "CWF1A", three names with their length bytes and the sequence: the input is built without moving.
const MAX_NAMES: usize = 5 + 3 * 256 + 4;

/// The input of an application's MAC: "CWF1A" ("CWFUA" in an unfinished file) | L1 issuer_id | L1 file_id | sequence u32 | L1 card_ref | `others`
/// (SHA-256 of every `L1 MIC | L4 data` of the record but CHP) | `maced` (from the length byte of `L1 AID` to the
/// last byte of the wrapped MACkey). The scope's AID is not used: it stands in `maced`.
pub fn application_mac_input(
    scope: &ApplicationScope<'_>,
    others: &[u8; 32],
    maced: &[u8],
) -> Result<WipedBytes, CryptoError> {
    let mut input = WipedBytes::with_capacity(MAX_NAMES + others.len() + maced.len());
    input.extend_from_slice(scope.kind.magic());
    input.push(b'A');
    for (text, after) in
        [(scope.issuer_id, None), (scope.file_id, Some(scope.sequence)), (scope.card_ref, None)]
    {
        input.push(u8::try_from(text.len()).map_err(|_| CryptoError::Length)?);
        input.extend_from_slice(text.as_bytes());
        if let Some(sequence) = after {
            input.extend_from_slice(&sequence.to_be_bytes());
        }
    }
    input.extend_from_slice(others);
    input.extend_from_slice(maced);
    Ok(input)
}

/// The input of the Trailer's MAC: "CWF1T" ("CWFUT" in an unfinished file) | Trailer body up to and including the wrapped MAC
/// key.
pub fn trailer_mac_input(kind: FileKind, body: &[u8]) -> Vec<u8> {
    [kind.magic().as_slice(), b"T", body].concat()
}

/// `L1 x` into the hash.
fn field(hash: &mut Sha256, bytes: &[u8]) -> Result<(), CryptoError> {
    hash.update([u8::try_from(bytes.len()).map_err(|_| CryptoError::Length)?]);
    hash.update(bytes);
    Ok(())
}

/// MACkey | 80 00.. to 24 (TDES) or 32 (AES) bytes, CBC with zero IV under TKm.
pub fn wrap_mac_key(tk: &CipherKey, suite: Suite, mac_key: &[u8; 16]) -> Result<Vec<u8>, CryptoError> {
    let mut block = Zeroizing::new(Vec::with_capacity(suite.wrapped_length()));
    block.extend_from_slice(mac_key);
    block.push(0x80);
    block.resize(suite.wrapped_length(), 0);
    tk.cbc_encrypt(&mut block)?;
    Ok(std::mem::take(&mut *block))
}

/// Opens a wrapped MACkey. `None`, without saying why, when its length, any byte after the key, or for TDES parity,
/// equal halves or weakness is wrong; all are looked at whatever the first shows.
pub fn unwrap_mac_key(tk: &CipherKey, suite: Suite, wrapped: &[u8]) -> Option<Zeroizing<[u8; 16]>> {
    if wrapped.len() != suite.wrapped_length() {
        return None;
    }
    let mut block = Zeroizing::new(wrapped.to_vec());
    tk.cbc_decrypt(&mut block).ok()?;
    let (key, rest) = block.split_first_chunk::<16>()?;
    let mut difference = 0u8;
    for (place, byte) in rest.iter().enumerate() {
        difference |= byte ^ if place == 0 { 0x80 } else { 0 };
    }
    let key = Zeroizing::new(*key);
    let sound = mac_key_is_sound(suite, &key);
    (sound & (difference == 0)).then_some(key)
}

/// Whether 16 bytes can be a MACkey. TDES: odd parity, halves that differ, neither half a weak or semi-weak key.
pub fn mac_key_is_sound(suite: Suite, key: &[u8; 16]) -> bool {
    if suite != Suite::Tdes {
        return true;
    }
    let mut fixed = *key;
    set_odd_parity(&mut fixed);
    let mut difference = 0u8;
    for (a, b) in fixed.iter().zip(key) {
        difference |= a ^ b;
    }
    fixed.zeroize();
    // `weak_key_test` on the whole key refuses weak and semi-weak halves and equal halves.
    (difference == 0) & des::weak_key_test(key).is_ok()
}

#[cfg(test)]
mod tests;
