//! Whether the files of an open ledger still lie where they were: what is written to a file that was removed or replaced
//! is lost when it is closed.

use std::cell::OnceCell;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::lock::beside;

/// Device and inode of the database and of its WAL.
pub(super) struct Identity {
    database: (PathBuf, Option<(u64, u64)>),
    wal: PathBuf,
    /// SQLite makes it with the first transaction.
    first_wal: OnceCell<(u64, u64)>,
}

impl Identity {
    /// Of the database at this path, which is open.
    pub(super) fn of(database: &Path) -> Self {
        let wal = beside(database, "-wal");
        Self { database: (database.to_owned(), inode(database)), wal, first_wal: OnceCell::new() }
    }

    /// The path at which something else lies now, or nothing. To be asked within a transaction.
    pub(super) fn moved(&self) -> Option<&Path> {
        let (database, first) = &self.database;
        if first.is_none() || inode(database) != *first {
            return Some(database);
        }
        let Some(now) = inode(&self.wal) else { return Some(&self.wal) };
        (*self.first_wal.get_or_init(|| now) != now).then_some(&*self.wal)
    }
}

fn inode(path: &Path) -> Option<(u64, u64)> {
    path.metadata().ok().map(|meta| (meta.dev(), meta.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_removed_or_replaced_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let (database, wal) = (directory.path().join("l.db"), directory.path().join("l.db-wal"));
        for file in [&database, &wal] {
            std::fs::write(&database, "x").unwrap();
            std::fs::write(&wal, "x").unwrap();
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
