//! One key of a store: usage, type, identifiers, rules, and the value, which is never shown.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::doubt::KeyDoubt;
use crate::crypto::{CipherKey, KcvMethod, KeyType, Suite};
use crate::hsm::HsmError;
use crate::ids::{IssuerId, Kcv, KekId, KmcRef};
use crate::scp::SecLevel;

/// The owner's side, which decides which keys a store may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreSide {
    /// KEK, KMC and ZMK only.
    Bureau,
    /// Issuers' keys too.
    Issuer,
}

impl StoreSide {
    /// The program of this side.
    pub fn program(self) -> &'static str {
        match self {
            Self::Bureau => "cardwright",
            Self::Issuer => "cardwright-prep",
        }
    }
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
    /// Zone master key: opens the key blocks in which a partner sends keys.
    #[serde(rename = "ZMK")]
    Zmk,
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
    /// Every usage, in the order of their numbers in a store, from 1.
    pub const ALL: [Self; 10] = [
        Self::Kek,
        Self::Kmc,
        Self::Zmk,
        Self::Kml,
        Self::Kmu,
        Self::ImkAc,
        Self::ImkSmi,
        Self::ImkSmc,
        Self::Cvk,
        Self::Pvk,
    ];

    /// The issuer's master keys, which a bureau's store may not hold.
    pub const MASTERS: [Self; 7] =
        [Self::Kml, Self::Kmu, Self::ImkAc, Self::ImkSmi, Self::ImkSmc, Self::Cvk, Self::Pvk];

    /// Whether it is a master key of the issuer.
    pub fn is_master(self) -> bool {
        Self::MASTERS.contains(&self)
    }

    /// Whether a store of this side may hold it.
    pub fn allowed(self, side: StoreSide) -> bool {
        side == StoreSide::Issuer || !self.is_master()
    }
}

impl fmt::Display for KeyUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kek => "KEK",
            Self::Kmc => "KMC",
            Self::Zmk => "ZMK",
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
    Other,
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
    /// It is in a token, and the store has its name only.
    Token,
}

impl KeyOrigin {
    /// In the order of their numbers in a store, from 1.
    pub(super) const ALL: [Self; 4] = [Self::List, Self::Components, Self::Block, Self::Token];
}

impl fmt::Display for KeyOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::List => "list",
            Self::Components => "components",
            Self::Block => "block",
            Self::Token => "token",
        })
    }
}

/// All that is said of a key, in whatever way it comes.
#[derive(Debug, Clone)]
pub struct KeyTerms {
    /// Operator's name for it.
    pub label: String,
    /// Its purpose.
    pub usage: KeyUsage,
    /// Cipher and length.
    pub key_type: KeyType,
    /// In hex, upper case.
    pub id: String,
    /// Its version.
    pub version: u8,
    /// How it came into the store; the store sets this.
    pub origin: KeyOrigin,
    /// Unix time in seconds when it came into the store; the store sets this.
    pub made: u64,
    /// The other party that holds the key; for a KEK its issuer. A ZMK must have one, other keys may.
    pub partner: String,
    /// A KEK's, else 0.
    pub min_seclev: u8,
    /// A KEK's, else none.
    pub allow: Vec<KmcRef>,
}

/// Where the value of a key lies.
pub(super) enum KeyPlace {
    /// In the store.
    Value(CipherKey),
    /// In a token: the label of the object there, and the check value that it must have.
    Token { object: String, kcv: Kcv },
}

/// A key of the store. Shows everything but its value.
pub struct SecretEntry {
    pub(super) terms: KeyTerms,
    pub(super) place: KeyPlace,
    pub(super) odd_parity: bool,
    pub(super) doubt: Option<KeyDoubt>,
    pub(super) role: EntryRole,
}

impl SecretEntry {
    /// All that is said of it.
    pub fn terms(&self) -> &KeyTerms {
        &self.terms
    }

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

    /// The other party that holds it, if known; for a KEK its issuer.
    pub fn partner(&self) -> &str {
        &self.terms.partner
    }

    /// Key check value, computed from the key, or compared with it in the token: DES or AES-GP.
    pub fn kcv(&self) -> Kcv {
        match &self.place {
            KeyPlace::Value(key) => key.kcv(),
            KeyPlace::Token { kcv, .. } => *kcv,
        }
    }

    /// Its check values, each with its method.
    pub fn kcvs(&self) -> Vec<(KcvMethod, Kcv)> {
        match &self.place {
            KeyPlace::Value(key) => key.kcvs(),
            KeyPlace::Token { kcv, .. } => match self.terms.key_type {
                KeyType::Tdes2 => vec![(KcvMethod::Des, *kcv)],
                KeyType::Aes128 | KeyType::Aes192 | KeyType::Aes256 => vec![(KcvMethod::AesGp, *kcv)],
            },
        }
    }

    /// How it came into the store.
    pub fn origin(&self) -> KeyOrigin {
        self.terms.origin
    }

    /// The key, for use; `CipherKey` shows nothing of its value. An error if that lies in a token.
    pub fn key(&self) -> Result<&CipherKey, HsmError> {
        match &self.place {
            KeyPlace::Value(key) => Ok(key),
            KeyPlace::Token { .. } => Err(HsmError::KeyInToken(self.terms.label.clone())),
        }
    }

    /// The label of the token's object, if the value lies in a token.
    pub fn token_object(&self) -> Option<&str> {
        match &self.place {
            KeyPlace::Value(_) => None,
            KeyPlace::Token { object, .. } => Some(object),
        }
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
            EntryRole::Kmc(_) | EntryRole::Other => None,
        }
    }

    /// The reference, if it is a KMC.
    pub fn kmc(&self) -> Option<KmcRef> {
        match &self.role {
            EntryRole::Kmc(kmc) => Some(*kmc),
            EntryRole::Kek(_) | EntryRole::Other => None,
        }
    }
}
