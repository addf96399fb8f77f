//! The hash chain over the events: `src/manual/ledger-events.md`, section 1. Pure.
//!
//! Version 1: SHA-256(hash before | canonical bytes, which begin with `"CWL1"`). Version 2: SHA-256(hash before |
//! `"CWL2"` | ledger | bytes of the event). Both words stand at the same offset of the hashed bytes, so no event can
//! pass for one of the other version.

use sha2::{Digest, Sha256};

use super::event::codec;
use super::event::version_one::{self, VersionOneRow};
use crate::audit::{ChainPlace, LedgerId};

/// SHA-256.
pub(crate) type Hash = [u8; 32];

/// The hash before the first event.
pub(crate) const GENESIS: Hash = [0; 32];

/// The hash of a version 1 event that follows `previous`. `scratch` is a buffer that the caller reuses.
pub(crate) fn hash_version_one(previous: &Hash, row: &VersionOneRow, scratch: &mut Vec<u8>) -> Hash {
    scratch.clear();
    row.canonical(scratch);
    Sha256::new().chain_update(previous).chain_update(scratch).finalize().into()
}

/// The hash of a version 2 event that follows `previous`; `event` holds its bytes.
pub(crate) fn hash_version_two(previous: &Hash, ledger: LedgerId, event: &[u8]) -> Hash {
    let sha = Sha256::new().chain_update(previous).chain_update("CWL2").chain_update(ledger.0);
    sha.chain_update(event).finalize().into()
}

/// The place after an event of either version that follows `before`; `None` if the bytes are no event's. They are not checked
/// otherwise.
pub fn place_after(before: &ChainPlace, bytes: &[u8]) -> Option<ChainPlace> {
    let (n, hash) = if bytes.starts_with(version_one::MAGIC) {
        let row = VersionOneRow::read(bytes)?;
        (row.n, hash_version_one(&before.hash, &row, &mut Vec::new()))
    } else {
        (codec::number_in(bytes)?, hash_version_two(&before.hash, before.ledger, bytes))
    };
    Some(ChainPlace { n, hash, ..*before })
}

/// The place before the first event of a ledger.
pub fn beginning(ledger: LedgerId) -> ChainPlace {
    ChainPlace { ledger, n: 0, hash: GENESIS }
}
