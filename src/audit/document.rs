//! The seal of a document: what the HSM has counted of a closed job, and the text to which it belongs.
//!
//! ```text
//! "CWAD2" | kind u8 | ledger (16) | epoch u32 | n u64 | hash (32) | job u32 | time u64 | key u8 | text (32) | counted u8
//!         | if counted: file (32) | name (32) | simulated u8 | test u8
//!                     | records, good, cancelled, blanks fed, good, rejected, given back, sample: u64 each
//!                     | outcomes (32) | cards (32) | proof u8 | if proof: unproved u32
//! ```
//!
//! `n` and `hash` are the last event of the ledger that the HSM had acknowledged, `time` is its own (Unix in ms). `key` is the fate
//! of the spool's key. `counted` is 0 for a job that an earlier version accepted. `file` is the SHA-256 of the issuer's file, `name` that of
//! `"CWF1" | L1 issuer_id | L1 file_id`; `simulated` and `test` are 00 or 01. `outcomes` and `cards` are digests
//! over all records, in order: whoever has the return file computes both from its lines. `proof` is 0 where no person has to prove a
//! destruction (TEST keys).
//!
//! Earlier versions signed the digest of a text alone:
//!
//! ```text
//! "CWAD1" | kind u8 | ledger (16) | SHA-256 of the document (32)
//! ```
//!
//! Not here: the file in which a seal lies, and comparing it with a text (`report::seal`).

use serde::{Deserialize, Serialize};

use super::{AuditKey, ChainPlace, LedgerId, PublicKey, Signature, verified};
use crate::ids::JobId;

/// The kind of a signed document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum DocumentKind {
    /// Close-out report of a job.
    Report = 1,
    /// Return file for the issuer.
    ReturnFile = 2,
    /// Certificate that cardholder data was deleted.
    Certificate = 3,
}

/// The fate of the key that seals a job's spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum SpoolKeyState {
    /// The spool lies in the clear, or the HSM does not know which key seals it.
    None = 0,
    /// The HSM has the key.
    There = 1,
    /// The HSM destroyed the key.
    Destroyed = 2,
    /// The HSM has no key of that name.
    Missing = 3,
}

/// What the HSM has counted of a closed job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CountedJob {
    /// SHA-256 of the issuer's file.
    #[serde(with = "digest")]
    pub file: [u8; 32],
    /// SHA-256 of its name (`laws::file_name_hash`).
    #[serde(with = "digest")]
    pub name: [u8; 32],
    /// The line was simulated.
    pub simulated: bool,
    /// Made with TEST keys.
    pub test_keys: bool,
    /// Records of the job.
    pub records: u64,
    /// Records GOOD.
    pub good: u64,
    /// Records CANCELLED.
    pub cancelled: u64,
    /// Blanks fed.
    pub blanks_fed: u64,
    /// Blanks of good cards.
    pub blanks_good: u64,
    /// Blanks rejected, or destroyed later.
    pub blanks_rejected: u64,
    /// Blanks given back to stock.
    pub blanks_returned: u64,
    /// Test cards.
    pub blanks_sample: u64,
    /// Digest over the outcome of every record (`laws::OutcomesDigest`).
    #[serde(with = "digest")]
    pub outcomes: [u8; 32],
    /// Digest over every card_ref (`laws::CardsDigest`).
    #[serde(with = "digest")]
    pub cards: [u8; 32],
    /// Destructions that no person proved to the HSM; `None` where none has to be proved.
    pub unproved: Option<u32>,
}

/// A digest as hex digits in a text, and as its bytes elsewhere.
mod digest {
    use hex::FromHex;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(digest: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&hex::encode_upper(digest))
        } else {
            digest.serialize(serializer)
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        if !deserializer.is_human_readable() {
            return <_>::deserialize(deserializer);
        }
        <_>::from_hex(String::deserialize(deserializer)?).map_err(|_| D::Error::custom("it is no digest"))
    }
}

/// What a seal says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedDocument {
    /// Its kind.
    pub kind: DocumentKind,
    /// The last event that the HSM had acknowledged.
    pub head: ChainPlace,
    /// Epoch of the HSM's store for this ledger.
    pub epoch: u32,
    /// The job.
    pub job: JobId,
    /// The HSM's time, Unix in ms.
    pub time: u64,
    /// The fate of the spool's key.
    pub spool_key: SpoolKeyState,
    /// What was counted; `None` for a job that an earlier version accepted.
    pub counted: Option<CountedJob>,
    /// SHA-256 of the document.
    pub text: [u8; 32],
}

/// A document's seal with its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentSeal {
    /// What was signed.
    pub document: SealedDocument,
    /// Public half of the key that signed.
    pub key: PublicKey,
    /// The signature.
    pub signature: Signature,
}

impl SealedDocument {
    fn message(&self) -> Vec<u8> {
        let ChainPlace { ledger, n, hash } = &self.head;
        let mut message = [&b"CWAD2"[..], &[self.kind as u8], &ledger.0].concat();
        message.extend(self.epoch.to_be_bytes());
        message.extend(n.to_be_bytes());
        message.extend(hash);
        message.extend(self.job.0.to_be_bytes());
        message.extend(self.time.to_be_bytes());
        message.push(self.spool_key as u8);
        message.extend(self.text);
        message.push(u8::from(self.counted.is_some()));
        if let Some(counted) = &self.counted {
            counted.extend(&mut message);
        }
        message
    }
}

impl CountedJob {
    fn extend(&self, message: &mut Vec<u8>) {
        message.extend(self.file);
        message.extend(self.name);
        message.extend([u8::from(self.simulated), u8::from(self.test_keys)]);
        let Self { records, good, cancelled, .. } = self;
        let Self { blanks_fed, blanks_good, blanks_rejected, blanks_returned, blanks_sample, .. } = self;
        let blanks = [blanks_fed, blanks_good, blanks_rejected, blanks_returned, blanks_sample];
        for count in [records, good, cancelled].into_iter().chain(blanks) {
            message.extend(count.to_be_bytes());
        }
        message.extend(self.outcomes);
        message.extend(self.cards);
        message.push(u8::from(self.unproved.is_some()));
        message.extend(self.unproved.into_iter().flat_map(u32::to_be_bytes));
    }
}

impl DocumentSeal {
    /// Whether [`Self::key`] made the signature. The caller must know from elsewhere whose key that is.
    pub fn is_genuine(&self) -> bool {
        verified(self.key, &self.document.message(), self.signature)
    }
}

/// Whether `key` signed a document of this kind and digest in the first form.
pub fn is_genuine_first_form(
    kind: DocumentKind,
    ledger: LedgerId,
    digest: &[u8; 32],
    key: PublicKey,
    signature: Signature,
) -> bool {
    verified(key, &[&b"CWAD1"[..], &[kind as u8], &ledger.0, digest].concat(), signature)
}

impl AuditKey {
    /// Seals a document.
    pub fn seal(&self, document: SealedDocument) -> DocumentSeal {
        DocumentSeal { document, key: self.public(), signature: self.sign(&document.message()) }
    }
}
