//! A small file next to the key store that the HSM keeps for itself: mode 0600, one process at a time. Every change
//! writes a new file and renames it into place.
//!
//! ```text
//! lines of text, the first says what it is
//! SHA-256 of all lines above            finds damage, not tampering
//! ```

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg, OFlag};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::HsmError;
use crate::files;
use crate::sibling_path::sibling_path;

/// Most bytes of a file: some hundred thousand lines.
const MAX: u64 = 1 << 26;

/// A companion file of a key store.
pub(super) struct CompanionFile {
    path: PathBuf,
    /// Makes an error of a fault of this file.
    fault: fn(String) -> HsmError,
}

impl CompanionFile {
    /// `<store><suffix>`; made with the first change.
    pub(super) fn beside(store: &Path, suffix: &str, fault: fn(String) -> HsmError) -> Self {
        Self { path: sibling_path(store, suffix), fault }
    }

    /// Path of the file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Locks the file against other processes until the returned lock is dropped.
    pub(super) fn lock(&self) -> Result<Flock<File>, HsmError> {
        let path = sibling_path(&self.path, "-lock");
        let lock = files::open_private(&path);
        let lock = lock.map_err(|e| self.fault(format!("its lock cannot be made: {e}")))?;
        Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, e)| self.fault(e.to_string()))
    }

    /// Reads its lines, without the digest; `None` if there is no file.
    pub(super) fn read(&self) -> Result<Option<Zeroizing<String>>, HsmError> {
        // Opening a pipe would block until someone writes into it.
        let mut options = OpenOptions::new();
        let file = match options.read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&self.path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(self.fault(format!("it cannot be opened: {e}"))),
        };
        let meta = file.metadata().map_err(|e| self.fault(e.to_string()))?;
        if !meta.is_file() || meta.uid() != nix::unistd::geteuid().as_raw() || meta.mode() & 0o077 != 0 {
            return Err(self.fault("it must be a file of yours with mode 0600".into()));
        }
        if meta.len() > MAX {
            return Err(self.fault("it is too large".into()));
        }
        let mut text = files::whole_text(file, meta.len()).map_err(|e| self.fault(e.to_string()))?;
        let whole = body(&text).map(str::len).ok_or_else(|| self.damaged())?;
        text.truncate(whole);
        Ok(Some(text))
    }

    /// Replaces its lines, durably.
    pub(super) fn write(&self, mut text: Zeroizing<String>) -> Result<(), HsmError> {
        let failed = |e: std::io::Error| self.fault(format!("it cannot be written: {e}"));
        let digest = hex::encode_upper(Sha256::digest(text.as_bytes()));
        text.push_str(&digest);
        text.push('\n');
        let next = sibling_path(&self.path, "-next");
        let mut file = files::make_private(&next).map_err(failed)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        std::fs::rename(&next, &self.path).map_err(failed)?;
        let folder = self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
    }

    /// Like [`Self::write`], then overwrites the bytes of the old file, unless it has another name too: a backup may be made of
    /// links, and is not to be lost. This does not reach copies that a disk keeps by itself: remapped flash blocks,
    /// copy-on-write file systems.
    pub(super) fn replace(&self, text: Zeroizing<String>) -> Result<(), HsmError> {
        let old = OpenOptions::new().write(true).open(&self.path);
        self.write(text)?;
        // The old file has lost its name here. If it has no other name, nobody can open it again, even if overwriting
        // fails. If it has one, it is a backup and stays.
        if let Ok(mut old) = old
            && old.metadata().is_ok_and(|old| old.nlink() == 0)
            && let Ok(length) = old.seek(SeekFrom::End(0))
        {
            let zeros = vec![0; usize::try_from(length).unwrap_or(0)];
            let _ = old.rewind().and_then(|()| old.write_all(&zeros)).and_then(|()| old.sync_all());
        }
        Ok(())
    }

    /// The error for a file whose digest or lines are wrong.
    pub(super) fn damaged(&self) -> HsmError {
        self.fault("it is damaged; restore it from a backup of the same day as the ledger's".into())
    }

    fn fault(&self, what: String) -> HsmError {
        (self.fault)(format!("{}: {what}", self.path.display()))
    }
}

/// The lines that the digest at the end covers, if it is right.
fn body(text: &str) -> Option<&str> {
    let (body, digest) = text.strip_suffix('\n')?.rsplit_once('\n')?;
    let body = text.get(..body.len() + 1)?;
    (hex::encode_upper(Sha256::digest(body)) == digest).then_some(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_file_is_overwritten_unless_a_backup_of_links_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let (store, kept) = (folder.path().join("store"), folder.path().join("backup"));
        let file = CompanionFile::beside(&store, "-spools", HsmError::Spools);
        file.write("one\n".to_owned().into()).unwrap();
        let old = File::open(file.path()).unwrap();
        let length = old.metadata().unwrap().len();
        file.replace("two\n".to_owned().into()).unwrap();
        let read = files::whole_text(old, length).unwrap();
        assert!(read.bytes().all(|byte| byte == 0), "the file without a name");
        std::fs::hard_link(file.path(), &kept).unwrap();
        file.replace("three\n".to_owned().into()).unwrap();
        let backup = std::fs::read_to_string(&kept).unwrap();
        assert_eq!(body(&backup), Some("two\n"));
        assert_eq!(file.read().unwrap().unwrap().as_str(), "three\n");
    }
}
