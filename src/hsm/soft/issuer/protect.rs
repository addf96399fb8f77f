//! Protects the applications of a file: encrypts values under TKd, makes a fresh MACkey and a MAC for each application and
//! for the Trailer (`src/manual/cwf1.md` sections 3 and 5).
//!
//! The CMODE is always 12: CBC, padded 80 00... Not here: the values (`values`), the layout (`record`).

use zeroize::Zeroizing;

use super::IssuerState;
use super::earlier::EarlierFile;
use super::values::{ClearDgi, ValueMaker};
use crate::crypto::{
    ApplicationScope, CipherKey, CryptoError, Purpose, Suite, application_mac_input, mac_key_is_sound,
    pad_80, set_odd_parity, trailer_mac_input, wrap_mac_key,
};
use crate::hsm::soft::{fill_random, verify};
use crate::hsm::store::{KekRules, KeyStore};
use crate::hsm::{
    ApplicationToProtect, CardToProtect, DataFault, HsmError, ProtectRequest, ProtectedCard, TrailerEnd,
    TrailerToProtect, WipedBytes,
};
use crate::record::chip::{ChipApplication, Cmode, DgiValue};

/// A KEK with its rules.
struct FileKey<'s> {
    key: &'s CipherKey,
    rules: &'s KekRules,
}

/// The applications of the cards of a request.
pub(super) fn cards(state: &IssuerState, request: &ProtectRequest) -> Result<Vec<ProtectedCard>, HsmError> {
    let (entry, rules) = verify::issuers_kek(&state.store, request.kek, &request.issuer_id)?;
    let kek = FileKey { key: entry.key()?, rules };
    let one = |card: &CardToProtect| {
        let mut values = ValueMaker::new(state, &request.issuer, card);
        let protect = |application| kek.application(request, card, application, &mut values);
        card.applications.iter().map(protect).collect::<Result<ProtectedCard, _>>()
    };
    request.cards.iter().map(one).collect()
}

impl FileKey<'_> {
    fn application<'c>(
        &self,
        request: &ProtectRequest,
        card: &CardToProtect,
        wanted: &'c ApplicationToProtect,
        values: &mut ValueMaker<'c>,
    ) -> Result<WipedBytes, HsmError> {
        let scope = ApplicationScope {
            kind: request.kind,
            issuer_id: request.issuer_id.as_str(),
            file_id: request.file_id.as_str(),
            sequence: card.sequence,
            card_ref: card.card_ref.as_str(),
            aid: wanted.aid.as_bytes(),
        };
        let wrong =
            |what: String| HsmError::Data { aid: wanted.aid.to_string(), fault: DataFault::Malformed(what) };
        let level = wanted.pdi.level;
        if !wanted.pdi.enc.is_empty() && !level.covers(self.rules.min_seclev) {
            let fault = DataFault::LevelBelowMinimum(level.into());
            return Err(HsmError::Data { aid: wanted.aid.to_string(), fault });
        }
        let file = EarlierFile { request, card, kek: self.key, rules: self.rules };
        let earlier = wanted.earlier.as_ref().map(|earlier| file.open(wanted, earlier)).transpose()?;
        let dgis = self.sealed(&scope, values.clear(wanted, earlier.as_ref())?)?;
        let (mac_key, wrapped_mac_key) = self.mac_key(&scope, Purpose::MacKey)?;
        let mut application = ChipApplication {
            aid: wanted.aid.clone(),
            kek: self.rules.id,
            tk_type: self.rules.suite.tk_type(),
            cmode: Cmode::CbcPadded,
            protected: wanted.pdi.enc.iter().map(|(dgi, _)| *dgi).collect(),
            pdi: wanted.pdi.clone(),
            log: wanted.log.clone(),
            dgis,
            wrapped_mac_key,
            mac: vec![0; self.rules.suite.mac_length()],
            raw: WipedBytes::default(),
            maced: 0..0,
        };
        let mut raw = application.encode().map_err(|e| wrong(e.to_string()))?;
        // From the length byte of `L1 AID`, which follows the one of 3a.1, to the last byte of the wrapped MACkey.
        let end = raw.len().saturating_sub(application.mac.len());
        let maced = raw.get(1..end).ok_or_else(|| failed(CryptoError::Length))?;
        let input = application_mac_input(&scope, &card.others, maced).map_err(failed)?;
        let key = scope.blinded(self.key, self.rules.suite, Purpose::Blind, &mac_key).map_err(failed)?;
        application.mac = key.mac(&input);
        if let Some(place) = raw.get_mut(end..) {
            place.copy_from_slice(&application.mac);
        }
        Ok(raw.into())
    }

    /// Encrypts the secret ones of an application's values under TKd.
    fn sealed(&self, scope: &ApplicationScope<'_>, clear: Vec<ClearDgi>) -> Result<Vec<DgiValue>, HsmError> {
        let has_secrets = clear.iter().any(|dgi| dgi.enc.is_some());
        let tkd = has_secrets.then(|| self.derive(scope, Purpose::Data)).transpose()?;
        let sealed = clear.into_iter().map(|ClearDgi { dgi, mut value, enc }| {
            if let (Some(tkd), Some(_)) = (&tkd, enc) {
                seal(tkd, &mut value).map_err(failed)?;
            }
            Ok(DgiValue { dgi, value: value.into() })
        });
        sealed.collect()
    }

    fn derive(&self, scope: &ApplicationScope<'_>, purpose: Purpose) -> Result<CipherKey, HsmError> {
        scope.derive(self.key, self.rules.suite, purpose).map_err(failed)
    }

    /// Makes a fresh MACkey and returns it clear and wrapped.
    fn mac_key(
        &self,
        scope: &ApplicationScope<'_>,
        purpose: Purpose,
    ) -> Result<(Zeroizing<[u8; 16]>, Vec<u8>), HsmError> {
        let suite = self.rules.suite;
        let key = fresh_key(suite)?;
        let wrapped = wrap_mac_key(&self.derive(scope, purpose)?, suite, &key).map_err(failed)?;
        Ok((key, wrapped))
    }
}

