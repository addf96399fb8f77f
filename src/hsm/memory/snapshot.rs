//! The snapshot: all that the HSM remembers at one moment. Authenticated, not encrypted. Pure.
//!
//! ```text
//! "CWM3" | realm u8 | 000000 | store id (16) | generation u64 | length of `chips` u64 | its last tag (16)
//!        | length u64 | MemoryState, postcard | MAC (32) over all before
//! Km = HMAC(journal key, "CWM3" | store id)
//! ```
//!
//! The four letters name the form of MemoryState. Earlier forms are read, and never written: in the first, `CWM1`, no ledger has
//! shown an event yet; in the second, `CWM2`, checkpoints are of their first form.
//!
//! Not here: files (`mod`), what is remembered (`state`).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::MemoryFault;
use super::chips::ChipsEnd;
use super::journal::JournalName;
use super::mac::{MemoryKey, TAG, same};
use super::state::{AdmittedFile, LedgerMemory, LedgerStanding, MemoryState};
use crate::audit::{ChainPlace, Checkpoint, FirstCheckpoint, LedgerId};
use crate::ids::SpoolKeyName;
use crate::laws::LedgerBook;
use crate::laws::chain::beginning;

const MAGIC: &[u8; 4] = b"CWM3";
/// Of the earlier forms.
const FIRST: &[u8; 4] = b"CWM1";
const SECOND: &[u8; 4] = b"CWM2";
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
    let earlier = [FIRST, SECOND].into_iter().find(|magic| signed.starts_with(*magic));
    let magic = earlier.unwrap_or(MAGIC);
    if !same(&key.derived(&[magic, &name.store]).mac(&[signed]), mac) {
        return Err(MemoryFault::Snapshot);
    }
    let rest = signed.strip_prefix(&*name.head(magic)).ok_or_else(wrong)?;
    let (length, rest) = rest.split_first_chunk::<8>().ok_or_else(wrong)?;
    let (tag, rest) = rest.split_first_chunk::<TAG>().ok_or_else(wrong)?;
    let (size, body) = rest.split_first_chunk::<8>().ok_or_else(wrong)?;
    if u64::try_from(body.len()) != Ok(u64::from_be_bytes(*size)) {
        return Err(MemoryFault::Snapshot);
    }
    let state = match magic {
        FIRST => whole::<FirstState>(body)?.state()?,
        SECOND => whole::<SecondState>(body)?.state(),
        _ => whole(body)?,
    };
    Ok((ChipsEnd { length: u64::from_be_bytes(*length), tag: *tag }, state))
}

/// A value that takes all of these bytes.
fn whole<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, MemoryFault> {
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        _ => Err(MemoryFault::Snapshot),
    }
}

/// `MemoryState` in its first form.
#[derive(Deserialize)]
struct FirstState {
    generation: u64,
    time: u64,
    ledgers: BTreeMap<LedgerId, FirstLedger>,
    files: BTreeMap<[u8; 32], LedgerId>,
    /// Never used.
    _spools: BTreeMap<SpoolKeyName, LedgerId>,
}

/// A ledger in the first form.
#[derive(Deserialize)]
struct FirstLedger {
    epoch: u32,
    standing: LedgerStanding,
    /// Where its book stands, and the number of jobs, files and shifts in it: it has shown nothing, so they are zero.
    book: (ChainPlace, [u8; 3]),
    noted: Option<ChainPlace>,
    signed: Option<FirstCheckpoint>,
}

/// `MemoryState` in its second form.
#[derive(Deserialize)]
struct SecondState {
    generation: u64,
    time: u64,
    ledgers: BTreeMap<LedgerId, SecondLedger>,
    files: BTreeMap<[u8; 32], LedgerId>,
    admitted: BTreeMap<[u8; 32], AdmittedFile>,
    /// Never used.
    _spools: BTreeMap<SpoolKeyName, LedgerId>,
    behind: Option<(u64, u64)>,
}

/// A ledger in the second form.
#[derive(Deserialize)]
struct SecondLedger {
    epoch: u32,
    standing: LedgerStanding,
    book: LedgerBook,
    noted: Option<ChainPlace>,
    signed: Option<FirstCheckpoint>,
}

impl SecondState {
    fn state(self) -> MemoryState {
        let ledgers = self.ledgers.into_iter().map(|(ledger, known)| {
            let SecondLedger { epoch, standing, book, noted, signed } = known;
            (ledger, LedgerMemory { epoch, standing, book, noted, signed: signed.map(Checkpoint::from) })
        });
        let (files, admitted) = (self.files, self.admitted);
        MemoryState::of_earlier_form((self.generation, self.time), ledgers, files, admitted, self.behind)
    }
}

impl FirstState {
    fn state(self) -> Result<MemoryState, MemoryFault> {
        if self.ledgers.values().any(|known| known.book != (beginning(known.book.0.ledger), [0; 3])) {
            return Err(MemoryFault::Snapshot);
        }
        let ledgers = self.ledgers.into_iter().map(|(ledger, known)| {
            let FirstLedger { epoch, standing, noted, signed, book: _ } = known;
            let signed = signed.map(Checkpoint::from);
            (ledger, LedgerMemory { standing, noted, signed, ..LedgerMemory::new(ledger, epoch) })
        });
        let (files, admitted) = (self.files, BTreeMap::new());
        Ok(MemoryState::of_earlier_form((self.generation, self.time), ledgers, files, admitted, None))
    }
}
