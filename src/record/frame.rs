//! A record as it stands in the file, checked and borrowed from the reader's buffer: its sections are not
//! copied.

use std::ops::Range;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::chip::{ApplicationView, ChipError, ChipFault, SectionScratch, check_crn, walk};
use super::cursor::FieldCursor;
use super::fields::{BodyResult, ends, sha256};
use super::{FileError, FileFault, Record, Section};
use crate::ids::{CardRef, Mic, NameError, card_ref};
use crate::panics::contained;

/// Bytes before the body of an element: type and length.
pub(super) const HEAD: usize = 5;

/// Offset of the card_ref in a body: sequence (4), length (1).
const NAME: usize = 5;
/// The MIC of the chip section.
const CHIP: &[u8] = b"CHP";

/// Where the parts of a record's body stand, after a check by the rules of `src/manual/cwf1.md` section 2.
#[derive(Clone)]
pub(super) struct ParsedRecord {
    pub sequence: u32,
    /// Position of the card_ref in the body.
    pub card_ref: Range<usize>,
    /// Offset of the first section in the body.
    pub sections: usize,
}

/// A record in the reader's buffer. Holds cardholder data, so it has no `Debug`.
pub struct Frame<'a> {
    /// Number of the record in its file: 1, 2, 3 ...
    pub sequence: u32,
    /// The only name of the card outside HSM and chip; follows the rules of [`CardRef`].
    pub card_ref: &'a str,
    /// Offset of the element in the file.
    pub offset: u64,
    body: &'a [u8],
    sections: usize,
}

/// One section of a [`Frame`].
#[derive(Clone, Copy)]
pub struct SectionRef<'a> {
    /// The module that the data is for; follows the rules of [`Mic`].
    pub mic: &'a [u8],
    /// The data for that module.
    pub data: &'a [u8],
    /// Offset of the data in the file.
    pub offset: u64,
    /// `L1 MIC | L4 data` as it stands in the file.
    raw: &'a [u8],
}

/// Checks the body of a record: sequence, card_ref, at least one section, every MIC well-formed and unique,
/// no bytes after the last section. `mics` is working space that is reused from record to record.
pub(super) fn parse(body: &[u8], sequence: u32, mics: &mut Vec<u64>) -> BodyResult<ParsedRecord> {
    let mut cursor = FieldCursor::new(body, 0);
    let found = cursor.u32()?;
    if found != sequence {
        return Err((0, FileFault::Sequence { expected: sequence, found }));
    }
    let name = cursor.l1()?;
    card_ref::check(name.bytes).map_err(|fault| (name.at, FileFault::Name { field: "card_ref", fault }))?;
    let named = name.at..name.at + name.bytes.len();
    let sections = cursor.at();
    mics.clear();
    while !cursor.is_empty() {
        let mic = cursor.l1()?;
        mics.push(
            mic_code(mic.bytes).ok_or_else(|| (mic.at, name_fault("MIC", Mic::from_bytes(mic.bytes))))?,
        );
        cursor.l4()?;
    }
    ends(&cursor)?;
    if mics.is_empty() {
        return Err((sections, FileFault::NoSections));
    }
    // Sorted, so that a check of many MICs takes no square of time; only a refusal looks for the place.
    mics.sort_unstable();
    if mics.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
        return Err(mic_twice(body, sections));
    }
    Ok(ParsedRecord { sequence, card_ref: named, sections })
}

/// Returns a MIC as a number if it follows the rules of [`Mic`]. Does not allocate.
fn mic_code(mic: &[u8]) -> Option<u64> {
    if !(1..=7).contains(&mic.len()) {
        return None;
    }
    mic.iter().try_fold(0, |code, byte| {
        (byte.is_ascii_uppercase() || byte.is_ascii_digit()).then_some(code << 8 | u64::from(*byte))
    })
}

/// Returns the fault that the type of a name finds, for a name that the fast check refused.
fn name_fault<T>(field: &'static str, result: Result<T, NameError>) -> FileFault {
    let fault = result.err().unwrap_or(NameError::Character);
    FileFault::Name { field, fault }
}

/// Returns the MIC that stands twice, and the offset of its second section.
fn mic_twice(body: &[u8], sections: usize) -> (usize, FileFault) {
    let mut seen = std::collections::HashSet::new();
    let found = iterate(body, sections, 0).find_map(|s| (!seen.insert(s.mic)).then_some((s.offset, s.mic)));
    match found.map(|(at, mic)| (usize::try_from(at), Mic::from_bytes(mic))) {
        Some((Ok(at), Ok(mic))) => (at, FileFault::MicTwice(mic)),
        _ => (sections, FileFault::Field),
    }
}

