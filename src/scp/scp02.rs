//! SCP02 with explicit initiation, three keys, C-MAC on the modified APDU and ICV encryption: "i" = 15 and 55
//! (GPCS 2.3.1 Annex E; standards.md 1.2, 1.4, 2.1). Levels 00, 01, 03.
//!
//! ```text
//! CardKeys --initialize_update--> Pending --verify--> Verified --authenticate--> Session --wrap--> APDUs
//!                                    |
//!                                    +--> WrongCryptogram: the end; the card gets no second INITIALIZE UPDATE
//! ```
//!
//! A state is a struct and a transition consumes it: no host cryptogram exists before the card's was right. For i = 55
//! the card challenge is pseudo-random; that it is what the AID gives (GPCS E.4.2.3) is not checked, because the card
//! cryptogram proves the card already. R-MAC is not supported.

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use super::derive::CardKeys;
use crate::crypto::{CryptoError, TdesKey, retail_mac, tdes_cbc_encrypt};
use crate::ids::{KeyData, SecLevel};

/// Bytes of an INITIALIZE UPDATE response without status word (GPCS Table E-8).
pub const RESPONSE_LENGTH: usize = 28;
/// Most bytes of a command's data field in a short APDU.
const SHORT_DATA: usize = 255;
/// Bytes of a C-MAC.
const MAC: usize = 8;

/// An INITIALIZE UPDATE response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitializeUpdate {
    /// Bytes 0-9: KMC_ID (6), CSN (4).
    pub key_data: KeyData,
    /// Byte 10: version of the KMC.
    pub key_version: u8,
    /// Bytes 12-13.
    sequence: [u8; 2],
    /// Bytes 14-19.
    challenge: [u8; 6],
    /// Bytes 20-27.
    cryptogram: [u8; 8],
}

/// Why an INITIALIZE UPDATE response does not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// Not 28 bytes.
    #[error("{0} bytes instead of 28")]
    Length(usize),
    /// Byte 11 is not 02.
    #[error("secure channel protocol {0:02X} instead of 02")]
    Protocol(u8),
}

impl InitializeUpdate {
    /// Reads the 28 bytes.
    pub fn parse(response: &[u8]) -> Result<Self, ResponseError> {
        let bytes: [u8; RESPONSE_LENGTH] =
            response.try_into().map_err(|_| ResponseError::Length(response.len()))?;
        #[rustfmt::skip]
        let [k0, k1, k2, k3, k4, k5, k6, k7, k8, k9, key_version, protocol, s0, s1,
             c0, c1, c2, c3, c4, c5, m0, m1, m2, m3, m4, m5, m6, m7] = bytes;
        if protocol != 0x02 {
            return Err(ResponseError::Protocol(protocol));
        }
        Ok(Self {
            key_data: KeyData([k0, k1, k2, k3, k4, k5, k6, k7, k8, k9]),
            key_version,
            sequence: [s0, s1],
            challenge: [c0, c1, c2, c3, c4, c5],
            cryptogram: [m0, m1, m2, m3, m4, m5, m6, m7],
        })
    }
}

/// Session keys (GPCS E.4.1): SKU_ENC, SKU_MAC, SKU_DEK.
struct SessionKeys {
    enc: TdesKey,
    mac: TdesKey,
    dek: TdesKey,
}

