//! The issuer's keys that a run uses, taken from the issuer's key store. They never leave the issuer.
//!
//! Not here: custody, import and sealing (`hsm::store`, `cli::keys`).

use std::collections::BTreeMap;

use crate::crypto::TdesKey;
use crate::exit::{Exit, Failure};

/// What an issuer key is for.
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
    /// All of them.
    pub const ALL: [Self; 7] = [Self::Ac, Self::Smi, Self::Smc, Self::Kml, Self::Kmu, Self::Cvk, Self::Pvk];

    /// Its `usage` in a key store.
    pub fn usage(self) -> &'static str {
        match self {
            Self::Ac => "IMK-AC",
            Self::Smi => "IMK-SMI",
            Self::Smc => "IMK-SMC",
            Self::Kml => "KML",
            Self::Kmu => "KMU",
            Self::Cvk => "CVK",
            Self::Pvk => "PVK",
        }
    }
}

/// One issuer key, two-key TDES.
pub struct MasterKey {
    /// Its version.
    pub version: u8,
    /// Itself.
    pub key: TdesKey,
}

/// The keys of one issuer: of each usage the highest version.
#[derive(Default)]
pub struct IssuerKeys(BTreeMap<Master, MasterKey>);

impl IssuerKeys {
    /// Adds a key, unless a higher version of it is there.
    pub fn add(&mut self, master: Master, version: u8, key: TdesKey) {
        if self.find(master).is_none_or(|held| held.version < version) {
            self.0.insert(master, MasterKey { version, key });
        }
    }

    /// The key, if the issuer has one.
    pub fn find(&self, master: Master) -> Option<&MasterKey> {
        self.0.get(&master)
    }

    /// The key; without it the product cannot be prepared.
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
