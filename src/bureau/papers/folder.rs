//! A folder with papers of jobs. A paper appears there whole and after its seal, or not at all. No file there
//! is overwritten, and one program at a time writes there.
//!
//! Not here: the content of papers (`content`), whether one is genuine (`report::seal`).

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::exit::{Exit, Failure};
use crate::files;
use crate::ids::JobId;
use crate::report::seal::{Ours, Whose, look, sealed};
use crate::request::PaperName;
use crate::sibling_path::sibling_path;

/// A folder with papers, locked while the value lives.
pub struct PaperFolder {
    path: PathBuf,
    /// Whether it was made for these papers.
    made: bool,
    _alone: Flock<File>,
}

/// A paper and its seal that are being written.
pub struct BegunPaper {
    /// The file for its text, empty at first.
    pub text: File,
    /// The file for its seal, empty at first.
    pub seal: File,
    path: PathBuf,
}

impl PaperFolder {
    /// Makes the folder (mode 0700) if there is none, and locks it. Refused while another program writes
    /// papers there. A folder that was made here is removed again if it stays empty.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let failed = |what: std::io::Error| {
            Failure::new(Exit::Io, format!("papers: folder {}: {}", path.display(), files::trouble(&what)))
        };
        let made = !path.exists();
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists | ErrorKind::NotADirectory => {
                let what = "operator: a file lies there, or on the way there; name a directory, or a path where nothing lies yet";
                failed(std::io::Error::other(what))
            }
            _ => failed(error),
        })?;
        let folder = File::open(path).map_err(failed)?;
        let locked = Flock::lock(folder, FlockArg::LockExclusiveNonblock);
        let _alone = locked.map_err(|(_, e)| match e {
            Errno::EWOULDBLOCK => {
                let what = "operator: another program writes papers there; try again when it is done, or name another \
                            directory by --out";
                failed(std::io::Error::other(what))
            }
            e => failed(std::io::Error::other(format!("it cannot be locked: {e}"))),
        })?;
        Ok(Self { path: path.to_owned(), made, _alone })
    }

    /// The place of a job's paper in this folder.
    pub fn place(&self, job: JobId, name: PaperName) -> PathBuf {
        paper(&self.path, job, name)
    }

    /// The paper of this job if it is in its place; `None` if no file is there. The error names another file
    /// that is there instead.
    pub fn look(&self, name: PaperName, whose: Whose) -> Result<Option<Ours>, Failure> {
        look(&self.place(whose.job, name), name.kind(), whose)
    }

    /// Refuses to go on if any file is in the place of a paper. Removes files that a killed program had
    /// begun.
    pub fn must_be_new(&self, job: JobId, names: &[PaperName]) -> Result<(), Failure> {
        for name in names {
            let _ = std::fs::remove_file(sibling_path(&self.place(job, *name), ".part"));
        }
        let lies = |path: &PathBuf| path.symlink_metadata().is_ok();
        match names.iter().map(|name| self.place(job, *name)).find(lies) {
            None => Ok(()),
            Some(there) => {
                let what = format!("{}: exists already; name another directory", there.display());
                Err(Failure::new(Exit::Io, what))
            }
        }
    }

    /// Refuses any file in the place of a paper that cannot have been written yet.
    pub fn nothing_yet(&self, job: JobId, name: PaperName) -> Result<(), Failure> {
        let path = self.place(job, name);
        match path.symlink_metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            _ => {
                let what = format!(
                    "operator: {} lies there already, and nothing of {job} is deleted yet; move it away with its .sig, or \
                     name another directory by --out",
                    path.display()
                );
                Err(Failure::new(Exit::Io, what))
            }
        }
    }

    /// Begins a paper: makes both its files, empty.
    pub fn begin(&self, job: JobId, name: PaperName) -> Result<BegunPaper, Failure> {
        let path = self.place(job, name);
        let text = self.create(&sibling_path(&path, ".part"))?;
        let seal = self.create(&sealed(&path))?;
        Ok(BegunPaper { text, seal, path })
    }

    /// Makes a paper visible whose text and seal are durable. Returns its path.
    pub fn publish(&self, begun: BegunPaper) -> Result<PathBuf, Failure> {
        let BegunPaper { path, .. } = begun;
        std::fs::rename(sibling_path(&path, ".part"), &path)
            .and_then(|()| File::open(&self.path)?.sync_all())
            .map_err(|e| {
                Failure::new(Exit::Io, format!("papers: {}: {}", path.display(), files::trouble(&e)))
            })?;
        Ok(path)
    }

    /// Removes papers with their seals. If a paper cannot be removed, the next attempt refuses it by name.
    pub fn remove(&self, job: JobId, names: &[PaperName]) {
        for path in names.iter().map(|name| self.place(job, *name)) {
            for file in [sibling_path(&path, ".part"), sealed(&path), path] {
                let _ = std::fs::remove_file(file);
            }
        }
    }

    /// Creates a file, in place of one that a killed program had begun. Complete papers were looked for
    /// before.
    fn create(&self, path: &Path) -> Result<File, Failure> {
        let failed = |e: std::io::Error| {
            Failure::new(Exit::Io, format!("papers: {}: {}", path.display(), files::trouble(&e)))
        };
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
        self.open_to_group(&file).map_err(failed)?;
        Ok(file)
    }

    /// Gives a file to the group of the folder, if the folder is open to its group and closed to others (mode
    /// 0750), because that mode means that the group may read the files in it.
    fn open_to_group(&self, file: &File) -> std::io::Result<()> {
        let folder = self.path.metadata()?;
        if folder.mode() & 0o057 != 0o050 {
            return Ok(());
        }
        match fchown(file, None, Some(folder.gid())) {
            Ok(()) => file.set_permissions(Permissions::from_mode(0o640)),
            // This user is not in that group, so the paper stays with this user.
            Err(error) => {
                tracing::warn!(folder = %self.path.display(), %error, "the folder's group cannot read what is written there");
                Ok(())
            }
        }
    }
}

impl Drop for PaperFolder {
    fn drop(&mut self) {
        if self.made {
            // A folder that is not empty stays.
            let _ = std::fs::remove_dir(&self.path);
        }
    }
}

/// The path of a job's paper in a folder.
pub fn paper(folder: &Path, job: JobId, name: PaperName) -> PathBuf {
    folder.join(format!("{job}-{}", name.file_name()))
}
