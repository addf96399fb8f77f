//! A buffer over the input: it returns elements as slices and hashes the consumed bytes, as many at once as possible.

use std::io::{ErrorKind, Read};
use std::ops::Range;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::FileFault;
use super::frame::offset;

/// Initial size in bytes: large enough that system calls and hash calls do not count, small enough for a cache.
const ROOM: usize = 256 * 1024;

/// The part of the file that is in memory, and the hash of everything before it.
pub(super) struct ReadWindow<R> {
    input: R,
    /// Its whole length is always in use, so that it is zeroized as a whole.
    buffer: Zeroizing<Vec<u8>>,
    /// Bytes `..start` are consumed, `start..end` are read ahead; bytes `..hashed` are in `hash`.
    start: usize,
    end: usize,
    hashed: usize,
    /// Offset in the file of the buffer's first byte.
    base: u64,
    hash: Sha256,
}

impl<R: Read> ReadWindow<R> {
    pub fn new(input: R) -> Self {
        let buffer = Zeroizing::new(vec![0; ROOM]);
        Self { input, buffer, start: 0, end: 0, hashed: 0, base: 0, hash: Sha256::new() }
    }

    /// Returns the offset in the file of the next byte.
    pub fn offset(&self) -> u64 {
        self.base + offset(self.start)
    }

    /// Returns the next `length` bytes, or fewer at the end of the file, without consuming them.
    pub fn peek(&mut self, length: usize) -> Result<&[u8], FileFault> {
        while self.end - self.start < length {
            if !self.fill(length)? {
                break;
            }
        }
        let to = self.end.min(self.start + length);
        Ok(self.buffer.get(self.start..to).unwrap_or_default())
    }

    /// Consumes bytes that [`Self::peek`] returned. [`Self::bytes`] returns them until the next `peek`.
    pub fn consume(&mut self, length: usize) -> Range<usize> {
        let from = self.start;
        self.start = self.end.min(from + length);
        from..self.start
    }

    /// Returns bytes that [`Self::consume`] consumed last.
    pub fn bytes(&self, range: Range<usize>) -> &[u8] {
        self.buffer.get(range).unwrap_or_default()
    }

    /// Returns the SHA-256 of all bytes consumed so far.
    pub fn digest(&mut self) -> [u8; 32] {
        self.hash_consumed();
        self.hash.clone().finalize().into()
    }

    #[cfg(test)]
    pub fn room(&self) -> usize {
        self.buffer.capacity()
    }

    fn hash_consumed(&mut self) {
        self.hash.update(self.buffer.get(self.hashed..self.start).unwrap_or_default());
        self.hashed = self.start;
    }

    /// Reads at least one more byte; `false` at the end of the file. The buffer grows only as bytes arrive,
    /// because the length that an element states cannot be trusted.
    fn fill(&mut self, wanted: usize) -> Result<bool, FileFault> {
        // The bytes that are read ahead move to the front, to make room after them.
        if self.start > 0 {
            self.hash_consumed();
            self.buffer.copy_within(self.start..self.end, 0);
            self.base += offset(self.start);
            self.end -= self.start;
            self.start = 0;
            self.hashed = 0;
        }
        if self.end == self.buffer.len() {
            // A new buffer: growing the old one could leave an unwiped copy in freed memory.
            let mut larger = Zeroizing::new(vec![0; wanted.min(2 * self.buffer.len())]);
            if let Some(front) = larger.get_mut(..self.end) {
                front.copy_from_slice(&self.buffer);
            }
            self.buffer = larger;
        }
        loop {
            match self.input.read(self.buffer.get_mut(self.end..).unwrap_or_default()) {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    self.end += count;
                    return Ok(true);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => return Err(FileFault::unread(source)),
            }
        }
    }
}
