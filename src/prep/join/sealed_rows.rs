//! Rows on disk, each sealed by AES-256-GCM under a key that only this process has, in a file without a name.
//!
//! ```text
//! length u32 | sealed row | tag (16)         nonce: 0 u32 | offset u64
//! ```
//!
//! An offset is used once, so no nonce is used twice. A row that was changed or moved is not opened. When the process ends,
//! however that happens, file and key are gone.

use std::fs::File;
use std::io::{BufWriter, Error, Result, Write};
use std::os::unix::fs::FileExt;

use aes_gcm::aead::{AeadInOut, inout::InOutBuf};
use aes_gcm::{Aes256Gcm, KeyInit};
use zeroize::Zeroizing;

use crate::exit::Failure;
use crate::prep::fill_random;
use crate::wiped::WipedBytes;

/// Bytes of the length in front of a row.
const LENGTH: usize = 4;
/// Bytes of the tag behind it.
const TAG: usize = 16;
/// Bytes that are read at once: most rows fit, and more would cost more than a second read for the few others.
const READ: usize = 1024;
/// Bytes that are written at once.
const WRITE: usize = 256 << 10;

/// The rows, which are added first and then read in any order.
pub(super) struct SealedRows {
    file: BufWriter<File>,
    length: u64,
    cipher: Aes256Gcm,
    /// The row that was read last, with its length in front and its tag behind.
    row: WipedBytes,
}

impl SealedRows {
    /// An empty file that nobody else uses.
    pub fn new(file: File) -> std::result::Result<Self, Failure> {
        let mut key = Zeroizing::new([0; 32]);
        fill_random(&mut *key)?;
        let cipher = Aes256Gcm::new((&*key).into());
        let file = BufWriter::with_capacity(WRITE, file);
        Ok(Self { file, length: 0, cipher, row: WipedBytes::default() })
    }

    /// Adds a row, whose bytes are sealed in place. Returns its offset.
    pub fn add(&mut self, row: &mut [u8]) -> Result<u64> {
        let offset = self.length;
        let length = u32::try_from(row.len()).map_err(|_| damaged())?;
        let tag = self.cipher.encrypt_inout_detached(&nonce(offset), &[], InOutBuf::from(&mut *row));
        let tag = tag.map_err(|_| damaged())?;
        for part in [length.to_be_bytes().as_slice(), row, tag.as_slice()] {
            self.file.write_all(part)?;
            self.length += u64::try_from(part.len()).unwrap_or(u64::MAX);
        }
        Ok(offset)
    }

    /// Ends adding.
    pub fn flush(&mut self) -> Result<()> {
        self.file.flush()
    }

    /// Reads the row at an offset.
    pub fn read(&mut self, offset: u64) -> Result<&[u8]> {
        if self.row.len() < READ {
            self.row = vec![0; READ].into();
        }
        let mut there = 0;
        let mut whole = LENGTH;
        while there < whole {
            if self.row.len() < whole {
                // A new buffer: growing the old one could leave an unwiped copy.
                self.row = vec![0; whole].into();
                there = 0;
            }
            let place =
                offset.checked_add(u64::try_from(there).map_err(Error::other)?).ok_or_else(damaged)?;
            match self.file.get_ref().read_at(self.row.get_mut(there..).unwrap_or_default(), place)? {
                0 => return Err(damaged()),
                count => there += count,
            }
            if let Some(length) = self.row.first_chunk::<LENGTH>().filter(|_| there >= LENGTH) {
                let length = usize::try_from(u32::from_be_bytes(*length)).map_err(Error::other)?;
                whole = LENGTH.saturating_add(length).saturating_add(TAG);
                if u64::try_from(whole).map_err(Error::other)? > self.length.saturating_sub(offset) {
                    return Err(damaged());
                }
            }
        }
        self.opened(offset, whole)
    }

    /// Opens the row in the buffer.
    fn opened(&mut self, offset: u64, whole: usize) -> Result<&[u8]> {
        let sealed = self.row.get_mut(LENGTH..whole).ok_or_else(damaged)?;
        let (row, tag) = sealed.split_last_chunk_mut::<TAG>().ok_or_else(damaged)?;
        let opened = self.cipher.decrypt_inout_detached(
            &nonce(offset),
            &[],
            InOutBuf::from(&mut *row),
            &(*tag).into(),
        );
        opened.map_err(|_| damaged())?;
        Ok(row)
    }
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

    /// Rows of all lengths around the bytes that are read at once.
    fn lengths() -> impl Iterator<Item = usize> {
        [0, 1, 40, READ - LENGTH - TAG - 1, READ - LENGTH - TAG, READ - LENGTH, READ, 3 * READ, 70_000, 5]
            .into_iter()
    }

    fn row(number: usize, length: usize) -> Vec<u8> {
        (0..length).map(|place| u8::try_from((place + 7 * number) % 251).unwrap()).collect()
    }

    fn filled() -> (SealedRows, Vec<u64>) {
        let mut rows = SealedRows::new(tempfile::tempfile().unwrap()).map_err(|f| f.message).unwrap();
        let offsets =
            lengths().enumerate().map(|(number, length)| rows.add(&mut row(number, length)).unwrap());
        let offsets = offsets.collect();
        rows.flush().unwrap();
        (rows, offsets)
    }

    #[test]
    fn rows_come_back_in_any_order() {
        let (mut rows, offsets) = filled();
        let numbered: Vec<_> = offsets.into_iter().zip(lengths()).enumerate().collect();
        for (number, (offset, length)) in numbered.iter().chain(numbered.iter().rev()) {
            assert_eq!(rows.read(*offset).unwrap(), row(*number, *length), "{length}");
        }
    }

    #[test]
    fn a_changed_or_moved_row_is_not_opened() {
        let (mut rows, offsets) = filled();
        let (first, second) = (offsets[2], offsets[3]);
        let file = rows.file.get_ref().try_clone().unwrap();
        let mut whole = vec![0; usize::try_from(second - first).unwrap()];
        file.read_exact_at(&mut whole, first).unwrap();
        assert!(
            !whole.windows(20).any(|part| row(2, 40).windows(20).any(|clear| part == clear)),
            "it is sealed"
        );
        for place in 0..whole.len() {
            let mut changed = whole.clone();
            changed[place] ^= 1;
            file.write_all_at(&changed, first).unwrap();
            assert!(rows.read(first).is_err(), "byte {place}");
        }
        // A row in the place of another.
        file.write_all_at(&whole, second).unwrap();
        file.write_all_at(&whole, first).unwrap();
        assert!(rows.read(second).is_err());
        assert_eq!(rows.read(first).unwrap(), row(2, 40));
        assert!(rows.read(rows.length).is_err());
        assert!(rows.read(u64::MAX).is_err());
    }
}
