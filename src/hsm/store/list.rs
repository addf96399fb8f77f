//! The key list (TOML, `[[key]]` entries), and the rules that every list keeps. Messages never quote a value.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use zeroize::Zeroizing;

use super::doubt;
use super::entry::{EntryRole, KekRules, KeyUsage, SecretEntry, StoreSide};
use crate::crypto::{CipherKey, KeyType, set_odd_parity};
use crate::exit::{Exit, Failure};
use crate::ids::{IssuerId, Kcv, KekId, KmcRef};
use crate::scp::{KeyDerivation, SecLevel};
use crate::toml_text::{self, Quoting, TomlFault};

/// Most characters of a label.
const MAX_LABEL: usize = 64;
/// A run of this many hex digits in a parser's message could be part of a key, so the message is not shown. Keys are
/// often written in groups: a separator (anything but other letters) does not end a run.
const QUOTED_KEY: usize = 6;

/// The file: `[[key]]`, nothing else.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyList {
    key: Vec<RawKey>,
}

/// One `[[key]]` as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKey {
    label: String,
    usage: KeyUsage,
    #[serde(rename = "type")]
    key_type: KeyType,
    id: String,
    /// Required for KEK and KMC; an issuer's key has version 1 without it.
    version: Option<u8>,
    value: HexValue,
    kcv: Option<Kcv>,
    issuer_id: Option<IssuerId>,
    allow: Option<Vec<KmcRef>>,
    min_seclev: Option<SecLevel>,
    wrap: Option<String>,
}

/// A key's bytes from hex. Its errors do not quote it.
struct HexValue(Zeroizing<Vec<u8>>);

impl<'de> Deserialize<'de> for HexValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Hex;
        impl Visitor<'_> for Hex {
            type Value = HexValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the key in hex")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<HexValue, E> {
                let mut bytes = Zeroizing::new(vec![0; text.len() / 2]);
                hex::decode_to_slice(text, &mut bytes).map_err(|_| {
                    E::custom(
                        "the value is not hex: write two digits for each byte, without blanks between them",
                    )
                })?;
                Ok(HexValue(bytes))
            }
        }
        deserializer.deserialize_str(Hex)
    }
}

