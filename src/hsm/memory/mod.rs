//! The HSM's memory: what it was shown, what it signed, which chips it has seen. In the store's folder; only the host writes.
//!
//! ```text
//! memory-G     the snapshot: everything up to journal G
//! journal-G    what came after it, appended and synced before each answer
//! chips        tags of chips, appended at each rotation
//! ```
//!
//! The highest `memory-G` counts. A file that is being written is called `.next`, and gets its name when it is synced.
//!
//! | file | holds |
//! |---|---|
//! | `mac` | the key, MACs |
//! | `record`, `journal` | what is remembered, one record each; their bytes, and which tail of a file is cut |
//! | `state`, `snapshot` | what the records mean together; its bytes |
//! | `chips` | the set of chips and its file |
//! | `followers`, `attempts` | who follows a ledger, and attempts under way: for the life of a host |
//! | `rotation` | from a long journal to the next snapshot, step by step |
//!
//! Not here: keys, and what anybody may ask (`soft`, `host`).

mod attempts;
mod chips;
mod followers;
mod journal;
mod mac;
mod record;
mod rotation;
mod snapshot;
mod state;

#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

pub use attempts::{AttemptBar, AttemptRefusal, AttemptTable, AttemptTurn};
pub use chips::{ChipSet, ChipsEnd};
pub use followers::{ConnectionNumber, FollowRefusal, LedgerFollowers};
pub use journal::{JournalEnd, JournalName};
pub use mac::{MemoryKey, MemoryTag};
pub use record::{MemoryRecord, SpoolKeyFate};
pub use state::{LedgerMemory, LedgerStanding, MemoryState};

use crate::files;

/// Longest snapshot or list of chips that is read: a thousand times what a large bureau needs.
const FILE_MAX: u64 = 1 << 36;

/// Why the memory cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemoryFault {
    /// The head of the journal is not the one that its snapshot and the store's key make.
    #[error("the journal is of another store, or does not follow the snapshot before it, or was changed")]
    Head,
    /// A record is not authentic.
    #[error("the journal was changed or damaged at byte {at}: put the store back from a backup")]
    Record {
        /// Where the record begins.
        at: usize,
    },
    /// An authentic record is none that this program knows.
    #[error(
        "this program does not know what the journal records at byte {at}: use the program that wrote it"
    )]
    Meaning {
        /// Where the record begins.
        at: usize,
    },
    /// The snapshot is not authentic.
    #[error("the snapshot was changed or damaged, or is of another store: put the store back from a backup")]
    Snapshot,
    /// The list of chips is not authentic.
    #[error(
        "the list of chips was changed or damaged, or is of another store: put the store back from a backup"
    )]
    Chips,
    /// The records do not follow from each other.
    #[error("its records do not follow from each other: {0}")]
    Order(&'static str),
    /// An event in it breaks a law.
    #[error("an event in it cannot follow: {0}")]
    Law(String),
    /// More than the format can hold.
    #[error("there is more to remember than its files can hold")]
    TooLong,
    /// A file is missing that can only have been removed.
    #[error("{0} is missing: put the store back from a backup")]
    Missing(String),
    /// The system refused.
    #[error("{0}")]
    Io(String),
}

/// The memory of a store, open. The caller has the store's lock.
pub struct Memory {
    folder: PathBuf,
    key: MemoryKey,
    name: JournalName,
    state: MemoryState,
    chips: ChipSet,
    journal: File,
    end: JournalEnd,
    /// Bytes of an unanswered record that were cut off when it was opened.
    cut: u64,
}

fn io(path: &Path, error: &std::io::Error) -> MemoryFault {
    MemoryFault::Io(format!("{}: {}", path.display(), files::trouble(error)))
}

/// Makes a file under the name `.next`, syncs it, and gives it its name.
fn put(path: &Path, bytes: &[u8]) -> Result<(), MemoryFault> {
    let mut next = path.as_os_str().to_owned();
    next.push(".next");
    let next = PathBuf::from(next);
    let written = files::make_private(&next).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&next, path)
    });
    written.map_err(|e| io(path, &e))
}

fn sync_folder(folder: &Path) -> Result<(), MemoryFault> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|e| io(folder, &e))
}

/// Reads a file of this user; `None` if there is none.
fn bytes_of(path: &Path) -> Result<Option<Vec<u8>>, MemoryFault> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        found => found.and_then(|meta| files::check_owned(&meta)).map_err(|e| io(path, &e))?,
    }
    files::read_bytes(path, FILE_MAX).map(Some).map_err(|e| io(path, &e))
}

