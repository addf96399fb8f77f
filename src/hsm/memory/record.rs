//! What the HSM remembers, one record for each thing. The bytes of a record are its `postcard` encoding; a new kind is added at
//! the end.

use serde::{Deserialize, Serialize};

use super::mac::MemoryTag;
use crate::audit::{ChainPlace, Checkpoint, FirstCheckpoint, LedgerId};

/// A record of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemoryRecord {
    /// A host opened the store.
    Started {
        /// Version of the program.
        version: String,
        /// Unix time in ms.
        time: u64,
        /// Bytes of an unanswered record that were cut off the journal.
        cut: u64,
    },
    /// A ledger became known.
    LedgerKnown {
        /// The ledger.
        ledger: LedgerId,
        /// Epoch of the store.
        epoch: u32,
        /// A place that it had then, by a signature of this store; its events have to pass there.
        noted: Option<ChainPlace>,
        /// Two people; empty in TEST, where a ledger becomes known by itself.
        by: Vec<String>,
    },
    /// Events were shown and followed.
    Shown {
        /// Their ledger.
        ledger: LedgerId,
        /// Number of the event before them.
        after: u64,
        /// Unix time in ms.
        time: u64,
        /// Their bytes.
        events: Vec<Vec<u8>>,
        /// Tags of the chips that they bind. They stand here because a KMC that made one may be destroyed later.
        chips: Vec<MemoryTag>,
        /// Hash of the last one.
        hash: [u8; 32],
    },
    /// A place was signed by an earlier version.
    Signed(FirstCheckpoint),
    /// An event broke a law: the ledger goes no further.
    Stopped {
        /// The ledger.
        ledger: LedgerId,
        /// Number of the event that was shown.
        n: u64,
        /// SHA-256 of its bytes.
        event: [u8; 32],
        /// Why it was refused.
        why: String,
    },
    /// Another ledger goes on in place of this one, by the word of two people.
    Succeeded {
        /// The ledger that ended.
        ledger: LedgerId,
        /// The ledger that goes on.
        by_ledger: LedgerId,
        /// Two people.
        by: Vec<String>,
    },
    /// A file may go into a ledger.
    Admitted {
        /// SHA-256 of `"CWF1" | L1 issuer_id | L1 file_id`.
        name: [u8; 32],
        /// SHA-256 of the file.
        digest: [u8; 32],
        /// Its ledger.
        ledger: LedgerId,
        /// Number of its records, if its Trailer was shown.
        records: Option<u32>,
    },
    /// A place was signed.
    Checkpoint(Checkpoint),
    /// A ledger showed a signature of this store that the store does not remember: it was put back from a backup.
    StoreBehind {
        /// The ledger.
        ledger: LedgerId,
        /// The generation, or the event, that the store remembers.
        known: u64,
        /// The one that was signed.
        shown: u64,
    },
}
