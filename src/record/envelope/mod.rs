//! The envelope in which an output file travels: the `age` format, version 1 (c2sp.org/age), with X25519 recipients.
//!
//! ```text
//! head     "age-encryption.org/v1", for each recipient the file key wrapped to its public key, a MAC under the file key
//! payload  the output file in pieces of 64 KiB, each authentic by itself; the last is marked, so that a cut is noticed
//! ```
//!
//! The format is the `age` crate's. The private key stays with its holder (`hsm::recipient`), who gets the wrapped file
//! keys and returns the one that is its own. Not here: files, keys, which files may come without an envelope
//! (`bureau::delivery`).

use std::cell::RefCell;
use std::io::{self, Chain, Cursor, ErrorKind, Read, Write};

use age::stream::{StreamReader, StreamWriter};
pub use age::x25519::Recipient;
use age::{DecryptError, Decryptor, Encryptor, Identity};
use age_core::format::{FILE_KEY_BYTES, FileKey, Stanza};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{FileError, FileFault};
use crate::exit::{Exit, Failure};
use crate::wiped::WipedBytes;

/// The first bytes of every envelope.
const MAGIC: &[u8] = b"age-encryption.org/";
/// The word of an X25519 recipient in a head.
pub(crate) const X25519: &str = "X25519";
/// Most bytes of a head. Each recipient takes 98; a head without a bound would take memory and time without a bound.
const HEAD_MAX: u64 = 8 << 10;
/// Most recipients of one envelope: they fit a head, together with the stanza that `age` adds for practice.
pub const RECIPIENTS_MAX: usize = 64;

/// What is wrong with an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeFault {
    /// The head does not parse, is too long, or its MAC is wrong.
    #[error("the head of the sealed file is malformed, or was changed")]
    Head,
    /// The file ends between two pieces.
    #[error("the sealed file is cut short")]
    Truncated,
    /// A piece is not authentic: a cut inside a piece looks like this too.
    #[error("a piece of the sealed file does not open: the file was damaged, changed or cut short")]
    Damaged,
}

impl EnvelopeFault {
    /// The exit code of a program that ends with it.
    pub(super) fn exit(self) -> Exit {
        match self {
            Self::Head | Self::Truncated => Exit::FileFormat,
            Self::Damaged => Exit::FileDigest,
        }
    }
}

/// A file key, wrapped to one recipient: a stanza of a head as it stands there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrappedFileKey {
    /// The arguments: one, the sender's share of the key agreement in base64.
    pub arguments: Vec<String>,
    /// The file key under the agreed key.
    pub body: Vec<u8>,
}

/// Has the holder of a private key unwrap the file key that is wrapped to it. Without such a key it fails, and says whose
/// key is missing.
pub type UnwrapFileKey<'a> = &'a mut dyn FnMut(&[WrappedFileKey]) -> Result<WipedBytes, Failure>;

/// The bytes that are read ahead to look at the head, and then the rest.
type Whole<R> = Chain<Cursor<Zeroizing<Vec<u8>>>, R>;

/// An output file as it came: bare, or in an envelope. Reads as the CWF1 file inside.
pub enum DeliveredFile<R> {
    /// Without an envelope.
    Bare(Whole<R>),
    /// In an envelope.
    Sealed(Box<StreamReader<Whole<R>>>),
}

impl<R: Read> DeliveredFile<R> {
    /// Looks at the first bytes of a file, and opens its envelope if it has one. Without anyone who could unwrap its key
    /// a sealed file is refused.
    pub fn open(mut input: R, unwrap: Option<UnwrapFileKey<'_>>) -> Result<Self, FileError> {
        let mut head = Zeroizing::new(Vec::with_capacity(usize::try_from(HEAD_MAX).unwrap_or_default()));
        let read = input.by_ref().take(HEAD_MAX).read_to_end(&mut head);
        read.map_err(|e| FileError::io("the file cannot be read", e))?;
        let is_sealed = head.starts_with(MAGIC);
        // The line of the MAC ends every head. Without it in these bytes, reading the head could go on for ever.
        let has_end = head.windows(5).any(|bytes| bytes == b"\n--- ");
        let whole = Cursor::new(head).chain(input);
        let refuse = |fault| FileError::at(0, fault);
        match (is_sealed, has_end, unwrap) {
            (false, ..) => Ok(Self::Bare(whole)),
            (true, false, _) => Err(refuse(EnvelopeFault::Head.into())),
            (true, true, None) => Err(refuse(FileFault::Refused(keyless()))),
            (true, true, Some(unwrap)) => {
                open_head(whole, unwrap).map(|stream| Self::Sealed(Box::new(stream))).map_err(refuse)
            }
        }
    }

