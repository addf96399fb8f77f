//! The tool's counter of card numbers (WO 99/19846 FIG 2, steps 306 and 316): derivation data for cards whose row has none.
//!
//! ```text
//! "CWCOUNT1\n" | the next number, 20 digits | LF        30 bytes
//! ```
//!
//! Numbers are taken in one piece, and the next number is on disk before one of them is used: no number is given twice,
//! whenever a program ends. Those of a killed run are lost. Several programs can use one counter, under a lock of the file.
//! A counter is made on purpose, so that a wrong name does not begin again at 1. Not here: which column has its number
//! (`input::schema`).

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use crate::exit::{Exit, Failure};
use crate::files;

const MAGIC: &[u8; 9] = b"CWCOUNT1\n";

/// Bytes of the file.
const LENGTH: usize = 30;

/// A counter of card numbers.
pub struct NumberCounter {
    path: PathBuf,
}

impl NumberCounter {
    /// Makes a counter. A file that exists is not replaced.
    pub fn make(path: &Path, next: u64) -> Result<Self, Failure> {
        let counter = Self { path: path.to_owned() };
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(path);
        let file = file.map_err(|e| match e.kind() {
            ErrorKind::AlreadyExists => {
                Failure::new(Exit::Io, format!("counter {}: a file lies there: name another", path.display()))
            }
            _ => counter.io(&e),
        })?;
        let written = file.write_all_at(&text(next), 0).and_then(|()| file.sync_all());
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let synced = written.and_then(|()| File::open(folder)?.sync_all());
        synced.map_err(|e| counter.io(&e))?;
        Ok(counter)
    }

    /// Opens a counter.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let counter = Self { path: path.to_owned() };
        counter.next()?;
        Ok(counter)
    }

    /// The number that comes next.
    pub fn next(&self) -> Result<u64, Failure> {
        self.read(&*self.locked()?)
    }

    /// Takes `count` numbers and returns the first. The file has the number behind them before this returns.
    pub fn take(&self, count: u64) -> Result<u64, Failure> {
        let file = self.locked()?;
        let first = self.read(&file)?;
        let after = first.checked_add(count).ok_or_else(|| self.damaged("it is at its end"))?;
        let written = file.write_all_at(&text(after), 0).and_then(|()| file.sync_data());
        written.map_err(|e| self.io(&e))?;
        Ok(first)
    }

    fn locked(&self) -> Result<Flock<File>, Failure> {
        let mut options = OpenOptions::new();
        // A pipe would block until someone writes into it.
        options.read(true).write(true).custom_flags(nix::libc::O_NONBLOCK);
        let file = options.open(&self.path).map_err(|e| self.io(&e))?;
        let meta = file.metadata().map_err(|e| self.io(&e))?;
        if !meta.is_file() || meta.uid() != nix::unistd::geteuid().as_raw() || meta.mode() & 0o022 != 0 {
            return Err(self.damaged("it must be a file of yours that nobody else can write"));
        }
        Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, e)| self.io(&e.into()))
    }

    fn read(&self, file: &File) -> Result<u64, Failure> {
        let mut bytes = Vec::with_capacity(LENGTH);
        file.take(1 + LENGTH as u64).read_to_end(&mut bytes).map_err(|e| self.io(&e))?;
        let digits = bytes.strip_prefix(MAGIC).and_then(|rest| rest.strip_suffix(b"\n"));
        let digits = digits.filter(|digits| digits.len() == 20 && digits.iter().all(u8::is_ascii_digit));
        let number = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        number.ok_or_else(|| self.damaged("it is no counter"))
    }

    fn io(&self, error: &std::io::Error) -> Failure {
        let what = format!("counter {}: {}", self.path.display(), files::trouble(error));
        Failure::new(Exit::Io, what)
    }

    fn damaged(&self, what: &str) -> Failure {
        let what = format!(
            "operator: counter {}: {what}: make a new one with cardwright-prep counter new --next N, where N is above every \
             number already used",
            self.path.display()
        );
        Failure::new(Exit::Io, what)
    }
}

fn text(next: u64) -> Vec<u8> {
    let mut text = MAGIC.to_vec();
    text.extend_from_slice(format!("{next:020}\n").as_bytes());
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn numbers_follow_each_other_and_are_on_disk_before_they_are_given() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("counter");
        let counter = NumberCounter::make(&path, 7).unwrap();
        assert_eq!((counter.take(3).unwrap(), counter.take(1).unwrap()), (7, 10));
        // What a program that starts now reads, whatever became of the one before.
        assert_eq!(std::fs::read(&path).unwrap(), b"CWCOUNT1\n00000000000000000011\n");
        assert_eq!(NumberCounter::open(&path).unwrap().next().unwrap(), 11);
        assert_eq!(NumberCounter::make(&path, 1).err().unwrap().exit, Exit::Io);
        assert_eq!(counter.next().unwrap(), 11);
    }

    #[test]
    fn programs_at_once_get_different_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("counter");
        NumberCounter::make(&path, 1).unwrap();
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let path = path.clone();
                std::thread::spawn(move || {
                    let counter = NumberCounter::open(&path).unwrap();
                    (0..50).map(|_| counter.take(1).unwrap()).collect::<Vec<_>>()
                })
            })
            .collect();
        let all: BTreeSet<u64> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!((all.len(), all.last()), (200, Some(&200)));
    }

    #[test]
    fn what_is_no_counter_is_refused_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("counter");
        for wrong in [
            "",
            "1",
            "CWCOUNT1\n1\n",
            "CWCOUNT1\n0000000000000000001a\n",
            "CWCOUNT1\n99999999999999999999\n",
            "CWCOUNT1\n00000000000000000001\n\n",
        ] {
            std::fs::write(&path, wrong).unwrap();
            assert!(NumberCounter::open(&path).is_err(), "{wrong:?}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), wrong);
        }
        std::fs::write(&path, text(u64::MAX)).unwrap();
        assert!(NumberCounter::open(&path).unwrap().take(1).is_err());
        assert!(NumberCounter::open(&folder.path().join("none")).is_err());
        assert!(NumberCounter::open(folder.path()).is_err());
    }
}
