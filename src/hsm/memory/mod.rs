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
//! | `chips`, `chip_tag` | the set of chips and its file; the tags of a chip |
//! | `followers`, `attempts` | who follows a ledger, and attempts under way: for the life of a host |
//! | `shown` | what events that were shown mean for attempts and chips |
//! | `rotation` | from a long journal to the next snapshot, step by step |
//! | `keeper` | the thread that owns the memory in a host, and gathers what all connections ask |
//!
//! Not here: keys, and what anybody may ask (`soft`, `host`).

mod attempts;
mod chip_tag;
mod chips;
mod followers;
mod journal;
mod keeper;
mod mac;
mod record;
mod rotation;
mod shown;
mod snapshot;
mod state;

#[cfg(test)]
pub(super) mod tests;

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

pub use attempts::{AskedStep, AttemptBar, AttemptRefusal, AttemptTable, record_name_hash};
pub use chip_tag::{KmcMark, chip_tags};
pub use chips::{ChipSet, ChipsEnd};
pub use followers::{ConnectionNumber, FollowRefusal, LedgerFollowers};
pub use journal::{JournalEnd, JournalName};
pub use keeper::{MemoryKeeper, unix_ms};
pub use mac::{MemoryKey, MemoryTag};
pub use record::MemoryRecord;
pub use shown::ShownChips;
pub use state::{FIRST_EPOCH, FollowedEvents, LedgerMemory, LedgerStanding, MemoryState};

use sha2::{Digest, Sha256};

use crate::audit::LedgerId;
use crate::files;

/// Longest snapshot or list of chips that is read: a thousand times what a large bureau needs.
pub(super) const FILE_MAX: u64 = 1 << 36;

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
    /// The system does not say what is on the disk.
    #[error("{0}: it is not known what is on the disk: end this program, and start it again")]
    Sync(String),
}

/// Where the memory of a store lies, and by what it is known.
#[derive(Clone)]
pub struct MemoryHome {
    /// The store's folder.
    pub folder: PathBuf,
    /// The key of the memory.
    pub key: MemoryKey,
    /// Realm and store; the number counts only where a file is named.
    pub name: JournalName,
}

/// The memory of a store, open. The caller has the store's lock.
pub struct Memory {
    home: MemoryHome,
    state: MemoryState,
    chips: ChipSet,
    journal: File,
    end: JournalEnd,
    /// Length of the journal in bytes, as far as it was synced.
    length: u64,
    /// Length of the snapshot before it, in bytes.
    snapshot_length: u64,
    /// Bytes of records that are not written yet.
    pending: Vec<u8>,
    /// Why the state is none that records make; it may not be used any more.
    broken: Option<MemoryFault>,
    /// Bytes of an unanswered record that were cut off when it was opened.
    cut: u64,
}

/// What the files of a memory hold.
struct StoredMemory {
    home: MemoryHome,
    state: MemoryState,
    chips: ChipSet,
    end: JournalEnd,
    snapshot: Vec<u8>,
    /// `None` if a rotation was not finished before it was made.
    journal: Option<Vec<u8>>,
    /// Bytes of the journal that count.
    length: u64,
}

fn io(path: &Path, error: &std::io::Error) -> MemoryFault {
    MemoryFault::Io(format!("{}: {}", path.display(), files::trouble(error)))
}

fn missing(path: &Path) -> MemoryFault {
    MemoryFault::Missing(path.display().to_string())
}

