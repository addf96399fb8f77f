//! Digests over all records of a closed job, which the HSM signs with each paper: whoever has the return file computes both from its
//! lines (`src/manual/return-file.md`). Pure.

use sha2::{Digest, Sha256};

use super::types::RecordState;
use crate::laws::event::StateName;

/// SHA-256 over `{ sequence u32 | state u8 | attempts u32 | position u32 }*`, the records in order. The state is the code of
/// events (`src/manual/ledger-events.md`); the position in the stack is 0 for a card that has none.
#[derive(Debug, Default)]
pub struct OutcomesDigest(Sha256);

impl OutcomesDigest {
    /// Adds the next record.
    pub fn add(&mut self, seq: u32, state: RecordState, attempts: u32, position: u32) {
        self.0.update(seq.to_be_bytes());
        self.0.update([StateName::from(state).code()]);
        self.0.update(attempts.to_be_bytes());
        self.0.update(position.to_be_bytes());
    }

    /// The digest.
    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// SHA-256 over every card_ref with its length (one byte) before it, in the order of the sequences.
#[derive(Debug, Default)]
pub struct CardsDigest(Sha256);

impl CardsDigest {
    /// Adds the next card_ref.
    pub fn add(&mut self, card_ref: &str) {
        // A card_ref has at most 40 characters.
        self.0.update([u8::try_from(card_ref.len()).unwrap_or(u8::MAX)]);
        self.0.update(card_ref.as_bytes());
    }

    /// The digest.
    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}
