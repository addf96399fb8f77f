//! Protects the records of a file: encrypts values under TKd, and makes a fresh MACkey and a MAC for each
//! application (`src/manual/cwf1.md` sections 3 and 5).
//!
//! The CMODE is always 12: CBC, padded 80 00... Not here: the layout (`record`), the primitives (`crypto`).

use std::io::Write;

use zeroize::Zeroizing;

use super::clear::{ClearApplication, ClearCard};
use super::fill_random;
use crate::crypto::{
    ApplicationScope, CipherKey, CryptoError, Purpose, Suite, application_mac_input, mac_key_is_sound,
    pad_80, set_odd_parity, trailer_mac_input, wrap_mac_key,
};
use crate::exit::{Exit, Failure};
use crate::ids::{KekId, Mic};
use crate::record::chip::{ChipApplication, ChipError, ChipSection, Cmode, DgiValue};
use crate::record::{Cwf1Writer, Finished, Header, Record, Section, TrailerKey, others_digest};
use crate::wiped::WipedBytes;

/// Protects the records of one file under one KEK.
pub struct Protector<'a> {
    /// The KEK; keys are derived from it, and it encrypts no data itself.
    pub kek: &'a CipherKey,
    /// Name of the KEK.
    pub kek_id: KekId,
    /// Cipher family of the KEK.
    pub suite: Suite,
    /// Header of the file.
    pub header: &'a Header,
}

impl Protector<'_> {
    /// Makes the record of a card.
    pub fn record(&self, sequence: u32, card: ClearCard) -> Result<Record, Failure> {
        let ClearCard { card_ref, sections, applications } = card;
        let mut record = Record { sequence, card_ref, sections };
        if applications.is_empty() {
            return Ok(record);
        }
        let others = others_digest(&record);
        let applications = applications
            .into_iter()
            .map(|a| self.application(&record, &others, a))
            .collect::<Result<_, _>>()?;
        let section = ChipSection { crn: Some(record.card_ref.clone()), applications };
        let mic = Mic::new("CHP").map_err(|e| bug(&e))?;
        record.sections.push(Section { mic, data: section.encode().map_err(layout)? });
        Ok(record)
    }

    fn application(
        &self,
        record: &Record,
        others: &[u8; 32],
        clear: ClearApplication,
    ) -> Result<ChipApplication, Failure> {
        let scope = ApplicationScope {
            issuer_id: self.header.issuer_id.as_str(),
            file_id: self.header.file_id.as_str(),
            sequence: record.sequence,
            card_ref: record.card_ref.as_str(),
            aid: clear.aid.as_bytes(),
        };
        let protected: Vec<_> = clear.dgis.iter().filter(|d| d.enc.is_some()).map(|d| d.dgi).collect();
        let tkd = match protected.as_slice() {
            [] => None,
            _ => Some(scope.derive(self.kek, self.suite, Purpose::Data).map_err(|e| bug(&e))?),
        };
        let mut dgis = Vec::with_capacity(clear.dgis.len());
        for group in clear.dgis {
            let value = match (&tkd, group.enc) {
                (Some(tkd), Some(_)) => sealed(tkd, &group.value).map_err(|e| bug(&e))?,
                _ => group.value,
            };
            dgis.push(DgiValue { dgi: group.dgi, value: value.into() });
        }
        let (mac_key, wrapped_mac_key) = self.mac_key(&scope, Purpose::MacKey)?;
        let mut application = ChipApplication {
            aid: clear.aid.clone(),
            kek: self.kek_id,
            tk_type: self.suite.tk_type(),
            cmode: Cmode::CbcPadded,
            protected,
            pdi: clear.pdi,
            log: clear.log,
            dgis,
            wrapped_mac_key,
            mac: vec![0; self.suite.mac_length()],
            raw: WipedBytes::default(),
            maced: 0..0,
        };
        // From the length byte of `L1 AID`, which follows the one of 3a.1, to the last byte of the wrapped
        // MACkey.
        let raw = application.encode().map_err(layout)?;
        let end = raw.len().saturating_sub(application.mac.len());
        let maced = raw.get(1..end).ok_or_else(|| bug(&CryptoError::Length))?;
        let input = application_mac_input(&scope, others, maced).map_err(|e| bug(&e))?;
        let key = scope.blinded(self.kek, self.suite, Purpose::Blind, &mac_key).map_err(|e| bug(&e))?;
        application.mac = key.mac(&input);
        Ok(application)
    }

    /// Writes the Trailer after the last record.
    pub fn finish<W: Write>(&self, writer: Cwf1Writer<W>) -> Result<Finished<W>, Failure> {
        let scope = ApplicationScope::trailer(self.header.issuer_id.as_str(), self.header.file_id.as_str());
        let (mac_key, wrapped_mac_key) = self.mac_key(&scope, Purpose::TrailerKey)?;
        let blinded = scope.blinded(self.kek, self.suite, Purpose::TrailerBlind, &mac_key);
        let key = blinded.map_err(|e| bug(&e))?;
        let named = TrailerKey {
            kek: self.kek_id,
            tk_type: self.suite.tk_type(),
            kcv: self.kek.kcv(),
            wrapped_mac_key,
        };
        writer.finish(named, |body| Ok(key.mac(&trailer_mac_input(body))))
    }

    /// Draws 16 random bytes that can be a MACkey.
    fn fresh_key(&self) -> Result<Zeroizing<[u8; 16]>, Failure> {
        let mut key = Zeroizing::new([0u8; 16]);
        // Fewer than one key in 2^50 is weak, so two in a row mean a broken random number generator.
        for _ in 0..2 {
            fill_random(&mut *key)?;
            if self.suite == Suite::Tdes {
                set_odd_parity(&mut *key);
            }
            if mac_key_is_sound(self.suite, &key) {
                return Ok(key);
            }
        }
        Err(Failure::new(
            Exit::Io,
            "device: the system's random numbers are not random; do not use this machine",
        ))
    }

    /// Makes a fresh MACkey and returns it clear and wrapped.
    fn mac_key(
        &self,
        scope: &ApplicationScope<'_>,
        purpose: Purpose,
    ) -> Result<(Zeroizing<[u8; 16]>, Vec<u8>), Failure> {
        let key = self.fresh_key()?;
        let tk = scope.derive(self.kek, self.suite, purpose).map_err(|e| bug(&e))?;
        let wrapped = wrap_mac_key(&tk, self.suite, &key).map_err(|e| bug(&e))?;
        Ok((key, wrapped))
    }
}

/// Encrypts a value by CMODE 12: padded 80 00.., then CBC with zero IV.
fn sealed(tkd: &CipherKey, value: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    let mut sealed = Zeroizing::new(Vec::with_capacity(value.len() + tkd.block()));
    sealed.extend_from_slice(value);
    pad_80(&mut sealed, tkd.block());
    tkd.cbc_encrypt(&mut sealed)?;
    Ok(sealed)
}

fn bug(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Bug, format!("us: a card could not be protected: {error}"))
}

/// Returns the failure of a product whose tables ask for more than the layout of the file can hold.
fn layout(error: ChipError) -> Failure {
    Failure::new(Exit::Profile, format!("profile: [prep]: the chip section cannot be written: {error}"))
}
