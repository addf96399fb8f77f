//! Commands and answers outside the secure channel: SELECT, READ RECORD, GET DATA, GET RESPONSE.
//!
//! Not here: INITIALIZE UPDATE and its answer (`scp`), wrapped commands, which come from the HSM. ISO 7816-4 (61xx, 6Cxx),
//! GPCS 11.9 (SELECT), EMV CPS 4.

use crate::ids::{Aid, KeyData};
use crate::tlv::{self, Tag};

/// Answers to one command are joined up to this many GET RESPONSEs: 32 × 256 bytes is far above any answer that
/// personalization asks for, and a card that never ends must not hold the station.
const GET_RESPONSE_MAX: u32 = 32;

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

/// One command with its whole answer, through every 61xx and 6Cxx of the card: pass it each response, and send the commands
/// that it returns.
pub struct ApduExchange<'a> {
    command: &'a [u8],
    data: Vec<u8>,
    get_responses: u32,
    le_corrected: bool,
}

/// The next step of an [`ApduExchange`].
#[derive(Debug, PartialEq, Eq)]
pub enum ExchangeStep {
    /// Send this and come back with the answer.
    Send(Vec<u8>),
    /// The whole answer.
    Done {
        /// Data of all parts, without status words.
        data: Vec<u8>,
        /// The last status word.
        sw: u16,
    },
    /// An answer shorter than a status word, or one that never ends.
    Malformed,
}

impl<'a> ApduExchange<'a> {
    /// Starts with a short APDU; the caller sends it first.
    pub fn new(command: &'a [u8]) -> Self {
        Self { command, data: Vec::new(), get_responses: 0, le_corrected: false }
    }

    /// Takes a response APDU.
    pub fn answer(&mut self, response: &[u8]) -> ExchangeStep {
        let Some((data, [sw1, sw2])) = response.split_last_chunk::<2>() else {
            return ExchangeStep::Malformed;
        };
        self.data.extend_from_slice(data);
        match *sw1 {
            0x61 if self.get_responses == GET_RESPONSE_MAX => ExchangeStep::Malformed,
            0x61 => {
                self.get_responses += 1;
                ExchangeStep::Send(vec![0x00, 0xC0, 0x00, 0x00, *sw2])
            }
            // Only a command with Le can have a wrong one, and only once.
            0x6C if !self.le_corrected && self.get_responses == 0 => match self.with_le(*sw2) {
                Some(command) => {
                    self.le_corrected = true;
                    ExchangeStep::Send(command)
                }
                None => self.done(*sw1, *sw2),
            },
            _ => self.done(*sw1, *sw2),
        }
    }

    fn done(&mut self, sw1: u8, sw2: u8) -> ExchangeStep {
        ExchangeStep::Done { data: std::mem::take(&mut self.data), sw: u16::from_be_bytes([sw1, sw2]) }
    }

    /// The command with another Le, if it has one: five bytes (case 2), or one byte more than Lc says (case 4).
    fn with_le(&self, le: u8) -> Option<Vec<u8>> {
        let (_, rest) = self.command.split_first_chunk::<4>()?;
        let has_le = match rest {
            [_] => true,
            [lc, body @ ..] => body.len() == usize::from(*lc) + 1,
            [] => false,
        };
        if !has_le {
            return None;
        }
        let mut command = self.command.to_vec();
        *command.last_mut()? = le;
        Some(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// INITIALIZE UPDATE: a command of case 4 that T=0 cards answer with 61xx or 6Cxx.
    const INITIALIZE_UPDATE: [u8; 14] = [0x80, 0x50, 0x00, 0x00, 0x08, 0, 0, 0, 0, 0, 0, 0, 0, 0x00];

    #[test]
    fn select_names_an_application_by_its_aid() {
        let aid = Aid::new(&hex::decode("A0000000031010").unwrap()).unwrap();
        assert_eq!(hex::encode_upper(select(&aid)), "00A4040007A000000003101000");
        assert_eq!(header(&select(&aid)), "00A40400");
        assert_eq!(header(&[0x80]), "80");
    }

    #[test]
    fn t0_card_answers_initialize_update_with_611c() {
        let command = INITIALIZE_UPDATE;
        let mut exchange = ApduExchange::new(&command);
        assert_eq!(exchange.answer(&[0x61, 0x1C]), ExchangeStep::Send(vec![0x00, 0xC0, 0x00, 0x00, 0x1C]));
        let mut answer = vec![7; 28];
        answer.extend([0x90, 0x00]);
        assert_eq!(exchange.answer(&answer), ExchangeStep::Done { data: vec![7; 28], sw: 0x9000 });
    }

    #[test]
    fn get_response_parts_are_joined_and_bounded() {
        let command = INITIALIZE_UPDATE;
        let mut exchange = ApduExchange::new(&command);
        exchange.answer(&[0xAA, 0x61, 0x01]);
        assert_eq!(
            exchange.answer(&[0xBB, 0x90, 0x00]),
            ExchangeStep::Done { data: vec![0xAA, 0xBB], sw: 0x9000 }
        );
        let mut endless = ApduExchange::new(&command);
        for _ in 0..GET_RESPONSE_MAX {
            assert!(matches!(endless.answer(&[0x61, 0x00]), ExchangeStep::Send(_)));
        }
        assert_eq!(endless.answer(&[0x61, 0x00]), ExchangeStep::Malformed);
    }

    #[test]
    fn wrong_le_is_corrected_once_and_only_where_there_is_an_le() {
        let command = INITIALIZE_UPDATE;
        let mut exchange = ApduExchange::new(&command);
        let ExchangeStep::Send(again) = exchange.answer(&[0x6C, 0x1C]) else { panic!() };
        assert_eq!(hex::encode_upper(again), "805000000800000000000000001C");
        assert_eq!(exchange.answer(&[0x6C, 0x1C]), ExchangeStep::Done { data: vec![], sw: 0x6C1C });
        // A wrapped STORE DATA has no Le: a repetition would break the MAC chain.
        let store = hex::decode("84E200001B010110700E5A0847617390010101195F3401014A17288F44815ECC").unwrap();
        assert_eq!(store.len(), 5 + 0x1B);
        assert_eq!(
            ApduExchange::new(&store).answer(&[0x6C, 0x10]),
            ExchangeStep::Done { data: vec![], sw: 0x6C10 }
        );
        // Case 2 has one.
        let ExchangeStep::Send(case_2) =
            ApduExchange::new(&[0x80, 0xCA, 0x00, 0xCF, 0x00]).answer(&[0x6C, 0x0D])
        else {
            panic!()
        };
        assert_eq!(case_2, [0x80, 0xCA, 0x00, 0xCF, 0x0D]);
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
    fn answers_without_status_word_are_malformed() {
        assert_eq!(ApduExchange::new(&[0; 5]).answer(&[]), ExchangeStep::Malformed);
        assert_eq!(ApduExchange::new(&[0; 5]).answer(&[0x90]), ExchangeStep::Malformed);
    }
}
