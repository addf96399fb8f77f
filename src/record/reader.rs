//! The streaming reader: the Header, then one record at a time, then the Trailer. It compares count and
//! digest of the Trailer with what it read.

use std::io::Read;
use std::ops::Range;

use subtle::ConstantTimeEq;

use super::fields::{BodyResult, read_header, read_trailer};
use super::frame::{Frame, HEAD, ParsedRecord, offset, parse};
use super::unique::UniqueNames;
use super::window::ReadWindow;
use super::{FileError, FileFault, FileKind, Header, Record, Trailer};
use crate::ids::CardNames;

/// Bounds on the memory that a file may take.
#[derive(Debug, Clone, Copy)]
pub struct FileLimits {
    /// Longest body of an element, in bytes.
    pub body: u32,
}

impl Default for FileLimits {
    /// 16 MiB for a body.
    fn default() -> Self {
        Self { body: 16 * 1024 * 1024 }
    }
}

/// The Trailer, and what is known only at the end of the file.
#[derive(Debug, Clone)]
pub struct FileEnd {
    /// The Trailer. Its count and digest are right; its MAC is not checked here.
    pub trailer: Trailer,
    /// Body of the Trailer up to and including the wrapped MAC key: the input of its MAC, without the leading
    /// "CWF1T".
    pub body: Vec<u8>,
    /// SHA-256 of the whole file.
    pub digest: [u8; 32],
    /// Length of the whole file in bytes.
    pub length: u64,
    /// The card_ref of each record, in order; empty for a file that was accepted before.
    pub cards: CardNames,
}

/// Reads a file once, from front to back, and refuses it at the first fault.
pub struct Cwf1Reader<R> {
    window: ReadWindow<R>,
    limits: FileLimits,
    header: Header,
    /// Number of records read.
    read: u32,
    /// `None` for a file that was accepted before: no name stands in it twice.
    unique: Option<UniqueNames>,
    mics: Vec<u64>,
    state: ReaderState,
}

/// How far the reader is.
enum ReaderState {
    /// Records or the Trailer come next.
    Records,
    /// The Trailer was read and is right.
    Ended(Box<FileEnd>),
    /// An error was returned.
    Broken,
}

impl<R: Read> Cwf1Reader<R> {
    /// Reads the Header of a finished file of any origin. An unfinished one is refused by its first bytes.
    pub fn open(input: R, limits: FileLimits) -> Result<Self, FileError> {
        Self::begin(input, limits, Some(UniqueNames::default()), &[FileKind::Finished])
    }

    /// Reads the Header of an unfinished file. A finished one is refused by its first bytes.
    pub fn open_unfinished(input: R, limits: FileLimits) -> Result<Self, FileError> {
        Self::begin(input, limits, Some(UniqueNames::default()), &[FileKind::Unfinished])
    }

    /// Reads the Header of a file of any kind, for a caller that only shows it.
    pub fn open_any(input: R, limits: FileLimits) -> Result<Self, FileError> {
        Self::begin(input, limits, Some(UniqueNames::default()), &FileKind::ALL)
    }

    /// Reads the Header of a file that acceptance has checked, so that no limit applies. The caller must compare the digest
    /// at the end.
    pub(super) fn accepted(input: R) -> Result<Self, FileError> {
        Self::begin(input, FileLimits { body: u32::MAX }, None, &[FileKind::Finished])
    }

    fn begin(
        input: R,
        limits: FileLimits,
        unique: Option<UniqueNames>,
        admitted: &[FileKind],
    ) -> Result<Self, FileError> {
        let mut window = ReadWindow::new(input);
        let begins = window.peek(HEAD + 4).map_err(|fault| FileError::at(0, fault))?;
        // Checked first: in a file of another kind the length is nonsense, and the error would be about that.
        match (begins.first(), begins.get(HEAD..)) {
            (Some(b'H'), magic) => known(magic.unwrap_or_default(), admitted)?,
            (None, _) => return Err(FileError::at(0, FileFault::Truncated)),
            _ => return Err(FileError::at(0, FileFault::NotCwf1)),
        }
        let body = element(&mut window, b'H', "the Header", limits)?;
        let header = in_body(read_header(window.bytes(body)), None, offset(HEAD))?;
        Ok(Self { window, limits, header, read: 0, unique, mics: Vec::new(), state: ReaderState::Records })
    }

