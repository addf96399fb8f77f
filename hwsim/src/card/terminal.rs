//! Commands that a terminal may send to a PERSONALIZED application at any time (EMV Book 1, 11; Book 3, 6.5):
//! they read the card back, and check the PIN. `transaction` has those of a transaction.
//!
//! Departures: SELECT by full name only; READ RECORD does not wait for GET PROCESSING OPTIONS, as many cards
//! do not. No command reads a secret DGI.

use super::apdu::{CardCommand, CardStatusWord};
use super::application::{CardApplication, SECURITY_DOMAIN};
use super::{ber, rules};

/// VERIFY P2: plain PIN in an ISO 9564 format 2 block.
const PLAIN_PIN: u16 = 0x0080;

/// FCI of the security domain: 6F { 84 AID, A5 { 9F65 01 FF } } (GPCS Table 11-77).
pub(super) fn security_domain_fci() -> Result<Vec<u8>, CardStatusWord> {
    fci(SECURITY_DOMAIN, &[0xA5, 0x04, 0x9F, 0x65, 0x01, 0xFF])
}

fn fci(aid: &[u8], proprietary: &[u8]) -> Result<Vec<u8>, CardStatusWord> {
    let name = object(&[0x84], aid)?;
    object(&[0x6F], &[&name[..], proprietary].concat())
}

/// Builds a data object.
pub(super) fn object(tag: &[u8], value: &[u8]) -> Result<Vec<u8>, CardStatusWord> {
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

    fn need_personalized(&self) -> Result<(), CardStatusWord> {
        if self.personalized { Ok(()) } else { Err(CardStatusWord::CONDITIONS) }
    }

    /// Refuses the command before personalization, and in an application that does not pay.
    pub(super) fn need_paying(&self) -> Result<(), CardStatusWord> {
        if self.rom.pays { self.need_personalized() } else { Err(CardStatusWord::INS) }
    }
}
