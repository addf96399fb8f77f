//! The rules for `[prep.application.offline]`: what a terminal reads must be whole and agree with itself.
//!
//! Not here: the values (`prep::offline`).

use super::{ApplicationPlan, DataGroupPlan, OfflinePlan};
use crate::crypto::rsa::PublicExponent;
use crate::prep::columns::Column;
use crate::prep::fields::CardField;
use crate::prep::offline::{CardKeySize, KEY_BITS_MAX, OfflineMethod};
use crate::prep::tables;

/// Static data authentication tag list.
const TAG_LIST: [u8; 2] = [0x9F, 0x4A];

/// Reads the table.
pub(super) fn plan(table: tables::OfflineTable) -> Result<OfflinePlan, String> {
    let tables::OfflineTable { method, aip, sign_aip, issuer_key, card_key, code, number } = table;
    let card_key = card_key.map(toml::Spanned::into_inner);
    match card_key {
        Some(_) if !method.has_card_key() => {
            return Err("offline: cards with method sda have no card_key".into());
        }
        None if method.has_card_key() => {
            return Err("offline: all methods but sda need card_key = { bits = .., exponent = .. }".into());
        }
        Some(size) => check_size(size)?,
        None => {}
    }
    if aip.is_some() != method.has_profile() || sign_aip && !method.has_profile() {
        return Err(
            "offline: all methods but certificates need aip; that one has neither aip nor sign_aip".into()
        );
    }
    if code.is_some() != (method == OfflineMethod::Sda) {
        return Err("offline: code belongs to method sda, which needs it".into());
    }
    let number = match number.as_deref() {
        None | Some("pan") => Column::Pan,
        Some("purse_id") => Column::PurseId,
        Some(other) => return Err(format!("offline: number is pan or purse_id, not {other:?}")),
    };
    let aip = aip.map_or(Ok([0; 2]), |aip| two_bytes("aip", &aip))?;
    let code = code.map_or(Ok([0; 2]), |code| two_bytes("code", &code))?;
    Ok(OfflinePlan { method, aip, sign_aip, issuer_key, card_key, code, number })
}

/// Checks size and exponent of cards' keys.
fn check_size(size: CardKeySize) -> Result<(), String> {
    let CardKeySize { bits, exponent } = size;
    if !(1024..=KEY_BITS_MAX).contains(&bits) || !bits.is_multiple_of(8) {
        return Err(format!(
            "offline: card_key.bits is a multiple of 8 from 1024 to {KEY_BITS_MAX}, because the certificate of a longer \
             key fits no record; this is {bits}"
        ));
    }
    PublicExponent::new(exponent)
        .map(drop)
        .map_err(|_| format!("offline: card_key.exponent is 3 or 65537, not {exponent}"))
}

fn two_bytes(key: &str, text: &str) -> Result<[u8; 2], String> {
    let mut bytes = [0; 2];
    hex::decode_to_slice(text, &mut bytes)
        .map_err(|_| format!("offline: {key} is 2 bytes in hex, not {text:?}"))?;
    Ok(bytes)
}

/// Checks the DGIs of an application against its method.
pub(super) fn check(application: &ApplicationPlan) -> Result<(), String> {
    let fields: Vec<CardField> = application.dgis.iter().flat_map(|group| group.value.fields()).collect();
    let static_records = || application.dgis.iter().filter(|group| group.is_static);
    let Some(offline) = &application.offline else {
        if let Some(field) = fields.iter().find(|field| field.is_offline()) {
            return Err(format!("{} needs the table offline", field.name()));
        }
        return match static_records().next() {
            Some(group) => Err(format!("DGI {}: static needs the table offline", group.dgi)),
            None => Ok(()),
        };
    };
    let needed = offline.method.fields();
    if let Some(missing) = needed.iter().find(|field| !fields.contains(field)) {
        return Err(format!(
            "offline: without {} in a DGI no terminal can authenticate a card",
            missing.name()
        ));
    }
    if let Some(strange) = fields.iter().find(|field| field.is_offline() && !needed.contains(field)) {
        return Err(format!("offline: the method does not use {}", strange.name()));
    }
    static_records().try_for_each(check_static)?;
    if static_records().next().is_none() {
        return Err("offline: no record is static, so nothing of the card would be signed".into());
    }
    if offline.sign_aip != static_records().any(|group| group.value.holds_tag(&TAG_LIST)) {
        return Err("offline: sign_aip = true and 9F4A{82} in a static record belong together".into());
    }
    Ok(())
}

/// Most bytes of an answer's data: so many a command with a short Le asks for (ISO/IEC 7816-4).
const ANSWER_MAX: usize = 256;
/// Bytes of a signed answer to GENERATE AC that are neither signature nor issuer application data (EMV Book 3, 6.5.5.4):
///
/// ```text
/// 77 81 xx | 9F27 01 .. | 9F36 02 .. .. | 9F4B 81 xx signature | 9F10 xx issuer application data
/// ```
const ANSWER_AROUND: usize = 3 + 4 + 5 + 4 + 3;
/// Issuer application data (9F10), and their most bytes (EMV Book 3, Annex A).
const ISSUER_DATA: [u8; 2] = [0x9F, 0x10];
const ISSUER_DATA_MAX: usize = 32;

/// Checks that a signed answer to GENERATE AC is not too long for the card: the signature is as long as the card's modulus.
/// The length of the issuer application data counts as the most where no template states it.
pub(super) fn check_answer(application: &ApplicationPlan) -> Result<(), String> {
    let Some(offline) = &application.offline else { return Ok(()) };
    let (OfflineMethod::Cda, Some(size)) = (offline.method, offline.card_key) else { return Ok(()) };
    let stated = application.dgis.iter().filter_map(|group| group.value.length_of(&ISSUER_DATA)).max();
    let issuer_data = stated.unwrap_or(ISSUER_DATA_MAX);
    let most = ANSWER_MAX.saturating_sub(ANSWER_AROUND + issuer_data) * 8;
    if usize::from(size.bits) <= most {
        return Ok(());
    }
    Err(format!(
        "offline: card_key.bits is at most {most} for method cda, not {}: the answer to GENERATE AC holds a signature as long \
         as the key, and with 9F10 of {issuer_data} bytes it would have more than {ANSWER_MAX} bytes",
        size.bits
    ))
}

/// Checks a static record: it cannot hold its own signature.
fn check_static(group: &DataGroupPlan) -> Result<(), String> {
    let dgi = group.dgi;
    if !(0x01..=0x1E).contains(&(dgi.0 >> 8)) || group.enc.is_some() {
        return Err(format!("DGI {dgi}: only records of SFI 1 to 30 can be static"));
    }
    let made = [CardField::CardCertificate, CardField::SignedData];
    match group.value.fields().into_iter().find(|field| made.contains(field)) {
        Some(field) => Err(format!("DGI {dgi}: a static record cannot hold {}", field.name())),
        None => Ok(()),
    }
}
