//! Acceptance: reads the whole file once into a spool that nobody else can write or, without its key, read, and refuses it as a whole at the
//! first fault (DESIGN.md section 3).

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::chip::ChipSection;
use super::sealed::{Sealer, SpoolSealing};
use super::{Cwf1Reader, FileEnd, FileError, FileFault, FileLimits, Frame, Header, Record, Trailer};
use crate::exit::Failure;
use crate::ids::{Aid, CardRef, KekId, Mic};

/// The rules that the file alone cannot tell: keys, profiles, what was accepted before.
pub trait AcceptanceChecks {
    /// Before the first record.
    fn header(&mut self, header: &Header) -> Result<(), Failure>;
    /// One record, whose structure is right. The message is for people and quotes no data.
    fn record(&mut self, record: &Record, chip: Option<&ChipSection>) -> Result<(), Failure>;
    /// After the last record; `body` is what the Trailer's MAC covers behind "CWF1T".
    fn trailer(&mut self, header: &Header, trailer: &Trailer, body: &[u8]) -> Result<(), Failure>;
}

/// A file in the spool.
#[derive(Debug)]
pub struct AcceptedFile {
    /// Its Header.
    pub header: Header,
    /// Its Trailer.
    pub trailer: Trailer,
    /// SHA-256 of the whole file; [`super::Spool::open`] asks for it.
    pub digest: [u8; 32],
    /// Bytes of the whole file.
    pub length: u64,
    /// The card_ref of each record, in order.
    pub cards: Vec<CardRef>,
    /// Records that have each MIC.
    pub mics: BTreeMap<Mic, u32>,
    /// Records that have each application.
    pub aids: BTreeMap<Aid, u32>,
    /// Key ids and TYPEtk of all applications and of the Trailer.
    pub keks: BTreeSet<(KekId, u8)>,
    /// Where the copy lies.
    pub spool: PathBuf,
}

/// Copies the input, from where it stands to its end, to `spool_path`, sealed, while checking it. The spool's directory is made if it is missing, and
/// must belong to us and be closed to others. After an error nothing of the copy remains; a file that exists at
/// `spool_path` is an error and is left alone.
pub fn accept(
    input: File,
    spool_path: &Path,
    limits: FileLimits,
    checks: &mut dyn AcceptanceChecks,
    sealer: &mut dyn Sealer,
) -> Result<AcceptedFile, FileError> {
    let mut part = UnfinishedSpool::create(spool_path)?;
    let sealing = SpoolSealing::begin(&mut part.file, sealer);
    let mut sealing = sealing.map_err(|e| part.unwritten(e))?;
    let mut copy = SpoolingInput { input, part: &mut part, sealing: &mut sealing };
    let read = read(&mut copy, limits, checks);
    let (header, seen, end) = read.map_err(|error| sealing.explain(error))?;
    part.keep(spool_path)?;
    let (FileEnd { trailer, digest, length, .. }, SeenRecords { cards, mics, aids, keks }) = (end, seen);
    let spool = spool_path.to_owned();
    Ok(AcceptedFile { header, trailer, digest, length, cards, mics, aids, keks, spool })
}

/// Reads and checks all of it.
fn read(
    copy: &mut SpoolingInput<'_, '_>,
    limits: FileLimits,
    checks: &mut dyn AcceptanceChecks,
) -> Result<(Header, SeenRecords, FileEnd), FileError> {
    let mut reader = Cwf1Reader::open(&mut *copy, limits)?;
    let header = reader.header().clone();
    checks.header(&header).map_err(|failure| FileError::at(0, FileFault::Refused(failure)))?;
    let mut seen = SeenRecords::default();
    while let Some(frame) = reader.next_frame()? {
        seen.record(&frame, checks)?;
    }
    let end = reader.finish()?;
    checks
        .trailer(&header, &end.trailer, &end.body)
        .map_err(|failure| FileError::at(end.length, FileFault::Refused(failure)))?;
    seen.keks.insert((end.trailer.kek, end.trailer.tk_type));
    let flushed = copy.sealing.flush(&mut copy.part.file);
    flushed.map_err(|e| copy.part.unwritten(e))?;
    Ok((header, seen, end))
}