    /// Whether it came without an envelope.
    pub fn is_bare(&self) -> bool {
        matches!(self, Self::Bare(_))
    }
}

fn keyless() -> Failure {
    let what =
        "operator: the file is sealed: name the key store that has the recipient's private key (--keys)";
    Failure::new(Exit::KeyUnknown, what)
}

fn open_head<R: Read>(whole: R, unwrap: UnwrapFileKey<'_>) -> Result<StreamReader<R>, FileFault> {
    let malformed = |error: DecryptError| match error {
        DecryptError::Io(source) if source.kind() != ErrorKind::UnexpectedEof => {
            FileFault::Io { what: "the file cannot be read".into(), source }
        }
        _ => EnvelopeFault::Head.into(),
    };
    let head = Decryptor::new(whole).map_err(malformed)?;
    let holder = KeyElsewhere(RefCell::new((unwrap, None)));
    let opened = head.decrypt(std::iter::once(&holder as &dyn Identity));
    match holder.0.into_inner().1 {
        Some(failure) => Err(FileFault::Refused(failure)),
        None => opened.map_err(malformed),
    }
}

/// An identity whose private key is elsewhere, and why it did not unwrap the file key.
struct KeyElsewhere<'a>(RefCell<(UnwrapFileKey<'a>, Option<Failure>)>);

impl Identity for KeyElsewhere<'_> {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        self.unwrap_stanzas(std::slice::from_ref(stanza))
    }

    fn unwrap_stanzas(&self, stanzas: &[Stanza]) -> Option<Result<FileKey, DecryptError>> {
        let wrapped: Vec<_> = stanzas
            .iter()
            .filter(|stanza| stanza.tag == X25519)
            .map(|stanza| WrappedFileKey { arguments: stanza.args.clone(), body: stanza.body.clone() })
            .collect();
        let (unwrap, failure) = &mut *self.0.borrow_mut();
        let key = unwrap(&wrapped).and_then(|key| {
            let wrong = || Failure::new(Exit::Hsm, "device: the HSM host returned no file key");
            let bytes: &[u8; FILE_KEY_BYTES] = key.as_slice().try_into().map_err(|_| wrong())?;
            Ok(FileKey::init_with_mut(|place| *place = *bytes))
        });
        Some(key.map_err(|why| {
            *failure = Some(why);
            DecryptError::DecryptionFailed
        }))
    }
}

impl<R: Read> Read for DeliveredFile<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Bare(whole) => whole.read(buffer),
            Self::Sealed(stream) => stream.read(buffer).map_err(named),
        }
    }
}

/// Gives an error of the payload its own name. Errors of the system stay as they are.
fn named(error: io::Error) -> io::Error {
    let fault = match error.kind() {
        _ if error.raw_os_error().is_some() => return error,
        ErrorKind::UnexpectedEof => EnvelopeFault::Truncated,
        ErrorKind::InvalidData => EnvelopeFault::Damaged,
        _ => return error,
    };
    io::Error::new(error.kind(), fault)
}

/// Begins an envelope for these recipients. What is written goes into it; [`StreamWriter::finish`] ends it, and without that
/// nobody can open it.
pub fn seal<W: Write>(out: W, recipients: &[Recipient]) -> Result<StreamWriter<W>, FileError> {
    let unsealed = |source| FileError::io("the envelope cannot be written", source);
    if recipients.len() > RECIPIENTS_MAX {
        let what = format!("operator: a file has at most {RECIPIENTS_MAX} recipients");
        return Err(FileError::at(0, FileFault::Refused(Failure::new(Exit::Usage, what))));
    }
    let encryptor = Encryptor::with_recipients(recipients.iter().map(|recipient| recipient as _));
    let encryptor = encryptor.map_err(|error| unsealed(io::Error::other(error.to_string())))?;
    encryptor.wrap_output(out).map_err(unsealed)
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, reason = "tests build files from small numbers")]
mod tests;
