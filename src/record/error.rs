//! Why a file is refused: which record, which byte, what; never what stood there.

use std::io;

use super::chip::ChipError;
use crate::exit::{Exit, Failure};
use crate::ids::{Mic, NameError};

/// A file that cannot be read, written or accepted.
#[derive(Debug)]
pub struct FileError {
    /// Sequence of the record, counted by us; `None` for Header, Trailer and the file itself.
    pub record: Option<u32>,
    /// Offset of the fault from the start of the file.
    pub offset: u64,
    /// What is wrong.
    pub fault: FileFault,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum FileFault {
    /// The operating system says no.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// The first bytes are not those of a CWF1 file.
    #[error("this is not a CWF1 file")]
    NotCwf1,
    /// A CWF1 version other than 1.
    #[error("the CWF1 version is not 1")]
    Version,
    /// The file ends inside an element or before its Trailer.
    #[error("the file is cut short")]
    Truncated,
    /// An element of another type than may stand here.
    #[error("something else stands where {0} belongs")]
    Element(&'static str),
    /// An element over the limit for bodies.
    #[error("the element has {length} bytes; the limit is {limit}")]
    TooLong {
        /// As the element states.
        length: u32,
        /// As the setting says.
        limit: u32,
    },
    /// A field is longer than what is left of its element.
    #[error("a length points beyond the end of its element")]
    Field,
    /// Bytes behind the last field of an element.
    #[error("the element holds bytes behind its last field")]
    Leftover,
    /// A name or string outside its rules.
    #[error("{field} {fault}")]
    Name {
        /// Which.
        field: &'static str,
        /// Which rule.
        fault: NameError,
    },
    /// The Header announces no record.
    #[error("the file has no record")]
    NoRecords,
    /// A gap or repeat in the sequence.
    #[error("the sequence number is {found} where {expected} belongs")]
    Sequence {
        /// One more than the record before.
        expected: u32,
        /// As the record states.
        found: u32,
    },
    /// A record without a section.
    #[error("the record has no section")]
    NoSections,
    /// A MIC twice in a record.
    #[error("the MIC {0} stands twice")]
    MicTwice(Mic),
    /// A card_ref that an earlier record has.
    #[error("the card_ref is that of record {first} already")]
    CardRefTwice {
        /// The earlier record.
        first: u32,
    },
    /// Header, Trailer and the records themselves disagree about their number.
    #[error("{stated} records are announced, {found} are there")]
    Count {
        /// As the Header or Trailer states.
        stated: u32,
        /// As counted.
        found: u32,
    },
    /// A KEKID that is not up to 8 digits padded with F and a version 01-FE.
    #[error("the KEKID is malformed")]
    KekId,
    /// TYPEtk other than 40, 41, 42.
    #[error("the TYPEtk is not known")]
    TkType,
    /// A wrapped MAC key or MAC whose length does not fit its TYPEtk.
    #[error("{0} does not have the length that its TYPEtk asks for")]
    SuiteLength(&'static str),
    /// The digest in the Trailer is not that of the file.
    #[error("the digest is wrong: the file was damaged or changed")]
    Digest,
    /// Something behind the Trailer.
    #[error("bytes follow the Trailer")]
    AfterTrailer,
    /// A malformed chip section.
    #[error("chip section: {0}")]
    Chip(ChipError),
    /// A rule of the line or product profile.
    #[error("{0}")]
    Profile(String),
    /// Refused by the caller of acceptance, with a code and message of its own.
    #[error("{0}")]
    Refused(Failure),
    /// The spool is not what was accepted.
    #[error("the spool differs from what was accepted")]
    Spool,
    /// A record number that the file does not have.
    #[error("there is no such record")]
    NoSuchRecord,
    /// The reader gave an error before; nothing more can be said about the file.
    #[error("the file was refused before")]
    Broken,
}

impl FileError {
    /// A fault at an offset, outside any record.
    pub(super) fn at(offset: u64, fault: FileFault) -> Self {
        Self { record: None, offset, fault }
    }

    /// A failing system call.
    pub(super) fn io(what: impl Into<String>, source: io::Error) -> Self {
        Self::at(0, FileFault::Io { what: what.into(), source })
    }

    /// How a program ends that meets this error.
    pub fn exit(&self) -> Exit {
        match &self.fault {
            FileFault::Io { .. } => Exit::Io,
            FileFault::Digest | FileFault::Spool => Exit::FileDigest,
            FileFault::Profile(_) => Exit::FileProfile,
            FileFault::Refused(failure) => failure.exit,
            FileFault::NoSuchRecord | FileFault::Broken => Exit::Bug,
            _ => Exit::FileFormat,
        }
    }
}

impl std::error::Error for FileError {}

impl std::fmt::Display for FileError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.fault, self.record) {
            // Its message names who is to blame and comes first.
            (FileFault::Refused(failure), Some(record)) => {
                write!(f, "{failure} (record {record}, byte {})", self.offset)
            }
            (FileFault::Io { .. } | FileFault::Refused(_), _) => write!(f, "{}", self.fault),
            (fault, Some(record)) => write!(f, "file: record {record}, byte {}: {fault}", self.offset),
            (fault, None) => write!(f, "file: byte {}: {fault}", self.offset),
        }
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        let exit = error.exit();
        let message = match (&error.fault, exit) {
            (FileFault::Spool, _) => {
                "us: the spool differs from what was accepted: hold the job, find out who can write to the spool \
                 directory, and submit the file again"
                    .to_owned()
            }
            (_, Exit::FileFormat | Exit::FileDigest | Exit::FileProfile) => {
                format!("{error}; nothing of this file is used: ask the issuer for a correct one")
            }
            _ => error.to_string(),
        };
        Self::new(exit, message)
    }
}
