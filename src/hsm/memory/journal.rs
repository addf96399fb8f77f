//! The journal: what the HSM remembers since the last snapshot. Authenticated, not encrypted: it holds what ledgers hold in
//! clear, and tags. Pure.
//!
//! ```text
//! head    "CWJ1" | realm u8 | 000000 | store id (16) | generation u64 | SHA-256 of the snapshot (32) | MAC (32)
//! record  length u32 | check (4) | record (length) | tag (16)
//! Kj = HMAC(journal key, "CWJ1" | store id)
//! check = HMAC(Kj, 01 | tag before | length)[..4]      tag = HMAC(Kj, 02 | tag before | length | record)[..16]
//! the tag before the first record = the head's MAC[..16]
//! ```
//!
//! A last record that the file ends inside of, or that is zero from some byte to the end of the file, was never answered: it is
//! cut. Everything else must be authentic, or the store does not open. So a flipped bit cannot pass for a torn write, also not
//! one in a length: `check` covers it. Whoever cuts the file between two records is found by who knows a later checkpoint.
//!
//! Not here: files (`mod`), what records mean (`state`).

use sha2::{Digest, Sha256};

use super::MemoryFault;
use super::mac::{MemoryKey, MemoryTag, TAG, same};
use super::record::MemoryRecord;

const MAGIC: &[u8; 4] = b"CWJ1";
/// Bytes of the head.
pub(super) const HEAD: usize = 4 + 4 + 16 + 8 + 32 + 32;
/// Bytes before a record: its length, and the check of the length.
const FRAME: usize = 8;
/// Bytes of the check of a length.
const CHECK: usize = 4;
/// Longest record. An acknowledgement shows at most 512 KiB of events.
pub(super) const RECORD_MAX: usize = 1 << 20;
/// Smallest unit that a disk writes: a torn write leaves zeros from such a boundary on.
const SECTOR: usize = 512;

/// The names of a journal: its store, and its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalName {
    /// `T` or `L`.
    pub realm: u8,
    /// Identifier of the store.
    pub store: [u8; 16],
    /// Number of the journal, and of the snapshot before it.
    pub generation: u64,
}

impl JournalName {
    /// The bytes with which a file of this name begins.
    pub(super) fn head(&self, magic: &[u8; 4]) -> Vec<u8> {
        let realm = [self.realm, 0, 0, 0];
        [&magic[..], &realm, &self.store, &self.generation.to_be_bytes()].concat()
    }
}

/// The end of a journal, where the next record goes.
#[derive(Clone)]
pub struct JournalEnd {
    key: MemoryKey,
    tag: MemoryTag,
}

/// What a journal holds.
pub struct JournalRead {
    /// Its records, in order.
    pub records: Vec<MemoryRecord>,
    /// Where the next one goes.
    pub end: JournalEnd,
    /// Length of the part that holds them.
    pub length: usize,
}

impl JournalEnd {
    /// The head of a new journal after this snapshot, and its end.
    pub fn begin(key: &MemoryKey, name: &JournalName, snapshot: &[u8]) -> (Vec<u8>, Self) {
        let key = key.derived(&[MAGIC, &name.store]);
        let mut head = name.head(MAGIC);
        head.extend(Sha256::digest(snapshot));
        let mac = key.mac(&[&head]);
        head.extend(mac);
        let tag = first(&mac);
        (head, Self { key, tag })
    }

    /// The bytes of the next record.
    pub fn append(&mut self, record: &MemoryRecord) -> Result<Vec<u8>, MemoryFault> {
        let body = postcard::to_allocvec(record).map_err(|_| MemoryFault::TooLong)?;
        let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= RECORD_MAX);
        let length = length.ok_or(MemoryFault::TooLong)?.to_be_bytes();
        let check = self.check(length);
        let tag = self.key.tag(&[&[2], &self.tag, &length, &body]);
        self.tag = tag;
        Ok([&length[..], &check, &body, &tag].concat())
    }

    fn check(&self, length: [u8; 4]) -> [u8; CHECK] {
        first(&self.key.mac(&[&[1], &self.tag, &length]))
    }
}

/// The first bytes of a MAC.
fn first<const N: usize>(mac: &[u8; 32]) -> [u8; N] {
    let mut part = [0; N];
    part.iter_mut().zip(mac).for_each(|(to, from)| *to = *from);
    part
}

/// Reads the journal of this name, which follows this snapshot.
pub fn read(
    key: &MemoryKey,
    name: &JournalName,
    snapshot: &[u8],
    file: &[u8],
) -> Result<JournalRead, MemoryFault> {
    let (head, mut end) = JournalEnd::begin(key, name, snapshot);
    let (found, mut rest) = file.split_at_checked(HEAD).ok_or(MemoryFault::Head)?;
    if !same(found, &head) {
        return Err(MemoryFault::Head);
    }
    let (mut records, mut length) = (Vec::new(), HEAD);
    while !rest.is_empty() {
        let Some((record, size)) = next(&mut end, rest, length)? else { break };
        records.push(record);
        length += size;
        rest = rest.get(size..).unwrap_or_default();
    }
    Ok(JournalRead { records, end, length })
}

/// The record at the beginning of `rest` and its size; `None` if it is torn. `at` is the place of `rest` in the file.
fn next(end: &mut JournalEnd, rest: &[u8], at: usize) -> Result<Option<(MemoryRecord, usize)>, MemoryFault> {
    let wrong =
        |size| if is_zero_inside(rest, at, size) { Ok(None) } else { Err(MemoryFault::Record { at }) };
    let Some((frame, after)) = rest.split_at_checked(FRAME) else { return Ok(None) };
    let Some((length, check)) = frame.split_first_chunk::<4>() else { return Ok(None) };
    if !same(&end.check(*length), check) {
        return wrong(FRAME);
    }
    let size = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| MemoryFault::Record { at })?;
    let Some((body, after)) = after.split_at_checked(size) else { return Ok(None) };
    let Some((tag, _)) = after.split_first_chunk::<TAG>() else { return Ok(None) };
    let right = end.key.tag(&[&[2], &end.tag, length, body]);
    let whole = FRAME + size + TAG;
    if !same(&right, tag) {
        return wrong(whole);
    }
    let (record, left) = postcard::take_from_bytes(body).map_err(|_| MemoryFault::Meaning { at })?;
    if !left.is_empty() {
        return Err(MemoryFault::Meaning { at });
    }
    end.tag = right;
    Ok(Some((record, whole)))
}

/// Whether the file is zero to its end from a place inside of the next `size` bytes on, as a power cut leaves a write: from its
/// beginning, from a boundary of sectors, or in as many bytes as a tag has. `at` is the place of `rest` in the file.
fn is_zero_inside(rest: &[u8], at: usize, size: usize) -> bool {
    let used = rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let boundary = (at + used).next_multiple_of(SECTOR);
    used < size && (used == 0 || boundary < at + rest.len() || rest.len() - used >= TAG)
}
