//! The rules of keys: the one place where a key gets into a store, whatever the way it came. Messages never quote a value, nor
//! a check value that was computed from one that is refused.
//!
//! Not here: how a key list is written (`list`), doubts about values (`doubt`).

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::body::StoreBody;
use super::doubt::{self, KeyDoubt};
use super::entry::{EntryRole, KekRules, KeyPlace, KeyTerms, KeyUsage, SecretEntry, StoreSide};
use crate::crypto::{CipherKey, KcvMethod, KeyType, set_odd_parity};
use crate::exit::{Exit, Failure};
use crate::hsm::Realm;
use crate::ids::{IssuerId, Kcv, KekId, KmcRef};
use crate::scp::{KeyDerivation, SecLevel};

/// Most characters of a label.
pub(super) const MAX_LABEL: usize = 64;
/// The form of every identifier but a KMC's.
const ISSUER_RULE: &str = "is the issuer identifier, up to 8 digits, padded on the right with F to 8";

/// The realm and side of a store, which decide the rules of its keys.
#[derive(Clone, Copy)]
pub(super) struct StoreRules {
    pub(super) realm: Realm,
    pub(super) side: StoreSide,
}

/// Takes a key into a store whose other keys these are. A stated check value must be right. Only a key list may
/// state none, and a store that is read states none.
pub(super) fn admit(
    terms: KeyTerms,
    value: &[u8],
    stated: Option<Kcv>,
    keeps: StoreRules,
    others: &StoreBody,
) -> Result<SecretEntry, Failure> {
    let role = check_terms(&terms, keeps, others)?;
    let refused = |what: String| refuse(format!("{:?}: {what}", terms.label));
    let kept = canonical(terms.key_type, value);
    let key = cipher_key(terms.key_type, &kept).map_err(refused)?;
    if let Some(stated) = stated {
        check_kcv(&key, stated)
            .map_err(|what| Failure::new(Exit::KeyMismatch, format!("key: {:?}: {what}", terms.label)))?;
    }
    is_new_value(&terms, (&kept, key.kcv()), keeps.realm, others)?;
    let odd_parity = value == kept.as_slice();
    let doubt = doubt::about(terms.key_type, &kept);
    match doubt {
        Some(doubt) if keeps.realm == Realm::Live => Err(refused(live_refuses(doubt))),
        _ => Ok(SecretEntry { terms, place: KeyPlace::Value(key), odd_parity, doubt, role }),
    }
}

/// Takes a key whose value lies in a token, as this object, into a store with these other keys. The store does not see the value:
/// it compares the key with others by the check value alone, and does not notice a weak one.
pub(super) fn admit_in_token(
    terms: KeyTerms,
    object: String,
    kcv: Kcv,
    keeps: StoreRules,
    others: &StoreBody,
) -> Result<SecretEntry, Failure> {
    let role = check_terms(&terms, keeps, others)?;
    let refused = |what: String| Err(refuse(format!("{:?}: {what}", terms.label)));
    if keeps.side != StoreSide::Bureau || !matches!(terms.usage, KeyUsage::Kmc | KeyUsage::Kek) {
        return refused("only a KMC or KEK of a bureau's store may lie in a token".into());
    }
    if !is_label(&object) {
        return refused(format!(
            "token is the label of an object: 1 to {MAX_LABEL} printable ASCII characters"
        ));
    }
    if let Some(other) = others.entries.iter().find(|other| other.token_object() == Some(object.as_str())) {
        return refused(format!(
            "{:?} is this object of the token already; each key has its own",
            other.label()
        ));
    }
    if others.gone.iter().any(|gone| gone.key_type == terms.key_type && gone.kcv.1 == kcv) {
        return Err(was_destroyed(&terms.label));
    }
    let entry =
        SecretEntry { terms, place: KeyPlace::Token { object, kcv }, odd_parity: true, doubt: None, role };
    is_new_entry(&entry, keeps.realm, others)?;
    Ok(entry)
}

/// Refuses a key whose check value another has, where each key has a value of its own.
fn is_new_entry(entry: &SecretEntry, realm: Realm, others: &StoreBody) -> Result<(), Failure> {
    let is_it = |other: &&SecretEntry| {
        let apart = realm == Realm::Live || entry.kek().is_some() && other.kek().is_some();
        apart && other.key_type() == entry.key_type() && other.kcv() == entry.kcv()
    };
    match others.entries.iter().find(is_it) {
        Some(other) => Err(refuse(format!(
            "{:?} and {:?} have the same KCV, so their values may be the same; each needs its own",
            other.label(),
            entry.label()
        ))),
        None => Ok(()),
    }
}

/// Checks the terms of a key before its value is known.
pub(super) fn check_terms(
    terms: &KeyTerms,
    keeps: StoreRules,
    others: &StoreBody,
) -> Result<EntryRole, Failure> {
    let role = check_own_terms(terms, keeps)?;
    is_new(terms, others)?;
    Ok(role)
}

