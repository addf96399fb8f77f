//! The commands of a payment transaction (EMV Book 3, 6.5 and 10.3; Book 2, 6.5, 6.6 and 8.1): GET PROCESSING
//! OPTIONS, INTERNAL AUTHENTICATE, GENERATE AC.
//!
//! ```text
//! selected --GET PROCESSING OPTIONS--> begun --GENERATE AC: ARQC--> online
//!                                      |  ^ INTERNAL AUTHENTICATE   |
//!                                      +----GENERATE AC: TC or AAC--+--> ended
//! SELECT and reset, from every stage: selected
//! ```
//!
//! A command that does not belong to the stage is `6985`, values of a wrong length are `6700`, and a refused
//! command changes nothing. Answers are in format 2 (template 77) and have at most 256 bytes: with issuer
//! application data of 32 bytes, combined authentication ends at keys of 205 bytes.
//!
//! Where the standard leaves a choice: the card gives the kind of cryptogram that it is asked for, as it
//! manages no risk of its own. A cryptogram is the MAC of ISO 9797-1 algorithm 3, padding 80 00.., all 8 bytes,
//! over the values of the CDOL, the AIP and the ATC (the recommended minimum of Book 2, 8.1.1), under the
//! common session key of annex A1.3.1. The cryptogram version in the issuer application data (9F10) changes
//! nothing, and these data stay those of personalization. Not here: issuer authentication, issuer scripts.

use sha1::{Digest, Sha1};

use super::apdu::{CardCommand, CardStatusWord};
use super::application::CardApplication;
use super::ber::{self, CardBytes};
use super::dol::CardDol;
use super::rsa::CardCrtKey;
use super::tdes::{self, DesBlock, DoubleLengthKey};
use super::terminal::object;

/// GET PROCESSING OPTIONS: the template around the PDOL's values.
const COMMAND_TEMPLATE: u32 = 0x83;
/// The list that stands for a missing DDOL (EMV Book 2, 6.5): 4 bytes of unpredictable number.
const DEFAULT_DDOL: &[u8] = &[0x9F, 0x37, 0x04];
const PDOL: u32 = 0x9F38;
const DDOL: u32 = 0x9F49;
const CDOL_1: u32 = 0x8C;
const CDOL_2: u32 = 0x8D;
const UNPREDICTABLE_NUMBER: u32 = 0x9F37;
const ISSUER_APPLICATION_DATA: u32 = 0x9F10;

/// AIP byte 1 (EMV Book 3, annex C1): dynamic data authentication, and combined with GENERATE AC.
const DDA: u8 = 0x20;
const CDA: u8 = 0x01;

/// GENERATE AC P1 (EMV Book 3, 6.5.5.2): kind of the cryptogram, and whether it is to be signed.
const KIND: u8 = 0xC0;
const SIGNED: u8 = 0x10;
/// Kinds of cryptogram in P1 and 9F27, besides TC (40, approved): declined, and to be decided online.
const AAC: u8 = 0x00;
const ARQC: u8 = 0x80;

/// Most bytes of an answer, without its status word.
const ANSWER_MAX: usize = 256;

/// An ICC dynamic number, which the card makes for each signature.
pub(super) type CardDynamicNumber = [u8; 8];

/// The stage of a transaction.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum TransactionStage {
    #[default]
    Selected,
    Begun,
    Online,
    Ended,
}

/// A transaction, from SELECT on.
#[derive(Default)]
pub(super) struct CardTransaction {
    stage: TransactionStage,
    /// The terminal's values for PDOL, CDOL1 and CDOL2, in the order in which they came.
    sent: Vec<u8>,
}

/// The common session key (EMV Book 2, annex A1.3.1): each half encrypts the ATC, F0 or 0F, and zeros.
pub(super) fn session_key(card_key: &DoubleLengthKey, [high, low]: [u8; 2]) -> DoubleLengthKey {
    let mut key = [high, low, 0xF0, 0, 0, 0, 0, 0, high, low, 0x0F, 0, 0, 0, 0, 0];
    tdes::ecb_encrypt(card_key, &mut key);
    key
}

