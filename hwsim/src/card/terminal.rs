//! Commands that a terminal may send to a PERSONALIZED application (EMV Book 1, 11; Book 3, 6.5), enough to
//! read a card back.
//!
//! Departures: SELECT by full name only; the PDOL is not interpreted; GENERATE AC answers only the first
//! cryptogram of a transaction, an ARQC that is a plain retail MAC under UDK-AC (no session key, no CVN of a
//! payment scheme). No command reads a secret DGI.

use super::apdu::{CardCommand, CardStatusWord};
use super::application::{CardApplication, SECURITY_DOMAIN};
use super::tdes::{self, DoubleLengthKey};
use super::{ber, rules};

/// Command data of GET PROCESSING OPTIONS without PDOL: template 83, empty or with the terminal's values.
const COMMAND_TEMPLATE: u32 = 0x83;
/// VERIFY P2: plain PIN in an ISO 9564 format 2 block.
const PLAIN_PIN: u16 = 0x0080;
/// GENERATE AC P1: asks for an ARQC.
const ARQC: u8 = 0x80;

/// FCI of the security domain: 6F { 84 AID, A5 { 9F65 01 FF } } (GPCS Table 11-77).
pub(super) fn security_domain_fci() -> Result<Vec<u8>, CardStatusWord> {
    fci(SECURITY_DOMAIN, &[0xA5, 0x04, 0x9F, 0x65, 0x01, 0xFF])
}

fn fci(aid: &[u8], proprietary: &[u8]) -> Result<Vec<u8>, CardStatusWord> {
    let name = object(&[0x84], aid)?;
    object(&[0x6F], &[&name[..], proprietary].concat())
}

fn object(tag: &[u8], value: &[u8]) -> Result<Vec<u8>, CardStatusWord> {
    ber::build(tag, value).ok_or(CardStatusWord::MEMORY)
}

impl CardApplication {
    /// Sets ATC and PIN tries from DGIs 3000 (9F36) and 9010 when personalization ends.
    pub(super) fn start_counters(&mut self) {
        let atc = self.dgis.get(&0x3000).and_then(|data| ber::find(0x9F36, data));
        self.atc = atc.and_then(|atc| atc.try_into().ok()).map_or(0, u16::from_be_bytes);
        self.tries = self.tries_and_limit().map_or(0, |(tries, _)| tries);
    }

    fn tries_and_limit(&self) -> Option<(u8, u8)> {
        self.dgis.get(&0x9010).and_then(|value| rules::tries(value))
    }

    /// Returns the FCI: DGI 9102 once PERSONALIZED; before, or without it, an empty A5.
    pub(super) fn fci(&self) -> Result<Vec<u8>, CardStatusWord> {
        let template = self.dgis.get(&0x9102).filter(|_| self.personalized);
        fci(self.rom.aid, template.map_or(&[0xA5, 0x00], |t| t))
    }

    /// READ RECORD `00 B2 record SFI<<3|4`.
    pub(super) fn read_record(&self, command: &CardCommand) -> Result<Vec<u8>, CardStatusWord> {
        self.need_personalized()?;
        let sfi = command.p2 >> 3;
        if command.p2 & 0x07 != 0x04 || sfi == 0 || sfi > 30 || command.p1 == 0 {
            return Err(CardStatusWord::P1P2);
        }
        if !self.dgis.keys().any(|dgi| dgi >> 8 == u16::from(sfi)) {
            return Err(CardStatusWord::NO_FILE);
        }
        self.dgis.get(&u16::from_be_bytes([sfi, command.p1])).cloned().ok_or(CardStatusWord::NO_RECORD)
    }

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
        let answer = object(&[0x77], self.dgis.get(&0x9104).ok_or(CardStatusWord::CONDITIONS)?)?;
        self.atc = self.atc.checked_add(1).ok_or(CardStatusWord::CONDITIONS)?;
        self.transaction = true;
        Ok(answer)
    }

    /// GET DATA `80 CA tag`: 9F36 ATC, 9F13 last online ATC (always 0000), 9F17 PIN tries left.
    pub(super) fn get_data(&self, command: &CardCommand) -> Result<Vec<u8>, CardStatusWord> {
        self.need_personalized()?;
        match command.p1p2() {
            0x9F36 if self.rom.pays => object(&[0x9F, 0x36], &self.atc.to_be_bytes()),
            0x9F13 if self.rom.pays => object(&[0x9F, 0x13], &[0, 0]),
            0x9F17 if self.tries_and_limit().is_some() => object(&[0x9F, 0x17], &[self.tries]),
            _ => Err(CardStatusWord::NOT_FOUND),
        }
    }

    /// VERIFY `00 20 00 80 08 block`.
    pub(super) fn verify(&mut self, command: &CardCommand) -> Result<Vec<u8>, CardStatusWord> {
        self.need_paying()?;
        if command.p1p2() != PLAIN_PIN {
            return Err(CardStatusWord::P1P2);
        }
        if command.data.len() != 8 {
            return Err(CardStatusWord::LENGTH);
        }
        let (pin, (_, limit)) =
            self.dgis.get(&0x8010).zip(self.tries_and_limit()).ok_or(CardStatusWord::NOT_FOUND)?;
        if self.tries == 0 {
            return Err(CardStatusWord::BLOCKED);
        }
        if *pin == command.data {
            self.tries = limit;
            return Ok(Vec::new());
        }
        self.tries = self.tries.saturating_sub(1);
        Err(CardStatusWord::tries_left(self.tries))
    }

    /// First GENERATE AC `80 AE 80 00 Lc data`: returns 77 { 9F27 80, 9F36 ATC, 9F26 retail MAC under UDK-AC
    /// of data | ATC }.
    pub(super) fn generate_ac(&mut self, command: &CardCommand) -> Result<Vec<u8>, CardStatusWord> {
        self.need_paying()?;
        if command.p1 != ARQC || command.p2 != 0 {
            return Err(CardStatusWord::P1P2);
        }
        if !std::mem::take(&mut self.transaction) {
            return Err(CardStatusWord::CONDITIONS);
        }
        let udk: &DoubleLengthKey =
            self.dgis.get(&0x8000).and_then(|keys| keys.first_chunk()).ok_or(CardStatusWord::CONDITIONS)?;
        let atc = self.atc.to_be_bytes();
        let cryptogram = tdes::retail_mac(udk, [0; 8], &[&command.data[..], &atc].concat());
        let parts = [
            object(&[0x9F, 0x27], &[ARQC])?,
            object(&[0x9F, 0x36], &atc)?,
            object(&[0x9F, 0x26], &cryptogram)?,
        ];
        object(&[0x77], &parts.concat())
    }

    fn need_personalized(&self) -> Result<(), CardStatusWord> {
        if self.personalized { Ok(()) } else { Err(CardStatusWord::CONDITIONS) }
    }

    fn need_paying(&self) -> Result<(), CardStatusWord> {
        if self.rom.pays { self.need_personalized() } else { Err(CardStatusWord::INS) }
    }
}