/// CBC under a static key, zero IV, of constant (2) | sequence (2) | 00 × 12.
fn session_key(key: &TdesKey, constant: [u8; 2], sequence: [u8; 2]) -> TdesKey {
    let [c0, c1] = constant;
    let [s0, s1] = sequence;
    let mut data = [c0, c1, s0, s1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    // Two whole blocks always encrypt.
    let _ = tdes_cbc_encrypt(key, &[0; 8], &mut data);
    TdesKey::wiping(&mut data)
}

/// Last block of CBC under SKU_ENC, zero IV, of `first` (8) | `second` (8) | 80 00 × 7.
fn cryptogram(enc: &TdesKey, first: [u8; 8], second: [u8; 8]) -> [u8; 8] {
    let mut block = [0u8; 8];
    for part in [first, second, [0x80, 0, 0, 0, 0, 0, 0, 0]] {
        for (b, p) in block.iter_mut().zip(part) {
            *b ^= p;
        }
        // One whole block always encrypts.
        let _ = enc.ecb_encrypt(&mut block);
    }
    block
}

/// The card has answered; whether it is genuine is not known yet.
pub struct Pending {
    keys: SessionKeys,
    card: [u8; 8],
    host: [u8; 8],
    received: [u8; 8],
}

/// The card's cryptogram is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the card cryptogram is wrong")]
pub struct WrongCryptogram;

impl CardKeys {
    /// Session keys and both cryptograms for a response to INITIALIZE UPDATE with `host_challenge` (RTERM).
    pub fn initialize_update(&self, response: &InitializeUpdate, host_challenge: [u8; 8]) -> Pending {
        let sequence = response.sequence;
        let keys = SessionKeys {
            enc: session_key(&self.enc, [0x01, 0x82], sequence),
            mac: session_key(&self.mac, [0x01, 0x01], sequence),
            dek: session_key(&self.dek, [0x01, 0x81], sequence),
        };
        let [s0, s1] = sequence;
        let [c0, c1, c2, c3, c4, c5] = response.challenge;
        let card_side = [s0, s1, c0, c1, c2, c3, c4, c5];
        Pending {
            card: cryptogram(&keys.enc, host_challenge, card_side),
            host: cryptogram(&keys.enc, card_side, host_challenge),
            keys,
            received: response.cryptogram,
        }
    }
}

impl Pending {
    /// Compares the card's cryptogram in constant time.
    pub fn verify(self) -> Result<Verified, WrongCryptogram> {
        if bool::from(self.card.ct_eq(&self.received)) {
            Ok(Verified { keys: self.keys, host: self.host })
        } else {
            Err(WrongCryptogram)
        }
    }
}

/// Proof that the card knows its keys.
pub struct Verified {
    keys: SessionKeys,
    host: [u8; 8],
}

impl Verified {
    /// EXTERNAL AUTHENTICATE for `level`, and the session that follows it. Its C-MAC starts from a zero ICV and is
    /// there whatever the level.
    pub fn authenticate(self, level: SecLevel) -> (Session, Vec<u8>) {
        let [h0, h1, h2, h3, h4, h5, h6, h7] = self.host;
        let mut apdu = vec![0x84, 0x82, level.byte(), 0x00, 0x10, h0, h1, h2, h3, h4, h5, h6, h7];
        let mac = retail_mac(&self.keys.mac, &[0; 8], &apdu);
        apdu.extend_from_slice(&mac);
        (Session { keys: self.keys, level, last_mac: mac }, apdu)
    }
}

/// A command that does not fit a short APDU once wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} bytes of data are too many for a short APDU at this security level")]
pub struct TooLong(pub usize);

/// Header of a command: INS, P1, P2. CLA is the session's.
pub type Header = [u8; 3];

/// An authenticated channel. Its C-MACs are chained, so commands go to the card in the order of wrapping.
pub struct Session {
    keys: SessionKeys,
    level: SecLevel,
    last_mac: [u8; 8],
}

impl Session {
    /// The command APDU, without Le: CLA 80 and plain at level 00; CLA 84 with C-MAC at 01; encrypted too at 03.
    pub fn wrap(&mut self, [ins, p1, p2]: Header, data: &[u8]) -> Result<Vec<u8>, TooLong> {
        if data.len() > room(self.level) {
            return Err(TooLong(data.len()));
        }
        let body = self.body_length(data.len());
        let lc = u8::try_from(body).map_err(|_| TooLong(data.len()))?;
        if self.level == SecLevel::Authenticated {
            return Ok([&[0x80, ins, p1, p2, lc], data].concat());
        }
        // The C-MAC is over the plain data with the Lc of data and C-MAC, also at level 03 (GPCS E.4.4, E.4.6).
        let plain_lc = u8::try_from(data.len() + MAC).map_err(|_| TooLong(data.len()))?;
        let mut maced = Zeroizing::new(Vec::with_capacity(5 + data.len()));
        maced.extend_from_slice(&[0x84, ins, p1, p2, plain_lc]);
        maced.extend_from_slice(data);
        let mut icv = self.last_mac;
        self.keys.mac.encrypt_left(&mut icv);
        let mac = retail_mac(&self.keys.mac, &icv, &maced);
        self.last_mac = mac;

        let mut apdu = Vec::with_capacity(5 + body);
        apdu.extend_from_slice(&[0x84, ins, p1, p2, lc]);
        apdu.extend_from_slice(data);
        if self.level == SecLevel::MacEnc && !data.is_empty() {
            apdu.push(0x80);
            apdu.resize(5 + body - MAC, 0);
            if let Some(encrypted) = apdu.get_mut(5..) {
                // Padded to whole blocks just before.
                let _ = tdes_cbc_encrypt(&self.keys.enc, &[0; 8], encrypted);
            }
        }
        apdu.extend_from_slice(&mac);
        Ok(apdu)
    }

    /// Bytes of the wrapped data field.
    fn body_length(&self, data: usize) -> usize {
        match self.level {
            SecLevel::Authenticated => data,
            SecLevel::MacEnc if data > 0 => (data / 8 + 1) * 8 + MAC,
            SecLevel::Mac | SecLevel::MacEnc => data + MAC,
        }
    }

    /// Secret data for the card: 3DES-ECB under SKU_DEK, in place; a multiple of 8 (GPCS E.4.7).
    pub fn encrypt_secret(&self, data: &mut [u8]) -> Result<(), CryptoError> {
        self.keys.dek.ecb_encrypt(data)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.last_mac.zeroize();
    }
}

/// Most plain data bytes of one command at a level: 255, 247, 239.
pub fn room(level: SecLevel) -> usize {
    match level {
        SecLevel::Authenticated => SHORT_DATA,
        SecLevel::Mac => SHORT_DATA - MAC,
        // 240 padded bytes and the C-MAC are 248; one block more would be 256.
        SecLevel::MacEnc => 239,
    }
}

#[cfg(test)]
mod tests;
