//! Derives the symmetric keys of a card from the issuer's master keys (WO 99/19846 FIG 3, steps 402-406).
//!
//! The methods are options A and B of EMV Book 2 Annex A1.4 with two-key TDES. IMK-AC, IMK-SMI and IMK-SMC
//! give the keys for application cryptograms, secure messaging MACs and secure messaging encipherment. The
//! patent leaves the derivation of KDL and KDU open; here they are derived by option A from KML and KMU, over
//! the purse's identifier in place of the PAN.
//! Option C (AES) is missing: no product needs it yet.

use serde::Deserialize;
use sha1::{Digest, Sha1};
use zeroize::Zeroizing;

use super::digits::{bcd, decimalize};
use crate::crypto::{CryptoError, TdesKey, set_odd_parity};

/// How PAN and PAN sequence number become the 16 digits that are encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Option14 {
    /// Option A: the rightmost 16 digits, for a PAN of any length.
    A,
    /// Option B: as option A for a PAN of up to 16 digits; for a longer one 16 digits of a SHA-1 hash.
    B,
}

/// Derives the key of the card with this PAN (digits) and PAN sequence number (2 digits), or of the purse with
/// this identifier. The key has odd parity.
pub fn card_key(master: &TdesKey, option: Option14, pan: &str, psn: &str) -> Result<TdesKey, CryptoError> {
    let y = derivation_block(option, pan, psn);
    let mut key = Zeroizing::new([0u8; 16]);
    for (place, byte) in key.iter_mut().enumerate() {
        // Left half Y, right half Y xor FF x 8.
        let digit = y.get(place % 8).ok_or(CryptoError::Length)?;
        *byte = if place < 8 { *digit } else { !*digit };
    }
    master.ecb_encrypt(&mut *key)?;
    set_odd_parity(&mut *key);
    Ok(TdesKey::new(*key))
}

/// Returns Y: 16 digits as 8 bytes of BCD.
fn derivation_block(option: Option14, pan: &str, psn: &str) -> Zeroizing<Vec<u8>> {
    let x = Zeroizing::new([pan, psn].concat());
    let digits = if option == Option14::B && pan.len() > 16 {
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
    use crate::crypto::CipherKey;

    const IMK: &str = "0123456789ABCDEFFEDCBA9876543210";

    fn derive(option: Option14, pan: &str, psn: &str) -> String {
        let master = TdesKey::new(hex::decode(IMK).unwrap().try_into().unwrap());
        hex::encode_upper(card_key(&master, option, pan, psn).unwrap().expose())
    }

    // Vectors of pyemv 1.5.0, recomputed independently.

    #[test]
    fn option_a_pyemv_17_digits() {
        assert_eq!(derive(Option14::A, "12345678901234567", "01"), "73AD54688CEF2934B0979857E3C719F1");
    }

    #[test]
    fn option_b_pyemv_17_digits() {
        let y = derivation_block(Option14::B, "12345678901234567", "01");
        assert_eq!(hex::encode(&*y), "4201892658095334");
        assert_eq!(derive(Option14::B, "12345678901234567", "01"), "AD406D7F6D7570916D75E5DCAB8CF737");
    }

    #[test]
    fn both_options_pyemv_16_digits() {
        for option in [Option14::A, Option14::B] {
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
            let master = TdesKey::new(hex::decode(master).unwrap().try_into().unwrap());
            let derived = card_key(&master, Option14::A, "4761730610737037", "00").unwrap();
            assert_eq!(hex::encode_upper(derived.expose()), key);
        }
    }

    #[test]
    fn check_values_of_derived_keys() {
        // KCVs of the keys above, computed independently.
        for (pan, kcv) in [("12345678901234567", "C64DC2"), ("4761739001010119", "DEEE3D")] {
            let key = hex::decode(derive(Option14::A, pan, "01")).unwrap();
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
        let y = derivation_block(Option14::A, "476173901012", "00");
        assert_eq!(hex::encode(&*y), "0047617390101200");
    }

    #[test]
    fn psn_changes_the_key() {
        assert_ne!(
            derive(Option14::A, "4761739001010119", "00"),
            derive(Option14::A, "4761739001010119", "01")
        );
    }
}
