//! Decimal digits as the payment world packs them: Luhn, BCD, compressed numeric, decimalization.
//!
//! ISO/IEC 7812-1 (check digit), EMV Book 3 4.3 (formats n and cn), EMV Book 2 A1.4 and the scheme rules for
//! CVV and PVV (decimalization: digits first, then the letters minus 10). Not here: which field uses which
//! form (`prep`).

use zeroize::Zeroizing;

/// Returns the Luhn check digit of `body`. Both are ASCII digits.
pub fn luhn_digit(body: impl DoubleEndedIterator<Item = u8>) -> u8 {
    let sum: u32 = body
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let value = u32::from(digit.wrapping_sub(b'0'));
            match (place % 2, value * 2) {
                (0, double) if double > 9 => double - 9,
                (0, double) => double,
                _ => value,
            }
        })
        .sum();
    b'0' + u8::try_from((10 - sum % 10) % 10).unwrap_or(0)
}

/// Packs digits right-justified, padded with a leading 0 to whole bytes (format n). `digits` must hold
/// nothing else.
pub fn bcd(digits: &str) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(Vec::with_capacity(digits.len() + 1));
    if !digits.len().is_multiple_of(2) {
        text.push(b'0');
    }
    text.extend_from_slice(digits.as_bytes());
    pack(&text)
}

/// Packs digits left-justified, padded with F to whole bytes (format cn). `=` becomes D, as in tag 57.
pub fn compressed(digits: &str) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(Vec::with_capacity(digits.len() + 1));
    text.extend_from_slice(digits.as_bytes());
    if !text.len().is_multiple_of(2) {
        text.push(b'?');
    }
    pack(&text)
}

/// Packs the low nibbles of two characters into a byte: for 0-9 the digit, for `=` D, for `?` F.
fn pack(text: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut packed = Zeroizing::new(Vec::with_capacity(text.len() / 2));
    let (pairs, _) = text.as_chunks::<2>();
    packed.extend(pairs.iter().map(|[high, low]| (high << 4) | (low & 0x0F)));
    packed
}

/// Returns the first `count` digits of: the decimal nibbles in order, then the other nibbles minus 10.
pub fn decimalize(bytes: &[u8], count: usize) -> Zeroizing<String> {
    let nibbles = || bytes.iter().flat_map(|b| [b >> 4, b & 0x0F]);
    let mut digits = Zeroizing::new(String::with_capacity(count));
    for nibble in
        nibbles().filter(|n| *n < 10).chain(nibbles().filter(|n| *n >= 10).map(|n| n - 10)).take(count)
    {
        digits.push(char::from(b'0' + nibble));
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::card_ref::luhn_holds;

    #[test]
    fn the_check_digit_is_the_one_that_holds() {
        for body in ["476173900101011", "4992739871", "622800010000111"] {
            let check = char::from(luhn_digit(body.bytes()));
            assert!(luhn_holds(&format!("{body}{check}")), "{body}");
        }
    }

    #[test]
    fn packing() {
        assert_eq!(bcd("201").as_slice(), [0x02, 0x01]);
        assert_eq!(bcd("2201").as_slice(), [0x22, 0x01]);
        assert_eq!(compressed("476173900101011").as_slice(), hex::decode("476173900101011F").unwrap());
        assert_eq!(compressed("47=22").as_slice(), [0x47, 0xD2, 0x2F]);
        assert!(bcd("").is_empty());
    }

    #[test]
    fn decimalization_takes_digits_then_letters() {
        assert_eq!(decimalize(&[0xA1, 0xB2, 0xFF], 6).as_str(), "120155");
        assert_eq!(decimalize(&[0xA1, 0xB2, 0xFF], 3).as_str(), "120");
    }
}
