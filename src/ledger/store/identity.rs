//! Checks that the files of an open ledger are still in place. Bytes written to a file that was removed or replaced
//! are lost when it is closed.

use std::cell::{Cell, OnceCell};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

use crate::sibling_path::sibling_path;

/// Length of a WAL's header, and its first four bytes (SQLite file format, section 4.1). The lowest bit gives the
/// byte order of its checksums.
const HEADER: u64 = 32;
const MAGIC: u32 = 0x377F_0682;

/// Identity of the database, its lock and its WAL, as first seen.
pub(super) struct Identity {
    kept: [(PathBuf, Option<Inode>); 2],
    wal: PathBuf,
    /// SQLite makes the WAL with the first transaction.
    first_wal: OnceCell<Option<Wal>>,
}

/// A WAL, which never becomes shorter while it is in use.
struct Wal {
    inode: Inode,
    file: File,
    length: Cell<u64>,
}

/// Device (major, minor) and number.
type Inode = (u32, u32, u64);

impl Identity {
    /// The identity of the database at this path, which is open and locked.
    pub(super) fn of(database: &Path) -> Self {
        let kept = [database.to_owned(), sibling_path(database, "-lock")].map(|path| {
            let now = inode(&path);
            (path, now)
        });
        Self { kept, wal: sibling_path(database, "-wal"), first_wal: OnceCell::new() }
    }

    /// The path of a file that is missing, replaced, or shorter than before, if there is one. Called within each
    /// transaction before anything is written, and again after its commit.
    pub(super) fn moved(&self) -> Option<&Path> {
        let moved = |(path, first): &&(PathBuf, Option<Inode>)| first.is_none() || inode(path) != *first;
        if let Some((path, _)) = self.kept.iter().find(moved) {
            return Some(path);
        }
        let wal = self.first_wal.get_or_init(|| Wal::open(&self.wal));
        let whole = wal.as_ref().is_some_and(|wal| wal.is_whole(&self.wal));
        (!whole).then_some(&*self.wal)
    }

    /// By SQLite's index the WAL is empty: its file may be shorter than before.
    pub(super) fn emptied(&self) {
        if let Some(Some(wal)) = self.first_wal.get() {
            wal.length.set(0);
        }
    }
}

impl Wal {
    fn open(path: &Path) -> Option<Self> {
        let ((inode, length), file) = (about(path)?, File::open(path).ok()?);
        Some(Self { inode, file, length: Cell::new(length) })
    }

    /// Whether the WAL is at its path and no shorter than before. A WAL that was cut off and then written to beyond
    /// the cut keeps its length but lacks its beginning.
    fn is_whole(&self, path: &Path) -> bool {
        let Some((inode, length)) = about(path) else { return false };
        if inode != self.inode || length < self.length.get() {
            return false;
        }
        self.length.set(length);
        let mut magic = [0; 4];
        length < HEADER
            || self.file.read_exact_at(&mut magic, 0).is_ok() && u32::from_be_bytes(magic) & !1 == MAGIC
    }
}

fn inode(path: &Path) -> Option<Inode> {
    about(path).map(|(inode, _)| inode)
}

/// The inode and length of a file. Asks for nothing else: once the times of a file were queried, the kernel updates
/// the time of its next change, and the next sync writes that too, with an extra access to the disk.
fn about(path: &Path) -> Option<(Inode, u64)> {
    let meta = statx(CWD, path, AtFlags::empty(), StatxFlags::INO | StatxFlags::SIZE).ok()?;
    Some(((meta.stx_dev_major, meta.stx_dev_minor, meta.stx_ino), meta.stx_size))
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
    #[test]
    fn a_wal_that_was_cut_off_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let [database, lock, wal] = ["l.db", "l.db-lock", "l.db-wal"].map(|name| directory.path().join(name));
        let whole = [&[0x37, 0x7F, 0x06, 0x83][..], &[7; 996]].concat();
        for (cut, grows) in [(0, false), (0, true), (31, false), (999, false)] {
            [&database, &lock].into_iter().for_each(|file| std::fs::write(file, "x").unwrap());
            std::fs::write(&wal, "").unwrap();
            let identity = Identity::of(&database);
            assert_eq!(identity.moved(), None);
            std::fs::write(&wal, &whole).unwrap();
            assert_eq!(identity.moved(), None);
            let file = File::options().write(true).open(&wal).unwrap();
            file.set_len(cut).unwrap();
            if grows {
                file.write_all_at(&[7; 500], 1000).unwrap();
            }
            assert_eq!(identity.moved(), Some(&*wal), "{cut} {grows}");
            assert_eq!(identity.moved(), Some(&*wal), "{cut} {grows}");
        }
    }
}
