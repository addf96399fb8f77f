//! Checks of a file's Trailer and applications: MACs first, then every protected value and every rule of protection.
//!
//! No value is decrypted before the MAC was found right, and one answer covers every fault of MAC and MACkey, so
//! there is no padding oracle (`src/manual/cwf1.md`).

use std::fmt::Display;

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

use super::key_work::{KeyShelf, OpenFault, TransportKey, WorkKey};
use super::secrets;
use crate::crypto::{
    ApplicationScope, FileKind, Purpose, Suite, application_mac_input, trailer_mac_input, unwrap_mac_key,
};
use crate::hsm::store::{KekRules, KeyStore, SecretEntry};
use crate::hsm::{
    ApplicationToVerify, CheckRequest, CheckedApplication, DataFault, HsmError, RecordToVerify,
    TrailerRequest,
};
use crate::ids::{Aid, CardRef, Dgi, FileId, IssuerId, KekId, KmcRef};
use crate::record::chip::{ApplicationView, Cmode, EncType, SectionScratch};
use crate::scp::SecLevel;

/// Blocks of DEK ciphers: TDES has 8, AES 16.
const CARD_BLOCKS: [u8; 2] = [8, 16];

/// The value that a DGI must have when its card is personalized.
#[derive(Clone)]
pub(super) enum ExpectedValue {
    /// Clear, with this length and SHA-256.
    Clear(usize, [u8; 32]),
    /// Secret already under a key of the card: as `Clear`, but sent as encrypted.
    PassThrough(usize, [u8; 32]),
    /// To be encrypted under the session DEK: a multiple of the card's block.
    Protected(Zeroizing<Vec<u8>>),
}

/// A verified application, opened.
#[derive(Clone)]
pub(super) struct PreparedApplication {
    pub(super) aid: Aid,
    pub(super) kek: KekId,
    pub(super) allow: Vec<KmcRef>,
    pub(super) level: SecLevel,
    pub(super) card_block: u8,
    pub(super) values: Vec<(Dgi, ExpectedValue)>,
}

impl PreparedApplication {
    /// Protected DGIs with the length that the card gets.
    pub(super) fn protected(&self) -> Result<Vec<(Dgi, u16)>, HsmError> {
        let protected = self.values.iter().filter_map(|(dgi, expected)| match expected {
            ExpectedValue::Protected(value) => Some((*dgi, value.len())),
            ExpectedValue::Clear(..) | ExpectedValue::PassThrough(..) => None,
        });
        protected
            .map(|(dgi, length)| match u16::try_from(length) {
                Ok(length) => Ok((dgi, length)),
                Err(_) => Err(fault(self.aid.as_bytes(), DataFault::Padding(dgi))),
            })
            .collect()
    }
}

fn fault(aid: &[u8], fault: DataFault) -> HsmError {
    HsmError::Data { aid: hex::encode_upper(aid), fault }
}

/// The KEK that a file names, if type and issuer are those of the store.
fn kek<'s>(
    store: &'s KeyStore,
    id: KekId,
    tk_type: u8,
    issuer_id: &IssuerId,
) -> Result<(&'s SecretEntry, &'s KekRules), HsmError> {
    let (entry, rules) = issuers_kek(store, id, issuer_id)?;
    if rules.suite.tk_type() != tk_type {
        return Err(HsmError::KekMismatch(id));
    }
    Ok((entry, rules))
}

/// A KEK of this issuer.
pub(super) fn issuers_kek<'s>(
    store: &'s KeyStore,
    id: KekId,
    issuer_id: &IssuerId,
) -> Result<(&'s SecretEntry, &'s KekRules), HsmError> {
    let (entry, rules) = store.kek(id).ok_or(HsmError::UnknownKek(id))?;
    if rules.issuer_id != *issuer_id {
        return Err(HsmError::KekIssuer(id));
    }
    Ok((entry, rules))
}

/// Whether a MAC under a wrapped and blinded MACkey is right. Takes the same steps for every fault.
fn mac_is_right(
    scope: &ApplicationScope<'_>,
    kek: &WorkKey<'_>,
    suite: Suite,
    (wrap, blind): (Purpose, Purpose),
    wrapped: &[u8],
    input: &[u8],
    mac: &[u8],
) -> Result<bool, OpenFault> {
    let mac_key = unwrap_mac_key(&scope.derive(kek, suite, wrap)?, suite, wrapped);
    // No early return: with an unsound key the steps go on with zeros, so that both faults take equal time.
    let sound = Choice::from(u8::from(mac_key.is_some()));
    let mac_key = mac_key.unwrap_or_default();
    let computed = scope.blinded(kek, suite, blind, &mac_key)?.mac(input);
    Ok(bool::from(sound & computed.ct_eq(mac)))
}

