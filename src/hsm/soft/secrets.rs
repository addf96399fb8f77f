//! A protected value on its way through the HSM: out of the TK's cipher, checked, and into the form that the card gets
//! before encryption under the session DEK (EMV CPS 1.1, CMODE and ENC; ISO 9564-1, PIN blocks).

use zeroize::{Zeroize, Zeroizing};

use super::key_work::{OpenFault, TransportKey};
use crate::crypto::{pad_80, unpad_80};
use crate::hsm::DataFault;
use crate::ids::Dgi;
use crate::record::chip::{Cmode, EncType};

/// Decrypts a value under TKd. CMODE 10, 11: as it is; 12, 13: unpadded. Leaves room for the card's padding.
pub(super) fn open(
    tk: &TransportKey,
    cmode: Cmode,
    dgi: Dgi,
    ciphertext: &[u8],
) -> Result<Zeroizing<Vec<u8>>, OpenFault> {
    let mut value = Zeroizing::new(Vec::with_capacity(ciphertext.len() + 16));
    value.extend_from_slice(ciphertext);
    tk.decrypt(cmode, &mut value, &DataFault::Padding(dgi))?;
    if matches!(cmode, Cmode::CbcPadded | Cmode::EcbPadded) {
        let length = unpad_80(&value, tk.block()).map_err(|_| DataFault::Padding(dgi))?;
        value.truncate(length);
    }
    Ok(value)
}

/// Converts a clear value into the form that the card expects under its DEK: a multiple of `block` (the card's, 8 or
/// 16 bytes).
pub(super) fn for_card(
    enc: EncType,
    dgi: Dgi,
    value: &mut Zeroizing<Vec<u8>>,
    block: usize,
) -> Result<(), DataFault> {
    match enc {
        EncType::AsIs => {}
        EncType::Pad => pad_80(value, block),
        EncType::PinBlock => {
            let mut pin =
                Zeroizing::new(<[u8; 8]>::try_from(value.as_slice()).map_err(|_| DataFault::PinBlock(dgi))?);
            format_1_to_2(&mut pin).ok_or(DataFault::PinBlock(dgi))?;
            value.zeroize();
            value.extend_from_slice(&*pin);
            if block > pin.len() {
                pad_80(value, block);
            }
        }
    }
    // A value that grew past what a DGI can state is as wrong as one that is no multiple.
    if value.len().is_multiple_of(block) && u16::try_from(value.len()).is_ok() {
        Ok(())
    } else {
        Err(DataFault::Padding(dgi))
    }
}

/// ISO 9564 format 1 (`1 N PIN`, then any filler) to format 2 (`2 N PIN`, then F). `None` if it is no format 1 block:
/// control nibble, length 4-12, or a PIN nibble that is no decimal digit.
fn format_1_to_2(block: &mut [u8; 8]) -> Option<()> {
    let [first, rest @ ..] = block;
    let length = usize::from(*first & 0x0F);
    if *first >> 4 != 1 || !(4..=12).contains(&length) {
        return None;
    }
    *first = 0x20 | (*first & 0x0F);
    let mut decimal = true;
    for (place, byte) in rest.iter_mut().enumerate() {
        let (mut high, mut low) = (*byte >> 4, *byte & 0x0F);
        for (offset, nibble) in [(0, &mut high), (1, &mut low)] {
            if place * 2 + offset >= length {
                *nibble = 0xF;
            } else if *nibble > 9 {
                decimal = false;
            }
        }
        *byte = high << 4 | low;
    }
    decimal.then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DGI: Dgi = Dgi(0x8010);

    fn converted(block: &str) -> Result<String, DataFault> {
        let mut value = Zeroizing::new(hex::decode(block).unwrap());
        for_card(EncType::PinBlock, DGI, &mut value, 8)?;
        Ok(hex::encode_upper(&*value))
    }

    #[test]
    fn iso_9564_format_2_of_pin_1234() {
        // ISO 9564-1: format 2 of PIN 1234 is 241234FFFFFFFFFF (as psec has it); the filler of format 1 is arbitrary.
        assert_eq!(converted("141234A1B2C3D4E5").unwrap(), "241234FFFFFFFFFF");
        assert_eq!(converted("1412349999999999").unwrap(), "241234FFFFFFFFFF");
        assert_eq!(converted("1C123456789012AB").unwrap(), "2C123456789012FF");
        assert_eq!(converted("15123456789012AB").unwrap(), "2512345FFFFFFFFF");
    }

    #[test]
    fn what_is_no_format_1_block_is_refused() {
        for bad in [
            "041223C6FFEFEFEE",   // format 0
            "241234FFFFFFFFFF",   // format 2
            "341234AAAAAAAAAA",   // format 3
            "13123FFFFFFFFFFF",   // 3 digits
            "1D1234567890123F",   // 13 digits
            "1412A4FFFFFFFFFF",   // a letter in the PIN
            "14123FFFFFFFFFFF",   // the fourth digit is missing
            "141234FFFFFFFF",     // 7 bytes
            "141234FFFFFFFFFFFF", // 9 bytes
            "",
        ] {
            assert_eq!(converted(bad), Err(DataFault::PinBlock(DGI)), "{bad}");
        }
    }

    #[test]
    fn a_pin_for_a_card_of_block_16_is_padded() {
        let mut value = Zeroizing::new(hex::decode("141234A1B2C3D4E5").unwrap());
        for_card(EncType::PinBlock, DGI, &mut value, 16).unwrap();
        assert_eq!(hex::encode_upper(&*value), "241234FFFFFFFFFF8000000000000000");
    }

    #[test]
    fn as_it_is_must_be_whole_blocks_of_the_card() {
        for (length, block, good) in
            [(8, 8, true), (48, 8, true), (9, 8, false), (8, 16, false), (32, 16, true)]
        {
            let mut value = Zeroizing::new(vec![1; length]);
            assert_eq!(for_card(EncType::AsIs, DGI, &mut value, block).is_ok(), good, "{length} of {block}");
        }
    }

    #[test]
    fn a_value_that_no_dgi_can_hold_after_padding_is_refused() {
        let mut value = Zeroizing::new(vec![1; 65_535]);
        assert_eq!(for_card(EncType::Pad, DGI, &mut value, 8), Err(DataFault::Padding(DGI)));
    }
}
