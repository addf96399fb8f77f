//! Secret and computed values of a card: keys from master keys, PIN blocks, verification values.
//!
//! Every derivation begins here. EMV 4.3 Book 2 (Annex A1.4), ISO 9564-1. Not here: their encryption (`protect`).

use zeroize::Zeroizing;

use super::earlier::OpenedApplication;
use super::offline::{self, SignedValues};
use super::{IssuerState, derives, malformed};
use crate::crypto::payment::{card_key, cvv, pin, pvv};
use crate::crypto::{CipherKey, CryptoError, TdesKey, pad_80};
use crate::hsm::soft::fill_random;
use crate::hsm::store::{KeyStore, KeyUsage, SecretEntry};
use crate::hsm::{
    ApplicationToProtect, CardCodes, CardForCodes, CardKeyRef, CardToProtect, CodesRequest, DgiToProtect,
    HsmError, HsmRefusal, MasterKeyRef, ValuePart, WipedBytes,
};
use crate::ids::{Dgi, Kcv};
use crate::record::chip::EncType;

/// A value of an application in the clear. It has no `Debug` and is wiped when dropped.
pub struct ClearDgi {
    /// The DGI.
    pub dgi: Dgi,
    /// The value before it is encrypted for the file: not padded, a PIN block in ISO 9564 format 1.
    pub value: Zeroizing<Vec<u8>>,
    /// For a secret value: how it is sent to the card.
    pub enc: Option<EncType>,
}

impl ClearDgi {
    /// The value as a card with a DEK of 8-byte blocks holds it: ENC 12 padded 80 00.., ENC 22 in format 2.
    pub fn on_card(&self) -> Zeroizing<Vec<u8>> {
        let mut value = self.value.clone();
        match self.enc {
            None | Some(EncType::AsIs) => value,
            Some(EncType::Pad) => {
                pad_80(&mut value, 8);
                value
            }
            Some(EncType::PinBlock) => {
                Zeroizing::new(pin::format_1_to_2(&value).map_or_else(Vec::new, |block| block.to_vec()))
            }
        }
    }
}

/// Makes the values of a card's applications.
pub(super) struct ValueMaker<'a> {
    state: &'a IssuerState,
    issuer: &'a str,
    pin: Option<&'a [u8]>,
    /// Keys that were derived already: a key and its check value stand in two DGIs.
    derived: Vec<(&'a CardKeyRef, Zeroizing<Vec<u8>>)>,
}

/// What an application's values come from beside the issuer's keys.
struct ValueSources<'s> {
    signed: Option<&'s SignedValues>,
    earlier: Option<&'s OpenedApplication>,
}

impl<'a> ValueMaker<'a> {
    pub(super) fn new(state: &'a IssuerState, issuer: &'a str, card: &'a CardToProtect) -> Self {
        let pin = card.pin.as_ref().map(|pin| pin.as_slice());
        Self { state, issuer, pin, derived: Vec::new() }
    }

    /// The values of one application in file order. Secret parts are only for DGIs that are encrypted, a PIN block only for
    /// one that the bureau's HSM converts.
    pub(super) fn clear(
        &mut self,
        wanted: &'a ApplicationToProtect,
        earlier: Option<&OpenedApplication>,
    ) -> Result<Vec<ClearDgi>, HsmError> {
        let enc = |dgi| wanted.pdi.enc.iter().find(|(listed, _)| *listed == dgi).map(|(_, enc)| *enc);
        let signed = self.signed(wanted)?;
        let sources = ValueSources { signed: signed.as_ref(), earlier };
        let values = wanted.dgis.iter().map(|group| {
            let enc = enc(group.dgi);
            Ok(ClearDgi { dgi: group.dgi, value: self.value(group, enc, &sources)?, enc })
        });
        values.collect()
    }

    /// Signs what the application needs for offline data authentication.
    fn signed(&self, wanted: &ApplicationToProtect) -> Result<Option<SignedValues>, HsmError> {
        let Some(offline) = &wanted.offline else { return Ok(None) };
        let mut parts = wanted.dgis.iter().flat_map(|group| &group.parts);
        let wants_static = parts.any(|part| matches!(part, ValuePart::SignedStaticData));
        offline::sign(&self.state.rsa, offline, wants_static).map(Some)
    }

