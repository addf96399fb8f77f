//! Acceptance: copies a file into the spool and checks it on the way (`src/manual/cwf1.md` section 6).
//!
//! Other users cannot write the spool, and without its key cannot read it. The first fault refuses the whole
//! file.

#[cfg(test)]
mod tests;

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::sealed::{Sealer, SpoolSealing};
use super::{Cwf1Reader, FileEnd, FileError, FileFault, FileLimits, Frame, Header, Trailer};
use crate::exit::{Exit, Failure};
use crate::ids::CardNames;

/// The checks of acceptance that need more than the file: keys, profiles, files accepted earlier.
pub trait AcceptanceChecks {
    /// Checks the Header, before the first record is read.
    fn header(&mut self, header: &Header) -> Result<(), Failure>;
    /// Takes a record whose framing is right. It may be checked later. Returns whether reading goes on: not after a
    /// fault that [`Self::records`] will return, unless the fault is one of a record's data.
    fn record(&mut self, frame: &Frame<'_>) -> bool;
    /// Ends the checks of the records so far, and returns their first fault in file order. It quotes no data of a
    /// record. A fault of a record's data ([`Exit::RecordData`]) is reported only if the file as a whole is right: a
    /// damaged file has wrong MACs too.
    fn records(&mut self) -> Result<(), FileError>;
    /// Checks the Trailer, after the last record. `body` is the input of its MAC without the leading "CWF1T".
    fn trailer(&mut self, header: &Header, trailer: &Trailer, body: &[u8]) -> Result<(), Failure>;
}

/// A file that passed every check.
#[derive(Debug)]
pub struct CheckedFile {
    /// The Header.
    pub header: Header,
    /// The Trailer, the digest of the whole file and its length.
    pub end: FileEnd,
}

/// An accepted file: what was read, and where its copy lies.
#[derive(Debug)]
pub struct AcceptedFile {
    /// The Header.
    pub header: Header,
    /// The Trailer.
    pub trailer: Trailer,
    /// SHA-256 of the whole file; [`super::Spool::open`] compares it.
    pub digest: [u8; 32],
    /// Length of the whole file in bytes.
    pub length: u64,
    /// The card_ref of each record, in order.
    pub cards: CardNames,
    /// Path of the copy in the spool.
    pub spool: PathBuf,
}

/// Checks the input from its current position to its end, and copies it sealed to `spool_path`. A missing
/// spool directory is made; an existing one must belong to the user of this process and have mode 0700. After
/// an error nothing of the copy remains. A file that exists at `spool_path` is an error and stays as it is.
pub fn accept(
    input: impl Read,
    spool_path: &Path,
    limits: FileLimits,
    checks: &mut dyn AcceptanceChecks,
    sealer: &mut dyn Sealer,
) -> Result<AcceptedFile, FileError> {
    let mut part = UnfinishedSpool::create(spool_path)?;
    let sealing = SpoolSealing::begin(&mut part.file, sealer);
    let mut sealing = sealing.map_err(|e| part.unwritten(e))?;
    let mut copy = SpoolingInput { input, part: &mut part, sealing: &mut sealing };
    let read = check(&mut copy, limits, checks);
    let CheckedFile { header, end } = read.map_err(|error| sealing.explain(error))?;
    let flushed = sealing.flush(&mut part.file);
    flushed.map_err(|e| sealing.explain(part.unwritten(e)))?;
    part.keep(spool_path)?;
    let FileEnd { trailer, digest, length, cards, .. } = end;
    Ok(AcceptedFile { header, trailer, digest, length, cards, spool: spool_path.to_owned() })
}

/// Checks the input as [`accept`] does, and copies nothing.
pub fn check(
    input: impl Read,
    limits: FileLimits,
    checks: &mut dyn AcceptanceChecks,
) -> Result<CheckedFile, FileError> {
    let mut reader = Cwf1Reader::open(input, limits)?;
    let header = reader.header().clone();
    checks.header(&header).map_err(|failure| FileError::at(0, FileFault::Refused(failure)))?;
    let read = read_records(&mut reader, checks);
    let found = match checks.records() {
        Err(error) if error.exit() == Exit::RecordData => Err(error),
        // The reader's fault stands later in the file.
        other => other.map(Ok)?,
    };
    read?;
    let end = reader.finish()?;
    checks
        .trailer(&header, &end.trailer, &end.body)
        .map_err(|failure| FileError::at(end.length, FileFault::Refused(failure)))?;
    found.map(|()| CheckedFile { header, end })
}

fn read_records(
    reader: &mut Cwf1Reader<impl Read>,
    checks: &mut dyn AcceptanceChecks,
) -> Result<(), FileError> {
    while let Some(frame) = reader.next_frame()? {
        if !checks.record(&frame) {
            break;
        }
    }
    Ok(())
}

const COPYING: &str = "its copy in the spool cannot be written";

/// Opens an output file to be read once. Anything but a regular file is refused.
pub fn open_input(path: &Path) -> Result<File, FileError> {
    let io = |e| FileError::io(format!("{} cannot be opened", path.display()), e);
    // Opening a pipe would block, and a pipe that ends early looks like a file that was cut short.
    check_regular(&std::fs::metadata(path).map_err(io)?).map_err(io)?;
    // Without O_NONBLOCK a pipe that replaced the file since then would block the open as well.
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path).map_err(io)?;
    check_regular(&file.metadata().map_err(io)?).map_err(io)?;
    Ok(file)
}