/// The end of a file's Trailer.
pub(super) fn trailer(store: &KeyStore, request: &TrailerToProtect) -> Result<TrailerEnd, HsmError> {
    let (entry, rules) = verify::issuers_kek(store, request.kek, &request.issuer_id)?;
    let kek = FileKey { key: entry.key()?, rules };
    let scope = ApplicationScope::trailer(request.kind, request.issuer_id.as_str(), request.file_id.as_str());
    let (mac_key, wrapped_mac_key) = kek.mac_key(&scope, Purpose::TrailerKey)?;
    let key = scope.blinded(kek.key, rules.suite, Purpose::TrailerBlind, &mac_key).map_err(failed)?;
    let mut body = request.head.clone();
    body.push(u8::try_from(wrapped_mac_key.len()).map_err(|_| failed(CryptoError::Length))?);
    body.extend_from_slice(&wrapped_mac_key);
    Ok(TrailerEnd { mac: key.mac(&trailer_mac_input(request.kind, &body)), wrapped_mac_key })
}

/// Draws 16 random bytes that can be a MACkey.
fn fresh_key(suite: Suite) -> Result<Zeroizing<[u8; 16]>, HsmError> {
    let mut key = Zeroizing::new([0u8; 16]);
    // Fewer than one key in 2^50 is weak, so two in a row mean a broken random number generator.
    for _ in 0..2 {
        fill_random(&mut *key)?;
        if suite == Suite::Tdes {
            set_odd_parity(&mut *key);
        }
        if mac_key_is_sound(suite, &key) {
            return Ok(key);
        }
    }
    Err(HsmError::Host("the system's random numbers are not random; do not use this machine".into()))
}

/// Encrypts a value by CMODE 12: padded 80 00.., then CBC with zero IV.
fn seal(tkd: &CipherKey, value: &mut Zeroizing<Vec<u8>>) -> Result<(), CryptoError> {
    pad_80(value, tkd.block());
    tkd.cbc_encrypt(value)
}

fn failed(error: CryptoError) -> HsmError {
    HsmError::Host(format!("a card could not be protected: {error}"))
}
