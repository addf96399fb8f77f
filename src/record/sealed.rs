//! A spool at rest: pieces that only the holder of its key opens. The key is never here; a [`Sealer`] uses it.
//!
//! ```text
//! "CWSP1" | name of the key (16) | sealed pieces, each PIECE + PIECE_TAG bytes, the last may be shorter
//! ```
//!
//! The clear bytes of the pieces, one after the other, are the file that was accepted.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;

use zeroize::Zeroizing;

use super::frame::offset;
use super::{FileError, FileFault};
use crate::exit::{Exit, Failure};
use crate::hsm::{PIECE, PIECE_TAG};
use crate::ids::SpoolKeyName;

const MAGIC: [u8; 5] = *b"CWSP1";
/// Bytes before the first piece.
const START: u64 = 21;
/// Bytes of a sealed piece.
const SEALED: usize = PIECE + PIECE_TAG;
/// Pieces sealed or opened in one call: large enough that calls do not count, small enough for a cache.
const BATCH: usize = 64;

/// What seals and opens the pieces of one spool.
pub trait Sealer: Send {
    /// Name of the key.
    fn name(&self) -> SpoolKeyName;
    /// Seals pieces from number `first` on; each number once, in order.
    fn seal(&mut self, first: u64, clear: &[u8]) -> Result<Vec<u8>, Failure>;
    /// Opens pieces. What is not as it was sealed is [`Exit::FileDigest`].
    fn unseal(&mut self, first: u64, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Failure>;
}

/// What a spool that cannot be opened says of a file.
fn fault(failure: Failure) -> FileFault {
    match failure.exit {
        Exit::FileDigest => FileFault::Spool,
        _ => FileFault::Refused(failure),
    }
}

/// Writes a spool.
pub(super) struct SpoolSealing<'a> {
    sealer: &'a mut dyn Sealer,
    /// Not sealed yet; never more than a batch.
    pending: Zeroizing<Vec<u8>>,
    next: u64,
    /// Why the key was not used, when it was not.
    failure: Option<Failure>,
}

impl<'a> SpoolSealing<'a> {
    /// Begins the file.
    pub(super) fn begin(file: &mut File, sealer: &'a mut dyn Sealer) -> io::Result<Self> {
        file.write_all(&[&MAGIC[..], &sealer.name().0].concat())?;
        let pending = Zeroizing::new(Vec::with_capacity(BATCH * PIECE));
        Ok(Self { sealer, pending, next: 0, failure: None })
    }

    /// Takes more of the file.
    pub(super) fn write(&mut self, file: &mut File, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = BATCH * PIECE - self.pending.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.pending.extend_from_slice(now);
            bytes = later;
            if self.pending.len() == BATCH * PIECE {
                self.flush(file)?;
            }
        }
        Ok(())
    }

    /// Seals what is pending: in the middle of a file only whole pieces are.
    pub(super) fn flush(&mut self, file: &mut File) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        match self.sealer.seal(self.next, &self.pending) {
            Ok(sealed) => {
                self.next += offset(self.pending.len().div_ceil(PIECE));
                self.pending.clear();
                file.write_all(&sealed)
            }
            Err(failure) => {
                self.failure = Some(failure);
                Err(io::ErrorKind::Other.into())
            }
        }
    }

    /// The error as it is told, if it was the key's.
    pub(super) fn explain(&mut self, error: FileError) -> FileError {
        match self.failure.take() {
            Some(failure) => FileError { fault: fault(failure), ..error },
            None => error,
        }
    }
}

/// Reads a spool.
pub(super) struct SealedPieces {
    file: File,
    sealer: Box<dyn Sealer>,
    /// Clear bytes of the whole file.
    length: u64,
    /// Opened last, from piece `first` on.
    window: Zeroizing<Vec<u8>>,
    first: u64,
    /// Where [`Read`] goes on.
    at: u64,
    fault: Option<FileFault>,
}

impl std::fmt::Debug for SealedPieces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedPieces").field("length", &self.length).finish_non_exhaustive()
    }
}

impl SealedPieces {
    /// Of a file that was sealed with this key.
    pub(super) fn new(file: File, sealer: Box<dyn Sealer>) -> Result<Self, FileFault> {
        let io = |source| FileFault::Io { what: "the spool cannot be read".into(), source };
        let bytes = file.metadata().map_err(io)?.len();
        let mut start = [0; 21];
        if bytes < START {
            return Err(FileFault::Spool);
        }
        file.read_exact_at(&mut start, 0).map_err(io)?;
        if start.get(..5) != Some(&MAGIC) || start.get(5..) != Some(&sealer.name().0) {
            return Err(FileFault::Spool);
        }
        let sealed = bytes - START;
        let tags = sealed.div_ceil(offset(SEALED)) * offset(PIECE_TAG);
        let length = sealed.checked_sub(tags).ok_or(FileFault::Spool)?;
        let window = Zeroizing::new(Vec::new());
        Ok(Self { file, sealer, length, window, first: 0, at: 0, fault: None })
    }

    /// Fills the buffer from the clear file, from `at` on; less only at the end of the file.
    pub(super) fn read_at(&mut self, buffer: &mut [u8], at: u64) -> Result<usize, FileFault> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let bytes = self.at(at + offset(done))?;
            let count = bytes.len().min(rest.len());
            if count == 0 {
                break;
            }
            rest.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            done += count;
        }
        Ok(done)
    }

    /// Some clear bytes from here on; none at the end.
    fn at(&mut self, at: u64) -> Result<&[u8], FileFault> {
        if at >= self.length {
            return Ok(&[]);
        }
        let behind = |first: u64| at.checked_sub(first * offset(PIECE)).and_then(|n| usize::try_from(n).ok());
        if behind(self.first).is_none_or(|n| n >= self.window.len()) {
            self.open(at / offset(PIECE))?;
        }
        let from = behind(self.first).unwrap_or(usize::MAX);
        self.window.get(from..).ok_or(FileFault::Spool)
    }

    /// Opens a batch from this piece on.
    fn open(&mut self, first: u64) -> Result<(), FileFault> {
        let io = |source| FileFault::Io { what: "the spool cannot be read".into(), source };
        let from = first * offset(SEALED);
        let clear = (self.length - first * offset(PIECE)).min(offset(BATCH * PIECE));
        let sealed = clear + clear.div_ceil(offset(PIECE)) * offset(PIECE_TAG);
        let mut bytes = vec![0; usize::try_from(sealed).map_err(|_| FileFault::Spool)?];
        self.file.read_exact_at(&mut bytes, START + from).map_err(|source| match source.kind() {
            // Shorter than it was when it was opened.
            io::ErrorKind::UnexpectedEof => FileFault::Spool,
            _ => io(source),
        })?;
        self.window = self.sealer.unseal(first, &bytes).map_err(fault)?;
        self.first = first;
        Ok(())
    }

    /// The error as it is told, if reading met it here.
    pub(super) fn explain(&mut self, error: FileError) -> FileError {
        match self.fault.take() {
            Some(fault) => FileError { fault, ..error },
            None => error,
        }
    }
}

impl Read for SealedPieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let at = self.at;
        let count = self.read_at(buffer, at).map_err(|fault| {
            self.fault = Some(fault);
            io::Error::from(io::ErrorKind::Other)
        })?;
        self.at += offset(count);
        Ok(count)
    }
}
