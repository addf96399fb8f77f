//! One key of a store: usage, type, identifiers, rules, and the value, which is never shown.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::doubt::KeyDoubt;
use crate::crypto::{CipherKey, KcvMethod, KeyType, Suite};
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

impl KeyUsage {
    /// Its number in a store.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Kek => 1,
            Self::Kmc => 2,
            Self::Kml => 4,
            Self::Kmu => 5,
            Self::ImkAc => 6,
            Self::ImkSmi => 7,
            Self::ImkSmc => 8,
            Self::Cvk => 9,
            Self::Pvk => 10,
        }
    }

    /// The usage with this number.
    pub(super) fn from_code(code: u8) -> Option<Self> {
        [Self::Kek, Self::Kmc].into_iter().chain(Self::MASTERS).find(|usage| usage.code() == code)
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

/// How a key came into the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyOrigin {
    /// In a key list.
    List,
    /// In components of custodians.
    Components,
    /// In a key block.
    Block,
}

impl KeyOrigin {
    /// In the order of their numbers in a store, from 1.
    pub(super) const ALL: [Self; 3] = [Self::List, Self::Components, Self::Block];
}

impl fmt::Display for KeyOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::List => "list",
            Self::Components => "components",
            Self::Block => "block",
        })
    }
}

/// All that is said of a key, in whatever way it comes.
pub(super) struct KeyTerms {
    pub(super) label: String,
    pub(super) usage: KeyUsage,
    pub(super) key_type: KeyType,
    /// In hex, upper case.
    pub(super) id: String,
    pub(super) version: u8,
    pub(super) origin: KeyOrigin,
    /// Unix time in seconds.
    pub(super) made: u64,
    /// Who holds the key too; of a KEK its issuer.
    pub(super) partner: String,
    /// A KEK's, else 0.
    pub(super) min_seclev: u8,
    /// A KEK's, else none.
    pub(super) allow: Vec<KmcRef>,
}

/// A key of the store. Shows everything but its value.
pub struct SecretEntry {
    pub(super) terms: KeyTerms,
    pub(super) key: CipherKey,
    pub(super) odd_parity: bool,
    pub(super) doubt: Option<KeyDoubt>,
    pub(super) role: EntryRole,
}

impl SecretEntry {
    /// Operator's name for it.
    pub fn label(&self) -> &str {
        &self.terms.label
    }

    /// Its purpose.
    pub fn usage(&self) -> KeyUsage {
        self.terms.usage
    }

    /// Cipher and length.
    pub fn key_type(&self) -> KeyType {
        self.terms.key_type
    }

    /// Issuer identifier (8 hex digits) or, for a KMC, KMC_ID (12), in upper case.
    pub fn id(&self) -> &str {
        &self.terms.id
    }

    /// Version; for a KMC the key version number.
    pub fn version(&self) -> u8 {
        self.terms.version
    }

    /// Key check value, computed from the key.
    pub fn kcv(&self) -> Kcv {
        self.key.kcv()
    }

    /// Its check values, each with its method.
    pub fn kcvs(&self) -> Vec<(KcvMethod, Kcv)> {
        self.key.kcvs()
    }

    /// How it came into the store.
    pub fn origin(&self) -> KeyOrigin {
        self.terms.origin
    }

    /// The key, for use; `CipherKey` shows nothing of its value.
    pub fn key(&self) -> &CipherKey {
        &self.key
    }

    /// False for a TDES key that was just given with a byte of even parity: DES ignores it, but it may be a typing error. The
    /// store keeps it with odd parity.
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
