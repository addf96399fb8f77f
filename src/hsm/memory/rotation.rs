//! From a long journal to the next snapshot. A host that is killed at any step finds everything again.
//!
//! | step | killed after it |
//! |---|---|
//! | chips are appended, synced | what the snapshot does not count is cut; the journal has it |
//! | the next snapshot is written, synced, named | it counts; the next journal is made |
//! | the next journal is written, synced, named | both count |
//! | the files before are removed | |

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use super::journal::JournalEnd;
use super::{Memory, MemoryFault, appended, io, put, snapshot, sync_folder};

/// A step of a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RotationStep {
    Chips,
    Snapshot,
    Journal,
    Remove,
}

impl RotationStep {
    pub(super) const ALL: [Self; 4] = [Self::Chips, Self::Snapshot, Self::Journal, Self::Remove];
}

/// Whether a rotation to this generation was begun and not finished: then the journal before is still there.
pub(super) fn was_begun(folder: &Path, generation: u64) -> bool {
    let before = generation.checked_sub(1).map(|before| folder.join(format!("journal-{before}")));
    before.is_some_and(|before| before.symlink_metadata().is_ok())
}

/// Removes snapshot and journal of the generation before.
pub(super) fn remove_before(folder: &Path, generation: u64) -> Result<(), MemoryFault> {
    let Some(before) = generation.checked_sub(1) else { return Ok(()) };
    // The journal last: while it is there, a missing one of the next generation is made.
    for name in ["memory", "journal"] {
        let path = folder.join(format!("{name}-{before}"));
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(io(&path, &error)),
            _ => {}
        }
    }
    Ok(())
}

impl Memory {
    /// Goes over to the next generation. Every record must be synced; after an error this memory may not be used any more, and
    /// finds everything when it is opened again.
    pub fn rotate(&mut self) -> Result<(), MemoryFault> {
        self.rotate_until(RotationStep::Remove)
    }

    /// Rotates up to this step. Before the last one, this memory must not be used any more.
    pub(super) fn rotate_until(&mut self, last: RotationStep) -> Result<(), MemoryFault> {
        let generation = self.home.name.generation.checked_add(1).ok_or(MemoryFault::TooLong)?;
        let home = self.home.at(generation);
        let (block, chips) = self.chips.block()?;
        let snapshot = snapshot::write(&home.key, &home.name, &chips, &self.state)?;
        let (head, end) = JournalEnd::begin(&home.key, &home.name, &snapshot);
        let length = u64::try_from(head.len()).map_err(|_| MemoryFault::TooLong)?;
        for step in RotationStep::ALL.into_iter().filter(|step| *step <= last) {
            match step {
                RotationStep::Chips => {
                    let path = home.chips();
                    let written = appended(&path)?.write_all(&block);
                    written.map_err(|e| io(&path, &e))?;
                    File::open(&path).and_then(|file| file.sync_all()).map_err(|e| io(&path, &e))?;
                }
                RotationStep::Snapshot => {
                    put(&home.path("memory"), &snapshot)?;
                    sync_folder(&home.folder)?;
                }
                RotationStep::Journal => {
                    put(&home.path("journal"), &head)?;
                    sync_folder(&home.folder)?;
                }
                RotationStep::Remove => {
                    self.journal = appended(&home.path("journal"))?;
                    (self.end, self.length) = (end.clone(), length);
                    self.snapshot_length = u64::try_from(snapshot.len()).map_err(|_| MemoryFault::TooLong)?;
                    self.chips.written(chips);
                    self.home = home.clone();
                    remove_before(&home.folder, generation)?;
                }
            }
        }
        Ok(())
    }
}
