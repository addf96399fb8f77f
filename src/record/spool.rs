//! An accepted file, read again record by record while the job runs. A record is used only if its bytes have
//! the hash that they had at acceptance (`src/manual/cwf1.md` section 6). The file is sealed
//! ([`super::sealed`]). A file that was accepted before spools were sealed is in clear.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::fields::sha256;
use super::frame::{HEAD, offset, parse};
use super::sealed::{SealedPieces, Sealer};
use super::{Cwf1Reader, FileEnd, FileError, FileFault, Frame, Header, Record, Trailer};

/// A spool file and the positions of its records, at 24 bytes of memory for each record.
#[derive(Debug)]
pub struct Spool {
    copy: SpoolContent,
    header: Header,
    trailer: Trailer,
    places: RecordPlaces,
}

/// The copy that acceptance made, in clear or sealed.
#[derive(Debug)]
enum SpoolContent {
    Clear(File),
    Sealed(Box<SealedPieces>),
}

/// Positions and hashes of the records.
#[derive(Debug)]
struct RecordPlaces {
    /// Offset of each record, then of the Trailer.
    offsets: Vec<u64>,
    digests: Vec<RecordDigest>,
}

/// The first half of a record's SHA-256. It takes 2^128 tries to find another record with it.
type RecordDigest = [u8; 16];

/// Position and hash of one record.
struct RecordPlace {
    offset: u64,
    length: usize,
    digest: RecordDigest,
}

impl RecordPlaces {
    fn get(&self, sequence: u32) -> Option<RecordPlace> {
        let index = usize::try_from(sequence).ok()?.checked_sub(1)?;
        let (offset, next) = (*self.offsets.get(index)?, *self.offsets.get(index + 1)?);
        let length = usize::try_from(next.checked_sub(offset)?).ok()?;
        Some(RecordPlace { offset, length, digest: *self.digests.get(index)? })
    }
}

/// The half that is kept.
fn half(digest: [u8; 32]) -> RecordDigest {
    let [half @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = digest;
    half
}

impl Spool {
    /// Reads the whole spool once. Its digest must be that of acceptance. Without a sealer the file is read
    /// as clear text.
    pub fn open(
        path: &Path,
        expected_digest: &[u8; 32],
        sealer: Option<Box<dyn Sealer>>,
    ) -> Result<Self, FileError> {
        // The file was right when it was accepted, so a fault of its format means that the spool was changed.
        Self::index(path, expected_digest, sealer).map_err(|error| match error.fault {
            FileFault::Io { .. } | FileFault::Refused(_) => error,
            _ => FileError { fault: FileFault::Spool, ..error },
        })
    }

    fn index(
        path: &Path,
        expected_digest: &[u8; 32],
        sealer: Option<Box<dyn Sealer>>,
    ) -> Result<Self, FileError> {
        let io = |e| FileError::io(format!("spool {} cannot be opened", path.display()), e);
        let file = File::open(path).map_err(io)?;
        match sealer {
            None => {
                let (header, trailer, places) = read(file.try_clone().map_err(io)?, expected_digest)?;
                Ok(Self { copy: SpoolContent::Clear(file), header, trailer, places })
            }
            Some(sealer) => {
                let mut pieces = SealedPieces::new(file, sealer).map_err(|fault| FileError::at(0, fault))?;
                let found = read(&mut pieces, expected_digest).map_err(|error| pieces.explain(error));
                let (header, trailer, places) = found?;
                Ok(Self { copy: SpoolContent::Sealed(Box::new(pieces)), header, trailer, places })
            }
        }
    }

    /// Returns the Header of the file.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Returns the Trailer of the file.
    pub fn trailer(&self) -> &Trailer {
        &self.trailer
    }

    /// Reads a record again, by its number.
    pub fn read(&mut self, sequence: u32) -> Result<Record, FileError> {
        self.read_frame(sequence, |frame| frame.to_record())
    }

    /// Reads a record again, by its number, without copying it.
    pub fn read_frame<T>(
        &mut self,
        sequence: u32,
        use_it: impl FnOnce(&Frame<'_>) -> Result<T, FileError>,
    ) -> Result<T, FileError> {
        let missing = FileError { record: Some(sequence), offset: 0, fault: FileFault::NoSuchRecord };
        let place = self.places.get(sequence).ok_or(missing)?;
        let refuse = |offset, fault| FileError { record: Some(sequence), offset, fault };
        let mut element = Zeroizing::new(vec![0; place.length]);
        self.copy.read(&mut element, place.offset).map_err(|fault| refuse(place.offset, fault))?;
        if !bool::from(half(sha256([element.as_slice()])).ct_eq(&place.digest)) {
            return Err(refuse(place.offset, FileFault::Spool));
        }
        let body = element.get(HEAD..).unwrap_or_default();
        let parsed = parse(body, sequence, &mut Vec::new())
            .map_err(|(at, fault)| refuse(place.offset + offset(HEAD + at), fault))?;
        use_it(&Frame::new(parsed, body, place.offset))
    }
}

impl SpoolContent {
    fn read(&mut self, element: &mut [u8], at: u64) -> Result<(), FileFault> {
        let io = |source| FileFault::Io { what: "the spool cannot be read".to_owned(), source };
        match self {
            Self::Clear(file) => file.read_exact_at(element, at).map_err(io),
            Self::Sealed(pieces) => match pieces.read_at(element, at)? {
                count if count == element.len() => Ok(()),
                _ => Err(io(io::ErrorKind::UnexpectedEof.into())),
            },
        }
    }
}

/// Reads the whole file and returns Header, Trailer and the positions of the records.
fn read(input: impl Read, expected_digest: &[u8; 32]) -> Result<(Header, Trailer, RecordPlaces), FileError> {
    // The digest proves that this is the accepted file.
    let mut reader = Cwf1Reader::accepted(input)?;
    let header = reader.header().clone();
    let count = usize::try_from(header.records).unwrap_or(usize::MAX);
    let too_many = |_| FileError::at(0, FileFault::Spool);
    let mut places = RecordPlaces { offsets: Vec::new(), digests: Vec::new() };
    // Reserved at once, because a list that grows is copied, and both copies take memory.
    places.offsets.try_reserve_exact(count.saturating_add(1)).map_err(too_many)?;
    places.digests.try_reserve_exact(count).map_err(too_many)?;
    let mut end = 0;
    while let Some(frame) = reader.next_frame()? {
        places.offsets.push(frame.offset);
        places.digests.push(half(frame.digest()));
        end = frame.offset + offset(frame.length());
    }
    places.offsets.push(end);
    let FileEnd { trailer, digest, .. } = reader.finish()?;
    if !bool::from(digest.ct_eq(expected_digest)) {
        return Err(FileError::at(0, FileFault::Spool));
    }
    Ok((header, trailer, places))
}