/// The highest number of a snapshot in the folder.
fn last_generation(folder: &Path) -> Result<Option<u64>, MemoryFault> {
    let mut last = None;
    for entry in std::fs::read_dir(folder).map_err(|e| io(folder, &e))? {
        let name = entry.map_err(|e| io(folder, &e))?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("memory-")).map(str::parse);
        if let Some(Ok(number)) = number {
            last = last.max(Some(number));
        }
    }
    Ok(last)
}

impl Memory {
    /// Makes the memory of a new store.
    pub fn make(folder: &Path, key: &MemoryKey, realm: u8, store: [u8; 16]) -> Result<(), MemoryFault> {
        let name = JournalName { realm, store, generation: 0 };
        let (head, chips) = ChipSet::begin(key, &store);
        put(&folder.join("chips"), &head)?;
        let snapshot = snapshot::write(key, &name, &chips.end(), &MemoryState::default())?;
        put(&folder.join("memory-0"), &snapshot)?;
        put(&folder.join("journal-0"), &JournalEnd::begin(key, &name, &snapshot).0)?;
        sync_folder(folder)
    }

    /// Opens the memory of a store. A tail of the journal that was never answered is cut off.
    pub fn open(folder: &Path, key: &MemoryKey, realm: u8, store: [u8; 16]) -> Result<Self, MemoryFault> {
        let missing = |what: String| MemoryFault::Missing(what);
        let generation = last_generation(folder)?.ok_or_else(|| missing("memory-0".to_owned()))?;
        let name = JournalName { realm, store, generation };
        let path = folder.join(format!("memory-{generation}"));
        let snapshot = bytes_of(&path)?.ok_or_else(|| missing(format!("memory-{generation}")))?;
        let (end, mut state) = snapshot::read(key, &name, &snapshot)?;
        let file = bytes_of(&folder.join("chips"))?.ok_or_else(|| missing("chips".to_owned()))?;
        let mut chips = ChipSet::read(key, &store, &end, &file)?;
        let path = folder.join(format!("journal-{generation}"));
        let journal = match bytes_of(&path)? {
            Some(journal) => journal,
            // The journal before is removed when this one is made, so only a rotation that was not finished has none.
            None if rotation::was_begun(folder, generation) => {
                let (head, _) = JournalEnd::begin(key, &name, &snapshot);
                put(&path, &head)?;
                head
            }
            None => return Err(missing(format!("journal-{generation}"))),
        };
        let read = journal::read(key, &name, &snapshot, &journal)?;
        for record in &read.records {
            state.apply(record)?;
            if let MemoryRecord::Shown { chips: tags, .. } = record {
                chips.note(tags);
            }
        }
        let cut = journal.len().saturating_sub(read.length);
        let opened =
            OpenOptions::new().append(true).custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits()).open(&path);
        let file = opened.map_err(|e| io(&path, &e))?;
        let length = |n: usize| u64::try_from(n).map_err(|_| MemoryFault::TooLong);
        if cut > 0 {
            file.set_len(length(read.length)?).and_then(|()| file.sync_all()).map_err(|e| io(&path, &e))?;
        }
        let memory = Self {
            folder: folder.to_owned(),
            key: key.clone(),
            name,
            state,
            chips,
            journal: file,
            end: read.end,
            cut: length(cut)?,
        };
        memory.tidy()?;
        Ok(memory)
    }

    /// What is remembered.
    pub fn state(&self) -> &MemoryState {
        &self.state
    }

    /// The chips that were bound.
    pub fn chips(&self) -> &ChipSet {
        &self.chips
    }

    /// Bytes of an unanswered record that were cut off when it was opened.
    pub fn cut(&self) -> u64 {
        self.cut
    }

    /// Remembers records, durably: in one write and one sync. After an error nothing more may be answered, because what is on the
    /// disk is not known.
    pub fn remember(&mut self, records: &[MemoryRecord]) -> Result<(), MemoryFault> {
        let mut bytes = Vec::new();
        for record in records {
            self.state.apply(record)?;
            bytes.extend(self.end.append(record)?);
            if let MemoryRecord::Shown { chips, .. } = record {
                self.chips.note(chips);
            }
        }
        let written = self.journal.write_all(&bytes).and_then(|()| self.journal.sync_data());
        written.map_err(|e| io(&self.folder.join(format!("journal-{}", self.name.generation)), &e))
    }

    /// Removes what a rotation left that was not finished.
    fn tidy(&self) -> Result<(), MemoryFault> {
        let chips = self.folder.join("chips");
        let length = self.chips.end().length;
        let cut = OpenOptions::new().write(true).open(&chips).and_then(|file| {
            if file.metadata()?.len() > length {
                file.set_len(length).and_then(|()| file.sync_all())
            } else {
                Ok(())
            }
        });
        cut.map_err(|e| io(&chips, &e))?;
        rotation::remove_before(&self.folder, self.name.generation)
    }
}