/// Checks the terms of a key without those of other keys.
pub(super) fn check_own_terms(terms: &KeyTerms, keeps: StoreRules) -> Result<EntryRole, Failure> {
    if !is_label(&terms.label) {
        return Err(refuse(format!("a label is not 1 to {MAX_LABEL} printable ASCII characters")));
    }
    let refused = |what: String| refuse(format!("{:?}: {what}", terms.label));
    let side = keeps.side;
    if !terms.usage.allowed(side) {
        return Err(refused(format!(
            "a {side} key store holds KEK, KMC and ZMK only; {} is an issuer's key and never leaves the issuer",
            terms.usage
        )));
    }
    let role = role(terms).map_err(refused)?;
    if terms.usage == KeyUsage::Kmc && !KeyDerivation::any_takes(terms.key_type) {
        return Err(refused(format!(
            "no secure channel of this version derives card keys from a KMC of type {}",
            terms.key_type
        )));
    }
    Ok(role)
}

/// The message about a value that only a TEST store takes.
pub(super) fn live_refuses(doubt: KeyDoubt) -> String {
    format!("{doubt}: a LIVE store refuses it; ask the partner for another key")
}

/// The failure of a key that is refused.
pub(super) fn refuse(what: impl Into<String>) -> Failure {
    Failure::new(Exit::KeyStore, format!("key: {}", what.into()))
}

/// The message about a wrong identifier of so many characters. The text is not quoted: it may be a key's value in the wrong
/// place.
pub(super) fn wrong_id(usage: KeyUsage, characters: usize) -> String {
    let rule = if usage == KeyUsage::Kmc { "of a KMC is KMC_ID, 12 hex digits" } else { ISSUER_RULE };
    format!("the id {rule}; this one has {characters} characters")
}

/// The message about a version that is missing or wrong.
pub(super) fn wrong_version(usage: KeyUsage, version: Option<u8>) -> String {
    let most = if usage == KeyUsage::Kek { 254 } else { 255 };
    let found = version.map_or_else(|| "none".to_owned(), |version| version.to_string());
    format!("a {usage} has a version from 1 to {most}; this one has {found}")
}

/// Whether a label has 1 to 64 printable ASCII characters.
pub(super) fn is_label(label: &str) -> bool {
    (1..=MAX_LABEL).contains(&label.len()) && label.bytes().all(|b| (0x20..0x7F).contains(&b))
}

/// The value as it is kept: TDES with odd parity.
pub(super) fn canonical(key_type: KeyType, value: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut value = Zeroizing::new(value.to_vec());
    if key_type == KeyType::Tdes2 {
        set_odd_parity(&mut value);
    }
    value
}

pub(super) fn cipher_key(key_type: KeyType, value: &[u8]) -> Result<CipherKey, String> {
    if value.len() != key_type.length() {
        let (found, needed) = (value.len(), key_type.length());
        return Err(format!(
            "a key of type {key_type} has a value of {needed} bytes, but this one has {found}"
        ));
    }
    let key = match key_type {
        KeyType::Tdes2 => CipherKey::tdes(value),
        KeyType::Aes128 | KeyType::Aes192 | KeyType::Aes256 => CipherKey::aes(value),
    };
    key.map_err(|e| e.to_string())
}

/// Returns the method that gives this check value. The error names another method if the value comes from that one.
pub(super) fn method_of(key: &CipherKey, stated: Kcv) -> Result<KcvMethod, Option<&'static str>> {
    let kcvs = key.kcvs();
    let found = kcvs.iter().find(|(_, kcv)| *kcv == stated);
    found.map(|(method, _)| *method).ok_or_else(|| key.other_method_of(stated))
}

/// Refuses a check value that comes from the key by none of its methods.
fn check_kcv(key: &CipherKey, stated: Kcv) -> Result<(), String> {
    method_of(key, stated).map(drop).map_err(|other| match other {
        Some(method) => format!(
            "the stated KCV is right by another method ({method}); state it by DES (TDES), AES-GP or AES-CMAC (AES)"
        ),
        None => "the KCV of the value is not the one stated: look for a slip, else ask who stated it".into(),
    })
}

