//! Derives the symmetric keys of a card from the issuer's master keys (WO 99/19846 FIG 3, steps 402-406).
//!
//! The methods are options A, B and C of EMV Book 2 Annex A1.4. IMK-AC, IMK-SMI and IMK-SMC give the keys for application
//! cryptograms, secure messaging MACs and secure messaging encipherment. The patent leaves the derivation of KDL and KDU
//! open; here they come from KML and KMU by option A, over the purse's identifier in place of the PAN. Not here: which
//! card gets which keys (`prep`).

use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};
use zeroize::Zeroizing;

use super::digits::{bcd, decimalize};
use crate::crypto::{CipherKey, CryptoError, set_odd_parity};

/// How PAN and PAN sequence number become the block that is encrypted under a TDES master key. Under an AES master key it
/// is always option C, which has no variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CardKeyMethod {
    /// Option A: the rightmost 16 digits, for a PAN of any length.
    A,
    /// Option B: as option A for a PAN of up to 16 digits; for a longer one 16 digits of a SHA-1 hash.
    B,
}

/// Derives the key of the card with this PAN (digits) and PAN sequence number (2 digits), or of the purse with
/// this identifier: of the master key's cipher and length. A TDES key has odd parity.
pub fn card_key(
    master: &CipherKey,
    method: CardKeyMethod,
    pan: &str,
    psn: &str,
) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    let (block, length) = match master {
        CipherKey::Tdes(_) => (derivation_block(method, pan, psn), 16),
        CipherKey::Aes128(_) => (option_c_block(pan, psn)?, 16),
        CipherKey::Aes192(_) => (option_c_block(pan, psn)?, 24),
        CipherKey::Aes256(_) => (option_c_block(pan, psn)?, 32),
    };
    // First the block, then its complement; a key is at most two blocks long.
    let mut key = Zeroizing::new(Vec::with_capacity(2 * block.len()));
    key.extend_from_slice(&block);
    key.extend(block.iter().map(|byte| !byte));
    master.ecb_encrypt(&mut key)?;
    key.truncate(length);
    if matches!(master, CipherKey::Tdes(_)) {
        set_odd_parity(&mut key);
    }
    Ok(key)
}

/// Returns Y of option C: PAN and PAN sequence number, padded with zeros on the left to 32 digits.
fn option_c_block(pan: &str, psn: &str) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    let digits = Zeroizing::new(format!("{:0>32}", Zeroizing::new([pan, psn].concat()).as_str()));
    let block = bcd(&digits);
    if block.len() == 16 { Ok(block) } else { Err(CryptoError::Length) }
}

/// Returns Y: 16 digits as 8 bytes of BCD.
fn derivation_block(method: CardKeyMethod, pan: &str, psn: &str) -> Zeroizing<Vec<u8>> {
    let x = Zeroizing::new([pan, psn].concat());
    let digits = if method == CardKeyMethod::B && pan.len() > 16 {
        decimalize(&Sha1::digest(&*bcd(&x)), 16)
    } else {
        let from = x.len().saturating_sub(16);
        Zeroizing::new(format!("{:0>16}", x.get(from..).unwrap_or_default()))
    };
    bcd(&digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMK: &str = "0123456789ABCDEFFEDCBA9876543210";

    fn tdes(key: &str) -> CipherKey {
        CipherKey::tdes(&hex::decode(key).unwrap()).unwrap()
    }

    fn derive(method: CardKeyMethod, pan: &str, psn: &str) -> String {
        hex::encode_upper(card_key(&tdes(IMK), method, pan, psn).unwrap())
    }

    /// Option C of the key and account number of pyemv's vectors, from the project's facts (computed there by AES in
    /// Python). AES-192 and AES-256 go on with the complement of the block.
    #[test]
    fn option_c() {
        let derive = |key: &str| {
            let master = CipherKey::aes(&hex::decode(key).unwrap()).unwrap();
            hex::encode_upper(card_key(&master, CardKeyMethod::A, "4761739001010119", "01").unwrap())
        };
        assert_eq!(derive(IMK), "D42CC0675B078674839EF90EAA7809EA");
        assert_eq!(derive(&[IMK, IMK].concat()).len(), 64);
        assert_eq!(derive(&[IMK, &IMK[..16]].concat()).len(), 48);
    }

    // Vectors of pyemv 1.5.0, recomputed independently.

    #[test]
    fn option_a_pyemv_17_digits() {
        assert_eq!(derive(CardKeyMethod::A, "12345678901234567", "01"), "73AD54688CEF2934B0979857E3C719F1");
    }

    #[test]
    fn option_b_pyemv_17_digits() {
        let y = derivation_block(CardKeyMethod::B, "12345678901234567", "01");
        assert_eq!(hex::encode(&*y), "4201892658095334");
        assert_eq!(derive(CardKeyMethod::B, "12345678901234567", "01"), "AD406D7F6D7570916D75E5DCAB8CF737");
    }

    #[test]
    fn both_options_pyemv_16_digits() {
        for option in [CardKeyMethod::A, CardKeyMethod::B] {
            assert_eq!(derive(option, "4761739001010119", "01"), "80A89B585BBF64C2F12915BF578FABE0");
        }
    }

    /// Keys of a purse from a file that another issuer's program made (RSA and derivation by pycryptodome).
    #[test]
    fn option_a_over_the_identifier_of_a_purse() {
        for (master, key) in [
            ("8CCE37B9291337A10DD601020808D629", "DFC14C97ADCEF19276541C794AC823E6"),
            ("D501E9A216980B5B10D557C7078FF275", "49D03DE6BA40C17397CEF80BB6C7576B"),
        ] {
            let derived = card_key(&tdes(master), CardKeyMethod::A, "4761730610737037", "00").unwrap();
            assert_eq!(hex::encode_upper(derived), key);
        }
    }

    #[test]
    fn check_values_of_derived_keys() {
        // KCVs of the keys above, computed independently.
        for (pan, kcv) in [("12345678901234567", "C64DC2"), ("4761739001010119", "DEEE3D")] {
            let key = hex::decode(derive(CardKeyMethod::A, pan, "01")).unwrap();
            assert_eq!(CipherKey::tdes(&key).unwrap().kcv().to_string(), kcv);
        }
    }

    #[test]
    fn key_check_values_of_pbocjs_dgi_9000() {
        // The pair DGI 8000 and DGI 9000 of the PBOC script of OpenSCDP.
        let keys = [
            "11223344006677881122334455007788",
            "8B4F854F0831FBF2635A212E4DDDB92A",
            "11220044556677881122330055667788",
        ];
        let kcvs = keys.map(|k| CipherKey::tdes(&hex::decode(k).unwrap()).unwrap().kcv().to_string());
        assert_eq!(kcvs.concat(), "97DCB0CE4E2CB37DF3");
    }

    #[test]
    fn a_short_pan_is_padded_with_zeros_on_the_left() {
        let y = derivation_block(CardKeyMethod::A, "476173901012", "00");
        assert_eq!(hex::encode(&*y), "0047617390101200");
    }

    #[test]
    fn psn_changes_the_key() {
        assert_ne!(
            derive(CardKeyMethod::A, "4761739001010119", "00"),
            derive(CardKeyMethod::A, "4761739001010119", "01")
        );
    }
}
