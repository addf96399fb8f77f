//! One key of a store: usage, type, identifiers, rules, and the value, which is never shown.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::doubt::KeyDoubt;
use crate::crypto::{CipherKey, KeyType, Suite};
use crate::ids::{IssuerId, Kcv, KekId, KmcRef};
use crate::scp::SecLevel;

/// The owner's side, which decides which keys a store may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreSide {
    /// KEK and KMC only.
    Bureau,
    /// Issuers' keys too.
    Issuer,
}

impl fmt::Display for StoreSide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bureau => "bureau",
            Self::Issuer => "issuer",
        })
    }
}

/// The purpose of a key (KEK, KMC: EMV CPS; IMK: EMV Book 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum KeyUsage {
    /// Key encryption key: gives the keys that protect a file.
    #[serde(rename = "KEK")]
    Kek,
    /// Supplier's master key: gives the keys of each blank.
    #[serde(rename = "KMC")]
    Kmc,
    /// Issuer's master load key of the purse.
    #[serde(rename = "KML")]
    Kml,
    /// Issuer's master update key of the purse.
    #[serde(rename = "KMU")]
    Kmu,
    /// Issuer master key, application cryptograms.
    #[serde(rename = "IMK-AC")]
    ImkAc,
    /// Issuer master key, secure messaging for integrity.
    #[serde(rename = "IMK-SMI")]
    ImkSmi,
    /// Issuer master key, secure messaging for confidentiality.
    #[serde(rename = "IMK-SMC")]
    ImkSmc,
    /// Card verification key pair.
    #[serde(rename = "CVK")]
    Cvk,
    /// PIN verification key pair.
    #[serde(rename = "PVK")]
    Pvk,
}

impl KeyUsage {
    /// The issuer's master keys, which a bureau's store may not hold.
    pub const MASTERS: [Self; 7] =
        [Self::Kml, Self::Kmu, Self::ImkAc, Self::ImkSmi, Self::ImkSmc, Self::Cvk, Self::Pvk];

    /// Whether a store of this side may hold it.
    pub fn allowed(self, side: StoreSide) -> bool {
        side == StoreSide::Issuer || matches!(self, Self::Kek | Self::Kmc)
    }
}

impl fmt::Display for KeyUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kek => "KEK",
            Self::Kmc => "KMC",
            Self::Kml => "KML",
            Self::Kmu => "KMU",
            Self::ImkAc => "IMK-AC",
            Self::ImkSmi => "IMK-SMI",
            Self::ImkSmc => "IMK-SMC",
            Self::Cvk => "CVK",
            Self::Pvk => "PVK",
        })
    }
}

/// The rules that only a KEK has.
#[derive(Debug, Clone)]
pub struct KekRules {
    /// Issuer identifier and version.
    pub id: KekId,
    /// Cipher family of everything under it: TYPEtk.
    pub suite: Suite,
    /// The one issuer to whom it belongs.
    pub issuer_id: IssuerId,
    /// The KMCs to which its secrets may go.
    pub allow: Vec<KmcRef>,
    /// Lowest level of an application with secrets.
    pub min_seclev: SecLevel,
}

/// The part of an entry that depends on its usage.
pub(super) enum EntryRole {
    Kek(KekRules),
    Kmc(KmcRef),
    Issuer,
}

/// A key of the store. Shows everything but its value.
pub struct SecretEntry {
    pub(super) label: String,
    pub(super) usage: KeyUsage,
    pub(super) key_type: KeyType,
    pub(super) id: String,
    pub(super) version: u8,
    pub(super) key: CipherKey,
    pub(super) odd_parity: bool,
    pub(super) doubt: Option<KeyDoubt>,
    pub(super) role: EntryRole,
}

impl SecretEntry {
    /// Operator's name for it.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Its purpose.
    pub fn usage(&self) -> KeyUsage {
        self.usage
    }

    /// Cipher and length.
    pub fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// Issuer identifier (8 hex digits) or, for a KMC, KMC_ID (12), in upper case.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Version; for a KMC the key version number.
    pub fn version(&self) -> u8 {
        self.version
    }

    /// Key check value, computed from the key.
    pub fn kcv(&self) -> Kcv {
        self.key.kcv()
    }

    /// The key, for use; `CipherKey` shows nothing of its value.
    pub fn key(&self) -> &CipherKey {
        &self.key
    }

    /// False for a TDES key with a byte of even parity: DES ignores it, but it may be a typing error.
    pub fn odd_parity(&self) -> bool {
        self.odd_parity
    }

    /// Why its value is no secret, or weak; `None` if nothing speaks against it.
    pub fn doubt(&self) -> Option<KeyDoubt> {
        self.doubt
    }

    /// The rules, if it is a KEK.
    pub fn kek(&self) -> Option<&KekRules> {
        match &self.role {
            EntryRole::Kek(rules) => Some(rules),
            EntryRole::Kmc(_) | EntryRole::Issuer => None,
        }
    }

    /// The reference, if it is a KMC.
    pub fn kmc(&self) -> Option<KmcRef> {
        match &self.role {
            EntryRole::Kmc(kmc) => Some(*kmc),
            EntryRole::Kek(_) | EntryRole::Issuer => None,
        }
    }
}