/// What a key is used for.
fn role(terms: &KeyTerms) -> Result<EntryRole, String> {
    if terms.usage != KeyUsage::Kek && (terms.min_seclev != 0 || !terms.allow.is_empty()) {
        return Err("allow and min_seclev belong to a KEK".into());
    }
    if !terms.partner.is_empty() {
        IssuerId::new(terms.partner.as_str()).map_err(|e| format!("its partner {e}"))?;
    }
    let id = hex::decode(&terms.id).unwrap_or_default();
    let wrong = || wrong_id(terms.usage, terms.id.chars().count());
    match terms.usage {
        KeyUsage::Kek => kek_rules(terms, issuer_identifier(&id).ok_or_else(wrong)?).map(EntryRole::Kek),
        KeyUsage::Kmc | KeyUsage::Zmk if terms.version == 0 => Err(wrong_version(terms.usage, Some(0))),
        KeyUsage::Zmk if terms.partner.is_empty() => Err("a ZMK names its partner, who has it too".into()),
        KeyUsage::Kmc => {
            let id = id.try_into().map_err(|_| wrong())?;
            Ok(EntryRole::Kmc(KmcRef { id, version: terms.version }))
        }
        KeyUsage::Cvk | KeyUsage::Pvk if terms.key_type != KeyType::Tdes2 => {
            Err(format!("a {} is TDES2", terms.usage))
        }
        _ => issuer_identifier(&id).map(|_| EntryRole::Other).ok_or_else(wrong),
    }
}

fn kek_rules(terms: &KeyTerms, [a, b, c, d]: [u8; 4]) -> Result<KekRules, String> {
    if !(0x01..=0xFE).contains(&terms.version) {
        return Err(wrong_version(terms.usage, Some(terms.version)));
    }
    let suite = terms.key_type.suite();
    Ok(KekRules {
        id: KekId([a, b, c, d, terms.version]),
        suite: suite.ok_or_else(|| format!("a KEK is TDES2, AES128 or AES256, not {}", terms.key_type))?,
        issuer_id: IssuerId::new(terms.partner.as_str()).map_err(|e| format!("its issuer_id {e}"))?,
        allow: terms.allow.clone(),
        min_seclev: SecLevel::from_byte(terms.min_seclev)
            .ok_or("no channel of this version has its min_seclev")?,
    })
}

/// Digits, then F: 4 bytes.
fn issuer_identifier(id: &[u8]) -> Option<[u8; 4]> {
    let text = hex::encode_upper(id);
    let digits = text.trim_end_matches('F');
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    id.try_into().ok()
}

/// Refuses a key whose label or identifier another has or had.
fn is_new(terms: &KeyTerms, others: &StoreBody) -> Result<(), Failure> {
    let KeyTerms { label, usage, id, version, .. } = terms;
    let kept = others.entries.iter().map(|entry| &entry.terms);
    let all = || kept.clone().chain(others.pending.iter().map(|key| &key.terms));
    if all().any(|other| other.label == *label) {
        return Err(refuse(format!("label {label:?} stands twice; labels are unique")));
    }
    let same = |other: KeyUsage, other_id: &str, other_version: u8| {
        (other, other_id, other_version) == (*usage, id.as_str(), *version)
    };
    if let Some(other) = all().find(|other| same(other.usage, &other.id, other.version)) {
        return Err(refuse(format!(
            "{:?} and {label:?} are both {usage} {id}:{version}; an identifier has one type and value for ever",
            other.label
        )));
    }
    if others.gone.iter().any(|gone| same(gone.usage, &gone.id, gone.version)) {
        return Err(was_destroyed(label));
    }
    Ok(())
}

/// Refuses a value that was destroyed, or that another key has.
fn is_new_value(
    terms: &KeyTerms,
    (kept, kcv): (&[u8], Kcv),
    realm: Realm,
    others: &StoreBody,
) -> Result<(), Failure> {
    let KeyTerms { label, usage, .. } = terms;
    if others.is_gone(kept) {
        return Err(was_destroyed(label));
    }
    let apart = |entry: &SecretEntry| match realm {
        Realm::Live => true,
        Realm::Test => *usage == KeyUsage::Kek && entry.kek().is_some(),
    };
    let is_it = |entry: &SecretEntry| match (entry.key(), realm) {
        (Ok(key), Realm::Live) => is_one_value(key.expose(), kept),
        (Ok(key), Realm::Test) => bool::from(key.expose().ct_eq(kept)),
        // In a token: only its check value is known.
        (Err(_), _) => entry.key_type() == terms.key_type && entry.kcv() == kcv,
    };
    match others.entries.iter().filter(|entry| apart(entry)).find(|entry| is_it(entry)) {
        Some(other) if realm == Realm::Test => Err(refuse(format!(
            "KEKs {:?} and {label:?} have the same value; each needs its own",
            other.label()
        ))),
        Some(other) => Err(refuse(format!(
            "{:?} and {label:?} have the same value; a LIVE store takes each value only once: ask the partner for another key",
            other.label()
        ))),
        None => Ok(()),
    }
}

/// Whether two values differ in parity bits at most, which do not make another key of DES.
fn is_one_value(one: &[u8], other: &[u8]) -> bool {
    let differing = one.iter().zip(other).fold(0u8, |bits, (a, b)| bits | ((a ^ b) & 0xFE));
    one.len() == other.len() && bool::from(differing.ct_eq(&0))
}

fn was_destroyed(label: &str) -> Failure {
    refuse(format!(
        "{label:?}: this identifier or this value was destroyed, and never comes back: ask for another key"
    ))
}