const COPYING: &str = "its copy in the spool cannot be written";

#[derive(Default)]
struct SeenRecords {
    cards: Vec<CardRef>,
    mics: BTreeMap<Mic, u32>,
    aids: BTreeMap<Aid, u32>,
    keks: BTreeSet<(KekId, u8)>,
}

impl SeenRecords {
    fn record(&mut self, frame: &Frame<'_>, checks: &mut dyn AcceptanceChecks) -> Result<(), FileError> {
        let refuse = |offset, fault| FileError { record: Some(frame.sequence), offset, fault };
        let record = frame.to_record()?;
        let chip = match frame.sections().find(|s| s.mic == b"CHP") {
            None => None,
            Some(section) => {
                let chip = ChipSection::parse(section.data);
                let chip = chip.and_then(|chip| chip.check_crn(&record.card_ref).map(|()| chip));
                Some(chip.map_err(|error| {
                    refuse(section.offset + super::frame::offset(error.at), FileFault::Chip(error))
                })?)
            }
        };
        let checked = checks.record(&record, chip.as_ref());
        checked.map_err(|failure| refuse(frame.offset, FileFault::Refused(failure)))?;
        for application in chip.into_iter().flat_map(|chip| chip.applications) {
            *self.aids.entry(application.aid.clone()).or_default() += 1;
            self.keks.insert((application.kek, application.tk_type));
        }
        for section in record.sections {
            *self.mics.entry(section.mic).or_default() += 1;
        }
        self.cards.push(record.card_ref);
        Ok(())
    }
}

/// Opens an output file to be read once; whatever is no regular file is refused at once.
pub fn open_input(path: &Path) -> Result<File, FileError> {
    let io = |e| FileError::io(format!("{} cannot be opened", path.display()), e);
    // A pipe could not be told apart from a file that ends early, and would block the open.
    regular(&std::fs::metadata(path).map_err(io)?).map_err(io)?;
    // Nor does one that took the file's place since then.
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path).map_err(io)?;
    regular(&file.metadata().map_err(io)?).map_err(io)?;
    Ok(file)
}

/// Whether it is a file that is read from its beginning to its end.
fn regular(about: &Metadata) -> io::Result<()> {
    let what = if about.is_dir() {
        "it is a directory; name the file in it"
    } else if about.is_file() {
        return Ok(());
    } else {
        "it is no regular file but a pipe, socket or device; name a file"
    };
    Err(io::Error::other(what))
}

/// Reads the input and writes what it read to the spool.
struct SpoolingInput<'a, 'b> {
    input: File,
    part: &'a mut UnfinishedSpool,
    sealing: &'a mut SpoolSealing<'b>,
}

impl Read for SpoolingInput<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        let bytes = buffer.get(..count).unwrap_or_default();
        self.sealing
            .write(&mut self.part.file, bytes)
            .map_err(|e| io::Error::new(e.kind(), format!("{COPYING}: {}: {e}", self.part.path.display())))?;
        Ok(count)
    }
}

/// A copy that is not complete; removed when dropped.
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

    /// Makes the copy durable under its final name, which must be free.
    fn keep(self, spool: &Path) -> Result<(), FileError> {
        let io = |e| FileError::io(format!("{} cannot be completed", spool.display()), e);
        self.file.sync_all().map_err(io)?;
        // Not `rename`, which would replace an accepted file without a word. The name with .part goes when `self`
        // is dropped.
        std::fs::hard_link(&self.path, spool).map_err(io)?;
        let synced = File::open(&self.directory).and_then(|directory| directory.sync_all());
        if let Err(error) = synced {
            // Not durable, so not accepted.
            let _ = std::fs::remove_file(spool);
            return Err(io(error));
        }
        Ok(())
    }
}

impl Drop for UnfinishedSpool {
    fn drop(&mut self) {
        // Nothing can be done about a failure; the directory is closed to others.
        let _ = std::fs::remove_file(&self.path);
    }
}
