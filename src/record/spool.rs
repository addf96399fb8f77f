//! An accepted file, read again record by record while the job runs: a record is used only if its bytes hash to what
//! acceptance saw (DESIGN.md section 3).

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::fields::sha256;
use super::frame::{HEAD, offset, parse};
use super::{End, FileError, FileFault, Frame, Header, Limits, Reader, Record, Trailer};

/// A spool file and where its records lie: 48 bytes of memory each.
#[derive(Debug)]
pub struct Spool {
    file: File,
    header: Header,
    trailer: Trailer,
    places: Vec<Place>,
}

#[derive(Debug)]
struct Place {
    offset: u64,
    length: u32,
    digest: [u8; 32],
}

impl Spool {
    /// Reads the whole spool. Its digest must be the one that acceptance gave.
    pub fn open(path: &Path, expected_digest: &[u8; 32]) -> Result<Self, FileError> {
        // The file was right when it was accepted: any fault of its format now is the spool's.
        Self::index(path, expected_digest).map_err(|error| match error.fault {
            FileFault::Io { .. } => error,
            _ => FileError { fault: FileFault::Spool, ..error },
        })
    }

    fn index(path: &Path, expected_digest: &[u8; 32]) -> Result<Self, FileError> {
        let io = |e| FileError::io(format!("spool {} cannot be opened", path.display()), e);
        let file = File::open(path).map_err(io)?;
        // Acceptance had its limit; the digest says that this is the same file.
        let mut reader = Reader::open(file.try_clone().map_err(io)?, Limits { body: u32::MAX })?;
        let header = reader.header().clone();
        let mut places = Vec::new();
        while let Some(frame) = reader.next_frame()? {
            let length =
                u32::try_from(frame.length()).map_err(|_| FileError::at(frame.offset, FileFault::Spool))?;
            places.push(Place { offset: frame.offset, length, digest: frame.digest() });
        }
        let End { trailer, digest, .. } = reader.finish()?;
        if !bool::from(digest.ct_eq(expected_digest)) {
            return Err(FileError::at(0, FileFault::Spool));
        }
        Ok(Self { file, header, trailer, places })
    }

    /// The file's Header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The file's Trailer.
    pub fn trailer(&self) -> &Trailer {
        &self.trailer
    }

    /// Reads a record again, by its sequence.
    pub fn read(&mut self, sequence: u32) -> Result<Record, FileError> {
        let missing = FileError { record: Some(sequence), offset: 0, fault: FileFault::NoSuchRecord };
        let index = usize::try_from(sequence).ok().and_then(|s| s.checked_sub(1));
        let place = index.and_then(|index| self.places.get(index)).ok_or(missing)?;
        let refuse = |offset, fault| FileError { record: Some(sequence), offset, fault };
        let length = usize::try_from(place.length).map_err(|_| refuse(place.offset, FileFault::Spool))?;
        let mut element = Zeroizing::new(vec![0; length]);
        self.file.read_exact_at(&mut element, place.offset).map_err(|source| {
            let what = "the spool cannot be read".to_owned();
            refuse(place.offset, FileFault::Io { what, source })
        })?;
        if !bool::from(sha256([element.as_slice()]).ct_eq(&place.digest)) {
            return Err(refuse(place.offset, FileFault::Spool));
        }
        let body = element.get(HEAD..).unwrap_or_default();
        let parsed = parse(body, sequence, &mut Vec::new())
            .map_err(|(at, fault)| refuse(place.offset + offset(HEAD + at), fault))?;
        Frame::new(parsed, body, place.offset).to_record()
    }
}
