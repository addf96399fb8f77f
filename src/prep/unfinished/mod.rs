//! An unfinished file as the first input of a pass: what an earlier pass has made goes on, and this pass adds to it.
//!
//! ```text
//! pass 1: cardholders.csv ─► run --unfinished ─► job.cwfu        "CWFU": a bureau refuses it
//! pass 2: job.cwfu, joined sources ─► run ─► job.cwf1            "CWF1"
//! ```
//!
//! Each record is one card. Names of file and cards, and the KEK, stay. Sections and applications stay as they are; the HSM
//! opens what is secret and protects it under the keys of the new file, whose MACs bind all sections of the card. A section
//! or an application that the record has cannot be added again.
//!
//! Nothing of the file is used before the HSM has found the MAC of its Trailer right, which covers every byte: it is all that
//! protects a record without a chip. The file is read again for the cards, and the run ends without an output if its digest
//! is another then. Not here: keys and secrets (`hsm`), values of the other sources (`join`).

mod merge;

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;

pub(super) use self::merge::add_earlier;
use super::columns::Column;
use super::input::{InputError, InputPlace, RejectedLine, SourceRow};
use crate::exit::{Exit, Failure};
use crate::hsm::client::HsmClient;
use crate::hsm::{HsmError, Issuer, TrailerRequest};
use crate::ids::KekId;
use crate::record::{Cwf1Reader, FileError, FileLimits, Header, Record, open_input};

/// An unfinished file whose Trailer is right.
pub(super) struct UnfinishedFile {
    pub header: Header,
    /// The KEK that protects it.
    pub kek: KekId,
    /// SHA-256 of the file.
    pub digest: [u8; 32],
}

/// Whether an input begins like an output file, finished or not: no table of cardholders does.
pub(super) fn is_output_file(path: &Path) -> bool {
    let mut begin = [0; 8];
    let read = open_input(path).ok().map(|mut file: File| file.read_exact(&mut begin));
    matches!((read, begin), (Some(Ok(())), [b'H', _, _, _, _, b'C', b'W', b'F']))
}

impl UnfinishedFile {
    /// Reads the whole file, and has the HSM check its Trailer.
    pub fn verify(path: &Path, hsm: &mut HsmClient) -> Result<Self, Failure> {
        let again = "make it again with run --unfinished";
        let refuse = |error: FileError| {
            Failure::new(error.exit(), format!("input {}: {error}; {again}", path.display()))
        };
        let file = open_input(path).map_err(refuse)?;
        let mut reader = Cwf1Reader::open_unfinished(file, FileLimits::default()).map_err(refuse)?;
        let header = reader.header().clone();
        while reader.next_frame().map_err(refuse)?.is_some() {}
        let end = reader.finish().map_err(refuse)?;
        let request = TrailerRequest::of(&header, &end.trailer, &end.body);
        hsm.verify_unfinished(&request).map_err(|error| match error {
            HsmError::TrailerMac => {
                let what = format!(
                    "input {}: the MAC of the Trailer is wrong: the file was changed, or made with other keys; {again}",
                    path.display()
                );
                Failure::new(Exit::FileMac, what)
            }
            other => other.into(),
        })?;
        Ok(Self { header, kek: end.trailer.kek, digest: end.digest })
    }
}

/// The rows of an unfinished file: a card_ref each, with the record itself, for after the checks.
pub(super) struct UnfinishedRows<R> {
    reader: Option<Cwf1Reader<R>>,
    file: Option<Arc<str>>,
}

impl<R: Read> UnfinishedRows<R> {
    /// Reads the Header. `file` is the name for faults, if there are several sources.
    pub fn new(input: R, file: Option<Arc<str>>) -> Result<Self, RejectedLine> {
        let reader = Cwf1Reader::open_unfinished(input, FileLimits::default()).map_err(|_| changed())?;
        Ok(Self { reader: Some(reader), file })
    }
}

impl<R: Read> Iterator for UnfinishedRows<R> {
    type Item = Result<(SourceRow, Record), RejectedLine>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.reader.as_mut()?.next_record() {
            Ok(None) => None,
            Ok(Some(record)) => {
                let place = InputPlace { file: self.file.clone(), line: record.sequence.into() };
                let mut row = SourceRow::at(place);
                row.values.insert(Column::CardRef, record.card_ref.as_str());
                Some(Ok((row, record)))
            }
            Err(_) => {
                self.reader = None;
                Some(Err(changed()))
            }
        }
    }
}

/// The fault of a file that was right before.
fn changed() -> RejectedLine {
    InputError::Io(ErrorKind::InvalidData).into()
}
