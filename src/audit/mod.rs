//! The signatures of the audit key and their verification: checkpoints of a ledger, and documents (reports,
//! return files, certificates). The signatures are Ed25519 (RFC 8032); each signed message begins with its
//! type, and its integers are big-endian.
//!
//! ```text
//! checkpoint    a place of a ledger's chain
//! document      what the HSM has counted of a closed job, and a text about it
//! ```
//!
//! Not here: the private key, which never leaves the HSM host (`hsm::audit_book`).

use ed25519_dalek::{Signature as Ed25519, SigningKey, VerifyingKey};
use hex::FromHex;
use serde::{Deserialize, Serialize};

use crate::hardening::LockedBox;

mod checkpoint;
mod document;

pub use checkpoint::{Checkpoint, CheckpointLink, FirstCheckpoint};
pub use document::{
    CountedJob, DocumentKind, DocumentSeal, SealedDocument, SpoolKeyState, is_genuine_first_form,
};

/// Name of a ledger: 16 random bytes, drawn when the ledger is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LedgerId(pub [u8; 16]);

impl std::fmt::Display for LedgerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode_upper(self.0))
    }
}

/// An Ed25519 public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicKey(pub [u8; 32]);

impl std::fmt::Display for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode_upper(self.0))
    }
}

impl std::str::FromStr for PublicKey {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        <_>::from_hex(text).map(Self).map_err(|_| {
            format!("an audit key has 64 hex digits; this text has {} characters", text.chars().count())
        })
    }
}

/// An Ed25519 signature, as two halves because serde implements arrays up to 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature(pub [[u8; 32]; 2]);

impl Signature {
    /// Returns the 64 bytes of the signature.
    pub fn to_bytes(self) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes.iter_mut().zip(self.0.as_flattened()).for_each(|(to, from)| *to = *from);
        bytes
    }

    /// Makes a signature from its 64 bytes.
    pub fn from_bytes(bytes: [u8; 64]) -> Self {
        let mut halves = [[0; 32]; 2];
        halves.as_flattened_mut().iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        Self(halves)
    }
}

/// A position in the chain of a ledger: an event with its number and hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainPlace {
    /// The ledger.
    pub ledger: LedgerId,
    /// Number of an event, from 1.
    pub n: u64,
    /// Hash of that event.
    pub hash: [u8; 32],
}

fn verified(key: PublicKey, message: &[u8], signature: Signature) -> bool {
    // Strict: one signature has one form, and no weak key signs anything.
    VerifyingKey::from_bytes(&key.0)
        .is_ok_and(|key| key.verify_strict(message, &Ed25519::from_bytes(&signature.to_bytes())).is_ok())
}

/// The audit key: its seed, in locked pages, and its public half. It exists in the HSM host alone; zeroized when dropped.
pub struct AuditKey(LockedBox<[u8; 32]>, PublicKey);

impl AuditKey {
    /// Makes the key from its seed (RFC 8032 section 5.1.5).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let public = PublicKey(SigningKey::from_bytes(seed).verifying_key().to_bytes());
        Self(LockedBox::copy_of(seed), public)
    }

    /// Returns the public key, with which others verify signatures.
    pub fn public(&self) -> PublicKey {
        self.1
    }

    fn sign(&self, message: &[u8]) -> Signature {
        use ed25519_dalek::Signer;
        Signature::from_bytes(SigningKey::from_bytes(&self.0).sign(message).to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<const N: usize>(text: &str) -> [u8; N] {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    /// RFC 8032 section 7.1, TEST 1 to 3.
    #[test]
    fn vectors_of_rfc_8032() {
        let vectors = [
            (
                "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
                "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
                "",
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f\
                 0595bbe24655141438e7a100b",
            ),
            (
                "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
                "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
                "72",
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2ea\
                 eb4302aeeb00d291612bb0c00",
            ),
            (
                "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
                "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
                "af82",
                "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e\
                 9716ed28dc027beceea1ec40a",
            ),
        ];
        for (seed, public, message, signature) in vectors {
            let key = AuditKey::from_seed(&bytes(seed));
            assert_eq!(key.public(), PublicKey(bytes(public)));
            let message = hex::decode(message).unwrap();
            assert_eq!(key.sign(&message).to_bytes(), bytes::<64>(signature));
            assert!(verified(key.public(), &message, Signature::from_bytes(bytes(signature))));
        }
    }
}
