//! The issuer's keys that a preparation uses, by reference: their values stay in the issuer's HSM.
//!
//! Not here: custody, import and sealing (`hsm::store`, `cli::keys`).

use std::collections::BTreeMap;

use crate::crypto::KeyType;
use crate::exit::{Exit, Failure};
use crate::hsm::store::KeyUsage;
use crate::hsm::{IssuerInfo, KekInfo, MasterKeyRef};
use crate::ids::KekId;

/// The master keys of one issuer: the highest version for each purpose.
#[derive(Debug, Clone, Default)]
pub struct IssuerKeys {
    issuer: String,
    masters: BTreeMap<KeyUsage, MasterKey>,
}

/// A master key by reference.
#[derive(Debug, Clone, Copy)]
pub struct MasterKey {
    /// Its name in the HSM.
    pub name: MasterKeyRef,
    /// Bytes of the keys that are derived from it.
    pub length: usize,
}

impl IssuerKeys {
    /// The keys of the issuer with this identifier (8 hex digits).
    pub fn of(info: &IssuerInfo, issuer: &str) -> Result<Self, Failure> {
        let mut keys = Self { issuer: issuer.to_owned(), masters: BTreeMap::new() };
        for key in info.masters.iter().filter(|key| key.issuer == issuer) {
            if key.usage == KeyUsage::Pvk && !(1..=6).contains(&key.version) {
                let what =
                    format!("key: {:?}: a PVK has a version from 1 to 6, which is its index PVKI", key.label);
                return Err(Failure::new(Exit::KeyStore, what));
            }
            let name = MasterKeyRef { usage: key.usage, version: key.version };
            if keys.find(key.usage).is_none_or(|held| held.name.version < key.version) {
                keys.masters.insert(key.usage, MasterKey { name, length: key.key_type.length() });
            }
        }
        Ok(keys)
    }

    /// Issuer identifier, 8 hex digits.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Returns the key for a purpose, if the issuer has one.
    pub fn find(&self, usage: KeyUsage) -> Option<MasterKey> {
        self.masters.get(&usage).copied()
    }

    /// Returns the key for a purpose. Without it the product cannot be prepared, which is a failure.
    pub fn get(&self, usage: KeyUsage) -> Result<MasterKey, Failure> {
        self.find(usage).ok_or_else(|| {
            Failure::new(
                Exit::KeyUnknown,
                format!("key: the product needs the issuer's {usage}, which the key store does not hold; import it"),
            )
        })
    }
}

/// A KEK as people write it: `issuer identifier:version`, as `476173FF:1`.
pub fn kek_name(id: KekId) -> String {
    let [issuer @ .., version] = id.0;
    format!("{}:{version}", hex::encode_upper(issuer))
}

/// Cipher and length of a KEK.
pub fn kek_type(kek: &KekInfo) -> String {
    let is_its_type = |key: &KeyType| key.suite().is_some_and(|suite| suite.tk_type() == kek.tk_type);
    let named = KeyType::ALL.into_iter().find(is_its_type);
    named.map_or_else(String::new, |key| key.to_string())
}

/// The issuer identifier of a KEK.
pub fn issuer_of(id: KekId) -> [u8; 4] {
    let [issuer @ .., _] = id.0;
    issuer
}

/// Returns the KEK that protects the file. `wanted` is `issuer identifier:version`, as `476173FF:1`. Without
/// it the KEK is the issuer's strongest type in its highest version. A store with KEKs of several issuers
/// needs `wanted`.
pub fn choose_kek<'a>(info: &'a IssuerInfo, wanted: Option<&str>) -> Result<&'a KekInfo, Failure> {
    let unknown = |what: String| Failure::new(Exit::KeyUnknown, format!("key: {what}"));
    let keks = &info.keks;
    if let Some(wanted) = wanted {
        return keks.iter().find(|kek| kek_name(kek.id).eq_ignore_ascii_case(wanted)).ok_or_else(|| {
            let held: Vec<_> = keks.iter().map(|kek| kek_name(kek.id)).collect();
            unknown(format!(
                "the key store holds no KEK {wanted:?}; its KEKs are {} (ISSUER:VERSION)",
                held.join(", ")
            ))
        });
    }
    let best = keks.iter().max_by_key(|kek| (kek.tk_type, kek.id.0.last().copied()));
    let best = best
        .ok_or_else(|| unknown("the key store holds no KEK; import the one agreed with the bureau".into()))?;
    if keks.iter().any(|kek| kek.issuer_id != best.issuer_id || issuer_of(kek.id) != issuer_of(best.id)) {
        return Err(unknown(
            "the key store holds KEKs of several issuers; name one with --kek ISSUER:VERSION".into(),
        ));
    }
    Ok(best)
}
