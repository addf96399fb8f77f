//! The snapshot: all that the HSM remembers at one moment. Authenticated, not encrypted. Pure.
//!
//! ```text
//! "CWM1" | realm u8 | 000000 | store id (16) | generation u64 | length of `chips` u64 | its last tag (16)
//!        | length u64 | MemoryState, postcard | MAC (32) over all before
//! Km = HMAC(journal key, "CWM1" | store id)
//! ```
//!
//! Not here: files (`mod`), what is remembered (`state`).

use super::MemoryFault;
use super::chips::ChipsEnd;
use super::journal::JournalName;
use super::mac::{MemoryKey, TAG, same};
use super::state::MemoryState;

const MAGIC: &[u8; 4] = b"CWM1";
/// Bytes of a MAC.
const MAC: usize = 32;

/// The bytes of a snapshot.
pub fn write(
    key: &MemoryKey,
    name: &JournalName,
    chips: &ChipsEnd,
    state: &MemoryState,
) -> Result<Vec<u8>, MemoryFault> {
    let body = postcard::to_allocvec(state).map_err(|_| MemoryFault::TooLong)?;
    let length = u64::try_from(body.len()).map_err(|_| MemoryFault::TooLong)?;
    let mut file = name.head(MAGIC);
    file.extend(chips.length.to_be_bytes());
    file.extend(chips.tag);
    file.extend(length.to_be_bytes());
    file.extend(body);
    let mac = key.derived(&[MAGIC, &name.store]).mac(&[&file]);
    file.extend(mac);
    Ok(file)
}

/// Reads the snapshot of this name.
pub fn read(
    key: &MemoryKey,
    name: &JournalName,
    file: &[u8],
) -> Result<(ChipsEnd, MemoryState), MemoryFault> {
    let wrong = || MemoryFault::Snapshot;
    let (signed, mac) = file.split_last_chunk::<MAC>().ok_or_else(wrong)?;
    if !same(&key.derived(&[MAGIC, &name.store]).mac(&[signed]), mac) {
        return Err(MemoryFault::Snapshot);
    }
    let rest = signed.strip_prefix(&*name.head(MAGIC)).ok_or_else(wrong)?;
    let (length, rest) = rest.split_first_chunk::<8>().ok_or_else(wrong)?;
    let (tag, rest) = rest.split_first_chunk::<TAG>().ok_or_else(wrong)?;
    let (size, body) = rest.split_first_chunk::<8>().ok_or_else(wrong)?;
    if u64::try_from(body.len()) != Ok(u64::from_be_bytes(*size)) {
        return Err(MemoryFault::Snapshot);
    }
    let (state, left) = postcard::take_from_bytes(body).map_err(|_| MemoryFault::Snapshot)?;
    if !left.is_empty() {
        return Err(MemoryFault::Snapshot);
    }
    Ok((ChipsEnd { length: u64::from_be_bytes(*length), tag: *tag }, state))
}