/// Returns an error that names the kind of file, if it is not a regular one.
pub fn check_regular(about: &Metadata) -> io::Result<()> {
    let what = if about.is_dir() {
        "it is a directory; name the file in it"
    } else if about.is_file() {
        return Ok(());
    } else {
        "it is no regular file but a pipe, socket or device; name a file"
    };
    Err(io::Error::other(what))
}

/// The input; all bytes that are read from it are also written to the spool.
struct SpoolingInput<'a, 'b, R> {
    input: R,
    part: &'a mut UnfinishedSpool,
    sealing: &'a mut SpoolSealing<'b>,
}

impl<R: Read> Read for SpoolingInput<'_, '_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        let bytes = buffer.get(..count).unwrap_or_default();
        self.sealing
            .write(&mut self.part.file, bytes)
            .map_err(|e| io::Error::new(e.kind(), format!("{COPYING}: {}: {e}", self.part.path.display())))?;
        Ok(count)
    }
}

/// The copy while it is not complete; the file is removed when this value is dropped.
struct UnfinishedSpool {
    file: File,
    path: PathBuf,
    directory: PathBuf,
}

impl UnfinishedSpool {
    fn unwritten(&self, error: io::Error) -> FileError {
        FileError::io(format!("{COPYING}: {}", self.path.display()), error)
    }

    fn create(spool: &Path) -> Result<Self, FileError> {
        let io = |e| FileError::io(format!("{}: no spool file can be made there", spool.display()), e);
        let name = spool.file_name().ok_or_else(|| io(io::ErrorKind::InvalidInput.into()))?;
        let directory = match spool.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
            None => return Err(io(io::ErrorKind::InvalidInput.into())),
        };
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(io)?;
        let about = std::fs::metadata(directory).map_err(io)?;
        if about.permissions().mode() & 0o077 != 0 || about.uid() != nix::unistd::geteuid().as_raw() {
            let what = format!(
                "the spool directory {} must be owned by the user who runs this and have mode 0700",
                directory.display()
            );
            return Err(FileError::io(what, io::ErrorKind::PermissionDenied.into()));
        }
        let mut random = [0u8; 8];
        getrandom::fill(&mut random).map_err(|_| io(io::ErrorKind::Other.into()))?;
        let mut part = name.to_owned();
        part.push(format!(".{}.part", hex::encode(random)));
        let path = directory.join(part);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(io)?;
        Ok(Self { file, path, directory: directory.to_owned() })
    }

    /// Makes the copy durable under its final name. An existing file of that name is an error.
    fn keep(self, spool: &Path) -> Result<(), FileError> {
        let io = |e| FileError::io(format!("{} cannot be completed", spool.display()), e);
        self.file.sync_all().map_err(io)?;
        // `rename` would silently replace an accepted file. The name that ends with .part is removed when
        // `self` is dropped.
        std::fs::hard_link(&self.path, spool).map_err(io)?;
        let synced = File::open(&self.directory).and_then(|directory| directory.sync_all());
        if let Err(error) = synced {
            // A copy that may be lost in a crash is not accepted.
            let _ = std::fs::remove_file(spool);
            return Err(io(error));
        }
        Ok(())
    }
}

impl Drop for UnfinishedSpool {
    fn drop(&mut self) {
        // If this fails, the file stays in a directory that only its owner can enter.
        let _ = std::fs::remove_file(&self.path);
    }
}
