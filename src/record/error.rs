//! Why a file is refused: the record, the byte and the rule. An error never quotes the data.

use std::io;

use super::chip::ChipError;
use super::envelope::EnvelopeFault;
use crate::exit::{Exit, Failure};
use crate::ids::{Mic, NameError};

/// A file that cannot be read, written or accepted.
#[derive(Debug)]
pub struct FileError {
    /// Number of the record as the reader counts; `None` for Header, Trailer and the file itself.
    pub record: Option<u32>,
    /// Offset of the fault from the start of the file.
    pub offset: u64,
    /// What is wrong.
    pub fault: FileFault,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum FileFault {
    /// A system call failed.
    #[error("{what}: {source}")]
    Io {
        /// What the program tried to do.
        what: String,
        /// The error of the system call.
        source: io::Error,
    },
    /// The envelope of a sealed file is at fault.
    #[error(transparent)]
    Envelope(#[from] EnvelopeFault),
    /// The first bytes are not those of a CWF1 file.
    #[error("this is not a CWF1 file")]
    NotCwf1,
    /// An unfinished file where a finished one belongs.
    #[error(
        "this file is unfinished: it is for another pass of cardwright-prep run; ask the issuer for the finished one"
    )]
    Unfinished,
    /// A finished file where an unfinished one belongs.
    #[error("this file is finished: a pass takes only a file that run --unfinished has made")]
    Finished,
    /// A CWF1 version other than 1.
    #[error("the CWF1 version is not 1")]
    Version,
    /// The file ends inside an element or before its Trailer.
    #[error("the file is cut short")]
    Truncated,
    /// An element of another type than the one that belongs here.
    #[error("something else stands where {0} belongs")]
    Element(&'static str),
    /// An element whose body is longer than the limit.
    #[error("the element has {length} bytes; the limit is {limit}")]
    TooLong {
        /// Length that the element states.
        length: u32,
        /// Longest length that the setting allows.
        limit: u32,
    },
    /// A field is longer than what is left of its element.
    #[error("a length points beyond the end of its element")]
    Field,
    /// Bytes after the last field of an element.
    #[error("the element holds bytes after its last field")]
    Leftover,
    /// A name that breaks a rule.
    #[error("{field} {fault}")]
    Name {
        /// The field that holds the name.
        field: &'static str,
        /// The rule that it breaks.
        fault: NameError,
    },
    /// The Header states that there is no record.
    #[error("the file has no record")]
    NoRecords,
    /// A gap or repeat in the sequence.
    #[error("the sequence number is {found} where {expected} belongs")]
    Sequence {
        /// One more than the number of the record before.
        expected: u32,
        /// Number that the record states.
        found: u32,
    },
    /// A record without a section.
    #[error("the record has no section")]
    NoSections,
    /// A MIC twice in a record.
    #[error("the MIC {0} stands twice")]
    MicTwice(Mic),
    /// A card_ref that an earlier record has too.
    #[error("the card_ref is that of record {first} already")]
    CardRefTwice {
        /// The earlier record.
        first: u32,
    },
    /// Header, Trailer and the count of the records differ.
    #[error("{stated} records are announced, {found} are there")]
    Count {
        /// Number that the Header or the Trailer states.
        stated: u32,
        /// Number of records that were read.
        found: u32,
    },
    /// A KEKID that is not 1 to 8 digits, padded with F, and a version from 01 to FE.
    #[error("the KEKID is malformed")]
    KekId,
    /// TYPEtk other than 40, 41, 42.
    #[error("the TYPEtk is not known")]
    TkType,
    /// A wrapped MAC key or a MAC with another length than its TYPEtk asks for.
    #[error("{0} does not have the length that its TYPEtk asks for")]
    SuiteLength(&'static str),
    /// The digest in the Trailer is not the digest of the file.
    #[error("the digest is wrong: the file was damaged or changed")]
    Digest,
    /// Bytes after the Trailer.
    #[error("bytes follow the Trailer")]
    AfterTrailer,
    /// A malformed chip section.
    #[error("chip section: {0}")]
    Chip(ChipError),
    /// A rule of the line or product profile is broken.
    #[error("{0}")]
    Profile(String),
    /// A check of the caller refused the file, with its own exit code and message.
    #[error("{0}")]
    Refused(Failure),
    /// The spool is not the file that was accepted.
    #[error("the spool differs from what was accepted")]
    Spool,
    /// A record number that the file does not have.
    #[error("there is no such record")]
    NoSuchRecord,
    /// The reader returned an error earlier and cannot go on.
    #[error("the file was refused before")]
    Broken,
}

impl FileFault {
    /// Makes the fault of an input that could not be read. An input that opens an envelope names its faults itself.
    pub(super) fn unread(source: io::Error) -> Self {
        match source.get_ref().and_then(|inner| inner.downcast_ref::<EnvelopeFault>()) {
            Some(fault) => Self::Envelope(*fault),
            None => Self::Io { what: "the file cannot be read".into(), source },
        }
    }
}

impl FileError {
    /// Makes the error of a fault outside any record.
    pub(super) fn at(offset: u64, fault: FileFault) -> Self {
        Self { record: None, offset, fault }
    }

    /// Makes the error of a system call that failed.
    pub(super) fn io(what: impl Into<String>, source: io::Error) -> Self {
        Self::at(0, FileFault::Io { what: what.into(), source })
    }

    /// Returns the exit code of a program that ends with this error.
    pub fn exit(&self) -> Exit {
        match &self.fault {
            FileFault::Io { .. } => Exit::Io,
            FileFault::Envelope(fault) => fault.exit(),
            FileFault::Digest | FileFault::Spool => Exit::FileDigest,
            FileFault::Profile(_) => Exit::FileProfile,
            FileFault::Refused(failure) => failure.exit,
            FileFault::Unfinished | FileFault::Finished => Exit::Input,
            FileFault::NoSuchRecord | FileFault::Broken => Exit::Bug,
            _ => Exit::FileFormat,
        }
    }
}

impl std::error::Error for FileError {}

impl std::fmt::Display for FileError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.fault, self.record) {
            // The message of the failure names who is to blame, so it comes first.
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
            (_, Exit::FileFormat | Exit::FileDigest | Exit::FileProfile | Exit::RecordData) => {
                format!("{error}; nothing of this file is used: ask the issuer for a correct one")
            }
            _ => error.to_string(),
        };
        Self::new(exit, message)
    }
}
