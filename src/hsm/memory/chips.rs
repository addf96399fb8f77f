//! The chips that were bound, as tags that show nothing of them. Pure.
//!
//! ```text
//! "CWC1" | store id (16) | { count u32 | count × tag (16) | MAC (16) }*
//! Kc = HMAC(journal key, "CWC1" | store id)      MAC = HMAC(Kc, MAC before | count | tags)[..16]
//! ```
//!
//! Blocks are appended. The snapshot says how many bytes count, and repeats the last MAC: what comes behind was written before a
//! snapshot that was never finished, and comes again from the journal.
//!
//! Not here: how a tag is made of a chip (`chip_tag`).

use std::collections::HashSet;

use super::MemoryFault;
use super::mac::{MemoryKey, MemoryTag, TAG, same};

const MAGIC: &[u8; 4] = b"CWC1";
/// Bytes before the first block.
const HEAD: u64 = 4 + 16;

/// How much of the file counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChipsEnd {
    /// Its length.
    pub length: u64,
    /// The MAC of its last block; zeros before the first.
    pub tag: MemoryTag,
}

/// Every chip that was bound.
pub struct ChipSet {
    key: MemoryKey,
    end: ChipsEnd,
    tags: HashSet<MemoryTag>,
    /// Those that no block has yet.
    new: Vec<MemoryTag>,
}

impl ChipSet {
    /// The head of a new file, and the set of no chips.
    pub fn begin(key: &MemoryKey, store: &[u8; 16]) -> (Vec<u8>, Self) {
        let key = key.derived(&[MAGIC, store]);
        let end = ChipsEnd { length: HEAD, tag: [0; TAG] };
        ([&MAGIC[..], store].concat(), Self { key, end, tags: HashSet::new(), new: Vec::new() })
    }

    /// Reads the part of the file that counts.
    pub fn read(key: &MemoryKey, store: &[u8; 16], end: &ChipsEnd, file: &[u8]) -> Result<Self, MemoryFault> {
        let wrong = || MemoryFault::Chips;
        let (head, mut set) = Self::begin(key, store);
        let length = usize::try_from(end.length).map_err(|_| wrong())?;
        let mut rest = file.get(..length).and_then(|file| file.strip_prefix(&*head)).ok_or_else(wrong)?;
        while !rest.is_empty() {
            let (count, after) = rest.split_first_chunk::<4>().ok_or_else(wrong)?;
            let bytes = usize::try_from(u32::from_be_bytes(*count)).ok().and_then(|n| n.checked_mul(TAG));
            let (tags, after) = bytes.and_then(|bytes| after.split_at_checked(bytes)).ok_or_else(wrong)?;
            let (mac, after) = after.split_first_chunk::<TAG>().ok_or_else(wrong)?;
            if !same(&set.key.tag(&[&set.end.tag, count, tags]), mac) {
                return Err(MemoryFault::Chips);
            }
            set.end.tag = *mac;
            set.tags.extend(tags.as_chunks::<TAG>().0);
            rest = after;
        }
        set.end.length = end.length;
        if same(&set.end.tag, &end.tag) { Ok(set) } else { Err(MemoryFault::Chips) }
    }

    /// Whether a chip was bound before.
    pub fn contains(&self, tag: &MemoryTag) -> bool {
        self.tags.contains(tag)
    }

    /// Notes chips that are bound.
    pub fn note(&mut self, tags: &[MemoryTag]) {
        for tag in tags {
            if self.tags.insert(*tag) {
                self.new.push(*tag);
            }
        }
    }

    /// Number of chips.
    pub fn len(&self) -> usize {
        self.tags.len()
    }

    /// Whether no chip was bound.
    pub fn is_empty(&self) -> bool {
        self.tags.is_empty()
    }

    /// How much of the file counts, without chips that no block has yet.
    pub fn end(&self) -> ChipsEnd {
        self.end
    }

    /// The next block, with the chips that no block has yet, and the end behind it. Nothing if there are none.
    pub fn block(&self) -> Result<(Vec<u8>, ChipsEnd), MemoryFault> {
        if self.new.is_empty() {
            return Ok((Vec::new(), self.end));
        }
        let count = u32::try_from(self.new.len()).map_err(|_| MemoryFault::TooLong)?.to_be_bytes();
        let tag = self.key.tag(&[&self.end.tag, &count, self.new.as_flattened()]);
        let block = [&count[..], self.new.as_flattened(), &tag].concat();
        let more = u64::try_from(block.len()).map_err(|_| MemoryFault::TooLong)?;
        Ok((block, ChipsEnd { length: self.end.length.saturating_add(more), tag }))
    }

    /// The last block is written: its end counts.
    pub fn written(&mut self, end: ChipsEnd) {
        self.end = end;
        self.new.clear();
    }
}