/// Makes a file under the name `.next`, syncs it, and gives it its name.
fn put(path: &Path, bytes: &[u8]) -> Result<(), MemoryFault> {
    let mut next = path.as_os_str().to_owned();
    next.push(".next");
    let next = PathBuf::from(next);
    let written = files::write_private(&next, bytes).and_then(|()| std::fs::rename(&next, path));
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

/// The highest number of a snapshot in the folder; `None` if there is no snapshot.
pub(super) fn last_generation(folder: &Path) -> Result<Option<u64>, MemoryFault> {
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

/// The names of the files of the memory whose last snapshot has this number. While its journal is not made yet, that of the one
/// before says so: see [`rotation::was_begun`].
pub(super) fn file_names(folder: &Path, generation: u64) -> [String; 3] {
    let journal = |generation: u64| format!("journal-{generation}");
    let made = folder.join(journal(generation)).symlink_metadata().is_ok();
    let begun = !made && rotation::was_begun(folder, generation);
    let journal = journal(if begun { generation.saturating_sub(1) } else { generation });
    [format!("memory-{generation}"), journal, "chips".to_owned()]
}

impl MemoryHome {
    fn path(&self, what: &str) -> PathBuf {
        self.folder.join(format!("{what}-{}", self.name.generation))
    }

    fn chips(&self) -> PathBuf {
        self.folder.join("chips")
    }

    /// The same with the files of another generation.
    fn at(&self, generation: u64) -> Self {
        Self { name: JournalName { generation, ..self.name }, ..self.clone() }
    }

    /// Makes the memory of a store that has none. The snapshot comes last: without it there is no memory.
    pub fn make(&self, state: &MemoryState) -> Result<(), MemoryFault> {
        let home = self.at(0);
        let (head, chips) = ChipSet::begin(&home.key, &home.name.store);
        let snapshot = snapshot::write(&home.key, &home.name, &chips.end(), state)?;
        put(&home.chips(), &head)?;
        put(&home.path("journal"), &JournalEnd::begin(&home.key, &home.name, &snapshot).0)?;
        sync_folder(&home.folder)?;
        put(&home.path("memory"), &snapshot)?;
        sync_folder(&home.folder)
    }

    /// What is remembered, as far as the host that has the store open has written it; `None` if there is no memory.
    pub fn view(&self) -> Result<Option<MemoryState>, MemoryFault> {
        let mut again = false;
        loop {
            let Some(generation) = last_generation(&self.folder)? else { return Ok(None) };
            match self.read(generation) {
                Ok(stored) => return Ok(Some(stored.state)),
                // The host went over to the next one meanwhile.
                Err(_) if last_generation(&self.folder)? > Some(generation) => {}
                // Or it made the journal of this one, and removed that of the one before, while this looked for either.
                Err(MemoryFault::Missing(_)) if self.at(generation).path("journal").exists() && !again => {
                    again = true;
                }
                Err(fault) => return Err(fault),
            }
        }
    }

    fn read(&self, generation: u64) -> Result<StoredMemory, MemoryFault> {
        let home = self.at(generation);
        let snapshot = bytes_of(&home.path("memory"))?.ok_or_else(|| missing(&home.path("memory")))?;
        let (end, mut state) = snapshot::read(&home.key, &home.name, &snapshot)?;
        let file = bytes_of(&home.chips())?.ok_or_else(|| missing(&home.chips()))?;
        let mut chips = ChipSet::read(&home.key, &home.name.store, &end, &file)?;
        let journal = bytes_of(&home.path("journal"))?;
        // The journal before is removed when this one is made, so only a rotation that was not finished has none.
        if journal.is_none() && !rotation::was_begun(&home.folder, generation) {
            return Err(missing(&home.path("journal")));
        }
        let (head, end) = JournalEnd::begin(&home.key, &home.name, &snapshot);
        let read = match &journal {
            Some(journal) => journal::read(&home.key, &home.name, &snapshot, journal)?,
            None => journal::JournalRead { records: Vec::new(), end, length: head.len() },
        };
        for record in &read.records {
            state.apply(record)?;
            if let MemoryRecord::Shown { chips: tags, .. } = record {
                chips.note(tags);
            }
        }
        let length = u64::try_from(read.length).map_err(|_| MemoryFault::TooLong)?;
        Ok(StoredMemory { home, state, chips, end: read.end, snapshot, journal, length })
    }
}

impl Memory {
    /// Opens the memory of a store. A tail of the journal that was never answered is cut off.
    pub fn open(home: &MemoryHome) -> Result<Self, MemoryFault> {
        let generation = last_generation(&home.folder)?;
        let generation = generation.ok_or_else(|| missing(&home.at(0).path("memory")))?;
        let stored = home.read(generation)?;
        let (path, home) = (stored.home.path("journal"), stored.home);
        let found = match stored.journal {
            Some(journal) => u64::try_from(journal.len()).map_err(|_| MemoryFault::TooLong)?,
            None => {
                put(&path, &JournalEnd::begin(&home.key, &home.name, &stored.snapshot).0)?;
                sync_folder(&home.folder)?;
                stored.length
            }
        };
        let journal = appended(&path)?;
        let cut = found.saturating_sub(stored.length);
        if cut > 0 {
            journal.set_len(stored.length).map_err(|e| io(&path, &e))?;
        }
        // What the process before has written may not be on the disk, and from now on it is answered.
        journal.sync_all().map_err(|e| MemoryFault::Sync(files::trouble(&e)))?;
        let memory = Self {
            home,
            state: stored.state,
            chips: stored.chips,
            journal,
            end: stored.end,
            length: stored.length,
            snapshot_length: u64::try_from(stored.snapshot.len()).map_err(|_| MemoryFault::TooLong)?,
            pending: Vec::new(),
            broken: None,
            cut,
        };
        memory.tidy()?;
        Ok(memory)
    }

    /// What is remembered, with the records that were noted.
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

    /// Length of the journal in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Length of the snapshot before the journal, in bytes.
    pub fn snapshot_length(&self) -> u64 {
        self.snapshot_length
    }

    /// Whether records were noted that are not durable.
    pub fn has_more(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Notes a record. It may be answered after [`Self::sync`].
    pub fn note(&mut self, record: &MemoryRecord) -> Result<(), MemoryFault> {
        let applied = self.state.apply(record);
        self.append(applied, record)
    }

    /// Appends a record that was applied to the state, or was not.
    fn append(&mut self, applied: Result<(), MemoryFault>, record: &MemoryRecord) -> Result<(), MemoryFault> {
        let noted = applied.and_then(|()| self.end.append(record));
        self.pending.extend(noted.map_err(|fault| self.broken.insert(fault).clone())?);
        if let MemoryRecord::Shown { chips, .. } = record {
            self.chips.note(chips);
        }
        Ok(())
    }

    /// Follows the events after this number. Notes those that could follow, and the end of the ledger if one could not. `chips` gets the chips that were bound before, and
    /// returns the tags of those that these events bind, which are noted too.
    pub fn show(
        &mut self,
        ledger: LedgerId,
        after: u64,
        mut events: Vec<Vec<u8>>,
        time: u64,
        chips: impl FnOnce(&FollowedEvents, &ChipSet) -> Vec<MemoryTag>,
    ) -> Result<FollowedEvents, MemoryFault> {
        let shown = self.state.follow(ledger, after, &events)?;
        let refused = events.get(shown.effects.len()).map(Sha256::digest);
        events.truncate(shown.effects.len());
        if !events.is_empty() {
            let (chips, hash) = (chips(&shown, &self.chips), shown.place.hash);
            let record = MemoryRecord::Shown { ledger, after, time, events, chips, hash };
            // They are followed already.
            self.state.passed(time);
            self.append(Ok(()), &record)?;
        }
        if let Some(why) = shown.breach.clone() {
            let (n, event) = (shown.place.n.saturating_add(1), refused.unwrap_or_default().into());
            self.note(&MemoryRecord::Stopped { ledger, n, event, why })?;
        }
        Ok(shown)
    }

    /// Makes the records that were noted durable: in one write and one sync. After an error this memory may not be used any
    /// more; after [`MemoryFault::Sync`] it may not be opened again either, because what is on the disk is not known.
    pub fn sync(&mut self) -> Result<(), MemoryFault> {
        if let Some(fault) = &self.broken {
            return Err(fault.clone());
        }
        if self.pending.is_empty() {
            return Ok(());
        }
        let path = self.home.path("journal");
        let more = u64::try_from(self.pending.len()).map_err(|_| MemoryFault::TooLong)?;
        if let Err(error) = self.journal.write_all(&self.pending) {
            // Nothing of it is answered. What stays if this fails too is as true as if its answer had been lost.
            let _ = self.journal.set_len(self.length);
            return Err(self.broken.insert(io(&path, &error)).clone());
        }
        let synced = self.journal.sync_data();
        synced.map_err(|e| self.broken.insert(MemoryFault::Sync(io(&path, &e).to_string())).clone())?;
        self.pending.clear();
        self.length = self.length.saturating_add(more);
        Ok(())
    }

    /// Removes what a rotation left that was not finished.
    fn tidy(&self) -> Result<(), MemoryFault> {
        let chips = self.home.chips();
        let length = self.chips.end().length;
        let cut = OpenOptions::new().write(true).open(&chips).and_then(|file| {
            if file.metadata()?.len() > length {
                file.set_len(length).and_then(|()| file.sync_all())
            } else {
                Ok(())
            }
        });
        cut.map_err(|e| io(&chips, &e))?;
        rotation::remove_before(&self.home.folder, self.home.name.generation)
    }
}

/// Opens a file to append to it.
fn appended(path: &Path) -> Result<File, MemoryFault> {
    let flags = nix::fcntl::OFlag::O_NOFOLLOW.bits();
    OpenOptions::new().append(true).custom_flags(flags).open(path).map_err(|e| io(path, &e))
}