/// Parses and checks a whole list.
pub(super) fn parse(text: &str, side: StoreSide) -> Result<Vec<SecretEntry>, Failure> {
    let list: KeyList = toml_text::parse(text, Quoting::Keys).map_err(|fault| malformed(&fault))?;
    if list.key.is_empty() {
        return Err(refuse("the key list holds no [[key]]"));
    }
    no_value_twice(&list.key)?;
    let mut entries: Vec<SecretEntry> = Vec::with_capacity(list.key.len());
    for (number, raw) in (1..).zip(list.key) {
        let entry = check(number, raw, side)?;
        if entries.iter().any(|e| e.label == entry.label) {
            return Err(refuse(format!("label {:?} stands twice; labels are unique", entry.label)));
        }
        if let Some(other) =
            entries.iter().find(|e| e.usage == entry.usage && e.id == entry.id && e.version == entry.version)
        {
            return Err(refuse(format!(
                "{:?} and {:?} are both {} {}:{}; an identifier has one type and value for ever",
                other.label, entry.label, entry.usage, entry.id, entry.version
            )));
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn refuse(what: impl Into<String>) -> Failure {
    Failure::new(Exit::KeyStore, format!("key: {}", what.into()))
}

/// The message about a TOML fault: line and key. The value is never shown, because it may be a key.
fn malformed(fault: &TomlFault) -> Failure {
    let mut run = 0usize;
    let quotes = fault.what.bytes().filter(u8::is_ascii_alphanumeric).any(|b| {
        run = if b.is_ascii_hexdigit() { run + 1 } else { 0 };
        run >= QUOTED_KEY
    });
    let what = if quotes { "malformed (not quoted: it may be a key)" } else { &fault.what };
    refuse(format!("key list, {}{what}", fault.place))
}

/// No two KEK entries with one value. Parity bits make no difference to DES.
fn no_value_twice(keys: &[RawKey]) -> Result<(), Failure> {
    let same = |key: &RawKey| {
        let mut value = key.value.0.clone();
        if key.key_type == KeyType::Tdes2 {
            set_odd_parity(&mut value);
        }
        value
    };
    let keks: Vec<_> =
        keys.iter().filter(|k| k.usage == KeyUsage::Kek).map(|k| (k.label.as_str(), same(k))).collect();
    for (place, (label, value)) in keks.iter().enumerate() {
        if let Some((other, _)) = keks.iter().take(place).find(|(_, v)| v == value) {
            return Err(refuse(format!(
                "KEKs {other:?} and {label:?} have the same value; each needs its own"
            )));
        }
    }
    Ok(())
}

/// Checks the rules of one key, which is the `number`th of the list.
fn check(number: usize, raw: RawKey, side: StoreSide) -> Result<SecretEntry, Failure> {
    let label = raw.label.as_str();
    if label.is_empty() || label.len() > MAX_LABEL || !label.bytes().all(|b| (0x20..0x7F).contains(&b)) {
        return Err(refuse(format!(
            "key {number} of the list: its label is not 1 to {MAX_LABEL} printable ASCII characters"
        )));
    }
    let refused = |what: String| refuse(format!("{label:?}: {what}"));
    if !raw.usage.allowed(side) {
        return Err(refused(format!(
            "a {side} key store holds KEK and KMC only; {} is an issuer's key and never leaves the issuer",
            raw.usage
        )));
    }
    let key = cipher_key(&raw).map_err(refused)?;
    if raw.kcv.is_some_and(|kcv| kcv != key.kcv()) {
        return Err(Failure::new(Exit::KeyMismatch, format!("key: {label:?}: {}", wrong_kcv(&key, raw.kcv))));
    }
    let odd_parity =
        raw.key_type != KeyType::Tdes2 || raw.value.0.iter().all(|byte| byte.count_ones() % 2 == 1);
    let doubt = doubt::about(raw.key_type, &raw.value.0);
    let id = raw.id.to_ascii_uppercase();
    let (version, role) = role(&raw, &id).map_err(refused)?;
    if raw.usage == KeyUsage::Kmc && !KeyDerivation::any_takes(raw.key_type) {
        return Err(refused(format!(
            "no secure channel of this version derives card keys from a KMC of type {}",
            raw.key_type
        )));
    }
    Ok(SecretEntry {
        label: raw.label,
        usage: raw.usage,
        key_type: raw.key_type,
        id,
        version,
        key,
        odd_parity,
        doubt,
        role,
    })
}

/// Says by which method the stated check value comes from the key, if any.
fn wrong_kcv(key: &CipherKey, stated: Option<Kcv>) -> String {
    let own = key.kcv();
    match key.kcvs_by_other_methods().iter().find(|(_, kcv)| Some(*kcv) == stated) {
        Some((method, _)) => format!(
            "the stated KCV is right by another method ({method}); state it by GPCS B.6, {own}, and the key is taken"
        ),
        None => format!("the KCV of the value is {own}, not the one stated"),
    }
}

fn cipher_key(raw: &RawKey) -> Result<CipherKey, String> {
    if raw.value.0.len() != raw.key_type.length() {
        let (found, needed) = (raw.value.0.len(), raw.key_type.length());
        return Err(format!(
            "a key of type {} has a value of {needed} bytes, but this one has {found}",
            raw.key_type
        ));
    }
    let key = match raw.key_type {
        KeyType::Tdes2 => CipherKey::tdes(&raw.value.0),
        KeyType::Aes128 | KeyType::Aes192 | KeyType::Aes256 => CipherKey::aes(&raw.value.0),
    };
    key.map_err(|e| e.to_string())
}

/// The version of a key, and what it is used for; `id` is its identifier in capitals.
fn role(raw: &RawKey, id: &str) -> Result<(u8, EntryRole), String> {
    let kek_fields =
        raw.issuer_id.is_some() || raw.allow.is_some() || raw.min_seclev.is_some() || raw.wrap.is_some();
    if raw.usage != KeyUsage::Kek && kek_fields {
        return Err("issuer_id, allow, min_seclev and wrap belong to a KEK".into());
    }
    match raw.usage {
        KeyUsage::Kek => kek_rules(raw, id).map(|(version, rules)| (version, EntryRole::Kek(rules))),
        KeyUsage::Kmc => {
            let kmc_id = hex::decode(id).ok().and_then(|b| <[u8; 6]>::try_from(b).ok());
            let kmc_id = kmc_id.ok_or_else(|| wrong_id("of a KMC is KMC_ID, 12 hex digits", id))?;
            let version = raw.version.filter(|v| *v > 0);
            let version = version.ok_or_else(|| wrong_version(raw, "a KMC", 255))?;
            Ok((version, EntryRole::Kmc(KmcRef { id: kmc_id, version })))
        }
        KeyUsage::Cvk | KeyUsage::Pvk if raw.key_type != KeyType::Tdes2 => {
            Err(format!("a {} is TDES2", raw.usage))
        }
        _ => {
            issuer_identifier(id).ok_or_else(|| wrong_id(ISSUER_RULE, id))?;
            Ok((raw.version.unwrap_or(1), EntryRole::Issuer))
        }
    }
}

fn kek_rules(raw: &RawKey, id: &str) -> Result<(u8, KekRules), String> {
    let [a, b, c, d] = issuer_identifier(id).ok_or_else(|| wrong_id(ISSUER_RULE, id))?;
    let version = raw.version.filter(|v| (0x01..=0xFE).contains(v));
    let version = version.ok_or_else(|| wrong_version(raw, "a KEK", 254))?;
    match raw.wrap.as_deref() {
        None | Some("cwf1") => {}
        Some("cps") => {
            return Err(
                "wrap = \"cps\" (files of other writers) is not supported yet; take this key out".into()
            );
        }
        Some(_) => return Err("wrap is \"cwf1\", which is also the default".into()),
    }
    let rules = KekRules {
        id: KekId([a, b, c, d, version]),
        suite: raw
            .key_type
            .suite()
            .ok_or_else(|| format!("a KEK is TDES2, AES128 or AES256, not {}", raw.key_type))?,
        issuer_id: raw.issuer_id.clone().ok_or("a KEK names its issuer_id")?,
        allow: raw.allow.clone().ok_or("a KEK lists in allow the KMCs to which its secrets may go")?,
        // Not named: secrets still need a C-MAC.
        min_seclev: raw.min_seclev.unwrap_or(SecLevel::Mac),
    };
    Ok((version, rules))
}

const ISSUER_RULE: &str = "is the issuer identifier, up to 8 digits, padded on the right with F to 8";

/// The message about a wrong identifier. The text is not quoted: it may be a key's value in the wrong place.
fn wrong_id(rule: &str, id: &str) -> String {
    format!("the id {rule}; this one has {} characters", id.chars().count())
}

fn wrong_version(raw: &RawKey, key: &str, most: u8) -> String {
    let found = raw.version.map_or_else(|| "none".to_owned(), |version| version.to_string());
    format!("{key} has a version from 1 to {most}; this one has {found}")
}

/// Digits, then F: 4 bytes.
fn issuer_identifier(id: &str) -> Option<[u8; 4]> {
    let digits = id.trim_end_matches('F');
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    hex::decode(id).ok()?.try_into().ok()
}
