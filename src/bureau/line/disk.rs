//! The disk of the ledger: whether it takes writes, keeps them, and has room for future jobs.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::statvfs::statvfs;

use crate::files;
use crate::ledger::Reader;

/// Least free room: a spool of 100,000 cards takes 180 MB, their ledger 70 MB.
const ROOM_MIN: u64 = 1 << 30;
/// Longest time of a durable write: each card waits for one.
const SYNC_MAX: Duration = Duration::from_millis(50);
/// Number of durable writes that are timed.
const SYNCS: u32 = 10;

/// Checks a ledger, if there is one, and the folder where it lies or will lie.
pub fn look(ledger: &Path) -> Result<String, String> {
    if ledger.exists() {
        Reader::open(ledger).map_err(|e| e.to_string())?;
    }
    let path = std::path::absolute(ledger).map_err(|e| format!("{}: {e}", ledger.display()))?;
    let folder = path.parent().unwrap_or(&path);
    let room = statvfs(folder)
        .map_err(|e| format!("{}: {e}: give a ledger in a folder that exists", folder.display()))?;
    let room = room.blocks_available().saturating_mul(room.fragment_size());
    let sync = synced(folder).map_err(|e| {
        format!("{}: the ledger cannot be written there: {}", folder.display(), files::trouble(&e))
    })?;
    let figures =
        format!("{} MiB free, a durable write takes {:.1} ms", room >> 20, sync.as_secs_f64() * 1e3);
    if room < ROOM_MIN {
        return Err(format!("{figures}: make room, at least {} MiB", ROOM_MIN >> 20));
    }
    if sync > SYNC_MAX {
        return Err(format!("{figures}: the disk is too slow or busy; every card waits for one"));
    }
    Ok(figures)
}

/// The mean time of a durable write.
fn synced(folder: &Path) -> std::io::Result<Duration> {
    // The file is removed with its handle.
    let mut file: File = tempfile::tempfile_in(folder)?;
    let begun = Instant::now();
    for _ in 0..SYNCS {
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
    }
    Ok(begun.elapsed() / SYNCS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writable_folder_is_good_and_a_missing_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        // A slow disk is a finding too; both texts give the time of a write.
        let said = look(&folder.path().join("l.db")).unwrap_or_else(|what| what);
        assert!(said.contains("durable write"), "{said}");
        let said = look(Path::new("/nonexistent/l.db")).unwrap_err();
        assert!(said.contains("/nonexistent") && said.contains("exists"), "{said}");
        // Not even the super-user can write there.
        assert!(look(Path::new("/proc/l.db")).is_err());
    }
}
