//! From a long journal to the next snapshot. A host that is killed at any step finds everything again.
//!
//! | step | killed after it |
//! |---|---|
//! | chips are appended, synced | what the snapshot does not count is cut; the journal has it |
//! | the next snapshot is written, synced, named | it counts; the next journal is made |
//! | the next journal is written, synced, named | both count |
//! | the files before are removed | |

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;

use super::journal::{JournalEnd, JournalName};
use super::{Memory, MemoryFault, io, put, snapshot, sync_folder};

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
    /// Goes over to the next generation.
    pub fn rotate(&mut self) -> Result<(), MemoryFault> {
        self.rotate_until(RotationStep::Remove)
    }

    /// Rotates up to this step. Before the last one, this memory must not be used any more.
    pub(super) fn rotate_until(&mut self, last: RotationStep) -> Result<(), MemoryFault> {
        let generation = self.name.generation.checked_add(1).ok_or(MemoryFault::TooLong)?;
        let name = JournalName { generation, ..self.name };
        let (block, chips) = self.chips.block()?;
        let snapshot = snapshot::write(&self.key, &name, &chips, &self.state)?;
        let (head, end) = JournalEnd::begin(&self.key, &name, &snapshot);
        let journal = self.folder.join(format!("journal-{generation}"));
        for step in RotationStep::ALL.into_iter().filter(|step| *step <= last) {
            match step {
                RotationStep::Chips => {
                    let path = self.folder.join("chips");
                    let file = OpenOptions::new().append(true).open(&path);
                    let written =
                        file.and_then(|mut file| file.write_all(&block).and_then(|()| file.sync_all()));
                    written.map_err(|e| io(&path, &e))?;
                }
                RotationStep::Snapshot => {
                    put(&self.folder.join(format!("memory-{generation}")), &snapshot)?;
                    sync_folder(&self.folder)?;
                }
                RotationStep::Journal => {
                    put(&journal, &head)?;
                    sync_folder(&self.folder)?;
                }
                RotationStep::Remove => {
                    let file = OpenOptions::new().append(true).open(&journal);
                    self.journal = file.map_err(|e| io(&journal, &e))?;
                    self.end = end.clone();
                    self.chips.written(chips);
                    self.name = name;
                    remove_before(&self.folder, generation)?;
                }
            }
        }
        Ok(())
    }
}
