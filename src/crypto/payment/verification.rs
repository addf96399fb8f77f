//! Card verification values and PIN verification values: 3 or 4 digits by which the issuer recognizes its own
//! cards and PINs.
//!
//! CVV, iCVV (service code 999) and CVV2 (service code 000, expiry as MMYY) are one function of the card
//! schemes; PVV is another. Not here: the layout of the tracks (`prep`).

use zeroize::Zeroizing;

use super::digits::{bcd, decimalize};
use crate::crypto::{CryptoError, TdesKey};

/// Computes the CVV of PAN (digits), expiry (4 digits: YYMM, for CVV2 MMYY) and service code (3 digits).
pub fn cvv(cvk: &TdesKey, pan: &str, expiry: &str, service: &str) -> Result<Zeroizing<String>, CryptoError> {
    let text = Zeroizing::new(format!("{:0<32}", [pan, expiry, service].concat()));
    let packed = bcd(&text);
    // 32 digits are two blocks; there are more only if the PAN has over 25 digits.
    let (blocks, []) = packed.as_chunks::<8>() else { return Err(CryptoError::Length) };
    let [first, second] = blocks else { return Err(CryptoError::Length) };
    let mut block = Zeroizing::new(*first);
    cvk.encrypt_left(&mut block);
    for (byte, other) in block.iter_mut().zip(second) {
        *byte ^= other;
    }
    cvk.ecb_encrypt(&mut *block)?;
    Ok(decimalize(&*block, 3))
}

/// Computes the PVV of PAN (digits), PVK index (1-6) and the first four digits of the PIN.
pub fn pvv(pvk: &TdesKey, pan: &str, index: u8, pin: &str) -> Result<Zeroizing<String>, CryptoError> {
    // The transformed security parameter: 11 rightmost PAN digits without the check digit, index, 4 PIN
    // digits.
    let end = pan.len().checked_sub(1).ok_or(CryptoError::Length)?;
    let start = end.checked_sub(11).ok_or(CryptoError::Length)?;
    let account = pan.get(start..end).ok_or(CryptoError::Length)?;
    let pin = pin.get(..4).ok_or(CryptoError::Length)?;
    let text = Zeroizing::new(format!("{account}{index}{pin}"));
    let mut block = bcd(&text);
    if block.len() != 8 {
        return Err(CryptoError::Length);
    }
    pvk.ecb_encrypt(&mut block)?;
    Ok(decimalize(&block, 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> TdesKey {
        TdesKey::new(hex::decode("0123456789ABCDEFFEDCBA9876543210").unwrap().try_into().unwrap())
    }

    #[test]
    fn cvv_well_known_vector() {
        assert_eq!(cvv(&key(), "4123456789012345", "8701", "101").unwrap().as_str(), "561");
    }

    #[test]
    fn cvv_psec_documentation() {
        assert_eq!(cvv(&key(), "1234567890123456", "9912", "220").unwrap().as_str(), "170");
    }

    #[test]
    fn cvv_icvv_cvv2_psec() {
        // Computed with psec 1.3.0.
        for (expiry, service, value) in
            [("2212", "201", "497"), ("2212", "999", "204"), ("1222", "000", "014")]
        {
            assert_eq!(cvv(&key(), "4761739001010119", expiry, service).unwrap().as_str(), value);
        }
    }

    #[test]
    fn pvv_psec() {
        assert_eq!(pvv(&key(), "1122334455667788", 3, "4524").unwrap().as_str(), "4021");
        assert_eq!(pvv(&key(), "4761739001010119", 1, "1234").unwrap().as_str(), "0949");
    }

    #[test]
    fn pvv_takes_the_first_four_digits_of_a_long_pin() {
        assert_eq!(pvv(&key(), "4761739001010119", 1, "123456").unwrap().as_str(), "0949");
    }

    #[test]
    fn too_short_or_too_long_is_an_error() {
        assert!(pvv(&key(), "47617390010", 1, "1234").is_err());
        assert!(pvv(&key(), "4761739001010119", 1, "123").is_err());
        assert!(pvv(&key(), "4761739001010119", 10, "1234").is_err());
        assert!(cvv(&key(), "47617390010101194761739001", "2212", "201").is_err());
    }
}
