//! Rows on disk, in parts of neighbouring cards: written in any order, read card by card. Each chunk of a part is sealed by
//! AES-256-GCM under a key that only this process has, in a file without a name.
//!
//! ```text
//! file:  { sealed chunk | tag (16) }*          nonce: 0 u32 | offset u64
//! chunk: { card u32 | length u32 | row }*      integers big-endian
//! ```
//!
//! An offset is used once, so no nonce is used twice. A chunk that was changed or moved is not opened. When the process ends,
//! however that happens, file and key are gone.
//!
//! Rows arrive source by source but are read card by card. In one plain file the rows of a card would lie far apart, and
//! each would cost a read. A part holds all rows of its cards, so one pass over the cards opens each part once.

use std::fs::File;
use std::io::{Error, Result};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use aes_gcm::aead::{AeadInOut, inout::InOutBuf};
use aes_gcm::{Aes256Gcm, KeyInit};
use zeroize::Zeroizing;

use crate::exit::Failure;
use crate::prep::fill_random;
use crate::wiped::WipedBytes;

/// Bytes of card and length in front of a row.
const FRONT: usize = 8;
/// Bytes of the tag behind a chunk.
const TAG: usize = 16;
/// Bytes of a chunk, unless one row is longer.
const CHUNK: usize = 8 << 10;
/// Most parts, each of which fills a chunk at a time.
const PARTS_MAX: u32 = 1024;
/// Fewest cards of a part.
const CARDS_MIN: u32 = 256;

/// The rows, which are added first and read then.
pub(super) struct SealedRows {
    file: File,
    length: u64,
    cipher: Aes256Gcm,
    /// Cards of a part.
    cards: u32,
    parts: Vec<Part>,
    /// The part that was opened last, by its number.
    opened: Option<(usize, OpenedPart)>,
}

/// The rows of neighbouring cards.
#[derive(Default)]
struct Part {
    /// Offset and length of each chunk in the file, its tag included.
    chunks: Vec<(u64, usize)>,
    /// The chunk that is being filled.
    filling: WipedBytes,
}

/// A part in memory.
struct OpenedPart {
    bytes: WipedBytes,
    /// Card and place of each row, by card; rows of one card in the order in which they were added.
    rows: Vec<(u32, Range<usize>)>,
}

impl SealedRows {
    /// An empty file that nobody else uses, for rows of so many cards.
    pub fn new(file: File, cards: u32) -> std::result::Result<Self, Failure> {
        let mut key = Zeroizing::new([0; 32]);
        fill_random(&mut *key)?;
        let cipher = Aes256Gcm::new((&*key).into());
        let of_part = cards.div_ceil(PARTS_MAX).max(CARDS_MIN);
        let parts = (0..cards.div_ceil(of_part)).map(|_| Part::default()).collect();
        Ok(Self { file, length: 0, cipher, cards: of_part, parts, opened: None })
    }

    /// Adds a row of a card, which is one of those for which the file was made.
    pub fn add(&mut self, card: u32, row: &[u8]) -> Result<()> {
        let number = self.part_of(card)?;
        let part = self.parts.get_mut(number).ok_or_else(damaged)?;
        let needed = FRONT + row.len();
        if part.filling.len() + needed > part.filling.capacity() {
            seal(&self.cipher, &self.file, &mut self.length, part)?;
            // Never grown: growing could leave an unwiped copy.
            if part.filling.capacity() < needed {
                part.filling = WipedBytes::with_capacity(needed.max(CHUNK));
            }
        }
        let length = u32::try_from(row.len()).map_err(Error::other)?;
        part.filling.extend_from_slice(&card.to_be_bytes());
        part.filling.extend_from_slice(&length.to_be_bytes());
        part.filling.extend_from_slice(row);
        Ok(())
    }

    /// Ends adding.
    pub fn flush(&mut self) -> Result<()> {
        for part in &mut self.parts {
            seal(&self.cipher, &self.file, &mut self.length, part)?;
            part.filling = WipedBytes::default();
        }
        Ok(())
    }

    /// The rows of a card, in the order in which they were added.
    pub fn of_card(&mut self, card: u32) -> Result<impl Iterator<Item = &[u8]>> {
        let number = self.part_of(card)?;
        let opened = match self.opened.take() {
            Some((known, part)) if known == number => part,
            // The other part is wiped before another one is read.
            other => {
                drop(other);
                self.open(number)?
            }
        };
        let (_, OpenedPart { bytes, rows }) = self.opened.insert((number, opened));
        let from = rows.partition_point(|(known, _)| *known < card);
        let rows = rows.get(from..).unwrap_or_default().iter().take_while(move |(known, _)| *known == card);
        Ok(rows.filter_map(|(_, row)| bytes.get(row.clone())))
    }

    fn part_of(&self, card: u32) -> Result<usize> {
        usize::try_from(card / self.cards).map_err(Error::other)
    }

