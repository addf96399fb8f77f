//! PIN blocks of ISO 9564-1: format 1 in the output file, format 2 on the card.
//!
//! A block of format 1 has no account number and a random fill, so that equal PINs have different blocks. The
//! bureau's HSM converts it to format 2 (ENC 22). Not here: other formats, which the file does not use.

use zeroize::Zeroizing;

use crate::crypto::CryptoError;

/// Returns a block of format 1: `1 | length | PIN | random`. `random` is 8 fresh bytes, the PIN has 4 to 12
/// digits.
pub fn format_1(pin: &str, random: &[u8; 8]) -> Result<Zeroizing<[u8; 8]>, CryptoError> {
    block(1, pin, random)
}

/// Returns a block of format 2: `2 | length | PIN | F..`.
pub fn format_2(pin: &str) -> Result<Zeroizing<[u8; 8]>, CryptoError> {
    block(2, pin, &[0xFF; 8])
}

/// Converts format 1 to format 2, as the HSM does; `None` if the block does not have format 1.
pub fn format_1_to_2(block_1: &[u8]) -> Option<Zeroizing<[u8; 8]>> {
    let block_1: &[u8; 8] = block_1.try_into().ok()?;
    let [control, ..] = block_1;
    let length = usize::from(control & 0x0F);
    if control >> 4 != 1 || !(4..=12).contains(&length) {
        return None;
    }
    let mut pin = Zeroizing::new(String::with_capacity(14));
    for nibble in block_1.iter().flat_map(|b| [b >> 4, b & 0x0F]).skip(2).take(length) {
        pin.push(char::from_digit(u32::from(nibble), 10)?);
    }
    format_2(&pin).ok()
}

fn block(format: u8, pin: &str, fill: &[u8; 8]) -> Result<Zeroizing<[u8; 8]>, CryptoError> {
    let length = u8::try_from(pin.len()).map_err(|_| CryptoError::Length)?;
    if !(4..=12).contains(&length) || !pin.bytes().all(|b| b.is_ascii_digit()) {
        return Err(CryptoError::Length);
    }
    let mut block = Zeroizing::new(*fill);
    let nibbles = [format, length].into_iter().chain(pin.bytes().map(|b| b & 0x0F));
    for (place, nibble) in nibbles.enumerate() {
        if let Some(byte) = block.get_mut(place / 2) {
            *byte = if place % 2 == 0 { (nibble << 4) | (*byte & 0x0F) } else { (*byte & 0xF0) | nibble };
        }
    }
    Ok(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn format_2_psec() {
        // Computed with psec 1.3.0.
        assert_eq!(hex::encode_upper(*format_2("1234").unwrap()), "241234FFFFFFFFFF");
    }

    #[test]
    fn format_1_keeps_the_random_fill() {
        let random = [0xA1, 0xB2, 0xC3, 0xD4, 0xE5, 0xF6, 0x07, 0x18];
        assert_eq!(hex::encode_upper(*format_1("1234", &random).unwrap()), "141234D4E5F60718");
        assert_eq!(hex::encode_upper(*format_1("12345", &random).unwrap()), "15123454E5F60718");
        assert_eq!(hex::encode_upper(*format_1("123456789012", &random).unwrap()), "1C12345678901218");
    }

    #[test]
    fn conversion() {
        let one = format_1("98765", &[0x5A; 8]).unwrap();
        assert_eq!(hex::encode_upper(*format_1_to_2(&*one).unwrap()), "2598765FFFFFFFFF");
    }

    #[test]
    fn conversion_refuses_other_blocks() {
        for bad in [
            "241234FFFFFFFFFF",
            "131230000000000",
            "13123D4E5F607182",
            "1D12345678901234",
            "14123A0000000000",
        ] {
            assert!(format_1_to_2(&hex::decode(bad).unwrap_or_default()).is_none());
        }
    }

    #[test]
    fn pins_of_wrong_shape_are_refused() {
        for bad in ["", "123", "1234567890123", "12a4"] {
            assert!(format_2(bad).is_err());
        }
    }
}
