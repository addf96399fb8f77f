//! Opens a key block: derives its two keys from the KBPK, decrypts, checks the MAC, and only then looks at what it says.
//!
//! The MAC is over the clear key, so nothing can be checked before the decryption.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{BlockVersion, KeyBlock, KeyBlockFault, OpenedBlock, StatedKcv};
use crate::crypto::{CipherKey, CryptoError, KeyType};

/// What a derived key does, as the derivation names it.
#[derive(Clone, Copy)]
pub(super) enum Derived {
    Encryption = 0,
    Mac = 1,
}

impl KeyBlock {
    /// Its version: B is under TDES, D under AES.
    pub fn version(&self) -> BlockVersion {
        self.header.version
    }

    /// The check value of the key that it is under, if it states one. Not proved by anything: for people who look for
    /// that key.
    pub fn kbpk_kcv(&self) -> Option<&StatedKcv> {
        self.header.options.kcv_of_kbpk.as_ref()
    }

    /// The key inside, and what is said of it.
    pub fn open(self, kbpk: &CipherKey) -> Result<OpenedBlock, KeyBlockFault> {
        match (self.header.version, kbpk) {
            (BlockVersion::B, CipherKey::Tdes(_)) => {}
            (BlockVersion::B, _) => return Err(KeyBlockFault::WrongKbpkType(BlockVersion::B, "TDES")),
            (BlockVersion::D, CipherKey::Tdes(_)) => {
                return Err(KeyBlockFault::WrongKbpkType(BlockVersion::D, "AES"));
            }
            (BlockVersion::D, _) => {}
        }
        let clear = self.clear(kbpk)?;
        let (key, key_type) = key_of(&clear, self.header.algorithm)?;
        let options = &self.header.options;
        if options.kcv_of_key.as_ref().is_some_and(|kcv| !kcv.fits(&key)) {
            return Err(KeyBlockFault::KcvOfKey);
        }
        if options.kcv_of_kbpk.as_ref().is_some_and(|kcv| !kcv.fits(kbpk)) {
            return Err(KeyBlockFault::KcvOfKbpk);
        }
        Ok(OpenedBlock { header: self.header, key, key_type })
    }

    /// The decrypted part, if the MAC over it and the header is right.
    fn clear(&self, kbpk: &CipherKey) -> Result<Zeroizing<Vec<u8>>, KeyBlockFault> {
        // The lengths are right by the form, so the cipher refuses nothing.
        let wrong = |_: CryptoError| KeyBlockFault::Mac;
        let mut clear = Zeroizing::new(self.payload.clone());
        derived(kbpk, Derived::Encryption).map_err(wrong)?.cbc_decrypt(&mut clear).map_err(wrong)?;
        // The IV is the MAC.
        for (byte, mac) in clear.iter_mut().zip(&self.mac) {
            *byte ^= mac;
        }
        let mut message = Zeroizing::new(Vec::with_capacity(self.header_text.len() + clear.len()));
        message.extend_from_slice(self.header_text.as_bytes());
        message.extend_from_slice(&clear);
        let mac = derived(kbpk, Derived::Mac).map_err(wrong)?.cmac(&message);
        if bool::from(mac.ct_eq(&self.mac)) { Ok(clear) } else { Err(KeyBlockFault::Mac) }
    }
}

/// A key derived from the KBPK: CMAC over
///
/// ```text
/// counter u8 | what for u16: 0000 encryption, 0001 MAC | 00
/// | algorithm u16: 0000 TDES of two keys, 0002 AES-128, 0003 AES-192, 0004 AES-256 | bits u16
/// ```
///
/// with counters 1 and 2, joined and cut to the length of the KBPK.
pub(super) fn derived(kbpk: &CipherKey, what: Derived) -> Result<CipherKey, CryptoError> {
    let (algorithm, bits) = match kbpk {
        CipherKey::Tdes(_) => (0, 0x0080_u16),
        CipherKey::Aes128(_) => (2, 0x0080),
        CipherKey::Aes192(_) => (3, 0x00C0),
        CipherKey::Aes256(_) => (4, 0x0100),
    };
    let [bits_high, bits_low] = bits.to_be_bytes();
    let mut bytes = Zeroizing::new(Vec::with_capacity(32));
    for counter in [1, 2] {
        let part = kbpk.cmac(&[counter, 0, what as u8, 0, 0, algorithm, bits_high, bits_low]);
        bytes.extend_from_slice(&Zeroizing::new(part));
    }
    bytes.truncate(usize::from(bits / 8));
    match kbpk {
        CipherKey::Tdes(_) => CipherKey::tdes(&bytes),
        CipherKey::Aes128(_) | CipherKey::Aes192(_) | CipherKey::Aes256(_) => CipherKey::aes(&bytes),
    }
}

/// The key of a decrypted part: `bits u16 | key | padding`. The padding hides the key's length and holds anything.
fn key_of(clear: &[u8], algorithm: char) -> Result<(CipherKey, KeyType), KeyBlockFault> {
    let (bits, rest) = clear.split_first_chunk().ok_or(KeyBlockFault::KeyLength)?;
    let key_type = match (algorithm, u16::from_be_bytes(*bits)) {
        ('T', 0x0080) => KeyType::Tdes2,
        ('T', 0x00C0) => return Err(KeyBlockFault::ThreeKey),
        ('T', 0x0040) => return Err(KeyBlockFault::SingleDes),
        ('A', 0x0080) => KeyType::Aes128,
        ('A', 0x00C0) => KeyType::Aes192,
        ('A', 0x0100) => KeyType::Aes256,
        ('T' | 'A', _) => return Err(KeyBlockFault::KeyLength),
        (other, _) => return Err(KeyBlockFault::Algorithm(other)),
    };
    let bytes = rest.get(..key_type.length()).ok_or(KeyBlockFault::KeyLength)?;
    let key = match key_type {
        KeyType::Tdes2 => CipherKey::tdes(bytes),
        KeyType::Aes128 | KeyType::Aes192 | KeyType::Aes256 => CipherKey::aes(bytes),
    };
    key.map(|key| (key, key_type)).map_err(|_| KeyBlockFault::KeyLength)
}
