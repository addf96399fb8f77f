//! The key list (TOML, `[[key]]` entries). Messages never quote a value. Not here: the rules that every key keeps (`rules`).

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use zeroize::Zeroizing;

use super::body::StoreBody;
use super::entry::{KeyOrigin, KeyTerms, KeyUsage, StoreSide};
use super::rules::{self, MAX_LABEL, StoreRules, refuse, wrong_id, wrong_version};
use crate::crypto::KeyType;
use crate::exit::Failure;
use crate::hsm::Realm;
use crate::ids::{IssuerId, Kcv, KmcRef};
use crate::scp::SecLevel;
use crate::toml_text::{self, Quoting, TomlFault};

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
    /// Required for KEK, KMC and ZMK; an issuer's key has version 1 without it.
    version: Option<u8>,
    value: Option<HexValue>,
    /// The label of the object in a token that is the key, in place of its value.
    token: Option<String>,
    kcv: Option<Kcv>,
    partner: Option<IssuerId>,
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

/// Reads a whole list into an empty store, whose time of making is `made`.
pub(super) fn read(text: &str, made: u64, side: StoreSide, body: &mut StoreBody) -> Result<(), Failure> {
    // Lists make TEST stores only.
    let keeps = StoreRules { realm: Realm::Test, side };
    let list: KeyList = toml_text::parse(text, Quoting::Keys).map_err(|fault| malformed(&fault))?;
    if list.key.is_empty() {
        return Err(refuse("the key list holds no [[key]]"));
    }
    // Growing would leave copies of keys behind.
    body.entries.reserve_exact(list.key.len());
    for (number, mut raw) in (1..).zip(list.key) {
        let label = raw.label.clone();
        if !rules::is_label(&label) {
            return Err(refuse(format!(
                "key {number} of the list: its label is not 1 to {MAX_LABEL} printable ASCII characters"
            )));
        }
        let refused = |what: String| refuse(format!("{label:?}: {what}"));
        let (value, object, kcv) = (raw.value.take(), raw.token.take(), raw.kcv);
        let mut terms = terms(raw, made).map_err(refused)?;
        let entry = match (value, object, kcv) {
            (Some(HexValue(value)), None, kcv) => rules::admit(terms, &value, kcv, keeps, body)?,
            (None, Some(object), Some(kcv)) => {
                terms.origin = KeyOrigin::Token;
                rules::admit_in_token(terms, object, kcv, keeps, body)?
            }
            (None, Some(_), None) => {
                return Err(refused(
                    "a key in a token needs kcv: it proves that the object is the right key".into(),
                ));
            }
            (None, None, _) | (Some(_), Some(_), _) => {
                return Err(refused(
                    "a key has either value or token (the label of its object in the token)".into(),
                ));
            }
        };
        body.entries.push(entry);
    }
    Ok(())
}

/// The terms of a key, from its entry in a list.
fn terms(raw: RawKey, made: u64) -> Result<KeyTerms, String> {
    let kek = raw.usage == KeyUsage::Kek;
    if !kek
        && (raw.issuer_id.is_some() || raw.allow.is_some() || raw.min_seclev.is_some() || raw.wrap.is_some())
    {
        return Err("issuer_id, allow, min_seclev and wrap belong to a KEK".into());
    }
    match raw.wrap.as_deref() {
        None | Some("cwf1") => {}
        Some("cps") => {
            return Err(
                "wrap = \"cps\" (files of other writers) is not supported yet; take this key out".into()
            );
        }
        Some(_) => return Err("wrap is \"cwf1\", which is also the default".into()),
    }
    if hex::decode(&raw.id).is_err() {
        return Err(wrong_id(raw.usage, raw.id.chars().count()));
    }
    let version = match raw.version {
        None if !raw.usage.is_master() => {
            return Err(wrong_version(raw.usage, None));
        }
        version => version.unwrap_or(1),
    };
    if kek && raw.partner.is_some() {
        return Err("the partner of a KEK is its issuer_id".into());
    }
    let issuer = raw.issuer_id.as_ref().or(raw.partner.as_ref()).map_or("", IssuerId::as_str);
    if kek && issuer.is_empty() {
        return Err("a KEK names its issuer_id".into());
    }
    if kek && raw.allow.is_none() {
        return Err("a KEK lists in allow the KMCs to which its secrets may go".into());
    }
    // Not named: secrets still need a C-MAC.
    let min_seclev = raw.min_seclev.unwrap_or(SecLevel::Mac);
    Ok(KeyTerms {
        partner: issuer.to_owned(),
        label: raw.label,
        usage: raw.usage,
        key_type: raw.key_type,
        id: raw.id.to_ascii_uppercase(),
        version,
        origin: KeyOrigin::List,
        made,
        min_seclev: if kek { min_seclev.byte() } else { 0 },
        allow: raw.allow.unwrap_or_default(),
    })
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
