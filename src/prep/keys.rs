//! The issuer's keys that a preparation uses, read from the issuer's key store. They never leave the issuer.
//!
//! Not here: custody, import and sealing (`hsm::store`, `cli::keys`).

use std::collections::BTreeMap;

use crate::crypto::{CipherKey, TdesKey};
use crate::exit::{Exit, Failure};
use crate::hsm::store::{KekRules, KeyStore, KeyUsage, SecretEntry, StoreSide};

/// The purpose of an issuer key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Master {
    /// IMK-AC: application cryptograms.
    Ac,
    /// IMK-SMI: secure messaging integrity.
    Smi,
    /// IMK-SMC: secure messaging confidentiality.
    Smc,
    /// KML: loads of the purse.
    Kml,
    /// KMU: updates of the purse.
    Kmu,
    /// CVK: card verification values.
    Cvk,
    /// PVK: PIN verification values; its version is the index PVKI, 1-6.
    Pvk,
}

impl Master {
    /// All purposes.
    pub const ALL: [Self; 7] = [Self::Ac, Self::Smi, Self::Smc, Self::Kml, Self::Kmu, Self::Cvk, Self::Pvk];

    /// Returns the usage that the key has in a key store.
    pub fn usage(self) -> KeyUsage {
        match self {
            Self::Ac => KeyUsage::ImkAc,
            Self::Smi => KeyUsage::ImkSmi,
            Self::Smc => KeyUsage::ImkSmc,
            Self::Kml => KeyUsage::Kml,
            Self::Kmu => KeyUsage::Kmu,
            Self::Cvk => KeyUsage::Cvk,
            Self::Pvk => KeyUsage::Pvk,
        }
    }
}

/// One issuer key, two-key TDES.
pub struct MasterKey {
    /// Version of the key.
    pub version: u8,
    /// The key itself.
    pub key: TdesKey,
}

/// The keys of one issuer: the highest version for each purpose.
#[derive(Default)]
pub struct IssuerKeys(BTreeMap<Master, MasterKey>);

impl IssuerKeys {
    /// Reads the keys of the issuer with this identifier (8 hex digits).
    pub fn from_store(store: &KeyStore, issuer: &str) -> Result<Self, Failure> {
        let mut keys = Self::default();
        for entry in store.entries().iter().filter(|e| e.id() == issuer) {
            let Some(master) = Master::ALL.into_iter().find(|m| m.usage() == entry.usage()) else { continue };
            let fail = |what: &str| {
                Err(Failure::new(
                    Exit::KeyStore,
                    format!("key: {:?}: a {} {what}", entry.label(), entry.usage()),
                ))
            };
            let CipherKey::Tdes(key) = entry.key() else {
                return fail("of another type than TDES2 is not supported yet");
            };
            if master == Master::Pvk && !(1..=6).contains(&entry.version()) {
                return fail("has a version from 1 to 6, which is its index PVKI");
            }
            keys.add(master, entry.version(), TdesKey::new(*key.expose()));
        }
        Ok(keys)
    }

    /// Adds a key, unless a higher version is there already.
    pub fn add(&mut self, master: Master, version: u8, key: TdesKey) {
        if self.find(master).is_none_or(|held| held.version < version) {
            self.0.insert(master, MasterKey { version, key });
        }
    }

    /// Returns the key for a purpose, if the issuer has one.
    pub fn find(&self, master: Master) -> Option<&MasterKey> {
        self.0.get(&master)
    }

    /// Returns the key for a purpose. Without it the product cannot be prepared, which is a failure.
    pub fn get(&self, master: Master) -> Result<&MasterKey, Failure> {
        self.find(master).ok_or_else(|| {
            let usage = master.usage();
            Failure::new(
                Exit::KeyUnknown,
                format!("key: the product needs the issuer's {usage}, which the key store does not hold; import it"),
            )
        })
    }
}

/// Returns the KEK that protects the file. `wanted` is `issuer identifier:version`, as `476173FF:1`. Without
/// it the KEK is the issuer's strongest type in its highest version. A store with KEKs of several issuers
/// needs `wanted`.
pub fn choose_kek<'a>(
    store: &'a KeyStore,
    wanted: Option<&str>,
) -> Result<(&'a SecretEntry, &'a KekRules), Failure> {
    let unknown = |what: String| Failure::new(Exit::KeyUnknown, format!("key: {what}"));
    if store.side() != StoreSide::Issuer {
        let what = "key: this is a bureau's key store; preparation needs the issuer's own (cardwright-prep key init)";
        return Err(Failure::new(Exit::KeyStore, what));
    }
    let keks = || store.entries().iter().filter_map(|e| e.kek().map(|rules| (e, rules)));
    if let Some(wanted) = wanted {
        return keks()
            .find(|(e, _)| format!("{}:{}", e.id(), e.version()).eq_ignore_ascii_case(wanted))
            .ok_or_else(|| {
                let held: Vec<_> = keks().map(|(e, _)| format!("{}:{}", e.id(), e.version())).collect();
                unknown(format!(
                    "the key store holds no KEK {wanted:?}; its KEKs are {} (ISSUER:VERSION)",
                    held.join(", ")
                ))
            });
    }
    let best = keks().max_by_key(|(e, rules)| (rules.suite.tk_type(), e.version()));
    let best = best
        .ok_or_else(|| unknown("the key store holds no KEK; import the one agreed with the bureau".into()))?;
    if keks().any(|(e, rules)| rules.issuer_id != best.1.issuer_id || e.id() != best.0.id()) {
        return Err(unknown(
            "the key store holds KEKs of several issuers; name one with --kek ISSUER:VERSION".into(),
        ));
    }
    Ok(best)
}
