//! The writer of an output file. It refuses everything that the reader would refuse.

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, reason = "tests build files from small numbers")]
mod tests;

use std::io::Write;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::fields::{read_header, read_trailer, write_header, write_trailer};
use super::frame::{HEAD, offset, parse};
use super::unique::UniqueNames;
use super::{FileError, FileFault, FileLimits, Header, Record, Trailer};
use crate::ids::{Kcv, KekId};

/// Writes a file: [`Self::new`], then [`Self::record`] for each card, then [`Self::finish`].
pub struct Cwf1Writer<W> {
    out: W,
    hash: Sha256,
    length: u64,
    records: u32,
    written: u32,
    limits: FileLimits,
    unique: UniqueNames,
    mics: Vec<u64>,
    element: Zeroizing<Vec<u8>>,
}

/// The fields of the Trailer that name the key of its MAC.
#[derive(Debug, Clone)]
pub struct TrailerKey {
    /// KEKID of the KEK.
    pub kek: KekId,
    /// TYPEtk of the KEK: 40, 41 or 42.
    pub tk_type: u8,
    /// KCV of the KEK.
    pub kcv: Kcv,
}

/// The end of a Trailer, made by the HSM that holds the KEK.
pub struct TrailerMac {
    /// The MAC key, wrapped under the TK of purpose "T": 24 or 32 bytes.
    pub wrapped_mac_key: Vec<u8>,
    /// MAC over "CWF1T" and the body up to and including `L1 wrapped MAC key` ([`crate::crypto::trailer_mac_input`]).
    pub mac: Vec<u8>,
}

/// A complete file. It is flushed, but not synced to disk.
pub struct Finished<W> {
    /// The output that the file was written to.
    pub out: W,
    /// The Trailer as it was written.
    pub trailer: Trailer,
    /// SHA-256 of the whole file.
    pub digest: [u8; 32],
    /// Length of the whole file in bytes.
    pub length: u64,
}

impl<W: Write> Cwf1Writer<W> {
    /// Writes the Header. The default [`FileLimits`] bound every element.
    pub fn new(out: W, header: &Header) -> Result<Self, FileError> {
        let body = write_header(header);
        read_header(&body).map_err(|(at, fault)| FileError::at(offset(HEAD + at), fault))?;
        let mut writer = Self {
            out,
            hash: Sha256::new(),
            length: 0,
            records: header.records,
            written: 0,
            limits: FileLimits::default(),
            unique: UniqueNames::default(),
            mics: Vec::new(),
            element: Zeroizing::default(),
        };
        writer.begin(b'H', body.len())?;
        writer.element.extend(body);
        writer.put()?;
        Ok(writer)
    }

    /// Writes the next record.
    pub fn record(&mut self, record: &Record) -> Result<(), FileError> {
        let sequence = self.written.saturating_add(1);
        let at = self.length;
        let refuse = |at, fault| FileError { record: Some(sequence), offset: at, fault };
        if self.written == self.records {
            return Err(refuse(at, FileFault::Count { stated: self.records, found: sequence }));
        }
        let sections = record.sections.iter().map(|s| 1 + s.mic.as_str().len() + 4 + s.data.len());
        let name = record.card_ref.as_str();
        let length = 4 + 1 + name.len() + sections.sum::<usize>();
        self.begin(b'R', length).map_err(|error| refuse(at, error.fault))?;
        let element = &mut *self.element;
        element.extend(record.sequence.to_be_bytes());
        // Names have at most 40 characters, MICs 7; a section is shorter than the element, which `begin`
        // bounded.
        element.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        element.extend_from_slice(name.as_bytes());
        for section in &record.sections {
            let mic = section.mic.as_str();
            element.push(u8::try_from(mic.len()).unwrap_or(u8::MAX));
            element.extend_from_slice(mic.as_bytes());
            element.extend(u32::try_from(section.data.len()).unwrap_or(u32::MAX).to_be_bytes());
            element.extend_from_slice(&section.data);
        }
        let body = element.get(HEAD..).unwrap_or_default();
        parse(body, sequence, &mut self.mics)
            .map_err(|(inside, fault)| refuse(at + offset(HEAD + inside), fault))?;
        self.put().map_err(|error| refuse(at, error.fault))?;
        self.unique.add(name, at);
        self.written = sequence;
        Ok(())
    }

    /// Writes the Trailer and flushes the output. `mac` gets the body of the Trailer up to the length byte of the wrapped MAC
    /// key, without it.
    pub fn finish<E: From<FileError>>(
        mut self,
        key: TrailerKey,
        mac: impl FnOnce(Vec<u8>) -> Result<TrailerMac, E>,
    ) -> Result<Finished<W>, E> {
        let at = self.length;
        if self.written != self.records {
            let fault = FileFault::Count { stated: self.records, found: self.written };
            return Err(FileError::at(at, fault).into());
        }
        if let Some(repeated) = self.unique.repeated() {
            let fault = FileFault::CardRefTwice { first: repeated.first };
            return Err(FileError { record: Some(repeated.second), offset: repeated.offset, fault }.into());
        }
        let TrailerKey { kek, tk_type, kcv } = key;
        let digest = self.hash.clone().finalize().into();
        let records = self.records;
        let (wrapped_mac_key, empty) = (Vec::new(), Vec::new());
        let mut trailer = Trailer { records, digest, kek, tk_type, kcv, wrapped_mac_key, mac: empty };
        let mut body = write_trailer(&trailer);
        let TrailerMac { wrapped_mac_key, mac } = mac(body.clone())?;
        for part in [&wrapped_mac_key, &mac] {
            // `read_trailer` checks the lengths afterwards.
            body.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
            body.extend_from_slice(part);
        }
        (trailer.wrapped_mac_key, trailer.mac) = (wrapped_mac_key, mac);
        read_trailer(&body).map_err(|(inside, fault)| FileError::at(at + offset(HEAD + inside), fault))?;
        self.begin(b'T', body.len())?;
        self.element.extend(body);
        self.put()?;
        self.out.flush().map_err(|e| FileError::io("the file cannot be written", e))?;
        Ok(Finished { out: self.out, trailer, digest: self.hash.finalize().into(), length: self.length })
    }

    /// Starts an element with its type and length. A body over the limit is refused.
    fn begin(&mut self, kind: u8, body: usize) -> Result<(), FileError> {
        let limit = self.limits.body;
        let length = u32::try_from(body).unwrap_or(u32::MAX);
        if length > limit {
            return Err(FileError::at(self.length, FileFault::TooLong { length, limit }));
        }
        if self.element.capacity() < HEAD + body {
            // A new buffer: growing the old one could leave an unwiped copy in freed memory.
            self.element = Zeroizing::new(Vec::with_capacity(HEAD + body));
        }
        self.element.clear();
        self.element.push(kind);
        self.element.extend(length.to_be_bytes());
        Ok(())
    }

    fn put(&mut self) -> Result<(), FileError> {
        let written = self.out.write_all(&self.element);
        written.map_err(|e| FileError::io("the file cannot be written", e))?;
        self.hash.update(self.element.as_slice());
        self.length += offset(self.element.len());
        Ok(())
    }
}
