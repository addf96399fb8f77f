//! A buffer over the input that gives elements as slices and hashes what was consumed, in slices as big as it can.

use std::io::{ErrorKind, Read};
use std::ops::Range;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::FileFault;
use super::frame::offset;

/// Room at the start, in bytes: large enough that system calls and hash calls do not count, small enough for a cache.
const ROOM: usize = 256 * 1024;

pub(super) struct ReadWindow<R> {
    input: R,
    /// Always filled to its length; zeroized as a whole.
    buffer: Zeroizing<Vec<u8>>,
    /// `..start` is consumed, `start..end` is read ahead; of the consumed, `..hashed` is in `hash`.
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

    /// Offset in the file of the next byte.
    pub fn offset(&self) -> u64 {
        self.base + offset(self.start)
    }

    /// The next `length` bytes without consuming them, or all that there are before the end of the file.
    pub fn peek(&mut self, length: usize) -> Result<&[u8], FileFault> {
        while self.end - self.start < length {
            if !self.fill(length)? {
                break;
            }
        }
        let to = self.end.min(self.start + length);
        Ok(self.buffer.get(self.start..to).unwrap_or_default())
    }

    /// Consumes bytes that [`Self::peek`] gave; they stay readable by [`Self::bytes`] until the next `peek`.
    pub fn consume(&mut self, length: usize) -> Range<usize> {
        let from = self.start;
        self.start = self.end.min(from + length);
        from..self.start
    }

    /// Bytes consumed last.
    pub fn bytes(&self, range: Range<usize>) -> &[u8] {
        self.buffer.get(range).unwrap_or_default()
    }

    /// SHA-256 of everything consumed so far.
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

    /// Reads more, at least one byte, or says that there is no more. The buffer grows only as bytes arrive, whatever
    /// length an element states.
    fn fill(&mut self, wanted: usize) -> Result<bool, FileFault> {
        if self.start > 0 {
            self.hash_consumed();
            self.buffer.copy_within(self.start..self.end, 0);
            self.base += offset(self.start);
            self.end -= self.start;
            self.start = 0;
            self.hashed = 0;
        }
        if self.end == self.buffer.len() {
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
                Err(source) => return Err(FileFault::Io { what: "the file cannot be read".into(), source }),
            }
        }
    }
}
