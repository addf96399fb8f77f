//! The four applications of product `multiapp`: the DGIs that each takes, and those that it needs to be
//! PERSONALIZED.

use super::apdu::CardStatusWord;
use super::rules::{self, StoredDgis};
use super::transaction::CardTransaction;

/// Properties of an application that its maker put into ROM.
pub(super) struct ApplicationRom {
    pub(super) aid: &'static [u8],
    /// DGIs taken besides records.
    pub(super) accepts: &'static [u16],
    /// DGIs without which it does not become PERSONALIZED.
    required: &'static [u16],
    /// Whether it answers GET PROCESSING OPTIONS, INTERNAL AUTHENTICATE, VERIFY and GENERATE AC.
    pub(super) pays: bool,
}

/// AID of the issuer security domain.
pub(super) const SECURITY_DOMAIN: &[u8] = &[0xA0, 0, 0, 0, 0x03, 0, 0, 0];

const PSE: ApplicationRom = ApplicationRom {
    aid: b"1PAY.SYS.DDF01",
    accepts: &[0x9102, 0x7FFF],
    required: &[0x0101, 0x9102],
    pays: false,
};
const PAYMENT: ApplicationRom = ApplicationRom {
    aid: &[0xA0, 0, 0, 0, 0x03, 0x10, 0x10],
    accepts: &[
        0x3000, 0x3001, 0x8000, 0x8010, 0x8201, 0x8202, 0x8203, 0x8204, 0x8205, 0x9000, 0x9010, 0x9102,
        0x9104, 0x7FFF,
    ],
    required: &[0x0101, 0x8000, 0x9000],
    pays: true,
};
const PURSE: ApplicationRom = ApplicationRom {
    aid: b"\xF0CWPURSE",
    accepts: &[0x8020, 0x8201, 0x8202, 0x8203, 0x8204, 0x8205, 0x9020, 0x9102, 0x7FFF],
    required: &[0x0101, 0x8020, 0x9020],
    pays: false,
};
/// The only application with both A001 and 8020, so with an order between them (8020 comes after A001).
const LOYALTY: ApplicationRom = ApplicationRom {
    aid: b"\xF0CWLOYAL",
    accepts: &[0x8020, 0x9020, 0x9102, 0xA001, 0x7FFF],
    required: &[0x0101, 0x9102, 0xA001],
    pays: false,
};

/// An application on a card.
pub(super) struct CardApplication {
    pub(super) rom: &'static ApplicationRom,
    pub(super) personalized: bool,
    /// Everything received, secret values after decryption.
    pub(super) dgis: StoredDgis,
    /// Application transaction counter (9F36).
    pub(super) atc: u16,
    /// PIN tries left (9F17).
    pub(super) tries: u8,
    /// What happened since SELECT. Volatile.
    pub(super) transaction: CardTransaction,
}

impl CardApplication {
    /// The applications of a fresh blank.
    pub(super) fn all() -> Vec<Self> {
        let fresh = |rom| Self {
            rom,
            personalized: false,
            dgis: StoredDgis::new(),
            atc: 0,
            tries: 0,
            transaction: CardTransaction::default(),
        };
        [&PSE, &PAYMENT, &PURSE, &LOYALTY].map(fresh).into()
    }

    /// Whether it takes this DGI at all.
    pub(super) fn accepts(&self, dgi: u16) -> bool {
        rules::is_record(dgi) || self.rom.accepts.contains(&dgi)
    }

    /// EEPROM bytes that these DGIs take: number, length, value.
    pub(super) fn size(dgis: &StoredDgis) -> usize {
        dgis.values().map(|v| v.len().saturating_add(4)).sum()
    }

    /// Ends personalization; `6A86` if a required DGI is missing.
    pub(super) fn personalize(&mut self) -> Result<(), CardStatusWord> {
        if !self.rom.required.iter().all(|dgi| self.dgis.contains_key(dgi)) {
            return Err(CardStatusWord::P1P2);
        }
        self.personalized = true;
        self.start_counters();
        Ok(())
    }

    /// Makes the last bit of the first record wrong.
    pub(super) fn corrupt(&mut self) {
        let first = self.dgis.iter_mut().find(|(dgi, _)| rules::is_record(**dgi));
        if let Some(bits) = first.and_then(|(_, value)| value.last_mut()) {
            *bits ^= 1;
        }
    }
}
