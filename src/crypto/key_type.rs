//! The types of keys that a key store holds: cipher and length.
//!
//! Not here: the keys (`symmetric`), their purpose (`hsm::store`).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::cwf1::Suite;
use super::symmetric::KcvMethod;

/// Cipher and length of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyType {
    /// Two-key TDES, 16 bytes.
    #[serde(rename = "TDES2")]
    Tdes2,
    /// 16 bytes.
    #[serde(rename = "AES128")]
    Aes128,
    /// 24 bytes.
    #[serde(rename = "AES192")]
    Aes192,
    /// 32 bytes.
    #[serde(rename = "AES256")]
    Aes256,
}

impl KeyType {
    /// Every type.
    pub const ALL: [Self; 4] = [Self::Tdes2, Self::Aes128, Self::Aes192, Self::Aes256];

    /// Bytes of the key.
    pub fn length(self) -> usize {
        match self {
            Self::Tdes2 | Self::Aes128 => 16,
            Self::Aes192 => 24,
            Self::Aes256 => 32,
        }
    }

    /// Its strength as a number: higher is stronger. Two-key TDES has at most 112 bits.
    pub fn strength(self) -> usize {
        match self {
            Self::Tdes2 => 0,
            Self::Aes128 | Self::Aes192 | Self::Aes256 => self.length(),
        }
    }

    /// The method of its check values, if it has only one. AES has two, and partners state either.
    pub fn only_method(self) -> Option<KcvMethod> {
        (self == Self::Tdes2).then_some(KcvMethod::Des)
    }

    /// The cipher suite of files under a KEK of this type; AES-192 has none.
    pub fn suite(self) -> Option<Suite> {
        match self {
            Self::Tdes2 => Some(Suite::Tdes),
            Self::Aes128 => Some(Suite::Aes128),
            Self::Aes192 => None,
            Self::Aes256 => Some(Suite::Aes256),
        }
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tdes2 => "TDES2",
            Self::Aes128 => "AES128",
            Self::Aes192 => "AES192",
            Self::Aes256 => "AES256",
        })
    }
}