    fn value(
        &mut self,
        wanted: &'a DgiToProtect,
        enc: Option<EncType>,
        sources: &ValueSources<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, HsmError> {
        let refused = || HsmError::from(HsmRefusal::SecretInClear(wanted.dgi));
        let ValueSources { signed, earlier } = sources;
        let is_sent_encrypted = matches!(enc, Some(EncType::AsIs | EncType::Pad));
        let mut value = Zeroizing::new(Vec::with_capacity(256));
        for part in &wanted.parts {
            match part {
                ValuePart::Clear(bytes) => value.extend_from_slice(bytes),
                ValuePart::CardKey(key) if is_sent_encrypted => value.extend_from_slice(self.derive(key)?),
                ValuePart::CheckValue(key) => value.extend_from_slice(&self.kcv(key)?.0),
                ValuePart::PinBlock if enc == Some(EncType::PinBlock) && wanted.parts.len() == 1 => {
                    value.extend_from_slice(&*pin_block(self.pin)?);
                }
                ValuePart::Rsa(part) if is_sent_encrypted => {
                    let card = signed.and_then(|signed| signed.card.as_ref()).ok_or_else(unsigned)?;
                    value.extend_from_slice(card.part(*part));
                }
                ValuePart::CardCertificate => {
                    let card = signed.and_then(|signed| signed.card.as_ref()).ok_or_else(unsigned)?;
                    value.extend_from_slice(&card.certificate);
                }
                ValuePart::SignedStaticData => {
                    let data = signed.and_then(|signed| signed.static_data.as_ref()).ok_or_else(unsigned)?;
                    value.extend_from_slice(data);
                }
                ValuePart::Sealed if enc.is_some() => {
                    let sealed = earlier.and_then(|earlier| earlier.value(wanted.dgi));
                    value.extend_from_slice(sealed.ok_or_else(refused)?);
                }
                ValuePart::Sealed | ValuePart::CardKey(_) | ValuePart::PinBlock | ValuePart::Rsa(_) => {
                    return Err(refused());
                }
            }
        }
        Ok(value)
    }

    /// The key of a card, derived once.
    fn derive(&mut self, wanted: &'a CardKeyRef) -> Result<&[u8], HsmError> {
        let place = match self.derived.iter().position(|(known, _)| *known == wanted) {
            Some(place) => place,
            None => {
                let entry = master(&self.state.store, self.issuer, wanted.master)?;
                if !derives(entry.usage()) {
                    return Err(malformed("purpose of a master key"));
                }
                let number = text(&wanted.number, "account number")?;
                let psn = text(&wanted.psn, "PAN sequence number")?;
                let key = card_key(entry.key()?, wanted.method, number, psn);
                self.derived.push((wanted, key.map_err(|_| malformed("account number"))?));
                self.derived.len() - 1
            }
        };
        Ok(self.derived.get(place).map_or(&[], |(_, key)| key.as_slice()))
    }

    fn kcv(&mut self, wanted: &'a CardKeyRef) -> Result<Kcv, HsmError> {
        let tdes =
            matches!(master(&self.state.store, self.issuer, wanted.master)?.key()?, CipherKey::Tdes(_));
        let key = self.derive(wanted)?;
        let key = if tdes { CipherKey::tdes(key) } else { CipherKey::aes(key) };
        key.map(|key| key.kcv()).map_err(|_| malformed("derived key"))
    }
}

/// The fault of an application with a part that nothing in the request makes.
fn unsigned() -> HsmError {
    malformed("application: it has no RSA key pair")
}

fn pin_block(digits: Option<&[u8]>) -> Result<Zeroizing<[u8; 8]>, HsmError> {
    let digits = text(digits.unwrap_or_default(), "PIN")?;
    let mut random = Zeroizing::new([0u8; 8]);
    fill_random(&mut *random)?;
    pin::format_1(digits, &random).map_err(|_| malformed("PIN"))
}

/// The verification values of cards.
pub(super) fn codes(store: &KeyStore, request: &CodesRequest) -> Result<Vec<CardCodes>, HsmError> {
    let cvk = verification_key(store, &request.issuer, request.cvk, KeyUsage::Cvk)?;
    let pvk = match request.pvk {
        Some(pvk) => Some((verification_key(store, &request.issuer, pvk, KeyUsage::Pvk)?, pvk.version)),
        None => None,
    };
    request.cards.iter().map(|card| card_codes(cvk, pvk, card)).collect()
}

fn card_codes(
    cvk: &TdesKey,
    pvk: Option<(&TdesKey, u8)>,
    card: &CardForCodes,
) -> Result<CardCodes, HsmError> {
    let pan = text(&card.pan, "account number")?;
    let (expiry, service) = (text(&card.expiry, "expiry")?, text(&card.service, "service code")?);
    let (year, month) = expiry.split_at_checked(2).ok_or_else(|| malformed("expiry"))?;
    let value = |expiry: &str, service: &str| {
        cvv(cvk, pan, expiry, service).map(|digits| WipedBytes::from(digits.as_bytes()))
    };
    let all = || -> Result<CardCodes, CryptoError> {
        let pvv = match (pvk, &card.pin) {
            (Some((pvk, index)), Some(pin)) => {
                let pin = std::str::from_utf8(pin).map_err(|_| CryptoError::Length)?;
                Some(WipedBytes::from(pvv(pvk, pan, index, pin)?.as_bytes()))
            }
            _ => None,
        };
        let printed = Zeroizing::new([month, year].concat());
        Ok(CardCodes {
            cvv: value(expiry, service)?,
            icvv: value(expiry, "999")?,
            cvv2: value(&printed, "000")?,
            pvv,
        })
    };
    all().map_err(|_| malformed("account number or PIN"))
}

fn verification_key<'s>(
    store: &'s KeyStore,
    issuer: &str,
    wanted: MasterKeyRef,
    usage: KeyUsage,
) -> Result<&'s TdesKey, HsmError> {
    match master(store, issuer, wanted)?.key()? {
        CipherKey::Tdes(key) if wanted.usage == usage => Ok(key),
        _ => Err(malformed("purpose of a verification key")),
    }
}

/// A key of the issuer.
fn master<'s>(store: &'s KeyStore, issuer: &str, wanted: MasterKeyRef) -> Result<&'s SecretEntry, HsmError> {
    let mut masters = store.entries().iter().filter(|entry| entry.usage().is_master());
    let found = masters
        .find(|entry| (entry.usage(), entry.id(), entry.version()) == (wanted.usage, issuer, wanted.version));
    found.ok_or_else(|| HsmError::UnknownMaster {
        usage: wanted.usage,
        issuer: issuer.to_owned(),
        version: wanted.version,
    })
}

/// Digits of a request as text.
fn text<'t>(digits: &'t [u8], what: &'static str) -> Result<&'t str, HsmError> {
    let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    text.filter(|text| !text.is_empty()).ok_or_else(|| malformed(what))
}
