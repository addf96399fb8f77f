//! A spool at rest: encrypted pieces that only the holder of its key can open. The key is never here; a
//! [`Sealer`] uses it.
//!
//! ```text
//! "CWSP1" | name of the key (16) | sealed pieces, each PIECE + PIECE_TAG bytes, the last may be shorter
//! ```
//!
//! The clear bytes of all pieces, in order, are the file that was accepted.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;

use zeroize::Zeroizing;

use super::frame::offset;
use super::{FileError, FileFault};
use crate::exit::{Exit, Failure};
use crate::ids::SpoolKeyName;

/// Clear bytes of a piece of a spool; the last piece may be shorter.
pub const PIECE: usize = 4096;
/// Bytes by which a sealed piece is longer than its clear bytes: the tag of AES-GCM.
pub const PIECE_TAG: usize = 16;
const MAGIC: [u8; 5] = *b"CWSP1";
/// Bytes before the first piece.
const START: u64 = 21;
/// Bytes of a sealed piece.
const SEALED: usize = PIECE + PIECE_TAG;
/// Pieces sealed or opened in one call: large enough that calls do not count, small enough for a cache.
const BATCH: usize = 64;

/// Seals and opens the pieces of one spool.
pub trait Sealer: Send {
    /// Returns the name of the key.
    fn name(&self) -> SpoolKeyName;
    /// Seals pieces from number `first` on. Each number is sealed once, and in order.
    fn seal(&mut self, first: u64, clear: &[u8]) -> Result<Vec<u8>, Failure>;
    /// Opens pieces from number `first` on. A piece that was changed is [`Exit::FileDigest`].
    fn unseal(&mut self, first: u64, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Failure>;
}

/// Returns the fault of a spool whose pieces cannot be opened.
fn fault(failure: Failure) -> FileFault {
    match failure.exit {
        Exit::FileDigest => FileFault::Spool,
        _ => FileFault::Refused(failure),
    }
}

/// Seals a file piece by piece and writes it to the spool.
pub(super) struct SpoolSealing<'a> {
    sealer: &'a mut dyn Sealer,
    /// Clear bytes that are not sealed yet; never more than a batch.
    pending: Zeroizing<Vec<u8>>,
    next: u64,
    /// The failure of the sealer, kept because an [`io::Error`] cannot carry it.
    failure: Option<Failure>,
}

impl<'a> SpoolSealing<'a> {
    /// Writes the start of the file.
    pub(super) fn begin(file: &mut File, sealer: &'a mut dyn Sealer) -> io::Result<Self> {
        file.write_all(&[&MAGIC[..], &sealer.name().0].concat())?;
        let pending = Zeroizing::new(Vec::with_capacity(BATCH * PIECE));
        Ok(Self { sealer, pending, next: 0, failure: None })
    }

    /// Takes the next bytes of the file, and seals each full batch.
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

    /// Seals and writes the pending bytes. Before the end of the file they are whole pieces.
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

    /// Puts the sealer's failure in place of the I/O error that stood for it.
    pub(super) fn explain(&mut self, error: FileError) -> FileError {
        match self.failure.take() {
            Some(failure) => FileError { fault: fault(failure), ..error },
            None => error,
        }
    }
}

/// Reads a sealed spool.
pub(super) struct SealedPieces {
    file: File,
    sealer: Box<dyn Sealer>,
    /// Number of clear bytes of the whole file.
    length: u64,
    /// The clear bytes that were opened last; they begin with piece `first`.
    window: Zeroizing<Vec<u8>>,
    first: u64,
    /// Offset at which [`Read`] goes on.
    at: u64,
    fault: Option<FileFault>,
}

impl std::fmt::Debug for SealedPieces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedPieces").field("length", &self.length).finish_non_exhaustive()
    }
}

impl SealedPieces {
    /// Opens a file that was sealed with the key of this sealer.
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

    /// Fills the buffer with the clear bytes from offset `at` on; returns fewer only at the end of the file.
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

    /// Returns at least one clear byte from offset `at` on; none at the end of the file.
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

    /// Opens a batch that begins with this piece.
    fn open(&mut self, first: u64) -> Result<(), FileFault> {
        let io = |source| FileFault::Io { what: "the spool cannot be read".into(), source };
        let from = first * offset(SEALED);
        let clear = (self.length - first * offset(PIECE)).min(offset(BATCH * PIECE));
        let sealed = clear + clear.div_ceil(offset(PIECE)) * offset(PIECE_TAG);
        let mut bytes = vec![0; usize::try_from(sealed).map_err(|_| FileFault::Spool)?];
        self.file.read_exact_at(&mut bytes, START + from).map_err(|source| match source.kind() {
            // The file became shorter since it was opened.
            io::ErrorKind::UnexpectedEof => FileFault::Spool,
            _ => io(source),
        })?;
        self.window = self.sealer.unseal(first, &bytes).map_err(fault)?;
        self.first = first;
        Ok(())
    }

    /// Puts the fault that reading met in place of the I/O error that stood for it.
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