    /// Reads a part.
    fn open(&self, number: usize) -> Result<OpenedPart> {
        let Some(Part { chunks, .. }) = self.parts.get(number) else { return Err(damaged()) };
        let mut bytes = WipedBytes::with_capacity(chunks.iter().map(|(_, length)| length).sum());
        for (offset, length) in chunks {
            let begin = bytes.len();
            bytes.resize(begin + length, 0);
            let chunk = bytes.get_mut(begin..).unwrap_or_default();
            self.file.read_exact_at(chunk, *offset)?;
            let (chunk, tag) = chunk.split_last_chunk_mut::<TAG>().ok_or_else(damaged)?;
            let chunk = InOutBuf::from(chunk);
            let opened = self.cipher.decrypt_inout_detached(&nonce(*offset), &[], chunk, &(*tag).into());
            opened.map_err(|_| damaged())?;
            bytes.truncate(begin + length - TAG);
        }
        let mut rows = Vec::new();
        let mut place = 0;
        while let Some([a, b, c, d, e, f, g, h]) = bytes.get(place..).and_then(|rest| rest.first_chunk()) {
            let length = u32::from_be_bytes([*e, *f, *g, *h]);
            let begin = place + FRONT;
            place = begin + usize::try_from(length).map_err(Error::other)?;
            rows.push((u32::from_be_bytes([*a, *b, *c, *d]), begin..place));
        }
        rows.sort_by_key(|(card, _)| *card);
        Ok(OpenedPart { bytes, rows })
    }
}

/// Seals the chunk that a part fills, and writes it. What stays in the buffer is the sealed chunk.
fn seal(cipher: &Aes256Gcm, file: &File, end: &mut u64, part: &mut Part) -> Result<()> {
    if part.filling.is_empty() {
        return Ok(());
    }
    let offset = *end;
    let chunk = InOutBuf::from(part.filling.as_mut_slice());
    let tag = cipher.encrypt_inout_detached(&nonce(offset), &[], chunk).map_err(|_| damaged())?;
    let length = part.filling.len();
    let behind = offset.checked_add(u64::try_from(length).map_err(Error::other)?).ok_or_else(damaged)?;
    file.write_all_at(&part.filling, offset)?;
    file.write_all_at(&tag, behind)?;
    *end = behind.checked_add(u64::try_from(TAG).map_err(Error::other)?).ok_or_else(damaged)?;
    part.chunks.push((offset, length + TAG));
    part.filling.clear();
    Ok(())
}

fn nonce(offset: u64) -> aes_gcm::Nonce<aes_gcm::aead::consts::U12> {
    let [a, b, c, d, e, f, g, h] = offset.to_be_bytes();
    [0, 0, 0, 0, a, b, c, d, e, f, g, h].into()
}

fn damaged() -> Error {
    Error::other("its sealed copy was changed")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of all lengths around that of a chunk.
    const LENGTHS: [usize; 8] = [0, 1, 40, CHUNK - FRONT - 1, CHUNK - FRONT, CHUNK - FRONT + 1, 70_000, 5];
    /// Cards of three parts.
    const CARDS: u32 = 3 * CARDS_MIN;

    fn row(card: u32, source: usize) -> Vec<u8> {
        let length = LENGTHS[(card as usize + source) % LENGTHS.len()];
        (0..length).map(|place| u8::try_from((place + 7 * source + card as usize) % 251).unwrap()).collect()
    }

    /// Rows of three sources, each in an order of its own; every fifth card has none in the second.
    fn filled() -> SealedRows {
        let mut rows = SealedRows::new(tempfile::tempfile().unwrap(), CARDS).map_err(|f| f.message).unwrap();
        for (source, step) in [1, 5, 7].into_iter().enumerate() {
            for card in (0..CARDS).map(|number| number * step % CARDS) {
                if source != 1 || !card.is_multiple_of(5) {
                    rows.add(card, &row(card, source)).unwrap();
                }
            }
        }
        rows.flush().unwrap();
        rows
    }

    fn of_card(rows: &mut SealedRows, card: u32) -> Result<Vec<Vec<u8>>> {
        rows.of_card(card).map(|rows| rows.map(<[u8]>::to_vec).collect())
    }

    #[test]
    fn each_card_has_its_rows_in_the_order_of_the_sources() {
        let mut rows = filled();
        assert_eq!(rows.parts.len(), 3);
        for card in (0..CARDS).chain((0..CARDS).step_by(200)) {
            let sources = [0, 1, 2].into_iter().filter(|source| *source != 1 || !card.is_multiple_of(5));
            let expected: Vec<_> = sources.map(|source| row(card, source)).collect();
            assert_eq!(of_card(&mut rows, card).unwrap(), expected, "{card}");
        }
        assert!(of_card(&mut rows, CARDS).is_err(), "no card of the file");
        assert!(rows.add(CARDS, b"x").is_err());
    }

    #[test]
    fn nothing_is_in_the_clear_and_what_was_changed_or_moved_is_not_opened() {
        let mut rows = filled();
        let clear = &row(10, 0);
        assert_eq!(clear.len(), 40);
        let mut all = vec![0; usize::try_from(rows.length).unwrap()];
        rows.file.read_exact_at(&mut all, 0).unwrap();
        assert!(!all.windows(clear.len()).any(|part| part == clear), "it is sealed");
        let (offset, length) = rows.parts[0].chunks[0];
        let chunk = all[usize::try_from(offset).unwrap()..][..length].to_vec();
        for place in (0..length).step_by(61).chain(length - TAG..length) {
            let mut changed = chunk.clone();
            changed[place] ^= 1;
            rows.file.write_all_at(&changed, offset).unwrap();
            assert!(of_card(&mut rows, 0).is_err(), "byte {place}");
        }
        rows.file.write_all_at(&chunk, offset).unwrap();
        assert!(of_card(&mut rows, 0).is_ok());
        // A chunk in the place of another.
        let chunks = rows.parts[1].chunks.clone();
        let (other, _) = *chunks.iter().find(|(_, other)| *other == length).unwrap();
        rows.file.write_all_at(&chunk, other).unwrap();
        assert!(of_card(&mut rows, CARDS_MIN).is_err());
        rows.file.set_len(offset).unwrap();
        assert!(of_card(&mut rows, CARDS - 1).is_err(), "cut off");
    }
}