/// Iterates over the sections of a body that [`parse`] accepted.
fn iterate(body: &[u8], sections: usize, base: u64) -> impl Iterator<Item = SectionRef<'_>> {
    let mut cursor = FieldCursor::new(body.get(sections..).unwrap_or_default(), sections);
    std::iter::from_fn(move || {
        let from = cursor.at();
        let mic = cursor.l1().ok()?;
        let data = cursor.l4().ok()?;
        Some(SectionRef {
            mic: mic.bytes,
            data: data.bytes,
            offset: base + offset(data.at),
            raw: body.get(from..cursor.at()).unwrap_or_default(),
        })
    })
}

/// Returns a length in memory as an offset in a file.
pub(super) fn offset(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

impl<'a> Frame<'a> {
    pub(super) fn new(parsed: ParsedRecord, body: &'a [u8], offset: u64) -> Self {
        let ParsedRecord { sequence, card_ref, sections } = parsed;
        // `parse` accepted ASCII only.
        let name = body.get(card_ref).and_then(|name| std::str::from_utf8(name).ok());
        let card_ref = name.unwrap_or_default();
        Self { sequence, card_ref, offset, body, sections }
    }

    /// Returns what [`Self::new`] makes a frame of.
    pub(super) fn parts(&self) -> (ParsedRecord, &'a [u8]) {
        // The sequence and the length of the name stand before the name.
        let card_ref = NAME..NAME + self.card_ref.len();
        (ParsedRecord { sequence: self.sequence, card_ref, sections: self.sections }, self.body)
    }

    /// Reads and checks the CHP section: all its applications in order, none if there is no such section.
    pub fn applications(&self, scratch: &mut SectionScratch) -> Result<Vec<ApplicationView<'a>>, FileError> {
        let Some(section) = self.sections().find(|section| section.mic == CHIP) else {
            return Ok(Vec::new());
        };
        let mut applications = Vec::new();
        let read = contained(|| {
            let crn = walk(section.data, scratch, |application| {
                applications.push(application);
                Ok(())
            })?;
            check_crn(crn, self.card_ref)
        });
        let unreadable = Err(ChipError { at: 0, fault: ChipFault::Unreadable });
        read.unwrap_or(unreadable).map_err(|error| FileError {
            record: Some(self.sequence),
            offset: section.offset + offset(error.at),
            fault: FileFault::Chip(error),
        })?;
        Ok(applications)
    }

    /// Returns the data of the section with this MIC.
    pub fn section(&self, mic: &str) -> Option<&'a [u8]> {
        self.sections().find(|section| section.mic == mic.as_bytes()).map(|section| section.data)
    }

    /// Iterates over the sections in file order.
    pub fn sections(&self) -> impl Iterator<Item = SectionRef<'a>> {
        iterate(self.body, self.sections, self.offset + offset(HEAD))
    }

    /// Returns the SHA-256 of every `L1 MIC | L4 data` but CHP, concatenated in file order. It binds a chip
    /// application to the rest of its card (`src/manual/cwf1.md` section 5, MACINP).
    pub fn others_digest(&self) -> [u8; 32] {
        sha256(self.sections().filter(|s| s.mic != b"CHP").map(|s| s.raw))
    }

    /// Returns the SHA-256 of the whole element.
    pub(super) fn digest(&self) -> [u8; 32] {
        // The length of a body was read from a u32.
        let length = u32::try_from(self.body.len()).unwrap_or(u32::MAX);
        sha256([b"R".as_slice(), &length.to_be_bytes(), self.body])
    }

    /// Returns the length of the whole element in bytes.
    pub(super) fn length(&self) -> usize {
        HEAD + self.body.len()
    }

    /// Returns the card_ref as an owned value.
    pub fn to_card_ref(&self) -> Result<CardRef, FileError> {
        CardRef::new(self.card_ref).map_err(|_| self.contradiction())
    }

    /// Copies the record out of the buffer.
    pub fn to_record(&self) -> Result<Record, FileError> {
        let sections = self.sections().map(|s| {
            let mic = Mic::from_bytes(s.mic).map_err(|_| self.contradiction())?;
            Ok(Section { mic, data: Zeroizing::new(s.data.to_vec()) })
        });
        let sections = sections.collect::<Result<_, FileError>>()?;
        Ok(Record { sequence: self.sequence, card_ref: self.to_card_ref()?, sections })
    }

    /// [`parse`] accepted a name that its type refuses: a fault of the program.
    fn contradiction(&self) -> FileError {
        FileError { record: Some(self.sequence), offset: self.offset, fault: FileFault::Broken }
    }
}

/// Returns the digest of [`Frame::others_digest`] for an owned record.
pub fn others_digest(record: &Record) -> [u8; 32] {
    let mut hash = Sha256::new();
    for section in record.sections.iter().filter(|s| s.mic.as_str() != "CHP") {
        let mic = section.mic.as_str();
        // A MIC has 1 to 7 characters and the data came from, or goes into, an L4.
        hash.update([u8::try_from(mic.len()).unwrap_or(u8::MAX)]);
        hash.update(mic);
        hash.update(u32::try_from(section.data.len()).unwrap_or(u32::MAX).to_be_bytes());
        hash.update(section.data.as_slice());
    }
    hash.finalize().into()
}
