//! Whether the files of an open ledger still lie where they were: what is written to a file that was removed or replaced
//! is lost when it is closed.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

use super::lock::beside;

/// Of the database, of its lock and of its WAL.
pub(super) struct Identity {
    kept: [(PathBuf, Option<Inode>); 2],
    wal: PathBuf,
    /// SQLite makes it with the first transaction.
    first_wal: OnceCell<Inode>,
}

/// Device (major, minor) and number.
type Inode = (u32, u32, u64);

impl Identity {
    /// Of the database at this path, which is open and locked.
    pub(super) fn of(database: &Path) -> Self {
        let kept = [database.to_owned(), beside(database, "-lock")].map(|path| {
            let now = inode(&path);
            (path, now)
        });
        Self { kept, wal: beside(database, "-wal"), first_wal: OnceCell::new() }
    }

    /// The path at which something else lies now, or nothing. To be asked within a transaction.
    pub(super) fn moved(&self) -> Option<&Path> {
        let moved = |(path, first): &&(PathBuf, Option<Inode>)| first.is_none() || inode(path) != *first;
        if let Some((path, _)) = self.kept.iter().find(moved) {
            return Some(path);
        }
        let Some(now) = inode(&self.wal) else { return Some(&self.wal) };
        (*self.first_wal.get_or_init(|| now) != now).then_some(&*self.wal)
    }
}

/// Asks for nothing else: after somebody has asked for a file's times, the kernel notes the time of its next change anew, and
/// the next sync writes that too, with a journey to the disk of its own.
fn inode(path: &Path) -> Option<Inode> {
    let meta = statx(CWD, path, AtFlags::empty(), StatxFlags::INO).ok()?;
    Some((meta.stx_dev_major, meta.stx_dev_minor, meta.stx_ino))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_removed_or_replaced_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let [database, lock, wal] = ["l.db", "l.db-lock", "l.db-wal"].map(|name| directory.path().join(name));
        for file in [&database, &lock, &wal] {
            [&database, &lock, &wal].into_iter().for_each(|file| std::fs::write(file, "x").unwrap());
            let identity = Identity::of(&database);
            assert_eq!(identity.moved(), None);
            assert_eq!(identity.moved(), None);
            std::fs::rename(file, directory.path().join("away")).unwrap();
            assert_eq!(identity.moved(), Some(&**file));
            std::fs::write(file, "x").unwrap();
            assert_eq!(identity.moved(), Some(&**file));
        }
    }
}