    /// Returns the Header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Returns the next record, borrowed from the buffer; `None` after the last one, when the Trailer is
    /// right too.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, FileError> {
        match self.state {
            ReaderState::Records => {}
            ReaderState::Ended(_) => return Ok(None),
            ReaderState::Broken => return Err(FileError::at(self.window.offset(), FileFault::Broken)),
        }
        // Only a step without an error restores the state.
        self.state = ReaderState::Broken;
        if self.read == self.header.records {
            let end = self.end()?;
            self.state = ReaderState::Ended(Box::new(end));
            return Ok(None);
        }
        let at = self.window.offset();
        let (parsed, body) = self.record()?;
        self.state = ReaderState::Records;
        Ok(Some(Frame::new(parsed, self.window.bytes(body), at)))
    }

    /// Returns the next record as [`Self::next_frame`] does, copied out of the buffer.
    pub fn next_record(&mut self) -> Result<Option<Record>, FileError> {
        self.next_frame()?.map(|frame| frame.to_record()).transpose()
    }

    /// Returns the Trailer and the digest of the file. Every record must have been read before.
    pub fn finish(self) -> Result<FileEnd, FileError> {
        match self.state {
            ReaderState::Ended(end) => Ok(*end),
            _ => Err(FileError::at(self.window.offset(), FileFault::Broken)),
        }
    }

    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.window.room()
    }

    fn record(&mut self) -> Result<(ParsedRecord, Range<usize>), FileError> {
        // Cannot overflow: it is at most `header.records`.
        let sequence = self.read + 1;
        let at = self.window.offset();
        let inside = |error: FileError| FileError { record: Some(sequence), ..error };
        let next = self.window.peek(1).map_err(|fault| inside(FileError::at(at, fault)))?;
        if next == b"T" {
            let fault = FileFault::Count { stated: self.header.records, found: self.read };
            return Err(FileError::at(at, fault));
        }
        let body = element(&mut self.window, b'R', "a record", self.limits).map_err(inside)?;
        let parsed = parse(self.window.bytes(body.clone()), sequence, &mut self.mics);
        let parsed = in_body(parsed, Some(sequence), at + offset(HEAD))?;
        if let Some(unique) = &mut self.unique {
            let frame = Frame::new(parsed.clone(), self.window.bytes(body.clone()), at);
            unique.add(frame.card_ref, at);
        }
        self.read = sequence;
        Ok((parsed, body))
    }

    fn end(&mut self) -> Result<FileEnd, FileError> {
        let at = self.window.offset();
        let digest = self.window.digest();
        let body = element(&mut self.window, b'T', "the Trailer", self.limits)?;
        let bytes = self.window.bytes(body);
        let (trailer, maced) = in_body(read_trailer(bytes), None, at + offset(HEAD))?;
        let body = bytes.get(..maced).unwrap_or_default().to_vec();
        if trailer.records != self.read {
            let fault = FileFault::Count { stated: trailer.records, found: self.read };
            return Err(FileError::at(at + offset(HEAD), fault));
        }
        if !bool::from(trailer.digest.ct_eq(&digest)) {
            return Err(FileError::at(at + offset(HEAD + 4), FileFault::Digest));
        }
        let length = self.window.offset();
        let after = self.window.peek(1).map_err(|fault| FileError::at(length, fault))?;
        if !after.is_empty() {
            return Err(FileError::at(length, FileFault::AfterTrailer));
        }
        let unique = self.unique.take().unwrap_or_default();
        if let Some(repeated) = unique.repeated() {
            let fault = FileFault::CardRefTwice { first: repeated.first };
            return Err(FileError { record: Some(repeated.second), offset: repeated.offset, fault });
        }
        let cards = unique.into_names();
        Ok(FileEnd { trailer, body, digest: self.window.digest(), length, cards })
    }
}

/// Checks the first bytes of a Header, of which there may be fewer at the end of a file.
fn known(magic: &[u8], admitted: &[FileKind]) -> Result<(), FileError> {
    let is = |kind: &FileKind| kind.magic().starts_with(magic);
    let fault = match FileKind::ALL.iter().find(|kind| is(kind)) {
        _ if admitted.iter().any(is) => return Ok(()),
        Some(FileKind::Unfinished) => FileFault::Unfinished,
        Some(FileKind::Finished) => FileFault::Finished,
        None => FileFault::NotCwf1,
    };
    Err(FileError::at(0, fault))
}

/// Consumes a whole element of the type that belongs here, and returns the position of its body.
fn element<R: Read>(
    window: &mut ReadWindow<R>,
    kind: u8,
    name: &'static str,
    limits: FileLimits,
) -> Result<Range<usize>, FileError> {
    let at = window.offset();
    let length = match *window.peek(HEAD).map_err(|fault| FileError::at(at, fault))? {
        [first, ..] if first != kind => return Err(FileError::at(at, FileFault::Element(name))),
        [_, a, b, c, d] => u32::from_be_bytes([a, b, c, d]),
        ref short => return Err(FileError::at(at + offset(short.len()), FileFault::Truncated)),
    };
    let limit = limits.body;
    let body = usize::try_from(length).ok().filter(|_| length <= limit);
    let Some(body) = body else {
        return Err(FileError::at(at + 1, FileFault::TooLong { length, limit }));
    };
    let all = window.peek(HEAD + body).map_err(|fault| FileError::at(at, fault))?.len();
    if all < HEAD + body {
        return Err(FileError::at(at + offset(all), FileFault::Truncated));
    }
    let element = window.consume(all);
    Ok(element.start + HEAD..element.end)
}

/// Turns the offset of a fault inside a body into its offset in the file.
fn in_body<T>(result: BodyResult<T>, record: Option<u32>, body: u64) -> Result<T, FileError> {
    result.map_err(|(at, fault)| FileError { record, offset: body + offset(at), fault })
}