/// Checks the MAC of the Trailer of a file of this kind.
pub(super) fn trailer(keys: KeyShelf<'_>, kind: FileKind, request: &TrailerRequest) -> Result<(), HsmError> {
    let (entry, rules) = kek(keys.store, request.kek, request.tk_type, &request.issuer_id)?;
    if entry.kcv() != request.kcv {
        return Err(HsmError::KekMismatch(request.kek));
    }
    let scope = ApplicationScope::trailer(kind, request.issuer_id.as_str(), request.file_id.as_str());
    let right = mac_is_right(
        &scope,
        &keys.work(entry)?,
        rules.suite,
        (Purpose::TrailerKey, Purpose::TrailerBlind),
        &request.wrapped_mac_key,
        &trailer_mac_input(kind, &request.body),
        &request.mac,
    );
    // The MAC must cover the key that it was made with.
    match right {
        Ok(true) if request.body.ends_with(&request.wrapped_mac_key) => Ok(()),
        Ok(_) | Err(OpenFault::Data(_)) => Err(HsmError::TrailerMac),
        Err(OpenFault::Hsm(error)) => Err(error),
    }
}

/// An application with what its keys and its rules depend on.
pub(super) struct CheckSubject<'a> {
    issuer_id: &'a IssuerId,
    file_id: &'a FileId,
    sequence: u32,
    card_ref: &'a CardRef,
    others: &'a [u8; 32],
    application: &'a [u8],
    card_block: u8,
    pass_through: &'a [Dgi],
    allow_ecb: bool,
}

/// The applications of a record, in its order.
pub(super) fn applications(record: &RecordToVerify) -> impl Iterator<Item = CheckSubject<'_>> {
    record.applications.iter().map(|ApplicationToVerify { bytes, pass_through }| CheckSubject {
        issuer_id: &record.issuer_id,
        file_id: &record.file_id,
        sequence: record.sequence,
        card_ref: &record.card_ref,
        others: &record.others,
        application: bytes,
        card_block: record.card_block,
        pass_through,
        allow_ecb: record.allow_ecb,
    })
}

/// The applications of a request, in its order.
pub(super) fn subjects(request: &CheckRequest) -> impl Iterator<Item = CheckSubject<'_>> {
    request.applications().map(|CheckedApplication { record, application, pass_through }| CheckSubject {
        issuer_id: &request.issuer_id,
        file_id: &request.file_id,
        sequence: record.sequence,
        card_ref: &record.card_ref,
        others: &record.others,
        application,
        card_block: request.card_block,
        pass_through,
        allow_ecb: request.allow_ecb,
    })
}

/// A value of an application whose MAC is right.
enum OpenedValue<'a> {
    Clear(&'a [u8]),
    PassThrough(&'a [u8]),
    /// As the card gets it, before its encryption under the session DEK.
    Protected(Zeroizing<Vec<u8>>),
}

/// Checks one application and keeps nothing of it.
pub(super) fn check(
    keys: KeyShelf<'_>,
    subject: &CheckSubject<'_>,
    scratch: &mut SectionScratch,
) -> Result<(), HsmError> {
    let application = parsed(subject, scratch)?;
    opened(keys, &application, subject, |_, value| drop(value)).map(drop)
}

/// Checks one application and keeps it for a session.
pub(super) fn application(
    keys: KeyShelf<'_>,
    subject: &CheckSubject<'_>,
) -> Result<PreparedApplication, HsmError> {
    let application = parsed(subject, &mut SectionScratch::default())?;
    let mut values = Vec::new();
    let rules = opened(keys, &application, subject, |dgi, value| {
        let digest = |value: &[u8]| (value.len(), Sha256::digest(value).into());
        let expected = match value {
            OpenedValue::Clear(value) => {
                let (length, digest) = digest(value);
                ExpectedValue::Clear(length, digest)
            }
            OpenedValue::PassThrough(value) => {
                let (length, digest) = digest(value);
                ExpectedValue::PassThrough(length, digest)
            }
            OpenedValue::Protected(value) => ExpectedValue::Protected(value),
        };
        values.push((dgi, expected));
    })?;
    Ok(PreparedApplication {
        level: application.level,
        aid: Aid::new(application.aid).map_err(unreadable)?,
        kek: rules.id,
        allow: rules.allow.clone(),
        card_block: subject.card_block,
        values,
    })
}

fn parsed<'a>(
    subject: &CheckSubject<'a>,
    scratch: &mut SectionScratch,
) -> Result<ApplicationView<'a>, HsmError> {
    if !CARD_BLOCKS.contains(&subject.card_block) {
        return Err(HsmError::Unsupported(format!("a card block of {} bytes", subject.card_block)));
    }
    ApplicationView::parse(subject.application, 0, scratch).map_err(unreadable)
}