/// Refuses an answer that no command can fetch.
fn sendable(answer: Vec<u8>) -> Result<Vec<u8>, CardStatusWord> {
    if answer.len() <= ANSWER_MAX { Ok(answer) } else { Err(CardStatusWord::CONDITIONS) }
}

/// Parses a list of the card, if the terminal's values have its length.
fn fitting(list: &[u8], values: &[u8]) -> Result<CardDol, CardStatusWord> {
    let list = CardDol::parse(list).ok_or(CardStatusWord::CONDITIONS)?;
    if list.length() == values.len() { Ok(list) } else { Err(CardStatusWord::LENGTH) }
}

impl CardApplication {
    /// GET PROCESSING OPTIONS `80 A8 00 00 Lc 83 ..`: returns 77 { 82, 94 } from DGI 9104 and increments the
    /// ATC.
    pub(super) fn processing_options(&mut self, command: &CardCommand) -> Result<Vec<u8>, CardStatusWord> {
        self.need_paying()?;
        if command.p1p2() != 0 {
            return Err(CardStatusWord::P1P2);
        }
        if !ber::is_template(COMMAND_TEMPLATE, &command.data) {
            return Err(CardStatusWord::DATA);
        }
        self.need_stage(&[TransactionStage::Selected])?;
        let values = ber::find(COMMAND_TEMPLATE, &command.data).unwrap_or_default();
        let template = self.dgis.get(&0x9102).and_then(|fci| ber::find(0xA5, fci));
        fitting(template.and_then(|fci| ber::find(PDOL, fci)).unwrap_or_default(), values)?;
        let answer = object(&[0x77], self.dgis.get(&0x9104).ok_or(CardStatusWord::CONDITIONS)?)?;
        self.atc = self.atc.checked_add(1).ok_or(CardStatusWord::CONDITIONS)?;
        self.transaction = CardTransaction { stage: TransactionStage::Begun, sent: values.to_vec() };
        Ok(answer)
    }

    /// INTERNAL AUTHENTICATE `00 88 00 00 Lc values of the DDOL`: returns 77 { 9F4B }, the signed dynamic
    /// application data.
    pub(super) fn internal_authenticate(
        &self,
        command: &CardCommand,
        number: CardDynamicNumber,
    ) -> Result<Vec<u8>, CardStatusWord> {
        self.need_paying()?;
        if command.p1p2() != 0 {
            return Err(CardStatusWord::P1P2);
        }
        self.need_stage(&[TransactionStage::Begun])?;
        self.need_interchange(DDA)?;
        fitting(self.in_records(DDOL).unwrap_or(DEFAULT_DDOL), &command.data)?;
        let key = CardCrtKey::of(&self.dgis)?;
        let signature = key.sign_dynamic_data(&dynamic_number(number), &command.data)?;
        sendable(object(&[0x77], &object(&[0x9F, 0x4B], &signature)?)?)
    }

