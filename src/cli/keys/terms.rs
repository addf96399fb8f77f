//! The options that say what a key is to be, for `key component` and `key import-block`, and the words in which it is shown.
//!
//! Not here: the rules of keys (`hsm::store`).

use clap::builder::ValueParser;

use crate::crypto::KeyType;
use crate::exit::{Exit, Failure};
use crate::hsm::store::{KeyOrigin, KeyTerms, KeyUsage};
use crate::ids::{IssuerId, Kcv, KmcRef, NameError};
use crate::scp::SecLevel;

/// The other holder of a key, and for a KEK where the secrets under it may go.
#[derive(Debug, Clone, clap::Args)]
pub struct KeyRulesArgs {
    /// Partner who also has the key; required for a ZMK.
    #[arg(long, value_name = "NAME", requires = "usage", conflicts_with = "issuer", value_parser = holder)]
    partner: Option<IssuerId>,
    /// The issuer of a KEK.
    #[arg(long, value_name = "ISSUER", requires_all = ["usage", "allow"], value_parser = holder)]
    issuer: Option<IssuerId>,
    /// KMCs to whose cards the secrets under a KEK may go, each as KMC_ID:VERSION.
    #[arg(long, value_name = "KMCS", requires = "issuer", value_delimiter = ',', value_parser = KmcRef::parse)]
    allow: Vec<KmcRef>,
    /// Lowest security level of an application with secrets under a KEK [default: 01].
    #[arg(long, value_name = "LEVEL", requires = "issuer", value_parser = level)]
    min_seclev: Option<SecLevel>,
}

/// What a command line says of a key.
pub(super) struct NamedKey<'a> {
    pub(super) label: &'a str,
    pub(super) usage: KeyUsage,
    pub(super) key_type: KeyType,
    pub(super) id: &'a str,
    pub(super) version: u8,
}

impl KeyRulesArgs {
    /// The terms of a key. The store sets how and when it came.
    pub(super) fn terms(&self, key: &NamedKey<'_>) -> Result<KeyTerms, Failure> {
        let kek = key.usage == KeyUsage::Kek;
        if kek != self.issuer.is_some() {
            let what = match kek {
                true => "a KEK names its --issuer, and in --allow the KMCs to which its secrets may go",
                false => "--issuer, --allow and --min-seclev belong to a KEK",
            };
            return Err(Failure::new(Exit::Usage, format!("operator: {what}")));
        }
        let partner = self.issuer.as_ref().or(self.partner.as_ref()).map_or("", IssuerId::as_str);
        Ok(KeyTerms {
            label: key.label.to_owned(),
            usage: key.usage,
            key_type: key.key_type,
            id: key.id.to_ascii_uppercase(),
            version: key.version,
            origin: KeyOrigin::Components,
            made: 0,
            partner: partner.to_owned(),
            // Not named: secrets still need a C-MAC.
            min_seclev: if kek { self.min_seclev.unwrap_or(SecLevel::Mac).byte() } else { 0 },
            allow: self.allow.clone(),
        })
    }
}

/// Reads a usage.
pub(super) fn usage() -> ValueParser {
    ValueParser::new(|text: &str| one_of(&KeyUsage::ALL, text))
}

/// Reads a type of keys.
pub(super) fn key_type() -> ValueParser {
    ValueParser::new(|text: &str| one_of(&KeyType::ALL, text))
}

/// Reads a check value.
pub(super) fn kcv(text: &str) -> Result<Kcv, NameError> {
    Kcv::from_hex(text)
}

fn holder(text: &str) -> Result<IssuerId, NameError> {
    IssuerId::new(text)
}

fn level(text: &str) -> Result<SecLevel, String> {
    SecLevel::try_from(text.to_owned())
}

fn one_of<T: Copy + ToString>(all: &[T], text: &str) -> Result<T, String> {
    let found = all.iter().find(|one| one.to_string() == text);
    found.copied().ok_or_else(|| {
        let all: Vec<_> = all.iter().map(T::to_string).collect();
        format!("it must be one of {}", all.join(", "))
    })
}

/// `KEK 476173FF:2, AES256, issuer TESTBANK, goes to FFFFFF476173:1, from level 01`
pub(super) fn shown(terms: &KeyTerms) -> String {
    let KeyTerms { usage, key_type, id, version, .. } = terms;
    let rules = rules(terms).map(|rules| format!(", {rules}")).unwrap_or_default();
    format!("{usage} {id}:{version}, {key_type}{rules}")
}

/// The other holder of a key; for a KEK also where its secrets may go. `None` if no holder is known.
pub(super) fn rules(terms: &KeyTerms) -> Option<String> {
    let partner = &terms.partner;
    if terms.usage != KeyUsage::Kek {
        return (!partner.is_empty()).then(|| format!("partner {partner}"));
    }
    let allow: Vec<_> = terms.allow.iter().map(ToString::to_string).collect();
    let allow = if allow.is_empty() { "no KMC".to_owned() } else { allow.join(" ") };
    Some(format!("issuer {partner}, goes to {allow}, from level {:02X}", terms.min_seclev))
}