fn unreadable(error: impl Display) -> HsmError {
    HsmError::Data { aid: "not readable".into(), fault: DataFault::Malformed(error.to_string()) }
}

/// Checks one application: its MAC, then its rules, then its values, each of which `each` gets. This order must not
/// change: see the module. Returns the rules of its KEK.
fn opened<'s>(
    keys: KeyShelf<'s>,
    application: &ApplicationView<'_>,
    subject: &CheckSubject<'_>,
    each: impl FnMut(Dgi, OpenedValue<'_>),
) -> Result<&'s KekRules, HsmError> {
    let tk_type = application.suite.tk_type();
    let (entry, rules) = kek(keys.store, application.kek, tk_type, subject.issuer_id)?;
    let key = keys.work(entry)?;
    let scope = ApplicationScope {
        // No bureau has to do with an unfinished file.
        kind: FileKind::Finished,
        issuer_id: subject.issuer_id.as_str(),
        file_id: subject.file_id.as_str(),
        sequence: subject.sequence,
        card_ref: subject.card_ref.as_str(),
        aid: application.aid,
    };
    let wrong = |what| fault(application.aid, what);
    let mac = application_mac(application, subject.others, &scope, &key);
    mac.map_err(|fault| fault.about(wrong))?;

    consistent(application, subject).map_err(wrong)?;
    if application.has_secrets() && !application.level.covers(rules.min_seclev) {
        return Err(wrong(DataFault::LevelBelowMinimum(application.level.into())));
    }

    let tk = key.transport_key(&scope, rules.suite).map_err(|fault| fault.about(wrong))?;
    values(application, subject, &tk, each).map_err(|fault| fault.about(wrong))?;
    Ok(rules)
}

/// Checks an application's MAC.
pub(super) fn application_mac(
    application: &ApplicationView<'_>,
    others: &[u8; 32],
    scope: &ApplicationScope<'_>,
    kek: &WorkKey<'_>,
) -> Result<(), OpenFault> {
    let input = application_mac_input(scope, others, application.maced())?;
    let purposes = (Purpose::MacKey, Purpose::Blind);
    let (wrapped, mac) = (application.wrapped_mac_key, application.mac);
    if mac_is_right(scope, kek, application.suite, purposes, wrapped, &input, mac)? {
        Ok(())
    } else {
        Err(DataFault::Mac.into())
    }
}

/// Calls `each` with the value of each DGI; protected ones are opened under the TK.
fn values(
    application: &ApplicationView<'_>,
    subject: &CheckSubject<'_>,
    tk: &TransportKey,
    mut each: impl FnMut(Dgi, OpenedValue<'_>),
) -> Result<(), OpenFault> {
    for (dgi, value) in application.dgis() {
        let opened = match application.enc(dgi) {
            Some(enc) if application.is_protected(dgi) => {
                let mut value = secrets::open(tk, application.cmode, dgi, value)?;
                secrets::for_card(enc, dgi, &mut value, subject.card_block.into())?;
                OpenedValue::Protected(value)
            }
            _ if subject.pass_through.contains(&dgi) => OpenedValue::PassThrough(value),
            _ => OpenedValue::Clear(value),
        };
        each(dgi, opened);
    }
    Ok(())
}

/// The rules of protection (`src/manual/cwf1.md`, chip section): a DGI under the TK is in ENC; one in ENC without the
/// TK is marked as pass-through by the product, and cannot be padded or converted here; ECB only where the product
/// allows it.
fn consistent(application: &ApplicationView<'_>, subject: &CheckSubject<'_>) -> Result<(), DataFault> {
    for (dgi, value) in application.dgis() {
        let passes = subject.pass_through.contains(&dgi);
        match (application.is_protected(dgi), application.enc(dgi)) {
            (true, Some(_)) => {}
            (false, None) if !passes => {}
            (false, None | Some(EncType::AsIs)) if passes => {
                if !value.len().is_multiple_of(subject.card_block.into()) {
                    return Err(DataFault::Padding(dgi));
                }
            }
            _ => return Err(DataFault::Protection(dgi)),
        }
    }
    match application.protected().next() {
        Some(dgi) if matches!(application.cmode, Cmode::Ecb | Cmode::EcbPadded) && !subject.allow_ecb => {
            Err(DataFault::Protection(dgi))
        }
        _ => Ok(()),
    }
}