    /// GENERATE AC `80 AE kind 00 Lc values of the CDOL`: returns 77 { 9F27, 9F36, 9F26, 9F10 }, or with a
    /// signature 77 { 9F27, 9F36, 9F4B, 9F10 }. 9F10 only if the card has it; an AAC is never signed.
    pub(super) fn generate_ac(
        &mut self,
        command: &CardCommand,
        number: CardDynamicNumber,
    ) -> Result<Vec<u8>, CardStatusWord> {
        self.need_paying()?;
        let kind = command.p1 & KIND;
        if command.p1 & !(KIND | SIGNED) != 0 || kind == KIND || command.p2 != 0 {
            return Err(CardStatusWord::P1P2);
        }
        self.need_stage(&[TransactionStage::Begun, TransactionStage::Online])?;
        let second = self.transaction.stage == TransactionStage::Online;
        if second && kind == ARQC {
            return Err(CardStatusWord::CONDITIONS);
        }
        let list = self.in_records(if second { CDOL_2 } else { CDOL_1 });
        let list = fitting(list.ok_or(CardStatusWord::CONDITIONS)?, &command.data)?;
        let cryptogram = self.cryptogram(&command.data)?;
        let sent = [&self.transaction.sent[..], &command.data].concat();
        let before =
            [object(&[0x9F, 0x27], &[kind])?, object(&[0x9F, 0x36], &self.atc.to_be_bytes())?].concat();
        let after = self.issuer_application_data()?;
        let middle = if command.p1 & SIGNED != 0 && kind != AAC {
            let unpredictable = list.value(UNPREDICTABLE_NUMBER, &command.data).filter(|n| n.len() == 4);
            let unpredictable = unpredictable.ok_or(CardStatusWord::CONDITIONS)?;
            let hash = Sha1::digest([&sent[..], &before, &after].concat());
            let data = [&dynamic_number(number)[..], &[kind], &cryptogram, &hash].concat();
            object(&[0x9F, 0x4B], &self.combined_signature(&data, unpredictable)?)?
        } else {
            object(&[0x9F, 0x26], &cryptogram)?
        };
        let answer = sendable(object(&[0x77], &[before, middle, after].concat())?)?;
        let stage = if kind == ARQC { TransactionStage::Online } else { TransactionStage::Ended };
        self.transaction = CardTransaction { stage, sent };
        Ok(answer)
    }

    /// Signs the dynamic data of a combined authentication.
    fn combined_signature(&self, data: &[u8], unpredictable: &[u8]) -> Result<Vec<u8>, CardStatusWord> {
        self.need_interchange(CDA)?;
        CardCrtKey::of(&self.dgis)?.sign_dynamic_data(data, unpredictable)
    }

    /// The application cryptogram of this transaction over the values of a CDOL.
    fn cryptogram(&self, values: &[u8]) -> Result<DesBlock, CardStatusWord> {
        let card_key: &DoubleLengthKey =
            self.dgis.get(&0x8000).and_then(|keys| keys.first_chunk()).ok_or(CardStatusWord::CONDITIONS)?;
        let atc = self.atc.to_be_bytes();
        let data = [values, self.interchange()?, &atc].concat();
        Ok(tdes::retail_mac(&session_key(card_key, atc), [0; 8], &data))
    }

    /// The data object 9F10 from DGI 3001 or 3000; empty without one.
    fn issuer_application_data(&self) -> Result<Vec<u8>, CardStatusWord> {
        let internal = [0x3001, 0x3000].into_iter().filter_map(|dgi| self.dgis.get(&dgi));
        match internal.filter_map(|data| ber::find(ISSUER_APPLICATION_DATA, data)).next() {
            Some(value) => object(&[0x9F, 0x10], value),
            None => Ok(Vec::new()),
        }
    }

    /// The application interchange profile (82).
    fn interchange(&self) -> Result<&[u8], CardStatusWord> {
        self.dgis.get(&0x9104).and_then(|data| ber::find(0x82, data)).ok_or(CardStatusWord::CONDITIONS)
    }

    /// Refuses what the interchange profile does not offer to a terminal.
    fn need_interchange(&self, bit: u8) -> Result<(), CardStatusWord> {
        match self.interchange()?.first() {
            Some(first) if first & bit != 0 => Ok(()),
            _ => Err(CardStatusWord::CONDITIONS),
        }
    }

    fn need_stage(&self, stages: &[TransactionStage]) -> Result<(), CardStatusWord> {
        if stages.contains(&self.transaction.stage) { Ok(()) } else { Err(CardStatusWord::CONDITIONS) }
    }

    /// The first object with this tag in the records of SFI 1 to 10.
    fn in_records(&self, tag: u32) -> Option<&[u8]> {
        let mut records = self.dgis.range(0x0101..=0x0AFF).map(|(_, record)| record);
        records.find_map(|record| ber::find(tag, CardBytes(record).object()?.1))
    }
}

/// The ICC dynamic number with its length: the beginning of the dynamic data.
fn dynamic_number(number: CardDynamicNumber) -> Vec<u8> {
    [&[8], &number[..]].concat()
}
