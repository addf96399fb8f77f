//! Commands and answers outside the secure channel: SELECT, READ RECORD, GET DATA.
//!
//! Not here: INITIALIZE UPDATE and its answer (`scp`), wrapped commands, which come from the HSM; the form of a command
//! over T=0, and GET RESPONSE (`drivers`). GPCS 11.9 (SELECT), EMV CPS 4.

use crate::ids::{Aid, KeyData};
use crate::tlv::{self, Tag};

/// CLA INS P1 P2 of a command in hex, for messages. A shorter command is shown whole.
pub fn header(command: &[u8]) -> String {
    hex::encode_upper(command.get(..4).unwrap_or(command))
}

/// SELECT by name, with Le 00.
pub fn select(aid: &Aid) -> Vec<u8> {
    case_4([0x00, 0xA4, 0x04, 0x00], aid.as_bytes())
}

/// READ RECORD of this SFI and record number, with Le 00 (EMV Book 3, 6.5.11).
pub fn read_record((sfi, record): (u8, u8)) -> Vec<u8> {
    vec![0x00, 0xB2, record, sfi << 3 | 0x04, 0x00]
}

/// GET DATA of KEYDATA (00CF), with Le 00: the card manager's, which a reset selects (EMV CPS 5.2).
pub const GET_KEY_DATA: [u8; 5] = [0x80, 0xCA, 0x00, 0xCF, 0x00];

/// KEYDATA in the answer to [`GET_KEY_DATA`].
pub fn key_data(answer: &[u8]) -> Option<KeyData> {
    let value = tlv::find(answer, Tag(0xCF)).ok()??;
    value.try_into().ok().map(KeyData)
}

/// Header, Lc, data of at most 16 bytes, Le 00.
fn case_4(header: [u8; 4], data: &[u8]) -> Vec<u8> {
    let mut command = header.to_vec();
    command.push(u8::try_from(data.len()).unwrap_or(u8::MAX));
    command.extend_from_slice(data);
    command.push(0x00);
    command
}

/// Data and status word of a response; `None` if it has no status word.
pub fn split(response: &[u8]) -> Option<(&[u8], u16)> {
    let (data, sw) = response.split_last_chunk()?;
    Some((data, u16::from_be_bytes(*sw)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn select_names_an_application_by_its_aid() {
        let aid = Aid::new(&hex::decode("A0000000031010").unwrap()).unwrap();
        assert_eq!(hex::encode_upper(select(&aid)), "00A4040007A000000003101000");
        assert_eq!(header(&select(&aid)), "00A40400");
        assert_eq!(header(&[0x80]), "80");
    }

    #[test]
    fn key_data_is_the_object_cf_and_nothing_else() {
        let is = |hex_text: &str| key_data(&hex::decode(hex_text).unwrap()).map(|k| k.to_string());
        assert_eq!(is("CF0AFFFFFF47617301020304").as_deref(), Some("FFFFFF47617301020304"));
        for wrong in
            ["", "FFFFFF47617301020304", "CF09FFFFFF476173010203", "CF0BFFFFFF4761730102030400", "CF0AFF"]
        {
            assert_eq!(is(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_response_ends_with_its_status_word() {
        assert_eq!(split(&[0x90, 0x00]), Some((&[][..], 0x9000)));
        assert_eq!(split(&[0xAA, 0xBB, 0x6A, 0x82]), Some((&[0xAA, 0xBB][..], 0x6A82)));
        assert_eq!((split(&[]), split(&[0x90])), (None, None));
    }
}
